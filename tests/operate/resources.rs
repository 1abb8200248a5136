//! What the gateway reads again and again: a name, an issuer or a file that fails keeps nothing else from coming into
//! force, and the admin listener says what failed.

use std::net::TcpListener;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode};
use sandbox::accounts::AccountsApi;
use sandbox::https::{Answer, HttpServer};
use sandbox::pki::Authority;
use sandbox::tls::tls_config;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::zone::Zone;
use crate::support::{DEADLINE, ORIGIN, Scene, World, free_port};

const GOOD: &str = "fapi_gateway_config_last_reload_success 1";

/// The entry of one resource in `/status`.
async fn resource(world: &World, kind: &str, name: &str) -> Value {
    let (status, body) = world.gateway.admin("/status").await;
    assert_eq!(status, 200);
    let body: Value = serde_json::from_str(&body).expect("JSON");
    let entries = body["resources"].as_array().expect("a list");
    let found = entries.iter().find(|entry| entry["kind"] == kind && entry["name"] == name);
    found.unwrap_or_else(|| panic!("no {kind} {name} in {body}")).clone()
}

async fn state(world: &World, kind: &str, name: &str) -> String {
    resource(world, kind, name).await["state"].as_str().expect("text").to_owned()
}

/// A line of the metrics, without its value.
async fn metric(world: &World, what: &str, kind: &str, name: &str) -> f64 {
    let metrics = world.gateway.admin("/metrics").await.1;
    let line = format!("fapi_gateway_resource_last_{what}_timestamp_seconds{{kind=\"{kind}\",name=\"{name}\"}} ");
    let value = metrics.lines().find_map(|found| found.strip_prefix(&line));
    value.unwrap_or_else(|| panic!("no {line}")).parse().expect("a number")
}

/// What `/readyz` says in JSON for these reasons.
fn not_ready(reasons: &Value) -> Value {
    json!({ "ready": false, "reasons": reasons, "guarantees": { "replay": "local" } })
}

/// Waits until `/readyz` gives this answer.
async fn becomes(world: &World, wanted: (u16, &str)) {
    let reached = async {
        while world.gateway.admin("/readyz").await != (wanted.0, wanted.1.to_owned()) {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, reached).await.unwrap_or_else(|_| panic!("never {wanted:?}"));
}

async fn shown(world: &World) -> Vec<u8> {
    let stream = world.client().raw_stream().await.expect("a handshake");
    stream.get_ref().1.peer_certificates().expect("a certificate")[0].to_vec()
}

/// Replaces the server's certificate and key; returns what new connections should receive after a reload.
fn rotate(world: &World) -> Vec<u8> {
    let server = world.authority.server(&["localhost"]);
    world.gateway.folder().write("server.pem", &server.certificate_pem());
    world.gateway.folder().write("server-key.pem", &server.key_pem());
    server.chain_der[0].to_vec()
}

/// Adds a public route `/named` to the upstream `named`, whose server has a name.
fn with_name(scene: Scene, port: u16) -> Scene {
    let upstream = format!("  named: {{ servers: [\"http://named.test:{port}\"] }}\nroutes:\n");
    scene
        .replace("routes:\n", &upstream)
        .append("  - { name: named, path: /named, methods: [GET], public: true, upstream: named }\n")
}

fn named() -> Request<Bytes> {
    Request::get(format!("{ORIGIN}/named")).body(Bytes::new()).expect("a request")
}

fn answering(text: &'static str) -> HttpServer {
    HttpServer::start(None, None, Arc::new(move |_| Answer::text(StatusCode::OK, text))).expect("a server starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_cannot_be_resolved_during_a_reload_keeps_its_addresses() {
    let (zone, server) = (Arc::new(Zone::default()), answering("named"));
    zone.set("named.test", Some("127.0.0.1"));
    let world = World::with(|scene| with_name(scene.zone(&zone), server.address().port())).await;
    assert_eq!(world.judge(named()).await, (200, "ok".into()));
    assert_eq!(state(&world, "upstream", "named").await, "good");

    zone.set("named.test", None);
    let text = std::fs::read_to_string(world.gateway.folder().path().join("gateway.yaml")).unwrap();
    // An upstream that is renamed keeps the addresses of its names, too.
    for (count, name) in [(1, "named"), (2, "other"), (3, "named")] {
        let text = text
            .replace("  named: {", &format!("  {name}: {{"))
            .replace("upstream: named", &format!("upstream: {name}"));
        world.gateway.folder().write("gateway.yaml", &text);
        world.attempt_reload(count).await;
        assert_eq!(world.judge(named()).await, (200, "ok".into()), "{name}");
        assert_eq!(world.judge(world.request()).await, (200, "ok".into()));
        let entry = resource(&world, "upstream", name).await;
        assert_eq!(entry["state"], "failing", "{entry}");
        assert_eq!(entry["last_error"]["why"], "named.test: the name server does not answer", "{entry}");
    }
    assert!(world.gateway.admin("/metrics").await.1.contains(GOOD), "the configuration itself is in force");
    assert!(metric(&world, "error", "upstream", "named").await > 0.0);
    assert_eq!(world.gateway.admin("/readyz").await, (200, "ok\n".to_owned()));
    assert_eq!(state(&world, "upstream", "accounts").await, "good", "control: the other upstream");

    // A name that was never known has no address, and keeps no other from being served.
    world.gateway.folder().write("gateway.yaml", &text.replace("named.test", "unknown.test"));
    world.attempt_reload(4).await;
    assert_eq!(world.judge(named()).await, (502, "upstream_unreachable".into()));
    assert_eq!(world.judge(world.request()).await, (200, "ok".into()));
    assert_eq!(
        world.gateway.admin("/readyz").await,
        (200, "ok\n".to_owned()),
        "a reload takes no gateway out of service"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_starts_without_an_address_says_of_which_upstream_and_serves_the_others() {
    let (zone, server) = (Arc::new(Zone::default()), answering("named"));
    let world = World::with(|scene| with_name(scene.zone(&zone).never_ready(), server.address().port())).await;
    becomes(&world, (503, "waiting for an address of upstream named\n")).await;
    let text = "waiting for an address of upstream named";
    let reasons = json!([{ "reason": "address", "upstream": "named", "text": text }]);
    assert_eq!(world.gateway.readiness().await, (503, not_ready(&reasons)));
    assert_eq!(world.judge(world.request()).await, (200, "ok".into()), "the others are served");
    assert_eq!(world.judge(named()).await, (502, "upstream_unreachable".into()));
    assert_eq!(state(&world, "upstream", "named").await, "failing");
    assert_eq!(metric(&world, "success", "upstream", "named").await, 0.0);
    zone.set("named.test", Some("127.0.0.1"));
    becomes(&world, (200, "ok\n")).await;
    assert_eq!(world.judge(named()).await, (200, "ok".into()));
    assert!(metric(&world, "success", "upstream", "named").await > 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn readiness_waits_for_every_issuer_but_those_that_are_not_required() {
    let second = |keys: &str| {
        format!(
            "issuers:\n  - {{ name: second, issuer: \"https://second.test\", audiences: [a], \
             jwks_uri: \"https://localhost:{}/jwks\"{keys} }}\n",
            free_port()
        )
    };
    let world = World::with(|scene| scene.replace("issuers:\n", &second("")).never_ready()).await;
    let text = "waiting for the first keys of issuer second";
    becomes(&world, (503, "waiting for the first keys of issuer second\n")).await;
    let reasons = json!([{ "reason": "keys", "issuer": "second", "text": text }]);
    assert_eq!(world.gateway.readiness().await, (503, not_ready(&reasons)));
    assert_eq!(world.judge(world.request()).await, (200, "ok".into()), "the other issuer's tokens are served");

    let world = World::with(|scene| scene.replace("issuers:\n", &second(", required: false"))).await;
    assert_eq!(
        world.gateway.readiness().await,
        (200, json!({ "ready": true, "reasons": [], "guarantees": { "replay": "local" } }))
    );
    assert_eq!(state(&world, "keys", "second").await, "failing", "it is shown all the same");
    assert_eq!(world.judge(world.request()).await, (200, "ok".into()));

    // No route uses it, which is a warning.
    let routes =
        |scene: Scene| scene.replace("    scopes: [accounts]\n", "    scopes: [accounts]\n    issuers: [bank]\n");
    let routes = |scene| routes(scene).replace("    scopes: {", "    issuers: [bank]\n    scopes: {");
    let world =
        World::with(|scene| routes(scene).replace("issuers:\n  - name: bank", &(second("") + "  - name: bank"))).await;
    assert_eq!(world.gateway.readiness().await.0, 200);
    assert_eq!(state(&world, "keys", "second").await, "failing", "control: it is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_was_never_read_keeps_no_file_from_coming_into_force() {
    let theirs = Authority::new("Upstream CA");
    let upstream = AccountsApi::start(None, Some(tls_config(&theirs.server(&["localhost"]), Some(&theirs)))).unwrap();
    let secured = format!(
        "  secured: {{ servers: [\"https://localhost:{}\"], tls: {{ trust_anchors: [upstream-ca.pem], \
         certificate: upstream.pem, private_key: upstream-key.pem }} }}\nroutes:\n",
        upstream.address().port()
    );
    let stranger = Authority::new("Stranger").client("gateway");
    let world = World::with(|scene| {
        scene
            .replace("tokens: jwt", &format!("tokens: jwt\n    jwks_uri: https://localhost:{}/jwks", free_port()))
            .file("upstream-ca.pem", &theirs.pem())
            .file("upstream.pem", &stranger.certificate_pem())
            .file("upstream-key.pem", &stranger.key_pem())
            .replace("routes:\n", &secured)
            .append("  - { name: secured, path: /accounts, methods: [PUT], public: true, upstream: secured }\n")
            .never_ready()
    })
    .await;
    let put = || Request::put(format!("{ORIGIN}/accounts")).body(Bytes::new()).expect("a request");
    assert_eq!(world.judge(put()).await.0, 502, "control: the upstream refuses the credential");
    assert_eq!(world.gateway.admin("/readyz").await.0, 503);
    let text = std::fs::read_to_string(world.gateway.folder().path().join("gateway.yaml")).unwrap();
    let listed =
        text.replace("trust_anchors: [ca.pem] }", "trust_anchors: [ca.pem], revocation_lists: [clients.crl] }");
    assert_ne!(listed, text);
    let folder = world.gateway.folder();
    folder.write("clients.crl", &world.authority.revocation_list_pem(&[&world.c1]));
    folder.write("gateway.yaml", &listed);
    let own = theirs.client("gateway");
    folder.write("upstream.pem", &own.certificate_pem());
    folder.write("upstream-key.pem", &own.key_pem());
    assert!(world.client().handshake().await.is_ok(), "control: not revoked yet");

    let new = rotate(&world);
    world.attempt_reload(1).await;
    let stream = world.anonymous().raw_stream().await.expect("a handshake");
    assert_eq!(stream.get_ref().1.peer_certificates().expect("a certificate")[0].as_ref(), new);
    assert!(world.client().handshake().await.is_err(), "the client's certificate is revoked");
    let answer = world.anonymous().send(put()).await.expect("an answer");
    assert_ne!(answer.status(), 502, "the upstream knows the gateway now");
    assert!(world.gateway.admin("/metrics").await.1.contains(GOOD));
    assert_eq!(state(&world, "revocation_list", "clients.crl").await, "good");
    assert_eq!(state(&world, "keys", "bank").await, "failing");
    assert_eq!(
        world.gateway.admin("/readyz").await,
        (503, "waiting for the first keys of issuer bank\n".to_owned()),
        "what was not ready is not ready"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_is_down_keeps_its_keys_when_a_reload_calls_it_in_another_way() {
    let mut world = World::start().await;
    let folder = world.gateway.folder().path().to_owned();
    let text = std::fs::read_to_string(folder.join("gateway.yaml")).unwrap();
    assert_eq!(world.judge(world.request()).await, (200, "ok".into()));
    world.issuer.stop().await.unwrap();
    let (new, others) = (rotate(&world), Authority::new("Another CA"));
    world.gateway.folder().write("issuer-ca.pem", &(world.authority.pem() + &others.pem()));
    let text = text.replace("    trust_anchors: [ca.pem]\n", "    trust_anchors: [issuer-ca.pem]\n");
    world.gateway.folder().write("gateway.yaml", &text);
    world.attempt_reload(1).await;
    assert_eq!(shown(&world).await, new);
    assert_eq!(world.judge(world.request()).await, (200, "ok".into()), "by the keys that were read before");
    assert_eq!(world.gateway.admin("/readyz").await, (200, "ok\n".to_owned()));
    assert_eq!(state(&world, "keys", "bank").await, "failing");
    assert!(world.gateway.admin("/metrics").await.1.contains(GOOD));

    // The keys are those of an issuer; another one has none until it is read.
    let other = text.replace(world.issuer.issuer(), "https://localhost:9/other");
    assert_ne!(other, text);
    world.gateway.folder().write("gateway.yaml", &other);
    world.attempt_reload(2).await;
    assert_eq!(world.judge(world.request()).await.0, 401, "the tokens are those of the issuer that was removed");
    assert_eq!(world.gateway.admin("/readyz").await.0, 200, "a reload takes no gateway out of service");

    world.gateway.folder().write("gateway.yaml", &text);
    world.issuer.restart().await.unwrap();
    world.attempt_reload(3).await;
    assert_eq!(world.judge(world.request()).await, (200, "ok".into()));
    assert_eq!(state(&world, "keys", "bank").await, "good");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_issuer_that_says_nothing_delays_a_reload_for_a_bounded_time() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let world = World::start().await;
    let text = std::fs::read_to_string(world.gateway.folder().path().join("gateway.yaml")).unwrap();
    let second = format!(
        "issuers:\n  - {{ name: second, issuer: \"https://second.test\", audiences: [a], \
         jwks_uri: \"https://localhost:{}/jwks\" }}\n",
        silent.local_addr().unwrap().port()
    );
    world.gateway.folder().write("gateway.yaml", &text.replace("issuers:\n", &second));
    let new = rotate(&world);
    world.attempt_reload(1).await;
    assert_eq!(shown(&world).await, new);
    assert_eq!(world.judge(world.request()).await, (200, "ok".into()));
    assert_ne!(state(&world, "keys", "second").await, "good", "control: it has not answered");
    assert_eq!(world.gateway.admin("/readyz").await, (200, "ok\n".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn status_says_which_file_is_at_fault_until_it_is_good_again() {
    let world = World::start().await;
    let folder = world.gateway.folder();
    let configuration = folder.path().join("gateway.yaml").display().to_string();
    let began = metric(&world, "success", "certificate", "server.pem").await;
    assert_eq!(
        resource(&world, "private_key", "server-key.pem").await["last_error"],
        Value::Null,
        "control: nothing has failed yet"
    );
    let key = std::fs::read_to_string(folder.path().join("server-key.pem")).unwrap();
    let other = world.authority.server(&["localhost"]);
    folder.write("server-key.pem", &other.key_pem());
    world.clock.advance(60);
    world.attempt_reload(1).await;
    let entry = resource(&world, "private_key", "server-key.pem").await;
    assert_eq!(entry["state"], "failing");
    assert!(
        entry["last_error"]["why"].as_str().unwrap().starts_with("the key does not match the certificate"),
        "{entry}"
    );
    assert_eq!(state(&world, "configuration", &configuration).await, "failing");
    assert_eq!(state(&world, "certificate", "server.pem").await, "good", "control: another file");
    assert_eq!(metric(&world, "success", "certificate", "server.pem").await, began, "what is in force was read then");
    let (_, status) = world.gateway.admin("/status").await;
    for secret in [&key, &other.key_pem()] {
        for line in secret.lines() {
            assert!(!status.contains(line), "a line of a key");
        }
    }

    folder.write("server-key.pem", &key);
    world.attempt_reload(2).await;
    assert_eq!(state(&world, "private_key", "server-key.pem").await, "good");
    assert_eq!(state(&world, "configuration", &configuration).await, "good");
    assert!(metric(&world, "success", "certificate", "server.pem").await > began);
    assert!(metric(&world, "error", "private_key", "server-key.pem").await > began, "the last error stays known");

    // What no configuration names any more is forgotten.
    let text = std::fs::read_to_string(&configuration).unwrap();
    std::fs::copy(folder.path().join("server.pem"), folder.path().join("new.pem")).unwrap();
    folder.write("gateway.yaml", &text.replace("certificate: server.pem", "certificate: new.pem"));
    world.attempt_reload(3).await;
    assert_eq!(state(&world, "certificate", "new.pem").await, "good");
    let (_, status) = world.gateway.admin("/status").await;
    assert!(!status.contains("\"server.pem\""), "{status}");
}
