//! How the gateway proves to an issuer who asks: `private_key_jwt` (RFC 7523 §2.2, FAPI 2.0 §5.3.3.1).

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use uuid::Uuid;

use crate::fapi::{UnixTime, sha256};
use crate::signing::{NotSigned, PrivateKey, Unsupported};

/// The key that the gateway signs its assertions with. `Debug` does not show it.
#[derive(Clone)]
pub struct ClientKey {
    key: Arc<PrivateKey>,
    key_id: Option<Box<str>>,
    /// Tells two keys apart without looking at them.
    digest: [u8; 32],
}

impl ClientKey {
    /// The key of a file; `key_id` is the `kid` it is registered with, if the issuer wants one.
    ///
    /// # Errors
    /// [`Unsupported`].
    pub fn new(der: &PrivateKeyDer<'_>, key_id: Option<&str>) -> Result<Self, Unsupported> {
        let key = Arc::new(PrivateKey::from_der(der)?);
        Ok(Self { key, key_id: key_id.map(Box::from), digest: sha256(der.secret_der()) })
    }

    /// A new assertion for one call, from `client_id` to `issuer`.
    ///
    /// # Errors
    /// [`NotSigned`].
    pub fn assertion(&self, client_id: &str, issuer: &str, now: UnixTime) -> Result<String, NotSigned> {
        let mut header = json!({ "alg": self.key.algorithm().as_str(), "typ": "JWT" });
        if let (Some(key_id), Some(header)) = (&self.key_id, header.as_object_mut()) {
            header.insert("kid".to_owned(), (&**key_id).into());
        }
        let claims = json!({
            "iss": client_id,
            "sub": client_id,
            // FAPI 2.0 §5.3.3.1: the issuer identifier "as a string, not as an item in an array".
            "aud": issuer,
            "jti": Uuid::new_v4().to_string(),
            "iat": now.0,
            "exp": now.plus(LIFETIME).0,
        });
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&header), part(&claims));
        let signature = self.key.sign(signed.as_bytes())?;
        Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }
}

impl PartialEq for ClientKey {
    fn eq(&self, other: &Self) -> bool {
        (self.digest, &self.key_id) == (other.digest, &other.key_id)
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientKey").field("key", &self.key).finish_non_exhaustive()
    }
}

/// How long an assertion counts, in seconds; it is used at once.
const LIFETIME: u64 = 60;
