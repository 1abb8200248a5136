//! A report that somebody vouches for: a compact JWS (RFC 7515) whose payload is the JSON of the report.
//!
//! The header has the public key that signed, so that whoever was told its thumbprint (RFC 7638) can verify the report with nothing
//! else. Which keys to trust is never taken from the report.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use data_encoding::HEXLOWER;
use fapi::jose::json::parse_object;
use fapi::jose::keys::{Algorithm, KeyError, VerifyingKey};
use fapi::jose::public_key::{PublicKeyError, jwk_of_spki};
use fapi::jose::signing::{NotSigned, PrivateKey, Unsupported};
use fapi::jose::thumbprint::KeyThumbprint;
use rustls::pki_types::pem::{PemObject, SectionKind};
use serde_json::{Map, Value, json};

use super::Report;
use super::read::{ReadError, read};

/// The `typ` of a signed report (RFC 8725 §3.11).
pub const TYP: &str = "probe-report+jws";

/// Why a report is not signed.
#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// The public key has no JWK.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// The key did not sign.
    #[error(transparent)]
    NotSigned(#[from] NotSigned),
    /// The report has no JSON.
    #[error("the report cannot be written as JSON")]
    Json(#[from] serde_json::Error),
}

/// Signs a report. Its header names the key by its thumbprint and has the public key.
///
/// # Errors
/// [`SignError`].
pub fn sign(report: &Report, key: &PrivateKey) -> Result<String, SignError> {
    let jwk = key.public_jwk()?;
    let kid = KeyThumbprint::of_jwk(&jwk).ok_or(Unsupported)?.to_string();
    let header = json!({ "alg": key.algorithm().as_str(), "typ": TYP, "kid": kid, "jwk": jwk });
    Ok(key.sign_jws(&header, &serde_json::to_value(report)?)?)
}

/// The keys whose reports are believed, by their thumbprints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trusted(Vec<KeyThumbprint>);

/// Why a text names no key to trust; does not show a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustedError {
    /// Neither PEM nor JSON of one reading.
    #[error("it is neither a public key in PEM (BEGIN PUBLIC KEY) nor a JWK or a JWK Set in JSON")]
    Malformed,
    /// PEM of something else, such as a certificate or a private key.
    #[error("the PEM text has something else than public keys; `openssl pkey -pubout` writes one")]
    OtherPem,
    /// A public key in PEM that has no JWK.
    #[error(transparent)]
    PublicKey(#[from] PublicKeyError),
    /// A key that verifies nothing.
    #[error("the key cannot be used: {0}")]
    Key(#[from] KeyError),
    /// A set without a key that verifies.
    #[error("the JWK Set has no key for PS256, ES256 or EdDSA signatures")]
    NoUsableKey,
    /// Not a thumbprint.
    #[error("it is not a thumbprint: 43 characters of base64url, a SHA-256 (RFC 7638)")]
    Thumbprint,
}

impl Trusted {
    /// Trusts the public keys of a file: SubjectPublicKeyInfo in PEM, a JWK, or a JWK Set, in which keys for another use are
    /// skipped (RFC 7517 §5).
    ///
    /// # Errors
    /// [`TrustedError`].
    pub fn keys(text: &[u8]) -> Result<Self, TrustedError> {
        if !text.trim_ascii_start().starts_with(b"{") {
            return Self::pem(text);
        }
        let members = parse_object(text).map_err(|_| TrustedError::Malformed)?;
        let Some(keys) = members.get("keys") else { return Ok(Self(vec![usable(&members)?.1])) };
        let keys = keys.as_array().ok_or(TrustedError::Malformed)?.iter().filter_map(Value::as_object);
        let thumbprints: Vec<KeyThumbprint> =
            keys.filter_map(|jwk| usable(jwk).ok()).map(|(_, thumbprint)| thumbprint).collect();
        if thumbprints.is_empty() { Err(TrustedError::NoUsableKey) } else { Ok(Self(thumbprints)) }
    }

    fn pem(text: &[u8]) -> Result<Self, TrustedError> {
        let mut thumbprints = Vec::new();
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text) {
            let (kind, der) = section.map_err(|_| TrustedError::Malformed)?;
            if kind != SectionKind::PublicKey {
                return Err(TrustedError::OtherPem);
            }
            thumbprints.push(usable(&jwk_of_spki(&der)?)?.1);
        }
        if thumbprints.is_empty() { Err(TrustedError::Malformed) } else { Ok(Self(thumbprints)) }
    }

    /// Trusts the key with this thumbprint (RFC 7638 §3) with SHA-256, in base64url.
    ///
    /// # Errors
    /// [`TrustedError::Thumbprint`].
    pub fn thumbprint(text: &str) -> Result<Self, TrustedError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| bytes.try_into().ok());
        Ok(Self(vec![KeyThumbprint::from_bytes(bytes.ok_or(TrustedError::Thumbprint)?)]))
    }
}

/// A report whose signature verifies with a key that is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The report.
    pub report: Report,
    /// The thumbprint of the key that signed it.
    pub thumbprint: KeyThumbprint,
}

/// Why a text is not a report that somebody trusted has signed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// Not three parts of base64url without padding, or a header with more than one reading.
    #[error("it is not a compact JWS: its {part} is malformed")]
    Malformed {
        /// Which part.
        part: &'static str,
    },
    /// The header has `crit` or `b64`, which change how the rest is read.
    #[error("its header has {member}, and no critical extension is supported")]
    Critical {
        /// Which of them.
        member: &'static str,
    },
    /// A JWS of another type.
    #[error("its typ is not {TYP:?}: it is another kind of JWS")]
    OtherType,
    /// An algorithm that FAPI does not allow.
    #[error("its alg is not PS256, ES256 or EdDSA")]
    Algorithm,
    /// The header has no `jwk`, or one that verifies nothing.
    #[error("the jwk of its header cannot be used: {0}")]
    Key(KeyError),
    /// The algorithm is not that of the key, or the key has another name than its thumbprint.
    #[error("the {member} of its header is not that of the key in its header")]
    Mismatch {
        /// `alg` or `kid`.
        member: &'static str,
    },
    /// Signed by somebody else.
    #[error("it is signed with the key {found}, which is not trusted")]
    NotTrusted {
        /// The thumbprint of that key.
        found: KeyThumbprint,
    },
    /// The signature does not verify.
    #[error("its signature does not verify: it was changed, or signed with another key than it says")]
    Signature,
    /// What is signed is no report that can be read.
    #[error("what is signed cannot be read: {0}")]
    Report(#[from] ReadError),
}

/// Verifies a signed report. White space around it, such as a line break at the end of its file, is ignored.
///
/// # Errors
/// [`VerifyError`]. Nothing of the payload is read before the signature verifies.
pub fn verify(text: &str, trusted: &Trusted) -> Result<Verified, VerifyError> {
    let text = text.trim_ascii();
    let malformed = |part| VerifyError::Malformed { part };
    let (signed, signature) = text.rsplit_once('.').ok_or(malformed("serialization"))?;
    let (header, payload) = signed.split_once('.').ok_or(malformed("serialization"))?;
    if payload.contains('.') {
        return Err(malformed("serialization"));
    }
    let decode = |text: &str, part| URL_SAFE_NO_PAD.decode(text).map_err(|_| malformed(part));
    let header = parse_object(&decode(header, "header")?).map_err(|_| malformed("header"))?;
    let payload = decode(payload, "payload")?;
    // Two spellings of one signature would be two files of one report.
    decode(signature, "signature")?;

    let (key, thumbprint) = key_of_header(&header)?;
    if !trusted.0.contains(&thumbprint) {
        return Err(VerifyError::NotTrusted { found: thumbprint });
    }
    if !key.verifies(signed.as_bytes(), signature) {
        return Err(VerifyError::Signature);
    }
    Ok(Verified { report: read(&payload)?, thumbprint })
}

/// The key that a header says the JWS is signed with, and its thumbprint; nothing says yet that it is trusted.
fn key_of_header(header: &Map<String, Value>) -> Result<(VerifyingKey, KeyThumbprint), VerifyError> {
    let text = |name: &str| header.get(name).and_then(Value::as_str);
    // RFC 7515 §4.1.11: "If any of the listed extension Header Parameters are not understood and supported by the recipient, then
    // the JWS is invalid." None is; `b64` without `crit` changes what is signed (RFC 7797 §6).
    for member in ["crit", "b64"] {
        if header.contains_key(member) {
            return Err(VerifyError::Critical { member });
        }
    }
    if text("typ") != Some(TYP) {
        return Err(VerifyError::OtherType);
    }
    let algorithm = text("alg").and_then(Algorithm::from_name).ok_or(VerifyError::Algorithm)?;
    let jwk = header.get("jwk").and_then(Value::as_object);
    let (key, thumbprint) = usable(jwk.unwrap_or(&Map::new())).map_err(VerifyError::Key)?;
    if algorithm != key.algorithm() {
        return Err(VerifyError::Mismatch { member: "alg" });
    }
    if text("kid") != Some(&thumbprint.to_string()) {
        return Err(VerifyError::Mismatch { member: "kid" });
    }
    Ok((key, thumbprint))
}

/// The public key of a JWK and its thumbprint, if its signatures count: an RSA key has 2048 bits or more (FAPI 2.0 §5.4.1).
fn usable(jwk: &Map<String, Value>) -> Result<(VerifyingKey, KeyThumbprint), KeyError> {
    let key = VerifyingKey::from_jwk(jwk)?;
    if key.is_weak() {
        return Err(KeyError::Weak);
    }
    Ok((key, KeyThumbprint::of_jwk(jwk).ok_or(KeyError::NotForVerifying)?))
}

/// Whether these are the bytes of the transcript that the report has the hash of.
pub fn transcript_matches(report: &Report, transcript: &[u8]) -> bool {
    HEXLOWER.encode(&fapi::sha256(transcript)) == report.transcript_sha256
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
    use aws_lc_rs::signature::KeyPair;
    use base64::engine::general_purpose::STANDARD;

    use super::*;
    use crate::report::testing::{hostile, one_of_each};

    fn generate(algorithm: Algorithm) -> (PrivateKey, Map<String, Value>, KeyThumbprint) {
        let key = PrivateKey::generate(algorithm).unwrap();
        let jwk = key.public_jwk().unwrap();
        let thumbprint = KeyThumbprint::of_jwk(&jwk).unwrap();
        (key, jwk, thumbprint)
    }

    /// What is said of a report whose header has these members too; those that are `null` are removed.
    fn with_header(changes: &Value) -> Result<(), VerifyError> {
        let (key, jwk, thumbprint) = generate(Algorithm::Es256);
        let mut header = json!({ "alg": "ES256", "typ": TYP, "kid": thumbprint.to_string(), "jwk": jwk });
        let members = header.as_object_mut().unwrap();
        members.extend(changes.as_object().unwrap().clone());
        members.retain(|_, value| !value.is_null());
        let text = key.sign_jws(&header, &serde_json::to_value(one_of_each()).unwrap()).unwrap();
        verify(&text, &Trusted(vec![thumbprint])).map(drop)
    }

    fn pem(label: &str, der: &[u8]) -> String {
        format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
    }

    #[test]
    fn what_is_signed_verifies_with_each_algorithm() {
        for algorithm in Algorithm::ALL {
            let (key, jwk, thumbprint) = generate(*algorithm);
            for report in [one_of_each(), hostile()] {
                let text = sign(&report, &key).unwrap();
                let header = URL_SAFE_NO_PAD.decode(text.split('.').next().unwrap()).unwrap();
                let expected =
                    json!({ "alg": algorithm.as_str(), "typ": TYP, "kid": thumbprint.to_string(), "jwk": jwk });
                assert_eq!(serde_json::from_slice::<Value>(&header).unwrap(), expected);
                let trusted = Trusted::thumbprint(&thumbprint.to_string()).unwrap();
                assert_eq!(verify(&format!("{text}\n"), &trusted), Ok(Verified { report, thumbprint }));
            }
        }
    }

    #[test]
    fn a_report_with_many_steps_is_read() {
        let mut report = one_of_each();
        report.modules = vec![report.modules[4].clone(); 1000];
        let (key, _, thumbprint) = generate(Algorithm::Es256);
        let text = sign(&report, &key).unwrap();
        assert_eq!(verify(&text, &Trusted(vec![thumbprint])).map(|verified| verified.report), Ok(report));
    }

    #[test]
    fn keys_are_trusted_as_pem_jwk_set_or_thumbprint() {
        let (key, jwk, thumbprint) = generate(Algorithm::Es256);
        let (_, other, _) = generate(Algorithm::Es256);
        let text = sign(&one_of_each(), &key).unwrap();
        let PrivateKey::Ec(pair) = &key else { panic!("it is of P-256") };
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        for trusted in [
            Trusted::keys(pem("PUBLIC KEY", der.as_ref()).as_bytes()),
            Trusted::keys(format!(" {}", Value::Object(jwk.clone())).as_bytes()),
            Trusted::keys(json!({ "keys": [{ "kty": "oct", "k": "AA" }, other, jwk] }).to_string().as_bytes()),
            Trusted::thumbprint(&thumbprint.to_string()),
        ] {
            assert_eq!(verify(&text, &trusted.unwrap()).map(|verified| verified.thumbprint), Ok(thumbprint));
        }
        let other = Trusted::keys(json!({ "keys": [other] }).to_string().as_bytes()).unwrap();
        assert_eq!(verify(&text, &other), Err(VerifyError::NotTrusted { found: thumbprint }), "control");
    }

    #[test]
    fn what_names_no_key_is_not_trusted() {
        let (_, jwk, thumbprint) = generate(Algorithm::Es256);
        let private = pem("PRIVATE KEY", &[0x30, 0]);
        let keys = |value: &Value| Trusted::keys(value.to_string().as_bytes()).map(drop);
        assert_eq!(keys(&json!(jwk)), Ok(())); // control
        for text in ["", "junk", "{", "[]", "-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----\n", "{\"keys\":1}"]
        {
            assert_eq!(Trusted::keys(text.as_bytes()), Err(TrustedError::Malformed), "{text}");
        }
        assert_eq!(Trusted::keys(private.as_bytes()), Err(TrustedError::OtherPem));
        let malformed = Err(TrustedError::PublicKey(PublicKeyError::Malformed));
        assert_eq!(Trusted::keys(pem("PUBLIC KEY", &[0x30, 0]).as_bytes()), malformed);
        let mut with_private = jwk.clone();
        with_private.insert("d".into(), "c2VjcmV0".into());
        assert_eq!(keys(&json!(with_private)), Err(TrustedError::Key(KeyError::Private { member: "d" })));
        assert_eq!(keys(&json!({ "keys": [with_private, 1] })), Err(TrustedError::NoUsableKey));
        assert_eq!(keys(&weak()), Err(TrustedError::Key(KeyError::Weak)));
        let text = thumbprint.to_string();
        assert_eq!(Trusted::thumbprint(&text), Ok(Trusted(vec![thumbprint]))); // control
        for text in ["", &text[1..], &format!("{text}="), &format!("{text}A"), &format!(" {text}")] {
            assert_eq!(Trusted::thumbprint(text), Err(TrustedError::Thumbprint), "{text}");
        }
    }

    /// An RSA key of 1024 bits.
    fn weak() -> Value {
        json!({ "kty": "RSA", "n": URL_SAFE_NO_PAD.encode([0xff; 128]), "e": "AQAB" })
    }

    #[test]
    fn the_header_has_to_say_what_it_is_and_nothing_that_changes_how_it_is_read() {
        let (_, other, other_thumbprint) = generate(Algorithm::Es256);
        let (_, of_ed, ed_thumbprint) = generate(Algorithm::EdDsa);
        let mismatch = |member| Err(VerifyError::Mismatch { member });
        assert_eq!(with_header(&json!({})), Ok(())); // control
        assert_eq!(with_header(&json!({ "cty": "json" })), Ok(()), "control");
        for (changes, expected) in [
            (json!({ "crit": ["exp"] }), Err(VerifyError::Critical { member: "crit" })),
            (json!({ "crit": [] }), Err(VerifyError::Critical { member: "crit" })),
            (json!({ "b64": true }), Err(VerifyError::Critical { member: "b64" })),
            (json!({ "typ": null }), Err(VerifyError::OtherType)),
            (json!({ "typ": "JWT" }), Err(VerifyError::OtherType)),
            (json!({ "alg": null }), Err(VerifyError::Algorithm)),
            (json!({ "alg": "none" }), Err(VerifyError::Algorithm)),
            (json!({ "alg": "HS256" }), Err(VerifyError::Algorithm)),
            (json!({ "alg": "RS256" }), Err(VerifyError::Algorithm)),
            (json!({ "alg": "PS256" }), mismatch("alg")),
            (json!({ "kid": null }), mismatch("kid")),
            (json!({ "kid": other_thumbprint.to_string() }), mismatch("kid")),
            (json!({ "jwk": other }), mismatch("kid")),
            (json!({ "jwk": null }), Err(VerifyError::Key(KeyError::NotForVerifying))),
            (json!({ "jwk": weak(), "alg": "PS256" }), Err(VerifyError::Key(KeyError::Weak))),
            (
                json!({ "jwk": other, "kid": other_thumbprint.to_string() }),
                Err(VerifyError::NotTrusted { found: other_thumbprint }),
            ),
            (
                json!({ "jwk": of_ed, "kid": ed_thumbprint.to_string(), "alg": "EdDSA" }),
                Err(VerifyError::NotTrusted { found: ed_thumbprint }),
            ),
        ] {
            assert_eq!(with_header(&changes), expected, "{changes}");
        }
    }

    #[test]
    fn a_changed_report_does_not_verify() {
        let (key, _, thumbprint) = generate(Algorithm::Es256);
        let trusted = Trusted(vec![thumbprint]);
        let text = sign(&one_of_each(), &key).unwrap();
        assert!(verify(&text, &trusted).is_ok()); // control
        let [header, payload, signature] = text.split('.').collect::<Vec<_>>().try_into().unwrap();
        let mut better = one_of_each();
        better.modules[4].verdict = crate::report::Verdict::Pass;
        let better = URL_SAFE_NO_PAD.encode(serde_json::to_string(&better).unwrap());
        let (other, ..) = generate(Algorithm::Es256);
        let by_another = URL_SAFE_NO_PAD.encode(other.sign(format!("{header}.{payload}").as_bytes()).unwrap());
        for changed in [
            format!("{header}.{better}.{signature}"),
            format!("{header}.{payload}.{by_another}"),
            format!("{header}.{payload}.{}", &signature[..signature.len() - 2]),
            format!("{header}.{payload}."),
        ] {
            assert_eq!(verify(&changed, &trusted), Err(VerifyError::Signature), "{changed}");
        }
    }

    #[test]
    fn a_signed_report_has_one_spelling() {
        let (key, _, thumbprint) = generate(Algorithm::Es256);
        let trusted = Trusted(vec![thumbprint]);
        let text = sign(&one_of_each(), &key).unwrap();
        assert!(verify(&text, &trusted).is_ok()); // control
        let [header, payload, signature] = text.split('.').collect::<Vec<_>>().try_into().unwrap();
        let twice = URL_SAFE_NO_PAD.encode(format!(r#"{{"typ":"{TYP}","typ":"{TYP}"}}"#));
        for (changed, part) in [
            (String::new(), "serialization"),
            (header.to_owned(), "serialization"),
            (format!("{header}.{payload}"), "serialization"),
            (format!("{text}.{signature}"), "serialization"),
            (format!("{header}=.{payload}.{signature}"), "header"),
            (format!("{twice}.{payload}.{signature}"), "header"),
            (format!("{header}.{payload}=.{signature}"), "payload"),
            (format!("{header}.{payload}\n.{signature}"), "payload"),
            (format!("{header}.{payload}.{signature}=="), "signature"),
            (format!("{header}.{payload}.+{}", &signature[1..]), "signature"),
        ] {
            assert_eq!(verify(&changed, &trusted), Err(VerifyError::Malformed { part }), "{changed}");
        }
    }

    #[test]
    fn what_is_signed_has_to_be_a_report_of_this_format() {
        let (key, jwk, thumbprint) = generate(Algorithm::EdDsa);
        let header = json!({ "alg": "EdDSA", "typ": TYP, "kid": thumbprint.to_string(), "jwk": jwk });
        let signed = |payload: &Value| {
            let text = key.sign_jws(&header, payload).unwrap();
            verify(&text, &Trusted(vec![thumbprint])).map(drop)
        };
        let mut report = serde_json::to_value(one_of_each()).unwrap();
        assert_eq!(signed(&report), Ok(())); // control
        report["format"] = json!("fapi-gateway-probe/2");
        let other = ReadError::OtherFormat { found: "fapi-gateway-probe/2".into() };
        assert_eq!(signed(&report), Err(VerifyError::Report(other)));
        assert_eq!(signed(&json!({})), Err(VerifyError::Report(ReadError::NotAReport)));
    }

    #[test]
    fn errors_say_what_is_wrong_and_no_key() {
        let (key, jwk, thumbprint) = generate(Algorithm::Es256);
        let text = sign(&one_of_each(), &key).unwrap();
        let other = Trusted::thumbprint(&URL_SAFE_NO_PAD.encode([7; 32])).unwrap();
        let error = verify(&text, &other).unwrap_err().to_string();
        assert_eq!(error, format!("it is signed with the key {thumbprint}, which is not trusted"));
        assert!(!error.contains(jwk["x"].as_str().unwrap()));
    }

    #[test]
    fn a_transcript_matches_if_every_byte_does() {
        let mut report = one_of_each();
        // FIPS 180-2 appendix B.1.
        report.transcript_sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad".into();
        assert!(transcript_matches(&report, b"abc")); // control
        assert!(!transcript_matches(&report, b"abd"));
        assert!(!transcript_matches(&report, b"abc\n"));
        report.transcript_sha256 = report.transcript_sha256.to_uppercase();
        assert!(!transcript_matches(&report, b"abc"), "the hash has one spelling");
    }
}
