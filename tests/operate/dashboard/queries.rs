//! Which metrics and labels a query names.

use std::collections::{BTreeMap, BTreeSet};

use fapi::code::Code;

use crate::operate::docs::reference::Family;

/// The families of the metrics in a query, in its order: those of the gateway and of the process.
pub fn metrics_in(query: &str) -> Vec<String> {
    selectors(query).into_iter().map(|(name, _)| family(name).to_owned()).collect()
}

/// What is wrong with a query: metrics, labels and codes that do not exist.
pub fn problems(query: &str, families: &BTreeMap<String, Family>) -> Vec<String> {
    let mut problems = Vec::new();
    let mut known: BTreeSet<&str> = TARGET.into();
    for (name, matchers) in selectors(query) {
        let labels: BTreeSet<&str> = match families.get(family(name)) {
            Some(family) => family.labels.iter().map(String::as_str).chain(TARGET).collect(),
            None if name == "up" || PROCESS.contains(&name) => TARGET.into(),
            None => {
                problems.push(format!("no metric {name}"));
                continue;
            }
        };
        for (label, value) in matchers {
            if !labels.contains(label) {
                problems.push(format!("{name} has no label {label}"));
            }
            if label == "code" {
                problems.extend(unknown_codes(value));
            }
        }
        known.extend(labels);
        known.extend(name.ends_with("_bucket").then_some("le"));
    }
    for group in query.split("by (").skip(1).filter_map(|rest| rest.split(')').next()) {
        let unknown = group.split(',').map(str::trim).filter(|label| !known.contains(label));
        problems.extend(unknown.map(|label| format!("no metric here has a label {label}")));
    }
    problems
}

/// The alternatives of a pattern that are the name of no code, or begin none.
fn unknown_codes(pattern: &str) -> Vec<String> {
    let is_known = |alternative: &&str| {
        let mut names = Code::ALL.iter().map(|code| code.as_str());
        match alternative.strip_suffix(".*") {
            Some(beginning) => names.any(|name| name.starts_with(beginning)),
            None => names.any(|name| name == *alternative),
        }
    };
    let unknown = pattern.split('|').filter(|alternative| !is_known(alternative));
    unknown.map(|alternative| format!("no code {alternative}")).collect()
}

/// The metrics that a query selects, each with the labels that it matches, and with what.
fn selectors(query: &str) -> Vec<(&str, Vec<(&str, &str)>)> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut found = Vec::new();
    let mut rest = query;
    while let Some(brace) = rest.find('{') {
        let (before, after) = rest.split_at(brace);
        let begin = before.bytes().rposition(|byte| !is_name(byte)).map_or(0, |place| place + 1);
        let end = after.find('}').expect("a brace is closed");
        let matchers = after[1..end].split("\",").filter(|matcher| *matcher != "$of").flat_map(|matcher| {
            let matcher = matcher.trim_start_matches("$of,");
            let (label, value) = matcher.split_once('=').expect("a matcher");
            let value = value.trim_start_matches(['~', '"']).trim_end_matches('"');
            Some((label.trim_end_matches('!'), value))
        });
        found.push((&before[begin..], matchers.collect()));
        rest = &after[end..];
    }
    found
}

/// The name of the family that a sample is of.
fn family(name: &str) -> &str {
    ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name)
}

/// The labels that Prometheus adds.
const TARGET: [&str; 2] = ["job", "instance"];

/// Those of the process's own metrics that the dashboard uses.
pub const PROCESS: [&str; 2] = ["process_cpu_seconds_total", "process_resident_memory_bytes"];

#[test]
fn a_query_of_what_does_not_exist_is_found() {
    let family = |labels: &[&str]| Family {
        help: String::new(),
        kind: "counter".to_owned(),
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
    };
    let families = [
        ("fapi_gateway_requests_total".to_owned(), family(&["route", "code"])),
        ("fapi_gateway_a_seconds".to_owned(), family(&["route"])),
    ];
    let families = families.into();
    let of = |query: &str| problems(query, &families);
    let none: Vec<String> = Vec::new();
    // controls
    assert_eq!(
        of(
            "sum by (code, instance) (rate(fapi_gateway_requests_total{$of,route=~\"$route\",code=~\"dpop_.*|rate_limited\"}[5m])) > 0"
        ),
        none
    );
    assert_eq!(of("sum by (le) (rate(fapi_gateway_a_seconds_bucket{$of}[5m]))"), none);
    assert_eq!(of("sum(up{$of})"), none);
    assert_eq!(of("fapi_gateway_request_total{$of}"), ["no metric fapi_gateway_request_total"]);
    assert_eq!(
        of("fapi_gateway_requests_total{$of,routes=\"a\"}"),
        ["fapi_gateway_requests_total has no label routes"]
    );
    assert_eq!(of("fapi_gateway_requests_total{$of,codes!=\"a\"}"), ["fapi_gateway_requests_total has no label codes"]);
    assert_eq!(of("sum by (client) (fapi_gateway_requests_total{$of})"), ["no metric here has a label client"]);
    assert_eq!(of("sum by (le) (fapi_gateway_requests_total{$of})"), ["no metric here has a label le"]);
    assert_eq!(
        of("fapi_gateway_requests_total{$of,code=~\"dpop_.*|dpopp_.*|rate\"}"),
        ["no code dpopp_.*", "no code rate"]
    );
}
