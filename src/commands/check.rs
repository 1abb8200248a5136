//! `fapi-gateway check`: loads the configuration as `run` would, and prints every problem.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use super::profile_report::{self, Format};
use super::{ConfigFile, connect, policy_tests};
use crate::clock::Clock;
use crate::config::{Config, ConfigErrors, Outline};
use crate::server::descriptors;

/// The arguments of the command.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    file: ConfigFile,
    /// Print the effective configuration, with every default, variable and included file filled in.
    #[arg(long)]
    print_effective: bool,
    /// Check everything but the files that the configuration names, where certificates and keys are not at hand.
    #[arg(long, conflicts_with = "connect")]
    without_files: bool,
    /// Print each rule of the profile: its clause, its setting, where it is enforced, and whether it is waived.
    #[arg(long, conflicts_with_all = ["print_effective", "connect", "tests"])]
    profile_report: bool,
    /// The form of that report: for people, or one JSON object.
    #[arg(long, value_enum, default_value_t = Format::Text, requires = "profile_report")]
    format: Format,
    /// Also ask the issuers for their keys and connect to the upstreams, and print how each went; ends with 69 if one failed.
    #[arg(long, conflicts_with = "print_effective")]
    connect: bool,
    /// Also take the calls of these policy tests through the configuration, and print which are not decided as they have to be;
    /// ends with 1 if there is one.
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["connect", "print_effective"])]
    tests: Vec<PathBuf>,
}

/// Prints one line for each listener, issuer, route, store, guarantee, waiver and document of `metadata`, and one for
/// `signing`, or what the arguments ask for; warnings go to standard error.
///
/// The exit code is 0, or 1 if a policy test does not hold, or 64 if there are problems, which are all printed, or 69 if
/// something cannot be reached, or 74 if nobody can be told.
pub fn run(arguments: &Arguments) -> ExitCode {
    let mut err = std::io::stderr().lock();
    let (outline, config) = match load(arguments) {
        Ok(loaded) => loaded,
        Err(errors) => {
            let _ = writeln!(err, "{errors}");
            return ExitCode::from(super::BAD_CONFIGURATION);
        }
    };
    for warning in &outline.warnings {
        let _ = writeln!(err, "warning: {warning}");
    }
    // A failure to print is reported on it.
    drop(err);
    if arguments.print_effective {
        return super::printed(&outline.effective, "check");
    }
    if arguments.profile_report {
        let report = profile_report::of(&outline, arguments.format, Clock::system().unix_time());
        return super::printed(&report, "check");
    }
    if !arguments.tests.is_empty() {
        return match policy_tests::run(&arguments.tests, config) {
            Ok((text, holds)) => {
                let printed = super::printed(&text, "check");
                if holds { printed } else { ExitCode::from(super::NOT_GOOD) }
            }
            Err(failure) => failure.report("check"),
        };
    }
    if arguments.connect {
        let answers = connect::run(config);
        let printed = super::printed(&connect::table(&answers), "check");
        let reached = answers.iter().all(connect::Answer::is_good);
        return if reached { printed } else { ExitCode::from(super::UNAVAILABLE) };
    }
    let summary: String = outline.summary.iter().map(|line| format!("{line}\n")).collect();
    super::printed(&summary, "check")
}

fn load(arguments: &Arguments) -> Result<(Outline, Config), ConfigErrors> {
    let (file, now) = (&arguments.file.config, Clock::system().unix_time());
    let config = match arguments.without_files {
        true => Config::load_without_files(file, &|name| std::env::var_os(name))?,
        false => Config::load(file)?,
    };
    let mut outline = config.outline();
    outline.warnings.extend(config.shadows(now));
    if arguments.without_files {
        let over = config.judge_waivers(now, &[]).err();
        outline.warnings.extend(over.iter().map(ConfigErrors::in_one_line));
    } else {
        outline.warnings.extend(config.judge(now)?.into_iter().chain(descriptors::shortage(&config)));
    }
    Ok((outline, config))
}
