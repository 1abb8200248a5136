//! `issuers`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::scalar::{Duration, FilePath, Size};
use super::PrivateKey;
use super::access_token::AccessToken;

/// One authorization server.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Issuer {
    /// Its name in routes, metrics and the audit. Default: the issuer's host.
    pub(in crate::config) name: Option<String>,
    /// The exact value of `iss`; https, without query and fragment.
    #[schemars(required)]
    pub(in crate::config) issuer: Option<String>,
    /// The values of `aud` that mean this resource; a token must have one of them.
    #[schemars(required, length(min = 1))]
    pub(in crate::config) audiences: Option<Vec<String>>,
    /// How its tokens are verified.
    #[schemars(extend("default" = "jwt"))]
    pub(in crate::config) tokens: Option<Tokens>,
    /// The algorithms it may sign with. Default: PS256, ES256 and EdDSA; with `profile: fapi1-advanced`, PS256 and ES256.
    #[schemars(length(min = 1))]
    pub(in crate::config) algorithms: Option<Vec<IssuerAlgorithm>>,
    /// How its access tokens differ from RFC 9068. Default: not at all.
    pub(in crate::config) access_token: Option<AccessToken>,
    /// Where its keys are; https. Default: from the issuer's metadata (RFC 8414, then OpenID Connect Discovery).
    pub(in crate::config) jwks_uri: Option<String>,
    /// How its keys are cached.
    pub(in crate::config) jwks: Option<Jwks>,
    /// PEM files with the authorities that the issuer's TLS certificates chain to. Default: the system's.
    #[schemars(length(min = 1))]
    pub(in crate::config) trust_anchors: Option<Vec<FilePath>>,
    /// Whether the gateway is ready only once this issuer has been read; no matter for an issuer that no route uses.
    #[schemars(extend("default" = true))]
    pub(in crate::config) required: Option<bool>,
    /// How the gateway asks it about its tokens; required with `tokens: introspection`.
    pub(in crate::config) introspection: Option<Introspection>,
}

/// How the gateway asks an issuer about its tokens (RFC 7662).
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Introspection {
    /// The introspection endpoint; https. Default: from the issuer's metadata, by `mtls_endpoint_aliases` with the two mTLS
    /// methods.
    pub(in crate::config) endpoint: Option<String>,
    /// The gateway's `client_id` at the issuer.
    #[schemars(required)]
    pub(in crate::config) client_id: Option<String>,
    /// How the gateway authenticates; never with a shared secret.
    #[schemars(required)]
    pub(in crate::config) authentication: Option<Authentication>,
    /// The form that every response must have.
    #[schemars(extend("default" = "json"))]
    pub(in crate::config) response: Option<Response>,
    /// The values of `aud` that a signed response may have; only with `response: jwt`. Default: `client_id` and the
    /// issuer's `audiences`.
    #[schemars(length(min = 1))]
    pub(in crate::config) audience: Option<Vec<String>>,
    /// The keys that every signed response is encrypted for one of (RFC 9701), with RSA-OAEP-256 or ECDH-ES, and A256GCM; only
    /// with `response: jwt`. A response that is signed only is then refused. Default: none is encrypted.
    #[schemars(length(min = 1, max = 8))]
    pub(in crate::config) decryption_keys: Option<Vec<DecryptionKey>>,
    /// What happens to a token whose response has no `aud`.
    #[schemars(extend("default" = "refuse"))]
    pub(in crate::config) missing_audience: Option<MissingAudience>,
    /// How long an introspection request may take, including the wait for its turn; up to 30s.
    #[schemars(extend("default" = "2s"))]
    pub(in crate::config) timeout: Option<Duration>,
    /// How many introspection requests may be in progress at a time; half of them, at least one, for the same client.
    #[schemars(range(min = 1, max = 1000), extend("default" = 64))]
    pub(in crate::config) max_calls: Option<u64>,
    /// How many different tokens may wait for a response at a time; more are answered with 503.
    #[schemars(range(min = 1, max = 100_000), extend("default" = 1024))]
    pub(in crate::config) max_waiting: Option<u64>,
    /// How many of them may be of one client, up to `max_waiting`; more are answered with 429. The default is a quarter of
    /// `max_waiting`, but at least 16.
    #[schemars(range(min = 1), extend("default" = 256))]
    pub(in crate::config) max_waiting_per_client: Option<u64>,
    /// The cache of responses.
    pub(in crate::config) cache: Option<IntrospectionCache>,
}

/// A key that others encrypt for.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct DecryptionKey {
    /// PEM file with the private key: EC P-256, for ECDH-ES, or RSA from 2048 to 4096 bits, for RSA-OAEP-256.
    #[schemars(required)]
    pub(in crate::config) private_key: Option<FilePath>,
    /// The `kid` by which they know it. Default: none; the key is tried whatever `kid` is in what they encrypt.
    pub(in crate::config) key_id: Option<String>,
}

/// How the gateway authenticates to an issuer.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Authentication {
    /// By a signed assertion, or by the certificate of the connection.
    #[schemars(required)]
    pub(in crate::config) method: Option<AuthenticationMethod>,
    /// The key, RSA from 2048 bits, P-256 or Ed25519: a PEM file (PKCS#8, SEC1 or PKCS#1), or, with `private_key_jwt`, where it is
    /// in a token of PKCS#11.
    #[schemars(required)]
    pub(in crate::config) private_key: Option<PrivateKey>,
    /// What the assertion is signed with; only with `private_key_jwt`. Default: the algorithm that the key is for.
    pub(in crate::config) algorithm: Option<Algorithm>,
    /// The `kid` of the assertion; only with `private_key_jwt`. Default: none.
    pub(in crate::config) key_id: Option<String>,
    /// PEM file with the certificate chain of the key, leaf first; required with the two mTLS methods, and only allowed there.
    pub(in crate::config) certificate: Option<FilePath>,
}

/// A method of client authentication that FAPI 2.0 allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum AuthenticationMethod {
    /// A signed assertion (RFC 7523).
    PrivateKeyJwt,
    /// A certificate of an authority that the issuer trusts (RFC 8705 section 2.1).
    TlsClientAuth,
    /// A certificate that is registered at the issuer (RFC 8705 section 2.2).
    SelfSignedTlsClientAuth,
}

/// The form of an introspection response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Response {
    /// Plain (RFC 7662).
    Json,
    /// Signed by the issuer (RFC 9701); a plain one is refused.
    Jwt,
}

/// What happens to a token whose introspection response has no `aud`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum MissingAudience {
    /// The token is refused.
    Refuse,
    /// The token is accepted; only for an issuer that tells this gateway nothing about tokens of other resources.
    Accept,
}

/// The cache of introspection responses; a token is never used past its `exp`.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct IntrospectionCache {
    /// How many active tokens are remembered; the least recently used are forgotten first.
    #[schemars(range(min = 1), extend("default" = 100_000))]
    pub(in crate::config) max_entries: Option<u64>,
    /// How much memory they may take; from 1MiB to 64GiB.
    #[schemars(extend("default" = "128MiB"))]
    pub(in crate::config) max_bytes: Option<Size>,
    /// How long a response is used, from the moment its request was sent: how late a revocation is noticed. From 0s,
    /// which asks every time, to 1h.
    #[schemars(extend("default" = "30s"))]
    pub(in crate::config) max_age: Option<Duration>,
    /// How long a response is used that says a token is not active or not acceptable here; from 0s to 5s.
    #[schemars(extend("default" = "5s"))]
    pub(in crate::config) inactive_max_age: Option<Duration>,
    /// Where responses about active tokens are looked for that are not in the memory of this process: `memory` is nowhere; any
    /// other is the name of one of `stores`, in which replicas share them.
    #[schemars(extend("default" = "memory"))]
    pub(in crate::config) store: Option<String>,
    /// File with the keys that they are sealed with in the store, the same for all replicas, in the form of `dpop.nonce_key`; required
    /// with a store. The first seals; the others still open.
    pub(in crate::config) seal_key: Option<FilePath>,
}

/// How an issuer's keys are cached.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Jwks {
    /// The time between two reads of the key set, from 60s to 1h; less, but not below 60s, if its `Cache-Control` says
    /// so. A key that the issuer removed works for up to this long.
    #[schemars(extend("default" = "300s"))]
    pub(in crate::config) refresh_interval: Option<Duration>,
    /// How long the keys are used after they were last read, while they cannot be read again; from twice
    /// `refresh_interval` to 7days. After that the issuer's tokens are refused with 503.
    #[schemars(extend("default" = "24h"))]
    pub(in crate::config) max_age: Option<Duration>,
}

/// How an issuer's tokens are verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Tokens {
    /// By the gateway, with the issuer's keys.
    Jwt,
    /// By asking the issuer about each token, including JWTs.
    Introspection,
}

/// A signature algorithm that FAPI 2.0 allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub(in crate::config) enum Algorithm {
    /// RSASSA-PSS with SHA-256.
    #[serde(rename = "PS256")]
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519, under its older name.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// Ed25519, under its own name; the same as `EdDSA`.
    #[serde(rename = "Ed25519")]
    Ed25519,
}

/// A signature algorithm of an issuer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub(in crate::config) enum IssuerAlgorithm {
    /// RSASSA-PSS with SHA-256.
    #[serde(rename = "PS256")]
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    #[serde(rename = "ES256")]
    Es256,
    /// Ed25519, under its older name.
    #[serde(rename = "EdDSA")]
    EdDsa,
    /// Ed25519, under its own name; the same as `EdDSA`.
    #[serde(rename = "Ed25519")]
    Ed25519,
    /// RSASSA-PKCS1-v1_5 with SHA-256; only with a waiver of `token.algorithms.rs256`, and for JWT access tokens alone.
    #[serde(rename = "RS256")]
    Rs256,
}
