//! The metrics of services that say in which state consents are.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

use super::metrics::registered;
use crate::consents::{Observer, Outcome};

/// The metrics of all services.
pub(super) struct ConsentFamilies {
    answers: IntCounterVec,
    duration: HistogramVec,
}

/// The metrics of one service.
pub struct ConsentMetrics {
    outcomes: Vec<(Outcome, IntCounter)>,
    duration: Histogram,
}

impl ConsentFamilies {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let answers = Opts::new(
            "fapi_gateway_consent_answers_total",
            "What a service in consents said. outcome is cached if it had said it lately; known for a state; unknown if there is no such consent; unauthorized if it refuses the gateway; invalid for an answer that cannot be used; timeout; unreachable; busy if too many requests wait; share_exceeded if too many of the same client do; or stale if its last answer counted, since there was no other.",
        );
        let duration = HistogramOpts::new(
            "fapi_gateway_consent_answer_duration_seconds",
            "How long calls of services in consents took, without the wait for their turn.",
        );
        Ok(Self {
            answers: registered(registry, IntCounterVec::new(answers, &["service", "outcome"])?)?,
            duration: registered(registry, HistogramVec::new(duration, &["service"])?)?,
        })
    }

    pub(super) fn of(&self, service: &str) -> ConsentMetrics {
        let counter = |outcome: &Outcome| (*outcome, self.answers.with_label_values(&[service, outcome.as_str()]));
        let outcomes = Outcome::ALL.iter().map(counter).collect();
        ConsentMetrics { outcomes, duration: self.duration.with_label_values(&[service]) }
    }
}

impl Observer for ConsentMetrics {
    fn asked(&self, outcome: Outcome, took: Option<Duration>) {
        if let Some((_, counter)) = self.outcomes.iter().find(|(of, _)| *of == outcome) {
            counter.inc();
        }
        if let Some(took) = took {
            self.duration.observe(took.as_secs_f64());
        }
    }
}
