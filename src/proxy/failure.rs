//! What a failed attempt means: whose fault it is, and whether another server may succeed.

use fapi::message::{ExchangeError, MessageError};
use fapi::rejection::{Cause, Unavailable};
use pingora::{Error, ErrorSource, ErrorType, RetryType};

use super::Proxy;
use super::context::Context;
use crate::connection::ended::Ended;
use crate::upstream;

impl Proxy {
    /// Returns the cause of a failure. Whose fault it is decides between 4xx, 502, 504 and 500.
    pub(super) fn cause_of(&self, e: &Error, context: &Context) -> Cause {
        use ErrorType::{
            ConnectionClosed, H2Error, InvalidHTTPHeader, ReadError, ReadTimedout, WriteError, WriteTimedout,
        };
        let upstream = context.upstream.clone().unwrap_or_else(|| "".into());
        let detail = what_failed(e);
        let failure = Failure::of(e.etype());
        let ended = ended(e);
        match (e.esource(), e.etype()) {
            (ErrorSource::Downstream | ErrorSource::Unset, ReadError | WriteError) if ended == Some(Ended::Stalled) => {
                ExchangeError::ClientStalled.into()
            }
            // The client's stream ends what takes too long as a whole.
            (ErrorSource::Downstream | ErrorSource::Unset, ReadError | WriteError) if ended == Some(Ended::Overdue) => {
                self.overdue(context)
            }
            (ErrorSource::Downstream, ReadTimedout) => ExchangeError::BodyTimeout.into(),
            (ErrorSource::Downstream, WriteTimedout) => ExchangeError::ClientStalled.into(),
            (ErrorSource::Downstream, InvalidHTTPHeader) => {
                MessageError::HeaderMalformed { why: "Connection names too many fields, or one that it must not name" }
                    .into()
            }
            (ErrorSource::Downstream, ReadError | H2Error) if breaks_http2(e) => ExchangeError::BodyMalformed.into(),
            (ErrorSource::Downstream | ErrorSource::Unset, ConnectionClosed | ReadError | WriteError | H2Error) => {
                ExchangeError::ClientGone.into()
            }
            (ErrorSource::Downstream, _) => ExchangeError::BodyMalformed.into(),
            (ErrorSource::Upstream, ReadTimedout) if context.began.elapsed() >= context.limits.exchange_timeout => {
                self.overdue(context)
            }
            // An upstream that is still waiting for the rest of the body is not late; the client is.
            (ErrorSource::Upstream, ReadTimedout) if !context.body_done => ExchangeError::BodyTimeout.into(),
            (ErrorSource::Upstream, _) => {
                self.metrics.upstream_failed(&upstream, failure.kind());
                match failure {
                    Failure::Timeout => Unavailable::UpstreamTimeout { upstream, detail }.into(),
                    Failure::Protocol => Unavailable::UpstreamInvalid { upstream, detail }.into(),
                    Failure::Connect | Failure::Connection => {
                        Unavailable::UpstreamUnreachable { upstream, detail }.into()
                    }
                }
            }
            (ErrorSource::Internal | ErrorSource::Unset, _) => Unavailable::Internal { detail }.into(),
        }
    }
}

/// How an upstream failed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// It timed out.
    Timeout,
    /// It violated the HTTP protocol, or did not negotiate the configured version.
    Protocol,
    /// It could not be connected to.
    Connect,
    /// The connection to it failed.
    Connection,
}

impl Failure {
    pub(super) fn of(error: &ErrorType) -> Self {
        use ErrorType::{
            ConnectError, ConnectNoRoute, ConnectRefused, ConnectTimedout, Custom, H2Downgrade, H2Error,
            HandshakeError, InvalidCert, InvalidH2, InvalidHTTPHeader, ReadTimedout, SocketError, TLSHandshakeFailure,
            TLSHandshakeTimedout, WriteTimedout,
        };
        if matches!(error, ConnectTimedout | ReadTimedout | TLSHandshakeTimedout | WriteTimedout) {
            Self::Timeout
        } else if matches!(
            error,
            H2Downgrade | H2Error | InvalidH2 | InvalidHTTPHeader | Custom("InvalidChunk" | "AnswerTooLarge")
        ) {
            Self::Protocol
        } else if matches!(
            error,
            ConnectError
                | ConnectNoRoute
                | ConnectRefused
                | HandshakeError
                | InvalidCert
                | SocketError
                | TLSHandshakeFailure
        ) {
            Self::Connect
        } else {
            Self::Connection
        }
    }

    /// Returns its name in metrics.
    pub(super) const fn kind(self) -> &'static str {
        match self {
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::Connect => "connect",
            Self::Connection => "connection",
        }
    }
}

/// What failed at an upstream, for operators.
pub(super) fn what_failed(e: &Error) -> String {
    let mut detail = e.etype().as_str().to_owned();
    let cause = match (upstream::alert(&e.to_string()), Failure::of(e.etype())) {
        (Some(alert), _) => Some(alert),
        (None, Failure::Connect) => Some(handshake_fault(e).unwrap_or_else(|| e.root_cause().to_string())),
        // After connecting, it might quote a body.
        (None, Failure::Timeout | Failure::Protocol | Failure::Connection) => None,
    };
    if let Some(cause) = cause {
        detail.push_str(": ");
        detail.extend(cause.chars().filter(|c| !c.is_control()).take(400));
    }
    detail
}

/// Why a TLS handshake with an upstream failed. Pingora has it only as text: its root cause is the local address.
fn handshake_fault(e: &Error) -> Option<String> {
    let mut innermost = e;
    while let Some(inner) = innermost.cause.as_ref().and_then(|cause| cause.downcast_ref::<Box<Error>>()) {
        innermost = inner;
    }
    let context = innermost.context.as_ref().filter(|_| innermost.etype == ErrorType::TLSHandshakeFailure)?.as_str();
    let context = context.rsplit_once(", SNI: ").map_or(context, |(before, _)| before);
    Some(context.rsplit_once("cause: ").map_or(context, |(_, cause)| cause).to_owned())
}

/// Why the client's stream ended an exchange, if it did.
pub(super) fn ended(e: &Error) -> Option<Ended> {
    Ended::of(e.root_cause().downcast_ref()?)
}

/// Whether the connection of a client broke, so that no response reaches it.
pub(super) fn client_is_gone(e: &Error) -> bool {
    use ErrorType::{ConnectionClosed, ReadError, WriteError};
    // A read also fails because the time of the exchange is over.
    let broke = matches!(e.etype(), WriteError | ConnectionClosed)
        || *e.etype() == ReadError && ended(e) != Some(Ended::Overdue);
    *e.esource() == ErrorSource::Downstream && broke
}

/// Whether the stream of a client was reset here, because what it sent is malformed.
fn breaks_http2(e: &Error) -> bool {
    let error = e.root_cause().downcast_ref::<h2::Error>();
    error.is_some_and(|error| error.is_reset() && error.is_library())
}

/// Whether a server closed its HTTP/1.1 connection before the first byte of its response.
pub(super) fn closed_unanswered(e: &Error) -> bool {
    // Pingora tells how much it has read of the response only in its message.
    matches!(e.retry, RetryType::ReusedOnly)
        && e.context.as_ref().is_some_and(|context| context.as_str().ends_with("bytes already read: 0"))
}

/// Whether a server that received a request timed out or broke off before the head of its response.
///
/// What a client can cause does not count: a body that does not arrive, or a request whose response violates HTTP. Nor
/// does an HTTP/2 request that the server states not to have processed, unless it says so of each attempt.
pub(super) fn left_unanswered(e: &Error, context: &Context) -> bool {
    let failed = match Failure::of(e.etype()) {
        // While the body does not arrive, a server may well give up; a connection that is not even open has no body.
        Failure::Timeout => context.body_done || *e.etype() != ErrorType::ReadTimedout,
        Failure::Connection => context.body_done,
        // A request that the server has not processed is sent again, but only a few times.
        Failure::Protocol => {
            let unprocessed = matches!(e.retry, RetryType::Decided(true)) && context.attempts < upstream::ATTEMPTS;
            *e.etype() == ErrorType::H2Error && !unprocessed
        }
        Failure::Connect => false,
    };
    *e.esource() == ErrorSource::Upstream && context.upstream_status.is_none() && failed
}

/// Whether the HTTP/2 connection that a request was sent on should get no more of them: its server refuses streams, is
/// overburdened by this client (ENHANCE_YOUR_CALM), or does not respond, which may mean that the connection is dead.
pub(super) fn refuses_streams(e: &Error) -> bool {
    let reason =
        e.root_cause().downcast_ref::<h2::Error>().filter(|error| error.is_remote()).and_then(h2::Error::reason);
    matches!(reason, Some(h2::Reason::REFUSED_STREAM | h2::Reason::ENHANCE_YOUR_CALM))
        || (*e.esource() == ErrorSource::Upstream && *e.etype() == ErrorType::ReadTimedout)
}

/// Whether a connection failed because of the server or the network path to it, rather than this machine.
pub(super) const fn is_servers_fault(error: &ErrorType) -> bool {
    use ErrorType::{
        ConnectError, ConnectNoRoute, ConnectRefused, ConnectTimedout, HandshakeError, InvalidCert,
        TLSHandshakeFailure, TLSHandshakeTimedout,
    };
    matches!(
        error,
        ConnectError
            | ConnectNoRoute
            | ConnectRefused
            | ConnectTimedout
            | HandshakeError
            | InvalidCert
            | TLSHandshakeFailure
            | TLSHandshakeTimedout
    )
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_client_that_reads_nothing_is_not_an_exchange_whose_time_is_over() {
        for why in [Ended::Stalled, Ended::Overdue, Ended::Answered] {
            // Pingora reports each when it reads, since a read flushes what was written.
            let e = Error::because(ErrorType::ReadError, "while reading", io::Error::from(why)).into_down();
            assert_eq!(ended(&e), Some(why));
        }
        let of_the_system = io::Error::from(io::ErrorKind::TimedOut);
        assert_eq!(ended(&Error::because(ErrorType::ReadError, "while reading", of_the_system).into_down()), None);
    }
}
