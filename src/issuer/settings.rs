//! What gateway.yaml says of issuers, and the intervals that it does not say.

use std::sync::Arc;
use std::time::Duration;

use fapi::token::Expected;
use reqwest::Url;
use rustls::pki_types::CertificateDer;

use super::http::ClientError;
use super::introspection;
use super::metadata::NotDiscoverable;

/// One entry of `issuers` in gateway.yaml.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What its tokens must be.
    pub expected: Expected,
    /// Where its keys are; from its metadata if not said.
    pub jwks_uri: Option<Url>,
    /// How its keys are kept.
    pub jwks: JwksSettings,
    /// Who vouches for its servers.
    pub trust_anchors: TrustAnchors,
    /// How it is asked about its tokens; if not, they are JWTs that are verified here.
    pub introspection: Option<introspection::Settings>,
    /// Whether its security events are taken, which are verified here in any case.
    pub security_events: bool,
}

/// The section `jwks` of an issuer in gateway.yaml.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JwksSettings {
    /// From one good reading of the keys to the next at most: how long a key works after its issuer removed it.
    pub refresh_interval: Duration,
    /// How old the last good reading may be for the keys to be used.
    pub max_age: Duration,
}

impl Default for JwksSettings {
    fn default() -> Self {
        Self { refresh_interval: Duration::from_secs(300), max_age: Duration::from_secs(24 * 60 * 60) }
    }
}

/// The certificate authorities that a call to an issuer relies on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrustAnchors {
    /// Those of the system.
    System,
    /// These and no others.
    Given(Vec<CertificateDer<'static>>),
}

/// The section `token_cache` of gateway.yaml.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheSettings {
    /// How many verified tokens are remembered; those that were not used for the longest go first.
    pub max_entries: u64,
    /// How many bytes they may take.
    pub max_bytes: u64,
    /// How long a verified token is remembered at most; never past its `exp`.
    pub max_age: Duration,
}

/// When an issuer is asked, and how long its answer is waited for.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// From one good reading of the keys to the next at least, whatever the issuer says of how long they may be kept.
    pub refresh_floor: Duration,
    /// From a failed reading to the next; doubled with each failure.
    pub retry_first: Duration,
    /// The most that doubling leads to.
    pub retry_longest: Duration,
    /// From one reading for the sake of a token that no key verifies to the next.
    pub token_cooldown: Duration,
    /// For TCP and TLS.
    pub connect_timeout: Duration,
    /// For one whole call.
    pub timeout: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            refresh_floor: Duration::from_secs(60),
            retry_first: Duration::from_secs(1),
            retry_longest: Duration::from_secs(30),
            token_cooldown: Duration::from_secs(30),
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
    /// There is no `jwks_uri`, and the metadata that would name it has no place.
    #[error("issuer {issuer:?}: {error}")]
    NotDiscoverable {
        /// The issuer's configured name.
        issuer: Arc<str>,
        /// Why.
        error: NotDiscoverable,
    },
    /// Its servers cannot be called.
    #[error("issuer {issuer:?}: {error}")]
    Client {
        /// The issuer's configured name.
        issuer: Arc<str>,
        /// Why.
        error: ClientError,
    },
}
