//! The head of an HTTP/1 request as it arrives: what Pingora does not preserve of it, and what is refused before Pingora
//! reads it.

use fapi::message::Outline;
use memchr::memchr;

use super::chunks::Chunks;
use super::phase::Phase;

/// What can go wrong before there is a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EarlyFault {
    /// The header section cannot be parsed, or Pingora refuses it without a reason.
    Malformed(Outline),
    /// It is too large.
    TooLarge {
        /// How many bytes had arrived by then.
        bytes: usize,
    },
    /// It has too many fields.
    TooManyFields,
    /// It took too long.
    TimedOut,
}

/// The parts of an incoming request that Pingora does not preserve.
///
/// The first line consists of method, target and version in visible ASCII, separated by single spaces (RFC 9112 §3):
/// Pingora escapes other bytes before any other code sees them. It is followed by lines with one field each, up to an
/// empty line; Pingora treats a section with more than 256 fields as one that cannot be parsed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Head {
    spaces: u8,
    /// The number of complete lines.
    lines: usize,
    /// Whether the current line has any bytes.
    begun: bool,
    ended: bool,
    /// What Pingora may refuse.
    outline: Outline,
    /// What follows, parsed as a chunked body; whether it is one is not known here.
    body: Chunks,
    /// The number of bytes that follow.
    body_bytes: u64,
}

impl Head {
    /// Consumes the next bytes.
    pub(super) fn take(&mut self, mut bytes: &[u8], fields: usize) -> Result<(), EarlyFault> {
        while !bytes.is_empty() {
            if self.ended {
                self.take_body(bytes, Phase::NOT_READ_ON);
                return Ok(());
            }
            let (line, ends) = match memchr(b'\n', bytes) {
                Some(end) => (&bytes[..end], true),
                None => (bytes, false),
            };
            if self.lines == 0 {
                self.take_of_first_line(line)?;
            }
            // The outline decides about a code alone, so a line that arrives in two reads may be missing from it.
            if ends && !self.begun {
                self.note(line.strip_suffix(b"\r").unwrap_or(line));
            }
            self.begun |= line.iter().any(|byte| *byte != b'\r');
            bytes = &bytes[line.len().saturating_add(usize::from(ends))..];
            if ends {
                self.end_line(fields)?;
            }
        }
        Ok(())
    }

    fn note(&mut self, line: &[u8]) {
        if self.lines == 0 {
            self.outline.note_request_line(line);
        } else {
            self.outline.note_field(line);
        }
    }

    fn take_of_first_line(&mut self, bytes: &[u8]) -> Result<(), EarlyFault> {
        for byte in bytes {
            match byte {
                b' ' => self.spaces = self.spaces.saturating_add(1),
                b'!'..=b'~' | b'\r' => {}
                _ => return Err(EarlyFault::Malformed(self.outline)),
            }
        }
        Ok(())
    }

    fn end_line(&mut self, fields: usize) -> Result<(), EarlyFault> {
        if self.lines == 0 && self.spaces != 2 {
            return Err(EarlyFault::Malformed(self.outline));
        }
        self.ended = !self.begun;
        self.lines = self.lines.saturating_add(1);
        self.begun = false;
        if !self.ended && self.lines.saturating_sub(1) > fields {
            return Err(EarlyFault::TooManyFields);
        }
        Ok(())
    }

    /// What the head says of its framing and host.
    pub(super) const fn outline(&self) -> Outline {
        self.outline
    }

    /// Whether what follows breaks the framing of a chunked body.
    pub(super) fn breaks_chunks(&self) -> bool {
        self.body == Chunks::Broken
    }

    /// Consumes the next bytes of the body; returns how many of them follow it, if its end is known.
    pub(super) fn take_body(&mut self, bytes: &[u8], end: u64) -> usize {
        let after_chunks = self.body.take(bytes).len();
        let length = bytes.len() as u64;
        let after = match end {
            Phase::NOT_READ_ON => 0,
            Phase::AT_CHUNKS_END => after_chunks,
            end => {
                let left = end.saturating_sub(self.body_bytes);
                usize::try_from(length.saturating_sub(left)).unwrap_or(bytes.len())
            }
        };
        self.body_bytes = self.body_bytes.saturating_add(length);
        after
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the fault in a text, which is the same whether it arrives at once or byte by byte.
    fn judge(text: &str) -> Option<EarlyFault> {
        let whole = Head::default().take(text.as_bytes(), 2).err();
        let mut head = Head::default();
        let bytes = text.bytes().map(|byte| head.take(&[byte], 2)).find_map(Result::err);
        assert_eq!(whole, bytes, "{text:?}");
        whole
    }

    #[test]
    fn counts_fields_up_to_the_empty_line() {
        for good in [
            "GET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\n\r\n",
            "GET / HTTP/1.1\nA: 1\nB: 2\n\n",
            "POST / HTTP/1.1\r\nA: 1\r\nB: 2\r\n\r\n1\r\n2\r\n3\r\n4\r\n",
        ] {
            assert_eq!(judge(good), None, "{good:?}");
        }
        assert_eq!(judge("GET / HTTP/1.1\r\nA: 1\r\nB: 2\r\nC: 3\r\n"), Some(EarlyFault::TooManyFields));
        assert_eq!(judge("GET / HTTP/1.1\nA: 1\nB: 2\nC: 3\n"), Some(EarlyFault::TooManyFields));
    }

    #[test]
    fn the_first_line_is_a_request_line() {
        for bad in ["\r\nGET / HTTP/1.1\r\n", "GET  / HTTP/1.1\r\n", "GET /\r\n", "GET /\u{e4} HTTP/1.1\r\n", "GET\t/"]
        {
            assert_eq!(judge(bad), Some(EarlyFault::Malformed(Outline::default())), "{bad:?}");
        }
        assert_eq!(judge("GET / HTTP/1.1\r\nA: \u{e4}\t\r\n"), None); // control
    }
}
