//! The head of a request whose parameters are a form in its body (RFC 6749 §3.2, RFC 9126 §2.1).

use http::{HeaderMap, header};

use super::error::EndpointError;
use crate::text::{is_media_type, names_only_utf8, printable, sole_value};

/// Checks what declares the body, and that no parameter and no other credentials are beside it.
///
/// # Errors
/// [`EndpointError::NotAForm`], [`EndpointError::QueryBesideForm`], [`EndpointError::MethodRefused`].
pub fn check_head(headers: &HeaderMap, query: Option<&str>) -> Result<(), EndpointError> {
    if query.is_some_and(|query| !query.is_empty()) {
        return Err(EndpointError::QueryBesideForm);
    }
    // `client_secret_basic`, or an access token where none belongs: the server behind might prefer it to the rest.
    if headers.contains_key(header::AUTHORIZATION) {
        return Err(EndpointError::MethodRefused { found: "the Authorization field" });
    }
    let not_a_form = |found: &str| Err(EndpointError::NotAForm { found: printable(found) });
    if headers.contains_key(header::CONTENT_ENCODING) {
        return not_a_form("coded");
    }
    let Some(kind) = sole_value(headers, header::CONTENT_TYPE) else {
        return not_a_form(if headers.contains_key(header::CONTENT_TYPE) { "of several types" } else { "of no type" });
    };
    // RFC 6749 appendix B: the form is in UTF-8, which nothing in its type has to say, and which nothing may contradict.
    let is_form = is_media_type(kind, "application/x-www-form-urlencoded");
    if !is_form || !kind.to_str().is_ok_and(names_only_utf8) {
        return not_a_form(&String::from_utf8_lossy(kind.as_bytes()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

    #[test]
    fn fapi2_as_28_a_pushed_request_is_a_form() {
        for good in [
            FORM.1,
            "application/x-www-form-urlencoded;charset=UTF-8",
            "Application/X-WWW-Form-Urlencoded ; charset=\"utf-8\"",
        ] {
            assert_eq!(check_head(&headers(&[("content-type", good)]), None), Ok(()), "{good}");
        }
        assert_eq!(check_head(&headers(&[FORM]), Some("")), Ok(()), "control: an empty query has no parameter");
        for bad in [
            &[][..],
            &[("content-type", "application/json")],
            &[("content-type", "multipart/form-data; boundary=x")],
            &[("content-type", "application/x-www-form-urlencoded; charset=utf-16")],
            &[("content-type", "application/x-www-form-urlencoded; charset=utf-7; charset=utf-8")],
            &[("content-type", "application/x-www-form-urlencoded, application/json")],
            &[FORM, FORM],
            &[FORM, ("content-encoding", "gzip")],
        ] {
            let refused = check_head(&headers(bad), None);
            assert!(matches!(refused, Err(EndpointError::NotAForm { .. })), "{bad:?}: {refused:?}");
        }
        assert_eq!(check_head(&headers(&[FORM]), Some("client_id=1")), Err(EndpointError::QueryBesideForm));
    }

    #[test]
    fn fapi2_as_05_a_secret_in_the_authorization_field_is_refused() {
        let refused = check_head(&headers(&[FORM, ("authorization", "Basic YTpi")]), None);
        assert_eq!(refused, Err(EndpointError::MethodRefused { found: "the Authorization field" }));
        assert_eq!(check_head(&headers(&[FORM]), None), Ok(()), "control");
    }
}
