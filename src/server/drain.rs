//! The end of a gateway, in the order in which nobody loses a request.

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::sync::watch;

use super::Control;
use crate::connection::drain::{Drain, Settings};
use crate::connection::slots::Slots;
use crate::generation::Generation;

/// Drains, then lets Pingora end at once; its own graceful end sleeps a fixed time and then cuts what is left.
pub(super) struct Shutdown {
    pub(super) control: Control,
    pub(super) generation: Arc<ArcSwap<Generation>>,
    pub(super) drain: Arc<Drain>,
    pub(super) closing: watch::Sender<bool>,
    pub(super) slots: Vec<Slots>,
}

impl Shutdown {
    /// From the first word of the end to the last connection, or until patience is over.
    async fn drain(&self, Settings { delay, timeout }: Settings) {
        self.drain.begin();
        // Those who choose servers notice in the first half; in the second, clients that keep a connection are told to leave
        // it, and whom they are sent to is another.
        tokio::time::sleep(delay / 2).await;
        self.drain.dismiss();
        tokio::time::sleep(delay - delay / 2).await;
        let _ = self.closing.send(true);
        let ended = async {
            for slots in &self.slots {
                slots.left().await;
            }
        };
        match tokio::time::timeout(timeout, ended).await {
            Ok(()) => tracing::info!("every connection ended"),
            Err(_) => tracing::warn!("connections were cut at the end of the drain"),
        }
    }
}

#[async_trait]
impl ShutdownSignalWatch for Shutdown {
    async fn recv(&self) -> ShutdownSignal {
        self.control.stopped(1).await;
        let settings = self.generation.load().drain;
        tracing::info!(delay = ?settings.delay, timeout = ?settings.timeout, "draining");
        tokio::select! {
            () = self.drain(settings) => {}
            () = self.control.stopped(2) => tracing::warn!("told to stop again, connections are cut"),
        }
        ShutdownSignal::FastShutdown
    }
}
