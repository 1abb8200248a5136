//! Assembles listeners, admin and background work into a gateway that runs until it is told to stop.
//!
//! Sockets are bound before anything starts, so that a port in use is reported as an error instead of a panic, and so
//! that port 0 works. When it shuts down, the gateway first reports that it is not ready while it still serves, then
//! stops accepting connections, and stops when the last connection is closed.

mod announce;
mod build;
mod client_connection;
pub mod descriptors;
mod drain;
mod expirations;
mod listener;
mod prebound;
mod reload;

use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use fapi::UnixTime;
use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::Connector;
use pingora::server::configuration::ServerConf;
use pingora::server::{RunArgs, Server};
use pingora::services::background::background_service;
use tokio::sync::{Notify, watch};

use self::announce::{Announcement, Guarantees};
pub use self::build::detached;
use self::build::{Shared, build};
use self::drain::Shutdown;
use self::expirations::Expirations;
use self::listener::Listener;
use self::prebound::{Prebound, Side};
use self::reload::{Reloader, Sources};
use crate::admin::{Admin, AdminListener, Entrance, Heartbeats};
use crate::clock::{Clock, Moment};
use crate::config::Config;
use crate::connection::drain::Drain;
use crate::connection::exchanges::Exchanges;
use crate::connection::tls;
use crate::generation::Generation;
use crate::otlp::{CollectorError, Exporter};
use crate::proxy::Proxy;
use crate::resource::Resources;
use crate::telemetry::audit::{Audit, HandshakeAllowance};
use crate::telemetry::lines::Output;
use crate::telemetry::metrics::Metrics;
use crate::trace::Queue;
use crate::upstream::{self, Lookup};
use crate::workers::{self, Workers};

/// What a gateway needs besides its configuration.
pub struct Options {
    /// The time.
    pub clock: Clock,
    /// Where the audit goes, instead of the configured destination.
    pub audit: Option<Box<dyn Write + Send>>,
    /// How the names of upstream servers are resolved.
    pub lookup: Arc<dyn Lookup>,
    /// Since when every use of a proof is known. By default this is the start; it may be earlier only if no proof can
    /// have been used before the start.
    pub replay_began: Option<UnixTime>,
    /// How many threads serve connections; by default as many as there are processors.
    pub threads: Option<u16>,
}

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener cannot be bound to its address.
    #[error("cannot listen on {address}: {error}; {}", way_out(error))]
    Bind {
        /// The address.
        address: SocketAddr,
        /// The error of the operating system.
        error: std::io::Error,
    },
    /// The audit's destination cannot be opened.
    #[error("cannot write the audit: {0}; make the file's directory writable or change audit.destination")]
    Audit(std::io::Error),
    /// Not every audit line could be written.
    #[error("audit lines were lost; the log says why")]
    AuditLost,
    /// An issuer's client cannot be set up.
    #[error("{0}")]
    Issuer(#[from] crate::issuer::IssuerError),
    /// The hosts of the clients of an authorization server cannot be called.
    #[error("{0}; name their authorities in clients.trust_anchors")]
    ClientKeys(#[from] crate::authorization_server::ClientKeysError),
    /// A service of consents cannot be called.
    #[error("{0}; name its authorities in trust_anchors of its entry in consents")]
    Consents(#[from] crate::issuer::http::ClientError),
    /// A directory of participants cannot be called.
    #[error("{0}; name its authorities in trust_anchors")]
    Directory(#[from] crate::directory::DirectoryError),
    /// A listener's TLS cannot be set up.
    #[error("{0}")]
    Tls(#[from] tls::TlsError),
    /// The collector of spans cannot be called.
    #[error("{0}")]
    Collector(#[from] CollectorError),
    /// The process may not open as many files as a start needs.
    #[error("too few files may be open: {0}; raise the limit (`ulimit -Hn`, `LimitNOFILE=`)")]
    Descriptors(std::io::Error),
    /// The threads that serve connections cannot be created.
    #[error("cannot create the threads that serve connections: {0}; raise the limits on processes and open files")]
    Threads(std::io::Error),
    /// The thread that exports spans cannot be created.
    #[error("cannot create the thread that exports spans: {0}; raise the limits on processes and open files")]
    Exporter(std::io::Error),
    /// The metrics cannot be set up, which is a bug in the gateway.
    #[error("cannot set up the metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// What an operator can do about an address that cannot be bound.
fn way_out(error: &std::io::Error) -> &'static str {
    const KNOWN: [(ErrorKind, &str); 3] = [
        (
            ErrorKind::AddrInUse,
            "another process has the port (`ss -ltnp` shows which); free the port or change the address",
        ),
        (
            ErrorKind::PermissionDenied,
            "ports below 1024 need the capability CAP_NET_BIND_SERVICE; grant it, or choose a port from 1024",
        ),
        (
            ErrorKind::AddrNotAvailable,
            "this machine has no such address (`ip address` lists its own); write one of them, or `0.0.0.0` or `[::]` for all",
        ),
    ];
    let known = KNOWN.iter().find(|(kind, _)| *kind == error.kind());
    known.map_or("free the port or change the address", |(_, said)| said)
}

/// A handle to stop and reload a running gateway.
#[derive(Clone, Default)]
pub struct Control(Arc<ControlState>);

#[derive(Default)]
struct ControlState {
    /// How often the gateway was told to stop.
    stops: watch::Sender<usize>,
    reload: Notify,
    reloads: AtomicUsize,
    reloaded: Notify,
}

impl Control {
    /// Tells the gateway to drain and stop; when called again, the connections that are still open are closed.
    pub fn stop(&self) {
        self.0.stops.send_modify(|stops| *stops = stops.saturating_add(1));
    }

    /// Waits until the gateway was told to stop this many times.
    async fn stopped(&self, times: usize) {
        // `self` owns the sender, so the channel cannot be closed.
        let _ = self.0.stops.subscribe().wait_for(|stops| *stops >= times).await;
    }

    /// Tells the gateway to read its configuration again.
    pub fn reload(&self) {
        self.0.reload.notify_one();
    }

    /// Waits until `count` reloads have been attempted since the start, whether or not they succeeded.
    pub async fn reloads(&self, count: usize) {
        while self.0.reloads.load(Ordering::Acquire) < count {
            self.0.reloaded.notified().await;
        }
    }
}

/// A gateway whose sockets are bound; connections queue until [`Bound::run`].
pub struct Bound {
    listeners: Vec<(TcpListener, Arc<str>, SocketAddr)>,
    admin: Option<TcpListener>,
    generation: Arc<ArcSwap<Generation>>,
    shared: Shared,
    audit: Audit,
    workers: Workers,
    control: Control,
    sources: Sources,
    guarantees: Guarantees,
    expirations: Arc<ArcSwap<Expirations>>,
}

impl Bound {
    /// Binds every socket and builds everything that the configuration describes.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn new(config: Config, mut options: Options) -> Result<Self, StartError> {
        if let Some(warning) = descriptors::shortage(&config) {
            tracing::warn!("{warning}");
        }
        let threads = options.threads.unwrap_or_else(|| u16::try_from(workers::processors()).unwrap_or(u16::MAX));
        descriptors::raise();
        descriptors::probe(threads.into()).map_err(StartError::Descriptors)?;
        let metrics = Arc::new(Metrics::new()?);
        for listener in config.listeners.iter().filter(|listener| !listener.balancers.is_empty()) {
            metrics.arrivals.begin_proxy_headers(&listener.address.to_string());
        }
        let (output, destination) = match options.audit.take() {
            Some(output) => (Output::from(output), None),
            None => {
                let destination = &config.audit.destination;
                (destination.open(&options.clock).map_err(StartError::Audit)?, Some(destination.clone()))
            }
        };
        let bind =
            |address: SocketAddr| TcpListener::bind(address).map_err(|error| StartError::Bind { address, error });
        let mut listeners = Vec::new();
        for listener in &config.listeners {
            listeners.push((bind(listener.address)?, listener.address.to_string().into(), listener.address));
        }
        let admin = config.admin.as_ref().map(|admin| bind(admin.address)).transpose()?;
        let chain = config.audit.chain.clone();
        let guarantees = Guarantees::of(&config, destination.as_ref());
        let sources = Sources::of(&config, destination);
        let expirations = Expirations::of(&config);
        let now = options.clock.unix_time();
        let began = options.replay_began.unwrap_or(now);
        let shared = Shared {
            metrics: metrics.clone(),
            resources: Arc::new(Resources::new(options.clock.clone())),
            lookup: options.lookup,
            clock: options.clock.clone(),
            exporter: Arc::new(Exporter::new(Arc::new(Queue::new(Arc::new(metrics.spans.clone()))))),
        };
        let generation = build(config, &shared, began, None)?;
        expirations.note(&metrics, now);
        let expirations = Arc::new(ArcSwap::from_pointee(expirations));
        shared.note_files(&generation);
        generation.share_answers();
        let generation = Arc::new(ArcSwap::from_pointee(generation));
        let collector = generation.load().collector.clone();
        if collector.is_some() {
            shared.exporter.start().map_err(StartError::Exporter)?;
        }
        shared.exporter.follow(collector);
        let audit = match chain {
            Some(chain) => Audit::start_chained(output, chain, options.clock),
            None => Audit::start(output),
        };
        let audit = audit.map_err(StartError::Audit)?;
        audit.recent().keep(generation.load().decisions);
        let workers = Workers::start(threads).map_err(StartError::Threads)?;
        let control = Control::default();
        Ok(Self { listeners, admin, generation, shared, audit, workers, control, sources, guarantees, expirations })
    }

    /// The addresses of the data listeners, with the ports that the system assigned for port 0.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|(socket, ..)| socket.local_addr().ok()).collect()
    }

    /// The address of the admin listener.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(|socket| socket.local_addr().ok())
    }

    /// A handle to stop and reload the gateway.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Serves until [`Control::stop`], then drains. Blocks; must not be called from within an async runtime.
    ///
    /// # Errors
    /// [`StartError::AuditLost`] if audit lines were lost.
    pub fn run(self) -> Result<(), StartError> {
        let bound = self.addresses();
        let Self { listeners, admin, generation, shared, audit, workers, control, sources, guarantees, expirations } =
            self;
        let (metrics, clock, exporter) = (shared.metrics.clone(), shared.clock.clone(), shared.exporter.clone());
        let seconds = generation.load().replay_log_too_young_for(clock.unix_time());
        if seconds > 0 {
            tracing::info!(
                seconds,
                "proofs that may have been used before the start need a nonce; not ready until then"
            );
        }
        let drain = Arc::new(Drain::default());
        let (closing, _) = watch::channel(false);
        // The admin listener must outlive all others: its own signal is never sent.
        let (admin_end, _) = watch::channel(false);
        let pool = generation.load().limits.idle_upstream_connections;
        let mut server = Server::new_with_opt_and_conf(None, server_conf(pool));
        server.bootstrap();
        let handshake_lines = Arc::new(HandshakeAllowance::default());
        let ceiling = descriptors::ceiling(descriptors::raise());
        let heartbeats = Arc::new(Heartbeats::default());
        heartbeats.watch_threads(workers.metrics());
        let workers = Arc::new(workers);
        let mut addresses = Vec::new();
        let mut slots = Vec::new();
        let mut services = Vec::new();
        let mut exchanges: Option<Exchanges> = None;
        for (index, (socket, name, address)) in listeners.into_iter().enumerate() {
            let gauge = metrics.exchanges(&name);
            let first = exchanges.get_or_insert_with(|| Exchanges::new(gauge.clone()));
            let exchanges = first.beside(gauge);
            let proxy = Proxy {
                generation: generation.clone(),
                index,
                listener: name.clone(),
                clock: clock.clone(),
                metrics: metrics.clone(),
                traffic: metrics.traffic(&name),
                audit: audit.sender(),
                drain: drain.clone(),
                exchanges,
                connector: Arc::new(Connector::new(Some(ConnectorOptions::from_server_conf(&server.configuration)))),
            };
            let listener = Listener::new(&server.configuration, proxy, handshake_lines.clone());
            slots.push(listener.slots.clone());
            addresses.push(address);
            let (metrics, heartbeats, workers) = (metrics.clone(), heartbeats.clone(), workers.clone());
            let side = Side::Clients { ceiling, metrics, heartbeats, workers };
            let service = Prebound::new(name.to_string(), socket, listener, closing.subscribe(), side);
            services.push(server.add_service(service));
        }
        let resources = shared.resources.clone();
        let announcement = Announcement {
            generation: generation.clone(),
            clock: clock.clone(),
            audit: audit.health(),
            drain: drain.clone(),
            guarantees,
            listeners: bound,
        };
        let serves = Arc::new(AtomicBool::new(false));
        let reloader = Reloader {
            serves: serves.clone(),
            announcement: Arc::new(announcement),
            generation: generation.clone(),
            shared,
            workers: workers.clone(),
            addresses,
            control: control.clone(),
            audit: audit.sender(),
            recent: audit.recent(),
            sources,
            expirations,
        };
        let reloader = server.add_service(background_service("reload", reloader));
        for service in &services {
            service.add_dependency(&reloader);
        }
        if let Some(socket) = admin {
            // Depends on the address that was bound, even if a reload names another.
            let entrance = match socket.local_addr() {
                _ if generation.load().admin_tls.is_some() => Entrance::Tls,
                Ok(address) if address.ip().is_loopback() => Entrance::Loopback,
                Ok(_) | Err(_) => Entrance::Network,
            };
            let (generation, recent, audit, drain) =
                (generation.clone(), audit.recent(), audit.health(), drain.clone());
            let replay_log_known = AtomicBool::new(false);
            let admin = Admin {
                generation,
                metrics,
                resources,
                heartbeats,
                audit,
                recent,
                drain,
                clock,
                entrance,
                serves,
                replay_log_known,
            };
            let outlives = admin_end.subscribe();
            let listener = AdminListener::new(admin);
            server.add_service(Prebound::new("admin".into(), socket, listener, outlives, Side::Operators));
        }
        let shutdown = Shutdown { control, generation, drain, closing, slots };
        server.run(RunArgs { shutdown_signal: Box::new(shutdown) });
        // Pingora lets its services end by themselves, and they may still own the threads. What these serve has to be recorded
        // before the audit is closed.
        workers.stop();
        drop(admin_end);
        exporter.flush();
        let flushing = Moment::now();
        let audited = audit.close();
        exporter.close(LAST_SPANS.saturating_sub(flushing.elapsed()));
        if audited { Ok(()) } else { Err(StartError::AuditLost) }
    }
}

/// How long the process waits for the last spans, while the audit is written too.
const LAST_SPANS: Duration = Duration::from_secs(2);

/// Pingora's settings, for `pool` unused connections to upstreams in each listener.
fn server_conf(pool: usize) -> ServerConf {
    let threads = workers::processors();
    ServerConf {
        threads,
        // Pingora multiplies this by the number of threads.
        upstream_keepalive_pool_size: pool.div_ceil(threads),
        // The drain has already waited when Pingora is told to stop.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(1),
        // The proxy decides which failures are retried.
        max_retries: upstream::ATTEMPTS,
        ..ServerConf::default()
    }
}
