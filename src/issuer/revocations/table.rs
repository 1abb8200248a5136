//! The table of revocations: bounded, and checked whenever a token is taken from a cache.
//!
//! Each change of the table increments its generation. A token records the generation up to which it is known not to be
//! revoked, so that between two revocations a check costs a request one atomic load; after one, it costs a look-up of
//! the token's names in the table. The check is made whenever a token is taken from a cache, not when it is inserted,
//! so that a revocation between verification and insertion cannot be missed.

use std::collections::HashMap;
use std::time::Duration;

use fapi::UnixTime;
use fapi::revocation::{Kind, Revocation, SubjectDigest, digests_covering};
use fapi::token::ActiveToken;

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{PoisonError, RwLock};

/// The revocations of one gateway; they survive a reload.
#[derive(Debug, Default)]
pub struct Revocations {
    /// Incremented with each change; 0 while nothing has been recorded.
    generation: AtomicU64,
    entries: RwLock<HashMap<SubjectDigest, Entry>>,
}

/// There is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

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
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Records all of them or, if there would be more than `max_entries`, none. Each is kept for at least `keep` if it is not
    /// known when the last of its tokens expires.
    pub(crate) fn record(
        &self,
        revocations: &[Revocation],
        keep: Duration,
        max_entries: usize,
        now: UnixTime,
    ) -> Result<(), Full> {
        if revocations.is_empty() {
            return Ok(());
        }
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let digests: Vec<SubjectDigest> = revocations.iter().map(Revocation::digest).collect();
        let fits = |entries: &HashMap<SubjectDigest, Entry>| {
            let new = digests.iter().filter(|digest| !entries.contains_key(*digest)).count();
            entries.len().saturating_add(new) <= max_entries
        };
        if !fits(&entries) {
            entries.retain(|_, entry| entry.until > now);
            if !fits(&entries) {
                return Err(Full);
            }
        }
        let generation = self.generation.load(Ordering::Acquire).saturating_add(1);
        for (digest, Revocation { issued_until, expires_at, .. }) in digests.into_iter().zip(revocations) {
            let issued_until = *issued_until;
            // From when the last of its tokens may have been issued, by the clock that writes their `exp` too.
            let until = expires_at.unwrap_or_else(|| now.max(issued_until).plus(keep.as_secs()));
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
    pub(crate) fn clears(&self, token: &ActiveToken) -> bool {
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
        let Some((digest, until)) = digests_covering(token).find_map(concerns) else {
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
    pub(crate) fn entries(&self, now: UnixTime) -> usize {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.values().filter(|entry| entry.until > now).count()
    }
}

#[cfg(test)]
mod tests {
    use fapi::revocation::Subject;

    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);
    const KEEP: Duration = Duration::from_secs(100);

    fn jti(name: &str, expires_at: Option<UnixTime>) -> Revocation {
        Revocation { issuer: None, subject: Subject::Jti(name.into()), issued_until: NOW, expires_at }
    }

    #[test]
    fn a_full_table_takes_nothing_and_forgets_only_what_is_over() {
        let table = Revocations::default();
        let record = |names: &[&str], expires_at, now| {
            let revocations: Vec<_> = names.iter().map(|name| jti(name, expires_at)).collect();
            table.record(&revocations, KEEP, 3, now)
        };
        assert_eq!(record(&["a"], None, NOW), Ok(()));
        assert_eq!(record(&["b"], Some(NOW.plus(10)), NOW), Ok(()));
        assert_eq!((table.generation(), table.entries(NOW)), (2, 2));
        // All of them or none.
        assert_eq!(record(&["c", "d"], None, NOW), Err(Full));
        assert_eq!((table.generation(), table.entries(NOW)), (2, 2));
        assert_eq!(record(&["c"], None, NOW), Ok(())); // control
        assert_eq!(record(&["d"], None, NOW.plus(9)), Err(Full));
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
            assert_eq!(table.record(&[revocation], KEEP, 1, NOW), Ok(()));
            table.entries(NOW.plus(seconds))
        };
        assert_eq!((entries_after(NOW.plus(10), 109), entries_after(NOW.plus(10), 110)), (1, 0));
        // An event from the past is kept from now on.
        assert_eq!((entries_after(UnixTime(0), 99), entries_after(UnixTime(0), 100)), (1, 0));
    }

    #[test]
    fn a_smaller_table_after_a_reload_keeps_what_it_has() {
        let table = Revocations::default();
        assert_eq!(table.record(&[jti("a", None), jti("b", None)], KEEP, 2, NOW), Ok(()));
        assert_eq!(table.record(&[jti("c", None)], KEEP, 1, NOW), Err(Full));
        assert_eq!(table.entries(NOW), 2);
    }
}
