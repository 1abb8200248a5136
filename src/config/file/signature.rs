//! `routes[].signature` and `client_keys`: HTTP message signatures.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::scalar::{Duration, FilePath, Size};
use super::issuers::DecryptionKey;

/// Signatures of this route's messages (RFC 9421). Has `request`, `response`, or both.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Signature {
    /// Whether a request has to be signed: `required`, or `when_present` for a signature that has to hold if it is there. Its content
    /// is then read as a whole before any of it is forwarded. Default: nobody looks.
    pub(in crate::config) request: Option<SignedRequests>,
    /// `sign`: the response is kept until it is whole, and signed by the first key of `signing`. Default: it is not signed.
    pub(in crate::config) response: Option<SignedResponses>,
    /// What a signature has to be.
    #[schemars(extend("default" = "fapi2"))]
    pub(in crate::config) profile: Option<SignatureProfile>,
    /// Components that it has to cover, such as `x-idempotency-key` or `@authority`: beside those of `fapi2`, or all of them with
    /// `custom`, but for the digest of the content, which always has to be covered. Default: no others.
    #[schemars(length(min = 1))]
    pub(in crate::config) components: Option<Vec<String>>,
    /// The `tag` that it has to have; only with `custom`. Default: any.
    pub(in crate::config) tag: Option<String>,
    /// How long after its `created` it is accepted; whole seconds, from 1s to 300s.
    #[schemars(extend("default" = "60s"))]
    pub(in crate::config) max_age: Option<Duration>,
    /// Whether it is accepted a second time.
    #[schemars(extend("default" = "remember"))]
    pub(in crate::config) replay: Option<SignatureReplay>,
    /// Where the keys of clients are: one of `client_keys`. The client is that of the token. Required with `request`, but for
    /// `berlin_group`, whose certificates come with the requests; with `brazil`, also for responses.
    pub(in crate::config) keys: Option<String>,
    /// Domains of the trust anchors that `tan` may name, the first of which responses name; only with `uk_obie`.
    #[schemars(length(min = 1), extend("default" = ["openbanking.org.uk"]))]
    pub(in crate::config) trust_anchors: Option<Vec<String>>,
    /// PEM files with the authorities that issue certificates for seals, as trusted lists name them; only with `berlin_group`, and
    /// required there.
    #[schemars(length(min = 1))]
    pub(in crate::config) seal_trust_anchors: Option<Vec<FilePath>>,
    /// Files with revocation lists of these authorities, PEM or DER; only with `berlin_group`. With them, a request is answered with 503
    /// if no list covers its certificate, or one that is over. Default: none; nothing is known to be revoked.
    #[schemars(length(min = 1))]
    pub(in crate::config) seal_revocation_lists: Option<Vec<FilePath>>,
    /// What the upstream gets of a body that is a signed JWT; only with `brazil` and `gulf`.
    #[schemars(extend("default" = "as_is"))]
    pub(in crate::config) forward: Option<SignedForward>,
    /// The keys that every body is encrypted for one of, named by its `kid` if there are several, as a JWE around the signed JWT, with
    /// RSA-OAEP-256 or ECDH-ES, and A256GCM; only with `brazil` and `gulf`. A body that is signed only is then refused. Default: none is encrypted.
    #[schemars(length(min = 1, max = 8))]
    pub(in crate::config) decryption_keys: Option<Vec<DecryptionKey>>,
    /// The largest response that is kept and signed, from 1KiB to 64MiB; only with `response`.
    #[schemars(extend("default" = "10MiB"))]
    pub(in crate::config) response_bytes: Option<Size>,
}

/// Whether a request has to be signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum SignedRequests {
    /// It has to.
    Required,
    /// It need not, but a signature that is there has to hold.
    WhenPresent,
}

/// How responses are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum SignedResponses {
    /// As `profile` has it; with `fapi2` and `custom`, as FAPI 2.0 HTTP Signatures has it.
    Sign,
}

/// What a signature has to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum SignatureProfile {
    /// What FAPI 2.0 HTTP Signatures says: tag `fapi-2-request`, over `@method`, `@target-uri`, `authorization`, `dpop` if there is
    /// a proof, and `content-digest` if there is content.
    #[default]
    Fapi2,
    /// What `components` and `tag` say.
    Custom,
    /// `x-jws-signature` over the body, as in UK Open Banking. A request without a body needs none.
    UkObie,
    /// A body that is a JWT, as in Open Finance Brazil, with `data`. A request without a body needs none.
    Brazil,
    /// A body that is a JWT, as in the UAE and KSA, with `message`. A request without a body needs none.
    Gulf,
    /// `Digest`, `Signature` and `TPP-Signature-Certificate` of the Berlin Group, by a certificate for electronic seals.
    BerlinGroup,
}

/// What the upstream gets of a body that is a signed JWT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum SignedForward {
    /// The JWT as it came, still encrypted if it was.
    #[default]
    AsIs,
    /// The value of `data` or `message`, as its signer wrote it, as `application/json`.
    Payload,
}

/// Whether a signature is accepted a second time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(in crate::config) enum SignatureReplay {
    /// Once, unless the method is GET, HEAD or OPTIONS.
    #[default]
    Remember,
    /// Once, whatever the method is.
    RememberAll,
    /// As often as it comes, for `max_age`.
    Ignore,
}

/// Where the keys are that clients sign messages with: `directory`, `file` or `authorization_server`.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct ClientKeys {
    /// Folder with a document of client metadata for each, in files that end with `.json` (RFC 7591 section 2, with `client_id`, and
    /// `jwks` or `jwks_uri`; `org_id` and `software_id` are how a directory names the client).
    pub(in crate::config) directory: Option<FilePath>,
    /// PEM files with the authorities of the hosts of a `jwks_uri`; only with `directory`. Default: the system's.
    #[schemars(length(min = 1))]
    pub(in crate::config) trust_anchors: Option<Vec<FilePath>>,
    /// JSON file with an object of which each member is the JWK Set of the client that it is named after. Beside `keys`, it may have
    /// `org_id` and `software_id`, by which a directory names the client.
    pub(in crate::config) file: Option<FilePath>,
    /// The clients of one of `authorization_servers`, by its name.
    pub(in crate::config) authorization_server: Option<String>,
}
