//! How far it reaches that a proof passes once: at all replicas, however many uses come at the same moment; at each alone while
//! the store does not answer, where that is waived; and in so many copies of the store as are asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::Request;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::replicas::{Replicas, at, shared, unavailable};
use super::{ok, refused};
use crate::support::client::Connection;
use crate::support::redis::Redis;
use crate::support::{DEADLINE, ORIGIN, Running, Scene, TestClock, World, day, dpop_request};

/// How many proofs are sent, which the environment can raise.
fn proofs(usual: usize) -> usize {
    std::env::var("FAPI_GATEWAY_TEST_PROOFS").ok().map_or(usual, |number| number.parse().expect("a number of proofs"))
}

/// Sends as many proofs, each to two of these gateways at the same moment, and expects each to pass once.
async fn each_passes_at_one_of_two(replicas: &Replicas, gateways: &[&Running], count: usize) {
    let mut connections = Vec::new();
    for gateway in gateways {
        connections.push(replicas.client(gateway).h2().connect().await.unwrap());
    }
    let connections = Arc::new(connections);
    let (next, passed) = (Arc::new(AtomicUsize::new(0)), Arc::new((0..count).map(|_| AtomicUsize::new(0)).collect()));
    let holder = Arc::new(replicas.world.holder());
    let mut sending = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (connections, next, holder) = (connections.clone(), next.clone(), holder.clone());
        let (passed, now): (Arc<Vec<AtomicUsize>>, u64) = (Arc::clone(&passed), replicas.world.clock.now());
        sending.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(passed) = passed.get(number) else { return };
                let proof = holder.proof("/accounts", now).claim("jti", format!("{number}")).sign(&holder.key);
                let send = async |connection: &Connection| {
                    let request = dpop_request("/accounts", &holder.token, &proof);
                    connection.another().unwrap().send(request).await.unwrap().status().as_u16()
                };
                let (one, other) = pair(number, connections.len());
                let (one, other) = tokio::join!(send(&connections[one]), send(&connections[other]));
                for status in [one, other] {
                    assert!(matches!(status, 200 | 401), "{status}");
                    passed.fetch_add(usize::from(status == 200), Ordering::Relaxed);
                }
            }
        });
    }
    while let Some(ended) = sending.join_next().await {
        ended.expect("no request fails");
    }
    let mut times = BTreeMap::new();
    passed.iter().for_each(|passed| *times.entry(passed.load(Ordering::Relaxed)).or_default() += 1);
    assert_eq!(times, BTreeMap::from([(1, count)]), "so many passed so often");
}

/// Two different ones of so many; every pair comes in turn.
fn pair(number: usize, of: usize) -> (usize, usize) {
    let one = number % of;
    (one, (one + 1 + number / of % (of - 1)) % of)
}

const AT_ONCE: usize = 64;

#[test]
fn every_pair_of_replicas_gets_a_proof() {
    let pairs: BTreeSet<_> = (0..20).map(|number| pair(number, 5)).collect();
    assert_eq!(pairs.len(), 20);
    assert!(pairs.iter().all(|(one, other)| one != other));
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_40_atk_tk_12_of_two_uses_at_the_same_moment_at_two_replicas_one_passes() {
    let redis = Redis::start(&[]);
    let replicas = Replicas::start(&at(redis.port()), "").await;
    each_passes_at_one_of_two(&replicas, &replicas.gateways(), proofs(1_000)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_40_atk_tk_12_of_two_uses_at_the_same_moment_at_any_two_of_five_replicas_one_passes() {
    let redis = Redis::start(&[]);
    let server = at(redis.port());
    let replicas = Replicas::start(&server, "").await;
    let mut more = Vec::new();
    for _ in 0..3 {
        more.push(another(&replicas.world, |scene| shared(scene, &server, "")).await);
    }
    // Each log is older than the proofs.
    replicas.world.clock.advance(120);
    let gateways: Vec<&Running> = replicas.gateways().into_iter().chain(&more).collect();
    each_passes_at_one_of_two(&replicas, &gateways, proofs(1_000)).await;
}

/// One more gateway that accepts the same tokens, by the same clock.
async fn another(world: &World, adjust: impl FnOnce(Scene) -> Scene) -> Running {
    let scene = Scene::new(&world.authority, world.issuer.issuer(), world.accounts.address());
    let gateway = Running::start(adjust(scene), &world.clock).await;
    gateway.ready().await;
    gateway
}

/// A scene in which replicas decide by themselves on the route `accounts`, up to the end of this day.
fn waiving(scene: Scene, server: &str, until: &str) -> Scene {
    let waiver = format!("{{ rule: replay.on_failure.local, route: accounts, reason: a test, until: {until} }}");
    shared(scene, server, "")
        .replace("replay: { store: shared }", "replay: { store: shared, on_failure: local }")
        .append(&format!("waivers:\n  - {waiver}\n"))
}

/// A day that has not begun, and the second after it.
fn tomorrow() -> (String, u64) {
    let day_after = (sandbox::now() / DAY + 2) * DAY;
    (day(day_after - 1), day_after)
}

const DAY: u64 = 24 * 60 * 60;

async fn level(gateway: &Running) -> Value {
    gateway.readiness().await.1["guarantees"]["replay"].clone()
}

async fn becomes(gateway: &Running, expected: &str) {
    let reached = async { while level(gateway).await != expected {} };
    timeout(DEADLINE, reached).await.unwrap_or_else(|_| panic!("the guarantee is never {expected}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_silent_each_replica_decides_where_that_is_waived_and_the_store_is_told_later() {
    let redis = Redis::start(&[]);
    let server = at(redis.port());
    let replicas = Replicas::with(|scene| waiving(scene, &server, &tomorrow().0)).await;
    let [one, other] = replicas.gateways();
    let proof = || replicas.proof().sign(&replicas.holder.key);
    assert_eq!(replicas.judge(one, &proof()).await, ok());
    assert_eq!((level(one).await, one.admin("/readyz").await), ("shared".into(), (200, "ok\n".to_owned())));
    redis.pause();
    let (at_both, at_one) = (proof(), proof());
    for proof in [&at_both, &at_one] {
        assert_eq!(replicas.judge(one, proof).await, ok());
        assert_eq!(replicas.judge(one, proof).await, refused("dpop_replayed"), "at this one it was used");
    }
    assert_eq!(replicas.judge(other, &at_both).await, ok(), "and this one cannot know");
    assert_eq!(level(one).await, "degraded");
    assert_eq!(one.admin("/readyz").await, (200, "ok\nreplay is degraded\n".to_owned()));
    let metrics = one.admin("/metrics").await.1;
    for metric in [
        "fapi_gateway_guarantee{level=\"degraded\",name=\"replay\"} 1\n",
        "fapi_gateway_guarantee{level=\"shared\",name=\"replay\"} 0\n",
        "fapi_gateway_replay_requests_total{outcome=\"alone\",store=\"shared\"} 2\n",
    ] {
        assert!(metrics.contains(metric), "{metric}{metrics}");
    }
    // A route without a waiver.
    let proof = replicas.world.clock.now();
    let proof = sandbox::tokens::Proof::new("POST", &format!("{ORIGIN}/payments"), proof);
    let proof = proof.for_token(&replicas.holder.token).sign(&replicas.holder.key);
    let payment = Request::post(format!("{ORIGIN}/payments"))
        .header("authorization", format!("DPoP {}", replicas.holder.token))
        .header("dpop", proof)
        .body(Bytes::new())
        .unwrap();
    let response = replicas.client(one).send(payment).await.unwrap();
    assert_eq!(one.record_of(&response)["code"], "replay_log_unavailable");
    redis.resume();
    for gateway in [one, other] {
        becomes(gateway, "shared").await;
    }
    assert_eq!(replicas.judge(other, &at_one).await, refused("dpop_replayed"), "the store was told");
    assert_eq!(replicas.judge(one, &at_both).await, refused("dpop_replayed"));
    replicas.until(one, &ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiver_that_ends_while_the_store_is_gone_has_proofs_refused_without_a_reload() {
    let (until, end) = tomorrow();
    let mut redis = Redis::start(&[]);
    let server = at(redis.port());
    let replicas = Replicas::with(|scene| waiving(scene, &server, &until)).await;
    let [one, _] = replicas.gateways();
    replicas.world.clock.advance(end - 1 - replicas.world.clock.now());
    let holder = replicas.world.holder();
    let judge = async || {
        let request = holder.request("/accounts", &holder.proof("/accounts", replicas.world.clock.now()));
        let response = replicas.client(one).send(request).await.unwrap();
        one.record_of(&response)["code"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(judge().await, "ok", "control");
    redis.kill();
    assert_eq!(judge().await, "ok");
    becomes(one, "degraded").await;
    replicas.world.clock.advance(1);
    assert_eq!(judge().await, "replay_log_unavailable");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_may_have_to_decide_by_itself_asks_proofs_from_before_its_start_for_a_nonce() {
    let redis = Redis::start(&[]);
    let server = at(redis.port());
    let world = World::with(|scene| shared(scene, &server, "")).await;
    // The store is older than the gateways that start now.
    let began = redis.cli(&["GET", "fapi:began"]);
    let run = began.split(' ').next().unwrap();
    assert_eq!(redis.cli(&["SET", "fapi:began", &format!("{run} {}", sandbox::now() - 1000)]), "OK");
    let holder = world.holder();
    for (waived, expected) in [(false, ok()), (true, refused("dpop_nonce_required"))] {
        let gateway = another(&world, |scene| match waived {
            false => shared(scene, &server, ""),
            true => waiving(scene, &server, &tomorrow().0),
        })
        .await;
        let request = holder.request("/accounts", &holder.proof("/accounts", world.clock.now()));
        let client = crate::support::client::Client::new(gateway.address(), &world.authority).origin(ORIGIN);
        let response = client.send(request).await.unwrap();
        let record = gateway.record_of(&response);
        assert_eq!((response.status().as_u16(), record["code"].as_str().unwrap().to_owned()), expected, "{waived}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_use_counts_once_enough_replicas_of_the_store_have_it() {
    let redis = Redis::start(&[]);
    let mut copy = redis.replica();
    let replicas = Replicas::start(&at(redis.port()), ", min_replicas: 1").await;
    let [one, _] = replicas.gateways();
    replicas.until(one, &ok()).await;
    let used = replicas.proof().sign(&replicas.holder.key);
    assert_eq!(replicas.judge(one, &used).await, ok());
    let keys = |of: &Redis| of.cli(&["DBSIZE"]);
    assert_eq!(keys(&copy), keys(&redis), "the copy has it when it counts");
    each_passes_at_one_of_two(&replicas, &replicas.gateways(), 200).await;
    // More than none if the copy began after the gateways.
    let unacknowledged = async || {
        let metrics = one.admin("/metrics").await.1;
        let metric = "fapi_gateway_store_requests_total{outcome=\"unacknowledged\",store=\"shared\"} ";
        metrics.lines().find_map(|line| line.strip_prefix(metric)?.parse::<u64>().ok()).expect("a count")
    };
    let before = unacknowledged().await;
    copy.pause();
    let late = replicas.proof().sign(&replicas.holder.key);
    let record = replicas.record(one, &late).await;
    assert_eq!((&record["status"], &record["code"]), (&503.into(), &"replay_log_unavailable".into()));
    let detail = record["detail"].as_str().unwrap();
    assert!(detail.ends_with("0 of its replicas have it, and `min_replicas` is 1"), "{detail}");
    assert_eq!(replicas.judge(one, &used).await, refused("dpop_replayed"), "what was used needs nobody to agree");
    assert_eq!(unacknowledged().await, before + 1);
    copy.resume();
    replicas.until(one, &ok()).await;
    assert_eq!(replicas.judge(one, &late).await, refused("dpop_replayed"), "it was recorded all the same");
    copy.kill();
    replicas.until(one, &unavailable()).await;
    let without = Replicas::start(&at(redis.port()), "").await;
    assert_eq!(without.judge(without.gateways()[0], &without.proof().sign(&without.holder.key)).await, ok(), "control");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_that_was_used_is_refused_by_a_replica_whose_clock_differs_by_ten_seconds() {
    let redis = Redis::start(&[]);
    let server = at(redis.port());
    let replicas = Replicas::start(&server, "").await;
    let [one, _] = replicas.gateways();
    for ahead in [true, false] {
        let clock = TestClock::new();
        clock.advance(replicas.world.clock.now() - clock.now());
        if ahead {
            clock.advance(10)
        } else {
            clock.set_back(10)
        }
        let world = &replicas.world;
        let scene = Scene::new(&world.authority, world.issuer.issuer(), world.accounts.address());
        let other = Running::start(shared(scene, &server, ""), &clock).await;
        other.ready().await;
        // Its log is older than the proofs.
        for clock in [&clock, &world.clock] {
            clock.advance(60);
        }
        for (first, second) in [(one, &other), (&other, one)] {
            let proof = replicas.proof().sign(&replicas.holder.key);
            assert_eq!(replicas.judge(first, &proof).await, ok(), "{ahead}");
            assert_eq!(replicas.judge(second, &proof).await, refused("dpop_replayed"), "{ahead}");
        }
        // The one whose clock is behind accepts a proof for longer than the other.
        let proof = replicas.proof().sign(&replicas.holder.key);
        let (early, late) = if ahead { (&other, one) } else { (one, &other) };
        assert_eq!(replicas.judge(early, &proof).await, ok());
        for clock in [&clock, &world.clock] {
            clock.advance(if ahead { 55 } else { 65 });
        }
        assert_eq!(replicas.judge(early, &proof).await, refused("dpop_stale"), "control");
        assert_eq!(replicas.judge(late, &proof).await, refused("dpop_replayed"), "{ahead}");
    }
}
