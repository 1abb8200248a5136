//! What became of the spans of exchanges that were recorded.

use prometheus::{IntCounter, IntCounterVec, Opts, Registry};

use super::metrics::registered;
use crate::trace::{Observer, Outcome};

/// Counts spans by what became of them.
#[derive(Clone)]
pub struct SpanMetrics([(Outcome, IntCounter); 4]);

impl SpanMetrics {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let spans = Opts::new(
            "fapi_gateway_spans_total",
            "Spans of exchanges that were recorded. outcome is exported; rejected if the collector took others of the same request; failed if it could not be reached, did not answer in time or refused the request, also when asked again; or overflow if too many waited.",
        );
        let spans = registered(registry, IntCounterVec::new(spans, &["outcome"])?)?;
        Ok(Self([Outcome::Exported, Outcome::Overflow, Outcome::Failed, Outcome::Rejected].map(|outcome| {
            let label = match outcome {
                Outcome::Exported => "exported",
                Outcome::Overflow => "overflow",
                Outcome::Failed => "failed",
                Outcome::Rejected => "rejected",
            };
            (outcome, spans.with_label_values(&[label]))
        })))
    }
}

impl Observer for SpanMetrics {
    fn spans(&self, outcome: Outcome, count: usize) {
        if let Some((_, counter)) = self.0.iter().find(|(of, _)| *of == outcome) {
            counter.inc_by(count as u64);
        }
    }
}
