//! `routes[].require`: what a route requires of a token beside its scopes.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::super::scalar::Duration;

/// What a route requires of a token beside its scopes, all of it.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Require {
    /// The clients that the route is for, by `client_id`. Default: all.
    pub(in crate::config) clients: Option<RequiredClients>,
    /// With `required`, the token has to stand for somebody: it has a `sub` that is not its client's. Default: it need not.
    pub(in crate::config) subject: Option<RequiredSubject>,
    /// The longest time from `iat` to `exp`; whole seconds. Default: any.
    pub(in crate::config) token_lifetime: Option<Duration>,
    /// Claims that the token has to have.
    #[schemars(length(min = 1))]
    pub(in crate::config) claims: Option<Vec<RequiredClaim>>,
    /// How strongly and how recently its user has to be authenticated (RFC 9470).
    pub(in crate::config) authentication: Option<RequiredAuthentication>,
}

/// The clients that a route is for.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct RequiredClients {
    /// Only these.
    #[schemars(length(min = 1))]
    pub(in crate::config) allow: Option<Vec<String>>,
    /// All but these.
    #[schemars(length(min = 1))]
    pub(in crate::config) deny: Option<Vec<String>>,
}

/// Whether a token has to stand for somebody other than its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum RequiredSubject {
    /// It has to: a client that acts for itself is refused.
    Required,
}

/// A claim, and what it has to be: `equals`, `one_of` or `contains`. Values are compared exactly, and only with values of the
/// same type.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [{ "required": ["equals"] }, { "required": ["one_of"] }, { "required": ["contains"] }]))]
pub(in crate::config) struct RequiredClaim {
    /// The JSON pointer to it, such as `/consent/status` (RFC 6901).
    #[schemars(required)]
    pub(in crate::config) claim: Option<String>,
    /// The value that it has to be.
    pub(in crate::config) equals: Option<Scalar>,
    /// The values of which it has to be one.
    #[schemars(length(min = 1))]
    pub(in crate::config) one_of: Option<Vec<Scalar>>,
    /// The value that it has to contain; it is a list then.
    pub(in crate::config) contains: Option<Scalar>,
}

/// How strongly and how recently a user has to be authenticated; what is not met is answered with what is needed, so that the
/// client can obtain it.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct RequiredAuthentication {
    /// The values of `acr` that are accepted, in order of preference. Default: any, or none.
    #[schemars(length(min = 1))]
    pub(in crate::config) acr: Option<Vec<String>>,
    /// How long ago `auth_time` may be; whole seconds, from 0s to 24h; 10 seconds more are allowed for the clocks. Default: any
    /// time.
    pub(in crate::config) max_age: Option<Duration>,
}

/// A value of a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) enum Scalar {
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// `true` or `false`.
    Bool(bool),
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Kinds;

        impl Visitor<'_> for Kinds {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a whole number, `true` or `false`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar::Text(text.to_owned()))
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Scalar, E> {
                Ok(Scalar::Bool(value))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar::Number(number))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Scalar, E> {
                i64::try_from(number).map(Scalar::Number).map_err(|_| E::custom("the number is too large"))
            }
        }

        deserializer.deserialize_any(Kinds)
    }
}

impl Serialize for Scalar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Number(number) => serializer.serialize_i64(*number),
            Self::Bool(value) => serializer.serialize_bool(*value),
        }
    }
}

impl JsonSchema for Scalar {
    fn schema_name() -> Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A text, a whole number, `true` or `false`.",
            "type": ["string", "integer", "boolean"],
        })
    }
}
