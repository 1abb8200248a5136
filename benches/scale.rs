//! What a decision costs as there is more of everything: routes, issuers, tokens in the cache, entries in the replay log.
//!
//! Every cache is warm. Before the times it prints how much memory the tokens and the entries take.

mod stage;

use std::hint::black_box;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use sandbox::tokens::{AccessToken, KeyKind, SigningKey, ath};

use self::stage::{More, Sent, Stage};

const URL: &str = "https://api.bank.example/accounts/1";

fn scale(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let stage = |more| runtime.block_on(Stage::set_with(more));
    let mut group = criterion.benchmark_group("routes");
    for routes in [10, 100, 1000, 10_000] {
        let stage = stage(More { routes, ..More::default() });
        let bearer = format!("Bearer {}", stage.token());
        let last = stage.sent(&format!("/more/{}/a/items/b/c", routes - 1), &bearer, None);
        group.bench_function(BenchmarkId::from_parameter(routes), |bencher| {
            bencher.iter(|| stage.decide_at_once(black_box(&last)));
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("issuers");
    for issuers in [1, 10, 100] {
        let stage = stage(More { issuers, ..More::default() });
        let issuer = format!("https://as-{}.bank.example", issuers - 1);
        let token = stage.issuer.token(stage.now).claim("iss", issuer).bound_to_certificate(&stage.client);
        let token = token.sign(stage.issuer.key(KeyKind::Es256));
        let last = stage.sent("/any/1", &format!("Bearer {token}"), None);
        group.bench_function(BenchmarkId::from_parameter(issuers), |bencher| {
            bencher.iter(|| stage.decide_at_once(black_box(&last)));
        });
    }
    group.finish();

    let mut group = criterion.benchmark_group("tokens in the cache");
    for tokens in [1, 10_000, 100_000] {
        let stage = runtime.block_on(Stage::set());
        let before = resident_kib();
        let all: Vec<Sent> = (0..tokens).map(|number| bearer(&stage, number)).collect();
        let sent = resident_kib() - before;
        for one in &all {
            drop(stage.decide_at_once(one));
        }
        let more = resident_kib() - before - sent;
        println!("{tokens} tokens take {more} KiB, {} bytes each", more * 1024 / tokens);
        let mut next = all.iter().cycle();
        group.bench_function(BenchmarkId::from_parameter(tokens), |bencher| {
            bencher.iter(|| stage.decide_at_once(black_box(next.next().expect("a cycle"))));
        });
        // Its memory must not become that of the next one, which would then seem to take none.
        std::mem::forget(stage);
    }
    group.finish();

    let mut group = criterion.benchmark_group("entries in the replay log");
    for entries in [1, 10_000, 1_000_000] {
        let stage = runtime.block_on(Stage::set());
        let key = SigningKey::generate(KeyKind::Es256, "proofs");
        let token = stage.issuer.token(stage.now).bound_to_key(key.thumbprint());
        let token = token.sign(stage.issuer.key(KeyKind::Es256));
        let mut number = 0_u64;
        let mut next = || {
            number += 1;
            let proof = key.proof("GET", URL, stage.now, &format!("proof-{number}"), Some(&ath(&token)), None);
            stage.sent("/accounts/1", &format!("DPoP {token}"), Some(&proof))
        };
        drop(stage.decide_at_once(&next()));
        let before = resident_kib();
        for _ in 1..entries {
            drop(stage.decide_at_once(&next()));
        }
        let more = resident_kib() - before;
        println!("{entries} entries take {more} KiB, {} bytes each", more * 1024 / entries);
        group.bench_function(BenchmarkId::from_parameter(entries), |bencher| {
            bencher.iter_batched(&mut next, |sent| stage.decide_at_once(&sent), BatchSize::SmallInput);
        });
        std::mem::forget(stage);
    }
    group.finish();
}

/// A request with a token of its own.
fn bearer(stage: &Stage, number: u64) -> Sent {
    let token: AccessToken = stage.issuer.token(stage.now).bound_to_certificate(&stage.client);
    let token = token.claim("jti", format!("token-{number}")).sign(stage.issuer.key(KeyKind::Es256));
    stage.sent("/accounts/1", &format!("Bearer {token}"), None)
}

/// The memory of this process.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line for it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

criterion_group!(benches, scale);
criterion_main!(benches);
