//! What gateway.yaml says of asking an issuer about its tokens.

use std::fmt;
use std::time::Duration;

use fapi::sha256;
use fapi::token::MissingAudience;
use reqwest::Url;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::super::assertion::ClientKey;

/// The section `introspection` of an issuer in gateway.yaml.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// Where to ask; from the issuer's metadata if not said.
    pub endpoint: Option<Url>,
    /// Who the gateway is at the issuer.
    pub client_id: Box<str>,
    /// How it proves that.
    pub authentication: Authentication,
    /// What form an answer must have.
    pub response: Response,
    /// What an answer without `aud` is worth.
    pub missing_audience: MissingAudience,
    /// How long one question may take, waiting for its turn included.
    pub timeout: Duration,
    /// How many calls may be under way at a time.
    pub max_calls: usize,
    /// How many requests may wait for an answer at a time.
    pub max_waiting: usize,
    /// How long and how much is remembered.
    pub cache: CacheSettings,
}

/// How the gateway authenticates at the endpoint; there is no way with a shared secret (FAPI 2.0 §5.3.3.1).
pub enum Authentication {
    /// `private_key_jwt`.
    PrivateKeyJwt(ClientKey),
    /// `tls_client_auth` or `self_signed_tls_client_auth` (RFC 8705 §2): the chain that is shown, and its key.
    Certificate(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
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
                // Digests, so that no comparison of secrets depends on where they differ.
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

/// What form an answer must have; another one is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Response {
    /// Plain JSON (RFC 7662 §2.2).
    Json,
    /// Signed by the issuer (RFC 9701), for one of these `audiences`.
    Jwt {
        /// The names that the gateway is known by at the issuer.
        audiences: Vec<Box<str>>,
    },
}

/// The section `introspection.cache`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// How many active tokens are remembered; those that were not used for the longest go first.
    pub max_entries: u64,
    /// How many bytes they may take.
    pub max_bytes: u64,
    /// How long an answer counts, from the moment the question was sent; never past the token's `exp`.
    pub max_age: Duration,
    /// How long the answer counts that a token is not active, or not for us.
    pub inactive_max_age: Duration,
}
