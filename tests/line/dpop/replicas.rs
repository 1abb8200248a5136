//! Replicas that share the log of used proofs in a Redis server: a proof passes once at all of them, and nowhere while the server
//! does not say so.

use std::sync::Arc;
use std::time::Duration;

use sandbox::pki::Credential;
use sandbox::tokens::Proof;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::timeout;

mod cluster;
mod sentinel;

use self::sentinel::{LONG, example};
use super::{ok, refused};
use crate::support::client::Client;
use crate::support::redis::{Redis, Role};
use crate::support::{DEADLINE, Holder, ORIGIN, Running, Scene, World, dpop_request};

/// A scene whose replay log is in the store; `more` are its other keys.
pub(super) fn shared(scene: Scene, server: &str, more: &str) -> Scene {
    let sections = format!(
        "stores: {{ shared: {{ servers: [\"{server}\"], timeout: 1s{more} }} }}\nreplay: {{ store: shared }}\nupstreams:\n"
    );
    scene.replace("upstreams:\n", &sections)
}

pub(super) fn at(port: u16) -> String {
    format!("redis://127.0.0.1:{port}")
}

/// Gateways that accept the same tokens and share a store.
pub(super) struct Replicas {
    pub(super) world: World,
    /// The first, unless that is the one of the world.
    one: Option<Running>,
    other: Running,
    pub(super) holder: Holder,
}

impl Replicas {
    pub(super) async fn start(server: &str, more: &str) -> Self {
        Self::with(|scene| shared(scene, server, more)).await
    }

    /// Two whose scenes are adjusted in the same way.
    pub(super) async fn with(adjust: impl Fn(Scene) -> Scene) -> Self {
        let world = World::with(&adjust).await;
        let other = Self::another(&world, &adjust).await;
        Self::of(world, None, other)
    }

    /// The same where the servers need certificates of the world's authority; the user's name and password are in files.
    async fn in_world(world: World, server: &str, more: &str) -> Self {
        let adjust =
            |scene| shared(scene, server, more).file("user.txt", "fapi-gateway\n").file("password.txt", "password\n");
        let one = Self::another(&world, &adjust).await;
        let other = Self::another(&world, &adjust).await;
        let replicas = Self::of(world, Some(one), other);
        for gateway in replicas.gateways() {
            replicas.until_older(gateway).await;
        }
        replicas
    }

    async fn another(world: &World, adjust: &impl Fn(Scene) -> Scene) -> Running {
        let scene = Scene::new(&world.authority, world.issuer.issuer(), world.accounts.address());
        let gateway = Running::start(adjust(scene), &world.clock).await;
        gateway.ready().await;
        gateway
    }

    fn of(world: World, one: Option<Running>, other: Running) -> Self {
        // Each log is older than the proofs of the tests from here on.
        world.clock.advance(120);
        let holder = world.holder();
        Self { world, one, other, holder }
    }

    pub(super) fn gateways(&self) -> [&Running; 2] {
        [self.one.as_ref().unwrap_or(&self.world.gateway), &self.other]
    }

    pub(super) fn client(&self, gateway: &Running) -> Client {
        Client::new(gateway.address(), &self.world.authority).origin(ORIGIN)
    }

    pub(super) fn proof(&self) -> Proof {
        self.holder.proof("/accounts", self.world.clock.now())
    }

    pub(super) async fn judge(&self, gateway: &Running, proof: &str) -> (u16, String) {
        let record = self.record(gateway, proof).await;
        let status = record["status"].as_u64().and_then(|status| u16::try_from(status).ok());
        (status.expect("a status"), record["code"].as_str().unwrap_or_default().to_owned())
    }

    /// The same, once the store is there.
    async fn judge_when_known(&self, gateway: &Running, proof: &str) -> (u16, String) {
        let known = async {
            loop {
                let judged = self.judge(gateway, proof).await;
                if judged.0 != 503 {
                    break judged;
                }
            }
        };
        timeout(DEADLINE, known).await.expect("the store comes back")
    }

    /// Waits until `/status` has this of the store.
    async fn until_status(&self, gateway: &Running, expected: &str) {
        let store = async {
            loop {
                let status: Value = serde_json::from_str(&gateway.admin("/status").await.1).expect("JSON");
                let resources = status["resources"].as_array().expect("a list");
                let store = resources.iter().find(|resource| resource["kind"] == "store").expect("the store");
                if store.to_string().contains(expected) {
                    return;
                }
            }
        };
        timeout(DEADLINE, store).await.unwrap_or_else(|_| panic!("{expected} is not in /status"));
    }

    /// The record of `GET /accounts` with this proof.
    pub(super) async fn record(&self, gateway: &Running, proof: &str) -> Value {
        let request = dpop_request("/accounts", &self.holder.token, proof);
        let response = self.client(gateway).send(request).await.expect("the gateway answers");
        gateway.record_of(&response)
    }

    /// Sends fresh proofs until one is judged like this.
    pub(super) async fn until(&self, gateway: &Running, expected: &(u16, String)) {
        self.until_within(DEADLINE, gateway, expected).await;
    }

    async fn until_within(&self, time: Duration, gateway: &Running, expected: &(u16, String)) {
        let judged = || async { self.judge(gateway, &self.proof().sign(&self.holder.key)).await };
        // Twice in a row: where the connection goes just after an answer, nobody knows how old the log is, and the proof is
        // refused like one that is older than the log of the next connection.
        let reached = async { while judged().await != *expected || judged().await != *expected {} };
        timeout(time, reached).await.unwrap_or_else(|_| panic!("{expected:?} is not reached"));
    }

    /// Sends fresh proofs until one passes, and lets time pass where the log is not older than they are.
    pub(super) async fn until_older(&self, gateway: &Running) {
        let reached = async {
            loop {
                match self.judge(gateway, &self.proof().sign(&self.holder.key)).await {
                    passed if passed == ok() => break,
                    younger if younger == refused("dpop_nonce_required") => self.world.clock.advance(30),
                    _ => {}
                }
            }
        };
        timeout(LONG, reached).await.expect("a proof passes");
    }
}

pub(super) fn unavailable() -> (u16, String) {
    (503, "replay_log_unavailable".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_40_atk_tk_12_a_proof_passes_once_at_all_replicas() {
    let redis = Redis::start(&[]);
    let replicas = Replicas::start(&at(redis.port()), "").await;
    let [one, other] = replicas.gateways();
    let proof = replicas.proof().sign(&replicas.holder.key);
    assert_eq!(replicas.judge(one, &proof).await, ok());
    assert_eq!(replicas.judge(other, &proof).await, refused("dpop_replayed"));
    assert_eq!(replicas.judge(other, &replicas.proof().sign(&replicas.holder.key)).await, ok(), "control");
    let metrics = one.admin("/metrics").await.1;
    assert!(metrics.contains("fapi_gateway_store_connected{store=\"shared\"} 1\n"), "{metrics}");
    for (level, value) in [("local", 0), ("shared", 1), ("degraded", 0)] {
        let metric = format!("fapi_gateway_guarantee{{level=\"{level}\",name=\"replay\"}} {value}\n");
        assert!(metrics.contains(&metric), "{metric}{metrics}");
    }
    assert!(metrics.contains("fapi_gateway_replay_requests_total{outcome=\"first\",store=\"shared\"}"), "{metrics}");
    // What is in it is of no use to anybody: hashes, with an end each.
    let keys = redis.cli(&["--raw", "KEYS", "*"]);
    assert_eq!(keys.lines().count(), 3, "the proofs, and since when they are kept");
    for key in keys.lines().filter(|key| *key != "fapi:began") {
        assert_eq!((key.len(), redis.cli(&["GET", key])), ("fapi:p:".len() + 22, String::new()), "{key}");
        let seconds: u64 = redis.cli(&["TTL", key]).parse().unwrap();
        assert!((60..=200).contains(&seconds), "{seconds}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_store_is_silent_nothing_passes_that_needs_it() {
    let redis = Redis::start(&[]);
    let replicas = Replicas::start(&at(redis.port()), "").await;
    let [one, other] = replicas.gateways();
    redis.pause();
    let proof = replicas.proof().sign(&replicas.holder.key);
    assert_eq!(replicas.judge(one, &proof).await, unavailable());
    assert_eq!(replicas.world.judge(replicas.world.request()).await, ok(), "a certificate needs no store");
    redis.resume();
    replicas.until(one, &ok()).await;
    replicas.until(other, &ok()).await;
    // It may have been recorded after all, and is known here in any case.
    for gateway in replicas.gateways() {
        let (status, code) = replicas.judge(gateway, &proof).await;
        assert_eq!((status, code.as_str()), (401, "dpop_replayed"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_has_lost_everything_asks_older_proofs_for_a_nonce() {
    let mut redis = Redis::start(&[]);
    let replicas = Replicas::start(&at(redis.port()), "").await;
    let [one, other] = replicas.gateways();
    let used = replicas.proof().sign(&replicas.holder.key);
    assert_eq!(replicas.judge(one, &used).await, ok());
    redis.start_again();
    // Proofs that are made now may be as old as the log.
    replicas.until(other, &refused("dpop_nonce_required")).await;
    assert_eq!(
        replicas.judge_when_known(other, &used).await,
        refused("dpop_nonce_required"),
        "it is not known any more"
    );
    replicas.world.clock.advance(30);
    replicas.until(other, &ok()).await;
    assert_eq!(replicas.judge(other, &used).await, refused("dpop_nonce_required"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_from_which_everything_was_deleted_counts_as_a_new_one() {
    let redis = Redis::start(&[]);
    let replicas = Replicas::start(&at(redis.port()), "").await;
    let [one, other] = replicas.gateways();
    let used = replicas.proof().sign(&replicas.holder.key);
    assert_eq!(replicas.judge(one, &used).await, ok());
    assert_eq!(redis.cli(&["FLUSHALL"]), "OK");
    replicas.until(other, &refused("dpop_nonce_required")).await;
    assert_eq!(replicas.judge_when_known(other, &used).await, refused("dpop_nonce_required"));
    replicas.world.clock.advance(30);
    replicas.until(other, &ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_was_a_replica_meanwhile_counts_as_a_new_one() {
    let redis = Redis::start(&[]);
    let replicas = Replicas::start(&at(redis.port()), "").await;
    let [one, other] = replicas.gateways();
    let used = replicas.proof().sign(&replicas.holder.key);
    assert_eq!(replicas.judge(one, &used).await, ok());
    // Another server was the primary, and nothing of what that was asked has come here.
    assert_eq!(redis.cli(&["REPLICAOF", "127.0.0.1", "1"]), "OK");
    replicas.until(other, &unavailable()).await;
    assert_eq!(redis.cli(&["REPLICAOF", "NO", "ONE"]), "OK");
    replicas.until(other, &refused("dpop_nonce_required")).await;
    assert_eq!(replicas.judge_when_known(other, &used).await, refused("dpop_nonce_required"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_gone_or_full_or_forgets_is_named() {
    let mut redis = Redis::start(&["--maxmemory", "10mb"]);
    let replicas = Replicas::start(&at(redis.port()), "").await;
    let [one, _] = replicas.gateways();
    replicas.until(one, &ok()).await;
    assert_eq!(redis.cli(&["CONFIG", "SET", "maxmemory", "1"]), "OK");
    let record = replicas.record(one, &replicas.proof().sign(&replicas.holder.key)).await;
    assert_eq!(record["code"], "replay_log_unavailable");
    assert_eq!(record["detail"], "the replay log is not available: the store `shared`: it is full (OOM)", "{record}");
    replicas.until_status(one, "`set`: it is full (OOM)").await;
    assert_eq!(redis.cli(&["CONFIG", "SET", "maxmemory", "10mb"]), "OK");
    replicas.until(one, &ok()).await;
    replicas.until_status(one, r#""state":"good""#).await;
    // A right that is taken away while the connection lasts.
    assert_eq!(redis.cli(&["ACL", "SETUSER", "default", "-set"]), "OK");
    replicas.until(one, &unavailable()).await;
    replicas.until_status(one, "`set`: it refuses with NOPERM; ").await;
    assert_eq!(redis.cli(&["ACL", "SETUSER", "default", "+set"]), "OK");
    replicas.until(one, &ok()).await;
    replicas.until_status(one, r#""state":"good""#).await;
    redis.kill();
    replicas.until(one, &unavailable()).await;
    replicas.until_status(one, "cannot be connected to").await;
    drop(redis);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_evicts_is_not_used() {
    let redis = Redis::start(&["--maxmemory", "10mb", "--maxmemory-policy", "volatile-lru"]);
    let replicas = Replicas::start(&at(redis.port()), "").await;
    let [one, _] = replicas.gateways();
    assert_eq!(replicas.judge(one, &replicas.proof().sign(&replicas.holder.key)).await, unavailable());
    let status = one.admin("/status").await.1;
    assert!(status.contains("its `maxmemory-policy` is `volatile-lru`"), "{status}");
    assert_eq!(redis.cli(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]), "OK");
    // It is used from now on, and is as old as the proofs.
    replicas.until(one, &refused("dpop_nonce_required")).await;
    replicas.world.clock.advance(30);
    replicas.until(one, &ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_the_documented_rights_is_enough_and_a_password_rotates() {
    let docs = include_str!("../../../docs/operate/replicas.md");
    let rule = docs.lines().find_map(|line| line.strip_prefix("user fapi-gateway ")).expect("the rule of the user");
    let redis = Redis::start(&[]);
    let user = |password: &str| {
        let rule = rule.replace("PASSWORD", password);
        let command: Vec<&str> = ["ACL", "SETUSER", "fapi-gateway"].into_iter().chain(rule.split(' ')).collect();
        assert_eq!(redis.cli(&command), "OK");
    };
    user("first");
    let server = at(redis.port());
    let files = ", username_file: user.txt, password_file: password.txt";
    let world = World::with(|scene| {
        shared(scene, &server, files).file("user.txt", "fapi-gateway\n").file("password.txt", "first\n")
    })
    .await;
    let holder = world.holder();
    let judged = |world: &World| {
        let request = holder.request("/accounts", &holder.proof("/accounts", world.clock.now()));
        (world.anonymous(), request)
    };
    let judge = async |world: &World| {
        let (client, request) = judged(world);
        world.judge_from(&client, request).await
    };
    assert_eq!(judge(&world).await, ok());
    // Another password, and nobody may stay who knows only the old one.
    assert_eq!(redis.cli(&["ACL", "DELUSER", "fapi-gateway"]), "1");
    user("second");
    let locked_out = async { while judge(&world).await != unavailable() {} };
    timeout(DEADLINE, locked_out).await.expect("the old password is refused");
    let named = async { while !world.gateway.admin("/status").await.1.contains("WRONGPASS") {} };
    timeout(DEADLINE, named).await.expect("the cause is in /status");
    world.gateway.folder().write("password.txt", "second");
    world.gateway.control().reload();
    world.gateway.control().reloads(1).await;
    // The server says how old the log is by its own clock.
    world.clock.advance(30);
    let back = async { while judge(&world).await != ok() {} };
    timeout(DEADLINE, back).await.expect("the new password is read");
    let log = world.gateway.admin("/status").await.1;
    assert!(!log.contains("second") && !log.contains("first"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_does_not_touch_the_store_keeps_its_connection() {
    let redis = Redis::start(&[]);
    let replicas = Replicas::start(&at(redis.port()), "").await;
    let [one, _] = replicas.gateways();
    let clients = || redis.cli(&["CLIENT", "LIST", "TYPE", "normal"]);
    let before = clients();
    one.control().reload();
    one.control().reloads(1).await;
    assert_eq!(replicas.judge(one, &replicas.proof().sign(&replicas.holder.key)).await, ok());
    let ids = |list: &str| -> Vec<String> {
        let ids = list.lines().filter_map(|line| line.split(' ').find(|field| field.starts_with("addr=")));
        // The first is that of redis-cli itself.
        ids.map(str::to_owned).collect()
    };
    let after = clients();
    let kept = ids(&before).iter().filter(|id| ids(&after).contains(id)).count();
    assert_eq!(kept, 2, "{before}\n{after}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_takes_the_store_away_makes_the_guarantee_local_and_forgets_the_connection() {
    let redis = Redis::start(&[]);
    let replicas = Replicas::start(&at(redis.port()), "").await;
    let world = &replicas.world;
    let level = || async { world.gateway.readiness().await.1["guarantees"]["replay"].clone() };
    let connected = || async {
        let metrics = world.gateway.admin("/metrics").await.1;
        metrics.lines().any(|line| line.starts_with("fapi_gateway_store_connected{"))
    };
    assert_eq!((level().await, connected().await), ("shared".into(), true));
    world.reload(1, |text| text.replace("store: shared", "store: memory").replace("stores:", "# stores:")).await;
    assert_eq!((level().await, connected().await), ("local".into(), false));
    let status: Value = serde_json::from_str(&world.gateway.admin("/status").await.1).unwrap();
    assert_eq!(status["guarantees"], serde_json::json!([{ "name": "replay", "level": "local" }]));
}

/// What the audit says of a call with a proof to a gateway that calls its store with TLS as `tls` says: the detail, or else the
/// code.
pub(super) async fn seen_over_tls(world: &World, identity: &Credential, server: &str, tls: &str) -> String {
    let scene = Scene::new(&world.authority, world.issuer.issuer(), world.accounts.address());
    let scene = shared(scene, server, &format!(", tls: {{ {tls} }}"))
        .file("id.pem", &identity.certificate_pem())
        .file("id-key.pem", &identity.key_pem());
    let gateway = Running::start(scene, &world.clock).await;
    gateway.ready().await;
    world.clock.advance(30);
    let holder = world.holder();
    let request = holder.request("/accounts", &holder.proof("/accounts", world.clock.now()));
    let client = Client::new(gateway.address(), &world.authority).origin(ORIGIN);
    let record = gateway.record_of(&client.send(request).await.unwrap());
    record["detail"].as_str().unwrap_or_else(|| record["code"].as_str().unwrap()).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_to_the_store_shows_a_certificate_and_wants_the_right_name() {
    let world = World::start().await;
    let redis = Redis::start_with_tls(&world.authority, &world.authority.server(&["localhost"]));
    let identity = world.authority.client("gateway");
    for (host, more, expected) in [
        ("localhost", ", certificate: id.pem, private_key: id-key.pem", "ok"),
        ("127.0.0.1", ", certificate: id.pem, private_key: id-key.pem, server_name: localhost", "ok"),
        ("127.0.0.1", ", certificate: id.pem, private_key: id-key.pem", "TLS: "),
        ("localhost", "", "the store `shared`"),
    ] {
        let server = format!("rediss://{host}:{}", redis.port());
        let seen = seen_over_tls(&world, &identity, &server, &format!("trust_anchors: [ca.pem]{more}")).await;
        assert!(seen.contains(expected), "{host}{more}: {seen}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_of_a_server_alone_is_one_that_replicas_use() {
    let world = World::start().await;
    let server = world.authority.server(&["localhost"]);
    let users = example(include_str!("../../../deploy/redis/users.acl")) + sentinel::ADMIN;
    let files = [("tls.crt", server.certificate_pem()), ("tls.key", server.key_pem()), ("users.acl", users)];
    let config = example(include_str!("../../../deploy/redis/redis.conf"));
    let redis = Redis::configured(Role::Server, &config, &files);
    let server = format!("rediss://localhost:{}", redis.tls_port());
    let more = ", tls: { trust_anchors: [ca.pem] }, username_file: user.txt, password_file: password.txt";
    let replicas = Replicas::in_world(world, &server, more).await;
    let [one, other] = replicas.gateways();
    let proof = replicas.proof().sign(&replicas.holder.key);
    assert_eq!(replicas.judge(one, &proof).await, ok());
    assert_eq!(replicas.judge(other, &proof).await, refused("dpop_replayed"));
}

/// A server that answers what it is told to, by the text that arrived.
async fn scripted(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    let answer = answer(&String::from_utf8_lossy(&buffer[..count]));
                    if stream.write_all(&answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

/// What a good server says when it is connected to; `None` to anything else.
fn good(text: &str) -> Option<Vec<u8>> {
    Some(match text {
        text if text.contains("HELLO") => b"%1\r\n$5\r\nproto\r\n:3\r\n".to_vec(),
        text if text.contains("INFO") => {
            let id = "a".repeat(40);
            let info = format!("run_id:{id}\r\nmaster_replid:{id}\r\nrole:master\r\nmaxmemory_policy:noeviction\r\n");
            format!("${}\r\n{info}\r\n", info.len()).into_bytes()
        }
        text if text.contains("TIME") => b"*2\r\n$10\r\n1900001000\r\n$1\r\n0\r\n".to_vec(),
        text if text.contains("GET") => format!("$27\r\n{} 1900000000\r\n", "a".repeat(16)).into_bytes(),
        text if text.contains("began") => b"_\r\n".to_vec(),
        _ => return None,
    })
}

/// A server that says these bytes whenever it is asked to record something, and what a good one says before.
pub(in crate::line) async fn liar(says: &'static [u8]) -> u16 {
    scripted(move |text| good(text).unwrap_or_else(|| says.to_vec())).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_lies_lets_nothing_through() {
    static LONG: [u8; 200_000] = [b'x'; 200_000];
    for (says, passes) in [
        (&b"+OK\r\n"[..], true),
        (b"_\r\n", false),
        (b"$-1\r\n", false),
        (b"+QUEUED\r\n", false),
        (b"-TRYAGAIN x\r\n", false),
        (b"-ASK 1 127.0.0.1:1\r\n", false),
        (b":1\r\n", false),
        (b"#t\r\n", false),
        (b"*1\r\n+OK\r\n", false),
        (b"$2\r\nOK\r\n", false),
        (b"-MOVED 1 127.0.0.1:1\r\n", false),
        (b"-READONLY x\r\n", false),
        (b"-LOADING x\r\n", false),
        (b"+OK", false),
        (b"$104857600\r\nOK\r\n", false),
        (b"nonsense\r\n", false),
        (&LONG, false),
    ] {
        let port = liar(says).await;
        let world =
            World::with(|scene| shared(scene, &at(port), ", timeout: 200ms").replace(", timeout: 1s", "")).await;
        let holder = world.holder();
        let request = holder.request("/accounts", &holder.proof("/accounts", world.clock.now()));
        let (status, code) = world.judge_from(&world.anonymous(), request).await;
        let shown = String::from_utf8_lossy(&says[..says.len().min(40)]).into_owned();
        match (passes, says) {
            (true, _) => assert_eq!((status, code), ok(), "control: {shown}"),
            (false, b"_\r\n" | b"$-1\r\n") => assert_eq!((status, code), refused("dpop_replayed"), "{shown}"),
            (false, _) => assert_eq!((status, code), unavailable(), "{shown}"),
        }
        assert_eq!(world.judge(world.request()).await, ok(), "{shown}: a certificate needs no store");
    }
}
