//! The resource servers: their addresses, and the only place that makes an `HttpPeer`.
//!
//! Names are resolved here, away from the request, and again every 30 seconds; a peer is made from an address that is known,
//! with every timeout set and with a pool key that holds the whole identity of both ends, since Pingora's own key would mix
//! identities that share a serial number.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use pingora::lb::discovery::ServiceDiscovery;
use pingora::lb::selection::RoundRobin;
use pingora::lb::{Backend, Backends, Extensions, LoadBalancer};
use pingora::protocols::l4::socket::SocketAddr;
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy, Peer as _};
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::fapi::sha256;

/// One entry of `upstreams` in gateway.yaml.
pub struct Settings {
    /// Its configured name.
    pub name: Arc<str>,
    /// Its servers, at least one.
    pub servers: Vec<ServerAddress>,
    /// How TLS is spoken with them, for `https`.
    pub tls: TlsSettings,
    /// How long a connection may take, TLS included.
    pub connect_timeout: Duration,
    /// How long the upstream may be silent.
    pub response_timeout: Duration,
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

/// The servers of one configured name, ready to be chosen from.
pub struct Upstream {
    name: Arc<str>,
    balancer: LoadBalancer<RoundRobin>,
    names: Arc<ArcSwap<HashMap<std::net::SocketAddr, ServerAddress>>>,
    trust_anchors: Option<Arc<[WrappedX509]>>,
    identity: Option<Arc<CertKey>>,
    server_name: Option<Box<str>>,
    pool: u64,
    connect_timeout: Duration,
    response_timeout: Duration,
}

impl Upstream {
    /// Prepares the upstream; no address is known before [`Upstream::resolve`].
    pub fn new(settings: Settings) -> Self {
        let pool = pool_key(&settings);
        let certificate = |der: &CertificateDer<'_>| WrappedX509::new(der.to_vec(), parse_x509);
        let names = Arc::new(ArcSwap::default());
        let dns = Dns { servers: settings.servers, names: names.clone() };
        let balancer = LoadBalancer::from_backends(Backends::new(Box::new(dns)));
        Self {
            name: settings.name,
            balancer,
            names,
            trust_anchors: settings.tls.trust_anchors.map(|anchors| anchors.iter().map(certificate).collect()),
            identity: settings.tls.identity.map(|(chain, key)| {
                Arc::new(CertKey::new(chain.iter().map(|der| der.to_vec()).collect(), key.secret_der().to_vec()))
            }),
            server_name: settings.tls.server_name,
            pool,
            connect_timeout: settings.connect_timeout,
            response_timeout: settings.response_timeout,
        }
    }

    /// Looks its servers' names up; what was known of a name stays in force when that fails.
    pub async fn resolve(&self) {
        if let Err(error) = self.balancer.update().await {
            tracing::warn!(upstream = %self.name, %error, "upstream names could not be resolved");
        }
    }

    /// The next server, as a peer to connect to; none while no name could be resolved.
    pub fn peer(&self) -> Option<HttpPeer> {
        let backend = self.balancer.select(b"", 16)?;
        let address = *backend.addr.as_inet()?;
        let names = self.names.load();
        let server = names.get(&address)?;
        let name = self.server_name.as_deref().unwrap_or(&server.host);
        let mut peer = match (&self.identity, server.tls) {
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
        peer.options.idle_timeout = Some(IDLE_TIMEOUT);
        peer.options.set_http_version(1, 1);
        peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
        debug_assert!(!server.tls || !peer.sni().is_empty());
        Some(peer)
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
    let [a, b, c, d, e, f, g, h, ..] = sha256(&identity);
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// Turns the servers of one upstream into addresses. Pingora compares backends by address alone, so which name an address
/// has now is told beside them; of two names with one address the later counts.
struct Dns {
    servers: Vec<ServerAddress>,
    names: Arc<ArcSwap<HashMap<std::net::SocketAddr, ServerAddress>>>,
}

#[async_trait]
impl ServiceDiscovery for Dns {
    async fn discover(&self) -> pingora::Result<(BTreeSet<Backend>, HashMap<u64, bool>)> {
        let before = self.names.load_full();
        let mut names = HashMap::new();
        for server in &self.servers {
            match tokio::net::lookup_host((&*server.host, server.port)).await {
                Ok(addresses) => names.extend(addresses.map(|address| (address, server.clone()))),
                Err(error) => {
                    tracing::warn!(host = %server.host, %error, "a name could not be resolved, what was known stays");
                    names.extend(
                        before.iter().filter(|(_, known)| *known == server).map(|(at, known)| (*at, known.clone())),
                    );
                }
            }
        }
        let backend = |address: &std::net::SocketAddr| Backend {
            addr: SocketAddr::Inet(*address),
            weight: 1,
            ext: Extensions::new(),
        };
        let backends = names.keys().map(backend).collect();
        self.names.store(Arc::new(names));
        Ok((backends, HashMap::new()))
    }
}

/// How often names are looked up again.
pub const RESOLVE_EVERY: Duration = Duration::from_secs(30);

/// How long an unused connection to an upstream is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
