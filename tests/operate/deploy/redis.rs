//! The server of `deploy/redis`: its manifests agree with each other, with its configuration, and with the gateway beside it, and
//! its users have the documented rights. That the server works with these is seen where replicas share it.

use std::collections::BTreeSet;

use serde_yaml::Value;

use super::rendered::kustomized;
use super::{at, find, list, named, number, read, strings, text, yaml};

fn pod() -> Value {
    at(&yaml("deploy/redis/statefulset.yaml"), "spec/template/spec").clone()
}

fn container() -> Value {
    named(&pod(), "containers", "redis")
}

/// The values of a key of redis.conf.
fn configured(key: &str) -> Vec<String> {
    let config = read("deploy/redis/redis.conf");
    let values = config.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    values.map(str::to_owned).collect()
}

#[test]
fn every_file_is_applied_or_explained_and_every_object_has_a_name() {
    let kustomization = yaml("deploy/redis/kustomization.yaml");
    let readme = read("deploy/redis/README.md");
    let here = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/redis")).expect("a folder");
    for entry in here {
        let name = entry.expect("readable").file_name().to_string_lossy().into_owned();
        assert!(name == "README.md" || readme.contains(&format!("`{name}")), "{name} is not explained");
    }
    for resource in strings(&kustomization, "resources") {
        let object = yaml(&format!("deploy/redis/{resource}"));
        assert!(readme.contains(&resource), "{resource} is not explained");
        assert_eq!(text(&object, "metadata/name"), "fapi-redis", "{resource}");
        assert!(find(&object, "metadata/namespace").is_none(), "{resource}: the namespace is the one applied to");
    }
    let image = named(&kustomization, "images", text(&container(), "image"));
    assert!(!text(&image, "newName").is_empty() && text(&image, "newTag") != "latest");
}

#[test]
fn every_file_that_the_server_reads_is_mounted_and_its_object_made_by_a_command() {
    let (pod, container) = (pod(), container());
    let volume = named(&pod, "volumes", "redis");
    assert_eq!(number(&volume, "projected/defaultMode"), 0o440);
    let folder = text(&list(&container, "volumeMounts")[0], "mountPath").to_owned();
    let readme = read("deploy/redis/README.md");
    let mut mounted = BTreeSet::new();
    for source in list(&volume, "projected/sources") {
        let source = source.get("secret").or(source.get("configMap")).expect("a Secret or a ConfigMap");
        let name = text(source, "name");
        let made = ["tls", "generic"].map(|kind| format!("kubectl create secret {kind} {name} "));
        let generated = name == "fapi-redis-config";
        assert!(generated || made.iter().any(|command| readme.contains(command)), "{name} is made by no command");
        mounted.extend(list(source, "items").iter().map(|item| format!("{folder}/{}", text(item, "path"))));
    }
    let command = strings(&container, "command");
    let mut read: BTreeSet<String> = command.iter().filter(|word| word.starts_with('/')).cloned().collect();
    read.extend(["tls-cert-file", "tls-key-file", "aclfile"].into_iter().flat_map(configured));
    assert_eq!(mounted, read);
}

#[test]
fn the_server_speaks_tls_alone_at_the_port_of_the_manifests_saves_nothing_and_evicts_nothing() {
    assert_eq!(configured("port"), ["0"]);
    let port = number(&named(&container(), "ports", "redis"), "containerPort");
    assert_eq!(configured("tls-port"), [port.to_string()]);
    assert_eq!(number(&list(&yaml("deploy/redis/service.yaml"), "spec/ports")[0], "port"), port);
    assert_eq!(configured("maxmemory-policy"), ["noeviction"]);
    assert_eq!((configured("save"), configured("appendonly")), (vec!["\"\"".to_owned()], vec!["no".to_owned()]));
    let megabytes = |text: &str| text.trim_end_matches(char::is_alphabetic).parse::<u64>().expect("a number");
    let limit = text(&container(), "resources/limits/memory").to_owned();
    assert!(limit.ends_with("Mi") && megabytes(&configured("maxmemory")[0]) * 4 <= megabytes(&limit) * 3, "{limit}");
}

#[test]
fn only_the_pods_of_the_gateway_reach_the_server_and_it_reaches_nothing() {
    let policy = yaml("deploy/redis/networkpolicy.yaml");
    let server = at(&yaml("deploy/redis/statefulset.yaml"), "spec/template/metadata/labels").clone();
    assert_eq!(at(&policy, "spec/podSelector/matchLabels"), &server);
    assert_eq!(at(&yaml("deploy/redis/service.yaml"), "spec/selector"), &server);
    assert_eq!(strings(&policy, "spec/policyTypes"), ["Ingress", "Egress"]);
    assert!(list(&policy, "spec/egress").is_empty());
    let [rule] = &list(&policy, "spec/ingress")[..] else { panic!("one rule") };
    let [from] = &list(rule, "from")[..] else { panic!("one peer") };
    let selector = at(from, "podSelector/matchLabels").as_mapping().expect("labels");
    let labels = at(kustomized()[0].pod(), "metadata/labels");
    assert!(
        !selector.is_empty() && selector.iter().all(|(label, value)| labels.get(label) == Some(value)),
        "{selector:?}"
    );
    assert_eq!(text(&list(rule, "ports")[0], "port"), "redis");
}

#[test]
fn the_users_of_every_mode_have_the_documented_rights_and_nobody_else_has_any() {
    let documented = read("docs/operate/replicas.md");
    let documented: Vec<&str> = documented.lines().filter(|line| line.starts_with("user fapi-gateway ")).collect();
    let [alone, at_sentinels, in_cluster] = documented[..] else { panic!("one for each: {documented:?}") };
    for (file, rule) in [
        ("users.acl", alone),
        ("sentinel/users.acl", alone),
        ("sentinel/sentinel.conf", at_sentinels),
        ("cluster/users.acl", in_cluster),
    ] {
        let text = read(&format!("deploy/redis/{file}"));
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines.contains(&rule), "{file} lacks {rule:?}");
        assert!(lines.contains(&"user default off"), "{file}");
    }
}
