//! The cost of recording the use of a proof when a million are remembered, on one thread and on eight at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use fapi::dpop::ProofId;
use fapi::jose::thumbprint::KeyThumbprint;
use fapi::{UnixTime, sha256};
use fapi_gateway::replay::memory::{Capacity, Insert, MemoryLog};

const NOW: u64 = 1_800_000_000;
const THREADS: u64 = 8;

fn id(number: u64) -> ProofId {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = sha256(&number.to_be_bytes());
    ProofId::from_bytes([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
}

/// Uses a proof by one of 5,000 keys that was made within the last minute, as on a busy gateway.
fn use_of(log: &MemoryLog, number: u64) -> Insert {
    let key = KeyThumbprint::from_bytes(sha256(&(number % 5000).to_be_bytes()));
    log.insert(&id(number), &key, UnixTime(NOW + 1 + number % 60), UnixTime(NOW))
}

fn replay(criterion: &mut Criterion) {
    let log = Arc::new(MemoryLog::new(Capacity { total: 1_000_000_000, per_key: 1_000_000_000 }, UnixTime(0)));
    for number in 0..1_000_000 {
        assert_eq!(use_of(&log, number), Insert::First);
    }
    let next = Arc::new(AtomicU64::new(1_000_000));
    let mut group = criterion.benchmark_group("replay log with a million entries");
    group.bench_function("SHA-256 of the id alone", |bencher| {
        bencher.iter(|| id(next.fetch_add(1, Ordering::Relaxed)));
    });
    group.bench_function("first use", |bencher| {
        bencher.iter(|| use_of(&log, next.fetch_add(1, Ordering::Relaxed)));
    });
    group.bench_function("second use", |bencher| bencher.iter(|| use_of(&log, 77)));
    group.bench_function("first use, eight threads", |bencher| {
        bencher.iter_custom(|uses| {
            let threads: Vec<_> = (0..THREADS)
                .map(|_| {
                    let (log, next) = (log.clone(), next.clone());
                    std::thread::spawn(move || {
                        #[expect(clippy::disallowed_methods, reason = "a benchmark measures")]
                        let began = std::time::Instant::now();
                        for _ in 0..uses.div_ceil(THREADS) {
                            use_of(&log, next.fetch_add(1, Ordering::Relaxed));
                        }
                        began.elapsed()
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).max().unwrap_or(Duration::ZERO)
        });
    });
    group.finish();
}

criterion_group!(benches, replay);
criterion_main!(benches);
