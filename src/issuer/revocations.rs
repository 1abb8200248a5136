//! Revocations: a bounded table that every cached token is checked against, and the two ways to add to it.
//!
//! Each change of the table increments its generation. A token records the generation up to which it is known not to be
//! revoked, so that between two revocations a check costs a request one atomic load; after one, it costs a look-up of
//! the token's names in the table. The check is made whenever a token is taken from a cache, not when it is inserted,
//! so that a revocation between verification and insertion cannot be missed.
//!
//! A revocation has a different effect on the two kinds of tokens: a JWT that it covers is refused; a cached
//! introspection response from before it is no longer used, and the issuer is asked again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use fapi::UnixTime;
use fapi::jose::statement::StatementError;
use fapi::policy::IssuerIndex;
use fapi::rejection::Unavailable;
use fapi::revocation::security_event::{EventError, SecurityEvent, Transmitter, claimed_issuer};
use fapi::revocation::{Kind, RequestError, Revocation, Subject, SubjectDigest, names_of};
use fapi::token::{ActiveToken, TokenHash};

use super::jwks::{KeySource, Reread};
use super::{Issuers, Judge};

/// The section `revocations` of `admin` in gateway.yaml.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long a revocation is kept if it is not known when the last of its tokens expires.
    pub keep: Duration,
    /// How many there may be at a time.
    pub max_entries: usize,
    /// The issuers whose security events are accepted.
    pub security_events: Vec<Source>,
}

/// An issuer whose security events are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The issuer.
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
    /// The request is at fault.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The event is at fault.
    #[error(transparent)]
    Event(#[from] EventError),
    /// The table is full.
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
    /// What it revokes; empty if the event was about something else.
    pub revocations: Vec<Revocation>,
}

impl Issuers {
    /// The same issuers, accepting revocations by these settings; `None` accepts none.
    #[must_use]
    pub fn with_revocations(mut self, settings: Option<Settings>) -> Self {
        self.intake = settings;
        self
    }

    /// Whether revocations are accepted.
    pub const fn takes_revocations(&self) -> bool {
        self.intake.is_some()
    }

    /// How many revocations are in effect.
    pub fn revocations(&self, now: UnixTime) -> usize {
        self.revocations.entries(now)
    }

    /// Revokes what a request names; from then on no request is permitted with it.
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
            // An issuer that is asked may read more spellings of a token than `names_of` knows; the jti of all of them is
            // the same.
            same = claims.text("jti").map(|jti| Revocation {
                issuer: claims.text("iss").map(Box::from),
                subject: Subject::Jti(jti.into()),
                ..revocation.clone()
            });
        }
        self.record(None, [revocation].into_iter().chain(same).collect(), settings, now)
    }

    /// Revokes what a security event reports (RFC 8935 §2).
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

/// Like [`SecurityEvent::verify`], but reads the keys again if none fits.
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
    {
        match source.refresh_for_token(known.generation).await {
            Reread::Newer(newer) => return Ok(SecurityEvent::verify(body, transmitter, &newer.keys, now)?),
            // A transmitter does not send again what was refused as invalid, and the revocation would be lost.
            Reread::NotRead if matches!(error, StatementError::KeyUnknown { .. }) => {
                return Err(source.not_read().into());
            }
            Reread::Same | Reread::NotRead => {}
        }
    }
    Ok(first?)
}

/// The revocations of one gateway; they survive a reload.
#[derive(Debug, Default)]
pub struct Revocations {
    /// Incremented with each change; 0 while nothing has been recorded.
    generation: AtomicU64,
    entries: RwLock<HashMap<SubjectDigest, Entry>>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The generation in which it was recorded.
    generation: u64,
    issued_until: UnixTime,
    /// The end of its effect; it is removed only when room is needed.
    until: UnixTime,
}

impl Revocations {
    /// The current generation.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Records all of them or, if there is no room for all, none.
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
        for (digest, Revocation { issued_until, expires_at, .. }) in digests.into_iter().zip(revocations) {
            let issued_until = *issued_until;
            // From when the last of its tokens may have been issued, by the clock that writes their `exp` too.
            let until = expires_at.unwrap_or_else(|| now.max(issued_until).plus(settings.keep.as_secs()));
            let entry = entries.entry(digest).or_insert(Entry { generation, issued_until, until });
            let issued_until = entry.issued_until.max(issued_until);
            *entry = Entry { generation, issued_until, until: entry.until.max(until) };
        }
        // Under the lock: a reader of the new generation waits until its entries are in the table.
        self.generation.store(generation, Ordering::Release);
        Ok(())
    }

    /// Whether no revocation since the token was last checked, or since it was validated, concerns it.
    ///
    /// Records that in the token if so. If not, keeps the revocation at least until the token expires.
    pub(super) fn clears(&self, token: &ActiveToken) -> bool {
        let cleared = token.cleared().get();
        if cleared == self.generation() {
            return true;
        }
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        // Under the lock, so that it is the generation of these entries.
        let generation = self.generation();
        let concerns = |(kind, digest): (Kind, SubjectDigest)| {
            let entry = entries.get(&digest)?;
            (entry.generation > cleared && kind.reaches(entry.issued_until, token.issued_at()))
                .then_some((digest, entry.until))
        };
        let Some((digest, until)) = names_of(token).find_map(concerns) else {
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

    /// How many are in effect.
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
        Revocation { issuer: None, subject: Subject::Jti(name.into()), issued_until: NOW, expires_at }
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
        // An entry that is already there needs no room.
        assert_eq!(record(&["a"], None, NOW.plus(9)), Ok(()));
        assert_eq!(record(&["d"], None, NOW.plus(10)), Ok(()));
        assert_eq!((table.generation(), table.entries(NOW.plus(10))), (5, 3));
        assert_eq!(table.entries(NOW.plus(109)), 1);
        assert_eq!(table.entries(NOW.plus(110)), 0);
    }

    #[test]
    fn fapi2_rs_05_a_revocation_is_kept_from_the_last_iat_that_it_covers() {
        let entries_after = |issued_until, seconds| {
            let table = Revocations::default();
            let subject = Subject::ClientId("a".into());
            let revocation = Revocation { issuer: None, subject, issued_until, expires_at: None };
            assert_eq!(table.record(&[revocation], &settings(1), NOW), Ok(()));
            table.entries(NOW.plus(seconds))
        };
        assert_eq!((entries_after(NOW.plus(10), 109), entries_after(NOW.plus(10), 110)), (1, 0));
        // An event from the past is kept from now on.
        assert_eq!((entries_after(UnixTime(0), 99), entries_after(UnixTime(0), 100)), (1, 0));
    }

    #[test]
    fn a_smaller_table_after_a_reload_keeps_what_it_has() {
        let table = Revocations::default();
        assert_eq!(table.record(&[jti("a", None), jti("b", None)], &settings(2), NOW), Ok(()));
        assert_eq!(table.record(&[jti("c", None)], &settings(1), NOW), Err(RevokeError::Full));
        assert_eq!(table.entries(NOW), 2);
    }
}
