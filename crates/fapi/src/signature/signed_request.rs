//! A request whose signature holds, content included, and whether the signature may have been used before (RFC 9421 §7.2.2).

use super::error::SignatureError;
use super::evidence::Evidence;
use super::form::Forward;
use super::verify::VerifiedSignature;
use crate::UnixTime;
use crate::dpop::{FirstUse, ProofId};
use crate::signed_body::berlin_group::VerifiedSeal;
use crate::signed_body::detached::VerifiedDetachedSignature;
use crate::signed_body::jwt_body::VerifiedBody;

/// A request whose signature holds, its content included.
#[derive(Debug)]
pub struct SignedRequest {
    signature: Verified,
    remember: Option<SignatureUse>,
    forward: Forward,
}

/// The signature of a request, in the form of its route.
#[derive(Debug)]
pub enum Verified {
    /// In the fields of RFC 9421.
    Http(Box<VerifiedSignature>),
    /// In `x-jws-signature`.
    DetachedJws(Box<VerifiedDetachedSignature>),
    /// Around the content.
    JwtBody(Box<VerifiedBody>),
    /// By a seal.
    Seal(Box<VerifiedSeal>),
}

impl SignedRequest {
    /// The request with this signature, which counts once if it has to be remembered.
    pub(crate) const fn new(signature: Verified, remember: Option<SignatureUse>, forward: Forward) -> Self {
        Self { signature, remember, forward }
    }

    /// Its signature.
    pub const fn signature(&self) -> &Verified {
        &self.signature
    }

    /// What shows later that the client has signed it; `None` of a form of which nothing is kept.
    pub fn evidence(&self) -> Option<&Evidence> {
        match &self.signature {
            Verified::Http(signature) => Some(signature.evidence()),
            Verified::DetachedJws(signature) => signature.evidence(),
            Verified::JwtBody(body) => Some(body.evidence()),
            Verified::Seal(seal) => Some(seal.evidence()),
        }
    }

    /// What is signed where the content is a JWT, as its signer wrote it: JSON. `None` in every other form, where it is the content.
    pub fn payload(&self) -> Option<&str> {
        match &self.signature {
            Verified::JwtBody(body) => Some(body.payload()),
            Verified::Http(_) | Verified::DetachedJws(_) | Verified::Seal(_) => None,
        }
    }

    /// The same if the upstream gets it in place of the content. `None` if it gets what came.
    pub fn payload_to_forward(&self) -> Option<&str> {
        self.payload().filter(|_| self.forward == Forward::Payload)
    }

    /// What of it has to be remembered, if anything.
    pub const fn to_remember(&self) -> Option<SignatureUse> {
        self.remember
    }

    /// The same of one of which nobody knows whether it is the first, and which passes all the same.
    pub(crate) const fn not_remembered(mut self) -> Self {
        self.remember = None;
        self
    }

    /// Notes that it is the first with its signature.
    ///
    /// # Errors
    /// [`SignatureError::Replayed`] if `first_use` is not about it.
    pub(crate) fn with_first_use(mut self, first_use: &FirstUse) -> Result<Self, SignatureError> {
        if self.remember.is_some_and(|used| !first_use.is_of(used.id)) {
            return Err(SignatureError::Replayed);
        }
        self.remember = None;
        Ok(self)
    }
}

/// The longest time, in seconds, for which a route may accept a signature.
pub const LONGEST_MAX_AGE: u64 = 300;

/// A signature that is about to be used.
#[derive(Clone, Copy, Debug)]
pub struct SignatureUse {
    /// What a log knows it by.
    pub(crate) id: ProofId,
    pub(crate) created: UnixTime,
    /// Seconds that `created` may be ahead.
    pub(crate) ahead: u64,
    /// The last second at which any request could be accepted with it.
    pub(crate) good_until: UnixTime,
    /// How long it is remembered; not less than it is good.
    pub(crate) forget_after: UnixTime,
}

impl SignatureUse {
    /// The use of a signature of RFC 9421 that is accepted for so many seconds, by clocks that may be `ahead`.
    pub(crate) fn of_http(signature: &VerifiedSignature, (max_age, ahead): (u64, u64)) -> Self {
        let id = ProofId::of_signature(signature.signature_hash());
        Self::of_time(id, signature.created(), max_age, ahead)
    }

    /// The use of a seal of this client and this `date`. What is remembered is what is signed, the `X-Request-ID` among it.
    pub(crate) fn of_seal(client: &str, seal: &VerifiedSeal, date: UnixTime, (max_age, ahead): (u64, u64)) -> Self {
        Self::of_time(ProofId::of_signed_body("seal", client, seal.signing_string_hash()), date, max_age, ahead)
    }

    /// The use of something that is remembered for as long as it is good.
    pub(crate) fn of_time(id: ProofId, created: UnixTime, max_age: u64, ahead: u64) -> Self {
        // Another route, or a reload, may accept the same signature for longer.
        let forget_after = created.plus(max_age.max(LONGEST_MAX_AGE));
        Self { id, created, ahead, good_until: created.plus(max_age), forget_after }
    }

    /// What a log knows it by.
    pub const fn id(&self) -> ProofId {
        self.id
    }

    /// The last second at which anything that uses it again is noticed.
    pub const fn forget_after(&self) -> UnixTime {
        self.forget_after
    }

    /// Checks that it has not become too old meanwhile.
    ///
    /// # Errors
    /// [`SignatureError::Stale`].
    pub fn check_still_fresh(&self, now: UnixTime) -> Result<(), SignatureError> {
        if now > self.good_until { Err(SignatureError::Stale { at: self.created, now }) } else { Ok(()) }
    }

    /// Checks that it cannot have been used before the log `began`, which knows every use since then. What is signed anew with a
    /// `jti` of before that is not noticed.
    ///
    /// # Errors
    /// [`SignatureError::BeforeLog`]: the log's fault, and none of the client, who makes another one for the next request.
    pub fn check_still_known(&self, began: UnixTime) -> Result<(), SignatureError> {
        let (at, since) = (self.created, began.plus(self.ahead));
        if at > since { Ok(()) } else { Err(SignatureError::BeforeLog { at, since }) }
    }
}
