//! A reload while exchanges are in progress: the replay log goes on, with other limits.
//!
//! The log is the gateway's. An exchange and a reload are restated here in their order of steps, which stand in
//! `Proxy::new_ctx`, `Gateway::authorize` and `Reloader::replace`.

use std::sync::Arc;

use fapi::UnixTime;
use fapi::dpop::ProofId;
use fapi::jose::thumbprint::KeyThumbprint;
use shuttle::sync::RwLock;
use shuttle::sync::atomic::{AtomicU64, Ordering};
use shuttle::thread;

use super::memory::{Capacity, Insert, MemoryLog};

/// A proof passes once, although the log remembers it for less time in the exchanges that are in progress than proofs
/// are accepted after the reload; and the previous generation ends with its last exchange.
pub fn a_proof_passes_once_through_a_reload() {
    scene(Reload::SwapThenResize, Exchange::ClockThenGeneration);
}

/// The same, with a reload in another order.
pub fn resized_before_the_swap() {
    scene(Reload::ResizeThenSwap, Exchange::ClockThenGeneration);
}

/// The same, with exchanges in another order.
pub fn time_read_after_the_generation() {
    scene(Reload::SwapThenResize, Exchange::GenerationThenClock);
}

fn scene(reload: Reload, exchange: Exchange) {
    let log = Arc::new(MemoryLog::new(CAPACITY, UnixTime(START - 1000)));
    let before = Arc::new(Generation { max_age: 15, log: log.clone() });
    let ended = Arc::downgrade(&before);
    let gateway = Arc::new(Gateway { generation: RwLock::new(before), clock: AtomicU64::new(START) });
    let exchanges = [(); 2].map(|()| gateway.at_the_same_time(move |gateway| gateway.exchange(exchange)));
    let time = gateway.at_the_same_time(|gateway| {
        for seconds in [1, 60] {
            gateway.clock.store(START + seconds, Ordering::Release);
        }
    });
    let next = Arc::new(Generation { max_age: 200, log });
    match reload {
        Reload::SwapThenResize => {
            gateway.swap(next.clone());
            next.log.resize(CAPACITY, gateway.now());
        }
        Reload::ResizeThenSwap => {
            next.log.resize(CAPACITY, gateway.now());
            gateway.swap(next);
        }
    }
    let passed = exchanges.map(|exchange| exchange.join().unwrap());
    time.join().unwrap();
    assert!(ended.upgrade().is_none(), "nothing holds the previous generation");
    let last = gateway.exchange(exchange);
    assert!(passed.into_iter().chain([last]).filter(|passed| *passed).count() <= 1, "the proof passes twice");
}

#[derive(Clone, Copy)]
enum Reload {
    SwapThenResize,
    ResizeThenSwap,
}

#[derive(Clone, Copy)]
enum Exchange {
    ClockThenGeneration,
    GenerationThenClock,
}

struct Gateway {
    generation: RwLock<Arc<Generation>>,
    clock: AtomicU64,
}

struct Generation {
    max_age: u64,
    log: Arc<MemoryLog>,
}

impl Gateway {
    fn now(&self) -> UnixTime {
        UnixTime(self.clock.load(Ordering::Acquire))
    }

    fn load(&self) -> Arc<Generation> {
        self.generation.read().unwrap().clone()
    }

    fn swap(&self, next: Arc<Generation>) {
        let before = std::mem::replace(&mut *self.generation.write().unwrap(), next);
        drop(before);
    }

    /// Whether the proof passes, without a nonce.
    fn exchange(&self, order: Exchange) -> bool {
        let (now, generation) = match order {
            Exchange::ClockThenGeneration => {
                let now = self.now();
                (now, self.load())
            }
            Exchange::GenerationThenClock => {
                let generation = self.load();
                (self.now(), generation)
            }
        };
        let Generation { max_age, log } = &*generation;
        let end = ISSUED_AT.plus(*max_age);
        let known = ISSUED_AT > log.began();
        if !known || now < ISSUED_AT || now > end {
            return false;
        }
        let (proof, key) = (ProofId::from_bytes([1; 16]), KeyThumbprint::from_bytes([1; 32]));
        log.insert(&proof, &key, end, self.now()) == Insert::First
    }

    fn at_the_same_time<T: Send + 'static>(
        self: &Arc<Self>,
        act: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> thread::JoinHandle<T> {
        let gateway = self.clone();
        thread::spawn(move || act(&gateway))
    }
}

const CAPACITY: Capacity = Capacity { total: 10, per_key: 10 };
const START: u64 = 1_800_000_000;
const ISSUED_AT: UnixTime = UnixTime(START + 1);
