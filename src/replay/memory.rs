//! A replay log in memory: it is bounded, never forgets a proof too early, and has no lock that all requests share.
//!
//! Proofs are kept in buckets, by the time until which they must be remembered; a bucket is dropped as a whole when
//! that time has passed. A lookup checks every bucket of its shard. There are few: the longest lifetime of a proof in
//! steps of 16 seconds. The proofs of one key are all in one shard, and each bucket counts them, so that one client
//! cannot fill the log for the others.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use fapi::UnixTime;
use fapi::dpop::ProofId;
use fapi::jose::thumbprint::KeyThumbprint;

use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Mutex, PoisonError};

/// The result of recording a use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Insert {
    /// It is the first use.
    First,
    /// The proof was used before.
    Again,
    /// There is no room to record the use.
    Full,
    /// The key's share is used up.
    ShareExceeded,
    /// The clock was set back, and an earlier use of the proof may already have been forgotten.
    ClockSetBack,
}

/// How many proofs a log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Of all keys.
    pub total: usize,
    /// Of one key.
    pub per_key: usize,
}

/// A replay log in memory.
pub struct MemoryLog {
    shards: Vec<Mutex<Shard>>,
    entries: AtomicUsize,
    max_entries: AtomicUsize,
    max_per_key: AtomicUsize,
    /// The latest second that was read from the clock since it was last set back.
    latest: AtomicU64,
    began: AtomicU64,
    /// Up to which bucket every shard has forgotten. The lock is held meanwhile, and while the log starts again.
    swept: Mutex<u64>,
}

#[derive(Default)]
struct Shard {
    buckets: Vec<Bucket>,
}

struct Bucket {
    end: u64,
    proofs: HashSet<[u8; 16], BuildHasherDefault<AlreadyHashed>>,
    /// How many of them are by each key.
    keys: HashMap<KeyId, u32, BuildHasherDefault<AlreadyHashed>>,
}

/// The beginning of a key's thumbprint.
type KeyId = [u8; 16];

impl Shard {
    /// Drops the buckets whose time has passed, and returns how many proofs they held.
    fn forget(&mut self, forgotten: u64) -> usize {
        let mut dropped = 0;
        self.buckets.retain(|bucket| {
            let stays = bucket.end >= forgotten;
            dropped += if stays { 0 } else { bucket.proofs.len() };
            stays
        });
        dropped
    }

    fn proofs_of(&self, key: &KeyId) -> usize {
        let proofs = self.buckets.iter().filter_map(|bucket| bucket.keys.get(key));
        proofs.fold(0, |sum, proofs| sum.saturating_add(usize::try_from(*proofs).unwrap_or(usize::MAX)))
    }

    fn note(&mut self, id: [u8; 16], key: KeyId, end: u64) {
        match self.buckets.iter_mut().find(|bucket| bucket.end == end) {
            Some(bucket) => {
                bucket.proofs.insert(id);
                let proofs = bucket.keys.entry(key).or_default();
                *proofs = proofs.saturating_add(1);
            }
            None => {
                let (proofs, keys) = (HashSet::from_iter([id]), HashMap::from_iter([(key, 1)]));
                self.buckets.push(Bucket { end, proofs, keys });
            }
        }
    }
}

impl MemoryLog {
    /// Creates a log of this capacity, which does not know about uses before `began`.
    pub fn new(capacity: Capacity, began: UnixTime) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            entries: AtomicUsize::new(0),
            max_entries: AtomicUsize::new(capacity.total),
            max_per_key: AtomicUsize::new(capacity.per_key),
            latest: AtomicU64::new(began.0),
            began: AtomicU64::new(began.0),
            swept: Mutex::default(),
        }
    }

    /// Continues with other limits. Recorded uses are kept, but proofs that were made before `now` may have been
    /// forgotten under the previous limits and are refused.
    pub fn resize(&self, capacity: Capacity, now: UnixTime) {
        self.max_entries.store(capacity.total, Ordering::Release);
        self.max_per_key.store(capacity.per_key, Ordering::Release);
        self.began.fetch_max(now.0, Ordering::AcqRel);
    }

    /// Records the use of a proof by `key` that no request can pass with after `forget_after`, in one atomic step.
    pub fn insert(&self, proof: &ProofId, key: &KeyThumbprint, forget_after: UnixTime, now: UnixTime) -> Insert {
        let end = bucket_of(forget_after);
        // Setting the clock back makes forgotten proofs valid again; those are refused.
        self.note(now);
        let id = proof.as_bytes();
        let key_id = prefix(key);
        let [first, ..] = key_id;
        let mut shard = self.shards[usize::from(first) % SHARDS].lock().unwrap_or_else(PoisonError::into_inner);
        // Read under the lock, so that a proof that another request has just made this shard forget is refused.
        let forgotten = self.forgotten();
        if end < forgotten {
            return Insert::ClockSetBack;
        }
        let dropped = shard.forget(forgotten);
        self.entries.fetch_sub(dropped, Ordering::AcqRel);
        if shard.buckets.iter().any(|bucket| bucket.proofs.contains(id)) {
            return Insert::Again;
        }
        if shard.proofs_of(&key_id) >= self.max_per_key.load(Ordering::Acquire) {
            return Insert::ShareExceeded;
        }
        if self.entries.fetch_add(1, Ordering::AcqRel) >= self.max_entries.load(Ordering::Acquire) {
            self.entries.fetch_sub(1, Ordering::AcqRel);
            drop(shard);
            return if self.sweep() { self.insert(proof, key, forget_after, now) } else { Insert::Full };
        }
        shard.note(*id, key_id, end);
        Insert::First
    }

    /// Drops the buckets of every shard whose time has passed, unless that was done before, and returns whether there is
    /// room then.
    fn sweep(&self) -> bool {
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        let forgotten = self.forgotten();
        if *swept < forgotten {
            for shard in &self.shards {
                let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
                let dropped = shard.forget(forgotten);
                self.entries.fetch_sub(dropped, Ordering::AcqRel);
            }
            *swept = forgotten;
        }
        drop(swept);
        self.entries.load(Ordering::Acquire) < self.max_entries.load(Ordering::Acquire)
    }

    /// The first bucket that is not forgotten.
    fn forgotten(&self) -> u64 {
        bucket_of(UnixTime(self.latest.load(Ordering::Acquire)))
    }

    /// Starts again if the clock was set back by more than `tolerance` seconds, and returns by how many. Recorded uses
    /// are kept, but proofs that were made before may have been forgotten.
    ///
    /// `read` is called again before the log starts again, since a thread may be stopped after it has read the time. Of
    /// several callers that notice it, one gets the number.
    pub fn restart_if_set_back(&self, tolerance: u64, read: impl Fn() -> UnixTime) -> Option<u64> {
        let behind = || {
            let now = read();
            let latest = self.note(now);
            (latest.saturating_sub(now.0) > tolerance).then_some((now, latest))
        };
        behind()?;
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        let (now, latest) = behind()?;
        // In this order: whoever finds the clock in step also finds the new beginning.
        self.began.store(now.0, Ordering::Release);
        self.latest.compare_exchange(latest, now.0, Ordering::AcqRel, Ordering::Acquire).ok()?;
        *swept = 0;
        Some(latest.saturating_sub(now.0))
    }

    /// Notes the time, and returns the latest that was read before. Nearly always that is the same second, and nothing
    /// is written.
    fn note(&self, now: UnixTime) -> u64 {
        let latest = self.latest.load(Ordering::Acquire);
        if latest >= now.0 { latest } else { self.latest.fetch_max(now.0, Ordering::AcqRel) }
    }

    /// Returns the time since which it has recorded every use.
    pub fn began(&self) -> UnixTime {
        UnixTime(self.began.load(Ordering::Acquire))
    }

    /// Returns how many proofs it holds, without those that could be forgotten at the time of the last use.
    pub fn entries(&self) -> usize {
        self.sweep();
        self.entries.load(Ordering::Acquire)
    }
}

fn prefix(key: &KeyThumbprint) -> KeyId {
    key.as_bytes().first_chunk().copied().unwrap_or_default()
}

const fn bucket_of(time: UnixTime) -> u64 {
    time.0 >> 4
}

/// Passes the IDs of proofs and keys through: they are part of a SHA-256 and need no further hashing, and a client can
/// choose one only by trial.
#[derive(Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // The first byte chooses the shard; the last bytes are still evenly distributed.
        if let Some(last) = bytes.last_chunk::<8>() {
            self.0 = u64::from_le_bytes(*last);
        }
    }

    fn write_usize(&mut self, _: usize) {}
}

const SHARDS: usize = 64;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    fn id(number: u64) -> ProofId {
        let digest = fapi::sha256(&number.to_be_bytes());
        ProofId::from_bytes(digest[..16].try_into().unwrap())
    }

    fn room_for(total: usize) -> Capacity {
        Capacity { total, per_key: usize::MAX }
    }

    fn key(number: u8) -> KeyThumbprint {
        KeyThumbprint::from_bytes([number; 32])
    }

    fn use_of(log: &MemoryLog, id: &ProofId, forget_after: UnixTime, now: UnixTime) -> Insert {
        log.insert(id, &key(1), forget_after, now)
    }

    #[test]
    fn dpop_39_a_proof_is_used_once_for_as_long_as_it_could_pass() {
        let log = MemoryLog::new(room_for(10), UnixTime(0));
        assert_eq!(use_of(&log, &id(1), UnixTime(1000), UnixTime(940)), Insert::First);
        for now in [940, 999, 1000] {
            assert_eq!(use_of(&log, &id(1), UnixTime(1000), UnixTime(now)), Insert::Again, "{now}");
        }
        assert_eq!(use_of(&log, &id(2), UnixTime(1000), UnixTime(1000)), Insert::First, "control");
    }

    #[test]
    fn dpop_40_a_full_log_refuses_and_forgets_nothing() {
        let log = MemoryLog::new(room_for(100), UnixTime(0));
        for number in 0..100 {
            assert_eq!(use_of(&log, &id(number), UnixTime(1000), UnixTime(940)), Insert::First);
        }
        assert_eq!(use_of(&log, &id(100), UnixTime(1000), UnixTime(940)), Insert::Full);
        for number in 0..100 {
            assert_eq!(use_of(&log, &id(number), UnixTime(1000), UnixTime(940)), Insert::Again);
        }
        assert_eq!(
            use_of(&log, &id(100), UnixTime(2000), UnixTime(1100)),
            Insert::First,
            "there is room when they have expired"
        );
        assert_eq!(log.entries(), 1);
    }

    #[test]
    fn a_log_whose_clock_was_set_back_makes_room_when_the_time_comes_again() {
        let log = MemoryLog::new(room_for(2), UnixTime(900));
        assert_eq!(use_of(&log, &id(1), UnixTime(9060), UnixTime(9000)), Insert::First);
        assert_eq!(log.entries(), 1, "of those until 9000, all are forgotten");
        assert_eq!(log.restart_if_set_back(10, || UnixTime(1000)), Some(8000));
        assert_eq!(use_of(&log, &id(2), UnixTime(1060), UnixTime(1000)), Insert::First);
        let by_another = |now| log.insert(&id(3), &key(2), UnixTime(1160), UnixTime(now));
        assert_eq!((by_another(1060), by_another(1100)), (Insert::Full, Insert::First), "the second is forgotten");
    }

    #[test]
    fn one_key_uses_up_its_share_and_nothing_else() {
        let log = MemoryLog::new(Capacity { total: 100, per_key: 10 }, UnixTime(0));
        let at = |seconds: u64| (UnixTime(seconds + 60), UnixTime(seconds));
        let insert = |number: u64, by: u8, seconds: u64| {
            let (forget_after, now) = at(seconds);
            log.insert(&id(number), &key(by), forget_after, now)
        };
        for number in 0..10 {
            assert_eq!(insert(number, 1, 940 + number * 4), Insert::First, "in several buckets");
        }
        assert_eq!(insert(10, 1, 980), Insert::ShareExceeded);
        assert_eq!(insert(9, 1, 980), Insert::Again, "a used proof is a replay all the same");
        // Keys 1 and 65 share a shard.
        for by in [2, 65] {
            assert_eq!(insert(100 + u64::from(by), by, 980), Insert::First, "control");
        }
        assert_eq!(log.entries(), 12);
        assert_eq!(insert(10, 1, 1010), Insert::First, "the share is free again when proofs are forgotten");
        log.resize(Capacity { total: 100, per_key: 1 }, UnixTime(1010));
        assert_eq!((insert(11, 2, 1010), insert(11, 3, 1010)), (Insert::ShareExceeded, Insert::First));
    }

    #[test]
    fn another_end_does_not_hide_a_use() {
        let log = MemoryLog::new(room_for(10), UnixTime(0));
        assert_eq!(use_of(&log, &id(1), UnixTime(1000), UnixTime(940)), Insert::First);
        assert_eq!(use_of(&log, &id(1), UnixTime(1100), UnixTime(950)), Insert::Again);
    }

    #[test]
    fn a_clock_that_is_set_back_brings_nothing_to_life_again() {
        let log = MemoryLog::new(room_for(10), UnixTime(0));
        assert_eq!(use_of(&log, &id(1), UnixTime(1000), UnixTime(940)), Insert::First);
        assert_eq!(use_of(&log, &id(2), UnixTime(3000), UnixTime(2940)), Insert::First);
        assert_eq!(use_of(&log, &id(1), UnixTime(1000), UnixTime(940)), Insert::ClockSetBack);
    }

    #[test]
    fn a_log_whose_clock_was_set_back_starts_again_and_keeps_what_it_holds() {
        let log = MemoryLog::new(room_for(10), UnixTime(900));
        let restart = |now: u64| log.restart_if_set_back(10, || UnixTime(now));
        assert_eq!((restart(4540), restart(4530), log.began()), (None, None, UnixTime(900)), "within the tolerance");
        assert_eq!(use_of(&log, &id(1), UnixTime(4600), UnixTime(4540)), Insert::First);
        assert_eq!((restart(940), log.began()), (Some(3600), UnixTime(940)));
        assert_eq!(restart(940), None, "once");
        assert_eq!(log.entries(), 1);
        assert_eq!(use_of(&log, &id(2), UnixTime(1000), UnixTime(940)), Insert::First, "it is not refused until 4540");
        for now in [940, 4600] {
            assert_eq!(use_of(&log, &id(1), UnixTime(4600), UnixTime(now)), Insert::Again, "{now}");
        }
        // A request that read the time before the step does not bring the later time back for good.
        let _ = use_of(&log, &id(3), UnixTime(8000), UnixTime(8000));
        assert_eq!(restart(4600), Some(3400));
    }

    #[test]
    fn a_thread_that_was_stopped_after_it_had_read_the_time_does_not_restart_the_log() {
        let log = MemoryLog::new(room_for(10), UnixTime(900));
        let times = std::cell::RefCell::new(vec![1000, 900]);
        assert_eq!(log.restart_if_set_back(10, || UnixTime(1000)), None);
        assert_eq!(log.restart_if_set_back(10, || UnixTime(times.borrow_mut().pop().unwrap())), None);
        assert_eq!((log.began(), times.borrow().len()), (UnixTime(900), 0));
    }

    #[test]
    fn of_many_uses_at_a_time_exactly_one_is_the_first() {
        let log = Arc::new(MemoryLog::new(room_for(1000), UnixTime(0)));
        let threads: Vec<_> = (0..64)
            .map(|_| {
                let log = log.clone();
                std::thread::spawn(move || use_of(&log, &id(7), UnixTime(1000), UnixTime(940)))
            })
            .collect();
        let first = threads.into_iter().map(|thread| thread.join().unwrap());
        assert_eq!(first.filter(|insert| *insert == Insert::First).count(), 1);
        assert_eq!(log.entries(), 1);
    }

    proptest! {
        #[test]
        fn agrees_with_a_naive_set(uses in prop::collection::vec((0_u64..20, 0_u64..200, 0_u64..30), 1..200)) {
            let log = MemoryLog::new(room_for(1000), UnixTime(0));
            let mut naive = HashSet::new();
            let mut now = 10_000;
            for (number, life, step) in uses {
                now += step;
                // The end depends on the proof alone, as it does in the gateway.
                let end = 10_000 + number * 37 + life / 200;
                let passable = now <= end;
                let insert = use_of(&log, &id(number), UnixTime(end), UnixTime(now));
                if passable {
                    prop_assert_eq!(insert == Insert::First, naive.insert(number));
                }
            }
        }
    }
}
