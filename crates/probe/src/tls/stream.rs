//! A connection with one deadline for everything that is done with it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A TCP connection whose reads and writes fail with [`ErrorKind::TimedOut`] or [`ErrorKind::WouldBlock`] after the deadline.
///
/// The timeouts of a socket count from the last byte, so that a peer that sends one byte at a time keeps its reader forever; the
/// deadline counts from the start.
#[derive(Debug)]
pub(super) struct Stream {
    socket: TcpStream,
    deadline: Instant,
}

impl Stream {
    /// Connects, and sets the deadline to `timeout` from now.
    pub(super) fn connect(address: SocketAddr, timeout: Duration) -> io::Result<Self> {
        let deadline = after(timeout);
        // A zero duration is an error of its own.
        let socket = TcpStream::connect_timeout(&address, timeout.max(Duration::from_millis(1)))?;
        // Every write is a segment of its own, as long as the peer's window is open.
        socket.set_nodelay(true)?;
        Ok(Self { socket, deadline })
    }

    /// Sets the deadline to `timeout` from now.
    pub(super) fn extend(&mut self, timeout: Duration) {
        self.deadline = after(timeout);
    }

    fn remaining(&self) -> io::Result<Duration> {
        let remaining = self.deadline.saturating_duration_since(now());
        if remaining.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(remaining) }
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(self.remaining()?))?;
        self.socket.read(buffer)
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(self.remaining()?))?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

fn after(timeout: Duration) -> Instant {
    now() + timeout.min(LONGEST)
}

/// Far more than anybody waits for an answer, and little enough to be added to any instant.
const LONGEST: Duration = Duration::from_secs(60 * 60);

#[expect(
    clippy::disallowed_methods,
    reason = "the deadline of a blocking call is a duration; no verdict depends on it"
)]
fn now() -> Instant {
    Instant::now()
}
