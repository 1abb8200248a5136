//! Ends a connection whose other end takes nothing of what is written.
//!
//! Pingora limits the time of a write only for bodies. A response without one, the frames of HTTP/2 and the end of TLS
//! would wait forever for a client that does not read.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Sleep;

use super::ended::Ended;

/// The time since which a connection has been waiting to write.
#[derive(Default)]
pub(super) struct Stall {
    /// Exists only while a write waits, which is rare.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    /// Passes on the result of a write, a flush or a shutdown; fails if none of them has made progress within
    /// `limit`.
    pub(super) fn check<T>(
        &mut self,
        cx: &mut Context<'_>,
        progress: Poll<io::Result<T>>,
        limit: impl FnOnce() -> Duration,
    ) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.timer = None;
            return progress;
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit())));
        timer.as_mut().poll(cx).map(|()| Err(Ended::Stalled.into()))
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn progress_starts_the_time_again() {
        let (limit, almost) = (Duration::from_secs(60), Duration::from_secs(59));
        let mut stall = Stall::default();
        let mut cx = Context::from_waker(Waker::noop());
        let mut wait = |progress| {
            let checked = stall.check(&mut cx, progress, || limit);
            checked.map(|result: io::Result<()>| result.map_err(|error| Ended::of(&error) == Some(Ended::Stalled)))
        };
        for _ in 0..3 {
            assert_eq!(wait(Poll::Pending), Poll::Pending);
            tokio::time::advance(almost).await;
            assert_eq!(wait(Poll::Pending), Poll::Pending);
            assert_eq!(wait(Poll::Ready(Ok(()))), Poll::Ready(Ok(())));
        }
        assert_eq!(wait(Poll::Pending), Poll::Pending);
        tokio::time::advance(limit).await;
        assert_eq!(wait(Poll::Pending), Poll::Ready(Err(true)));
        assert_eq!(wait(Poll::Ready(Err(io::ErrorKind::TimedOut.into()))), Poll::Ready(Err(false)), "control");
    }
}
