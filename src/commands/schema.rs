//! `fapi-gateway schema`: prints the JSON Schema of gateway.yaml, for editors, or that of the audit.

use std::process::ExitCode;

/// The arguments of the command.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Print that of a line of the audit instead.
    #[arg(long)]
    audit: bool,
}

/// Prints the schema (2020-12) as indented JSON.
pub fn run(arguments: &Arguments) -> ExitCode {
    let schema = if arguments.audit { crate::telemetry::audit::schema_of_lines() } else { crate::config::schema() };
    super::printed(&format!("{schema:#}\n"), "schema")
}
