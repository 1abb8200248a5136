//! Keys that change, and floods of unknown keys, over real sockets: the tests count what the authorization server was
//! asked.

use std::time::Duration;

use http::StatusCode;
use sandbox::authorization_server::AuthorizationServer;
use sandbox::https::Answer;
use sandbox::tokens::{KeyKind, SigningKey, jwks};
use tokio::task::JoinSet;

use crate::support::{DEADLINE, World, remember, request};

const JWKS: &str = AuthorizationServer::JWKS;

#[tokio::test(flavor = "multi_thread")]
async fn fapi2_cr_09_a_rotation_is_seen_within_one_request_and_one_fetch() {
    let mut world = World::start().await;
    let old = request("/accounts", &world.sign(&world.token()));
    assert_eq!(world.judge(old.clone()).await, (200, "ok".into()));
    world.issuer.clear();
    world.issuer.rotate(KeyKind::Ps256);
    assert_eq!(world.judge(old.clone()).await, (200, "ok".into()), "control: the key set has not been read again");
    assert!(world.issuer.requests().is_empty());
    assert_eq!(world.judge(world.request()).await, (200, "ok".into()));
    assert_eq!(world.issuer.requests().len(), 1, "one read of the key set, and nothing else");
    assert_eq!(world.issuer.requests_to(JWKS), 1);
    assert_eq!(world.judge(old).await, (401, "token_key_unknown".into()));
    assert_eq!(world.judge(world.request()).await, (200, "ok".into()));
    assert_eq!(world.issuer.requests().len(), 2, "the removed key may be new");
}

#[tokio::test(flavor = "multi_thread")]
async fn fapi2_cr_09_a_rotation_under_the_same_kid_is_seen_within_one_request_and_one_fetch() {
    let world = World::start().await;
    let former = world.issuer.key(KeyKind::Ps256);
    let old = request("/accounts", &world.sign(&world.token()));
    assert_eq!(world.judge(old.clone()).await, (200, "ok".into()));
    let replacement = SigningKey::generate(KeyKind::Ps256, former.kid());
    let new = request("/accounts", &remember(world.token().sign(&replacement)));
    world.issuer.script(JWKS, Answer::json(StatusCode::OK, jwks(&[&replacement])));
    world.issuer.clear();
    assert_eq!(world.judge(new).await, (200, "ok".into()));
    assert_eq!(world.issuer.requests().len(), 1);
    assert_eq!(world.judge(old).await, (401, "token_signature_invalid".into()));
    assert_eq!(world.issuer.requests().len(), 2, "its key may have been replaced again");
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sz_05_a_storm_costs_one_fetch_and_delays_no_valid_token() {
    const CONNECTIONS: usize = 8;
    const REQUESTS: usize = 50;
    let mut world = World::start().await;
    let key = world.issuer.key(KeyKind::Es256);
    let stranger = SigningKey::generate(KeyKind::Es256, key.kid());
    let mut storm = JoinSet::new();
    world.issuer.clear();
    world.issuer.script(JWKS, Answer::hanging());
    for connection in 0..CONNECTIONS {
        let open = world.client().h2().connect().await.unwrap();
        for number in 0..REQUESTS {
            // Half of them name a key that does not exist, the others one that did not sign them.
            let token = match number % 2 {
                0 => world.token().header("kid", format!("unknown-{connection}-{number}")).sign(key),
                _ => world.token().sign(&stranger),
            };
            let mut stream = open.another().expect("HTTP/2");
            storm.spawn(async move { stream.send(request("/accounts", &remember(token))).await.unwrap().status() });
        }
    }
    world.issuer.wait_for(JWKS, 1, DEADLINE).await.unwrap();

    let remembered = world.request();
    let valid = async {
        let mut open = world.client().connect().await.unwrap();
        for _ in 0..10 {
            assert_eq!(open.send(world.request()).await.unwrap().status(), 200);
            assert_eq!(open.send(remembered.clone()).await.unwrap().status(), 200);
        }
    };
    // The gateway waits 10 seconds for the silent issuer: a request that waits with it exceeds this limit.
    tokio::time::timeout(Duration::from_secs(8), valid).await.expect("valid tokens do not wait");
    assert!(storm.try_join_next().is_none(), "control: the storm does");
    world.issuer.stop().await.unwrap();
    let statuses = tokio::time::timeout(DEADLINE, storm.join_all()).await.unwrap();
    assert_eq!(statuses.len(), CONNECTIONS * REQUESTS);
    // Nobody knows whether the issuer has the keys that do not exist; the others did not sign.
    let count = |wanted: StatusCode| statuses.iter().filter(|status| **status == wanted).count();
    let half = CONNECTIONS * REQUESTS / 2;
    assert_eq!((count(StatusCode::SERVICE_UNAVAILABLE), count(StatusCode::UNAUTHORIZED)), (half, half));
    assert_eq!(world.issuer.requests_to(JWKS), 1);
    assert_eq!(world.judge(world.request()).await, (200, "ok".into()));
}
