//! What is counted about issuers.

use std::fmt::Display;
use std::time::Duration;

use crate::resource::Kind;

/// Counts calls and cache look-ups, and learns what became of them, for the metrics.
pub trait Observer: Send + Sync {
    /// A token was looked up in the cache.
    fn token_cache(&self, issuer: &str, outcome: CacheOutcome);
    /// The keys were requested.
    fn jwks_refresh(&self, issuer: &str, outcome: RefreshOutcome);
    /// A token was introspected.
    fn introspection(&self, issuer: &str, outcome: IntrospectionOutcome, took: Duration);
    /// A token was looked up among the answers that replicas share.
    fn shared_answer(&self, _issuer: &str, _outcome: SharedOutcome) {}
    /// An answer was to be shared.
    fn shared_write(&self, _issuer: &str, _outcome: SharedWrite) {}
    /// Something was read from an issuer, or could not be.
    fn resource(&self, _kind: Kind, _issuer: &str, _outcome: Result<(), &dyn Display>) {}
}

/// Counts nothing.
impl Observer for () {
    fn token_cache(&self, _: &str, _: CacheOutcome) {}

    fn jwks_refresh(&self, _: &str, _: RefreshOutcome) {}

    fn introspection(&self, _: &str, _: IntrospectionOutcome, _: Duration) {}
}

/// Whether a token was in the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheOutcome {
    /// It was, with a result that is still valid.
    Hit,
    /// It was not.
    Miss,
}

/// The result of requesting the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefreshOutcome {
    /// A usable set, the same as before or a new one.
    Success,
    /// No usable set; the previous one is kept.
    Failure,
}

/// The result of introspecting a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IntrospectionOutcome {
    /// The issuer calls it active.
    Active,
    /// The issuer calls it inactive.
    Inactive,
    /// The issuer refuses the gateway itself: its credentials, or its request.
    Unauthorized,
    /// An unusable response: an unexpected status or form, or an invalid signature.
    Invalid,
    /// No response in time.
    Timeout,
    /// No connection, or the endpoint is not known yet.
    Unreachable,
    /// Not asked, since too many requests are waiting.
    Busy,
    /// Not asked, since too many requests of the same client are waiting.
    ShareExceeded,
}

impl IntrospectionOutcome {
    /// Every outcome.
    pub const ALL: &[Self] = &[
        Self::Active,
        Self::Inactive,
        Self::Unauthorized,
        Self::Invalid,
        Self::Timeout,
        Self::Unreachable,
        Self::Busy,
        Self::ShareExceeded,
    ];

    /// Its name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Unauthorized => "unauthorized",
            Self::Invalid => "invalid",
            Self::Timeout => "timeout",
            Self::Unreachable => "unreachable",
            Self::Busy => "busy",
            Self::ShareExceeded => "share_exceeded",
        }
    }
}

/// What the store of shared answers had about a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SharedOutcome {
    /// An answer that counts.
    Hit,
    /// Nothing.
    Miss,
    /// Something that does not count: too old, not sealed for this, or of a token that is revoked here.
    Unusable,
    /// It did not say.
    Error,
}

impl SharedOutcome {
    /// Every outcome.
    pub const ALL: &[Self] = &[Self::Hit, Self::Miss, Self::Unusable, Self::Error];

    /// Its name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Unusable => "unusable",
            Self::Error => "error",
        }
    }
}

/// What became of an answer that was to be shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SharedWrite {
    /// It is in the store.
    Stored,
    /// It is too large, or too many others are on their way.
    Skipped,
    /// The store did not take it.
    Error,
}

impl SharedWrite {
    /// Every outcome.
    pub const ALL: &[Self] = &[Self::Stored, Self::Skipped, Self::Error];

    /// Its name in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Skipped => "skipped",
            Self::Error => "error",
        }
    }
}
