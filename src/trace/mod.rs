//! Distributed traces: which exchanges are sampled, and what is recorded of those.
//!
//! An exchange that is not sampled costs one comparison, and none where nothing is configured. One that is has a [`Recorder`]; work
//! that it waits for is a [`Child`] of it, wherever that is done. When it ends, its spans go into a bounded [`Queue`], from which
//! [`otlp`](crate::otlp) takes them to a collector; nobody waits for that.
//!
//! Nothing of a span is secret: no query, no path but the route's, no token or claim.

pub mod names;
mod queue;
mod recorder;
mod sampling;
mod span;

use std::sync::Arc;
use std::time::Duration;

use fapi::headers::{SpanId, TraceContext};

use crate::clock::Moment;

pub use self::queue::{Observer, Outcome, Queue};
pub use self::recorder::{Child, Recorder, child};
pub use self::sampling::{Sampler, Sampling};
pub use self::span::{Kind, Record, Span, Value};

/// Decides which exchanges are recorded; one for each configuration with `tracing`.
pub struct Tracer {
    sampler: Sampler,
    queue: Arc<Queue>,
}

impl Tracer {
    /// Records what `sampler` decides, into this queue.
    pub const fn new(sampler: Sampler, queue: Arc<Queue>) -> Self {
        Self { sampler, queue }
    }

    /// The recorder of an exchange that began at `began`, when the clock showed `began_at`; `None` if it is not recorded.
    ///
    /// If its client asks for more than it may, `trace` becomes one that is not sampled, so that nobody behind the gateway has to
    /// record it either.
    pub fn begin(&self, trace: &mut TraceContext, began: Moment, began_at: Duration) -> Option<Arc<Recorder>> {
        match self.sampler.decide(trace, began_at.as_secs()) {
            Sampling::NotRecorded => None,
            Sampling::Refused => {
                *trace = trace.through(fresh_id(), false);
                None
            }
            Sampling::Recorded => Some(Arc::new(Recorder::new(trace, began, began_at, self.queue.clone()))),
        }
    }
}

/// A new id. If the generator of random bytes fails, it is not unique, which only harms the trace.
fn fresh_id() -> SpanId {
    let mut bytes = [0; 8];
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    SpanId::from_random(bytes)
}
