//! Limits on the resources that a peer may use; the defaults suit a payment API.

use std::time::Duration;

/// The section `limits` of gateway.yaml.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The largest header section, including the target, in bytes.
    pub header_bytes: usize,
    /// The largest number of fields in a header section.
    pub header_count: usize,
    /// The largest access token, in bytes.
    pub token_bytes: usize,
    /// The largest request body, in bytes.
    pub body_bytes: u64,
    /// How long a whole header section may take, from its first byte.
    pub header_timeout: Duration,
    /// How long a connection may be idle between requests, and how long a client may stop reading its response.
    pub idle_timeout: Duration,
    /// How long a whole request body may take, from the end of its header section.
    pub body_timeout: Duration,
    /// How long a body may take, from its first byte, regardless of its rate.
    pub body_grace: Duration,
    /// The lowest rate at which a client may send a body, in bytes per second.
    pub body_min_rate: u64,
    /// How long a whole exchange may take, from the end of the request's header section.
    pub exchange_timeout: Duration,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How many connections a listener holds at once.
    pub connections: usize,
}

impl Limits {
    /// Returns how long the first `bytes` bytes of a body may take, from the first one.
    pub fn patience(&self, bytes: u64) -> Duration {
        let owed = Duration::from_millis(bytes.saturating_mul(1000) / self.body_min_rate.max(1));
        self.body_grace.saturating_add(owed).min(self.body_timeout)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            header_bytes: 32 * 1024,
            header_count: 100,
            token_bytes: 16 * 1024,
            body_bytes: 10 * 1024 * 1024,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(60),
            body_grace: Duration::from_secs(10),
            body_min_rate: 1024,
            exchange_timeout: Duration::from_secs(60 * 60),
            handshake_timeout: Duration::from_secs(10),
            connections: 10_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_grows_with_what_has_come() {
        let limits = Limits::default();
        assert_eq!(limits.patience(0), Duration::from_secs(10));
        assert_eq!(limits.patience(1023), Duration::from_millis(10_999));
        assert_eq!(limits.patience(64 * 1024), limits.body_timeout);
        let edge = Limits { body_min_rate: 0, body_grace: Duration::MAX, body_timeout: Duration::MAX, ..limits };
        assert_eq!(edge.patience(u64::MAX), Duration::MAX);
    }
}
