//! docs/reference/requirements.md: what is required of the gateway, where it is enforced, and which tests show it. The page
//! is the table; its last column is written from the tests that name a requirement.
//!
//! A test names a requirement in its own name (`dpop_01_`), or with an id (`DPOP-01`) in a label, a message or a comment.

use std::collections::{BTreeMap, BTreeSet};

use super::super::{page, root};
use super::WRITE;
use crate::support::source::{read, sources, walk};

#[test]
fn requirements_have_a_row_and_a_test_each() {
    let page = page(PAGE);
    let rows = Rows::of(&page);
    let (mut tests, mut named) = (BTreeMap::<String, Places>::new(), BTreeMap::<String, String>::new());
    for file in files() {
        for Named { id, function, in_test } in names_in(&file, &read(&file), &rows.kinds) {
            named.entry(id.clone()).or_insert_with(|| file.clone());
            if in_test {
                tests.entry(id).or_default().entry(file.clone()).or_default().insert(function);
            }
        }
    }
    let of = |names: &BTreeSet<String>, has: &dyn Fn(&String) -> bool| -> Vec<String> {
        names.iter().filter(|id| !has(id)).cloned().collect()
    };
    let unknown: Vec<_> =
        named.iter().filter(|(id, _)| !rows.tested.contains(*id) && !rows.elsewhere.contains(*id)).collect();
    assert!(unknown.is_empty(), "{PAGE} has no row for what these files name: {unknown:?}");
    assert_eq!(of(&rows.tested, &|id| tests.contains_key(id)), [""; 0], "no test names these rows");
    assert_eq!(of(&rows.elsewhere, &|id| !tests.contains_key(id)), [""; 0], "tests name what is left to others");
    let made: String = page.lines().map(|line| format!("{}\n", with_tests(line, &tests))).collect();
    if std::env::var(WRITE).is_ok_and(|value| value == "1") {
        std::fs::write(root().join(PAGE), made).expect("the page can be written");
        return;
    }
    let differing = page.lines().zip(made.lines()).find(|(found, made)| found != made);
    assert!(
        page == made,
        "{PAGE} is not what the tests say ({differing:?}); {WRITE}=1 cargo test --locked docs::reference writes it"
    );
}

#[test]
fn requirements_are_found_in_names_and_in_text() {
    let kinds = ["AT", "ATK-TK", "ATT", "DPOP", "INT", "MS-INT", "PRM"].map(str::to_owned);
    let found = |text: &str| -> Vec<(String, String)> {
        names_in("tests/a.rs", text, &kinds).into_iter().map(|named| (named.id, named.function)).collect()
    };
    let pair = |id: &str, function: &str| (id.to_owned(), function.to_owned());
    let name = "async fn dpop_01_atk_tk_02_ms_int_03_x() {\n    a(\"INT-04, INT-05a, X-INT-06\");\n}\nconst A: &str = \"AT-07\";\n";
    let function = "dpop_01_atk_tk_02_ms_int_03_x";
    let expected = [
        pair("DPOP-01", function),
        pair("ATK-TK-02", function),
        pair("MS-INT-03", function),
        pair("INT-04", function),
        pair("AT-07", ROWS),
    ];
    assert_eq!(found(name), expected);
    let series =
        "/// DPOP-01\n#[test]\nfn prm_04_to_06_prm_12_at_01_and_03_a1a() {}\nfn att_a1a_att_a5_at_most_40() {}\n";
    let (first, second) = ("prm_04_to_06_prm_12_at_01_and_03_a1a", "att_a1a_att_a5_at_most_40");
    let expected = [
        pair("PRM-04", first),
        pair("PRM-05", first),
        pair("PRM-06", first),
        pair("PRM-12", first),
        pair("AT-01", first),
        pair("AT-03", first),
        pair("DPOP-01", first),
        pair("ATT-A1a", second),
        pair("ATT-A5", second),
    ];
    assert_eq!(found(series), expected);
    // Outside of tests, a comment is not a test; neither is what a module says of itself.
    let untested = |file: &str, text: &str| names_in(file, text, &kinds).iter().all(|named| !named.in_test);
    assert!(untested("src/a.rs", "// DPOP-01\nfn a() {}\n") && untested("tests/a.rs", "//! DPOP-01\n"));
    assert!(!untested("src/a.rs", "    fn dpop_01_a() {\n")); // control
}

const PAGE: &str = "docs/reference/requirements.md";
/// In place of a function: a table that a test goes through.
const ROWS: &str = "rows";

/// The functions in which a requirement is named, for each file.
type Places = BTreeMap<String, BTreeSet<String>>;

/// The rows of the page.
struct Rows {
    /// What comes before the number of an id, such as `ATK-TK`.
    kinds: Vec<String>,
    tested: BTreeSet<String>,
    /// Those that nothing here could meet.
    elsewhere: BTreeSet<String>,
}

impl Rows {
    fn of(page: &str) -> Self {
        let (mut kinds, mut tested, mut elsewhere) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        for line in page.lines() {
            let cells = cells(line);
            let Some((kind, _)) = id_of(&cells) else { continue };
            kinds.insert(kind.to_owned());
            let into = if cells.len() == COLUMNS { &mut tested } else { &mut elsewhere };
            assert!(into.insert(cells[0].to_owned()), "{PAGE} has two rows for {}", cells[0]);
            assert!(cells.iter().all(|cell| !cell.is_empty()), "{PAGE}: {} has an empty cell", cells[0]);
        }
        assert!(tested.len() > 300 && !elsewhere.is_empty(), "{PAGE} has lost its rows");
        Self { kinds: kinds.into_iter().collect(), tested, elsewhere }
    }
}

/// Requirement, clause, what it says, where it is enforced, tests.
const COLUMNS: usize = 5;

fn cells(line: &str) -> Vec<&str> {
    let inner = line.strip_prefix("| ").and_then(|rest| rest.strip_suffix(" |"));
    inner.map(|inner| inner.split(" | ").collect()).unwrap_or_default()
}

/// The kind and the number of the requirement that a row is about.
fn id_of<'c>(cells: &[&'c str]) -> Option<(&'c str, &'c str)> {
    let (kind, number) = cells.first()?.rsplit_once('-')?;
    let capital = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '-';
    (is_number(number) && kind.chars().all(capital)).then_some((kind, number))
}

/// `01`, or `A1a` for an attacker.
fn is_number(text: &str) -> bool {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    match text.strip_prefix('A') {
        Some(attacker) => digits(attacker.get(..1).unwrap_or("x")) && matches!(attacker.get(1..), Some("" | "a" | "b")),
        None => text.len() == 2 && digits(text),
    }
}

/// The row of a requirement with its tests; any other line as it is.
fn with_tests(line: &str, tests: &BTreeMap<String, Places>) -> String {
    let cells = cells(line);
    match (id_of(&cells), cells.get(..COLUMNS - 1)) {
        (Some(_), Some(written)) if cells.len() == COLUMNS => {
            let places: Vec<String> = tests[cells[0]]
                .iter()
                .map(|(file, functions)| {
                    let short = file.strip_prefix("tests/").or(file.strip_prefix("crates/")).unwrap_or(file);
                    let functions: Vec<&str> = functions.iter().map(String::as_str).collect();
                    format!("[{short}](../../{file}): {}", functions.join(", "))
                })
                .collect();
            format!("| {} | {} |", written.join(" | "), places.join("<br>"))
        }
        _ => line.to_owned(),
    }
}

/// A requirement that is named somewhere.
struct Named {
    id: String,
    /// The function, or [`ROWS`].
    function: String,
    in_test: bool,
}

/// The sources, and the examples of configurations, but this file.
fn files() -> Vec<String> {
    let examples = walk(&root().join("tests/configs"));
    let examples = examples.iter().map(|path| path.strip_prefix(root()).unwrap().to_string_lossy().into_owned());
    let files = ["src", "crates", "tests"].iter().flat_map(|folder| sources(folder)).chain(examples);
    files.filter(|file| file != "tests/attacks.rs" && !file.ends_with("reference/requirements.rs")).collect()
}

/// What a file names.
fn names_in(file: &str, text: &str, kinds: &[String]) -> Vec<Named> {
    let in_tests = file.starts_with("tests/");
    let mut found = Vec::new();
    // What stands above a function belongs to it.
    let mut above = Vec::new();
    // The functions that a line is in, each with its indentation.
    let mut open: Vec<(usize, &str)> = Vec::new();
    for line in text.lines() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        let function = |open: &[(usize, &str)]| open.last().map_or(ROWS, |(_, name)| *name).to_owned();
        let mut note = |ids: Vec<String>, function: String, in_test: bool| {
            found.extend(ids.into_iter().map(|id| Named { id, function: function.clone(), in_test }));
        };
        if code.starts_with("//!") {
            note(ids_in_text(code, kinds), ROWS.to_owned(), false);
        } else if code.starts_with("///") {
            above.extend(ids_in_text(code, kinds));
        } else if let Some(name) = declared(code) {
            note(ids_in_name(name, kinds), name.to_owned(), true);
            note(std::mem::take(&mut above), name.to_owned(), in_tests);
            if !code.ends_with('}') && !code.ends_with(';') {
                open.push((indent, name));
            }
        } else {
            if !code.is_empty() && !code.starts_with("#[") {
                note(std::mem::take(&mut above), function(&open), in_tests);
            }
            note(ids_in_text(code, kinds), function(&open), in_tests);
            if code == "}" && open.last().is_some_and(|(at, _)| *at == indent) {
                open.pop();
            }
        }
    }
    found
}

/// The function that a line declares.
fn declared(code: &str) -> Option<&str> {
    let code = code.strip_prefix("pub ").or(code.strip_prefix("pub(crate) ")).unwrap_or(code);
    let code = code.strip_prefix("async ").unwrap_or(code).strip_prefix("fn ")?;
    code.split(['(', '<']).next()
}

fn ids_in_text(text: &str, kinds: &[String]) -> Vec<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    let known = |word: &&str| {
        word.rsplit_once('-').is_some_and(|(kind, number)| is_number(number) && kinds.iter().any(|known| known == kind))
    };
    words.filter(known).map(str::to_owned).collect()
}

/// In names, a number may be followed by others: `_04_to_08`, `_13_and_15`.
fn ids_in_name(name: &str, kinds: &[String]) -> Vec<String> {
    let words: Vec<&str> = name.split('_').collect();
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(rest) = words.get(at..).filter(|rest| !rest.is_empty()) {
        let kind = kinds.iter().filter_map(|kind| {
            let length = kind.split('-').count();
            let number = rest.get(length)?.replacen('a', "A", 1);
            (rest[..length].join("-").to_ascii_uppercase() == *kind && is_number(&number))
                .then_some((kind, length, number))
        });
        let Some((kind, length, first)) = kind.max_by_key(|(_, length, _)| *length) else {
            at += 1;
            continue;
        };
        at += length + 1;
        let next = |word: &str| words.get(at).filter(|found| **found == word).and(words.get(at + 1)).copied();
        let last = |text: &str| text.parse::<u8>().ok().zip(first.parse::<u8>().ok());
        match (next("to").and_then(last), next("and").and_then(last)) {
            (Some((last, first)), _) => found.extend((first..=last).map(|number| format!("{kind}-{number:02}"))),
            (None, Some((last, first))) => found.extend([first, last].map(|number| format!("{kind}-{number:02}"))),
            (None, None) => found.push(format!("{kind}-{first}")),
        }
    }
    found
}
