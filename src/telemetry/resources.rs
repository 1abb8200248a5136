//! The metrics of resources: when each was last read, and when that last failed.

use prometheus::{GaugeVec, Opts, Registry};

use super::metrics::registered;
use crate::resource::{Id, Report};

/// The times of all resources.
pub(super) struct ResourceMetrics {
    last_success: GaugeVec,
    last_error: GaugeVec,
}

impl ResourceMetrics {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let gauge = |name, help| registered(registry, GaugeVec::new(Opts::new(name, help), &["kind", "name"])?);
        Ok(Self {
            last_success: gauge(
                "fapi_gateway_resource_last_success_timestamp_seconds",
                "When a resource was last read; 0 if it never was. kind is configuration, certificate, private_key or revocation_list for files that are in force; keys, introspection or introspection_endpoint of an issuer; upstream for the names of its servers; store for the connection to it; revocations for those that replicas share in it; collector for the one of spans, which is written to.",
            )?,
            last_error: gauge(
                "fapi_gateway_resource_last_error_timestamp_seconds",
                "When reading a resource last failed, even if it succeeded since; 0 if it never did. /status has the reason.",
            )?,
        })
    }

    /// Sets the times, replacing all previous values.
    pub(super) fn set(&self, reports: &[(Id, Report)]) {
        self.last_success.reset();
        self.last_error.reset();
        for ((kind, name), report) in reports {
            let labels = [kind.as_str(), name];
            let at = report.last_success.unwrap_or_default();
            self.last_success.with_label_values(&labels).set(at.as_secs_f64());
            let at = report.last_error.as_ref().map(|failure| failure.at).unwrap_or_default();
            self.last_error.with_label_values(&labels).set(at.as_secs_f64());
        }
    }
}
