//! `fapi-gateway run`: serves until SIGTERM or SIGINT; SIGHUP reloads, as does a change of files.
//!
//! The first SIGTERM or SIGINT starts draining. The second stops draining: open connections are closed, and the audit
//! is written. The third exits at once.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use crate::clock::Clock;
use crate::config::Config;
use crate::server::{Bound, Control, Options};
use crate::telemetry::filter::Filter;
use crate::telemetry::logging;
use crate::upstream::SystemLookup;

/// Loads the configuration, starts the log, and serves; the exit code tells how it ended. `environment` is the filter of
/// `RUST_LOG`, if it is set.
pub fn run(path: &Path, environment: Option<&Filter>) -> ExitCode {
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(errors) => {
            logging::print(&errors.to_string());
            return ExitCode::from(super::BAD_CONFIGURATION);
        }
    };
    let clock = Clock::system();
    if let Err(errors) = config.judge_waivers(clock.unix_time(), &[]) {
        logging::print(&errors.to_string());
        return ExitCode::from(super::BAD_CONFIGURATION);
    }
    let _log = match logging::StderrLog::start(&config.log, environment) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("fapi-gateway: cannot write the log: {error}");
            return ExitCode::FAILURE;
        }
    };
    let shadows = config.shadows(clock.unix_time());
    for warning in config.warnings.iter().chain(&shadows) {
        tracing::warn!("{warning}");
    }
    let options = Options { clock, audit: None, lookup: Arc::new(SystemLookup), replay_began: None, threads: None };
    let bound = match Bound::new(config, options) {
        Ok(bound) => bound,
        Err(error) => return failed(&error),
    };
    // Before the log says that it listens: whoever waits for that line may signal at once.
    if let Err(error) = obey_signals(bound.control()) {
        return failed(&error);
    }
    for address in bound.addresses() {
        tracing::info!(%address, "listening");
    }
    if let Some(address) = bound.admin_address() {
        tracing::info!(%address, "admin listening");
    }
    match bound.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    logging::print(&format!("fapi-gateway: {error}"));
    ExitCode::FAILURE
}

/// Handles signals in a separate thread, from before the gateway serves.
fn obey_signals(control: Control) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut terminate, mut interrupt, mut hangup) = {
        let _inside = runtime.enter();
        // Without a handler, a file that has grown to the limit on file sizes ends the process. With one, writing to it fails as it
        // does on a full disk, which the audit can tell.
        drop(signal(SignalKind::from_raw(Signal::Xfsz as i32))?);
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?, signal(SignalKind::hangup())?)
    };
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            let mut asked = 0;
            while asked < 2 {
                let stop = tokio::select! {
                    _ = terminate.recv() => true,
                    _ = interrupt.recv() => true,
                    _ = hangup.recv() => false,
                };
                if stop {
                    asked += 1;
                    control.stop();
                } else {
                    control.reload();
                }
            }
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            std::process::exit(1);
        });
    })?;
    Ok(())
}
