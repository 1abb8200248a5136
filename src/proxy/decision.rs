//! How a request is decided on, and how a refused one is answered.

use std::net::IpAddr;

use bytes::Bytes;
use fapi::UnixTime;
use fapi::cors::{Granted, Preflight};
use fapi::headers;
use fapi::message::{self, ExchangeError, Facts, MessageError};
use fapi::metadata::Document;
use fapi::peer::{NoCertificate, Peer};
use fapi::permit::{Judged, Permit};
use fapi::rejection::{Cause, Rejection, ResponseContext, Seen, Unavailable};
use fapi::signature::digest::ContentHasher;
use http::{HeaderMap, StatusCode, header};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorType};

use super::Proxy;
use super::body::{BUFFER, breaks_chunks, read_body};
use super::context::{Context, connection};
use super::edits::apply;
use super::limits::take_share;
use super::response::add_rate_limits;
use super::signed::signs_responses;
use super::unread::{self, Framing};
use crate::clock::{Moment, http_date, rfc3339};
use crate::connection::OtherEnd;
use crate::connection::limits::ExchangeLimits;
use crate::gateway::{Client, Outcome, Verdict};
use crate::rate_limits::Taken;

impl Proxy {
    /// Asks the gateway to decide on one request.
    pub(super) async fn decide(&self, session: &mut Session, context: &mut Context) -> Result<(), Rejection> {
        if context.place.is_none() {
            let limit = context.generation.limits.exchanges;
            return Err(Rejection::new(Unavailable::Overloaded { limit }, Default::default()));
        }
        let now = UnixTime(context.began_at.as_secs());
        let raw = (!session.is_http2()).then(|| session.to_h1_raw());
        let generation = context.generation.clone();
        let (Some(facts), Some(hosts)) = (connection(session), generation.listeners.get(self.index)) else {
            let detail = "the connection has no facts, or its listener has no virtual hosts".to_owned();
            return Err(Rejection::new(Unavailable::Internal { detail }, Default::default()));
        };
        let Some((host, other_end)) = facts.standing_under(hosts, now) else {
            return Err(Rejection::new(MessageError::ConnectionOutdated, Default::default()));
        };
        context.listener_cors.clone_from(&host.cors);
        context.listener_errors.clone_from(&host.errors);
        if !self.audit.admits(generation.on_overflow).await {
            return Err(Rejection::new(Unavailable::Audit, Default::default()));
        }
        let request: &http::request::Parts = session.req_header();
        let message =
            Facts { version: request.version, raw_h1: raw.as_deref(), server_name: facts.server_name.as_deref() };
        let mut forwarded_chain = None;
        let mut address = None;
        match other_end {
            OtherEnd::Client(peer) => {
                context.peer = peer;
                address = Some(facts.client_address);
                context.verified_chain = host.tls.verifies_chains();
            }
            OtherEnd::Proxy(trusted_proxy) => {
                context.peer = Peer::Anonymous(NoCertificate::NotForwarded);
                context.verified_chain = trusted_proxy.verifies_chains();
                let client = trusted_proxy
                    .client(&request.headers, facts.peer.certificate(), now)
                    .map_err(|error| generation.gateway.refuse(error, request, &message, &host.origins))?;
                context.peer = client.peer;
                forwarded_chain = client.chain;
            }
        }
        let client = Client { peer: &context.peer, verified_chain: context.verified_chain, address };
        let cors = host.cors.as_deref();
        let verdict = generation.gateway.authorize(request, &message, &host.origins, cors, client, now).await?;
        let (judged, taken, mut seen) = match verdict {
            (Verdict::Judged(judged, taken), seen) => (judged, taken, seen),
            (Verdict::Preflight(granted), seen) => {
                context.exchange.seen = seen;
                context.exchange.outcome = Outcome::Preflight(granted);
                return Ok(());
            }
            (Verdict::Metadata(document), seen) => {
                context.exchange.seen = seen;
                context.exchange.outcome = Outcome::Metadata(document);
                return Ok(());
            }
        };
        match self.redeem(session, context, judged, &taken, address, &mut seen).await {
            Ok(permit) => {
                let would_deny = permit.would_deny().map(|would_deny| would_deny.clone().into());
                if permit.route().forward.client_certificate_chain {
                    context.chain = match &context.peer {
                        Peer::Certificate(_) => {
                            connection(session).and_then(|facts| facts.certificate_chain(hosts, now))
                        }
                        Peer::Forwarded(_) => forwarded_chain,
                        Peer::Anonymous(_) => None,
                    };
                }
                context.signed = permit.signed().cloned();
                context.exchange.seen = Seen { would_deny, ..seen };
                context.exchange.outcome = Outcome::Permit(permit);
                Ok(())
            }
            Err(cause) => Err(Rejection::new(cause, seen)),
        }
    }

    /// Counts the exchange for its client, reads what the decision needs of the body, then asks the gateway for the last step.
    async fn redeem(
        &self,
        session: &mut Session,
        context: &mut Context,
        judged: Judged,
        taken: &Taken,
        address: Option<IpAddr>,
        seen: &mut Seen,
    ) -> Result<Permit, Cause> {
        take_share(session, context, judged.token())?;
        // The body, once it was read: nothing reads it twice.
        let mut body = None;
        let judged = match judged.without_signature() {
            Ok(judged) => judged,
            Err(waiting) => {
                Box::pin(self.judge_signature(session, context, (waiting, address), seen, &mut body)).await?
            }
        };
        let authorized = match judged {
            Judged::Authorized(authorized) => authorized,
            Judged::AwaitsForm(waiting) => {
                let limits = context.limits;
                let form = read_once(session, context, &limits, BUFFER, &mut body).await?;
                waiting.judge(form)?
            }
            Judged::AwaitsSignature(_) | Judged::AwaitsConsent(_) => {
                let detail = "a signature or a consent was judged, and is to be judged again".to_owned();
                return Err(Unavailable::Internal { detail }.into());
            }
            Judged::AwaitsParameters(guard) => {
                let limits = context.limits.on(&guard.route().limits);
                let form = wait_for_body(session, context, &limits, BUFFER, None).await?;
                let client = Client { peer: &context.peer, verified_chain: context.verified_chain, address };
                let (gateway, now) = (&context.generation.gateway, self.clock.unix_time());
                let judging = gateway.judge_form(*guard, session.req_header(), &form, client, now, seen);
                let authorized = Box::pin(judging).await?;
                context.body = form.into();
                authorized
            }
            Judged::AwaitsBody(waiting) => {
                let limits = context.limits.on(&waiting.route().limits);
                let limit = usize::try_from(limits.body_bytes).map_or(BUFFER, |limit| limit.min(BUFFER));
                let headers = &session.req_header().headers;
                // A body that is longer than what can be kept is lost for the upstream once it was read so far.
                let fits = if body.is_some() { Ok(()) } else { message::check_length(headers, limit as u64) };
                let may_not_fit = fits.is_err() || body.is_none() && !headers.contains_key(header::CONTENT_LENGTH);
                let unread = if may_not_fit { waiting.pass_unread() } else { Err(waiting) };
                match unread {
                    Ok(unread) => unread,
                    Err(waiting) => {
                        // Before a client that waits for a 100 response is told to send what is refused.
                        fits?;
                        // What is kept already, for its signature, is within the limits that it has there.
                        let limit = body.as_ref().map_or(limit, Vec::len);
                        let body = read_once(session, context, &limits, limit, &mut body).await?;
                        waiting.judge(body)?
                    }
                }
            }
        };
        // What is kept until the response is whole cannot be read from the client meanwhile; and an idempotency key names one
        // request, of which nothing may go on before all of it is known.
        let whole = signs_responses(authorized.route()) || authorized.idempotency_key().is_some();
        if whole && body.is_none() && !session.is_body_empty() {
            let limits = context.limits.on(&authorized.route().limits);
            let limit = usize::try_from(limits.body_bytes).unwrap_or(usize::MAX);
            Box::pin(read_once(session, context, &limits, limit, &mut body)).await?;
        }
        if breaks_chunks(session) {
            return Err(ExchangeError::BodyMalformed.into());
        }
        let authorized = match authorized.idempotency_key() {
            Some(_) => {
                let request: &http::request::Parts = session.req_header();
                authorized.with_request(request, body.as_deref().unwrap_or_default())
            }
            None => authorized,
        };
        if let Some(body) = body.filter(|body| body.len() > BUFFER || signs_responses(authorized.route())) {
            context.body = body.into();
        }
        let permit = context.generation.gateway.redeem(authorized, taken, self.clock.unix_time()).await?;
        if let Some(payload) = permit.signed().and_then(|signed| signed.payload_to_forward()) {
            context.body = Bytes::copy_from_slice(payload.as_bytes());
        }
        Ok(permit)
    }

    /// Writes the response to a refused request, and reads on if its body has not ended.
    pub(super) async fn answer(&self, session: &mut Session, context: &mut Context) -> pingora::Result<u16> {
        let Outcome::Reject(rejection) = &context.exchange.outcome else {
            return Error::e_explain(ErrorType::InternalError, "there is no rejection to answer with");
        };
        let framing = Framing::after(rejection.cause());
        let gateway = &context.generation.gateway;
        let request: &http::request::Parts = session.req_header();
        let path = request.uri.path();
        let metadata = rejection.seen().origin.as_ref().and_then(|origin| gateway.metadata.about(origin, path));
        let time = || rfc3339(self.clock.now());
        let request = Some(&request.headers);
        let errors = context.listener_errors.as_deref().unwrap_or(&gateway.errors);
        let told = ResponseContext { errors: Some(errors), time: Some(&time), metadata, request };
        let response = rejection.response_in(&context.exchange.interaction, told);
        let status = response.status().as_u16();
        let (parts, body) = response.into_parts();
        let mut head = ResponseHeader::build(status, Some(12))?;
        for (name, value) in &parts.headers {
            head.append_header(name.clone(), value.clone())?;
        }
        self.add_cors(session, context, &mut head)?;
        // Whoever does not read this holds it up; nobody else waits for that, and beyond a number there is nothing to read.
        context.place = None;
        context.answering = self.exchanges.answer(context.generation.limits.exchanges);
        let body = if context.answering.is_some() { body } else { String::new() };
        head.insert_header(header::CONTENT_LENGTH, body.len())?;
        // Boxed, as what is rare: every exchange would carry the room for it.
        let body = Box::pin(self.sign_refusal(session, context, &mut head, Bytes::from(body))).await;
        self.answer_with(session, context, head, body, framing).await?;
        Ok(status)
    }

    /// Writes a response that is whole, and reads on if the body of its request has not ended.
    pub(super) async fn answer_with(
        &self,
        session: &mut Session,
        context: &mut Context,
        head: ResponseHeader,
        body: Bytes,
        framing: Framing,
    ) -> pingora::Result<()> {
        self.dismiss(session);
        unread::before_response(session, context, framing);
        let without_body = body.is_empty() || session.req_header().method == http::Method::HEAD;
        let status = head.status.as_u16();
        session.write_response_header(Box::new(head), without_body).await?;
        context.own_status = Some(status);
        let mut rest = if without_body { Bytes::new() } else { body };
        // In parts: it is each of them that a client may take its time to read, and not the whole.
        while !rest.is_empty() {
            let part = rest.split_to(rest.len().min(PART));
            context.response_bytes = context.response_bytes.saturating_add(part.len() as u64);
            session.write_response_body(Some(part), rest.is_empty()).await?;
            self.check_overdue(context)?;
        }
        unread::after_response(session, context).await;
        Ok(())
    }

    /// Answers with a document about a resource, or says that the client has it (RFC 9728 §3.2).
    pub(super) async fn answer_metadata(
        &self,
        session: &mut Session,
        context: &mut Context,
        document: &Document,
    ) -> pingora::Result<()> {
        // As in a refusal: it is for everybody, and who does not read it takes nobody's place.
        context.place = None;
        let limit = context.generation.limits.exchanges;
        context.answering = self.exchanges.answer(limit);
        if context.answering.is_none() {
            context.exchange.reject(Unavailable::Overloaded { limit });
            return self.answer(session, context).await.map(|_| ());
        }
        let current = document.content(self.clock.unix_time());
        let (parts, content) = current.response(&session.req_header().headers).into_parts();
        let mut head = ResponseHeader::build(parts.status, Some(10))?;
        for (name, value) in &parts.headers {
            head.insert_header(name.clone(), value.clone())?;
        }
        head.insert_header(headers::INTERACTION_ID, context.exchange.interaction.header_value())?;
        head.insert_header(header::DATE, http_date(self.clock.now()))?;
        if parts.status == StatusCode::NOT_MODIFIED {
            return self.answer_without_body(session, context, head).await;
        }
        head.insert_header(header::CONTENT_LENGTH, content.len())?;
        if session.req_header().method == http::Method::HEAD {
            return self.answer_without_body(session, context, head).await;
        }
        let content = Bytes::copy_from_slice(content.as_bytes());
        self.answer_with(session, context, head, content, Framing::Sound).await
    }

    /// Answers a preflight that was granted (Fetch standard §3.3.3).
    pub(super) async fn answer_preflight(
        &self,
        session: &mut Session,
        context: &mut Context,
        granted: Granted,
    ) -> pingora::Result<()> {
        let mut head = ResponseHeader::build(StatusCode::NO_CONTENT, Some(8))?;
        for (name, value) in granted.fields() {
            head.insert_header(name.clone(), value.clone())?;
        }
        head.insert_header(headers::INTERACTION_ID, context.exchange.interaction.header_value())?;
        head.insert_header(header::DATE, http_date(self.clock.now()))?;
        self.answer_without_body(session, context, head).await
    }

    async fn answer_without_body(
        &self,
        session: &mut Session,
        context: &mut Context,
        head: ResponseHeader,
    ) -> pingora::Result<()> {
        self.answer_with(session, context, head, Bytes::new(), Framing::Sound).await
    }

    /// Makes the CORS fields of a response those of the rule for this request, if there is one.
    pub(super) fn add_cors(
        &self,
        session: &Session,
        context: &Context,
        response: &mut ResponseHeader,
    ) -> pingora::Result<()> {
        let Some(cors) = context.cors() else { return Ok(()) };
        let request: &http::request::Parts = session.req_header();
        // A preflight that comes here was not granted: its origin or its method is not allowed.
        let nobody = HeaderMap::new();
        let sender = if Preflight::of(request).is_some() { &nobody } else { &request.headers };
        apply(headers::with_cors(&response.headers, cors, sender), response)
    }

    /// Answers an OPTIONS request whose `Max-Forwards` ends here, after it was permitted.
    pub(super) async fn answer_options(&self, session: &mut Session, context: &mut Context) -> pingora::Result<()> {
        let mut head = ResponseHeader::build(StatusCode::OK, Some(6))?;
        let (permit, interaction) = (context.exchange.permit(), &context.exchange.interaction);
        apply(headers::to_client(&HeaderMap::new(), permit, interaction), &mut head)?;
        add_rate_limits(context, &mut head)?;
        self.add_cors(session, context, &mut head)?;
        head.insert_header(header::DATE, http_date(self.clock.now()))?;
        head.insert_header(header::CONTENT_LENGTH, 0)?;
        Box::pin(self.sign_refusal(session, context, &mut head, Bytes::new())).await;
        self.answer_without_body(session, context, head).await
    }
}

/// How much of a response is written at a time, in bytes.
const PART: usize = 64 * 1024;

/// The body, of at most this many bytes: what was read of it before, or what is read now.
async fn read_once<'b>(
    session: &mut Session,
    context: &mut Context,
    limits: &ExchangeLimits,
    limit: usize,
    body: &'b mut Option<Vec<u8>>,
) -> Result<&'b [u8], ExchangeError> {
    if body.is_none() {
        *body = Some(wait_for_body(session, context, limits, limit, None).await?);
    }
    let body = body.as_deref().unwrap_or_default();
    if body.len() > limit { Err(ExchangeError::BodyTooLarge { limit: limit as u64 }) } else { Ok(body) }
}

/// Reads the body, and counts the time that this takes as the client's.
pub(super) async fn wait_for_body(
    session: &mut Session,
    context: &mut Context,
    limits: &ExchangeLimits,
    limit: usize,
    hasher: Option<&mut ContentHasher>,
) -> Result<Vec<u8>, ExchangeError> {
    context.body_was_read = true;
    let began = Moment::now();
    let body = read_body(session, limits, limit, &mut context.body_bytes, hasher).await;
    context.body_wait = began.elapsed();
    body
}

/// Returns how many more proxies a request may pass.
pub(super) fn max_forwards(session: &Session) -> Option<u64> {
    let request: &http::request::Parts = session.req_header();
    headers::max_forwards(&request.method, &request.headers)
}
