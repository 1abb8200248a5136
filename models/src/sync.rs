//! What `src/sync.rs` names, with the checker's types.

pub(crate) use std::sync::PoisonError;

pub(crate) use shuttle::sync::Mutex;

pub(crate) mod atomic {
    pub(crate) use shuttle::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
}
