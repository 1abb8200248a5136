//! The way out: how far a gateway has gone on it, and how long it may take.
//!
//! Balancers learn late that a server leaves, and clients that keep connections learn it from the connection alone. So there
//! are stages, and each lets the one before take effect.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// The section `drain` of gateway.yaml.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long connections are accepted after it was said that no more are wanted.
    pub delay: Duration,
    /// How long requests under way may take after that.
    pub timeout: Duration,
}

/// How far a gateway has gone; there is no way back.
#[derive(Debug, Default)]
pub struct Drain(AtomicU8);

impl Drain {
    const BEGUN: u8 = 1;
    const DISMISSING: u8 = 2;

    /// It wants no new traffic, and says so to whoever asks; everything that comes is served.
    pub fn begin(&self) {
        self.0.fetch_max(Self::BEGUN, Ordering::AcqRel);
    }

    /// Whether that has begun.
    pub fn began(&self) -> bool {
        self.0.load(Ordering::Acquire) >= Self::BEGUN
    }

    /// From now on each answer is the last of its connection, where HTTP/1.1 is spoken: a client that is told so loses
    /// nothing, one whose idle connection is closed may just have sent a request (RFC 9112 §9.5, §9.6).
    pub fn dismiss(&self) {
        self.0.fetch_max(Self::DISMISSING, Ordering::AcqRel);
    }

    /// Whether an answer is the last of its connection.
    pub fn dismisses(&self) -> bool {
        self.0.load(Ordering::Acquire) >= Self::DISMISSING
    }
}
