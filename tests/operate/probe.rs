//! The command `probe`, as somebody runs it who has a folder of `init`: what it prints, writes and refuses.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::tools::tool;
use crate::support::{Folder, free_ports};

/// A folder of `init` on free ports.
fn made() -> Folder {
    let folder = Folder::new();
    let options = ["--port", "--admin-port", "--issuer-port", "--api-port"];
    let free: Vec<String> = free_ports(options.len()).iter().map(u16::to_string).collect();
    let ports: Vec<&str> = options.into_iter().zip(&free).flat_map(|(option, port)| [option, port]).collect();
    let made = program(&[&["init", "dir"], &ports[..]].concat(), folder.path());
    assert_eq!(made.status.code(), Some(0), "{}", text(&made));
    folder
}

fn program(arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"));
    command.args(arguments).current_dir(folder).env_remove("RUST_LOG").output().expect("the program runs")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs a script in the folder while the sandbox, its API and the gateway run, as the README there starts them.
fn while_all_runs(folder: &Path, script: &str) -> Output {
    let readme = std::fs::read_to_string(folder.join("README.md")).unwrap();
    let commands = readme.split("```sh\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the commands");
    // The sandbox, the gateway, and the wait for it.
    let started: Vec<&str> = commands.lines().take(3).collect();
    let path = Path::new(env!("CARGO_BIN_EXE_fapi-gateway")).parent().unwrap();
    let script = format!(
        "set -o pipefail\ntrap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\nexport PATH=\"{}:$PATH\"\n{}\n{script}",
        path.display(),
        started.join("\n")
    );
    for program in ["curl", "bash"] {
        tool(program);
    }
    let mut command = tool("timeout");
    command.args(["--kill-after=5", "180", "bash", "-c", &script]).current_dir(folder).env_remove("RUST_LOG");
    command.output().expect("timeout runs")
}

#[test]
fn a_folder_of_init_is_probed_and_nothing_secret_is_written() {
    let folder = made();
    let dir = folder.path().join("dir");
    let readme = std::fs::read_to_string(dir.join("README.md")).unwrap();
    assert!(readme.contains("```sh\nfapi-gateway probe\n```"), "{readme}");
    let script = "\
        fapi-gateway probe --dry-run > dry.txt; echo \"dry run: $?\"\n\
        wc -l < audit.log | sed 's/^/requests before: /'\n\
        fapi-gateway probe --json report.json --junit report.xml --sarif report.sarif --html report.html \\\n  \
            --signed report.jws --signing-key keys/dpop.pem --transcript transcript.jsonl > probe.txt; echo \"probe: $?\"\n\
        fapi-gateway probe --only no-credentials > one.txt; echo \"one: $?\"\n\
        printf 'limits: { total: 3 }\\n' > limits; grep -v ^limits probe.yaml > few.yaml; cat limits >> few.yaml\n\
        fapi-gateway probe --config few.yaml > few.txt 2>&1; echo \"few: $?\"\n";
    let output = while_all_runs(&dir, script);
    let printed = text(&output);
    for line in ["dry run: 0", "requests before: 0", "probe: 0", "one: 0", "few: 1"] {
        assert!(printed.lines().any(|printed| printed == line), "no {line:?} in {printed}{}", read(&dir, "probe.txt"));
    }
    let report: Value = serde_json::from_str(&read(&dir, "report.json")).unwrap();
    let modules = report["modules"].as_array().unwrap();
    let passed = modules.iter().filter(|module| module["verdict"] == "pass").count();
    assert!(passed > 100, "{passed}");
    let transcript = read(&dir, "transcript.jsonl");
    assert_eq!(Some(transcript.lines().count() as u64), report["requests"].as_u64());
    for line in transcript.lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "{line}");
    }
    assert!(read(&dir, "one.txt").starts_with("[1/1] pass"), "{}", read(&dir, "one.txt"));
    assert!(
        read(&dir, "few.txt").contains("the 3 requests of `limits.total` are used up"),
        "{}",
        read(&dir, "few.txt")
    );
    assert!(read(&dir, "dry.txt").contains("curl --silent"), "{}", read(&dir, "dry.txt"));
    // Every JWT and every proof begins so.
    for name in ["report.json", "report.xml", "report.sarif", "report.html", "transcript.jsonl", "probe.txt", "dry.txt"]
    {
        let content = read(&dir, name);
        assert!(!content.contains("eyJ") && !content.contains("PRIVATE KEY"), "{name}");
        assert!(content.contains("token-in-query") || name == "report.xml" && content.contains("testcase"), "{name}");
    }
    assert!(read(&dir, "report.jws").starts_with("eyJ"), "control");
    verified(&dir);
    compared(&dir, &report);
}

/// The signed report holds with its key alone, and with its transcript alone.
fn verified(dir: &Path) {
    let jkt = text(&program(&["thumbprint", "keys/dpop.pem"], dir));
    let jkt = jkt.split_whitespace().find(|word| word.len() == 43).expect("a thumbprint").to_owned();
    let verify = |arguments: &[&str]| program(&[&["probe", "verify", "report.jws"], arguments].concat(), dir);
    let good = verify(&["--thumbprint", &jkt, "--transcript", "transcript.jsonl"]);
    assert_eq!(good.status.code(), Some(0), "{}", text(&good));
    assert!(text(&good).contains(&format!("signed by {jkt}")), "{}", text(&good));
    let other = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    assert_eq!(verify(&["--thumbprint", other]).status.code(), Some(1));
    let longer = format!("{}\n", read(dir, "transcript.jsonl"));
    std::fs::write(dir.join("longer.jsonl"), longer).unwrap();
    assert_eq!(verify(&["--thumbprint", &jkt, "--transcript", "longer.jsonl"]).status.code(), Some(1));
    assert_eq!(verify(&[]).status.code(), Some(2));
}

/// Two reports differ in what became worse.
fn compared(dir: &Path, report: &Value) {
    let same = program(&["probe", "compare", "report.json", "report.jws"], dir);
    assert_eq!(same.status.code(), Some(0), "{}", text(&same));
    let mut worse = report.clone();
    worse["modules"][0]["verdict"] = "fail".into();
    std::fs::write(dir.join("worse.json"), worse.to_string()).unwrap();
    let compared = program(&["probe", "compare", "report.json", "worse.json"], dir);
    assert_eq!(compared.status.code(), Some(1), "{}", text(&compared));
    assert!(text(&compared).contains(report["modules"][0]["name"].as_str().unwrap()), "{}", text(&compared));
    assert_eq!(program(&["probe", "compare", "worse.json", "report.json"], dir).status.code(), Some(0));
}

fn read(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn every_problem_of_the_configuration_is_told_at_once() {
    let folder = made();
    let dir = folder.path().join("dir");
    let good = read(&dir, "probe.yaml");
    let dry = |yaml: &str, more: &[&str]| {
        std::fs::write(dir.join("changed.yaml"), yaml).unwrap();
        program(&[&["probe", "--config", "changed.yaml", "--dry-run"], more].concat(), &dir)
    };
    assert_eq!(dry(&good, &[]).status.code(), Some(0), "control");
    for (from, to, expected) in [
        ("contact: you@example.com", "contact: \"(x)\"", "contact: it becomes part of `User-Agent`"),
        ("plans: [fapi2-rs-security]", "plans: [fapi2-rs-securitx]", "did you mean `fapi2-rs-security`?"),
        ("plans: [fapi2-rs-security]", "plans: []", "no plan is named"),
        ("bindings: [certificate, dpop]", "bindings: [certificate, dpop], x: 1", "unknown key `x`"),
        ("key: tls/client-key.pem", "key: tls/client-2-key.pem", "this is not the private key of `certificate`"),
        ("proof_key: keys/dpop.pem", "proof_key: tls/ca.pem", "the private key cannot be used"),
        ("ca: tls/ca.pem", "ca: missing.pem", "missing.pem: No such file"),
        ("resource: { ", "resource: { method: DELETE, ", "expected GET or HEAD"),
        ("resource: { ", "resource: { headers: { DPoP: x }, ", "the probe writes this field itself"),
        ("limits: { rate: 100 }", "limits: { rate: 0 }", "expected 1 to 10000 requests a second"),
        ("issuer: # its", "x: # its", "unknown key `x`"),
        ("client_id: client-2", "client_id: client", "the first client has the same"),
        (
            "tls/client-2.pem, key: tls/client-2-key.pem",
            "tls/client.pem, key: tls/client-key.pem",
            "the first client has the same",
        ),
        ("\"] # nothing else", "/accounts\"] # nothing else", "an origin has no path"),
    ] {
        assert!(good.contains(from), "{from}: {good}");
        let output = dry(&good.replacen(from, to, 1), &[]);
        assert_eq!(output.status.code(), Some(64), "{to}: {}", text(&output));
        assert!(text(&output).contains(expected), "{to}: {}", text(&output));
        assert!(text(&output).contains("changed.yaml:"), "{to}: {}", text(&output));
    }
    let both = good.replacen("contact: you@example.com", "x: 1", 1).replacen("rate: 100", "rate: 0", 1);
    let output = text(&dry(&both, &[]));
    assert!(output.contains("unknown key `x`") && output.contains("rate:"), "{output}");
    // Nothing but what is listed is called, whatever the command line says.
    let elsewhere = dry(&good, &["--target", "https://other.example/accounts"]);
    assert_eq!(elsewhere.status.code(), Some(64));
    assert!(text(&elsewhere).contains("https://other.example is not one of `targets`"), "{}", text(&elsewhere));
    // Nothing listens there yet.
    let alone = program(&["probe", "--json", "report.json"], &dir);
    assert_eq!(alone.status.code(), Some(69), "{}", text(&alone));
    assert!(text(&alone).contains("cannot be reached") && text(&alone).lines().count() < 10, "{}", text(&alone));
    let unknown = dry(&good, &["--only", "no-such-module"]);
    assert_eq!(unknown.status.code(), Some(2), "{}", text(&unknown));
    let unsigned = dry(&good, &["--signed", "report.jws"]);
    assert_eq!(unsigned.status.code(), Some(2), "{}", text(&unsigned));
}
