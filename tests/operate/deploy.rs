//! The image and the manifests agree with each other and with `deploy/gateway.yaml`. No cluster is needed: the
//! kustomization is rendered here, and the result is compared field by field. `.ci/run` checks each manifest against
//! the schema of its kind.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_yaml::Value;

const GATEWAY: &str = "fapi-gateway";
const APPLICATION: &str = "accounts";

fn file(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub(super) fn read(path: &str) -> String {
    fs::read_to_string(file(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(super) fn yaml(path: &str) -> Value {
    serde_yaml::from_str(&read(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The value at a path such as `spec/ports/0/port`.
pub(super) fn find<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('/').try_fold(value, |value, step| match step.parse::<usize>() {
        Ok(index) => value.get(index),
        Err(_) => value.get(step),
    })
}

#[track_caller]
pub(super) fn at<'v>(value: &'v Value, path: &str) -> &'v Value {
    find(value, path).unwrap_or_else(|| panic!("{path} is missing in {value:?}"))
}

#[track_caller]
pub(super) fn text<'v>(value: &'v Value, path: &str) -> &'v str {
    at(value, path).as_str().unwrap_or_else(|| panic!("{path} is not a string"))
}

#[track_caller]
pub(super) fn number(value: &Value, path: &str) -> u64 {
    at(value, path).as_u64().unwrap_or_else(|| panic!("{path} is not a whole number"))
}

#[track_caller]
pub(super) fn flag(value: &Value, path: &str) -> bool {
    at(value, path).as_bool().unwrap_or_else(|| panic!("{path} is neither true nor false"))
}

#[track_caller]
pub(super) fn list<'v>(value: &'v Value, path: &str) -> &'v Vec<Value> {
    at(value, path).as_sequence().unwrap_or_else(|| panic!("{path} is not a list"))
}

#[track_caller]
pub(super) fn strings(value: &Value, path: &str) -> Vec<String> {
    list(value, path)
        .iter()
        .map(|item| item.as_str().unwrap_or_else(|| panic!("{path}: {item:?}")).to_owned())
        .collect()
}

/// The output of `kubectl kustomize deploy`, without the hashes in generated names.
fn rendered() -> Vec<Value> {
    let kustomization = yaml("deploy/kustomization.yaml");
    let mut objects: Vec<Value> =
        strings(&kustomization, "resources").iter().map(|resource| yaml(&format!("deploy/{resource}"))).collect();
    for generator in list(&kustomization, "configMapGenerator") {
        let data: BTreeMap<String, String> = strings(generator, "files")
            .into_iter()
            .map(|name| (name.clone(), read(&format!("deploy/{name}"))))
            .collect();
        let object = BTreeMap::from([
            ("apiVersion", Value::from("v1")),
            ("kind", Value::from("ConfigMap")),
            (
                "metadata",
                serde_yaml::to_value(BTreeMap::from([("name", text(generator, "name"))])).expect("plain strings"),
            ),
            ("data", serde_yaml::to_value(data).expect("plain strings")),
        ]);
        objects.push(serde_yaml::to_value(object).expect("plain strings"));
    }
    objects
}

#[track_caller]
fn only(kind: &str) -> Value {
    let mut found: Vec<Value> = rendered().into_iter().filter(|object| text(object, "kind") == kind).collect();
    assert_eq!(found.len(), 1, "objects of kind {kind}");
    found.remove(0)
}

fn pod() -> Value {
    at(&only("Deployment"), "spec/template/spec").clone()
}

#[track_caller]
pub(super) fn named(value: &Value, path: &str, name: &str) -> Value {
    let found = list(value, path).iter().find(|item| text(item, "name") == name);
    found.unwrap_or_else(|| panic!("{path} has no {name}")).clone()
}

fn container(name: &str) -> Value {
    named(&pod(), "containers", name)
}

fn gateway_port(name: &str) -> u64 {
    number(&named(&container(GATEWAY), "ports", name), "containerPort")
}

fn port_of(address: &str) -> u64 {
    let (_, port) = address.rsplit_once(':').unwrap_or_else(|| panic!("{address} has no port"));
    port.parse().unwrap_or_else(|error| panic!("{address}: {error}"))
}

/// Each file that the gateway's container sees, with its source: (kind, object, key).
fn mounted_files() -> BTreeMap<String, (&'static str, String, String)> {
    let mut files = BTreeMap::new();
    let pod = pod();
    for mount in list(&container(GATEWAY), "volumeMounts") {
        let volume = named(&pod, "volumes", text(mount, "name"));
        for source in list(&volume, "projected/sources") {
            let (kind, source) = match (find(source, "secret"), find(source, "configMap")) {
                (Some(secret), None) => ("secret", secret),
                (None, Some(map)) => ("configmap", map),
                _ => panic!("neither a Secret nor a ConfigMap: {source:?}"),
            };
            for item in list(source, "items") {
                let path = format!("{}/{}", text(mount, "mountPath"), text(item, "path"));
                let origin = (kind, text(source, "name").to_owned(), text(item, "key").to_owned());
                assert!(files.insert(path.clone(), origin).is_none(), "{path} is mounted twice");
            }
        }
    }
    files
}

/// Collects the strings below keys of gateway.yaml that name files.
fn named_files(value: &Value, below: bool, found: &mut Vec<String>) {
    const KEYS: [&str; 8] = [
        "certificate",
        "private_key",
        "trust_anchors",
        "revocation_lists",
        "nonce_key",
        "username_file",
        "password_file",
        "destination",
    ];
    if let Some(path) = value.as_str() {
        if below && path != "stdout" {
            found.push(path.to_owned());
        }
    } else if let Some(items) = value.as_sequence() {
        items.iter().for_each(|item| named_files(item, below, found));
    } else if let Some(entries) = value.as_mapping() {
        for (key, entry) in entries {
            let names_a_file = key.as_str().is_some_and(|key| KEYS.contains(&key));
            named_files(entry, names_a_file, found);
        }
    }
}

#[test]
fn every_manifest_has_version_kind_and_name() {
    let objects = rendered();
    assert!(objects.len() >= 5, "only {} objects", objects.len());
    let monitoring = ["podmonitor", "prometheusrule"].map(|name| yaml(&format!("deploy/podmonitor/{name}.yaml")));
    for object in objects.iter().chain(&monitoring) {
        assert!(!text(object, "apiVersion").is_empty());
        assert!(!text(object, "kind").is_empty());
        assert!(!text(object, "metadata/name").is_empty());
        assert!(find(object, "metadata/namespace").is_none(), "the namespace is the one applied to");
    }
}

#[test]
fn the_kustomization_uses_nothing_that_these_tests_do_not_render() {
    let known = BTreeSet::from(["apiVersion", "kind", "resources", "configMapGenerator", "images"]);
    let kustomization = yaml("deploy/kustomization.yaml");
    for (key, _) in kustomization.as_mapping().expect("a mapping") {
        assert!(key.as_str().is_some_and(|key| known.contains(key)), "{key:?}");
    }
}

#[test]
fn every_file_beside_the_manifests_is_applied_and_explained() {
    let kustomization = yaml("deploy/kustomization.yaml");
    let mut used = BTreeSet::from(["kustomization.yaml".to_owned(), "README.md".to_owned(), "podmonitor".to_owned()]);
    used.extend(strings(&kustomization, "resources"));
    for generator in list(&kustomization, "configMapGenerator") {
        used.extend(strings(generator, "files"));
    }
    let readme = read("deploy/README.md");
    let here = fs::read_dir(file("deploy")).expect("deploy is a folder");
    let here: BTreeSet<String> =
        here.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect();
    for name in &used {
        assert!(here.contains(name), "{name} does not exist");
        assert!(name == "README.md" || readme.contains(name.as_str()), "deploy/README.md does not explain {name}");
    }
    // Monitoring rules and dashboards are not loaded by kubectl; the README must explain them too.
    for name in here.difference(&used) {
        assert!(readme.contains(name.as_str()), "{name} is neither applied nor explained");
    }
}

#[test]
fn every_container_image_gets_a_name_and_a_fixed_tag() {
    let kustomization = yaml("deploy/kustomization.yaml");
    for container in list(&pod(), "containers") {
        let image = named(&kustomization, "images", text(container, "image"));
        assert!(!text(&image, "newName").is_empty());
        let tag = text(&image, "newTag");
        assert!(!tag.is_empty() && tag != "latest", "{tag}");
    }
}

#[test]
fn the_gateway_image_tag_is_the_version_of_this_package() {
    let image = named(&yaml("deploy/kustomization.yaml"), "images", GATEWAY);
    assert_eq!(text(&image, "newTag"), env!("CARGO_PKG_VERSION"));
}

#[test]
fn probes_ask_the_admin_port_for_the_right_paths() {
    let gateway = container(GATEWAY);
    for (probe, path) in [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
        let request = at(&gateway, probe).get("httpGet").unwrap_or_else(|| panic!("{probe} is not an httpGet"));
        assert_eq!(text(request, "path"), path, "{probe}");
        assert_eq!(text(request, "port"), "admin", "{probe}");
        assert!(find(request, "scheme").is_none_or(|scheme| scheme.as_str() == Some("HTTP")), "{probe}");
    }
}

#[test]
fn the_kubelet_never_probes_the_application_over_the_network() {
    let application = container(APPLICATION);
    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let probe = application.get(probe);
        assert!(probe.is_none_or(|probe| probe.get("exec").is_some()), "it listens on loopback only: {probe:?}");
    }
}

#[test]
fn no_container_runs_as_root() {
    assert!(flag(&pod(), "securityContext/runAsNonRoot"));
    assert_eq!(number(&pod(), "securityContext/runAsUser"), 65532);
    for container in list(&pod(), "containers") {
        assert!(flag(container, "securityContext/runAsNonRoot"));
        assert_eq!(number(container, "securityContext/runAsUser"), 65532);
    }
}

#[test]
fn no_container_can_gain_privileges() {
    for container in list(&pod(), "containers") {
        assert!(!flag(container, "securityContext/allowPrivilegeEscalation"));
        assert!(!flag(container, "securityContext/privileged"));
    }
}

#[test]
fn every_root_file_system_is_read_only() {
    for container in list(&pod(), "containers") {
        assert!(flag(container, "securityContext/readOnlyRootFilesystem"));
    }
}

#[test]
fn every_capability_is_dropped_and_none_added() {
    for container in list(&pod(), "containers") {
        assert_eq!(strings(container, "securityContext/capabilities/drop"), ["ALL"]);
        assert!(find(container, "securityContext/capabilities/add").is_none());
    }
}

#[test]
fn the_seccomp_profile_is_the_runtimes() {
    assert_eq!(text(&pod(), "securityContext/seccompProfile/type"), "RuntimeDefault");
    for container in list(&pod(), "containers") {
        assert_eq!(text(container, "securityContext/seccompProfile/type"), "RuntimeDefault");
    }
}

#[test]
fn the_pod_shares_nothing_with_its_node_and_holds_no_service_account_token() {
    let pod = pod();
    assert!(!flag(&pod, "automountServiceAccountToken"));
    for shared in ["hostNetwork", "hostPID", "hostIPC"] {
        assert!(find(&pod, shared).is_none(), "{shared}");
    }
    for volume in list(&pod, "volumes") {
        assert!(volume.get("hostPath").is_none(), "{volume:?}");
    }
}

#[test]
fn every_container_has_requests_and_limits() {
    for container in list(&pod(), "containers") {
        for bound in ["requests", "limits"] {
            for resource in ["cpu", "memory"] {
                assert!(!text(container, &format!("resources/{bound}/{resource}")).is_empty());
            }
        }
    }
}

#[test]
fn every_volume_mount_has_a_volume_and_is_read_only() {
    let pod = pod();
    for container in list(&pod, "containers") {
        let Some(mounts) = container.get("volumeMounts").and_then(Value::as_sequence) else { continue };
        for mount in mounts {
            named(&pod, "volumes", text(mount, "name"));
            assert!(flag(mount, "readOnly"), "{mount:?}");
        }
    }
}

#[test]
fn only_the_gateway_mounts_the_private_key() {
    assert!(container(APPLICATION).get("volumeMounts").is_none());
    // 0440: readable by the pod's group and by no one else.
    assert_eq!(number(&named(&pod(), "volumes", "gateway"), "projected/defaultMode"), 0o440);
    assert_eq!(number(&pod(), "securityContext/fsGroup"), number(&pod(), "securityContext/runAsGroup"));
}

#[test]
fn every_configmap_and_secret_is_generated_or_has_its_command_in_the_readme() {
    let generated: BTreeMap<String, Value> = rendered()
        .into_iter()
        .filter(|object| text(object, "kind") == "ConfigMap")
        .map(|object| (text(&object, "metadata/name").to_owned(), object))
        .collect();
    let readme = read("deploy/README.md");
    let commands: Vec<&str> = readme.lines().filter(|line| line.starts_with("kubectl create ")).collect();
    for (path, (kind, name, key)) in mounted_files() {
        match generated.get(&name) {
            Some(map) => {
                assert_eq!(kind, "configmap", "{path}");
                assert!(at(map, "data").get(key.as_str()).is_some(), "{name} has no {key}");
            }
            // `create secret tls` makes the keys tls.crt and tls.key.
            None if kind == "secret" => {
                let command = format!("kubectl create secret tls {name} ");
                assert!(commands.iter().any(|line| line.starts_with(&command)), "no `{command}`");
                assert!(["tls.crt", "tls.key"].contains(&key.as_str()), "{key}");
            }
            None => {
                let command = format!("kubectl create configmap {name} --from-file={key}=");
                assert!(commands.iter().any(|line| line.starts_with(&command)), "no `{command}`");
            }
        }
    }
}

#[test]
fn no_container_takes_a_secret_from_its_environment() {
    for container in list(&pod(), "containers") {
        assert!(container.get("envFrom").is_none());
        for variable in container.get("env").and_then(Value::as_sequence).into_iter().flatten() {
            assert!(variable.get("valueFrom").is_none(), "{variable:?}");
        }
    }
}

#[test]
fn every_file_named_in_gateway_yaml_is_mounted() {
    let mounted = mounted_files();
    let mut named = Vec::new();
    named_files(&yaml("deploy/gateway.yaml"), false, &mut named);
    assert!(named.len() >= 4, "only {named:?}");
    for path in named {
        assert!(mounted.contains_key(&path), "{path} is not mounted; mounted are {:?}", mounted.keys());
    }
}

#[test]
fn every_mounted_file_is_named_in_gateway_yaml_or_is_it() {
    let mut named = Vec::new();
    named_files(&yaml("deploy/gateway.yaml"), false, &mut named);
    for path in mounted_files().keys() {
        assert!(path.ends_with("/gateway.yaml") || named.contains(path), "nothing reads {path}");
    }
}

#[test]
fn the_command_line_names_the_mounted_configuration() {
    let arguments = strings(&container(GATEWAY), "args");
    assert_eq!(arguments[..2], ["run", "--config"]);
    let (kind, name, key) = &mounted_files()[&arguments[2]];
    assert_eq!((*kind, name.as_str(), key.as_str()), ("configmap", "fapi-gateway-config", "gateway.yaml"));
    assert_eq!(arguments, instruction_list("CMD"), "the image's own default");
}

#[test]
fn the_data_port_is_the_listeners() {
    let gateway = yaml("deploy/gateway.yaml");
    let listeners = list(&gateway, "listeners");
    assert_eq!(listeners.len(), 1, "one port named https");
    assert_eq!(gateway_port("https"), port_of(text(&listeners[0], "address")));
}

#[test]
fn the_admin_port_is_the_admin_listeners_and_reachable_from_the_node() {
    let gateway = yaml("deploy/gateway.yaml");
    let address = text(&gateway, "admin/address");
    assert_eq!(gateway_port("admin"), port_of(address));
    assert!(address.starts_with("0.0.0.0:"), "the kubelet cannot reach {address}");
}

#[test]
fn the_gateway_opens_no_port_that_the_manifest_does_not_name() {
    let gateway = yaml("deploy/gateway.yaml");
    let mut opened: BTreeSet<u64> =
        list(&gateway, "listeners").iter().map(|listener| port_of(text(listener, "address"))).collect();
    opened.insert(port_of(text(&gateway, "admin/address")));
    let container = container(GATEWAY);
    let named: BTreeSet<u64> = list(&container, "ports").iter().map(|port| number(port, "containerPort")).collect();
    assert_eq!(opened, named);
    assert!(named.iter().all(|port| *port >= 1024), "a port below 1024 needs a capability");
}

#[test]
fn the_application_listens_on_loopback_where_the_upstream_points() {
    let application = container(APPLICATION);
    assert!(application.get("ports").is_none(), "nothing outside the pod may reach it");
    let address = named(&application, "env", "LISTEN_ADDRESS");
    let address = text(&address, "value");
    assert!(address.starts_with("127.0.0.1:"), "{address}");
    let gateway = yaml("deploy/gateway.yaml");
    assert_eq!(strings(&gateway, "upstreams/accounts/servers"), [format!("http://{address}")]);
}

#[test]
fn every_route_requires_a_scope_and_a_bound_certificate() {
    for route in list(&yaml("deploy/gateway.yaml"), "routes") {
        assert!(!list(route, "scopes").is_empty());
        assert_eq!(strings(route, "sender_constraint"), ["certificate"]);
    }
}

#[test]
fn every_origin_is_https() {
    for listener in list(&yaml("deploy/gateway.yaml"), "listeners") {
        let origins = strings(listener, "origins");
        assert!(!origins.is_empty() && origins.iter().all(|origin| origin.starts_with("https://")), "{origins:?}");
    }
}

#[test]
fn the_service_targets_the_data_port_by_name_and_nothing_else() {
    let service = only("Service");
    let ports = list(&service, "spec/ports");
    assert_eq!(ports.len(), 1, "the admin port stays inside");
    assert_eq!(number(&ports[0], "port"), 443);
    assert_eq!(text(&ports[0], "targetPort"), "https");
    gateway_port("https");
}

#[test]
fn every_selector_finds_the_pod() {
    let deployment = only("Deployment");
    let labels = at(&deployment, "spec/template/metadata/labels");
    let monitor = yaml("deploy/podmonitor/podmonitor.yaml");
    let selectors = [
        at(&deployment, "spec/selector/matchLabels").clone(),
        at(&only("Service"), "spec/selector").clone(),
        at(&only("NetworkPolicy"), "spec/podSelector/matchLabels").clone(),
        at(&only("PodDisruptionBudget"), "spec/selector/matchLabels").clone(),
        at(&monitor, "spec/selector/matchLabels").clone(),
    ];
    let spread = list(&deployment, "spec/template/spec/topologySpreadConstraints");
    for selector in selectors.iter().chain(spread.iter().map(|constraint| at(constraint, "labelSelector/matchLabels")))
    {
        let selector = selector.as_mapping().expect("labels");
        assert!(!selector.is_empty(), "selects everything");
        for (label, value) in selector {
            assert_eq!(labels.get(label), Some(value), "{label:?}");
        }
    }
}

#[test]
fn the_network_policy_opens_the_admin_port_to_the_scraper_alone() {
    let policy = only("NetworkPolicy");
    assert_eq!(strings(&policy, "spec/policyTypes"), ["Ingress"]);
    let mut opened = BTreeMap::new();
    for rule in list(&policy, "spec/ingress") {
        for port in list(rule, "ports") {
            opened.insert(text(port, "port").to_owned(), rule.get("from").cloned());
        }
    }
    assert_eq!(opened.keys().collect::<Vec<_>>(), ["admin", "https"]);
    assert!(opened["https"].is_none(), "clients connect from anywhere");
    let scraper = opened["admin"].as_ref().and_then(Value::as_sequence).expect("the admin port has a `from`");
    assert!(scraper.iter().all(|peer| find(peer, "namespaceSelector/matchLabels").is_some()), "{scraper:?}");
}

#[test]
fn both_ways_of_scraping_read_metrics_from_the_admin_port() {
    let deployment = only("Deployment");
    let annotations = at(&deployment, "spec/template/metadata/annotations");
    let annotation = |name: &str| annotations.get(name).and_then(Value::as_str).map(str::to_owned);
    assert_eq!(annotation("prometheus.io/scrape").as_deref(), Some("true"));
    assert_eq!(annotation("prometheus.io/path").as_deref(), Some("/metrics"));
    assert_eq!(annotation("prometheus.io/port"), Some(gateway_port("admin").to_string()));
    let monitor = yaml("deploy/podmonitor/podmonitor.yaml");
    let endpoints = list(&monitor, "spec/podMetricsEndpoints");
    assert_eq!(endpoints.len(), 1);
    assert_eq!(text(&endpoints[0], "path"), "/metrics");
    assert_eq!(text(&endpoints[0], "port"), "admin");
}

#[test]
fn the_podmonitor_replaces_the_scrape_annotation() {
    let component = yaml("deploy/podmonitor/kustomization.yaml");
    assert_eq!(text(&component, "kind"), "Component");
    assert_eq!(strings(&component, "resources"), ["podmonitor.yaml", "prometheusrule.yaml"]);
    let deployment = only("Deployment");
    let patch = &list(&component, "patches")[0];
    assert_eq!(text(patch, "target/kind"), "Deployment");
    assert_eq!(text(patch, "target/name"), text(&deployment, "metadata/name"));
    let operations: Value = serde_yaml::from_str(text(patch, "patch")).expect("a JSON patch");
    assert_eq!(text(&operations, "0/op"), "remove");
    let path = text(&operations, "0/path");
    let (parent, key) = path.rsplit_once('/').expect("a pointer");
    assert!(at(&deployment, parent.trim_start_matches('/')).get(key.replace("~1", "/")).is_some(), "{path}");
}

#[test]
fn a_roll_out_never_takes_a_pod_away_before_its_successor_is_ready() {
    let deployment = only("Deployment");
    assert!(number(&deployment, "spec/replicas") >= 2);
    assert_eq!(text(&deployment, "spec/strategy/type"), "RollingUpdate");
    assert_eq!(number(&deployment, "spec/strategy/rollingUpdate/maxUnavailable"), 0);
    assert!(number(&deployment, "spec/strategy/rollingUpdate/maxSurge") >= 1);
}

#[test]
fn an_eviction_leaves_all_but_one_pod() {
    assert_eq!(number(&only("PodDisruptionBudget"), "spec/maxUnavailable"), 1);
}

#[test]
fn the_application_outlives_the_gateways_drain_within_the_grace_period() {
    let grace = number(&pod(), "terminationGracePeriodSeconds");
    let waits = number(&container(APPLICATION), "lifecycle/preStop/sleep/seconds");
    let gateway = yaml("deploy/gateway.yaml");
    let seconds = |path: &str| text(&gateway, path).strip_suffix('s').and_then(|time| time.parse::<u64>().ok());
    let (delay, timeout) = (seconds("drain/delay").expect("seconds"), seconds("drain/timeout").expect("seconds"));
    assert_eq!(grace, 60);
    assert!(delay + timeout + 5 <= waits && waits + 15 <= grace, "{delay} s, {timeout} s, {waits} s of {grace} s");
    let probe = container(GATEWAY);
    let probe = |key: &str| number(&probe, &format!("readinessProbe/{key}"));
    let unnoticed = probe("periodSeconds") * probe("failureThreshold") + probe("timeoutSeconds");
    assert!(unnoticed <= delay, "the probe may notice after {unnoticed} s, connections are accepted for {delay} s");
    assert!(find(&container(GATEWAY), "lifecycle").is_none(), "the gateway begins to drain at once");
}

/// The instructions of the Dockerfile with their arguments, by stage, with continuation lines joined; what comes before the
/// first stage is the name of the one that the program comes from.
fn stages() -> Vec<Vec<(String, String)>> {
    let text: String = read("Dockerfile").lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    let mut stages: Vec<Vec<(String, String)>> = Vec::new();
    for line in text.replace("\\\n", " ").lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (instruction, argument) = line.split_once(' ').unwrap_or_else(|| panic!("{line}"));
        if instruction == "FROM" {
            stages.push(Vec::new());
        }
        let Some(stage) = stages.last_mut() else {
            assert_eq!(line, "ARG PROGRAM=builder", "before any stage");
            continue;
        };
        stage.push((instruction.to_owned(), argument.trim().to_owned()));
    }
    stages
}

/// The argument of the only such instruction in the last stage.
#[track_caller]
fn instruction(name: &str) -> String {
    let stages = stages();
    let last = stages.last().expect("a stage");
    let found: Vec<&String> =
        last.iter().filter(|(instruction, _)| instruction == name).map(|(_, text)| text).collect();
    assert_eq!(found.len(), 1, "{name} in the last stage");
    found[0].clone()
}

#[track_caller]
fn instruction_list(name: &str) -> Vec<String> {
    serde_yaml::from_str(&instruction(name)).unwrap_or_else(|error| panic!("{name} is not in exec form: {error}"))
}

#[test]
fn the_last_stage_is_distroless_and_not_root() {
    let stages = stages();
    let names: Vec<_> = stages.iter().map(|stage| stage[0].1.rsplit_once(" AS ").map(|(_, name)| name)).collect();
    assert_eq!(names, [Some("builder"), Some("optimized"), Some("program"), None]);
    assert_eq!(stages[2], [("FROM".into(), "${PROGRAM} AS program".into())]);
    let base = instruction("FROM");
    assert!(base.starts_with("gcr.io/distroless/cc-debian12:") && base.ends_with("nonroot"), "{base}");
    assert!(stages[3].iter().all(|(instruction, _)| instruction != "RUN"), "there is no shell to run anything");
}

#[test]
fn every_base_image_has_a_tag_and_none_is_latest() {
    let stages = stages();
    let images = stages.iter().map(|stage| stage[0].1.split(' ').next().expect("an image"));
    for image in images.filter(|image| *image != "${PROGRAM}") {
        let (_, tag) = image.rsplit_once(':').unwrap_or_else(|| panic!("{image} has no tag"));
        assert!(!tag.contains("latest"), "{image}");
    }
}

#[test]
fn the_builders_have_the_toolchain_that_the_manifest_asks_for() {
    let manifest = read("Cargo.toml");
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).expect("rust-version");
    for (stage, name) in stages().iter().zip(["builder", "optimized"]) {
        assert_eq!(stage[0].1, format!("rust:{}-bookworm AS {name}", version.trim_matches('"')));
    }
}

#[test]
fn the_entrypoint_is_the_program_that_the_builder_made() {
    assert_eq!(instruction_list("ENTRYPOINT"), ["/usr/local/bin/fapi-gateway"]);
    assert_eq!(env!("CARGO_PKG_NAME"), GATEWAY);
    let copied = instruction("COPY");
    assert!(copied.ends_with("/target/release/fapi-gateway /usr/local/bin/fapi-gateway"), "{copied}");
    assert!(copied.starts_with("--from=program "), "{copied}");
    let (_, optimized) = stages().swap_remove(1).pop().expect("a build");
    assert!(optimized.starts_with("deploy/build --no-default-features --features mimalloc "), "{optimized}");
    assert!(optimized.ends_with(" cp target/optimized/fapi-gateway target/release/"), "{optimized}");
}

#[test]
fn the_image_runs_as_the_user_of_the_manifests() {
    let user = number(&container(GATEWAY), "securityContext/runAsUser");
    let group = number(&pod(), "securityContext/runAsGroup");
    assert_eq!(instruction("USER"), format!("{user}:{group}"), "by number: runAsNonRoot cannot judge a name");
}

#[test]
fn the_image_exposes_the_ports_of_the_manifests() {
    assert_eq!(instruction("EXPOSE"), format!("{} {}", gateway_port("https"), gateway_port("admin")));
}

#[test]
fn every_build_keeps_to_the_lock_file() {
    let builds = stages()[0].iter().filter(|(name, text)| name == "RUN" && text.contains("cargo build")).count();
    assert_eq!(builds, 2, "dependencies, then the program");
    for (_, text) in stages()[0].iter().filter(|(_, text)| text.contains("cargo build")) {
        assert!(text.contains("cargo build --release --locked"), "{text}");
    }
}

#[test]
fn the_dependency_layer_has_every_manifest_and_none_of_our_sources() {
    let builder = &stages()[0];
    let first = builder.iter().position(|(_, text)| text.contains("cargo build")).expect("a build");
    let copies: Vec<&str> =
        builder[..first].iter().filter(|(name, _)| name == "COPY").map(|(_, text)| text.as_str()).collect();
    assert!(copies.iter().all(|copy| !copy.starts_with("src")), "{copies:?}");
    for line in read("Cargo.toml").lines().map(str::trim) {
        let folders: Vec<&str> = if let Some(members) = line.strip_prefix("members = ") {
            members.split('"').skip(1).step_by(2).filter(|member| *member != ".").collect()
        } else if let Some((_, path)) = line.split_once("{ path = \"") {
            path.split('"').take(1).collect()
        } else {
            continue;
        };
        for folder in folders {
            let top = folder.split('/').next().expect("a folder");
            assert!(copies.iter().any(|copy| copy.starts_with(top)), "{folder} is missing in {copies:?}");
        }
    }
}

#[test]
fn the_real_sources_count_as_newer_than_the_empty_ones() {
    let builder = stages().remove(0);
    let (_, last) = builder.last().expect("a build");
    assert!(last.starts_with("touch src/main.rs src/lib.rs"), "cargo would keep the empty placeholder program: {last}");
}

#[test]
fn the_build_context_is_what_the_builders_need_and_no_more() {
    let ignored = read(".dockerignore");
    let mut lines = ignored.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    assert_eq!(lines.next(), Some("*"), "everything is excluded first");
    let allowed: BTreeSet<&str> =
        lines.map(|line| line.strip_prefix('!').unwrap_or_else(|| panic!("{line} is not an exception"))).collect();
    let builder = stages().remove(0);
    // tests/external/image.py runs what the second builder needs these for.
    let trained_with = ["benches/exchange", "crates/sandbox/src", "deploy/build", "examples/train.rs"];
    let needed: BTreeSet<&str> = builder
        .iter()
        .filter(|(name, _)| name == "COPY")
        .flat_map(|(_, text)| text.rsplit_once(' ').expect("a target").0.split(' '))
        .chain(trained_with)
        .collect();
    assert_eq!(allowed, needed);
}
