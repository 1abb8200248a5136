//! Waiting until replicas of the server have what was written to it.
//!
//! WAIT blocks its connection until so many replicas have everything that was written on it before, so one for each write would
//! have them wait for each other. Here one is in flight at a time, and it answers for every write that the server has carried out
//! when it is sent; what is written meanwhile is what the next one is for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Cmd, Value, cmd};
use tokio::sync::{Notify, watch};

/// The writes on one connection, and which of them replicas have.
#[derive(Default)]
pub(super) struct Acknowledging {
    /// How many the server has carried out.
    written: AtomicU64,
    /// There is one that nobody has asked about.
    wanted: Notify,
    said: watch::Sender<Said>,
}

/// What the server said last.
#[derive(Clone, Copy, Default)]
struct Said {
    /// It is about so many, from the first on.
    written: u64,
    /// Of its replicas, so many have them.
    replicas: u64,
}

impl Acknowledging {
    /// Waits until the server has said how many of its replicas have what it has carried out just now.
    pub(super) async fn replicas(&self) -> u64 {
        let number = self.written.fetch_add(1, Ordering::AcqRel).saturating_add(1);
        let mut said = self.said.subscribe();
        self.wanted.notify_one();
        // `self` owns the sender, so the channel cannot be closed.
        said.wait_for(|said| said.written >= number).await.map_or(0, |said| said.replicas)
    }

    /// Asks about what is written, for as long as this is polled and the connection lasts.
    pub(super) async fn ask(&self, mut asking: MultiplexedConnection, least: u32, patience: Duration) {
        let question = wait(least, patience);
        loop {
            self.wanted.notified().await;
            // The answers to other writes may have come with the same packet.
            tokio::task::yield_now().await;
            let written = self.written.load(Ordering::Acquire);
            let answer = asking.send_packed_command(&question).await.and_then(Value::extract_error);
            let Ok(Value::Int(replicas)) = answer else { return };
            self.said.send_replace(Said { written, replicas: replicas.try_into().unwrap_or_default() });
        }
    }
}

/// The question how many replicas have what was written, which is answered once these have, or after that time.
pub(super) fn wait(least: u32, patience: Duration) -> Cmd {
    let mut question = cmd("WAIT");
    // Without a time, it would block the connection for good.
    question.arg(least).arg(patience.as_millis().max(1).to_string());
    question
}
