//! What is cached of a response: facts about one complete token of one issuer, for a time that starts with the request.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::Request;
use sandbox::authorization_server::{AuthorizationServer, ResourceServer};
use sandbox::https::Answer;
use sandbox::pki::Authority;
use sandbox::tokens::{KeyKind, Proof, SigningKey};
use serde_json::json;
use tokio::task::JoinSet;

use super::{
    INTROSPECTION, asked, counted, good, instant, judge, judge_answer, judge_new, judge_text, ok, plain, refused,
    token_of, unavailable,
};
use crate::support::{DEADLINE, ORIGIN, Scene, World, dpop_request, remember, request};

async fn world(more: &str) -> World {
    World::with(|scene| scene.introspected(more)).await
}

/// A world where the payments route introspects every time.
async fn strict_world(more: &str) -> World {
    let strict = |scene: Scene| {
        let payments = "scopes: { any: [payments, accounts] }\n";
        scene.introspected(more).replace(payments, &format!("{payments}    introspection_max_age: 0s\n"))
    };
    World::with(strict).await
}

fn payment(token: &str) -> Request<Bytes> {
    let mut payment = request("/payments", token);
    *payment.method_mut() = http::Method::POST;
    payment
}

/// Sends requests with `token` until the verdict is this one; returns how many were sent, and when the last one with
/// another verdict began.
async fn until(world: &World, token: &str, verdict: (u16, String)) -> (usize, Option<Instant>) {
    let asking = async {
        let (mut requests, mut last) = (0, None);
        loop {
            let begun = instant();
            requests += 1;
            if judge(world, token).await == verdict {
                return (requests, last);
            }
            last = Some(begun);
        }
    };
    tokio::time::timeout(DEADLINE, asking).await.expect("the verdict changes in time")
}

#[tokio::test(flavor = "multi_thread")]
async fn int_07_atk_ca_04_an_answer_never_outlives_exp() {
    let world = world("").await;
    let now = world.clock.now();
    let short = world.opaque(&world.token().expires_at(now + 3));
    let long = world.opaque(&world.token());
    for token in [&short, &long] {
        assert_eq!(judge(&world, token).await, ok());
    }
    world.clock.advance(2);
    assert_eq!(judge(&world, &short).await, ok(), "control");
    world.clock.advance(1);
    assert_eq!(judge(&world, &short).await, refused("token_expired"));
    assert_eq!(judge(&world, &long).await, ok(), "control");
    assert_eq!(asked(&world).len(), 2, "no request is sent about a cached token");
}

#[tokio::test(flavor = "multi_thread")]
async fn int_08_atk_ca_04_a_revoked_token_is_refused_within_max_age() {
    const MAX_AGE: Duration = Duration::from_millis(300);
    let world = world(", cache: { max_age: 300ms }").await;
    let token = world.opaque(&world.token());
    assert_eq!(judge(&world, &token).await, ok());
    let answered = instant();
    world.issuer.revoke(&token);
    // However often the token is used: using it does not extend its time in the cache.
    let (_, last) = until(&world, &token, refused("token_inactive")).await;
    assert!(last.is_none_or(|last| last <= answered + MAX_AGE), "{:?}", last.map(|last| last - answered));
    assert_eq!(asked(&world).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn int_08_control_within_max_age_it_still_counts() {
    let world = world("").await;
    let token = world.opaque(&world.token());
    assert_eq!(judge(&world, &token).await, ok());
    world.issuer.revoke(&token);
    assert_eq!(judge(&world, &token).await, ok());
    assert_eq!(asked(&world).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn int_08_a_slow_answer_is_as_old_as_its_question() {
    const MAX_AGE: Duration = Duration::from_millis(250);
    let world = world(", cache: { max_age: 250ms }").await;
    let slow = plain(good(&world).to_string()).delayed(MAX_AGE * 2);
    let token = world.opaque(&world.token());
    world.issuer.script(INTROSPECTION, [slow, Answer::json(http::StatusCode::OK, json!({ "active": false }))]);
    assert_eq!(judge(&world, &token).await, ok(), "the response was requested for this request");
    assert_eq!(judge(&world, &token).await, refused("token_inactive"), "the response was too old on arrival");
}

#[tokio::test(flavor = "multi_thread")]
async fn int_08_a_route_of_no_age_asks_every_time_and_refuses_at_the_next_request() {
    let world = strict_world("").await;
    let token = world.opaque(&world.token());
    for _ in 0..3 {
        assert_eq!(judge(&world, &token).await, ok());
    }
    assert_eq!(asked(&world).len(), 1, "control: the other route caches");
    for number in 2..5 {
        assert_eq!(world.judge(payment(&token)).await, (201, "ok".into()));
        assert_eq!(asked(&world).len(), number);
    }
    world.issuer.script(INTROSPECTION, Answer::resetting());
    assert_eq!(world.judge(payment(&token)).await, unavailable(), "what another route caches does not help");
    assert_eq!(judge(&world, &token).await, ok(), "control");
    world.issuer.unscript(INTROSPECTION);
    world.issuer.revoke(&token);
    assert_eq!(judge(&world, &token).await, ok(), "control: cached");
    assert_eq!(world.judge(payment(&token)).await, refused("token_inactive"));
    assert_eq!(judge(&world, &token).await, refused("token_inactive"), "what one route learns applies to all");
}

#[tokio::test(flavor = "multi_thread")]
async fn int_08_with_no_age_nobody_shares_a_question() {
    let world = strict_world(", timeout: 5s").await;
    let token = world.opaque(&world.token());
    world.issuer.script(INTROSPECTION, plain(good(&world).to_string()).delayed(Duration::from_millis(200)));
    let all = async |request: &dyn Fn() -> Request<Bytes>, status: u16| {
        let open = world.client().h2().connect().await.unwrap();
        let mut requests = JoinSet::new();
        for _ in 0..10 {
            let (mut stream, request) = (open.another().expect("HTTP/2"), request());
            requests.spawn(async move { stream.send(request).await.unwrap().status().as_u16() });
        }
        assert_eq!(requests.join_all().await, [status; 10]);
        asked(&world).len()
    };
    assert_eq!(all(&|| payment(&token), 201).await, 10);
    let shared = world.opaque(&world.token());
    assert_eq!(
        all(&|| request("/accounts", &shared), 200).await,
        11,
        "control: on the other route they share a response"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn int_08_a_memory_of_no_age_remembers_nothing() {
    let world = world(", cache: { max_age: 0s, inactive_max_age: 0s }").await;
    let token = world.opaque(&world.token());
    assert_eq!(judge(&world, &token).await, ok());
    world.issuer.revoke(&token);
    assert_eq!(judge(&world, &token).await, refused("token_inactive"));
    world.issuer.know(&token, &world.token());
    assert_eq!(judge(&world, &token).await, ok());
    assert_eq!(asked(&world).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn int_22_the_age_of_an_answer_does_not_go_by_the_wall_clock() {
    let world = world(", cache: { max_age: 300ms }").await;
    let token = world.opaque(&world.token().without("iat"));
    assert_eq!(judge(&world, &token).await, ok());
    let answered = instant();
    world.issuer.revoke(&token);
    world.clock.set_back(60);
    let (_, last) = until(&world, &token, refused("token_inactive")).await;
    assert!(last.is_none_or(|last| last <= answered + Duration::from_millis(300)));
    // `exp` does follow the wall clock, whether the token is cached or not.
    let token = world.opaque(&world.token().expires_at(world.clock.now() + 100));
    assert_eq!(judge(&world, &token).await, ok(), "control");
    world.clock.advance(100);
    assert_eq!(judge(&world, &token).await, refused("token_expired"));
}

#[tokio::test(flavor = "multi_thread")]
async fn int_09_atk_ca_01_what_is_remembered_are_claims_and_each_route_judges_them() {
    let transfers =
        "  - { name: transfers, path: /transfers, methods: [GET], scopes: [transfers], upstream: accounts }\n";
    let world = World::with(|scene| scene.introspected("").append(transfers)).await;
    let (narrow, wide) = (world.opaque(&world.token()), world.opaque(&world.token().scope("transfers accounts")));
    for _ in 0..2 {
        for (path, token, verdict) in [
            ("/accounts", &narrow, "ok"),
            ("/transfers", &narrow, "scope_insufficient"),
            ("/accounts", &wide, "ok"),
            ("/transfers", &wide, "ok"),
        ] {
            assert_eq!(world.judge(request(path, token)).await.1, verdict, "{path}");
        }
    }
    assert_eq!(asked(&world).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn int_12_atk_ca_10_binding_is_proved_on_every_request_also_on_one_connection() {
    let world = world("").await;
    let token = world.opaque(&world.token());
    let others = world.opaque(&world.issuer.token(world.clock.now()).bound_to_certificate(&world.c2));
    let mut connection = world.client().connect().await.unwrap();
    let key = SigningKey::generate(KeyKind::Es256, "proof");
    let bound = world.opaque(&world.issuer.token(world.clock.now()).bound_to_key(key.thumbprint()));
    let proof = Proof::new("GET", &format!("{ORIGIN}/accounts"), world.clock.now()).for_token(&bound).sign(&key);
    let proved = || dpop_request("/accounts", &bound, &proof);
    let mut bare = proved();
    bare.headers_mut().remove("dpop");
    for (what, request, code) in [
        ("first use", request("/accounts", &token), "ok"),
        ("again", request("/accounts", &token), "ok"),
        ("another client's token", request("/accounts", &others), "certificate_mismatch"),
        ("again", request("/accounts", &token), "ok"),
        ("with a proof", proved(), "ok"),
        ("with a proof that was used", proved(), "dpop_replayed"),
        ("without a proof", bare, "dpop_missing"),
        ("as a bearer", request("/accounts", &bound), "dpop_token_as_bearer"),
    ] {
        let response = connection.send(request).await.unwrap();
        assert_eq!(world.gateway.record_of(&response)["code"], code, "{what}");
    }
    assert_eq!(asked(&world).len(), 3);
    let other = world.anonymous().certificate(&world.c2);
    assert_eq!(world.judge_from(&other, request("/accounts", &token)).await, refused("certificate_mismatch"));
    assert_eq!(world.judge_from(&other, request("/accounts", &others)).await, ok(), "control");
    assert_eq!(asked(&world).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn int_10_atk_ca_02_the_same_token_at_two_issuers_has_two_answers() {
    let authority = Authority::new("other issuer");
    let other = AuthorizationServer::start(&authority).unwrap();
    let key = SigningKey::generate(KeyKind::Es256, "gateway");
    let world = World::with(|scene| two_issuers(scene, &other, &authority, &key)).await;
    other.register("gateway", ResourceServer::Key(key));
    let (both, here, there) = ("opaque-at-both", "opaque-at-bank", "opaque-at-other");
    let elsewhere = other.token(world.clock.now()).bound_to_certificate(&world.c1).claim("sub", "customer-2");
    for token in [both, here] {
        world.issuer.know(token, &world.token());
    }
    for token in [both, there] {
        other.know(token, &elsewhere);
    }
    for _ in 0..2 {
        for (path, token, code, subject) in [
            ("/accounts", both, "ok", "customer-1"),
            ("/other", both, "ok", "customer-2"),
            ("/accounts", here, "ok", "customer-1"),
            ("/other", here, "token_inactive", ""),
            ("/accounts", there, "token_inactive", ""),
            ("/other", there, "ok", "customer-2"),
        ] {
            let response = world.client().send(request(path, token)).await.unwrap();
            let record = world.gateway.record_of(&response);
            let found = (record["code"].as_str().unwrap(), record["subject"].as_str().unwrap_or_default());
            assert_eq!(found, (code, subject), "{path} {token}");
        }
    }
    assert_eq!((asked(&world).len(), other.requests_to(INTROSPECTION)), (3, 3));
}

/// Adds another issuer with introspection, whose tokens are accepted below `/other`.
fn two_issuers(scene: Scene, other: &AuthorizationServer, authority: &Authority, key: &SigningKey) -> Scene {
    let issuer = format!(
        r#"  - name: other
    issuer: {}
    audiences: ["{}"]
    trust_anchors: [other.pem]
    tokens: introspection
    introspection: {{ client_id: gateway, authentication: {{ method: private_key_jwt, private_key: other-key.pem }} }}
limits:
"#,
        other.issuer(),
        AuthorizationServer::AUDIENCE
    );
    scene
        .introspected("")
        .file("other.pem", &authority.pem())
        .file("other-key.pem", &key.private_key_pem())
        .replace("limits:\n", &issuer)
        .replace("    scopes:", "    issuers: [bank]\n    scopes:")
        .append("  - { name: other, path: /other, methods: [GET], scopes: [accounts], issuers: [other], upstream: accounts }\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn int_11_atk_ca_03_atk_ca_08_an_answer_is_about_every_byte_of_one_token() {
    let world = world("").await;
    let start = "x".repeat(64);
    let known = remember(format!("{start}-known"));
    world.issuer.know(&known, &world.token().claim("jti", "one"));
    let other = remember(format!("{start}-other"));
    world.issuer.know(&other, &world.token().claim("jti", "one").claim("sub", "customer-2"));
    for (token, subject) in [(&known, "customer-1"), (&other, "customer-2"), (&known, "customer-1")] {
        let response = world.client().send(request("/accounts", token)).await.unwrap();
        assert_eq!(world.gateway.record_of(&response)["subject"], subject);
    }
    for odd in [
        format!("{start}-"),
        format!("{known}x"),
        format!("{known}="),
        known.to_uppercase(),
        known[..known.len() - 1].into(),
    ] {
        assert_eq!(judge(&world, &remember(odd)).await, refused("token_inactive"));
    }
    let jwt = world.sign(&world.token());
    world.issuer.know(&jwt, &world.token());
    assert_eq!(judge(&world, &jwt).await, ok(), "control");
    let end = if jwt.ends_with('A') { "B" } else { "A" };
    let changed = remember(format!("{}{end}", &jwt[..jwt.len() - 1]));
    let verdict = judge(&world, &changed).await;
    assert!(verdict == refused("token_inactive") || verdict == refused("token_malformed"), "{verdict:?}");
    let unsigned = remember(format!("{}.", jwt.rsplit_once('.').unwrap().0));
    assert_eq!(judge(&world, &unsigned).await, refused("token_inactive"));
}

#[tokio::test(flavor = "multi_thread")]
async fn int_15_atk_ca_05_a_token_that_becomes_active_works_soon_after() {
    let world = world(", cache: { inactive_max_age: 300ms }").await;
    let token = remember("opaque-not-yet".into());
    assert_eq!(judge(&world, &token).await, refused("token_inactive"));
    let answered = instant();
    world.issuer.know(&token, &world.token());
    let (_, last) = until(&world, &token, ok()).await;
    // The cached time starts when the response was stored, shortly before the client received its own.
    assert!(last.is_none_or(|last| last <= answered + Duration::from_millis(300)));
    assert_eq!(asked(&world).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn int_15_a_route_that_asks_every_time_asks_about_inactive_tokens_too() {
    let world = strict_world("").await;
    let token = remember("opaque-not-yet".into());
    assert_eq!(world.judge(payment(&token)).await, refused("token_inactive"));
    assert_eq!(world.judge(payment(&token)).await, refused("token_inactive"));
    assert_eq!(asked(&world).len(), 2);
    world.issuer.know(&token, &world.token());
    assert_eq!(judge(&world, &token).await, refused("token_inactive"), "control: the other route remembers");
    assert_eq!(asked(&world).len(), 2);
    assert_eq!(world.judge(payment(&token)).await.1, "ok");
    assert_eq!(asked(&world).len(), 3);
    assert_eq!(judge(&world, &token).await, ok(), "the later answer counts for the other route as well");
    assert_eq!(asked(&world).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn int_15_control_until_then_nobody_asks_again() {
    let world = world("").await;
    let token = remember("opaque-not-yet".into());
    for _ in 0..10 {
        assert_eq!(judge(&world, &token).await, refused("token_inactive"));
    }
    assert_eq!(asked(&world).len(), 1);
    // A token that is refused because of its claims is cached in the same way, and only for itself.
    let other = world.opaque(&world.token().audience("https://other.example"));
    for _ in 0..3 {
        assert_eq!(judge(&world, &other).await, refused("token_audience_mismatch"));
    }
    assert_eq!(asked(&world).len(), 2);
    assert_eq!(judge_new(&world).await, ok(), "control");
}

#[tokio::test(flavor = "multi_thread")]
async fn int_15_a_token_that_is_not_valid_yet_becomes_valid() {
    let world = world(", cache: { inactive_max_age: 0s }").await;
    let token = world.opaque(&world.token().claim("nbf", world.clock.now() + 30));
    assert_eq!(judge(&world, &token).await, refused("token_not_yet_valid"));
    world.clock.advance(20);
    assert_eq!(judge(&world, &token).await, ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_ca_09_after_its_time_an_answer_makes_place_for_another() {
    let world = world(", cache: { max_age: 200ms }").await;
    let token = world.opaque(&world.token());
    assert_eq!(judge(&world, &token).await, ok());
    world.issuer.know(&token, &world.token().scope("other"));
    until(&world, &token, (403, "scope_insufficient".into())).await;
    world.issuer.know(&token, &world.token());
    until(&world, &token, ok()).await;
    assert_eq!(asked(&world).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn int_17_another_identity_of_the_gateway_asks_anew() {
    let world = world("").await;
    let token = world.opaque(&world.token());
    assert_eq!(judge(&world, &token).await, ok());
    let reload = async |count: usize| {
        world.attempt_reload(count).await;
        world.gateway.ready().await;
    };
    reload(1).await;
    assert_eq!(judge(&world, &token).await, ok());
    assert_eq!(asked(&world).len(), 1, "control: the same identity");

    let file = world.gateway.folder().path().join("gateway.yaml");
    let yaml = std::fs::read_to_string(&file).unwrap();
    let other = SigningKey::generate(KeyKind::Es256, "other");
    world.issuer.register("other-gateway", ResourceServer::Key(other.clone()));
    world.gateway.folder().write("other.pem", &other.private_key_pem());
    let yaml = yaml.replace("client_id: gateway,", "client_id: other-gateway,").replace("gateway.pem", "other.pem");
    world.gateway.folder().write("gateway.yaml", &yaml);
    reload(2).await;
    assert_eq!(judge(&world, &token).await, ok());
    assert_eq!(asked(&world).len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn int_13_a_hundred_first_uses_are_one_question() {
    let world = world(", timeout: 10s").await;
    let token = world.opaque(&world.token());
    world.issuer.script(INTROSPECTION, plain(good(&world).to_string()).delayed(Duration::from_millis(300)));
    let open = world.client().h2().connect().await.unwrap();
    let mut requests = JoinSet::new();
    for _ in 0..100 {
        let (mut stream, request) = (open.another().expect("HTTP/2"), request("/accounts", &token));
        requests.spawn(async move { stream.send(request).await.unwrap().status().as_u16() });
    }
    assert_eq!(requests.join_all().await, [200; 100]);
    assert_eq!((asked(&world).len(), counted(&world, "active").await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn int_13_a_fault_is_shared_by_those_who_wait_and_by_nobody_else() {
    let world = world(", timeout: 10s").await;
    let token = world.opaque(&world.token());
    let slow = Answer::status(http::StatusCode::INTERNAL_SERVER_ERROR).delayed(Duration::from_millis(500));
    world.issuer.script(INTROSPECTION, slow);
    let mut requests = JoinSet::new();
    for _ in 0..20 {
        let (client, request) = (world.client(), request("/accounts", &token));
        requests.spawn(async move { client.send(request).await.unwrap().status().as_u16() });
    }
    assert_eq!(requests.join_all().await, [503; 20]);
    let before = asked(&world).len();
    assert!(before < 20, "control: some of them waited for the same answer");
    world.issuer.unscript(INTROSPECTION);
    assert_eq!(judge(&world, &token).await, ok());
    assert_eq!(asked(&world).len(), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn int_13_the_first_who_asks_may_hang_up() {
    let world = world(", timeout: 10s").await;
    let token = world.opaque(&world.token());
    world.issuer.script(INTROSPECTION, plain(good(&world).to_string()).delayed(Duration::from_millis(500)));
    let (client, first) = (world.client(), request("/accounts", &token));
    let first = tokio::spawn(async move { client.send(first).await });
    world.issuer.wait_for(INTROSPECTION, 1, DEADLINE).await.unwrap();
    first.abort();
    let mut others = JoinSet::new();
    for _ in 0..10 {
        let (client, request) = (world.client(), request("/accounts", &token));
        others.spawn(async move { client.send(request).await.unwrap().status().as_u16() });
    }
    assert_eq!(others.join_all().await, [200; 10]);
    assert_eq!(asked(&world).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_ca_06_answers_do_not_cross_over() {
    const REQUESTS: usize = 500;
    // So short that requests are constantly sent, shared and cached.
    let world = world(", timeout: 10s, cache: { max_age: 20ms }").await;
    let names = ["one", "two"];
    let tokens = names.map(|name| world.opaque(&world.token().claim("sub", name)));
    let mut requests = JoinSet::new();
    for (name, token) in names.iter().zip(&tokens) {
        for _ in 0..4 {
            let open = world.client().h2().connect().await.unwrap();
            for _ in 0..REQUESTS / 4 {
                let (mut stream, request) =
                    (open.another().expect("HTTP/2"), request(&format!("/accounts?{name}"), token));
                requests.spawn(async move { stream.send(request).await.unwrap().status().as_u16() });
            }
        }
    }
    assert!(requests.join_all().await.iter().all(|status| *status == 200));
    let seen = world.accounts.requests();
    assert_eq!(seen.len(), 2 * REQUESTS);
    for request in seen {
        assert_eq!(request.uri.strip_prefix("/accounts?"), request.header("x-token-subject"));
    }
    let about: HashSet<_> = asked(&world).iter().map(token_of).collect();
    assert_eq!(about.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_ca_05_nobody_else_can_make_a_good_token_refused() {
    let world = world("").await;
    let token = world.opaque(&world.token());
    // A stolen token used by another client; the token with text appended; an endpoint that fails for a while.
    let other = world.anonymous().certificate(&world.c2);
    assert_eq!(world.judge_from(&other, request("/accounts", &token)).await, refused("certificate_mismatch"));
    assert_eq!(judge(&world, &format!("{token}.x.y")).await.0, 401);
    assert_eq!(judge_answer(&world, Answer::resetting()).await, unavailable());
    assert_eq!(judge_text(&world, "{}").await, unavailable());
    world.issuer.unscript(INTROSPECTION);
    assert_eq!(judge(&world, &token).await, ok());
}
