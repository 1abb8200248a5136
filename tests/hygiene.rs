//! What must not appear in the repository, and what must appear in every file. Every scan has a control.

use std::collections::BTreeSet;

use crate::support::source::{read, root, sources, walk};

#[test]
fn nothing_is_left_to_do_and_no_test_is_left_out() {
    for name in ["src", "crates", "tests", "benches", "fuzz"].iter().flat_map(|folder| sources(folder)) {
        // The module documentation of the soak test says why it is not part of a normal run.
        let allowed = if name == "tests/operate/soak/mod.rs" { &MARKS[5..] } else { &[] };
        assert_eq!(open_ends(&read(&name)), allowed, "{name}");
    }
    // control
    let planted = format!("// {}: x\nfn f() {{ {}!() }}\n#{}]\nfn g() {{}}", MARKS[0], "todo", "[ignore");
    assert_eq!(open_ends(&planted), [MARKS[0], MARKS[3], MARKS[5]]);
    assert!(open_ends("fn mastodon() {} // METHODOLOGY, fixmehard, todo, ignore").is_empty());
}

#[test]
fn no_file_names_somebodys_home() {
    let homes = [concat!("/ho", "me/"), concat!("/ro", "ot/"), concat!("/Us", "ers/")];
    let names_one = |text: &str| homes.iter().any(|home| text.contains(home));
    for path in walk(root()) {
        let text = std::fs::read(&path).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        assert!(!names_one(&text), "{}", path.display());
    }
    // control
    assert!(names_one(&format!("include = \"{}somebody/key.pem\"", homes[0])));
    assert!(!names_one("https://bank.example/homepage, /homes, /rooted"));
}

#[test]
fn every_file_says_what_it_is() {
    for name in ["src", "crates"].iter().flat_map(|folder| sources(folder)) {
        assert!(read(&name).starts_with("//! "), "{name} does not begin with `//!`");
    }
}

#[test]
fn a_permit_cannot_be_forged_and_the_compiler_is_asked() {
    let permit = read("crates/fapi/src/permit/mod.rs");
    let doc: Vec<&str> = permit.lines().filter_map(|line| line.strip_prefix("//!")).map(str::trim).collect();
    let forgeries = doc.iter().filter(|line| **line == "```compile_fail").count();
    assert!(
        forgeries >= 2
            && doc.join("\n").contains("Permit { matched")
            && doc.join("\n").contains("Permit::of(matched, None)")
    );
}

const MARKS: [&str; 6] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
    concat!("todo", "!"),
    concat!("unimplemented", "!"),
    concat!("#[", "ignore"),
];

/// The marks of unfinished or skipped work, in code, comments and texts.
fn open_ends(text: &str) -> Vec<&'static str> {
    let words: BTreeSet<&str> = text.split(|c: char| !(c.is_alphanumeric() || "_!#[".contains(c))).collect();
    MARKS.into_iter().filter(|mark| words.contains(mark)).collect()
}
