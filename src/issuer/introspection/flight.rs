//! Requests that ask about the same token at the same time share one call; how many wait is bounded.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fapi::UnixTime;
use fapi::credentials::PresentedToken;
use fapi::token::{ActiveToken, TokenHash};
use tokio::sync::watch;
use tokio::time::Instant;

use super::super::ValidateError;
use super::super::jwks::instant;
use super::fault::Fault;
use super::{Introspector, lock};

/// A call that is under way, for those who want the same answer.
pub(super) struct Flight {
    pub(super) began: Instant,
    pub(super) outcome: watch::Receiver<Option<Result<Arc<ActiveToken>, ValidateError>>>,
}

/// How a question is answered.
pub(super) enum Joined {
    /// By the call that is under way; the place is the request's own, unless the call has it.
    Flight(watch::Receiver<Option<Result<Arc<ActiveToken>, ValidateError>>>, Option<Place>),
    /// By what was learnt a moment ago.
    Known(Result<Arc<ActiveToken>, ValidateError>),
}

/// A request's place among those that wait.
pub(super) struct Place(Arc<Introspector>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Ends a flight, however it ends.
pub(super) struct Landing {
    introspector: Arc<Introspector>,
    hash: TokenHash,
    began: Instant,
    _place: Place,
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
    /// Takes part in the call that is under way for the token, or begins one. Whoever begins leaves its place to the call.
    pub(super) fn join(
        self: &Arc<Self>,
        token: PresentedToken<'_>,
        hash: &TokenHash,
        max_age: Duration,
        now: UnixTime,
        place: Place,
    ) -> Joined {
        let mut flights = lock(&self.flights);
        if let Some(flight) = flights.get(hash)
            && flight.began.elapsed() <= max_age
        {
            return Joined::Flight(flight.outcome.clone(), Some(place));
        }
        // A flight that landed since the caller looked has left its answer behind.
        if let Some(token) = self.remembered(hash, Some(max_age)) {
            return Joined::Known(Ok(token));
        }
        if let Some(error) = self.refused.get(hash) {
            return Joined::Known(Err(error.into()));
        }
        let (sender, outcome) = watch::channel(None);
        let began = instant();
        flights.insert(*hash, Flight { began, outcome: outcome.clone() });
        // Whatever ends the landing takes the lock, and a runtime that shuts down ends a task while it is spawned.
        drop(flights);
        let landing = Landing { introspector: self.clone(), hash: *hash, began, _place: place };
        let token: Box<str> = token.as_str().into();
        // A task of its own: a client that hangs up must not take the answer away from the others.
        tokio::spawn(async move {
            let outcome = landing.introspector.ask(&token, &landing.hash, now).await;
            drop(landing);
            sender.send_replace(Some(outcome));
        });
        Joined::Flight(outcome, None)
    }

    pub(super) fn wait_in_line(self: &Arc<Self>) -> Result<Place, ValidateError> {
        let place = Place(self.clone());
        if self.waiting.fetch_add(1, Ordering::AcqRel) >= self.settings.max_waiting {
            return Err(self.fail(&Fault::Busy, Duration::ZERO));
        }
        Ok(place)
    }
}
