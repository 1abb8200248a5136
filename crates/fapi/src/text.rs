//! Text that several steps read in the same way: characters and escapes (RFC 3986 §2), media types (RFC 9110 §8.3.1).

use http::HeaderValue;

/// Whether a `Content-Type` is this media type, regardless of case and of parameters.
///
/// Does not read the parameters: a malformed one does not change what the body is.
pub fn is_media_type(content_type: &HeaderValue, media_type: &str) -> bool {
    let found = content_type.as_bytes().split(|&b| b == b';').next().unwrap_or_default();
    found.trim_ascii().eq_ignore_ascii_case(media_type.as_bytes())
}

/// Decodes an escape from the bytes after its percent sign; `None` unless these are two hexadecimal digits.
pub(crate) fn read_escape(bytes: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let mut digit = || char::from(bytes.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (high, low) = (digit()?, digit()?);
    Some((high << 4) | low)
}

/// Whether a byte is `unreserved` (RFC 3986 §2.3).
pub(crate) const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Makes untrusted text safe to log: printable ASCII, at most 64 characters.
pub(crate) fn printable(text: &str) -> Box<str> {
    text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).take(64).collect::<String>().into()
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
    fn an_escape_has_two_hexadecimal_digits() {
        for (text, byte) in [("41", 0x41), ("fF", 0xff), ("00", 0), ("2fz", 0x2f)] {
            assert_eq!(read_escape(&mut text.bytes()), Some(byte), "{text}"); // control
        }
        for text in ["", "4", "4g", "g4", "+4", "-1", " 4", "é", "%4"] {
            assert_eq!(read_escape(&mut text.bytes()), None, "{text}");
        }
    }
}
