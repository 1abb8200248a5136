//! The metrics of the stores that replicas share.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry};

use super::metrics::registered;
use crate::store::guarantee::{Guarantee, Level};
use crate::store::{Observer, Outcome};

/// The metrics of all stores.
pub(super) struct StoreFamilies {
    requests: IntCounterVec,
    duration: HistogramVec,
    connected: IntGaugeVec,
    untold: IntCounterVec,
    guarantee: IntGaugeVec,
}

/// The metrics of one store.
pub struct StoreMetrics {
    outcomes: [(Outcome, IntCounter); 6],
    duration: Histogram,
}

impl StoreFamilies {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let requests = Opts::new(
            "fapi_gateway_store_requests_total",
            "Questions to a store that replicas share. outcome is answered; timeout; busy if too many others wait for their answers; unreachable; refused if the server refuses the question, or its answer cannot be used; or unacknowledged if fewer of its replicas than min_replicas have what was written.",
        );
        let duration = HistogramOpts::new(
            "fapi_gateway_store_request_duration_seconds",
            "How long questions to a store took that were answered or not in time.",
        )
        .buckets(QUICK.to_vec());
        let connected =
            Opts::new("fapi_gateway_store_connected", "1 while a store is connected to and can be asked; 0 otherwise.");
        let untold = Opts::new(
            "fapi_gateway_rate_limit_uses_untold_total",
            "Requests that counted for rate limits and of which the store, and so the other replicas, may know nothing: it did not answer, or requests were by too many keys at once. They count in this process.",
        );
        let guarantee = Opts::new(
            "fapi_gateway_guarantee",
            "1 for how far something holds now, 0 for the other levels. name is replay: that a proof passes once; or rate_limits, if a route has any: that they count what passes. level is local, in this process alone; shared, at all replicas that share a store; or degraded, in this process alone while the store does not answer.",
        );
        Ok(Self {
            requests: registered(registry, IntCounterVec::new(requests, &["store", "outcome"])?)?,
            duration: registered(registry, HistogramVec::new(duration, &["store"])?)?,
            connected: registered(registry, IntGaugeVec::new(connected, &["store"])?)?,
            untold: registered(registry, IntCounterVec::new(untold, &["store"])?)?,
            guarantee: registered(registry, IntGaugeVec::new(guarantee, &["name", "level"])?)?,
        })
    }

    /// The counter of uses of rate limits that the store with this name may know nothing of.
    pub(super) fn untold(&self, name: &str) -> IntCounter {
        self.untold.with_label_values(&[name])
    }

    pub(super) fn of(&self, name: &str) -> StoreMetrics {
        let outcomes = [
            Outcome::Answered,
            Outcome::Timeout,
            Outcome::Busy,
            Outcome::Unreachable,
            Outcome::Refused,
            Outcome::Unacknowledged,
        ]
        .map(|outcome| {
            let label = match outcome {
                Outcome::Answered => "answered",
                Outcome::Timeout => "timeout",
                Outcome::Busy => "busy",
                Outcome::Unreachable => "unreachable",
                Outcome::Refused => "refused",
                Outcome::Unacknowledged => "unacknowledged",
            };
            (outcome, self.requests.with_label_values(&[name, label]))
        });
        StoreMetrics { outcomes, duration: self.duration.with_label_values(&[name]) }
    }

    /// Sets which stores are connected to, and how far each guarantee reaches, replacing all previous values.
    pub(super) fn set(&self, connected: &[(&str, bool)], guarantees: &[Guarantee]) {
        self.connected.reset();
        for (store, connected) in connected {
            self.connected.with_label_values(&[*store]).set(i64::from(*connected));
        }
        for Guarantee { name, level } in guarantees {
            for known in Level::ALL {
                self.guarantee.with_label_values(&[*name, known.as_str()]).set(i64::from(known == *level));
            }
        }
    }
}

impl Observer for StoreMetrics {
    fn asked(&self, outcome: Outcome, took: Duration) {
        if let Some((_, counter)) = self.outcomes.iter().find(|(of, _)| *of == outcome) {
            counter.inc();
        }
        if matches!(outcome, Outcome::Answered | Outcome::Timeout) {
            self.duration.observe(took.as_secs_f64());
        }
    }
}

const QUICK: &[f64] = &[0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 5.0];
