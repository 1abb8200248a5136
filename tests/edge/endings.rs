//! Exchanges that end badly: the audit record states what was decided, whichever side leaves and whenever.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use bytes::Bytes;
use fapi_gateway::clock::Moment;
use fapi_gateway::telemetry::audit::{Audit, OnOverflow, PATIENCE};
use fapi_gateway::telemetry::lines::Output;
use http::Request;
use sandbox::pki::self_signed;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::hostile::wire::Talk;
use crate::support::{DEADLINE, ORIGIN, World, request};

/// An upstream that reports when a whole request has arrived, and never answers.
fn silent_upstream() -> (SocketAddr, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (came, received) = channel();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        while let Ok((mut stream, _)) = listener.accept() {
            let mut head = [0; 8192];
            if stream.read(&mut head).is_ok_and(|read| read > 0) {
                let _ = came.send(());
            }
            held.push(stream);
        }
    });
    (address, received)
}

async fn world_with_silence() -> (World, Receiver<()>) {
    let (silent, received) = silent_upstream();
    let world = World::with(|scene| {
        let entry = format!(
            "  silent: {{ servers: [\"http://{silent}\"], response_timeout: 20s }}\nroutes:\n  - {{ name: silent, path: /silent, methods: [GET, POST], scopes: [accounts], upstream: silent }}\n"
        );
        scene.replace("routes:\n", &entry)
    })
    .await;
    (world, received)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_leaves_an_executed_payment_leaves_a_permit_behind() {
    let (world, received) = world_with_silence().await;
    let token = world.sign(&world.token());
    for body in ["", "Content-Length: 5\r\n\r\nhello"] {
        let mut stream = world.client().raw_stream().await.unwrap();
        let method = if body.is_empty() { "GET" } else { "POST" };
        let end = if body.is_empty() { "\r\n" } else { body };
        let id = uuid::Uuid::new_v4();
        let head = format!(
            "{method} /silent HTTP/1.1\r\nHost: localhost\r\nx-fapi-interaction-id: {id}\r\nAuthorization: Bearer {token}\r\n{end}"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        received.recv_timeout(DEADLINE).expect("the upstream sees the request");
        drop(stream);
        let record = world.gateway.record(&id.to_string());
        assert_eq!((&record["decision"], &record["code"]), (&"permit".into(), &"client_gone".into()), "{record}");
        assert_eq!((&record["upstream"], &record["status"]), (&"silent".into(), &serde_json::Value::Null), "{record}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn att_a5_a_client_that_hangs_up_does_not_erase_why_it_was_refused() {
    let world = World::start().await;
    let stolen = world.sign(&world.issuer.token(world.clock.now()).bound_to_certificate(&world.c2));
    for _ in 0..8 {
        let connection = world.client().h2().connect().await.unwrap();
        let mut other = connection.another().unwrap();
        let id = uuid::Uuid::new_v4().to_string();
        let mut request = request("/accounts", &stolen);
        request.headers_mut().insert("x-fapi-interaction-id", id.parse().unwrap());
        // The stream is reset as soon as it is opened, at whatever point the gateway has reached.
        let sent = tokio::time::timeout(Duration::from_micros(300), other.send(request)).await;
        drop((sent, other, connection));
        if world.gateway.audit_text().contains(&id) || world.gateway.knows_within(&id, Duration::from_millis(300)) {
            let record = world.gateway.record(&id);
            assert!(["certificate_mismatch", "client_gone"].contains(&record["code"].as_str().unwrap()), "{record}");
            assert_ne!(record["decision"], "error", "{record}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_comes_early_does_not_harm_the_one_before_it() {
    let world = World::start().await;
    let token = world.sign(&world.token());
    let get = format!("GET /accounts HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
    let mut stream = world.client().raw_stream().await.unwrap();
    stream.write_all(get.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    stream.write_all(get.as_bytes()).await.unwrap();
    let mut answer = vec![0; 64];
    let read = tokio::time::timeout(DEADLINE, stream.read(&mut answer)).await.unwrap().unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer[..read]));
}

#[tokio::test(flavor = "multi_thread")]
async fn fapi2_rs_17_a_form_without_credentials_is_refused_before_its_body() {
    let world = World::start().await;
    let head = "POST /payments HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\n";
    let mut stream = world.client().raw_stream().await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 64];
    let read = tokio::time::timeout(DEADLINE, stream.read(&mut answer)).await.unwrap().unwrap();
    assert!(answer[..read].starts_with(b"HTTP/1.1 401 "), "{}", String::from_utf8_lossy(&answer[..read]));
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sm_08_a_request_line_is_judged_before_anybody_repairs_it() {
    let world = World::start().await;
    let token = world.sign(&world.token());
    let get =
        |line: &str| format!("{line}\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n");
    let good = world.client().raw(get("GET /accounts?a=b HTTP/1.1").as_bytes()).await;
    assert!(good.starts_with(b"HTTP/1.1 200 "), "control");
    for line in [
        "GET /accounts/a b HTTP/1.1",
        "GET /accounts?a=b c HTTP/1.1",
        "GET  /accounts HTTP/1.1",
        "GET\t/accounts HTTP/1.1",
        "GET /accounts\u{e9} HTTP/1.1",
        " GET /accounts HTTP/1.1",
    ] {
        let answer = world.client().raw(get(line).as_bytes()).await;
        assert!(answer.starts_with(b"HTTP/1.1 400 "), "{line:?}: {}", String::from_utf8_lossy(&answer));
    }
    assert_eq!(world.accounts.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn cc_04_a_certificate_that_nobody_vouches_for_is_not_passed_on() {
    let stranger = self_signed("The Bank Itself");
    let world = World::with(|scene| {
        scene
            .replace("mode: optional, trust: chain, trust_anchors: [ca.pem]", "mode: optional, trust: possession")
            .append("    forward: { client_certificate: true }\n")
    })
    .await;
    let health = Request::get(format!("{ORIGIN}/health")).body(Bytes::new()).unwrap();
    assert_eq!(world.judge_from(&world.anonymous().certificate(&stranger), health).await, (200, "ok".into()));
    assert_eq!(world.accounts.requests().remove(0).header("client-cert"), None);
    let bound = world.sign(&world.issuer.token(world.clock.now()).bound_to_certificate(&stranger));
    world.accounts.clear();
    let own = world.anonymous().certificate(&stranger);
    assert_eq!(world.judge_from(&own, request("/accounts", &bound)).await, (200, "ok".into()), "control");
    assert!(world.accounts.requests().remove(0).header("client-cert").is_some(), "the token vouches for it");
    // A token that is bound to a key does not vouch for the certificate that comes with it.
    let holder = world.holder();
    world.accounts.clear();
    let proven = holder.request("/accounts", &holder.proof("/accounts", world.clock.now()));
    assert_eq!(world.judge_from(&own, proven).await, (200, "ok".into()));
    assert_eq!(world.accounts.requests().remove(0).header("client-cert"), None);
}

/// A destination that accepts nothing until it is released.
struct Stalled(Receiver<()>);

impl Write for Stalled {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let _ = self.0.recv();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A destination without free space.
struct Full;

impl Write for Full {
    fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
        Err(std::io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stalled_audit_makes_no_exchange_wait_and_loses_lines_only_beyond_its_bound() {
    let (let_go, stalled) = channel();
    let audit = Audit::start(Output::from(Box::new(Stalled(stalled)) as Box<dyn Write + Send>)).unwrap();
    let (sender, health) = (audit.sender(), audit.health());
    let line = [&[b'x'; 8999][..], b"\n"].concat();
    for _ in 0..1000 {
        sender.send(&line);
    }
    assert_eq!(health.lost(), 0, "control: 9 MB wait");
    assert!(sender.admits(OnOverflow::Drop).await && !sender.admits(OnOverflow::Refuse).await);
    let began = Moment::now();
    assert!(!sender.admits(OnOverflow::Block).await);
    assert!(began.elapsed() >= PATIENCE, "it waits before it refuses");
    for _ in 0..1000 {
        sender.send(&line);
    }
    assert!(health.lost() > 100 && !health.good(), "{health:?}");
    let waiting = tokio::spawn({
        let sender = sender.clone();
        async move { sender.admits(OnOverflow::Block).await }
    });
    drop(let_go);
    assert!(waiting.await.unwrap(), "it goes on as soon as there is room");
    let recovered = async {
        while !health.good() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, recovered).await.expect("the writer catches up");
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_cannot_be_written_are_counted_and_the_end_says_so() {
    let audit = Audit::start(Output::from(Box::new(Full) as Box<dyn Write + Send>)).unwrap();
    let (sender, health) = (audit.sender(), audit.health());
    for _ in 0..3 {
        sender.send(b"line\n");
    }
    let noticed = async {
        while health.good() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, noticed).await.expect("the failure is noticed");
    assert_eq!(health.lost(), 0, "they wait for space");
    assert!(!audit.close());
    assert_eq!(health.lost(), 3);
}

/// A client that sends half a form, after the gateway has asked for it.
async fn half_a_form(world: &World, token: &str) -> Talk {
    let head = format!(
        "POST /payments HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nExpect: 100-continue\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 9\r\n\r\n"
    );
    let mut talk = Talk::with(&world.client()).await;
    talk.say(head).await.unwrap();
    talk.until("HTTP/1.1 100 Continue\r\n\r\n").await;
    talk.say("half").await.unwrap();
    talk
}

#[tokio::test(flavor = "multi_thread")]
async fn br_06_a_consent_that_is_revoked_while_a_form_is_read_permits_nothing() {
    let consent =
        "    require: { consent: { id: { claim: /consent_id }, status: { claim: /status, one_of: [AUTHORISED] } } }\n";
    let world = World::with(|scene| {
        scene
            .replace("\"127.0.0.1:0\" }", "\"127.0.0.1:0\", revocations: {} }")
            .replace("    path: /payments\n", &format!("    path: /payments\n{consent}"))
    })
    .await;
    for (revoked, expected, status) in [("urn:c2", "ok", 201), ("urn:c1", "consent_revoked", 403)] {
        let token = world.token().claim("consent_id", "urn:c1").claim("status", "AUTHORISED");
        let mut talk = half_a_form(&world, &world.sign(&token)).await;
        world.gateway.revoke(&json!({ "consent_id": revoked })).await;
        let before = world.accounts.server().heads();
        talk.say(" form").await.unwrap();
        assert_eq!(talk.head().await, status, "{revoked}");
        let record = world.gateway.record_where(|record| record["code"] == expected);
        assert_eq!(record["path"], "/payments", "{revoked}");
        assert_eq!(world.accounts.server().heads() - before, usize::from(expected == "ok"), "{revoked}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_05_a_token_that_ends_while_a_form_is_read_permits_nothing() {
    let world = World::with(|scene| scene.replace("\"127.0.0.1:0\" }", "\"127.0.0.1:0\", revocations: {} }")).await;
    for (what, expected) in [("nothing", "ok"), ("it expires", "token_expired"), ("it is revoked", "token_revoked")] {
        let token = world.token().claim("jti", what).expires_at(world.clock.now() + 60);
        let mut talk = half_a_form(&world, &world.sign(&token)).await;
        match what {
            "it expires" => world.clock.advance(60),
            "it is revoked" => world.gateway.revoke(&json!({ "jti": what })).await,
            _ => {}
        }
        let before = world.accounts.server().heads();
        talk.say(" form").await.unwrap();
        let status = talk.head().await;
        assert_eq!(status, if expected == "ok" { 201 } else { 401 }, "{what}");
        let record = world.gateway.record_where(|record| record["code"] == expected);
        assert_eq!(record["path"], "/payments", "{what}");
        assert_eq!(world.accounts.server().heads() - before, usize::from(expected == "ok"), "{what}");
    }
}
