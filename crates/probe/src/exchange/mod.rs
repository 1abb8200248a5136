//! Sends one request and reads its answer, byte by byte as it is written.
//!
//! A library would mend what a module spoils on purpose, such as a field that stands there twice.

pub mod challenge;
pub mod door;
pub mod http1;
pub mod http2;
mod response;

use std::io;

pub use response::Response;

/// One field line as it is sent.
pub type Field = (String, String);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// No TCP connection could be made.
    #[error("cannot connect: {0}")]
    Connect(io::Error),
    /// The handshake failed, or an alert came in the place of the answer; TLS 1.3 servers refuse client certificates that way.
    #[error("TLS: {0}")]
    Tls(String),
    /// The connection was closed or reset before an answer.
    #[error("the connection was closed without an answer")]
    Closed,
    /// It took longer than is allowed.
    #[error("no answer in time")]
    TimedOut,
    /// What came is not HTTP, or larger than is read.
    #[error("the answer cannot be read: {0}")]
    Malformed(String),
}

impl NoAnswer {
    /// Whether the server refused on purpose, as far as one can see: it ended the handshake or the connection.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Tls(_) | Self::Closed)
    }

    /// Reads an error of a TLS stream.
    pub(crate) fn of(error: io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match (tls, error.kind()) {
            (Some(tls), _) => Self::Tls(tls.to_string()),
            (None, io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => Self::TimedOut,
            (None, _) => Self::Closed,
        }
    }
}
