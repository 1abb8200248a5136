//! In which state consents are: what services of the bank answer, and for how long that counts.
//!
//! A service is asked by a GET for one consent. What it says is remembered under the consent, and the client where the URL names
//! that, in a cache of its own: the state and whose it is, never the decision about a request. Requests of a client that ask about
//! the same consent at the same time share one call. How many calls there are at a time is bounded, and so is the number of those that wait
//! for their turn, in total and for each client.
//!
//! If a service does not answer as it must, its last answer may still count for a while, where the configuration says so; after
//! that, requests are refused with 503.

mod flight;
mod service;
mod settings;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fapi::permit::AwaitsConsent;
use fapi::policy::{ConsentAnswer, ConsentState};
use fapi::rejection::{Cause, Unavailable};

pub use self::service::Service;
pub use self::settings::{CacheSettings, Settings, Template, TemplateError};
use crate::issuer::http::ClientError;
use crate::resource::Resource;

/// Those who say in which state consents are, in the order of the indexes that routes use.
#[derive(Default)]
pub struct Consents {
    sources: Vec<Known>,
}

/// Who says in which state consents are.
pub enum Source {
    /// A service.
    Service(Box<Settings>),
    /// A test, for policy tests, where nobody is asked.
    Test(Arc<Scripted>),
    /// Nobody, where a call is explained and nobody may be asked.
    Nobody,
}

impl Source {
    /// Its configured name, if it is a service.
    pub fn name(&self) -> Option<&Arc<str>> {
        match self {
            Self::Service(settings) => Some(&settings.name),
            Self::Test(_) | Self::Nobody => None,
        }
    }
}

enum Known {
    Service(Arc<Service>),
    Test(Arc<Scripted>),
    Nobody,
}

/// What a test says of a consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GivenConsent {
    /// There is none.
    Unknown,
    /// It is in this state.
    Status(Box<str>),
}

impl GivenConsent {
    /// A state, or `unknown`.
    pub fn read(text: &str) -> Self {
        if text == "unknown" { Self::Unknown } else { Self::Status(text.into()) }
    }
}

/// What a test says of every consent; without anything, that it can be used.
#[derive(Default)]
pub struct Scripted(Mutex<Option<GivenConsent>>);

impl Scripted {
    /// Says this from now on.
    pub fn say(&self, given: Option<GivenConsent>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = given;
    }

    fn answer(&self, waiting: &AwaitsConsent) -> ConsentAnswer {
        let said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let status = match &*said {
            Some(GivenConsent::Unknown) => return ConsentAnswer::Unknown,
            Some(GivenConsent::Status(status)) => status,
            None => waiting.usual_status(),
        };
        ConsentAnswer::Known(ConsentState::new(status, waiting.question().client_id.as_deref()))
    }
}

/// Counts what services of consents are asked, for the metrics.
pub trait Observer: Send + Sync {
    /// Called with the outcome of each call and how long it took, and of each question that came to none.
    fn asked(&self, outcome: Outcome, took: Option<Duration>);
}

/// Counts nothing.
impl Observer for () {
    fn asked(&self, _: Outcome, _: Option<Duration>) {}
}

/// How a question went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered before, lately enough.
    Cached,
    /// It was answered with a state.
    Known,
    /// There is no such consent.
    Unknown,
    /// The service refuses the gateway.
    Unauthorized,
    /// The answer cannot be used.
    Invalid,
    /// None came in time.
    Timeout,
    /// There is no connection.
    Unreachable,
    /// Too many requests wait.
    Busy,
    /// Too many of the same client do.
    ShareExceeded,
    /// The last answer counted, since there was no other.
    Stale,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: &[Self] = &[
        Self::Cached,
        Self::Known,
        Self::Unknown,
        Self::Unauthorized,
        Self::Invalid,
        Self::Timeout,
        Self::Unreachable,
        Self::Busy,
        Self::ShareExceeded,
        Self::Stale,
    ];

    /// Its name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cached => "cached",
            Self::Known => "known",
            Self::Unknown => "unknown",
            Self::Unauthorized => "unauthorized",
            Self::Invalid => "invalid",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Busy => "busy",
            Self::ShareExceeded => "share_exceeded",
            Self::Stale => "stale",
        }
    }
}

impl Consents {
    /// The sources of a configuration. A service that has the same settings `before` goes on, with what it remembers.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn new(
        sources: Vec<Source>,
        before: Option<&Self>,
        mut observed: impl FnMut(&Arc<str>) -> (Arc<dyn Observer>, Arc<Resource>),
    ) -> Result<Self, ClientError> {
        let mut of = |source| -> Result<Known, ClientError> {
            let settings = match source {
                Source::Service(settings) => settings,
                Source::Test(scripted) => return Ok(Known::Test(scripted)),
                Source::Nobody => return Ok(Known::Nobody),
            };
            let before = before.iter().flat_map(|before| before.services());
            if let Some(known) = before.into_iter().find(|known| *known.settings() == *settings) {
                return Ok(Known::Service(known.clone()));
            }
            let (observer, resource) = observed(&settings.name);
            Ok(Known::Service(Arc::new(Service::new(*settings, observer, resource)?)))
        };
        Ok(Self { sources: sources.into_iter().map(&mut of).collect::<Result<_, _>>()? })
    }

    fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.sources.iter().filter_map(|known| match known {
            Known::Service(service) => Some(service),
            Known::Test(_) | Known::Nobody => None,
        })
    }

    /// What is known of the consent of a request.
    ///
    /// # Errors
    /// [`Unavailable::Consent`], and [`ShareExceeded::Consent`](fapi::rejection::ShareExceeded::Consent) if the client's other requests
    /// have all its places.
    pub async fn answer(&self, waiting: &AwaitsConsent) -> Result<ConsentAnswer, Cause> {
        let question = waiting.question();
        let Some(index) = question.asked else { return Ok(ConsentAnswer::NotAsked) };
        match self.sources.get(index) {
            Some(Known::Service(service)) => service.answer(question).await,
            Some(Known::Test(scripted)) => Ok(scripted.answer(waiting)),
            Some(Known::Nobody) => Err(Unavailable::Consent { detail: "nobody is asked here".into() }.into()),
            None => Err(Unavailable::Internal { detail: "a route asks a service that there is not".to_owned() }.into()),
        }
    }
}
