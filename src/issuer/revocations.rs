//! What was taken back before its end: a bounded table that every remembered token is held against, and the two ways into it.
//!
//! The table counts its states. A token notes up to which of them it was found clear, so that in between two revocations
//! looking again costs a request one atomic load; after one, a look at the table by the token's names. That look is taken
//! whenever a token leaves a memory, not when it enters, so that there is no moment between verifying and remembering in
//! which a revocation could slip by.
//!
//! An entry means different things to the two ways of judging: a JWT that it covers is refused, what an issuer said before
//! it no longer counts and the issuer is asked again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use fapi::UnixTime;
use fapi::policy::IssuerIndex;
use fapi::rejection::Unavailable;
use fapi::revocation::security_event::{EventError, SecurityEvent, Transmitter, claimed_issuer};
use fapi::revocation::{Kind, RequestError, Revocation, Subject, SubjectDigest, names_of};
use fapi::token::{ActiveToken, TokenHash};

use super::jwks::KeySource;
use super::{Issuers, Judge};

/// The section `revocations` of `admin` in gateway.yaml.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a revocation counts of which it is not known when the last of its tokens ends.
    pub keep: Duration,
    /// How many there may be at a time.
    pub max_entries: usize,
    /// Whose security events are taken.
    pub security_events: Vec<Source>,
}

/// An issuer whose security events are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Which.
    pub issuer: IssuerIndex,
    /// The value of `aud` that means this gateway.
    pub audience: Box<str>,
}

/// Why nothing was recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevokeError {
    /// The configuration has no section `revocations`.
    #[error("revocations are not enabled")]
    Disabled,
    /// The request's fault.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The event's fault.
    #[error(transparent)]
    Event(#[from] EventError),
    /// There is no room.
    #[error("the table of revocations is full; send it again later, or raise admin.revocations.max_entries")]
    Full,
    /// There are no keys to verify an event with.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

/// What was recorded.
#[derive(Debug)]
pub struct Recorded {
    /// The `jti` of the security event, if it was one.
    pub event: Option<Box<str>>,
    /// What is taken back by it; nothing, if it told of other things.
    pub revocations: Vec<Revocation>,
}

impl Issuers {
    /// The same, taking revocations by these settings; by none if there are none.
    #[must_use]
    pub fn with_revocations(mut self, settings: Option<Settings>) -> Self {
        self.intake = settings;
        self
    }

    /// Whether revocations are taken.
    pub const fn takes_revocations(&self) -> bool {
        self.intake.is_some()
    }

    /// How many revocations are held that still count.
    pub fn revocations(&self, now: UnixTime) -> usize {
        self.revocations.entries(now)
    }

    /// Takes back what a request names; from then on no request passes with it.
    ///
    /// # Errors
    /// [`RevokeError`]; then nothing was recorded.
    pub fn revoke(&self, body: &[u8], now: UnixTime) -> Result<Recorded, RevokeError> {
        let settings = self.intake.as_ref().ok_or(RevokeError::Disabled)?;
        let issuer_of = |called: &str| {
            let mut expected = self.entries.iter().map(|entry| &entry.expected);
            let found = expected.find(|expected| *expected.name == *called || *expected.issuer == *called);
            found.map(|expected| expected.issuer.clone())
        };
        let mut revocation = Revocation::from_json(body, issuer_of, now)?;
        let mut same = None;
        if let Subject::Token(hash) = &revocation.subject
            && let Some(token) = self.remembered_by_hash(hash)
            && let Ok(claims) = token.claims_at(now)
            && revocation.issuer.as_deref().is_none_or(|issuer| claims.text("iss") == Some(issuer))
        {
            revocation.expires_at = revocation.expires_at.max(token.expires_at());
            // An ES256 signature can be written in two ways, so that the same token has another hash; its jti stays.
            same = claims.text("jti").map(|jti| Revocation {
                issuer: claims.text("iss").map(Box::from),
                subject: Subject::Jti(jti.into()),
                ..revocation.clone()
            });
        }
        self.record(None, [revocation].into_iter().chain(same).collect(), settings, now)
    }

    /// Takes back what a security event tells of (RFC 8935 §2).
    ///
    /// # Errors
    /// [`RevokeError`]; then nothing was recorded.
    pub async fn revoke_by_event(&self, body: &[u8], now: UnixTime) -> Result<Recorded, RevokeError> {
        let settings = self.intake.as_ref().ok_or(RevokeError::Disabled)?;
        let claimed = claimed_issuer(body)?;
        let known = settings.security_events.iter().find_map(|source| {
            let entry = self.entries.get(source.issuer.0)?;
            (*entry.expected.issuer == *claimed).then_some((source, entry, entry.keys.as_ref()?))
        });
        let Some((source, entry, keys)) = known else { return Err(EventError::issuer_unknown(&claimed).into()) };
        let transmitter = Transmitter {
            issuer: &entry.expected.issuer,
            audience: std::slice::from_ref(&source.audience),
            algorithms: &entry.expected.algorithms,
        };
        let SecurityEvent { id, revocations } = verify(body, &transmitter, keys, now).await?;
        self.record(Some(id), revocations, settings, now)
    }

    fn record(
        &self,
        event: Option<Box<str>>,
        revocations: Vec<Revocation>,
        settings: &Settings,
        now: UnixTime,
    ) -> Result<Recorded, RevokeError> {
        self.revocations.record(&revocations, settings, now)?;
        Ok(Recorded { event, revocations })
    }

    fn remembered_by_hash(&self, hash: &TokenHash) -> Option<Arc<ActiveToken>> {
        self.entries.iter().find_map(|entry| match &entry.judge {
            Judge::Issuer(introspector) => introspector.last_said(hash),
            Judge::Keys(keys) => self.verified(entry, keys, hash),
        })
    }
}

/// As [`SecurityEvent::verify`], reading the keys anew if none fits.
async fn verify(
    body: &[u8],
    transmitter: &Transmitter<'_>,
    source: &Arc<KeySource>,
    now: UnixTime,
) -> Result<SecurityEvent, RevokeError> {
    let known = source.in_force()?;
    let first = SecurityEvent::verify(body, transmitter, &known.keys, now);
    if let Err(EventError::Statement(error)) = &first
        && error.depends_on_keys()
        && let Some(newer) = source.refresh_for_token(known.generation).await
    {
        return Ok(SecurityEvent::verify(body, transmitter, &newer.keys, now)?);
    }
    Ok(first?)
}

/// The revocations of one gateway; a reload goes on with the same.
#[derive(Debug, Default)]
pub struct Revocations {
    /// Counts the states; 0 while nothing was ever recorded.
    generation: AtomicU64,
    entries: RwLock<HashMap<SubjectDigest, Entry>>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The state that it came with.
    generation: u64,
    at: UnixTime,
    /// Until when it counts; it is only forgotten when room is needed.
    until: UnixTime,
}

impl Revocations {
    /// The present state.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Records all of them or, without room for all, none.
    fn record(&self, revocations: &[Revocation], settings: &Settings, now: UnixTime) -> Result<(), RevokeError> {
        if revocations.is_empty() {
            return Ok(());
        }
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let digests: Vec<SubjectDigest> = revocations.iter().map(Revocation::digest).collect();
        let fits = |entries: &HashMap<SubjectDigest, Entry>| {
            let new = digests.iter().filter(|digest| !entries.contains_key(*digest)).count();
            entries.len().saturating_add(new) <= settings.max_entries
        };
        if !fits(&entries) {
            entries.retain(|_, entry| entry.until > now);
            if !fits(&entries) {
                return Err(RevokeError::Full);
            }
        }
        let generation = self.generation.load(Ordering::Acquire).saturating_add(1);
        for (digest, Revocation { at, expires_at, .. }) in digests.into_iter().zip(revocations) {
            let until = expires_at.unwrap_or_else(|| now.plus(settings.keep.as_secs()));
            let entry = entries.entry(digest).or_insert(Entry { generation, at: *at, until });
            *entry = Entry { generation, at: entry.at.max(*at), until: entry.until.max(until) };
        }
        // Under the lock: who reads the new state afterwards waits for the entries that came with it.
        self.generation.store(generation, Ordering::Release);
        Ok(())
    }

    /// Whether nothing concerns the token that came since it was last found clear, or since it was judged.
    ///
    /// Notes it if so. If not, it keeps what concerns the token until the token ends.
    pub(super) fn clears(&self, token: &ActiveToken, hash: &TokenHash) -> bool {
        let cleared = token.cleared().get();
        if cleared == self.generation() {
            return true;
        }
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that it is the state that is looked at.
        let generation = self.generation();
        let concerns = |(kind, digest): (Kind, SubjectDigest)| {
            let entry = entries.get(&digest)?;
            (entry.generation > cleared && kind.reaches(entry.at, token.issued_at())).then_some((digest, entry.until))
        };
        let Some((digest, until)) = names_of(token, hash).find_map(concerns) else {
            token.cleared().note(generation);
            return true;
        };
        drop(entries);
        if let Some(end) = token.expires_at().filter(|end| *end > until) {
            let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
            if let Some(entry) = entries.get_mut(&digest) {
                entry.until = entry.until.max(end);
            }
        }
        false
    }

    /// How many there are that still count.
    fn entries(&self, now: UnixTime) -> usize {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.values().filter(|entry| entry.until > now).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn settings(max_entries: usize) -> Settings {
        Settings { keep: Duration::from_secs(100), max_entries, security_events: Vec::new() }
    }

    fn jti(name: &str, expires_at: Option<UnixTime>) -> Revocation {
        Revocation { issuer: None, subject: Subject::Jti(name.into()), at: NOW, expires_at }
    }

    #[test]
    fn a_full_table_takes_nothing_and_forgets_only_what_is_over() {
        let table = Revocations::default();
        let record = |names: &[&str], expires_at, now| {
            let revocations: Vec<_> = names.iter().map(|name| jti(name, expires_at)).collect();
            table.record(&revocations, &settings(3), now)
        };
        assert_eq!(record(&["a"], None, NOW), Ok(()));
        assert_eq!(record(&["b"], Some(NOW.plus(10)), NOW), Ok(()));
        assert_eq!((table.generation(), table.entries(NOW)), (2, 2));
        // All of them or none.
        assert_eq!(record(&["c", "d"], None, NOW), Err(RevokeError::Full));
        assert_eq!((table.generation(), table.entries(NOW)), (2, 2));
        assert_eq!(record(&["c"], None, NOW), Ok(())); // control
        assert_eq!(record(&["d"], None, NOW.plus(9)), Err(RevokeError::Full));
        // What is there needs no room.
        assert_eq!(record(&["a"], None, NOW.plus(9)), Ok(()));
        assert_eq!(record(&["d"], None, NOW.plus(10)), Ok(()));
        assert_eq!((table.generation(), table.entries(NOW.plus(10))), (5, 3));
        assert_eq!(table.entries(NOW.plus(109)), 1);
        assert_eq!(table.entries(NOW.plus(110)), 0);
    }

    #[test]
    fn a_smaller_table_after_a_reload_keeps_what_it_has() {
        let table = Revocations::default();
        assert_eq!(table.record(&[jti("a", None), jti("b", None)], &settings(2), NOW), Ok(()));
        assert_eq!(table.record(&[jti("c", None)], &settings(1), NOW), Err(RevokeError::Full));
        assert_eq!(table.entries(NOW), 2);
    }
}
