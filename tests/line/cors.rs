//! CORS (Fetch standard §3.3, RFC 9449 §8): what scripts of other origins may send and read.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use sandbox::https::{Answer, HttpServer};

use super::{asked, field, sent};
use crate::support::{Holder, World, request};

const APP: &str = "https://app.example";
const PORTAL: &str = "https://portal.example";
const OTHER: &str = "https://app.example.evil.example";

/// A world with one route for each kind of rule, all to an upstream that allows every origin itself.
async fn world() -> (World, HttpServer) {
    let upstream = HttpServer::start(
        None,
        None,
        Arc::new(|_| {
            Answer::text(StatusCode::OK, "ok")
                .header(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"))
                .header(header::VARY, HeaderValue::from_static("Accept"))
        }),
    )
    .unwrap();
    let section = format!("  any: {{ servers: [\"http://{}\"] }}\nroutes:\n", upstream.address());
    let world = World::with(|scene| {
        scene
            .replace("admin: {", &format!("    cors: {{ allowed_origins: [\"{PORTAL}\"] }}\nadmin: {{"))
            .replace("routes:\n", &section)
            .append(&format!(
                "  - name: api
    path: /api/**
    methods: [GET, POST]
    scopes: [accounts]
    dpop: {{ nonce: always }}
    upstream: any
    cors: {{ allowed_origins: [\"{APP}\"], exposed_headers: [ETag], max_age: 60s }}
  - {{ name: certificate, path: /certificate, methods: [GET], scopes: [accounts], sender_constraint: [certificate], upstream: any, cors: {{ allowed_origins: [\"{APP}\"], allow_credentials: true }} }}
  - {{ name: options, path: /options, methods: [GET, OPTIONS], scopes: [accounts], upstream: any, cors: {{ allowed_origins: [\"{APP}\"] }} }}
  - {{ name: listener, path: /listener, methods: [GET], scopes: [accounts], upstream: any }}
  - {{ name: open, path: /open, methods: [GET], public: true, upstream: any }}
  - {{ name: closed, path: /closed, methods: [GET], scopes: [accounts], upstream: any, cors: {{ allowed_origins: [] }} }}
"
            ))
    })
    .await;
    (world, upstream)
}

fn preflight(path: &str, origin: &str, method: &str) -> Request<Bytes> {
    let fields = [
        ("origin", origin),
        ("access-control-request-method", method),
        ("access-control-request-headers", "authorization,dpop"),
    ];
    asked("OPTIONS", path, &fields)
}

/// The names of the CORS fields of a response.
fn cors_fields(response: &Response<Bytes>) -> Vec<&str> {
    let names = response.headers().keys().map(HeaderName::as_str);
    let mut names: Vec<&str> = names.filter(|name| name.starts_with("access-control-")).collect();
    names.sort_unstable();
    names
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_is_answered_without_credentials_and_never_forwarded() {
    let (world, upstream) = world().await;
    for client in [world.anonymous(), world.anonymous().h2(), world.client()] {
        for (path, route, methods) in [
            ("/api/x", "api", "GET, POST"),
            ("/certificate", "certificate", "GET"),
            ("/options", "options", "GET, OPTIONS"),
        ] {
            let response = sent(&client, preflight(path, APP, "GET")).await;
            assert_eq!(response.status(), StatusCode::NO_CONTENT, "{path}: {response:?}");
            assert_eq!(field(&response, "access-control-allow-origin"), APP);
            assert_eq!(field(&response, "access-control-allow-methods"), methods);
            let allowed = "authorization, dpop, content-type, x-fapi-interaction-id";
            assert_eq!(field(&response, "access-control-allow-headers"), allowed);
            let (age, credentials) = if route == "api" { ("60", "") } else { ("600", "") };
            assert_eq!(field(&response, "access-control-max-age"), age);
            let credentials = if route == "certificate" { "true" } else { credentials };
            assert_eq!(field(&response, "access-control-allow-credentials"), credentials);
            assert!(field(&response, "vary").contains("Origin"), "{response:?}");
            let record = world.gateway.record_of(&response);
            assert_eq!(
                (&record["decision"], &record["code"], &record["route"], &record["status"], &record["upstream"]),
                (&"preflight".into(), &"ok".into(), &route.into(), &204.into(), &serde_json::Value::Null)
            );
        }
    }
    assert_eq!(upstream.heads(), 0);
    let (_, metrics) = world.gateway.admin("/metrics").await;
    let counted = r#"fapi_gateway_requests_total{code="ok",decision="preflight",route="api"} 3"#;
    assert!(metrics.contains(counted), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_preflight_of_another_origin_or_method_gets_no_cors_fields() {
    let (world, upstream) = world().await;
    let client = world.anonymous();
    let good = sent(&client, preflight("/api/x", APP, "POST")).await;
    assert_eq!((good.status().as_u16(), cors_fields(&good).len()), (204, 4)); // control
    for (request, status) in [
        (preflight("/api/x", OTHER, "POST"), 405),
        (preflight("/api/x", "null", "POST"), 405),
        (preflight("/api/x", PORTAL, "POST"), 405),
        (preflight("/api/x", APP, "DELETE"), 405),
        (preflight("/api/x", APP, "post"), 405),
        (preflight("/api/x", APP, "OPTIONS"), 405),
        (preflight("/options", OTHER, "GET"), 401),
        (preflight("/closed", APP, "GET"), 405),
        (preflight("/closed", PORTAL, "GET"), 405),
        (preflight("/listener", APP, "GET"), 405),
        (preflight("/nothing", APP, "GET"), 404),
        (preflight("/api/%2e%2e/closed", APP, "GET"), 400),
    ] {
        let what = format!("{request:?}");
        let response = sent(&client, request).await;
        assert_eq!(response.status(), status, "{what}");
        assert_eq!(cors_fields(&response), <[&str; 0]>::default(), "{what}");
        assert_eq!(field(&response, "vary"), "Origin", "{what}");
    }
    // What was compared is in the audit.
    for (request, says) in [
        (preflight("/api/x", OTHER, "POST"), format!("its origin is {OTHER:?}, expected one of [{APP:?}]")),
        (preflight("/api/x", APP, "DELETE"), "no route has the path and the method \"DELETE\"".to_owned()),
        (preflight("/closed", APP, "GET"), format!("its origin is {APP:?}, expected one of []")),
    ] {
        let record = world.gateway.record_of(&sent(&client, request).await);
        assert_eq!(record["code"], "method_not_allowed");
        let detail = record["detail"].as_str().unwrap();
        assert!(detail.starts_with("the route has only the methods ") && detail.contains(&says), "{detail}");
    }
    let other = sent(&client, asked("OPTIONS", "/api/x", &[("origin", APP)])).await;
    assert_eq!(world.gateway.record_of(&other)["detail"], "the route has only the methods \"GET, POST\"", "control");
    // The rule of the listener is for the routes that have none.
    for path in ["/listener", "/open"] {
        assert_eq!(sent(&client, preflight(path, PORTAL, "GET")).await.status(), StatusCode::NO_CONTENT, "{path}");
    }
    assert_eq!(upstream.heads(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_a_preflight_passes_without_credentials() {
    let (world, upstream) = world().await;
    let client = world.anonymous();
    let origin = ("origin", APP);
    let wanted = ("access-control-request-method", "GET");
    for (method, path, fields, status) in [
        ("GET", "/api/x", &[origin, wanted][..], 401),
        ("POST", "/api/x", &[origin, wanted], 401),
        ("HEAD", "/api/x", &[origin, wanted], 405),
        ("OPTIONS", "/options", &[origin], 401),
        ("OPTIONS", "/options", &[wanted], 401),
        ("OPTIONS", "/options", &[origin, origin, wanted], 401),
        ("OPTIONS", "/options", &[origin, wanted, wanted], 401),
        ("OPTIONS", "/options", &[origin, ("access-control-request-method", "GET, OPTIONS")], 401),
        ("OPTIONS", "/api/x", &[origin], 405),
        ("options", "/options", &[origin, wanted], 405),
    ] {
        let response = sent(&client, asked(method, path, fields)).await;
        assert_eq!(response.status(), status, "{method} {path} {fields:?}");
        assert_eq!(world.gateway.record_of(&response)["decision"], "reject");
    }
    assert_eq!(upstream.heads(), 0);
    // control: with credentials, OPTIONS is forwarded where the route has it, unless it is a preflight.
    let mut options = request("/options", &world.sign(&world.token()));
    *options.method_mut() = http::Method::OPTIONS;
    assert_eq!(sent(&world.client(), options.clone()).await.status(), StatusCode::OK);
    assert_eq!(upstream.heads(), 1);
    options.headers_mut().insert("origin", HeaderValue::from_static(APP));
    options.headers_mut().insert("access-control-request-method", HeaderValue::from_static("GET"));
    assert_eq!(sent(&world.client(), options).await.status(), StatusCode::NO_CONTENT);
    assert_eq!(upstream.heads(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn rfc9449_8_a_script_reads_the_nonce_of_a_401_and_continues() {
    let (world, upstream) = world().await;
    let client = world.anonymous();
    let holder: Holder = world.holder();
    let from = |origin: Option<&'static str>, nonce: Option<&str>| {
        let proof = holder.proof("/api/x", world.clock.now());
        let proof = match nonce {
            Some(nonce) => proof.claim("nonce", nonce),
            None => proof,
        };
        let mut request = holder.request("/api/x", &proof);
        if let Some(origin) = origin {
            request.headers_mut().insert("origin", HeaderValue::from_static(origin));
        }
        request
    };
    let refused = sent(&client, from(Some(APP), None)).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(field(&refused, "access-control-allow-origin"), APP);
    let exposed = field(&refused, "access-control-expose-headers");
    assert_eq!(exposed, "dpop-nonce, www-authenticate, x-fapi-interaction-id, retry-after, etag");
    assert_eq!(field(&refused, "vary"), "Origin");
    let nonce = field(&refused, "dpop-nonce");
    assert!(!nonce.is_empty() && field(&refused, "www-authenticate").contains("use_dpop_nonce"), "{refused:?}");
    for origin in [Some(OTHER), Some(PORTAL), None] {
        let refused = sent(&client, from(origin, None)).await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(cors_fields(&refused), <[&str; 0]>::default(), "{origin:?}");
        assert_eq!(field(&refused, "vary"), "Origin", "{origin:?}");
    }
    // The answer of the upstream has the gateway's fields and no others, whoever asks.
    for (origin, granted) in [(Some(APP), APP), (Some(OTHER), ""), (None, "")] {
        let response = sent(&client, from(origin, Some(nonce))).await;
        assert_eq!(response.status(), StatusCode::OK, "{response:?}");
        assert_eq!(field(&response, "access-control-allow-origin"), granted, "{origin:?}");
        assert_eq!(
            response.headers().get_all("access-control-allow-origin").iter().count(),
            usize::from(!granted.is_empty())
        );
        assert_eq!(field(&response, "vary"), "Accept, Origin");
    }
    assert_eq!(upstream.heads(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_rule_nothing_changes() {
    let upstream = HttpServer::start(
        None,
        None,
        Arc::new(|_| {
            Answer::text(StatusCode::OK, "ok")
                .header(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"))
        }),
    )
    .unwrap();
    let section = format!("  any: {{ servers: [\"http://{}\"] }}\nroutes:\n", upstream.address());
    let world = World::with(|scene| {
        scene
            .replace("routes:\n", &section)
            .append("  - { name: open, path: /open, methods: [GET], public: true, upstream: any }\n")
    })
    .await;
    let client = world.anonymous();
    let refused = sent(&client, preflight("/open", APP, "GET")).await;
    assert_eq!((refused.status().as_u16(), cors_fields(&refused).len(), field(&refused, "vary")), (405, 0, ""));
    let response = sent(&client, asked("GET", "/open", &[("origin", APP)])).await;
    assert_eq!((response.status().as_u16(), field(&response, "access-control-allow-origin")), (200, "*"));
}
