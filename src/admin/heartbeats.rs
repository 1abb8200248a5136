//! Whether the data plane is alive: `/livez` fails when one of its threads, or a loop that accepts connections, is stuck.
//!
//! No request pays for it. The runtime counts how often each of its worker threads goes to sleep and for how long it was
//! busy: a worker that is awake and changes neither is in the middle of a task that does not end. The loops that accept
//! connections beat once a second.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::RuntimeMetrics;

use crate::clock::Moment;

/// The listeners whose runtimes are watched.
pub struct Heartbeats {
    began: Moment,
    watched: Mutex<Vec<Watched>>,
}

/// The runtime of one listener.
struct Watched {
    listener: Arc<str>,
    /// When its loop last beat; `None` once it has ended as it should.
    accepts: Option<Duration>,
    metrics: RuntimeMetrics,
    workers: Vec<Worker>,
}

/// What was last seen of a worker thread, and since when it has been so.
struct Worker {
    seen: Progress,
    since: Duration,
}

/// How far a worker thread has come.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Progress {
    /// How often it went to sleep or awoke: an odd number while it sleeps.
    turns: u64,
    busy: Duration,
}

impl Progress {
    fn of(metrics: &RuntimeMetrics, worker: usize) -> Self {
        Self { turns: metrics.worker_park_unpark_count(worker), busy: metrics.worker_total_busy_duration(worker) }
    }

    const fn sleeps(self) -> bool {
        self.turns % 2 == 1
    }
}

/// The heartbeat of a loop that accepts connections. If it is dropped without [`Pulse::end`], the loop counts as stuck.
pub struct Pulse {
    heartbeats: Arc<Heartbeats>,
    place: usize,
}

impl Default for Heartbeats {
    fn default() -> Self {
        Self { began: Moment::now(), watched: Mutex::default() }
    }
}

impl Heartbeats {
    /// Watches the runtime of a listener, and the loop that accepts its connections.
    pub fn watch(self: &Arc<Self>, listener: Arc<str>, metrics: RuntimeMetrics) -> Pulse {
        let now = self.began.elapsed();
        let workers =
            (0..metrics.num_workers()).map(|worker| Worker { seen: Progress::of(&metrics, worker), since: now });
        let watched = Watched { listener, accepts: Some(now), workers: workers.collect(), metrics };
        let mut all = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(watched);
        Pulse { heartbeats: self.clone(), place: all.len().saturating_sub(1) }
    }

    /// Returns what is stuck, if anything is.
    pub fn stuck(&self) -> Option<String> {
        self.stuck_at(self.began.elapsed())
    }

    fn stuck_at(&self, now: Duration) -> Option<String> {
        let mut reasons = String::new();
        for watched in self.watched.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            let listener = &watched.listener;
            if watched.accepts.is_some_and(|last| now.saturating_sub(last) > PATIENCE) {
                let _ = writeln!(reasons, "listener {listener} does not accept connections");
            }
            let mut stuck = 0_usize;
            for (index, worker) in watched.workers.iter_mut().enumerate() {
                let seen = Progress::of(&watched.metrics, index);
                if seen != worker.seen || seen.sleeps() {
                    *worker = Worker { seen, since: now };
                }
                stuck = stuck.saturating_add(usize::from(now.saturating_sub(worker.since) > PATIENCE));
            }
            if stuck > 0 {
                let all = watched.workers.len();
                let _ = writeln!(reasons, "{stuck} of {all} threads of listener {listener} are stuck");
            }
        }
        (!reasons.is_empty()).then_some(reasons)
    }

    fn set(&self, place: usize, accepts: Option<Duration>) {
        let mut all = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watched) = all.get_mut(place) {
            watched.accepts = accepts;
        }
    }
}

impl Pulse {
    /// Records that the loop runs.
    pub fn beat(&self) {
        self.heartbeats.set(self.place, Some(self.heartbeats.began.elapsed()));
    }

    /// Records that the loop has ended as it should; the threads are still watched.
    pub fn end(self) {
        self.heartbeats.set(self.place, None);
    }
}

/// How long a thread or a loop may show no progress.
const PATIENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LATER: Duration = Duration::from_secs(11);

    /// Waits until every worker has started and sleeps.
    fn asleep(metrics: &RuntimeMetrics) {
        while !(0..metrics.num_workers()).all(|worker| Progress::of(metrics, worker).sleeps()) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_worker_that_is_blocked_is_stuck_until_it_goes_on() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        asleep(&runtime.metrics());
        let heartbeats = Arc::new(Heartbeats::default());
        let _pulse = heartbeats.watch("l".into(), runtime.metrics());
        let mut now = Duration::ZERO;
        // Idle workers sleep, and have nothing to show for it.
        let mut later = |heartbeats: &Heartbeats| {
            now += LATER;
            heartbeats.set(0, Some(now));
            heartbeats.stuck_at(now)
        };
        let blocked = |count: usize| {
            let (entered, inside) = mpsc::channel();
            let ends: Vec<_> = (0..count)
                .map(|_| {
                    let (end, wait) = mpsc::channel::<()>();
                    let entered = entered.clone();
                    runtime.spawn(async move {
                        let _ = entered.send(());
                        let _ = wait.recv();
                    });
                    inside.recv_timeout(PATIENCE).expect("a worker takes the task");
                    end
                })
                .collect();
            ends
        };
        for count in [1, 2] {
            let ends = blocked(count);
            later(&heartbeats);
            let reason = later(&heartbeats).expect("stuck");
            assert_eq!(reason, format!("{count} of 2 threads of listener l are stuck\n"));
            drop(ends);
            asleep(&runtime.metrics());
            assert_eq!(later(&heartbeats), None, "the tasks have ended");
        }
    }

    #[test]
    fn a_loop_that_does_not_beat_is_stuck_and_one_that_has_ended_is_not() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        asleep(&runtime.metrics());
        let heartbeats = Arc::new(Heartbeats::default());
        let pulse = heartbeats.watch("l".into(), runtime.metrics());
        assert_eq!(heartbeats.stuck_at(PATIENCE), None, "control");
        let reason = heartbeats.stuck_at(LATER).expect("stuck");
        assert_eq!(reason, "listener l does not accept connections\n");
        pulse.beat();
        assert_eq!(heartbeats.stuck_at(PATIENCE), None);
        pulse.end();
        assert_eq!(heartbeats.stuck_at(LATER), None);
        drop(heartbeats.watch("m".into(), runtime.metrics()));
        assert!(heartbeats.stuck_at(LATER).is_some(), "a loop that has ended as it should not");
    }
}
