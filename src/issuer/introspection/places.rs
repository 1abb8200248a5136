//! The places of calls that wait for an issuer: bounded in total, and for each client; and the turns of those that are under
//! way, of which one client takes half at most. Otherwise, the calls of one would all be waited for by whoever comes later.
//!
//! Requests that share a call need no place of their own: they cost the issuer nothing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::{Semaphore, SemaphorePermit};

use super::lock;
use crate::connection::addresses::ClientNetwork;
use crate::sync::Mutex;

/// Whose call it is, as far as a stranger cannot choose it freely.
///
/// A certificate counts only if its chain was verified, since anyone can make others; otherwise the address does.
/// Behind a proxy all requests come from one address, so there the key of the proof takes its place, although a client
/// can make any number of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asker {
    /// The SHA-256 of a certificate whose chain was verified.
    Certificate([u8; 32]),
    /// The thumbprint of the key of a DPoP proof.
    Key([u8; 32]),
    /// The SHA-256 of the id of a client that has authenticated itself.
    Client([u8; 32]),
    /// An address, as far as the customers of a network can be told apart.
    Address(ClientNetwork),
    /// Someone behind a proxy who shows neither certificate nor key.
    Unknown,
}

impl Asker {
    /// The asker at this address.
    pub fn at(address: IpAddr) -> Self {
        Self::Address(ClientNetwork::of(address))
    }
}

/// How many calls may wait or be in progress at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Of all clients.
    pub total: usize,
    /// Of one client.
    pub per_client: usize,
}

/// The places and turns of one issuer.
pub(crate) struct Places {
    taken: Mutex<Taken>,
    turns: Semaphore,
    max_calls: usize,
}

/// The places that are taken.
#[derive(Default)]
struct Taken {
    total: usize,
    by_asker: HashMap<Asker, Own>,
}

/// What one client has.
struct Own {
    places: usize,
    turns: Arc<Semaphore>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// The client has its share.
    Share,
    /// There are no others.
    Full,
}

impl Places {
    /// Creates the places of an issuer that is called at most `max_calls` times at once.
    pub(crate) fn new(max_calls: usize) -> Self {
        Self { taken: Mutex::default(), turns: Semaphore::new(max_calls), max_calls }
    }

    pub(crate) fn take(self: &Arc<Self>, asker: Asker, room: Room) -> Result<Place, NoPlace> {
        let mut taken = lock(&self.taken);
        if taken.total >= room.total {
            return Err(NoPlace::Full);
        }
        if taken.by_asker.get(&asker).is_some_and(|own| own.places >= room.per_client) {
            return Err(NoPlace::Share);
        }
        taken.total = taken.total.saturating_add(1);
        let fresh = || Own { places: 0, turns: Arc::new(Semaphore::new((self.max_calls / 2).max(1))) };
        let own = taken.by_asker.entry(asker).or_insert_with(fresh);
        own.places = own.places.saturating_add(1);
        let turns = own.turns.clone();
        drop(taken);
        Ok(Place { places: self.clone(), asker, turns })
    }

    #[cfg(test)]
    pub(super) fn are_free(&self) -> bool {
        let taken = lock(&self.taken);
        taken.total == 0 && taken.by_asker.is_empty() && self.turns.available_permits() == self.max_calls
    }
}

/// The place of one call; dropping it frees the place.
pub(crate) struct Place {
    places: Arc<Places>,
    asker: Asker,
    /// Those of its client.
    turns: Arc<Semaphore>,
}

impl Place {
    /// Waits for the turn of its call; `None` if the issuer is gone.
    pub(crate) async fn turn(&self) -> Option<Turn<'_>> {
        let own = self.turns.acquire().await.ok()?;
        Some(Turn { _own: own, _of_all: self.places.turns.acquire().await.ok()? })
    }
}

/// The turn of one call; dropping it ends the turn.
pub(crate) struct Turn<'p> {
    _own: SemaphorePermit<'p>,
    _of_all: SemaphorePermit<'p>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.places.taken);
        taken.total = taken.total.saturating_sub(1);
        if let Some(own) = taken.by_asker.get_mut(&self.asker) {
            own.places = own.places.saturating_sub(1);
            if own.places == 0 {
                taken.by_asker.remove(&self.asker);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_takes_its_share_and_no_more() {
        let places = Arc::new(Places::new(4));
        let room = Room { total: 5, per_client: 2 };
        let take = |asker| places.take(asker, room);
        let (key, certificate) = (Asker::Key([1; 32]), Asker::Certificate([1; 32]));
        let mut held = vec![take(key).unwrap_or_else(|_| panic!("free")), take(key).unwrap_or_else(|_| panic!("free"))];
        assert_eq!(take(key).err(), Some(NoPlace::Share));
        for other in [certificate, Asker::Unknown, Asker::Key([2; 32])] {
            held.push(take(other).unwrap_or_else(|_| panic!("control: another client")));
        }
        assert_eq!((take(key).err(), take(certificate).err()), (Some(NoPlace::Full), Some(NoPlace::Full)));
        drop(held.remove(0));
        assert!(take(key).is_ok());
        held.clear();
        assert!(places.are_free());
    }

    #[tokio::test]
    async fn a_client_takes_half_of_the_turns_and_the_next_call_is_anothers() {
        let places = Arc::new(Places::new(4));
        let room = Room { total: 100, per_client: 100 };
        let place = |asker| places.take(asker, room).unwrap_or_else(|_| panic!("free"));
        let [many, other] = [Asker::Key([1; 32]), Asker::Key([2; 32])];
        let (held, waiting) = ([place(many), place(many)], place(many));
        let turns = [held[0].turn().await.unwrap(), held[1].turn().await.unwrap()];
        let mut third = std::pin::pin!(waiting.turn());
        assert!(polled(&mut third).is_none(), "half of them are its own");
        let others = [place(other), place(other), place(other)];
        let _first = others[0].turn().await.unwrap();
        let _second = others[1].turn().await.unwrap();
        drop(turns);
        assert!(polled(&mut third).is_some(), "control");
    }

    /// Polls once.
    fn polled<F: Future>(future: &mut std::pin::Pin<&mut F>) -> Option<F::Output> {
        match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        }
    }
}
