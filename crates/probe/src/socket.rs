//! A connection with one deadline for everything that is done with it.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::clock::instant;

/// A TCP connection whose reads and writes fail with [`ErrorKind::TimedOut`] or [`ErrorKind::WouldBlock`] after the deadline.
///
/// The timeouts of a socket count from the last byte, so that a peer that sends one byte at a time keeps its reader forever; the
/// deadline counts from the start.
#[derive(Debug)]
pub struct Socket {
    socket: TcpStream,
    deadline: Instant,
}

impl Socket {
    /// Connects, and sets the deadline to `timeout` from now.
    ///
    /// # Errors
    /// Those of the system.
    pub fn connect(address: SocketAddr, timeout: Duration) -> io::Result<Self> {
        let deadline = after(timeout);
        // A zero duration is an error of its own.
        let socket = TcpStream::connect_timeout(&address, timeout.max(Duration::from_millis(1)))?;
        // Every write is a segment of its own, as long as the peer's window is open.
        socket.set_nodelay(true)?;
        Ok(Self { socket, deadline })
    }

    /// Sets the deadline to `timeout` from now.
    pub fn extend(&mut self, timeout: Duration) {
        self.deadline = after(timeout);
    }

    fn remaining(&self) -> io::Result<Duration> {
        let remaining = self.deadline.saturating_duration_since(instant());
        if remaining.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(remaining) }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(Some(self.remaining()?))?;
        self.socket.read(buffer)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(Some(self.remaining()?))?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

fn after(timeout: Duration) -> Instant {
    instant() + timeout.min(LONGEST)
}

/// Far more than anybody waits for an answer, and little enough to be added to any instant.
const LONGEST: Duration = Duration::from_secs(60 * 60);

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_peer_that_sends_one_byte_at_a_time_gains_no_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut peer, _) = listener.accept().unwrap();
            while peer.write_all(b"a").is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let mut socket = Socket::connect(address, Duration::from_millis(200)).unwrap();
        let mut read = 0;
        let error = loop {
            match socket.read(&mut [0; 1]) {
                Ok(count) => read += count,
                Err(error) => break error,
            }
        };
        assert!(read > 0, "control");
        assert!(matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock), "{error}");
    }
}
