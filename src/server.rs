//! Assembles listeners, admin and background work into a gateway that runs until it is told to stop.
//!
//! Sockets are bound before anything starts, so that a port in use is an error with a sentence and not a panic, and so that
//! port 0 works. TLS is ended here, on Pingora's plain TCP listener, with a configuration of our own (see [`crate::tls`]).
//! On the way out the gateway first says that it is not ready while it still serves, then stops accepting, and ends when the
//! last connection has.

use std::fmt;
use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::apps::{HttpServerOptions, ServerApp};
use pingora::listeners::TlsAccept;
use pingora::listeners::tls::Acceptor;
use pingora::protocols::http::v2::server::default_h2_options;
use pingora::protocols::l4::stream::Stream as TcpStream;
use pingora::protocols::tls::server::handshake_with_callback;
use pingora::protocols::tls::{TlsRef, TlsStream};
use pingora::protocols::{GetSocketDigest, Ssl, Stream};
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::configuration::ServerConf;
use pingora::server::{ListenFds, RunArgs, Server, ShutdownSignal, ShutdownSignalWatch, ShutdownWatch};
use pingora::services::background::{BackgroundService, background_service};
use pingora::services::{Service as PingoraService, ServiceReadyNotifier, listening};
use rustls::time_provider::TimeProvider;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use crate::admin::{Admin, Door as AdminDoor, Drain, Entrance};
use crate::audit::Audit;
use crate::config::Config;
use crate::connection::{ConnectionFacts, VirtualHost, VirtualHosts};
use crate::fapi::UnixTime;
use crate::fapi::dpop::ProofKeys;
use crate::fapi::message;
use crate::gateway::Gateway;
use crate::hop::Hop;
use crate::issuer::Issuers;
use crate::metrics::{Handshake, IssuerMetrics, Metrics};
use crate::proxy::{Clock, KeptFor, Proxy, Service};
use crate::replay::ReplayLog;
use crate::replay::keys::KnownKeys;
use crate::replay::memory::MemoryLog;
use crate::stream::{ClientStream, HeaderLimits};
use crate::tls::{self, Hello, HelloError};
use crate::upstream::{self, Upstream};

/// What a gateway needs besides its configuration.
pub struct Options {
    /// The time.
    pub clock: Clock,
    /// Where the audit goes, instead of the configured destination.
    pub audit: Option<Box<dyn Write + Send>>,
    /// How long it goes on accepting after it said that it is not ready, so that balancers can notice.
    pub lame_duck: Duration,
    /// How long open connections may take to end after that.
    pub drain: Duration,
    /// Since when every use of a proof is known: the start, unless no proof can have been used before it.
    pub replay_began: Option<UnixTime>,
    /// How the configuration is read again when a reload is asked for.
    pub reload: Box<dyn Fn() -> Result<Config, String> + Send + Sync>,
}

/// Why a gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener's address cannot be had.
    #[error("cannot listen on {address}: {error}; free the port or change the address")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        error: std::io::Error,
    },
    /// The audit's destination cannot be opened.
    #[error("cannot write the audit: {0}; make the file's directory writable or change audit.destination")]
    Audit(std::io::Error),
    /// Not every audit line could be written.
    #[error("audit lines were lost; the log says why")]
    AuditLost,
    /// An issuer's client cannot be made.
    #[error("{0}")]
    Issuer(#[from] crate::issuer::IssuerError),
    /// A listener's TLS cannot be set up.
    #[error("{0}")]
    Tls(#[from] tls::TlsError),
    /// A fault of the program.
    #[error("metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}

/// Lets others stop and reload a running gateway.
#[derive(Clone, Default)]
pub struct Control(Arc<ControlState>);

#[derive(Default)]
struct ControlState {
    stop: Notify,
    reload: Notify,
    reloads: AtomicUsize,
    reloaded: Notify,
}

impl Control {
    /// Asks the gateway to drain and end.
    pub fn stop(&self) {
        self.0.stop.notify_one();
    }

    /// Asks the gateway to read its configuration again.
    pub fn reload(&self) {
        self.0.reload.notify_one();
    }

    /// Waits until `count` reloads were tried since the start, whatever came of them.
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
    service: Arc<ArcSwap<Service>>,
    metrics: Arc<Metrics>,
    audit: Audit,
    options: Options,
    control: Control,
    fixed: Fixed,
}

impl Bound {
    /// Binds every socket and builds everything that the configuration names.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn new(config: Config, mut options: Options) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::new()?);
        let output = match options.audit.take() {
            Some(output) => output,
            None => config.audit.open().map_err(StartError::Audit)?,
        };
        let bind =
            |address: SocketAddr| TcpListener::bind(address).map_err(|error| StartError::Bind { address, error });
        let mut listeners = Vec::new();
        for listener in &config.listeners {
            listeners.push((bind(listener.address)?, listener.address.to_string().into(), listener.address));
        }
        let admin = config.admin.as_ref().map(|admin| bind(admin.address)).transpose()?;
        let fixed = Fixed::of(&config);
        let files = Files::of(&config);
        let now = options.clock.unix_time();
        let began = options.replay_began.unwrap_or(now);
        let service = Arc::new(ArcSwap::from_pointee(service(config, &metrics, &options.clock, began, None)?));
        files.note(&metrics, now);
        let audit = Audit::start(output).map_err(StartError::Audit)?;
        Ok(Self { listeners, admin, service, metrics, audit, options, control: Control::default(), fixed })
    }

    /// The addresses of the data listeners, with the ports that were given for port 0.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.listeners.iter().filter_map(|(socket, ..)| socket.local_addr().ok()).collect()
    }

    /// The address of the admin listener.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().and_then(|socket| socket.local_addr().ok())
    }

    /// The handle to stop and reload it.
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Serves until [`Control::stop`], then drains. Blocks; must not be called from within an async runtime.
    ///
    /// # Errors
    /// [`StartError::Tls`], and [`StartError::AuditLost`] at the end.
    pub fn run(self) -> Result<(), StartError> {
        let Self { listeners, admin, service, metrics, audit, options, control, fixed } = self;
        let drain = Arc::new(Drain::default());
        let (accepting, _) = watch::channel(false);
        // The admin listener must see the end of all others: its own signal never comes.
        let (admin_end, _) = watch::channel(false);
        let mut server = Server::new_with_opt_and_conf(None, server_conf());
        server.bootstrap();
        let mut addresses = Vec::new();
        let mut connections = Vec::new();
        let mut doors = Vec::new();
        for (index, (socket, name, address)) in listeners.into_iter().enumerate() {
            let proxy = Proxy {
                service: service.clone(),
                index,
                listener: name.clone(),
                clock: options.clock.clone(),
                metrics: metrics.clone(),
                audit: audit.sender(),
            };
            let mut http = http_proxy(&server.configuration, proxy.clone());
            let mut http_options = HttpServerOptions::default();
            http_options.h2_idle_timeout = Some(fixed.h2_idle_timeout);
            // The line refuses CONNECT itself, so that this refusal too has an interaction id and a record.
            http_options.allow_connect_method_proxying = true;
            http.server_options = Some(http_options);
            let mut h2 = default_h2_options();
            let list = fixed.header_bytes.saturating_mul(2).max(64 * 1024);
            h2.max_header_list_size(u32::try_from(list).unwrap_or(u32::MAX));
            // What a stream's window lets in is kept until its upstream takes it: one body that nobody takes must not hold up the
            // others of its connection, whose window would be the same by default.
            h2.initial_connection_window_size(H2_CONNECTION_WINDOW);
            // What waits for a client that does not read; by default 400 KiB for each stream.
            h2.max_send_buffer_size(H2_SEND_BUFFER);
            // CVE-2025-8671: a client can have its streams reset by breaking the protocol, too.
            h2.max_local_error_reset_streams(Some(H2_ERRORS));
            http.h2_options = Some(h2);
            let slots = Arc::new(Semaphore::new(fixed.connections));
            connections.push((slots.clone(), fixed.connections));
            let door = Door {
                index,
                http: Arc::new(http),
                proxy,
                slots,
                service: service.clone(),
                metrics: metrics.clone(),
                gauge: metrics.connections(&name),
                listener: name.clone(),
            };
            addresses.push(address);
            doors.push(server.add_service(Prebound::new(name.to_string(), socket, door, accepting.subscribe())));
        }
        let keeper = Keeper {
            service: service.clone(),
            metrics: metrics.clone(),
            addresses,
            control: control.clone(),
            reload: options.reload,
            fixed,
            clock: options.clock.clone(),
        };
        let keeper = server.add_service(background_service("keeper", keeper));
        for door in &doors {
            door.add_dependency(&keeper);
        }
        if let Some(socket) = admin {
            // By the address that was bound, whatever a reload says of another.
            let entrance = match socket.local_addr() {
                _ if service.load().admin_tls.is_some() => Entrance::Tls,
                Ok(address) if address.ip().is_loopback() => Entrance::Loopback,
                Ok(_) | Err(_) => Entrance::Network,
            };
            let (service, audit, drain) = (service.clone(), audit.health(), drain.clone());
            let admin = Admin { service, metrics, audit, drain, clock: options.clock.clone(), entrance };
            let outlives = admin_end.subscribe();
            server.add_service(Prebound::new("admin".into(), socket, AdminDoor::new(admin), outlives));
        }
        let shutdown =
            Shutdown { control, drain, accepting, connections, lame_duck: options.lame_duck, patience: options.drain };
        server.run(RunArgs { shutdown_signal: Box::new(shutdown) });
        drop(admin_end);
        if audit.close() { Ok(()) } else { Err(StartError::AuditLost) }
    }
}

/// What stays as it was at the start, whatever a reload says.
#[derive(PartialEq, Eq)]
struct Fixed {
    admin: Option<(SocketAddr, bool)>,
    audit: crate::audit::Destination,
    connections: usize,
    header_bytes: usize,
    h2_idle_timeout: Duration,
}

impl Fixed {
    fn of(config: &Config) -> Self {
        Self {
            admin: config.admin.as_ref().map(|admin| (admin.address, admin.tls.is_some())),
            audit: config.audit.clone(),
            connections: config.limits.connections,
            header_bytes: config.limits.header_bytes,
            h2_idle_timeout: config.limits.idle_timeout,
        }
    }
}

/// The files whose content ends, and when.
struct Files {
    certificates: Vec<(String, UnixTime)>,
    revocation_lists: Vec<(String, UnixTime)>,
}

impl Files {
    fn of(config: &Config) -> Self {
        Self { certificates: config.certificates.clone(), revocation_lists: config.revocation_lists.clone() }
    }

    /// Tells dashboards, and the log what is too late already.
    fn note(&self, metrics: &Metrics, now: UnixTime) {
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
fn service(
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
                hop: host.hop.map(|hop| Arc::new(Hop::new(hop))),
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
    })
}

fn server_conf() -> ServerConf {
    ServerConf {
        threads: std::thread::available_parallelism().map_or(2, usize::from),
        // The drain has waited already when Pingora is told to end.
        grace_period_seconds: Some(0),
        graceful_shutdown_timeout_seconds: Some(1),
        // Which failures are worth another attempt is for the proxy to say.
        max_retries: upstream::ATTEMPTS,
        ..ServerConf::default()
    }
}

/// Ends TLS and hands the connection to HTTP.
struct Door {
    index: usize,
    http: Arc<HttpProxy<Proxy>>,
    proxy: Proxy,
    slots: Arc<Semaphore>,
    service: Arc<ArcSwap<Service>>,
    metrics: Arc<Metrics>,
    gauge: prometheus::IntGauge,
    listener: Arc<str>,
}

/// A connection's place under the cap, and in the gauge.
struct Slot {
    _permit: OwnedSemaphorePermit,
    gauge: prometheus::IntGauge,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

/// Makes the facts of a connection, once.
struct Capture<'h> {
    client_address: IpAddr,
    hosts: &'h VirtualHosts,
    hello: &'h Hello,
    began: UnixTime,
}

#[async_trait]
impl TlsAccept for Capture<'_> {
    async fn handshake_complete_callback(&self, tls: &TlsRef) -> Option<Arc<dyn std::any::Any + Send + Sync>> {
        let chain = tls.peer_cert_chain_der().unwrap_or_default().to_vec();
        // The name that chose the rules is the name of the connection, whatever a second ClientHello says; without facts
        // every request on it is refused.
        if tls.server_name() != self.hello.server_name.as_deref() {
            return None;
        }
        let name = self.hello.server_name.clone();
        let facts = ConnectionFacts::new(chain, name, self.client_address, self.hosts, self.began)?;
        Some(Arc::new(facts))
    }
}

/// Why a handshake came to nothing.
#[derive(Debug, thiserror::Error)]
enum HandshakeError {
    #[error(transparent)]
    Hello(#[from] HelloError),
    #[error("the server name is not served here, or missing: {0:?}")]
    ServerName(Option<Box<str>>),
    #[error(transparent)]
    Tls(#[from] Box<pingora::Error>),
}

impl Door {
    /// Lets the client's words choose the virtual host, and that host make the handshake.
    async fn shake_hands(
        &self,
        mut stream: TcpStream,
        client_address: IpAddr,
        hosts: &VirtualHosts,
    ) -> Result<TlsStream<TcpStream>, HandshakeError> {
        let hello = tls::read_hello(&mut stream).await?;
        let Some(host) = hosts.find(hello.server_name.as_deref()) else {
            tls::refuse_name(&mut stream, &hello).await;
            return Err(HandshakeError::ServerName(hello.server_name));
        };
        stream.rewind(&hello.bytes);
        let capture = Capture { client_address, hosts, hello: &hello, began: self.proxy.clock.unix_time() };
        let acceptor = Acceptor::from_server_config(host.tls.config.clone());
        Ok(handshake_with_callback(&acceptor, stream, &capture).await?)
    }

    async fn open(&self, stream: TcpStream) -> Option<Stream> {
        let client_address = stream.get_socket_digest()?.peer_addr()?.as_inet()?.ip();
        let service = self.service.load_full();
        let (limits, hosts) = (&service.limits, service.listeners.get(self.index)?);
        let handshake = self.shake_hands(stream, client_address, hosts);
        let (tls, outcome) = match tokio::time::timeout(limits.handshake_timeout, handshake).await {
            Ok(Ok(tls)) => (Some(tls), Handshake::Success),
            Ok(Err(error)) => {
                tracing::debug!(client = %client_address, %error, "handshake failed");
                (None, Handshake::Failure)
            }
            Err(_) => (None, Handshake::Timeout),
        };
        self.metrics.handshake(&self.listener, outcome);
        let tls = tls?;
        let digest = tls.get_ssl_digest()?;
        let phase = digest.extension.get::<ConnectionFacts>()?.phase.clone();
        let limits = HeaderLimits {
            timeout: limits.header_timeout,
            // What belongs to the body may arrive in the same read as the end of the header.
            bytes: limits.header_bytes.saturating_add(64 * 1024),
            fields: limits.header_count,
            idle: limits.idle_timeout,
        };
        let proxy = self.proxy.clone();
        let refuse = Arc::new(move |fault| match digest.extension.get::<ConnectionFacts>() {
            Some(facts) => proxy.refuse_early(fault, facts),
            None => bytes::Bytes::new(),
        });
        Some(Box::new(ClientStream::new(tls, phase, limits, refuse)))
    }
}

#[async_trait]
impl ServerApp for Door {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let Ok(permit) = self.slots.clone().try_acquire_owned() else {
            self.metrics.handshake(&self.listener, Handshake::Refused);
            return None;
        };
        self.gauge.inc();
        let _slot = Slot { _permit: permit, gauge: self.gauge.clone() };
        let stream = *stream.into_any().downcast::<TcpStream>().ok()?;
        let stream = self.open(stream).await?;
        self.http.process_new(stream, shutdown).await
    }

    async fn cleanup(&self) {
        ServerApp::cleanup(&*self.http).await;
    }
}

/// Pingora's listening service on a socket that is bound already, with a shutdown signal of its own.
struct Prebound<A> {
    inner: listening::Service<A>,
    address: String,
    socket: Option<TcpListener>,
    shutdown: ShutdownWatch,
}

impl<A: ServerApp + Send + Sync + 'static> Prebound<A> {
    fn new(name: String, socket: TcpListener, app: A, shutdown: ShutdownWatch) -> Self {
        let address = socket.local_addr().map_or_else(|_| name.clone(), |address| address.to_string());
        let mut inner = listening::Service::new(name, app);
        inner.add_tcp(&address);
        Self { inner, address, socket: Some(socket), shutdown }
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> PingoraService for Prebound<A> {
    async fn start_service(&mut self, fds: Option<ListenFds>, _: ShutdownWatch, listeners: usize) {
        let (Some(socket), Some(table)) = (self.socket.take(), fds.as_ref()) else {
            tracing::error!(address = %self.address, "the listener has no socket to start with");
            return;
        };
        if let Err(error) = socket.set_nonblocking(true) {
            tracing::error!(address = %self.address, %error, "the listener's socket cannot be used");
            return;
        }
        table.lock().add(self.address.clone(), socket.into_raw_fd());
        PingoraService::start_service(&mut self.inner, fds, self.shutdown.clone(), listeners).await;
    }

    fn name(&self) -> &str {
        PingoraService::name(&self.inner)
    }

    fn listen_addresses(&self) -> Option<Vec<String>> {
        PingoraService::listen_addresses(&self.inner)
    }
}

/// Keeps the service's keys and addresses fresh, and replaces the service when asked.
struct Keeper {
    service: Arc<ArcSwap<Service>>,
    metrics: Arc<Metrics>,
    addresses: Vec<SocketAddr>,
    control: Control,
    reload: Box<dyn Fn() -> Result<Config, String> + Send + Sync>,
    fixed: Fixed,
    clock: Clock,
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
            tracing::warn!(
                "admin.address, whether there is admin.tls, audit, limits.connections, and header_bytes and idle_timeout of HTTP/2 change only with a restart"
            );
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

/// Drains, then lets Pingora end at once; its own graceful end sleeps a fixed time and then cuts what is left.
struct Shutdown {
    control: Control,
    drain: Arc<Drain>,
    accepting: watch::Sender<bool>,
    connections: Vec<(Arc<Semaphore>, usize)>,
    lame_duck: Duration,
    patience: Duration,
}

#[async_trait]
impl ShutdownSignalWatch for Shutdown {
    async fn recv(&self) -> ShutdownSignal {
        self.control.0.stop.notified().await;
        tracing::info!("draining");
        self.drain.begin();
        tokio::time::sleep(self.lame_duck).await;
        let _ = self.accepting.send(true);
        let ended = async {
            for (slots, count) in &self.connections {
                let _ = slots.acquire_many(u32::try_from(*count).unwrap_or(u32::MAX)).await;
            }
        };
        match tokio::time::timeout(self.patience, ended).await {
            Ok(()) => tracing::info!("every connection ended"),
            Err(_) => tracing::warn!("connections were cut at the end of the drain"),
        }
        ShutdownSignal::FastShutdown
    }
}

/// Sixteen times the window of a stream.
const H2_CONNECTION_WINDOW: u32 = 1024 * 1024;
const H2_SEND_BUFFER: usize = 64 * 1024;
const H2_ERRORS: usize = 100;
const FIRST_RESOLVE: Duration = Duration::from_secs(5);
/// How many proof keys are remembered, parsed; up to about 1 KiB each.
const PROOF_KEYS: u64 = 50_000;
const FIRST_KEYS: Duration = Duration::from_secs(30);
