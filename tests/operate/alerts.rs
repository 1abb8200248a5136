//! The alerts fire when they should, are of metrics that exist, and are explained; a real Prometheus scrapes the gateway and
//! evaluates them.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::process::{Child, Stdio};

use serde_json::Value;
use serde_yaml::Value as Yaml;
use tokio::time::timeout;

use crate::support::tools::tool;
use crate::support::{DEADLINE, Folder, World, free_ports, http_client, request};

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

/// A Prometheus server, which ends with the test.
struct Prometheus {
    child: Child,
    port: u16,
    _folder: Folder,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    fn start(target: std::net::SocketAddr) -> Self {
        let folder = Folder::new();
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [\"{RULES}\"]\n\
             scrape_configs: [{{ job_name: gateway, static_configs: [{{ targets: [\"{target}\"] }}] }}]\n"
        );
        let config = folder.write("prometheus.yml", &config);
        // Somebody else may take the port in between.
        for port in free_ports(20) {
            let mut child = tool("prometheus")
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("prometheus runs");
            let began = crate::support::client::now();
            while crate::support::client::now() - began < DEADLINE.as_secs() {
                if matches!(child.try_wait(), Ok(Some(_))) {
                    break;
                }
                if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Self { child, port, _folder: folder };
                }
                std::thread::yield_now();
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("prometheus does not start");
    }

    async fn ask(&self, path: &str) -> Value {
        let url = format!("http://127.0.0.1:{}/api/v1/{path}", self.port);
        let answer = http_client().get(url).send().await.expect("prometheus answers").bytes().await.expect("a body");
        serde_json::from_slice(&answer).unwrap_or(Value::Null)
    }

    /// Asks until the answer is as it should be.
    async fn until(&self, path: &str, good: impl Fn(&Value) -> bool) -> Value {
        let asked = async {
            loop {
                let answer = self.ask(path).await;
                if good(&answer["data"]) {
                    return answer["data"].clone();
                }
            }
        };
        timeout(DEADLINE, asked).await.unwrap_or_else(|_| panic!("{path} is never as it should be"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_scrapes_every_metric_with_its_help_and_evaluates_every_alert() {
    let world = World::with(|scene| scene).await;
    assert_eq!(world.judge(world.request()).await.0, 200);
    assert_eq!(world.judge(request("/accounts", "a-bad-token")).await.0, 401);
    let (status, text) = world.gateway.admin("/metrics").await;
    assert_eq!(status, 200);
    let mut check = tool("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let check = check.as_mut().expect("promtool runs");
    check.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("promtool reads");
    assert!(check.wait().expect("promtool ends").success(), "promtool check metrics");
    let families: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let prometheus = Prometheus::start(world.gateway.admin_address());
    prometheus.until("query?query=up", |data| data["result"][0]["value"][1] == "1").await;
    let metadata = prometheus.until("metadata", |data| data.as_object().is_some_and(|known| !known.is_empty())).await;
    assert!(families.len() > 20, "{families:?}");
    for family in families {
        // In OpenMetrics, which Prometheus asks for, a counter is named without the end of its samples.
        let known = &metadata[family.strip_suffix("_total").unwrap_or(family)][0];
        assert!(known["help"].as_str().is_some_and(|help| !help.is_empty()), "{family}: {known}");
        assert!(matches!(known["type"].as_str(), Some("counter" | "gauge" | "histogram")), "{family}: {known}");
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
