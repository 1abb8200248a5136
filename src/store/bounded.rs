//! A stream on which a peer may not say more than it was asked.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that fails once more bytes have arrived than were sent, and an allowance beside.
///
/// The answers of a store are shorter than the questions. The client reads an answer of any size into memory, so a server that
/// lies about the size could fill it.
pub(super) struct Bounded<S> {
    stream: S,
    sent: u64,
    received: u64,
}

impl<S> Bounded<S> {
    pub(super) const fn new(stream: S) -> Self {
        Self { stream, sent: 0, received: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if matches!(read, Poll::Ready(Ok(()))) {
            let arrived = buffer.filled().len().saturating_sub(before);
            self.received = self.received.saturating_add(arrived as u64);
            if self.received > self.sent.saturating_add(ALLOWANCE) {
                // Whoever gets an error has read nothing.
                buffer.set_filled(before);
                return Poll::Ready(Err(io::Error::other("it says more than it was asked")));
            }
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        if let Poll::Ready(Ok(count)) = written {
            self.sent = self.sent.saturating_add(count as u64);
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_peer_says_as_much_as_it_was_asked_and_an_allowance() {
        const ASKED: usize = 1000;
        for (said, passes) in [(ALLOWANCE as usize + ASKED, true), (ALLOWANCE as usize + ASKED + 1, false)] {
            let (ours, mut theirs) = tokio::io::duplex(256 * 1024);
            let mut bounded = Bounded::new(ours);
            bounded.write_all(&[b'?'; ASKED]).await.unwrap();
            theirs.write_all(&vec![b'!'; said]).await.unwrap();
            drop(theirs);
            assert_eq!(bounded.read_to_end(&mut Vec::new()).await.is_ok(), passes, "{said}");
        }
    }
}
