//! What a client learns of the rates at which it may send requests (draft-ietf-httpapi-ratelimit-headers-11, RFC 6585
//! §4).
//!
//! Does not count anything: that takes a clock, and is up to the caller.

use std::fmt;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use crate::code::Code;

/// The field with what is allowed (draft §3).
pub const RATELIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
/// The field with what is left of it (draft §4).
pub const RATELIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// Whose requests a limit counts together, in the order in which limits are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum By {
    /// Those from one network address, whatever they carry.
    Address,
    /// Those with tokens that are bound to one certificate or key.
    Sender,
    /// Those of one client of an issuer.
    Client,
    /// Those with tokens of one issuer.
    Issuer,
}

impl By {
    /// The name in the configuration, in metrics and in the fields.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Sender => "sender",
            Self::Client => "client",
            Self::Issuer => "issuer",
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A limit as clients are told of it: so many requests within so many seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaPolicy {
    /// Whose requests it counts, which is also its name.
    pub by: By,
    /// How many requests.
    pub quota: u64,
    /// Within how many seconds; at least 1.
    pub window: u64,
}

/// What is left of a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceLimit {
    /// Whose requests it counts.
    pub by: By,
    /// How many more requests may come.
    pub available: u64,
    /// Within how many seconds no more than these may come.
    pub window: u64,
}

/// What the response to a request on a limited route tells of the limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimitFields {
    policies: Arc<str>,
    limits: Vec<ServiceLimit>,
}

impl RateLimitFields {
    /// Tells of these policies, as [`RateLimitFields::policies`] writes them, and nothing yet of what is left.
    pub const fn new(policies: Arc<str>) -> Self {
        Self { policies, limits: Vec::new() }
    }

    /// The value of `RateLimit-Policy`: a list of strings with parameters (RFC 9651 §3.1, draft §3.1).
    pub fn policies(policies: &[QuotaPolicy]) -> Arc<str> {
        list(policies.iter().map(|QuotaPolicy { by, quota, window }| format!("\"{by}\";q={quota};w={window}"))).into()
    }

    /// Adds what is left of a limit.
    pub fn add(&mut self, limit: ServiceLimit) {
        self.limits.push(limit);
    }

    /// The fields of the response; `RateLimit` only if something is known of what is left.
    pub fn fields(&self) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let left = self.limits.iter();
        let left =
            list(left.map(|ServiceLimit { by, available, window }| format!("\"{by}\";r={available};t={window}")));
        let fields = [(RATELIMIT_POLICY, self.policies.to_string()), (RATELIMIT, left)];
        let written = fields.into_iter().filter(|(_, value)| !value.is_empty());
        written.filter_map(|(name, value)| Some((name, HeaderValue::try_from(value).ok()?)))
    }
}

fn list(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(", ")
}

/// Requests come faster than a limit of the route allows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("requests by {by} are limited to {limit}; the next may come in {retry_after}s")]
pub struct RateLimited {
    /// Whose requests the limit counts.
    pub by: By,
    /// The limit, as the configuration writes it.
    pub limit: Arc<str>,
    /// In how many seconds the next request may come, rounded up.
    pub retry_after: u64,
}

impl RateLimited {
    /// The stable code.
    pub const fn code(&self) -> Code {
        Code::RateLimited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_lists_of_strings_with_parameters() {
        let policy = |by, quota, window| QuotaPolicy { by, quota, window };
        let policies = RateLimitFields::policies(&[policy(By::Address, 20, 1), policy(By::Client, 100, 2)]);
        let mut limits = RateLimitFields::new(policies);
        let fields = |limits: &RateLimitFields| {
            limits.fields().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect::<Vec<_>>()
        };
        let policies = "ratelimit-policy: \"address\";q=20;w=1, \"client\";q=100;w=2";
        assert_eq!(fields(&limits), [policies]);
        limits.add(ServiceLimit { by: By::Address, available: 19, window: 1 });
        limits.add(ServiceLimit { by: By::Client, available: 0, window: 3 });
        assert_eq!(fields(&limits), [policies, "ratelimit: \"address\";r=19;t=1, \"client\";r=0;t=3"]);
    }
}
