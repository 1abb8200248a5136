//! Headers that try to make the sender pass for someone else, or for no one.

use bytes::Bytes;
use http::{HeaderName, Method, Request, StatusCode, header};
use sandbox::https::{Answer, HttpServer};

use crate::edge::hostile::wire::Talk;
use crate::support::{ORIGIN, World, request};

fn bare(path: &str) -> Request<Bytes> {
    Request::get(format!("{ORIGIN}{path}")).body(Bytes::new()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_hd_06_two_tokens_are_refused_wherever_the_second_stands() {
    let world = World::start().await;
    let (one, other) = (world.sign(&world.token()), world.sign(&world.token().scope("accounts payments")));
    let before = world.accounts.server().heads();
    for client in [world.client().h1(), world.client().h2()] {
        for second in [format!("Bearer {one}"), format!("Bearer {other}"), "Basic YTpi".to_owned(), String::new()] {
            let mut request = request("/accounts", &one);
            request.headers_mut().append(header::AUTHORIZATION, second.parse().unwrap());
            assert_eq!(world.judge_from(&client, request).await, (400, "credentials_repeated".into()), "{second}");
        }
        let mut joined = bare("/accounts");
        joined.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {one}, Bearer {other}").parse().unwrap());
        assert_eq!(world.judge_from(&client, joined).await.0, 400);
    }
    assert_eq!(world.accounts.server().heads(), before);
    // The trailer is ignored: the credentials in the head decide.
    let mut talk = Talk::with(&world.client()).await;
    talk.say(format!(
        "POST /payments HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {one}\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\nAuthorization: Bearer {other}\r\n\r\n"
    ))
    .await
    .unwrap();
    assert_eq!(talk.answer().await.unwrap().status, 201);
    assert!(!format!("{:?}", world.accounts.requests()).contains(&other));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_field_and_no_query_lets_anybody_in() {
    let world = World::start().await;
    let before = world.accounts.server().heads();
    let rows = [
        ("ATK-HD-07", "x-original-url", "/health"),
        ("ATK-HD-07", "x-rewrite-url", "/health"),
        ("ATK-HD-07", "x-forwarded-uri", "/health"),
        ("ATK-HD-07", "x-envoy-original-path", "/health"),
        ("ATK-HD-09", "user-agent", "kube-probe/1.30"),
        ("ATK-HD-09", "user-agent", "GoogleHC/1.0"),
        ("ATK-HD-09", "user-agent", "ELB-HealthChecker/2.0"),
        ("ATK-HD-09", "x-health-check", "1"),
        ("ATK-HD-09", "x-debug", "true"),
        ("ATK-HD-09", "x-forwarded-for", "127.0.0.1"),
    ];
    for client in [world.client().h1(), world.client().h2()] {
        for (row, name, value) in rows {
            let mut request = bare("/accounts");
            request.headers_mut().insert(HeaderName::from_static(name), value.parse().unwrap());
            assert_eq!(
                world.judge_from(&client, request).await,
                (401, "credentials_missing".into()),
                "{row} {name}: {value}"
            );
        }
        // The request line alone determines the method: a GET cannot reach what only POST is allowed to.
        for name in ["x-http-method-override", "x-http-method", "x-method-override", "_method"] {
            let mut request = request("/payments", &world.sign(&world.token()));
            request.headers_mut().insert(HeaderName::from_static(name), "POST".parse().unwrap());
            let judged = world.judge_from(&client, request).await;
            assert_eq!(judged, (405, "method_not_allowed".into()), "{} {name}", "ATK-HD-08");
        }
        for path in ["/accounts?/health", "/accounts?x=/health", "/accounts/health?", "/accounts/1?/../../health"] {
            let judged = world.judge_from(&client, bare(path)).await;
            assert_eq!(judged, (401, "credentials_missing".into()), "{} {path}", "ATK-HD-10");
        }
        assert_eq!(world.judge_from(&client, bare("/health")).await.0, 200, "control");
    }
    assert_eq!(world.accounts.server().heads(), before + 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_hd_11_a_token_goes_nowhere_with_a_redirect_or_an_error() {
    let elsewhere = HttpServer::start(None, None, std::sync::Arc::new(|_| Answer::text(StatusCode::OK, "x"))).unwrap();
    let target = format!("http://{}/stolen", elsewhere.address());
    let location = target.clone();
    let moved = HttpServer::start(
        None,
        None,
        std::sync::Arc::new(move |request| match request.path() {
            "/moved/500" => Answer::status(StatusCode::INTERNAL_SERVER_ERROR),
            _ => Answer::status(StatusCode::TEMPORARY_REDIRECT).header(header::LOCATION, location.parse().unwrap()),
        }),
    )
    .unwrap();
    let upstream = format!("  moved: {{ servers: [\"http://{}\"] }}\nroutes:\n", moved.address());
    let world = World::with(|scene| {
        scene
            .replace("routes:\n", &upstream)
            .append("  - { name: moved, path: /moved/**, methods: [GET], scopes: [accounts], upstream: moved }\n")
    })
    .await;
    let token = world.sign(&world.token());
    for client in [world.client().h1(), world.client().h2()] {
        for (path, status) in [("/moved/1", 307), ("/moved/500", 500)] {
            let response = client.send(request(path, &token)).await.unwrap();
            assert_eq!(response.status(), status);
            let answer = format!("{:?} {:?}", response.headers(), response.body());
            assert!(!answer.contains(&token), "{answer}");
        }
    }
    assert_eq!(elsewhere.heads(), 0, "the redirect is not followed");
    assert!(!format!("{:?}", moved.requests()).contains(&token));
    assert_eq!(moved.requests().len(), 4, "control");
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_hd_16_a_preflight_or_an_upgrade_needs_what_every_request_needs() {
    let world = World::with(|scene| {
        scene.append(
            "  - { name: cors, path: /cors, methods: [GET, OPTIONS], scopes: [accounts], upstream: accounts }\n",
        )
    })
    .await;
    let before = world.accounts.server().heads();
    for client in [world.client().h1(), world.client().h2()] {
        for (path, status, code) in [("/cors", 401, "credentials_missing"), ("/accounts", 405, "method_not_allowed")] {
            let mut request = bare(path);
            *request.method_mut() = Method::OPTIONS;
            request.headers_mut().insert("origin", "https://app.example".parse().unwrap());
            request.headers_mut().insert("access-control-request-method", "GET".parse().unwrap());
            let response = client.send(request).await.unwrap();
            let record = world.gateway.record_of(&response);
            assert_eq!((response.status().as_u16(), &record["code"]), (status, &code.into()), "{path}");
            assert!(!response.headers().contains_key("access-control-allow-origin"));
        }
    }
    assert_eq!(world.accounts.server().heads(), before);
    let bound = format!("Authorization: Bearer {}\r\n", world.sign(&world.token()));
    for upgrade in ["websocket", "h2c", "TLS/1.0"] {
        for (authorization, status) in [("", 401), (bound.as_str(), 200)] {
            let mut talk = Talk::with(&world.client()).await;
            talk.say(format!(
                "GET /accounts HTTP/1.1\r\nHost: localhost\r\n{authorization}Connection: Upgrade\r\nUpgrade: {upgrade}\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
            ))
            .await
            .unwrap();
            assert_eq!(talk.answer().await.unwrap().status, status, "{upgrade}");
        }
    }
    assert_eq!(world.accounts.server().heads(), before + 3, "only those with a token");
    for seen in world.accounts.requests() {
        for field in ["connection", "upgrade", "sec-websocket-key", "sec-websocket-version"] {
            assert_eq!(seen.header(field), None, "{field}");
        }
    }
}
