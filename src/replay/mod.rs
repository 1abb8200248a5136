//! Records which proofs were used, in one atomic step for each, after every other check (RFC 9449 §11.1).
//!
//! If the log cannot tell, the request is refused: a false refusal costs one request, a false acceptance is a replay.

pub mod keys;
pub mod memory;
mod owed;
pub mod shared;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use fapi::UnixTime;
use fapi::dpop::{DpopError, FirstUse, ProofId, VerifiedProof};
use fapi::jose::thumbprint::KeyThumbprint;
use fapi::profile::Period;
use fapi::rejection::{Cause, ShareExceeded, Unavailable};

use self::memory::{Capacity, Insert, MemoryLog};
use self::owed::Owed;
use self::shared::{Alone, SharedLog};
use crate::clock::Clock;
use crate::trace::{self, names};

/// The replay log of a gateway.
pub struct ReplayLog {
    memory: MemoryLog,
    observer: Arc<dyn Observer>,
    clock: Clock,
    since: ArcSwap<Since>,
    /// The second to which the clock was last set back so far that the log started again; 0 if it never was.
    set_back_to: AtomicU64,
    /// When a store was named where none or another one was before, on the monotonic clock.
    joined: ArcSwapOption<Duration>,
    /// What was accepted while the store did not answer.
    owed: Arc<Owed>,
}

/// When the log began, on the monotonic clock: `age` before `monotonic`.
struct Since {
    monotonic: Duration,
    age: Duration,
}

/// What a log said of a use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is the first of the proof.
    First,
    /// The proof was used before.
    Again,
    /// The share of the key is used up.
    ShareExceeded,
    /// The log cannot tell.
    Unavailable,
    /// The log that replicas share cannot tell, and it is the first at this one, which decides.
    Alone,
}

/// What a client may use once: a proof, or an assertion.
pub trait UsedOnce: Sync {
    /// What the logs know it by.
    fn id(&self) -> ProofId;
    /// Whose share of the log in this process it takes.
    fn share(&self) -> &KeyThumbprint;
    /// The last second at which any request could be accepted with it.
    fn forget_after(&self) -> UnixTime;
    /// Checks that it has not become too old meanwhile.
    ///
    /// # Errors
    /// That it has.
    fn check_still_good(&self, now: UnixTime) -> Result<(), Cause>;
    /// Why it is refused if it was used before.
    fn used_before(&self) -> Cause;
}

impl UsedOnce for VerifiedProof {
    fn id(&self) -> ProofId {
        self.id()
    }

    fn share(&self) -> &KeyThumbprint {
        self.key()
    }

    fn forget_after(&self) -> UnixTime {
        self.forget_after()
    }

    fn check_still_good(&self, now: UnixTime) -> Result<(), Cause> {
        Ok(self.check_still_fresh(now)?)
    }

    fn used_before(&self) -> Cause {
        DpopError::Replayed.into()
    }
}

/// Counts the uses of proofs, for the metrics.
pub trait Observer: Send + Sync {
    /// Called with the outcome of each use.
    fn asked(&self, outcome: Outcome);
    /// Called when the log started again, since the clock was set back by this many seconds.
    fn clock_set_back(&self, seconds: u64);
}

/// Counts nothing.
impl Observer for () {
    fn asked(&self, _: Outcome) {}
    fn clock_set_back(&self, _: u64) {}
}

impl ReplayLog {
    /// Creates a log in this process, which can be asked together with one that replicas share.
    pub fn new(memory: MemoryLog, observer: Arc<dyn Observer>, clock: Clock) -> Self {
        let age = clock.now().saturating_sub(Duration::from_secs(memory.began().0));
        let since = ArcSwap::from_pointee(Since { monotonic: clock.monotonic(), age });
        Self {
            memory,
            observer,
            clock,
            since,
            set_back_to: AtomicU64::new(0),
            joined: ArcSwapOption::empty(),
            owed: Arc::default(),
        }
    }

    /// On which routes this process decides by itself while a store does not answer, and when.
    pub fn alone(&self, routes: Vec<(Arc<str>, Period)>, capacity: Capacity) -> Alone {
        Alone { routes, max_owed: capacity.total, owed: self.owed.clone() }
    }

    /// Records the use of a proof on this route, in this process and then in the log that replicas share, if there is one. Returns
    /// the time since which every use is known where it was recorded, as [`Self::began`] does: a log can have lost what it knew
    /// since the proof was judged.
    ///
    /// # Errors
    /// [`UsedOnce::used_before`] for what was used before; [`UsedOnce::check_still_good`] for what has become too old since
    /// `now`; [`ShareExceeded::ReplayLog`] if its key has used too many; [`Unavailable::ReplayLog`] if a log cannot tell. In the
    /// last case the proof is used up here all the same.
    pub async fn first_use(
        &self,
        proof: &impl UsedOnce,
        shared: Option<&SharedLog>,
        route: &str,
        now: UnixTime,
    ) -> Result<(FirstUse, UnixTime), Cause> {
        let mut span = trace::child("replay", trace::Kind::Internal);
        let known = self.first_use_known_to(proof, shared, route, now, &mut span).await;
        if let Err(cause) = &known {
            span.refused(cause.code());
        }
        known
    }

    async fn first_use_known_to(
        &self,
        proof: &impl UsedOnce,
        shared: Option<&SharedLog>,
        route: &str,
        now: UnixTime,
        span: &mut trace::Child,
    ) -> Result<(FirstUse, UnixTime), Cause> {
        let outcome = self.memory.insert(&proof.id(), proof.share(), proof.forget_after(), now);
        if let (Some(shared), Insert::First) = (shared, outcome) {
            span.set(names::STORE, || shared.store().settings().name.clone());
            let (first_use, kept_for) = shared.first_use(proof, route, now).await?;
            let began = kept_for.map_or_else(|| self.began_here(), |kept_for| self.began_there(kept_for));
            return Ok((first_use, began));
        }
        span.set(names::STORE, || "memory");
        self.observer.asked(match outcome {
            Insert::First => Outcome::First,
            Insert::Again => Outcome::Again,
            Insert::ShareExceeded => Outcome::ShareExceeded,
            Insert::Full | Insert::ClockSetBack => Outcome::Unavailable,
        });
        match outcome {
            Insert::First => Ok((FirstUse::assertion(proof.id()), self.began_here())),
            Insert::Again => Err(proof.used_before()),
            Insert::ShareExceeded => Err(ShareExceeded::ReplayLog.into()),
            Insert::ClockSetBack => {
                // Others may have read the clock since `now`, and the proof may have become too old in between.
                proof.check_still_good(self.clock.unix_time())?;
                let detail = "the clock was set back to a time that it has already forgotten".into();
                Err(Unavailable::ReplayLog { detail }.into())
            }
            Insert::Full => Err(Unavailable::ReplayLog { detail: "it is full".into() }.into()),
        }
    }

    /// Returns the time since which every use is known, as the clock shows it now: if the clock was set forward
    /// since then, that time is later too.
    ///
    /// While a shared log cannot be asked, that is the beginning of time, since no proof gets past it then. Where this process
    /// may have to decide `alone`, it is not before this process knew every use, even if the shared log answers now: that can
    /// end before the proof is used.
    ///
    /// If the clock was set back by more than `tolerance` seconds, the log starts again.
    pub fn began(&self, shared: Option<&SharedLog>, alone: bool, tolerance: u64) -> UnixTime {
        if let Some(seconds) = self.memory.restart_if_set_back(tolerance.max(1), || self.clock.unix_time()) {
            self.since_now();
            self.set_back_to.store(self.memory.began().0, Ordering::Release);
            self.observer.clock_set_back(seconds);
            tracing::warn!(
                seconds,
                "the clock was set back; the replay log starts again, and proofs that were made before need a nonce"
            );
        }
        if let Some(shared) = shared {
            let here = if alone { self.began_here() } else { UnixTime(0) };
            return shared.store().kept_for().map_or(here, |kept_for| here.max(self.began_there(kept_for)));
        }
        self.began_here()
    }

    /// Since when the log that replicas share knows every use, which it has kept for this long.
    fn began_there(&self, kept_for: Duration) -> UnixTime {
        let joined = self.joined.load();
        let named_for = joined.as_ref().map(|joined| self.clock.monotonic().saturating_sub(**joined));
        let known_for = named_for.map_or(kept_for, |named_for| named_for.min(kept_for));
        let began = self.clock.now().saturating_sub(known_for).as_secs();
        UnixTime(began.max(self.set_back_to.load(Ordering::Acquire)))
    }

    /// Notes that from now on another store has the proofs that are used, or another one than before: what was used until now, it
    /// does not know.
    pub fn joins_another_store(&self) {
        self.joined.store(Some(Arc::new(self.clock.monotonic())));
    }

    /// Since when this process knows every use that it accepted.
    fn began_here(&self) -> UnixTime {
        // In this order, so that a thread that is stopped in between gets an earlier time, which does not count.
        let (now, since) = (self.clock.now(), self.since.load());
        let age = self.clock.monotonic().saturating_sub(since.monotonic).saturating_add(since.age);
        self.memory.began().max(UnixTime(now.saturating_sub(age).as_secs()))
    }

    /// Measures its age from now on.
    fn since_now(&self) {
        self.since.store(Arc::new(Since { monotonic: self.clock.monotonic(), age: Duration::ZERO }));
    }

    /// Continues with other limits, without forgetting recorded uses.
    pub fn resize(&self, capacity: Capacity, now: UnixTime) {
        self.memory.resize(capacity, now);
        self.since_now();
    }

    /// Returns how many proofs it holds.
    pub fn entries(&self) -> usize {
        self.memory.entries()
    }
}

#[cfg(test)]
mod tests {
    use fapi::client::proof::{ProofKey, Request};
    use fapi::code::Code;
    use fapi::credentials::{PresentedToken, Proofs};
    use fapi::dpop::{Freshness, NoProofKeys, Nonces, ProofContext, SignedProof};
    use fapi::jose::keys::Algorithm;
    use fapi::jose::signing::PrivateKey;
    use fapi::policy::NonceMode;
    use fapi::route::{Origin, Target};

    use super::*;

    /// A proof made and judged at `at`; it is fresh for 60 seconds.
    fn proof(at: UnixTime) -> VerifiedProof {
        let key = ProofKey::new(PrivateKey::generate(Algorithm::Es256).unwrap()).unwrap();
        let asked = Request { method: "GET", url: "https://api.example/a", access_token: Some("token"), nonce: None };
        let proof = key.prove(&asked, "jti", at).unwrap();
        let (request, ()) = http::Request::get("/a").body(()).unwrap().into_parts();
        let target = Target::parse(&request, &Arc::new(Origin::parse("https://api.example").unwrap())).unwrap();
        let freshness = Freshness { max_age: 60, clock_skew: 10, nonces: Nonces::new(&[[7; 32]], 60).unwrap() };
        let context = ProofContext {
            target: &target,
            nonce: NonceMode::Never,
            freshness: &freshness,
            keys: &NoProofKeys,
            replay_log_began: &|| UnixTime(0),
            now: at,
        };
        let token = PresentedToken::parse("token").unwrap();
        SignedProof::verify(Proofs::One(&proof), token, &context).unwrap().check_freshness(&context).unwrap()
    }

    #[tokio::test]
    async fn a_proof_that_becomes_too_old_in_the_last_step_is_stale_and_the_clock_not_at_fault() {
        let time = Arc::new(AtomicU64::new(1060));
        let clock = {
            let time = time.clone();
            Clock::from_fn(move || Duration::from_secs(time.load(Ordering::SeqCst)))
        };
        let log = MemoryLog::new(Capacity { total: 10, per_key: 10 }, UnixTime(0));
        let log = ReplayLog::new(log, Arc::new(()), clock);
        let code = |outcome: Result<(FirstUse, UnixTime), Cause>| outcome.err().map(|cause| cause.code());
        let first = proof(UnixTime(1000));
        assert_eq!(code(log.first_use(&proof(UnixTime(1000)), None, "", UnixTime(1060)).await), None, "control");
        // Another request reads the clock later, and records its use before.
        assert_eq!(code(log.first_use(&proof(UnixTime(1080)), None, "", UnixTime(1080)).await), None);
        let set_back = code(log.first_use(&first, None, "", UnixTime(1060)).await);
        assert_eq!(set_back, Some(Code::ReplayLogUnavailable), "control: the clock shows an earlier time again");
        time.store(1080, Ordering::SeqCst);
        assert_eq!(code(log.first_use(&first, None, "", UnixTime(1060)).await), Some(Code::DpopStale));
    }
}
