//! The rules on an authorization request, whether its parameters are a form or a request object (FAPI 2.0 §5.3.2.2).

use serde_json::{Map, Value};

use super::authentication::Authenticated;
use super::error::EndpointError;
use super::parameters::Parameters;
use super::redirect_uri::{ApplicationType, RedirectUri};
use super::rules::{Rules, ServerProfile};
use crate::dpop::VerifiedProof;
use crate::jose::json::parse_array;
use crate::jose::thumbprint::{KeyThumbprint, digest};
use crate::text::{printable, shown_text};

/// Where the parameters of an authorization request are.
#[derive(Clone, Copy)]
pub enum Asked<'a> {
    /// In a form.
    Form(&'a Parameters<'a>),
    /// In a verified request object, which alone counts (RFC 9101 §5).
    Object(&'a Map<String, Value>),
}

impl<'a> Asked<'a> {
    fn text(self, name: &'static str) -> Result<Option<&'a str>, EndpointError> {
        match self {
            Self::Form(parameters) => Ok(parameters.get(name)),
            Self::Object(members) => match members.get(name) {
                None => Ok(None),
                Some(Value::String(text)) if text.is_empty() => Ok(None),
                Some(Value::String(text)) => Ok(Some(text)),
                Some(_) => {
                    Err(EndpointError::ParameterMalformed { name, found: "not a string".into(), expected: "a string" })
                }
            },
        }
    }

    /// A parameter of at most this many bytes.
    fn bounded(self, name: &'static str, limit: usize) -> Result<Option<&'a str>, EndpointError> {
        let text = self.text(name)?;
        match text.map(str::len).filter(|bytes| *bytes > limit) {
            Some(bytes) => Err(EndpointError::ParameterTooLong { name, bytes, limit }),
            None => Ok(text),
        }
    }
}

/// Judges an authorization request of this client.
///
/// | parameter | rule |
/// | --- | --- |
/// | `request_uri` | there is none (RFC 9126 §2.1) |
/// | `client_id` | that of the client |
/// | `response_type` | `code` |
/// | `response_mode` | none, `query`, or one with a JWT in the query, if that can be verified; the latter alone with message signing and under FAPI 1.0 |
/// | `code_challenge`, `code_challenge_method` | S256 of 32 bytes (RFC 7636 §4.2) |
/// | `redirect_uri` | there is one, that the client registered, and `https`, unless it is a native client's |
/// | `dpop_jkt` | the key of the proof, if there is one (RFC 9449 §10.1) |
/// | `state`, `nonce` | as long as honest ones are |
/// | `authorization_details` | an array of objects, each with a `type` (RFC 9396 §2) |
///
/// Does not judge scopes, claims and resources, which are the server's.
///
/// # Errors
/// [`EndpointError`], for the first rule that it breaks, in this order.
pub fn judge(
    asked: Asked<'_>,
    client: &Authenticated,
    proof: Option<&VerifiedProof>,
    rules: &Rules,
) -> Result<(), EndpointError> {
    if asked.text("request_uri")?.is_some() {
        return Err(EndpointError::RequestUriPushed);
    }
    if let Some(other) = asked.text("client_id")?.filter(|id| *id != client.id()) {
        let (name, found) = ("client_id", format!("{:?}", printable(other)).into());
        return Err(EndpointError::ParameterMalformed { name, found, expected: "the client that is authenticated" });
    }
    judge_response(asked, rules)?;
    judge_challenge(asked)?;
    judge_redirect_uri(asked, client)?;
    judge_key(asked, proof)?;
    let _ = asked.bounded("nonce", MAX_NONCE)?;
    let _ = asked.bounded("state", MAX_STATE)?;
    judge_details(asked)
}

fn judge_response(asked: Asked<'_>, rules: &Rules) -> Result<(), EndpointError> {
    let shown = |text: Option<&str>| text.map_or_else(|| "missing".into(), shown_text);
    let (found, mode) = (asked.text("response_type")?, asked.text("response_mode")?);
    if found != Some("code") {
        return Err(EndpointError::ResponseTypeRefused { found: shown(found), expected: "\"code\"" });
    }
    let is_jwt = matches!(mode, Some("jwt" | "query.jwt"));
    let (accepted, expected) = match rules.profile {
        ServerProfile::Fapi2Security if rules.jwt_responses => {
            (is_jwt || matches!(mode, None | Some("query")), "none, \"query\" or \"jwt\"")
        }
        ServerProfile::Fapi2Security => (matches!(mode, None | Some("query")), "none or \"query\""),
        // FAPI 1.0 Advanced §5.2.2 (2) has `code id_token` as well, whose response is in the fragment, where nobody judges it.
        ServerProfile::Fapi2MessageSigning | ServerProfile::Fapi1Advanced => (is_jwt, "\"jwt\""),
    };
    if accepted {
        return Ok(());
    }
    Err(EndpointError::ResponseModeRefused { found: shown(mode), expected })
}

/// FAPI 2.0 §5.3.2.2: servers "shall require PKCE … with S256 as the code challenge method".
fn judge_challenge(asked: Asked<'_>) -> Result<(), EndpointError> {
    let challenge = asked.text("code_challenge")?.ok_or(EndpointError::PkceMissing)?;
    match asked.text("code_challenge_method")? {
        Some("S256") => {}
        other => {
            let found = other.map_or_else(|| "missing, which means \"plain\"".into(), shown_text);
            return Err(EndpointError::PkcePlain { found });
        }
    }
    if digest(challenge).is_none() {
        let (name, found) = ("code_challenge", "not that".into());
        return Err(EndpointError::ParameterMalformed { name, found, expected: "43 characters of base64url" });
    }
    Ok(())
}

fn judge_redirect_uri(asked: Asked<'_>, client: &Authenticated) -> Result<(), EndpointError> {
    let refused = |why| Err(EndpointError::RedirectUriRefused { why });
    let Some(presented) = asked.text("redirect_uri")? else { return refused("is missing") };
    match client.client() {
        Some(client) if client.registers(presented) => Ok(()),
        Some(_) => refused("is not one that the client has registered"),
        None if RedirectUri::parse(presented, ApplicationType::Native).is_ok() => Ok(()),
        None => refused("is neither https nor a native client's"),
    }
}

fn judge_key(asked: Asked<'_>, proof: Option<&VerifiedProof>) -> Result<(), EndpointError> {
    let Some(text) = asked.text("dpop_jkt")? else { return Ok(()) };
    let Some(key) = digest(text).map(KeyThumbprint::from_bytes) else {
        let (name, found) = ("dpop_jkt", "not that".into());
        return Err(EndpointError::ParameterMalformed { name, found, expected: "43 characters of base64url" });
    };
    match proof.map(VerifiedProof::key).filter(|proven| **proven != key) {
        Some(proven) => Err(EndpointError::JktMismatch { found: printable(text), expected: *proven }),
        None => Ok(()),
    }
}

fn judge_details(asked: Asked<'_>) -> Result<(), EndpointError> {
    let name = "authorization_details";
    let refused = |found: &str| {
        let expected = "a JSON array of objects with one reading, each with a `type`";
        Err(EndpointError::ParameterMalformed { name, found: found.into(), expected })
    };
    let parsed;
    let details = match asked {
        Asked::Form(parameters) => match parameters.get(name) {
            None => return Ok(()),
            Some(text) => match parse_array(text.as_bytes()) {
                Ok(details) => {
                    parsed = details;
                    &parsed
                }
                Err(_) => return refused("not JSON with one reading"),
            },
        },
        Asked::Object(members) => match members.get(name) {
            None => return Ok(()),
            Some(Value::Array(details)) => details,
            Some(_) => return refused("not an array"),
        },
    };
    let has_type = |detail: &Value| detail.get("type").and_then(Value::as_str).is_some_and(|kind| !kind.is_empty());
    if details.is_empty() || !details.iter().all(has_type) {
        return refused("empty, or has an element without a type");
    }
    Ok(())
}

/// The longest `nonce`: FAPI 2.0 §5.3.2.2 has servers accept 64 characters.
const MAX_NONCE: usize = 1024;
/// The longest `state`: honest ones have more than 1000 characters (FAPI 2.0 §5.3.2.2, note).
const MAX_STATE: usize = 4096;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{CALLBACK, CLIENT, Client, changed, form, rules};
    use super::*;
    use crate::code::Code;

    const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    const GOOD: &[(&str, &str)] = &[
        ("client_id", CLIENT),
        ("response_type", "code"),
        ("redirect_uri", CALLBACK),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
        ("scope", "openid accounts"),
    ];

    fn judged(client: &Client, profile: ServerProfile, parameters: &[(&str, &str)]) -> Option<Code> {
        let form = form(parameters);
        let parameters = Parameters::parse(form.as_bytes()).unwrap();
        let rules = rules(profile);
        judge(Asked::Form(&parameters), &client.authenticated(), None, &rules).err().map(|error| error.code())
    }

    #[test]
    fn a_pushed_request_is_one_that_the_profile_allows() {
        let client = Client::new();
        let long_state = "s".repeat(1100);
        let (too_long_state, too_long_nonce) = ("s".repeat(MAX_STATE + 1), "n".repeat(MAX_NONCE + 1));
        let (nonce_64, details) = ("n".repeat(64), r#"[{"type":"payment","actions":["read"]}]"#);
        let code = |name, value| judged(&client, ServerProfile::Fapi2Security, &changed(GOOD, name, value));
        for (name, value) in [
            ("scope", ""),
            ("client_id", ""),
            ("response_mode", "query"),
            ("response_mode", "jwt"),
            ("response_mode", "query.jwt"),
            // FAPI2-AS-27, FAPI2-AS-26
            ("state", &long_state),
            ("nonce", &nonce_64),
            ("dpop_jkt", CHALLENGE),
            ("authorization_details", details),
        ] {
            assert_eq!(code(name, value), None, "control: {name}={value}");
        }
        for (name, value, expected) in [
            ("request_uri", "urn:ietf:params:oauth:request_uri:1", Code::RequestUriRefused),
            ("client_id", "client-2", Code::ParameterMalformed),
            // FAPI2-AS-14
            ("response_type", "", Code::ResponseTypeRefused),
            ("response_type", "token", Code::ResponseTypeRefused),
            ("response_type", "id_token", Code::ResponseTypeRefused),
            ("response_type", "code id_token", Code::ResponseTypeRefused),
            ("response_type", "CODE", Code::ResponseTypeRefused),
            ("response_mode", "fragment", Code::ResponseModeRefused),
            ("response_mode", "form_post", Code::ResponseModeRefused),
            ("response_mode", "fragment.jwt", Code::ResponseModeRefused),
            // FAPI2-AS-18
            ("code_challenge", "", Code::PkceMissing),
            ("code_challenge", "short", Code::ParameterMalformed),
            ("code_challenge_method", "", Code::PkcePlain),
            ("code_challenge_method", "plain", Code::PkcePlain),
            ("code_challenge_method", "s256", Code::PkcePlain),
            // FAPI2-AS-19, FAPI2-AS-06, FAPI2-AS-21
            ("redirect_uri", "", Code::RedirectUriRefused),
            ("redirect_uri", "https://client.example/callback/", Code::RedirectUriRefused),
            ("redirect_uri", "https://client.example/callback?x=1", Code::RedirectUriRefused),
            ("redirect_uri", "http://client.example/callback", Code::RedirectUriRefused),
            ("redirect_uri", "https://attacker.example/callback", Code::RedirectUriRefused),
            ("dpop_jkt", "short", Code::ParameterMalformed),
            ("state", &too_long_state, Code::ParameterMalformed),
            ("nonce", &too_long_nonce, Code::ParameterMalformed),
            ("authorization_details", "{}", Code::ParameterMalformed),
            ("authorization_details", "[]", Code::ParameterMalformed),
            ("authorization_details", "[{}]", Code::ParameterMalformed),
            ("authorization_details", r#"[{"type":1}]"#, Code::ParameterMalformed),
            ("authorization_details", r#"[{"type":"a","type":"b"}]"#, Code::ParameterMalformed),
            ("authorization_details", r#"[{"type":"a"}] x"#, Code::ParameterMalformed),
        ] {
            assert_eq!(code(name, value), Some(expected), "{name}={value}");
        }
    }

    #[test]
    fn ms_08_each_profile_has_its_responses() {
        let client = Client::new();
        for (profile, response_type, response_mode, expected) in [
            (ServerProfile::Fapi2MessageSigning, "code", "jwt", None),
            (ServerProfile::Fapi2MessageSigning, "code", "", Some(Code::ResponseModeRefused)),
            (ServerProfile::Fapi2MessageSigning, "code", "query", Some(Code::ResponseModeRefused)),
            (ServerProfile::Fapi1Advanced, "code", "jwt", None),
            (ServerProfile::Fapi1Advanced, "code", "", Some(Code::ResponseModeRefused)),
            (ServerProfile::Fapi1Advanced, "code id_token", "", Some(Code::ResponseTypeRefused)),
            (ServerProfile::Fapi1Advanced, "code token", "", Some(Code::ResponseTypeRefused)),
            (ServerProfile::Fapi2Security, "code id_token", "", Some(Code::ResponseTypeRefused)),
        ] {
            let parameters = changed(GOOD, "response_type", response_type);
            let found = judged(&client, profile, &changed(&parameters, "response_mode", response_mode));
            assert_eq!(found, expected, "{profile:?} {response_type} {response_mode}");
        }
    }

    #[test]
    fn a_jwt_is_asked_for_where_it_can_be_verified() {
        let client = Client::new();
        let judged = |jwt_responses, mode| {
            let form = form(&changed(GOOD, "response_mode", mode));
            let parameters = Parameters::parse(form.as_bytes()).unwrap();
            let rules = Rules { jwt_responses, ..rules(ServerProfile::Fapi2Security) };
            judge(Asked::Form(&parameters), &client.authenticated(), None, &rules).err().map(|error| error.code())
        };
        for (mode, without) in [
            ("", None),
            ("query", None),
            ("jwt", Some(Code::ResponseModeRefused)),
            ("query.jwt", Some(Code::ResponseModeRefused)),
        ] {
            assert_eq!(judged(true, mode), None, "control: {mode}");
            assert_eq!(judged(false, mode), without, "{mode}");
        }
    }

    #[test]
    fn ms_05_what_is_in_a_request_object_is_judged_by_the_same_rules() {
        let (client, rules) = (Client::new(), rules(ServerProfile::Fapi2MessageSigning));
        let good = json!({
            "client_id": CLIENT, "response_type": "code", "response_mode": "jwt", "redirect_uri": CALLBACK,
            "code_challenge": CHALLENGE, "code_challenge_method": "S256", "authorization_details": [{ "type": "a" }],
        });
        let code = |name: &str, value: Value| {
            let mut object = good.clone();
            object[name] = value;
            let members = object.as_object().unwrap();
            judge(Asked::Object(members), &client.authenticated(), None, &rules).err().map(|error| error.code())
        };
        assert_eq!(code("scope", json!("openid")), None, "control");
        for (name, value, expected) in [
            ("code_challenge_method", json!("plain"), Code::PkcePlain),
            ("code_challenge", json!(1), Code::ParameterMalformed),
            ("code_challenge", json!(""), Code::PkceMissing),
            ("redirect_uri", json!([CALLBACK]), Code::ParameterMalformed),
            ("response_type", json!("token"), Code::ResponseTypeRefused),
            ("authorization_details", json!("[]"), Code::ParameterMalformed),
            ("authorization_details", json!([{ "type": "" }]), Code::ParameterMalformed),
        ] {
            assert_eq!(code(name, value.clone()), Some(expected), "{name}={value}");
        }
    }
}
