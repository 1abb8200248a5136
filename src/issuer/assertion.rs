//! How the gateway authenticates to an issuer with `private_key_jwt` (RFC 7523 §2.2, FAPI 2.0 §5.3.3.1).

use std::fmt;
use std::sync::Arc;

use fapi::client::assertion;
use fapi::jose::signing::{NotSigned, PrivateKey, Unsupported};
use fapi::{UnixTime, sha256};
use rustls::pki_types::PrivateKeyDer;
use uuid::Uuid;

/// The key that the gateway signs its assertions with. `Debug` does not show it.
#[derive(Clone)]
pub struct ClientKey {
    key: Arc<PrivateKey>,
    key_id: Option<Box<str>>,
    /// Distinguishes two keys without comparing them.
    identity: [u8; 32],
}

impl ClientKey {
    /// A key with what distinguishes it from others; `key_id` is the `kid` it is registered with, if the issuer needs one.
    pub fn new(key: PrivateKey, identity: [u8; 32], key_id: Option<&str>) -> Self {
        Self { key: Arc::new(key), key_id: key_id.map(Box::from), identity }
    }

    /// A key in DER.
    ///
    /// # Errors
    /// [`Unsupported`].
    pub fn from_der(der: &PrivateKeyDer<'_>, key_id: Option<&str>) -> Result<Self, Unsupported> {
        Ok(Self::new(PrivateKey::from_der(der)?, sha256(der.secret_der()), key_id))
    }

    /// A new assertion for one call, from `client_id` to `issuer`.
    ///
    /// # Errors
    /// [`NotSigned`].
    pub async fn assertion(&self, client_id: &str, issuer: &str, now: UnixTime) -> Result<String, NotSigned> {
        let jti = Uuid::new_v4().to_string();
        if !self.key.may_block() {
            return assertion::assertion(&self.key, self.key_id.as_deref(), client_id, issuer, &jti, now);
        }
        let (own, client_id, issuer) = (self.clone(), client_id.to_owned(), issuer.to_owned());
        // This thread serves clients. How many of these wait is bounded by the calls that may be in progress.
        let signing = tokio::task::spawn_blocking(move || {
            assertion::assertion(&own.key, own.key_id.as_deref(), &client_id, &issuer, &jti, now)
        });
        signing.await.unwrap_or(Err(NotSigned))
    }
}

impl PartialEq for ClientKey {
    fn eq(&self, other: &Self) -> bool {
        (self.identity, &self.key_id) == (other.identity, &other.key_id)
    }
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientKey").field("key", &self.key).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
    use rustls::pki_types::pem::PemObject;
    use sandbox::tokens::{KeyKind, SigningKey};
    use serde_json::{Value, json};

    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn client_key(key: &SigningKey, key_id: Option<&str>) -> ClientKey {
        let der = PrivateKeyDer::from_pem_slice(key.private_key_pem().as_bytes()).unwrap();
        ClientKey::from_der(&der, key_id).unwrap()
    }

    fn verify(assertion: &str, key: &SigningKey) -> Option<Value> {
        let mut validation = Validation::new(key.kind().algorithm().parse().unwrap());
        validation.set_audience(&["https://as.example"]);
        validation.validate_exp = false;
        let verifier = DecodingKey::from_jwk(&serde_json::from_value(key.jwk()).unwrap()).unwrap();
        decode::<Value>(assertion, &verifier, &validation).ok().map(|decoded| decoded.claims)
    }

    #[tokio::test]
    async fn fapi2_cl_02_an_assertion_says_who_asks_whom_and_for_how_long() {
        for kind in KeyKind::ALL {
            let key = SigningKey::generate(kind, "a");
            let assertion = client_key(&key, Some("a")).assertion("gateway", "https://as.example", NOW).await.unwrap();
            let mut claims = verify(&assertion, &key).unwrap();
            let id = claims.as_object_mut().unwrap().remove("jti").unwrap();
            assert!(Uuid::parse_str(id.as_str().unwrap()).is_ok());
            let expected = json!({
                "iss": "gateway", "sub": "gateway", "aud": "https://as.example", "iat": NOW.0, "exp": NOW.0 + 60,
            });
            assert_eq!(claims, expected);
            let header = decode_header(&assertion).unwrap();
            assert_eq!((header.typ.as_deref(), header.kid.as_deref()), (Some("JWT"), Some("a")));
            assert_eq!(verify(&assertion, &SigningKey::generate(kind, "a")), None, "control");
        }
    }

    #[tokio::test]
    async fn fapi2_cl_02_no_two_assertions_are_the_same_and_a_key_without_a_name_has_none() {
        let key = client_key(&SigningKey::generate(KeyKind::EdDsa, "a"), None);
        let mut assertions = Vec::new();
        for _ in 0..100 {
            assertions.push(key.assertion("gateway", "https://as.example", NOW).await.unwrap());
        }
        assert_eq!(assertions.iter().collect::<std::collections::HashSet<_>>().len(), 100);
        assert_eq!(decode_header(&assertions[0]).unwrap().kid, None);
    }

    #[test]
    fn keys_are_told_apart_and_never_shown() {
        let (one, other) = (SigningKey::generate(KeyKind::Es256, "a"), SigningKey::generate(KeyKind::Es256, "a"));
        assert_eq!(client_key(&one, Some("a")), client_key(&one, Some("a")));
        assert_ne!(client_key(&one, Some("a")), client_key(&one, Some("b")));
        assert_ne!(client_key(&one, Some("a")), client_key(&one, None));
        assert_ne!(client_key(&one, Some("a")), client_key(&other, Some("a")));
        let shown = format!("{:?}", client_key(&one, Some("a")));
        assert_eq!(shown, "ClientKey { key: PrivateKey(Es256), .. }");
    }
}
