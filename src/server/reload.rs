//! Reloads the configuration on request or when its files have changed, and runs the background work of the current
//! generation.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::ServiceReadyNotifier;
use pingora::services::background::BackgroundService;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::announce::Announcement;
use super::build::{Shared, build};
use super::descriptors::shortage;
use super::expirations::Expirations;
use super::{Control, StartError};
use crate::certificate::Fault;
use crate::clock::Clock;
use crate::config::Config;
use crate::config::watch::{Files, Look, Watch};
use crate::generation::Generation;
use crate::rate_limits::RateLimits;
use crate::resource::{Id, Kind};
use crate::store::Store;
use crate::store::guarantee::Said;
use crate::telemetry::audit::{AuditSender, Destination};
use crate::telemetry::filter::Filter;
use crate::telemetry::history::MINUTE;
use crate::telemetry::lines::{Output, Recent};
use crate::telemetry::logging;
use crate::workers::Workers;

/// Keeps the generation's keys and addresses up to date, and replaces the generation on request or when its files have
/// changed.
pub(super) struct Reloader {
    /// Becomes true when clients are served.
    pub(super) serves: Arc<AtomicBool>,
    pub(super) generation: Arc<ArcSwap<Generation>>,
    pub(super) shared: Shared,
    pub(super) workers: Arc<Workers>,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) control: Control,
    pub(super) audit: AuditSender,
    pub(super) recent: Arc<Recent>,
    pub(super) sources: Sources,
    pub(super) announcement: Arc<Announcement>,
    /// Those of the files that are in force.
    pub(super) expirations: Arc<ArcSwap<Expirations>>,
}

/// Where the configuration came from at startup, and which of its settings remain.
pub(super) struct Sources {
    file: PathBuf,
    files: Files,
    interval: Option<Duration>,
    /// The address of the admin listener, and whether it uses TLS.
    admin: Option<(SocketAddr, bool)>,
    idle_upstream_connections: usize,
    /// The audit's destination, if it comes from the configuration.
    audit: Option<Destination>,
    /// Whether the audit's lines are chained.
    chained: bool,
    log: logging::Settings,
}

impl Sources {
    pub(super) fn of(config: &Config, audit: Option<Destination>) -> Self {
        let (file, files, log) = (config.file.clone(), config.files.clone(), config.log.clone());
        let idle_upstream_connections = config.limits.idle_upstream_connections;
        let (admin, chained) = (admin_of(config), config.audit.chain.is_some());
        Self { file, files, interval: config.watch, admin, idle_upstream_connections, audit, chained, log }
    }
}

fn admin_of(config: &Config) -> Option<(SocketAddr, bool)> {
    config.admin.as_ref().map(|admin| (admin.address, admin.tls.is_some()))
}

/// What belongs to the current generation, and what was last attempted to replace it.
struct ReloadState {
    /// Its background work.
    work: JoinSet<()>,
    /// Its audit's destination, if it comes from the configuration.
    audit: Option<Destination>,
    /// Which lines its log has.
    filter: Filter,
    changes: Changes,
}

/// Detects reasons to read the configuration again.
struct Changes {
    /// The files that were read last, whether or not the reload succeeded: a lasting fault is reported again only after
    /// one of them has changed.
    watch: Watch,
    files: Files,
    interval: Option<Duration>,
    /// Whether the last fault may disappear although no file changes.
    passing: bool,
}

/// Why the configuration is read again.
enum Occasion {
    Asked,
    /// These files changed.
    Changed(Vec<PathBuf>),
    /// A fault may have disappeared, although no file changed.
    Passed,
}

/// Why the old configuration remains in force.
struct NotReloaded {
    why: String,
    /// Whether a retry may succeed although no file changes.
    passing: bool,
    /// The files that are at fault, each with its problem.
    faults: Vec<(Id, String)>,
}

impl NotReloaded {
    fn lasting(why: impl Into<String>) -> Self {
        Self { why: why.into(), passing: false, faults: Vec::new() }
    }

    fn passing(why: impl Into<String>) -> Self {
        Self { passing: true, ..Self::lasting(why) }
    }
}

impl Changes {
    /// Watches the files that were just read from now on; returns those of them that were read before with another content.
    fn read(&mut self, files: &Files) -> Vec<PathBuf> {
        self.watch = Watch::new(files);
        std::mem::replace(&mut self.files, files.clone()).that_differ(files)
    }

    /// Waits for a reason to reload. If the returned future is dropped before it completes, `watch` must be replaced.
    async fn next(&mut self) -> Occasion {
        let Some(interval) = self.interval else { return std::future::pending().await };
        let mut pause = interval;
        loop {
            tokio::time::sleep(pause).await;
            let mut watch = std::mem::take(&mut self.watch);
            // A file system may block its callers.
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

impl Reloader {
    /// Starts the background work of one generation; it stops when the returned set is dropped.
    async fn spawn_background(&self, generation: &Generation) -> JoinSet<()> {
        let mut work = JoinSet::new();
        let mut first = JoinSet::new();
        for upstream in &generation.upstreams {
            let (upstream, resolved) = (upstream.clone(), Arc::new(Notify::new()));
            let once = resolved.clone();
            first.spawn(async move { once.notified().await });
            work.spawn(async move {
                upstream.resolve().await;
                resolved.notify_one();
                upstream.keep_fresh().await;
            });
        }
        for (number, store) in generation.stores.iter().enumerate() {
            let (store, once) = (store.clone(), store.clone());
            first.spawn(async move { once.connected().await });
            let keeping = async move { store.keep().await };
            // From another thread, each question would cost a change of threads and its answer a second one.
            match self.workers.beside(number) {
                Some(handle) => work.spawn_on(keeping, handle),
                None => work.spawn(keeping),
            };
        }
        let issuers = generation.gateway.issuers.clone();
        let once = issuers.clone();
        first.spawn(async move { once.revocations_read().await });
        work.spawn(async move { issuers.keep_fresh().await });
        let directories = generation.directories.clone();
        work.spawn(async move { directories.keep_fresh().await });
        // A name server or a store that does not answer must not keep the gateway from starting.
        let _ = tokio::time::timeout(FIRST_RESOLVE, first.join_all()).await;
        work
    }

    /// Starts the work of a generation that only the one in force may do: telling stores what was used here.
    fn spawn_telling(generation: &Generation, work: &mut JoinSet<()>) {
        if let Some(exchange) = generation.gateway.rate_limits.as_ref().and_then(RateLimits::exchange) {
            work.spawn(exchange.clone().keep());
        }
        if let Some(shared) = generation.gateway.shared_replay.clone() {
            work.spawn(async move { shared.keep().await });
        }
    }

    /// Notes why the configuration is not in force, and forgets resources of attempts that failed before.
    fn note_failure(&self, failure: &NotReloaded) {
        let resources = &self.shared.resources;
        let mut named = self.generation.load().resources.clone();
        named.extend(failure.faults.iter().map(|(file, _)| file.clone()));
        resources.keep(&named);
        resources.of(Kind::Configuration, &self.sources.file.display().to_string()).failed(&failure.why);
        for ((kind, name), problem) in &failure.faults {
            resources.of(*kind, name).failed(problem);
        }
    }

    /// Reads everything again, and applies it if all of it is valid. `changed` becomes the files that changed since they
    /// were last read.
    async fn reload(&self, state: &mut ReloadState, changed: &mut Vec<PathBuf>) -> Result<(), NotReloaded> {
        let file = self.sources.file.clone();
        let config = match tokio::task::spawn_blocking(move || Config::load(&file)).await {
            Ok(Ok(config)) => config,
            Ok(Err(errors)) => {
                *changed = state.changes.read(errors.files());
                let (faults, passing) = (errors.resources().to_vec(), errors.may_pass());
                return Err(NotReloaded { faults, passing, why: errors.in_one_line() });
            }
            Err(_) => {
                return Err(NotReloaded::lasting(
                    "reading the configuration failed unexpectedly; this is a bug in the gateway, report it",
                ));
            }
        };
        *changed = state.changes.read(&config.files);
        let shadows = config.shadows(self.shared.clock.unix_time());
        for warning in config.warnings.iter().cloned().chain(shadows).chain(shortage(&config)) {
            tracing::warn!("{warning}");
        }
        if !config.listeners.iter().map(|listener| &listener.address).eq(&self.addresses) {
            let why = "the addresses of listeners cannot change during a reload; restart the gateway";
            return Err(NotReloaded::lasting(why));
        }
        if admin_of(&config) != self.sources.admin {
            tracing::warn!("admin.address, and whether admin.tls is set, change only with a restart");
        }
        if config.limits.idle_upstream_connections != self.sources.idle_upstream_connections {
            tracing::warn!("limits.idle_upstream_connections changes only with a restart");
        }
        if config.audit.chain.is_some() != self.sources.chained {
            tracing::warn!("whether audit.chain is set changes only with a restart");
        }
        if config.log.format != self.sources.log.format {
            tracing::warn!("log.format changes only with a restart");
        }
        self.replace(config, state).await
    }

    /// Builds and warms up a new generation; the old one remains in force until the new one is ready.
    async fn replace(&self, config: Config, state: &mut ReloadState) -> Result<(), NotReloaded> {
        let (interval, destination, expirations) =
            (config.watch, config.audit.destination.clone(), Expirations::of(&config));
        let (filter, chain) = (config.log.filter.clone(), config.audit.chain.clone());
        let now = || self.shared.clock.unix_time();
        config
            .judge_waivers(now(), self.expirations.load().waivers())
            .map_err(|errors| NotReloaded::lasting(errors.in_one_line()))?;
        match expirations.refused_unlike(&self.expirations.load(), now()) {
            None => {}
            // It will be, although no file changes.
            Some((Fault::NotYetValid, why)) => return Err(NotReloaded::passing(why)),
            Some((_, why)) => return Err(NotReloaded::lasting(why)),
        }
        let new = build(config, &self.shared, now(), Some(&self.generation.load()))
            .map_err(|error| NotReloaded::lasting(error.to_string()))?;
        let new = Arc::new(new);
        let mut work = self.spawn_background(&new).await;
        if let Some(why) = lost_store(&self.generation.load().stores, &new.stores) {
            return Err(NotReloaded::passing(why));
        }
        // The first tokens of a new issuer need its keys. An issuer that is down must not keep certificates and
        // revocation lists from coming into force: each that the reload changes is asked once, for a short time. So is each
        // directory, of which a reload is to bring what it says now.
        let settled = async {
            while !new.gateway.issuers.have_settled() || !new.directories.have_settled() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let _ = tokio::time::timeout(FIRST_KEYS, settled).await;
        if new.collector.is_some() {
            self.shared
                .exporter
                .start()
                .map_err(StartError::Exporter)
                .map_err(|error| NotReloaded::passing(error.to_string()))?;
        }
        // The audit file may have been rotated by renaming it, or the configuration may name another one.
        if let Some(audit) = &mut state.audit {
            if destination.is_opened_after(audit) {
                let opened = open(destination.clone(), self.shared.clock.clone()).await;
                self.audit.continue_in(opened.map_err(NotReloaded::passing)?);
            }
            *audit = destination;
        }
        self.shared.exporter.follow(new.collector.clone());
        if let Some(chain) = chain {
            self.audit.chain_with(chain);
        }
        expirations.note(&self.shared.metrics, now());
        self.expirations.store(Arc::new(expirations));
        if self.generation.load().awaited().is_empty() {
            new.was_ready.store(true, Ordering::Release);
        }
        new.share_answers();
        if new.replay_limits.shared != self.generation.load().replay_limits.shared {
            // Before the first exchange that uses it.
            new.gateway.replay.joins_another_store();
        }
        let before = self.generation.swap(new.clone());
        new.stores.iter().for_each(|store| store.enter_into_force());
        Self::spawn_telling(&new, &mut work);
        self.recent.keep(new.decisions);
        self.shared.note_files(&new);
        if before.replay_limits != new.replay_limits {
            // From here on, no new exchange uses the previous limits; what was recorded under them may be forgotten too
            // early.
            new.gateway.replay.resize(new.replay_limits.capacity, now());
            new.gateway.idempotency_keys.resize(new.replay_limits.capacity);
        }
        if state.filter != filter {
            logging::follow(&filter);
            state.filter = filter;
        }
        state.work = work;
        state.changes.interval = interval;
        Ok(())
    }

    /// Opens the audit's destination again after a failed reload, since its file may have been rotated anyway.
    async fn reopen_audit(&self, state: &ReloadState) {
        let Some(destination) = state.audit.clone().filter(|audit| audit.is_opened_after(audit)) else { return };
        match open(destination, self.shared.clock.clone()).await {
            Ok(output) => self.audit.continue_in(output),
            Err(why) => {
                tracing::error!(why, "the audit could not be opened again; it continues in the file that is open")
            }
        }
    }
}

#[async_trait]
impl BackgroundService for Reloader {
    async fn start_with_ready_notifier(&self, mut shutdown: ShutdownWatch, ready: ServiceReadyNotifier) {
        let Sources { files, interval, audit, log, .. } = &self.sources;
        let changes = Changes { watch: Watch::new(files), files: files.clone(), interval: *interval, passing: false };
        let generation = self.generation.load_full();
        let mut work = self.spawn_background(&generation).await;
        Self::spawn_telling(&generation, &mut work);
        let mut state = ReloadState { work, audit: audit.clone(), filter: log.filter.clone(), changes };
        let (expirations, metrics, clock) =
            (self.expirations.clone(), self.shared.metrics.clone(), self.shared.clock.clone());
        let (mut noting, announcement) = (JoinSet::new(), self.announcement.clone());
        noting.spawn(async move { announcement.say().await });
        noting.spawn(async move {
            loop {
                tokio::time::sleep(JUDGED_EVERY).await;
                expirations.load().note(&metrics, clock.unix_time());
            }
        });
        let metrics = self.shared.metrics.clone();
        noting.spawn(async move {
            loop {
                metrics.history.note(metrics.refused());
                tokio::time::sleep(MINUTE).await;
            }
        });
        let (generation, clock) = (self.generation.clone(), self.shared.clock.clone());
        noting.spawn(async move {
            let mut said = Said::default();
            loop {
                said.note(&generation.load().guarantees(clock.unix_time()));
                tokio::time::sleep(LEVELS_LOOKED_AT).await;
            }
        });
        self.serves.store(true, Ordering::Release);
        ready.notify_ready();
        let mut said = String::new();
        loop {
            let occasion = tokio::select! {
                () = self.control.0.reload.notified() => Occasion::Asked,
                occasion = state.changes.next() => occasion,
                _ = shutdown.changed() => return,
            };
            let mut changed = Vec::new();
            let outcome = self.reload(&mut state, &mut changed).await;
            self.shared.metrics.reloaded(outcome.is_ok());
            // Where gateway.yaml cannot be read, the files that it named are not read again.
            if let Occasion::Changed(files) = &occasion {
                changed.clone_from(files);
            }
            state.changes.passing = outcome.as_ref().is_err_and(|fault| fault.passing);
            match outcome {
                Ok(()) => tracing::info!(?changed, "the configuration was reloaded"),
                Err(failure) => {
                    self.note_failure(&failure);
                    let why = failure.why;
                    // A fault that recurs on a retry without changes has already been logged.
                    if !matches!(occasion, Occasion::Passed) || why != said {
                        tracing::error!(
                            ?changed,
                            error = why,
                            "the configuration was not reloaded; the old one remains in force"
                        );
                    }
                    said = why;
                    self.reopen_audit(&state).await;
                }
            }
            self.control.0.reloads.fetch_add(1, Ordering::AcqRel);
            self.control.0.reloaded.notify_one();
        }
    }
}

/// Why what is kept in a store now could not be kept any more; `None` if all that can be now can be then.
///
/// A store that is down anyway keeps nothing from coming into force, and neither does one in which nothing is kept.
fn lost_store(before: &[Arc<Store>], after: &[Arc<Store>]) -> Option<String> {
    let mut changed = after.iter().filter(|after| !before.iter().any(|before| Arc::ptr_eq(before, after)));
    changed.find_map(|after| {
        let (name, holds) = (&after.settings().name, &after.settings().holds);
        let shares = |before: &&Arc<Store>| before.settings().holds.iter().any(|held| holds.contains(held));
        // Answers may be in several.
        let of_name = before.iter().filter(shares).find(|before| before.settings().name == *name);
        let before = of_name.or_else(|| before.iter().find(shares))?;
        let is_lost = (before.is_connected() && !after.is_connected()) || before.lack().is_none();
        let why = after.lack().filter(|_| is_lost)?;
        Some(match &before.settings().name {
            same if same == name => format!("stores.{name} is in use, and with its new settings could not be: {why}"),
            other => format!("stores.{other} is in use, and stores.{name} in its place could not be: {why}"),
        })
    })
}

/// Opens the audit's destination, on a thread that may block.
async fn open(destination: Destination, clock: Clock) -> Result<Output, String> {
    let opened = tokio::task::spawn_blocking(move || destination.open(&clock)).await;
    let opened = opened.map_err(std::io::Error::other).flatten();
    opened.map_err(|error| format!("cannot write the audit: {error}"))
}

const FIRST_RESOLVE: Duration = Duration::from_secs(5);
/// How often certificates are judged again, since they expire while no file changes.
const JUDGED_EVERY: Duration = Duration::from_secs(60 * 60);
/// How often it is looked how far each guarantee reaches, for the log.
const LEVELS_LOOKED_AT: Duration = Duration::from_secs(1);
const FIRST_KEYS: Duration = Duration::from_secs(5);
/// How long to wait at most after a change before the files are read, so that several files can be written.
const SETTLING: Duration = Duration::from_secs(1);
