//! gateway.yaml as it is written: strings, numbers and choices, nothing looked up yet.
//!
//! Every key is optional here, so that [`build`](super::build) can report all that are absent at once. A doc comment of this
//! file is the description of its key in the JSON Schema.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Configuration of fapi-gateway. Unknown keys are errors; relative paths are relative to this file.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    /// The floor that every route stands on.
    #[schemars(required)]
    pub(super) profile: Option<Profile>,
    /// Where clients connect; at least one.
    #[schemars(required)]
    pub(super) listeners: Option<Vec<Listener>>,
    /// Metrics, probes and revocations. Without it there are none.
    pub(super) admin: Option<Admin>,
    /// The authorization servers whose tokens count. Needed as soon as one route is not public.
    pub(super) issuers: Option<Vec<Issuer>>,
    /// Memory of verified tokens.
    pub(super) token_cache: Option<TokenCache>,
    /// How long a DPoP proof counts, and what its nonces are (RFC 9449).
    pub(super) dpop: Option<Dpop>,
    /// Memory of the proofs that were used.
    pub(super) replay: Option<Replay>,
    /// Bounds on what a peer may cost.
    pub(super) limits: Option<Limits>,
    /// The resource servers, by name.
    #[schemars(required)]
    pub(super) upstreams: Option<BTreeMap<String, Upstream>>,
    /// What may be asked for; everything else is refused. At least one.
    #[schemars(required)]
    pub(super) routes: Option<Vec<Route>>,
    /// One JSON line for each exchange.
    pub(super) audit: Option<Audit>,
    /// How changes of this file, and of the files that it names, come into force.
    pub(super) reload: Option<Reload>,
    /// How the gateway ends when it is told to.
    pub(super) drain: Option<Drain>,
}

/// The FAPI profile in force.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
pub(super) enum Profile {
    /// FAPI 2.0 Security Profile.
    #[serde(rename = "fapi2-security")]
    Fapi2Security,
    /// FAPI 1.0 Security Profile, part 2: Advanced.
    #[serde(rename = "fapi1-advanced")]
    Fapi1Advanced,
}

/// Where clients connect, what for, and what the handshake shows and asks.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Listener {
    /// Address and port, such as `0.0.0.0:8443` or `[::]:8443`. Entries with one address share it; the name that a client
    /// asks TLS for chooses the entry, so their hosts have to differ.
    #[schemars(required)]
    pub(super) address: Option<String>,
    /// The public origins served here, such as `https://api.bank.example`, with a path prefix where an outer proxy removes
    /// one. Requests for any other host are refused.
    #[schemars(required, length(min = 1))]
    pub(super) origins: Option<Vec<String>>,
    /// What the handshake shows and asks.
    #[schemars(required)]
    pub(super) tls: Option<ListenerTls>,
    /// Which proxies in front may hand on the certificates of their clients. Default: none, and no such header is believed.
    pub(super) forwarded_client_certificate: Option<ForwardedClientCertificate>,
}

/// How proxies that end TLS in front of a listener hand on the certificates of their clients.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ForwardedClientCertificate {
    /// How the proxies write a certificate; no other header is looked at.
    #[schemars(required)]
    pub(super) dialect: Option<Dialect>,
    /// The header that carries it; only with `nginx_escaped_pem`, which needs it.
    pub(super) header: Option<String>,
    /// Who the proxies are. Their own certificates are nobody's binding; of everybody else the header is not looked at.
    #[schemars(required)]
    pub(super) from: Option<Proxies>,
    /// What makes a certificate acceptable: a chain to one of the trust anchors, or that the proxy has seen possession of its
    /// key and the chain is the proxy's business.
    #[schemars(extend("default" = "chain"))]
    pub(super) trust: Option<Trust>,
    /// PEM files with the authorities of client certificates; needed with `trust: chain`.
    #[schemars(length(min = 1))]
    pub(super) trust_anchors: Option<Vec<FilePath>>,
    /// What a certificate must be meant for; only with `trust: chain`.
    #[schemars(extend("default" = "client_auth_or_absent"))]
    pub(super) extended_key_usage: Option<ExtendedKeyUsage>,
    /// Certificate revocation lists, PEM or DER; only with `trust: chain`. With any, a certificate of which none tells is
    /// refused, along the whole chain. None: revocation is not looked at.
    #[schemars(extend("default" = []))]
    pub(super) revocation_lists: Option<Vec<FilePath>>,
    /// What becomes of certificates whose revocation list is past its nextUpdate; only with revocation lists.
    #[schemars(extend("default" = "refuse"))]
    pub(super) revocation_list_expired: Option<OnExpired>,
}

/// How a proxy writes the certificate of its client into a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Dialect {
    /// Client-Cert and, for a chain, Client-Cert-Chain (RFC 9440).
    ClientCert,
    /// X-Forwarded-Client-Cert of Envoy with `forward_client_cert_details: SANITIZE_SET` and `cert` or `chain`.
    XForwardedClientCert,
    /// `$ssl_client_escaped_cert` of nginx, in the header that `header` names.
    NginxEscapedPem,
    /// X-Amzn-Mtls-Clientcert-Leaf of an AWS Application Load Balancer in verify mode.
    AwsAlbVerify,
    /// X-Amzn-Mtls-Clientcert of an AWS Application Load Balancer in passthrough mode.
    AwsAlbPassthrough,
}

/// Who the proxies in front of a listener are. A proxy has one of the addresses, if any are named, and has shown a certificate of
/// one of the names or thumbprints, if any are named.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub(super) struct Proxies {
    /// Their addresses or networks, such as `10.0.0.0/8`. Alone they are as good as the network is closed.
    #[schemars(length(min = 1))]
    pub(super) addresses: Option<Vec<String>>,
    /// Host names or URIs among the subject alternative names of their certificates, which `client_certificates` have to verify
    /// with `trust: chain`.
    #[schemars(length(min = 1))]
    pub(super) names: Option<Vec<String>>,
    /// SHA-256 of their certificates in DER, in base64url, as in `x5t#S256`.
    #[schemars(length(min = 1))]
    pub(super) thumbprints: Option<Vec<String>>,
}

/// TLS of a listener.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListenerTls {
    /// PEM file with the certificate chain, leaf first.
    #[schemars(required)]
    pub(super) certificate: Option<FilePath>,
    /// PEM file with the key of the leaf (PKCS#8, SEC1 or PKCS#1).
    #[schemars(required)]
    pub(super) private_key: Option<FilePath>,
    /// What is asked of clients.
    #[schemars(required)]
    pub(super) client_certificates: Option<ClientCertificates>,
}

/// What a listener asks of clients.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ClientCertificates {
    /// Whether a client must show a certificate.
    #[schemars(required)]
    pub(super) mode: Option<Mode>,
    /// What makes a certificate acceptable.
    #[schemars(extend("default" = "chain"))]
    pub(super) trust: Option<Trust>,
    /// PEM files with the authorities of client certificates; needed with `trust: chain`.
    #[schemars(length(min = 1))]
    pub(super) trust_anchors: Option<Vec<FilePath>>,
    /// What a certificate must be meant for; only with `trust: chain`.
    #[schemars(extend("default" = "client_auth_or_absent"))]
    pub(super) extended_key_usage: Option<ExtendedKeyUsage>,
    /// Certificate revocation lists, PEM or DER; only with `trust: chain`. With any, a certificate of which none tells is
    /// refused, along the whole chain. None: revocation is not looked at.
    #[schemars(extend("default" = []))]
    pub(super) revocation_lists: Option<Vec<FilePath>>,
    /// What becomes of certificates whose revocation list is past its nextUpdate; only with revocation lists.
    #[schemars(extend("default" = "refuse"))]
    pub(super) revocation_list_expired: Option<OnExpired>,
}

/// Whether a client must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mode {
    /// The handshake fails without one.
    Required,
    /// A client may come without; it can then only use public routes and those that accept `dpop`.
    Optional,
    /// None is asked for, so only public routes and those that accept `dpop` can be used.
    None,
}

/// What makes a client certificate acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Trust {
    /// A chain to one of the trust anchors.
    Chain,
    /// Possession of its key: any certificate, self-signed too (RFC 8705 section 6.2).
    Possession,
}

/// What a client certificate must be meant for (RFC 5280 section 4.2.1.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum ExtendedKeyUsage {
    /// It names clientAuth.
    ClientAuth,
    /// It names clientAuth, or has no extended key usage.
    ClientAuthOrAbsent,
    /// Whatever it names, also a server's.
    Any,
}

/// What becomes of certificates whose revocation list is past its nextUpdate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum OnExpired {
    /// They are refused, on open connections too.
    Refuse,
    /// The list goes on counting as it is.
    Accept,
}

/// The operators' own listener.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Admin {
    /// Address and port of /metrics, /livez, /readyz and /revocations; never one of a listener.
    #[schemars(required)]
    pub(super) address: Option<String>,
    /// TLS, with a client certificate for /revocations. Without it the listener is plain HTTP.
    pub(super) tls: Option<AdminTls>,
    /// Lets tokens be taken back by POST /revocations; on an address that is not loopback it needs `tls`. Without it there is
    /// no such path.
    pub(super) revocations: Option<Revocations>,
}

/// TLS of the operators' listener.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AdminTls {
    /// PEM file with the certificate chain, leaf first.
    #[schemars(required)]
    pub(super) certificate: Option<FilePath>,
    /// PEM file with the key of the leaf (PKCS#8, SEC1 or PKCS#1).
    #[schemars(required)]
    pub(super) private_key: Option<FilePath>,
    /// PEM files with the authorities of those who may send revocations; probes need no certificate.
    #[schemars(required, length(min = 1))]
    pub(super) trust_anchors: Option<Vec<FilePath>>,
}

/// How tokens are taken back.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Revocations {
    /// How long a revocation counts that does not say when the last of its tokens ends; at least as long as a JWT lives. From
    /// 60s to 720h.
    #[schemars(extend("default" = "24h"))]
    pub(super) keep: Option<Duration>,
    /// How many revocations there may be at a time, from 1 to 10000000; more are answered 503.
    #[schemars(range(min = 1, max = 10_000_000), extend("default" = 100_000))]
    pub(super) max_entries: Option<u64>,
    /// Whose security event tokens are taken (RFC 8417, RFC 8935).
    #[schemars(extend("default" = []))]
    pub(super) security_events: Option<Vec<SecurityEvents>>,
}

/// An issuer whose security event tokens are taken.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SecurityEvents {
    /// The name of one of the issuers; its keys and `algorithms` count for the events too.
    #[schemars(required)]
    pub(super) issuer: Option<String>,
    /// The value of `aud` that means this gateway.
    #[schemars(required)]
    pub(super) audience: Option<String>,
}

/// One authorization server.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Issuer {
    /// How routes, metrics and the audit name it. Default: the issuer's host.
    pub(super) name: Option<String>,
    /// The exact value of `iss`; https, without query and fragment.
    #[schemars(required)]
    pub(super) issuer: Option<String>,
    /// The values of `aud` that mean this resource; a token must have one of them.
    #[schemars(required, length(min = 1))]
    pub(super) audiences: Option<Vec<String>>,
    /// How its tokens are judged.
    #[schemars(extend("default" = "jwt"))]
    pub(super) tokens: Option<Tokens>,
    /// The algorithms it may sign with. Default: PS256, ES256 and EdDSA; with `profile: fapi1-advanced`, PS256 and ES256.
    #[schemars(length(min = 1))]
    pub(super) algorithms: Option<Vec<Algorithm>>,
    /// Where its keys are; https. Default: from the issuer's metadata (RFC 8414, then OpenID Connect Discovery).
    pub(super) jwks_uri: Option<String>,
    /// How its keys are kept.
    pub(super) jwks: Option<Jwks>,
    /// PEM files with the authorities that calls to this issuer rely on. Default: the system's.
    #[schemars(length(min = 1))]
    pub(super) trust_anchors: Option<Vec<FilePath>>,
    /// How it is asked about its tokens; needed with `tokens: introspection`.
    pub(super) introspection: Option<Introspection>,
}

/// How an issuer is asked about its tokens (RFC 7662).
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Introspection {
    /// Where to ask; https. Default: from the issuer's metadata, by `mtls_endpoint_aliases` with the two mTLS methods.
    pub(super) endpoint: Option<String>,
    /// Who the gateway is at the issuer.
    #[schemars(required)]
    pub(super) client_id: Option<String>,
    /// How it proves that; there is no way with a shared secret.
    #[schemars(required)]
    pub(super) authentication: Option<Authentication>,
    /// The form that every answer must have.
    #[schemars(extend("default" = "json"))]
    pub(super) response: Option<Response>,
    /// The values of `aud` that a signed answer may have; only with `response: jwt`. Default: `client_id` and the issuer's
    /// `audiences`.
    #[schemars(length(min = 1))]
    pub(super) audience: Option<Vec<String>>,
    /// What an answer is worth that has no `aud`.
    #[schemars(extend("default" = "refuse"))]
    pub(super) missing_audience: Option<MissingAudience>,
    /// How long a question may take, the wait for its turn included; up to 30s.
    #[schemars(extend("default" = "2s"))]
    pub(super) timeout: Option<Duration>,
    /// How many questions are under way at a time, from 1 to 1000.
    #[schemars(range(min = 1, max = 1000), extend("default" = 64))]
    pub(super) max_calls: Option<u64>,
    /// How many requests wait for an answer at a time, from 1 to 100000; more are answered 503.
    #[schemars(range(min = 1, max = 100_000), extend("default" = 1024))]
    pub(super) max_waiting: Option<u64>,
    /// Memory of the answers.
    pub(super) cache: Option<IntrospectionCache>,
}

/// How the gateway proves to an issuer who it is.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Authentication {
    /// By a signed assertion, or by the certificate of the connection.
    #[schemars(required)]
    pub(super) method: Option<AuthenticationMethod>,
    /// PEM file with the key: RSA from 2048 bits, P-256 or Ed25519 (PKCS#8, SEC1 or PKCS#1).
    #[schemars(required)]
    pub(super) private_key: Option<FilePath>,
    /// What the assertion is signed with; only with `private_key_jwt`. Default: what the key is for.
    pub(super) algorithm: Option<Algorithm>,
    /// The `kid` of the assertion; only with `private_key_jwt`. Default: none.
    pub(super) key_id: Option<String>,
    /// PEM file with the certificate chain of the key, leaf first; only with the two mTLS methods, which need it.
    pub(super) certificate: Option<FilePath>,
}

/// A method of client authentication that FAPI 2.0 allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum AuthenticationMethod {
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
pub(super) enum Response {
    /// Plain (RFC 7662).
    Json,
    /// Signed by the issuer (RFC 9701); a plain one is refused.
    Jwt,
}

/// What an introspection response without `aud` is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum MissingAudience {
    /// Nothing: the token is refused.
    Refuse,
    /// The issuer answers to this gateway only about tokens that are for it.
    Accept,
}

/// Memory of what an issuer said of its tokens; never past their `exp`.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct IntrospectionCache {
    /// How many active tokens are remembered; those that were not used for the longest go first.
    #[schemars(range(min = 1), extend("default" = 100_000))]
    pub(super) max_entries: Option<u64>,
    /// How much memory they may take; from 1MiB to 64GiB.
    #[schemars(extend("default" = "128MiB"))]
    pub(super) max_bytes: Option<Size>,
    /// How long an answer counts, from the moment the question was sent: how late a revocation is seen. 0s asks every time;
    /// up to 1h.
    #[schemars(extend("default" = "30s"))]
    pub(super) max_age: Option<Duration>,
    /// How long the answer counts that a token is not active, or not good here; up to 5s.
    #[schemars(extend("default" = "5s"))]
    pub(super) inactive_max_age: Option<Duration>,
}

/// How an issuer's keys are kept.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Jwks {
    /// How long after one reading they are read again, from 60s to 1h; sooner, but not below 60s, if `Cache-Control` of the
    /// answer says so. A key that the issuer removed works for as long.
    #[schemars(extend("default" = "300s"))]
    pub(super) refresh_interval: Option<Duration>,
    /// How long after the last good reading they are used, while the issuer cannot be read; from twice `refresh_interval` to
    /// 7days. After that its tokens are refused with 503.
    #[schemars(extend("default" = "24h"))]
    pub(super) max_age: Option<Duration>,
}

/// How an issuer's tokens are judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Tokens {
    /// Validated here with the issuer's keys.
    Jwt,
    /// Asked of the issuer, JWTs too.
    Introspection,
}

/// A signature algorithm that FAPI 2.0 allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub(super) enum Algorithm {
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

/// Memory of verified tokens; never past their `exp`.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenCache {
    /// How many tokens are remembered; those that were not used for the longest go first.
    #[schemars(range(min = 1), extend("default" = 100_000))]
    pub(super) max_entries: Option<u64>,
    /// How much memory they may take; from 1MiB to 64GiB.
    #[schemars(extend("default" = "128MiB"))]
    pub(super) max_bytes: Option<Size>,
    /// How long a token is remembered at most.
    #[schemars(extend("default" = "300s"))]
    pub(super) max_age: Option<Duration>,
}

/// How long a DPoP proof counts, and what its nonces are (RFC 9449).
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Dpop {
    /// How long a proof is accepted, from its `iat`; whole seconds, from 1s to 300s.
    #[schemars(extend("default" = "60s"))]
    pub(super) proof_max_age: Option<Duration>,
    /// How far the `iat` of a proof may lie ahead; whole seconds, from 0s to 60s.
    #[schemars(extend("default" = "10s"))]
    pub(super) clock_skew: Option<Duration>,
    /// When a proof needs a nonce, on routes that do not say it themselves.
    #[schemars(extend("default" = "never"))]
    pub(super) nonce: Option<NonceMode>,
    /// File with the keys that nonces are made with, the same for all replicas: 32 random bytes, or one key a line in hex,
    /// base64 or base64url. The first makes them, the others are still known. Default: random for each process.
    pub(super) nonce_key: Option<FilePath>,
    /// How long a nonce is handed out; it is accepted for as long again. Whole seconds, from 10s to 1h.
    #[schemars(extend("default" = "60s"))]
    pub(super) nonce_lifetime: Option<Duration>,
}

/// When a proof needs a nonce (RFC 9449 section 9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum NonceMode {
    /// Not at all.
    #[default]
    Never,
    /// When its `iat` is too old or lies ahead.
    WhenStale,
    /// Always.
    Always,
}

/// Memory of the proofs that were used.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Replay {
    /// Where they are remembered.
    #[schemars(extend("default" = "memory"))]
    pub(super) store: Option<Store>,
    /// How many are remembered at a time, from 1000 to 100000000; when it is full, proofs are refused.
    #[schemars(range(min = 1000, max = 100_000_000), extend("default" = 1_000_000))]
    pub(super) max_entries: Option<u64>,
}

/// Where used proofs are remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Store {
    /// In this process alone.
    Memory,
    /// In a database that replicas share; understood, so that it can be refused in clear words.
    Redis,
}

impl JsonSchema for Store {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Store".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "Where used proofs are remembered. memory: in this process alone.",
            "type": "string",
            "enum": ["memory"],
        })
    }
}

/// Bounds on what a peer may cost.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    /// Largest header section, target included; from 1KiB to 1MiB.
    #[schemars(extend("default" = "32KiB"))]
    pub(super) header_bytes: Option<Size>,
    /// Most fields in a header section.
    #[schemars(range(min = 1, max = 256), extend("default" = 100))]
    pub(super) header_count: Option<u64>,
    /// Largest request body.
    #[schemars(extend("default" = "10MiB"))]
    pub(super) body_bytes: Option<Size>,
    /// How long a header section may take, from its first byte.
    #[schemars(extend("default" = "10s"))]
    pub(super) header_timeout: Option<Duration>,
    /// How long a request body may take, from the end of its header section.
    #[schemars(extend("default" = "60s"))]
    pub(super) body_timeout: Option<Duration>,
    /// How long a request body may take, from its first byte, whatever its rate.
    #[schemars(extend("default" = "10s"))]
    pub(super) body_grace: Option<Duration>,
    /// The least that a client sends of a body in a second, after that time; from 1B to 1MiB.
    #[schemars(extend("default" = "1KiB"))]
    pub(super) body_min_rate: Option<Size>,
    /// How long an exchange may take, from the end of the request's header section to the end of the response.
    #[schemars(extend("default" = "1h"))]
    pub(super) exchange_timeout: Option<Duration>,
    /// How long a connection may lie idle between requests, and how long a client may take nothing of its answer.
    #[schemars(extend("default" = "60s"))]
    pub(super) idle_timeout: Option<Duration>,
    /// How long a TLS handshake may take.
    #[schemars(extend("default" = "10s"))]
    pub(super) handshake_timeout: Option<Duration>,
    /// How many connections a listener holds at a time.
    #[schemars(range(min = 1), extend("default" = 10_000))]
    pub(super) connections: Option<u64>,
}

/// A group of equal resource servers.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Upstream {
    /// Their addresses: `http://` or `https://` with host and port, all alike, without path.
    #[schemars(required, length(min = 1))]
    pub(super) servers: Option<Vec<String>>,
    /// The version of HTTP that they speak. Default: http1.
    pub(super) protocol: Option<Protocol>,
    /// How TLS is spoken with them; only with `https://`.
    pub(super) tls: Option<UpstreamTls>,
    /// How long a connection may take, TLS included.
    #[schemars(extend("default" = "2s"))]
    pub(super) connect_timeout: Option<Duration>,
    /// How long a server may be silent.
    #[schemars(extend("default" = "30s"))]
    pub(super) response_timeout: Option<Duration>,
    /// How long an unused connection is kept; less than the servers keep theirs, or a request may meet one that just closes.
    #[schemars(extend("default" = "60s"))]
    pub(super) idle_timeout: Option<Duration>,
    /// How servers are asked whether they are well. Default: they are not.
    pub(super) health_check: Option<HealthCheck>,
}

/// A version of HTTP, which is not negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Protocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2, by ALPN with `https://` and by prior knowledge with `http://`; what gRPC needs.
    Http2,
}

/// How servers are asked whether they are well; those that are not are left out while others are.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct HealthCheck {
    /// What is asked for with GET; a status from 200 to 299 is good. Default: a connection is enough, with TLS if it is spoken.
    pub(super) path: Option<String>,
    /// The pause between two checks of a server.
    #[schemars(extend("default" = "5s"))]
    pub(super) interval: Option<Duration>,
    /// How long a check may take.
    #[schemars(extend("default" = "1s"))]
    pub(super) timeout: Option<Duration>,
    /// How many checks in a row make an unhealthy server healthy.
    #[schemars(range(min = 1), extend("default" = 1))]
    pub(super) healthy_after: Option<u64>,
    /// How many failed checks in a row make a server unhealthy; at first it counts as healthy.
    #[schemars(range(min = 1), extend("default" = 3))]
    pub(super) unhealthy_after: Option<u64>,
}

/// TLS towards resource servers.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct UpstreamTls {
    /// PEM files with the authorities of the servers. Default: the system's.
    #[schemars(length(min = 1))]
    pub(super) trust_anchors: Option<Vec<FilePath>>,
    /// PEM file with the certificate chain that the gateway shows; needs `private_key`. Default: it shows none.
    pub(super) certificate: Option<FilePath>,
    /// PEM file with the key of that certificate.
    pub(super) private_key: Option<FilePath>,
    /// The name that the servers' certificates must have. Default: each server's host.
    pub(super) server_name: Option<String>,
}

/// What may be asked for, of whom, and by whom. Has `scopes` or `public: true`, never both.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("anyOf" = [{ "required": ["scopes"] }, { "required": ["public"] }]))]
pub(super) struct Route {
    /// How metrics and the audit name it; unique.
    #[schemars(required)]
    pub(super) name: Option<String>,
    /// Literal segments, `*` for one segment, `**` for the rest; the most specific route wins.
    #[schemars(required)]
    pub(super) path: Option<String>,
    /// The hosts it answers for, among those of the listeners' origins. Default: all of them.
    #[schemars(length(min = 1))]
    pub(super) hosts: Option<Vec<String>>,
    /// The methods it takes, in upper case.
    #[schemars(required, length(min = 1))]
    pub(super) methods: Option<Vec<String>>,
    /// `true`: no token is needed, nor looked at.
    #[schemars(extend("default" = false))]
    pub(super) public: Option<bool>,
    /// The scopes that a token must have: all of a list, or `{ all: [...] }`, or one of `{ any: [...] }`.
    pub(super) scopes: Option<Scopes>,
    /// The ways of binding a token to its sender that count here. Default: certificate and dpop; with
    /// `profile: fapi1-advanced`, certificate.
    #[schemars(length(min = 1))]
    pub(super) sender_constraint: Option<Vec<SenderConstraint>>,
    /// DPoP here; only where `sender_constraint` has `dpop`.
    pub(super) dpop: Option<RouteDpop>,
    /// The issuers whose tokens count here, by name. Default: all.
    #[schemars(length(min = 1))]
    pub(super) issuers: Option<Vec<String>>,
    /// How long what an introspecting issuer said of a token counts here, if less than in general; 0s asks it every time.
    pub(super) introspection_max_age: Option<Duration>,
    /// The name of the upstream that answers.
    #[schemars(required)]
    pub(super) upstream: Option<String>,
    /// What of the sender the upstream sees.
    pub(super) forward: Option<Forward>,
}

/// A way of binding a token to its sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum SenderConstraint {
    /// To a client certificate (RFC 8705); the scheme is Bearer.
    Certificate,
    /// To the key of a proof (RFC 9449); the scheme is DPoP.
    Dpop,
}

impl SenderConstraint {
    /// Its name in gateway.yaml.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Dpop => "dpop",
        }
    }
}

/// DPoP on one route.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteDpop {
    /// When a proof needs a nonce here. Default: what `dpop.nonce` says.
    pub(super) nonce: Option<NonceMode>,
}

/// What of the sender the upstream sees.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Forward {
    /// Whether Authorization is handed on, as received.
    #[schemars(extend("default" = false))]
    pub(super) access_token: Option<bool>,
    /// Whether the client's certificate is handed on in Client-Cert (RFC 9440).
    #[schemars(extend("default" = false))]
    pub(super) client_certificate: Option<bool>,
    /// Whether the authorities between that certificate and the trust anchor are handed on in Client-Cert-Chain (RFC 9440
    /// section 2.3); only beside `client_certificate`, and only if a chain was verified.
    #[schemars(extend("default" = false))]
    pub(super) client_certificate_chain: Option<bool>,
    /// Claims of the token and the headers that carry them.
    #[schemars(extend("default" = {}))]
    pub(super) claims: Option<BTreeMap<String, String>>,
}

/// One JSON line for each exchange.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Audit {
    /// `stdout`, or the path of a file that lines are added to.
    #[schemars(extend("default" = "stdout"))]
    pub(super) destination: Option<FilePath>,
}

/// How changes of files come into force; on SIGHUP always.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reload {
    /// How often gateway.yaml and every file that it names are looked at for changes, from 100ms to 1h; 0s is never.
    #[schemars(extend("default" = "5s"))]
    pub(super) watch: Option<Duration>,
}

/// How the gateway ends when it is told to: readiness is withdrawn, then connections, then the process.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Drain {
    /// How long connections are accepted after /readyz began to say 503: what balancers need to notice; from 0s to 5m. In
    /// its second half, answers over HTTP/1.1 are the last of their connection.
    #[schemars(extend("default" = "5s"))]
    pub(super) delay: Option<Duration>,
    /// How long requests under way may take after that, from 0s to 1h; the gateway ends as soon as the last is answered.
    #[schemars(extend("default" = "20s"))]
    pub(super) timeout: Option<Duration>,
}

/// Which scopes a token must have.
#[derive(Debug)]
pub(super) enum Scopes {
    /// All, written as a plain list.
    List(Vec<String>),
    /// All, said so.
    All(Vec<String>),
    /// At least one.
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

/// A time with its unit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Duration(pub(super) std::time::Duration);

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WithUnit;

        impl Visitor<'_> for WithUnit {
            type Value = Duration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time with its unit, such as `60s` or `250ms`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
                humantime::parse_duration(text)
                    .map(Duration)
                    .map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(WithUnit)
    }
}

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.as_secs(), self.0.subsec_nanos()) {
            (seconds, 0) => write!(f, "{seconds}s"),
            _ => humantime::format_duration(self.0).fmt(f),
        }
    }
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Duration {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A time with its unit, such as `60s` or `250ms`.",
            "type": "string",
            "pattern": r"^\s*[0-9]+\s*[a-zA-Z]+(\s*[0-9]+\s*[a-zA-Z]+)*\s*$",
        })
    }
}

/// A number of bytes with its unit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size(pub(super) u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct WithUnit;

        impl Visitor<'_> for WithUnit {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size with its unit, such as `16KiB` or `10MiB`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
                let size = text.parse::<bytesize::ByteSize>().ok().filter(|_| text.ends_with(['B', 'b']));
                size.map(|size| Size(size.as_u64())).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(WithUnit)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, name) in [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")] {
            if self.0 >= unit && self.0.is_multiple_of(unit) {
                return write!(f, "{}{name}", self.0 / unit);
            }
        }
        write!(f, "{}B", self.0)
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Size {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A number of bytes with its unit, such as `16KiB` or `10MiB`.",
            "type": "string",
            "pattern": r"^[0-9]+(\.[0-9]+)?\s*([kKmMgG][iI]?)?[bB]$",
        })
    }
}

/// The path of a file, as written; relative to the configuration file.
#[derive(Clone, Debug)]
pub(super) struct FilePath(pub(super) PathBuf);

impl<'de> Deserialize<'de> for FilePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Path;

        impl Visitor<'_> for Path {
            type Value = FilePath;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the path of a file")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<FilePath, E> {
                // Whoever writes a key here must not find it in a log.
                if text.contains("-----BEGIN") || text.contains(['\n', '\r', '\0']) {
                    return Err(E::custom("this is the content of a file; write it to a file and give its path here"));
                }
                if text.is_empty() {
                    return Err(E::custom("the path is empty; name a file or remove the key"));
                }
                Ok(FilePath(text.into()))
            }
        }

        deserializer.deserialize_any(Path)
    }
}

impl Serialize for FilePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0.display())
    }
}

impl JsonSchema for FilePath {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "FilePath".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The path of a file; relative to the configuration file.",
            "type": "string",
            "minLength": 1,
        })
    }
}
