//! What must hold of an HTTP message before anything else is read: one framing, one reading of each field, sizes within
//! limits, a host that is ours (RFC 9112 §2.2, §3.2, §5, §6; RFC 9113 §8.2, §8.3; RFC 9110 §7.2, §7.4).
//!
//! An HTTP/1 head is judged by its bytes: a parser that repairs it leaves no trace in what it hands over. Chunks and
//! trailers come later and are the parser's to refuse; paths are read in [`route`](super::route).

use std::sync::Arc;

use http::request::Parts;
use http::{HeaderName, Method, Version, header, uri};

use super::code::Code;
use super::route::{Authority, Origin, Origins, same_host};
use super::text::is_token_byte;

/// What the connection knows of a request beyond its parsed head.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'r> {
    /// The version on the wire.
    pub version: Version,
    /// The head of an HTTP/1 request as received, from the request line to the empty line; `None` for HTTP/2.
    pub raw_h1: Option<&'r [u8]>,
    /// The name that TLS was opened for (RFC 6066 §3).
    pub server_name: Option<&'r str>,
}

/// How large a request may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of target and fields together, four more for each field.
    pub header_bytes: usize,
    /// Fields, pseudo-header fields not counted.
    pub header_count: usize,
    /// Bytes of the body.
    pub body_bytes: u64,
}

/// Why a message is refused for its form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Two readings of where the body ends.
    #[error("the length of the body has more than one reading: {why}")]
    FramingAmbiguous {
        /// What the other reading comes from.
        why: &'static str,
    },
    /// A head that parsers read differently.
    #[error("the header section is malformed: {why}")]
    HeaderMalformed {
        /// What is wrong.
        why: &'static str,
    },
    /// Too many fields.
    #[error("the header section has {fields} fields, the limit is {limit}")]
    TooManyFields {
        /// What was sent, or had arrived by then.
        fields: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Too long a header section.
    #[error("the header section has {bytes} bytes, the limit is {limit}")]
    HeaderTooLarge {
        /// What was sent.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Too long a target.
    #[error("the request target has {bytes} bytes, the limit is {limit}")]
    TargetTooLong {
        /// What was sent.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Too large a body.
    #[error("the body is larger than {limit} bytes")]
    BodyTooLarge {
        /// What is allowed.
        limit: u64,
    },
    /// Too slow a header section.
    #[error("the header section did not arrive in time")]
    HeaderTimeout,
    /// Too slow a body.
    #[error("the body did not arrive in time")]
    BodyTimeout,
    /// Too slow a reader.
    #[error("the client did not take its answer in time")]
    ClientStalled,
    /// Too long an exchange.
    #[error("the exchange did not end in time")]
    ExchangeTimeout,
    /// A body that breaks its framing.
    #[error("the body ended before its framing did, or broke it")]
    BodyMalformed,
    /// Nobody left to answer.
    #[error("the client left before it had its answer")]
    ClientGone,
    /// No host, or more than one.
    #[error("the request does not name one host: {why}")]
    HostMissing {
        /// What is wrong.
        why: &'static str,
    },
    /// No host name, or two that differ.
    #[error("the host is malformed: {why}")]
    HostMalformed {
        /// What is wrong.
        why: &'static str,
    },
    /// Another host than ours, or than the one that TLS was opened for.
    #[error("host \"{host}\" is no origin of this listener, or not the server name of the TLS connection")]
    HostUnknown {
        /// The host as sent, cut and made printable.
        host: Box<str>,
    },
    /// A connection that no handshake would let in any more.
    #[error(
        "no handshake would let the connection in now: its server name is not served, or it lacks a client certificate that counts"
    )]
    ConnectionOutdated,
    /// A method that is never forwarded.
    #[error("the method is CONNECT, TRACE, or not of upper-case letters")]
    MethodRefused,
    /// A change of protocol.
    #[error("the request asks for another protocol")]
    UpgradeRefused,
}

impl MessageError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::FramingAmbiguous { .. } => Code::FramingAmbiguous,
            Self::HeaderMalformed { .. } => Code::HeaderMalformed,
            Self::TooManyFields { .. } | Self::HeaderTooLarge { .. } => Code::HeaderTooLarge,
            Self::TargetTooLong { .. } => Code::TargetTooLong,
            Self::BodyTooLarge { .. } => Code::BodyTooLarge,
            Self::HeaderTimeout => Code::HeaderTimeout,
            Self::BodyTimeout => Code::BodyTimeout,
            Self::ClientStalled => Code::ClientStalled,
            Self::ExchangeTimeout => Code::ExchangeTimeout,
            Self::BodyMalformed => Code::BodyMalformed,
            Self::ClientGone => Code::ClientGone,
            Self::HostMissing { .. } => Code::HostMissing,
            Self::HostMalformed { .. } => Code::HostMalformed,
            Self::HostUnknown { .. } => Code::HostUnknown,
            Self::ConnectionOutdated => Code::ConnectionOutdated,
            Self::MethodRefused => Code::MethodRefused,
            Self::UpgradeRefused => Code::UpgradeRefused,
        }
    }
}

/// The origin that a well-formed request is sent to.
///
/// In this order: framing, header syntax, sizes, host, method, upgrade. CONNECT and TRACE are refused before the host is
/// read, for the target of CONNECT is no path (RFC 9112 §3.2.3).
///
/// Does not check: the path ([`Target::parse`](super::route::Target::parse)), the bytes of the body, its length when it
/// is not declared.
///
/// # Errors
/// [`MessageError`]; an HTTP/1 request whose bytes are not given is refused, since its framing cannot be known.
pub fn check(
    request: &Parts,
    facts: &Facts<'_>,
    limits: &Limits,
    origins: &Origins,
) -> Result<Arc<Origin>, MessageError> {
    let wire = Wire::of(facts)?;
    let declared = check_framing(request, wire)?;
    check_fields(request, wire)?;
    check_sizes(request, wire, declared, limits)?;
    // RFC 9110 §9.3.8: "A client MUST NOT generate fields in a TRACE request containing sensitive data that might be
    // disclosed by the response"; ours would carry identity.
    if request.method == Method::CONNECT || request.method == Method::TRACE {
        return Err(MessageError::MethodRefused);
    }
    let origin = check_host(request, wire, facts.server_name, origins)?;
    // RFC 9110 §9.1: "The method token is case-sensitive"; not everyone behind us agrees, so `get` is nobody's method.
    if !request.method.as_str().bytes().all(|b| b.is_ascii_uppercase() || b == b'-') {
        return Err(MessageError::MethodRefused);
    }
    if asks_for_upgrade(request) {
        return Err(MessageError::UpgradeRefused);
    }
    Ok(origin)
}

/// How the message came.
#[derive(Clone, Copy)]
enum Wire<'r> {
    Http1 { head: Head<'r>, old: bool },
    Http2,
}

impl<'r> Wire<'r> {
    fn of(facts: &Facts<'r>) -> Result<Self, MessageError> {
        let old = facts.version == Version::HTTP_10;
        if facts.version == Version::HTTP_2 {
            return Ok(Self::Http2);
        }
        if !old && facts.version != Version::HTTP_11 {
            return Err(MessageError::FramingAmbiguous { why: "the version is none of HTTP/1.0, HTTP/1.1 and HTTP/2" });
        }
        match facts.raw_h1 {
            Some(raw) => Ok(Self::Http1 { head: Head(raw), old }),
            None => Err(MessageError::FramingAmbiguous { why: "the bytes of the HTTP/1 head are not at hand" }),
        }
    }
}

/// The bytes of an HTTP/1 head.
#[derive(Clone, Copy)]
struct Head<'r>(&'r [u8]);

impl<'r> Head<'r> {
    /// Its lines as the most lenient of parsers would cut them.
    fn lines(self) -> impl Iterator<Item = &'r [u8]> {
        self.0.split(|&b| b == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// The values of a field, read leniently, so that a line which another parser may take for it counts.
    fn values(self, name: &'static HeaderName) -> impl Iterator<Item = &'r [u8]> {
        self.lines().filter_map(move |line| {
            let (field, value) = split_at_byte(line, b':')?;
            field.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()).then_some(value)
        })
    }

    fn request_line(self) -> Option<RequestLine<'r>> {
        let (method, rest) = split_at_byte(self.lines().next()?, b' ')?;
        let (target, version) = split_at_byte(rest, b' ')?;
        Some(RequestLine { method, target, version })
    }

    /// What RFC 9112 §2.2 and §5 say of lines, with every MAY of leniency refused.
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
        // RFC 9112 §2.2: a server "SHOULD ignore at least one empty line (CRLF) received prior to the request-line"; how
        // many it ignores is where two servers differ.
        let line = self.request_line().ok_or("the first line is no request line")?;
        let version: &[u8] = if old { b"HTTP/1.0" } else { b"HTTP/1.1" };
        if line.method != request.method.as_str().as_bytes() || line.version != version || line.target.is_empty() {
            return Err("the request line is not one method, one target and one version, a space apart");
        }
        let fields = self.0.strip_suffix(b"\r\n\r\n").ok_or("it does not end with an empty line")?;
        Head(fields).lines().skip(1).try_for_each(check_line)
    }
}

struct RequestLine<'r> {
    method: &'r [u8],
    target: &'r [u8],
    version: &'r [u8],
}

fn check_line(line: &[u8]) -> Result<(), &'static str> {
    // RFC 9112 §5.2: "A server that receives an obs-fold in a request message that is not within a "message/http"
    // container MUST either reject the message […] or replace each received obs-fold".
    if line.starts_with(b" ") || line.starts_with(b"\t") {
        return Err("a field is folded over two lines");
    }
    if line.is_empty() {
        return Err("an empty line is followed by more");
    }
    let (name, value) = split_at_byte(line, b':').ok_or("a field has no colon")?;
    // RFC 9112 §5.1: "No whitespace is allowed between the field name and colon."
    if name.ends_with(b" ") || name.ends_with(b"\t") {
        return Err("white space stands before a colon");
    }
    if name.is_empty() || !name.iter().copied().all(is_token_byte) {
        return Err("a field name is no token");
    }
    check_value(value)
}

/// RFC 9110 §5.5: "Field values containing CR, LF, or NUL characters are invalid and dangerous"; of the other controls
/// only HTAB is ever sent in good faith.
fn check_value(value: &[u8]) -> Result<(), &'static str> {
    if value.iter().any(|&b| b.is_ascii_control() && b != b'\t') {
        return Err("a field value has a control character");
    }
    Ok(())
}

/// The declared length of the body, if there is just one way to find its end.
fn check_framing(request: &Parts, wire: Wire<'_>) -> Result<Option<u64>, MessageError> {
    let ambiguous = |why| MessageError::FramingAmbiguous { why };
    let fields = |name| request.headers.get_all(name).iter().map(http::HeaderValue::as_bytes);
    let parsed =
        Framing::read(fields(&header::TRANSFER_ENCODING), fields(&header::CONTENT_LENGTH)).map_err(ambiguous)?;
    match wire {
        // RFC 9113 §8.1: "The chunked transfer encoding defined in Section 7.1 of [HTTP/1.1] cannot be used in HTTP/2."
        Wire::Http2 if parsed.chunked => Err(ambiguous("Transfer-Encoding in HTTP/2")),
        Wire::Http2 => Ok(parsed.length),
        // The parser may already have dropped Content-Length in favour of Transfer-Encoding.
        Wire::Http1 { head, old } => {
            let sent = Framing::read(head.values(&header::TRANSFER_ENCODING), head.values(&header::CONTENT_LENGTH))
                .map_err(ambiguous)?;
            // RFC 9112 §6.1: "A server or client that receives an HTTP/1.0 message containing a Transfer-Encoding
            // header field MUST treat the message as if the framing is faulty".
            if old && sent.chunked {
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
        // RFC 9110 §8.6: a repeated equal value may be taken for one; a recipient "MAY either reject the message" too.
        if lengths.next().is_some() {
            return Err("more than one Content-Length");
        }
        if encoding.is_some_and(|value| !after_spaces(value).eq_ignore_ascii_case(b"chunked")) {
            return Err("Transfer-Encoding is not \"chunked\" alone");
        }
        let length = length.map(|value| read_length(after_spaces(value)).ok_or("Content-Length is not one number"));
        Ok(Self { chunked: encoding.is_some(), length: length.transpose()? })
    }
}

/// A value behind the spaces that begin it. White space elsewhere is valid, and read differently often enough
/// (ATK-SM-02, ATK-SM-03); nobody sends it in good faith.
fn after_spaces(mut value: &[u8]) -> &[u8] {
    while let Some(rest) = value.strip_prefix(b" ") {
        value = rest;
    }
    value
}

/// `Content-Length = 1*DIGIT` (RFC 9110 §8.6), if 64 bits hold it.
fn read_length(value: &[u8]) -> Option<u64> {
    if !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

fn check_fields(request: &Parts, wire: Wire<'_>) -> Result<(), MessageError> {
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

fn check_sizes(request: &Parts, wire: Wire<'_>, declared: Option<u64>, limits: &Limits) -> Result<(), MessageError> {
    let limit = limits.header_bytes;
    let parsed = request.uri.path_and_query().map_or(0, |target| target.as_str().len());
    let target = match wire {
        Wire::Http1 { head, .. } => head.request_line().map_or(parsed, |line| line.target.len()),
        Wire::Http2 => parsed,
    };
    if target > limit {
        return Err(MessageError::TargetTooLong { bytes: target, limit });
    }
    let fields = request.headers.len();
    if fields > limits.header_count {
        return Err(MessageError::TooManyFields { fields, limit: limits.header_count });
    }
    // Four for ": " and CRLF.
    let bytes = request.headers.iter().fold(target, |bytes, (name, value)| {
        bytes.saturating_add(name.as_str().len()).saturating_add(value.len()).saturating_add(4)
    });
    if bytes > limit {
        return Err(MessageError::HeaderTooLarge { bytes, limit });
    }
    if declared.is_some_and(|length| length > limits.body_bytes) {
        return Err(MessageError::BodyTooLarge { limit: limits.body_bytes });
    }
    Ok(())
}

fn check_host(
    request: &Parts,
    wire: Wire<'_>,
    server_name: Option<&str>,
    origins: &Origins,
) -> Result<Arc<Origin>, MessageError> {
    let malformed = |why| MessageError::HostMalformed { why };
    let mut hosts = request.headers.get_all(header::HOST).iter();
    let field = hosts.next();
    // RFC 9112 §3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request message that
    // lacks a Host header field and to any request message that contains more than one Host header field line".
    if hosts.next().is_some() {
        return Err(MessageError::HostMissing { why: "there is more than one Host" });
    }
    let field = field.map(|value| value.to_str().map_err(|_| malformed("it is not ASCII"))).transpose()?;
    let authority = request.uri.authority().map(uri::Authority::as_str);
    let host = match (wire, field) {
        (Wire::Http1 { .. }, Some(field)) => field,
        (Wire::Http1 { .. }, None) => return Err(MessageError::HostMissing { why: "there is no Host" }),
        (Wire::Http2, field) => {
            authority.or(field).ok_or(MessageError::HostMissing { why: "there is neither :authority nor Host" })?
        }
    };
    // RFC 9113 §8.3.1: "A server SHOULD treat a request as malformed if it contains a Host header field that identifies
    // an entity that differs from the entity in the ":authority" pseudo-header field."
    if [field, authority].into_iter().flatten().any(|other| !other.eq_ignore_ascii_case(host)) {
        return Err(malformed("Host and the target's authority differ"));
    }
    if request.uri.scheme().is_some_and(|scheme| *scheme != uri::Scheme::HTTPS) {
        return Err(malformed("the target's scheme is not https"));
    }
    if let Wire::Http1 { head, .. } = wire {
        check_target(request, head, host)?;
    }
    let Authority { host: name, port } = Authority::parse(host).map_err(malformed)?;
    let unknown = || MessageError::HostUnknown { host: printable(host) };
    // RFC 9110 §7.4: "Unless the connection is from a trusted gateway, an origin server MUST reject a request if any
    // scheme-specific requirements for the target URI are not met."
    if server_name.is_some_and(|server_name| !same_host(server_name, name)) {
        return Err(unknown());
    }
    origins.find(name, port).map(Arc::clone).ok_or_else(unknown)
}

/// The target as sent must be the path that was parsed, or an absolute URI of this host with that path.
///
/// A parser may drop a fragment, escape a byte, or put `/` for what it does not know; what is forwarded would then not
/// be what was judged.
fn check_target(request: &Parts, head: Head<'_>, host: &str) -> Result<(), MessageError> {
    let differs = MessageError::HeaderMalformed { why: "the request target as sent and as parsed differ" };
    let Some(RequestLine { target, .. }) = head.request_line() else {
        return Err(differs);
    };
    if target.contains(&b'#') {
        return Err(MessageError::HeaderMalformed { why: "the request target has a fragment" });
    }
    let parsed = request.uri.path_and_query().map_or("", |target| target.as_str()).as_bytes();
    if target == b"*" || target.starts_with(b"/") || target.starts_with(b"?") {
        return if target == parsed { Ok(()) } else { Err(differs) };
    }
    let malformed = |why| MessageError::HostMalformed { why };
    let (scheme, rest) = target
        .split_at_checked(b"https://".len())
        .ok_or_else(|| malformed("the target is neither a path nor an absolute https URI"))?;
    if !scheme.eq_ignore_ascii_case(b"https://") {
        return Err(malformed("the target is neither a path nor an absolute https URI"));
    }
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, b""));
    // RFC 9112 §3.2.2: for the absolute form a server "MUST ignore the received Host header field (if any)"; with both
    // equal it does not matter who behind us obeys.
    if !authority.eq_ignore_ascii_case(host.as_bytes()) {
        return Err(malformed("Host and the target's authority differ"));
    }
    // RFC 9110 §4.2.3: "an empty path component is equivalent to an absolute path of "/"".
    let parsed = if path.starts_with(b"/") { parsed } else { parsed.strip_prefix(b"/").unwrap_or(parsed) };
    if path == parsed { Ok(()) } else { Err(differs) }
}

/// RFC 9110 §7.8: "A server MAY ignore a received Upgrade header field"; to refuse leaves nothing to be forwarded that
/// an upstream could take up.
fn asks_for_upgrade(request: &Parts) -> bool {
    UPGRADE.iter().any(|name| request.headers.contains_key(*name))
        || request
            .headers
            .get_all(header::CONNECTION)
            .iter()
            .flat_map(|value| value.as_bytes().split(|&b| b == b','))
            .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
}

fn split_at_byte(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let mut parts = text.splitn(2, |&b| b == byte);
    Some((parts.next()?, parts.next()?))
}

fn printable(host: &str) -> Box<str> {
    host.escape_default().take(MAX_PRINTED).collect::<String>().into()
}

const CONNECTION_SPECIFIC: &[&str] = &["connection", "keep-alive", "proxy-connection", "upgrade"];

const UPGRADE: &[&str] = &["upgrade", "http2-settings", "sec-websocket-key"];

const MAX_PRINTED: usize = 255;

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request, Uri};
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { header_bytes: 1024, header_count: 16, body_bytes: 100 };
    const GOOD: &str = "GET /accounts HTTP/1.1\r\nHost: api.example\r\n\r\n";

    fn origins() -> Origins {
        let origins = ["https://api.example", "https://api.example:8443", "https://[::1]:8443"];
        Origins::new(origins.iter().map(|text| Arc::new(Origin::parse(text).unwrap())).collect())
    }

    /// What a lenient parser hands over, with its known habits: the path of an absolute target, `/` for a target that it
    /// does not know, no fragment, no Content-Length beside Transfer-Encoding.
    fn lenient(raw: &[u8]) -> Parts {
        let text = String::from_utf8_lossy(raw);
        let mut lines = text.trim_start().lines();
        let mut line = lines.next().unwrap_or_default().split(' ').filter(|part| !part.is_empty());
        let method = line.next().unwrap_or("GET");
        let target = line.next().unwrap_or("/");
        let path = match target.split_once("://") {
            Some((_, rest)) => rest
                .find(['/', '?'])
                .map_or("/".into(), |at| rest[at..].replacen('?', "/?", usize::from(rest[at..].starts_with('?')))),
            None if target.starts_with(['/', '?', '*']) => target.to_owned(),
            None => "/".to_owned(),
        };
        let uri = uri::PathAndQuery::try_from(path).map(Uri::from).unwrap_or_default();
        let mut request = Request::new(());
        *request.method_mut() = Method::from_bytes(method.as_bytes()).unwrap_or_default();
        *request.uri_mut() = uri;
        for field in lines {
            let (name, value) = field.split_once(':').unwrap_or((field, ""));
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(name.trim()), HeaderValue::try_from(value.trim_matches([' ', '\t'])))
            {
                request.headers_mut().append(name, value);
            }
        }
        if request.headers().contains_key(header::TRANSFER_ENCODING) {
            request.headers_mut().remove(header::CONTENT_LENGTH);
        }
        request.into_parts().0
    }

    fn judge(raw: &[u8], version: Version, server_name: Option<&str>) -> Result<Arc<Origin>, MessageError> {
        check(&lenient(raw), &Facts { version, raw_h1: Some(raw), server_name }, &LIMITS, &origins())
    }

    fn code_of(raw: impl AsRef<[u8]>) -> Option<Code> {
        judge(raw.as_ref(), Version::HTTP_11, None).err().map(|error| error.code())
    }

    /// The code for a good request with `fields` added.
    fn with(fields: &str) -> Option<Code> {
        code_of(format!("POST /accounts HTTP/1.1\r\nHost: api.example\r\n{fields}\r\n\r\n"))
    }

    /// The code for a good request with this line in place of `Host`, and with this target.
    fn host(target: &str, line: &str) -> Option<Code> {
        code_of(format!("GET {target} HTTP/1.1\r\n{line}X-Other: 1\r\n\r\n"))
    }

    fn http2(method: &str, uri: &str, fields: &[(&str, &str)]) -> Option<Code> {
        let mut request = Request::builder().method(method).uri(uri).version(Version::HTTP_2);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let request = request.body(()).unwrap().into_parts().0;
        let facts = Facts { version: Version::HTTP_2, raw_h1: None, server_name: Some("api.example") };
        check(&request, &facts, &LIMITS, &origins()).err().map(|error| error.code())
    }

    #[test]
    fn accepts_plain_requests_and_names_their_origin() {
        assert_eq!(judge(GOOD.as_bytes(), Version::HTTP_11, None).unwrap().as_str(), "https://api.example");
        let other = GOOD.replace("api.example", "API.example.:8443");
        assert_eq!(judge(other.as_bytes(), Version::HTTP_11, None).unwrap().as_str(), "https://api.example:8443");
        let old = GOOD.replace("HTTP/1.1", "HTTP/1.0");
        assert_eq!(judge(old.as_bytes(), Version::HTTP_10, None).unwrap().as_str(), "https://api.example");
        assert_eq!(http2("GET", "https://api.example/accounts", &[]), None);
    }

    #[test]
    fn atk_sm_01_refuses_content_length_with_transfer_encoding_in_either_order() {
        assert_eq!(with("Content-Length: 5"), None); // control
        assert_eq!(with("Transfer-Encoding: chunked"), None); // control
        let both = [
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\nContent-Length: 5",
            "transfer-encoding: chunked\r\nCONTENT-LENGTH: 0",
            "Content-Length: 5\r\nTransfer-Encoding: identity",
        ];
        for fields in both {
            assert_eq!(with(fields), Some(Code::FramingAmbiguous), "{fields:?}");
        }
    }

    #[test]
    fn atk_sm_02_refuses_content_length_that_is_not_one_number() {
        assert_eq!(with("Content-Length: 5"), None); // control
        assert_eq!(with("Content-Length:5"), None); // control
        let values = [
            "+5",
            "-5",
            "5 ",
            "5,5",
            "5, 5",
            "0x5",
            "",
            "5.0",
            "5 5",
            "five",
            "18446744073709551616",
            "\t5",
            "5\t",
            "٥",
        ];
        for value in values {
            assert_eq!(with(&format!("Content-Length: {value}")), Some(Code::FramingAmbiguous), "{value:?}");
        }
        assert_eq!(with("Content-Length: 5\r\nContent-Length: 5"), Some(Code::FramingAmbiguous));
        assert_eq!(with("Content-Length: 5\r\ncontent-length: 6"), Some(Code::FramingAmbiguous));
    }

    #[test]
    fn atk_sm_03_refuses_transfer_encoding_that_is_not_chunked_alone() {
        assert_eq!(with("Transfer-Encoding: chunked"), None); // control
        assert_eq!(with("Transfer-Encoding: Chunked"), None); // control
        let values = [
            "chunked, identity",
            "identity, chunked",
            "xchunked",
            "chunked;q=1",
            "gzip",
            "gzip, chunked",
            "chunked, chunked",
            "\tchunked",
            "chunked\t",
            "\u{b}chunked",
            "\"chunked\"",
            "",
            "identity",
            "chun ked",
        ];
        for value in values {
            assert_eq!(with(&format!("Transfer-Encoding: {value}")), Some(Code::FramingAmbiguous), "{value:?}");
        }
        assert_eq!(with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), Some(Code::FramingAmbiguous));
    }

    #[test]
    fn atk_sm_03_counts_lines_that_a_lenient_parser_takes_for_framing() {
        let clean = "POST /accounts HTTP/1.1\r\nHost: api.example\r\nContent-Length: 5\r\n\r\n";
        let code = |end: &str| {
            let raw = clean.replace("5\r\n\r\n", end);
            let facts = Facts { version: Version::HTTP_11, raw_h1: Some(raw.as_bytes()), server_name: None };
            check(&lenient(clean.as_bytes()), &facts, &LIMITS, &origins()).err().map(|error| error.code())
        };
        assert_eq!(code("5\r\nX: chunked\r\n\r\n"), None); // control
        for line in ["Transfer-Encoding : chunked", " Transfer-Encoding: chunked", "\tTransfer-Encoding\t: chunked"] {
            assert_eq!(code(&format!("5\r\n{line}\r\n\r\n")), Some(Code::FramingAmbiguous), "{line:?}");
        }
        assert_eq!(code("5\nTransfer-Encoding: chunked\r\n\r\n"), Some(Code::FramingAmbiguous));
    }

    #[test]
    fn atk_sm_04_refuses_transfer_encoding_in_http_1_0() {
        let head = "POST /accounts HTTP/1.0\r\nHost: api.example\r\nContent-Length: 5\r\n\r\n";
        assert_eq!(judge(head.as_bytes(), Version::HTTP_10, None).err(), None); // control
        let head = head.replace("Content-Length: 5", "Transfer-Encoding: chunked");
        let error = judge(head.as_bytes(), Version::HTTP_10, None).unwrap_err();
        assert_eq!(error, MessageError::FramingAmbiguous { why: "Transfer-Encoding in HTTP/1.0" });
    }

    #[test]
    fn refuses_http_1_whose_bytes_are_not_given_and_versions_it_does_not_know() {
        let parts = lenient(GOOD.as_bytes());
        let code = |version, raw_h1| {
            let facts = Facts { version, raw_h1, server_name: None };
            check(&parts, &facts, &LIMITS, &origins()).err().map(|error| error.code())
        };
        assert_eq!(code(Version::HTTP_11, Some(GOOD.as_bytes())), None); // control
        assert_eq!(code(Version::HTTP_11, None), Some(Code::FramingAmbiguous));
        assert_eq!(code(Version::HTTP_09, Some(GOOD.as_bytes())), Some(Code::FramingAmbiguous));
        assert_eq!(code(Version::HTTP_3, None), Some(Code::FramingAmbiguous));
    }

    #[test]
    fn refuses_fields_that_were_parsed_otherwise_than_sent() {
        let raw = "POST /accounts HTTP/1.1\r\nHost: api.example\r\nContent-Length: 5\r\n\r\n";
        let mut parts = lenient(raw.as_bytes());
        let code = |parts: &Parts| {
            let facts = Facts { version: Version::HTTP_11, raw_h1: Some(raw.as_bytes()), server_name: None };
            check(parts, &facts, &LIMITS, &origins()).err().map(|error| error.code())
        };
        assert_eq!(code(&parts), None); // control
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("6"));
        assert_eq!(code(&parts), Some(Code::FramingAmbiguous));
    }

    #[test]
    fn atk_sm_08_refuses_heads_that_parsers_read_differently() {
        assert_eq!(code_of(GOOD), None); // control
        let heads = [
            "GET /accounts HTTP/1.1\nHost: api.example\r\n\r\n",
            "GET /accounts HTTP/1.1\r\nHost: api.example\n\r\n",
            "GET /accounts HTTP/1.1\r\nHost: api.example\r\n\n",
            "GET /accounts HTTP/1.1\r\nHost: api.example\rX: y\r\n\r\n",
            "GET /accounts HTTP/1.1\r\nHost: api.example\r\r\n\r\n",
            "GET /accounts HTTP/1.1\r\nHost: api.example\r\n\r",
            "GET /accounts HTTP/1.1\r\nHost: api.example\r\n",
            "\r\nGET /accounts HTTP/1.1\r\nHost: api.example\r\n\r\n",
            " GET /accounts HTTP/1.1\r\nHost: api.example\r\n\r\n",
            "GET  /accounts HTTP/1.1\r\nHost: api.example\r\n\r\n",
            "GET /accounts  HTTP/1.1\r\nHost: api.example\r\n\r\n",
            "GET\t/accounts HTTP/1.1\r\nHost: api.example\r\n\r\n",
            "GET /accounts HTTP/1.1 \r\nHost: api.example\r\n\r\n",
            "GET /accounts HTTP/1.0\r\nHost: api.example\r\n\r\n",
            "GET /accounts\r\nHost: api.example\r\n\r\n",
            "GET /accounts HTTP/1.1\r\nHost: api.example\r\n\r\nX: y\r\n\r\n",
        ];
        for head in heads {
            assert_eq!(code_of(head), Some(Code::HeaderMalformed), "{head:?}");
        }
    }

    #[test]
    fn atk_sm_08_refuses_field_lines_that_parsers_read_differently() {
        for line in ["X: y", "X:y", "X:", "X:\ty z", "x!#$%&'*+-.^_`|~1: y", "X: \u{e9}"] {
            assert_eq!(with(line), None, "{line:?}"); // control
        }
        let lines = [
            "X : y",
            "X\t: y",
            "X",
            "X y",
            ": y",
            "X: y\r\n z",
            "X: y\r\n\tz",
            "X: y\0z",
            "X\0: y",
            "X: \u{1}",
            "X: \u{7f}",
            "X(: y",
            "X\u{e9}: y",
            "X\u{b}: y",
            "\"X\": y",
            "X/Y: y",
            "X@Y: y",
        ];
        for line in lines {
            assert_eq!(with(line), Some(Code::HeaderMalformed), "{line:?}");
        }
    }

    #[test]
    fn atk_sm_10_refuses_fields_of_http_1_in_http_2() {
        let uri = "https://api.example/accounts";
        assert_eq!(http2("POST", uri, &[("te", "trailers"), ("content-length", "5")]), None); // control
        assert_eq!(http2("POST", uri, &[("transfer-encoding", "chunked")]), Some(Code::FramingAmbiguous));
        assert_eq!(
            http2("POST", uri, &[("content-length", "5"), ("content-length", "5")]),
            Some(Code::FramingAmbiguous)
        );
        assert_eq!(http2("POST", uri, &[("content-length", "+5")]), Some(Code::FramingAmbiguous));
        let fields = [
            ("connection", "close"),
            ("keep-alive", "1"),
            ("proxy-connection", "close"),
            ("upgrade", "h2c"),
            ("te", "gzip"),
        ];
        for field in fields {
            assert_eq!(http2("POST", uri, &[field]), Some(Code::HeaderMalformed), "{field:?}");
        }
    }

    #[test]
    fn atk_sm_13_takes_the_absolute_form_of_its_own_origin_only() {
        let own = "Host: api.example\r\n";
        for target in [
            "/accounts",
            "https://api.example/accounts",
            "HTTPS://API.example/a?b=c",
            "https://api.example",
            "https://api.example?x",
        ] {
            assert_eq!(host(target, own), None, "{target}"); // control
        }
        let targets = [
            "http://api.example/accounts",
            "https://other.example/accounts",
            "https://api.example:443/accounts",
            "https://u@api.example/accounts",
            "https:///accounts",
            "https:/accounts",
            "api.example:443",
            "api.example",
            "accounts",
            "https:",
            "unix:/accounts",
            "https:\\\\api.example/accounts",
        ];
        for target in targets {
            assert_eq!(host(target, own), Some(Code::HostMalformed), "{target}");
        }
    }

    #[test]
    fn atk_pt_05_refuses_a_fragment_in_the_target() {
        assert_eq!(host("/public", "Host: api.example\r\n"), None); // control
        for target in ["/public#/../protected", "/public#", "/public?x#y", "https://api.example/public#x"] {
            assert_eq!(host(target, "Host: api.example\r\n"), Some(Code::HeaderMalformed), "{target}");
        }
    }

    #[test]
    fn fwd_05_refuses_a_target_that_was_parsed_otherwise_than_sent() {
        for target in ["/accounts", "https://api.example/accounts"] {
            let raw = GOOD.replace("/accounts", target);
            let mut parts = lenient(raw.as_bytes());
            let code = |parts: &Parts| {
                let facts = Facts { version: Version::HTTP_11, raw_h1: Some(raw.as_bytes()), server_name: None };
                check(parts, &facts, &LIMITS, &origins()).err().map(|error| error.code())
            };
            assert_eq!(code(&parts), None); // control
            parts.uri = Uri::from_static("/health");
            assert_eq!(code(&parts), Some(Code::HeaderMalformed));
        }
    }

    #[test]
    fn measures_target_fields_and_declared_body_up_to_the_limit() {
        let head = |target: usize, field: usize| {
            format!("GET /{} HTTP/1.1\r\nHost: api.example\r\nX: {}\r\n\r\n", "a".repeat(target), "b".repeat(field))
        };
        // "/" + "host" + "api.example" + 4 + "x" + 4 is 25.
        let rest = LIMITS.header_bytes - 25;
        assert_eq!(code_of(head(rest, 0)), None); // control
        assert_eq!(code_of(head(0, rest)), None); // control
        let limit = LIMITS.header_bytes;
        let error = |head: String| judge(head.as_bytes(), Version::HTTP_11, None).unwrap_err();
        assert_eq!(error(head(0, rest + 1)), MessageError::HeaderTooLarge { bytes: limit + 1, limit });
        assert_eq!(error(head(rest + 1, 0)), MessageError::HeaderTooLarge { bytes: limit + 1, limit });
        assert_eq!(error(head(limit, 0)), MessageError::TargetTooLong { bytes: limit + 1, limit });
        let many = |count: usize| {
            let fields: String = (1..count).map(|number| format!("X-{number}: 1\r\n")).collect();
            judge(format!("GET / HTTP/1.1\r\nHost: api.example\r\n{fields}\r\n").as_bytes(), Version::HTTP_11, None)
        };
        let most = LIMITS.header_count;
        assert!(many(most).is_ok()); // control
        assert_eq!(many(most + 1), Err(MessageError::TooManyFields { fields: most + 1, limit: most }));
        assert_eq!(with("Content-Length: 100"), None); // control
        assert_eq!(with("Content-Length: 101"), Some(Code::BodyTooLarge));
        assert_eq!(with("Content-Length: 18446744073709551615"), Some(Code::BodyTooLarge));
        assert_eq!(http2("POST", "https://api.example/a", &[("content-length", "101")]), Some(Code::BodyTooLarge));
        let long = format!("https://api.example/{}", "a".repeat(limit));
        assert_eq!(http2("GET", &long, &[]), Some(Code::TargetTooLong));
    }

    #[test]
    fn atk_hd_13_wants_exactly_one_host() {
        assert_eq!(host("/", "Host: api.example\r\n"), None); // control
        assert_eq!(host("/", ""), Some(Code::HostMissing));
        assert_eq!(host("https://api.example/", ""), Some(Code::HostMissing));
        assert_eq!(host("/", "Host: api.example\r\nHost: api.example\r\n"), Some(Code::HostMissing));
        assert_eq!(host("/", "Host: api.example\r\nhost: other.example\r\n"), Some(Code::HostMissing));
        let old = "GET / HTTP/1.0\r\nX: y\r\n\r\n";
        assert_eq!(judge(old.as_bytes(), Version::HTTP_10, None).unwrap_err().code(), Code::HostMissing);
    }

    #[test]
    fn atk_hd_13_takes_equal_forms_of_the_host_and_refuses_what_is_none() {
        let equal = [
            "api.example",
            "API.Example",
            "api.example.",
            "api.example:443",
            "api.example.:443",
            "api.example:8443",
            "[::1]:8443",
        ];
        for value in equal {
            assert_eq!(host("/", &format!("Host: {value}\r\n")), None, "{value}"); // control
        }
        let malformed = [
            "",
            "u@api.example",
            "api.example, api.example",
            "api.example,other",
            "api .example",
            "api.example:",
            "api.example:x",
            "api.example:0",
            "api.example:0443",
            "api.example:+443",
            "api.example:65536",
            "api.example:443:443",
            "api.example..",
            ".api.example",
            "api..example",
            "äpi.example",
            "api%2eexample",
            "[fe80::1%25eth0]:8443",
            "[::1%lo]:8443",
            "[::1",
            "[::1]x",
            "::1",
            "[api.example]",
            "[]",
            ":443",
            ".",
            "https://api.example",
            "api.example/",
            "api.example?x",
            "api.example\\x",
        ];
        for value in malformed {
            assert_eq!(host("/", &format!("Host: {value}\r\n")), Some(Code::HostMalformed), "{value}");
        }
    }

    #[test]
    fn net_21_refuses_hosts_that_are_not_ours() {
        let unknown = [
            "other.example",
            "api.example:444",
            "api.example.evil",
            "xapi.example",
            "[::1]",
            "127.0.0.1",
            "xn--pi-via.example",
        ];
        for value in unknown {
            assert_eq!(host("/", &format!("Host: {value}\r\n")), Some(Code::HostUnknown), "{value}");
        }
        let error = judge(GOOD.replace("api", "other").as_bytes(), Version::HTTP_11, None).unwrap_err();
        assert_eq!(error, MessageError::HostUnknown { host: "other.example".into() });
        let long = format!("{}.example", "a".repeat(245));
        let error = judge(GOOD.replace("api.example", &format!("{long}:8443")).as_bytes(), Version::HTTP_11, None);
        assert_eq!(error.unwrap_err(), MessageError::HostUnknown { host: format!("{long}:8443")[..255].into() });
    }

    #[test]
    fn net_21_refuses_another_host_than_tls_was_opened_for() {
        let code =
            |head: &str, name| judge(head.as_bytes(), Version::HTTP_11, Some(name)).err().map(|error| error.code());
        for name in ["api.example", "API.EXAMPLE", "api.example."] {
            assert_eq!(code(GOOD, name), None, "{name}"); // control
        }
        assert_eq!(code(&GOOD.replace("api.example", "api.example.:8443"), "api.example"), None); // control
        for name in ["other.example", "", "api.example:443", "pi.example"] {
            assert_eq!(code(GOOD, name), Some(Code::HostUnknown), "{name}");
        }
    }

    #[test]
    fn atk_hd_14_refuses_host_that_differs_from_authority() {
        let uri = "https://api.example/accounts";
        assert_eq!(http2("GET", uri, &[("host", "api.example")]), None); // control
        assert_eq!(http2("GET", uri, &[("host", "API.example")]), None); // control
        assert_eq!(http2("GET", "/accounts", &[("host", "api.example")]), None); // control
        assert_eq!(http2("GET", uri, &[("host", "other.example")]), Some(Code::HostMalformed));
        assert_eq!(http2("GET", uri, &[("host", "")]), Some(Code::HostMalformed));
        assert_eq!(http2("GET", uri, &[("host", "api.example"), ("host", "api.example")]), Some(Code::HostMissing));
        assert_eq!(http2("GET", "/accounts", &[]), Some(Code::HostMissing));
        assert_eq!(http2("GET", "https://u@api.example/accounts", &[]), Some(Code::HostMalformed));
        assert_eq!(http2("GET", "http://api.example/accounts", &[]), Some(Code::HostMalformed));
        assert_eq!(http2("GET", "https://other.example/accounts", &[]), Some(Code::HostUnknown));
    }

    #[test]
    fn fwd_03_fwd_04_atk_pt_11_refuses_methods_that_are_never_forwarded() {
        for method in ["GET", "M-SEARCH", "PROPFIND", "GETX"] {
            assert_eq!(code_of(GOOD.replace("GET", method)), None, "{method}"); // control: the route decides
        }
        for method in ["TRACE", "CONNECT", "get", "Get", "trace", "G3T", "GET_", "G!"] {
            assert_eq!(code_of(GOOD.replace("GET", method)), Some(Code::MethodRefused), "{method}");
        }
        let connect = "CONNECT other.example:443 HTTP/1.1\r\nHost: other.example:443\r\n\r\n";
        assert_eq!(code_of(connect), Some(Code::MethodRefused));
        assert_eq!(http2("CONNECT", "https://api.example/chat", &[]), Some(Code::MethodRefused));
    }

    #[test]
    fn fwd_03_atk_sm_15_refuses_upgrades() {
        assert_eq!(with("Connection: keep-alive, upgraded"), None); // control
        let fields = [
            "Upgrade: websocket",
            "Upgrade: h2c",
            "Upgrade:",
            "Connection: upgrade",
            "Connection: keep-alive ,\tUPGRADE",
            "Connection: close\r\nConnection: Upgrade",
            "HTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA",
            "Sec-WebSocket-Key: x",
        ];
        for field in fields {
            assert_eq!(with(field), Some(Code::UpgradeRefused), "{field:?}");
        }
        assert_eq!(http2("GET", "https://api.example/", &[("sec-websocket-key", "x")]), Some(Code::UpgradeRefused));
    }

    #[test]
    fn the_first_fault_of_the_table_decides() {
        let head = |version: &str, fields: &str| format!("get {} {version}\r\n{fields}\r\n\r\n", "/a".repeat(600));
        let steps = [
            ("Content-Length: 5\r\nContent-Length: 5\r\nX : y\r\nUpgrade: x", Code::FramingAmbiguous),
            ("X : y\r\nUpgrade: x", Code::HeaderMalformed),
            ("Content-Length: 101\r\nUpgrade: x", Code::TargetTooLong),
        ];
        for (fields, code) in steps {
            assert_eq!(code_of(head("HTTP/1.1", fields)), Some(code), "{fields}");
        }
        assert_eq!(code_of("get / HTTP/1.1\r\nHost: other\r\nUpgrade: x\r\n\r\n"), Some(Code::HostUnknown));
        assert_eq!(code_of("get / HTTP/1.1\r\nHost: api.example\r\nUpgrade: x\r\n\r\n"), Some(Code::MethodRefused));
    }

    /// Heads of pieces that parsers stumble over.
    fn heads() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "GET",
            " ",
            "/",
            "a",
            "HTTP/1.1",
            "\r\n",
            "\n",
            "\r",
            "\t",
            ":",
            "Host: api.example",
            "Content-Length: 5",
            "Transfer-Encoding: chunked",
            "Upgrade",
            "\0",
            "é",
            "https://",
            "*",
            "?",
            "#",
            "\r\n\r\n",
            "[",
            "]",
            "%",
        ]);
        prop::collection::vec(piece, 0..16).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn no_head_panics_and_what_is_accepted_names_our_host(head in heads()) {
            let outcome = judge(head.as_bytes(), Version::HTTP_11, None);
            let plain = head.starts_with("GET ") && head.ends_with("\r\n\r\n") && head.contains("\r\nHost: api.example\r\n");
            prop_assert!(outcome.is_err() || plain, "{head:?}");
        }

        #[test]
        fn a_byte_that_ends_lines_or_words_is_never_accepted_anew(at in 0..GOOD.len(), byte in prop::sample::select(vec![b'\r', b'\n', 0, 0xb, 0xc, 0x7f])) {
            let mut head = GOOD.as_bytes().to_vec();
            head.insert(at, byte);
            prop_assert!(code_of(&head).is_some(), "{}", head.escape_ascii());
        }

        #[test]
        fn no_bytes_panic(raw in prop::collection::vec(any::<u8>(), 0..64), host in ".{0,24}") {
            let _ = judge(&raw, Version::HTTP_11, Some(&host));
            let _ = Authority::parse(&host);
        }
    }
}
