//! The Dockerfile: what the image is made of, what runs in it, and that it agrees with the manifests. `tests/external/image.py` runs
//! what the builder runs, and the program.

use std::collections::BTreeSet;

use super::rendered::{GATEWAY, kustomized};
use super::{number, read, strings};

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
    assert_eq!(names, [Some("toolchain"), Some("builder"), Some("optimized"), Some("program"), None]);
    assert_eq!(stages[3], [("FROM".into(), "${PROGRAM} AS program".into())]);
    assert!(instruction("FROM").starts_with("gcr.io/distroless/cc-debian12:nonroot@"));
    assert!(stages[4].iter().all(|(instruction, _)| instruction != "RUN"), "there is no shell to run anything");
}

/// The bases that come from elsewhere.
fn bases() -> Vec<String> {
    let names: BTreeSet<String> =
        stages().iter().filter_map(|stage| Some(stage[0].1.rsplit_once(" AS ")?.1.to_owned())).collect();
    let images = stages().into_iter().map(|stage| stage[0].1.split(' ').next().expect("an image").to_owned());
    images.filter(|image| !names.contains(image) && image != "${PROGRAM}").collect()
}

#[test]
fn every_base_image_is_pinned_by_its_digest_and_says_its_tag() {
    let pinned = |image: &str| {
        image.split_once('@').is_some_and(|(name, digest)| {
            let hash = digest.strip_prefix("sha256:").unwrap_or_default();
            let tag = name.rsplit_once(':').map_or("", |(_, tag)| tag);
            !tag.is_empty() && tag != "latest" && hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
        })
    };
    let bases = bases();
    assert_eq!(bases.len(), 2, "{bases:?}");
    for base in &bases {
        assert!(pinned(base), "{base}");
        // control
        assert!(!pinned(base.split_once('@').expect("a digest").0) && !pinned(&base[..base.len() - 1]));
    }
    assert!(!read("Dockerfile").contains("# syntax="), "it would be fetched by its tag");
}

#[test]
fn the_toolchain_is_the_one_that_the_manifest_asks_for() {
    let manifest = read("Cargo.toml");
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).expect("rust-version");
    assert!(bases()[0].starts_with(&format!("rust:{}-bookworm@", version.trim_matches('"'))), "{:?}", bases());
    let tool = |text: &str| {
        text.split("cargo-cyclonedx --version ").nth(1).map(|rest| rest.split_whitespace().next().map(str::to_owned))
    };
    let installed = tool(&stages()[0].iter().map(|(_, text)| text.as_str()).collect::<Vec<_>>().join("\n"));
    assert!(installed.is_some());
    assert_eq!(installed, tool(&read("deploy/sbom")), "the version that deploy/sbom names");
}

#[test]
fn the_entrypoint_is_the_program_that_the_builders_made() {
    assert_eq!(instruction_list("ENTRYPOINT"), ["/usr/local/bin/fapi-gateway"]);
    assert_eq!(env!("CARGO_PKG_NAME"), GATEWAY);
    assert_eq!(instruction("COPY"), "--from=program --chown=0:0 /build/image/ /");
    let stages = stages();
    for (stage, build, program) in [
        (&stages[1], "deploy/release ", "target/reproducible/release/fapi-gateway"),
        (&stages[2], "deploy/build --no-default-features --features mimalloc,pkcs11 ", "target/optimized/fapi-gateway"),
    ] {
        let (_, last) = stage.last().expect("a build");
        let last = last.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(last.contains(build), "{last}");
        assert!(last.contains(&format!("install -D -m 0555 {program} image/usr/local/bin/fapi-gateway")), "{last}");
        assert!(last.contains("deploy/sbom target/fapi-gateway.cdx.json"), "{last}");
        assert!(
            last.contains("-t image/usr/local/share/doc/fapi-gateway LICENSE target/fapi-gateway.cdx.json"),
            "{last}"
        );
    }
}

#[test]
fn the_image_runs_as_the_user_of_the_manifests_as_they_run_it() {
    let (pod, gateway) = (kustomized()[0].pod(), kustomized()[0].gateway());
    let user = number(&gateway, "securityContext/runAsUser");
    let group = number(pod, "spec/securityContext/runAsGroup");
    assert_eq!(instruction("USER"), format!("{user}:{group}"), "by number: runAsNonRoot cannot judge a name");
    assert_eq!(instruction_list("CMD"), strings(&gateway, "args"));
    let ports = ["https", "admin"].map(|name| kustomized()[0].port(name).to_string());
    assert_eq!(instruction("EXPOSE"), ports.join(" "));
}

#[test]
fn the_labels_say_what_the_image_is() {
    let labels = instruction("LABEL");
    let label = |name: &str| {
        let quoted = labels.split(&format!("org.opencontainers.image.{name}=\"")).nth(1);
        quoted.and_then(|rest| rest.split('"').next()).unwrap_or_else(|| panic!("no label {name}")).to_owned()
    };
    assert_eq!(label("title"), env!("CARGO_PKG_NAME"));
    assert_eq!(label("description"), env!("CARGO_PKG_DESCRIPTION"));
    assert_eq!(label("version"), env!("CARGO_PKG_VERSION"));
    assert_eq!(label("licenses"), env!("CARGO_PKG_LICENSE"));
    assert_eq!(label("revision"), "${FAPI_GATEWAY_COMMIT}");
    assert_eq!(Some(label("base.name").as_str()), instruction("FROM").split_once('@').map(|(name, _)| name));
}

#[test]
fn every_build_keeps_to_the_lock_file_and_names_no_folder() {
    let script = read("deploy/release");
    assert!(script.contains(
        "cargo build --release --locked --no-default-features --features mimalloc,pkcs11 --bin fapi-gateway"
    ));
    for (name, script) in [("deploy/release", &script), ("deploy/build", &read("deploy/build"))] {
        assert!(script.contains(". deploy/remap\n"), "{name}");
        assert!(script.contains("$remap") && script.contains("$remap_c"), "{name}");
        assert!(
            script
                .lines()
                .filter(|line| line.contains("cargo build") && !line.starts_with('#'))
                .all(|line| line.contains("--locked")),
            "{name}"
        );
    }
    let builds = stages()[1].iter().filter(|(name, text)| name == "RUN" && text.contains("deploy/release")).count();
    assert_eq!(builds, 2, "dependencies, then the program");
}

#[test]
fn the_dependency_layer_has_every_manifest_and_none_of_our_sources() {
    let builder = &stages()[1];
    let first = builder.iter().position(|(_, text)| text.ends_with("deploy/release")).expect("a build");
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
    let builder = stages().remove(1);
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
    let builder = stages().remove(1);
    // tests/external/image.py runs what the second builder needs these for.
    let trained_with =
        ["benches/exchange", "crates/probe/src", "crates/sandbox/src", "deploy/build", "examples/train.rs"];
    let needed: BTreeSet<&str> = builder
        .iter()
        .filter(|(name, _)| name == "COPY")
        .flat_map(|(_, text)| text.rsplit_once(' ').expect("a target").0.split(' '))
        .chain(trained_with)
        .collect();
    assert_eq!(allowed, needed);
}
