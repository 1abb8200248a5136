//! The sections `tracing.otlp` and `audit.otlp` of gateway.yaml.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use reqwest::Url;

use crate::tls_client::{Identity, TrustAnchors};

/// The section `tracing.otlp` of gateway.yaml.
pub struct Settings {
    /// The collector.
    pub peer: Peer,
    /// The share of the traces that begin here which is recorded, from 0 to 1.
    pub sampling: f64,
    /// How many exchanges a second are recorded because their client asks for it.
    pub max_client_sampled: u32,
}

/// A collector, and how it is called; it has secrets, so it does not implement `Debug`.
pub struct Peer {
    /// Where the collector is, without what the protocol adds; `http` or `https`, and without user information or query.
    pub endpoint: Url,
    /// How it is spoken to.
    pub protocol: Protocol,
    /// Fields that each request to the collector has, with which the gateway authenticates.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The authorities of its certificate.
    pub trust_anchors: TrustAnchors,
    /// The certificate that the gateway presents.
    pub identity: Option<Identity>,
    /// How long it may take to take a batch.
    pub timeout: Duration,
    /// What spans and records are of, by names of OpenTelemetry's semantic conventions; each name once.
    pub resource: Vec<(Box<str>, Box<str>)>,
}

/// What a collector is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Records of a log.
    Logs,
}

impl Signal {
    /// What OTLP/HTTP adds to an endpoint.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Logs => "/v1/logs",
        }
    }

    /// The path of the call of OTLP/gRPC.
    pub(super) const fn call(self) -> &'static str {
        match self {
            Self::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            Self::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        }
    }
}

/// How a collector is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// OTLP/HTTP with protobuf.
    #[default]
    Http,
    /// OTLP/gRPC.
    Grpc,
}

impl Protocol {
    /// Its name in gateway.yaml.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Grpc => "grpc",
        }
    }
}
