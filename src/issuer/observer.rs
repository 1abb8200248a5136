//! What is counted of issuers.

use std::time::Duration;

/// Counts what happens here, for the metrics.
pub trait Observer: Send + Sync {
    /// A token was looked for among those that were verified before.
    fn token_cache(&self, issuer: &str, outcome: CacheOutcome);
    /// The keys were asked for.
    fn jwks_refresh(&self, issuer: &str, outcome: RefreshOutcome);
    /// The issuer was asked about a token.
    fn introspection(&self, issuer: &str, outcome: IntrospectionOutcome, took: Duration);
}

/// Nobody counts.
impl Observer for () {
    fn token_cache(&self, _: &str, _: CacheOutcome) {}

    fn jwks_refresh(&self, _: &str, _: RefreshOutcome) {}

    fn introspection(&self, _: &str, _: IntrospectionOutcome, _: Duration) {}
}

/// Whether a token was verified before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheOutcome {
    /// It was, with the keys of today.
    Hit,
    /// It was not.
    Miss,
}

/// What came of asking for the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefreshOutcome {
    /// A good set, the same as before or a new one.
    Success,
    /// No good set; the one from before stays.
    Failure,
}

/// What came of asking about a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IntrospectionOutcome {
    /// The issuer calls it active.
    Active,
    /// The issuer calls it inactive.
    Inactive,
    /// The issuer refuses the gateway itself: its credentials, or the way it asks.
    Unauthorized,
    /// An answer that says nothing: another status, another form, a signature that does not hold.
    Invalid,
    /// No answer in time.
    Timeout,
    /// No connection, or nowhere to connect to.
    Unreachable,
    /// Not asked, since too many wait.
    Busy,
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
        }
    }
}
