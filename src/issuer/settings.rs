//! The settings of issuers in gateway.yaml, and the intervals that are not configurable.

use std::sync::Arc;
use std::time::Duration;

use fapi::token::Expected;
use reqwest::Url;

use super::http::ClientError;
use super::introspection;
use super::metadata::NotDiscoverable;
use crate::tls_client::TrustAnchors;

/// One entry of `issuers` in gateway.yaml.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What its tokens must satisfy.
    pub expected: Expected,
    /// Where its keys are; `None` if its metadata says so.
    pub jwks_uri: Option<Url>,
    /// How its keys are cached.
    pub jwks: JwksSettings,
    /// The authorities of its servers' certificates.
    pub trust_anchors: TrustAnchors,
    /// How its tokens are introspected; `None` if they are JWTs that the gateway verifies.
    pub introspection: Option<introspection::Settings>,
    /// How what it says of tokens is shared with other replicas; `None` if it is not.
    pub sharing: Option<introspection::Sharing>,
    /// Whether the gateway is ready only once its keys and endpoint have been read.
    pub required: bool,
    /// Whether its security events are accepted, which the gateway always verifies with the issuer's keys.
    pub security_events: bool,
}

impl Settings {
    /// Whether anything of this issuer is signed with its keys: its tokens, its introspection responses or its events.
    pub fn needs_keys(&self) -> bool {
        let answers = self.introspection.as_ref().map(|settings| &settings.response);
        self.security_events || !matches!(answers, Some(introspection::Response::Json))
    }
}

/// The section `jwks` of an issuer in gateway.yaml.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JwksSettings {
    /// The longest time between two successful reads of the keys: how long a key works after its issuer removed it.
    pub refresh_interval: Duration,
    /// How long ago the last successful read may be for the keys to be used.
    pub max_age: Duration,
}

impl Default for JwksSettings {
    fn default() -> Self {
        Self { refresh_interval: Duration::from_secs(300), max_age: Duration::from_secs(24 * 60 * 60) }
    }
}

/// The section `token_cache` of gateway.yaml.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// How many verified tokens are cached; the least recently used are evicted first.
    pub max_entries: u64,
    /// How many bytes they may take.
    pub max_bytes: u64,
    /// How long a verified token is cached at most; never past its `exp`.
    pub max_age: Duration,
}

/// When an issuer is called, and how long the gateway waits for its response.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// The shortest time between two successful reads of the keys, however short the issuer says they may be cached.
    pub refresh_floor: Duration,
    /// The time from a failed read to the next; doubled with each failure.
    pub retry_first: Duration,
    /// The longest time that doubling leads to.
    pub retry_longest: Duration,
    /// How many reads in a row may be made because no key verifies a token.
    pub token_burst: u32,
    /// The time after which there may be one more of them.
    pub token_refill: Duration,
    /// How long TCP and TLS may take to connect.
    pub connect_timeout: Duration,
    /// How long one whole call may take.
    pub timeout: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            refresh_floor: Duration::from_secs(60),
            retry_first: Duration::from_secs(1),
            retry_longest: Duration::from_secs(30),
            token_burst: 4,
            token_refill: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
        }
    }
}

/// An entry of `issuers` that can never work.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum IssuerError {
    /// `jwks_uri` is not https (FAPI 2.0 §5.4.2).
    #[error("jwks_uri of issuer {issuer:?} is not an https URL")]
    JwksUriNotHttps {
        /// The issuer's configured name.
        issuer: Arc<str>,
    },
    /// There is no `jwks_uri`, and the issuer identifier does not lead to metadata that could name it.
    #[error("issuer {issuer:?}: {error}")]
    NotDiscoverable {
        /// The issuer's configured name.
        issuer: Arc<str>,
        /// Why.
        error: NotDiscoverable,
    },
    /// The client for its servers cannot be built.
    #[error("issuer {issuer:?}: {error}")]
    Client {
        /// The issuer's configured name.
        issuer: Arc<str>,
        /// Why.
        error: ClientError,
    },
}
