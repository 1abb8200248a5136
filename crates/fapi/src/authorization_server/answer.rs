//! Why an answer of the authorization server does not reach the client, and how the judgements read one.
//!
//! A client that trusts the gateway's profile trusts what comes out of it: a token that is bound to nobody is as wrong as a request
//! that asks for one. The caller holds an answer as a whole, and forwards its bytes unchanged if they pass.

use http::{HeaderMap, HeaderValue, StatusCode, header};
use memchr::memmem;
use serde_json::{Map, Value};

use super::parameters::ParametersError;
use crate::UnixTime;
use crate::code::Code;
use crate::jose::json::parse_object;
use crate::jose::jws::JwsError;
use crate::jose::statement::StatementError;
use crate::jose::thumbprint::{CertificateThumbprint, KeyThumbprint};
use crate::text::{Names, is_media_type, names_only_utf8, sole_value};
use crate::token::ConfirmationError;
use crate::token::introspection::JSON;

/// Why an answer of the authorization server does not reach the client.
///
/// What it shows has neither tokens nor codes nor request URIs in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// `token_type` says that the token is bound in another way, or not at all (RFC 9449 §5).
    #[error("token_type is {found}, expected {expected}")]
    TokenTypeWrong {
        /// What it is, made printable.
        found: Box<str>,
        /// What it has to be.
        expected: &'static str,
    },
    /// The access token is a JWT whose `cnf` binds it to nothing (FAPI 2.0 §5.3.2.1 (4)).
    #[error("the access token is not bound to the client: {0}")]
    TokenUnbound(#[from] ConfirmationError),
    /// It is bound to another key than that of the proof.
    #[error("the access token is bound to the key {found}, expected {expected}")]
    KeyMismatch {
        /// The thumbprint in the token.
        found: KeyThumbprint,
        /// That of the proof's key.
        expected: KeyThumbprint,
    },
    /// It is bound to another certificate than that of the client.
    #[error("the access token is bound to the certificate {found}, expected {expected}")]
    CertificateMismatch {
        /// The thumbprint in the token.
        found: CertificateThumbprint,
        /// That of the client's certificate.
        expected: CertificateThumbprint,
    },
    /// It is bound to something that the client has not shown.
    #[error("the access token is bound to a {what}, and the client has shown none")]
    NotShown {
        /// A key or a certificate.
        what: &'static str,
    },
    /// It cannot be read, and nothing in the answer says that it is bound to a certificate.
    #[error(
        "the access token is opaque, so that it cannot be seen to be bound to a certificate; let it be introspected"
    )]
    Opaque,
    /// The server has issued a token, and says that it is not active, or nothing that the gateway may know.
    #[error("the server says of the access token that it is not active")]
    Inactive,
    /// FAPI 2.0 §5.3.2.2: "shall issue pushed authorization requests request_uri with expires_in values of less than 600 seconds".
    #[error("the request_uri expires in {found} seconds, expected less than {below}")]
    RequestUriTooLongLived {
        /// `expires_in`.
        found: u64,
        /// The bound.
        below: u64,
    },
    /// The access token lives longer than it may here.
    #[error("the access token is valid for {found} seconds by its {by}, expected at most {longest}")]
    TokenTooLongLived {
        /// For how long.
        found: u64,
        /// What says so.
        by: &'static str,
        /// The longest that it may.
        longest: u64,
    },
    /// There is a longest lifetime, and nothing says how long the access token lives.
    #[error("{by} is missing, so that the access token may be valid for more than {longest} seconds")]
    TokenLifetimeUnknown {
        /// What would say it.
        by: &'static str,
        /// The longest that it may.
        longest: u64,
    },
    /// JARM §2.1: "A maximum JWT lifetime of 10 minutes is RECOMMENDED."
    #[error("the authorization response expires at {at}, more than ten minutes from now, {now}")]
    ResponseTooLongLived {
        /// `exp`.
        at: UnixTime,
        /// The time of the judgement.
        now: UnixTime,
    },
    /// Such an answer never has this status.
    #[error("the status is {found}, expected {expected}")]
    StatusWrong {
        /// The status.
        found: StatusCode,
        /// Those that it may have.
        expected: &'static str,
    },
    /// A success that is not labelled as JSON, or labelled twice.
    #[error("the content type is not application/json, once and in UTF-8")]
    ContentTypeWrong,
    /// A body in which somebody could read something else.
    #[error("the body is not a JSON object with one reading")]
    NotJson,
    /// A member without which the answer means nothing.
    #[error("{member} is not {expected}")]
    MemberMalformed {
        /// The member.
        member: &'static str,
        /// What it has to be.
        expected: &'static str,
    },
    /// A success with `error`: some read the one, and some the other.
    #[error("the status says success and the body has error")]
    ErrorInSuccess,
    /// An error with something that only a success has.
    #[error("the status is {status} and the body has {member}")]
    GrantInRefusal {
        /// The status.
        status: StatusCode,
        /// What it has.
        member: &'static str,
    },
    /// The access token looks like a JWT and has no single reading.
    #[error("the access token is a JWT that cannot be read: {0}")]
    TokenMalformed(JwsError),
    /// RFC 7591 §3.2.1: the server has replaced what the client asked for, and the client is another than was judged.
    #[error("{member} of the registered client is {found}, which it did not ask for, or FAPI does not allow")]
    RegisteredOtherwise {
        /// The member.
        member: &'static str,
        /// What it is, made printable; nothing secret.
        found: Box<str>,
    },
    /// FAPI 2.0 §5.3.2.1 (9): "shall not use refresh token rotation except in extraordinary circumstances".
    #[error("the refresh token is another than the one that was presented, and there is no rotation here")]
    RefreshTokenRotated,
    /// FAPI 2.0 §5.3.2.2: "shall not use the HTTP 307 status code when redirecting a request that contains user credentials".
    #[error("the status of a redirect is {found}, expected 303 or 302")]
    RedirectStatusWrong {
        /// The status.
        found: StatusCode,
    },
    /// A redirect with a `Location` that browsers read in several ways, or not at all.
    #[error("Location {why}")]
    LocationMalformed {
        /// What is wrong.
        why: &'static str,
    },
    /// `Refresh`, with which browsers go elsewhere too.
    #[error("the answer has Refresh, which is a redirect by another name")]
    Refresh,
    /// FAPI 2.0 §5.3.2.1 (7): "shall not expose open redirectors".
    #[error("Location leads to {place}, which is neither this server nor a registered redirect URI")]
    RedirectElsewhere {
        /// Scheme and host, truncated and made printable.
        place: Box<str>,
    },
    /// A redirect with a token in the URL (RFC 9700 §2.1.2).
    #[error("Location has the parameter {name}")]
    TokenInUrl {
        /// The parameter.
        name: &'static str,
    },
    /// The parameters of an authorization response cannot be read in one way.
    #[error("the authorization response cannot be read: {0}")]
    Parameters(#[from] ParametersError),
    /// An authorization response is not one of the code flow, or not of the response mode.
    #[error("the authorization response {why}")]
    ResponseMalformed {
        /// What is wrong.
        why: &'static str,
    },
    /// It has a parameter that it never has in this response mode.
    #[error("the authorization response has the parameter {name}")]
    ResponseParameter {
        /// The parameter.
        name: &'static str,
    },
    /// RFC 9207 §2: it does not say which server it is of, or names another.
    #[error("iss of the authorization response is {found}, expected {expected:?}")]
    ResponseIssuer {
        /// What it is, made printable.
        found: Box<str>,
        /// The issuer.
        expected: Box<str>,
    },
    /// The JWT of an authorization response is not signed by this server (JARM §2.4).
    #[error("the authorization response is refused: {0}")]
    ResponseJwt(#[from] StatementError),
    /// It is for another client than the one that the browser is sent to.
    #[error("aud of the authorization response is {found}, expected the client of its redirect URI")]
    ResponseAudience {
        /// What it is, made printable.
        found: Box<str>,
    },
    /// It has expired.
    #[error("the authorization response expired at {at}, it is {now}")]
    ResponseExpired {
        /// `exp`.
        at: UnixTime,
        /// The time of the judgement.
        now: UnixTime,
    },
    /// RFC 8414 §3.3: the metadata is of another issuer.
    #[error("issuer in the metadata is {found}, expected {expected:?}")]
    IssuerMismatch {
        /// What it is, made printable.
        found: Box<str>,
        /// The issuer that is configured.
        expected: Box<str>,
    },
    /// The server supports nothing of what is allowed here.
    #[error("{member} in the metadata is {found}, of which nothing is allowed here")]
    NothingAllowed {
        /// The member.
        member: &'static str,
        /// What the server supports.
        found: Names,
    },
    /// A member would have to be changed, and a signature says that it is as it is.
    #[error("{member} in the metadata is not as it has to be, and cannot be changed beside signed_metadata")]
    MetadataSigned {
        /// The member, truncated and made printable.
        member: Box<str>,
    },
    /// RFC 8414 §2.1: signed values "take precedence over the corresponding values conveyed using plain JSON elements".
    #[error("{member} in signed_metadata is another than beside it")]
    MetadataContradicted {
        /// The member, truncated and made printable.
        member: Box<str>,
    },
}

impl AnswerError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::TokenTypeWrong { .. }
            | Self::TokenUnbound(_)
            | Self::KeyMismatch { .. }
            | Self::CertificateMismatch { .. }
            | Self::NotShown { .. }
            | Self::Opaque
            | Self::Inactive => Code::AnswerUnbound,
            Self::RequestUriTooLongLived { .. }
            | Self::TokenTooLongLived { .. }
            | Self::TokenLifetimeUnknown { .. }
            | Self::ResponseTooLongLived { .. } => Code::AnswerTooLongLived,
            Self::StatusWrong { .. }
            | Self::ContentTypeWrong
            | Self::NotJson
            | Self::MemberMalformed { .. }
            | Self::ErrorInSuccess
            | Self::GrantInRefusal { .. }
            | Self::TokenMalformed(_)
            | Self::RegisteredOtherwise { .. }
            | Self::RefreshTokenRotated
            | Self::RedirectStatusWrong { .. }
            | Self::LocationMalformed { .. }
            | Self::Refresh
            | Self::RedirectElsewhere { .. }
            | Self::TokenInUrl { .. }
            | Self::Parameters(_)
            | Self::ResponseMalformed { .. }
            | Self::ResponseParameter { .. }
            | Self::ResponseIssuer { .. }
            | Self::ResponseJwt(_)
            | Self::ResponseAudience { .. }
            | Self::ResponseExpired { .. } => Code::AnswerMalformed,
            Self::IssuerMismatch { .. }
            | Self::NothingAllowed { .. }
            | Self::MetadataSigned { .. }
            | Self::MetadataContradicted { .. } => Code::MetadataMismatch,
        }
    }

    /// Whether the server has signed with a key that its key set does not have, so that whoever cannot read the set again does not know
    /// whether the server is at fault.
    pub const fn lacks_key(&self) -> bool {
        matches!(self, Self::ResponseJwt(StatementError::KeyUnknown { .. }))
    }

    /// Whether another version of the server's key set could change the outcome.
    pub const fn depends_on_keys(&self) -> bool {
        matches!(self, Self::ResponseJwt(error) if error.depends_on_keys())
    }
}

/// Reads the body of a success: labelled as JSON, an object with one reading, and not an error.
pub(super) fn success(headers: &HeaderMap, body: &[u8]) -> Result<Map<String, Value>, AnswerError> {
    let content_type = sole_value(headers, header::CONTENT_TYPE);
    let is_json = |it: &HeaderValue| is_media_type(it, JSON) && it.to_str().is_ok_and(names_only_utf8);
    if !content_type.is_some_and(is_json) {
        return Err(AnswerError::ContentTypeWrong);
    }
    let members = parse_object(body).map_err(|_| AnswerError::NotJson)?;
    if members.contains_key("error") { Err(AnswerError::ErrorInSuccess) } else { Ok(members) }
}

/// Checks that the body of a refusal has none of these members, however deep.
///
/// A refusal may have any body, such as a page of another proxy. One that begins like JSON has to be JSON with one reading; in
/// all others the names are looked for as JSON and forms have them.
pub(super) fn check_refusal(status: StatusCode, body: &[u8], never: &[&'static str]) -> Result<(), AnswerError> {
    let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start();
    let found = if text.starts_with(b"{") {
        let members = parse_object(text).map_err(|_| AnswerError::NotJson)?;
        never.iter().find(|name| members.iter().any(|member| states(member, name)))
    } else {
        let has = |text: String| memmem::find(body, text.as_bytes()).is_some();
        never.iter().find(|name| has(format!("\"{name}\"")) || has(format!("{name}=")))
    };
    found.map_or(Ok(()), |member| Err(AnswerError::GrantInRefusal { status, member }))
}

/// Whether a member, or one in it, has this name. [`parse_object`] bounds the depth.
fn states((member, value): (&String, &Value), name: &str) -> bool {
    fn has(value: &Value, name: &str) -> bool {
        match value {
            Value::Object(members) => members.iter().any(|member| states(member, name)),
            Value::Array(elements) => elements.iter().any(|element| has(element, name)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    }
    member == name || has(value, name)
}

/// A member that is a text of printable ASCII, of at most `longest` bytes, and not empty.
pub(super) fn text<'m>(
    members: &'m Map<String, Value>,
    member: &'static str,
    longest: usize,
) -> Result<&'m str, AnswerError> {
    let fits =
        |text: &&str| (1..=longest).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let expected = "a text of printable ASCII that is neither empty nor too long";
    members.get(member).and_then(Value::as_str).filter(fits).ok_or(AnswerError::MemberMalformed { member, expected })
}

/// `expires_in`, a positive number of whole seconds; `None` if there is none.
pub(super) fn expires_in(members: &Map<String, Value>) -> Result<Option<u64>, AnswerError> {
    let malformed = AnswerError::MemberMalformed { member: "expires_in", expected: "a positive number of seconds" };
    match members.get("expires_in") {
        None => Ok(None),
        Some(value) => value.as_u64().filter(|seconds| *seconds > 0).map(Some).ok_or(malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_is_labelled_as_json_once_and_is_an_object_with_one_reading() {
        let read = |types: &[&'static str], body: &str| {
            let mut headers = HeaderMap::new();
            for content_type in types {
                headers.append(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
            }
            success(&headers, body.as_bytes())
        };
        let json = "application/json";
        for good in [json, "Application/JSON", "application/json;charset=UTF-8", "application/json; x=\"y\""] {
            assert_eq!(read(&[good], "{}"), Ok(Map::new()), "{good}"); // control
        }
        for types in [
            &[][..],
            &[json, json],
            &["text/html"],
            &["application/jwt"],
            &["application/problem+json"],
            &["text/html, application/json"],
            &["application/json;charset=utf-16"],
            &["application/jsonp"],
            &[""],
        ] {
            assert_eq!(read(types, "{}"), Err(AnswerError::ContentTypeWrong), "{types:?}");
        }
        for body in
            ["", "[]", "null", "<html>", "{}{}", r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":1}"#, "{\"a\":\"\u{0}\"}"]
        {
            assert_eq!(read(&[json], body), Err(AnswerError::NotJson), "{body:?}");
        }
        for body in [r#"{"error":"server_error"}"#, r#"{"error":null}"#, r#"{"err\u006fr":""}"#] {
            assert_eq!(read(&[json], body), Err(AnswerError::ErrorInSuccess), "{body}");
        }
    }

    #[test]
    fn a_refusal_may_have_any_body_but_nothing_that_only_a_success_has() {
        let never = &["access_token", "id_token"];
        let check = |body: &[u8]| check_refusal(StatusCode::BAD_REQUEST, body, never);
        for body in [
            &b""[..],
            b"<html><p>no access_token for you</p></html>",
            br#"{"error":"invalid_grant","error_description":"the \"access_token\" is none of access_token=x"}"#,
            br#"{"error":"invalid_request","fields":[{"name":"id_token"}]}"#,
            b"\xff\xfe not text",
        ] {
            assert_eq!(check(body), Ok(()), "{}", String::from_utf8_lossy(body)); // control
        }
        for (body, member) in [
            (&br#"{"error":"invalid_grant","access_token":"t"}"#[..], "access_token"),
            (br#"{"error":"invalid_grant","access_token":null}"#, "access_token"),
            (br#"{"error":"invalid_grant","access\u005ftoken":"t"}"#, "access_token"),
            (br#"{"id_token":"t"}"#, "id_token"),
            (br#"{"data":[{"id_token":"t"}]}"#, "id_token"),
            (b"\xef\xbb\xbf {\"access_token\":\"t\"}", "access_token"),
            (br#"[{"access_token":"t"}]"#, "access_token"),
            (b"<script>var answer = {\"access_token\":\"t\"}</script>", "access_token"),
            (b"scope=a&access_token=t", "access_token"),
        ] {
            let status = StatusCode::BAD_REQUEST;
            let shown = String::from_utf8_lossy(body);
            assert_eq!(check(body), Err(AnswerError::GrantInRefusal { status, member }), "{shown}");
        }
        for body in [&br#"{"error":"a","error":"b"}"#[..], b"{", b" {\"error\":"] {
            assert_eq!(check(body), Err(AnswerError::NotJson), "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn what_others_are_told_is_one_of_four() {
        let jws = JwsError::Malformed { part: "header" };
        for (error, code, depends_on_keys) in [
            (AnswerError::Opaque, Code::AnswerUnbound, false),
            (AnswerError::RequestUriTooLongLived { found: 600, below: 600 }, Code::AnswerTooLongLived, false),
            (AnswerError::NotJson, Code::AnswerMalformed, false),
            (AnswerError::ResponseJwt(StatementError::SignatureInvalid), Code::AnswerMalformed, true),
            (AnswerError::ResponseJwt(StatementError::Malformed(jws)), Code::AnswerMalformed, false),
            (AnswerError::MetadataSigned { member: "issuer".into() }, Code::MetadataMismatch, false),
        ] {
            assert_eq!((error.code(), error.depends_on_keys()), (code, depends_on_keys), "{error}");
        }
    }
}
