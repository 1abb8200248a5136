//! How fast requests may come (RFC 6585 §4, draft-ietf-httpapi-ratelimit-headers-11): what is counted, when, and what clients
//! are told.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use sandbox::https::{Answer, HttpServer};
use sandbox::pki::Credential;
use serde_json::Value;

use super::{asked, field, sent};
use crate::support::client::Client;
use crate::support::{World, remember, request};

/// A world with these further routes, whose upstream `any` answers everything, with limits of its own.
async fn world(routes: &str) -> (World, HttpServer) {
    world_behind("", routes).await
}

/// The same with further lines of the listener.
async fn world_behind(listener: &str, routes: &str) -> (World, HttpServer) {
    let upstream = HttpServer::start(
        None,
        None,
        Arc::new(|_| {
            let field = |name| HeaderName::from_static(name);
            Answer::text(StatusCode::OK, "ok")
                .header(field("ratelimit-policy"), HeaderValue::from_static("\"own\";q=1;w=1"))
                .header(field("ratelimit"), HeaderValue::from_static("\"own\";r=7;t=7"))
        }),
    )
    .unwrap();
    let section = format!("  any: {{ servers: [\"http://{}\"] }}\nroutes:\n", upstream.address());
    let world = World::with(|scene| {
        scene.replace("admin: {", &format!("{listener}admin: {{")).replace("routes:\n", &section).append(routes)
    })
    .await;
    (world, upstream)
}

/// A route of this name and path with these limits.
fn route(name: &str, limits: &str) -> String {
    format!(
        "  - {{ name: {name}, path: /{name}/**, methods: [GET], scopes: [accounts], upstream: any, rate_limits: [{limits}] }}\n"
    )
}

/// The same for everybody.
fn public(name: &str, limits: &str) -> String {
    route(name, limits).replace("scopes: [accounts]", "public: true")
}

fn open(path: &str) -> Request<Bytes> {
    asked("GET", path, &[])
}

/// Sends a request; returns status and code.
async fn judged(world: &World, client: &Client, request: Request<Bytes>) -> (u16, String) {
    world.judge_from(client, request).await
}

fn ok() -> (u16, String) {
    (200, "ok".to_owned())
}

fn limited() -> (u16, String) {
    (429, "rate_limited".to_owned())
}

/// A token for this certificate, of this client.
fn token(world: &World, credential: &Credential, client_id: &str) -> String {
    let token = world.issuer.token(world.clock.now()).bound_to_certificate(credential);
    world.sign(&token.claim("client_id", client_id))
}

fn fields(response: &Response<Bytes>) -> [&str; 3] {
    ["ratelimit-policy", "ratelimit", "retry-after"].map(|name| field(response, name))
}

async fn refusals(world: &World, route: &str, by: &str) -> u64 {
    let line = format!("fapi_gateway_rate_limited_total{{by=\"{by}\",route=\"{route}\"}} ");
    let text = world.gateway.admin("/metrics").await.1;
    let count = text.lines().find_map(|found| found.strip_prefix(&line));
    count.unwrap_or_else(|| panic!("no {line}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn fwd_15_a_client_is_told_what_is_left_and_when_to_come_again() {
    let (world, upstream) = world(&route("limited", "{ by: client, rate: 1/s, burst: 2 }")).await;
    let client = world.client();
    let ask = async |path: &str| sent(&client, request(path, &world.sign(&world.token()))).await;
    assert_eq!(refusals(&world, "limited", "client").await, 0, "the series begins at 0");
    for left in [1, 0] {
        let response = ask("/limited/a").await;
        let left = format!("\"client\";r={left};t=1");
        assert_eq!((response.status().as_u16(), fields(&response)), (200, ["\"client\";q=2;w=2", &*left, ""]));
        for name in ["ratelimit", "ratelimit-policy"] {
            assert_eq!(response.headers().get_all(name).iter().count(), 1, "the upstream's own are replaced");
        }
    }
    let before = upstream.heads();
    let response = ask("/limited/b").await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(fields(&response), ["\"client\";q=2;w=2", "\"client\";r=0;t=1", "1"]);
    assert!(!response.headers().contains_key("www-authenticate"));
    assert_eq!(field(&response, "cache-control"), "no-store");
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!(body["error"], "too_many_requests");
    let record = world.gateway.record_of(&response);
    assert_eq!((&record["code"], &record["decision"]), (&"rate_limited".into(), &"reject".into()));
    assert_eq!(record["client_id"], "client-1", "whose request it was is on record");
    assert_eq!(record["detail"], "requests by client are limited to 1/s, burst 2; the next may come in 1s");
    assert_eq!((upstream.heads(), refusals(&world, "limited", "client").await), (before, 1));
    // What a route without limits says is the upstream's.
    let health = sent(&client, open("/health")).await;
    assert_eq!((health.status().as_u16(), fields(&health)), (200, [""; 3]), "control");
    world.clock.advance(1);
    assert_eq!(ask("/limited/a").await.status(), StatusCode::OK);
    assert_eq!(ask("/limited/a").await.status(), StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fields_of_an_upstream_pass_where_there_are_no_limits() {
    let routes = "  - { name: free, path: /free, methods: [GET], public: true, upstream: any }\n";
    let (world, _upstream) = world(routes).await;
    let response = sent(&world.client(), open("/free")).await;
    assert_eq!(fields(&response), ["\"own\";q=1;w=1", "\"own\";r=7;t=7", ""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn fwd_15_each_limit_counts_what_it_is_by() {
    let routes = ["sender", "client", "issuer"].map(|by| route(by, &format!("{{ by: {by}, rate: 1/h, burst: 1 }}")));
    let (world, _upstream) = world(&routes.concat()).await;
    // By the same sender, and by the same client with another certificate.
    for (by, same_sender, same_client, neither) in [
        ("sender", limited(), ok(), ok()),
        ("client", ok(), limited(), ok()),
        ("issuer", limited(), limited(), limited()),
    ] {
        let ask = async |credential: &Credential, client_id: &str| {
            let client = world.anonymous().certificate(credential);
            judged(&world, &client, request(&format!("/{by}/x"), &token(&world, credential, client_id))).await
        };
        assert_eq!(ask(&world.c1, "a").await, ok(), "{by}");
        assert_eq!(ask(&world.c1, "a").await, limited(), "{by}");
        assert_eq!(ask(&world.c1, "b").await, same_sender, "{by}");
        assert_eq!(ask(&world.c2, "a").await, same_client, "{by}");
        let third = world.authority.client("client-3");
        assert_eq!(ask(&third, "c").await, neither, "{by}");
        let holder = world.holder();
        let proof = holder.proof(&format!("/{by}/x"), world.clock.now());
        let by_key = judged(&world, &world.anonymous(), holder.request(&format!("/{by}/x"), &proof)).await;
        // Its client_id is another.
        assert_eq!(by_key, neither, "{by}: a key is a sender too");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_connections_of_one_client_are_one_client() {
    let (world, _upstream) = world(&route("limited", "{ by: client, rate: 10/h }")).await;
    let mut statuses = Vec::new();
    for number in 0..24 {
        let client = if number % 2 == 0 { world.client().h1() } else { world.client().h2() };
        let request = request("/limited/x", &world.sign(&world.token()));
        statuses.push(tokio::spawn(async move { client.send(request).await.unwrap().status().as_u16() }));
    }
    let mut passed = 0;
    for status in statuses {
        let status = status.await.unwrap();
        assert!([200, 429].contains(&status), "{status}");
        passed += usize::from(status == 200);
    }
    assert_eq!(passed, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_39_a_request_that_came_too_fast_can_be_sent_again_with_its_proof() {
    let (world, _upstream) = world(&route("limited", "{ by: sender, rate: 1/min, burst: 1 }")).await;
    let (client, holder) = (world.anonymous(), world.holder());
    let proofs = [0; 2].map(|_| holder.proof("/limited/x", world.clock.now()).sign(&holder.key));
    let ask = async |proof: &str| {
        judged(&world, &client, crate::support::dpop_request("/limited/x", &holder.token, proof)).await
    };
    assert_eq!(ask(&proofs[0]).await, ok());
    assert_eq!(ask(&proofs[1]).await, limited());
    world.clock.advance(60);
    assert_eq!(ask(&proofs[1]).await, ok(), "its proof was not used up");
    world.clock.advance(60);
    let late = holder.proof("/limited/x", world.clock.now()).sign(&holder.key);
    assert_eq!(ask(&late).await, ok());
    world.clock.advance(60);
    assert_eq!(ask(&late).await, (401, "dpop_replayed".to_owned()), "control: one that was used");
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_tk_12_whoever_sends_a_captured_proof_again_uses_up_nothing_of_its_owner() {
    let limits = "{ by: address, rate: 100/h }, { by: sender, rate: 1/h, burst: 3 }, { by: client, rate: 1/h, burst: 3 }, { by: issuer, rate: 1/h, burst: 4 }";
    let shadowed = route("shadowed", limits).replace("scopes:", "enforce: { shadow: until 2099-12-31 }, scopes:");
    let (world, _upstream) = world(&[route("limited", limits), shadowed].concat()).await;
    let (client, holder) = (world.anonymous(), world.holder());
    let send = async |path: &str, proof: &str| {
        let response = sent(&client, crate::support::dpop_request(path, &holder.token, proof)).await;
        let left = field(&response, "ratelimit").split("r=").skip(1).map(|left| left.split(';').next().unwrap());
        (response.status().as_u16(), left.collect::<Vec<_>>().join(" "))
    };
    for (path, replayed) in [("/limited/x", 401), ("/shadowed/x", 200)] {
        let proof = || holder.proof(path, world.clock.now()).sign(&holder.key);
        let captured = proof();
        assert_eq!(send(path, &captured).await, (200, "99 2 2 3".to_owned()), "{path}");
        for left in (89..99).rev() {
            // Until the log has said what it is, it counts.
            assert_eq!(send(path, &captured).await, (replayed, format!("{left} 1 1 2")), "{path}");
        }
        assert_eq!(send(path, &proof()).await, (200, "88 1 1 2".to_owned()), "{path}");
        assert_eq!(send(path, &proof()).await, (200, "87 0 0 1".to_owned()), "{path}");
        assert_eq!(send(path, &proof()).await, (429, "86 0".to_owned()), "control: what passes counts, {path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn int_20_an_address_is_limited_before_its_credentials_are_looked_at() {
    let (world, _upstream) = world(&route("limited", "{ by: address, rate: 3/h }, { by: client, rate: 9/h }")).await;
    let (here, there) = (world.client(), world.client().bind("127.0.0.2".parse().unwrap()));
    let guess = || request("/limited/x", &remember("a.guessed.token-of-somebody-else-entirely".to_owned()));
    for _ in 0..3 {
        assert_eq!(judged(&world, &here, guess()).await, (401, "token_malformed".to_owned()));
    }
    let response = sent(&here, guess()).await;
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    let policies = "\"address\";q=3;w=3600, \"client\";q=9;w=3600";
    assert_eq!(fields(&response), [policies, "\"address\";r=0;t=1200", "1200"]);
    let record = world.gateway.record_of(&response);
    assert_eq!((&record["code"], &record["token_id"]), (&"rate_limited".into(), &Value::Null));
    let good = || request("/limited/x", &world.sign(&world.token()));
    assert_eq!(judged(&world, &here, good()).await, limited(), "nor does a good token help");
    let response = sent(&there, good()).await;
    assert_eq!(response.status(), StatusCode::OK, "control: another address");
    assert_eq!(fields(&response), [policies, "\"address\";r=2;t=2400, \"client\";r=8;t=3200", ""]);
    // A refusal for another reason says what is left, too.
    let response = sent(&there, guess()).await;
    assert_eq!((response.status().as_u16(), field(&response, "ratelimit")), (401, "\"address\";r=1;t=1200"));
    assert_eq!((refusals(&world, "limited", "address").await, refusals(&world, "limited", "client").await), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_are_those_that_a_balancer_names_and_an_ipv6_network_is_one() {
    let (world, _upstream) = world_behind(
        "    proxy_protocol: { from: [127.0.0.1] }\n",
        &public("open", "{ by: address, rate: 5/h, burst: 5 }"),
    )
    .await;
    let from = |address: String| {
        let family = if address.contains(':') { "TCP6" } else { "TCP4" };
        let here = if address.contains(':') { "2001:db8::1" } else { "192.0.2.1" };
        world.anonymous().preamble(format!("PROXY {family} {address} {here} 56324 443\r\n").into_bytes())
    };
    let mut passed = 0;
    for number in 0..20 {
        let (status, _) = judged(&world, &from(format!("2001:db8:0:1::{number:x}:7")), open("/open/x")).await;
        passed += usize::from(status == 200);
    }
    assert_eq!(passed, 5, "whatever a customer chooses of its 64 bits");
    assert_eq!(judged(&world, &from("2001:db8:0:2::7".to_owned()), open("/open/x")).await, ok(), "control");
    for number in 0..50 {
        assert_eq!(judged(&world, &from(format!("203.0.113.{number}")), open("/open/x")).await, ok(), "{number}");
    }
    let metrics = world.gateway.admin("/metrics").await.1;
    assert!(!metrics.contains("203.0.113"), "no label comes from a request");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_gives_nobody_a_new_limit() {
    let (world, _upstream) =
        world(&[route("kept", "{ by: client, rate: 1/h }"), route("changed", "{ by: client, rate: 1/h }")].concat())
            .await;
    let ask = async |route: &str| {
        judged(&world, &world.client(), request(&format!("/{route}/x"), &world.sign(&world.token()))).await
    };
    for route in ["kept", "changed"] {
        assert_eq!((ask(route).await, ask(route).await), (ok(), limited()), "{route}");
    }
    let folder = world.gateway.folder();
    let text = std::fs::read_to_string(folder.path().join("gateway.yaml")).unwrap();
    let changed =
        text.replace(&route("changed", "{ by: client, rate: 1/h }"), &route("changed", "{ by: client, rate: 2/h }"));
    assert_ne!(text, changed);
    folder.write("gateway.yaml", &changed);
    world.gateway.control().reload();
    tokio::time::timeout(crate::support::DEADLINE, world.gateway.control().reloads(1)).await.expect("a reload");
    assert_eq!(ask("kept").await, limited());
    assert_eq!([ask("changed").await, ask("changed").await, ask("changed").await], [ok(), ok(), limited()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_is_set_back_shuts_nobody_out() {
    let (world, _upstream) = world(&public("open", "{ by: address, rate: 1/s, burst: 3 }")).await;
    let ask = async || judged(&world, &world.anonymous(), open("/open/x")).await;
    for wanted in [ok(), ok(), ok(), limited()] {
        assert_eq!(ask().await, wanted);
    }
    world.clock.set_back(3600);
    assert_eq!(ask().await, limited());
    world.clock.advance(3);
    for wanted in [ok(), ok(), ok(), limited()] {
        assert_eq!(ask().await, wanted);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_has_the_form_of_its_route_and_the_gateways_own_answers_say_what_is_left() {
    let routes = [
        public("problem", "{ by: address, rate: 1/h }").replace("public: true", "public: true, errors: problem"),
        public("options", "{ by: address, rate: 2/h }").replace("[GET]", "[OPTIONS]"),
    ];
    let (world, _upstream) = world(&routes.concat()).await;
    let client = world.anonymous();
    assert_eq!(sent(&client, open("/problem/x")).await.status(), StatusCode::OK);
    let response = sent(&client, open("/problem/x")).await;
    assert_eq!((response.status().as_u16(), field(&response, "content-type")), (429, "application/problem+json"));
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    assert_eq!((&body["status"], &body["title"]), (&429.into(), &"Too Many Requests".into()));
    assert_eq!(field(&response, "retry-after"), "3600");
    let last = asked("OPTIONS", "/options/x", &[("max-forwards", "0")]);
    let response = sent(&client, last).await;
    assert_eq!((response.status().as_u16(), field(&response, "ratelimit")), (200, "\"address\";r=1;t=1800"));
}
