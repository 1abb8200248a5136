//! The form in which a route tells of refusals: JSON, a problem (RFC 9457), or a template, with the same content.

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, header};
use serde_json::Value;

use super::sent;
use crate::support::client::Client;
use crate::support::{World, request};

const APP: &str = "https://app.example";

/// The form of a bank.
const TEMPLATE: &str = r#"error_templates:
  bank:
    media_type: application/json; charset=utf-8
    body:
      Code: "{status} {reason}"
      Id: "{interaction_id}"
      Message: "{error_description}"
      Errors: [{ ErrorCode: "{error_name}", Message: "{error}: {error_description}", At: "{time}" }]
    error_names: { invalid_token: 'Bank "Token"', not_found: Bank.Nothing }
"#;

/// A world with a route of each form for each purpose, which differ in nothing but `errors`; `all` is that of routes that do not
/// say and of what has no route.
async fn world(all: &str) -> World {
    let routes = ["json", "problem", "bank"].map(|form| {
        format!(
            "  - {{ name: {form}, path: /{form}, methods: [GET, HEAD, POST], scopes: [{form}], errors: {form}, limits: {{ body_bytes: 10B }}, cors: {{ allowed_origins: [\"{APP}\"] }}, upstream: accounts }}
  - {{ name: {form}-down, path: /{form}/down, methods: [GET], public: true, errors: {form}, upstream: down }}
  - {{ name: {form}-step-up, path: /{form}/step-up, methods: [GET], scopes: [accounts], require: {{ authentication: {{ acr: [\"urn:loa3\"], max_age: 5m }} }}, errors: {form}, upstream: accounts }}
  - {{ name: {form}-nonce, path: /{form}/nonce, methods: [GET], scopes: [accounts], dpop: {{ nonce: always }}, errors: {form}, upstream: accounts }}
"
        )
    });
    World::with(|scene| {
        scene
            .replace("routes:\n", &format!("  down: {{ servers: [\"http://127.0.0.1:9\"] }}\n{TEMPLATE}{all}routes:\n"))
            .append(&routes.concat())
    })
    .await
}

fn asked(method: Method, path: &str, fields: &[(&str, &str)], body: &'static str) -> Request<Bytes> {
    super::asked(method, path, fields).map(|_| Bytes::from(body))
}

fn content_type(response: &Response<Bytes>) -> &str {
    response.headers()[header::CONTENT_TYPE].to_str().unwrap()
}

fn json(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap_or_else(|error| panic!("{error}: {response:?}"))
}

/// The fields that do not differ by the form, from one request to the next, or by the route's scopes.
fn common(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    for name in ["content-type", "content-length", "x-fapi-interaction-id", "date", "dpop-nonce"] {
        headers.remove(name);
    }
    // The scope of a route is its name here.
    for (_, value) in headers.iter_mut().filter(|(name, _)| **name == header::WWW_AUTHENTICATE) {
        let text = value.to_str().unwrap();
        *value = text
            .replace("scope=\"problem\"", "scope=\"json\"")
            .replace("scope=\"bank\"", "scope=\"json\"")
            .parse()
            .unwrap();
    }
    headers
}

/// The refusals that both routes of a pair can have, each with its status.
fn refusals(world: &World, form: &str) -> Vec<(&'static str, Client, Request<Bytes>, u16)> {
    let (with, without) = (world.client(), world.anonymous());
    let token = world.sign(&world.token());
    let bearer = |path: &str| request(&format!("/{form}{path}"), &token);
    let holder = world.holder();
    let path = format!("/{form}/nonce");
    let proof = holder.proof(&path, world.clock.now());
    let plain = |method: Method, fields: &[(&str, &str)], body| asked(method, &format!("/{form}"), fields, body);
    vec![
        ("no credentials", without.clone(), plain(Method::GET, &[], ""), 401),
        ("a script", without.clone(), plain(Method::GET, &[("origin", APP)], ""), 401),
        ("a bad token", with.clone(), plain(Method::GET, &[("authorization", "Bearer bad.bad.bad")], ""), 401),
        ("a bad proof", without.clone(), plain(Method::GET, &[("authorization", "DPoP x"), ("dpop", "x")], ""), 401),
        (
            "two tokens",
            with.clone(),
            asked(Method::GET, &format!("/{form}?access_token=x"), &[("authorization", "Bearer x")], ""),
            400,
        ),
        ("no scope", with.clone(), bearer(""), 403),
        ("a weak authentication", with.clone(), bearer("/step-up"), 401),
        ("no nonce", without.clone(), holder.request(&path, &proof), 401),
        ("another method", without.clone(), plain(Method::DELETE, &[], ""), 405),
        ("too large", without.clone(), plain(Method::POST, &[], "more than ten bytes"), 413),
        ("no upstream", without, asked(Method::GET, &format!("/{form}/down"), &[], ""), 502),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_problem_says_what_the_json_says_and_nothing_more() {
    let world = world("").await;
    for protocol in [Client::h1, Client::h2] {
        for ((what, client, plain, status), (_, _, problem, _)) in
            refusals(&world, "json").into_iter().zip(refusals(&world, "problem"))
        {
            let client = protocol(client);
            let (plain, problem) = (sent(&client, plain).await, sent(&client, problem).await);
            assert_eq!((plain.status().as_u16(), problem.status().as_u16()), (status, status), "{what}: {problem:?}");
            assert_eq!(content_type(&plain), "application/json", "{what}");
            assert_eq!(content_type(&problem), "application/problem+json", "{what}");
            assert_eq!(common(plain.headers()), common(problem.headers()), "{what}");
            let (Value::Object(plain), Value::Object(mut content)) = (json(&plain), json(&problem)) else {
                panic!("{what}: {problem:?}")
            };
            assert_eq!(content.remove("type"), Some("about:blank".into()), "{what}");
            assert_eq!(content.remove("title"), problem.status().canonical_reason().map(Value::from), "{what}");
            assert_eq!(content.remove("status"), Some(status.into()), "{what}");
            assert_eq!(content, plain, "{what}");
            // The audit has the reason, whatever the client is told.
            assert_eq!(world.gateway.record_of(&problem)["status"], status, "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_says_what_the_json_says_in_its_own_words() {
    let world = world("").await;
    for protocol in [Client::h1, Client::h2] {
        for ((what, client, plain, status), (_, _, other, _)) in
            refusals(&world, "json").into_iter().zip(refusals(&world, "bank"))
        {
            let client = protocol(client);
            let (plain, other) = (sent(&client, plain).await, sent(&client, other).await);
            assert_eq!((plain.status().as_u16(), other.status().as_u16()), (status, status), "{what}: {other:?}");
            assert_eq!(content_type(&other), "application/json; charset=utf-8", "{what}");
            assert_eq!(common(plain.headers()), common(other.headers()), "{what}");
            let (plain, content) = (json(&plain), json(&other));
            let (error, description) = (plain["error"].as_str().unwrap(), plain["error_description"].as_str().unwrap());
            let record = world.gateway.record_of(&other);
            let name = if error == "invalid_token" { "Bank \"Token\"" } else { error };
            let expected = serde_json::json!({
                "Code": format!("{status} {}", other.status().canonical_reason().unwrap()),
                "Id": other.headers()["x-fapi-interaction-id"].to_str().unwrap(),
                "Message": description,
                "Errors": [{ "ErrorCode": name, "Message": format!("{error}: {description}"), "At": record["time"] }],
            });
            assert_eq!(content, expected, "{what}");
        }
    }
}

/// BEAR-14.
#[tokio::test(flavor = "multi_thread")]
async fn challenges_stand_on_every_route() {
    let world = world("").await;
    for form in ["json", "problem", "bank"] {
        for (what, client, request, status) in refusals(&world, form) {
            let response = sent(&client, request).await;
            let challenges = response.headers().get_all(header::WWW_AUTHENTICATE).iter().count();
            assert_eq!(challenges, if matches!(status, 400 | 401 | 403) { 2 } else { 0 }, "{form}: {what}");
            let text = format!("{:?}", response.headers());
            match what {
                "a weak authentication" => {
                    assert!(text.contains("acr_values=\\\"urn:loa3\\\", max_age=\\\"300\\\""), "{text}")
                }
                "no nonce" => assert!(text.contains("use_dpop_nonce") && text.contains("\"dpop-nonce\""), "{text}"),
                "no scope" => assert!(text.contains(&format!("scope=\\\"{form}\\\"")), "{text}"),
                _ => {}
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn head_has_the_length_of_the_problem_and_no_content() {
    let world = world("").await;
    for client in [world.anonymous().h1(), world.anonymous().h2()] {
        let get = sent(&client, asked(Method::GET, "/problem", &[], "")).await;
        let head = sent(&client, asked(Method::HEAD, "/problem", &[], "")).await;
        assert_eq!((head.status().as_u16(), content_type(&head)), (401, "application/problem+json"));
        assert_eq!(head.headers()[header::CONTENT_LENGTH], get.body().len().to_string());
        assert!(head.body().is_empty() && !get.body().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_counts_without_a_route_too() {
    let world = world("errors: bank\n").await;
    let client = world.anonymous();
    let nothing = json(&sent(&client, asked(Method::GET, "/nothing", &[], "")).await);
    assert_eq!(
        (&nothing["Code"], &nothing["Errors"][0]["ErrorCode"]),
        (&"404 Not Found".into(), &"Bank.Nothing".into())
    );
    let early = String::from_utf8(client.raw(b"GET / HTTP/1.1\r\nBad Name: x\r\n\r\n").await).unwrap();
    let (head, body) = early.split_once("\r\n\r\n").unwrap();
    let body: Value = serde_json::from_str(body).unwrap();
    assert!(head.contains(body["Id"].as_str().unwrap()) && body["Code"] == "400 Bad Request", "{early}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_route_and_where_it_does_not_say_the_global_form_counts() {
    for (all, form) in [("", "application/json"), ("errors: problem\n", "application/problem+json")] {
        let world = world(all).await;
        let client = world.anonymous();
        for (what, request, status) in [
            ("no route", asked(Method::GET, "/nothing", &[], ""), 404),
            ("another host", asked(Method::GET, "/json", &[("host", "evil.example")], ""), 421),
            ("two readings", asked(Method::GET, "/json/%2e%2e/x", &[], ""), 400),
            ("a route without the key", asked(Method::GET, "/accounts", &[], ""), 401),
        ] {
            let response = sent(&client, request).await;
            assert_eq!((response.status().as_u16(), content_type(&response)), (status, form), "{what}");
            assert_eq!(json(&response)["status"] == status, form.contains("problem"), "{what}");
        }
        // Routes that say keep to it.
        let response = sent(&client, asked(Method::GET, "/json", &[], "")).await;
        assert_eq!(content_type(&response), "application/json");
        let response = sent(&client, asked(Method::GET, "/problem", &[], "")).await;
        assert_eq!(content_type(&response), "application/problem+json");
        // What cannot be read as a request has no route either.
        let early = String::from_utf8(client.raw(b"GET / HTTP/1.1\r\nBad Name: x\r\n\r\n").await).unwrap();
        assert!(early.starts_with("HTTP/1.1 400 "), "{early}");
        assert!(early.to_ascii_lowercase().contains(&format!("content-type: {form}\r\n")), "{early}");
        let (_, body) = early.split_once("\r\n\r\n").unwrap();
        assert_eq!(serde_json::from_str::<Value>(body).unwrap()["status"] == 400, form.contains("problem"));
    }
}
