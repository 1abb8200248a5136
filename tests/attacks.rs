//! The known attacks on gateways of this kind, each with a number: framing (SM), headers and identity (HD), sizes (SZ),
//! paths and routes (PT), tokens, keys and proofs (TK), caches (CA), configuration (CF). Each is covered, here or
//! elsewhere, by a test with the number in its name or by a table row whose label begins with it. The few that have
//! nothing to attack here are listed in [`NOT_HERE`], with the reason.

mod framing;
mod headers;
mod load;
mod paths;
mod tokens;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The number of attacks of each kind.
const ATTACKS: &[(&str, u8)] = &[("SM", 16), ("HD", 16), ("SZ", 9), ("PT", 13), ("TK", 24), ("CA", 10), ("CF", 10)];

/// Attacks whose target does not exist in this gateway.
const NOT_HERE: &[(&str, u8, &str)] = &[
    // Cookies or X-Api-Key that the upstream accepts as an alternative credential.
    (
        "HD",
        15,
        "cookies and keys of other schemes are the application's; docs/limits.md says that cookies are passed on",
    ),
    // One user's response served to another user.
    ("CA", 7, "answers are not stored"),
    // Requests to addresses named in a certificate.
    ("CF", 10, "nothing named in a certificate is fetched; revocation lists are files"),
];

#[test]
fn every_attack_has_a_test_or_nothing_to_attack() {
    let texts: Vec<String> = ["src", "crates", "tests"].iter().flat_map(|folder| files(folder)).collect();
    let mut covered = BTreeSet::new();
    for text in &texts {
        covered.extend(numbers(text));
    }
    let known: BTreeSet<String> =
        ATTACKS.iter().flat_map(|(kind, count)| (1..=*count).map(move |number| id(kind, number))).collect();
    let absent: BTreeSet<String> = NOT_HERE.iter().map(|(kind, number, _)| id(kind, *number)).collect();
    let missing: Vec<&String> = known.iter().filter(|id| !covered.contains(*id) && !absent.contains(*id)).collect();
    assert_eq!(missing, Vec::<&String>::new(), "attacks without a test");
    let unknown: Vec<&String> = covered.union(&absent).filter(|id| !known.contains(*id)).collect();
    assert_eq!(unknown, Vec::<&String>::new(), "tests of attacks that are not listed");
    let both: Vec<&String> = absent.intersection(&covered).collect();
    assert_eq!(both, Vec::<&String>::new(), "attacks listed as not applicable have tests");
    // control
    let found = |text: &str| numbers(text).into_iter().collect::<Vec<_>>();
    assert_eq!(found("    fn atk_sm_10_atk_sm_11_malformed() {"), ["atk_sm_10", "atk_sm_11"]);
    assert_eq!(found("async fn dpop_40_atk_sz_07_a_full_log() {"), ["atk_sz_07"]);
    assert_eq!(found("(\"ATK-PT-01 dots\", 1), (\"ATK-PT-02\", 2)"), ["atk_pt_01", "atk_pt_02"]);
    assert_eq!(found("# ATK-CF-07: a typing error"), ["atk_cf_07"]);
    let innocent =
        "/// ATK-PT-01\n// see \"x\" and ATK-PT-02\nlet atk_sm_10_x = \"about ATK-PT-03\";\nfn a() {} // fn atk_sm_1()";
    assert_eq!(found(innocent), [""; 0]);
}

fn id(kind: &str, number: u8) -> String {
    format!("atk_{}_{number:02}", kind.to_ascii_lowercase())
}

/// The attacks named in function names, in row labels and in the comments of example files.
fn numbers(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in text.lines() {
        let line = line.trim_start();
        if let Some(example) = line.strip_prefix("# ") {
            found.extend(leading(example));
            continue;
        }
        if line.starts_with("//") {
            continue;
        }
        for (at, _) in line.match_indices("\"ATK-") {
            found.extend(leading(&line[at + 1..]));
        }
        let declared = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
        let name = declared.and_then(|rest| rest.split('(').next()).unwrap_or_default();
        for (at, _) in name.match_indices("atk_") {
            found.extend(leading(&name[at..].to_ascii_uppercase().replace('_', "-")));
        }
    }
    found
}

/// The number at the start of a label.
fn leading(label: &str) -> Option<String> {
    let mut parts = label.strip_prefix("ATK-")?.splitn(2, '-');
    let (kind, rest) = (parts.next()?, parts.next()?);
    let number: u8 = rest.get(..2)?.parse().ok()?;
    (kind.len() == 2).then(|| id(kind, number))
}

/// The Rust and example files of a folder, except this one.
fn files(folder: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path: PathBuf = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "rs" || kind == "yaml")
                && !path.ends_with("tests/attacks.rs")
            {
                found.push(std::fs::read_to_string(path).expect("a text"));
            }
        }
    }
    found
}
