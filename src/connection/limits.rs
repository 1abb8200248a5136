//! Limits on the resources that a peer may use; the defaults suit a payment API.

use std::time::Duration;

use fapi::route;

use super::shares;

/// The section `limits` of gateway.yaml.
#[derive(Clone, Debug)]
pub struct Limits {
    /// The largest header section, including the method and the target, in bytes.
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
    /// How much is read of a body after its request was answered, in bytes.
    pub unread_body_bytes: u64,
    /// How long that may take.
    pub unread_body_timeout: Duration,
    /// How long a whole exchange may take, from the end of the request's header section.
    pub exchange_timeout: Duration,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How many connections a listener holds at once.
    pub connections: usize,
    /// How many of them may be in their handshake.
    pub handshakes: usize,
    /// How many of both one client address may have.
    pub per_address: PerAddress,
    /// How many exchanges may be in progress on all listeners.
    pub exchanges: usize,
    /// How many of them may be of one client.
    pub exchanges_per_client: usize,
    /// How many streams an HTTP/2 connection may have open.
    pub streams: u32,
    /// How old a connection may become before its client is asked to open another.
    pub connection_max_age: Duration,
    /// How many requests a connection may carry before that.
    pub connection_max_requests: u32,
    /// How many connections to upstreams a listener keeps while they are not used.
    pub idle_upstream_connections: usize,
}

/// How much of a listener one client address may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerAddress {
    /// How many connections, including those in their handshake.
    pub connections: usize,
    /// How many connections that are in their handshake.
    pub handshakes: usize,
}

impl Limits {
    /// The limits of an exchange before its route is known.
    pub const fn exchange(&self) -> ExchangeLimits {
        ExchangeLimits {
            body_bytes: self.body_bytes,
            body_timeout: self.body_timeout,
            body_grace: self.body_grace,
            body_min_rate: self.body_min_rate,
            body_pause: self.body_timeout,
            response_timeout: None,
            exchange_timeout: self.exchange_timeout,
            idle_timeout: self.idle_timeout,
        }
    }
}

/// The limits of one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExchangeLimits {
    /// The largest request body, in bytes.
    pub body_bytes: u64,
    /// How long a whole request body may take, from the end of its header section.
    pub body_timeout: Duration,
    /// How long a body may take, from its first byte, regardless of its rate.
    body_grace: Duration,
    /// The lowest rate at which a client may send a body, in bytes per second.
    body_min_rate: u64,
    /// How long a client may send nothing of a body.
    pub body_pause: Duration,
    /// How long the upstream may send nothing, if it is not as long as for the other routes of that upstream.
    pub response_timeout: Option<Duration>,
    /// How long the whole exchange may take, from the end of the request's header section.
    pub exchange_timeout: Duration,
    /// How long a client may read nothing of its response.
    pub idle_timeout: Duration,
}

impl ExchangeLimits {
    /// The limits on a route. Where the route says how long a body may take, its rate does not matter.
    #[must_use]
    pub fn on(self, route: &route::Limits) -> Self {
        let body_timeout = route.body_timeout.unwrap_or(self.body_timeout);
        Self {
            body_bytes: route.body_bytes.unwrap_or(self.body_bytes),
            body_timeout,
            body_grace: route.body_timeout.unwrap_or(self.body_grace),
            body_min_rate: self.body_min_rate,
            body_pause: route.idle_timeout.unwrap_or(body_timeout),
            response_timeout: route.response_timeout,
            exchange_timeout: route.exchange_timeout.unwrap_or(self.exchange_timeout),
            idle_timeout: route.idle_timeout.unwrap_or(self.idle_timeout),
        }
    }

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
            unread_body_bytes: 16 * 1024 * 1024,
            unread_body_timeout: Duration::from_secs(5),
            exchange_timeout: Duration::from_secs(60 * 60),
            handshake_timeout: Duration::from_secs(10),
            connections: 10_000,
            exchanges: 4000,
            exchanges_per_client: shares::usual(4000),
            streams: 100,
            connection_max_age: Duration::from_secs(60 * 60),
            connection_max_requests: 100_000,
            idle_upstream_connections: 10_000,
            handshakes: 5_000,
            // As many as there are in all: behind a NAT or a balancer, one address may be that of every client.
            per_address: PerAddress { connections: 10_000, handshakes: 5_000 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_grows_with_what_has_come() {
        let limits = Limits::default().exchange();
        assert_eq!(limits.patience(0), Duration::from_secs(10));
        assert_eq!(limits.patience(1023), Duration::from_millis(10_999));
        assert_eq!(limits.patience(64 * 1024), limits.body_timeout);
        let (body_grace, body_timeout) = (Duration::MAX, Duration::MAX);
        let edge = ExchangeLimits { body_min_rate: 0, body_grace, body_timeout, ..limits };
        assert_eq!(edge.patience(u64::MAX), Duration::MAX);
    }

    #[test]
    fn a_route_that_says_how_long_a_body_may_take_asks_for_no_rate() {
        let all = Limits::default().exchange();
        assert_eq!(all.on(&route::Limits::default()), all, "control");
        let hour = Duration::from_secs(3600);
        let limits = all.on(&route::Limits { body_timeout: Some(hour), ..route::Limits::default() });
        assert_eq!((limits.patience(0), limits.body_pause, limits.idle_timeout), (hour, hour, all.idle_timeout));
    }
}
