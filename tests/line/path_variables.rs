//! Variables of the path, which claims are compared with.

use serde_json::json;

use crate::support::{Scene, World, request};

/// A route for the accounts that a claim names, and one that takes data.
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
