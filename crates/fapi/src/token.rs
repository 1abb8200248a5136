//! An access token that is authentic, from a configured issuer, for this resource (RFC 9068 §4, RFC 7662 §4).
//!
//! Says nothing about who sent it ([`BoundToken::prove`](super::sender::BoundToken::prove)) or what it may do
//! ([`Guard::authorize`](super::policy::Guard::authorize)). It is a fact that can be remembered; the clock is asked again
//! each time its claims are read.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use data_encoding::HEXLOWER;
use serde_json::{Map, Value};

use super::UnixTime;
use super::code::Code;
use super::introspection::ActiveAnswer;
use super::jws::{JwsError, UnverifiedJws, VerifiedJws};
use super::keys::{Algorithm, KeySet};
use super::revocation::ClearedUpTo;
use super::sender::{Confirmation, ConfirmationError};
use super::text::printable;

/// SHA-256 of a whole token, as presented; stands for it wherever the token itself must not be kept.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a token as presented.
    pub fn of(token: super::credentials::PresentedToken<'_>) -> Self {
        Self::of_text(token.as_str())
    }

    /// The hash of a token that nobody presented.
    pub(crate) fn of_text(token: &str) -> Self {
        Self(super::sha256(token.as_bytes()))
    }

    /// The hash that is written in base64url without padding, if it is one.
    pub fn from_base64url(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }

    /// The part of it that audit shows.
    pub fn id(&self) -> TokenId {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        TokenId([a, b, c, d, e, f, g, h])
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.id(), f)
    }
}

/// The first 16 hexadecimal digits of a token's SHA-256: enough to find it again, useless to send.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenId([u8; 8]);

impl TokenId {
    /// The digits as they are shown, if it is 16 of them.
    pub fn from_hex(text: &str) -> Option<Self> {
        HEXLOWER.decode(text.as_bytes()).ok()?.try_into().ok().map(Self)
    }

    pub(crate) const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&HEXLOWER.encode_display(&self.0), f)
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a token must be to be one of an issuer's for this resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The issuer's configured name, for routes, metrics and audit.
    pub name: Arc<str>,
    /// The exact value of `iss`.
    pub issuer: Box<str>,
    /// The values of which `aud` must hold at least one.
    pub audiences: Vec<Box<str>>,
    /// The algorithms the issuer may sign with.
    pub algorithms: Vec<Algorithm>,
}

/// What an introspection response without `aud` is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingAudience {
    /// Nothing: the token may be for another resource of the issuer.
    Refuse,
    /// As much as one that names this resource: the issuer answers to us only about tokens that are for us.
    Accept,
}

/// Why a token is not good; each variant carries what an operator needs and never the token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Over the size limit.
    #[error("token has {bytes} bytes, at most {max} are looked at", max = super::jws::MAX_TOKEN_BYTES)]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Not a compact JWS with one reading.
    #[error("token {part} is malformed")]
    Malformed {
        /// Which part.
        part: &'static str,
    },
    /// A JWE.
    #[error("token is encrypted")]
    Encrypted,
    /// `crit` or `b64`.
    #[error("token header has an extension that must be understood")]
    CriticalHeader,
    /// A key in the header.
    #[error("token header brings its own key in {member:?}")]
    KeySupplied {
        /// Which member.
        member: &'static str,
    },
    /// An algorithm that is not allowed.
    #[error("alg is {algorithm:?}, not one of the issuer's algorithms")]
    AlgorithmRefused {
        /// The name found, cut and made printable.
        algorithm: Box<str>,
    },
    /// Another kind of JWT.
    #[error("typ is {found:?}, expected \"at+jwt\"")]
    TypeWrong {
        /// The type found, cut and made printable.
        found: Box<str>,
    },
    /// No such issuer on this route.
    #[error("iss is {found:?}, which the route does not accept")]
    IssuerUnknown {
        /// The issuer found, cut and made printable.
        found: Box<str>,
    },
    /// No key to verify with.
    #[error("the issuer has no key with kid {key_id:?} for this algorithm")]
    KeyUnknown {
        /// The `kid`, cut and made printable.
        key_id: Option<Box<str>>,
    },
    /// Too small a key.
    #[error("the issuer's key is below 2048 bits")]
    KeyWeak,
    /// The signature does not hold.
    #[error("the signature does not hold")]
    SignatureInvalid,
    /// A required claim is absent.
    #[error("claim {claim:?} is missing")]
    ClaimMissing {
        /// Its name.
        claim: &'static str,
    },
    /// A claim of the wrong type or range.
    #[error("claim {claim:?} is malformed, expected {expected}")]
    ClaimMalformed {
        /// Its name.
        claim: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// For another resource.
    #[error("aud is {found:?}, expected one of {expected:?}")]
    AudienceMismatch {
        /// The audiences found, cut and made printable.
        found: Vec<Box<str>>,
        /// The audiences configured.
        expected: Vec<Box<str>>,
    },
    /// Another use than ours, by an introspection response.
    #[error("token_type is {found:?}, expected Bearer, or DPoP with cnf.jkt")]
    UseWrong {
        /// The `token_type` found, cut and made printable.
        found: Box<str>,
    },
    /// Unknown, expired or revoked, by an introspection response.
    #[error("the issuer says that the token is not active")]
    Inactive,
    /// Taken back before its end.
    #[error("the token was revoked")]
    Revoked,
    /// Over.
    #[error("token expired at {at}, it is {now}")]
    Expired {
        /// `exp`.
        at: UnixTime,
        /// The time of the request.
        now: UnixTime,
    },
    /// Not begun.
    #[error("token is not valid before {at}, it is {now}")]
    NotYetValid {
        /// `nbf`.
        at: UnixTime,
        /// The time of the request.
        now: UnixTime,
    },
    /// Issued later than now.
    #[error("token was issued at {at}, it is {now}")]
    IssuedInFuture {
        /// `iat`.
        at: UnixTime,
        /// The time of the request.
        now: UnixTime,
    },
}

impl TokenError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::TooLarge { .. } => Code::TokenTooLarge,
            Self::Malformed { .. } => Code::TokenMalformed,
            Self::Encrypted => Code::TokenEncrypted,
            Self::CriticalHeader => Code::TokenCriticalHeader,
            Self::KeySupplied { .. } => Code::TokenKeySupplied,
            Self::AlgorithmRefused { .. } => Code::TokenAlgorithmRefused,
            Self::TypeWrong { .. } | Self::UseWrong { .. } => Code::TokenTypeWrong,
            Self::Inactive => Code::TokenInactive,
            Self::Revoked => Code::TokenRevoked,
            Self::IssuerUnknown { .. } => Code::TokenIssuerUnknown,
            Self::KeyUnknown { .. } => Code::TokenKeyUnknown,
            Self::KeyWeak => Code::TokenKeyWeak,
            Self::SignatureInvalid => Code::TokenSignatureInvalid,
            Self::ClaimMissing { .. } => Code::TokenClaimMissing,
            Self::ClaimMalformed { .. } => Code::TokenClaimMalformed,
            Self::AudienceMismatch { .. } => Code::TokenAudienceMismatch,
            Self::Expired { .. } => Code::TokenExpired,
            Self::NotYetValid { .. } => Code::TokenNotYetValid,
            Self::IssuedInFuture { .. } => Code::TokenIssuedInFuture,
        }
    }

    /// Whether another set of the issuer's keys could tell otherwise.
    pub const fn is_of_keys(&self) -> bool {
        matches!(self, Self::KeyUnknown { .. } | Self::KeyWeak | Self::SignatureInvalid)
    }

    /// No issuer of the route is the one the token claims.
    pub fn issuer_unknown(claimed: Option<&str>) -> Self {
        Self::IssuerUnknown { found: printable(claimed.unwrap_or_default()) }
    }
}

impl From<JwsError> for TokenError {
    fn from(error: JwsError) -> Self {
        match error {
            JwsError::TooLarge { bytes, .. } => Self::TooLarge { bytes },
            JwsError::Malformed { part } => Self::Malformed { part },
            JwsError::Encrypted => Self::Encrypted,
            JwsError::CriticalHeader => Self::CriticalHeader,
        }
    }
}

/// FAPI 2.0 §5.3.2.1 (13): times up to 10 seconds ahead "shall" be accepted, more than 60 refused; in between we refuse.
pub(crate) const CLOCK_SKEW: u64 = 10;

/// A token that its issuer made for this resource and that was active when it was read.
pub struct ActiveToken {
    id: TokenId,
    issuer: Arc<str>,
    claims: Claims,
    confirmation: Result<Confirmation, ConfirmationError>,
    cleared: ClearedUpTo,
}

impl ActiveToken {
    /// Judges an unverified JWS by RFC 9068 §4: type, algorithm, key, signature, issuer, audience, times, claims.
    ///
    /// # Errors
    /// [`TokenError`], for the first that fails in this order.
    pub fn from_jws(
        jws: UnverifiedJws<'_>,
        hash: &TokenHash,
        expected: &Expected,
        keys: &KeySet,
        now: UnixTime,
    ) -> Result<Self, TokenError> {
        // RFC 9068 §4: "The resource server MUST verify that the "typ" header value is "at+jwt" or
        // "application/at+jwt" and reject tokens carrying any other value."
        jws.expect_type("at+jwt")?;
        let algorithm = jws.algorithm(&expected.algorithms)?;
        let key_id = jws.key_id().map(str::to_owned);
        let verified = jws.verify(keys.candidates(key_id.as_deref(), algorithm))?;
        Self::from_claims(verified, hash, expected, now)
    }

    /// Judges what the issuer says of an active token (RFC 7662 §2.2, §4): the same facts as in a JWT, wherever they are told.
    ///
    /// The caller asked the endpoint of `expected.issuer`, so an answer without `iss` is that issuer's; one with another
    /// `iss` never is. `exp`, `nbf` and `iat` may be missing. An answer without `aud` says nothing of this resource and is
    /// only taken with [`MissingAudience::Accept`].
    ///
    /// # Errors
    /// [`TokenError`], for the first that fails: issuer, audience, claims, `token_type`, times.
    pub fn from_introspection(
        answer: ActiveAnswer,
        hash: &TokenHash,
        expected: &Expected,
        missing_audience: MissingAudience,
        now: UnixTime,
    ) -> Result<Self, TokenError> {
        let mut members = answer.into_members();
        if members.contains_key("iss") {
            check_issuer(&members, expected)?;
        } else {
            members.insert("iss".to_owned(), Value::from(&*expected.issuer));
        }
        if members.contains_key("aud") || missing_audience == MissingAudience::Refuse {
            check_audience(&members, expected)?;
        }
        for claim in ["sub", "client_id", "jti"] {
            if members.contains_key(claim) {
                required_text(&members, claim)?;
            }
        }
        let confirmation = Confirmation::from_claim(members.get("cnf"));
        // RFC 7662 §2.2: "Type of the token as defined in Section 5.1 of OAuth 2.0"; other kinds, refresh tokens say, are
        // none that a resource takes. RFC 9449 §6.2 has the key in `cnf`.
        match members.get("token_type") {
            None => {}
            Some(Value::String(kind)) if kind.eq_ignore_ascii_case("Bearer") => {}
            Some(Value::String(kind))
                if kind.eq_ignore_ascii_case("DPoP") && confirmation.as_ref().is_ok_and(|cnf| cnf.key().is_some()) => {}
            Some(Value::String(kind)) => return Err(TokenError::UseWrong { found: printable(kind) }),
            Some(_) => return Err(TokenError::ClaimMalformed { claim: "token_type", expected: "a string" }),
        }
        Self::with_claims(members, confirmation, hash, expected, now)
    }

    fn from_claims(
        verified: VerifiedJws,
        hash: &TokenHash,
        expected: &Expected,
        now: UnixTime,
    ) -> Result<Self, TokenError> {
        let members = verified.into_payload();
        check_issuer(&members, expected)?;
        check_audience(&members, expected)?;
        // RFC 9068 §2.2: these claims are REQUIRED.
        for claim in ["exp", "iat"] {
            if !members.contains_key(claim) {
                return Err(TokenError::ClaimMissing { claim });
            }
        }
        for claim in ["sub", "client_id", "jti"] {
            required_text(&members, claim)?;
        }
        let confirmation = Confirmation::from_claim(members.get("cnf"));
        Self::with_claims(members, confirmation, hash, expected, now)
    }

    fn with_claims(
        members: Map<String, Value>,
        confirmation: Result<Confirmation, ConfirmationError>,
        hash: &TokenHash,
        expected: &Expected,
        now: UnixTime,
    ) -> Result<Self, TokenError> {
        let expires_at = numeric_date(&members, "exp", f64::floor)?;
        let issued_at = numeric_date(&members, "iat", f64::ceil)?;
        let not_before = numeric_date(&members, "nbf", f64::ceil)?;
        let scope = match members.get("scope") {
            None => Box::default(),
            Some(Value::String(scope)) => scope.as_str().into(),
            Some(_) => return Err(TokenError::ClaimMalformed { claim: "scope", expected: "a string" }),
        };
        let claims = Claims { expires_at, issued_at, not_before, scope, members };
        claims.check_times(now)?;
        Ok(Self { id: hash.id(), issuer: expected.name.clone(), claims, confirmation, cleared: ClearedUpTo::default() })
    }

    /// The only way to the claims; an expired token has none, remembered or not.
    ///
    /// # Errors
    /// [`TokenError::Expired`], [`TokenError::NotYetValid`], [`TokenError::IssuedInFuture`].
    pub fn claims_at(&self, now: UnixTime) -> Result<&Claims, TokenError> {
        self.claims.check_times(now)?;
        Ok(&self.claims)
    }

    /// The claims for the record of what happened, whatever the time.
    pub const fn claims_for_audit(&self) -> &Claims {
        &self.claims
    }

    /// What the token is bound to, or why that cannot be told.
    pub const fn confirmation(&self) -> Result<&Confirmation, ConfirmationError> {
        match &self.confirmation {
            Ok(confirmation) => Ok(confirmation),
            Err(error) => Err(*error),
        }
    }

    /// The configured name of its issuer.
    pub const fn issuer(&self) -> &Arc<str> {
        &self.issuer
    }

    /// The name audit knows it by.
    pub const fn id(&self) -> TokenId {
        self.id
    }

    /// When it ends, for those who remember it; an introspected token need not say.
    pub const fn expires_at(&self) -> Option<UnixTime> {
        self.claims.expires_at
    }

    /// When it was issued; an introspected token need not say.
    pub const fn issued_at(&self) -> Option<UnixTime> {
        self.claims.issued_at
    }

    /// Up to where it is known not to be revoked, for those who remember it.
    pub const fn cleared(&self) -> &ClearedUpTo {
        &self.cleared
    }

    /// Roughly the bytes that it takes in memory, for those who remember it.
    pub fn size(&self) -> usize {
        let own = size_of::<Self>().saturating_add(self.claims.scope.len());
        own.saturating_add(size_of_members(&self.claims.members))
    }
}

impl fmt::Debug for ActiveToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActiveToken").field("id", &self.id).field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

/// What an authentic token says.
pub struct Claims {
    expires_at: Option<UnixTime>,
    issued_at: Option<UnixTime>,
    not_before: Option<UnixTime>,
    scope: Box<str>,
    members: Map<String, Value>,
}

impl Claims {
    fn check_times(&self, now: UnixTime) -> Result<(), TokenError> {
        // RFC 9068 §4: "The current time MUST be before the time represented by the "exp" claim." No leeway.
        if let Some(at) = self.expires_at.filter(|at| now >= *at) {
            return Err(TokenError::Expired { at, now });
        }
        let latest = now.plus(CLOCK_SKEW);
        if let Some(at) = self.not_before.filter(|at| *at > latest) {
            return Err(TokenError::NotYetValid { at, now });
        }
        if let Some(at) = self.issued_at.filter(|at| *at > latest) {
            return Err(TokenError::IssuedInFuture { at, now });
        }
        Ok(())
    }

    /// The scopes, each compared whole and with case (RFC 6749 §3.3).
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scope.split(' ').filter(|scope| !scope.is_empty())
    }

    /// Any claim by name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.members.get(name)
    }

    /// A claim that is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.members.get(name).and_then(Value::as_str)
    }
}

/// RFC 9068 §4: "The issuer identifier for the authorization server … MUST exactly match the value of the "iss" claim."
fn check_issuer(members: &Map<String, Value>, expected: &Expected) -> Result<(), TokenError> {
    let issuer = required_text(members, "iss")?;
    if issuer != &*expected.issuer {
        return Err(TokenError::issuer_unknown(Some(issuer)));
    }
    Ok(())
}

/// RFC 9068 §4: "The resource server MUST validate that the "aud" claim contains a resource indicator value corresponding
/// to an identifier the resource server expects for itself."
fn check_audience(members: &Map<String, Value>, expected: &Expected) -> Result<(), TokenError> {
    let audiences = audiences(members)?;
    if !audiences.iter().any(|audience| expected.audiences.iter().any(|own| **own == **audience)) {
        return Err(TokenError::AudienceMismatch {
            found: audiences.iter().take(8).map(|audience| printable(audience)).collect(),
            expected: expected.audiences.clone(),
        });
    }
    Ok(())
}

/// What a value takes on the heap, with what a map or list spends on each of its entries.
fn size_of_value(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => ENTRY,
        Value::String(text) => text.len().saturating_add(ENTRY),
        Value::Array(values) => values.iter().map(size_of_value).fold(ENTRY, usize::saturating_add),
        Value::Object(members) => size_of_members(members).saturating_add(ENTRY),
    }
}

fn size_of_members(members: &Map<String, Value>) -> usize {
    members.iter().fold(0, |sum, (name, value)| sum.saturating_add(name.len()).saturating_add(size_of_value(value)))
}

/// Bytes that an entry of a map or list takes beside its text.
const ENTRY: usize = 64;

fn required_text<'m>(members: &'m Map<String, Value>, claim: &'static str) -> Result<&'m str, TokenError> {
    match members.get(claim) {
        None => Err(TokenError::ClaimMissing { claim }),
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        Some(_) => Err(TokenError::ClaimMalformed { claim, expected: "a non-empty string" }),
    }
}

/// RFC 7519 §4.1.3: `aud` is an array of strings, or one string.
fn audiences(members: &Map<String, Value>) -> Result<Vec<&str>, TokenError> {
    const MALFORMED: TokenError =
        TokenError::ClaimMalformed { claim: "aud", expected: "a string or an array of strings" };
    match members.get("aud") {
        None => Err(TokenError::ClaimMissing { claim: "aud" }),
        Some(Value::String(audience)) => Ok(vec![audience]),
        Some(Value::Array(audiences)) => audiences.iter().map(|audience| audience.as_str().ok_or(MALFORMED)).collect(),
        Some(_) => Err(MALFORMED),
    }
}

/// RFC 7519 §2: a number of seconds, perhaps with a fraction, which `round` takes to the stricter side. A wrong type is
/// an error and never the same as absence.
pub(crate) fn numeric_date(
    members: &Map<String, Value>,
    claim: &'static str,
    round: fn(f64) -> f64,
) -> Result<Option<UnixTime>, TokenError> {
    const LARGEST: u64 = 1 << 53;
    let Some(value) = members.get(claim) else { return Ok(None) };
    let whole = value.as_u64().or_else(|| {
        let seconds = round(value.as_f64()?);
        // Both bounds lie within what u64 and f64 hold exactly, so the conversion loses nothing.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded on the same line")]
        (0.0..=LARGEST as f64).contains(&seconds).then_some(seconds as u64)
    });
    match whole {
        Some(seconds) if seconds <= LARGEST => Ok(Some(UnixTime(seconds))),
        Some(_) | None => Err(TokenError::ClaimMalformed { claim, expected: "a number of seconds" }),
    }
}
