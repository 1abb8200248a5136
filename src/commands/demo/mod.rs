//! `fapi-gateway demo`: runs an authorization server, an accounts API and the gateway in one process on loopback, makes
//! honest and hostile calls to them, and then keeps the gateway running to try by hand.

use std::process::ExitCode;

use tokio::signal::unix::{SignalKind, signal};

mod play;
mod stage;

/// Makes the calls, prints the results, and keeps serving unless `once`; the exit code tells whether every call had the
/// expected result.
pub fn run(once: bool) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.to_string()),
    };
    let stage = match runtime.block_on(stage::Stage::set()) {
        Ok(stage) => stage,
        Err(error) => return failed(&error),
    };
    let right = runtime.block_on(async {
        let outcome = play::perform(&stage).await;
        if !once {
            stage.print_curl_lines();
            if let Err(error) = told_to_end().await {
                eprintln!("fapi-gateway: {error}");
            }
        }
        outcome
    });
    stage.strike();
    match right {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => failed(&error),
    }
}

/// Waits for Ctrl-C or SIGTERM; after either the files of the demo are removed.
async fn told_to_end() -> std::io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        ended = tokio::signal::ctrl_c() => ended,
        _ = terminate.recv() => Ok(()),
    }
}

fn failed(error: &str) -> ExitCode {
    eprintln!("fapi-gateway demo: {error}");
    ExitCode::FAILURE
}
