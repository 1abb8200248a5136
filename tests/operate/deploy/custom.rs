//! Custom resources by the schemas of cert-manager, trust-manager and the Prometheus operator, from a package of another maker. These
//! know types and what must be there; a field that they do not know passes.

use std::io::Write;
use std::process::Stdio;

use serde_yaml::Value;

use super::rendered::{application_values, expect_chart, kustomized};
use super::{file, text};
use crate::support::node::installed;
use crate::support::tools::tool;

const GROUPS: [&str; 3] = ["cert-manager.io/", "trust.cert-manager.io/", "monitoring.coreos.com/"];

#[test]
fn every_custom_resource_fits_the_schema_of_its_kind() {
    let mut values = application_values("sidecar");
    for (key, all) in [("monitoring", "{ podMonitor: true, rules: true }"), ("certManager", "{ enabled: true }")] {
        values[key] = serde_yaml::from_str(all).expect("YAML");
    }
    let chart = expect_chart(&values, &file("deploy/kubernetes/base/gateway.yaml"));
    let all = kustomized().iter().flat_map(|rendered| &rendered.objects).chain(&chart);
    let good: Vec<Value> = all
        .filter(|object| GROUPS.iter().any(|group| text(object, "apiVersion").starts_with(group)))
        .cloned()
        .collect();
    let kind = |kind: &str| good.iter().find(|object| text(object, "kind") == kind).expect("it is among them").clone();
    let broken: [(Value, &str, Value); 4] = [
        (kind("Certificate"), "dnsNames", "api.bank.example".into()),
        (kind("Bundle"), "sources", "all".into()),
        (kind("PodMonitor"), "podMetricsEndpoints", "admin".into()),
        (kind("PrometheusRule"), "groups", "all".into()),
    ];
    let broken: Vec<Value> = broken
        .into_iter()
        .map(|(mut object, key, value)| {
            object["spec"][key] = value;
            object
        })
        .collect();
    assert!(good.len() >= 10, "only {}", good.len());

    let folder = installed(&file("tests/operate/deploy/custom"), &["check.mjs"]);
    let mut node = tool("node");
    node.args(["--no-warnings", "check.mjs"]).current_dir(folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut node = node.spawn().expect("node runs");
    let objects = serde_json::to_vec(&[&good[..], &broken[..]].concat()).expect("JSON");
    node.stdin.take().expect("a pipe").write_all(&objects).expect("node reads");
    let output = node.wait_with_output().expect("node ends");
    assert!(output.status.success());
    let said: Vec<Option<String>> = serde_json::from_slice(&output.stdout).expect("a list");
    let (of_good, of_broken) = said.split_at(good.len());
    for (object, problem) in good.iter().zip(of_good) {
        assert_eq!(*problem, None, "{object:?}");
    }
    // control
    assert!(of_broken.iter().all(Option::is_some), "{of_broken:?}");
}
