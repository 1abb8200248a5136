//! Replicas that share their revocations in a Redis server: what is revoked at one is refused at all, and nobody says that it is
//! revoked before the server has it.

use std::sync::Arc;
use std::time::Duration;

use fapi::UnixTime;
use fapi::revocation::{Revocation, Subject};
use http::Response;
use sandbox::authorization_server::AuthorizationServer;
use sandbox::tokens::{AccessToken, KeyKind, ath};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::edge::hostile::wire::now;
use crate::support::client::Client;
use crate::support::redis::Redis;
use crate::support::relay::Relay;
use crate::support::{DEADLINE, ORIGIN, Running, Scene, TestClock, World, http_client, request};

const AUDIENCE: &str = "https://gateway.bank.example";
const ENTRIES: &str = "fapi_gateway_revocations_entries";

/// A scene whose revocations are in the store; `more` are other keys of the section.
fn sharing(scene: Scene, port: u16, more: &str) -> Scene {
    let sections = format!(
        "stores: {{ shared: {{ servers: [\"redis://127.0.0.1:{port}\"], timeout: 1s }} }}\nrevocations: {{ store: shared{more} }}\nupstreams:\n"
    );
    scene.replace("upstreams:\n", &sections)
}

/// A scene that accepts revocations and security events.
fn taking(scene: Scene, members: &str) -> Scene {
    let events = format!("security_events: [{{ issuer: bank, audience: \"{AUDIENCE}\" }}]");
    scene.replace("\"127.0.0.1:0\" }", &format!("\"127.0.0.1:0\", revocations: {{ {events}{members} }} }}"))
}

/// A world whose gateway accepts revocations and shares them.
async fn world(port: u16, more: &str) -> World {
    World::with(|scene| sharing(taking(scene, ""), port, more)).await
}

/// Another gateway for the tokens of a world.
async fn another(world: &World, clock: &TestClock, adjust: impl FnOnce(Scene) -> Scene) -> Running {
    let scene = Scene::new(&world.authority, world.issuer.issuer(), world.accounts.address());
    Running::start(adjust(scene), clock).await
}

/// Another gateway that shares revocations and accepts none.
async fn replica(world: &World, port: u16) -> Running {
    let gateway = another(world, &world.clock, |scene| sharing(scene, port, "")).await;
    gateway.ready().await;
    gateway
}

async fn ask(world: &World, gateway: &Running, token: &str) -> Response<bytes::Bytes> {
    let client = Client::new(gateway.address(), &world.authority).origin(ORIGIN).certificate(&world.c1);
    client.send(request("/accounts", token)).await.expect("the gateway answers")
}

async fn judge(world: &World, gateway: &Running, token: &str) -> (u16, String) {
    let response = ask(world, gateway, token).await;
    let code = gateway.record_of(&response)["code"].as_str().unwrap_or_default().to_owned();
    (response.status().as_u16(), code)
}

fn ok() -> (u16, String) {
    (200, "ok".to_owned())
}

fn revoked() -> (u16, String) {
    (401, "token_revoked".to_owned())
}

fn stale() -> (u16, String) {
    (503, "revocations_stale".to_owned())
}

/// Waits until a token is judged like this.
async fn until(world: &World, gateway: &Running, token: &str, expected: &(u16, String), what: &str) {
    let reached = async { while judge(world, gateway, token).await != *expected {} };
    timeout(DEADLINE, reached).await.unwrap_or_else(|_| panic!("{what}: {expected:?} is not reached"));
}

/// Expects that no request passes that is sent a second from now, or later.
async fn within_a_second(world: &World, gateway: &Running, token: &str, expected: &(u16, String), what: &str) {
    let began = now();
    loop {
        let sent = began.elapsed();
        if judge(world, gateway, token).await == *expected {
            return;
        }
        assert!(sent < Duration::from_secs(1), "{what}: {sent:?} after the answer it is not {expected:?}");
    }
}

/// Waits until a gateway serves that does not become ready: it first waits for the store a while.
async fn serves(world: &World, gateway: &Running) {
    let client = Client::new(gateway.address(), &world.authority).origin(ORIGIN);
    let health = || http::Request::get(format!("{ORIGIN}/health")).body(bytes::Bytes::new()).expect("a request");
    let served = async { while client.send(health()).await.is_err() {} };
    timeout(DEADLINE * 2, served).await.expect("the gateway serves");
}

/// Waits until `/readyz`, `/status` or `/metrics` has this text.
async fn says(gateway: &Running, path: &str, text: &str) {
    let said = async { while !gateway.admin(path).await.1.contains(text) {} };
    timeout(DEADLINE, said).await.unwrap_or_else(|_| panic!("{path} does not say {text:?}"));
}

/// Waits until the list has so many entries.
async fn has_entries(redis: &Redis, count: usize, what: &str) {
    let reached = async {
        while redis.cli(&["HLEN", "fapi:revoked:list"]) != count.to_string() {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, reached).await.unwrap_or_else(|_| panic!("{what}: the list has not {count} entries"));
}

/// Waits until `/status` says this of the revocations that are shared.
async fn is(gateway: &Running, state: &str) {
    let reached = async {
        loop {
            let status: Value = serde_json::from_str(&gateway.admin("/status").await.1).expect("JSON");
            let mut of_revocations =
                status["resources"].as_array().expect("a list").iter().filter(|entry| entry["kind"] == "revocations");
            if of_revocations.any(|entry| entry["name"] == "shared" && entry["state"] == state) {
                return;
            }
        }
    };
    timeout(DEADLINE, reached).await.unwrap_or_else(|_| panic!("/status does not say {state}"));
}

/// A token with names that no other turn has.
fn named(world: &World, turn: &str) -> AccessToken {
    let token = world.token().claim("sub", format!("customer {turn}"));
    token.claim("client_id", format!("client {turn}")).claim("sid", format!("session {turn}"))
}

fn revocation(subject: &str, token: &str, claims: &Value) -> Value {
    match subject {
        "token_hash" => json!({ "token_hash": ath(token) }),
        claim => json!({ claim: claims[claim] }),
    }
}

fn event(world: &World, sub: &str) -> String {
    event_at(world, sub, world.clock.now())
}

/// An event that happened then, by the clock of the issuer.
fn event_at(world: &World, sub: &str, happened: u64) -> String {
    event_of(world, sub, &json!({ PURGED: { "event_timestamp": happened } }))
}

const PURGED: &str = "https://schemas.openid.net/secevent/risc/event-type/account-purged";
const DISABLED: &str = "https://schemas.openid.net/secevent/risc/event-type/account-disabled";

/// One event of these types.
fn event_of(world: &World, sub: &str, events: &Value) -> String {
    let header = json!({ "typ": "secevent+jwt", "alg": "PS256", "kid": world.issuer.key(KeyKind::Ps256).kid() });
    let claims = json!({
        "iss": world.issuer.issuer(),
        "aud": AUDIENCE,
        "iat": world.clock.now(),
        "jti": format!("event about {sub}"),
        "sub_id": { "format": "iss_sub", "iss": world.issuer.issuer(), "sub": sub },
        "events": events,
    });
    world.issuer.key(KeyKind::Ps256).sign(&header, &claims)
}

#[tokio::test(flavor = "multi_thread")]
async fn int_16_an_event_of_two_types_revokes_at_all_replicas_what_either_does() {
    let redis = Redis::start(&[]);
    let world = world(redis.port(), "").await;
    let other = replica(&world, redis.port()).await;
    let now = world.clock.now();
    for (sub, purged, disabled) in [("one", now, now - 100), ("two", now - 100, now)] {
        let of = |sub: &str| world.sign(&world.token().claim("sub", sub).claim("iat", now - 50));
        let (token, control) = (of(sub), of("another"));
        let events = json!({ PURGED: { "event_timestamp": purged }, DISABLED: { "event_timestamp": disabled } });
        let event = event_of(&world, sub, &events);
        assert_eq!(world.gateway.post_revocation("application/secevent+jwt", event).await, (202, String::new()));
        within_a_second(&world, &other, &token, &revoked(), sub).await;
        assert_eq!(judge(&world, &world.gateway, &token).await, revoked(), "{sub}");
        assert_eq!(judge(&world, &other, &control).await, ok(), "control");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn int_16_fapi2_rs_05_what_is_revoked_at_one_replica_is_refused_at_the_other_within_a_second() {
    let redis = Redis::start(&[]);
    let world = world(redis.port(), "").await;
    let other = replica(&world, redis.port()).await;
    for subject in ["token_hash", "jti", "sub", "client_id", "sid", "event"] {
        let (one, control) = (named(&world, subject), named(&world, &format!("control of {subject}")));
        let (claims, one, control) = (one.claims(), world.sign(&one), world.sign(&control));
        for token in [&one, &control] {
            assert_eq!(judge(&world, &world.gateway, token).await, ok(), "control: {subject}");
            assert_eq!(judge(&world, &other, token).await, ok(), "control: {subject}");
        }
        if subject == "event" {
            let answer =
                world.gateway.post_revocation("application/secevent+jwt", event(&world, "customer event")).await;
            assert_eq!(answer, (202, String::new()));
        } else {
            world.gateway.revoke(&revocation(subject, &one, &claims)).await;
        }
        within_a_second(&world, &other, &one, &revoked(), subject).await;
        assert_eq!(judge(&world, &world.gateway, &one).await, revoked(), "{subject}");
        for gateway in [&world.gateway, &other] {
            assert_eq!(judge(&world, gateway, &control).await, ok(), "{subject}: another's");
        }
    }
    // What is in the server names nobody.
    let list = redis.cli(&["--no-raw", "HGETALL", "fapi:revoked:list"]);
    assert!(list.contains(&format!("{} ", world.clock.now() + 20)), "{list}");
    assert!(!list.contains("customer") && !list.contains("client") && !list.contains("session"), "{list}");
    assert_eq!(
        other.post_revocation("application/json", json!({ "jti": "a" }).to_string()).await.0,
        404,
        "it takes none"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn int_16_five_replicas_that_revoke_at_once_all_know_all_of_it() {
    const EACH: usize = 40;
    let redis = Redis::start(&[]);
    let world = world(redis.port(), "").await;
    let mut gateways = Vec::new();
    for _ in 0..4 {
        let gateway = another(&world, &world.clock, |scene| sharing(taking(scene, ""), redis.port(), "")).await;
        gateway.ready().await;
        gateways.push(gateway);
    }
    let all: Vec<&Running> = gateways.iter().chain([&world.gateway]).collect();
    let tokens: Vec<AccessToken> = (0..all.len()).map(|number| named(&world, &number.to_string())).collect();
    let client = http_client();
    let mut sent = JoinSet::new();
    for (number, gateway) in all.iter().enumerate() {
        let (client, url) = (client.clone(), format!("http://{}/revocations", gateway.admin_address()));
        let jti = tokens[number].claims()["jti"].clone();
        sent.spawn(async move {
            for turn in 0..EACH {
                // Some of them are the same at all.
                let body = match turn {
                    0 => json!({ "jti": jti }),
                    1..10 => json!({ "jti": format!("the same {turn}") }),
                    _ => json!({ "jti": format!("{number} {turn}") }),
                };
                let request = client.post(&url).header("content-type", "application/json").body(body.to_string());
                assert_eq!(request.send().await.unwrap().status().as_u16(), 204);
            }
        });
    }
    sent.join_all().await;
    let began = now();
    for gateway in &all {
        says(gateway, "/metrics", &format!("{ENTRIES} {}\n", 9 + all.len() * (EACH - 9))).await;
        for token in &tokens {
            assert_eq!(judge(&world, gateway, &world.sign(token)).await, revoked());
        }
    }
    assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
    let numbers = redis.cli(&["GET", "fapi:revoked:version"]);
    assert_eq!(numbers.rsplit(' ').next(), Some(&*(all.len() * EACH).to_string()), "each is a change: {numbers}");
}

#[tokio::test(flavor = "multi_thread")]
async fn int_16_a_replica_finds_what_it_missed_while_its_connection_was_down() {
    let redis = Redis::start(&[]);
    let relay = Relay::to(redis.port()).await;
    let world = world(redis.port(), "").await;
    let other = replica(&world, relay.port()).await;
    let token = named(&world, "missed");
    let (claims, token) = (token.claims(), world.sign(&token));
    relay.cut();
    is(&other, "failing").await;
    world.gateway.revoke(&json!({ "sub": claims["sub"] })).await;
    assert_eq!(judge(&world, &world.gateway, &token).await, revoked(), "control");
    assert_eq!(judge(&world, &other, &token).await, ok(), "it goes on with what it knows");
    relay.mend();
    until(&world, &other, &token, &revoked(), "the connection is back").await;
    is(&other, "good").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn int_16_a_replica_that_starts_is_not_ready_and_permits_nothing_before_it_knows_the_list() {
    let redis = Redis::start(&[]);
    let relay = Relay::to(redis.port()).await;
    let world = world(redis.port(), "").await;
    let (one, control) = (named(&world, "before the start"), named(&world, "control"));
    let (claims, one, control) = (one.claims(), world.sign(&one), world.sign(&control));
    world.gateway.revoke(&json!({ "jti": claims["jti"] })).await;
    relay.cut();
    let late = another(&world, &world.clock, |scene| sharing(taking(scene, ""), relay.port(), "")).await;
    says(&late, "/readyz", "waiting for the revocations in the store shared\n").await;
    serves(&world, &late).await;
    let (status, body) = late.readiness().await;
    let reason = body["reasons"].as_array().unwrap().iter().find(|reason| reason["reason"] == "revocations");
    assert_eq!((status, &reason.unwrap()["store"]), (503, &json!("shared")), "{body}");
    for token in [&one, &control] {
        assert_eq!(judge(&world, &late, token).await, stale());
    }
    let response = ask(&world, &late, &control).await;
    assert_eq!(response.headers()["retry-after"], "5");
    assert!(!response.headers().contains_key("www-authenticate"));
    relay.mend();
    timeout(DEADLINE, late.ready()).await.expect("it is ready");
    assert_eq!(judge(&world, &late, &one).await, revoked(), "with the first request");
    assert_eq!(judge(&world, &late, &control).await, ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn int_16_what_the_store_has_lost_the_replicas_tell_it_again() {
    for loss in ["everything is deleted", "the list is deleted", "a restart"] {
        let mut redis = Redis::start(&[]);
        let world = world(redis.port(), "").await;
        let other = replica(&world, redis.port()).await;
        let [one, next] = ["one", "next"].map(|turn| named(&world, turn));
        world.gateway.revoke(&json!({ "sub": one.claims()["sub"] })).await;
        let (one, jti, next) = (world.sign(&one), next.claims()["jti"].clone(), world.sign(&next));
        within_a_second(&world, &other, &one, &revoked(), "control").await;
        let before = redis.cli(&["GET", "fapi:revoked:version"]);
        match loss {
            "everything is deleted" => assert_eq!(redis.cli(&["FLUSHALL"]), "OK"),
            "the list is deleted" => {
                assert_eq!(
                    redis.cli(&[
                        "DEL",
                        "fapi:revoked:list",
                        "fapi:revoked:order",
                        "fapi:revoked:ends",
                        "fapi:revoked:version"
                    ]),
                    "4"
                )
            }
            _ => redis.start_again(),
        }
        has_entries(&redis, 1, loss).await;
        assert_ne!(
            redis.cli(&["GET", "fapi:revoked:version"]).split(' ').next(),
            before.split(' ').next(),
            "another list"
        );
        let third = replica(&world, redis.port()).await;
        assert_eq!(judge(&world, &third, &one).await, revoked(), "{loss}: the list told it");
        let body = json!({ "jti": jti }).to_string();
        let posted = async { while world.gateway.post_revocation("application/json", body.clone()).await.0 != 204 {} };
        timeout(DEADLINE, posted).await.expect("it can be recorded");
        for gateway in [&other, &third] {
            within_a_second(&world, gateway, &next, &revoked(), loss).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn int_16_while_the_store_is_silent_nothing_is_revoked_and_requests_go_on() {
    let redis = Redis::start(&[]);
    let world = world(redis.port(), "").await;
    let other = replica(&world, redis.port()).await;
    let (one, two) = (named(&world, "one"), named(&world, "two"));
    world.gateway.revoke(&json!({ "jti": one.claims()["jti"] })).await;
    let (one, claims, two) = (world.sign(&one), two.claims(), world.sign(&two));
    within_a_second(&world, &other, &one, &revoked(), "control").await;
    redis.pause();
    for (kind, body) in [
        ("application/json", json!({ "sub": claims["sub"] }).to_string()),
        ("application/secevent+jwt", event(&world, "customer two")),
    ] {
        let (status, body) = world.gateway.post_revocation(kind, body).await;
        assert_eq!(status, 503, "{body}");
        assert!(
            body.contains("temporarily_unavailable") && body.contains("\\\"shared\\\" did not record it"),
            "{body}"
        );
    }
    assert_eq!(judge(&world, &world.gateway, &two).await, ok(), "it was not recorded here");
    for gateway in [&world.gateway, &other] {
        assert_eq!(judge(&world, gateway, &one).await, revoked(), "what is known stays so");
        is(gateway, "failing").await;
    }
    let metrics = world.gateway.admin("/metrics").await.1;
    assert!(metrics.contains("fapi_gateway_revocations_total{kind=\"none\",outcome=\"unavailable\"} 2\n"), "{metrics}");
    redis.resume();
    let posted = async {
        let body = json!({ "sub": claims["sub"] }).to_string();
        while world.gateway.post_revocation("application/json", body.clone()).await.0 != 204 {}
    };
    timeout(DEADLINE, posted).await.expect("it can be recorded again");
    until(&world, &other, &two, &revoked(), "the server is back").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn int_16_a_full_list_takes_nothing_at_any_replica_until_something_is_over() {
    let redis = Redis::start(&[]);
    let world = World::with(|scene| sharing(taking(scene, ", max_entries: 2, keep: 1m"), redis.port(), "")).await;
    let other =
        another(&world, &world.clock, |scene| sharing(taking(scene, ""), redis.port(), ", max_entries: 2")).await;
    other.ready().await;
    let token = named(&world, "one too many");
    let (third, token) = (json!({ "sub": token.claims()["sub"] }).to_string(), world.sign(&token));
    world.gateway.revoke(&json!({ "jti": "a", "exp": world.clock.now() + 30 })).await;
    other.revoke(&json!({ "jti": "b", "exp": world.clock.now() + 30 })).await;
    other.revoke(&json!({ "jti": "b", "exp": world.clock.now() + 30 })).await;
    for gateway in [&world.gateway, &other] {
        says(gateway, "/metrics", &format!("{ENTRIES} 2\n")).await;
        let (status, body) = gateway.post_revocation("application/json", third.clone()).await;
        assert!(status == 503 && body.contains("the table of revocations is full"), "{status} {body}");
        assert_eq!(judge(&world, gateway, &token).await, ok(), "nothing was recorded");
        says(gateway, "/metrics", "fapi_gateway_revocations_total{kind=\"none\",outcome=\"full\"} 1\n").await;
    }
    // A minute after their end, so that no clock that is behind misses them.
    world.clock.advance(89);
    assert_eq!(world.gateway.post_revocation("application/json", third.clone()).await.0, 503);
    world.clock.advance(1);
    assert_eq!(world.gateway.post_revocation("application/json", third).await.0, 204);
    within_a_second(&world, &other, &token, &revoked(), "there is room again").await;
    assert_eq!(redis.cli(&["HLEN", "fapi:revoked:list"]), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn fapi2_rs_05_clocks_of_replicas_that_differ_by_ten_seconds_let_no_revoked_token_pass() {
    let redis = Redis::start(&[]);
    let world = world(redis.port(), "").await;
    for (behind, ahead) in [(0, 10), (10, 0)] {
        let clock = TestClock::new();
        clock.set_back(clock.now());
        clock.advance(world.clock.now() + ahead - behind);
        let other = another(&world, &clock, |scene| sharing(scene, redis.port(), "")).await;
        other.ready().await;
        // By the clock of the issuer, which may be ten seconds ahead of any of theirs.
        let issued = |turn: &str| named(&world, turn).claim("iat", clock.now() + 10);
        for subject in ["sub", "client_id", "jti"] {
            let token = issued(&format!("{ahead} {subject}"));
            let (claims, token) = (token.claims(), world.sign(&token));
            assert_eq!(judge(&world, &other, &token).await, ok(), "control: {ahead} {subject}");
            world.gateway.revoke(&json!({ subject: claims[subject] })).await;
            within_a_second(&world, &other, &token, &revoked(), subject).await;
        }
        let turn = format!("{ahead} event");
        let token = world.sign(&issued(&turn));
        assert_eq!(judge(&world, &other, &token).await, ok(), "control: {turn}");
        let event = event_at(&world, &format!("customer {turn}"), clock.now() + 10);
        assert_eq!(world.gateway.post_revocation("application/secevent+jwt", event).await.0, 202);
        within_a_second(&world, &other, &token, &revoked(), &turn).await;
        // Somebody who logs in again later gets a good one.
        let later = named(&world, &format!("{ahead} sub")).claim("iat", world.clock.now() + 21);
        world.clock.advance(30);
        clock.advance(30);
        let later = world.sign(&later);
        for gateway in [&world.gateway, &other] {
            assert_eq!(judge(&world, gateway, &later).await, ok(), "{ahead}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn int_16_an_introspection_response_from_before_is_not_used_at_another_replica() {
    let redis = Redis::start(&[]);
    let world = World::with(|scene| sharing(taking(scene.introspected(""), ""), redis.port(), "")).await;
    let key = world.gateway.folder().path().join("gateway.pem");
    let copied = |folder: &std::path::Path| assert!(std::fs::copy(&key, folder.join("gateway.pem")).is_ok());
    let other =
        another(&world, &world.clock, |scene| sharing(scene.introspected("").folder(copied), redis.port(), "")).await;
    other.ready().await;
    let (one, control) = (named(&world, "one"), named(&world, "control"));
    let (claims, one, control) = (one.claims(), world.opaque(&one), world.opaque(&control));
    for token in [&one, &control] {
        assert_eq!(judge(&world, &other, token).await, ok());
        world.issuer.revoke(token);
        assert_eq!(judge(&world, &other, token).await, ok(), "control: the response is used again");
    }
    world.gateway.revoke(&json!({ "client_id": claims["client_id"] })).await;
    within_a_second(&world, &other, &one, &(401, "token_inactive".to_owned()), "the issuer is asked again").await;
    assert_eq!(judge(&world, &other, &control).await, ok(), "about no other token");
    assert_eq!(world.issuer.requests_to(AuthorizationServer::INTROSPECTION), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn int_16_after_max_age_without_the_store_no_token_passes() {
    let mut redis = Redis::start(&[]);
    let world = world(redis.port(), ", max_age: 10s").await;
    let lenient = replica(&world, redis.port()).await;
    let (token, gone) = (world.sign(&world.token()), named(&world, "revoked"));
    world.gateway.revoke(&json!({ "jti": gone.claims()["jti"] })).await;
    let read = "fapi_gateway_resource_last_success_timestamp_seconds{kind=\"revocations\",name=\"shared\"}";
    says(&world.gateway, "/metrics", &format!("{read} {}\n", world.clock.now())).await;
    redis.kill();
    for gateway in [&world.gateway, &lenient] {
        is(gateway, "failing").await;
    }
    world.clock.advance(10);
    assert_eq!(judge(&world, &world.gateway, &token).await, ok(), "control: not yet");
    world.clock.advance(1);
    assert_eq!(judge(&world, &world.gateway, &token).await, stale());
    let record = world.gateway.record_of(&ask(&world, &world.gateway, &token).await);
    assert_eq!((&record["decision"], &record["status"]), (&json!("error"), &json!(503)), "{record}");
    let health = http::Request::get(format!("{ORIGIN}/health")).body(bytes::Bytes::new()).unwrap();
    assert_eq!(world.judge(health).await, ok(), "control: a public route needs no token");
    assert_eq!(judge(&world, &world.gateway, &world.sign(&gone)).await, revoked(), "what is known is said");
    assert_eq!(judge(&world, &lenient, &token).await, ok(), "control: without max_age");
    assert_eq!(world.gateway.admin("/readyz").await, (200, "ok\n".into()), "the others are no better off");
    redis.start_again();
    until(&world, &world.gateway, &token, &ok(), "the store is back").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn int_16_a_reload_that_switches_the_store_on_or_off_forgets_nothing() {
    let redis = Redis::start(&[]);
    let world = World::with(|scene| taking(scene, "")).await;
    let other = replica(&world, redis.port()).await;
    let token = named(&world, "before the store");
    let (claims, token) = (token.claims(), world.sign(&token));
    world.gateway.revoke(&json!({ "sub": claims["sub"] })).await;
    assert_eq!(judge(&world, &other, &token).await, ok(), "control: nothing is shared");
    let sections = format!(
        "stores: {{ shared: {{ servers: [\"redis://127.0.0.1:{}\"], timeout: 1s }} }}\nrevocations: {{ store: shared }}\nupstreams:\n",
        redis.port()
    );
    world.reload(1, |text| text.replace("upstreams:\n", &sections)).await;
    within_a_second(&world, &other, &token, &revoked(), "it is shared now").await;
    let elsewhere = named(&world, "elsewhere");
    world.gateway.revoke(&json!({ "jti": elsewhere.claims()["jti"] })).await;
    // Another connection to the same list, and then another list.
    world.reload(2, |text| text.replace("timeout: 1s", "timeout: 3s")).await;
    let next = named(&world, "after another reload");
    world.gateway.revoke(&json!({ "jti": next.claims()["jti"] })).await;
    within_a_second(&world, &other, &world.sign(&next), &revoked(), "it is followed on").await;
    world.reload(3, |text| text.replace("timeout: 3s", "timeout: 1s, prefix: \"moved:\"")).await;
    let told = async {
        while redis.cli(&["HLEN", "moved:revoked:list"]) != "3" {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, told).await.expect("the new list has all that is known");
    let shared = sections.replace("timeout: 1s", "timeout: 1s, prefix: \"moved:\"");
    world.reload(4, |text| text.replace(&shared, "upstreams:\n")).await;
    for token in [&token, &world.sign(&elsewhere), &world.sign(&next)] {
        assert_eq!(judge(&world, &world.gateway, token).await, revoked(), "without the store");
    }
    world.gateway.revoke(&json!({ "jti": "in memory" })).await;
    assert_eq!(redis.cli(&["HLEN", "moved:revoked:list"]), "3");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_rights_are_enough_for_revocations() {
    let docs = include_str!("../../docs/operate/replicas.md");
    let rule = docs.lines().find_map(|line| line.strip_prefix("user fapi-gateway ")).expect("the rule of the user");
    let redis = Redis::start(&[]);
    let rule = rule.replace("PASSWORD", "secret");
    let command: Vec<&str> = ["ACL", "SETUSER", "fapi-gateway"].into_iter().chain(rule.split(' ')).collect();
    assert_eq!(redis.cli(&command), "OK");
    let files = |scene: Scene| {
        let keys = ", username_file: user.txt, password_file: password.txt, timeout: 1s";
        scene.replace(", timeout: 1s", keys).file("user.txt", "fapi-gateway\n").file("password.txt", "secret\n")
    };
    let world = World::with(|scene| files(sharing(taking(scene, ", keep: 1m"), redis.port(), ""))).await;
    let token = named(&world, "one");
    world.gateway.revoke(&json!({ "jti": "over soon", "exp": world.clock.now() + 1 })).await;
    world.clock.advance(90);
    world.gateway.revoke(&json!({ "jti": token.claims()["jti"] })).await;
    assert_eq!(redis.cli(&["HLEN", "fapi:revoked:list"]), "1", "control: something was removed");
    assert_eq!(redis.cli(&["FLUSHALL"]), "OK");
    has_entries(&redis, 1, "everything is deleted").await;
    let other = another(&world, &world.clock, |scene| files(sharing(scene, redis.port(), ""))).await;
    other.ready().await;
    assert_eq!(judge(&world, &other, &world.sign(&token)).await, revoked());
    assert_eq!(redis.cli(&["ACL", "LOG"]), "", "nothing was denied");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_strangers_write_into_the_list_refuses_and_never_permits() {
    let redis = Redis::start(&[]);
    let world = World::with(|scene| {
        sharing(taking(scene, ""), redis.port(), "")
            .replace("revocations: { store", "replay: { store: shared }\nrevocations: { store")
    })
    .await;
    let other = replica(&world, redis.port()).await;
    let one = named(&world, "one");
    world.gateway.revoke(&json!({ "jti": one.claims()["jti"] })).await;
    let one = world.sign(&one);
    within_a_second(&world, &other, &one, &revoked(), "control").await;
    // An entry that is none: it might be a revocation.
    assert_eq!(redis.cli(&["ZADD", "fapi:revoked:order", "1000", "nonsense"]), "1");
    says(&other, "/status", "entries of the list are no revocations").await;
    let two = named(&world, "two");
    world.gateway.revoke(&json!({ "jti": two.claims()["jti"] })).await;
    let late = another(&world, &world.clock, |scene| sharing(scene, redis.port(), "")).await;
    says(&late, "/readyz", "waiting for the revocations in the store shared\n").await;
    serves(&world, &late).await;
    let two = world.sign(&two);
    for token in [&one, &two] {
        until(&world, &late, token, &revoked(), "what can be read counts").await;
    }
    assert_eq!(judge(&world, &late, &world.sign(&world.token())).await, stale());
    assert_eq!(judge(&world, &other, &world.sign(&world.token())).await, ok(), "control: it was ready before");
    assert_eq!(redis.cli(&["ZREM", "fapi:revoked:order", "nonsense"]), "1");
    late.ready().await;
    // Keys of other types: the list cannot be read or written, and proofs are judged all the same.
    assert_eq!(redis.cli(&["SET", "fapi:revoked:order", "x"]), "OK");
    says(&other, "/status", "it refuses with WRONGTYPE").await;
    let (status, body) = world.gateway.post_revocation("application/json", json!({ "jti": "x" }).to_string()).await;
    assert!(status == 503 && body.contains("WRONGTYPE"), "{status} {body}");
    for token in [&one, &two] {
        assert_eq!(judge(&world, &other, token).await, revoked(), "what is known stays so");
    }
    let connected = world.gateway.admin("/metrics").await.1;
    assert!(connected.contains("fapi_gateway_store_connected{store=\"shared\"} 1\n"), "{connected}");
    let holder = world.holder();
    let request = holder.request("/accounts", &holder.proof("/accounts", world.clock.now()));
    assert_eq!(world.judge_from(&world.anonymous(), request).await, ok());
    assert_eq!(
        redis.cli(&["DEL", "fapi:revoked:list", "fapi:revoked:order", "fapi:revoked:ends", "fapi:revoked:version"]),
        "4"
    );
    has_entries(&redis, 2, "the keys of other types are deleted").await;
}

/// Runs a script of somebody else who can write to the list; what it returns is true at last.
async fn tampers(redis: &Redis, script: &str, what: &str) {
    let keys = ["version", "list", "order", "ends"].map(|key| format!("fapi:revoked:{key}"));
    let [version, list, order, ends] = keys.each_ref().map(String::as_str);
    let local = "local version, list, order, ends = KEYS[1], KEYS[2], KEYS[3], KEYS[4] local call = redis.call
        local first = (call('ZRANGE', order, 0, 0))[1]\n";
    let script = format!("{local}{script}");
    let done = async {
        loop {
            match &*redis.cli(&["EVAL", &script, "4", version, list, order, ends]) {
                "1" => return,
                "" | "0" => tokio::task::yield_now().await,
                other => panic!("{what}: {other}"),
            }
        }
    };
    timeout(DEADLINE, done).await.unwrap_or_else(|_| panic!("{what}: it stays so"));
}

/// What is true of a list whose last number is the highest of its entries, and can be counted on from.
const IN_ORDER: &str = "local number = string.match(call('GET', version) or '', '^%S+ (%d+)$')
    local lowest, highest = call('ZRANGE', order, 0, 0, 'WITHSCORES'), call('ZREVRANGE', order, 0, 0, 'WITHSCORES')
    return number and tonumber(lowest[2]) > 0 and tonumber(highest[2]) <= tonumber(number) and tonumber(number) < 1e9 and 1 or 0";

#[tokio::test(flavor = "multi_thread")]
async fn int_16_whatever_a_stranger_does_to_the_numbers_a_revocation_is_heard_of_within_a_second() {
    let redis = Redis::start(&[]);
    let world = world(redis.port(), "").await;
    let other = replica(&world, redis.port()).await;
    for first in ["a", "b"] {
        world.gateway.revoke(&json!({ "jti": first })).await;
    }
    let version = |number: &str| {
        format!("local name = string.match(call('GET', version), '^%S+') call('SET', version, name .. ' {number}')")
    };
    for (what, script) in [
        ("control", String::new()),
        ("a known entry far ahead", "call('ZADD', order, 1000000, first)".into()),
        ("a known entry before all", "call('ZADD', order, -5, first)".into()),
        ("a known entry in between", "call('ZADD', order, 1.5, first)".into()),
        ("a known entry at no number", "call('ZADD', order, 'inf', first)".into()),
        ("a known entry where numbers end", "call('ZADD', order, 4503599627370495, first)".into()),
        ("the last number is the first", version("0")),
        ("the last number has no next one", version("9007199254740992")),
        ("the last number is too large", version("99999999999999999999")),
        ("the last number is nearly too large", version("18446744073709551614")),
        ("the last number is none", "call('SET', version, '\\255\\254 x')".into()),
        ("the last number is long", "call('SET', version, string.rep('x', 1000000) .. ' 5')".into()),
        ("there is no last number", "call('DEL', version)".into()),
        (
            "the name is long",
            "call('SET', version, string.rep('x', 70) .. ' 5') call('ZADD', order, 1.5, first)".into(),
        ),
        ("two have one number", "call('ZADD', order, call('ZREVRANGE', order, 0, 0, 'WITHSCORES')[2], first)".into()),
    ] {
        for waits in [false, true] {
            let what = format!("{what}, found before: {waits}");
            let token = named(&world, &what);
            let (claims, token) = (token.claims(), world.sign(&token));
            assert_eq!(judge(&world, &other, &token).await, ok(), "control: {what}");
            tampers(&redis, &format!("{script} return 1"), &what).await;
            if waits {
                tampers(&redis, IN_ORDER, &what).await;
            }
            world.gateway.revoke(&json!({ "jti": claims["jti"] })).await;
            within_a_second(&world, &other, &token, &revoked(), &what).await;
        }
    }
    for gateway in [&world.gateway, &other] {
        is(gateway, "good").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn int_16_what_a_stranger_removes_from_the_list_is_told_again_by_those_who_know_it() {
    let redis = Redis::start(&[]);
    let world = world(redis.port(), "").await;
    let other = replica(&world, redis.port()).await;
    let token = named(&world, "one");
    world.gateway.revoke(&json!({ "sub": token.claims()["sub"] })).await;
    let token = world.sign(&token);
    within_a_second(&world, &other, &token, &revoked(), "control").await;
    let whole = format!(
        "if call('ZCARD', order) < 1 or call('ZCARD', ends) < 1 then return 0 end
         local issued, last = string.match(call('HGET', list, first) or '', '^(%d+) (%d+)$')
         return issued and tonumber(issued) >= {now} and tonumber(last) > {now} and 1 or 0",
        now = world.clock.now()
    );
    for (what, script) in [
        ("control", ""),
        ("its times", "call('HSET', list, first, '0 0')"),
        ("its end", "call('HSET', list, first, '9999999999 1')"),
        ("the entry", "call('HDEL', list, first)"),
        ("its number", "call('ZREM', order, first)"),
        ("all numbers", "call('DEL', order)"),
        ("all entries", "call('DEL', list)"),
        ("all ends, and it counts as over", "call('ZADD', ends, 0, first)"),
        ("all of it but the name", "call('DEL', list, order, ends)"),
    ] {
        tampers(&redis, &format!("{script} return 1"), what).await;
        if what.contains("over") {
            // What is over is removed with a change.
            world.gateway.revoke(&json!({ "jti": "another" })).await;
        }
        tampers(&redis, &whole, what).await;
        let third = replica(&world, redis.port()).await;
        assert_eq!(judge(&world, &third, &token).await, revoked(), "{what}");
        assert_eq!(judge(&world, &third, &world.sign(&world.token())).await, ok(), "control: {what}");
    }
}

/// Nor does an entry that nobody can read keep what was removed from being told again.
#[tokio::test(flavor = "multi_thread")]
async fn int_16_what_a_stranger_spoils_keeps_nothing_else_from_being_told_again() {
    let redis = Redis::start(&[]);
    let world = world(redis.port(), "").await;
    let other = replica(&world, redis.port()).await;
    tampers(&redis, "call('HSET', list, 'x', 'y') call('ZADD', order, 1, 'x') return 1", "garbage").await;
    is(&other, "failing").await;
    for name in ["one", "two", "three", "four", "five"] {
        let token = named(&world, name);
        let body = json!({ "sub": token.claims()["sub"] });
        world.gateway.revoke(&body).await;
        // Before the other replica has read it, as often as not.
        let script = "for _, field in ipairs(call('HKEYS', list)) do if field ~= 'x' then call('HDEL', list, field) end end return 1";
        tampers(&redis, script, name).await;
        let token = world.sign(&token);
        let refused = async { while judge(&world, &other, &token).await != revoked() {} };
        timeout(DEADLINE, refused).await.unwrap_or_else(|_| panic!("{name}: it passes for good"));
    }
    is(&other, "failing").await;
    let status = other.admin("/status").await.1;
    assert!(status.contains("entries of the list are no revocations"), "{status}");
    tampers(&redis, "call('HDEL', list, 'x') call('ZREM', order, 'x') return 1", "the garbage is removed").await;
    is(&other, "good").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn int_16_times_that_are_none_keep_no_revocation_from_being_recorded() {
    let redis = Redis::start(&[]);
    let world = world(redis.port(), "").await;
    let other = replica(&world, redis.port()).await;
    let token = named(&world, "one");
    let body = json!({ "sub": token.claims()["sub"] });
    let token = world.sign(&token);
    for times in [
        "1 2",
        "99999999999999999999999999 5",
        "1 99999999999999999999999999",
        "18446744073709551614 5",
        "9007199254740992 5",
        "-1 5",
        "x",
        &format!("{} 5", "9".repeat(400)),
    ] {
        world.gateway.revoke(&body).await;
        let script = format!("call('HSET', list, first, '{times}') return 1");
        tampers(&redis, &script, times).await;
        world.gateway.revoke(&body).await;
        let entries = redis.cli(&["--raw", "HVALS", "fapi:revoked:list"]);
        assert!(entries.starts_with(&format!("{} ", world.clock.now() + 20)), "{times}: {entries}");
        within_a_second(&world, &other, &token, &revoked(), times).await;
        is(&other, "good").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn int_16_a_replica_that_starts_after_a_loss_waits_until_the_list_is_told_what_others_know() {
    const COUNT: usize = 5000;
    let redis = Redis::start(&[]);
    let world = world(redis.port(), "").await;
    let tokens: Vec<AccessToken> = (0..10).map(|turn| named(&world, &turn.to_string())).collect();
    for token in &tokens {
        world.gateway.revoke(&json!({ "jti": token.claims()["jti"] })).await;
    }
    let script = format!(
        "local name, number = string.match(call('GET', version), '^(%S+) (%d+)$')
         for i = 1, {COUNT} do
           local digest = string.format('%032d', i)
           call('HSET', list, digest, '1 {end}') call('ZADD', order, number + i, digest) call('ZADD', ends, {end}, digest)
         end
         call('SET', version, name .. ' ' .. string.format('%.0f', number + {COUNT})) return 1",
        end = world.clock.now() + 3600
    );
    tampers(&redis, &script, "many entries").await;
    let all = COUNT + tokens.len();
    says(&world.gateway, "/metrics", &format!("{ENTRIES} {all}\n")).await;
    assert_eq!(redis.cli(&["FLUSHALL"]), "OK");
    let late = replica(&world, redis.port()).await;
    for token in &tokens {
        assert_eq!(judge(&world, &late, &world.sign(token)).await, revoked());
    }
    assert_eq!(judge(&world, &late, &world.sign(&world.token())).await, ok(), "control");
    has_entries(&redis, all, "all are told").await;
    // As long as somebody tells more, another waits.
    assert_eq!(redis.cli(&["SET", "fapi:revoked:telling", "1"]), "OK");
    let waits = another(&world, &world.clock, |scene| sharing(scene, redis.port(), "")).await;
    serves(&world, &waits).await;
    says(&waits, "/metrics", &format!("{ENTRIES} {all}\n")).await;
    says(&waits, "/readyz", "waiting for the revocations in the store shared\n").await;
    assert_eq!(judge(&world, &waits, &world.sign(&world.token())).await, stale());
    assert_eq!(redis.cli(&["DEL", "fapi:revoked:telling"]), "1");
    waits.ready().await;
    assert_eq!(judge(&world, &waits, &world.sign(&world.token())).await, ok(), "control");
}

#[tokio::test(flavor = "multi_thread")]
async fn fapi2_rs_05_an_end_that_has_passed_is_the_same_at_all_replicas() {
    let redis = Redis::start(&[]);
    let world = world(redis.port(), "").await;
    let other = replica(&world, redis.port()).await;
    let now = world.clock.now();
    for (exp, status) in [
        (json!(now + 1), 204),
        (json!(now), 204),
        (json!(now - 1), 204),
        (json!(now as f64 - 0.5), 204),
        (json!(now - 366 * 86_400), 204),
        (json!(now - 367 * 86_400), 400),
        (json!(1.5), 400),
        (json!(0), 400),
    ] {
        let token = named(&world, &exp.to_string());
        let body = json!({ "jti": token.claims()["jti"], "exp": exp });
        let token = world.sign(&token);
        assert_eq!(judge(&world, &other, &token).await, ok(), "control: {exp}");
        assert_eq!(world.gateway.post_revocation("application/json", body.to_string()).await.0, status, "{exp}");
        let expected = if status == 204 { revoked() } else { ok() };
        within_a_second(&world, &other, &token, &expected, &exp.to_string()).await;
        assert_eq!(judge(&world, &world.gateway, &token).await, expected, "{exp}");
    }
}

/// What a server that lies says of the list, before and after it is told to add something, and to that.
struct Lies {
    list: Vec<u8>,
    added: Vec<u8>,
    then: Vec<u8>,
}

/// A server that answers as a good one does when a connection begins, and then lies.
async fn liar(lies: Lies) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let lies = Arc::new(lies);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(lie(stream, lies.clone()));
        }
    });
    port
}

async fn lie(mut stream: TcpStream, lies: Arc<Lies>) {
    let (mut received, mut buffer, mut is_told) = (Vec::new(), [0; 4096], false);
    let info =
        format!("run_id:{0}\r\nmaster_replid:{0}\r\nrole:master\r\nmaxmemory_policy:noeviction\r\n", "a".repeat(40));
    loop {
        while let Some((question, length)) = question(&received) {
            received.drain(..length);
            let answer = match question[0].as_str() {
                "HELLO" => b"%1\r\n$5\r\nproto\r\n:3\r\n".to_vec(),
                "INFO" => format!("${}\r\n{info}\r\n", info.len()).into_bytes(),
                "TIME" => b"*2\r\n$10\r\n1900000000\r\n$1\r\n0\r\n".to_vec(),
                "GET" => b"$27\r\naaaaaaaaaaaaaaaa 1900000000\r\n".to_vec(),
                "EVAL" if question[1].contains("WITHSCORES', 'LIMIT'") => {
                    if is_told {
                        lies.then.clone()
                    } else {
                        lies.list.clone()
                    }
                }
                "EVAL" => {
                    is_told = true;
                    lies.added.clone()
                }
                _ => b"+OK\r\n".to_vec(),
            };
            if stream.write_all(&answer).await.is_err() {
                return;
            }
        }
        let Ok(count @ 1..) = stream.read(&mut buffer).await else { return };
        received.extend_from_slice(&buffer[..count]);
    }
}

/// The first question in these bytes, if it is whole, and its length.
fn question(bytes: &[u8]) -> Option<(Vec<String>, usize)> {
    let line = |from: usize| {
        let length = bytes.get(from..)?.windows(2).position(|pair| pair == b"\r\n")?;
        let number = std::str::from_utf8(&bytes[from + 1..from + length]).ok()?.parse::<usize>().ok()?;
        Some((number, from + length + 2))
    };
    let (count, mut at) = line(0)?;
    let mut parts = Vec::new();
    for _ in 0..count {
        let (length, from) = line(at)?;
        parts.push(String::from_utf8_lossy(bytes.get(from..from + length)?).into_owned());
        at = from + length + 2;
    }
    (at <= bytes.len()).then_some((parts, at))
}

fn bulk(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let bytes = bytes.as_ref();
    [format!("${}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// A page of a list, with these parts of entries.
fn page(parts: &[Vec<u8>]) -> Vec<u8> {
    let entries = [format!("*{}\r\n", parts.len()).into_bytes(), parts.concat()].concat();
    [b"*5\r\n".to_vec(), bulk("aaaaaaaa 1900000000"), bulk("1.1"), bulk("9"), b":0\r\n".to_vec(), entries].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_lies_about_the_list_lets_nothing_through() {
    let entry = |number: &str| [bulk([7; 32]), bulk("1900000000 1999999999"), bulk(number)];
    let repeated: Vec<Vec<u8>> = (0..500).flat_map(|_| entry("5")).collect();
    for (what, list, passes) in [
        ("an empty list", page(&[]), true),
        ("an entry", page(&entry("1")), true),
        ("nothing", b"_\r\n".to_vec(), false),
        ("a status", b"+OK\r\n".to_vec(), false),
        ("a number", b":1\r\n".to_vec(), false),
        ("half a list", b"*2\r\n$1\r\na\r\n$1\r\na\r\n".to_vec(), false),
        ("half an entry", page(&[bulk("a")]), false),
        ("an entry that is none", page(&[bulk("a"), bulk("1 2"), bulk("1")]), false),
        ("a refusal", b"-NOPERM x\r\n".to_vec(), false),
        ("another refusal", b"-ERR x\r\n".to_vec(), false),
        ("a full page again and again", page(&repeated), false),
        ("more than was asked", page(&[bulk(vec![b'x'; 400_000]), bulk("1 2"), bulk("1")]), false),
        ("a length of 2 GiB", b"$2147483648\r\nx".to_vec(), false),
        ("no language", b"nonsense\r\n".to_vec(), false),
    ] {
        let port = liar(Lies { list: list.clone(), added: b":1\r\n".to_vec(), then: list }).await;
        let world = World::with(|scene| {
            let scene = sharing(taking(scene, ""), port, ", max_entries: 5000");
            let scene = scene.replace("timeout: 1s", "timeout: 200ms");
            if passes { scene } else { scene.never_ready() }
        })
        .await;
        let token = world.sign(&world.token());
        if passes {
            assert_eq!(judge(&world, &world.gateway, &token).await, ok(), "control: {what}");
            continue;
        }
        is(&world.gateway, "failing").await;
        serves(&world, &world.gateway).await;
        assert_eq!(judge(&world, &world.gateway, &token).await, stale(), "{what}");
        says(&world.gateway, "/readyz", "waiting for the revocations in the store shared\n").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_store_that_says_so_has_recorded_a_revocation() {
    for (added, has, status) in [
        (&b":9\r\n"[..], true, 204),
        // Somebody else may have removed it at once.
        (b":9\r\n", false, 503),
        (b":-1\r\n", false, 503),
        (b":-2\r\n", false, 503),
        (b"+OK\r\n", false, 503),
        (b"$1\r\n9\r\n", false, 503),
        (b"_\r\n", false, 503),
        (b"#t\r\n", false, 503),
        (b"-OOM x\r\n", false, 503),
        (b"-MOVED 1 127.0.0.1:1\r\n", false, 503),
        (b":9", false, 503),
    ] {
        let jti = "a token of its own";
        let subject = Subject::Jti(jti.into());
        let digest = Revocation { issuer: None, subject, issued_until: UnixTime(0), expires_at: None }.digest();
        let entry = [bulk(digest.as_bytes()), bulk("1999999999 1999999999"), bulk("9")];
        let then = if has { page(&entry) } else { page(&[]) };
        let port = liar(Lies { list: page(&[]), added: added.to_vec(), then }).await;
        let world =
            World::with(|scene| sharing(taking(scene, ""), port, "").replace("timeout: 1s", "timeout: 200ms")).await;
        let token = world.token().claim("jti", jti);
        let body = json!({ "jti": jti }).to_string();
        let what = String::from_utf8_lossy(added).into_owned();
        assert_eq!(world.gateway.post_revocation("application/json", body).await.0, status, "{what}");
        let expected = if status == 204 { revoked() } else { ok() };
        assert_eq!(judge(&world, &world.gateway, &world.sign(&token)).await, expected, "{what}");
    }
}
