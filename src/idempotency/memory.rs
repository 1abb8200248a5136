//! Used keys in the memory of this process: bounded, in all and for each client, and without a lock that all requests share.
//!
//! The keys of a client are all in one shard. They are forgotten when their time is over, by the monotonic clock: nobody who sets the
//! clock makes that sooner.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use fapi::idempotency::KeyUse;

use crate::replay::memory::Capacity;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard, PoisonError};

/// What is kept of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// Nothing; it is the first use.
    First,
    /// It was used for the same request.
    Same,
    /// It was used for another one.
    Other,
    /// The client has used as many as it may.
    ShareExceeded,
    /// There is no room for one more.
    Full,
}

/// Used keys.
pub(super) struct MemoryKeys {
    shards: Vec<Mutex<Shard>>,
    keys: AtomicUsize,
    most: AtomicUsize,
    most_per_client: AtomicUsize,
}

#[derive(Default)]
struct Shard {
    keys: HashMap<Hash, Entry>,
    ends: BTreeSet<(Duration, Hash)>,
    /// How many are of each client.
    clients: HashMap<Hash, usize>,
}

struct Entry {
    client: Hash,
    request: Hash,
}

/// Whether a use is noted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Note,
    Leave,
}

impl MemoryKeys {
    pub(super) fn new(capacity: Capacity) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
            keys: AtomicUsize::new(0),
            most: AtomicUsize::new(capacity.total),
            most_per_client: AtomicUsize::new(capacity.per_key),
        }
    }

    pub(super) fn resize(&self, capacity: Capacity) {
        self.most.store(capacity.total, Ordering::Release);
        self.most_per_client.store(capacity.per_key, Ordering::Release);
    }

    /// Notes the use of a key, if there is room, in one atomic step; returns what was kept of it before.
    pub(super) fn note(&self, used: &KeyUse, now: Duration) -> Kept {
        self.judge(used, now, Then::Note)
    }

    /// The same without noting anything.
    pub(super) fn look(&self, used: &KeyUse, now: Duration) -> Kept {
        self.judge(used, now, Then::Leave)
    }

    fn judge(&self, used: &KeyUse, now: Duration, then: Then) -> Kept {
        let kept = self.judge_once(used, now, then);
        if kept == Kept::Full && self.sweep(now) { self.judge_once(used, now, then) } else { kept }
    }

    fn judge_once(&self, used: &KeyUse, now: Duration, then: Then) -> Kept {
        let [first, ..] = used.client;
        let mut shard = locked(&self.shards[usize::from(first) % SHARDS]);
        self.keys.fetch_sub(shard.forget(now), Ordering::AcqRel);
        if let Some(entry) = shard.keys.get(&used.id) {
            return if entry.request == used.request { Kept::Same } else { Kept::Other };
        }
        let of_client = shard.clients.get(&used.client).copied().unwrap_or_default();
        if of_client >= self.most_per_client.load(Ordering::Acquire) {
            return Kept::ShareExceeded;
        }
        let most = self.most.load(Ordering::Acquire);
        if then == Then::Leave {
            return if self.keys.load(Ordering::Acquire) < most { Kept::First } else { Kept::Full };
        }
        if self.keys.fetch_add(1, Ordering::AcqRel) >= most {
            self.keys.fetch_sub(1, Ordering::AcqRel);
            return Kept::Full;
        }
        shard.note(used, now.saturating_add(used.keep));
        Kept::First
    }

    /// Forgets in every shard what is over, and returns whether there is room then.
    fn sweep(&self, now: Duration) -> bool {
        for shard in &self.shards {
            self.keys.fetch_sub(locked(shard).forget(now), Ordering::AcqRel);
        }
        self.keys.load(Ordering::Acquire) < self.most.load(Ordering::Acquire)
    }
}

impl Shard {
    fn note(&mut self, used: &KeyUse, end: Duration) {
        self.keys.insert(used.id, Entry { client: used.client, request: used.request });
        self.ends.insert((end, used.id));
        let of_client = self.clients.entry(used.client).or_default();
        *of_client = of_client.saturating_add(1);
    }

    /// Forgets the keys whose time is over, and returns how many these were.
    fn forget(&mut self, now: Duration) -> usize {
        let mut forgotten = 0;
        while let Some((end, id)) = self.ends.first().copied().filter(|(end, _)| *end <= now) {
            self.ends.remove(&(end, id));
            let Some(entry) = self.keys.remove(&id) else { continue };
            forgotten += 1;
            let of_client = self.clients.entry(entry.client).or_default();
            *of_client = of_client.saturating_sub(1);
            if *of_client == 0 {
                self.clients.remove(&entry.client);
            }
        }
        forgotten
    }
}

fn locked(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

type Hash = [u8; 32];

const SHARDS: usize = 64;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const KEEP: Duration = Duration::from_secs(100);

    fn key_use(client: u8, id: u8, request: u8) -> KeyUse {
        KeyUse { client: [client; 32], id: [id; 32], request: [request; 32], keep: KEEP }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn room_for(total: usize, per_key: usize) -> MemoryKeys {
        MemoryKeys::new(Capacity { total, per_key })
    }

    #[test]
    fn uk_06_a_key_is_of_one_request_until_its_time_is_over() {
        let keys = room_for(10, 10);
        let (one, other) = (key_use(1, 1, 1), key_use(1, 1, 2));
        assert_eq!((keys.look(&one, at(0)), keys.note(&one, at(0))), (Kept::First, Kept::First));
        for now in [0, 99] {
            assert_eq!((keys.note(&one, at(now)), keys.note(&other, at(now))), (Kept::Same, Kept::Other), "{now}");
            assert_eq!((keys.look(&one, at(now)), keys.look(&other, at(now))), (Kept::Same, Kept::Other), "{now}");
        }
        assert_eq!((keys.note(&other, at(100)), keys.note(&one, at(100))), (Kept::First, Kept::Other));
        assert_eq!(keys.keys.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn one_client_uses_up_its_share_and_nothing_else() {
        let keys = room_for(10, 2);
        // 1 and 65 share a shard.
        for client in [1, 65] {
            for id in [client, client + 1] {
                assert_eq!(keys.note(&key_use(client, id, 1), at(0)), Kept::First);
            }
            assert_eq!(keys.note(&key_use(client, 9, 1), at(0)), Kept::ShareExceeded);
            assert_eq!(keys.look(&key_use(client, 9, 1), at(0)), Kept::ShareExceeded);
            assert_eq!(keys.note(&key_use(client, client, 1), at(0)), Kept::Same, "one that is known needs no room");
        }
        assert_eq!(keys.note(&key_use(1, 9, 1), at(100)), Kept::First, "there is room when others are over");
    }

    #[test]
    fn what_is_full_refuses_and_forgets_nothing_too_early() {
        let keys = room_for(3, 3);
        for client in 1..=3 {
            assert_eq!(keys.note(&key_use(client, client, 1), at(0)), Kept::First);
        }
        let more = key_use(4, 4, 1);
        assert_eq!((keys.note(&more, at(99)), keys.look(&more, at(99))), (Kept::Full, Kept::Full));
        assert_eq!(keys.note(&key_use(1, 1, 2), at(99)), Kept::Other);
        assert_eq!(keys.look(&more, at(100)), Kept::First, "those of all shards are over");
        keys.resize(Capacity { total: 0, per_key: 3 });
        assert_eq!(keys.note(&more, at(100)), Kept::Full);
    }

    #[test]
    fn of_many_uses_at_a_time_exactly_one_is_the_first() {
        let keys = Arc::new(room_for(100, 100));
        let threads: Vec<_> = (0..64)
            .map(|number| {
                let keys = keys.clone();
                std::thread::spawn(move || keys.note(&key_use(1, 1, number % 2), at(0)))
            })
            .collect();
        let kept: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let count = |of: Kept| kept.iter().filter(|kept| **kept == of).count();
        assert_eq!((count(Kept::First), count(Kept::Same), count(Kept::Other)), (1, 31, 32));
    }
}
