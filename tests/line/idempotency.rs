//! Idempotency keys: one names one request of one client, at all replicas, and who repeats it is let through with it (UK-05, UK-06,
//! BR-19).

use std::collections::BTreeSet;

use bytes::Bytes;
use fapi::code::Code;
use http::{Method, Request, Response, header};
use sandbox::pki::Credential;
use sandbox::tokens::Proof;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::ecosystems::of_participant;
use crate::support::client::Client;
use crate::support::redis::Redis;
use crate::support::{ORIGIN, Running, Scene, World};

/// The codes whose cases are here.
pub(super) fn codes() -> BTreeSet<Code> {
    [Code::IdempotencyKeyReused, Code::IdempotencyShareExceeded, Code::IdempotencyKeysUnavailable].into()
}

const SCOPES: &str = "    scopes: { any: [payments, accounts] }\n";

/// A scene whose payments have keys; `more` are other keys of their route.
fn keyed(scene: Scene, idempotency_key: &str, more: &str) -> Scene {
    scene.replace(SCOPES, &format!("{SCOPES}    idempotency_key: {idempotency_key}\n{more}"))
}

async fn world() -> World {
    World::with(|scene| keyed(scene, "required", "")).await
}

/// A payment of the client of this certificate.
fn payment_of(world: &World, client: (&str, &Credential), keys: &[&str], body: impl Into<Bytes>) -> Request<Bytes> {
    let (client_id, certificate) = client;
    let token = world.issuer.token(world.clock.now()).bound_to_certificate(certificate).claim("client_id", client_id);
    let mut request = Request::post(format!("{ORIGIN}/payments"))
        .header(header::AUTHORIZATION, format!("Bearer {}", world.sign(&token)))
        .header(header::CONTENT_TYPE, "application/json");
    for key in keys {
        request = request.header("x-idempotency-key", *key);
    }
    request.body(body.into()).unwrap()
}

fn payment(world: &World, key: &str, body: impl Into<Bytes>) -> Request<Bytes> {
    payment_of(world, ("client-1", &world.c1), &[key], body)
}

/// Sends a request to a gateway and returns the response with its record, which is the only one that reached the upstream if the
/// code is `ok`.
async fn judge_at(
    world: &World,
    gateway: &Running,
    client: &Client,
    request: Request<Bytes>,
) -> (Response<Bytes>, Value) {
    let before = world.accounts.server().heads();
    let response = client.send(request).await.unwrap();
    let record = gateway.record_of(&response);
    let went_up = world.accounts.server().heads() - before;
    assert_eq!(went_up, usize::from(record["code"] == "ok"), "{record}");
    (response, record)
}

async fn judge(world: &World, request: Request<Bytes>) -> (u16, String) {
    let (response, record) = judge_at(world, &world.gateway, &world.client(), request).await;
    (response.status().as_u16(), record["code"].as_str().unwrap().to_owned())
}

fn ok() -> (u16, String) {
    (201, "ok".to_owned())
}

fn reused() -> (u16, String) {
    (422, "idempotency_key_reused".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn uk_05_a_payment_has_one_key_of_at_most_40_characters() {
    let world = world().await;
    let longest = "0123456789012345678901234567890123456789";
    assert_eq!(judge(&world, payment(&world, longest, "{}")).await, ok(), "control");
    let seen = world.accounts.requests().pop().unwrap();
    assert_eq!(seen.header("x-idempotency-key"), Some(longest));
    let client = ("client-1", &world.c1);
    for (keys, code) in [
        (&[][..], "header_missing"),
        (&["01234567890123456789012345678901234567890"], "header_invalid"),
        (&["a b"], "header_invalid"),
        (&["a", "a"], "header_invalid"),
    ] {
        assert_eq!(judge(&world, payment_of(&world, client, keys, "{}")).await, (400, code.to_owned()), "{keys:?}");
    }
    let mut another_name = payment(&world, "a", "{}");
    another_name.headers_mut().insert("x_idempotency_key", "b".parse().unwrap());
    assert_eq!(judge(&world, another_name).await.0, 400, "some servers read both as one name");
    // Nobody knows whose it would be.
    let mut request = payment(&world, "a", "{}");
    let token = world.sign(&world.token().without("client_id"));
    request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    let (_, code) = judge(&world, request).await;
    assert!(["claim_refused", "token_claim_missing"].contains(&&*code), "{code}");
}

#[tokio::test(flavor = "multi_thread")]
async fn uk_06_who_repeats_a_payment_is_let_through_and_who_changes_it_is_not() {
    let world = world().await;
    for (client, key) in [(world.client().h1(), "one"), (world.client().h2(), "two")] {
        let judge = async |request| judge_at(&world, &world.gateway, &client, request).await.1["code"].clone();
        assert_eq!(judge(payment(&world, key, "{\"amount\":1}")).await, "ok", "control");
        for _ in 0..2 {
            assert_eq!(judge(payment(&world, key, "{\"amount\":1}")).await, "ok");
            let seen = world.accounts.requests().pop().unwrap();
            assert_eq!((seen.header("x-idempotency-key"), &*seen.body), (Some(key), &b"{\"amount\":1}"[..]));
        }
        for body in ["{\"amount\":2}", "{\"amount\":1} ", ""] {
            assert_eq!(judge(payment(&world, key, body)).await, "idempotency_key_reused", "{body}");
        }
        let mut elsewhere = payment(&world, key, "{\"amount\":1}");
        *elsewhere.uri_mut() = format!("{ORIGIN}/payments?to=DE02").parse().unwrap();
        assert_eq!(judge(elsewhere).await, "idempotency_key_reused", "another target");
        assert_eq!(
            judge(payment(&world, "another", key)).await,
            if key == "one" { "ok" } else { "idempotency_key_reused" }
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_one_of_its_client_alone() {
    let world = world().await;
    assert_eq!(judge(&world, payment(&world, "key", "{\"amount\":1}")).await, ok());
    let theirs = |body: &'static str| payment_of(&world, ("client-2", &world.c2), &["key"], body);
    let other = world.anonymous().certificate(&world.c2);
    let judged = async |body| judge_at(&world, &world.gateway, &other, theirs(body)).await.1["code"].clone();
    assert_eq!(judged("{\"amount\":2}").await, "ok", "it says nothing of what another used it for");
    assert_eq!(judged("{\"amount\":1}").await, "idempotency_key_reused");
    assert_eq!(judge(&world, payment(&world, "key", "{\"amount\":1}")).await, ok(), "nor does it take it away");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_refused_uses_up_no_key() {
    let world = World::with(|scene| keyed(scene, "required", "    require: { subject: required }\n")).await;
    let refused = |adjust: fn(&World, &mut Request<Bytes>)| {
        let mut request = payment(&world, "key", "{\"amount\":2}");
        adjust(&world, &mut request);
        request
    };
    let authorization = |request: &mut Request<Bytes>, token: String| {
        request.headers_mut().insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    };
    let mut without_scope = refused(|_, _| {});
    authorization(&mut without_scope, world.sign(&world.token().scope("other")));
    assert_eq!(judge(&world, without_scope).await.1, "scope_insufficient");
    let mut stolen = refused(|_, _| {});
    let token = world.issuer.token(world.clock.now()).bound_to_certificate(&world.c2);
    authorization(&mut stolen, world.sign(&token));
    assert_eq!(judge(&world, stolen).await.1, "certificate_mismatch");
    let mut form = refused(|_, request| *request.body_mut() = "amount=2&access_token=x".into());
    form.headers_mut().insert(header::CONTENT_TYPE, "application/x-www-form-urlencoded".parse().unwrap());
    assert_eq!(judge(&world, form).await.1, "credentials_repeated");
    // A proof that was seen, with another payment.
    let holder = world.holder();
    let proof = Proof::new("POST", &format!("{ORIGIN}/payments"), world.clock.now()).for_token(&holder.token);
    let proven = |key: &str, body: &'static str| {
        let mut request = payment(&world, key, body);
        request.headers_mut().insert(header::AUTHORIZATION, format!("DPoP {}", holder.token).parse().unwrap());
        request.headers_mut().insert("dpop", proof.sign(&holder.key).parse().unwrap());
        request
    };
    assert_eq!(judge(&world, proven("first", "{}")).await, ok(), "control");
    assert_eq!(judge(&world, proven("key", "{\"amount\":2}")).await.1, "dpop_replayed");
    assert_eq!(judge(&world, payment(&world, "key", "{\"amount\":1}")).await, ok());
    assert_eq!(judge(&world, payment(&world, "key", "{\"amount\":2}")).await, reused(), "control");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_key_a_payment_passes_where_one_is_judged_when_present_and_reads_need_none() {
    let world = World::with(|scene| {
        keyed(scene, "when_present", "").replace("    methods: [POST]\n", "    methods: [GET, POST]\n")
    })
    .await;
    let client = ("client-1", &world.c1);
    for _ in 0..2 {
        assert_eq!(judge(&world, payment_of(&world, client, &[], "{}")).await, ok());
    }
    assert_eq!(judge(&world, payment(&world, "key", "{}")).await, ok());
    assert_eq!(judge(&world, payment(&world, "key", "[]")).await, reused());
    assert_eq!(judge(&world, payment_of(&world, client, &["a b"], "{}")).await.1, "header_invalid");
    let mut read = payment(&world, "key", "");
    *read.method_mut() = Method::GET;
    assert_eq!(judge(&world, read).await.1, "ok", "its key names nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn uk_05_a_key_is_forgotten_after_24_hours_or_when_the_route_says() {
    for (says, seconds) in [("required", 24 * 60 * 60), ("{ presence: required, keep: 1h }", 60 * 60)] {
        let world = World::with(|scene| keyed(scene, says, "")).await;
        assert_eq!(judge(&world, payment(&world, "key", "1")).await, ok());
        world.clock.advance(seconds - 1);
        assert_eq!(judge(&world, payment(&world, "key", "2")).await, reused(), "{says}");
        world.clock.advance(1);
        assert_eq!(judge(&world, payment(&world, "key", "2")).await, ok(), "{says}");
        assert_eq!(judge(&world, payment(&world, "key", "1")).await, reused(), "{says}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_payments_at_once_with_one_key_one_passes_and_of_the_same_one_all_do() {
    let world = world().await;
    let mut passed = BTreeSet::new();
    let mut sending = JoinSet::new();
    for number in 0..32 {
        let (client, body) = (world.client().h2(), if number % 2 == 0 { "1" } else { "2" });
        let request = payment(&world, "key", body);
        sending.spawn(async move { (body, client.send(request).await.unwrap().status().as_u16()) });
    }
    let mut statuses = Vec::new();
    while let Some(ended) = sending.join_next().await {
        let (body, status) = ended.unwrap();
        statuses.push(status);
        if status == 201 {
            passed.insert(body);
        }
    }
    assert_eq!(passed.len(), 1, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 201).count(), 16, "{statuses:?}");
    assert_eq!(statuses.iter().filter(|status| **status == 422).count(), 16, "{statuses:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_compared_as_a_whole_and_goes_up_as_it_came() {
    let world = World::with(|scene| keyed(scene, "required", "    limits: { body_bytes: 1MiB }\n")).await;
    let largest = vec![b'x'; 1 << 20];
    for (client, key) in [(world.client().h1(), "one"), (world.client().h2(), "two")] {
        for _ in 0..2 {
            world.accounts.clear();
            let request = payment(&world, key, largest.clone());
            assert_eq!(judge_at(&world, &world.gateway, &client, request).await.1["code"], "ok");
            assert!(world.accounts.requests().remove(0).body == largest);
        }
        let mut changed = largest.clone();
        *changed.last_mut().unwrap() = b'y';
        let request = payment(&world, key, changed);
        assert_eq!(judge_at(&world, &world.gateway, &client, request).await.1["code"], "idempotency_key_reused");
        let mut longer = largest.clone();
        longer.push(b'x');
        let response = client.send(payment(&world, "three", longer)).await.unwrap();
        assert_eq!(response.status(), 413);
    }
    // In chunks.
    let token = world.sign(&world.token());
    let chunked = |last: &str| {
        format!(
            "POST /payments HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nX-Idempotency-Key: chunks\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n1\r\na\r\n1\r\n{last}\r\n0\r\n\r\n"
        )
    };
    for (last, status) in [("b", "201"), ("b", "201"), ("c", "422")] {
        let answer = String::from_utf8(world.client().raw(chunked(last).as_bytes()).await).unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    assert_eq!(judge(&world, payment(&world, "chunks", "ab")).await, ok(), "however it is framed");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_client_uses_up_its_share_and_nothing_else() {
    let world = World::with(|scene| {
        keyed(scene, "required", "")
            .replace("upstreams:\n", "replay: { max_entries: 1000, max_entries_per_key: 100 }\nupstreams:\n")
    })
    .await;
    for number in 0..100 {
        assert_eq!(judge(&world, payment(&world, &format!("key-{number}"), "{}")).await, ok());
    }
    let (response, record) = judge_at(&world, &world.gateway, &world.client(), payment(&world, "one-more", "{}")).await;
    assert_eq!((response.status().as_u16(), &record["code"]), (429, &json!("idempotency_share_exceeded")));
    assert!(response.headers().contains_key(header::RETRY_AFTER));
    assert_eq!(judge(&world, payment(&world, "key-7", "{}")).await, ok(), "what is known needs no room");
    let other = world.anonymous().certificate(&world.c2);
    let theirs = payment_of(&world, ("client-2", &world.c2), &["one-more"], "{}");
    assert_eq!(judge_at(&world, &world.gateway, &other, theirs).await.1["code"], "ok");
    world.clock.advance(24 * 60 * 60);
    assert_eq!(judge(&world, payment(&world, "one-more", "{}")).await, ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn in_shadow_what_a_key_is_not_is_noted() {
    let day = crate::support::day(sandbox::now() + 2 * 24 * 60 * 60);
    let world =
        World::with(|scene| keyed(scene, "required", &format!("    enforce: {{ shadow: until {day} }}\n"))).await;
    let client = ("client-1", &world.c1);
    for (request, noted) in [
        (payment(&world, "key", "1"), Value::Null),
        (payment(&world, "key", "2"), json!("idempotency_key_reused")),
        (payment(&world, "key", "1"), Value::Null),
        (payment_of(&world, client, &[], "1"), json!("header_missing")),
        (payment_of(&world, client, &["a b"], "1"), json!("header_invalid")),
    ] {
        let (response, record) = judge_at(&world, &world.gateway, &world.client(), request).await;
        assert_eq!((response.status().as_u16(), &record["would_deny"]), (201, &noted), "{record}");
    }
    // Nor does somebody with a stolen token use up a key of its client.
    let thief = world.anonymous().certificate(&world.c2);
    let (_, record) = judge_at(&world, &world.gateway, &thief, payment(&world, "next", "1")).await;
    assert_eq!(record["would_deny"], "certificate_mismatch");
    let (_, record) = judge_at(&world, &world.gateway, &world.client(), payment(&world, "next", "2")).await;
    assert_eq!(record["would_deny"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn uk_06_br_19_an_ecosystem_has_a_status_and_a_code_of_its_own() {
    for (ecosystem, status, pointer, code) in [
        ("uk-obie-3.1", 400, "/Errors/0/ErrorCode", "UK.OBIE.Header.Invalid"),
        ("uk-obie-4.0", 400, "/Errors/0/ErrorCode", "U006"),
        ("brazil", 422, "/errors/0/code", "ERRO_IDEMPOTENCIA"),
        ("ksa", 400, "/Errors/0/ErrorCode", "UK.OBIE.Header.Invalid"),
        ("fdx", 422, "/code", "422"),
    ] {
        let profile = format!("profile: {{ base: fapi2-security, ecosystem: {ecosystem} }}\n");
        let world = of_participant(
            World::with(|scene| keyed(scene, "required", "").replace("profile: fapi2-security\n", &profile)).await,
            ecosystem,
        );
        let sent = |body: &'static str| {
            let mut request = payment(&world, "key", body);
            let id = uuid::Uuid::new_v4().to_string().parse().unwrap();
            request.headers_mut().insert("x-fapi-interaction-id", id);
            request
        };
        assert_eq!(judge(&world, sent("1")).await, ok(), "{ecosystem}");
        let (response, record) = judge_at(&world, &world.gateway, &world.client(), sent("2")).await;
        assert_eq!(record["code"], "idempotency_key_reused");
        assert_eq!((response.status().as_u16(), &record["status"]), (status, &json!(status)), "{ecosystem}");
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        assert_eq!(body.pointer(pointer), Some(&json!(code)), "{ecosystem}: {body}");
    }
}

/// A scene whose payments have keys, which are in the store at this port.
fn keyed_in(scene: Scene, port: u16) -> Scene {
    let store = format!(
        "stores: {{ shared: {{ servers: [\"redis://127.0.0.1:{port}\"], timeout: 1s }} }}\nreplay: {{ store: shared }}\nupstreams:\n"
    );
    keyed(scene, "required", "").replace("upstreams:\n", &store)
}

/// One more gateway that accepts the same tokens.
async fn another(world: &World, adjust: impl FnOnce(Scene) -> Scene) -> Running {
    let scene = Scene::new(&world.authority, world.issuer.issuer(), world.accounts.address());
    let gateway = Running::start(adjust(scene), &world.clock).await;
    gateway.ready().await;
    gateway
}

/// A replica, and the client that pays there.
struct Replica<'w> {
    world: &'w World,
    gateway: &'w Running,
    client: Client,
}

impl<'w> Replica<'w> {
    fn of(world: &'w World, gateway: &'w Running) -> Self {
        let client = Client::new(gateway.address(), &world.authority).origin(ORIGIN).certificate(&world.c1);
        Self { world, gateway, client }
    }

    /// The code of a payment with this key and body.
    async fn code(&self, key: &str, body: &'static str) -> Value {
        let payment = payment(self.world, key, body);
        judge_at(self.world, self.gateway, &self.client, payment).await.1["code"].clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uk_06_a_key_names_one_request_at_all_replicas_and_none_passes_while_the_store_is_silent() {
    let redis = Redis::start(&[]);
    let adjust = |scene| keyed_in(scene, redis.port());
    let world = World::with(adjust).await;
    let other = another(&world, adjust).await;
    let (one, other) = (Replica::of(&world, &world.gateway), Replica::of(&world, &other));
    assert_eq!(one.code("secret-key", "1").await, "ok");
    assert_eq!(
        (other.code("secret-key", "1").await, other.code("secret-key", "2").await),
        (json!("ok"), json!("idempotency_key_reused"))
    );
    assert_eq!(
        (one.code("secret-key", "2").await, one.code("secret-key", "1").await),
        (json!("idempotency_key_reused"), json!("ok"))
    );
    // The store has hashes, for a day.
    let keys = redis.cli(&["KEYS", "fapi:i:*"]);
    assert!(!keys.contains("secret") && keys.lines().count() == 1, "{keys}");
    let left: u64 = redis.cli(&["PTTL", keys.trim()]).trim().parse().unwrap();
    assert!((86_000_000..=86_400_000).contains(&left), "{left}");
    // What the store has forgotten is known here, and accepted by whoever did not know it.
    redis.cli(&["DEL", keys.trim()]);
    assert_eq!(one.code("secret-key", "2").await, "idempotency_key_reused");
    redis.pause();
    let before = world.accounts.server().heads();
    let response = one.client.send(payment(&world, "next", "1")).await.unwrap();
    let record = world.gateway.record_of(&response);
    assert_eq!(
        (response.status().as_u16(), &record["code"]),
        (503, &json!("idempotency_keys_unavailable")),
        "{record}"
    );
    assert!(response.headers().contains_key(header::RETRY_AFTER));
    assert_eq!(world.accounts.server().heads(), before);
    redis.resume();
    let mut answer = json!(null);
    for _ in 0..200 {
        answer = one.code("next", "1").await;
        if answer == "ok" {
            break;
        }
    }
    assert_eq!(answer, "ok", "the client sends it again");
    assert_eq!(other.code("next", "2").await, "idempotency_key_reused");
}

#[tokio::test(flavor = "multi_thread")]
async fn uk_05_a_replica_that_saw_a_payment_again_keeps_its_key_no_longer_than_the_one_that_saw_it_first() {
    let redis = Redis::start(&[]);
    let adjust = |scene| keyed_in(scene, redis.port());
    let world = World::with(adjust).await;
    let other = another(&world, adjust).await;
    let (one, other) = (Replica::of(&world, &world.gateway), Replica::of(&world, &other));
    assert_eq!(one.code("key", "1").await, "ok");
    world.clock.advance(23 * 60 * 60);
    assert_eq!(
        (other.code("key", "1").await, other.code("key", "2").await),
        (json!("ok"), json!("idempotency_key_reused"))
    );
    assert_eq!(other.code("later", "1").await, "ok");
    world.clock.advance(2 * 60 * 60);
    // The clock of the store goes on by itself: it forgets what is over.
    let keys = redis.cli(&["KEYS", "fapi:i:*"]);
    let over: Vec<&str> = ["DEL"].into_iter().chain(keys.split_whitespace()).collect();
    assert_eq!(redis.cli(&over).trim(), "2");
    assert_eq!(other.code("later", "2").await, "idempotency_key_reused", "control: that one was new there");
    assert_eq!(other.code("key", "2").await, "ok");
    assert_eq!(one.code("key", "1").await, "idempotency_key_reused");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_without_room_asks_the_store_before_it_refuses_a_payment_that_another_saw() {
    let redis = Redis::start(&[]);
    let adjust = |scene| keyed_in(scene, redis.port());
    let world = World::with(adjust).await;
    let small = |scene: Scene| {
        let small = "replay: { store: shared, max_entries: 1000, max_entries_per_key: 100 }";
        adjust(scene).replace("replay: { store: shared }", small)
    };
    let other = another(&world, small).await;
    let (one, other) = (Replica::of(&world, &world.gateway), Replica::of(&world, &other));
    assert_eq!(one.code("elsewhere", "1").await, "ok");
    for number in 0..100 {
        assert_eq!(other.code(&format!("key-{number}"), "1").await, "ok");
    }
    assert_eq!(other.code("new", "1").await, "idempotency_share_exceeded", "control");
    assert_eq!(other.code("elsewhere", "1").await, "ok", "it is known, and needs no room");
    assert_eq!(other.code("elsewhere", "2").await, "idempotency_key_reused");
    assert_eq!(other.code("new", "1").await, "idempotency_share_exceeded");
    assert_eq!(one.code("new", "2").await, "ok", "what is refused for lack of room is noted nowhere");
    redis.pause();
    let response = other.client.send(payment(&world, "elsewhere", "1")).await.unwrap();
    assert_eq!(other.gateway.record_of(&response)["code"], "idempotency_keys_unavailable", "nobody can tell");
    redis.resume();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_payments_at_once_at_two_replicas_with_one_key_one_passes() {
    let redis = Redis::start(&[]);
    let adjust = |scene| keyed_in(scene, redis.port());
    let world = World::with(adjust).await;
    let other = another(&world, adjust).await;
    let clients = [world.client(), Replica::of(&world, &other).client];
    for number in 0..50 {
        let key = format!("key-{number}");
        let sent = |client: usize, body: &'static str| {
            let (client, request) = (clients[client].clone(), payment(&world, &key, body));
            async move { client.send(request).await.unwrap().status().as_u16() }
        };
        let mut statuses: [u16; 2] = tokio::join!(sent(0, "1"), sent(1, "2")).into();
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 422], "{key}");
        let same: [u16; 2] = tokio::join!(sent(0, "1"), sent(1, "1")).into();
        assert!(same == [201, 201] || same == [422, 422], "{key}: {same:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_forgets_no_key() {
    let world = world().await;
    assert_eq!(judge(&world, payment(&world, "key", "1")).await, ok());
    world.reload(1, |yaml| yaml.replace("header_bytes: 32KiB", "header_bytes: 31KiB")).await;
    assert_eq!(judge(&world, payment(&world, "key", "2")).await, reused());
    assert_eq!(judge(&world, payment(&world, "key", "1")).await, ok());
}
