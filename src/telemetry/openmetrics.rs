//! The text format of OpenMetrics 1.0, which the prometheus crate does not write.
//!
//! It differs from the one of Prometheus in the name of a counter's family, which does not have the `_total` of its samples, in
//! lines that name the unit, in quotation marks that are escaped in help texts, in bounds that have a decimal point, and in its
//! last line.

use std::fmt::{self, Write};

use prometheus::proto::{LabelPair, MetricFamily, MetricType};

use super::exemplars::{Current, Exemplar};

/// Writes families, and these exemplars.
pub(super) fn text(families: &[MetricFamily], exemplars: &Current) -> String {
    let mut text = String::new();
    for family in families {
        // Writing to a string does not fail.
        let _ = write_family(&mut text, family, exemplars);
    }
    text.push_str("# EOF\n");
    text
}

fn write_family(text: &mut String, family: &MetricFamily, exemplars: &Current) -> fmt::Result {
    let (name, kind) = match family.get_field_type() {
        MetricType::COUNTER => (family.name().strip_suffix("_total").unwrap_or(family.name()), "counter"),
        MetricType::GAUGE => (family.name(), "gauge"),
        MetricType::HISTOGRAM => (family.name(), "histogram"),
        MetricType::SUMMARY | MetricType::UNTYPED => return Ok(()),
    };
    writeln!(text, "# TYPE {name} {kind}")?;
    // "If non-empty, it MUST be a suffix of the MetricFamily name separated by an underscore."
    if let Some(unit) = UNITS.iter().find(|unit| name.strip_suffix(**unit).is_some_and(|rest| rest.ends_with('_'))) {
        writeln!(text, "# UNIT {name} {unit}")?;
    }
    writeln!(text, "# HELP {name} {}", Escaped(family.help()))?;
    for metric in family.get_metric() {
        let labels = metric.get_label();
        match family.get_field_type() {
            MetricType::COUNTER => {
                sample(text, &format!("{name}_total"), labels, None, metric.get_counter().get_value(), None)?;
            }
            MetricType::GAUGE => sample(text, name, labels, None, metric.get_gauge().get_value(), None)?,
            MetricType::HISTOGRAM => {
                let histogram = metric.get_histogram();
                let (bucket, count) = (format!("{name}_bucket"), histogram.get_sample_count());
                let last = match labels {
                    [label] => exemplars.of(name, label.value()),
                    _ => &[],
                };
                let mut last = last.iter().map(Option::as_ref);
                for one in histogram.get_bucket() {
                    // Without an exponent, as in the other format, so that both name the same series.
                    let mut bound = one.upper_bound().to_string();
                    if !bound.contains('.') {
                        bound.push_str(".0");
                    }
                    sample(text, &bucket, labels, Some(&bound), one.cumulative_count(), last.next().flatten())?;
                }
                sample(text, &bucket, labels, Some("+Inf"), count, last.next().flatten())?;
                sample(text, &format!("{name}_sum"), labels, None, histogram.get_sample_sum(), None)?;
                sample(text, &format!("{name}_count"), labels, None, count, None)?;
            }
            MetricType::SUMMARY | MetricType::UNTYPED => {}
        }
    }
    Ok(())
}

/// Writes one line; `bound` is the label `le` of a bucket.
fn sample(
    text: &mut String,
    name: &str,
    labels: &[LabelPair],
    bound: Option<&str>,
    value: impl fmt::Display,
    exemplar: Option<&Exemplar>,
) -> fmt::Result {
    text.push_str(name);
    let labels = labels.iter().map(|label| (label.name(), label.value())).chain(bound.map(|bound| ("le", bound)));
    let mut before = '{';
    for (name, value) in labels {
        write!(text, "{before}{name}=\"{}\"", Escaped(value))?;
        before = ',';
    }
    write!(text, "{} {value}", if before == '{' { "" } else { "}" })?;
    match exemplar {
        Some(exemplar) => writeln!(text, " # {exemplar}"),
        None => writeln!(text),
    }
}

/// A text with the escapes of the format.
struct Escaped<'t>(&'t str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| match character {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            other => f.write_char(other),
        })
    }
}

/// The units that names end with.
const UNITS: [&str; 2] = ["seconds", "bytes"];

#[cfg(test)]
mod tests {
    use prometheus::{Counter, Gauge, Histogram, HistogramOpts, IntCounterVec, Opts, Registry};

    use super::*;

    #[test]
    fn counters_gauges_and_histograms_are_written_as_the_format_has_them() {
        let registry = Registry::new();
        let counter = IntCounterVec::new(Opts::new("a_requests_total", "All of \"them\"."), &["path"]).unwrap();
        counter.with_label_values(&["a\\b\"c\nd"]).inc();
        registry.register(Box::new(counter)).unwrap();
        registry.register(Box::new(Counter::new("b_seconds_total", "Time.").unwrap())).unwrap();
        let gauge = Gauge::new("c_open", "Open.").unwrap();
        gauge.set(2.5);
        registry.register(Box::new(gauge)).unwrap();
        let options = HistogramOpts::new("d_seconds", "Took.").buckets(vec![0.000_005, 1.0]);
        let histogram = Histogram::with_opts(options).unwrap();
        histogram.observe(0.5);
        registry.register(Box::new(histogram)).unwrap();
        let expected = r#"# TYPE a_requests counter
# HELP a_requests All of \"them\".
a_requests_total{path="a\\b\"c\nd"} 1
# TYPE b_seconds counter
# UNIT b_seconds seconds
# HELP b_seconds Time.
b_seconds_total 0
# TYPE c_open gauge
# HELP c_open Open.
c_open 2.5
# TYPE d_seconds histogram
# UNIT d_seconds seconds
# HELP d_seconds Took.
d_seconds_bucket{le="0.000005"} 0
d_seconds_bucket{le="1.0"} 1
d_seconds_bucket{le="+Inf"} 1
d_seconds_sum 0.5
d_seconds_count 1
# EOF
"#;
        assert_eq!(text(&registry.gather(), &Current::default()), expected);
    }
}
