//! The metrics of connections before their first request.

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

/// The metrics of connections before their first request.
pub struct Arrivals {
    handshaking: IntGaugeVec,
    proxy_protocol: IntCounterVec,
}

/// How a connection from a network of `proxy_protocol` began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// With a header that names the client.
    Client,
    /// With a header that names none, so that the connection keeps its own address.
    Own,
    /// Without a header.
    Missing,
    /// With a header that is not valid.
    Malformed,
    /// With an end before the header was whole.
    Closed,
}

impl Arrivals {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let handshaking = IntGaugeVec::new(
            Opts::new("fapi_gateway_tls_handshakes_in_progress", "TLS handshakes in progress."),
            &["listener"],
        )?;
        let proxy_protocol = IntCounterVec::new(
            Opts::new(
                "fapi_gateway_proxy_protocol_total",
                "Connections from the networks of proxy_protocol. outcome is client, own if the header names no client, missing, malformed, or closed before the header was whole.",
            ),
            &["listener", "outcome"],
        )?;
        registry.register(Box::new(handshaking.clone()))?;
        registry.register(Box::new(proxy_protocol.clone()))?;
        Ok(Self { handshaking, proxy_protocol })
    }

    /// The gauge of a listener's handshakes in progress.
    pub fn handshaking(&self, listener: &str) -> IntGauge {
        self.handshaking.with_label_values(&[listener])
    }

    /// Counts a connection from a network of `proxy_protocol`.
    pub fn proxy_header(&self, listener: &str, outcome: ProxyHeader) {
        let outcome = match outcome {
            ProxyHeader::Client => "client",
            ProxyHeader::Own => "own",
            ProxyHeader::Missing => "missing",
            ProxyHeader::Malformed => "malformed",
            ProxyHeader::Closed => "closed",
        };
        self.proxy_protocol.with_label_values(&[listener, outcome]).inc();
    }
}
