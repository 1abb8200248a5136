//! A request whose signature holds, content included, and whether the signature may have been used before (RFC 9421 §7.2.2).

use super::error::SignatureError;
use super::verify::VerifiedSignature;
use crate::UnixTime;
use crate::dpop::{FirstUse, ProofId};

/// A request whose signature holds, its content included.
#[derive(Debug)]
pub struct SignedRequest {
    signature: VerifiedSignature,
    remember_until: Option<UnixTime>,
}

impl SignedRequest {
    /// The request with this signature, which counts once until then if it has to be remembered.
    pub(crate) const fn new(signature: VerifiedSignature, remember_until: Option<UnixTime>) -> Self {
        Self { signature, remember_until }
    }

    /// Its signature.
    pub const fn signature(&self) -> &VerifiedSignature {
        &self.signature
    }

    /// What of it has to be remembered, if anything.
    pub fn to_remember(&self) -> Option<SignatureUse> {
        let id = ProofId::of_signature(self.signature.signature_hash());
        Some(SignatureUse { id, created: self.signature.created(), until: self.remember_until? })
    }

    /// Notes that it is the first with its signature.
    ///
    /// # Errors
    /// [`SignatureError::Replayed`] if `first_use` is not about it.
    pub(crate) fn with_first_use(mut self, first_use: &FirstUse) -> Result<Self, SignatureError> {
        if self.to_remember().is_some_and(|used| !first_use.is_of(used.id)) {
            return Err(SignatureError::Replayed);
        }
        self.remember_until = None;
        Ok(self)
    }
}

/// A signature that is about to be used.
#[derive(Clone, Copy, Debug)]
pub struct SignatureUse {
    id: ProofId,
    created: UnixTime,
    until: UnixTime,
}

impl SignatureUse {
    /// What a log knows it by.
    pub const fn id(&self) -> ProofId {
        self.id
    }

    /// The last second at which any request could be accepted with it.
    pub const fn forget_after(&self) -> UnixTime {
        self.until
    }

    /// Checks that it has not become too old meanwhile.
    ///
    /// # Errors
    /// [`SignatureError::Stale`].
    pub fn check_still_fresh(&self, now: UnixTime) -> Result<(), SignatureError> {
        if now > self.until { Err(SignatureError::Stale { at: self.created, now }) } else { Ok(()) }
    }

    /// Checks that it cannot have been used before the log knows every use, which is `since` then.
    ///
    /// # Errors
    /// [`SignatureError::BeforeLog`]: the log's fault, and none of the client, who makes another one for the next request.
    pub fn check_still_known(&self, since: UnixTime) -> Result<(), SignatureError> {
        let at = self.created;
        if at > since { Ok(()) } else { Err(SignatureError::BeforeLog { at, since }) }
    }
}
