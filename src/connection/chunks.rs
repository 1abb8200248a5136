//! Checks the framing of a chunked body byte by byte, exactly as strictly as RFC 9112 §7.1 defines it.
//!
//! Pingora looks for the CRLF that ends the size line of a chunk, and treats a bare LF before it as part of that line.
//! Another server that ends the line at the LF sees different chunks, and a different next request (CVE-2025-55315).

/// The position of the next byte in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunks {
    /// In the size of a chunk, after this many digits.
    Size { size: u64, digits: u8 },
    /// In the extensions of a chunk, which are not interpreted.
    Extension { size: u64, length: u16, part: Part },
    /// After the CR that ends the size line.
    LineEnd { size: u64 },
    /// In the data of a chunk, with this many bytes left.
    Data { left: u64 },
    /// After the data of a chunk.
    DataEnd,
    /// After the CR that follows the data.
    DataLineEnd,
    /// In a line of the trailer section.
    Trailer { begun: bool },
    /// After the CR that ends a line of the trailer section.
    TrailerLineEnd { begun: bool },
    /// After the body.
    Ended,
    /// Nowhere: this is not a chunked body.
    Broken,
}

/// The position in a chunk extension: `*( BWS ";" BWS chunk-ext-name [ BWS "=" BWS chunk-ext-val ] )` (RFC 9112 §7.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// In white space before the first semicolon.
    Before,
    /// After the semicolon, before the name.
    Start,
    /// In the name.
    Name,
    /// In white space after the name.
    NameEnd,
    /// After the equals sign, before the value.
    Equals,
    /// In a value that is a token.
    Token,
    /// In a quoted value.
    Quoted,
    /// After a backslash in a quoted value.
    Escaped,
    /// After the closing quote.
    QuotedEnd,
    /// In white space after the value.
    ValueEnd,
}

impl Part {
    /// Returns the position after a byte that does not end the extensions; `None` if it may not stand there.
    const fn after(self, byte: u8) -> Option<Self> {
        let blank = matches!(byte, b' ' | b'\t');
        match (self, byte) {
            (Self::Quoted, b'"') => Some(Self::QuotedEnd),
            (Self::Quoted, b'\\') => Some(Self::Escaped),
            (Self::Quoted | Self::Escaped, b'\t' | b' '..=b'~' | 0x80..) => Some(Self::Quoted),
            (Self::Before | Self::Start | Self::Equals, _) if blank => Some(self),
            (Self::Start | Self::Name, _) if is_token_byte(byte) => Some(Self::Name),
            (Self::Name | Self::NameEnd, _) if blank => Some(Self::NameEnd),
            (Self::Name | Self::NameEnd, b'=') => Some(Self::Equals),
            (Self::Equals, b'"') => Some(Self::Quoted),
            (Self::Equals | Self::Token, _) if is_token_byte(byte) => Some(Self::Token),
            (Self::Token | Self::QuotedEnd | Self::ValueEnd, _) if blank => Some(Self::ValueEnd),
            (Self::Before | Self::Name | Self::NameEnd | Self::Token | Self::QuotedEnd | Self::ValueEnd, b';') => {
                Some(Self::Start)
            }
            (_, _) => None,
        }
    }

    /// Whether the extensions may end here.
    const fn may_end(self) -> bool {
        matches!(self, Self::Name | Self::Token | Self::QuotedEnd)
    }
}

/// `tchar` (RFC 9110 §5.6.2).
const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

impl Default for Chunks {
    fn default() -> Self {
        Self::Size { size: 0, digits: 0 }
    }
}

impl Chunks {
    /// Consumes the next bytes; returns those that follow the body.
    pub(super) fn take<'b>(&mut self, mut bytes: &'b [u8]) -> &'b [u8] {
        while let [byte, rest @ ..] = bytes {
            match *self {
                Self::Ended => return bytes,
                Self::Broken => return &[],
                Self::Data { left } => {
                    let length = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = &bytes[length..];
                    let left = left.saturating_sub(length as u64);
                    *self = if left == 0 { Self::DataEnd } else { Self::Data { left } };
                }
                Self::Size { .. }
                | Self::Extension { .. }
                | Self::LineEnd { .. }
                | Self::DataEnd
                | Self::DataLineEnd
                | Self::Trailer { .. }
                | Self::TrailerLineEnd { .. } => {
                    *self = self.after(*byte);
                    bytes = rest;
                }
            }
        }
        &[]
    }

    /// Returns the position after a byte outside of data.
    fn after(self, byte: u8) -> Self {
        match (self, byte) {
            (Self::Size { size, digits }, _) if byte.is_ascii_hexdigit() && digits < MAX_DIGITS => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                Self::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (Self::Size { size, digits: 1.. }, b'\r') => Self::LineEnd { size },
            (Self::Size { size, digits: 1.. }, b';') => Self::Extension { size, length: 0, part: Part::Start },
            (Self::Size { size, digits: 1.. }, b' ' | b'\t') => Self::Extension { size, length: 1, part: Part::Before },
            (Self::Extension { size, part, .. }, b'\r') if part.may_end() => Self::LineEnd { size },
            (Self::Extension { size, length, part }, _) if length < MAX_EXTENSION => match part.after(byte) {
                Some(part) => Self::Extension { size, length: length + 1, part },
                None => Self::Broken,
            },
            (Self::LineEnd { size: 0 }, b'\n') => Self::Trailer { begun: false },
            (Self::LineEnd { size }, b'\n') => Self::Data { left: size },
            (Self::DataEnd, b'\r') => Self::DataLineEnd,
            (Self::DataLineEnd, b'\n') => Self::default(),
            (Self::Trailer { begun }, b'\r') => Self::TrailerLineEnd { begun },
            // A folded line begins with white space (RFC 9112 §5.2).
            (Self::Trailer { begun: true }, b'\t' | b' ') => self,
            (Self::Trailer { .. }, b'!'..=b'~' | 0x80..) => Self::Trailer { begun: true },
            (Self::TrailerLineEnd { begun: true }, b'\n') => Self::Trailer { begun: false },
            (Self::TrailerLineEnd { begun: false }, b'\n') => Self::Ended,
            (_, _) => Self::Broken,
        }
    }
}

/// The largest number of digits in a size: 60 bits, which no body comes near and which overflow no reader.
const MAX_DIGITS: u8 = 15;

/// The largest size of one chunk's extensions, in bytes.
const MAX_EXTENSION: u16 = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(text: impl AsRef<[u8]>) -> Chunks {
        let mut whole = Chunks::default();
        whole.take(text.as_ref());
        let mut bytewise = Chunks::default();
        for byte in text.as_ref() {
            bytewise.take(std::slice::from_ref(byte));
        }
        assert_eq!(whole, bytewise);
        whole
    }

    #[test]
    fn takes_what_rfc_9112_writes() {
        for good in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "005\r\nhello\r\n000\r\n\r\n",
            "5;a=b;c=\"d e\"\r\nhe\r\nl\r\n0;x\r\n\r\n",
            "a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\nX: y\r\nZ: \u{e4} b\r\n\r\n",
            "5; a = b ;c\r\nhello\r\n0;x=\"\"\r\n\r\n",
            "5 ;a\r\nhello\r\n0\t ; b\r\n\r\n",
            "5;a=\"\\\";=\"\r\nhello\r\n0\r\n\r\n",
            "0\r\n\r\nGET / HTTP/1.1\n\n",
        ] {
            assert_eq!(after(good), Chunks::Ended, "{good:?}");
        }
        assert_eq!(after("5\r\nhel"), Chunks::Data { left: 2 });
    }

    #[test]
    fn atk_sm_07_refuses_what_ends_somewhere_else_for_others() {
        for bad in [
            "5;a\n",
            "5\n",
            "5\r5",
            "5\r\nhello\n",
            "5\r\nhello0",
            "5\r\nhello\r0",
            "0\n\n",
            "0\r\n\n",
            "0\r\nX: y\n",
            "0\r\n X: y",
            "0\r\n\r0",
            " 5",
            "5 \r",
            "5 5",
            "5\ta",
            "5 =",
            "+5",
            "-5",
            "0x5",
            "",
            "\r\n",
            ";a\r\n",
            "5;\r",
            "5; \r",
            "5;;",
            "5;a;\r",
            "5;a \r",
            "5;a=\r",
            "5;a=;",
            "5;=b",
            "5;a=b=",
            "5;a b",
            "5;a=\"b\r",
            "5;a=\"b\"c",
            "5;a=\"b\\\r",
            "5;(",
            "5;\0",
            "5;\r5",
            "1000000000000000\r\n",
            "5_0",
        ] {
            let wanted = if bad.is_empty() { Chunks::default() } else { Chunks::Broken };
            assert_eq!(after(bad), wanted, "{bad:?}");
        }
        assert_eq!(after(format!("5;{}", "a".repeat(257))), Chunks::Broken);
        assert_eq!(after(format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(256))), Chunks::Ended); // control
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(prop::sample::select(b"0f;\r\n a\0\xff".to_vec()), 0..40)) {
            after(bytes);
        }

        #[test]
        fn every_body_in_chunks_is_taken_whole(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6)) {
            let mut body = Vec::new();
            for piece in pieces {
                body.extend(format!("{:x}\r\n", piece.len()).into_bytes());
                body.extend(piece);
                body.extend(b"\r\n");
            }
            body.extend(b"0\r\n\r\n");
            prop_assert_eq!(after(body), Chunks::Ended);
        }
    }
}
