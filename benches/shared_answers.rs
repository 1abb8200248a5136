//! What it costs to take an introspection answer from a store that replicas share, with a Redis server of its own on loopback, and
//! how much of it is the processor time of the gateway.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use fapi::UnixTime;
use fapi::credentials::PresentedToken;
use fapi::jose::keys::Algorithm;
use fapi::token::introspection::{ActiveAnswer, Answer};
use fapi::token::shared::{Basis, Fact, MAX_SEALED_BYTES, Place, SealKeys};
use fapi::token::{AccessTokenForm, ActiveToken, Expected, MissingAudience, TokenHash, TokenIds};
use fapi_gateway::clock::Clock;
use fapi_gateway::issuer::introspection::AnswerStore;
use fapi_gateway::resource::{Kind, Resources};
use fapi_gateway::store::Store;
use fapi_gateway::store::settings::{Address, Credentials, Servers, Settings};

const NOW: UnixTime = UnixTime(1_800_000_000);

/// What an issuer says of a usual token.
const ANSWER: &str = r#"{"active":true,"iss":"https://as.bank.example","aud":"https://api.bank.example","sub":"248289761001","client_id":"0f1e2d3c-4b5a-6978","scope":"openid accounts balances transactions","token_type":"DPoP","iat":1799999990,"exp":1800000290,"jti":"7c4a8d09-ca37-62af-61e5-9520943dc264","acr":"urn:openbanking:psd2:sca","cnf":{"jkt":"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"}}"#;

fn answer() -> ActiveAnswer {
    let Ok(Answer::Active(answer)) = Answer::from_json(ANSWER.as_bytes()) else { panic!("an active token") };
    answer
}

/// A token, where its answer is, and what opens it.
struct Facts {
    place: Place,
    keys: SealKeys,
    expected: Expected,
    ids: TokenIds,
}

impl Facts {
    fn new() -> Self {
        let token = PresentedToken::parse("2YotnFZFEjr1zCsicMWpAA2YotnFZFEjr1zCsicMWpAA").expect("a token");
        let expected = Expected {
            name: "bank".into(),
            issuer: "https://as.bank.example".into(),
            audiences: vec!["https://api.bank.example".into()],
            algorithms: Algorithm::ALL.to_vec(),
            rs256: None,
            form: AccessTokenForm::default(),
        };
        let endpoint = "https://as.bank.example/introspect";
        let place =
            Place::new(|name| format!("bench:{name}"), &Basis::of(&[b"gateway"]), endpoint, &TokenHash::of(token));
        Self { place, keys: SealKeys::new(&[[7; 32]]).expect("a key"), expected, ids: TokenIds::of(token) }
    }

    fn sealed(&self) -> Vec<u8> {
        let fact = Fact::bytes_of(&answer(), NOW).expect("it is small");
        self.keys.seal(&self.place, fact).expect("randomness")
    }

    fn opened(&self, sealed: &[u8]) -> ActiveToken {
        let fact = self.keys.open(&self.place, sealed).and_then(|fact| Fact::from_bytes(&fact)).expect("a fact");
        assert!(fact.age_at(NOW).is_some());
        let judged =
            ActiveToken::from_introspection(fact.into_answer(), self.ids, &self.expected, MissingAudience::Refuse, NOW);
        judged.expect("a good token")
    }
}

/// A Redis server that ends with the benchmark.
struct Redis(Child, PathBuf);

impl Redis {
    fn start(port: u16) -> Self {
        let folder = std::env::temp_dir().join(format!("fapi-gateway-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
            .arg(&folder)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server runs");
        Self(child, folder)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = std::fs::remove_dir_all(&self.1);
    }
}

fn store(port: u16) -> Arc<Store> {
    let settings = Settings {
        name: "shared".into(),
        servers: Servers::Single(Address { host: "127.0.0.1".into(), port }),
        tls: None,
        credentials: Credentials::default(),
        database: 0,
        prefix: "bench:".into(),
        timeout: Duration::from_secs(1),
        in_flight: 2000,
        min_replicas: 0,
        holds: Vec::new(),
    };
    let clock = Clock::system();
    let resource = Resources::new(clock.clone()).of(Kind::Store, "shared");
    Arc::new(Store::new(settings, clock, Arc::new(()), resource))
}

/// The processor time of this process in microseconds.
fn processor_time() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let fields: Vec<&str> = stat.rsplit(')').next().expect("a name").split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<u64>().expect("a number");
    // utime and stime, in hundredths of a second.
    (ticks(11) + ticks(12)) * 10_000
}

fn shared_answers(criterion: &mut Criterion) {
    let facts = Facts::new();
    let sealed = facts.sealed();
    let mut group = criterion.benchmark_group("shared introspection answers");
    group.bench_function("seal", |bencher| bencher.iter(|| facts.sealed()));
    group.bench_function("open, read and judge", |bencher| bencher.iter(|| facts.opened(&sealed)));

    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let _redis = Redis::start(port);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let store = store(port);
    let keeping = store.clone();
    runtime.spawn(async move { keeping.keep().await });
    runtime.block_on(async {
        tokio::time::timeout(Duration::from_secs(10), store.connected()).await.expect("the server answers");
        let lifetime = Duration::from_secs(3600);
        store.set(facts.place.as_str(), &sealed, lifetime).await.expect("it is stored");
    });
    let look_up = async || {
        let sealed =
            store.get(facts.place.as_str(), MAX_SEALED_BYTES, Duration::from_secs(1)).await.expect("an answer");
        facts.opened(&sealed)
    };
    group.bench_function("look-up on loopback", |bencher| {
        bencher.iter(|| runtime.block_on(look_up()));
    });
    group.finish();

    const LOOK_UPS: u64 = 50_000;
    let before = processor_time();
    for _ in 0..LOOK_UPS {
        runtime.block_on(look_up());
    }
    let one = (processor_time() - before) as f64 / LOOK_UPS as f64;
    println!("processor time of this process for one look-up: {one:.1} µs, one after the other");
}

criterion_group!(benches, shared_answers);
criterion_main!(benches);
