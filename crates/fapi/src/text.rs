//! Text that several steps read or show in the same way: characters and escapes (RFC 3986 §2), field values and media
//! types (RFC 9110 §5.5, §8.3.1), and what others sent, in the reasons of refusals.

use std::borrow::Cow;
use std::fmt;

use http::header::AsHeaderName;
use http::{HeaderMap, HeaderValue};
use percent_encoding::percent_decode_str;
use serde_json::Value;
use uuid::Uuid;

/// Whether a `Content-Type` is this media type, regardless of case and of parameters.
///
/// Does not read the parameters: a malformed one does not change what the body is.
pub fn is_media_type(content_type: &HeaderValue, media_type: &str) -> bool {
    let found = content_type.as_bytes().split(|&b| b == b';').next().unwrap_or_default();
    found.trim_ascii().eq_ignore_ascii_case(media_type.as_bytes())
}

/// Whether a `Content-Type` is `application/json`, or another of `application/` with the structured syntax `+json`
/// (RFC 6839 §3.1), in UTF-8.
pub fn is_json(content_type: &str) -> bool {
    is_json_type(content_type) && names_only_utf8(content_type)
}

/// The same in any character set.
pub(crate) fn is_json_type(content_type: &str) -> bool {
    let subtype = content_type.split(';').next().map(|media_type| media_type.trim().to_ascii_lowercase());
    let subtype = subtype.as_deref().and_then(|media_type| media_type.strip_prefix("application/"));
    let of_json = |subtype: &str| {
        let other = subtype.strip_suffix("+json").is_some_and(|name| !name.is_empty());
        (subtype == "json" || other) && subtype.bytes().all(is_token_byte)
    };
    subtype.is_some_and(of_json)
}

/// Whether a `Content-Type` names no character set but UTF-8.
pub(crate) fn names_only_utf8(content_type: &str) -> bool {
    // RFC 8259 §11 defines no `charset`; there are readers that obey it all the same.
    let in_utf8 = |parameter: &str| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let is_charset = name.trim().to_ascii_lowercase().starts_with("charset");
        !is_charset || value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
    };
    content_type.split(';').skip(1).all(in_utf8)
}

/// The value of a field that has exactly one line.
pub fn sole_value(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

/// The UUID that is written in canonical form, with hyphens (RFC 9562 §4). The library reads other forms too, which have other
/// lengths.
pub(crate) fn canonical_uuid(text: &str) -> Option<Uuid> {
    Uuid::try_parse(text).ok().filter(|_| text.len() == 36)
}

/// Whether a field value begins or ends with white space, which HTTP/1 does not count as part of it, and which makes a
/// message of HTTP/2 malformed (RFC 9113 §8.2.1).
pub(crate) fn is_padded(value: &HeaderValue) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    is_space(value.as_bytes().first()) || is_space(value.as_bytes().last())
}

/// Decodes an escape from the bytes after its percent sign; `None` unless these are two hexadecimal digits.
pub(crate) fn read_escape(bytes: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let mut digit = || char::from(bytes.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (high, low) = (digit()?, digit()?);
    Some((high << 4) | low)
}

/// Whether each percent sign begins an escape.
pub(crate) fn has_whole_escapes(text: &str) -> bool {
    text.split('%').skip(1).all(|after| read_escape(&mut after.bytes()).is_some())
}

/// Decodes escapes once, and nothing else: a plus remains one. `None` if an escape is malformed, or if the result is not text or
/// has control characters.
pub fn percent_decoded(text: &str) -> Option<Cow<'_, str>> {
    let decoded = has_whole_escapes(text).then(|| percent_decode_str(text).decode_utf8().ok()).flatten()?;
    (!decoded.chars().any(char::is_control)).then_some(decoded)
}

/// Whether a byte is `unreserved` (RFC 3986 §2.3).
pub(crate) const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Whether a text is the scheme of a URI (RFC 3986 §3.1).
pub(crate) fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// Whether a text has a scheme and something after it, in printable ASCII without white space. Does not read what comes after it.
pub(crate) fn is_uri(text: &str) -> bool {
    let parts = text.split_once(':').filter(|(scheme, rest)| is_scheme(scheme) && !rest.is_empty());
    parts.is_some() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A name as those read it who ignore case, in any language: the same for all texts that upper or lower case makes one.
///
/// Not ASCII alone: in upper case the dotless i and the long s are an I and an S, and `ß` is `SS`; in lower case the Kelvin sign
/// is a k, and the dotted I is an i, which keeps its dot as a character of its own or not.
pub(crate) fn folded<'t>(text: impl Into<Cow<'t, str>>) -> Cow<'t, str> {
    let text = text.into();
    if text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        return text;
    }
    let cases = text.chars().flat_map(char::to_lowercase).flat_map(char::to_uppercase).flat_map(char::to_lowercase);
    cases.filter(|character| *character != DOT_ABOVE).collect::<String>().into()
}

/// A name as those read it who ignore case, and what follows a NUL.
pub(crate) fn as_read(name: &str) -> Cow<'_, str> {
    folded(name.split('\0').next().unwrap_or_default())
}

const DOT_ABOVE: char = '\u{307}';

/// Makes untrusted text safe to log: printable ASCII, at most 64 characters.
pub fn printable(text: &str) -> Box<str> {
    text.chars().map(to_printable).take(64).collect::<String>().into()
}

const fn to_printable(c: char) -> char {
    if c.is_ascii_graphic() || c == ' ' { c } else { '?' }
}

/// The names on one side of a comparison that failed, such as audiences, for operators.
///
/// Made for a refusal: has at most 16 of them, each of at most 128 characters, and shows them as a JSON-like list of
/// printable ASCII, so that its text is bounded and cannot be read as something else, whoever chose the names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    shown: Vec<Box<str>>,
    more: usize,
}

impl Names {
    pub(crate) fn of(names: impl IntoIterator<Item: AsRef<str>>) -> Self {
        let mut names = names.into_iter();
        let shown = names.by_ref().take(MAX_NAMES).map(|name| shown(name.as_ref())).collect();
        Self { shown, more: names.count() }
    }
}

/// `["a", "b"]`; if there are too many, the last one is followed by their number.
impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.shown)?;
        if self.more == 0 { Ok(()) } else { write!(f, " and {} more", self.more) }
    }
}

const MAX_NAMES: usize = 16;

/// The value of a member, for operators: text in quotes, bounded and escaped like one of [`Names`]; numbers, booleans
/// and null as they are; of lists and objects only that they are one; `missing` if there is none.
pub(crate) fn shown_value(value: Option<&Value>) -> Box<str> {
    match value {
        None => "missing".into(),
        Some(Value::String(text)) => shown_text(text),
        Some(Value::Array(_)) => "a list".into(),
        Some(Value::Object(_)) => "an object".into(),
        Some(plain @ (Value::Null | Value::Bool(_) | Value::Number(_))) => plain.to_string().into(),
    }
}

/// A text as details of rejections quote it: printable ASCII, at most 128 characters, in quotes and escaped.
pub fn shown_text(text: &str) -> Box<str> {
    format!("{:?}", shown(text)).into()
}

/// Which key was looked for, after the word "key": nothing if the token has no `kid`.
pub(crate) fn with_kid(key_id: Option<&str>) -> String {
    key_id.map(|key_id| format!(" with kid {key_id:?}")).unwrap_or_default()
}

/// Printable ASCII, at most 128 characters, the last of which say if that is not all.
fn shown(text: &str) -> Box<str> {
    const MAX: usize = 128;
    let cut = text.chars().nth(MAX).is_some();
    let kept = text.chars().take(if cut { MAX - 3 } else { MAX });
    let mut shown: String = kept.map(to_printable).collect();
    if cut {
        shown.push_str("...");
    }
    shown.into()
}

/// Whether a text is a `scope-token`: `1*( %x21 / %x23-5B / %x5D-7E )` (RFC 6749 §3.3).
pub(crate) fn is_scope_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\')
}

/// Whether a byte is a `tchar` (RFC 9110 §5.6.2).
pub(crate) const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_media_type_is_compared_without_case_and_parameters() {
        let is_json = |value: &[u8]| is_media_type(&HeaderValue::from_bytes(value).unwrap(), "application/json");
        for value in [
            "application/json",
            "Application/JSON",
            " application/json\t; charset=utf-8",
            "application/json;",
            "application/json;;x",
        ] {
            assert!(is_json(value.as_bytes()), "{value}"); // control
        }
        assert!(is_json(b"application/json; x=\xe9")); // control
        for value in
            ["", ";", "application", "application/jsonx", "application/json,text/html", "text/html;application/json"]
        {
            assert!(!is_json(value.as_bytes()), "{value}");
        }
    }

    #[test]
    fn names_are_bounded_and_printable() {
        let names = |count: usize| Names::of(std::iter::repeat_n("a", count)).to_string();
        assert_eq!((names(0).as_str(), names(2).as_str()), ("[]", r#"["a", "a"]"#)); // control
        assert_eq!(names(16), format!("[{}]", [r#""a""#; 16].join(", ")));
        assert_eq!(names(18), format!("[{}] and 2 more", [r#""a""#; 16].join(", ")));
        let long = |count: usize| Names::of([&*"x".repeat(count)]).to_string();
        assert_eq!(long(128), format!("[\"{}\"]", "x".repeat(128))); // control
        assert_eq!(long(129), format!("[\"{}...\"]", "x".repeat(125)));
        assert_eq!(Names::of(["a\"b\\\n\u{e9}\u{7f}"]).to_string(), r#"["a\"b\\???"]"#);
        let most = format!("\"{}", "\u{1f600}".repeat(1000));
        assert!(Names::of(std::iter::repeat_n(&*most, 1000)).to_string().len() < 2200);
    }

    #[test]
    fn a_value_is_shown_as_what_it_is() {
        use serde_json::json;
        assert_eq!(&*shown_value(None), "missing");
        for (value, expected) in [
            (json!("JWT"), r#""JWT""#),
            (json!("missing"), r#""missing""#),
            (json!("null"), r#""null""#),
            (json!(""), r#""""#),
            (json!("a\"\n"), r#""a\"?""#),
            (json!(null), "null"),
            (json!(true), "true"),
            (json!(-1.5), "-1.5"),
            (json!(["JWT"]), "a list"),
            (json!({ "typ": "JWT" }), "an object"),
        ] {
            assert_eq!(&*shown_value(Some(&value)), expected, "{value}");
        }
    }

    #[test]
    fn rfc6749_3_3_a_scope_is_printable_ascii_without_space_quote_and_backslash() {
        assert!(["a", "!", "#~[]", "https://api.example/accounts.read"].into_iter().all(is_scope_token)); // control
        for text in ["", "a b", " ", "a\tb", "a\"", "a\\", "\u{7f}", "\u{e9}", "a\n"] {
            assert!(!is_scope_token(text), "{text:?}");
        }
    }

    #[test]
    fn a_name_is_folded_to_what_upper_and_lower_case_have_in_common() {
        for (name, other) in [
            ("detail", "detail"), // control
            ("detail", "DeTaIL"),
            ("detail", "deta\u{131}l"),
            ("detail", "DETA\u{130}L"),
            ("detail", "detai\u{307}l"),
            ("desk", "de\u{17f}\u{212a}"),
            ("pass", "pa\u{df}"),
            ("pass", "PA\u{1e9e}"),
            ("caf\u{e9}", "CAF\u{c9}"),
        ] {
            assert_eq!(folded(name), folded(other), "{other}");
        }
        for other in ["details", "det\u{e4}il", "detal", "deta\u{fe}l", "deta1l"] {
            assert_ne!(folded("detail"), folded(other), "{other}");
        }
        for character in '\0'..=char::MAX {
            let fold = |text: String| folded(text).into_owned();
            let whole = fold(character.to_string());
            assert_eq!(whole, fold(character.to_uppercase().to_string()), "{character:?}");
            assert_eq!(whole, fold(character.to_lowercase().to_string()), "{character:?}");
        }
    }

    #[test]
    fn text_is_decoded_once_or_not_at_all() {
        for (text, decoded) in [("", ""), ("a+b", "a+b"), ("%61%2Bb", "a+b"), ("%2561", "%61"), ("%C3%a9", "\u{e9}")] {
            assert_eq!(percent_decoded(text).as_deref(), Some(decoded), "{text}"); // control
        }
        for text in ["%", "a%", "%2", "%zz", "%%61", "%C3", "%E9", "%00", "a%0a", "%7F", "%C2%85"] {
            assert_eq!(percent_decoded(text), None, "{text}");
        }
    }

    #[test]
    fn an_escape_has_two_hexadecimal_digits() {
        for (text, byte) in [("41", 0x41), ("fF", 0xff), ("00", 0), ("2fz", 0x2f)] {
            assert_eq!(read_escape(&mut text.bytes()), Some(byte), "{text}"); // control
        }
        for text in ["", "4", "4g", "g4", "+4", "-1", " 4", "é", "%4"] {
            assert_eq!(read_escape(&mut text.bytes()), None, "{text}");
        }
    }
}
