//! What the demo plays, and what comes of it.

mod authorization_server;
mod exchange;
mod oauth_client;
mod resource_server;
mod score;

use self::score::Score;
use super::Stop;
use super::stage::Stage;
use super::table::{row, say};

/// Makes every call and prints the tables; returns whether all had the expected result.
pub(super) async fn perform(stage: &Stage) -> Result<bool, Stop> {
    let mut score = Score::default();
    begin("In front of a resource server")?;
    resource_server::perform(stage, &mut score).await?;
    begin("\nIn front of an authorization server that knows nothing of FAPI, with what it answers alone")?;
    authorization_server::perform(stage, &mut score).await?;
    say(&format!("\n{score}"))?;
    Ok(score.is_all_right())
}

/// Prints the heading of an act, and that of its table.
fn begin(act: &str) -> Result<(), Stop> {
    say(&format!("{act}:\n\n{}", row("CALL", "STATUS", "CODE", "REASON")))
}
