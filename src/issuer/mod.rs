//! Calls to authorization servers, and the caches of their responses.
//!
//! This is the only outbound HTTP besides the requests to upstreams. A token is matched to the issuer that it claims,
//! among those that the route accepts; [`ActiveToken::from_jws`] and [`ActiveToken::from_introspection`] decide whether
//! it is active. Three things are cached: each issuer's keys ([`jwks`]), the tokens that were verified with them, and
//! introspection responses ([`introspection`]). Nothing is shared between issuers (RFC 8725 §3.8).

pub mod assertion;
mod entry;
mod error;
pub mod http;
pub mod introspection;
pub mod jwks;
mod memory;
pub mod metadata;
mod observer;
mod offline;
pub mod revocations;
mod schedule;
mod settings;
mod stored_answers;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use fapi::UnixTime;
use fapi::credentials::PresentedToken;
use fapi::policy::{IssuerIndex, Policy};
use fapi::sender::SenderEvidence;
use fapi::token::{ActiveToken, TokenError, TokenHash, UnverifiedJws};
use moka::sync::Cache;
use tokio::task::JoinSet;

use self::entry::{Entry, Judge, Shared};
use self::introspection::{AnswerStore, Asker, Introspector, Sharing};
use self::jwks::{KeySource, Reread};
use self::memory::{Remembered, memory};
use self::revocations::{Revocations, SharedRevocations};
use crate::resource::Kind;
use crate::trace::{self, names};

pub use self::entry::Unread;
pub use self::error::ValidateError;
pub use self::observer::{CacheOutcome, IntrospectionOutcome, Observer, RefreshOutcome, SharedOutcome, SharedWrite};
pub(crate) use self::schedule::{fresh_for, random};
pub use self::settings::{CacheSettings, IssuerError, JwksSettings, Settings, Timing};

/// The configured issuers; an [`IssuerIndex`] is an index into them.
pub struct Issuers {
    entries: Vec<Entry>,
    tokens: Cache<TokenHash, Remembered<VerifiedBy>>,
    cache: CacheSettings,
    revocations: Arc<Revocations>,
    intake: Option<revocations::Settings>,
    shared_revocations: Option<Arc<SharedRevocations>>,
    observer: Arc<dyn Observer>,
}

impl Issuers {
    /// Prepares the calls to every issuer without making any; [`Self::keep_fresh`] makes them.
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

    /// Like [`Self::new`], with the intervals in `timing` instead of the default ones.
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

    /// The issuers of a reloaded configuration. An issuer keeps the keys that were already read, however it is called
    /// from now on, so that one that is down neither blocks the reload nor loses its tokens by it. Cached tokens are kept if
    /// the new configuration would verify them in the same way.
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
        // Revocations stay in effect, whatever else changes.
        let revocations = before.map_or_else(Arc::default, |before| before.revocations.clone());
        let shared = Shared { timing, observer: observer.clone(), revocations: revocations.clone() };
        let entry = |settings| Entry::new(settings, &shared, known);
        let entries = settings.into_iter().map(entry).collect::<Result<_, _>>()?;
        let tokens = match before.filter(|before| before.cache == cache) {
            Some(before) => before.tokens.clone(),
            None => memory(cache.max_entries, cache.max_bytes),
        };
        Ok(Self { entries, tokens, cache, revocations, intake: None, shared_revocations: None, observer })
    }

    /// Has each issuer share what it says of tokens in the store that `store_of` finds for it, from now on; the issuers of the
    /// configuration before this one do the same as far as they are asked in the same way.
    pub fn share(&self, store_of: impl Fn(&Sharing) -> Option<Arc<dyn AnswerStore>>) {
        for entry in &self.entries {
            entry.share(&store_of);
        }
    }

    /// Returns the token, if one of the issuers that `policy` accepts issued it for this resource.
    ///
    /// A token that was already verified with the current keys, or introspected recently, is found by `hash`, which
    /// must be the hash of the evidence's token, without being parsed. It may have expired since: its claims, binding and
    /// rights are checked on every request, beginning with [`ActiveToken::claims_at`]. An introspection response is used for
    /// as long as the policy allows. `asker` is who waits for the issuer, if it has to be asked.
    ///
    /// Takes the evidence and not the token alone, so that a request that no token could help never gets here.
    ///
    /// Waits only for introspection, or to read the keys again when none of the current ones verifies the token.
    ///
    /// # Errors
    /// [`ValidateError`].
    pub async fn validate(
        &self,
        evidence: &SenderEvidence<'_>,
        hash: &TokenHash,
        asker: Asker,
        policy: &Policy,
        now: UnixTime,
    ) -> Result<Arc<ActiveToken>, ValidateError> {
        let (accepted, max_age) = (policy.issuers(), policy.introspection_max_age());
        let token = evidence.token();
        debug_assert_eq!(*hash, TokenHash::of(token), "the hash is of another token");
        if let Some((entry, found)) = self.remembered(accepted, hash, max_age)? {
            self.observer.token_cache(&entry.expected.name, CacheOutcome::Hit);
            return Ok(found);
        }
        let (entry, jws) = self.issuer_of(token, accepted)?;
        self.observer.token_cache(&entry.expected.name, CacheOutcome::Miss);
        match (&entry.judge, jws) {
            (Judge::Issuer(introspector), _) => introspector.introspect((token, hash), asker, max_age, now).await,
            (Judge::Keys(keys), Some(jws)) => {
                let mut span = trace::child("token", trace::Kind::Internal);
                span.set(names::ISSUER, || entry.expected.name.clone());
                let verified = self.verify(entry, keys, (token, jws), hash, now).await;
                verified.inspect_err(|error| span.refused(error.code()))
            }
            (Judge::Keys(_), None) => Err(self.issuer_unknown(None, accepted).into()),
        }
    }

    /// The token and its issuer, if it was verified with the current keys or introspected recently. Looks once in each of two
    /// caches at most, however many issuers are accepted: of those, at most one is asked about its tokens.
    fn remembered(
        &self,
        accepted: &[IssuerIndex],
        hash: &TokenHash,
        max_age: Option<Duration>,
    ) -> Result<Option<(&Entry, Arc<ActiveToken>)>, ValidateError> {
        if self.accepts_jwts(accepted)
            && let Some((entry, token)) = self.verified(self.accepted(accepted), hash)
        {
            return Ok(Some((entry, self.unrevoked(token)?)));
        }
        let introspected = self.accepted(accepted).find_map(|entry| match &entry.judge {
            Judge::Issuer(introspector) => Some((entry, introspector)),
            Judge::Keys(_) => None,
        });
        Ok(introspected.and_then(|(entry, introspector)| Some((entry, introspector.remembered(hash, max_age)?))))
    }

    /// The cached token and its issuer, if that is among these and still has the keys that the token was verified with.
    fn verified<'e>(
        &self,
        mut among: impl Iterator<Item = &'e Entry>,
        hash: &TokenHash,
    ) -> Option<(&'e Entry, Arc<ActiveToken>)> {
        let Remembered { token, basis, .. } = self.tokens.get(hash)?;
        let entry = among.find(|entry| entry.id == basis.issuer)?;
        match &entry.judge {
            Judge::Keys(keys) if keys.in_force().ok()?.generation == basis.generation => Some((entry, token)),
            Judge::Keys(_) | Judge::Issuer(_) => None,
        }
    }

    /// The keys of the issuer with this identifier, if any are read; the first, if it is configured more than once.
    pub fn keys_of(&self, issuer: &str) -> Option<&Arc<KeySource>> {
        let mut named = self.entries.iter().filter(|entry| *entry.expected.issuer == *issuer);
        named.find_map(|entry| entry.keys.as_ref())
    }

    /// How the issuer with this identifier is asked about tokens, if it is; the first, if it is configured more than once.
    pub fn introspector_of(&self, issuer: &str) -> Option<&Arc<Introspector>> {
        let mut named = self.entries.iter().filter(|entry| *entry.expected.issuer == *issuer);
        named.find_map(|entry| match &entry.judge {
            Judge::Issuer(introspector) => Some(introspector),
            Judge::Keys(_) => None,
        })
    }

    /// Whether the consent with this id is revoked, for tokens of this `iss`.
    pub fn consent_revoked(&self, issuer: Option<&str>, id: &str, now: UnixTime) -> bool {
        self.revocations.names_consent(issuer, id, now)
    }

    /// Whether the token has been revoked since it was found active.
    pub fn revoked(&self, token: &ActiveToken) -> bool {
        !self.revocations.clears(token)
    }

    fn unrevoked(&self, token: Arc<ActiveToken>) -> Result<Arc<ActiveToken>, ValidateError> {
        if self.revocations.clears(&token) { Ok(token) } else { Err(ValidateError::revoked(&token)) }
    }

    /// The issuer that decides about the token: the one that a JWS claims, or else the introspected one among the
    /// accepted issuers; a route has at most one of those.
    ///
    /// Where JWTs of other issuers are accepted too, a JWS whose issuer cannot be read may be one of theirs, and is no other
    /// issuer's business.
    fn issuer_of<'t>(
        &self,
        token: PresentedToken<'t>,
        accepted: &[IssuerIndex],
    ) -> Result<(&Entry, Option<UnverifiedJws<'t>>), TokenError> {
        let (opaque, jws) = match UnverifiedJws::parse(token) {
            Ok(jws) => match jws.claimed_issuer() {
                Some(claimed) => {
                    let found = self.accepted(accepted).find(|entry| *entry.expected.issuer == *claimed);
                    let entry = found.ok_or_else(|| self.issuer_unknown(Some(claimed), accepted))?;
                    return Ok((entry, Some(jws)));
                }
                None if jws.has_issuer() && self.accepts_jwts(accepted) => {
                    return Err(self.issuer_unknown(None, accepted));
                }
                None => (self.issuer_unknown(None, accepted), Some(jws)),
            },
            Err(error @ TokenError::Malformed { .. })
                if self.accepts_jwts(accepted) && UnverifiedJws::is_claimed_by(token) =>
            {
                return Err(error);
            }
            // Not a JWS that the gateway can read, so an opaque token: only its issuer knows what it is.
            Err(error @ (TokenError::Malformed { .. } | TokenError::Encrypted)) => (error, None),
            Err(error) => return Err(error),
        };
        let asked = self.accepted(accepted).find(|entry| matches!(entry.judge, Judge::Issuer(_)));
        asked.map(|entry| (entry, jws)).ok_or(opaque)
    }

    fn accepts_jwts(&self, accepted: &[IssuerIndex]) -> bool {
        self.accepted(accepted).any(|entry| matches!(entry.judge, Judge::Keys(_)))
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
        if let Err(error) = &outcome
            && error.error.depends_on_keys()
        {
            match source.refresh_for_token(keys.generation).await {
                Reread::Newer(newer) => {
                    let jws = UnverifiedJws::parse(token)?;
                    outcome = ActiveToken::from_jws(jws, hash, &entry.expected, &newer.keys, now);
                    keys = newer;
                }
                // The token may be good, and its client has done nothing wrong: it can try again.
                Reread::NotRead if matches!(error.error, TokenError::KeyUnknown { .. }) => {
                    return Err(source.not_read().into());
                }
                Reread::Same | Reread::NotRead => {}
            }
        }
        let token = Arc::new(outcome?);
        let left = token.ends_at().map(|at| Duration::from_secs(at.since(now)));
        let lifetime = left.map_or(self.cache.max_age, |left| left.min(self.cache.max_age));
        if !lifetime.is_zero() {
            let basis = VerifiedBy { issuer: entry.id, generation: keys.generation };
            self.tokens.insert(*hash, Remembered { token: token.clone(), basis, lifetime });
        }
        self.unrevoked(token)
    }

    /// Keeps every issuer's keys and endpoint up to date, and the revocations that replicas share; never returns, and stops when it is dropped.
    pub async fn keep_fresh(&self) {
        let mut loops = JoinSet::new();
        if let Some(shared) = self.shared_revocations.clone() {
            loops.spawn(async move { shared.follow().await });
        }
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

    /// Whether the keys and the endpoint of every required issuer, as far as they are needed, have been read once. Stays true
    /// from then on, even when keys are too old: taking the gateway out of service would not help its other issuers.
    pub fn ready(&self) -> bool {
        self.unread().next().is_none()
    }

    /// The required issuers whose keys or endpoint have not been read since the start, and which of the two is missing.
    pub fn unread(&self) -> impl Iterator<Item = (&Arc<str>, Unread)> {
        let required = self.entries.iter().filter(|entry| entry.required);
        required.filter_map(|entry| Some((&entry.expected.name, entry.unread()?)))
    }

    /// Whether every issuer that is new, or is called in another way than in the previous configuration, was asked in
    /// this way, successfully or not.
    pub fn have_settled(&self) -> bool {
        self.entries.iter().all(Entry::has_settled)
    }

    /// What is read from each issuer.
    pub fn resources(&self) -> impl Iterator<Item = (Kind, &Arc<str>)> {
        let of = |entry: &Entry| entry.resources();
        self.entries.iter().flat_map(move |entry| of(entry).into_iter().map(|kind| (kind, &entry.expected.name)))
    }

    /// Each issuer's name with the seconds since it last sent its keys, if it ever did.
    pub fn key_ages(&self) -> Vec<(Arc<str>, Option<f64>)> {
        let age = |keys: &Arc<KeySource>| keys.current().map(|keys| keys.read_at.elapsed().as_secs_f64());
        let with_keys = self.entries.iter().filter_map(|entry| entry.keys.as_ref().map(|keys| (entry, keys)));
        with_keys.map(|(entry, keys)| (entry.expected.name.clone(), age(keys))).collect()
    }

    /// How many tokens are cached, both verified and introspected.
    pub fn cache_entries(&self) -> u64 {
        let introspected = self.entries.iter().map(|entry| match &entry.judge {
            Judge::Issuer(introspector) => introspector.entries(),
            Judge::Keys(_) => 0,
        });
        // The count is exact only after expired entries are removed.
        self.tokens.run_pending_tasks();
        self.tokens.entry_count() + introspected.sum::<u64>()
    }

    fn issuer_unknown(&self, claimed: Option<&str>, accepted: &[IssuerIndex]) -> TokenError {
        TokenError::issuer_unknown(claimed, self.accepted(accepted).map(|entry| &*entry.expected.issuer))
    }

    fn accepted(&self, accepted: &[IssuerIndex]) -> impl Iterator<Item = &Entry> {
        accepted.iter().filter_map(|index| self.entries.get(index.0))
    }
}

/// Everything that the verification of a token depended on besides its bytes: the issuer as it is configured, and its keys.
///
/// A token is remembered for the issuer that verified it last. One that two entries of gateway.yaml for the same issuer
/// accept is verified again each time it comes by the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct VerifiedBy {
    issuer: u64,
    generation: u64,
}
