//! Routes that require elements of `authorization_details` (RFC 9396).

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use crate::support::{Scene, World, request};

/// A route for the accounts that an element names.
const ACCOUNTS: &str = r#"  - name: consented
    path: /accounts/{account_id}
    methods: [GET]
    scopes: [accounts]
    upstream: accounts
    require:
      authorization_details:
        - type: account_information
          actions: [read]
          locations: ["https://localhost/accounts"]
          match:
            - { detail: /accounts, contains: { path: account_id } }
            - { detail: /view, equals: { query: view } }
            - { detail: /methods, contains: { method: true } }
"#;

fn accounts(scene: Scene) -> Scene {
    scene.append(ACCOUNTS)
}

/// An element for accounts, without its type.
fn element(accounts: &[&str]) -> Value {
    json!({
        "type": "account_information",
        "actions": ["list", "read"],
        "locations": ["https://localhost/accounts"],
        "accounts": accounts,
        "view": "full",
        "methods": ["GET"],
        "iban": "DE02120300000000202051",
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn rar_03_the_request_is_one_that_an_element_names() {
    let world = World::with(accounts).await;
    let sign = |details: Value| world.sign(&world.token().claim("authorization_details", details));
    let token = sign(json!([{ "type": "other" }, element(&["1002", "1001"])]));
    for client in [world.client().h1(), world.client().h2()] {
        let judge = async |request: Request<Bytes>| {
            world.accounts.clear();
            let response = client.send(request).await.unwrap();
            let record = world.gateway.record_of(&response);
            let detail = record["detail"].as_str().unwrap_or_default().to_owned();
            let uris: Vec<_> = world.accounts.requests().into_iter().map(|request| request.uri).collect();
            (response.status().as_u16(), record["code"].as_str().unwrap_or_default().to_owned(), detail, uris)
        };
        for target in ["/accounts/1001?view=full", "/accounts/1002/?page=2&view=full", "/accounts/1001?view=%66ull"] {
            let (_, code, _, uris) = judge(request(target, &token)).await;
            assert_eq!(code, "ok", "control: {target}");
            assert_eq!(uris, [target], "what is compared is forwarded as it came");
        }
        for (target, token, why) in [
            ("/accounts/1003?view=full", token.clone(), "/accounts of the nearest is not what it has to be"),
            ("/accounts/1001", token.clone(), "\"view\" of the query is missing or has more than one reading"),
            ("/accounts/1001?view=short", token.clone(), "/view of the nearest is not what it has to be"),
            (
                "/accounts/1001?view=full&view=full",
                token.clone(),
                "\"view\" of the query is missing or has more than one reading",
            ),
            (
                "/accounts/1001?view=full&VIEW=all",
                token.clone(),
                "\"view\" of the query is missing or has more than one reading",
            ),
            ("/accounts/1001?view=full", sign(json!([{ "type": "other" }])), r#"the token has the types ["other"]"#),
            ("/accounts/1001?view=full", sign(json!([])), "the token has none"),
            ("/accounts/1001?view=full", world.sign(&world.token()), "the token has none"),
        ] {
            let (status, code, detail, uris) = judge(request(target, &token)).await;
            assert_eq!((status, code.as_str()), (403, "authorization_details_insufficient"), "{target}: {detail}");
            assert!(detail.ends_with(why) && !detail.contains("DE02"), "{target}: {detail}");
            assert_eq!(uris, [""; 0], "{target}");
        }
        // Another spelling of a segment that is granted, or of one that is not, is no segment at all.
        for target in ["/accounts/%31001?view=full", "/accounts/1001;x?view=full", "/accounts/1001%2F?view=full"] {
            assert_eq!(judge(request(target, &token)).await.1, "path_ambiguous", "{target}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rar_03_elements_are_not_put_together() {
    let world = World::with(accounts).await;
    let judge = async |details: Value| {
        let token = world.sign(&world.token().claim("authorization_details", details));
        world.judge(request("/accounts/1001?view=full", &token)).await
    };
    let refused = (403, "authorization_details_insufficient".to_owned());
    assert_eq!(judge(json!([element(&["1001"])])).await, (200, "ok".into())); // control
    for (member, value) in [
        ("actions", json!(["write"])),
        ("locations", json!(["https://localhost/accounts/"])),
        ("accounts", json!(["1002"])),
        ("view", json!("short")),
        ("methods", json!(["POST"])),
        ("type", json!("payment_initiation")),
    ] {
        let mut lacking = element(&["1001"]);
        lacking[member] = value;
        assert_eq!(judge(json!([lacking])).await, refused, "{member}");
        // What it lacks is in another element, of which the rest is wrong.
        let another = json!({ "type": "account_information", member: element(&["1001"])[member] });
        assert_eq!(judge(json!([lacking, another])).await, refused, "{member}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rar_02_the_same_is_asked_of_an_introspected_token() {
    let world = World::with(|scene| accounts(scene.introspected(""))).await;
    for (details, status) in [
        (json!([element(&["1001"])]), 200),
        (json!([element(&["1002"])]), 403),
        (json!([]), 403),
        (element(&["1001"]), 401),
    ] {
        let token = world.opaque(&world.token().claim("authorization_details", details.clone()));
        assert_eq!(world.judge(request("/accounts/1001?view=full", &token)).await.0, status, "{details}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rar_05_rar_08_scopes_and_details_are_both_needed_and_the_client_learns_neither() {
    let world = World::with(accounts).await;
    let details = json!([element(&["1001"])]);
    for (scope, details, code, scopes) in [
        ("accounts", Some(&details), "ok", false), // control
        ("accounts", None, "authorization_details_insufficient", false),
        ("openid", Some(&details), "scope_insufficient", true),
        ("openid", None, "scope_insufficient", true),
    ] {
        let token = world.token().scope(scope);
        let token =
            details.iter().fold(token, |token, details| token.claim("authorization_details", (*details).clone()));
        let response = world.client().send(request("/accounts/1001?view=full", &world.sign(&token))).await.unwrap();
        assert_eq!(world.gateway.record_of(&response)["code"], code, "{scope}");
        if code == "ok" {
            continue;
        }
        assert_eq!(response.status(), 403, "{code}");
        // RFC 6750 §3.1: "The request requires higher privileges than provided by the access token."
        for challenge in response.headers().get_all("www-authenticate") {
            let challenge = challenge.to_str().unwrap();
            if challenge.starts_with("Bearer ") {
                assert!(challenge.contains(r#", error="insufficient_scope""#), "{challenge}");
                assert_eq!(challenge.contains("scope=\"accounts\""), scopes, "{challenge}");
            }
        }
        let answer = format!("{:?} {:?}", response.headers(), response.body());
        for secret in ["account_information", "read", "DE02", "1001", "authorization_details", "full"] {
            assert!(!answer.contains(secret), "{secret}: {answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_with_more_than_one_reading_is_compared_with_nothing() {
    let world =
        World::with(|scene| scene.append(&ACCOUNTS.replace("    methods", "    path_characters: uri\n    methods")))
            .await;
    let judge = async |target: &str, account: &str| {
        let token = world.sign(&world.token().claim("authorization_details", json!([element(&[account])])));
        world.judge(request(target, &token)).await.1
    };
    assert_eq!(judge("/accounts/1001?view=full", "1001").await, "ok"); // control
    for (target, account) in [
        ("/accounts/1001;v=1?view=full", "1001"),
        ("/accounts/1001;v=1?view=full", "1001;v=1"),
        ("/accounts/100%2531?view=full", "1001"),
        ("/accounts/100%2531?view=full", "100%31"),
        ("/accounts/%31001?view=full", "1001"),
        ("/accounts/1001%20?view=full", "1001"),
    ] {
        assert_eq!(judge(target, account).await, "authorization_details_insufficient", "{target} {account}");
    }
}
