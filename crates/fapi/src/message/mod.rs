//! What must hold of an HTTP message before anything else is read: one framing, one reading of each field, sizes within
//! limits, a host that is ours (RFC 9112 §2.2, §3.2, §5, §6; RFC 9113 §8.2, §8.3; RFC 9110 §7.2, §7.4).
//!
//! An HTTP/1 head is judged by its bytes: a parser that repairs it leaves no trace in what it hands over. Chunks and
//! trailers come later and are the parser's to refuse; paths are read in [`route`](crate::route).

mod error;
mod exchange;
mod framing;
mod head;
mod host;
mod limits;

use std::sync::Arc;

use http::request::Parts;
use http::{Method, header};

pub use error::MessageError;
pub use exchange::ExchangeError;
use framing::check_framing;
pub use head::Facts;
use head::{Wire, check_fields};
use host::check_host;
pub use limits::Limits;
use limits::check_sizes;

use crate::route::{Origin, Origins};

/// The origin that a well-formed request is sent to.
///
/// In this order: framing, header syntax, sizes, host, method, upgrade. CONNECT and TRACE are refused before the host is
/// read, for the target of CONNECT is no path (RFC 9112 §3.2.3).
///
/// Does not check: the path ([`Target::parse`](crate::route::Target::parse)), the bytes of the body, its length when it
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

const UPGRADE: &[&str] = &["upgrade", "http2-settings", "sec-websocket-key"];

#[cfg(test)]
mod tests;
