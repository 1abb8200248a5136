//! An attacker's tools: exact bytes in exact order over HTTP/1 and HTTP/2, servers that answer with arbitrary bytes,
//! and a proxy as Pingora builds it when nothing is done about its traps.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use hyper::body::{Body, Frame};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use pingora::apps::{HttpServerOptions, ServerApp};
use pingora::protocols::l4::stream::Stream as L4Stream;
use pingora::proxy::{ProxyHttp, Session, http_proxy};
use pingora::server::configuration::ServerConf;
use pingora::upstreams::peer::HttpPeer;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_rustls::client::TlsStream;

use crate::support::DEADLINE;
use crate::support::client::Client;

/// An HTTP/1 connection on which the test writes the bytes itself.
pub struct Talk<S = TlsStream<TcpStream>> {
    stream: S,
    received: Vec<u8>,
}

impl Talk {
    pub async fn with(client: &Client) -> Self {
        Self::over(client.clone().h1().raw_stream().await.expect("the gateway accepts the connection"))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    pub fn over(stream: S) -> Self {
        Self { stream, received: Vec::new() }
    }

    pub async fn say(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let writing = async {
            self.stream.write_all(bytes.as_ref()).await?;
            self.stream.flush().await
        };
        timeout(DEADLINE, writing).await?
    }

    /// Reads the next response, whose body must have a declared length; `None` if the connection is closed first.
    pub async fn answer(&mut self) -> Option<Answer> {
        let reading = async {
            loop {
                if let Some(answer) = self.parse() {
                    return Some(answer);
                }
                if !matches!(self.stream.read_buf(&mut self.received).await, Ok(1..)) {
                    return None;
                }
            }
        };
        timeout(DEADLINE, reading).await.expect("a response in time, or the connection is closed")
    }

    /// Sends these pieces at intervals of `every` until there is a response or the connection is closed; also returns
    /// how long that took.
    pub async fn drip(
        &mut self,
        pieces: impl IntoIterator<Item = Vec<u8>>,
        every: Duration,
    ) -> (Option<Answer>, Duration) {
        let began = now();
        let mut pieces = pieces.into_iter();
        let mut tick = tokio::time::interval(every);
        let dripping = async {
            loop {
                if let Some(answer) = self.parse() {
                    return Some(answer);
                }
                tokio::select! {
                    biased;
                    read = self.stream.read_buf(&mut self.received) => {
                        if !matches!(read, Ok(1..)) {
                            return None;
                        }
                    }
                    _ = tick.tick() => {
                        // A failed write shows up when the response is read.
                        if let Some(piece) = pieces.next() {
                            let _ = self.stream.write_all(&piece).await;
                            let _ = self.stream.flush().await;
                        }
                    }
                }
            }
        };
        let answer = timeout(DEADLINE, dripping).await.expect("a response in time, or the connection is closed");
        (answer, began.elapsed())
    }

    /// Everything that arrives until the peer closes the connection, which it must.
    pub async fn rest(mut self) -> String {
        let reading = async { while matches!(self.stream.read_buf(&mut self.received).await, Ok(1..)) {} };
        timeout(DEADLINE, reading).await.expect("the connection is closed in time");
        String::from_utf8_lossy(&self.received).into_owned()
    }

    /// Reads until this text has arrived, and drops everything up to its end.
    pub async fn until(&mut self, text: &str) {
        let reading = async {
            loop {
                let place = self.received.windows(text.len()).position(|part| part == text.as_bytes());
                if let Some(place) = place {
                    self.received.drain(..place + text.len());
                    return;
                }
                let read = self.stream.read_buf(&mut self.received).await;
                let received = String::from_utf8_lossy(&self.received);
                assert!(matches!(read, Ok(1..)), "the connection ends without {text:?}: {received}");
            }
        };
        timeout(DEADLINE, reading).await.unwrap_or_else(|_| panic!("{text:?} in time"));
    }

    /// Reads up to this many bytes, and returns how many there were.
    pub async fn rest_of(&mut self, bytes: usize) -> usize {
        let reading = async {
            while self.received.len() < bytes && matches!(self.stream.read_buf(&mut self.received).await, Ok(1..)) {}
        };
        timeout(DEADLINE, reading).await.expect("the bytes in time");
        self.received.len()
    }

    /// The status of the next response, reading only its head.
    pub async fn head(&mut self) -> u16 {
        let reading = async {
            loop {
                let text = String::from_utf8_lossy(&self.received).into_owned();
                if let Some((head, rest)) = text.split_once("\r\n\r\n") {
                    self.received = rest.as_bytes().to_vec();
                    return head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
                }
                assert!(matches!(self.stream.read_buf(&mut self.received).await, Ok(1..)), "a response");
            }
        };
        timeout(DEADLINE, reading).await.expect("a response in time")
    }

    fn parse(&mut self) -> Option<Answer> {
        let end = self.received.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = String::from_utf8_lossy(&self.received[..end]).into_owned();
        let status: u16 = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
        let mut answer = Answer { status, head, body: Vec::new() };
        let bodiless = matches!(status, 100..200 | 204 | 304);
        let length = answer.field("content-length").first().map_or(0, |length| length.parse().expect("a length"));
        let length: usize = if bodiless { 0 } else { length };
        answer.body = self.received.get(end..end + length)?.to_vec();
        self.received.drain(..end + length);
        Some(answer)
    }
}

/// A response as received.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    /// The values of a field.
    pub fn field(&self, name: &str) -> Vec<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        lines.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).collect()
    }
}

/// An HTTP/2 connection on which the test writes each frame (RFC 9113 §4), with fields as literals (RFC 7541 §6.2.2).
pub struct Frames {
    stream: TlsStream<TcpStream>,
    received: Vec<u8>,
}

/// What happened to a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Answered(u16),
    Reset,
    GoneAway,
    Closed,
}

impl Frames {
    pub async fn with(client: &Client) -> Self {
        let mut stream = client.clone().h2().raw_stream().await.expect("the gateway accepts the connection");
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("the preface");
        Self { stream, received: Vec::new() }
    }

    /// Sends exact bytes on a new connection, without a preface or settings of its own.
    pub async fn mute(client: &Client, bytes: &[u8]) -> Self {
        let mut stream = client.clone().h2().raw_stream().await.expect("the gateway accepts the connection");
        stream.write_all(bytes).await.expect("the bytes are written");
        stream.flush().await.expect("the bytes are flushed");
        Self { stream, received: Vec::new() }
    }

    pub async fn headers(&mut self, id: u32, fields: &[(&str, &str)], ends: bool) {
        let mut block = Vec::new();
        for (name, value) in fields {
            block.push(0);
            for text in [name, value] {
                // RFC 7541 §5.1, with a 7-bit prefix.
                match text.len() {
                    short @ 0..127 => block.push(u8::try_from(short).expect("less than 127")),
                    long => {
                        block.push(127);
                        let mut rest = long - 127;
                        while rest >= 128 {
                            block.push(u8::try_from(rest % 128 + 128).expect("a byte"));
                            rest /= 128;
                        }
                        block.push(u8::try_from(rest).expect("less than 128"));
                    }
                }
                block.extend_from_slice(text.as_bytes());
            }
        }
        self.frame(1, if ends { 5 } else { 4 }, id, &block).await;
    }

    pub async fn data(&mut self, id: u32, bytes: &[u8], ends: bool) {
        self.frame(0, u8::from(ends), id, bytes).await;
    }

    /// Resets a stream with CANCEL, as a client may.
    pub async fn reset(&mut self, id: u32) {
        self.frame(3, 0, id, &[0, 0, 0, 8]).await;
    }

    /// Sends an arbitrary frame.
    pub async fn frame(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) {
        let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(id.to_be_bytes());
        frame.extend_from_slice(payload);
        // A connection that is already closed shows up when it is read.
        let _ = self.stream.write_all(&frame).await;
        let _ = self.stream.flush().await;
    }

    /// Sends a frame without flags; returns whether the connection still accepts it.
    pub async fn frame_goes(&mut self, kind: u8, id: u32, payload: &[u8]) -> bool {
        let length = u32::try_from(payload.len()).expect("a small frame").to_be_bytes();
        let frame = [&length[1..], &[kind, 0], &id.to_be_bytes(), payload].concat();
        // If the peer reads nothing, the write blocks once the sockets are full, until the deadline.
        let writing = self.stream.write_all(&frame);
        matches!(timeout(DEADLINE, writing).await, Ok(Ok(())))
    }

    /// Whether the peer has closed the connection, as far as the test has been told.
    pub async fn is_closed(&mut self) -> bool {
        match timeout(Duration::from_millis(1), self.stream.read_buf(&mut self.received)).await {
            Ok(read) => !matches!(read, Ok(1..)),
            Err(_) => false,
        }
    }

    /// The kind of the frame that ends a stream, with END_STREAM or by itself; `None` if the connection ends first.
    pub async fn end_of(&mut self, stream: u32) -> Option<u8> {
        let reading = async {
            loop {
                while let Some((kind, flags, id, _)) = self.next_frame() {
                    if id == stream && (kind == 3 || (kind < 2 && flags & 1 == 1)) {
                        return Some(kind);
                    }
                }
                if !matches!(self.stream.read_buf(&mut self.received).await, Ok(1..)) {
                    return None;
                }
            }
        };
        timeout(DEADLINE, reading).await.expect("the stream ends in time")
    }

    /// The status of the response, once its END_STREAM has arrived, and the error code of the RST_STREAM after it; `None`
    /// if the connection ends without one.
    pub async fn response_and_reset(&mut self, stream: u32) -> (u16, Option<u32>) {
        let (mut answered, mut ended) = (0, false);
        let reading = async {
            loop {
                while let Some((kind, flags, id, payload)) = self.next_frame() {
                    if id != stream {
                        continue;
                    }
                    match kind {
                        1 => answered = status(&payload),
                        3 => {
                            assert!(ended, "the reset comes after the response");
                            let code = payload.try_into().map(u32::from_be_bytes);
                            return Some(code.expect("four bytes"));
                        }
                        _ => {}
                    }
                    ended |= kind < 2 && flags & 1 == 1;
                }
                if !matches!(self.stream.read_buf(&mut self.received).await, Ok(1..)) {
                    return None;
                }
            }
        };
        let code = timeout(DEADLINE, reading).await.expect("the stream ends in time");
        (answered, code)
    }

    pub async fn fate(&mut self, stream: u32) -> Fate {
        let reading = async {
            loop {
                while let Some((kind, _, id, payload)) = self.next_frame() {
                    match kind {
                        1 if id == stream => return Fate::Answered(status(&payload)),
                        3 if id == stream => return Fate::Reset,
                        7 if payload[4..8] != [0; 4] => return Fate::GoneAway,
                        _ => {}
                    }
                }
                if !matches!(self.stream.read_buf(&mut self.received).await, Ok(1..)) {
                    return Fate::Closed;
                }
            }
        };
        timeout(DEADLINE, reading).await.expect("the stream ends in time")
    }

    /// Kind, flags, stream and payload of the next frame; `None` until all of it has arrived.
    fn next_frame(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let head = self.received.get(..9)?;
        let length = usize::try_from(u32::from_be_bytes([0, head[0], head[1], head[2]])).expect("24 bits");
        let (kind, flags, id) = (head[3], head[4], u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
        let payload = self.received.get(9..9 + length)?.to_vec();
        self.received.drain(..9 + length);
        Some((kind, flags, id, payload))
    }
}

/// The `:status` at the start of a header block: indexed, or three digits, whose Huffman codes have five or six bits.
fn status(block: &[u8]) -> u16 {
    match block {
        // A dynamic table size update may come first (RFC 7541 §6.3).
        [update, rest @ ..] if update & 0xe0 == 0x20 => status(rest),
        [index @ 0x88..=0x8e, ..] => [200, 204, 206, 304, 400, 404, 500][usize::from(index - 0x88)],
        [_, length, value @ ..] if length & 0x80 != 0 => {
            let bits: String = value[..usize::from(length & 0x7f)].iter().map(|byte| format!("{byte:08b}")).collect();
            let (mut at, mut digits) = (0, String::new());
            while digits.len() < 3 {
                let five = u8::from_str_radix(&bits[at..at + 5], 2).expect("bits");
                let (digit, length) = match five {
                    0..=2 => (five, 5),
                    _ => (u8::from_str_radix(&bits[at..at + 6], 2).expect("bits") - 0b011001 + 3, 6),
                };
                digits.push(char::from(b'0' + digit));
                at += length;
            }
            digits.parse().expect("digits")
        }
        [_, length, value @ ..] => {
            String::from_utf8_lossy(&value[..usize::from(*length)]).parse().expect("a status in plain digits")
        }
        _ => panic!("not a header block: {block:?}"),
    }
}

/// A request body whose frames the test supplies one by one.
pub struct Drops(mpsc::Receiver<Frame<Bytes>>);

impl Drops {
    pub fn new() -> (mpsc::Sender<Frame<Bytes>>, Self) {
        let (sender, receiver) = mpsc::channel(64);
        (sender, Self(receiver))
    }

    /// A body without frames.
    pub fn none() -> Self {
        Self::new().1
    }
}

impl Body for Drops {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.get_mut().0.poll_recv(cx).map(|frame| frame.map(Ok))
    }
}

/// An HTTP/2 connection for such bodies.
pub async fn dripping_h2<S>(stream: S) -> http2::SendRequest<Drops>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("an HTTP/2 connection");
    tokio::spawn(connection);
    sender
}

/// An upstream that answers each path with exactly these bytes and keeps the connection open.
pub async fn scripted(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut stream = stream;
                let mut received = Vec::new();
                while matches!(stream.read_buf(&mut received).await, Ok(1..)) {
                    if received.windows(4).any(|four| four == b"\r\n\r\n") {
                        let head = String::from_utf8_lossy(&std::mem::take(&mut received)).into_owned();
                        let _ = stream.write_all(&answer(head.split(' ').nth(1).unwrap_or_default())).await;
                    }
                }
            });
        }
    });
    address
}

/// A proxy with Pingora's defaults: `request_filter` sets the header that carries the gateway's statement, the read
/// timeout is Pingora's, and nothing is checked.
struct Naive {
    upstream: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Naive {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn early_request_filter(&self, session: &mut Session, (): &mut ()) -> pingora::Result<()> {
        session.set_read_timeout(Some(SHORT));
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, (): &mut ()) -> pingora::Result<bool> {
        session.req_header_mut().insert_header("x-token-client-id", "ours")?;
        Ok(false)
    }

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> pingora::Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream, false, String::new())))
    }
}

/// The naive proxy on plain TCP, for HTTP/1 and for HTTP/2 with prior knowledge.
pub async fn naive(upstream: SocketAddr) -> SocketAddr {
    // Installed before Pingora installs another one for the whole process.
    fapi_gateway::connection::tls::install_provider().expect("ours is the first provider in the process");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let mut proxy = http_proxy(&Arc::new(ServerConf::default()), Naive { upstream });
    let mut options = HttpServerOptions::default();
    options.h2c = true;
    proxy.server_options = Some(options);
    let proxy = Arc::new(proxy);
    tokio::spawn(async move {
        let (_keep, shutdown) = watch::channel(false);
        while let Ok((stream, _)) = listener.accept().await {
            let (proxy, shutdown) = (proxy.clone(), shutdown.clone());
            tokio::spawn(async move { proxy.process_new(Box::new(L4Stream::from(stream)), &shutdown).await });
        }
    });
    address
}

/// The value of the limits that the tests wait for.
pub const SHORT: Duration = Duration::from_millis(300);

#[allow(clippy::disallowed_methods, reason = "the test measures how long a wait takes")]
pub fn now() -> Instant {
    Instant::now()
}
