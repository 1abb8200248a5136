//! The metrics of connections before their first request.

use std::collections::BTreeMap;

use prometheus::{IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};

use super::metrics::{begin, registered, sums};

/// The metrics of connections before their first request.
pub struct Arrivals {
    handshaking: IntGaugeVec,
    handshakes: IntCounterVec,
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

impl ProxyHeader {
    const ALL: [Self; 5] = [Self::Client, Self::Own, Self::Missing, Self::Malformed, Self::Closed];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Own => "own",
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Closed => "closed",
        }
    }
}

/// How a TLS handshake ended.
#[derive(Clone, Copy, Debug)]
pub enum Handshake {
    /// It succeeded.
    Success,
    /// It failed, for example for its version, cipher suite or certificate.
    Failure,
    /// It took too long.
    Timeout,
    /// The listener had reached its limit of connections.
    Refused,
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
        let handshakes = IntCounterVec::new(
            Opts::new(
                "fapi_gateway_tls_handshakes_total",
                "TLS handshakes. outcome is success, failure, timeout, or refused when a limit on connections or handshakes was reached; reason is none, no_certificate, unknown_ca, expired, not_yet_valid, revoked, wrong_usage, policy, name_unknown, protocol_version, no_shared_suite, not_tls, timeout, client_alert or other.",
            ),
            &["listener", "outcome", "reason"],
        )?;
        Ok(Self {
            handshaking: registered(registry, handshaking)?,
            handshakes: registered(registry, handshakes)?,
            proxy_protocol: registered(registry, proxy_protocol)?,
        })
    }

    /// Has the series of a listener's handshakes begin at 0, with these reasons for failures.
    pub fn begin(&self, listener: &str, reasons: impl Iterator<Item = &'static str>) {
        for reason in reasons {
            begin(&self.handshakes, &[listener, "failure", reason]);
        }
        for (outcome, reason) in [("success", "none"), ("refused", "none"), ("timeout", "timeout")] {
            begin(&self.handshakes, &[listener, outcome, reason]);
        }
    }

    /// Has the series of a listener with `proxy_protocol` begin at 0.
    pub fn begin_proxy_headers(&self, listener: &str) {
        for outcome in ProxyHeader::ALL {
            begin(&self.proxy_protocol, &[listener, outcome.as_str()]);
        }
    }

    /// How many handshakes failed or took too long on all listeners, by reason.
    pub(super) fn failed(&self) -> BTreeMap<String, u64> {
        sums(&self.handshakes, "reason", ("outcome", &["failure", "timeout"]))
    }

    /// The gauge of a listener's handshakes in progress.
    pub fn handshaking(&self, listener: &str) -> IntGauge {
        self.handshaking.with_label_values(&[listener])
    }

    /// Counts a handshake; `reason` says why it failed, from a closed set.
    pub fn handshake(&self, listener: &str, outcome: Handshake, reason: &'static str) {
        let outcome = match outcome {
            Handshake::Success => "success",
            Handshake::Failure => "failure",
            Handshake::Timeout => "timeout",
            Handshake::Refused => "refused",
        };
        self.handshakes.with_label_values(&[listener, outcome, reason]).inc();
    }

    /// Counts a connection from a network of `proxy_protocol`.
    pub fn proxy_header(&self, listener: &str, outcome: ProxyHeader) {
        self.proxy_protocol.with_label_values(&[listener, outcome.as_str()]).inc();
    }
}
