//! The audit as records of a log at a collector, by OTLP.
//!
//! The thread that writes the lines sends them and waits for the answer, so that a line counts as written when the collector has
//! said that it has it. A batch of which that is not known is sent again.

use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use data_encoding::HEXLOWER;
use memchr::memmem;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::runtime::{Builder, Runtime};

use crate::clock::{Clock, Moment};
use crate::otlp::{Calls, Fault, LogRecord, Peer, Signal, logs};
use crate::telemetry::lines::{Carrier, Taken, portion};

/// The collector that records go to.
#[derive(Clone)]
pub struct Settings {
    peer: Arc<Peer>,
    /// A hash of the authorities of its certificate, and of ours with its key.
    tls_hash: [u8; 32],
}

impl Settings {
    /// Records go to this one.
    pub fn new(peer: Peer, tls_hash: [u8; 32]) -> Self {
        Self { peer: Arc::new(peer), tls_hash }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Settings").field(&self.to_string()).finish()
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.peer.endpoint.fmt(f)
    }
}

impl PartialEq for Settings {
    fn eq(&self, other: &Self) -> bool {
        let of = |settings: &Self| {
            let Peer { endpoint, protocol, timeout, .. } = &*settings.peer;
            (endpoint.clone(), *protocol, *timeout, settings.tls_hash)
        };
        let (one, another) = (&self.peer, &other.peer);
        of(self) == of(other) && one.headers == another.headers && one.resource == another.resource
    }
}

/// Lines on their way to a collector.
pub(super) struct Otlp {
    /// Taken when this is dropped: looking up a name may block for longer than anybody waits.
    runtime: Option<Runtime>,
    calls: Calls,
    clock: Clock,
    /// When an attempt failed, and why, until there is another one.
    failed: Option<(Moment, String)>,
    /// Whether the last call was answered.
    answered: bool,
}

impl Otlp {
    /// Prepares to send, without connecting.
    ///
    /// # Errors
    /// When TLS or what waits for answers cannot be set up.
    pub(super) fn new(settings: &Settings, clock: Clock) -> io::Result<Self> {
        let calls = Calls::new(&settings.peer, Signal::Logs).map_err(io::Error::other)?;
        let runtime = Some(Builder::new_current_thread().enable_all().build()?);
        Ok(Self { runtime, calls, clock, failed: None, answered: false })
    }

    fn failed(&mut self, fault: &Fault) -> io::Error {
        let why = format!("the collector {} does not take them: {fault}", self.calls.endpoint());
        self.failed = Some((Moment::now(), why.clone()));
        io::Error::other(why)
    }
}

impl Carrier for Otlp {
    /// Sends the first of these lines. Takes no longer than the collector may.
    fn carry(&mut self, lines: &[u8]) -> io::Result<Taken> {
        if let Some((at, why)) = &self.failed
            && at.elapsed() < PAUSE
        {
            return Err(io::Error::other(why.clone()));
        }
        let Some(runtime) = &self.runtime else { return Err(ErrorKind::BrokenPipe.into()) };
        let portion = portion(lines);
        let records = portion.split_inclusive(|byte| *byte == b'\n').map(record).collect();
        let request = Bytes::from(logs(self.calls.resource(), EVENT, self.clock.now(), records));
        let mut sent = runtime.block_on(self.calls.send(request.clone()));
        // A collector that is replaced is no fault yet. One that is silent has been waited for.
        let was_replaced = |fault: &Fault| !matches!(fault, Fault::TimedOut) && fault.may_pass().is_some();
        if std::mem::take(&mut self.answered) && sent.as_ref().is_err_and(was_replaced) {
            sent = runtime.block_on(self.calls.send(request));
        }
        match sent {
            Ok(rejected) => {
                self.answered = true;
                if self.failed.take().is_some() {
                    tracing::info!(endpoint = %self.calls.endpoint(), "the collector takes the audit again");
                }
                let lines = portion.iter().filter(|byte| **byte == b'\n').count();
                let rejected = rejected.min(lines);
                if rejected > 0 {
                    tracing::error!(endpoint = %self.calls.endpoint(), rejected, of = lines, "the collector rejected audit lines for good");
                }
                Ok(Taken { bytes: portion.len(), lost: rejected as u64 })
            }
            Err(fault) => Err(self.failed(&fault)),
        }
    }
}

impl Drop for Otlp {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The record of a line. Its body is the line as it would be in a file, so that a chain can be verified.
fn record(line: &[u8]) -> LogRecord {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let time = member(line, b"\"time\":\"", 24).and_then(|time| {
        let time = OffsetDateTime::parse(std::str::from_utf8(time).ok()?, &Rfc3339).ok()?;
        Duration::try_from(time - OffsetDateTime::UNIX_EPOCH).ok()
    });
    let trace = member(line, b"\"trace_id\":\"", 32).and_then(|hex| HEXLOWER.decode(hex).ok());
    LogRecord {
        time: time.unwrap_or_default(),
        body: String::from_utf8_lossy(line).into_owned(),
        trace: trace.and_then(|trace| trace.try_into().ok()),
    }
}

/// The value of a string member of a fixed length. A quote within a value is escaped, so that no value looks like a member.
fn member<'l>(line: &'l [u8], name: &[u8], length: usize) -> Option<&'l [u8]> {
    let start = memmem::find(line, name)?.saturating_add(name.len());
    let end = start.saturating_add(length);
    line.get(start..end).filter(|_| line.get(end) == Some(&b'"'))
}

/// What the records are.
const EVENT: &str = "fapi_gateway.audit";
/// How long to wait after an attempt that failed before the next one.
const PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_has_the_line_its_time_and_its_trace() {
        let trace = "0af7651916cd43dd8448eb211c80319c";
        let line = format!(r#"{{"time":"2026-11-21T12:35:41.829Z","trace_id":"{trace}","path":"\"trace_id\":\"x"}}"#);
        let found = record(format!("{line}\n").as_bytes());
        assert_eq!(found.body, line);
        assert_eq!(found.time, Duration::from_millis(1_795_264_541_829));
        assert_eq!(found.trace.map(|trace| HEXLOWER.encode(&trace)).as_deref(), Some(trace));
        for without in ["{}", r#"{"time":"2026","trace_id":null}"#, r#"{"time":"9999-99-99T99:99:99.999Z"}"#] {
            let nothing = LogRecord { time: Duration::ZERO, body: without.to_owned(), trace: None };
            assert_eq!(record(without.as_bytes()), nothing);
        }
    }
}
