//! Upstreams that report which connection a request arrived on: a well-behaved one, over any version of HTTP, and one
//! that sends HTTP/2 frames that no library would.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, SERVER};
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A request as received.
#[derive(Clone, Debug)]
pub struct Call {
    /// The number of the connection, counted from 0.
    pub connection: usize,
    pub version: Version,
    pub path: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// An upstream that answers everything with [`ANSWER`], or with [`LARGE`] bytes if the path ends in `/large`, and, where HTTP has trailers, with those that end a gRPC call.
pub struct Backend {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
}

/// The body of the responses.
pub const ANSWER: &[u8] = b"\0\0\0\0\x02ok";

/// More than any window and the buffers of all sockets hold.
pub const LARGE: usize = 64 << 20;

impl Backend {
    /// Starts a backend with HTTP/1.1 on plain TCP.
    pub async fn http1() -> Self {
        Self::start(None, Version::HTTP_11).await
    }

    /// Starts a backend with HTTP/2 on plain TCP, by prior knowledge.
    pub async fn h2c() -> Self {
        Self::start(None, Version::HTTP_2).await
    }

    /// Starts a backend with TLS and the protocol that ALPN selects; HTTP/1.1 if none.
    pub async fn tls(config: Arc<ServerConfig>) -> Self {
        Self::start(Some(TlsAcceptor::from(config)), Version::HTTP_11).await
    }

    async fn start(tls: Option<TlsAcceptor>, plain: Version) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let calls = Arc::new(Mutex::new(Vec::new()));
        let kept = calls.clone();
        tokio::spawn(async move {
            let next = AtomicUsize::new(0);
            while let Ok((stream, _)) = listener.accept().await {
                let connection = next.fetch_add(1, Ordering::Relaxed);
                let (tls, calls) = (tls.clone(), kept.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, plain, connection, calls).await,
                        Some(tls) => {
                            let stream = match tls.accept(stream).into_fallible().await {
                                Ok(stream) => stream,
                                // What the client sends until it has read the alert is read too: if the system reset the
                                // connection, the alert could be lost.
                                Err((_, mut refused)) => {
                                    let _ = tokio::io::copy(&mut refused, &mut tokio::io::sink()).await;
                                    return;
                                }
                            };
                            let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                            let version = if h2 { Version::HTTP_2 } else { Version::HTTP_11 };
                            serve(stream, version, connection, calls).await;
                        }
                    }
                });
            }
        });
        Self { address, calls }
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// All calls so far, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("no panic").clone()
    }

    /// The calls since the last time this was called.
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut self.calls.lock().expect("no panic"))
    }
}

async fn serve<S>(stream: S, version: Version, connection: usize, calls: Arc<Mutex<Vec<Call>>>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request: Request<Incoming>| {
        let calls = calls.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let path = head.uri.path().to_owned();
            let call_is_large = path.ends_with("/large");
            let call = Call { connection, version: head.version, path, headers: head.headers, body };
            calls.lock().expect("no panic").push(call);
            let mut trailers = HeaderMap::new();
            for (name, value) in [
                ("grpc-status", "0"),
                ("grpc-message", "fine"),
                ("x-padded", "padded "),
                ("server", "inside"),
                ("x-fapi-interaction-id", "forged"),
                ("set-cookie", "a=b"),
            ] {
                trailers.insert(name, HeaderValue::from_static(value));
            }
            let body = match call_is_large {
                true => Full::new(Bytes::from(vec![0; LARGE])),
                false => Full::new(Bytes::from_static(ANSWER)),
            };
            let body = body.with_trailers(async move { Some(Ok(trailers)) });
            let response = Response::builder().header(CONTENT_TYPE, "application/grpc").header(SERVER, "inside");
            Ok::<_, Infallible>(response.body(body).expect("a response"))
        }
    });
    let stream = TokioIo::new(stream);
    let _ = match version {
        Version::HTTP_2 => http2::Builder::new(TokioExecutor::new()).serve_connection(stream, service).await,
        _ => http1::Builder::new().serve_connection(stream, service).await,
    };
}

/// What a [`Frames`] sends in response to a request.
#[derive(Clone, Copy, Debug)]
pub enum Word {
    /// 200 without a body.
    Answer,
    /// RST_STREAM with this code (RFC 9113 §7).
    Reset(u8),
    /// GOAWAY with this code, stating that no stream was processed.
    GoAway(u8),
    /// 200 without a body, with these fields (RFC 7541).
    With(&'static [u8]),
    /// The status with this index in the static table (RFC 7541 appendix A), and this body.
    Body(u8, &'static [u8]),
    /// 200 with a body that never comes.
    Begin,
    /// Nothing.
    Silence,
    /// Nothing; the connection is closed.
    Close,
}

/// An h2c upstream that follows a script, one entry for each request, and answers normally after its end.
pub struct Frames {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

impl Frames {
    pub async fn start(script: &[Word]) -> Self {
        Self::serving(script, 1).await
    }

    /// One that answers every request when it has its head, whatever follows.
    pub async fn hasty() -> Self {
        Self::serving(&[], 4).await
    }

    /// `complete` is the flag of a frame that makes a request complete: END_STREAM or END_HEADERS.
    async fn serving(script: &[Word], complete: u8) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let requests = Arc::new(AtomicUsize::new(0));
        let (script, count) = (Arc::new(script.to_vec()), requests.clone());
        let connections = Arc::new(AtomicUsize::new(0));
        let opened = connections.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                opened.fetch_add(1, Ordering::SeqCst);
                let (script, count) = (script.clone(), count.clone());
                tokio::spawn(async move {
                    // An error means that the peer has closed the connection.
                    let _ = speak(stream, &script, complete, &count).await;
                });
            }
        });
        Self { address, requests, connections }
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The number of connections accepted.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// The number of complete requests received.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn speak(mut stream: TcpStream, script: &[Word], complete: u8, requests: &AtomicUsize) -> std::io::Result<()> {
    stream.read_exact(&mut [0; 24]).await?;
    // SETTINGS_INITIAL_WINDOW_SIZE and WINDOW_UPDATE: a window of one mebibyte.
    stream.write_all(&frame(4, 0, 0, &[0, 4, 0, 16, 0, 0])).await?;
    stream.write_all(&frame(8, 0, 0, &[0, 16, 0, 0])).await?;
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, id @ ..] = head;
        let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, a, b, c])).expect("24 bits")];
        stream.read_exact(&mut payload).await?;
        // Only a flag of HEADERS or DATA completes a request.
        if kind > 1 || flags & complete == 0 {
            continue;
        }
        let id = u32::from_be_bytes(id);
        match script.get(requests.fetch_add(1, Ordering::SeqCst)).copied().unwrap_or(Word::Answer) {
            // RFC 7541 appendix A: 8 is `:status 200`.
            Word::Answer => stream.write_all(&frame(1, 5, id, &[0x88])).await?,
            Word::With(fields) => stream.write_all(&frame(1, 5, id, &[&[0x88], fields].concat())).await?,
            Word::Body(status, body) => {
                stream.write_all(&frame(1, 4, id, &[0x80 | status])).await?;
                stream.write_all(&frame(0, 1, id, body)).await?;
            }
            Word::Begin => stream.write_all(&frame(1, 4, id, &[0x88])).await?,
            Word::Silence => {}
            Word::Reset(code) => stream.write_all(&frame(3, 0, id, &[0, 0, 0, code])).await?,
            Word::GoAway(code) => stream.write_all(&frame(7, 0, 0, &[0, 0, 0, 0, 0, 0, 0, code])).await?,
            Word::Close => return Ok(()),
        }
    }
}

fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(id.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}
