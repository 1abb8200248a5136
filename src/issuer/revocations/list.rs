//! The list of revocations in a store that replicas share, as the server has it.
//!
//! Each change has a number, one more than that of the change before, and is one script: the server carries out scripts one
//! after the other and as a whole, so entry and number change together. Whoever knows the list up to a number asks for what
//! comes after it. Numbers of another list are never compared with those of this one: a list has a name, which is given when
//! the first number is, and the server says since when it keeps entries, which is another time after a restart or a fail-over.
//!
//! There are four keys: the name with the last number; a hash of the entries; and two sorted sets of their digests, by number and
//! by their end.

use fapi::UnixTime;
use fapi::revocation::SubjectDigest;
use redis::{Cmd, Value, cmd};

use super::table::Kept;
use crate::store::{BEGAN, NoAnswer, Store};

/// Which list it is, in which run of which server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    began: Vec<u8>,
    name: Vec<u8>,
}

/// Some entries, in the order of their numbers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) of: Identity,
    pub(super) kept: Vec<Kept>,
    /// The number of the last of them.
    pub(super) last: u64,
    /// How many others there are that cannot be read.
    pub(super) unreadable: usize,
    /// Whether there may be more.
    pub(super) is_full: bool,
}

/// What became of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    Recorded,
    Full,
}

/// Whether entries that say nothing new count as a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// Somebody revoked it just now: what issuers have said meanwhile no longer counts.
    Revoked,
    /// It was known before.
    Known,
}

/// Reads what comes after a number.
pub(super) async fn read(store: &Store, after: u64) -> Result<Page, NoAnswer> {
    let mut question = script(store, READ);
    question.arg(after).arg(PAGE);
    store.ask_for(LONGEST_PAGE, &question, |answer| page(answer, after)).await
}

/// Adds what these cover to the list, if it has room for all of them.
pub(super) async fn write(
    store: &Store,
    kept: &[Kept],
    occasion: Occasion,
    max_entries: usize,
    now: UnixTime,
) -> Result<Written, NoAnswer> {
    let mut question = script(store, WRITE);
    let over = now.0.saturating_sub(CLOCKS);
    question.arg(max_entries).arg(over).arg(if occasion == Occasion::Revoked { "1" } else { "0" });
    for Kept { digest, issued_until, until } in kept {
        question.arg(digest.as_bytes()).arg(issued_until.0).arg(until.0);
    }
    let written = |answer: &Value| match (*answer == Value::Int(1), *answer == Value::Int(0)) {
        (true, _) => Some(Written::Recorded),
        (_, true) => Some(Written::Full),
        (false, false) => None,
    };
    match occasion {
        Occasion::Revoked => store.write(&question, written, |written| *written == Written::Recorded).await,
        Occasion::Known => store.ask(&question, written).await,
    }
}

fn script(store: &Store, text: &str) -> Cmd {
    let mut question = cmd("EVAL");
    question.arg(text).arg(5);
    for name in [BEGAN, "revoked:version", "revoked:list", "revoked:order", "revoked:ends"] {
        question.arg(store.settings().key(name));
    }
    question
}

fn page(answer: &Value, after: u64) -> Option<Page> {
    let Value::Array(parts) = answer else { return None };
    let [Value::BulkString(began), Value::BulkString(name), Value::Array(entries)] = &**parts else { return None };
    if entries.len() % 3 != 0 || entries.len() / 3 > PAGE {
        return None;
    }
    let of = Identity { began: began.clone(), name: name.clone() };
    let (mut kept, mut last, mut unreadable) = (Vec::new(), after, 0_usize);
    for entry in entries.chunks(3) {
        match entry_of(entry) {
            Some((found, number)) => {
                kept.push(found);
                last = last.max(number);
            }
            None => unreadable = unreadable.saturating_add(1),
        }
    }
    Some(Page { of, kept, last, unreadable, is_full: entries.len() / 3 == PAGE })
}

fn entry_of(parts: &[Value]) -> Option<(Kept, u64)> {
    let [Value::BulkString(digest), Value::BulkString(times), Value::BulkString(number)] = parts else { return None };
    let digest = SubjectDigest::from_bytes(digest.as_slice().try_into().ok()?);
    let (issued_until, until) = std::str::from_utf8(times).ok()?.split_once(' ')?;
    let second = |text: &str| text.parse().ok().map(UnixTime);
    let kept = Kept { digest, issued_until: second(issued_until)?, until: second(until)? };
    Some((kept, std::str::from_utf8(number).ok()?.parse().ok()?))
}

const READ: &str = include_str!("read.lua");

const WRITE: &str = include_str!("write.lua");

/// How many entries are read at a time.
pub(super) const PAGE: usize = 500;
/// A page of which every part is as long as the script leaves it.
const LONGEST_PAGE: u64 = 80 * 1024;
/// For how many seconds entries stay in the list after their end: the clock of another replica may be behind.
const CLOCKS: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn bulk(text: impl AsRef<[u8]>) -> Value {
        Value::BulkString(text.as_ref().to_vec())
    }

    fn entry(digest: &[u8], times: &str, number: &str) -> [Value; 3] {
        [bulk(digest), bulk(times), bulk(number)]
    }

    fn answer(entries: Vec<Value>) -> Value {
        Value::Array(vec![bulk("a1b2c3d4 1800000000"), bulk("1800000000.5"), Value::Array(entries)])
    }

    #[test]
    fn a_page_has_what_can_be_read_and_counts_the_rest() {
        let (digest, seconds) = ([7; 32], "1800000010 1800086400");
        let good = Kept {
            digest: SubjectDigest::from_bytes(digest),
            issued_until: UnixTime(1_800_000_010),
            until: UnixTime(1_800_086_400),
        };
        let read = page(&answer(entry(&digest, seconds, "12").to_vec()), 11).unwrap();
        let of = Identity { began: "a1b2c3d4 1800000000".into(), name: "1800000000.5".into() };
        assert_eq!(read, Page { of, kept: vec![good], last: 12, unreadable: 0, is_full: false });
        for bad in [
            entry(&[7; 31], seconds, "13"),
            entry(&[7; 33], seconds, "13"),
            entry(&digest, "", "13"),
            entry(&digest, "1800000010", "13"),
            entry(&digest, "1800000010 1800086400 1", "13"),
            entry(&digest, "-1 1800086400", "13"),
            entry(&digest, "1800000010 1e9", "13"),
            entry(&digest, "\u{e9} 1", "13"),
            entry(&digest, seconds, "13.5"),
            entry(&digest, seconds, "inf"),
            entry(&digest, seconds, ""),
            [bulk(digest), Value::Nil, bulk("13")],
        ] {
            let read = page(&answer([bad.to_vec(), entry(&digest, seconds, "12").to_vec()].concat()), 11).unwrap();
            assert_eq!((read.kept, read.last, read.unreadable), (vec![good], 12, 1), "{bad:?}");
        }
    }

    #[test]
    fn an_answer_that_is_no_page_is_none() {
        let entries = |count: usize| vec![bulk("x"); count];
        assert!(page(&answer(entries(3 * PAGE)), 0).is_some_and(|page| page.is_full)); // control
        for bad in [
            Value::Nil,
            Value::Okay,
            Value::Int(1),
            Value::Array(vec![]),
            Value::Array(vec![bulk("a"), bulk("b")]),
            Value::Array(vec![bulk("a"), bulk("b"), bulk("c")]),
            Value::Array(vec![Value::Nil, bulk("b"), Value::Array(vec![])]),
            answer(entries(1)),
            answer(entries(3 * PAGE + 3)),
        ] {
            assert_eq!(page(&bad, 0), None);
        }
    }
}
