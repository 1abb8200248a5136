//! Reads the configuration again when asked, and does the background work of the service in force.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::ServiceReadyNotifier;
use pingora::services::background::BackgroundService;
use rustls::time_provider::TimeProvider;
use tokio::task::JoinSet;

use super::{Control, StartError};
use crate::config::Config;
use crate::connection::{VirtualHost, VirtualHosts};
use crate::fapi::UnixTime;
use crate::fapi::dpop::ProofKeys;
use crate::fapi::message;
use crate::gateway::Gateway;
use crate::issuer::Issuers;
use crate::metrics::{IssuerMetrics, Metrics};
use crate::proxy::{Clock, KeptFor, Service};
use crate::replay::ReplayLog;
use crate::replay::keys::KnownKeys;
use crate::replay::memory::MemoryLog;
use crate::upstream::Upstream;

/// Keeps the service's keys and addresses fresh, and replaces the service when asked.
pub(super) struct Keeper {
    pub(super) service: Arc<ArcSwap<Service>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) control: Control,
    pub(super) reload: Box<dyn Fn() -> Result<Config, String> + Send + Sync>,
    pub(super) fixed: Fixed,
    pub(super) clock: Clock,
}

impl Keeper {
    /// The background work of one service; ends when dropped.
    async fn tend(service: &Service) -> JoinSet<()> {
        let mut work = JoinSet::new();
        let mut first = JoinSet::new();
        for upstream in &service.upstreams {
            let (upstream, once) = (upstream.clone(), upstream.clone());
            first.spawn(async move { once.resolve().await });
            work.spawn(async move { upstream.keep_fresh().await });
        }
        let issuers = service.gateway.issuers.clone();
        work.spawn(async move { issuers.keep_fresh().await });
        // A name server that does not answer must not keep the gateway from starting.
        let _ = tokio::time::timeout(FIRST_RESOLVE, first.join_all()).await;
        work
    }

    /// Builds and warms a new service; everything old stays in force until all of it is good.
    async fn replace(&self, work: &mut JoinSet<()>) -> Result<(), String> {
        let config = (self.reload)()?;
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        if !config.listeners.iter().map(|listener| &listener.address).eq(&self.addresses) {
            return Err("the listeners' addresses cannot change in a reload; restart the gateway".into());
        }
        if Fixed::of(&config) != self.fixed {
            tracing::warn!("admin, audit, and header_bytes and idle_timeout of HTTP/2 change only with a restart");
        }
        let files = Files::of(&config);
        let new = service(config, &self.metrics, &self.clock, self.clock.unix_time(), Some(&self.service.load()))
            .map_err(|error| error.to_string())?;
        let new = Arc::new(new);
        let tending = Self::tend(&new).await;
        let ready = async {
            while !new.gateway.issuers.ready() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(FIRST_KEYS, ready).await.is_err() {
            return Err("the keys of an issuer could not be read in time".into());
        }
        files.note(&self.metrics, self.clock.unix_time());
        let before = self.service.swap(new.clone());
        if before.kept_for != new.kept_for {
            // From here on nobody new judges by the limits before; what was noted under them may be forgotten too early.
            new.gateway.replay.go_on(new.kept_for.max_entries, self.clock.unix_time());
        }
        *work = tending;
        Ok(())
    }
}

#[async_trait]
impl BackgroundService for Keeper {
    async fn start_with_ready_notifier(&self, mut shutdown: ShutdownWatch, ready: ServiceReadyNotifier) {
        let mut work = Self::tend(&self.service.load_full()).await;
        ready.notify_ready();
        loop {
            tokio::select! {
                () = self.control.0.reload.notified() => {}
                _ = shutdown.changed() => return,
            }
            let outcome = self.replace(&mut work).await;
            self.metrics.reloaded(outcome.is_ok());
            match outcome {
                Ok(()) => tracing::info!("the configuration was reloaded"),
                Err(error) => tracing::error!(%error, "the configuration was not reloaded, the old one stays in force"),
            }
            self.control.0.reloads.fetch_add(1, Ordering::AcqRel);
            self.control.0.reloaded.notify_one();
        }
    }
}

/// What stays as it was at the start, whatever a reload says.
#[derive(PartialEq, Eq)]
pub(super) struct Fixed {
    admin: Option<SocketAddr>,
    audit: crate::audit::Destination,
    pub(super) header_bytes: usize,
    pub(super) h2_idle_timeout: Duration,
}

impl Fixed {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            admin: config.admin,
            audit: config.audit.clone(),
            header_bytes: config.limits.header_bytes,
            h2_idle_timeout: config.limits.idle_timeout,
        }
    }
}

/// The files whose content ends, and when.
pub(super) struct Files {
    certificates: Vec<(String, UnixTime)>,
    revocation_lists: Vec<(String, UnixTime)>,
}

impl Files {
    pub(super) fn of(config: &Config) -> Self {
        Self { certificates: config.certificates.clone(), revocation_lists: config.revocation_lists.clone() }
    }

    /// Tells dashboards, and the log what is too late already.
    pub(super) fn note(&self, metrics: &Metrics, now: UnixTime) {
        metrics.certificates(&self.certificates);
        metrics.revocation_lists(&self.revocation_lists);
        for (file, next_update) in &self.revocation_lists {
            if *next_update <= now {
                tracing::warn!(file, %next_update, "a revocation list is past its nextUpdate");
            }
        }
    }
}

/// The gateway's clock as TLS reads it: handshakes and requests are judged by the same time.
#[derive(Clone)]
struct HandshakeClock(Clock);

impl fmt::Debug for HandshakeClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HandshakeClock")
    }
}

impl TimeProvider for HandshakeClock {
    fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
        Some(rustls::pki_types::UnixTime::since_unix_epoch(Duration::from_secs(self.0.unix_time().0)))
    }
}

/// One service out of a configuration; what a reload builds anew, keeping of the one before what must not be forgotten.
pub(super) fn service(
    config: Config,
    metrics: &Arc<Metrics>,
    clock: &Clock,
    now: UnixTime,
    before: Option<&Service>,
) -> Result<Service, StartError> {
    let generation = before.map_or(0, |before| before.generation.wrapping_add(1));
    let clock = Arc::new(HandshakeClock(clock.clone()));
    let mut listeners = Vec::new();
    for listener in config.listeners {
        let mut hosts = Vec::new();
        for host in listener.hosts {
            hosts.push(VirtualHost { tls: host.tls.in_force(clock.clone())?, origins: host.origins });
        }
        listeners.push(VirtualHosts::new(hosts, generation));
    }
    let observer = IssuerMetrics::new(metrics, config.issuers.iter().map(|settings| &settings.expected.name));
    let issuers = match before {
        None => Issuers::new(config.issuers, config.token_cache, Arc::new(observer))?,
        Some(before) => before.gateway.issuers.succeeding(config.issuers, config.token_cache, Arc::new(observer))?,
    };
    let names = config.routes.iter().map(|route| route.name.clone()).chain([Arc::from("")]);
    let counts = names.map(|name| (name.clone(), metrics.route(&name))).collect();
    let kept_for = KeptFor {
        max_entries: config.replay_max_entries,
        max_age: config.freshness.max_age,
        nonce_lifetime: config.freshness.nonces.lifetime(),
    };
    let (replay, proof_keys) = match before {
        Some(before) => (before.gateway.replay.clone(), before.gateway.proof_keys.clone()),
        None => {
            let log = MemoryLog::new(kept_for.max_entries, now);
            let log = ReplayLog::memory(log, Arc::new(metrics.replay("memory")));
            (Arc::new(log), Arc::new(KnownKeys::new(PROOF_KEYS)) as Arc<dyn ProofKeys>)
        }
    };
    Ok(Service {
        generation,
        listeners,
        counts,
        kept_for,
        timings: config.upstreams.iter().map(|settings| metrics.upstream(&settings.name)).collect(),
        gateway: Gateway {
            routes: config.routes,
            issuers: Arc::new(issuers),
            limits: message::Limits { header_bytes: config.limits.header_bytes, body_bytes: config.limits.body_bytes },
            strip: config.strip,
            freshness: config.freshness,
            proof_keys,
            replay,
        },
        upstreams: config.upstreams.into_iter().map(|settings| Arc::new(Upstream::new(settings))).collect(),
        limits: config.limits,
        drain: config.drain,
    })
}

const FIRST_RESOLVE: Duration = Duration::from_secs(5);
/// How many proof keys are remembered, parsed; up to about 1 KiB each.
const PROOF_KEYS: u64 = 50_000;
const FIRST_KEYS: Duration = Duration::from_secs(30);
