//! Balancers in front that pass TLS through: whose PROXY protocol header is read, what it has to look like, and where the
//! address that it names is used.

use bytes::Bytes;
use http::Request;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::client::Client;
use crate::support::{DEADLINE, ORIGIN, Scene, World};

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const END: &str = "trust_anchors: [ca.pem] }\nadmin";

/// A listener behind balancers in these networks; `more` are further lines of the listener.
fn behind(from: &str, more: &str) -> impl FnOnce(Scene) -> Scene {
    let section = format!("trust_anchors: [ca.pem] }}\n    proxy_protocol: {{ from: [{from}] }}\n{more}admin");
    move |scene| scene.replace(END, &section)
}

fn line(client: &str) -> String {
    let family = if client.contains(':') { "TCP6" } else { "TCP4" };
    let here = if client.contains(':') { "2001:db8::1" } else { "192.0.2.1" };
    format!("PROXY {family} {client} {here} 56324 443\r\n")
}

/// Version 2, with a field after the addresses.
fn binary(command: u8, protocol: u8, addresses: &[u8]) -> Vec<u8> {
    let block = [addresses, &[1, 0, 2, b'h', b'2']].concat();
    [SIGNATURE, &[command, protocol, 0, u8::try_from(block.len()).unwrap()], &block].concat()
}

/// Sends the good request; returns the audit record.
async fn ask(world: &World, client: &Client) -> Value {
    let response = client.send(world.request()).await.expect("the gateway answers");
    assert_eq!(response.status(), 200);
    world.gateway.record_of(&response)
}

async fn counted(world: &World, outcome: &str) -> u64 {
    let line = format!("fapi_gateway_proxy_protocol_total{{listener=\"127.0.0.1:0\",outcome=\"{outcome}\"}} ");
    let text = world.gateway.admin("/metrics").await.1;
    text.lines().find_map(|found| found.strip_prefix(&line)).map_or(0, |count| count.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_that_a_balancer_names_is_the_client() {
    let world = World::with(behind("127.0.0.1", "")).await;
    let begun = async |world: &World| {
        let metrics = world.gateway.admin("/metrics").await.1;
        metrics
            .lines()
            .filter(|line| line.starts_with("fapi_gateway_proxy_protocol_total{") && line.ends_with(" 0"))
            .count()
    };
    assert_eq!(
        (begun(&world).await, begun(&World::with(|scene| scene).await).await),
        (5, 0),
        "each outcome begins at 0"
    );
    let v4 = [203, 0, 113, 7, 192, 0, 2, 1, 0xdc, 4, 1, 0xbb];
    let mut v6 = [0; 36];
    v6[..16].copy_from_slice(&"2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets());
    let mut mapped = [0; 36];
    mapped[..16].copy_from_slice(&"::ffff:203.0.113.7".parse::<std::net::Ipv6Addr>().unwrap().octets());
    for (header, expected) in [
        (line("203.0.113.7").into_bytes(), "203.0.113.7"),
        (line("2001:db8::7").into_bytes(), "2001:db8::7"),
        (binary(0x21, 0x11, &v4), "203.0.113.7"),
        (binary(0x21, 0x21, &v6), "2001:db8::7"),
        (binary(0x21, 0x21, &mapped), "203.0.113.7"),
        // The connection's own address remains.
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (binary(0x20, 0x11, &v4), "127.0.0.1"),
        (binary(0x21, 0x00, &[]), "127.0.0.1"),
    ] {
        for client in [world.client().h1(), world.client().h2()] {
            world.accounts.clear();
            let record = ask(&world, &client.preamble(header.clone())).await;
            assert_eq!(record["client_address"], expected);
            let seen = world.accounts.requests().remove(0);
            assert_eq!(seen.header("x-forwarded-for"), Some(expected));
            // mTLS passes through the balancer.
            assert_eq!(record["certificate_source"], "handshake");
            assert!(seen.header("client-cert").is_some());
        }
    }
    assert_eq!((counted(&world, "client").await, counted(&world, "own").await), (10, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balancers_connection_without_a_valid_header_is_closed() {
    let world = World::with(behind("127.0.0.1/32", "")).await;
    for (header, outcome) in [
        (Vec::new(), "missing"),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), "missing"),
        (line("203.0.113.7").replace("TCP4", "TCP5").into_bytes(), "malformed"),
        (line("203.0.113.7").replace("\r\n", "\n").into_bytes(), "malformed"),
        (line("203.0.113.07").into_bytes(), "malformed"),
        (format!("PROXY UNKNOWN {}\r\n", "x".repeat(100)).into_bytes(), "malformed"),
        (binary(0x22, 0x11, &[1; 12]), "malformed"),
        (binary(0x21, 0x11, &[1; 6]), "malformed"),
        (binary(0x21, 0x21, &[1; 12]), "malformed"),
    ] {
        let before = counted(&world, outcome).await;
        let client = world.client().preamble(header.clone());
        assert!(client.raw_stream().await.is_err(), "{header:?}");
        assert_eq!(counted(&world, outcome).await, before + 1, "{header:?}");
    }
    // Two headers: the second is not the beginning of TLS.
    let twice = line("203.0.113.7").repeat(2);
    assert!(world.client().preamble(twice).raw_stream().await.is_err());
    ask(&world, &world.client().preamble(line("203.0.113.7"))).await;
    let metrics = world.gateway.admin("/metrics").await.1;
    assert!(metrics.contains("outcome=\"failure\",reason=\"not_tls\"} 10"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_header_is_read_from_anybody_else() {
    let world = World::with(behind("127.0.0.2, \"2001:db8::/32\"", "")).await;
    assert_eq!(ask(&world, &world.client()).await["client_address"], "127.0.0.1");
    let claims = world.client().preamble(line("203.0.113.7"));
    assert!(claims.raw_stream().await.is_err(), "it is not the beginning of TLS");
    let balancer = claims.bind("127.0.0.2".parse().unwrap());
    assert_eq!(ask(&world, &balancer).await["client_address"], "203.0.113.7", "control");
    assert_eq!(counted(&world, "client").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_may_arrive_in_pieces_but_not_forever() {
    let world = World::with(|scene| {
        behind("127.0.0.1", "")(scene)
            .replace("header_bytes: 32KiB", "{ header_bytes: 32KiB, handshake_timeout: 500ms }")
    })
    .await;
    for header in [line("203.0.113.7").into_bytes(), binary(0x21, 0x11, &[1; 12])] {
        let mut stream = TcpStream::connect(world.gateway.address()).await.unwrap();
        stream.set_nodelay(true).unwrap();
        for byte in &header[..header.len() - 1] {
            stream.write_all(&[*byte]).await.unwrap();
            stream.flush().await.unwrap();
        }
        let closed = timeout(DEADLINE, stream.read_to_end(&mut Vec::new())).await.expect("the connection is closed");
        assert!(closed.is_err() || closed.is_ok_and(|count| count == 0));
    }
    let metrics = world.gateway.admin("/metrics").await.1;
    assert!(metrics.contains("outcome=\"timeout\",reason=\"timeout\"} 2"), "{metrics}");
    // A balancer that only checks whether the port is open.
    drop(TcpStream::connect(world.gateway.address()).await.unwrap());
    let noticed = async { while counted(&world, "closed").await != 1 {} };
    timeout(DEADLINE, noticed).await.expect("it is counted");
    ask(&world, &world.client().preamble(line("203.0.113.7"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_share_of_an_address_is_that_of_the_client_and_not_of_the_balancer() {
    let limits = "{ header_bytes: 32KiB, per_address: { connections: 1 } }";
    let world = World::with(|scene| behind("127.0.0.1", "")(scene).replace("header_bytes: 32KiB", limits)).await;
    let from = |client: &str| world.client().preamble(line(client));
    let mut held = Vec::new();
    for client in ["203.0.113.7", "203.0.113.8", "2001:db8::1", "2001:db8:0:1::1"] {
        let mut connection = from(client).connect().await.unwrap();
        assert_eq!(connection.send(world.request()).await.expect(client).status(), 200);
        held.push(connection);
    }
    assert!(from("203.0.113.7").raw_stream().await.is_err());
    assert!(from("2001:db8::2").raw_stream().await.is_err(), "the same network of 64 bits");
    // A balancer's own connections, or those of clients that it does not name, are nobody's share.
    for _ in 0..2 {
        let mut connection = world.client().preamble("PROXY UNKNOWN\r\n").connect().await.unwrap();
        assert_eq!(connection.send(world.request()).await.unwrap().status(), 200);
        held.push(connection);
    }
    let metrics = world.gateway.admin("/metrics").await.1;
    assert!(metrics.contains("fapi_gateway_overload_total{what=\"address_connections\"} 2"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trusted_proxy_behind_a_balancer_is_known_by_the_address_that_the_balancer_names() {
    let forwarded = "    forwarded_client_certificate: { dialect: client_cert, from: { addresses: [203.0.113.0/24] }, trust_anchors: [ca.pem] }\n";
    let world = World::with(behind("127.0.0.1", forwarded)).await;
    use base64::Engine;
    let certificate = format!(":{}:", base64::engine::general_purpose::STANDARD.encode(&world.c1.chain_der[0]));
    let request = || {
        let token = world.sign(&world.token());
        Request::get(format!("{ORIGIN}/accounts"))
            .header("authorization", format!("Bearer {token}"))
            .header("client-cert", &certificate)
            .body(Bytes::new())
            .unwrap()
    };
    let proxy = world.anonymous().preamble(line("203.0.113.9"));
    assert_eq!(world.judge_from(&proxy, request()).await.1, "ok");
    for other in [line("198.51.100.9"), "PROXY UNKNOWN\r\n".to_owned()] {
        let client = world.anonymous().preamble(other);
        assert_eq!(world.judge_from(&client, request()).await.1, "certificate_missing");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_changes_who_the_balancers_are() {
    let world = World::with(behind("127.0.0.2", "")).await;
    ask(&world, &world.client()).await;
    world.reload(1, |text| text.replace("from: [127.0.0.2]", "from: [127.0.0.1]")).await;
    assert!(world.client().raw_stream().await.is_err());
    ask(&world, &world.client().preamble(line("203.0.113.7"))).await;
}
