//! One JSON line for each handshake that failed, up to a number in each second.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use fapi::jose::thumbprint::CertificateThumbprint;
use fapi::peer::distinguished_name;
use schemars::JsonSchema;
use serde::Serialize;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::pseudonym::{self, Pseudonyms};
use crate::clock::{Moment, rfc3339};

/// What is known of a handshake that failed.
#[derive(Clone, Debug)]
pub struct FailedHandshake<'a> {
    /// When it failed, in the format of RFC 3339.
    pub time: String,
    /// The listener's address.
    pub listener: &'a str,
    /// The peer's address.
    pub client_address: IpAddr,
    /// What stands in its place; `None` if it is recorded itself.
    pub pseudonyms: Option<&'a Pseudonyms>,
    /// The server name that the client requested.
    pub server_name: Option<&'a str>,
    /// The name of the reason.
    pub reason: &'static str,
    /// What happened, for an operator.
    pub detail: String,
    /// The certificate that the client presented, in DER.
    pub certificate: Option<&'a [u8]>,
}

/// One line. A doc comment here is the description of its member in the reference.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "HandshakeLine")]
pub(super) struct Line<'a> {
    /// `handshake`; the line of an exchange has no such member.
    event: &'static str,
    /// When the handshake failed, in RFC 3339, UTC, with milliseconds.
    time: &'a str,
    /// The `address` of the listener, as configured.
    listener: &'a str,
    /// The address of the other end of the connection, or its pseudonym.
    client_address: String,
    /// The server name that the client asked for; null if it asked for none, or did not get that far.
    server_name: Option<String>,
    /// `no_certificate`, `unknown_ca`, `expired`, `not_yet_valid`, `revoked`, `wrong_usage`, `policy`, `name_unknown`, `protocol_version`, `no_shared_suite`, `not_tls`, `timeout`, `client_alert` or `other`.
    reason: &'static str,
    /// What happened, at most 256 characters.
    detail: String,
    /// The certificate that the client presented; nothing proves that it has the key.
    certificate: Option<Shown>,
    /// How many failed handshakes have no line, since the line of a handshake before this one.
    omitted: u64,
}

/// A certificate that was presented. What cannot be read is null.
#[derive(Default, Serialize, JsonSchema)]
struct Shown {
    /// Its subject, at most 256 characters, as RFC 4514 writes it.
    subject: Option<String>,
    /// Its issuer, at most 256 characters, as RFC 4514 writes it.
    issuer: Option<String>,
    /// Its serial number, in hexadecimal with colons.
    serial: Option<String>,
    /// The SHA-256 of the certificate in base64url, as in `x5t#S256`.
    thumbprint: String,
    /// The first second of its validity.
    not_before: Option<String>,
    /// The last second of its validity.
    not_after: Option<String>,
}

impl Shown {
    fn of(der: &[u8]) -> Self {
        let thumbprint = CertificateThumbprint::of_der(der).to_string();
        let Ok((_, certificate)) = X509Certificate::from_der(der) else {
            return Self { thumbprint, ..Self::default() };
        };
        let time = |time: x509_parser::time::ASN1Time| {
            let seconds = u64::try_from(time.timestamp()).ok()?;
            Some(rfc3339(Duration::from_secs(seconds))).filter(|text| !text.is_empty())
        };
        Self {
            subject: Some(distinguished_name(certificate.subject())),
            issuer: Some(distinguished_name(certificate.issuer())),
            serial: Some(bounded(&certificate.raw_serial_as_string())),
            thumbprint,
            not_before: time(certificate.validity().not_before),
            not_after: time(certificate.validity().not_after),
        }
    }
}

/// The JSON Schema of a line, for the reference.
pub fn handshake_schema() -> serde_json::Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12().for_serialize();
    settings.into_generator().into_root_schema_for::<Line<'_>>().to_value()
}

/// The line of a failed handshake, with its line end.
pub fn handshake_line(failed: &FailedHandshake<'_>, omitted: u64) -> Vec<u8> {
    let line = Line {
        event: "handshake",
        time: &failed.time,
        listener: failed.listener,
        client_address: pseudonym::client_address(failed.pseudonyms, failed.client_address).to_string(),
        server_name: failed.server_name.map(bounded),
        reason: failed.reason,
        detail: bounded(&failed.detail),
        certificate: failed.certificate.map(Shown::of),
        omitted,
    };
    let mut bytes = Vec::with_capacity(1024);
    if serde_json::to_writer(&mut bytes, &line).is_err() {
        return Vec::new();
    }
    bytes.push(b'\n');
    bytes
}

/// Limits a text that a stranger chose.
fn bounded(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).take(LONGEST).collect()
}

/// How many lines of handshakes are written: anyone can make handshakes fail.
pub struct HandshakeAllowance {
    began: Moment,
    state: Mutex<Spent>,
}

#[derive(Default)]
struct Spent {
    /// The second, counted from the beginning, and how many lines were written in it.
    second: u64,
    lines: u32,
    omitted: u64,
}

impl Default for HandshakeAllowance {
    fn default() -> Self {
        Self { began: Moment::now(), state: Mutex::default() }
    }
}

impl HandshakeAllowance {
    /// Returns how many lines were omitted before this one; `None` if this one is omitted, too.
    pub fn take(&self) -> Option<u64> {
        self.take_at(self.began.elapsed().as_secs())
    }

    fn take_at(&self, second: u64) -> Option<u64> {
        let mut spent = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if spent.second != second {
            (spent.second, spent.lines) = (second, 0);
        }
        if spent.lines >= LINES_A_SECOND {
            spent.omitted = spent.omitted.saturating_add(1);
            return None;
        }
        spent.lines = spent.lines.saturating_add(1);
        Some(std::mem::take(&mut spent.omitted))
    }
}

/// How many characters of a text are recorded.
const LONGEST: usize = 256;
/// How many failed handshakes are recorded in each second, on all listeners together.
const LINES_A_SECOND: u32 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lines_a_second_are_written_and_the_next_one_says_how_many_were_not() {
        let allowance = HandshakeAllowance::default();
        for _ in 0..10 {
            assert_eq!(allowance.take_at(3), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(allowance.take_at(3), None);
        }
        assert_eq!(allowance.take_at(4), Some(7));
        assert_eq!(allowance.take_at(4), Some(0));
    }

    #[test]
    fn what_a_stranger_chose_is_short_and_has_no_control_characters() {
        let failed = FailedHandshake {
            time: String::new(),
            listener: "l",
            client_address: IpAddr::from([127, 0, 0, 1]),
            pseudonyms: None,
            server_name: Some("a\"\n\u{85}b"),
            reason: "other",
            detail: "\u{1b}[31m".repeat(10_000),
            certificate: Some(b"not a certificate"),
        };
        let bytes = handshake_line(&failed, 0);
        assert!(bytes.len() < 1000, "{}", bytes.len());
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(text.matches(char::is_control).collect::<String>(), "\n", "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&line["server_name"], &line["certificate"]["subject"]), (&"a\"??b".into(), &().into()));
    }
}
