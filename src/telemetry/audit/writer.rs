//! Carries the audit lines to their destination, and decides what happens while that does not take them.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use super::chain::{Chain, ChainSettings};
use super::evidence::EvidenceKey;
use super::otlp::{self, Otlp};
use super::pseudonym::Pseudonyms;
use super::syslog::{self, Syslog};
use crate::clock::Clock;
use crate::telemetry::lines::{Event, Health, LineSender, Lines, Output, Recent, Rotation, Stamp};

/// Where the lines go, and what happens if they cannot.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the lines go.
    pub destination: Destination,
    /// What happens to requests while the lines cannot be written.
    pub on_overflow: OnOverflow,
    /// How they are chained; `None` if they are not.
    pub chain: Option<ChainSettings>,
    /// What stands in them in place of names; `None` if nothing does.
    pub pseudonyms: Option<Arc<Pseudonyms>>,
    /// What is kept of signed messages is encrypted to this key; `None` if nothing is kept.
    pub evidence: Option<Arc<EvidenceKey>>,
}

/// Where the lines go.
#[derive(Clone, Debug, PartialEq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// This file; lines are appended, until they go to a new one.
    File(PathBuf, Option<Rotation>),
    /// This server, each line in a message.
    Syslog(Arc<syslog::Settings>),
    /// This collector, each line in a record.
    Otlp(otlp::Settings),
}

impl Destination {
    /// Opens the destination. The clock tells when lines go to a new file.
    ///
    /// # Errors
    /// When the file cannot be opened for appending, or is none and is to be rotated. A server that cannot be reached is not an error yet.
    pub fn open(&self, clock: &Clock) -> io::Result<Output> {
        match self {
            Self::Stdout => Output::duplicate(io::stdout()),
            Self::File(path, None) => Output::append_to(path),
            Self::File(path, Some(limits)) => Output::append_to(path)?.rotated(path, *limits, clock.clone()),
            Self::Syslog(settings) => Ok(Output::Other(Box::new(Syslog::connect(settings.clone())?))),
            Self::Otlp(settings) => Ok(Output::Answering(Box::new(Otlp::new(settings, clock.clone())?))),
        }
    }

    /// Whether a reload opens it, where lines went to the other one before: a file may have been renamed, and a connection goes
    /// on.
    pub fn is_opened_after(&self, before: &Self) -> bool {
        matches!(self, Self::Stdout | Self::File(..)) || self != before
    }
}

/// What happens to requests while the audit cannot be written as fast as they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnOverflow {
    /// They are served; lines that find no room are lost, and counted.
    Drop,
    /// They wait for room, at most [`PATIENCE`], and are then refused.
    Block,
    /// They are refused.
    Refuse,
}

impl OnOverflow {
    /// Whether the gateway is ready while the writer is in this state. Without room, requests are held back or refused,
    /// unless lines may be lost.
    pub fn is_ready(self, writer: &Health) -> bool {
        writer.good() && (writer.has_room() || self == Self::Drop)
    }
}

/// The audit writer; all lines are written when [`Audit::close`] returns true.
pub struct Audit {
    lines: Lines,
    chain: Option<Arc<ArcSwap<ChainSettings>>>,
}

/// A handle that sends lines; cheap to clone.
#[derive(Clone)]
pub struct AuditSender {
    lines: LineSender,
    chain: Option<Arc<ArcSwap<ChainSettings>>>,
}

impl AuditSender {
    /// Sends a line, with its end; it is lost, and counted, if too many are waiting. Never waits.
    pub fn send(&self, line: &[u8]) {
        self.lines.send(line);
    }

    /// Whether lines wait no longer than those in progress need room, so that a line may be a large one.
    pub fn has_room(&self) -> bool {
        self.lines.health().has_room()
    }

    /// Whether a new request may be served: the audit has room for its line, or does not insist on it.
    pub async fn admits(&self, on_overflow: OnOverflow) -> bool {
        match on_overflow {
            OnOverflow::Drop => true,
            OnOverflow::Block => self.lines.wait_for_room(PATIENCE).await,
            OnOverflow::Refuse => self.lines.health().has_room(),
        }
    }

    /// Writes the lines that are sent after this to another output; earlier lines go to the previous one if that takes
    /// them. Never waits.
    pub fn continue_in(&self, output: Output) {
        self.lines.continue_in(output);
    }

    /// Chains the lines that come next with these settings, if they are chained at all.
    pub fn chain_with(&self, settings: ChainSettings) {
        if let Some(chain) = &self.chain {
            chain.store(Arc::new(settings));
        }
    }
}

impl Audit {
    /// Starts the writer.
    ///
    /// # Errors
    /// When the thread cannot be created.
    pub fn start(output: impl Into<Output>) -> io::Result<Self> {
        Ok(Self { lines: Lines::start("audit", output.into(), BUFFER, report)?, chain: None })
    }

    /// Starts the writer, with lines that are chained. The clock tells when a checkpoint was signed.
    ///
    /// # Errors
    /// When the thread cannot be created.
    pub fn start_chained(output: impl Into<Output>, settings: ChainSettings, clock: Clock) -> io::Result<Self> {
        let (output, settings) = (output.into(), Arc::new(ArcSwap::from_pointee(settings)));
        let chain: Box<dyn Stamp> = Box::new(Chain::new(settings.clone(), clock, &output));
        let lines = Lines::start_stamped("audit", output, BUFFER, report, Some(chain))?;
        Ok(Self { lines, chain: Some(settings) })
    }

    /// A handle that sends lines to this writer.
    pub fn sender(&self) -> AuditSender {
        AuditSender { lines: self.lines.sender(), chain: self.chain.clone() }
    }

    /// The state of the writer.
    pub fn health(&self) -> Arc<Health> {
        self.lines.health()
    }

    /// The last lines.
    pub fn recent(&self) -> Arc<Recent> {
        self.lines.recent()
    }

    /// Waits, up to a limit, until every line that was sent is written; returns whether all of them were.
    pub fn close(self) -> bool {
        self.lines.close(LAST_WAIT)
    }
}

fn report(event: Event<'_>, lost: u64) {
    match event {
        Event::Failing(error) => tracing::error!(%error, lost, "audit lines cannot be written"),
        Event::NotRotated(error) => {
            tracing::error!(%error, lost, "the audit file cannot be rotated; it is tried again in a minute, and lines go on in it");
        }
        Event::Behind => tracing::error!(lost, "audit lines are not read fast enough; some were lost"),
        Event::Again => tracing::info!(lost, "audit lines are written again"),
    }
}

/// How many bytes of lines wait at most. Where requests are refused, that begins at half of it: the lines of those in
/// progress need room.
const BUFFER: usize = 16 * 1024 * 1024;
/// How long a request waits for room.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// How long the process waits for the last lines before it exits.
const LAST_WAIT: Duration = Duration::from_secs(5);
