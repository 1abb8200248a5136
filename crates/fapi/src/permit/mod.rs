//! From a route and a bound token to the permit that names the upstream.
//!
//! The last types of the line. An [`Admission`] is what a matched route requires. A [`Guard`] protects a route and
//! judges a [`BoundToken`]; if the body could contain a second token ([`AwaitsForm`]), or if the route compares the token
//! with it ([`AwaitsBody`]), it is judged next. On a route in [shadow](crate::shadow), what would be refused is noted in
//! the permit. Then the request is [`Authorized`], and redeeming that returns a [`Permit`], which alone names an upstream.
//! No code outside this module can make one:
//!
//! ```compile_fail
//! use fapi::{permit::Permit, route::Matched};
//! fn forge(matched: Matched) -> Permit {
//!     Permit { matched, consent: None, token: None, shadow: None, would_deny: None, asked: None, signed: None } // the fields are private
//! }
//! ```
//!
//! ```compile_fail
//! use fapi::{permit::Permit, route::Matched};
//! fn forge(matched: Matched) -> Permit {
//!     Permit::of(matched, None) // and so is the constructor
//! }
//! ```

mod consents;
mod endpoints;
pub mod signature;

use std::fmt;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderMap, HeaderName};

use crate::UnixTime;
use crate::authorization_server::{Endpoint, EndpointError, JudgedRequest, Rules};
use crate::code::Code;
use crate::credentials::{CredentialsError, Scheme, form_has_token, is_form};
use crate::directory::Participants;
use crate::dpop::{DpopError, FirstUse, VerifiedProof};
use crate::idempotency::{AcceptedUse, IdempotencyError, IdempotencyKey};
use crate::peer::PeerCertificate;
use crate::policy::{ConsentQuestion, Passed, Policy, PolicyError, Remaining};
use crate::route::{Matched, Requirement, Route, Target, UpstreamRef};
use crate::sender::{AcceptedToken, BoundToken, SenderError, SenderEvidence};
use crate::shadow::{InShadow, WouldDeny};
use crate::signature::error::SignatureError;
use crate::signature::rules::SignatureRules;
use crate::signature::signed_request::{SignatureUse, SignedRequest};
use crate::token::ActiveToken;

/// What a matched route requires.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "it is taken apart where it is made, and a box would cost an allocation")]
pub enum Admission {
    /// Nothing: the route is public.
    Public(Authorized),
    /// A token: the route is protected.
    Protected(Guard),
    /// What FAPI says of an endpoint of an authorization server.
    Endpoint(EndpointGuard),
}

impl Admission {
    /// What this route requires.
    pub fn to(matched: Matched) -> Self {
        match &matched.route().requirement {
            Requirement::Public => Self::Public(Authorized::open(matched)),
            Requirement::Endpoint(rules, endpoint) => {
                let (rules, endpoint) = (Arc::clone(rules), *endpoint);
                Self::Endpoint(EndpointGuard { matched, rules, endpoint })
            }
            Requirement::Protected(policy) => {
                let policy = Arc::clone(policy);
                Self::Protected(Guard { matched, policy })
            }
        }
    }
}

/// A protected route and its policy, which lets a token pass or not.
#[derive(Clone, Debug)]
pub struct Guard {
    matched: Matched,
    policy: Arc<Policy>,
}

impl Guard {
    /// The route.
    pub fn route(&self) -> &Route {
        self.matched.route()
    }

    /// The policy of the route.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Checks whether the token satisfies the policy at `now`, for a request of this client with this target. `headers` say
    /// whether the body has to be judged as well, and `participants` which clients are active in their ecosystem.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn authorize(
        self,
        token: BoundToken,
        target: &Target<'_>,
        headers: &HeaderMap,
        client: PeerCertificate<'_>,
        participants: &dyn Participants,
        now: UnixTime,
    ) -> Result<Judged, PolicyError> {
        let checked = self.policy.check(token.claims(), target, headers, (client, participants), now);
        let Passed { remaining, consent } = checked?;
        let token = AcceptedToken::Bound(token);
        let key = self.idempotency_key(&token, target, headers)?;
        let policy = self.policy.clone();
        let rules = policy.signature().cloned();
        let judged = if remaining.is_empty() {
            Authorized { token: Some(token), key, ..Authorized::open(self.matched) }.beside(headers)
        } else {
            AwaitsBody { key, ..AwaitsBody::of(self, token, remaining, None) }.into()
        };
        Ok(judged.beside_signature(rules, None).beside_consent(consent, policy, None))
    }

    fn idempotency_key(
        &self,
        token: &AcceptedToken,
        target: &Target<'_>,
        headers: &HeaderMap,
    ) -> Result<Option<Box<IdempotencyKey>>, IdempotencyError> {
        let client = (&**token.token().issuer(), token.client_id());
        Ok(self.policy.idempotency_key(client, target.method(), headers)?.map(Box::new))
    }

    /// Whether the route is in shadow at `now`, for some client at least.
    pub fn shadow(&self, now: UnixTime) -> Option<InShadow> {
        self.policy.shadow()?.at(now)
    }

    /// The schemes that credentials may have: those of the policy, or both in shadow.
    pub fn schemes(&self, shadow: Option<InShadow>) -> &[Scheme] {
        if shadow.is_some() { Scheme::ALL } else { self.policy.schemes() }
    }

    /// Judges a token on a route that is in shadow: what would be refused is noted. The first reason is the one that counts.
    ///
    /// A client that the shadow is not for is judged as ever.
    ///
    /// # Errors
    /// [`Refused`], for the reasons for which nobody passes in shadow either.
    pub fn authorize_in_shadow(
        self,
        token: Arc<ActiveToken>,
        evidence: SenderEvidence<'_>,
        (target, headers, client): (&Target<'_>, &HeaderMap, PeerCertificate<'_>),
        shadow: InShadow,
        participants: &dyn Participants,
        now: UnixTime,
    ) -> Result<Judged, Refused> {
        let is_for = match (self.policy.shadow(), token.claims_at(now)) {
            (Some(shadow), Ok(claims)) => shadow.is_for(claims),
            (None, _) | (_, Err(_)) => false,
        };
        if !is_for {
            let token = BoundToken::prove(token, evidence)?;
            return Ok(self.authorize(token, target, headers, client, participants, now)?);
        }
        let (token, noted) = AcceptedToken::in_shadow(token, evidence, shadow)?;
        let policy = self.policy.clone();
        let rules = policy.signature().cloned();
        let (key, no_key) = match self.idempotency_key(&token, target, headers) {
            Ok(key) => (key, None),
            Err(error) => {
                let error = PolicyError::from(error);
                (None, Some(WouldDeny::by_policy(error.code(), &error, shadow)))
            }
        };
        let checked = self.policy.check(token.claims(), target, headers, (client, participants), now);
        let (would_deny, consent) = match (checked, noted) {
            (Ok(Passed { remaining, consent }), None) if !remaining.is_empty() => {
                let would_deny = no_key.map(Box::new);
                let waiting = AwaitsBody { key, would_deny, ..AwaitsBody::of(self, token, remaining, Some(shadow)) };
                let judged = Judged::from(waiting).beside_signature(rules, Some(shadow));
                return Ok(judged.beside_consent(consent, policy, Some(shadow)));
            }
            (Ok(Passed { consent, .. }), None) => (no_key, consent),
            // Nobody is asked about what is not proven to be the sender's.
            (Ok(_), noted) => (noted, None),
            // What the request says in other fields is no requirement on the token.
            (
                Err(
                    error @ (PolicyError::AuthDateMalformed
                    | PolicyError::CustomerIpAddressMalformed
                    | PolicyError::Header(_)),
                ),
                _,
            ) => {
                return Err(error.into());
            }
            (Err(error), noted) => {
                let noted = noted.unwrap_or_else(|| WouldDeny::by_policy(error.code(), &error, shadow));
                (Some(noted), None)
            }
        };
        let would_deny = would_deny.map(Box::new);
        let open = Authorized::open(self.matched);
        let judged = Authorized { token: Some(token), shadow: Some(shadow), would_deny, key, ..open }.beside(headers);
        Ok(judged.beside_signature(rules, Some(shadow)).beside_consent(consent, policy, Some(shadow)))
    }
}

/// An endpoint of an authorization server and its rules, which let a request pass or not.
#[derive(Clone, Debug)]
pub struct EndpointGuard {
    matched: Matched,
    rules: Arc<Rules>,
    endpoint: Endpoint,
}

impl EndpointGuard {
    /// The route.
    pub fn route(&self) -> &Arc<Route> {
        self.matched.route()
    }

    /// Which endpoint it is.
    pub const fn endpoint(&self) -> Endpoint {
        self.endpoint
    }

    /// The rules of its server.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }
}

/// Why a token is refused on a route in shadow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The token, or the credentials.
    #[error(transparent)]
    Sender(#[from] SenderError),
    /// The policy, for a client that the shadow is not for.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

/// What remains to be judged after the header section.
#[must_use]
#[derive(Debug)]
pub enum Judged {
    /// Nothing.
    Authorized(Authorized),
    /// The body, which is a form.
    AwaitsForm(AwaitsForm),
    /// The body, which the token is compared with.
    AwaitsBody(Box<AwaitsBody>),
    /// The signature, and then the body as far as that is signed.
    AwaitsSignature(Box<AwaitsSignature>),
    /// What is known of the consent that it uses, and then all else.
    AwaitsConsent(Box<AwaitsConsent>),
    /// The body, which has the parameters of a request to an authorization server.
    AwaitsParameters(Box<EndpointGuard>),
}

impl Judged {
    /// The token, unless the route is public.
    pub const fn token(&self) -> Option<&AcceptedToken> {
        match self {
            Self::Authorized(authorized) | Self::AwaitsForm(AwaitsForm(authorized)) => authorized.token.as_ref(),
            Self::AwaitsBody(waiting) => Some(&waiting.token),
            Self::AwaitsSignature(waiting) => waiting.rest.token(),
            Self::AwaitsConsent(waiting) => waiting.rest.token(),
            Self::AwaitsParameters(_) => None,
        }
    }

    /// The route that it is for.
    pub fn route(&self) -> &Arc<Route> {
        match self {
            Self::Authorized(authorized) | Self::AwaitsForm(AwaitsForm(authorized)) => authorized.matched.route(),
            Self::AwaitsBody(waiting) => waiting.guard.matched.route(),
            Self::AwaitsSignature(waiting) => waiting.route(),
            Self::AwaitsConsent(waiting) => waiting.rest.route(),
            Self::AwaitsParameters(guard) => guard.route(),
        }
    }

    /// Whether its signature holds, where the route looks at that.
    pub const fn is_signed(&self) -> bool {
        match self {
            Self::Authorized(authorized) | Self::AwaitsForm(AwaitsForm(authorized)) => authorized.signed.is_some(),
            Self::AwaitsBody(waiting) => waiting.signed.is_some(),
            Self::AwaitsSignature(_) | Self::AwaitsConsent(_) | Self::AwaitsParameters(_) => false,
        }
    }

    /// What remains beside a signature.
    ///
    /// # Errors
    /// The request itself, if its signature is to be judged first.
    pub fn without_signature(self) -> Result<Self, Box<AwaitsSignature>> {
        match self {
            Self::AwaitsSignature(waiting) => Err(waiting),
            other @ (Self::Authorized(_)
            | Self::AwaitsForm(_)
            | Self::AwaitsBody(_)
            | Self::AwaitsConsent(_)
            | Self::AwaitsParameters(_)) => Ok(other),
        }
    }

    /// Nothing passes a route that looks at signatures before its own is looked at.
    fn beside_signature(self, rules: Option<Arc<SignatureRules>>, shadow: Option<InShadow>) -> Self {
        match rules.filter(|rules| rules.request.is_some()) {
            Some(rules) => Self::AwaitsSignature(AwaitsSignature { rest: self, rules, shadow }.into()),
            None => self,
        }
    }

    /// The same, of a request that is signed.
    fn signed(self, signed: SignedRequest) -> Self {
        let signed = Some(Box::new(signed));
        match self {
            Self::Authorized(authorized) => Self::Authorized(Authorized { signed, ..authorized }),
            Self::AwaitsForm(AwaitsForm(authorized)) => {
                Self::AwaitsForm(AwaitsForm(Authorized { signed, ..authorized }))
            }
            Self::AwaitsBody(waiting) => Self::AwaitsBody(AwaitsBody { signed, ..*waiting }.into()),
            other @ (Self::AwaitsSignature(_) | Self::AwaitsConsent(_) | Self::AwaitsParameters(_)) => other,
        }
    }

    /// The same, of a request that uses this consent.
    fn using(self, consent: ConsentQuestion) -> Self {
        if let Self::AwaitsSignature(waiting) = self {
            let AwaitsSignature { rest, rules, shadow } = *waiting;
            return Self::AwaitsSignature(AwaitsSignature { rest: rest.using(consent), rules, shadow }.into());
        }
        let consent = Some(Arc::new(consent));
        match self {
            Self::Authorized(authorized) => Self::Authorized(Authorized { consent, ..authorized }),
            Self::AwaitsForm(AwaitsForm(authorized)) => {
                Self::AwaitsForm(AwaitsForm(Authorized { consent, ..authorized }))
            }
            Self::AwaitsBody(waiting) => Self::AwaitsBody(AwaitsBody { consent, ..*waiting }.into()),
            other @ (Self::AwaitsSignature(_) | Self::AwaitsConsent(_) | Self::AwaitsParameters(_)) => other,
        }
    }

    /// The same, of which it is noted that it would be refused. What was noted before is the reason that counts.
    fn noting(self, noted: WouldDeny) -> Self {
        if let Self::AwaitsSignature(waiting) = self {
            let AwaitsSignature { rest, rules, shadow } = *waiting;
            return Self::AwaitsSignature(AwaitsSignature { rest: rest.noting(noted), rules, shadow }.into());
        }
        let noted = Box::new(noted);
        let first = |before: Option<Box<WouldDeny>>| Some(before.unwrap_or(noted));
        match self {
            Self::Authorized(authorized) => {
                Self::Authorized(Authorized { would_deny: first(authorized.would_deny), ..authorized })
            }
            Self::AwaitsForm(AwaitsForm(authorized)) => {
                Self::AwaitsForm(AwaitsForm(Authorized { would_deny: first(authorized.would_deny), ..authorized }))
            }
            Self::AwaitsBody(waiting) => {
                let waiting = *waiting;
                Self::AwaitsBody(AwaitsBody { would_deny: first(waiting.would_deny), ..waiting }.into())
            }
            other @ (Self::AwaitsSignature(_) | Self::AwaitsConsent(_) | Self::AwaitsParameters(_)) => other,
        }
    }
}

/// A request on a route that looks at signatures, whose header section passed every other check.
#[must_use]
#[derive(Debug)]
pub struct AwaitsSignature {
    rest: Judged,
    rules: Arc<SignatureRules>,
    shadow: Option<InShadow>,
}

/// A request on a route that requires a consent, whose header section passed every other check.
#[must_use]
#[derive(Debug)]
pub struct AwaitsConsent {
    rest: Judged,
    policy: Arc<Policy>,
    question: ConsentQuestion,
    shadow: Option<InShadow>,
}

/// A request whose header section passed every check and whose body is a form. A form could contain a second token, and
/// clients must not send more than one (RFC 6750 §2).
#[must_use]
#[derive(Debug)]
pub struct AwaitsForm(Authorized);

impl AwaitsForm {
    /// Judges the whole body. Its proof is not used up by a body that is refused.
    ///
    /// # Errors
    /// [`CredentialsError::FieldAndBody`].
    pub fn judge(self, form: &[u8]) -> Result<Authorized, CredentialsError> {
        if form_has_token(form) { Err(CredentialsError::FieldAndBody) } else { Ok(self.0) }
    }
}

/// A request whose header section passed every check, and whose body is declared as JSON: the route compares the token with
/// it.
#[must_use]
#[derive(Debug)]
pub struct AwaitsBody {
    guard: Guard,
    token: AcceptedToken,
    remaining: Remaining,
    consent: Option<Arc<ConsentQuestion>>,
    shadow: Option<InShadow>,
    would_deny: Option<Box<WouldDeny>>,
    signed: Option<Box<SignedRequest>>,
    key: Option<Box<IdempotencyKey>>,
}

impl From<AwaitsBody> for Judged {
    fn from(waiting: AwaitsBody) -> Self {
        Self::AwaitsBody(waiting.into())
    }
}

impl AwaitsBody {
    const fn of(guard: Guard, token: AcceptedToken, remaining: Remaining, shadow: Option<InShadow>) -> Self {
        Self { guard, token, remaining, consent: None, shadow, would_deny: None, signed: None, key: None }
    }

    /// The route, whose limits the body has.
    pub fn route(&self) -> &Route {
        self.guard.matched.route()
    }

    /// Judges the whole body, which has to be forwarded byte for byte; of one that is a signed JWT, what is signed. A body that is
    /// refused does not use up the proof.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn judge(self, body: &[u8]) -> Result<Authorized, PolicyError> {
        let Self { guard: Guard { matched, policy }, token, remaining, consent, shadow, would_deny, signed, key } =
            self;
        let payload = signed.as_ref().and_then(|signed| signed.payload());
        let body = payload.map_or(body, str::as_bytes);
        let noted = match (policy.check_body(token.claims(), &remaining, body), shadow) {
            (Ok(()), _) => None,
            (Err(error), None) => return Err(error),
            (Err(error), Some(shadow)) => Some(WouldDeny::by_policy(error.code(), &error, shadow).into()),
        };
        let would_deny = would_deny.or(noted);
        let authorized = Authorized { consent, shadow, would_deny, signed, key, ..Authorized::open(matched) };
        Ok(Authorized { token: Some(token), ..authorized })
    }

    /// Lets a body pass that cannot be read as a whole before it is forwarded, if the route is in shadow.
    ///
    /// # Errors
    /// The request itself, if the route is not.
    pub fn pass_unread(self: Box<Self>) -> Result<Authorized, Box<Self>> {
        let Some(shadow) = self.shadow else { return Err(self) };
        let Self { guard: Guard { matched, .. }, token, would_deny, signed, .. } = *self;
        let would_deny = would_deny.or_else(|| Some(WouldDeny::body_unread(shadow).into()));
        Ok(Authorized { token: Some(token), shadow: Some(shadow), would_deny, signed, ..Authorized::open(matched) })
    }
}

/// A request that passed every check without side effects.
#[must_use]
#[derive(Debug)]
pub struct Authorized {
    matched: Matched,
    /// The consent that it uses, which may be revoked until it is redeemed, and after.
    consent: Option<Arc<ConsentQuestion>>,
    token: Option<AcceptedToken>,
    shadow: Option<InShadow>,
    would_deny: Option<Box<WouldDeny>>,
    asked: Option<Box<JudgedRequest>>,
    signed: Option<Box<SignedRequest>>,
    key: Option<Box<IdempotencyKey>>,
}

impl Authorized {
    const fn open(matched: Matched) -> Self {
        Self {
            matched,
            consent: None,
            token: None,
            shadow: None,
            would_deny: None,
            asked: None,
            signed: None,
            key: None,
        }
    }

    /// What remains to be judged of a body that these headers declare.
    fn beside(self, headers: &HeaderMap) -> Judged {
        if is_form(headers) { Judged::AwaitsForm(AwaitsForm(self)) } else { Judged::Authorized(self) }
    }

    /// The route that it is for.
    pub fn route(&self) -> &Route {
        self.matched.route()
    }

    /// The proof, which must not have been used before; none on a public route, or for a token bound only to a
    /// certificate.
    pub fn proof(&self) -> Option<&VerifiedProof> {
        let of_token = self.token.as_ref().and_then(AcceptedToken::proof);
        of_token.or_else(|| self.asked.as_ref().and_then(|asked| asked.proof()))
    }

    /// The request, at an endpoint of an authorization server.
    pub fn asked(&self) -> Option<&JudgedRequest> {
        self.asked.as_deref()
    }

    /// Notes that its client assertion is used for the first time; without that, it is not [redeemed](Self::redeem).
    ///
    /// # Errors
    /// [`EndpointError::AssertionReplayed`] if `first_use` is not about it.
    pub fn with_assertion_used(mut self, first_use: &FirstUse) -> Result<Self, EndpointError> {
        if let Some(asked) = &mut self.asked
            && let Some(assertion) = asked.assertion()
        {
            if !first_use.is_of(assertion.id()) {
                return Err(EndpointError::AssertionReplayed);
            }
            asked.forget_assertion();
        }
        Ok(self)
    }

    /// Its signature, if that has to be the first; without that, it is not [redeemed](Self::redeem).
    pub fn signature_to_remember(&self) -> Option<SignatureUse> {
        self.signed.as_ref().and_then(|signed| signed.to_remember())
    }

    /// Notes that its signature is used for the first time.
    ///
    /// # Errors
    /// [`SignatureError::Replayed`] if `first_use` is not about it.
    pub fn with_signature_used(mut self, first_use: &FirstUse) -> Result<Self, SignatureError> {
        self.signed = match self.signed {
            Some(signed) => Some(Box::new(signed.with_first_use(first_use)?)),
            None => None,
        };
        Ok(self)
    }

    /// Its idempotency key, if there is one that counts; without [its use](Self::with_key_used), it is not [redeemed](Self::redeem).
    ///
    /// Whatever would be refused uses up no key.
    pub fn idempotency_key(&self) -> Option<&IdempotencyKey> {
        self.key.as_deref().filter(|_| self.would_deny.is_none())
    }

    /// The same, of which this is the whole content: with method and target as received, it is what its idempotency key names.
    ///
    /// Of content that is a signed JWT, it is what is signed: who sends it again signs it again.
    pub fn with_request(self, request: &Parts, content: &[u8]) -> Self {
        let target = request.uri.path_and_query().map_or("/", |target| target.as_str());
        let signed = self.signed.as_ref().and_then(|signed| signed.payload());
        let content = signed.map_or(content, str::as_bytes);
        let key = self.key.map(|key| Box::new(key.of_request(&request.method, target, content)));
        Self { key, ..self }
    }

    /// Notes that its idempotency key was used for no other request.
    ///
    /// # Errors
    /// [`IdempotencyError::Reused`] if `accepted` is not about it.
    pub fn with_key_used(self, accepted: &AcceptedUse) -> Result<Self, IdempotencyError> {
        if self.key.as_ref().is_some_and(|key| !key.is_accepted(accepted)) {
            return Err(IdempotencyError::Reused);
        }
        Ok(Self { key: None, ..self })
    }

    /// The same of a request whose idempotency key was used for another one, or of which nobody knows, for this reason, if the route
    /// is in shadow.
    pub fn pass_key(self, code: Code, why: &dyn fmt::Display) -> Option<Self> {
        let noted = WouldDeny::instead_of(code, why, self.shadow?)?;
        Some(Self { would_deny: Some(self.would_deny.unwrap_or_else(|| noted.into())), key: None, ..self })
    }

    /// The client of the token.
    pub fn client_id(&self) -> Option<&str> {
        self.token.as_ref().and_then(AcceptedToken::client_id)
    }

    /// The same of a request of whose signature nobody knows whether it is the first, for this reason, if the route is in shadow.
    pub fn pass_unrecorded(self, code: Code, why: &dyn fmt::Display) -> Option<Self> {
        let noted = WouldDeny::instead_of(code, why, self.shadow?)?;
        let signed = self.signed.map(|signed| signed.not_remembered().into());
        Some(Self { would_deny: Some(self.would_deny.unwrap_or_else(|| noted.into())), signed, ..self })
    }

    /// The same of a request whose signature is not the first for this reason, if the route is in shadow.
    ///
    /// # Errors
    /// The error itself, if it is not.
    pub fn pass_replayed(self, error: SignatureError) -> Result<Self, SignatureError> {
        let Some(shadow) = self.shadow else { return Err(error) };
        let noted = || Some(WouldDeny::by_policy(error.code(), &error, shadow).into());
        let signed = self.signed.map(|signed| signed.not_remembered().into());
        Ok(Self { would_deny: self.would_deny.or_else(noted), signed, ..self })
    }

    /// The consent that it uses, if its route requires one and is not in shadow: it may be revoked meanwhile.
    pub fn consent(&self) -> Option<&ConsentQuestion> {
        self.consent.as_deref()
    }

    /// The token, unless the route is public.
    pub fn token(&self) -> Option<&ActiveToken> {
        self.token.as_ref().map(|token| &**token.token())
    }

    /// The token with its sender, if that is proven.
    pub fn bound(&self) -> Option<&BoundToken> {
        self.token.as_ref().and_then(AcceptedToken::bound)
    }

    /// Returns the permit. The check with a side effect is the last one, so that a refused request does not use up its
    /// proof.
    ///
    /// # Errors
    /// [`DpopError::Replayed`] if there is a proof and `first_use` is not about it, or a client assertion, a signature or an
    /// idempotency key whose use was not noted ([`Self::with_assertion_used`], [`Self::with_signature_used`],
    /// [`Self::with_key_used`]).
    pub fn redeem(self, first_use: Option<FirstUse>) -> Result<Permit, DpopError> {
        let unused = self.asked.as_ref().is_some_and(|asked| asked.assertion().is_some());
        if unused || self.signature_to_remember().is_some() || self.idempotency_key().is_some() {
            return Err(DpopError::Replayed);
        }
        match (self.proof(), first_use) {
            (None, _) => {}
            (Some(proof), Some(first_use)) if first_use.is_of(proof.id()) => {}
            (Some(_), _) => return Err(DpopError::Replayed),
        }
        let Self { matched, consent, token, shadow, would_deny, asked, signed, key: _ } = self;
        Ok(Permit { consent, shadow, would_deny, asked, signed: signed.map(Arc::from), ..Permit::of(matched, token) })
    }

    /// Returns the permit of a request whose proof or assertion cannot be redeemed for this reason, if the route is in shadow: a
    /// token counts as one whose sender is not proven.
    pub fn without_first_use(self, code: Code, why: &dyn fmt::Display) -> Option<Permit> {
        let shadow = self.shadow?;
        let noted = match self.asked {
            Some(_) => WouldDeny::at_server(code, why, shadow)?,
            None => WouldDeny::instead_of(code, why, shadow)?,
        };
        let token = self.token.map(|token| token.unproven(shadow));
        let would_deny = Some(self.would_deny.unwrap_or_else(|| noted.into()));
        let signed = self.signed.map(Arc::from);
        Some(Permit { shadow: Some(shadow), would_deny, asked: self.asked, signed, ..Permit::of(self.matched, token) })
    }
}

/// The right to forward one request. Nothing else names an upstream.
#[must_use]
#[derive(Clone, Debug)]
pub struct Permit {
    matched: Matched,
    consent: Option<Arc<ConsentQuestion>>,
    token: Option<AcceptedToken>,
    shadow: Option<InShadow>,
    would_deny: Option<Box<WouldDeny>>,
    asked: Option<Box<JudgedRequest>>,
    signed: Option<Arc<SignedRequest>>,
}

impl Permit {
    const fn of(matched: Matched, token: Option<AcceptedToken>) -> Self {
        Self { matched, consent: None, token, shadow: None, would_deny: None, asked: None, signed: None }
    }

    /// Where the request may go.
    pub fn upstream(&self) -> &UpstreamRef {
        &self.route().upstream
    }

    /// The route it was issued for.
    pub const fn route(&self) -> &Arc<Route> {
        self.matched.route()
    }

    /// The segments of the path that the route forwards, decoded, each with the header field for it.
    pub(crate) fn forwarded_segments(&self) -> impl Iterator<Item = &(HeaderName, Box<str>)> {
        self.matched.forwarded_segments()
    }

    /// The token, unless the route is public.
    pub const fn token(&self) -> Option<&AcceptedToken> {
        self.token.as_ref()
    }

    /// The consent that it uses, as [`Authorized::consent`] has it.
    pub fn consent(&self) -> Option<&ConsentQuestion> {
        self.consent.as_deref()
    }

    /// The request, at an endpoint of an authorization server.
    pub fn asked(&self) -> Option<&JudgedRequest> {
        self.asked.as_deref()
    }

    /// Its signature, if the route looks at that and there is one.
    pub const fn signed(&self) -> Option<&Arc<SignedRequest>> {
        self.signed.as_ref()
    }

    /// Whether its route was in shadow.
    pub const fn is_in_shadow(&self) -> bool {
        self.shadow.is_some()
    }

    /// What is noted in place of withholding the answer of an authorization server for this reason, if that is in shadow.
    pub fn noted(&self, code: Code, why: &dyn fmt::Display) -> Option<WouldDeny> {
        WouldDeny::at_server(code, why, self.shadow?)
    }

    /// Why the request would have been refused, if the route is in shadow.
    pub fn would_deny(&self) -> Option<&WouldDeny> {
        self.would_deny.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request, header};
    use serde_json::json;

    use super::*;
    use crate::credentials::Credentials;
    use crate::dpop::{NoProofKeys, ProofContext};
    use crate::peer::{NoCertificate, Peer};
    use crate::policy::{
        BodyMember, Comparison, DetailNeeds, DetailRule, IssuerIndex, MemberRule, NonceMode, Operand, Requirements,
        ScopeRule,
    };
    use crate::route::{Origin, Routes};
    use crate::shadow::Shadow;
    use crate::testing::{certificate, freshness, introspected, route};

    const NOW: UnixTime = UnixTime(1_800_000_000);
    const NOBODY: PeerCertificate<'static> =
        PeerCertificate { peer: &Peer::Anonymous(NoCertificate::NotPresented), verified_chain: false };

    fn routes() -> Routes {
        let scopes = ScopeRule::All(vec!["accounts".into()]);
        let policy = Policy::new(scopes, vec![IssuerIndex(0)], vec![Scheme::Bearer], NonceMode::Never).unwrap();
        let route = |name: &str, requirement| route(name, &format!("/{name}"), requirement);
        let (protected, open) = (route("p", Requirement::Protected(policy.into())), route("o", Requirement::Public));
        assert_eq!(protected.policy().map(Policy::scope_text), Some("accounts"));
        assert!(open.policy().is_none());
        Routes::new(vec![protected, open]).unwrap()
    }

    #[test]
    fn fwd_01_the_requirement_decides_the_admission() {
        let routes = routes();
        let public = |path| {
            let (request, ()) = Request::get(path).body(()).unwrap().into_parts();
            let origin = Arc::new(Origin::parse("https://api.example").unwrap());
            let matched = routes.find(&Target::parse(&request, &origin).unwrap()).unwrap();
            let route = Arc::clone(matched.route());
            match Admission::to(matched) {
                Admission::Public(authorized) => (Arc::ptr_eq(authorized.matched.route(), &route), true),
                Admission::Protected(_) | Admission::Endpoint(_) => (true, false),
            }
        };
        assert_eq!(public("/o"), (true, true));
        assert_eq!(public("/p"), (true, false));
    }

    #[test]
    fn a_guard_judges_by_its_policy() {
        let code = |scope: &str| {
            let Admission::Protected(guard) = admission("/p") else { panic!("the route is protected") };
            assert_eq!(guard.policy().scope_text(), "accounts");
            authorize(guard, scope, &HeaderMap::new()).err().map(|error| error.code())
        };
        assert_eq!((code("accounts"), code("openid accounts")), (None, None)); // control
        for scope in ["", "account", "accounts.read", "ACCOUNTS"] {
            assert_eq!(code(scope), Some(Code::ScopeInsufficient), "{scope:?}");
        }
    }

    #[test]
    fn a_form_beside_a_token_is_judged_before_the_permit() {
        let judged = |kind: &'static str| {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))]);
            let Admission::Protected(guard) = admission("/p") else { panic!("the route is protected") };
            authorize(guard, "accounts", &headers).unwrap()
        };
        let Judged::Authorized(authorized) = judged("application/json") else { panic!("JSON holds no parameters") };
        assert!(authorized.redeem(None).is_ok()); // control
        let waiting = || match judged("application/x-www-form-urlencoded") {
            Judged::AwaitsForm(waiting) => waiting,
            Judged::Authorized(_)
            | Judged::AwaitsBody(_)
            | Judged::AwaitsSignature(_)
            | Judged::AwaitsConsent(_)
            | Judged::AwaitsParameters(_) => {
                panic!("a form may hold a token")
            }
        };
        assert!(waiting().judge(b"amount=1").unwrap().redeem(None).is_ok()); // control
        assert_eq!(waiting().judge(b"amount=1&access_token=x").map(drop), Err(CredentialsError::FieldAndBody));
    }

    #[test]
    fn a_body_that_the_token_is_compared_with_is_judged_before_the_permit() {
        let body = Comparison::Equals(Operand::Body(BodyMember::new("/to").unwrap()));
        let needs = DetailNeeds { members: vec![MemberRule::new("/to", body).unwrap()], ..DetailNeeds::default() };
        let details = vec![DetailRule::new("payment", needs).unwrap()];
        let requirements = Requirements { authorization_details: details, ..Requirements::default() };
        let (request, ()) = Request::get("/p").body(()).unwrap().into_parts();
        let origin = Arc::new(Origin::parse("https://api.example").unwrap());
        let target = Target::parse(&request, &origin).unwrap();
        let judged = |to: &str, kind: &'static str| {
            let Admission::Protected(Guard { matched, policy }) = admission("/p") else { panic!("it is protected") };
            let guard = Guard { matched, policy: Arc::new((*policy).clone().with_requirements(requirements.clone())) };
            let details = json!([{ "type": "payment", "to": to }]);
            let token = bound_to(&json!({ "active": true, "scope": "accounts", "authorization_details": details }));
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(kind))]);
            guard.authorize(token, &target, &headers, NOBODY, &(), NOW)
        };
        let waiting = |to| match judged(to, "application/json") {
            Ok(Judged::AwaitsBody(waiting)) => waiting,
            other => panic!("the body decides: {other:?}"),
        };
        assert_eq!(&*waiting("DE02").route().name, "p");
        let permit = waiting("DE02").judge(br#"{"to":"DE02"}"#).unwrap().redeem(None).unwrap();
        assert!(permit.token().is_some()); // control
        let code = |to, body: &[u8]| waiting(to).judge(body).err().map(|error| error.code());
        assert_eq!(code("DE03", br#"{"to":"DE02"}"#), Some(Code::AuthorizationDetailsInsufficient));
        assert_eq!(code("DE02", br#"{"to":"DE02","to":"DE02"}"#), Some(Code::BodyUnreadable));
        assert_eq!(judged("DE02", "text/plain").unwrap_err(), PolicyError::BodyTypeUnsupported);
        let form = judged("DE02", "application/x-www-form-urlencoded").unwrap_err();
        assert_eq!(form, PolicyError::BodyTypeUnsupported);
    }

    #[test]
    fn in_shadow_the_first_reason_is_noted_and_nothing_is_said_of_a_binding() {
        let judged = |scope: &str, is_own: bool| {
            let Judged::Authorized(authorized) = in_shadow(scope, is_own, NOW.plus(9), NOW.plus(1)).unwrap() else {
                panic!("there is no body")
            };
            let permit = authorized.redeem(None).unwrap();
            let is_bound = permit.token().is_some_and(|token| token.confirmation().is_some());
            (permit.would_deny().map(WouldDeny::code), is_bound)
        };
        assert_eq!(judged("accounts", true), (None, true)); // control
        assert_eq!(judged("accounts", false), (Some(Code::CertificateMismatch), false));
        assert_eq!(judged("openid", true), (Some(Code::ScopeInsufficient), true));
        assert_eq!(judged("openid", false), (Some(Code::CertificateMismatch), false));
    }

    #[test]
    fn in_shadow_nobody_passes_with_a_token_that_is_not_valid() {
        let refused = in_shadow("accounts", false, NOW, NOW.plus(1)).unwrap_err();
        assert!(matches!(refused, Refused::Sender(SenderError::Token(_))), "{refused:?}");
        assert!(in_shadow("accounts", false, NOW.plus(1), NOW.plus(1)).is_ok()); // control
    }

    #[test]
    fn a_proof_that_cannot_be_redeemed_is_noted_in_shadow_alone() {
        let authorized = |shadow| {
            let token = Some(AcceptedToken::Bound(bound("accounts")));
            let Admission::Protected(Guard { matched, .. }) = admission("/p") else { panic!("the route is protected") };
            Authorized { token, shadow, ..Authorized::open(matched) }
        };
        let shadow = Shadow::until(NOW.plus(1)).at(NOW);
        assert!(authorized(None).without_first_use(Code::DpopReplayed, &"why").is_none());
        assert!(authorized(shadow).without_first_use(Code::TokenRevoked, &"why").is_none());
        let permit = authorized(shadow).without_first_use(Code::DpopReplayed, &"why").unwrap();
        assert_eq!(permit.would_deny().map(WouldDeny::code), Some(Code::DpopReplayed));
        assert!(permit.token().is_some_and(|token| token.confirmation().is_none()));
    }

    /// Judges, on a route that is in shadow until `end`, a token with this scope that is bound to the client's certificate or to
    /// another one.
    fn in_shadow(scope: &str, is_own: bool, expires_at: UnixTime, end: UnixTime) -> Result<Judged, Refused> {
        let Admission::Protected(Guard { matched, policy }) = admission("/p") else { panic!("the route is protected") };
        let policy = (*policy).clone().with_shadow(Shadow::until(end));
        let guard = Guard { matched, policy: policy.into() };
        let shadow = guard.shadow(NOW).unwrap();
        let (own, other) = (certificate(), certificate());
        let bound_to = if is_own { own.thumbprint() } else { other.thumbprint() }.to_string();
        let answer = json!({ "active": true, "scope": scope, "exp": expires_at.0, "cnf": { "x5t#S256": bound_to } });
        let token = introspected(&answer, UnixTime(NOW.0 - 1));
        let (mut request, ()) = Request::get("/p").body(()).unwrap().into_parts();
        request.headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer token"));
        let origin = Arc::new(Origin::parse("https://api.example").unwrap());
        let target = Target::parse(&request, &origin).unwrap();
        let credentials = Credentials::from_request(&request.headers, None, guard.schemes(Some(shadow))).unwrap();
        let context = ProofContext {
            target: &target,
            nonce: NonceMode::Never,
            freshness: &freshness(),
            keys: &NoProofKeys,
            replay_log_began: &|| UnixTime(0),
            now: NOW,
        };
        let peer = Peer::Certificate(Arc::new(own));
        let evidence = SenderEvidence::collect_in_shadow(credentials, &peer, context, &[Scheme::Bearer], shadow);
        let client = PeerCertificate { peer: &peer, verified_chain: true };
        let sent = (&target, &request.headers, client);
        guard.authorize_in_shadow(Arc::new(token), evidence, sent, shadow, &(), NOW)
    }

    /// What the route of this path requires: a token with scope `accounts` for `/p`, nothing for `/o`.
    fn admission(path: &str) -> Admission {
        let (request, ()) = Request::get(path).body(()).unwrap().into_parts();
        let origin = Arc::new(Origin::parse("https://api.example").unwrap());
        Admission::to(routes().find(&Target::parse(&request, &origin).unwrap()).unwrap())
    }

    /// Judges a request for `/p` with a token of this scope.
    fn authorize(guard: Guard, scope: &str, headers: &HeaderMap) -> Result<Judged, PolicyError> {
        let (request, ()) = Request::get("/p").body(()).unwrap().into_parts();
        let origin = Arc::new(Origin::parse("https://api.example").unwrap());
        guard.authorize(bound(scope), &Target::parse(&request, &origin).unwrap(), headers, NOBODY, &(), NOW)
    }

    /// A token with this scope that is bound to the client's certificate.
    fn bound(scope: &str) -> BoundToken {
        bound_to(&json!({ "active": true, "scope": scope }))
    }

    /// A token of which its issuer says this, bound in the same way.
    fn bound_to(answer: &serde_json::Value) -> BoundToken {
        let certificate = certificate();
        let cnf = json!({ "x5t#S256": certificate.thumbprint().to_string() });
        let (mut request, ()) = Request::get("/p").body(()).unwrap().into_parts();
        request.headers.insert(header::AUTHORIZATION, HeaderValue::from_static("Bearer token"));
        let origin = Arc::new(Origin::parse("https://api.example").unwrap());
        let target = Target::parse(&request, &origin).unwrap();
        let credentials = Credentials::from_request(&request.headers, None, &[Scheme::Bearer]).unwrap();
        let mut answer = answer.clone();
        answer["cnf"] = cnf;
        let token = introspected(&answer, NOW);
        let context = ProofContext {
            target: &target,
            nonce: NonceMode::Never,
            freshness: &freshness(),
            keys: &NoProofKeys,
            replay_log_began: &|| UnixTime(0),
            now: NOW,
        };
        let peer = Peer::Certificate(Arc::new(certificate));
        let evidence = SenderEvidence::collect(credentials, &peer, context, &[Scheme::Bearer]).unwrap();
        BoundToken::prove(Arc::new(token), evidence).unwrap()
    }
}
