//! The documentation matches the program: configuration, commands, the demo's table and the audit line are read from
//! the pages and compared with the program. Its links lead somewhere, its reference agrees with the code, and its first
//! steps work.

mod examples;
mod links;
pub mod reference;
mod signed_messages;
mod start;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use bytes::Bytes;
use fapi::code::Code;
use fapi_gateway::config::Config;
use fapi_gateway::connection::tls::Reason;
use sandbox::pki::Authority;
use serde_json::Value;

use crate::support::{Folder, World, remember};

#[test]
fn the_readme_is_read_in_one_sitting() {
    let lines = page("README.md").lines().count();
    assert!(lines <= 250, "README.md has {lines} lines; anything beyond 250 belongs in docs/");
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
    assert_eq!(text(&output.stdout).trim_end(), block_after(&page("README.md"), "finds every mistake in it", "text"));
}

#[test]
fn every_line_of_the_smallest_configuration_is_needed() {
    let yaml = configuration();
    for number in 0..yaml.lines().count() {
        let mut lines: Vec<&str> = yaml.lines().collect();
        // The dash of a list item belongs to the item: only the key is removed.
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
    let shown: BTreeSet<String> = pages()
        .iter()
        .flat_map(|name| code(&page(name)))
        .filter_map(|code| {
            code.strip_prefix("fapi-gateway ").or_else(|| code.strip_prefix("cargo run -- ")).map(str::to_owned)
        })
        .collect();
    let subcommand = |line: &String| line.split(' ').next().unwrap_or_default().to_owned();
    let subcommands: BTreeSet<String> = shown.iter().map(subcommand).collect();
    assert_eq!(
        subcommands.iter().collect::<Vec<_>>(),
        [
            "audit",
            "check",
            "completions",
            "demo",
            "explain",
            "init",
            "man",
            "probe",
            "proof",
            "run",
            "sandbox",
            "schema",
            "sign",
            "thumbprint",
            "token",
            "verify",
            "version",
        ]
    );
    let here = root();
    for line in &shown {
        let nested = ["audit ", "probe verify", "probe compare"].iter().any(|command| line.starts_with(command));
        let command: Vec<&str> = line.split(' ').take(if nested { 2 } else { 1 }).chain(["--help"]).collect();
        let help = program(&command, here);
        assert_eq!(help.status.code(), Some(0), "{line}");
        for flag in line.split(' ').filter(|word| word.starts_with("--")) {
            assert!(
                text(&help.stdout).contains(&format!("{flag} ")) || text(&help.stdout).contains(&format!("{flag}\n")),
                "{line}"
            );
        }
    }
}

#[test]
fn the_exit_codes_are_those_of_the_program() {
    let listed: Vec<String> = rows(&page("docs/reference/commands.md"), "| exit code | means |")
        .iter()
        .map(|row| row.split('|').nth(1).unwrap_or_default().trim().to_owned())
        .collect();
    assert_eq!(listed, ["0", "1", "2", "64", "69", "74"]);
    let folder = scene();
    assert_eq!(program(&["check"], folder.path()).status.code(), Some(0));
    assert_eq!(program(&["chekc"], folder.path()).status.code(), Some(2));
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = configuration().replace("0.0.0.0:8443", &socket.local_addr().unwrap().to_string());
    folder.write("gateway.yaml", &taken);
    assert_eq!(program(&["run"], folder.path()).status.code(), Some(1));
    folder.write("gateway.yaml", &configuration().replace("https://as.bank.example", "https://127.0.0.1:9"));
    assert_eq!(program(&["check", "--connect"], folder.path()).status.code(), Some(69));
    let proof = ["proof", "--key", "nowhere.pem", "--method", "GET", "--url", "https://api.bank.example/"];
    assert_eq!(program(&proof, folder.path()).status.code(), Some(74));
    let proof = proof.map(|word| if word.starts_with("https") { "/" } else { word });
    folder.write(
        "nowhere.pem",
        &sandbox::tokens::SigningKey::generate(sandbox::tokens::KeyKind::Es256, "a").private_key_pem(),
    );
    assert_eq!(program(&proof, folder.path()).status.code(), Some(2));
    folder.write("gateway.yaml", &configuration());
    folder.write("token", "opaque.and.unread");
    let explain = ["explain", "--token", "token"];
    assert_eq!(program(&explain, folder.path()).status.code(), Some(1));
    assert_eq!(program(&["explain", "--token", "nowhere"], folder.path()).status.code(), Some(74));
    let claims = data_encoding::BASE64URL_NOPAD.encode(br#"{"iss":"https://as.bank.example"}"#);
    folder.write("token", &format!("e30.{claims}.e30"));
    assert_eq!(program(&explain, folder.path()).status.code(), Some(69));
    // The program's own help lists the same.
    let help = text(&program(&["--help"], root()).stdout);
    let (_, list) = help.split_once("Exit codes:\n").expect("the exit codes");
    let listed_by_help: Vec<&str> =
        list.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(listed_by_help, listed);
    folder.write("gateway.yaml", &configuration().replace("scopes: [accounts]", "public: maybe"));
    for command in ["check", "run"] {
        assert_eq!(program(&[command], folder.path()).status.code(), Some(64), "{command}");
    }
}

#[test]
fn schema_prints_json_schema_2020_12() {
    let output = program(&["schema"], root());
    assert_eq!(output.status.code(), Some(0));
    let schema: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
}

#[test]
fn the_demo_prints_the_table_that_is_shown() {
    let output = program(&["demo", "--once"], root());
    let printed = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{printed}{}", text(&output.stderr));
    let shown = block_after(&page("docs/demo.md"), "prints what came of each", "text");
    let calls = |table: &str| -> Vec<(String, String, String)> { table.lines().filter_map(call).collect() };
    assert!(calls(&shown).len() > 10, "{shown}");
    assert_eq!(calls(&shown), calls(&printed));
    assert_eq!(shown.lines().last(), printed.trim_end().lines().last());
    // The README shows some of them, and states how many there are.
    let readme = page("README.md");
    let some = calls(&block_after(&readme, "prints what came of each", "text"));
    assert!(some.len() > 4 && some.iter().all(|call| calls(&printed).contains(call)), "{some:?}");
    assert!(readme.contains(&format!("[{} calls]", calls(&printed).len())));
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
    let shown: Value = serde_json::from_str(&block_after(&page("docs/operate/audit.md"), "# Audit", "json")).unwrap();
    assert_eq!(members(&record), members(&shown));
    for member in ["code", "decision", "status", "upstream", "upstream_status", "certificate_subject", "method", "path"]
    {
        assert_eq!(record[member], shown[member], "{member}");
    }
    assert_eq!(record["confirmation"]["method"], shown["confirmation"]["method"]);
    // The reference page lists the members from the schema.
    let schema = fapi_gateway::telemetry::audit::schema();
    assert_eq!(members(&record), members(&schema["properties"]));
    assert_eq!(members(&record["confirmation"]), members(&schema["$defs"]["ConfirmationText"]["properties"]));
}

#[test]
fn troubleshooting_has_a_way_out_for_every_reason_of_a_failed_handshake() {
    let troubleshooting = page("docs/operate/troubleshooting.md");
    let (_, rest) =
        troubleshooting.split_once("| `reason` | the client sees | likely | way out |").expect("a table of reasons");
    let named: BTreeSet<String> =
        table(rest).iter().flat_map(|row| code(row.split('|').nth(1).unwrap_or_default())).collect();
    let reasons: BTreeSet<String> = Reason::ALL.iter().map(|reason| reason.as_str().to_owned()).collect();
    let differ: Vec<&String> = named.symmetric_difference(&reasons).collect();
    assert!(differ.is_empty(), "docs/operate/troubleshooting.md and the reasons of handshakes differ in {differ:?}");
    for name in ["docs/reference/metrics.md", "docs/reference/audit.md"] {
        let page = page(name);
        let missing: Vec<&String> = reasons.iter().filter(|reason| !page.contains(reason.as_str())).collect();
        assert!(missing.is_empty(), "{name} lacks {missing:?}");
    }
}

#[test]
fn troubleshooting_has_a_way_out_for_every_code() {
    let page = page("docs/operate/troubleshooting.md");
    let mut rows = Vec::new();
    for head in ["| code | likely | way out |", "| code | limit | more |"] {
        rows.extend(page.split(head).skip(1).flat_map(table));
    }
    let named: BTreeSet<String> = rows.iter().flat_map(|row| code(row.split('|').nth(1).unwrap_or_default())).collect();
    let covers = |named: &str, code: &str| match named.strip_suffix('*') {
        Some(beginning) => code.starts_with(beginning),
        None => named == code,
    };
    for name in &named {
        assert!(
            Code::ALL.iter().any(|code| covers(name, code.as_str())),
            "docs/operate/troubleshooting.md has a row for {name}, which is not a code"
        );
    }
    let missing: Vec<&str> = Code::ALL
        .iter()
        .map(|code| code.as_str())
        .filter(|code| !named.iter().any(|name| covers(name, code)))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/operate/troubleshooting.md has no row for {missing:?}: add each to the table of its status"
    );
}

fn members(object: &Value) -> Vec<&String> {
    object.as_object().expect("an object").keys().collect()
}

/// The smallest configuration, with the files that it names.
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
    block_after(&page("README.md"), "## The smallest configuration", "yaml")
}

fn program(arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"));
    command.args(arguments).current_dir(folder).env_remove("RUST_LOG").output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The paths of all pages, relative to the root.
fn pages() -> Vec<String> {
    fn within(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder of pages") {
            let path = entry.expect("a folder of pages").path();
            match path.extension() {
                _ if path.is_dir() && !path.ends_with("node_modules") => within(&path, found),
                Some(extension) if extension == "md" => found.push(path),
                Some(_) | None => {}
            }
        }
    }
    let mut found = Vec::new();
    within(&root().join("docs"), &mut found);
    let mut names: Vec<String> = ["README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"]
        .map(str::to_owned)
        .into_iter()
        .chain(["", "kubernetes/", "helm/fapi-gateway/", "redis/"].map(|folder| format!("deploy/{folder}README.md")))
        .chain(found.iter().map(|path| path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned()))
        .collect();
    names.sort();
    assert!(names.len() > 20, "{names:?}");
    names
}

fn page(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The first block of this kind after a text.
fn block_after(page: &str, text: &str, kind: &str) -> String {
    let (_, after) = page.split_once(text).unwrap_or_else(|| panic!("the page has no {text:?}"));
    let (_, block) = after.split_once(&format!("```{kind}\n")).unwrap_or_else(|| panic!("no {kind} after {text:?}"));
    block.split_once("\n```").expect("a block ends").0.to_owned()
}

/// Every code span in the page, and every line of its shell blocks.
fn code(page: &str) -> Vec<String> {
    let mut code = Vec::new();
    let mut block = None;
    for line in page.lines() {
        match (line.strip_prefix("```"), block) {
            (Some(kind), None) => block = Some(kind),
            (Some(_), Some(_)) => block = None,
            (None, Some("sh")) => code.push(line.to_owned()),
            (None, Some(_)) => {}
            (None, None) => code.extend(line.split('`').skip(1).step_by(2).map(str::to_owned)),
        }
    }
    code
}

/// The rows of the table with this header line.
fn rows(page: &str, head: &str) -> Vec<String> {
    let (_, rest) = page.split_once(head).unwrap_or_else(|| panic!("no table {head:?}"));
    table(rest)
}

/// The rows of a table, given the text after its header line.
fn table(rest: &str) -> Vec<String> {
    rest.trim_start().lines().skip(1).take_while(|line| line.starts_with('|')).map(str::to_owned).collect()
}

/// A row of the demo's table: description, status, code.
fn call(line: &str) -> Option<(String, String, String)> {
    let (what, rest) = line.split_at_checked(44)?;
    let mut words = rest.split_whitespace();
    let status = words.next().filter(|status| status.parse::<u16>().is_ok())?;
    Some((what.trim_end().to_owned(), status.to_owned(), words.next()?.to_owned()))
}
