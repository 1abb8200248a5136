//! HTTP/2: many cheap frames that cost the receiver more than the sender. A limit stops each flood, and other streams
//! and connections are still served.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use hyper::body::Frame;
use sandbox::https::{Answer, HttpServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::timeout;

use super::wire::{Drops, Fate, Frames, SHORT, dripping_h2, now};
use super::{h2_request, still_serves};
use crate::support::{DEADLINE, World};

// RFC 9113 §6, §11.2.
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
const END_STREAM: u8 = 1;

fn bearer(world: &World) -> String {
    format!("Bearer {}", world.sign(&world.token()))
}

fn fields<'a>(path: &'a str, method: &'a str, bearer: &'a str) -> [(&'a str, &'a str); 5] {
    [(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path), ("authorization", bearer)]
}

/// Whether the gateway ended the connection, with GOAWAY or by closing it.
fn ended(fate: Fate) -> bool {
    matches!(fate, Fate::GoneAway | Fate::Closed)
}

/// A world with a route to a slow upstream.
async fn with_slow(limits: &str, slow: std::net::SocketAddr) -> World {
    let route = format!(
        "  slow: {{ servers: [\"http://{slow}\"], response_timeout: 5s }}\nroutes:\n  - {{ name: slow, path: /slow, methods: [GET, POST], scopes: [accounts], upstream: slow }}\n"
    );
    let limits = format!("{{ header_bytes: 32KiB{limits} }}");
    World::with(|scene| scene.replace("header_bytes: 32KiB", &limits).replace("routes:\n", &route)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sz_01_a_flood_of_continuation_ends_its_connection() {
    let world = World::start().await;
    let before = world.accounts.server().heads();
    // RFC 7541 §6.2.2: a literal field of one byte; then an empty fragment.
    for piece in [&b"\0\x01a\x01b"[..], b""] {
        let mut frames = Frames::with(&world.client()).await;
        frames.frame(HEADERS, 0, 1, b"\x82").await;
        for _ in 0..20_000 {
            frames.frame(CONTINUATION, 0, 1, piece).await;
        }
        assert!(ended(frames.fate(1).await), "{piece:?}");
    }
    // CONTINUATION without HEADERS, and another frame where CONTINUATION must follow (RFC 9113 §6.10).
    for kind in [CONTINUATION, DATA] {
        let mut frames = Frames::with(&world.client()).await;
        if kind == DATA {
            frames.frame(HEADERS, 0, 1, b"\x82").await;
        }
        frames.frame(kind, 0, 1, b"").await;
        assert!(ended(frames.fate(1).await), "{kind}");
    }
    assert_eq!(world.accounts.server().heads(), before);
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sz_01_a_few_bytes_do_not_become_megabytes() {
    let world = World::start().await;
    let before = world.accounts.server().heads();
    // RFC 7541 §6.2.1: a field added to the dynamic table, of almost the maximum size; then §6.1: references to it,
    // again and again.
    let mut block = b"\x82\x87\x84\x41\x09localhost\x40\x01x\x7f\xc1\x1d".to_vec();
    block.extend(std::iter::repeat_n(b'a', 3904));
    block.extend(std::iter::repeat_n(0xbe, 8000));
    let mut frames = Frames::with(&world.client()).await;
    frames.frame(HEADERS, END_HEADERS | END_STREAM, 1, &block).await;
    let fate = frames.fate(1).await;
    assert!(ended(fate) || matches!(fate, Fate::Reset | Fate::Answered(400..)), "{fate:?}");
    assert_eq!(world.accounts.server().heads(), before);
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sz_02_streams_that_are_left_under_way_end_their_connection() {
    let slow = HttpServer::start(
        None,
        None,
        Arc::new(|_| Answer::text(StatusCode::OK, "late").delayed(Duration::from_millis(300))),
    )
    .unwrap();
    let world = with_slow("", slow.address()).await;
    let bearer = bearer(&world);
    // CVE-2023-44487, at a pace at which the gateway starts on each request before it is reset, so that the limit on
    // open streams is never reached.
    let mut frames = Frames::with(&world.client()).await;
    for stream in (1..4000).step_by(2) {
        let heads = slow.heads();
        frames.headers(stream, &fields("/slow", "GET", &bearer), true).await;
        let taken_up = async {
            while slow.heads() == heads && !frames.is_closed().await {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, taken_up).await.expect("a request, or the connection is closed");
        if frames.is_closed().await {
            break;
        }
        frames.reset(stream).await;
    }
    assert!(ended(frames.fate(u32::MAX).await));
    assert!((90..130).contains(&slow.heads()), "{}", slow.heads());
    // Control: a client that completes most of its requests may reset some.
    let mut frames = Frames::with(&world.client()).await;
    for stream in (1..400).step_by(4) {
        frames.headers(stream, &fields("/slow", "GET", &bearer), true).await;
        frames.headers(stream + 2, &fields("/accounts", "GET", &bearer), true).await;
        assert_eq!(frames.fate(stream + 2).await, Fate::Answered(200), "{stream}");
        frames.reset(stream).await;
    }
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sz_02_streams_that_the_gateway_is_made_to_reset_end_their_connection() {
    let world = World::start().await;
    let bearer = bearer(&world);
    // CVE-2025-8671: a frame after the client's request causes a stream error (RFC 9113 §6.9, §6.9.1).
    for increment in [0_u32, 0x7fff_ffff] {
        let mut frames = Frames::with(&world.client()).await;
        let before = world.accounts.server().heads();
        for stream in (1..4000).step_by(2) {
            frames.headers(stream, &fields("/accounts", "GET", &bearer), true).await;
            frames.frame(WINDOW_UPDATE, 0, stream, &increment.to_be_bytes()).await;
        }
        assert!(ended(frames.fate(u32::MAX).await), "{increment}");
        let heads = world.accounts.server().heads() - before;
        assert!(heads < 400, "{increment}: {heads} requests reached the upstream");
    }
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sz_02_frames_that_ask_for_nothing_keep_no_connection_open() {
    let world = with_slow(", idle_timeout: 600ms", "127.0.0.1:9".parse().unwrap()).await;
    let world = Arc::new(world);
    let floods = [
        ("PING", PING, 0_u32, &[0; 8][..]),
        ("SETTINGS", SETTINGS, 0, b"\0\x04\0\x01\0\0"),
        ("empty SETTINGS", SETTINGS, 0, b""),
        ("PRIORITY", PRIORITY, 1, b"\0\0\0\0\x10"),
        ("WINDOW_UPDATE", WINDOW_UPDATE, 0, b"\0\0\0\x01"),
        ("unknown", 0xfa, 0, b""),
    ];
    let mut flooding = Vec::new();
    for (what, kind, stream, payload) in floods {
        let world = world.clone();
        flooding.push(tokio::spawn(async move {
            let mut frames = Frames::with(&world.client()).await;
            let began = now();
            // The client reads nothing: the responses queue up, and no further ones are produced.
            while began.elapsed() < DEADLINE && frames.frame_goes(kind, stream, payload).await {}
            assert!(began.elapsed() < DEADLINE / 2, "{what}: {:?}", began.elapsed());
            assert!(ended(frames.fate(u32::MAX).await), "{what}");
        }));
    }
    still_serves(&world).await;
    for flood in flooding {
        flood.await.unwrap();
    }
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sz_02_a_body_of_empty_frames_ends() {
    let world = World::start().await;
    let bearer = bearer(&world);
    for piece in [&b""[..], b"a"] {
        let mut frames = Frames::with(&world.client()).await;
        frames.headers(1, &fields("/payments", "POST", &bearer), false).await;
        let mut sent = 0;
        while sent < 100_000 && frames.frame_goes(DATA, 1, piece).await {
            sent += 1;
        }
        let fate = frames.fate(u32::MAX).await;
        assert!(ended(fate), "{piece:?}: {fate:?} after {sent}");
    }
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sz_02_more_streams_than_may_be_are_refused() {
    let slow = HttpServer::start(
        None,
        None,
        Arc::new(|_| Answer::text(StatusCode::OK, "late").delayed(Duration::from_millis(500))),
    )
    .unwrap();
    let world = with_slow("", slow.address()).await;
    let bearer = bearer(&world);
    let mut frames = Frames::with(&world.client()).await;
    for stream in (1..=241).step_by(2) {
        frames.headers(stream, &fields("/slow", "GET", &bearer), true).await;
    }
    // RFC 9113 §5.1.2: REFUSED_STREAM.
    assert_eq!(frames.fate(241).await, Fate::Reset);
    assert_eq!(frames.fate(1).await, Fate::Answered(200), "the first hundred are served");
    assert!(slow.heads() <= 100, "{}", slow.heads());
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sz_03_a_stream_without_a_window_holds_up_no_other() {
    let world = with_slow(", idle_timeout: 600ms", "127.0.0.1:9".parse().unwrap()).await;
    let bearer = bearer(&world);
    let mut frames =
        Frames::mute(&world.client(), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0").await;
    frames.headers(1, &fields("/accounts", "GET", &bearer), true).await;
    assert_eq!(frames.fate(1).await, Fate::Answered(200), "the head, without any of the body");
    frames.headers(3, &fields("/accounts", "GET", &bearer), true).await;
    frames.frame(WINDOW_UPDATE, 0, 3, &[0, 1, 0, 0]).await;
    assert_eq!(frames.fate(3).await, Fate::Answered(200));
    assert_eq!(frames.end_of(3).await, Some(DATA), "another stream with a window receives its body");
    let record = world.gateway.record_where(|record| record["code"] == "client_stalled");
    assert_eq!(record["decision"], "permit");
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sm_06_an_empty_last_frame_ends_the_body_once() {
    let upstream = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = upstream.local_addr().unwrap();
    let (arrived, mut bodies) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (mut stream, _) = upstream.accept().await.unwrap();
        let mut seen = Vec::new();
        loop {
            let mut piece = [0; 4096];
            let count = stream.read(&mut piece).await.unwrap();
            seen.extend_from_slice(&piece[..count]);
            let text = String::from_utf8_lossy(&seen).into_owned();
            let _ = arrived.send(text.clone());
            if text.ends_with("0\r\n\r\n") {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
            }
            if count == 0 {
                return;
            }
        }
    });
    let world = with_slow("", address).await;
    let mut connection = dripping_h2(world.client().h2().raw_stream().await.unwrap()).await;
    for round in 1..=20 {
        let (sender, body) = Drops::new();
        let request = h2_request(&world, "POST", "/slow").body(body).unwrap();
        let answer = tokio::spawn(connection.send_request(request));
        sender.send(Frame::data(Bytes::from_static(b"hello"))).await.unwrap();
        // The upstream has received it, so the frame that ends the stream arrives separately.
        while !timeout(DEADLINE, bodies.recv()).await.unwrap().unwrap().ends_with("hello\r\n") {}
        sender.send(Frame::data(Bytes::new())).await.unwrap();
        drop(sender);
        assert_eq!(timeout(DEADLINE, answer).await.unwrap().unwrap().unwrap().status(), 200);
        let mut all = timeout(DEADLINE, bodies.recv()).await.unwrap().unwrap();
        while let Ok(more) = bodies.try_recv() {
            all = more;
        }
        let requests = all.matches("POST /slow HTTP/1.1").count();
        assert_eq!((requests, all.matches("0\r\n\r\n").count()), (round, round), "{all}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sz_03_bodies_that_nobody_takes_hold_up_no_other() {
    // It accepts connections and reads only the beginning.
    let deaf = TcpSocket::new_v4().unwrap();
    deaf.set_recv_buffer_size(4096).unwrap();
    deaf.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let deaf = deaf.listen(16).unwrap();
    let address = deaf.local_addr().unwrap();
    tokio::spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = deaf.accept().await {
            let _ = stream.read(&mut [0; 64]).await;
            kept.push(stream);
        }
    });
    let world = with_slow(", body_bytes: 100MiB", address).await;
    let connection = dripping_h2(world.client().h2().raw_stream().await.unwrap()).await;
    let (mut held, mut filled) = (Vec::new(), Vec::new());
    for _ in 0..4 {
        let (sender, body) = Drops::new();
        let request = h2_request(&world, "POST", "/slow").body(body).unwrap();
        let mut connection = connection.clone();
        held.push(tokio::spawn(async move { connection.send_request(request).await }));
        // A sender that is blocked for this long has filled its sockets and its window.
        let piece = Bytes::from(vec![0; 16 * 1024]);
        filled.push(tokio::spawn(async move {
            while timeout(SHORT, sender.send(Frame::data(piece.clone()))).await.is_ok() {}
            sender
        }));
    }
    let mut senders = Vec::new();
    for filled in filled {
        senders.push(timeout(DEADLINE, filled).await.expect("the window fills up").unwrap());
    }
    let began = now();
    for _ in 0..10 {
        let (sender, body) = Drops::new();
        let request = h2_request(&world, "POST", "/payments").body(body).unwrap();
        let answer = connection.clone().send_request(request);
        sender.send(Frame::data(Bytes::from(vec![0; 8 * 1024]))).await.unwrap();
        drop(sender);
        let response = timeout(DEADLINE / 4, answer).await.expect("another stream is served").unwrap();
        assert_eq!(response.status(), 201, "{}", world.gateway.record_of(&response));
    }
    assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
    assert!(held.iter().all(|request| !request.is_finished()), "the stalled requests are still open");
    drop(senders);
    still_serves(&world).await;
}
