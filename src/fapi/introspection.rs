//! What an authorization server says of a token it was asked about: plain (RFC 7662 §2.2) or signed (RFC 9701 §5).
//!
//! Only the JSON `true` is active. Everything that is no clear answer is an [`AnswerError`]: the issuer's fault, never the
//! client's. What an active token may be used for is not judged here but by
//! [`ActiveToken::from_introspection`](super::token::ActiveToken::from_introspection).

use serde_json::{Map, Value};

use super::UnixTime;
use super::json::parse_object;
use super::keys::{Algorithm, KeySet};
use super::statement::{Expectation, Statement, StatementError};

/// The media type of a plain answer.
pub const JSON: &str = "application/json";
/// The media type of a signed answer (RFC 9701 §5).
pub const JWT: &str = "application/token-introspection+jwt";
/// The largest answer that is looked at.
pub const MAX_ANSWER_BYTES: usize = 256 * 1024;

/// How old a signed answer may be. It is made when we ask; an older one is another question's, kept by someone for a token
/// that was revoked since.
const MAX_AGE: u64 = 60;

/// What was said of a token.
#[derive(Debug)]
pub enum Answer {
    /// It is active, with these claims.
    Active(ActiveAnswer),
    /// It is not, and nothing else is said (RFC 7662 §2.2).
    Inactive,
}

/// The claims of a token that its issuer calls active.
#[derive(Debug)]
pub struct ActiveAnswer(Map<String, Value>);

impl ActiveAnswer {
    pub(super) fn into_members(self) -> Map<String, Value> {
        self.0
    }
}

/// Who may sign an answer, and for whom.
#[derive(Clone, Copy, Debug)]
pub struct Signer<'e> {
    /// The exact value of `iss`: the issuer that was asked.
    pub issuer: &'e str,
    /// The names of which `aud` must hold at least one: those that the gateway is known by at the issuer.
    pub audiences: &'e [Box<str>],
    /// The algorithms the issuer may sign with.
    pub algorithms: &'e [Algorithm],
}

/// Why an answer says nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Not a JSON object with one reading.
    #[error("the answer is not a JSON object with one reading")]
    Malformed,
    /// No `active`, or one that is neither `true` nor `false`.
    #[error("the answer's active is neither true nor false")]
    ActiveMissing,
    /// A signed answer that is not the issuer's, or not for us.
    #[error("the signed answer cannot be believed: {0}")]
    Statement(#[from] StatementError),
    /// A signed answer that was made long before the question.
    #[error("the signed answer was made at {at}, it is {now}")]
    Stale {
        /// `iat`.
        at: UnixTime,
        /// The time of the judgement.
        now: UnixTime,
    },
    /// A signed answer without `token_introspection`.
    #[error("the signed answer has no object token_introspection")]
    DataMissing,
}

impl Answer {
    /// Reads a plain answer.
    ///
    /// # Errors
    /// [`AnswerError::Malformed`], [`AnswerError::ActiveMissing`].
    pub fn from_json(body: &[u8]) -> Result<Self, AnswerError> {
        Self::from_members(parse_object(body).map_err(|_| AnswerError::Malformed)?)
    }

    /// Reads a signed answer. Only what stands in `token_introspection` counts (RFC 9701 §5).
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn from_jwt(body: &[u8], signer: &Signer<'_>, keys: &KeySet, now: UnixTime) -> Result<Self, AnswerError> {
        let text = std::str::from_utf8(body).map_err(|_| AnswerError::Malformed)?;
        let Signer { issuer, audiences, algorithms } = *signer;
        let kind = "token-introspection+jwt";
        let expected = Expectation { kind, issuer, audiences, algorithms, max_bytes: MAX_ANSWER_BYTES };
        let Statement { mut members, issued_at: at } = Statement::verify(text, &expected, keys, now)?;
        if now.since(at) > MAX_AGE {
            return Err(AnswerError::Stale { at, now });
        }
        match members.remove("token_introspection") {
            Some(Value::Object(members)) => Self::from_members(members),
            Some(_) | None => Err(AnswerError::DataMissing),
        }
    }

    fn from_members(members: Map<String, Value>) -> Result<Self, AnswerError> {
        match members.get("active") {
            Some(Value::Bool(true)) => Ok(Self::Active(ActiveAnswer(members))),
            Some(Value::Bool(false)) => Ok(Self::Inactive),
            Some(_) | None => Err(AnswerError::ActiveMissing),
        }
    }
}
