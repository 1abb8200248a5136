//! One JSON line for each exchange, made from the decision itself; never contains a token, a proof or a body.

use std::net::IpAddr;
use std::time::Duration;

use fapi::code::Code;
use fapi::token::{Confirmation, TokenId};
use schemars::JsonSchema;

use super::json::{Value, write_object};
use crate::gateway::{Exchange, Outcome};

/// What is known at the end of an exchange besides the exchange itself.
#[derive(Clone, Debug)]
pub struct Ending<'a> {
    /// When it began, in the format of RFC 3339.
    pub time: String,
    /// The listener's address.
    pub listener: &'a str,
    /// The peer's address, if the connection still had one.
    pub client_address: Option<IpAddr>,
    /// The subject of the client's certificate.
    pub certificate_subject: Option<&'a str>,
    /// Where that certificate came from.
    pub certificate_source: Option<CertificateSource>,
    /// The method, if the message could be read.
    pub method: Option<&'a str>,
    /// The path without the query, if the message could be read.
    pub path: Option<&'a str>,
    /// The status that the client saw; `None` if the connection was already closed.
    pub status: Option<u16>,
    /// The upstream that the request was sent to, or would have been.
    pub upstream: Option<&'a str>,
    /// The status that the upstream sent.
    pub upstream_status: Option<u16>,
    /// From the end of the request's header section to the end of the response.
    pub duration: Duration,
    /// The gateway's own work before the request was forwarded.
    pub decision: Duration,
}

/// Where a client's certificate came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[schemars(rename_all = "snake_case")]
pub enum CertificateSource {
    /// The handshake of this connection.
    Handshake,
    /// A proxy that is trusted to forward it.
    Forwarded,
}

impl Value for CertificateSource {
    fn write(&self, out: &mut Vec<u8>) {
        let name = match self {
            Self::Handshake => "handshake",
            Self::Forwarded => "forwarded",
        };
        name.write(out);
    }
}

/// One line. A doc comment here is the description of its member in the reference.
#[derive(JsonSchema)]
struct Line<'a> {
    /// When the request arrived, in RFC 3339, UTC, with milliseconds: lines sort as text.
    time: &'a str,
    /// The `x-fapi-interaction-id` that the client, the upstream and the audit share.
    interaction_id: &'a str,
    /// The trace that the request belongs to, 32 hexadecimal digits (W3C Trace Context).
    trace_id: &'a str,
    /// The `address` of the listener, as configured.
    listener: &'a str,
    /// The address of the other end of the connection: the client's, or that of a proxy in front.
    client_address: Option<IpAddr>,
    /// The method; null if the message could not be read.
    method: Option<&'a str>,
    /// The path without the query, at most 2048 characters; null if the message could not be read.
    path: Option<&'a str>,
    /// The `name` of the route; null if none matched.
    route: Option<&'a str>,
    /// `permit`; `preflight` for one of CORS that the gateway granted; `reject` for an error of the client; `error` for one
    /// of the gateway, the issuer or the upstream.
    decision: &'static str,
    /// `ok`, or one of the codes.
    code: &'static str,
    /// What was wrong, with both sides of the comparison that failed; null if nothing was wrong.
    detail: Option<String>,
    /// The `name` of the token's issuer, once the token was verified.
    issuer: Option<&'a str>,
    /// The token's `client_id`.
    client_id: Option<&'a str>,
    /// The token's `sub`.
    subject: Option<&'a str>,
    /// The first 16 hexadecimal digits of the SHA-256 of the token that was presented, valid or not.
    #[schemars(with = "Option<String>")]
    token_id: Option<TokenId>,
    /// What the token is bound to.
    confirmation: Option<ConfirmationText>,
    /// The subject of the client's certificate; never that of a proxy.
    certificate_subject: Option<&'a str>,
    /// Where that certificate came from.
    certificate_source: Option<CertificateSource>,
    /// The status that the client saw; null if it closed the connection before.
    status: Option<u16>,
    /// The `upstream` that the request was sent to, or was about to be.
    upstream: Option<&'a str>,
    /// The status that the upstream sent.
    upstream_status: Option<u16>,
    /// Milliseconds from the end of the request's header section to the end of the response.
    #[schemars(with = "f64")]
    duration_ms: Duration,
    /// Microseconds of the gateway's own work before the request was forwarded or refused, including introspection.
    decision_us: u64,
}

/// The method and thumbprint of a binding; if there are two, those of the key, since the certificate has its own
/// fields.
#[derive(JsonSchema)]
struct ConfirmationText {
    /// `x5t#S256` for a certificate; `jkt` for a key, and for a token that is bound to both.
    method: &'static str,
    /// The thumbprint, in base64url.
    #[schemars(with = "String")]
    thumbprint: [u8; 32],
}

impl Value for ConfirmationText {
    fn write(&self, out: &mut Vec<u8>) {
        write_object!(out, self; method, thumbprint);
    }
}

impl ConfirmationText {
    fn of(confirmation: &Confirmation) -> Self {
        match confirmation {
            Confirmation::Certificate(thumbprint) => Self { method: "x5t#S256", thumbprint: *thumbprint.as_bytes() },
            Confirmation::Key(thumbprint) | Confirmation::Both(_, thumbprint) => {
                Self { method: "jkt", thumbprint: *thumbprint.as_bytes() }
            }
        }
    }
}

/// The JSON Schema of a line, for the reference.
pub fn schema() -> serde_json::Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12().for_serialize();
    settings.into_generator().into_root_schema_for::<Line<'_>>().to_value()
}

/// The decision and code of an exchange, as metrics and audit name them. An exchange that was permitted and then cut
/// short remains permitted.
pub fn decision(outcome: &Outcome, ending: &Ending<'_>) -> (&'static str, &'static str) {
    match outcome {
        Outcome::Permit(_) => ("permit", "ok"),
        Outcome::Preflight(_) => ("preflight", "ok"),
        Outcome::Reject(rejection) if cut_short(rejection.code()) && ending.upstream.is_some() => {
            ("permit", rejection.code().as_str())
        }
        Outcome::Reject(rejection) if rejection.code().status().is_server_error() => {
            ("error", rejection.code().as_str())
        }
        Outcome::Reject(rejection) => ("reject", rejection.code().as_str()),
        Outcome::Pending => ("error", "internal"),
    }
}

const fn cut_short(code: Code) -> bool {
    matches!(
        code,
        Code::ClientGone | Code::ClientStalled | Code::ExchangeTimeout | Code::TokenExpired | Code::TokenRevoked
    )
}

/// The line of one exchange, with its line end; `decision` and `code` are those of [`decision`].
pub fn line(exchange: &Exchange, ending: &Ending<'_>, (decision, code): (&'static str, &'static str)) -> Vec<u8> {
    let seen = &exchange.seen;
    let token = seen.token.as_deref();
    let claims = token.map(|token| token.claims_for_audit());
    let line = Line {
        time: &ending.time,
        interaction_id: exchange.interaction.as_str(),
        trace_id: exchange.trace.trace_id(),
        listener: ending.listener,
        client_address: ending.client_address,
        method: ending.method,
        path: ending
            .path
            .map(|path| path.char_indices().nth(2048).and_then(|(end, _)| path.get(..end)).unwrap_or(path)),
        route: seen.route.as_ref().map(|route| &*route.name),
        decision,
        code,
        detail: match &exchange.outcome {
            Outcome::Reject(rejection) => Some(rejection.cause().to_string()),
            Outcome::Permit(_) | Outcome::Preflight(_) | Outcome::Pending => None,
        },
        issuer: token.map(|token| &**token.issuer()),
        client_id: claims.and_then(|claims| claims.text("client_id")),
        subject: claims.and_then(|claims| claims.text("sub")),
        token_id: seen.token_id,
        confirmation: token.and_then(|token| token.confirmation().ok()).map(ConfirmationText::of),
        certificate_subject: ending.certificate_subject,
        certificate_source: ending.certificate_source,
        status: ending.status,
        upstream: ending.upstream,
        upstream_status: ending.upstream_status,
        duration_ms: ending.duration,
        decision_us: u64::try_from(ending.decision.as_micros()).unwrap_or(u64::MAX),
    };
    let mut bytes = Vec::with_capacity(USUAL);
    line.write(&mut bytes);
    bytes.push(b'\n');
    bytes
}

impl Line<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        write_object!(
            out, self;
            time,
            interaction_id,
            trace_id,
            listener,
            client_address,
            method,
            path,
            route,
            decision,
            code,
            detail,
            issuer,
            client_id,
            subject,
            token_id,
            confirmation,
            certificate_subject,
            certificate_source,
            status,
            upstream,
            upstream_status,
            duration_ms,
            decision_us,
        );
    }
}

/// The size of most lines, in bytes.
const USUAL: usize = 1024;
