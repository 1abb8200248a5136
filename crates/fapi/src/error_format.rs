//! The form of the body that tells a client of a refusal: plain JSON, or a problem (RFC 9457).

use http::{HeaderValue, StatusCode};

/// The form of the body that tells a client of a refusal. Each says no more than the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorFormat {
    /// `application/json` with `error` and `error_description`, the names of RFC 6749 §5.2.
    #[default]
    Json,
    /// `application/problem+json` with the same two members, after `type`, `title` and `status` (RFC 9457 §3.1).
    Problem,
}

impl ErrorFormat {
    /// The value of `Content-Type`.
    pub const fn media_type(self) -> HeaderValue {
        match self {
            Self::Json => HeaderValue::from_static("application/json"),
            Self::Problem => HeaderValue::from_static("application/problem+json"),
        }
    }

    /// The body. `error` and `description` are fixed texts, with no character that JSON escapes.
    pub fn body(self, status: StatusCode, error: &str, description: &str) -> String {
        let members = format!(r#""error":"{error}","error_description":"{description}""#);
        match self {
            Self::Json => format!("{{{members}}}"),
            Self::Problem => {
                // RFC 9457 §4.2.1: with "about:blank", the title "SHOULD be the same as the recommended HTTP status
                // phrase for that code".
                let (title, status) = (status.canonical_reason().unwrap_or_default(), status.as_u16());
                format!(r#"{{"type":"about:blank","title":"{title}","status":{status},{members}}}"#)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_the_members_of_the_plain_body_and_three_more() {
        let body = |format: ErrorFormat| format.body(StatusCode::UNAUTHORIZED, "invalid_token", "It is not valid");
        assert_eq!(body(ErrorFormat::Json), r#"{"error":"invalid_token","error_description":"It is not valid"}"#);
        assert_eq!(
            body(ErrorFormat::Problem),
            r#"{"type":"about:blank","title":"Unauthorized","status":401,"error":"invalid_token","error_description":"It is not valid"}"#
        );
    }
}
