//! What shows later, to anybody, that a key signed a message: the bytes that were signed, the signature, and the public key.
//!
//! Whose key it was, only the record that it is kept in can say.

use std::fmt;

use aws_lc_rs::digest::{Digest, SHA256};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::signature::{RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Map, Value, json};

use super::error::SignatureError;
use crate::jose::json::parse_object;
use crate::jose::keys::VerifyingKey;
use crate::jose::public_key::rsa_key;
use crate::jose::signing_keys::NamedKey;
use crate::jose::thumbprint::{CertificateThumbprint, KeyThumbprint};
use crate::sha256;
use crate::signed_body::cavage::SealAlgorithm;
use crate::signed_body::seal_certificate::SealCertificate;

/// What shows that a key signed a message. `Debug` does not show it: fields with credentials are in what was signed.
#[derive(Clone, PartialEq, Eq)]
pub struct Evidence(Signed);

#[derive(Clone, PartialEq, Eq)]
enum Signed {
    /// By the fields of RFC 9421.
    Message { base: Box<str>, signature: Box<[u8]>, jwk: Box<str> },
    /// By a JWS, which has the content in it.
    Jws { jws: Box<str>, jwk: Box<str> },
    /// By a JWS of which the content is too large to be kept: in its place is the SHA-256 of the signing input.
    LargeJws { header: Box<str>, digest: [u8; 32], signature: Box<str>, jwk: Box<str> },
    /// By a seal.
    Seal { text: Box<[u8]>, signature: Box<[u8]>, algorithm: SealAlgorithm, certificate: Box<[u8]> },
}

/// What was signed, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'e> {
    /// A line of a signature base (RFC 9421 §2.5), or of what a seal is over: an identifier, or a name, and a value.
    Line(&'e str),
    /// The header of a JWS, or the content that it is over.
    Decoded {
        /// Which of both.
        name: &'static str,
        /// As it is written.
        text: &'e str,
    },
    /// The SHA-256 of what a JWS is over, its header, a dot and its content, both in base64url, where the content is not kept.
    Digest([u8; 32]),
}

/// The most bytes of content that are kept where the content itself is what is signed; of more, it is the hash.
pub const MAX_CONTENT_BYTES: usize = 8 * 1024;

impl Evidence {
    /// Keeps the base of a signature, the signature, and the public key in JSON.
    pub(super) fn of_message(base: String, signature: &[u8], jwk: &str) -> Self {
        Self(Signed::Message { base: base.into(), signature: signature.into(), jwk: jwk.into() })
    }

    /// Keeps a JWS, of which `input` is what is signed, and the public key in JSON; of one whose content is larger than
    /// [`MAX_CONTENT_BYTES`], the hash of what is signed. The signature is in base64url.
    pub(crate) fn of_jws(input: &str, signature: &str, jwk: &str) -> Self {
        let (header, content) = input.split_once('.').unwrap_or((input, ""));
        Self(if content.len() <= MAX_ENCODED {
            Signed::Jws { jws: format!("{input}.{signature}").into(), jwk: jwk.into() }
        } else {
            let digest = sha256(input.as_bytes());
            Signed::LargeJws { header: header.into(), digest, signature: signature.into(), jwk: jwk.into() }
        })
    }

    /// The same of one in compact serialization that this key has made.
    pub fn of_own_jws(jws: &str, key: &NamedKey) -> Self {
        let (input, signature) = jws.rsplit_once('.').unwrap_or((jws, ""));
        Self::of_jws(input, signature, &key.jwk_text())
    }

    /// Keeps what a seal is over, the seal, and the certificate of the key.
    pub(crate) fn of_seal(text: Vec<u8>, signature: &[u8], algorithm: SealAlgorithm, certificate: &[u8]) -> Self {
        let (signature, certificate) = (signature.into(), certificate.into());
        Self(Signed::Seal { text: text.into(), signature, algorithm, certificate })
    }

    /// It in JSON. What is signed is in `base` as text, with `signature` in base64; or in `jws`, whole. `key` is the public key as a
    /// JWK. Where the content is not in `jws`, `sha256` has the hash of what is signed, in base64. Of a seal, `sealed` has what is
    /// signed in base64, which need not be text, and `certificate` the DER of the certificate in base64, with `algorithm`.
    pub fn to_json(&self) -> Value {
        let key = |jwk: &str| parse_object(jwk.as_bytes()).map(Value::Object).unwrap_or_default();
        match &self.0 {
            Signed::Message { base, signature, jwk } => {
                json!({ "base": base, "signature": STANDARD.encode(signature), "key": key(jwk) })
            }
            Signed::Jws { jws, jwk } => json!({ "jws": jws, "key": key(jwk) }),
            Signed::LargeJws { header, digest, signature, jwk } => {
                json!({ "jws": format!("{header}..{signature}"), "sha256": STANDARD.encode(digest), "key": key(jwk) })
            }
            Signed::Seal { text, signature, algorithm, certificate } => json!({
                "sealed": STANDARD.encode(text),
                "signature": STANDARD.encode(signature),
                "algorithm": algorithm.as_str(),
                "certificate": STANDARD.encode(certificate),
            }),
        }
    }

    /// Reads it from JSON.
    pub fn from_json(json: &Value) -> Option<Self> {
        let text = |name| json.get(name).and_then(Value::as_str);
        let bytes = |name| STANDARD.decode(text(name)?).ok().map(Vec::into_boxed_slice);
        if json.get("certificate").is_some() {
            let algorithm = SealAlgorithm::from_name(text("algorithm")?)?;
            let (signature, certificate) = (bytes("signature")?, bytes("certificate")?);
            return Some(Self(Signed::Seal { text: bytes("sealed")?, signature, algorithm, certificate }));
        }
        let jwk = json!(json.get("key")?.as_object()?).to_string().into();
        if json.get("sha256").is_some() {
            let (header, signature) = text("jws")?.split_once("..")?;
            let (header, signature, digest) = (header.into(), signature.into(), (*bytes("sha256")?).try_into().ok()?);
            return Some(Self(Signed::LargeJws { header, digest, signature, jwk }));
        }
        Some(Self(match text("jws") {
            Some(jws) => Signed::Jws { jws: jws.into(), jwk },
            None => Signed::Message { base: text("base")?.into(), signature: bytes("signature")?, jwk },
        }))
    }

    /// Shows what was signed.
    pub fn show(&self, mut show: impl FnMut(Part<'_>)) {
        match &self.0 {
            Signed::Message { base, .. } => base.lines().for_each(|line| show(Part::Line(line))),
            Signed::Jws { jws, .. } => {
                for (name, part) in ["header", "content"].into_iter().zip(jws.split('.')) {
                    show(Part::Decoded { name, text: &decoded(part) });
                }
            }
            Signed::LargeJws { header, digest, .. } => {
                show(Part::Decoded { name: "header", text: &decoded(header) });
                show(Part::Digest(*digest));
            }
            Signed::Seal { text, .. } => String::from_utf8_lossy(text).lines().for_each(|line| show(Part::Line(line))),
        }
    }

    /// The thumbprint of the public key, or of the certificate; `None` if there is none that can be read.
    pub fn thumbprint(&self) -> Option<String> {
        match &self.0 {
            Signed::Message { jwk, .. } | Signed::Jws { jwk, .. } | Signed::LargeJws { jwk, .. } => {
                KeyThumbprint::of_jwk(&members(jwk)).map(|thumbprint| thumbprint.to_string())
            }
            Signed::Seal { certificate, .. } => Some(CertificateThumbprint::of_der(certificate).to_string()),
        }
    }

    /// Verifies the signature with the key once more. Does not look at any time, nor at the path of a certificate: it is about what
    /// was, and not what is.
    ///
    /// # Errors
    /// [`SignatureError::SignatureInvalid`].
    pub fn verify(&self) -> Result<(), SignatureError> {
        let holds = match &self.0 {
            Signed::Message { base, signature, jwk } => {
                let names = base.lines().next_back().unwrap_or_default().contains(";alg=\"");
                key(jwk).is_some_and(|key| key.verifies_http_message(base.as_bytes(), signature, names))
            }
            Signed::Jws { jws, jwk } => jws.rsplit_once('.').is_some_and(|(input, signature)| {
                key(jwk).is_some_and(|key| key.verifies(input.as_bytes(), signature))
            }),
            Signed::LargeJws { digest, signature, jwk, .. } => {
                let signature = URL_SAFE_NO_PAD.decode(&**signature);
                signature.is_ok_and(|signature| verifies_digest(&members(jwk), digest, &signature))
            }
            Signed::Seal { text, signature, algorithm, certificate } => {
                let certificate = SealCertificate::read(certificate);
                let verify = |certificate: SealCertificate<'_>| certificate.verify(*algorithm, text, signature);
                certificate.and_then(verify).is_ok()
            }
        };
        if holds { Ok(()) } else { Err(SignatureError::SignatureInvalid) }
    }
}

/// Whether an RSA key signed what has this SHA-256, by PS256. Such are the keys of the forms that sign content.
fn verifies_digest(jwk: &Map<String, Value>, digest: &[u8; 32], signature: &[u8]) -> bool {
    let number = |name| URL_SAFE_NO_PAD.decode(jwk.get(name)?.as_str()?).ok();
    let (Some(n), Some(e)) = (number("n"), number("e")) else { return false };
    let der = rsa_key(&n, &e).and_then(|key| key.as_der().ok());
    let digest = Digest::import_less_safe(digest, &SHA256).ok();
    der.zip(digest).is_some_and(|(der, digest)| {
        let key = UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, der.as_ref());
        key.verify_digest(&digest, signature).is_ok()
    })
}

fn decoded(part: &str) -> String {
    String::from_utf8_lossy(&URL_SAFE_NO_PAD.decode(part).unwrap_or_default()).into_owned()
}

/// Base64 has four letters for three bytes.
const MAX_ENCODED: usize = (MAX_CONTENT_BYTES * 4).div_ceil(3);

fn members(jwk: &str) -> Map<String, Value> {
    parse_object(jwk.as_bytes()).unwrap_or_default()
}

/// The key, unless it is too small.
fn key(jwk: &str) -> Option<VerifyingKey> {
    let mut members = members(jwk);
    // Keys for PS512 verify messages, and nothing else has a name for them.
    if members.get("alg").is_some_and(|alg| alg == "PS512") {
        members.remove("alg");
    }
    VerifyingKey::from_jwk(&members).ok().filter(|key| !key.is_weak())
}

impl fmt::Debug for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Evidence").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::keys::Algorithm;
    use crate::jose::signing::PrivateKey;

    fn evidence(algorithm: Algorithm, parameters: &str) -> Evidence {
        let key = PrivateKey::generate(algorithm).unwrap();
        let base = format!("\"@method\": POST\n\"@signature-params\": (\"@method\"){parameters}");
        let signature = key.sign_http_message(base.as_bytes(), parameters.contains("alg")).unwrap();
        Evidence::of_message(base, &signature, &Value::Object(key.public_jwk().unwrap()).to_string())
    }

    #[test]
    fn what_was_signed_is_verified_by_itself_and_every_part_counts() {
        for algorithm in Algorithm::ALL {
            let good = evidence(*algorithm, ";created=1");
            assert_eq!(Evidence::from_json(&good.to_json()).unwrap().verify(), Ok(())); // control
            let changed = |change: &dyn Fn(&mut Value)| {
                let mut json = good.to_json();
                change(&mut json);
                Evidence::from_json(&json).unwrap().verify()
            };
            let invalid = Err(SignatureError::SignatureInvalid);
            let other = evidence(*algorithm, ";created=1").to_json();
            assert_eq!(
                changed(&|json| json["base"] = json["base"].as_str().unwrap().replace("POST", "PUT").into()),
                invalid
            );
            assert_eq!(changed(&|json| json["signature"] = other["signature"].clone()), invalid);
            assert_eq!(changed(&|json| json["key"] = other["key"].clone()), invalid);
            assert_eq!(changed(&|json| json["key"] = json!({})), invalid);
        }
        let named = evidence(Algorithm::Ps256, ";created=1;alg=\"rsa-pss-sha512\"");
        assert_eq!(named.verify(), Ok(()));
        let mut json = named.to_json();
        json["key"]["alg"] = "PS512".into();
        assert_eq!(Evidence::from_json(&json).unwrap().verify(), Ok(()));
    }

    #[test]
    fn a_jws_is_verified_with_its_content_and_shown() {
        let key = NamedKey::new(PrivateKey::generate(Algorithm::Ps256).unwrap(), Some("k")).unwrap();
        let input = |content: &[u8]| format!("e30.{}", URL_SAFE_NO_PAD.encode(content));
        let jws = |content: &[u8]| {
            let input = input(content);
            format!("{input}.{}", URL_SAFE_NO_PAD.encode(key.sign(input.as_bytes()).unwrap()))
        };
        let good = Evidence::of_own_jws(&jws(b"{\"a\":1}"), &key);
        assert_eq!(Evidence::from_json(&good.to_json()).unwrap().verify(), Ok(()), "control");
        let mut shown = Vec::new();
        good.show(|part| shown.push(format!("{part:?}")));
        assert_eq!(
            shown,
            [r#"Decoded { name: "header", text: "{}" }"#, r#"Decoded { name: "content", text: "{\"a\":1}" }"#]
        );
        let mut json = good.to_json();
        json["jws"] = json["jws"].as_str().unwrap().replace(&input(b"{\"a\":1}"), &input(b"{\"a\":2}")).into();
        assert_eq!(Evidence::from_json(&json).unwrap().verify(), Err(SignatureError::SignatureInvalid));
        let whole = jws(b"1");
        let (header, signature) = (whole.split('.').next().unwrap(), whole.rsplit('.').next().unwrap());
        let detached = format!("{header}..{signature}");
        let over = |content: &[u8]| Evidence::of_jws(&input(content), signature, &key.jwk_text()).verify();
        assert_eq!(over(b"1"), Ok(()), "control");
        assert_eq!(over(b"2"), Err(SignatureError::SignatureInvalid));
        let has_content = |bytes: usize| {
            let evidence = Evidence::of_own_jws(&jws(&vec![b'x'; bytes]), &key);
            assert_eq!(Evidence::from_json(&evidence.to_json()).unwrap().verify(), Ok(()), "{bytes}");
            evidence.to_json().get("sha256").is_none()
        };
        assert!(has_content(MAX_CONTENT_BYTES), "control");
        assert!(!has_content(MAX_CONTENT_BYTES + 1));
        let large = Evidence::of_own_jws(&jws(&[b'x'; MAX_CONTENT_BYTES + 1]), &key).to_json();
        let with = |member: &str, value: Value| {
            let mut json = large.clone();
            json[member] = value;
            Evidence::from_json(&json).unwrap().verify()
        };
        assert_eq!(with("key", good.to_json()["key"].clone()), Ok(()), "control");
        let other_key = PrivateKey::generate(Algorithm::Ps256).unwrap().public_jwk().unwrap();
        for (member, other) in [
            ("sha256", json!(STANDARD.encode([1; 32]))),
            ("jws", json!(detached)),
            ("key", Value::Object(other_key)),
            ("key", json!({})),
        ] {
            assert_eq!(with(member, other), Err(SignatureError::SignatureInvalid), "{member}");
        }
    }

    #[test]
    fn what_is_not_evidence_is_none_and_nothing_of_it_is_shown() {
        let good = evidence(Algorithm::EdDsa, "").to_json();
        for member in ["base", "signature", "key"] {
            let mut json = good.clone();
            json[member] = 1.into();
            assert!(Evidence::from_json(&json).is_none(), "{member}");
        }
        assert_eq!(format!("{:?}", Evidence::from_json(&good).unwrap()), "Evidence { .. }");
    }
}
