//! The head of a message: its version, its lines and its fields (RFC 9112 §2.2, §5; RFC 9113 §8.2).

use http::request::Parts;
use http::{HeaderName, Version, header};

use super::error::MessageError;
use crate::text::is_token_byte;

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
    Http1 { head: Head<'r>, old: bool },
    Http2,
}

impl<'r> Wire<'r> {
    pub(super) fn of(facts: &Facts<'r>) -> Result<Self, MessageError> {
        let old = facts.version == Version::HTTP_10;
        if facts.version == Version::HTTP_2 {
            return Ok(Self::Http2);
        }
        if !old && facts.version != Version::HTTP_11 {
            return Err(MessageError::FramingAmbiguous { why: "the version is not HTTP/1.0, HTTP/1.1 or HTTP/2" });
        }
        match facts.raw_h1 {
            Some(raw) => Ok(Self::Http1 { head: Head(raw), old }),
            None => Err(MessageError::FramingAmbiguous { why: "the bytes of the HTTP/1 head are not available" }),
        }
    }
}

/// The bytes of an HTTP/1 head.
#[derive(Clone, Copy)]
pub(super) struct Head<'r>(&'r [u8]);

impl<'r> Head<'r> {
    /// Its lines as the most lenient parser would split them.
    fn lines(self) -> impl Iterator<Item = &'r [u8]> {
        self.0.split(|&b| b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// The values of a field, read leniently, so that every line is included that some parser may take for this field.
    pub(super) fn values(self, name: &'static HeaderName) -> impl Iterator<Item = &'r [u8]> {
        self.lines().filter_map(move |line| {
            let (field, value) = split_at_byte(line, b':')?;
            field.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()).then_some(value)
        })
    }

    pub(super) fn request_line(self) -> Option<RequestLine<'r>> {
        let (method, rest) = split_at_byte(self.lines().next()?, b' ')?;
        let (target, version) = split_at_byte(rest, b' ')?;
        Some(RequestLine { method, target, version })
    }

    /// Checks the lines by RFC 9112 §2.2 and §5, without any leniency that a MAY permits.
    fn check(self, request: &Parts, old: bool) -> Result<(), &'static str> {
        // RFC 9112 §2.2: "a recipient MAY recognize a single LF as a line terminator"; "A recipient of such a bare CR
        // MUST consider that element to be invalid or replace each bare CR with SP".
        let mut previous = b' ';
        for &byte in self.0 {
            match (previous, byte) {
                (b'\r', b'\n') => {}
                (_, b'\n') => return Err("a line ends in LF without CR"),
                (b'\r', _) => return Err("a CR is not followed by LF"),
                (_, _) => {}
            }
            previous = byte;
        }
        // RFC 9112 §2.2: a server "SHOULD ignore at least one empty line (CRLF) received prior to the request-line";
        // servers differ in how many they ignore.
        let line = self.request_line().ok_or("the first line is not a request line")?;
        let version: &[u8] = if old { b"HTTP/1.0" } else { b"HTTP/1.1" };
        if line.method != request.method.as_str().as_bytes() || line.version != version || line.target.is_empty() {
            return Err("the request line is not one method, one target and one version, a space apart");
        }
        let fields = self.0.strip_suffix(b"\r\n\r\n").ok_or("it does not end with an empty line")?;
        Head(fields).lines().skip(1).try_for_each(check_line)
    }
}

pub(super) struct RequestLine<'r> {
    pub(super) method: &'r [u8],
    pub(super) target: &'r [u8],
    pub(super) version: &'r [u8],
}

fn check_line(line: &[u8]) -> Result<(), &'static str> {
    // RFC 9112 §5.2: "A server that receives an obs-fold in a request message that is not within a "message/http"
    // container MUST either reject the message […] or replace each received obs-fold".
    if line.starts_with(b" ") || line.starts_with(b"\t") {
        return Err("a field is folded over several lines");
    }
    if line.is_empty() {
        return Err("an empty line is followed by more");
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
    if value.iter().any(|&b| b.is_ascii_control() && b != b'\t') {
        return Err("a field value has a control character");
    }
    Ok(())
}

pub(super) fn check_fields(request: &Parts, wire: Wire<'_>) -> Result<(), MessageError> {
    let malformed = |why| MessageError::HeaderMalformed { why };
    request.headers.values().try_for_each(|value| check_value(value.as_bytes())).map_err(malformed)?;
    match wire {
        Wire::Http1 { head, old } => head.check(request, old).map_err(malformed),
        // RFC 9113 §8.2.2: "Any message containing connection-specific header fields MUST be treated as malformed"; TE
        // "MUST NOT contain any value other than "trailers"".
        Wire::Http2 if CONNECTION_SPECIFIC.iter().any(|name| request.headers.contains_key(*name)) => {
            Err(malformed("a connection-specific field in HTTP/2"))
        }
        Wire::Http2 if request.headers.get_all(header::TE).iter().any(|value| value != "trailers") => {
            Err(malformed("TE in HTTP/2 is not \"trailers\""))
        }
        Wire::Http2 => Ok(()),
    }
}

fn split_at_byte(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let mut parts = text.splitn(2, |&b| b == byte);
    Some((parts.next()?, parts.next()?))
}

const CONNECTION_SPECIFIC: &[&str] = &["connection", "keep-alive", "proxy-connection", "upgrade"];
