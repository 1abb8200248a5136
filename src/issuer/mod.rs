//! Everything we ask of an authorization server, and what we remember of its answers.
//!
//! The only outbound HTTP of the gateway. Chooses the issuer that a token claims, among those that the route accepts; the
//! judgement itself is [`ActiveToken::from_jws`] or [`ActiveToken::from_introspection`]. Three things are remembered: each
//! issuer's keys ([`jwks`]), the tokens that were verified with them, and what issuers said of tokens they were asked about
//! ([`introspection`]). None is shared between issuers (RFC 8725 §3.8).

pub mod assertion;
mod entry;
pub mod http;
pub mod introspection;
pub mod jwks;
mod memory;
pub mod metadata;
mod observer;
pub mod revocations;
mod schedule;
mod settings;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use fapi::UnixTime;
use fapi::credentials::PresentedToken;
use fapi::policy::IssuerIndex;
use fapi::rejection::{Cause, Unavailable};
use fapi::token::{ActiveToken, TokenError, TokenHash, UnverifiedJws};
use moka::sync::Cache;
use tokio::task::JoinSet;

use self::entry::{Entry, Judge, Shared};
use self::jwks::KeySource;
use self::memory::{Remembered, memory};
use self::revocations::Revocations;

pub use self::observer::{CacheOutcome, IntrospectionOutcome, Observer, RefreshOutcome};
pub use self::settings::{CacheSettings, IssuerError, JwksSettings, Settings, Timing, TrustAnchors};

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
        let shared = Shared { timing, observer: observer.clone(), revocations: revocations.clone() };
        let entry = |settings| Entry::new(settings, &shared, known);
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
        if outcome.as_ref().is_err_and(TokenError::depends_on_keys)
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

/// All that a verified token depended on: whose it was to be, which keys there were, and every byte of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct CacheKey {
    issuer: u64,
    generation: u64,
    token: TokenHash,
}
