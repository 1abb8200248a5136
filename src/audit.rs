//! One JSON line for each exchange, made from the same record that decided it; never a token, a proof or a body.
//!
//! Lines are written by a thread of their own, in order. When it cannot keep up, exchanges wait for it: an exchange without
//! its line would be worse than a slow one.

use std::io::{BufWriter, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use serde::Serialize;

use crate::fapi::sender::Confirmation;
use crate::gateway::{Exchange, Outcome};

/// Where the lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// Standard output.
    Stdout,
    /// The end of this file.
    File(PathBuf),
}

impl Destination {
    /// Opens it.
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

/// What is known at the end of an exchange besides the exchange itself.
#[derive(Clone, Debug)]
pub struct Ending<'a> {
    /// When it began, in RFC 3339.
    pub time: String,
    /// The listener's address.
    pub listener: &'a str,
    /// The other end's address, if the connection still had one.
    pub client_address: Option<IpAddr>,
    /// The subject of the connection's certificate.
    pub certificate_subject: Option<&'a str>,
    /// The method, if the message could be read.
    pub method: Option<&'a str>,
    /// The path without the query, if the message could be read.
    pub path: Option<&'a str>,
    /// The status that the client saw; none when the connection was gone.
    pub status: Option<u16>,
    /// The status that the upstream sent.
    pub upstream_status: Option<u16>,
    /// From the first byte of the request to the last of the response.
    pub duration: Duration,
    /// The gateway's own work before the request went on.
    pub decision: Duration,
}

/// One line; the names are those of the contract.
#[derive(Serialize)]
struct Line<'a> {
    time: &'a str,
    interaction_id: String,
    trace_id: &'a str,
    listener: &'a str,
    client_address: Option<IpAddr>,
    method: Option<&'a str>,
    path: Option<String>,
    route: Option<&'a str>,
    decision: &'static str,
    code: &'static str,
    detail: Option<String>,
    issuer: Option<&'a str>,
    client_id: Option<&'a str>,
    subject: Option<&'a str>,
    token_id: Option<String>,
    confirmation: Option<ConfirmationText>,
    certificate_subject: Option<&'a str>,
    status: Option<u16>,
    upstream: Option<&'a str>,
    upstream_status: Option<u16>,
    duration_ms: f64,
    decision_us: u64,
}

#[derive(Serialize)]
struct ConfirmationText {
    method: &'static str,
    thumbprint: String,
}

/// How an exchange ended, as metrics and audit name it.
pub fn decision(outcome: &Outcome) -> (&'static str, &'static str) {
    match outcome {
        Outcome::Permit(_) => ("permit", "ok"),
        Outcome::Reject(rejection) if rejection.code().status().is_server_error() => {
            ("error", rejection.code().as_str())
        }
        Outcome::Reject(rejection) => ("reject", rejection.code().as_str()),
        Outcome::Pending => ("error", "internal"),
    }
}

/// The line of one exchange, with its line end.
pub fn line(exchange: &Exchange, ending: &Ending<'_>) -> Vec<u8> {
    let seen = &exchange.seen;
    let token = seen.token.as_deref();
    let claims = token.map(|token| token.claims_for_audit());
    let (decision, code) = decision(&exchange.outcome);
    let line = Line {
        time: &ending.time,
        interaction_id: exchange.interaction.to_string(),
        trace_id: exchange.trace.trace_id(),
        listener: ending.listener,
        client_address: ending.client_address,
        method: ending.method,
        path: ending.path.map(|path| path.chars().take(2048).collect()),
        route: seen.route.as_ref().map(|route| &*route.name),
        decision,
        code,
        detail: match &exchange.outcome {
            Outcome::Reject(rejection) => Some(rejection.cause().to_string()),
            Outcome::Permit(_) | Outcome::Pending => None,
        },
        issuer: token.map(|token| &**token.issuer()),
        client_id: claims.and_then(|claims| claims.text("client_id")),
        subject: claims.and_then(|claims| claims.text("sub")),
        token_id: seen.token_id.map(|id| id.to_string()),
        confirmation: token.and_then(|token| token.confirmation().ok()).map(|confirmation| match confirmation {
            Confirmation::Certificate(thumbprint) => {
                ConfirmationText { method: "x5t#S256", thumbprint: thumbprint.to_string() }
            }
        }),
        certificate_subject: ending.certificate_subject,
        status: ending.status,
        upstream: seen.route.as_ref().filter(|_| ending.upstream_status.is_some()).map(|route| &*route.upstream.name),
        upstream_status: ending.upstream_status,
        duration_ms: (ending.duration.as_secs_f64() * 1e6).round() / 1e3,
        decision_us: u64::try_from(ending.decision.as_micros()).unwrap_or(u64::MAX),
    };
    let mut bytes = serde_json::to_vec(&line).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// The writing end; lines are in the file when [`Audit::close`] returns.
pub struct Audit {
    lines: SyncSender<Message>,
    thread: JoinHandle<()>,
}

enum Message {
    Line(Vec<u8>),
    End,
}

/// A handle that sends lines; cheap to clone.
#[derive(Clone)]
pub struct AuditSender(SyncSender<Message>);

impl AuditSender {
    /// Hands a line over; waits when the writer is far behind.
    pub fn send(&self, line: Vec<u8>) {
        if self.0.send(Message::Line(line)).is_err() {
            tracing::error!("the audit writer is gone, a line was lost");
        }
    }
}

impl Audit {
    /// Starts the writer.
    ///
    /// # Errors
    /// When no thread can be made.
    pub fn start(output: Box<dyn Write + Send>) -> std::io::Result<Self> {
        let (lines, receiver) = sync_channel(QUEUE);
        let thread = std::thread::Builder::new().name("audit".into()).spawn(move || write_lines(&receiver, output))?;
        Ok(Self { lines, thread })
    }

    /// A handle for those who have something to tell.
    pub fn sender(&self) -> AuditSender {
        AuditSender(self.lines.clone())
    }

    /// Waits until everything that was sent before is written.
    pub fn close(self) {
        if self.lines.send(Message::End).is_err() || self.thread.join().is_err() {
            tracing::error!("the audit writer ended in a panic");
        }
    }
}

fn write_lines(lines: &Receiver<Message>, output: Box<dyn Write + Send>) {
    let mut output = BufWriter::new(output);
    let mut failing = false;
    loop {
        let result = match lines.recv_timeout(FLUSH_AFTER) {
            Ok(Message::Line(line)) => output.write_all(&line),
            Err(RecvTimeoutError::Timeout) => output.flush(),
            Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => {
                if let Err(error) = output.flush() {
                    tracing::error!(%error, "the last audit lines could not be written");
                }
                return;
            }
        };
        match result {
            Ok(()) => failing = false,
            Err(error) if !failing => {
                failing = true;
                tracing::error!(%error, "audit lines cannot be written");
            }
            Err(_) => {}
        }
    }
}

const QUEUE: usize = 8192;
const FLUSH_AFTER: Duration = Duration::from_millis(20);
