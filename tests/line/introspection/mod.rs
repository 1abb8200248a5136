//! Tokens that the gateway asks their issuer about (RFC 7662, RFC 9701): what is accepted of the responses, for how
//! long, and what is not. For every rule, a response that violates only that rule, and one that does not.
//!
//! What is required of introspection and has no test in this module:
//! - INT-16: a revocation that does not reach the gateway, or that arrives as an event, is not introspection; without
//!   one the bound is the one of `int_08`.
//! - INT-19: `att_a5` searches all output for tokens, assertions and keys of introspection.

mod answers;
mod cache;
mod encrypted;
mod faults;
mod load;
mod questions;
mod raw;
mod routing;
mod shared;
mod signed;

use std::time::Instant;

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use sandbox::authorization_server::AuthorizationServer;
use sandbox::https::{Answer, Recorded};
use serde_json::{Value, json};

use crate::support::{World, request};

const INTROSPECTION: &str = AuthorizationServer::INTROSPECTION;

/// Returns status and code of `GET /accounts` over `C1` with this token.
async fn judge(world: &World, token: &str) -> (u16, String) {
    world.judge(request("/accounts", token)).await
}

/// The verdict on a new token that the issuer knows, while the endpoint answers as scripted.
async fn judge_new(world: &World) -> (u16, String) {
    judge(world, &world.opaque(&world.token())).await
}

/// The verdict while the endpoint answers with this; checks that only a permitted request reaches the upstream.
async fn judge_answer(world: &World, answer: Answer) -> (u16, String) {
    world.issuer.script(INTROSPECTION, answer);
    let before = world.accounts.server().heads();
    let verdict = judge_new(world).await;
    assert_eq!(world.accounts.server().heads() - before, usize::from(verdict.0 == 200), "{verdict:?}");
    verdict
}

async fn judge_text(world: &World, text: impl Into<Vec<u8>>) -> (u16, String) {
    judge_answer(world, plain(text)).await
}

/// What the issuer returns for the good token.
fn good(world: &World) -> Value {
    let mut claims = world.token().claims();
    claims["active"] = json!(true);
    claims
}

/// `base` with these members replaced; `null` removes one.
fn merged(base: &Value, changes: Value) -> Value {
    let mut merged = base.as_object().expect("an object").clone();
    for (name, value) in changes.as_object().expect("an object") {
        if value.is_null() {
            merged.remove(name);
        } else {
            merged.insert(name.clone(), value.clone());
        }
    }
    merged.into()
}

/// A 200 response of type `application/json`.
fn plain(text: impl Into<Vec<u8>>) -> Answer {
    let kind = HeaderValue::from_static("application/json");
    Answer::status(StatusCode::OK).header(CONTENT_TYPE, kind).body(text.into())
}

fn ok() -> (u16, String) {
    (200, "ok".to_owned())
}

fn refused(code: &str) -> (u16, String) {
    (401, code.to_owned())
}

/// The outcome when the issuer gives no usable response.
fn unavailable() -> (u16, String) {
    (503, "introspection_unavailable".to_owned())
}

/// The requests to the introspection endpoint so far.
fn asked(world: &World) -> Vec<Recorded> {
    world.issuer.requests().into_iter().filter(|request| request.path().ends_with(INTROSPECTION)).collect()
}

fn form(question: &Recorded) -> Vec<(String, String)> {
    form_urlencoded::parse(&question.body).into_owned().collect()
}

/// The token that an introspection request is about.
fn token_of(question: &Recorded) -> String {
    form(question).into_iter().find(|(name, _)| name == "token").expect("a question names a token").1
}

fn payload(jws: &str) -> Value {
    part(jws, 1)
}

fn part(jws: &str, index: usize) -> Value {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(jws.split('.').nth(index).unwrap()).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

/// The monotonic time, to measure how long something took.
#[expect(clippy::disallowed_methods, reason = "the test waits in real time")]
fn instant() -> Instant {
    Instant::now()
}

/// The value of the metric for this outcome.
async fn counted(world: &World, outcome: &str) -> u64 {
    let line = format!("fapi_gateway_introspection_requests_total{{issuer=\"bank\",outcome=\"{outcome}\"}} ");
    let text = world.gateway.admin("/metrics").await.1;
    text.lines().find_map(|found| found.strip_prefix(&line)).map_or(0, |count| count.parse().expect("a number"))
}
