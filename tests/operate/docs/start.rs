//! docs/start.md, step by step: every command it shows is run in order, as by someone who has just cloned the
//! repository. Only the program, the folder and the ports differ, since those on the page may be in use.
//!
//! Needs node, npm, openssl and curl, and either the network or npm's cache for the packages; without them the test
//! fails.

use std::fmt::Write as _;
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use super::{page, root, text};
use crate::support::Folder;

#[test]
fn every_step_of_start_can_be_taken() {
    let page = page("docs/start.md");
    let folder = Folder::new();
    let other = Others::new(&folder);
    let (mut script, mut expected) = (PRELUDE.to_owned(), Vec::new());
    let blocks = blocks(&page);
    for (place, block) in blocks.iter().enumerate() {
        let body = other.replaced(&block.body);
        match block.kind {
            "sh" if place == 0 => {
                assert_eq!(block.body, BUILD);
                let program = Path::new(env!("CARGO_BIN_EXE_fapi-gateway"));
                let _ = writeln!(script, "export PATH=\"{}:$PATH\"", program.parent().unwrap().display());
            }
            // A command that only reads may be repeated: the audit's last line is written when its exchange has ended.
            "sh" if body.starts_with("grep ") => {
                let _ = writeln!(script, "echo '{MARK}{place}'\nfor attempt in $(seq 2000); do {body} && break; done");
            }
            "sh" => {
                let _ = writeln!(script, "echo '{MARK}{place}'\n{body}");
            }
            "yaml" => {
                let name = block.name.as_ref().expect("a file block has a name");
                let _ = writeln!(script, "cat > {name} <<'THE END OF THE FILE'\n{body}\nTHE END OF THE FILE");
            }
            "text" => expected.push((place, body)),
            kind => panic!("unknown kind of block {kind:?}"),
        }
    }
    assert!(expected.len() > 3, "the page shows the output of its commands");
    script.push_str("wait\n");
    let output = run(&script);
    for (place, lines) in expected {
        let start = format!("{MARK}{}\n", place - 1);
        let (_, printed) = output.split_once(&start).unwrap_or_else(|| panic!("{start:?} is not in {output}"));
        let printed = printed.split(MARK).next().unwrap_or_default();
        for line in lines.lines() {
            assert!(printed.lines().any(|printed| is_like(printed.trim(), line)), "no {line:?} in {printed}");
        }
    }
    let log = std::fs::read_to_string(folder.path().join("start/gateway.log")).expect("the gateway has a log");
    assert!(log.contains("every connection is closed"), "{log}");
}

#[test]
fn dots_stand_for_anything() {
    assert!(is_like("bound to abc, presented none", "bound to …, presented none"));
    assert!(!is_like("bound to abc, presented one", "bound to …, presented none"));
    assert!(!is_like("not bound to abc, presented none", "bound to …, presented none"));
    assert!(is_like("HTTP/2 200", "HTTP/2 200") && !is_like("HTTP/2 2001", "HTTP/2 200"));
}

struct Block<'p> {
    kind: &'p str,
    /// The name of the file to save the block as.
    name: Option<String>,
    body: String,
}

fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut parts = page.split("\n```");
    let mut before = parts.next().unwrap_or_default();
    let mut blocks = Vec::new();
    while let (Some(block), Some(after)) = (parts.next(), parts.next()) {
        let (kind, body) = block.split_once('\n').expect("a block has lines");
        let last = before.trim_end().lines().last().unwrap_or_default();
        let name = last.strip_prefix("Save this as `").and_then(|rest| rest.strip_suffix("`:")).map(str::to_owned);
        blocks.push(Block { kind, name, body: body.to_owned() });
        before = after;
    }
    blocks
}

/// The replacements for the folders and ports on the page.
struct Others {
    pairs: Vec<(String, String)>,
}

impl Others {
    /// Finds free ports, and makes a copy of docs/start with these ports in its code.
    fn new(folder: &Folder) -> Self {
        let ports = ["8443", "9464", "9443", "8080"];
        let mut free = free_ports(ports.len()).into_iter();
        let mut pairs: Vec<(String, String)> =
            ports.iter().map(|port| ((*port).to_owned(), free.next().unwrap().to_string())).collect();
        let source = root().join("docs/start");
        for name in ["authorization-server.mjs", "package.json", "package-lock.json", ".npmrc"] {
            let text = std::fs::read_to_string(source.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
            let is_code = name.ends_with(".mjs");
            folder.write(&format!("source/{name}"), &if is_code { replaced(&text, &pairs) } else { text });
        }
        let within = |name: &str| folder.path().join(name).display().to_string();
        pairs.push(("docs/start ".to_owned(), format!("{} ", within("source"))));
        pairs.push(("~/fapi-start".to_owned(), within("start")));
        Self { pairs }
    }

    fn replaced(&self, text: &str) -> String {
        replaced(text, &self.pairs)
    }
}

fn replaced(text: &str, pairs: &[(String, String)]) -> String {
    pairs.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// Finds ports below those that the system assigns, and below those that other tests take.
fn free_ports(count: usize) -> Vec<u16> {
    let first = 12_000 + u16::try_from(std::process::id() % 7_000).unwrap();
    // All sockets are held until the last is found, so that no port is found twice.
    let held: Vec<TcpListener> =
        (first..20_000).filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok()).take(count).collect();
    assert_eq!(held.len(), count);
    held.iter().map(|socket| socket.local_addr().unwrap().port()).collect()
}

fn run(script: &str) -> String {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=5", "240", "bash", "-c", script]).current_dir(root()).env_remove("RUST_LOG");
    let output = command.output().expect("timeout and bash run");
    let (printed, faults) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{printed}{faults}");
    printed
}

/// Whether a line matches the one shown, where `…` stands for anything.
fn is_like(line: &str, shown: &str) -> bool {
    match shown.split_once('…') {
        None => line == shown,
        Some((begin, end)) => line.len() >= begin.len() + end.len() && line.starts_with(begin) && line.ends_with(end),
    }
}

/// The page's build commands, skipped because the program under test is already built.
const BUILD: &str = "cargo build --release\nexport PATH=\"$PWD/target/release:$PATH\"";
/// Stops at the first command that fails, and leaves nothing running.
const PRELUDE: &str = "set -eo pipefail\nexec 2>&1\ntrap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n";
const MARK: &str = "== block ";
