//! One service: its calls, and what it remembers.

use std::sync::Arc;

use fapi::policy::{ConsentAnswer, ConsentAnswerError, ConsentQuestion, ConsentState};
use fapi::rejection::{Cause, ShareExceeded, Unavailable};
use fapi::sha256;
use http::StatusCode;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use reqwest::Url;
use tokio::time::Instant;
use tracing::warn;

use super::flight::{Flights, Joined};
use super::settings::Settings;
use super::{Observer, Outcome};
use crate::clock::instant;
use crate::issuer::http::{Client, ClientError, FetchError};
use crate::issuer::introspection::{Asker, Complaint, NoPlace, Place, Places, lock};
use crate::resource::Resource;
use crate::sync::Mutex;

/// A service that says in which state consents are.
pub struct Service {
    settings: Settings,
    client: Client,
    observer: Arc<dyn Observer>,
    resource: Arc<Resource>,
    /// What it said, and when it was asked.
    said: Cache<Key, (ConsentState, Instant)>,
    flights: Arc<Flights>,
    places: Arc<Places>,
    complaint: Mutex<Complaint>,
}

/// What an answer depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    consent_id: Box<str>,
    /// Where the URL names it.
    client_id: Option<Box<str>>,
}

/// What a call brought: a state, or that there is no such consent, or why neither.
pub(super) type Said = Result<Option<ConsentState>, NoAnswer>;

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(super) enum NoAnswer {
    /// The call failed.
    Fault(Arc<Fault>),
    /// The client's other requests have all its places.
    Share,
}

/// Why a call failed; contains nothing of the answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("too many requests are waiting for its answers")]
    Busy,
    #[error("it did not answer in time")]
    TimedOut,
    #[error("it refused the gateway itself with status {status}; check the certificate that the entry in `consents` presents", status = status.as_u16())]
    Unauthorized { status: StatusCode },
    #[error(transparent)]
    Fetch(FetchError),
    #[error(transparent)]
    Answer(#[from] ConsentAnswerError),
    #[error("the call was lost")]
    Lost,
}

impl Fault {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Busy => Outcome::Busy,
            Self::TimedOut | Self::Fetch(FetchError::TimedOut { .. }) => Outcome::Timeout,
            Self::Unauthorized { .. } => Outcome::Unauthorized,
            Self::Fetch(FetchError::Status { .. } | FetchError::TooLarge { .. } | FetchError::Encoded { .. })
            | Self::Answer(_) => Outcome::Invalid,
            Self::Fetch(_) | Self::Lost => Outcome::Unreachable,
        }
    }
}

impl From<FetchError> for Fault {
    fn from(error: FetchError) -> Self {
        if let FetchError::Status { status, .. } = error
            && matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        {
            return Self::Unauthorized { status };
        }
        Self::Fetch(error)
    }
}

impl Service {
    /// A service that has not been asked yet.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn new(settings: Settings, observer: Arc<dyn Observer>, resource: Arc<Resource>) -> Result<Self, ClientError> {
        let identity = settings.identity.as_ref();
        let client = Client::for_many_calls(&settings.trust_anchors, identity, settings.max_calls, settings.timeout)?;
        let said = Cache::builder()
            .max_capacity(settings.cache.max_entries)
            .time_to_live(settings.cache.max_age.saturating_add(settings.cache.stale_for))
            .eviction_policy(EvictionPolicy::lru())
            .build();
        let places = Arc::new(Places::new(settings.max_calls));
        let (flights, complaint) = (Arc::default(), Mutex::default());
        Ok(Self { settings, client, observer, resource, said, flights, places, complaint })
    }

    /// What it was made with.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What is known of a consent.
    ///
    /// # Errors
    /// [`Unavailable::Consent`] and [`ShareExceeded::Consent`].
    pub(super) async fn answer(self: &Arc<Self>, question: &ConsentQuestion) -> Result<ConsentAnswer, Cause> {
        let key = self.key(question);
        // The token names nobody, or somebody who could have no consent: that is not the service's fault.
        let Some(url) = self.url(&key) else { return Ok(ConsentAnswer::Unknown) };
        if let Some(state) = self.fresh(&key) {
            self.observer.asked(Outcome::Cached, None);
            return Ok(ConsentAnswer::Known(state));
        }
        let asker = question.client_id.as_deref().map_or(Asker::Unknown, |id| Asker::Client(sha256(id.as_bytes())));
        match self.ask((&key, url), asker).await {
            Ok(Some(state)) => Ok(ConsentAnswer::Known(state)),
            Ok(None) => Ok(ConsentAnswer::Unknown),
            Err(NoAnswer::Share) => {
                self.observer.asked(Outcome::ShareExceeded, None);
                Err(ShareExceeded::Consent { name: self.settings.name.clone() }.into())
            }
            Err(NoAnswer::Fault(fault)) => match self.last_resort(&key) {
                Some(state) => {
                    self.observer.asked(Outcome::Stale, None);
                    Ok(ConsentAnswer::Known(state))
                }
                None => {
                    let detail = format!("{}: {fault}", self.settings.name).into();
                    Err(Unavailable::Consent { detail }.into())
                }
            },
        }
    }

    /// The last answer, while that counts in place of one that there is not.
    fn last_resort(&self, key: &Key) -> Option<ConsentState> {
        let (state, asked_at) = self.said.get(key)?;
        let counts_for = self.settings.cache.max_age.saturating_add(self.settings.cache.stale_for);
        (asked_at.elapsed() < counts_for).then_some(state)
    }

    fn key(&self, question: &ConsentQuestion) -> Key {
        let client_id = question.client_id.clone().filter(|_| self.settings.url.names_client());
        Key { consent_id: question.id.as_str().into(), client_id }
    }

    /// Where it is asked; `None` if an id is missing or cannot stand there.
    fn url(&self, key: &Key) -> Option<Url> {
        let client_id = match (self.settings.url.names_client(), &key.client_id) {
            (true, client_id) => client_id.as_deref().filter(|id| !id.is_empty())?,
            (false, _) => "",
        };
        self.settings.url.expand(&key.consent_id, client_id)
    }

    /// What it said within `max_age`.
    pub(super) fn fresh(&self, key: &Key) -> Option<ConsentState> {
        let (state, asked_at) = self.said.get(key)?;
        (asked_at.elapsed() < self.settings.cache.max_age).then_some(state)
    }

    /// Asks, in a call that other requests about the same may share.
    async fn ask(self: &Arc<Self>, (key, url): (&Key, Url), asker: Asker) -> Said {
        // An answer that may be no older than the request is its own.
        if self.settings.cache.max_age.is_zero() {
            let place = self.take_place(asker)?;
            return self.call((key, &url), &place).await;
        }
        let mut outcome = match self.flights.join(key, || self.take_place(asker))? {
            Joined::Flight(outcome) => outcome,
            Joined::Begun(begun) => {
                let (service, key, outcome) = (self.clone(), key.clone(), begun.outcome());
                // In a task of its own: a client that closes its connection must not cancel the call for the others.
                tokio::spawn(async move {
                    let said = match service.fresh(&key) {
                        // Of a call that has ended since the caller looked.
                        Some(state) => Ok(Some(state)),
                        None => service.call((&key, &url), begun.place()).await,
                    };
                    begun.end(said);
                });
                outcome
            }
        };
        let said = outcome.wait_for(Option::is_some).await.ok().and_then(|said| said.clone());
        // Only a panic ends the call without an outcome.
        said.unwrap_or_else(|| Err(NoAnswer::Fault(Fault::Lost.into())))
    }

    fn take_place(&self, asker: Asker) -> Result<Place, NoAnswer> {
        self.places.take(asker, self.settings.max_waiting).map_err(|none| match none {
            NoPlace::Full => NoAnswer::Fault(Fault::Busy.into()),
            NoPlace::Share => NoAnswer::Share,
        })
    }

    /// One call, within the timeout; what it brings is remembered.
    async fn call(&self, (key, url): (&Key, &Url), place: &Place) -> Said {
        let began = instant();
        let answered = tokio::time::timeout(self.settings.timeout, self.fetch(url, place)).await;
        let said = answered.unwrap_or(Err(Fault::TimedOut));
        let took = Some(began.elapsed());
        match said {
            Ok((state, asked_at)) => {
                self.resource.succeeded();
                match &state {
                    Some(state) => {
                        self.observer.asked(Outcome::Known, took);
                        self.remember(key, state, asked_at);
                    }
                    None => {
                        self.observer.asked(Outcome::Unknown, took);
                        self.said.invalidate(key);
                    }
                }
                Ok(state)
            }
            Err(fault) => {
                self.observer.asked(fault.outcome(), took);
                if !matches!(fault, Fault::Busy) {
                    self.resource.failed(&fault);
                    self.complain(&fault);
                }
                Err(NoAnswer::Fault(fault.into()))
            }
        }
    }

    /// The answer, and when the request was sent.
    async fn fetch(&self, url: &Url, place: &Place) -> Result<(Option<ConsentState>, Instant), Fault> {
        let _turn = place.turn().await.ok_or(Fault::Busy)?;
        let asked_at = instant();
        let answer = match self.client.get_json_bytes(url).await {
            // A kept connection that turns out to be closed.
            Err(FetchError::BrokenOff { .. }) => self.client.get_json_bytes(url).await,
            answer => answer,
        };
        match answer {
            Ok(body) => Ok((Some(ConsentState::from_json(&body, &self.settings.members)?), asked_at)),
            Err(FetchError::Status { status: StatusCode::NOT_FOUND | StatusCode::GONE, .. }) => Ok((None, asked_at)),
            Err(error) => Err(error.into()),
        }
    }

    fn remember(&self, key: &Key, state: &ConsentState, asked_at: Instant) {
        // A later call may have returned earlier; its answer is not overwritten.
        let newer = self.said.get(key).is_some_and(|(_, at)| at > asked_at);
        if !newer && !self.settings.cache.max_age.saturating_add(self.settings.cache.stale_for).is_zero() {
            self.said.insert(key.clone(), (state.clone(), asked_at));
        }
    }

    fn complain(&self, fault: &Fault) {
        if let Some(unsaid) = lock(&self.complaint).is_due() {
            warn!(service = %self.settings.name, error = %fault, unsaid, "a consent could not be asked about");
        }
    }
}
