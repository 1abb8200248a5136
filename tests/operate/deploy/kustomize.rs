//! The kustomizations: every file is part of one and explained, and the parts that only some of them have.

use std::collections::BTreeSet;
use std::path::Path;

use serde_yaml::Value;

use super::rendered::{all, kustomize, kustomized, rendered};
use super::{at, file, find, flag, items, list, number, read, strings, text, yaml};
use crate::support::Folder;
use crate::support::source::walk;

#[test]
fn every_file_of_the_kustomizations_is_part_of_one() {
    let folder = file("deploy/kubernetes");
    for path in walk(&folder) {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if ["kustomization.yaml", "README.md", "gateway.tests.yaml"].contains(&name.as_str()) {
            continue;
        }
        let kustomization = path.with_file_name("kustomization.yaml");
        let text =
            std::fs::read_to_string(&kustomization).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(text.contains(&name), "{} is not part of {}", path.display(), kustomization.display());
    }
}

#[test]
fn every_folder_is_explained_where_a_newcomer_looks() {
    let names = |folder: &str| -> Vec<String> {
        let entries = std::fs::read_dir(file(folder)).expect("a folder");
        entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect()
    };
    for (folder, page) in [
        ("deploy", "deploy/README.md"),
        ("deploy/kubernetes", "deploy/kubernetes/README.md"),
        ("deploy/kubernetes/components", "deploy/kubernetes/README.md"),
        ("deploy/kubernetes/overlays", "deploy/kubernetes/README.md"),
        ("deploy/package", "docs/operate/machine.md"),
    ] {
        let page = read(page);
        for name in names(folder).iter().filter(|name| *name != "README.md") {
            assert!(page.contains(name.as_str()), "{folder}/{name} is not explained");
        }
    }
}

#[test]
fn every_object_has_a_name_and_leaves_its_namespace_to_whoever_applies_it() {
    for rendered in all() {
        for object in &rendered.objects {
            assert!(!text(object, "apiVersion").is_empty() && !text(object, "metadata/name").is_empty());
            assert!(find(object, "metadata/namespace").is_none(), "{}: {object:?}", rendered.name);
        }
    }
}

#[test]
fn a_changed_configuration_rolls_out_new_pods() {
    for rendered in kustomized() {
        let (_, name, _) = &rendered.mounted()["/etc/fapi-gateway/gateway.yaml"];
        let hash = name.strip_prefix("fapi-gateway-config-").unwrap_or_else(|| panic!("{name} has no hash"));
        assert_eq!(hash.len(), 10, "{name}");
        rendered.named("ConfigMap", name);
    }
    let hash = |name: &str| rendered(name).mounted()["/etc/fapi-gateway/gateway.yaml"].1.clone();
    assert_eq!(hash("sidecar"), hash("native-sidecar"), "the same file");
    assert_ne!(hash("sidecar"), hash("standalone"), "control: another file");
}

#[test]
fn every_object_that_is_mounted_is_made_here_or_by_a_command_of_the_page() {
    let pages = ["deploy/kubernetes/README.md", "deploy/redis/README.md"].map(read).join("\n");
    let commands: Vec<&str> = pages.lines().filter(|line| line.starts_with("kubectl create ")).collect();
    let has = |beginning: &str| commands.iter().any(|line| line.starts_with(beginning));
    for rendered in kustomized() {
        for (path, (kind, name, key)) in rendered.mounted() {
            let by_cert_manager = rendered.of_kind("Certificate").iter().any(|it| text(it, "spec/secretName") == name);
            let by_trust_manager = rendered.of_kind("Bundle").iter().any(|bundle| {
                text(bundle, "metadata/name") == name && text(bundle, "spec/target/configMap/key") == key
            });
            let made = match kind {
                "secret" if by_cert_manager => true,
                "configMap" if by_trust_manager => true,
                // `create secret tls` makes the keys tls.crt and tls.key.
                "secret" if key.starts_with("tls.") => has(&format!("kubectl create secret tls {name} ")),
                "secret" => {
                    let command = commands
                        .iter()
                        .find(|line| line.starts_with(&format!("kubectl create secret generic {name} ")));
                    command.is_some_and(|line| line.contains(&format!("{key}=")))
                }
                _ => {
                    let generated =
                        rendered.of_kind("ConfigMap").into_iter().find(|map| text(map, "metadata/name") == name);
                    generated.is_some_and(|map| at(map, "data").get(&key).is_some())
                        || has(&format!("kubectl create configmap {name} --from-file={key}="))
                }
            };
            assert!(made, "{}: nobody makes {kind} {name} with {key}, for {path}", rendered.name);
        }
    }
}

#[test]
fn the_application_beside_the_gateway_listens_on_loopback_where_the_upstream_points() {
    for name in ["sidecar", "native-sidecar", "bank"] {
        let rendered = rendered(name);
        let containers = items(rendered.pod(), "spec/containers");
        let application =
            containers.iter().find(|container| text(container, "name") == "accounts").expect("it is there");
        assert!(application.get("ports").is_none(), "nothing outside the pod may reach it");
        let address = super::named(application, "env", "LISTEN_ADDRESS");
        let address = text(&address, "value");
        assert!(address.starts_with("127.0.0.1:"), "{address}");
        let config: Value = serde_yaml::from_str(&rendered.config()).expect("YAML");
        assert_eq!(strings(&config, "upstreams/accounts/servers"), [format!("http://{address}")]);
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let probe = application.get(probe);
            assert!(
                probe.is_none_or(|probe| probe.get("exec").is_some()),
                "the kubelet does not reach loopback: {probe:?}"
            );
        }
        assert!(application.get("readinessProbe").is_some(), "the gateway is ready without it");
    }
}

#[test]
fn the_component_adds_to_a_pod_and_changes_nothing_that_it_says_of_itself() {
    let before = kustomize(&file("deploy/kubernetes/application").display().to_string());
    let before = before.iter().find(|object| text(object, "kind") == "Deployment").expect("a Deployment");
    let mut after = rendered("sidecar").named("Deployment", "accounts").clone();
    let pod = &mut after["spec"]["template"];
    for added in ["containers", "volumes"] {
        let items = pod["spec"][added].as_sequence_mut().expect("a list");
        assert!(items.iter().any(|item| text(item, "name") == "fapi-gateway"), "{added}");
        items.retain(|item| text(item, "name") != "fapi-gateway");
    }
    assert_eq!(
        pod["metadata"]["labels"].as_mapping_mut().expect("labels").remove("fapi-gateway"),
        Some("enforced".into())
    );
    let annotations = pod["metadata"].as_mapping_mut().expect("metadata").remove("annotations").expect("annotations");
    assert!(
        annotations
            .as_mapping()
            .expect("annotations")
            .keys()
            .all(|key| key.as_str().is_some_and(|key| key.starts_with("prometheus.io/")))
    );
    assert_eq!(&after, before);
}

#[test]
fn pods_of_the_gateways_own_are_all_that_reaches_the_application() {
    let rendered = rendered("standalone");
    let policy = rendered.named("NetworkPolicy", "accounts");
    assert_eq!(strings(policy, "spec/policyTypes"), ["Ingress"]);
    let [rule] = &list(policy, "spec/ingress")[..] else { panic!("one rule") };
    let [from] = &list(rule, "from")[..] else { panic!("one peer") };
    let selector = at(from, "podSelector/matchLabels").as_mapping().expect("labels");
    let found =
        |pod: &&Value| selector.iter().all(|(label, value)| at(pod, "metadata/labels").get(label) == Some(value));
    let found: Vec<&Value> = rendered.pods().into_iter().filter(found).collect();
    assert_eq!(found, [rendered.pod()]);

    // The way from gateway.yaml to the application's port, and the policies on it.
    let config: Value = serde_yaml::from_str(&rendered.config()).expect("YAML");
    let servers = strings(&config, "upstreams/accounts/servers");
    let [server] = &servers[..] else { panic!("one server: {servers:?}") };
    let (name, port) =
        server.strip_prefix("https://").and_then(|rest| rest.split_once(':')).expect("https, with a port");
    let service = rendered.named("Service", name);
    assert_eq!(number(&list(service, "spec/ports")[0], "port").to_string(), port);
    let pods = rendered.pods();
    let application =
        pods.iter().find(|pod| at(pod, "metadata/labels") == at(service, "spec/selector")).expect("its pods");
    let container = &list(application, "spec/containers")[0];
    let opened = super::named(container, "ports", text(&list(service, "spec/ports")[0], "targetPort"));
    let opened = number(&opened, "containerPort").to_string();
    assert!(text(&super::named(container, "env", "LISTEN_ADDRESS"), "value").ends_with(&format!(":{opened}")));
    assert_eq!(text(&list(rule, "ports")[0], "port"), text(&list(service, "spec/ports")[0], "targetPort"));
    let egress = list(rendered.named("NetworkPolicy", "fapi-gateway-egress"), "spec/egress");
    let allowed = egress.iter().any(|rule| {
        items(rule, "to")
            .iter()
            .any(|to| find(to, "podSelector/matchLabels") == Some(at(application, "metadata/labels")))
            && list(rule, "ports").iter().any(|it| number(it, "port").to_string() == opened)
    });
    assert!(allowed, "the gateway may not call the application");
    assert!(find(&config, "upstreams/accounts/tls/certificate").is_some(), "the application asks for a certificate");
}

#[test]
fn the_autoscaler_asks_for_a_metric_that_the_adapter_brings_and_exists() {
    let rendered = rendered("standalone");
    let scaler = rendered.named("HorizontalPodAutoscaler", "fapi-gateway");
    assert_eq!(
        at(scaler, "spec/scaleTargetRef/name"),
        at(rendered.named("Deployment", "fapi-gateway"), "metadata/name")
    );
    let metric = text(scaler, "spec/metrics/0/pods/metric/name");
    assert!(read("docs/reference/metrics.md").contains(&format!("| `{metric}` | gauge | `listener` |")), "{metric}");
    let rule = yaml("deploy/prometheus/adapter.yaml");
    assert!(text(&rule, "rules/custom/0/seriesQuery").starts_with(&format!("{metric}{{")));
    assert_eq!(text(&rule, "rules/custom/0/name/matches"), format!("^{metric}$"));
    // One number for a pod, whatever its listeners.
    assert!(text(&rule, "rules/custom/0/metricsQuery").starts_with("sum("));
    let config: Value = serde_yaml::from_str(&rendered.config()).expect("YAML");
    let target: u64 = text(scaler, "spec/metrics/0/pods/target/averageValue").parse().expect("a number");
    assert_eq!(target * 2, number(&config, "limits/exchanges"));
    let resources = at(&rendered.gateway(), "resources").clone();
    assert_eq!(at(&resources, "requests/cpu"), at(&resources, "limits/cpu"), "its share is one of what is requested");
}

#[test]
fn a_pod_is_scraped_in_one_way() {
    for rendered in all() {
        let annotations = at(rendered.pod(), "metadata/annotations");
        let annotation = |name: &str| annotations.get(name).and_then(Value::as_str);
        assert_eq!(annotation("prometheus.io/path"), Some("/metrics"));
        assert_eq!(annotation("prometheus.io/port"), Some(rendered.port("admin").to_string().as_str()));
        match &rendered.of_kind("PodMonitor")[..] {
            [] => assert_eq!(annotation("prometheus.io/scrape"), Some("true"), "{}", rendered.name),
            [monitor] => {
                assert_eq!(annotation("prometheus.io/scrape"), None, "{}", rendered.name);
                let [endpoint] = &list(monitor, "spec/podMetricsEndpoints")[..] else { panic!("one endpoint") };
                assert_eq!((text(endpoint, "path"), text(endpoint, "port")), ("/metrics", "admin"));
            }
            more => panic!("{}: {} monitors", rendered.name, more.len()),
        }
    }
    assert!(!rendered("bank").of_kind("PodMonitor").is_empty(), "control: one of them has it");
}

#[test]
fn the_certificate_is_for_the_hosts_of_the_origins_and_the_bundles_reach_the_namespace() {
    let rendered = rendered("bank");
    let certificate = rendered.named("Certificate", "fapi-gateway-tls");
    let config: Value = serde_yaml::from_str(&rendered.config()).expect("YAML");
    let hosts: Vec<String> = strings(&config, "listeners/0/origins")
        .iter()
        .map(|origin| origin.strip_prefix("https://").expect("https").to_owned())
        .collect();
    assert_eq!(strings(certificate, "spec/dnsNames"), hosts);
    let store = rendered.named("Certificate", "fapi-redis-tls");
    let server = strings(&config, "stores/shared/servers").remove(0);
    let server =
        server.strip_prefix("rediss://").and_then(|rest| rest.split_once(':')).expect("TLS, with a port").0.to_owned();
    assert_eq!(strings(store, "spec/dnsNames"), std::slice::from_ref(&server));
    rendered.named("Service", &server);
    let namespace = &rendered.of_kind("Namespace")[0];
    let labels = at(namespace, "metadata/labels");
    assert_eq!(labels.get("pod-security.kubernetes.io/enforce").and_then(Value::as_str), Some("restricted"));
    let bundles = rendered.of_kind("Bundle");
    assert_eq!(bundles.len(), 3);
    for bundle in bundles {
        let selector = at(bundle, "spec/target/namespaceSelector/matchLabels").as_mapping().expect("labels");
        assert!(!selector.is_empty() && selector.iter().all(|(label, value)| labels.get(label) == Some(value)));
    }
}

#[test]
fn the_store_lets_in_the_pods_of_the_gateway() {
    let rendered = rendered("bank");
    let policy = rendered.named("NetworkPolicy", "fapi-redis");
    let selector = at(policy, "spec/ingress/0/from/0/podSelector/matchLabels").as_mapping().expect("labels");
    let labels = at(rendered.pod(), "metadata/labels");
    assert!(!selector.is_empty() && selector.iter().all(|(label, value)| labels.get(label) == Some(value)));
    assert!(!flag(rendered.named("ServiceAccount", "fapi-gateway"), "automountServiceAccountToken"));
    assert_eq!(text(rendered.pod(), "spec/serviceAccountName"), "fapi-gateway");
}

#[test]
fn two_applications_in_one_namespace_keep_to_their_own_pods() {
    // As the page shows it, for two applications.
    let page = read("deploy/kubernetes/README.md");
    let (_, rest) = page.split_once("## Several applications in one namespace").expect("the section");
    let shown = rest.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("a kustomization");
    let folder = Folder::new();
    copy(&file("deploy/kubernetes"), &folder.path().join("kubernetes"));
    let mut selectors = BTreeSet::new();
    for name in ["accounts", "payments"] {
        let place = format!("kubernetes/overlays/{name}");
        folder.write(&format!("{place}/kustomization.yaml"), &shown.replace("accounts", name));
        let application = read("deploy/kubernetes/application/deployment.yaml");
        let application = application.replace("app.kubernetes.io/name: accounts", &format!("app: {name}"));
        folder.write(
            &format!("{place}/deployment.yaml"),
            &application.replace("name: accounts\n  labels", &format!("name: {name}\n  labels")),
        );
        let base = rest.split("```yaml\n").nth(2).and_then(|rest| rest.split("```").next()).expect("the base");
        folder.write(&format!("{place}/gateway/kustomization.yaml"), &base.replace("accounts", name));
        let own = std::fs::read_to_string(folder.path().join("kubernetes/base/gateway.yaml")).expect("a file");
        folder.write(&format!("{place}/gateway/gateway.yaml"), &own);
        let objects = kustomize(&folder.path().join(&place).display().to_string());
        let object = |kind: &str| objects.iter().find(|object| text(object, "kind") == kind).expect("it is there");
        assert_eq!(text(object("Service"), "metadata/name"), format!("{name}-fapi-gateway"));
        let deployment = object("Deployment");
        assert_eq!(at(deployment, "spec/selector/matchLabels/app"), name, "what was there before");
        let labels = at(deployment, "spec/template/metadata/labels");
        let selector = at(object("Service"), "spec/selector").as_mapping().expect("labels");
        assert!(selector.iter().all(|(label, value)| labels.get(label) == Some(value)), "{selector:?} {labels:?}");
        assert_eq!(at(object("PodDisruptionBudget"), "spec/selector/matchLabels").as_mapping(), Some(selector));
        assert_eq!(at(object("NetworkPolicy"), "spec/podSelector/matchLabels").as_mapping(), Some(selector));
        assert!(selectors.insert(serde_yaml::to_string(selector).expect("YAML")), "both select the same pods");
        let volume = super::named(deployment, "spec/template/spec/volumes", "fapi-gateway");
        assert_eq!(at(&volume, "projected/sources/0/configMap/name"), at(object("ConfigMap"), "metadata/name"));
    }
}

#[test]
fn the_dashboard_comes_as_a_configmap_that_grafana_loads() {
    let folder = Folder::new();
    copy(&file("deploy/grafana"), &folder.path().join("grafana"));
    folder.write("grafana/dashboard.json", "{ \"title\": \"a dashboard\" }\n");
    folder.write("all/kustomization.yaml", "components: [../grafana]\n");
    let objects = kustomize(&folder.path().join("all").display().to_string());
    let [map] = &objects[..] else { panic!("one object: {objects:?}") };
    assert_eq!((text(map, "kind"), text(map, "metadata/name")), ("ConfigMap", "fapi-gateway-dashboard"));
    assert_eq!(text(map, "metadata/labels/grafana_dashboard"), "1");
    assert!(text(map, "data/fapi-gateway.json").contains("a dashboard"));
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let path = entry.expect("readable").path();
        let target = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("a file");
        }
    }
}
