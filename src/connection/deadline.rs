//! A deadline that is set often and seldom reached: setting it costs no timer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::clock::instant;

/// A deadline. Its timer is left as it is while it fires early enough, and set again when it is waited for.
pub(super) struct Deadline {
    at: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Deadline {
    /// A deadline at this time from now.
    pub(super) fn after(time: Duration) -> Self {
        let timer = Box::pin(tokio::time::sleep(time));
        Self { at: timer.deadline(), timer }
    }

    /// Moves it to this time from now.
    pub(super) fn set(&mut self, time: Duration) {
        let now = instant();
        self.at = now.checked_add(time).unwrap_or_else(|| self.at.max(now));
    }

    /// Whether it has passed.
    pub(super) fn is_over(&self) -> bool {
        instant() >= self.at
    }

    /// Completes when it has passed.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if self.timer.deadline() > self.at {
                self.timer.as_mut().reset(self.at);
            }
            ready!(self.timer.as_mut().poll(cx));
            if self.timer.deadline() >= self.at {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.at);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn it_is_reached_when_it_was_set_for_last_and_not_before() {
        for (first, then) in [(10, 60), (60, 10), (10, 10)] {
            let mut deadline = Deadline::after(SECOND * first);
            assert!(poll_fn(|cx| Poll::Ready(deadline.poll(cx))).await.is_pending());
            deadline.set(SECOND * then);
            let began = instant();
            assert!(!deadline.is_over());
            poll_fn(|cx| deadline.poll(cx)).await;
            let took = began.elapsed();
            assert!(
                took >= SECOND * then && took < SECOND * then + Duration::from_millis(10),
                "{first}, {then}: {took:?}"
            );
            assert!(deadline.is_over());
            deadline.set(SECOND);
            assert!(poll_fn(|cx| Poll::Ready(deadline.poll(cx))).await.is_pending(), "it can be used again");
        }
    }
}
