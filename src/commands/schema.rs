//! `fapi-gateway schema`: prints the JSON Schema of gateway.yaml, for editors.

use std::process::ExitCode;

/// Prints the schema (2020-12) as indented JSON.
pub fn run() -> ExitCode {
    super::printed(&format!("{:#}\n", crate::config::schema()), "schema")
}
