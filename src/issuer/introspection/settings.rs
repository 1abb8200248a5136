//! The settings of introspection in gateway.yaml.

use std::fmt;
use std::time::Duration;

use fapi::jose::jwe::DecryptionKeys;
use fapi::sha256;
use fapi::token::MissingAudience;
use reqwest::Url;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::super::assertion::ClientKey;
use super::super::metadata::Sought;
use super::places::Room;
use crate::tls_client::Identity;

/// The section `introspection` of an issuer in gateway.yaml.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// The endpoint; `None` if the issuer's metadata names it.
    pub endpoint: Option<Url>,
    /// The gateway's `client_id` at the issuer.
    pub client_id: Box<str>,
    /// How the gateway authenticates.
    pub authentication: Authentication,
    /// The form that every response must have.
    pub response: Response,
    /// What happens to a token whose response has no `aud`.
    pub missing_audience: MissingAudience,
    /// How long one call may take, including the wait for its turn.
    pub timeout: Duration,
    /// How many calls may be in progress at a time.
    pub max_calls: usize,
    /// How many different tokens may wait for a response at a time.
    pub max_waiting: Room,
    /// How many responses are cached, and for how long.
    pub cache: CacheSettings,
}

/// How the gateway authenticates at the endpoint; never with a shared secret (FAPI 2.0 §5.3.3.1).
pub enum Authentication {
    /// `private_key_jwt`.
    PrivateKeyJwt(ClientKey),
    /// `tls_client_auth` or `self_signed_tls_client_auth` (RFC 8705 §2): the certificate chain, and its key.
    Certificate(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
}

impl Authentication {
    /// The certificate that the gateway presents, if it does, and the endpoint for those who authenticate like this.
    pub fn presented(&self) -> (Option<Identity>, Sought) {
        match self {
            Self::PrivateKeyJwt(_) => (None, Sought::Introspection),
            Self::Certificate(chain, key) => {
                let identity = Identity { chain: chain.clone(), key: key.clone_key() };
                (Some(identity), Sought::IntrospectionByCertificate)
            }
        }
    }
}

impl Clone for Authentication {
    fn clone(&self) -> Self {
        match self {
            Self::PrivateKeyJwt(key) => Self::PrivateKeyJwt(key.clone()),
            Self::Certificate(chain, key) => Self::Certificate(chain.clone(), key.clone_key()),
        }
    }
}

impl PartialEq for Authentication {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::PrivateKeyJwt(one), Self::PrivateKeyJwt(other)) => one == other,
            (Self::Certificate(chain, key), Self::Certificate(other_chain, other_key)) => {
                // Compares digests, so that the time does not depend on where the secrets differ.
                chain == other_chain && sha256(key.secret_der()) == sha256(other_key.secret_der())
            }
            (Self::PrivateKeyJwt(_), Self::Certificate(..)) | (Self::Certificate(..), Self::PrivateKeyJwt(_)) => false,
        }
    }
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PrivateKeyJwt(_) => "PrivateKeyJwt(..)",
            Self::Certificate(..) => "Certificate(..)",
        })
    }
}

/// The form that a response must have; any other is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// Plain JSON (RFC 7662 §2.2).
    Json,
    /// Signed by the issuer (RFC 9701), for one of these `audiences`.
    Jwt {
        /// The values of `aud` that mean this gateway.
        audiences: Vec<Box<str>>,
        /// The keys that every response is encrypted for one of; `None` if none is encrypted.
        decryption_keys: Option<DecryptionKeys>,
    },
}

/// The section `introspection.cache`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// How many active tokens are cached; the least recently used are evicted first.
    pub max_entries: u64,
    /// How many bytes they may take.
    pub max_bytes: u64,
    /// How long a response is used, from the moment its request was sent; never past the token's `exp`.
    pub max_age: Duration,
    /// How long a response that a token is not active, or not acceptable here, is used.
    pub inactive_max_age: Duration,
}
