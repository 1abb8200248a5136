//! One thread for each processor, with a runtime of its own that serves its connections from beginning to end.
//!
//! A connection stays with its thread, and so do its streams and the connections to upstreams that it uses: threads share no
//! queue, and none of them wakes another. A new connection goes to the thread that has the fewest.

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime, RuntimeMetrics};
use tokio::sync::oneshot;

/// The threads that serve connections.
pub struct Workers(Vec<Worker>);

struct Worker {
    runtime: Handle,
    connections: Arc<AtomicUsize>,
    /// Taken when it ends.
    thread: Mutex<Option<Thread>>,
}

struct Thread {
    end: oneshot::Sender<()>,
    joined: JoinHandle<()>,
}

thread_local! {
    static CURRENT: Cell<u16> = const { Cell::new(0) };
}

/// The number of the thread, from 1; 0 on a thread that serves no connections.
pub fn current() -> u16 {
    CURRENT.get()
}

/// How many processors the process may use.
pub fn processors() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from)
}

impl Workers {
    /// Starts this many threads, and at least one.
    ///
    /// # Errors
    /// When a thread or its runtime cannot be created.
    pub fn start(count: u16) -> io::Result<Self> {
        (1..=count.max(1)).map(Worker::start).collect::<io::Result<_>>().map(Self)
    }

    /// Serves a connection on the thread that has the fewest.
    pub fn serve(&self, connection: impl Future<Output = ()> + Send + 'static) {
        let fewest = self.0.iter().min_by_key(|worker| worker.connections.load(Ordering::Relaxed));
        if let Some(worker) = fewest {
            let place = Place::of(&worker.connections);
            worker.runtime.spawn(async move {
                let _place = place;
                connection.await;
            });
        }
    }

    /// Where a task runs that connections wait for: beside them, so that neither wakes another thread if there is one only.
    pub fn beside(&self, number: usize) -> Option<&Handle> {
        self.0.get(number.checked_rem(self.0.len())?).map(|worker| &worker.runtime)
    }

    /// How far each of the threads has come.
    pub fn metrics(&self) -> Vec<RuntimeMetrics> {
        self.0.iter().map(|worker| worker.runtime.metrics()).collect()
    }

    /// Ends the threads, and drops the connections that they serve before it returns. A connection that comes later is dropped.
    pub fn stop(&self) {
        let taken =
            self.0.iter().filter_map(|worker| worker.thread.lock().unwrap_or_else(PoisonError::into_inner).take());
        let threads: Vec<_> = taken.map(|Thread { end, joined }| (end.send(()), joined)).collect();
        for (_, joined) in threads {
            if joined.join().is_err() {
                tracing::error!("a thread that served connections has failed");
            }
        }
    }
}

impl Worker {
    fn start(number: u16) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (handle, (end, ended)) = (runtime.handle().clone(), oneshot::channel());
        let joined = std::thread::Builder::new()
            .name(format!("connections-{number}"))
            .spawn(move || run(runtime, number, ended))?;
        Ok(Self { runtime: handle, connections: Arc::default(), thread: Mutex::new(Some(Thread { end, joined })) })
    }
}

fn run(runtime: Runtime, number: u16, ended: oneshot::Receiver<()>) {
    CURRENT.set(number);
    // An error means that nobody is left who could say when to end.
    let _ = runtime.block_on(ended);
    runtime.shutdown_timeout(LAST_MOMENT);
}

/// A connection of a thread; counted until it is dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn of(connections: &Arc<AtomicUsize>) -> Self {
        connections.fetch_add(1, Ordering::Relaxed);
        Self(connections.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How long a blocking task may go on when the threads end.
const LAST_MOMENT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn each_connection_goes_to_the_thread_with_the_fewest_and_stays_there() {
        let workers = Workers::start(3).unwrap();
        let (tell, told) = mpsc::channel();
        let open = |count: usize| -> Vec<(u16, oneshot::Sender<()>)> {
            (0..count)
                .map(|_| {
                    let (close, closed) = oneshot::channel::<()>();
                    let tell = tell.clone();
                    workers.serve(async move {
                        tell.send(current()).unwrap();
                        let _ = closed.await;
                        tell.send(current()).unwrap();
                    });
                    (told.recv().unwrap(), close)
                })
                .collect()
        };
        let mut all = open(9);
        let mut shares = BTreeMap::new();
        for (number, _) in &all {
            *shares.entry(*number).or_insert(0) += 1;
        }
        assert_eq!(shares, BTreeMap::from([(1, 3), (2, 3), (3, 3)]));
        let (number, close) = all.remove(4);
        close.send(()).unwrap();
        assert_eq!(told.recv().unwrap(), number, "it ends where it began");
        while workers.0.iter().all(|worker| worker.connections.load(Ordering::Relaxed) == 3) {
            std::thread::yield_now();
        }
        assert_eq!(open(1)[0].0, number, "the next one takes its place");
        assert_eq!(current(), 0);
        workers.stop();
        drop(all);
    }

    #[test]
    fn what_does_not_end_is_dropped_when_the_threads_stop() {
        let workers = Workers::start(1).unwrap();
        let connections = workers.0[0].connections.clone();
        workers.serve(std::future::pending());
        assert_eq!(connections.load(Ordering::Relaxed), 1);
        workers.stop();
        assert_eq!(connections.load(Ordering::Relaxed), 0);
    }
}
