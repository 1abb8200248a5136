//! The release archive and the Debian package: what is in them, and that making them again makes the same.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::LazyLock;

use super::{file, read};
use crate::support::Folder;
use crate::support::source::walk;
use crate::support::tools::tool;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The packages of the program that is tested, with a list of what is in it that stands for one.
static MADE: LazyLock<Folder> = LazyLock::new(|| {
    let folder = Folder::new();
    build(&folder, "1600000000");
    folder
});

/// The program without what only a debugger needs, which is most of it.
static PROGRAM: LazyLock<Folder> = LazyLock::new(|| {
    let folder = Folder::new();
    let mut strip = tool("strip");
    strip.arg("-o").arg(folder.path().join("fapi-gateway")).arg(env!("CARGO_BIN_EXE_fapi-gateway"));
    assert!(strip.status().expect("strip runs").success());
    folder
});

fn build(folder: &Folder, time: &str) {
    let sbom = folder.write("sbom.json", "{ \"bomFormat\": \"CycloneDX\" }\n");
    let output = tool("bash")
        .arg(file("deploy/package/build"))
        .args([PROGRAM.path().join("fapi-gateway"), sbom, folder.path().join("out")])
        .env("SOURCE_DATE_EPOCH", time)
        .env("COMPRESSION_LEVEL", "1")
        .env("FAPI_GATEWAY_MAINTAINER", "A Maintainer <maintainer@bank.example>")
        .output()
        .expect("bash runs");
    assert!(output.status.success(), "{}", said(&output));
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// The only file among the packages that ends so.
fn made(end: &str) -> PathBuf {
    let files = std::fs::read_dir(MADE.path().join("out")).expect("a folder");
    let mut files =
        files.map(|entry| entry.expect("readable").path()).filter(|path| path.to_string_lossy().ends_with(end));
    files.next().unwrap_or_else(|| panic!("no file that ends with {end}"))
}

fn debian(arguments: &[&str]) -> String {
    let output = tool("dpkg-deb")
        .arg(arguments[0])
        .arg(made(".deb"))
        .args(&arguments[1..])
        .env("TZ", "UTC")
        .output()
        .expect("dpkg-deb runs");
    assert!(output.status.success(), "{}", said(&output));
    String::from_utf8(output.stdout).expect("text")
}

/// The package's files as they would be installed.
fn extracted() -> Folder {
    let folder = Folder::new();
    debian(&["--extract", folder.path().to_str().expect("a path")]);
    folder
}

/// The names of the pages of the manual about commands: those of the program, and those that one of them has.
fn commands() -> BTreeSet<String> {
    let of = |words: &[String]| {
        let help =
            tool(env!("CARGO_BIN_EXE_fapi-gateway")).args(words).arg("--help").output().expect("the program runs");
        let help = said(&help);
        let list = help.split_once("Commands:\n").map(|(_, list)| list).unwrap_or_default();
        let names = list.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next());
        names.filter(|name| *name != "help").map(str::to_owned).collect::<Vec<_>>()
    };
    let names = of(&[]);
    assert!(names.len() > 5, "{names:?}");
    let nested = |name: &String| {
        of(std::slice::from_ref(name)).into_iter().map(move |nested| format!("{name}-{nested}")).collect::<Vec<_>>()
    };
    names.iter().flat_map(nested).chain(names.clone()).collect()
}

/// What both have below their prefix.
fn expected() -> BTreeSet<String> {
    let mut names: BTreeSet<String> = [
        "bin/fapi-gateway",
        "lib/systemd/system/fapi-gateway.service",
        "lib/sysusers.d/fapi-gateway.conf",
        "share/bash-completion/completions/fapi-gateway",
        "share/zsh/vendor-completions/_fapi-gateway",
        "share/fish/vendor_completions.d/fapi-gateway.fish",
        "share/man/man1/fapi-gateway.1.gz",
        "share/doc/fapi-gateway/fapi-gateway.cdx.json",
        "share/doc/fapi-gateway/examples/gateway.yaml",
        "share/doc/fapi-gateway/examples/gateway.tests.yaml",
        "share/doc/fapi-gateway/examples/prometheus-rules.yaml",
    ]
    .map(str::to_owned)
    .into();
    names.extend(commands().iter().map(|command| format!("share/man/man1/fapi-gateway-{command}.1.gz")));
    names
}

#[test]
fn the_debian_package_has_what_it_should_and_belongs_to_root() {
    let list = debian(&["--contents"]);
    let mut files = BTreeMap::new();
    for line in list.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [mode, owner, _, day, time, name] = words[..] else { panic!("{line}") };
        assert_eq!(owner, "root/root", "{line}");
        assert_eq!((day, time), ("2020-09-13", "12:26"), "the time that was given: {line}");
        files.insert(name.trim_start_matches("./").to_owned(), mode.to_owned());
    }
    let mut wanted: BTreeSet<String> = expected().iter().map(|name| format!("usr/{name}")).collect();
    wanted.extend(["changelog.gz", "copyright"].map(|name| format!("usr/share/doc/fapi-gateway/{name}")));
    let found: BTreeSet<String> =
        files.keys().filter(|name| !name.is_empty() && !name.ends_with('/')).cloned().collect();
    assert_eq!(found, wanted);
    assert_eq!(files["usr/bin/fapi-gateway"], "-rwxr-xr-x");
    assert_eq!(files["etc/fapi-gateway/"], "drwxr-x---", "keys are in it");
    for (name, mode) in
        files.iter().filter(|(name, _)| !name.ends_with('/') && *name != "usr/bin/fapi-gateway" && !name.is_empty())
    {
        assert_eq!(mode, "-rw-r--r--", "{name}");
    }
}

#[test]
fn the_debian_package_says_what_it_is_and_needs() {
    let field = |name: &str| debian(&["--field", name]).trim().to_owned();
    assert_eq!((field("Package").as_str(), field("Version")), ("fapi-gateway", format!("{VERSION}-1")));
    assert_eq!(field("Maintainer"), "A Maintainer <maintainer@bank.example>");
    let needs = field("Depends");
    for library in ["libc6 (>= 2.", "libgcc-s1 (>= ", "ca-certificates", "systemd"] {
        assert!(needs.contains(library), "{needs}");
    }
    assert!(!needs.contains("ssl"), "TLS is rustls: {needs}");
    let architecture = said(&tool("dpkg").arg("--print-architecture").output().expect("dpkg runs"));
    assert_eq!(field("Architecture"), architecture.trim());
    let folder = Folder::new();
    debian(&["--control", folder.path().to_str().expect("a path")]);
    for script in ["postinst", "prerm", "postrm"] {
        let path = folder.path().join(script);
        assert_eq!(std::fs::metadata(&path).expect("it is there").permissions().mode() & 0o777, 0o755, "{script}");
        let output = tool("sh").arg("-n").arg(&path).output().expect("sh runs");
        assert!(output.status.success(), "{script}: {}", said(&output));
    }
    // Every file, with its sum.
    let root = extracted();
    let sums = tool("md5sum")
        .arg("--check")
        .arg("--quiet")
        .arg(folder.path().join("md5sums"))
        .current_dir(root.path())
        .output();
    let sums = sums.expect("md5sum runs");
    assert!(sums.status.success(), "{}", said(&sums));
    let listed = std::fs::read_to_string(folder.path().join("md5sums")).expect("text").lines().count();
    assert_eq!(listed, walk(root.path()).len());
}

#[test]
fn what_is_installed_works() {
    let root = extracted();
    let usr = root.path().join("usr");
    let version =
        tool(usr.join("bin/fapi-gateway").to_str().expect("a path")).arg("--version").output().expect("it runs");
    assert_eq!(said(&version).trim(), format!("fapi-gateway {VERSION}"));
    for page in walk(&usr.join("share/man/man1")) {
        let text = said(&tool("gzip").args(["-dc"]).arg(&page).output().expect("gzip runs"));
        let name =
            page.file_stem().and_then(|name| name.to_str()).and_then(|name| name.strip_suffix(".1")).expect("a name");
        assert!(text.contains(&format!(".TH {name} 1")), "{}", page.display());
    }
    let completions = usr.join("share/bash-completion/completions/fapi-gateway");
    let script = format!("source '{}' && complete -p fapi-gateway", completions.display());
    let output = tool("bash").args(["--norc", "-c", &script]).output().expect("bash runs");
    assert!(output.status.success(), "{}", said(&output));
    // The example is the complete configuration, with its tests.
    let examples = usr.join("share/doc/fapi-gateway/examples");
    let check = tool(usr.join("bin/fapi-gateway").to_str().expect("a path"))
        .args(["check", "--without-files", "--config", "gateway.yaml", "--tests", "gateway.tests.yaml"])
        .current_dir(&examples)
        .output()
        .expect("it runs");
    assert!(check.status.success(), "{}", said(&check));
}

#[test]
fn the_archive_has_the_same_below_usr_local() {
    let list = tool("tar").arg("--list").arg("--file").arg(made(".tar.gz")).output().expect("tar runs");
    let list = said(&list);
    let top = list.lines().next().expect("a folder").trim_end_matches('/').to_owned();
    assert!(top.starts_with(&format!("fapi-gateway-{VERSION}-")) && top.ends_with("-linux"), "{top}");
    let found: BTreeSet<String> = list
        .lines()
        .filter(|name| !name.ends_with('/'))
        .map(|name| name.strip_prefix(&format!("{top}/")).expect("one folder on top").to_owned())
        .collect();
    let mut wanted = expected();
    wanted.extend(["LICENSE", "CHANGELOG.md"].map(|name| format!("share/doc/fapi-gateway/{name}")));
    assert_eq!(found, wanted);
    let mut extract = tool("tar");
    extract.args(["--extract", "--to-stdout", "--file"]).arg(made(".tar.gz"));
    extract.arg(format!("{top}/lib/systemd/system/fapi-gateway.service"));
    let unit = said(&extract.output().expect("tar runs"));
    assert_eq!(unit, read("deploy/package/fapi-gateway.service").replace("/usr/bin/", "/usr/local/bin/"));
    assert!(unit.contains("ExecStart=/usr/local/bin/fapi-gateway run "), "{unit}");
}

#[test]
fn the_same_program_makes_the_same_packages_and_another_time_does_not() {
    let sums = |folder: &Folder| std::fs::read_to_string(folder.path().join("out/SHA256SUMS")).expect("the sums");
    let (again, later) = (Folder::new(), Folder::new());
    build(&again, "1600000000");
    build(&later, "1700000000");
    assert_eq!(sums(&again), sums(&MADE));
    assert_eq!(sums(&MADE).lines().count(), 2);
    assert!(sums(&later).lines().zip(sums(&MADE).lines()).all(|(one, other)| one != other), "control");
}

#[test]
fn the_unit_is_understood_hardened_and_outlives_the_drain() {
    let root = extracted();
    let unit = root.path().join("usr/lib/systemd/system/fapi-gateway.service");
    // Its program is not installed here.
    let here = unit.with_file_name("here.service");
    let text = read("deploy/package/fapi-gateway.service");
    let program = root.path().join("usr/bin/fapi-gateway").display().to_string();
    std::fs::write(&here, text.replace("/usr/bin/fapi-gateway", &program)).expect("a file");
    let verify =
        tool("systemd-analyze").args(["verify", "--man=no"]).arg(&here).output().expect("systemd-analyze runs");
    assert!(verify.status.success() && said(&verify).is_empty(), "{}", said(&verify));
    // In tenths; a unit without any of it has 96.
    let security = |unit: &Path| {
        let arguments = ["security", "--offline=true", "--no-pager", "--threshold=15"];
        tool("systemd-analyze").args(arguments).arg(unit).output().expect("systemd-analyze runs")
    };
    let judged = security(&here);
    assert!(judged.status.success(), "{}", said(&judged));
    std::fs::write(&here, "[Service]\nExecStart=/bin/true\n").expect("a file");
    assert!(!security(&here).status.success(), "control");

    let value = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        line.unwrap_or_else(|| panic!("no {key}")).to_owned()
    };
    let page = read("docs/reference/gateway-yaml.md");
    let default = |key: &str| {
        let (_, section) = page.split_once("\n## drain\n").expect("the section");
        let row = section.lines().find(|line| line.starts_with(&format!("| `{key}` |"))).expect("the key");
        let default = row.split('|').nth(3).expect("its default").trim().trim_matches('`');
        default.trim_end_matches('s').parse::<u64>().unwrap_or_else(|error| panic!("{row}: {error}"))
    };
    assert_eq!(value("TimeoutStopSec").parse::<u64>().expect("seconds"), default("delay") + default("timeout") + 6);
    assert_eq!(value("RestartPreventExitStatus"), "2 64");
    let users = read("deploy/package/fapi-gateway.sysusers");
    assert!(users.starts_with(&format!("u {} ", value("User"))), "{users}");
}
