//! What one client may take of all exchanges: no more than its share, even if it is slow with a body that the decision waits
//! for.

use sandbox::pki::Credential;
use tokio::time::timeout;

use super::wire::Talk;
use crate::support::{DEADLINE, World};

/// A world in which two of four exchanges may be of one client.
async fn world() -> World {
    World::with(|scene| {
        let usual = "    scopes: { any: [payments, accounts] }\n";
        let detail = "{ type: payment, match: [{ detail: /iban, equals: { body: /iban } }] }";
        let compared = format!("{usual}    require: {{ authorization_details: [{detail}] }}\n");
        scene
            .replace("header_bytes: 32KiB", "{ header_bytes: 32KiB, exchanges: 4, exchanges_per_client: 2 }")
            .replace(usual, &compared)
            .append("  - { name: form, path: /form, methods: [POST], scopes: [accounts], upstream: accounts }\n")
    })
    .await
}

/// Sends a request whose body does not come, and returns the status of the first answer: 100 once the body is waited for.
async fn begin(world: &World, credential: &Credential, path: &str, kind: &str) -> (Talk, u16) {
    let details = serde_json::json!([{ "type": "payment", "iban": "DE02" }]);
    let token = world.issuer.token(world.clock.now()).bound_to_certificate(credential);
    let token = world.sign(&token.claim("authorization_details", details));
    let mut talk = Talk::with(&world.anonymous().certificate(credential).h1()).await;
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: {kind}\r\nContent-Length: 90\r\nExpect: 100-continue\r\n\r\n"
    );
    talk.say(head).await.unwrap();
    let status = talk.answer().await.expect("an answer").status;
    (talk, status)
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_the_decision_waits_for_are_counted_for_their_client() {
    for (path, kind) in [("/payments", "application/json"), ("/form", "application/x-www-form-urlencoded")] {
        let world = world().await;
        let (mut held, mut statuses) = (Vec::new(), Vec::new());
        for credential in [&world.c1, &world.c1, &world.c1, &world.c2, &world.c2] {
            let (talk, status) = begin(&world, credential, path, kind).await;
            statuses.push(status);
            held.push(talk);
        }
        assert_eq!(statuses, [100, 100, 429, 100, 100], "{path}");
        drop(held);
        let freed = async { while begin(&world, &world.c1, path, kind).await.1 != 100 {} };
        timeout(DEADLINE, freed).await.expect("whoever is gone holds nothing");
    }
}
