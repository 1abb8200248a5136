//! The program as a process of its own, and around it an issuer, an upstream and clients.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::request::Builder;
use http::response::Parts;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustix::process::{Pid, Signal, kill_process};
use rustls::pki_types::ServerName;
use sandbox::authorization_server::{AuthorizationServer, ResourceServer};
use sandbox::https::{Answer, HttpServer};
use sandbox::pki::{Authority, Credential};
use sandbox::tls::client_config;
use sandbox::tokens::{AccessToken, KeyKind, SigningKey};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// What the client speaks.
#[derive(Clone, Copy)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// Everything around one gateway.
pub(crate) struct Surroundings {
    pub(crate) authority: Authority,
    pub(crate) issuer: AuthorizationServer,
    pub(crate) credential: Credential,
    upstream: HttpServer,
}

impl Surroundings {
    /// Starts the issuer and the upstream.
    pub(crate) fn start() -> Self {
        let authority = Authority::new("Bench CA");
        let issuer = AuthorizationServer::start(&authority).unwrap();
        let answer = |_| Answer::text(StatusCode::OK, r#"{"accounts":[{"id":"1001"},{"id":"1002"}]}"#);
        let upstream = HttpServer::start(None, None, Arc::new(answer)).unwrap();
        let credential = authority.client("client-1");
        Self { authority, issuer, credential, upstream }
    }

    /// A token that is bound to the client's certificate.
    pub(crate) fn token(&self) -> AccessToken {
        self.issuer.token(sandbox::now()).bound_to_certificate(&self.credential)
    }

    /// Signs a token.
    pub(crate) fn sign(&self, token: &AccessToken) -> String {
        token.sign(self.issuer.key(KeyKind::Es256))
    }
}

/// The program, with a folder of its own.
pub(crate) struct Gateway {
    pub(crate) address: SocketAddr,
    admin: SocketAddr,
    folder: PathBuf,
    process: Child,
}

impl Gateway {
    /// Starts it with `command`, to which its arguments are added, and with these sections beside the usual ones.
    pub(crate) fn start(mut command: Command, around: &Surroundings, more: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("fapi-gateway-exchanges-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let server = around.authority.server(&["localhost"]);
        let gateway_key = SigningKey::generate(KeyKind::Es256, "gateway");
        for (name, text) in [
            ("ca.pem", around.authority.pem()),
            ("server.pem", server.certificate_pem()),
            ("server-key.pem", server.key_pem()),
            ("gateway.pem", gateway_key.private_key_pem()),
        ] {
            std::fs::write(folder.join(name), text).unwrap();
        }
        around.issuer.register("gateway", ResourceServer::Key(gateway_key));
        let (address, admin) = (free(), free());
        let (issuer, audience) = (around.issuer.issuer(), AuthorizationServer::AUDIENCE);
        let upstream = around.upstream.address();
        let yaml = format!(
            r#"profile: fapi2-security
listeners:
  - address: {address}
    origins: ["https://localhost"]
    tls:
      certificate: server.pem
      private_key: server-key.pem
      client_certificates: {{ mode: required, trust: chain, trust_anchors: [ca.pem] }}
admin: {{ address: {admin} }}
drain: {{ delay: 0s }}
issuers:
  - {{ name: bank, issuer: "{issuer}", audiences: ["{audience}"], tokens: jwt, trust_anchors: [ca.pem] }}
  - name: asked
    issuer: "{issuer}"
    audiences: ["{audience}"]
    tokens: introspection
    trust_anchors: [ca.pem]
    introspection: {{ client_id: gateway, authentication: {{ method: private_key_jwt, private_key: gateway.pem }} }}
upstreams:
  accounts: {{ servers: ["http://{upstream}"] }}
audit: {{ destination: audit.log }}
routes:
  - {{ name: accounts, path: /accounts, methods: [GET, POST], scopes: [accounts], issuers: [bank], upstream: accounts }}
  - {{ name: balances, path: /balances, methods: [GET], scopes: [accounts], issuers: [asked], upstream: accounts }}
{more}"#
        );
        std::fs::write(folder.join("gateway.yaml"), yaml).unwrap();
        let process = command
            .args(["run", "--config", "gateway.yaml"])
            .current_dir(&folder)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self { address, admin, folder, process }
    }

    /// Waits until the keys of the issuer have been read.
    pub(crate) async fn ready(&self) {
        let mut tick = tokio::time::interval(Duration::from_millis(250));
        for _ in 0..480 {
            tick.tick().await;
            let Ok(stream) = TcpStream::connect(self.admin).await else { continue };
            let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
            let connection = tokio::spawn(connection);
            let request = Request::get("/readyz").header(HOST, "localhost").body(Empty::<Bytes>::new()).unwrap();
            let ready = sender.send_request(request).await.is_ok_and(|answer| answer.status() == StatusCode::OK);
            connection.abort();
            if ready {
                return;
            }
        }
        panic!("the gateway has not become ready");
    }

    /// Has it stop by itself; returns what it printed on stderr.
    pub(crate) fn stop(mut self) -> String {
        kill_process(Pid::from_child(&self.process), Signal::Term).unwrap();
        let text = std::io::read_to_string(self.process.stderr.take().unwrap()).unwrap();
        self.process.wait().unwrap();
        text
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// A client on one connection.
pub(crate) enum Client {
    Http1(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Http2(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

impl Client {
    /// Connects with the client's certificate.
    pub(crate) async fn connect(around: &Surroundings, address: SocketAddr, protocol: Protocol) -> Self {
        let mut config = client_config(&around.authority, Some(&around.credential));
        config.alpn_protocols = match protocol {
            Protocol::Http1 => vec![b"http/1.1".to_vec()],
            Protocol::Http2 => vec![b"h2".to_vec()],
        };
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TokioIo::new(TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap());
        match protocol {
            Protocol::Http1 => {
                let (sender, connection) = hyper::client::conn::http1::handshake(stream).await.unwrap();
                tokio::spawn(connection);
                Self::Http1(sender)
            }
            Protocol::Http2 => {
                let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream);
                let (sender, connection) = handshake.await.unwrap();
                tokio::spawn(connection);
                Self::Http2(sender)
            }
        }
    }

    /// Sends a request for a path; returns the head of its response, which is read to the end.
    pub(crate) async fn send(&mut self, request: Builder, path: &str, body: &'static [u8]) -> Parts {
        let body = Full::new(Bytes::from_static(body));
        let answer = match self {
            Self::Http1(sender) => {
                let request = request.uri(path).header(HOST, "localhost").body(body).unwrap();
                sender.ready().await.unwrap();
                sender.send_request(request).await.unwrap()
            }
            Self::Http2(sender) => {
                let request = request.uri(format!("https://localhost{path}")).body(body).unwrap();
                sender.send_request(request).await.unwrap()
            }
        };
        let (head, body) = answer.into_parts();
        body.collect().await.unwrap();
        head
    }
}

/// An address where nothing listens yet.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}
