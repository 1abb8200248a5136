//! How many exchanges each client has in progress, of all or of those of an upstream.
//!
//! A client that asks and does not read holds what it was given until `limits.idle_timeout`. It may take most of the places in
//! this way, and the others go on with the rest.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fapi::token::Confirmation;

use super::addresses::ClientNetwork;

/// Whose exchange it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    /// Whoever has the certificate with this SHA-256, which the token is bound to.
    Certificate([u8; 32]),
    /// Whoever has the key with this thumbprint, which the token is bound to.
    Key([u8; 32]),
    /// Somebody without a token, or without proof that it is his own, at this address.
    Address(ClientNetwork),
}

impl Holder {
    /// Whoever holds what a token is bound to; the certificate, if there is a key too.
    pub const fn of(confirmation: &Confirmation) -> Self {
        match confirmation {
            Confirmation::Certificate(certificate) | Confirmation::Both(certificate, _) => {
                Self::Certificate(*certificate.as_bytes())
            }
            Confirmation::Key(key) => Self::Key(*key.as_bytes()),
        }
    }
}

/// The exchanges of each client.
///
/// A client is counted in two places, which a random hash chooses, and has as many exchanges as the lower count says. Others
/// may be counted in the same places, so it is never counted too low; for that to be too high, two clients have to hold much
/// at a time, and one has to meet each of them: a matter of one in millions. No table grows, and no lock is taken.
pub struct Shares {
    counts: [Box<[AtomicUsize]>; 2],
    hasher: RandomState,
}

/// The share of one exchange; dropping it gives it back.
pub struct Share {
    shares: Arc<Shares>,
    places: [usize; 2],
}

impl Shares {
    /// Takes the share of one more exchange; `None` if the client has as many as it may.
    pub fn take(self: &Arc<Self>, holder: Holder, most: usize) -> Option<Share> {
        let hash = self.hasher.hash_one(holder);
        let places = [hash, hash >> 32].map(|half| half as usize % PLACES);
        let share = Share { shares: self.clone(), places };
        let before = share.counts().map(|count| count.fetch_add(1, Ordering::AcqRel));
        (before[0].min(before[1]) < most).then_some(share)
    }
}

impl Default for Shares {
    fn default() -> Self {
        let counts = || (0..PLACES).map(|_| AtomicUsize::new(0)).collect();
        Self { counts: [counts(), counts()], hasher: RandomState::new() }
    }
}

/// How many of so many places one client may have unless something else is configured: it leaves a fifth to the others.
pub const fn usual(places: usize) -> usize {
    places - places / 5
}

impl Share {
    fn counts(&self) -> [&AtomicUsize; 2] {
        let [first, second] = &self.shares.counts;
        [&first[self.places[0]], &second[self.places[1]]]
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        for count in self.counts() {
            count.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

/// Of each of the two kinds.
const PLACES: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_has_its_share_and_no_more() {
        let shares = Arc::new(Shares::default());
        let (one, other) = (Holder::Certificate([1; 32]), Holder::Key([1; 32]));
        let mut held: Vec<_> = (0..3).map(|_| shares.take(one, 3).expect("within the share")).collect();
        assert!(shares.take(one, 3).is_none());
        assert!(shares.take(one, 3).is_none(), "whoever is refused holds nothing");
        assert!(shares.take(other, 3).is_some(), "control: another client");
        held.pop();
        held.push(shares.take(one, 3).expect("one has ended"));
        assert!(shares.take(one, 3).is_none());
        drop(held);
        assert!(shares.counts.iter().flatten().all(|count| count.load(Ordering::Acquire) == 0));
    }

    #[test]
    fn nobody_meets_those_who_have_all_that_they_may() {
        let shares = Arc::new(Shares::default());
        let greedy: Vec<_> = (0..8).filter_map(|number| shares.take(Holder::Key([number; 32]), 1)).collect();
        assert_eq!(greedy.len(), 8);
        let refused = (0..200_u8).filter(|number| shares.take(Holder::Certificate([*number; 32]), 1).is_none()).count();
        // With one count for each client it would be about one of them.
        assert!(refused <= 1, "{refused}");
    }
}
