//! What the gateway's files name of `tokio::time`. No time passes in a scene.

use std::time::Duration;

pub use runtime::time::Instant;

/// The output of the future; it never takes too long.
pub async fn timeout<F: Future>(_: Duration, future: F) -> Result<F::Output, Never> {
    Ok(future.await)
}

/// Never ends.
pub async fn sleep(_: Duration) {
    std::future::pending().await
}

/// There is none.
#[derive(Debug)]
pub enum Never {}
