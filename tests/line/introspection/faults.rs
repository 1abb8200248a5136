//! An endpoint that fails: it says nothing about the token, so the client neither gets the resource nor is blamed.

use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, WWW_AUTHENTICATE};
use http::{Response, StatusCode};
use sandbox::authorization_server::Script;
use sandbox::https::Answer;
use serde_json::json;

use super::raw::{Move, Raw, json_bytes};
use super::{
    INTROSPECTION, asked, counted, form, good, judge, judge_answer, judge_new, ok, payload, plain, refused, unavailable,
};
use crate::support::{World, request};

async fn world() -> World {
    World::with(|scene| scene.introspected("")).await
}

fn status(status: u16) -> Answer {
    Answer::status(StatusCode::from_u16(status).unwrap())
}

fn of_type(kind: &'static str, text: impl Into<Vec<u8>>) -> Answer {
    Answer::status(StatusCode::OK).header(CONTENT_TYPE, HeaderValue::from_static(kind)).body(text.into())
}

fn error(status: u16, error: &str) -> Answer {
    Answer::json(StatusCode::from_u16(status).unwrap(), json!({ "error": error }))
}

/// Whether this is a 503 with `Retry-After`, and nothing that asks the client for other credentials.
fn is_unavailable<B>(response: &Response<B>) -> bool {
    let headers = response.headers();
    response.status() == 503
        && headers.get("retry-after").is_some_and(|after| after == "5")
        && !headers.contains_key(WWW_AUTHENTICATE)
        && !headers.contains_key("dpop-nonce")
}

#[tokio::test(flavor = "multi_thread")]
async fn int_05_int_06_every_fault_of_the_endpoint_is_503_and_leaves_nothing_behind() {
    let world = world().await;
    let elsewhere = world.issuer.url("/elsewhere");
    let text = good(&world).to_string();
    let to = |answer: Answer| answer.header(LOCATION, HeaderValue::from_str(&elsewhere).unwrap());
    let nonce = HeaderName::from_static("dpop-nonce");
    let challenge = HeaderValue::from_static("DPoP error=\"use_dpop_nonce\"");
    let rows = [
        ("400", "unauthorized", error(400, "invalid_request")),
        ("400 without a body", "unauthorized", status(400)),
        ("401", "unauthorized", error(401, "invalid_client")),
        ("401 of a token", "unauthorized", error(401, "unsupported_token_type")),
        ("401 with a challenge", "unauthorized", {
            let nonced = error(401, "use_dpop_nonce").header(nonce, HeaderValue::from_static("n"));
            nonced.header(WWW_AUTHENTICATE, challenge)
        }),
        ("403", "unauthorized", error(403, "access_denied")),
        ("404", "invalid", status(404)),
        (
            "429",
            "invalid",
            status(429).header(HeaderName::from_static("retry-after"), HeaderValue::from_static("3600")),
        ),
        ("500", "invalid", status(500)),
        ("500 that says active", "invalid", Answer::json(StatusCode::INTERNAL_SERVER_ERROR, good(&world))),
        ("503", "invalid", status(503)),
        ("201", "invalid", Answer::json(StatusCode::CREATED, good(&world))),
        ("204", "invalid", status(204)),
        ("206", "invalid", Answer::json(StatusCode::PARTIAL_CONTENT, good(&world))),
        ("301", "invalid", to(status(301))),
        ("302", "invalid", to(status(302))),
        ("303", "invalid", to(status(303))),
        ("307", "invalid", to(status(307))),
        ("308", "invalid", to(status(308))),
        ("no type", "invalid", Answer::status(StatusCode::OK).body(text.clone())),
        ("text/plain", "invalid", of_type("text/plain", text.clone())),
        ("text/html", "invalid", of_type("text/html", "<html>active: true</html>")),
        ("application/jsonp", "invalid", of_type("application/jsonp", text.clone())),
        ("application/json+x", "invalid", of_type("application/json+x", text.clone())),
        ("a signed answer's type", "invalid", of_type("application/token-introspection+jwt", text.clone())),
        ("broken JSON", "invalid", plain(&text[..text.len() - 1])),
        ("HTML as JSON", "invalid", plain("<html></html>")),
        ("empty", "invalid", plain("")),
        ("null", "invalid", plain("null")),
        ("one byte too many", "invalid", plain(padded(&text, 256 * 1024 + 1))),
        ("a connection that is closed", "unreachable", Answer::resetting()),
    ];
    for (what, outcome, answer) in rows {
        let token = world.opaque(&world.token());
        let before = (counted(&world, outcome).await, world.accounts.server().heads());
        world.issuer.script(INTROSPECTION, answer);
        let response = world.client().send(request("/accounts", &token)).await.unwrap();
        assert!(is_unavailable(&response), "{what}: {response:?}");
        let record = world.gateway.record_of(&response);
        assert_eq!((&record["code"], &record["issuer"]), (&json!("introspection_unavailable"), &json!(null)), "{what}");
        let after = (counted(&world, outcome).await, world.accounts.server().heads());
        assert_eq!(after, (before.0 + 1, before.1), "{what}");
        world.issuer.unscript(INTROSPECTION);
        assert_eq!(judge(&world, &token).await, ok(), "{what}: the next good answer counts");
    }
    assert_eq!(world.issuer.requests_to("/elsewhere"), 0);
    for (what, answer) in [
        ("parameters", of_type("application/json; charset=utf-8", text.clone())),
        ("case", of_type("Application/JSON", text.clone())),
        ("as large as permitted", plain(padded(&text, 256 * 1024))),
    ] {
        assert_eq!(judge_answer(&world, answer).await, ok(), "control: {what}");
    }
}

fn padded(text: &str, length: usize) -> String {
    format!("{text}{}", " ".repeat(length - text.len()))
}

#[tokio::test(flavor = "multi_thread")]
async fn int_05_only_400_unsupported_token_type_is_about_the_token() {
    let world = world().await;
    assert_eq!(judge_answer(&world, error(400, "unsupported_token_type")).await, refused("token_inactive"));
    assert_eq!(counted(&world, "inactive").await, 1);
    for (code, name) in [
        (400, "invalid_request"),
        (400, "Unsupported_token_type"),
        (400, "unsupported_token_type "),
        (401, "unsupported_token_type"),
        (403, "unsupported_token_type"),
        (500, "unsupported_token_type"),
        (503, "unsupported_token_type"),
    ] {
        assert_eq!(judge_answer(&world, error(code, name)).await, unavailable(), "{code} {name}");
    }
    let twice = r#"{"error":"unsupported_token_type","error":"unsupported_token_type"}"#;
    assert_eq!(judge_answer(&world, status(400).body(twice)).await, unavailable());
}

#[tokio::test(flavor = "multi_thread")]
async fn int_05_the_operator_learns_why_and_the_client_does_not() {
    let world = world().await;
    world.issuer.script(INTROSPECTION, error(401, "invalid_client"));
    let response = world.client().send(request("/accounts", &world.opaque(&world.token()))).await.unwrap();
    assert!(is_unavailable(&response));
    let told = format!("{:?}{:?}", response.headers(), response.body());
    assert!(!told.contains("invalid_client") && !told.contains("bank") && !told.contains("introspection"), "{told}");
    let detail = world.gateway.record_of(&response)["detail"].as_str().unwrap().to_owned();
    for part in ["bank", "401", "invalid_client", "introspection.authentication"] {
        assert!(detail.contains(part), "{detail}");
    }
    // What an endpoint returns in place of an error name is not repeated.
    for odd in ["line\nbreak", "<script>", &"x".repeat(65), "UPPER", ""] {
        let response = {
            world.issuer.script(INTROSPECTION, error(401, odd));
            world.client().send(request("/accounts", &world.opaque(&world.token()))).await.unwrap()
        };
        let detail = world.gateway.record_of(&response)["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("status 401; check"), "{detail}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn int_06_an_endpoint_that_is_slow_is_waited_for_as_long_as_configured() {
    let world = World::with(|scene| scene.introspected(", timeout: 300ms")).await;
    assert_eq!(judge_answer(&world, Answer::hanging()).await, unavailable());
    assert_eq!(counted(&world, "timeout").await, 1);
    let slow = plain(good(&world).to_string()).delayed(Duration::from_millis(50));
    assert_eq!(judge_answer(&world, slow).await, ok(), "control");
    world.issuer.unscript(INTROSPECTION);
    assert_eq!(judge_new(&world).await, ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn int_06_a_body_that_drips_or_never_ends_is_cut_off() {
    let chunked = |more: &str| {
        format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{more}")
            .into_bytes()
    };
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let full = chunk(&" ".repeat(16 * 1024));
    let announced = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 262145\r\n\r\n".to_vec();
    let short = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{".to_vec();
    for (what, outcome, step) in [
        ("drips", "timeout", Move::Dripping(chunked(""), chunk(" ").into_bytes())),
        ("headers that drip", "timeout", Move::Dripping(b"HTTP/1.1 200 OK\r\n".to_vec(), b"X: y\r\n".to_vec())),
        ("endless chunks", "invalid", Move::Endless(chunked(""), full.into_bytes())),
        ("announced too large", "invalid", Move::Answer(announced)),
        ("fewer bytes than announced", "unreachable", Move::Close(short)),
        ("no HTTP", "unreachable", Move::Answer(b"220 mail.example ESMTP\r\n".to_vec())),
        ("closes at once", "unreachable", Move::Close(Vec::new())),
    ] {
        let endpoint = Raw::start("localhost", move |_, _| step.clone()).await;
        let world = endpoint.world(", timeout: 500ms").await;
        assert_eq!(judge_new(&world).await, unavailable(), "{what}");
        assert_eq!(counted(&world, outcome).await, 1, "{what}");
        assert!(endpoint.questions().len() <= 2, "{what}: at most one more attempt");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn int_06_ms_int_10_an_endpoint_with_a_certificate_of_another_name_or_authority_is_not_asked() {
    let answer = |_, _| Move::Answer(json_bytes(r#"{"active":false}"#));
    let other_name = Raw::start("other.example", answer).await;
    let world = other_name.world("").await;
    assert_eq!(judge_new(&world).await, unavailable());
    assert_eq!((counted(&world, "unreachable").await, other_name.questions().len()), (1, 0));

    let good = Raw::start("localhost", answer).await;
    let world = World::with(|scene| scene.introspected(&format!(", endpoint: \"{}\"", good.url()))).await;
    assert_eq!(judge_new(&world).await, unavailable(), "another authority");
    assert_eq!((counted(&world, "unreachable").await, good.questions().len()), (1, 0));

    let world = good.world("").await;
    assert_eq!(judge_new(&world).await, refused("token_inactive"), "control");
    assert_eq!(good.questions().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn int_06_an_issuer_that_is_down_fails_its_tokens_until_it_is_back() {
    let mut world = world().await;
    let (known, new) = (world.opaque(&world.token()), world.opaque(&world.token()));
    assert_eq!(judge(&world, &known).await, ok());
    world.issuer.stop().await.unwrap();
    let response = world.client().send(request("/accounts", &new)).await.unwrap();
    assert!(is_unavailable(&response), "{response:?}");
    assert_eq!(judge(&world, &known).await, ok(), "control: a cached token is still accepted");
    assert_eq!(world.gateway.admin("/readyz").await.0, 200, "other issuers' tokens must not be affected");
    world.issuer.restart().await.unwrap();
    assert_eq!(judge(&world, &new).await, ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn int_06_a_kept_connection_that_is_closed_costs_nothing_but_an_assertion() {
    let body = r#"{"active":false}"#;
    let endpoint = Raw::start("localhost", move |connection, question| match (connection, question) {
        (0, 1) => Move::Close(Vec::new()),
        _ => Move::Answer(json_bytes(body)),
    })
    .await;
    let world = endpoint.world("").await;
    for _ in 0..3 {
        assert_eq!(judge_new(&world).await, refused("token_inactive"));
    }
    let questions = endpoint.questions();
    assert_eq!(questions.len(), 4, "the second was asked twice");
    let parts = |question: &String| {
        let form: Vec<(String, String)> = form_urlencoded::parse(question.as_bytes()).into_owned().collect();
        (form[0].1.clone(), payload(&form[3].1)["jti"].as_str().unwrap().to_owned())
    };
    let asked: Vec<_> = questions.iter().map(parts).collect();
    assert_eq!(asked[1].0, asked[2].0, "the same token");
    let ids: std::collections::HashSet<_> = asked.iter().map(|(_, jti)| jti).collect();
    assert_eq!(ids.len(), 4, "an assertion is used once");
    assert_eq!(counted(&world, "inactive").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn int_06_a_fault_is_not_remembered_and_not_the_answer_of_another_token() {
    let world = world().await;
    let (bad, fine) = (world.opaque(&world.token()), world.opaque(&world.token()));
    let (told, answer) = (bad.clone(), good(&world));
    world.issuer.script(
        INTROSPECTION,
        Script::Function(Box::new(move |question| match form(question)[0].1 == told {
            true => status(500),
            false => plain(answer.to_string()),
        })),
    );
    for _ in 0..3 {
        assert_eq!(judge(&world, &bad).await, unavailable());
        assert_eq!(judge(&world, &fine).await, ok());
    }
    let about = |token: &str| asked(&world).iter().filter(|question| super::token_of(question) == token).count();
    assert_eq!((about(&bad), about(&fine)), (3, 1));
}
