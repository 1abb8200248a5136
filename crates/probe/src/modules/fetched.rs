//! A place on this machine with a key set, to see whether a target fetches what a token tells it to.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Whether somebody came; the place is open until this is asked.
pub(super) struct Fetched {
    asked: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    address: Option<std::net::SocketAddr>,
}

impl Fetched {
    /// Answers everyone with these keys.
    pub(super) fn serve(listener: TcpListener, keys: String) -> Self {
        let (asked, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let address = listener.local_addr().ok();
        let (noted, ended) = (Arc::clone(&asked), Arc::clone(&over));
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                if ended.load(Ordering::Acquire) {
                    break;
                }
                let Ok(mut socket) = socket else { break };
                noted.store(true, Ordering::Release);
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{keys}",
                    keys.len()
                );
                // Whoever came is found out already, whatever becomes of the answer.
                let _ = socket.set_read_timeout(Some(Duration::from_secs(1)));
                let _ = socket.read(&mut [0; 4096]);
                let _ = socket.write_all(answer.as_bytes());
            }
        });
        Self { asked, over, address }
    }

    /// Whether somebody came so far.
    pub(super) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// Whether somebody came. Closes the place.
    pub(super) fn asked(self) -> bool {
        let asked = self.is_asked();
        self.over.store(true, Ordering::Release);
        if let Some(address) = self.address {
            let _ = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1));
        }
        asked
    }
}
