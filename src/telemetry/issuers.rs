//! The metrics of the issuers: their keys, their introspection, and the tokens that are remembered.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

use super::metrics::{LONG, Metrics, begin, registered};
use crate::issuer::{
    CacheOutcome, IntrospectionOutcome, Issuers, Observer, RefreshOutcome, Settings, SharedOutcome, SharedWrite,
};
use crate::resource::{Kind, Resource, Resources};

/// The families of all issuers.
#[derive(Clone)]
pub(super) struct IssuerFamilies {
    cache_requests: IntCounterVec,
    cache_entries: Gauge,
    key_reads: IntCounterVec,
    key_age: GaugeVec,
    introspections: IntCounterVec,
    introspection_duration: HistogramVec,
    shared_answers: IntCounterVec,
    shared_writes: IntCounterVec,
}

impl IssuerFamilies {
    pub(super) fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counter =
            |name, help| registered(registry, IntCounterVec::new(Opts::new(name, help), &["issuer", "outcome"])?);
        let cache_entries = Gauge::new(
            "fapi_gateway_token_cache_entries",
            "Tokens that are remembered, both verified and introspected.",
        )?;
        let key_age = Opts::new(
            "fapi_gateway_jwks_age_seconds",
            "Time since the issuer last sent its keys; after jwks.max_age they are no longer used.",
        );
        let introspection_duration = HistogramOpts::new(
            "fapi_gateway_introspection_duration_seconds",
            "From an introspection request to its response, including the wait for its turn.",
        )
        .buckets(LONG.to_vec());
        Ok(Self {
            cache_requests: counter(
                "fapi_gateway_token_cache_requests_total",
                "Look-ups of tokens that were verified or introspected before. outcome is hit or miss.",
            )?,
            cache_entries: registered(registry, cache_entries)?,
            key_reads: counter(
                "fapi_gateway_jwks_refreshes_total",
                "Reads of key sets. outcome is success or failure.",
            )?,
            key_age: registered(registry, GaugeVec::new(key_age, &["issuer"])?)?,
            introspections: counter(
                "fapi_gateway_introspection_requests_total",
                "Introspection requests. outcome is active or inactive; unauthorized if the issuer refuses the gateway; invalid for a response that cannot be used; timeout; unreachable; busy if too many requests wait; share_exceeded if too many of the same client do.",
            )?,
            shared_answers: counter(
                "fapi_gateway_introspection_store_lookups_total",
                "Look-ups of tokens among the answers that replicas share, before their issuer is asked. outcome is hit; miss; unusable for what is too old, was not sealed for this token and configuration with a key of this replica, or is about a token that is revoked here; or error if the store does not say.",
            )?,
            shared_writes: counter(
                "fapi_gateway_introspection_store_writes_total",
                "Introspection answers that were to be shared. outcome is stored; skipped for one that is too large, or if too many others are on their way; or error if the store did not take it.",
            )?,
            introspection_duration: registered(registry, HistogramVec::new(introspection_duration, &["issuer"])?)?,
        })
    }

    /// Sets the current values, replacing all previous ones.
    pub(super) fn set(&self, issuers: &Issuers) {
        self.key_age.reset();
        for (issuer, age) in issuers.key_ages() {
            if let Some(age) = age {
                self.key_age.with_label_values(&[&*issuer]).set(age);
            }
        }
        #[allow(clippy::cast_precision_loss, reason = "a count of cache entries")]
        self.cache_entries.set(issuers.cache_entries() as f64);
    }
}

/// The counters of the issuers; those that every request needs are looked up in advance.
pub struct IssuerMetrics {
    families: IssuerFamilies,
    token_cache: HashMap<Arc<str>, (IntCounter, IntCounter)>,
    resources: IssuerResources,
}

impl IssuerMetrics {
    /// The counters for these issuers; what is read from them is noted in `resources`.
    pub fn new(metrics: &Metrics, resources: &Resources, settings: &[Settings]) -> Self {
        let families = metrics.issuers.clone();
        let issuers = settings.iter().map(|settings| &settings.expected.name);
        let resources = IssuerResources::new(resources, issuers.clone());
        for issuer in settings {
            let name = &issuer.expected.name;
            for outcome in ["success", "failure"].iter().filter(|_| issuer.needs_keys()) {
                begin(&families.key_reads, &[name, outcome]);
            }
            if issuer.introspection.is_some() {
                families.introspection_duration.with_label_values(&[&**name]);
            }
            for outcome in IntrospectionOutcome::ALL.iter().filter(|_| issuer.introspection.is_some()) {
                begin(&families.introspections, &[name, outcome.as_str()]);
            }
        }
        for name in settings.iter().filter(|issuer| issuer.sharing.is_some()).map(|issuer| &issuer.expected.name) {
            SharedOutcome::ALL.iter().for_each(|outcome| begin(&families.shared_answers, &[name, outcome.as_str()]));
            SharedWrite::ALL.iter().for_each(|outcome| begin(&families.shared_writes, &[name, outcome.as_str()]));
        }
        let counter = |issuer: &str, outcome: &str| families.cache_requests.with_label_values(&[issuer, outcome]);
        let token_cache =
            issuers.into_iter().map(|name| (name.clone(), (counter(name, "hit"), counter(name, "miss")))).collect();
        Self { families, token_cache, resources }
    }
}

impl Observer for IssuerMetrics {
    fn token_cache(&self, issuer: &str, outcome: CacheOutcome) {
        match (self.token_cache.get(issuer), outcome) {
            (Some((hit, _)), CacheOutcome::Hit) => hit.inc(),
            (Some((_, miss)), CacheOutcome::Miss) => miss.inc(),
            (None, _) => {}
        }
    }

    fn jwks_refresh(&self, issuer: &str, outcome: RefreshOutcome) {
        let outcome = match outcome {
            RefreshOutcome::Success => "success",
            RefreshOutcome::Failure => "failure",
        };
        self.families.key_reads.with_label_values(&[issuer, outcome]).inc();
    }

    fn resource(&self, kind: Kind, issuer: &str, outcome: Result<(), &dyn Display>) {
        self.resources.note(kind, issuer, outcome);
    }

    fn shared_answer(&self, issuer: &str, outcome: SharedOutcome) {
        self.families.shared_answers.with_label_values(&[issuer, outcome.as_str()]).inc();
    }

    fn shared_write(&self, issuer: &str, outcome: SharedWrite) {
        self.families.shared_writes.with_label_values(&[issuer, outcome.as_str()]).inc();
    }

    fn introspection(&self, issuer: &str, outcome: IntrospectionOutcome, took: Duration) {
        self.families.introspections.with_label_values(&[issuer, outcome.as_str()]).inc();
        if !matches!(outcome, IntrospectionOutcome::Busy | IntrospectionOutcome::ShareExceeded) {
            self.families.introspection_duration.with_label_values(&[issuer]).observe(took.as_secs_f64());
        }
    }
}

/// What is read from each issuer, looked up in advance.
struct IssuerResources(HashMap<Arc<str>, [(Kind, Arc<Resource>); 3]>);

impl IssuerResources {
    fn new<'n>(resources: &Resources, issuers: impl IntoIterator<Item = &'n Arc<str>>) -> Self {
        let kinds = [Kind::Keys, Kind::Introspection, Kind::IntrospectionEndpoint];
        let read = |name: &'n Arc<str>| (name.clone(), kinds.map(|kind| (kind, resources.of(kind, name))));
        Self(issuers.into_iter().map(read).collect())
    }

    fn note(&self, kind: Kind, issuer: &str, outcome: Result<(), &dyn Display>) {
        let found = self.0.get(issuer).and_then(|resources| resources.iter().find(|(found, _)| *found == kind));
        match (found, outcome) {
            (Some((_, resource)), Ok(())) => resource.succeeded(),
            (Some((_, resource)), Err(error)) => resource.failed(error),
            (None, _) => {}
        }
    }
}
