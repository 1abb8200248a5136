//! Several servers behind one upstream name: which one is chosen, what is retried and what never is, which connections
//! are shared, and which versions of HTTP are used to reach them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use sandbox::https::{Answer, HttpServer, Recorded};
use sandbox::pki::{self, Authority, Credential};
use sandbox::tls::tls_config;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::yield_now;
use tokio::time::timeout;

use crate::edge::hostile::wire::Talk;
use crate::support::backend::{ANSWER, Backend, Call, Frames, Word};
use crate::support::{DEADLINE, ORIGIN, Scene, World, request};

/// A server that answers 200 to everything.
pub(super) fn good() -> HttpServer {
    answering(|_| Answer::text(StatusCode::OK, "ok"))
}

pub(super) fn answering(handler: impl Fn(Recorded) -> Answer + Send + Sync + 'static) -> HttpServer {
    HttpServer::start(None, None, Arc::new(handler)).expect("a server starts")
}

/// Adds the upstream `bank` with these servers and keys, and a route `/bank/**` to it.
pub(super) fn with_bank(scene: Scene, servers: &[String], keys: &str) -> Scene {
    let servers = servers.iter().map(|server| format!("\"{server}\"")).collect::<Vec<_>>().join(", ");
    let route = "name: bank, path: /bank/**, methods: [GET, POST], scopes: [accounts], upstream: bank, \
                 forward: { client_certificate: true, claims: { client_id: X-Token-Client-Id } }";
    scene.replace("routes:\n", &format!("  bank: {{ servers: [{servers}]{keys} }}\nroutes:\n  - {{ {route} }}\n"))
}

pub(super) fn plain(addresses: &[SocketAddr]) -> Vec<String> {
    addresses.iter().map(|address| format!("http://{address}")).collect()
}

pub(super) async fn world(addresses: &[SocketAddr], keys: &str) -> World {
    let servers = plain(addresses);
    World::with(|scene| with_bank(scene, &servers, keys)).await
}

/// A gateway all of whose clients share the connections to the bank.
pub(super) async fn world_of_one_thread(addresses: &[SocketAddr], keys: &str) -> World {
    let servers = plain(addresses);
    World::with(|scene| with_bank(scene, &servers, keys).one_thread()).await
}

/// A payment: neither safe nor idempotent.
pub(super) fn post(world: &World) -> Request<Bytes> {
    let (mut head, _) = request("/bank/payments", &world.sign(&world.token())).into_parts();
    head.method = Method::POST;
    Request::from_parts(head, Bytes::from_static(b"pay"))
}

pub(super) fn get(world: &World) -> Request<Bytes> {
    request("/bank/accounts", &world.sign(&world.token()))
}

/// The value of one line of `/metrics`; 0 if the line is missing.
pub(super) async fn metric(world: &World, line: &str) -> u64 {
    let text = world.gateway.admin("/metrics").await.1;
    let value = text.lines().find_map(|found| found.strip_prefix(&format!("fapi_gateway_upstream_{line} ")));
    value.map_or(0, |value| value.parse().expect("a whole number"))
}

pub(super) async fn servers(world: &World, state: &str) -> u64 {
    metric(world, &format!("servers{{state=\"{state}\",upstream=\"bank\"}}")).await
}

async fn retries(world: &World) -> u64 {
    metric(world, "retries_total{upstream=\"bank\"}").await
}

/// Waits until this many servers are in this state.
pub(super) async fn becomes(world: &World, state: &str, count: u64) {
    let reached = async {
        while servers(world, state).await != count {
            yield_now().await;
        }
    };
    timeout(DEADLINE, reached).await.unwrap_or_else(|_| panic!("{count} servers are not {state} in time"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_refuses_connections_is_left_out_and_the_others_take_over() {
    let (one, mut other) = (good(), good());
    let world = world(&[one.address(), other.address()], "").await;
    for _ in 0..4 {
        assert_eq!(world.judge(post(&world)).await, (200, "ok".into()));
    }
    assert_eq!((one.requests().len(), other.requests().len()), (2, 2), "control: they take turns");
    assert_eq!((servers(&world, "healthy").await, retries(&world).await), (2, 0));

    other.stop().await.unwrap();
    for _ in 0..4 {
        assert_eq!(world.judge(post(&world)).await, (200, "ok".into()));
    }
    assert_eq!((one.requests().len(), other.requests().len()), (6, 2));
    assert_eq!(retries(&world).await, 1, "it is tried once, then ejected");
    assert_eq!(metric(&world, "errors_total{kind=\"connect\",upstream=\"bank\"}").await, 1);
    assert_eq!((servers(&world, "healthy").await, servers(&world, "ejected").await), (1, 1));

    world.clock.advance(10);
    for _ in 0..4 {
        assert_eq!(world.judge(post(&world)).await, (200, "ok".into()));
    }
    assert_eq!((retries(&world).await, servers(&world, "ejected").await), (2, 1), "one request tries it again");

    other.restart().await.unwrap();
    // The second pause is twice as long as the first.
    world.clock.advance(20);
    let share = async || {
        let before = other.requests().len();
        for _ in 0..20 {
            assert_eq!(world.judge(post(&world)).await, (200, "ok".into()));
        }
        other.requests().len() - before
    };
    let at_first = share().await;
    assert!((1..=4).contains(&at_first), "it gets few requests after its return: {at_first}");
    assert_eq!((servers(&world, "healthy").await, servers(&world, "ejected").await), (2, 0));
    world.clock.advance(30);
    assert_eq!(share().await, 10, "it takes its turns again");
    assert_eq!(retries(&world).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_remembered_of_servers_never_makes_a_502() {
    let (mut one, mut other) = (good(), good());
    let world = world(&[one.address(), other.address()], "").await;
    one.stop().await.unwrap();
    other.stop().await.unwrap();
    assert_eq!(world.judge(get(&world)).await, (502, "upstream_unreachable".into()));
    assert_eq!((servers(&world, "ejected").await, retries(&world).await), (2, 1), "each was tried once");
    assert_eq!(world.judge(get(&world)).await, (502, "upstream_unreachable".into()));

    one.restart().await.unwrap();
    other.restart().await.unwrap();
    assert_eq!(world.judge(get(&world)).await, (200, "ok".into()), "all are ejected, so all are used");
}

#[tokio::test(flavor = "multi_thread")]
async fn fwd_09_what_a_server_may_have_seen_is_not_sent_again() {
    let moody = || {
        answering(|request| match request.path() {
            "/bank/break" => Answer::resetting(),
            _ => Answer::text(StatusCode::OK, "ok"),
        })
    };
    let (one, other) = (moody(), moody());
    let world = world(&[one.address(), other.address()], "").await;
    let token = world.sign(&world.token());
    for (method, cases) in [(Method::GET, &[false][..]), (Method::POST, &[false, true])] {
        for &reused in cases {
            if reused {
                for _ in 0..2 {
                    assert_eq!(world.judge(get(&world)).await.0, 200, "control: the connections are good");
                }
            }
            let before = one.heads() + other.heads();
            let (mut head, body) = request("/bank/break", &token).into_parts();
            head.method = method.clone();
            let answer = world.judge(Request::from_parts(head, body)).await;
            assert_eq!(answer, (502, "upstream_unreachable".into()), "{method}, reused: {reused}");
            assert_eq!(one.heads() + other.heads(), before + 1, "{method}, reused: {reused}");
        }
    }
    assert_eq!((retries(&world).await, servers(&world, "healthy").await), (0, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn fwd_09_a_connection_that_was_closed_in_the_pool_costs_nothing() {
    let mut server = good();
    let world = world(&[server.address()], "").await;
    assert_eq!(world.judge(post(&world)).await, (200, "ok".into()));
    server.stop().await.unwrap();
    server.restart().await.unwrap();
    assert_eq!(world.judge(post(&world)).await, (200, "ok".into()));
    assert_eq!((server.heads(), retries(&world).await), (2, 0), "nothing was sent on the closed one");
}

#[tokio::test(flavor = "multi_thread")]
async fn fwd_09_http2_requests_that_were_not_processed_are_sent_again_and_no_others() {
    const CANCEL: u8 = 8;
    const INTERNAL_ERROR: u8 = 2;
    const NO_ERROR: u8 = 0;
    const REFUSED_STREAM: u8 = 7;
    const HTTP_1_1_REQUIRED: u8 = 13;
    for (first, status, requests) in [
        (Word::Answer, 200, 1),
        (Word::Reset(REFUSED_STREAM), 200, 2),
        (Word::GoAway(NO_ERROR), 200, 2),
        (Word::Reset(CANCEL), 502, 1),
        (Word::Reset(INTERNAL_ERROR), 502, 1),
        (Word::Reset(HTTP_1_1_REQUIRED), 502, 1),
        (Word::Close, 502, 1),
    ] {
        for warm in [false, true] {
            let mut script = vec![Word::Answer; usize::from(warm)];
            script.push(first);
            let server = Frames::start(&script).await;
            let world = world(&[server.address()], ", protocol: http2").await;
            if warm {
                assert_eq!(world.judge(post(&world)).await.0, 200, "control");
            }
            assert_eq!(world.judge(post(&world)).await.0, status, "{first:?}, warm: {warm}");
            assert_eq!(server.requests(), requests + usize::from(warm), "{first:?}, warm: {warm}");
            assert_eq!(retries(&world).await, u64::from(requests == 2), "{first:?}, warm: {warm}");
        }
    }
    let always = Frames::start(&[Word::Reset(REFUSED_STREAM); 100]).await;
    let world = world(&[always.address()], ", protocol: http2").await;
    assert_eq!(world.judge(post(&world)).await, (502, "upstream_invalid".into()));
    assert_eq!(always.requests(), 5, "the retries are limited");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_connection_whose_streams_are_refused_gets_no_more_of_them() {
    const CANCEL: u8 = 8;
    const REFUSED_STREAM: u8 = 7;
    const ENHANCE_YOUR_CALM: u8 = 11;
    for (word, connections) in [
        (Word::Reset(CANCEL), 1), // control: a fault of one request
        (Word::Reset(REFUSED_STREAM), 2),
        (Word::Reset(ENHANCE_YOUR_CALM), 2),
        (Word::GoAway(ENHANCE_YOUR_CALM), 2),
    ] {
        let server = Frames::start(&[Word::Answer, word]).await;
        let world = world_of_one_thread(&[server.address()], ", protocol: http2").await;
        assert_eq!(world.judge(post(&world)).await.0, 200, "control");
        let _ = world.judge(post(&world)).await;
        for _ in 0..3 {
            assert_eq!(world.judge(post(&world)).await.0, 200, "{word:?}");
        }
        assert_eq!(server.connections(), connections, "{word:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_of_http2_with_white_space_around_a_value_is_no_response() {
    for (fields, expected) in [
        (&b"\0\x01x\x031 1"[..], (200, "ok")), // control
        (b"\0\x01x\x02 1", (502, "upstream_invalid")),
        (b"\0\x01x\x021\t", (502, "upstream_invalid")),
    ] {
        let server = Frames::start(&[Word::With(fields)]).await;
        let world = world(&[server.address()], ", protocol: http2").await;
        assert_eq!(world.judge(get(&world)).await, (expected.0, expected.1.to_owned()), "{fields:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_content_brings_none_whatever_an_http2_server_sends() {
    const OK: u8 = 8;
    const NO_CONTENT: u8 = 9;
    const NOT_MODIFIED: u8 = 11;
    for (status, seen, body) in [(OK, 200, &b"secret"[..]), (NO_CONTENT, 204, b""), (NOT_MODIFIED, 304, b"")] {
        let server = Frames::start(&[Word::Body(status, b"secret"); 2]).await;
        let world = world(&[server.address()], ", protocol: http2").await;
        for client in [world.client().h1(), world.client().h2()] {
            let response = client.send(get(&world)).await.expect("a response");
            assert_eq!((response.status().as_u16(), &response.body()[..]), (seen, body));
            let record = world.gateway.record_of(&response);
            assert_eq!((&record["code"], &record["response_bytes"]), (&"ok".into(), &body.len().into()), "{record}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn why_tls_with_a_server_fails_is_in_the_audit() {
    let (authority, other) = (Authority::new("Bank"), Authority::new("Other"));
    let backend = Backend::tls(tls_config(&authority.server(&["localhost"]), None)).await;
    for (trusted, name, expected) in [
        (&authority, "localhost", None), // control
        (&other, "localhost", Some("TLSHandshakeFailure: invalid peer certificate: UnknownIssuer")),
        (
            &authority,
            "127.0.0.1",
            Some("TLSHandshakeFailure: invalid peer certificate: certificate not valid for name"),
        ),
    ] {
        let server = vec![format!("https://{name}:{}", backend.address().port())];
        let keys = ", tls: { trust_anchors: [bank.pem] }";
        let world = World::with(|scene| with_bank(scene.file("bank.pem", &trusted.pem()), &server, keys)).await;
        let response = world.client().send(get(&world)).await.expect("a response");
        let record = world.gateway.record_of(&response);
        match expected {
            None => assert_eq!(record["code"], "ok", "{record}"),
            Some(why) => assert!(record["detail"].as_str().is_some_and(|detail| detail.contains(why)), "{record}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fwd_09_a_body_that_was_not_kept_whole_is_not_sent_again() {
    const REFUSED_STREAM: u8 = 7;
    for (length, status, requests) in [(60_000, 200, 2), (70_000, 502, 1)] {
        let server = Frames::start(&[Word::Reset(REFUSED_STREAM)]).await;
        let world = world(&[server.address()], ", protocol: http2").await;
        let (head, _) = post(&world).into_parts();
        let answer = world.judge(Request::from_parts(head, vec![b'a'; length].into())).await;
        assert_eq!((answer.0, server.requests()), (status, requests), "{length}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_counts_once_however_many_servers_are_tried() {
    let (server, mut gone) = (good(), good());
    let world = world(&[server.address(), gone.address()], "").await;
    gone.stop().await.unwrap();
    let holder = world.holder();
    for _ in 0..2 {
        let proof = holder.proof("/bank/accounts", world.clock.now());
        let signed = holder.request("/bank/accounts", &proof);
        let again = signed.clone();
        assert_eq!(world.judge_from(&world.anonymous(), signed).await, (200, "ok".into()));
        assert_eq!(world.judge_from(&world.anonymous(), again).await, (401, "dpop_replayed".into()), "control");
    }
    assert_eq!((server.requests().len(), retries(&world).await), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn at_05_a_request_whose_token_ends_after_a_failed_attempt_is_not_sent_again() {
    for (what, judged, attempts) in [
        ("nothing", (502, "upstream_unreachable"), 2), // control
        ("it expires", (401, "token_expired"), 1),
        ("it is revoked", (401, "token_revoked"), 1),
    ] {
        let servers =
            [TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap()];
        let urls = servers.each_ref().map(|server| format!("https://{}", server.local_addr().unwrap()));
        let world = World::with(|scene| {
            let scene = scene.replace("\"127.0.0.1:0\" }", "\"127.0.0.1:0\", revocations: {} }");
            with_bank(scene, &urls, ", tls: { trust_anchors: [ca.pem] }")
        })
        .await;
        let token = world.token().expires_at(world.clock.now() + 60);
        let accepted = AtomicUsize::new(0);
        // Each server closes its connections within the handshake, when the token has ended.
        let closing = async {
            for _ in 0..10 {
                let connection = tokio::select! {
                    connection = servers[0].accept() => connection,
                    connection = servers[1].accept() => connection,
                };
                accepted.fetch_add(1, Ordering::Relaxed);
                match what {
                    "it expires" => world.clock.advance(60),
                    "it is revoked" => world.gateway.revoke(&json!({ "jti": token.claims()["jti"] })).await,
                    _ => {}
                }
                drop(connection);
            }
        };
        let answer = tokio::select! {
            answer = world.judge(request("/bank/accounts", &world.sign(&token))) => answer,
            () = closing => panic!("{what}: too many attempts"),
        };
        assert_eq!((answer, accepted.into_inner()), ((judged.0, judged.1.to_owned()), attempts), "{what}");
    }
}

/// The numbers of the connections that the calls arrived on, without repetitions, in order.
fn connections(calls: &[Call]) -> Vec<usize> {
    let mut numbers: Vec<usize> = calls.iter().map(|call| call.connection).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

#[tokio::test(flavor = "multi_thread")]
async fn t2_a_connection_carries_each_client_under_its_own_name() {
    for (backend, protocol) in [(Backend::http1().await, "http1"), (Backend::h2c().await, "http2")] {
        let world = world_of_one_thread(&[backend.address()], &format!(", protocol: {protocol}")).await;
        let tokens = [("client-1", &world.c1), ("client-2", &world.c2)].map(|(id, certificate)| {
            let token = world.issuer.token(world.clock.now()).claim("client_id", id).bound_to_certificate(certificate);
            (id, certificate, world.sign(&token))
        });
        for _ in 0..3 {
            for (id, certificate, token) in &tokens {
                let client = world.anonymous().certificate(certificate);
                assert_eq!(world.judge_from(&client, request("/bank/accounts", token)).await, (200, "ok".into()));
                let call = backend.calls().pop().unwrap();
                assert_eq!(call.headers["x-token-client-id"], *id, "{protocol}");
                let shown = call.headers["client-cert"].to_str().unwrap().to_owned();
                assert_eq!(shown, certificate_field(certificate), "{protocol}");
            }
            let holder = world.holder();
            let proof = holder.proof("/bank/accounts", world.clock.now());
            let signed = holder.request("/bank/accounts", &proof);
            assert_eq!(world.judge_from(&world.anonymous(), signed).await, (200, "ok".into()));
            let call = backend.calls().pop().unwrap();
            assert_eq!(call.headers.get("client-cert"), None, "{protocol}: nothing of the previous client remains");
            assert_eq!((call.headers.get("dpop"), call.headers.get("authorization")), (None, None), "{protocol}");
        }
        assert_eq!(connections(&backend.calls()), [0], "{protocol}: control: the connection is reused");
    }
}

/// RFC 9440 §2.2.
fn certificate_field(certificate: &Credential) -> String {
    use base64::Engine as _;
    format!(":{}:", base64::engine::general_purpose::STANDARD.encode(&certificate.chain_der[0]))
}

#[tokio::test(flavor = "multi_thread")]
async fn t2_upstreams_share_no_connection_though_the_server_is_the_same() {
    let backend = Backend::http1().await;
    let address = backend.address();
    let world = World::with(|scene| {
        with_bank(scene, &plain(&[address]), "").replace(
            "routes:\n",
            &format!(
                "  twin: {{ servers: [\"http://{address}\"] }}\nroutes:\n  - {{ name: twin, path: /twin, methods: [GET], scopes: [accounts], upstream: twin }}\n"
            ),
        )
        .one_thread()
    })
    .await;
    let token = world.sign(&world.token());
    let mut came = [Vec::new(), Vec::new()];
    for _ in 0..3 {
        for (path, came) in ["/bank/accounts", "/twin"].iter().zip(&mut came) {
            assert_eq!(world.judge(request(path, &token)).await, (200, "ok".into()));
            came.extend(backend.take());
        }
    }
    assert_eq!(came.map(|calls| connections(&calls)), [vec![0], vec![1]]);
}

/// An upstream that sends more than it was asked for; also returns the number of its connections.
async fn talkative() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, connections) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = connections.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut received = Vec::new();
                while matches!(stream.read_buf(&mut received).await, Ok(1..)) {
                    if received.windows(4).any(|four| four == b"\r\n\r\n") {
                        let head = String::from_utf8_lossy(&std::mem::take(&mut received)).into_owned();
                        let more = if head.contains("/bank/more") {
                            "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret"
                        } else {
                            ""
                        };
                        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok{more}");
                        let _ = stream.write_all(answer.as_bytes()).await;
                    }
                }
            });
        }
    });
    (address, connections)
}

#[tokio::test(flavor = "multi_thread")]
async fn t2_an_answer_too_many_is_nobodys() {
    let (address, connections) = talkative().await;
    let world = world_of_one_thread(&[address], "").await;
    let token = world.sign(&world.issuer.token(world.clock.now()).bound_to_certificate(&world.c2));
    let body_for = async |certificate, path, token: &str| {
        let client = world.anonymous().certificate(certificate);
        let answer = client.send(request(path, token)).await.unwrap();
        // The audit line is written when the exchange has ended and its connection is back in the pool.
        world.gateway.record_of(&answer);
        answer.into_body()
    };
    let own = world.sign(&world.token());
    for _ in 0..2 {
        assert_eq!(body_for(&world.c1, "/bank/accounts", &own).await, "ok");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1, "control: the connection is reused");
    for round in 0..3 {
        assert_eq!(body_for(&world.c1, "/bank/more", &own).await, "ok", "{round}");
        assert_eq!(body_for(&world.c2, "/bank/accounts", &token).await, "ok", "{round}: the first client's");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 4, "a connection with unread bytes is not used again");
}

/// Makes a gRPC call as a gRPC library does; returns status, headers, body and trailers of the response.
async fn call(world: &World, te: Option<&str>) -> (StatusCode, HeaderMap, Bytes, Option<HeaderMap>) {
    let stream = world.client().h2().raw_stream().await.expect("the gateway accepts the connection");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    let token = world.sign(&world.token());
    let mut request = Request::post(format!("{ORIGIN}/bank/v1.Accounts/List"))
        .version(Version::HTTP_2)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/grpc");
    if let Some(te) = te {
        request = request.header("te", te);
    }
    let request = request.body(Full::new(Bytes::from_static(b"\0\0\0\0\x04ping"))).unwrap();
    let answer = timeout(DEADLINE, sender.send_request(request)).await.expect("in time").expect("an answer");
    let (head, body) = answer.into_parts();
    let body = timeout(DEADLINE, body.collect()).await.expect("in time").expect("a body");
    let trailers = body.trailers().cloned();
    (head.status, head.headers, body.to_bytes(), trailers)
}

#[tokio::test(flavor = "multi_thread")]
async fn grpc_calls_pass_with_their_trailers_over_h2c_tls_and_mtls() {
    let (authority, gateway) = (Authority::new("Bank"), Authority::new("Gateways"));
    let identity = gateway.client("gateway");
    let certificate = authority.server(&["localhost"]);
    let url = |backend: &Backend| vec![format!("https://localhost:{}", backend.address().port())];
    let (plain_backend, tls, mtls) = (
        Backend::h2c().await,
        Backend::tls(tls_config(&certificate, None)).await,
        Backend::tls(tls_config(&certificate, Some(&gateway))).await,
    );
    for (what, backend, servers, keys) in [
        ("h2c", &plain_backend, plain(&[plain_backend.address()]), String::new()),
        ("tls", &tls, url(&tls), ", tls: { trust_anchors: [bank.pem] }".into()),
        (
            "mtls",
            &mtls,
            url(&mtls),
            ", tls: { trust_anchors: [bank.pem], certificate: gateway.pem, private_key: gateway-key.pem }".into(),
        ),
    ] {
        let world = World::with(|scene| {
            let scene = scene
                .file("bank.pem", &authority.pem())
                .file("gateway.pem", &identity.certificate_pem())
                .file("gateway-key.pem", &identity.key_pem());
            with_bank(scene, &servers, &format!(", protocol: http2{keys}")).one_thread()
        })
        .await;
        for round in 0..3 {
            let (status, headers, body, trailers) = call(&world, Some("trailers")).await;
            assert_eq!((status.as_u16(), &body[..]), (200, ANSWER), "{what}");
            assert_eq!((headers["content-type"].as_bytes(), headers.get("server")), (&b"application/grpc"[..], None));
            let trailers = trailers.unwrap_or_else(|| panic!("{what}: no trailers"));
            let mut names: Vec<&str> = trailers.keys().map(http::HeaderName::as_str).collect();
            names.sort_unstable();
            assert_eq!(
                names,
                ["grpc-message", "grpc-status"],
                "{what}: no internal fields, none in the gateway's name"
            );
            assert_eq!(
                (&trailers["grpc-status"], &trailers["grpc-message"]),
                (&"0".parse().unwrap(), &"fine".parse().unwrap())
            );
            let seen = backend.take().remove(0);
            assert_eq!(
                (seen.version, seen.path.as_str(), &seen.body[..]),
                (Version::HTTP_2, "/bank/v1.Accounts/List", &b"\0\0\0\0\x04ping"[..])
            );
            assert_eq!(seen.headers["te"], "trailers", "{what}");
            assert_eq!((seen.connection, seen.headers.get("authorization")), (0, None), "{what}, {round}: reused");
        }
        call(&world, None).await;
        assert_eq!(
            backend.take()[0].headers.get("te"),
            None,
            "{what}: a field that the client did not send is not added"
        );
        assert_eq!(world.judge(post(&world)).await, (200, "ok".into()), "{what}: HTTP/1.1 is forwarded as HTTP/2");
        let seen = backend.take().remove(0);
        assert_eq!((seen.version, &seen.body[..], seen.headers.get("te")), (Version::HTTP_2, &b"pay"[..], None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_100_gets_it_whatever_the_upstream_speaks() {
    for (backend, protocol) in [(Backend::http1().await, "http1"), (Backend::h2c().await, "http2")] {
        let world = world(&[backend.address()], &format!(", protocol: {protocol}")).await;
        let mut stream = world.client().h1().raw_stream().await.expect("the gateway accepts the connection");
        let token = world.sign(&world.token());
        let head = format!(
            "POST /bank/payments HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut received = [0; 12];
        timeout(DEADLINE, stream.read_exact(&mut received)).await.expect("in time").unwrap();
        assert_eq!(&received, b"HTTP/1.1 100", "{protocol}");
        stream.write_all(b"pay").await.unwrap();
        let mut received = Vec::new();
        let answered = async {
            let has_head =
                |text: &str| text.split_once("HTTP/1.1 200 ").is_some_and(|(_, head)| head.contains("\r\n\r\n"));
            while !has_head(&String::from_utf8_lossy(&received)) {
                assert_ne!(stream.read_buf(&mut received).await.unwrap(), 0, "{protocol}");
            }
        };
        timeout(DEADLINE, answered).await.expect("in time");
        let answer = String::from_utf8_lossy(&received).to_ascii_lowercase();
        assert!(!answer.contains("connection: close"), "the body was read, and the next request can follow: {answer}");
        assert_eq!(&backend.take()[0].body[..], b"pay", "{protocol}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http1_te_and_trailers_go_neither_up_nor_down() {
    let backend = Backend::http1().await;
    let world = world(&[backend.address()], "").await;
    let (status, _, body, trailers) = call(&world, Some("trailers")).await;
    assert_eq!((status.as_u16(), &body[..], trailers), (200, ANSWER, None));
    assert_eq!(backend.take()[0].headers.get("te"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_nothing_leaves_the_other_streams_of_an_upstream_connection_alone() {
    let backend = Backend::h2c().await;
    let world = world_of_one_thread(&[backend.address()], ", protocol: http2").await;
    let mut unread = Vec::new();
    for _ in 0..3 {
        let mut talk = Talk::with(&world.client()).await;
        let token = world.sign(&world.token());
        let head = format!("GET /bank/large HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n");
        talk.say(head).await.unwrap();
        assert_eq!(talk.head().await, 200);
        unread.push(talk);
    }
    for _ in 0..20 {
        let judged = timeout(DEADLINE, world.judge(get(&world))).await.expect("an answer in time");
        assert_eq!(judged, (200, "ok".into()));
    }
    assert_eq!(connections(&backend.take()), [0], "control: they share a connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_speaks_another_version_than_was_said_gets_no_request() {
    let authority = Authority::new("Bank");
    let http1 = Backend::tls(tls_with(&authority, &[b"http/1.1"])).await;
    let none = Backend::tls(tls_with(&authority, &[])).await;
    for (what, backend) in [("http/1.1 alone", &http1), ("no ALPN", &none)] {
        for (protocol, served) in [("http1", true), ("http2", false)] {
            let servers = [format!("https://localhost:{}", backend.address().port())];
            let world = World::with(|scene| {
                let keys = format!(", protocol: {protocol}, tls: {{ trust_anchors: [bank.pem] }}");
                with_bank(scene.file("bank.pem", &authority.pem()), &servers, &keys)
            })
            .await;
            let status = world.judge(get(&world)).await.0;
            assert_eq!(status, if served { 200 } else { 502 }, "{what}, {protocol}");
            assert_eq!(backend.take().len(), usize::from(served), "{what}, {protocol}");
        }
    }
}

/// What the audit says of a request to a bank with this certificate and these versions of TLS, which the gateway calls with
/// `identity`.
async fn said(bank: Arc<ServerConfig>, protocol: &str, trusted: &Authority, identity: &Credential) -> (u16, String) {
    let backend = Backend::tls(bank).await;
    let servers = [format!("https://localhost:{}", backend.address().port())];
    let world = World::with(|scene| {
        let scene = scene
            .file("bank.pem", &trusted.pem())
            .file("gateway.pem", &identity.certificate_pem())
            .file("gateway-key.pem", &identity.key_pem());
        let tls = "trust_anchors: [bank.pem], certificate: gateway.pem, private_key: gateway-key.pem";
        with_bank(scene, &servers, &format!(", protocol: {protocol}, tls: {{ {tls} }}"))
    })
    .await;
    let answer = world.client().send(get(&world)).await.unwrap();
    let record = world.gateway.record_of(&answer);
    (answer.status().as_u16(), record["detail"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_says_why_tls_to_a_server_fails() {
    let (authority, other) = (Authority::new("Bank"), Authority::new("Bank"));
    let (gateways, strangers) = (Authority::new("Gateways"), Authority::new("Strangers"));
    let (good, stranger) = (gateways.client("gateway"), strangers.client("gateway"));
    let bank = |names: &[&str]| tls_config(&authority.server(names), Some(&gateways));
    let old = Arc::new({
        let mut roots = RootCertStore::empty();
        roots.add(gateways.der().clone()).unwrap();
        let provider = Arc::new(default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone()).build().unwrap();
        let credential = authority.server(&["localhost"]);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS12])
            .unwrap()
            .with_client_cert_verifier(verifier)
            .with_single_cert(credential.chain_der.clone(), credential.private_key())
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    });
    let expired = tls_config(&authority.server_with(&["localhost"], pki::expired), Some(&gateways));
    for protocol in ["http1", "http2"] {
        for config in [bank(&["localhost"]), old.clone()] {
            assert_eq!(said(config, protocol, &authority, &good).await, (200, String::new()), "control");
        }
        for (config, trusted, identity, part) in [
            (bank(&["localhost"]), &other, &good, "invalid peer certificate: BadSignature"),
            (bank(&["localhost"]), &strangers, &good, "invalid peer certificate: UnknownIssuer"),
            (expired.clone(), &authority, &good, "invalid peer certificate: certificate expired"),
            (bank(&["elsewhere"]), &authority, &good, "certificate not valid for name \"localhost\""),
            (bank(&["localhost"]), &authority, &stranger, "the server refuses the gateway's client certificate"),
            (old.clone(), &authority, &stranger, "the server refuses the gateway's client certificate"),
        ] {
            let (status, detail) = said(config, protocol, trusted, identity).await;
            assert_eq!(status, 502);
            assert!(detail.contains(part) && !detail.contains("local address"), "{protocol}, {part}: {detail}");
        }
    }
}

/// The TLS configuration of a server that offers these protocols.
fn tls_with(authority: &Authority, protocols: &[&[u8]]) -> Arc<ServerConfig> {
    let mut config = (*tls_config(&authority.server(&["localhost"]), None)).clone();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Arc::new(config)
}

/// A server whose health the test decides; it counts its health checks and keeps the last one.
fn patient(well: &Arc<AtomicBool>) -> HttpServer {
    let well = well.clone();
    answering(move |request| match request.path() {
        "/health" if !well.load(Ordering::SeqCst) => Answer::status(StatusCode::SERVICE_UNAVAILABLE),
        _ => Answer::text(StatusCode::OK, "ok"),
    })
}

fn checks(server: &HttpServer) -> Vec<Recorded> {
    server.requests().into_iter().filter(|request| request.path() == "/health").collect()
}

fn served(server: &HttpServer) -> usize {
    server.requests().iter().filter(|request| request.path() != "/health").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_well_is_left_out_until_it_is() {
    let (one_is_well, other_is_well) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(false)));
    let (one, other) = (patient(&one_is_well), patient(&other_is_well));
    let check = ", health_check: { path: /health, interval: 10ms, timeout: 2s, healthy_after: 2, unhealthy_after: 2 }";
    let world = world(&[one.address(), other.address()], check).await;
    becomes(&world, "unhealthy", 1).await;
    assert!(checks(&other).len() >= 2, "not after the first failure");
    let asked = checks(&one).remove(0);
    assert_eq!((asked.method.as_str(), asked.header("user-agent")), ("GET", Some("fapi-gateway")));
    assert_eq!(asked.authority, Some(one.address().to_string()));
    let before = served(&other);
    for _ in 0..6 {
        assert_eq!(world.judge(post(&world)).await, (200, "ok".into()));
    }
    assert_eq!((served(&other), retries(&world).await), (before, 0));

    one_is_well.store(false, Ordering::SeqCst);
    becomes(&world, "unhealthy", 2).await;
    assert_eq!(world.judge(post(&world)).await, (200, "ok".into()), "when none is healthy, all are used");

    other_is_well.store(true, Ordering::SeqCst);
    becomes(&world, "healthy", 1).await;
    let before = served(&other);
    for _ in 0..4 {
        assert_eq!(world.judge(post(&world)).await, (200, "ok".into()));
    }
    assert_eq!(served(&other), before + 4, "it alone is healthy");

    world.clock.advance(30);
    one_is_well.store(true, Ordering::SeqCst);
    becomes(&world, "healthy", 2).await;
    let share = async || {
        let before = served(&one);
        for _ in 0..20 {
            assert_eq!(world.judge(post(&world)).await, (200, "ok".into()));
        }
        served(&one) - before
    };
    let at_first = share().await;
    assert!((1..=4).contains(&at_first), "it gets few requests after its return: {at_first}");
    world.clock.advance(30);
    assert_eq!(share().await, 10, "it takes its turns again");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_path_a_connection_is_enough_and_a_late_answer_is_none() {
    let (one, mut other) = (good(), good());
    let world_of_connections =
        world(&[one.address(), other.address()], ", health_check: { interval: 10ms, unhealthy_after: 1 }").await;
    other.stop().await.unwrap();
    becomes(&world_of_connections, "unhealthy", 1).await;
    assert_eq!(world_of_connections.judge(post(&world_of_connections)).await, (200, "ok".into()));
    assert_eq!(retries(&world_of_connections).await, 0, "no request had to discover it");
    other.restart().await.unwrap();
    becomes(&world_of_connections, "healthy", 2).await;
    assert_eq!(other.heads(), 0, "no health check is sent");

    let late = answering(|_| Answer::hanging());
    let world =
        world(&[late.address()], ", health_check: { path: /, interval: 10ms, timeout: 50ms, unhealthy_after: 2 }")
            .await;
    becomes(&world, "unhealthy", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_asked_over_the_protocol_and_tls_of_requests() {
    let (authority, gateway) = (Authority::new("Bank"), Authority::new("Gateways"));
    let identity = gateway.client("gateway");
    let backend = Backend::tls(tls_config(&authority.server(&["localhost"]), Some(&gateway))).await;
    let servers = [format!("https://127.0.0.1:{}", backend.address().port())];
    for (keys, healthy) in [
        ("certificate: gateway.pem, private_key: gateway-key.pem, server_name: localhost", true),
        ("certificate: gateway.pem, private_key: gateway-key.pem", false),
        ("server_name: localhost", false),
    ] {
        let world = World::with(|scene| {
            let scene = scene
                .file("bank.pem", &authority.pem())
                .file("gateway.pem", &identity.certificate_pem())
                .file("gateway-key.pem", &identity.key_pem());
            let keys = format!(
                ", protocol: http2, tls: {{ trust_anchors: [bank.pem], {keys} }}, \
                 health_check: {{ path: /health?deep=1, interval: 10ms, timeout: 5s, unhealthy_after: 1 }}"
            );
            with_bank(scene, &servers, &keys)
        })
        .await;
        if healthy {
            let asked = async {
                while backend.calls().len() < 3 {
                    yield_now().await;
                }
            };
            timeout(DEADLINE, asked).await.expect("checks");
            assert_eq!(servers_of(&world).await, (1, 0), "{keys}");
            let calls = backend.take();
            assert!(
                calls.iter().all(|call| (call.version, call.path.as_str()) == (Version::HTTP_2, "/health")),
                "{calls:?}"
            );
            assert_eq!(connections(&calls).len(), calls.len(), "each check has its own connection");
        } else {
            becomes(&world, "unhealthy", 1).await;
        }
    }
}

async fn servers_of(world: &World) -> (u64, u64) {
    (servers(world, "healthy").await, servers(world, "unhealthy").await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_ends_the_checks_of_what_it_replaces() {
    let (before, after) = (good(), good());
    let world = world(&[before.address()], ", health_check: { path: /health, interval: 1ms }").await;
    before.wait_until(DEADLINE, |requests| requests.len() >= 3).await.expect("control: it is checked");
    world.reload(1, |text| text.replace(&before.address().to_string(), &after.address().to_string())).await;
    let count = before.heads();
    after.wait_until(DEADLINE, |requests| requests.len() >= 20).await.expect("the new one is checked");
    assert!(before.heads() <= count + 1, "one check was in flight: {} and then {}", count, before.heads());
    assert_eq!(servers(&world, "healthy").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_keeps_what_health_checks_have_found() {
    let is_well = Arc::new(AtomicBool::new(false));
    let (one, other) = (good(), patient(&is_well));
    let check = ", health_check: { path: /health, interval: 10ms, timeout: 5s, healthy_after: 2, unhealthy_after: 2 }";
    let world = world(&[one.address(), other.address()], check).await;
    becomes(&world, "unhealthy", 1).await;
    // The checks after the reload do not find it out anew.
    world.reload(1, |text| text.replace("unhealthy_after: 2", "unhealthy_after: 10000")).await;
    assert_eq!(servers_of(&world).await, (1, 1));
    let before = served(&other);
    for _ in 0..4 {
        assert_eq!(world.judge(post(&world)).await, (200, "ok".into()));
    }
    assert_eq!(served(&other), before, "it is still left out");
    is_well.store(true, Ordering::SeqCst);
    becomes(&world, "healthy", 2).await;

    is_well.store(false, Ordering::SeqCst);
    world.reload(2, |text| text.replace("unhealthy_after: 10000", "unhealthy_after: 2")).await;
    becomes(&world, "unhealthy", 1).await;
    world.reload(3, |text| text.replace(check, "")).await;
    assert_eq!(servers_of(&world).await, (2, 0), "without checks nothing would find it well again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_1_0_client_gets_no_chunks_from_an_http2_upstream_either() {
    // Its responses declare no length.
    let server = Frames::start(&[]).await;
    let world = world(&[server.address()], ", protocol: http2").await;
    let token = world.sign(&world.token());
    for version in ["HTTP/1.0", "HTTP/1.1"] {
        let mut talk = Talk::with(&world.client()).await;
        let fields = "Connection: close\r\n";
        talk.say(format!("GET /bank/x {version}\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n{fields}\r\n"))
            .await
            .unwrap();
        let answer = talk.rest().await;
        assert_eq!(answer.contains("chunked"), version == "HTTP/1.1", "{version}: {answer}");
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, if version == "HTTP/1.0" { "" } else { "0\r\n\r\n" }, "{version}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cookie_crumbs_stay_between_http2_and_http2_and_are_joined_for_http1() {
    let backend = Backend::h2c().await;
    let world = world(&[backend.address()], ", protocol: http2").await;
    let cookies = |calls: Vec<Call>| {
        let lines = calls[0].headers.get_all("cookie").iter();
        lines.map(|line| line.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let crumbs = |world: &World| {
        let mut request = request("/bank/accounts", &world.sign(&world.token()));
        for crumb in ["a=1", "b=2"] {
            request.headers_mut().append("cookie", crumb.parse().unwrap());
        }
        request
    };
    assert_eq!(world.client().h2().send(crumbs(&world)).await.unwrap().status(), 200);
    assert_eq!(cookies(backend.take()), ["a=1", "b=2"]);
    let backend = Backend::http1().await;
    let world = self::world(&[backend.address()], "").await;
    assert_eq!(world.client().h2().send(crumbs(&world)).await.unwrap().status(), 200);
    assert_eq!(cookies(backend.take()), ["a=1; b=2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn options_goes_no_further_than_max_forwards_allows() {
    let server = good();
    let servers = plain(&[server.address()]);
    let world = World::with(|scene| {
        with_bank(scene, &servers, "")
            .replace("methods: [GET, POST], scopes: [accounts]", "methods: [GET, OPTIONS], scopes: [accounts]")
    })
    .await;
    let asked = |method: Method, value: &'static str, token: &str| {
        let mut request = request("/bank/accounts", token);
        *request.method_mut() = method;
        request.headers_mut().insert("max-forwards", value.parse().unwrap());
        request
    };
    let token = world.sign(&world.token());
    for client in [world.client().h1(), world.client().h2()] {
        let response = client.send(asked(Method::OPTIONS, "0", &token)).await.unwrap();
        let record = world.gateway.record_of(&response);
        assert_eq!((response.status().as_u16(), &record["code"]), (200, &"ok".into()));
        assert_eq!((&record["status"], &record["upstream_status"]), (&200.into(), &serde_json::Value::Null));
        assert_eq!((&response.headers()["content-length"], response.body().len()), (&"0".parse().unwrap(), 0));
        assert_eq!(server.heads(), 0, "it is answered here");
        // It needs a token as any other request does.
        let refused = client.send(asked(Method::OPTIONS, "0", "forged")).await.unwrap();
        assert_eq!(refused.status(), 401);
    }
    for (method, value, onward) in [
        (Method::OPTIONS, "1", "0"),
        (Method::OPTIONS, "10", "9"),
        (Method::OPTIONS, "no number", "no number"),
        (Method::GET, "0", "0"),
    ] {
        server.clear();
        assert_eq!(world.judge(asked(method.clone(), value, &token)).await, (200, "ok".into()), "{method} {value}");
        assert_eq!(server.requests()[0].header("max-forwards"), Some(onward), "{method} {value}");
    }
}

/// A server that answers the first request on each connection, and closes the connection upon a second one for
/// `/bank/close` and upon any for `/bank/partial`; also returns the number of requests.
async fn forgetful() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, requests) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
    let count = requests.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let count = count.clone();
            tokio::spawn(async move {
                let (mut received, mut warm) = (Vec::new(), false);
                while matches!(stream.read_buf(&mut received).await, Ok(1..)) {
                    if received.windows(4).any(|four| four == b"\r\n\r\n") {
                        let head = String::from_utf8_lossy(&std::mem::take(&mut received)).into_owned();
                        count.fetch_add(1, Ordering::SeqCst);
                        if warm && head.contains("/bank/partial") {
                            let _ = stream.write_all(b"HTTP/1.1 2").await;
                        }
                        if (warm && head.contains("/bank/close")) || head.contains("/bank/partial") {
                            return;
                        }
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
                        warm = true;
                    }
                }
            });
        }
    });
    (address, requests)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_safe_request_that_meets_a_closing_connection_is_sent_again_and_no_other() {
    for (method, path, body, status, sent) in [
        (Method::GET, "/bank/close", "", 200, 2),
        (Method::HEAD, "/bank/close", "", 200, 2),
        (Method::OPTIONS, "/bank/close", "", 200, 2),
        (Method::GET, "/bank/accounts", "", 200, 1),
        (Method::GET, "/bank/partial", "", 502, 1),
        (Method::GET, "/bank/close", "a body", 502, 1),
        (Method::POST, "/bank/close", "", 502, 1),
        (Method::POST, "/bank/close", "a body", 502, 1),
        (Method::DELETE, "/bank/close", "", 502, 1),
    ] {
        let (address, requests) = forgetful().await;
        let servers = plain(&[address]);
        let world = World::with(|scene| {
            with_bank(scene, &servers, "")
                .replace("methods: [GET, POST], scopes", "methods: [GET, HEAD, OPTIONS, POST, DELETE], scopes")
                .one_thread()
        })
        .await;
        let what = format!("{method} {path} {body:?}");
        assert_eq!(world.judge(get(&world)).await.0, 200, "control: {what}");
        let (mut head, _) = request(path, &world.sign(&world.token())).into_parts();
        head.method = method;
        let answer = world.judge(Request::from_parts(head, Bytes::from(body))).await;
        assert_eq!(answer.0, status, "{what}");
        assert_eq!(requests.load(Ordering::SeqCst), 1 + sent, "{what}");
        assert_eq!(retries(&world).await, u64::from(sent == 2), "{what}");
    }
    // On a new connection, the server means it.
    let (address, requests) = forgetful().await;
    let world = world(&[address], "").await;
    let fresh = world.judge(request("/bank/partial", &world.sign(&world.token()))).await;
    assert_eq!((fresh.0, requests.load(Ordering::SeqCst)), (502, 1));
}
