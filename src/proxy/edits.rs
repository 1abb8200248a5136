//! Edits to the header sections that Pingora is about to send.

use fapi::headers::HeaderEdits;
use http::request::Parts;
use http::{HeaderMap, header};
use pingora::http::{RequestHeader, ResponseHeader};

/// Edits the header section of a request to an upstream.
///
/// The spelling of its names is lost, which is that of the client: Pingora keeps it in a second map, where every edit
/// would have to be made again. Names are case-insensitive (RFC 9110 §5.1).
pub(super) fn edit<T>(request: &mut RequestHeader, edit: impl FnOnce(&mut HeaderMap) -> T) -> T {
    let nothing = RequestHeader::from(http::Request::new(()).into_parts().0);
    let mut parts = Parts::from(std::mem::replace(request, nothing));
    let outcome = edit(&mut parts.headers);
    *request = RequestHeader::from(parts);
    outcome
}

/// The fields of a request without those that are about its connection: the standard ones, and those that `Connection` names
/// (RFC 9110 §7.6.1).
pub(super) fn without_hops(headers: &HeaderMap) -> HeaderMap {
    let mut kept = headers.clone();
    let named = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    for name in named.flat_map(|names| names.split(',')) {
        kept.remove(name.trim());
    }
    for name in HOPS {
        kept.remove(name);
    }
    kept
}

const HOPS: [&str; 9] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Makes the edits to a response.
pub(super) fn apply(edits: HeaderEdits, response: &mut ResponseHeader) -> pingora::Result<()> {
    for name in &edits.remove {
        response.remove_header(name);
    }
    for (name, value) in edits.set {
        response.insert_header(name, value)?;
    }
    Ok(())
}
