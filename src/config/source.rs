//! Turns the text of gateway.yaml into a [`File`], with every error of structure.
//!
//! serde stops at the first error. So each error is recorded, the entry it is about is removed, and the rest is read
//! again, until it fits or nothing is left. What was removed is remembered, so that its absence is not reported as
//! well.

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment as SerdeSegment;
use serde_yaml::Value;

use super::error::{KeyPath, Segment, nearest, quoted};
use super::file::File;
use super::include::Surroundings;
use super::report::Report;
use super::{document, environment, include};

/// Reads the text of gateway.yaml, and the files that it includes. If there is no [`File`], the report has at least one
/// problem.
pub(super) fn read(bytes: &[u8], surroundings: &mut Surroundings<'_>) -> (Option<File>, Report) {
    let mut report = Report::default();
    let file = parse(bytes, surroundings, &mut report);
    (file, report)
}

fn parse(bytes: &[u8], surroundings: &mut Surroundings<'_>, report: &mut Report) -> Option<File> {
    let root = KeyPath::default();
    let mut value = document::read(bytes, report)?;
    include::merge(&mut value, surroundings, report);
    environment::expand(&mut value, surroundings.environment, report);
    take_out_odd_keys(&mut value, &root, report);
    let file: File = deserialize(&mut value, report)?;
    // Comes last, so that an unknown key without a value is reported as unknown.
    refuse_nulls(&value, &root, report);
    Some(file)
}

/// Deserializes what fits, and removes what does not.
pub(super) fn deserialize<T: DeserializeOwned>(value: &mut Value, report: &mut Report) -> Option<T> {
    loop {
        let error = match serde_path_to_error::deserialize::<_, T>(&*value) {
            Ok(file) => return Some(file),
            Err(error) => error,
        };
        let mut place = KeyPath::default();
        for segment in error.path() {
            place = match segment {
                SerdeSegment::Seq { index } => place.index(*index),
                SerdeSegment::Map { key } => place.key(key),
                SerdeSegment::Enum { .. } | SerdeSegment::Unknown => break,
            };
        }
        if report.errors().len() >= MAX_PROBLEMS {
            report.problem(&KeyPath::default(), "there are more problems, which are not shown; correct these first");
            return None;
        }
        shape(report, &place, &error.inner().to_string());
        // Each iteration removes something, so the loop terminates; when the root is at fault, nothing is left.
        loop {
            let parent = place.parent()?;
            if take_out(value, &place) {
                report.took_out(&place);
                break;
            }
            place = parent;
        }
    }
}

/// Removes what is at this path; whether it was there.
pub(super) fn take_out(value: &mut Value, place: &KeyPath) -> bool {
    let Some((last, parents)) = place.segments().split_last() else { return false };
    let mut here = value;
    for segment in parents {
        let next = match segment {
            Segment::Key(key) => here.get_mut(&**key),
            Segment::Index(index) => here.get_mut(*index),
        };
        let Some(next) = next else { return false };
        here = next;
    }
    match (last, here) {
        (Segment::Key(key), Value::Mapping(mapping)) => mapping.shift_remove(&**key).is_some(),
        (Segment::Index(index), Value::Sequence(list)) if *index < list.len() => {
            list.remove(*index);
            true
        }
        _ => false,
    }
}

/// Removes keys that are not text, such as `1` or `true`, which no path can name.
pub(super) fn take_out_odd_keys(value: &mut Value, place: &KeyPath, report: &mut Report) {
    match value {
        Value::Sequence(list) => {
            for (index, entry) in list.iter_mut().enumerate() {
                take_out_odd_keys(entry, &place.index(index), report);
            }
        }
        Value::Mapping(mapping) => {
            let odd: Vec<Value> = mapping.keys().filter(|key| !key.is_string()).cloned().collect();
            for key in odd {
                mapping.shift_remove(&key);
                let text = serde_yaml::to_string(&key).unwrap_or_default();
                let problem = format!("the key `{}` is not text; put it in quotes", text.trim());
                report.problem(&place.key(text.trim()), &problem);
            }
            for (key, entry) in mapping.iter_mut() {
                if let Some(key) = key.as_str() {
                    take_out_odd_keys(entry, &place.key(key), report);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Tagged(_) => {}
    }
}

/// Refuses keys without a value: such a key would read as if it were absent, and so as its default; `issuers:` with
/// every entry commented out would mean all issuers.
pub(super) fn refuse_nulls(value: &Value, place: &KeyPath, report: &mut Report) {
    match value {
        Value::Null => {
            report.problem(place, "the key has no value; write one, or remove the key");
            report.took_out(place);
        }
        Value::Sequence(list) => {
            for (index, entry) in list.iter().enumerate() {
                refuse_nulls(entry, &place.index(index), report);
            }
        }
        Value::Mapping(mapping) => {
            for (key, entry) in mapping {
                if let Some(key) = key.as_str() {
                    refuse_nulls(entry, &place.key(key), report);
                }
            }
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Tagged(_) => {}
    }
}

/// Records what serde says of one entry, in the words of gateway.yaml.
fn shape(report: &mut Report, place: &KeyPath, message: &str) {
    if let Some(rest) = message.strip_prefix("unknown field `") {
        let (found, known) = names(rest);
        let meant = nearest(found, known.iter().copied());
        let problem = match meant {
            _ if NOT_YET.contains(&found) => "the key is not supported by this version; remove it".to_owned(),
            Some(meant) => format!("unknown key `{found}`; did you mean `{meant}`?"),
            None => format!("unknown key `{found}`; the keys here are {}", quoted(known.iter().copied())),
        };
        report.problem(place, &problem);
        if let (Some(meant), Some(parent)) = (meant, place.parent()) {
            report.cover(&parent.key(meant));
        }
        return;
    }
    if let Some(rest) = message.strip_prefix("unknown variant `") {
        let (found, mut known) = names(rest);
        known.retain(|name| !NOT_YET.contains(name));
        if known.contains(&"PS256") && is_forbidden(found) {
            let clauses = "FAPI 2.0 Security Profile §5.4.1 allows PS256, ES256 and EdDSA only, FAPI 1.0 Advanced §8.6 PS256 and ES256 only";
            report.problem(place, &format!("`{found}` is forbidden: {clauses}; have the signer use one of these"));
            return;
        }
        let value = shown(found).map_or("this text".to_owned(), |text| format!("`{text}`"));
        let problem = match nearest(found, known.iter().copied()) {
            Some(meant) => format!("{value} is not a valid value; did you mean `{meant}`?"),
            None => format!("{value} is not a valid value; the choices are {}", quoted(known)),
        };
        report.problem(place, &problem);
        return;
    }
    let value = message.strip_prefix("invalid type: ").or_else(|| message.strip_prefix("invalid value: "));
    let problem = match value.and_then(|rest| rest.rsplit_once(", expected ")) {
        Some((found, expected)) => {
            let way_out = if is_quoted(found, expected) { WITHOUT_QUOTES } else { "" };
            format!("expected {}, found {}{way_out}", wanted(expected), received(found, expected))
        }
        None => message.to_owned(),
    };
    report.problem(place, &problem);
}

/// Whether a text is the name of a signature algorithm that no profile allows.
fn is_forbidden(algorithm: &str) -> bool {
    [
        "none", "RS256", "RS384", "RS512", "PS384", "PS512", "ES384", "ES512", "ES256K", "HS256", "HS384", "HS512",
        "Ed448",
    ]
    .contains(&algorithm)
}

/// The name that serde found and the names that it knows, from "found`, expected one of `a`, `b`".
fn names(rest: &str) -> (&str, Vec<&str>) {
    let Some((found, known)) = rest.rsplit_once("`, expected ") else { return (rest, Vec::new()) };
    (found, known.split('`').skip(1).step_by(2).collect())
}

/// What serde expected, as an operator would name it.
fn wanted(expected: &str) -> String {
    match expected {
        "a sequence" => "a list, such as `[a, b]`".to_owned(),
        "a map" => "a mapping".to_owned(),
        "a string" => "text".to_owned(),
        "a boolean" => "`true` or `false`".to_owned(),
        "u64" => "a whole number, not below zero".to_owned(),
        _ if expected.starts_with("struct ") => "a mapping".to_owned(),
        _ if expected.starts_with("enum ") || expected.ends_with(" enum") || expected == "variant identifier" => {
            "text".to_owned()
        }
        _ => expected.to_owned(),
    }
}

/// Whether a number, `true` or `false` was found as text, since it is in quotes.
fn is_quoted(found: &str, expected: &str) -> bool {
    let Some(text) = found.strip_prefix("string \"").and_then(|text| text.strip_suffix('"')) else { return false };
    match expected {
        "a boolean" => text.parse::<bool>().is_ok(),
        "u64" => text.parse::<u64>().is_ok(),
        _ => false,
    }
}

/// The value that was found, as an operator would name it; a long text, which may be a secret, is not shown.
fn received(found: &str, expected: &str) -> String {
    match found {
        "map" if expected.contains('{') => "another mapping".to_owned(),
        "map" => "a mapping".to_owned(),
        "sequence" => "a list".to_owned(),
        "unit value" => "nothing".to_owned(),
        _ => {
            if let Some(text) = found.strip_prefix("string \"").and_then(|text| text.strip_suffix('"')) {
                return shown(text).map_or("a longer text".to_owned(), |text| format!("the text `{text}`"));
            }
            match found.split_once(' ') {
                Some(("integer", number)) => format!("the number {number}"),
                Some(("floating", number)) => format!("the number {}", number.trim_start_matches("point ")),
                Some(("boolean", value)) => value.to_owned(),
                Some(_) | None => found.to_owned(),
            }
        }
    }
}

/// The text, if it is short enough to show; a longer one may be a secret that was written in the wrong place.
fn shown(text: &str) -> Option<&str> {
    (text.len() <= 40 && !text.contains("-----")).then_some(text)
}

/// How many errors of structure are collected; each costs another pass over the file.
const MAX_PROBLEMS: usize = 200;

/// Values and keys that the format reserves and this version does not support.
const NOT_YET: &[&str] = &["redis"];

const WITHOUT_QUOTES: &str =
    "; write it without quotes, and `${NAME}` on a line of its own, since inside brackets and braces it needs them";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::error::ConfigError;
    use super::*;
    use crate::config::watch::Files;

    fn read_text(text: &[u8]) -> (Option<File>, Report) {
        let mut files = Files::default();
        let file = Path::new("gateway.yaml");
        read(text, &mut Surroundings { file, files: &mut files, environment: &|_| None })
    }

    fn problems(text: &str) -> Vec<String> {
        let (_, report) = read_text(text.as_bytes());
        let print = |error: &ConfigError| format!("{}:{}: {}: {}", error.line, error.column, error.path, error.problem);
        report.errors().iter().map(print).collect()
    }

    #[test]
    fn reports_every_problem_of_shape_with_its_line() {
        let text =
            "profil: x\nlisteners:\n  - {address: 1}\n  - 5\n  - {adress: x, tls: []}\nlimits:\n  connections: -1\n";
        let problems = problems(text);
        assert_eq!(problems.len(), 6, "{problems:#?}");
        for (line, found) in
            ["1:1: profil:", "3:6: listeners[0].address:", "4:5: listeners[1]:", "5:6: listeners[2].adress:"]
                .iter()
                .zip(&problems)
        {
            assert!(found.starts_with(line), "{found}");
        }
    }

    #[test]
    fn refuses_what_yaml_allows_and_nobody_needs() {
        for (text, wanted) in [
            ("a: &x 1\nb: *x\n", "2:4: b: aliases"),
            ("a: 1\na: 2\n", "2:1: a: the key appears twice"),
            ("a:\n  <<: {b: 1}\n", "2:3: a[\"<<\"]: merge keys"),
            ("a: !x 1\n", "1:4: a: tags"),
            ("a: 1\n---\nb: 1\n", "2:1: : a second document"),
            ("a: [1\n", "this is not valid YAML; look for"),
            ("a: 10000000000000000000000000\n", "the file is not valid YAML; put text in quotes"),
            ("? [a]\n: 1\n", "a key is plain text"),
            ("", "the file is empty"),
            ("- a\n", "expected a mapping"),
            ("SECRET=x\0PATH: y: z\0", "1:1: : the file has bytes that are not text; name a file with YAML"),
            ("1: 2\n", "put it in quotes"),
        ] {
            let problems = problems(text);
            assert!(problems[0].contains(wanted), "{text:?}: {problems:?}");
        }
        assert!(problems(&"[".repeat(40))[0].contains("nested too deep"));
        let long = |length: usize| format!("a: {}", "x".repeat(length - 3));
        assert!(!problems(&long(1024 * 1024))[0].contains("larger"), "control");
        assert!(problems(&long(1024 * 1024 + 1))[0].contains("larger than 1MiB"));
        let (_, report) = read_text(b"a: 1\nb: \xff\n");
        assert_eq!((report.errors()[0].line, report.errors()[0].column), (2, 1));
    }

    #[test]
    fn names_values_as_the_file_writes_them() {
        for (value, found) in [
            ("5", "found the number `5`"),
            ("1.5", "found the number `1.5`"),
            ("true", "found `true`"),
            ("[]", "found a list"),
            ("{}", "found a mapping"),
        ] {
            assert_eq!(problems(&format!("errors: {value}")), [format!("1:1: errors: expected text, {found}")]);
        }
        assert_eq!(
            problems("reload: { watch: x }"),
            ["1:11: reload.watch: expected a time with its unit, such as `60s` or `250ms`, found the text `x`"]
        );
        assert_eq!(
            problems("routes: [{ scopes: { some: [a] } }]"),
            [
                "1:12: routes[0].scopes: expected a list such as [accounts], or { all: [...] }, or { any: [...] }, found another mapping"
            ]
        );
    }

    #[test]
    fn stops_looking_when_nothing_fits() {
        let problems = problems(&format!("listeners: [{}]", "1,".repeat(10_000)));
        assert_eq!(problems.len(), MAX_PROBLEMS + 1);
        assert!(problems[MAX_PROBLEMS].contains("more problems"));
    }

    proptest::proptest! {
        #[test]
        fn never_panics(lines in proptest::collection::vec(("( ){0,6}", LINE), 0..24)) {
            let text: String = lines.iter().map(|(indent, line)| format!("{indent}{line}\n")).collect();
            let (file, report) = read_text(text.as_bytes());
            proptest::prop_assert!(file.is_some() || !report.errors().is_empty());
        }
    }

    /// Lines of real files, and lines that do not belong there.
    const LINE: &str = "(- )?(routes|listeners|issuers|upstreams|limits|name|scopes|all|tls|5|\\[a\\]|.{0,3}): ?(\\[\\]|\\{\\}|[a-z]{3}|\\[1, a\\]|60s|~|'|\"|&x|\\*x|!t|.{0,5})?";

    #[test]
    fn refuses_keys_without_a_value() {
        let problems = problems("profile:\nroutes:\n  - issuers:\n");
        assert_eq!(problems.len(), 2, "{problems:#?}");
        assert!(problems.iter().all(|problem| problem.contains("the key has no value")));
    }

    #[test]
    fn never_prints_a_key_written_in_the_wrong_place() {
        let der = "MC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f";
        let pem = format!("\"-----BEGIN PRIVATE KEY-----\\n{der}\"");
        for key in [der, &pem] {
            for text in [
                format!("listeners: [{{tls: {{private_key: {key}}}}}]"),
                format!("listeners: [{{tls: {key}}}]"),
                format!("profile: {key}"),
                format!("limits: {{idle_timeout: {key}}}"),
                format!("include: [{key}]"),
                format!("dpop: {{nonce_key: {key}}}"),
                format!("{key}: 1"),
                format!("limits: {{{key}: 1}}"),
                format!("limits: [\n  {key}\n"),
            ] {
                let problems = problems(&text);
                assert!(!problems.is_empty(), "{text}");
                assert!(!problems.iter().any(|problem| problem.contains("CAkKCwwNDg8")), "{text}: {problems:?}");
            }
        }
        let path = problems("include: [keys/server.pem]");
        assert!(path[0].contains("`keys/server.pem` cannot be read"), "control: {path:?}");
    }
}
