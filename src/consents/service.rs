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
    /// What it said, and when it was asked; that there is no such consent counts for nothing but the order of answers.
    said: Cache<Key, (Option<ConsentState>, Instant)>,
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
    /// Too many requests wait, those of the client itself among them.
    Busy,
}

/// Why a call failed; contains nothing of the answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
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
    /// Whether the service refuses what it is asked about, rather than the gateway or nothing in particular.
    const fn is_about_id(&self) -> bool {
        matches!(
            self,
            Self::Fetch(FetchError::Status { status: StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY, .. })
        )
    }

    fn outcome(&self) -> Outcome {
        match self {
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
            Err(NoAnswer::Busy) => {
                self.observer.asked(Outcome::Busy, None);
                let detail = format!("{}: too many requests are waiting for its answers", self.settings.name).into();
                Err(Unavailable::Consent { detail }.into())
            }
            // It cannot be the id of a consent: the service says so, or the request names one as its client likes.
            Err(NoAnswer::Fault(fault)) if question.is_of_request() && fault.is_about_id() => {
                Ok(ConsentAnswer::Unknown)
            }
            Err(NoAnswer::Fault(fault)) => match self.last_resort(&key, &fault) {
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
    fn last_resort(&self, key: &Key, fault: &Fault) -> Option<ConsentState> {
        // That a call was lost is ours.
        if matches!(fault, Fault::Lost) {
            return None;
        }
        let (Some(state), asked_at) = self.said.get(key)? else { return None };
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
        let (Some(state), asked_at) = self.said.get(key)? else { return None };
        (asked_at.elapsed() < self.settings.cache.max_age).then_some(state)
    }

    /// Asks, in a call that other requests of the client about the same may share.
    async fn ask(self: &Arc<Self>, (key, url): (&Key, Url), asker: Asker) -> Said {
        // An answer that may be no older than the request is its own.
        if self.settings.cache.max_age.is_zero() {
            let place = self.take_place(asker)?;
            return self.call((key, &url), &place).await;
        }
        let mut outcome = match self.flights.join(&(key.clone(), asker), || self.take_place(asker))? {
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
            NoPlace::Full => NoAnswer::Busy,
            NoPlace::Share => NoAnswer::Share,
        })
    }

    /// One call, after waiting for its turn; what it brings is remembered.
    async fn call(&self, (key, url): (&Key, &Url), place: &Place) -> Said {
        // How long a turn takes to come says nothing of the service: a client could keep its own calls waiting.
        let turn = tokio::time::timeout(self.settings.timeout, place.turn()).await;
        let Ok(Some(_turn)) = turn else { return Err(NoAnswer::Busy) };
        let began = instant();
        let answered = tokio::time::timeout(self.settings.timeout, self.fetch(url)).await;
        let said = answered.unwrap_or(Err(Fault::TimedOut));
        let took = Some(began.elapsed());
        match said {
            Ok(state) => {
                self.resource.succeeded();
                self.observer.asked(if state.is_some() { Outcome::Known } else { Outcome::Unknown }, took);
                self.remember(key, &state, began);
                Ok(state)
            }
            Err(fault) => {
                self.observer.asked(fault.outcome(), took);
                if !fault.is_about_id() {
                    self.resource.failed(&fault);
                    self.complain(&fault);
                }
                Err(NoAnswer::Fault(fault.into()))
            }
        }
    }

    async fn fetch(&self, url: &Url) -> Result<Option<ConsentState>, Fault> {
        let answer = match self.client.get_json_bytes(url).await {
            // A kept connection that turns out to be closed.
            Err(FetchError::BrokenOff { .. }) => self.client.get_json_bytes(url).await,
            answer => answer,
        };
        match answer {
            Ok(body) => Ok(Some(ConsentState::from_json(&body, &self.settings.members)?)),
            Err(FetchError::Status { status: StatusCode::NOT_FOUND | StatusCode::GONE, .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn remember(&self, key: &Key, state: &Option<ConsentState>, asked_at: Instant) {
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
