//! `signing`: the gateway's own keys.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PrivateKey;
use super::issuers::Algorithm;

/// The keys that the gateway signs with, for `forward.identity_jwt`, `metadata.signed` and `signature.response`.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Signing {
    /// The `iss` of identity JWTs: a URL such as `https://api.bank.example`, or a name without a colon. Needed where a route
    /// has `forward.identity_jwt`. Default: none.
    pub(in crate::config) issuer: Option<String>,
    /// The keys. The first one signs, and all are published at `/jwks.json` of `admin`, so that a key is known before it signs
    /// and after it.
    #[schemars(required, length(min = 1))]
    pub(in crate::config) keys: Option<Vec<SigningKey>>,
}

/// One of the gateway's own keys.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct SigningKey {
    /// The private key: EC P-256, Ed25519, or RSA from 2048 to 4096 bits; a PEM file, or where it is in a token of PKCS#11, which
    /// may be the first one only where nothing but responses is signed.
    #[schemars(required)]
    pub(in crate::config) private_key: Option<PrivateKey>,
    /// Its `kid`. Default: the thumbprint of the key (RFC 7638).
    pub(in crate::config) key_id: Option<String>,
    /// The algorithm, which has to be that of the key. Default: that of the key.
    pub(in crate::config) algorithm: Option<Algorithm>,
}
