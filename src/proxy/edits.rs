//! Edits to the header sections that Pingora is about to send.

use fapi::headers::HeaderEdits;
use http::HeaderMap;
use http::request::Parts;
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
