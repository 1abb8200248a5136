//! Tells operators which limit refuses connections: every refusal is counted, and the log gets a line for each limit
//! once a second at most, however many are refused.

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::{IntCounter, IntCounterVec};

use crate::clock::Moment;

/// A limit that refuses connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cap {
    /// The connections of a listener.
    Connections,
    /// The handshakes in progress on a listener.
    Handshakes,
    /// The connections of one client address.
    AddressConnections,
    /// The handshakes in progress of one client address.
    AddressHandshakes,
}

impl Cap {
    /// Every limit, in the order of the discriminants.
    const ALL: [Self; 4] = [Self::Connections, Self::Handshakes, Self::AddressConnections, Self::AddressHandshakes];

    /// Its value of the label `what`.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Handshakes => "handshakes",
            Self::AddressConnections => "address_connections",
            Self::AddressHandshakes => "address_handshakes",
        }
    }

    /// What an operator changes to move it.
    const fn key(self) -> &'static str {
        match self {
            Self::Connections => "limits.connections",
            Self::Handshakes => "limits.handshakes",
            Self::AddressConnections => "limits.per_address.connections",
            Self::AddressHandshakes => "limits.per_address.handshakes",
        }
    }
}

/// The refusals of one gateway.
pub struct Overload {
    began: Moment,
    caps: [Refusals; Cap::ALL.len()],
}

/// The refusals by one limit.
struct Refusals {
    counter: IntCounter,
    /// How many the log does not mention yet.
    unsaid: AtomicU64,
    /// When the next line may be written, in milliseconds since `began`.
    next: AtomicU64,
}

impl Overload {
    /// Counts with `counters`, whose one label says which limit it was.
    pub(super) fn new(counters: &IntCounterVec) -> Self {
        let refusals = |cap: Cap| Refusals {
            counter: counters.with_label_values(&[cap.as_str()]),
            unsaid: AtomicU64::new(0),
            next: AtomicU64::new(0),
        };
        Self { began: Moment::now(), caps: Cap::ALL.map(refusals) }
    }

    /// Counts a connection that was refused by a limit. `client` is its address, if that is known.
    pub fn refused(&self, cap: Cap, client: Option<IpAddr>) {
        let Some(refusals) = self.caps.get(cap as usize) else { return };
        if let Some(refused) = refusals.add(self.began.elapsed()) {
            let client = client.map(tracing::field::display);
            tracing::warn!(limit = cap.key(), refused, client, "connections are refused, a limit is reached");
        }
    }
}

impl Refusals {
    /// Adds one; returns how many there are to log, if a line is due.
    fn add(&self, now: Duration) -> Option<u64> {
        self.counter.inc();
        self.unsaid.fetch_add(1, Ordering::Relaxed);
        let now = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let next = self.next.load(Ordering::Relaxed);
        let due = now >= next
            && self
                .next
                .compare_exchange(next, now.saturating_add(PAUSE), Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        due.then(|| self.unsaid.swap(0, Ordering::Relaxed))
    }
}

/// The least time between two lines about one limit, in milliseconds.
const PAUSE: u64 = 1000;

#[cfg(test)]
mod tests {
    use prometheus::Opts;

    use super::*;

    #[test]
    fn every_refusal_is_counted_and_a_line_is_due_once_a_second() {
        let counters = IntCounterVec::new(Opts::new("refusals", "Refusals."), &["what"]).unwrap();
        let overload = Overload::new(&counters);
        for (place, cap) in Cap::ALL.into_iter().enumerate() {
            assert_eq!(place, cap as usize);
            let lines: Vec<Option<u64>> = [0, 1, 500, 999, 1000, 1001, 5000, 5999]
                .map(|now| overload.caps[place].add(Duration::from_millis(now)))
                .to_vec();
            assert_eq!(lines, [Some(1), None, None, None, Some(4), None, Some(2), None], "{cap:?}");
            assert_eq!(counters.with_label_values(&[cap.as_str()]).get(), 8, "{cap:?}");
        }
    }
}
