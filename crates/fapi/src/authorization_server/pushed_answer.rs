//! The answer to a pushed authorization request: a `request_uri`, and for how long it can be used (RFC 9126 §2.2).

use std::fmt;

use http::{HeaderMap, StatusCode};

use super::answer::{AnswerError, check_refusal, expires_in, success, text};
use crate::jose::json::parse_object;
use crate::text::is_uri;

/// FAPI 2.0 §5.3.2.2: "shall issue pushed authorization requests request_uri with expires_in values of less than 600 seconds".
pub const BELOW: u64 = 600;
/// The longest `request_uri`, in bytes.
pub const MAX_REQUEST_URI: usize = 512;

/// An answer that may reach the client as it is.
#[derive(Clone, PartialEq, Eq)]
pub enum PushedAnswer {
    /// The request can be continued at the authorization endpoint.
    Accepted {
        /// What the client names it by.
        request_uri: Box<str>,
        /// For how many seconds.
        expires_in: u64,
    },
    /// The server has refused the request, for whatever reason.
    Refused,
}

/// Without the `request_uri`, which is for one client alone.
impl fmt::Debug for PushedAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted { expires_in, .. } => {
                f.debug_struct("Accepted").field("expires_in", expires_in).finish_non_exhaustive()
            }
            Self::Refused => f.write_str("Refused"),
        }
    }
}

/// Judges an answer of the endpoint for pushed authorization requests.
///
/// RFC 9126 §2.2 has the status 201; 200 passes too, which some servers send. Does not check that nobody can guess the
/// `request_uri`, nor that the server gives each of them out once: the caller can remember whose it is.
///
/// # Errors
/// [`AnswerError`], for the first check that fails.
pub fn judge(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<PushedAnswer, AnswerError> {
    if status.is_client_error() || status.is_server_error() {
        check_refusal(status, body, &["request_uri"])?;
        return Ok(PushedAnswer::Refused);
    }
    if !matches!(status, StatusCode::CREATED | StatusCode::OK) {
        return Err(AnswerError::StatusWrong { found: status, expected: "201, or that of an error" });
    }
    let members = success(headers, body)?;
    let request_uri = text(&members, "request_uri", MAX_REQUEST_URI)?;
    if !is_uri(request_uri) {
        return Err(AnswerError::MemberMalformed { member: "request_uri", expected: "a URI" });
    }
    let missing = AnswerError::MemberMalformed { member: "expires_in", expected: "there" };
    let found = expires_in(&members)?.ok_or(missing)?;
    if found >= BELOW {
        return Err(AnswerError::RequestUriTooLongLived { found, below: BELOW });
    }
    Ok(PushedAnswer::Accepted { request_uri: request_uri.into(), expires_in: found })
}

/// The `request_uri` of an answer that is not judged, if it has one. Whose it is can be remembered; that is all.
pub fn named(body: &[u8]) -> Option<Box<str>> {
    let members = parse_object(body).ok()?;
    text(&members, "request_uri", MAX_REQUEST_URI).ok().map(Box::from)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use http::header::CONTENT_TYPE;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::code::Code;

    const URI: &str = "urn:ietf:params:oauth:request_uri:6esc_11ACC5bwc014ltc14eY22c";

    fn judged(status: u16, content_type: &'static str, body: &str) -> Result<PushedAnswer, AnswerError> {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        judge(StatusCode::from_u16(status).unwrap(), &headers, body.as_bytes())
    }

    fn good() -> Value {
        json!({ "request_uri": URI, "expires_in": 60 })
    }

    #[test]
    fn what_breaks_a_rule_has_a_name_all_the_same() {
        let long = json!({ "request_uri": URI, "expires_in": 3600 });
        assert_eq!(named(long.to_string().as_bytes()).as_deref(), Some(URI)); // control
        let other = format!("urn:{}", "x".repeat(MAX_REQUEST_URI));
        for nothing in
            [json!({}), json!({ "request_uri": 1 }), json!({ "request_uri": "" }), json!({ "request_uri": other })]
        {
            assert_eq!(named(nothing.to_string().as_bytes()), None, "{nothing}");
        }
        assert_eq!(named(br#"{"request_uri":"urn:a","request_uri":"urn:b"}"#), None);
    }

    fn with(member: &str, value: Value) -> Result<PushedAnswer, AnswerError> {
        let mut body = good();
        body[member] = value;
        judged(201, "application/json", &body.to_string())
    }

    fn code(answer: Result<PushedAnswer, AnswerError>) -> Option<Code> {
        answer.err().map(|error| error.code())
    }

    #[test]
    fn rfc9126_2_2_a_success_is_201_and_a_refusal_is_an_error_status() {
        let accepted = PushedAnswer::Accepted { request_uri: URI.into(), expires_in: 60 };
        for status in [201, 200] {
            assert_eq!(judged(status, "application/json", &good().to_string()), Ok(accepted.clone()), "{status}"); // control
        }
        for status in [202, 204, 206, 301, 302, 303, 307, 100, 101] {
            let expected = "201, or that of an error";
            let found = StatusCode::from_u16(status).unwrap();
            let answer = judged(status, "application/json", &good().to_string());
            assert_eq!(answer, Err(AnswerError::StatusWrong { found, expected }), "{status}");
        }
        for status in [400, 401, 405, 413, 429, 500, 503] {
            for body in [r#"{"error":"invalid_request"}"#, "<html></html>", ""] {
                assert_eq!(judged(status, "text/html", body), Ok(PushedAnswer::Refused), "{status} {body}");
            }
            let answer = judged(status, "application/json", &good().to_string());
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(answer, Err(AnswerError::GrantInRefusal { status, member: "request_uri" }));
        }
        let html = judged(201, "text/html", &good().to_string());
        assert_eq!(html, Err(AnswerError::ContentTypeWrong));
        assert_eq!(with("error", json!("invalid_request")), Err(AnswerError::ErrorInSuccess));
        let twice = format!("{{\"request_uri\":\"urn:other\",{}", &good().to_string()[1..]);
        assert_eq!(judged(201, "application/json", &twice), Err(AnswerError::NotJson));
    }

    #[test]
    fn fapi2_as_24_a_request_uri_expires_within_ten_minutes() {
        for seconds in [1, 60, 599] {
            assert_eq!(code(with("expires_in", json!(seconds))), None, "{seconds}"); // control
        }
        for found in [600, 601, 86_400, u64::MAX] {
            let error = AnswerError::RequestUriTooLongLived { found, below: 600 };
            assert_eq!(with("expires_in", json!(found)), Err(error));
        }
        for value in [json!(0), json!(-1), json!(60.5), json!("60"), json!(null), json!([60])] {
            assert_eq!(code(with("expires_in", value.clone())), Some(Code::AnswerMalformed), "{value}");
        }
        let without = judged(201, "application/json", &json!({ "request_uri": URI }).to_string());
        assert_eq!(code(without), Some(Code::AnswerMalformed));
    }

    #[test]
    fn fapi2_as_29_a_request_uri_is_a_uri() {
        let longest = format!("urn:{}", "a".repeat(508));
        for good in [URI, "urn:a", "https://as.example/requests/1", &longest] {
            assert_eq!(code(with("request_uri", json!(good))), None, "{good}"); // control
        }
        let longer = format!("{longest}a");
        for bad in ["", "6esc_11ACC5", "urn:", ":a", "1urn:a", "u rn:a", "urn:a b", "urn:a\n", "urn:ä", "/a:b", &longer]
        {
            assert_eq!(code(with("request_uri", json!(bad))), Some(Code::AnswerMalformed), "{bad}");
        }
        for value in [json!(null), json!(7), json!([URI])] {
            assert_eq!(code(with("request_uri", value.clone())), Some(Code::AnswerMalformed), "{value}");
        }
        let without = judged(201, "application/json", r#"{"expires_in":60}"#);
        assert_eq!(code(without), Some(Code::AnswerMalformed));
    }

    #[test]
    fn what_is_logged_of_an_answer_has_no_request_uri() {
        let answer = with("expires_in", json!(60)).unwrap();
        assert_eq!(format!("{answer:?}"), "Accepted { expires_in: 60, .. }");
        for (member, value) in
            [("expires_in", json!(600)), ("request_uri", json!("6esc_11ACC5")), ("error", json!("6esc"))]
        {
            assert!(!with(member, value).unwrap_err().to_string().contains("6esc"), "{member}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(status in 100_u16..600, body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
            let _ = judge(StatusCode::from_u16(status).unwrap(), &headers, &body);
        }
    }
}
