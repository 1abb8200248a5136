//! Records which proofs were used, in one atomic step for each, after every other check (RFC 9449 §11.1).
//!
//! If the log cannot tell, the request is refused: a false refusal costs one request, a false acceptance is a replay.

pub mod keys;
pub mod memory;

use std::sync::Arc;

use fapi::UnixTime;
use fapi::dpop::{DpopError, FirstUse, VerifiedProof};
use fapi::rejection::{Cause, Unavailable};

use self::memory::{Insert, MemoryLog};

/// The replay log of a gateway.
pub struct ReplayLog {
    store: Store,
    observer: Arc<dyn Observer>,
}

enum Store {
    /// In this process only.
    Memory(MemoryLog),
}

/// Counts the uses of proofs, for the metrics.
pub trait Observer: Send + Sync {
    /// Called with the result of each use.
    fn asked(&self, outcome: Insert);
}

/// Counts nothing.
impl Observer for () {
    fn asked(&self, _: Insert) {}
}

impl ReplayLog {
    /// Creates a log in this process only.
    pub fn memory(log: MemoryLog, observer: Arc<dyn Observer>) -> Self {
        Self { store: Store::Memory(log), observer }
    }

    /// Records the use of a proof.
    ///
    /// # Errors
    /// [`DpopError::Replayed`] for a proof that was used before;
    /// [`Unavailable::ReplayLog`] if the log cannot tell.
    pub async fn first_use(&self, proof: &VerifiedProof, now: UnixTime) -> Result<FirstUse, Cause> {
        let outcome = match &self.store {
            Store::Memory(log) => log.insert(&proof.id(), proof.forget_after(), now),
        };
        self.observer.asked(outcome);
        match outcome {
            Insert::First => Ok(FirstUse::assertion(proof.id())),
            Insert::Again => Err(DpopError::Replayed.into()),
            Insert::ClockSetBack => Err(Unavailable::ReplayLog {
                detail: "the clock was set back to a time that it has already forgotten".into(),
            }
            .into()),
            Insert::Full => Err(Unavailable::ReplayLog { detail: "it is full".into() }.into()),
        }
    }

    /// Returns the time since which it has recorded every use.
    pub fn began(&self) -> UnixTime {
        match &self.store {
            Store::Memory(log) => log.began(),
        }
    }

    /// Continues with other limits, without forgetting recorded uses.
    pub fn resize(&self, max_entries: usize, now: UnixTime) {
        match &self.store {
            Store::Memory(log) => log.resize(max_entries, now),
        }
    }

    /// Returns how many proofs it holds.
    pub fn entries(&self) -> usize {
        match &self.store {
            Store::Memory(log) => log.entries(),
        }
    }
}
