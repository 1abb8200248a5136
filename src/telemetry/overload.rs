//! Tells operators which limit refuses connections: every refusal is counted, and the log gets a line for each limit
//! once a second at most, however many are refused.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use super::metrics::registered;
use crate::clock::{Moment, millis};

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
    /// The descriptors of the process.
    Descriptors,
    /// The connections of the admin listener.
    AdminConnections,
}

impl Cap {
    /// Every limit, in the order of the discriminants.
    const ALL: [Self; 6] = [
        Self::Connections,
        Self::Handshakes,
        Self::AddressConnections,
        Self::AddressHandshakes,
        Self::Descriptors,
        Self::AdminConnections,
    ];

    /// Its value of the label `what`.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Handshakes => "handshakes",
            Self::AddressConnections => "address_connections",
            Self::AddressHandshakes => "address_handshakes",
            Self::Descriptors => "descriptors",
            Self::AdminConnections => "admin_connections",
        }
    }

    /// What the log calls it: the key that moves it, if there is one.
    const fn key(self) -> &'static str {
        match self {
            Self::Connections => "limits.connections",
            Self::Handshakes => "limits.handshakes",
            Self::AddressConnections => "limits.per_address.connections",
            Self::AddressHandshakes => "limits.per_address.handshakes",
            Self::Descriptors => "the limit on open files",
            Self::AdminConnections => "connections of the admin listener",
        }
    }
}

/// The refusals of one gateway.
pub struct Overload([(IntCounter, Sparse); Cap::ALL.len()]);

impl Overload {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let what = "what is connections, handshakes, address_connections, address_handshakes, descriptors or admin_connections.";
        let help = format!("Connections that a limit refused. {what}");
        let counters = IntCounterVec::new(Opts::new("fapi_gateway_overload_total", help), &["what"])?;
        let counters = registered(registry, counters)?;
        Ok(Self(Cap::ALL.map(|cap| (counters.with_label_values(&[cap.as_str()]), Sparse::default()))))
    }

    /// How many connections each limit refused, if it did.
    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        let counts = Cap::ALL.iter().zip(&self.0).map(|(cap, (counter, _))| (cap.as_str().to_owned(), counter.get()));
        counts.filter(|(_, count)| *count > 0).collect()
    }

    /// Counts a connection that was refused by a limit. `client` is its address, if that is known.
    pub fn refused(&self, cap: Cap, client: Option<IpAddr>) {
        let Some((counter, sparse)) = self.0.get(cap as usize) else { return };
        counter.inc();
        if let Some(refused) = sparse.add() {
            let client = client.map(tracing::field::display);
            tracing::warn!(limit = cap.key(), refused, client, "connections are refused, a limit is reached");
        }
    }
}

/// Counts events that are too many for a line each: a line is due once a second at most.
pub struct Sparse {
    began: Moment,
    /// How many the log does not mention yet.
    unsaid: AtomicU64,
    /// When the next line may be written, in milliseconds since `began`.
    next: AtomicU64,
}

impl Default for Sparse {
    fn default() -> Self {
        Self { began: Moment::now(), unsaid: AtomicU64::new(0), next: AtomicU64::new(0) }
    }
}

impl Sparse {
    /// Adds an event; returns how many there are to log, if a line is due.
    pub fn add(&self) -> Option<u64> {
        self.add_at(self.began.elapsed())
    }

    fn add_at(&self, now: Duration) -> Option<u64> {
        self.unsaid.fetch_add(1, Ordering::Relaxed);
        let now = millis(now);
        let next = self.next.load(Ordering::Relaxed);
        let later = now.saturating_add(PAUSE);
        let due = now >= next && self.next.compare_exchange(next, later, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        due.then(|| self.unsaid.swap(0, Ordering::Relaxed))
    }
}

/// The least time between two lines, in milliseconds.
const PAUSE: u64 = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_due_once_a_second_and_has_what_came_since_the_last() {
        let sparse = Sparse::default();
        let lines = [0, 1, 500, 999, 1000, 1001, 5000, 5999].map(|now| sparse.add_at(Duration::from_millis(now)));
        assert_eq!(lines, [Some(1), None, None, None, Some(4), None, Some(2), None]);
    }

    #[test]
    fn every_refusal_is_counted_by_its_limit() {
        let overload = Overload::new(&Registry::new()).unwrap();
        for (before, cap) in Cap::ALL.into_iter().enumerate() {
            assert_eq!(before, cap as usize);
            for _ in 0..=before {
                overload.refused(cap, None);
            }
        }
        let counts: Vec<u64> = overload.0.iter().map(|(counter, _)| counter.get()).collect();
        assert_eq!(counts, [1, 2, 3, 4, 5, 6]);
    }
}
