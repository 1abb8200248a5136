//! `fapi-gateway check`: loads the configuration as `run` would, and prints every problem.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use crate::config::Config;
use crate::server::descriptors;

/// Prints one line for each listener, issuer and route, or, with `print_effective`, the effective configuration as
/// YAML; warnings go to standard error. The exit code is 0, or 64 if there are problems, which are all printed.
pub fn run(config: &Path, print_effective: bool) -> ExitCode {
    // A reader that closes the pipe early has read enough.
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
    let config = match Config::load(config) {
        Ok(config) => config,
        Err(errors) => {
            let _ = writeln!(err, "{errors}");
            return ExitCode::from(super::BAD_CONFIGURATION);
        }
    };
    for warning in config.warnings.iter().cloned().chain(descriptors::shortage(&config)) {
        let _ = writeln!(err, "warning: {warning}");
    }
    if print_effective {
        let _ = write!(out, "{}", config.effective());
    } else {
        for line in config.summary() {
            let _ = writeln!(out, "{line}");
        }
    }
    ExitCode::SUCCESS
}
