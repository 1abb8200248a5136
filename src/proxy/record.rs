//! The record of an exchange: its counts, and its line in the audit.

use std::sync::Arc;

use fapi::code::Code;
use fapi::rejection::{Cause, Unavailable};
use http::request::Parts;
use pingora::protocols::tls::SslDigest;
use pingora::proxy::Session;

use super::context::{Context, connection};
use super::{Proxy, spans};
use crate::clock::rfc3339;
use crate::connection::ConnectionFacts;
use crate::connection::http2_stream::Http2Stream;
use crate::gateway::{Exchange, Outcome};
use crate::generation::Generation;
use crate::telemetry::audit::{self, Asked, Ending};
use crate::telemetry::exemplars::Traced;
use crate::trace::Recorder;

/// What the record of an exchange needs that is gone when the exchange is dropped before its end.
pub(super) struct Unrecorded {
    proxy: Proxy,
    digest: Option<Arc<SslDigest>>,
    request: Parts,
}

impl Unrecorded {
    pub(super) fn of(proxy: &Proxy, session: &Session) -> Box<Self> {
        Box::new(Self {
            proxy: proxy.clone(),
            digest: session.digest().and_then(|digest| digest.ssl_digest.clone()),
            request: Asked::kept_of(session.req_header()),
        })
    }
}

/// An exchange that is dropped is recorded all the same: that of a stream that is given up, one that is left when the gateway
/// stops, and one whose task fails.
impl Drop for Context {
    fn drop(&mut self) {
        if let Some(unrecorded) = self.unrecorded.take() {
            let Unrecorded { proxy, digest, request } = &*unrecorded;
            if let Some(cause) = self.why_dropped(proxy) {
                self.exchange.reject(cause);
            }
            let facts = digest.as_ref().and_then(|digest| digest.extension.get::<ConnectionFacts>());
            let status = self.own_status.or(self.upstream_status);
            proxy.record_exchange(self, facts, request, status);
            if let Some(facts) = facts {
                facts.phase.stream_ended(false);
            }
        }
    }
}

impl Context {
    /// Why the exchange did not end; `None` if its response is complete, or its refusal decided.
    fn why_dropped(&self, proxy: &Proxy) -> Option<Cause> {
        let internal = |detail: &str| Unavailable::Internal { detail: detail.to_owned() }.into();
        if std::thread::panicking() {
            return Some(internal("the task of the exchange failed"));
        }
        let stream = Http2Stream::current();
        if stream.as_ref().is_some_and(|stream| stream.is_overdue()) {
            return Some(proxy.overdue(self));
        }
        let settled = match &self.exchange.outcome {
            Outcome::Pending => false,
            Outcome::Permit(_) => self.response_done || self.own_status.is_some(),
            Outcome::Preflight(_) | Outcome::Metadata(_) | Outcome::Reject(_) => true,
        };
        if settled || stream.is_some_and(|stream| stream.is_answered()) {
            return None;
        }
        Some(if proxy.drain.began() { Unavailable::Stopped.into() } else { internal("the exchange was dropped") })
    }
}

impl Proxy {
    /// Counts an exchange, sends its line to the audit, and ends its trace if it has one.
    pub(super) fn record(
        &self,
        generation: &Generation,
        exchange: &Exchange,
        ending: &Ending<'_>,
        recorder: Option<&Recorder>,
    ) {
        let decided = audit::decision(&exchange.outcome, ending);
        let route = exchange.seen.route.as_ref().map_or("", |route| &*route.name);
        if let Some(counts) = generation.counts.get(route) {
            counts.exchange(decided, ending, self.traced(exchange, recorder));
            if let Some(would_deny) = &exchange.seen.would_deny {
                counts.would_deny(would_deny.code());
            }
        }
        self.traffic.exchange(ending);
        self.audit.send(&audit::line(exchange, ending, decided));
        if let Some(recorder) = recorder {
            spans::end(recorder, exchange, ending, decided);
        }
    }

    /// The trace of an exchange, if it is recorded.
    pub(super) fn traced<'e>(&self, exchange: &'e Exchange, recorder: Option<&Recorder>) -> Option<Traced<'e>> {
        recorder.map(|_| Traced { trace_id: exchange.trace.trace_id(), at: self.clock.now() })
    }

    /// Records an exchange at its end, and lets the next one begin on its connection.
    pub(super) fn record_end(&self, session: &mut Session, context: &mut Context) {
        context.unrecorded = None;
        let facts = connection(session);
        let status =
            session.response_written().map(|response| response.status.as_u16()).filter(|status| *status >= 200);
        self.record_exchange(context, facts, session.req_header(), status);
        let left =
            matches!(&context.exchange.outcome, Outcome::Reject(rejection) if rejection.code() == Code::ClientGone);
        if let Some(facts) = facts {
            facts.phase.idle();
            if session.is_http2() {
                facts.phase.stream_ended(left);
            }
        }
    }

    fn record_exchange(
        &self,
        context: &mut Context,
        facts: Option<&ConnectionFacts>,
        request: &Parts,
        status: Option<u16>,
    ) {
        spans::end_attempt(context);
        let recorder = context.recorder.take();
        let certificate = facts.and_then(|facts| context.certificate(facts));
        let ending = Ending {
            time: rfc3339(context.began_at),
            listener: &self.listener,
            client_address: facts.map(|facts| facts.client_address),
            pseudonyms: context.generation.pseudonyms.as_deref(),
            tls_version: facts.map(|facts| facts.tls_version),
            certificate_subject: certificate.map(|(certificate, _)| certificate.subject()),
            certificate_source: certificate.map(|(_, source)| source),
            request: Some(Asked::of(request)),
            status,
            request_bytes: context.body_bytes,
            response_bytes: context.response_bytes,
            upstream: context.upstream.as_deref(),
            upstream_address: context.server.as_ref().map(|server| server.address()),
            upstream_status: context.upstream_status,
            upstream_duration: context.upstream_duration,
            duration: context.began.elapsed(),
            decision: context.decision,
            signature: context.signed.as_ref().map(|signed| signed.signature()),
            // While the destination is slow, the lines of what was served need the room.
            evidence: context.generation.evidence.as_ref().filter(|_| self.audit.has_room()).and_then(|key| {
                let request = context.signed.as_ref().and_then(|signed| signed.evidence());
                key.seal(request, context.signed_response.as_ref())
            }),
        };
        self.record(&context.generation, &context.exchange, &ending, recorder.as_deref());
    }
}
