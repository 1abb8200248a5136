//! Closing a connection in stages (RFC 9112 §9.6).

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// How much of what a client sends is read after the last response on its connection.
#[derive(Clone, Copy, Debug)]
pub struct LingeringLimits {
    /// How many bytes.
    pub bytes: u64,
    /// For how long.
    pub time: Duration,
}

/// A connection that is being closed in stages.
pub(super) struct Lingering {
    timer: Pin<Box<Sleep>>,
    left: u64,
    half_closed: bool,
}

impl Lingering {
    /// Begins; the time runs from now on.
    pub(super) fn new(limits: LingeringLimits) -> Self {
        Self { timer: Box::pin(tokio::time::sleep(limits.time)), left: limits.bytes, half_closed: false }
    }

    /// Closes the writing side, and reads until the client has closed its own or a limit is reached.
    ///
    /// RFC 9112 §9.6: "If a server performs an immediate close of a TCP connection, there is a significant risk that the
    /// client will not be able to read the last HTTP response." Nothing that is read here is taken for HTTP.
    pub(super) fn poll<S: AsyncRead + AsyncWrite + Unpin>(&mut self, stream: &mut S, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0; 4096];
        while self.left > 0 && self.timer.as_mut().poll(cx).is_pending() {
            if !self.half_closed {
                if ready!(Pin::new(&mut *stream).poll_shutdown(cx)).is_err() {
                    break;
                }
                self.half_closed = true;
            }
            let mut buffer = ReadBuf::new(&mut scratch);
            let read = ready!(Pin::new(&mut *stream).poll_read(cx, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                break;
            }
            self.left = self.left.saturating_sub(buffer.filled().len() as u64);
        }
        Poll::Ready(())
    }
}
