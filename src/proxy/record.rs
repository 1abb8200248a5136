//! The record of an exchange: its counts, and its line in the audit.

use std::sync::Arc;

use fapi::code::Code;
use http::Method;
use pingora::protocols::tls::SslDigest;
use pingora::proxy::Session;

use super::Proxy;
use super::context::{Context, connection};
use crate::clock::rfc3339;
use crate::connection::ConnectionFacts;
use crate::gateway::{Exchange, Outcome};
use crate::generation::Generation;
use crate::telemetry::audit::{self, Ending};

/// What the record of an exchange needs that Pingora may drop before it ends.
pub(super) struct Unrecorded {
    proxy: Proxy,
    digest: Option<Arc<SslDigest>>,
    method: Method,
    path: Box<str>,
}

impl Unrecorded {
    pub(super) fn of(proxy: &Proxy, session: &Session) -> Box<Self> {
        let request = session.req_header();
        Box::new(Self {
            proxy: proxy.clone(),
            digest: session.digest().and_then(|digest| digest.ssl_digest.clone()),
            method: request.method.clone(),
            path: request.uri.path().into(),
        })
    }
}

/// A stream that is given up after its response is recorded all the same.
impl Drop for Context {
    fn drop(&mut self) {
        if let Some(unrecorded) = self.unrecorded.take() {
            let Unrecorded { proxy, digest, method, path } = &*unrecorded;
            let facts = digest.as_ref().and_then(|digest| digest.extension.get::<ConnectionFacts>());
            proxy.record_exchange(self, facts, (method, path), self.upstream_status);
            if let Some(facts) = facts {
                facts.phase.stream_ended(false);
            }
        }
    }
}

impl Proxy {
    /// Counts an exchange and returns its audit line, which the caller must send.
    pub(super) fn record(&self, generation: &Generation, exchange: &Exchange, ending: &Ending<'_>) -> Vec<u8> {
        let decided @ (decision, code) = audit::decision(&exchange.outcome, ending);
        let route = exchange.seen.route.as_ref().map_or("", |route| &*route.name);
        if let Some(counts) = generation.counts.get(route) {
            counts.exchange(decision, code, ending.duration, ending.decision);
        }
        audit::line(exchange, ending, decided)
    }

    /// Records an exchange at its end, and lets the next one begin on its connection.
    pub(super) fn record_end(&self, session: &mut Session, context: &mut Context) {
        context.unrecorded = None;
        let facts = connection(session);
        let request = session.req_header();
        let status =
            session.response_written().map(|response| response.status.as_u16()).filter(|status| *status >= 200);
        self.record_exchange(context, facts, (&request.method, request.uri.path()), status);
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
        context: &Context,
        facts: Option<&ConnectionFacts>,
        (method, path): (&Method, &str),
        status: Option<u16>,
    ) {
        let certificate = facts.and_then(|facts| context.certificate(facts));
        let ending = Ending {
            time: rfc3339(context.began_at),
            listener: &self.listener,
            client_address: facts.map(|facts| facts.client_address),
            certificate_subject: certificate.map(|(certificate, _)| certificate.subject()),
            certificate_source: certificate.map(|(_, source)| source),
            method: Some(method.as_str()),
            path: Some(path),
            status,
            upstream: context.upstream.as_deref(),
            upstream_status: context.upstream_status,
            duration: context.began.elapsed(),
            decision: context.decision,
        };
        self.audit.send(&self.record(&context.generation, &context.exchange, &ending));
    }
}
