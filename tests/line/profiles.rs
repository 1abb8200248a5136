//! What a profile forbids, on a request and in TLS, and what a waiver allows of it for one issuer or one route and no
//! longer than it says.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Request, StatusCode, header};
use rustls::crypto::aws_lc_rs::cipher_suite;
use sandbox::authorization_server::AuthorizationServer;
use sandbox::https::{Answer, HttpServer, Recorded};
use sandbox::pki::Authority;
use sandbox::tokens::{AccessToken, KeyKind, unsigned};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{DEADLINE, Scene, World, day, remember, request};

const DAY: u64 = 24 * 60 * 60;
const AUTH_DATE: &str = "x-fapi-auth-date";
const ADDRESS: &str = "x-fapi-customer-ip-address";
/// The path of a route of its own.
const CARDS: &str = "/accounts/1001";

/// Tomorrow, and the second at which a waiver until then ends.
fn tomorrow() -> (String, u64) {
    let day_after = (sandbox::now() / DAY + 2) * DAY;
    (day(day_after - 1), day_after)
}

/// The good request, with these fields.
fn with(world: &World, fields: &[(&'static str, &str)]) -> Request<Bytes> {
    let mut request = world.request();
    for (name, value) in fields {
        request.headers_mut().append(*name, HeaderValue::from_str(value).unwrap());
    }
    request
}

async fn reload(world: &World, text: &str, count: usize) {
    world.gateway.folder().write("gateway.yaml", text);
    world.gateway.control().reload();
    timeout(DEADLINE, world.gateway.control().reloads(count)).await.expect("a reload is attempted");
}

fn yaml(world: &World) -> String {
    std::fs::read_to_string(world.gateway.folder().path().join("gateway.yaml")).unwrap()
}

async fn metrics(world: &World) -> String {
    world.gateway.admin("/metrics").await.1
}

fn fapi1(scene: Scene) -> Scene {
    scene.replace("fapi2-security", "fapi1-advanced")
}

/// A route of its own profile, in a gateway whose other routes hold FAPI 2.0.
fn with_stricter_route(scene: Scene) -> Scene {
    scene.replace("tokens: jwt", "tokens: jwt\n    algorithms: [PS256, ES256]").append(
        "  - { name: cards, path: /accounts/1001, methods: [GET], scopes: [accounts], upstream: accounts, profile: fapi1-advanced }\n",
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn f1_rs_13_and_15_what_a_client_says_of_its_customer_is_judged_where_it_says_it() {
    let world = World::with(fapi1).await;
    for good in [
        &[(AUTH_DATE, "Tue, 11 Sep 2012 19:43:31 GMT")][..],
        &[],
        &[(ADDRESS, "198.51.100.7")],
        &[(ADDRESS, "2001:db8::1893:25c8:1946")],
    ] {
        assert_eq!(world.judge(with(&world, good)).await, (200, "ok".into()), "control: {good:?}");
        let seen = world.accounts.requests().pop().expect("it was forwarded");
        for (name, value) in good {
            assert_eq!(seen.header(name), Some(*value));
        }
    }
    for (bad, code) in [
        (&[(AUTH_DATE, "yesterday")][..], "auth_date_malformed"),
        (&[(AUTH_DATE, "Tue, 11 Sep 2012 19:43:31 GMT"); 2][..], "auth_date_malformed"),
        (&[(ADDRESS, "not-an-ip")][..], "customer_ip_address_malformed"),
        (&[(ADDRESS, "198.51.100.7"); 2][..], "customer_ip_address_malformed"),
    ] {
        let forwarded = world.accounts.server().heads();
        let response = world.client().send(with(&world, bad)).await.unwrap();
        let record = world.gateway.record_of(&response);
        assert_eq!((response.status().as_u16(), record["code"].as_str()), (400, Some(code)), "{bad:?}");
        assert!(response.headers().get("www-authenticate").is_none(), "{bad:?}");
        assert_eq!(record["client_id"], "client-1", "the audit says whose request it was");
        assert_eq!(world.accounts.server().heads(), forwarded);
    }
    // Who has no good token learns nothing of it.
    let mut request = request("/accounts", &world.sign(&world.token().audience("https://other.example")));
    request.headers_mut().append(AUTH_DATE, HeaderValue::from_static("yesterday"));
    assert_eq!(world.judge(request).await, (401, "token_audience_mismatch".into()));
    // FAPI 2.0 says nothing of these fields.
    let world = World::start().await;
    assert_eq!(
        world.judge(with(&world, &[(AUTH_DATE, "yesterday"), (ADDRESS, "not-an-ip")])).await,
        (200, "ok".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn f1_rs_10_to_12_every_answer_has_a_date_and_the_interaction_id_of_its_request() {
    let world = World::with(fapi1).await;
    let id = "2430304b-9b69-47eb-9b4d-b6adc96d867a";
    let mut refused = request("/accounts", "no.good.token");
    refused.headers_mut().append("x-fapi-interaction-id", HeaderValue::from_static(id));
    let permitted = with(&world, &[("x-fapi-interaction-id", id)]);
    for (request, status) in [(permitted, 200), (refused, 401), (world.request(), 200)] {
        let asked = request.headers().contains_key("x-fapi-interaction-id");
        let response = world.client().send(request).await.unwrap();
        assert_eq!(response.status().as_u16(), status);
        let dates: Vec<_> = response.headers().get_all("date").iter().collect();
        assert_eq!(dates.len(), 1, "{response:?}");
        httpdate::parse_http_date(dates[0].to_str().unwrap()).unwrap();
        let own = response.headers()["x-fapi-interaction-id"].to_str().unwrap();
        assert!(uuid::Uuid::try_parse(own).is_ok() && (own == id) == asked, "{own}");
        assert_eq!(world.gateway.record(own)["interaction_id"], own);
        if status == 401 {
            assert_eq!(response.headers()["content-type"], "application/json");
            assert!(std::str::from_utf8(response.body()).is_ok());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f1_rs_08_json_of_an_upstream_in_another_character_set_is_not_passed_on() {
    let answering = |media_type: &'static str| {
        let handler = move |_: Recorded| {
            let answer = Answer::status(StatusCode::OK).body("{}");
            answer.header(header::CONTENT_TYPE, HeaderValue::from_static(media_type))
        };
        HttpServer::start(None, None, Arc::new(handler)).expect("a server starts")
    };
    let profile = |scene: Scene, profile: &str| scene.replace("fapi2-security", profile);
    for (media_type, strict) in [
        ("application/json", 200), // control
        ("application/json; charset=utf-8", 200),
        ("text/csv; charset=iso-8859-1", 200),
        ("application/json; charset=iso-8859-1", 502),
    ] {
        let server = answering(media_type);
        let upstream = format!("http://{}", server.address());
        let routed = |scene: Scene| {
            let route = "{ name: bank, path: /bank, methods: [GET], scopes: [accounts], upstream: bank }";
            let more = format!("  bank: {{ servers: [\"{upstream}\"] }}\nroutes:\n  - {route}\n");
            scene.replace("routes:\n", &more)
        };
        for (name, status) in [("fapi2-security", 200), ("fapi1-advanced", strict)] {
            let world = World::with(|scene| profile(routed(scene), name)).await;
            let token = world.sign(&world.token());
            let code = if status == 200 { "ok" } else { "upstream_invalid" };
            assert_eq!(world.judge(request("/bank", &token)).await, (status, code.into()), "{name} {media_type}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn f1_adv_03_tls_1_2_has_no_suite_for_ecdsa_certificates_under_fapi_1() {
    let suites = [
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
        cipher_suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
        cipher_suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    ];
    let control = World::start().await;
    assert!(control.client().tls12_only(&suites).handshake().await.is_ok()); // control
    let world = World::with(fapi1).await;
    assert!(world.client().tls12_only(&suites).handshake().await.is_err());
    assert!(world.client().tls13_only().handshake().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn f1_adv_02_a_route_may_hold_a_stricter_profile_than_the_others() {
    let world = World::with(with_stricter_route).await;
    let token = world.sign(&world.token());
    assert_eq!(world.judge(request(CARDS, &token)).await, (200, "ok".into())); // control
    for path in ["/accounts", CARDS] {
        let mut request = request(path, &token);
        request.headers_mut().append(AUTH_DATE, HeaderValue::from_static("yesterday"));
        let expected = if path == CARDS { (400, "auth_date_malformed") } else { (200, "ok") };
        assert_eq!(world.judge(request).await, (expected.0, expected.1.into()), "{path}");
    }
    let holder = world.holder();
    for (path, status) in [("/accounts", 200), (CARDS, 401)] {
        let request = holder.request(path, &holder.proof(path, world.clock.now()));
        assert_eq!(world.judge(request).await.0, status, "{path}");
    }
}

/// An authorization server whose RSA key is for no algorithm in particular.
fn signing_with_rs256(authority: &Authority) -> AuthorizationServer {
    let issuer = AuthorizationServer::start(authority).expect("the authorization server starts");
    let mut keys = issuer.jwks();
    for key in keys["keys"].as_array_mut().unwrap() {
        if key["kty"] == "RSA" {
            key.as_object_mut().unwrap().remove("alg");
        }
    }
    issuer.script(AuthorizationServer::JWKS, Answer::json(StatusCode::OK, keys));
    issuer
}

fn rs256(world: &World, token: &AccessToken) -> String {
    remember(token.danger_sign_rs256(world.issuer.key(KeyKind::Ps256)))
}

/// A world whose issuer may sign with RS256 until this day.
async fn waiving(until: &str) -> World {
    let authority = Authority::new("Test CA");
    let issuer = signing_with_rs256(&authority);
    World::around(authority, issuer, |scene| {
        let waiver = format!("{{ rule: token.algorithms.rs256, issuer: bank, reason: a move, until: {until} }}");
        scene
            .replace("tokens: jwt", "tokens: jwt\n    algorithms: [PS256, ES256, EdDSA, RS256]")
            .append(&format!("waivers:\n  - {waiver}\n"))
    })
    .await
}

async fn judged(world: &World, token: &str) -> (String, Value) {
    let response = world.client().send(request("/accounts", token)).await.unwrap();
    let record = world.gateway.record_of(&response);
    (record["code"].as_str().unwrap().to_owned(), record)
}

#[tokio::test(flavor = "multi_thread")]
async fn fapi2_rs_09_rs256_passes_until_its_waiver_ends_cached_or_not() {
    let (until, end) = tomorrow();
    let world = waiving(&until).await;
    world.clock.advance(end - 100 - world.clock.now());
    let cached = rs256(&world, &world.token());
    for _ in 0..2 {
        assert_eq!(judged(&world, &cached).await.0, "ok");
    }
    let others = [
        (rs256(&world, &world.token().without("cnf")), "token_unbound"),
        (rs256(&world, &world.token().audience("https://other.example")), "token_audience_mismatch"),
        (rs256(&world, &world.token().claim("exp", end - 100)), "token_expired"),
        (rs256(&world, &world.token().scope("other")), "scope_insufficient"),
        (unsigned(&json!({ "typ": "at+jwt", "alg": "none" }), &world.token().claims()), "token_algorithm_refused"),
        (unsigned(&json!({ "typ": "at+jwt", "alg": "RS256" }), &world.token().claims()), "token_signature_invalid"),
        (rs256(&world, &world.token().header("alg", "RS512")), "token_algorithm_refused"),
    ];
    for (token, code) in others {
        assert_eq!(judged(&world, &token).await.0, code, "the waiver is about nothing else");
    }
    world.clock.advance(end - 1 - world.clock.now());
    assert_eq!(judged(&world, &cached).await.0, "ok", "control: one second before the end");
    world.clock.advance(1);
    for token in [cached, rs256(&world, &world.token())] {
        let (code, record) = judged(&world, &token).await;
        assert_eq!(code, "token_algorithm_refused");
        let detail = record["detail"].as_str().unwrap();
        assert!(
            detail.contains(&format!("the waiver of token.algorithms.rs256 for its issuer ended at {end}")),
            "{detail}"
        );
    }
    assert_eq!(world.judge(world.request()).await, (200, "ok".into()), "what needs no waiver");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiver_comes_and_goes_with_a_reload() {
    let (until, end) = tomorrow();
    let world = waiving(&until).await;
    let with = yaml(&world);
    let token = rs256(&world, &world.token());
    assert_eq!(judged(&world, &token).await.0, "ok");
    let labels = "{issuer=\"bank\",route=\"\",rule=\"token.algorithms.rs256\"}";
    let metric = format!("fapi_gateway_waiver_expiry_timestamp_seconds{labels} {end}\n");
    assert!(metrics(&world).await.contains(&metric));

    let without = with.split("waivers:").next().unwrap().replace(", RS256]", "]");
    reload(&world, &without, 1).await;
    assert_eq!(
        judged(&world, &token).await.0,
        "token_algorithm_refused",
        "the cache knows it, and the gateway does not"
    );
    assert!(!metrics(&world).await.contains("fapi_gateway_waiver_expiry_timestamp_seconds{"));
    reload(&world, &with, 2).await;
    assert_eq!(judged(&world, &token).await.0, "ok");
    assert!(metrics(&world).await.contains(&metric));

    // One that is over, or too long, is not taken.
    for (count, bad) in [(3, day(world.clock.now() - DAY)), (4, day(world.clock.now() + 400 * DAY))] {
        reload(&world, &with.replace(&until, &bad), count).await;
        assert!(metrics(&world).await.contains("fapi_gateway_config_last_reload_success 0"), "{bad}");
        assert_eq!(judged(&world, &token).await.0, "ok", "the old configuration is in force");
    }
    // One that ends while it is in force keeps no other change from coming into force.
    world.clock.advance(end - world.clock.now());
    reload(&world, &with.replace("header_bytes: 32KiB", "header_bytes: 16KiB"), 5).await;
    assert!(metrics(&world).await.contains("fapi_gateway_config_last_reload_success 1"));
    assert_eq!(judged(&world, &rs256(&world, &world.token())).await.0, "token_algorithm_refused");
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_a_route_are_waived_for_it_alone_and_until_the_waiver_ends() {
    let (until, end) = tomorrow();
    let world = World::with(|scene| {
        let waiver = format!("{{ rule: request.auth_date, route: cards, reason: a client, until: {until} }}");
        fapi1(scene)
            .append(
                "  - { name: cards, path: /accounts/1001, methods: [GET], scopes: [accounts], upstream: accounts }\n",
            )
            .append(&format!("waivers:\n  - {waiver}\n"))
    })
    .await;
    let token = |world: &World| world.sign(&world.token());
    let call = |world: &World, path: &str, name: &'static str| {
        let mut request = request(path, &token(world));
        request.headers_mut().append(name, HeaderValue::from_static("x"));
        request
    };
    assert_eq!(world.judge(call(&world, CARDS, AUTH_DATE)).await, (200, "ok".into())); // control
    assert_eq!(world.judge(call(&world, "/accounts", AUTH_DATE)).await, (400, "auth_date_malformed".into()));
    assert_eq!(world.judge(call(&world, CARDS, ADDRESS)).await, (400, "customer_ip_address_malformed".into()));
    world.clock.advance(end - 1 - world.clock.now());
    assert_eq!(world.judge(call(&world, CARDS, AUTH_DATE)).await, (200, "ok".into()));
    world.clock.advance(1);
    assert_eq!(world.judge(call(&world, CARDS, AUTH_DATE)).await, (400, "auth_date_malformed".into()));
}
