//! Three servers and three sentinels, with the configuration that `deploy/redis/sentinel` shows.

use super::*;

/// Servers and sentinels of one group.
struct Group {
    servers: Vec<Redis>,
    sentinels: Vec<Redis>,
}

pub(super) const ADMIN: &str = "user admin on >admin ~* &* +@all\n";

/// A file of `deploy/redis` as it is here: with paths in this test's folder, and passwords.
pub(super) fn example(text: &str) -> String {
    let passwords = ["REPLICA_PASSWORD", "SENTINEL_PASSWORD", "PEER_PASSWORD", "PASSWORD"];
    let text = passwords.iter().fold(text.to_owned(), |text, name| text.replace(name, &name.to_lowercase()));
    text.replace("/etc/redis/tls/", "{folder}/").replace("/etc/redis/users/", "{folder}/")
}

/// What a server is started with beside its configuration: certificates of this name, and users.
pub(super) fn files(world: &World, name: &str, users: String) -> [(&'static str, String); 6] {
    let (server, client) = (world.authority.server(&[name]), world.authority.client("redis"));
    [
        ("ca.crt", world.authority.pem()),
        ("tls.crt", server.certificate_pem()),
        ("tls.key", server.key_pem()),
        ("client.crt", client.certificate_pem()),
        ("client.key", client.key_pem()),
        ("users.acl", users),
    ]
}

/// Servers call each other with another certificate, since those of the tests are for one use each.
pub(super) const CLIENTS: &str =
    "\ntls-client-cert-file {folder}/client.crt\ntls-client-key-file {folder}/client.key\n";

impl Group {
    /// Starts all of them, and waits until the sentinels know each other and all servers.
    async fn start(world: &World) -> Self {
        let users = example(include_str!("../../../../deploy/redis/sentinel/users.acl")) + ADMIN;
        let files = files(world, "localhost", users);
        // A machine that does much else may not end connections.
        let config = example(include_str!("../../../../deploy/redis/sentinel/redis.conf"))
            .replace("min-replicas-max-lag 2", "min-replicas-max-lag 10")
            + CLIENTS;
        let mut servers = vec![Redis::configured(Role::Server, &config, &files)];
        let primary = servers[0].tls_port();
        for _ in 0..2 {
            let config = format!("{config}\nreplicaof 127.0.0.1 {primary}\n");
            servers.push(Redis::configured(Role::Server, &config, &files));
        }
        until(|| servers[0].cli(&["INFO", "replication"]).contains("min_slaves_good_slaves:2")).await;
        let config = example(include_str!("../../../../deploy/redis/sentinel/sentinel.conf"))
            .replace("127.0.0.1 6379", &format!("127.0.0.1 {primary}"))
            .replace("down-after-milliseconds gateway 2000", "down-after-milliseconds gateway 500")
            + CLIENTS
            + ADMIN;
        let sentinels: Vec<Redis> = (0..3).map(|_| Redis::configured(Role::Sentinel, &config, &files)).collect();
        let group = Self { servers, sentinels };
        for sentinel in &group.sentinels {
            let known = |what| sentinel.cli(&["SENTINEL", what, "gateway"]).matches("127.0.0.1\n").count();
            until(|| known("SENTINELS") == 2 && known("REPLICAS") >= 2).await;
        }
        group
    }

    fn addresses(&self) -> String {
        let addresses: Vec<String> =
            self.sentinels.iter().map(|sentinel| format!("rediss://127.0.0.1:{}", sentinel.tls_port())).collect();
        addresses.join("\", \"")
    }

    /// Which of the servers the sentinels call the primary.
    fn primary(&self) -> usize {
        let said = self.sentinels[0].cli(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "gateway"]);
        let port: u16 = said.lines().last().and_then(|port| port.parse().ok()).expect("a port");
        self.servers.iter().position(|server| server.tls_port() == port).expect("a server")
    }
}

/// Waits until something is so.
pub(super) async fn until(mut so: impl FnMut() -> bool) {
    let waiting = async {
        while !so() {
            tokio::task::yield_now().await;
        }
    };
    timeout(LONG, waiting).await.expect("it becomes so");
}

/// The keys of a store behind sentinels, as the example of `docs/operate/replicas.md` has them.
const SENTINEL: &str = ", mode: sentinel, sentinel: { master: gateway, username_file: user.txt, password_file: password.txt }, \
    tls: { trust_anchors: [ca.pem], server_name: localhost }, username_file: user.txt, password_file: password.txt";

/// How long a fail-over may take.
pub(super) const LONG: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread")]
async fn dpop_40_after_a_primary_dies_another_is_used_and_older_proofs_need_a_nonce() {
    let world = World::start().await;
    let mut group = Group::start(&world).await;
    let replicas = Replicas::in_world(world, &group.addresses(), SENTINEL).await;
    let [one, other] = replicas.gateways();
    let used = replicas.proof().sign(&replicas.holder.key);
    assert_eq!(replicas.judge(one, &used).await, ok());
    assert_eq!(replicas.judge(other, &used).await, refused("dpop_replayed"));
    let before = group.primary();
    group.servers[before].kill();
    for gateway in [one, other] {
        replicas.until_within(LONG, gateway, &refused("dpop_nonce_required")).await;
        assert_ne!(replicas.judge(gateway, &used).await, ok());
    }
    assert_ne!(group.primary(), before);
    for gateway in [one, other] {
        replicas.until_older(gateway).await;
        assert_eq!(replicas.judge(gateway, &used).await.0, 401);
    }
    let next = replicas.proof().sign(&replicas.holder.key);
    assert_eq!(replicas.judge(one, &next).await, ok());
    assert_eq!(replicas.judge(other, &next).await, refused("dpop_replayed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_40_no_proof_passes_twice_while_the_primary_is_changed_under_load() {
    let world = World::start().await;
    let group = Group::start(&world).await;
    let replicas = Replicas::in_world(world, &group.addresses(), SENTINEL).await;
    let [one, other] = replicas.gateways();
    let before = group.primary();
    assert_eq!(group.sentinels[0].cli(&["SENTINEL", "FAILOVER", "gateway"]), "OK");
    let (mut passed, mut refused) = (0, 0);
    let load = async {
        // Until the next one is in use, and has become as old as the proofs.
        while group.primary() == before || refused == 0 || passed == 0 {
            let proof = replicas.proof().sign(&replicas.holder.key);
            let (first, second) = tokio::join!(replicas.judge(one, &proof), replicas.judge(other, &proof));
            let both = [&first, &second];
            let passes = both.iter().filter(|judged| ***judged == ok()).count();
            assert!(passes <= 1, "{both:?}");
            assert!(both.iter().all(|(status, _)| matches!(status, 200 | 401 | 503)), "{both:?}");
            // And not later either.
            if passes == 1 {
                assert_ne!(replicas.judge(one, &proof).await, ok());
                assert_ne!(replicas.judge(other, &proof).await, ok());
                passed += 1;
            }
            refused += usize::from(both.iter().any(|(_, code)| code == "dpop_nonce_required"));
            if refused > 0 {
                replicas.world.clock.advance(1);
            }
        }
    };
    timeout(LONG, load).await.expect("another primary is used");
    for gateway in [one, other] {
        replicas.until_older(gateway).await;
    }
}

/// A sentinel that says that this is the primary, by its decision of this number.
async fn sentinel(epoch: u64, host: &'static str, port: u16) -> u16 {
    scripted(move |_| {
        let members = ["ip", host, "port", &port.to_string(), "config-epoch", &epoch.to_string()]
            .map(|member| format!("${}\r\n{member}\r\n", member.len()));
        format!("*6\r\n{}", members.concat()).into_bytes()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sentinels_that_decided_last_are_believed_and_of_those_one_that_names_a_primary() {
    let (primary, earlier) = (Redis::start(&[]), Redis::start(&[]));
    let replica = Redis::start(&["--replicaof", &format!("127.0.0.1 {}", primary.port())]);
    let silent = Redis::start(&[]);
    silent.pause();
    let (primary, earlier, replica, silent) = (primary.port(), earlier.port(), replica.port(), silent.port());
    let of = |says: &'static [u8]| scripted(move |_| says.to_vec());
    for (sentinels, seen) in [
        (vec![sentinel(7, "127.0.0.1", primary).await], "ok"),
        (vec![sentinel(6, "127.0.0.1", earlier).await, sentinel(7, "127.0.0.1", primary).await], "ok"),
        (vec![sentinel(7, "127.0.0.1", replica).await, sentinel(7, "127.0.0.1", primary).await], "ok"),
        (vec![silent, sentinel(7, "127.0.0.1", primary).await], "ok"),
        (vec![of(b"-ERR No such master with that name\r\n").await, sentinel(7, "127.0.0.1", primary).await], "ok"),
        (vec![sentinel(8, "127.0.0.1", replica).await], "it is a replica"),
        // An earlier primary may not know that it is one no more.
        (vec![sentinel(7, "127.0.0.1", earlier).await, sentinel(8, "127.0.0.1", replica).await], "it is a replica"),
        (vec![sentinel(7, "127.0.0.1", earlier).await, sentinel(8, "127.0.0.1", silent).await], "it does not answer"),
        (vec![of(b"-ERR No such master with that name\r\n").await], "knows no primary `gateway`"),
        (vec![of(b"-NOPERM x\r\n").await], "NOPERM"),
        (vec![of(b"+OK\r\n").await], "SENTINEL MASTER is not understood"),
        (vec![of(b"*1\r\n$2\r\nip\r\n").await], "SENTINEL MASTER is not understood"),
        (vec![sentinel(7, "?", primary).await], "SENTINEL MASTER is not understood"),
        (vec![sentinel(7, "127.0.0.1", 0).await], "SENTINEL MASTER is not understood"),
        (vec![silent], "it does not answer"),
    ] {
        let servers: Vec<String> = sentinels.iter().map(|port| at(*port)).collect();
        let servers = servers.join("\", \"");
        let world =
            World::with(|scene| shared(scene, &servers, ", mode: sentinel, sentinel: { master: gateway }")).await;
        world.clock.advance(30);
        let holder = world.holder();
        let judge = async || {
            let request = holder.request("/accounts", &holder.proof("/accounts", world.clock.now()));
            world.judge_from(&world.anonymous(), request).await
        };
        match seen {
            "ok" => {
                let passes = async {
                    while judge().await != ok() {
                        world.clock.advance(1);
                    }
                };
                timeout(DEADLINE, passes).await.unwrap_or_else(|_| panic!("nothing passes with {servers}"));
            }
            seen => {
                assert_eq!(judge().await, unavailable(), "{seen}");
                let named = async { while !world.gateway.admin("/status").await.1.contains(seen) {} };
                timeout(DEADLINE, named).await.unwrap_or_else(|_| panic!("{seen} is not in /status"));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_sentinel_makes_the_gateway_send_its_password_in_the_clear() {
    let sentinel = sentinel(7, "192.0.2.1", 6379).await;
    let more = ", mode: sentinel, sentinel: { master: gateway }, password_file: password.txt";
    let world = World::with(|scene| shared(scene, &at(sentinel), more).file("password.txt", "password\n")).await;
    let named = async { while !world.gateway.admin("/status").await.1.contains("`192.0.2.1:6379`: the password") {} };
    timeout(DEADLINE, named).await.expect("the cause is in /status");
}
