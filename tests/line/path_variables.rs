//! Variables of the path, which claims are compared with and which the upstream gets in headers.

use bytes::Bytes;
use http::{HeaderValue, Request};
use serde_json::json;

use crate::support::{ORIGIN, Scene, World, request};

/// A route for the accounts that a claim names, one that is public, and one that takes data.
const ROUTES: &str = r#"  - name: account
    path: /accounts/{account_id}
    methods: [GET]
    scopes: [accounts]
    upstream: accounts
    require:
      claims:
        - { claim: /account_ids, contains: { path: account_id } }
        - { claim: /views/default, equals: { query: view } }
        - { claim: /operation, equals: { method: true } }
    forward: { path_variables: { account_id: X-Account-Id } }
  - name: branch
    path: /branches/{branch_id}/**
    methods: [GET]
    public: true
    upstream: accounts
    forward: { path_variables: { branch_id: X-Branch } }
  - name: document
    path: /documents/{account_id}/**
    path_characters: uri
    methods: [GET]
    scopes: [accounts]
    upstream: accounts
    require: { claims: [{ claim: /account_ids, contains: { path: account_id } }] }
"#;

fn routes(scene: Scene) -> Scene {
    scene.append(ROUTES)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_for_the_accounts_that_a_claim_names() {
    let world = World::with(routes).await;
    let token = |ids: serde_json::Value| {
        let token = world.token().claim("account_ids", ids).claim("views", json!({ "default": "full" }));
        world.sign(&token.claim("operation", "GET"))
    };
    let good = token(json!(["1002", "1001"]));
    for client in [world.client().h1(), world.client().h2()] {
        let judge = async |target: &str, token: &str| {
            let response = client.send(request(target, token)).await.unwrap();
            let record = world.gateway.record_of(&response);
            let text = |member: &str| record[member].as_str().unwrap_or_default().to_owned();
            (response.status().as_u16(), text("code"), text("detail"))
        };
        for target in ["/accounts/1001?view=full", "/accounts/1002/?view=full"] {
            assert_eq!(judge(target, &good).await.1, "ok", "control: {target}");
        }
        for (target, token, why) in [
            ("/accounts/1003?view=full", &good, "the claim /account_ids is a list"),
            ("/accounts/1001?view=full", &token(json!(["1002"])), "the claim /account_ids is a list"),
            ("/accounts/1001?view=full", &token(json!([1001])), "the claim /account_ids is a list"),
            ("/accounts/1001?view=full", &token(json!("1001")), "the claim /account_ids is \"1001\""),
            ("/accounts/1001?view=full", &world.sign(&world.token()), "the claim /account_ids is missing"),
            ("/accounts/1001?view=short", &good, "the claim /views/default is \"full\""),
            (
                "/accounts/1001?view=full&VIEW=short",
                &good,
                "\"view\" of the query is missing or has more than one reading",
            ),
            ("/accounts/1001", &good, "\"view\" of the query is missing or has more than one reading"),
        ] {
            let (status, code, detail) = judge(target, token).await;
            assert_eq!((status, code.as_str()), (403, "claim_refused"), "{target}: {detail}");
            assert!(detail.starts_with(why), "{target}: {detail}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_with_more_than_one_reading_is_in_no_claim() {
    let world = World::with(routes).await;
    let judge = async |target: &str, id: &str| {
        let token = world.sign(&world.token().claim("account_ids", json!([id])));
        world.judge(request(target, &token)).await.1
    };
    assert_eq!(judge("/documents/1001/a;b", "1001").await, "ok"); // control
    for (target, id) in [
        ("/documents/1001;v=1/a", "1001"),
        ("/documents/1001;v=1/a", "1001;v=1"),
        ("/documents/%31001/a", "1001"),
        ("/documents/100%2531/a", "100%31"),
    ] {
        assert_eq!(judge(target, id).await, "claim_refused", "{target} {id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cc_10_the_upstream_gets_the_variable_from_the_gateway_alone() {
    let world = World::with(routes).await;
    let token = world.token().claim("account_ids", json!(["1001", "a b", "caf\u{e9}"]));
    let token = world.sign(&token.claim("views", json!({ "default": "full" })).claim("operation", "GET"));
    for client in [world.client().h1(), world.client().h2()] {
        let seen = async |mut request: Request<Bytes>| {
            for name in ["x-account-id", "x_account_id", "x-branch"] {
                request.headers_mut().insert(name, HeaderValue::from_static("of the client"));
            }
            world.accounts.clear();
            assert_eq!(world.judge_from(&client, request).await.1, "ok");
            let seen = world.accounts.requests().remove(0);
            let one = |name: &str| {
                assert!(seen.headers.get_all(name).iter().count() < 2, "{name}");
                seen.header(name).map(str::to_owned)
            };
            assert_eq!(one("x_account_id"), None);
            (one("x-account-id"), one("x-branch"))
        };
        let public = |path: &str| Request::get(format!("{ORIGIN}{path}")).body(Bytes::new()).unwrap();
        for (path, expected) in [("1001", "1001"), ("a%20b", "a b"), ("caf%C3%A9", "caf%C3%A9")] {
            let request = request(&format!("/accounts/{path}?view=full"), &token);
            assert_eq!(seen(request).await, (Some(expected.to_owned()), None), "{path}");
        }
        assert_eq!(seen(public("/branches/north/open")).await, (None, Some("north".to_owned())));
        // Routes that do not forward it have it removed too.
        assert_eq!(seen(public("/health")).await, (None, None));
    }
}
