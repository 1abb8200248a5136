//! Handshakes that fail: why can this client not connect?

use std::future::Future;
use std::net::SocketAddr;
use std::process::Stdio;

use fapi_gateway::clock::Moment;
use rcgen::ExtendedKeyUsagePurpose;
use rustls::crypto::aws_lc_rs::cipher_suite as suite;
use sandbox::pki::{self, Authority, Credential};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::client::Client;
use crate::support::tools::tool;
use crate::support::{DEADLINE, World};

/// A gateway that requires certificates, has a revocation list with `C2`, and little patience.
async fn world() -> World {
    let world = World::with(|scene| {
        scene
            .replace("mode: optional", "mode: required")
            .replace("header_bytes: 32KiB", "{ header_bytes: 32KiB, handshake_timeout: 1s }")
    })
    .await;
    world.gateway.folder().write("ca.crl", &world.authority.revocation_list_pem(&[&world.c2]));
    let anchors = "trust_anchors: [ca.pem]";
    // Those of the clients come first.
    world.reload(1, |text| text.replacen(anchors, &format!("{anchors}, revocation_lists: [ca.crl]"), 1)).await;
    world
}

/// How many handshakes there were with this outcome and reason.
async fn count(world: &World, outcome: &str, reason: &str) -> u64 {
    let metrics = world.gateway.admin("/metrics").await.1;
    let labels = format!("outcome=\"{outcome}\",reason=\"{reason}\"}} ");
    let mut lines = metrics.lines().filter(|line| line.starts_with("fapi_gateway_tls_handshakes_total{"));
    lines.find_map(|line| line.split_once(&labels)).map_or(0, |(_, count)| count.parse().expect("a number"))
}

/// The lines of handshakes so far.
fn lines(world: &World) -> Vec<Value> {
    let text = world.gateway.audit_text();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = whole.lines().map(|line| serde_json::from_str::<Value>(line).expect("an audit line is JSON"));
    lines.filter(|line| line["event"] == "handshake").collect()
}

/// Does this until a handshake is recorded with this reason, since only some of many are; returns the record.
async fn recorded<F: Future>(world: &World, reason: &str, attempt: impl Fn() -> F) -> Value {
    let outcome = if reason == "timeout" { "timeout" } else { "failure" };
    let before = count(world, outcome, reason).await;
    let recorded = async {
        let mut attempts = 0;
        loop {
            attempts += 1;
            attempt().await;
            // The gateway may still be at it when its client has seen enough.
            while count(world, outcome, reason).await < before + attempts {
                tokio::task::yield_now().await;
            }
            if let Some(line) = lines(world).into_iter().find(|line| line["reason"] == reason) {
                return line;
            }
        }
    };
    timeout(DEADLINE, recorded).await.unwrap_or_else(|_| panic!("no handshake fails for {reason}"))
}

/// Sends bytes on a connection and waits until the gateway closes it, or closes it at once.
async fn send(address: SocketAddr, bytes: &[u8], wait: bool) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    if wait {
        let _ = timeout(DEADLINE, stream.read_to_end(&mut Vec::new())).await.expect("the gateway closes it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_client_with_a_certificate_cannot_connect_is_counted_and_recorded() {
    let world = world().await;
    let good = world.client();
    assert!(good.handshake().await.is_ok(), "control");
    assert!(count(&world, "success", "none").await > 0);
    let authority = &world.authority;
    let between = authority.intermediate("Between");
    let cases: [(&str, Credential); 7] = [
        ("unknown_ca", Authority::new("Other CA").client("a")),
        // Another authority with the same name.
        ("unknown_ca", Authority::new("Test CA").client("b")),
        ("expired", authority.client_with("c", pki::expired)),
        ("not_yet_valid", authority.client_with("d", pki::not_yet_valid)),
        ("revoked", world.c2.clone()),
        (
            "wrong_usage",
            authority.client_with("e", |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            }),
        ),
        // No list covers what this authority issues.
        ("policy", between.client("f")),
    ];
    let suites = [suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256];
    for (reason, credential) in &cases {
        for client in [world.anonymous().tls13_only(), world.anonymous().tls12_only(&suites)] {
            assert!(client.clone().certificate(&world.c1).handshake().await.is_ok(), "control of {reason}");
            let client = client.certificate(credential);
            let thumbprint = credential.x5t_s256();
            let found = async {
                loop {
                    let line = recorded(&world, reason, || client.handshake()).await;
                    let of_this = |line: &Value| line["certificate"]["thumbprint"] == thumbprint.as_str();
                    if let Some(line) = lines(&world).into_iter().find(of_this) {
                        return line;
                    }
                    drop(line);
                }
            };
            let line = timeout(DEADLINE, found).await.expect("a record");
            assert_eq!(line["reason"], *reason, "{line}");
            assert_eq!((&line["server_name"], &line["client_address"]), (&"localhost".into(), &"127.0.0.1".into()));
            let certificate = &line["certificate"];
            for (member, part) in
                [("subject", "CN="), ("issuer", "CN="), ("serial", ":"), ("not_before", "T"), ("not_after", "Z")]
            {
                assert!(certificate[member].as_str().is_some_and(|text| text.contains(part)), "{member}: {line}");
            }
            assert!(line["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{line}");
        }
    }
    let none =
        recorded(&world, "no_certificate", || async { good.clone().without_certificate().handshake().await }).await;
    assert_eq!((&none["certificate"], &none["server_name"]), (&Value::Null, &"localhost".into()));
    assert!(good.handshake().await.is_ok(), "control");
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_client_cannot_connect_before_any_certificate_is_counted_and_recorded() {
    let world = world().await;
    let (address, good) = (world.gateway.address(), world.client());
    assert!(good.handshake().await.is_ok(), "control");

    let line =
        recorded(&world, "name_unknown", || async { good.clone().server_name("nope.example").handshake().await }).await;
    assert_eq!(line["server_name"], "nope.example");
    assert_eq!(line["listener"], "127.0.0.1:0");

    let chacha =
        [suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256];
    let aes = [suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256];
    assert!(good.clone().tls12_only(&aes).handshake().await.is_ok(), "control");
    recorded(&world, "no_shared_suite", || async { good.clone().tls12_only(&chacha).handshake().await }).await;

    let stranger = Client::new(address, &Authority::new("Other CA")).certificate(&world.c1);
    let line = recorded(&world, "client_alert", || stranger.handshake()).await;
    assert!(line["detail"].as_str().is_some_and(|detail| detail.contains("UnknownCA")), "{line}");

    let openssl = async |version: &str| {
        let (address, version) = (address.to_string(), version.to_owned());
        let run = move || {
            let mut command = tool("openssl");
            let arguments = ["s_client", "-connect", &address, "-servername", "localhost", &version];
            command.args(arguments).args(["-cipher", "ALL:@SECLEVEL=0"]);
            command.stdin(Stdio::null()).output().expect("openssl runs")
        };
        tokio::task::spawn_blocking(run).await.unwrap()
    };
    recorded(&world, "no_certificate", || openssl("-tls1_2")).await; // control
    // NET-02
    recorded(&world, "protocol_version", || openssl("-tls1_1")).await;

    let line = recorded(&world, "not_tls", || send(address, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", true)).await;
    assert_eq!((&line["server_name"], &line["certificate"]), (&Value::Null, &Value::Null));
    recorded(&world, "timeout", || send(address, &[22, 3, 1, 0, 200], true)).await;
    recorded(&world, "other", || send(address, &[22, 3, 1, 0, 200], false)).await;

    // A probe that sends nothing is counted, and is not worth a line.
    let (others, recorded) = (count(&world, "failure", "other").await, lines(&world).len());
    drop(TcpStream::connect(address).await.unwrap());
    let counted = async {
        while count(&world, "failure", "other").await == others {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, counted).await.expect("it is counted");
    assert!(good.handshake().await.is_ok(), "control");
    assert_eq!(lines(&world).len(), recorded);
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_cannot_fill_the_audit_with_handshakes() {
    let world = world().await;
    let address = world.gateway.address();
    let total = async || count(&world, "failure", "not_tls").await;
    let began = Moment::now();
    for _ in 0..300 {
        send(address, b"GET / HTTP/1.1\r\n\r\n", true).await;
    }
    assert_eq!(total().await, 300);
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!(lines(&world).len() <= 10 * (seconds + 2), "{} lines in {seconds} seconds", lines(&world).len());
    let omitted = |line: &Value| line["omitted"].as_u64().expect("a number");
    // One that is recorded says how many before it were not.
    let accounted = || lines(&world).iter().map(|line| 1 + omitted(line)).sum::<u64>();
    let said = async {
        while accounted() < 300 {
            send(address, b"GET / HTTP/1.1\r\n\r\n", true).await;
        }
    };
    timeout(DEADLINE, said).await.expect("a line with the count");
    // Those after the last line are still to be mentioned.
    let (accounted, total) = (accounted(), total().await);
    assert!(accounted <= total, "{accounted} of {total}");
    assert!(world.client().handshake().await.is_ok(), "control");
}
