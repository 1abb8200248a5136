//! Request bodies: what is read of them before the decision, and how they are framed.

use fapi::message::ExchangeError;
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
/// to `read`.
pub(super) async fn read_body(
    session: &mut Session,
    limits: &ExchangeLimits,
    limit: usize,
    read: &mut u64,
) -> Result<Vec<u8>, ExchangeError> {
    let mut body = Vec::new();
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

/// The largest body that can be read and still be forwarded, in bytes: the size of Pingora's buffer.
pub(super) const BUFFER: usize = 64 * 1024;
