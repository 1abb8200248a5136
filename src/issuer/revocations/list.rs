//! The list of revocations in a store that replicas share, as the server has it.
//!
//! Each change has a number, one more than that of the change before, and is one script: the server carries out scripts one
//! after the other and as a whole, so entry and number change together. Whoever knows the list up to a number asks for what
//! comes after it. Numbers of another list are never compared with those of this one: a list has a name, which is given when
//! the first number is, and the server says since when it keeps entries, which is another time after a restart or a fail-over.
//!
//! There are five keys: the name with the last number; a hash of the entries; two sorted sets of their digests, by number and
//! by their end; and, while somebody tells the list what it has lost, one that says so.
//!
//! Others may write there too. What they write is read as if it were an entry, counts as unreadable, or makes the list
//! disordered: then it is numbered anew, and read as a whole by everybody.

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

impl Identity {
    /// Whether nothing has been written since the list was made.
    pub(super) const fn is_unnamed(&self) -> bool {
        self.name.is_empty()
    }
}

/// From where on entries are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// All of them, whatever their numbers.
    Beginning,
    /// Those after a number.
    After(u64),
}

/// Some entries, in the order of their numbers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) of: Identity,
    pub(super) kept: Vec<Kept>,
    /// The number of the last of them, or from where on they were read if there are none.
    pub(super) last: Start,
    /// The last number of the list.
    pub(super) number: u64,
    /// How many others there are that cannot be read.
    pub(super) unreadable: usize,
    /// Whether there may be more.
    pub(super) is_full: bool,
    /// Whether the numbers are others than those that are given: what is recorded next might not be found by them.
    pub(super) is_disordered: bool,
    /// Whether somebody is telling the list what it has lost.
    pub(super) is_being_told: bool,
}

/// What became of entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// They are in the list, whose last number this is.
    Recorded(u64),
    Full,
}

/// Whether entries that say nothing new count as a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Occasion {
    /// Somebody revoked it just now: what issuers have said meanwhile no longer counts.
    Revoked,
    /// It was known before.
    Known {
        /// Whether there is more to add that was.
        more: bool,
    },
}

/// Reads entries.
pub(super) async fn read(store: &Store, from: Start) -> Result<Page, NoAnswer> {
    let mut question = script(store, READ);
    match from {
        Start::Beginning => question.arg("-inf"),
        Start::After(number) => question.arg(format!("({number}")),
    };
    question.arg(PAGE);
    store.ask_for(LONGEST_PAGE, &question, |answer| page(answer, from)).await
}

/// Whether the list has all of these, which were recorded one after the other up to this number.
pub(super) async fn has(store: &Store, kept: &[Kept], last: u64) -> Result<bool, NoAnswer> {
    let count = u64::try_from(kept.len()).unwrap_or(u64::MAX);
    let page = read(store, Start::After(last.saturating_sub(count))).await?;
    Ok(kept.iter().all(|kept| page.kept.iter().any(|found| found.covers(kept))))
}

/// Gives the list a name if it has none, and its entries other numbers and another name if it is still this one, whose numbers
/// are in disorder.
pub(super) async fn put_in_order(store: &Store, of: &Identity) -> Result<(), NoAnswer> {
    let mut question = script(store, WRITE);
    question.arg(0).arg(0).arg("0").arg("0").arg(&of.name);
    store.ask(&question, written).await.map(drop)
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
    let flag = |said: bool| if said { "1" } else { "0" };
    question.arg(max_entries).arg(over).arg(flag(occasion == Occasion::Revoked));
    question.arg(flag(occasion == Occasion::Known { more: true })).arg("");
    for Kept { digest, issued_until, until } in kept {
        question.arg(digest.as_bytes()).arg(issued_until.0).arg(until.0);
    }
    match occasion {
        Occasion::Revoked => store.write(&question, written, |written| *written != Written::Full).await,
        Occasion::Known { .. } => store.ask(&question, written).await,
    }
}

fn written(answer: &Value) -> Option<Written> {
    let Value::Int(number) = answer else { return None };
    match number {
        -1 => Some(Written::Full),
        _ => Some(Written::Recorded(u64::try_from(*number).ok()?)),
    }
}

fn script(store: &Store, text: &str) -> Cmd {
    let mut question = cmd("EVAL");
    question.arg(text).arg(6);
    for name in [BEGAN, "revoked:version", "revoked:list", "revoked:order", "revoked:ends", "revoked:telling"] {
        question.arg(store.settings().key(name));
    }
    question
}

fn page(answer: &Value, from: Start) -> Option<Page> {
    let Value::Array(parts) = answer else { return None };
    let [
        Value::BulkString(began),
        Value::BulkString(name),
        Value::BulkString(number),
        Value::Int(telling),
        Value::Array(entries),
    ] = &**parts
    else {
        return None;
    };
    if entries.len() % 3 != 0 || entries.len() / 3 > PAGE {
        return None;
    }
    let of = Identity { began: began.clone(), name: name.clone() };
    let (mut kept, mut last, mut unreadable) = (Vec::new(), from, 0_usize);
    let mut numbers = Vec::new();
    for entry in entries.chunks(3) {
        let [digest, times, number] = entry else { return None };
        match entry_of(digest, times) {
            Some(found) => kept.push(found),
            None => unreadable = unreadable.saturating_add(1),
        }
        numbers.push(number_of(number));
    }
    let is_full = numbers.len() == PAGE;
    // Of a full page, the last one begins the next page too: so two with one number are never on two pages.
    let ends_with = if is_full { numbers.iter().rev().nth(1) } else { numbers.last() };
    if let Some(Some(number)) = ends_with {
        last = Start::After(*number);
    }
    let highest = numbers.last().copied().flatten().unwrap_or_default();
    let number = match &**name {
        b"" => None,
        _ => std::str::from_utf8(number).ok().and_then(|text| text.parse().ok()).filter(|number| *number < COUNTABLE),
    };
    let is_unnumbered = number.is_none() && (!name.is_empty() || !numbers.is_empty());
    let is_disordered = is_unnumbered
        || numbers.iter().any(Option::is_none)
        || !numbers.is_sorted_by(|one, next| one < next)
        || highest > number.unwrap_or_default();
    let number = number.unwrap_or_default();
    Some(Page { of, kept, last, number, unreadable, is_full, is_disordered, is_being_told: *telling != 0 })
}

fn entry_of(digest: &Value, times: &Value) -> Option<Kept> {
    let (Value::BulkString(digest), Value::BulkString(times)) = (digest, times) else { return None };
    let digest = SubjectDigest::from_bytes(digest.as_slice().try_into().ok()?);
    let (issued_until, until) = std::str::from_utf8(times).ok()?.split_once(' ')?;
    let second = |text: &str| text.parse().ok().filter(|second| *second < COUNTABLE).map(UnixTime);
    Some(Kept { digest, issued_until: second(issued_until)?, until: second(until)? })
}

/// The number of an entry, as the list gives them.
fn number_of(number: &Value) -> Option<u64> {
    let Value::BulkString(number) = number else { return None };
    std::str::from_utf8(number).ok()?.parse().ok().filter(|number| (1..COUNTABLE).contains(number))
}

const READ: &str = include_str!("read.lua");

const WRITE: &str = include_str!("write.lua");

/// How many entries are read at a time.
pub(super) const PAGE: usize = 500;
/// Up to here, and far beyond, each number has one more, as a number of the scripts.
const COUNTABLE: u64 = 1 << 52;
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
        numbered("13", entries)
    }

    fn numbered(last: &str, entries: Vec<Value>) -> Value {
        let (began, name) = (bulk("a1b2c3d4 1800000000"), bulk("1800000000.5"));
        Value::Array(vec![began, name, bulk(last), Value::Int(0), Value::Array(entries)])
    }

    const DIGEST: [u8; 32] = [7; 32];
    const SECONDS: &str = "1800000010 1800086400";
    const GOOD: Kept = Kept {
        digest: SubjectDigest::from_bytes(DIGEST),
        issued_until: UnixTime(1_800_000_010),
        until: UnixTime(1_800_086_400),
    };

    #[test]
    fn a_page_has_what_can_be_read_and_counts_the_rest() {
        let after = Start::After(11);
        let read = page(&answer(entry(&DIGEST, SECONDS, "12").to_vec()), after).unwrap();
        let of = Identity { began: "a1b2c3d4 1800000000".into(), name: "1800000000.5".into() };
        let good = Page {
            of,
            kept: vec![GOOD],
            last: Start::After(12),
            number: 13,
            unreadable: 0,
            is_full: false,
            is_disordered: false,
            is_being_told: false,
        };
        assert_eq!(read, good);
        for bad in [
            entry(&[7; 31], SECONDS, "12"),
            entry(&[7; 33], SECONDS, "12"),
            entry(&DIGEST, "", "12"),
            entry(&DIGEST, "1800000010", "12"),
            entry(&DIGEST, "1800000010 1800086400 1", "12"),
            entry(&DIGEST, "-1 1800086400", "12"),
            entry(&DIGEST, "1800000010 1e9", "12"),
            entry(&DIGEST, "1800000010 99999999999999999999999999", "12"),
            entry(&DIGEST, "18446744073709551615 1800086400", "12"),
            entry(&DIGEST, "inf 1800086400", "12"),
            entry(&DIGEST, "\u{e9} 1", "12"),
            [bulk(DIGEST), Value::Nil, bulk("12")],
        ] {
            let read = page(&answer([bad.to_vec(), entry(&DIGEST, SECONDS, "13").to_vec()].concat()), after).unwrap();
            let expected = (vec![GOOD], Start::After(13), 1, false);
            assert_eq!((read.kept, read.last, read.unreadable, read.is_disordered), expected, "{bad:?}");
        }
    }

    #[test]
    fn numbers_that_the_list_does_not_give_are_a_disorder() {
        let disordered = |last: &str, numbers: &[&str]| {
            let entries = numbers.iter().flat_map(|number| entry(&DIGEST, SECONDS, number)).collect();
            let read = page(&numbered(last, entries), Start::Beginning).unwrap();
            assert_eq!((read.kept.len(), read.unreadable), (numbers.len(), 0), "all of them count");
            read.is_disordered
        };
        for (last, numbers) in
            [("13", &["12", "13"][..]), ("13", &["1", "2"]), ("13", &[]), ("4503599627370495", &["1"])]
        {
            assert!(!disordered(last, numbers), "control: {last} {numbers:?}");
        }
        for (last, numbers) in [
            ("12", &["12", "13"][..]),
            ("0", &["1"]),
            ("", &["1"]),
            ("", &[]),
            ("x", &["1"]),
            ("4503599627370496", &["1"]),
            ("99999999999999999999", &["1"]),
            ("13", &["12", "12"]),
            ("13", &["13", "12"]),
            ("13", &["0", "12"]),
            ("13", &["-5", "12"]),
            ("13", &["-inf", "12"]),
            ("13", &["12", "inf"]),
            ("13", &["12", "12.5"]),
            ("13", &["12", "1e+17"]),
            ("13", &["", "12"]),
        ] {
            assert!(disordered(last, numbers), "{last} {numbers:?}");
        }
        let unnamed = |entries: &[Value]| {
            let parts = [bulk("a"), bulk(""), bulk(""), Value::Int(0), Value::Array(entries.to_vec())];
            page(&Value::Array(parts.to_vec()), Start::Beginning).unwrap().is_disordered
        };
        assert!(!unnamed(&[]), "control: a list that nobody has written");
        assert!(unnamed(&entry(&DIGEST, SECONDS, "1")));
    }

    #[test]
    fn the_last_entry_of_a_full_page_begins_the_next_one_too() {
        let entries = |count: usize| {
            let of = |number: usize| entry(&DIGEST, SECONDS, &number.to_string());
            numbered("1000", (1..=count).flat_map(of).collect())
        };
        let last = |count| page(&entries(count), Start::Beginning).map(|page| (page.is_full, page.last));
        assert_eq!(last(PAGE - 1), Some((false, Start::After(499))), "control");
        assert_eq!(last(PAGE), Some((true, Start::After(499))));
    }

    #[test]
    fn an_answer_that_is_no_page_is_none() {
        let page = |answer: &Value| page(answer, Start::Beginning);
        let entries = |count: usize| vec![bulk("x"); count];
        assert!(page(&answer(entries(3 * PAGE))).is_some_and(|page| page.is_full)); // control
        for bad in [
            Value::Nil,
            Value::Okay,
            Value::Int(1),
            Value::Array(vec![]),
            Value::Array(vec![bulk("a"), bulk("b")]),
            Value::Array(vec![bulk("a"), bulk("b"), bulk("c")]),
            Value::Array(vec![bulk("a"), bulk("b"), bulk("1"), Value::Int(0), bulk("c")]),
            Value::Array(vec![bulk("a"), bulk("b"), bulk("1"), bulk("0"), Value::Array(vec![])]),
            Value::Array(vec![Value::Nil, bulk("b"), bulk("1"), Value::Int(0), Value::Array(vec![])]),
            answer(entries(1)),
            answer(entries(3 * PAGE + 3)),
        ] {
            assert_eq!(page(&bad), None);
        }
    }

    #[test]
    fn only_a_number_says_that_something_was_written() {
        assert_eq!(written(&Value::Int(1)), Some(Written::Recorded(1))); // control
        assert_eq!(written(&Value::Int(-1)), Some(Written::Full));
        for other in [Value::Int(-2), Value::Okay, Value::Nil, Value::Boolean(true), bulk("1")] {
            assert_eq!(written(&other), None, "{other:?}");
        }
    }
}
