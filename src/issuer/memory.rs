//! What is remembered of tokens: so many, in so many bytes, each until its own end.

use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fapi::token::ActiveToken;
use moka::Expiry;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

/// A token, since when it is known, where that matters, and how long it may be remembered from the moment it came in.
#[derive(Clone)]
pub(super) struct Remembered<S = ()> {
    pub(super) token: Arc<ActiveToken>,
    pub(super) since: S,
    pub(super) lifetime: Duration,
}

/// A memory of at most `max_entries` tokens in at most `max_bytes`; those that were not used for the longest go first.
pub(super) fn memory<K, S>(max_entries: u64, max_bytes: u64) -> Cache<K, Remembered<S>>
where
    K: Hash + Eq + Send + Sync + 'static,
    S: Clone + Send + Sync + 'static,
{
    let share = usize::try_from(max_bytes / max_entries.max(1)).unwrap_or(usize::MAX).max(1);
    // A token weighs its bytes, and at least an equal share of all, so that neither bound is passed.
    let weigh =
        move |_: &K, remembered: &Remembered<S>| u32::try_from(remembered.token.size().max(share)).unwrap_or(u32::MAX);
    Cache::builder()
        .max_capacity(max_bytes)
        .weigher(weigh)
        .expire_after(UntilItsEnd)
        // By use over time a new token would not get in among busy ones, a large one never: judged anew each time.
        .eviction_policy(EvictionPolicy::lru())
        .build()
}

/// Ends each entry when its own lifetime is over, whether it is new or takes another's place.
struct UntilItsEnd;

impl<K, S> Expiry<K, Remembered<S>> for UntilItsEnd {
    fn expire_after_create(&self, _: &K, value: &Remembered<S>, _: Instant) -> Option<Duration> {
        Some(value.lifetime)
    }

    fn expire_after_update(&self, _: &K, value: &Remembered<S>, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(value.lifetime)
    }
}
