//! The stages of a shutdown, and how long they may take.
//!
//! Load balancers notice late that a server is shutting down, and clients that keep connections open notice it only on
//! the connection itself. So there are stages, and each one lets the previous one take effect.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// The section `drain` of gateway.yaml.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long connections are still accepted after the gateway has announced that it is shutting down.
    pub delay: Duration,
    /// How long requests in progress may take after that.
    pub timeout: Duration,
}

/// How far the shutdown of a gateway has progressed; it cannot be undone.
#[derive(Debug, Default)]
pub struct Drain(AtomicU8);

impl Drain {
    const BEGUN: u8 = 1;
    const DISMISSING: u8 = 2;

    /// Starts the shutdown: the gateway reports that it wants no new traffic, but still serves everything that arrives.
    pub fn begin(&self) {
        self.0.fetch_max(Self::BEGUN, Ordering::AcqRel);
    }

    /// Whether the shutdown has started.
    pub fn began(&self) -> bool {
        self.0.load(Ordering::Acquire) >= Self::BEGUN
    }

    /// Makes every HTTP/1.1 response from now on the last one on its connection.
    ///
    /// A client that is told to close the connection loses nothing; a client whose idle connection is closed may have
    /// just sent a request (RFC 9112 §9.5, §9.6).
    pub fn dismiss(&self) {
        self.0.fetch_max(Self::DISMISSING, Ordering::AcqRel);
    }

    /// Whether a response is the last one on its connection.
    pub fn dismisses(&self) -> bool {
        self.0.load(Ordering::Acquire) >= Self::DISMISSING
    }
}
