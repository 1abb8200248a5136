//! What it costs to record a use in a Redis server that this starts: how many a second, how long each takes, and how much processor
//! time of this process, with one, sixteen and a thousand of them at a time. Needs redis-server.

use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fapi_gateway::clock::{Clock, Moment};
use fapi_gateway::resource::{Kind, Resources};
use fapi_gateway::store::Store;
use fapi_gateway::store::settings::{Address, Credentials, Servers, Settings};
use redis::{Value, cmd};
use tokio::task::JoinSet;

#[cfg(feature = "mimalloc")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How many at a time, and how many in all.
const LOADS: [(u64, u64); 3] = [(1, 10_000), (16, 50_000), (1000, 200_000)];

fn main() {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
    let mut server = Command::new("redis-server")
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
        .stdout(Stdio::null())
        .spawn()
        .expect("redis-server runs");
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(matches!(server.try_wait(), Ok(None)), "redis-server ended");
        std::thread::yield_now();
    }
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let _ = runtime.block_on(runtime.spawn(measure(port)));
    let _ = server.kill();
    let _ = server.wait();
}

async fn measure(port: u16) {
    let clock = Clock::system();
    let settings = Settings {
        name: "bench".into(),
        servers: Servers::Single(Address { host: "127.0.0.1".into(), port }),
        tls: None,
        credentials: Credentials::default(),
        database: 0,
        prefix: "bench:".into(),
        timeout: Duration::from_secs(5),
        in_flight: 2000,
        min_replicas: 0,
        holds: Vec::new(),
    };
    let resource = Resources::new(clock.clone()).of(Kind::Store, "bench");
    let store = Arc::new(Store::new(settings, clock, Arc::new(()), resource));
    let kept = store.clone();
    let keeping = tokio::spawn(async move { kept.keep().await });
    store.connected().await;
    for (at_once, uses) in LOADS {
        let (began, cpu_before) = (Moment::now(), cpu());
        let mut asking = JoinSet::new();
        for _ in 0..at_once {
            let store = store.clone();
            asking.spawn(async move { record(&store, uses / at_once).await });
        }
        let mut took: Vec<Duration> = asking.join_all().await.into_iter().flatten().collect();
        let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu().saturating_sub(cpu_before));
        took.sort_unstable();
        let at = |percent: usize| took.get(took.len() * percent / 100).copied().unwrap_or_default();
        println!(
            "{at_once:5} at a time: {:8.0} a second, p50 {:?}, p99 {:?}, {:?} of processor time each",
            uses as f64 / seconds,
            at(50),
            at(99),
            cpu / u32::try_from(uses).expect("a small number"),
        );
    }
    keeping.abort();
}

/// Records so many first uses, one after the other; returns how long each took.
async fn record(store: &Store, uses: u64) -> Vec<Duration> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut took = Vec::new();
    for _ in 0..uses {
        let began = Moment::now();
        let key = format!("bench:p:{:022}", NEXT.fetch_add(1, Ordering::Relaxed));
        let mut question = cmd("SET");
        question.arg(key).arg("").arg("NX").arg("PX").arg(60_000);
        let answer = store.write(&question, |answer| (*answer == Value::Okay).then_some(()), |()| true).await;
        answer.expect("each is the first");
        took.push(began.elapsed());
    }
    took
}

/// The processor time of all threads, as Linux counts it.
fn cpu() -> Duration {
    let threads = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let of = |path| std::fs::read_to_string(path).ok()?.split(' ').next()?.parse::<u64>().ok();
    Duration::from_nanos(threads.filter_map(|thread| of(thread.path().join("schedstat"))).sum())
}
