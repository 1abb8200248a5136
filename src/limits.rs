//! Bounds on what a peer may cost us; every one has a default that suits a payment API.

use std::time::Duration;

/// The section `limits` of gateway.yaml.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest header section, target included, in bytes.
    pub header_bytes: usize,
    /// Most fields in a header section.
    pub header_count: usize,
    /// Largest request body, in bytes.
    pub body_bytes: u64,
    /// How long a whole header section may take, from its first byte.
    pub header_timeout: Duration,
    /// How long a connection may lie idle between requests.
    pub idle_timeout: Duration,
    /// How long a whole request body may take, from the end of its header section.
    pub body_timeout: Duration,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How many connections a listener holds at a time.
    pub connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 32 * 1024,
            header_count: 100,
            body_bytes: 10 * 1024 * 1024,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(60),
            handshake_timeout: Duration::from_secs(10),
            connections: 10_000,
        }
    }
}
