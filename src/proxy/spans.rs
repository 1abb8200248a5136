//! What an exchange looks like in a trace: its own span, and one for each attempt to send its request to a server.
//!
//! The names are those of OpenTelemetry's semantic conventions for HTTP. Where these ask for the path or the URL, there is the path
//! of the route, since the one that was sent names customers' accounts, and neither a query nor anything of a token.

use std::borrow::Cow;

use fapi::step::Step;
use http::Version;
use pingora::Error;
use pingora::proxy::Session;

use super::context::Context;
use super::failure::Failure;
use crate::gateway::{Exchange, Outcome};
use crate::telemetry::audit::Ending;
use crate::trace::{Child, Kind, Recorder, Value, names};

/// Begins the span of an attempt to send the request to the server that was chosen.
pub(super) fn begin_attempt(session: &Session, context: &mut Context) {
    context.attempt.end();
    let Some(recorder) = &context.recorder else { return };
    let method = method(session.req_header().method.as_str());
    let route = context.exchange.seen.route.as_ref().map(|route| route.pattern.as_str());
    let mut attempt = Child::of(recorder, name(method, route), Kind::Client);
    attempt.set(names::HTTP_REQUEST_METHOD, || method);
    if let Some(route) = route {
        attempt.set(names::URL_TEMPLATE, || route.to_owned());
    }
    if let Some(upstream) = &context.upstream {
        attempt.set(names::UPSTREAM, || upstream.clone());
    }
    if let Some(server) = &context.server {
        let (named, address) = (server.named(), server.address());
        attempt.set(names::URL_SCHEME, || if named.tls { "https" } else { "http" });
        attempt.set(names::SERVER_ADDRESS, || named.host.to_string());
        attempt.set(names::SERVER_PORT, || named.port);
        attempt.set(names::NETWORK_PEER_ADDRESS, || address.ip().to_string());
        attempt.set(names::NETWORK_PEER_PORT, || address.port());
    }
    if context.attempts > 1 {
        attempt.set(names::HTTP_REQUEST_RESEND_COUNT, || context.attempts - 1);
    }
    context.attempt = attempt;
}

/// Notes that the server answered with this status, which for whoever sent the request is an error from 400 on.
pub(super) fn answered(attempt: &mut Child, status: u16) {
    attempt.set(names::HTTP_RESPONSE_STATUS_CODE, || status);
    if status >= 400 {
        attempt.fail(|| status.to_string());
    }
}

/// Ends the span of an attempt that failed.
pub(super) fn failed(attempt: &mut Child, e: &Error) {
    attempt.fail(|| Failure::of(e.etype()).kind());
    attempt.end();
}

/// Ends the span of an attempt with the exchange, which may have failed before there was an answer.
pub(super) fn end_attempt(context: &mut Context) {
    if context.upstream_status.is_none()
        && let Outcome::Reject(rejection) = &context.exchange.outcome
    {
        context.attempt.fail(|| rejection.code().as_str());
    }
    context.attempt.end();
}

/// Ends the span of the exchange.
pub(super) fn end(
    recorder: &Recorder,
    exchange: &Exchange,
    ending: &Ending<'_>,
    (decision, code): (&'static str, &'static str),
) {
    let seen = &exchange.seen;
    let mut attributes = Vec::with_capacity(USUAL);
    let mut set = |name, value: Value| attributes.push((name, value));
    let request = ending.request.as_ref();
    let method = method(request.map_or("", |request| request.method));
    let route = seen.route.as_ref().map(|route| route.pattern.as_str());
    set(names::HTTP_REQUEST_METHOD, method.into());
    set(names::URL_SCHEME, "https".into());
    if let Some(version) = request.map(|request| version(request.protocol)) {
        set(names::NETWORK_PROTOCOL_VERSION, version.into());
    }
    if let Some(origin) = &seen.origin {
        set(names::SERVER_ADDRESS, origin.host().trim_matches(['[', ']']).to_owned().into());
        set(names::SERVER_PORT, origin.port().into());
    }
    if let Some(route) = &seen.route {
        set(names::HTTP_ROUTE, route.pattern.as_str().to_owned().into());
        set(names::URL_PATH, route.pattern.as_str().to_owned().into());
        set(names::ROUTE, route.name.clone().into());
    }
    if let Some(status) = ending.status {
        set(names::HTTP_RESPONSE_STATUS_CODE, status.into());
    }
    set(names::DECISION, decision.into());
    set(names::CODE, code.into());
    if let Outcome::Reject(rejection) = &exchange.outcome
        && let Some(step) = Step::of(rejection)
    {
        set(names::STEP, step.as_str().into());
    }
    if let Some(would_deny) = &seen.would_deny {
        set(names::WOULD_DENY, would_deny.code().as_str().into());
    }
    if let Some(token) = &seen.token {
        set(names::ISSUER, token.issuer().clone().into());
    }
    set(names::INTERACTION_ID, exchange.interaction.as_str().to_owned().into());
    // A refusal is the client's error. What an upstream says of itself counts as what is said here.
    let failed = ending.status.is_some_and(|status| status >= 500) || decision == "error";
    match ending.status {
        Some(status) if failed && code == OK => set(names::ERROR_TYPE, status.to_string().into()),
        Some(_) | None if code != OK && (failed || decision == "permit") => set(names::ERROR_TYPE, code.into()),
        Some(_) | None => {}
    }
    recorder.end(name(method, route), attributes, failed);
}

/// `GET /accounts/*`, or as much of it as is known.
fn name(method: &'static str, route: Option<&str>) -> Cow<'static, str> {
    let method = if method == OTHER { "HTTP" } else { method };
    route.map_or(Cow::Borrowed(method), |route| format!("{method} {route}").into())
}

/// A method that is known, since clients can invent others.
fn method(text: &str) -> &'static str {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"];
    KNOWN.into_iter().find(|known| *known == text).unwrap_or(OTHER)
}

const fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

const OTHER: &str = "_OTHER";
const OK: &str = "ok";
/// How many attributes an exchange has.
const USUAL: usize = 18;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_of_few_whatever_a_client_invents() {
        assert_eq!(name(method("GET"), Some("/accounts/*")), "GET /accounts/*");
        assert_eq!(name(method("POST"), None), "POST");
        assert_eq!(name(method("SECRET-OF-SOMEBODY"), Some("/a")), "HTTP /a");
        assert_eq!((method("get"), method("")), (OTHER, OTHER));
    }
}
