//! Exchanges that take long: those that may, since their route says so, and those that may not.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, Version};
use hyper::body::Frame;
use sandbox::https::{Answer, HttpServer};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::hostile::wire::{Drops, Talk, dripping_h2, now};
use crate::support::backend::Backend;
use crate::support::{DEADLINE, ORIGIN, Scene, World, request};

const BETWEEN: Duration = Duration::from_millis(50);

/// A world with these limits and routes `/long/**` and `/other/**`, of which the first has limits of its own; `upstream` has
/// the rest of the upstream.
async fn world(limits: &str, own: &str, upstream: &str) -> World {
    World::with(|scene| with_routes(scene, limits, own, upstream)).await
}

fn with_routes(scene: Scene, limits: &str, own: &str, upstream: &str) -> Scene {
    let route = |name: &str, own: &str| {
        format!(
            "  - {{ name: {name}, path: /{name}/**, methods: [GET, POST], scopes: [accounts], upstream: other{own} }}\n"
        )
    };
    let routes = format!("  other: {{ {upstream} }}\nroutes:\n") + &route("long", own) + &route("other", "");
    let limits = format!("{{ header_bytes: 32KiB{limits} }}");
    scene.replace("header_bytes: 32KiB", &limits).replace("routes:\n", &routes)
}

fn servers(address: SocketAddr) -> String {
    format!("servers: [\"http://{address}\"]")
}

/// An upstream that answers every request with `first`, and then with `again` without end, every 50 ms.
async fn saying(first: &'static [u8], again: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let mut tick = tokio::time::interval(BETWEEN);
                let mut next = stream.write_all(first).await;
                while next.is_ok() {
                    tick.tick().await;
                    next = stream.write_all(again).await;
                }
            });
        }
    });
    address
}

fn head(path: &str, token: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_arrives_slowly_passes_where_its_route_says_so() {
    const PIECES: usize = 20;
    let backend = Backend::h2c().await;
    let upstream = format!("{}, protocol: http2", servers(backend.address()));
    let limits = ", body_grace: 200ms, body_timeout: 400ms";
    let world = world(limits, ", limits: { body_timeout: 1m }", &upstream).await;
    for (path, whole) in [("/long/stream", true), ("/other/stream", false)] {
        let (sender, body) = Drops::new();
        tokio::spawn(async move {
            let mut tick = tokio::time::interval(BETWEEN);
            for _ in 0..PIECES {
                tick.tick().await;
                if sender.send(Frame::data(Bytes::from_static(b"a"))).await.is_err() {
                    return;
                }
            }
        });
        let mut connection = dripping_h2(world.client().h2().raw_stream().await.unwrap()).await;
        let request = Request::post(format!("{ORIGIN}{path}")).version(Version::HTTP_2);
        let request = request.header("authorization", format!("Bearer {}", world.sign(&world.token())));
        let response = connection.send_request(request.body(body).unwrap());
        let answered = timeout(DEADLINE, response).await.expect("in time").unwrap().status();
        let expected = if whole { StatusCode::OK } else { StatusCode::REQUEST_TIMEOUT };
        assert_eq!(answered, expected, "{path}");
    }
    assert_eq!(backend.calls().iter().map(|call| call.body.len()).max(), Some(PIECES));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_may_be_as_large_as_its_route_says() {
    let backend = Backend::http1().await;
    let upstream = servers(backend.address());
    let world = world(", body_bytes: 1KiB", ", limits: { body_bytes: 4KiB }", &upstream).await;
    for (path, length, status) in
        [("/long/a", 4096, 200), ("/long/a", 4097, 413), ("/other/a", 1024, 200), ("/other/a", 1025, 413)]
    {
        for client in [world.client().h1(), world.client().h2()] {
            let (mut parts, ()) = Request::new(()).into_parts();
            let from = request(path, &world.sign(&world.token())).into_parts().0;
            (parts.method, parts.uri, parts.headers) = (Method::POST, from.uri, from.headers);
            let request = Request::from_parts(parts, vec![b'a'; length].into());
            assert_eq!(world.judge_from(&client, request).await.0, status, "{path}: {length}");
        }
    }
    let announced = "POST /other/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4096\r\n\r\n";
    let mut talk = Talk::with(&world.client()).await;
    talk.say(announced).await.unwrap();
    assert_eq!(talk.head().await, 413, "before the credentials are asked for");
}

#[tokio::test(flavor = "multi_thread")]
async fn interim_responses_do_not_prolong_an_exchange() {
    const INTERIM: &[u8] = b"HTTP/1.1 102 Processing\r\n\r\n";
    let upstream = servers(saying(INTERIM, INTERIM).await);
    let world = world(", exchange_timeout: 600ms", "", &upstream).await;
    for client in [world.client().h1(), world.client().h2()] {
        let began = now();
        let asked = world.judge_from(&client, request("/other/interim", &world.sign(&world.token())));
        let judged = timeout(DEADLINE, asked).await.expect("an answer in time");
        assert_eq!(judged, (504, "exchange_timeout".into()));
        assert!((Duration::from_millis(500)..DEADLINE / 2).contains(&began.elapsed()), "{:?}", began.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_ends_in_time_though_nothing_happens() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = servers(silent.local_addr().unwrap());
    let world = world(", exchange_timeout: 600ms", ", limits: { exchange_timeout: 300ms }", &upstream).await;
    for client in [world.client().h1(), world.client().h2()] {
        for (path, least) in [("/other/silent", 550), ("/long/silent", 250)] {
            let began = now();
            let asked = world.judge_from(&client, request(path, &world.sign(&world.token())));
            let judged = timeout(DEADLINE, asked).await.expect("an answer in time");
            assert_eq!(judged, (504, "exchange_timeout".into()));
            let took = began.elapsed();
            assert!((Duration::from_millis(least)..DEADLINE / 2).contains(&took), "{path}: {took:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_may_be_silent_for_as_long_as_the_route_says() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = format!("{}, response_timeout: 30s", servers(silent.local_addr().unwrap()));
    let world = world("", ", limits: { response_timeout: 300ms }", &upstream).await;
    for client in [world.client().h1(), world.client().h2()] {
        let asked = world.judge_from(&client, request("/long/silent", &world.sign(&world.token())));
        let judged = timeout(DEADLINE, asked).await.expect("an answer in time");
        assert_eq!(judged, (504, "upstream_timeout".into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_with_a_length_reaches_the_client_as_it_comes() {
    let first = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nhello";
    let upstream = servers(saying(first, b"").await);
    let world = world("", "", &upstream).await;
    let mut talk = Talk::with(&world.client()).await;
    talk.say(head("/other/part", &world.sign(&world.token()))).await.unwrap();
    assert_eq!(talk.head().await, 200);
    talk.until("hello").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_ends_with_its_token_where_the_route_says_so() {
    let first = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let upstream = servers(saying(first, b"1\r\na\r\n").await);
    let admin = ("\"127.0.0.1:0\" }", "\"127.0.0.1:0\", revocations: {} }");
    let own = ", on_expiry: close";
    let world = World::with(|scene| with_routes(scene.replace(admin.0, admin.1), "", own, &upstream)).await;
    let soon = world.sign(&world.token().expires_at(world.clock.now() + 1));
    for client in [world.client().h1(), world.client().h2()] {
        let began = now();
        let asked = timeout(DEADLINE, client.send(request("/long/events", &soon))).await.expect("it ends in time");
        assert!(asked.is_err(), "a truncated response does not look complete");
        assert!(began.elapsed() >= Duration::from_millis(800), "{:?}", began.elapsed());
        let record = world.gateway.record_where(|record| record["code"] == "token_expired");
        assert_eq!((&record["path"], &record["decision"]), (&json!("/long/events"), &json!("permit")));
    }
    let mut continued = Talk::with(&world.client()).await;
    continued.say(head("/other/events", &soon)).await.unwrap();
    assert_eq!(continued.head().await, 200);

    let token = world.token();
    let jti = token.claims()["jti"].as_str().unwrap().to_owned();
    let token = world.sign(&token);
    let mut talks = Vec::new();
    for path in ["/long/revoked", "/other/revoked"] {
        let mut talk = Talk::with(&world.client()).await;
        talk.say(head(path, &token)).await.unwrap();
        assert_eq!(talk.head().await, 200);
        talks.push(talk);
    }
    let revocation = json!({"issuer": world.issuer.issuer(), "jti": jti}).to_string();
    assert_eq!(world.gateway.post_revocation("application/json", revocation).await.0, 204);
    assert!(!talks.remove(0).rest().await.ends_with("0\r\n\r\n"));
    let record = world.gateway.record_where(|record| record["code"] == "token_revoked");
    assert_eq!(record["path"], "/long/revoked");
    continued.until("a\r\n1\r\na\r\n1\r\na\r\n1\r\na\r\n1\r\na\r\n1\r\na\r\n1\r\na\r\n1\r\na\r\n1\r\na\r\n").await;
    talks
        .remove(0)
        .until("a\r\n1\r\na\r\n1\r\na\r\n1\r\na\r\n1\r\na\r\n1\r\na\r\n1\r\na\r\n1\r\na\r\n1\r\na\r\n")
        .await;
}

/// An upstream whose responses are more than the sockets hold.
fn large() -> HttpServer {
    HttpServer::start(None, None, Arc::new(|_| Answer::text(StatusCode::OK, "a".repeat(32 << 20)))).unwrap()
}

/// Two clients that have read the head of their response on either route, and no more.
async fn unread(world: &World) -> [Talk; 2] {
    let [mut long, mut other] = [waiting(world, "/long/large").await, waiting(world, "/other/large").await];
    assert_eq!((long.head().await, other.head().await), (200, 200));
    [long, other]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_may_read_nothing_for_as_long_as_the_route_says() {
    let large = large();
    let own = ", limits: { idle_timeout: 1m }";
    let world = world(", idle_timeout: 300ms", own, &servers(large.address())).await;
    let [mut waited_for, _other] = unread(&world).await;
    let record = world.gateway.record_where(|record| record["code"] == "client_stalled");
    assert_eq!(record["path"], "/other/large");
    assert_eq!(in_flight(&world).await, 1, "the other one is waited for");
    let whole = waited_for.rest_of(32 << 20).await;
    assert_eq!(whole, 32 << 20, "and gets everything once it reads");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_ends_in_time_though_its_client_reads_nothing() {
    let large = large();
    let limits = ", idle_timeout: 1m, exchange_timeout: 1m";
    let own = ", limits: { exchange_timeout: 600ms }";
    let world = world(limits, own, &servers(large.address())).await;
    let _talks = unread(&world).await;
    let record = world.gateway.record_where(|record| record["code"] == "exchange_timeout");
    assert_eq!((&record["path"], &record["decision"]), (&json!("/long/large"), &json!("permit")));
    assert!(record["duration_ms"].as_f64().unwrap() < 5000.0, "{record}");
    assert_eq!(in_flight(&world).await, 1, "control: the other one goes on");
}

/// An upstream that says this after a while, and then nothing more.
async fn silent_after(said: &'static [u8], wait: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                tokio::time::sleep(wait).await;
                let _ = stream.write_all(said).await;
                let _ = stream.read(&mut [0; 4096]).await;
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_ends_in_time_though_its_upstream_falls_silent() {
    const WAIT: Duration = Duration::from_millis(2600);
    let part = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf";
    let upstream = servers(silent_after(part, WAIT).await);
    let world = world("", ", limits: { exchange_timeout: 3s }", &upstream).await;
    for (client, path) in [(world.client().h1(), "/long/h1"), (world.client().h2(), "/long/h2")] {
        let sent = client.send(request(path, &world.sign(&world.token()))).await;
        assert!(sent.is_err(), "{path}: a truncated response does not look complete");
        let record = world.gateway.record_where(|record| record["path"] == path);
        let seen = (&record["decision"], &record["code"], &record["status"], &record["response_bytes"]);
        assert_eq!(seen, (&json!("permit"), &json!("exchange_timeout"), &json!(200), &json!(4)), "{record}");
        // Waiting for the upstream from the response on, as long as for the response, would take 5.6 seconds.
        let took = record["duration_ms"].as_f64().unwrap();
        assert!((2900.0..4900.0).contains(&took), "{path}: {took}");
    }
    until_in_flight(&world, 0).await;
    assert_eq!(world.judge(world.request()).await, (200, "ok".into()), "control: another upstream");
}

/// Sends a request and leaves it waiting for a response that does not come.
async fn waiting(world: &World, path: &str) -> Talk {
    let mut talk = Talk::with(&world.client()).await;
    talk.say(head(path, &world.sign(&world.token()))).await.unwrap();
    talk
}

async fn in_flight(world: &World) -> usize {
    let metrics = world.gateway.admin("/metrics").await.1;
    let gauge = metrics.lines().find(|line| line.starts_with("fapi_gateway_exchanges_in_flight{")).unwrap();
    gauge.rsplit(' ').next().unwrap().parse().unwrap()
}

async fn until_in_flight(world: &World, count: usize) {
    let reached = async {
        while in_flight(world).await != count {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, reached).await.unwrap_or_else(|_| panic!("{count} exchanges are in progress"));
}

async fn is_refused(world: &World, path: &str, code: &str) {
    for client in [world.client().h1(), world.client().h2()] {
        let response = client.send(request(path, &world.sign(&world.token()))).await.unwrap();
        assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &"5".parse().unwrap()));
        assert!(!response.headers().contains_key("www-authenticate"));
        assert_eq!(world.gateway.record_of(&response)["code"], code);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn more_exchanges_than_may_be_are_told_to_come_back() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let world = world(", exchanges: 2", "", &servers(silent.local_addr().unwrap())).await;
    assert_eq!(world.judge(world.request()).await, (200, "ok".into()), "control");
    let held = [waiting(&world, "/long/1").await, waiting(&world, "/other/2").await];
    until_in_flight(&world, 2).await;
    is_refused(&world, "/accounts", "overloaded").await;
    drop(held);
    until_in_flight(&world, 0).await;
    assert_eq!(world.judge(world.request()).await, (200, "ok".into()), "there is room again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upstream_that_is_full_leaves_the_others_alone() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = servers(silent.local_addr().unwrap());
    let limits = ", connect_timeout: 20s, limits: { exchanges: 1, waiting: 1 }";
    let world = world("", "", &(upstream + limits)).await;
    let first = waiting(&world, "/long/1").await;
    until_in_flight(&world, 1).await;
    let second = waiting(&world, "/long/2").await;
    until_in_flight(&world, 2).await;
    is_refused(&world, "/long/3", "upstream_overloaded").await;
    assert_eq!(world.judge(world.request()).await, (200, "ok".into()), "control: another upstream");
    drop((first, second));
    until_in_flight(&world, 0).await;
    let _third = waiting(&world, "/long/4").await;
    until_in_flight(&world, 1).await;
}

/// Waits for the next request at an upstream, and returns its path with the connection, which stays open.
async fn arrived(upstream: &TcpListener) -> (String, TcpStream) {
    let (mut stream, _) = timeout(DEADLINE, upstream.accept()).await.expect("a request").unwrap();
    let mut start = [0; 1024];
    let length = stream.read(&mut start).await.unwrap();
    let line = String::from_utf8_lossy(&start[..length]).into_owned();
    (line.split(' ').nth(1).unwrap_or_default().to_owned(), stream)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_waited_for_the_upstream_until_it_may_no_longer_go_on_is_not_forwarded() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream =
        servers(silent.local_addr().unwrap()) + ", connect_timeout: 20s, limits: { exchanges: 1, waiting: 2 }";
    let own = ", on_expiry: close, limits: { exchange_timeout: 600ms }";
    let world = world("", own, &upstream).await;
    let first = waiting(&world, "/other/1").await;
    let (path, _open) = arrived(&silent).await;
    assert_eq!(path, "/other/1");

    let began = now();
    let judged = world.judge_from(&world.client(), request("/long/2", &world.sign(&world.token()))).await;
    assert_eq!(judged, (504, "exchange_timeout".into()));
    assert!((Duration::from_millis(550)..DEADLINE / 2).contains(&began.elapsed()), "{:?}", began.elapsed());

    drop(first);
    until_in_flight(&world, 0).await;
    let _third = waiting(&world, "/other/3").await;
    assert_eq!(arrived(&silent).await.0, "/other/3", "control: who has a place is forwarded, and the second was not");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_token_ended_while_it_waited_for_the_upstream_is_not_forwarded() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream =
        servers(silent.local_addr().unwrap()) + ", connect_timeout: 20s, limits: { exchanges: 1, waiting: 2 }";
    let admin = ("\"127.0.0.1:0\" }", "\"127.0.0.1:0\", revocations: {} }");
    let own = ", on_expiry: close";
    let world = World::with(|scene| with_routes(scene.replace(admin.0, admin.1), "", own, &upstream)).await;
    for (path, code) in [
        ("/long/revoked", "token_revoked"),
        ("/other/revoked", "token_revoked"),
        ("/other/expired", "token_expired"),
        ("/other/good", ""),
    ] {
        let first = waiting(&world, "/other/1").await;
        let (arrival, _open) = arrived(&silent).await;
        assert_eq!(arrival, "/other/1");
        let claims = world.token().expires_at(world.clock.now() + 60);
        let mut second = Talk::with(&world.client()).await;
        second.say(head(path, &world.sign(&claims))).await.unwrap();
        until_in_flight(&world, 2).await;
        match code {
            "token_revoked" => {
                let revocation = json!({"issuer": world.issuer.issuer(), "jti": claims.claims()["jti"]}).to_string();
                assert_eq!(world.gateway.post_revocation("application/json", revocation).await.0, 204);
            }
            "token_expired" => world.clock.advance(60),
            _ => {}
        }
        drop(first);
        if code.is_empty() {
            assert_eq!(arrived(&silent).await.0, path, "control");
        } else {
            assert_eq!(second.head().await, 401, "{path}");
            assert_eq!(world.gateway.record_where(|record| record["path"] == path)["code"], code);
        }
        drop(second);
        until_in_flight(&world, 0).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_asked_to_open_another_connection_now_and_then() {
    let backend = Backend::http1().await;
    let upstream = servers(backend.address());
    let world = world(", connection_max_requests: 10", "", &upstream).await;
    let token = world.sign(&world.token());
    let mut talk = Talk::with(&world.client()).await;
    let mut carried = 0;
    loop {
        talk.say(head("/accounts", &token)).await.unwrap();
        let answer = talk.answer().await.expect("a response to every request");
        assert_eq!(answer.status, 200);
        carried += 1;
        if answer.field("connection") == ["close"] {
            break;
        }
    }
    assert!((9..=11).contains(&carried), "{carried}");
    assert_eq!(talk.rest().await, "", "and closed");

    let mut carried = 0;
    let mut open = world.client().h2().connect().await.unwrap();
    while carried < 100 && open.send(request("/accounts", &token)).await.is_ok() {
        carried += 1;
    }
    assert!((9..=11).contains(&carried), "GOAWAY after {carried}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_old_enough_ends_without_losing_a_request() {
    let backend = Backend::http1().await;
    let world = world(", connection_max_age: 1s", "", &servers(backend.address())).await;
    let token = world.sign(&world.token());
    for h2 in [false, true] {
        let client = if h2 { world.client().h2() } else { world.client().h1() };
        let mut open = client.connect().await.unwrap();
        let began = now();
        while let Ok(response) = open.send(request("/accounts", &token)).await {
            assert_eq!(response.status(), StatusCode::OK);
            assert!(began.elapsed() < DEADLINE, "h2: {h2}");
        }
        assert!(began.elapsed() >= Duration::from_millis(800), "{:?}, h2: {h2}", began.elapsed());
    }
}
