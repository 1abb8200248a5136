//! Uses of proofs that this process accepted by itself while the store did not answer, until the store knows them.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use fapi::UnixTime;
use fapi::dpop::ProofId;

/// Uses that the store has to be told, in the order in which they were accepted.
#[derive(Default)]
pub(super) struct Owed {
    uses: Mutex<VecDeque<Use>>,
    /// Held by whoever tells the store: a reload has another do so, and the first use is always the one being told.
    pub(super) telling: tokio::sync::Mutex<()>,
}

/// A use, and until when it has to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Use {
    pub(super) proof: ProofId,
    pub(super) forget_after: UnixTime,
}

impl Owed {
    /// Notes a use, unless there are `max` already; returns whether it is noted.
    pub(super) fn note(&self, noted: Use, max: usize, now: UnixTime) -> bool {
        let mut uses = self.lock();
        if uses.len() >= max {
            forget(&mut uses, now);
        }
        let has_room = uses.len() < max;
        if has_room {
            uses.push_back(noted);
        }
        has_room
    }

    /// The first of those that can still matter; the others before it are forgotten.
    pub(super) fn first(&self, now: UnixTime) -> Option<Use> {
        let mut uses = self.lock();
        forget(&mut uses, now);
        uses.front().copied()
    }

    /// Forgets the first, which the store knows now.
    pub(super) fn told(&self, first: Use) {
        let mut uses = self.lock();
        if uses.front() == Some(&first) {
            uses.pop_front();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Use>> {
        self.uses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets the first ones, as far as no replica accepts their proofs any more.
fn forget(uses: &mut VecDeque<Use>, now: UnixTime) {
    while uses.front().is_some_and(|first| first.forget_after.plus(super::shared::CLOCKS) < now) {
        uses.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn used(number: u8, forget_after: u64) -> Use {
        Use { proof: ProofId::from_bytes([number; 16]), forget_after: UnixTime(forget_after) }
    }

    #[test]
    fn what_is_owed_is_bounded_and_goes_when_it_is_told_or_too_old_to_matter() {
        let owed = Owed::default();
        let now = UnixTime(1000);
        assert!(owed.note(used(1, 1060), 2, now) && owed.note(used(2, 1100), 2, now));
        assert!(!owed.note(used(3, 1060), 2, now), "there is room for two");
        assert_eq!(owed.first(now), Some(used(1, 1060)));
        owed.told(used(2, 1100));
        assert_eq!(owed.first(now), Some(used(1, 1060)), "only the first is told");
        owed.told(used(1, 1060));
        assert_eq!(owed.first(now), Some(used(2, 1100)));
        assert!(owed.note(used(3, 1060), 2, now));
        assert_eq!(owed.first(UnixTime(1160)), Some(used(2, 1100)), "a replica whose clock is behind may accept it");
        assert!(owed.note(used(4, 1300), 2, UnixTime(1161)), "there is room for another then");
        assert_eq!(owed.first(UnixTime(1161)), Some(used(4, 1300)));
        assert!(!owed.is_empty());
    }
}
