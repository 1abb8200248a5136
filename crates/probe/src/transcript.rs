//! A line of JSON for every request and handshake, without secrets. Its hash stands in the report.

use std::io::{self, Write};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

use crate::exchange::{NoAnswer, Response};
use crate::secrets::Secrets;
use crate::sent::Sent;

/// The most characters of an answer's content that are written; that of a success is not, since it may be a customer's.
const MAX_SHOWN: usize = 500;

/// What was sent and received so far.
pub struct Transcript<'w> {
    out: Option<&'w mut dyn Write>,
    hash: Context,
    lines: u64,
    secrets: Secrets,
}

/// The circumstances of one exchange.
pub struct Circumstances {
    /// The module that made it.
    pub module: String,
    /// When it began, RFC 3339.
    pub time: String,
    /// The address that was called.
    pub address: String,
    /// What the connection presented.
    pub presented: Option<String>,
    /// How long it took.
    pub took: Duration,
}

impl<'w> Transcript<'w> {
    /// Writes to `out`, or only counts and hashes.
    pub fn new(out: Option<&'w mut dyn Write>) -> Self {
        Self { out, hash: Context::new(&SHA256), lines: 0, secrets: Secrets::default() }
    }

    /// Notes a request and its answer, and gives the number of the line.
    ///
    /// # Errors
    /// If the line cannot be written.
    pub fn request(&mut self, of: &Circumstances, sent: &Sent, answer: &Result<Response, NoAnswer>) -> io::Result<u64> {
        let request = json!({
            "method": sent.method,
            "target": sent.shown.target,
            "fields": sent.shown.fields,
            "content_bytes": sent.body.as_ref().map_or(0, Vec::len),
        });
        self.line(of, json!({ "request": request, "answer": answer_of(answer) }))
    }

    /// Notes bytes that are no good request, and the first answer to them.
    ///
    /// # Errors
    /// If the line cannot be written.
    pub fn raw(&mut self, of: &Circumstances, bytes: &[u8], answer: &Result<Response, NoAnswer>) -> io::Result<u64> {
        let bytes = String::from_utf8_lossy(bytes);
        self.line(of, json!({ "bytes": bytes, "answer": answer_of(answer) }))
    }

    /// What must not be written.
    pub fn secrets(&mut self) -> &mut Secrets {
        &mut self.secrets
    }

    /// A text without what must not be written.
    pub fn hide(&self, text: &str) -> String {
        self.secrets.hide(text)
    }

    /// Notes a handshake that has no request, and gives the number of the line.
    ///
    /// # Errors
    /// If the line cannot be written.
    pub fn handshake(&mut self, of: &Circumstances, offered: &str, answer: &str) -> io::Result<u64> {
        self.line(of, json!({ "handshake": offered, "answer": answer }))
    }

    /// The number of lines.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// The hash of all lines, in hexadecimal.
    pub fn sha256(&self) -> String {
        HEXLOWER.encode(self.hash.clone().finish().as_ref())
    }

    fn line(&mut self, of: &Circumstances, what: Value) -> io::Result<u64> {
        self.lines = self.lines.saturating_add(1);
        let mut line = json!({
            "number": self.lines,
            "time": of.time,
            "module": of.module,
            "address": of.address,
            "presented": of.presented,
            "milliseconds": u64::try_from(of.took.as_millis()).unwrap_or(u64::MAX),
        });
        if let (Some(line), Value::Object(what)) = (line.as_object_mut(), what) {
            line.extend(what);
        }
        let mut bytes = self.secrets.hide(&line.to_string()).into_bytes();
        bytes.push(b'\n');
        self.hash.update(&bytes);
        if let Some(out) = &mut self.out {
            out.write_all(&bytes)?;
        }
        Ok(self.lines)
    }
}

fn answer_of(answer: &Result<Response, NoAnswer>) -> Value {
    let response = match answer {
        Ok(response) => response,
        Err(error) => return json!({ "none": error.to_string() }),
    };
    let fields = response.fields.iter().map(|(name, value)| (name.as_str(), shown(name, value)));
    let mut told = json!({
        "status": response.status.as_u16(),
        "fields": fields.collect::<Vec<_>>(),
        "content_bytes": response.body.len(),
    });
    if !response.is_success() {
        let text: String = String::from_utf8_lossy(&response.body).chars().take(MAX_SHOWN).collect();
        told["content"] = json!(text);
    }
    told
}

/// The value of a field, but for those that are secret whatever they have.
fn shown(name: &str, value: &str) -> String {
    match name {
        "set-cookie" => "$COOKIE".to_owned(),
        "location" => value.split(['?', '#']).next().unwrap_or_default().to_owned(),
        _ => value.to_owned(),
    }
}
