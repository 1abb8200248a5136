//! Whom the gateway is to its store: what becomes of a password that is not right, of rights that are missing, and of what others
//! wrote where only the gateway should.

use tokio::time::timeout;

use super::replicas::{Replicas, at, shared, unavailable};
use super::{ok, refused};
use crate::support::redis::Redis;
use crate::support::{DEADLINE, World, free_ports};

const FILES: &str = ", username_file: user.txt, password_file: password.txt";

/// The rule of the documented user, without some of its words and with this password.
fn rule(password: &str, without: &[&str]) -> Vec<String> {
    let docs = include_str!("../../../docs/operate/replicas.md");
    let rule = docs.lines().find_map(|line| line.strip_prefix("user fapi-gateway ")).expect("the rule of the user");
    let rule = rule.replace("PASSWORD", password);
    assert!(without.iter().all(|word| rule.split(' ').any(|other| other == *word)), "{without:?}");
    rule.split(' ').filter(|word| !without.contains(word)).map(str::to_owned).collect()
}

fn user(redis: &Redis, password: &str, without: &[&str]) {
    let rule = rule(password, without);
    let command: Vec<&str> =
        ["ACL", "SETUSER", "fapi-gateway", "reset"].into_iter().chain(rule.iter().map(String::as_str)).collect();
    assert_eq!(redis.cli(&command), "OK");
}

async fn world(port: u16, more: &str, sections: &str) -> World {
    let more = format!("{FILES}{more}");
    let world = World::with(|scene| {
        shared(scene, &at(port), &more)
            .replace("replay: { store: shared }\n", &format!("replay: {{ store: shared }}\n{sections}"))
            .file("user.txt", "fapi-gateway\n")
            .file("password.txt", "first\n")
    })
    .await;
    world.clock.advance(30);
    world
}

async fn judge(world: &World) -> (u16, String) {
    let holder = world.holder();
    let request = holder.request("/accounts", &holder.proof("/accounts", world.clock.now()));
    world.judge_from(&world.anonymous(), request).await
}

async fn until(world: &World, expected: &(u16, String)) {
    let reached = async { while judge(world).await != *expected {} };
    timeout(DEADLINE, reached).await.unwrap_or_else(|_| panic!("{expected:?} is not reached"));
}

/// How the store stands in `/status`, and why not well.
async fn status(world: &World, kind: &str) -> (String, String) {
    let status: serde_json::Value = serde_json::from_str(&world.gateway.admin("/status").await.1).expect("JSON");
    let resources = status["resources"].as_array().expect("a list");
    let resource = resources.iter().find(|resource| resource["kind"] == kind).expect("the resource");
    let why = resource["last_error"]["why"].as_str().unwrap_or_default();
    (resource["state"].as_str().expect("a state").to_owned(), why.to_owned())
}

async fn until_status(world: &World, state: &str, why: &str) {
    let reached = async {
        loop {
            let (now, because) = status(world, "store").await;
            if now == state && because.contains(why) {
                break;
            }
        }
    };
    let reached = timeout(DEADLINE, reached).await;
    assert!(reached.is_ok(), "{state} {why}: {:?}", status(world, "store").await);
}

/// Reloads with another password in the file; whether the new configuration came into force.
async fn reload(world: &World, number: usize, password: &str) -> bool {
    world.gateway.folder().write("password.txt", password);
    world.attempt_reload(number).await;
    let metrics = world.gateway.admin("/metrics").await.1;
    metrics.contains("\nfapi_gateway_config_last_reload_success 1\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_that_would_lose_the_store_is_refused_and_the_connection_in_use_stays() {
    let redis = Redis::start(&[]);
    user(&redis, "first", &[]);
    let world = world(redis.port(), "", "").await;
    assert_eq!(judge(&world).await, ok());
    // A wrong password.
    assert!(!reload(&world, 1, "wrong").await);
    assert_eq!(judge(&world).await, ok(), "the connection in use stays so");
    let (state, why) = status(&world, "configuration").await;
    assert_eq!(state, "failing");
    assert!(why.starts_with("stores.shared is in use, and with its new settings could not be: WRONGPASS"), "{why}");
    assert_eq!(
        status(&world, "store").await,
        ("good".to_owned(), String::new()),
        "nothing is wrong with what is in use"
    );
    // An address at which nothing listens.
    let free = free_ports(1)[0];
    world.edit(|text| text.replace(&at(redis.port()), &at(free)));
    assert!(!reload(&world, 2, "first").await);
    assert_eq!(judge(&world).await, ok());
    world.edit(|text| text.replace(&at(free), &at(redis.port())));
    // Control: the wrong password becomes the right one.
    assert_eq!(redis.cli(&["ACL", "SETUSER", "fapi-gateway", ">wrong"]), "OK");
    assert!(reload(&world, 3, "wrong").await);
    // The server says how old the log is by its own clock.
    world.clock.advance(30);
    assert_eq!(judge(&world).await, ok());
    assert_eq!(status(&world, "configuration").await.0, "good");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_down_anyway_keeps_no_reload_from_coming_into_force() {
    let mut redis = Redis::start(&[]);
    user(&redis, "first", &[]);
    let world = world(redis.port(), "", "").await;
    assert_eq!(judge(&world).await, ok());
    redis.kill();
    until(&world, &unavailable()).await;
    // With the settings that it had, and with others.
    assert!(reload(&world, 1, "first").await);
    assert!(reload(&world, 2, "second").await);
    until_status(&world, "failing", "connected to").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_the_user_may_not_run_are_named_and_only_those_of_what_is_in_use() {
    let redis = Redis::start(&[]);
    let shares = "rate_limits: { store: shared }\nrevocations: { store: shared }\n";
    for (sections, without, missing) in [
        (shares, &["+hdel", "+zrem"][..], Some("its user may not run `hdel`, `zrem`; docs/operate/replicas.md")),
        (shares, &["+hset"], Some("its user may not run `hset`;")),
        (shares, &["+evalsha"], Some("its user may not run `evalsha`;")),
        ("rate_limits: { store: shared }\n", &["+getrange"], None),
        (shares, &[], None),
        ("", &["+hdel", "+evalsha", "+eval"], None),
    ] {
        assert_eq!(redis.cli(&["FLUSHALL"]), "OK");
        user(&redis, "first", without);
        let world = world(redis.port(), "", sections).await;
        match missing {
            Some(missing) => until_status(&world, "failing", missing).await,
            None => until_status(&world, "good", "").await,
        }
        // What needs none of them works.
        until(&world, &ok()).await;
        if missing.is_some() {
            user(&redis, "first", &[]);
            until_status(&world, "good", "").await;
        }
        if without.is_empty() && !sections.is_empty() {
            // A right that is taken away is missed once it is needed.
            user(&redis, "first", &["+zrangebyscore"]);
            until_status(&world, "failing", "its user may not run `zrangebyscore`;").await;
        }
        let keys = redis.cli(&["--raw", "KEYS", "*none*"]);
        assert_eq!(keys, "", "nothing is written to find out");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_be_begun_with_is_named_with_what_it_lacks() {
    let redis = Redis::start(&["--databases", "4"]);
    for (without, database, why) in [
        (&[][..], 3, None),
        (&[], 4, Some("it has no database with the number `database`")),
        (&["+select"], 3, Some("NOPERM: its user may not run `select`; docs/operate/replicas.md")),
        (&["+info"], 3, Some("NOPERM: its user may not run `info`; docs/operate/replicas.md")),
        (&["+set"], 3, Some("NOPERM: its user may not run `set`; docs/operate/replicas.md")),
        (&["~fapi:*"], 3, Some("NOPERM: its user may not use the keys; docs/operate/replicas.md")),
    ] {
        assert_eq!(redis.cli(&["FLUSHALL"]), "OK");
        user(&redis, "first", without);
        let world = world(redis.port(), &format!(", database: {database}"), "").await;
        match why {
            Some(why) => {
                until_status(&world, "failing", why).await;
                assert_eq!(judge(&world).await, unavailable());
            }
            None => assert_eq!(judge(&world).await, ok(), "control"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_stranger_wrote_where_the_log_says_its_age_the_log_counts_as_new_and_goes_on() {
    let redis = Redis::start(&[]);
    let replicas = Replicas::start(&at(redis.port()), "").await;
    let [one, other] = replicas.gateways();
    let set = |value: &str| format!("return redis.call('SET', KEYS[1], {value})");
    for script in [
        set("'\\255\\254'"),
        set("'nonsense'"),
        set("string.rep('x', 100000)"),
        set("string.rep('x', 2000000)"),
        "redis.call('DEL', KEYS[1]) return redis.call('LPUSH', KEYS[1], 'x')".to_owned(),
        "redis.call('DEL', KEYS[1]) return redis.call('HSET', KEYS[1], 'x', 'y')".to_owned(),
    ] {
        let used = replicas.proof().sign(&replicas.holder.key);
        assert_eq!(replicas.judge(one, &used).await, ok(), "control: {script}");
        redis.cli(&["EVAL", &script, "1", "fapi:began"]);
        for gateway in [one, other] {
            replicas.until(gateway, &refused("dpop_nonce_required")).await;
        }
        assert_eq!(redis.cli(&["TYPE", "fapi:began"]), "string", "{script}");
        assert_eq!(replicas.judge(other, &used).await, refused("dpop_nonce_required"), "{script}");
        for gateway in [one, other] {
            replicas.until_older(gateway).await;
        }
    }
}
