//! Everything we ask of an authorization server, and what we remember of its answers.
//!
//! The only outbound HTTP of the gateway. Chooses the issuer that a token claims, among those that the route accepts; the
//! judgement itself is [`ActiveToken::from_jws`] or [`ActiveToken::from_introspection`]. Three things are remembered: each
//! issuer's keys ([`jwks`]), the tokens that were verified with them, and what issuers said of tokens they were asked about
//! ([`introspection`]). None is shared between issuers (RFC 8725 §3.8).

pub mod assertion;
pub mod http;
pub mod introspection;
pub mod jwks;
mod memory;
pub mod metadata;
pub mod revocations;
mod schedule;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::sync::Cache;
use reqwest::Url;
use rustls::pki_types::CertificateDer;
use tokio::task::JoinSet;

use self::http::{Client, ClientError};
use self::introspection::Introspector;
use self::jwks::{KeySource, Location};
use self::memory::{Remembered, memory};
use self::metadata::{Discovery, NotDiscoverable};
use self::revocations::Revocations;
use fapi::UnixTime;
use fapi::credentials::PresentedToken;
use fapi::jws::UnverifiedJws;
use fapi::policy::IssuerIndex;
use fapi::rejection::{Cause, Unavailable};
use fapi::token::{ActiveToken, Expected, TokenError, TokenHash};

/// The configured issuers, in the order that [`IssuerIndex`] counts.
pub struct Issuers {
    entries: Vec<Entry>,
    tokens: Cache<CacheKey, Remembered>,
    cache: CacheSettings,
    revocations: Arc<Revocations>,
    intake: Option<revocations::Settings>,
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
        Self::build(settings, cache, timing, observer, None)
    }

    /// The issuers of a reloaded configuration: whoever is called as before goes on with the keys that are there, so that
    /// an issuer that is down does not stand in the way of everything else. What is remembered of tokens stays, as far as
    /// it was judged as it would be now.
    ///
    /// # Errors
    /// [`IssuerError`].
    pub fn succeeding(
        &self,
        settings: Vec<Settings>,
        cache: CacheSettings,
        observer: Arc<dyn Observer>,
    ) -> Result<Self, IssuerError> {
        Self::build(settings, cache, Timing::default(), observer, Some(self))
    }

    fn build(
        settings: Vec<Settings>,
        cache: CacheSettings,
        timing: Timing,
        observer: Arc<dyn Observer>,
        before: Option<&Self>,
    ) -> Result<Self, IssuerError> {
        let known = before.map_or(&[][..], |before| &before.entries);
        // Whatever changes: what was revoked stays revoked.
        let revocations = before.map_or_else(Arc::default, |before| before.revocations.clone());
        let around = Surroundings { timing, observer: observer.clone(), revocations: revocations.clone() };
        let entry = |settings| Entry::new(settings, &around, known);
        let entries = settings.into_iter().map(entry).collect::<Result<_, _>>()?;
        let tokens = match before.filter(|before| before.cache == cache) {
            Some(before) => before.tokens.clone(),
            None => memory(cache.max_entries, cache.max_bytes),
        };
        Ok(Self { entries, tokens, cache, revocations, intake: None, observer })
    }

    /// The token, if one of the `accepted` issuers made it for this resource.
    ///
    /// A token that was verified before with the keys of today, or of which its issuer spoke lately, is found by `hash`,
    /// which must be `token`'s, and not even parsed. It may have ended since then: its claims, binding and rights are asked
    /// anew on every request, beginning with [`ActiveToken::claims_at`]. What an issuer said counts for `max_age` at most,
    /// if there is one: zero asks it every time.
    ///
    /// Waits only for an introspecting issuer, or when no key that the issuer had when last asked verifies the token.
    ///
    /// # Errors
    /// [`ValidateError`].
    pub async fn validate(
        &self,
        token: PresentedToken<'_>,
        hash: &TokenHash,
        accepted: &[IssuerIndex],
        max_age: Option<Duration>,
        now: UnixTime,
    ) -> Result<Arc<ActiveToken>, ValidateError> {
        debug_assert_eq!(*hash, TokenHash::of(token), "the hash is another token's");
        for entry in self.accepted(accepted) {
            if let Some(found) = self.remembered(entry, hash, max_age)? {
                self.observer.token_cache(&entry.expected.name, CacheOutcome::Hit);
                return Ok(found);
            }
        }
        let (entry, jws) = self.issuer_of(token, accepted)?;
        self.observer.token_cache(&entry.expected.name, CacheOutcome::Miss);
        match (&entry.judge, jws) {
            (Judge::Issuer(introspector), _) => introspector.introspect(token, hash, max_age, now).await,
            (Judge::Keys(keys), Some(jws)) => self.verify(entry, keys, (token, jws), hash, now).await,
            (Judge::Keys(_), None) => Err(TokenError::issuer_unknown(None).into()),
        }
    }

    fn remembered(
        &self,
        entry: &Entry,
        hash: &TokenHash,
        max_age: Option<Duration>,
    ) -> Result<Option<Arc<ActiveToken>>, TokenError> {
        match &entry.judge {
            Judge::Issuer(introspector) => Ok(introspector.remembered(hash, max_age)),
            Judge::Keys(keys) => self.verified(entry, keys, hash).map(|token| self.unrevoked(token, hash)).transpose(),
        }
    }

    /// The token, if it was verified before with the keys of today.
    fn verified(&self, entry: &Entry, keys: &KeySource, hash: &TokenHash) -> Option<Arc<ActiveToken>> {
        let key = CacheKey { issuer: entry.id, generation: keys.in_force().ok()?.generation, token: *hash };
        self.tokens.get(&key).map(|remembered| remembered.token)
    }

    fn unrevoked(&self, token: Arc<ActiveToken>, hash: &TokenHash) -> Result<Arc<ActiveToken>, TokenError> {
        if self.revocations.clears(&token, hash) { Ok(token) } else { Err(TokenError::Revoked) }
    }

    /// Who is to judge the token: the issuer that a JWS claims, or else the one of the accepted that is asked about its
    /// tokens, of which a route has one at most.
    fn issuer_of<'t>(
        &self,
        token: PresentedToken<'t>,
        accepted: &[IssuerIndex],
    ) -> Result<(&Entry, Option<UnverifiedJws<'t>>), TokenError> {
        let (opaque, jws) = match UnverifiedJws::parse(token) {
            Ok(jws) => match jws.claimed_issuer() {
                Some(claimed) => {
                    let found = self.accepted(accepted).find(|entry| *entry.expected.issuer == *claimed);
                    let entry = found.ok_or_else(|| TokenError::issuer_unknown(Some(claimed)))?;
                    return Ok((entry, Some(jws)));
                }
                None => (TokenError::issuer_unknown(None), Some(jws)),
            },
            // No JWS that we could read: the issuer knows what it is.
            Err(error @ (TokenError::Malformed { .. } | TokenError::Encrypted)) => (error, None),
            Err(error) => return Err(error),
        };
        let asked = self.accepted(accepted).find(|entry| matches!(entry.judge, Judge::Issuer(_)));
        asked.map(|entry| (entry, jws)).ok_or(opaque)
    }

    async fn verify(
        &self,
        entry: &Entry,
        source: &Arc<KeySource>,
        (token, jws): (PresentedToken<'_>, UnverifiedJws<'_>),
        hash: &TokenHash,
        now: UnixTime,
    ) -> Result<Arc<ActiveToken>, ValidateError> {
        let mut keys = source.in_force()?;
        let mut outcome = ActiveToken::from_jws(jws, hash, &entry.expected, &keys.keys, now);
        if outcome.as_ref().is_err_and(TokenError::is_of_keys)
            && let Some(newer) = source.refresh_for_token(keys.generation).await
        {
            outcome = ActiveToken::from_jws(UnverifiedJws::parse(token)?, hash, &entry.expected, &newer.keys, now);
            keys = newer;
        }
        let token = Arc::new(outcome?);
        let left = token.expires_at().map(|at| Duration::from_secs(at.since(now)));
        let lifetime = left.map_or(self.cache.max_age, |left| left.min(self.cache.max_age));
        if !lifetime.is_zero() {
            let key = CacheKey { issuer: entry.id, generation: keys.generation, token: *hash };
            self.tokens.insert(key, Remembered { token: token.clone(), since: (), lifetime });
        }
        Ok(self.unrevoked(token, hash)?)
    }

    /// Keeps every issuer's keys and endpoint fresh, for ever; drop it to end it.
    pub async fn keep_fresh(&self) {
        let mut loops = JoinSet::new();
        for entry in &self.entries {
            if let Some(keys) = entry.keys.clone() {
                loops.spawn(async move { keys.keep_fresh().await });
            }
            if let Judge::Issuer(introspector) = &entry.judge {
                let introspector = introspector.clone();
                loops.spawn(async move { introspector.keep_fresh().await });
            }
        }
        while loops.join_next().await.is_some() {}
    }

    /// Whether all that is needed of every issuer was read once, its keys and its endpoint; from then on for ever, also when
    /// keys are too old: taking the gateway out of service would help none of its other issuers.
    pub fn ready(&self) -> bool {
        self.entries.iter().all(|entry| {
            let asked = match &entry.judge {
                Judge::Issuer(introspector) => introspector.ready(),
                Judge::Keys(_) => true,
            };
            asked && entry.keys.as_ref().is_none_or(|keys| keys.current().is_some())
        })
    }

    /// For each issuer's name the seconds since it last sent its keys, if it ever did.
    pub fn key_ages(&self) -> Vec<(Arc<str>, Option<f64>)> {
        let age = |keys: &Arc<KeySource>| keys.current().map(|keys| keys.read_at.elapsed().as_secs_f64());
        let with_keys = self.entries.iter().filter_map(|entry| entry.keys.as_ref().map(|keys| (entry, keys)));
        with_keys.map(|(entry, keys)| (entry.expected.name.clone(), age(keys))).collect()
    }

    /// How many tokens are remembered, verified ones and those that an issuer spoke of.
    pub fn cache_entries(&self) -> u64 {
        let introspected = self.entries.iter().map(|entry| match &entry.judge {
            Judge::Issuer(introspector) => introspector.entries(),
            Judge::Keys(_) => 0,
        });
        // The count is only true when what has ended is gone.
        self.tokens.run_pending_tasks();
        self.tokens.entry_count() + introspected.sum::<u64>()
    }

    fn accepted(&self, accepted: &[IssuerIndex]) -> impl Iterator<Item = &Entry> {
        accepted.iter().filter_map(|index| self.entries.get(index.0))
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
    /// How it is asked about its tokens; if not, they are JWTs that are verified here.
    pub introspection: Option<introspection::Settings>,
    /// Whether its security events are taken, which are verified here in any case.
    pub security_events: bool,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// How many verified tokens are remembered; those that were not used for the longest go first.
    pub max_entries: u64,
    /// How many bytes they may take.
    pub max_bytes: u64,
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
    /// The issuer was asked about a token.
    fn introspection(&self, issuer: &str, outcome: IntrospectionOutcome, took: Duration);
}

/// Nobody counts.
impl Observer for () {
    fn token_cache(&self, _: &str, _: CacheOutcome) {}

    fn jwks_refresh(&self, _: &str, _: RefreshOutcome) {}

    fn introspection(&self, _: &str, _: IntrospectionOutcome, _: Duration) {}
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

/// What came of asking about a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IntrospectionOutcome {
    /// The issuer calls it active.
    Active,
    /// The issuer calls it inactive.
    Inactive,
    /// The issuer refuses the gateway itself: its credentials, or the way it asks.
    Unauthorized,
    /// An answer that says nothing: another status, another form, a signature that does not hold.
    Invalid,
    /// No answer in time.
    Timeout,
    /// No connection, or nowhere to connect to.
    Unreachable,
    /// Not asked, since too many wait.
    Busy,
}

impl IntrospectionOutcome {
    /// Every outcome.
    pub const ALL: &[Self] = &[
        Self::Active,
        Self::Inactive,
        Self::Unauthorized,
        Self::Invalid,
        Self::Timeout,
        Self::Unreachable,
        Self::Busy,
    ];

    /// Its name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Unauthorized => "unauthorized",
            Self::Invalid => "invalid",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Busy => "busy",
        }
    }
}

/// One issuer at work.
struct Entry {
    /// Another number for every way of judging tokens: a token that was verified by one says nothing to the next.
    id: u64,
    expected: Expected,
    keys: Option<Arc<KeySource>>,
    judge: Judge,
    called: Called,
}

/// Who says that a token is active.
enum Judge {
    /// We, by the issuer's keys.
    Keys(Arc<KeySource>),
    /// The issuer, when asked.
    Issuer(Arc<Introspector>),
}

/// All that the calls to an issuer depend on.
#[derive(PartialEq, Eq)]
struct Called {
    name: Arc<str>,
    issuer: Box<str>,
    jwks_uri: Option<Url>,
    trust_anchors: TrustAnchors,
}

/// What every issuer has in common.
#[derive(Clone)]
struct Surroundings {
    timing: Timing,
    observer: Arc<dyn Observer>,
    revocations: Arc<Revocations>,
}

impl Entry {
    fn new(settings: Settings, around: &Surroundings, before: &[Self]) -> Result<Self, IssuerError> {
        let Settings { expected, jwks_uri, jwks, trust_anchors, introspection, security_events } = settings;
        let Surroundings { timing, observer, .. } = around;
        let (name, issuer) = (expected.name.clone(), expected.issuer.clone());
        let called = Called { name, issuer, jwks_uri: jwks_uri.clone(), trust_anchors: trust_anchors.clone() };
        let same = before.iter().find(|entry| entry.called == called);
        let name = || expected.name.clone();
        let failed = |error| IssuerError::Client { issuer: name(), error };
        let answers = introspection.as_ref().map(|settings| &settings.response);
        let keys_needed = security_events || !matches!(answers, Some(introspection::Response::Json));
        let keys = match (same.and_then(|entry| entry.keys.clone()), jwks_uri) {
            _ if !keys_needed => None,
            (Some(keys), _) => Some(Arc::new(keys.with_settings(jwks))),
            (None, Some(url)) if url.scheme() != "https" => {
                return Err(IssuerError::JwksUriNotHttps { issuer: name() });
            }
            (None, jwks_uri) => {
                let location = match jwks_uri {
                    Some(url) => Location::Configured(url),
                    None => Location::Discovered(
                        Discovery::new(&expected.issuer)
                            .map_err(|error| IssuerError::NotDiscoverable { issuer: name(), error })?,
                    ),
                };
                let client = Client::new(&trust_anchors, timing.connect_timeout, timing.timeout).map_err(failed)?;
                Some(Arc::new(KeySource::new(name(), location, client, jwks, *timing, observer.clone())))
            }
        };
        let judge = match (introspection, &keys) {
            (Some(settings), _) => {
                let same = same.and_then(|entry| match &entry.judge {
                    Judge::Issuer(introspector) if introspector.is_of(&expected, &settings, jwks) => Some(introspector),
                    Judge::Issuer(_) | Judge::Keys(_) => None,
                });
                Judge::Issuer(match same {
                    Some(introspector) => introspector.clone(),
                    None => {
                        let around = around.clone();
                        let new =
                            Introspector::new(expected.clone(), settings, &trust_anchors, keys.clone(), jwks, around);
                        Arc::new(new.map_err(failed)?)
                    }
                })
            }
            (None, Some(keys)) => Judge::Keys(keys.clone()),
            (None, None) => unreachable!("keys are needed whenever tokens are verified here"),
        };
        let id = match same.filter(|entry| entry.expected == expected && entry.judge.is_same(&judge)) {
            Some(entry) => entry.id,
            None => NEXT_ID.fetch_add(1, Ordering::Relaxed),
        };
        Ok(Self { id, expected, keys, judge, called })
    }
}

impl Judge {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Keys(one), Self::Keys(other)) => one.is_of_one_with(other),
            (Self::Issuer(one), Self::Issuer(other)) => Arc::ptr_eq(one, other),
            (Self::Keys(_), Self::Issuer(_)) | (Self::Issuer(_), Self::Keys(_)) => false,
        }
    }
}

static NEXT_ID: AtomicU64 = AtomicU64::new(0);

/// All that a verified token depended on: whose it was to be, which keys there were, and every byte of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct CacheKey {
    issuer: u64,
    generation: u64,
    token: TokenHash,
}
