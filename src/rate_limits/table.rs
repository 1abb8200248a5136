//! How much of its limit each key has used, in a table of a fixed size.
//!
//! A key has one number, the time at which its limit is whole again (GCRA: the theoretical arrival time of ITU-T I.371).
//! A request moves it on by the time that one request takes at the steady rate, and is refused if it would then lie further
//! ahead than a whole burst takes. So a key whose time has passed is as good as one that was never seen, and its place is
//! free without anybody clearing it.
//!
//! Keys are spread over small sets by a random hash, each with a lock of its own. A key that finds no free place in its set
//! takes one of the limit that has the most there, that of the key which is whole again first. Whoever floods the table with
//! new keys of a limit, each used once, so displaces its own, and those that used up most of that limit stay, as do those of
//! other limits, however much sooner they are whole again. What is displaced is forgotten, which permits too much and never
//! refuses.

use std::cmp::Reverse;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};

/// The limit of a key, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pace {
    /// How long one request takes at the steady rate.
    pub(super) interval: u64,
    /// How long a whole burst takes.
    pub(super) burst: u64,
    /// How long it may take at most until the limit is whole again: longer than a burst where replicas share it, which can use
    /// more together than there is.
    pub(super) most: u64,
}

/// The table.
pub(super) struct Table {
    sets: Box<[Mutex<[Place; WAYS]>]>,
    max_keys: usize,
    hasher: RandomState,
}

/// What is known of one key.
#[derive(Clone, Copy, Default)]
struct Place {
    /// The hash of the key. Two keys of a limit have one in common once in 2^56 pairs, and then share it.
    key: u64,
    /// When its limit is whole again, in nanoseconds.
    whole_at: u64,
}

/// One request of a key was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// How many more it has left.
    pub(super) left: u64,
    /// When the rate has given again all that was taken until then, in nanoseconds.
    pub(super) whole_at: u64,
}

/// The key has used up its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UsedUp {
    /// In how many nanoseconds the next request may come.
    pub(super) wait: u64,
}

impl Table {
    /// Creates a table for this many keys. It has twice as many places, so that hardly a set is full before all of them are used.
    pub(super) fn new(max_keys: usize) -> Self {
        let sets = (0..max_keys.div_ceil(WAYS / 2).max(1)).map(|_| Mutex::default()).collect();
        Self { sets, max_keys, hasher: RandomState::new() }
    }

    /// For how many keys it was made.
    pub(super) const fn max_keys(&self) -> usize {
        self.max_keys
    }

    /// The hash of a limit.
    pub(super) fn limit(&self, limit: impl Hash) -> u64 {
        self.hasher.hash_one(limit)
    }

    /// The hash of what a limit counts, which names the limit in its last byte. Nobody outside the process can predict it.
    pub(super) fn hash(&self, limit: u64, counted: impl Hash) -> u64 {
        (self.hasher.hash_one((limit, counted)) & !LIMIT) | (limit & LIMIT)
    }

    /// Takes one request of a key at `now`. What is refused is not counted.
    ///
    /// # Errors
    /// [`UsedUp`].
    pub(super) fn take(&self, key: u64, pace: Pace, now: u64) -> Result<Taken, UsedUp> {
        let latest = now.saturating_add(pace.burst);
        self.look(key, |set| {
            let own = set.iter().position(|place| place.key == key);
            let place = &mut set[own.unwrap_or_else(|| displaced(set, key, now))];
            let known = if own.is_some() { place.whole_at.clamp(now, now.saturating_add(pace.most)) } else { now };
            let Some(whole_at) = known.checked_add(pace.interval).filter(|whole_at| *whole_at <= latest) else {
                if own.is_some() {
                    // If the clock was set back, the key waits for no longer than it can have used.
                    place.whole_at = known;
                }
                return Err(UsedUp { wait: known.saturating_sub(latest.saturating_sub(pace.interval)) });
            };
            *place = Place { key, whole_at };
            Ok(Taken { left: (latest - whole_at) / pace.interval.max(1), whole_at })
        })
    }

    /// Gives back one request that was taken, and then refused for another reason; returns how much that is, in nanoseconds.
    ///
    /// What the rate has given again since is not given a second time: until `whole_at` of what was taken, a part of it, and
    /// from then on all.
    pub(super) fn give_back(&self, key: u64, pace: Pace, (whole_at, now): (u64, u64)) -> u64 {
        let time = pace.interval.min(whole_at.saturating_sub(now));
        self.look(key, |set| match set.iter_mut().find(|place| place.key == key) {
            Some(place) => {
                place.whole_at = place.whole_at.saturating_sub(time);
                time
            }
            None => 0,
        })
    }

    /// Has a key be whole in this time at the earliest.
    pub(super) fn raise(&self, key: u64, pace: Pace, whole_in: u64, now: u64) {
        let whole_at = now.saturating_add(whole_in.min(pace.most));
        self.look(key, |set| match set.iter_mut().find(|place| place.key == key) {
            Some(place) => place.whole_at = place.whole_at.max(whole_at),
            None if whole_at > now => set[displaced(set, key, now)] = Place { key, whole_at },
            None => {}
        });
    }

    /// Looks at the set of a key.
    fn look<R>(&self, key: u64, look: impl FnOnce(&mut [Place; WAYS]) -> R) -> R {
        // The upper half of a product spreads hashes over any number of sets.
        let index = (u128::from(key) * self.sets.len() as u128) >> 64;
        // Every change is a single assignment, so the set is whole even after a panic.
        look(&mut self.sets[index as usize].lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Which place of a set a new key takes: a free one, or else one of the limit that then has the most.
fn displaced(set: &[Place; WAYS], key: u64, now: u64) -> usize {
    let places = || (0..WAYS).zip(set);
    let first_whole = places().min_by_key(|(_, place)| place.whole_at);
    if let Some((free, _)) = first_whole.filter(|(_, place)| place.whole_at <= now) {
        return free;
    }
    let number_of =
        |limit: u64| set.iter().map(|place| place.key).chain([key]).filter(|key| key & LIMIT == limit).count();
    let last = places().max_by_key(|(_, place)| (number_of(place.key & LIMIT), Reverse(place.whole_at)));
    last.map_or(0, |(index, _)| index)
}

/// The places of a set.
const WAYS: usize = 16;

/// The part of a hash that names the limit. Two limits with the same are as one when a place is sought.
const LIMIT: u64 = 0xff;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::atomic::{AtomicU64, Ordering};

    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;
    /// One request a second, three at once.
    const SLOW: Pace = alone(SECOND, 3 * SECOND);

    /// A limit that no replicas share.
    const fn alone(interval: u64, burst: u64) -> Pace {
        Pace { interval, burst, most: burst }
    }

    /// How many more a key has after one was taken.
    fn left_of(table: &Table, key: u64, pace: Pace, now: u64) -> Result<u64, UsedUp> {
        table.take(key, pace, now).map(|taken| taken.left)
    }

    fn seconds(number: u64) -> u64 {
        1_000 * SECOND + number * SECOND
    }

    #[test]
    fn a_burst_passes_and_then_the_steady_rate() {
        let table = Table::new(100);
        let take = |now| left_of(&table, 1, SLOW, now);
        assert_eq!([0; 3].map(|_| take(seconds(0))), [Ok(2), Ok(1), Ok(0)]);
        assert_eq!(take(seconds(0)), Err(UsedUp { wait: SECOND }));
        assert_eq!(take(seconds(0) + SECOND / 4), Err(UsedUp { wait: SECOND * 3 / 4 }), "refusals are not counted");
        assert_eq!(left_of(&table, 2, SLOW, seconds(0)), Ok(2), "control: another key");
        assert_eq!(take(seconds(1)), Ok(0));
        assert_eq!(take(seconds(1)), Err(UsedUp { wait: SECOND }));
        assert_eq!([0; 3].map(|_| take(seconds(3))), [Ok(1), Ok(0), Err(UsedUp { wait: SECOND })]);
        assert_eq!(take(seconds(1000)), Ok(2), "it is never more than a burst");
    }

    #[test]
    fn what_is_given_back_was_not_taken() {
        let table = Table::new(100);
        assert_eq!(table.give_back(1, SLOW, (seconds(5), seconds(0))), 0, "nothing is known of it");
        let Taken { left, whole_at } = table.take(1, SLOW, seconds(0)).unwrap();
        assert_eq!(left, 2);
        assert_eq!(table.give_back(1, SLOW, (whole_at, seconds(0))), SECOND);
        assert_eq!([0; 4].map(|_| left_of(&table, 1, SLOW, seconds(0)).ok()), [Some(2), Some(1), Some(0), None]);
    }

    #[test]
    fn what_the_rate_has_given_again_is_not_given_back_too() {
        for (later, given_back) in [(0, 4), (1, 3), (3, 1), (4, 0), (5, 0), (100, 0)] {
            let (table, pace) = (Table::new(100), alone(4 * SECOND, 12 * SECOND));
            let Taken { whole_at, .. } = table.take(1, pace, seconds(0)).unwrap();
            assert_eq!(table.give_back(1, pace, (whole_at, seconds(later))), given_back * SECOND, "{later}");
        }
    }

    #[test]
    fn what_others_used_counts_and_never_less_than_what_was_used_here() {
        let shared = Pace { most: 10 * SECOND, ..SLOW };
        let table = Table::new(100);
        let take = |now| left_of(&table, 1, shared, now);
        assert_eq!(take(seconds(0)), Ok(2));
        table.raise(1, shared, 0, seconds(0));
        assert_eq!(take(seconds(0)), Ok(1), "it has used two, whatever is said");
        table.raise(1, shared, 3 * SECOND, seconds(0));
        assert_eq!(take(seconds(0)), Err(UsedUp { wait: SECOND }));
        // More than there is, as replicas can before they hear of each other; it is waited for.
        table.raise(1, shared, 5 * SECOND, seconds(0));
        assert_eq!(take(seconds(2)), Err(UsedUp { wait: SECOND }));
        assert_eq!(take(seconds(3)), Ok(0));
        // No longer than for the most.
        table.raise(1, shared, u64::MAX, seconds(10));
        assert_eq!(take(seconds(10)), Err(UsedUp { wait: 8 * SECOND }));
        assert_eq!(take(seconds(0)), Err(UsedUp { wait: 8 * SECOND }), "the clock was set back");
        assert_eq!(left_of(&table, 1, SLOW, seconds(0)), Err(UsedUp { wait: SECOND }), "it is no longer shared");
        // One that has no place gets one, unless it is whole.
        table.raise(2, shared, 3 * SECOND, seconds(0));
        table.raise(3, shared, 0, seconds(0));
        assert_eq!((left_of(&table, 2, shared, seconds(1)), left_of(&table, 3, shared, seconds(1))), (Ok(0), Ok(2)));
    }

    #[test]
    fn a_clock_that_goes_back_costs_no_more_than_a_burst() {
        let table = Table::new(100);
        let take = |now| left_of(&table, 1, SLOW, now);
        for _ in 0..3 {
            take(seconds(1_000_000)).unwrap();
        }
        assert_eq!(take(seconds(0)), Err(UsedUp { wait: SECOND }));
        assert_eq!([1, 3, 3, 3].map(|time| take(seconds(time))), [Ok(0), Ok(1), Ok(0), Err(UsedUp { wait: SECOND })]);
        assert_eq!(
            (left_of(&table, 3, SLOW, 0), left_of(&table, 3, SLOW, 0)),
            (Ok(2), Ok(1)),
            "control: at the very beginning"
        );
    }

    #[test]
    fn extreme_times_and_rates_neither_overflow_nor_permit_everything() {
        let table = Table::new(100);
        let widest = alone(3600 * SECOND, 3600 * SECOND * 1_000_000);
        assert_eq!(left_of(&table, 1, widest, 0), Ok(999_999));
        assert_eq!(left_of(&table, 2, widest, 2_000_000_000 * SECOND), Ok(999_999));
        let never = alone(u64::MAX, u64::MAX);
        assert_eq!(left_of(&table, 3, never, 0), Ok(0));
        assert!(table.take(3, never, 0).is_err());
        let end = u64::MAX - 1;
        let quick = alone(1, 1);
        assert_eq!(left_of(&table, 4, quick, end), Ok(0));
        assert!(table.take(4, quick, end).is_err());
    }

    #[test]
    fn as_many_keys_are_kept_as_it_is_made_for() {
        let table = Table::new(10_000);
        let keys: Vec<u64> = (0..10_000).map(|number: u64| table.hash(0, number)).collect();
        for key in &keys {
            assert_eq!(left_of(&table, *key, SLOW, seconds(0)), Ok(2));
        }
        let forgotten = keys.iter().filter(|key| left_of(&table, **key, SLOW, seconds(0)) != Ok(1)).count();
        assert!(forgotten < 100, "{forgotten}");
        let bytes = table.sets.len() * size_of::<Mutex<[Place; WAYS]>>();
        assert!(bytes < 10_000 * 40, "{bytes}");
    }

    #[test]
    fn a_flood_of_new_keys_displaces_its_own() {
        let table = Table::new(1000);
        let greedy: Vec<u64> = (0..100).map(|number: u64| table.hash(0, ("greedy", number))).collect();
        for key in &greedy {
            for _ in 0..3 {
                table.take(*key, SLOW, seconds(0)).unwrap();
            }
        }
        for number in 0..100_000_u64 {
            assert_eq!(left_of(&table, table.hash(0, number), SLOW, seconds(0)), Ok(2), "nobody else is ever refused");
        }
        let forgotten = greedy.iter().filter(|key| table.take(**key, SLOW, seconds(0)).is_ok()).count();
        assert_eq!(forgotten, 0);
    }

    #[test]
    fn a_flood_of_keys_of_a_slow_limit_displaces_none_of_a_fast_one() {
        let hourly = alone(3600 * SECOND, 3 * 3600 * SECOND);
        let forgotten_beside = |of_flood: u64| {
            let table = Table::new(1000);
            let greedy: Vec<u64> = (0..100).map(|number: u64| table.hash(1, ("greedy", number))).collect();
            for key in &greedy {
                for _ in 0..3 {
                    table.take(*key, SLOW, seconds(0)).unwrap();
                }
            }
            for number in 0..100_000_u64 {
                assert_eq!(
                    left_of(&table, table.hash(of_flood, number), hourly, seconds(0)),
                    Ok(2),
                    "nobody is refused"
                );
            }
            greedy.iter().filter(|key| table.take(**key, SLOW, seconds(0)).is_ok()).count()
        };
        assert_eq!(forgotten_beside(2), 0);
        assert!(forgotten_beside(1) > 90, "control: what counts is the limit, not the pace");
    }

    #[test]
    fn places_are_free_again_when_their_time_has_passed() {
        let table = Table::new(1000);
        for round in 0..10 {
            let keys: Vec<u64> = (0..1000).map(|number: u64| table.hash(0, (round, number))).collect();
            for key in &keys {
                table.take(*key, SLOW, seconds(round * 10)).unwrap();
            }
            let forgotten =
                keys.iter().filter(|key| left_of(&table, **key, SLOW, seconds(round * 10)) != Ok(1)).count();
            assert!(forgotten < 30, "{round}: {forgotten}");
        }
    }

    #[test]
    fn many_threads_take_no_more_than_there_is() {
        let (table, taken) = (Table::new(100), AtomicU64::new(0));
        let pace = alone(SECOND, 100 * SECOND);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let passed = (0..100).filter(|_| table.take(7, pace, seconds(0)).is_ok()).count();
                    taken.fetch_add(passed as u64, Ordering::Relaxed);
                });
            }
        });
        assert_eq!(taken.into_inner(), 100);
    }

    proptest! {
        #[test]
        fn no_window_has_more_than_a_burst_and_the_steady_rate_whatever_is_given_back(
            steps in prop::collection::vec((0_u64..4, 0_u64..3 * SECOND, 0_u8..4), 1..300),
        ) {
            let table = Table::new(1000);
            let (mut now, mut passed) = (seconds(0), HashMap::<u64, Vec<u64>>::new());
            let mut held = HashMap::<u64, Vec<u64>>::new();
            for (key, step, what) in steps {
                now += step;
                // Some are held, and given back in any order; the others pass.
                let held = held.entry(key).or_default();
                match (what, table.take(key, SLOW, now)) {
                    (0, Ok(Taken { whole_at, .. })) => held.push(whole_at),
                    (_, Ok(_)) => passed.entry(key).or_default().push(now),
                    (_, Err(_)) => {}
                }
                if what == 1 && !held.is_empty() {
                    let whole_at = held.swap_remove((step as usize) % held.len());
                    table.give_back(key, SLOW, (whole_at, now));
                }
            }
            for times in passed.values() {
                for (first, from) in times.iter().enumerate() {
                    for (last, until) in times.iter().enumerate().skip(first) {
                        let most = 3 + (until - from) / SECOND;
                        prop_assert!((last - first + 1) as u64 <= most, "{times:?}");
                    }
                }
            }
        }

        #[test]
        fn whatever_others_are_said_to_have_used_nothing_passes_that_would_not_without(
            steps in prop::collection::vec((0_u64..3, 0_u64..2 * SECOND, prop::option::of(0..u64::MAX)), 1..300),
        ) {
            let shared = Pace { most: 40 * SECOND, ..SLOW };
            let table = Table::new(1000);
            let (mut now, mut passed) = (seconds(0), HashMap::<u64, Vec<u64>>::new());
            for (key, step, used) in steps {
                now += step;
                if let Some(used) = used {
                    // Mostly times that a server may say, and some that none can.
                    table.raise(key, shared, used % (if used % 5 == 0 { u64::MAX } else { 4 * SECOND }), now);
                }
                if table.take(key, shared, now).is_ok() {
                    passed.entry(key).or_default().push(now);
                }
            }
            for times in passed.values() {
                for (first, from) in times.iter().enumerate() {
                    for (last, until) in times.iter().enumerate().skip(first) {
                        prop_assert!((last - first + 1) as u64 <= 3 + (until - from) / SECOND, "{times:?}");
                    }
                }
            }
        }

        #[test]
        fn whoever_keeps_to_the_rate_is_never_refused(
            keys in prop::collection::hash_set(1_u64.., 1..50),
            waits in prop::collection::vec(SECOND..3 * SECOND, 1..50),
        ) {
            let table = Table::new(1000);
            let mut now = seconds(0);
            for wait in waits {
                for key in &keys {
                    prop_assert!(table.take(*key, SLOW, now).is_ok(), "{key} at {now}");
                }
                now += wait;
            }
        }
    }
}
