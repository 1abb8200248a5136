//! The end of the body, which there must be only one way to find (RFC 9112 §6, RFC 9113 §8.1).

use http::header;
use http::request::Parts;

use super::error::MessageError;
use super::head::{FirstTwo, Wire};

/// Returns the declared length of the body, if there is only one way to find its end.
pub(super) fn check_framing<'r>(request: &Parts, wire: Wire<'r>) -> Result<Option<u64>, MessageError> {
    let ambiguous = |why| MessageError::FramingAmbiguous { why };
    let fields = |name| request.headers.get_all(name).iter().map(http::HeaderValue::as_bytes);
    let parsed =
        Framing::read(fields(&header::TRANSFER_ENCODING), fields(&header::CONTENT_LENGTH)).map_err(ambiguous)?;
    match wire {
        // RFC 9113 §8.1: "The chunked transfer encoding defined in Section 7.1 of [HTTP/1.1] cannot be used in HTTP/2."
        Wire::Http2 if parsed.chunked => Err(ambiguous("Transfer-Encoding in HTTP/2")),
        Wire::Http2 => Ok(parsed.length),
        // The parser may have dropped Content-Length in favour of Transfer-Encoding.
        Wire::Http1 { head, is_http_1_0 } => {
            let values = |first: FirstTwo<'r>| first.into_iter().flatten();
            let sent = Framing::read(values(head.encodings), values(head.lengths)).map_err(ambiguous)?;
            // RFC 9112 §6.1: "A server or client that receives an HTTP/1.0 message containing a Transfer-Encoding
            // header field MUST treat the message as if the framing is faulty".
            if is_http_1_0 && sent.chunked {
                return Err(ambiguous("Transfer-Encoding in HTTP/1.0"));
            }
            if sent != parsed {
                return Err(ambiguous("the fields as sent and as parsed differ"));
            }
            Ok(sent.length)
        }
    }
}

#[derive(PartialEq, Eq)]
struct Framing {
    chunked: bool,
    length: Option<u64>,
}

impl Framing {
    fn read<'r>(
        mut encodings: impl Iterator<Item = &'r [u8]>,
        mut lengths: impl Iterator<Item = &'r [u8]>,
    ) -> Result<Self, &'static str> {
        let (encoding, length) = (encodings.next(), lengths.next());
        // RFC 9112 §6.3 (3): "Such a message might indicate an attempt to perform request smuggling […] and ought to be
        // handled as an error."
        if encoding.is_some() && length.is_some() {
            return Err("both Transfer-Encoding and Content-Length");
        }
        if encodings.next().is_some() {
            return Err("more than one Transfer-Encoding");
        }
        // RFC 9110 §8.6: with a repeated equal value, a recipient "MAY either reject the message" or use the value.
        if lengths.next().is_some() {
            return Err("more than one Content-Length");
        }
        encoding.map_or(Ok(()), check_encoding)?;
        Ok(Self { chunked: encoding.is_some(), length: length.map(read_length).transpose()? })
    }
}

/// Removes leading spaces. Other white space is valid, but parsers read it differently (ATK-SM-02, ATK-SM-03), and no
/// legitimate client sends it.
fn after_spaces(mut value: &[u8]) -> &[u8] {
    while let Some(rest) = value.strip_prefix(b" ") {
        value = rest;
    }
    value
}

/// Checks that a value of Transfer-Encoding is `chunked` alone, the only transfer coding that the gateway knows.
pub(super) fn check_encoding(value: &[u8]) -> Result<(), &'static str> {
    let is_chunked = after_spaces(value).eq_ignore_ascii_case(b"chunked");
    if is_chunked { Ok(()) } else { Err("Transfer-Encoding is not \"chunked\" alone") }
}

/// Reads `Content-Length = 1*DIGIT` (RFC 9110 §8.6), if it fits into 64 bits.
pub(super) fn read_length(value: &[u8]) -> Result<u64, &'static str> {
    let digits = Some(after_spaces(value)).filter(|digits| digits.iter().all(u8::is_ascii_digit));
    let length = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
    length.ok_or("Content-Length is not one number")
}
