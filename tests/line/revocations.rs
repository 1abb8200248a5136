//! `POST /revocations`: a revoked token is refused, whoever validates it, and no other token is affected.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fapi::sha256;
use http::StatusCode;
use sandbox::authorization_server::AuthorizationServer;
use sandbox::https::Answer;
use sandbox::pki::Authority;
use sandbox::tokens::{AccessToken, KeyKind, SigningKey, ath};
use serde_json::{Value, json};

use crate::support::tools::tool;
use crate::support::{DEADLINE, Scene, World, http_client, remember, request};

const INTROSPECTION: &str = AuthorizationServer::INTROSPECTION;
const CAEP: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
const AUDIENCE: &str = "https://gateway.bank.example";

/// Adds the section `revocations` with these members, in flow style.
fn taking(scene: Scene, members: &str) -> Scene {
    scene.replace("\"127.0.0.1:0\" }", &format!("\"127.0.0.1:0\", revocations: {{ {members} }} }}"))
}

async fn world(members: &str) -> World {
    World::with(|scene| taking(scene, members)).await
}

/// A world that accepts security events of its issuer.
async fn listening(adjust: impl FnOnce(Scene) -> Scene) -> World {
    let events = format!("security_events: [{{ issuer: bank, audience: \"{AUDIENCE}\" }}]");
    World::with(|scene| adjust(taking(scene, &events))).await
}

async fn passes(world: &World, token: &str, what: &str) {
    assert_eq!(world.judge(request("/accounts", token)).await, (200, "ok".into()), "{what}");
}

async fn is_revoked(world: &World, token: &str, what: &str) {
    assert_eq!(world.judge(request("/accounts", token)).await, (401, "token_revoked".into()), "{what}");
}

/// Each way to identify a token.
const SUBJECTS: [&str; 6] = ["token_hash", "token_id", "jti", "sub", "client_id", "sid"];

/// Two tokens that share no identifier with each other, nor with those of another turn.
fn pair(world: &World, turn: &str) -> (AccessToken, AccessToken) {
    let named = |whose: &str| {
        let token = world.token().claim("sub", format!("customer {whose} {turn}"));
        token.claim("client_id", format!("client {whose} {turn}")).claim("sid", format!("session {whose} {turn}"))
    };
    (named("one"), named("other"))
}

fn revocation(subject: &str, token: &str, claims: &Value) -> Value {
    match subject {
        "token_hash" => json!({ "token_hash": ath(token) }),
        "token_id" => json!({ "token_id": token_id(token) }),
        claim => json!({ claim: claims[claim] }),
    }
}

fn token_id(token: &str) -> String {
    sha256(token.as_bytes())[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn int_16_a_jwt_is_refused_by_each_of_its_names_remembered_or_not() {
    let world = world("").await;
    for (remembered, subject) in [true, false].into_iter().flat_map(|r| SUBJECTS.map(|subject| (r, subject))) {
        let (one, other) = pair(&world, &format!("{subject} {remembered}"));
        let (claims, one, other) = (one.claims(), world.sign(&one), world.sign(&other));
        if remembered {
            passes(&world, &one, "control").await;
            passes(&world, &other, "control").await;
        }
        let mut body = revocation(subject, &one, &claims);
        body["issuer"] = json!(if remembered { "bank" } else { world.issuer.issuer() });
        world.gateway.revoke(&body).await;
        is_revoked(&world, &one, subject).await;
        is_revoked(&world, &one, subject).await;
        passes(&world, &other, subject).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn int_16_tokens_that_are_issued_later_are_good_but_for_their_session() {
    let world = world("").await;
    // Seconds after the revocation, by the issuer's clock, which may be 10 seconds ahead of the gateway's.
    const MAY_BE_BEFORE: [f64; 5] = [-0.5, 0.5, 9.9, 10.0, 10.9];
    let issue = || world.token().claim("sid", "session-1");
    for (subject, later_passes) in [("sub", true), ("client_id", true), ("sid", false)] {
        let before = world.sign(&issue().claim("sid", "another session"));
        let value = format!("{subject} of this turn");
        let named = |token: AccessToken| world.sign(&token.claim(subject, value.as_str()));
        let revoked_at = world.clock.now();
        let same_second = named(issue());
        let around = MAY_BE_BEFORE.map(|seconds| named(issue().claim("iat", revoked_at as f64 + seconds)));
        passes(&world, &before, "control").await;
        for token in &around[..4] {
            passes(&world, token, "control").await;
        }
        world.gateway.revoke(&json!({ subject: value })).await;
        is_revoked(&world, &same_second, subject).await;
        for token in &around[..4] {
            is_revoked(&world, token, subject).await;
        }
        passes(&world, &before, "another's").await;
        world.clock.advance(11);
        for token in &around {
            is_revoked(&world, token, subject).await;
        }
        let later = named(issue());
        match later_passes {
            true => passes(&world, &later, subject).await,
            false => is_revoked(&world, &later, subject).await,
        }
        is_revoked(&world, &same_second, subject).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn int_16_a_revoked_jwt_stays_so_until_it_ends_and_across_reloads() {
    let world = world("keep: 1m, max_entries: 2").await;
    let end = world.clock.now() + 7200;
    let long = world.token().expires_at(end);
    let (claims, long) = (long.claims(), world.sign(&long));
    world.gateway.revoke(&json!({ "jti": claims["jti"] })).await;
    is_revoked(&world, &long, "at once").await;
    world.attempt_reload(1).await;
    is_revoked(&world, &long, "after a reload").await;
    // Far beyond `keep`, with a table that has to make room: a revocation whose token was seen is kept until the token
    // expires.
    world.gateway.revoke(&json!({ "jti": "never seen" })).await;
    world.clock.advance(3600);
    world.gateway.revoke(&json!({ "jti": "another" })).await;
    is_revoked(&world, &long, "an hour later").await;
    assert!(world.gateway.admin("/metrics").await.1.contains("fapi_gateway_revocations_entries 2\n"));
    world.clock.advance(3600);
    assert!(world.gateway.admin("/metrics").await.1.contains("fapi_gateway_revocations_entries 0\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn int_16_a_full_table_is_said_and_nothing_is_forgotten_early() {
    let world = world("max_entries: 2, keep: 1m").await;
    let token = world.sign(&world.token());
    for jti in ["a", "b"] {
        world.gateway.revoke(&json!({ "jti": jti, "exp": world.clock.now() + 30 })).await;
    }
    let full = json!({ "sub": "customer-1" }).to_string();
    let (status, body) = world.gateway.post_revocation("application/json", full.clone()).await;
    assert_eq!((status, error_of(&body)), (503, "temporarily_unavailable".into()), "{body}");
    passes(&world, &token, "nothing was recorded").await;
    let metrics = world.gateway.admin("/metrics").await.1;
    for line in [
        "fapi_gateway_revocations_total{kind=\"jti\",outcome=\"recorded\"} 2\n",
        "fapi_gateway_revocations_total{kind=\"none\",outcome=\"full\"} 1\n",
        "fapi_gateway_revocations_entries 2\n",
    ] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
    world.clock.advance(30);
    assert_eq!(world.gateway.post_revocation("application/json", full).await.0, 204, "control");
    is_revoked(&world, &token, "there is room again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn int_16_the_issuer_is_asked_again_about_each_token_that_is_meant() {
    let world = World::with(|scene| taking(scene.introspected(""), "")).await;
    for subject in SUBJECTS {
        let (one, other) = pair(&world, subject);
        let (claims, one, other) = (one.claims(), world.opaque(&one), world.opaque(&other));
        world.issuer.clear();
        for token in [&one, &other, &one, &other] {
            passes(&world, token, "control").await;
        }
        assert_eq!(world.issuer.requests_to(INTROSPECTION), 2, "control: responses are cached");
        world.gateway.revoke(&revocation(subject, &one, &claims)).await;
        // The issuer's response is accepted if it was given after the revocation.
        passes(&world, &one, subject).await;
        assert_eq!(world.issuer.requests_to(INTROSPECTION), 3, "{subject}: asked again");
        passes(&world, &one, subject).await;
        passes(&world, &other, subject).await;
        assert_eq!(world.issuer.requests_to(INTROSPECTION), 3, "{subject}: once, and about no other token");
        world.issuer.revoke(&one);
        passes(&world, &one, "a response is valid for its cached time").await;
        world.gateway.revoke(&revocation(subject, &one, &claims)).await;
        assert_eq!(world.judge(request("/accounts", &one)).await, (401, "token_inactive".into()), "{subject}");
        passes(&world, &other, subject).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn int_16_an_answer_that_was_under_way_does_not_count() {
    for (gone, expected) in [(true, (401, "token_inactive")), (false, (200, "ok"))] {
        let world = World::with(|scene| taking(scene.introspected(""), "")).await;
        let token = world.opaque(&world.token());
        let mut active = world.token().claims();
        active["active"] = json!(true);
        let active = Answer::json(StatusCode::OK, active);
        let then = if gone { Answer::json(StatusCode::OK, json!({ "active": false })) } else { active.clone() };
        world.issuer.script(INTROSPECTION, [active.delayed(Duration::from_millis(300)), then]);
        let judged = async { world.judge(request("/accounts", &token)).await };
        let revoked = async {
            world.issuer.wait_for(INTROSPECTION, 1, DEADLINE).await.expect("the issuer is asked");
            world.gateway.revoke(&json!({ "sub": "customer-1" })).await;
            // A request that arrives now, while the first introspection is still in flight.
            world.judge(request("/accounts", &token)).await
        };
        let (judged, late) = tokio::join!(judged, revoked);
        assert_eq!((judged.0, judged.1.as_str()), expected);
        assert_eq!(late, judged);
        assert_eq!(world.issuer.requests_to(INTROSPECTION), 2, "asked once more");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn int_16_no_request_that_comes_after_the_answer_passes_however_many_are_under_way() {
    let world = Arc::new(world("").await);
    for _ in 0..20 {
        let token = world.token();
        let (claims, token) = (token.claims(), world.sign(&token));
        let revoked = Arc::new(AtomicBool::new(false));
        let hammering: Vec<_> = (0..4)
            .map(|_| {
                let (world, token, revoked) = (world.clone(), token.clone(), revoked.clone());
                tokio::spawn(async move {
                    let mut connection = world.client().h2().connect().await.unwrap();
                    loop {
                        let late = revoked.load(Ordering::SeqCst);
                        let status = connection.send(request("/accounts", &token)).await.unwrap().status();
                        if late {
                            return status;
                        }
                    }
                })
            })
            .collect();
        world.gateway.revoke(&json!({ "jti": claims["jti"] })).await;
        revoked.store(true, Ordering::SeqCst);
        for task in hammering {
            assert_eq!(task.await.unwrap(), 401);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_tk_16_another_spelling_of_the_signature_is_no_way_out() {
    let world = listening(|scene| scene).await;
    let es256 = |token: &AccessToken| remember(token.sign(world.issuer.key(KeyKind::Es256)));
    for (turn, subject) in ["jti", "token_hash", "token_id", "event"].into_iter().enumerate() {
        // What was seen before the revocation, and which of the two was revoked.
        for (seen, named) in [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)] {
            let token = world.token();
            let (claims, issued, other) = (token.claims(), es256(&token), es256(&world.token()));
            let both = [issued.clone(), remember(twin(&issued))];
            assert_ne!(both[0], both[1]);
            for token in &both[..seen] {
                passes(&world, token, "control").await;
            }
            let revoked = &both[named];
            if subject == "event" {
                assert_eq!(push(&world, &token_revoked(&world, revoked)).await, (202, String::new()));
            } else {
                world.gateway.revoke(&revocation(subject, revoked, &claims)).await;
            }
            for token in both.iter().chain(&both) {
                is_revoked(&world, token, &format!("{turn} {subject} {seen} {named}")).await;
            }
            passes(&world, &other, "another token").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_tk_16_an_event_with_the_token_revokes_by_its_jti_too() {
    let world = listening(|scene| scene).await;
    let (one, other) = (world.token(), world.token());
    let (told, again, other) = (world.sign(&one), world.sign(&one), world.sign(&other));
    assert_ne!(told, again, "PS256 has a random salt");
    assert_eq!(push(&world, &token_revoked(&world, &told)).await, (202, String::new()));
    is_revoked(&world, &told, "by its hash").await;
    is_revoked(&world, &again, "by its jti").await;
    passes(&world, &other, "another token").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_tk_16_the_issuer_is_asked_again_about_both_spellings_of_a_jwt() {
    for subject in ["token_hash", "token_id", "event"] {
        let world = listening(|scene| scene.introspected("")).await;
        let token = world.token().claim("jti", "one");
        let mut active = token.claims();
        // Then only the text of the token tells that the two are one.
        active.as_object_mut().unwrap().remove("jti");
        active["active"] = json!(true);
        let active = || Answer::json(StatusCode::OK, active.clone());
        let issued = remember(token.sign(world.issuer.key(KeyKind::Es256)));
        let twin = remember(twin(&issued));
        let gone = Answer::json(StatusCode::OK, json!({ "active": false }));
        world.issuer.script(INTROSPECTION, [active(), active(), gone]);
        for token in [&twin, &issued, &twin] {
            passes(&world, token, "control").await;
        }
        assert_eq!(world.issuer.requests_to(INTROSPECTION), 2, "control: responses are cached");
        if subject == "event" {
            assert_eq!(push(&world, &token_revoked(&world, &issued)).await, (202, String::new()));
        } else {
            world.gateway.revoke(&revocation(subject, &issued, &Value::Null)).await;
        }
        assert_eq!(world.judge(request("/accounts", &twin)).await, (401, "token_inactive".into()), "{subject}");
    }
}

/// An event that reports this token as revoked (OAuth Event Types §2.1).
fn token_revoked(world: &World, token: &str) -> (Value, Value) {
    let mut event = event(world);
    event.1["sub_id"] = json!({
        "format": "oauth_token", "token_type": "access_token", "token_identifier_alg": "plain", "token": token,
    });
    event.1["events"] = json!({ "https://schemas.openid.net/secevent/oauth/event-type/token-revoked": {} });
    event
}

/// The same token with the signature (r, n − s), which is valid too.
fn twin(token: &str) -> String {
    const ORDER: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let mut borrow = 0;
    for place in (0..32).rev() {
        let order = i32::from(u8::from_str_radix(&ORDER[2 * place..2 * place + 2], 16).unwrap());
        let difference = order - i32::from(bytes[32 + place]) - borrow;
        borrow = i32::from(difference < 0);
        bytes[32 + place] = u8::try_from(difference + 256 * borrow).unwrap();
    }
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(bytes))
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_whole_request_by_no_browser_is_taken() {
    let world = world("").await;
    let token = world.sign(&world.token());
    let good = json!({ "sub": "customer-1" }).to_string();
    let post = async |kind: &str, body: String| world.gateway.post_revocation(kind, body).await;
    let padded = |length: usize| format!("{{\"jti\":\"{}\"}}", "a".repeat(length - 10));
    for (kind, body, status, error) in [
        ("application/x-www-form-urlencoded", good.clone(), 415, "invalid_request"),
        ("text/plain", good.clone(), 415, "invalid_request"),
        ("application/jsonx", good.clone(), 415, "invalid_request"),
        ("application/json", "{}".into(), 400, "invalid_request"),
        ("application/json", "{\"sub\":\"customer-1\",\"sub\":\"b\"}".into(), 400, "invalid_request"),
        ("application/json", "{\"sub\":\"customer-1\",\"why\":\"b\"}".into(), 400, "invalid_request"),
        ("application/json", "{\"sub\":\"customer-1\",\"issuer\":\"else\"}".into(), 400, "invalid_request"),
        ("application/json", padded(64 * 1024 + 1), 413, "invalid_request"),
    ] {
        let (found, answer) = post(kind, body.clone()).await;
        assert_eq!((found, error_of(&answer).as_str()), (status, error), "{kind} {} bytes: {answer}", body.len());
    }
    let client = http_client();
    let url = format!("http://{}/revocations", world.gateway.admin_address());
    let request = client.post(&url).header("content-type", "application/json").header("origin", "http://evil.example");
    assert_eq!(request.body(good.clone()).send().await.unwrap().status(), 403);
    for method in [http::Method::GET, http::Method::OPTIONS, http::Method::PUT, http::Method::DELETE] {
        let answer = client.request(method, &url).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers()["allow"].to_str().unwrap()), (405, "POST"));
    }
    passes(&world, &token, "none of that has an effect").await;
    assert_eq!(post("application/json", padded(64 * 1024)).await.0, 204, "control of the size");
    assert_eq!(post("Application/JSON; charset=utf-8", good).await.0, 204, "control");
    is_revoked(&world, &token, "control").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_no_such_path_unless_the_configuration_says_so() {
    let world = World::start().await;
    let good = json!({ "sub": "customer-1" }).to_string();
    assert_eq!(world.gateway.post_revocation("application/json", good.clone()).await.0, 404);
    passes(&world, &world.sign(&world.token()), "control").await;
    // A reload is enough to open the endpoint, and to close it.
    let folder = world.gateway.folder();
    let text = std::fs::read_to_string(folder.path().join("gateway.yaml")).unwrap();
    let open = text.replace("\"127.0.0.1:0\" }", "\"127.0.0.1:0\", revocations: {} }");
    for (count, (text, status)) in [(open, 204), (text, 404)].into_iter().enumerate() {
        folder.write("gateway.yaml", &text);
        world.attempt_reload(count + 1).await;
        assert_eq!(world.gateway.post_revocation("application/json", good.clone()).await.0, status);
        is_revoked(&world, &world.sign(&world.token()), "a revoked token stays revoked").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tls_nothing_is_taken_from_an_address_that_others_reach() {
    // Only a reload leads to this state: it names a loopback address while the other one stays bound.
    let world = World::with(|scene| scene.replace("address: \"127.0.0.1:0\"", "address: \"0.0.0.0:0\"")).await;
    let folder = world.gateway.folder();
    let text = std::fs::read_to_string(folder.path().join("gateway.yaml")).unwrap();
    folder.write("gateway.yaml", &text.replace("\"0.0.0.0:0\"", "\"127.0.0.1:0\", revocations: {}"));
    world.attempt_reload(1).await;
    assert!(world.gateway.admin("/metrics").await.1.contains("reloads_total{outcome=\"success\"} 1"));
    let good = json!({ "sub": "customer-1" }).to_string();
    assert_eq!(world.gateway.post_revocation("application/json", good).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_tls_only_a_certificate_that_is_trusted_takes_tokens_back() {
    let operators = Authority::new("operators");
    // Readiness is checked below, over TLS.
    let world = World::with(|scene| taking(scene, "").admin_over_tls(&operators)).await;
    let url = |path: &str| format!("https://localhost:{}{path}", world.gateway.admin_address().port());
    let (nobody, operator) = (world.operator(None), world.operator(Some(&operators.client("operator"))));
    let ready = async { while nobody.get(url("/readyz")).send().await.unwrap().status() != 200 {} };
    tokio::time::timeout(DEADLINE, ready).await.expect("probes need no certificate");
    let token = world.sign(&world.token());
    let good = json!({ "sub": "customer-1" }).to_string();
    let post = |client: &reqwest::Client| {
        client.post(url("/revocations")).header("content-type", "application/json").body(good.clone()).send()
    };
    let refused = post(&nobody).await.unwrap();
    assert_eq!(refused.status(), 403);
    assert_eq!(error_of(&refused.text().await.unwrap()), "authentication_failed");
    let event = nobody.post(url("/revocations")).header("content-type", "application/secevent+jwt").body("a.b.c");
    let refused = event.send().await.unwrap();
    assert_eq!(refused.status(), 400);
    assert_eq!(err_of(&refused.text().await.unwrap()), "authentication_failed");
    assert!(post(&world.operator(Some(&world.c1))).await.is_err(), "a certificate of another authority");
    let plain = http_client();
    assert!(plain.get(format!("http://{}/metrics", world.gateway.admin_address())).send().await.is_err());
    passes(&world, &token, "none of that has an effect").await;

    assert_eq!(post(&operator).await.unwrap().status(), 204, "control");
    is_revoked(&world, &token, "control").await;
    // The connection is still open when its certificate is no longer trusted.
    world.gateway.folder().write("operators.pem", &Authority::new("operators").pem());
    world.attempt_reload(1).await;
    assert_eq!(post(&operator).await.unwrap().status(), 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_tells_of_each_revocation_and_names_nobody() {
    let authority = Authority::new("Test CA");
    let issuer = AuthorizationServer::start(&authority).unwrap();
    let scene = taking(Scene::new(&authority, issuer.issuer(), "127.0.0.1:9".parse().unwrap()), "");
    let folder = scene.append("audit: { destination: audit.jsonl }\n").into_folder();
    let mut child = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"))
        .arg("run")
        .current_dir(folder.path())
        .env_remove("RUST_LOG")
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut wait_for = |text: &str| loop {
        let line = lines.next().expect("the program still runs").expect("text");
        if line.contains(text) {
            break line;
        }
    };
    let admin = wait_for("admin listening").rsplit_once("address=").unwrap().1.trim().to_owned();
    let client = http_client();
    let post = async |body: &str| {
        let request = client.post(format!("http://{admin}/revocations")).header("content-type", "application/json");
        request.body(body.to_owned()).send().await.unwrap().status().as_u16()
    };
    let statuses = [post(r#"{"issuer":"bank","sub":"customer-1"}"#).await, post(r#"{"subject":"customer-2"}"#).await];
    let (good, bad) = (wait_for("tokens were revoked"), wait_for("a revocation was not recorded"));
    let pid = child.id().to_string();
    assert!(tool("kill").args(["-TERM", &pid]).status().unwrap().success());
    assert_eq!(statuses, [204, 400]);
    for part in ["kind=\"sub\"", &format!("subject={}", token_id("customer-1")), "peer=\"127.0.0.1:", issuer.issuer()] {
        assert!(good.contains(part), "no {part} in {good}");
    }
    assert!(bad.contains("peer=\"127.0.0.1:") && bad.contains("status=400"), "{bad}");
    assert!(!good.contains("customer") && !bad.contains("customer"), "{good}{bad}");
    assert_eq!(tokio::task::spawn_blocking(move || child.wait()).await.unwrap().unwrap().code(), Some(0));
}

/// A valid event that revokes all of `customer-1`, before it is changed.
fn event(world: &World) -> (Value, Value) {
    let header = json!({ "typ": "secevent+jwt", "alg": "PS256", "kid": world.issuer.key(KeyKind::Ps256).kid() });
    let claims = json!({
        "iss": world.issuer.issuer(),
        "aud": AUDIENCE,
        "iat": world.clock.now(),
        "jti": "event-1",
        "sub_id": { "format": "iss_sub", "iss": world.issuer.issuer(), "sub": "customer-1" },
        "events": { CAEP: {} },
    });
    (header, claims)
}

async fn push(world: &World, event: &(Value, Value)) -> (u16, String) {
    let event = world.issuer.key(KeyKind::Ps256).sign(&event.0, &event.1);
    world.gateway.post_revocation("application/secevent+jwt", event).await
}

#[tokio::test(flavor = "multi_thread")]
async fn int_16_a_security_event_takes_tokens_back() {
    let world = listening(|scene| scene).await;
    let token = world.sign(&world.token());
    let other = world.sign(&world.token().claim("sub", "customer-2"));
    passes(&world, &token, "control").await;
    // Events about other things, or about another session.
    let mut strange = event(&world);
    strange.1["events"] =
        json!({ "https://schemas.openid.net/secevent/ssf/event-type/verification": { "state": "x" } });
    assert_eq!(push(&world, &strange).await, (202, String::new()));
    let mut strange = event(&world);
    strange.1["sub_id"] = json!({ "format": "opaque", "id": "session-2" });
    assert_eq!(push(&world, &strange).await, (202, String::new()));
    passes(&world, &token, "none of these events concerns it").await;

    assert_eq!(push(&world, &event(&world)).await, (202, String::new()));
    is_revoked(&world, &token, "session-revoked").await;
    passes(&world, &other, "another's").await;
    let metrics = world.gateway.admin("/metrics").await.1;
    for line in ["{kind=\"sub\",outcome=\"recorded\"} 1\n", "{kind=\"none\",outcome=\"ignored\"} 1\n"] {
        assert!(metrics.contains(line), "{line}{metrics}");
    }
    // A token issued after the event is valid, however late and however often the event is pushed.
    let mut late = event(&world);
    late.1["events"][CAEP]["event_timestamp"] = json!(world.clock.now());
    world.clock.advance(5);
    let later = world.sign(&world.token());
    assert_eq!(push(&world, &late).await.0, 202);
    passes(&world, &later, "issued after the event").await;
    is_revoked(&world, &token, "issued before").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fapi2_rs_05_an_event_covers_what_the_issuer_issued_before_it_whatever_its_clock() {
    let world = listening(|scene| scene).await;
    // The issuer's clock is ahead; event and tokens are by the same one.
    for (turn, event_at, revoked, good) in
        [(0, 8.0, [7.0, 8.0, 8.9], 9.0), (1, 0.5, [0.0, 0.4, 0.9], 2.0), (2, 9e12, [0.0, 9.0, 10.0], 11.0)]
    {
        let now = world.clock.now() as f64;
        let sub = format!("customer {turn}");
        let issued = |after: f64| world.sign(&world.token().claim("sub", sub.as_str()).claim("iat", now + after));
        let (revoked, good) = (revoked.map(issued), issued(good));
        for token in &revoked {
            passes(&world, token, "control").await;
        }
        let mut event = event(&world);
        event.1["sub_id"]["sub"] = json!(sub);
        event.1["events"][CAEP]["event_timestamp"] = json!(now + event_at);
        assert_eq!(push(&world, &event).await.0, 202);
        for token in &revoked {
            is_revoked(&world, token, "issued before").await;
        }
        world.clock.advance(1);
        passes(&world, &good, "issued after").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fapi2_rs_05_an_introspected_token_without_iat_is_asked_about_again() {
    let world = World::with(|scene| taking(scene.introspected(""), "")).await;
    let (one, other) = pair(&world, "without iat");
    let (claims, one) = (one.claims(), world.opaque(&one.without("iat")));
    let other = world.opaque(&other.without("iat"));
    for (count, subject) in ["sub", "client_id"].into_iter().enumerate() {
        passes(&world, &one, "control").await;
        passes(&world, &other, "control").await;
        assert_eq!(world.issuer.requests_to(INTROSPECTION), 2 + count, "control: responses are cached");
        world.gateway.revoke(&revocation(subject, &one, &claims)).await;
        passes(&world, &one, subject).await;
        passes(&world, &other, subject).await;
        assert_eq!(world.issuer.requests_to(INTROSPECTION), 3 + count, "{subject}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn int_16_a_session_is_revoked_with_the_tokens_that_do_not_name_theirs() {
    let world = listening(|scene| scene).await;
    let named = |sid: &str| world.sign(&world.token().claim("sid", sid));
    let (this, that, none) = (named("session-1"), named("session-2"), world.sign(&world.token()));
    let mut session = event(&world);
    session.1["sub_id"] = json!({
        "format": "complex",
        "user": { "format": "iss_sub", "iss": world.issuer.issuer(), "sub": "customer-1" },
        "session": { "format": "opaque", "id": "session-1" },
    });
    for token in [&this, &that, &none] {
        passes(&world, token, "control").await;
    }
    assert_eq!(push(&world, &session).await.0, 202);
    is_revoked(&world, &this, "of the session").await;
    passes(&world, &that, "of another session").await;
    is_revoked(&world, &none, "of a session that it does not name").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn int_16_events_of_an_introspecting_issuer_are_verified_with_its_keys() {
    let world = listening(|scene| scene.introspected("")).await;
    let token = world.opaque(&world.token());
    passes(&world, &token, "control").await;
    world.issuer.revoke(&token);
    passes(&world, &token, "control: it is not asked again").await;
    assert_eq!(push(&world, &event(&world)).await.0, 202);
    assert_eq!(world.judge(request("/accounts", &token)).await, (401, "token_inactive".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn int_16_an_event_with_a_fault_is_refused_by_its_name() {
    let world = listening(|scene| scene).await;
    let token = world.sign(&world.token());
    let now = world.clock.now();
    let with = |place: &str, value: Value| {
        let mut event = event(&world);
        match place.split_once('.') {
            Some(("header", name)) => event.0[name] = value,
            _ => event.1[place] = value,
        }
        event
    };
    let payload = |payload: Value| with("events", json!({ CAEP: payload }));
    let without = |claim: &str| {
        let mut event = event(&world);
        event.1.as_object_mut().unwrap().remove(claim);
        event
    };
    for (what, event, error) in [
        ("typ of a token", with("header.typ", json!("at+jwt")), "invalid_request"),
        ("typ of another statement", with("header.typ", json!("token-introspection+jwt")), "invalid_request"),
        ("crit", with("header.crit", json!(["exp"])), "invalid_request"),
        ("alg", with("header.alg", json!("RS256")), "invalid_key"),
        ("none", with("header.alg", json!("none")), "invalid_key"),
        ("kid", with("header.kid", json!("nobody")), "invalid_key"),
        ("iss", with("iss", json!("https://other.example")), "invalid_issuer"),
        ("no iss", without("iss"), "invalid_issuer"),
        ("aud", with("aud", json!("https://other.example")), "invalid_audience"),
        ("the resource as aud", with("aud", json!(AuthorizationServer::AUDIENCE)), "invalid_audience"),
        ("no aud", without("aud"), "invalid_audience"),
        ("iat ahead", with("iat", json!(now + 11)), "invalid_request"),
        ("no iat", without("iat"), "invalid_request"),
        ("no jti", without("jti"), "invalid_request"),
        ("jti", with("jti", json!(7)), "invalid_request"),
        ("exp", with("exp", json!(now)), "invalid_request"),
        ("no events", without("events"), "invalid_request"),
        ("empty events", with("events", json!({})), "invalid_request"),
        ("events", with("events", json!([CAEP])), "invalid_request"),
        ("an event", payload(json!("now")), "invalid_request"),
        ("toe", with("toe", json!("now")), "invalid_request"),
        ("event_timestamp", payload(json!({ "event_timestamp": "now" })), "invalid_request"),
        ("no subject", without("sub_id"), "invalid_request"),
        ("subject", with("sub_id", json!("customer-1")), "invalid_request"),
        ("email", with("sub_id", json!({ "format": "email", "email": "a@b.example" })), "invalid_request"),
        (
            "another's subject",
            with("sub_id", json!({ "format": "iss_sub", "iss": "https://other.example", "sub": "customer-1" })),
            "invalid_request",
        ),
    ] {
        let (status, body) = push(&world, &event).await;
        assert_eq!((status, err_of(&body).as_str()), (400, error), "{what}: {body}");
    }
    let (header, claims) = event(&world);
    let forged = SigningKey::generate(KeyKind::Ps256, header["kid"].as_str().unwrap()).sign(&header, &claims);
    for (what, body, error) in [
        ("another key", forged, "invalid_key"),
        ("no JWT", "event".to_owned(), "invalid_request"),
        ("encrypted", "a.b.c.d.e".to_owned(), "invalid_request"),
        ("an access token", token.clone(), "invalid_request"),
    ] {
        let (status, body) = world.gateway.post_revocation("application/secevent+jwt", body).await;
        assert_eq!((status, err_of(&body).as_str()), (400, error), "{what}: {body}");
    }
    passes(&world, &token, "none of that has an effect").await;
    let mut good = with("aud", json!(["https://other.example", AUDIENCE]));
    good.1["exp"] = json!(now + 1);
    good.1["iat"] = json!(now + 10);
    assert_eq!(push(&world, &good).await.0, 202, "control");
    is_revoked(&world, &token, "control").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn int_16_an_event_is_not_refused_for_good_while_its_key_cannot_be_read() {
    let mut world = listening(|scene| scene).await;
    let former = world.issuer.rotate(KeyKind::Ps256);
    let jwks = AuthorizationServer::JWKS;
    world.issuer.script(jwks, Answer::status(StatusCode::BAD_GATEWAY));
    let (status, body) = push(&world, &event(&world)).await;
    assert_eq!((status, err_of(&body).as_str()), (503, "temporarily_unavailable"));
    // Under a known kid it is a forgery, whether the keys can be read or not.
    let (mut header, claims) = event(&world);
    let known = former.kid();
    header["kid"] = json!(known);
    let forged = SigningKey::generate(KeyKind::Ps256, known).sign(&header, &claims);
    let forged = world.gateway.post_revocation("application/secevent+jwt", forged).await;
    assert_eq!((forged.0, err_of(&forged.1).as_str()), (400, "invalid_key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn int_16_the_first_event_of_a_new_key_is_taken() {
    let mut world = listening(|scene| scene).await;
    let token = world.sign(&world.token());
    passes(&world, &token, "control").await;
    let old = world.issuer.rotate(KeyKind::Ps256);
    assert_ne!(old.thumbprint(), world.issuer.key(KeyKind::Ps256).thumbprint());
    assert_eq!(push(&world, &event(&world)).await, (202, String::new()));
    // The old key was dropped when the key set was read; a token signed with the new one shows the revocation.
    let again = world.sign(&world.token());
    is_revoked(&world, &again, "issued in the same second").await;
    let (header, claims) = event(&world);
    let late = world.gateway.post_revocation("application/secevent+jwt", old.sign(&header, &claims)).await;
    assert_eq!((late.0, err_of(&late.1).as_str()), (400, "invalid_key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn int_16_an_event_that_cannot_be_verified_yet_is_to_be_sent_again() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let world = listening(|scene| {
        let nowhere = format!("tokens: jwt\n    jwks_uri: https://localhost:{port}/jwks");
        scene.replace("tokens: jwt", &nowhere).never_ready()
    })
    .await;
    let (status, body) = push(&world, &event(&world)).await;
    assert_eq!((status, err_of(&body).as_str()), (503, "temporarily_unavailable"));
    let metrics = world.gateway.admin("/metrics").await.1;
    assert!(metrics.contains("fapi_gateway_revocations_total{kind=\"none\",outcome=\"unavailable\"} 1\n"), "{metrics}");
    // A revocation that needs no key takes effect at once.
    world.gateway.revoke(&json!({ "jti": "control" })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn int_16_events_are_taken_from_no_issuer_that_is_not_named() {
    let world = world("").await;
    let (status, body) = push(&world, &event(&world)).await;
    assert_eq!((status, err_of(&body).as_str()), (400, "invalid_issuer"));
    world.gateway.revoke(&json!({ "jti": "control" })).await;
}

fn error_of(body: &str) -> String {
    member(body, "error")
}

/// RFC 8935 §2.3.
fn err_of(body: &str) -> String {
    assert!(!member(body, "description").is_empty());
    member(body, "err")
}

fn member(body: &str, name: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error} in {body:?}"));
    body[name].as_str().unwrap_or_default().to_owned()
}
