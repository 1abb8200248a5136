//! Proof keys that have already been parsed, by thumbprint.

use std::sync::Arc;
use std::time::Duration;

use fapi::dpop::ProofKeys;
use fapi::jose::keys::VerifyingKey;
use fapi::jose::thumbprint::KeyThumbprint;
use moka::sync::Cache;

/// A bounded cache of parsed keys; the least used ones are evicted first.
pub struct KnownKeys(Cache<[u8; 32], Arc<VerifyingKey>>);

impl KnownKeys {
    /// Creates a cache for `max_entries` keys.
    pub fn new(max_entries: u64) -> Self {
        Self(Cache::builder().max_capacity(max_entries).time_to_idle(IDLE).build())
    }
}

impl ProofKeys for KnownKeys {
    fn get(&self, thumbprint: &KeyThumbprint) -> Option<Arc<VerifyingKey>> {
        self.0.get(thumbprint.as_bytes())
    }

    fn insert(&self, thumbprint: KeyThumbprint, key: Arc<VerifyingKey>) {
        self.0.insert(*thumbprint.as_bytes(), key);
    }
}

const IDLE: Duration = Duration::from_secs(600);
