//! The private key of a label in a token, the public key that belongs to it, and its signatures.

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ED25519, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cryptoki::context::Pkcs11;
use cryptoki::error::Error;
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{Attribute, AttributeType, KeyType, ObjectClass, ObjectHandle};
use fapi::jose::keys::Algorithm;
use fapi::sha256;
use serde_json::{Map, Value};

use super::session::Session;
use super::worker::failed;
use super::{Names, Problem};

/// A private key in a session, which has signed once.
pub(super) struct Key {
    handle: ObjectHandle,
    way: Way,
    jwk: Map<String, Value>,
}

/// How a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// CKM_ECDSA over a digest, which is made here; the signature is `r` and `s` as RFC 7518 §3.4 has them.
    Ecdsa,
    /// CKM_EDDSA over the message.
    Eddsa,
    /// CKM_RSA_PKCS_PSS over a digest, which is made here.
    PssOfDigest,
    /// CKM_SHA256_RSA_PKCS_PSS over the message.
    Pss,
}

impl Way {
    const fn algorithm(self) -> Algorithm {
        match self {
            Self::Ecdsa => Algorithm::Es256,
            Self::Eddsa => Algorithm::EdDsa,
            Self::PssOfDigest | Self::Pss => Algorithm::Ps256,
        }
    }
}

impl Key {
    pub(super) const fn algorithm(&self) -> Algorithm {
        self.way.algorithm()
    }

    pub(super) const fn jwk(&self) -> &Map<String, Value> {
        &self.jwk
    }

    pub(super) fn sign(&self, session: &Session, message: &[u8]) -> Result<Vec<u8>, Error> {
        sign(session, self.handle, self.way, message)
    }
}

fn sign(session: &Session, key: ObjectHandle, way: Way, message: &[u8]) -> Result<Vec<u8>, Error> {
    // RFC 7518 §3.5: SHA-256 for both functions, and a salt as long as its output.
    let pss = || PkcsPssParams { hash_alg: MechanismType::SHA256, mgf: PkcsMgfType::MGF1_SHA256, s_len: SALT.into() };
    let (mechanism, digest) = match way {
        Way::Ecdsa => (Mechanism::Ecdsa, Some(sha256(message))),
        Way::Eddsa => (Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure)), None),
        Way::PssOfDigest => (Mechanism::RsaPkcsPss(pss()), Some(sha256(message))),
        Way::Pss => (Mechanism::Sha256RsaPkcsPss(pss()), None),
    };
    session.0.sign(&mechanism, key, digest.as_ref().map_or(message, |digest| digest))
}

/// Finds the private key of this label and its public key, and has the one sign and the other verify.
#[expect(clippy::wildcard_enum_match_arm, reason = "an object has attributes of many kinds, and most say nothing here")]
pub(super) fn find(session: &Session, library: &Pkcs11, label: &str) -> Result<Key, Problem> {
    let private = Attribute::Class(ObjectClass::PRIVATE_KEY);
    let of_label = Attribute::Label(label.as_bytes().to_vec());
    let found = session.0.find_objects(&[private.clone(), of_label.clone()]).map_err(failed)?;
    let handle = match found[..] {
        [handle] => handle,
        [] => return Err(Problem::NoObject(labels(session, private))),
        _ => return Err(Problem::SeveralObjects(found.len())),
    };
    let attributes = session.0.get_attributes(handle, PRIVATE).map_err(failed)?;
    let mut id = None;
    let mut kind = None;
    for attribute in &attributes {
        match attribute {
            Attribute::KeyType(found) => kind = Some(*found),
            Attribute::Id(found) if !found.is_empty() => id = Some(Attribute::Id(found.clone())),
            Attribute::Sign(false) => return Err(Problem::Unusable("it may not sign (CKA_SIGN)")),
            Attribute::AlwaysAuthenticate(true) => {
                return Err(Problem::Unusable("it wants the PIN for each signature (CKA_ALWAYS_AUTHENTICATE)"));
            }
            _ => {}
        }
    }
    let way = way(kind, |mechanism| library.get_mechanism_info(session.1, mechanism).is_ok())?;
    // An RSA key has its public key in it.
    let mut candidates = vec![handle];
    for template in [id, Some(of_label)].into_iter().flatten() {
        let public = [Attribute::Class(ObjectClass::PUBLIC_KEY), template];
        candidates.extend(session.0.find_objects(&public).map_err(failed)?.into_iter().take(MOST_CANDIDATES));
    }
    let mut publics = Vec::new();
    let mut fault = Problem::NoPublicKey;
    for candidate in candidates {
        let Ok(attributes) = session.0.get_attributes(candidate, PUBLIC) else { continue };
        match Public::of(way.algorithm(), &attributes) {
            Ok(public) => publics.extend(public),
            // Of the private key itself. A public key that is no good may be that of another.
            Err(problem) if candidate == handle => return Err(problem),
            Err(problem) => fault = problem,
        }
    }
    if publics.is_empty() {
        return Err(fault);
    }
    let signature = sign(session, handle, way, TRIAL).map_err(failed)?;
    let public = publics.iter().find(|public| public.verifies(TRIAL, &signature)).ok_or(Problem::NoPublicKey)?;
    Ok(Key { handle, way, jwk: public.jwk() })
}

/// How a key of this type signs, with the mechanisms that its token has.
fn way(kind: Option<KeyType>, has: impl Fn(MechanismType) -> bool) -> Result<Way, Problem> {
    match kind {
        Some(KeyType::EC) if has(MechanismType::ECDSA) => Ok(Way::Ecdsa),
        Some(KeyType::EC) => Err(Problem::NoMechanism("CKM_ECDSA")),
        Some(KeyType::EC_EDWARDS) if has(MechanismType::EDDSA) => Ok(Way::Eddsa),
        Some(KeyType::EC_EDWARDS) => Err(Problem::NoMechanism("CKM_EDDSA")),
        Some(KeyType::RSA) if has(MechanismType::RSA_PKCS_PSS) => Ok(Way::PssOfDigest),
        Some(KeyType::RSA) if has(MechanismType::SHA256_RSA_PKCS_PSS) => Ok(Way::Pss),
        Some(KeyType::RSA) => Err(Problem::NoMechanism("CKM_RSA_PKCS_PSS")),
        Some(_) | None => Err(Problem::Unusable("it is neither EC nor RSA")),
    }
}

/// The labels of the objects of this class.
fn labels(session: &Session, class: Attribute) -> Names {
    let objects = session.0.find_objects(&[class]).unwrap_or_default();
    let label = |object: ObjectHandle| {
        let found = session.0.get_attributes(object, &[AttributeType::Label]).ok()?;
        let Some(Attribute::Label(label)) = found.into_iter().next() else { return None };
        Some(String::from_utf8_lossy(&label).into_owned())
    };
    Names::of(objects.into_iter().take(MOST_LABELS).filter_map(label))
}

/// A public key.
#[derive(Debug, PartialEq, Eq)]
enum Public {
    /// The coordinates of a point on P-256.
    Ec([u8; 32], [u8; 32]),
    /// A point on edwards25519.
    Ed([u8; 32]),
    /// Modulus and exponent, without zeros in front.
    Rsa(Vec<u8>, Vec<u8>),
}

impl Public {
    /// The public key that an object has; `None` if it has none.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "an object has attributes of many kinds, and most say nothing here"
    )]
    fn of(algorithm: Algorithm, attributes: &[Attribute]) -> Result<Option<Self>, Problem> {
        let (mut params, mut point, mut modulus, mut exponent) = (None, None, None, None);
        for attribute in attributes {
            match attribute {
                Attribute::EcParams(found) => params = Some(&found[..]),
                Attribute::EcPoint(found) => point = Some(&found[..]),
                Attribute::Modulus(found) => modulus = Some(without_zeros(found)),
                Attribute::PublicExponent(found) => exponent = Some(without_zeros(found)),
                _ => {}
            }
        }
        match algorithm {
            Algorithm::Es256 if params.is_some_and(|params| params != P_256) => {
                Err(Problem::Unusable("it is on another curve than P-256"))
            }
            Algorithm::EdDsa if params.is_some_and(|params| !ED_25519.contains(&params)) => {
                Err(Problem::Unusable("it is on another curve than edwards25519"))
            }
            Algorithm::Es256 => Ok(point.and_then(uncompressed).map(|(x, y)| Self::Ec(x, y))),
            Algorithm::EdDsa => Ok(point.and_then(|point| {
                // The point in an OCTET STRING (PKCS #11 v3.0), or as it is.
                let inner = point.strip_prefix(&[0x04, 0x20]).filter(|inner| inner.len() == 32);
                inner.unwrap_or(point).try_into().ok().map(Self::Ed)
            })),
            Algorithm::Ps256 => match (modulus, exponent) {
                (Some(modulus), _) if !(256..=1024).contains(&modulus.len()) => {
                    Err(Problem::Unusable("it is an RSA key below 2048 bits, or above 8192"))
                }
                (Some(modulus), Some(exponent)) if !exponent.is_empty() => {
                    Ok(Some(Self::Rsa(modulus.to_vec(), exponent.to_vec())))
                }
                (_, _) => Ok(None),
            },
        }
    }

    fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Ec(x, y) => {
                let point = [&[0x04][..], x, y].concat();
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message, signature).is_ok()
            }
            Self::Ed(point) => UnparsedPublicKey::new(&ED25519, point).verify(message, signature).is_ok(),
            Self::Rsa(n, e) => {
                PublicKeyComponents { n, e }.verify(&RSA_PSS_2048_8192_SHA256, message, signature).is_ok()
            }
        }
    }

    /// RFC 7638 §3.2 and RFC 8037 §2: the members that are required.
    fn jwk(&self) -> Map<String, Value> {
        let encoded = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let members = match self {
            Self::Ec(x, y) => {
                vec![("crv", "P-256".to_owned()), ("kty", "EC".to_owned()), ("x", encoded(x)), ("y", encoded(y))]
            }
            Self::Ed(x) => vec![("crv", "Ed25519".to_owned()), ("kty", "OKP".to_owned()), ("x", encoded(x))],
            Self::Rsa(n, e) => vec![("e", encoded(e)), ("kty", "RSA".to_owned()), ("n", encoded(n))],
        };
        members.into_iter().map(|(name, value)| (name.to_owned(), Value::String(value))).collect()
    }
}

/// The coordinates of a point (SEC 1 §2.3.3), which is in an OCTET STRING (PKCS #11 v2.40 §2.3.3), or as it is.
fn uncompressed(point: &[u8]) -> Option<([u8; 32], [u8; 32])> {
    let point = point.strip_prefix(&[0x04, 0x41]).filter(|inner| inner.len() == 65).unwrap_or(point);
    let (x, y) = point.strip_prefix(&[0x04])?.split_at_checked(32)?;
    Some((x.try_into().ok()?, y.try_into().ok()?))
}

fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    number.get(zeros..).unwrap_or_default()
}

/// What is asked of a private key.
const PRIVATE: &[AttributeType] =
    &[AttributeType::KeyType, AttributeType::Id, AttributeType::Sign, AttributeType::AlwaysAuthenticate];
/// What is asked of whatever may have a public key.
const PUBLIC: &[AttributeType] =
    &[AttributeType::EcParams, AttributeType::EcPoint, AttributeType::Modulus, AttributeType::PublicExponent];
/// The object identifier of P-256 in DER (RFC 5480 §2.1.1.1).
const P_256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// That of Ed25519 (RFC 8410 §3), that of the curve in some tokens, and its name (PKCS #11 v3.0 §2.3.7).
const ED_25519: &[&[u8]] = &[
    &[0x06, 0x03, 0x2b, 0x65, 0x70],
    &[0x06, 0x09, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01],
    b"\x13\x0cedwards25519",
];
/// What a key signs to show that it can: no JWS and no line of an audit.
const TRIAL: &[u8] = b"fapi-gateway: whether this key signs";
/// The length of a salt.
const SALT: u64 = 32;
/// How many public keys of a label are tried.
const MOST_CANDIDATES: usize = 8;
/// How many objects are asked for their labels.
const MOST_LABELS: usize = 64;

#[cfg(test)]
mod tests {
    use fapi::jose::signing::PrivateKey;

    use super::*;

    #[test]
    fn a_public_key_of_a_token_is_that_of_the_file() {
        let decoded = |value: &Value| URL_SAFE_NO_PAD.decode(value.as_str().unwrap()).unwrap();
        for algorithm in Algorithm::ALL {
            let key = PrivateKey::generate(*algorithm).unwrap();
            let (jwk, signature) = (key.public_jwk().unwrap(), key.sign(TRIAL).unwrap());
            let forms = match algorithm {
                Algorithm::Es256 => {
                    let point = [&[4][..], &decoded(&jwk["x"]), &decoded(&jwk["y"])].concat();
                    let params = Attribute::EcParams(P_256.to_vec());
                    vec![
                        vec![params.clone(), Attribute::EcPoint([&[4, 65][..], &point].concat())],
                        vec![params, Attribute::EcPoint(point)],
                    ]
                }
                Algorithm::EdDsa => {
                    let point = decoded(&jwk["x"]);
                    let params = |number: usize| Attribute::EcParams(ED_25519[number].to_vec());
                    vec![
                        vec![params(0), Attribute::EcPoint([&[4, 32][..], &point].concat())],
                        vec![params(2), Attribute::EcPoint(point)],
                    ]
                }
                Algorithm::Ps256 => {
                    let (n, e) = (decoded(&jwk["n"]), decoded(&jwk["e"]));
                    let zero = [&[0][..], &n].concat();
                    vec![
                        vec![Attribute::Modulus(n), Attribute::PublicExponent(e.clone())],
                        vec![Attribute::Modulus(zero), Attribute::PublicExponent(e)],
                    ]
                }
            };
            for form in forms {
                let public = Public::of(*algorithm, &form).unwrap().unwrap();
                assert_eq!(public.jwk(), jwk, "{algorithm:?}");
                assert!(public.verifies(TRIAL, &signature), "{algorithm:?}");
                assert!(!public.verifies(b"another", &signature), "control");
            }
        }
    }

    #[test]
    fn what_is_no_key_for_fapi_is_none() {
        let p384 = vec![Attribute::EcParams(vec![0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22])];
        let small = vec![Attribute::Modulus(vec![1; 128]), Attribute::PublicExponent(vec![1, 0, 1])];
        assert!(matches!(Public::of(Algorithm::Es256, &p384), Err(Problem::Unusable(_))));
        assert!(matches!(Public::of(Algorithm::EdDsa, &p384), Err(Problem::Unusable(_))));
        assert!(matches!(Public::of(Algorithm::Ps256, &small), Err(Problem::Unusable(_))));
        let compressed = vec![Attribute::EcPoint([&[4, 33, 2][..], &[1; 32]].concat())];
        for (algorithm, attributes) in [
            (Algorithm::Es256, vec![]),
            (Algorithm::Es256, compressed.clone()),
            (Algorithm::EdDsa, compressed),
            (Algorithm::Ps256, vec![Attribute::Modulus(vec![1; 256])]),
        ] {
            assert_eq!(Public::of(algorithm, &attributes), Ok(None), "{algorithm:?} {attributes:?}");
        }
    }

    #[test]
    fn a_key_signs_as_its_token_can() {
        let all = [
            MechanismType::ECDSA,
            MechanismType::EDDSA,
            MechanismType::SHA256_RSA_PKCS_PSS,
            MechanismType::RSA_PKCS_PSS,
        ];
        let having = |count: usize| move |mechanism| all.iter().take(count).any(|known| *known == mechanism);
        assert_eq!(way(Some(KeyType::EC), having(4)), Ok(Way::Ecdsa));
        assert_eq!(way(Some(KeyType::EC_EDWARDS), having(4)), Ok(Way::Eddsa));
        assert_eq!(way(Some(KeyType::RSA), having(4)), Ok(Way::PssOfDigest));
        assert_eq!(way(Some(KeyType::RSA), having(3)), Ok(Way::Pss));
        assert_eq!(way(Some(KeyType::EC_EDWARDS), having(1)), Err(Problem::NoMechanism("CKM_EDDSA")));
        assert!(matches!(way(Some(KeyType::AES), having(4)), Err(Problem::Unusable(_))));
        assert!(matches!(way(None, having(4)), Err(Problem::Unusable(_))));
    }
}
