//! `routes[].versions`, `media_types` and `idempotency_key`: header fields of requests.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::super::scalar::Duration;

/// The media types of a route, without parameters.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct MediaTypes {
    /// Those of the content of requests, such as `application/json`; others are refused with 415. Default: those of the ecosystem, or
    /// any without one.
    #[schemars(length(min = 1))]
    pub(in crate::config) requests: Option<Vec<String>>,
    /// Those of responses, one of which `Accept` has to admit if it is there; otherwise the request is refused with 406. Default: those
    /// of the ecosystem, or any without one.
    #[schemars(length(min = 1))]
    pub(in crate::config) responses: Option<Vec<String>>,
}

/// Whether a request has to have an idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum KeyPresence {
    /// It has to; one without is refused.
    Required,
    /// It need not; one that is there counts.
    WhenPresent,
}

/// Idempotency keys of a route.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) enum IdempotencyKey {
    /// Written as `required` or `when_present`.
    Alone(KeyPresence),
    /// Written as `{ presence: ..., keep: ... }`.
    With(IdempotencyKeys),
}

/// Whether there is an idempotency key, and for how long it is remembered.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct IdempotencyKeys {
    /// Whether a request has to have one.
    #[schemars(required)]
    pub(in crate::config) presence: Option<KeyPresence>,
    /// For how long it is remembered, from 60s to 72h.
    #[schemars(extend("default" = "24h"))]
    pub(in crate::config) keep: Option<Duration>,
}

impl IdempotencyKey {
    /// Both parts, as far as they are said.
    pub(in crate::config) const fn parts(self) -> IdempotencyKeys {
        match self {
            Self::Alone(presence) => IdempotencyKeys { presence: Some(presence), keep: None },
            Self::With(keys) => keys,
        }
    }
}

impl<'de> Deserialize<'de> for IdempotencyKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;

        impl<'de> Visitor<'de> for Forms {
            type Value = IdempotencyKey;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`required` or `when_present`, or { presence: ..., keep: ... }")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<IdempotencyKey, E> {
                KeyPresence::deserialize(StrDeserializer::new(text)).map(IdempotencyKey::Alone)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<IdempotencyKey, A::Error> {
                IdempotencyKeys::deserialize(MapAccessDeserializer::new(map)).map(IdempotencyKey::With)
            }
        }

        deserializer.deserialize_any(Forms)
    }
}

impl Serialize for IdempotencyKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Alone(presence) => presence.serialize(serializer),
            Self::With(keys) => keys.serialize(serializer),
        }
    }
}

impl JsonSchema for IdempotencyKey {
    fn schema_name() -> Cow<'static, str> {
        "IdempotencyKey".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Whether a request has to have an idempotency key, alone or with the time for which it is remembered.",
            "anyOf": [generator.subschema_for::<KeyPresence>(), generator.subschema_for::<IdempotencyKeys>()],
        })
    }
}
