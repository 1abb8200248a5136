//! The places of calls that wait for an issuer: bounded in total, and for each client.
//!
//! Requests that share a call need no place of their own: they cost the issuer nothing.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

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

/// The places that are taken.
#[derive(Default)]
pub(super) struct Places(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    total: usize,
    by_asker: HashMap<Asker, usize>,
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// The client has its share.
    Share,
    /// There are no others.
    Full,
}

impl Places {
    pub(super) fn take(self: &Arc<Self>, asker: Asker, room: Room) -> Result<Place, NoPlace> {
        let mut taken = lock(&self.0);
        if taken.total >= room.total {
            return Err(NoPlace::Full);
        }
        if taken.by_asker.get(&asker).is_some_and(|own| *own >= room.per_client) {
            return Err(NoPlace::Share);
        }
        taken.total = taken.total.saturating_add(1);
        let own = taken.by_asker.entry(asker).or_default();
        *own = own.saturating_add(1);
        drop(taken);
        Ok(Place { places: self.clone(), asker })
    }

    #[cfg(test)]
    pub(super) fn are_free(&self) -> bool {
        let taken = lock(&self.0);
        taken.total == 0 && taken.by_asker.is_empty()
    }
}

/// The place of one call; dropping it frees the place.
pub(super) struct Place {
    places: Arc<Places>,
    asker: Asker,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.places.0);
        taken.total = taken.total.saturating_sub(1);
        if let Some(own) = taken.by_asker.get_mut(&self.asker) {
            *own = own.saturating_sub(1);
            if *own == 0 {
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
        let places = Arc::new(Places::default());
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
}
