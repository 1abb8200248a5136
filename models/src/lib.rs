//! Models of the gateway's concurrent code: small scenes over its own files, which a checker runs in many orders.
//!
//! The files are those of `../src`; around them stand modules of the names that they use. [`sync`] has locks and atomics
//! that let the checker choose which thread takes the next step. The checker explores the orders of whole steps, as if
//! every atomic operation were sequentially consistent; it does not show what a weaker ordering would permit a processor
//! to do.

// Other crates that the files name, as far as they are used: the tasks and the time are the checker's.
extern crate self as reqwest;
extern crate self as rustls;
extern crate self as tokio;

pub mod clock;
#[allow(dead_code)]
pub mod connection;
pub mod resource;
pub mod sync;
pub mod task;
pub mod time;
pub mod tls_client;
pub mod trace;

use std::panic::{AssertUnwindSafe, catch_unwind};

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, FailurePersistence, Runner};

pub use rustls_pki_types as pki_types;
pub use shuttle::future::spawn;
pub use url::Url;

// Of a file, a model needs only what its scene calls; a fault leaves over what the right order needed.
#[allow(dead_code, unreachable_patterns, unused_imports, unused_mut, unused_variables)]
mod subjects {
    include!(concat!(env!("OUT_DIR"), "/subjects.rs"));
}

pub use subjects::*;

/// Runs a model in many orders; panics with the schedule of the first one in which it does not hold.
pub fn holds(model: fn()) {
    run(RandomScheduler::new_from_seed(SEED, SCHEDULES), model, FailurePersistence::Print);
    run(PctScheduler::new_from_seed(SEED, DEPTH, SCHEDULES), model, FailurePersistence::Print);
}

/// Runs a model over code with a planted fault; panics unless an order finds it.
pub fn finds(model: fn()) {
    let found = |run: &dyn Fn()| catch_unwind(AssertUnwindSafe(run)).is_err();
    let random = || run(RandomScheduler::new_from_seed(SEED, SCHEDULES), model, FailurePersistence::None);
    let few_changes = || run(PctScheduler::new_from_seed(SEED, DEPTH, SCHEDULES), model, FailurePersistence::None);
    assert!(found(&random) || found(&few_changes), "no order finds the planted fault");
}

fn run(scheduler: impl Scheduler + 'static, model: fn(), failure_persistence: FailurePersistence) {
    let mut config = Config::new();
    config.failure_persistence = failure_persistence;
    config.stack_size = STACK_BYTES;
    config.silence_warnings = true;
    Runner::new(scheduler, config).run(model);
}

/// The same orders in every run.
const SEED: u64 = 1;
/// How many orders are tried in each of the two ways.
const SCHEDULES: usize = 2000;
/// How many times an order of the second way takes the turn from a thread that could go on.
const DEPTH: usize = 3;
const STACK_BYTES: usize = 512 * 1024;
