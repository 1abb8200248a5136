//! An entry of `stores` in gateway.yaml.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;

use crate::issuer::TrustAnchors;
use crate::issuer::http::Identity;

/// One entry of `stores` in gateway.yaml.
pub struct Settings {
    /// Its configured name.
    pub name: Arc<str>,
    /// The name or IP address of the server.
    pub host: Box<str>,
    /// Its port.
    pub port: u16,
    /// TLS, unless the connection is in the clear.
    pub tls: Option<TlsSettings>,
    /// The name of the ACL user; the server's `default` if there is none.
    pub username: Option<Box<str>>,
    /// Its password.
    pub password: Option<Password>,
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
}

impl Settings {
    /// The key of an entry with this name: the one place where keys are made.
    pub fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// A hash of the server, the database and the keys: what is remembered there is the same while this is.
    pub fn place(&self) -> [u8; 32] {
        let Self { host, port, database, prefix, .. } = self;
        fapi::sha256(format!("{host} {port} {database} {prefix}").as_bytes())
    }

    /// How long the server waits for its replicas. Twice, since what is written while it waits has to wait for the next time, and
    /// the question itself, have to fit into the time for an answer.
    pub(super) fn patience(&self) -> Duration {
        self.timeout / 3
    }

    /// A hash of everything that a connection depends on, so that a reload knows whether it needs another one.
    pub fn hash(&self) -> [u8; 32] {
        let Self { name, host: _, port: _, tls, username, password, database: _, prefix: _, .. } = self;
        let Self { timeout, in_flight, min_replicas, .. } = self;
        let mut text = self.place().to_vec();
        let mut add = |part: &[u8]| {
            text.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            text.extend_from_slice(part);
        };
        add(name.as_bytes());
        add(username.as_deref().unwrap_or_default().as_bytes());
        add(password.as_ref().map_or("", Password::as_str).as_bytes());
        add(&timeout.as_nanos().to_be_bytes());
        add(&in_flight.to_be_bytes());
        add(&min_replicas.to_be_bytes());
        if let Some(TlsSettings { trust_anchors, identity, server_name }) = tls {
            add(server_name.to_str().as_bytes());
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

/// TLS to a store.
pub struct TlsSettings {
    /// What the server's certificate chains to.
    pub trust_anchors: TrustAnchors,
    /// The certificate that the gateway presents, if the server asks for one.
    pub identity: Option<Identity>,
    /// The name that the server's certificate must have.
    pub server_name: ServerName<'static>,
}

/// A password, which is never printed.
pub struct Password(Box<str>);

impl Password {
    /// A password with this text.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}
