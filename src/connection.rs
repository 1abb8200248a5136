//! What is known of a connection: what its handshake taught, and whether that still counts.
//!
//! A connection may outlive what its handshake relied on: a reload may bring other anchors, lists or rules, and a revocation
//! list or an authority in between may come to its end. So every request asks whether the connection would be let in now.
//! The answer is remembered until one of these changes, which a request sees by comparing two numbers.

use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::pki_types::CertificateDer;

use crate::fapi::UnixTime;
use crate::fapi::peer::{ClientCertificate, NoCertificate, Peer};
use crate::fapi::route::Origins;
use crate::stream::Phase;
use crate::tls::{Admission, InForce};

/// Origins and the TLS that belongs to them.
pub struct VirtualHost {
    /// The origins it serves.
    pub origins: Origins,
    /// What it shows and asks in handshakes.
    pub tls: InForce,
}

/// The virtual hosts of one address, as a reload left them.
pub struct VirtualHosts {
    hosts: Vec<VirtualHost>,
    generation: u64,
}

impl VirtualHosts {
    /// Gathers the hosts; of two with one name the first answers. `generation` tells them from those of other reloads.
    pub const fn new(hosts: Vec<VirtualHost>, generation: u64) -> Self {
        Self { hosts, generation }
    }

    /// The host that a client asks TLS for (RFC 6066 §3).
    ///
    /// Without a name: the only host, or the one that clients reach by IP address, for "literal IPv4 and IPv6 addresses are
    /// not permitted" as a name.
    pub fn find(&self, server_name: Option<&str>) -> Option<&VirtualHost> {
        self.hosts.get(self.position(server_name)?)
    }

    fn position(&self, server_name: Option<&str>) -> Option<usize> {
        match server_name {
            Some(name) => self.hosts.iter().position(|host| host.origins.has_host(name)),
            None if self.hosts.len() == 1 => Some(0),
            None => self.hosts.iter().position(|host| host.origins.iter().any(|origin| origin.is_address())),
        }
    }
}

/// What a handshake taught about its connection; made once, read by every request on it.
#[derive(Debug)]
pub struct ConnectionFacts {
    /// The client's certificate, or why there is none; as it was in the handshake.
    pub peer: Peer,
    /// The name that the client asked TLS for.
    pub server_name: Option<Box<str>>,
    /// The client's address.
    pub client_address: IpAddr,
    /// Where the connection stands.
    pub phase: Arc<Phase>,
    /// The certificates that the client showed, leaf first.
    chain: Vec<CertificateDer<'static>>,
    standing: ArcSwap<Standing>,
}

/// What was found of a connection, and for how long that holds.
#[derive(Debug)]
struct Standing {
    generation: u64,
    until: UnixTime,
    /// The place of its virtual host, and the other end; `None` if no handshake would let it in.
    admitted: Option<(usize, Peer)>,
}

impl ConnectionFacts {
    /// The facts of a connection whose handshake, begun at `now`, was made with the host that `hosts` have for its name.
    ///
    /// `None` for a certificate that cannot be read, which no handshake lets through.
    pub fn new(
        chain: Vec<CertificateDer<'static>>,
        server_name: Option<Box<str>>,
        client_address: IpAddr,
        hosts: &VirtualHosts,
        now: UnixTime,
    ) -> Option<Self> {
        let place = hosts.position(server_name.as_deref())?;
        let tls = &hosts.hosts.get(place)?.tls;
        let peer = match (chain.first(), tls.asks_for_certificates()) {
            (Some(leaf), _) => Peer::Certificate(Arc::new(ClientCertificate::from_der(leaf).ok()?)),
            (None, true) => Peer::Anonymous(NoCertificate::NotPresented),
            (None, false) => Peer::Anonymous(NoCertificate::NotRequested),
        };
        let until = tls.holds_until(&chain, now);
        let standing = Standing { generation: hosts.generation, until, admitted: Some((place, peer.clone())) };
        let phase = Arc::new(Phase::default());
        Some(Self { peer, server_name, client_address, phase, chain, standing: ArcSwap::from_pointee(standing) })
    }

    /// The virtual host of the connection and its other end, as a request at `now` has to take them; `None` if no handshake
    /// would let the connection in any more.
    ///
    /// A certificate that counts no more, on a host that does not insist on one, is none.
    pub fn under<'h>(&self, hosts: &'h VirtualHosts, now: UnixTime) -> Option<(&'h VirtualHost, Peer)> {
        let standing = self.standing.load();
        if standing.generation == hosts.generation && now < standing.until {
            return standing.of(hosts);
        }
        let standing = Arc::new(self.judge(hosts, now));
        self.standing.store(standing.clone());
        standing.of(hosts)
    }

    fn judge(&self, hosts: &VirtualHosts, now: UnixTime) -> Standing {
        let place = hosts.position(self.server_name.as_deref());
        let found = place.and_then(|place| Some((place, hosts.hosts.get(place)?)));
        let never = UnixTime(u64::MAX);
        let (admitted, until) = match found.map(|(place, host)| (place, host.tls.admits(&self.chain, now))) {
            Some((place, Admission::Trusted { until })) => (Some((place, self.peer.clone())), until),
            Some((place, Admission::Anonymous)) if self.chain.is_empty() => (Some((place, self.peer.clone())), never),
            Some((place, Admission::Anonymous)) => {
                (Some((place, Peer::Anonymous(NoCertificate::NoLongerTrusted))), never)
            }
            Some((_, Admission::Refused)) | None => (None, never),
        };
        Standing { generation: hosts.generation, until, admitted }
    }
}

impl Standing {
    fn of<'h>(&self, hosts: &'h VirtualHosts) -> Option<(&'h VirtualHost, Peer)> {
        let (place, peer) = self.admitted.as_ref()?;
        Some((hosts.hosts.get(*place)?, peer.clone()))
    }
}
