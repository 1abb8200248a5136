//! Responses that come before the end of the request's body (RFC 9112 §9.6, RFC 9110 §10.1.1): they arrive, and what is
//! still sent costs no more than the limits say.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::wire::{Fate, Frames, Talk, now};
use super::{MARKER, client, head, marked, still_serves};
use crate::support::backend;
use crate::support::{DEADLINE, ORIGIN, World};

/// A world with these limits and an upstream that answers early, which takes four exchanges at a time.
async fn hasty_world(limits: &str) -> World {
    world_before(&format!("servers: [\"http://{}\"]", hasty().await), limits).await
}

async fn world_before(upstream: &str, limits: &str) -> World {
    let section = format!(
        "  hasty: {{ {upstream}, limits: {{ exchanges: 4, waiting: 0 }} }}\nroutes:\n  - {{ name: hasty, path: /hasty, methods: [POST], scopes: [accounts], upstream: hasty }}\n"
    );
    let limits = format!("{{ header_bytes: 32KiB, {limits} }}");
    World::with(|scene| scene.replace("routes:\n", &section).replace("header_bytes: 32KiB", &limits)).await
}

/// A world with these limits.
async fn world(limits: &str) -> World {
    World::with(|scene| {
        scene.replace("header_bytes: 32KiB", &format!("{{ header_bytes: 32KiB, {limits} }}")).append(
            "  - { name: other, path: /other, methods: [POST], scopes: [other], upstream: accounts }
  - { name: nonce, path: /nonce, methods: [POST], scopes: [accounts], dpop: { nonce: always }, upstream: accounts, cors: { allowed_origins: [\"https://app.example\"] } }
",
        )
    })
    .await
}

/// How many connections the gateway has accepted.
async fn handshakes(world: &World) -> String {
    let (_, metrics) = world.gateway.admin("/metrics").await;
    let counted = |line: &&str| line.starts_with("fapi_gateway_tls_handshakes_total") && line.contains("success");
    metrics.lines().find(counted).unwrap_or_default().to_owned()
}

/// A `POST` without a token, its head as far as the framing.
fn post(path: &str, fields: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_request_with_a_small_body_leaves_the_connection_open() {
    let world = world("body_bytes: 100KiB").await;
    let token = world.sign(&world.token());
    let body = "x".repeat(200);
    let length = format!("Content-Length: {}\r\n", body.len());
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    let bearer = format!("Authorization: Bearer {token}\r\n");
    let holder = world.holder();
    let proof = holder.proof("/nonce", world.clock.now()).claim("htm", "POST").sign(&holder.key);
    let dpop = format!("Authorization: DPoP {}\r\nDPoP: {proof}\r\n", holder.token);
    let form = format!("{bearer}Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 80000\r\n");
    let preflight = "Origin: https://app.example\r\nAccess-Control-Request-Method: POST\r\n";
    let mut talk = Talk::with(&client(&world)).await;
    let before = handshakes(&world).await;
    for (what, head, body, status) in [
        ("no token", post("/payments", &length), &body, 401),
        ("no token, chunked", post("/payments", "Transfer-Encoding: chunked\r\n"), &chunked, 401),
        ("a bad token", post("/payments", &format!("Authorization: Bearer bad.bad.bad\r\n{length}")), &body, 401),
        ("no scope", post("/other", &format!("{bearer}{length}")), &body, 403),
        ("no nonce", post("/nonce", &format!("{dpop}{length}")), &body, 401),
        ("no route", post("/nothing", &length), &body, 404),
        ("a long form", post("/payments", &form), &"x".repeat(80_000), 413),
        ("too long", post("/payments", &format!("{bearer}Content-Length: 200000\r\n")), &"x".repeat(200_000), 413),
        (
            "a preflight",
            post("/nonce", &format!("{preflight}{length}")).replace("POST /nonce", "OPTIONS /nonce"),
            &body,
            204,
        ),
    ] {
        for at_once in [true, false] {
            if at_once {
                talk.say(head.clone() + body).await.unwrap();
            } else {
                talk.say(&head).await.unwrap();
                talk.say(body).await.unwrap();
            }
            let answer = talk.answer().await.unwrap_or_else(|| panic!("{what}, at once: {at_once}: no answer"));
            assert_eq!(answer.status, status, "{what}, at once: {at_once}: {answer:?}");
            assert_eq!(answer.field("connection"), ["keep-alive"], "{what}: {answer:?}");
            talk.say(super::head(&world, "GET /accounts", "")).await.unwrap();
            let answer = talk.answer().await.unwrap_or_else(|| panic!("{what}, at once: {at_once}: closed"));
            assert_eq!(answer.status, 200, "{what}, at once: {at_once}: {answer:?}");
        }
    }
    assert_eq!(handshakes(&world).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_writes_all_before_it_reads_sees_its_refusal() {
    let world = world("body_timeout: 60s").await;
    let body = "x".repeat(10_000_000);
    let chunked = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
    for (fields, body) in [
        (format!("Content-Length: {}\r\n", body.len()), &body),
        ("Transfer-Encoding: chunked\r\n".to_owned(), &chunked),
    ] {
        for closing in ["", "Connection: close\r\n"] {
            let mut talk = Talk::with(&client(&world)).await;
            talk.say(post("/payments", &format!("{fields}{closing}")) + body).await.expect("everything is taken");
            let answer = talk.answer().await.expect("the refusal arrives");
            assert_eq!(answer.status, 401, "{fields} {closing}: {answer:?}");
            if closing.is_empty() {
                talk.say(head(&world, "GET /accounts", "")).await.unwrap();
                assert_eq!(talk.answer().await.expect("the connection is open").status, 200, "{fields}");
            } else {
                assert_eq!(talk.rest().await, "", "{fields}: closed");
            }
        }
    }
    // One that reads its refusal in the middle of its body, writes the rest, and goes on at once.
    for (fields, body) in [
        (format!("Content-Length: {}\r\n", body.len()), &body),
        ("Transfer-Encoding: chunked\r\n".to_owned(), &chunked),
    ] {
        let mut talk = Talk::with(&client(&world)).await;
        for _ in 0..2 {
            let (start, rest) = body.split_at(1_000_000);
            talk.say(post("/payments", &fields) + start).await.expect("the start is taken");
            assert_eq!(talk.answer().await.expect("the refusal arrives").status, 401, "{fields}");
            talk.say(rest.to_owned() + &head(&world, "GET /accounts", "")).await.expect("the rest is taken");
            assert_eq!(talk.answer().await.expect("the connection is open").status, 200, "{fields}");
        }
    }
    // A library, over both versions, on one connection.
    for (version, client) in [("HTTP/1.1", world.client().h1()), ("HTTP/2", world.client().h2())] {
        let mut connection = client.connect().await.unwrap();
        for round in 0..2 {
            // After a long body over HTTP/1.1 whose response came before its end, hyper is not always ready again, although
            // all was read and the connection is open.
            let length = if version == "HTTP/1.1" { 200 } else { body.len() };
            let body = Bytes::from(body[..length].to_owned());
            let request = Request::post(format!("{ORIGIN}/payments")).body(body).unwrap();
            let response = connection.send(request).await;
            assert_eq!(response.expect("the refusal arrives").status(), 401, "{version}");
            let next = connection.send(world.request()).await;
            let next = next.unwrap_or_else(|error| panic!("the connection is open over {version}, {round}: {error}"));
            assert_eq!(next.status(), 200, "{version}");
        }
    }
    let request = Request::post(format!("{ORIGIN}/payments")).body(Bytes::from(body)).unwrap();
    let response = world.client().h1().send(request).await;
    assert_eq!(response.expect("the refusal arrives").status(), 401);
    // What is wrong with the head itself is answered too, and then everything that follows is dropped.
    let endless = "x".repeat(1_000_000);
    for (request, status) in [
        (format!("GET /accounts HTTP/1.1\r\nHost: localhost\r\nX: {endless}\r\n\r\n"), 431),
        (post("/payments", "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n") + &endless, 400),
        (post("/payments", "Content-Length: 1000000\r\nContent-Length: 2\r\n") + &endless, 400),
    ] {
        let mut talk = Talk::with(&client(&world)).await;
        talk.say(request).await.expect("everything is taken");
        assert_eq!(talk.answer().await.expect("the refusal arrives").status, status);
        assert_eq!(talk.rest().await, "");
    }
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sz_03_a_body_without_end_is_cut_at_its_bounds() {
    let world = world("unread_body_bytes: 64KiB, unread_body_timeout: 60s").await;
    let chunk = format!("{:x}\r\n{}\r\n", 16 * 1024, "x".repeat(16 * 1024));
    let fits = post("/payments", "Transfer-Encoding: chunked\r\n") + &chunk.repeat(3) + "0\r\n\r\n";
    let mut talk = Talk::with(&client(&world)).await;
    talk.say(fits).await.unwrap();
    assert_eq!(talk.answer().await.unwrap().status, 401);
    talk.say(head(&world, "GET /accounts", "")).await.unwrap();
    assert_eq!(talk.answer().await.expect("control: the connection is open").status, 200);
    for (fields, piece) in [
        ("Transfer-Encoding: chunked\r\n", chunk.clone()),
        ("Transfer-Encoding: chunked\r\nConnection: close\r\n", chunk.clone()),
        ("Content-Length: 1000000000\r\n", "x".repeat(16 * 1024)),
        ("Content-Length: 1000000000\r\nExpect: 100-continue\r\n", "x".repeat(16 * 1024)),
    ] {
        let mut talk = Talk::with(&client(&world)).await;
        talk.say(post("/payments", fields)).await.unwrap();
        assert!([401, 413].contains(&talk.answer().await.unwrap().status), "{fields}");
        // What the sockets hold on both sides is far below 100 MB.
        let mut taken = 0;
        while taken < 6400 && talk.say(&piece).await.is_ok() {
            taken += 1;
        }
        assert!(taken < 6400, "{fields}: everything is taken");
    }

    let short = Duration::from_millis(400);
    let world = self::world("unread_body_timeout: 400ms").await;
    for fields in ["Content-Length: 100\r\n", "Transfer-Encoding: chunked\r\n", "Content-Length: 100000000\r\n"] {
        for drips in [0, 1000] {
            let mut talk = Talk::with(&client(&world)).await;
            talk.say(post("/payments", fields)).await.unwrap();
            assert!([401, 413].contains(&talk.answer().await.unwrap().status), "{fields}");
            let began = now();
            let piece = if fields.starts_with('T') { b"1\r\nx\r\n".to_vec() } else { b"x".to_vec() };
            let (answer, _) = talk.drip(std::iter::repeat_n(piece, drips), Duration::from_millis(50)).await;
            assert!(answer.is_none(), "{fields}: {answer:?}");
            assert!(began.elapsed() < short + Duration::from_secs(3), "{fields}: {:?}", began.elapsed());
        }
    }
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sm_06_no_byte_of_an_unread_body_is_a_request() {
    let world = world("unread_body_timeout: 1s").await;
    let before = world.accounts.server().heads();
    let hidden = head(&world, &format!("GET /accounts/1001?{MARKER}"), "");
    let exact = format!("Content-Length: {}\r\n", hidden.len());
    let in_chunk = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
    // The body is a request, whole or in parts, before or after the answer; what follows it is the next request.
    for (fields, body) in [(&*exact, &hidden), ("Transfer-Encoding: chunked\r\n", &in_chunk)] {
        for split in [0, 1, body.len() / 2, body.len() - 1] {
            let mut talk = Talk::with(&client(&world)).await;
            let (first, second) = body.split_at(split);
            talk.say(post("/payments", fields) + first).await.unwrap();
            assert_eq!(talk.answer().await.unwrap().status, 401);
            // The client has its answer, so what follows the body, even at once, is its next request.
            let next = "GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            talk.say(format!("{second}{next}")).await.unwrap();
            let rest = talk.rest().await;
            assert!(
                rest.starts_with("HTTP/1.1 200 ") && rest.matches("HTTP/1.1").count() == 1,
                "{fields} {split}: {rest}"
            );
        }
    }
    // The end of the body is in doubt, or has two readings: nothing that follows is a request.
    for (fields, body) in [
        (format!("Content-Length: {}\r\n", 3 * hidden.len()), hidden.clone()),
        (format!("{exact}Expect: 100-continue\r\n"), String::new()),
        ("Transfer-Encoding: chunked\r\n".to_owned(), hidden.clone()),
        ("Transfer-Encoding: chunked\r\n".to_owned(), format!("5\r\nhello0\r\n\r\n{hidden}")),
        ("Transfer-Encoding: chunked\r\n".to_owned(), format!("0;x\n\r\n{hidden}")),
        ("Transfer-Encoding: chunked\r\n".to_owned(), format!("5\nhello\n0\n\n{hidden}")),
        ("Content-Length: 0\r\nTransfer-Encoding: chunked\r\n".to_owned(), format!("0\r\n\r\n{hidden}")),
        ("Content-Length: 0\r\nContent-Length: 5\r\n".to_owned(), hidden.clone()),
        ("Connection: close\r\nContent-Length: 5\r\n".to_owned(), format!("hello{hidden}")),
    ] {
        let mut talk = Talk::with(&client(&world)).await;
        talk.say(post("/payments", &fields) + &body).await.unwrap();
        assert!([400, 401].contains(&talk.answer().await.unwrap().status), "{fields}");
        let _ = talk.say(&hidden).await;
        assert_eq!(talk.rest().await, "", "{fields} {body}");
    }
    assert_eq!(marked(&world), [""; 0]);
    assert_eq!(
        world.accounts.requests().iter().filter(|request| request.path() != "/health").count(),
        0,
        "{before} heads before"
    );
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rfc9110_10_1_1_a_client_that_waits_for_100_is_answered_and_not_waited_for() {
    let world = World::start().await; // 5 seconds of patience
    for fields in ["Content-Length: 200\r\n", "Transfer-Encoding: chunked\r\n"] {
        let mut talk = Talk::with(&client(&world)).await;
        let began = now();
        talk.say(post("/payments", &format!("{fields}Expect: 100-continue\r\n"))).await.unwrap();
        let answer = talk.answer().await.unwrap();
        assert_eq!((answer.status, answer.field("connection")), (401, vec!["close"]), "{answer:?}");
        assert_eq!(talk.rest().await, "", "no 100, and the end of the connection");
        assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    }
}

/// An upstream that answers as soon as it has read a head, and does not read on.
async fn hasty() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut received = Vec::new();
                while !received.windows(4).any(|four| four == b"\r\n\r\n") {
                    if !matches!(stream.read_buf(&mut received).await, Ok(1..)) {
                        return;
                    }
                }
                let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno").await;
                // Held open until the gateway is done with it.
                let _ = stream.shutdown().await;
                while matches!(stream.read(&mut [0; 4096]).await, Ok(1..)) {}
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_response_of_the_upstream_arrives_too() {
    let world = hasty_world("idle_timeout: 60s").await;
    for length in [200, 5_000_000] {
        let mut talk = Talk::with(&client(&world)).await;
        let fields = format!("Content-Length: {length}\r\n");
        talk.say(head(&world, "POST /hasty", &fields) + &"x".repeat(length)).await.expect("everything is taken");
        let answer = talk.answer().await.expect("the response arrives");
        assert!([404, 502].contains(&answer.status), "{length}: {answer:?}");
    }
    still_serves(&world).await;
}

/// Waits until no exchange is in progress.
async fn none_in_progress(world: &World) {
    let reached = async {
        while !world.gateway.admin("/metrics").await.1.contains("\nfapi_gateway_exchanges_in_flight{listener=\"") {}
        loop {
            let metrics = world.gateway.admin("/metrics").await.1;
            let gauge = metrics.lines().find(|line| line.starts_with("fapi_gateway_exchanges_in_flight{")).unwrap();
            if gauge.ends_with(" 0") {
                return;
            }
        }
    };
    timeout(DEADLINE / 2, reached).await.expect("every exchange ends");
}

/// Sends the head of a request whose body never ends.
async fn begin_endless(world: &World, frames: &mut Frames, stream: u32) {
    let bearer = format!("Bearer {}", world.sign(&world.token()));
    let fields = [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/hasty"),
        ("authorization", &*bearer),
    ];
    frames.headers(stream, &fields, false).await;
}

/// Begins a request whose body never ends; returns the status, and the reason for which the stream is reset.
async fn endless(world: &World, frames: &mut Frames, stream: u32) -> (u16, Option<u32>) {
    begin_endless(world, frames, stream).await;
    timeout(DEADLINE / 2, frames.response_and_reset(stream)).await.expect("the stream ends")
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_without_end_hold_no_upstream_that_has_answered() {
    let world = hasty_world("unread_body_timeout: 300ms, unread_body_bytes: 64KiB").await;
    for _ in 0..2 {
        let mut talks = Vec::new();
        for _ in 0..4 {
            let mut talk = Talk::with(&client(&world)).await;
            talk.say(head(&world, "POST /hasty", "Content-Length: 5000000\r\n") + "x").await.unwrap();
            let answer = talk.answer().await.expect("the response arrives");
            assert_eq!((answer.status, answer.field("connection")), (404, vec!["close"]));
            talks.push(talk);
        }
        none_in_progress(&world).await;
        for talk in talks {
            timeout(DEADLINE / 2, talk.rest()).await.expect("the connection is closed");
        }
        let mut connections = Vec::new();
        for _ in 0..2 {
            let mut frames = Frames::with(&client(&world)).await;
            for stream in [1, 3] {
                let ended = endless(&world, &mut frames, stream).await;
                assert_eq!(ended, (404, Some(0)), "NO_ERROR after the whole response");
            }
            connections.push(frames);
        }
        none_in_progress(&world).await;
    }
    let text = world.gateway.audit_text();
    let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let of_hasty: Vec<_> = records.filter(|record| record["route"] == "hasty").collect();
    assert_eq!(of_hasty.len(), 16, "each exchange is recorded once");
    for record in of_hasty {
        let outcome = (&record["decision"], &record["code"], &record["status"], &record["upstream_status"]);
        assert_eq!(outcome, (&json!("permit"), &json!("ok"), &json!(404), &json!(404)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_end_holds_no_share_of_its_client_after_the_response() {
    let world = hasty_world("exchanges_per_client: 1, unread_body_timeout: 60s, unread_body_bytes: 64KiB").await;
    let mut held = Vec::new();
    for _ in 0..3 {
        let answered = async {
            loop {
                let mut talk = Talk::with(&client(&world)).await;
                talk.say(head(&world, "POST /hasty", "Content-Length: 5000000\r\n") + "x").await.unwrap();
                match talk.answer().await.expect("the response arrives").status {
                    404 => return talk,
                    // The client has the response before the gateway is done with the exchange.
                    status => assert_eq!(status, 429),
                }
            }
        };
        held.push(timeout(DEADLINE / 2, answered).await.expect("the share is given back"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_without_end_hold_no_http2_upstream_either() {
    let server = backend::Frames::hasty().await;
    let upstream = format!("servers: [\"http://{}\"], protocol: http2", server.address());
    let world = world_before(&upstream, "unread_body_timeout: 300ms").await;
    for _ in 0..2 {
        let mut talk = Talk::with(&client(&world)).await;
        talk.say(head(&world, "POST /hasty", "Content-Length: 5000000\r\n") + "x").await.unwrap();
        assert_eq!(talk.answer().await.expect("the response arrives").status, 200);
        let mut frames = Frames::with(&client(&world)).await;
        assert_eq!(endless(&world, &mut frames, 1).await, (200, Some(0)));
        none_in_progress(&world).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rfc9113_8_1_a_client_that_resets_its_upload_after_the_response_is_not_gone() {
    let server = backend::Frames::hasty().await;
    let upstream = format!("servers: [\"http://{}\"], protocol: http2", server.address());
    let world = world_before(&upstream, "unread_body_timeout: 10s").await;
    let silent = backend::Frames::start(&[]).await;
    let upstream = format!("servers: [\"http://{}\"], protocol: http2", silent.address());
    let control = world_before(&upstream, "unread_body_timeout: 10s").await;
    for (world, answers, code) in [(&world, true, "ok"), (&control, false, "client_gone")] {
        let mut frames = Frames::with(&client(world)).await;
        begin_endless(world, &mut frames, 1).await;
        if answers {
            assert_eq!(frames.fate(1).await, Fate::Answered(200));
        } else {
            let forwarded = async {
                while silent.connections() == 0 {
                    tokio::task::yield_now().await;
                }
            };
            timeout(DEADLINE, forwarded).await.expect("in time");
        }
        frames.reset(1).await;
        let record = world.gateway.record_where(|record| record["route"] == "hasty");
        assert_eq!((&record["decision"], &record["code"]), (&json!("permit"), &json!(code)), "{record}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rfc9113_8_1_a_refused_stream_ends_after_its_response_and_its_connection_stays() {
    let world = World::start().await;
    for frames_before in [0, 2] {
        let (stream, mut frames) = (1, Frames::with(&client(&world)).await);
        let fields = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", "/payments")];
        frames.headers(stream, &fields, false).await;
        for _ in 0..frames_before {
            frames.data(stream, &[b'x'; 1000], false).await;
        }
        let (status, reason) = frames.response_and_reset(stream).await;
        assert_eq!((status, reason), (401, Some(0)), "NO_ERROR after the whole response");
        let fields = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/health")];
        frames.headers(3, &fields, true).await;
        assert_eq!(frames.fate(3).await, Fate::Answered(200));
    }
}
