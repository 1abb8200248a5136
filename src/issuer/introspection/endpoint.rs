//! Where an issuer is asked: at the configured endpoint, or at the one that its metadata names.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use reqwest::Url;
use tokio::time::Instant;
use tracing::warn;

use super::super::Timing;
use super::super::http::{Client, ClientError};
use super::super::metadata::{Discovery, NotDiscoverable, Sought};
use super::super::schedule::random;
use super::{Introspector, Settings, lock};
use crate::clock::instant;
use crate::resource::Kind;
use crate::sync::Mutex;
use crate::tls_client::TrustAnchors;

/// Where the endpoint is.
pub(super) enum Endpoint {
    Configured(Arc<Url>),
    Discovered(Box<Discovered>),
}

/// An endpoint that the metadata names.
pub(super) struct Discovered {
    discovery: Discovery,
    sought: Sought,
    client: Client,
    found: ArcSwapOption<Url>,
    /// When its metadata were last read.
    read_at: Mutex<Option<Instant>>,
    /// Whether the issuer was asked for its metadata, successfully or not.
    asked: AtomicBool,
}

impl Endpoint {
    /// The endpoint of `issuer` for clients with certain credentials.
    ///
    /// # Errors
    /// [`ClientError`].
    pub(super) fn new(
        settings: &Settings,
        issuer: &str,
        sought: Sought,
        trust_anchors: &TrustAnchors,
        timing: &Timing,
    ) -> Result<Self, ClientError> {
        if let Some(url) = &settings.endpoint {
            return Ok(Self::Configured(Arc::new(url.clone())));
        }
        let discovery = Discovery::new(issuer).map_err(|NotDiscoverable| ClientError::NoEndpoint)?;
        Ok(Self::Discovered(Box::new(Discovered {
            discovery,
            sought,
            client: Client::new(trust_anchors, timing.connect_timeout, timing.timeout)?,
            found: ArcSwapOption::empty(),
            read_at: Mutex::default(),
            asked: AtomicBool::new(false),
        })))
    }

    pub(super) fn url(&self) -> Option<Arc<Url>> {
        match self {
            Self::Configured(url) => Some(url.clone()),
            Self::Discovered(discovered) => discovered.found.load_full(),
        }
    }
}

impl Introspector {
    /// Starts with the endpoint that `before`, of the same issuer, last found for the same kind of credentials.
    pub(in super::super) fn succeeding(self, before: &Self) -> Self {
        if let (Endpoint::Discovered(own), Endpoint::Discovered(before)) = (&self.endpoint, &before.endpoint)
            && own.sought == before.sought
        {
            own.found.store(before.found.load_full());
        }
        self
    }

    /// Whether the endpoint has to be found in the issuer's metadata.
    pub(in super::super) const fn discovers(&self) -> bool {
        matches!(self.endpoint, Endpoint::Discovered(_))
    }

    /// Whether the endpoint is configured, or the issuer was asked for it and has answered or failed to.
    pub(in super::super) fn has_asked(&self) -> bool {
        match &self.endpoint {
            Endpoint::Configured(_) => true,
            Endpoint::Discovered(discovered) => discovered.asked.load(Ordering::Acquire),
        }
    }

    /// Whether the endpoint is known; once true, it stays true.
    pub(in super::super) fn ready(&self) -> bool {
        self.endpoint.url().is_some()
    }

    /// Keeps the endpoint up to date; never returns. It is looked for at once, unless it was found before and is not due
    /// yet. While the metadata cannot be read, the previous endpoint is used.
    pub(in super::super) async fn keep_fresh(&self) {
        let Endpoint::Discovered(discovered) = &self.endpoint else { return };
        let Discovered { discovery, sought, client, found, read_at, asked } = &**discovered;
        let mut failures = 0;
        let next_read = || self.timing.after_success(self.jwks.refresh_interval, None, random());
        let last = *lock(read_at);
        if let Some(last) = last {
            tokio::time::sleep(next_read().saturating_sub(last.elapsed())).await;
        }
        loop {
            let wait = match discovery.find(client, *sought).await {
                Ok(url) => {
                    failures = 0;
                    found.store(Some(Arc::new(url)));
                    self.observer.resource(Kind::IntrospectionEndpoint, &self.expected.name, Ok(()));
                    *lock(read_at) = Some(instant());
                    next_read()
                }
                Err(error) => {
                    self.observer.resource(Kind::IntrospectionEndpoint, &self.expected.name, Err(&error));
                    let wait = self.timing.after_failure(failures, random());
                    failures = failures.saturating_add(1);
                    warn!(issuer = %self.expected.name, host = %discovery.host(), %error,
                        retry_seconds = wait.as_secs_f64(), "introspection endpoint could not be found");
                    wait
                }
            };
            asked.store(true, Ordering::Release);
            tokio::time::sleep(wait).await;
        }
    }
}
