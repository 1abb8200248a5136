//! The table of revocations: bounded, and checked whenever a token is taken from a cache.
//!
//! Each change of the table increments its generation. A token records the generation up to which it is known not to be
//! revoked, so that between two revocations a check costs a request one atomic load; after one, it costs a look-up of
//! the token's names in the table. The check is made whenever a token is taken from a cache, not when it is inserted,
//! so that a revocation between verification and insertion cannot be missed.
//!
//! Where replicas share their revocations, the table also knows which of its entries the others may lack.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use fapi::UnixTime;
use fapi::revocation::{Kind, Revocation, SubjectDigest, digests_covering, digests_of_consent};
use fapi::token::ActiveToken;

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{PoisonError, RwLock};

/// The revocations of one gateway; they survive a reload.
#[derive(Debug, Default)]
pub struct Revocations {
    /// Incremented with each change; 0 while nothing has been recorded.
    generation: AtomicU64,
    entries: RwLock<Entries>,
}

/// A revocation as it is kept: by its digest alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    pub(crate) digest: SubjectDigest,
    pub(crate) issued_until: UnixTime,
    /// The end of its effect.
    pub(crate) until: UnixTime,
}

/// There is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

#[derive(Debug, Default)]
struct Entries {
    all: HashMap<SubjectDigest, Entry>,
    /// Those that other replicas may lack; `None` while there are none that share them.
    unshared: Option<HashSet<SubjectDigest>>,
    /// How often the list of the replicas has been read again.
    round: u32,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The generation in which it was recorded.
    generation: u64,
    issued_until: UnixTime,
    /// The end of its effect; it is removed only when room is needed.
    until: UnixTime,
    /// In which round the list was last known to have it.
    seen: u32,
}

impl Kept {
    /// The revocation, kept for at least `keep` if it is not known when the last of its tokens expires, and long enough in any
    /// case that every replica hears of it.
    pub(crate) fn of(revocation: &Revocation, keep: Duration, now: UnixTime) -> Self {
        let Revocation { issued_until, expires_at, .. } = *revocation;
        let until = match expires_at {
            // What somebody revokes may be good longer than he knows.
            Some(expires_at) => expires_at.max(now.plus(SHORTEST)),
            // From when the last of its tokens may have been issued, by the clock that writes their `exp` too.
            None => now.max(issued_until).plus(keep.as_secs()),
        };
        Self { digest: revocation.digest(), issued_until, until }
    }

    /// Adds what another covers of the same.
    pub(crate) fn extend(&mut self, other: &Self) {
        self.issued_until = self.issued_until.max(other.issued_until);
        self.until = self.until.max(other.until);
    }

    /// Whether whoever knows this knows the other too.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        self.digest == other.digest && self.issued_until >= other.issued_until && self.until >= other.until
    }
}

impl Entry {
    fn is_covered_by(&self, kept: &Kept) -> bool {
        self.issued_until <= kept.issued_until && self.until <= kept.until
    }
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
        let kept: Vec<Kept> = revocations.iter().map(|revocation| Kept::of(revocation, keep, now)).collect();
        self.take(&kept, max_entries, now)
    }

    /// Takes all of them or, if there would be more than `max_entries`, none. To an entry that is already there, each adds what
    /// it covers beyond that. What is over adds nothing, but whoever says it may know less than this table.
    pub(crate) fn take(&self, kept: &[Kept], max_entries: usize, now: UnixTime) -> Result<(), Full> {
        if kept.is_empty() {
            return Ok(());
        }
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let Entries { all, unshared, round } = &mut *entries;
        let (kept, over): (Vec<Kept>, Vec<Kept>) = kept.iter().copied().partition(|kept| kept.until > now);
        for Kept { digest, .. } in over {
            if let Some(unshared) = unshared
                && all.get(&digest).is_some_and(|entry| entry.until > now)
            {
                unshared.insert(digest);
            }
        }
        if kept.is_empty() {
            return Ok(());
        }
        let fits = |all: &HashMap<SubjectDigest, Entry>| {
            let new = kept.iter().filter(|kept| !all.contains_key(&kept.digest)).count();
            all.len().saturating_add(new) <= max_entries
        };
        if !fits(all) {
            all.retain(|_, entry| entry.until > now);
            if !fits(all) {
                return Err(Full);
            }
        }
        let generation = self.generation.load(Ordering::Acquire).saturating_add(1);
        for kept in kept {
            let Kept { digest, issued_until, until } = kept;
            let entry = all.entry(digest).or_insert(Entry { generation, issued_until, until, seen: *round });
            let whole = entry.is_covered_by(&kept);
            let issued_until = entry.issued_until.max(issued_until);
            *entry = Entry { generation, issued_until, until: entry.until.max(until), seen: *round };
            if let Some(unshared) = unshared {
                // Whoever says it knows so much, and no more.
                if whole {
                    unshared.remove(&digest);
                } else {
                    unshared.insert(digest);
                }
            }
        }
        // Under the lock: a reader of the new generation waits until its entries are in the table.
        self.generation.store(generation, Ordering::Release);
        Ok(())
    }

    /// Notes that other replicas may lack all of them, until they turn out to know one.
    pub(crate) fn share_all(&self) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let Entries { all, unshared, .. } = &mut *entries;
        *unshared = Some(all.keys().copied().collect());
    }

    /// Notes that other replicas may lack these, which were just told.
    pub(crate) fn doubt(&self, kept: &[Kept]) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(unshared) = &mut entries.unshared {
            unshared.extend(kept.iter().map(|kept| kept.digest));
        }
    }

    /// Notes in this round that the list has these, and returns those that say more than this table knows.
    pub(crate) fn seen(&self, kept: Vec<Kept>) -> Vec<Kept> {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let Entries { all, unshared, round } = &mut *entries;
        let says_more = |kept: &Kept| {
            let Some(entry) = all.get_mut(&kept.digest) else { return true };
            if entry.is_covered_by(kept) {
                entry.seen = *round;
                if let Some(unshared) = unshared {
                    unshared.remove(&kept.digest);
                }
            }
            entry.issued_until < kept.issued_until || entry.until < kept.until
        };
        kept.into_iter().filter(says_more).collect()
    }

    /// Ends a round in which all of the list was seen, and begins another one. Returns how many it should have had and did not:
    /// other replicas may lack them.
    pub(crate) fn end_round(&self, now: UnixTime) -> usize {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let Entries { all, unshared, round } = &mut *entries;
        let Some(unshared) = unshared else { return 0 };
        let missed = all.iter().filter(|(_, entry)| entry.seen != *round && entry.until > now);
        // What is known to be lacking is told in any case.
        let count = missed.filter(|(digest, _)| unshared.insert(**digest)).count();
        *round = round.wrapping_add(1);
        count
    }

    /// Some that other replicas may lack and that are in effect, at most so many.
    pub(crate) fn unshared(&self, most: usize, now: UnixTime) -> Vec<Kept> {
        let mut some = Vec::new();
        if self.entries.read().unwrap_or_else(PoisonError::into_inner).unshared.as_ref().is_none_or(HashSet::is_empty) {
            return some;
        }
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let Entries { all, unshared, .. } = &mut *entries;
        let Some(unshared) = unshared else { return some };
        let mut over = Vec::new();
        for digest in unshared.iter() {
            match all.get(digest).filter(|entry| entry.until > now) {
                Some(Entry { issued_until, until, .. }) => {
                    some.push(Kept { digest: *digest, issued_until: *issued_until, until: *until });
                }
                None => over.push(*digest),
            }
            if some.len() >= most {
                break;
            }
        }
        for digest in over {
            unshared.remove(&digest);
        }
        some
    }

    /// Notes that other replicas know so much now.
    pub(crate) fn shared(&self, kept: &[Kept]) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        let Entries { all, unshared: Some(unshared), round } = &mut *entries else { return };
        for kept in kept {
            match all.get_mut(&kept.digest) {
                Some(entry) if !entry.is_covered_by(kept) => continue,
                Some(entry) => entry.seen = *round,
                None => {}
            }
            unshared.remove(&kept.digest);
        }
        if unshared.is_empty() {
            unshared.shrink_to_fit();
        }
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
            let entry = entries.all.get(&digest)?;
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
            let Entries { all, unshared, .. } = &mut *entries;
            if let Some(entry) = all.get_mut(&digest) {
                entry.until = entry.until.max(end);
                if let Some(unshared) = unshared {
                    unshared.insert(digest);
                }
            }
        }
        false
    }

    /// Whether one that is in effect is about this consent. Without any revocation, that costs one atomic load.
    pub(crate) fn names_consent(&self, issuer: Option<&str>, id: &str, now: UnixTime) -> bool {
        if self.generation() == 0 {
            return false;
        }
        let digests = digests_of_consent(issuer, id);
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        digests.iter().any(|digest| entries.all.get(digest).is_some_and(|entry| entry.until > now))
    }

    /// How many are in effect.
    pub(crate) fn entries(&self, now: UnixTime) -> usize {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.all.values().filter(|entry| entry.until > now).count()
    }
}

/// For how many seconds a revocation is kept at least: the clock of a replica may be ten seconds off, and it has to hear of it.
const SHORTEST: u64 = 20;

#[cfg(test)]
mod tests {
    use fapi::credentials::PresentedToken;
    use fapi::revocation::Subject;
    use fapi::token::introspection::Answer;
    use fapi::token::{AccessTokenForm, Expected, MissingAudience, TokenIds};
    use serde_json::json;

    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);
    const KEEP: Duration = Duration::from_secs(100);

    fn jti(name: &str, expires_at: Option<UnixTime>) -> Revocation {
        Revocation { issuer: None, subject: Subject::Jti(name.into()), issued_until: NOW, expires_at }
    }

    /// A token with this `jti` that ends then.
    fn introspected(jti: &str, end: UnixTime) -> ActiveToken {
        let answer = json!({ "active": true, "aud": "https://api.example", "jti": jti, "exp": end.0 }).to_string();
        let Ok(Answer::Active(answer)) = Answer::from_json(answer.as_bytes()) else { panic!("the token is active") };
        let ids = TokenIds::of(PresentedToken::parse("token").unwrap());
        let expected = Expected {
            name: "bank".into(),
            issuer: "https://bank.example".into(),
            audiences: vec!["https://api.example".into()],
            algorithms: Vec::new(),
            rs256: None,
            form: AccessTokenForm::default(),
        };
        ActiveToken::from_introspection(answer, ids, &expected, MissingAudience::Refuse, NOW).unwrap()
    }

    #[test]
    fn a_full_table_takes_nothing_and_forgets_only_what_is_over() {
        let table = Revocations::default();
        let record = |names: &[&str], expires_at, now| {
            let revocations: Vec<_> = names.iter().map(|name| jti(name, expires_at)).collect();
            table.record(&revocations, KEEP, 3, now)
        };
        assert_eq!(record(&["a"], None, NOW), Ok(()));
        assert_eq!(record(&["b"], Some(NOW.plus(30)), NOW), Ok(()));
        assert_eq!((table.generation(), table.entries(NOW)), (2, 2));
        // All of them or none.
        assert_eq!(record(&["c", "d"], None, NOW), Err(Full));
        assert_eq!((table.generation(), table.entries(NOW)), (2, 2));
        assert_eq!(record(&["c"], None, NOW), Ok(())); // control
        assert_eq!(record(&["d"], None, NOW.plus(29)), Err(Full));
        // An entry that is already there needs no room.
        assert_eq!(record(&["a"], None, NOW.plus(29)), Ok(()));
        assert_eq!(record(&["d"], None, NOW.plus(30)), Ok(()));
        assert_eq!((table.generation(), table.entries(NOW.plus(30))), (5, 3));
        assert_eq!(table.entries(NOW.plus(129)), 1);
        assert_eq!(table.entries(NOW.plus(130)), 0);
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
    fn what_others_lack_is_known_until_they_say_that_they_know_it() {
        let table = Revocations::default();
        let kept = |name: &str, issued_until, until| Kept {
            digest: jti(name, None).digest(),
            issued_until: NOW.plus(issued_until),
            until: NOW.plus(until),
        };
        let unshared = |most| {
            let mut some = table.unshared(most, NOW);
            some.sort_by_key(|kept| kept.until);
            some
        };
        let (a, b, over) = (kept("a", 0, 10), kept("b", 0, 20), kept("over", 0, 0));
        assert_eq!(table.take(&[a, b, over], 9, NOW), Ok(()));
        assert_eq!(unshared(9), [], "nobody shares them");
        table.share_all();
        assert_eq!(unshared(9), [a, b]);
        assert_eq!(unshared(1).len(), 1);
        // Others know it, or less of it, or more.
        table.shared(&[kept("a", 0, 9)]);
        assert_eq!(unshared(9), [a, b]);
        table.shared(&[a]);
        assert_eq!(unshared(9), [b]);
        assert_eq!(table.take(&[kept("b", 1, 19)], 9, NOW), Ok(()));
        assert_eq!(unshared(9), [kept("b", 1, 20)], "each knows what the other does not");
        assert_eq!(table.take(&[kept("b", 1, 21)], 9, NOW), Ok(()));
        assert_eq!(unshared(9), []);
        assert_eq!(table.take(&[kept("a", 0, 5)], 9, NOW), Ok(()));
        assert_eq!(unshared(9), [a], "they know less than they did");
    }

    #[test]
    fn what_the_list_lacks_at_the_end_of_a_round_is_told_again() {
        let table = Revocations::default();
        let kept =
            |name: &str, until| Kept { digest: jti(name, None).digest(), issued_until: NOW, until: NOW.plus(until) };
        let (a, b) = (kept("a", 10), kept("b", 20));
        let unshared = || table.unshared(9, NOW);
        assert_eq!(table.take(&[a, b], 9, NOW), Ok(()));
        assert_eq!((table.end_round(NOW), table.end_round(NOW)), (0, 0), "nobody shares them");
        table.share_all();
        table.shared(&[a, b]);
        assert_eq!((table.end_round(NOW), unshared()), (0, vec![]), "they were told in this round");
        let generation = table.generation();
        assert_eq!(table.seen(vec![a, b]), []);
        assert_eq!((table.end_round(NOW), unshared()), (0, vec![]), "control: the list has them");
        assert_eq!(table.generation(), generation, "no token is checked again for it");
        assert_eq!(table.seen(vec![a]), []);
        assert_eq!((table.end_round(NOW), unshared()), (1, vec![b]));
        assert_eq!(table.seen(vec![a]), []);
        assert_eq!((table.end_round(NOW), unshared()), (0, vec![b]), "it is known to be lacking");
        // Less than is known is not enough, and more is taken.
        table.shared(&[b]);
        assert_eq!(
            (table.seen(vec![a, kept("b", 19)]), table.end_round(NOW)),
            (vec![], 0),
            "it was told in this round"
        );
        assert_eq!((table.seen(vec![a, kept("b", 19)]), table.end_round(NOW), unshared()), (vec![], 1, vec![b]));
        let (more, new) = (kept("b", 21), kept("c", 30));
        assert_eq!(table.seen(vec![a, more, new]), [more, new]);
        assert_eq!((table.take(&[more, new], 9, NOW), table.end_round(NOW)), (Ok(()), 0));
        // What is over may leave the list.
        assert_eq!(table.seen(vec![a, new]), []);
        assert_eq!(table.end_round(NOW.plus(21)), 0);
    }

    #[test]
    fn a_list_that_says_that_something_is_over_which_is_not_lacks_it() {
        let table = Revocations::default();
        let digest = jti("a", None).digest();
        let kept = |until: u64| Kept { digest, issued_until: NOW, until: UnixTime(until) };
        let known = kept(NOW.0 + 10);
        assert_eq!(table.take(&[known], 9, NOW), Ok(()));
        table.share_all();
        table.shared(&[known]);
        assert_eq!(table.take(&[known], 9, NOW), Ok(()));
        assert_eq!(table.unshared(9, NOW), [], "control");
        let generation = table.generation();
        assert_eq!(table.take(&[kept(0)], 9, NOW), Ok(()));
        assert_eq!((table.unshared(9, NOW), table.generation()), (vec![known], generation));
        assert_eq!(table.take(&[Kept { digest: jti("b", None).digest(), ..kept(0) }], 9, NOW), Ok(()));
        assert_eq!(table.entries(NOW), 1, "another that is over is none");
    }

    #[test]
    fn fapi2_rs_05_a_revocation_whose_end_has_passed_is_kept_until_all_replicas_have_heard_of_it() {
        let until = |exp| Kept::of(&jti("a", Some(exp)), KEEP, NOW).until;
        assert_eq!(until(NOW.plus(21)), NOW.plus(21), "control");
        for exp in [UnixTime(0), UnixTime(NOW.0 - 1), NOW, NOW.plus(19)] {
            assert_eq!(until(exp), NOW.plus(20), "{exp:?}");
        }
    }

    #[test]
    fn fapi2_rs_05_a_revocation_that_is_kept_longer_for_a_token_is_shared_again() {
        let table = Revocations::default();
        let (end, revocation) = (NOW.plus(5000), jti("a", None));
        let token = introspected("a", end);
        let kept = Kept::of(&revocation, KEEP, NOW);
        assert_eq!(table.take(&[kept], 9, NOW), Ok(()));
        table.share_all();
        table.shared(&[kept]);
        assert_eq!(table.unshared(9, NOW), [], "control");
        assert!(!table.clears(&token));
        assert_eq!(table.unshared(9, NOW), [Kept { until: end, ..kept }]);
    }

    #[test]
    fn a_smaller_table_after_a_reload_keeps_what_it_has() {
        let table = Revocations::default();
        assert_eq!(table.record(&[jti("a", None), jti("b", None)], KEEP, 2, NOW), Ok(()));
        assert_eq!(table.record(&[jti("c", None)], KEEP, 1, NOW), Err(Full));
        assert_eq!(table.entries(NOW), 2);
    }
}
