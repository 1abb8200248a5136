//! gateway.yaml as it is written: strings, numbers and choices, nothing looked up yet.
//!
//! Every key is optional here, so that [`compile`](super::compile) can report all that are absent at once. A doc comment of
//! these files is the description of its key in the JSON Schema.

mod access_token;
mod audit;
mod authorization_servers;
mod consents;
mod cors;
mod directories;
mod enforce;
mod errors;
mod fields;
mod issuers;
mod listeners;
mod metadata;
mod private_key;
mod profile;
mod rate_limits;
mod require;
mod routes;
mod signature;
mod signing;
mod stores;
mod tracing;
mod waivers;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::scalar::{Duration, FilePath, Size};

pub(super) use self::access_token::{AccessToken, AccessTokenKind, Dispensable, ScopeForm, TokenType};
pub(super) use self::audit::{
    Audit, AuditCollector, Chain, Evidence, OnOverflow, Pseudonymize, PseudonymizedField, Rotate, Syslog,
};
pub(super) use self::authorization_servers::{
    AuthorizationServer, OrganisationAttribute, OtherParameters, Registration, SenderConstrained, ServerProfile,
    SoftwareAttribute, SoftwareStatements, UnknownClients,
};
pub(super) use self::consents::{
    ConsentCache, ConsentPlace, ConsentService, ConsentStatus, ConsentUse, RequiredConsent,
};
pub(super) use self::cors::Cors;
pub(super) use self::directories::{Directory, DirectoryKind};
pub(super) use self::enforce::Enforce;
pub(super) use self::errors::ErrorTemplate;
pub(super) use self::fields::{IdempotencyKey, IdempotencyKeys, KeyPresence, MediaTypes};
pub(super) use self::issuers::{
    Algorithm, Authentication, AuthenticationMethod, DecryptionKey, Introspection, IntrospectionCache, Issuer,
    IssuerAlgorithm, Jwks, MissingAudience, Response, Tokens,
};
pub(super) use self::listeners::{
    Admin, AdminTls, ClientCertificates, Dialect, ExtendedKeyUsage, ForwardedClientCertificate, Listener, ListenerTls,
    Mode, OnExpired, Proxies, ProxyProtocol, Revocations, Trust,
};
pub(super) use self::metadata::{Metadata, Resource};
pub(super) use self::private_key::{InToken, PrivateKey};
pub(super) use self::profile::{InEcosystem, Profiles};
pub(super) use self::rate_limits::{CountedBy, Rate, RateLimit, RateLimits};
pub(super) use self::require::{
    CertificateClaim, NamedBy, Operand, Require, RequiredAuthentication, RequiredCertificate, RequiredClaim,
    RequiredClients, RequiredDetail, RequiredMember, RequiredParticipant, RequiredSubject, RoleName, Scalar,
};
pub(super) use self::routes::{
    ForwardedProof, HealthCheck, OnExpiry, PathCharacters, Protocol, Route, RouteLimits, Scopes, SenderConstraint,
    ServerTls, Upstream, UpstreamLimits,
};
pub(super) use self::signature::{
    ClientKeys, Signature, SignatureProfile, SignatureReplay, SignedForward, SignedRequests,
};
pub(super) use self::signing::{Signing, SigningKey};
pub(super) use self::stores::{Sentinel, SharedRevocations, Store, StoreMode};
pub(super) use self::tracing::{CollectorTls, OtlpProtocol, Tracing};
pub(super) use self::waivers::Waiver;

/// Configuration of fapi-gateway. Unknown keys are errors; relative paths are relative to this file.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct File {
    /// The FAPI profile that every route enforces at least: its name, or `{ base: ..., ecosystem: ... }` with what an ecosystem adds.
    #[schemars(required)]
    pub(in crate::config) profile: Option<Profiles>,
    /// Other files that add `routes`, `upstreams` and `issuers`, and nothing else: files, or folders, of which every `.yaml`
    /// and `.yml` file is read in the order of their names. Default: none.
    #[schemars(length(min = 1))]
    pub(in crate::config) include: Option<Vec<FilePath>>,
    /// Rules of the profile that are suspended for an issuer or a route, each with an end. Default: none.
    pub(in crate::config) waivers: Option<Vec<Waiver>>,
    /// Where clients connect; at least one.
    #[schemars(required)]
    pub(in crate::config) listeners: Option<Vec<Listener>>,
    /// The operators' own listener: metrics, probes and revocations. Default: none.
    pub(in crate::config) admin: Option<Admin>,
    /// The authorization servers whose tokens are accepted. Needed unless every route is public.
    pub(in crate::config) issuers: Option<Vec<Issuer>>,
    /// The cache of verified tokens.
    pub(in crate::config) token_cache: Option<TokenCache>,
    /// How long a DPoP proof is valid, and how nonces work (RFC 9449).
    pub(in crate::config) dpop: Option<Dpop>,
    /// Servers in which replicas share what they remember, by name. Default: none, so that each process remembers for itself.
    pub(in crate::config) stores: Option<BTreeMap<String, Store>>,
    /// The record of DPoP proofs that were used.
    pub(in crate::config) replay: Option<Replay>,
    /// Where revocations are kept that `admin.revocations` accepts.
    pub(in crate::config) revocations: Option<SharedRevocations>,
    /// Where the requests are counted that `rate_limits` of routes limit.
    pub(in crate::config) rate_limits: Option<RateLimits>,
    /// Limits on what a client may use.
    pub(in crate::config) limits: Option<Limits>,
    /// The resource servers, by name.
    #[schemars(required)]
    pub(in crate::config) upstreams: Option<BTreeMap<String, Upstream>>,
    /// What may be called; everything else is refused. At least one, unless there are `authorization_servers`.
    pub(in crate::config) routes: Option<Vec<Route>>,
    /// The authorization servers in front of which FAPI is enforced. Default: none.
    #[schemars(length(min = 1))]
    pub(in crate::config) authorization_servers: Option<Vec<AuthorizationServer>>,
    /// The form of the body that tells a client of a refusal, on routes without their own `errors` and where there is no route.
    /// `json` has `error` and `error_description`; `problem` is `application/problem+json` (RFC 9457), with the same two members
    /// beside its own; any other is the name of one of `error_templates`.
    #[schemars(extend("default" = "json"))]
    pub(in crate::config) errors: Option<String>,
    /// Forms of that body that others prescribe, by name. Default: none.
    pub(in crate::config) error_templates: Option<BTreeMap<String, ErrorTemplate>>,
    /// Public documents that tell clients how to call the resources (RFC 9728). Default: there are none.
    pub(in crate::config) metadata: Option<Metadata>,
    /// Where the keys are of clients that sign their requests, by names that `signature.keys` of routes has. Default: none.
    pub(in crate::config) client_keys: Option<BTreeMap<String, ClientKeys>>,
    /// Services that say in which state consents are, by name, for `require.consent` of routes. Default: none.
    pub(in crate::config) consents: Option<BTreeMap<String, ConsentService>>,
    /// Directories of the participants of an ecosystem, by names that `require.participant` of routes has. Default: none.
    pub(in crate::config) directories: Option<BTreeMap<String, Directory>>,
    /// The gateway's own keys, for `forward.identity_jwt`, `metadata.signed` and `signature.response`. Default: none.
    pub(in crate::config) signing: Option<Signing>,
    /// One JSON line for each exchange.
    pub(in crate::config) audit: Option<Audit>,
    /// The log, on standard error.
    pub(in crate::config) log: Option<Log>,
    /// Where the spans of exchanges go. Default: none are recorded.
    pub(in crate::config) tracing: Option<Tracing>,
    /// How changes of this file, and of the files that it names, take effect.
    pub(in crate::config) reload: Option<Reload>,
    /// How the gateway stops when it is told to.
    pub(in crate::config) drain: Option<Drain>,
}

/// The cache of verified tokens; a token is never used past its `exp`.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct TokenCache {
    /// How many tokens are remembered; the least recently used are forgotten first.
    #[schemars(range(min = 1), extend("default" = 100_000))]
    pub(in crate::config) max_entries: Option<u64>,
    /// How much memory they may take; from 1MiB to 64GiB.
    #[schemars(extend("default" = "128MiB"))]
    pub(in crate::config) max_bytes: Option<Size>,
    /// How long a token is remembered.
    #[schemars(extend("default" = "300s"))]
    pub(in crate::config) max_age: Option<Duration>,
}

/// How long a DPoP proof is valid, and how nonces work (RFC 9449).
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Dpop {
    /// How long a proof is valid, from its `iat`; whole seconds, from 1s to 300s.
    #[schemars(extend("default" = "60s"))]
    pub(in crate::config) proof_max_age: Option<Duration>,
    /// How far in the future the `iat` of a proof may lie; whole seconds, from 0s to 60s.
    #[schemars(extend("default" = "10s"))]
    pub(in crate::config) clock_skew: Option<Duration>,
    /// When a proof needs a nonce, on routes without their own `dpop.nonce`.
    #[schemars(extend("default" = "never"))]
    pub(in crate::config) nonce: Option<NonceMode>,
    /// File with the keys of nonces, the same for all replicas: 32 random bytes for each, or one on each line in hex, base64
    /// or base64url, at most 8. The first signs; the others are still recognised. Default: random for each process.
    pub(in crate::config) nonce_key: Option<FilePath>,
    /// How long a nonce is issued before a new one replaces it; it is accepted for as long again. Whole seconds, from
    /// 10s to 1h.
    #[schemars(extend("default" = "60s"))]
    pub(in crate::config) nonce_lifetime: Option<Duration>,
}

/// When a proof needs a nonce (RFC 9449 section 9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum NonceMode {
    /// Not at all.
    #[default]
    Never,
    /// When its `iat` is too old or in the future.
    WhenStale,
    /// Always.
    Always,
}

/// The record of DPoP proofs that were used.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Replay {
    /// Where they are remembered, and the idempotency keys: `memory` is that of this process alone; any other is the name of one of
    /// `stores`, in which replicas share them.
    #[schemars(extend("default" = "memory"))]
    pub(in crate::config) store: Option<String>,
    /// What happens to proofs while the store does not answer.
    #[schemars(extend("default" = "refuse"))]
    pub(in crate::config) on_failure: Option<OnFailure>,
    /// How many are remembered at a time; when it is full, proofs are refused with 503. As many idempotency keys are remembered
    /// beside them.
    #[schemars(range(min = 1000, max = 100_000_000), extend("default" = 1_000_000))]
    pub(in crate::config) max_entries: Option<u64>,
    /// How many of them may be by one key, up to `max_entries`; more are refused with 429. As many idempotency keys may be of one
    /// client. The default is a tenth of `max_entries`.
    #[schemars(range(min = 100), extend("default" = 100_000))]
    pub(in crate::config) max_entries_per_key: Option<u64>,
}

/// What happens to proofs while the store that replicas share does not answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum OnFailure {
    /// They are refused with 503.
    #[default]
    Refuse,
    /// Each process decides by what it remembers itself, on routes with a waiver of `replay.on_failure.local`; on others they are
    /// refused.
    Local,
}

/// Limits on what a client may use.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Limits {
    /// Largest header section, method and target included; from 1KiB to 1MiB.
    #[schemars(extend("default" = "32KiB"))]
    pub(in crate::config) header_bytes: Option<Size>,
    /// The most fields in a header section; a cookie that HTTP/2 splits is one.
    #[schemars(range(min = 1, max = 256), extend("default" = 100))]
    pub(in crate::config) header_count: Option<u64>,
    /// Largest access token, from 1KiB to `header_bytes`; the default is less if `header_bytes` is.
    #[schemars(extend("default" = "16KiB"))]
    pub(in crate::config) token_bytes: Option<Size>,
    /// Largest request body, above 0B.
    #[schemars(extend("default" = "10MiB"))]
    pub(in crate::config) body_bytes: Option<Size>,
    /// How long a header section may take, from its first byte.
    #[schemars(extend("default" = "10s"))]
    pub(in crate::config) header_timeout: Option<Duration>,
    /// How long a request body may take, from the end of its header section.
    #[schemars(extend("default" = "60s"))]
    pub(in crate::config) body_timeout: Option<Duration>,
    /// How long a request body may take from its first byte, whatever its rate.
    #[schemars(extend("default" = "10s"))]
    pub(in crate::config) body_grace: Option<Duration>,
    /// How much of a body a client must send in each second after `body_grace`; from 1B to 1MiB.
    #[schemars(extend("default" = "1KiB"))]
    pub(in crate::config) body_min_rate: Option<Size>,
    /// How much of a body is read on, and thrown away, after its request was answered; a body that ends within this leaves the
    /// connection open. 0B closes it at once, and clients that are still sending may lose the response.
    #[schemars(extend("default" = "16MiB"))]
    pub(in crate::config) unread_body_bytes: Option<Size>,
    /// How long that may take, from 1ms to 60s.
    #[schemars(extend("default" = "5s"))]
    pub(in crate::config) unread_body_timeout: Option<Duration>,
    /// How long an exchange may take, from the end of the request's header section to the end of the response.
    #[schemars(extend("default" = "1h"))]
    pub(in crate::config) exchange_timeout: Option<Duration>,
    /// How long a connection may be idle between requests, and how long a client may read nothing of a response.
    #[schemars(extend("default" = "60s"))]
    pub(in crate::config) idle_timeout: Option<Duration>,
    /// How long a TLS handshake may take.
    #[schemars(extend("default" = "10s"))]
    pub(in crate::config) handshake_timeout: Option<Duration>,
    /// How many connections a listener holds at a time; at most 1000000.
    #[schemars(range(min = 1), extend("default" = 10_000))]
    pub(in crate::config) connections: Option<u64>,
    /// How many exchanges may be in progress on all listeners; more are answered with 503. At most 1000000.
    #[schemars(range(min = 1), extend("default" = 4000))]
    pub(in crate::config) exchanges: Option<u64>,
    /// How many of them may be of one client: of one certificate or key that tokens are bound to, or of one address where there
    /// is no token; more are answered with 429. Default: four fifths of them.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(in crate::config) exchanges_per_client: Option<u64>,
    /// How many streams an HTTP/2 connection may have open. Some clients open 100 before they know of a lower limit, and
    /// do not send again what is refused.
    #[schemars(range(min = 1, max = 1000), extend("default" = 100))]
    pub(in crate::config) streams: Option<u64>,
    /// How old a connection may become, a tenth more or less, before its client is asked to open another; from 1s to 24h.
    #[schemars(extend("default" = "1h"))]
    pub(in crate::config) connection_max_age: Option<Duration>,
    /// How many requests a connection may carry, a tenth more or less, before its client is asked to open another.
    #[schemars(range(min = 10, max = 1_000_000_000), extend("default" = 100_000))]
    pub(in crate::config) connection_max_requests: Option<u64>,
    /// How many connections to upstreams a listener keeps while they are not used, rounded up to a multiple of the number
    /// of CPUs; at most 1000000. Those for answers of authorization servers that are judged as a whole count apart. The
    /// default is that of `connections`. Changes only with a restart.
    #[schemars(range(min = 1), extend("default" = 10_000))]
    pub(in crate::config) idle_upstream_connections: Option<u64>,
    /// How many of them may be in their TLS handshake, up to `connections`; more are closed at once. The default is half of
    /// `connections`, at least 100 of them.
    #[schemars(range(min = 1), extend("default" = 5_000))]
    pub(in crate::config) handshakes: Option<u64>,
    /// How much of a listener one client address may hold; for IPv6, one network of 64 bits. Connections of trusted proxies
    /// are not counted.
    pub(in crate::config) per_address: Option<PerAddress>,
}

/// How much of a listener one client address may hold. Connections of trusted proxies are not counted.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct PerAddress {
    /// How many connections, up to `limits.connections`, which is the default: behind a NAT or a balancer, one address may be
    /// that of every client.
    #[schemars(range(min = 1), extend("default" = 10_000))]
    pub(in crate::config) connections: Option<u64>,
    /// How many connections in their TLS handshake, up to `limits.handshakes`, which is the default.
    #[schemars(range(min = 1), extend("default" = 5_000))]
    pub(in crate::config) handshakes: Option<u64>,
}

/// The log, on standard error.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Log {
    /// How a line is written. A change takes effect with a restart.
    #[schemars(extend("default" = "text"))]
    pub(in crate::config) format: Option<LogFormat>,
    /// Which lines it has: a level, or `TARGET=LEVEL` with commas in between. `RUST_LOG`, if it is set, decides instead.
    #[schemars(extend("default" = "info"))]
    pub(in crate::config) level: Option<String>,
}

/// How a line of the log is written.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// How changes of files take effect; SIGHUP always reloads.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Reload {
    /// How often gateway.yaml and every file that it names are checked for changes, from 100ms to 1h; 0s means never.
    #[schemars(extend("default" = "5s"))]
    pub(in crate::config) watch: Option<Duration>,
}

/// How the gateway stops: first it is no longer ready, then it closes connections, then it exits.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Drain {
    /// How long connections are still accepted after `/readyz` begins to answer 503, so that load balancers notice;
    /// from 0s to 5m. In its second half, each HTTP/1.1 response is the last of its connection.
    #[schemars(extend("default" = "5s"))]
    pub(in crate::config) delay: Option<Duration>,
    /// How long requests in progress may take after that, from 0s to 1h; the gateway exits as soon as the last one is
    /// answered.
    #[schemars(extend("default" = "20s"))]
    pub(in crate::config) timeout: Option<Duration>,
}
