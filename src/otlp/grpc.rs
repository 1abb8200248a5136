//! The little of gRPC that a single call needs: a message with a prefix of five bytes, and a status in the trailers.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderValue};

/// The media type of requests and responses.
pub(super) const MEDIA_TYPE: &str = "application/grpc";

/// The status of a call, other than OK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    code: u16,
    /// What the server says of it, as printable ASCII.
    message: String,
}

impl Status {
    /// Reads the status of a response from its trailers, or from its header section if it has nothing else.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn of(fields: &HeaderMap) -> Result<Result<(), Self>, &'static str> {
        let code = fields.get("grpc-status").ok_or("the response has no grpc-status")?;
        let code = code.to_str().ok().and_then(|code| code.parse().ok()).ok_or("grpc-status is not a number")?;
        if code == OK {
            return Ok(Ok(()));
        }
        let message = fields.get("grpc-message").map(HeaderValue::as_bytes).unwrap_or_default();
        let printable = |byte: &u8| if byte.is_ascii_graphic() { char::from(*byte) } else { ' ' };
        Ok(Err(Self { code, message: message.iter().take(LONGEST).map(printable).collect() }))
    }

    /// Whether the protocol says that the same may succeed later.
    pub(super) const fn may_pass(&self) -> bool {
        matches!(self.code, CANCELLED | DEADLINE_EXCEEDED | ABORTED | OUT_OF_RANGE | UNAVAILABLE | DATA_LOSS)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it refused the call with the gRPC status {}", self.code)?;
        if self.message.is_empty() { Ok(()) } else { write!(f, ": {}", self.message) }
    }
}

/// The body of a call with this message, not compressed.
pub(super) fn framed(message: &[u8]) -> Bytes {
    let mut body = BytesMut::with_capacity(message.len().saturating_add(PREFIX));
    body.put_u8(0);
    // A batch is far from 4 GiB.
    body.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    body.put_slice(message);
    body.freeze()
}

/// The message in the body of a response.
///
/// # Errors
/// What is wrong with it.
pub(super) fn unframed(body: &[u8]) -> Result<&[u8], &'static str> {
    let (&[compressed, a, b, c, d], message) =
        body.split_first_chunk::<PREFIX>().ok_or("the response has no message")?;
    let length = u32::from_be_bytes([a, b, c, d]);
    match compressed {
        0 if usize::try_from(length).is_ok_and(|length| length == message.len()) => Ok(message),
        0 => Err("the response has no single message"),
        _ => Err("the response is compressed, which was not offered"),
    }
}

const PREFIX: usize = 5;
/// How much of a message is kept.
const LONGEST: usize = 200;

const OK: u16 = 0;
const CANCELLED: u16 = 1;
const DEADLINE_EXCEEDED: u16 = 4;
const ABORTED: u16 = 10;
const OUT_OF_RANGE: u16 = 11;
const UNAVAILABLE: u16 = 14;
const DATA_LOSS: u16 = 15;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn status(fields: &[(&'static str, &str)]) -> Result<Result<(), Status>, &'static str> {
        Status::of(&fields.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect())
    }

    #[test]
    fn a_status_is_a_number_and_its_message_is_cut_and_printable() {
        assert_eq!(status(&[("grpc-status", "0"), ("grpc-message", "fine")]), Ok(Ok(()))); // control
        let refused = status(&[("grpc-status", "7"), ("grpc-message", "no\tway")]).unwrap().unwrap_err();
        assert_eq!(refused.to_string(), "it refused the call with the gRPC status 7: no way");
        assert!(!refused.may_pass());
        assert!(status(&[("grpc-status", "14")]).unwrap().unwrap_err().may_pass());
        let long = status(&[("grpc-status", "2"), ("grpc-message", &"x".repeat(9000))]).unwrap().unwrap_err();
        assert_eq!(long.message.len(), LONGEST);
        for bad in [&[][..], &[("grpc-status", "")], &[("grpc-status", "OK")], &[("grpc-status", "-1")]] {
            assert!(status(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_body_has_one_message() {
        assert_eq!(unframed(&framed(b"spans")), Ok(&b"spans"[..])); // control
        assert_eq!(unframed(&framed(b"")), Ok(&b""[..]));
        let two = [framed(b"a"), framed(b"b")].concat();
        for bad in [&b""[..], b"\0\0\0\0", b"\0\0\0\0\x02a", b"\x01\0\0\0\x01a", &two, b"<html>"] {
            assert!(unframed(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn every_message_is_read_back_as_it_was(message: Vec<u8>, junk: Vec<u8>) {
            let body = framed(&message);
            prop_assert_eq!(unframed(&body), Ok(&*message));
            let _ = unframed(&junk);
        }
    }
}
