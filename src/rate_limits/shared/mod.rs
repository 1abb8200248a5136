//! What replicas tell each other of the use of limits, through a store.
//!
//! Each process decides by its own table, and waits for nobody. What was used is gathered beside it, and told to the store a few
//! times a second: for each key one bucket, in which the uses of all replicas are added (GCRA, by the clock of the server). The
//! store answers with the state of these buckets, and what the others used is then as good as used here. So a key has at least
//! as much used as it has by this process alone, whatever the store says.
//!
//! # What replicas let through together
//!
//! A bucket forgets nothing that was used beyond the burst, so in the long run the rate is one for all. Let a replica tell of
//! uses at most a time `L` after they passed. Whenever it tells of some, their number is at most a burst and what the rate
//! gives in `L`, less what was in the bucket when it last heard of it; and what came into the bucket since then is by the
//! others, of which the same holds. By induction over their number `N`, a bucket lacks at most `N` times a burst and what the
//! rate gives in `L`, and in any span of time pass at most that, and what the rate gives in that span. `L` is the interval
//! between two exchanges and the time that two of them may take: the one before, whose answer may come too late to count, and
//! its own.

mod name;
mod script;
mod uses;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use prometheus::IntCounter;
use tokio::sync::{Mutex, Notify};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use self::name::Name;
use self::script::Named;
use self::uses::{ALL_KEYS, Gathered, Use, Uses};
use super::table::{Pace, Table, Taken, UsedUp};
use super::{Key, Limit, nanos};
use crate::clock::Clock;
use crate::store::guarantee::Level;
use crate::store::{NoAnswer, Store};

/// Where replicas share what was used of limits.
pub struct Shared {
    /// The store.
    pub store: Arc<Store>,
    /// Counts the requests of which the other replicas learn nothing.
    pub untold: IntCounter,
}

/// What this process tells the others, and hears of them.
pub struct Exchange {
    shared: Shared,
    table: Arc<Table>,
    clock: Clock,
    uses: Uses,
    /// Wakes whoever tells the store.
    early: Notify,
    /// What is being told. Held by whoever does so; a reload has another do it.
    telling: Mutex<Vec<(u64, Use)>>,
    /// How many exchanges in a row had no answer.
    failures: AtomicU32,
}

/// How a limit is shared.
pub(super) struct Sharing {
    limit: Name,
    /// After how many requests of a key the others should hear of it early.
    soon: i64,
}

impl Sharing {
    pub(super) fn of(route: &str, limit: &Limit) -> Self {
        Self { limit: name::of_limit(route, limit), soon: (i64::from(limit.burst.get()) / 10).max(1) }
    }
}

impl Exchange {
    pub(super) fn new(shared: Shared, table: Arc<Table>, clock: Clock) -> Self {
        Self {
            shared,
            table,
            clock,
            uses: Uses::new(),
            early: Notify::new(),
            telling: Mutex::new(Vec::with_capacity(ALL_KEYS)),
            failures: AtomicU32::new(0),
        }
    }

    /// Whether it tells of this table to this store.
    pub(super) fn is_between(&self, table: &Arc<Table>, store: &Arc<Store>) -> bool {
        Arc::ptr_eq(&self.table, table) && Arc::ptr_eq(&self.shared.store, store)
    }

    /// A limit that is shared: a bucket may lack what [so many](REPLICAS) replicas can let through before they hear of each other.
    pub(super) fn shared(&self, alone: Pace) -> Pace {
        let late = INTERVAL.saturating_add(answered_within(&self.shared.store).saturating_mul(2));
        let late = u64::try_from(late.as_nanos()).unwrap_or(u64::MAX);
        Pace { most: alone.burst.saturating_add(late).saturating_mul(REPLICAS), ..alone }
    }

    /// How far it reaches now what is counted.
    pub(super) fn level(&self) -> Level {
        if self.failures.load(Ordering::Relaxed) < PATIENCE { Level::Shared } else { Level::Degraded }
    }

    /// Takes one request of a key, as [`Table::take`] does.
    pub(super) fn take(
        &self,
        key: u64,
        pace: Pace,
        sharing: &Sharing,
        now: u64,
        of: &Key<'_>,
    ) -> Result<Taken, UsedUp> {
        // Held until both are done, so that an answer of the store finds each request in both or in none.
        let mut shard = self.uses.shard(key);
        let taken = self.table.take(key, pace, now)?;
        let gathered = shard.take(key, pace, sharing.soon, || name::of_bucket(&sharing.limit, of));
        drop(shard);
        match gathered {
            Gathered::Quietly => {}
            Gathered::Urgently => self.early.notify_one(),
            Gathered::Full => self.shared.untold.inc(),
        }
        Ok(taken)
    }

    /// Gives back one request of a key, as [`Table::give_back`] does.
    pub(super) fn give_back(&self, key: u64, pace: Pace, sharing: &Sharing, (whole_at, now): (u64, u64), of: &Key<'_>) {
        let mut shard = self.uses.shard(key);
        let given_back = self.table.give_back(key, pace, (whole_at, now));
        shard.give_back(key, pace, given_back, || name::of_bucket(&sharing.limit, of));
    }

    /// Tells the store what is used, and hears what the others use, for as long as this is polled.
    pub async fn keep(self: Arc<Self>) {
        let mut telling = self.telling.lock().await;
        loop {
            sleep(SHORTEST).await;
            let _ = timeout(INTERVAL.saturating_sub(SHORTEST), self.early.notified()).await;
            self.uses.take_all(&mut telling);
            let (known, connected) = (self.failures.load(Ordering::Relaxed) == 0, self.shared.store.is_connected());
            match (telling.is_empty(), known, connected) {
                // How far it reaches is told also while nothing is used.
                (true, _, false) => self.note(Some(&NoAnswer::Unreachable("there is no connection".into()))),
                (true, true, true) => {}
                (false, _, _) | (true, false, true) => self.tell(&telling).await,
            }
        }
    }

    /// Tells of these, in several questions, for as long as one answer is waited for. What has no answer is never told again: it may
    /// have been heard.
    async fn tell(self: &Arc<Self>, telling: &[(u64, Use)]) {
        let at_a_time = (self.shared.store.settings().in_flight / 2).clamp(1, AT_A_TIME);
        let nothing = telling.is_empty().then_some(telling);
        let (mut batches, mut asking) = (telling.chunks(BATCH).chain(nothing), JoinSet::new());
        let (mut told, mut failed) = (0, None);
        let tell_all = async {
            loop {
                while failed.is_none()
                    && asking.len() < at_a_time
                    && let Some(batch) = batches.next()
                {
                    let (exchange, batch) = (self.clone(), batch.to_vec());
                    asking.spawn(async move { exchange.tell_batch(&batch).await.map(|()| requests_of(&batch)) });
                }
                match asking.join_next().await {
                    None => return,
                    Some(Ok(Ok(requests))) => told += requests,
                    Some(Ok(Err(why))) => failed = Some(why),
                    Some(Err(_)) => failed = Some(NoAnswer::Broken),
                }
            }
        };
        let in_time = timeout(answered_within(&self.shared.store), tell_all).await;
        let failed = failed.or_else(|| in_time.err().map(|_| NoAnswer::Timeout));
        self.shared.untold.inc_by(requests_of(telling).saturating_sub(told));
        self.note(failed.as_ref());
    }

    async fn tell_batch(&self, batch: &[(u64, Use)]) -> Result<(), NoAnswer> {
        let uses: Vec<Use> = batch.iter().map(|(_, of_key)| *of_key).collect();
        let taking = match self.ask(Named::ByDigest, &uses).await {
            Err(NoAnswer::Refused(code)) if &*code == "NOSCRIPT" => self.ask(Named::InFull, &uses).await?,
            answer => answer?,
        };
        let now = nanos(&self.clock);
        for ((key, of_key), taking) in batch.iter().zip(taking) {
            let shard = self.uses.shard(*key);
            // What has passed meanwhile is not in the bucket yet.
            let since = shard.of(*key).map_or(0, |of_key| of_key.time);
            self.table.raise(*key, of_key.pace, taking.saturating_add_signed(since), now);
        }
        Ok(())
    }

    async fn ask(&self, named: Named, uses: &[Use]) -> Result<Vec<u64>, NoAnswer> {
        let store = &self.shared.store;
        let question = script::question(named, |name| store.settings().key(name), uses);
        store.ask(&question, |answer| script::read(answer, uses)).await
    }

    /// Notes whether the store answers. One answer that comes late is no reason to say so.
    fn note(&self, failed: Option<&NoAnswer>) {
        let before = self.failures.load(Ordering::Relaxed);
        let now = failed.map_or(0, |_| before.saturating_add(1));
        self.failures.store(now, Ordering::Relaxed);
        let store = &*self.shared.store.settings().name;
        match failed {
            Some(why) if now == PATIENCE => {
                tracing::warn!(store, %why, "what is used of rate limits cannot be shared; this process counts alone");
            }
            None if before >= PATIENCE => tracing::info!(store, "what is used of rate limits is shared again"),
            Some(_) | None => {}
        }
    }
}

/// How many requests these are, without those that were given back.
fn requests_of(uses: &[(u64, Use)]) -> u64 {
    uses.iter().map(|(_, of_key)| of_key.requests()).sum()
}

/// How long one exchange takes at most: a little longer than the store waits for an answer, so that it is the store that finds
/// the server silent.
fn answered_within(store: &Store) -> Duration {
    store.settings().timeout.saturating_add(SHORTEST)
}

/// How long after one exchange the next begins at the latest. With what two of them take beyond the timeout of the store, it makes
/// the 100 ms of docs/operate/rate-limits.md.
const INTERVAL: Duration = Duration::from_millis(80);

/// How long it waits at least, however much is used.
const SHORTEST: Duration = Duration::from_millis(10);

/// How many keys one question is about: the server answers nobody else meanwhile, some tenths of a millisecond.
const BATCH: usize = 64;

/// How many questions are asked at a time: a proof that is asked about on the same connection waits for no more.
const AT_A_TIME: usize = 4;

/// After how many exchanges in a row without an answer it is said that nothing is shared.
const PATIENCE: u32 = 8;

/// For how many replicas that let through as much as they can the buckets lose nothing.
const REPLICAS: u64 = 16;
