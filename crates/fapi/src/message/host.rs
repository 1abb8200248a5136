//! The host of a message, which must be an origin of the listener (RFC 9112 §3.2, RFC 9113 §8.3.1, RFC 9110 §7.2,
//! §7.4).

use std::sync::Arc;

use http::request::Parts;
use http::{header, uri};

use super::error::MessageError;
use super::head::{Head, RequestLine, Wire};
use crate::route::{Authority, Origin, Origins, same_host};

pub(super) fn check_host(
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
    // What parsed as an authority is printable.
    let unknown = || MessageError::HostUnknown { host: host.chars().take(MAX_SHOWN).collect::<String>().into() };
    // RFC 9110 §7.4: "Unless the connection is from a trusted gateway, an origin server MUST reject a request if any
    // scheme-specific requirements for the target URI are not met."
    if server_name.is_some_and(|server_name| !same_host(server_name, name)) {
        return Err(unknown());
    }
    origins.find(name, port).map(Arc::clone).ok_or_else(unknown)
}

/// Checks that the target as sent is the parsed path, or an absolute URI of this host with that path.
///
/// A parser may drop a fragment, escape a byte, or replace what it does not understand with `/`. Then what is forwarded
/// would differ from what is judged.
fn check_target(request: &Parts, head: Head<'_>, host: &str) -> Result<(), MessageError> {
    let differs = MessageError::HeaderMalformed { why: "the request target as sent and as parsed differ" };
    let Some(RequestLine { target, .. }) = head.request_line else {
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
    let (scheme, rest) = target.split_at_checked(b"https://".len()).unwrap_or((target, b""));
    if !scheme.eq_ignore_ascii_case(b"https://") {
        return Err(malformed("the target is neither a path nor an absolute https URI"));
    }
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, b""));
    // RFC 9112 §3.2.2: for the absolute form a server "MUST ignore the received Host header field (if any)"; if both
    // are equal, it does not matter whether the upstream does.
    if !authority.eq_ignore_ascii_case(host.as_bytes()) {
        return Err(malformed("Host and the target's authority differ"));
    }
    // RFC 9110 §4.2.3: "an empty path component is equivalent to an absolute path of "/"".
    let parsed = if path.starts_with(b"/") { parsed } else { parsed.strip_prefix(b"/").unwrap_or(parsed) };
    if path == parsed { Ok(()) } else { Err(differs) }
}

const MAX_SHOWN: usize = 255;
