//! What `src/sync.rs` names, with the checker's types; and what the gateway's files name of `tokio::sync`.

pub use std::sync::PoisonError;

pub use shuttle::sync::{Mutex, MutexGuard, RwLock};

/// Their own locks are never held between two steps, so they need not be the checker's.
pub use runtime::sync::{Semaphore, watch};

pub mod atomic {
    pub use shuttle::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
}
