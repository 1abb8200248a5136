//! The JWK of a public key that is a SubjectPublicKeyInfo, as certificates and PEM files have it (RFC 7517 §4), and the RSA key of
//! a JWK.

use aws_lc_rs::rsa::{PublicEncryptingKey, PublicKeyComponents};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::keys::without_leading_zeros;

/// Why a public key has no JWK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublicKeyError {
    /// Not a SubjectPublicKeyInfo in DER.
    #[error("the public key is malformed")]
    Malformed,
    /// Of another type or curve.
    #[error("the public key is not EC P-256, Ed25519 or RSA")]
    Unsupported,
}

/// The JWK of a SubjectPublicKeyInfo in DER (RFC 5480 §2, RFC 8410 §4, RFC 3279 §2.3.1), with only the members that RFC
/// 7638 §3.2 requires.
///
/// Does not check that the key can be used: its size, and that it is a point of its curve
/// ([`VerifyingKey::from_jwk`](super::keys::VerifyingKey::from_jwk)).
///
/// # Errors
/// [`PublicKeyError`].
pub fn jwk_of_spki(der: &[u8]) -> Result<Map<String, Value>, PublicKeyError> {
    let Ok((&[], info)) = SubjectPublicKeyInfo::from_der(der) else { return Err(PublicKeyError::Malformed) };
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    // RFC 7518 §2, Base64urlUInt: "the minimum number of octets needed to represent the value"; DER may begin with a
    // zero.
    let number = |bytes: &[u8]| encode(without_leading_zeros(bytes));
    let curve = info.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
    let members = match info.parsed() {
        Ok(PublicKey::EC(point)) if curve.is_some_and(|curve| curve.to_id_string() == P_256) => {
            // SEC 1 §2.3.3: 04, then X and Y.
            let point = point.data().strip_prefix(&[4]).filter(|point| point.len() == 64);
            let (x, y) = point.ok_or(PublicKeyError::Unsupported)?.split_at(32);
            vec![("crv", "P-256".to_owned()), ("kty", "EC".to_owned()), ("x", encode(x)), ("y", encode(y))]
        }
        Ok(PublicKey::RSA(key)) => {
            vec![("e", number(key.exponent)), ("kty", "RSA".to_owned()), ("n", number(key.modulus))]
        }
        _ if info.algorithm.algorithm.to_id_string() == ED25519 => {
            // RFC 8032 §5.1.5: the public key has 32 octets.
            let x = Some(&*info.subject_public_key.data).filter(|x| x.len() == 32);
            let x = encode(x.ok_or(PublicKeyError::Malformed)?);
            vec![("crv", "Ed25519".to_owned()), ("kty", "OKP".to_owned()), ("x", x)]
        }
        _ => return Err(PublicKeyError::Unsupported),
    };
    Ok(members.into_iter().map(|(name, value)| (name.to_owned(), Value::String(value))).collect())
}

/// The RSA key with this modulus and exponent, as a JWK has them (RFC 7518 §6.3.1), in bytes; `None` if they make none.
pub(crate) fn rsa_key(n: &[u8], e: &[u8]) -> Option<PublicEncryptingKey> {
    let components = PublicKeyComponents { n: without_leading_zeros(n), e: without_leading_zeros(e) };
    components.try_into().ok()
}

const P_256: &str = "1.2.840.10045.3.1.7";
const ED25519: &str = "1.3.101.112";

#[cfg(test)]
mod tests {
    use rcgen::{KeyPair, PublicKeyData};

    use super::*;

    #[test]
    fn keys_of_other_types_and_what_is_not_a_key_have_no_jwk() {
        let jwk = |algorithm| jwk_of_spki(&KeyPair::generate_for(algorithm).unwrap().subject_public_key_info());
        for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ED25519] {
            assert!(jwk(algorithm).is_ok(), "{algorithm:?}"); // control
        }
        assert_eq!(jwk(&rcgen::PKCS_ECDSA_P384_SHA384), Err(PublicKeyError::Unsupported));
        let good = KeyPair::generate().unwrap().subject_public_key_info();
        assert!(jwk_of_spki(&good).is_ok()); // control
        let longer = [&good[..], &[0]].concat();
        for broken in [&good[..0], &good[..1], &good[..good.len() - 1], b"junk", &longer] {
            assert_eq!(jwk_of_spki(broken), Err(PublicKeyError::Malformed));
        }
        // SEQUENCE { SEQUENCE { 1.3.101.112 } BIT STRING of so many octets }
        let ed25519 = |length: u8| {
            let start = vec![0x30, length + 10, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 3, length + 1, 0];
            jwk_of_spki(&[start, vec![7; length.into()]].concat()).map(drop)
        };
        assert_eq!(ed25519(32), Ok(())); // control
        assert_eq!([ed25519(31), ed25519(33)], [Err(PublicKeyError::Malformed); 2]);
    }
}
