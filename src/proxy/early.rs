//! The response on a connection that fails before there is a request.

use std::time::Duration;

use bytes::Bytes;
use fapi::message::MessageError;
use fapi::rejection::ResponseContext;

use super::Proxy;
use super::context::fresh_exchange;
use crate::clock::{http_date, rfc3339};
use crate::connection::ConnectionFacts;
use crate::connection::head::EarlyFault;
use crate::telemetry::audit::{CertificateSource, Ending};

impl Proxy {
    /// Builds the response on a connection that fails before there is a request, and records the exchange.
    pub fn refuse_early(&self, fault: EarlyFault, facts: &ConnectionFacts) -> Bytes {
        let generation = self.generation.load();
        let (limit, fields) = (generation.limits.header_bytes, generation.limits.header_count);
        let error = match fault {
            EarlyFault::Malformed(outline) => outline.fault(),
            EarlyFault::TooLarge { bytes } => MessageError::HeaderTooLarge { bytes, limit },
            EarlyFault::TooManyFields => {
                MessageError::TooManyFields { fields: fields.saturating_add(1), limit: fields }
            }
            EarlyFault::TimedOut => MessageError::HeaderTimeout,
        };
        let mut exchange = fresh_exchange();
        let time = rfc3339(self.clock.now());
        let interaction = exchange.interaction.clone();
        let told = ResponseContext {
            errors: Some(&generation.gateway.errors),
            time: Some(&|| time.clone()),
            ..ResponseContext::default()
        };
        let response = exchange.reject(error).response_in(&interaction, told);
        let certificate = facts.peer.certificate();
        let ending = Ending {
            time,
            listener: &self.listener,
            client_address: Some(facts.client_address),
            pseudonyms: generation.pseudonyms.as_deref(),
            tls_version: Some(facts.tls_version),
            certificate_subject: certificate.map(|certificate| certificate.subject()),
            certificate_source: certificate.map(|_| CertificateSource::Handshake),
            status: Some(response.status().as_u16()),
            response_bytes: response.body().len() as u64,
            ..Ending::default()
        };
        self.record(&generation, &exchange, &ending, None);
        http1_bytes(&response, self.clock.now())
    }
}

/// Serializes a whole HTTP/1.1 response that closes its connection.
fn http1_bytes(response: &http::Response<String>, now: Duration) -> Bytes {
    let mut text = format!("HTTP/1.1 {}\r\n", response.status());
    for (name, value) in response.headers() {
        text.push_str(name.as_str());
        text.push_str(": ");
        text.push_str(value.to_str().unwrap_or_default());
        text.push_str("\r\n");
    }
    let (date, body) = (http_date(now), response.body());
    text.push_str(&format!("date: {date}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len()));
    Bytes::from(text)
}
