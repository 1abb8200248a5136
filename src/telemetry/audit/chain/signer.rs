//! The key of a chain, and the signatures of its checkpoints: JWS in compact serialization, of which the content is detached.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fapi::jose::keys::Algorithm;
use fapi::jose::signing::{NotSigned, PrivateKey};
use fapi::jose::thumbprint::KeyThumbprint;
use serde_json::json;

/// A private key for ES256 or EdDSA. `Debug` does not show it.
pub struct ChainKey {
    key: PrivateKey,
    /// The header, which is the same for all checkpoints, in base64url.
    header: String,
}

/// An RSA key, whose signatures take too long, or one of which the public key cannot be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the key is neither EC P-256 nor Ed25519")]
pub struct Unusable;

impl ChainKey {
    /// The header names the key by its thumbprint (RFC 7638).
    ///
    /// # Errors
    /// [`Unusable`].
    pub fn new(key: PrivateKey) -> Result<Self, Unusable> {
        if key.algorithm() == Algorithm::Ps256 {
            return Err(Unusable);
        }
        let jwk = key.public_jwk().map_err(|_| Unusable)?;
        let thumbprint = KeyThumbprint::of_jwk(&jwk).ok_or(Unusable)?;
        let header = json!({ "alg": key.algorithm().as_str(), "kid": thumbprint.to_string(), "typ": TYP });
        Ok(Self { key, header: URL_SAFE_NO_PAD.encode(header.to_string()) })
    }

    /// Whether a signature may take long, since the key is in a token.
    pub(super) const fn may_block(&self) -> bool {
        self.key.may_block()
    }

    /// Signs this content: the header, two dots and the signature (RFC 7515 appendix F).
    ///
    /// # Errors
    /// [`NotSigned`].
    pub(super) fn sign(&self, content: &[u8]) -> Result<String, NotSigned> {
        let signature = self.key.sign(signed(&self.header, content).as_bytes())?;
        Ok(format!("{}..{}", self.header, URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl fmt::Debug for ChainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChainKey").field("algorithm", &self.key.algorithm()).finish_non_exhaustive()
    }
}

/// What is signed (RFC 7515 §5.1): the header in base64url, a dot, and the content in base64url.
pub(super) fn signed(header: &str, content: &[u8]) -> String {
    format!("{header}.{}", URL_SAFE_NO_PAD.encode(content))
}

/// The type of the signature, so that it is not taken for another of the same key (RFC 8725 §3.11).
pub(super) const TYP: &str = "audit-checkpoint";
