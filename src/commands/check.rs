//! `fapi-gateway check`: loads the configuration as `run` would, and says everything that is wrong with it.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use crate::config::Config;

/// Prints one line for each listener, issuer and route, or, with `print_effective`, the configuration in force as YAML;
/// warnings go to standard error. Exits 0, or 64 with every problem.
pub fn run(config: &Path, print_effective: bool) -> ExitCode {
    // Who closes a pipe early has read enough.
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
    let config = match Config::load(config) {
        Ok(config) => config,
        Err(errors) => {
            let _ = writeln!(err, "{errors}");
            return ExitCode::from(super::BAD_CONFIGURATION);
        }
    };
    for warning in &config.warnings {
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
