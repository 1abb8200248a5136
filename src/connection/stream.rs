//! The client's connection above TLS: the deadlines that HTTP/1 has no other place for, and the response that the
//! gateway sends when there is no request yet.
//!
//! Pingora waits 60 seconds for each read of a header, so a header that arrives byte by byte could take forever; here,
//! the whole header has one deadline and one size limit. Pingora also responds on its own to what it cannot parse,
//! without an interaction ID and without an audit record; the gateway replaces those responses with its own. HTTP/2
//! connections pass through once their preface has arrived, for which Pingora would wait forever; their frames have
//! limits of their own.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pingora::protocols::tls::{SslDigest, TlsRef};
use pingora::protocols::{
    ALPN, GetProxyDigest, GetSocketDigest, GetTimingDigest, IO, Peek, Shutdown, SocketDigest, Ssl, TimingDigest,
    UniqueID, UniqueIDType, raw_connect::ProxyDigest,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::deadline::Deadline;
use super::ended::Ended;
use super::gathered::{Gathered, length_of};
use super::head::{EarlyFault, Head};
use super::lingering::{Lingering, LingeringLimits};
use super::phase::Phase;
use super::settings_frames::SettingsFrames;
use super::stall::Stall;
use super::turn::Turn;

/// The limits of a header section.
#[derive(Clone, Copy, Debug)]
pub struct HeaderLimits {
    /// How long it may take, from its first byte.
    pub timeout: Duration,
    /// How many bytes may arrive before it ends.
    pub bytes: usize,
    /// How many fields may arrive before it ends.
    pub fields: usize,
    /// How long the connection may be idle before its first byte, and how long its client may take nothing of what is
    /// written.
    pub idle: Duration,
}

/// Builds the bytes of the response to an early fault, and records it.
pub type Refuse = Arc<dyn Fn(EarlyFault) -> Bytes + Send + Sync>;

/// A client's connection above TLS.
pub struct ClientStream<S> {
    inner: S,
    phase: Arc<Phase>,
    limits: HeaderLimits,
    lingering_limits: LingeringLimits,
    lingering: Option<Lingering>,
    refuse: Refuse,
    deadline: Deadline,
    armed_for: u8,
    received: usize,
    head: Head,
    /// What was read after the end of a body.
    kept_back: Bytes,
    /// Whether the gateway has answered on its own and takes no more of either side.
    refused: bool,
    framed: bool,
    /// What an HTTP/2 client does with its settings.
    settings: SettingsFrames,
    stall: Stall,
    /// Whether something was written and not yet flushed.
    unflushed: bool,
    gathered: Gathered,
    turn: Turn,
}

impl<S: IO> ClientStream<S> {
    /// Wraps a connection whose handshake is complete.
    pub fn new(
        inner: S,
        phase: Arc<Phase>,
        limits: HeaderLimits,
        lingering_limits: LingeringLimits,
        refuse: Refuse,
    ) -> Self {
        let framed = matches!(inner.selected_alpn_proto(), Some(ALPN::H2));
        let deadline = Deadline::after(if framed { limits.timeout } else { limits.idle });
        Self {
            inner,
            phase,
            limits,
            lingering_limits,
            lingering: None,
            refuse,
            deadline,
            armed_for: Phase::IDLE,
            received: 0,
            head: Head::default(),
            kept_back: Bytes::new(),
            refused: false,
            framed,
            settings: SettingsFrames::new(),
            stall: Stall::default(),
            unflushed: false,
            gathered: Gathered::default(),
            turn: Turn::new(),
        }
    }

    fn arm(&mut self, phase: u8, after: Duration) {
        self.armed_for = phase;
        self.deadline.set(after);
    }

    /// What is left to do while an exchange waits for its upstream, or for the rest of its body: to send what was
    /// written, which Pingora leaves in its buffers until a response with a length is complete, and to end the exchange
    /// when its time is over.
    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if let Err(error) = self.flush_some(cx) {
            return Poll::Ready(error);
        }
        self.poll_deadline(cx)
    }

    /// Sends as much of what was written as the client takes now.
    fn flush_some(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self.unflushed.then(|| self.poll_flush_all(cx)) {
            Some(Poll::Ready(flushed)) => flushed,
            Some(Poll::Pending) | None => Ok(()),
        }
    }

    /// Completes when the time of the exchange in progress is over.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        loop {
            let left = self.phase.left();
            if left.is_zero() {
                return Poll::Ready(Ended::Overdue.into());
            }
            self.arm(Phase::BUSY, left);
            ready!(self.deadline.poll(cx));
        }
    }

    /// Ends the connection if its client takes nothing of what is written for too long, or when the time of the exchange
    /// is over meanwhile.
    fn check_stall<T>(&mut self, cx: &mut Context<'_>, progress: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        let Self { stall, phase, limits, .. } = self;
        let checked = stall.check(cx, progress, || phase.idle_limit(limits.idle));
        let exchanges = !self.framed && self.phase.state.load(Ordering::Relaxed) == Phase::BUSY;
        if checked.is_pending()
            && exchanges
            && let Poll::Ready(error) = self.poll_deadline(cx)
        {
            return Poll::Ready(Err(error));
        }
        checked
    }

    /// Writes what was gathered.
    fn poll_write_gathered(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.gathered.left().is_empty() {
            let progress = Pin::new(&mut self.inner).poll_write(cx, self.gathered.left());
            let written = ready!(self.check_stall(cx, progress))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.gathered.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush_all(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_write_gathered(cx))?;
        let progress = Pin::new(&mut self.inner).poll_flush(cx);
        ready!(self.check_stall(cx, progress))?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }

    /// Publishes the state of the chunked framing before anyone can read the received bytes.
    fn note_chunks(&self) {
        self.phase.unchunked.store(self.head.breaks_chunks(), Ordering::Relaxed);
    }

    /// Reads what was kept back, and then from the connection.
    fn poll_read_inner(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.kept_back.is_empty() {
            return Pin::new(&mut self.inner).poll_read(cx, buffer);
        }
        let length = self.kept_back.len().min(buffer.remaining());
        buffer.put_slice(&self.kept_back.split_to(length));
        Poll::Ready(Ok(()))
    }

    /// Reads from an HTTP/2 connection: its preface has a deadline; after that, Pingora closes connections without
    /// streams.
    fn poll_read_framed(&mut self, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.phase.is_left_too_often() {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        let before = buffer.filled().len();
        let Self { turn, inner, .. } = &mut *self;
        let Poll::Ready(read) = turn.poll_read(cx, buffer, |cx, buffer| Pin::new(inner).poll_read(cx, buffer)) else {
            let waits = self.received < PREFACE && self.deadline.poll(cx).is_ready();
            return if waits { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { Poll::Pending };
        };
        read?;
        let bytes = buffer.filled().get(before..).unwrap_or_default();
        let preface = PREFACE.saturating_sub(self.received).min(bytes.len());
        self.received = self.received.saturating_add(preface);
        if self.settings.take(bytes.get(preface..).unwrap_or_default()) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Poll::Ready(Ok(()))
    }

    /// Waits for the first bytes of the next request on an HTTP/1 connection. Without any, the connection is over.
    pub async fn next_request(&mut self) -> bool {
        match poll_fn(|cx| self.poll_first_bytes(cx)).await {
            Ok(arrived) => arrived,
            Err(_) => {
                Shutdown::shutdown(self).await;
                false
            }
        }
    }

    /// Reads some bytes and keeps them for the next read; returns whether there are any.
    fn poll_first_bytes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        if !self.kept_back.is_empty() {
            return Poll::Ready(Ok(true));
        }
        self.begin_phase(self.phase.state.load(Ordering::Relaxed));
        let mut bytes = [const { MaybeUninit::uninit() }; FIRST];
        let mut buffer = ReadBuf::uninit(&mut bytes);
        let Poll::Ready(progress) = Pin::new(&mut self.inner).poll_read(cx, &mut buffer) else {
            self.flush_some(cx)?;
            return self.deadline.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()));
        };
        progress?;
        self.kept_back = Bytes::copy_from_slice(buffer.filled());
        Poll::Ready(Ok(!self.kept_back.is_empty()))
    }

    /// Forgets the last request when the next one is waited for.
    fn begin_phase(&mut self, phase: u8) {
        if phase != self.armed_for {
            self.received = 0;
            self.head = Head::default();
            self.arm(phase, self.limits.idle);
        }
    }

    /// Answers on its own, once.
    fn refuse(&mut self, fault: EarlyFault) {
        if !self.refused {
            self.refused = true;
            self.gathered.push(&(self.refuse)(fault));
        }
    }

    /// Closes the connection in stages; ready when nothing more is read.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let lingering = self.lingering.get_or_insert_with(|| Lingering::new(self.lingering_limits));
        lingering.poll(&mut self.inner, cx)
    }

    /// Sends the refusal from within a read and then fails the read, which closes the connection.
    fn poll_refuse_read(&mut self, cx: &mut Context<'_>, fault: EarlyFault) -> Poll<io::Result<()>> {
        self.refuse(fault);
        self.poll_refused(cx)
    }

    fn poll_refused(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush_all(cx))?;
        ready!(self.poll_linger(cx));
        Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
    }
}

impl<S: IO> AsyncRead for ClientStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = &mut *self;
        if me.framed {
            return me.poll_read_framed(cx, buffer);
        }
        if me.refused {
            return me.poll_refused(cx);
        }
        let phase = me.phase.state.load(Ordering::Relaxed);
        if phase == Phase::BUSY {
            if me.phase.is_answered() {
                return Poll::Ready(Err(Ended::Answered.into()));
            }
            let before = buffer.filled().len();
            let Poll::Ready(read) = me.poll_read_inner(cx, buffer) else {
                return me.poll_wait(cx).map(Err);
            };
            read?;
            let end = me.phase.body_end.load(Ordering::Relaxed);
            let after = me.head.take_body(&buffer.filled()[before..], end);
            if after > 0 {
                let (body, next) = buffer.filled().split_at(buffer.filled().len().saturating_sub(after));
                let end = body.len();
                me.kept_back = [next, &me.kept_back].concat().into();
                buffer.set_filled(end);
            }
            me.note_chunks();
            return Poll::Ready(Ok(()));
        }
        me.begin_phase(phase);
        // A client that never makes a read wait would not meet its deadline there.
        if phase == Phase::HEADER && me.deadline.is_over() {
            return me.poll_refuse_read(cx, EarlyFault::TimedOut);
        }
        let before = buffer.filled().len();
        let Poll::Ready(progress) = me.poll_read_inner(cx, buffer) else {
            me.flush_some(cx)?;
            ready!(me.deadline.poll(cx));
            return match phase {
                Phase::HEADER => me.poll_refuse_read(cx, EarlyFault::TimedOut),
                _ => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            };
        };
        progress?;
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
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buffer)])
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush_all(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = &mut *self;
        ready!(me.poll_write_gathered(cx))?;
        if me.phase.lingers.load(Ordering::Relaxed) || me.refused {
            ready!(me.poll_linger(cx));
        }
        let progress = Pin::new(&mut me.inner).poll_shutdown(cx);
        me.check_stall(cx, progress)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let me = &mut *self;
        // A response that is written while the header is still being read is Pingora's own, to what it could not parse.
        if !me.framed && me.phase.state.load(Ordering::Relaxed) == Phase::HEADER {
            let outline = me.head.outline();
            me.refuse(EarlyFault::Malformed(outline));
        }
        if me.refused {
            ready!(me.poll_flush_all(cx))?;
            return Poll::Ready(Ok(length_of(buffers)));
        }
        me.unflushed = true;
        if !me.framed {
            if let Some(length) = me.gathered.take(buffers) {
                return Poll::Ready(Ok(length));
            }
            ready!(me.poll_write_gathered(cx))?;
        }
        let progress = Pin::new(&mut me.inner).poll_write_vectored(cx, buffers);
        me.check_stall(cx, progress)
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
        // Sends what is left and the end of TLS, past `poll_shutdown`.
        let limit = self.phase.idle_limit(self.limits.idle);
        let closing = async {
            let _ = poll_fn(|cx| self.poll_write_gathered(cx)).await;
            Shutdown::shutdown(&mut self.inner).await;
        };
        let _ = tokio::time::timeout(limit, closing).await;
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

/// How much is read to see whether there is a request: as much as most of them have.
const FIRST: usize = 2 * 1024;
/// The length of the client's connection preface (RFC 9113 §3.4).
const PREFACE: usize = 24;
