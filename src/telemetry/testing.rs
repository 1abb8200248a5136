//! What a test sees of the log.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::Dispatch;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

/// The lines that one thread has logged.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Records what this thread logs, until the guards are dropped.
    ///
    /// With a second dispatcher, tracing asks every one of them about a line; while there is a single one, it asks that of
    /// the thread which comes to the line first, and a thread of another test has none.
    pub(crate) fn of_this_thread() -> (Self, (Dispatch, DefaultGuard)) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
        let second = Dispatch::new(tracing_subscriber::registry());
        (log, (second, tracing::subscriber::set_default(subscriber)))
    }

    /// The lines with this part.
    pub(crate) fn lines(&self, part: &str) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.bytes()).into_owned();
        text.lines().filter(|line| line.contains(part)).map(str::to_owned).collect()
    }

    /// What was logged since the last time this was called.
    pub(crate) fn take(&self) -> String {
        String::from_utf8(std::mem::take(&mut *self.bytes())).expect("a log is text")
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
