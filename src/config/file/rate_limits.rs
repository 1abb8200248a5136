//! `rate_limits`, and those of a route.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::rate_limits::Unit;

/// Where the requests are counted that `rate_limits` of routes limit.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct RateLimits {
    /// Where they are counted: `memory` is this process alone; any other is the name of one of `stores`, in which replicas share what
    /// was used.
    #[schemars(extend("default" = "memory"))]
    pub(in crate::config) store: Option<String>,
    /// How many addresses, senders, clients and issuers are counted at a time, for all routes together. When there are more,
    /// those of the most numerous limit that are whole again first are forgotten.
    #[schemars(range(min = 1000, max = 10_000_000), extend("default" = 100_000))]
    pub(in crate::config) max_keys: Option<u64>,
}

/// How fast requests may come; more are refused with 429.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct RateLimit {
    /// Whose requests are counted together; each choice at most once on a route.
    #[schemars(required)]
    pub(in crate::config) by: Option<CountedBy>,
    /// How many may come in the long run, such as `50/s`, `600/min` or `10/h`; up to 1000000 in its unit.
    #[schemars(required)]
    pub(in crate::config) rate: Option<Rate>,
    /// How many may come at once, after a pause. Default: the number in `rate`.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(in crate::config) burst: Option<u64>,
}

/// Whose requests are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum CountedBy {
    /// Those from one address, for IPv6 one network of 64 bits, before their credentials are looked at.
    Address,
    /// Those with tokens that are bound to one certificate or key.
    Sender,
    /// Those of one `client_id` of one issuer.
    Client,
    /// Those with tokens of one issuer.
    Issuer,
}

/// A number of requests in a unit of time.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Rate {
    pub(in crate::config) requests: u64,
    pub(in crate::config) per: Unit,
}

impl Rate {
    fn parse(text: &str) -> Option<Self> {
        let (requests, unit) = text.split_once('/')?;
        let per = Unit::ALL.into_iter().find(|per| per.as_str() == unit)?;
        // A sign is no part of a number here.
        let digits = !requests.is_empty() && requests.bytes().all(|byte| byte.is_ascii_digit());
        // What does not fit is out of range, whatever it is.
        digits.then(|| Self { requests: requests.parse().unwrap_or(u64::MAX), per })
    }
}

impl<'de> Deserialize<'de> for Rate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PerUnit;

        impl Visitor<'_> for PerUnit {
            type Value = Rate;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a rate such as `50/s`, `600/min` or `10/h`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Rate, E> {
                Rate::parse(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(PerUnit)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.requests, self.per.as_str())
    }
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Rate {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Rate".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number of requests in a unit of time, such as `50/s`, `600/min` or `10/h`.",
            "type": "string",
            "pattern": r"^[0-9]+/(s|min|h)$|\$\{",
        })
    }
}
