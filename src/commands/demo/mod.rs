//! `fapi-gateway demo`: runs an accounts API, two authorization servers and the gateway in one process on loopback, makes
//! honest and hostile calls to them, and then keeps the gateway running to try by hand. One of the authorization servers knows
//! nothing of FAPI, and is called through the gateway.

mod ending;
mod play;
mod stage;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use self::ending::{Signals, unread};
use self::stage::Stage;

/// The arguments of the command.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Exit after the calls, with code 0 only if every call had the expected result.
    #[arg(long)]
    once: bool,
    /// Write the files of the demo into this folder, which must not be there yet, and leave them there.
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
}

/// Why the demo ends by itself.
#[derive(Debug)]
enum Stop {
    /// Nobody reads what it prints.
    Unread,
    /// Something does not work.
    Failed(String),
}

impl From<String> for Stop {
    fn from(why: String) -> Self {
        Self::Failed(why)
    }
}

/// Makes the calls, prints the results, and keeps serving unless `once`; the exit code tells whether every call had the
/// expected result.
///
/// Ctrl-C, SIGTERM, SIGHUP, an error and a reader of the output that goes away all end it, at any time. Its files are
/// removed however it ends, unless they are to be kept.
pub fn run(arguments: &Arguments) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.to_string()),
    };
    let mut right = None;
    let ended = runtime.block_on(async {
        // From before the first file is written.
        let mut signals = Signals::new().map_err(|error| Stop::Failed(error.to_string()))?;
        tokio::select! {
            biased;
            () = signals.come() => Ok(()),
            () = unread() => Ok(()),
            ended = perform(arguments, &mut right) => ended,
        }
    });
    match (ended, right) {
        (Err(Stop::Failed(error)), _) => failed(&error),
        (Ok(()) | Err(Stop::Unread), Some(true)) => ExitCode::SUCCESS,
        (Ok(()) | Err(Stop::Unread), Some(false) | None) => ExitCode::FAILURE,
    }
}

/// Sets the stage, makes the calls and, unless `once`, shows those of others until it is dropped. What came of the calls
/// is in `right` as soon as it is known.
async fn perform(arguments: &Arguments, right: &mut Option<bool>) -> Result<(), Stop> {
    let stage = Stage::set(arguments.keep.as_deref()).await?;
    *right = Some(play::perform(&stage).await?);
    if arguments.once {
        return Ok(());
    }
    let mut lines = stage.follow();
    table::say(&stage.invitation()?)?;
    while let Some(record) = lines.recv().await {
        if let Some(row) = table::row_of(&record) {
            table::say(&row)?;
        }
    }
    Ok(())
}

fn failed(error: &str) -> ExitCode {
    eprintln!("fapi-gateway demo: {error}");
    ExitCode::FAILURE
}
