//! A private key: in a file, or in a token.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::super::scalar::FilePath;

/// Where a private key is.
#[derive(Clone, Debug)]
pub(in crate::config) enum PrivateKey {
    /// In this file, written as its path.
    File(FilePath),
    /// In a token, written as `{ pkcs11: {...} }`.
    Token(InToken),
}

/// A key that stays in a token, and signs there.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct InToken {
    /// Where it is in a token of PKCS#11, with its public key, which is there under the same label or ID.
    #[schemars(required)]
    pub(in crate::config) pkcs11: Option<Pkcs11>,
}

/// Where a key is in a token of PKCS#11.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Pkcs11 {
    /// The module: the library that comes with the token. It is loaded into the process of the gateway, and remains there.
    #[schemars(required)]
    pub(in crate::config) module: Option<FilePath>,
    /// The label of the token.
    #[schemars(required)]
    pub(in crate::config) token: Option<String>,
    /// The label of the private key.
    #[schemars(required)]
    pub(in crate::config) object: Option<String>,
    /// File with the PIN of the token's user: one line.
    #[schemars(required)]
    pub(in crate::config) pin_file: Option<FilePath>,
}

impl<'de> Deserialize<'de> for PrivateKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;

        impl<'de> Visitor<'de> for Forms {
            type Value = PrivateKey;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the path of a file, or { pkcs11: {...} }")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<PrivateKey, E> {
                FilePath::of(text).map(PrivateKey::File)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PrivateKey, A::Error> {
                InToken::deserialize(MapAccessDeserializer::new(map)).map(PrivateKey::Token)
            }
        }

        deserializer.deserialize_any(Forms)
    }
}

impl Serialize for PrivateKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::File(path) => path.serialize(serializer),
            Self::Token(token) => token.serialize(serializer),
        }
    }
}

impl JsonSchema for PrivateKey {
    fn schema_name() -> Cow<'static, str> {
        "PrivateKey".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The path of a file, or where the key is in a token.",
            "anyOf": [generator.subschema_for::<FilePath>(), generator.subschema_for::<InToken>()],
        })
    }
}
