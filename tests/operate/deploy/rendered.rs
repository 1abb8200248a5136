//! What is applied to a cluster: the objects of a kustomization as kubectl renders them, or of the chart as Helm does.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Output;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_yaml::Value;

use super::{at, file, find, items, list, named, number, text};
use crate::support::tools::tool;

/// The container of the gateway, in whatever pod.
pub(super) const GATEWAY: &str = "fapi-gateway";

/// Objects that are applied together.
pub(super) struct Rendered {
    pub(super) name: &'static str,
    pub(super) objects: Vec<Value>,
}

static KUSTOMIZED: LazyLock<Vec<Rendered>> = LazyLock::new(|| {
    let overlays = ["sidecar", "native-sidecar", "standalone", "bank"];
    overlays.map(|name| Rendered { name, objects: kustomize(&overlay(name)) }).into()
});

static CHARTED: LazyLock<Vec<Rendered>> = LazyLock::new(|| {
    let charts = [("sidecar in the chart", "sidecar"), ("native-sidecar in the chart", "native-sidecar")];
    let mut charts: Vec<Rendered> = charts
        .map(|(name, mode)| {
            let values = application_values(mode);
            let config = file("deploy/kubernetes/base/gateway.yaml");
            Rendered { name, objects: expect_chart(&values, &config) }
        })
        .into();
    let config = file("deploy/kubernetes/overlays/standalone/gateway.yaml");
    let objects = expect_chart(&standalone_values(), &config);
    charts.push(Rendered { name: "standalone in the chart", objects });
    charts
});

/// Every overlay.
pub(super) fn kustomized() -> &'static [Rendered] {
    &KUSTOMIZED
}

/// Every mode of the chart.
pub(super) fn charted() -> &'static [Rendered] {
    &CHARTED
}

/// Everything that is applied.
pub(super) fn all() -> impl Iterator<Item = &'static Rendered> {
    kustomized().iter().chain(charted())
}

/// One overlay by its name.
pub(super) fn rendered(name: &str) -> &'static Rendered {
    all().find(|rendered| rendered.name == name).unwrap_or_else(|| panic!("{name} is not rendered"))
}

pub(super) fn overlay(name: &str) -> String {
    format!("{}/deploy/kubernetes/overlays/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// What kubectl makes of a folder, without a word of warning.
pub(super) fn kustomize(folder: &str) -> Vec<Value> {
    let output = tool("kubectl").args(["kustomize", folder]).output().expect("kubectl runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{folder}: {said}");
    documents(&output.stdout)
}

/// What Helm makes of the chart with these values and this gateway.yaml.
pub(super) fn chart(values: &Value, config: &Path) -> Output {
    chart_in(&file("deploy/helm/fapi-gateway"), values, config)
}

/// The same with the chart in another place.
fn chart_in(folder: &Path, values: &Value, config: &Path) -> Output {
    let given = crate::support::Folder::new();
    let values = given.write("values.yaml", &serde_yaml::to_string(values).expect("YAML"));
    let mut helm = tool("helm");
    helm.args(["template", GATEWAY]).arg(folder).arg("--values").arg(values);
    helm.arg(format!("--set-file=config={}", config.display())).output().expect("helm runs")
}

#[track_caller]
pub(super) fn expect_chart(values: &Value, config: &Path) -> Vec<Value> {
    let output = chart(values, config);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    documents(&output.stdout)
}

fn documents(text: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(text).expect("UTF-8");
    let documents =
        serde_yaml::Deserializer::from_str(text).map(|document| Value::deserialize(document).expect("YAML"));
    documents.filter(|document| !document.is_null()).collect()
}

/// Values of the chart for the example application, in one of its forms as a sidecar.
pub(super) fn application_values(mode: &str) -> Value {
    let application = kustomize(&file("deploy/kubernetes/application").display().to_string());
    let deployment = application.iter().find(|object| text(object, "kind") == "Deployment").expect("a Deployment");
    let mut values: Value =
        serde_yaml::from_str(&format!("mode: {mode}\napplication: {{ replicas: 3 }}")).expect("YAML");
    values["application"]["name"] = at(deployment, "metadata/name").clone();
    values["application"]["labels"] = at(deployment, "spec/selector/matchLabels").clone();
    values["application"]["pod"] = at(deployment, "spec/template/spec").clone();
    if mode == "native-sidecar" {
        values["application"]["pod"]["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"] = 15.into();
    }
    values
}

/// Values of the chart for pods of the gateway's own, in front of the example application.
pub(super) fn standalone_values() -> Value {
    let overlay = kustomized().iter().find(|rendered| rendered.name == "standalone").expect("an overlay");
    let mut sources = list(&overlay.gateway_volume(), "projected/sources").clone();
    // The chart adds gateway.yaml by itself.
    sources.remove(0);
    let mut values: Value = serde_yaml::from_str("mode: standalone\nnetworkPolicy: {}").expect("YAML");
    values["sources"] = Value::Sequence(sources);
    values["networkPolicy"]["egress"] =
        at(overlay.named("NetworkPolicy", "fapi-gateway-egress"), "spec/egress").clone();
    values
}

impl Rendered {
    pub(super) fn of_kind(&self, kind: &str) -> Vec<&Value> {
        self.objects.iter().filter(|object| text(object, "kind") == kind).collect()
    }

    #[track_caller]
    pub(super) fn named(&self, kind: &str, name: &str) -> &Value {
        let mut found = self.of_kind(kind).into_iter().filter(|object| text(object, "metadata/name") == name);
        found.next().unwrap_or_else(|| panic!("{}: no {kind} {name}", self.name))
    }

    /// The templates of all pods.
    pub(super) fn pods(&self) -> Vec<&Value> {
        self.objects.iter().filter_map(|object| find(object, "spec/template")).collect()
    }

    /// The template of the pods that have the gateway.
    #[track_caller]
    pub(super) fn pod(&self) -> &Value {
        let mut found =
            self.pods().into_iter().filter(|pod| all_containers(pod).iter().any(|it| text(it, "name") == GATEWAY));
        let pod = found.next().unwrap_or_else(|| panic!("{}: no pod has the gateway", self.name));
        assert!(found.next().is_none(), "{}: two Deployments have it", self.name);
        pod
    }

    pub(super) fn gateway(&self) -> Value {
        let found = all_containers(self.pod()).into_iter().find(|container| text(container, "name") == GATEWAY);
        found.expect("the pod has it")
    }

    pub(super) fn gateway_volume(&self) -> Value {
        named(self.pod(), "spec/volumes", GATEWAY)
    }

    pub(super) fn port(&self, name: &str) -> u64 {
        number(&named(&self.gateway(), "ports", name), "containerPort")
    }

    /// The text of the gateway.yaml that the gateway's container sees.
    #[track_caller]
    pub(super) fn config(&self) -> String {
        let (kind, name, key) = &self.mounted()["/etc/fapi-gateway/gateway.yaml"];
        assert_eq!(*kind, "configMap", "{}", self.name);
        text(at(self.named("ConfigMap", name), "data"), key).to_owned()
    }

    /// Each file that the gateway's container sees, with its source: (kind, object, key).
    pub(super) fn mounted(&self) -> BTreeMap<String, (&'static str, String, String)> {
        let mut files = BTreeMap::new();
        for mount in list(&self.gateway(), "volumeMounts") {
            let volume = named(self.pod(), "spec/volumes", text(mount, "name"));
            for source in list(&volume, "projected/sources") {
                let (kind, source) = match (find(source, "secret"), find(source, "configMap")) {
                    (Some(secret), None) => ("secret", secret),
                    (None, Some(map)) => ("configMap", map),
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
}

/// Containers and init containers of a pod's template.
pub(super) fn all_containers(pod: &Value) -> Vec<Value> {
    ["spec/containers", "spec/initContainers"].iter().flat_map(|path| items(pod, path)).cloned().collect()
}
