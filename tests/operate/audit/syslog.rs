//! The audit at a syslog server: over a real TLS connection, to a server that stops reading, and to one that goes and comes back.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::PKCS_ED25519;
use rustls::ServerConfig;
use sandbox::pki::Authority;
use sandbox::tls::tls_config;
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::chain::{good, stop, write_key};
use super::{Stage, ask, health};
use crate::support::program::Program;
use crate::support::{DEADLINE, Folder, free_ports};

/// A syslog server, which reads while it is told to.
struct Server {
    address: SocketAddr,
    reads: watch::Sender<bool>,
    /// The bytes of all connections.
    taken: watch::Receiver<Vec<u8>>,
    serving: JoinHandle<()>,
}

impl Server {
    async fn start(config: ServerConfig, port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a port");
        let address = listener.local_addr().unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let (reads, reading) = watch::channel(true);
        let (take, taken) = watch::channel(Vec::new());
        let serving = tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                if let Ok(mut tls) = acceptor.accept(tcp).await {
                    read(&mut tls, reading.clone(), &take).await;
                }
            }
        });
        Self { address, reads, taken, serving }
    }

    /// Waits until the messages fulfil a condition, and returns them.
    async fn until(&mut self, mut fulfilled: impl FnMut(&[String]) -> bool) -> Vec<String> {
        let there = self.taken.wait_for(|bytes| fulfilled(&messages(bytes)));
        let bytes = timeout(DEADLINE, there).await.expect("the messages come").expect("it serves").clone();
        messages(&bytes)
    }

    /// Waits until a message names this, however many come before it: each byte is looked at once.
    async fn until_named(&mut self, id: &str) {
        let mut seen = 0;
        let there = self.taken.wait_for(|bytes| {
            let new = &bytes[usize::saturating_sub(seen, id.len())..];
            seen = bytes.len();
            new.windows(id.len()).any(|window| window == id.as_bytes())
        });
        timeout(DEADLINE, there).await.expect("the message comes").expect("it serves");
    }

    /// Ends with every connection, as when it is killed.
    async fn end(self) -> Vec<u8> {
        self.serving.abort();
        let _ = self.serving.await;
        self.taken.borrow().clone()
    }
}

async fn read(tls: &mut TlsStream<TcpStream>, mut reading: watch::Receiver<bool>, take: &watch::Sender<Vec<u8>>) {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        if reading.wait_for(|reads| *reads).await.is_err() {
            return;
        }
        match tls.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(count) => take.send_modify(|taken| taken.extend_from_slice(&buffer[..count])),
        }
    }
}

/// RFC 5425 §4.3: each message after its length. What is not whole at the end is left out.
fn messages(mut bytes: &[u8]) -> Vec<String> {
    let mut messages = Vec::new();
    while let Some(space) = bytes.iter().position(|byte| *byte == b' ') {
        let length: usize = std::str::from_utf8(&bytes[..space]).unwrap().parse().expect("a length");
        let Some(message) = bytes.get(space + 1..space + 1 + length) else { break };
        messages.push(String::from_utf8(message.to_vec()).expect("text"));
        bytes = &bytes[space + 1 + length..];
    }
    messages
}

/// The line in a message, whose header is that of RFC 5424 §6.
fn line(message: &str) -> &str {
    let fields: Vec<&str> = message.splitn(8, ' ').collect();
    let [priority, time, host, program, process, id, data, line] = fields[..] else { panic!("{message}") };
    assert_eq!((priority, program, id, data), ("<110>1", "fapi-gateway", "audit", "-"), "{message}");
    assert!(!host.is_empty() && process.parse::<u32>().is_ok(), "{message}");
    let line_of = serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {message}"));
    assert_eq!(line_of["time"], time, "{message}");
    line
}

fn has(messages: &[String], id: &str) -> bool {
    messages.iter().any(|message| line(message).contains(id))
}

/// A server, and a gateway that sends it its audit.
async fn start(on_overflow: &str, chain: bool) -> (Stage, Server, Authority) {
    let authority = Authority::new("SIEM CA");
    let server = Server::start(tls_config(&authority.server(&["localhost"]), None).as_ref().clone(), 0).await;
    let stage = connected(&authority, server.address, on_overflow, chain).await;
    (stage, server, authority)
}

async fn connected(authority: &Authority, address: SocketAddr, on_overflow: &str, chain: bool) -> Stage {
    let chain = if chain { ", chain: { key: keys/audit.pem }" } else { "" };
    let audit = format!(
        "destination: syslog, on_overflow: {on_overflow}, syslog: {{ server: \"localhost:{}\", tls: {{ trust_anchors: [siem-ca.pem] }} }}{chain}",
        address.port()
    );
    Stage::start(&audit, |folder| {
        folder.write("siem-ca.pem", &authority.pem());
        write_key(folder, &PKCS_ED25519, "audit.pub");
        Program::run(folder)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_is_a_message_and_the_chain_is_whole_at_the_server() {
    let (mut stage, mut server, _authority) = start("drop", true).await;
    let mut connection = stage.client.connect().await.unwrap();
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(ask(&mut connection).await);
    }
    // A reload that changes nothing keeps the connection.
    stage.program.signal("-HUP");
    stage.program.says("the configuration was reloaded");
    let said = stage.program.rest();
    assert!(!said.iter().any(|line| line.contains("the audit is sent to the syslog server")), "{said:?}");
    let folder = stop(stage).await;
    let messages =
        server.until(|messages| messages.last().is_some_and(|last| last.contains("\"reason\":\"end\""))).await;
    assert!(ids.iter().all(|id| has(&messages, id)), "{messages:?}");
    let lines: String = messages.iter().map(|message| format!("{}\n", line(message))).collect();
    folder.write("received.jsonl", &lines);
    assert!(good(folder.path(), &["received.jsonl"]).contains("it is sealed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_stops_reading_stops_no_request_unless_it_is_told_to() {
    for (on_overflow, refuses) in [("drop", false), ("refuse", true)] {
        let (stage, mut server, _authority) = start(on_overflow, false).await;
        let mut connection = stage.client.connect().await.unwrap();
        let id = ask(&mut connection).await;
        server.until_named(&id).await; // control
        server.reads.send_replace(false);
        // Some 16 MiB wait in the gateway, and some more in the system.
        let long = http::Request::get(format!("{}/{}", crate::support::ORIGIN, "x".repeat(2047)));
        let long = long.body(bytes::Bytes::new()).unwrap();
        let (mut sent, mut refused) = (0, false);
        while sent < 20_000 && !refused && stage.metric("fapi_gateway_audit_lines_lost_total").await == 0.0 {
            for _ in 0..500 {
                let response = timeout(Duration::from_secs(5), connection.send(long.clone())).await;
                let status = response.expect("no request waits").unwrap().status().as_u16();
                refused |= status == 503;
                sent += 1;
            }
        }
        assert_eq!(refused, refuses, "{on_overflow}: {sent} were sent");
        assert!(sent > 1000, "{sent}");
        assert_eq!(stage.until_ready("503").await, "the audit cannot be written\n");
        // The server reads again, and everything goes on.
        server.reads.send_replace(true);
        stage.until_ready("200").await;
        let id = ask(&mut connection).await;
        server.until_named(&id).await;
        let lost = stage.metric("fapi_gateway_audit_lines_lost_total").await;
        assert_eq!(lost > 0.0, !refuses, "{lost}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_and_comes_back_gets_what_waited() {
    for (on_overflow, refuses) in [("drop", false), ("refuse", true)] {
        let (mut stage, mut server, authority) = start(on_overflow, false).await;
        let mut connection = stage.client.connect().await.unwrap();
        let first = ask(&mut connection).await;
        server.until(|messages| has(messages, &first)).await;
        let port = server.address.port();
        server.end().await;
        // The first request finds out.
        let waiting = ask(&mut connection).await;
        assert!(stage.program.says("cannot be reached").contains("Connection refused"));
        stage.until_ready("503").await;
        let response = timeout(DEADLINE, connection.send(health())).await.expect("no request waits").unwrap();
        assert_eq!(response.status(), if refuses { 503 } else { 200 }, "{on_overflow}");
        let mut server =
            Server::start(tls_config(&authority.server(&["localhost"]), None).as_ref().clone(), port).await;
        stage.until_ready("200").await;
        let last = ask(&mut connection).await;
        let messages = server.until(|messages| has(messages, &last)).await;
        assert!(has(&messages, &waiting), "what waited is there: {messages:?}");
        assert_eq!(stage.metric("fapi_gateway_audit_lines_lost_total").await, 0.0);
        stop(stage).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_another_gets_nothing() {
    let [port] = free_ports(1)[..] else { panic!("one port") };
    let (ours, theirs) = (Authority::new("SIEM CA"), Authority::new("another CA"));
    for (authority, name) in [(&theirs, "localhost"), (&ours, "siem.example")] {
        let other = Server::start(tls_config(&authority.server(&[name]), None).as_ref().clone(), port).await;
        let mut stage = connected(&ours, other.address, "drop", false).await;
        ask(&mut stage.client.connect().await.unwrap()).await;
        let said = stage.program.says("cannot be reached");
        assert!(said.contains("invalid peer certificate"), "{said}");
        assert_eq!(other.end().await, b"");
    }
}

/// The gateway shows its certificate to a server that asks for one.
#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_is_known_by_its_certificate() {
    let authority = Authority::new("SIEM CA");
    let client = authority.client("gateway");
    let asks = || tls_config(&authority.server(&["localhost"]), Some(&authority)).as_ref().clone();
    for (identity, known) in [(", certificate: siem.pem, private_key: siem-key.pem", true), ("", false)] {
        let mut server = Server::start(asks(), 0).await;
        let audit = format!(
            "destination: syslog, syslog: {{ server: \"localhost:{}\", tls: {{ trust_anchors: [siem-ca.pem]{identity} }} }}",
            server.address.port()
        );
        let mut stage = Stage::start(&audit, |folder: &Folder| {
            folder.write("siem-ca.pem", &authority.pem());
            folder.write("siem.pem", &client.certificate_pem());
            folder.write("siem-key.pem", &client.key_pem());
            Program::run(folder)
        })
        .await;
        let id = ask(&mut stage.client.connect().await.unwrap()).await;
        if known {
            server.until(|messages| has(messages, &id)).await;
        } else {
            let said = stage.program.says("cannot be reached");
            assert!(said.contains("CertificateRequired"), "{said}");
            assert_eq!(server.end().await, b"");
        }
    }
}
