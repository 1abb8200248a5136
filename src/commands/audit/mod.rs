//! `fapi-gateway audit`: reads what the audit has written.

mod evidence;

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::Value;

use self::evidence::Opener;
use super::{Failure, NOT_GOOD, input, one_from_standard_input, print};
use crate::telemetry::audit::chain::{Ended, Findings, Place, PublicKeys, VerifiedChain, Verifier};

/// What is to be done with the lines.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Find lines of the audit's chains that were changed, removed, moved or added.
    Verify(Verify),
    /// Print the lines of one exchange, by its interaction ID.
    Show(Show),
}

/// The arguments of `audit verify`.
#[derive(Debug, clap::Args)]
pub struct Verify {
    /// The public key of `audit.chain.key`, in PEM or as a JWK; several times if it was replaced.
    #[arg(long, value_name = "FILE", required = true, allow_hyphen_values = true)]
    key: Vec<PathBuf>,
    /// Accept chains that begin before the first file, and chains without an end, as that of a process that runs.
    #[arg(long)]
    partial: bool,
    /// The files, the oldest first; `-` for standard input.
    #[arg(required = true, allow_hyphen_values = true)]
    files: Vec<PathBuf>,
}

/// The arguments of `audit show`.
#[derive(Debug, clap::Args)]
pub struct Show {
    /// The private key to what `audit.evidence` encrypts, PEM: what was signed is shown too, and verified again. Credentials are shown
    /// as their hash.
    #[arg(long, value_name = "FILE", allow_hyphen_values = true)]
    evidence_key: Option<PathBuf>,
    /// The `x-fapi-interaction-id` of the exchange.
    id: String,
    /// The files; `-` for standard input.
    #[arg(required = true, allow_hyphen_values = true)]
    files: Vec<PathBuf>,
}

/// Runs one of them. The exit code is 0, or 1 if something is not as it was written, or there is no such exchange.
pub fn run(command: &Command) -> ExitCode {
    match command {
        Command::Verify(arguments) => match verify(arguments) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(NOT_GOOD),
            Err(failure) => failure.report("audit verify"),
        },
        Command::Show(arguments) => match show(arguments) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::from(NOT_GOOD),
            Err(failure) => failure.report("audit show"),
        },
    }
}

/// Prints each fault, and each chain; returns whether there is no fault.
fn verify(arguments: &Verify) -> Result<bool, Failure> {
    one_from_standard_input(arguments.key.iter().chain(&arguments.files).map(Some))?;
    let mut keys = PublicKeys::default();
    for path in &arguments.key {
        keys.add(&input(path)?).map_err(|why| Failure::of(NOT_GOOD, path, &why))?;
    }
    let mut verifier = Verifier::new(keys, arguments.partial);
    for path in &arguments.files {
        let file: Arc<str> = path.display().to_string().into();
        each_line(path, |number, line, ended| verifier.line(Place { file: file.clone(), line: number }, line, ended))?;
    }
    let findings = verifier.finish();
    print(&report(&findings))?;
    Ok(findings.fault_count == 0)
}

fn report(findings: &Findings) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    for fault in &findings.faults {
        let _ = writeln!(out, "{fault}");
    }
    if findings.fault_count > findings.faults.len() as u64 {
        let _ = writeln!(out, "there are more faults, which are not shown");
    }
    for (id, chain) in &findings.chains {
        let VerifiedChain { first, last, covered, checkpoints, lost, ended, .. } = chain;
        let how = match ended {
            Ended::Sealed => "it is sealed".to_owned(),
            Ended::Continued => "it was not sealed; the next chain covers its last line".to_owned(),
            Ended::Open => match covered {
                Some(covered) => format!("it is not sealed; no signature covers what comes after line {covered}"),
                None => "no signature covers it".to_owned(),
            },
        };
        let lost = if *lost > 0 { format!("; {lost} lines were lost before they came into it") } else { String::new() };
        let _ = writeln!(
            out,
            "chain {id}: lines {} to {}, from {} to {}, {checkpoints} checkpoints; {how}{lost}",
            first.0, last.0, first.1, last.1
        );
    }
    let (lines, chains) = (findings.lines, findings.chains.len());
    let _ = match findings.fault_count {
        0 => writeln!(out, "{lines} lines of {chains} chains are as they were written"),
        faults => writeln!(out, "{lines} lines of {chains} chains: {faults} faults"),
    };
    out
}

/// Prints the lines, and what was signed; returns whether every signature of it holds.
fn show(arguments: &Show) -> Result<bool, Failure> {
    one_from_standard_input(arguments.evidence_key.iter().chain(&arguments.files).map(Some))?;
    let opener = arguments.evidence_key.as_ref().map(|path| Opener::read(path)).transpose()?;
    let (mut found, mut holds, mut has_evidence) = (String::new(), true, false);
    for path in &arguments.files {
        each_line(path, |_, line, _| {
            // Most lines need not be parsed.
            if memchr::memmem::find(line, arguments.id.as_bytes()).is_some()
                && let Ok(record) = serde_json::from_slice::<Value>(line)
                && record["interaction_id"] == *arguments.id
            {
                let _ = writeln!(found, "{record:#}");
                if let (Some(opener), Some(sealed)) = (&opener, record["evidence"].as_str()) {
                    has_evidence = true;
                    holds &= opener.explain(sealed, &mut found);
                }
            }
        })?;
    }
    if found.is_empty() {
        return Err(Failure::new(NOT_GOOD, "none of the lines has this interaction ID"));
    }
    if opener.is_some() && !has_evidence {
        found.push_str("there is no evidence: nothing of it was signed, or `audit.evidence` was not set\n");
        holds = false;
    }
    print(&found)?;
    Ok(holds)
}

/// Reads a file line by line: the number of each, the line without its end, and whether it had one. Of a line longer than any that
/// is written, only the beginning is taken.
fn each_line(path: &Path, mut take: impl FnMut(u64, &[u8], bool)) -> Result<(), Failure> {
    let source: Box<dyn Read> = match path == Path::new("-") {
        true => Box::new(std::io::stdin().lock()),
        false => Box::new(File::open(path).map_err(|error| Failure::io(path, &error))?),
    };
    let mut source = BufReader::with_capacity(256 * 1024, source);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        let read = (&mut source).take(LONGEST_LINE).read_until(b'\n', &mut line);
        if read.map_err(|error| Failure::io(path, &error))? == 0 {
            break;
        }
        let whole = line.strip_suffix(b"\n");
        let is_cut = whole.is_none() && line.len() as u64 == LONGEST_LINE;
        if is_cut {
            source.skip_until(b'\n').map_err(|error| Failure::io(path, &error))?;
        }
        take(number, whole.unwrap_or(&line), whole.is_some() || is_cut);
    }
    Ok(())
}

/// The longest line that is read at once, in bytes; no line of the audit has more than some 16 KiB.
const LONGEST_LINE: u64 = 1024 * 1024;
