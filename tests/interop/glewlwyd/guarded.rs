//! Glewlwyd without FAPI, behind the gateway: clients that keep to FAPI 2.0 get through, and what glewlwyd itself would allow is refused.
//!
//! Whatever is waived, glewlwyd 2.7.5 reads no certificate that the gateway forwards (RFC 9440), since it imports nothing but PEM and
//! answers 500: its clients authenticate with keys, and their tokens are bound to keys. It has no metadata where RFC 8414 has them, so
//! that clients discover it as OpenID Connect does.

mod attacks;
mod browser;
mod stage;

use http::Request;
use serde_json::{Value, json};

use self::stage::{AUDIENCE, CALLBACK, ISSUER, RESOURCE, Stage, claims_of, json_of, location, member, parameter};
use crate::interop::form::{Form, get, text};

/// FAPI2-AS-04, FAPI2-AS-08, FAPI2-AS-15, FAPI2-AS-20, FAPI2-AS-25.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_glewlwyd_gets_bound_tokens_through_the_gateway_and_refreshes_them() {
    let stage = Stage::set(json!({})).await;
    let reference = stage.reference("new-client", &stage.pushed("new-client").await);
    let visit = format!("{}?{}", stage.endpoint("/auth"), reference.encoded());

    // Nobody is logged in yet, and a page can be loaded again.
    for _ in 0..2 {
        let (status, code, response) = stage.judge(get(&visit)).await;
        assert_eq!((status, &*code), (302, "ok"), "{}", text(&response));
        assert!(location(&response).starts_with(&stage.url("/login.html?client_id=new-client&")), "{response:?}");
    }
    let (status, code, page) = stage.judge(get(&stage.url("/login.html"))).await;
    assert_eq!((status, &*code), (200, "ok"));
    assert!(text(&page).contains("Glewlwyd login"));

    // The user logs in, and consents.
    let session = stage.log_in().await;
    let consent = Request::put(stage.url("/api/auth/grant/new-client")).header("content-type", "application/json");
    let consent = consent.header("cookie", &session).body(json!({ "scope": "openid accounts" }).to_string().into());
    let (status, code, response) = stage.judge(consent.expect("a request")).await;
    assert_eq!((status, &*code), (200, "ok"), "{}", text(&response));

    let (status, code, response) = stage.judge(stage.visit(&reference, &session)).await;
    let back = location(&response);
    assert_eq!((status, &*code), (302, "ok"), "{back}");
    assert!(back.starts_with(&format!("{CALLBACK}?")), "{back}");
    assert_eq!(parameter(&back, "iss").as_deref(), Some(&*stage.issuer));
    assert_eq!(parameter(&back, "state").as_deref(), Some("a-state"));

    let exchange = stage.exchange("new-client", &parameter(&back, "code").expect("a code"));
    let (status, code, response) = stage.judge(stage.token_request(&exchange, Some(&stage.proof("/token")))).await;
    assert_eq!((status, &*code), (200, "ok"), "{}", text(&response));
    is_bound(&stage, &json_of(&response));
    assert_eq!(member(&response, "scope"), "openid accounts", "without consent there is only the first");
    let refresh = Form::default().with("grant_type", "refresh_token");
    let refresh = refresh.with("refresh_token", &member(&response, "refresh_token"));
    for _ in 0..2 {
        let refresh = stage.authenticated("new-client", "/token", refresh.clone());
        let (status, code, response) = stage.judge(stage.token_request(&refresh, Some(&stage.proof("/token")))).await;
        assert_eq!((status, &*code), (200, "ok"), "{}", text(&response));
        is_bound(&stage, &json_of(&response));
    }

    // Glewlwyd repeats the assertion in its answer to the browser. It is of no use to whoever sees it there.
    let form =
        stage.request_of("new-client").with("client_assertion", &parameter(&back, "client_assertion").expect("it"));
    let form = form.with("client_assertion_type", &parameter(&back, "client_assertion_type").expect("it"));
    let (status, code, _) = stage.judge(form.post(&stage.endpoint("/par"))).await;
    assert_eq!((status, &*code), (401, "client_assertion_replayed"));
}

/// Glewlwyd takes the endpoint that is called as the audience of an assertion, and nothing else; FAPI takes the issuer, and nothing
/// else. Only the first can be waived.
#[tokio::test(flavor = "multi_thread")]
async fn fapi2_as_07_without_a_waiver_no_assertion_satisfies_both_the_gateway_and_glewlwyd() {
    let stage = Stage::set(json!({})).await;
    let audiences = |stage: &Stage| {
        let (par, token) = (stage.endpoint("/par"), stage.endpoint("/token"));
        [json!(par), json!(stage.issuer), json!([stage.issuer]), json!(token), json!([stage.issuer, par])]
    };
    for (number, waivers, expected) in [
        (0, &[AUDIENCE][..], [(201, "ok"), (401, "ok"), (401, "ok"), (401, "ok"), (401, "ok")]),
        (1, &[], {
            let refused = (401, "client_assertion_audience");
            [refused, (401, "ok"), refused, refused, refused]
        }),
        (2, &[AUDIENCE], [(201, "ok"), (401, "ok"), (401, "ok"), (401, "ok"), (401, "ok")]),
    ] {
        if number > 0 {
            stage.reload(number, waivers, "{}").await;
        }
        for (audience, (status, code)) in audiences(&stage).into_iter().zip(expected) {
            let form = stage.signed("client", stage.request_of("client"), audience.clone());
            let (found_status, found, response) = stage.judge(form.post(&stage.endpoint("/par"))).await;
            assert_eq!((found_status, &*found), (status, code), "{waivers:?} {audience}: {}", text(&response));
            let record = stage.gateway.record_of(&response);
            let answered = if code == "ok" { json!(status) } else { Value::Null };
            assert_eq!(record["upstream_status"], answered, "{waivers:?} {audience}: {record}");
        }
    }
}

/// FAPI2-AS-20, RFC 9207: glewlwyd can be told to leave out `iss`, and is so by itself.
#[tokio::test(flavor = "multi_thread")]
async fn fapi2_as_20_a_response_without_iss_reaches_the_client_only_under_a_waiver() {
    for (has_issuer, waivers, status, code) in [
        (true, &[AUDIENCE][..], 302, "ok"),
        (false, &[AUDIENCE], 502, "answer_malformed"),
        (false, &[AUDIENCE, ISSUER], 302, "ok"),
    ] {
        let stage = Stage::set(json!({ "oauth-as-iss-id": has_issuer })).await;
        stage.reload(1, waivers, "{}").await;
        let what = format!("{has_issuer} {waivers:?}");
        let reference = stage.reference("client", &stage.pushed("client").await);
        let (found_status, found, response) = stage.judge(stage.visit(&reference, &stage.log_in().await)).await;
        assert_eq!((found_status, &*found), (status, code), "{what}: {}", text(&response));
        assert_eq!(response.headers().contains_key("location"), code == "ok", "{what}");
        if code == "ok" {
            let issuer = parameter(&location(&response), "iss");
            assert_eq!(issuer.as_deref(), has_issuer.then_some(&*stage.issuer), "{what}");
        }
        let (_, _, metadata) = stage.judge(get(&stage.endpoint("/.well-known/openid-configuration"))).await;
        let says = &json_of(&metadata)["authorization_response_iss_parameter_supported"];
        // Glewlwyd itself says nothing of it, even where it has it.
        assert_eq!(*says, if waivers.contains(&ISSUER) { Value::Null } else { json!(true) }, "{what}");
    }
}

/// FAPI2-AS-01: clients are told what they can use.
#[tokio::test(flavor = "multi_thread")]
async fn fapi2_as_01_the_metadata_of_glewlwyd_are_narrowed_and_are_at_one_of_two_places() {
    let stage = Stage::set(json!({})).await;
    let path = "/.well-known/openid-configuration";
    let own = json_of(&stage.alone(get(&stage.endpoint(path))).await);
    let (status, code, response) = stage.judge(get(&stage.endpoint(path))).await;
    assert_eq!((status, &*code), (200, "ok"), "{}", text(&response));
    let metadata = json_of(&response);
    for (name, expected) in [
        ("issuer", json!(stage.issuer)),
        ("authorization_endpoint", json!(stage.endpoint("/auth"))),
        ("token_endpoint", json!(stage.endpoint("/token"))),
        ("pushed_authorization_request_endpoint", json!(stage.endpoint("/par"))),
        ("jwks_uri", json!(stage.endpoint("/jwks"))),
    ] {
        assert_eq!((&metadata[name], &own[name]), (&expected, &expected), "{name}");
    }
    for (name, expected) in [
        ("response_types_supported", json!(["code"])),
        ("response_modes_supported", json!(["query"])),
        // Glewlwyd refreshes tokens and grants clients their own, and has neither among its grant types.
        ("grant_types_supported", json!(["authorization_code"])),
        ("code_challenge_methods_supported", json!(["S256"])),
        ("token_endpoint_auth_methods_supported", json!(["private_key_jwt"])),
        ("require_pushed_authorization_requests", json!(true)),
        ("request_uri_parameter_supported", json!(false)),
        ("userinfo_endpoint", Value::Null),
        ("device_authorization_endpoint", Value::Null),
        ("introspection_endpoint", Value::Null),
        ("revocation_endpoint", Value::Null),
    ] {
        assert_eq!(metadata[name], expected, "{name}");
        assert_ne!(own[name], expected, "control: {name}");
    }
    let (status, code, _) = stage.judge(get(&stage.url("/.well-known/oauth-authorization-server/api/oidc"))).await;
    assert_eq!((status, &*code), (404, "ok"), "RFC 8414 §3.1");
    let (status, code, response) = stage.judge(get(&stage.endpoint("/jwks"))).await;
    assert_eq!((status, &*code), (200, "ok"));
    assert_eq!(json_of(&response)["keys"][0]["alg"], "ES256");
    // What is not an endpoint is refused, although glewlwyd has it.
    for path in ["/api/oidc/userinfo", "/api/oidc/device", "/api/client/", "/index.html"] {
        let (status, code, _) = stage.judge(get(&stage.url(path))).await;
        assert_eq!((status, &*code), (404, "route_not_found"), "{path}");
        assert_ne!(stage.alone(get(&stage.url(path))).await.status(), 404, "{path}, alone");
    }
    // It says of these endpoints that they take secrets alone.
    let yaml = std::fs::read_to_string(stage.gateway.folder().path().join("gateway.yaml")).expect("gateway.yaml");
    let jwks = "      jwks: /api/oidc/jwks\n";
    stage.reload_as(1, &yaml.replace(jwks, &format!("{jwks}      revocation: /api/oidc/revoke\n"))).await;
    let (status, code, _) = stage.judge(get(&stage.endpoint(path))).await;
    assert_eq!((status, &*code), (502, "metadata_mismatch"));
}

/// FAPI2-AS-43: the certificate of a connection comes to glewlwyd in a field that it cannot read.
#[tokio::test(flavor = "multi_thread")]
async fn fapi2_as_43_glewlwyd_reads_no_certificate_of_the_gateway_and_binds_tokens_to_keys() {
    let stage = Stage::set(json!({ "client-cert-source": "header", "client-cert-header-name": "client-cert" })).await;
    // It looks for the field under a name in exactly this case.
    let form = Form::default().with("client_id", "mtls-client").with("grant_type", "client_credentials");
    let form = form.with("scope", "accounts").with("resource", RESOURCE);
    let presented = stage.anybody().certificate(&stage.certificate);
    let (status, code, response) = stage.judge_from(&presented, stage.token_request(&form, None)).await;
    assert_eq!((status, &*code), (500, "ok"), "{}", text(&response));
    // It wants the text of a PEM file, of which no field can have the lines.
    let pem = stage.certificate.certificate_pem().replace('\n', "");
    let mut request = stage.token_request(&form, None);
    request.headers_mut().insert("client-cert", pem.parse().expect("a field"));
    let answer = stage.alone(request.clone()).await;
    assert_eq!(answer.status(), 200, "control: {}", text(&answer));
    // Which anybody can write who reaches it without the gateway, and nobody else.
    let (status, code, _) = stage.judge(request).await;
    assert_eq!((status, &*code), (401, "client_authentication_refused"));
    // A client with a key has its way through, whatever its connection presents.
    let form = Form::default().with("grant_type", "client_credentials").with("scope", "accounts");
    let form = stage.authenticated("client", "/token", form.with("resource", RESOURCE));
    let request = stage.token_request(&form, Some(&stage.proof("/token")));
    let (status, code, response) = stage.judge_from(&presented, request).await;
    assert_eq!((status, &*code), (200, "ok"), "{}", text(&response));
    is_bound(&stage, &json_of(&response));
}

/// Checks that an answer has a token of the holder, for the resource.
fn is_bound(stage: &Stage, answer: &Value) {
    assert_eq!(answer["token_type"], "DPoP", "{answer}");
    let token = answer["access_token"].as_str().expect("a token");
    let claims = claims_of(token);
    assert_eq!(claims["cnf"]["jkt"], json!(stage.holder.thumbprint()), "{claims}");
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(stage.issuer), &json!(RESOURCE)), "{claims}");
}
