//! A small HTTP server on loopback that records the requests it receives and gives the responses it is told to.
//!
//! HTTP/1.1 on plain TCP; HTTP/1.1 or HTTP/2 over TLS, as ALPN selects. It stands in for the servers around the gateway
//! and misbehaves on request: it can respond late, not respond, close the connection, or refuse connections.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::mem;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// A server on 127.0.0.1, named `localhost` with TLS. Dropping it closes the listener and all connections.
pub struct HttpServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    state: State,
}

impl HttpServer {
    /// Serves on `listener`, or on a free port of 127.0.0.1 if there is none.
    ///
    /// `handler` is called once for each request whose body has arrived. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The port cannot be bound.
    pub fn start(
        listener: Option<TcpListener>,
        tls: Option<Arc<ServerConfig>>,
        handler: Arc<dyn Fn(Recorded) -> Answer + Send + Sync>,
    ) -> io::Result<Self> {
        let listener = match listener {
            Some(listener) => listener,
            None => TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?,
        };
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            tls: tls.map(TlsAcceptor::from),
            handler,
            requests: Mutex::default(),
            arrivals: watch::Sender::new(0),
            heads: AtomicUsize::new(0),
        });
        let state = State::serving(listener, &shared);
        Ok(Self { address, shared, state })
    }

    /// The address it listens on; the same after a restart.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `https://localhost:PORT` or `http://127.0.0.1:PORT`, followed by `path`.
    pub fn url(&self, path: &str) -> String {
        let port = self.address.port();
        match self.shared.tls {
            Some(_) => format!("https://localhost:{port}{path}"),
            None => format!("http://{}{path}", self.address),
        }
    }

    /// Every request whose body arrived, in order, since the start or [`HttpServer::clear`].
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.requests().clone()
    }

    /// How many request heads arrived, whether or not their bodies did; not reset by [`HttpServer::clear`].
    pub fn heads(&self) -> usize {
        self.shared.heads.load(Ordering::SeqCst)
    }

    /// Forgets the requests.
    pub fn clear(&self) {
        self.shared.requests().clear();
    }

    /// Waits until `enough` holds for the recorded requests.
    ///
    /// # Errors
    /// The requests so far, if it does not hold within `deadline`.
    pub async fn wait_until(
        &self,
        deadline: Duration,
        enough: impl Fn(&[Recorded]) -> bool,
    ) -> Result<(), Vec<Recorded>> {
        let mut arrivals = self.shared.arrivals.subscribe();
        let reached = arrivals.wait_for(|_| enough(&self.shared.requests()));
        match tokio::time::timeout(deadline, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(self.requests()),
        }
    }

    /// Closes the listener and every connection, and returns when they are closed. The port stays reserved: connections
    /// are refused, and no other process can bind it. Has no effect when stopped.
    ///
    /// # Errors
    /// The port was taken by another process in between.
    pub async fn stop(&mut self) -> io::Result<()> {
        match mem::replace(&mut self.state, State::Lost) {
            State::Serving { accepting, stop } => {
                stop.notify_one();
                // An error here is a panic of the accepting task, which closes its sockets as well.
                let _ = accepting.await;
                self.state = State::Stopped(reserve(self.address)?);
            }
            stopped @ (State::Stopped(_) | State::Lost) => self.state = stopped,
        }
        Ok(())
    }

    /// Serves again on the same port. Has no effect while serving.
    ///
    /// # Errors
    /// The port cannot be bound.
    pub async fn restart(&mut self) -> io::Result<()> {
        let socket = match mem::replace(&mut self.state, State::Lost) {
            serving @ State::Serving { .. } => {
                self.state = serving;
                return Ok(());
            }
            State::Stopped(socket) => socket,
            State::Lost => reserve(self.address)?,
        };
        self.state = State::serving(socket.listen(BACKLOG)?, &self.shared);
        Ok(())
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        if let State::Serving { accepting, .. } = &self.state {
            accepting.abort();
        }
    }
}

impl fmt::Debug for HttpServer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("HttpServer").field("url", &self.url("")).finish_non_exhaustive()
    }
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// As received.
    pub method: Method,
    /// Path and query as received.
    pub uri: String,
    /// `:authority` of HTTP/2, or else `Host`.
    pub authority: Option<String>,
    /// All field lines; those with the same name keep their order.
    pub headers: HeaderMap,
    /// Complete, without transfer coding.
    pub body: Bytes,
    /// `HTTP_11` or `HTTP_2`.
    pub version: Version,
    /// The client's certificate, whose key it has proved to have; with TLS only.
    pub client_certificate: Option<CertificateDer<'static>>,
}

impl Recorded {
    /// The part of [`Recorded::uri`] before the query.
    pub fn path(&self) -> &str {
        self.uri.split_once('?').map_or(&self.uri, |(path, _)| path)
    }

    /// The first field line with that name, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON; `null` if it is not.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// How the server responds to a request.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Has no effect if there is no response, like the headers and the body.
    pub status: StatusCode,
    /// Field lines in order; a name may occur several times.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Sent whole, with `Content-Length`.
    pub body: Bytes,
    /// The time before the response begins.
    pub delay: Option<Duration>,
    /// Never responds, and keeps the connection open.
    pub hang: bool,
    /// Closes the connection without a response.
    pub reset: bool,
}

impl Answer {
    /// A status with an empty body.
    pub fn status(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new(), delay: None, hang: false, reset: false }
    }

    /// A body of type `application/json`.
    pub fn json(status: StatusCode, value: Value) -> Self {
        Self::status(status).header(CONTENT_TYPE, HeaderValue::from_static("application/json")).body(value.to_string())
    }

    /// A body of type `text/plain`.
    pub fn text(status: StatusCode, text: impl Into<Bytes>) -> Self {
        Self::status(status).header(CONTENT_TYPE, HeaderValue::from_static("text/plain")).body(text)
    }

    /// No response; the connection stays open.
    pub fn hanging() -> Self {
        Self { hang: true, ..Self::status(StatusCode::OK) }
    }

    /// No response; the connection is closed.
    pub fn resetting() -> Self {
        Self { reset: true, ..Self::status(StatusCode::OK) }
    }

    /// Adds a field line.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Sets the body, without a content type.
    #[must_use]
    pub fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Delays the response.
    #[must_use]
    pub fn delayed(mut self, delay: Duration) -> Self {
        self.delay = Some(delay);
        self
    }
}

enum State {
    Serving {
        accepting: JoinHandle<()>,
        stop: Arc<Notify>,
    },
    /// Bound and not listening.
    Stopped(TcpSocket),
    /// A change of state failed.
    Lost,
}

impl State {
    fn serving(listener: tokio::net::TcpListener, shared: &Arc<Shared>) -> Self {
        let stop = Arc::new(Notify::new());
        let accepting = tokio::spawn(accept(listener, Arc::clone(shared), Arc::clone(&stop)));
        Self::Serving { accepting, stop }
    }
}

struct Shared {
    tls: Option<TlsAcceptor>,
    handler: Arc<dyn Fn(Recorded) -> Answer + Send + Sync>,
    requests: Mutex<Vec<Recorded>>,
    /// The number of recorded requests.
    arrivals: watch::Sender<usize>,
    heads: AtomicUsize,
}

impl Shared {
    fn requests(&self) -> MutexGuard<'_, Vec<Recorded>> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn record(&self, request: Recorded) {
        self.requests().push(request);
        self.arrivals.send_modify(|count| *count += 1);
    }
}

async fn accept(listener: tokio::net::TcpListener, shared: Arc<Shared>, stop: Arc<Notify>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.notified() => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                // A connection that is closed before it is accepted does not matter.
                if let Ok((stream, _)) = accepted {
                    connections.spawn(serve_connection(stream, Arc::clone(&shared)));
                }
            }
        }
    }
    drop(listener);
    connections.shutdown().await;
}

/// Serves until either side closes. Errors close the connection and are not reported: the client sees them.
async fn serve_connection(stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let Some(acceptor) = &shared.tls else {
        return serve(stream, Protocol::Http1, None, shared).await;
    };
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let (_, connection) = stream.get_ref();
    let client_certificate = connection.peer_certificates().and_then(|chain| chain.first()).cloned();
    let protocol = match connection.alpn_protocol() {
        Some(b"h2") => Protocol::Http2,
        _ => Protocol::Http1,
    };
    serve(stream, protocol, client_certificate, shared).await;
}

enum Protocol {
    Http1,
    Http2,
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    protocol: Protocol,
    client_certificate: Option<CertificateDer<'static>>,
    shared: Arc<Shared>,
) {
    let reset = Arc::new(Notify::new());
    let service =
        service_fn(|request| respond(request, client_certificate.clone(), Arc::clone(&shared), Arc::clone(&reset)));
    let stream = TokioIo::new(stream);
    tokio::select! {
        () = reset.notified() => {}
        _ = async {
            match protocol {
                Protocol::Http1 => hyper::server::conn::http1::Builder::new().serve_connection(stream, service).await,
                Protocol::Http2 => {
                    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(stream, service)
                        .await
                }
            }
        } => {}
    }
}

async fn respond(
    request: Request<Incoming>,
    client_certificate: Option<CertificateDer<'static>>,
    shared: Arc<Shared>,
    reset: Arc<Notify>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    shared.heads.fetch_add(1, Ordering::SeqCst);
    let (head, body) = request.into_parts();
    let body = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Ok(response(Answer::status(StatusCode::PAYLOAD_TOO_LARGE)));
        }
        Err(_) => return Ok(response(Answer::status(StatusCode::BAD_REQUEST))),
    };
    let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
    let recorded = Recorded {
        uri: head.uri.path_and_query().map_or_else(|| head.uri.to_string(), ToString::to_string),
        authority: head.uri.authority().map(|authority| authority.as_str()).or(host).map(str::to_owned),
        method: head.method,
        headers: head.headers,
        body,
        version: head.version,
        client_certificate,
    };
    shared.record(recorded.clone());
    let answer = (shared.handler)(recorded);
    if let Some(delay) = answer.delay {
        tokio::time::sleep(delay).await;
    }
    if answer.reset {
        reset.notify_one();
    }
    if answer.hang || answer.reset {
        std::future::pending::<()>().await;
    }
    Ok(response(answer))
}

fn response(answer: Answer) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = answer.status;
    for (name, value) in answer.headers {
        response.headers_mut().append(name, value);
    }
    response
}

fn reserve(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    Ok(socket)
}

/// The largest request body, in bytes.
const BODY_LIMIT: usize = 16 * 1024 * 1024;

const BACKLOG: u32 = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::{Authority, Credential, self_signed};
    use crate::tls::{client_config, danger_tls_config_with_any_client, tls_config};
    use serde_json::json;
    fn echo() -> Arc<dyn Fn(Recorded) -> Answer + Send + Sync> {
        Arc::new(|request| {
            let version = format!("{:?}", request.version);
            Answer::json(StatusCode::OK, json!({ "uri": request.uri, "version": version, "body": request.body.len() }))
        })
    }

    fn answering(answer: Answer) -> Arc<dyn Fn(Recorded) -> Answer + Send + Sync> {
        Arc::new(move |_| answer.clone())
    }

    fn client(authority: &Authority, credential: Option<&Credential>, alpn: &str) -> reqwest::Client {
        let mut config = client_config(authority, credential);
        config.alpn_protocols = vec![alpn.as_bytes().to_vec()];
        reqwest::Client::builder().tls_backend_preconfigured(config).no_proxy().build().unwrap()
    }

    fn plain() -> reqwest::Client {
        client(&Authority::new("unused"), None, "http/1.1")
    }

    #[tokio::test]
    async fn speaks_the_protocol_that_alpn_chooses_and_records_requests() {
        let authority = Authority::new("ours");
        let server =
            HttpServer::start(None, Some(tls_config(&authority.server(&["localhost"]), None)), echo()).unwrap();
        for (alpn, version) in [("http/1.1", Version::HTTP_11), ("h2", Version::HTTP_2)] {
            let url = server.url("/a%20b?c=%2F");
            let response = client(&authority, None, alpn).post(url).body("hello").send().await.unwrap();
            let body: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
            assert_eq!(body, json!({ "uri": "/a%20b?c=%2F", "version": format!("{version:?}"), "body": 5 }));
        }
        let versions: Vec<_> = server.requests().iter().map(|request| request.version).collect();
        assert_eq!(versions, [Version::HTTP_11, Version::HTTP_2]);
        let authorities: Vec<_> = server.requests().into_iter().map(|request| request.authority.unwrap()).collect();
        assert_eq!(authorities, [format!("localhost:{}", server.address().port()), authorities[0].clone()]);
        server.clear();
        assert!(server.requests().is_empty());
        assert_eq!(server.heads(), 2);
    }

    #[tokio::test]
    async fn speaks_http_1_on_plain_tcp() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = HttpServer::start(Some(listener), None, echo()).unwrap();
        assert_eq!(server.address(), address);
        assert_eq!(plain().get(server.url("/")).send().await.unwrap().status(), 200);
    }

    #[tokio::test]
    async fn refuses_bodies_beyond_the_limit() {
        let server = HttpServer::start(None, None, echo()).unwrap();
        let post = |length| plain().post(server.url("/")).body(vec![0; length]).send();
        assert_eq!(post(BODY_LIMIT).await.unwrap().status(), 200); // control
        // The server may close before the client has sent everything.
        assert!(post(BODY_LIMIT + 1).await.map_or(true, |response| response.status() == 413));
        assert_eq!((server.requests().len(), server.heads()), (1, 2));
    }

    #[tokio::test]
    async fn closes_without_an_answer_when_told() {
        let authority = Authority::new("ours");
        for alpn in ["http/1.1", "h2"] {
            let tls = tls_config(&authority.server(&["localhost"]), None);
            let server = HttpServer::start(None, Some(tls), answering(Answer::resetting())).unwrap();
            let sent = client(&authority, None, alpn).post(server.url("/")).send();
            assert!(tokio::time::timeout(DEADLINE, sent).await.unwrap().is_err(), "{alpn}");
            assert_eq!(server.requests().len(), 1, "{alpn}");
        }
    }

    #[tokio::test]
    #[expect(clippy::disallowed_methods, reason = "a delay is measured")]
    async fn hangs_or_delays_when_told() {
        let server = HttpServer::start(None, None, answering(Answer::hanging())).unwrap();
        let client = plain();
        let sent = tokio::spawn(client.get(server.url("/")).send());
        server.wait_until(DEADLINE, |requests| requests.len() == 1).await.unwrap();
        assert!(!sent.is_finished());

        let delay = Duration::from_millis(20);
        let answer = Answer::text(StatusCode::OK, "late").delayed(delay);
        let server = HttpServer::start(None, None, answering(answer)).unwrap();
        let began = tokio::time::Instant::now();
        assert_eq!(client.get(server.url("/")).send().await.unwrap().text().await.unwrap(), "late");
        assert!(began.elapsed() >= delay);
    }

    #[tokio::test]
    async fn requires_a_client_certificate_of_the_authority() {
        let authority = Authority::new("ours");
        let tls = tls_config(&authority.server(&["localhost"]), Some(&authority));
        let server = HttpServer::start(None, Some(tls), echo()).unwrap();
        let good = authority.client("client");
        assert!(client(&authority, Some(&good), "h2").get(server.url("/")).send().await.is_ok());
        assert_eq!(server.requests()[0].client_certificate.as_ref(), good.chain_der.first());
        assert!(client(&authority, Some(&self_signed("client")), "h2").get(server.url("/")).send().await.is_err());
        assert!(client(&authority, None, "h2").get(server.url("/")).send().await.is_err());
    }

    #[tokio::test]
    async fn takes_any_client_certificate_or_none_when_told() {
        let authority = Authority::new("ours");
        let tls = danger_tls_config_with_any_client(&authority.server(&["localhost"]));
        let server = HttpServer::start(None, Some(tls), echo()).unwrap();
        let own = self_signed("client");
        assert!(client(&authority, Some(&own), "h2").get(server.url("/")).send().await.is_ok());
        assert!(client(&authority, None, "h2").get(server.url("/")).send().await.is_ok());
        let seen: Vec<_> = server.requests().into_iter().map(|request| request.client_certificate).collect();
        assert_eq!(seen, [own.chain_der.first().cloned(), None]);
    }

    #[tokio::test]
    async fn stops_at_once_and_restarts_on_its_port() {
        let mut server = HttpServer::start(None, None, echo()).unwrap();
        let client = plain();
        assert!(client.get(server.url("/")).send().await.is_ok()); // control, and leaves a connection open
        server.stop().await.unwrap();
        assert!(client.get(server.url("/")).send().await.unwrap_err().is_connect());
        server.stop().await.unwrap();
        server.restart().await.unwrap();
        assert!(client.get(server.url("/")).send().await.is_ok());
        assert_eq!(server.requests().len(), 2);
    }

    #[tokio::test]
    async fn drop_closes_the_listener() {
        let server = HttpServer::start(None, None, answering(Answer::hanging())).unwrap();
        let sent = tokio::spawn(plain().get(server.url("/")).send());
        server.wait_until(DEADLINE, |requests| requests.len() == 1).await.unwrap();
        drop(server);
        assert!(tokio::time::timeout(DEADLINE, sent).await.unwrap().unwrap().is_err());
    }

    const DEADLINE: Duration = Duration::from_secs(5);
}
