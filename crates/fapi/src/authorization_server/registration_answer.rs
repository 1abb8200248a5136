//! The answer to a registration (RFC 7591 §3.2): the client as the server has registered it, which is no weaker than it asked to be.

use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};

use super::answer::{AnswerError, check_refusal, success, text};
use super::client::{Authentication, ClientKeys};
use super::redirect_uri::RedirectUri;
use super::registration::Registration;
use crate::text::{shown_text, shown_value};

/// The longest `client_id`, in bytes.
const MAX_ID: usize = 256;

/// Judges an answer of the registration endpoint.
///
/// RFC 7591 §3.2.1 has the status 201; 200 passes too, which some servers send. The server "MUST return all registered metadata about
/// this client", and may have replaced some of it: the method of authentication has to be one of FAPI, redirect URIs, grant types and
/// response types have to be among those that were asked for, and a switch that was on must not be off. A member that is missing says
/// nothing, but for the method, which would be `client_secret_basic`.
///
/// Does not judge where `registration_client_uri` is (RFC 7592 §3), and lets its access token pass.
///
/// # Errors
/// [`AnswerError`], for the first check that fails.
pub fn judge(status: StatusCode, headers: &HeaderMap, body: &[u8], asked: &Registration) -> Result<(), AnswerError> {
    if status.is_client_error() || status.is_server_error() {
        return check_refusal(status, body, &["client_secret", "registration_access_token"]);
    }
    if !matches!(status, StatusCode::CREATED | StatusCode::OK) {
        return Err(AnswerError::StatusWrong { found: status, expected: "201, or that of an error" });
    }
    let members = success(headers, body)?;
    let _ = text(&members, "client_id", MAX_ID)?;
    if members.get("client_secret").is_some_and(|secret| !secret.is_null()) {
        return Err(weaker("client_secret", "there".into()));
    }
    const METHOD: &str = "token_endpoint_auth_method";
    let method = members.get(METHOD);
    if !method.and_then(Value::as_str).is_some_and(|method| Authentication::NAMES.contains(&method)) {
        return Err(weaker(METHOD, shown_value(method)));
    }
    let metadata = asked.metadata();
    let uris: Vec<&str> = metadata.redirect_uris().iter().map(RedirectUri::as_str).collect();
    check_list(&members, "redirect_uris", |found| uris.contains(&found))?;
    check_list(&members, "grant_types", |found| metadata.grants().iter().any(|grant| **grant == *found))?;
    check_list(&members, "response_types", |found| asked.response_types().iter().any(|kind| **kind == *found))?;
    for member in metadata.switches() {
        match members.get(member) {
            None | Some(Value::Null | Value::Bool(true)) => {}
            other => return Err(weaker(member, shown_value(other))),
        }
    }
    match (metadata.keys(), members.get("jwks_uri")) {
        (_, None | Some(Value::Null)) => Ok(()),
        (ClientKeys::At(place), Some(found)) if found.as_str() == Some(place) => Ok(()),
        (_, found) => Err(weaker("jwks_uri", shown_value(found))),
    }
}

/// Checks that a list has nothing that was not asked for.
fn check_list(
    members: &Map<String, Value>,
    member: &'static str,
    was_asked: impl Fn(&str) -> bool,
) -> Result<(), AnswerError> {
    let entries = match members.get(member) {
        None | Some(Value::Null) => return Ok(()),
        Some(value) => value.as_array().ok_or(AnswerError::MemberMalformed { member, expected: "a list of texts" })?,
    };
    for entry in entries {
        let found = entry.as_str().ok_or(AnswerError::MemberMalformed { member, expected: "a list of texts" })?;
        if !was_asked(found) {
            return Err(weaker(member, shown_text(found)));
        }
    }
    Ok(())
}

const fn weaker(member: &'static str, found: Box<str>) -> AnswerError {
    AnswerError::RegisteredOtherwise { member, found }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header};
    use serde_json::json;

    use super::*;
    use crate::authorization_server::ServerProfile;
    use crate::authorization_server::registration::{RegistrationForm, RegistrationRequest, RegistrationRules};
    use crate::authorization_server::testing::{CALLBACK, NOBODY, NOW, rules};
    use crate::code::Code;

    fn asked() -> Value {
        json!({
            "token_endpoint_auth_method": "private_key_jwt", "jwks_uri": "https://client.example/jwks",
            "redirect_uris": [CALLBACK, "https://client.example/other"], "response_types": ["code"],
            "grant_types": ["authorization_code", "refresh_token"], "dpop_bound_access_tokens": true,
        })
    }

    /// Judges the answer that registers the client as it asked, with these members beside or instead.
    fn judged(status: u16, members: &Value) -> Result<(), AnswerError> {
        let body = asked().to_string();
        let (form, body) = (RegistrationForm::Json, body.as_bytes());
        let request = RegistrationRequest { form, body, certificate: NOBODY, now: NOW };
        let registration = RegistrationRules { sender_constrained: true, statements: None };
        let asked_for = Registration::judge(&request, &rules(ServerProfile::Fapi2Security), &registration).unwrap();
        let mut answer = asked();
        answer["client_id"] = "client-1".into();
        for (name, value) in members.as_object().unwrap() {
            answer[name] = value.clone();
        }
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
        judge(StatusCode::from_u16(status).unwrap(), &headers, answer.to_string().as_bytes(), &asked_for)
    }

    #[test]
    fn a_client_is_registered_as_it_asked_or_as_less() {
        for members in [
            json!({}),
            json!({ "registration_access_token": "t", "registration_client_uri": "https://as.example/register/1" }),
            json!({ "client_id_issued_at": 1, "client_secret": null, "scope": "accounts" }),
            json!({ "redirect_uris": [CALLBACK], "grant_types": ["authorization_code"] }),
            json!({ "redirect_uris": null, "dpop_bound_access_tokens": null, "jwks_uri": null }),
            json!({ "token_endpoint_auth_method": "tls_client_auth" }),
        ] {
            for status in [200, 201] {
                assert_eq!(judged(status, &members), Ok(()), "control: {members}");
            }
        }
        for (member, value) in [
            ("token_endpoint_auth_method", json!("client_secret_basic")),
            ("token_endpoint_auth_method", json!("none")),
            // RFC 7591 §2: the default is `client_secret_basic`.
            ("token_endpoint_auth_method", json!(null)),
            ("client_secret", json!("s")),
            ("redirect_uris", json!([CALLBACK, "https://attacker.example/callback"])),
            ("grant_types", json!(["authorization_code", "client_credentials"])),
            ("response_types", json!(["code", "token"])),
            ("dpop_bound_access_tokens", json!(false)),
            ("jwks_uri", json!("https://attacker.example/jwks")),
        ] {
            let refused = judged(201, &json!({ member: value })).unwrap_err();
            let AnswerError::RegisteredOtherwise { member: found, .. } = &refused else { panic!("{refused}") };
            assert_eq!((*found, refused.code()), (member, Code::AnswerMalformed), "{value}");
            assert!(!refused.to_string().contains("\"s\""), "a secret is shown");
        }
        for (member, value) in [
            ("client_id", json!(null)),
            ("client_id", json!("")),
            ("redirect_uris", json!(CALLBACK)),
            ("grant_types", json!([1])),
        ] {
            let refused = judged(201, &json!({ member: value }));
            assert!(
                matches!(refused, Err(AnswerError::MemberMalformed { member: found, .. }) if found == member),
                "{member} {value}: {refused:?}"
            );
        }
    }

    #[test]
    fn an_answer_is_a_success_or_a_refusal() {
        let error = json!({ "error": "invalid_client_metadata" });
        assert_eq!(judged(400, &error), Ok(()), "control");
        assert_eq!(judged(201, &error), Err(AnswerError::ErrorInSuccess));
        for member in ["client_secret", "registration_access_token"] {
            let refused = judged(400, &json!({ "error": "invalid_client_metadata", member: "t" }));
            let status = StatusCode::BAD_REQUEST;
            assert_eq!(refused, Err(AnswerError::GrantInRefusal { status, member }));
        }
        for status in [202, 204, 302] {
            assert!(matches!(judged(status, &json!({})), Err(AnswerError::StatusWrong { .. })), "{status}");
        }
    }
}
