//! `audit`: one JSON line for each exchange.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::scalar::{Duration, FilePath, Size};
use super::{CollectorTls, OtlpProtocol, PrivateKey, ServerTls};

/// One JSON line for each exchange.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Audit {
    /// `stdout`, `syslog`, `otlp`, or the path of a file that lines are added to.
    #[schemars(extend("default" = "stdout"))]
    pub(in crate::config) destination: Option<FilePath>,
    /// When lines go to a new file: at most a size, or the lines of a day or of another span. No file is ever removed. Default: all go
    /// to one.
    pub(in crate::config) rotate: Option<Rotate>,
    /// The syslog server (RFC 5424) that lines are sent to over TLS (RFC 5425); with `destination: syslog` only.
    pub(in crate::config) syslog: Option<Syslog>,
    /// The collector that lines are sent to, by the OpenTelemetry Protocol, each as the body of a log record; with `destination: otlp`
    /// only.
    pub(in crate::config) otlp: Option<AuditCollector>,
    /// What happens to requests while the lines cannot be written as fast as they come.
    #[schemars(extend("default" = "drop"))]
    pub(in crate::config) on_overflow: Option<OnOverflow>,
    /// How lines are chained, so that changes are found. Whether they are changes only with a restart. Default: they are not.
    pub(in crate::config) chain: Option<Chain>,
    /// What is replaced by a pseudonym. Default: nothing.
    pub(in crate::config) pseudonymize: Option<Pseudonymize>,
    /// What is kept of signed messages, so that they can be verified again. Default: nothing.
    pub(in crate::config) evidence: Option<Evidence>,
}

/// What was signed, with the signature and the public key, encrypted.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Evidence {
    /// PEM file with the public key that it is encrypted to: EC P-256, or RSA from 2048 to 4096 bits. The private key is not for the
    /// gateway: `audit show` needs it.
    #[schemars(required)]
    pub(in crate::config) encrypt_to: Option<FilePath>,
}

/// When lines go to a new file: when one of these is reached. The other one has the time after its name.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Rotate {
    /// How large a file becomes at most, from 1MiB to 1024GiB. Default: the size does not matter.
    pub(in crate::config) size: Option<Size>,
    /// Which span of time a file has, from 1m to 744h: with `24h`, a day from midnight to midnight, in UTC. Default: the time does not
    /// matter.
    pub(in crate::config) every: Option<Duration>,
}

/// The syslog server that lines are sent to over TLS.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Syslog {
    /// Its host, and its port if that is not 6514.
    #[schemars(required)]
    pub(in crate::config) server: Option<String>,
    /// TLS to it, in which the gateway presents a certificate if it has one. Default: the system's trust anchors, and no
    /// certificate.
    pub(in crate::config) tls: Option<ServerTls>,
}

/// The collector that lines are sent to, each as the body of a log record.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct AuditCollector {
    /// Where it is, such as `https://collector.bank.svc:4318`; with `protocol: http`, `/v1/logs` is added.
    #[schemars(required)]
    pub(in crate::config) endpoint: Option<String>,
    /// How it is spoken to.
    #[schemars(extend("default" = "http"))]
    pub(in crate::config) protocol: Option<OtlpProtocol>,
    /// Header fields of each request to the collector, such as `authorization`, each with the file that has its value in one line.
    /// Default: none.
    pub(in crate::config) header_files: Option<BTreeMap<String, FilePath>>,
    /// TLS to an `https` collector.
    pub(in crate::config) tls: Option<CollectorTls>,
    /// How long it may take to answer, from 100ms to 60s.
    #[schemars(extend("default" = "5s"))]
    pub(in crate::config) timeout: Option<Duration>,
    /// What the records are of, such as `service.name`, as in `tracing.otlp.resource`.
    pub(in crate::config) resource: Option<BTreeMap<String, String>>,
}

/// What happens to requests while the audit cannot be written as fast as they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum OnOverflow {
    /// They are served; lines that find no room are lost, and counted.
    Drop,
    /// They wait for room, at most 2 seconds, and are then refused with 503.
    Block,
    /// They are refused with 503.
    Refuse,
}

/// Each line has the hash of the line before it, and signed lines between them say how far that goes.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Chain {
    /// The private key that checkpoints are signed with, EC P-256 or Ed25519: a PEM file, or where the key is in a token of PKCS#11.
    /// A key of its own, since what it signs is evidence.
    #[schemars(required)]
    pub(in crate::config) key: Option<PrivateKey>,
    /// When there is a checkpoint, which is a signed line.
    pub(in crate::config) checkpoint: Option<Checkpoint>,
}

/// When there is a checkpoint: when one of these is reached, at the beginning and at the end.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Checkpoint {
    /// How many lines there are from one to the next.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 1000))]
    pub(in crate::config) records: Option<u64>,
    /// How long a line is without one after it, from 100ms to 1h.
    #[schemars(extend("default" = "10s"))]
    pub(in crate::config) interval: Option<Duration>,
}

/// Members of lines that have the HMAC-SHA-256 of their value instead, in base64url.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Pseudonymize {
    /// File with the key, the same for all replicas: 32 random bytes, or one line in hex, base64 or base64url.
    #[schemars(required)]
    pub(in crate::config) key: Option<FilePath>,
    /// The members.
    #[schemars(length(min = 1), extend("default" = ["subject", "client_address"]))]
    pub(in crate::config) fields: Option<Vec<PseudonymizedField>>,
}

/// A member that may have a pseudonym.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum PseudonymizedField {
    /// The token's `sub`, also where `detail` quotes it.
    Subject,
    /// The address of the other end of the connection.
    ClientAddress,
}
