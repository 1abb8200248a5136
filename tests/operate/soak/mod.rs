//! The program for a long time, with everything at once: honest clients over HTTP/1.1 and HTTP/2, with both bindings and both
//! kinds of token; issuers that change their keys; reloads and rotations of the audit every ten seconds; revocations; an
//! issuer, an upstream and a name that come and go; and enemies with junk, replays, floods and stalls. Honest traffic has to
//! pass whole, no proof may be accepted twice, every exchange has to be in the audit once, and memory and descriptors have
//! to stay as they are; the same, but for the audit, if nobody reads the audit and the log. Not part of a normal run; needs
//! `libnss_wrapper.so`, of the package libnss-wrapper, which answers for the name:
//!
//! ```sh
//! cargo test --release --test main -- --ignored --nocapture soak
//! ```
//!
//! Each takes ten minutes; `FAPI_GATEWAY_SOAK_SECONDS` overrides the duration, and `FAPI_GATEWAY_SOAK_PROGRAM` the program.

mod audit;
mod enemies;
mod honest;
mod world;

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use self::audit::Audit;
use self::world::{AuditTo, World, instant};

const PERIOD: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes ten minutes"]
async fn everything_at_once_changes_nothing_for_the_honest() {
    soak(AuditTo::File).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes ten minutes"]
async fn nor_does_an_audit_and_a_log_that_nobody_reads() {
    soak(AuditTo::FullPipe).await;
}

async fn soak(to: AuditTo) {
    let seconds = std::env::var("FAPI_GATEWAY_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(600);
    let world = Arc::new(World::start(to).await);
    let mut work = JoinSet::new();
    for number in 0..8 {
        work.spawn(honest::client(world.clone(), number));
    }
    work.spawn(honest::revoking(world.clone()));
    work.spawn(honest::of_flaky_servers(world.clone()));
    work.spawn(enemies::junk(world.clone()));
    work.spawn(enemies::replays(world.clone()));
    work.spawn(enemies::floods(world.clone()));
    for number in 0..4 {
        work.spawn(enemies::stalls(world.clone(), number));
    }
    work.spawn(world::keys_change(world.clone()));
    work.spawn(world::servers_come_and_go(world.clone()));
    work.spawn(world::name_comes_and_goes(world.clone()));

    let (mut audit, mut samples, began) = (Audit::default(), Vec::new(), instant());
    while began.elapsed() < Duration::from_secs(seconds) {
        tokio::time::sleep(PERIOD).await;
        // One that has ended has failed.
        if let Some(ended) = work.try_join_next() {
            ended.expect("everything goes on until the end");
        }
        samples.push(world.sample());
        let (resident, descriptors) = samples[samples.len() - 1];
        let counts = world.counts();
        let seconds = began.elapsed().as_secs();
        println!(
            "{seconds:4} s  {resident:7} KiB  {descriptors:4} descriptors  {counts}  {} in the audit",
            audit.lines()
        );
        if to == AuditTo::File {
            audit.rotate(&world);
        }
        world.signal("-HUP");
    }
    let lost = world.metric("fapi_gateway_audit_lines_lost_total").await;
    world.end();
    while let Some(ended) = work.join_next().await {
        ended.expect("every exchange had the expected outcome");
    }
    let status = world.stop().await;
    println!("{}", world.counts());
    match to {
        AuditTo::File => {
            audit.last(&world);
            audit.has_each_once(&world.answered());
            assert_eq!((lost, status), (0.0, Some(0)));
        }
        AuditTo::FullPipe => assert!(lost > 0.0 && status == Some(1), "control: lines were lost, and it says so"),
    }
    stays(&samples, |sample| sample.0, |early| early * 11 / 10 + 8192);
    // A flood has a hundred at a time.
    stays(&samples, |sample| sample.1, |early| early + 150);
}

/// The medians of the second and of the last quarter, of which the latter may be so large.
fn stays(samples: &[(u64, u64)], of: fn(&(u64, u64)) -> u64, bound: fn(u64) -> u64) {
    let median = |part: &[(u64, u64)]| {
        let mut values: Vec<u64> = part.iter().map(of).collect();
        values.sort_unstable();
        values[values.len() / 2]
    };
    let (early, late) = (&samples[samples.len() / 4..=samples.len() / 2], &samples[samples.len() * 3 / 4..]);
    let (early, late) = (median(early), median(late));
    assert!(late <= bound(early), "{early} became {late}");
}
