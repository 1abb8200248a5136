//! One call for all requests that ask about the same token at the same time.

use std::sync::Arc;
use std::time::Duration;

use fapi::UnixTime;
use fapi::credentials::PresentedToken;
use fapi::token::{ActiveToken, TokenHash, TokenIds};
use tokio::sync::watch;
use tokio::time::Instant;

use super::super::ValidateError;
use super::places::{Asker, Place};
use super::{Introspector, lock};
use crate::clock::instant;

/// A call in progress that other requests about the same token can share.
pub(super) struct Flight {
    pub(super) began: Instant,
    /// How old an answer of another replica may be by which it ends.
    pub(super) max_age: Duration,
    pub(super) outcome: watch::Receiver<Option<Result<Arc<ActiveToken>, ValidateError>>>,
}

/// Where a request gets its result from.
pub(super) enum Joined {
    /// From the call in progress.
    Flight(watch::Receiver<Option<Result<Arc<ActiveToken>, ValidateError>>>),
    /// From a call that has just ended.
    Known(Result<Arc<ActiveToken>, ValidateError>),
}

/// Removes a flight when dropped, however the call ends.
pub(super) struct Landing {
    introspector: Arc<Introspector>,
    hash: TokenHash,
    began: Instant,
    place: Place,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut flights = lock(&self.introspector.flights);
        if flights.get(&self.hash).is_some_and(|flight| flight.began == self.began) {
            flights.remove(&self.hash);
        }
    }
}

impl Introspector {
    /// Joins the call in progress for the token, or begins one, which needs a place.
    pub(super) fn join(
        self: &Arc<Self>,
        (token, hash): (PresentedToken<'_>, &TokenHash),
        asker: Asker,
        max_age: Duration,
        now: UnixTime,
    ) -> Result<Joined, ValidateError> {
        let mut flights = lock(&self.flights);
        if let Some(flight) = flights.get(hash)
            && flight.began.elapsed() <= max_age
            && flight.max_age <= max_age
        {
            return Ok(Joined::Flight(flight.outcome.clone()));
        }
        // A call that has ended since the caller checked has left its result in a cache.
        if let Some(token) = self.remembered(hash, Some(max_age)) {
            return Ok(Joined::Known(Ok(token)));
        }
        if let Some(refused) = self.refused(hash, Some(max_age)) {
            return Ok(Joined::Known(Err(refused.into())));
        }
        let place = match self.take_place(asker) {
            Ok(place) => place,
            Err(none) => {
                // Before it is counted and logged: under load nobody else should wait for that.
                drop(flights);
                return Err(self.turned_away(none));
            }
        };
        let (sender, outcome) = watch::channel(None);
        let began = instant();
        let may_be_old = if self.shares() { max_age } else { Duration::ZERO };
        flights.insert(*hash, Flight { began, max_age: may_be_old, outcome: outcome.clone() });
        // Dropping the landing takes the lock, and a runtime that is shutting down drops a task while it is spawned.
        drop(flights);
        let landing = Landing { introspector: self.clone(), hash: *hash, began, place };
        let ids = TokenIds::of(token);
        let token: Box<str> = token.as_str().into();
        // In a separate task: a client that closes its connection must not cancel the call for the others.
        tokio::spawn(async move {
            let Landing { introspector, hash, place, .. } = &landing;
            let outcome = match introspector.shared((hash, ids), max_age, now).await {
                Some(token) => Ok(token),
                None => introspector.ask(&token, (hash, ids), place, now).await,
            };
            drop(landing);
            sender.send_replace(Some(outcome));
        });
        Ok(Joined::Flight(outcome))
    }
}
