//! What `src/sync.rs` names, with the checker's types; and what the gateway's files name of `tokio::sync`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use std::sync::{LockResult, PoisonError};

pub use shuttle::sync::{Mutex, MutexGuard, RwLock, mpsc};
pub use shuttle::thread;

/// Their own locks are never held between two steps, so they need not be the checker's.
pub use runtime::sync::{Notify, Semaphore, SemaphorePermit, watch};

pub mod atomic {
    pub use shuttle::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
}

/// The checker's, but a wait for a limited time ends at any step, which a thread for each such wait decides.
#[derive(Default)]
pub struct Condvar(Arc<shuttle::sync::Condvar>);

impl Condvar {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.0.wait(guard)
    }

    pub fn wait_timeout<'a, T>(&self, guard: MutexGuard<'a, T>, time: Duration) -> LockResult<(MutexGuard<'a, T>, ())> {
        let mut woken = false;
        self.wait_timeout_while(guard, time, |_| !std::mem::replace(&mut woken, true))
    }

    pub fn wait_timeout_while<'a, T>(
        &self,
        guard: MutexGuard<'a, T>,
        _: Duration,
        mut waits: impl FnMut(&mut T) -> bool,
    ) -> LockResult<(MutexGuard<'a, T>, ())> {
        let (over, returned) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        thread::spawn({
            let (over, returned, condition) = (over.clone(), returned.clone(), self.0.clone());
            move || {
                over.store(true, Ordering::Relaxed);
                while !returned.load(Ordering::Relaxed) {
                    condition.notify_all();
                    thread::yield_now();
                }
            }
        });
        let waited = self.0.wait_while(guard, |value| !over.load(Ordering::Relaxed) && waits(value));
        returned.store(true, Ordering::Relaxed);
        Ok((waited.unwrap_or_else(PoisonError::into_inner), ()))
    }
}
