//! The recipient's private keys, and the public key of another recipient.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::agreement::{self, ECDH_P256};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{
    self, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};
use serde_json::{Map, Value};

use super::super::keys::VerifyingKey;
use super::super::public_key::{jwk_of_spki, rsa_key};
use super::super::signing::private_key_of_pem;
use super::super::thumbprint::KeyThumbprint;
use super::agreement::{Agreement, Point, sent};
use super::content::ContentKey;
use super::error::{DecryptionKeyError, EncryptionKeyError, NotEncrypted, Unsupported};
use crate::text::shown_value;

/// A way to the content encryption key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyManagement {
    /// RFC 7518 §4.3.
    RsaOaep256,
    /// RFC 7518 §4.6, in Direct Key Agreement mode.
    EcdhEs,
}

impl KeyManagement {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::RsaOaep256 => "RSA-OAEP-256",
            Self::EcdhEs => "ECDH-ES",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::RsaOaep256, Self::EcdhEs].into_iter().find(|algorithm| algorithm.as_str() == name)
    }
}

/// What a JWE says of its content encryption key.
pub(super) enum KeyMaterial {
    /// The key, encrypted.
    RsaOaep256(Vec<u8>),
    /// What it is derived from.
    EcdhEs(Agreement),
}

/// A private key, whose type determines the algorithm: RSA-OAEP-256 or ECDH-ES. `Debug` does not show it.
pub struct DecryptionKey {
    secret: Secret,
    key_id: Option<Box<str>>,
    jwk: Map<String, Value>,
    thumbprint: KeyThumbprint,
}

enum Secret {
    Rsa(OaepPrivateDecryptingKey),
    Ec(agreement::PrivateKey),
}

impl DecryptionKey {
    /// Reads the first private key of a PEM text: PKCS#8, SEC1 of P-256, or PKCS#1. `key_id` is the `kid` by which senders
    /// know it, if they do.
    ///
    /// # Errors
    /// [`DecryptionKeyError`].
    pub fn from_pem(text: &[u8], key_id: Option<&str>) -> Result<Self, DecryptionKeyError> {
        Ok(Self::from_der(&private_key_of_pem(text)?, key_id)?)
    }

    /// Makes a new key for ECDH-ES.
    ///
    /// # Errors
    /// [`Unsupported`] if the system provides no randomness.
    pub fn generate(key_id: Option<&str>) -> Result<Self, Unsupported> {
        let key = agreement::PrivateKey::generate(&ECDH_P256).map_err(|_| Unsupported)?;
        let spki = key.compute_public_key().and_then(|public| public.as_der()).map_err(|_| Unsupported)?;
        Self::of(Secret::Ec(key), spki.as_ref(), key_id)
    }

    /// Reads PKCS#8, SEC1 of P-256, or PKCS#1: P-256, or RSA from 2048 to 4096 bits.
    ///
    /// # Errors
    /// [`Unsupported`].
    pub fn from_der(der: &PrivateKeyDer<'_>, key_id: Option<&str>) -> Result<Self, Unsupported> {
        let (secret, spki) = match der {
            PrivateKeyDer::Pkcs8(der) => of_rsa(der.secret_pkcs8_der()).or_else(|_| of_p256(der.secret_pkcs8_der())),
            PrivateKeyDer::Sec1(der) => of_p256(der.secret_sec1_der()),
            PrivateKeyDer::Pkcs1(der) => {
                let key = rsa::KeyPair::from_der(der.secret_pkcs1_der()).map_err(|_| Unsupported)?;
                let der: Pkcs8V1Der<'_> = key.as_der().map_err(|_| Unsupported)?;
                of_rsa(der.as_ref())
            }
            _ => Err(Unsupported),
        }?;
        Self::of(secret, spki.as_ref(), key_id)
    }

    fn of(secret: Secret, spki: &[u8], key_id: Option<&str>) -> Result<Self, Unsupported> {
        let jwk = jwk_of_spki(spki).map_err(|_| Unsupported)?;
        let thumbprint = KeyThumbprint::of_jwk(&jwk).ok_or(Unsupported)?;
        Ok(Self { secret, key_id: key_id.map(Box::from), jwk, thumbprint })
    }

    /// The `kid` by which senders know it.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// The hash of its public key.
    pub const fn thumbprint(&self) -> &KeyThumbprint {
        &self.thumbprint
    }

    /// The public key as senders need it, with `use`, `alg`, and `kid` if it has one.
    pub fn public_jwk(&self) -> Map<String, Value> {
        let mut jwk = self.jwk.clone();
        let members = [("alg", Some(self.algorithm().as_str())), ("kid", self.key_id()), ("use", Some("enc"))];
        jwk.extend(members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))));
        jwk
    }

    const fn algorithm(&self) -> KeyManagement {
        match self.secret {
            Secret::Rsa(_) => KeyManagement::RsaOaep256,
            Secret::Ec(_) => KeyManagement::EcdhEs,
        }
    }

    /// The content encryption key of a JWE, or `substitute`; `None` if it is for a key of another type.
    ///
    /// RFC 7516 §11.5: "the recipient MUST NOT distinguish between format, padding, and length errors of encrypted keys",
    /// and "it is strongly recommended, in the event of receiving an improperly formatted key, that the recipient substitute
    /// a randomly generated CEK and proceed to the next step".
    pub(super) fn content_key(&self, material: &KeyMaterial, substitute: ContentKey) -> Option<ContentKey> {
        let found = match (&self.secret, material) {
            (Secret::Rsa(key), KeyMaterial::RsaOaep256(encrypted)) => {
                let mut plaintext = vec![0; key.min_output_size()];
                let found = key.decrypt(&OAEP_SHA256_MGF1SHA256, encrypted, &mut plaintext, None);
                found.ok().and_then(|found| <[u8; 32]>::try_from(&*found).ok()).map(ContentKey)
            }
            (Secret::Ec(key), KeyMaterial::EcdhEs(agreement)) => agreement.received(key),
            (Secret::Rsa(_), KeyMaterial::EcdhEs(_)) | (Secret::Ec(_), KeyMaterial::RsaOaep256(_)) => return None,
        };
        Some(found.unwrap_or(substitute))
    }
}

impl fmt::Debug for DecryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecryptionKey").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

fn of_rsa(pkcs8: &[u8]) -> Result<(Secret, PublicKeyX509Der<'static>), Unsupported> {
    let key = PrivateDecryptingKey::from_pkcs8(pkcs8).map_err(|_| Unsupported)?;
    if !RSA_BITS.contains(&key.key_size_bits()) {
        return Err(Unsupported);
    }
    let spki = key.public_key().as_der().map_err(|_| Unsupported)?;
    Ok((Secret::Rsa(OaepPrivateDecryptingKey::new(key).map_err(|_| Unsupported)?), spki))
}

fn of_p256(der: &[u8]) -> Result<(Secret, PublicKeyX509Der<'static>), Unsupported> {
    let key = agreement::PrivateKey::from_private_key_der(&ECDH_P256, der).map_err(|_| Unsupported)?;
    let spki = key.compute_public_key().and_then(|public| public.as_der()).map_err(|_| Unsupported)?;
    Ok((Secret::Ec(key), spki))
}

/// FAPI 2.0 §5.4.1: RSA keys "shall have a minimum length of 2048 bits". Above 4096 bits, a decryption keeps a thread busy for
/// several times as long.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// The private keys of a recipient, of which senders use one: more than one while they change over to the next. Two sets are
/// equal if they have the same keys under the same names.
#[derive(Clone)]
pub struct DecryptionKeys {
    keys: Arc<[DecryptionKey]>,
    /// Whether the `kid` has to name one, if there are several.
    by_name: bool,
}

impl DecryptionKeys {
    /// These keys. Does not check that each is another key with another `kid`.
    pub fn new(keys: Vec<DecryptionKey>) -> Self {
        Self { keys: keys.into(), by_name: false }
    }

    /// The same for what anybody may send: one of several counts if the `kid` names it, so that nothing costs more than one
    /// decryption.
    pub fn by_name(keys: Vec<DecryptionKey>) -> Self {
        Self { by_name: keys.len() > 1, ..Self::new(keys) }
    }

    /// The first of them.
    pub fn first(&self) -> Option<&DecryptionKey> {
        self.keys.first()
    }

    /// The keys that a JWE with this `kid` may be for, the likely ones first.
    ///
    /// Without a `kid`, these are all; with one, those that have it, and after them those that have none, which are known to
    /// senders by names of the senders' own. A key that has another `kid` is never a candidate.
    pub(super) fn candidates(&self, key_id: Option<&str>) -> impl Iterator<Item = &DecryptionKey> {
        let by_name = self.by_name;
        let named = move |key: &&DecryptionKey| (key_id.is_none() && !by_name) || key.key_id() == key_id;
        let unnamed = move |key: &&DecryptionKey| key_id.is_some() && !by_name && key.key_id().is_none();
        self.keys.iter().filter(named).chain(self.keys.iter().filter(unnamed))
    }
}

impl PartialEq for DecryptionKeys {
    fn eq(&self, other: &Self) -> bool {
        let identity = |key: &DecryptionKey| (key.thumbprint, key.key_id.clone());
        self.by_name == other.by_name && self.keys.iter().map(identity).eq(other.keys.iter().map(identity))
    }
}

impl Eq for DecryptionKeys {}

impl fmt::Debug for DecryptionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter()).finish()
    }
}

/// The public key of a recipient, whose type determines the algorithm.
#[derive(Debug)]
pub struct EncryptionKey {
    public: Public,
    key_id: Option<Box<str>>,
}

enum Public {
    Rsa(OaepPublicEncryptingKey),
    Ec(Point),
}

impl fmt::Debug for Public {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rsa(_) => "Rsa(..)",
            Self::Ec(_) => "Ec(..)",
        })
    }
}

impl EncryptionKey {
    /// Reads a public JWK (RFC 7517 §4), which must be for encryption by its `use`, `key_ops` and `alg`, where it has them.
    /// Its `kid` becomes that of what is encrypted for it.
    ///
    /// # Errors
    /// [`EncryptionKeyError`], but not [`EncryptionKeyError::Missing`].
    pub fn from_jwk(jwk: &Map<String, Value>) -> Result<Self, EncryptionKeyError> {
        if VerifyingKey::has_private_members(jwk) {
            return Err(EncryptionKeyError::Private);
        }
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let (public, algorithm, operations) = match text("kty") {
            Some("RSA") => (Public::Rsa(rsa_public(jwk)?), KeyManagement::RsaOaep256, ["encrypt", "wrapKey"]),
            Some("EC") => {
                let point = Point::from_jwk(jwk).ok_or(EncryptionKeyError::Unsupported)?;
                (Public::Ec(point), KeyManagement::EcdhEs, ["deriveKey", "deriveBits"])
            }
            _ => return Err(EncryptionKeyError::Unsupported),
        };
        let present = |name: &str| jwk.get(name).filter(|value| !value.is_null());
        let other = |member| Err(EncryptionKeyError::OtherPurpose { member, found: shown_value(jwk.get(member)) });
        if present("use").is_some_and(|usage| usage != "enc") {
            return other("use");
        }
        if present("alg").is_some_and(|name| name != algorithm.as_str()) {
            return other("alg");
        }
        let allows = |all: &Value| {
            let mut names = all.as_array().into_iter().flatten().filter_map(Value::as_str);
            names.any(|name| operations.contains(&name))
        };
        if present("key_ops").is_some_and(|all| !allows(all)) {
            return other("key_ops");
        }
        let key_id = match present("kid") {
            None => None,
            Some(Value::String(key_id)) => Some(key_id.as_str().into()),
            Some(_) => return Err(EncryptionKeyError::Malformed { member: "kid" }),
        };
        Ok(Self { public, key_id })
    }

    /// Reads the first public key of a PEM text, a SubjectPublicKeyInfo; `key_id` is the `kid` by which its recipient knows it.
    ///
    /// # Errors
    /// [`EncryptionKeyError::Missing`], [`EncryptionKeyError::Unsupported`].
    pub fn from_spki_pem(text: &[u8], key_id: Option<&str>) -> Result<Self, EncryptionKeyError> {
        let spki = SubjectPublicKeyInfoDer::from_pem_slice(text).map_err(|_| EncryptionKeyError::Missing)?;
        let mut jwk = jwk_of_spki(&spki).map_err(|_| EncryptionKeyError::Unsupported)?;
        jwk.extend(key_id.map(|key_id| ("kid".to_owned(), key_id.into())));
        Self::from_jwk(&jwk)
    }

    /// The `kid` by which its recipient knows it.
    pub(super) fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// Determines a new content encryption key (RFC 7516 §5.1 (1) to (6)).
    pub(super) fn new_content_key(&self) -> Result<NewContentKey, NotEncrypted> {
        match &self.public {
            Public::Rsa(public) => {
                let key = ContentKey::random().ok_or(NotEncrypted)?;
                let mut encrypted = vec![0; public.ciphertext_size()];
                public.encrypt(&OAEP_SHA256_MGF1SHA256, &key.0, &mut encrypted, None).map_err(|_| NotEncrypted)?;
                Ok(NewContentKey { key, algorithm: KeyManagement::RsaOaep256, epk: None, encrypted })
            }
            Public::Ec(point) => {
                let (key, epk) = sent(point).ok_or(NotEncrypted)?;
                Ok(NewContentKey { key, algorithm: KeyManagement::EcdhEs, epk: Some(epk), encrypted: Vec::new() })
            }
        }
    }
}

/// A content encryption key, and what the recipient needs to determine it too.
pub(super) struct NewContentKey {
    pub(super) key: ContentKey,
    pub(super) algorithm: KeyManagement,
    pub(super) epk: Option<Value>,
    /// The JWE Encrypted Key.
    pub(super) encrypted: Vec<u8>,
}

fn rsa_public(jwk: &Map<String, Value>) -> Result<OaepPublicEncryptingKey, EncryptionKeyError> {
    let number = |member: &'static str| {
        let text = jwk.get(member).and_then(Value::as_str);
        let bytes = text.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        bytes.ok_or(EncryptionKeyError::Malformed { member })
    };
    let key = rsa_key(&number("n")?, &number("e")?).ok_or(EncryptionKeyError::Unsupported)?;
    if !RSA_BITS.contains(&key.key_size_bits()) {
        return Err(EncryptionKeyError::Unsupported);
    }
    OaepPublicEncryptingKey::new(key).map_err(|_| EncryptionKeyError::Unsupported)
}
