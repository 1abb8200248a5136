//! `fapi-gateway version`: what this program was built from.

use std::process::ExitCode;

/// Prints the version, the commit and the features, one line each.
pub fn run() -> ExitCode {
    let features: Vec<&str> = [("demo", cfg!(feature = "demo")), ("mimalloc", cfg!(feature = "mimalloc"))]
        .into_iter()
        .filter_map(|(name, on)| on.then_some(name))
        .collect();
    let features = if features.is_empty() { "none".to_owned() } else { features.join(", ") };
    let text = format!("fapi-gateway {}\ncommit: {COMMIT}\nfeatures: {features}\n", env!("CARGO_PKG_VERSION"));
    super::printed(&text, "version")
}

/// The commit that the program was built from, or `unknown`; build.rs finds it.
pub const COMMIT: &str = env!("FAPI_GATEWAY_COMMIT");
