//! The metrics for Prometheus, from the same data as the audit; label values come from closed sets only.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fapi::UnixTime;
use fapi::rate_limit::By;
use fapi::revocation::Kind;
use prometheus::core::Collector;
use prometheus::{
    Encoder, Gauge, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use super::arrivals::Arrivals;
use super::consents::{ConsentFamilies, ConsentMetrics};
use super::directories::DirectoryFamilies;
use super::exemplars::{Exemplars, Timing};
use super::history::{History, Refused};
use super::issuers::IssuerFamilies;
use super::openmetrics;
use super::overload::Overload;
use super::resources::ResourceMetrics;
use super::routes::{RouteFamilies, RouteMetrics, Traffic};
use super::spans::SpanMetrics;
use super::stores::{StoreFamilies, StoreMetrics};
use crate::issuer::Issuers;
use crate::replay;
use crate::resource::{Id, Report};
use crate::store::guarantee::Guarantee;

/// All metrics of one gateway, in their own registry.
pub struct Metrics {
    registry: Registry,
    routes: RouteFamilies,
    exemplars: Arc<Exemplars>,
    upstream_duration: HistogramVec,
    upstream_errors: IntCounterVec,
    upstream_retries: IntCounterVec,
    upstream_servers: IntGaugeVec,
    replay_requests: IntCounterVec,
    replay_entries: Gauge,
    clock_step: Gauge,
    revocations: IntCounterVec,
    revocations_entries: Gauge,
    connections: IntGaugeVec,
    exchanges: IntGaugeVec,
    pub(super) issuers: IssuerFamilies,
    pub(super) directories: DirectoryFamilies,
    stores: StoreFamilies,
    consents: ConsentFamilies,
    /// The connections before their first request.
    pub arrivals: Arrivals,
    /// The connections that a limit refused.
    pub overload: Overload,
    /// What became of spans.
    pub spans: SpanMetrics,
    /// What was refused in the last hour.
    pub history: History,
    certificate_not_after: GaugeVec,
    certificate_problems: GaugeVec,
    revocation_list_next_update: GaugeVec,
    waiver_expiry: GaugeVec,
    audit_lines_lost: IntCounter,
    log_lines_lost: IntCounter,
    reloads: IntCounterVec,
    last_reload: Gauge,
    resources: ResourceMetrics,
    /// Held while values are replaced.
    replaced: Mutex<()>,
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
    /// There were no keys to verify it with, or the store of all replicas did not record it.
    Unavailable,
}

impl RevocationOutcome {
    const UNRECORDED: [Self; 4] = [Self::Ignored, Self::Refused, Self::Full, Self::Unavailable];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Ignored => "ignored",
            Self::Refused => "refused",
            Self::Full => "full",
            Self::Unavailable => "unavailable",
        }
    }
}

/// How many lines were lost since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lost {
    /// Of the audit.
    pub audit: u64,
    /// Of the log.
    pub log: u64,
}

/// What metrics say of the moment at which they are read.
pub struct Current<'c> {
    /// The issuers, for the age of their keys and what is remembered of their tokens.
    pub issuers: &'c Issuers,
    /// How long ago each directory of participants was read that ever was.
    pub directories: Vec<(&'c str, Duration)>,
    /// How many servers of each upstream are in each state.
    pub servers: Vec<(&'c str, &'static str, usize)>,
    /// Whether each store is connected to.
    pub stores: Vec<(&'c str, bool)>,
    /// How far each guarantee reaches.
    pub guarantees: Vec<Guarantee>,
    /// When each resource was last read.
    pub resources: Vec<(Id, Report)>,
    /// How many proofs the replay log holds.
    pub replay_entries: usize,
    /// How many lines were lost.
    pub lost: Lost,
    /// The time.
    pub now: UnixTime,
}

impl Metrics {
    /// Registers everything.
    ///
    /// # Errors
    /// When two metrics have the same name, which is a bug.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let counter =
            |name, help, labels: &[_]| registered(&registry, IntCounterVec::new(Opts::new(name, help), labels)?);
        let histogram = |name, help, labels: &[_], buckets: &[f64]| {
            let options = HistogramOpts::new(name, help).buckets(buckets.to_vec());
            registered(&registry, HistogramVec::new(options, labels)?)
        };
        let gauge = |name, help, labels: &[_]| registered(&registry, IntGaugeVec::new(Opts::new(name, help), labels)?);
        let time = |name, help, labels: &[_]| registered(&registry, GaugeVec::new(Opts::new(name, help), labels)?);
        let number = |name, help| registered(&registry, Gauge::new(name, help)?);
        let lost = |name, help| registered(&registry, IntCounter::new(name, help)?);
        let exemplars = Arc::new(Exemplars::default());
        let upstream_duration = histogram(
            UPSTREAM_DURATION,
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
        let upstream_servers = gauge(
            "fapi_gateway_upstream_servers",
            "Addresses of an upstream. state is healthy, ejected (could not be connected to, or did not respond) or unhealthy (failed its health checks).",
            &["upstream", "state"],
        )?;
        let replay_requests = counter(
            "fapi_gateway_replay_requests_total",
            "Proofs that the replay log was asked about. store is memory, or the one that replicas share and that was asked; outcome is first, replayed, share_exceeded, unavailable, or alone if the shared one did not answer and this process decided by itself.",
            &["store", "outcome"],
        )?;
        let replay_entries = number("fapi_gateway_replay_entries", "Used proofs that are remembered.")?;
        let clock_step = number(
            "fapi_gateway_clock_step_seconds",
            "How far the system clock was last set back, when that made the replay log start again; 0 if it never did.",
        )?;
        let revocations = counter(
            "fapi_gateway_revocations_total",
            "Revocations that were sent to the gateway. kind is token, jti, sub, client_id, sid, or none if it is not known; outcome is recorded, ignored for an event about other things, refused, full or unavailable.",
            &["kind", "outcome"],
        )?;
        let revocations_entries = number("fapi_gateway_revocations_entries", "Revocations that are in effect.")?;
        let certificate_not_after = time(
            "fapi_gateway_certificate_not_after_timestamp_seconds",
            "When the first certificate of a file expires.",
            &["file"],
        )?;
        let certificate_problems = time(
            "fapi_gateway_certificate_problems",
            "1 for each problem of a file with certificates. problem is expired, not_yet_valid, expires_soon, name, key_usage, chain, weak_key or weak_signature.",
            &["file", "problem"],
        )?;
        let revocation_list_next_update = time(
            "fapi_gateway_revocation_list_next_update_timestamp_seconds",
            "When the first revocation list of a file must be replaced.",
            &["file"],
        )?;
        let waiver_expiry = time(
            "fapi_gateway_waiver_expiry_timestamp_seconds",
            "When a waiver of a rule of the profile ends, or ended. It is for an issuer, which may be an authorization server behind the gateway, or for a route; the other label is empty.",
            &["rule", "issuer", "route"],
        )?;
        let connections = gauge("fapi_gateway_connections", "Open client connections.", &["listener"])?;
        let exchanges = gauge("fapi_gateway_exchanges_in_flight", "Exchanges in progress.", &["listener"])?;
        let reloads = counter(
            "fapi_gateway_config_reloads_total",
            "Reloads of the configuration. outcome is success or failure.",
            &["outcome"],
        )?;
        let audit_lines_lost = lost("fapi_gateway_audit_lines_lost_total", "Audit lines that could not be written.")?;
        let log_lines_lost = lost(
            "fapi_gateway_log_lines_lost_total",
            "Lines of the log that were lost because stderr was not read or could not be written.",
        )?;
        let last_reload = number(
            "fapi_gateway_config_last_reload_success",
            "1 if the last reload succeeded or there was none, 0 if it was refused and the configuration before it is still used.",
        )?;
        last_reload.set(1.0);
        for outcome in ["success", "failure"] {
            begin(&reloads, &[outcome]);
        }
        // What was recorded has a kind, and what was not has none.
        for kind in [Kind::Token, Kind::Jti, Kind::Subject, Kind::ClientId, Kind::SessionId, Kind::Consent] {
            begin(&revocations, &[kind.as_str(), RevocationOutcome::Recorded.as_str()]);
        }
        for outcome in RevocationOutcome::UNRECORDED {
            begin(&revocations, &["none", outcome.as_str()]);
        }
        let resources = ResourceMetrics::new(&registry)?;
        let build = time(
            "fapi_gateway_build_info",
            "1, with the version of the program and the commit that it was built from, or unknown.",
            &["version", "commit"],
        )?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION"), env!("FAPI_GATEWAY_COMMIT")]).set(1.0);
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Self {
            routes: RouteFamilies::new(&registry, &exemplars)?,
            exemplars,
            upstream_duration,
            upstream_errors,
            upstream_retries,
            upstream_servers,
            replay_requests,
            replay_entries,
            clock_step,
            revocations,
            revocations_entries,
            connections,
            exchanges,
            issuers: IssuerFamilies::new(&registry)?,
            directories: DirectoryFamilies::new(&registry)?,
            stores: StoreFamilies::new(&registry)?,
            consents: ConsentFamilies::new(&registry)?,
            arrivals: Arrivals::new(&registry)?,
            overload: Overload::new(&registry)?,
            spans: SpanMetrics::new(&registry)?,
            history: History::default(),
            certificate_not_after,
            certificate_problems,
            revocation_list_next_update,
            waiver_expiry,
            audit_lines_lost,
            log_lines_lost,
            reloads,
            last_reload,
            resources,
            replaced: Mutex::default(),
            registry,
        })
    }

    /// The metrics of routes, by their configured names; the empty name is for exchanges without a route.
    ///
    /// Every series begins at 0, so that a rate sees the first event. With more than 100 routes, those of refusals
    /// begin when there is one: there are nearly a hundred for each route.
    pub fn routes(&self, names: &[Arc<str>]) -> HashMap<Arc<str>, RouteMetrics> {
        let every_code = names.len() <= MANY_ROUTES;
        names.iter().map(|name| (name.clone(), self.routes.route(name, every_code))).collect()
    }

    /// Lets the counters of what a route in shadow would refuse begin at 0.
    pub fn begin_shadow(&self, name: &str) {
        self.routes.begin_shadow(name);
    }

    /// Lets the counters of signatures on a route begin at 0.
    pub fn begin_signatures(&self, name: &str) {
        self.routes.begin_signatures(name);
    }

    /// The bytes that a listener transfers.
    pub fn traffic(&self, listener: &str) -> Traffic {
        self.routes.traffic(listener)
    }

    /// The refusals of one limit of a route.
    pub fn rate_limited(&self, route: &str, by: By) -> IntCounter {
        self.routes.rate_limited(route, by)
    }

    /// The response time of the upstream with this configured name.
    pub fn upstream(&self, name: &str) -> Timing {
        for kind in ["connect", "connection", "timeout", "protocol"] {
            begin(&self.upstream_errors, &[name, kind]);
        }
        begin(&self.upstream_retries, &[name]);
        let histogram = self.upstream_duration.with_label_values(&[name]);
        self.exemplars.timing(UPSTREAM_DURATION, name, LONG, histogram)
    }

    /// Counts a failure of an upstream.
    pub fn upstream_failed(&self, upstream: &str, kind: &'static str) {
        self.upstream_errors.with_label_values(&[upstream, kind]).inc();
    }

    /// Counts a retry of a request.
    pub fn upstream_retried(&self, upstream: &str) {
        self.upstream_retries.with_label_values(&[upstream]).inc();
    }

    /// Counts a revocation by the kind of its subject, if it is known.
    pub fn revocation(&self, kind: Option<Kind>, outcome: RevocationOutcome) {
        self.revocations.with_label_values(&[kind.map_or("none", Kind::as_str), outcome.as_str()]).inc();
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
        self.set_times(&self.certificate_not_after, certificates);
    }

    /// Sets the problems of the certificates in use, each with its file, replacing all previous ones.
    pub fn certificate_problems(&self, problems: &BTreeSet<(String, &'static str)>) {
        let _replacing = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        self.certificate_problems.reset();
        for (file, problem) in problems {
            self.certificate_problems.with_label_values(&[file.as_str(), problem]).set(1.0);
        }
    }

    /// Sets when each revocation list in use must be replaced, replacing all previous values.
    pub fn revocation_lists<'c>(&self, lists: impl IntoIterator<Item = &'c (String, UnixTime)>) {
        self.set_times(&self.revocation_list_next_update, lists);
    }

    /// Sets when each waiver ends, by its rule and the issuer and the route that it is for, one of which is empty; replaces all
    /// previous values.
    pub fn waivers<'w>(&self, waivers: impl IntoIterator<Item = ([&'w str; 3], UnixTime)>) {
        let _replacing = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        self.waiver_expiry.reset();
        for (labels, until) in waivers {
            #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 fit a double exactly for a long time")]
            self.waiver_expiry.with_label_values(&labels).set(until.0 as f64);
        }
    }

    /// The counters of a replay log.
    pub fn replay(&self, store: &str) -> ReplayMetrics {
        let counter = |outcome: &str| self.replay_requests.with_label_values(&[store, outcome]);
        ReplayMetrics {
            first: counter("first"),
            again: counter("replayed"),
            share_exceeded: counter("share_exceeded"),
            unavailable: counter("unavailable"),
            alone: counter("alone"),
            clock_step: self.clock_step.clone(),
        }
    }

    /// The counters of a store.
    pub fn store(&self, name: &str) -> StoreMetrics {
        self.stores.of(name)
    }

    /// The counters of a service of consents.
    pub fn consents(&self, service: &str) -> ConsentMetrics {
        self.consents.of(service)
    }

    /// The counter of uses of rate limits that a store may know nothing of.
    pub fn rate_limit_uses_untold(&self, store: &str) -> IntCounter {
        self.stores.untold(store)
    }

    /// What was refused since the start, over all routes and listeners.
    pub fn refused(&self) -> Refused {
        let (requests, handshakes, connections) =
            (self.routes.refused(), self.arrivals.failed(), self.overload.counts());
        Refused { requests, handshakes, connections }
    }

    /// The text that Prometheus scrapes, with these current values.
    pub fn render(&self, current: &Current<'_>, format: Format) -> Vec<u8> {
        let Current { issuers, replay_entries, lost, now, .. } = *current;
        let Current { directories, servers, stores, guarantees, resources, .. } = current;
        // Gauges are emptied and filled again; somebody else would find them empty.
        let _rendering = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        self.upstream_servers.reset();
        for (upstream, state, count) in servers {
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            self.upstream_servers.with_label_values(&[upstream, state]).set(count);
        }
        self.stores.set(stores, guarantees);
        self.resources.set(resources);
        #[allow(clippy::cast_precision_loss, reason = "a count of entries")]
        self.replay_entries.set(replay_entries as f64);
        let set = |counter: &IntCounter, count: u64| counter.inc_by(count.saturating_sub(counter.get()));
        set(&self.audit_lines_lost, lost.audit);
        set(&self.log_lines_lost, lost.log);
        self.issuers.set(issuers);
        self.directories.set(directories);
        #[allow(clippy::cast_precision_loss, reason = "a count of entries")]
        self.revocations_entries.set(issuers.revocations(now) as f64);
        let families = self.registry.gather();
        match format {
            Format::OpenMetrics => openmetrics::text(&families, &self.exemplars.current()).into_bytes(),
            Format::Prometheus => {
                let mut text = Vec::new();
                if let Err(error) = TextEncoder::new().encode(&families, &mut text) {
                    tracing::error!(%error, "metrics could not be written");
                }
                text
            }
        }
    }

    /// Sets one time for each file, and removes files that are no longer used.
    fn set_times<'c>(&self, gauge: &GaugeVec, times: impl IntoIterator<Item = &'c (String, UnixTime)>) {
        let _replacing = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        gauge.reset();
        for (file, time) in times {
            #[allow(clippy::cast_precision_loss, reason = "seconds since 1970 fit a double exactly for a long time")]
            gauge.with_label_values(&[file]).set(time.0 as f64);
        }
    }
}

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The text format of Prometheus, version 0.0.4.
    Prometheus,
    /// The text format of OpenMetrics, version 1.0.
    OpenMetrics,
}

/// Has a series begin at 0, so that a rate sees its first event.
pub(super) fn begin(counter: &IntCounterVec, labels: &[&str]) {
    let _ = counter.with_label_values(labels);
}

/// The sums of a family's counters by the value of the label `by`, of those whose `label` has one of these values; without
/// those that are 0.
pub(super) fn sums(family: &IntCounterVec, by: &str, (label, values): (&str, &[&str])) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for metric in family.collect().iter().flat_map(|family| family.get_metric()) {
        let value = |name: &str| {
            let found = metric.get_label().iter().find(|label| label.name() == name);
            found.map(|label| label.value()).unwrap_or_default()
        };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of events")]
        let count = metric.get_counter().get_value() as u64;
        if count > 0 && values.contains(&value(label)) {
            let sum: &mut u64 = sums.entry(value(by).to_owned()).or_default();
            *sum = sum.saturating_add(count);
        }
    }
    sums
}

/// Registers a family of metrics.
pub(super) fn registered<M: Collector + Clone + 'static>(registry: &Registry, family: M) -> prometheus::Result<M> {
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

/// From how many routes on a refusal has a series only once it happens.
const MANY_ROUTES: usize = 100;

/// The counters of a replay log.
pub struct ReplayMetrics {
    first: IntCounter,
    again: IntCounter,
    share_exceeded: IntCounter,
    unavailable: IntCounter,
    alone: IntCounter,
    clock_step: Gauge,
}

impl replay::Observer for ReplayMetrics {
    fn asked(&self, outcome: replay::Outcome) {
        match outcome {
            replay::Outcome::First => self.first.inc(),
            replay::Outcome::Again => self.again.inc(),
            replay::Outcome::ShareExceeded => self.share_exceeded.inc(),
            replay::Outcome::Unavailable => self.unavailable.inc(),
            replay::Outcome::Alone => self.alone.inc(),
        }
    }

    fn clock_set_back(&self, seconds: u64) {
        #[allow(clippy::cast_precision_loss, reason = "seconds fit a double exactly for a long time")]
        self.clock_step.set(seconds as f64);
    }
}

const UPSTREAM_DURATION: &str = "fapi_gateway_upstream_duration_seconds";

pub(super) const LONG: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

#[cfg(test)]
mod tests {
    use super::super::arrivals::Handshake;
    use super::super::audit::Ending;
    use super::super::overload::Cap;
    use super::*;
    use crate::issuer::CacheSettings;

    #[test]
    fn what_was_refused_is_counted_over_all_routes_and_listeners() {
        let metrics = Metrics::new().unwrap();
        let routes = metrics.routes(&["a".into(), "b".into()]);
        let exchange = |route: &str, decision, code| routes[route].exchange((decision, code), &Ending::default(), None);
        exchange("a", "permit", "ok");
        exchange("a", "permit", "client_gone");
        exchange("a", "reject", "token_expired");
        exchange("b", "reject", "token_expired");
        exchange("b", "error", "upstream_timeout");
        for (listener, outcome, reason) in [
            ("l", Handshake::Success, "none"),
            ("l", Handshake::Failure, "expired"),
            ("m", Handshake::Failure, "expired"),
            ("m", Handshake::Timeout, "timeout"),
        ] {
            metrics.arrivals.handshake(listener, outcome, reason);
        }
        metrics.overload.refused(Cap::Descriptors, None);
        let counts = |counts: &[(&str, u64)]| counts.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let expected = Refused {
            requests: counts(&[("token_expired", 2), ("upstream_timeout", 1)]),
            handshakes: counts(&[("expired", 2), ("timeout", 1)]),
            connections: counts(&[("descriptors", 1)]),
        };
        assert_eq!(metrics.refused(), expected);
    }

    #[test]
    fn what_is_read_is_whole_although_others_read_and_a_reload_replaces_it() {
        let metrics = Metrics::new().unwrap();
        let cache = CacheSettings { max_entries: 1, max_bytes: 1024, max_age: Duration::from_secs(1) };
        let issuers = Issuers::new(Vec::new(), cache, Arc::new(())).unwrap();
        let file = [("file.pem".to_owned(), UnixTime(1))];
        metrics.certificates(&file);
        let read = || {
            for lost in 0..200 {
                let current = Current {
                    issuers: &issuers,
                    directories: vec![("participants", Duration::from_secs(1))],
                    servers: vec![("bank", "healthy", 1), ("bank", "ejected", 0)],
                    stores: vec![("shared", true)],
                    guarantees: Vec::new(),
                    resources: Vec::new(),
                    replay_entries: 0,
                    lost: Lost { audit: lost, log: 0 },
                    now: UnixTime(1),
                };
                let text = metrics.render(&current, Format::Prometheus);
                let text = String::from_utf8(text).unwrap();
                for family in ["upstream_servers", "store_connected", "certificate_not_after_timestamp_seconds"] {
                    assert!(text.contains(&format!("\nfapi_gateway_{family}{{")), "no {family}");
                }
                metrics.certificates(&file);
            }
        };
        std::thread::scope(|scope| (0..4).for_each(|_| drop(scope.spawn(read))));
        assert_eq!(metrics.audit_lines_lost.get(), 199, "however many read, what is lost is counted once");
    }
}
