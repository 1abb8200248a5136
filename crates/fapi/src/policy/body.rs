//! The body of a request, as far as a token is compared with it.

use http::{HeaderMap, header};
use serde_json::{Map, Value};

use super::error::PolicyError;
use crate::jose::json::parse_object;
use crate::text::{is_json, sole_value};

/// Checks that the header fields declare one JSON text in UTF-8, as it is: without a coding, and by one `Content-Type`.
///
/// # Errors
/// [`PolicyError::BodyTypeUnsupported`].
pub(super) fn check_type(headers: &HeaderMap) -> Result<(), PolicyError> {
    let only = sole_value(headers, header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    // RFC 9110 §8.4: who decodes the content reads another text.
    let coded = headers.contains_key(header::CONTENT_ENCODING);
    if !coded && only.is_some_and(is_json) { Ok(()) } else { Err(PolicyError::BodyTypeUnsupported) }
}

/// Reads the members of the body, which is one JSON object with one reading.
///
/// # Errors
/// [`PolicyError::BodyUnreadable`].
pub(super) fn read(body: &[u8]) -> Result<Map<String, Value>, PolicyError> {
    parse_object(body).map_err(|_| PolicyError::BodyUnreadable)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(types: &[&str]) -> Result<(), PolicyError> {
        let mut headers = HeaderMap::new();
        for value in types {
            headers.append(header::CONTENT_TYPE, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        check_type(&headers)
    }

    #[test]
    fn the_body_is_json_in_utf8() {
        for value in [
            "application/json",
            "Application/JSON",
            "application/json; charset=utf-8",
            "application/json;charset=\"UTF-8\"",
            "application/json; profile=x",
            "application/vnd.bank.payment+json",
            "application/jose.x+json; v=1",
        ] {
            assert_eq!(of(&[value]), Ok(()), "{value}"); // control
        }
        for types in [
            &[][..],
            &[""],
            &["text/json"],
            &["text/x+json"],
            &["model/gltf+json"],
            &["text/plain"],
            &["application/jsonp"],
            &["application/+json"],
            &["application/x+json+xml"],
            &["application/a b+json"],
            &["application/jose"],
            &["application/x-www-form-urlencoded"],
            &["application/json, text/plain"],
            &["application/json; charset=utf-16"],
            &["application/json; charset=iso-8859-1"],
            &["application/json; CHARSET = utf-7"],
            &["application/json; charset"],
            &["application/json; charset*=utf-16''x"],
            &["application/json; charset=utf-8; charset=utf-16"],
            &["application/json; x=\"; charset=utf-16\""],
            &["application/json", "application/json"],
            &["application/json", "text/plain"],
            &["application/json; x=\u{e9}"],
        ] {
            assert_eq!(of(types), Err(PolicyError::BodyTypeUnsupported), "{types:?}");
        }
        let mut coded = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        assert_eq!(check_type(&coded), Ok(())); // control
        coded.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert_eq!(check_type(&coded), Err(PolicyError::BodyTypeUnsupported));
    }

    #[test]
    fn the_body_has_one_reading() {
        let nested = |depth: usize| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
        let wide = |count: usize| format!("{{\"a\":[{}]}}", vec!["1"; count].join(","));
        for body in ["{}", " {\"a\": 1.5e3} \n", "{\"a\":{\"a\":1}}", &nested(14), &wide(4000)] {
            assert!(read(body.as_bytes()).is_ok(), "{body}"); // control
        }
        for body in [
            "",
            "[]",
            "null",
            "\"a\"",
            "{",
            "{}{}",
            "{\"a\":1,\"a\":1}",
            "{\"a\":1,\"\\u0061\":1}",
            "{\"b\":{\"a\":1,\"a\":2}}",
            "{\"a\":NaN}",
            "{\"a\":01}",
            "{\"a\":+1}",
            "{\"a\":1e999}",
            "{\"a\":'b'}",
            "{a:1}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":1,}",
            "{}//",
            "\u{feff}{}",
            &nested(16),
            &nested(10_000),
            &wide(5000),
        ] {
            assert_eq!(read(body.as_bytes()), Err(PolicyError::BodyUnreadable), "{body}");
        }
        assert_eq!(read(b"{\"a\":\"\xe9\"}"), Err(PolicyError::BodyUnreadable));
        assert_eq!(read(b"{\0}\0"), Err(PolicyError::BodyUnreadable));
    }
}
