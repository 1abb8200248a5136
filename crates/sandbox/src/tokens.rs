//! Access tokens (RFC 9068) as an authorization server makes them, and as an attacker would forge them.
//!
//! Everything is signed exactly as given; nothing checks that a token makes sense.

use aws_lc_rs::hmac;
use serde_json::{Map, Value, json};
use uuid::Uuid;

pub use crate::keys::{KeyKind, Proof, SigningKey, ath};
use crate::keys::{bytes, encode, merge};
use crate::pki::Credential;

/// An access token to be signed (RFC 9068 §2.2); its values are good until they are changed.
///
/// It has no `cnf` until it is bound.
#[derive(Clone, Debug)]
pub struct AccessToken {
    header: Map<String, Value>,
    without_header: Vec<String>,
    claims: Map<String, Value>,
}

impl AccessToken {
    /// Valid from `now`, seconds since the epoch, for 300 seconds; scope `accounts`.
    pub fn new(issuer: impl Into<String>, audience: impl Into<String>, now: u64) -> Self {
        let mut claims = Map::new();
        claims.insert("iss".to_owned(), json!(issuer.into()));
        claims.insert("aud".to_owned(), json!(audience.into()));
        claims.insert("sub".to_owned(), json!("customer-1"));
        claims.insert("client_id".to_owned(), json!("client-1"));
        claims.insert("iat".to_owned(), json!(now));
        claims.insert("exp".to_owned(), json!(now + 300));
        claims.insert("jti".to_owned(), json!(Uuid::new_v4().to_string()));
        claims.insert("scope".to_owned(), json!("accounts"));
        Self { header: Map::new(), without_header: Vec::new(), claims }
    }

    /// Sets `cnf`.`x5t#S256` (RFC 8705 §3.1) and keeps other confirmation methods.
    #[must_use]
    pub fn bound_to_certificate(self, certificate: &Credential) -> Self {
        self.bound_to_thumbprint(&certificate.x5t_s256())
    }

    /// The same for a certificate of which only the thumbprint is at hand, in base64url.
    #[must_use]
    pub fn bound_to_thumbprint(self, x5t_s256: &str) -> Self {
        self.confirmation("x5t#S256", x5t_s256.to_owned())
    }

    /// Sets `cnf`.`jkt` (RFC 9449 §6.1) and keeps other confirmation methods.
    #[must_use]
    pub fn bound_to_key(self, jkt: impl Into<String>) -> Self {
        self.confirmation("jkt", jkt.into())
    }

    /// Sets a claim.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// Removes a claim.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Sets `scope`, words separated by spaces.
    #[must_use]
    pub fn scope(self, scope: &str) -> Self {
        self.claim("scope", scope)
    }

    /// Sets `aud`.
    #[must_use]
    pub fn audience(self, audience: impl Into<Value>) -> Self {
        self.claim("aud", audience)
    }

    /// Sets `exp`, seconds since the epoch.
    #[must_use]
    pub fn expires_at(self, exp: u64) -> Self {
        self.claim("exp", exp)
    }

    /// Sets a header parameter, instead of the one that [`AccessToken::sign`] would write.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self.without_header.retain(|removed| removed != name);
        self
    }

    /// Leaves out a header parameter that [`AccessToken::sign`] would write.
    #[must_use]
    pub fn without_header(mut self, name: &str) -> Self {
        self.without_header.push(name.to_owned());
        self
    }

    /// The claims as they are, for an introspection response.
    pub fn claims(&self) -> Value {
        Value::Object(self.claims.clone())
    }

    /// The compact JWS with header `typ` `at+jwt`, `alg` and `kid` of `key`, unless set otherwise.
    pub fn sign(&self, key: &SigningKey) -> String {
        let defaults = json!({ "typ": "at+jwt", "alg": key.kind().algorithm(), "kid": key.kid() });
        key.sign(&merge(defaults, &self.header, &self.without_header), &self.claims())
    }

    /// The same with an RS256 signature, which no FAPI profile allows; `key` is an RSA key.
    pub fn danger_sign_rs256(&self, key: &SigningKey) -> String {
        let defaults = json!({ "typ": "at+jwt", "alg": "RS256", "kid": key.kid() });
        key.danger_sign_rs256(&merge(defaults, &self.header, &self.without_header), &self.claims())
    }

    fn confirmation(mut self, method: &str, value: String) -> Self {
        let cnf = self.claims.entry("cnf").or_insert_with(|| json!({}));
        match cnf.as_object_mut() {
            Some(cnf) => {
                cnf.insert(method.to_owned(), json!(value));
            }
            None => *cnf = json!({ method: value }),
        }
        self
    }
}

/// A JWK set (RFC 7517 §5) of the public keys.
pub fn jwks(keys: &[&SigningKey]) -> Value {
    json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() })
}

/// An unsecured JWS (RFC 7515 appendix A.5) with an empty third part. `header` is used as it is, including its `alg`.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}.", encode(&bytes(header)), encode(&bytes(claims)))
}

/// A JWS authenticated with HMAC SHA-256; an attacker uses the bytes of a public key as the secret.
pub fn hs256(secret: &[u8], header: &Value, claims: &Value) -> String {
    let input = format!("{}.{}", encode(&bytes(header)), encode(&bytes(claims)));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input.as_bytes());
    format!("{input}.{}", encode(tag.as_ref()))
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::jwk::{Jwk, JwkSet};
    use jsonwebtoken::{Algorithm, DecodingKey, TokenData, Validation, decode, decode_header};

    use super::*;
    use crate::pki::Authority;

    const NOW: u64 = 1_700_000_000;

    fn verify(token: &str, key: &SigningKey) -> Result<TokenData<Value>, jsonwebtoken::errors::Error> {
        let jwk: Jwk = serde_json::from_value(key.jwk()).unwrap();
        let mut validation = Validation::new(key.kind().algorithm().parse::<Algorithm>().unwrap());
        validation.validate_aud = false;
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        decode(token, &DecodingKey::from_jwk(&jwk).unwrap(), &validation)
    }

    #[test]
    fn tokens_of_every_algorithm_verify_with_their_key_only() {
        for kind in KeyKind::ALL {
            let (key, other) = (SigningKey::generate(kind, "a"), SigningKey::generate(kind, "a"));
            let token = AccessToken::new("https://as.example", "https://api.example", NOW).claim("n", 7).sign(&key);
            assert_eq!(verify(&token, &key).unwrap().claims["n"], 7, "{kind:?}");
            assert!(verify(&token, &other).is_err(), "{kind:?}");
        }
    }

    #[test]
    fn access_token_has_the_header_and_claims_of_rfc_9068() {
        let key = SigningKey::generate(KeyKind::EdDsa, "key-1");
        let certificate = Authority::new("ours").client("client");
        let token = AccessToken::new("https://as.example", "https://api.example", NOW)
            .bound_to_certificate(&certificate)
            .bound_to_key(key.thumbprint())
            .claim("jti", "one");
        let header = decode_header(token.sign(&key)).unwrap();
        assert_eq!((header.typ.as_deref(), header.kid.as_deref()), (Some("at+jwt"), Some("key-1")));
        let expected = json!({
            "iss": "https://as.example", "aud": "https://api.example", "sub": "customer-1", "client_id": "client-1",
            "iat": NOW, "exp": NOW + 300, "jti": "one", "scope": "accounts",
            "cnf": { "x5t#S256": certificate.x5t_s256(), "jkt": key.thumbprint() },
        });
        assert_eq!(verify(&token.sign(&key), &key).unwrap().claims, expected);
    }

    #[test]
    fn builder_sets_and_removes_what_it_is_told() {
        let key = SigningKey::generate(KeyKind::EdDsa, "key-1");
        let token = AccessToken::new("https://as.example", "https://api.example", NOW)
            .without("sub")
            .scope("payments")
            .expires_at(NOW)
            .header("typ", "JWT")
            .without_header("kid")
            .sign(&key);
        let decoded = verify(&token, &key).unwrap();
        assert_eq!((decoded.header.typ.as_deref(), decoded.header.kid), (Some("JWT"), None));
        assert_eq!(decoded.claims["sub"], Value::Null);
        assert_eq!((&decoded.claims["scope"], &decoded.claims["exp"]), (&json!("payments"), &json!(NOW)));
    }

    #[test]
    fn forgeries_have_their_form() {
        let key = SigningKey::generate(KeyKind::Ps256, "a");
        let token = unsigned(&json!({ "alg": "none" }), &json!({}));
        assert_eq!(token, "eyJhbGciOiJub25lIn0.e30.");

        let secret = key.public_key_pem();
        let token = hs256(secret.as_bytes(), &json!({ "alg": "HS256" }), &json!({ "n": 7 }));
        let mut validation = Validation::new(Algorithm::HS256);
        validation.required_spec_claims.clear();
        let decoded: TokenData<Value> =
            decode(&token, &DecodingKey::from_secret(secret.as_bytes()), &validation).unwrap();
        assert_eq!(decoded.claims["n"], 7);
    }

    #[test]
    fn key_set_holds_public_keys_only() {
        let keys = KeyKind::ALL.map(|kind| SigningKey::generate(kind, kind.algorithm()));
        let set = jwks(&keys.each_ref());
        assert_eq!(serde_json::from_value::<JwkSet>(set.clone()).unwrap().keys.len(), 3);
        for jwk in set["keys"].as_array().unwrap() {
            assert!(["d", "p", "q", "dp", "dq", "qi", "k"].iter().all(|name| jwk.get(name).is_none()));
        }
    }
}
