//! `tracing`: where the spans of exchanges go.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::scalar::{Duration, FilePath};

/// Where the spans of exchanges go.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Tracing {
    /// The collector that takes them, by the OpenTelemetry Protocol.
    #[schemars(required)]
    pub(in crate::config) otlp: Option<Otlp>,
}

/// A collector that takes spans, by the OpenTelemetry Protocol.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Otlp {
    /// Where it is, such as `https://collector.bank.svc:4318`; with `protocol: http`, `/v1/traces` is added.
    #[schemars(required)]
    pub(in crate::config) endpoint: Option<String>,
    /// How it is spoken to.
    #[schemars(extend("default" = "http"))]
    pub(in crate::config) protocol: Option<OtlpProtocol>,
    /// The share of exchanges that is recorded, from 0 to 1, of those whose client sends no `traceparent`. One with a `traceparent`
    /// is recorded if that says so.
    #[schemars(range(min = 0, max = 1), extend("default" = 0.01))]
    pub(in crate::config) sampling: Option<f64>,
    /// How many exchanges a second are recorded because their `traceparent` says so; from then on it counts, and is forwarded, as one
    /// that does not.
    #[schemars(range(min = 0, max = 1_000_000), extend("default" = 100))]
    pub(in crate::config) max_client_sampled: Option<u64>,
    /// Header fields of each request to the collector, such as `authorization`, each with the file that has its value in one line.
    /// Default: none.
    pub(in crate::config) header_files: Option<BTreeMap<String, FilePath>>,
    /// TLS to an `https` collector.
    pub(in crate::config) tls: Option<CollectorTls>,
    /// How long it may take to answer, from 100ms to 60s.
    #[schemars(extend("default" = "5s"))]
    pub(in crate::config) timeout: Option<Duration>,
    /// What the spans are of, such as `service.name`, by the names of OpenTelemetry's resource attributes; they come before those of
    /// `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES`. Default: `service.name` is `fapi-gateway`, `service.version` its version,
    /// and `service.instance.id` a UUID of the process.
    pub(in crate::config) resource: Option<BTreeMap<String, String>>,
}

/// How a collector is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum OtlpProtocol {
    /// OTLP/HTTP with protobuf, by convention on port 4318.
    #[default]
    Http,
    /// OTLP/gRPC, by convention on port 4317.
    Grpc,
}

/// TLS towards a collector.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct CollectorTls {
    /// PEM files with the authorities that its certificate chains to. Default: the system's.
    #[schemars(length(min = 1))]
    pub(in crate::config) trust_anchors: Option<Vec<FilePath>>,
    /// PEM file with the certificate chain that the gateway presents; requires `private_key`. Default: none.
    pub(in crate::config) certificate: Option<FilePath>,
    /// PEM file with the key of that certificate.
    pub(in crate::config) private_key: Option<FilePath>,
}
