//! The section `upstreams` of gateway.yaml.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::admission::Limits;

/// One entry of `upstreams` in gateway.yaml.
pub struct Settings {
    /// Its configured name.
    pub name: Arc<str>,
    /// Its servers; at least one.
    pub servers: Vec<ServerAddress>,
    /// The HTTP version that its servers use.
    pub protocol: Protocol,
    /// The TLS settings for `https` servers.
    pub tls: TlsSettings,
    /// How long connecting may take, including TLS.
    pub connect_timeout: Duration,
    /// How long the upstream may be silent.
    pub response_timeout: Duration,
    /// The largest header section of a response, in bytes.
    pub header_bytes: usize,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// How its servers are checked, if at all.
    pub health_check: Option<HealthCheck>,
    /// How much of it may be in use at a time.
    pub limits: Limits,
}

/// The address of one server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    /// Whether it uses TLS.
    pub tls: bool,
    /// Its name or IP address.
    pub host: Box<str>,
    /// Its port.
    pub port: u16,
}

/// An HTTP version; it is never negotiated, so that what was tested is what is used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2: by ALPN with TLS, by prior knowledge without (RFC 9113 §3.2, §3.3).
    Http2,
}

impl Protocol {
    /// How many exchanges a connection carries at a time, if the server allows that many.
    pub const fn streams(self) -> usize {
        match self {
            Self::Http1 => 1,
            Self::Http2 => 100,
        }
    }
}

/// The TLS settings for the servers of one upstream.
#[derive(Default)]
pub struct TlsSettings {
    /// The trust anchors for their certificates; by default, the system's authorities.
    pub trust_anchors: Option<Vec<CertificateDer<'static>>>,
    /// The certificate chain that the gateway presents, leaf first, and its private key.
    pub identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    /// The name that their certificate must have; by default, each server's host.
    pub server_name: Option<Box<str>>,
}

/// How each server is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// The path of a GET request; without it, connecting is enough.
    pub path: Option<Box<str>>,
    /// The pause between two checks.
    pub interval: Duration,
    /// How long one check may take.
    pub timeout: Duration,
    /// How many checks in a row must succeed before an unhealthy server is used again.
    pub healthy_after: usize,
    /// How many checks in a row must fail before a server is no longer used.
    pub unhealthy_after: usize,
}
