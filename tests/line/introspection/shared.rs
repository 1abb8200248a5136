//! Replicas that share the answers of an issuer in a Redis server: the second one need not ask, and what is in the server is
//! believed no further than the issuer's own answer would be.

use std::time::Duration;

use http::Request;
use sandbox::authorization_server::ResourceServer;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{asked, instant, ok, refused};
use crate::support::client::Client;
use crate::support::redis::Redis;
use crate::support::{DEADLINE, ORIGIN, Running, Scene, World, remember, request};

const KEY: &str = "0a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021222324252627280a";
const NEXT_KEY: &str = "1a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021222324252627280a";

/// Two gateways that ask the same issuer, the second of which has asked nothing yet, and what they share.
struct Replicas {
    world: World,
    other: Running,
    redis: Redis,
}

impl Replicas {
    async fn start() -> Self {
        Self::with(|scene| scene, |scene| scene).await
    }

    /// With changes to both, and then to the second alone.
    async fn with(both: impl Fn(Scene) -> Scene, other: impl FnOnce(Scene) -> Scene) -> Self {
        let redis = Redis::start(&[]);
        let shared = |scene: Scene| both(sharing(scene, redis.port()));
        let world = World::with(shared).await;
        let other = other_of(&world, |scene| other(shared(scene))).await;
        Self { world, other, redis }
    }

    /// A good token that the first gateway has asked about; its answer is shared.
    async fn known(&self) -> String {
        self.known_as(&self.world.token()).await
    }

    async fn known_as(&self, token: &sandbox::tokens::AccessToken) -> String {
        let token = self.world.opaque(token);
        let before = count(&self.world.gateway, STORED).await;
        assert_eq!(judge_at(&self.world, &self.world.gateway, &token).await, ok());
        self.stored(before + 1).await;
        token
    }

    /// Waits until the first gateway has shared so many answers.
    async fn stored(&self, number: u64) {
        let reached = async { while count(&self.world.gateway, STORED).await < number {} };
        timeout(DEADLINE, reached).await.expect("the answer is shared");
    }

    async fn judge(&self, token: &str) -> (u16, String) {
        judge_at(&self.world, &self.other, token).await
    }

    /// How often the issuer is asked while the second gateway judges this token, and the verdict.
    async fn judged(&self, token: &str) -> (usize, (u16, String)) {
        let before = asked(&self.world).len();
        let verdict = self.judge(token).await;
        (asked(&self.world).len() - before, verdict)
    }

    /// The keys of shared answers.
    fn keys(&self) -> Vec<String> {
        let keys = self.redis.cli(&["--raw", "KEYS", "fapi:i:*"]);
        keys.lines().filter(|key| !key.is_empty()).map(str::to_owned).collect()
    }

    /// The key of the answer that is shared while a good token is used for the first time.
    async fn known_with_key(&self) -> (String, String) {
        let before = self.keys();
        let token = self.known().await;
        let new: Vec<String> = self.keys().into_iter().filter(|key| !before.contains(key)).collect();
        assert_eq!(new.len(), 1, "{new:?}");
        (token, new[0].clone())
    }

    /// Changes what is under a key by a script, in which it is `KEYS[1]`.
    fn change(&self, key: &str, script: &str) {
        let said = self.redis.cli(&["EVAL", script, "1", key]);
        assert!(!said.contains("ERR"), "{script}: {said}");
    }
}

/// A scene whose introspection answers are shared; its times are so long that a slow machine does not matter.
fn sharing(scene: Scene, port: u16) -> Scene {
    scene
        .introspected(", timeout: 20s, cache: { store: shared, seal_key: seal.key, max_age: 200s }")
        .file("seal.key", KEY)
        .replace(
            "upstreams:\n",
            &format!("stores: {{ shared: {{ servers: [\"redis://127.0.0.1:{port}\"], timeout: 5s }} }}\nupstreams:\n"),
        )
        .replace("\"127.0.0.1:0\" }", "\"127.0.0.1:0\", revocations: { keep: 1h } }")
}

/// Another gateway with the same client at the same issuer.
async fn other_of(world: &World, adjust: impl FnOnce(Scene) -> Scene) -> Running {
    let key =
        std::fs::read_to_string(world.gateway.folder().path().join("gateway.pem")).expect("the key of the client");
    let scene = Scene::new(&world.authority, world.issuer.issuer(), world.accounts.address());
    let other = Running::start(adjust(scene).file("gateway.pem", &key), &world.clock).await;
    other.ready().await;
    other
}

async fn send(world: &World, gateway: &Running, request: Request<bytes::Bytes>) -> (u16, String) {
    let client = Client::new(gateway.address(), &world.authority).origin(ORIGIN).certificate(&world.c1);
    let response = client.send(request).await.expect("the gateway answers");
    let code = gateway.record_of(&response)["code"].as_str().unwrap_or_default().to_owned();
    (response.status().as_u16(), code)
}

async fn judge_at(world: &World, gateway: &Running, token: &str) -> (u16, String) {
    send(world, gateway, request("/accounts", token)).await
}

/// The value of a metric, by the beginning of its line.
async fn count(gateway: &Running, series: &str) -> u64 {
    let text = gateway.admin("/metrics").await.1;
    let line = text.lines().find_map(|line| line.strip_prefix(series)).unwrap_or_else(|| panic!("no {series}"));
    line.trim().parse().expect("a number")
}

const STORED: &str = "fapi_gateway_introspection_store_writes_total{issuer=\"bank\",outcome=\"stored\"}";

/// How many look-ups of a gateway went like this.
async fn looked_up(gateway: &Running, outcome: &str) -> u64 {
    count(gateway, &format!("fapi_gateway_introspection_store_lookups_total{{issuer=\"bank\",outcome=\"{outcome}\"}}"))
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn int_23_the_second_replica_does_not_ask_what_the_first_was_told() {
    let replicas = Replicas::start().await;
    let token = replicas.known().await;
    assert_eq!(replicas.judged(&token).await, (0, ok()));
    assert_eq!((looked_up(&replicas.other, "hit").await, looked_up(&replicas.other, "miss").await), (1, 0));
    assert_eq!(replicas.judged(&token).await, (0, ok()), "it is remembered");
    assert_eq!(looked_up(&replicas.other, "hit").await, 1);
    // Each request is judged by its own sender and route all the same.
    let stranger = Client::new(replicas.other.address(), &replicas.world.authority).origin(ORIGIN);
    let response = stranger.certificate(&replicas.world.c2).send(request("/accounts", &token)).await.unwrap();
    assert_eq!(replicas.other.record_of(&response)["code"], "certificate_mismatch");
    // Control: without a store, it asks.
    let alone = other_of(&replicas.world, |scene| scene.introspected("")).await;
    let before = asked(&replicas.world).len();
    assert_eq!(judge_at(&replicas.world, &alone, &token).await, ok());
    assert_eq!(asked(&replicas.world).len(), before + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn att_a5_what_is_in_the_store_says_nothing_to_its_reader_and_ends() {
    let replicas = Replicas::start().await;
    let (token, key) = replicas.known_with_key().await;
    assert_eq!(key.len(), "fapi:i:".len() + 43);
    let size: usize = replicas.redis.cli(&["STRLEN", &key]).parse().unwrap();
    assert_eq!((size - 29) % 256, 0, "it is padded");
    for word in [&token[..], "customer-1", "accounts", "active", replicas.world.issuer.issuer()] {
        let script = format!("return string.find(redis.call('GET', KEYS[1]) .. KEYS[1], '{word}', 1, true) or 'no'");
        assert_eq!(replicas.redis.cli(&["EVAL", &script, "1", &key]), "no", "{word}");
    }
    let milliseconds: u64 = replicas.redis.cli(&["PTTL", &key]).parse().unwrap();
    // 200 seconds, without those by which clocks may differ.
    assert!((1..=189_000).contains(&milliseconds), "{milliseconds}");
    assert_eq!(replicas.judged(&token).await, (0, ok()), "control");
}

#[tokio::test(flavor = "multi_thread")]
async fn int_23_what_somebody_else_wrote_is_not_believed_and_the_issuer_is_asked() {
    let replicas = Replicas::start().await;
    let set = "redis.call('SET', KEYS[1], VALUE, 'KEEPTTL')";
    let got = "redis.call('GET', KEYS[1])";
    let flip =
        |offset: usize| format!("redis.call('SETBIT', KEYS[1], {offset}, 1 - redis.call('GETBIT', KEYS[1], {offset}))");
    for (what, script, outcome) in [
        ("another version", flip(0), "unusable"),
        ("another nonce", flip(8 * 5), "unusable"),
        ("another text", flip(8 * 100), "unusable"),
        ("another tag", flip(8 * 284), "unusable"),
        ("cut off", set.replace("VALUE", &format!("string.sub({got}, 1, 200)")), "unusable"),
        ("longer", set.replace("VALUE", &format!("{got} .. 'x'")), "unusable"),
        ("something short", set.replace("VALUE", "'x'"), "unusable"),
        ("the answer itself", set.replace("VALUE", r#"'{"active":true}'"#), "unusable"),
        ("huge", set.replace("VALUE", "string.rep('x', 64 * 1024 * 1024)"), "unusable"),
        ("nothing", set.replace("VALUE", "''"), "miss"),
        ("gone", "redis.call('DEL', KEYS[1])".to_owned(), "miss"),
        ("a list", "redis.call('DEL', KEYS[1]); redis.call('RPUSH', KEYS[1], 'x')".to_owned(), "error"),
        ("a hash", "redis.call('DEL', KEYS[1]); redis.call('HSET', KEYS[1], 'x', 'y')".to_owned(), "error"),
    ] {
        let (token, key) = replicas.known_with_key().await;
        replicas.change(&key, &script);
        let before = looked_up(&replicas.other, outcome).await;
        assert_eq!(replicas.judged(&token).await, (1, ok()), "{what}");
        assert_eq!(looked_up(&replicas.other, outcome).await, before + 1, "{what}");
    }
    let token = replicas.known().await;
    assert_eq!(replicas.judged(&token).await, (0, ok()), "control: the same connection is still in use");
    let metrics = replicas.other.admin("/metrics").await.1;
    assert!(metrics.contains("fapi_gateway_store_connected{store=\"shared\"} 1\n"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn int_11_atk_ca_03_the_answer_about_one_token_is_none_about_another() {
    let replicas = Replicas::start().await;
    let (token, key) = replicas.known_with_key().await;
    let (revoked, place) = replicas.known_with_key().await;
    replicas.world.issuer.revoke(&revoked);
    assert_eq!(replicas.redis.cli(&["COPY", &key, &place, "REPLACE"]), "1");
    assert_eq!(replicas.judged(&revoked).await, (1, refused("token_inactive")));
    assert_eq!(replicas.judged(&token).await, (0, ok()), "control: at its own place");
}

#[tokio::test(flavor = "multi_thread")]
async fn int_08_atk_ca_04_an_answer_that_is_put_back_is_as_old_as_it_was() {
    let replicas = Replicas::start().await;
    let (token, key) = replicas.known_with_key().await;
    let (revoked, place) = replicas.known_with_key().await;
    for (key, copy) in [(&key, "one"), (&place, "two")] {
        assert_eq!(replicas.redis.cli(&["COPY", key, copy]), "1");
        assert_eq!(replicas.redis.cli(&["PERSIST", copy]), "1");
        assert_eq!(replicas.redis.cli(&["DEL", key]), "1");
    }
    replicas.world.issuer.revoke(&revoked);
    let put_back = |copy: &str, key: &str| assert_eq!(replicas.redis.cli(&["COPY", copy, key, "REPLACE"]), "1");
    // Within its bound it is an answer of that time, like one that a replica remembers.
    replicas.world.clock.advance(188);
    put_back("one", &key);
    assert_eq!(replicas.judged(&token).await, (0, ok()), "control");
    replicas.world.clock.advance(1);
    put_back("two", &place);
    assert_eq!(replicas.judged(&revoked).await, (1, refused("token_inactive")));
    assert_eq!(looked_up(&replicas.other, "unusable").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn int_08_a_clock_that_is_behind_does_not_make_an_answer_younger_than_clocks_may_differ() {
    let replicas = Replicas::start().await;
    let lasting = replicas.world.token().without("iat");
    let tokens = [replicas.known_as(&lasting).await, replicas.known_as(&lasting).await];
    replicas.world.clock.set_back(10);
    assert_eq!(replicas.judged(&tokens[0]).await, (0, ok()), "control");
    replicas.world.clock.set_back(1);
    assert_eq!(replicas.judged(&tokens[1]).await, (1, ok()));
    assert_eq!(looked_up(&replicas.other, "unusable").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn int_08_a_route_uses_no_answer_that_is_older_than_it_may_be() {
    let strict = |scene: Scene| {
        let payments = "scopes: { any: [payments, accounts] }\n";
        scene.replace(payments, &format!("{payments}    introspection_max_age: 15s\n"))
    };
    let replicas = Replicas::with(strict, |scene| scene).await;
    let payment = |token: &str| {
        let mut payment = request("/payments", token);
        *payment.method_mut() = http::Method::POST;
        payment
    };
    let tokens = [replicas.known().await, replicas.known().await];
    let Replicas { world, other, .. } = &replicas;
    world.clock.advance(3);
    assert_eq!(send(world, other, payment(&tokens[0])).await, (201, "ok".into()));
    assert_eq!(asked(world).len(), 2, "control: fourteen seconds at most");
    world.clock.advance(1);
    assert_eq!(replicas.judged(&tokens[1]).await, (0, ok()), "control: the other route may");
    assert_eq!(send(world, other, payment(&tokens[1])).await, (201, "ok".into()));
    assert_eq!(asked(world).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn int_07_atk_ca_04_a_shared_answer_never_outlives_exp() {
    let replicas = Replicas::start().await;
    let now = replicas.world.clock.now();
    let short = replicas.world.token().expires_at(now + 60);
    let (known, unknown) = (replicas.known_as(&short).await, replicas.known_as(&short).await);
    for key in replicas.keys() {
        let milliseconds: u64 = replicas.redis.cli(&["PTTL", &key]).parse().unwrap();
        assert!(milliseconds <= 60_000, "{milliseconds}");
        assert_eq!(replicas.redis.cli(&["PERSIST", &key]), "1");
    }
    assert_eq!(replicas.judged(&known).await, (0, ok()), "control");
    replicas.world.clock.advance(60);
    assert_eq!(replicas.judged(&known).await, (0, refused("token_expired")));
    assert_eq!(replicas.judge(&unknown).await.0, 401);
    assert_eq!(looked_up(&replicas.other, "unusable").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn int_16_a_revocation_at_one_replica_makes_it_ask_whatever_others_were_told() {
    let replicas = Replicas::start().await;
    let named = |name: &str| replicas.world.token().claim("jti", name);
    let (one, two) = (replicas.known_as(&named("one")).await, replicas.known_as(&named("two")).await);
    let three = replicas.known_as(&named("three")).await;
    for jti in ["one", "two"] {
        replicas.other.revoke(&json!({ "jti": jti })).await;
    }
    replicas.world.issuer.revoke(&one);
    assert_eq!(replicas.judged(&one).await, (1, refused("token_inactive")));
    assert_eq!(replicas.judged(&two).await, (1, ok()), "the issuer knows better");
    assert_eq!(replicas.judged(&two).await, (0, ok()), "and has said so after the revocation");
    assert_eq!(replicas.judged(&three).await, (0, ok()), "control");
    assert_eq!(looked_up(&replicas.other, "unusable").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn int_08_a_token_that_was_refused_here_does_not_come_back_by_an_older_answer() {
    let shared = |scene: Scene| {
        let payments = "scopes: { any: [payments, accounts] }\n";
        scene
            .replace("seal_key: seal.key", "seal_key: seal.key, inactive_max_age: 0s")
            .replace(payments, &format!("{payments}    introspection_max_age: 0s\n"))
    };
    let replicas = Replicas::with(shared, |scene| scene).await;
    let token = replicas.known().await;
    replicas.world.issuer.revoke(&token);
    let mut payment = request("/payments", &token);
    *payment.method_mut() = http::Method::POST;
    assert_eq!(send(&replicas.world, &replicas.other, payment).await, refused("token_inactive"));
    assert_eq!(replicas.judged(&token).await, (1, refused("token_inactive")));
    // Control: a replica that was not told so goes by what it was told before.
    assert_eq!(judge_at(&replicas.world, &replicas.world.gateway, &token).await, ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn int_15_only_what_is_good_here_is_shared() {
    let replicas = Replicas::start().await;
    let Replicas { world, .. } = &replicas;
    let elsewhere = world.opaque(&world.token().audience("https://other.example"));
    let unknown = remember("opaque-that-nobody-knows-0123456789".into());
    assert_eq!(judge_at(world, &world.gateway, &unknown).await, refused("token_inactive"));
    assert_eq!(judge_at(world, &world.gateway, &elsewhere).await, refused("token_audience_mismatch"));
    let large = world.opaque(&world.token().claim("more", "x".repeat(20_000)));
    assert_eq!(judge_at(world, &world.gateway, &large).await, ok());
    assert_eq!(replicas.judged(&large).await, (1, ok()));
    let good = replicas.known().await;
    assert_eq!((replicas.keys().len(), count(&world.gateway, STORED).await), (1, 1));
    assert_eq!(replicas.judged(&good).await, (0, ok()), "control");
    assert_eq!(replicas.judged(&unknown).await, (1, refused("token_inactive")));
}

#[tokio::test(flavor = "multi_thread")]
async fn int_17_another_way_of_asking_has_answers_of_its_own() {
    let replicas = Replicas::start().await;
    let Replicas { world, redis, .. } = &replicas;
    let pem = std::fs::read_to_string(world.gateway.folder().path().join("gateway.pem")).unwrap();
    let key = sandbox::tokens::SigningKey::generate(sandbox::tokens::KeyKind::Es256, "other");
    world.issuer.register("other-gateway", ResourceServer::Key(key.clone()));
    let token = replicas.known().await;
    assert_eq!(replicas.judged(&token).await, (0, ok()), "control");
    let audience = sandbox::authorization_server::AuthorizationServer::AUDIENCE;
    type Adjust<'a> = (&'a str, Box<dyn Fn(Scene) -> Scene + 'a>, &'a str);
    let adjusts: [Adjust<'_>; 6] = [
        (
            "another client",
            Box::new(|scene| {
                scene
                    .replace("client_id: gateway,", "client_id: other-gateway,")
                    .replace("private_key: gateway.pem", "private_key: other.pem")
                    .file("other.pem", &key.private_key_pem())
            }),
            "miss",
        ),
        (
            "another audience",
            Box::new(|scene| {
                let list = format!("audiences: [\"{audience}\"]");
                scene.replace(&list, &format!("audiences: [\"{audience}\", \"https://other.example\"]"))
            }),
            "miss",
        ),
        ("signed answers", Box::new(|scene| scene.replace(", cache:", ", response: jwt, cache:")), "miss"),
        (
            "another prefix",
            Box::new(|scene| scene.replace(", timeout: 5s", ", timeout: 5s, prefix: \"other:\"")),
            "miss",
        ),
        ("control: the same", Box::new(|scene| scene), "hit"),
        ("another key", Box::new(|scene| scene.file("seal.key", NEXT_KEY)), "unusable"),
    ];
    for (what, adjust, outcome) in adjusts {
        let other = other_of(world, |scene| adjust(sharing(scene, redis.port())).file("gateway.pem", &pem)).await;
        let before = asked(world).len();
        assert_eq!(judge_at(world, &other, &token).await, ok(), "{what}");
        assert_eq!(asked(world).len() - before, usize::from(outcome != "hit"), "{what}");
        assert_eq!(looked_up(&other, outcome).await, 1, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn seal_keys_change_without_a_gap() {
    let replicas = Replicas::start().await;
    let Replicas { world, other, .. } = &replicas;
    let both = [format!("{KEY}\n{NEXT_KEY}\n"), format!("{NEXT_KEY}\n{KEY}\n"), NEXT_KEY.to_owned()];
    let reload = async |gateway: &Running, keys: &str, number: usize| {
        gateway.folder().write("seal.key", keys);
        gateway.control().reload();
        timeout(DEADLINE, gateway.control().reloads(number)).await.expect("the reload ends");
    };
    let kept = replicas.known().await;
    for (number, keys) in (1..).zip(&both) {
        for gateway in [&world.gateway, other] {
            // Whichever of the two is first, each opens what the other seals.
            let token = replicas.known().await;
            assert_eq!(replicas.judged(&token).await, (0, ok()), "{number}");
            reload(gateway, keys, number).await;
            let token = replicas.known().await;
            assert_eq!(replicas.judged(&token).await, (0, ok()), "{number}");
        }
    }
    let before = asked(world).len();
    assert_eq!(judge_at(world, &world.gateway, &kept).await, ok());
    assert_eq!(asked(world).len(), before, "what is remembered here is not sealed");
    // Control: a key that the other does not have.
    reload(&world.gateway, KEY, both.len() + 1).await;
    let token = replicas.known().await;
    assert_eq!(replicas.judged(&token).await, (1, ok()));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_silent_full_or_gone_the_issuer_is_asked_soon() {
    let mut replicas = Replicas::with(|scene| scene.replace(", timeout: 20s", ", timeout: 2s"), |scene| scene).await;
    let tokens = [replicas.known().await, replicas.known().await, replicas.known().await];
    replicas.redis.pause();
    let began = instant();
    assert_eq!(replicas.judged(&tokens[0]).await, (1, ok()));
    // `timeout` of the store is five seconds, and a look-up does not wait for that.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(looked_up(&replicas.other, "error").await, 1);
    replicas.redis.resume();
    let usable = async {
        loop {
            let token = replicas.known().await;
            if replicas.judged(&token).await.0 == 0 {
                return;
            }
        }
    };
    timeout(DEADLINE, usable).await.expect("the store is used again");
    assert_eq!(replicas.redis.cli(&["CONFIG", "SET", "maxmemory", "1"]), "OK");
    let token = replicas.world.opaque(&replicas.world.token());
    let errors = "fapi_gateway_introspection_store_writes_total{issuer=\"bank\",outcome=\"error\"}";
    assert_eq!(judge_at(&replicas.world, &replicas.world.gateway, &token).await, ok());
    let noticed = async { while count(&replicas.world.gateway, errors).await == 0 {} };
    timeout(DEADLINE, noticed).await.expect("it is counted");
    assert_eq!(replicas.judged(&token).await, (1, ok()));
    replicas.redis.kill();
    assert_eq!(replicas.judged(&tokens[1]).await, (1, ok()));
    assert_eq!(replicas.judged(&tokens[2]).await, (1, ok()));
}

#[tokio::test(flavor = "multi_thread")]
async fn int_13_a_hundred_first_uses_are_one_look_up() {
    let replicas = Replicas::start().await;
    let token = replicas.known().await;
    let client = Client::new(replicas.other.address(), &replicas.world.authority).origin(ORIGIN);
    let open = client.certificate(&replicas.world.c1).h2().connect().await.unwrap();
    let mut requests = JoinSet::new();
    // The requests wait together, since the store does.
    assert_eq!(replicas.redis.cli(&["CLIENT", "PAUSE", "30", "ALL"]), "OK");
    for _ in 0..100 {
        let (mut stream, request) = (open.another().expect("HTTP/2"), request("/accounts", &token));
        requests.spawn(async move { stream.send(request).await.unwrap().status().as_u16() });
    }
    assert_eq!(requests.join_all().await, [200; 100]);
    assert_eq!((looked_up(&replicas.other, "hit").await, asked(&replicas.world).len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documented_rights_are_enough_and_without_them_the_issuer_is_asked() {
    let docs = include_str!("../../../docs/operate/replicas.md");
    let rule = docs.lines().find_map(|line| line.strip_prefix("user fapi-gateway ")).expect("the rule of the user");
    let redis = Redis::start(&[]);
    let user = |rule: &str| {
        let command: Vec<&str> = ["ACL", "SETUSER", "fapi-gateway"].into_iter().chain(rule.split(' ')).collect();
        assert_eq!(redis.cli(&command), "OK");
    };
    user(&rule.replace("PASSWORD", "secret"));
    let shared = |scene: Scene| {
        sharing(scene, redis.port())
            .replace(", timeout: 5s", ", timeout: 5s, username_file: user.txt, password_file: password.txt")
            .file("user.txt", "fapi-gateway")
            .file("password.txt", "secret")
    };
    let world = World::with(shared).await;
    let other = other_of(&world, shared).await;
    let replicas = Replicas { world, other, redis };
    let token = replicas.known().await;
    assert_eq!(replicas.judged(&token).await, (0, ok()));
    assert_eq!(replicas.redis.cli(&["ACL", "LOG"]), "", "nothing else is asked");
    // Each is needed: without it, the issuer is asked, and that is counted.
    let token = replicas.known().await;
    assert_eq!(replicas.redis.cli(&["ACL", "SETUSER", "fapi-gateway", "-getrange"]), "OK");
    assert_eq!(replicas.judged(&token).await, (1, ok()));
    assert_eq!(looked_up(&replicas.other, "error").await, 1);
    assert_eq!(replicas.redis.cli(&["ACL", "SETUSER", "fapi-gateway", "+getrange", "resetkeys", "~other:*"]), "OK");
    let token = replicas.world.opaque(&replicas.world.token());
    assert_eq!(replicas.judged(&token).await, (1, ok()));
    assert_eq!(looked_up(&replicas.other, "error").await, 2);
}
