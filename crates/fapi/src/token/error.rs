//! Why a token is refused (RFC 9068 §4, RFC 7662 §2.2).

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::UnixTime;
use crate::code::Code;
use crate::jose::jws::JwsError;
use crate::text::{Names, shown_value, with_kid};

/// Whose token it is that its issuer signed, or reported as active, and that is refused nevertheless: for its audience
/// or times, for what its claims lack, or because it was revoked. Of a token that its issuer calls inactive, the issuer
/// alone is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The configured name of its issuer.
    pub issuer: Arc<str>,
    /// The client, if it names one.
    pub client_id: Option<Box<str>>,
    /// `sub`, if it has one.
    pub subject: Option<Box<str>>,
}

impl Named {
    pub(super) fn of(members: &Map<String, Value>, client_claim: &str, issuer: &Arc<str>) -> Self {
        let text = |claim| members.get(claim).and_then(Value::as_str).map(Into::into);
        Self { issuer: issuer.clone(), client_id: text(client_claim), subject: text("sub") }
    }
}

/// Why a token is refused, and whose it is if that was verified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}")]
pub struct RefusedToken {
    /// Why.
    pub error: TokenError,
    /// Whose it is.
    pub named: Option<Arc<Named>>,
}

impl From<TokenError> for RefusedToken {
    fn from(error: TokenError) -> Self {
        Self { error, named: None }
    }
}

impl From<RefusedToken> for TokenError {
    fn from(refused: RefusedToken) -> Self {
        refused.error
    }
}

/// Why a token is refused. Each variant has what an operator needs, and never the token.
///
/// The text has what was found and what would have been accepted. It is bounded and printable, and of the token it has
/// only the values that are compared, such as `iss`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Over the size limit.
    #[error("token has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
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
    #[error("token header has a critical extension, which is not supported")]
    CriticalHeader,
    /// A signature by none of the issuer's keys, beside a key or a reference to one in the header.
    #[error("no key of the issuer verifies the signature, and the key in the header's {member:?} is not used")]
    KeySupplied {
        /// Which member.
        member: &'static str,
    },
    /// An algorithm that is not allowed.
    #[error("alg is {found}, expected one of {expected}")]
    AlgorithmRefused {
        /// The value found, as shown.
        found: Box<str>,
        /// The issuer's algorithms.
        expected: Names,
    },
    /// RS256, which a waiver allowed until then.
    #[error("alg is \"RS256\", and the waiver of token.algorithms.rs256 for its issuer ended at {until}, it is {now}")]
    WaiverOver {
        /// The end of the waiver.
        until: UnixTime,
        /// The time of the request.
        now: UnixTime,
    },
    /// Another kind of JWT, by its `typ`.
    #[error("typ is {found}, expected {expected}")]
    TypeWrong {
        /// The value found, as shown.
        found: Box<str>,
        /// The types of the issuer's access tokens, as shown.
        expected: Box<str>,
    },
    /// Another kind of JWT, by the claim that names the kind.
    #[error("claim {claim:?}, which says what kind of token it is, is {found}, expected one of {expected}")]
    KindWrong {
        /// The claim's name.
        claim: Box<str>,
        /// The value found, as shown.
        found: Box<str>,
        /// The values of the issuer's access tokens.
        expected: Names,
    },
    /// Another kind of JWT, by a claim that no access token has.
    #[error("typ is not \"at+jwt\", and claim {claim:?} is one of another kind of token")]
    ClaimForeign {
        /// The claim's name.
        claim: &'static str,
    },
    /// An issuer that the route does not accept.
    #[error("iss is {found}, expected one of {expected}")]
    IssuerUnknown {
        /// The value found, as shown.
        found: Box<str>,
        /// The issuers that would be accepted.
        expected: Names,
    },
    /// The key set has no key for it.
    #[error("the issuer has no key{} for this algorithm", with_kid(.key_id.as_deref()))]
    KeyUnknown {
        /// The `kid`, truncated and made printable.
        key_id: Option<Box<str>>,
    },
    /// The key is too small.
    #[error("the issuer's key is below 2048 bits")]
    KeyWeak,
    /// The signature does not verify.
    #[error("the signature is invalid")]
    SignatureInvalid,
    /// A required claim is absent.
    #[error("claim {claim:?} is missing")]
    ClaimMissing {
        /// Its name.
        claim: Box<str>,
    },
    /// The claim that names the client is absent, and it is not `client_id`.
    #[error("claim {claim:?}, which the issuer's `access_token.client_id` names, is missing")]
    ClientMissing {
        /// Its name.
        claim: Box<str>,
    },
    /// A claim of the wrong type or range.
    #[error("claim {claim:?} is malformed, expected {expected}")]
    ClaimMalformed {
        /// Its name.
        claim: Box<str>,
        /// What it should be.
        expected: &'static str,
    },
    /// Two claims that name the client, and name two.
    #[error("client_id is {client_id}, and {claim:?}, which names the client, is {found}")]
    ClientAmbiguous {
        /// `client_id`, as shown.
        client_id: Box<str>,
        /// The claim that names the client.
        claim: Box<str>,
        /// Its value, as shown.
        found: Box<str>,
    },
    /// Meant for another resource.
    #[error("aud is {found}, expected one of {expected}")]
    AudienceMismatch {
        /// The audiences found.
        found: Names,
        /// The audiences configured.
        expected: Names,
    },
    /// For nobody in particular, according to an introspection response.
    #[error(
        "the introspection response has no \"aud\", expected one of the issuer's `audiences`; or write `missing_audience: accept` below `introspection`"
    )]
    AudienceMissing,
    /// Meant for its own client, as an ID token is.
    #[error(
        "aud is {found}, in which {client:?} is the token's own client and not a resource, expected one of {expected}"
    )]
    AudienceIsClient {
        /// The audiences found.
        found: Names,
        /// The client.
        client: Box<str>,
        /// The audiences configured.
        expected: Names,
    },
    /// A `token_type` other than that of an access token, in an introspection response.
    #[error("token_type is {found:?}, expected Bearer, or DPoP with cnf.jkt")]
    TokenTypeWrong {
        /// The `token_type` found, truncated and made printable.
        found: Box<str>,
    },
    /// Unknown, expired or revoked, according to an introspection response.
    #[error("the issuer says that the token is not active")]
    Inactive,
    /// Revoked.
    #[error("the token was revoked")]
    Revoked,
    /// Expired.
    #[error("token expired at {at}, it is {now}")]
    Expired {
        /// `exp`.
        at: UnixTime,
        /// The time of the request.
        now: UnixTime,
    },
    /// Not valid yet.
    #[error("token is not valid before {at}, it is {now}")]
    NotYetValid {
        /// `nbf`.
        at: UnixTime,
        /// The time of the request.
        now: UnixTime,
    },
    /// Issued in the future.
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
            Self::AlgorithmRefused { .. } | Self::WaiverOver { .. } => Code::TokenAlgorithmRefused,
            Self::TypeWrong { .. }
            | Self::KindWrong { .. }
            | Self::ClaimForeign { .. }
            | Self::TokenTypeWrong { .. } => Code::TokenTypeWrong,
            Self::Inactive => Code::TokenInactive,
            Self::Revoked => Code::TokenRevoked,
            Self::IssuerUnknown { .. } => Code::TokenIssuerUnknown,
            Self::KeyUnknown { .. } => Code::TokenKeyUnknown,
            Self::KeyWeak => Code::TokenKeyWeak,
            Self::SignatureInvalid => Code::TokenSignatureInvalid,
            Self::ClaimMissing { .. } | Self::ClientMissing { .. } | Self::AudienceMissing => Code::TokenClaimMissing,
            Self::ClaimMalformed { .. } | Self::ClientAmbiguous { .. } => Code::TokenClaimMalformed,
            Self::AudienceMismatch { .. } | Self::AudienceIsClient { .. } => Code::TokenAudienceMismatch,
            Self::Expired { .. } => Code::TokenExpired,
            Self::NotYetValid { .. } => Code::TokenNotYetValid,
            Self::IssuedInFuture { .. } => Code::TokenIssuedInFuture,
        }
    }

    /// Whether another version of the issuer's key set could change the outcome.
    pub const fn depends_on_keys(&self) -> bool {
        matches!(self, Self::KeyUnknown { .. } | Self::KeyWeak | Self::SignatureInvalid | Self::KeySupplied { .. })
    }

    /// The error for a token whose claimed issuer is not one of those that would be accepted.
    pub fn issuer_unknown<'i>(claimed: Option<&str>, accepted: impl IntoIterator<Item = &'i str>) -> Self {
        let found = shown_value(claimed.map(Value::from).as_ref());
        Self::IssuerUnknown { found, expected: Names::of(accepted) }
    }
}

impl From<JwsError> for TokenError {
    fn from(error: JwsError) -> Self {
        match error {
            JwsError::TooLarge { bytes, limit } => Self::TooLarge { bytes, limit },
            JwsError::Malformed { part } => Self::Malformed { part },
            JwsError::Encrypted => Self::Encrypted,
            JwsError::CriticalHeader => Self::CriticalHeader,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kid_is_shown_as_text() {
        let text = |key_id: Option<&str>| TokenError::KeyUnknown { key_id: key_id.map(Box::from) }.to_string();
        assert_eq!(text(Some("k2")), r#"the issuer has no key with kid "k2" for this algorithm"#);
        assert_eq!(text(None), "the issuer has no key for this algorithm");
    }

    #[test]
    fn what_another_version_of_the_keys_could_change_is_told_apart() {
        for error in [
            TokenError::KeyUnknown { key_id: None },
            TokenError::KeyWeak,
            TokenError::SignatureInvalid,
            TokenError::KeySupplied { member: "jwk" },
        ] {
            assert!(error.depends_on_keys(), "{error}");
        }
        for error in [TokenError::Encrypted, TokenError::Inactive, TokenError::ClaimMissing { claim: "exp".into() }] {
            assert!(!error.depends_on_keys(), "{error}"); // control
        }
    }
}
