//! The memory that an idle connection takes: `cargo bench --bench connections -- [COUNT]`, 10000 by default.
//!
//! The gateway runs as a separate process. Its resident memory is read before and after that many clients have
//! presented their certificates, received one response and become idle. Each process needs that many file descriptors;
//! see `ulimit -n`.

#![allow(missing_docs, clippy::unwrap_used, reason = "a measurement that cannot be made may panic")]

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use sandbox::https::{Answer, HttpServer};
use sandbox::pki::Authority;
use sandbox::tls::client_config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

#[tokio::main]
async fn main() {
    // Cargo's own arguments begin with dashes.
    let count = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(10_000);
    let authority = Authority::new("Bench CA");
    let upstream = HttpServer::start(None, None, Arc::new(|_| Answer::text(StatusCode::OK, "ok"))).unwrap();
    for protocol in ["http/1.1", "h2"] {
        let gateway = Gateway::start(&authority, upstream.address(), count);
        let config = Arc::new(client(&authority, protocol));
        // What the process allocates only once is not counted.
        let _warm = open(&config, gateway.address, 100).await;
        let before = gateway.resident_kib();
        let open = open(&config, gateway.address, count).await;
        let after = gateway.resident_kib();
        let each = after.saturating_sub(before) as f64 / count as f64;
        println!(
            "{protocol}: {} connections, {before} KiB before and {after} KiB after: {each:.1} KiB for each",
            open.len()
        );
    }
}

/// A gateway process with a folder of its own.
struct Gateway {
    address: SocketAddr,
    folder: PathBuf,
    process: Child,
}

impl Gateway {
    fn start(authority: &Authority, upstream: SocketAddr, count: usize) -> Self {
        let folder = std::env::temp_dir().join(format!("fapi-gateway-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let server = authority.server(&["localhost"]);
        std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
        std::fs::write(folder.join("server.pem"), server.certificate_pem()).unwrap();
        std::fs::write(folder.join("server-key.pem"), server.key_pem()).unwrap();
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let yaml = format!(
            r#"profile: fapi2-security
listeners:
  - address: {address}
    origins: ["https://localhost"]
    tls:
      certificate: server.pem
      private_key: server-key.pem
      client_certificates: {{ mode: required, trust_anchors: [ca.pem] }}
limits: {{ idle_timeout: 1h, connections: {} }}
upstreams:
  bench: {{ servers: ["http://{upstream}"] }}
routes:
  - {{ name: health, path: /health, methods: [GET], public: true, upstream: bench }}
"#,
            count + 100
        );
        std::fs::write(folder.join("gateway.yaml"), yaml).unwrap();
        let process = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"))
            .args(["run", "--config", "gateway.yaml"])
            .current_dir(&folder)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        Self { address, folder, process }
    }

    fn resident_kib(&self) -> usize {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn client(authority: &Authority, protocol: &str) -> ClientConfig {
    let mut config = client_config(authority, Some(&authority.client("bench")));
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    config
}

/// Opens `count` connections, 32 at a time, each of which has received one response.
async fn open(config: &Arc<ClientConfig>, address: SocketAddr, count: usize) -> Vec<TlsStream<TcpStream>> {
    let mut open = Vec::with_capacity(count);
    let mut opening = JoinSet::new();
    for _ in 0..count {
        if opening.len() == 32 {
            open.push(opening.join_next().await.unwrap().unwrap());
        }
        opening.spawn(one(config.clone(), address));
    }
    open.extend(opening.join_all().await);
    open
}

async fn one(config: Arc<ClientConfig>, address: SocketAddr) -> TlsStream<TcpStream> {
    let mut tick = tokio::time::interval(Duration::from_millis(50));
    let stream = loop {
        // The first attempts may come before the gateway listens.
        match TcpStream::connect(address).await {
            Ok(stream) => break stream,
            Err(_) => tick.tick().await,
        };
    };
    let framed = config.alpn_protocols == [b"h2"];
    let mut stream =
        TlsConnector::from(config).connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap();
    let request = if framed { HTTP2 } else { b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" };
    stream.write_all(request).await.unwrap();
    let mut received = Vec::new();
    // The body is the last part to arrive, over both protocols.
    while !received.ends_with(b"ok") && !received.windows(2).any(|two| two == b"ok") {
        assert_ne!(stream.read_buf(&mut received).await.unwrap(), 0, "the gateway closed the connection");
    }
    stream
}

/// Preface, SETTINGS, and HEADERS of stream 1 (RFC 9113 §3.4, §6.2; RFC 7541 §6): GET, https, `/health`, `localhost`.
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x16\x01\x05\0\0\0\x01\x82\x87\x04\x07/health\x01\x09localhost";
