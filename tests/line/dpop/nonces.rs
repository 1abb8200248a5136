//! Nonces (RFC 9449 §8, §9): when they are required, how long they are valid, which gateways accept them.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use sandbox::https::{Answer, HttpServer};
use sandbox::tokens::Proof;

use super::{Stage, lines, ok, refused};
use crate::support::client::Client;
use crate::support::{Holder, ORIGIN, Running, Scene, World, dpop_request};

const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n";
const OTHER: &str = "202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f\n";

/// Sets `dpop`, with the nonce keys in a file.
fn dpop(keys: &str, settings: &str) -> impl FnOnce(Scene) -> Scene {
    let text = format!("dpop: {{ nonce_key: nonce.key, nonce_lifetime: 60s{settings} }}\nupstreams:\n");
    let keys = keys.to_owned();
    move |scene| scene.file("nonce.key", &keys).replace("upstreams:\n", &text)
}

/// The nonce of a response, if it has one: 1*NQCHAR (RFC 9449 §8.1).
fn nonce(response: &Response<Bytes>) -> Option<String> {
    let nonces = lines(response, "dpop-nonce");
    assert!(nonces.len() <= 1, "DPOP-33: {nonces:?}");
    let nonce = nonces.first()?;
    let nqchar = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    assert!(!nonce.is_empty() && nonce.bytes().all(nqchar), "DPOP-33: {nonce}");
    assert_eq!(response.headers()["cache-control"], "no-store", "DPOP-36");
    Some((*nonce).to_owned())
}

impl Stage {
    /// Moves the clock to the first second of a window, and takes a token that is valid from there on.
    fn at_a_window(mut self) -> Self {
        let now = self.now();
        self.world.clock.advance(60 - now % 60);
        self.renew();
        self
    }

    fn renew(&mut self) {
        let token = self.world.issuer.token(self.now()).bound_to_key(self.holder.key.thumbprint());
        self.holder.token = self.world.sign(&token);
    }

    async fn send_proof(&self, proof: &Proof) -> Response<Bytes> {
        self.send(self.holder.request("/accounts", proof)).await
    }

    /// The nonce in the response to a proof without one.
    async fn asked_for(&self) -> String {
        let response = self.send_proof(&self.proof()).await;
        assert_eq!(self.world.gateway.record_of(&response)["code"], "dpop_nonce_required");
        nonce(&response).expect("a nonce to use")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_18_dpop_34_dpop_37_always_means_every_proof() {
    let stage = Stage::with(dpop(KEY, ", nonce: always")).await.at_a_window();
    for client in [stage.client().h1(), stage.client().h2()] {
        let response = client.send(stage.holder.request("/accounts", &stage.proof())).await.unwrap();
        assert_eq!(response.status(), 401);
        let fresh = nonce(&response).expect("DPOP-34");
        let challenges = lines(&response, "www-authenticate");
        assert!(
            challenges[0].starts_with(&format!("DPoP realm=\"{ORIGIN}\", error=\"use_dpop_nonce\"")),
            "{challenges:?}"
        );
        assert!(challenges.len() == 2 && !challenges[1].contains("error"), "{challenges:?}");
        let body: serde_json::Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(body["error"], "use_dpop_nonce");
        // The one retry succeeds, and unless the nonce is about to expire no other is required.
        let response = client
            .send(stage.holder.request("/accounts", &stage.proof().claim("nonce", fresh.as_str())))
            .await
            .unwrap();
        assert_eq!((response.status(), nonce(&response)), (StatusCode::OK, None));
        for wrong in ["wrong", "", &fresh[1..], &format!("{fresh}A"), "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
            let response =
                client.send(stage.holder.request("/accounts", &stage.proof().claim("nonce", wrong))).await.unwrap();
            assert_eq!(stage.world.gateway.record_of(&response)["code"], "dpop_nonce_required", "{wrong:?}");
            assert_eq!(nonce(&response).as_ref(), Some(&fresh));
        }
    }
    // DPOP-37: a client that has been given a nonce cannot continue without one.
    assert_eq!(stage.judge(&stage.proof()).await, refused("dpop_nonce_required"));
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_18_a_nonce_is_only_asked_of_a_proof_that_is_good_so_far() {
    let stage = Stage::with(dpop(KEY, ", nonce: always")).await;
    for (code, proof) in [
        ("dpop_uri_mismatch", stage.proof().claim("htu", "https://localhost/other")),
        ("dpop_method_mismatch", stage.proof().claim("htm", "PUT")),
        ("dpop_claim_missing", stage.proof().without("jti")),
        ("dpop_ath_mismatch", stage.proof().claim("ath", "x")),
    ] {
        let response = stage.send_proof(&proof).await;
        assert_eq!(stage.world.gateway.record_of(&response)["code"], code);
        assert_eq!(nonce(&response), None, "{code}");
    }
    // A proof with another key is refused at once, without asking for a nonce.
    let stolen = stage.proof().sign(&stage.world.holder().key);
    let response = stage.send(dpop_request("/accounts", &stage.holder.token, &stolen)).await;
    assert_eq!(stage.world.gateway.record_of(&response)["code"], "dpop_key_mismatch");
    assert_eq!(nonce(&response), None);
    stage.asked_for().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_35_a_nonce_is_good_for_two_lifetimes_and_the_next_comes_after_one() {
    let stage = Stage::with(dpop(KEY, ", nonce: always")).await.at_a_window();
    let first = stage.asked_for().await;
    let with = |nonce: &str| stage.proof().claim("nonce", nonce);
    stage.world.clock.advance(59);
    let response = stage.send_proof(&with(&first)).await;
    assert_eq!((response.status(), nonce(&response)), (StatusCode::OK, None), "within its lifetime");
    stage.world.clock.advance(1);
    let response = stage.send_proof(&with(&first)).await;
    assert_eq!(response.status(), 200, "in the next");
    let second = nonce(&response).expect("a newer one, before this one expires");
    assert_ne!(second, first);
    stage.world.clock.advance(59);
    for good in [&first, &second] {
        assert_eq!(stage.judge(&with(good)).await, ok(), "parallel requests with either");
    }
    stage.world.clock.advance(1);
    let response = stage.send_proof(&with(&first)).await;
    assert_eq!(stage.world.gateway.record_of(&response)["code"], "dpop_nonce_required", "the nonce has expired");
    assert!(nonce(&response).is_some());
    assert_eq!(stage.judge(&with(&second)).await, ok(), "control");
}

#[tokio::test(flavor = "multi_thread")]
async fn dec_02_with_a_nonce_the_nonce_tells_the_age() {
    for mode in ["always", "when_stale"] {
        let stage = Stage::with(dpop(KEY, &format!(", nonce: {mode}"))).await.at_a_window();
        let now = stage.now();
        let response = stage.send_proof(&stage.proof().claim("iat", now - 3600)).await;
        let fresh = nonce(&response).expect("a client with a wrong clock can continue with a nonce");
        assert_eq!(stage.world.gateway.record_of(&response)["code"], "dpop_nonce_required");
        for iat in [now - 7200, now - 3600, now - 61, now, now + 11, now + 3600, now + 7200] {
            let proof = stage.proof().claim("iat", iat).claim("nonce", fresh.as_str());
            stage.passes(&format!("CONF-DP-11, {mode}: {iat} at {now}"), &proof).await;
            stage.refuses("dpop_replayed", &format!("{mode}: {iat} at {now}"), &proof).await;
        }
        for iat in [0, now - 7201, now + 7201] {
            let proof = stage.proof().claim("iat", iat).claim("nonce", fresh.as_str());
            stage.refuses("dpop_stale", &format!("{mode}: {iat} at {now}"), &proof).await;
        }
        // Until the nonce expires.
        let proof = stage.proof().claim("iat", now - 3600).claim("nonce", fresh.as_str());
        stage.passes("control", &proof).await;
        stage.world.clock.advance(119);
        stage.refuses("dpop_replayed", "in the last second of the nonce", &proof).await;
        stage.world.clock.advance(1);
        stage.refuses("dpop_nonce_required", "after the last second of the nonce", &proof).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_stale_asks_only_those_whose_clock_is_wrong_and_never_asks_nobody() {
    let stage = Stage::with(dpop(KEY, ", nonce: when_stale")).await.at_a_window();
    let now = stage.now();
    stage.passes("a correct clock needs no nonce", &stage.proof()).await;
    stage.passes("a nonce that nobody asked for is ignored", &stage.proof().claim("nonce", "junk")).await;
    for iat in [now - 61, now + 11] {
        stage.refuses("dpop_nonce_required", "stale", &stage.proof().claim("iat", iat)).await;
        let junk = stage.proof().claim("iat", iat).claim("nonce", "junk");
        stage.refuses("dpop_nonce_required", "stale, with an invalid nonce", &junk).await;
    }

    let never = Stage::with(dpop(KEY, ", nonce: never")).await;
    let response = never.send_proof(&never.proof().claim("iat", never.now() - 3600)).await;
    assert_eq!(
        (never.world.gateway.record_of(&response)["code"].as_str(), nonce(&response)),
        (Some("dpop_stale"), None)
    );
    never.passes("a nonce that the gateway did not issue", &never.proof().claim("nonce", "junk")).await;
    // A nonce that the gateway issued does not vouch for a proof where no nonce is required.
    let ours = stage.send_proof(&stage.proof().claim("iat", now - 3600)).await;
    let proof = never.proof().claim("iat", never.now() - 3600).claim("nonce", nonce(&ours).unwrap());
    never.refuses("dpop_stale", "a good nonce", &proof).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_47_a_route_has_its_own_mode() {
    let route = |name: &str, nonce: &str| {
        format!(
            "  - {{ name: {name}, path: /{name}, methods: [GET], scopes: [accounts], dpop: {{ nonce: {nonce} }}, upstream: accounts }}\n"
        )
    };
    let routes = [route("strict", "always"), route("lax", "never")].concat();
    let stage = Stage::with(|scene| {
        dpop(KEY, ", nonce: when_stale")(scene.replace("routes:\n", &format!("routes:\n{routes}")))
    })
    .await;
    let judge = async |path: &str, iat: u64| {
        let proof = stage.holder.proof(path, stage.now()).claim("iat", iat);
        stage.judge_request(stage.holder.request(path, &proof)).await.1
    };
    let (now, stale) = (stage.now(), stage.now() - 3600);
    for (path, fresh, old) in [
        ("/accounts", "ok", "dpop_nonce_required"),
        ("/strict", "dpop_nonce_required", "dpop_nonce_required"),
        ("/lax", "ok", "dpop_stale"),
    ] {
        assert_eq!((judge(path, now).await.as_str(), judge(path, stale).await.as_str()), (fresh, old), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_33_an_upstreams_nonce_never_reaches_the_client() {
    let theirs = HttpServer::start(
        None,
        None,
        Arc::new(|_| {
            let name = HeaderName::from_static("dpop-nonce");
            Answer::text(StatusCode::OK, "x").header(name.clone(), HeaderValue::from_static("theirs"))
        }),
    )
    .unwrap();
    let address = theirs.address();
    let stage = Stage::with(|scene| {
        let extra = format!(
            "  theirs: {{ servers: [\"http://{address}\"] }}\nroutes:\n  - {{ name: theirs, path: /theirs, methods: [GET], scopes: [accounts], upstream: theirs }}\n"
        );
        dpop(KEY, ", nonce: always")(scene.replace("routes:\n", &extra))
    })
    .await
    .at_a_window();
    let first = stage.asked_for().await;
    for (advance, expected) in [(0, false), (60, true)] {
        stage.world.clock.advance(advance);
        for client in [stage.client().h1(), stage.client().h2()] {
            let proof = stage.holder.proof("/theirs", stage.now()).claim("nonce", first.as_str());
            let response = client.send(stage.holder.request("/theirs", &proof)).await.unwrap();
            let nonce = nonce(&response);
            assert_eq!((response.status(), nonce.is_some()), (StatusCode::OK, expected));
            assert_ne!(nonce.as_deref(), Some("theirs"));
        }
    }
}

/// Starts another gateway with the configuration of the same world.
async fn replica(world: &World, keys: &str) -> Running {
    replica_with(world, keys, ", nonce: always").await
}

async fn replica_with(world: &World, keys: &str, settings: &str) -> Running {
    let scene = Scene::new(&world.authority, world.issuer.issuer(), world.accounts.address());
    let replica = Running::start(dpop(keys, settings)(scene), &world.clock).await;
    replica.ready().await;
    replica
}

async fn judge_at(world: &World, gateway: &Running, holder: &Holder, proof: &Proof) -> (String, Option<String>) {
    let client = Client::new(gateway.address(), &world.authority).origin(ORIGIN);
    let response = client.send(dpop_request("/accounts", &holder.token, &proof.sign(&holder.key))).await.unwrap();
    let code = gateway.record_of(&response)["code"].as_str().unwrap().to_owned();
    let nonce = nonce(&response);
    (code, nonce)
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_38_replicas_with_one_key_know_each_others_nonces() {
    let stage = Stage::with(dpop(KEY, ", nonce: always")).await.at_a_window();
    let (world, holder) = (&stage.world, &stage.holder);
    let same = replica(world, KEY).await;
    let foreign = replica(world, OTHER).await;
    // Rotation: the new key signs while the former is still accepted; then the former is removed.
    let between = replica(world, &format!("{OTHER}{KEY}")).await;
    // Past the time from which a newly started log knows every use.
    world.clock.advance(11);
    let ours = stage.asked_for().await;
    let with = |nonce: &str| stage.proof().claim("nonce", nonce);
    assert_eq!(judge_at(world, &same, holder, &with(&ours)).await, ("ok".into(), None));
    assert_eq!(judge_at(world, &between, holder, &with(&ours)).await, ("ok".into(), None));
    let (code, new) = judge_at(world, &foreign, holder, &with(&ours)).await;
    assert_eq!(code, "dpop_nonce_required");
    let new = new.unwrap();
    assert_eq!(
        judge_at(world, &between, holder, &stage.proof()).await,
        ("dpop_nonce_required".into(), Some(new.clone()))
    );
    assert_eq!(judge_at(world, &between, holder, &with(&new)).await, ("ok".into(), None));
    assert_eq!(judge_at(world, &foreign, holder, &with(&new)).await, ("ok".into(), None), "control");
    assert_eq!(judge_at(world, &same, holder, &with(&new)).await.0, "dpop_nonce_required");
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_35_a_client_with_the_nonce_of_another_replica_is_not_locked_out() {
    for mode in [", nonce: never", ", nonce: when_stale"] {
        let stage = Stage::with(dpop(KEY, mode)).await.at_a_window();
        let (world, holder) = (&stage.world, &stage.holder);
        let other = replica_with(world, OTHER, mode).await;
        // As long as the other replica's log is young it asks for a nonce, which the client keeps for the origin.
        let (code, nonce) = judge_at(world, &other, holder, &stage.proof()).await;
        assert_eq!(code, "dpop_nonce_required");
        let nonce = nonce.expect("a nonce to use");
        for _ in 0..3 {
            let proof = || stage.proof().claim("nonce", nonce.as_str());
            stage.passes("the nonce of another replica", &proof()).await;
            let used = proof();
            stage.passes("control", &used).await;
            stage.refuses("dpop_replayed", "used", &used).await;
            world.clock.advance(60);
            assert_eq!(judge_at(world, &other, holder, &proof()).await.0, "ok", "its own, fresh or expired");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_tk_12_a_nonce_from_before_a_restart_does_not_let_a_used_proof_pass_again() {
    let stage = Stage::with(dpop(KEY, ", nonce: always")).await.at_a_window();
    let (world, holder) = (&stage.world, &stage.holder);
    let nonce = stage.asked_for().await;
    let now = stage.now();
    let used: Vec<Proof> =
        [now, now - 3600].map(|iat| stage.proof().claim("iat", iat).claim("nonce", nonce.as_str())).into();
    for proof in &used {
        stage.passes("the first use", proof).await;
    }
    let restarted = replica(world, KEY).await;
    for wait in [0, 1, 9, 10] {
        world.clock.advance(wait);
        for proof in &used {
            let (code, fresh) = judge_at(world, &restarted, holder, proof).await;
            assert_eq!(code, "dpop_nonce_required", "the log does not know whether it was used before");
            // Each client succeeds with its next attempt, whether its clock is right or wrong.
            let again = proof.clone().claim("jti", uuid::Uuid::new_v4().to_string()).claim("nonce", fresh.unwrap());
            assert_eq!(judge_at(world, &restarted, holder, &again).await.0, "ok");
            assert_eq!(judge_at(world, &restarted, holder, &again).await.0, "dpop_replayed");
        }
    }
}
