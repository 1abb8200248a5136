//! Which proofs were used: one atomic step for each, after every other check (RFC 9449 §11.1).
//!
//! A log that cannot tell refuses: a false refusal costs one request, a false acceptance is a replay.

pub mod keys;
pub mod memory;

use std::sync::Arc;

use fapi::UnixTime;
use fapi::dpop::{DpopError, FirstUse, VerifiedProof};
use fapi::rejection::{Cause, Unavailable};

use self::memory::{Insert, MemoryLog};

/// The log of a gateway.
pub struct ReplayLog {
    store: Store,
    observer: Arc<dyn Observer>,
}

enum Store {
    /// In this process alone.
    Memory(MemoryLog),
}

/// Counts what happens here, for the metrics.
pub trait Observer: Send + Sync {
    /// The log was asked about a proof.
    fn asked(&self, outcome: Insert);
}

/// Nobody counts.
impl Observer for () {
    fn asked(&self, _: Insert) {}
}

impl ReplayLog {
    /// A log in this process alone.
    pub fn memory(log: MemoryLog, observer: Arc<dyn Observer>) -> Self {
        Self { store: Store::Memory(log), observer }
    }

    /// Notes the use of a proof.
    ///
    /// # Errors
    /// [`DpopError::Replayed`] for one that was used before;
    /// [`Unavailable::ReplayLog`] when the log cannot tell.
    pub async fn first_use(&self, proof: &VerifiedProof, now: UnixTime) -> Result<FirstUse, Cause> {
        let outcome = match &self.store {
            Store::Memory(log) => log.insert(&proof.id(), proof.forget_after(), now),
        };
        self.observer.asked(outcome);
        match outcome {
            Insert::First => Ok(FirstUse::assertion(proof.id())),
            Insert::Again => Err(DpopError::Replayed.into()),
            Insert::ClockSetBack => {
                Err(Unavailable::ReplayLog { detail: "the clock was set back behind what it has forgotten".into() }
                    .into())
            }
            Insert::Full => Err(Unavailable::ReplayLog { detail: "it is full".into() }.into()),
        }
    }

    /// When it began to know of every use.
    pub fn began(&self) -> UnixTime {
        match &self.store {
            Store::Memory(log) => log.began(),
        }
    }

    /// Goes on under other limits, without forgetting what was noted.
    pub fn resize(&self, max_entries: usize, now: UnixTime) {
        match &self.store {
            Store::Memory(log) => log.resize(max_entries, now),
        }
    }

    /// How many proofs it holds.
    pub fn entries(&self) -> usize {
        match &self.store {
            Store::Memory(log) => log.entries(),
        }
    }
}
