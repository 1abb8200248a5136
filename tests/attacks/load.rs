//! Requests that cost the receiver more than the sender, apart from attacks on the connection itself, which are in
//! hostile/floods.rs and hostile/slow.rs.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::json;

use crate::edge::hostile::wire::now;
use crate::support::{DEADLINE, World, remember, request};

#[tokio::test(flavor = "multi_thread")]
async fn atk_sz_04_an_encrypted_token_is_not_looked_into() {
    let world = World::start().await;
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    let began = now();
    for header in [
        json!({"alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2c": 2_147_483_647, "p2s": "AAAAAAAAAAA", "typ": "at+jwt"}),
        json!({"alg": "dir", "enc": "A128GCM", "zip": "DEF", "typ": "at+jwt"}),
        json!({"alg": "RSA-OAEP", "enc": "A256GCM", "cty": "JWT"}),
    ] {
        let header = part(header.to_string().as_bytes());
        let token = remember(format!("{header}.{0}.{0}.{1}.{0}", part(&[7; 32]), part(&[0; 8 * 1024])));
        for client in [world.client().h1(), world.client().h2()] {
            let judged = world.judge_from(&client, request("/accounts", &token)).await;
            assert_eq!(judged, (401, "token_encrypted".into()));
        }
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(world.judge(world.request()).await, (200, "ok".into()), "control");
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_sz_06_invented_tokens_cost_a_bounded_number_of_questions_and_push_nobody_out() {
    let world = World::with(|scene| scene.introspected(", max_calls: 4, max_waiting: 16")).await;
    let known = world.opaque(&world.token());
    assert_eq!(world.judge(request("/accounts", &known)).await, (200, "ok".into()));
    let asked = || world.issuer.requests_to("/introspect");
    let before = asked();
    let mut flood = tokio::task::JoinSet::new();
    for number in 0..200 {
        let client = world.client().h1();
        let request = request("/accounts", &remember(format!("invented-{}", number % 100)));
        flood.spawn(async move { client.send(request).await.map(|response| response.status().as_u16()) });
    }
    for status in flood.join_all().await {
        assert!(matches!(status, Ok(401 | 503)), "{status:?}");
    }
    let questions = asked() - before;
    assert!((1..=120).contains(&questions), "{questions} questions about 100 tokens");
    assert_eq!(
        world.judge(request("/accounts", &known)).await,
        (200, "ok".into()),
        "the cached token is still accepted"
    );
    assert!(asked() - before <= questions + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_ca_05_a_token_that_was_sent_too_early_is_good_once_it_is() {
    let world = World::with(|scene| scene.introspected(", cache: { inactive_max_age: 50ms }")).await;
    let early = remember("issued-later".to_owned());
    assert_eq!(world.judge(request("/accounts", &early)).await, (401, "token_inactive".into()));
    world.issuer.know(&early, &world.token());
    let began = now();
    while world.judge(request("/accounts", &early)).await.0 != 200 {
        assert!(began.elapsed() < DEADLINE, "`inactive_max_age` is over");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_ca_02_atk_ca_03_what_is_remembered_belongs_to_the_whole_token_and_its_issuer() {
    let world = World::with(|scene| scene.introspected("")).await;
    let long = "a".repeat(200);
    let known = remember(format!("{long}-known"));
    world.issuer.know(&known, &world.token());
    assert_eq!(world.judge(request("/accounts", &known)).await, (200, "ok".into()));
    for other in
        [format!("{long}-other"), format!("{known}x"), known[..known.len() - 1].to_owned(), known.to_uppercase()]
    {
        let judged = world.judge(request("/accounts", &remember(other))).await;
        assert_eq!(judged, (401, "token_inactive".into()));
    }
    // The same token from another client is refused, cached or not.
    let other = world.anonymous().certificate(&world.c2);
    let judged = world.judge_from(&other, request("/accounts", &known)).await;
    assert_eq!(judged, (401, "certificate_mismatch".into()));
    assert_eq!(world.judge(request("/accounts", &known)).await, (200, "ok".into()), "control");
}
