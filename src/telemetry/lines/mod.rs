//! Lines that many threads send and one thread carries to a file or a pipe.
//!
//! A sender appends to a buffer that is bounded in bytes, and never waits for the destination. The thread is woken once
//! for many lines: it gathers them for 5 ms, or until there are 64 KiB, and exchanges the buffer for an empty one. While
//! the destination takes nothing, lines wait in the buffer; once that is full, further ones are lost, and counted. A line
//! that a full disk took in part is taken back and written as a whole later; the rest of one that a pipe took in part
//! comes next.

mod carrier;
mod output;
mod recent;
mod rotation;
mod stamp;
mod writer;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use self::writer::Writer;
use crate::clock::Moment;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc, thread};

pub use self::carrier::{Carrier, Taken, portion};
pub use self::output::Output;
pub use self::recent::Recent;
pub use self::rotation::Rotation;
pub use self::stamp::Stamp;

/// What the thread tells about its destination, at most once a second, with the number of lines lost since it last told
/// anything.
#[derive(Clone, Copy, Debug)]
pub enum Event<'e> {
    /// Lines cannot be written.
    Failing(&'e io::Error),
    /// They are written, but a file that has enough of them cannot be replaced.
    NotRotated(&'e io::Error),
    /// The reader does not take them fast enough, and lines were lost.
    Behind,
    /// They are written again.
    Again,
}

/// Receives the events of one destination.
pub type Report = fn(Event<'_>, u64);

/// Whether lines are being written, and how many were lost.
#[derive(Debug)]
pub struct Health {
    bound: usize,
    /// How many bytes are waiting, including those that are being written.
    held: AtomicUsize,
    lost: AtomicU64,
    failing: AtomicBool,
    /// Whether lines were lost since the buffer was last empty.
    overflowing: AtomicBool,
    began: Moment,
    /// Milliseconds from `began` to the last time that something was written, or [`IDLE`].
    moved: AtomicU64,
}

impl Health {
    fn new(bound: usize) -> Self {
        Self {
            bound,
            held: AtomicUsize::new(0),
            lost: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            overflowing: AtomicBool::new(false),
            began: Moment::now(),
            moved: AtomicU64::new(0),
        }
    }

    /// How many lines were lost since the start.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Whether lines are being written and none are lost.
    pub fn good(&self) -> bool {
        !self.failing.load(Ordering::Relaxed) && !self.overflowing.load(Ordering::Relaxed) && !self.stalled()
    }

    /// Whether there is room for the lines of new work, so that those of work in progress still find some.
    pub fn has_room(&self) -> bool {
        !self.failing.load(Ordering::Relaxed) && self.held.load(Ordering::Relaxed) < self.bound / 2
    }

    fn stalled(&self) -> bool {
        let still = self.now().saturating_sub(self.moved.load(Ordering::Relaxed));
        self.held.load(Ordering::Relaxed) > 0 && u128::from(still) > STALLED.as_millis()
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn note_movement(&self) {
        self.moved.store(self.now(), Ordering::Relaxed);
    }

    /// Notes that there is nothing to write: what comes next has not waited.
    fn note_idleness(&self) {
        self.moved.store(IDLE, Ordering::Relaxed);
    }

    fn lose(&self, lines: u64) {
        self.lost.fetch_add(lines, Ordering::Relaxed);
        self.overflowing.store(true, Ordering::Relaxed);
    }
}

/// What senders and the thread share.
struct Shared {
    batch: Mutex<Batch>,
    work: Condvar,
    /// Notified when something was written.
    room: Notify,
    health: Arc<Health>,
    recent: Arc<Recent>,
}

/// What was sent since the thread last took anything.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// The next output, and where in `bytes` its lines begin.
    next: Option<(usize, Output)>,
    sleep: Sleep,
    ending: bool,
    ended: bool,
}

/// What the thread waits for.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Sleep {
    /// Nothing; it will look at the batch without being woken.
    #[default]
    Awake,
    /// Anything at all.
    UntilWork,
    /// [`FULL`] bytes, or the end of [`GATHER`].
    UntilFull,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Batch> {
        self.batch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self, mut batch: MutexGuard<'_, Batch>) {
        batch.sleep = Sleep::Awake;
        drop(batch);
        self.work.notify_one();
    }
}

/// A thread that writes lines; all of them are written when [`Lines::close`] returns true.
pub struct Lines {
    shared: Arc<Shared>,
    ended: mpsc::Receiver<()>,
}

/// A handle that sends lines; cheap to clone.
#[derive(Clone)]
pub struct LineSender(Arc<Shared>);

impl Lines {
    /// Starts the thread. At most `bound` bytes wait for it.
    ///
    /// # Errors
    /// When the thread cannot be created.
    pub fn start(name: &str, output: Output, bound: usize, report: Report) -> io::Result<Self> {
        Self::start_stamped(name, output, bound, report, None)
    }

    /// The same, where something may be added to the lines.
    ///
    /// # Errors
    /// When the thread cannot be created.
    pub fn start_stamped(
        name: &str,
        output: Output,
        bound: usize,
        report: Report,
        stamp: Option<Box<dyn Stamp>>,
    ) -> io::Result<Self> {
        let (end, ended) = mpsc::channel();
        let health = Arc::new(Health::new(bound));
        let shared = Arc::new(Shared {
            batch: Mutex::default(),
            work: Condvar::new(),
            room: Notify::new(),
            health,
            recent: Arc::default(),
        });
        let writer = Writer::new(shared.clone(), output, report, stamp);
        thread::Builder::new().name(name.into()).spawn(move || {
            writer.run();
            let _ = end.send(());
        })?;
        Ok(Self { shared, ended })
    }

    /// A handle that sends lines to this thread.
    pub fn sender(&self) -> LineSender {
        LineSender(self.shared.clone())
    }

    /// The state of the destination.
    pub fn health(&self) -> Arc<Health> {
        self.shared.health.clone()
    }

    /// The last lines that were taken to the destination, whether it takes them or not.
    pub fn recent(&self) -> Arc<Recent> {
        self.shared.recent.clone()
    }

    /// Waits, at most this long, until every line that was sent is written; returns whether all of them were.
    pub fn close(&self, limit: Duration) -> bool {
        self.end();
        self.ended.recv_timeout(limit).is_ok() && self.shared.health.lost() == 0
    }

    fn end(&self) {
        let mut batch = self.shared.lock();
        batch.ending = true;
        self.shared.wake(batch);
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.end();
    }
}

impl LineSender {
    /// Sends a line, with its end. It is lost, and counted, if too many bytes are waiting.
    pub fn send(&self, line: &[u8]) {
        let health = &self.0.health;
        let mut batch = self.0.lock();
        // Only the thread subtracts, so that the sum cannot be too small.
        if batch.ended || health.held.load(Ordering::Relaxed).saturating_add(line.len()) > health.bound {
            drop(batch);
            health.lose(1);
            return;
        }
        health.held.fetch_add(line.len(), Ordering::Relaxed);
        batch.bytes.extend_from_slice(line);
        match batch.sleep {
            Sleep::UntilWork => self.0.wake(batch),
            Sleep::UntilFull if batch.bytes.len() >= FULL => self.0.wake(batch),
            Sleep::Awake | Sleep::UntilFull => {}
        }
    }

    /// Writes the lines that are sent after this to another output; earlier lines go to the previous one if that takes
    /// them.
    pub fn continue_in(&self, output: Output) {
        let mut batch = self.0.lock();
        let place = batch.next.take().map_or(batch.bytes.len(), |(place, _)| place);
        batch.next = Some((place, output));
        self.0.wake(batch);
    }

    /// Waits, at most this long, until there is room for the line of a new piece of work; returns whether there is.
    pub async fn wait_for_room(&self, limit: Duration) -> bool {
        let health = &self.0.health;
        let roomy = async {
            loop {
                let mut moved = std::pin::pin!(self.0.room.notified());
                moved.as_mut().enable();
                if health.has_room() {
                    return;
                }
                moved.await;
            }
        };
        health.has_room() || tokio::time::timeout(limit, roomy).await.is_ok()
    }

    /// Waits, at most this long, until nothing waits to be written; returns whether that is so. Blocks.
    pub fn wait_until_written(&self, limit: Duration) -> bool {
        let began = Moment::now();
        while self.0.health.held.load(Ordering::Relaxed) > 0 {
            if began.elapsed() > limit {
                return false;
            }
            thread::sleep(Duration::from_millis(1));
        }
        true
    }

    /// The state of the destination.
    pub fn health(&self) -> &Health {
        &self.0.health
    }
}

/// How long lines are gathered before they are written.
const GATHER: Duration = Duration::from_millis(5);
/// How many bytes are written without gathering more.
const FULL: usize = 64 * 1024;
/// Nothing waits, and the thread does until something comes.
const IDLE: u64 = u64::MAX;
/// How long a destination may take nothing before that counts as a fault.
const STALLED: Duration = Duration::from_secs(5);
