//! `fapi-gateway schema`: prints the JSON Schema of gateway.yaml, for editors.

use std::io::Write;
use std::process::ExitCode;

/// Prints the schema (2020-12) as indented JSON.
pub fn run() -> ExitCode {
    // A reader that closes the pipe early has read enough.
    let _ = writeln!(std::io::stdout().lock(), "{:#}", crate::config::schema());
    ExitCode::SUCCESS
}
