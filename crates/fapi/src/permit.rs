//! From a route and a bound token to the permit that names the upstream.
//!
//! The last types of the line. An [`Admission`] is what a matched route requires. A [`Guard`] protects a route and
//! judges a [`BoundToken`]; if the body could contain a second token ([`AwaitsForm`]), or if the route compares the token
//! with it ([`AwaitsBody`]), it is judged next. On a route in [shadow](crate::shadow), what would be refused is noted in
//! the permit. Then the request is [`Authorized`], and redeeming that returns a [`Permit`], which alone names an upstream.
//! No code outside this file can make one:
//!
//! ```compile_fail
//! use fapi::{permit::Permit, route::Matched};
//! fn forge(matched: Matched) -> Permit {
//!     Permit { matched, token: None, shadow: None, would_deny: None, asked: None, signed: None } // the fields are private
//! }
//! ```
//!
//! ```compile_fail
//! use fapi::{permit::Permit, route::Matched};
//! fn forge(matched: Matched) -> Permit {
//!     Permit::of(matched, None) // and so is the constructor
//! }
//! ```

use std::fmt;
use std::sync::Arc;

use http::header::CONNECTION;
use http::{HeaderMap, HeaderName};

use crate::UnixTime;
use crate::authorization_server::front_channel::{Pushed, PushedReference};
use crate::authorization_server::registration::{Registration, RegistrationRequest, RegistrationRules};
use crate::authorization_server::{Endpoint, EndpointError, FormRequest, JudgedRequest, Rules};
use crate::code::Code;
use crate::credentials::{CredentialsError, Scheme, form_has_token, is_form};
use crate::dpop::{DpopError, FirstUse, VerifiedProof};
use crate::jose::keys::KeySet;
use crate::path_validation::Verification;
use crate::peer::ClientCertificate;
use crate::policy::{Policy, PolicyError, Remaining};
use crate::route::{Matched, Requirement, Route, Target, UpstreamRef};
use crate::sender::{AcceptedToken, BoundToken, SenderError, SenderEvidence};
use crate::shadow::{InShadow, WouldDeny};
use crate::signature::component::Component;
use crate::signature::digest::{CONTENT_DIGEST, ClaimedDigest, ContentHasher};
use crate::signature::error::SignatureError;
use crate::signature::form::{Form, Forward};
use crate::signature::input::{SIGNATURE, SIGNATURE_INPUT};
use crate::signature::message::{Message, RequestView};
use crate::signature::profile::Content;
use crate::signature::rules::{Presence, RequestRules, SignatureRules};
use crate::signature::signed_content::{Expected, Signed, SignedContent};
use crate::signature::signed_request::{SignatureUse, SignedRequest, Verified};
use crate::signature::verify::{self, SignedFields};
use crate::signed_body::berlin_group::{self, SealedFields};
use crate::signed_body::detached::X_JWS_SIGNATURE;
use crate::signed_body::digest_header;
use crate::signed_body::error::SignedBodyError;
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

    /// Checks whether the token satisfies the policy at `now`, for a request with this target. `headers` say whether the
    /// body has to be judged as well.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn authorize(
        self,
        token: BoundToken,
        target: &Target<'_>,
        headers: &HeaderMap,
        now: UnixTime,
    ) -> Result<Judged, PolicyError> {
        let remaining = self.policy.check(token.claims(), target, headers, now)?;
        let token = AcceptedToken::Bound(token);
        let rules = self.policy.signature().cloned();
        let judged = if remaining.is_empty() {
            Authorized { token: Some(token), ..Authorized::open(self.matched) }.beside(headers)
        } else {
            AwaitsBody::of(self, token, remaining, None)
        };
        Ok(judged.beside_signature(rules, None))
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
        (target, headers): (&Target<'_>, &HeaderMap),
        shadow: InShadow,
        now: UnixTime,
    ) -> Result<Judged, Refused> {
        let is_for = match (self.policy.shadow(), token.claims_at(now)) {
            (Some(shadow), Ok(claims)) => shadow.is_for(claims),
            (None, _) | (_, Err(_)) => false,
        };
        if !is_for {
            return Ok(self.authorize(BoundToken::prove(token, evidence)?, target, headers, now)?);
        }
        let (token, noted) = AcceptedToken::in_shadow(token, evidence, shadow)?;
        let rules = self.policy.signature().cloned();
        let would_deny = match (self.policy.check(token.claims(), target, headers, now), noted) {
            (Ok(remaining), None) if !remaining.is_empty() => {
                let waiting = AwaitsBody::of(self, token, remaining, Some(shadow));
                return Ok(waiting.beside_signature(rules, Some(shadow)));
            }
            (Ok(_), noted) => noted,
            // What the request says of the customer is no requirement on the token.
            (Err(error @ (PolicyError::AuthDateMalformed | PolicyError::CustomerIpAddressMalformed)), _) => {
                return Err(error.into());
            }
            (Err(error), noted) => Some(noted.unwrap_or_else(|| WouldDeny::by_policy(error.code(), &error, shadow))),
        };
        let would_deny = would_deny.map(Box::new);
        let open = Authorized::open(self.matched);
        let judged = Authorized { token: Some(token), shadow: Some(shadow), would_deny, ..open }.beside(headers);
        Ok(judged.beside_signature(rules, Some(shadow)))
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
    pub fn route(&self) -> &Route {
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

    /// Whether the server is in shadow at `now`, for some client at least.
    pub fn shadow(&self, now: UnixTime) -> Option<InShadow> {
        self.rules.shadow.as_ref()?.at(now)
    }

    /// Whether it is for a client that calls itself so.
    fn shadow_of(&self, client: Option<&str>, now: UnixTime) -> Option<InShadow> {
        let shadow = self.rules.shadow.as_ref().filter(|shadow| shadow.is_for_client(client))?;
        shadow.at(now)
    }

    /// Lets a request pass whose answer alone is judged.
    ///
    /// # Errors
    /// The guard itself, if there are rules on what the request says.
    pub fn without_rules(self, now: UnixTime) -> Result<Authorized, Self> {
        match self.endpoint {
            // Whose answer it is shows in the answer.
            Endpoint::Page | Endpoint::Jwks | Endpoint::Metadata => {
                Ok(Authorized { shadow: self.shadow(now), ..Authorized::open(self.matched) })
            }
            Endpoint::PushedAuthorizationRequest
            | Endpoint::Authorization
            | Endpoint::Token
            | Endpoint::Introspection
            | Endpoint::Revocation
            | Endpoint::Registration => Err(self),
        }
    }

    /// Judges the form of a client that is authenticated.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn authorize_form(self, request: FormRequest<'_>) -> Result<Authorized, EndpointError> {
        let now = request.now;
        let asked = JudgedRequest::of_form(self.endpoint, &self.rules, request)?;
        Ok(self.authorized(asked, now))
    }

    /// Judges a client that asks to be registered.
    ///
    /// # Errors
    /// [`EndpointError::Registration`].
    pub fn authorize_registration(
        self,
        request: &RegistrationRequest<'_>,
        rules: &RegistrationRules,
    ) -> Result<Authorized, EndpointError> {
        let asked = JudgedRequest::of_registration(Registration::judge(request, &self.rules, rules)?);
        Ok(self.authorized(asked, request.now))
    }

    /// Judges what a browser brings: the name of what was `pushed`, if anything was under it.
    ///
    /// # Errors
    /// [`EndpointError::RequestUriUnknown`].
    pub fn authorize_reference(
        self,
        reference: PushedReference,
        pushed: Option<&Pushed>,
        now: UnixTime,
    ) -> Result<Authorized, EndpointError> {
        let asked = JudgedRequest::of_reference(reference, pushed, now)?;
        Ok(self.authorized(asked, now))
    }

    fn authorized(self, asked: JudgedRequest, now: UnixTime) -> Authorized {
        let shadow = self.shadow_of(Some(asked.client_id()), now);
        Authorized { asked: Some(asked.into()), shadow, ..Authorized::open(self.matched) }
    }

    /// Lets a request pass that would be refused for this reason, if the server is in shadow for the `client` that it says it is
    /// of: the server judges it alone, as it did without the gateway.
    pub fn pass_in_shadow(
        self,
        client: Option<&str>,
        code: Code,
        why: &dyn fmt::Display,
        now: UnixTime,
    ) -> Option<Authorized> {
        let shadow = self.shadow_of(client, now)?;
        let would_deny = WouldDeny::at_server(code, why, shadow)?;
        let asked = JudgedRequest::not_judged(client.unwrap_or_default());
        let would_deny = Some(would_deny.into());
        Some(Authorized {
            shadow: Some(shadow),
            would_deny,
            asked: Some(asked.into()),
            ..Authorized::open(self.matched)
        })
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
            Self::AwaitsParameters(_) => None,
        }
    }

    /// The route that it is for.
    pub fn route(&self) -> &Arc<Route> {
        match self {
            Self::Authorized(authorized) | Self::AwaitsForm(AwaitsForm(authorized)) => authorized.matched.route(),
            Self::AwaitsBody(waiting) => waiting.guard.matched.route(),
            Self::AwaitsSignature(waiting) => waiting.rest.route(),
            Self::AwaitsParameters(guard) => guard.matched.route(),
        }
    }

    /// Whether its signature holds, where the route looks at that.
    pub const fn is_signed(&self) -> bool {
        match self {
            Self::Authorized(authorized) | Self::AwaitsForm(AwaitsForm(authorized)) => authorized.signed.is_some(),
            Self::AwaitsBody(waiting) => waiting.signed.is_some(),
            Self::AwaitsSignature(_) | Self::AwaitsParameters(_) => false,
        }
    }

    /// What remains beside a signature.
    ///
    /// # Errors
    /// The request itself, if its signature is to be judged first.
    pub fn without_signature(self) -> Result<Self, Box<AwaitsSignature>> {
        match self {
            Self::AwaitsSignature(waiting) => Err(waiting),
            other @ (Self::Authorized(_) | Self::AwaitsForm(_) | Self::AwaitsBody(_) | Self::AwaitsParameters(_)) => {
                Ok(other)
            }
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
            other @ (Self::AwaitsSignature(_) | Self::AwaitsParameters(_)) => other,
        }
    }

    /// The same, of which it is noted that it would be refused. What was noted before is the reason that counts.
    fn noting(self, noted: WouldDeny) -> Self {
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
            other @ (Self::AwaitsSignature(_) | Self::AwaitsParameters(_)) => other,
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

/// The signature over the header section of a request, or that it has none and needs none. The content is not judged yet.
#[must_use]
#[derive(Debug)]
pub struct HeadSignature(Head);

#[derive(Debug)]
enum Head {
    /// It has none and needs none.
    Unsigned,
    /// By the fields of RFC 9421.
    Http {
        signed: SignedFields,
        /// What the content has to be.
        claimed: Option<ClaimedDigest>,
        remember_for: Option<(u64, u64)>,
    },
    /// By a seal.
    Seal {
        sealed: SealedFields,
        /// What the content has to be, which may be nothing.
        claimed: ClaimedDigest,
        remember_for: Option<(u64, u64)>,
    },
    /// The content is signed by itself.
    Content,
}

/// What the signature over a header section is judged by.
#[derive(Clone, Copy)]
pub struct HeadEvidence<'e> {
    /// The keys of [`AwaitsSignature::client_id`]; none are needed where the content is signed by itself, and for a seal.
    pub keys: &'e KeySet,
    /// The certificate with which the client connects, which a seal is compared with.
    pub certificate: Option<&'e ClientCertificate>,
    /// What verifies the certificate of a seal.
    pub verification: &'e dyn Verification,
}

impl AwaitsSignature {
    /// The route.
    pub fn route(&self) -> &Arc<Route> {
        self.rest.route()
    }

    /// What its signature has to be.
    pub fn rules(&self) -> Option<&RequestRules> {
        self.rules.request.as_ref()
    }

    /// Whether what does not hold is noted alone.
    pub const fn is_in_shadow(&self) -> bool {
        self.shadow.is_some()
    }

    /// Whether a request with these fields, if it has content, is refused for lack of a digest: its signature cannot hold.
    pub fn needs_digest_of(&self, headers: &HeaderMap) -> bool {
        let rules = self.rules().filter(|rules| rules.presence == Presence::Required && self.shadow.is_none());
        let is_http =
            rules.is_some_and(|rules| matches!(rules.form, Form::Http(_)) && rules.form.is_claimed_by(headers));
        is_http && !headers.contains_key(CONTENT_DIGEST)
    }

    /// The client of the token, whose keys count.
    pub fn client_id(&self) -> Option<&str> {
        self.rest.token().and_then(|token| token.claims().text("client_id"))
    }

    /// Judges the signature over the header section, or, where the content is signed by itself, whether it claims to be.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify(
        &self,
        request: RequestView<'_>,
        content: Content,
        evidence: HeadEvidence<'_>,
        now: UnixTime,
    ) -> Result<HeadSignature, SignatureError> {
        let Some(rules) = self.rules() else { return Ok(HeadSignature(Head::Unsigned)) };
        let may_lack = rules.presence == Presence::WhenPresent;
        let is_claimed = rules.form.is_claimed_by(request.headers);
        // Of a request without content, there is nothing to sign in these forms.
        let has_nothing = content == Content::Absent && rules.form.signs_content_alone();
        if has_nothing || (may_lack && !is_claimed) {
            return Ok(HeadSignature(Head::Unsigned));
        }
        let remember_for = rules.replay.remembers(request.method).then_some((rules.max_age, rules.clock_skew));
        let head = match &rules.form {
            Form::Http(_) => {
                let Some(profile) = rules.profile(request.headers, content) else {
                    return Err(SignatureError::ContentNotSigned);
                };
                let signed = match verify::verify(&Message::Request(request), &profile, evidence.keys, now) {
                    // It is signed for somebody else.
                    Err(SignatureError::TagMissing { .. }) if may_lack => return Ok(HeadSignature(Head::Unsigned)),
                    signed => signed?,
                };
                if remember_for.is_some() {
                    signed.check_only()?;
                }
                check_forwarded(request.headers, signed.components())?;
                let has_digest = content == Content::Present || signed.covers_digest();
                let claimed = if has_digest { Some(ClaimedDigest::read(request.headers)?) } else { None };
                Head::Http { signed, claimed, remember_for }
            }
            Form::Seal(form) => {
                let certificate = evidence
                    .certificate
                    .ok_or(SignedBodyError::SenderUnknown { lacks: "a certificate with which it connects" })?;
                let required = berlin_group::Rules {
                    max_age: rules.max_age,
                    clock_skew: rules.clock_skew,
                    ..berlin_group::Rules::new(form.anchors.as_slice(), &[], evidence.verification)
                };
                let sealed = berlin_group::verify(&request, certificate, &required, now)?;
                let claimed = digest_header::read(request.headers)?;
                Head::Seal { sealed, claimed, remember_for }
            }
            Form::DetachedJws(_) if is_claimed => Head::Content,
            Form::JwtBody(_) if is_claimed => Head::Content,
            Form::DetachedJws(_) => return Err(SignedBodyError::Missing { what: X_JWS_SIGNATURE }.into()),
            Form::JwtBody(_) => {
                return Err(SignedBodyError::Missing { what: "content of the type application/jwt" }.into());
            }
        };
        Ok(HeadSignature(head))
    }

    /// Goes on with the content.
    pub fn head_signed(self: Box<Self>, head: HeadSignature) -> AwaitsContent {
        let Self { rest, rules, shadow } = *self;
        AwaitsContent { rest, head: head.0, rules, shadow }
    }

    /// Goes on without a signature that holds, if the route is in shadow.
    ///
    /// # Errors
    /// The error itself, if it is not.
    pub fn pass_unsigned(self: Box<Self>, error: SignatureError) -> Result<Judged, SignatureError> {
        let Some(shadow) = self.shadow else { return Err(error) };
        Ok(self.rest.noting(WouldDeny::by_policy(error.code(), &error, shadow)))
    }
}

/// RFC 9110 §7.6.1: a field that `Connection` names is for the next hop, and does not go on. What is covered has to, with the
/// signature itself, or the upstream would get another message than the one that was signed (HSIG-15).
fn check_forwarded(headers: &HeaderMap, covered: &[Component]) -> Result<(), SignatureError> {
    let own = [SIGNATURE, SIGNATURE_INPUT].map(|name| Component::field(HeaderName::from_static(name)));
    let options = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    for option in options.flat_map(|value| value.split(',')).map(str::trim) {
        let named = covered.iter().chain(&own).find(|component| component.is_of_field(option));
        if let Some(component) = named {
            return Err(SignatureError::ComponentNotForwarded { component: component.shown() });
        }
    }
    Ok(())
}

/// A request whose header section is signed as its route says.
#[must_use]
#[derive(Debug)]
pub struct AwaitsContent {
    rest: Judged,
    head: Head,
    rules: Arc<SignatureRules>,
    shadow: Option<InShadow>,
}

/// What has to be done with the content before it is judged.
#[must_use]
pub enum Awaited {
    /// Nothing; it need not be read.
    Nothing,
    /// All of it goes through this, as it is received.
    Hashed(ContentHasher),
    /// All of it is read, at most this many bytes, and verified ([`AwaitsContent::verify`]).
    Whole(usize),
}

/// What was found out about the content, as it was [awaited](Awaited).
#[must_use]
pub enum ReadContent {
    /// It was not read.
    Unread,
    /// All of it went through this.
    Hashed(ContentHasher),
    /// It was verified, or cannot be.
    Verified(Result<SignedContent, SignatureError>),
}

impl AwaitsContent {
    /// Whether what does not hold is noted alone.
    pub const fn is_in_shadow(&self) -> bool {
        self.shadow.is_some()
    }

    /// The route, whose limits the content has.
    pub fn route(&self) -> &Arc<Route> {
        self.rest.route()
    }

    /// What its signature has to be.
    pub fn rules(&self) -> Option<&RequestRules> {
        self.rules.request.as_ref()
    }

    /// The client of the token, whose keys count.
    pub fn client_id(&self) -> Option<&str> {
        self.rest.token().and_then(|token| token.claims().text("client_id"))
    }

    /// Whether it has a signature, which need not be.
    pub const fn is_signed(&self) -> bool {
        !matches!(self.head, Head::Unsigned)
    }

    /// What is to be done with the content.
    pub fn awaits(&self) -> Awaited {
        match &self.head {
            Head::Unsigned | Head::Http { claimed: None, .. } => Awaited::Nothing,
            Head::Http { claimed: Some(claimed), .. } | Head::Seal { claimed, .. } => {
                Awaited::Hashed(claimed.clone().hasher())
            }
            Head::Content => {
                let limit = self.rules().and_then(|rules| rules.form.content_limit());
                Awaited::Whole(limit.unwrap_or(usize::MAX))
            }
        }
    }

    /// Verifies content that is signed by itself, with keys of [`Self::client_id`]. It may be tried again with others.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn verify(
        &self,
        signed: Signed<'_>,
        expected: &Expected<'_>,
        keys: &KeySet,
        now: UnixTime,
    ) -> Result<SignedContent, SignatureError> {
        let rules = self.rules().ok_or(SignatureError::ContentNotSigned)?;
        SignedContent::verify(rules, signed, expected, keys, now)
    }

    /// Judges the whole content, of which this was found out, and which has to be forwarded as it was received, or as
    /// [`SignedRequest::payload_to_forward`] says.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn judge(self, content: ReadContent) -> Result<Judged, SignatureError> {
        let Self { rest, head, shadow, .. } = self;
        let signed = match (head, content) {
            (Head::Unsigned, _) => return Ok(rest),
            (Head::Http { signed, remember_for, .. }, content) => http_signed(signed, remember_for, content),
            (Head::Seal { sealed, remember_for, .. }, ReadContent::Hashed(hasher)) => {
                let client = rest.token().and_then(|token| token.claims().text("client_id")).unwrap_or_default();
                sealed_by(client, sealed, remember_for, hasher)
            }
            (Head::Content, ReadContent::Verified(verified)) => verified.map(SignedContent::into_request),
            (Head::Seal { .. } | Head::Content, _) => Err(SignatureError::ContentNotSigned),
        };
        match (signed, shadow) {
            (Ok(signed), _) => Ok(rest.signed(signed)),
            (Err(error), None) => Err(error),
            (Err(error), Some(shadow)) => Ok(rest.noting(WouldDeny::by_policy(error.code(), &error, shadow))),
        }
    }
}

/// The request with a signature of RFC 9421 and this content.
fn http_signed(
    signed: SignedFields,
    remember_for: Option<(u64, u64)>,
    content: ReadContent,
) -> Result<SignedRequest, SignatureError> {
    let signature = match content {
        ReadContent::Hashed(hasher) => signed.with_content(&hasher.finish()?)?,
        ReadContent::Unread => signed.without_content()?,
        ReadContent::Verified(_) => return Err(SignatureError::ContentNotSigned),
    };
    let remember = remember_for.map(|times| SignatureUse::of_http(&signature, times));
    Ok(SignedRequest::new(Verified::Http(signature.into()), remember, Forward::AsIs))
}

/// The request with a seal and this content.
fn sealed_by(
    client: &str,
    sealed: SealedFields,
    remember_for: Option<(u64, u64)>,
    hasher: ContentHasher,
) -> Result<SignedRequest, SignatureError> {
    let body = hasher.finish().map_err(SignedBodyError::from)?;
    let seal = sealed.with_body(&body)?;
    // Without a `Date`, nobody knows how old it is.
    let date = seal.date().ok_or(SignedBodyError::NotCovered { name: "date" })?;
    let remember = remember_for.map(|times| SignatureUse::of_seal(client, &seal, date, times));
    Ok(SignedRequest::new(Verified::Seal(seal.into()), remember, Forward::AsIs))
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
    shadow: Option<InShadow>,
    would_deny: Option<Box<WouldDeny>>,
    signed: Option<Box<SignedRequest>>,
}

impl AwaitsBody {
    fn of(guard: Guard, token: AcceptedToken, remaining: Remaining, shadow: Option<InShadow>) -> Judged {
        Judged::AwaitsBody(Self { guard, token, remaining, shadow, would_deny: None, signed: None }.into())
    }

    /// The route, whose limits the body has.
    pub fn route(&self) -> &Route {
        self.guard.matched.route()
    }

    /// Judges the whole body, which has to be forwarded byte for byte. A body that is refused does not use up the proof.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn judge(self, body: &[u8]) -> Result<Authorized, PolicyError> {
        let Self { guard: Guard { matched, policy }, token, remaining, shadow, would_deny, signed } = self;
        let noted = match (policy.check_body(token.claims(), &remaining, body), shadow) {
            (Ok(()), _) => None,
            (Err(error), None) => return Err(error),
            (Err(error), Some(shadow)) => Some(WouldDeny::by_policy(error.code(), &error, shadow).into()),
        };
        let would_deny = would_deny.or(noted);
        Ok(Authorized { matched, token: Some(token), shadow, would_deny, asked: None, signed })
    }

    /// Lets a body pass that cannot be read as a whole before it is forwarded, if the route is in shadow.
    ///
    /// # Errors
    /// The request itself, if the route is not.
    pub fn pass_unread(self: Box<Self>) -> Result<Authorized, Box<Self>> {
        let Some(shadow) = self.shadow else { return Err(self) };
        let Self { guard: Guard { matched, .. }, token, would_deny, signed, .. } = *self;
        let would_deny = would_deny.or_else(|| Some(WouldDeny::body_unread(shadow).into()));
        Ok(Authorized { matched, token: Some(token), shadow: Some(shadow), would_deny, asked: None, signed })
    }
}

/// A request that passed every check without side effects.
#[must_use]
#[derive(Debug)]
pub struct Authorized {
    matched: Matched,
    token: Option<AcceptedToken>,
    shadow: Option<InShadow>,
    would_deny: Option<Box<WouldDeny>>,
    asked: Option<Box<JudgedRequest>>,
    signed: Option<Box<SignedRequest>>,
}

impl Authorized {
    const fn open(matched: Matched) -> Self {
        Self { matched, token: None, shadow: None, would_deny: None, asked: None, signed: None }
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

    /// The client of the token.
    pub fn client_id(&self) -> Option<&str> {
        self.token.as_ref().and_then(|token| token.claims().text("client_id"))
    }

    /// The same of a request of whose signature nobody knows whether it is the first, for this reason, if the route is in shadow.
    pub fn pass_unrecorded(self, code: Code, why: &dyn fmt::Display) -> Option<Self> {
        let noted = WouldDeny::instead_of(code, why, self.shadow?)?;
        Some(Self { would_deny: Some(self.would_deny.unwrap_or_else(|| noted.into())), signed: None, ..self })
    }

    /// The same of a request whose signature is not the first for this reason, if the route is in shadow.
    ///
    /// # Errors
    /// The error itself, if it is not.
    pub fn pass_replayed(self, error: SignatureError) -> Result<Self, SignatureError> {
        let Some(shadow) = self.shadow else { return Err(error) };
        let noted = || Some(WouldDeny::by_policy(error.code(), &error, shadow).into());
        Ok(Self { would_deny: self.would_deny.or_else(noted), signed: None, ..self })
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
    /// [`DpopError::Replayed`] if there is a proof and `first_use` is not about it, or a client assertion or a signature whose use
    /// was not noted ([`Self::with_assertion_used`], [`Self::with_signature_used`]).
    pub fn redeem(self, first_use: Option<FirstUse>) -> Result<Permit, DpopError> {
        let unused = self.asked.as_ref().is_some_and(|asked| asked.assertion().is_some());
        if unused || self.signature_to_remember().is_some() {
            return Err(DpopError::Replayed);
        }
        match (self.proof(), first_use) {
            (None, _) => {}
            (Some(proof), Some(first_use)) if first_use.is_of(proof.id()) => {}
            (Some(_), _) => return Err(DpopError::Replayed),
        }
        let Self { matched, token, shadow, would_deny, asked, signed } = self;
        Ok(Permit { shadow, would_deny, asked, signed: signed.map(Arc::from), ..Permit::of(matched, token) })
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
    token: Option<AcceptedToken>,
    shadow: Option<InShadow>,
    would_deny: Option<Box<WouldDeny>>,
    asked: Option<Box<JudgedRequest>>,
    signed: Option<Arc<SignedRequest>>,
}

impl Permit {
    const fn of(matched: Matched, token: Option<AcceptedToken>) -> Self {
        Self { matched, token, shadow: None, would_deny: None, asked: None, signed: None }
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
    use crate::peer::Peer;
    use crate::policy::{
        BodyMember, Comparison, DetailNeeds, DetailRule, IssuerIndex, MemberRule, NonceMode, Operand, Requirements,
        ScopeRule,
    };
    use crate::route::{Origin, Routes};
    use crate::shadow::Shadow;
    use crate::testing::{certificate, freshness, introspected, route};

    const NOW: UnixTime = UnixTime(1_800_000_000);

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
            guard.authorize(token, &target, &headers, NOW)
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
        guard.authorize_in_shadow(Arc::new(token), evidence, (&target, &request.headers), shadow, NOW)
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
        guard.authorize(bound(scope), &Target::parse(&request, &origin).unwrap(), headers, NOW)
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
