//! One server, and the only place that creates an `HttpPeer`.
//!
//! A peer has every timeout set, and a pool key that covers the whole identity of both ends, since Pingora's own key would mix
//! identities that share a serial number.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fapi::sha256;
use pingora::lb::{Backend, Extensions};
use pingora::protocols::TcpKeepalive;
use pingora::protocols::l4::socket;
use pingora::upstreams::peer::{HttpPeer, HttpUpstreamRequestPolicy};
use pingora::utils::tls::{CertKey, WrappedX509, parse_x509};
use rustls::pki_types::CertificateDer;

use super::settings::{Protocol, ServerAddress, Settings};
use super::standing::Standing;
use crate::workers;

/// One address of an upstream.
pub struct Server {
    pub(super) address: SocketAddr,
    /// What gateway.yaml calls it.
    pub(super) configured: ServerAddress,
    pub(super) backend: Backend,
    pub(super) peer: HttpPeer,
    pub(super) standing: Arc<Standing>,
}

impl Server {
    /// Its address.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What gateway.yaml calls it.
    pub const fn named(&self) -> &ServerAddress {
        &self.configured
    }

    /// The peer through which Pingora connects to it, on connections of the current thread that were not retired.
    pub fn peer(&self) -> HttpPeer {
        let mut peer = self.peer.clone();
        let thread = u64::from(workers::current()) << RETIRED_BITS;
        peer.group_key = self.peer.group_key.wrapping_add(thread).wrapping_add(self.standing.retired());
        peer
    }

    /// Sends no more requests on the connections of this [`peer`](Self::peer), nor on those that other threads had by then;
    /// those in progress may end.
    pub fn retire(&self, peer: &HttpPeer) {
        let retired = peer.group_key.wrapping_sub(self.peer.group_key) & ((1 << RETIRED_BITS) - 1);
        self.standing.retire(retired);
    }
}

/// The connection settings that all servers of one upstream share.
pub(super) struct PeerTemplate {
    trust_anchors: Option<Arc<[WrappedX509]>>,
    identity: Option<Arc<CertKey>>,
    server_name: Option<Box<str>>,
    pub(super) protocol: Protocol,
    pool: u64,
    connect_timeout: Duration,
    response_timeout: Duration,
    idle_timeout: Duration,
}

impl PeerTemplate {
    pub(super) fn of(settings: Settings) -> Self {
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

    pub(super) fn server(&self, address: SocketAddr, configured: &ServerAddress, standing: Arc<Standing>) -> Server {
        let name = self.server_name.as_deref().unwrap_or(&configured.host);
        let mut peer = match (&self.identity, configured.tls) {
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
            // No pings: servers that count them, such as those of gRPC, close the connection of a client that sends
            // many.
            Protocol::Http2 => {
                peer.options.set_http_version(2, 2);
                peer.options.max_h2_streams = self.protocol.streams();
                peer.options.h2_stream_window_size = Some(STREAM_WINDOW);
                peer.options.h2_connection_window_size = Some(CONNECTION_WINDOW);
            }
        }
        peer.options.tcp_keepalive = Some(KEEPALIVE);
        peer.options.http_upstream_request_policy = HttpUpstreamRequestPolicy::deny_upgrades();
        Server { address, configured: configured.clone(), backend: backend(address), peer, standing }
    }
}

/// Returns a hash of everything that distinguishes two upstream identities: who the gateway claims to be, and whom it
/// trusts.
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

/// An address in the form that Pingora's health checks use.
pub(super) fn backend(address: SocketAddr) -> Backend {
    Backend { addr: socket::SocketAddr::Inet(address), weight: 1, ext: Extensions::new() }
}

/// How many bits of a pool's key count what was retired; the bits above name a thread.
const RETIRED_BITS: u32 = 48;
/// How much of a response a server may send before its client has read any.
const STREAM_WINDOW: u32 = 128 * 1024;
/// The windows of 100 streams together: clients that read nothing leave room for the others.
const CONNECTION_WINDOW: u32 = 100 * STREAM_WINDOW;
/// How the system finds out that a server is gone without having closed its connections, in at most 45 seconds.
const KEEPALIVE: TcpKeepalive = TcpKeepalive {
    idle: Duration::from_secs(30),
    interval: Duration::from_secs(5),
    count: 3,
    user_timeout: Duration::from_secs(45),
};
