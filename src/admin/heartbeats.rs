//! Whether the data plane is alive: `/livez` fails when one of its threads, or a loop that accepts connections, is stuck.
//!
//! No request pays for it. A runtime counts how often its thread goes to sleep and for how long it was busy: a thread that is
//! awake and changes neither is in the middle of a task that does not end. The loops that accept connections beat once a
//! second.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::RuntimeMetrics;

use crate::clock::Moment;

/// The loops that accept connections and the threads that serve them.
pub struct Heartbeats {
    began: Moment,
    loops: Mutex<Vec<Loop>>,
    threads: Mutex<Vec<Thread>>,
}

/// The loop of one listener.
struct Loop {
    listener: Arc<str>,
    /// When it last beat; `None` once it has ended as it should.
    last: Option<Duration>,
}

/// What was last seen of a thread, and since when it has been so.
struct Thread {
    metrics: RuntimeMetrics,
    seen: Progress,
    since: Duration,
}

/// How far a thread has come.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Progress {
    /// How often it went to sleep or awoke: an odd number while it sleeps.
    turns: u64,
    busy: Duration,
}

impl Progress {
    /// Of a runtime that has one thread.
    fn of(metrics: &RuntimeMetrics) -> Self {
        Self { turns: metrics.worker_park_unpark_count(0), busy: metrics.worker_total_busy_duration(0) }
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
        Self { began: Moment::now(), loops: Mutex::default(), threads: Mutex::default() }
    }
}

impl Heartbeats {
    /// Watches the loop that accepts the connections of a listener.
    pub fn watch(self: &Arc<Self>, listener: Arc<str>) -> Pulse {
        let mut loops = self.loops.lock().unwrap_or_else(PoisonError::into_inner);
        loops.push(Loop { listener, last: Some(self.began.elapsed()) });
        Pulse { heartbeats: self.clone(), place: loops.len().saturating_sub(1) }
    }

    /// Watches the threads of these runtimes, each of which has one.
    pub fn watch_threads(&self, runtimes: Vec<RuntimeMetrics>) {
        let since = self.began.elapsed();
        let threads = runtimes.into_iter().map(|metrics| Thread { seen: Progress::of(&metrics), metrics, since });
        self.threads.lock().unwrap_or_else(PoisonError::into_inner).extend(threads);
    }

    /// Returns what is stuck, if anything is.
    pub fn stuck(&self) -> Option<String> {
        self.stuck_at(self.began.elapsed())
    }

    fn stuck_at(&self, now: Duration) -> Option<String> {
        let mut reasons = String::new();
        for Loop { listener, last } in self.loops.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if last.is_some_and(|last| now.saturating_sub(last) > PATIENCE) {
                let _ = writeln!(reasons, "listener {listener} does not accept connections");
            }
        }
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let mut stuck = 0_usize;
        for thread in threads.iter_mut() {
            let seen = Progress::of(&thread.metrics);
            if seen != thread.seen || seen.sleeps() {
                (thread.seen, thread.since) = (seen, now);
            }
            stuck = stuck.saturating_add(usize::from(now.saturating_sub(thread.since) > PATIENCE));
        }
        if stuck > 0 {
            let _ = writeln!(reasons, "{stuck} of {} threads that serve connections are stuck", threads.len());
        }
        (!reasons.is_empty()).then_some(reasons)
    }

    fn set(&self, place: usize, last: Option<Duration>) {
        let mut loops = self.loops.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(watched) = loops.get_mut(place) {
            watched.last = last;
        }
    }
}

impl Pulse {
    /// Records that the loop runs.
    pub fn beat(&self) {
        self.heartbeats.set(self.place, Some(self.heartbeats.began.elapsed()));
    }

    /// Records that the loop has ended as it should.
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
    use crate::workers::Workers;

    const LATER: Duration = Duration::from_secs(11);

    /// Waits until every thread has started and sleeps.
    fn asleep(metrics: &[RuntimeMetrics]) {
        while !metrics.iter().all(|metrics| Progress::of(metrics).sleeps()) {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_thread_that_is_blocked_is_stuck_until_it_goes_on() {
        let workers = Workers::start(2).unwrap();
        asleep(&workers.metrics());
        let heartbeats = Heartbeats::default();
        heartbeats.watch_threads(workers.metrics());
        let mut now = Duration::ZERO;
        // Idle threads sleep, and have nothing to show for it.
        let mut later = || {
            now += LATER;
            heartbeats.stuck_at(now)
        };
        for count in [1, 2] {
            let ends: Vec<_> = (0..count)
                .map(|_| {
                    let (end, wait) = mpsc::channel::<()>();
                    let (entered, inside) = mpsc::channel();
                    workers.serve(async move {
                        let _ = entered.send(());
                        let _ = wait.recv();
                    });
                    inside.recv_timeout(PATIENCE).expect("a thread takes the task");
                    end
                })
                .collect();
            later();
            let reason = later().expect("stuck");
            assert_eq!(reason, format!("{count} of 2 threads that serve connections are stuck\n"));
            drop(ends);
            asleep(&workers.metrics());
            assert_eq!(later(), None, "the tasks have ended");
        }
        workers.stop();
    }

    #[test]
    fn a_loop_that_does_not_beat_is_stuck_and_one_that_has_ended_is_not() {
        let heartbeats = Arc::new(Heartbeats::default());
        let pulse = heartbeats.watch("l".into());
        assert_eq!(heartbeats.stuck_at(PATIENCE), None, "control");
        let reason = heartbeats.stuck_at(LATER).expect("stuck");
        assert_eq!(reason, "listener l does not accept connections\n");
        pulse.beat();
        assert_eq!(heartbeats.stuck_at(PATIENCE), None);
        pulse.end();
        assert_eq!(heartbeats.stuck_at(LATER), None);
        drop(heartbeats.watch("m".into()));
        assert!(heartbeats.stuck_at(LATER).is_some(), "a loop that has ended as it should not");
    }
}
