//! docs/start.md, step by step: every command it shows is run in order, as by someone who has just cloned the
//! repository. Only the program, the folder and the ports differ, since those on the page may be in use.
//!
//! Needs curl and python3; without them the test fails.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use super::{page, root, text};
use crate::support::tools::tool;
use crate::support::{Folder, free_ports, with_ports};

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
            // The folder is made for the ports of the page.
            "sh" if block.body.contains("init ~/fapi-start") => {
                let _ = writeln!(script, "echo '{MARK}{place}'\n{body}");
                let made = folder.path().join("start/gateway.yaml");
                for (port, free) in &other.ports {
                    let _ = writeln!(script, "sed -i 's/:{port}/:{free}/g' {}", made.display());
                }
            }
            // A command that only reads may be repeated: the audit's last line is written when its exchange has ended.
            "sh" if body.starts_with("grep ") => {
                let _ = writeln!(script, "echo '{MARK}{place}'\nfor attempt in $(seq 2000); do {body} && break; done");
            }
            "sh" => {
                let _ = writeln!(script, "echo '{MARK}{place}'\n{body}");
            }
            "text" => expected.push((place, body)),
            kind => panic!("unknown kind of block {kind:?}"),
        }
    }
    for program in ["curl", "python3"] {
        tool(program);
    }
    assert!(expected.len() > 9, "the page shows the output of its commands");
    script.push_str("wait\n");
    let output = run(&script);
    for (place, lines) in expected {
        let start = format!("{MARK}{}\n", place - 1);
        let (_, printed) = output.split_once(&start).unwrap_or_else(|| panic!("{start:?} is not in {output}"));
        let printed = printed.split(MARK).next().unwrap_or_default();
        for line in lines.lines() {
            assert!(printed.lines().any(|printed| is_like(printed.trim(), line.trim())), "no {line:?} in {printed}");
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

pub(super) struct Block<'p> {
    pub(super) kind: &'p str,
    pub(super) body: String,
}

pub(super) fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut parts = page.split("\n```");
    parts.next();
    let mut blocks = Vec::new();
    while let (Some(block), Some(_)) = (parts.next(), parts.next()) {
        let (kind, body) = block.split_once('\n').expect("a block has lines");
        blocks.push(Block { kind, body: body.to_owned() });
    }
    blocks
}

/// The replacements for the folders and ports on the page.
struct Others {
    ports: Vec<(&'static str, String)>,
    folders: Vec<(&'static str, String)>,
}

impl Others {
    fn new(folder: &Folder) -> Self {
        let ports = ["8443", "9464", "9443", "8080"];
        let free = free_ports(ports.len()).iter().map(u16::to_string).collect::<Vec<_>>();
        let within = |name: &str| folder.path().join(name).display().to_string();
        let folders = vec![("~/fapi-start", within("start")), ("~/fapi-own", within("own"))];
        Self { ports: ports.into_iter().zip(free).collect(), folders }
    }

    fn replaced(&self, text: &str) -> String {
        let text = self.folders.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to));
        with_ports(&text, &self.ports)
    }
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
pub(super) fn is_like(line: &str, shown: &str) -> bool {
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
