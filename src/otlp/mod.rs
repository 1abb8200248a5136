//! Takes spans, and records of the audit, to a collector, by OTLP (OpenTelemetry Protocol 1.x) over HTTP or gRPC.
//!
//! Spans: one thread takes what waits in the [`Queue`], once a second or when that is half full, and sends it in batches, one after
//! the other. A collector that is gone, slow or answers nonsense holds up nothing but these: they are sent again a few times, as the
//! protocol asks for, while the queue fills up; then they are lost. All of that is counted.
//!
//! The audit makes [`Calls`] from the thread that writes its lines, which sends a batch again until it is taken.

mod collector;
mod grpc;
mod message;
mod settings;

use std::io;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Builder;
use tokio::sync::watch;

use crate::clock::jittered;
use crate::trace::{Outcome, Queue, Record};

pub use self::collector::{Calls, Collector, CollectorError, Fault};
pub use self::message::{LogRecord, logs};
pub use self::settings::{Peer, Protocol, Settings, Signal};

/// The exporter of one process. It has a thread from the first time that there is a collector.
pub struct Exporter {
    queue: Arc<Queue>,
    orders: watch::Sender<Orders>,
    thread: Mutex<Option<mpsc::Receiver<()>>>,
}

/// What the thread is told.
#[derive(Clone, Default)]
struct Orders {
    collector: Option<Arc<Collector>>,
    ending: bool,
}

impl Exporter {
    /// Exports from this queue, once there is a collector.
    pub fn new(queue: Arc<Queue>) -> Self {
        Self { queue, orders: watch::Sender::default(), thread: Mutex::default() }
    }

    /// The queue.
    pub const fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Starts the thread, if there is none.
    ///
    /// # Errors
    /// When it cannot be created.
    pub fn start(&self) -> io::Result<()> {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_some() {
            return Ok(());
        }
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = mpsc::channel();
        let worker = Worker { queue: self.queue.clone(), orders: self.orders.subscribe(), failing: false };
        thread::Builder::new().name("spans".into()).spawn(move || {
            runtime.block_on(worker.run());
            // Looking up a name may block for longer than anybody waits.
            runtime.shutdown_background();
            let _ = end.send(());
        })?;
        *thread = Some(ended);
        Ok(())
    }

    /// Sends spans to this collector from now on, or to none. Those that wait for one that is replaced go to the new one.
    pub fn follow(&self, collector: Option<Arc<Collector>>) {
        self.orders.send_modify(|orders| orders.collector = collector);
    }

    /// Sends what waits, once, without waiting for that.
    pub fn flush(&self) {
        self.orders.send_modify(|orders| orders.ending = true);
    }

    /// Waits, at most this long, until what waited at [`flush`](Self::flush) was sent or is lost.
    pub fn close(&self, limit: Duration) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|ended| ended.recv_timeout(limit).is_err()) {
            tracing::warn!("the collector did not take the last spans in time; they are lost");
        }
    }
}

/// The thread.
struct Worker {
    queue: Arc<Queue>,
    orders: watch::Receiver<Orders>,
    /// Whether the collector failed to take the last batch, which was logged.
    failing: bool,
}

impl Worker {
    async fn run(mut self) {
        loop {
            let Orders { collector, ending } = self.orders.borrow_and_update().clone();
            let has_collector = collector.is_some();
            if has_collector {
                self.export().await;
            } else {
                self.lose(self.queue.take().iter().map(|record| record.spans.len()).sum());
            }
            if ending {
                return;
            }
            let due = async {
                tokio::select! {
                    () = tokio::time::sleep(INTERVAL) => {}
                    () = self.queue.filling() => {}
                }
            };
            tokio::select! {
                () = due, if has_collector => {}
                changed = self.orders.changed() => if changed.is_err() { return },
            }
        }
    }

    /// Sends all that waits.
    async fn export(&mut self) {
        let mut records = self.queue.take().into_iter().peekable();
        while records.peek().is_some() {
            let (mut batch, mut spans) = (Vec::new(), 0_usize);
            while spans < BATCH
                && let Some(record) = records.next()
            {
                spans = spans.saturating_add(record.spans.len());
                batch.push(record);
            }
            self.deliver(batch, spans).await;
        }
    }

    /// Sends a batch until the collector takes it, or was asked often enough.
    async fn deliver(&mut self, batch: Vec<Record>, spans: usize) {
        let Some(mut collector) = self.orders.borrow().collector.clone() else { return self.lose(spans) };
        let body = Bytes::from(message::spans(collector.calls().resource(), batch));
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            match collector.calls().send(body.clone()).await {
                Ok(rejected) => return self.delivered(&collector, spans, rejected),
                Err(fault) => {
                    self.complain(&collector, &fault);
                    let Some(least) = fault.may_pass().filter(|_| attempt < ATTEMPTS) else { break };
                    if !self.pause(pause.max(least.min(LONGEST_PAUSE))).await {
                        break;
                    }
                    pause = pause.saturating_mul(2);
                }
            }
            match &self.orders.borrow().collector {
                Some(current) => collector = current.clone(),
                None => break,
            }
        }
        self.lose(spans);
    }

    /// Waits before another attempt, or until there is another collector; returns whether there may be one.
    async fn pause(&mut self, pause: Duration) -> bool {
        // At the end, what cannot be sent at once is lost.
        if self.orders.borrow().ending {
            return false;
        }
        tokio::select! {
            () = tokio::time::sleep(jittered(pause)) => true,
            changed = self.orders.changed() => changed.is_ok(),
        }
    }

    fn delivered(&mut self, collector: &Collector, spans: usize, rejected: usize) {
        let observer = self.queue.observer();
        let rejected = rejected.min(spans);
        observer.spans(Outcome::Exported, spans - rejected);
        if rejected > 0 {
            observer.spans(Outcome::Rejected, rejected);
        }
        collector.state().succeeded();
        if std::mem::take(&mut self.failing) {
            tracing::info!(endpoint = %collector.calls().endpoint(), "the collector takes spans again");
        }
    }

    fn lose(&self, spans: usize) {
        self.queue.observer().spans(Outcome::Failed, spans);
    }

    /// Says once that the collector does not take spans, until it does again.
    fn complain(&mut self, collector: &Collector, fault: &Fault) {
        collector.state().failed(fault);
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(endpoint = %collector.calls().endpoint(), %fault, "the collector does not take spans; requests go on");
        }
    }
}

/// How often what waits is sent.
const INTERVAL: Duration = Duration::from_secs(1);
/// From how many spans on a batch is full.
const BATCH: usize = 512;
/// How many times a batch is sent.
const ATTEMPTS: u32 = 3;
/// The pause before the second attempt; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How long a collector may have a batch wait.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
