//! What a request on a route that looks at signatures has to pass, beside all else: first its header section, then its content.

use std::sync::Arc;

use http::header::{CONNECTION, CONTENT_ENCODING};
use http::{HeaderMap, HeaderName};

use super::{AwaitsSignature, Judged};
use crate::UnixTime;
use crate::jose::keys::KeySet;
use crate::peer::ClientCertificate;
use crate::route::Route;
use crate::sender::AcceptedToken;
use crate::shadow::{InShadow, WouldDeny};
use crate::signature::component::Component;
use crate::signature::digest::{CONTENT_DIGEST, ClaimedDigest, ContentHasher};
use crate::signature::error::SignatureError;
use crate::signature::form::{Form, Forward};
use crate::signature::input::{SIGNATURE, SIGNATURE_INPUT};
use crate::signature::message::{Message, RequestView};
use crate::signature::profile::Content;
use crate::signature::rules::{Presence, RequestRules, SignatureRules};
use crate::signature::signed_content::{Expected, Opened, Signed, SignedContent};
use crate::signature::signed_request::{SignatureUse, SignedRequest, Verified};
use crate::signature::verify::{self, SignedFields};
use crate::signed_body::berlin_group::{self, SealedFields};
use crate::signed_body::detached::X_JWS_SIGNATURE;
use crate::signed_body::digest_header;
use crate::signed_body::error::SignedBodyError;

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
        self.rest.token().and_then(AcceptedToken::client_id)
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
                    ..berlin_group::Rules::new(form.authorities.anchors(), &[], form.authorities.verification())
                };
                let sealed = berlin_group::verify(&request, certificate, &required, now)?;
                let claimed = digest_header::read(request.headers)?;
                Head::Seal { sealed, claimed, remember_for }
            }
            Form::DetachedJws(_) if is_claimed => Head::Content,
            // RFC 9110 §8.4: who decodes the content reads another text than the one that is verified.
            Form::JwtBody(_) if is_claimed && request.headers.contains_key(CONTENT_ENCODING) => {
                return Err(SignedBodyError::Malformed { what: "the content", why: "it has a Content-Encoding" }.into());
            }
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
        self.rest.token().and_then(AcceptedToken::client_id)
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

    /// Makes of content that is signed by itself what can be verified: what is in it, where it is encrypted.
    ///
    /// # Errors
    /// [`SignatureError`].
    pub fn open<'c>(&self, content: &'c [u8]) -> Result<Opened<'c>, SignatureError> {
        Opened::of(self.rules().ok_or(SignatureError::ContentNotSigned)?, content)
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
                let client = rest.token().and_then(AcceptedToken::client_id).unwrap_or_default();
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
