//! When the certificates and revocation lists of a configuration expire.

use fapi::UnixTime;

use crate::config::Config;
use crate::telemetry::metrics::Metrics;

/// When the contents of the files expire.
pub(super) struct Expirations {
    certificates: Vec<(String, UnixTime)>,
    revocation_lists: Vec<(String, UnixTime)>,
}

impl Expirations {
    pub(super) fn of(config: &Config) -> Self {
        Self { certificates: config.certificates.clone(), revocation_lists: config.revocation_lists.clone() }
    }

    /// Updates the metrics, and logs the revocation lists that have already expired.
    pub(super) fn note(&self, metrics: &Metrics, now: UnixTime) {
        metrics.certificates(&self.certificates);
        metrics.revocation_lists(&self.revocation_lists);
        for (file, next_update) in &self.revocation_lists {
            if *next_update <= now {
                tracing::warn!(file, %next_update, "a revocation list is past its nextUpdate");
            }
        }
    }
}
