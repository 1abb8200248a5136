//! Tokens that the issuer is asked about (RFC 7662, RFC 9701): what of its answers counts, for how long, and what does not.
//! For every rule an answer that breaks it alone, beside one that does not.
//!
//! Rows of the requirements that have no test here:
//! - INT-16: revocation that passes the gateway, or comes as an event, is not introspection; the bound without it is `int_08`.
//! - INT-19: `att_a5` looks for tokens, assertions and keys of introspection in everything that leaves.
//! - INT-23: the memory is the process's own; nobody else can write to it.
//! - MS-INT-09, MS-INT-12: encrypted answers are refused whole (`ms_int_09`), so there is nothing nested to unpack.
//! - MS-INT-13: asks something of the authorization server, not of who asks it.
//! - ATK-CA-07: no answer of an upstream is remembered.
//! - RAR, STEP: routes have no rules about `authorization_details`, `acr` or `auth_time`; RAR-02 holds for all members alike:
//!   they are claims, wherever they are told (`fapi2_rs_01`).

mod answers;
mod cache;
mod faults;
mod load;
mod questions;
mod raw;
mod routing;
mod signed;

use std::time::Instant;

use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use sandbox::authorization_server::AuthorizationServer;
use sandbox::https::{Answer, Recorded};
use serde_json::{Value, json};

use crate::support::{World, request};

const INTROSPECTION: &str = AuthorizationServer::INTROSPECTION;

/// Status and code of `GET /accounts` over `C1` with that token.
async fn judge(world: &World, token: &str) -> (u16, String) {
    world.judge(request("/accounts", token)).await
}

/// The verdict on a token that the issuer knows and never saw before, while the endpoint answers as scripted.
async fn judge_new(world: &World) -> (u16, String) {
    judge(world, &world.opaque(&world.token())).await
}

/// The verdict while the endpoint answers this; nothing may reach the upstream unless it is 200.
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

/// What the issuer says of the good token.
fn good(world: &World) -> Value {
    let mut claims = world.token().claims();
    claims["active"] = json!(true);
    claims
}

/// `base` with these members in place of its own; `null` removes one.
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

/// A 200 answer of type `application/json`.
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

/// What a client is told when the issuer has said nothing.
fn unavailable() -> (u16, String) {
    (503, "introspection_unavailable".to_owned())
}

/// The questions to the introspection endpoint so far.
fn asked(world: &World) -> Vec<Recorded> {
    world.issuer.requests().into_iter().filter(|request| request.path().ends_with(INTROSPECTION)).collect()
}

fn form(question: &Recorded) -> Vec<(String, String)> {
    form_urlencoded::parse(&question.body).into_owned().collect()
}

/// The token that a question is about.
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

/// The monotonic time, to tell how long something took.
#[expect(clippy::disallowed_methods, reason = "a test waits for real")]
fn instant() -> Instant {
    Instant::now()
}

/// How often the metric counts this outcome.
async fn counted(world: &World, outcome: &str) -> u64 {
    let line = format!("fapi_gateway_introspection_requests_total{{issuer=\"bank\",outcome=\"{outcome}\"}} ");
    let text = world.gateway.admin("/metrics").await.1;
    text.lines().find_map(|found| found.strip_prefix(&line)).map_or(0, |count| count.parse().expect("a number"))
}
