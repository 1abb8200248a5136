//! The commands of the program; each is one file or folder whose `run` returns an exit code.

pub mod audit;
mod captured;
pub mod check;
mod connect;
#[cfg(feature = "demo")]
pub mod demo;
pub mod explain;
#[cfg(feature = "demo")]
pub mod init;
mod policy_tests;
#[cfg(feature = "probe")]
pub mod probe;
mod profile_report;
pub mod proof;
pub mod run;
#[cfg(feature = "demo")]
pub mod sandbox;
pub mod schema;
pub mod shell;
pub mod sign;
pub mod thumbprint;
mod time;
#[cfg(feature = "demo")]
pub mod token;
pub mod verify;
pub mod version;

use std::io::{ErrorKind, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::config::{Config, misplaced};

/// The exit code for something that was examined and is not as it should be, and for what fails at run time.
pub const NOT_GOOD: u8 = 1;
/// The exit code for arguments or an environment that mean nothing.
pub const BAD_USAGE: u8 = 2;
/// The exit code for a configuration that cannot be used (`EX_USAGE` of sysexits.h).
pub const BAD_CONFIGURATION: u8 = 64;
/// The exit code when something that is needed is not available (`EX_UNAVAILABLE`).
pub const UNAVAILABLE: u8 = 69;
/// The exit code when a file, or standard input or output, cannot be read or written (`EX_IOERR`).
pub const INPUT_OUTPUT: u8 = 74;

/// What `fapi-gateway --help` says below the options.
pub const HELP: &str = "\
Exit codes:
  0   it ended as it should
  1   what was examined is not as it should be, such as a call that `explain` finds refused, or the command failed
  2   the command line cannot be parsed, or an argument means nothing, such as a URL that is none
  64  the configuration cannot be used
  69  something that is needed is not available, such as the keys of an issuer
  74  a file, or standard input or output, cannot be read or written

Environment:
  RUST_LOG  filters the log on standard error: `debug`, or `warn,fapi_gateway=debug` [default: info]";

/// Which configuration a command reads.
#[derive(Debug, clap::Args)]
pub struct ConfigFile {
    /// The configuration file, or `-` for standard input; relative paths in it are resolved against its folder.
    #[arg(short = 'c', long, default_value = "gateway.yaml", allow_hyphen_values = true)]
    pub config: std::path::PathBuf,
}

/// Why a command ends without success.
#[derive(Debug)]
struct Failure {
    exit: u8,
    why: String,
}

impl Failure {
    fn new(exit: u8, why: impl Into<String>) -> Self {
        Self { exit, why: why.into() }
    }

    /// A file, or standard input or output, that cannot be used.
    fn io(what: &Path, error: &dyn std::fmt::Display) -> Self {
        Self::of(INPUT_OUTPUT, what, error)
    }

    /// A problem with a file, or with standard input or output.
    fn of(exit: u8, what: &Path, error: &dyn std::fmt::Display) -> Self {
        let what = if what == Path::new("-") { Path::new("standard input") } else { what };
        Self::new(exit, format!("{}: {error}", what.display()))
    }

    fn report(self, command: &str) -> ExitCode {
        eprintln!("fapi-gateway {command}: {}", self.why);
        ExitCode::from(self.exit)
    }
}

/// Prints a result to standard output. A reader that closes the pipe early has read enough.
fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes())
}

/// The same for a message, which need not be text.
fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::io(Path::new("standard output"), &error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Prints a result to standard output, and gives the exit code of a command that does nothing else.
fn printed(text: &str, command: &str) -> ExitCode {
    ended(print(text), command)
}

/// Gives the exit code of a command, and says why if it failed.
fn ended(outcome: Result<(), Failure>, command: &str) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(command),
    }
}

/// Loads a configuration; its problems are the reason of the failure.
fn load(path: &Path) -> Result<Config, Failure> {
    Config::load(path).map_err(|errors| Failure::new(BAD_CONFIGURATION, errors.to_string()))
}

/// Refuses `-` for more than one file: whoever reads standard input second finds nothing.
fn one_from_standard_input<'p>(files: impl IntoIterator<Item = Option<&'p std::path::PathBuf>>) -> Result<(), Failure> {
    let taken = files.into_iter().flatten().filter(|file| file.as_path() == Path::new("-")).count();
    match taken {
        0 | 1 => Ok(()),
        _ => Err(Failure::new(BAD_USAGE, "`-` stands for standard input, which only one argument can have")),
    }
}

/// Reads a file, or standard input for `-`. What stands in place of a path, and may be a key, is not printed.
fn input(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().lock().take(MAX_INPUT).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_INPUT).read_to_end(&mut bytes))
    };
    match read {
        Err(error) => Err(match misplaced(&path.to_string_lossy()) {
            Some(problem) => Failure::new(BAD_USAGE, format!("an argument is not the path of a file: {problem}")),
            None => Failure::io(path, &error),
        }),
        Ok(_) if u64::try_from(bytes.len()) == Ok(MAX_INPUT) => Err(Failure::io(path, &"larger than 1 MiB")),
        Ok(_) => Ok(bytes),
    }
}

/// One byte more than is accepted.
const MAX_INPUT: u64 = 1024 * 1024 + 1;
