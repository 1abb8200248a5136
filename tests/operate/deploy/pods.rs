//! What holds for every pod, from kustomizations and from the chart: the restricted Pod Security Standard, and that the gateway's
//! container fits the gateway.yaml in it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use fapi::credentials::Scheme;
use fapi_gateway::config::Config;
use sandbox::pki::Authority;
use serde_yaml::Value;

use super::rendered::{GATEWAY, Rendered, all, all_containers, kustomized};
use super::{at, find, flag, items, list, named, number, read, strings, text};
use crate::support::Folder;

/// What the restricted standard asks for and a pod's template lacks, as <https://kubernetes.io/docs/concepts/security/pod-security-standards/>
/// lists it.
fn violations(pod: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let said = |path: &str| find(pod, &format!("spec/securityContext/{path}")).cloned();
    for shared in ["hostNetwork", "hostPID", "hostIPC", "hostUsers"] {
        if find(pod, &format!("spec/{shared}")).is_some() {
            found.push(shared.to_owned());
        }
    }
    let kinds =
        ["configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"];
    for volume in items(pod, "spec/volumes") {
        if !kinds.iter().any(|kind| volume.get(kind).is_some()) {
            found.push(format!("volume {}", text(volume, "name")));
        }
    }
    for container in all_containers(pod) {
        let name = text(&container, "name").to_owned();
        let own = |path: &str| find(&container, &format!("securityContext/{path}")).cloned();
        let either = |path: &str| own(path).or_else(|| said(path));
        let mut check = |what: &str, good: bool| {
            if !good {
                found.push(format!("{name}: {what}"));
            }
        };
        check("runAsNonRoot", either("runAsNonRoot") == Some(true.into()));
        check("runAsUser", either("runAsUser").is_some_and(|user| user.as_u64().is_some_and(|user| user > 0)));
        check("allowPrivilegeEscalation", own("allowPrivilegeEscalation") == Some(false.into()));
        check("privileged", own("privileged").is_none_or(|privileged| privileged == false));
        check("seccompProfile", either("seccompProfile/type") == Some("RuntimeDefault".into()));
        check("drop", own("capabilities/drop") == Some(Value::Sequence(vec!["ALL".into()])));
        check("add", own("capabilities/add").is_none());
        check("procMount", own("procMount").is_none());
        check("hostPort", items(&container, "ports").iter().all(|port| port.get("hostPort").is_none()));
    }
    found
}

#[test]
fn every_pod_satisfies_the_restricted_standard() {
    for rendered in all() {
        for pod in rendered.pods() {
            assert_eq!(violations(pod), Vec::<String>::new(), "{}", rendered.name);
        }
    }
    // control: each field is missed
    let value = |yaml: &str| -> Value { serde_yaml::from_str(yaml).expect("YAML") };
    for (what, path, wrong) in [
        ("hostPID", "hostPID", "true"),
        ("volume host", "volumes/0", "{ name: host, hostPath: { path: / } }"),
        ("runAsNonRoot", "containers/0/securityContext/runAsNonRoot", "false"),
        ("runAsUser", "containers/0/securityContext/runAsUser", "0"),
        ("allowPrivilegeEscalation", "containers/0/securityContext/allowPrivilegeEscalation", "true"),
        ("seccompProfile", "containers/0/securityContext/seccompProfile/type", "Unconfined"),
        ("drop", "containers/0/securityContext/capabilities/drop", "[]"),
        ("add", "containers/0/securityContext/capabilities/add", "[CHOWN]"),
    ] {
        let mut pod = kustomized()[0].pod().clone();
        let place = path.split('/').fold(&mut pod["spec"], |place, step| match step.parse::<usize>() {
            Ok(index) => &mut place[index],
            Err(_) => &mut place[step],
        });
        *place = value(wrong);
        let found = violations(&pod);
        assert!(found.len() == 1 && found[0].ends_with(what), "{what}: {found:?}");
    }
}

#[test]
fn no_pod_holds_a_token_of_the_api_server_or_takes_a_secret_from_its_environment() {
    for rendered in all() {
        for pod in rendered.pods() {
            assert!(!flag(pod, "spec/automountServiceAccountToken"), "{}", rendered.name);
            for container in all_containers(pod) {
                assert!(flag(&container, "securityContext/readOnlyRootFilesystem"), "{}", rendered.name);
                assert!(container.get("envFrom").is_none());
                for variable in items(&container, "env") {
                    assert!(variable.get("valueFrom").is_none(), "{variable:?}");
                }
            }
        }
        for account in rendered.of_kind("ServiceAccount") {
            assert!(!flag(account, "automountServiceAccountToken"), "{}", rendered.name);
        }
    }
}

#[test]
fn every_volume_that_is_mounted_exists_and_is_read_only() {
    for rendered in all() {
        for pod in rendered.pods() {
            for container in all_containers(pod) {
                for mount in items(&container, "volumeMounts") {
                    named(pod, "spec/volumes", text(mount, "name"));
                    assert!(flag(mount, "readOnly"), "{}: {mount:?}", rendered.name);
                    assert!(mount.get("subPath").is_none(), "what is mounted by subPath does not change");
                }
            }
        }
    }
}

#[test]
fn only_the_gateway_mounts_its_private_key_and_its_group_alone_may_read_it() {
    for rendered in all() {
        let pod = rendered.pod();
        assert_eq!(number(&rendered.gateway_volume(), "projected/defaultMode"), 0o440, "{}", rendered.name);
        assert!(find(pod, "spec/securityContext/fsGroup").is_some(), "{}", rendered.name);
        for container in all_containers(pod).iter().filter(|container| text(container, "name") != GATEWAY) {
            let others = items(container, "volumeMounts");
            assert!(others.iter().all(|mount| !text(mount, "name").starts_with(GATEWAY)), "{}", rendered.name);
        }
    }
}

#[test]
fn every_image_has_a_name_and_a_fixed_tag_and_the_gateways_is_of_this_version() {
    for rendered in all() {
        for container in rendered.pods().into_iter().flat_map(all_containers) {
            let image = text(&container, "image");
            let (name, tag) = image.rsplit_once(':').unwrap_or_else(|| panic!("{image} has no tag"));
            assert!(!tag.is_empty() && tag != "latest", "{image}");
            if text(&container, "name") == GATEWAY {
                assert_eq!((name, tag), ("registry.bank.example/fapi-gateway", env!("CARGO_PKG_VERSION")));
            }
        }
    }
}

/// The container without what the ways of running it differ in.
fn common(rendered: &Rendered) -> Value {
    let mut container = rendered.gateway();
    let fields = container.as_mapping_mut().expect("a container");
    for own in ["restartPolicy", "resources", "volumeMounts"] {
        fields.remove(own);
    }
    container
}

#[test]
fn the_gateways_container_is_the_same_in_every_pod() {
    let first = common(&kustomized()[0]);
    for rendered in all() {
        assert_eq!(common(rendered), first, "{}", rendered.name);
        assert_eq!(text(&named(&rendered.gateway(), "volumeMounts", GATEWAY), "mountPath"), "/etc/fapi-gateway");
        let (container, native) = (rendered.gateway(), rendered.name.starts_with("native-sidecar"));
        let restarts = find(&container, "restartPolicy").and_then(Value::as_str);
        assert_eq!(restarts, native.then_some("Always"), "{}", rendered.name);
        let before = items(rendered.pod(), "spec/initContainers");
        assert_eq!(before.iter().any(|container| text(container, "name") == GATEWAY), native, "{}", rendered.name);
    }
}

#[test]
fn probes_ask_the_admin_port_for_the_right_paths() {
    let gateway = common(&kustomized()[0]);
    for (probe, path) in [("startupProbe", "/livez"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")] {
        let request = at(&gateway, probe).get("httpGet").unwrap_or_else(|| panic!("{probe} is not an httpGet"));
        assert_eq!(text(request, "path"), path, "{probe}");
        assert_eq!(text(request, "port"), "admin", "{probe}");
        assert!(find(request, "scheme").is_none_or(|scheme| scheme.as_str() == Some("HTTP")), "{probe}");
    }
    assert!(find(&gateway, "lifecycle").is_none(), "the gateway begins to drain at once");
}

/// Collects the strings below keys of gateway.yaml that name files.
fn named_files(value: &Value, below: bool, found: &mut BTreeSet<String>) {
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
            found.insert(path.to_owned());
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
fn every_file_that_gateway_yaml_names_is_mounted_and_every_other_is_not() {
    for rendered in all() {
        let mut named = BTreeSet::from(["/etc/fapi-gateway/gateway.yaml".to_owned()]);
        named_files(&serde_yaml::from_str(&rendered.config()).expect("YAML"), false, &mut named);
        assert!(named.len() >= 5, "{}: {named:?}", rendered.name);
        assert_eq!(rendered.mounted().into_keys().collect::<BTreeSet<_>>(), named, "{}", rendered.name);
        assert_eq!(strings(&rendered.gateway(), "args"), ["run", "--config", "/etc/fapi-gateway/gateway.yaml"]);
    }
}

/// A folder with the gateway.yaml of a pod and a file for each that is mounted there; what was below /etc is below it.
fn materialized(rendered: &Rendered) -> Folder {
    let (folder, authority) = (Folder::new(), Authority::new("A CA"));
    for path in rendered.mounted().into_keys() {
        let credential = match path.contains("upstream") {
            true => authority.client("gateway"),
            false => authority.server(&["api.bank.example"]),
        };
        let name = path.rsplit('/').next().expect("a name");
        let content = match name {
            "gateway.yaml" => rendered.config().replace("/etc/", &format!("{}/", folder.path().display())),
            // One of each pair is made first, and the other is in the same folder.
            "tls.crt" => continue,
            "tls.key" => {
                folder.write(
                    path.trim_start_matches("/etc/").replace(name, "tls.crt").as_str(),
                    &credential.certificate_pem(),
                );
                credential.key_pem()
            }
            "ca.crt" => authority.pem(),
            "nonce.key" => "0123456789abcdef".repeat(4),
            "user" | "password" => "fapi-gateway".to_owned(),
            _ => panic!("what is in {path}?"),
        };
        let place = folder.write(path.trim_start_matches("/etc/"), &content);
        // As the volume has it.
        std::fs::set_permissions(place, Permissions::from_mode(0o440)).expect("it is ours");
    }
    folder
}

fn loaded(rendered: &Rendered) -> Config {
    fapi_gateway::connection::tls::install_provider().expect("ours is the first provider in the process");
    let folder = materialized(rendered);
    let file = folder.path().join("fapi-gateway/gateway.yaml");
    Config::load(&file).unwrap_or_else(|errors| panic!("{}: {errors}", rendered.name))
}

#[test]
fn check_finds_nothing_wrong_with_the_configuration_in_any_pod() {
    for rendered in all() {
        let folder = materialized(rendered);
        let mut check = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"));
        let check = check.args(["check", "--config", "fapi-gateway/gateway.yaml"]).current_dir(folder.path());
        let output = check.env_remove("RUST_LOG").output().expect("the program runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !said.contains("warning"), "{}: {said}", rendered.name);
        // control: one file is missing
        std::fs::remove_file(folder.path().join("fapi-gateway/client-ca/ca.crt")).expect("it was there");
        assert_eq!(check.output().expect("the program runs").status.code(), Some(64), "{}", rendered.name);
    }
}

#[test]
fn the_gateway_opens_the_ports_that_the_container_names_and_no_other() {
    for rendered in all() {
        let config = loaded(rendered);
        let [listener] = &config.listeners[..] else { panic!("one port named https") };
        let admin = config.admin.as_ref().expect("an admin listener").address;
        assert_eq!(rendered.port("https"), u64::from(listener.address.port()), "{}", rendered.name);
        assert_eq!(rendered.port("admin"), u64::from(admin.port()), "{}", rendered.name);
        assert_eq!(list(&rendered.gateway(), "ports").len(), 2, "{}", rendered.name);
        assert!(admin.ip().is_unspecified(), "the kubelet cannot reach {admin}");
        assert!(listener.address.port() >= 1024, "a port below 1024 needs a capability");
    }
}

/// A quantity of Kubernetes in bytes or in thousandths of a processor.
fn quantity(quantity: &str) -> u64 {
    let number = |text: &str| text.parse::<u64>().unwrap_or_else(|error| panic!("{quantity}: {error}"));
    match (quantity.strip_suffix("Mi"), quantity.strip_suffix('m')) {
        (Some(mebibytes), _) => number(mebibytes) << 20,
        (_, Some(thousandths)) => number(thousandths),
        _ => number(quantity) * 1000,
    }
}

/// What the bounds of a configuration add up to, as docs/operate/sizing.md says.
fn most_memory(config: &Config) -> u64 {
    const KIB: u64 = 1024;
    let count = |count: usize| u64::try_from(count).expect("a number");
    let proofs =
        config.routes.iter().any(|route| route.policy().is_some_and(|policy| policy.schemes().contains(&Scheme::Dpop)));
    let limits = &config.limits;
    40 * KIB * KIB
        + 75 * KIB * count(limits.connections) * count(config.listeners.len())
        + 600 * KIB * count(limits.exchanges)
        + config.token_cache.max_bytes
        + if proofs { 90 * count(config.replay.total) } else { 0 }
        + if config.rate_limits.routes.is_empty() { 0 } else { 33 * count(config.rate_limits.max_keys) }
        + if config.rate_limits_store.is_some() { KIB * KIB } else { 0 }
}

#[test]
fn every_container_has_requests_and_limits_and_the_gateways_memory_holds_all_that_its_bounds_allow() {
    let page = read("docs/operate/sizing.md");
    for row in [
        "| the process itself | 40 MiB |",
        "| a connection | 75 KiB;",
        "does not read | 600 KiB;",
        "| used DPoP proofs | 40 bytes; 90 where",
    ] {
        assert!(page.contains(row), "docs/operate/sizing.md has other numbers than this test: {row}");
    }
    for rendered in all() {
        for container in rendered.pods().into_iter().flat_map(all_containers) {
            for bound in ["requests", "limits"] {
                for resource in ["cpu", "memory"] {
                    assert!(!text(&container, &format!("resources/{bound}/{resource}")).is_empty());
                }
            }
        }
        let gateway = rendered.gateway();
        let resource = |path: &str| quantity(text(&gateway, &format!("resources/{path}")));
        let most = most_memory(&loaded(rendered));
        let memory = resource("limits/memory");
        assert!(most <= memory, "{}: {} MiB of {} MiB", rendered.name, most >> 20, memory >> 20);
        assert!(most * 10 >= memory * 7, "{}: {} MiB would do", rendered.name, most >> 20);
        assert_eq!(resource("requests/memory"), memory, "clients can use all of it at any time");
        assert_eq!(resource("limits/cpu") % 1000, 0, "part of a processor runs no thread");
        assert!(resource("requests/cpu") <= resource("limits/cpu"), "{}", rendered.name);
    }
}

#[test]
fn the_pod_is_not_killed_before_the_gateway_has_drained() {
    for rendered in all() {
        let drain = loaded(rendered).drain;
        let (delay, drained) = (drain.delay.as_secs(), drain.delay.as_secs() + drain.timeout.as_secs() + 5);
        let probe = |key: &str| number(&rendered.gateway(), &format!("readinessProbe/{key}"));
        let unnoticed = probe("periodSeconds") * probe("failureThreshold") + probe("timeoutSeconds");
        assert!(unnoticed <= delay, "{}: noticed after {unnoticed} s, accepted for {delay} s", rendered.name);
        let grace = number(rendered.pod(), "spec/terminationGracePeriodSeconds");
        // How long the application goes on after the pod is told to stop, which is when the gateway is told, or before it is.
        let application =
            items(rendered.pod(), "spec/containers").iter().find(|container| text(container, "name") != GATEWAY);
        let waits = application.map_or(0, |it| number(it, "lifecycle/preStop/sleep/seconds"));
        match rendered.name {
            name if name.starts_with("standalone") => assert!(drained < grace, "{name}"),
            name if name.starts_with("native-sidecar") => {
                // Endpoints follow the readiness of a pod within seconds.
                assert!(
                    (10..=20).contains(&waits) && waits + drained <= grace,
                    "{name}: {waits} s, {drained} s of {grace} s"
                );
            }
            name => assert!(drained <= waits && waits + 15 <= grace, "{name}: {drained} s, {waits} s of {grace} s"),
        }
    }
}

#[test]
fn every_selector_finds_pods_and_those_of_the_gateway_find_only_its_own() {
    for rendered in all() {
        let labels: Vec<&Value> = rendered.pods().iter().map(|pod| at(pod, "metadata/labels")).collect();
        let mut selectors = BTreeMap::new();
        for object in &rendered.objects {
            let name = format!("{}/{}", text(object, "kind"), text(object, "metadata/name"));
            let paths: &[&str] = match text(object, "kind") {
                "Service" => &["spec/selector"],
                "Deployment" | "StatefulSet" | "PodDisruptionBudget" | "PodMonitor" => &["spec/selector/matchLabels"],
                "NetworkPolicy" => &["spec/podSelector/matchLabels"],
                _ => continue,
            };
            for path in paths {
                selectors.insert(name.clone(), at(object, path).clone());
            }
            for constraint in items(object, "spec/template/spec/topologySpreadConstraints") {
                selectors.insert(format!("{name} spread"), at(constraint, "labelSelector/matchLabels").clone());
            }
        }
        assert!(selectors.len() >= 4, "{}: {:?}", rendered.name, selectors.keys());
        for (name, selector) in selectors {
            let selector = selector.as_mapping().expect("labels").clone();
            assert!(!selector.is_empty(), "{}: {name} selects everything", rendered.name);
            let has = |labels: &Value| selector.iter().all(|(label, value)| labels.get(label) == Some(value));
            let found: Vec<&&Value> = labels.iter().filter(|labels| has(labels)).collect();
            assert_eq!(found.len(), 1, "{}: {name}", rendered.name);
            if name.contains("/fapi-gateway") {
                assert_eq!(*found[0], at(rendered.pod(), "metadata/labels"), "{}: {name}", rendered.name);
            }
        }
    }
}

#[test]
fn the_service_leads_to_the_data_port_and_nothing_else() {
    for rendered in all() {
        let service = rendered.named("Service", "fapi-gateway");
        let ports = list(service, "spec/ports");
        assert_eq!(ports.len(), 1, "the admin port stays inside");
        // By number: before Kubernetes 1.32, a Service does not find the names of a native sidecar's ports.
        let ports = (number(&ports[0], "port"), number(&ports[0], "targetPort"));
        assert_eq!(ports, (443, rendered.port("https")), "{}", rendered.name);
    }
}

#[test]
fn the_network_policy_opens_the_admin_port_to_the_scraper_alone() {
    for rendered in all() {
        let policy = rendered.named("NetworkPolicy", "fapi-gateway");
        assert_eq!(strings(policy, "spec/policyTypes"), ["Ingress"]);
        let mut opened = BTreeMap::new();
        for rule in list(policy, "spec/ingress") {
            for port in list(rule, "ports") {
                opened.insert(number(port, "port"), rule.get("from").cloned());
            }
        }
        let (https, admin) = (rendered.port("https"), rendered.port("admin"));
        assert_eq!(opened.keys().copied().collect::<Vec<_>>(), [https, admin], "{}", rendered.name);
        assert!(opened[&https].is_none(), "clients connect from anywhere");
        let scraper = opened[&admin].as_ref().and_then(Value::as_sequence).expect("the admin port has a `from`");
        assert!(scraper.iter().all(|peer| find(peer, "namespaceSelector/matchLabels").is_some()), "{scraper:?}");
    }
}

#[test]
fn roll_outs_and_evictions_leave_enough_pods() {
    for rendered in all() {
        for deployment in rendered.of_kind("Deployment") {
            assert_eq!(text(deployment, "spec/strategy/type"), "RollingUpdate");
            assert_eq!(number(deployment, "spec/strategy/rollingUpdate/maxUnavailable"), 0);
            assert!(number(deployment, "spec/strategy/rollingUpdate/maxSurge") >= 1);
            let autoscaled = rendered
                .of_kind("HorizontalPodAutoscaler")
                .into_iter()
                .find(|scaler| at(scaler, "spec/scaleTargetRef/name") == at(deployment, "metadata/name"));
            match autoscaled {
                Some(scaler) => {
                    assert!(find(deployment, "spec/replicas").is_none(), "the autoscaler says how many");
                    assert!(number(scaler, "spec/minReplicas") >= 2);
                }
                None => assert!(number(deployment, "spec/replicas") >= 2),
            }
        }
        assert_eq!(number(rendered.named("PodDisruptionBudget", "fapi-gateway"), "spec/maxUnavailable"), 1);
    }
}
