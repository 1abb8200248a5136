//! Records which proofs were used, in one atomic step for each, after every other check (RFC 9449 §11.1).
//!
//! If the log cannot tell, the request is refused: a false refusal costs one request, a false acceptance is a replay.

pub mod keys;
pub mod memory;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use fapi::UnixTime;
use fapi::dpop::{DpopError, FirstUse, VerifiedProof};
use fapi::rejection::{Cause, ShareExceeded, Unavailable};

use self::memory::{Capacity, Insert, MemoryLog};
use crate::clock::Clock;

/// The replay log of a gateway.
pub struct ReplayLog {
    store: Store,
    observer: Arc<dyn Observer>,
    clock: Clock,
    since: ArcSwap<Since>,
}

/// When the log began, on the monotonic clock: `age` before `monotonic`.
struct Since {
    monotonic: Duration,
    age: Duration,
}

enum Store {
    /// In this process only.
    Memory(MemoryLog),
}

/// Counts the uses of proofs, for the metrics.
pub trait Observer: Send + Sync {
    /// Called with the result of each use.
    fn asked(&self, outcome: Insert);
    /// Called when the clock was set back by so many seconds and the log therefore started again.
    fn clock_set_back(&self, seconds: u64);
}

/// Counts nothing.
impl Observer for () {
    fn asked(&self, _: Insert) {}
    fn clock_set_back(&self, _: u64) {}
}

impl ReplayLog {
    /// Creates a log in this process only.
    pub fn memory(log: MemoryLog, observer: Arc<dyn Observer>, clock: Clock) -> Self {
        let age = clock.now().saturating_sub(Duration::from_secs(log.began().0));
        let since = ArcSwap::from_pointee(Since { monotonic: clock.monotonic(), age });
        Self { store: Store::Memory(log), observer, clock, since }
    }

    /// Records the use of a proof.
    ///
    /// # Errors
    /// [`DpopError::Replayed`] for a proof that was used before; [`ShareExceeded::ReplayLog`] if its key has used
    /// too many; [`Unavailable::ReplayLog`] if the log cannot tell.
    pub async fn first_use(&self, proof: &VerifiedProof, now: UnixTime) -> Result<FirstUse, Cause> {
        let outcome = match &self.store {
            Store::Memory(log) => log.insert(&proof.id(), proof.key(), proof.forget_after(), now),
        };
        self.observer.asked(outcome);
        match outcome {
            Insert::First => Ok(FirstUse::assertion(proof.id())),
            Insert::Again => Err(DpopError::Replayed.into()),
            Insert::ShareExceeded => Err(ShareExceeded::ReplayLog.into()),
            Insert::ClockSetBack => Err(Unavailable::ReplayLog {
                detail: "the clock was set back to a time that it has already forgotten".into(),
            }
            .into()),
            Insert::Full => Err(Unavailable::ReplayLog { detail: "it is full".into() }.into()),
        }
    }

    /// Returns the time since which it has recorded every use, as the clock shows it now: if the clock was set forward
    /// since then, that time is later too.
    ///
    /// If the clock was set back by more than `tolerance` seconds, the log starts again.
    pub fn began(&self, tolerance: u64) -> UnixTime {
        let Store::Memory(log) = &self.store;
        if let Some(seconds) = log.restart_if_set_back(tolerance.max(1), || self.clock.unix_time()) {
            self.since_now();
            self.observer.clock_set_back(seconds);
            tracing::warn!(
                seconds,
                "the clock was set back; the replay log starts again, and proofs that were made before need a nonce"
            );
        }
        // In this order, so that a thread that is stopped in between gets an earlier time, which does not count.
        let (now, since) = (self.clock.now(), self.since.load());
        let age = self.clock.monotonic().saturating_sub(since.monotonic).saturating_add(since.age);
        log.began().max(UnixTime(now.saturating_sub(age).as_secs()))
    }

    /// Measures its age from now on.
    fn since_now(&self) {
        self.since.store(Arc::new(Since { monotonic: self.clock.monotonic(), age: Duration::ZERO }));
    }

    /// Continues with other limits, without forgetting recorded uses.
    pub fn resize(&self, capacity: Capacity, now: UnixTime) {
        match &self.store {
            Store::Memory(log) => log.resize(capacity, now),
        }
        self.since_now();
    }

    /// Returns how many proofs it holds.
    pub fn entries(&self) -> usize {
        match &self.store {
            Store::Memory(log) => log.entries(),
        }
    }
}
