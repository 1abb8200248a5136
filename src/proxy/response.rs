//! The header sections of an upstream's responses: what may not reach the client, and what the gateway adds.

use fapi::authorization_server::Endpoint;
use fapi::authorization_server::authorization_response::browser_edits;
use fapi::headers;
use http::{StatusCode, Version, header};
use pingora::http::ResponseHeader;
use pingora::proxy::Session;
use pingora::{Error, ErrorType};

use super::Proxy;
use super::context::Context;
use super::edits::apply;
use super::spans;
use super::unread;
use crate::clock::http_date;

impl Proxy {
    /// Makes the header section of an upstream's response, final or interim, that of the client's.
    pub(super) fn edit_response(
        &self,
        session: &mut Session,
        response: &mut ResponseHeader,
        context: &mut Context,
    ) -> pingora::Result<()> {
        let invalid = |why: &'static str| Error::explain(ErrorType::InvalidHTTPHeader, why).into_up();
        // No upgrade was forwarded: after a 101 response, nothing would check the bytes that follow (FWD-03).
        if response.status == StatusCode::SWITCHING_PROTOCOLS {
            return Err(invalid("a 101 response that was not requested"));
        }
        if context.upstream().is_some_and(|upstream| !upstream.accepts_header_section(&response.headers)) {
            return Err(invalid("the header section is larger than the upstream's header_bytes"));
        }
        if context.upstream().is_some_and(|upstream| upstream.speaks_http2())
            && headers::has_padded_value(&response.headers)
        {
            return Err(invalid("a field value begins or ends with white space"));
        }
        let rules = context.exchange.permit().and_then(|permit| permit.route().policy()?.fapi1());
        if rules.is_some_and(|fapi1| fapi1.refuses_charset(&response.headers, self.clock.unix_time())) {
            return Err(invalid("Content-Type names another character set than UTF-8, which FAPI 1.0 requires"));
        }
        let early = response.status.is_informational();
        unread::interim(session, early);
        let interaction = &context.exchange.interaction;
        let edits = if early {
            headers::to_client_early(&response.headers, interaction)
        } else {
            headers::to_client(&response.headers, context.exchange.permit(), interaction)
        };
        apply(edits, response)?;
        apply(headers::framing(response.status, &response.headers).map_err(invalid)?, response)?;
        self.check_overdue(context)?;
        if early {
            return Ok(());
        }
        add_rate_limits(context, response)?;
        let ecosystem = context.exchange.permit().and_then(|permit| permit.route().policy()?.ecosystem());
        if let Some((name, value)) = ecosystem.and_then(|one| one.repeated(&session.req_header().headers)) {
            response.insert_header(name, value)?;
        }
        match (context.is_for_browsers(), context.is_in_shadow_for_all()) {
            // Pages are as they were without the gateway. Those of some clients cannot be told from the others.
            (true, true) => {}
            (true, false) => apply(browser_edits(&response.headers), response)?,
            (false, _) => self.add_cors(session, context, response)?,
        }
        self.dismiss(session);
        // RFC 9112 §2.3: an intermediary sends its own version.
        if response.version < Version::HTTP_11 {
            response.set_version(Version::HTTP_11);
        }
        // Without a length, the end of the connection ends the body for an HTTP/1.0 client.
        if session.req_header().version == Version::HTTP_10 && !response.headers.contains_key(header::CONTENT_LENGTH) {
            session.set_keepalive(None);
        }
        context.upstream_status = Some(response.status.as_u16());
        spans::answered(&mut context.attempt, response.status.as_u16());
        if let (Some(upstream), Some(server)) = (context.upstream(), &context.server) {
            upstream.answered(server, self.clock.now());
        }
        if let Some(permit) = context.exchange.permit() {
            let elapsed = context.began.elapsed().saturating_sub(context.decision);
            context.upstream_duration = Some(elapsed);
            if let Some(timing) = context.generation.timings.get(permit.upstream().index) {
                timing.observe(elapsed, self.traced(&context.exchange, context.recorder.as_deref()));
            }
        }
        if !response.headers.contains_key(header::DATE) {
            response.insert_header(header::DATE, http_date(self.clock.now()))?;
        }
        Ok(())
    }

    /// Judges where the final response of an authorization server leads a browser.
    pub(super) async fn judge_browser(&self, response: &ResponseHeader, context: &mut Context) -> pingora::Result<()> {
        let gateway = &context.generation.gateway;
        let endpoint = context.exchange.permit().and_then(|permit| permit.route().endpoint());
        let server = endpoint.and_then(|(rules, endpoint)| Some((gateway.authorization_servers.of(rules)?, endpoint)));
        let Some((server, endpoint)) = server else {
            return Error::e_explain(ErrorType::InternalError, "an endpoint has no authorization server");
        };
        let now = self.clock.unix_time();
        // A page says nothing of a client before it leads to one.
        let is_of_shadow =
            endpoint == Endpoint::Authorization || server.is_shadow_of(response.status, &response.headers);
        match server.judge_browser(&gateway.issuers, response.status, &response.headers, now).await {
            Ok(_) => Ok(()),
            Err(cause) => {
                let judged = if is_of_shadow { context.pass_answer(cause, ()) } else { Err(cause) };
                judged.map_err(|cause| context.refuse(cause, "the answer was withheld").into_up())
            }
        }
    }
}

/// Tells the client what is left of the route's rate limits, whatever the upstream says of its own.
pub(super) fn add_rate_limits(context: &Context, response: &mut ResponseHeader) -> pingora::Result<()> {
    for (name, value) in context.exchange.seen.rate_limits.iter().flat_map(|limits| limits.fields()) {
        response.insert_header(name, value)?;
    }
    Ok(())
}
