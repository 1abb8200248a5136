//! `profile`: what every route enforces at least, or one, and in which ecosystem.

use std::borrow::Cow;
use std::fmt;

use fapi::ecosystem::Ecosystem;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, StrDeserializer};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A FAPI profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub(in crate::config) enum Profile {
    /// FAPI 2.0 Security Profile.
    #[serde(rename = "fapi2-security")]
    Fapi2Security,
    /// FAPI 1.0 Security Profile, part 2: Advanced.
    #[serde(rename = "fapi1-advanced")]
    Fapi1Advanced,
}

impl Profile {
    /// The profile with this name.
    const fn named(self) -> fapi::profile::Profile {
        match self {
            Self::Fapi2Security => fapi::profile::Profile::Fapi2Security,
            Self::Fapi1Advanced => fapi::profile::Profile::Fapi1Advanced,
        }
    }
}

/// A FAPI profile, written as its name, or with an ecosystem.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) enum Profiles {
    /// Written as its name.
    Alone(Profile),
    /// Written as `{ base: ..., ecosystem: ... }`.
    In(InEcosystem),
}

/// A FAPI profile with what an ecosystem adds.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct InEcosystem {
    /// The FAPI profile. Required for all routes; for one, default: that of all.
    pub(in crate::config) base: Option<Profile>,
    /// The ecosystem whose header fields requests need, and whose form refusals have unless `errors` names another.
    #[schemars(required)]
    pub(in crate::config) ecosystem: Option<EcosystemName>,
}

/// An ecosystem, in a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub(in crate::config) enum EcosystemName {
    /// UK Open Banking, Read/Write API 3.1.
    #[serde(rename = "uk-obie-3.1")]
    UkObie31,
    /// UK Open Banking, Read/Write API 4.0.
    #[serde(rename = "uk-obie-4.0")]
    UkObie40,
    /// Open Finance Brazil.
    #[serde(rename = "brazil")]
    Brazil,
    /// Consumer Data Right of Australia.
    #[serde(rename = "cdr")]
    Cdr,
    /// Berlin Group, NextGenPSD2.
    #[serde(rename = "berlin-group")]
    BerlinGroup,
    /// Open Finance of the UAE.
    #[serde(rename = "uae")]
    Uae,
    /// Open Banking of Saudi Arabia.
    #[serde(rename = "ksa")]
    Ksa,
    /// Financial Data Exchange.
    #[serde(rename = "fdx")]
    Fdx,
    /// ConnectID of Australia.
    #[serde(rename = "connectid")]
    ConnectId,
    /// SMART on FHIR.
    #[serde(rename = "smart")]
    Smart,
}

impl Profiles {
    /// The FAPI profile, if it is said.
    pub(in crate::config) fn base(self) -> Option<fapi::profile::Profile> {
        match self {
            Self::Alone(profile) => Some(profile.named()),
            Self::In(InEcosystem { base, .. }) => base.map(Profile::named),
        }
    }

    /// What is written: the profile and the ecosystem.
    pub(in crate::config) const fn parts(self) -> (Option<Profile>, Option<EcosystemName>) {
        match self {
            Self::Alone(profile) => (Some(profile), None),
            Self::In(InEcosystem { base, ecosystem }) => (base, ecosystem),
        }
    }

    /// The ecosystem, if there is one.
    pub(in crate::config) fn ecosystem(self) -> Option<Ecosystem> {
        match self {
            Self::Alone(_) => None,
            Self::In(InEcosystem { ecosystem, .. }) => ecosystem.map(EcosystemName::named),
        }
    }
}

impl EcosystemName {
    const fn named(self) -> Ecosystem {
        match self {
            Self::UkObie31 => Ecosystem::UkObie31,
            Self::UkObie40 => Ecosystem::UkObie40,
            Self::Brazil => Ecosystem::Brazil,
            Self::Cdr => Ecosystem::Cdr,
            Self::BerlinGroup => Ecosystem::BerlinGroup,
            Self::Uae => Ecosystem::Uae,
            Self::Ksa => Ecosystem::Ksa,
            Self::Fdx => Ecosystem::Fdx,
            Self::ConnectId => Ecosystem::ConnectId,
            Self::Smart => Ecosystem::Smart,
        }
    }
}

impl<'de> Deserialize<'de> for Profiles {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;

        impl<'de> Visitor<'de> for Forms {
            type Value = Profiles;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the name of a profile, or { base: ..., ecosystem: ... }")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Profiles, E> {
                Profile::deserialize(StrDeserializer::new(text)).map(Profiles::Alone)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Profiles, A::Error> {
                InEcosystem::deserialize(MapAccessDeserializer::new(map)).map(Profiles::In)
            }
        }

        deserializer.deserialize_any(Forms)
    }
}

impl Serialize for Profiles {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Alone(profile) => profile.serialize(serializer),
            Self::In(profile) => profile.serialize(serializer),
        }
    }
}

impl JsonSchema for Profiles {
    fn schema_name() -> Cow<'static, str> {
        "Profiles".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The name of a FAPI profile, or a profile with an ecosystem.",
            "anyOf": [generator.subschema_for::<Profile>(), generator.subschema_for::<InEcosystem>()],
        })
    }
}
