//! One directory: its last good reading, and when the next one is made.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use fapi::directory::{Directory, MAX_DOCUMENT_BYTES, NotADirectory, ParticipantError};
use fapi::sha256;
use http::{HeaderMap, HeaderValue, header};
use reqwest::Url;
use tracing::{error, info, warn};

use super::{Observer, Settings};
use crate::clock::Clock;
use crate::issuer::http::{Client, Document, FetchError, host};
use crate::issuer::{Timing, fresh_for, random};

/// Reads one directory and holds its last good reading, however old.
pub(super) struct Source {
    settings: Settings,
    reader: Arc<dyn Reader>,
    timing: Timing,
    clock: Clock,
    observer: Arc<dyn Observer>,
    current: ArcSwapOption<Reading>,
    /// Whether it was asked since the configuration came, successfully or not.
    asked: AtomicBool,
}

/// What was read.
#[derive(Clone)]
struct Reading {
    directory: Arc<Directory>,
    /// When its server last sent it, or said that it is the same.
    read_at: Duration,
    /// How long the server said that it may be cached, if it did.
    fresh_for: Option<Duration>,
    /// What the server calls this content, if it does (RFC 9110 §8.8.3).
    entity_tag: Option<HeaderValue>,
    digest: [u8; 32],
}

/// Why a read returned no directory; the last good reading is kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum ReadError {
    /// The document could not be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The document is no directory.
    #[error(transparent)]
    Document(#[from] NotADirectory),
    /// The thread that read it ended.
    #[error("the document was not read to its end")]
    BrokenOff,
}

/// Fetches documents.
#[async_trait]
pub(super) trait Reader: Send + Sync {
    /// The document at this URL, of at most [`MAX_DOCUMENT_BYTES`]; `None` if it is still the one with this tag.
    async fn document(
        &self,
        url: &Url,
        headers: &HeaderMap,
        entity_tag: Option<&HeaderValue>,
    ) -> Result<Option<Document>, FetchError>;
}

#[async_trait]
impl Reader for Client {
    async fn document(
        &self,
        url: &Url,
        headers: &HeaderMap,
        entity_tag: Option<&HeaderValue>,
    ) -> Result<Option<Document>, FetchError> {
        self.get_unless(url, headers, entity_tag, MAX_DOCUMENT_BYTES).await
    }
}

impl Source {
    /// Nothing is read yet.
    pub(super) fn new(
        settings: Settings,
        reader: Arc<dyn Reader>,
        timing: Timing,
        clock: Clock,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let (current, asked) = (ArcSwapOption::empty(), AtomicBool::new(false));
        Self { settings, reader, timing, clock, observer, current, asked }
    }

    /// Starts with what `before` read last, with its age.
    ///
    /// With other header fields its server may say something else, and that nothing has changed would be said of what it told whoever
    /// sent the earlier ones: the document is asked for as a whole.
    pub(super) fn succeeding(self, before: &Self) -> Self {
        let asks_as_before = self.settings.headers == before.settings.headers;
        let reading = before.current.load_full();
        self.current.store(reading.map(|reading| match asks_as_before {
            true => reading,
            false => Arc::new(Reading { entity_tag: None, ..(*reading).clone() }),
        }));
        self
    }

    /// Whether what it reads is what another entry with these settings would read. A server that is known by other authorities is
    /// another one.
    pub(super) fn reads_as(&self, settings: &Settings) -> bool {
        let own = &self.settings;
        own.name == settings.name
            && own.format == settings.format
            && own.url == settings.url
            && own.trust_anchors == settings.trust_anchors
    }

    pub(super) const fn name(&self) -> &Arc<str> {
        &self.settings.name
    }

    pub(super) const fn is_required(&self) -> bool {
        self.settings.required
    }

    pub(super) fn has_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// How long ago it was last read, if it ever was.
    pub(super) fn age(&self) -> Option<Duration> {
        self.current.load().as_ref().map(|reading| self.age_of(reading))
    }

    fn age_of(&self, reading: &Reading) -> Duration {
        self.clock.monotonic().saturating_sub(reading.read_at)
    }

    /// The last good reading, if it is not too old.
    ///
    /// # Errors
    /// [`ParticipantError::NeverRead`], [`ParticipantError::TooOld`].
    pub(super) fn in_force(&self) -> Result<Arc<Directory>, ParticipantError> {
        let current = self.current.load();
        let reading = current.as_ref().ok_or(ParticipantError::NeverRead)?;
        let (age, keep) = (self.age_of(reading), self.settings.keep);
        if age > keep {
            return Err(ParticipantError::TooOld { age: age.as_secs(), keep: keep.as_secs() });
        }
        Ok(reading.directory.clone())
    }

    /// Reads the directory immediately, also after a reload, which is how an operator has a change come into force at once; then at
    /// intervals, and after a failure with a growing delay. Never returns.
    pub(super) async fn keep_fresh(&self) {
        let Settings { name, url, .. } = &self.settings;
        let mut failures = 0_u32;
        let mut said_too_old = false;
        loop {
            let wait = match self.read().await {
                Ok(fresh_for) => {
                    failures = 0;
                    if std::mem::take(&mut said_too_old) {
                        info!(directory = %name, host = %host(url), "directory is used again");
                    }
                    self.timing.after_success(self.settings.refresh, fresh_for, random())
                }
                Err(error) => {
                    let wait = self.timing.after_failure(failures, random());
                    failures = failures.saturating_add(1);
                    warn!(directory = %name, host = %host(url), %error, retry_seconds = wait.as_secs_f64(),
                        "directory could not be read");
                    if let Err(ParticipantError::TooOld { age, keep }) = self.in_force()
                        && !std::mem::replace(&mut said_too_old, true)
                    {
                        error!(directory = %name, host = %host(url), age_seconds = age, keep_seconds = keep,
                            "directory is too old and no longer used: requests that need it are refused until it can be read");
                    }
                    wait
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// Reads the directory once, and logs why it could not be.
    pub(super) async fn read_once(&self) {
        let Settings { name, url, .. } = &self.settings;
        if let Err(error) = self.read().await {
            warn!(directory = %name, host = %host(url), %error, "directory could not be read");
        }
    }

    /// Reads the directory now; returns how long its server says that it may be cached.
    async fn read(&self) -> Result<Option<Duration>, ReadError> {
        let outcome = self.read_document().await;
        let noted = outcome.as_ref().map(|_| ()).map_err(|error| error as &dyn std::fmt::Display);
        self.observer.read(&self.settings.name, noted);
        self.asked.store(true, Ordering::Release);
        outcome
    }

    async fn read_document(&self) -> Result<Option<Duration>, ReadError> {
        let Settings { name, format, url, headers, .. } = &self.settings;
        let before = self.current.load_full();
        let entity_tag = before.as_ref().and_then(|before| before.entity_tag.as_ref());
        let document = self.reader.document(url, headers, entity_tag).await?;
        let read_at = self.clock.monotonic();
        let reading = match (document, before) {
            (None, Some(before)) => Reading { read_at, ..(*before).clone() },
            // Nobody asked for that: there was no tag to be the same as.
            (None, None) => return Err(NotADirectory::Empty.into()),
            (Some(Document { headers, body }), before) => {
                let (fresh_for, digest) = (fresh_for(&headers), sha256(&body));
                let entity_tag = headers.get(header::ETAG).cloned();
                let directory = match before {
                    Some(before) if before.digest == digest => before.directory.clone(),
                    _ => {
                        let format = *format;
                        // A long document would hold up whoever else is on this thread.
                        let parsing = tokio::task::spawn_blocking(move || format.parse(&body)).await;
                        let directory = parsing.map_err(|_| ReadError::BrokenOff)??;
                        let (organisations, software) = directory.len();
                        info!(directory = %name, host = %host(url), organisations, software, "directory read");
                        Arc::new(directory)
                    }
                };
                Reading { directory, read_at, fresh_for, entity_tag, digest }
            }
        };
        let fresh_for = reading.fresh_for;
        self.current.store(Some(Arc::new(reading)));
        Ok(fresh_for)
    }
}
