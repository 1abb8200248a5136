//! A JWE in compact serialization (RFC 7516 §7.1): decrypted with the recipient's keys, or made for the key of another
//! recipient.
//!
//! Of what RFC 7518 registers, there are two ways to the content encryption key, RSA-OAEP-256 (§4.3) and ECDH-ES on P-256
//! (§4.6, without key wrapping), and one content encryption, A256GCM (§5.3). Everything else is refused by its name, among it
//! RSA1_5, RSA-OAEP with SHA-1, `dir` and PBES2, and so are compression (`zip`) and `crit`.
//!
//! Anybody can encrypt for a public key, so a plaintext says nothing about who made it: what is inside has to be signed.

mod agreement;
mod content;
mod error;
mod keys;
#[cfg(test)]
mod tests;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use self::agreement::{Agreement, Point};
use self::content::{A256GCM, ContentKey, Sealed};
use self::keys::{KeyManagement, KeyMaterial, NewContentKey};
use super::json::parse_object;
use super::jws::is_media_type_name;
use crate::text::printable;

pub use self::error::{DecryptionKeyError, EncryptionKeyError, JweError, NotEncrypted, Unsupported};
pub use self::keys::{DecryptionKey, DecryptionKeys, EncryptionKey};

/// A plaintext that was encrypted for one of the recipient's keys; by whom is not known. `Debug` does not show it.
pub struct Decrypted {
    plaintext: Vec<u8>,
    key_id: Option<Box<str>>,
    content_type: Option<Box<str>>,
}

/// Decrypts a compact JWE of at most `max_bytes` (RFC 7516 §5.2).
///
/// It has five parts in base64url without padding, and a header that is one JSON object with one reading. A `kid` chooses
/// among the keys that have one; without it, each key for the algorithm is tried.
///
/// Does not check who encrypted it, nor what the plaintext is: [`Decrypted::into_nested_jws`] does that for a nested JWT.
/// Members of the header that replicate claims (RFC 7519 §5.3) are not read.
///
/// # Errors
/// [`JweError`], for the first check that fails: form, header, algorithms, keys, decryption; but neither
/// [`JweError::ContentTypeWrong`] nor [`JweError::NotSigned`].
pub fn decrypt(text: &str, keys: &DecryptionKeys, max_bytes: usize) -> Result<Decrypted, JweError> {
    if text.len() > max_bytes {
        return Err(JweError::TooLarge { bytes: text.len(), limit: max_bytes });
    }
    let [protected, encrypted_key, iv, ciphertext, tag] = parts(text)?;
    let header = Header::parse(protected)?;
    let material = header.key_material(octets(encrypted_key, ENCRYPTED_KEY)?)?;
    let sealed = Sealed {
        iv: exact(iv, "initialization vector")?,
        ciphertext: octets(ciphertext, "ciphertext")?,
        tag: exact(tag, "authentication tag")?,
    };
    let substitute = ContentKey::random().ok_or(JweError::NotDecrypted)?;
    let plaintext = {
        let candidates = keys.candidates(header.key_id.as_deref());
        let mut content_keys = candidates.filter_map(|key| key.content_key(&material, substitute)).peekable();
        if content_keys.peek().is_none() {
            let key_id = header.key_id.as_deref().map(printable);
            return Err(JweError::KeyUnknown { key_id, algorithm: header.algorithm.as_str() });
        }
        content_keys.find_map(|key| key.open(&sealed, protected)).ok_or(JweError::NotDecrypted)?
    };
    Ok(Decrypted { plaintext, key_id: header.key_id, content_type: header.content_type })
}

/// Encrypts for this key as a compact JWE (RFC 7516 §5.1); `content_type` is its `cty`, which is `JWT` if the plaintext is a
/// JWT (RFC 7519 §5.2).
///
/// # Errors
/// [`NotEncrypted`] if the system provides no randomness.
pub fn encrypt(plaintext: &[u8], key: &EncryptionKey, content_type: Option<&str>) -> Result<String, NotEncrypted> {
    let NewContentKey { key: content_key, algorithm, epk, encrypted } = key.new_content_key()?;
    let mut header =
        Map::from_iter([("alg".to_owned(), algorithm.as_str().into()), ("enc".to_owned(), A256GCM.into())]);
    let members = [("kid", key.key_id().map(Value::from)), ("cty", content_type.map(Value::from)), ("epk", epk)];
    header.extend(members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
    let header = URL_SAFE_NO_PAD.encode(Value::Object(header).to_string());
    let Sealed { iv, ciphertext, tag } = content_key.seal(plaintext, &header).ok_or(NotEncrypted)?;
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    Ok(format!("{header}.{}.{}.{}.{}", part(&encrypted), part(&iv), part(&ciphertext), part(&tag)))
}

impl Decrypted {
    /// What was encrypted.
    pub fn plaintext(&self) -> &[u8] {
        &self.plaintext
    }

    /// The `kid` of the header.
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// The `cty` of the header.
    pub fn content_type(&self) -> Option<&str> {
        self.content_type.as_deref()
    }

    /// The signed JWT that it contains (RFC 7519 §5.2): a text of three parts, and a `cty` of `JWT` or none.
    ///
    /// RFC 7519 §5.2 requires the `cty` of every nested JWT; some senders leave it out, and the signature tells the same.
    /// Encryption within encryption is refused.
    ///
    /// Does not check the signature, nor anything else of the JWS.
    ///
    /// # Errors
    /// [`JweError::ContentTypeWrong`], [`JweError::NotSigned`].
    pub fn into_nested_jws(self) -> Result<String, JweError> {
        if let Some(found) = self.content_type.as_deref().filter(|found| !is_media_type_name(found, "jwt")) {
            return Err(JweError::ContentTypeWrong { found: printable(found) });
        }
        let text = String::from_utf8(self.plaintext).map_err(|_| JweError::NotSigned)?;
        if text.split('.').count() == 3 { Ok(text) } else { Err(JweError::NotSigned) }
    }
}

impl fmt::Debug for Decrypted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Decrypted");
        shown.field("key_id", &self.key_id).field("content_type", &self.content_type).finish_non_exhaustive()
    }
}

/// The protected header, as far as it is understood.
struct Header {
    algorithm: KeyManagement,
    key_id: Option<Box<str>>,
    content_type: Option<Box<str>>,
    members: Map<String, Value>,
}

impl Header {
    fn parse(protected: &str) -> Result<Self, JweError> {
        let members = parse_object(&octets(protected, HEADER)?).map_err(|_| JweError::Malformed { part: HEADER })?;
        // RFC 7516 §4.1.13: as in a JWS, what "crit" lists has to be understood, and nothing that could be listed is.
        if members.contains_key("crit") {
            return Err(JweError::CriticalHeader);
        }
        // RFC 8725 §3.6: "Compression of data SHOULD NOT be done before encryption"; and what is inflated has no bound.
        if members.contains_key("zip") {
            return Err(JweError::Compressed);
        }
        let name = |name: &str| members.get(name).and_then(Value::as_str).unwrap_or_default();
        let algorithm = KeyManagement::from_name(name("alg"))
            .ok_or_else(|| JweError::AlgorithmRefused { found: printable(name("alg")) })?;
        if name("enc") != A256GCM {
            return Err(JweError::EncryptionRefused { found: printable(name("enc")) });
        }
        let (key_id, content_type) = (optional_text(&members, "kid")?, optional_text(&members, "cty")?);
        Ok(Self { algorithm, key_id, content_type, members })
    }

    fn key_material(&self, encrypted_key: Vec<u8>) -> Result<KeyMaterial, JweError> {
        match self.algorithm {
            KeyManagement::RsaOaep256 => Ok(KeyMaterial::RsaOaep256(encrypted_key)),
            KeyManagement::EcdhEs => {
                // RFC 7516 §5.2 (10): in Direct Key Agreement mode, "verify that the JWE Encrypted Key value is an empty octet
                // sequence".
                if !encrypted_key.is_empty() {
                    return Err(JweError::Malformed { part: ENCRYPTED_KEY });
                }
                let epk = self.members.get("epk").and_then(Value::as_object);
                let ephemeral = epk.and_then(Point::from_jwk).ok_or(JweError::EphemeralKey)?;
                let parties = [self.party("apu")?, self.party("apv")?];
                Ok(KeyMaterial::EcdhEs(Agreement { ephemeral, parties }))
            }
        }
    }

    /// What `apu` or `apv` says of a party (RFC 7518 §4.6.1.2, §4.6.1.3); empty if it is absent.
    fn party(&self, name: &str) -> Result<Vec<u8>, JweError> {
        let text = optional_text(&self.members, name)?.unwrap_or_default();
        if text.len() > MAX_PARTY {
            return Err(JweError::Malformed { part: HEADER });
        }
        octets(&text, HEADER)
    }
}

/// A member that is text, or absent. A value of another type is never treated as absent.
fn optional_text(members: &Map<String, Value>, name: &str) -> Result<Option<Box<str>>, JweError> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str().into())),
        Some(_) => Err(JweError::Malformed { part: HEADER }),
    }
}

/// The five parts (RFC 7516 §7.1).
fn parts(text: &str) -> Result<[&str; 5], JweError> {
    let mut parts = text.split('.');
    let mut next = || parts.next();
    match (next(), next(), next(), next(), next(), next()) {
        (Some(header), Some(key), Some(iv), Some(ciphertext), Some(tag), None) => {
            Ok([header, key, iv, ciphertext, tag])
        }
        // RFC 7516 §9: a JWS has three.
        (Some(_), Some(_), Some(_), None, None, None) => Err(JweError::NotEncrypted),
        _ => Err(JweError::Malformed { part: "serialization" }),
    }
}

/// Decodes canonical base64url without padding (RFC 7515 §2; RFC 4648 §3.5 for the last bits).
fn octets(text: &str, part: &'static str) -> Result<Vec<u8>, JweError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| JweError::Malformed { part })
}

/// The same for a part of a fixed length.
fn exact<const N: usize>(text: &str, part: &'static str) -> Result<[u8; N], JweError> {
    octets(text, part)?.try_into().map_err(|_| JweError::Malformed { part })
}

const HEADER: &str = "header";
const ENCRYPTED_KEY: &str = "encrypted key";
/// The longest `apu` and `apv`, encoded: names of parties, and no payload.
const MAX_PARTY: usize = 1024;
