//! Used proofs in a store that all replicas share.

use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use fapi::UnixTime;
use fapi::dpop::{DpopError, FirstUse, ProofId, VerifiedProof};
use fapi::rejection::{Cause, Unavailable};
use redis::{Value, cmd};

use super::{Observer, Outcome};
use crate::store::{NoAnswer, Store};

/// Used proofs in a store that all replicas share.
pub struct SharedLog {
    store: Arc<Store>,
    observer: Arc<dyn Observer>,
}

impl SharedLog {
    /// Keeps used proofs in this store.
    pub fn new(store: Arc<Store>, observer: Arc<dyn Observer>) -> Self {
        Self { store, observer }
    }

    /// The store.
    pub const fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Records the use of a proof.
    ///
    /// # Errors
    /// [`DpopError::Replayed`] for a proof that was used before, here or at another replica; [`Unavailable::ReplayLog`] if the store
    /// does not say.
    pub(super) async fn first_use(&self, proof: &VerifiedProof, now: UnixTime) -> Result<FirstUse, Cause> {
        let first = self.insert(&proof.id(), proof.forget_after(), now).await;
        self.observer.asked(match &first {
            Ok(true) => Outcome::First,
            Ok(false) => Outcome::Again,
            Err(_) => Outcome::Unavailable,
        });
        match first {
            Ok(true) => Ok(FirstUse::assertion(proof.id())),
            Ok(false) => Err(DpopError::Replayed.into()),
            Err(why) => {
                let detail = format!("the store `{}`: {why}", self.store.settings().name);
                Err(Unavailable::ReplayLog { detail }.into())
            }
        }
    }

    /// Records the use of a proof that no request can pass with after `forget_after`, in one atomic step; returns whether it is the
    /// first.
    ///
    /// The key is the hash that the proof is known by, of which nothing can be used by whoever reads it.
    ///
    /// # Errors
    /// [`NoAnswer`], after which the use may be recorded or not.
    async fn insert(&self, proof: &ProofId, forget_after: UnixTime, now: UnixTime) -> Result<bool, NoAnswer> {
        let key = format!("{}p:{}", self.store.settings().prefix, BASE64URL_NOPAD.encode(proof.as_bytes()));
        let milliseconds = forget_after.since(now).saturating_add(CLOCKS).saturating_mul(1000);
        let mut question = cmd("SET");
        question.arg(key).arg("").arg("NX").arg("PX").arg(milliseconds);
        let first = |answer: &Value| match (*answer == Value::Okay, *answer == Value::Nil) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            (false, false) => None,
        };
        self.store.ask(&question, first).await
    }
}

/// By how many seconds the clocks of two replicas may differ: one whose clock is behind accepts a proof for longer.
const CLOCKS: u64 = 60;
