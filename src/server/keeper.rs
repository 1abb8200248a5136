//! Reads the configuration again when asked, and does the background work of the service in force.

use std::fmt;
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
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
use crate::audit::{AuditSender, Destination};
use crate::config::Config;
use crate::connection::{VirtualHost, VirtualHosts};
use crate::gateway::Gateway;
use crate::hop::Hop;
use crate::issuer::Issuers;
use crate::metrics::{IssuerMetrics, Metrics};
use crate::proxy::{Clock, KeptFor, Service};
use crate::replay::ReplayLog;
use crate::replay::keys::KnownKeys;
use crate::replay::memory::MemoryLog;
use crate::upstream::Upstream;
use crate::watch::{Files, Look, Watch};
use fapi::UnixTime;
use fapi::dpop::ProofKeys;
use fapi::message;

/// Keeps the service's keys and addresses fresh, and replaces the service when asked, or when its files have changed.
pub(super) struct Keeper {
    pub(super) service: Arc<ArcSwap<Service>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) control: Control,
    pub(super) audit: AuditSender,
    pub(super) clock: Clock,
    pub(super) sources: Sources,
}

/// Where the configuration of the start came from, and what of it stays.
pub(super) struct Sources {
    file: PathBuf,
    files: Files,
    interval: Option<Duration>,
    /// The address of admin, and whether there is TLS.
    admin: Option<(SocketAddr, bool)>,
    /// Where the audit goes, if the configuration says it.
    audit: Option<Destination>,
}

impl Sources {
    pub(super) fn of(config: &Config, audit: Option<Destination>) -> Self {
        let (file, files) = (config.file.clone(), config.files.clone());
        Self { file, files, interval: config.watch, admin: admin_of(config), audit }
    }
}

fn admin_of(config: &Config) -> Option<(SocketAddr, bool)> {
    config.admin.as_ref().map(|admin| (admin.address, admin.tls.is_some()))
}

/// What belongs to the service in force, and what was last tried in its place.
struct Kept {
    /// Its background work.
    work: JoinSet<()>,
    /// Where its audit goes, if the configuration says it.
    audit: Option<Destination>,
    changes: Changes,
}

/// Tells when there is a reason to read the configuration again.
struct Changes {
    /// The files that were read last, whatever came of it: a fault is met again only after one of them has changed.
    watch: Watch,
    interval: Option<Duration>,
    /// Whether the last fault may go by itself.
    passing: bool,
}

/// Why the configuration is read again.
enum Occasion {
    Asked,
    Changed(Vec<PathBuf>),
    Passed,
}

/// Why everything stays as it was.
struct NotReloaded {
    why: String,
    /// Whether it may come right though no file changes.
    passing: bool,
}

impl NotReloaded {
    fn lasting(why: impl Into<String>) -> Self {
        Self { why: why.into(), passing: false }
    }

    fn passing(why: impl Into<String>) -> Self {
        Self { why: why.into(), passing: true }
    }
}

impl Changes {
    /// Waits for a reason; when dropped meanwhile, a new watch is needed.
    async fn next(&mut self) -> Occasion {
        let Some(interval) = self.interval else { return std::future::pending().await };
        let mut pause = interval;
        loop {
            tokio::time::sleep(pause).await;
            let mut watch = std::mem::take(&mut self.watch);
            // A file system may keep whoever asks it waiting.
            let looking = tokio::task::spawn_blocking(move || (watch.look(), watch));
            let Ok((look, watch)) = looking.await else { return std::future::pending().await };
            self.watch = watch;
            pause = match look {
                Look::Changed(files) => return Occasion::Changed(files),
                Look::Same if self.passing => return Occasion::Passed,
                Look::Same => interval,
                Look::Changing => interval.min(SETTLING),
            };
        }
    }
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

    /// Reads everything again, and takes it into force if all of it is good.
    async fn reload(&self, kept: &mut Kept) -> Result<(), NotReloaded> {
        let file = self.sources.file.clone();
        let config = match tokio::task::spawn_blocking(move || Config::load(&file)).await {
            Ok(Ok(config)) => config,
            Ok(Err(errors)) => {
                kept.changes.watch = Watch::new(errors.files());
                return Err(NotReloaded::lasting(errors.in_one_line()));
            }
            Err(_) => return Err(NotReloaded::lasting("reading it failed; this is a fault of the gateway, report it")),
        };
        kept.changes.watch = Watch::new(&config.files);
        for warning in &config.warnings {
            tracing::warn!("{warning}");
        }
        if !config.listeners.iter().map(|listener| &listener.address).eq(&self.addresses) {
            let why = "the listeners' addresses cannot change in a reload; restart the gateway";
            return Err(NotReloaded::lasting(why));
        }
        if admin_of(&config) != self.sources.admin {
            tracing::warn!("admin.address, and whether there is admin.tls, change only with a restart");
        }
        self.replace(config, kept).await
    }

    /// Builds and warms a new service; everything old stays in force until all of it is good.
    async fn replace(&self, config: Config, kept: &mut Kept) -> Result<(), NotReloaded> {
        let (interval, destination, ends) = (config.watch, config.audit.clone(), Ends::of(&config));
        let new = service(config, &self.metrics, &self.clock, self.clock.unix_time(), Some(&self.service.load()))
            .map_err(|error| NotReloaded::lasting(error.to_string()))?;
        let new = Arc::new(new);
        let tending = Self::tend(&new).await;
        let ready = async {
            while !new.gateway.issuers.ready() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(FIRST_KEYS, ready).await.is_err() {
            return Err(NotReloaded::passing("the keys of an issuer could not be read in time"));
        }
        // Rotated by renaming it, or named otherwise, the file of the audit is another one now.
        if let Some(audit) = &mut kept.audit {
            let opened = open(destination.clone()).await;
            self.audit.continue_in(opened.map_err(NotReloaded::passing)?).await;
            *audit = destination;
        }
        ends.note(&self.metrics, self.clock.unix_time());
        let before = self.service.swap(new.clone());
        if before.kept_for != new.kept_for {
            // From here on nobody new judges by the limits before; what was noted under them may be forgotten too early.
            new.gateway.replay.go_on(new.kept_for.max_entries, self.clock.unix_time());
        }
        kept.work = tending;
        kept.changes.interval = interval;
        Ok(())
    }

    /// What follows a fault: the audit's file may have been rotated all the same.
    async fn stay(&self, kept: &Kept) {
        let Some(destination) = kept.audit.clone() else { return };
        match open(destination).await {
            Ok(output) => self.audit.continue_in(output).await,
            Err(why) => tracing::error!(why, "the audit goes on where it was"),
        }
    }
}

#[async_trait]
impl BackgroundService for Keeper {
    async fn start_with_ready_notifier(&self, mut shutdown: ShutdownWatch, ready: ServiceReadyNotifier) {
        let Sources { files, interval, audit, .. } = &self.sources;
        let changes = Changes { watch: Watch::new(files), interval: *interval, passing: false };
        let work = Self::tend(&self.service.load_full()).await;
        let mut kept = Kept { work, audit: audit.clone(), changes };
        ready.notify_ready();
        let mut said = String::new();
        loop {
            let occasion = tokio::select! {
                () = self.control.0.reload.notified() => Occasion::Asked,
                occasion = kept.changes.next() => occasion,
                _ = shutdown.changed() => return,
            };
            let outcome = self.reload(&mut kept).await;
            self.metrics.reloaded(outcome.is_ok());
            let changed = match &occasion {
                Occasion::Changed(files) => files.as_slice(),
                Occasion::Asked | Occasion::Passed => &[],
            };
            kept.changes.passing = outcome.as_ref().is_err_and(|fault| fault.passing);
            match outcome {
                Ok(()) => tracing::info!(?changed, "the configuration was reloaded"),
                Err(NotReloaded { why, .. }) => {
                    // Of a fault that is there again by itself, everything was said.
                    if !matches!(occasion, Occasion::Passed) || why != said {
                        tracing::error!(
                            ?changed,
                            error = why,
                            "the configuration was not reloaded, the old one stays in force"
                        );
                    }
                    said = why;
                    self.stay(&kept).await;
                }
            }
            self.control.0.reloads.fetch_add(1, Ordering::AcqRel);
            self.control.0.reloaded.notify_one();
        }
    }
}

/// Opens the audit's destination, where that may take its time.
async fn open(destination: Destination) -> Result<Box<dyn Write + Send>, String> {
    let opened = tokio::task::spawn_blocking(move || destination.open()).await;
    let opened = opened.map_err(std::io::Error::other).flatten();
    opened.map_err(|error| format!("cannot write the audit: {error}"))
}

/// When what is in the files comes to its end.
pub(super) struct Ends {
    certificates: Vec<(String, UnixTime)>,
    revocation_lists: Vec<(String, UnixTime)>,
}

impl Ends {
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
    let clock: Arc<dyn TimeProvider> = Arc::new(HandshakeClock(clock.clone()));
    let (admin_tls, revocations) = config.admin.map_or((None, None), |admin| (admin.tls, admin.revocations));
    let admin_tls = match (admin_tls, before.map(|before| &before.admin_tls)) {
        // Whether there is TLS was settled at the start; what was in force stays so if a reload brings none.
        (_, Some(None)) | (None, None) => None,
        (None, Some(Some(before))) => Some(before.clone()),
        (Some(settings), _) => Some(Arc::new(settings.in_force(clock.clone())?)),
    };
    let mut listeners = Vec::new();
    for listener in config.listeners {
        let mut hosts = Vec::new();
        for host in listener.hosts {
            hosts.push(VirtualHost {
                tls: host.tls.in_force(clock.clone())?,
                hop: host.hop.map(Hop::new),
                origins: host.origins,
            });
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
        admin_tls,
        counts,
        kept_for,
        timings: config.upstreams.iter().map(|settings| metrics.upstream(&settings.name)).collect(),
        gateway: Gateway {
            routes: config.routes,
            issuers: Arc::new(issuers.with_revocations(revocations)),
            limits: message::Limits {
                header_bytes: config.limits.header_bytes,
                header_count: config.limits.header_count,
                body_bytes: config.limits.body_bytes,
            },
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
/// How long a change has to have been there, at most, before it is read: whoever writes several files is given that time.
const SETTLING: Duration = Duration::from_secs(1);
