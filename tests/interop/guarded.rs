//! An authorization server that knows nothing of FAPI, behind the gateway: independent clients get through, with each way of
//! authentication and of binding that FAPI has, and what the server itself would allow is refused.
//!
//! Needs node and npm, python3 with venv, Chromium, and either the network or the caches of npm and pip for the packages; without
//! them the tests fail.

mod browser;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fapi_gateway::clock::Clock;
use http::{Request, Response};
use reqwest::redirect::Policy;
use sandbox::pki::{Authority, Credential, self_signed};
use sandbox::tokens::{KeyKind, Proof, SigningKey};
use serde_json::{Value, json};
use uuid::Uuid;

use super::form::{FORM, Form, get, text};
use crate::support::client::{self, Client};
use crate::support::node::{Script, installed};
use crate::support::{DEADLINE, Folder, Running, Scene, free_ports, python, remember};

/// The resource for which access tokens are JWTs.
const RESOURCE: &str = "https://api.bank.example";
const CALLBACK: &str = "https://client.example/callback";
/// RFC 7636 appendix B.
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
/// The clients that sign assertions, and a resource server that does.
const SIGNERS: [&str; 5] = ["dpop-client", "other-client", "free-client", "bound-client", "api"];
const SECRET: &str = "a-secret-of-a-client-that-has-none-here";

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_other_makers_log_in_and_refresh_through_the_gateway() {
    let stage = Stage::set(Differences::default()).await;
    let mut script = stage.client();
    for library in ["openid-client", "oauth4webapi"] {
        for (name, resource, bound) in [
            ("dpop-client", false, "jkt"),
            ("dpop-client", true, "jkt"),
            ("mtls-client", true, "x5t#S256"),
            ("self-signed-client", true, "x5t#S256"),
            ("bound-client", true, "x5t#S256"),
        ] {
            let what = format!("{library} {name} {resource}");
            let answer = script.ask(&json!({ "do": library, "client": name, "resource": resource }));
            assert_eq!(answer["iss"], json!(stage.origin), "{what}: {answer}");
            let token_type = if bound == "jkt" { "dpop" } else { "bearer" };
            let mut expected = match resource {
                true => json!({ "token_type": token_type, "format": "jwt", "cnf": [bound] }),
                false => json!({ "token_type": token_type, "format": "opaque" }),
            };
            assert_eq!(answer["first"], expected, "{what}: {answer}");
            expected["same"] = json!(true);
            assert_eq!(answer["refreshed"], expected, "{what}: {answer}");
            if library == "openid-client" {
                assert_eq!(script.ask(&json!({ "do": "revoke", "client": name })), json!({ "do": "revoke" }), "{what}");
            }
        }
    }
    assert!(script.end().is_empty());
    assert!(stage.provider.end().is_empty());
}

/// RFC 9449 §8: the server has nonces of its own, which reach the client and come back.
#[tokio::test(flavor = "multi_thread")]
async fn fapi2_as_09_fapi2_as_47_nonces_are_between_the_server_and_its_clients() {
    let stage = Stage::set(Differences { asks_for_nonces: true, ..Differences::default() }).await;
    let mut script = stage.client();
    let answer = script.ask(&json!({ "do": "openid-client", "client": "dpop-client", "resource": true }));
    let token = json!({ "token_type": "dpop", "format": "jwt", "cnf": ["jkt"] });
    assert_eq!(answer["first"], token, "{answer}");
    let refused = stage.gateway.record_where(|record| record["upstream_status"] == 400);
    assert_eq!((&refused["code"], &refused["status"]), (&json!("ok"), &json!(400)), "the first proof has no nonce");
    assert!(script.end().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_in_python_log_in_and_refresh_through_the_gateway() {
    let stage = Stage::set(Differences { asks_for_nonces: true, ..Differences::default() }).await;
    let source = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/guarded"));
    let interpreter = python::installed(&stage.folder, &source.join("requirements.txt"));
    let configuration = json!({
        "issuer": stage.origin,
        "resource": RESOURCE,
        "keys": { "dpop-client": "dpop-client-key.pem", "bound-client": "bound-client-key.pem" },
        "certificate": "issued.pem",
        "certificate_key": "issued-key.pem",
    });
    // As far as clocks may differ, theirs are ahead.
    stage.ahead.fetch_sub(5, Ordering::SeqCst);
    let mut command = Command::new(interpreter);
    command.arg(source.join("client.py")).arg(configuration.to_string()).current_dir(stage.folder.path());
    let output = command.env("REQUESTS_CA_BUNDLE", "ca.pem").output().expect("Python runs");
    let (lines, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{lines}{errors}{}", stage.gateway.audit_text());
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    for (line, (library, token_type, bound)) in
        lines.iter().zip([("requests_oauth2client", "dpop", "jkt"), ("authlib", "bearer", "x5t#S256")])
    {
        let token = json!({ "token_type": token_type, "format": "jwt", "cnf": [bound] });
        assert_eq!(*line, json!({ "library": library, "iss": stage.origin, "first": token, "refreshed": token }));
    }
    assert_eq!(lines.len(), 2);
    let of_client = |record: &Value| record["client_id"] == "dpop-client" && record["route"] == "bank:token";
    assert_eq!(stage.gateway.record_where(of_client)["code"], "ok");
}

/// FAPI2-AS-01, FAPI2-AS-33, FAPI2-AS-45: clients are told what they can use, and where.
#[tokio::test(flavor = "multi_thread")]
async fn fapi2_as_01_metadata_say_what_is_possible_through_the_gateway() {
    let stage = Stage::set(Differences::default()).await;
    let mut script = stage.client();
    let answer = script.ask(&json!({ "do": "metadata" }));
    let (origin, mtls) = (&stage.origin, &stage.mtls);
    let own = stage.directly("/.well-known/openid-configuration", None, None).await;
    let own: Value = serde_json::from_slice(&own.bytes().await.expect("a body")).expect("JSON");
    let documents = answer["documents"].as_array().unwrap_or_else(|| panic!("{answer}"));
    assert_eq!(documents.len(), 2);
    for document in documents {
        assert_eq!(document["issuer"], json!(origin));
        assert_eq!(own["issuer"], json!(origin), "control");
        for (member, path) in [
            ("authorization_endpoint", "/auth"),
            ("pushed_authorization_request_endpoint", "/request"),
            ("token_endpoint", "/token"),
            ("introspection_endpoint", "/token/introspection"),
            ("revocation_endpoint", "/token/revocation"),
            ("jwks_uri", "/jwks"),
        ] {
            assert_eq!(document[member], json!(format!("{origin}{path}")), "{member}");
            let alias = &document["mtls_endpoint_aliases"][member];
            match path {
                "/auth" | "/jwks" => assert!(alias.is_null(), "{member}"),
                _ => assert_eq!(*alias, json!(format!("{mtls}{path}")), "{member}"),
            }
        }
        for (member, allowed) in [
            ("response_types_supported", json!(["code"])),
            ("response_modes_supported", json!(["query"])),
            ("grant_types_supported", json!(["authorization_code", "refresh_token", "client_credentials"])),
            ("code_challenge_methods_supported", json!(["S256"])),
            (
                "token_endpoint_auth_methods_supported",
                json!(["private_key_jwt", "self_signed_tls_client_auth", "tls_client_auth"]),
            ),
            ("require_pushed_authorization_requests", json!(true)),
            ("authorization_response_iss_parameter_supported", json!(true)),
            ("tls_client_certificate_bound_access_tokens", json!(true)),
            ("request_uri_parameter_supported", json!(false)),
        ] {
            assert_eq!(sorted(&document[member]), sorted(&allowed), "{member}");
        }
        for member in ["response_types_supported", "token_endpoint_auth_methods_supported", "grant_types_supported"] {
            assert_ne!(sorted(&own[member]), sorted(&document[member]), "control: {member}");
        }
        assert!(own["userinfo_endpoint"].is_string(), "control");
        assert!(document["userinfo_endpoint"].is_null());
    }
    // FAPI2-AS-33: an alias is the same endpoint, whatever a client authenticates with.
    let port = mtls.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let alias = Client::new(SocketAddr::from(([127, 0, 0, 1], port)), &stage.authority).origin(mtls).h2();
    let request = stage.request_of("free-client").post(&format!("{mtls}/request"));
    let (status, code, response) = stage.judge(&alias, request).await;
    assert_eq!((status, &*code), (201, "ok"), "{}", text(&response));
    // What is not an endpoint is refused, although the server has it.
    let client = stage.browser();
    let (status, code, _) = stage.judge(&client, get(&stage.url("/jwks"))).await;
    assert_eq!((status, &*code), (200, "ok"), "control");
    assert_eq!(stage.directly("/me", None, None).await.status(), 401, "control: the server has it");
    let (status, code, _) = stage.judge(&client, get(&stage.url("/me"))).await;
    assert_eq!((status, &*code), (404, "route_not_found"));
    assert!(script.end().is_empty());
}

/// FAPI2-AS-05, FAPI2-AS-07, FAPI2-AS-14, FAPI2-AS-17, FAPI2-AS-18, FAPI2-AS-19, FAPI2-AS-28, FAPI2-AS-31, FAPI2-AS-38.
#[tokio::test(flavor = "multi_thread")]
async fn fapi2_as_15_a_request_that_breaks_a_rule_is_not_pushed() {
    let stage = Stage::set(Differences::default()).await;
    let client = stage.browser();
    let good = || stage.request_of("free-client");
    let audience = |path: &str| json!(format!("{}{path}", stage.origin));
    let secret = |form: Form| form.without("client_assertion").without("client_assertion_type");
    // Whether the server itself would take it.
    let (allowed, refused) = (true, false);
    for (what, form, basic, status, code, alone) in [
        ("control", good(), None, 201, "ok", allowed),
        ("plain", good().with("code_challenge_method", "plain"), None, 400, "pkce_plain", refused),
        ("no method", good().without("code_challenge_method"), None, 400, "pkce_plain", refused),
        (
            "no PKCE",
            good().without("code_challenge").without("code_challenge_method"),
            None,
            400,
            "pkce_missing",
            allowed,
        ),
        ("token", good().with("response_type", "token"), None, 400, "response_type_refused", refused),
        ("id_token", good().with("response_type", "id_token"), None, 400, "response_type_refused", allowed),
        ("hybrid", good().with("response_type", "code id_token"), None, 400, "response_type_refused", allowed),
        ("fragment", good().with("response_mode", "fragment"), None, 400, "response_mode_refused", allowed),
        (
            "elsewhere",
            good().with("redirect_uri", "https://evil.example/callback"),
            None,
            400,
            "redirect_uri_refused",
            allowed,
        ),
        ("nowhere", good().without("redirect_uri"), None, 400, "redirect_uri_refused", allowed),
        (
            "request_uri",
            good().with("request_uri", "urn:ietf:params:oauth:request_uri:1"),
            None,
            400,
            "request_uri_refused",
            refused,
        ),
        ("twice", good().and("scope", "openid"), None, 400, "parameter_repeated", refused),
        (
            "token endpoint",
            good().signed(&stage, "free-client", |claims| claims["aud"] = audience("/token")),
            None,
            401,
            "client_assertion_audience",
            allowed,
        ),
        (
            "expired",
            good().signed(&stage, "free-client", |claims| claims["exp"] = json!(client::now() - 60)),
            None,
            401,
            "client_assertion_stale",
            refused,
        ),
        ("nobody", secret(good()), None, 401, "par_unauthenticated", refused),
        ("public", secret(good()).with("client_id", "public-client"), None, 401, "client_unknown", allowed),
        (
            "client_secret_post",
            secret(good()).with("client_id", "post-client").with("client_secret", SECRET),
            None,
            401,
            "client_authentication_refused",
            allowed,
        ),
        (
            "client_secret_basic",
            secret(good()).with("client_id", "basic-client"),
            Some("basic-client"),
            401,
            "client_authentication_refused",
            allowed,
        ),
    ] {
        let mut request = form.post(&stage.url("/request"));
        if let Some(client) = basic {
            request.headers_mut().insert("authorization", basic_field(client).parse().expect("a field"));
        }
        let (found_status, found, response) = stage.judge(&client, request).await;
        assert_eq!((found_status, &*found), (status, code), "{what}: {}", text(&response));
        assert_eq!(text(&response).contains("urn:ietf"), code == "ok", "{what}");
        // An assertion is for one use.
        let form = if what == "control" { form.signed(&stage, "free-client", |_| {}) } else { form };
        let answer = stage.directly("/request", Some(&form), basic).await;
        assert_eq!(answer.status() == 201, alone, "{what}, alone: {}", answer.text().await.expect("text"));
    }
    let form = good();
    for (status, code) in [(201, "ok"), (401, "client_assertion_replayed")] {
        let (found_status, found, response) = stage.judge(&client, form.post(&stage.url("/request"))).await;
        assert_eq!((found_status, &*found), (status, code), "{}", text(&response));
    }
}

/// FAPI2-AS-02, FAPI2-AS-04, FAPI2-AS-39, FAPI2-AS-42.
#[tokio::test(flavor = "multi_thread")]
async fn fapi2_as_04_no_token_is_asked_for_that_is_bound_to_nobody() {
    let stage = Stage::set(Differences::default()).await;
    let client = stage.browser();
    let holder = SigningKey::generate(KeyKind::Es256, "proof");
    let good = || stage.authenticated("free-client", Form::default().with("grant_type", "client_credentials"));
    let audience = |path: &str| json!(format!("{}{path}", stage.origin));
    let proof = |path: &str| Proof::new("POST", &stage.url(path), client::now()).sign(&holder);
    for (what, form, proof, status, code, error, alone) in [
        ("control", good(), Some(proof("/token")), 200, "ok", "", 200),
        ("nothing", good(), None, 400, "sender_constraint_missing", "invalid_request", 200),
        ("elsewhere", good(), Some(proof("/request")), 400, "dpop_uri_mismatch", "invalid_dpop_proof", 400),
        (
            "token endpoint",
            good().signed(&stage, "free-client", |claims| claims["aud"] = audience("/token")),
            Some(proof("/token")),
            401,
            "client_assertion_audience",
            "invalid_client",
            200,
        ),
        (
            "password",
            good().with("grant_type", "password").with("username", "alice").with("password", "alice"),
            Some(proof("/token")),
            400,
            "grant_type_refused",
            "unsupported_grant_type",
            400,
        ),
        (
            "implicit",
            good().with("grant_type", "implicit"),
            Some(proof("/token")),
            400,
            "grant_type_refused",
            "unsupported_grant_type",
            400,
        ),
        (
            "unbound",
            stage.authenticated("dpop-client", Form::default().with("grant_type", "client_credentials")),
            None,
            400,
            "dpop_missing",
            "invalid_dpop_proof",
            400,
        ),
        (
            "no verifier",
            good().with("grant_type", "authorization_code").with("code", "a-code").with("redirect_uri", CALLBACK),
            Some(proof("/token")),
            400,
            "pkce_missing",
            "invalid_request",
            400,
        ),
    ] {
        let mut request = form.post(&stage.url("/token"));
        if let Some(proof) = &proof {
            request.headers_mut().insert("dpop", proof.parse().expect("a field"));
        }
        let (found_status, found, response) = stage.judge(&client, request).await;
        assert_eq!((found_status, &*found), (status, code), "{what}: {}", text(&response));
        let body: Value = serde_json::from_slice(response.body()).expect("JSON");
        assert_eq!(body["error"].as_str().unwrap_or_default(), error, "{what}: {body}");
        assert_eq!(body["access_token"].is_string(), code == "ok", "{what}");
        if what != "control" {
            let answer = stage.asked_with(&form, proof.as_deref()).await;
            assert_eq!(answer.status().as_u16(), alone, "{what}, alone: {}", answer.text().await.expect("text"));
        }
    }
    // FAPI2-AS-43: a certificate that is only said to have been presented, which the server would believe.
    let field = format!(":{}:", STANDARD.encode(&stage.certificate.chain_der[0]));
    for (name, code) in [("free-client", "sender_constraint_missing"), ("mtls-client", "client_authentication_refused")]
    {
        let form = Form::default().with("client_id", name).with("grant_type", "client_credentials");
        let form = form.with("resource", RESOURCE).with("scope", "accounts");
        let form = || if name == "mtls-client" { form.clone() } else { stage.authenticated(name, form.clone()) };
        let mut request = form().post(&stage.url("/token"));
        request.headers_mut().insert("client-cert", field.parse().expect("a field"));
        let (_, found, response) = stage.judge(&client, request).await;
        assert_eq!(&*found, code, "{name}: {}", text(&response));
        let request = stage.to_provider(reqwest::Method::POST, "/token").header("content-type", FORM);
        let request = request.header("client-cert", &field).body(form().encoded());
        assert_eq!(request.send().await.expect("the server answers").status(), 200, "{name}, alone");
        let presented = client.clone().certificate(&stage.certificate);
        let (status, found, response) = stage.judge(&presented, form().post(&stage.url("/token"))).await;
        let (expected, code) = if name == "mtls-client" { (200, "ok") } else { (502, "answer_unbound") };
        assert_eq!((status, &*found), (expected, code), "{name}, presented: {}", text(&response));
    }
    // A proof is for one use too.
    let used = proof("/token");
    let mut token = String::new();
    for (status, code) in [(200, "ok"), (400, "dpop_replayed")] {
        let mut request = good().post(&stage.url("/token"));
        request.headers_mut().insert("dpop", used.parse().expect("a field"));
        let (found_status, found, response) = stage.judge(&client, request).await;
        assert_eq!((found_status, &*found), (status, code), "{}", text(&response));
        let body: Value = serde_json::from_slice(response.body()).expect("JSON");
        if let Some(granted) = body["access_token"].as_str() {
            token = remember(granted.to_owned());
        }
    }
    // RFC 7662 §4: resource servers ask about tokens, and clients do not.
    for (asker, status, code) in [("api", 200, "ok"), ("free-client", 401, "client_unknown")] {
        let form = stage.authenticated(asker, Form::default().with("token", &token));
        let (found_status, found, response) = stage.judge(&client, form.post(&stage.url("/token/introspection"))).await;
        assert_eq!((found_status, &*found), (status, code), "{asker}: {}", text(&response));
        let body: Value = serde_json::from_slice(response.body()).expect("JSON");
        assert_eq!(body["cnf"]["jkt"].as_str(), (status == 200).then(|| holder.thumbprint()).as_deref(), "{asker}");
    }
}

/// FAPI2-AS-16, FAPI2-AS-24, FAPI2-AS-29, FAPI2-AS-30.
#[tokio::test(flavor = "multi_thread")]
async fn fapi2_as_16_a_browser_brings_only_what_was_pushed() {
    let stage = Stage::set(Differences::default()).await;
    let browser = stage.browser();
    let request_uri = stage.pushed("free-client").await;
    let reference = Form::default().with("client_id", "free-client").with("request_uri", &request_uri);
    let plain = stage.request_of("free-client").without("client_assertion").without("client_assertion_type");
    let unused = "urn:ietf:params:oauth:request_uri:unused";
    for (what, query, status, code, alone) in [
        ("control", reference.clone(), 303, "ok", true),
        ("plain parameters", plain, 400, "par_required", true),
        ("another parameter", reference.clone().with("scope", "openid payments"), 400, "parameter_refused", true),
        ("twice", reference.clone().and("client_id", "free-client"), 400, "parameter_repeated", false),
        ("another client's", reference.clone().with("client_id", "other-client"), 400, "request_uri_unknown", false),
        ("nobody's", reference.clone().with("request_uri", unused), 400, "request_uri_unknown", false),
        (
            "a client's own",
            reference.clone().with("request_uri", "https://client.example/1"),
            400,
            "request_uri_unknown",
            false,
        ),
        ("nameless", reference.clone().without("client_id"), 400, "parameter_malformed", false),
        ("reloaded", reference.clone(), 303, "ok", true),
    ] {
        let path = format!("/auth?{}", query.encoded());
        let (found_status, found, response) = stage.judge(&browser, get(&stage.url(&path))).await;
        assert_eq!((found_status, &*found), (status, code), "{what}: {}", text(&response));
        assert_eq!(response.headers().contains_key("location"), code == "ok", "{what}");
        let answer = stage.directly(&path, None, None).await;
        let location = answer.headers().get("location").and_then(|location| location.to_str().ok());
        assert_eq!(location.is_some_and(|to| to.starts_with("/interaction/")), alone, "{what}, alone: {answer:?}");
    }
    // Under other names, which the server does not tell from the first two.
    let plain = stage.request_of("free-client").without("client_assertion").without("client_assertion_type");
    for (path, code, alone) in [
        ("/auth/", "par_required", true),
        ("/AUTH", "path_ambiguous", true),
        ("/Auth/", "path_ambiguous", true),
        ("/auth//", "path_ambiguous", false),
        ("//auth", "path_ambiguous", false),
        ("/aut%68", "path_ambiguous", false),
    ] {
        let path = format!("{path}?{}", plain.encoded());
        let (status, found, _) = stage.judge(&browser, get(&stage.url(&path))).await;
        assert_eq!((status, &*found), (400, code), "{path}");
        let answer = stage.directly(&path, None, None).await;
        assert_eq!(answer.headers().contains_key("location"), alone, "{path}, alone: {answer:?}");
    }
    let request = Request::post(stage.url("/auth")).header("content-type", FORM);
    let (status, code, _) = stage.judge(&browser, request.body(reference.encoded().into()).expect("a request")).await;
    assert_eq!((status, &*code), (405, "method_not_allowed"));
    // What is pushed can be used for as long as the server said, which was a minute.
    let path = format!("/auth?{}", reference.encoded());
    for (seconds, code) in [(0, "ok"), (61, "request_uri_unknown")] {
        stage.ahead.fetch_add(seconds, Ordering::SeqCst);
        let (_, found, response) = stage.judge(&browser, get(&stage.url(&path))).await;
        assert_eq!(&*found, code, "after {seconds} s: {}", text(&response));
    }
    assert_eq!(stage.directly(&path, None, None).await.status(), 303, "for the server it is the same minute");
}

/// FAPI2-AS-04: a server without DPoP ignores the proof, and its token is anybody's.
#[tokio::test(flavor = "multi_thread")]
async fn fapi2_as_04_a_token_that_is_bound_to_nobody_does_not_reach_the_client() {
    let stage = Stage::set(Differences { has_no_dpop: true, ..Differences::default() }).await;
    let holder = SigningKey::generate(KeyKind::Es256, "proof");
    let proof = || Proof::new("POST", &stage.url("/token"), client::now()).sign(&holder);
    let form = |name| stage.authenticated(name, Form::default().with("grant_type", "client_credentials"));
    let jwt = |name| form(name).with("resource", RESOURCE).with("scope", "accounts");
    let (mtls, anonymous) = (stage.browser().certificate(&stage.certificate), stage.browser());
    let granted = stage.asked_with(&form("free-client"), Some(&proof())).await;
    assert_eq!(granted.status(), 200, "control: the server grants it");
    let granted: Value = serde_json::from_slice(&granted.bytes().await.expect("a body")).expect("JSON");
    assert_eq!(granted["token_type"], "Bearer", "control");
    for (what, client, form, proves, code) in [
        ("control", &mtls, jwt("bound-client"), false, "ok"),
        ("opaque", &anonymous, form("free-client"), true, "answer_unbound"),
        ("JWT", &anonymous, jwt("free-client"), true, "answer_unbound"),
        ("with a certificate that nothing is bound to", &mtls, jwt("free-client"), false, "answer_unbound"),
        ("bound, and nobody can see it", &mtls, form("bound-client"), false, "answer_unbound"),
    ] {
        let mut request = form.post(&stage.url("/token"));
        if proves {
            request.headers_mut().insert("dpop", proof().parse().expect("a field"));
        }
        let (status, found, response) = stage.judge(client, request).await;
        assert_eq!((status, &*found), (if code == "ok" { 200 } else { 502 }, code), "{what}: {}", text(&response));
        assert_eq!(text(&response).contains("access_token"), code == "ok", "{what}");
    }
}

/// FAPI2-AS-08, and the lifetime that the operator allows; each is a matter of the gateway's configuration alone.
#[tokio::test(flavor = "multi_thread")]
async fn fapi2_as_08_an_answer_that_the_operator_does_not_allow_is_withheld() {
    let stage = Stage::set(Differences { rotates: true, ..Differences::default() }).await;
    let mut script = stage.client();
    let login = json!({ "do": "openid-client", "client": "dpop-client", "resource": true });
    for (number, answers, code) in [
        (1, "refresh_token_rotation: true", None),
        (2, "refresh_token_rotation: false", Some("answer_malformed")),
        (3, "refresh_token_rotation: true, access_token_lifetime: 10m", Some("answer_too_long_lived")),
        (4, "refresh_token_rotation: true, access_token_lifetime: 24h", None),
    ] {
        stage.answers(number, answers).await;
        let answer = script.ask(&login);
        match code {
            None => assert_eq!(answer["refreshed"]["same"], json!(false), "{answers}: {answer}"),
            Some(code) => {
                assert!(answer["first"].is_null() && answer["error"].is_string(), "{answers}: {answer}");
                let record = stage.gateway.record_where(|record| record["code"] == code);
                assert_eq!(record["status"], 502, "{record}");
            }
        }
    }
    assert!(script.end().is_empty());
}

/// What is not as usual with the authorization server.
#[derive(Default)]
struct Differences {
    has_no_dpop: bool,
    asks_for_nonces: bool,
    rotates: bool,
}

/// The authorization server, and the gateway in front of it.
struct Stage {
    provider: Script,
    /// Of the server itself.
    address: String,
    /// Where browsers find the server itself.
    own_origin: String,
    /// Who asks the server itself.
    alone: reqwest::Client,
    authority: Authority,
    certificate: Credential,
    /// Of the servers that browsers find without the gateway.
    others: Credential,
    keys: BTreeMap<&'static str, SigningKey>,
    gateway: Running,
    /// By how many seconds the gateway's clock is ahead, and a minute.
    ahead: Arc<AtomicU64>,
    origin: String,
    mtls: String,
    folder: Folder,
}

impl Stage {
    async fn set(differences: Differences) -> Self {
        let authority = Authority::new("Test CA");
        let source = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/guarded"));
        let folder = installed(source, &["server.mjs", "client.mjs", "site.mjs"]);
        let ca = folder.write("ca.pem", &authority.pem());
        let (certificate, own) = (authority.client("mtls-client"), self_signed("self-signed-client"));
        let others = authority.server(&["localhost", "client.example"]);
        for (name, credential) in [("issued", &certificate), ("self-signed", &own), ("others", &others)] {
            folder.write(&format!("{name}.pem"), &credential.certificate_pem());
            folder.write(&format!("{name}-key.pem"), &credential.key_pem());
        }
        let keys: BTreeMap<_, _> = SIGNERS.map(|name| (name, SigningKey::generate(KeyKind::Es256, name))).into();
        for (name, key) in &keys {
            folder.write(&format!("{name}-key.pem"), &key.private_key_pem());
        }
        let ports = free_ports(2);
        let [origin, mtls] = [ports[0], ports[1]].map(|port| format!("https://localhost:{port}"));
        let (clients, api) = registered(&keys, &own);
        let allowed = clients.iter().cloned().map(|mut client| {
            client["response_types"] = json!(["code", "code id_token", "id_token"]);
            client["grant_types"] = json!(["authorization_code", "refresh_token", "client_credentials", "implicit"]);
            client
        });
        let everybody: Vec<Value> = allowed.chain([api.clone()]).chain(not_registered()).collect();
        let configuration = json!({
            "issuer": origin,
            "mtls": mtls,
            "clients": everybody,
            "resource": RESOURCE,
            "dpop": !differences.has_no_dpop,
            "nonces": differences.asks_for_nonces,
            "rotate": differences.rotates,
            "certificate": "others.pem",
            "key": "others-key.pem",
        });
        let mut provider = Script::start(&folder, "server.mjs", &[&configuration.to_string()], &ca);
        let ready = provider.hear().expect("the authorization server starts");
        let [address, own_origin] = ["address", "origin"].map(|name| ready[name].as_str().expect("a text").to_owned());
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut scene = Scene::new(&authority, &origin, anywhere).rewrite(&guard(&ports, &address));
        for client in &clients {
            let name = client["client_id"].as_str().expect("an id");
            scene = scene.file(&format!("clients/{name}.json"), &client.to_string());
        }
        scene = scene.file("resource-servers/api.json", &api.to_string());
        // What was signed before the gateway started is refused, so that it starts a minute ago.
        let ahead = Arc::new(AtomicU64::new(0));
        let shown = ahead.clone();
        let minute = 60;
        let gateway = Running::start_by(
            scene,
            Clock::from_fn(move || Duration::from_secs(client::now() + shown.load(Ordering::SeqCst) - minute)),
        );
        gateway.ready().await;
        ahead.store(minute, Ordering::SeqCst);
        let alone = reqwest::Client::builder().no_proxy().redirect(Policy::none()).build().expect("a client");
        Self {
            provider,
            address,
            own_origin,
            alone,
            authority,
            certificate,
            others,
            keys,
            gateway,
            ahead,
            origin,
            mtls,
            folder,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// The script with the libraries, which discovers the server.
    fn client(&self) -> Script {
        let configuration = json!({
            "issuer": self.origin,
            "resource": RESOURCE,
            "clients": {
                "dpop-client": { "key": "dpop-client-key.pem", "dpop": true },
                "mtls-client": { "certificate": "issued.pem", "certificate_key": "issued-key.pem" },
                "self-signed-client": {
                    "certificate": "self-signed.pem", "certificate_key": "self-signed-key.pem", "self_signed": true,
                },
                "bound-client": {
                    "key": "bound-client-key.pem", "certificate": "issued.pem", "certificate_key": "issued-key.pem",
                },
            },
        });
        let ca = self.folder.path().join("ca.pem");
        Script::start(&self.folder, "client.mjs", &[&configuration.to_string()], &ca)
    }

    /// Whoever connects to the gateway without a certificate.
    fn browser(&self) -> Client {
        Client::new(self.gateway.address(), &self.authority).origin(&self.origin)
    }

    /// What the gateway makes of a request: status, code, and the response.
    async fn judge(&self, client: &Client, request: Request<Bytes>) -> (u16, String, Response<Bytes>) {
        let response = client.send(request).await.expect("the gateway answers");
        let record = self.gateway.record_of(&response);
        (response.status().as_u16(), record["code"].as_str().expect("a code").to_owned(), response)
    }

    /// What the server itself makes of it: of a form, or of the path alone.
    async fn directly(&self, path: &str, form: Option<&Form>, basic: Option<&str>) -> reqwest::Response {
        let mut request = match form {
            None => self.to_provider(reqwest::Method::GET, path),
            Some(form) => {
                self.to_provider(reqwest::Method::POST, path).header("content-type", FORM).body(form.encoded())
            }
        };
        if let Some(client) = basic {
            request = request.header("authorization", basic_field(client));
        }
        request.send().await.expect("the server answers")
    }

    /// What the server itself makes of a token request.
    async fn asked_with(&self, form: &Form, proof: Option<&str>) -> reqwest::Response {
        let mut request = self.to_provider(reqwest::Method::POST, "/token").header("content-type", FORM);
        if let Some(proof) = proof {
            request = request.header("dpop", proof);
        }
        request.body(form.encoded()).send().await.expect("the server answers")
    }

    fn to_provider(&self, method: reqwest::Method, path: &str) -> reqwest::RequestBuilder {
        // It takes these fields from whoever is in front.
        let host = self.origin.strip_prefix("https://").expect("an origin");
        let request = self.alone.request(method, format!("http://{}{path}", self.address));
        request.header("x-forwarded-proto", "https").header("x-forwarded-host", host).timeout(DEADLINE)
    }

    /// A good pushed request of a client.
    fn request_of(&self, client: &'static str) -> Form {
        let form = Form::default()
            .with("response_type", "code")
            .with("redirect_uri", CALLBACK)
            .with("scope", "openid")
            .with("state", "a-state")
            .with("nonce", "a-nonce-of-an-application")
            .with("code_challenge", CHALLENGE)
            .with("code_challenge_method", "S256");
        self.authenticated(client, form)
    }

    /// Pushes a request, and returns its name.
    async fn pushed(&self, client: &'static str) -> String {
        let form = self.request_of(client);
        let (status, code, response) = self.judge(&self.browser(), form.post(&self.url("/request"))).await;
        assert_eq!((status, &*code), (201, "ok"), "{}", text(&response));
        let body: Value = serde_json::from_slice(response.body()).expect("JSON");
        body["request_uri"].as_str().expect("a name").to_owned()
    }

    fn authenticated(&self, client: &'static str, form: Form) -> Form {
        let kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
        form.with("client_id", client).with("client_assertion_type", kind).signed(self, client, |_| {})
    }

    /// Reloads with other rules for answers; it is the reload with this number.
    async fn answers(&self, number: usize, rules: &str) {
        let folder = self.gateway.folder();
        let yaml = std::fs::read_to_string(folder.path().join("gateway.yaml")).expect("gateway.yaml");
        let kept: Vec<&str> = yaml.lines().filter(|line| !line.starts_with("    answers: ")).collect();
        folder.write("gateway.yaml", &format!("{}\n    answers: {{ {rules} }}\n", kept.join("\n")));
        let control = self.gateway.control();
        control.reload();
        tokio::time::timeout(DEADLINE, control.reloads(number)).await.expect("the reload ends");
        let metrics = self.gateway.admin("/metrics").await.1;
        assert!(metrics.contains("\nfapi_gateway_config_last_reload_success 1\n"), "{metrics}");
    }
}

/// A gateway in front of the server alone: one listener for everybody, and one for certificates that are registered themselves.
fn guard(ports: &[u16], address: &str) -> String {
    let listener = |port: u16, trust: &str| {
        format!(
            "  - address: 127.0.0.1:{port}
    origins: [\"https://localhost:{port}\"]
    tls:
      certificate: server.pem
      private_key: server-key.pem
      client_certificates: {{ mode: optional, {trust} }}
"
        )
    };
    format!(
        r#"profile: fapi2-security
listeners:
{}{}admin: {{ address: "127.0.0.1:0" }}
reload: {{ watch: 0s }}
drain: {{ delay: 0s, timeout: 2s }}
upstreams:
  bank: {{ servers: ["http://{address}"], response_timeout: 5s }}
authorization_servers:
  - name: bank
    issuer: https://localhost:{}
    upstream: bank
    mtls_origin: https://localhost:{}
    endpoints:
      pushed_authorization_request: /request
      authorization: /auth
      token: /token
      introspection: /token/introspection
      revocation: /token/revocation
      jwks: /jwks
    browser_paths: ["/auth/**", "/interaction/**"]
    clients: {{ directory: clients }}
    resource_servers: {{ directory: resource-servers }}
    grant_types: [authorization_code, refresh_token, client_credentials]
"#,
        listener(ports[0], "trust: chain, trust_anchors: [ca.pem]"),
        listener(ports[1], "trust: possession"),
        ports[0],
        ports[1],
    )
}

/// The clients that both know, and the resource server.
fn registered(keys: &BTreeMap<&'static str, SigningKey>, own: &Credential) -> (Vec<Value>, Value) {
    let signer = |name: &str, members: Value| {
        let mut document = json!({
            "client_id": name,
            "token_endpoint_auth_method": "private_key_jwt",
            "jwks": { "keys": [keys[name].jwk()] },
        });
        extend(&mut document, members);
        document
    };
    let application = || {
        json!({
            "redirect_uris": [CALLBACK],
            "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
            "response_types": ["code"],
        })
    };
    let mut bound = application();
    extend(&mut bound, json!({ "tls_client_certificate_bound_access_tokens": true }));
    let mut by_key = application();
    extend(&mut by_key, json!({ "dpop_bound_access_tokens": true }));
    let mut by_subject = json!({
        "client_id": "mtls-client",
        "token_endpoint_auth_method": "tls_client_auth",
        "tls_client_auth_subject_dn": "CN=mtls-client",
    });
    extend(&mut by_subject, bound.clone());
    let mut by_certificate = json!({
        "client_id": "self-signed-client",
        "token_endpoint_auth_method": "self_signed_tls_client_auth",
        "jwks": { "keys": [certificate_key(own)] },
    });
    extend(&mut by_certificate, bound.clone());
    let clients = vec![
        signer("dpop-client", by_key),
        signer("other-client", application()),
        signer("free-client", application()),
        signer("bound-client", bound),
        by_subject,
        by_certificate,
    ];
    (clients, signer("api", json!({ "redirect_uris": [], "grant_types": [], "response_types": [] })))
}

/// The clients that only the server knows, since FAPI has none like them.
fn not_registered() -> [Value; 3] {
    [("public-client", "none"), ("basic-client", "client_secret_basic"), ("post-client", "client_secret_post")].map(
        |(name, method)| {
            let mut document = json!({
                "client_id": name,
                "token_endpoint_auth_method": method,
                "redirect_uris": [CALLBACK],
            });
            if method != "none" {
                document["client_secret"] = json!(SECRET);
            }
            document
        },
    )
}

fn extend(document: &mut Value, members: Value) {
    let (Value::Object(document), Value::Object(members)) = (document, members) else { panic!("two objects") };
    document.extend(members);
}

impl Form {
    /// With another assertion of this client.
    fn signed(self, stage: &Stage, client: &'static str, change: impl FnOnce(&mut Value)) -> Self {
        let now = client::now();
        let mut claims = json!({
            "iss": client, "sub": client, "aud": stage.origin, "jti": Uuid::new_v4().to_string(), "iat": now, "exp": now + 60,
        });
        change(&mut claims);
        let key = &stage.keys[client];
        let assertion = key.sign(&json!({ "alg": key.kind().algorithm(), "kid": key.kid() }), &claims);
        self.with("client_assertion", &remember(assertion))
    }
}

/// The elements of a list in an order that does not matter, or else the value.
fn sorted(value: &Value) -> Vec<String> {
    let elements = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    let mut texts: Vec<String> = elements.iter().map(Value::to_string).collect();
    texts.sort();
    texts
}

/// RFC 7617 §2.
fn basic_field(client: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{client}:{SECRET}")))
}

/// The key of a certificate, with it (RFC 8705 §2.2.2).
fn certificate_key(credential: &Credential) -> Value {
    let mut key = SigningKey::from_pem(credential.key_pem().as_bytes()).expect("a key").bare_jwk();
    key["x5c"] = json!([STANDARD.encode(&credential.chain_der[0])]);
    key
}
