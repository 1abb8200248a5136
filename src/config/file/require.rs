//! `routes[].require`: what a route requires of a token beside its scopes.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use fapi::participant::Role;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, IgnoredAny, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::super::scalar::Duration;
use super::consents::RequiredConsent;

/// What a route requires of a token beside its scopes, all of it.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Require {
    /// The clients that the route is for, by `client_id`. Default: all.
    pub(in crate::config) clients: Option<RequiredClients>,
    /// The directory in which the client has to be an active participant. Default: it need not be in any.
    pub(in crate::config) participant: Option<RequiredParticipant>,
    /// For whom the token has to stand: with `required` for somebody other than its client, with `client` for that itself. Default: for
    /// anybody.
    pub(in crate::config) subject: Option<RequiredSubject>,
    /// The longest time from `iat` to `exp`; whole seconds. Default: any.
    pub(in crate::config) token_lifetime: Option<Duration>,
    /// Claims that the token has to have.
    #[schemars(length(min = 1))]
    pub(in crate::config) claims: Option<Vec<RequiredClaim>>,
    /// What the token's `authorization_details` must have (RFC 9396): for each entry, one element that meets all of it.
    #[schemars(length(min = 1))]
    pub(in crate::config) authorization_details: Option<Vec<RequiredDetail>>,
    /// The consent that the request uses.
    pub(in crate::config) consent: Option<RequiredConsent>,
    /// How strongly and how recently its user has to be authenticated (RFC 9470).
    pub(in crate::config) authentication: Option<RequiredAuthentication>,
    /// What the client's certificate has to say, beside what the ecosystem of the route asks for.
    pub(in crate::config) certificate: Option<RequiredCertificate>,
}

/// What the client's certificate has to say. It counts on listeners that verify chains alone.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct RequiredCertificate {
    /// Roles of payment service providers, of which it has to have one (ETSI TS 119 495). Default: with `uk-obie-3.1` and `uk-obie-4.0`
    /// those of the scopes, with `berlin-group` those of the service in the path, otherwise none is needed.
    #[schemars(length(min = 1))]
    pub(in crate::config) roles: Option<Vec<RoleName>>,
    /// The claim that is its organisation: the `organizationIdentifier` of its subject, such as `PSDGB-FCA-123456`; in `brazil` the UUID of
    /// the participant. Default: any.
    pub(in crate::config) organisation: Option<CertificateClaim>,
    /// The claim that is its software: the `UID` of its subject. Default: any.
    pub(in crate::config) software: Option<CertificateClaim>,
}

/// A claim that is compared with a certificate.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct CertificateClaim {
    /// The JSON pointer to it, such as `/organization_id` (RFC 6901).
    #[schemars(required)]
    pub(in crate::config) claim: Option<String>,
}

/// A role of a payment service provider (ETSI TS 119 495 §5.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub(in crate::config) enum RoleName {
    /// Account servicing.
    #[serde(rename = "PSP_AS")]
    AccountServicing,
    /// Payment initiation.
    #[serde(rename = "PSP_PI")]
    PaymentInitiation,
    /// Account information.
    #[serde(rename = "PSP_AI")]
    AccountInformation,
    /// Issuing of card-based payment instruments.
    #[serde(rename = "PSP_IC")]
    CardIssuing,
    /// International central banks.
    #[serde(rename = "PSP_CB")]
    CentralBank,
    /// International public authorities.
    #[serde(rename = "PSP_PA")]
    PublicAuthority,
    /// Of the verification of payees.
    #[serde(rename = "VOP_RS")]
    VopRs,
    /// Of the verification of payees.
    #[serde(rename = "VOP_VS")]
    VopVs,
}

impl RoleName {
    /// The role with this name.
    pub(in crate::config) const fn named(self) -> Role {
        match self {
            Self::AccountServicing => Role::AccountServicing,
            Self::PaymentInitiation => Role::PaymentInitiation,
            Self::AccountInformation => Role::AccountInformation,
            Self::CardIssuing => Role::CardIssuing,
            Self::CentralBank => Role::CentralBank,
            Self::PublicAuthority => Role::PublicAuthority,
            Self::VopRs => Role::VopRs,
            Self::VopVs => Role::VopVs,
        }
    }

    /// The name of a role; none of one that is not specified, which nobody can ask for.
    pub(in crate::config) const fn of(role: Role) -> Option<Self> {
        Some(match role {
            Role::Unspecified => return None,
            Role::AccountServicing => Self::AccountServicing,
            Role::PaymentInitiation => Self::PaymentInitiation,
            Role::AccountInformation => Self::AccountInformation,
            Role::CardIssuing => Self::CardIssuing,
            Role::CentralBank => Self::CentralBank,
            Role::PublicAuthority => Self::PublicAuthority,
            Role::VopRs => Self::VopRs,
            Role::VopVs => Self::VopVs,
        })
    }
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

/// The participant that a token names, which has to be active in a directory: its `organisation`, its `software`, or both, of which the
/// software has to be the organisation's.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("anyOf" = [{ "required": ["organisation"] }, { "required": ["software"] }]))]
pub(in crate::config) struct RequiredParticipant {
    /// One of `directories`, by its name.
    #[schemars(required)]
    pub(in crate::config) directory: Option<String>,
    /// What names the organisation.
    pub(in crate::config) organisation: Option<NamedBy>,
    /// What names the software. Software is active only if its organisation is.
    pub(in crate::config) software: Option<NamedBy>,
    /// The roles, one of which the participant has to have; as the directory writes them, such as `DADOS` or `AISP`. Default: any, or
    /// none.
    #[schemars(length(min = 1))]
    pub(in crate::config) roles: Option<Vec<String>>,
}

/// What names an organisation or software.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct NamedBy {
    /// The JSON pointer to the claim that has its id, such as `/org_id` (RFC 6901).
    #[schemars(required)]
    pub(in crate::config) claim: Option<String>,
}

/// For whom a token has to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum RequiredSubject {
    /// For somebody: it has a `sub` that is not its client's, and a client that acts for itself is refused.
    Required,
    /// For the client itself: it has no `sub` but the client's, and one that a user has given rights is refused.
    Client,
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
    /// What it has to be: a value, or what the request has, such as `{ path: account_id }`; not a member of the body.
    pub(in crate::config) equals: Option<Operand>,
    /// The values of which it has to be one.
    #[schemars(length(min = 1))]
    pub(in crate::config) one_of: Option<Vec<Scalar>>,
    /// What it has to contain; it is a list then.
    pub(in crate::config) contains: Option<Operand>,
}

/// What one element of `authorization_details` must have, all of it.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct RequiredDetail {
    /// The type of the element.
    #[serde(rename = "type")]
    #[schemars(required)]
    pub(in crate::config) kind: Option<String>,
    /// The actions that it must have, all of them.
    #[schemars(length(min = 1))]
    pub(in crate::config) actions: Option<Vec<String>>,
    /// The locations that it must have, all of them, compared exactly.
    #[schemars(length(min = 1))]
    pub(in crate::config) locations: Option<Vec<String>>,
    /// The privileges that it must have, all of them.
    #[schemars(length(min = 1))]
    pub(in crate::config) privileges: Option<Vec<String>>,
    /// What other members of it must be.
    #[serde(rename = "match")]
    #[schemars(length(min = 1))]
    pub(in crate::config) members: Option<Vec<RequiredMember>>,
    /// The members that it may have beside those that are named here, which any other member might limit; `[]` means none.
    /// Default: any.
    pub(in crate::config) harmless_members: Option<Vec<String>>,
}

/// A member of an element, and what it has to be: `equals`, `one_of`, `contains` or `covers`.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("oneOf" = [
    { "required": ["equals"] },
    { "required": ["one_of"] },
    { "required": ["contains"] },
    { "required": ["covers"] },
]))]
pub(in crate::config) struct RequiredMember {
    /// The JSON pointer to it from the element, such as `/creditorAccount/iban` (RFC 6901).
    #[schemars(required)]
    pub(in crate::config) detail: Option<String>,
    /// What it has to be: a value, or what the request has, such as `{ path: account_id }`.
    pub(in crate::config) equals: Option<Operand>,
    /// The values of which it has to be one.
    #[schemars(length(min = 1))]
    pub(in crate::config) one_of: Option<Vec<Scalar>>,
    /// What it has to contain; it is a list then.
    pub(in crate::config) contains: Option<Operand>,
    /// The amount in the body that it has to cover, such as `{ body: /instructedAmount }`: in the same currency, and not more.
    pub(in crate::config) covers: Option<Operand>,
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

/// What a claim or a member is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::config) enum Operand {
    /// A value.
    Value(Scalar),
    /// The variable of the path with this name, written as `{ path: name }`.
    Path(String),
    /// The parameter of the query with this name, written as `{ query: name }`.
    Query(String),
    /// The method, written as `{ method: true }`.
    Method,
    /// The member of the body that this JSON pointer names, written as `{ body: /pointer }`.
    Body(String),
}

impl<'de> Deserialize<'de> for Operand {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;

        impl<'de> Visitor<'de> for Forms {
            type Value = Operand;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(OPERANDS)
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Operand, E> {
                Ok(Operand::Value(Scalar::Text(text.to_owned())))
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Operand, E> {
                Ok(Operand::Value(Scalar::Bool(value)))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Operand, E> {
                Ok(Operand::Value(Scalar::Number(number)))
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Operand, E> {
                Scalar::whole(number).map(Operand::Value)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Operand, A::Error> {
                let invalid = || A::Error::invalid_value(Unexpected::Map, &self);
                let operand = match map.next_key::<String>()?.as_deref() {
                    Some("path") => Operand::Path(map.next_value()?),
                    Some("query") => Operand::Query(map.next_value()?),
                    Some("method") if map.next_value()? => Operand::Method,
                    Some("body") => Operand::Body(map.next_value()?),
                    Some(_) | None => return Err(invalid()),
                };
                match map.next_entry::<String, IgnoredAny>()? {
                    None => Ok(operand),
                    Some(_) => Err(invalid()),
                }
            }
        }

        deserializer.deserialize_any(Forms)
    }
}

const OPERANDS: &str = "a text, a whole number, `true`, `false`, `{ path: name }`, `{ query: name }`, `{ method: true }` or `{ body: /pointer }`";

impl Serialize for Operand {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => value.serialize(serializer),
            Self::Path(name) => BTreeMap::from([("path", name)]).serialize(serializer),
            Self::Query(name) => BTreeMap::from([("query", name)]).serialize(serializer),
            Self::Method => BTreeMap::from([("method", true)]).serialize(serializer),
            Self::Body(pointer) => BTreeMap::from([("body", pointer)]).serialize(serializer),
        }
    }
}

impl JsonSchema for Operand {
    fn schema_name() -> Cow<'static, str> {
        "Operand".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let form = |key: &str, value: Schema| {
            json_schema!({
                "type": "object",
                "properties": { key: value },
                "required": [key],
                "additionalProperties": false,
            })
        };
        let path = json_schema!({ "description": "The name of a variable of the path.", "type": "string" });
        let query = json_schema!({ "description": "The name of a parameter of the query.", "type": "string" });
        let method = json_schema!({ "description": "The method.", "const": true });
        let body = json_schema!({ "description": "The JSON pointer to a member of the body.", "type": "string" });
        json_schema!({
            "description": format!("What it is compared with: {OPERANDS}."),
            "oneOf": [
                { "type": ["string", "integer", "boolean"] },
                form("path", path),
                form("query", query),
                form("method", method),
                form("body", body),
            ],
        })
    }
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

impl Scalar {
    fn whole<E: Error>(number: u64) -> Result<Self, E> {
        i64::try_from(number).map(Self::Number).map_err(|_| E::custom("the number is too large"))
    }
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
                Scalar::whole(number)
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
