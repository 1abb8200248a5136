//! What is known about a connection: what its handshake established, and whether that is still valid.
//!
//! A connection may outlive what its handshake relied on: a reload may bring other trust anchors, revocation lists or
//! rules, and a revocation list or an intermediate authority may expire. So every request checks whether the connection
//! would be accepted now. The result is cached until one of these changes, which a request detects by comparing two
//! numbers.

pub mod addresses;
mod chunks;
mod deadline;
pub mod drain;
pub mod ended;
pub mod exchanges;
mod gathered;
pub mod handshake;
pub mod head;
pub mod http2_stream;
pub mod limits;
pub mod lingering;
pub mod phase;
pub mod proxy_protocol;
mod settings_frames;
pub mod shares;
pub mod slots;
mod stall;
pub mod stream;
pub mod tls;
pub mod trusted_proxy;
mod turn;

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, ArcSwapOption};
use fapi::UnixTime;
use fapi::cors::Cors;
use fapi::error_format::ErrorFormat;
use fapi::headers::{Forwarded, client_cert_chain};
use fapi::peer::forwarded::proxies::Network;
use fapi::peer::{ClientCertificate, NoCertificate, Peer};
use fapi::route::{Origin, Origins};
use http::HeaderValue;
use rustls::pki_types::CertificateDer;

use self::phase::Phase;
use self::tls::{Admission, InForce};
use self::trusted_proxy::TrustedProxy;

/// A set of origins and the TLS configuration that belongs to them.
pub struct VirtualHost {
    /// The origins it serves.
    pub origins: Origins,
    /// What it presents and requests in handshakes.
    pub tls: InForce,
    /// The proxies that forward the certificates of their clients.
    pub trusted_proxy: Option<TrustedProxy>,
    /// What scripts of other origins may learn of routes that do not say.
    pub cors: Option<Arc<Cors>>,
    /// The form of the bodies of refusals before a route is known, if it is not that of all.
    pub errors: Option<Arc<ErrorFormat>>,
}

/// Who is at the other end of a connection.
#[derive(Debug)]
pub enum OtherEnd<'h> {
    /// A client.
    Client(Peer),
    /// A trusted proxy, which forwards the client certificate of each request; no token can be bound to its own
    /// certificate.
    Proxy(&'h TrustedProxy),
}

/// The virtual hosts of one address, as of the last reload.
pub struct VirtualHosts {
    hosts: Vec<VirtualHost>,
    /// Where every connection begins with a header of the PROXY protocol.
    balancers: Vec<Network>,
    generation: u64,
}

impl VirtualHosts {
    /// Collects the hosts; if two have the same name, the first one is used. `generation` distinguishes them from the
    /// hosts of other reloads.
    pub const fn new(hosts: Vec<VirtualHost>, generation: u64) -> Self {
        Self { hosts, balancers: Vec::new(), generation }
    }

    /// Lets every connection from these networks begin with a header of the PROXY protocol.
    #[must_use]
    pub fn behind(self, balancers: Vec<Network>) -> Self {
        Self { balancers, ..self }
    }

    /// Whether a connection from this address begins with a header of the PROXY protocol.
    pub fn expects_header_from(&self, address: IpAddr) -> bool {
        self.balancers.iter().any(|network| network.contains(address))
    }

    /// Returns the host that a client requests in its handshake (RFC 6066 §3).
    ///
    /// Without a name, this is the only host, or the one that clients reach by IP address, since "literal IPv4 and IPv6
    /// addresses are not permitted" as a name.
    pub fn find(&self, server_name: Option<&str>) -> Option<&VirtualHost> {
        self.hosts.get(self.position(server_name)?)
    }

    /// Whether a proxy that forwards certificates is expected at this address; whether the client there is one is known
    /// only after its handshake.
    pub fn expects_proxy_at(&self, address: IpAddr) -> bool {
        self.hosts.iter().filter_map(|host| host.trusted_proxy.as_ref()).any(|proxy| proxy.is_expected_at(address))
    }

    fn position(&self, server_name: Option<&str>) -> Option<usize> {
        match server_name {
            Some(name) => self.hosts.iter().position(|host| host.origins.has_host(name)),
            None if self.hosts.len() == 1 => Some(0),
            None => self.hosts.iter().position(|host| host.origins.iter().any(|origin| origin.is_address())),
        }
    }
}

/// What a handshake established about its connection; created once and read by every request on it.
#[derive(Debug)]
pub struct ConnectionFacts {
    /// The certificate of the other end as of the handshake, or why there is none.
    pub peer: Peer,
    /// The server name that the client requested.
    pub server_name: Option<Box<str>>,
    /// The client's address: that of the other end, or the one that a balancer named in its PROXY protocol header.
    pub client_address: IpAddr,
    /// The version of TLS, as `TLSv1.3`.
    pub tls_version: &'static str,
    /// The current phase of the connection.
    pub phase: Arc<Phase>,
    /// The certificates that the client presented, leaf first.
    chain: Vec<CertificateDer<'static>>,
    standing: ArcSwap<Standing>,
    /// What upstreams are told of it, for the origin that the last request was sent to.
    forwarded: ArcSwapOption<Forwarded>,
}

/// How a connection was judged, and until when that is valid.
#[derive(Debug)]
struct Standing {
    generation: u64,
    until: UnixTime,
    /// The index of its virtual host, and its owner; `None` if no handshake would accept it.
    admitted: Option<(usize, Owner)>,
    /// The value of `Client-Cert-Chain`, computed on first use.
    chain: OnceLock<Option<HeaderValue>>,
}

/// Who a connection belongs to.
#[derive(Debug)]
enum Owner {
    Client(Peer),
    Proxy,
}

impl ConnectionFacts {
    /// Creates the facts of a connection whose handshake began at `now` and used the host that `hosts` has for its
    /// name.
    ///
    /// Returns `None` for a certificate that cannot be parsed, which no handshake accepts.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        server_name: Option<Box<str>>,
        client_address: IpAddr,
        tls_version: &'static str,
        hosts: &VirtualHosts,
        now: UnixTime,
    ) -> Option<Self> {
        let index = hosts.position(server_name.as_deref())?;
        let host = hosts.hosts.get(index)?;
        let tls = &host.tls;
        let peer = match (chain.first(), tls.asks_for_certificates()) {
            (Some(leaf), _) => Peer::Certificate(Arc::new(ClientCertificate::from_der(leaf).ok()?)),
            (None, true) => Peer::Anonymous(NoCertificate::NotPresented),
            (None, false) => Peer::Anonymous(NoCertificate::NotRequested),
        };
        let until = tls.holds_until(&chain, now);
        let phase = Arc::new(Phase::default());
        let standing = ArcSwap::from_pointee(Standing::new(hosts, UnixTime(0), None));
        let forwarded = ArcSwapOption::empty();
        let facts = Self { peer, server_name, client_address, tls_version, phase, chain, standing, forwarded };
        facts.standing.store(Arc::new(facts.classify(hosts, index, facts.peer.clone(), until, now)));
        Some(facts)
    }

    /// Returns the virtual host and the owner of the connection for a request at `now`; `None` if no handshake would
    /// accept the connection any more.
    ///
    /// On a host that does not require a certificate, one that is no longer trusted counts as none.
    pub fn standing_under<'h>(
        &self,
        hosts: &'h VirtualHosts,
        now: UnixTime,
    ) -> Option<(&'h VirtualHost, OtherEnd<'h>)> {
        self.standing(hosts, now).of(hosts)
    }

    /// Whether the other end is a trusted proxy at `now`, whose connections carry the requests of many clients.
    pub fn is_of_proxy(&self, hosts: &VirtualHosts, now: UnixTime) -> bool {
        matches!(self.standing_under(hosts, now), Some((_, OtherEnd::Proxy(_))))
    }

    /// Returns the value of `Client-Cert-Chain` (RFC 9440 §2.3) for a request at `now`: the authorities between the
    /// connection's certificate and the trust anchor. Other certificates that a client presents prove nothing and are
    /// left out.
    pub fn certificate_chain(&self, hosts: &VirtualHosts, now: UnixTime) -> Option<HeaderValue> {
        let standing = self.standing(hosts, now);
        let (host, _) = standing.of(hosts)?;
        standing.chain.get_or_init(|| client_cert_chain(&host.tls.path(&self.chain, now))).clone()
    }

    /// Returns what upstreams are told of the connection and of the origin that a request on it was sent to.
    pub fn forwarded(&self, origin: &Arc<Origin>) -> Arc<Forwarded> {
        let last = self.forwarded.load_full().filter(|last| last.is_of(origin));
        last.unwrap_or_else(|| {
            let forwarded = Arc::new(Forwarded::of(self.client_address, origin.clone()));
            self.forwarded.store(Some(forwarded.clone()));
            forwarded
        })
    }

    fn standing(&self, hosts: &VirtualHosts, now: UnixTime) -> Arc<Standing> {
        let standing = self.standing.load_full();
        if standing.generation == hosts.generation && now < standing.until {
            return standing;
        }
        let standing = Arc::new(self.judge(hosts, now));
        self.standing.store(standing.clone());
        standing
    }

    fn judge(&self, hosts: &VirtualHosts, now: UnixTime) -> Standing {
        let index = hosts.position(self.server_name.as_deref());
        let found = index.and_then(|index| Some((index, hosts.hosts.get(index)?)));
        let never = UnixTime(u64::MAX);
        let (index, peer, until) = match found.map(|(index, host)| (index, host.tls.admits(&self.chain, now))) {
            Some((index, Admission::Trusted { until })) => (index, self.peer.clone(), until),
            Some((index, Admission::Anonymous)) if self.chain.is_empty() => (index, self.peer.clone(), never),
            Some((index, Admission::Anonymous)) => (index, Peer::Anonymous(NoCertificate::NoLongerTrusted), never),
            Some((_, Admission::Refused)) | None => return Standing::new(hosts, never, None),
        };
        self.classify(hosts, index, peer, until, now)
    }

    /// Distinguishes a proxy from a client by what is valid now: an expired certificate identifies nobody.
    fn classify(&self, hosts: &VirtualHosts, index: usize, peer: Peer, until: UnixTime, now: UnixTime) -> Standing {
        let certificate = peer.certificate().filter(|certificate| certificate.valid_at(now));
        let leaf = certificate.and(self.chain.first()).map(|leaf| &**leaf);
        let trusted_proxy = hosts.hosts.get(index).and_then(|host| host.trusted_proxy.as_ref());
        if !trusted_proxy.is_some_and(|proxy| proxy.is(leaf, self.client_address)) {
            return Standing::new(hosts, until, Some((index, Owner::Client(peer))));
        }
        let until = certificate.map_or(until, |certificate| until.min(certificate.not_after().plus(1)));
        Standing::new(hosts, until, Some((index, Owner::Proxy)))
    }
}

impl Standing {
    const fn new(hosts: &VirtualHosts, until: UnixTime, admitted: Option<(usize, Owner)>) -> Self {
        Self { generation: hosts.generation, until, admitted, chain: OnceLock::new() }
    }

    fn of<'h>(&self, hosts: &'h VirtualHosts) -> Option<(&'h VirtualHost, OtherEnd<'h>)> {
        let (index, owner) = self.admitted.as_ref()?;
        let host = hosts.hosts.get(*index)?;
        let other_end = match owner {
            Owner::Client(peer) => OtherEnd::Client(peer.clone()),
            Owner::Proxy => OtherEnd::Proxy(host.trusted_proxy.as_ref()?),
        };
        Some((host, other_end))
    }
}
