//! Why a proof is refused (RFC 9449 §4.3).

use http::HeaderValue;

use super::htu::HtuMismatch;
use crate::UnixTime;
use crate::code::Code;
use crate::jose::jws::JwsError;

/// Why a proof is refused; each variant is one check.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DpopError {
    /// No `DPoP` field.
    #[error("scheme DPoP without a DPoP field")]
    Missing,
    /// More than one.
    #[error("more than one DPoP field")]
    Repeated,
    /// Not a compact JWS with one reading.
    #[error("the proof is not a valid JWS: {0}")]
    Malformed(JwsError),
    /// A required claim or header is absent.
    #[error("the proof has no {member:?}")]
    ClaimMissing {
        /// Its name.
        member: &'static str,
    },
    /// A claim of the wrong type or range.
    #[error("{member:?} of the proof is malformed, expected {expected}")]
    ClaimMalformed {
        /// Its name.
        member: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// Another kind of JWT.
    #[error("typ is {found:?}, expected \"dpop+jwt\"")]
    TypeWrong {
        /// The type found, truncated and made printable.
        found: Box<str>,
    },
    /// An algorithm that is not allowed, or not the one of the key.
    #[error("alg is {algorithm:?}, expected PS256, ES256 or EdDSA, and the key's own")]
    AlgorithmRefused {
        /// The name found, truncated and made printable.
        algorithm: Box<str>,
    },
    /// A key that cannot be used.
    #[error("the proof's jwk is refused: {why}")]
    KeyRefused {
        /// What is wrong with it.
        why: &'static str,
    },
    /// A private key.
    #[error("the proof's jwk has private members")]
    KeyPrivate,
    /// The signature does not verify.
    #[error("the proof's signature is invalid")]
    SignatureInvalid,
    /// Made for another method.
    #[error("htm is {found:?}, the method is {expected:?}")]
    MethodMismatch {
        /// The claim, truncated and made printable.
        found: Box<str>,
        /// The request's.
        expected: Box<str>,
    },
    /// Made for another URI.
    #[error(transparent)]
    UriMismatch(#[from] HtuMismatch),
    /// A nonce is required.
    #[error("a nonce is required: {why}")]
    NonceRequired {
        /// Why it is required, or why the proof's nonce is not accepted.
        why: &'static str,
        /// The nonce to use.
        fresh: Option<HeaderValue>,
    },
    /// Too old, or issued in the future.
    #[error("the proof is not fresh: its time is {at}, it is {now}")]
    Stale {
        /// `iat`, or the proof's own `exp` or `nbf`.
        at: UnixTime,
        /// The time of the request.
        now: UnixTime,
    },
    /// Made for another token.
    #[error("ath is {found:?}, the token's hash is {expected:?}")]
    AthMismatch {
        /// The claim, truncated and made printable.
        found: Box<str>,
        /// The hash.
        expected: Box<str>,
    },
    /// Used before.
    #[error("the proof was used before")]
    Replayed,
}

impl DpopError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Missing => Code::DpopMissing,
            Self::Repeated => Code::DpopRepeated,
            Self::Malformed(_) => Code::DpopMalformed,
            Self::ClaimMissing { .. } => Code::DpopClaimMissing,
            Self::ClaimMalformed { .. } => Code::DpopClaimMalformed,
            Self::TypeWrong { .. } => Code::DpopTypeWrong,
            Self::AlgorithmRefused { .. } => Code::DpopAlgorithmRefused,
            Self::KeyRefused { .. } => Code::DpopKeyRefused,
            Self::KeyPrivate => Code::DpopKeyPrivate,
            Self::SignatureInvalid => Code::DpopSignatureInvalid,
            Self::MethodMismatch { .. } => Code::DpopMethodMismatch,
            Self::UriMismatch(_) => Code::DpopUriMismatch,
            Self::NonceRequired { .. } => Code::DpopNonceRequired,
            Self::Stale { .. } => Code::DpopStale,
            Self::AthMismatch { .. } => Code::DpopAthMismatch,
            Self::Replayed => Code::DpopReplayed,
        }
    }
}
