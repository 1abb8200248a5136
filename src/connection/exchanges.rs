//! Counts the exchanges in progress, and limits them: each takes memory for what its client does not read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use prometheus::IntGauge;

use super::shares::{Holder, Share, Shares};

/// The exchanges of one listener, among those of all.
#[derive(Clone)]
pub struct Exchanges {
    /// Those of all listeners.
    total: Arc<AtomicUsize>,
    /// Of all listeners, the responses of the gateway's own that are being written.
    answers: Arc<AtomicUsize>,
    shares: Arc<Shares>,
    gauge: IntGauge,
}

/// The place of one exchange, and of the share of its client once that is known; dropping it frees both.
pub struct Place {
    exchanges: Exchanges,
    share: Option<Share>,
}

/// The place of one response of the gateway's own; dropping it frees the place.
pub struct Answering(Arc<AtomicUsize>);

impl Exchanges {
    /// Counts the exchanges of one listener in `gauge`, and together with those of other listeners.
    pub fn new(gauge: IntGauge) -> Self {
        Self { total: Arc::default(), answers: Arc::default(), shares: Arc::default(), gauge }
    }

    /// Those of another listener, which are counted together with these.
    #[must_use]
    pub fn beside(&self, gauge: IntGauge) -> Self {
        Self { gauge, ..self.clone() }
    }

    /// Takes a place, if fewer than `limit` are taken on all listeners.
    pub fn take(&self, limit: usize) -> Option<Place> {
        if !take(&self.total, limit) {
            return None;
        }
        self.gauge.inc();
        Some(Place { exchanges: self.clone(), share: None })
    }

    /// Takes a place for a response of the gateway's own, which the client may not read: of those there may be a quarter as many
    /// as exchanges, beside them, so that nobody who is refused takes the place of anybody who is not.
    pub fn answer(&self, limit: usize) -> Option<Answering> {
        take(&self.answers, limit.div_ceil(4)).then(|| Answering(self.answers.clone()))
    }
}

impl Place {
    /// Counts the exchange for its client, and returns whether it may go on: false if the client has as many as `most` on
    /// all listeners.
    #[must_use]
    pub fn count_for(&mut self, holder: Holder, most: usize) -> bool {
        self.share = self.exchanges.shares.take(holder, most);
        self.share.is_some()
    }
}

fn take(taken: &AtomicUsize, limit: usize) -> bool {
    let free = taken.fetch_add(1, Ordering::AcqRel) < limit;
    if !free {
        taken.fetch_sub(1, Ordering::AcqRel);
    }
    free
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.exchanges.total.fetch_sub(1, Ordering::AcqRel);
        self.exchanges.gauge.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_share_the_places() {
        let gauge = || IntGauge::new("exchanges", "Exchanges.").unwrap();
        let one = Exchanges::new(gauge());
        let (other, total) = (one.beside(gauge()), one.total.clone());
        let held = (one.take(2), other.take(2));
        assert!(held.0.is_some() && held.1.is_some());
        assert!(one.take(2).is_none() && other.take(2).is_none());
        assert_eq!((one.gauge.get(), other.gauge.get(), total.load(Ordering::Acquire)), (1, 1, 2));
        drop(held.0);
        assert!(other.take(2).is_some());
        assert_eq!((one.gauge.get(), other.gauge.get(), total.load(Ordering::Acquire)), (0, 1, 1));
    }

    #[test]
    fn whoever_gives_back_a_place_gives_back_the_share() {
        let exchanges = Exchanges::new(IntGauge::new("exchanges", "Exchanges.").unwrap());
        let (one, other) = (Holder::Key([1; 32]), Holder::Key([2; 32]));
        let mut places: Vec<_> = (0..4).filter_map(|_| exchanges.take(4)).collect();
        assert!(places[0].count_for(one, 2) && places[1].count_for(one, 2));
        assert!(!places[2].count_for(one, 2) && places[2].count_for(other, 2));
        places.remove(0);
        assert!(places[2].count_for(one, 2));
    }

    #[test]
    fn responses_of_the_gateways_own_have_places_beside() {
        let gauge = || IntGauge::new("exchanges", "Exchanges.").unwrap();
        let one = Exchanges::new(gauge());
        let other = one.beside(gauge());
        let held = [one.answer(5), other.answer(5)];
        assert!(held.iter().all(Option::is_some));
        assert!(one.answer(5).is_none() && other.answer(5).is_none());
        assert!(one.take(1).is_some(), "an exchange has a place of its own");
        drop(held);
        assert!(one.answer(5).is_some());
    }
}
