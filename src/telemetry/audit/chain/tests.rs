//! What is written is found good, and whatever is done to it is found.

use fapi::jose::keys::Algorithm;
use fapi::jose::signing::PrivateKey;
use proptest::prelude::*;
use serde_json::Value;

use super::*;

/// A key, and what its checkpoints are verified with.
struct Pair(Arc<ChainKey>, String);

impl Pair {
    fn new(algorithm: Algorithm) -> Self {
        let key = PrivateKey::generate(algorithm).unwrap();
        let jwk = Value::Object(key.public_jwk().unwrap()).to_string();
        Self(Arc::new(ChainKey::new(key).unwrap()), jwk)
    }

    fn settings(&self, records: u64) -> Arc<ArcSwap<ChainSettings>> {
        let key = self.0.clone();
        Arc::new(ArcSwap::from_pointee(ChainSettings { key, records, interval: Duration::from_secs(3600) }))
    }

    /// A chain that begins after this text, as in a file that has it.
    fn chain(&self, records: u64, before: &[u8]) -> Chain {
        let nothing = Output::Other(Box::new(Vec::new()));
        let mut chain =
            Chain::new(self.settings(records), Clock::from_fn(|| Duration::from_secs(1_800_000_000)), &nothing);
        if let Some(last) = before.strip_suffix(b"\n").and_then(|text| text.rsplit(|byte| *byte == b'\n').next()) {
            chain.previous = Some(fapi::sha256(last));
        }
        chain
    }

    fn findings(&self, text: &[u8], partial: bool) -> Findings {
        let mut keys = PublicKeys::default();
        keys.add(self.1.as_bytes()).unwrap();
        let mut verifier = Verifier::new(keys, partial);
        for (number, line) in (1..).zip(text.split_inclusive(|byte| *byte == b'\n')) {
            let whole = line.strip_suffix(b"\n");
            let place = Place { file: "audit".into(), line: number };
            verifier.line(place, whole.unwrap_or(line), whole.is_some());
        }
        verifier.finish()
    }

    /// The lines with a fault, and how many there are.
    fn faults(&self, text: &[u8]) -> Vec<String> {
        self.findings(text, false).faults.iter().map(Fault::to_string).collect()
    }
}

/// So many lines of a chain, from its beginning on.
fn write(chain: &mut Chain, numbers: std::ops::Range<u32>) -> Vec<u8> {
    let mut lines: Vec<u8> = numbers.flat_map(|number| format!("{{\"n\":{number}}}\n").into_bytes()).collect();
    chain.stamp(&mut lines, 0);
    lines
}

fn end(chain: &mut Chain) -> Vec<u8> {
    let mut lines = Vec::new();
    chain.end(&mut lines, 0);
    lines
}

/// A whole chain: its beginning, five lines with a checkpoint after two of them each, and its end.
fn whole(pair: &Pair) -> Vec<u8> {
    let mut chain = pair.chain(2, b"");
    [write(&mut chain, 0..5), end(&mut chain)].concat()
}

fn lines(text: &[u8]) -> Vec<Vec<u8>> {
    text.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

#[test]
fn a_chain_has_its_lines_and_its_checkpoints_and_is_found_good() {
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
        let pair = Pair::new(algorithm);
        let text = whole(&pair);
        let findings = pair.findings(&text, false);
        assert_eq!(findings.faults, []);
        let chain = findings.chains.values().next().unwrap();
        assert_eq!((findings.lines, chain.checkpoints, chain.ended), (9, 4, Ended::Sealed));
        assert_eq!((chain.first.0, chain.last.0, chain.covered), (0, 8, Some(8)));
        let values: Vec<Value> = lines(&text).iter().map(|line| serde_json::from_slice(line).unwrap()).collect();
        let reasons: Vec<&str> = values.iter().filter_map(|value| value["reason"].as_str()).collect();
        assert_eq!(reasons, ["begin", "records", "records", "end"]);
        assert_eq!((&values[1]["n"], &values[1]["chain"]["sequence"]), (&0.into(), &1.into()));
    }
}

#[test]
fn whatever_byte_is_changed_it_is_found() {
    let pair = Pair::new(Algorithm::Es256);
    let text = whole(&pair);
    for place in 0..text.len() {
        for bit in [0x01, 0x20, 0x80] {
            let mut changed = text.clone();
            changed[place] ^= bit;
            assert_ne!(pair.faults(&changed), Vec::<String>::new(), "bit {bit:#x} of byte {place}");
        }
    }
}

#[test]
fn whatever_line_is_removed_repeated_moved_or_added_it_is_found() {
    let pair = Pair::new(Algorithm::EdDsa);
    let all = lines(&whole(&pair));
    let found =
        |lines: &[Vec<u8>], what: &str| assert_ne!(pair.faults(&lines.concat()), Vec::<String>::new(), "{what}");
    let another = lines(&whole(&pair));
    for first in 0..all.len() {
        let mut removed = all.clone();
        removed.remove(first);
        found(&removed, &format!("{first} removed"));
        for second in 0..=all.len() {
            let mut repeated = all.clone();
            repeated.insert(second, all[first].clone());
            found(&repeated, &format!("{first} again at {second}"));
            let mut added = all.clone();
            added.insert(second, another[first].clone());
            found(&added, &format!("{first} of another chain at {second}"));
        }
        for second in first + 1..all.len() {
            let mut swapped = all.clone();
            swapped.swap(first, second);
            found(&swapped, &format!("{first} and {second} swapped"));
        }
        let mut added = all.clone();
        added.insert(first, b"{\"n\":7}\n".to_vec());
        found(&added, &format!("a line without a chain at {first}"));
    }
}

#[test]
fn wherever_a_file_is_cut_it_is_found() {
    let pair = Pair::new(Algorithm::EdDsa);
    let text = whole(&pair);
    for length in 0..text.len() {
        assert_ne!(pair.faults(&text[..length]), Vec::<String>::new(), "the first {length} bytes");
        assert_ne!(pair.faults(&text[text.len() - length..]), Vec::<String>::new(), "the last {length} bytes");
    }
}

#[test]
fn a_fault_says_where_it_is() {
    let pair = Pair::new(Algorithm::EdDsa);
    let all = lines(&whole(&pair));
    let faults = |lines: &[Vec<u8>]| pair.faults(&lines.concat());
    let mut changed = all.clone();
    changed[4] = String::from_utf8(all[4].clone()).unwrap().replace("\"n\":2", "\"n\":9").into_bytes();
    assert_eq!(
        faults(&changed),
        ["audit:5: line 4 of its chain was changed: it is not the one that audit:6 was written after"]
    );
    let mut removed = all.clone();
    removed.drain(4..6);
    assert_eq!(faults(&removed), ["audit:5: lines 4 to 5 of its chain are missing before this one, which is line 6"]);
    let mut repeated = all.clone();
    repeated.insert(3, all[1].clone());
    assert_eq!(faults(&repeated), ["audit:4: line 1 of its chain comes after line 2: it was repeated or moved"]);
    let id = pair.findings(&all.concat(), false).chains.into_keys().next().unwrap();
    assert_eq!(
        faults(&all[..8]),
        [format!(
            "audit:8: chain {id} has no end after line 7: its process runs, or was killed, or what came after it was cut \
             off; no signature covers what comes after line 6"
        )]
    );
}

#[test]
fn whoever_recomputes_the_hashes_needs_the_key() {
    let (pair, forger) = (Pair::new(Algorithm::EdDsa), Pair::new(Algorithm::EdDsa));
    let mut chain = forger.chain(2, b"");
    let forged = [write(&mut chain, 0..5), end(&mut chain)].concat();
    assert_eq!(forger.faults(&forged), Vec::<String>::new(), "control");
    assert!(pair.faults(&forged).len() >= 4);
    // Nor does it help to leave the beginning out.
    let findings = pair.findings(&lines(&forged)[1..].concat(), true);
    assert!(!findings.faults.is_empty(), "{findings:?}");
}

#[test]
fn the_next_process_goes_on_where_the_file_ends_whether_the_last_one_was_killed_or_not() {
    let pair = Pair::new(Algorithm::EdDsa);
    let mut first = pair.chain(2, b"");
    let killed = write(&mut first, 0..3);
    let ended = [&killed[..], &end(&mut first)].concat();
    for (before, how) in [(killed, Ended::Continued), (ended, Ended::Sealed)] {
        let mut second = pair.chain(2, &before);
        let after = [write(&mut second, 3..4), end(&mut second)].concat();
        let findings = pair.findings(&[&before[..], &after].concat(), false);
        assert_eq!(findings.faults, []);
        let mut ends: Vec<(u64, Ended)> =
            findings.chains.values().map(|chain| (chain.first.1.line, chain.ended)).collect();
        ends.sort_by_key(|(line, _)| *line);
        assert_eq!(ends.iter().map(|(_, ended)| *ended).collect::<Vec<_>>(), [how, Ended::Sealed]);
        // What the first one wrote last cannot be cut off any more.
        let before = lines(&before);
        let cut = [&before[..before.len() - 1].concat()[..], &after].concat();
        assert!(pair.faults(&cut).iter().any(|fault| fault.contains("after a line that is not there")), "{how:?}");
    }
}

#[test]
fn lines_of_several_chains_may_be_mixed() {
    let pair = Pair::new(Algorithm::EdDsa);
    let (one, other) = (lines(&whole(&pair)), lines(&whole(&pair)));
    let mixed: Vec<u8> = one.iter().zip(&other).flat_map(|(one, other)| [&one[..], other].concat()).collect();
    let findings = pair.findings(&mixed, false);
    assert_eq!((findings.faults, findings.chains.len()), (Vec::new(), 2));
}

#[test]
fn a_part_is_good_if_a_part_is_asked_for_and_says_how_far_it_is_signed() {
    let pair = Pair::new(Algorithm::EdDsa);
    let all = lines(&whole(&pair));
    let part = all[2..8].concat();
    assert_eq!(pair.faults(&part).len(), 2, "neither its beginning nor its end is there");
    let findings = pair.findings(&part, true);
    assert_eq!(findings.faults, []);
    let chain = findings.chains.values().next().unwrap();
    assert_eq!((chain.first.0, chain.last.0, chain.covered, chain.ended), (2, 7, Some(6), Ended::Open));
    assert!(!pair.findings(&[&all[2..4].concat()[..], &all[5].clone()].concat(), true).faults.is_empty());
}

/// The end of one chain and the beginning of the next, removed together, are not a part that somebody asked for.
#[test]
fn in_a_part_a_chain_begins_with_the_files_or_beside_another() {
    let pair = Pair::new(Algorithm::EdDsa);
    let first = whole(&pair);
    let mut second = pair.chain(2, &first);
    let second = [write(&mut second, 0..5), end(&mut second)].concat();
    let (first, second) = (lines(&first), lines(&second));
    let faults = |parts: &[&[Vec<u8>]]| pair.findings(&parts.concat().concat(), true).faults;
    assert_eq!(faults(&[&first, &second]), [], "control: both are whole");
    assert_eq!(faults(&[&second[2..]]), [], "control: it begins with the files");
    let beside = [&first[2..4], &second[3..6], &first[4..], &second[6..]];
    assert_eq!(faults(&beside), [], "control: another goes on around its first line");
    let moved = pair.findings(&[&second[..], &first].concat().concat(), true);
    assert!(
        moved.faults.iter().any(|fault| fault.what.contains("after a line that comes later, at audit:18")),
        "{moved:?}"
    );
    for (ends, begins) in [(5, 3), (8, 2), (9, 3)] {
        let faults: Vec<String> = faults(&[&first[..ends], &second[begins..]]).iter().map(Fault::to_string).collect();
        let expected = format!(
            "audit:{}: the {begins} lines of its chain before this one are missing: they were removed, or their file is not \
             named before this one",
            ends + 1
        );
        assert_eq!(faults, [expected]);
    }
}

/// A disk that was full, or a process that was killed, between a line and its end: the next process adds the end.
#[test]
fn a_line_that_lacks_only_its_end_is_the_last_line() {
    let pair = Pair::new(Algorithm::EdDsa);
    let path = std::env::temp_dir().join(format!("fapi-gateway-chain-{}", std::process::id()));
    let mut first = pair.chain(2, b"");
    let written = write(&mut first, 0..2);
    let last = lines(&written).pop().unwrap();
    for (cut, torn) in [(1, false), (2, true), (last.len() - 1, true), (0, false)] {
        std::fs::write(&path, &written[..written.len() - cut]).unwrap();
        let output = Output::append_to(&path).unwrap();
        let clock = Clock::from_fn(|| Duration::from_secs(1_800_000_000));
        let mut second = Chain::new(pair.settings(2), clock, &output);
        let after = [write(&mut second, 2..3), end(&mut second)].concat();
        let parts = [&written[..written.len() - cut], if cut == 0 { b"" } else { b"\n" }, &after];
        let text = parts.concat();
        assert_eq!(pair.findings(&text, false).faults, [], "{cut} bytes are missing");
        assert_eq!(String::from_utf8(after).unwrap().contains("\"torn\":\""), torn, "{cut} bytes are missing");
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_checkpoint_follows_when_a_line_is_old_enough() {
    let pair = Pair::new(Algorithm::EdDsa);
    let mut chain = pair.chain(1000, b"");
    assert_eq!(chain.due(), Some(Duration::ZERO), "the chain begins without a line");
    write(&mut chain, 0..0);
    assert_eq!(chain.due(), None);
    write(&mut chain, 0..1);
    assert!(chain.due().is_some_and(|due| due > Duration::from_secs(3000)));
    let now = ChainSettings { interval: Duration::ZERO, ..ChainSettings::clone(&chain.settings.load()) };
    chain.settings.store(Arc::new(now));
    assert_eq!(chain.due(), Some(Duration::ZERO));
    let checkpoint: Value = serde_json::from_slice(&write(&mut chain, 0..0)).unwrap();
    assert_eq!((&checkpoint["reason"], &checkpoint["chain"]["sequence"]), (&"interval".into(), &2.into()));
    assert_eq!(chain.due(), None);
}

/// A key that does not sign for a while, as one in a token that is gone.
#[derive(Debug)]
struct Failing(PrivateKey, Arc<std::sync::atomic::AtomicU64>);

impl fapi::jose::signing::KeptKey for Failing {
    fn algorithm(&self) -> Algorithm {
        self.0.algorithm()
    }

    fn public_jwk(&self) -> serde_json::Map<String, Value> {
        self.0.public_jwk().unwrap()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, fapi::jose::signing::NotSigned> {
        use std::sync::atomic::Ordering;
        match self.1.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |fails| fails.checked_sub(1)) {
            Ok(_) => Err(fapi::jose::signing::NotSigned),
            Err(_) => self.0.sign(message),
        }
    }
}

#[test]
fn a_key_that_does_not_sign_is_left_in_peace_and_what_it_signs_later_covers_all() {
    use std::sync::atomic::{AtomicU64, Ordering};
    for fails in [1, 2] {
        let key = PrivateKey::generate(Algorithm::Es256).unwrap();
        let jwk = Value::Object(key.public_jwk().unwrap()).to_string();
        let left = Arc::new(AtomicU64::new(fails));
        let kept = PrivateKey::Kept(Box::new(Failing(key, left.clone())));
        let pair = Pair(Arc::new(ChainKey::new(kept).unwrap()), jwk);
        let mut chain = pair.chain(1, b"");
        // Each of these lines wants a checkpoint, and the beginning does.
        let mut text = write(&mut chain, 0..50);
        assert_eq!(left.load(Ordering::SeqCst), fails - 1, "it was asked once");
        let due = chain.due().unwrap();
        assert!(due > Duration::from_millis(500), "{due:?}");
        for _ in 1..fails {
            chain.rest.1 = Duration::ZERO;
            text.extend(write(&mut chain, 50..60));
        }
        assert_eq!(left.load(Ordering::SeqCst), 0);
        chain.rest.1 = Duration::ZERO;
        text.extend(write(&mut chain, 60..61));
        text.extend(end(&mut chain));
        let findings = pair.findings(&text, false);
        assert_eq!(findings.faults, [], "{}", String::from_utf8_lossy(&text));
        let found = findings.chains.values().next().unwrap();
        assert_eq!((found.ended, found.covered), (Ended::Sealed, Some(found.last.0)));
        // Control: without what says that the beginning was not signed.
        let all = lines(&text);
        let begin = all.iter().position(|line| line.windows(7).any(|part| part == b"\"begin\"")).unwrap();
        assert!(begin > 0);
        assert!(!pair.faults(&[&all[..begin], &all[begin + 1..]].concat().concat()).is_empty());
    }
}

#[test]
fn an_rsa_key_is_refused() {
    let key = PrivateKey::generate(Algorithm::Ps256).unwrap();
    assert_eq!(ChainKey::new(key).err(), Some(Unusable));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_part_is_replaced_it_is_found(start in 0_usize..3000, length in 0_usize..600, new in "[ -~\n]{0,40}") {
        let pair = Pair::new(Algorithm::EdDsa);
        let text = whole(&pair);
        let start = start.min(text.len());
        let end = (start + length).min(text.len());
        prop_assume!(&text[start..end] != new.as_bytes());
        let changed = [&text[..start], new.as_bytes(), &text[end..]].concat();
        prop_assert!(!pair.faults(&changed).is_empty());
    }

    #[test]
    fn never_panics(text in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Pair::new(Algorithm::EdDsa).findings(&text, true);
    }
}
