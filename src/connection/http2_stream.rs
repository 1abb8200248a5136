//! One HTTP/2 stream: it ends a while after its response, even if its client never ends the request, and when the time of
//! its exchange is over, even if nothing happens on it.
//!
//! Pingora would go on reading the body for as long as the connection lives, and would look at the time with the next event
//! only.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::clock::{instant, millis};

/// The exchange on an HTTP/2 stream.
#[derive(Debug)]
pub struct Http2Stream {
    began: Instant,
    /// When it is given up, in milliseconds since it began.
    end: AtomicU64,
    answered: AtomicBool,
    patience: Duration,
}

tokio::task_local! {
    static CURRENT: Arc<Http2Stream>;
}

impl Http2Stream {
    fn new(patience: Duration) -> Self {
        Self { began: instant(), end: AtomicU64::new(NEVER), answered: AtomicBool::new(false), patience }
    }

    /// The stream that the current task serves; `None` outside of [`serve`].
    pub fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Clone::clone).ok()
    }

    /// Gives the exchange this much more time, and a moment to end by itself after that.
    pub fn limit(&self, time: Duration) {
        self.end_after(time.saturating_add(GRACE));
    }

    /// Records that the response is complete.
    pub fn answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
        self.end_after(self.patience);
    }

    /// Whether the response is complete.
    pub fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    /// Whether the time of the exchange is over, and its response not complete.
    pub fn is_overdue(&self) -> bool {
        !self.is_answered() && self.end().is_some_and(|end| end <= instant())
    }

    fn end_after(&self, time: Duration) {
        // Beyond what can be counted is never, too.
        self.end.store(millis(self.began.elapsed().saturating_add(time)), Ordering::Relaxed);
    }

    fn end(&self) -> Option<Instant> {
        let end = self.end.load(Ordering::Relaxed);
        if end == NEVER { None } else { self.began.checked_add(Duration::from_millis(end)) }
    }
}

/// Serves a stream until its time is over, or for at most `patience` after its response is complete; returns `None` if that
/// was not enough.
///
/// What is dropped then resets the stream. RFC 9113 §8.1: a server that has sent a complete response "MAY request that the
/// client abort transmission of a request without error by sending a RST_STREAM with an error code of NO_ERROR".
pub async fn serve<F: Future>(exchange: F, patience: Duration) -> Option<F::Output> {
    let stream = Arc::new(Http2Stream::new(patience));
    let mut timer = pin!(sleep_until(stream.began));
    // Nobody but the exchange moves its end, so this need not be woken when that happens: it is polled after it each time.
    let given_up = poll_fn(|cx| {
        let Some(end) = stream.end() else { return Poll::Pending };
        if timer.deadline() != end {
            timer.as_mut().reset(end);
        }
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(())
    });
    tokio::select! {
        biased;
        outcome = CURRENT.scope(stream.clone(), exchange) => Some(outcome),
        () = given_up => None,
    }
}

/// How long an exchange whose time is over may take to say so.
const GRACE: Duration = Duration::from_secs(1);
/// In place of the end of an exchange that has none yet.
const NEVER: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    async fn run(answered: bool, limit: Option<u64>, takes: u64) -> Option<bool> {
        let exchange = async move {
            let stream = Http2Stream::current().unwrap();
            if let Some(seconds) = limit {
                stream.limit(Duration::from_secs(seconds));
            }
            if answered {
                stream.answered();
            }
            tokio::time::sleep(Duration::from_secs(takes)).await;
            stream.is_overdue()
        };
        serve(exchange, PATIENCE).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_a_while_after_its_response() {
        assert_eq!(run(true, None, 6).await, None);
        assert_eq!(run(true, None, 4).await, Some(false), "control: in time");
        assert_eq!(run(false, None, 600).await, Some(false), "control: not answered yet");
        assert!(Http2Stream::current().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_when_its_time_is_over() {
        assert_eq!(run(false, Some(60), 62).await, None);
        assert_eq!(run(false, Some(60), 60).await, Some(false), "control: there is a moment left to answer");
        assert_eq!(run(true, Some(60), 4).await, Some(false), "control: answered");
        assert_eq!(run(true, Some(60), 6).await, None, "what comes after the response has its own limit");
    }

    /// What is dropped because its time is over can see that it is.
    #[tokio::test(start_paused = true)]
    async fn an_exchange_that_is_dropped_knows_why() {
        struct Tells(Arc<AtomicBool>);
        impl Drop for Tells {
            fn drop(&mut self) {
                self.0.store(Http2Stream::current().is_some_and(|stream| stream.is_overdue()), Ordering::Relaxed);
            }
        }
        for (answered, overdue) in [(false, true), (true, false)] {
            let told = Arc::new(AtomicBool::new(!overdue));
            let tells = Tells(told.clone());
            let exchange = async move {
                let _tells = tells;
                let stream = Http2Stream::current().unwrap();
                stream.limit(PATIENCE);
                if answered {
                    stream.answered();
                }
                std::future::pending::<()>().await;
            };
            assert_eq!(serve(exchange, PATIENCE).await, None);
            assert_eq!(told.load(Ordering::Relaxed), overdue, "{answered}");
        }
    }
}
