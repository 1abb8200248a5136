//! `${NAME}` and `${NAME:-default}` in values: the environment of the process.
//!
//! Only the text of a value is replaced, after the file was parsed: whatever a variable contains, it is one value and adds
//! no key. What replaces a reference is not looked at again.

use std::ffi::OsString;

use serde_yaml::Value;

use super::error::{KeyPath, quoted};
use super::report::Report;
use super::source::take_out;

/// Looks up a variable by its name.
pub type Environment<'e> = &'e dyn Fn(&str) -> Option<OsString>;

/// Replaces every reference in a configuration. What cannot be replaced is reported and removed.
pub(super) fn expand(value: &mut Value, environment: Environment<'_>, report: &mut Report) {
    let mut bad = Vec::new();
    visit(value, &KeyPath::default(), environment, report, &mut bad);
    // From the end, so that the indices before stay right.
    for (place, problem) in bad.iter().rev() {
        report.problem(place, problem);
        take_out(value, place);
        report.took_out(place);
    }
}

fn visit(
    value: &mut Value,
    place: &KeyPath,
    environment: Environment<'_>,
    report: &Report,
    bad: &mut Vec<(KeyPath, String)>,
) {
    match value {
        Value::String(text) if text.contains("${") => match replaced(text, environment) {
            Ok(new) => *value = if report.is_plain(place) { scalar(new) } else { Value::String(new) },
            Err(problem) => bad.push((place.clone(), problem)),
        },
        Value::Sequence(list) => {
            for (index, entry) in list.iter_mut().enumerate() {
                visit(entry, &place.index(index), environment, report, bad);
            }
        }
        Value::Mapping(mapping) => {
            for (key, entry) in mapping.iter_mut() {
                if let Some(key) = key.as_str() {
                    visit(entry, &place.key(key), environment, report, bad);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Tagged(_) => {}
    }
}

/// The text with the values of all its references, or what is wrong with them.
fn replaced(text: &str, environment: Environment<'_>) -> Result<String, String> {
    let (mut new, mut unset) = (String::new(), Vec::new());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, reference) = rest.split_at(start);
        let inside = reference.get(2..).unwrap_or_default();
        if let Some(before) = before.strip_suffix('$') {
            new.push_str(before);
            new.push_str("${");
            rest = inside;
            continue;
        }
        new.push_str(before);
        let malformed = || {
            "`${` begins a reference to the environment, which is `${NAME}` or `${NAME:-default}`; write it like this, or `$${` for the two characters".to_owned()
        };
        let (inside, after) = inside.split_once('}').ok_or_else(malformed)?;
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        if !first || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(malformed());
        }
        let found = environment(name).map(OsString::into_string).transpose();
        match (found.map_err(|_| format!("the variable `{name}` is not valid UTF-8; correct it"))?, default) {
            // As in a shell, a default also replaces an empty value.
            (Some(found), None) => new.push_str(&found),
            (Some(found), Some(_)) if !found.is_empty() => new.push_str(&found),
            (_, Some(default)) => new.push_str(default),
            (None, None) => unset.push(name),
        }
        rest = after;
    }
    new.push_str(rest);
    if unset.is_empty() {
        return Ok(new);
    }
    let (are, them) = if unset.len() == 1 { ("is", "it") } else { ("are", "them") };
    let names = quoted(unset.iter().copied());
    Err(format!(
        "{names} {are} not set in the environment; set {them}, or write a default, such as `${{{}:-...}}`",
        unset[0]
    ))
}

/// A value that was written without quotes: a number, `true` or `false`, or else text.
fn scalar(text: String) -> Value {
    let plain =
        text.len() <= 32 && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-');
    match serde_yaml::from_str::<Value>(&text) {
        Ok(value @ (Value::Number(_) | Value::Bool(_))) if plain => value,
        Ok(_) | Err(_) => Value::String(text),
    }
}

/// A text that means itself in the file: what would be a reference is escaped.
pub(super) fn escaped(text: &str) -> String {
    text.replace("${", "$${")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(name: &str) -> Option<OsString> {
        let value = match name {
            "HOST" => "api.bank.example",
            "_N1" => "10",
            "EMPTY" => "",
            "NESTED" => "${HOST}",
            "EVIL" => "a\nroutes: []",
            _ => return None,
        };
        Some(value.into())
    }

    #[test]
    fn replaces_references_in_values() {
        for (text, wanted) in [
            ("https://${HOST}:${_N1}/", "https://api.bank.example:10/"),
            ("${HOST:-other}", "api.bank.example"),
            ("${UNSET:-other}", "other"),
            ("${UNSET:-}", ""),
            ("${EMPTY:-other}", "other"),
            ("[${EMPTY}]", "[]"),
            ("${NESTED}", "${HOST}"),
            ("${EVIL}", "a\nroutes: []"),
            ("$${HOST} $HOST $", "${HOST} $HOST $"),
            ("${UNSET:-a:-b$}", "a:-b$"),
        ] {
            assert_eq!(replaced(text, &environment).as_deref(), Ok(wanted), "{text}");
        }
        assert_eq!(replaced(&escaped("a ${HOST}"), &environment).unwrap(), "a ${HOST}");
        for text in ["${", "${}", "${1A}", "${A B}", "${A:x}", "a ${A", "${:-x}"] {
            assert!(replaced(text, &environment).unwrap_err().contains("begins a reference"), "{text}");
        }
        let both = replaced("${UNSET}${ALSO}", &environment).unwrap_err();
        assert!(both.starts_with("`UNSET`, `ALSO` are not set in the environment; set them, "), "{both}");
    }

    #[test]
    fn a_value_without_quotes_is_what_it_looks_like() {
        let mut report = Report::default();
        report.plain(KeyPath::of("a"));
        let mut value = serde_yaml::from_str("{ a: \"${_N1}\", b: \"${_N1}\" }").unwrap();
        expand(&mut value, &environment, &mut report);
        assert_eq!(value, serde_yaml::from_str::<Value>("{ a: 10, b: \"10\" }").unwrap());
        assert_eq!(scalar("true".to_owned()), Value::Bool(true));
        for text in ["", "null", "[a]", "a\nb: 1", "*x", "10 20", "api.bank.example", "~"] {
            assert_eq!(scalar(text.to_owned()), Value::String(text.to_owned()));
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics_and_what_is_escaped_means_itself(text: String, part in "[$]{0,3}[{]?[A-Z:-]{0,3}[}]?") {
            let text = text + &part;
            let _ = replaced(&text, &environment);
            proptest::prop_assert_eq!(replaced(&escaped(&text), &environment), Ok(text));
        }
    }
}
