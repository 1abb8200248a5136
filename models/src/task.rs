//! What the gateway's files name of `tokio::task`.

use crate::time::Never;

/// What blocks is one step.
pub async fn spawn_blocking<T>(work: impl FnOnce() -> T) -> Result<T, Never> {
    Ok(work())
}
