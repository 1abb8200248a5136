//! The access token as presented: exactly one Authorization field with one scheme and one token (RFC 6750 §2.1).
//!
//! A token in the query is refused (FAPI 2.0 §5.3.4 (2)); cookies and other fields are ignored. Does not judge the
//! token.

use std::fmt;

use http::{HeaderMap, header};

use crate::code::Code;
use crate::text::{is_media_type, is_token_byte};

/// An access token as the client sent it; nothing about it is verified.
#[derive(Clone, Copy)]
pub struct PresentedToken<'r>(&'r str);

impl<'r> PresentedToken<'r> {
    /// The token's text: a secret, which must not be logged or stored.
    pub const fn as_str(&self) -> &'r str {
        self.0
    }

    #[cfg(test)]
    pub(crate) const fn unparsed(text: &'r str) -> Self {
        Self(text)
    }

    /// Reads a `b64token` (RFC 6750 §2.1), the syntax of every token that a request can carry. For tokens that do not
    /// come from [`Credentials::from_request`].
    pub fn parse(text: &'r str) -> Option<Self> {
        is_b64token(text).then_some(Self(text))
    }
}

impl fmt::Debug for PresentedToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresentedToken(..)")
    }
}

/// The authentication schemes of RFC 6750 and RFC 9449.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// For tokens bound to a certificate.
    Bearer,
    /// For tokens bound to a key.
    Dpop,
}

impl Scheme {
    /// Both.
    pub const ALL: &[Self] = &[Self::Dpop, Self::Bearer];

    /// Its registered name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bearer => "Bearer",
            Self::Dpop => "DPoP",
        }
    }
}

/// The `DPoP` fields of a request, whose number is the first check of RFC 9449 §4.3.
#[derive(Clone, Copy)]
pub enum Proofs<'r> {
    /// None.
    None,
    /// One, not yet parsed.
    One(&'r str),
    /// More than one, in several lines or in one.
    Several,
}

impl<'r> Proofs<'r> {
    /// Those of a request.
    pub fn from_headers(headers: &'r HeaderMap) -> Self {
        let mut fields = headers.get_all("dpop").iter();
        match (fields.next(), fields.next()) {
            (None, _) => Self::None,
            // Text that is not ASCII is not a JWS; the empty text fails the next check.
            (Some(field), None) if !field.as_bytes().contains(&b',') => Self::One(field.to_str().unwrap_or_default()),
            (Some(_), _) => Self::Several,
        }
    }
}

impl fmt::Debug for Proofs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "Proofs::None",
            Self::One(_) => "Proofs::One(..)",
            Self::Several => "Proofs::Several",
        })
    }
}

/// What the client presented.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'r> {
    scheme: Scheme,
    token: PresentedToken<'r>,
    proofs: Proofs<'r>,
}

/// Why the request does not present exactly one token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// There is no Authorization field.
    #[error("no Authorization field")]
    Missing,
    /// The only token is in the query.
    #[error("the only access token is in the query")]
    InQuery,
    /// More than one field line.
    #[error("more than one Authorization field")]
    Repeated,
    /// A token in the field and another in the query.
    #[error("an access token in the Authorization field and in the query")]
    FieldAndQuery,
    /// A token in the field and another in the body.
    #[error("an access token in the Authorization field and in the form body")]
    FieldAndBody,
    /// Not `scheme SP token68`.
    #[error("the Authorization field is not one scheme and one token")]
    Malformed,
    /// A DPoP proof with scheme Bearer.
    #[error("scheme Bearer with a DPoP field, which belongs to scheme DPoP")]
    ProofWithBearer,
    /// A scheme that the route does not accept.
    #[error("the route does not accept this authentication scheme")]
    SchemeUnsupported,
}

impl CredentialsError {
    /// The stable code.
    pub const fn code(self) -> Code {
        match self {
            Self::Missing => Code::CredentialsMissing,
            Self::InQuery => Code::CredentialsInQuery,
            Self::Repeated | Self::FieldAndQuery | Self::FieldAndBody | Self::ProofWithBearer => {
                Code::CredentialsRepeated
            }
            Self::Malformed => Code::CredentialsMalformed,
            Self::SchemeUnsupported => Code::SchemeUnsupported,
        }
    }
}

impl<'r> Credentials<'r> {
    /// Reads the credentials from the header section.
    ///
    /// Refuses a token in the query. Does not read the body, which the caller has to check ([`is_form`],
    /// [`form_has_token`]).
    ///
    /// # Errors
    /// [`CredentialsError`].
    pub fn from_request(
        headers: &'r HeaderMap,
        query: Option<&str>,
        accepted: &[Scheme],
    ) -> Result<Self, CredentialsError> {
        let in_query = query.is_some_and(|query| form_has_token(query.as_bytes()));
        let mut fields = headers.get_all(header::AUTHORIZATION).iter();
        let Some(field) = fields.next() else {
            return Err(if in_query { CredentialsError::InQuery } else { CredentialsError::Missing });
        };
        // RFC 6750 §3.1: "invalid_request … uses more than one method for including an access token".
        if fields.next().is_some() {
            return Err(CredentialsError::Repeated);
        }
        if in_query {
            return Err(CredentialsError::FieldAndQuery);
        }
        let text = field.to_str().map_err(|_| CredentialsError::Malformed)?;
        let (scheme, rest) = text.split_once(' ').ok_or(CredentialsError::Malformed)?;
        if scheme.is_empty() || !scheme.bytes().all(is_token_byte) {
            return Err(CredentialsError::Malformed);
        }
        // RFC 9110 §11.1: "It uses a case-insensitive token to identify the authentication scheme".
        let scheme = accepted.iter().copied().find(|accepted| accepted.as_str().eq_ignore_ascii_case(scheme));
        let scheme = scheme.ok_or(CredentialsError::SchemeUnsupported)?;
        let token = rest.trim_start_matches(' ');
        let token = PresentedToken::parse(token).ok_or(CredentialsError::Malformed)?;
        Ok(Self { scheme, token, proofs: Proofs::from_headers(headers) })
    }

    /// The token.
    pub const fn token(&self) -> PresentedToken<'r> {
        self.token
    }

    /// The scheme that the token was sent with.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The proofs that were sent with it.
    pub const fn proofs(&self) -> Proofs<'r> {
        self.proofs
    }
}

/// Whether the content is declared to be a form, which could contain a token (RFC 6750 §2.2).
///
/// One of several `Content-Type` fields is enough, since the upstream may choose any of them.
pub fn is_form(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONTENT_TYPE).iter().any(|kind| is_media_type(kind, "application/x-www-form-urlencoded"))
}

/// Whether form-encoded text has a parameter named `access_token` (RFC 6750 §2.2, §2.3), with or without escapes.
pub fn form_has_token(form: &[u8]) -> bool {
    // Some servers also separate parameters at semicolons.
    form.split(|&b| b == b';').flat_map(form_urlencoded::parse).any(|(name, _)| name == "access_token")
}

/// `b64token = 1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="` (RFC 6750 §2.1).
fn is_b64token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let allowed = |b: u8| b.is_ascii_alphanumeric() | matches!(b, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    // Without an early end, so that many bytes are compared at once.
    !body.is_empty() && body.bytes().fold(true, |all, b| all & allowed(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(fields: &[&str], query: Option<&str>) -> Option<Code> {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(header::AUTHORIZATION, field.parse().unwrap());
        }
        Credentials::from_request(&headers, query, &[Scheme::Bearer]).err().map(CredentialsError::code)
    }

    #[test]
    fn fapi2_rs_23_scheme_is_case_insensitive() {
        for scheme in ["Bearer", "bearer", "bEARER", "BEARER"] {
            assert_eq!(code(&[&format!("{scheme} abc")], None), None, "{scheme}");
        }
    }

    #[test]
    fn bear_01_refuses_what_is_not_a_b64token() {
        assert_eq!(code(&["Bearer abc.def~x+/=="], None), None); // control
        for field in
            ["Bearer", "Bearer ", "Bearer a b", "Bearer a,b", "Bearer \"x\"", "Bearer =", "Bearer a=b", " Bearer a"]
        {
            assert_eq!(code(&[field], None), Some(Code::CredentialsMalformed), "{field:?}");
        }
    }

    #[test]
    fn bear_03_refuses_two_fields_even_if_equal() {
        assert_eq!(code(&["Bearer a"], None), None); // control
        assert_eq!(code(&["Bearer a", "Bearer a"], None), Some(Code::CredentialsRepeated));
        assert_eq!(code(&["Bearer a, DPoP a"], None), Some(Code::CredentialsMalformed));
    }

    #[test]
    fn fapi2_rs_02_refuses_a_token_in_the_query() {
        assert_eq!(code(&["Bearer a"], Some("page=2&my_access_token=1")), None); // control
        assert_eq!(code(&[], Some("page=2")), Some(Code::CredentialsMissing)); // control
        assert_eq!(code(&[], Some("access_token=a")), Some(Code::CredentialsInQuery));
        assert_eq!(code(&[], Some("x=1;access_token=a")), Some(Code::CredentialsInQuery));
        assert_eq!(code(&[], Some("acc%65ss_token=a")), Some(Code::CredentialsInQuery));
        assert_eq!(code(&["Bearer a"], Some("access_token=a")), Some(Code::CredentialsRepeated));
    }

    #[test]
    fn a_form_is_told_by_any_of_its_content_types() {
        let form = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_TYPE, value.parse().unwrap());
            }
            is_form(&headers)
        };
        for values in [
            &["application/x-www-form-urlencoded"][..],
            &["Application/X-WWW-Form-Urlencoded; charset=utf-8"],
            &["application/json", "application/x-www-form-urlencoded"],
        ] {
            assert!(form(values), "{values:?}");
        }
        for values in
            [&[][..], &["application/json"], &["multipart/form-data"], &["application/x-www-form-urlencodedx"]]
        {
            assert!(!form(values), "{values:?}"); // control
        }
    }

    #[test]
    fn dpop_01_two_proofs_are_told_from_one_in_one_line_and_in_two() {
        let proofs = |lines: &[&[u8]]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("dpop", http::HeaderValue::from_bytes(line).unwrap());
            }
            match Proofs::from_headers(&headers) {
                Proofs::None => "none".to_owned(),
                Proofs::One(proof) => proof.to_owned(),
                Proofs::Several => "several".to_owned(),
            }
        };
        assert_eq!((proofs(&[]), proofs(&[b"a.b.c"])), ("none".to_owned(), "a.b.c".to_owned())); // control
        for lines in [&[&b"a.b.c"[..], b"d.e.f"][..], &[b"a.b.c,d.e.f"], &[b"a.b.c, "], &[b","]] {
            assert_eq!(proofs(lines), "several", "{lines:?}");
        }
        assert_eq!(proofs(&[b"a.\xe9.c"]), "", "which is not a proof");
    }

    #[test]
    fn refuses_schemes_it_does_not_know() {
        for field in ["Basic abc", "DPoP abc", "Negotiate abc"] {
            assert_eq!(code(&[field], None), Some(Code::SchemeUnsupported), "{field}");
        }
    }

    #[test]
    fn debug_of_a_presented_token_hides_it() {
        assert_eq!(format!("{:?}", PresentedToken::parse("secret").unwrap()), "PresentedToken(..)");
    }
}
