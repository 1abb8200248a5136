//! The metrics for Prometheus, from the same data as the audit; label values come from closed sets only.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use fapi::UnixTime;
use fapi::revocation::Kind;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use super::arrivals::Arrivals;
use super::overload::Overload;
use super::resources::{IssuerResources, ResourceMetrics};
use crate::issuer::{CacheOutcome, IntrospectionOutcome, Issuers, Observer, RefreshOutcome};
use crate::replay::memory::Insert;
use crate::resource::{self, Id, Report, Resources};

/// All metrics of one gateway, in their own registry.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    request_duration: HistogramVec,
    decision_duration: HistogramVec,
    upstream_duration: HistogramVec,
    upstream_errors: IntCounterVec,
    upstream_retries: IntCounterVec,
    upstream_servers: IntGaugeVec,
    token_cache_requests: IntCounterVec,
    token_cache_entries: Gauge,
    replay_requests: IntCounterVec,
    replay_entries: Gauge,
    clock_step: Gauge,
    jwks_refreshes: IntCounterVec,
    jwks_age: GaugeVec,
    introspection_requests: IntCounterVec,
    introspection_duration: HistogramVec,
    revocations: IntCounterVec,
    revocations_entries: Gauge,
    handshakes: IntCounterVec,
    connections: IntGaugeVec,
    exchanges: IntGaugeVec,
    /// The connections before their first request.
    pub arrivals: Arrivals,
    /// The connections that a limit refused.
    pub overload: Overload,
    certificate_not_after: GaugeVec,
    revocation_list_next_update: GaugeVec,
    audit_lines_lost: IntCounter,
    log_lines_lost: IntCounter,
    reloads: IntCounterVec,
    last_reload: Gauge,
    resources: ResourceMetrics,
}

/// The metrics of one route, looked up in advance so that an exchange does not wait for a lock.
pub struct RouteMetrics {
    requests: IntCounterVec,
    name: Box<str>,
    permitted: IntCounter,
    duration: Histogram,
    decision: Histogram,
}

impl RouteMetrics {
    /// Counts an exchange when it ends.
    pub fn exchange(&self, decision: &str, code: &str, duration: Duration, own: Duration) {
        if (decision, code) == ("permit", "ok") {
            self.permitted.inc();
        } else {
            self.requests.with_label_values(&[&*self.name, decision, code]).inc();
        }
        self.duration.observe(duration.as_secs_f64());
        self.decision.observe(own.as_secs_f64());
    }
}

/// The result of a revocation that was sent.
#[derive(Clone, Copy, Debug)]
pub enum RevocationOutcome {
    /// It is in effect.
    Recorded,
    /// It is an event about something else.
    Ignored,
    /// Its form, its sender or its signature is not acceptable.
    Refused,
    /// The table was full.
    Full,
    /// There were no keys to verify it with.
    Unavailable,
}

/// How many lines were lost since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lost {
    /// Of the audit.
    pub audit: u64,
    /// Of the log.
    pub log: u64,
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

impl Metrics {
    /// Registers everything.
    ///
    /// # Errors
    /// When two metrics have the same name, which is a bug.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let histogram = |name: &str, help: &str, labels: &[&str], buckets: &[f64]| {
            let metric = HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            let metric = GaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(metric.clone()))?;
            Ok::<_, prometheus::Error>(metric)
        };
        let requests = counter(
            "fapi_gateway_requests_total",
            "Exchanges. decision is permit, preflight, reject or error; code is ok or one of the table of codes; route is empty if none matched.",
            &["route", "decision", "code"],
        )?;
        let request_duration = histogram(
            "fapi_gateway_request_duration_seconds",
            "From the end of the request's header section to the end of the response.",
            &["route"],
            LONG,
        )?;
        let decision_duration = histogram(
            "fapi_gateway_decision_duration_seconds",
            "The gateway's own work before a request is forwarded or refused, including introspection.",
            &["route"],
            SHORT,
        )?;
        let upstream_duration = histogram(
            "fapi_gateway_upstream_duration_seconds",
            "From the decision to the header section of the upstream's response.",
            &["upstream"],
            LONG,
        )?;
        let upstream_errors = counter(
            "fapi_gateway_upstream_errors_total",
            "Failures of an upstream, including those that a retry made up for. kind is connect, connection, timeout or protocol.",
            &["upstream", "kind"],
        )?;
        let upstream_retries = counter(
            "fapi_gateway_upstream_retries_total",
            "Retries of requests that had not reached a server, or that are safe and met a connection that was being closed.",
            &["upstream"],
        )?;
        let upstream_servers = IntGaugeVec::new(
            Opts::new(
                "fapi_gateway_upstream_servers",
                "Addresses of an upstream. state is healthy, ejected (could not be connected to, or did not respond) or unhealthy (failed its health checks).",
            ),
            &["upstream", "state"],
        )?;
        registry.register(Box::new(upstream_servers.clone()))?;
        let token_cache_requests = counter(
            "fapi_gateway_token_cache_requests_total",
            "Look-ups of tokens that were verified or introspected before. outcome is hit or miss.",
            &["issuer", "outcome"],
        )?;
        let replay_requests = counter(
            "fapi_gateway_replay_requests_total",
            "Proofs that the replay log was asked about. store is memory; outcome is first, replayed, share_exceeded or unavailable.",
            &["store", "outcome"],
        )?;
        let replay_entries = Gauge::new("fapi_gateway_replay_entries", "Used proofs that are remembered.")?;
        registry.register(Box::new(replay_entries.clone()))?;
        let clock_step = Gauge::new(
            "fapi_gateway_clock_step_seconds",
            "How far the system clock was last set back, when that made the replay log start again; 0 if it never did.",
        )?;
        registry.register(Box::new(clock_step.clone()))?;
        let jwks_refreshes = counter(
            "fapi_gateway_jwks_refreshes_total",
            "Reads of key sets. outcome is success or failure.",
            &["issuer", "outcome"],
        )?;
        let introspection_requests = counter(
            "fapi_gateway_introspection_requests_total",
            "Introspection requests. outcome is active or inactive; unauthorized if the issuer refuses the gateway; invalid for a response that cannot be used; timeout; unreachable; busy if too many requests wait.",
            &["issuer", "outcome"],
        )?;
        let introspection_duration = histogram(
            "fapi_gateway_introspection_duration_seconds",
            "From an introspection request to its response, including the wait for its turn.",
            &["issuer"],
            LONG,
        )?;
        let revocations = counter(
            "fapi_gateway_revocations_total",
            "Revocations that were sent to the gateway. kind is token, jti, sub, client_id, sid, or none if it is not known; outcome is recorded, ignored for an event about other things, refused, full or unavailable.",
            &["kind", "outcome"],
        )?;
        let revocations_entries = Gauge::new("fapi_gateway_revocations_entries", "Revocations that are in effect.")?;
        registry.register(Box::new(revocations_entries.clone()))?;
        let handshakes = counter(
            "fapi_gateway_tls_handshakes_total",
            "TLS handshakes. outcome is success, failure, timeout, or refused when a limit on connections or handshakes was reached; reason is none, no_certificate, unknown_ca, expired, not_yet_valid, revoked, wrong_usage, policy, name_unknown, protocol_version, no_shared_suite, not_tls, timeout, client_alert or other.",
            &["listener", "outcome", "reason"],
        )?;
        let jwks_age = gauge(
            "fapi_gateway_jwks_age_seconds",
            "Time since the issuer last sent its keys; after jwks.max_age they are no longer used.",
            &["issuer"],
        )?;
        let certificate_not_after = gauge(
            "fapi_gateway_certificate_not_after_timestamp_seconds",
            "When the first certificate of a file expires.",
            &["file"],
        )?;
        let revocation_list_next_update = gauge(
            "fapi_gateway_revocation_list_next_update_timestamp_seconds",
            "When the first revocation list of a file must be replaced.",
            &["file"],
        )?;
        let connections =
            IntGaugeVec::new(Opts::new("fapi_gateway_connections", "Open client connections."), &["listener"])?;
        registry.register(Box::new(connections.clone()))?;
        let exchanges =
            IntGaugeVec::new(Opts::new("fapi_gateway_exchanges_in_flight", "Exchanges in progress."), &["listener"])?;
        registry.register(Box::new(exchanges.clone()))?;
        let token_cache_entries = Gauge::new(
            "fapi_gateway_token_cache_entries",
            "Tokens that are remembered, both verified and introspected.",
        )?;
        registry.register(Box::new(token_cache_entries.clone()))?;
        let reloads = counter(
            "fapi_gateway_config_reloads_total",
            "Reloads of the configuration. outcome is success or failure.",
            &["outcome"],
        )?;
        let audit_lines_lost =
            IntCounter::new("fapi_gateway_audit_lines_lost_total", "Audit lines that could not be written.")?;
        registry.register(Box::new(audit_lines_lost.clone()))?;
        let log_lines_lost = IntCounter::new(
            "fapi_gateway_log_lines_lost_total",
            "Lines of the log that were lost because stderr was not read or could not be written.",
        )?;
        registry.register(Box::new(log_lines_lost.clone()))?;
        let last_reload = Gauge::new(
            "fapi_gateway_config_last_reload_success",
            "1 if the last reload succeeded or there was none, 0 if it was refused and the configuration before it is still used.",
        )?;
        last_reload.set(1.0);
        registry.register(Box::new(last_reload.clone()))?;
        let resources = ResourceMetrics::register(&registry)?;
        let build =
            GaugeVec::new(Opts::new("fapi_gateway_build_info", "1, with the version of the program."), &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1.0);
        registry.register(Box::new(build))?;
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Self {
            requests,
            request_duration,
            decision_duration,
            upstream_duration,
            upstream_errors,
            upstream_retries,
            upstream_servers,
            token_cache_requests,
            token_cache_entries,
            replay_requests,
            replay_entries,
            clock_step,
            jwks_refreshes,
            jwks_age,
            introspection_requests,
            introspection_duration,
            revocations,
            revocations_entries,
            handshakes,
            connections,
            exchanges,
            arrivals: Arrivals::new(&registry)?,
            overload: Overload::new(&registry)?,
            certificate_not_after,
            revocation_list_next_update,
            audit_lines_lost,
            log_lines_lost,
            reloads,
            last_reload,
            resources,
            registry,
        })
    }

    /// The metrics of one route, by its configured name; the empty name is for exchanges without a route.
    pub fn route(&self, name: &str) -> RouteMetrics {
        RouteMetrics {
            requests: self.requests.clone(),
            name: name.into(),
            permitted: self.requests.with_label_values(&[name, "permit", "ok"]),
            duration: self.request_duration.with_label_values(&[name]),
            decision: self.decision_duration.with_label_values(&[name]),
        }
    }

    /// The response time of the upstream with this configured name.
    pub fn upstream(&self, name: &str) -> Histogram {
        self.upstream_duration.with_label_values(&[name])
    }

    /// Counts a failure of an upstream.
    pub fn upstream_failed(&self, upstream: &str, kind: &'static str) {
        self.upstream_errors.with_label_values(&[upstream, kind]).inc();
    }

    /// Counts a retry of a request.
    pub fn upstream_retried(&self, upstream: &str) {
        self.upstream_retries.with_label_values(&[upstream]).inc();
    }

    /// Sets when each resource was last read, replacing all previous values.
    pub fn resources(&self, reports: &[(Id, Report)]) {
        self.resources.set(reports);
    }

    /// Sets how many servers of each upstream are in each state, replacing all previous values.
    pub fn servers<'u>(&self, states: impl IntoIterator<Item = (&'u str, &'static str, usize)>) {
        self.upstream_servers.reset();
        for (upstream, state, count) in states {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.upstream_servers.with_label_values(&[upstream, state]).set(count);
        }
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

    /// Counts a revocation by the kind of its subject, if it is known.
    pub fn revocation(&self, kind: Option<Kind>, outcome: RevocationOutcome) {
        let outcome = match outcome {
            RevocationOutcome::Recorded => "recorded",
            RevocationOutcome::Ignored => "ignored",
            RevocationOutcome::Refused => "refused",
            RevocationOutcome::Full => "full",
            RevocationOutcome::Unavailable => "unavailable",
        };
        self.revocations.with_label_values(&[kind.map_or("none", Kind::as_str), outcome]).inc();
    }

    /// The gauge of a listener's open connections.
    pub fn connections(&self, listener: &str) -> prometheus::IntGauge {
        self.connections.with_label_values(&[listener])
    }

    /// The gauge of a listener's exchanges in progress.
    pub fn exchanges(&self, listener: &str) -> prometheus::IntGauge {
        self.exchanges.with_label_values(&[listener])
    }

    /// Counts a reload.
    pub fn reloaded(&self, success: bool) {
        self.reloads.with_label_values(&[if success { "success" } else { "failure" }]).inc();
        self.last_reload.set(if success { 1.0 } else { 0.0 });
    }

    /// Sets when each certificate in use expires, replacing all previous values.
    pub fn certificates<'c>(&self, certificates: impl IntoIterator<Item = &'c (String, UnixTime)>) {
        set_times(&self.certificate_not_after, certificates);
    }

    /// Sets when each revocation list in use must be replaced, replacing all previous values.
    pub fn revocation_lists<'c>(&self, lists: impl IntoIterator<Item = &'c (String, UnixTime)>) {
        set_times(&self.revocation_list_next_update, lists);
    }

    /// The counters of a replay log.
    pub fn replay(&self, store: &str) -> ReplayMetrics {
        let counter = |outcome: &str| self.replay_requests.with_label_values(&[store, outcome]);
        ReplayMetrics {
            first: counter("first"),
            again: counter("replayed"),
            share_exceeded: counter("share_exceeded"),
            full: counter("unavailable"),
            clock_step: self.clock_step.clone(),
        }
    }

    /// The text that Prometheus scrapes; gauges of current values are set here.
    pub fn render(&self, issuers: &Issuers, replay_entries: usize, lost: Lost, now: UnixTime) -> Vec<u8> {
        #[allow(clippy::cast_precision_loss, reason = "a count of entries")]
        self.replay_entries.set(replay_entries as f64);
        let set = |counter: &IntCounter, count: u64| counter.inc_by(count.saturating_sub(counter.get()));
        set(&self.audit_lines_lost, lost.audit);
        set(&self.log_lines_lost, lost.log);
        self.jwks_age.reset();
        for (issuer, age) in issuers.key_ages() {
            if let Some(age) = age {
                self.jwks_age.with_label_values(&[&*issuer]).set(age);
            }
        }
        #[allow(clippy::cast_precision_loss, reason = "a count of cache entries")]
        self.token_cache_entries.set(issuers.cache_entries() as f64);
        #[allow(clippy::cast_precision_loss, reason = "a count of entries")]
        self.revocations_entries.set(issuers.revocations(now) as f64);
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics could not be written");
        }
        text
    }
}

/// Sets one time for each file, and removes files that are no longer used.
fn set_times<'c>(gauge: &GaugeVec, times: impl IntoIterator<Item = &'c (String, UnixTime)>) {
    gauge.reset();
    for (file, time) in times {
        #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 fit a double exactly for a long time")]
        gauge.with_label_values(&[file]).set(time.0 as f64);
    }
}

/// The counters of a replay log.
pub struct ReplayMetrics {
    first: IntCounter,
    again: IntCounter,
    share_exceeded: IntCounter,
    full: IntCounter,
    clock_step: Gauge,
}

impl crate::replay::Observer for ReplayMetrics {
    fn asked(&self, outcome: Insert) {
        match outcome {
            Insert::First => self.first.inc(),
            Insert::Again => self.again.inc(),
            Insert::ShareExceeded => self.share_exceeded.inc(),
            Insert::Full | Insert::ClockSetBack => self.full.inc(),
        }
    }

    fn clock_set_back(&self, seconds: u64) {
        #[allow(clippy::cast_precision_loss, reason = "seconds fit a double exactly for a long time")]
        self.clock_step.set(seconds as f64);
    }
}

/// The counters of the issuers; those that every request needs are looked up in advance.
pub struct IssuerMetrics {
    metrics: Arc<Metrics>,
    token_cache: HashMap<Arc<str>, (IntCounter, IntCounter)>,
    resources: IssuerResources,
}

impl IssuerMetrics {
    /// The counters for issuers with these names; what is read from them is noted in `resources`.
    pub fn new<'n>(
        metrics: &Arc<Metrics>,
        resources: &Resources,
        issuers: impl IntoIterator<Item = &'n Arc<str>> + Clone,
    ) -> Self {
        let resources = IssuerResources::new(resources, issuers.clone());
        let counter = |issuer: &str, outcome: &str| metrics.token_cache_requests.with_label_values(&[issuer, outcome]);
        let token_cache =
            issuers.into_iter().map(|name| (name.clone(), (counter(name, "hit"), counter(name, "miss")))).collect();
        Self { metrics: metrics.clone(), token_cache, resources }
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
        self.metrics.jwks_refreshes.with_label_values(&[issuer, outcome]).inc();
    }

    fn resource(&self, kind: resource::Kind, issuer: &str, outcome: Result<(), &dyn Display>) {
        self.resources.note(kind, issuer, outcome);
    }

    fn introspection(&self, issuer: &str, outcome: IntrospectionOutcome, took: Duration) {
        self.metrics.introspection_requests.with_label_values(&[issuer, outcome.as_str()]).inc();
        if !matches!(outcome, IntrospectionOutcome::Busy | IntrospectionOutcome::ShareExceeded) {
            self.metrics.introspection_duration.with_label_values(&[issuer]).observe(took.as_secs_f64());
        }
    }
}

const LONG: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
const SHORT: &[f64] = &[
    0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1.0,
    5.0,
];
