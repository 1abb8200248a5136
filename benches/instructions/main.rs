//! How many instructions a decision and a whole exchange take: `cargo bench --profile instructions --bench instructions`.
//!
//! Callgrind counts them, so the numbers hardly depend on the machine or on what else runs there, and a step of a few per
//! cent shows that no clock could tell from noise. The counts are compared with `counts.txt` beside this file; more than
//! [`TOLERATED`] above it fails. `-- --write` writes the file anew.
//!
//! The profile is the release's without link-time optimization, which is built in a fraction of the time and differs from it
//! by about a tenth.

#![allow(missing_docs, clippy::unwrap_used, reason = "a measurement that cannot be made may panic")]

#[path = "../exchange/mod.rs"]
mod exchange;
#[path = "../stage/mod.rs"]
mod stage;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;

use fapi::permit::Permit;
use http::header::AUTHORIZATION;
use http::{Request, StatusCode};
use sandbox::https::{Answer, HttpServer};
use sandbox::tokens::{KeyKind, SigningKey, ath};

use self::exchange::{Client, Gateway, Protocol, Surroundings};
use self::stage::{Sent, Stage};

/// By how much a count may lie above the recorded one, and above one of another compiler, which counts for a few per cent itself.
const TOLERATED: f64 = 1.05;
const TOLERATED_OF_ANOTHER: f64 = 1.15;

/// Decisions that are counted in one run, after one that fills the caches.
const DECISIONS: u64 = 100;

/// What is decided on when every cache is warm.
const CASES: [&str; 3] = ["a token for a certificate", "an introspected token", "a token with a proof"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(case) = arguments.iter().position(|argument| argument == "--decide") {
        decide(&arguments[case + 1]);
        return ExitCode::SUCCESS;
    }
    let mut counts = BTreeMap::new();
    for case in CASES {
        let mut counted = callgrind();
        // Only what runs within the function counts, not the stage that is set before.
        counted.args(["--collect-atstart=no", "--toggle-collect=*::counted"]);
        counted.arg(std::env::current_exe().unwrap()).args(["--decide", case]);
        let output = counted.stdout(Stdio::null()).output().unwrap();
        let total = collected(&String::from_utf8_lossy(&output.stderr));
        counts.insert(format!("decision, {case}"), total / DECISIONS);
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let inside = runtime.enter();
    // It takes every span: an empty message says so.
    let collector = HttpServer::start(None, None, Arc::new(|_| Answer::text(StatusCode::OK, ""))).unwrap();
    drop(inside);
    let traces = format!("tracing: {{ otlp: {{ endpoint: \"http://{}\", sampling: 0.01 }} }}\n", collector.address());
    for (name, protocol, more) in [
        ("HTTP/1.1", Protocol::Http1, ""),
        ("HTTP/1.1, traces at 1 %", Protocol::Http1, &traces),
        ("HTTP/2", Protocol::Http2, ""),
    ] {
        let (few, many) = EXCHANGES;
        let more = exchanges(protocol, many, more).saturating_sub(exchanges(protocol, few, more));
        counts.insert(format!("exchange, {name}"), more / (many - few));
    }
    if arguments.iter().any(|argument| argument == "--write") {
        std::fs::write(recorded_file(), table(&counts)).unwrap();
        print!("{}", table(&counts));
        return ExitCode::SUCCESS;
    }
    compare(&counts)
}

/// Callgrind, which writes no profile here: the total that it prints is enough.
fn callgrind() -> Command {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command
}

/// The total that callgrind printed.
fn collected(text: &str) -> u64 {
    let total = text.lines().find_map(|line| line.split_once("Collected : ")).map(|(_, total)| total.trim());
    total.and_then(|total| total.parse().ok()).unwrap_or_else(|| panic!("callgrind counted nothing:\n{text}"))
}

/// How many exchanges the shorter and the longer run have; what the longer one takes more is theirs alone, without start,
/// handshake and stop.
const EXCHANGES: (u64, u64) = (200, 2200);

/// The instructions of a gateway that serves this many exchanges on one connection, with a token for its certificate.
fn exchanges(protocol: Protocol, count: u64, more: &str) -> u64 {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let inside = runtime.enter();
    let around = Surroundings::start();
    drop(inside);
    let authorization = format!("Bearer {}", around.sign(&around.token()));
    let mut command = callgrind();
    command.arg(env!("CARGO_BIN_EXE_fapi-gateway"));
    let gateway = Gateway::start(command, &around, more);
    runtime.block_on(async {
        gateway.ready().await;
        let mut client = Client::connect(&around, gateway.address, protocol).await;
        for _ in 0..count {
            let request = Request::get("/").header(AUTHORIZATION, &authorization);
            assert_eq!(client.send(request, "/accounts", b"").await.status, StatusCode::OK);
        }
    });
    collected(&gateway.stop())
}

/// Makes decisions for callgrind to count.
fn decide(case: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let stage = runtime.block_on(Stage::set());
    let key = SigningKey::generate(KeyKind::Es256, "proofs");
    let (mut number, token) = (0, stage.token());
    let mut next: Box<dyn FnMut() -> Sent + '_> = match case {
        "a token for a certificate" => Box::new(|| stage.sent("/accounts/1", &format!("Bearer {token}"), None)),
        "an introspected token" => {
            stage.issuer.know(&token, &stage.issuer.token(stage.now).bound_to_certificate(&stage.client));
            Box::new(|| stage.sent("/balances/1", &format!("Bearer {token}"), None))
        }
        "a token with a proof" => {
            let bound = stage.issuer.token(stage.now).bound_to_key(key.thumbprint());
            let bound = bound.sign(stage.issuer.key(KeyKind::Es256));
            let (stage, key) = (&stage, &key);
            Box::new(move || {
                number += 1;
                let (url, id) = ("https://api.bank.example/accounts/1", format!("proof-{number}"));
                let proof = key.proof("GET", url, stage.now, &id, Some(&ath(&bound)), None);
                stage.sent("/accounts/1", &format!("DPoP {bound}"), Some(&proof))
            })
        }
        _ => panic!("{case} is no case"),
    };
    drop(runtime.block_on(stage.decide(&next())).unwrap());
    for _ in 0..DECISIONS {
        let sent = next();
        drop(black_box(counted(&stage, &sent)));
    }
}

/// The frame that callgrind counts within.
#[inline(never)]
fn counted(stage: &Stage, sent: &Sent) -> Permit {
    stage.decide_at_once(black_box(sent))
}

/// Prints each count beside the recorded one, and fails if one has grown.
fn compare(counts: &BTreeMap<String, u64>) -> ExitCode {
    let text = std::fs::read_to_string(recorded_file()).unwrap();
    let recorded: BTreeMap<&str, u64> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, count)| (name.trim_end(), count.parse().unwrap()))
        .collect();
    let recorded_with = text.lines().next().unwrap_or_default().trim_start_matches("# ");
    let tolerated = if recorded_with == compiler() { TOLERATED } else { TOLERATED_OF_ANOTHER };
    let mut grown = false;
    for (name, count) in counts {
        let before = *recorded.get(name.as_str()).unwrap_or_else(|| panic!("no count is recorded for `{name}`"));
        let ratio = *count as f64 / before as f64;
        println!("{name:<40} {count:>8} instructions, recorded {before:>8}: {ratio:.3}");
        grown |= ratio > tolerated;
    }
    if grown {
        eprintln!(
            "more than {tolerated} of what is recorded in {}\nwith {}; this is {}.\n\
             If it has to cost that, write the file anew: cargo bench --profile instructions --bench instructions -- --write",
            recorded_file().display(),
            recorded_with,
            compiler(),
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// The counts as the file has them.
fn table(counts: &BTreeMap<String, u64>) -> String {
    let mut table = format!("# {}\n", compiler());
    for (name, count) in counts {
        writeln!(table, "{name:<40} {count:>8}").unwrap();
    }
    table
}

fn recorded_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions/counts.txt")
}

/// The compiler's version and the processor it builds for, on both of which counts depend a little.
fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output().unwrap();
    format!("{} for {}", String::from_utf8_lossy(&output.stdout).trim(), std::env::consts::ARCH)
}
