//! Connects Pingora's phases to the gateway's line.
//!
//! `request_filter` decides on a request, once. `upstream_peer` can learn an address only from a
//! [`Permit`](fapi::permit::Permit). `upstream_request_filter` sets the header fields, after Pingora has removed those
//! that the client's `Connection` field names.

mod body;
mod context;
mod decision;
mod delivery;
mod early;
mod edits;
mod failure;
mod held;
mod limits;
mod record;
mod response;
mod signed;
mod spans;
mod unread;

pub(crate) use context::fresh_exchange;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use bytes::Bytes;
use fapi::UnixTime;
use fapi::authorization_server::JudgedRequest;
use fapi::headers::{self, InteractionId, Onward, TraceContext, VouchedCertificate};
use fapi::jose::signing::NotSigned;
use fapi::message::ExchangeError;
use fapi::sender::AcceptedToken;
use http::{HeaderMap, Version, header};
use pingora::connectors::http::Connector;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::modules::http::HttpModules;
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorSource, ErrorType, RetryType};

use self::body::{breaks_chunks, expects_continue, is_harmless};
use self::context::{Context, connection};
use self::decision::max_forwards;
use self::delivery::Deliveries;
use self::edits::edit;
use self::failure::{
    Failure, client_is_gone, closed_unanswered, ended, is_servers_fault, left_unanswered, refuses_streams, what_failed,
};
use self::record::Unrecorded;
use crate::clock::{Clock, Moment};
use crate::connection::drain::Drain;
use crate::connection::ended::Ended;
use crate::connection::exchanges::Exchanges;
use crate::gateway::Outcome;
use crate::generation::Generation;
use crate::telemetry::audit::AuditSender;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::routes::Traffic;
use crate::upstream;

/// The proxy behind one listener.
#[derive(Clone)]
pub struct Proxy {
    /// The current generation; an exchange loads it once.
    pub generation: Arc<ArcSwap<Generation>>,
    /// The index of the listener.
    pub index: usize,
    /// The listener's address, for the audit.
    pub listener: Arc<str>,
    /// The clock.
    pub clock: Clock,
    /// Where exchanges are counted.
    pub metrics: Arc<Metrics>,
    /// Where the bytes of its exchanges are counted.
    pub traffic: Traffic,
    /// Where exchanges are recorded.
    pub audit: AuditSender,
    /// Whether the gateway is shutting down.
    pub drain: Arc<Drain>,
    /// The exchanges in progress.
    pub exchanges: Exchanges,
    /// The connections of exchanges that are not Pingora's.
    pub connector: Arc<Connector>,
}

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Context;

    fn new_ctx(&self) -> Context {
        // Before the generation is read: a proof that is recorded under the limits of an earlier one was then made before
        // the reload, and is asked for a nonce after it.
        let (began, began_at) = (Moment::now(), self.clock.now());
        let generation = self.generation.load_full();
        let place = self.exchanges.take(generation.limits.exchanges);
        Context::new(generation, place, began, began_at)
    }

    /// Adds one module: the gateway neither compresses nor caches, and Pingora's default would add a compression
    /// module.
    fn init_downstream_modules(&self, modules: &mut HttpModules) {
        modules.add_module(Box::new(Deliveries));
    }

    async fn early_request_filter(&self, session: &mut Session, context: &mut Context) -> pingora::Result<()> {
        if let Some(facts) = connection(session) {
            facts.phase.busy(context.limits.exchange_timeout);
        }
        // RFC 9110 §7.8: "A server MAY ignore a received Upgrade header field if it wishes to continue using the current
        // protocol on that connection." Without the field, neither Pingora nor an upstream sees the offer. In HTTP/2 the
        // field is malformed, which the gateway's line decides.
        if !session.is_http2() {
            session.req_header_mut().remove_header(&header::UPGRADE);
        }
        let headers = &session.req_header().headers;
        if let Some(interaction) = InteractionId::from_request(headers) {
            context.exchange.interaction = interaction;
        }
        if let Some(trace) = TraceContext::from_request(headers) {
            context.exchange.trace = trace;
        }
        if let Some(tracer) = &context.generation.tracer {
            context.recorder = tracer.begin(&mut context.exchange.trace, context.began, context.began_at);
        }
        context.unrecorded = Some(Unrecorded::of(self, session));
        let idle = context.limits.idle_timeout;
        if session.get_keepalive().is_some() {
            session.set_keepalive(Some(idle.as_secs().max(1)));
        }
        // RFC 9110 §15.2: "A server MUST NOT send a 1xx response to an HTTP/1.0 client."
        if session.req_header().version == Version::HTTP_10 {
            session.set_ignore_info_resp(true);
        }
        // A request that arrives before this one is answered does not harm this one; it is dropped with the connection.
        session.set_pipelining_enabled(true);
        // A client that waits for a 100 response need not send anything before it arrives.
        let waits = expects_continue(session.req_header());
        let limits = &context.limits;
        session.set_read_timeout(Some(if waits { limits.body_timeout } else { limits.patience(0) }));
        session.set_write_timeout(Some(idle));
        Ok(())
    }

    async fn request_filter(&self, session: &mut Session, context: &mut Context) -> pingora::Result<bool> {
        let recorder = context.recorder.clone();
        let decided = {
            let deciding = pin!(self.decide(session, context));
            match recorder {
                None => deciding.await,
                Some(recorder) => recorder.watch(deciding).await,
            }
        };
        context.decision = context.began.elapsed().saturating_sub(context.body_wait);
        let Err(rejection) = decided else {
            if let Outcome::Preflight(granted) = &context.exchange.outcome {
                let granted = granted.clone();
                self.answer_preflight(session, context, granted).await?;
                return Ok(true);
            }
            if let Outcome::Metadata(document) = &context.exchange.outcome {
                let document = document.clone();
                self.answer_metadata(session, context, &document).await?;
                return Ok(true);
            }
            self.apply_limits(session, context);
            // RFC 9110 §7.6.2: "If the received value is zero (0), the intermediary MUST NOT forward the request;
            // instead, the intermediary MUST respond as the final recipient."
            let last = max_forwards(session) == Some(0);
            if last {
                self.answer_options(session, context).await?;
                return Ok(true);
            }
            // Boxed, as what is rare: every exchange would carry the room for it.
            return match context.held() {
                Some(held) => {
                    Box::pin(self.exchange_held(session, context, held)).await?;
                    Ok(true)
                }
                None => Ok(false),
            };
        };
        context.exchange.settle(rejection);
        self.answer(session, context).await?;
        Ok(true)
    }

    async fn request_body_filter(
        &self,
        session: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        context: &mut Context,
    ) -> pingora::Result<()> {
        let limits = context.limits;
        context.body_done |= end_of_stream;
        // Most requests have no body at all.
        if end_of_stream && context.body_bytes == 0 && body.is_none() && !breaks_chunks(session) {
            return Ok(());
        }
        context.body_bytes = context.body_bytes.saturating_add(body.as_ref().map_or(0, |body| body.len() as u64));
        let taken = context.body_began.get_or_insert_with(Moment::now).elapsed();
        let (patience, elapsed) = (limits.patience(context.body_bytes), context.began.elapsed());
        let fault = if context.body_bytes > limits.body_bytes {
            ExchangeError::BodyTooLarge { limit: limits.body_bytes }
        } else if breaks_chunks(session) {
            ExchangeError::BodyMalformed
        } else if !end_of_stream && (taken > patience || elapsed > limits.body_timeout) {
            ExchangeError::BodyTimeout
        } else {
            self.check_overdue(context)?;
            // HTTP/2 has no such timeout: there, the upstream's response timeout ends the wait for a silent client.
            session.set_read_timeout(Some(patience.saturating_sub(taken).min(limits.body_pause)));
            // Pingora writes these bytes as a chunk and then ends the body. An empty chunk also ends it: the upstream
            // would take the second end for the beginning of the next request on the connection, which may be another
            // client's.
            if end_of_stream && body.as_ref().is_some_and(Bytes::is_empty) {
                *body = None;
            }
            return Ok(());
        };
        *body = None;
        Err(context.refuse(fault, "the body was refused").into_down())
    }

    async fn upstream_peer(&self, session: &mut Session, context: &mut Context) -> pingora::Result<Box<HttpPeer>> {
        let Some(permit) = context.exchange.permit() else {
            return Error::e_explain(ErrorType::InternalError, "the request has no permit");
        };
        context.upstream = Some(permit.upstream().name.clone());
        self.take_turn(context).await?;
        if context.attempts > 0 {
            self.check_again(context)?;
        }
        context.attempts = context.attempts.saturating_add(1);
        // A body that is sent again is counted again.
        context.body_bytes = 0;
        context.body_began = None;
        context.server = context.upstream().and_then(|upstream| upstream.choose(&context.tried, self.clock.now()));
        spans::begin_attempt(session, context);
        match &context.server {
            Some(server) => {
                let mut peer = server.peer();
                peer.options.read_timeout = Some(context.patience_with(peer.options.read_timeout));
                Ok(Box::new(peer))
            }
            None => Err(Error::explain(ErrorType::ConnectNoRoute, "no address of the upstream is known").into_up()),
        }
    }

    async fn upstream_request_filter(
        &self,
        session: &mut Session,
        upstream_request: &mut RequestHeader,
        context: &mut Context,
    ) -> pingora::Result<()> {
        self.prepare_request(session, upstream_request, context)?;
        // To an HTTP/2 server, Pingora passes no body that is known to be empty, not even its end.
        context.body_done |= session.is_body_done();
        unread::watch(session, context);
        let http2 = upstream_request.version == Version::HTTP_2;
        if http2 != context.upstream().is_some_and(|upstream| upstream.speaks_http2()) {
            return Err(Error::explain(ErrorType::H2Error, "the server did not negotiate HTTP/2").into_up());
        }
        // Pingora does not forward the 100 response of an HTTP/2 server; the client would wait for it in vain.
        if http2 && upstream_request.remove_header(&header::EXPECT).is_some() && expects_continue(session.req_header())
        {
            unread::interim(session, true);
            session.write_continue_response().await.map_err(|e| e.into_down())?;
        }
        // The upstream receives what was decided on: path and query, even if the client sent an absolute target.
        let target = session.req_header().uri.path_and_query().map_or("/", |target| target.as_str());
        let other = context.exchange.permit().and_then(|permit| permit.asked()).and_then(|asked| asked.query());
        let other = other.map(|query| format!("{}?{query}", session.req_header().uri.path()));
        let target = other.as_deref().unwrap_or(target);
        if upstream_request.raw_path() != target.as_bytes() {
            upstream_request.set_raw_path(target.as_bytes())?;
        }
        Ok(())
    }

    async fn response_filter(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Context,
    ) -> pingora::Result<()> {
        if context.is_for_browsers() && !response.status.is_informational() {
            Box::pin(self.judge_browser(response, context)).await?;
        }
        self.edit_response(session, response, context)
    }

    /// Cuts off a response that never ends, or that the client reads too slowly.
    fn response_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        end_of_stream: bool,
        context: &mut Context,
    ) -> pingora::Result<Option<Duration>> {
        // RFC 9110 §15.3.5, §15.4.5: these have no content, whatever an HTTP/2 server sends.
        if matches!(context.upstream_status, Some(204 | 304)) {
            *body = None;
        }
        let bytes = body.as_ref().map_or(0, Bytes::len) as u64;
        context.response_bytes = context.response_bytes.saturating_add(bytes);
        context.response_done |= end_of_stream;
        if end_of_stream {
            context.attempt.end();
        } else {
            self.check_overdue(context)?;
        }
        Ok(None)
    }

    /// Removes trailers that must not reach the client. Pingora forwards trailers if both sides speak HTTP/2, and drops
    /// them otherwise.
    async fn response_trailer_filter(
        &self,
        _: &mut Session,
        trailers: &mut HeaderMap,
        _: &mut Context,
    ) -> pingora::Result<Option<Bytes>> {
        for name in headers::withheld_trailers(trailers) {
            trailers.remove(name);
        }
        Ok(None)
    }

    /// Nothing has been sent yet, so another server may be tried, whatever the method.
    fn fail_to_connect(&self, _: &mut Session, _: &HttpPeer, context: &mut Context, mut e: Box<Error>) -> Box<Error> {
        spans::failed(&mut context.attempt, &e);
        // A pooled connection that accepts no more requests says nothing about its server.
        let mut another = *e.etype() == ErrorType::H2Error;
        if let (Some(upstream), Some(server)) = (context.upstream().cloned(), context.server.take())
            && is_servers_fault(e.etype())
        {
            upstream.unreachable(&server, self.clock.now(), &what_failed(&e));
            context.tried.push(server.address());
            another = upstream.has_another(&context.tried);
        }
        e.set_retry(another && context.attempts < upstream::ATTEMPTS);
        self.count_retry(&e, context);
        e
    }

    /// A request that may have been processed is not sent again (FWD-09), unless nothing can come of it: one that is safe
    /// and has no body, on a connection from the pool that the server was closing.
    fn error_while_proxy(
        &self,
        peer: &HttpPeer,
        session: &mut Session,
        mut e: Box<Error>,
        context: &mut Context,
        reused: bool,
    ) -> Box<Error> {
        if *e.esource() == ErrorSource::Upstream {
            spans::failed(&mut context.attempt, &e);
        }
        // RFC 9113 §8.7: REFUSED_STREAM, and GOAWAY with a lower stream, mean that the request was not processed.
        // Pingora also reports this for responses that it cannot read, although their requests were processed.
        let unprocessed = *e.etype() == ErrorType::H2Error && matches!(e.retry, RetryType::Decided(true));
        let whole = !session.as_ref().retry_buffer_truncated();
        // RFC 9112 §9.3.1: "When an inbound connection is closed prematurely, a client MAY open a new connection and
        // automatically retransmit an aborted sequence of requests if all of those requests have idempotent methods".
        let unanswered = session.response_written().is_none() && closed_unanswered(&e);
        let stale = reused && unanswered && is_harmless(session);
        // A connection that was closed while it was not used says nothing about its server.
        if let (Some(upstream), Some(server), false) = (context.upstream(), &context.server, reused && unanswered)
            && left_unanswered(&e, context)
        {
            upstream.unanswered(server, self.clock.now(), &what_failed(&e));
        }
        if let Some(server) = context.server.as_ref().filter(|_| refuses_streams(&e)) {
            server.retire(peer);
        }
        e.set_retry((unprocessed && whole || stale) && context.attempts < upstream::ATTEMPTS);
        self.count_retry(&e, context);
        e
    }

    async fn fail_to_proxy(&self, session: &mut Session, e: &Error, context: &mut Context) -> FailToProxy {
        unread::tell_nobody(session);
        let complete = ended(e) == Some(Ended::Answered);
        if complete {
            unread::close_answered(session, context).await;
        }
        if complete || unread::is_cancelled_by_client(e) {
            return FailToProxy {
                error_code: context.upstream_status.unwrap_or_default(),
                can_reuse_downstream: false,
            };
        }
        // A refused request keeps the reason of its refusal, even if the response cannot be delivered.
        if !matches!(context.exchange.outcome, Outcome::Reject(_)) {
            let cause = self.cause_of(e, context);
            context.exchange.reject(cause);
        }
        let mut error_code = 0;
        // A forwarded 100 response is not a final response.
        let answered = session.response_written().is_some_and(|response| !response.status.is_informational());
        if !client_is_gone(e) && !answered {
            session.set_keepalive(None);
            match self.answer(session, context).await {
                Ok(status) => {
                    error_code = status;
                    unread::close(session, context).await;
                }
                Err(error) => tracing::debug!(%error, "the client closed the connection before the response was sent"),
            }
        }
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, context: &mut Context) {
        if error.is_none() {
            unread::at_end(session, context);
        }
        self.record_end(session, context);
        session.set_pipelining_enabled(false);
    }

    /// Suppresses Pingora's own log line, which would repeat the audit record without the code.
    fn suppress_error_log(&self, _: &Session, _: &Context, _: &Error) -> bool {
        true
    }

    fn request_summary(&self, _: &Session, context: &Context) -> String {
        context.exchange.interaction.to_string()
    }
}

impl Proxy {
    /// Makes a header section that a client sent that of the request to the upstream which the permit names.
    fn prepare_request(
        &self,
        session: &Session,
        upstream_request: &mut RequestHeader,
        context: &Context,
    ) -> pingora::Result<()> {
        let (Some(permit), Some(facts), Some(origin)) =
            (context.exchange.permit(), connection(session), &context.exchange.seen.origin)
        else {
            return Error::e_explain(ErrorType::InternalError, "the request has no permit, connection facts or origin");
        };
        let now = UnixTime(context.began_at.as_secs());
        let bound_to = permit.token().and_then(AcceptedToken::confirmation);
        let vouched = context.verified_chain || permit.asked().is_some_and(JudgedRequest::is_registered);
        let forwarded = facts.forwarded(origin);
        // What the upstream does is a part of the attempt.
        let trace = context.attempt.id().map(|attempt| context.exchange.trace.through(attempt, true));
        let onward = Onward {
            certificate: VouchedCertificate::of(&context.peer, vouched, bound_to, now),
            chain: context.chain.as_ref(),
            version: session.req_header().version,
            upstream_version: upstream_request.version,
            max_forwards: max_forwards(session),
            forwarded: &forwarded,
            interaction: &context.exchange.interaction,
            trace: trace.as_ref().unwrap_or(&context.exchange.trace),
            now: &|| self.clock.unix_time(),
        };
        let edited = edit(upstream_request, |headers| {
            headers::to_upstream(headers, permit, &context.generation.gateway.strip, &onward)?;
            // The client received a 100 response when its body was read; the upstream need not send another. RFC 9110
            // §10.1.1: a server that receives the expectation "in an HTTP/1.0 request MUST ignore that expectation".
            if context.body_was_read || onward.version == Version::HTTP_10 {
                headers.remove(header::EXPECT);
            }
            Ok::<_, NotSigned>(())
        });
        if let Err(error) = edited {
            let route = &permit.route().name;
            tracing::error!(%route, %error, "the identity JWT of a request was not signed; nothing was forwarded");
            return Error::e_explain(ErrorType::InternalError, "the identity JWT was not signed");
        }
        Ok(())
    }

    /// Makes the response to come the last one on its connection if the gateway is shutting down.
    fn dismiss(&self, session: &mut Session) {
        if self.drain.dismisses() {
            session.set_keepalive(None);
        }
    }

    /// Counts a failure that is retried; the failure of the last attempt is counted with its exchange.
    fn count_retry(&self, e: &Error, context: &Context) {
        if let (RetryType::Decided(true), Some(upstream)) = (&e.retry, &context.upstream) {
            self.metrics.upstream_failed(upstream, Failure::of(e.etype()).kind());
            self.metrics.upstream_retried(upstream);
        }
    }
}
