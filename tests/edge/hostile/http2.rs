//! HTTP/2: bodies that never end, and frames that no well-behaved client sends.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Frame;
use sandbox::https::{Answer, HttpServer};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::wire::{Drops, Fate, Frames, SHORT, dripping_h2, naive, now};
use super::{MARKER, h2_request, marked, seen, still_serves};
use crate::support::{DEADLINE, World};

/// What a client sends first (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Sends `count` single bytes, one every 50 ms, or stops when the receiver is dropped.
fn drip(sender: mpsc::Sender<Frame<Bytes>>, count: usize) {
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        for _ in 0..count {
            tick.tick().await;
            if sender.send(Frame::data(Bytes::from_static(b"a"))).await.is_err() {
                return;
            }
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn t5_a_body_without_end_ends_and_its_neighbours_go_on() {
    let upstream = HttpServer::start(None, None, std::sync::Arc::new(|_| Answer::text(StatusCode::OK, "ok"))).unwrap();
    let stream = TcpStream::connect(naive(upstream.address()).await).await.unwrap();
    let (sender, body) = Drops::new();
    drip(sender, 10);
    let request = Request::post("http://a/").body(body).unwrap();
    let response = timeout(DEADLINE, dripping_h2(stream).await.send_request(request)).await.unwrap().unwrap();
    assert_eq!(response.status(), 200, "the trap: Pingora's read timeout of 300 ms does not apply to HTTP/2");

    let world = World::with(|scene| {
        scene
            .replace("header_bytes: 32KiB", "{ header_bytes: 32KiB, body_timeout: 300ms }")
            .replace("response_timeout: 5s", "response_timeout: 600ms")
    })
    .await;
    let stream = world.client().h2().raw_stream().await.unwrap();
    let connection = dripping_h2(stream).await;
    let (endless, stalled, silent) = (Drops::new(), Drops::new(), Drops::new());
    drip(endless.0, usize::MAX);
    stalled.0.send(Frame::data(Bytes::from_static(b"a"))).await.unwrap();
    for (what, body, bound) in [
        ("dripping", endless.1, SHORT),
        // While the body makes no progress, the upstream's `response_timeout` ends the wait.
        ("stalled", stalled.1, Duration::from_millis(600)),
        ("silent", silent.1, Duration::from_millis(600)),
    ] {
        let began = now();
        let request = h2_request(&world, "POST", "/payments").body(body).unwrap();
        let (mut one, mut other) = (connection.clone(), connection.clone());
        let slow = tokio::spawn(async move { timeout(DEADLINE, one.send_request(request)).await });
        let neighbour = h2_request(&world, "GET", "/accounts").body(Drops::none()).unwrap();
        let neighbour = timeout(DEADLINE, other.send_request(neighbour)).await.unwrap().unwrap();
        assert_eq!(neighbour.status(), 200, "{what}: another stream is served");
        let response = slow.await.unwrap().unwrap_or_else(|_| panic!("{what}: never ends")).expect("a response");
        let took = began.elapsed();
        assert_eq!(response.status(), 408, "{what}");
        assert_eq!(world.gateway.record_of(&response)["code"], "body_timeout", "{what}");
        assert!(took >= bound.min(SHORT) && took < bound + Duration::from_secs(3), "{what}: {took:?}");
        let after = h2_request(&world, "GET", "/accounts").body(Drops::none()).unwrap();
        let after = timeout(DEADLINE, connection.clone().send_request(after)).await.unwrap().unwrap();
        assert_eq!(after.status(), 200, "{what}: the connection is still usable");
    }
    drop((stalled.0, silent.0));
    assert!(seen(&world).iter().all(|request| request.path() == "/accounts"), "no unfinished body counts as a request");
    let metrics = world.gateway.admin("/metrics").await.1;
    assert!(
        !metrics.lines().any(|line| line.contains("upstream") && line.contains("\"timeout\"") && !line.ends_with(" 0")),
        "the upstream is not blamed"
    );
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_hd_05_trailers_of_http2_do_not_go_up() {
    let world = World::start().await;
    let connection = dripping_h2(world.client().h2().raw_stream().await.unwrap()).await;
    let (sender, body) = Drops::new();
    sender.send(Frame::data(Bytes::from_static(b"hello"))).await.unwrap();
    let mut trailers = HeaderMap::new();
    for name in ["client-cert", "x-token-client-id", "x-marker", "authorization", "content-length"] {
        trailers.insert(name, MARKER.parse().unwrap());
    }
    sender.send(Frame::trailers(trailers)).await.unwrap();
    drop(sender);
    let request = h2_request(&world, "POST", "/payments").body(body).unwrap();
    let response = timeout(DEADLINE, connection.clone().send_request(request)).await.unwrap().unwrap();
    assert_eq!(response.status(), 201);
    response.into_body().collect().await.unwrap();
    assert_eq!((&seen(&world)[0].body[..], marked(&world)), (&b"hello"[..], vec![]));
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sm_10_atk_sm_11_malformed_requests_end_at_the_gateway() {
    let world = World::start().await;
    let bearer = format!("Bearer {}", world.sign(&world.token()));
    let good = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/accounts"),
        ("authorization", bearer.as_str()),
    ];
    let mut frames = Frames::with(&world.client()).await;
    frames.headers(1, &good, true).await;
    assert_eq!(frames.fate(1).await, Fate::Answered(200), "control");
    let inside = [&good[..], &[("x-y", "1 \t1"), ("x-z", "")]].concat();
    frames.headers(3, &inside, true).await;
    assert_eq!(frames.fate(3).await, Fate::Answered(200), "control");
    let before = world.accounts.server().heads();
    let changed = |name: &str, value: &'static str| {
        let mut fields = good.to_vec();
        for field in fields.iter_mut().filter(|field| field.0 == name) {
            field.1 = value;
        }
        fields
    };
    let with = |name: &'static str, value: &'static str| {
        let mut fields = good.to_vec();
        fields.push((name, value));
        fields
    };
    let without = |name: &str| good.iter().copied().filter(|field| field.0 != name).collect::<Vec<_>>();
    // What h2 rejects itself becomes a stream error; what it accepts is left for the gateway to refuse.
    let cases = [
        ("two :path", with(":path", "/accounts"), None),
        ("two :method", with(":method", "GET"), None),
        ("two :authority", with(":authority", "localhost"), None),
        ("unknown pseudo", with(":protocol", "websocket"), None),
        ("response pseudo", with(":status", "200"), None),
        ("no :method", without(":method"), None),
        ("no :path", without(":path"), None),
        ("no :scheme", without(":scheme"), None),
        ("empty :path", changed(":path", ""), None),
        (":path without /", changed(":path", "accounts"), None),
        (":path absolute", changed(":path", "https://localhost/accounts"), None),
        (":path *", changed(":path", "*"), None),
        (":path with space", changed(":path", "/accounts HTTP/1.1"), None),
        (":path with CRLF", changed(":path", "/accounts\r\nx: y"), None),
        (":method with space", changed(":method", "GET /accounts"), None),
        (":method lower case", changed(":method", "get"), Some(405)),
        (":method TRACE", changed(":method", "TRACE"), Some(405)),
        (":method CONNECT with :path", changed(":method", "CONNECT"), None),
        (":scheme http", changed(":scheme", "http"), None),
        (":scheme odd", changed(":scheme", "https://localhost/x?"), None),
        (":authority another", changed(":authority", "other.example"), Some(421)),
        (":authority with userinfo", changed(":authority", "a@localhost"), None),
        (":authority with path", changed(":authority", "localhost/x"), None),
        ("Host another", with("host", "other.example"), Some(400)),
        ("connection", with("connection", "close"), None),
        ("transfer-encoding", with("transfer-encoding", "chunked"), None),
        ("keep-alive", with("keep-alive", "1"), None),
        ("proxy-connection", with("proxy-connection", "close"), None),
        ("upgrade", with("upgrade", "h2c"), None),
        ("te", with("te", "gzip"), None),
        ("upper case", with("X-Upper", "1"), None),
        ("space in a name", with("x y", "1"), None),
        ("colon in a name", with("x:y", "1"), None),
        ("CRLF in a value", with("x-y", "1\r\nclient-cert: forged"), None),
        ("NUL in a value", with("x-y", "1\0"), None),
        ("space after a value", with("x-y", "1 "), Some(400)),
        ("tab before a value", with("x-y", "\t1"), Some(400)),
        ("a value of a space", with("x-y", " "), Some(400)),
        ("empty name", with("", "1"), None),
        ("space before a value", with("x-y", " 1"), Some(400)),
        ("tab after a value", with("x-y", "1\t"), Some(400)),
        (
            "content-length twice",
            {
                let mut fields = with("content-length", "0");
                fields.push(("content-length", "0"));
                fields
            },
            None,
        ),
        ("content-length and no body", with("content-length", "5"), None),
        (
            "pseudo after regular",
            {
                let mut fields = good.to_vec();
                fields.swap(3, 4);
                fields
            },
            None,
        ),
        ("CONNECT", vec![(":method", "CONNECT"), (":authority", "localhost:443"), good[4]], Some(405)),
        ("CONNECT elsewhere", vec![(":method", "CONNECT"), (":authority", "other.example:443"), good[4]], Some(405)),
        (
            "extended CONNECT",
            {
                let mut fields = changed(":method", "CONNECT");
                fields.insert(1, (":protocol", "websocket"));
                fields
            },
            None,
        ),
    ];
    for (what, fields, wanted) in cases {
        let mut frames = Frames::with(&world.client()).await;
        frames.headers(1, &fields, true).await;
        let fate = frames.fate(1).await;
        match wanted {
            Some(status) => assert_eq!(fate, Fate::Answered(status), "{what}"),
            None => assert!(!matches!(fate, Fate::Answered(..400)), "{what}: {fate:?}"),
        }
        assert_eq!(world.accounts.server().heads(), before, "{what}");
    }
    // ATK-SM-10: a body that is longer or shorter than its Content-Length.
    let post = |length: &'static str| {
        let mut fields = changed(":method", "POST");
        fields[3].1 = "/payments";
        fields.push(("content-length", length));
        fields
    };
    for length in ["2", "50"] {
        let mut frames = Frames::with(&world.client()).await;
        frames.headers(1, &post(length), false).await;
        frames.data(1, b"hello", true).await;
        let fate = frames.fate(1).await;
        assert!(!matches!(fate, Fate::Answered(..400)), "content-length {length}: {fate:?}");
    }
    // Once it is forwarded, the audit says whose fault it was.
    for (length, code) in [("5", "ok"), ("2", "body_malformed"), ("50", "body_malformed")] {
        let (before, id) = (world.accounts.server().heads(), uuid::Uuid::new_v4().to_string());
        let mut fields: Vec<(&str, &str)> = post(length);
        fields.push(("x-fapi-interaction-id", &id));
        let mut frames = Frames::with(&world.client()).await;
        frames.headers(1, &fields, false).await;
        let forwarded = async {
            while world.accounts.server().heads() == before {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, forwarded).await.expect("in time");
        frames.data(1, b"hello", true).await;
        let record = world.gateway.record(&id);
        assert_eq!(record["code"], code, "content-length {length}: {record}");
        if code == "ok" {
            world.accounts.clear();
        }
    }
    let fresh = &seen(&world)[..];
    assert!(fresh.is_empty(), "no such body counts as a request: {fresh:?}");
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sz_01_header_lists_over_the_limit_are_refused() {
    let world =
        World::with(|scene| scene.replace("header_bytes: 32KiB", "{ header_bytes: 32KiB, header_count: 64 }")).await;
    let before = world.accounts.server().heads();
    let client = world.client().h2();
    // The request has one field of its own.
    for (count, size, status) in [(1, 40 * 1024, 431), (600, 100, 431), (64, 1, 431), (63, 1, 200)] {
        let mut request = world.request();
        for number in 0..count {
            let name = http::HeaderName::try_from(format!("x-{number}")).unwrap();
            request.headers_mut().insert(name, "a".repeat(size).parse().unwrap());
        }
        match client.send(request).await {
            Ok(response) => assert_eq!(response.status(), status, "{count} of {size}"),
            Err(error) => panic!("{count}: {error}"),
        }
    }
    assert_eq!(world.accounts.server().heads(), before + 1);
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sz_03_http2_connections_that_never_ask_end() {
    let world = World::with(|scene| {
        let limits = "{ header_bytes: 32KiB, idle_timeout: 600ms, header_timeout: 600ms }";
        scene.replace("header_bytes: 32KiB", limits)
    })
    .await;
    let settings = [PREFACE, b"\0\0\0\x04\0\0\0\0\0"].concat();
    // HEADERS with END_STREAM and without END_HEADERS: a CONTINUATION must follow, but does not.
    let half = [&settings[..], b"\0\0\x01\x01\x01\0\0\0\x01\x82"].concat();
    let mute = [
        ("nothing", &b""[..]),
        ("half a preface", &PREFACE[..10]),
        ("no settings", PREFACE),
        ("settings only", &settings),
        ("half a header block", &half),
    ]
    .map(|(what, bytes)| {
        let (client, bytes) = (world.client(), bytes.to_vec());
        tokio::spawn(async move {
            let began = now();
            let fate = Frames::mute(&client, &bytes).await.fate(u32::MAX).await;
            assert!(matches!(fate, Fate::Closed | Fate::GoneAway), "{what}: {fate:?}");
            assert!(began.elapsed() < DEADLINE / 2, "{what}: {:?}", began.elapsed());
        })
    });
    for case in mute {
        case.await.unwrap();
    }
    // A response for which the client grants no flow-control window (RFC 9113 §6.5.2).
    let no_window = [PREFACE, b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0"].concat();
    let bearer = format!("Bearer {}", world.sign(&world.token()));
    let fields = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/accounts"),
        ("authorization", bearer.as_str()),
    ];
    let mut frames = Frames::mute(&world.client(), &no_window).await;
    frames.headers(1, &fields, true).await;
    assert_eq!(frames.fate(1).await, Fate::Answered(200));
    let began = now();
    let fate = frames.fate(1).await;
    assert!(!matches!(fate, Fate::Answered(_)), "{fate:?}");
    assert!(began.elapsed() < DEADLINE / 2, "{:?}", began.elapsed());
    still_serves(&world).await;
}

/// Asks twenty times without a window to be answered in, and waits until all but two exchanges are in the audit with this
/// code; these two wait to be read, of eight exchanges that there may be.
async fn unread(world: &World, path: &str, code: &str) -> Frames {
    let no_window = [PREFACE, b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0"].concat();
    let fields = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", path)];
    let mut frames = Frames::mute(&world.client(), &no_window).await;
    let streams: Vec<u32> = (0..20).map(|number| 2 * number + 1).collect();
    for stream in &streams {
        frames.headers(*stream, &fields, true).await;
    }
    let code = format!("\"{code}\"");
    let over = || world.gateway.audit_text().matches(&code).count();
    let all_over = async {
        while over() < streams.len() - 2 {
            tokio::task::yield_now().await
        }
    };
    timeout(DEADLINE, all_over).await.expect("they are over");
    assert_eq!(over(), streams.len() - 2, "control: two are not");
    frames
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_refused_and_does_not_read_that_takes_nobodys_place() {
    let limits = "header_bytes: 32KiB, exchanges: 8";
    let world = World::with(|scene| scene.replace("\n  header_bytes: 32KiB", &format!(" {{ {limits} }}"))).await;
    let _unread = unread(&world, "/accounts", "credentials_missing").await;
    assert_eq!(world.judge(world.request()).await, (200, "ok".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_does_not_read_the_metadata_takes_nobodys_place() {
    let limits = "metadata: {}\nlimits: { header_bytes: 32KiB, exchanges: 8 }";
    let world = World::with(|scene| scene.replace("limits:\n  header_bytes: 32KiB", limits)).await;
    // Beyond the two documents that wait there is nothing to read.
    let _unread = unread(&world, "/.well-known/oauth-protected-resource", "overloaded").await;
    assert_eq!(world.judge(world.request()).await, (200, "ok".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_changes_its_settings_on_and_on_is_left() {
    let world = World::start().await;
    for (changes, left) in [(50_u16, false), (2000, true)] {
        let mut frames = Frames::with(&world.client()).await;
        for number in 0..changes {
            frames.frame(4, 0, 0, &[0, 4, 0, 0, 0, u8::from(number % 2 == 0)]).await;
        }
        let fields = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/accounts")];
        frames.headers(1, &fields, true).await;
        let fate = frames.fate(1).await;
        assert_eq!(!matches!(fate, Fate::Answered(401)), left, "{changes}: {fate:?}");
    }
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sz_02_streams_that_are_reset_at_once_end_their_connection() {
    let world = World::start().await;
    let bearer = format!("Bearer {}", world.sign(&world.token()));
    let fields = [
        (":method", "GET"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", "/accounts"),
        ("authorization", bearer.as_str()),
    ];
    let mut frames = Frames::with(&world.client()).await;
    for stream in (1..4000).step_by(2) {
        frames.headers(stream, &fields, true).await;
        frames.reset(stream).await;
    }
    let fate = frames.fate(u32::MAX).await;
    assert!(matches!(fate, Fate::GoneAway | Fate::Closed), "{fate:?}");
    still_serves(&world).await;
}
