//! Structured-field dictionaries with one reading (RFC 8941 §3.2, §4.2.2).

use http::HeaderMap;
use sfv::{Dictionary, Parser};

use super::error::SignatureError;

/// Reads all lines of a field as one dictionary; an absent field is [`SignatureError::FieldMissing`].
///
/// Stricter than RFC 8941 §4.2.2, by which the last of several members with one key counts: a key twice is refused, since
/// readers that take the first one would act on something else.
///
/// # Errors
/// [`SignatureError::FieldMissing`], [`SignatureError::FieldTooLarge`], [`SignatureError::FieldMalformed`].
pub(super) fn read(headers: &HeaderMap, field: &'static str, limit: usize) -> Result<Dictionary, SignatureError> {
    let lines = headers.get_all(field);
    if lines.iter().next().is_none() {
        return Err(SignatureError::FieldMissing { field });
    }
    // Each line counts with the separator that joins it to the next.
    let bytes = lines.iter().fold(0_usize, |sum, line| sum.saturating_add(line.len()).saturating_add(2));
    if bytes > limit.saturating_add(2) {
        return Err(SignatureError::FieldTooLarge { field, limit });
    }
    // RFC 8941 §4.2: "When generating input_bytes, parsers MUST combine all field lines in the same section (header or
    // trailer) that case-insensitively match the field name into one comma-separated field-value".
    let text = lines.iter().map(http::HeaderValue::as_bytes).collect::<Vec<_>>().join(&b", "[..]);
    parse(&text).map_err(|why| SignatureError::FieldMalformed { field, why })
}

/// Reads one text as a dictionary with at least one member, in which each key appears once.
pub(super) fn parse(text: &[u8]) -> Result<Dictionary, &'static str> {
    let dictionary = Parser::parse_dictionary(text).map_err(|_| "it is not a structured-field dictionary")?;
    if dictionary.is_empty() {
        return Err("it has no members");
    }
    if members(text) != dictionary.len() {
        return Err("it has a key twice");
    }
    Ok(dictionary)
}

/// The number of members that a well-formed dictionary is written with: outside strings, commas only separate them.
fn members(text: &[u8]) -> usize {
    let (mut commas, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b',' if !in_string => commas = commas.saturating_add(1),
            _ => {}
        }
    }
    commas.saturating_add(1)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn keys(lines: &[&str]) -> Result<Vec<String>, SignatureError> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append("x", HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        read(&headers, "x", 40).map(|dictionary| dictionary.keys().cloned().collect())
    }

    #[test]
    fn hsig_11_a_dictionary_has_one_reading() {
        let malformed = |why| Err(SignatureError::FieldMalformed { field: "x", why });
        let invalid = "it is not a structured-field dictionary";
        assert_eq!(keys(&["a=1, b=2"]).unwrap(), ["a", "b"]); // control
        assert_eq!(keys(&["a=1", "b=2"]).unwrap(), ["a", "b"], "lines are joined");
        assert_eq!(keys(&[r#"a=("x,\"," "y"), b=",""#]).unwrap(), ["a", "b"], "commas in strings");
        for text in ["a=1, a=2", "a=1, b=2, a=1", "a, a"] {
            assert_eq!(keys(&[text]), malformed("it has a key twice"), "{text}");
        }
        assert_eq!(keys(&["a=1", "a=2"]), malformed("it has a key twice"));
        for text in ["a=1,", ",a=1", "A=1", "a=1 b=2", "a=(1", "a=:x", "a=\u{e9}", "a=1;B"] {
            assert_eq!(keys(&[text]), malformed(invalid), "{text}");
        }
        assert_eq!(keys(&[""]), malformed("it has no members"));
        assert_eq!(keys(&[]), Err(SignatureError::FieldMissing { field: "x" }));
    }

    #[test]
    fn hsig_11_a_field_is_bounded_over_all_its_lines() {
        let long = format!("a={}", "1".repeat(5));
        assert!(keys(&[&format!("{long}{}", " ".repeat(40 - long.len()))]).is_ok(), "control: 40 bytes");
        let large = Err(SignatureError::FieldTooLarge { field: "x", limit: 40 });
        assert_eq!(keys(&[&format!("{long}{}", " ".repeat(41 - long.len()))]), large);
        assert_eq!(keys(&[&"a".repeat(20), &"b".repeat(19)]), large);
        assert!(keys(&[&"a".repeat(20), &"b".repeat(18)]).is_ok(), "control");
    }
}
