//! Why a token is refused (RFC 9068 §4, RFC 7662 §2.2).

use crate::UnixTime;
use crate::code::Code;
use crate::jose::jws::JwsError;
use crate::text::printable;

/// Why a token is refused. Each variant has what an operator needs, and never the token.
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
    #[error("alg is {algorithm:?}, not one of the issuer's algorithms")]
    AlgorithmRefused {
        /// The name found, truncated and made printable.
        algorithm: Box<str>,
    },
    /// Another kind of JWT.
    #[error("typ is {found:?}, expected \"at+jwt\"")]
    TypeWrong {
        /// The type found, truncated and made printable.
        found: Box<str>,
    },
    /// An issuer that the route does not accept.
    #[error("iss is {found:?}, which the route does not accept")]
    IssuerUnknown {
        /// The issuer found, truncated and made printable.
        found: Box<str>,
    },
    /// The key set has no key for it.
    #[error("the issuer has no key with kid {key_id:?} for this algorithm")]
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
    /// Meant for another resource.
    #[error("aud is {found:?}, expected one of {expected:?}")]
    AudienceMismatch {
        /// The audiences found, truncated and made printable.
        found: Vec<Box<str>>,
        /// The audiences configured.
        expected: Vec<Box<str>>,
    },
    /// A `token_type` other than that of an access token, in an introspection response.
    #[error("token_type is {found:?}, expected Bearer, or DPoP with cnf.jkt")]
    UseWrong {
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

    /// Whether another version of the issuer's key set could change the outcome.
    pub const fn depends_on_keys(&self) -> bool {
        matches!(self, Self::KeyUnknown { .. } | Self::KeyWeak | Self::SignatureInvalid | Self::KeySupplied { .. })
    }

    /// The error for a token whose claimed issuer the route does not accept.
    pub fn issuer_unknown(claimed: Option<&str>) -> Self {
        Self::IssuerUnknown { found: printable(claimed.unwrap_or_default()) }
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
    fn what_another_version_of_the_keys_could_change_is_told_apart() {
        for error in [
            TokenError::KeyUnknown { key_id: None },
            TokenError::KeyWeak,
            TokenError::SignatureInvalid,
            TokenError::KeySupplied { member: "jwk" },
        ] {
            assert!(error.depends_on_keys(), "{error}");
        }
        for error in [TokenError::Encrypted, TokenError::Inactive, TokenError::ClaimMissing { claim: "exp" }] {
            assert!(!error.depends_on_keys(), "{error}"); // control
        }
    }
}
