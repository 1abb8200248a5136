//! Where the spans of exchanges wait for the exporter.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::span::Record;

/// The spans of exchanges that have ended, up to a number of exchanges; further ones are lost, and counted.
pub struct Queue {
    records: Mutex<Vec<Record>>,
    /// Notified when it is half full.
    filling: Notify,
    observer: Arc<dyn Observer>,
}

/// What became of spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The collector accepted them.
    Exported,
    /// There was no room for them in the queue.
    Overflow,
    /// The collector could not be reached, did not answer in time, or refused them all, and was asked often enough.
    Failed,
    /// The collector refused these, and accepted others.
    Rejected,
}

/// Counts spans, for the metrics.
pub trait Observer: Send + Sync {
    /// This became of so many spans.
    fn spans(&self, outcome: Outcome, count: usize);
}

/// Counts nothing.
impl Observer for () {
    fn spans(&self, _: Outcome, _: usize) {}
}

impl Queue {
    /// An empty queue, whose spans are counted here.
    pub fn new(observer: Arc<dyn Observer>) -> Self {
        Self { records: Mutex::default(), filling: Notify::new(), observer }
    }

    /// Adds an exchange. Never waits: nobody holds the lock for longer than it takes to move a few words.
    pub(super) fn send(&self, record: Record) {
        let count = record.spans.len();
        let mut records = self.lock();
        if records.len() >= MOST_RECORDS {
            drop(records);
            self.observer.spans(Outcome::Overflow, count);
            return;
        }
        records.push(record);
        let fills = records.len() == MOST_RECORDS / 2;
        drop(records);
        if fills {
            self.filling.notify_one();
        }
    }

    /// Takes all that wait.
    pub fn take(&self) -> Vec<Record> {
        std::mem::take(&mut *self.lock())
    }

    /// Waits until it is half full.
    pub async fn filling(&self) {
        self.filling.notified().await;
    }

    /// Where spans are counted.
    pub fn observer(&self) -> &dyn Observer {
        &*self.observer
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many exchanges wait at most; each has a few spans of some hundred bytes.
const MOST_RECORDS: usize = 2048;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use fapi::headers::TraceContext;

    use super::*;

    #[derive(Default)]
    struct Lost(AtomicUsize);

    impl Observer for Lost {
        fn spans(&self, outcome: Outcome, count: usize) {
            assert_eq!(outcome, Outcome::Overflow);
            self.0.fetch_add(count, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn what_finds_no_room_is_lost_and_counted_and_the_exporter_is_told_before() {
        let lost = Arc::new(Lost::default());
        let queue = Queue::new(lost.clone());
        let trace = TraceContext::start([1; 24]).id();
        let send = || queue.send(Record { trace, spans: Vec::new() });
        let told = async || tokio::time::timeout(Duration::ZERO, queue.filling()).await.is_ok();
        (1..MOST_RECORDS / 2).for_each(|_| send());
        assert!(!told().await);
        send();
        assert!(told().await);
        (0..MOST_RECORDS / 2).for_each(|_| send());
        assert_eq!((lost.0.load(Ordering::Relaxed), queue.lock().len()), (0, MOST_RECORDS));
        let span = crate::trace::recorder::tests::span;
        queue.send(Record { trace, spans: vec![span("a"), span("b")] });
        assert_eq!((lost.0.load(Ordering::Relaxed), queue.take().len()), (2, MOST_RECORDS));
        send();
        assert_eq!(queue.take().len(), 1, "there is room again");
    }
}
