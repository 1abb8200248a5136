//! Too many connections at once: half-open ones, and those of one address. Whoever is within the limits is served.

use std::net::IpAddr;

use http::StatusCode;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::client::{Client, Connection};
use crate::support::{DEADLINE, World, certificate_of_proxy};

/// A world with these limits.
async fn world(limits: &str) -> World {
    let limits = format!("{{ header_bytes: 32KiB, {limits} }}");
    World::with(|scene| scene.replace("header_bytes: 32KiB", &limits)).await
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// The value of a metric's line that begins like this; 0 if there is none.
async fn metric(world: &World, line: &str) -> u64 {
    let text = world.gateway.admin("/metrics").await.1;
    let value = text.lines().find_map(|found| found.strip_prefix(line));
    value.map_or(0, |value| value.trim().parse().expect("a whole number"))
}

async fn refused(world: &World, what: &str) -> u64 {
    metric(world, &format!("fapi_gateway_overload_total{{what=\"{what}\"}}")).await
}

/// Waits until so many handshakes are in progress.
async fn handshaking(world: &World, count: u64) {
    let line = "fapi_gateway_tls_handshakes_in_progress{listener=\"127.0.0.1:0\"}";
    let settles = async { while metric(world, line).await != count {} };
    timeout(DEADLINE, settles).await.expect("the gateway notices");
}

/// Opens connections that send nothing, and waits until their handshakes are in progress.
async fn half_open(world: &World, count: usize) -> Vec<TcpStream> {
    let mut held = Vec::new();
    for _ in 0..count {
        held.push(TcpStream::connect(world.gateway.address()).await.unwrap());
    }
    handshaking(world, u64::try_from(count).unwrap()).await;
    held
}

/// Opens a connection and has a request answered on it.
async fn served(world: &World, client: &Client) -> Connection {
    let mut connection = client.connect().await.expect("the connection is accepted");
    assert_eq!(connection.send(world.request()).await.expect("an answer").status(), StatusCode::OK);
    connection
}

/// Whether a connection is refused before its handshake.
async fn is_refused(client: &Client) -> bool {
    client.raw_stream().await.is_err()
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sz_03_half_open_handshakes_are_bounded_and_leave_the_others_alone() {
    let world = world("handshakes: 2, handshake_timeout: 60s").await;
    let mut established = served(&world, &world.client()).await;
    let mut held = half_open(&world, 2).await;
    assert!(is_refused(&world.client()).await);
    assert_eq!(refused(&world, "handshakes").await, 1);
    assert_eq!(established.send(world.request()).await.unwrap().status(), 200, "a connection goes on");
    held.pop();
    handshaking(&world, 1).await;
    served(&world, &world.client()).await;
    assert_eq!(refused(&world, "handshakes").await, 1, "control: a place is free");
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sz_03_one_address_holds_its_share_and_no_more() {
    let world = world("handshake_timeout: 60s, per_address: { connections: 2, handshakes: 1 }").await;
    let (one, other) = (world.client().bind(address("127.0.0.1")), world.client().bind(address("127.0.0.2")));
    let held = half_open(&world, 1).await;
    assert!(is_refused(&one).await);
    served(&world, &other).await;
    assert_eq!((refused(&world, "address_handshakes").await, refused(&world, "address_connections").await), (1, 0));
    drop(held);
    handshaking(&world, 0).await;
    let connections = [served(&world, &one).await, served(&world, &one).await];
    assert!(is_refused(&one).await);
    served(&world, &other).await;
    assert_eq!((refused(&world, "address_handshakes").await, refused(&world, "address_connections").await), (1, 1));
    drop(connections);
    let recovers = async { while is_refused(&one).await {} };
    timeout(DEADLINE, recovers).await.expect("what is closed no longer counts");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_connections_of_trusted_proxies_are_not_counted() {
    let section = "trust_anchors: [ca.pem] }\n    forwarded_client_certificate: { dialect: client_cert, from: { FROM names: [proxy.bank.internal] }, trust_anchors: [ca.pem] }\nadmin";
    for from in ["", "addresses: [127.0.0.1],"] {
        let world = World::with(|scene| {
            scene
                .replace("header_bytes: 32KiB", "{ header_bytes: 32KiB, per_address: { connections: 1 } }")
                .replace("trust_anchors: [ca.pem] }\nadmin", &section.replace("FROM", from))
        })
        .await;
        let certificate = certificate_of_proxy(&world.authority, "proxy.bank.internal");
        let proxy = world.anonymous().certificate(&certificate);
        let health = || http::Request::get("https://localhost/health").body(bytes::Bytes::new()).unwrap();
        let mut connections = Vec::new();
        for _ in 0..3 {
            let mut connection = proxy.connect().await.expect("a proxy");
            assert_eq!(connection.send(health()).await.expect("an answer").status(), StatusCode::OK, "{from}");
            connections.push(connection);
        }
        // Control: where a proxy is expected, a client is still a client.
        let client = served(&world, &world.client()).await;
        let second = async { world.client().connect().await?.send(world.request()).await };
        assert!(second.await.is_err(), "{from}");
        assert_eq!(refused(&world, "address_connections").await, 1, "{from}");
        drop((connections, client));
    }
}
