//! Assembles listeners, admin and background work into a gateway that runs until it is told to stop.
//!
//! Sockets are bound before anything starts, so that a port in use is an error with a sentence and not a panic, and so that
//! port 0 works. TLS is ended here, on Pingora's plain TCP listener, with a configuration of our own (see [`crate::tls`]).
//! On the way out the gateway first says that it is not ready while it still serves, then stops accepting, and ends when the
//! last connection has.

mod keeper;
mod shutdown;

use std::io::Write;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::IntoRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora::listeners::TlsAccept;
use pingora::listeners::tls::Acceptor;
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::protocols::l4::stream::Stream as TcpStream;
use pingora::protocols::tls::server::handshake_with_callback;
use pingora::protocols::tls::{TlsRef, TlsStream};
use pingora::protocols::{GetSocketDigest, Ssl, Stream};
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::configuration::ServerConf;
use pingora::server::{ListenFds, RunArgs, Server, ShutdownWatch};
use pingora::services::background::background_service;
use pingora::services::{Service as PingoraService, listening};
use prometheus::IntGauge;
use tokio::sync::{Notify, watch};

use self::keeper::{Ends, Keeper, Sources, service};
use self::shutdown::Shutdown;
use crate::admin::{Admin, Door as AdminDoor, Entrance};
use crate::audit::Audit;
use crate::config::Config;
use crate::connection::{ConnectionFacts, VirtualHosts};
use crate::drain::Drain;
use crate::limits::Limits;
use crate::metrics::{Handshake, Metrics};
use crate::proxy::{Clock, Proxy, Service};
use crate::stream::{ClientStream, HeaderLimits};
use crate::tls::{self, Hello, HelloError};
use crate::upstream;
use fapi::UnixTime;

/// What a gateway needs besides its configuration.
pub struct Options {
    /// The time.
    pub clock: Clock,
    /// Where the audit goes, instead of the configured destination.
    pub audit: Option<Box<dyn Write + Send>>,
    /// Since when every use of a proof is known: the start, unless no proof can have been used before it.
    pub replay_began: Option<UnixTime>,
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
    /// How often it was asked to end.
    stops: watch::Sender<usize>,
    reload: Notify,
    reloads: AtomicUsize,
    reloaded: Notify,
}

impl Control {
    /// Asks the gateway to drain and end; asked again, it cuts what is still open.
    pub fn stop(&self) {
        self.0.stops.send_modify(|stops| *stops = stops.saturating_add(1));
    }

    /// Waits until it was asked so often to end.
    async fn stopped(&self, times: usize) {
        // The sender is ours, so it is not gone.
        let _ = self.0.stops.subscribe().wait_for(|stops| *stops >= times).await;
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
    sources: Sources,
}

impl Bound {
    /// Binds every socket and builds everything that the configuration names.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn new(config: Config, mut options: Options) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::new()?);
        let (output, destination) = match options.audit.take() {
            Some(output) => (output, None),
            None => (config.audit.open().map_err(StartError::Audit)?, Some(config.audit.clone())),
        };
        let bind =
            |address: SocketAddr| TcpListener::bind(address).map_err(|error| StartError::Bind { address, error });
        let mut listeners = Vec::new();
        for listener in &config.listeners {
            listeners.push((bind(listener.address)?, listener.address.to_string().into(), listener.address));
        }
        let admin = config.admin.as_ref().map(|admin| bind(admin.address)).transpose()?;
        let sources = Sources::of(&config, destination);
        let ends = Ends::of(&config);
        let now = options.clock.unix_time();
        let began = options.replay_began.unwrap_or(now);
        let service = Arc::new(ArcSwap::from_pointee(service(config, &metrics, &options.clock, began, None)?));
        ends.note(&metrics, now);
        let audit = Audit::start(output).map_err(StartError::Audit)?;
        Ok(Self { listeners, admin, service, metrics, audit, options, control: Control::default(), sources })
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
        let Self { listeners, admin, service, metrics, audit, options, control, sources } = self;
        let drain = Arc::new(Drain::default());
        let (closing, _) = watch::channel(false);
        // The admin listener must see the end of all others: its own signal never comes.
        let (admin_end, _) = watch::channel(false);
        let mut server = Server::new_with_opt_and_conf(None, server_conf());
        server.bootstrap();
        let mut addresses = Vec::new();
        let mut places = Vec::new();
        let mut doors = Vec::new();
        for (index, (socket, name, address)) in listeners.into_iter().enumerate() {
            let proxy = Proxy {
                service: service.clone(),
                index,
                listener: name.clone(),
                clock: options.clock.clone(),
                metrics: metrics.clone(),
                audit: audit.sender(),
                drain: drain.clone(),
            };
            let mut http = http_proxy(&server.configuration, proxy.clone());
            let mut http_options = HttpServerOptions::default();
            // The line refuses CONNECT itself, so that this refusal too has an interaction id and a record.
            http_options.allow_connect_method_proxying = true;
            http.server_options = Some(http_options);
            let open = Places::new(metrics.connections(&name));
            places.push(open.clone());
            let door = Door {
                index,
                http: Arc::new(http),
                proxy,
                places: open,
                service: service.clone(),
                metrics: metrics.clone(),
                listener: name.clone(),
            };
            addresses.push(address);
            doors.push(server.add_service(Prebound::new(name.to_string(), socket, door, closing.subscribe())));
        }
        let keeper = Keeper {
            service: service.clone(),
            metrics: metrics.clone(),
            addresses,
            control: control.clone(),
            audit: audit.sender(),
            sources,
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
        let shutdown = Shutdown { control, service, drain, closing, places };
        server.run(RunArgs { shutdown_signal: Box::new(shutdown) });
        drop(admin_end);
        if audit.close() { Ok(()) } else { Err(StartError::AuditLost) }
    }
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
    places: Places,
    service: Arc<ArcSwap<Service>>,
    metrics: Arc<Metrics>,
    listener: Arc<str>,
}

/// How many connections of one listener are open.
#[derive(Clone)]
struct Places {
    taken: Arc<watch::Sender<usize>>,
    gauge: IntGauge,
}

/// The place of one connection, until it ends.
struct Place(Places);

impl Places {
    fn new(gauge: IntGauge) -> Self {
        Self { taken: Arc::new(watch::Sender::new(0)), gauge }
    }

    /// A place, if fewer than `limit` are taken.
    fn take(&self, limit: usize) -> Option<Place> {
        let free = self.taken.send_if_modified(|taken| {
            let free = *taken < limit;
            *taken = taken.saturating_add(usize::from(free));
            free
        });
        if free {
            self.gauge.inc();
        }
        free.then(|| Place(self.clone()))
    }

    /// Waits until every connection has ended.
    async fn left(&self) {
        // The sender is ours, so it is not gone.
        let _ = self.taken.subscribe().wait_for(|taken| *taken == 0).await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.taken.send_modify(|taken| *taken = taken.saturating_sub(1));
        self.0.gauge.dec();
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

    async fn open(&self, stream: TcpStream, service: &Service) -> Option<Stream> {
        let client_address = stream.get_socket_digest()?.peer_addr()?.as_inet()?.ip();
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
        let service = self.service.load_full();
        let Some(_place) = self.places.take(service.limits.connections) else {
            self.metrics.handshake(&self.listener, Handshake::Refused);
            return None;
        };
        let stream = *stream.into_any().downcast::<TcpStream>().ok()?;
        let stream = self.open(stream, &service).await?;
        Arc::new(Visit::new(self.http.clone(), &service.limits)).process_new(stream, shutdown).await
    }

    /// Called when no more connections are accepted; ends those that wait for a request.
    async fn cleanup(&self) {
        // The handshake or the request of a client that could not know may be on its way.
        tokio::time::sleep(LAST_REQUESTS).await;
        ServerApp::cleanup(&*self.http).await;
    }
}

/// One connection to the proxy, with the limits of the time when it was accepted; Pingora's own are those of the start.
struct Visit {
    http: Arc<HttpProxy<Proxy>>,
    options: HttpServerOptions,
    h2: H2Options,
}

impl Visit {
    fn new(http: Arc<HttpProxy<Proxy>>, limits: &Limits) -> Self {
        let mut options = http.server_options.clone().unwrap_or_default();
        options.h2_idle_timeout = Some(limits.idle_timeout);
        let mut h2 = default_h2_options();
        let list = limits.header_bytes.saturating_mul(2).max(64 * 1024);
        h2.max_header_list_size(u32::try_from(list).unwrap_or(u32::MAX));
        // What a stream's window lets in is kept until its upstream takes it: one body that nobody takes must not hold up the
        // others of its connection, whose window would be the same by default.
        h2.initial_connection_window_size(H2_CONNECTION_WINDOW);
        // What waits for a client that does not read; by default 400 KiB for each stream.
        h2.max_send_buffer_size(H2_SEND_BUFFER);
        // CVE-2025-8671: a client can have its streams reset by breaking the protocol, too.
        h2.max_local_error_reset_streams(Some(H2_ERRORS));
        Self { http, options, h2 }
    }
}

#[async_trait]
impl HttpServerApp for Visit {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        self.http.process_new_http(session, shutdown).await
    }

    fn h2_options(&self) -> Option<H2Options> {
        Some(self.h2.clone())
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
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

/// Sixteen times the window of a stream.
const H2_CONNECTION_WINDOW: u32 = 1024 * 1024;
const H2_SEND_BUFFER: usize = 64 * 1024;
const H2_ERRORS: usize = 100;
/// How long a connection may still bring a request after the last was accepted.
const LAST_REQUESTS: Duration = Duration::from_secs(1);
