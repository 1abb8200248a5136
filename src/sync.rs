//! The locks, atomics and threads of the code that `models/` checks; here they are the standard library's.
//!
//! `models/` compiles the same files with types of these names that try many orders of the threads' steps.

pub(crate) use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock, mpsc};
pub(crate) use std::thread;

/// Numbers that threads share.
pub(crate) mod atomic {
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
}
