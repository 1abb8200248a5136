//! The checks of an HTTP message before anything else is read: one framing, one reading of each field, sizes within
//! limits, a known host (RFC 9112 §2.2, §3.2, §5, §6; RFC 9113 §8.2, §8.3; RFC 9110 §7.2, §7.4).
//!
//! The bytes of an HTTP/1 head are judged, since a lenient parser does not report what it repairs. Chunks and trailers
//! come later and are left to the parser; paths are read in [`route`](crate::route).

mod error;
mod exchange;
mod framing;
mod head;
mod host;
mod limits;
mod outline;

use std::sync::Arc;

use http::Method;
use http::request::Parts;

pub use error::MessageError;
pub use exchange::ExchangeError;
use framing::check_framing;
pub use head::Facts;
use head::{Wire, check_fields};
use host::check_host;
use limits::check_sizes;
pub use limits::{Limits, check_length};
pub use outline::Outline;

use crate::route::{Origin, Origins};

/// Checks a request message and returns the origin it is sent to.
///
/// Checks in this order: framing, header syntax, sizes, host, method. CONNECT and TRACE are refused before the host
/// is read, since the target of CONNECT is not a path (RFC 9112 §3.2.3).
///
/// Does not check: the path ([`Target::parse`](crate::route::Target::parse)), the bytes of the body, and its length if
/// that is not declared.
///
/// # Errors
/// [`MessageError`]. An HTTP/1 request without the bytes of its head is refused, since its framing is unknown.
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
    // disclosed by the response"; the fields that a gateway adds identify the client.
    if request.method == Method::CONNECT || request.method == Method::TRACE {
        return Err(MessageError::MethodRefused);
    }
    let origin = check_host(request, wire, facts.server_name, origins)?;
    // RFC 9110 §9.1: "The method token is case-sensitive"; upstreams may ignore case, so `get` is refused.
    if !request.method.as_str().bytes().all(|b| b.is_ascii_uppercase() || b == b'-') {
        return Err(MessageError::MethodRefused);
    }
    Ok(origin)
}

#[cfg(test)]
mod tests;
