//! Everything we ask of an authorization server, and what we remember of its answers.
//!
//! The only outbound HTTP of the gateway. Chooses the issuer that a token claims, among those that the route accepts; the
//! judgement itself is [`ActiveToken::from_jws`]. Two things are remembered: each issuer's keys ([`jwks`]), and the tokens
//! that were verified with them. Neither is shared between issuers (RFC 8725 §3.8).

pub mod http;
pub mod jwks;
pub mod metadata;
mod schedule;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use moka::Expiry;
use moka::sync::Cache;
use reqwest::Url;
use rustls::pki_types::CertificateDer;
use tokio::task::JoinSet;

use self::http::{Client, ClientError};
use self::jwks::{KeySource, Location};
use self::metadata::{Discovery, NotDiscoverable};
use crate::fapi::UnixTime;
use crate::fapi::credentials::PresentedToken;
use crate::fapi::jws::UnverifiedJws;
use crate::fapi::policy::IssuerIndex;
use crate::fapi::rejection::{Cause, Unavailable};
use crate::fapi::token::{ActiveToken, Expected, TokenError, TokenHash};

/// The configured issuers, in the order that [`IssuerIndex`] counts.
pub struct Issuers {
    entries: Vec<Entry>,
    tokens: Cache<CacheKey, Remembered>,
    max_age: Duration,
    observer: Arc<dyn Observer>,
}

impl Issuers {
    /// Prepares the calls to every issuer; makes none ([`Self::keep_fresh`] does).
    ///
    /// # Errors
    /// [`IssuerError`].
    pub fn new(
        settings: Vec<Settings>,
        cache: CacheSettings,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, IssuerError> {
        Self::with_timing(settings, cache, Timing::default(), observer)
    }

    /// As [`Self::new`], with other intervals than the usual ones.
    ///
    /// # Errors
    /// [`IssuerError`].
    pub fn with_timing(
        settings: Vec<Settings>,
        cache: CacheSettings,
        timing: Timing,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, IssuerError> {
        Self::build(settings, cache, timing, observer, &[])
    }

    /// The issuers of a reloaded configuration: whoever is called as before goes on with the keys that are there, so that
    /// an issuer that is down does not stand in the way of everything else. Verified tokens are forgotten.
    ///
    /// # Errors
    /// [`IssuerError`].
    pub fn succeeding(
        &self,
        settings: Vec<Settings>,
        cache: CacheSettings,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, IssuerError> {
        Self::build(settings, cache, Timing::default(), observer, &self.entries)
    }

    fn build(
        settings: Vec<Settings>,
        cache: CacheSettings,
        timing: Timing,
        observer: Arc<dyn Observer>,
        before: &[Entry],
    ) -> Result<Self, IssuerError> {
        let entry = |settings| Entry::new(settings, timing, &observer, before);
        let entries = settings.into_iter().map(entry).collect::<Result<_, _>>()?;
        let tokens = Cache::builder().max_capacity(cache.max_entries).expire_after(UntilItsEnd).build();
        Ok(Self { entries, tokens, max_age: cache.max_age, observer })
    }

    /// The token, if one of the `accepted` issuers made it for this resource.
    ///
    /// A token that was verified before with the keys of today is found by `hash`, which must be `token`'s, and not even
    /// parsed. It may have ended since then: its claims, binding and rights are asked anew on every request, beginning with
    /// [`ActiveToken::claims_at`]. Refusals are not remembered.
    ///
    /// Waits only when no key that the issuer had when last asked verifies the token.
    ///
    /// # Errors
    /// [`ValidateError`].
    pub async fn validate(
        &self,
        token: PresentedToken<'_>,
        hash: &TokenHash,
        accepted: &[IssuerIndex],
        now: UnixTime,
    ) -> Result<Arc<ActiveToken>, ValidateError> {
        debug_assert_eq!(*hash, TokenHash::of(token), "the hash is another token's");
        for (issuer, entry) in self.accepted(accepted) {
            if let Ok(keys) = entry.keys.in_force()
                && let Some(found) = self.tokens.get(&CacheKey { issuer, generation: keys.generation, token: *hash })
            {
                self.observer.token_cache(&entry.expected.name, CacheOutcome::Hit);
                return Ok(found.token);
            }
        }
        let jws = UnverifiedJws::parse(token)?;
        let Some((issuer, entry)) =
            self.accepted(accepted).find(|(_, entry)| jws.claimed_issuer() == Some(&entry.expected.issuer))
        else {
            return Err(TokenError::issuer_unknown(jws.claimed_issuer()).into());
        };
        self.observer.token_cache(&entry.expected.name, CacheOutcome::Miss);
        let mut keys = entry.keys.in_force()?;
        let mut outcome = ActiveToken::from_jws(jws, hash, &entry.expected, &keys.keys, now);
        if let Err(TokenError::KeyUnknown { .. } | TokenError::KeyWeak | TokenError::SignatureInvalid) = outcome
            && let Some(newer) = entry.keys.refresh_for_token(keys.generation).await
        {
            outcome = ActiveToken::from_jws(UnverifiedJws::parse(token)?, hash, &entry.expected, &newer.keys, now);
            keys = newer;
        }
        let token = Arc::new(outcome?);
        let lifetime = Duration::from_secs(token.expires_at().since(now)).min(self.max_age);
        if !lifetime.is_zero() {
            let key = CacheKey { issuer, generation: keys.generation, token: *hash };
            self.tokens.insert(key, Remembered { token: token.clone(), lifetime });
        }
        Ok(token)
    }

    /// Keeps every issuer's keys fresh, for ever; drop it to end it.
    pub async fn keep_fresh(&self) {
        let mut loops = JoinSet::new();
        for entry in &self.entries {
            let keys = entry.keys.clone();
            loops.spawn(async move { keys.keep_fresh().await });
        }
        while loops.join_next().await.is_some() {}
    }

    /// Whether every issuer's keys were read once; from then on for ever, also when they are too old: taking the gateway out
    /// of service would help none of its other issuers.
    pub fn ready(&self) -> bool {
        self.entries.iter().all(|entry| entry.keys.current().is_some())
    }

    /// For each issuer's name the seconds since it last sent its keys, if it ever did.
    pub fn key_ages(&self) -> Vec<(Arc<str>, Option<f64>)> {
        let age = |entry: &Entry| entry.keys.current().map(|keys| keys.read_at.elapsed().as_secs_f64());
        self.entries.iter().map(|entry| (entry.expected.name.clone(), age(entry))).collect()
    }

    /// How many verified tokens are remembered.
    pub fn cache_entries(&self) -> u64 {
        // The count is only true when what has ended is gone.
        self.tokens.run_pending_tasks();
        self.tokens.entry_count()
    }

    fn accepted(&self, accepted: &[IssuerIndex]) -> impl Iterator<Item = (IssuerIndex, &Entry)> {
        accepted.iter().filter_map(|index| self.entries.get(index.0).map(|entry| (*index, entry)))
    }
}

/// One entry of `issuers` in gateway.yaml.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What its tokens must be.
    pub expected: Expected,
    /// Where its keys are; from its metadata if not said.
    pub jwks_uri: Option<Url>,
    /// How its keys are kept.
    pub jwks: JwksSettings,
    /// Who vouches for its servers.
    pub trust_anchors: TrustAnchors,
}

/// The section `jwks` of an issuer in gateway.yaml.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JwksSettings {
    /// From one good reading of the keys to the next at most: how long a key works after its issuer removed it.
    pub refresh_interval: Duration,
    /// How old the last good reading may be for the keys to be used.
    pub max_age: Duration,
}

impl Default for JwksSettings {
    fn default() -> Self {
        Self { refresh_interval: Duration::from_secs(300), max_age: Duration::from_secs(24 * 60 * 60) }
    }
}

/// The certificate authorities that a call to an issuer relies on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustAnchors {
    /// Those of the system.
    System,
    /// These and no others.
    Given(Vec<CertificateDer<'static>>),
}

/// The section `token_cache` of gateway.yaml.
#[derive(Clone, Copy, Debug)]
pub struct CacheSettings {
    /// How many verified tokens are remembered; the least used go first.
    pub max_entries: u64,
    /// How long a verified token is remembered at most; never past its `exp`.
    pub max_age: Duration,
}

/// When an issuer is asked, and how long its answer is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// From one good reading of the keys to the next at least, whatever the issuer says of how long they may be kept.
    pub refresh_floor: Duration,
    /// From a failed reading to the next; doubled with each failure.
    pub retry_first: Duration,
    /// The most that doubling leads to.
    pub retry_longest: Duration,
    /// From one reading for the sake of a token that no key verifies to the next.
    pub token_cooldown: Duration,
    /// For TCP and TLS.
    pub connect_timeout: Duration,
    /// For one whole call.
    pub timeout: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            refresh_floor: Duration::from_secs(60),
            retry_first: Duration::from_secs(1),
            retry_longest: Duration::from_secs(30),
            token_cooldown: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
        }
    }
}

/// An entry of `issuers` that can never work.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum IssuerError {
    /// `jwks_uri` is not https (FAPI 2.0 §5.4.2).
    #[error("jwks_uri of issuer {issuer:?} is not an https URL")]
    JwksUriNotHttps {
        /// The issuer's configured name.
        issuer: Arc<str>,
    },
    /// There is no `jwks_uri`, and the metadata that would name it has no place.
    #[error("issuer {issuer:?}: {error}")]
    NotDiscoverable {
        /// The issuer's configured name.
        issuer: Arc<str>,
        /// Why.
        error: NotDiscoverable,
    },
    /// Its servers cannot be called.
    #[error("issuer {issuer:?}: {error}")]
    Client {
        /// The issuer's configured name.
        issuer: Arc<str>,
        /// Why.
        error: ClientError,
    },
}

/// Why a token does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValidateError {
    /// The token's fault.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Ours or the issuer's.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<ValidateError> for Cause {
    fn from(error: ValidateError) -> Self {
        match error {
            ValidateError::Token(error) => error.into(),
            ValidateError::Unavailable(error) => error.into(),
        }
    }
}

/// Counts what happens here, for the metrics.
pub trait Observer: Send + Sync {
    /// A token was looked for among those that were verified before.
    fn token_cache(&self, issuer: &str, outcome: CacheOutcome);
    /// The keys were asked for.
    fn jwks_refresh(&self, issuer: &str, outcome: RefreshOutcome);
}

/// Nobody counts.
impl Observer for () {
    fn token_cache(&self, _: &str, _: CacheOutcome) {}

    fn jwks_refresh(&self, _: &str, _: RefreshOutcome) {}
}

/// Whether a token was verified before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheOutcome {
    /// It was, with the keys of today.
    Hit,
    /// It was not.
    Miss,
}

/// What came of asking for the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefreshOutcome {
    /// A good set, the same as before or a new one.
    Success,
    /// No good set; the one from before stays.
    Failure,
}

/// One issuer at work.
struct Entry {
    expected: Expected,
    keys: Arc<KeySource>,
    called: Called,
}

/// All that the calls to an issuer depend on.
#[derive(PartialEq, Eq)]
struct Called {
    name: Arc<str>,
    issuer: Box<str>,
    jwks_uri: Option<Url>,
    trust_anchors: TrustAnchors,
}

impl Entry {
    fn new(
        settings: Settings,
        timing: Timing,
        observer: &Arc<dyn Observer>,
        before: &[Self],
    ) -> Result<Self, IssuerError> {
        let Settings { expected, jwks_uri, jwks, trust_anchors } = settings;
        let (name, url) = (expected.name.clone(), expected.issuer.clone());
        let called = Called { name, issuer: url, jwks_uri: jwks_uri.clone(), trust_anchors: trust_anchors.clone() };
        if let Some(same) = before.iter().find(|entry| entry.called == called) {
            return Ok(Self { expected, keys: Arc::new(same.keys.with_settings(jwks)), called });
        }
        let issuer = || expected.name.clone();
        let location = match jwks_uri {
            Some(url) if url.scheme() != "https" => return Err(IssuerError::JwksUriNotHttps { issuer: issuer() }),
            Some(url) => Location::Configured(url),
            None => Location::Discovered(
                Discovery::new(&expected.issuer)
                    .map_err(|error| IssuerError::NotDiscoverable { issuer: issuer(), error })?,
            ),
        };
        let client = Client::new(&trust_anchors, timing.connect_timeout, timing.timeout)
            .map_err(|error| IssuerError::Client { issuer: issuer(), error })?;
        let keys = Arc::new(KeySource::new(issuer(), location, client, jwks, timing, observer.clone()));
        Ok(Self { expected, keys, called })
    }
}

/// All that a verified token depended on: whose it was to be, which keys there were, and every byte of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct CacheKey {
    issuer: IssuerIndex,
    generation: u64,
    token: TokenHash,
}

/// A verified token, and how long it may be remembered from the moment it was.
#[derive(Clone)]
struct Remembered {
    token: Arc<ActiveToken>,
    lifetime: Duration,
}

/// Ends each entry when its own lifetime is over, whether it is new or takes another's place.
struct UntilItsEnd;

impl Expiry<CacheKey, Remembered> for UntilItsEnd {
    fn expire_after_create(&self, _: &CacheKey, value: &Remembered, _: Instant) -> Option<Duration> {
        Some(value.lifetime)
    }

    fn expire_after_update(
        &self,
        _: &CacheKey,
        value: &Remembered,
        _: Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        Some(value.lifetime)
    }
}
