//! Request bodies: what is read of them before the decision, and how they are framed.

use fapi::message::ExchangeError;
use fapi::signature::digest::ContentHasher;
use http::{Method, Version, header};
use pingora::ErrorType;
use pingora::proxy::Session;

use super::context::connection;
use super::unread;
use crate::clock::Moment;
use crate::connection::limits::ExchangeLimits;

/// Whether a chunked body breaks its framing in a way that Pingora tolerates.
pub(super) fn breaks_chunks(session: &Session) -> bool {
    !session.is_http2()
        && session.req_header().headers.contains_key(header::TRANSFER_ENCODING)
        && connection(session).is_some_and(|facts| facts.phase.breaks_chunks())
}

/// Whether the client waits for a 100 response before it sends the body (RFC 9110 §10.1.1).
pub(super) fn expects_continue(request: &http::request::Parts) -> bool {
    request.version >= Version::HTTP_11
        && request
            .headers
            .get_all(header::EXPECT)
            .iter()
            .any(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"))
}

/// Whether a request changes nothing, however often it is sent: its method is safe (RFC 9110 §9.2.1), and it has no body.
pub(super) fn is_harmless(session: &mut Session) -> bool {
    matches!(session.req_header().method, Method::GET | Method::HEAD | Method::OPTIONS) && session.is_body_empty()
}

/// Reads a body of at most this many bytes, which Pingora buffers for the upstream up to [`BUFFER`], and adds what came of it
/// to `read`. What comes is hashed on the way.
pub(super) async fn read_body(
    session: &mut Session,
    limits: &ExchangeLimits,
    limit: usize,
    read: &mut u64,
    mut hasher: Option<&mut ContentHasher>,
) -> Result<Vec<u8>, ExchangeError> {
    let mut body = Vec::new();
    let declared = unread::declared_length(session).and_then(|length| usize::try_from(length).ok());
    session.enable_retry_buffering();
    if !session.is_http2() && expects_continue(session.req_header()) {
        unread::interim(session, true);
        session.write_continue_response().await.map_err(|_| ExchangeError::BodyMalformed)?;
    }
    let began = Moment::now();
    while body.len() <= limit {
        let left = limits.patience(body.len() as u64).saturating_sub(began.elapsed());
        match tokio::time::timeout(left, session.read_request_body()).await {
            Ok(Ok(Some(chunk))) => {
                if let Some(hasher) = &mut hasher {
                    hasher.update(&chunk);
                }
                make_room(&mut body, chunk.len(), declared.unwrap_or(limit));
                body.extend_from_slice(&chunk);
                *read = body.len() as u64;
            }
            Ok(Ok(None)) => return Ok(body),
            Err(_) => return Err(ExchangeError::BodyTimeout),
            Ok(Err(error)) if matches!(error.etype(), ErrorType::ReadTimedout) => {
                return Err(ExchangeError::BodyTimeout);
            }
            Ok(Err(_)) => return Err(ExchangeError::BodyMalformed),
        }
    }
    Err(ExchangeError::BodyTooLarge { limit: limit as u64 })
}

/// Makes room for so many more bytes: as much as there is once more, and no more than `most` in all, which nobody has promised to
/// send.
fn make_room(body: &mut Vec<u8>, bytes: usize, most: usize) {
    let needed = body.len().saturating_add(bytes);
    if needed > body.capacity() {
        let grown = body.capacity().saturating_mul(2).min(most).max(needed);
        body.reserve_exact(grown.saturating_sub(body.len()));
    }
}

/// The largest body that can be read and still be forwarded by Pingora, in bytes: the size of its buffer.
pub(super) const BUFFER: usize = 64 * 1024;
