//! One call for all requests of a client that ask about the same consent at the same time. Each client has its own: one whose calls wait
//! for their turn must not have those of another wait with them.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::service::{Key, NoAnswer, Said};
use crate::issuer::introspection::{Asker, Place, lock};
use crate::sync::Mutex;

/// What is asked, and by which client.
type Asked = (Key, Asker);

/// The calls in progress. There are no more than places.
#[derive(Default)]
pub(super) struct Flights {
    all: Mutex<HashMap<Asked, watch::Receiver<Option<Said>>>>,
}

/// What a request waits for.
pub(super) enum Joined {
    /// A call that is in progress.
    Flight(watch::Receiver<Option<Said>>),
    /// One that it has to make.
    Begun(Begun),
}

/// A call that has begun and that others may join; however it ends, they no longer can.
pub(super) struct Begun {
    flights: Arc<Flights>,
    key: Asked,
    place: Place,
    sender: watch::Sender<Option<Said>>,
}

impl Flights {
    /// The outcome of the call that is in progress, or one that begins now, which needs a place.
    ///
    /// # Errors
    /// What `place` has in place of one.
    pub(super) fn join(
        self: &Arc<Self>,
        key: &Asked,
        place: impl FnOnce() -> Result<Place, NoAnswer>,
    ) -> Result<Joined, NoAnswer> {
        let mut all = lock(&self.all);
        if let Some(flight) = all.get(key) {
            return Ok(Joined::Flight(flight.clone()));
        }
        let place = place()?;
        let (sender, outcome) = watch::channel(None);
        all.insert(key.clone(), outcome);
        drop(all);
        Ok(Joined::Begun(Begun { flights: self.clone(), key: key.clone(), place, sender }))
    }
}

impl Begun {
    pub(super) fn outcome(&self) -> watch::Receiver<Option<Said>> {
        self.sender.subscribe()
    }

    pub(super) const fn place(&self) -> &Place {
        &self.place
    }

    /// Tells all who have joined.
    pub(super) fn end(self, said: Said) {
        self.sender.send_replace(Some(said));
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        lock(&self.flights.all).remove(&self.key);
    }
}
