//! The alerts fire when they should, are of metrics that exist, and are explained; a real Prometheus scrapes the gateway and
//! evaluates them.

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::process::Stdio;

use fapi_gateway::telemetry::metrics::Format;
use serde_json::Value;
use serde_yaml::Value as Yaml;

use super::docs::reference::every_metric;
use super::observed::parsed;
use crate::support::prometheus::Prometheus;
use crate::support::tools::tool;
use crate::support::{World, request};

const RULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/prometheus/rules.yaml");

fn read(path: &str) -> String {
    fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR")))
        .unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn rules() -> Vec<Yaml> {
    let file: Yaml = serde_yaml::from_str(&read("deploy/prometheus/rules.yaml")).expect("YAML");
    let groups = file["groups"].as_sequence().expect("groups");
    groups.iter().flat_map(|group| group["rules"].as_sequence().expect("rules").clone()).collect()
}

fn names() -> BTreeSet<String> {
    rules().iter().map(|rule| rule["alert"].as_str().expect("a name").to_owned()).collect()
}

/// The names of metrics in a text.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'));
    words.filter(|word| word.starts_with("fapi_gateway_")).map(str::to_owned).collect()
}

#[test]
fn every_alert_fires_in_one_case_and_is_quiet_in_another() {
    for arguments in [["check", "rules", "rules.yaml"], ["test", "rules", "rules.tests.yaml"]] {
        let folder = format!("{}/deploy/prometheus", env!("CARGO_MANIFEST_DIR"));
        let output = tool("promtool").args(arguments).current_dir(folder).output().expect("promtool runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let cases: Yaml = serde_yaml::from_str(&read("deploy/prometheus/rules.tests.yaml")).expect("YAML");
    let cases: BTreeSet<(String, bool)> = cases["tests"]
        .as_sequence()
        .expect("cases")
        .iter()
        .map(|case| {
            let expected = &case["alert_rule_test"][0];
            let fires = !expected["exp_alerts"].as_sequence().expect("alerts").is_empty();
            (expected["alertname"].as_str().expect("a name").to_owned(), fires)
        })
        .collect();
    let both = names().into_iter().flat_map(|name| [(name.clone(), true), (name, false)]).collect();
    assert_eq!(cases, both);
}

#[test]
fn every_alert_is_of_metrics_that_exist_and_is_explained() {
    let known = metrics_in(&read("docs/reference/metrics.md"));
    for rule in rules() {
        let (name, expression) = (&rule["alert"], rule["expr"].as_str().expect("an expression"));
        let used = metrics_in(expression);
        assert!(!used.is_empty() && used.is_subset(&known), "{name:?}: {used:?}");
        assert!(matches!(rule["labels"]["severity"].as_str(), Some("page" | "ticket")), "{name:?}");
    }
    let page = read("docs/operate/alerts.md");
    let explained = page.lines().filter_map(|line| line.strip_prefix("### ")).map(str::to_owned).collect();
    assert_eq!(names(), explained);
    for rule in rules() {
        let (name, severity) = (rule["alert"].as_str().expect("a name"), rule["labels"]["severity"].as_str());
        let (_, section) = page.split_once(&format!("### {name}\n\n")).expect("a section");
        let section = section.split("\n#").next().unwrap_or_default();
        let says = if severity == Some("page") { "Page. " } else { "Ticket. " };
        assert!(section.starts_with(says), "{name} begins with {says:?}");
        assert_eq!((section.matches("- **Look** ").count(), section.matches("- **Do** ").count()), (1, 1), "{name}");
    }
}

#[test]
fn the_operator_gets_the_same_rules() {
    let object: Yaml =
        serde_yaml::from_str(&read("deploy/kubernetes/components/monitoring/prometheusrule.yaml")).expect("YAML");
    let file: Yaml = serde_yaml::from_str(&read("deploy/prometheus/rules.yaml")).expect("YAML");
    assert_eq!(object["kind"], Yaml::from("PrometheusRule"));
    assert_eq!(object["spec"], file, "copy deploy/prometheus/rules.yaml below `spec`");
}

/// Has promtool read metrics, and find nothing wrong in their names and helps.
fn promtool_accepts(text: &str) {
    let mut check = tool("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let check = check.as_mut().expect("promtool runs");
    check.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("promtool reads");
    let mut said = String::new();
    check.stderr.take().expect("a pipe").read_to_string(&mut said).expect("text");
    assert!(check.wait().expect("promtool ends").success(), "promtool check metrics: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_of_the_reference_is_scraped_with_a_help_and_promtool_accepts_it() {
    // Some come with what is configured, and the others from a gateway that runs.
    let running = World::start().await.gateway.admin("/metrics").await.1;
    let mut scraped = BTreeSet::new();
    for text in [running, every_metric(Format::Prometheus)] {
        promtool_accepts(&text);
        let helps = text.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split_once(' '));
        scraped.extend(helps.filter(|(_, help)| !help.is_empty()).map(|(name, _)| name.to_owned()));
    }
    let table = read("docs/reference/metrics.md");
    let table = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let table: BTreeSet<String> = table.map(str::to_owned).collect();
    assert!(table.len() > 40, "control: {table:?}");
    assert_eq!(table.difference(&scraped).collect::<Vec<_>>(), Vec::<&String>::new());
    let samples = parsed("openmetrics.parser", &every_metric(Format::OpenMetrics));
    assert!(samples.contains("fapi_gateway_requests_total permit"), "{samples}");
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_scrapes_every_metric_with_its_help_and_evaluates_every_alert() {
    let world = World::with(|scene| scene).await;
    assert_eq!(world.judge(world.request()).await.0, 200);
    assert_eq!(world.judge(request("/accounts", "a-bad-token")).await.0, 401);
    let (status, text) = world.gateway.admin("/metrics").await;
    assert_eq!(status, 200);
    promtool_accepts(&text);
    let families: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let prometheus = Prometheus::start(world.gateway.admin_address(), Some(RULES));
    prometheus.until("query?query=up", |data| data["result"][0]["value"][1] == "1").await;
    let metadata = prometheus.until("metadata", |data| data.as_object().is_some_and(|known| !known.is_empty())).await;
    assert!(families.len() > 20, "{families:?}");
    for family in families {
        // In OpenMetrics, which Prometheus asks for, a counter is named without the end of its samples.
        let known = &metadata[family.strip_suffix("_total").unwrap_or(family)][0];
        assert!(known["help"].as_str().is_some_and(|help| !help.is_empty()), "{family}: {known}");
        assert!(matches!(known["type"].as_str(), Some("counter" | "gauge" | "histogram")), "{family}: {known}");
        let unit =
            family.trim_end_matches("_total").rsplit('_').next().filter(|end| ["seconds", "bytes"].contains(end));
        assert_eq!(known["unit"], unit.unwrap_or_default(), "{family}: {known}");
    }
    let evaluated = |data: &Value| {
        let rules = data["groups"][0]["rules"].as_array();
        rules.is_some_and(|rules| !rules.is_empty() && rules.iter().all(|rule| rule["health"] != "unknown"))
    };
    let evaluated = prometheus.until("rules", evaluated).await;
    let evaluated = evaluated["groups"][0]["rules"].as_array().expect("rules");
    assert_eq!(evaluated.len(), names().len());
    for rule in evaluated {
        assert_eq!((&rule["health"], rule.get("lastError")), (&"ok".into(), None), "{rule}");
    }
}
