//! Counts the open connections of a listener, or the handshakes in progress, and limits them.

use std::sync::Arc;

use prometheus::IntGauge;
use tokio::sync::watch;

/// The slots for the connections or handshakes of one listener.
#[derive(Clone)]
pub struct Slots {
    taken: Arc<watch::Sender<usize>>,
    gauge: IntGauge,
}

/// The slot of one connection or handshake; dropping it frees the slot.
pub struct Slot(Slots);

impl Slots {
    /// Creates the slots of a listener that has none of them yet; `gauge` shows how many are taken.
    pub fn new(gauge: IntGauge) -> Self {
        Self { taken: Arc::new(watch::Sender::new(0)), gauge }
    }

    /// Takes a slot, if fewer than `limit` are taken.
    pub fn take(&self, limit: usize) -> Option<Slot> {
        let free = self.taken.send_if_modified(|taken| {
            let free = *taken < limit;
            *taken = taken.saturating_add(usize::from(free));
            free
        });
        if free {
            self.gauge.inc();
        }
        free.then(|| Slot(self.clone()))
    }

    /// Waits until every slot is free.
    pub async fn left(&self) {
        // `self` owns the sender, so the channel cannot be closed.
        let _ = self.taken.subscribe().wait_for(|taken| *taken == 0).await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.taken.send_modify(|taken| *taken = taken.saturating_sub(1));
        self.0.gauge.dec();
    }
}
