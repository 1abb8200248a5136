//! Why an introspection call failed, and how often the log reports it.

use std::fmt;
use std::time::Duration;

use fapi::jose::json::parse_object;
use fapi::jose::signing::NotSigned;
use fapi::token::introspection::AnswerError;
use http::StatusCode;
use serde_json::Value;
use tokio::time::Instant;

use super::super::IntrospectionOutcome;
use super::super::http::FetchError;
use crate::clock::instant;

/// Limits the log to one line a second about failures, with the number of lines that were left out.
#[derive(Default)]
pub(crate) struct Complaint {
    pub(super) last: Option<Instant>,
    pub(super) unsaid: u64,
}

impl Complaint {
    pub(crate) fn is_due(&mut self) -> Option<u64> {
        if self.last.is_some_and(|last| last.elapsed() < Duration::from_secs(1)) {
            self.unsaid = self.unsaid.saturating_add(1);
            return None;
        }
        self.last = Some(instant());
        Some(std::mem::take(&mut self.unsaid))
    }
}

/// Why an introspection call failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("too many requests are waiting for its responses")]
    Busy,
    #[error("its introspection endpoint is not known yet")]
    EndpointUnknown,
    #[error("it did not answer in time")]
    TimedOut,
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// RFC 7662 §2.3: the gateway's own credentials were refused.
    #[error("it refused the gateway itself with status {status}{error}; check introspection.client_id and introspection.authentication", status = status.as_u16())]
    Unauthorized { status: StatusCode, error: ErrorName },
    #[error("it answered with status {status}, expected 200", status = status.as_u16())]
    Status { status: StatusCode },
    #[error("its response is not {expected}")]
    ContentType { expected: &'static str },
    #[error(transparent)]
    Answer(#[from] AnswerError),
    #[error("its keys are not available, so its signed responses cannot be verified")]
    NoKeys,
    #[error(transparent)]
    NotSigned(#[from] NotSigned),
}

impl Fault {
    pub(super) fn of(status: StatusCode, body: &[u8]) -> Self {
        match status {
            StatusCode::BAD_REQUEST | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Self::Unauthorized { status, error: ErrorName::of(body) }
            }
            _ => Self::Status { status },
        }
    }

    pub(super) fn names(&self, error: &str) -> bool {
        matches!(self, Self::Unauthorized { status: StatusCode::BAD_REQUEST, error: ErrorName(Some(name)) } if name == error)
    }

    pub(super) const fn outcome(&self) -> IntrospectionOutcome {
        match self {
            Self::Busy => IntrospectionOutcome::Busy,
            Self::TimedOut | Self::Fetch(FetchError::TimedOut { .. }) => IntrospectionOutcome::Timeout,
            Self::Unauthorized { .. } | Self::NotSigned(_) => IntrospectionOutcome::Unauthorized,
            Self::Status { .. }
            | Self::Fetch(FetchError::TooLarge { .. } | FetchError::Encoded { .. })
            | Self::ContentType { .. }
            | Self::Answer(_)
            | Self::NoKeys => IntrospectionOutcome::Invalid,
            Self::EndpointUnknown | Self::Fetch(_) => IntrospectionOutcome::Unreachable,
        }
    }
}

/// The registered `error` of a response (RFC 6749 §5.2), if it looks like one.
#[derive(Debug)]
pub(super) struct ErrorName(Option<String>);

impl ErrorName {
    fn of(body: &[u8]) -> Self {
        let plain =
            |name: &&str| (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        let body = parse_object(body).ok();
        let name = body.as_ref().and_then(|body| body.get("error")).and_then(Value::as_str).filter(plain);
        Self(name.map(str::to_owned))
    }
}

impl fmt::Display for ErrorName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |name| write!(f, " and {name}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_of_the_gateway_names_both_keys_that_can_be_wrong() {
        let said = |status, body: &str| Fault::of(status, body.as_bytes()).to_string();
        let refused = said(StatusCode::UNAUTHORIZED, r#"{"error":"invalid_client"}"#);
        for part in ["401 and invalid_client", "introspection.client_id", "introspection.authentication"] {
            assert!(refused.contains(part), "no {part:?} in {refused}");
        }
        assert_eq!(said(StatusCode::BAD_GATEWAY, ""), "it answered with status 502, expected 200"); // control
    }
}
