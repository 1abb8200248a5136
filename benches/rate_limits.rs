//! The cost of taking a request of a rate limit: counted by this process alone, and shared with other replicas.

#![allow(missing_docs, clippy::unwrap_used, reason = "a measurement that cannot be made may panic")]

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use fapi::rate_limit::By;
use fapi_gateway::clock::Clock;
use fapi_gateway::rate_limits::shared::Shared;
use fapi_gateway::rate_limits::{Limit, Rate, RateLimits, Settings, Unit};
use fapi_gateway::resource::{Kind, Resources};
use fapi_gateway::store::{self, Store};
use prometheus::IntCounter;

const THREADS: u32 = 8;

/// Limits that refuse nobody; a store is named, but nobody asks it.
fn limits(shared: bool) -> RateLimits {
    let most = NonZeroU32::new(1_000_000).unwrap();
    let limit = Limit { by: By::Address, rate: Rate { requests: most, per: Unit::Second }, burst: most };
    let settings = Settings { max_keys: 100_000, routes: vec![("r".into(), vec![limit])] };
    let counter = || IntCounter::new("counter", "counter").unwrap();
    let clock = Clock::system();
    let store = || {
        let settings = store::settings::Settings {
            name: "shared".into(),
            servers: store::settings::Servers::Single(store::settings::Address { host: "127.0.0.1".into(), port: 1 }),
            tls: None,
            credentials: store::settings::Credentials::default(),
            database: 0,
            prefix: "fapi:".into(),
            timeout: Duration::from_millis(50),
            in_flight: 2_000,
            min_replicas: 0,
            holds: Vec::new(),
        };
        let resource = Resources::new(clock.clone()).of(Kind::Store, "shared");
        Shared { store: Arc::new(Store::new(settings, clock.clone(), Arc::new(()), resource)), untold: counter() }
    };
    RateLimits::new(&settings, None, shared.then(store), &clock, |_, _| counter()).unwrap()
}

fn take(limits: &RateLimits, address: u32) -> bool {
    let address = IpAddr::V4(Ipv4Addr::from(address));
    limits.of_route("r").unwrap().take_by_address(Some(address), &mut None).is_ok()
}

fn rate_limits(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("rate limits");
    for (name, shared) in [("alone", false), ("shared", true)] {
        let of_one = limits(shared);
        group.bench_function(format!("{name}, one address"), |bencher| bencher.iter(|| take(&of_one, 7)));
        // What is gathered has room for them.
        group.bench_function(format!("{name}, the first of each of 3,000 addresses"), |bencher| {
            bencher.iter_custom(|requests| {
                let mut took = Duration::ZERO;
                for _ in 0..requests.div_ceil(3_000) {
                    let of_many = limits(shared);
                    #[expect(clippy::disallowed_methods, reason = "a benchmark measures")]
                    let began = std::time::Instant::now();
                    (0..3_000).for_each(|address| assert!(take(&of_many, address)));
                    took += began.elapsed();
                }
                took.mul_f64(requests as f64 / (requests.div_ceil(3_000) * 3_000) as f64)
            });
        });
        let of_all = Arc::new(limits(shared));
        let next = Arc::new(AtomicU32::new(0));
        group.bench_function(format!("{name}, 1,000 addresses on eight threads"), |bencher| {
            bencher.iter_custom(|requests| {
                let threads: Vec<_> = (0..THREADS)
                    .map(|_| {
                        let (limits, next) = (of_all.clone(), next.clone());
                        std::thread::spawn(move || {
                            #[expect(clippy::disallowed_methods, reason = "a benchmark measures")]
                            let began = std::time::Instant::now();
                            for _ in 0..requests.div_ceil(THREADS.into()) {
                                take(&limits, next.fetch_add(1, Ordering::Relaxed) % 1_000);
                            }
                            began.elapsed()
                        })
                    })
                    .collect();
                threads.into_iter().map(|thread| thread.join().unwrap()).max().unwrap_or_default()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, rate_limits);
criterion_main!(benches);
