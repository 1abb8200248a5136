//! A cluster of three primaries, with the configuration that `deploy/redis/cluster` shows.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::sentinel::{ADMIN, CLIENTS, LONG, files, until};
use super::*;
use crate::support::client::now;

/// Servers of one cluster: three primaries, and a replica of the one that has the gateway's keys.
struct Cluster {
    servers: Vec<Redis>,
    /// The hash slot of the gateway's keys.
    slot: String,
}

impl Cluster {
    /// Starts it, and waits until all servers say that it is in order.
    async fn start(world: &World) -> Self {
        let users = example(include_str!("../../../../deploy/redis/cluster/users.acl")) + ADMIN;
        let files = files(world, "127.0.0.1", users);
        let config = example(include_str!("../../../../deploy/redis/cluster/redis.conf")) + CLIENTS;
        let servers: Vec<Redis> = (0..4).map(|_| Redis::configured(Role::Server, &config, &files)).collect();
        for (server, slots) in servers.iter().zip([["0", "5460"], ["5461", "10922"], ["10923", "16383"]]) {
            assert_eq!(server.cli(&["CLUSTER", "ADDSLOTSRANGE", slots[0], slots[1]]), "OK");
        }
        for server in &servers[1..] {
            let (port, bus) = (servers[0].tls_port().to_string(), servers[0].bus_port().to_string());
            assert_eq!(server.cli(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]), "OK");
        }
        for server in &servers {
            until(|| {
                let info = server.cli(&["CLUSTER", "INFO"]);
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:4")
            })
            .await;
        }
        let slot = servers[0].cli(&["CLUSTER", "KEYSLOT", "{fapi:}began"]);
        let mut cluster = Self { servers, slot };
        let owner = cluster.owner();
        // It is the first from here on.
        cluster.servers.swap(0, owner);
        let id = cluster.id(0);
        assert_eq!(cluster.servers[3].cli(&["CLUSTER", "REPLICATE", &id]), "OK");
        until(|| cluster.servers[3].cli(&["INFO", "replication"]).contains("master_link_status:up")).await;
        for server in &cluster.servers {
            until(|| server.cli(&["CLUSTER", "NODES"]).lines().filter(|node| node.contains("slave")).count() == 1)
                .await;
        }
        cluster
    }

    fn id(&self, server: usize) -> String {
        self.servers[server].cli(&["CLUSTER", "MYID"])
    }

    /// Which server has the gateway's keys.
    fn owner(&self) -> usize {
        let slot: u32 = self.slot.parse().expect("a number");
        match slot {
            0..=5460 => 0,
            5461..=10922 => 1,
            _ => 2,
        }
    }

    fn addresses(&self) -> String {
        let addresses: Vec<String> =
            self.servers.iter().map(|server| format!("rediss://127.0.0.1:{}", server.tls_port())).collect();
        addresses.join("\", \"")
    }

    fn set_slot(&self, server: usize, what: &[&str]) {
        let command: Vec<&str> = ["CLUSTER", "SETSLOT", &self.slot].into_iter().chain(what.iter().copied()).collect();
        assert_eq!(self.servers[server].cli(&command), "OK");
    }

    /// Moves up to `count` keys of the slot from the first to the second server; returns how many there were.
    fn migrate(&self, count: usize) -> usize {
        let keys = self.servers[0].cli(&["--raw", "CLUSTER", "GETKEYSINSLOT", &self.slot, &count.to_string()]);
        let keys: Vec<&str> = keys.lines().filter(|key| !key.is_empty()).collect();
        if !keys.is_empty() {
            let port = self.servers[1].tls_port().to_string();
            let to = ["MIGRATE", "127.0.0.1", &port, "", "0", "5000", "AUTH2", "admin", "admin", "KEYS"];
            let command: Vec<&str> = to.into_iter().chain(keys.iter().copied()).collect();
            assert_eq!(self.servers[0].cli(&command), "OK");
        }
        keys.len()
    }
}

/// The keys of a store in a cluster, as the example of `docs/operate/replicas.md` has them.
const CLUSTER: &str =
    ", mode: cluster, tls: { trust_anchors: [ca.pem] }, username_file: user.txt, password_file: password.txt";

/// Sends each of these proofs to both gateways at the same time; returns with how many of them nobody passed.
async fn both(replicas: &Replicas, proofs: &[String]) -> usize {
    let [one, other] = replicas.gateways();
    let mut none = 0;
    for proof in proofs {
        let (first, second) = tokio::join!(replicas.judge(one, proof), replicas.judge(other, proof));
        let both = [&first, &second];
        let passes = both.iter().filter(|judged| ***judged == ok()).count();
        assert!(passes <= 1, "{both:?}");
        assert!(both.iter().all(|(status, _)| matches!(status, 200 | 401 | 503)), "{both:?}");
        none += usize::from(passes == 0);
    }
    none
}

/// The second gateway knows these proofs, which passed at the first.
async fn known_by_the_other(replicas: &Replicas, proofs: &[String]) {
    let [_, other] = replicas.gateways();
    for proof in proofs {
        assert_eq!(replicas.judge(other, proof).await, refused("dpop_replayed"));
    }
}

/// New proofs pass once each, as soon as the log is older than they are.
async fn all_is_well_again(replicas: &Replicas) {
    for gateway in replicas.gateways() {
        replicas.until_older(gateway).await;
    }
    assert_eq!(both(replicas, &proofs(replicas, 20)).await, 0);
}

/// A cluster whose keys move from the first server to the second, and five proofs that have passed at the first gateway since.
async fn with_moving_keys() -> (Cluster, Replicas, Vec<String>) {
    let world = World::start().await;
    let cluster = Cluster::start(&world).await;
    let replicas = Replicas::in_world(world, &cluster.addresses(), CLUSTER).await;
    let (first, second) = (cluster.id(0), cluster.id(1));
    cluster.set_slot(1, &["IMPORTING", &first]);
    cluster.set_slot(0, &["MIGRATING", &second]);
    let used = proofs(&replicas, 5);
    for proof in &used {
        assert_eq!(replicas.judge(replicas.gateways()[0], proof).await, ok());
    }
    (cluster, replicas, used)
}

fn proofs(replicas: &Replicas, count: usize) -> Vec<String> {
    (0..count).map(|_| replicas.proof().sign(&replicas.holder.key)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_40_a_proof_passes_once_while_its_keys_move_in_a_cluster_and_none_is_refused_for_that() {
    let world = World::start().await;
    let cluster = Cluster::start(&world).await;
    let replicas = Replicas::in_world(world, &cluster.addresses(), CLUSTER).await;
    let [one, other] = replicas.gateways();
    let before = proofs(&replicas, 20);
    for proof in &before {
        assert_eq!(replicas.judge(one, proof).await, ok());
    }
    let (first, second) = (cluster.id(0), cluster.id(1));
    cluster.set_slot(1, &["IMPORTING", &first]);
    cluster.set_slot(0, &["MIGRATING", &second]);
    // New keys go to the second server; those from before are at the first, then at either, then at the second.
    assert_eq!(both(&replicas, &proofs(&replicas, 20)).await, 0);
    known_by_the_other(&replicas, &before[..5]).await;
    assert!(cluster.migrate(10) > 0);
    known_by_the_other(&replicas, &before[5..10]).await;
    assert_eq!(both(&replicas, &proofs(&replicas, 20)).await, 0);
    while cluster.migrate(100) > 0 {}
    known_by_the_other(&replicas, &before[10..15]).await;
    let during = proofs(&replicas, 20);
    assert_eq!(both(&replicas, &during).await, 0);
    for server in [1, 0, 2] {
        cluster.set_slot(server, &["NODE", &second]);
    }
    // The second is another server, which counts as younger than all of them.
    for gateway in [one, other] {
        replicas.until_within(LONG, gateway, &refused("dpop_nonce_required")).await;
    }
    assert_eq!(both(&replicas, &during).await, during.len());
    for proof in &before[15..] {
        assert_eq!(replicas.judge(other, proof).await, refused("dpop_nonce_required"));
    }
    all_is_well_again(&replicas).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_40_a_server_that_restarts_while_keys_move_to_it_makes_older_proofs_need_a_nonce() {
    let (mut cluster, replicas, used) = with_moving_keys().await;
    let [_, other] = replicas.gateways();
    assert!(cluster.servers[1].cli(&["DBSIZE"]).parse::<u32>().unwrap() >= 5, "control: they went there");
    cluster.servers[1].start_again();
    // The second gateway learns of it from the first, which was connected to it.
    replicas.until_within(LONG, other, &refused("dpop_nonce_required")).await;
    for proof in &used {
        assert_ne!(replicas.judge(other, proof).await, ok());
    }
    all_is_well_again(&replicas).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_40_a_move_of_keys_that_is_given_up_makes_older_proofs_need_a_nonce() {
    let (cluster, replicas, used) = with_moving_keys().await;
    let [_, other] = replicas.gateways();
    cluster.set_slot(0, &["STABLE"]);
    cluster.set_slot(1, &["STABLE"]);
    // The first server has none of these.
    replicas.until_within(LONG, other, &refused("dpop_nonce_required")).await;
    for proof in &used {
        assert_eq!(replicas.judge(other, proof).await, refused("dpop_nonce_required"));
    }
    all_is_well_again(&replicas).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dpop_40_after_a_server_of_a_cluster_dies_its_replica_is_used_and_older_proofs_need_a_nonce() {
    let world = World::start().await;
    let mut cluster = Cluster::start(&world).await;
    let replicas = Replicas::in_world(world, &cluster.addresses(), CLUSTER).await;
    let [one, other] = replicas.gateways();
    let used = replicas.proof().sign(&replicas.holder.key);
    assert_eq!(replicas.judge(one, &used).await, ok());
    assert_eq!(replicas.judge(other, &used).await, refused("dpop_replayed"));
    cluster.servers[0].kill();
    replicas.until(one, &unavailable()).await;
    for gateway in [one, other] {
        replicas.until_within(LONG, gateway, &refused("dpop_nonce_required")).await;
        assert_ne!(replicas.judge(gateway, &used).await, ok());
    }
    all_is_well_again(&replicas).await;
    // Another that has none of the keys.
    cluster.servers[2].kill();
    let keys = cluster.servers[3].cli(&["--raw", "KEYS", "*"]);
    assert!(keys.lines().all(|key| key == "{fapi:}began" || key.starts_with("{fapi:}p:")), "{keys}");
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_send_questions_round_are_asked_seldom_and_let_nothing_through() {
    // Each names the other, when it is connected to or when it is asked to record something.
    for (at_once, names) in [(true, "MOVED"), (false, "MOVED"), (false, "ASK")] {
        let connections = Arc::new(AtomicUsize::new(0));
        let other = Arc::new(AtomicUsize::new(0));
        let answer = |connections: Arc<AtomicUsize>, other: Arc<AtomicUsize>| {
            move |text: &str| {
                connections.fetch_add(usize::from(text.contains("HELLO")), Ordering::SeqCst);
                let elsewhere = format!("-{names} 1 127.0.0.1:{}\r\n", other.load(Ordering::SeqCst)).into_bytes();
                match good(text) {
                    // After ASKING, the other has it no more.
                    None if text.contains("ASKING") => [b"+OK\r\n".to_vec(), elsewhere].concat(),
                    None => elsewhere,
                    Some(_) if at_once && text.contains("none") => elsewhere,
                    Some(said) => said,
                }
            }
        };
        let here = scripted(answer(connections.clone(), other.clone())).await;
        let there = scripted(answer(connections.clone(), Arc::new(AtomicUsize::new(here.into())))).await;
        other.store(there.into(), Ordering::SeqCst);
        let world = World::with(|scene| shared(scene, &at(here), ", mode: cluster")).await;
        world.clock.advance(30);
        let holder = world.holder();
        let before = connections.load(Ordering::SeqCst);
        let began = now();
        for _ in 0..300 {
            let request = holder.request("/accounts", &holder.proof("/accounts", world.clock.now()));
            let judged = world.judge_from(&world.anonymous(), request).await;
            // Once entries may have been written to the other, the log counts as younger.
            let younger = names == "ASK" && judged == refused("dpop_nonce_required");
            assert!(younger || judged == unavailable(), "{at_once} {names}: {judged:?}");
        }
        // At most some attempts of five steps each, between which there are pauses that grow.
        let (count, seconds) = (connections.load(Ordering::SeqCst) - before, now() - began);
        assert!(count as u64 <= 60 + 10 * seconds, "{count} connections in {seconds} seconds: {at_once} {names}");
        assert_eq!(world.judge(world.request()).await, ok(), "a certificate needs no store");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_names_no_server_is_not_used_and_another_of_its_servers_is_asked() {
    let redis = Redis::start(&["--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf"]);
    for (says, seen) in [
        (&b"-MOVED 1 ?:1\r\n"[..], "MOVED"),
        (b"-MOVED x\r\n", "MOVED"),
        (b"-MOVED 1 127.0.0.1:99999\r\n", "MOVED"),
        (b"-CLUSTERDOWN The cluster is down\r\n", "CLUSTERDOWN"),
        (b"-MOVED 1 127.0.0.1:1\r\n", "cannot be connected to"),
    ] {
        let nonsense = scripted(move |text| match good(text) {
            Some(said) if !text.contains("none") => said,
            _ => says.to_vec(),
        })
        .await;
        let world = World::with(|scene| shared(scene, &at(nonsense), ", mode: cluster")).await;
        let holder = world.holder();
        let request = || holder.request("/accounts", &holder.proof("/accounts", world.clock.now()));
        assert_eq!(world.judge_from(&world.anonymous(), request()).await, unavailable(), "{seen}");
        let named = async { while !world.gateway.admin("/status").await.1.contains(seen) {} };
        timeout(DEADLINE, named).await.unwrap_or_else(|_| panic!("{seen} is not in /status"));
    }
    // Beside one that is in order, it does not matter.
    let nonsense = scripted(|_| b"-CLUSTERDOWN x\r\n".to_vec()).await;
    assert_eq!(redis.cli(&["CLUSTER", "ADDSLOTSRANGE", "0", "16383"]), "OK");
    until(|| redis.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok")).await;
    let servers = format!("{}\", \"{}", at(nonsense), at(redis.port()));
    let replicas = Replicas::start(&servers, ", mode: cluster").await;
    let [one, _] = replicas.gateways();
    replicas.until(one, &ok()).await;
}
