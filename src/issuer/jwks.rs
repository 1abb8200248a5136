//! One issuer's keys over time: read before they are needed, and kept until new ones are read or they are too old
//! (RFC 7517 §5).
//!
//! Requests use the current set without a lock. Three things read it again: the background loop, its retries, and a
//! token that no key of the set verifies, which is how a new key works on its first use. Only one read runs at a time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as BlockingMutex, MutexGuard, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use fapi::jose::keys::{KeyError, KeySet, KeySetError, SkippedKey};
use fapi::rejection::Unavailable;
use fapi::sha256;
use reqwest::Url;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::http::{Client, Document, FetchError};
use super::metadata::{Discovery, MetadataError, Sought};
use super::schedule::{Allowance, fresh_for, random};
use super::{JwksSettings, Observer, RefreshOutcome, Timing};
use crate::clock::instant;
use crate::resource::Kind;

/// The keys as of one read.
#[derive(Clone, Debug)]
pub struct KeySetSnapshot {
    /// The keys themselves.
    pub keys: Arc<KeySet>,
    /// A number that changes whenever the bytes of the document change; a token that was verified with one generation
    /// is verified again with the next.
    pub generation: u64,
    /// When the issuer last sent them.
    pub read_at: Instant,
    /// How long it said that they may be cached, if it did.
    fresh_for: Option<Duration>,
    digest: [u8; 32],
    /// Whether it has the keys that verify RS256.
    rs256: bool,
}

/// Where an issuer's keys are.
#[derive(Clone, Debug)]
pub enum Location {
    /// At the configured `jwks_uri`.
    Configured(Url),
    /// At the address that its metadata names.
    Discovered(Discovery),
}

/// Reads one issuer's keys and holds the last good set, however old. Clones share what was read.
#[derive(Clone)]
pub struct KeySource {
    name: Arc<str>,
    location: Location,
    client: Client,
    settings: JwksSettings,
    /// Whether the keys that verify RS256 are read too.
    rs256: bool,
    timing: Timing,
    observer: Arc<dyn Observer>,
    held: Arc<Held>,
    /// Whether the keys were kept fresh before this clone was made, so that they need not be read at once.
    continued: bool,
}

/// The state that clones of a [`KeySource`] share.
#[derive(Default)]
struct Held {
    current: ArcSwapOption<KeySetSnapshot>,
    /// Whether the issuer was asked for them, successfully or not.
    asked: AtomicBool,
    /// Whether the keys were given, so that no others are read.
    pinned: AtomicBool,
    allowance: BlockingMutex<Allowance>,
    flight: Arc<Mutex<Flight>>,
}

/// What came of reading the keys again for a token.
#[derive(Debug)]
pub enum Reread {
    /// A newer set, which may have the token's key.
    Newer(Arc<KeySetSnapshot>),
    /// The issuer still has the same set.
    Same,
    /// The set could not be read, or not again so soon: nobody knows whether the issuer has the key.
    NotRead,
}

/// Why a read returned no keys; the previous ones are kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefreshError {
    /// The metadata does not say where they are.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    /// The document could not be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The document has no usable key.
    #[error(transparent)]
    KeySet(#[from] KeySetError),
}

impl KeySource {
    /// The keys of the issuer named `name`; nothing is read yet.
    pub fn new(
        name: Arc<str>,
        location: Location,
        client: Client,
        settings: JwksSettings,
        timing: Timing,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let rs256 = false;
        Self { name, location, client, settings, rs256, timing, observer, held: Arc::default(), continued: false }
    }

    /// Reads the keys that verify RS256 too, if so told.
    pub fn with_rs256(self, rs256: bool) -> Self {
        Self { rs256, ..self }
    }

    /// The same keys, cached with these settings from now on, and read again when they are due.
    pub fn with_settings(&self, settings: JwksSettings) -> Self {
        Self { settings, continued: true, ..self.clone() }
    }

    /// Starts with the keys that `before` last read, with their age: those of the same issuer, called in another way.
    pub(super) fn succeeding(self, before: &Self) -> Self {
        self.held.current.store(before.current());
        self
    }

    /// Takes the keys of this document, and reads no others from now on.
    ///
    /// # Errors
    /// [`KeySetError`].
    pub(super) fn pin(&self, document: &[u8]) -> Result<(), KeySetError> {
        let keys = Arc::new(self.parse(document)?);
        let (digest, rs256) = (sha256(document), self.rs256);
        self.held.pinned.store(true, Ordering::Release);
        let snapshot = KeySetSnapshot { keys, generation: 1, read_at: instant(), fresh_for: None, digest, rs256 };
        self.held.current.store(Some(Arc::new(snapshot)));
        Ok(())
    }

    fn parse(&self, document: &[u8]) -> Result<KeySet, KeySetError> {
        if self.rs256 { KeySet::parse_with_rs256(document) } else { KeySet::parse(document) }
    }

    /// Whether the issuer was asked for its keys, and has answered or failed to.
    pub(super) fn has_asked(&self) -> bool {
        self.held.asked.load(Ordering::Acquire)
    }

    /// Whether both share the same state.
    pub(super) fn shares_keys_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.held, &other.held)
    }

    /// The last usable set, however old; `None` before the first successful read.
    pub fn current(&self) -> Option<Arc<KeySetSnapshot>> {
        self.held.current.load_full()
    }

    /// Makes the last read appear that much longer ago.
    #[cfg(test)]
    pub(super) fn age_by(&self, time: Duration) {
        let keys = self.current().expect("keys were read");
        let read_at = keys.read_at.checked_sub(time).expect("a time since the machine was started");
        self.held.current.store(Some(Arc::new(KeySetSnapshot { read_at, ..(*keys).clone() })));
    }

    /// The last usable set, if it is not too old.
    ///
    /// # Errors
    /// [`Unavailable::KeysNeverRead`] before the first successful read, [`Unavailable::KeysTooOld`] when the last is too
    /// long ago.
    pub fn in_force(&self) -> Result<Arc<KeySetSnapshot>, Unavailable> {
        let issuer = || self.name.clone();
        let keys = self.current().ok_or_else(|| Unavailable::KeysNeverRead { issuer: issuer() })?;
        let (age, max_age) = (keys.read_at.elapsed(), self.settings.max_age);
        if age > max_age {
            return Err(Unavailable::KeysTooOld { issuer: issuer(), age: age.as_secs(), max_age: max_age.as_secs() });
        }
        Ok(keys)
    }

    /// Reads the keys immediately, or when those that were kept fresh before are due, then at intervals; never returns.
    /// After a failure it retries with a growing delay.
    ///
    /// While an issuer is down or sends something else, its keys stay in use until they are too old: its tokens are
    /// still valid, but the gateway could not notice that a key was removed.
    pub async fn keep_fresh(&self) {
        let mut failures = 0;
        let mut said_too_old = false;
        if self.continued
            && let Some(keys) = self.current()
        {
            tokio::time::sleep(self.next_read(&keys).saturating_sub(keys.read_at.elapsed())).await;
        }
        loop {
            let wait = match self.refresh().await {
                Ok(()) => {
                    failures = 0;
                    if std::mem::take(&mut said_too_old) {
                        info!(issuer = %self.name, host = %self.location.host(), "key set is used again");
                    }
                    self.current().map_or(self.settings.refresh_interval, |keys| self.next_read(&keys))
                }
                Err(error) => {
                    let wait = self.timing.after_failure(failures, random());
                    failures = failures.saturating_add(1);
                    warn!(issuer = %self.name, host = %self.location.host(), %error, retry_seconds = wait.as_secs_f64(),
                        "key set could not be read");
                    if let Err(Unavailable::KeysTooOld { age, max_age, .. }) = self.in_force()
                        && !std::mem::replace(&mut said_too_old, true)
                    {
                        error!(issuer = %self.name, host = %self.location.host(), age_seconds = age, max_age_seconds = max_age,
                            "key set is too old and no longer used: every token of this issuer is refused until it can be read");
                    }
                    wait
                }
            };
            tokio::time::sleep(wait).await;
        }
    }

    /// How long after these keys were read they are read again.
    fn next_read(&self, keys: &KeySetSnapshot) -> Duration {
        self.timing.after_success(self.settings.refresh_interval, keys.fresh_for, random())
    }

    /// Reads the keys now, unless another call has read them while this one waited for its turn.
    ///
    /// # Errors
    /// [`RefreshError`]; the current set is then unchanged.
    pub async fn refresh(&self) -> Result<(), RefreshError> {
        let asked_at = instant();
        let mut flight = self.held.flight.lock().await;
        if self.current().is_some_and(|keys| keys.read_at > asked_at) {
            return Ok(());
        }
        self.read(&mut flight, Occasion::Schedule).await
    }

    /// Reads the keys because none of generation `seen` verifies a token.
    ///
    /// The token's key may be new, or may have replaced another under the same `kid`. But anyone can make up such a
    /// token. So concurrent calls share one read, and there are only as many as `Allowance` permits: beyond it, calls
    /// return at once. No call waits longer than one call to the issuer may take, even behind a slow scheduled read.
    pub async fn refresh_for_token(self: &Arc<Self>, seen: u64) -> Reread {
        if self.held.pinned.load(Ordering::Acquire) {
            return Reread::Same;
        }
        let asked_at = instant();
        if self.newer_than(seen).is_none() && self.may_read_for_token() {
            let _ = tokio::time::timeout(self.timing.timeout, self.read_for_token(seen, asked_at)).await;
        }
        match self.newer_than(seen) {
            Some(newer) => Reread::Newer(newer),
            None if self.was_read_after(asked_at) => Reread::Same,
            None => Reread::NotRead,
        }
    }

    async fn read_for_token(self: &Arc<Self>, seen: u64, asked_at: Instant) {
        let mut flight = self.held.flight.clone().lock_owned().await;
        if self.newer_than(seen).is_some() || self.was_read_after(asked_at) || !self.may_read_for_token() {
            return;
        }
        let source = self.clone();
        // In a separate task: a client that closes its connection must neither cancel the read that others wait for,
        // nor keep it from being counted.
        let reading = tokio::spawn(async move {
            let outcome = source.read(&mut flight, Occasion::Token).await;
            match outcome {
                Ok(()) => source.allowance().succeeded(&source.timing, instant()),
                Err(error) => {
                    source.allowance().failed(&source.timing, instant());
                    warn!(issuer = %source.name, host = %source.location.host(), %error,
                        "key set could not be read for a token that no key verifies");
                }
            }
        });
        // The task fails only by a panic, and then there are no newer keys.
        let _ = reading.await;
    }

    fn newer_than(&self, seen: u64) -> Option<Arc<KeySetSnapshot>> {
        self.in_force().ok().filter(|keys| keys.generation != seen)
    }

    fn was_read_after(&self, time: Instant) -> bool {
        self.current().is_some_and(|keys| keys.read_at > time)
    }

    fn may_read_for_token(&self) -> bool {
        self.allowance().permits(&self.timing, instant())
    }

    fn allowance(&self) -> MutexGuard<'_, Allowance> {
        self.held.allowance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The error for a token whose `kid` the issuer may have by now.
    pub fn not_read(&self) -> Unavailable {
        Unavailable::KeysNotReadAgain { issuer: self.name.clone() }
    }

    async fn read(&self, flight: &mut Flight, occasion: Occasion) -> Result<(), RefreshError> {
        let outcome = match self.locate(flight, occasion).await {
            Ok(url) => self.read_from(&url, flight).await,
            Err(error) => Err(error.into()),
        };
        let observed = if outcome.is_ok() { RefreshOutcome::Success } else { RefreshOutcome::Failure };
        self.observer.jwks_refresh(&self.name, observed);
        self.held.asked.store(true, Ordering::Release);
        let noted = match &outcome {
            Ok(()) => Ok(()),
            Err(error) => Err(error as _),
        };
        self.observer.resource(Kind::Keys, &self.name, noted);
        outcome
    }

    /// The address of the keys. The metadata is read again on schedule; while it cannot be read, the previous address
    /// is used.
    async fn locate(&self, flight: &mut Flight, occasion: Occasion) -> Result<Url, MetadataError> {
        let discovery = match &self.location {
            Location::Configured(url) => return Ok(url.clone()),
            Location::Discovered(discovery) => discovery,
        };
        if let (Occasion::Token, Some(known)) = (occasion, &flight.jwks_uri) {
            return Ok(known.clone());
        }
        match (discovery.find(&self.client, Sought::Keys).await, &flight.jwks_uri) {
            (Ok(found), _) => {
                flight.jwks_uri = Some(found.clone());
                Ok(found)
            }
            (Err(error), Some(known)) => {
                warn!(issuer = %self.name, host = %discovery.host(), %error,
                    "metadata could not be read; using the jwks_uri it named before");
                Ok(known.clone())
            }
            (Err(error), None) => Err(error),
        }
    }

    async fn read_from(&self, url: &Url, flight: &mut Flight) -> Result<(), RefreshError> {
        let Document { headers, body } = self.client.get(url).await?;
        let (read_at, fresh_for, digest) = (instant(), fresh_for(&headers), sha256(&body));
        let before = self.current();
        let snapshot = match before {
            Some(before) if before.digest == digest && before.rs256 == self.rs256 => {
                KeySetSnapshot { read_at, fresh_for, ..(*before).clone() }
            }
            before => {
                let host = super::http::host(url);
                let keys = self.parse(&body);
                if flight.reported != Some(digest)
                    && let Ok(skipped) | Err(KeySetError::NoUsableKey { skipped }) =
                        keys.as_ref().map(|keys| keys.skipped().to_vec()).map_err(Clone::clone)
                {
                    flight.reported = Some(digest);
                    self.report(&host, &skipped);
                }
                let keys = Arc::new(keys?);
                let generation = before.map_or(0, |before| before.generation).wrapping_add(1);
                let (usable, skipped) = (keys.len(), keys.skipped().len());
                if generation == 1 {
                    info!(issuer = %self.name, %host, keys = usable, skipped, "key set read");
                } else {
                    info!(issuer = %self.name, %host, keys = usable, skipped, generation, "key set changed");
                }
                KeySetSnapshot { keys, generation, read_at, fresh_for, digest, rs256: self.rs256 }
            }
        };
        self.held.current.store(Some(Arc::new(snapshot)));
        Ok(())
    }

    /// Logs the keys that verify nothing. A key for another purpose, such as encryption, is nothing unusual.
    fn report(&self, host: &str, skipped: &[SkippedKey]) {
        for SkippedKey { key_id, reason } in skipped {
            let kid = key_id.as_deref();
            match reason {
                KeyError::NotForVerifying | KeyError::OtherPurpose { .. } => {
                    info!(issuer = %self.name, host, kid, %reason, "key of the set is not used");
                }
                KeyError::Private { .. }
                | KeyError::Malformed { .. }
                | KeyError::OffCurve
                | KeyError::SmallOrder
                | KeyError::Weak
                | KeyError::Ambiguous => warn!(issuer = %self.name, host, kid, %reason, "key of the set is not used"),
            }
        }
    }
}

impl Location {
    fn host(&self) -> Box<str> {
        match self {
            Self::Configured(url) => super::http::host(url),
            Self::Discovered(discovery) => discovery.host(),
        }
    }
}

/// The state that only the current reader may change.
#[derive(Debug, Default)]
struct Flight {
    jwks_uri: Option<Url>,
    /// The digest of the last document whose skipped keys were logged.
    reported: Option<[u8; 32]>,
}

/// Why the keys are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Occasion {
    Schedule,
    Token,
}
