//! The chart renders the same objects as the kustomizations, and says what is wrong with values.

use std::collections::BTreeMap;

use serde_yaml::Value;

use super::rendered::{Rendered, application_values, chart, charted, expect_chart, rendered, standalone_values};
use super::{at, file, list, number, read, strings, text, yaml};
use crate::support::Folder;
use crate::support::tools::tool;

/// The objects by kind and name, without what Helm or Kustomize adds: labels of the release, and the hash in a name.
fn bare(rendered: &Rendered) -> BTreeMap<String, Value> {
    fn strip(value: &mut Value) {
        const OF_HELM: [&str; 5] = [
            "app.kubernetes.io/instance",
            "app.kubernetes.io/version",
            "app.kubernetes.io/managed-by",
            "helm.sh/chart",
            "checksum/config",
        ];
        match value {
            Value::Mapping(entries) => {
                entries.retain(|key, _| key.as_str().is_none_or(|key| !OF_HELM.contains(&key)));
                entries.iter_mut().for_each(|(_, value)| strip(value));
            }
            Value::Sequence(items) => items.iter_mut().for_each(strip),
            Value::String(name) if name.starts_with("fapi-gateway-config-") => {
                name.truncate("fapi-gateway-config".len())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Tagged(_) => {}
        }
    }
    let objects = rendered.objects.iter().cloned().map(|mut object| {
        strip(&mut object);
        // Kustomize gives none to what it generates.
        if text(&object, "kind") == "ConfigMap" {
            object["metadata"].as_mapping_mut().expect("metadata").remove("labels");
        }
        // The order in which lists were put together means nothing.
        for path in ["containers", "volumes"] {
            if let Some(items) = object
                .get_mut("spec")
                .and_then(|it| it.get_mut("template"))
                .and_then(|it| it["spec"][path].as_sequence_mut())
            {
                items.sort_by_key(|item| item["name"].as_str().map(str::to_owned));
            }
        }
        (format!("{} {}", text(&object, "kind"), text(&object, "metadata/name")), object)
    });
    objects.collect()
}

#[test]
fn the_chart_renders_what_the_kustomizations_do() {
    for chart in charted() {
        let overlay = rendered(chart.name.strip_suffix(" in the chart").expect("a mode"));
        let (ours, theirs) = (bare(chart), bare(overlay));
        assert!(ours.len() >= 6, "{}: {:?}", chart.name, ours.keys());
        for (name, object) in &ours {
            let other = theirs.get(name).unwrap_or_else(|| panic!("{}: {name} is not in the overlay", chart.name));
            assert_eq!(object, other, "{}: {name}", chart.name);
        }
        // What the overlay has beyond that is the application.
        for name in theirs.keys().filter(|name| !ours.contains_key(*name)) {
            assert!(
                name.ends_with(" accounts") || name.contains(" accounts-"),
                "{}: the chart lacks {name}",
                chart.name
            );
        }
    }
}

#[test]
fn helm_finds_nothing_to_say_about_the_chart() {
    let folder = Folder::new();
    let config = folder.write("gateway.yaml", &read("deploy/kubernetes/base/gateway.yaml"));
    let lint = tool("helm")
        .args(["lint", "--strict", "--quiet"])
        .arg(file("deploy/helm/fapi-gateway"))
        .arg(format!("--set-file=config={}", config.display()))
        .output()
        .expect("helm runs");
    let said = String::from_utf8_lossy(&lint.stdout);
    assert!(lint.status.success() && !said.contains("[WARNING]") && !said.contains("[ERROR]"), "{said}");
    let versions = yaml("deploy/helm/fapi-gateway/Chart.yaml");
    for key in ["version", "appVersion"] {
        assert_eq!(text(&versions, key), env!("CARGO_PKG_VERSION"));
    }
}

#[test]
fn values_that_would_not_work_are_refused_with_the_reason() {
    let base = file("deploy/kubernetes/base/gateway.yaml");
    let values = |yaml: &str| -> Value { serde_yaml::from_str(yaml).expect("YAML") };
    let said = |values: &Value, config: &std::path::Path| {
        let output = chart(values, config);
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let good = values("mode: standalone");
    assert!(said(&good, &base).0, "control");
    for (wrong, reason) in [
        ("mode: ambient", "mode"),
        ("image: { tag: latest }", "tag"),
        ("image: { digest: sha256:short }", "digest"),
        ("autoscalling: { minReplicas: 2 }", "autoscalling"),
        ("networkPolicy: { scrapers: [{}] }", "scrapers"),
        ("mode: sidecar", "application.pod: the pod of the application needs `containers`"),
        (
            "mode: sidecar\napplication: { name: a, labels: { app: a }, pod: { containers: [{ name: a }] } }",
            "application.pod: without `securityContext.fsGroup` the gateway may not read its private key",
        ),
    ] {
        let (accepted, said) = said(&values(wrong), &base);
        assert!(!accepted && said.contains(reason), "{wrong}: {said}");
    }
    let folder = Folder::new();
    let text = read("deploy/kubernetes/base/gateway.yaml");
    for (from, to, reason) in [
        ("0.0.0.0:9464", "127.0.0.1:9464", "config: probes come from outside the pod"),
        ("listeners:", "listners:", "config: the chart has one port"),
        ("profile: fapi2-security", "profile: [", "config: "),
    ] {
        assert!(text.contains(from));
        let config = folder.write("gateway.yaml", &text.replace(from, to));
        let (accepted, said) = said(&good, &config);
        assert!(!accepted && said.contains(reason), "{to}: {said}");
    }
    let (accepted, said) = said(&good, &folder.write("empty.yaml", ""));
    assert!(!accepted && said.contains("config"), "{said}");
}

#[test]
fn ports_and_hosts_follow_gateway_yaml() {
    let folder = Folder::new();
    let text = read("deploy/kubernetes/base/gateway.yaml");
    let text = text.replace("0.0.0.0:8443", "0.0.0.0:9443").replace("0.0.0.0:9464", "0.0.0.0:9999");
    let text = text.replace(
        "https://api.bank.example\"]\n    tls",
        "https://api.bank.example:9443\", \"https://b.bank.example\"]\n    tls",
    );
    let config = folder.write("gateway.yaml", &text);
    let mut values = standalone_values();
    values["certManager"] = serde_yaml::from_str("{ enabled: true }").expect("YAML");
    let objects = Rendered { name: "other ports", objects: expect_chart(&values, &config) };
    assert_eq!((objects.port("https"), objects.port("admin")), (9443, 9999));
    assert_eq!(number(objects.named("Service", "fapi-gateway"), "spec/ports/0/targetPort"), 9443);
    let opened = list(objects.named("NetworkPolicy", "fapi-gateway"), "spec/ingress");
    assert_eq!(opened.iter().map(|rule| number(rule, "ports/0/port")).collect::<Vec<_>>(), [9443, 9999]);
    let annotations = at(objects.pod(), "metadata/annotations");
    assert_eq!(annotations.get("prometheus.io/port").and_then(Value::as_str), Some("9999"));
    assert_eq!(
        strings(objects.named("Certificate", "fapi-gateway-tls"), "spec/dnsNames"),
        ["api.bank.example", "b.bank.example"]
    );
}

#[test]
fn with_tls_the_admin_listener_is_asked_by_https() {
    let folder = Folder::new();
    let tls = "0.0.0.0:9464\n  tls: { certificate: tls/tls.crt, private_key: tls/tls.key, trust_anchors: [client-ca/ca.crt] }";
    let config = read("deploy/kubernetes/base/gateway.yaml").replace("0.0.0.0:9464", tls);
    let mut values = standalone_values();
    values["monitoring"] = serde_yaml::from_str("{ podMonitor: true, tlsConfig: { serverName: api } }").expect("YAML");
    for (config, scheme) in [(config, Some("HTTPS")), (read("deploy/kubernetes/base/gateway.yaml"), None)] {
        let objects = expect_chart(&values, &folder.write("gateway.yaml", &config));
        let objects = Rendered { name: "admin.tls", objects };
        let container = &list(objects.pod(), "spec/containers")[0];
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let asked = at(container, &format!("{probe}/httpGet"));
            assert_eq!(asked.get("scheme").and_then(Value::as_str), scheme, "{probe}");
        }
        let annotations = at(objects.pod(), "metadata/annotations");
        let lower = scheme.map(str::to_lowercase);
        assert_eq!(annotations.get("prometheus.io/scheme").and_then(Value::as_str), lower.as_deref());
        let monitored = &list(objects.named("PodMonitor", "fapi-gateway"), "spec/podMetricsEndpoints")[0];
        assert_eq!(monitored.get("scheme").and_then(Value::as_str), lower.as_deref());
        assert_eq!(monitored.get("tlsConfig").is_some(), scheme.is_some());
    }
}

#[test]
fn monitoring_brings_the_alerts_and_the_dashboard() {
    let mut values = application_values("sidecar");
    values["monitoring"] =
        serde_yaml::from_str("{ podMonitor: true, rules: true, dashboard: true, labels: { release: prometheus } }")
            .expect("YAML");
    let objects = expect_chart(&values, &file("deploy/kubernetes/base/gateway.yaml"));
    let objects = Rendered { name: "monitored", objects };
    let rules = objects.named("PrometheusRule", "fapi-gateway");
    assert_eq!(at(rules, "spec"), &yaml("deploy/prometheus/rules.yaml"));
    assert_eq!(text(rules, "metadata/labels/release"), "prometheus");
    assert_eq!(list(objects.named("PodMonitor", "fapi-gateway"), "spec/podMetricsEndpoints").len(), 1);
    let annotations = at(objects.pod(), "metadata/annotations");
    assert!(annotations.get("prometheus.io/scrape").is_none() && annotations.get("prometheus.io/port").is_some());
    let dashboard = text(objects.named("ConfigMap", "fapi-gateway-dashboard"), "data/fapi-gateway.json");
    assert_eq!(dashboard.trim_end(), read("deploy/grafana/dashboard.json").trim_end(), "nothing in it is a template");
}
