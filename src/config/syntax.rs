//! Why a text is not YAML: the place that an operator has to correct, which is often above the one where a parser stops.

use super::secret::{PEM, may_be_of_key};

/// A place in a text, and what is wrong there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    /// Line and column, from 1.
    pub(super) position: (usize, usize),
    pub(super) problem: String,
}

/// Explains why a parser stopped at this line and column.
///
/// The mistakes that editors and copied text make are looked for upwards from there, then in the next line, which ends
/// what a parser cannot finish; if there is none, the place is that of the parser.
pub(super) fn explain(text: &str, (line, column): (usize, usize)) -> Mistake {
    let lines: Vec<(usize, &str)> = (1..).zip(text.lines()).take(line.saturating_add(1)).collect();
    let (before, next) = lines.split_at(line.min(lines.len()));
    let found = before.iter().rev().chain(next).find_map(|&(number, text)| {
        let (column, problem) = mistake(text)?;
        Some(Mistake { position: (number, column), problem })
    });
    let general = "this is not valid YAML; look for a wrong indent, a missing quote or an open bracket";
    found.unwrap_or_else(|| Mistake { position: (line, column), problem: general.to_owned() })
}

/// The line, and a caret under the column, to be printed below a problem; `None` if the text may contain a key.
pub(super) fn excerpt(text: &str, (line, column): (usize, usize)) -> Option<String> {
    if text.contains(PEM) {
        return None;
    }
    let text = text.lines().nth(line.checked_sub(1)?).filter(|line| !may_be_of_key(line))?;
    let shown: String = text.chars().take(LONGEST).map(visible).collect();
    let caret = " ".repeat(column.checked_sub(1).filter(|column| *column <= shown.chars().count())?);
    Some(format!("    {shown}\n    {caret}^"))
}

/// The first mistake of a line that is not valid: its column, and what it is.
fn mistake(line: &str) -> Option<(usize, String)> {
    let content = line.find(" #").map_or(line, |comment| line.get(..comment).unwrap_or(line));
    if content.trim_start().starts_with('#') {
        return None;
    }
    let column = |bytes: usize| content.get(..bytes).map_or(1, |before| before.chars().count() + 1);
    if let Some(place) = content.find('\t') {
        return Some((column(place), "a tab; YAML is indented with spaces, replace it".to_owned()));
    }
    if let Some((place, found)) = content.char_indices().find(|(_, found)| is_odd_space(*found)) {
        let code = u32::from(found);
        return Some((column(place), format!("a space that is none (U+{code:04X}), as in copied text; replace it")));
    }
    let indent = content.len() - content.trim_start().len();
    let after_dash = content.trim_start().strip_prefix('-');
    if after_dash.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_alphabetic() || first == '"')) {
        return Some((column(indent + 1), "a space is missing after `-`; write one".to_owned()));
    }
    if let Some((place, first)) = needs_quotes(content) {
        return Some((
            column(place),
            format!("a value that begins with `{first}` needs quotes; write `\"{first}...\"`"),
        ));
    }
    let entry = content.trim_start().trim_start_matches("- ").trim_start();
    let key = entry.bytes().take_while(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_');
    let key = key.count();
    let value = entry.get(key..)?.strip_prefix(':')?;
    if key > 0 && !value.is_empty() && !value.starts_with(char::is_whitespace) && !value.starts_with("//") {
        let place = content.len() - entry.len() + key + 1;
        return Some((column(place), "a space is missing after `:`; write one".to_owned()));
    }
    if let Some(place) = missing_in_braces(content) {
        return Some((column(place), "a space is missing after `:`; write one".to_owned()));
    }
    let quoted = value.trim_start().starts_with(['"', '\'']);
    if let Some(place) = content.find("${").filter(|_| !quoted && value.contains(['[', '{'])) {
        let in_brackets = content.get(..place).is_some_and(|before| before.contains(['[', '{']));
        if in_brackets && !content.get(..place).is_some_and(|before| before.ends_with(['"', '\''])) {
            return Some((
                column(place),
                "inside brackets and braces, `${NAME}` needs quotes; write `\"${NAME}\"`, or put the key on a line of its own if the value is a number, `true` or `false`".to_owned(),
            ));
        }
    }
    None
}

/// Where a value begins with a character that YAML keeps for itself, as in `[*]`, and which one.
fn needs_quotes(content: &str) -> Option<(usize, char)> {
    let (mut quote, mut begins, mut depth) = (None, true, 0_usize);
    let mut characters = content.char_indices().peekable();
    while let Some((place, found)) = characters.next() {
        let next = characters.peek().map(|(_, next)| *next);
        match (quote, found) {
            (Some(mark), _) => quote = (mark != found).then_some(mark),
            (None, '"' | '\'') if begins => (quote, begins) = (Some(found), false),
            (None, '@' | '`') if begins => return Some((place, found)),
            // A name after it stands for what `&name` marks.
            (None, '*') if begins && !next.is_some_and(char::is_alphanumeric) => return Some((place, found)),
            (None, '[' | '{') if begins => depth = depth.saturating_add(1),
            (None, ',') if depth > 0 => begins = true,
            (None, ']' | '}') => (begins, depth) = (false, depth.saturating_sub(1)),
            (None, ':') if next.is_none_or(|next| next == ' ') => begins = true,
            (None, '-') if begins && next == Some(' ') => {}
            (None, ' ') => {}
            (None, _) => begins = false,
        }
    }
    None
}

/// Where a mapping in braces has `key:value` or `key:[` in place of a key and a value.
fn missing_in_braces(content: &str) -> Option<usize> {
    let (mut quote, mut begins, mut key) = (None, false, None);
    for (place, found) in content.char_indices() {
        match (quote, found) {
            (Some(mark), _) => quote = (mark != found).then_some(mark),
            (None, '"' | '\'') => (quote, begins, key) = (Some(found), false, None),
            (None, '{' | ',') => (begins, key) = (true, None),
            (None, ' ') => key = None,
            (None, 'a'..='z' | '_') if begins => (begins, key) = (false, Some(place)),
            (None, 'a'..='z' | '0'..='9' | '_') => {}
            (None, ':') => {
                let after = content.get(place + 1..)?;
                if key.is_some() && !after.is_empty() && !after.starts_with([' ', '/']) {
                    return Some(place + 1);
                }
                key = None;
            }
            (None, _) => (begins, key) = (false, None),
        }
    }
    None
}

/// Whether a character looks like a space, or like nothing, and is not the space of YAML.
const fn is_odd_space(found: char) -> bool {
    matches!(
        found,
        '\u{a0}' | '\u{1680}' | '\u{2000}'
            ..='\u{200d}' | '\u{202f}' | '\u{205f}' | '\u{2060}' | '\u{3000}' | '\u{feff}'
    )
}

/// The character as it can be seen in a line.
fn visible(found: char) -> char {
    match found {
        '\t' => '→',
        _ if is_odd_space(found) => '·',
        _ if found.is_control() => '?',
        _ => found,
    }
}

/// How many characters of a line are shown.
const LONGEST: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_line_that_has_to_be_corrected() {
        for (text, line, wanted) in [
            ("a: 1\n\tb: 2\n", 2, ((2, 1), "a tab")),
            ("a:\n  b:\t1\n  c: 2\n d: 1\n", 4, ((2, 5), "a tab")),
            ("a: 1\n\u{a0}\u{a0}b: 2\nc: 3\n", 3, ((2, 1), "U+00A0")),
            ("a:\n  b:1\n  c: 2\n", 3, ((2, 5), "missing after `:`")),
            ("a:\n  - b:1\n    c: 2\n", 3, ((2, 7), "missing after `:`")),
            ("a:\n  -b: 1\n   c: 2\n", 3, ((2, 4), "missing after `-`")),
            ("a:\n  - b: 1\n\tc: 2\n", 2, ((3, 1), "a tab")),
            ("a: { b: [x], c:[y] }\n", 1, ((1, 16), "missing after `:`")),
            ("a: { b: \"c:[\", d: https://e, f: 0:0\n", 1, ((1, 5), "not valid YAML")),
            ("a: { b: ${NAME} }\n", 1, ((1, 9), "needs quotes")),
            ("a: [\n", 1, ((1, 5), "not valid YAML")),
            ("a: \"https://b\n# a:1\tb\n", 2, ((2, 5), "not valid YAML")),
            ("a: { b: \"${NAME}\" }\nc: [\n", 2, ((2, 5), "not valid YAML")),
            ("path: **\n", 1, ((1, 7), "begins with `*` needs quotes")),
            ("a: 1\nhosts: [a, *.b.example]\n", 2, ((2, 12), "begins with `*` needs quotes")),
            ("a:\n  - *\n", 2, ((2, 5), "begins with `*` needs quotes")),
            ("a: { b: @c }\n", 1, ((1, 9), "begins with `@` needs quotes")),
            ("a: [\"*\", '@', b*, /**]\nc: x, *y\nd: *e\nf: [\n", 4, ((4, 5), "not valid YAML")),
        ] {
            let found = explain(text, (line, 5));
            assert_eq!(found.position, wanted.0, "{text:?}: {found:?}");
            assert!(found.problem.contains(wanted.1), "{text:?}: {found:?}");
        }
    }

    #[test]
    fn the_caret_stands_under_the_place() {
        assert_eq!(excerpt("a: 1\n\tb: 2\n", (2, 1)).unwrap(), "    →b: 2\n    ^");
        assert_eq!(excerpt("a: é\u{a0}1\n", (1, 5)).unwrap(), "    a: é·1\n        ^");
        assert_eq!(excerpt("a: 1\n", (2, 1)), None);
        assert_eq!(excerpt("a: 1\n", (1, 9)), None);
        assert_eq!(excerpt("a: 1\n-----BEGIN PRIVATE KEY-----\nMC4C\n", (3, 1)), None, "a key is not shown");
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text: String, line in 0_usize..6, column in 0_usize..9) {
            let found = explain(&text, (line, column));
            let _ = excerpt(&text, found.position);
        }
    }
}
