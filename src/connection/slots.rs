//! How many connections are open at a time.

use std::sync::Arc;

use prometheus::IntGauge;
use tokio::sync::watch;

/// How many connections of one listener are open.
#[derive(Clone)]
pub struct Slots {
    taken: Arc<watch::Sender<usize>>,
    gauge: IntGauge,
}

/// The slot of one connection, until it ends.
pub struct Slot(Slots);

impl Slots {
    /// No connection is open; `gauge` shows how many are.
    pub fn new(gauge: IntGauge) -> Self {
        Self { taken: Arc::new(watch::Sender::new(0)), gauge }
    }

    /// A slot, if fewer than `limit` are taken.
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

    /// Waits until every connection has ended.
    pub async fn left(&self) {
        // The sender is ours, so it is not gone.
        let _ = self.taken.subscribe().wait_for(|taken| *taken == 0).await;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.taken.send_modify(|taken| *taken = taken.saturating_sub(1));
        self.0.gauge.dec();
    }
}
