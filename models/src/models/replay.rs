//! The replay log: the first use, the share of a key, the room, and a clock that is set back.

use std::sync::Arc;

use fapi::UnixTime;
use fapi::dpop::ProofId;
use fapi::jose::thumbprint::KeyThumbprint;
use shuttle::thread;

use super::memory::{Capacity, Insert, MemoryLog};

/// A proof is used for the first time at most once, although others make the log forget, and a reload changes its limits;
/// and it is used once if nothing is forgotten.
pub fn a_proof_has_one_first_use() {
    let log = log(Capacity { total: 10, per_key: 10 });
    let uses: Vec<_> = (0..2).map(|_| at_the_same_time(&log, |log| insert(log, 1, 1, END, END - 60))).collect();
    let later = at_the_same_time(&log, |log| insert(log, 2, 1, END + 200, END + 100));
    let reload = at_the_same_time(&log, |log| log.resize(Capacity { total: 9, per_key: 9 }, UnixTime(END - 60)));
    let outcomes: Vec<_> = uses.into_iter().map(|used| used.join().unwrap()).collect();
    let first = outcomes.iter().filter(|outcome| **outcome == Insert::First).count();
    assert!(first <= 1, "a proof is used twice");
    assert_eq!(later.join().unwrap(), Insert::First);
    reload.join().unwrap();
    let others = outcomes.iter().filter(|outcome| matches!(outcome, Insert::Again | Insert::ClockSetBack)).count();
    assert_eq!(first + others, 2);
    assert_eq!(insert(&log, 1, 1, END, END - 60), Insert::ClockSetBack, "it was forgotten meanwhile");
}

/// Without forgetting, one of several uses is the first, whatever time they give for the end.
pub fn one_of_several_uses_is_the_first() {
    let log = log(Capacity { total: 10, per_key: 10 });
    let uses = [END, END + 16, END].map(|end| at_the_same_time(&log, move |log| insert(log, 1, 1, end, END - 60)));
    let outcomes = uses.map(|used| used.join().unwrap());
    assert_eq!(count(&outcomes, Insert::First), 1, "{outcomes:?}");
    assert_eq!(count(&outcomes, Insert::Again), 2, "{outcomes:?}");
    assert_eq!(log.entries(), 1);
}

/// A key has its share, and a log its room, and neither is less or more than it says.
pub fn a_share_and_the_room_are_used_up_exactly() {
    let log = log(Capacity { total: 3, per_key: 2 });
    let own = [1, 2, 3].map(|proof| at_the_same_time(&log, move |log| insert(log, proof, 1, END, END - 60)));
    let outcomes = own.map(|used| used.join().unwrap());
    assert_eq!((count(&outcomes, Insert::First), count(&outcomes, Insert::ShareExceeded)), (2, 1), "{outcomes:?}");
    // Their keys are in other shards.
    let others = [2, 3].map(|key| at_the_same_time(&log, move |log| insert(log, 9, key, END, END - 60)));
    let outcomes = others.map(|used| used.join().unwrap());
    assert_eq!((count(&outcomes, Insert::First), count(&outcomes, Insert::Full)), (1, 1), "{outcomes:?}");
    assert_eq!(log.entries(), 3);
}

/// A full log whose proofs are all forgotten has room for every one of those that come at the same time.
pub fn what_is_forgotten_makes_room() {
    let log = log(Capacity { total: 2, per_key: 2 });
    for key in [1, 2] {
        assert_eq!(insert(&log, 1, key, END, END - 60), Insert::First);
    }
    let uses = [3, 4].map(|key| at_the_same_time(&log, move |log| insert(log, 1, key, END + 200, END + 100)));
    let outcomes = uses.map(|used| used.join().unwrap());
    assert_eq!(outcomes, [Insert::First, Insert::First]);
    assert_eq!(log.entries(), 2);
}

/// Of several that notice that the clock was set back, one restarts the log, and none goes on with an earlier time.
pub fn a_log_restarts_once() {
    let log = log(Capacity { total: 2, per_key: 2 });
    assert_eq!(insert(&log, 1, 1, END, END - 60), Insert::First);
    let noticed = [(); 3].map(|()| {
        at_the_same_time(&log, |log| (log.restart_if_set_back(10, || UnixTime(END - 500)), log.began()))
    });
    let (restarts, began): (Vec<_>, Vec<_>) = noticed.into_iter().map(|noticed| noticed.join().unwrap()).unzip();
    assert_eq!(restarts.into_iter().flatten().collect::<Vec<_>>(), [440]);
    assert_eq!(began, [UnixTime(END - 500); 3]);
    assert_eq!(insert(&log, 1, 1, END, END - 60), Insert::Again);
}

fn log(capacity: Capacity) -> Arc<MemoryLog> {
    Arc::new(MemoryLog::new(capacity, UnixTime(0)))
}

fn at_the_same_time<T: Send + 'static>(
    log: &Arc<MemoryLog>,
    act: impl FnOnce(&MemoryLog) -> T + Send + 'static,
) -> thread::JoinHandle<T> {
    let log = log.clone();
    thread::spawn(move || act(&log))
}

fn insert(log: &MemoryLog, proof: u8, key: u8, forget_after: u64, now: u64) -> Insert {
    let (proof, key) = (ProofId::from_bytes([proof; 16]), KeyThumbprint::from_bytes([key; 32]));
    log.insert(&proof, &key, UnixTime(forget_after), UnixTime(now))
}

fn count(outcomes: &[Insert], outcome: Insert) -> usize {
    outcomes.iter().filter(|other| **other == outcome).count()
}

const END: u64 = 1_800_000_000;
