//! The gateway's own keys: one signs JWTs, and all are published as a key set (RFC 7517 §5), so that recipients know a key
//! before it signs.

use std::fmt;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::keys::Algorithm;
use super::signing::{NotSigned, PrivateKey, Unsupported};
use super::thumbprint::KeyThumbprint;

/// A private key with the name by which recipients know it. `Debug` does not show the key.
#[derive(Debug)]
pub struct NamedKey {
    key: PrivateKey,
    key_id: Box<str>,
    thumbprint: KeyThumbprint,
    jwk: Map<String, Value>,
}

impl NamedKey {
    /// The key with this `kid`, or with its thumbprint (RFC 7638 §3) for one.
    ///
    /// # Errors
    /// [`Unsupported`] if the public key cannot be encoded.
    pub fn new(key: PrivateKey, key_id: Option<&str>) -> Result<Self, Unsupported> {
        let mut jwk = key.public_jwk()?;
        let thumbprint = KeyThumbprint::of_jwk(&jwk).ok_or(Unsupported)?;
        let key_id = key_id.map_or_else(|| thumbprint.to_string(), str::to_owned);
        let members = [("alg", key.algorithm().as_str()), ("kid", &key_id), ("use", "sig")];
        jwk.extend(members.map(|(name, value)| (name.to_owned(), value.into())));
        Ok(Self { key, key_id: key_id.into(), thumbprint, jwk })
    }

    /// Its `kid`.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The public key as a JWK, in JSON.
    pub(crate) fn jwk_text(&self) -> String {
        Value::Object(self.jwk.clone()).to_string()
    }

    /// The key itself.
    pub const fn key(&self) -> &PrivateKey {
        &self.key
    }

    /// The algorithm it signs with.
    pub fn algorithm(&self) -> Algorithm {
        self.key.algorithm()
    }

    /// The hash of its public key.
    pub const fn thumbprint(&self) -> &KeyThumbprint {
        &self.thumbprint
    }

    /// Signs a message as [`PrivateKey::sign`] does, for a JWS whose payload is not JSON, or not in it.
    ///
    /// # Errors
    /// [`NotSigned`].
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, NotSigned> {
        self.key.sign(message)
    }
}

/// The key that signs, and the public keys of all.
#[derive(Debug)]
pub struct SigningKeys {
    first: NamedKey,
    key_set: Box<str>,
}

impl SigningKeys {
    /// `first` signs, and is published with `others`, of which only the public keys are kept.
    ///
    /// Does not check that each has another `kid`.
    pub fn new(first: NamedKey, others: &[NamedKey]) -> Self {
        let keys: Vec<&Map<String, Value>> = std::iter::once(&first).chain(others).map(|key| &key.jwk).collect();
        let key_set = json!({ "keys": keys }).to_string().into();
        Self { first, key_set }
    }

    /// The key set with all public keys, as JSON.
    pub fn key_set(&self) -> &str {
        &self.key_set
    }

    /// The key that signs.
    pub const fn first(&self) -> &NamedKey {
        &self.first
    }
}

/// Signs JWTs of one type.
#[derive(Clone)]
pub struct JwtSigner {
    keys: Arc<SigningKeys>,
    /// The header, which is the same for all, in base64url.
    header: Arc<str>,
}

impl JwtSigner {
    /// Signs with the first of these keys; `typ` is the type (RFC 7519 §5.1).
    pub fn new(keys: Arc<SigningKeys>, typ: &str) -> Self {
        let header = json!({ "alg": keys.first.algorithm().as_str(), "kid": keys.first.key_id, "typ": typ });
        Self { header: URL_SAFE_NO_PAD.encode(header.to_string()).into(), keys }
    }

    /// Signs exactly these claims as a compact JWS (RFC 7515 §7.1).
    ///
    /// # Errors
    /// [`NotSigned`].
    pub fn sign(&self, claims: &Value) -> Result<String, NotSigned> {
        let claims = claims.to_string();
        let mut jws = String::with_capacity(self.header.len().saturating_add(claims.len()).saturating_mul(2));
        jws.push_str(&self.header);
        jws.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut jws);
        let signature = self.keys.first.key.sign(jws.as_bytes())?;
        jws.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut jws);
        Ok(jws)
    }
}

impl fmt::Debug for JwtSigner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtSigner").field("key_id", &self.keys.first.key_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::jwk::{Jwk, JwkSet, ThumbprintHash};
    use jsonwebtoken::{DecodingKey, Validation, decode};

    use super::*;

    fn named(algorithm: Algorithm, key_id: Option<&str>) -> NamedKey {
        NamedKey::new(PrivateKey::generate(algorithm).unwrap(), key_id).unwrap()
    }

    /// The claims of a JWT, if another library can verify it with the key of its `kid` in this set.
    fn verified(jwt: &str, keys: &SigningKeys) -> Option<Value> {
        let set: JwkSet = serde_json::from_str(keys.key_set()).unwrap();
        let header = jsonwebtoken::decode_header(jwt).unwrap();
        let key = DecodingKey::from_jwk(set.find(&header.kid.unwrap())?).unwrap();
        let mut validation = Validation::new(header.alg);
        validation.required_spec_claims.clear();
        decode(jwt, &key, &validation).ok().map(|decoded| decoded.claims)
    }

    #[test]
    fn the_first_key_signs_and_another_library_verifies_with_the_key_set() {
        for algorithm in Algorithm::ALL {
            let keys = Arc::new(SigningKeys::new(named(*algorithm, Some("one")), &[named(*algorithm, Some("two"))]));
            let jwt = JwtSigner::new(keys.clone(), "identity+jwt").sign(&json!({ "sub": "a" })).unwrap();
            let header = jsonwebtoken::decode_header(&jwt).unwrap();
            assert_eq!((header.typ.as_deref(), header.kid.as_deref()), (Some("identity+jwt"), Some("one")));
            assert_eq!(verified(&jwt, &keys), Some(json!({ "sub": "a" })), "{algorithm:?}");
            let namesake = SigningKeys::new(named(*algorithm, Some("one")), &[]);
            assert_eq!(verified(&jwt, &namesake), None, "control: {algorithm:?}");
        }
    }

    #[test]
    fn a_key_is_published_before_it_signs_and_after_it() {
        let (old, new) = (PrivateKey::generate(Algorithm::Es256).unwrap(), PrivateKey::generate(Algorithm::Es256));
        let old = NamedKey::new(old, Some("old")).unwrap();
        let keys = Arc::new(SigningKeys::new(NamedKey::new(new.unwrap(), Some("new")).unwrap(), &[old]));
        let set: JwkSet = serde_json::from_str(keys.key_set()).unwrap();
        let names: Vec<_> = set.keys.iter().map(|key| key.common.key_id.as_deref().unwrap()).collect();
        assert_eq!(names, ["new", "old"]);
    }

    #[test]
    fn a_key_without_a_name_has_its_thumbprint_and_nothing_private_is_published() {
        for algorithm in Algorithm::ALL {
            let key = named(*algorithm, None);
            let keys = SigningKeys::new(key, &[]);
            let set: Value = serde_json::from_str(keys.key_set()).unwrap();
            let jwk: Jwk = serde_json::from_value(set["keys"][0].clone()).unwrap();
            assert_eq!(keys.first().key_id(), jwk.thumbprint(ThumbprintHash::SHA256).unwrap(), "{algorithm:?}");
            let mut members: Vec<&String> = set["keys"][0].as_object().unwrap().keys().collect();
            members.sort();
            let expected: &[&str] = match algorithm {
                Algorithm::Es256 => &["alg", "crv", "kid", "kty", "use", "x", "y"],
                Algorithm::EdDsa => &["alg", "crv", "kid", "kty", "use", "x"],
                Algorithm::Ps256 => &["alg", "e", "kid", "kty", "n", "use"],
            };
            assert_eq!(members, expected);
        }
    }

    #[test]
    fn debug_shows_no_key() {
        let keys = Arc::new(SigningKeys::new(named(Algorithm::Es256, Some("one")), &[]));
        assert_eq!(format!("{:?}", JwtSigner::new(keys, "JWT")), "JwtSigner { key_id: \"one\", .. }");
    }
}
