//! Clients that send and read slowly: a limit ends each of them, and none blocks the others.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Frame;
use sandbox::https::{Answer, HttpServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::wire::{Drops, SHORT, Talk, dripping_h2, now};
use super::{client, h2_request, head, still_serves};
use crate::support::{DEADLINE, World, request};

const BETWEEN: Duration = Duration::from_millis(50);

/// A world with these limits and a route to an additional upstream.
async fn world(limits: &str, upstream: SocketAddr) -> World {
    let route = format!(
        "  other: {{ servers: [\"http://{upstream}\"], response_timeout: 5s }}\nroutes:\n  - {{ name: other, path: /other/**, methods: [GET], scopes: [accounts], upstream: other }}\n"
    );
    let limits = format!("{{ header_bytes: 32KiB, {limits} }}");
    World::with(|scene| scene.replace("header_bytes: 32KiB", &limits).replace("routes:\n", &route)).await
}

fn nobody() -> SocketAddr {
    "127.0.0.1:9".parse().unwrap()
}

/// Sends `count` single bytes, one every 50 ms.
fn drip(sender: mpsc::Sender<Frame<Bytes>>, count: usize) {
    tokio::spawn(async move {
        let mut tick = tokio::time::interval(BETWEEN);
        for _ in 0..count {
            tick.tick().await;
            if sender.send(Frame::data(Bytes::from_static(b"a"))).await.is_err() {
                return;
            }
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sz_03_a_body_that_drips_into_ten_megabytes_ends_by_its_rate() {
    let world = world("body_grace: 300ms, body_min_rate: 1KiB", nobody()).await;
    let patient = self::world("body_grace: 300ms, body_min_rate: 10B", nobody()).await;
    let bound = Duration::from_secs(3);

    // HTTP/1, with and without a length, and with a form.
    for (framing, piece) in [
        ("Content-Length: 10000000\r\n", &b"a"[..]),
        ("Transfer-Encoding: chunked\r\n", b"1\r\na\r\n"),
        ("Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 60000\r\n", b"a"),
    ] {
        let mut pieces = vec![head(&world, "POST /payments", framing).into_bytes()];
        pieces.extend(std::iter::repeat_n(piece.to_vec(), 1000));
        let (answer, took) = Talk::with(&client(&world)).await.drip(pieces, BETWEEN).await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 408, "{framing}: {answer:?}");
        assert_eq!(world.gateway.record(answer.field("x-fapi-interaction-id")[0])["code"], "body_timeout");
        assert!(took >= SHORT && took < bound, "{framing}: {took:?}");
    }
    // A body that is announced but never sent.
    let mut talk = Talk::with(&client(&world)).await;
    let began = now();
    talk.say(head(&world, "POST /payments", "Content-Length: 5\r\n")).await.unwrap();
    assert_eq!(talk.answer().await.expect("an answer").status, 408);
    assert!(began.elapsed() < bound, "{:?}", began.elapsed());

    let (sender, body) = Drops::new();
    drip(sender, 1000);
    let began = now();
    let connection = dripping_h2(world.client().h2().raw_stream().await.unwrap()).await;
    let request = h2_request(&world, "POST", "/payments").body(body).unwrap();
    let response = timeout(DEADLINE, connection.clone().send_request(request)).await.unwrap().unwrap();
    assert_eq!(
        (response.status(), &world.gateway.record_of(&response)["code"]),
        (StatusCode::REQUEST_TIMEOUT, &"body_timeout".into())
    );
    assert!(began.elapsed() < bound, "{:?}", began.elapsed());

    // Control: as slow, but within the limit.
    let mut pieces = vec![head(&patient, "POST /payments", "Content-Length: 20\r\n").into_bytes()];
    pieces.extend(std::iter::repeat_n(b"a".to_vec(), 20));
    let (answer, took) = Talk::with(&client(&patient)).await.drip(pieces, BETWEEN).await;
    assert_eq!(answer.expect("an answer").status, 201);
    assert!(took > SHORT, "{took:?}");
    let (sender, body) = Drops::new();
    drip(sender, 20);
    let connection = dripping_h2(patient.client().h2().raw_stream().await.unwrap()).await;
    let request = h2_request(&patient, "POST", "/payments").body(body).unwrap();
    let response = timeout(DEADLINE, connection.clone().send_request(request)).await.unwrap().unwrap();
    assert_eq!(response.status(), 201);
    still_serves(&patient).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sz_03_a_client_that_does_not_read_is_left() {
    // More than the socket buffers hold.
    let large =
        HttpServer::start(None, None, Arc::new(|_| Answer::text(StatusCode::OK, "a".repeat(32 << 20)))).unwrap();
    let world = world("idle_timeout: 600ms", large.address()).await;
    let mut talk = Talk::with(&client(&world)).await;
    talk.say(head(&world, "GET /other/1", "")).await.unwrap();
    assert_eq!(talk.head().await, 200);
    let began = now();
    let record = world.gateway.record_where(|record| record["code"] == "client_stalled");
    assert!(began.elapsed() < DEADLINE / 2, "{:?}", began.elapsed());
    assert_eq!(
        (&record["decision"], &record["status"], &record["upstream"]),
        (&"permit".into(), &200.into(), &"other".into())
    );

    // HTTP/2: the client reads as much as the first window allows, and no more.
    let connection = dripping_h2(world.client().h2().raw_stream().await.unwrap()).await;
    let request = h2_request(&world, "GET", "/other/2").body(Drops::none()).unwrap();
    let mut response = timeout(DEADLINE, connection.clone().send_request(request)).await.unwrap().unwrap();
    let neighbour = h2_request(&world, "GET", "/accounts").body(Drops::none()).unwrap();
    let neighbour = timeout(DEADLINE, connection.clone().send_request(neighbour)).await.unwrap().unwrap();
    assert_eq!(neighbour.status(), 200, "another stream of the connection is served");
    assert_eq!(world.gateway.record_of(&response)["code"], "client_stalled");
    let rest = async { while let Some(Ok(_)) = response.frame().await {} };
    timeout(DEADLINE, rest).await.expect("the response ends");

    // Control: a client that reads receives everything.
    for client in [world.client().h1(), world.client().h2()] {
        let response = client.send(request_of(&world, "/other/3")).await.unwrap();
        assert_eq!((response.status().as_u16(), response.body().len()), (200, 32 << 20));
    }
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_no_response_without_a_body_is_left_too() {
    // Large heads fill the buffers of the sockets soon.
    let heads = HttpServer::start(
        None,
        None,
        Arc::new(|request| {
            let status = if request.uri.ends_with("204") { StatusCode::NO_CONTENT } else { StatusCode::OK };
            let large = HeaderValue::try_from("a".repeat(30 * 1024)).unwrap();
            Answer::status(status).header(HeaderName::from_static("x-large"), large)
        }),
    )
    .unwrap();
    let world = world("idle_timeout: 600ms", heads.address()).await;
    let stranger = "GET /other/401 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned();
    for request in [head(&world, "HEAD /other/200", ""), head(&world, "GET /other/204", ""), stranger] {
        let mut talk = Talk::with(&client(&world)).await;
        let began = now();
        // The gateway takes requests until it can write no more responses; then it takes none, until it gives up.
        let mut taken = 0;
        while talk.say(&request).await.is_ok() {
            taken += 1;
            assert!(taken < 100_000, "the gateway takes every request: {request}");
        }
        assert!(began.elapsed() < 2 * DEADLINE, "{:?}: {request}", began.elapsed());
        let closed = async {
            while open_connections(&world).await > 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, closed).await.expect("the connection is closed");
    }
    still_serves(&world).await;
}

/// How many connections the gateway holds.
async fn open_connections(world: &World) -> usize {
    let metrics = world.gateway.admin("/metrics").await.1;
    let gauge = metrics.lines().find(|line| line.starts_with("fapi_gateway_connections{")).unwrap();
    gauge.rsplit(' ').next().unwrap().parse().unwrap()
}

fn request_of(world: &World, path: &str) -> http::Request<Bytes> {
    request(path, &world.sign(&world.token()))
}

/// An upstream whose responses never end.
async fn endless() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
                let mut tick = tokio::time::interval(BETWEEN);
                loop {
                    tick.tick().await;
                    stream.write_all(b"1\r\na\r\n").await?;
                }
                #[allow(unreachable_code, reason = "the loop ends with the connection")]
                Ok::<_, io::Error>(())
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn fwd_14_an_exchange_without_end_ends() {
    let world = world("exchange_timeout: 500ms", endless().await).await;
    let ended = |path: &'static str| {
        let record = world.gateway.record_where(|record| record["path"] == path);
        assert_eq!(
            (&record["decision"], &record["code"], &record["status"]),
            (&"permit".into(), &"exchange_timeout".into(), &200.into())
        );
    };
    let mut talk = Talk::with(&client(&world)).await;
    talk.say(head(&world, "GET /other/h1", "")).await.unwrap();
    assert_eq!(talk.head().await, 200);
    assert!(!talk.rest().await.ends_with("0\r\n\r\n"), "a truncated response does not look complete");
    ended("/other/h1");
    let connection = dripping_h2(world.client().h2().raw_stream().await.unwrap()).await;
    let request = h2_request(&world, "GET", "/other/h2").body(Drops::none()).unwrap();
    let response = timeout(DEADLINE, connection.clone().send_request(request)).await.unwrap().unwrap();
    assert_eq!(response.status(), 200);
    let whole = timeout(DEADLINE, response.into_body().collect()).await.expect("the response ends");
    assert!(whole.is_err(), "a truncated response does not look complete");
    ended("/other/h2");
    still_serves(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sz_03_slow_clients_hold_no_worker() {
    let world = Arc::new(World::start().await);
    let half_body = head(&world, "POST /payments", "Content-Length: 1000\r\n") + "half";
    let slow = [b"GET /accounts HTTP/1.1\r\nHost: loc".to_vec(), half_body.into_bytes(), Vec::new()];
    let mut held = Vec::new();
    for number in 0..150 {
        let mut talk = Talk::with(&client(&world)).await;
        talk.say(&slow[number % slow.len()]).await.unwrap();
        held.push(talk);
    }
    let began = now();
    for _ in 0..5 {
        still_serves(&world).await;
    }
    assert!(began.elapsed() < DEADLINE, "{:?}", began.elapsed());
    let open = open_connections(&world).await;
    assert!(open >= held.len(), "the stalled connections are still open: {open}");
}
