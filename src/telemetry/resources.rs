//! The metrics of resources: when each was last read, and when that last failed.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;

use prometheus::{GaugeVec, Opts, Registry};

use crate::resource::{Id, Kind, Report, Resource, Resources};

/// The times of all resources.
pub(super) struct ResourceMetrics {
    last_success: GaugeVec,
    last_error: GaugeVec,
}

impl ResourceMetrics {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let gauge = |name: &str, help: &str| {
            let metric = GaugeVec::new(Opts::new(name, help), &["kind", "name"])?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        Ok(Self {
            last_success: gauge(
                "fapi_gateway_resource_last_success_timestamp_seconds",
                "When a resource was last read; 0 if it never was. kind is configuration, certificate, private_key or revocation_list for files that are in force; keys, introspection or introspection_endpoint of an issuer; upstream for the names of its servers.",
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

/// What is read from each issuer, looked up in advance.
pub(super) struct IssuerResources(HashMap<Arc<str>, [(Kind, Arc<Resource>); 3]>);

impl IssuerResources {
    pub(super) fn new<'n>(resources: &Resources, issuers: impl IntoIterator<Item = &'n Arc<str>>) -> Self {
        let kinds = [Kind::Keys, Kind::Introspection, Kind::IntrospectionEndpoint];
        let read = |name: &'n Arc<str>| (name.clone(), kinds.map(|kind| (kind, resources.of(kind, name))));
        Self(issuers.into_iter().map(read).collect())
    }

    pub(super) fn note(&self, kind: Kind, issuer: &str, outcome: Result<(), &dyn Display>) {
        let found = self.0.get(issuer).and_then(|resources| resources.iter().find(|(found, _)| *found == kind));
        match (found, outcome) {
            (Some((_, resource)), Ok(())) => resource.succeeded(),
            (Some((_, resource)), Err(error)) => resource.failed(error),
            (None, _) => {}
        }
    }
}
