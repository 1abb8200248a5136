//! A client over real TLS sockets that does what it is told, valid or not.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST, HeaderName, HeaderValue};
use http::uri::{PathAndQuery, Uri};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::ServerName;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{
    CipherSuite, ClientConfig, ProtocolVersion, RootCertStore, SupportedCipherSuite, SupportedProtocolVersion,
};
use sandbox::pki::{Authority, Credential};
use sandbox::tokens::{SigningKey, ath};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use uuid::Uuid;

/// How to call the gateway. Every call opens a new connection; [`Client::connect`] keeps one.
///
/// Uses HTTP/1.1 unless [`Client::h2`] is called. Clones are independent, so one valid client can be the base of every
/// invalid one.
#[derive(Clone, Debug)]
pub struct Client {
    gateway: SocketAddr,
    roots: Arc<RootCertStore>,
    certificate: Option<Credential>,
    dpop_key: Option<SigningKey>,
    protocol: Protocol,
    server_name: String,
    sends_server_name: bool,
    origin: Option<String>,
    suites: Option<Vec<SupportedCipherSuite>>,
    versions: Vec<&'static SupportedProtocolVersion>,
    local: Option<IpAddr>,
    preamble: Vec<u8>,
}

impl Client {
    pub fn new(gateway: SocketAddr, roots: &Authority) -> Self {
        let mut store = RootCertStore::empty();
        store.add(roots.der().clone()).expect("an authority's certificate is a trust anchor");
        Self {
            gateway,
            roots: Arc::new(store),
            certificate: None,
            dpop_key: None,
            protocol: Protocol::Http1,
            server_name: "localhost".to_owned(),
            sends_server_name: true,
            origin: None,
            suites: None,
            versions: vec![&TLS13, &TLS12],
            local: None,
            preamble: Vec::new(),
        }
    }

    /// Where the gateway listens.
    pub const fn address(&self) -> SocketAddr {
        self.gateway
    }

    /// Connects from this address.
    #[must_use]
    pub fn bind(mut self, address: IpAddr) -> Self {
        self.local = Some(address);
        self
    }

    /// Sends these bytes before the handshake.
    #[must_use]
    pub fn preamble(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.preamble = bytes.into();
        self
    }

    /// Presents this certificate when the server requests one.
    #[must_use]
    pub fn certificate(mut self, credential: &Credential) -> Self {
        self.certificate = Some(credential.clone());
        self
    }

    /// Presents no certificate.
    #[must_use]
    pub fn without_certificate(mut self) -> Self {
        self.certificate = None;
        self
    }

    /// Adds a new proof by this key to requests with `Authorization: DPoP` and no `DPoP` field.
    #[must_use]
    pub fn dpop_key(mut self, key: SigningKey) -> Self {
        self.dpop_key = Some(key);
        self
    }

    /// Offers `http/1.1` only.
    #[must_use]
    pub fn h1(mut self) -> Self {
        self.protocol = Protocol::Http1;
        self
    }

    /// Offers `h2` only.
    #[must_use]
    pub fn h2(mut self) -> Self {
        self.protocol = Protocol::Http2;
        self
    }

    /// The name sent as SNI and expected in the gateway's certificate; `localhost` by default.
    #[must_use]
    pub fn server_name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.server_name);
        self
    }

    /// Sends no SNI.
    #[must_use]
    pub fn without_server_name(mut self) -> Self {
        self.sends_server_name = false;
        self
    }

    /// The origin for `Host`, `:authority` and `htu`; by default `https://{server_name}:{port}`.
    #[must_use]
    pub fn origin(mut self, origin: &str) -> Self {
        self.origin = Some(origin.to_owned());
        self
    }

    /// Offers only TLS 1.2, with these cipher suites.
    #[must_use]
    pub fn tls12_only(mut self, suites: &[SupportedCipherSuite]) -> Self {
        self.suites = Some(suites.to_vec());
        self.versions = vec![&TLS12];
        self
    }

    /// Offers only TLS 1.3, with all its cipher suites.
    #[must_use]
    pub fn tls13_only(mut self) -> Self {
        self.suites = None;
        self.versions = vec![&TLS13];
        self
    }

    /// The URL of a path at the gateway, as used in `htu`.
    pub fn url(&self, path: &str) -> String {
        match &self.origin {
            Some(origin) => format!("{origin}{path}"),
            None => format!("https://{}:{}{path}", self.server_name, self.gateway.port()),
        }
    }

    /// Sends one request on a new connection.
    ///
    /// Sends the path and query of the request's URI, and its authority if it has one. Adds `Host` or `:authority` when
    /// missing; other field lines are sent unchanged.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, ClientError> {
        self.connect().await?.send(request).await
    }

    /// Opens a connection for several requests.
    pub async fn connect(&self) -> Result<Connection, ClientError> {
        let stream = TokioIo::new(self.raw_stream().await?);
        let sender = match self.protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(stream).await?;
                // An error of the connection also fails the request that waits for it.
                tokio::spawn(connection);
                Sender::Http1(sender)
            }
            Protocol::Http2 => {
                let (sender, connection) = http2::handshake(TokioExecutor::new(), stream).await?;
                tokio::spawn(connection);
                Sender::Http2(sender)
            }
        };
        Ok(Connection { client: self.clone(), sender })
    }

    /// Sends exactly these bytes over TLS with ALPN `http/1.1`, and returns what arrives until the gateway closes the
    /// connection or 5 seconds pass.
    ///
    /// # Panics
    /// If the connection fails; use [`Client::handshake`] to expect that.
    pub async fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.clone().h1().raw_stream().await.expect("the gateway accepts the connection");
        let mut received = Vec::new();
        // A gateway that refuses may close the connection before it has read everything; what it has answered still
        // counts.
        let _ = stream.write_all(bytes).await;
        let _ = stream.flush().await;
        let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut received)).await;
        received
    }

    /// Opens a TLS connection with the selected ALPN, without sending anything on it.
    ///
    /// With TLS 1.3 the gateway may still refuse the client certificate: that shows up at the first read.
    pub async fn raw_stream(&self) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(self.server_name.clone()).map_err(io::Error::other)?;
        let mut stream = match self.local {
            Some(local) => {
                let socket = if local.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
                socket.bind(SocketAddr::new(local, 0))?;
                socket.connect(self.gateway).await?
            }
            None => TcpStream::connect(self.gateway).await?,
        };
        stream.set_nodelay(true)?;
        stream.write_all(&self.preamble).await?;
        let connecting = TlsConnector::from(Arc::new(self.tls())).connect(name, stream);
        tokio::time::timeout(DEADLINE, connecting).await?
    }

    /// Returns what TLS negotiated, or the alert as an error.
    ///
    /// To receive the alert that TLS 1.3 sends after the handshake, sends the beginning of HTTP and waits for any
    /// response: with HTTP/1.1 `OPTIONS *`, with HTTP/2 the connection preface, which is not a request.
    pub async fn handshake(&self) -> io::Result<Handshake> {
        let mut stream = self.raw_stream().await?;
        let (_, connection) = stream.get_ref();
        let handshake = Handshake {
            version: connection.protocol_version().ok_or(io::ErrorKind::NotConnected)?,
            suite: connection.negotiated_cipher_suite().ok_or(io::ErrorKind::NotConnected)?.suite(),
            alpn: connection.alpn_protocol().map(<[u8]>::to_vec),
        };
        let first_words = match handshake.alpn.as_deref() {
            // RFC 9113 §3.4: the preface, then an empty SETTINGS frame.
            Some(b"h2") => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(),
            _ => format!("OPTIONS * HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", authority(&self.url("")))
                .into_bytes(),
        };
        // Reads even if writing fails, since there may be an alert.
        let written = async {
            stream.write_all(&first_words).await?;
            stream.flush().await
        }
        .await;
        match tokio::time::timeout(DEADLINE, stream.read(&mut [0; 1])).await? {
            Ok(0) => Err(written.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())),
            Ok(_) => Ok(handshake),
            Err(error) => Err(error),
        }
    }

    fn tls(&self) -> ClientConfig {
        let mut provider = default_provider();
        if let Some(suites) = &self.suites {
            provider.cipher_suites.clone_from(suites);
        }
        let builder = ClientConfig::builder_with_provider(provider.into())
            .with_protocol_versions(&self.versions)
            .expect("the suites belong to the versions")
            .with_root_certificates(Arc::clone(&self.roots));
        let mut config = match &self.certificate {
            None => builder.with_no_client_auth(),
            // Presented as it is: a check that the key belongs to the certificate would have to read the certificate.
            Some(credential) => {
                let key = default_provider().key_provider.load_private_key(credential.private_key());
                let key = key.expect("a credential has a key that signs");
                let presented = CertifiedKey::new(credential.chain_der.clone(), key);
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(presented)))
            }
        };
        config.alpn_protocols = vec![self.protocol.alpn().to_vec()];
        config.enable_sni = self.sends_server_name;
        config.resumption = Resumption::disabled();
        config
    }

    /// The request in the form that the protocol requires.
    fn prepare(&self, request: Request<Bytes>) -> Result<Request<Full<Bytes>>, ClientError> {
        let (mut head, body) = request.into_parts();
        let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        let base = self.url("");
        let authority = head.uri.authority().map_or_else(|| authority(&base), |authority| authority.as_str());
        let authority = HeaderValue::from_str(authority).map_err(http::Error::from)?;
        self.add_proof(&mut head, &path)?;
        head.uri = match self.protocol {
            Protocol::Http1 => {
                head.headers.entry(HOST).or_insert(authority);
                Uri::from(path)
            }
            Protocol::Http2 => {
                head.version = http::Version::HTTP_2;
                Uri::builder().scheme("https").authority(authority.as_bytes()).path_and_query(path).build()?
            }
        };
        Ok(Request::from_parts(head, Full::new(body)))
    }

    fn add_proof(&self, head: &mut http::request::Parts, path: &PathAndQuery) -> Result<(), ClientError> {
        let Some(key) = &self.dpop_key else { return Ok(()) };
        let credentials = head.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some(("DPoP", token)) = credentials.and_then(|value| value.split_once(' ')) else { return Ok(()) };
        if head.headers.contains_key(DPOP) {
            return Ok(());
        }
        let jti = Uuid::new_v4().to_string();
        // RFC 9449 §4.2: `htu` is the target URI "without query and fragment parts".
        let proof = key.proof(head.method.as_str(), &self.url(path.path()), now(), &jti, Some(&ath(token)), None);
        head.headers.insert(DPOP, HeaderValue::from_str(&proof).map_err(http::Error::from)?);
        Ok(())
    }
}

/// An open connection.
pub struct Connection {
    client: Client,
    sender: Sender,
}

impl Connection {
    /// Like [`Client::send`], on this connection.
    pub async fn send(&mut self, request: Request<Bytes>) -> Result<Response<Bytes>, ClientError> {
        let request = self.client.prepare(request)?;
        let exchange = async {
            let response = match &mut self.sender {
                Sender::Http1(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await?
                }
                Sender::Http2(sender) => {
                    sender.ready().await?;
                    sender.send_request(request).await?
                }
            };
            let (head, body) = response.into_parts();
            Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
        };
        tokio::time::timeout(RESPONSE_DEADLINE, exchange).await.map_err(|_| ClientError::Late)?
    }

    /// Another handle for the same HTTP/2 connection, for concurrent requests; `None` with HTTP/1.1.
    pub fn another(&self) -> Option<Self> {
        match &self.sender {
            Sender::Http1(_) => None,
            Sender::Http2(sender) => Some(Self { client: self.client.clone(), sender: Sender::Http2(sender.clone()) }),
        }
    }

    /// Whether the gateway has closed the connection or announced that it will.
    pub fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::Http1(sender) => sender.is_closed(),
            Sender::Http2(sender) => sender.is_closed(),
        }
    }
}

/// What TLS negotiated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    pub version: ProtocolVersion,
    pub suite: CipherSuite,
    pub alpn: Option<Vec<u8>>,
}

/// Why there is no response.
#[derive(Debug)]
pub enum ClientError {
    /// The connection or the TLS handshake failed.
    Io(io::Error),
    /// HTTP failed, or the gateway sent a TLS alert after the handshake.
    Http(hyper::Error),
    /// The request cannot be sent in this form.
    Request(http::Error),
    /// No response arrived within 30 seconds.
    Late,
}

impl fmt::Display for ClientError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(formatter, "no connection: {error}"),
            Self::Http(error) => write!(formatter, "no response: {error}"),
            Self::Request(error) => write!(formatter, "no request: {error}"),
            Self::Late => write!(formatter, "no response in time"),
        }
    }
}

impl std::error::Error for ClientError {}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<hyper::Error> for ClientError {
    fn from(error: hyper::Error) -> Self {
        Self::Http(error)
    }
}

impl From<http::Error> for ClientError {
    fn from(error: http::Error) -> Self {
        Self::Request(error)
    }
}

/// Seconds since the epoch by the clock that the gateway reads.
#[allow(clippy::disallowed_methods, reason = "the gateway under test reads the system's clock")]
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is after 1970").as_secs()
}

#[derive(Clone, Copy, Debug)]
enum Protocol {
    Http1,
    Http2,
}

impl Protocol {
    fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// The authority of an origin, with or without a path.
fn authority(origin: &str) -> &str {
    let rest = origin.split_once("://").map_or(origin, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

const DPOP: HeaderName = HeaderName::from_static("dpop");
const DEADLINE: Duration = Duration::from_secs(5);
/// Longer than any timeout of a gateway in the tests.
const RESPONSE_DEADLINE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use rustls::crypto::aws_lc_rs::cipher_suite::{
        TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    };

    use sandbox::https::{Answer, HttpServer};
    use sandbox::pki::self_signed;
    use sandbox::tls::tls_config;
    use sandbox::tokens::KeyKind;

    use super::*;

    /// A server in place of the gateway.
    fn server(authority: &Authority, client_ca: Option<&Authority>) -> HttpServer {
        let tls = tls_config(&authority.server(&["localhost"]), client_ca);
        HttpServer::start(None, Some(tls), Arc::new(|request| Answer::text(StatusCode::OK, request.body))).unwrap()
    }

    fn post(uri: &str) -> Request<Bytes> {
        Request::post(uri).body(Bytes::from_static(b"hello")).unwrap()
    }

    #[tokio::test]
    async fn sends_over_both_protocols_and_reuses_connections() {
        let authority = Authority::new("ours");
        let server = server(&authority, None);
        let client = Client::new(server.address(), &authority);
        for client in [client.clone().h1(), client.h2()] {
            let mut connection = client.connect().await.unwrap();
            for _ in 0..2 {
                assert_eq!(connection.send(post("/a?b")).await.unwrap().body(), "hello");
            }
            assert_eq!(client.send(post("https://elsewhere/")).await.unwrap().body(), "hello");
            let requests = server.requests();
            let origin = format!("localhost:{}", server.address().port());
            assert_eq!(requests[0].authority.as_ref(), Some(&origin));
            assert_eq!((requests[0].uri.as_str(), requests[2].authority.as_deref()), ("/a?b", Some("elsewhere")));
            server.clear();
        }
    }

    #[tokio::test]
    async fn streams_of_one_connection_run_at_the_same_time() {
        let authority = Authority::new("ours");
        let server = server(&authority, None);
        let mut one = Client::new(server.address(), &authority).h2().connect().await.unwrap();
        let mut two = one.another().unwrap();
        let (one, two) = tokio::join!(one.send(post("/1")), two.send(post("/2")));
        assert_eq!((one.unwrap().status(), two.unwrap().status()), (StatusCode::OK, StatusCode::OK));
        let h1 = Client::new(server.address(), &authority).connect().await.unwrap();
        assert!(h1.another().is_none() && !h1.is_closed());
    }

    #[tokio::test]
    async fn handshake_tells_what_was_agreed() {
        let authority = Authority::new("ours");
        let server = server(&authority, None);
        let client = Client::new(server.address(), &authority);
        let new = client.clone().h2().tls13_only().handshake().await.unwrap();
        assert_eq!((new.version, new.alpn.as_deref()), (ProtocolVersion::TLSv1_3, Some(b"h2".as_slice())));
        let suite = TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384;
        let expected =
            Handshake { version: ProtocolVersion::TLSv1_2, suite: suite.suite(), alpn: Some(b"http/1.1".to_vec()) };
        assert_eq!(client.tls12_only(&[suite]).handshake().await.unwrap(), expected);
    }

    #[tokio::test]
    async fn handshake_brings_out_refused_client_certificates() {
        let authority = Authority::new("ours");
        let server = server(&authority, Some(&authority));
        let bare = Client::new(server.address(), &authority);
        let suites = [TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256];
        for bare in [bare.clone(), bare.clone().h2(), bare.clone().tls12_only(&suites)] {
            let good = bare.clone().certificate(&authority.client("client"));
            assert!(good.handshake().await.is_ok()); // control
            assert!(good.send(post("/")).await.is_ok());
            assert!(bare.handshake().await.is_err());
            assert!(bare.send(post("/")).await.is_err());
            assert!(bare.clone().certificate(&self_signed("client")).handshake().await.is_err());
            assert!(good.without_certificate().handshake().await.is_err());
        }
        let requests = server.requests();
        assert!(requests.iter().all(|request| request.client_certificate.is_some()), "{requests:?}");
    }

    #[tokio::test]
    async fn refuses_servers_of_another_name_or_authority() {
        let authority = Authority::new("ours");
        let server = server(&authority, None);
        let client = Client::new(server.address(), &authority);
        assert!(client.handshake().await.is_ok()); // control
        assert!(client.clone().without_server_name().handshake().await.is_ok());
        assert!(client.server_name("other.example").handshake().await.is_err());
        assert!(Client::new(server.address(), &Authority::new("ours")).handshake().await.is_err());
    }

    #[tokio::test]
    async fn raw_sends_exact_bytes_and_reads_to_the_end() {
        let authority = Authority::new("ours");
        let server = server(&authority, None);
        let client = Client::new(server.address(), &authority).h2();
        let received = client.raw(b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        assert!(received.starts_with(b"HTTP/1.1 200 OK\r\n"));
        assert!(client.raw(b"\0\r\n\r\n").await.starts_with(b"HTTP/1.1 400 "));
    }

    #[tokio::test]
    async fn adds_a_proof_to_dpop_requests_only() {
        let authority = Authority::new("ours");
        let server = server(&authority, None);
        let client = Client::new(server.address(), &authority)
            .origin("https://api.example")
            .dpop_key(SigningKey::generate(KeyKind::Es256, "a"));
        for authorization in ["DPoP token", "Bearer token"] {
            let request = Request::get("/a?b").header(AUTHORIZATION, authorization).body(Bytes::new()).unwrap();
            client.send(request).await.unwrap();
        }
        let requests = server.requests();
        let proof = requests[0].header("dpop").unwrap().to_owned();
        let claims = jsonwebtoken::dangerous::insecure_decode::<serde_json::Value>(&proof).unwrap().claims;
        assert_eq!(
            (&claims["htm"], &claims["htu"], &claims["ath"]),
            (&"GET".into(), &"https://api.example/a".into(), &ath("token").into())
        );
        assert_eq!((requests[0].authority.as_deref(), requests[1].header("dpop")), (Some("api.example"), None));
    }
}
