//! One proof, one request (RFC 9449 §11.1), whatever the protocol, the time, the load and the spelling of the target.

use std::time::Duration;

use bytes::Bytes;
use fapi_gateway::clock::Clock;
use http::{Request, StatusCode};
use sandbox::tokens::{KeyKind, Proof, SigningKey};
use tokio::task::JoinSet;

use super::{Stage, ok, refused};
use crate::support::client::Client;
use crate::support::{Holder, ORIGIN, Running, Scene, TestClock, dpop_request};

/// FAPI2-RS-16.
#[tokio::test(flavor = "multi_thread")]
async fn dpop_39_conf_dp_12_a_second_use_is_refused_for_as_long_as_the_proof_is_fresh() {
    let stage = Stage::start().await;
    for kept in [false, true] {
        let proof = stage.proof();
        let mut connection = stage.client().connect().await.unwrap();
        for expected in [200, 401, 401] {
            let request = stage.holder.request("/accounts", &proof);
            let status = if kept {
                connection.send(request).await.unwrap().status()
            } else {
                stage.send(request).await.status()
            };
            assert_eq!(status, expected);
        }
    }
    let proof = stage.proof().claim("iat", stage.now() + 10);
    stage.passes("control", &proof).await;
    for advance in [1, 59, 10] {
        stage.world.clock.advance(advance);
        stage.refuses("dpop_replayed", "still fresh", &proof).await;
    }
    stage.world.clock.advance(1);
    stage.refuses("dpop_stale", "no longer", &proof).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_41_a_proof_is_not_used_up_by_a_request_that_is_refused_for_its_body() {
    let stage = Stage::start().await;
    let url = format!("{ORIGIN}/accounts");
    let proof = Proof::new("POST", &url, stage.now()).for_token(&stage.holder.token).sign(&stage.holder.key);
    let form = |body: &'static str| {
        let request = Request::post(&url)
            .header("authorization", format!("DPoP {}", stage.holder.token))
            .header("dpop", &proof)
            .header("content-type", "application/x-www-form-urlencoded");
        request.body(Bytes::from_static(body.as_bytes())).unwrap()
    };
    let refused_for_its_body = (400, "credentials_repeated".to_owned());
    for _ in 0..2 {
        assert_eq!(stage.judge_request(form("amount=1&access_token=other")).await, refused_for_its_body);
    }
    // The accounts API has no POST here; what counts is that the request reaches it once.
    assert_eq!(stage.judge_request(form("amount=1")).await, (404, "ok".to_owned()), "control");
    assert_eq!(stage.judge_request(form("amount=1")).await, refused("dpop_replayed"));
    // A proof that would be refused as used is not told apart by its body: that is judged first.
    assert_eq!(stage.judge_request(form("access_token=other")).await, refused_for_its_body);
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_39_the_signature_is_no_part_of_what_a_proof_is_known_by() {
    let stage = Stage::start().await;
    let proof = stage.proof();
    let (one, two) = (proof.sign(&stage.holder.key), proof.sign(&stage.holder.key));
    assert_ne!(one, two, "ECDSA signs differently each time");
    assert_eq!(stage.judge_text(&one).await, ok());
    assert_eq!(stage.judge_text(&two).await, refused("dpop_replayed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_39_no_spelling_of_the_target_makes_a_used_proof_new() {
    let stage = Stage::start().await;
    let proof = stage.holder.proof("/accounts/%C3%A9", stage.now());
    for (target, expected) in [
        ("/accounts/%c3%a9", ok()),
        ("/accounts/%C3%A9", refused("dpop_replayed")),
        ("/accounts/%C3%a9", refused("dpop_replayed")),
        ("/accounts/%C3%A9?other=query", refused("dpop_replayed")),
    ] {
        assert_eq!(stage.judge_request(stage.holder.request(target, &proof)).await.1, expected.1, "{target}");
    }
    let proof = stage.proof().sign(&stage.holder.key);
    for (host, expected) in [("localhost", 200), ("LOCALHOST", 401), ("localhost:443", 401), ("localhost.", 401)] {
        let raw = format!(
            "GET /accounts HTTP/1.1\r\nHost: {host}\r\nAuthorization: DPoP {}\r\nDPoP: {proof}\r\nConnection: close\r\n\r\n",
            stage.holder.token
        );
        let answer = String::from_utf8(stage.client().raw(raw.as_bytes()).await).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected} ")), "{host}: {answer}");
    }
    for htu in ["https://localhost/accounts?1", "HTTPS://LOCALHOST:443/./accounts", "https://localhost/%61ccounts"] {
        // Another htu with the same jti makes another proof, but for the same target and so the same use.
        let again = stage.proof().claim("jti", "one").claim("htu", htu);
        let expected = if htu.ends_with("?1") { ok() } else { refused("dpop_replayed") };
        assert_eq!(stage.judge(&again).await, expected, "{htu}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_40_atk_tk_12_of_64_uses_at_a_time_exactly_one_passes() {
    let stage = Stage::start().await;
    for _ in 0..3 {
        let proof = stage.proof().sign(&stage.holder.key);
        let request = || dpop_request("/accounts", &stage.holder.token, &proof);
        let streams = stage.client().h2().connect().await.unwrap();
        let mut connections = Vec::new();
        for place in 0..64 {
            connections.push(match place % 2 {
                0 => streams.another().unwrap(),
                _ => stage.client().h1().connect().await.unwrap(),
            });
        }
        let mut uses = JoinSet::new();
        for mut connection in connections {
            let request = request();
            uses.spawn(async move { connection.send(request).await.unwrap() });
        }
        let answers = uses.join_all().await;
        let passed = answers.iter().filter(|answer| answer.status() == 200).count();
        assert_eq!((answers.len(), passed), (64, 1));
        for answer in answers.iter().filter(|answer| answer.status() != 200) {
            assert_eq!(stage.world.gateway.record_of(answer)["code"], "dpop_replayed");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sz_07_one_client_cannot_fill_the_log_for_the_others() {
    let stage = Stage::with(|scene| scene.replace("upstreams:\n", "replay: { max_entries: 1000 }\nupstreams:\n")).await;
    let flood = stage.world.holder();
    let proof = || flood.request("/accounts", &flood.proof("/accounts", stage.now()));
    let mut connection = stage.client().h2().connect().await.unwrap();
    for _ in 0..100 {
        assert_eq!(connection.send(proof()).await.unwrap().status(), StatusCode::OK);
    }
    let response = connection.send(proof()).await.unwrap();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()["retry-after"], "5");
    assert!(!response.headers().contains_key("www-authenticate"));
    assert_eq!(stage.world.gateway.record_of(&response)["code"], "replay_share_exceeded");
    stage.passes("control: another client", &stage.proof()).await;
    let metrics = stage.world.gateway.admin("/metrics").await.1;
    let counted = "fapi_gateway_replay_requests_total{outcome=\"share_exceeded\",store=\"memory\"} 1\n";
    assert!(metrics.contains(counted), "{metrics}");
    stage.world.clock.advance(80);
    assert_eq!(connection.send(proof()).await.unwrap().status(), StatusCode::OK, "its share is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_40_atk_sz_07_a_full_log_refuses_and_forgets_nothing() {
    let stage = Stage::with(|scene| {
        scene.replace(
            "upstreams:\n",
            "replay: { store: memory, max_entries: 1000, max_entries_per_key: 1000 }\nupstreams:\n",
        )
    })
    .await;
    let first = stage.proof();
    stage.passes("control", &first).await;
    let flood = stage.world.holder();
    let streams = stage.client().h2().connect().await.unwrap();
    let mut uses = JoinSet::new();
    for _ in 0..9 {
        let mut connection = streams.another().unwrap();
        let requests: Vec<Request<Bytes>> =
            (0..111).map(|_| flood.request("/accounts", &flood.proof("/accounts", stage.now()))).collect();
        uses.spawn(async move {
            for request in requests {
                assert_eq!(connection.send(request).await.unwrap().status(), StatusCode::OK);
            }
        });
    }
    uses.join_all().await;
    let response = stage.send(stage.holder.request("/accounts", &stage.proof())).await;
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "5");
    assert!(!response.headers().contains_key("www-authenticate"));
    let record = stage.world.gateway.record_of(&response);
    assert_eq!((&record["code"], &record["decision"]), (&"replay_log_unavailable".into(), &"error".into()));
    stage.refuses("dpop_replayed", "a used proof is still known", &first).await;
    let bound = crate::support::request("/accounts", &stage.world.sign(&stage.world.token()));
    assert_eq!(stage.world.judge(bound).await, ok(), "a request that needs no log is served");
    stage.world.clock.advance(80);
    stage.passes("there is room again once the proofs have expired", &stage.proof()).await;
    stage.refuses("dpop_stale", "an expired proof cannot be used", &first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_41_atk_tk_24_only_a_request_that_passes_uses_a_proof_up() {
    let stage = Stage::start().await;
    let proof = stage.proof().claim("jti", "X");
    let good = proof.sign(&stage.holder.key);
    let (signed, _) = good.rsplit_once('.').unwrap();
    let stranger = SigningKey::generate(KeyKind::Es256, "stranger");
    let (_, forged) = good.rsplit_once('.').map(|_| ((), proof.sign(&stranger))).unwrap();
    let borrowed = forged.rsplit_once('.').unwrap().1;
    stage.refuses_text("dpop_signature_invalid", "a bad signature", &format!("{signed}.{borrowed}")).await;
    stage.refuses_text("dpop_key_mismatch", "another's key", &forged).await;
    stage.refuses("dpop_ath_mismatch", "another token", &proof.clone().claim("ath", "x")).await;
    stage.refuses("dpop_stale", "stale", &proof.clone().claim("iat", 1)).await;
    let unknown = dpop_request("/accounts/1", &stage.holder.token, &good);
    stage.refuses_request("dpop_uri_mismatch", "another path", unknown).await;
    assert_eq!(stage.judge_text(&good).await, ok(), "the proof is not used up");
    assert_eq!(stage.judge_text(&good).await, refused("dpop_replayed"), "now it is");
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_43_dec_05_a_jti_belongs_to_its_key_and_target() {
    let stage = Stage::start().await;
    let other = stage.world.holder();
    let same = |proof: Proof| proof.claim("jti", "X");
    for holder in [&stage.holder, &other] {
        for path in ["/accounts", "/accounts/1"] {
            let request = || holder.request(path, &same(holder.proof(path, stage.now())));
            // The upstream may not know the path; it is enough that the request reached it.
            assert_eq!(stage.judge_request(request()).await.1, "ok", "{path}");
            assert_eq!(stage.judge_request(request()).await, refused("dpop_replayed"), "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_39_a_proof_is_used_once_even_with_two_tokens_of_its_key() {
    let stage = Stage::start().await;
    let token = stage.world.issuer.token(stage.now()).bound_to_key(stage.holder.key.thumbprint());
    let second = Holder { key: stage.holder.key.clone(), token: stage.world.sign(&token) };
    stage.passes("control", &stage.proof().claim("jti", "X")).await;
    let again = second.proof("/accounts", stage.now()).claim("jti", "X");
    assert_eq!(stage.judge_request(second.request("/accounts", &again)).await, refused("dpop_replayed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_39_a_clock_that_is_set_back_brings_nothing_to_life_again() {
    let stage = Stage::start().await;
    let (used, unused) = (stage.proof(), stage.proof());
    stage.passes("control", &used).await;
    stage.world.clock.advance(200);
    stage.passes("this request makes the log drop old entries", &stage.proof()).await;
    stage.world.clock.set_back(200);
    let mut nonce = String::new();
    for (what, proof) in [("used", &used), ("unused, but no longer known to be", &unused)] {
        let response = stage.send(stage.holder.request("/accounts", proof)).await;
        assert_eq!(stage.world.gateway.record_of(&response)["code"], "dpop_nonce_required", "{what}");
        nonce = response.headers()["dpop-nonce"].to_str().unwrap().to_owned();
    }
    stage.passes("one more attempt is enough", &stage.proof().claim("nonce", nonce)).await;
    let metrics = stage.world.gateway.admin("/metrics").await.1;
    assert!(metrics.contains("fapi_gateway_clock_step_seconds 200\n"), "{metrics}");
    stage.world.clock.advance(11);
    stage.passes("no nonce is needed any more", &stage.proof()).await;
    stage.refuses("dpop_nonce_required", "used", &used).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_by_no_more_than_the_skew_asks_nobody_for_a_nonce() {
    let stage = Stage::start().await;
    stage.passes("control", &stage.proof()).await;
    stage.world.clock.set_back(10);
    stage.passes("within the skew", &stage.proof()).await;
    let metrics = stage.world.gateway.admin("/metrics").await.1;
    assert!(metrics.contains("fapi_gateway_clock_step_seconds 0\n"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_whose_clock_was_wrong_at_the_start_locks_nobody_out_and_takes_nothing_twice() {
    let stage = Stage::start().await;
    let world = &stage.world;
    let used = stage.proof();
    stage.passes("control", &used).await;
    // How far the clock is ahead at the start, or behind.
    for (ahead, behind) in [(3600, 0), (0, 100)] {
        let clock = TestClock::new();
        clock.advance(120 + ahead);
        clock.set_back(behind);
        let time = clock.clone();
        let passed = TestClock::new();
        let monotonic = passed.clone();
        let scene = Scene::new(&world.authority, world.issuer.issuer(), world.accounts.address());
        let gateway = Running::start_by(
            scene,
            Clock::from_fn(move || Duration::from_secs(time.now()))
                .with_monotonic(move || Duration::from_secs(monotonic.now())),
        );
        gateway.ready().await;
        clock.set_back(clock.now());
        clock.advance(stage.now());
        let client = Client::new(gateway.address(), &world.authority).origin(ORIGIN);
        let judge = async |proof: &Proof| {
            let response = client.send(stage.holder.request("/accounts", proof)).await.unwrap();
            let nonce = response.headers().get("dpop-nonce").map(|nonce| nonce.to_str().unwrap().to_owned());
            (gateway.record_of(&response)["code"].as_str().unwrap().to_owned(), nonce)
        };
        let (code, nonce) = judge(&used).await;
        assert_eq!(code, "dpop_nonce_required", "{ahead} {behind}: it was used before the start");
        let again = stage.proof().claim("nonce", nonce.expect("a nonce to use"));
        assert_eq!(judge(&again).await.0, "ok", "{ahead} {behind}: one more attempt is enough");
        for clock in [&clock, &passed, &world.clock] {
            clock.advance(11);
        }
        assert_eq!(judge(&stage.proof()).await.0, "ok", "{ahead} {behind}: no nonce is needed any more");
        assert_eq!(judge(&used).await.0, "dpop_nonce_required", "{ahead} {behind}");
    }
}

/// OPS-09.
#[tokio::test(flavor = "multi_thread")]
async fn atk_tk_12_what_was_used_before_a_restart_is_not_used_after() {
    let stage = Stage::start().await;
    let world = &stage.world;
    // Including a proof used before its `iat`, and a restart within the second of its use.
    let used = [stage.proof(), stage.proof().claim("iat", stage.now() + 9)];
    for proof in &used {
        stage.passes("control", proof).await;
    }
    let scene = Scene::new(&world.authority, world.issuer.issuer(), world.accounts.address());
    let restarted = Running::start(scene, &world.clock).await;
    restarted.ready().await;
    let client = Client::new(restarted.address(), &world.authority).origin(ORIGIN);
    for wait in [0, 1, 8, 10] {
        world.clock.advance(wait);
        for proof in &used {
            let response = client.send(stage.holder.request("/accounts", proof)).await.unwrap();
            assert_eq!(restarted.record_of(&response)["code"], "dpop_nonce_required", "the log no longer knows");
        }
    }
    let response = client.send(stage.holder.request("/accounts", &stage.proof())).await.unwrap();
    assert_eq!(restarted.record_of(&response)["code"], "ok", "control: made after the start");
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_tk_12_a_gateway_is_ready_when_no_honest_client_needs_a_nonce_for_its_start() {
    const YOUNG: &str = "waiting until the replay log knows every use of a proof\n";
    let stage = Stage::start().await;
    let world = &stage.world;
    let start = async |from: &str, to: &str| {
        let scene = Scene::new(&world.authority, world.issuer.issuer(), world.accounts.address());
        let gateway = Running::start(scene.replace(from, to), &world.clock).await;
        gateway.ready().await;
        gateway
    };
    let (upstreams, profile) = ("upstreams:\n", "profile: fapi2-security\n");
    // Where no proof passes without a nonce, a client is asked for one anyway.
    for (from, to) in [(upstreams, "dpop: { nonce: always }\nupstreams:\n"), (profile, "profile: fapi1-advanced\n")] {
        assert_eq!(start(from, to).await.admin("/readyz").await.0, 200, "{to}");
    }
    for keys in ["dpop: { nonce: never }\nupstreams:\n", "dpop: { nonce: when_stale }\nupstreams:\n"] {
        let gateway = start(upstreams, keys).await;
        let client = Client::new(gateway.address(), &world.authority).origin(ORIGIN);
        let judge = async || {
            let response = client.send(stage.holder.request("/accounts", &stage.proof())).await.unwrap();
            gateway.record_of(&response)["code"].as_str().unwrap().to_owned()
        };
        for wait in [0, 10] {
            world.clock.advance(wait);
            assert_eq!(gateway.admin("/readyz").await, (503, YOUNG.to_owned()), "{keys}");
            assert_eq!(gateway.admin("/livez").await.0, 200, "{keys}");
            assert_eq!(judge().await, "dpop_nonce_required", "{keys}: it serves, and asks for nonces");
        }
        world.clock.advance(1);
        assert_eq!(gateway.admin("/readyz").await, (200, "ok\n".to_owned()), "{keys}");
        assert_eq!(judge().await, "ok", "{keys}: from the first second in which it is ready");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_40_a_reload_that_lengthens_the_life_of_proofs_brings_none_back_and_a_failed_one_changes_nothing() {
    let stage = Stage::with(|scene| scene.append("dpop: { proof_max_age: 2s }\n")).await;
    let folder = stage.world.gateway.folder();
    let text = std::fs::read_to_string(folder.path().join("gateway.yaml")).unwrap();
    let reload = async |count: usize, text: &str| {
        folder.write("gateway.yaml", text);
        stage.world.attempt_reload(count).await;
    };
    let longer = text.replace("proof_max_age: 2s", "proof_max_age: 300s");
    reload(1, &longer.replace("server-key.pem", "gone.pem")).await;
    stage.passes("a failed reload does not require nonces", &stage.proof()).await;
    let used = stage.proof();
    stage.passes("control", &used).await;
    stage.world.clock.advance(3);
    reload(2, &longer).await;
    for wait in [0, 20] {
        stage.world.clock.advance(wait);
        stage.refuses("dpop_nonce_required", "the log no longer holds it, and it is too old", &used).await;
    }
    stage.passes("control", &stage.proof()).await;
}
