//! How many exchanges an upstream has at a time, and how many more wait for their turn.
//!
//! A slow upstream would otherwise take connections and memory without end, and make the exchanges of the others wait for
//! them. Whoever finds no room is told at once to come back later.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The section `limits` of an upstream in gateway.yaml.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many exchanges may be in progress.
    pub exchanges: usize,
    /// How many more may wait for one of these to end.
    pub waiting: usize,
    /// How many connections may be in use.
    pub connections: usize,
}

/// The places of one upstream.
pub(super) struct Admission {
    turns: Arc<Semaphore>,
    exchanges: usize,
    waiting: AtomicUsize,
    max_waiting: usize,
    patience: Duration,
}

/// There is no place, or none became free in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overloaded;

impl Admission {
    /// `streams` is how many exchanges a connection carries at a time.
    pub(super) fn new(limits: Limits, streams: usize, patience: Duration) -> Self {
        let exchanges = limits.exchanges.min(limits.connections.saturating_mul(streams)).min(Semaphore::MAX_PERMITS);
        let (turns, waiting) = (Arc::new(Semaphore::new(exchanges)), AtomicUsize::new(0));
        Self { turns, exchanges, waiting, max_waiting: limits.waiting, patience }
    }

    pub(super) fn has_limits_of(&self, other: &Self) -> bool {
        (self.exchanges, self.max_waiting, self.patience) == (other.exchanges, other.max_waiting, other.patience)
    }

    /// Takes a place, if there is one.
    pub(super) fn admit_at_once(&self) -> Option<OwnedSemaphorePermit> {
        self.turns.clone().try_acquire_owned().ok()
    }

    /// Takes a place, and waits for one if few enough others do; never longer than `at_most`.
    pub(super) async fn admit(&self, at_most: Duration) -> Result<OwnedSemaphorePermit, Overloaded> {
        if let Some(turn) = self.admit_at_once() {
            return Ok(turn);
        }
        let _place = self.wait()?;
        match tokio::time::timeout(self.patience.min(at_most), self.turns.clone().acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(Overloaded),
        }
    }

    fn wait(&self) -> Result<Waiting<'_>, Overloaded> {
        let place = Waiting(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::AcqRel) >= self.max_waiting {
            return Err(Overloaded);
        }
        Ok(place)
    }
}

/// A place among those that wait; dropping it frees the place.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(2);
    const AT_MOST: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn some_have_their_turn_some_wait_and_the_others_are_told_at_once() {
        let limits = Limits { exchanges: 2, waiting: 1, connections: 100 };
        let admission = Arc::new(Admission::new(limits, 1, PATIENCE));
        let first = admission.admit(AT_MOST).await.unwrap();
        let second = admission.admit(AT_MOST).await.unwrap();
        let waits = tokio::spawn({
            let admission = admission.clone();
            async move { admission.admit(AT_MOST).await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert_eq!(admission.admit(AT_MOST).await.map(drop), Err(Overloaded), "one waits already");
        drop(first);
        assert_eq!(waits.await.unwrap(), Ok(()), "its turn came");
        let third = admission.admit(AT_MOST).await.unwrap();
        assert_eq!(admission.admit(AT_MOST).await.map(drop), Err(Overloaded), "nobody left within two seconds");
        let hurried = tokio::time::timeout(PATIENCE - Duration::from_millis(1), admission.admit(PATIENCE / 2)).await;
        assert_eq!(hurried.unwrap().map(drop), Err(Overloaded), "who has less time does not wait as long");
        drop((second, third));
        assert_eq!(admission.waiting.load(Ordering::Acquire), 0);
    }

    #[tokio::test]
    async fn connections_carry_one_exchange_or_many() {
        let limits = Limits { exchanges: 150, waiting: 0, connections: 1 };
        for (streams, most) in [(1, 1), (100, 100), (200, 150)] {
            let admission = Admission::new(limits, streams, PATIENCE);
            let mut held = Vec::new();
            while let Ok(turn) = admission.admit(AT_MOST).await {
                held.push(turn);
            }
            assert_eq!(held.len(), most);
        }
    }
}
