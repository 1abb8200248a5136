//! A stream on which a peer may not say more than it was asked.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that fails once more bytes have arrived than it has credit for: as many as were sent, as many as [`Expected`] adds,
/// and an allowance at the beginning.
///
/// The client reads an answer of any size into memory, so a server that lies about the size could fill it. Credit that is not
/// used up is kept, but never more than [`MOST`].
pub(super) struct Bounded<S> {
    stream: S,
    credit: u64,
    expected: Expected,
}

/// Announces answers that are longer than their questions, and knows whether one was longer than that.
#[derive(Clone, Default)]
pub(super) struct Expected(Arc<Answers>);

#[derive(Default)]
struct Answers {
    announced: AtomicU64,
    exceeded: AtomicBool,
}

impl Expected {
    /// Announces an answer of at most this size, before its question is sent.
    pub(super) fn add(&self, bytes: u64) {
        self.0.announced.fetch_add(bytes, Ordering::AcqRel);
    }

    fn take(&self) -> u64 {
        self.0.announced.swap(0, Ordering::AcqRel)
    }

    /// Whether the stream has failed since more arrived than was announced.
    pub(super) fn is_exceeded(&self) -> bool {
        self.0.exceeded.load(Ordering::Acquire)
    }
}

impl<S> Bounded<S> {
    pub(super) const fn new(stream: S, expected: Expected) -> Self {
        Self { stream, credit: ALLOWANCE, expected }
    }

    fn add(&mut self, bytes: u64) {
        self.credit = self.credit.saturating_add(bytes).min(MOST);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if matches!(read, Poll::Ready(Ok(()))) {
            let expected = self.expected.take();
            self.add(expected);
            let arrived = buffer.filled().len().saturating_sub(before);
            let Some(left) = self.credit.checked_sub(arrived as u64) else {
                // Whoever gets an error has read nothing.
                buffer.set_filled(before);
                self.expected.0.exceeded.store(true, Ordering::Release);
                return Poll::Ready(Err(io::Error::other("it says more than it was asked")));
            };
            self.credit = left;
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = written {
            self.add(count as u64);
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// For what a server says of itself when the connection begins: its INFO is some 8 KiB.
const ALLOWANCE: u64 = 64 * 1024;
/// More than the answers that are waited for at a time: those to 100,000 questions of a few bytes each, or one of a few pages.
const MOST: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;

    const ASKED: usize = 1000;

    fn pair() -> (Bounded<DuplexStream>, DuplexStream, Expected) {
        let (ours, theirs) = tokio::io::duplex(4 * 1024 * 1024);
        let expected = Expected::default();
        (Bounded::new(ours, expected.clone()), theirs, expected)
    }

    /// Whether a peer may say so many bytes.
    async fn passes(mut bounded: Bounded<DuplexStream>, mut theirs: DuplexStream, said: usize) -> bool {
        theirs.write_all(&vec![b'!'; said]).await.unwrap();
        drop(theirs);
        bounded.read_to_end(&mut Vec::new()).await.is_ok()
    }

    #[tokio::test]
    async fn a_peer_says_as_much_as_it_was_asked_and_an_allowance() {
        for (more, passes_) in [(0, true), (1, false)] {
            let (mut bounded, theirs, _) = pair();
            bounded.write_all(&[b'?'; ASKED]).await.unwrap();
            assert_eq!(passes(bounded, theirs, ALLOWANCE as usize + ASKED + more).await, passes_, "{more}");
        }
    }

    #[tokio::test]
    async fn a_long_answer_passes_if_it_was_expected() {
        for (said, passes_) in [(300_000, true), (300_001, false)] {
            let (bounded, theirs, expected) = pair();
            expected.add(300_000 - ALLOWANCE);
            assert_eq!(passes(bounded, theirs, said).await, passes_, "{said}");
        }
    }

    #[tokio::test]
    async fn what_is_not_said_for_long_is_no_credit_for_ever() {
        for (said, passes_) in [(MOST as usize, true), (MOST as usize + 1, false)] {
            let (mut bounded, theirs, expected) = pair();
            for _ in 0..3 {
                bounded.write_all(&vec![b'?'; MOST as usize]).await.unwrap();
                expected.add(MOST);
            }
            assert_eq!(passes(bounded, theirs, said).await, passes_, "{said}");
        }
    }
}
