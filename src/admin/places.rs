//! The places of the connections to the admin listener. When all are taken, the oldest connection that waits for a request,
//! or for the rest of one, makes room: whoever holds many connections without a whole request keeps nobody from the probes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// The places that are taken.
#[derive(Default)]
pub(super) struct Places(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    next: u64,
    /// By age.
    connections: BTreeMap<u64, Held>,
}

struct Held {
    /// Closes the connection.
    close: oneshot::Sender<()>,
    /// Whether it waits for a request or the rest of one, or is in its handshake.
    waits: bool,
}

/// The place of one connection; dropping it frees the place.
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
}

/// A place that was taken.
pub(super) struct Admitted {
    pub(super) place: Place,
    /// Completes when the connection has to make room.
    pub(super) closed: oneshot::Receiver<()>,
    /// Whether another connection had to.
    pub(super) displaced: bool,
}

impl Places {
    /// Takes a place for a connection that waits for its first request; `None` if every connection is being answered.
    pub(super) fn take(self: &Arc<Self>) -> Option<Admitted> {
        let mut taken = self.taken();
        let mut displaced = false;
        if taken.connections.len() >= MAX_CONNECTIONS {
            let oldest = taken.connections.iter().find_map(|(number, held)| held.waits.then_some(*number))?;
            displaced = taken.connections.remove(&oldest).is_some_and(|held| held.close.send(()).is_ok());
        }
        let number = taken.next;
        taken.next = number.wrapping_add(1);
        let (close, closed) = oneshot::channel();
        taken.connections.insert(number, Held { close, waits: true });
        drop(taken);
        Some(Admitted { place: Place { places: self.clone(), number }, closed, displaced })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// Records whether the connection waits for a request or the rest of one; returns whether it still has its place.
    pub(super) fn waits(&self, waits: bool) -> bool {
        let mut taken = self.places.taken();
        let held = taken.connections.get_mut(&self.number);
        held.map(|held| held.waits = waits).is_some()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.taken().connections.remove(&self.number);
    }
}

/// How many connections the admin listener holds: more than probes, Prometheus and senders of revocations need.
pub const MAX_CONNECTIONS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_that_waits_makes_room() {
        let places = Arc::new(Places::default());
        let mut held: Vec<Admitted> = (0..MAX_CONNECTIONS).map(|_| places.take().unwrap()).collect();
        assert!(held.iter().all(|admitted| !admitted.displaced));
        assert!(held[0].place.waits(false), "it is being answered");
        let newest = places.take().unwrap();
        assert!(newest.displaced);
        assert!(held[0].closed.try_recv().is_err() && held[1].closed.try_recv().is_ok());
        assert!(held[0].place.waits(true) && !held[1].place.waits(false));
        drop(held.remove(1));
        drop(held.remove(1));
        assert!(!places.take().unwrap().displaced, "control: a place was free");
    }

    #[test]
    fn nobody_makes_room_while_being_answered() {
        let places = Arc::new(Places::default());
        let mut held: Vec<Admitted> = (0..MAX_CONNECTIONS).map(|_| places.take().unwrap()).collect();
        assert!(held.iter().all(|admitted| admitted.place.waits(false)));
        assert!(places.take().is_none());
        held.pop();
        assert!(places.take().is_some(), "control");
    }
}
