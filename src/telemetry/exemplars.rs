//! The last recorded exchange in each bucket of a histogram, so that a slow one leads to its trace; only OpenMetrics has them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus::Histogram;

/// The exemplars of all histograms whose series differ in one label, by the name of the family.
#[derive(Default)]
pub(super) struct Exemplars(Mutex<HashMap<&'static str, Family>>);

/// Those of one family, by the value of the label.
#[derive(Default)]
struct Family(HashMap<Box<str>, Arc<Buckets>>);

/// Those that there are now.
#[derive(Default)]
pub(super) struct Current(HashMap<&'static str, HashMap<Box<str>, Vec<Option<Exemplar>>>>);

/// The last exemplar of each bucket.
struct Buckets {
    bounds: &'static [f64],
    last: Mutex<Vec<Option<Exemplar>>>,
}

/// One exchange.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Exemplar {
    trace_id: Box<str>,
    value: f64,
    at: Duration,
}

/// An exchange that is recorded.
#[derive(Clone, Copy, Debug)]
pub struct Traced<'t> {
    /// The id of its trace.
    pub trace_id: &'t str,
    /// The time, since 1970.
    pub at: Duration,
}

/// A histogram of durations that remembers an exemplar for each bucket.
pub struct Timing {
    histogram: Histogram,
    buckets: Arc<Buckets>,
}

impl Exemplars {
    /// The series of a family with this value of its label, whose buckets have these upper bounds.
    pub(super) fn timing(
        &self,
        family: &'static str,
        label: &str,
        bounds: &'static [f64],
        histogram: Histogram,
    ) -> Timing {
        let empty = || Buckets { bounds, last: Mutex::new(vec![None; bounds.len().saturating_add(1)]) };
        let mut all = lock(&self.0);
        let of_family = all.entry(family).or_default();
        let buckets = of_family.0.entry(label.into()).or_insert_with(|| Arc::new(empty())).clone();
        Timing { histogram, buckets }
    }

    /// The exemplars that there are.
    pub(super) fn current(&self) -> Current {
        let current = |Family(series): &Family| {
            series.iter().map(|(label, buckets)| (label.clone(), lock(&buckets.last).clone())).collect()
        };
        Current(lock(&self.0).iter().map(|(name, family)| (*name, current(family))).collect())
    }
}

impl Current {
    /// Those of the buckets of a series, from the lowest on; none at all if it has no such buckets.
    pub(super) fn of(&self, family: &str, label: &str) -> &[Option<Exemplar>] {
        self.0.get(family).and_then(|of| of.get(label)).map_or(&[], Vec::as_slice)
    }
}

impl Timing {
    /// Observes a duration, which is that of an exchange with a trace if it is recorded.
    pub fn observe(&self, duration: Duration, traced: Option<Traced<'_>>) {
        let value = duration.as_secs_f64();
        self.histogram.observe(value);
        if let Some(Traced { trace_id, at }) = traced {
            let bucket = self.buckets.bounds.partition_point(|bound| *bound < value);
            if let Some(place) = lock(&self.buckets.last).get_mut(bucket) {
                *place = Some(Exemplar { trace_id: trace_id.into(), value, at });
            }
        }
    }
}

/// As OpenMetrics writes it.
impl fmt::Display for Exemplar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { trace_id, value, at } = self;
        write!(f, "{{trace_id=\"{trace_id}\"}} {value} {}.{:03}", at.as_secs(), at.subsec_millis())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use prometheus::HistogramOpts;

    use super::*;

    #[test]
    fn the_last_recorded_exchange_is_that_of_its_bucket() {
        let exemplars = Exemplars::default();
        let histogram = Histogram::with_opts(HistogramOpts::new("f_seconds", "f").buckets(vec![0.1, 1.0])).unwrap();
        let timing = |label| exemplars.timing("f_seconds", label, &[0.1, 1.0], histogram.clone());
        let observe = |timing: &Timing, millis, trace_id: Option<&str>| {
            let traced = trace_id.map(|trace_id| Traced { trace_id, at: Duration::from_millis(1500) });
            timing.observe(Duration::from_millis(millis), traced);
        };
        let (a, b) = (timing("a"), timing("b"));
        observe(&a, 10, None);
        assert_eq!(exemplars.current().of("f_seconds", "a"), [None, None, None], "control");
        for (millis, trace_id) in [(5, "one"), (100, "two"), (101, "three"), (7000, "four")] {
            observe(&timing("a"), millis, Some(trace_id));
        }
        observe(&a, 50, None);
        observe(&b, 1000, Some("of b"));
        let current = exemplars.current();
        let written = |label: &str| {
            let of = current.of("f_seconds", label);
            of.iter().map(|one| one.as_ref().map(ToString::to_string)).collect::<Vec<_>>()
        };
        let some = |text: &str| Some(text.to_owned());
        let expected =
            [r#"{trace_id="two"} 0.1 1.500"#, r#"{trace_id="three"} 0.101 1.500"#, r#"{trace_id="four"} 7 1.500"#];
        assert_eq!(written("a"), expected.map(some));
        assert_eq!(written("b"), [None, some(r#"{trace_id="of b"} 1 1.500"#), None]);
        assert!(current.of("f_seconds", "c").is_empty() && current.of("g_seconds", "a").is_empty());
        assert_eq!(histogram.get_sample_count(), 7);
    }
}
