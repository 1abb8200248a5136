//! What the chain of the audit costs the thread that writes it, for each line: the hash of the line, and the signatures of the
//! checkpoints.

#![allow(missing_docs, clippy::unwrap_used, reason = "a measurement that cannot be made may panic")]

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use fapi::jose::keys::Algorithm;
use fapi::jose::signing::PrivateKey;
use fapi_gateway::clock::Clock;
use fapi_gateway::telemetry::audit::chain::{Chain, ChainKey, ChainSettings};
use fapi_gateway::telemetry::lines::{Output, Stamp};

/// How many lines are written at a time under load: 64 KiB of them.
const LINES: usize = 64;
/// The length of a usual line, in bytes.
const LINE: usize = 1024;

fn chain(algorithm: Algorithm) -> Chain {
    let key = Arc::new(ChainKey::new(PrivateKey::generate(algorithm).unwrap()).unwrap());
    let settings = ChainSettings { key, records: 1000, interval: Duration::from_secs(10) };
    let nothing = Output::Other(Box::new(Vec::new()));
    Chain::new(Arc::new(ArcSwap::from_pointee(settings)), Clock::system(), &nothing)
}

fn audit(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("audit");
    let line = [b"{\"a\":\"", &vec![b'x'; LINE - 9][..], b"\"}\n"].concat();
    let lines = line.repeat(LINES);
    group.throughput(Throughput::Elements(LINES as u64));
    group.bench_function("64 lines, copied", |bencher| bencher.iter(|| std::hint::black_box(lines.clone())));
    for algorithm in [Algorithm::Es256, Algorithm::EdDsa] {
        let mut chain = chain(algorithm);
        group.bench_function(format!("64 lines, copied and chained, {}", algorithm.as_str()), |bencher| {
            bencher.iter(|| {
                let mut lines = lines.clone();
                chain.stamp(&mut lines, 0);
                std::hint::black_box(lines)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, audit);
criterion_main!(benches);
