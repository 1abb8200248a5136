//! The resource servers: their addresses, which of them is asked, and the only place that makes an `HttpPeer`.
//!
//! Nothing here waits while a request does: names are resolved (`dns`) and servers are checked (`health`) in the background,
//! and a request chooses among what is known. A peer is made from an address, with every timeout set and with a
//! pool key that holds the whole identity of both ends, since Pingora's own key would mix identities that share a serial
//! number.

mod dns;
mod health;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use fapi::sha256;
use pingora::lb::{Backend, Backends, Extensions};
use pingora::protocols::l4::socket;
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use self::dns::{Dns, Lookup, Names, SystemLookup};
use self::health::Check;

/// One entry of `upstreams` in gateway.yaml.
pub struct Settings {
    /// Its configured name.
    pub name: Arc<str>,
    /// Its servers, at least one.
    pub servers: Vec<ServerAddress>,
    /// The version of HTTP that its servers speak.
    pub protocol: Protocol,
    /// How TLS is spoken with them, for `https`.
    pub tls: TlsSettings,
    /// How long a connection may take, TLS included.
    pub connect_timeout: Duration,
    /// How long the upstream may be silent.
    pub response_timeout: Duration,
    /// How long an unused connection is kept.
    pub idle_timeout: Duration,
    /// How its servers are checked, if they are.
    pub health_check: Option<HealthCheck>,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    /// Whether TLS is spoken with it.
    pub tls: bool,
    /// Its name or address.
    pub host: Box<str>,
    /// Its port.
    pub port: u16,
}

/// A version of HTTP; never negotiated, so that what was tested is what is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2: by ALPN with TLS, by prior knowledge without (RFC 9113 §3.2, §3.3).
    Http2,
}

/// How TLS is spoken with the servers of one upstream.
#[derive(Default)]
pub struct TlsSettings {
    /// Who vouches for them; the system's authorities if not said.
    pub trust_anchors: Option<Vec<CertificateDer<'static>>>,
    /// What the gateway shows of itself: chain, leaf first, and key.
    pub identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    /// The name that their certificate must have; each server's host if not said.
    pub server_name: Option<Box<str>>,
}

/// How servers are checked, each every `interval`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked for with GET; without it, a connection is enough.
    pub path: Option<Box<str>>,
    /// The pause between two checks.
    pub interval: Duration,
    /// How long one check may take.
    pub timeout: Duration,
    /// How many checks in a row must succeed until an unhealthy server is asked again.
    pub healthy_after: usize,
    /// How many checks in a row must fail until a server is not asked any more.
    pub unhealthy_after: usize,
}

/// The servers of one configured name, ready to be chosen from.
pub struct Upstream {
    name: Arc<str>,
    backends: Backends,
    names: Arc<ArcSwap<Names>>,
    servers: Arc<ArcSwap<Vec<Arc<Server>>>>,
    turn: AtomicUsize,
    all_resolved: AtomicBool,
    health_check_interval: Option<Duration>,
    manner: Manner,
}

/// One address of an upstream.
pub struct Server {
    address: SocketAddr,
    named: ServerAddress,
    backend: Backend,
    peer: HttpPeer,
    /// Milliseconds since 1970 from which on one request may try it again; 0 while it is not ejected.
    ejected_until: AtomicU64,
}

/// How many servers stand where; every server counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Are asked.
    pub healthy: usize,
    /// Could not be connected to by a request, and by none since.
    pub ejected: usize,
    /// Failed their health checks.
    pub unhealthy: usize,
}

impl Upstream {
    /// Prepares the upstream; no address is known before [`Upstream::resolve`].
    pub fn new(settings: Settings) -> Self {
        Self::with_lookup(settings, Arc::new(SystemLookup))
    }

    fn with_lookup(settings: Settings, lookup: Arc<dyn Lookup>) -> Self {
        let (names, servers) = (Arc::new(ArcSwap::default()), Arc::new(ArcSwap::default()));
        let dns = Dns { servers: settings.servers.clone(), names: names.clone(), lookup };
        let mut backends = Backends::new(Box::new(dns));
        if let Some(check) = &settings.health_check {
            backends.set_health_check(Box::new(Check::new(settings.name.clone(), check.clone(), servers.clone())));
        }
        Self {
            name: settings.name.clone(),
            backends,
            names,
            servers,
            turn: AtomicUsize::new(0),
            all_resolved: AtomicBool::new(false),
            health_check_interval: settings.health_check.as_ref().map(|check| check.interval),
            manner: Manner::of(settings),
        }
    }

    /// Its configured name.
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Looks its servers' names up; what was known of a name stays in force when that fails. Calls must not overlap.
    pub async fn resolve(&self) {
        if let Err(error) = self.backends.update(|_| {}).await {
            tracing::warn!(upstream = %self.name, %error, "upstream names could not be resolved");
        }
        let (names, before) = (self.names.load(), self.servers.load());
        let servers = names.addresses.iter().map(|(address, named)| {
            let kept = before.iter().find(|server| server.address == *address && server.named == *named);
            kept.cloned().unwrap_or_else(|| Arc::new(self.manner.server(*address, named)))
        });
        let servers = servers.collect();
        self.servers.store(Arc::new(servers));
        self.all_resolved.store(names.complete, Ordering::Relaxed);
    }

    /// Goes on resolving names and checking servers until dropped.
    pub async fn keep_fresh(&self) {
        tokio::join!(self.keep_resolving(), self.keep_checking());
    }

    async fn keep_resolving(&self) {
        loop {
            let pause = if self.all_resolved.load(Ordering::Relaxed) { RESOLVE_EVERY } else { RESOLVE_AGAIN };
            tokio::time::sleep(pause).await;
            self.resolve().await;
        }
    }

    async fn keep_checking(&self) {
        let Some(interval) = self.health_check_interval else { return };
        loop {
            self.backends.run_health_check(true).await;
            tokio::time::sleep(interval).await;
        }
    }

    /// The next server that is not among `tried`; none while no name could be resolved, or when all were tried.
    ///
    /// Servers take turns. One that is unhealthy or ejected is passed over while there is another; when there is none it is
    /// asked all the same, since what was noted of it may be out of date and a refusal for certain would help nobody.
    pub fn choose(&self, tried: &[SocketAddr], now: Duration) -> Option<Arc<Server>> {
        let servers = self.servers.load();
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let round = || {
            let steps = (0..servers.len()).filter_map(|step| servers.get(turn.wrapping_add(step) % servers.len()));
            steps.filter(|server| !tried.contains(&server.address))
        };
        let healthy = |server: &&Arc<Server>| self.backends.ready(&server.backend);
        round()
            .find(|server| healthy(server) && server.may_be_tried(now))
            .or_else(|| round().find(healthy))
            .or_else(|| round().next())
            .cloned()
    }

    /// Whether [`Upstream::choose`] would find another server.
    pub fn has_another(&self, tried: &[SocketAddr]) -> bool {
        self.servers.load().iter().any(|server| !tried.contains(&server.address))
    }

    /// Leaves a server out for a while, because a connection to it could not be made.
    pub fn eject(&self, server: &Server, now: Duration) {
        if server.ejected_until.swap(millis(now.saturating_add(EJECTION)), Ordering::Relaxed) == 0 {
            let (upstream, server) = (&self.name, server.address);
            tracing::warn!(%upstream, %server, "a server cannot be connected to and is left out");
        }
    }

    /// Takes a server back, because a connection to it was made.
    pub fn readmit(&self, server: &Server) {
        if server.is_ejected() && server.ejected_until.swap(0, Ordering::Relaxed) != 0 {
            let (upstream, server) = (&self.name, server.address);
            tracing::info!(%upstream, %server, "a server can be connected to again");
        }
    }

    /// How its servers stand.
    pub fn census(&self) -> Census {
        let mut census = Census::default();
        for server in self.servers.load().iter() {
            let count = if !self.backends.ready(&server.backend) {
                &mut census.unhealthy
            } else if server.is_ejected() {
                &mut census.ejected
            } else {
                &mut census.healthy
            };
            *count = count.saturating_add(1);
        }
        census
    }

    /// Whether its servers speak HTTP/2.
    pub fn speaks_http2(&self) -> bool {
        self.manner.protocol == Protocol::Http2
    }
}

impl Server {
    /// Its address.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Itself as something to connect to.
    pub fn peer(&self) -> HttpPeer {
        self.peer.clone()
    }

    fn is_ejected(&self) -> bool {
        self.ejected_until.load(Ordering::Relaxed) != 0
    }

    /// Whether it is not ejected, or was for long enough and nobody else tries it now.
    fn may_be_tried(&self, now: Duration) -> bool {
        let until = self.ejected_until.load(Ordering::Relaxed);
        if until == 0 {
            return true;
        }
        // A clock that was set back must not keep it out for longer.
        let over = millis(now) >= until || until > millis(now.saturating_add(EJECTION));
        let next = millis(now.saturating_add(EJECTION));
        // Of all requests one tries it, and the others go where they went before.
        over && self.ejected_until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

/// How all servers of one upstream are spoken to.
struct Manner {
    trust_anchors: Option<Arc<[WrappedX509]>>,
    identity: Option<Arc<CertKey>>,
    server_name: Option<Box<str>>,
    protocol: Protocol,
    pool: u64,
    connect_timeout: Duration,
    response_timeout: Duration,
    idle_timeout: Duration,
}

impl Manner {
    fn of(settings: Settings) -> Self {
        let certificate = |der: &CertificateDer<'_>| WrappedX509::new(der.to_vec(), parse_x509);
        Self {
            pool: pool_key(&settings),
            trust_anchors: settings.tls.trust_anchors.map(|anchors| anchors.iter().map(certificate).collect()),
            identity: settings.tls.identity.map(|(chain, key)| {
                Arc::new(CertKey::new(chain.iter().map(|der| der.to_vec()).collect(), key.secret_der().to_vec()))
            }),
            server_name: settings.tls.server_name,
            protocol: settings.protocol,
            connect_timeout: settings.connect_timeout,
            response_timeout: settings.response_timeout,
            idle_timeout: settings.idle_timeout,
        }
    }

    fn server(&self, address: SocketAddr, named: &ServerAddress) -> Server {
        let name = self.server_name.as_deref().unwrap_or(&named.host);
        let mut peer = match (&self.identity, named.tls) {
            (Some(identity), true) => HttpPeer::new_mtls(address, name.to_owned(), identity.clone()),
            (_, true) => HttpPeer::new(address, true, name.to_owned()),
            (_, false) => HttpPeer::new(address, false, String::new()),
        };
        peer.group_key = self.pool;
        peer.options.ca.clone_from(&self.trust_anchors);
        peer.options.connection_timeout = Some(self.connect_timeout);
        peer.options.total_connection_timeout = Some(self.connect_timeout);
        peer.options.read_timeout = Some(self.response_timeout);
        peer.options.write_timeout = Some(self.response_timeout);
        peer.options.idle_timeout = Some(self.idle_timeout);
        match self.protocol {
            Protocol::Http1 => peer.options.set_http_version(1, 1),
            // No pings: servers that count them, as those of gRPC do, hang up on whoever sends many.
            Protocol::Http2 => {
                peer.options.set_http_version(2, 2);
                peer.options.max_h2_streams = STREAMS;
            }
        }
        peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
        Server { address, named: named.clone(), backend: backend(address), peer, ejected_until: AtomicU64::new(0) }
    }
}

/// Everything that tells two upstream identities apart: who we say we are, and whom we believe.
fn pool_key(settings: &Settings) -> u64 {
    let mut identity = settings.name.as_bytes().to_vec();
    let mut push = |part: &[u8]| {
        identity.extend_from_slice(&part.len().to_be_bytes());
        identity.extend_from_slice(part);
    };
    for anchor in settings.tls.trust_anchors.iter().flatten() {
        push(anchor);
    }
    push(b"identity");
    for certificate in settings.tls.identity.iter().flat_map(|(chain, _)| chain) {
        push(certificate);
    }
    push(settings.tls.server_name.as_deref().unwrap_or_default().as_bytes());
    push(match settings.protocol {
        Protocol::Http1 => b"http1",
        Protocol::Http2 => b"http2",
    });
    let [a, b, c, d, e, f, g, h, ..] = sha256(&identity);
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// An address as Pingora's health checks know it.
fn backend(address: SocketAddr) -> Backend {
    Backend { addr: socket::SocketAddr::Inet(address), weight: 1, ext: Extensions::new() }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// How many connections a request may try before it is given up.
pub const ATTEMPTS: usize = 5;

/// How often names are looked up again.
const RESOLVE_EVERY: Duration = Duration::from_secs(30);

/// How soon that is after one could not be resolved.
const RESOLVE_AGAIN: Duration = Duration::from_secs(2);

/// How long a server is left out that could not be connected to.
const EJECTION: Duration = Duration::from_secs(10);

/// How many requests one HTTP/2 connection carries at a time, if the server allows as many.
const STREAMS: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    async fn upstream(ports: &[u16]) -> Upstream {
        let server = |port: &u16| ServerAddress { tls: false, host: "127.0.0.1".into(), port: *port };
        let upstream = Upstream::new(Settings {
            name: "bank".into(),
            servers: ports.iter().map(server).collect(),
            protocol: Protocol::Http1,
            tls: TlsSettings::default(),
            connect_timeout: Duration::from_secs(1),
            response_timeout: Duration::from_secs(1),
            idle_timeout: Duration::from_secs(1),
            health_check: None,
        });
        upstream.resolve().await;
        upstream
    }

    fn ports(upstream: &Upstream, tried: &[SocketAddr], now: Duration, count: usize) -> Vec<u16> {
        let chosen = (0..count).filter_map(|_| upstream.choose(tried, now));
        chosen.map(|server| server.address().port()).collect()
    }

    fn server(upstream: &Upstream, port: u16) -> Arc<Server> {
        upstream.servers.load().iter().find(|server| server.address.port() == port).unwrap().clone()
    }

    #[tokio::test]
    async fn servers_take_turns_and_none_is_tried_twice() {
        let upstream = upstream(&[1, 2, 3]).await;
        assert_eq!(ports(&upstream, &[], NOW, 6), [1, 2, 3, 1, 2, 3]);
        let tried = [server(&upstream, 2).address()];
        assert!(ports(&upstream, &tried, NOW, 6).iter().all(|port| *port != 2));
        assert!(upstream.has_another(&tried));
        let all = [1, 2, 3].map(|port| server(&upstream, port).address());
        assert_eq!((ports(&upstream, &all, NOW, 3), upstream.has_another(&all)), (vec![], false));
    }

    #[tokio::test]
    async fn an_ejected_server_is_tried_by_one_request_when_its_time_is_over() {
        let upstream = upstream(&[1, 2]).await;
        let one = server(&upstream, 1);
        upstream.eject(&one, NOW);
        assert_eq!(ports(&upstream, &[], NOW, 4), [2; 4]);
        assert_eq!(upstream.census(), Census { healthy: 1, ejected: 1, unhealthy: 0 });
        let almost = NOW + EJECTION - Duration::from_millis(1);
        assert_eq!(ports(&upstream, &[], almost, 4), [2; 4]);
        let mut later = ports(&upstream, &[], NOW + EJECTION, 8);
        later.sort_unstable();
        assert_eq!(later, [1, 2, 2, 2, 2, 2, 2, 2], "one request tries it for all");
        assert_eq!(upstream.census().ejected, 1, "until it is known better");
        upstream.readmit(&one);
        assert_eq!(ports(&upstream, &[], NOW + EJECTION, 2).len(), 2);
        assert_eq!(upstream.census(), Census { healthy: 2, ejected: 0, unhealthy: 0 });
    }

    #[tokio::test]
    async fn when_all_are_ejected_all_are_asked() {
        let upstream = upstream(&[1, 2]).await;
        for port in [1, 2] {
            upstream.eject(&server(&upstream, port), NOW);
        }
        assert_eq!(ports(&upstream, &[], NOW, 4), [1, 2, 1, 2]);
        let tried = [server(&upstream, 1).address()];
        assert_eq!(ports(&upstream, &tried, NOW, 2), [2, 2]);
    }

    #[tokio::test]
    async fn a_clock_that_is_set_back_keeps_no_server_out() {
        let upstream = upstream(&[1, 2]).await;
        upstream.eject(&server(&upstream, 1), NOW);
        let back = NOW - Duration::from_secs(3600);
        assert!(ports(&upstream, &[], back, 4).contains(&1));
    }
}
