//! What becomes of the body of a request that is answered before all of it was read.
//!
//! A connection that is closed while the client is still sending is reset, and the client may lose the response (RFC 9112
//! §9.6). So the response is written, and what the client still sends is read on and thrown away, within
//! `limits.unread_body_bytes` and `limits.unread_body_timeout`. A body that ends within these bounds leaves the
//! connection to the next request. Otherwise the connection is closed: in stages, if the response said so from the
//! start, and at once, if the bounds were used up.
//!
//! A response of an upstream that ends before the body closes the connection in the same way, whatever Pingora would go on to
//! read and forward.
//!
//! In HTTP/2, dropping the request resets the stream with NO_ERROR after the response (RFC 9113 §8.1): at once after a
//! response of the gateway's own, and after `limits.unread_body_timeout` for one of an upstream.

use fapi::message::{ExchangeError, MessageError};
use fapi::rejection::Cause;
use http::header;
use pingora::protocols::http::ServerSession;
use pingora::proxy::Session;
use pingora::{Error, ErrorSource, ErrorType};

use super::body::{breaks_chunks, expects_continue};
use super::context::{Context, connection};
use super::delivery::{Delivery, Told};
use crate::connection::http2_stream::Http2Stream;
use crate::connection::phase::BodyEnd;

/// Whether the end of a request is known, so that what follows it is the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// It is.
    Sound,
    /// The message can be read in more than one way, or is at fault otherwise; nothing more is read as HTTP.
    Doubtful,
}

impl Framing {
    /// Returns what the cause of a rejection says about the request.
    pub(super) const fn after(cause: &Cause) -> Self {
        match cause {
            // Its length is declared or counted, and both are one number.
            Cause::Message(MessageError::BodyTooLarge { .. }) | Cause::Exchange(ExchangeError::BodyTooLarge { .. }) => {
                Self::Sound
            }
            Cause::Message(_) | Cause::Exchange(_) => Self::Doubtful,
            Cause::Forwarded(_)
            | Cause::Route(_)
            | Cause::Credentials(_)
            | Cause::Token(_)
            | Cause::Sender(_)
            | Cause::Policy(_)
            | Cause::Signature(_)
            | Cause::Endpoint(_)
            | Cause::Answer(_)
            | Cause::Proof(_)
            | Cause::Share(_)
            | Cause::Rate(_)
            | Cause::Unavailable(_) => Self::Sound,
        }
    }
}

/// What happens to the rest of a request after its response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing: there is none, or HTTP/2 takes care of it.
    #[default]
    None,
    /// It is read as part of the request; the connection is kept if it ends in time.
    ReadOn,
    /// It is thrown away, whatever it is, while the connection is closed in stages.
    Linger,
    /// It was not read to its end in time; the connection is closed at once.
    GivenUp,
}

/// Decides what happens to the rest of the request, before its response is written: that says whether the connection is kept.
pub(super) fn before_response(session: &mut Session, context: &mut Context, framing: Framing) {
    context.rest = if session.is_http2() || (framing == Framing::Sound && session.is_body_done()) {
        Rest::None
    } else if framing == Framing::Sound && may_be_kept(session, context) {
        Rest::ReadOn
    } else {
        Rest::Linger
    };
    if context.rest == Rest::ReadOn
        && let Some(facts) = connection(session)
    {
        facts.phase.read_on(declared_length(session).map_or(BodyEnd::Chunks, BodyEnd::Length));
    }
    match (context.rest, &mut *session.downstream_session) {
        (Rest::Linger, session) => session.set_keepalive(None),
        // Pingora would close the connection because of the response that comes early.
        (Rest::ReadOn, ServerSession::H1(http1)) => http1.set_close_on_response_before_downstream_finish(false),
        (Rest::ReadOn | Rest::None | Rest::GivenUp, _) => {}
    }
}

/// Says whether the response to come is an interim one, after which the client goes on sending: Pingora would close the
/// connection because of a response that comes before the end of the request, whatever it is.
pub(super) fn interim(session: &mut Session, interim: bool) {
    if let ServerSession::H1(http1) = &mut *session.downstream_session {
        http1.set_close_on_response_before_downstream_finish(!interim);
    }
}

fn may_be_kept(session: &Session, context: &Context) -> bool {
    let request: &http::request::Parts = session.req_header();
    // RFC 9110 §10.1.1: after a final status, the client that waits for 100 may send the content or leave it out. Only
    // closing the connection tells which of the two the next bytes are.
    if session.get_keepalive().is_none() || (expects_continue(request) && !context.body_was_read) {
        return false;
    }
    // Only chunks have no declared length; the message would not be sound if it had both.
    declared_length(session).is_none_or(|length| length <= context.generation.limits.unread_body_bytes)
}

pub(super) fn declared_length(session: &Session) -> Option<u64> {
    session.req_header().headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads on after the response, if that was decided.
pub(super) async fn after_response(session: &mut Session, context: &mut Context) {
    if context.rest != Rest::ReadOn {
        return;
    }
    let limits = &context.generation.limits;
    let (mut left, time) = (limits.unread_body_bytes, limits.unread_body_timeout);
    session.set_read_timeout(Some(time));
    let reading = async {
        while let Some(bytes) = session.read_request_body().await.ok()? {
            left = left.checked_sub(bytes.len() as u64)?;
        }
        Some(())
    };
    let whole = matches!(tokio::time::timeout(time, reading).await, Ok(Some(())));
    // What Pingora took for the end of the chunks may not be one.
    if !whole || breaks_chunks(session) {
        context.rest = Rest::GivenUp;
        session.set_keepalive(None);
    }
}

/// Takes care of the rest of a request at the end of its exchange, before the connection waits for the next one.
///
/// The response may be the upstream's and have ended before the body; Pingora has then told the client that the connection
/// is closed.
pub(super) fn at_end(session: &mut Session, context: &mut Context) {
    if session.is_http2() {
        return;
    }
    if context.rest == Rest::None && !session.is_body_done() {
        session.set_keepalive(None);
        context.rest = Rest::Linger;
    }
    if context.rest == Rest::Linger
        && let Some(facts) = connection(session)
    {
        facts.phase.linger();
    }
}

/// Has the exchange end in time, and soon after the upstream's response if the body of the request does not.
///
/// Over HTTP/1 the connection keeps the time.
pub(super) fn watch(session: &mut Session, context: &Context) {
    let stream = if session.is_http2() { Http2Stream::current() } else { None };
    if let Some(stream) = &stream {
        stream.limit(context.time_left());
    }
    if session.is_body_done() {
        return;
    }
    let told = match stream {
        Some(stream) => Some(Told::Http2(stream)),
        None => connection(session).map(|facts| Told::Http1(facts.phase.clone())),
    };
    tell(session, told);
}

/// Whether a client has reset the rest of its request after the response was complete (RFC 9113 §8.1).
pub(super) fn is_cancelled_by_client(e: &Error) -> bool {
    *e.esource() == ErrorSource::Downstream
        && matches!(e.etype(), ErrorType::ReadError | ErrorType::H2Error | ErrorType::ConnectionClosed)
        && Http2Stream::current().is_some_and(|stream| stream.is_answered())
}

fn tell(session: &mut Session, told: Option<Told>) {
    if let Some(delivery) = session.downstream_modules_ctx.get_mut::<Delivery>() {
        delivery.tell(told);
    }
}

/// Tells nobody of the end of the response: what is written from now on is the gateway's own.
pub(super) fn tell_nobody(session: &mut Session) {
    tell(session, None);
}

/// Closes a connection whose response is complete before the body of its request.
pub(super) async fn close_answered(session: &mut Session, context: &mut Context) {
    context.rest = Rest::Linger;
    session.set_keepalive(None);
    close(session, context).await;
}

/// Closes a connection in stages, where that was decided and Pingora would only drop the session.
pub(super) async fn close(session: &mut Session, context: &mut Context) {
    if context.rest != Rest::Linger {
        return;
    }
    // Nobody waits for this exchange any more.
    (context.place, context.turn) = (None, None);
    if let Some(facts) = connection(session) {
        facts.phase.linger();
    }
    if let ServerSession::H1(http1) = &mut *session.downstream_session {
        http1.shutdown().await;
    }
}
