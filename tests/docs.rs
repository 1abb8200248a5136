//! README.md says what the program does: codes, metrics, configuration, commands, the demo's table and the audit line are
//! read out of it and held against the program.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};

use bytes::Bytes;
use fapi::rejection::Code;
use fapi_gateway::config::Config;
use sandbox::pki::Authority;
use serde_json::Value;

use crate::support::{Folder, World, remember};

const README: &str = include_str!("../README.md");

#[test]
fn the_table_of_codes_is_that_of_the_program() {
    let expected: Vec<String> = Code::ALL
        .iter()
        .map(|code| {
            let error = code.oauth_error().map_or_else(|| "–".to_owned(), |error| format!("`{}`", error.as_str()));
            format!("| `{code}` | {} | {error} | {} |", code.status().as_u16(), code.meaning())
        })
        .collect();
    assert!(expected.iter().all(|line| line.matches('|').count() == 5), "a meaning would break the table");
    assert_eq!(rows("## Codes", "| code | status | error | meaning |"), expected);
}

#[test]
fn the_metrics_are_those_of_the_program() {
    let source = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/metrics.rs")).unwrap();
    let names = metric_names(&source);
    assert_eq!(metric_names(README), names);
    let listed: Vec<String> = rows("## Admin", "| metric | labels | is |")
        .iter()
        .map(|row| row.split('`').nth(1).unwrap_or_default().to_owned())
        .collect();
    assert_eq!(listed.len(), names.len(), "each has one row");
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), names);
    // control
    let found = metric_names("`fapi_gateway_a_total{b=\"c\"}`, fapi_gateway::x, fapi_gateway_d");
    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["fapi_gateway_a_total", "fapi_gateway_d"]);
}

#[test]
fn the_smallest_configuration_loads_and_check_prints_what_is_shown() {
    fapi_gateway::connection::tls::install_provider().expect("ours is the first provider in the process");
    let folder = scene();
    let file = folder.path().join("gateway.yaml");
    let config = Config::load(&file).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.warnings, Vec::<String>::new());
    let output = program(&["check"], folder.path());
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout).trim_end(), block_after("`check` prints of the file above", "text"));
}

#[test]
fn every_line_of_the_smallest_configuration_is_needed() {
    let yaml = configuration();
    for number in 0..yaml.lines().count() {
        let mut lines: Vec<&str> = yaml.lines().collect();
        // A list's dash belongs to the entry: what goes is the key.
        let line = lines[number];
        let dash = line.trim_start().starts_with("- ");
        let indent = " ".repeat(line.len() - line.trim_start().len());
        let emptied = format!("{indent}-");
        if dash {
            lines[number] = &emptied;
        } else {
            lines.remove(number);
        }
        let folder = scene();
        folder.write("gateway.yaml", &lines.join("\n"));
        let loaded = Config::load(&folder.path().join("gateway.yaml"));
        assert!(loaded.is_err(), "it loads without {line:?}");
    }
}

#[test]
fn the_commands_shown_are_commands() {
    let shown: BTreeSet<String> = code()
        .iter()
        .filter_map(|code| code.strip_prefix("fapi-gateway ").or_else(|| code.strip_prefix("cargo run -- ")))
        .map(str::to_owned)
        .collect();
    let subcommand = |line: &String| line.split(' ').next().unwrap_or_default().to_owned();
    let subcommands: BTreeSet<String> = shown.iter().map(subcommand).collect();
    assert_eq!(subcommands.iter().collect::<Vec<_>>(), ["check", "demo", "proof", "run", "schema"]);
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    for line in &shown {
        let help = program(&[&subcommand(line), "--help"], here);
        assert_eq!(help.status.code(), Some(0), "{line}");
        for flag in line.split(' ').filter(|word| word.starts_with("--")) {
            assert!(
                text(&help.stdout).contains(&format!("{flag} ")) || text(&help.stdout).contains(&format!("{flag}\n")),
                "{line}"
            );
        }
    }
    let rows = rows("## Configuration", "| command | does |");
    let listed: BTreeSet<String> =
        rows.iter().map(|row| row.split('`').nth(1).unwrap_or_default().to_owned()).collect();
    assert_eq!(listed, subcommands);
}

#[test]
fn the_exit_codes_are_those_of_the_program() {
    let listed: Vec<String> = rows("## Configuration", "| exit code | means |")
        .iter()
        .map(|row| row.split('|').nth(1).unwrap_or_default().trim().to_owned())
        .collect();
    assert_eq!(listed, ["0", "1", "2", "64"]);
    let folder = scene();
    assert_eq!(program(&["check"], folder.path()).status.code(), Some(0));
    assert_eq!(program(&["chekc"], folder.path()).status.code(), Some(2));
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = configuration().replace("0.0.0.0:8443", &socket.local_addr().unwrap().to_string());
    folder.write("gateway.yaml", &taken);
    assert_eq!(program(&["run"], folder.path()).status.code(), Some(1));
    let proof = ["proof", "--key", "nowhere.pem", "--method", "GET", "--url", "https://api.bank.example/"];
    assert_eq!(program(&proof, folder.path()).status.code(), Some(1));
    folder.write("gateway.yaml", &configuration().replace("scopes: [accounts]", "public: maybe"));
    for command in ["check", "run"] {
        assert_eq!(program(&[command], folder.path()).status.code(), Some(64), "{command}");
    }
}

#[test]
fn schema_prints_json_schema_2020_12() {
    let output = program(&["schema"], Path::new(env!("CARGO_MANIFEST_DIR")));
    assert_eq!(output.status.code(), Some(0));
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
}

#[test]
fn the_demo_prints_the_table_that_is_shown() {
    let output = program(&["demo", "--once"], Path::new(env!("CARGO_MANIFEST_DIR")));
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{printed}{}", text(&output.stderr));
    let shown = block_after("It plays honest and hostile calls", "text");
    let calls = |table: &str| -> Vec<(String, String, String)> { table.lines().filter_map(call).collect() };
    assert!(calls(&shown).len() > 10, "{shown}");
    assert_eq!(calls(&shown), calls(&printed));
    assert_eq!(shown.lines().last(), printed.trim_end().lines().last());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_line_has_the_members_that_are_shown() {
    let world = World::start().await;
    let token = remember(world.sign(&world.token()));
    let request = http::Request::get(format!("{}/accounts", crate::support::ORIGIN))
        .header("authorization", format!("Bearer {token}"))
        .body(Bytes::new())
        .unwrap();
    let response = world.anonymous().send(request).await.unwrap();
    let record = world.gateway.record_of(&response);
    let shown: Value = serde_json::from_str(&block_after("## Audit", "json")).unwrap();
    let members = |line: &Value| line.as_object().unwrap().keys().cloned().collect::<BTreeSet<_>>();
    assert_eq!(members(&record), members(&shown));
    for member in ["code", "decision", "status", "upstream", "upstream_status", "certificate_subject", "method", "path"]
    {
        assert_eq!(record[member], shown[member], "{member}");
    }
    assert_eq!(record["confirmation"]["method"], shown["confirmation"]["method"]);
}

#[test]
fn files_that_are_linked_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let targets: Vec<&str> = README
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split(')').next())
        .filter(|link| !link.contains("://"))
        .collect();
    assert!(targets.len() > 4);
    for target in targets {
        match target.strip_prefix('#') {
            Some(heading) => {
                assert!(
                    README.lines().any(|line| line.strip_prefix("## ").is_some_and(|t| t.to_lowercase() == heading))
                );
            }
            None => assert!(root.join(target).exists(), "{target}"),
        }
    }
}

/// The smallest configuration, and the files that it names.
fn scene() -> Folder {
    let (folder, authority) = (Folder::new(), Authority::new("Test CA"));
    let server = authority.server(&["api.bank.example"]);
    folder.write("tls/server.pem", &server.certificate_pem());
    folder.write("tls/server-key.pem", &server.key_pem());
    folder.write("tls/client-ca.pem", &authority.pem());
    folder.write("gateway.yaml", &configuration());
    folder
}

fn configuration() -> String {
    block_after("## Configuration", "yaml")
}

fn program(arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"));
    command.args(arguments).current_dir(folder).env_remove("RUST_LOG").output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The first block of this kind after a text.
fn block_after(text: &str, kind: &str) -> String {
    let (_, after) = README.split_once(text).unwrap_or_else(|| panic!("README has no {text:?}"));
    let (_, block) = after.split_once(&format!("```{kind}\n")).unwrap_or_else(|| panic!("no {kind} after {text:?}"));
    block.split_once("\n```").expect("a block ends").0.to_owned()
}

/// Every span of code in the text, and every line of a shell block.
fn code() -> Vec<&'static str> {
    let mut code = Vec::new();
    let mut block = None;
    for line in README.lines() {
        match (line.strip_prefix("```"), block) {
            (Some(kind), None) => block = Some(kind),
            (Some(_), Some(_)) => block = None,
            (None, Some("sh")) => code.push(line),
            (None, Some(_)) => {}
            (None, None) => code.extend(line.split('`').skip(1).step_by(2)),
        }
    }
    code
}

/// The rows of the table with this head, in the section that begins with `heading`.
fn rows(heading: &str, head: &str) -> Vec<String> {
    let (_, section) = README.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no {heading:?}"));
    let section = section.split("\n## ").next().unwrap_or_default();
    let (_, table) = section.split_once(head).unwrap_or_else(|| panic!("no table {head:?} in {heading:?}"));
    table.trim_start().lines().skip(1).take_while(|line| line.starts_with('|')).map(str::to_owned).collect()
}

fn metric_names(text: &str) -> BTreeSet<String> {
    let word = |rest: &str| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>();
    text.split("fapi_gateway_").skip(1).map(|rest| format!("fapi_gateway_{}", word(rest))).collect()
}

/// A call of the demo's table: what, status, code.
fn call(line: &str) -> Option<(String, String, String)> {
    let (what, rest) = line.split_at_checked(44)?;
    let mut words = rest.split_whitespace();
    let status = words.next().filter(|status| status.parse::<u16>().is_ok())?;
    Some((what.trim_end().to_owned(), status.to_owned(), words.next()?.to_owned()))
}
