//! Why the connection of a client ended an exchange, in the errors of its reads and writes.

use std::io;

/// Why the stream of a connection ended the exchange on it. A read can say any of these, since it flushes what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The client took nothing of what was written for too long.
    #[error("the client reads nothing of what is written")]
    Stalled,
    /// The exchange has taken as long as it may.
    #[error("the time of the exchange is over")]
    Overdue,
    /// The response is complete; the rest of the request is not read as part of it.
    #[error("the response is complete")]
    Answered,
}

impl Ended {
    /// What an error says; `None` for one of the system or of TLS.
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }
}

impl From<Ended> for io::Error {
    fn from(ended: Ended) -> Self {
        let kind = match ended {
            Ended::Stalled | Ended::Overdue => io::ErrorKind::TimedOut,
            Ended::Answered => io::ErrorKind::Other,
        };
        Self::new(kind, ended)
    }
}
