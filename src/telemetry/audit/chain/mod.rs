//! The chain: each line of the audit has the hash of the line before it, and signed lines between them say how far it goes.
//!
//! A process has one chain, with an ID of its own, in whatever files its lines come to be. It begins with a signed checkpoint,
//! which has the hash of the line that the file ended with; checkpoints follow after so many lines, and so long after a line
//! that none covers; the last one ends it. What a checkpoint signs is its own line, which has the hash of the line before it,
//! and so on back to the first.

mod checkpoint;
mod signer;
mod verify;

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use memchr::memchr_iter;
use uuid::Uuid;

pub use self::checkpoint::checkpoint_schema;
pub(super) use self::checkpoint::{Checkpoint as CheckpointLine, Link};
use self::checkpoint::{Checkpoint, Reason};
pub use self::signer::{ChainKey, Unusable};
pub use self::verify::{Chain as VerifiedChain, Ended, Fault, Findings, Place, PublicKeys, Verifier};
use crate::clock::{Clock, Moment, rfc3339};
use crate::sync::thread;
use crate::telemetry::audit::json::Value as _;
use crate::telemetry::lines::{Output, Stamp};

/// How lines are chained.
#[derive(Clone, Debug)]
pub struct ChainSettings {
    /// What checkpoints are signed with.
    pub key: Arc<ChainKey>,
    /// After how many lines there is a checkpoint.
    pub records: u64,
    /// How long a line is without a checkpoint after it.
    pub interval: Duration,
}

/// The chain of this process, which is added to its lines.
pub struct Chain {
    id: String,
    settings: Arc<ArcSwap<ChainSettings>>,
    clock: Clock,
    /// The number of the next line.
    sequence: u64,
    /// The hash of the line before it.
    previous: Option<[u8; 32]>,
    /// The hash of a line without its end that the file had before the chain began.
    torn: Option<[u8; 32]>,
    /// How many lines no checkpoint covers, and since when there are any.
    uncovered: u64,
    since: Moment,
    began: bool,
    /// Whether the log knows that checkpoints are not signed.
    unsigned: bool,
    /// When the key was last asked, and for how long it is not asked again.
    rest: (Moment, Duration),
    /// An empty buffer, for the next lines.
    spare: Vec<u8>,
}

impl Chain {
    /// A chain that begins after what this output has, or with nothing before it if that cannot be known. The settings are those
    /// of the moment.
    pub fn new(settings: Arc<ArcSwap<ChainSettings>>, clock: Clock, output: &Output) -> Self {
        let (last, rest) = output.last_line().unwrap_or_else(|error| {
            tracing::warn!(%error, "the audit's file cannot be read; its chain begins without the hash of its last line");
            Default::default()
        });
        // What is whole but for its end was not torn: it gets its end, and is the last line.
        let is_whole = serde_json::from_slice::<serde::de::IgnoredAny>(&rest).is_ok();
        let (last, rest) = if is_whole { (rest, Vec::new()) } else { (last, rest) };
        let hash = |line: Vec<u8>| (!line.is_empty()).then(|| fapi::sha256(&line));
        let id = Uuid::new_v4().to_string();
        let (previous, torn) = (hash(last), hash(rest));
        tracing::info!(chain = id, continues = previous.is_some(), "the chain of the audit begins");
        Self {
            id,
            settings,
            clock,
            sequence: 0,
            previous,
            torn,
            uncovered: 0,
            since: Moment::now(),
            began: false,
            unsigned: false,
            rest: (Moment::now(), Duration::ZERO),
            spare: Vec::new(),
        }
    }

    /// Adds a line, which is a JSON object and has no end yet.
    fn link(&mut self, line: &[u8], out: &mut Vec<u8>) {
        let begin = out.len();
        // The closing brace comes after the member.
        out.extend_from_slice(line.strip_suffix(b"}").unwrap_or(line));
        out.extend_from_slice(b",\"chain\":{\"id\":\"");
        out.extend_from_slice(self.id.as_bytes());
        // Writing to a vector does not fail.
        let _ = write!(out, "\",\"sequence\":{},\"previous\":", self.sequence);
        self.previous.write(out);
        out.extend_from_slice(b"}}");
        if self.uncovered == 0 {
            self.since = Moment::now();
        }
        self.uncovered = self.uncovered.saturating_add(1);
        self.close(begin, out);
    }

    /// Ends the line that begins here; the next one will have its hash.
    fn close(&mut self, begin: usize, out: &mut Vec<u8>) {
        self.previous = Some(fapi::sha256(out.get(begin..).unwrap_or_default()));
        self.sequence = self.sequence.saturating_add(1);
        out.push(b'\n');
    }

    /// Adds a checkpoint; without a signature there is none, and another attempt follows. A key may be in a token that is slow or
    /// gone: lines do not wait for it more than a fifth of the time.
    fn checkpoint(&mut self, reason: Reason, lost: u64, out: &mut Vec<u8>) {
        if !self.rest_left().is_zero() {
            return;
        }
        let (begin, asked) = (out.len(), Moment::now());
        let checkpoint = Checkpoint::new(rfc3339(self.clock.now()), reason, lost, self);
        let key = self.settings.load().key.clone();
        let is_signed = checkpoint.write(&key, out);
        let pause = match asked.elapsed() {
            took if key.may_block() && took >= QUICK => took.saturating_mul(4),
            _ => Duration::ZERO,
        };
        self.rest = (Moment::now(), if is_signed { pause } else { pause.saturating_add(AGAIN) });
        if !is_signed {
            out.truncate(begin);
            if !std::mem::replace(&mut self.unsigned, true) {
                tracing::error!("the key of the audit's chain does not sign; the chain goes on without checkpoints");
            }
            return;
        }
        self.unsigned = false;
        self.close(begin, out);
        self.uncovered = 0;
        self.torn = None;
        self.began = true;
    }

    /// How long the key is left in peace yet.
    fn rest_left(&self) -> Duration {
        let (since, rest) = self.rest;
        rest.saturating_sub(since.elapsed())
    }

    /// Ends a buffer of lines and takes the next one.
    fn exchange(&mut self, lines: &mut Vec<u8>, mut out: Vec<u8>) {
        std::mem::swap(lines, &mut out);
        out.clear();
        out.shrink_to(SPARE);
        self.spare = out;
    }
}

impl Stamp for Chain {
    fn stamp(&mut self, lines: &mut Vec<u8>, lost: u64) {
        let mut out = std::mem::take(&mut self.spare);
        out.reserve(lines.len().saturating_add(lines.len() / 4));
        if !self.began {
            self.checkpoint(Reason::Begin, lost, &mut out);
        }
        let (records, interval) = {
            let settings = self.settings.load();
            (settings.records, settings.interval)
        };
        let mut begin = 0_usize;
        for end in memchr_iter(b'\n', lines) {
            self.link(lines.get(begin..end).unwrap_or_default(), &mut out);
            begin = end.saturating_add(1);
            if self.uncovered >= records {
                self.checkpoint(Reason::Records, lost, &mut out);
            }
        }
        if self.uncovered > 0 && self.since.elapsed() >= interval {
            self.checkpoint(Reason::Interval, lost, &mut out);
        }
        self.exchange(lines, out);
    }

    fn due(&self) -> Option<Duration> {
        match self.uncovered {
            0 if self.began => None,
            0 => Some(self.rest_left()),
            _ => {
                let due = self.settings.load().interval.saturating_sub(self.since.elapsed());
                Some(due.max(self.rest_left()))
            }
        }
    }

    fn end(&mut self, lines: &mut Vec<u8>, lost: u64) {
        let mut out = std::mem::take(lines);
        // The last attempt: whoever waits for the end waits longer.
        thread::sleep(self.rest_left().min(LAST_REST));
        self.checkpoint(Reason::End, lost, &mut out);
        *lines = out;
    }
}

/// How long a signature in a token may take without a rest after it.
const QUICK: Duration = Duration::from_millis(20);
/// How long to wait at least before another attempt to sign.
const AGAIN: Duration = Duration::from_secs(1);
/// How long to wait before the last attempt.
const LAST_REST: Duration = Duration::from_secs(2);
/// How much memory the empty buffer may keep.
const SPARE: usize = 512 * 1024;

#[cfg(test)]
mod tests;
