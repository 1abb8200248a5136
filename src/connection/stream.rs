//! The client's connection above TLS: deadlines that HTTP/1 has no other place for, and the one answer that is ours before
//! a request exists.
//!
//! Pingora waits 60 seconds for each read of a header, so a header dripped byte by byte lives for ever; here the whole
//! header has one deadline and one size. Pingora also answers what it cannot parse by itself, without interaction id and
//! without a record; those answers are replaced by the gateway's. HTTP/2 connections pass through once their preface has
//! come, for which Pingora would wait for ever: their frames have limits of their own.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Buf, Bytes};
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, IO, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType, raw_connect::ProxyDigest,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::chunks::Chunks;

/// Where a connection stands; the proxy's phases move it on and back.
#[derive(Debug, Default)]
pub struct Phase {
    /// Of HTTP/1: what is awaited.
    state: AtomicU8,
    /// Of HTTP/1: whether what has come of the body is no chunked body.
    unchunked: AtomicBool,
    /// Of HTTP/2: how many more exchanges the client has left than it has seen through.
    left: AtomicU32,
}

impl Phase {
    const IDLE: u8 = 0;
    const HEADER: u8 = 1;
    const BUSY: u8 = 2;

    /// A whole header section was read; its request has limits of its own.
    pub fn busy(&self) {
        self.state.store(Self::BUSY, Ordering::Relaxed);
    }

    /// The exchange is over; the next request may come.
    pub fn idle(&self) {
        self.state.store(Self::IDLE, Ordering::Relaxed);
    }

    /// Whether what has come of an HTTP/1 request's body breaks the framing that chunks have; of other bodies it says nothing.
    pub fn breaks_chunks(&self) -> bool {
        self.unchunked.load(Ordering::Relaxed)
    }

    /// The client reset an HTTP/2 stream while its exchange was under way, or saw it through.
    ///
    /// A stream that is reset makes room for the next at once, so that the limit on open streams bounds nothing
    /// (CVE-2023-44487); the HTTP/2 layer counts only those that nobody has begun to serve. Here a connection that is left too
    /// often is ended.
    pub fn stream_ended(&self, left: bool) {
        let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            Some(if left { count.saturating_add(1) } else { count.saturating_sub(1) })
        });
    }

    fn is_left_too_often(&self) -> bool {
        self.left.load(Ordering::Relaxed) > MAX_LEFT
    }
}

/// What goes wrong before there is a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlyFault {
    /// The header section cannot be parsed.
    Malformed,
    /// It is too large.
    TooLarge {
        /// What had arrived by then.
        bytes: usize,
    },
    /// It has too many fields.
    TooManyFields,
    /// It took too long.
    TimedOut,
}

/// The limits of a header section.
#[derive(Clone, Copy, Debug)]
pub struct HeaderLimits {
    /// How long it may take from its first byte.
    pub timeout: Duration,
    /// How many bytes may arrive before it ends.
    pub bytes: usize,
    /// How many fields may arrive before it ends.
    pub fields: usize,
    /// How long the connection may wait for it.
    pub idle: Duration,
}

/// Makes the bytes of the answer to an early fault, and records it.
pub type Refuse = Arc<dyn Fn(EarlyFault) -> Bytes + Send + Sync>;

/// A request as it comes in, as far as Pingora leaves no trace of it.
///
/// Its first line is method, target and version with one space between, of visible ASCII (RFC 9112 §3): Pingora escapes what
/// does not belong there before anybody else sees it. Then come lines with a field each, up to an empty one; Pingora takes
/// more than 256 for a section that cannot be parsed.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    spaces: u8,
    /// Lines that have ended.
    lines: usize,
    /// Whether the line that has begun has any byte.
    begun: bool,
    ended: bool,
    /// What follows, as if it came in chunks; whether it does is not known here.
    body: Chunks,
}

impl Head {
    /// Takes the next bytes.
    fn take(&mut self, bytes: &[u8], fields: usize) -> Result<(), EarlyFault> {
        for (place, &byte) in bytes.iter().enumerate() {
            match (self.ended, byte) {
                (true, _) => {
                    self.body.take(&bytes[place..]);
                    return Ok(());
                }
                (false, b'\n') => {
                    if self.lines == 0 && self.spaces != 2 {
                        return Err(EarlyFault::Malformed);
                    }
                    self.ended = !self.begun;
                    self.lines = self.lines.saturating_add(1);
                    self.begun = false;
                    if !self.ended && self.lines.saturating_sub(1) > fields {
                        return Err(EarlyFault::TooManyFields);
                    }
                }
                (false, b'\r') => {}
                (false, _) => {
                    self.begun = true;
                    match byte {
                        _ if self.lines > 0 => {}
                        b' ' => self.spaces = self.spaces.saturating_add(1),
                        b'!'..=b'~' => {}
                        _ => return Err(EarlyFault::Malformed),
                    }
                }
            }
        }
        Ok(())
    }
}

/// A client's connection above TLS.
pub struct ClientStream<S> {
    inner: S,
    phase: Arc<Phase>,
    limits: HeaderLimits,
    refuse: Refuse,
    timer: Pin<Box<Sleep>>,
    armed_for: u8,
    received: usize,
    head: Head,
    refusal: Option<Bytes>,
    framed: bool,
}

impl<S: IO> ClientStream<S> {
    /// Wraps a connection whose handshake is over.
    pub fn new(inner: S, phase: Arc<Phase>, limits: HeaderLimits, refuse: Refuse) -> Self {
        let framed = matches!(inner.selected_alpn_proto(), Some(ALPN::H2));
        let timer = Box::pin(tokio::time::sleep(if framed { limits.timeout } else { limits.idle }));
        Self {
            inner,
            phase,
            limits,
            refuse,
            timer,
            armed_for: Phase::IDLE,
            received: 0,
            head: Head::default(),
            refusal: None,
            framed,
        }
    }

    fn arm(&mut self, phase: u8, after: Duration) {
        self.armed_for = phase;
        self.timer.set(tokio::time::sleep(after));
    }

    /// Tells before anybody can have read what has come.
    fn note_chunks(&self) {
        self.phase.unchunked.store(self.head.body == Chunks::Broken, Ordering::Relaxed);
    }

    /// HTTP/2: the connection preface has a deadline; from there on Pingora ends connections without streams.
    fn poll_read_framed(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.phase.is_left_too_often() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        if self.received >= PREFACE {
            return Pin::new(&mut self.inner).poll_read(cx, buffer);
        }
        if self.timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        self.received = self.received.saturating_add(buffer.filled().len().saturating_sub(before));
        Poll::Ready(Ok(()))
    }

    /// Writes what is left of the refusal; ready when all of it is with the peer.
    fn poll_refusal(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(bytes) = self.refusal.as_mut().filter(|bytes| !bytes.is_empty()) {
            let written = ready!(Pin::new(&mut self.inner).poll_write(cx, bytes))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            bytes.advance(written);
        }
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    /// Refuses while the other side still reads; the read then fails, which ends the connection.
    fn poll_refuse_read(&mut self, cx: &mut Context<'_>, fault: EarlyFault) -> Poll<io::Result<()>> {
        if self.refusal.is_none() {
            self.refusal = Some((self.refuse)(fault));
        }
        ready!(self.poll_refusal(cx))?;
        Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
    }
}

impl<S: IO> AsyncRead for ClientStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = &mut *self;
        if me.framed {
            return me.poll_read_framed(cx, buffer);
        }
        if me.refusal.is_some() {
            return me.poll_refuse_read(cx, EarlyFault::Malformed);
        }
        let phase = me.phase.state.load(Ordering::Relaxed);
        if phase == Phase::BUSY {
            me.armed_for = Phase::BUSY;
            let before = buffer.filled().len();
            ready!(Pin::new(&mut me.inner).poll_read(cx, buffer))?;
            me.head.body.take(&buffer.filled()[before..]);
            me.note_chunks();
            return Poll::Ready(Ok(()));
        }
        if phase != me.armed_for {
            me.received = 0;
            me.head = Head::default();
            me.arm(phase, me.limits.idle);
        }
        if me.timer.as_mut().poll(cx).is_ready() {
            return match phase {
                Phase::HEADER => me.poll_refuse_read(cx, EarlyFault::TimedOut),
                _ => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            };
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut me.inner).poll_read(cx, buffer))?;
        let read = buffer.filled().len().saturating_sub(before);
        if read > 0 && phase == Phase::IDLE {
            me.phase.state.store(Phase::HEADER, Ordering::Relaxed);
            me.arm(Phase::HEADER, me.limits.timeout);
        }
        me.received = me.received.saturating_add(read);
        if let Err(fault) = me.head.take(&buffer.filled()[before..], me.limits.fields) {
            return me.poll_refuse_read(cx, fault);
        }
        me.note_chunks();
        if me.received > me.limits.bytes {
            let bytes = me.received;
            return me.poll_refuse_read(cx, EarlyFault::TooLarge { bytes });
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: IO> AsyncWrite for ClientStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        let me = &mut *self;
        // A response while the header is still being read is Pingora's own, to what it could not parse.
        if !me.framed && me.refusal.is_none() && me.phase.state.load(Ordering::Relaxed) == Phase::HEADER {
            me.refusal = Some((me.refuse)(EarlyFault::Malformed));
        }
        if me.refusal.is_some() {
            ready!(me.poll_refusal(cx))?;
            return Poll::Ready(Ok(buffer.len()));
        }
        Pin::new(&mut me.inner).poll_write(cx, buffer)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.framed || (self.refusal.is_none() && self.phase.state.load(Ordering::Relaxed) != Phase::HEADER) {
            return Pin::new(&mut self.inner).poll_write_vectored(cx, buffers);
        }
        let first = buffers.iter().find(|buffer| !buffer.is_empty()).map_or(&[][..], |buffer| buffer);
        self.poll_write(cx, first)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

impl<S: IO> fmt::Debug for ClientStream<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientStream").field("phase", &self.phase).finish_non_exhaustive()
    }
}

#[async_trait]
impl<S: IO> Shutdown for ClientStream<S> {
    async fn shutdown(&mut self) {
        Shutdown::shutdown(&mut self.inner).await;
    }
}

impl<S: IO> UniqueID for ClientStream<S> {
    fn id(&self) -> UniqueIDType {
        self.inner.id()
    }
}

impl<S: IO> Ssl for ClientStream<S> {
    fn get_ssl(&self) -> Option<&TlsRef> {
        self.inner.get_ssl()
    }

    fn get_ssl_digest(&self) -> Option<Arc<SslDigest>> {
        self.inner.get_ssl_digest()
    }

    fn selected_alpn_proto(&self) -> Option<ALPN> {
        self.inner.selected_alpn_proto()
    }
}

impl<S: IO> GetTimingDigest for ClientStream<S> {
    fn get_timing_digest(&self) -> Vec<Option<TimingDigest>> {
        self.inner.get_timing_digest()
    }
}

impl<S: IO> GetProxyDigest for ClientStream<S> {
    fn get_proxy_digest(&self) -> Option<Arc<ProxyDigest>> {
        self.inner.get_proxy_digest()
    }
}

impl<S: IO> GetSocketDigest for ClientStream<S> {
    fn get_socket_digest(&self) -> Option<Arc<SocketDigest>> {
        self.inner.get_socket_digest()
    }
}

#[async_trait]
impl<S: IO> Peek for ClientStream<S> {}

/// The length of the client's connection preface (RFC 9113 §3.4).
const PREFACE: usize = 24;

/// How many more exchanges a client of HTTP/2 may leave than it sees through: as many as streams may be open at a time.
const MAX_LEFT: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of a text, whole and byte by byte.
    fn judge(text: &str) -> Option<EarlyFault> {
        let whole = Head::default().take(text.as_bytes(), 2).err();
        let mut head = Head::default();
        let bytes = text.bytes().map(|byte| head.take(&[byte], 2)).find_map(Result::err);
        assert_eq!(whole, bytes, "{text:?}");
        whole
    }

    #[test]
    fn counts_fields_up_to_the_empty_line() {
        for good in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\n\r\n",
            "GET / HTTP/1.1\nA: 1\nB: 2\n\n",
            "POST / HTTP/1.1\r\nA: 1\r\nB: 2\r\n\r\n1\r\n2\r\n3\r\n4\r\n",
        ] {
            assert_eq!(judge(good), None, "{good:?}");
        }
        assert_eq!(judge("GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\nC: 3\r\n"), Some(EarlyFault::TooManyFields));
        assert_eq!(judge("GET / HTTP/1.1\nA: 1\nB: 2\nC: 3\n"), Some(EarlyFault::TooManyFields));
    }

    #[test]
    fn the_first_line_is_a_request_line() {
        for bad in ["\r\nGET / HTTP/1.1\r\n", "GET  / HTTP/1.1\r\n", "GET /\r\n", "GET /\u{e4} HTTP/1.1\r\n", "GET\t/"]
        {
            assert_eq!(judge(bad), Some(EarlyFault::Malformed), "{bad:?}");
        }
        assert_eq!(judge("GET / HTTP/1.1\r\nA: \u{e4}\t\r\n"), None); // control
    }
}
