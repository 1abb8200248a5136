//! The locks and atomics of the code that `models/` checks; here they are the standard library's.
//!
//! `models/` compiles the same files with types of these names that try many orders of the threads' steps.

pub(crate) use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

/// Numbers that threads share.
pub(crate) mod atomic {
    pub(crate) use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
}
