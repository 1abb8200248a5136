//! The thread that writes the audit lines, in order.
//!
//! If it cannot keep up, only the end of an exchange waits for it. If lines cannot be written, or the reader does not
//! take them, they are counted as lost and the gateway is not ready; it keeps serving, since a bank that stands still
//! helps nobody.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Where the lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// This file; lines are appended.
    File(PathBuf),
}

impl Destination {
    /// Opens the destination.
    ///
    /// # Errors
    /// When the file cannot be opened for appending.
    pub fn open(&self) -> std::io::Result<Box<dyn Write + Send>> {
        match self {
            Self::Stdout => Ok(Box::new(std::io::stdout())),
            Self::File(path) => Ok(Box::new(std::fs::OpenOptions::new().create(true).append(true).open(path)?)),
        }
    }
}

/// Whether lines are being written, and how many were lost.
#[derive(Debug, Default)]
pub struct Health {
    lost: AtomicU64,
    failing: AtomicBool,
    behind: AtomicBool,
}

impl Health {
    /// How many lines were lost since the start.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Whether lines are being written and the writer keeps up.
    pub fn good(&self) -> bool {
        !self.failing.load(Ordering::Relaxed) && !self.behind.load(Ordering::Relaxed)
    }
}

enum Message {
    Line(Vec<u8>),
    Output(Box<dyn Write + Send>),
    End,
}

/// The audit writer; all lines are written when [`Audit::close`] returns true.
pub struct Audit {
    lines: Sender<Message>,
    health: Arc<Health>,
    ended: std::sync::mpsc::Receiver<()>,
}

/// A handle that sends lines; cheap to clone.
#[derive(Clone)]
pub struct AuditSender {
    lines: Sender<Message>,
    health: Arc<Health>,
}

impl AuditSender {
    /// Sends a line; waits if the writer is far behind.
    pub async fn send(&self, line: Vec<u8>) {
        match self.lines.try_reserve() {
            Ok(place) => place.send(Message::Line(line)),
            Err(_) => {
                self.health.behind.store(true, Ordering::Relaxed);
                if self.lines.send(Message::Line(line)).await.is_err() {
                    self.health.lost.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    /// Writes the lines that are sent after this to another output; earlier lines go to the previous one.
    pub async fn continue_in(&self, output: Box<dyn Write + Send>) {
        // Fails only if the writer has ended, and then there is nothing to switch.
        let _ = self.lines.send(Message::Output(output)).await;
    }

    /// Sends a line without waiting; it is lost, and counted, if the writer is far behind.
    pub fn send_or_lose(&self, line: Vec<u8>) {
        if self.lines.try_send(Message::Line(line)).is_err() {
            self.health.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Audit {
    /// Starts the writer.
    ///
    /// # Errors
    /// When the thread cannot be created.
    pub fn start(output: Box<dyn Write + Send>) -> std::io::Result<Self> {
        let (lines, receiver) = channel(QUEUE);
        let (end, ended) = std::sync::mpsc::channel();
        let health = Arc::new(Health::default());
        let writer = Writer { output: BufWriter::new(output), health: health.clone() };
        std::thread::Builder::new().name("audit".into()).spawn(move || {
            writer.run(receiver);
            let _ = end.send(());
        })?;
        Ok(Self { lines, health, ended })
    }

    /// A handle that sends lines to this writer.
    pub fn sender(&self) -> AuditSender {
        AuditSender { lines: self.lines.clone(), health: self.health.clone() }
    }

    /// The state of the writer.
    pub fn health(&self) -> Arc<Health> {
        self.health.clone()
    }

    /// Waits, up to a limit, until every line that was sent is written; returns whether all of them were.
    pub fn close(self) -> bool {
        let written = self.lines.try_send(Message::End).is_ok() && self.ended.recv_timeout(LAST_WAIT).is_ok();
        written && self.health.lost() == 0
    }
}

struct Writer {
    output: BufWriter<Box<dyn Write + Send>>,
    health: Arc<Health>,
}

impl Writer {
    fn run(mut self, mut lines: Receiver<Message>) {
        while let Some(message) = lines.blocking_recv() {
            let mut next = Ok(message);
            loop {
                match next {
                    Ok(Message::Line(line)) => {
                        let result = self.output.write_all(&line);
                        self.note(result, 1);
                    }
                    Ok(Message::Output(output)) => {
                        let result = self.output.flush();
                        self.note(result, 0);
                        self.output = BufWriter::new(output);
                    }
                    Ok(Message::End) => {
                        let result = self.output.flush();
                        self.note(result, 0);
                        return;
                    }
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => break,
                }
                next = lines.try_recv();
            }
            // The queue is empty, so the buffer is written now.
            self.health.behind.store(false, Ordering::Relaxed);
            let result = self.output.flush();
            self.note(result, 0);
        }
    }

    fn note(&mut self, result: std::io::Result<()>, lines: u64) {
        match result {
            Ok(()) if lines > 0 || self.output.buffer().is_empty() => {
                self.health.failing.store(false, Ordering::Relaxed)
            }
            Ok(()) => {}
            Err(error) => {
                // The buffer could not be written and would be retried forever; it is dropped, and its lines are lost.
                let given_up = self.output.buffer().iter().filter(|byte| **byte == b'\n').count() as u64;
                self.health.lost.fetch_add(given_up.max(lines).max(1), Ordering::Relaxed);
                if !self.health.failing.swap(true, Ordering::Relaxed) {
                    tracing::error!(%error, "audit lines cannot be written");
                }
                self.give_up_buffer();
            }
        }
    }

    fn give_up_buffer(&mut self) {
        let nowhere: Box<dyn Write + Send> = Box::new(std::io::sink());
        let buffered = std::mem::replace(&mut self.output, BufWriter::new(nowhere));
        let (output, _) = buffered.into_parts();
        self.output = BufWriter::new(output);
    }
}

const QUEUE: usize = 8192;
/// How long the process waits for the last lines before it exits.
const LAST_WAIT: Duration = Duration::from_secs(5);
