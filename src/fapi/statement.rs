//! A JWT that an issuer signs for this gateway, not for a client: a signed introspection response (RFC 9701 §5), a security
//! event token (RFC 8417 §2).
//!
//! The kinds are told apart by `typ` (RFC 8725 §3.11), so that none of them passes for an access token or for the other.
//! Age, and what the statement says, are for the caller to judge.

use serde_json::{Map, Value};

use super::UnixTime;
use super::jws::{Jws, JwsError, NotVerified, printable};
use super::keys::{Algorithm, KeySet};
use super::token::numeric_date;

/// What a statement must be.
#[derive(Clone, Copy, Debug)]
pub struct Expectation<'e> {
    /// Its `typ`, without `application/`.
    pub kind: &'static str,
    /// The exact value of `iss`.
    pub issuer: &'e str,
    /// The values of which `aud` must hold at least one.
    pub audiences: &'e [Box<str>],
    /// The algorithms the issuer may sign with.
    pub algorithms: &'e [Algorithm],
    /// The most bytes that are looked at.
    pub max_bytes: usize,
}

/// Why a statement is not the issuer's, or not for us.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// A JWE.
    #[error("it is encrypted, which is not supported; register it at the issuer as signed only")]
    Encrypted,
    /// Not a compact JWS with one reading, or over the limit.
    #[error("it is no signed JWT: {0}")]
    Malformed(JwsError),
    /// Another kind of JWT.
    #[error("its typ is {found:?}, expected {expected:?}")]
    TypeWrong {
        /// The type found, cut and made printable.
        found: Box<str>,
        /// The type expected.
        expected: &'static str,
    },
    /// An algorithm that is not allowed.
    #[error(
        "its alg is {algorithm:?}, not one of the issuer's algorithms; register PS256, ES256 or EdDSA at the issuer"
    )]
    AlgorithmRefused {
        /// The name found, cut and made printable.
        algorithm: Box<str>,
    },
    /// No key to verify with.
    #[error("the issuer has no key with kid {key_id:?} for its algorithm")]
    KeyUnknown {
        /// The `kid`, cut and made printable.
        key_id: Option<Box<str>>,
    },
    /// Too small a key.
    #[error("the issuer's key is below 2048 bits")]
    KeyWeak,
    /// The signature does not hold.
    #[error("its signature does not hold")]
    SignatureInvalid,
    /// Another issuer's.
    #[error("its iss is {found:?}, expected {expected:?}")]
    IssuerMismatch {
        /// The issuer found, cut and made printable.
        found: Box<str>,
        /// The issuer that was asked.
        expected: Box<str>,
    },
    /// For somebody else.
    #[error("its aud does not hold any of {expected:?}")]
    AudienceMismatch {
        /// The audiences configured.
        expected: Vec<Box<str>>,
    },
    /// No usable `iat`.
    #[error("its iat is missing or no number of seconds")]
    IssuedAtMissing,
    /// From the future.
    #[error("it was issued at {at}, it is {now}")]
    IssuedInFuture {
        /// `iat`.
        at: UnixTime,
        /// The time of the judgement.
        now: UnixTime,
    },
}

impl From<JwsError> for StatementError {
    fn from(error: JwsError) -> Self {
        match error {
            JwsError::Encrypted => Self::Encrypted,
            JwsError::TooLarge { .. } | JwsError::Malformed { .. } | JwsError::CriticalHeader => Self::Malformed(error),
        }
    }
}

/// A statement whose signature, issuer and audience hold.
#[derive(Debug)]
pub struct Statement {
    pub(super) members: Map<String, Value>,
    pub(super) issued_at: UnixTime,
}

impl Statement {
    /// Judges a JWT: type, algorithm, key, signature, `iss`, `aud`, and an `iat` that is at most 10 seconds ahead.
    ///
    /// # Errors
    /// [`StatementError`], for the first that fails in this order.
    pub fn verify(
        text: &str,
        expected: &Expectation<'_>,
        keys: &KeySet,
        now: UnixTime,
    ) -> Result<Self, StatementError> {
        let jws = Jws::parse(text, expected.max_bytes)?;
        if !jws.is_of_type(expected.kind) {
            return Err(StatementError::TypeWrong { found: printable(jws.type_name()), expected: expected.kind });
        }
        let algorithm = Algorithm::from_name(jws.algorithm_name())
            .filter(|algorithm| expected.algorithms.contains(algorithm))
            .ok_or_else(|| StatementError::AlgorithmRefused { algorithm: printable(jws.algorithm_name()) })?;
        let key_id = jws.key_id()?.map(str::to_owned);
        let members =
            jws.verify_with_one_of(keys.candidates(key_id.as_deref(), algorithm)).map_err(|error| match error {
                NotVerified::NoKey => StatementError::KeyUnknown { key_id: key_id.as_deref().map(printable) },
                NotVerified::WeakKey => StatementError::KeyWeak,
                NotVerified::Signature => StatementError::SignatureInvalid,
            })?;
        let issuer = members.get("iss").and_then(Value::as_str).unwrap_or_default();
        if issuer != expected.issuer {
            return Err(StatementError::IssuerMismatch { found: printable(issuer), expected: expected.issuer.into() });
        }
        let ours = |audience: &str| expected.audiences.iter().any(|own| **own == *audience);
        let for_us = match members.get("aud") {
            Some(Value::String(audience)) => ours(audience),
            Some(Value::Array(audiences)) => {
                audiences.iter().all(Value::is_string) && audiences.iter().filter_map(Value::as_str).any(ours)
            }
            Some(_) | None => false,
        };
        if !for_us {
            return Err(StatementError::AudienceMismatch { expected: expected.audiences.to_vec() });
        }
        let issued_at = match numeric_date(&members, "iat", f64::floor) {
            Ok(Some(at)) => at,
            Ok(None) | Err(_) => return Err(StatementError::IssuedAtMissing),
        };
        if issued_at > now.plus(super::token::CLOCK_SKEW) {
            return Err(StatementError::IssuedInFuture { at: issued_at, now });
        }
        Ok(Self { members, issued_at })
    }
}
