//! The end of a gateway, in the order in which nobody loses a request.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::sync::{Semaphore, watch};

use super::Control;
use crate::admin::Drain;

/// Drains, then lets Pingora end at once; its own graceful end sleeps a fixed time and then cuts what is left.
pub(super) struct Shutdown {
    pub(super) control: Control,
    pub(super) drain: Arc<Drain>,
    pub(super) accepting: watch::Sender<bool>,
    pub(super) connections: Vec<(Arc<Semaphore>, usize)>,
    pub(super) lame_duck: Duration,
    pub(super) patience: Duration,
}

#[async_trait]
impl ShutdownSignalWatch for Shutdown {
    async fn recv(&self) -> ShutdownSignal {
        self.control.0.stop.notified().await;
        tracing::info!("draining");
        self.drain.begin();
        tokio::time::sleep(self.lame_duck).await;
        let _ = self.accepting.send(true);
        let ended = async {
            for (slots, count) in &self.connections {
                let _ = slots.acquire_many(u32::try_from(*count).unwrap_or(u32::MAX)).await;
            }
        };
        match tokio::time::timeout(self.patience, ended).await {
            Ok(()) => tracing::info!("every connection ended"),
            Err(_) => tracing::warn!("connections were cut at the end of the drain"),
        }
        ShutdownSignal::FastShutdown
    }
}
