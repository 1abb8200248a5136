//! How large a message may be (RFC 6585 §5, RFC 9110 §15.5.14, §15.5.15).

use http::request::Parts;
use http::{HeaderMap, header};

use super::error::MessageError;
use super::head::Wire;

/// How large a request may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the method, the target and the fields together, with four more for each field.
    pub header_bytes: usize,
    /// Number of fields, without pseudo-header fields; the parts of a cookie that HTTP/2 splits are one.
    pub header_count: usize,
    /// Bytes of the access token.
    pub token_bytes: usize,
    /// Bytes of the body, on the route that allows most.
    pub body_bytes: u64,
}

/// Checks the declared length of a body against the limit of its route; [`check`](super::check) knows only the largest.
///
/// # Errors
/// [`MessageError::BodyTooLarge`].
pub fn check_length(headers: &HeaderMap, limit: u64) -> Result<(), MessageError> {
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > limit) { Err(MessageError::BodyTooLarge { limit }) } else { Ok(()) }
}

pub(super) fn check_sizes(
    request: &Parts,
    wire: Wire<'_>,
    declared: Option<u64>,
    limits: &Limits,
) -> Result<(), MessageError> {
    let limit = limits.header_bytes;
    let parsed = request.uri.path_and_query().map_or(0, |target| target.as_str().len());
    let target = match wire {
        Wire::Http1 { head, .. } => head.request_line.map_or(parsed, |line| line.target.len()),
        Wire::Http2 => parsed,
    };
    if target > limit {
        return Err(MessageError::TargetTooLong { bytes: target, limit });
    }
    // RFC 9113 §8.2.3: "the Cookie header field MAY be split into separate header fields", which are one without HTTP/2.
    let crumbs = match wire {
        Wire::Http1 { .. } => 0,
        Wire::Http2 => request.headers.get_all(header::COOKIE).iter().skip(1).count(),
    };
    let fields = request.headers.len().saturating_sub(crumbs);
    if fields > limits.header_count {
        return Err(MessageError::TooManyFields { fields, limit: limits.header_count });
    }
    let line = target.saturating_add(request.method.as_str().len());
    // Four for ": " and CRLF.
    let bytes = request.headers.iter().fold(line, |bytes, (name, value)| {
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
