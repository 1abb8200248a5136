//! Rate limits that replicas share through a Redis server: what one of them counts is used at the others too, soon after; no
//! request waits for the server, and none passes that the limits of one process alone would refuse.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use allocation_counter::measure;
use bytes::Bytes;
use fapi::rate_limit::By;
use fapi_gateway::clock::Clock;
use fapi_gateway::rate_limits::shared::Shared;
use fapi_gateway::rate_limits::{Limit, Rate, RateLimits, Settings, Unit};
use fapi_gateway::resource::{Kind, Resources};
use fapi_gateway::store::guarantee::Level;
use fapi_gateway::store::{self, Store};
use http::Request;
use prometheus::IntCounter;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::dpop::replicas::liar;
use crate::support::client::Client;
use crate::support::redis::Redis;
use crate::support::{DEADLINE, Running, Scene, TestClock, World, request};

/// The limits of one replica, without a gateway around them.
struct Replica {
    limits: RateLimits,
    store: Option<Arc<Store>>,
    untold: IntCounter,
    _work: JoinSet<()>,
}

/// How a replica reaches the server.
struct Reached {
    port: u16,
    timeout: Duration,
    user: Option<(&'static str, &'static str)>,
}

impl Reached {
    const fn at(port: u16) -> Self {
        Self { port, timeout: Duration::from_secs(5), user: None }
    }

    fn store(&self, clock: &Clock) -> Store {
        let settings = store::settings::Settings {
            name: "shared".into(),
            servers: store::settings::Servers::Single(store::settings::Address {
                host: "127.0.0.1".into(),
                port: self.port,
            }),
            tls: None,
            credentials: store::settings::Credentials {
                username: self.user.map(|(name, _)| name.into()),
                password: self.user.map(|(_, password)| store::settings::Password::new(password)),
            },
            database: 0,
            prefix: "fapi:".into(),
            timeout: self.timeout,
            in_flight: 100,
            min_replicas: 0,
            holds: Vec::new(),
        };
        let resource = Resources::new(clock.clone()).of(Kind::Store, "shared");
        Store::new(settings, clock.clone(), Arc::new(()), resource)
    }
}

impl Replica {
    /// One that counts this limit by address, and shares it if it says where.
    async fn start(limit: Limit, reached: Option<&Reached>, clock: &Clock) -> Self {
        let untold = IntCounter::new("untold", "untold").unwrap();
        let store = reached.map(|reached| Arc::new(reached.store(clock)));
        let mut work = JoinSet::new();
        if let Some(store) = &store {
            let kept = store.clone();
            work.spawn(async move { kept.keep().await });
            timeout(DEADLINE, store.connected()).await.expect("a connection");
        }
        let shared = store.clone().map(|store| Shared { store, untold: untold.clone() });
        let settings = Settings { max_keys: 1_000, routes: vec![("r".into(), vec![limit])] };
        let refused = |_: &str, _: By| IntCounter::new("refused", "refused").unwrap();
        let limits = RateLimits::new(&settings, None, shared, clock, refused).expect("a route has limits");
        if let Some(exchange) = limits.exchange() {
            work.spawn(exchange.clone().keep());
        }
        Self { limits, store, untold, _work: work }
    }

    fn take(&self) -> bool {
        self.take_from("192.0.2.1")
    }

    fn take_from(&self, address: &str) -> bool {
        let address = address.parse::<IpAddr>().unwrap();
        self.limits.of_route("r").unwrap().take_by_address(Some(address), &mut None).is_ok()
    }

    /// How many requests pass until one is refused.
    fn take_all(&self) -> u64 {
        (0..10_000).take_while(|_| self.take()).count() as u64
    }

    /// Waits until so many requests could not be told.
    async fn untold(&self, requests: u64) {
        until("requests that are not told", async || self.untold.get() >= requests).await;
    }
}

fn limit(requests: u32, per: Unit, burst: u32) -> Limit {
    let number = |number| NonZeroU32::new(number).unwrap();
    Limit { by: By::Address, rate: Rate { requests: number(requests), per }, burst: number(burst) }
}

/// A clock that stands still.
fn still() -> Clock {
    Clock::from_fn(|| Duration::from_secs(1_900_000_000))
}

/// Asks until the answer is yes.
async fn until(what: &str, yes: impl AsyncFn() -> bool) {
    let reached = async {
        while !yes().await {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, reached).await.unwrap_or_else(|_| panic!("not reached: {what}"));
}

/// The names of the buckets in the server.
fn buckets(redis: &Redis) -> Vec<String> {
    redis.cli(&["--raw", "KEYS", "fapi:r:*"]).lines().map(str::to_owned).collect()
}

/// How long the only bucket takes until it is full, in whole hours; 0 if there is none.
fn hours(redis: &Redis) -> u64 {
    let buckets = buckets(redis);
    assert!(buckets.len() <= 1, "{buckets:?}");
    let Some(bucket) = buckets.first() else { return 0 };
    hours_of(redis, bucket)
}

fn hours_of(redis: &Redis, bucket: &str) -> u64 {
    let value = redis.cli(&["GET", bucket]);
    let micros: u64 = value.split(' ').next().and_then(|left| left.parse().ok()).unwrap_or_else(|| panic!("{value}"));
    (micros + 1_800_000_000) / 3_600_000_000
}

async fn until_hours(redis: &Redis, wanted: u64) {
    until(&format!("{wanted} hours"), async || hours(redis) == wanted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_let_through_one_rate_together_and_a_burst_each() {
    const REPLICAS: u64 = 3;
    const SECONDS: u64 = 4;
    const TICKS: u64 = SECONDS * 1_000;
    let redis = Redis::start(&[]);
    let (rate, burst) = (200, 20);
    let clock = Clock::system();
    let reached = Reached { timeout: Duration::from_millis(500), ..Reached::at(redis.port()) };
    let mut work = JoinSet::new();
    for replica in 0..REPLICAS * 2 {
        let shared = replica < REPLICAS;
        let limit = limit(rate, Unit::Second, burst);
        let replica = Replica::start(limit, shared.then_some(&reached), &clock).await;
        work.spawn(async move {
            let mut ticks = interval(Duration::from_millis(1));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut passed = 0;
            for _ in 0..TICKS {
                ticks.tick().await;
                passed += u64::from(replica.take());
            }
            (shared, passed, replica.untold.get())
        });
    }
    let began = clock.monotonic();
    let (mut together, mut alone, mut untold) = (0, 0, 0);
    while let Some(ended) = work.join_next().await {
        let (shared, passed, untold_here) = ended.unwrap();
        // On a busy machine, an answer may come too late.
        untold += untold_here;
        *(if shared { &mut together } else { &mut alone }) += passed;
    }
    let seconds = (clock.monotonic() - began).as_secs_f64();
    let given = (f64::from(rate) * seconds) as u64;
    // An interval and two timeouts.
    let late = (f64::from(rate) * 1.1) as u64;
    let most = REPLICAS * (u64::from(burst) + late) + given;
    assert!(together <= most + untold, "{together} of {most} and {untold}");
    assert!(together >= given / 2, "nobody is starved: {together} of {given}");
    assert!(alone > most, "control: without the server {alone} pass, more than {most}");
}

/// A gateway beside that of a world, and the same client at both.
struct Replicas {
    world: World,
    other: Running,
    client: Client,
}

impl Replicas {
    async fn start(adjust: impl Fn(Scene) -> Scene) -> Self {
        let world = World::with(&adjust).await;
        let scene = Scene::new(&world.authority, world.issuer.issuer(), world.accounts.address());
        let other = Running::start(adjust(scene), &world.clock).await;
        other.ready().await;
        let client =
            Client::new(other.address(), &world.authority).origin(crate::support::ORIGIN).certificate(&world.c1);
        Self { world, other, client }
    }

    fn request(&self) -> Request<Bytes> {
        request("/accounts", &self.world.sign(&self.world.token()))
    }

    async fn here(&self) -> u16 {
        self.world.judge(self.request()).await.0
    }

    async fn there(&self) -> u16 {
        self.client.send(self.request()).await.expect("the gateway answers").status().as_u16()
    }
}

/// A scene whose route of accounts has this limit, which is counted there.
fn limited(scene: Scene, store: &str, limit: &str) -> Scene {
    let of_accounts = "    scopes: [accounts]\n";
    scene
        .replace("upstreams:\n", &format!("{store}upstreams:\n"))
        .replace(of_accounts, &format!("    rate_limits: [{limit}]\n{of_accounts}"))
}

fn shared_at(port: u16) -> String {
    format!(
        "stores: {{ shared: {{ servers: [\"redis://127.0.0.1:{port}\"], timeout: 5s }} }}\nrate_limits: {{ store: shared }}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn fwd_15_what_a_client_uses_at_one_replica_is_used_at_the_other() {
    let redis = Redis::start(&[]);
    for (store, shared) in [(shared_at(redis.port()), true), (String::new(), false)] {
        let replicas = Replicas::start(|scene| limited(scene, &store, "{ by: client, rate: 1/h, burst: 10 }")).await;
        for _ in 0..10 {
            assert_eq!(replicas.here().await, 200);
        }
        assert_eq!(replicas.here().await, 429);
        if !shared {
            for _ in 0..10 {
                assert_eq!(replicas.there().await, 200, "control: each process has a limit of its own");
            }
            assert_eq!(replicas.there().await, 429);
            continue;
        }
        until_hours(&redis, 10).await;
        // It cannot know before it asks.
        assert_eq!(replicas.there().await, 200);
        until_hours(&redis, 11).await;
        let mut passed = 1;
        while replicas.there().await == 200 {
            passed += 1;
        }
        assert!(passed < 10, "{passed}");
        until_hours(&redis, 10 + passed).await;
        // What passed beyond the limit is waited for.
        let refused = replicas.client.send(replicas.request()).await.unwrap();
        let waits: u64 = refused.headers()["retry-after"].to_str().unwrap().parse().unwrap();
        assert!((3600 * (1 + passed) - 60..=3600 * (1 + passed)).contains(&waits), "{waits} for {passed}");
        // The server has nothing that could be read, and keeps it until it says nothing.
        let [bucket] = &*buckets(&redis) else { panic!("one client has one bucket") };
        assert_eq!(bucket.len(), "fapi:r:".len() + 22, "{bucket}");
        let ends: u64 = redis.cli(&["TTL", bucket]).parse().unwrap();
        assert!((3600 * (9 + passed)..=3600 * (10 + passed)).contains(&ends), "{ends}");
        let metrics = replicas.other.admin("/metrics").await.1;
        assert!(metrics.contains("fapi_gateway_guarantee{level=\"shared\",name=\"rate_limits\"} 1\n"), "{metrics}");
        assert!(metrics.contains("fapi_gateway_rate_limit_uses_untold_total{store=\"shared\"} 0\n"), "{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_silent_or_gone_keeps_nobody_waiting_and_nothing_counts_twice() {
    let mut redis = Redis::start(&[]);
    let reached = Reached { timeout: Duration::from_secs(1), ..Reached::at(redis.port()) };
    let time = TestClock::new();
    let clock = {
        let time = time.clone();
        Clock::from_fn(move || Duration::from_secs(time.now()))
    };
    let replica = Replica::start(limit(1, Unit::Hour, 5), Some(&reached), &clock).await;
    assert!(replica.take() && replica.take());
    until_hours(&redis, 2).await;
    redis.pause();
    assert!(replica.take(), "nobody waits for an answer");
    replica.untold(1).await;
    redis.resume();
    // The server may have heard of it all the same.
    assert!(replica.take());
    until("what was used is told", async || hours(&redis) >= 3).await;
    let told = hours(&redis);
    assert!(told <= 4, "{told}");
    assert_eq!(replica.take_all(), 1);
    until_hours(&redis, told + 1).await;
    // The first has to be given before the next passes, whatever the server says.
    redis.kill();
    time.advance(3600);
    assert_eq!(replica.take_all(), 1);
    replica.untold(2).await;
    redis.start_again();
    let store = replica.store.as_ref().unwrap();
    timeout(DEADLINE, store.connected()).await.expect("the server is back");
    time.advance(3600);
    assert_eq!(replica.take_all(), 1);
    // It knows what was used since then, and nothing of before.
    until_hours(&redis, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_is_named_and_each_replica_counts_alone() {
    let redis = Redis::start(&["--maxmemory", "10mb"]);
    let clock = still();
    let replica = Replica::start(limit(1, Unit::Hour, 3), Some(&Reached::at(redis.port())), &clock).await;
    assert!(replica.take());
    until_hours(&redis, 1).await;
    assert_eq!(redis.cli(&["CONFIG", "SET", "maxmemory", "1"]), "OK");
    assert!(replica.take());
    replica.untold(1).await;
    let store = replica.store.as_ref().unwrap();
    assert!(store.kept_for().is_some(), "the connection is as good as before");
    assert_eq!(redis.cli(&["CONFIG", "SET", "maxmemory", "10mb"]), "OK");
    assert_eq!(replica.take_all(), 1, "as by its own memory");
    until_hours(&redis, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_somebody_writes_into_the_server_nothing_passes_beyond_the_limit_of_one_process() {
    let redis = Redis::start(&[]);
    let clock = still();
    let nines = format!("{} 1", "9".repeat(400));
    let later = "3600000000 9000000000000000";
    // How many hours the bucket then takes, after another use of one hour.
    for (written, hours_then) in [
        (&["SET", "BUCKET", "-5 -5"][..], 1),
        (&["SET", "BUCKET", "nan nan"], 1),
        (&["SET", "BUCKET", "1e300 1e300"], 1),
        (&["SET", "BUCKET", ""], 1),
        (&["SET", "BUCKET", "7"], 1),
        (&["SET", "BUCKET", "0 0"], 1),
        (&["SET", "BUCKET", "36000000000 0"], 1),
        (&["DEL", "BUCKET"], 1),
        (&["RPUSH", "BUCKET", "3600000000 1"], 1),
        (&["HSET", "BUCKET", "a", "b"], 1),
        // As when the server's clock was set back: it is as if it had been used just now.
        (&["SET", "BUCKET", later], 2),
        (&["SET", "BUCKET", &nines], 1),
        // The most that sixteen replicas can use.
        (&["SET", "BUCKET", "99999999999999999999 9000000000000000"], 16 * 4),
    ] {
        redis.cli(&["FLUSHALL"]);
        let replica = Replica::start(limit(1, Unit::Hour, 4), Some(&Reached::at(redis.port())), &clock).await;
        assert!(replica.take());
        until_hours(&redis, 1).await;
        let [bucket] = &*buckets(&redis) else { panic!("there is one bucket") };
        let command: Vec<&str> =
            written.iter().map(|word| if *word == "BUCKET" { bucket.as_str() } else { word }).collect();
        if command[0] != "SET" {
            redis.cli(&["DEL", bucket]);
        }
        redis.cli(&command);
        assert!(replica.take(), "{written:?}");
        let anew =
            || redis.cli(&["TYPE", bucket]) == "string" && redis.cli(&["GET", bucket]) != *command.last().unwrap();
        until("the bucket is written anew", async || anew()).await;
        let passes = replica.take_all();
        if hours_then > 2 {
            assert_eq!(hours(&redis), hours_then, "{written:?}");
            until("it is refused", async || !replica.take()).await;
        } else {
            assert_eq!(passes, 2, "{written:?}");
            until(&format!("{written:?}"), async || hours(&redis) == hours_then + 2).await;
        }
        assert!(passes <= 2, "{written:?}");
        assert_eq!(replica.untold.get(), 0, "{written:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_server_answers_nothing_passes_beyond_the_limit_of_one_process() {
    static LONG: [u8; 200_000] = [b'x'; 200_000];
    for (says, heard) in [
        (&b"*1\r\n:3600000000000\r\n"[..], true),
        (b"*1\r\n:-10800000000\r\n", false),
        (b"*1\r\n:9223372036854775807\r\n", false),
        (b"*0\r\n", false),
        (b"*2\r\n:0\r\n:0\r\n", false),
        (b"*1\r\n$1\r\n0\r\n", false),
        (b"*1\r\n,nan\r\n", false),
        (b"*1\r\n,0\r\n", false),
        (b"*1\r\n_\r\n", false),
        (b"*1\r\n*1\r\n:0\r\n", false),
        (b":0\r\n", false),
        (b"+OK\r\n", false),
        (b"_\r\n", false),
        (b"-NOSCRIPT x\r\n", false),
        (b"-NOPERM x\r\n", false),
        (b"-READONLY x\r\n", false),
        (b"nonsense\r\n", false),
        (&LONG, false),
    ] {
        let shown = String::from_utf8_lossy(&says[..says.len().min(40)]).into_owned();
        let reached = Reached { timeout: Duration::from_millis(200), ..Reached::at(liar(says).await) };
        let clock = still();
        let replica = Replica::start(limit(1, Unit::Hour, 1_000), Some(&reached), &clock).await;
        assert!(replica.take(), "{shown}");
        if heard {
            let (mut ticks, mut passed) = (interval(Duration::from_millis(5)), 1);
            while replica.take() {
                ticks.tick().await;
                passed += 1;
            }
            assert!(passed < 1_000, "control: what a server says in order counts");
            continue;
        }
        replica.untold(1).await;
        assert_eq!(replica.take_all(), 999, "{shown}: as by its own memory");
        replica.untold(1_000).await;
        assert!(!replica.take(), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_with_the_documented_rights_is_enough_and_one_with_less_shares_nothing() {
    let docs = include_str!("../../docs/operate/replicas.md");
    let rule = docs.lines().find_map(|line| line.strip_prefix("user fapi-gateway ")).expect("the rule of the user");
    let rule = rule.replace("PASSWORD", "secret");
    let redis = Redis::start(&[]);
    for (missing, shares) in [("", true), (" +evalsha", false), (" +eval", false)] {
        redis.cli(&["FLUSHALL"]);
        redis.cli(&["SCRIPT", "FLUSH"]);
        let mut words: Vec<&str> = rule.split(' ').collect();
        words.retain(|word| *word != missing.trim());
        assert_eq!(words.len(), rule.split(' ').count() - usize::from(!missing.is_empty()), "{missing}");
        let command: Vec<&str> = ["ACL", "SETUSER", "fapi-gateway", "reset"].into_iter().chain(words).collect();
        assert_eq!(redis.cli(&command), "OK");
        let reached = Reached { user: Some(("fapi-gateway", "secret")), ..Reached::at(redis.port()) };
        let clock = still();
        let replica = Replica::start(limit(1, Unit::Hour, 5), Some(&reached), &clock).await;
        assert!(replica.take());
        if !shares {
            replica.untold(1).await;
            assert_eq!(hours(&redis), 0, "{missing}");
            until("it is degraded", async || replica.limits.level() == Level::Degraded).await;
            assert_eq!(redis.cli(&["ACL", "SETUSER", "fapi-gateway", missing.trim()]), "OK");
            // Although nothing is used.
            until("it is shared", async || replica.limits.level() == Level::Shared).await;
            continue;
        }
        until_hours(&redis, 1).await;
        // The server forgets scripts, as when it starts again.
        assert_eq!(redis.cli(&["SCRIPT", "FLUSH"]), "OK");
        assert!(replica.take());
        until_hours(&redis, 2).await;
        assert_eq!(replica.untold.get(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_keys_at_once_are_told_and_what_is_given_back_is_not() {
    let redis = Redis::start(&[]);
    let clock = still();
    let replica = Replica::start(limit(1, Unit::Hour, 3), Some(&Reached::at(redis.port())), &clock).await;
    for number in 0..1_000 {
        assert!(replica.take_from(&format!("198.51.{}.{}", number / 250, number % 250)));
    }
    until("every key has a bucket", async || buckets(&redis).len() == 1_000).await;
    assert_eq!(replica.untold.get(), 0);
    redis.cli(&["FLUSHALL"]);
    // By a limit that refuses after another was taken: of the first, the server keeps nothing but the one that passed.
    let world = World::with(|scene| {
        limited(
            scene,
            &shared_at(redis.port()),
            "{ by: sender, rate: 1/h, burst: 5 }, { by: client, rate: 1/h, burst: 1 }",
        )
    })
    .await;
    let ask = async || world.judge(request("/accounts", &world.sign(&world.token()))).await.0;
    assert_eq!([ask().await, ask().await, ask().await], [200, 429, 429]);
    until("both have a bucket", async || buckets(&redis).len() == 2).await;
    // It may hear of a request just before that is given back.
    let each_has_one = async || buckets(&redis).iter().all(|bucket| hours_of(&redis, bucket) == 1);
    until("each has the one that passed", each_has_one).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_switches_it_on_and_off_and_gives_nobody_a_new_limit() {
    let redis = Redis::start(&[]);
    let limit = "{ by: client, rate: 1/h, burst: 4 }";
    let world = World::with(|scene| limited(scene, "", limit)).await;
    let ask = async || world.judge(request("/accounts", &world.sign(&world.token()))).await.0;
    assert_eq!(ask().await, 200);
    world.reload(1, |yaml| yaml.replace("upstreams:\n", &format!("{}upstreams:\n", shared_at(redis.port())))).await;
    assert_eq!(ask().await, 200);
    until_hours(&redis, 1).await;
    world.reload(2, |yaml| yaml).await;
    assert_eq!(ask().await, 200);
    until_hours(&redis, 2).await;
    world.reload(3, |yaml| yaml.replace(&shared_at(redis.port()), "")).await;
    assert_eq!([ask().await, ask().await], [200, 429], "four since the start");
    assert_eq!(hours(&redis), 2, "the server is not told any more");
    world
        .reload(4, |yaml| {
            let shared = yaml.replace("upstreams:\n", &format!("{}upstreams:\n", shared_at(redis.port())));
            shared.replace(limit, "{ by: client, rate: 2/h, burst: 4 }")
        })
        .await;
    assert_eq!(ask().await, 200, "another limit begins anew");
    until("it has a bucket of its own", async || buckets(&redis).len() == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sharing_allocates_nothing_where_requests_are_decided() {
    let redis = Redis::start(&[]);
    let clock = still();
    let mut least = Vec::new();
    for reached in [None, Some(Reached::at(redis.port()))] {
        let replica = Replica::start(limit(1_000_000, Unit::Second, 1_000_000), reached.as_ref(), &clock).await;
        let counts = (0..200).map(|number| {
            let address = format!("203.0.113.{number}");
            measure(|| assert!(replica.take_from(&address))).count_total
        });
        least.push(counts.min());
    }
    let [alone, shared] = &*least else { panic!("two were measured") };
    assert!(*alone > Some(0), "control: the fields of the response are allocated");
    assert_eq!(alone, shared);
}
