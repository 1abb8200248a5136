//! A fact in bytes, and for how long it counts.
//!
//! A byte with the version, the second in which the issuer was asked as eight bytes, the length of the answer as four, the answer
//! as JSON, and zeros up to the next multiple of [`BLOCK`] bytes, so that the length says little about the answer.

use std::time::Duration;

use super::super::introspection::{ActiveAnswer, Answer};
use crate::UnixTime;

/// What an issuer said of an active token, and when it was asked.
#[derive(Debug)]
pub struct Fact {
    asked_at: UnixTime,
    answer: ActiveAnswer,
}

impl Fact {
    /// The bytes of what an issuer said when it was asked in this second; `None` if it said more than is shared.
    pub fn bytes_of(answer: &ActiveAnswer, asked_at: UnixTime) -> Option<Vec<u8>> {
        let answer = answer.to_json();
        let length = u32::try_from(answer.len()).ok()?;
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&asked_at.0.to_be_bytes());
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&answer);
        bytes.resize(bytes.len().checked_next_multiple_of(BLOCK)?, 0);
        (bytes.len() <= MAX_FACT_BYTES).then_some(bytes)
    }

    /// Reads what [`Self::bytes_of`] wrote; `None` for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() > MAX_FACT_BYTES || !bytes.len().is_multiple_of(BLOCK) {
            return None;
        }
        let (&[VERSION], rest) = bytes.split_first_chunk()? else { return None };
        let (asked_at, rest) = rest.split_first_chunk()?;
        let (length, rest) = rest.split_first_chunk()?;
        let (answer, padding) = rest.split_at_checked(u32::from_be_bytes(*length).try_into().ok()?)?;
        if padding.len() >= BLOCK || padding.iter().any(|byte| *byte != 0) {
            return None;
        }
        let Ok(Answer::Active(answer)) = Answer::from_json(answer) else { return None };
        Some(Self { asked_at: UnixTime(u64::from_be_bytes(*asked_at)), answer })
    }

    /// The longest time for which the issuer may have been asked ago, whichever of the two clocks is ahead; `None` if one of
    /// them is further ahead than ten seconds.
    pub fn age_at(&self, now: UnixTime) -> Option<Duration> {
        let latest = now.plus(CLOCKS);
        (self.asked_at <= latest).then(|| {
            let seconds = latest.since(self.asked_at).saturating_add(ROUNDED);
            Duration::from_secs(seconds)
        })
    }

    /// What the issuer said.
    pub fn into_answer(self) -> ActiveAnswer {
        self.answer
    }
}

/// How long an answer is kept for replicas that use it until `max_age`, and was asked for this long ago; `None` if it is too old
/// for all of them.
pub fn kept_for(max_age: Duration, ago: Duration) -> Option<Duration> {
    const MARGIN: Duration = Duration::from_secs(CLOCKS.saturating_add(ROUNDED));
    max_age.checked_sub(ago)?.checked_sub(MARGIN).filter(|left| !left.is_zero())
}

/// The size above which a fact is not shared.
pub const MAX_FACT_BYTES: usize = 8 * 1024;

/// By how many seconds the clocks of two replicas may differ.
const CLOCKS: u64 = 10;

/// What two times in whole seconds may be further apart than their difference says.
const ROUNDED: u64 = 1;

const BLOCK: usize = 256;
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn answer(members: &Value) -> ActiveAnswer {
        let mut members = members.clone();
        members["active"] = json!(true);
        let Ok(Answer::Active(answer)) = Answer::from_json(members.to_string().as_bytes()) else {
            panic!("the token is active")
        };
        answer
    }

    fn written(members: &Value) -> Vec<u8> {
        Fact::bytes_of(&answer(members), NOW).unwrap()
    }

    fn said(bytes: &[u8]) -> Option<Value> {
        Fact::from_bytes(bytes).map(|fact| serde_json::from_slice(&fact.into_answer().to_json()).unwrap())
    }

    #[test]
    fn a_fact_is_read_as_it_was_written() {
        let members = json!({ "active": true, "sub": "customer-1", "exp": 1_800_000_060.5, "cnf": { "jkt": "x" } });
        let bytes = written(&members);
        assert_eq!((said(&bytes), bytes.len()), (Some(members), BLOCK));
        assert_eq!(Fact::from_bytes(&bytes).unwrap().asked_at, NOW);
    }

    #[test]
    fn nothing_else_is_a_fact() {
        let good = written(&json!({ "sub": "customer-1" }));
        assert!(said(&good).is_some()); // control
        let changed = |place: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[place] = byte;
            bytes
        };
        let mut inactive = good.clone();
        let place = good.windows(4).position(|window| window == b"true").unwrap();
        inactive[place..place + 4].copy_from_slice(b"null");
        for (what, bytes) in [
            ("nothing", Vec::new()),
            ("another version", changed(0, 2)),
            ("a longer answer than there is", changed(11, 0xff)),
            ("a shorter one", changed(12, good[12] - 1)),
            ("one that is longer than memory", changed(9, 0xff)),
            ("something after the answer", changed(BLOCK - 1, 1)),
            ("half of it", good[..BLOCK / 2].to_vec()),
            ("more than it", [&good[..], &[0; BLOCK]].concat()),
            ("a token that is not active", inactive),
            ("too much", vec![0; MAX_FACT_BYTES + BLOCK]),
        ] {
            assert_eq!(said(&bytes), None, "{what}");
        }
    }

    #[test]
    fn what_is_longer_than_a_fact_may_be_is_not_written() {
        let of =
            |size: usize| Fact::bytes_of(&answer(&json!({ "sub": "x".repeat(size) })), NOW).map(|bytes| bytes.len());
        assert_eq!(of(MAX_FACT_BYTES - 100), Some(MAX_FACT_BYTES)); // control
        assert_eq!(of(MAX_FACT_BYTES), None);
        assert_eq!((of(10), of(150), of(300)), (Some(BLOCK), Some(BLOCK), Some(2 * BLOCK)));
    }

    #[test]
    fn int_08_a_fact_is_as_old_as_it_may_be_by_any_of_the_clocks() {
        let fact = Fact::from_bytes(&written(&json!({}))).unwrap();
        let age = |now: u64| fact.age_at(UnixTime(now)).map(|age| age.as_secs());
        // Asked in the last moment of a second, or read in it; and by a clock that was behind.
        assert_eq!((age(NOW.0), age(NOW.0 + 5)), (Some(11), Some(16)));
        // By a clock that is ahead as far as it may be, and further.
        assert_eq!((age(NOW.0 - 10), age(NOW.0 - 11), age(0)), (Some(1), None, None));
        assert_eq!(age(u64::MAX).map(|age| age > 1 << 40), Some(true));
    }

    #[test]
    fn a_fact_is_kept_as_long_as_a_replica_can_use_it() {
        let seconds = |max_age, ago| {
            kept_for(Duration::from_secs(max_age), Duration::from_millis(ago)).map(|left| left.as_millis())
        };
        assert_eq!((seconds(30, 0), seconds(30, 2500)), (Some(19_000), Some(16_500)));
        assert_eq!((seconds(11, 0), seconds(12, 1000), seconds(12, 999)), (None, None, Some(1)));
        assert_eq!((seconds(0, 0), seconds(30, 60_000)), (None, None));
    }

    proptest! {
        #[test]
        fn every_answer_comes_back(at: u64, names in proptest::collection::btree_map("[a-z]{1,8}", "\\PC{0,40}", 0..20)) {
            let mut members = json!(names);
            members["active"] = json!(true);
            let bytes = Fact::bytes_of(&answer(&members), UnixTime(at)).unwrap();
            prop_assert_eq!(Fact::from_bytes(&bytes).unwrap().asked_at, UnixTime(at));
            prop_assert_eq!(said(&bytes), Some(members));
        }

        #[test]
        fn a_fact_that_is_cut_off_is_none(cut in 0..BLOCK) {
            prop_assert_eq!(said(&written(&json!({ "sub": "customer-1" }))[..cut]), None);
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600), place in 0..BLOCK, byte: u8) {
            let _ = said(&bytes);
            let mut padded = bytes;
            padded.resize(padded.len().next_multiple_of(BLOCK), 0);
            let _ = said(&padded);
            let mut changed = written(&json!({ "sub": "customer-1", "exp": NOW.0 }));
            changed[place] = byte;
            let _ = Fact::from_bytes(&changed).map(|fact| fact.age_at(NOW));
        }

        #[test]
        fn the_bound_is_the_same_at_both_ends(max_age in 0..4000u64, asked_at in 0..4000u64, written in 0..4000u64) {
            // What is still kept when it is written can be used at that moment, and at none at which it is not.
            let ago = written.saturating_sub(asked_at);
            let fact = Fact { asked_at: UnixTime(asked_at), answer: answer(&json!({})) };
            let kept = kept_for(Duration::from_secs(max_age), Duration::from_secs(ago)).is_some();
            let used = fact.age_at(UnixTime(asked_at.max(written))).unwrap() < Duration::from_secs(max_age);
            prop_assert_eq!(kept, used);
        }
    }
}
