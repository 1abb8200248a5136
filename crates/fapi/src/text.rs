//! What several steps read in the same way: the characters and escapes of RFC 3986.

/// The byte that an escape stands for, from what follows its percent sign; `None` unless that is two hexadecimal digits.
pub(super) fn read_escape(bytes: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let mut digit = || char::from(bytes.next()?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (high, low) = (digit()?, digit()?);
    Some((high << 4) | low)
}

/// `unreserved` of RFC 3986 §2.3.
pub(super) const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

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
