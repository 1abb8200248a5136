//! What glewlwyd would allow, and the gateway does not; each beside what differs from it in one thing and passes.

use serde_json::json;

use super::stage::{AUDIENCE, CALLBACK, SECRET, Stage, VERIFIER, basic_field, json_of, location, parameter};
use crate::interop::form::{Form, get, text};

/// FAPI2-AS-05, FAPI2-AS-14, FAPI2-AS-17, FAPI2-AS-18, FAPI2-AS-19, FAPI2-AS-38.
#[tokio::test(flavor = "multi_thread")]
async fn fapi2_as_15_glewlwyd_is_not_pushed_a_request_that_breaks_a_rule() {
    let stage = Stage::set(json!({})).await;
    let good = || stage.authenticated("client", "/par", stage.request_of("client"));
    let bare = |client| stage.request_of(client);
    // Whether glewlwyd itself would take it.
    let (allowed, refused) = (true, false);
    for (what, form, basic, status, code, alone) in [
        (
            "plain",
            good().with("code_challenge_method", "plain").with("code_challenge", VERIFIER),
            None,
            400,
            "pkce_plain",
            allowed,
        ),
        ("no method", good().without("code_challenge_method"), None, 400, "pkce_plain", allowed),
        (
            "no PKCE",
            good().without("code_challenge").without("code_challenge_method"),
            None,
            400,
            "pkce_missing",
            allowed,
        ),
        ("token", good().with("response_type", "token"), None, 400, "response_type_refused", allowed),
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
        ("nowhere", good().without("redirect_uri"), None, 400, "redirect_uri_refused", refused),
        (
            "request_uri",
            good().with("request_uri", "urn:ietf:params:oauth:request_uri:1"),
            None,
            400,
            "request_uri_refused",
            refused,
        ),
        ("nobody", bare("client"), None, 401, "par_unauthenticated", refused),
        ("public", bare("public-client"), None, 401, "client_unknown", allowed),
        (
            "a secret in place of the key",
            bare("client").with("client_secret", SECRET),
            None,
            401,
            "client_authentication_refused",
            allowed,
        ),
        ("a secret in the field", bare("client"), Some("client"), 401, "client_authentication_refused", allowed),
        (
            "a client with a secret",
            bare("secret-client").with("client_secret", SECRET),
            None,
            401,
            "client_authentication_refused",
            allowed,
        ),
        (
            "another client's assertion",
            stage.authenticated("other-client", "/par", bare("client")).with("client_id", "client"),
            None,
            401,
            "client_authentication_refused",
            allowed,
        ),
    ] {
        let mut request = form.post(&stage.endpoint("/par"));
        if let Some(client) = basic {
            request.headers_mut().insert("authorization", basic_field(client).parse().expect("a field"));
        }
        let (found_status, found, response) = stage.judge(request.clone()).await;
        assert_eq!((found_status, &*found), (status, code), "{what}: {}", text(&response));
        let answer = stage.alone(request).await;
        assert_eq!(answer.status() == 201, alone, "{what}, alone: {answer:?}");
    }
    // An assertion is for one use.
    let form = good();
    for (status, code) in [(201, "ok"), (401, "client_assertion_replayed")] {
        let (found_status, found, response) = stage.judge(form.post(&stage.endpoint("/par"))).await;
        assert_eq!((found_status, &*found), (status, code), "{}", text(&response));
    }
}

/// FAPI2-AS-14, FAPI2-AS-29, FAPI2-AS-30: a user who is logged in and has consented is sent to the client at once.
#[tokio::test(flavor = "multi_thread")]
async fn fapi2_as_16_a_browser_brings_glewlwyd_only_what_was_pushed() {
    let stage = Stage::set(json!({})).await;
    let session = stage.log_in().await;
    let reference = stage.reference("client", &stage.pushed("client").await);
    let plain = || stage.request_of("client");
    let unused = "urn:ietf:params:oauth:request_uri:unused";
    // What glewlwyd itself sends to the client, if anything.
    for (what, query, code, alone) in [
        ("plain parameters", plain(), "par_required", Some("code")),
        (
            "plain PKCE",
            plain().with("code_challenge_method", "plain").with("code_challenge", VERIFIER),
            "par_required",
            Some("code"),
        ),
        ("implicit", plain().with("response_type", "token"), "par_required", Some("access_token")),
        ("hybrid", plain().with("response_type", "code id_token"), "par_required", Some("id_token")),
        ("a public client", stage.request_of("public-client"), "par_required", Some("code")),
        ("elsewhere", plain().with("redirect_uri", "https://evil.example/"), "par_required", None),
        ("another client's", reference.clone().with("client_id", "other-client"), "request_uri_unknown", None),
        ("nobody's", reference.clone().with("request_uri", unused), "request_uri_unknown", None),
        ("nameless", reference.clone().without("client_id"), "parameter_malformed", None),
        ("twice", reference.clone().and("client_id", "client"), "parameter_repeated", None),
    ] {
        let (status, found, response) = stage.judge(stage.visit(&query, &session)).await;
        assert_eq!((status, &*found), (400, code), "{what}: {}", text(&response));
        assert!(!response.headers().contains_key("location"), "{what}");
        let answer = stage.alone(stage.visit(&query, &session)).await;
        let back =
            answer.headers().get("location").map_or_else(String::new, |to| to.to_str().expect("text").to_owned());
        let sends = |name: &str| back.starts_with(CALLBACK) && back.contains(&format!("{name}="));
        let sent = ["access_token", "id_token", "code"].into_iter().find(|name| sends(name));
        assert_eq!(sent, alone, "{what}, alone: {answer:?}");
    }
    // The control last, since glewlwyd takes a name once.
    let beside = reference.clone().with("scope", "openid payments");
    let (status, code, _) = stage.judge(stage.visit(&beside, &session)).await;
    assert_eq!((status, &*code), (400, "parameter_refused"));
    let (status, code, response) = stage.judge(stage.visit(&reference, &session)).await;
    assert_eq!((status, &*code), (302, "ok"), "{}", text(&response));
    assert!(parameter(&location(&response), "code").is_some());
    // Nor is there a login for what was not pushed.
    let without_session = get(&format!("{}?{}", stage.endpoint("/auth"), plain().encoded()));
    let (status, code, _) = stage.judge(without_session.clone()).await;
    assert_eq!((status, &*code), (400, "par_required"));
    assert_eq!(stage.alone(without_session).await.status(), 302, "alone, there is a login");
}

/// FAPI2-AS-02, FAPI2-AS-03, FAPI2-AS-05, FAPI2-AS-18, FAPI2-AS-38, FAPI2-AS-39.
#[tokio::test(flavor = "multi_thread")]
async fn fapi2_as_04_glewlwyd_is_asked_for_no_token_that_is_bound_to_nobody() {
    let stage = Stage::set(json!({})).await;
    let session = stage.log_in().await;
    let own = || Form::default().with("grant_type", "client_credentials").with("scope", "accounts");
    let good = || stage.authenticated("client", "/token", own());
    let proof = || Some(stage.proof("/token"));
    let password = || {
        let user = |name: &str| stage.user[name].as_str().expect("text");
        let form = Form::default().with("grant_type", "password").with("scope", "accounts");
        let form = form.with("username", user("username")).with("password", user("password"));
        stage.authenticated("client", "/token", form)
    };
    let (code, other) = (stage.code("client", &session).await, stage.code("client", &session).await);
    for (what, form, proof, status, code, error, alone) in [
        ("no proof", good(), None, 400, "sender_constraint_missing", "invalid_request", 200),
        (
            "a code without a proof",
            stage.exchange("client", &code),
            None,
            400,
            "sender_constraint_missing",
            "invalid_request",
            200,
        ),
        (
            "a proof for elsewhere",
            good(),
            Some(stage.proof("/par")),
            400,
            "dpop_uri_mismatch",
            "invalid_dpop_proof",
            403,
        ),
        ("password", password(), proof(), 400, "grant_type_refused", "unsupported_grant_type", 200),
        ("password, unbound", password(), None, 400, "grant_type_refused", "unsupported_grant_type", 200),
        (
            "a secret",
            own().with("client_id", "client").with("client_secret", SECRET),
            proof(),
            401,
            "client_authentication_refused",
            "invalid_client",
            200,
        ),
        (
            "a client with a secret",
            own().with("client_id", "secret-client").with("client_secret", SECRET),
            proof(),
            401,
            "client_authentication_refused",
            "invalid_client",
            200,
        ),
        (
            "no verifier",
            stage.exchange("client", &other).without("code_verifier"),
            proof(),
            400,
            "pkce_missing",
            "invalid_request",
            403,
        ),
    ] {
        let request = stage.token_request(&form, proof.as_deref());
        let (found_status, found, response) = stage.judge(request.clone()).await;
        assert_eq!((found_status, &*found), (status, code), "{what}: {}", text(&response));
        let body = json_of(&response);
        assert_eq!((&body["error"], body["access_token"].is_null()), (&json!(error), true), "{what}: {body}");
        let answer = stage.alone(request).await;
        assert_eq!(answer.status().as_u16(), alone, "{what}, alone: {answer:?}");
        assert_eq!(text(&answer).contains("access_token"), alone == 200, "{what}, alone");
    }
    // Assertions and proofs are for one use, and each has the other new.
    let (assertion, used) = (good(), stage.proof("/token"));
    for (what, form, proof, status, code) in [
        ("control", assertion.clone(), used.clone(), 200, "ok"),
        ("the assertion again", assertion, stage.proof("/token"), 401, "client_assertion_replayed"),
        ("the proof again", good(), used, 400, "dpop_replayed"),
    ] {
        let (found_status, found, response) = stage.judge(stage.token_request(&form, Some(&proof))).await;
        assert_eq!((found_status, &*found), (status, code), "{what}: {}", text(&response));
    }
}

/// FAPI2-AS-08, FAPI2-AS-24: what glewlwyd answers with settings of its own that FAPI has no room for.
#[tokio::test(flavor = "multi_thread")]
async fn fapi2_as_04_an_answer_of_glewlwyd_that_breaks_a_rule_is_withheld() {
    let stage = Stage::set(json!({ "oauth-par-duration": 600 })).await;
    let form = || {
        let form = Form::default().with("grant_type", "client_credentials").with("scope", "accounts");
        stage.authenticated("client", "/token", form)
    };
    // It binds tokens to proofs, whether it is told to or not, and to no certificate of the gateway's clients.
    let presented = stage.anybody().certificate(&stage.certificate);
    for (what, proof, status, code) in
        [("a certificate alone", None, 502, "answer_unbound"), ("a proof", Some(stage.proof("/token")), 200, "ok")]
    {
        let request = stage.token_request(&form(), proof.as_deref());
        let (found_status, found, response) = stage.judge_from(&presented, request).await;
        assert_eq!((found_status, &*found), (status, code), "{what}: {}", text(&response));
        assert_eq!(text(&response).contains("access_token"), code == "ok", "{what}");
    }
    let answer = stage.alone(stage.token_request(&form(), None)).await;
    assert_eq!((answer.status().as_u16(), &json_of(&answer)["token_type"]), (200, &json!("bearer")), "alone");

    let push = || stage.authenticated("client", "/par", stage.request_of("client")).post(&stage.endpoint("/par"));
    let (status, code, response) = stage.judge(push()).await;
    assert_eq!((status, &*code), (502, "answer_too_long_lived"), "{}", text(&response));
    assert!(!text(&response).contains("urn:"), "{}", text(&response));
    let answer = stage.alone(push()).await;
    assert_eq!((answer.status().as_u16(), &json_of(&answer)["expires_in"]), (201, &json!(600)), "alone");

    let stage = Stage::set(json!({ "refresh-token-one-use": "always", "oauth-par-duration": 599 })).await;
    let session = stage.log_in().await;
    for (number, answers, granted, refreshed) in [
        (1, "{ refresh_token_rotation: true, access_token_lifetime: 2h }", "ok", "ok"),
        (2, "{ refresh_token_rotation: false }", "ok", "answer_malformed"),
        (3, "{ refresh_token_rotation: true, access_token_lifetime: 10m }", "answer_too_long_lived", ""),
    ] {
        stage.reload(number, &[AUDIENCE], answers).await;
        let exchange = stage.exchange("client", &stage.code("client", &session).await);
        let (_, found, response) = stage.judge(stage.token_request(&exchange, Some(&stage.proof("/token")))).await;
        assert_eq!(found, granted, "{answers}: {}", text(&response));
        if granted != "ok" {
            continue;
        }
        let token = json_of(&response)["refresh_token"].as_str().expect("a token").to_owned();
        let refresh = Form::default().with("grant_type", "refresh_token").with("refresh_token", &token);
        let refresh = stage.authenticated("client", "/token", refresh);
        let (_, found, response) = stage.judge(stage.token_request(&refresh, Some(&stage.proof("/token")))).await;
        assert_eq!(found, refreshed, "{answers}: {}", text(&response));
    }
}
