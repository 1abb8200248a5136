//! The cache of tokens: bounded in entries and in bytes, with a lifetime for each entry.

use std::hash::Hash;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fapi::token::ActiveToken;
use moka::Expiry;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;

/// A cached token.
#[derive(Clone)]
pub(super) struct Remembered<B> {
    pub(super) token: Arc<ActiveToken>,
    /// Why it is known to be active: what it was verified with, or when its issuer said so.
    pub(super) basis: B,
    /// How long it may be cached from its insertion.
    pub(super) lifetime: Duration,
}

/// A cache of at most `max_entries` tokens in at most `max_bytes`; the least recently used are evicted first.
pub(super) fn memory<K, B>(max_entries: u64, max_bytes: u64) -> Cache<K, Remembered<B>>
where
    K: Hash + Eq + Send + Sync + 'static,
    B: Clone + Send + Sync + 'static,
{
    let share = usize::try_from(max_bytes / max_entries.max(1)).unwrap_or(usize::MAX).max(1);
    // A token weighs its size in bytes, and at least an equal share of all bytes, so that neither bound is exceeded.
    let weigh =
        move |_: &K, remembered: &Remembered<B>| u32::try_from(remembered.token.size().max(share)).unwrap_or(u32::MAX);
    Cache::builder()
        .max_capacity(max_bytes)
        .weigher(weigh)
        .expire_after(UntilItsEnd)
        // With a policy of frequency, a new token might not be admitted among busy ones, and a large one never: it
        // would be verified again each time.
        .eviction_policy(EvictionPolicy::lru())
        .build()
}

/// Expires each entry after its own lifetime, whether it is new or replaces another.
struct UntilItsEnd;

impl<K, B> Expiry<K, Remembered<B>> for UntilItsEnd {
    fn expire_after_create(&self, _: &K, value: &Remembered<B>, _: Instant) -> Option<Duration> {
        Some(value.lifetime)
    }

    fn expire_after_update(&self, _: &K, value: &Remembered<B>, _: Instant, _: Option<Duration>) -> Option<Duration> {
        Some(value.lifetime)
    }
}
