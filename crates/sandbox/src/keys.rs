//! Private keys that sign JWTs, and DPoP proofs (RFC 9449 §4.2) as a client makes them.
//!
//! Everything is signed exactly as given; nothing checks that a proof makes sense.

use std::fmt::{self, Write};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use fapi::jose::keys::Algorithm;
use fapi::jose::signing::{KeyFileError, PrivateKey};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// The algorithms that FAPI 2.0 permits (FAPI 2.0 Security Profile §5.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyKind {
    /// ECDSA with P-256.
    Es256,
    /// RSASSA-PSS, 2048 bits.
    Ps256,
    /// Ed25519.
    EdDsa,
}

impl KeyKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Es256, Self::Ps256, Self::EdDsa];

    /// The registered name, the value of `alg`.
    pub fn algorithm(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Ps256 => "PS256",
            Self::EdDsa => "EdDSA",
        }
    }
}

/// A private key that signs JWTs, with its `kid`. Clones share the key; `Debug` does not show it.
#[derive(Clone)]
pub struct SigningKey {
    kind: KeyKind,
    kid: String,
    key: Arc<PrivateKey>,
}

impl SigningKey {
    /// A new key with this `kid`.
    pub fn generate(kind: KeyKind, kid: &str) -> Self {
        let algorithm = match kind {
            KeyKind::Es256 => Algorithm::Es256,
            KeyKind::Ps256 => Algorithm::Ps256,
            KeyKind::EdDsa => Algorithm::EdDsa,
        };
        let key = PrivateKey::generate(algorithm).expect(MAKES);
        Self { kind, kid: kid.to_owned(), key: Arc::new(key) }
    }

    /// The key of a PEM text; its `kid` is its thumbprint.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyFileError> {
        let key = PrivateKey::from_pem(text)?;
        let kind = match key.algorithm() {
            Algorithm::Es256 => KeyKind::Es256,
            Algorithm::Ps256 => KeyKind::Ps256,
            Algorithm::EdDsa => KeyKind::EdDsa,
        };
        let key = Self { kind, kid: String::new(), key: Arc::new(key) };
        Ok(key.with_kid(&key.thumbprint()))
    }

    /// The algorithm it signs with.
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Its `kid` in the key set.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The same key with another `kid`.
    pub fn with_kid(&self, kid: &str) -> Self {
        Self { kid: kid.to_owned(), ..self.clone() }
    }

    /// The public key as an authorization server publishes it (RFC 7517), with `kid`, `use` and `alg`.
    pub fn jwk(&self) -> Value {
        let mut jwk = self.bare_jwk();
        jwk["kid"] = json!(self.kid);
        jwk["use"] = json!("sig");
        jwk["alg"] = json!(self.kind.algorithm());
        jwk
    }

    /// The public JWK with only the members that RFC 7638 §3.2 requires, as in a DPoP proof.
    pub fn bare_jwk(&self) -> Value {
        self.key.public_jwk().expect(WRITES).into()
    }

    /// The JWK thumbprint (RFC 7638) in base64url, the value of `jkt`.
    pub fn thumbprint(&self) -> String {
        let jwk = self.bare_jwk();
        let member = |name: &str| jwk[name].to_string();
        // RFC 7638 §3: the required members in lexicographic order, without whitespace.
        let names: &[&str] = match self.kind {
            KeyKind::Es256 => &["crv", "kty", "x", "y"],
            KeyKind::Ps256 => &["e", "kty", "n"],
            KeyKind::EdDsa => &["crv", "kty", "x"],
        };
        let members: Vec<String> = names.iter().map(|name| format!("\"{name}\":{}", member(name))).collect();
        encode(digest(&SHA256, format!("{{{}}}", members.join(",")).as_bytes()).as_ref())
    }

    /// The public key as PEM (SubjectPublicKeyInfo).
    pub fn public_key_pem(&self) -> String {
        pem("PUBLIC KEY", &self.public_key_der())
    }

    /// The private key as PEM (PKCS#8), for the files that a configuration names.
    pub fn private_key_pem(&self) -> String {
        let der = match &*self.key {
            PrivateKey::Ec(key) => key.to_pkcs8v1().expect(WRITES).as_ref().to_vec(),
            PrivateKey::Rsa(key) => AsDer::<Pkcs8V1Der<'_>>::as_der(key).expect(WRITES).as_ref().to_vec(),
            PrivateKey::Ed(key) => key.to_pkcs8v1().expect(WRITES).as_ref().to_vec(),
            PrivateKey::Kept(_) => panic!("{IS_HERE}"),
        };
        pem("PRIVATE KEY", &der)
    }

    /// A compact JWS (RFC 7515 §7.1) of exactly these values; nothing is added to the header.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_raw(&bytes(header), &bytes(claims))
    }

    /// A compact JWS with an RS256 signature (RSASSA-PKCS1-v1_5), which no FAPI profile allows; only for an RSA key.
    pub fn danger_sign_rs256(&self, header: &Value, claims: &Value) -> String {
        let PrivateKey::Rsa(key) = &*self.key else { panic!("RS256 needs an RSA key") };
        let input = format!("{}.{}", encode(&bytes(header)), encode(&bytes(claims)));
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), input.as_bytes(), &mut signature).expect(SIGNS);
        format!("{input}.{}", encode(&signature))
    }

    /// Like [`SigningKey::sign`], for bytes that need not be JSON.
    pub fn sign_raw(&self, header: &[u8], payload: &[u8]) -> String {
        let input = format!("{}.{}", encode(header), encode(payload));
        let signature = self.signature(input.as_bytes());
        format!("{input}.{}", encode(&signature))
    }

    /// The signature in the form of RFC 7518 §3.4 and §3.5 and RFC 8037 §3.1.
    pub fn signature(&self, message: &[u8]) -> Vec<u8> {
        self.key.sign(message).expect(SIGNS)
    }

    /// The private key, for what the library of the checks makes as a client.
    pub fn private_key(&self) -> &PrivateKey {
        &self.key
    }

    /// The signature of the base of an HTTP message (RFC 9421 §3.3). `named` says whether the message names the algorithm of the key,
    /// which for an RSA key is another one then.
    pub fn http_signature(&self, base: &str, named: bool) -> Vec<u8> {
        self.key.sign_http_message(base.as_bytes(), named).expect(SIGNS)
    }

    /// A DPoP proof (RFC 9449 §4.2); [`Proof`] makes unusual ones. `ath` is the encoded hash, see [`ath`].
    pub fn proof(
        &self,
        method: &str,
        url: &str,
        iat: u64,
        jti: &str,
        ath: Option<&str>,
        nonce: Option<&str>,
    ) -> String {
        let mut proof = Proof::new(method, url, iat).claim("jti", jti);
        if let Some(ath) = ath {
            proof = proof.claim("ath", ath);
        }
        if let Some(nonce) = nonce {
            proof = proof.claim("nonce", nonce);
        }
        proof.sign(self)
    }

    fn public_key_der(&self) -> Vec<u8> {
        let der: PublicKeyX509Der<'_> = match &*self.key {
            PrivateKey::Ec(key) => key.public_key().as_der(),
            PrivateKey::Rsa(key) => key.public_key().as_der(),
            PrivateKey::Ed(key) => key.public_key().as_der(),
            PrivateKey::Kept(_) => panic!("{IS_HERE}"),
        }
        .expect(WRITES);
        der.as_ref().to_vec()
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SigningKey").field("kind", &self.kind).field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// A DPoP proof to be signed (RFC 9449 §4.2); its values are good until they are changed.
#[derive(Clone, Debug)]
pub struct Proof {
    header: Map<String, Value>,
    without_header: Vec<String>,
    claims: Map<String, Value>,
}

impl Proof {
    /// `url` becomes `htu` as it is; `iat` is in seconds since the epoch; `jti` is random.
    pub fn new(method: &str, url: &str, iat: u64) -> Self {
        let mut claims = Map::new();
        claims.insert("jti".to_owned(), json!(Uuid::new_v4().to_string()));
        claims.insert("htm".to_owned(), json!(method));
        claims.insert("htu".to_owned(), json!(url));
        claims.insert("iat".to_owned(), json!(iat));
        Self { header: Map::new(), without_header: Vec::new(), claims }
    }

    /// Sets `ath` to the hash of this token.
    #[must_use]
    pub fn for_token(self, access_token: &str) -> Self {
        self.claim("ath", ath(access_token))
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

    /// Sets a header parameter, instead of the one that [`Proof::sign`] would write.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    /// Leaves out a header parameter that [`Proof::sign`] would write.
    #[must_use]
    pub fn without_header(mut self, name: &str) -> Self {
        self.without_header.push(name.to_owned());
        self
    }

    /// The compact JWS with header `typ` `dpop+jwt`, `alg` and public `jwk` of `key`, unless set otherwise.
    pub fn sign(&self, key: &SigningKey) -> String {
        let defaults = json!({ "typ": "dpop+jwt", "alg": key.kind().algorithm(), "jwk": key.bare_jwk() });
        key.sign(&merge(defaults, &self.header, &self.without_header), &Value::Object(self.claims.clone()))
    }
}

/// RFC 9449 §4.2: the base64url-encoded SHA-256 hash of the access token's ASCII encoding.
pub fn ath(access_token: &str) -> String {
    encode(digest(&SHA256, access_token.as_bytes()).as_ref())
}

/// The PEM text of DER bytes (RFC 7468).
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in encoded.as_bytes().chunks(64) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    writeln!(text, "-----END {label}-----").expect("writing to a String does not fail");
    text
}

pub(crate) fn merge(defaults: Value, set: &Map<String, Value>, removed: &[String]) -> Value {
    let mut header = defaults;
    for (name, value) in set {
        header[name] = value.clone();
    }
    if let Some(header) = header.as_object_mut() {
        header.retain(|name, _| !removed.contains(name));
    }
    header
}

pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    serde_json::to_vec(value).expect("a JSON value has a text form")
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

const MAKES: &str = "aws-lc-rs makes keys of this kind";
const WRITES: &str = "aws-lc-rs writes the keys that it made";
const IS_HERE: &str = "a key of a test is not kept elsewhere";
const SIGNS: &str = "a key signs with the algorithm that it was made for";

#[cfg(test)]
mod tests {
    use jsonwebtoken::jwk::{Jwk, ThumbprintHash};
    use jsonwebtoken::{DecodingKey, TokenData, Validation, decode};
    use rustls::crypto::aws_lc_rs::sign::any_supported_type;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};

    use super::*;

    const NOW: u64 = 1_700_000_000;

    fn verify(token: &str, key: &SigningKey) -> Result<TokenData<Value>, jsonwebtoken::errors::Error> {
        let jwk: Jwk = serde_json::from_value(key.jwk()).unwrap();
        let mut validation = Validation::new(key.kind().algorithm().parse().unwrap());
        validation.validate_aud = false;
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        decode(token, &DecodingKey::from_jwk(&jwk).unwrap(), &validation)
    }

    #[test]
    fn thumbprints_agree_with_another_implementation() {
        for kind in KeyKind::ALL {
            let key = SigningKey::generate(kind, "a");
            let jwk: Jwk = serde_json::from_value(key.jwk()).unwrap();
            assert_eq!(key.thumbprint(), jwk.thumbprint(ThumbprintHash::SHA256).unwrap(), "{kind:?}");
        }
    }

    #[test]
    fn pem_keys_read_back_as_one_pair() {
        for kind in KeyKind::ALL {
            let key = SigningKey::generate(kind, "a");
            let read = SigningKey::from_pem(key.private_key_pem().as_bytes()).unwrap();
            assert_eq!((read.kind(), read.kid(), read.bare_jwk()), (kind, &*key.thumbprint(), key.bare_jwk()));
            let private = PrivateKeyDer::from_pem_slice(key.private_key_pem().as_bytes()).unwrap();
            let public = SubjectPublicKeyInfoDer::from_pem_slice(key.public_key_pem().as_bytes()).unwrap();
            assert_eq!(any_supported_type(&private).unwrap().public_key(), Some(public), "{kind:?}");
        }
    }

    #[test]
    fn headers_are_signed_as_given() {
        let key = SigningKey::generate(KeyKind::Es256, "a");
        let header = json!({ "alg": "ES256", "crit": ["b64"], "b64": false });
        let token = key.sign(&header, &json!({}));
        let first = token.split('.').next().unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(first).unwrap()).unwrap(), header);
        assert_eq!(URL_SAFE_NO_PAD.decode(key.sign_raw(b"{", b"}").split('.').next().unwrap()).unwrap(), b"{");
    }

    #[test]
    fn proof_carries_the_public_key_and_the_claims_of_rfc_9449() {
        let key = SigningKey::generate(KeyKind::Es256, "a");
        let proof = key.proof("GET", "https://api.example/accounts", NOW, "one", Some("hash"), Some("n"));
        let decoded = verify(&proof, &key).unwrap();
        assert_eq!(decoded.header.typ.as_deref(), Some("dpop+jwt"));
        assert_eq!(serde_json::to_value(decoded.header.jwk.unwrap()).unwrap()["x"], key.jwk()["x"]);
        let expected = json!({
            "htm": "GET", "htu": "https://api.example/accounts", "iat": NOW, "jti": "one", "ath": "hash", "nonce": "n",
        });
        assert_eq!(decoded.claims, expected);
        assert!(key.bare_jwk().get("d").is_none());
    }

    /// RFC 9449 §7.1, the example request.
    #[test]
    fn ath_of_the_example_in_rfc_9449() {
        assert_eq!(ath("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"), "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo");
    }
}
