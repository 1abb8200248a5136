//! Shuts down the gateway in an order in which no request is lost.

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch};
use tokio::sync::watch;

use super::Control;
use crate::connection::drain::{Drain, Settings};
use crate::connection::slots::Slots;
use crate::generation::Generation;

/// Drains, then lets Pingora stop immediately; Pingora's own graceful shutdown sleeps for a fixed time and then closes
/// what is left.
pub(super) struct Shutdown {
    pub(super) control: Control,
    pub(super) generation: Arc<ArcSwap<Generation>>,
    pub(super) drain: Arc<Drain>,
    pub(super) closing: watch::Sender<bool>,
    pub(super) slots: Vec<Slots>,
}

impl Shutdown {
    /// Drains until the last connection is closed, or until the timeout.
    async fn drain(&self, Settings { delay, timeout }: Settings) {
        // In the first half of the delay, load balancers notice the shutdown. In the second half, clients with an open
        // connection are told to close it, and are then directed to another server.
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
            Ok(()) => tracing::info!("every connection is closed"),
            Err(_) => tracing::warn!("the drain timed out; the remaining connections are closed"),
        }
    }
}

#[async_trait]
impl ShutdownSignalWatch for Shutdown {
    async fn recv(&self) -> ShutdownSignal {
        self.control.stopped(1).await;
        self.drain.begin();
        let settings = self.generation.load().drain;
        tracing::info!(delay = ?settings.delay, timeout = ?settings.timeout, "draining");
        tokio::select! {
            () = self.drain(settings) => {}
            () = self.control.stopped(2) => tracing::warn!("told to stop again; the remaining connections are closed"),
        }
        ShutdownSignal::FastShutdown
    }
}
