//! Many requests at once: how many reach the issuer, and what happens to the rest.

use std::collections::HashSet;

use http::StatusCode;
use sandbox::authorization_server::Script;
use sandbox::https::{Answer, Recorded};
use sandbox::tokens::{KeyKind, Proof, SigningKey};
use serde_json::json;
use tokio::task::JoinSet;

use super::{INTROSPECTION, asked, counted, judge, judge_new, ok, refused, token_of, unavailable};
use crate::support::{DEADLINE, ORIGIN, World, dpop_request, remember, request};

#[tokio::test(flavor = "multi_thread")]
async fn int_20_who_finds_no_place_is_told_so_at_once() {
    let world = World::with(|scene| scene.introspected(", timeout: 3s, max_calls: 1, max_waiting: 3")).await;
    let known = world.opaque(&world.token());
    assert_eq!(judge(&world, &known).await, ok());
    world.issuer.script(INTROSPECTION, Answer::hanging());
    let mut requests = JoinSet::new();
    for _ in 0..10 {
        let (client, request) = (world.client(), request("/accounts", &world.opaque(&world.token())));
        requests.spawn(async move { client.send(request).await.unwrap() });
    }
    for _ in 0..7 {
        let response = requests.join_next().await.unwrap().unwrap();
        assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (503, &"5".parse().unwrap()));
        assert!(!response.headers().contains_key("www-authenticate"));
    }
    assert_eq!((counted(&world, "busy").await, counted(&world, "timeout").await), (7, 0));
    assert_eq!(judge(&world, &known).await, ok(), "control: a cached token needs no slot");
    assert!(requests.join_all().await.iter().all(|response| response.status() == 503));
    assert_eq!((counted(&world, "busy").await, counted(&world, "timeout").await), (7, 3));
    world.issuer.unscript(INTROSPECTION);
    for _ in 0..5 {
        assert_eq!(judge_new(&world).await, ok(), "every slot is free again");
    }
}

/// Whether it is about one of the tokens that are never answered.
fn hung(question: &Recorded) -> bool {
    question.body.windows(4).any(|part| part == b"hung")
}

fn leave_hung_tokens_unanswered(world: &World) {
    world.issuer.script(
        INTROSPECTION,
        Script::Function(Box::new(|question| match hung(question) {
            true => Answer::hanging(),
            false => Answer::json(StatusCode::OK, json!({"active": false})),
        })),
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn int_20_a_client_takes_its_own_places_and_leaves_those_of_others() {
    const SHARE: usize = 5;
    let world = World::with(|scene| scene.introspected(", timeout: 9s, max_waiting_per_client: 5")).await;
    leave_hung_tokens_unanswered(&world);
    let [first, second] = [world.client(), world.anonymous().certificate(&world.c2)];
    let mut waiting = JoinSet::new();
    for (name, client) in [("c1", first.clone()), ("nobody", world.anonymous())] {
        let before = asked(&world).len();
        for number in 0..SHARE {
            let (client, request) = (client.clone(), request("/accounts", &format!("hung-{name}-{number}")));
            waiting.spawn(async move { client.send(request).await.map(drop) });
        }
        world.issuer.wait_for(INTROSPECTION, before + SHARE, DEADLINE).await.unwrap();
        let response = client.send(request("/accounts", &remember(format!("new-{name}")))).await.unwrap();
        assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (429, &"5".parse().unwrap()));
        assert!(!response.headers().contains_key("www-authenticate"));
        assert_eq!(world.gateway.record_of(&response)["code"], "introspection_share_exceeded");
        assert_eq!(asked(&world).len(), before + SHARE);
        let other = request("/accounts", &remember(format!("control-{name}")));
        assert_eq!(world.judge_from(&second, other).await, refused("token_inactive"), "control: another client");
    }
    assert_eq!((counted(&world, "share_exceeded").await, counted(&world, "busy").await), (2, 0));
    waiting.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn int_20_the_calls_of_one_client_are_not_waited_for_by_another() {
    let world = World::with(|scene| scene.introspected(", timeout: 9s, max_calls: 4")).await;
    leave_hung_tokens_unanswered(&world);
    let (mut waiting, honest) = (JoinSet::new(), world.client());
    for number in 0..16 {
        let (client, request) = (world.anonymous(), request("/accounts", &format!("hung-{number}")));
        waiting.spawn(async move { client.send(request).await.map(drop) });
    }
    world.issuer.wait_for(INTROSPECTION, 2, DEADLINE).await.unwrap();
    for number in 0..4 {
        let other = world.judge_from(&honest, request("/accounts", &remember(format!("other-{number}"))));
        let judged = tokio::time::timeout(DEADLINE / 4, other).await.expect("at once");
        assert_eq!(judged, refused("token_inactive"));
    }
    assert_eq!(asked(&world).iter().filter(|question| hung(question)).count(), 2, "half of the calls");
    waiting.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn int_20_clients_that_hang_up_do_not_leave_calls_behind() {
    let world = World::with(|scene| {
        scene.introspected(", timeout: 1s, max_calls: 8, max_waiting: 40, max_waiting_per_client: 40")
    })
    .await;
    world.issuer.script(INTROSPECTION, Answer::hanging());
    let mut clients = JoinSet::new();
    for number in 0..30 {
        let (client, request) = (world.client(), request("/accounts", &format!("left-{number}")));
        clients.spawn(async move { client.send(request).await.map(|_| ()) });
    }
    world.issuer.wait_for(INTROSPECTION, 4, DEADLINE).await.unwrap();
    clients.shutdown().await;
    world.issuer.unscript(INTROSPECTION);
    // Each request that is still waiting is abandoned when its timeout expires.
    let recovered = async {
        while judge_new(&world).await != ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, recovered).await.expect("the gateway recovers");
    let about = asked(&world).iter().map(token_of).filter(|token| token.starts_with("left-")).collect::<Vec<_>>();
    let different: HashSet<_> = about.iter().collect();
    assert_eq!(different.len(), about.len(), "no request is repeated for a client that has disconnected");
}

#[tokio::test(flavor = "multi_thread")]
async fn int_14_int_20_atk_sz_06_random_tokens_neither_pile_up_nor_displace_good_ones() {
    const CONNECTIONS: usize = 4;
    let more = ", max_calls: 8, max_waiting: 100, cache: { max_entries: 100 }";
    let world = World::with(|scene| scene.introspected(more)).await;
    let good: Vec<_> = (0..20).map(|_| world.opaque(&world.token())).collect();
    for token in &good {
        assert_eq!(judge(&world, token).await, ok());
    }
    world.issuer.clear();
    let mut storm = JoinSet::new();
    for connection in 0..CONNECTIONS {
        let open = world.client().h2().connect().await.unwrap();
        for number in 0..500 {
            let mut stream = open.another().expect("HTTP/2");
            let request = request("/accounts", &format!("random-{connection}-{number}"));
            storm.spawn(async move { stream.send(request).await.unwrap().status().as_u16() });
        }
    }
    for token in &good {
        assert_eq!(judge(&world, token).await, ok(), "a cached token does not wait");
    }
    let statuses = storm.join_all().await;
    assert!(statuses.iter().all(|status| matches!(status, 401 | 429 | 503)), "never anything else");
    assert!(asked(&world).iter().all(|question| token_of(question).starts_with("random-")));
    for token in &good {
        assert_eq!(judge(&world, token).await, ok());
    }
    assert!(
        asked(&world).iter().all(|question| token_of(question).starts_with("random-")),
        "a cached token is not evicted"
    );
    let entries = world.gateway.admin("/metrics").await.1;
    assert!(entries.contains("fapi_gateway_token_cache_entries 20\n"), "refused tokens take no room from active ones");
}

#[tokio::test(flavor = "multi_thread")]
async fn int_14_a_full_memory_refuses_nobody_and_lets_nobody_in() {
    let world = World::with(|scene| scene.introspected(", cache: { max_entries: 10 }")).await;
    let good: Vec<_> = (0..50).map(|_| world.opaque(&world.token())).collect();
    let bad: Vec<_> = (0..50).map(|_| world.opaque(&world.token())).collect();
    bad.iter().for_each(|token| world.issuer.revoke(token));
    for _ in 0..2 {
        for (good, bad) in good.iter().zip(&bad) {
            assert_eq!(judge(&world, good).await, ok());
            assert_eq!(judge(&world, bad).await.0, 401);
        }
    }
    let text = world.gateway.admin("/metrics").await.1;
    let line = text.lines().find(|line| line.starts_with("fapi_gateway_token_cache_entries ")).unwrap();
    assert!(line.rsplit(' ').next().unwrap().parse::<u32>().unwrap() <= 10, "{line}");
    let none = Answer::json(StatusCode::OK, json!({}));
    world.issuer.script(INTROSPECTION, none);
    assert_eq!(judge_new(&world).await, unavailable(), "control: the endpoint is still asked");
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_19_a_proof_that_becomes_too_old_while_the_issuer_is_asked_is_stale() {
    let world = World::with(|scene| scene.introspected("")).await;
    let key = SigningKey::generate(KeyKind::Es256, "proof");
    for (age, code) in [(40, "ok"), (50, "dpop_stale")] {
        let claims = world.token().bound_to_key(key.thumbprint());
        let token = world.opaque(&claims);
        let proof = Proof::new("GET", &format!("{ORIGIN}/accounts"), world.clock.now() - age).for_token(&token);
        let (clock, mut answer) = (world.clock.clone(), claims.claims());
        answer["active"] = json!(true);
        world.issuer.script(
            INTROSPECTION,
            Script::Function(Box::new(move |_| {
                clock.advance(15);
                Answer::json(StatusCode::OK, answer.clone())
            })),
        );
        assert_eq!(world.judge(dpop_request("/accounts", &token, &proof.sign(&key))).await.1, code, "{age}");
    }
}
