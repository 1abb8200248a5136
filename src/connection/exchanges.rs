//! Counts the exchanges in progress, and limits them: each takes memory for what its client does not read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::IntGauge;

/// The exchanges of one listener, among those of all.
#[derive(Clone)]
pub struct Exchanges {
    /// Those of all listeners.
    total: Arc<AtomicUsize>,
    gauge: IntGauge,
}

/// The place of one exchange; dropping it frees the place.
pub struct Place(Exchanges);

impl Exchanges {
    /// Counts the exchanges of one listener in `gauge`, and together with those of other listeners in `total`.
    pub const fn new(total: Arc<AtomicUsize>, gauge: IntGauge) -> Self {
        Self { total, gauge }
    }

    /// Takes a place, if fewer than `limit` are taken on all listeners.
    pub fn take(&self, limit: usize) -> Option<Place> {
        let free = self.total.fetch_add(1, Ordering::AcqRel) < limit;
        if !free {
            self.total.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        self.gauge.inc();
        Some(Place(self.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.total.fetch_sub(1, Ordering::AcqRel);
        self.0.gauge.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_share_the_places() {
        let total = Arc::new(AtomicUsize::new(0));
        let gauge = || IntGauge::new("exchanges", "Exchanges.").unwrap();
        let [one, other] = [Exchanges::new(total.clone(), gauge()), Exchanges::new(total.clone(), gauge())];
        let held = (one.take(2), other.take(2));
        assert!(held.0.is_some() && held.1.is_some());
        assert!(one.take(2).is_none() && other.take(2).is_none());
        assert_eq!((one.gauge.get(), other.gauge.get(), total.load(Ordering::Acquire)), (1, 1, 2));
        drop(held.0);
        assert!(other.take(2).is_some());
        assert_eq!((one.gauge.get(), other.gauge.get(), total.load(Ordering::Acquire)), (0, 1, 1));
    }
}
