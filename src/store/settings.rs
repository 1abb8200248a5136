//! An entry of `stores` in gateway.yaml.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use zeroize::Zeroizing;

use crate::tls_client::{Identity, TrustAnchors};

/// One entry of `stores` in gateway.yaml.
pub struct Settings {
    /// Its configured name.
    pub name: Arc<str>,
    /// The servers, and how they work together.
    pub servers: Servers,
    /// TLS, unless the connections are in the clear.
    pub tls: Option<Arc<TlsSettings>>,
    /// Whom the gateway is to the servers that hold entries.
    pub credentials: Credentials,
    /// The number of the database.
    pub database: u16,
    /// What every key begins with.
    pub prefix: Box<str>,
    /// How long an answer is waited for.
    pub timeout: Duration,
    /// How many questions may wait for their answers at a time.
    pub in_flight: usize,
    /// How many replicas of the server must have what is written.
    pub min_replicas: u32,
    /// What is kept there.
    pub holds: Vec<Holds>,
}

/// What a store keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// Used proofs.
    Proofs,
    /// Buckets of rate limits.
    Rates,
    /// The list of revocations.
    Revocations,
    /// Introspection answers.
    Answers,
    /// Requests that were pushed to authorization servers.
    PushedRequests,
}

impl Settings {
    /// How many of the questions in flight may be such as can do without an answer.
    pub(super) fn aside(&self) -> usize {
        (self.in_flight / 2).clamp(1, MOST_ASIDE)
    }

    /// A hash of the server, the database and the keys: what is remembered there is the same while this is.
    pub fn place(&self) -> [u8; 32] {
        let Self { servers, database, prefix, .. } = self;
        fapi::sha256(format!("{} {database} {prefix}", servers.described("")).as_bytes())
    }

    /// The key of an entry, from its name, which begins with its kind. This is the one place where keys are made.
    ///
    /// A cluster keeps keys with the same part in braces at one server, which so decides on each of them in one order, and carries
    /// out scripts with several.
    pub fn key(&self, name: &str) -> String {
        match self.servers {
            Servers::Single(_) | Servers::Sentinel(_) => format!("{}{name}", self.prefix),
            Servers::Cluster(_) => format!("{{{}}}{name}", self.prefix),
        }
    }

    /// How long the server waits for its replicas. Twice, since what is written while it waits has to wait for the next time, and
    /// the question itself, have to fit into the time for an answer.
    pub(super) fn patience(&self) -> Duration {
        self.timeout / 3
    }

    /// A hash of everything that a connection depends on, so that a reload knows whether it needs another one.
    pub fn hash(&self) -> [u8; 32] {
        let Self { name, servers, tls, credentials, database: _, prefix: _, .. } = self;
        let Self { timeout, in_flight, min_replicas, holds, .. } = self;
        let mut text = self.place().to_vec();
        let mut add = |part: &[u8]| {
            text.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            text.extend_from_slice(part);
        };
        add(name.as_bytes());
        let to_sentinels = match servers {
            Servers::Sentinel(group) => Some(&group.credentials),
            Servers::Single(_) | Servers::Cluster(_) => None,
        };
        for Credentials { username, password } in to_sentinels.into_iter().chain([credentials]) {
            add(username.as_deref().unwrap_or_default().as_bytes());
            add(password.as_ref().map_or("", Password::as_str).as_bytes());
        }
        add(&timeout.as_nanos().to_be_bytes());
        add(&in_flight.to_be_bytes());
        add(&min_replicas.to_be_bytes());
        // What is kept there says what the server's user must be allowed.
        holds.iter().for_each(|holds| add(&[*holds as u8]));
        if let Some(TlsSettings { trust_anchors, identity, server_name }) = tls.as_deref() {
            add(server_name.as_ref().map(ServerName::to_str).unwrap_or_default().as_bytes());
            if let TrustAnchors::Given(anchors) = trust_anchors {
                anchors.iter().for_each(|anchor| add(anchor));
            }
            if let Some(Identity { chain, key }) = identity {
                chain.iter().for_each(|certificate| add(certificate));
                add(key.secret_der());
            }
        }
        fapi::sha256(&text)
    }
}

/// The servers of a store, and how they work together.
pub enum Servers {
    /// One server, or one name that leads to the primary.
    Single(Address),
    /// A primary that sentinels know.
    Sentinel(Arc<Sentinels>),
    /// Some servers of a cluster, each of which knows where a key is.
    Cluster(Vec<Address>),
}

impl Servers {
    /// Where they are, each address after this.
    pub fn described(&self, scheme: &str) -> String {
        let list = |servers: &[Address]| {
            servers.iter().map(|server| format!("{scheme}{server}")).collect::<Vec<String>>().join(", ")
        };
        match self {
            Self::Single(server) => format!("{scheme}{server}"),
            Self::Sentinel(group) => {
                format!("the primary {} of the sentinels {}", group.master, list(&group.sentinels))
            }
            Self::Cluster(servers) => format!("the cluster of {}", list(servers)),
        }
    }
}

/// Sentinels that watch over a primary.
pub struct Sentinels {
    /// What they call it.
    pub master: Box<str>,
    /// Where they are.
    pub sentinels: Vec<Address>,
    /// Whom the gateway is to them.
    pub credentials: Credentials,
}

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Its name or IP address.
    pub host: Box<str>,
    /// Its port.
    pub port: u16,
}

impl Address {
    /// An address that another server said.
    pub(super) fn said(host: &str, port: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        let port = port.parse().ok().filter(|port| *port != 0)?;
        ((1..=253).contains(&host.len()) && host.bytes().all(plain)).then(|| Self { host: host.into(), port })
    }

    /// Whether it is on this machine.
    pub(super) fn is_loopback(&self) -> bool {
        self.host.parse::<IpAddr>().map_or(&*self.host == "localhost", |address| address.is_loopback())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Whom the gateway is to a server.
#[derive(Default)]
pub struct Credentials {
    /// The name of the ACL user; the server's `default` if there is none.
    pub username: Option<Box<str>>,
    /// Its password.
    pub password: Option<Password>,
}

/// TLS to a store.
pub struct TlsSettings {
    /// What the server's certificate chains to.
    pub trust_anchors: TrustAnchors,
    /// The certificate that the gateway presents, if the server asks for one.
    pub identity: Option<Identity>,
    /// The name that each server's certificate must have; that under which it is connected to, if there is none.
    pub server_name: Option<ServerName<'static>>,
}

/// A password, which is never printed, and overwritten in memory when it is dropped.
pub struct Password(Zeroizing<Box<str>>);

impl Password {
    /// A password with this text.
    pub fn new(text: &str) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The most questions aside at a time: their answers, of 8 KiB each at most, are less than a server may say at a time.
const MOST_ASIDE: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_a_server_says_is_a_host_and_a_port() {
        for (host, port, shown) in [
            ("redis-1.bank.svc", "6379", Some("redis-1.bank.svc:6379")),
            ("10.0.0.1", "1", Some("10.0.0.1:1")),
            ("fd00::1", "6379", Some("[fd00::1]:6379")),
            ("", "6379", None),
            ("?", "6379", None),
            ("redis 1", "6379", None),
            ("redis/1", "6379", None),
            ("redis", "0", None),
            ("redis", "65536", None),
            ("redis", "", None),
        ] {
            let said = Address::said(host, port).map(|address| address.to_string());
            assert_eq!(said.as_deref(), shown, "{host} {port}");
        }
        assert_eq!(Address::said(&"x".repeat(254), "1"), None);
    }
}
