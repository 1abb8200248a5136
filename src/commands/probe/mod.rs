//! `fapi-gateway probe`: calls a live resource server, ours or anyone's, and says clause by clause what it enforces.

mod outputs;
mod reports;

use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use ::probe::module::Module;
use ::probe::report::terminal::{module_lines, summary};
use ::probe::report::{Module as ModuleReport, Report, Step, Verdict};
use ::probe::run::{Watch, modules_of, run as run_plans};
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;

use self::outputs::Outputs;
use super::{BAD_CONFIGURATION, BAD_USAGE, Failure, NOT_GOOD, UNAVAILABLE, input};
use crate::config::probe::{Said, read};

/// The arguments of the command.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    run: RunArguments,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Verify the signature of a report, and that a transcript is the one it was made from.
    Verify(reports::VerifyArguments),
    /// Compare two reports, and say what became better and worse.
    Compare(reports::CompareArguments),
}

/// The arguments of a run.
#[derive(Debug, clap::Args)]
struct RunArguments {
    /// The configuration of the probe, or `-` for standard input; relative paths in it are resolved against its folder.
    #[arg(short = 'c', long, default_value = "probe.yaml", allow_hyphen_values = true)]
    config: PathBuf,
    /// The URL of the resource, instead of `target`; its origin has to be one of `targets`.
    #[arg(long, value_name = "URL")]
    target: Option<String>,
    /// A plan, instead of `plans`, once for each: `fapi2-rs-security`, `fapi2-rs-dpop`, `fapi2-rs-mtls`, `fapi1-rs-advanced`,
    /// `message-signing`, or the name of an ecosystem.
    #[arg(long, value_name = "PLAN")]
    plan: Vec<String>,
    /// Run this module alone, once for each.
    #[arg(long, value_name = "MODULE")]
    only: Vec<String>,
    /// Use methods that may change something, which `resource.write` describes.
    #[arg(long)]
    writes: bool,
    /// Send nothing, and print every request that would be sent.
    #[arg(long)]
    dry_run: bool,
    /// Write a line of JSON for every request and handshake to this file, without secrets.
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    transcript: Option<PathBuf>,
    #[command(flatten)]
    outputs: Outputs,
}

/// Runs the command. The exit code is 1 if a rule is not kept, or if nothing can be said of one, and 69 if the target is not there.
pub fn run(arguments: &Arguments) -> ExitCode {
    let outcome = match &arguments.command {
        Some(Command::Verify(arguments)) => reports::verify(arguments),
        Some(Command::Compare(arguments)) => reports::compare(arguments),
        None => probe(&arguments.run),
    };
    super::ended(outcome, "probe")
}

fn probe(arguments: &RunArguments) -> Result<(), Failure> {
    let bytes = input(&arguments.config)?;
    let said = Said {
        target: arguments.target.clone(),
        plans: arguments.plan.clone(),
        writes: arguments.writes,
        dry: arguments.dry_run,
        visit: Box::new(visit),
    };
    let settings =
        read(&arguments.config, &bytes, said).map_err(|errors| Failure::new(BAD_CONFIGURATION, errors.to_string()))?;
    let known = modules_of(&settings.plans);
    for name in &arguments.only {
        if !known.iter().any(|module| module.name == name) {
            let way_out = "`--dry-run` and docs/probe.md name them";
            return Err(Failure::new(BAD_USAGE, format!("no module of these plans is named `{name}`; {way_out}")));
        }
    }
    arguments.outputs.check()?;
    let hash = HEXLOWER.encode(digest(&SHA256, &bytes).as_ref());
    let mut transcript = match &arguments.transcript {
        Some(file) => Some((file, std::fs::File::create(file).map_err(|error| Failure::io(file, &error))?)),
        None => None,
    };
    let out = transcript.as_mut().map(|(_, file)| file as &mut dyn Write);
    let mut told = Told { dry: arguments.dry_run, colour: std::io::stdout().is_terminal(), failed: None, before: None };
    let report = run_plans(&settings, &arguments.only, &hash, out, &mut told);
    if let Some(failure) = told.failed {
        return Err(failure);
    }
    arguments.outputs.write(&report)?;
    if let Some(why) = nothing_was_asked(&report) {
        return Err(Failure::new(UNAVAILABLE, why));
    }
    super::print(&format!("\n{}", summary(&report, told.colour)))?;
    match arguments.dry_run || is_good(&report) {
        true => Ok(()),
        false => Err(Failure::new(NOT_GOOD, "not every rule is kept, or of some nothing could be said")),
    }
}

/// Why no module could ask anything, if none could.
fn nothing_was_asked(report: &Report) -> Option<&str> {
    let first = report.modules.first()?.reason.as_deref()?;
    let same = |module: &ModuleReport| module.steps.is_empty() && module.reason.as_deref() == Some(first);
    (report.requests == 0 && !report.dry_run && report.count(Verdict::Skipped) == 0)
        .then_some(first)
        .filter(|_| report.modules.iter().all(same))
}

/// Whether every rule that was looked at is kept, and one was; recommendations do not count.
fn is_good(report: &Report) -> bool {
    report.count(Verdict::Fail) == 0 && report.count(Verdict::Inconclusive) == 0 && report.count(Verdict::Pass) > 0
}

/// Prints the modules as they end.
struct Told {
    dry: bool,
    colour: bool,
    failed: Option<Failure>,
    /// Why the module before could not begin: what comes after it cannot either.
    before: Option<String>,
}

impl Watch for Told {
    /// On a terminal, the module that runs stands in the last line until it has ended.
    fn begins(&mut self, number: usize, of: usize, module: &Module) {
        if self.colour {
            let _ = super::print(&format!("[{number}/{of}] {} ...", module.name));
        }
    }

    fn ended(&mut self, number: usize, of: usize, module: &ModuleReport) {
        let idle = module.verdict == Verdict::Inconclusive && module.steps.is_empty();
        let before = std::mem::replace(&mut self.before, module.reason.clone().filter(|_| idle));
        if before.is_some() && before == self.before {
            return;
        }
        let mut text = module_lines(number, of, module, self.colour);
        if self.colour {
            text.insert_str(0, CLEAR);
        }
        if self.dry {
            text.extend(module.reason.iter().map(|reason| format!("    {reason}\n")));
            text.extend(module.steps.iter().map(planned));
        }
        if let Err(failure) = super::print(&text) {
            self.failed.get_or_insert(failure);
        }
    }
}

/// Goes to the start of the line and clears it (ECMA-48).
const CLEAR: &str = "\r\x1b[K";

/// A step of a dry run.
fn planned(step: &Step) -> String {
    let curl = step.curl.iter().map(|curl| format!("      {}\n", curl.replace('\n', "\n      ")));
    format!("    {}: expects {}\n{}", step.title, step.expected, curl.collect::<String>())
}

/// Shows a person where to log in, and reads where the browser ended.
fn visit(url: &str) -> Result<String, String> {
    eprintln!("open this in a browser and log in:\n\n  {url}\n\nthen paste the URL that the browser ends on:");
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line).map_err(|error| error.to_string())?;
    match read {
        0 => Err("standard input ended before the URL that the browser ends on".to_owned()),
        _ => Ok(line.trim().to_owned()),
    }
}

/// Writes a file that others may read.
fn write(file: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(file, text).map_err(|error| Failure::io(file, &error))
}
