//! Used proofs in a store that all replicas share.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64URL_NOPAD;
use fapi::UnixTime;
use fapi::dpop::{FirstUse, ProofId};
use fapi::profile::Period;
use fapi::rejection::{Cause, Unavailable};
use redis::{Value, cmd};

use super::UsedOnce;
use super::owed::{Owed, Use};
use super::{Observer, Outcome};
use crate::clock::Clock;
use crate::store::guarantee::Level;
use crate::store::{NoAnswer, Store};

/// Used proofs in a store that all replicas share.
pub struct SharedLog {
    store: Arc<Store>,
    observer: Arc<dyn Observer>,
    alone: Alone,
    clock: Clock,
}

/// Where, and when, a process decides by itself while the store does not answer.
pub struct Alone {
    /// The routes, by name, and when each may.
    pub routes: Vec<(Arc<str>, Period)>,
    /// How many uses may have been accepted so and not told the store yet.
    pub max_owed: usize,
    pub(super) owed: Arc<Owed>,
}

impl SharedLog {
    /// Keeps used proofs in this store.
    pub fn new(store: Arc<Store>, observer: Arc<dyn Observer>, alone: Alone, clock: Clock) -> Self {
        Self { store, observer, alone, clock }
    }

    /// The store.
    pub const fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Whether proofs on this route are accepted while the store does not answer.
    pub(super) fn decides_alone(&self, route: &str, now: UnixTime) -> bool {
        self.alone.routes.iter().any(|(name, period)| **name == *route && period.contains(now))
    }

    /// Whether proofs on this route are accepted while the store does not answer, or will be.
    pub fn may_decide_alone(&self, route: &str, now: UnixTime) -> bool {
        self.alone.routes.iter().any(|(name, period)| **name == *route && now < period.until)
    }

    /// How far it reaches now: while the store does not answer, and until it knows what was accepted meanwhile, not to other
    /// replicas.
    pub fn level(&self, now: UnixTime) -> Level {
        let alone = self.alone.routes.iter().any(|(_, period)| period.contains(now));
        let apart = (alone && !self.store.is_connected()) || !self.alone.owed.is_empty();
        if apart { Level::Degraded } else { Level::Shared }
    }

    /// Records the use of a proof that this process has not seen before, on this route. Returns for how long the store has kept every
    /// use, or `None` if this process decided by itself.
    ///
    /// # Errors
    /// [`UsedOnce::used_before`] for what was used before at another replica; [`Unavailable::ReplayLog`] if the store
    /// does not say, and the process may not decide by itself.
    pub(super) async fn first_use(
        &self,
        proof: &impl UsedOnce,
        route: &str,
        now: UnixTime,
    ) -> Result<(FirstUse, Option<Duration>), Cause> {
        let used = Use { proof: proof.id(), forget_after: proof.forget_after() };
        // It may have been connected to again before the question, or since: then it has kept uses for the shorter of two times. Of
        // one that is gone since, nobody knows.
        let before = self.store.kept_for();
        let first = self.insert(&used.proof, used.forget_after, now).await;
        let kept_for = before.min(self.store.kept_for()).unwrap_or_default();
        let outcome = match &first {
            Ok(true) => Outcome::First,
            Ok(false) => Outcome::Again,
            // That is no failure of the store, and whoever asks for much must not be the one to take it away.
            Err(NoAnswer::Busy) => Outcome::Unavailable,
            Err(_) if self.decides_alone(route, now) && self.alone.owed.note(used, self.alone.max_owed, now) => {
                Outcome::Alone
            }
            Err(_) => Outcome::Unavailable,
        };
        self.observer.asked(outcome);
        match (outcome, first) {
            (Outcome::First, _) => Ok((FirstUse::assertion(proof.id()), Some(kept_for))),
            (Outcome::Alone, _) => Ok((FirstUse::assertion(proof.id()), None)),
            (_, Ok(_)) => Err(proof.used_before()),
            (_, Err(why)) => {
                let detail = format!("the store `{}`: {why}", self.store.settings().name);
                Err(Unavailable::ReplayLog { detail }.into())
            }
        }
    }

    /// Tells the store what was accepted without it, whenever it can be asked again; for as long as this is polled.
    pub async fn keep(&self) {
        loop {
            tokio::time::sleep(BETWEEN_LOOKS).await;
            self.tell().await;
        }
    }

    /// Tells the store what was accepted without it, until it does not answer.
    async fn tell(&self) {
        let owed = &self.alone.owed;
        let _telling = owed.telling.lock().await;
        while let Some(used) = owed.first(self.clock.unix_time()) {
            // Another replica may have accepted it too, which nobody can take back.
            match self.insert(&used.proof, used.forget_after, self.clock.unix_time()).await {
                Ok(_) => owed.told(used),
                Err(_) => return,
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
        let key = self.store.settings().key(&format!("p:{}", BASE64URL_NOPAD.encode(proof.as_bytes())));
        let milliseconds = forget_after.since(now).saturating_add(CLOCKS).saturating_mul(1000);
        let mut question = cmd("SET");
        question.arg(key).arg("").arg("NX").arg("PX").arg(milliseconds);
        let first = |answer: &Value| match (*answer == Value::Okay, *answer == Value::Nil) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            (false, false) => None,
        };
        self.store.write(&question, first, |first| *first).await
    }
}

/// By how many seconds the clocks of two replicas may differ: one whose clock is behind accepts a proof for longer.
pub(super) const CLOCKS: u64 = 60;

/// How often it is looked whether the store can be told what was accepted without it.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
