//! How many exchanges an upstream has at a time, and how many more wait for their turn.
//!
//! A slow upstream would otherwise take connections and memory without end, and make the exchanges of the others wait for
//! them. Whoever finds no room is told at once to come back later.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::connection::shares::{Holder, Share, Shares};

/// The section `limits` of an upstream in gateway.yaml.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many exchanges may be in progress.
    pub exchanges: usize,
    /// How many of these, and of those that wait, may be of one client.
    pub exchanges_per_client: usize,
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
    shares: Arc<Shares>,
    per_client: usize,
}

/// The place of one exchange; dropping it frees the place.
pub struct Turn {
    _permit: OwnedSemaphorePermit,
    _share: Option<Share>,
}

/// Whether an exchange had to wait for its place, so that what was true before may not be true any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// It did not.
    No,
    /// It did.
    Yes,
}

/// Why an exchange has no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoTurn {
    /// There is none, or none became free in time.
    Full,
    /// Its client has as many as it may.
    ShareExceeded,
}

impl Admission {
    /// `streams` is how many exchanges a connection carries at a time.
    pub(super) fn new(limits: Limits, streams: usize, patience: Duration) -> Self {
        let exchanges = limits.exchanges.min(limits.connections.saturating_mul(streams)).min(Semaphore::MAX_PERMITS);
        let (turns, waiting) = (Arc::new(Semaphore::new(exchanges)), AtomicUsize::new(0));
        let (shares, per_client) = (Arc::default(), limits.exchanges_per_client);
        Self { turns, exchanges, waiting, max_waiting: limits.waiting, patience, shares, per_client }
    }

    pub(super) fn has_limits_of(&self, other: &Self) -> bool {
        let limits = |of: &Self| (of.exchanges, of.max_waiting, of.patience, of.per_client);
        limits(self) == limits(other)
    }

    /// Takes a place, and waits for one if few enough others do; never longer than `at_most`. Says whether it waited.
    pub(super) async fn admit(&self, holder: Option<Holder>, at_most: Duration) -> Result<(Turn, Waited), NoTurn> {
        let share = match holder {
            Some(holder) => Some(self.shares.take(holder, self.per_client).ok_or(NoTurn::ShareExceeded)?),
            None => None,
        };
        // Nobody who waits is overtaken.
        if let Ok(permit) = self.turns.clone().try_acquire_owned() {
            return Ok((Turn { _permit: permit, _share: share }, Waited::No));
        }
        let _place = self.wait()?;
        match tokio::time::timeout(self.patience.min(at_most), self.turns.clone().acquire_owned()).await {
            Ok(Ok(permit)) => Ok((Turn { _permit: permit, _share: share }, Waited::Yes)),
            Ok(Err(_)) | Err(_) => Err(NoTurn::Full),
        }
    }

    fn wait(&self) -> Result<Waiting<'_>, NoTurn> {
        let place = Waiting(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::AcqRel) >= self.max_waiting {
            return Err(NoTurn::Full);
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

    fn limits(exchanges: usize, waiting: usize, connections: usize) -> Limits {
        Limits { exchanges, exchanges_per_client: exchanges, waiting, connections }
    }

    async fn admit(admission: &Admission) -> Result<Turn, NoTurn> {
        admission.admit(None, AT_MOST).await.map(|(turn, _)| turn)
    }

    async fn refusal(admission: &Admission, at_most: Duration) -> Option<NoTurn> {
        admission.admit(None, at_most).await.err()
    }

    #[tokio::test(start_paused = true)]
    async fn some_have_their_turn_some_wait_and_the_others_are_told_at_once() {
        let admission = Arc::new(Admission::new(limits(2, 1, 100), 1, PATIENCE));
        let (first, waited) = admission.admit(None, AT_MOST).await.unwrap_or_else(|error| panic!("{error:?}"));
        assert_eq!(waited, Waited::No);
        let second = admit(&admission).await.ok();
        let waits = tokio::spawn({
            let admission = admission.clone();
            async move { admission.admit(None, AT_MOST).await.map(|(_, waited)| waited) }
        });
        tokio::task::yield_now().await;
        assert_eq!(refusal(&admission, AT_MOST).await, Some(NoTurn::Full), "one waits already");
        drop(first);
        assert_eq!(waits.await.unwrap(), Ok(Waited::Yes), "its turn came");
        let third = admit(&admission).await.ok();
        assert!(second.is_some() && third.is_some());
        assert_eq!(refusal(&admission, AT_MOST).await, Some(NoTurn::Full), "nobody left within two seconds");
        let hurried =
            tokio::time::timeout(PATIENCE - Duration::from_millis(1), refusal(&admission, PATIENCE / 2)).await;
        assert_eq!(hurried.unwrap(), Some(NoTurn::Full), "who has less time does not wait as long");
        drop((second, third));
        assert_eq!(admission.waiting.load(Ordering::Acquire), 0);
    }

    #[tokio::test]
    async fn connections_carry_one_exchange_or_many() {
        for (streams, most) in [(1, 1), (100, 100), (200, 150)] {
            let admission = Admission::new(limits(150, 0, 1), streams, PATIENCE);
            let mut held = Vec::new();
            while let Ok(turn) = admit(&admission).await {
                held.push(turn);
            }
            assert_eq!(held.len(), most);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_client_leaves_places_to_the_others_also_by_waiting() {
        let admission = Arc::new(Admission::new(Limits { exchanges_per_client: 2, ..limits(2, 2, 100) }, 1, PATIENCE));
        let (greedy, other) = (Some(Holder::Key([1; 32])), Some(Holder::Key([2; 32])));
        let mut held = Vec::new();
        for _ in 0..2 {
            held.push(admission.admit(greedy, AT_MOST).await.unwrap_or_else(|error| panic!("{error:?}")));
        }
        assert_eq!(admission.admit(greedy, AT_MOST).await.err(), Some(NoTurn::ShareExceeded), "nor may it wait");
        let waits = tokio::spawn({
            let admission = admission.clone();
            async move { admission.admit(other, AT_MOST).await.map(|(_, waited)| waited) }
        });
        tokio::task::yield_now().await;
        held.pop();
        assert_eq!(waits.await.unwrap(), Ok(Waited::Yes), "control: another client");
    }
}
