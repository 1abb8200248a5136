//! What the proxy tells the stream below it about the exchange in progress.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::clock::{Moment, millis};

/// The phase of a connection; the phases of the proxy update it.
#[derive(Debug)]
pub struct Phase {
    /// For HTTP/1: what is expected next.
    pub(super) state: AtomicU8,
    /// For HTTP/1: whether the received part of the body breaks chunked framing.
    pub(super) unchunked: AtomicBool,
    /// For HTTP/1: where the body ends that is read on after the response.
    pub(super) body_end: AtomicU64,
    /// For HTTP/1: whether the connection is closed in stages, because the client may still be sending.
    pub(super) lingers: AtomicBool,
    /// For HTTP/1: when the exchange in progress must have ended, in milliseconds since `began`.
    deadline: AtomicU64,
    began: Moment,
    /// For HTTP/1: whether the response is complete although the body of its request is not.
    answered: AtomicBool,
    /// How long the client may take nothing of what is written, in milliseconds, where that is longer than for all
    /// connections.
    idle: AtomicU64,
    /// For HTTP/2: how many more exchanges the client has abandoned than completed.
    abandoned: AtomicU32,
}

/// Where the body of a request ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyEnd {
    /// After this many bytes.
    Length(u64),
    /// Where its chunks say.
    Chunks,
}

impl Default for Phase {
    fn default() -> Self {
        Self {
            state: AtomicU8::new(Self::IDLE),
            unchunked: AtomicBool::new(false),
            body_end: AtomicU64::new(Self::NOT_READ_ON),
            lingers: AtomicBool::new(false),
            deadline: AtomicU64::new(0),
            began: Moment::now(),
            answered: AtomicBool::new(false),
            idle: AtomicU64::new(0),
            abandoned: AtomicU32::new(0),
        }
    }
}

impl Phase {
    /// In `body_end`: no body is read on.
    pub(super) const NOT_READ_ON: u64 = u64::MAX;
    /// In `body_end`: the chunks say where.
    pub(super) const AT_CHUNKS_END: u64 = u64::MAX - 1;
    pub(super) const IDLE: u8 = 0;
    pub(super) const HEADER: u8 = 1;
    pub(super) const BUSY: u8 = 2;

    /// Records that a whole header section was read; the exchange may take this long from now on.
    pub fn busy(&self, limit: Duration) {
        self.limit(limit);
        self.state.store(Self::BUSY, Ordering::Relaxed);
    }

    /// Sets how long the exchange may take from now on.
    pub fn limit(&self, limit: Duration) {
        let deadline = self.began.elapsed().saturating_add(limit);
        self.deadline.store(millis(deadline), Ordering::Relaxed);
    }

    /// How long the exchange in progress may still take.
    pub(super) fn left(&self) -> Duration {
        Duration::from_millis(self.deadline.load(Ordering::Relaxed)).saturating_sub(self.began.elapsed())
    }

    /// Sets how long the client may take nothing of what is written, if that is longer than for all connections. The
    /// exchanges of a connection share the longest time, since what waits to be written may be of several.
    pub fn extend_idle(&self, idle: Duration) {
        self.idle.fetch_max(millis(idle), Ordering::Relaxed);
    }

    /// How long the client may take nothing of what is written, if it is at least `least`.
    pub(super) fn idle_limit(&self, least: Duration) -> Duration {
        least.max(Duration::from_millis(self.idle.load(Ordering::Relaxed)))
    }

    /// Records that the exchange is over and the next request may arrive.
    pub fn idle(&self) {
        self.body_end.store(Self::NOT_READ_ON, Ordering::Relaxed);
        self.answered.store(false, Ordering::Relaxed);
        self.state.store(Self::IDLE, Ordering::Relaxed);
    }

    /// Records that an upstream's response is complete, and that the rest of the request's body is of no use.
    pub fn answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// Records that the rest of a body is read after its response. A client that has the response may send its next request
    /// right after the body; those bytes are kept back for it.
    pub fn read_on(&self, end: BodyEnd) {
        let end = match end {
            BodyEnd::Length(length) => length.min(Self::AT_CHUNKS_END - 1),
            BodyEnd::Chunks => Self::AT_CHUNKS_END,
        };
        self.body_end.store(end, Ordering::Relaxed);
    }

    /// Records that the connection is about to be closed while the client may still be sending.
    pub fn linger(&self) {
        self.lingers.store(true, Ordering::Relaxed);
    }

    /// Whether the received part of an HTTP/1 request's body breaks chunked framing; meaningless for other bodies.
    pub fn breaks_chunks(&self) -> bool {
        self.unchunked.load(Ordering::Relaxed)
    }

    /// Records that the client reset an HTTP/2 stream while its exchange was in progress (`left`), or let it complete.
    ///
    /// A stream that is reset makes room for the next one immediately, so the limit on open streams bounds nothing
    /// (CVE-2023-44487); the HTTP/2 layer counts only streams that were not yet being served. Here, a connection whose
    /// exchanges are abandoned too often is closed.
    pub fn stream_ended(&self, left: bool) {
        let _ = self.abandoned.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            Some(if left { count.saturating_add(1) } else { count.saturating_sub(1) })
        });
    }

    pub(super) fn is_left_too_often(&self) -> bool {
        self.abandoned.load(Ordering::Relaxed) > MAX_LEFT
    }
}

/// How many more exchanges an HTTP/2 client may abandon than complete: as many as the streams that may be open at once.
const MAX_LEFT: u32 = 100;
