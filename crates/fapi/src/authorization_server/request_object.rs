//! A signed authorization request (RFC 9101, FAPI 2.0 Message Signing §5.3.1): who signed it, for whom, and how long it counts.

use serde_json::{Map, Value};

use super::authentication::Authenticated;
use super::error::EndpointError;
use super::parameters::Parameters;
use super::rules::Rules;
use crate::UnixTime;
use crate::jose::claims::{CLOCK_SKEW, audiences, numeric_date};
use crate::jose::jws::{Jws, NotVerified};
use crate::jose::keys::{Algorithm, KeySet};
use crate::text::printable;

/// The longest request object that is read, in bytes.
pub const MAX_BYTES: usize = 32 * 1024;
/// How long ago `nbf` may be, and how long after it `exp`, in seconds (FAPI 2.0 Message Signing §5.3.1).
const LONGEST: u64 = 60 * 60;

/// The request object among the parameters, if there is one.
///
/// # Errors
/// [`EndpointError::RequestObjectRequired`] if there is none, and the profile or the client's registration requires one.
pub fn presented<'p>(
    parameters: &'p Parameters<'_>,
    client: &Authenticated,
    rules: &Rules,
) -> Result<Option<&'p str>, EndpointError> {
    let registered = client.client().is_some_and(|client| client.require_signed_request_object());
    match parameters.get("request") {
        None if rules.needs_request_object() || registered => Err(EndpointError::RequestObjectRequired),
        presented => Ok(presented),
    }
}

/// Verifies a request object with the client's keys, and returns its members, which alone count from then on (RFC 9101 §6.3).
///
/// Beside it there may be `client_id` and what authenticates the client (RFC 9126 §3): everything else would be read by a server
/// that does not know better.
///
/// # Errors
/// [`EndpointError::RequestObjectInvalid`], [`EndpointError::RequestObjectUnverified`], [`EndpointError::ParameterBeside`].
pub fn verify(
    request: &str,
    parameters: &Parameters<'_>,
    client: &Authenticated,
    keys: &KeySet,
    rules: &Rules,
    now: UnixTime,
) -> Result<Map<String, Value>, EndpointError> {
    let unverified = |why, key_unknown| EndpointError::RequestObjectUnverified { why, key_unknown };
    let allowed = client.client().map_or(Algorithm::ALL, |client| client.request_object_algorithms());
    let (jws, algorithm) = parsed(request, parameters, allowed)?;
    let key_id = jws.key_id().map_err(|error| invalid(error.to_string()))?.map(str::to_owned);
    let claims =
        jws.verify_with_one_of(keys.candidates(key_id.as_deref(), algorithm)).map_err(|error| match error {
            NotVerified::NoKey => unverified("is signed with a key that the client has not registered", true),
            NotVerified::WeakKey => unverified("is signed with a key below 2048 bits", false),
            NotVerified::Signature => unverified("has an invalid signature", false),
        })?;
    check_claims(&claims, client.id(), rules, now)?;
    Ok(claims)
}

/// The same without the signature, for a client that is not registered here.
///
/// # Errors
/// [`EndpointError::RequestObjectInvalid`], [`EndpointError::ParameterBeside`].
pub fn check_unverified(
    request: &str,
    parameters: &Parameters<'_>,
    client: &Authenticated,
    rules: &Rules,
    now: UnixTime,
) -> Result<Map<String, Value>, EndpointError> {
    let (jws, _) = parsed(request, parameters, Algorithm::ALL)?;
    let claims = jws.into_unverified_payload();
    check_claims(&claims, client.id(), rules, now)?;
    Ok(claims)
}

/// The request object, if nothing else is beside it, and it has one of these algorithms and the type of one.
fn parsed<'r>(
    request: &'r str,
    parameters: &Parameters<'_>,
    allowed: &[Algorithm],
) -> Result<(Jws<'r>, Algorithm), EndpointError> {
    refuse_others(parameters)?;
    let jws = Jws::parse(request, MAX_BYTES).map_err(|error| invalid(format!("is not a signed JWT: {error}")))?;
    let algorithm = jws.algorithm(allowed);
    let algorithm = algorithm.ok_or_else(|| invalid(format!("has the alg {:?}", printable(jws.algorithm_name()))))?;
    check_type(&jws)?;
    Ok((jws, algorithm))
}

fn invalid(why: impl Into<Box<str>>) -> EndpointError {
    EndpointError::RequestObjectInvalid { why: why.into() }
}

fn refuse_others(parameters: &Parameters<'_>) -> Result<(), EndpointError> {
    const BESIDE: [&str; 4] = ["client_id", "client_assertion", "client_assertion_type", "request"];
    match parameters.iter().find(|(name, _)| !BESIDE.contains(name)) {
        Some((name, _)) => Err(EndpointError::ParameterBeside { name: printable(name) }),
        None => Ok(()),
    }
}

/// RFC 9101 §10.8: `oauth-authz-req+jwt`, or none; another kind of JWT is no request.
fn check_type(jws: &Jws<'_>) -> Result<(), EndpointError> {
    if jws.may_be_of_type(&["oauth-authz-req+jwt", "JWT"]) {
        return Ok(());
    }
    Err(invalid(format!("has the typ {:?}", printable(jws.type_name()))))
}

fn check_claims(claims: &Map<String, Value>, client: &str, rules: &Rules, now: UnixTime) -> Result<(), EndpointError> {
    let invalid = |why: &str| Err(invalid(why));
    // RFC 9101 §4: "request and request_uri parameters MUST NOT be included in Request Objects."
    if claims.contains_key("request") || claims.contains_key("request_uri") {
        return invalid("has another request in it");
    }
    if claims.get("client_id").and_then(Value::as_str) != Some(client) {
        return invalid("is for another client_id, or for none");
    }
    // RFC 9101 §4: `iss`, if present, is the client.
    if claims.get("iss").is_some_and(|issuer| issuer.as_str() != Some(client)) {
        return invalid("is issued by another client");
    }
    match audiences(claims) {
        Ok(Some(all)) if all.contains(&&*rules.issuer) => {}
        Ok(_) | Err(_) => return invalid("is not for this issuer"),
    }
    let time = |claim: &str, round| numeric_date(claims, claim, round).unwrap_or(None);
    let (Some(not_before), Some(expires)) = (time("nbf", f64::ceil), time("exp", f64::floor)) else {
        return invalid("has no nbf, or no exp, or one that is no number of seconds");
    };
    if not_before > now.plus(CLOCK_SKEW) {
        return invalid("is not valid yet");
    }
    if now.since(not_before) > LONGEST {
        return invalid("has an nbf more than 60 minutes ago");
    }
    if expires.since(not_before) > LONGEST {
        return invalid("expires more than 60 minutes after its nbf");
    }
    if expires.plus(CLOCK_SKEW) <= now {
        return invalid("has expired");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::rules::ServerProfile;
    use super::super::testing::{CLIENT, Client, ISSUER, NOW, form, rules};
    use super::*;
    use crate::code::Code;
    use crate::testing::{SigningKey, unsigned, with_members};

    fn good() -> Value {
        json!({
            "iss": CLIENT, "client_id": CLIENT, "aud": ISSUER, "nbf": NOW.0 - 10, "exp": NOW.0 + 300,
            "response_type": "code",
        })
    }

    fn header(key: &SigningKey) -> Value {
        json!({ "typ": "oauth-authz-req+jwt", "alg": key.algorithm(), "kid": "c" })
    }

    fn judged(client: &Client, object: &str, beside: &[(&str, &str)]) -> Result<Map<String, Value>, EndpointError> {
        let text = form(&[&[("request", object)][..], beside].concat());
        let parameters = Parameters::parse(text.as_bytes()).unwrap();
        let (authenticated, rules) = (client.authenticated(), rules(ServerProfile::Fapi2MessageSigning));
        let presented = presented(&parameters, &authenticated, &rules).unwrap().unwrap();
        verify(presented, &parameters, &authenticated, &client.keys(), &rules, NOW)
    }

    fn why(judged: Result<Map<String, Value>, EndpointError>) -> String {
        match judged {
            Err(EndpointError::RequestObjectInvalid { why }) => why.into(),
            Err(EndpointError::RequestObjectUnverified { why, .. }) => why.into(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn ms_01_a_profile_or_a_registration_can_need_one() {
        let needed = |client: &Client, profile| {
            let parameters = Parameters::parse(b"client_id=client-1").unwrap();
            let rules = rules(profile);
            presented(&parameters, &client.authenticated(), &rules).err().map(|error| error.code())
        };
        let required = Some(Code::RequestObjectRequired);
        let (usual, signing) = (Client::new(), Client::with(json!({ "require_signed_request_object": true })));
        assert_eq!(needed(&usual, ServerProfile::Fapi2Security), None, "control");
        assert_eq!(needed(&usual, ServerProfile::Fapi2MessageSigning), required);
        assert_eq!(needed(&usual, ServerProfile::Fapi1Advanced), required);
        assert_eq!(needed(&signing, ServerProfile::Fapi2Security), required);
    }

    #[test]
    fn ms_03_a_request_object_is_for_this_server_and_for_now() {
        let client = Client::new();
        let with = |name: &str, value: Value| {
            let claims = with_members(good(), &json!({ name: value }));
            judged(&client, &client.key.sign(&header(&client.key), &claims), &[("client_id", CLIENT)])
        };
        for (name, value) in [
            ("iss", Value::Null),
            // MS-02
            ("aud", json!([ISSUER, "https://other.example"])),
            ("nbf", json!(NOW.0 - 3300)),
            ("nbf", json!(NOW.0 + 10)),
            ("exp", json!(NOW.0 - 10 + 3600)),
            ("exp", json!(NOW.0 - 9)),
        ] {
            assert!(with(name, value.clone()).is_ok(), "control: {name} {value}");
        }
        for (name, value, expected) in [
            ("aud", Value::Null, "is not for this issuer"),
            ("aud", json!("https://other.example"), "is not for this issuer"),
            ("aud", json!([1, ISSUER]), "is not for this issuer"),
            ("client_id", Value::Null, "another client_id"),
            ("client_id", json!("client-2"), "another client_id"),
            ("iss", json!("client-2"), "another client"),
            ("iss", json!(1), "another client"),
            ("nbf", Value::Null, "no nbf"),
            ("exp", Value::Null, "no nbf, or no exp"),
            ("nbf", json!("1"), "no number"),
            ("nbf", json!(NOW.0 + 11), "not valid yet"),
            ("nbf", json!(NOW.0 - 3601), "60 minutes ago"),
            ("exp", json!(NOW.0 - 10 + 3601), "60 minutes after"),
            ("exp", json!(NOW.0 - 10), "has expired"),
            ("request", json!("x"), "another request in it"),
            ("request_uri", json!("urn:x"), "another request in it"),
        ] {
            let found = why(with(name, value.clone()));
            assert!(found.contains(expected), "{name} {value}: {found}");
        }
    }

    #[test]
    fn ms_06_a_request_object_is_signed_by_the_client() {
        let client = Client::new();
        let sign = |header: &Value| client.key.sign(header, &good());
        let with_header = |name: &str, value: Value| {
            let mut header = header(&client.key);
            header[name] = value;
            judged(&client, &sign(&header), &[])
        };
        // MS-04
        for typ in ["oauth-authz-req+jwt", "application/oauth-authz-req+jwt", "JWT"] {
            assert!(with_header("typ", json!(typ)).is_ok(), "control: {typ}");
        }
        let without_typ = json!({ "alg": client.key.algorithm(), "kid": "c" });
        assert!(judged(&client, &sign(&without_typ), &[]).is_ok(), "control");
        for typ in ["at+jwt", "dpop+jwt", ""] {
            assert!(why(with_header("typ", json!(typ))).contains("has the typ"), "{typ}");
        }
        let stranger = Client::new();
        let foreign = stranger.key.sign(&header(&stranger.key), &good());
        let depends = |error: EndpointError| (error.depends_on_keys(), error.lacks_key());
        assert_eq!(judged(&client, &foreign, &[]).map_err(depends), Err((true, false)));
        assert_eq!(with_header("kid", json!("other")).map_err(depends), Err((true, true)));
        assert_eq!(with_header("typ", json!("at+jwt")).map_err(depends), Err((false, false)));
        assert!(why(judged(&client, &foreign, &[])).contains("invalid signature"));
        assert!(why(with_header("kid", json!("other"))).contains("has not registered"));
        assert!(why(with_header("kid", json!(1))).contains("malformed"));
        assert!(why(judged(&client, &unsigned(&json!({ "alg": "none" }), &good()), &[])).contains("alg \"none\""));
        assert!(why(with_header("alg", json!("PS256"))).contains("has not registered"));
        assert!(why(judged(&client, "x", &[])).contains("not a signed JWT"));
        let only_ps256 = Client::with(json!({ "request_object_signing_alg": "PS256" }));
        let es256 = only_ps256.key.sign(&header(&only_ps256.key), &good());
        assert!(why(judged(&only_ps256, &es256, &[])).contains("alg \"ES256\""));
    }

    #[test]
    fn ms_05_nothing_but_the_client_is_beside_it() {
        let client = Client::new();
        let object = client.key.sign(&header(&client.key), &good());
        assert!(judged(&client, &object, &[("client_id", CLIENT)]).is_ok(), "control");
        for name in ["scope", "redirect_uri", "state", "response_type", "x"] {
            let refused = judged(&client, &object, &[("client_id", CLIENT), (name, "1")]);
            assert_eq!(refused, Err(EndpointError::ParameterBeside { name: name.into() }));
        }
    }
}
