//! `routes`, and the `upstreams` that they name.

use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::super::scalar::{Duration, FilePath, Size};
use super::{Cors, Enforce, IdempotencyKey, MediaTypes, NonceMode, Profiles, RateLimit, Require, Signature};

/// A group of equal resource servers.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Upstream {
    /// Their addresses: `http://` or `https://` with host and port, all alike, without path.
    #[schemars(required, length(min = 1))]
    pub(in crate::config) servers: Option<Vec<String>>,
    /// The version of HTTP that they speak. Default: `http1`.
    pub(in crate::config) protocol: Option<Protocol>,
    /// TLS towards them; only with `https://`.
    pub(in crate::config) tls: Option<ServerTls>,
    /// How long connecting may take, TLS included.
    #[schemars(extend("default" = "2s"))]
    pub(in crate::config) connect_timeout: Option<Duration>,
    /// How long a server may send nothing.
    #[schemars(extend("default" = "30s"))]
    pub(in crate::config) response_timeout: Option<Duration>,
    /// Largest header section of a response, from 1KiB to 1MiB; a larger one is answered with 502.
    #[schemars(extend("default" = "64KiB"))]
    pub(in crate::config) header_bytes: Option<Size>,
    /// How long an unused connection is kept; keep it below the servers' own, or a request may be sent on a connection
    /// that is just being closed.
    #[schemars(extend("default" = "60s"))]
    pub(in crate::config) idle_timeout: Option<Duration>,
    /// How servers are checked. Default: none.
    pub(in crate::config) health_check: Option<HealthCheck>,
    /// How much of it may be in use at a time.
    pub(in crate::config) limits: Option<UpstreamLimits>,
}

/// How much of an upstream may be in use at a time; more is answered with 503.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct UpstreamLimits {
    /// How many exchanges may be in progress.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 1000))]
    pub(in crate::config) exchanges: Option<u64>,
    /// How many of these, and of those that wait, may be of one client; more are answered with 429. Default: four fifths of
    /// `exchanges`, or of those that `connections` carry; no limit if these are fewer than five.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(in crate::config) exchanges_per_client: Option<u64>,
    /// How many more may wait, for `connect_timeout`, until one of these ends.
    #[schemars(range(max = 1_000_000), extend("default" = 200))]
    pub(in crate::config) waiting: Option<u64>,
    /// How many connections may be in use; one carries one exchange, or 100 with `protocol: http2`.
    #[schemars(range(min = 1, max = 1_000_000), extend("default" = 1000))]
    pub(in crate::config) connections: Option<u64>,
}

/// A version of HTTP, which is not negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2, by ALPN with `https://` and by prior knowledge with `http://`; what gRPC needs.
    Http2,
}

/// How servers are checked. One that fails receives no requests as long as there is another.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct HealthCheck {
    /// The path of a GET that has to be answered with 200 to 299. Default: connecting is enough, TLS included.
    pub(in crate::config) path: Option<String>,
    /// The pause between two checks of a server.
    #[schemars(extend("default" = "5s"))]
    pub(in crate::config) interval: Option<Duration>,
    /// How long a check may take.
    #[schemars(extend("default" = "1s"))]
    pub(in crate::config) timeout: Option<Duration>,
    /// How many checks in a row make an unhealthy server healthy.
    #[schemars(range(min = 1), extend("default" = 1))]
    pub(in crate::config) healthy_after: Option<u64>,
    /// How many failed checks in a row make a server unhealthy; at first it counts as healthy.
    #[schemars(range(min = 1), extend("default" = 3))]
    pub(in crate::config) unhealthy_after: Option<u64>,
}

/// TLS towards servers.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ServerTls {
    /// PEM files with the authorities that the servers' certificates chain to. Default: the system's.
    #[schemars(length(min = 1))]
    pub(in crate::config) trust_anchors: Option<Vec<FilePath>>,
    /// PEM file with the certificate chain that the gateway presents; requires `private_key`. Default: none.
    pub(in crate::config) certificate: Option<FilePath>,
    /// PEM file with the key of that certificate.
    pub(in crate::config) private_key: Option<FilePath>,
    /// The name that the servers' certificates must have. Default: each server's host.
    pub(in crate::config) server_name: Option<String>,
}

/// What may be called, by whom, and where it goes. Has `scopes` or `public: true`, never both.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("anyOf" = [{ "required": ["scopes"] }, { "required": ["public"] }]))]
pub(in crate::config) struct Route {
    /// Its name in metrics and the audit; unique.
    #[schemars(required)]
    pub(in crate::config) name: Option<String>,
    /// Literal segments, `*` for one segment, `{name}` for one that `require` knows by this name, `**` for the rest; the
    /// most specific route wins.
    #[schemars(required)]
    pub(in crate::config) path: Option<String>,
    /// The characters that the segments of `*`, `{name}` and `**` may have. Default: `strict`.
    pub(in crate::config) path_characters: Option<PathCharacters>,
    /// The hosts it answers for, among those of the listeners' origins. Default: all.
    #[schemars(length(min = 1))]
    pub(in crate::config) hosts: Option<Vec<String>>,
    /// The methods it accepts, in upper case.
    #[schemars(required, length(min = 1))]
    pub(in crate::config) methods: Option<Vec<String>>,
    /// With `true` no token is needed, and none is checked.
    #[schemars(extend("default" = false))]
    pub(in crate::config) public: Option<bool>,
    /// The scopes that a token must have: all of a list, or `{ all: [...] }`, or one of `{ any: [...] }`.
    pub(in crate::config) scopes: Option<Scopes>,
    /// The FAPI profile of this route: that of all routes, or a stricter one; its name, or `{ base: ..., ecosystem: ... }`. Default: that
    /// of all routes, with their ecosystem.
    pub(in crate::config) profile: Option<Profiles>,
    /// What a token needs beside its scopes. Default: nothing.
    pub(in crate::config) require: Option<Require>,
    /// From when on `sender_constraint`, `scopes` and `require` are enforced. Default: at once.
    pub(in crate::config) enforce: Option<Enforce>,
    /// The bindings of a token to its sender that are accepted. Default: certificate and dpop; with
    /// `profile: fapi1-advanced`, certificate.
    #[schemars(length(min = 1))]
    pub(in crate::config) sender_constraint: Option<Vec<SenderConstraint>>,
    /// DPoP on this route; only where `sender_constraint` has `dpop`.
    pub(in crate::config) dpop: Option<RouteDpop>,
    /// The issuers whose tokens are accepted, by name. Default: all.
    #[schemars(length(min = 1))]
    pub(in crate::config) issuers: Option<Vec<String>>,
    /// How long an introspection response is used on this route, if less than the issuer's own `max_age`; 0s asks every
    /// time. Default: the issuer's own.
    pub(in crate::config) introspection_max_age: Option<Duration>,
    /// The name of the upstream that the requests go to.
    #[schemars(required)]
    pub(in crate::config) upstream: Option<String>,
    /// What the upstream is told about the sender.
    pub(in crate::config) forward: Option<Forward>,
    /// What scripts of other origins may send and read here; replaces that of the listener as a whole. Default: that of the
    /// listener.
    pub(in crate::config) cors: Option<Cors>,
    /// How fast requests may come, each entry by something else; more are refused with 429. Default: as fast as they do.
    #[schemars(length(min = 1))]
    pub(in crate::config) rate_limits: Option<Vec<RateLimit>>,
    /// Limits of this route's exchanges, for those that are longer or larger than the others: streams, long polls, uploads.
    pub(in crate::config) limits: Option<RouteLimits>,
    /// Signatures of the messages (RFC 9421). Default: none are looked at, and none are made.
    pub(in crate::config) signature: Option<Signature>,
    /// Whether a POST, PUT or PATCH has `x-idempotency-key`: `required`, or `when_present`, or `{ presence: ..., keep: ... }`. Its client
    /// uses one for no other method, target or content, for 24 hours; the content is read as a whole before any of it is forwarded.
    /// Default: nobody looks.
    pub(in crate::config) idempotency_key: Option<IdempotencyKey>,
    /// The versions of the resource, one of which requests have to name with `x-v` and `x-min-v`; others are refused with 406. Only with
    /// the ecosystem `cdr`. Default: nobody looks.
    #[schemars(length(min = 1), inner(range(min = 1, max = 4_294_967_295_u64)))]
    pub(in crate::config) versions: Option<Vec<u64>>,
    /// The media types that it takes and answers with. Default: those of the ecosystem, or any without one.
    pub(in crate::config) media_types: Option<MediaTypes>,
    /// What happens to an exchange in progress when its token expires or is revoked.
    #[schemars(extend("default" = "continue"))]
    pub(in crate::config) on_expiry: Option<OnExpiry>,
    /// The form of the body that tells a client of a refusal here: `json`, `problem`, or one of `error_templates`. Default: the value
    /// of `errors`.
    pub(in crate::config) errors: Option<String>,
}

/// Limits of one route's exchanges.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct RouteLimits {
    /// Largest request body, above 0B. Default: `limits.body_bytes`; with `idempotency_key`, at most 256KiB.
    pub(in crate::config) body_bytes: Option<Size>,
    /// How long a request body may take, whatever its rate. Default: `limits.body_timeout` and `limits.body_min_rate`.
    pub(in crate::config) body_timeout: Option<Duration>,
    /// How long the upstream may send nothing. Default: `response_timeout` of the upstream.
    pub(in crate::config) response_timeout: Option<Duration>,
    /// How long an exchange may take. Default: `limits.exchange_timeout`.
    pub(in crate::config) exchange_timeout: Option<Duration>,
    /// How long the client may send nothing of a body, and read nothing of a response. Default: `limits.idle_timeout`,
    /// and for a body its own limits.
    pub(in crate::config) idle_timeout: Option<Duration>,
}

/// What happens to an exchange in progress when its token expires or is revoked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum OnExpiry {
    /// It may be completed, up to `exchange_timeout`.
    #[default]
    Continue,
    /// It is ended: when the token expires, and with the next part of a body once it is revoked.
    Close,
}

/// Which characters a segment may have that `*`, `{name}` or `**` matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum PathCharacters {
    /// Those that no decoder, normaliser or file system reads as others.
    #[default]
    Strict,
    /// Those of RFC 3986 that cannot change which route matches, such as `;`, `%25` and `%7E`.
    Uri,
}

/// A way of binding a token to its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum SenderConstraint {
    /// To a client certificate (RFC 8705); the scheme is Bearer.
    Certificate,
    /// To the key of a proof (RFC 9449); the scheme is DPoP.
    Dpop,
}

impl SenderConstraint {
    /// Its name in gateway.yaml.
    pub(in crate::config) const fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Dpop => "dpop",
        }
    }
}

/// DPoP on one route.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct RouteDpop {
    /// When a proof needs a nonce here. Default: the value of `dpop.nonce`.
    pub(in crate::config) nonce: Option<NonceMode>,
}

/// What the upstream is told about the sender.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Forward {
    /// Whether `Authorization` is forwarded, as received; only over TLS or to this machine.
    #[schemars(extend("default" = false))]
    pub(in crate::config) access_token: Option<bool>,
    /// What becomes of `DPoP`; the proof is kept only beside `access_token`, and at origins without a prefix.
    #[schemars(extend("default" = "remove"))]
    pub(in crate::config) dpop: Option<ForwardedProof>,
    /// Whether the client's certificate is forwarded in `Client-Cert` (RFC 9440).
    #[schemars(extend("default" = false))]
    pub(in crate::config) client_certificate: Option<bool>,
    /// Whether the authorities between that certificate and the trust anchor are forwarded in `Client-Cert-Chain` (RFC 9440
    /// section 2.3); only beside `client_certificate`, and only if a chain was verified.
    #[schemars(extend("default" = false))]
    pub(in crate::config) client_certificate_chain: Option<bool>,
    /// Claims of the token, and the headers that carry them.
    #[schemars(extend("default" = {}))]
    pub(in crate::config) claims: Option<BTreeMap<String, String>>,
    /// Variables of the path, and the headers that carry their segments, decoded; on public routes too.
    #[schemars(extend("default" = {}))]
    pub(in crate::config) path_variables: Option<BTreeMap<String, String>>,
    /// The header with what was verified as a JWT, which the first key of `signing` signs for each request. Default: none.
    pub(in crate::config) identity_jwt: Option<String>,
    /// The headers that are removed from requests, such as cookies and API keys, and what reads like them. Default: none.
    #[schemars(length(min = 1))]
    pub(in crate::config) strip: Option<Vec<String>>,
}

/// What becomes of the proof of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum ForwardedProof {
    /// It is removed.
    #[default]
    Remove,
    /// It is forwarded, as received, once it has been verified.
    Keep,
}

/// Which scopes a token must have.
#[derive(Debug)]
pub(in crate::config) enum Scopes {
    /// All, written as a plain list.
    List(Vec<String>),
    /// All, written as `{ all: [...] }`.
    All(Vec<String>),
    /// At least one, written as `{ any: [...] }`.
    Any(Vec<String>),
}

impl<'de> Deserialize<'de> for Scopes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;

        impl<'de> Visitor<'de> for Forms {
            type Value = Scopes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list such as [accounts], or { all: [...] }, or { any: [...] }")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Scopes, A::Error> {
                let mut names = Vec::new();
                while let Some(name) = list.next_element()? {
                    names.push(name);
                }
                Ok(Scopes::List(names))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scopes, A::Error> {
                let scopes = match map.next_key::<String>()?.as_deref() {
                    Some("all") => Scopes::All(map.next_value()?),
                    Some("any") => Scopes::Any(map.next_value()?),
                    Some(_) | None => return Err(A::Error::invalid_value(Unexpected::Map, &self)),
                };
                match map.next_entry::<String, IgnoredAny>()? {
                    None => Ok(scopes),
                    Some(_) => Err(A::Error::invalid_value(Unexpected::Map, &self)),
                }
            }
        }

        deserializer.deserialize_any(Forms)
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::List(names) => names.serialize(serializer),
            Self::All(names) => BTreeMap::from([("all", names)]).serialize(serializer),
            Self::Any(names) => BTreeMap::from([("any", names)]).serialize(serializer),
        }
    }
}

impl JsonSchema for Scopes {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scopes".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut names = generator.subschema_for::<Vec<String>>();
        names.insert("minItems".to_owned(), 1.into());
        let one_of = |key: &str| {
            json_schema!({
                "type": "object",
                "properties": { key: names },
                "required": [key],
                "additionalProperties": false,
            })
        };
        json_schema!({
            "description": "Which scopes a token must have: all of a list, or one of `any`.",
            "oneOf": [names, one_of("all"), one_of("any")],
        })
    }
}
