//! The metrics of exchanges: what became of them, how long they took, and how much was transferred.

use std::collections::BTreeMap;
use std::sync::Arc;

use fapi::code::Code;
use fapi::rate_limit::By;
use fapi::shadow::noted_codes;
use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

use super::audit::{Ending, decisions};
use super::exemplars::{Exemplars, Timing, Traced};
use super::metrics::{LONG, begin, registered, sums};

/// The families of all routes and listeners.
pub(super) struct RouteFamilies {
    requests: IntCounterVec,
    responses: IntCounterVec,
    request_duration: HistogramVec,
    decision_duration: HistogramVec,
    exemplars: Arc<Exemplars>,
    bytes: IntCounterVec,
    rate_limited: IntCounterVec,
    shadow_denials: IntCounterVec,
    signatures: IntCounterVec,
}

/// What became of the signature of a message, by its label in the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureOutcome {
    /// A request has one that holds.
    Verified,
    /// A request has none, and needs none.
    Absent,
    /// A request was refused for lack of one that holds, or for its digest; in shadow it would be.
    Refused,
    /// A response was signed.
    Signed,
    /// A response was not, and withheld.
    NotSigned,
}

impl SignatureOutcome {
    const ALL: [Self; 5] = [Self::Verified, Self::Absent, Self::Refused, Self::Signed, Self::NotSigned];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Absent => "absent",
            Self::Refused => "refused",
            Self::Signed => "signed",
            Self::NotSigned => "not_signed",
        }
    }
}

impl RouteFamilies {
    pub(super) fn new(registry: &Registry, exemplars: &Arc<Exemplars>) -> prometheus::Result<Self> {
        let counter =
            |name, help, labels: &[_]| registered(registry, IntCounterVec::new(Opts::new(name, help), labels)?);
        let histogram = |name, help, buckets: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            registered(registry, HistogramVec::new(options, &["route"])?)
        };
        Ok(Self {
            requests: counter(
                "fapi_gateway_requests_total",
                "Exchanges. decision is permit, preflight, metadata, reject or error; code is ok or one of the table of codes; route is empty if none matched.",
                &["route", "decision", "code"],
            )?,
            responses: counter(
                "fapi_gateway_responses_total",
                "Exchanges by what the client saw. status_class is 2xx, 3xx, 4xx, 5xx, or none if it closed the connection before; route is empty if none matched.",
                &["route", "status_class"],
            )?,
            request_duration: histogram(
                REQUEST_DURATION,
                "From the end of the request's header section to the end of the response.",
                LONG,
            )?,
            decision_duration: histogram(
                DECISION_DURATION,
                "The gateway's own work before a request is forwarded or refused, including introspection.",
                SHORT,
            )?,
            exemplars: exemplars.clone(),
            bytes: counter(
                "fapi_gateway_bytes_total",
                "Bytes of bodies, without chunk sizes and frames. direction is received from clients, or sent to them.",
                &["listener", "direction"],
            )?,
            rate_limited: counter(
                "fapi_gateway_rate_limited_total",
                "Requests that an entry of a route's rate_limits refused. by is address, sender, client or issuer.",
                &["route", "by"],
            )?,
            shadow_denials: counter(
                "fapi_gateway_shadow_denials_total",
                "Requests that were permitted because their route, or their authorization server, is in shadow, by the code with which they would have been refused.",
                &["route", "code"],
            )?,
            signatures: counter(
                "fapi_gateway_signatures_total",
                "Signatures of messages on routes with signature. outcome is verified, absent (and not required) or refused for a request, signed or not_signed for a response.",
                &["route", "outcome"],
            )?,
        })
    }

    /// The metrics of one route. Each of its series begins at 0, those of refusals only if `every_code`.
    pub(super) fn route(&self, name: &str, every_code: bool) -> RouteMetrics {
        for code in Code::ALL.iter().filter(|_| every_code) {
            for decision in decisions(*code) {
                begin(&self.requests, &[name, decision, code.as_str()]);
            }
        }
        begin(&self.requests, &[name, "preflight", "ok"]);
        // The documents about resources belong to no route.
        if name.is_empty() {
            begin(&self.requests, &[name, "metadata", "ok"]);
        }
        RouteMetrics {
            requests: self.requests.clone(),
            name: name.into(),
            permitted: self.requests.with_label_values(&[name, "permit", "ok"]),
            responses: CLASSES.map(|class| self.responses.with_label_values(&[name, class])),
            duration: self.timing(REQUEST_DURATION, name, LONG, &self.request_duration),
            decision: self.timing(DECISION_DURATION, name, SHORT, &self.decision_duration),
            shadow_denials: self.shadow_denials.clone(),
            signatures: self.signatures.clone(),
        }
    }

    /// Lets the series of a route with signatures begin at 0.
    pub(super) fn begin_signatures(&self, name: &str) {
        for outcome in SignatureOutcome::ALL {
            begin(&self.signatures, &[name, outcome.as_str()]);
        }
    }

    fn timing(&self, family: &'static str, name: &str, bounds: &'static [f64], of_all: &HistogramVec) -> Timing {
        self.exemplars.timing(family, name, bounds, of_all.with_label_values(&[name]))
    }

    /// Lets the series of a route in shadow begin at 0.
    pub(super) fn begin_shadow(&self, name: &str) {
        for code in noted_codes() {
            begin(&self.shadow_denials, &[name, code.as_str()]);
        }
    }

    /// How many requests were refused on all routes, by code.
    pub(super) fn refused(&self) -> BTreeMap<String, u64> {
        sums(&self.requests, "code", ("decision", &["reject", "error"]))
    }

    /// What one limit of a route refuses.
    pub(super) fn rate_limited(&self, route: &str, by: By) -> IntCounter {
        self.rate_limited.with_label_values(&[route, by.as_str()])
    }

    /// What is transferred by a listener.
    pub(super) fn traffic(&self, listener: &str) -> Traffic {
        let direction = |direction| self.bytes.with_label_values(&[listener, direction]);
        Traffic { received: direction("received"), sent: direction("sent") }
    }
}

/// The metrics of one route, looked up in advance so that an exchange does not wait for a lock.
pub struct RouteMetrics {
    requests: IntCounterVec,
    name: Box<str>,
    permitted: IntCounter,
    responses: [IntCounter; CLASSES.len()],
    duration: Timing,
    decision: Timing,
    shadow_denials: IntCounterVec,
    signatures: IntCounterVec,
}

impl RouteMetrics {
    /// Counts an exchange when it ends, with the decision and the code of its record, and its trace if it is recorded.
    pub fn exchange(&self, (decision, code): (&str, &str), ending: &Ending<'_>, traced: Option<Traced<'_>>) {
        if (decision, code) == ("permit", "ok") {
            self.permitted.inc();
        } else {
            self.requests.with_label_values(&[&*self.name, decision, code]).inc();
        }
        if let Some(responses) = self.responses.get(class(ending.status)) {
            responses.inc();
        }
        self.duration.observe(ending.duration, traced);
        self.decision.observe(ending.decision, traced);
    }

    /// Counts the signature of a message.
    pub fn signature(&self, outcome: SignatureOutcome) {
        self.signatures.with_label_values(&[&*self.name, outcome.as_str()]).inc();
    }

    /// Counts a request that would have been refused with this code, if the route were not in shadow.
    pub fn would_deny(&self, code: Code) {
        self.shadow_denials.with_label_values(&[&*self.name, code.as_str()]).inc();
    }
}

/// The place of a status among [`CLASSES`]. One below 200 is never the last, and RFC 9110 §15 has one above 599 count as a
/// server's error.
fn class(status: Option<u16>) -> usize {
    status.map_or(NONE, |status| usize::from((status / 100).clamp(2, 5)).saturating_sub(2))
}

/// The bytes of bodies that a listener transfers.
#[derive(Clone)]
pub struct Traffic {
    received: IntCounter,
    sent: IntCounter,
}

impl Traffic {
    /// Counts the bodies of an exchange.
    pub fn exchange(&self, ending: &Ending<'_>) {
        if ending.request_bytes > 0 {
            self.received.inc_by(ending.request_bytes);
        }
        self.sent.inc_by(ending.response_bytes);
    }
}

/// The values of `status_class`.
const CLASSES: [&str; 5] = ["2xx", "3xx", "4xx", "5xx", "none"];
/// The place of `none` among them.
const NONE: usize = 4;

const REQUEST_DURATION: &str = "fapi_gateway_request_duration_seconds";
const DECISION_DURATION: &str = "fapi_gateway_decision_duration_seconds";

const SHORT: &[f64] = &[
    0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0,
    5.0,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_has_a_class() {
        for (status, expected) in [
            (Some(200), "2xx"),
            (Some(304), "3xx"),
            (Some(499), "4xx"),
            (Some(500), "5xx"),
            (Some(599), "5xx"),
            (Some(600), "5xx"),
            (Some(999), "5xx"),
            (None, "none"),
        ] {
            assert_eq!(CLASSES[class(status)], expected, "{status:?}");
        }
    }
}
