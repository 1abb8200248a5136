//! `listeners` and `admin`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::scalar::{Duration, FilePath};
use super::{Cors, Profiles};

/// Where clients connect, which origins are served there, and its TLS.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Listener {
    /// Address and port, such as `0.0.0.0:8443` or `[::]:8443`. Entries with one address share it; the server name that
    /// a client sends in TLS selects the entry, so their hosts must differ.
    #[schemars(required)]
    pub(in crate::config) address: Option<String>,
    /// The public origins served here, such as `https://api.bank.example`, with a path prefix where an outer proxy removes
    /// one. Requests for any other host are refused.
    #[schemars(required, length(min = 1))]
    pub(in crate::config) origins: Option<Vec<String>>,
    /// The certificate of the listener, and the certificates that it requests from clients.
    #[schemars(required)]
    pub(in crate::config) tls: Option<ListenerTls>,
    /// The proxies in front that may forward the certificates of their clients. Default: none, and no such header is
    /// trusted.
    pub(in crate::config) forwarded_client_certificate: Option<ForwardedClientCertificate>,
    /// The balancers in front that pass TLS through and name their clients by the PROXY protocol, version 1 or 2; the same in
    /// all entries of an address. Default: none, and a client's address is that of its connection.
    pub(in crate::config) proxy_protocol: Option<ProxyProtocol>,
    /// The FAPI profile of the routes at these origins that say none: that of all routes, or a stricter one; its name, or
    /// `{ base: ..., ecosystem: ... }`. Default: that of all routes, with their ecosystem.
    pub(in crate::config) profile: Option<Profiles>,
    /// What scripts of other origins may send and read, on routes without a `cors` of their own. Default: nothing.
    pub(in crate::config) cors: Option<Cors>,
}

/// The balancers in front of a listener that name their clients by the PROXY protocol.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ProxyProtocol {
    /// Their addresses or networks, such as `10.0.0.0/8`. Every connection from there must begin with a header, and may name
    /// any client address; on connections from elsewhere no header is read.
    #[schemars(required, length(min = 1))]
    pub(in crate::config) from: Option<Vec<String>>,
}

/// How proxies that terminate TLS in front of a listener forward the certificates of their clients.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ForwardedClientCertificate {
    /// How the proxies write a certificate; no other header is read.
    #[schemars(required)]
    pub(in crate::config) dialect: Option<Dialect>,
    /// The header that carries it; required with `nginx_escaped_pem`, and only allowed there. It begins with `X-SSL-`,
    /// `SSL-Client-`, `X-Client-Cert` or `Client-Cert`.
    pub(in crate::config) header: Option<String>,
    /// Who the proxies are. Tokens are never bound to their own certificates; the header is ignored from everyone else.
    #[schemars(required)]
    pub(in crate::config) from: Option<Proxies>,
    /// What makes a certificate acceptable. With `possession` the gateway does not check the chain; the proxy must.
    #[schemars(extend("default" = "chain"))]
    pub(in crate::config) trust: Option<Trust>,
    /// PEM files with the authorities of client certificates; required with `trust: chain`.
    #[schemars(length(min = 1))]
    pub(in crate::config) trust_anchors: Option<Vec<FilePath>>,
    /// What a certificate must be meant for; only with `trust: chain`.
    #[schemars(extend("default" = "client_auth_or_absent"))]
    pub(in crate::config) extended_key_usage: Option<ExtendedKeyUsage>,
    /// Certificate revocation lists, PEM or DER; only with `trust: chain`. With any, a certificate that none of them covers
    /// is refused, along the whole chain. Without any, revocation is not checked.
    #[schemars(extend("default" = []))]
    pub(in crate::config) revocation_lists: Option<Vec<FilePath>>,
    /// What happens to certificates whose revocation list is past its `nextUpdate`; only with revocation lists.
    #[schemars(extend("default" = "refuse"))]
    pub(in crate::config) revocation_list_expired: Option<OnExpired>,
}

/// How a proxy writes the certificate of its client into a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Dialect {
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

/// Who the proxies in front of a listener are. A proxy has one of the addresses, if any are listed, and has shown a certificate
/// with one of the names or thumbprints, if any are listed. At least one of the three.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1))]
pub(in crate::config) struct Proxies {
    /// Their addresses or networks, such as `10.0.0.0/8`. Without `names` and `thumbprints`, everyone who can connect
    /// from there counts as a proxy.
    #[schemars(length(min = 1))]
    pub(in crate::config) addresses: Option<Vec<String>>,
    /// Host names or URIs among the subject alternative names of their certificates; `client_certificates` must have
    /// `trust: chain`.
    #[schemars(length(min = 1))]
    pub(in crate::config) names: Option<Vec<String>>,
    /// SHA-256 of their certificates in DER, in base64url, as in `x5t#S256`.
    #[schemars(length(min = 1))]
    pub(in crate::config) thumbprints: Option<Vec<String>>,
}

/// TLS of a listener.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ListenerTls {
    /// PEM file with the certificate chain, leaf first.
    #[schemars(required)]
    pub(in crate::config) certificate: Option<FilePath>,
    /// PEM file with the key of the leaf (PKCS#8, SEC1 or PKCS#1).
    #[schemars(required)]
    pub(in crate::config) private_key: Option<FilePath>,
    /// The certificates that are requested from clients.
    #[schemars(required)]
    pub(in crate::config) client_certificates: Option<ClientCertificates>,
}

/// The certificates that are requested from clients.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ClientCertificates {
    /// Whether a client must present a certificate.
    #[schemars(required)]
    pub(in crate::config) mode: Option<Mode>,
    /// What makes a certificate acceptable.
    #[schemars(extend("default" = "chain"))]
    pub(in crate::config) trust: Option<Trust>,
    /// PEM files with the authorities of client certificates; required with `trust: chain`.
    #[schemars(length(min = 1))]
    pub(in crate::config) trust_anchors: Option<Vec<FilePath>>,
    /// What a certificate must be meant for; only with `trust: chain`.
    #[schemars(extend("default" = "client_auth_or_absent"))]
    pub(in crate::config) extended_key_usage: Option<ExtendedKeyUsage>,
    /// Certificate revocation lists, PEM or DER; only with `trust: chain`. With any, a certificate that none of them covers
    /// is refused, along the whole chain. Without any, revocation is not checked.
    #[schemars(extend("default" = []))]
    pub(in crate::config) revocation_lists: Option<Vec<FilePath>>,
    /// What happens to certificates whose revocation list is past its `nextUpdate`; only with revocation lists.
    #[schemars(extend("default" = "refuse"))]
    pub(in crate::config) revocation_list_expired: Option<OnExpired>,
}

/// Whether a client must present a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Mode {
    /// The handshake fails without one.
    Required,
    /// A client may come without one; it can then only use public routes and tokens that are bound to a DPoP key.
    Optional,
    /// None is requested; only public routes and tokens that are bound to a DPoP key can be used.
    None,
}

/// What makes a client certificate acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum Trust {
    /// A chain to one of the trust anchors.
    Chain,
    /// Possession of its key: any certificate, self-signed too (RFC 8705 section 6.2).
    Possession,
}

/// What a client certificate must be meant for (RFC 5280 section 4.2.1.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum ExtendedKeyUsage {
    /// It names clientAuth.
    ClientAuth,
    /// It names clientAuth, or has no extended key usage.
    ClientAuthOrAbsent,
    /// Whatever it names, a server's certificate included.
    Any,
}

/// What happens to certificates whose revocation list is past its nextUpdate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum OnExpired {
    /// They are refused, on open connections too.
    Refuse,
    /// The list is still used.
    Accept,
}

/// The operators' own listener.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Admin {
    /// Address and port of a page for people at `/`, and of `/metrics`, `/livez`, `/readyz`, `/status`, `/jwks.json`, `/decisions`,
    /// `/log` and `/revocations`; never a
    /// listener's.
    #[schemars(required)]
    pub(in crate::config) address: Option<String>,
    /// TLS, with a client certificate for `/`, `/decisions`, `/revocations` and a PUT to `/log`. Default: plain HTTP.
    pub(in crate::config) tls: Option<AdminTls>,
    /// How tokens are revoked by `POST /revocations`; on an address that is not loopback this requires `tls`. Default:
    /// none, and there is no such path.
    pub(in crate::config) revocations: Option<Revocations>,
    /// How many of the last decisions `/decisions` shows, whole lines of the audit; only on a loopback address, or to clients
    /// with a certificate by `tls`. 0 for none.
    #[schemars(range(max = 10_000), extend("default" = 1000))]
    pub(in crate::config) decisions: Option<u64>,
}

/// TLS of the operators' listener.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct AdminTls {
    /// PEM file with the certificate chain, leaf first.
    #[schemars(required)]
    pub(in crate::config) certificate: Option<FilePath>,
    /// PEM file with the key of the leaf (PKCS#8, SEC1 or PKCS#1).
    #[schemars(required)]
    pub(in crate::config) private_key: Option<FilePath>,
    /// PEM files with the authorities of the clients that may send revocations, read decisions and change the log; probes need
    /// no certificate.
    #[schemars(required, length(min = 1))]
    pub(in crate::config) trust_anchors: Option<Vec<FilePath>>,
}

/// How tokens are revoked at the gateway.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Revocations {
    /// How long a revocation is kept that does not say when the last of its tokens expires; at least the lifetime of a
    /// JWT. From 60s to 720h.
    #[schemars(extend("default" = "24h"))]
    pub(in crate::config) keep: Option<Duration>,
    /// How many revocations are kept at a time; more are answered with 503.
    #[schemars(range(min = 1, max = 10_000_000), extend("default" = 100_000))]
    pub(in crate::config) max_entries: Option<u64>,
    /// Whose security event tokens are accepted (RFC 8417, RFC 8935).
    #[schemars(extend("default" = []))]
    pub(in crate::config) security_events: Option<Vec<SecurityEvents>>,
}

/// An issuer whose security event tokens are accepted.
#[derive(Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct SecurityEvents {
    /// The name of one of the issuers; its keys and `algorithms` apply to the events too.
    #[schemars(required)]
    pub(in crate::config) issuer: Option<String>,
    /// The value of `aud` that means this gateway.
    #[schemars(required)]
    pub(in crate::config) audience: Option<String>,
}
