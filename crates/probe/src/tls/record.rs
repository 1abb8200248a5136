//! Records, the envelopes of TLS (RFC 5246 §6.2, RFC 8446 §5.1), read one at a time and never more than that.

use std::io::{self, ErrorKind, Read};

pub(super) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const APPLICATION_DATA: u8 = 23;

/// The longest fragment of plaintext (RFC 5246 §6.2.1).
pub(super) const MAX_PLAINTEXT: usize = 1 << 14;
/// The longest fragment when it is encrypted (RFC 5246 §6.2.3).
const MAX_CIPHERTEXT: usize = MAX_PLAINTEXT + 2048;

/// One record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) kind: u8,
    version: u16,
    pub(super) body: Vec<u8>,
}

impl Record {
    /// The record as it came.
    pub(super) fn encode(&self) -> Option<Vec<u8>> {
        encode(self.kind, self.version, &self.body)
    }
}

/// Why there is no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    Closed,
    Reset,
    Timeout,
    Garbage(&'static str),
    Io(ErrorKind),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        let kind = error.kind();
        if kind == ErrorKind::UnexpectedEof {
            Self::Closed
        } else if [ErrorKind::ConnectionReset, ErrorKind::ConnectionAborted, ErrorKind::BrokenPipe].contains(&kind) {
            Self::Reset
        } else if [ErrorKind::TimedOut, ErrorKind::WouldBlock].contains(&kind) {
            Self::Timeout
        } else {
            Self::Io(kind)
        }
    }
}

/// A record around `body`; `None` if that is too long for one.
pub(super) fn encode(kind: u8, version: u16, body: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(body.len()).ok()?;
    Some([&[kind], &version.to_be_bytes()[..], &length.to_be_bytes(), body].concat())
}

/// The next record.
pub(super) fn read(stream: &mut impl Read) -> Result<Record, Failure> {
    let mut header = [0; 5];
    stream.read_exact(&mut header)?;
    let [kind, major, minor, high, low] = header;
    if !(CHANGE_CIPHER_SPEC..=APPLICATION_DATA).contains(&kind) {
        return Err(Failure::Garbage("not a record of TLS"));
    }
    if major != 3 {
        return Err(Failure::Garbage("a record of an unknown version"));
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > MAX_CIPHERTEXT {
        return Err(Failure::Garbage("a record that is too long"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Record { kind, version: u16::from_be_bytes([major, minor]), body })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_read_back() {
        let bytes = encode(HANDSHAKE, 0x0303, b"abc").unwrap();
        let mut stream = [&bytes[..], b"rest"].concat();
        let mut cursor = &stream[..];
        let record = read(&mut cursor).unwrap();
        assert_eq!((record.kind, &record.body[..], cursor), (HANDSHAKE, &b"abc"[..], &b"rest"[..]));
        assert_eq!(record.encode(), Some(bytes));

        stream.truncate(7);
        assert_eq!(read(&mut &stream[..]), Err(Failure::Closed));
        for (bytes, why) in [
            (b"HTTP/1.1 400", "not a record of TLS"),
            (b"\x16\x02\x01\x00\x01abcdefg", "a record of an unknown version"),
            (b"\x16\x03\x01\xff\xffabcdefg", "a record that is too long"),
        ] {
            assert_eq!(read(&mut &bytes[..]), Err(Failure::Garbage(why)));
        }
    }
}
