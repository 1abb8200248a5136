//! Shares a thread among its HTTP/2 connections: one that sends many frames lets the others have their turn in between.
//!
//! What a connection has received is handled until there is no more, and a client that sends without a pause leaves no
//! end. A frame of a few bytes can cost as much as a request: each SETTINGS that changes the initial window is applied to every
//! stream. So the time of a turn is measured, not its bytes, and where a read of the usual size takes longer than a turn,
//! less is read at once.

use std::pin::pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::time::Instant;

use crate::clock::instant;

/// The turn of one connection.
pub(super) struct Turn {
    /// When it began; `None` between turns.
    began: Option<Instant>,
    /// When something was last read.
    read: Instant,
    /// How many bytes are read at once.
    most: usize,
}

impl Turn {
    pub(super) fn new() -> Self {
        Self { began: None, read: instant(), most: WHOLE }
    }

    /// Reads with `read`, which fills a buffer; pending without a read if it is the turn of others.
    pub(super) fn poll_read<E>(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
        read: impl FnOnce(&mut Context<'_>, &mut ReadBuf<'_>) -> Poll<Result<(), E>>,
    ) -> Poll<Result<(), E>> {
        ready!(self.poll_begin(cx));
        let progress = if self.most > PART {
            read(cx, buffer)
        } else {
            let mut bytes = [0; PART];
            let length = self.most.min(buffer.remaining());
            let mut part = ReadBuf::new(bytes.get_mut(..length).unwrap_or_default());
            let progress = read(cx, &mut part);
            buffer.put_slice(part.filled());
            progress
        };
        if progress.is_ready() {
            self.read = instant();
        } else {
            self.began = None;
        }
        progress
    }

    /// Begins a turn, or goes on with one that has time left. Ends it otherwise: the task is then woken after all others, and
    /// after new events of the thread's sockets.
    fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = instant();
        let Some(began) = self.began else {
            self.began = Some(now);
            return Poll::Ready(());
        };
        let handling = now.saturating_duration_since(self.read);
        if handling > TURN {
            self.most = (self.most / 2).clamp(LEAST, PART);
        } else if handling < TURN / 4 {
            self.most = if self.most < PART { self.most.saturating_mul(2) } else { WHOLE };
        }
        if now.saturating_duration_since(began) < TURN {
            return Poll::Ready(());
        }
        self.began = None;
        pin!(tokio::task::yield_now()).poll(cx)
    }
}

/// How long a turn takes, unless what was read last takes longer.
const TURN: Duration = Duration::from_millis(1);
/// As much as the reader wants.
const WHOLE: usize = usize::MAX;
/// The most bytes that are read at once after a read that took longer than a turn, and the fewest.
const PART: usize = 2 * 1024;
const LEAST: usize = 128;

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::convert::Infallible;
    use std::future::poll_fn;
    use std::rc::Rc;

    use super::*;

    /// Reads from a client that always has more, each read of which takes `cost` for each byte; returns how many bytes were
    /// read at once.
    async fn read(turn: &mut Turn, cost: Duration) -> usize {
        let mut bytes = [0; 8 * 1024];
        let mut buffer = ReadBuf::new(&mut bytes);
        let endless = |_: &mut Context<'_>, buffer: &mut ReadBuf<'_>| {
            buffer.initialize_unfilled();
            buffer.set_filled(buffer.capacity());
            Poll::Ready(Ok::<_, Infallible>(()))
        };
        poll_fn(|cx| turn.poll_read(cx, &mut buffer, endless)).await.unwrap();
        let count = buffer.filled().len();
        tokio::time::advance(cost * u32::try_from(count).unwrap()).await;
        count
    }

    #[tokio::test(start_paused = true)]
    async fn what_costs_little_is_read_as_a_whole() {
        let mut turn = Turn::new();
        for _ in 0..100 {
            assert_eq!(read(&mut turn, Duration::from_nanos(10)).await, 8 * 1024);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_costs_much_is_read_in_parts_until_it_costs_less() {
        let mut turn = Turn::new();
        let mut parts = Vec::new();
        for _ in 0..6 {
            parts.push(read(&mut turn, Duration::from_micros(10)).await);
        }
        assert_eq!(parts, [8 * 1024, 2 * 1024, 1024, 512, 256, 128]);
        assert_eq!(read(&mut turn, Duration::from_micros(10)).await, 128);
        let mut last = 0;
        for _ in 0..6 {
            last = read(&mut turn, Duration::ZERO).await;
        }
        assert_eq!(last, 8 * 1024);
    }

    #[tokio::test(start_paused = true)]
    async fn others_go_on_while_one_always_has_more() {
        for (cost, goes_on) in [(Duration::from_nanos(200), true), (Duration::ZERO, false)] {
            let others = Rc::new(Cell::new(0));
            let count = others.clone();
            let local = tokio::task::LocalSet::new();
            let reading = local.run_until(async move {
                tokio::task::spawn_local(async move {
                    loop {
                        count.set(count.get() + 1);
                        tokio::task::yield_now().await;
                    }
                });
                tokio::task::yield_now().await;
                let before = others.get();
                let mut turn = Turn::new();
                let mut bytes = [0; 8 * 1024];
                // One poll of a task that reads as long as there is something.
                for _ in 0..100 {
                    let mut buffer = ReadBuf::new(&mut bytes);
                    let read = |_: &mut Context<'_>, buffer: &mut ReadBuf<'_>| {
                        buffer.put_slice(&[0; 1000]);
                        Poll::Ready(Ok::<_, Infallible>(()))
                    };
                    poll_fn(|cx| turn.poll_read(cx, &mut buffer, read)).await.unwrap();
                    // The clock stands still unless it is moved; moving it is not a pause.
                    turn.began = turn.began.and_then(|began| began.checked_sub(cost * 1000));
                }
                others.get() - before
            });
            assert_eq!(reading.await > 0, goes_on, "{cost:?}");
        }
    }
}
