//! The head of a message: its version, its lines and its fields (RFC 9112 §2.2, §5; RFC 9113 §8.2).

use http::request::Parts;
use http::{Version, header};
use memchr::memchr;

use super::error::MessageError;
use crate::text::{is_padded, is_token_byte};

/// What is known of a request besides its parsed head.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'r> {
    /// The HTTP version on the wire.
    pub version: Version,
    /// The head of an HTTP/1 request as received, from the request line to the empty line; `None` for HTTP/2.
    pub raw_h1: Option<&'r [u8]>,
    /// The server name of the TLS handshake (RFC 6066 §3).
    pub server_name: Option<&'r str>,
}

/// The message as it was on the wire.
#[derive(Clone, Copy)]
pub(super) enum Wire<'r> {
    Http1 { head: Head<'r>, is_http_1_0: bool },
    Http2,
}

impl<'r> Wire<'r> {
    pub(super) fn of(facts: &Facts<'r>) -> Result<Self, MessageError> {
        let is_http_1_0 = match facts.version {
            Version::HTTP_2 => return Ok(Self::Http2),
            Version::HTTP_11 => false,
            Version::HTTP_10 => true,
            _ => {
                return Err(MessageError::FramingAmbiguous { why: "the version is not HTTP/1.0, HTTP/1.1 or HTTP/2" });
            }
        };
        match facts.raw_h1 {
            Some(raw) => Ok(Self::Http1 { head: Head::read(raw), is_http_1_0 }),
            None => Err(MessageError::FramingAmbiguous { why: "the bytes of the HTTP/1 head are not available" }),
        }
    }
}

/// An HTTP/1 head, whose bytes were read once.
#[derive(Clone, Copy)]
pub(super) struct Head<'r> {
    /// The first line, if it has two spaces.
    pub(super) request_line: Option<RequestLine<'r>>,
    /// The values of Transfer-Encoding.
    pub(super) encodings: FirstTwo<'r>,
    /// The values of Content-Length.
    pub(super) lengths: FirstTwo<'r>,
    /// The first rule of RFC 9112 §2.2 and §5 that it breaks, read without any leniency that a MAY permits.
    fault: Option<&'static str>,
}

/// The first two values of a field, read leniently, so that every line is included that some parser may take for this
/// field; more would mean the same as two.
pub(super) type FirstTwo<'r> = [Option<&'r [u8]>; 2];

impl<'r> Head<'r> {
    /// Reads the lines as the most lenient parser would split them.
    fn read(bytes: &'r [u8]) -> Self {
        let mut head = Self { request_line: None, encodings: [None; 2], lengths: [None; 2], fault: None };
        let (mut rest, mut ended, mut first) = (bytes, false, true);
        while let Some((line, after)) = split_at_byte(rest, b'\n') {
            let (text, whole) = line.strip_suffix(b"\r").map_or((line, false), |text| (text, true));
            head.note_framing(text);
            let checked = if !whole {
                // RFC 9112 §2.2: "a recipient MAY recognize a single LF as a line terminator".
                Err("a line ends in LF without CR")
            } else if ended {
                Err("an empty line is followed by more")
            } else if first {
                head.request_line = RequestLine::read(text);
                // RFC 9112 §2.2: "A recipient of such a bare CR MUST consider that element to be invalid or replace each
                // bare CR with SP".
                memchr(b'\r', text).map_or(Ok(()), |_| Err("a CR is not followed by LF"))
            } else if text.is_empty() {
                ended = true;
                Ok(())
            } else {
                check_line(text)
            };
            head.fault = head.fault.or(checked.err());
            (rest, first) = (after, false);
        }
        head.note_framing(rest);
        let whole = ended && rest.is_empty();
        head.fault = head.fault.or((!whole).then_some("it does not end with an empty line"));
        head
    }

    fn note_framing(&mut self, line: &'r [u8]) {
        let Some((name, value)) = split_at_byte(line, b':') else { return };
        let name = name.trim_ascii();
        for (field, values) in
            [(&header::TRANSFER_ENCODING, &mut self.encodings), (&header::CONTENT_LENGTH, &mut self.lengths)]
        {
            if name.eq_ignore_ascii_case(field.as_str().as_bytes())
                && let Some(free) = values.iter_mut().find(|value| value.is_none())
            {
                *free = Some(value);
            }
        }
    }

    fn check(self, request: &Parts, is_http_1_0: bool) -> Result<(), &'static str> {
        // RFC 9112 §2.2: a server "SHOULD ignore at least one empty line (CRLF) received prior to the request-line";
        // servers differ in how many they ignore.
        let line = self.request_line.ok_or("the first line is not a request line")?;
        let version: &[u8] = if is_http_1_0 { b"HTTP/1.0" } else { b"HTTP/1.1" };
        if line.method != request.method.as_str().as_bytes() || line.version != version || line.target.is_empty() {
            return Err("the request line is not one method, one target and one version, a space apart");
        }
        self.fault.map_or(Ok(()), Err)
    }
}

#[derive(Clone, Copy)]
pub(super) struct RequestLine<'r> {
    pub(super) method: &'r [u8],
    pub(super) target: &'r [u8],
    pub(super) version: &'r [u8],
}

impl<'r> RequestLine<'r> {
    fn read(line: &'r [u8]) -> Option<Self> {
        let (method, rest) = split_at_byte(line, b' ')?;
        let (target, version) = split_at_byte(rest, b' ')?;
        Some(Self { method, target, version })
    }
}

fn check_line(line: &[u8]) -> Result<(), &'static str> {
    // RFC 9112 §5.2: "A server that receives an obs-fold in a request message that is not within a "message/http"
    // container MUST either reject the message […] or replace each received obs-fold".
    if line.starts_with(b" ") || line.starts_with(b"\t") {
        return Err("a field is folded over several lines");
    }
    let (name, value) = split_at_byte(line, b':').ok_or("a field has no colon")?;
    // RFC 9112 §5.1: "No whitespace is allowed between the field name and colon."
    if name.ends_with(b" ") || name.ends_with(b"\t") {
        return Err("there is white space before a colon");
    }
    if name.is_empty() || !name.iter().copied().all(is_token_byte) {
        return Err("a field name is not a token");
    }
    check_value(value)
}

/// RFC 9110 §5.5: "Field values containing CR, LF, or NUL characters are invalid and dangerous"; of the other control
/// characters, legitimate clients send only HTAB.
fn check_value(value: &[u8]) -> Result<(), &'static str> {
    // Without an early end, so that many bytes are compared at once.
    let found = value.iter().fold(false, |found, &byte| found | ((byte < b' ') & (byte != b'\t')) | (byte == 0x7f));
    if found { Err("a field value has a control character") } else { Ok(()) }
}

pub(super) fn check_fields(request: &Parts, wire: Wire<'_>) -> Result<(), MessageError> {
    let malformed = |why| MessageError::HeaderMalformed { why };
    match wire {
        Wire::Http1 { head, is_http_1_0 } => head.check(request, is_http_1_0).map_err(malformed),
        // RFC 9113 §8.2.2: "Any message containing connection-specific header fields MUST be treated as malformed"; TE
        // "MUST NOT contain any value other than "trailers"".
        Wire::Http2 if CONNECTION_SPECIFIC.iter().any(|name| request.headers.contains_key(*name)) => {
            Err(malformed("a connection-specific field in HTTP/2"))
        }
        Wire::Http2 if request.headers.get_all(header::TE).iter().any(|value| value != "trailers") => {
            Err(malformed("TE in HTTP/2 is not \"trailers\""))
        }
        Wire::Http2 => {
            for value in request.headers.values() {
                // RFC 9113 §8.2.1: "A field value MUST NOT start or end with an ASCII whitespace character". HTTP/1.1
                // removes it, so that the gateway and an upstream would have different values.
                if is_padded(value) {
                    return Err(malformed("white space before or after a field value"));
                }
                check_value(value.as_bytes()).map_err(malformed)?;
            }
            Ok(())
        }
    }
}

pub(super) fn split_at_byte(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let (before, from) = text.split_at_checked(memchr(byte, text)?)?;
    Some((before, from.split_first()?.1))
}

const CONNECTION_SPECIFIC: &[&str] = &["connection", "keep-alive", "proxy-connection", "upgrade"];
