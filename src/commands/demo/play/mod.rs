//! What the demo plays, and what comes of it.

mod exchange;
mod resource_server;
mod score;

use self::score::Score;
use super::Stop;
use super::stage::Stage;
use super::table::{row, say};

/// Makes every call and prints the table; returns whether all had the expected result.
pub(super) async fn perform(stage: &Stage) -> Result<bool, Stop> {
    let mut score = Score::default();
    say(&row("CALL", "STATUS", "CODE", "REASON"))?;
    resource_server::perform(stage, &mut score).await?;
    say(&format!("\n{score}"))?;
    Ok(score.is_all_right())
}
