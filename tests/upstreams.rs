//! Several servers behind one name: who is asked, what is sent a second time and what never is, which connections are shared.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use fapi_gateway::commands::demo::https::{Answer, HttpServer, Recorded};
use http::{Method, Request, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::backend::{Backend, Call};
use crate::support::{Scene, World, request};

/// A server that answers 200 to everything.
fn good() -> HttpServer {
    answering(|_| Answer::text(StatusCode::OK, "ok"))
}

fn answering(handler: impl Fn(Recorded) -> Answer + Send + Sync + 'static) -> HttpServer {
    HttpServer::start(None, None, Arc::new(handler)).expect("a server starts")
}

/// The upstream `bank` with these servers and keys, and a route `/bank/**` to it.
fn with_bank(scene: Scene, servers: &[String], keys: &str) -> Scene {
    let servers = servers.iter().map(|server| format!("\"{server}\"")).collect::<Vec<_>>().join(", ");
    let route = "name: bank, path: /bank/**, methods: [GET, POST], scopes: [accounts], upstream: bank, \
                 forward: { client_certificate: true, claims: { client_id: X-Token-Client-Id } }";
    scene.replace("routes:\n", &format!("  bank: {{ servers: [{servers}]{keys} }}\nroutes:\n  - {{ {route} }}\n"))
}

fn plain(addresses: &[SocketAddr]) -> Vec<String> {
    addresses.iter().map(|address| format!("http://{address}")).collect()
}

async fn world(addresses: &[SocketAddr], keys: &str) -> World {
    let servers = plain(addresses);
    World::with(|scene| with_bank(scene, &servers, keys)).await
}

/// A payment: neither safe nor idempotent.
fn post(world: &World) -> Request<Bytes> {
    let (mut head, _) = request("/bank/payments", &world.sign(&world.token())).into_parts();
    head.method = Method::POST;
    Request::from_parts(head, Bytes::from_static(b"pay"))
}

fn get(world: &World) -> Request<Bytes> {
    request("/bank/accounts", &world.sign(&world.token()))
}

/// The value of one line of `/metrics`; 0 if it is not there.
async fn metric(world: &World, line: &str) -> u64 {
    let text = world.gateway.admin("/metrics").await.1;
    let value = text.lines().find_map(|found| found.strip_prefix(&format!("fapi_gateway_upstream_{line} ")));
    value.map_or(0, |value| value.parse().expect("a whole number"))
}

async fn servers(world: &World, state: &str) -> u64 {
    metric(world, &format!("servers{{state=\"{state}\",upstream=\"bank\"}}")).await
}

async fn retries(world: &World) -> u64 {
    metric(world, "retries_total{upstream=\"bank\"}").await
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
    assert_eq!(retries(&world).await, 1, "it is tried once, and then left out");
    assert_eq!(metric(&world, "errors_total{kind=\"connect\",upstream=\"bank\"}").await, 1);
    assert_eq!((servers(&world, "healthy").await, servers(&world, "ejected").await), (1, 1));

    world.clock.advance(10);
    for _ in 0..4 {
        assert_eq!(world.judge(post(&world)).await, (200, "ok".into()));
    }
    assert_eq!((retries(&world).await, servers(&world, "ejected").await), (2, 1), "it is tried again, by one request");

    other.restart().await.unwrap();
    world.clock.advance(10);
    for _ in 0..8 {
        assert_eq!(world.judge(post(&world)).await, (200, "ok".into()));
    }
    assert!(other.requests().len() >= 5, "it is back: {}", other.requests().len());
    assert_eq!((servers(&world, "healthy").await, servers(&world, "ejected").await), (2, 0));
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
    assert_eq!(world.judge(get(&world)).await, (200, "ok".into()), "all are out, so all are asked");
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
    for method in [Method::GET, Method::POST] {
        for reused in [false, true] {
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

/// The numbers of the connections that the calls came on, each once, in order.
fn connections(calls: &[Call]) -> Vec<usize> {
    let mut numbers: Vec<usize> = calls.iter().map(|call| call.connection).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

#[tokio::test(flavor = "multi_thread")]
async fn t2_a_connection_carries_each_client_under_its_own_name() {
    let backend = Backend::http1().await;
    let world = world(&[backend.address()], "").await;
    let tokens = [("client-1", &world.c1), ("client-2", &world.c2)].map(|(id, certificate)| {
        let token = world.issuer.token(world.clock.now()).claim("client_id", id).bound_to_certificate(certificate);
        (id, certificate, world.sign(&token))
    });
    for _ in 0..3 {
        for (id, certificate, token) in &tokens {
            let client = world.anonymous().certificate(certificate);
            assert_eq!(world.judge_from(&client, request("/bank/accounts", token)).await, (200, "ok".into()));
            let call = backend.calls().pop().unwrap();
            assert_eq!(call.headers["x-token-client-id"], *id);
            let shown = call.headers["client-cert"].to_str().unwrap().to_owned();
            assert_eq!(shown, certificate_field(certificate));
        }
        let holder = world.holder();
        let proof = holder.proof("/bank/accounts", world.clock.now());
        let signed = holder.request("/bank/accounts", &proof);
        assert_eq!(world.judge_from(&world.anonymous(), signed).await, (200, "ok".into()));
        let call = backend.calls().pop().unwrap();
        assert_eq!(call.headers.get("client-cert"), None, "nothing stays of the client before");
        assert_eq!((call.headers.get("dpop"), call.headers.get("authorization")), (None, None));
    }
    assert_eq!(connections(&backend.calls()), [0], "control: the connection is reused");
}

/// RFC 9440 §2.2.
fn certificate_field(certificate: &fapi_gateway::commands::demo::pki::Credential) -> String {
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

/// An upstream that sends more than it was asked for, and each connection's number with it.
async fn talkative() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
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
    let world = world(&[address], "").await;
    let token = world.sign(&world.issuer.token(world.clock.now()).bound_to_certificate(&world.c2));
    let body_for = async |certificate, path, token: &str| {
        let client = world.anonymous().certificate(certificate);
        let answer = client.send(request(path, token)).await.unwrap();
        // The line comes when the exchange has ended, and its connection is back in the pool.
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
    assert_eq!(connections.load(Ordering::SeqCst), 4, "a connection with something left on it is not used again");
}
