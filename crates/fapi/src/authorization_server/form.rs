//! The head of a request whose parameters are a form in its body (RFC 6749 §3.2, RFC 9126 §2.1).

use http::{HeaderMap, HeaderValue, header};

use super::error::EndpointError;
use super::registration::{RegistrationError, RegistrationForm};
use crate::text::{is_media_type, names_only_utf8, printable, sole_value};

/// Checks that `Connection` names nothing but what is about a connection: a proxy removes what it names (RFC 9110 §7.6.1), and the
/// server would judge another request than was judged here.
///
/// # Errors
/// [`EndpointError::ConnectionNames`].
pub fn check_connection(headers: &HeaderMap) -> Result<(), EndpointError> {
    const OPTIONS: [&str; 6] = ["close", "http2-settings", "keep-alive", "te", "trailer", "upgrade"];
    for value in headers.get_all(header::CONNECTION) {
        let names = String::from_utf8_lossy(value.as_bytes());
        let mut names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
        let other = names.find(|name| !OPTIONS.iter().any(|option| name.eq_ignore_ascii_case(option)));
        if let Some(name) = other {
            return Err(EndpointError::ConnectionNames { name: printable(name) });
        }
    }
    Ok(())
}

/// Checks what declares the body, and that no parameter and no other credentials are beside it.
///
/// # Errors
/// [`EndpointError::NotAForm`], [`EndpointError::QueryBesideForm`], [`EndpointError::MethodRefused`].
pub fn check_head(headers: &HeaderMap, query: Option<&str>) -> Result<(), EndpointError> {
    check_query(query)?;
    // `client_secret_basic`, or an access token where none belongs: the server behind might prefer it to the rest.
    if headers.contains_key(header::AUTHORIZATION) {
        return Err(EndpointError::MethodRefused { found: "the Authorization field" });
    }
    // RFC 6749 appendix B: the form is in UTF-8, which nothing in its type has to say, and which nothing may contradict.
    let declared = Declared::by(headers);
    if declared.is("application/x-www-form-urlencoded") {
        Ok(())
    } else {
        Err(EndpointError::NotAForm { found: declared.shown() })
    }
}

/// Checks what declares the body of a registration request, and that nothing but an initial access token is beside it (RFC 7591 §3).
///
/// # Errors
/// [`EndpointError::QueryBesideForm`], [`EndpointError::MethodRefused`], [`RegistrationError::TypeRefused`].
pub fn registration(headers: &HeaderMap, query: Option<&str>) -> Result<RegistrationForm, EndpointError> {
    check_query(query)?;
    if headers.contains_key(header::AUTHORIZATION) {
        let value = sole_value(headers, header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let scheme = value.and_then(|value| value.split_once(' ')).map(|(scheme, _)| scheme);
        if !scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("Bearer")) {
            return Err(EndpointError::MethodRefused { found: "the Authorization field" });
        }
    }
    let declared = Declared::by(headers);
    if declared.is("application/json") {
        Ok(RegistrationForm::Json)
    } else if declared.is("application/jwt") || declared.is("application/jose") {
        Ok(RegistrationForm::Jwt)
    } else {
        Err(RegistrationError::TypeRefused { found: declared.shown() }.into())
    }
}

fn check_query(query: Option<&str>) -> Result<(), EndpointError> {
    match query {
        None | Some("") => Ok(()),
        Some(_) => Err(EndpointError::QueryBesideForm),
    }
}

/// What a body is declared as.
enum Declared<'h> {
    /// As this media type.
    As(&'h HeaderValue),
    /// As something that is not read.
    Unreadable(&'static str),
}

impl<'h> Declared<'h> {
    fn by(headers: &'h HeaderMap) -> Self {
        if headers.contains_key(header::CONTENT_ENCODING) {
            return Self::Unreadable("coded");
        }
        match sole_value(headers, header::CONTENT_TYPE) {
            Some(kind) => Self::As(kind),
            None if headers.contains_key(header::CONTENT_TYPE) => Self::Unreadable("of several types"),
            None => Self::Unreadable("of no type"),
        }
    }

    /// Whether it is this media type, in UTF-8.
    fn is(&self, media_type: &str) -> bool {
        match self {
            Self::As(kind) => is_media_type(kind, media_type) && kind.to_str().is_ok_and(names_only_utf8),
            Self::Unreadable(_) => false,
        }
    }

    /// Truncated and made printable.
    fn shown(&self) -> Box<str> {
        match self {
            Self::As(kind) => printable(&String::from_utf8_lossy(kind.as_bytes())),
            Self::Unreadable(why) => (*why).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::code::Code;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn nothing_that_was_judged_is_taken_out_on_the_way() {
        for good in [&[][..], &[("connection", "close")], &[("connection", "Keep-Alive, TE")], &[("connection", "")]] {
            assert_eq!(check_connection(&headers(good)), Ok(()), "{good:?}");
        }
        for (bad, name) in [
            (&[("connection", "content-type")][..], "content-type"),
            (&[("connection", "close, DPoP")], "DPoP"),
            (&[("connection", "close"), ("connection", "x-own")], "x-own"),
        ] {
            assert_eq!(check_connection(&headers(bad)), Err(EndpointError::ConnectionNames { name: name.into() }));
        }
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

    #[test]
    fn the_head_declares_json_or_a_jwt_and_has_no_other_credentials_than_an_initial_token() {
        let declared = |fields: &[(&'static str, &'static str)], query| {
            let mut headers = HeaderMap::new();
            for (name, value) in fields {
                headers.append(*name, HeaderValue::from_static(value));
            }
            registration(&headers, query)
        };
        const JSON: (&str, &str) = ("content-type", "application/json");
        for (kind, form) in [
            (JSON.1, RegistrationForm::Json),
            ("Application/JSON; charset=utf-8", RegistrationForm::Json),
            ("application/jwt", RegistrationForm::Jwt),
            ("application/jose", RegistrationForm::Jwt),
        ] {
            assert_eq!(declared(&[("content-type", kind)], None), Ok(form), "control: {kind}");
        }
        assert_eq!(declared(&[JSON, ("authorization", "Bearer t")], Some("")), Ok(RegistrationForm::Json), "control");
        for fields in [
            &[][..],
            &[("content-type", "application/x-www-form-urlencoded")],
            &[("content-type", "application/json; charset=utf-16")],
            &[("content-type", "application/jwt, application/json")],
            &[JSON, JSON],
            &[JSON, ("content-encoding", "gzip")],
        ] {
            let refused = declared(fields, None).unwrap_err();
            assert!(
                matches!(refused, EndpointError::Registration(RegistrationError::TypeRefused { .. })),
                "{fields:?}: {refused}"
            );
            assert_eq!(refused.code(), Code::RegistrationRefused);
        }
        let refused = Err(EndpointError::MethodRefused { found: "the Authorization field" });
        for value in ["Basic YTpi", "DPoP t", "Bearer", ""] {
            assert_eq!(declared(&[JSON, ("authorization", value)], None), refused, "{value}");
        }
        let twice = [JSON, ("authorization", "Bearer t"), ("authorization", "Bearer u")];
        assert_eq!(declared(&twice, None), refused);
        assert_eq!(declared(&[JSON], Some("a=b")), Err(EndpointError::QueryBesideForm));
    }
}
