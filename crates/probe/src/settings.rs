//! What a run needs to know: the target, what it claims, who calls, and how fast.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fapi::jose::keys::KeySet;
use http::{Method, Uri};
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sandbox::keys::SigningKey;

use crate::authorization::Source;
use crate::plan::Plan;

/// Everything of one run. Holds private keys and tokens, so it does not implement `Debug`.
pub struct Settings {
    /// Where the resource is.
    pub target: Target,
    /// The plans that are run; at least one.
    pub plans: Vec<Plan>,
    /// The resource that is called.
    pub resource: Resource,
    /// What the target is said to do.
    pub claims: Claims,
    /// The two clients. What one of them has, the other must not be able to use.
    pub clients: [Client; 2],
    /// A certificate of the clients' authority that has expired, with its key.
    pub expired: Option<Certificate>,
    /// Where tokens come from.
    pub source: Source,
    /// An issuer that the target trusts and whose key is at hand, for tokens with faults.
    pub issuer: Option<Issuer>,
    /// How a token is revoked, if the probe may.
    pub revoke: Option<Revoke>,
    /// The public keys with which the target signs its responses, for modules that verify those.
    pub response_keys: Option<KeySet>,
    /// Who calls, for the operator of the target: a mail address, or a URL.
    pub contact: String,
    /// How fast and how much.
    pub limits: Limits,
    /// Whether methods that change something may be used.
    pub writes: bool,
    /// Whether nothing is sent, and only what would be is told.
    pub dry: bool,
}

/// The server that is called.
#[derive(Clone, Debug)]
pub struct Target {
    /// The URL of the resource, `https`.
    pub url: Uri,
    /// The addresses of the server, or of each of its replicas; at least one. The first is called unless a module compares them.
    pub addresses: Vec<SocketAddr>,
    /// The authorities that its certificate may be of.
    pub roots: Arc<RootCertStore>,
}

impl Target {
    /// The host of the URL, as it stands in it.
    pub fn host(&self) -> &str {
        self.url.host().unwrap_or_default()
    }

    /// The port of the URL.
    pub fn port(&self) -> u16 {
        self.url.port_u16().unwrap_or(443)
    }

    /// The host and the port, without the default one.
    pub fn authority(&self) -> String {
        match self.port() {
            443 => self.host().to_owned(),
            port => format!("{}:{port}", self.host()),
        }
    }

    /// The origin: scheme and authority.
    pub fn origin(&self) -> String {
        format!("https://{}", self.authority())
    }

    /// Path and query of the resource.
    pub fn path_and_query(&self) -> &str {
        self.url.path_and_query().map_or("/", |target| target.as_str())
    }

    /// The URL without its query: `htu` of a proof (RFC 9449 §4.2).
    pub fn htu(&self) -> String {
        format!("{}{}", self.origin(), self.url.path())
    }
}

/// A resource that can be called without harm.
#[derive(Clone, Debug)]
pub struct Resource {
    /// How it is called; a safe method.
    pub method: Method,
    /// Fields that every call has.
    pub fields: Vec<(String, String)>,
    /// The scope that it needs, if that is known.
    pub scope: Option<String>,
    /// The path of another resource, for which the tokens have no scope.
    pub forbidden: Option<String>,
    /// A call that changes something, used with [`Settings::writes`] alone.
    pub write: Option<Write>,
}

/// A call that changes something.
#[derive(Clone, Debug)]
pub struct Write {
    /// The method.
    pub method: Method,
    /// The path with its query.
    pub path: String,
    /// The type of the body.
    pub content_type: String,
    /// The body.
    pub body: Vec<u8>,
}

/// How a token is revoked.
#[derive(Clone, Debug)]
pub enum Revoke {
    /// At the revocation endpoint of the authorization server that issued it (RFC 7009).
    Endpoint,
    /// By a POST to another place, such as a feed of revocations.
    Post {
        /// Where to; `http` on this machine alone.
        url: Uri,
        /// The type of the body.
        content_type: String,
        /// The body; `{token}` stands for the token and `{jti}` for its `jti`.
        body: String,
    },
}

/// What the target is said to do. Modules for what it does not claim are skipped.
#[derive(Clone, Debug)]
pub struct Claims {
    /// It accepts tokens that are bound to a certificate (RFC 8705).
    pub certificate: bool,
    /// It accepts tokens that are bound to a key (RFC 9449).
    pub dpop: bool,
    /// When it asks for nonces in proofs.
    pub nonce: Nonce,
    /// For how long a nonce is good, counted from when it was sent; `None` if that is not claimed.
    pub nonce_lifetime: Option<Duration>,
    /// How soon after its revocation a token is refused; `None` if that is not claimed.
    pub revocation: Option<Duration>,
    /// It publishes metadata (RFC 9728).
    pub metadata: bool,
    /// The origin of scripts that it serves, and that no other may be taken for.
    pub cors: Option<String>,
    /// It answers with `x-fapi-interaction-id`.
    pub interaction_id: bool,
    /// It verifies signatures of requests (RFC 9421).
    pub signed_requests: bool,
    /// It signs its responses.
    pub signed_responses: bool,
    /// Every connection needs a client certificate, also where a token is bound to a key.
    pub certificate_required: bool,
    /// Its trust in client certificates ends at authorities of its own, so that a made-up one is refused.
    pub private_authorities: bool,
}

impl Claims {
    /// The claims, as a report has them.
    pub fn told(&self) -> Vec<String> {
        let seconds = |name: &str, time: Option<Duration>| time.map(|time| format!("{name} {} s", time.as_secs_f64()));
        let nonce = match self.nonce {
            Nonce::Never => Some("no nonces".to_owned()),
            Nonce::Sometimes => None,
            Nonce::Always => Some("nonces always".to_owned()),
        };
        let flags = [
            (self.certificate, "certificate"),
            (self.dpop, "dpop"),
            (self.metadata, "metadata"),
            (self.interaction_id, "interaction_id"),
            (self.signed_requests, "signed_requests"),
            (self.signed_responses, "signed_responses"),
            (self.certificate_required, "certificate_required"),
            (self.private_authorities, "private_authorities"),
        ];
        let flags = flags.into_iter().filter(|(claimed, _)| *claimed).map(|(_, name)| name.to_owned());
        let times = [seconds("nonce_lifetime", self.nonce_lifetime), seconds("revocation", self.revocation)];
        let cors = self.cors.as_ref().map(|origin| format!("cors {origin}"));
        flags.chain(nonce).chain(times.into_iter().flatten()).chain(cors).collect()
    }
}

/// When a target asks for a nonce in a proof (RFC 9449 §9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nonce {
    /// It never does.
    Never,
    /// It may; nothing is expected.
    #[default]
    Sometimes,
    /// Every proof needs one.
    Always,
}

/// One of the two clients.
pub struct Client {
    /// Its `client_id`.
    pub client_id: String,
    /// Its certificate with the chain, and the key of it.
    pub certificate: Option<Certificate>,
    /// The key of its proofs.
    pub proof_key: Option<SigningKey>,
    /// The key of its assertions and of signed requests.
    pub signing_key: Option<SigningKey>,
}

/// A certificate with its chain and its private key.
pub struct Certificate {
    /// The chain, the end-entity certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key.
    pub key: PrivateKeyDer<'static>,
}

impl Clone for Certificate {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

/// An issuer whose key is at hand.
#[derive(Clone)]
pub struct Issuer {
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    /// The key.
    pub key: SigningKey,
    /// An RSA key of the issuer, if there is one, for tokens signed with an algorithm that no profile allows.
    pub rsa_key: Option<SigningKey>,
    /// Further claims of every token.
    pub claims: serde_json::Map<String, serde_json::Value>,
}

/// How fast and how much.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests and handshakes a second, at most.
    pub rate: u32,
    /// Requests and handshakes in all, at most.
    pub total: u64,
    /// How long an answer may take.
    pub timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { rate: 10, total: 2_000, timeout: Duration::from_secs(10) }
    }
}
