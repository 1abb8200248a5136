//! What was used of the limits of keys since the store was last told, in tables of a fixed size.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::name::Name;
use crate::rate_limits::table::Pace;

/// What was used, by the hashes of the table.
pub(super) struct Uses(Box<[Mutex<Shard>]>);

/// The keys of one part of all hashes. Whoever holds it decides on these keys alone.
pub(super) struct Shard(HashMap<u64, Use, BuildHasherDefault<AlreadyHashed>>);

/// What was used of the limit of one key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Use {
    /// The bucket in the store.
    pub(super) name: Name,
    pub(super) pace: Pace,
    /// For how long the steady rate gives this much, in nanoseconds; below zero if more was given back.
    pub(super) time: i64,
}

/// What becomes of a use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gathered {
    /// It has been written down.
    Quietly,
    /// The same, and the store should know it soon.
    Urgently,
    /// There is no room for the key.
    Full,
}

impl Use {
    /// How many requests it is, without those that were given back.
    pub(super) fn requests(&self) -> u64 {
        u64::try_from(self.time).unwrap_or_default() / self.pace.interval.max(1)
    }
}

impl Uses {
    pub(super) fn new() -> Self {
        let shard = || Mutex::new(Shard(HashMap::with_capacity_and_hasher(KEYS, BuildHasherDefault::default())));
        Self((0..SHARDS).map(|_| shard()).collect())
    }

    /// The part that has this key.
    pub(super) fn shard(&self, key: u64) -> MutexGuard<'_, Shard> {
        // The last byte is that of the limit.
        self.0[(key >> 8) as usize % SHARDS].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves everything; what was there is lost.
    pub(super) fn take_all(&self, into: &mut Vec<(u64, Use)>) {
        into.clear();
        for shard in &self.0 {
            into.extend(shard.lock().unwrap_or_else(PoisonError::into_inner).0.drain());
        }
        into.retain(|(_, of_key)| of_key.time != 0);
    }
}

impl Shard {
    /// Writes down that one more request of a key was taken, of `soon` that the store should know of.
    pub(super) fn take(&mut self, key: u64, pace: Pace, soon: i64, name: impl FnOnce() -> Name) -> Gathered {
        let one = signed(pace.interval);
        let soon = soon.saturating_mul(one);
        match self.add(key, one, pace, name) {
            None => Gathered::Full,
            Some(time) if (time >= soon && time - one < soon) || (time == one && self.0.len() == KEYS / 2) => {
                Gathered::Urgently
            }
            Some(_) => Gathered::Quietly,
        }
    }

    /// Writes down that so much was given back, in nanoseconds.
    pub(super) fn give_back(&mut self, key: u64, pace: Pace, time: u64, name: impl FnOnce() -> Name) {
        if time > 0 {
            // Without room it stays taken at the others, which refuses too much, for as long as one request takes.
            let _ = self.add(key, signed(time).saturating_neg(), pace, name);
        }
    }

    /// What was used of a key.
    pub(super) fn of(&self, key: u64) -> Option<&Use> {
        self.0.get(&key)
    }

    /// Returns how much it has then; `None` if there is no room.
    fn add(&mut self, key: u64, time: i64, pace: Pace, name: impl FnOnce() -> Name) -> Option<i64> {
        if let Some(known) = self.0.get_mut(&key) {
            known.time = known.time.saturating_add(time);
            return Some(known.time);
        }
        if self.0.len() >= KEYS {
            return None;
        }
        self.0.insert(key, Use { name: name(), pace, time });
        Some(time)
    }
}

fn signed(nanoseconds: u64) -> i64 {
    i64::try_from(nanoseconds).unwrap_or(i64::MAX)
}

/// Spreads what is a hash already: the last 14 bits are the same for the keys of one limit in one shard.
#[derive(Default)]
pub(super) struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64((*byte).into());
        }
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).rotate_right(14).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

const SHARDS: usize = 64;

/// How many keys a shard has room for: what a table of 128 places holds without growing.
const KEYS: usize = 112;

/// How many keys there is room for.
pub(super) const ALL_KEYS: usize = SHARDS * KEYS;

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace { interval: 1_000, burst: 10_000, most: 100_000 };

    #[test]
    fn uses_of_one_key_are_added_and_taken_once() {
        let uses = Uses::new();
        let take = |key| uses.shard(key).take(key, PACE, 3, || [1; 16]);
        assert_eq!(
            [0; 4].map(|_| take(7)),
            [Gathered::Quietly, Gathered::Quietly, Gathered::Urgently, Gathered::Quietly]
        );
        take(8);
        uses.shard(8).give_back(8, PACE, 1_000, || [1; 16]);
        uses.shard(9).give_back(9, PACE, 300, || [1; 16]);
        uses.shard(10).give_back(10, PACE, 0, || [1; 16]);
        assert_eq!(uses.shard(7).of(7).map(|of_key| of_key.time), Some(4_000));
        let mut taken = vec![(1, Use { name: [0; 16], pace: PACE, time: 5 })];
        uses.take_all(&mut taken);
        let mut taken: Vec<_> = taken.iter().map(|(key, of_key)| (*key, of_key.requests(), of_key.time)).collect();
        taken.sort_unstable();
        assert_eq!(taken, [(7, 4, 4_000), (9, 0, -300)], "what was given back was never used");
        assert!(uses.shard(7).of(7).is_none());
        let mut taken = Vec::new();
        uses.take_all(&mut taken);
        assert!(taken.is_empty());
    }

    #[test]
    fn a_flood_of_keys_finds_no_room_and_says_in_time_that_it_comes() {
        let uses = Uses::new();
        // All of one shard, and of one limit.
        let keys = (0..1_000_u64).map(|number| number << 14);
        let found: Vec<Gathered> = keys.map(|key| uses.shard(key).take(key, PACE, 3, || [1; 16])).collect();
        let urgent = found.iter().position(|gathered| *gathered == Gathered::Urgently);
        let full = found.iter().position(|gathered| *gathered == Gathered::Full);
        assert_eq!((urgent, full), (Some(KEYS / 2 - 1), Some(KEYS)));
        assert_eq!(uses.shard(0).take(0, PACE, 3, || [1; 16]), Gathered::Quietly, "a key that is there goes on");
        let capacity = uses.shard(0).0.capacity();
        let mut taken = Vec::new();
        uses.take_all(&mut taken);
        assert_eq!((taken.len(), uses.shard(0).0.capacity(), capacity), (KEYS, KEYS, KEYS), "nothing grows");
    }
}
