//! Private keys that sign JWTs with an algorithm that FAPI allows.

use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PSS_SHA256};
use rustls::pki_types::PrivateKeyDer;

use crate::fapi::keys::Algorithm;

/// A private key; what it signs with is told by its type. `Debug` does not show it.
pub enum PrivateKey {
    /// P-256.
    Ec(EcdsaKeyPair),
    /// RSA, from 2048 to 8192 bits.
    Rsa(rsa::KeyPair),
    /// Ed25519.
    Ed(Ed25519KeyPair),
}

/// Another kind of key, RSA below 2048 bits, or a broken one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the private key cannot be used, expected EC P-256, Ed25519, or RSA of 2048 bits or more")]
pub struct Unsupported;

/// The cryptography did not sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the private key did not sign")]
pub struct NotSigned;

impl PrivateKey {
    /// Reads PKCS#8, SEC1 of P-256, or PKCS#1.
    ///
    /// # Errors
    /// [`Unsupported`].
    pub fn from_der(der: &PrivateKeyDer<'_>) -> Result<Self, Unsupported> {
        let key = match der {
            PrivateKeyDer::Pkcs8(der) => Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_pkcs8_der())
                .map(Self::Ed)
                .or_else(|_| {
                    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der()).map(Self::Ec)
                })
                .or_else(|_| rsa::KeyPair::from_pkcs8(der.secret_pkcs8_der()).map(Self::Rsa)),
            PrivateKeyDer::Sec1(der) => {
                EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_sec1_der())
                    .map(Self::Ec)
            }
            PrivateKeyDer::Pkcs1(der) => rsa::KeyPair::from_der(der.secret_pkcs1_der()).map(Self::Rsa),
            _ => return Err(Unsupported),
        };
        key.map_err(|_| Unsupported)
    }

    /// What it signs with.
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Ec(_) => Algorithm::Es256,
            Self::Rsa(_) => Algorithm::Ps256,
            Self::Ed(_) => Algorithm::EdDsa,
        }
    }

    /// The signature in the form of RFC 7518 §3.4 and §3.5 and RFC 8037 §3.1.
    ///
    /// # Errors
    /// [`NotSigned`].
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, NotSigned> {
        match self {
            Self::Ec(key) => {
                let signature = key.sign(&SystemRandom::new(), message).map_err(|_| NotSigned)?;
                Ok(signature.as_ref().to_vec())
            }
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                let random = SystemRandom::new();
                key.sign(&RSA_PSS_SHA256, &random, message, &mut signature).map_err(|_| NotSigned)?;
                Ok(signature)
            }
            Self::Ed(key) => Ok(key.sign(message).as_ref().to_vec()),
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PrivateKey").field(&self.algorithm()).finish()
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::AsDer;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED, ED25519, KeyPair, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey,
    };
    use proptest::prelude::*;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};

    use super::*;
    use crate::commands::demo::tokens::{KeyKind, SigningKey};

    fn der(key: &SigningKey) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(key.private_key_pem().as_bytes()).unwrap()
    }

    #[test]
    fn fapi2_cr_01_signs_with_the_algorithm_of_its_type() {
        for kind in KeyKind::ALL {
            let key = PrivateKey::from_der(&der(&SigningKey::generate(kind, "a"))).unwrap();
            assert_eq!(key.algorithm().as_str(), kind.algorithm());
            let signature = key.sign(b"message").unwrap();
            assert_eq!(signature.len(), if kind == KeyKind::Ps256 { 256 } else { 64 }, "{kind:?}");
            let verifies = |message: &[u8]| match &key {
                PrivateKey::Ec(key) => {
                    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key()).verify(message, &signature)
                }
                PrivateKey::Rsa(key) => {
                    UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, key.public_key()).verify(message, &signature)
                }
                PrivateKey::Ed(key) => UnparsedPublicKey::new(&ED25519, key.public_key()).verify(message, &signature),
            };
            assert!(verifies(b"message").is_ok(), "{kind:?}"); // control
            assert!(verifies(b"massage").is_err(), "{kind:?}");
        }
    }

    #[test]
    fn other_curves_and_small_keys_are_refused() {
        for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ED25519] {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let pkcs8 = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
            assert!(PrivateKey::from_der(&pkcs8).is_ok(), "{algorithm:?}"); // control
        }
        let other = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
        let pkcs8 = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(other.serialize_der()));
        assert_eq!(PrivateKey::from_der(&pkcs8).map(drop), Err(Unsupported));
    }

    #[test]
    fn a_key_in_another_wrapping_is_the_same_key_and_a_broken_one_none() {
        let rsa = rsa::KeyPair::generate(KeySize::Rsa2048).unwrap();
        let pkcs8: aws_lc_rs::encoding::Pkcs8V1Der<'_> = rsa.as_der().unwrap();
        let good = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.as_ref().to_vec()));
        assert!(PrivateKey::from_der(&good).is_ok()); // control
        for cut in [0, 1, 20, pkcs8.as_ref().len() - 1] {
            let bytes = pkcs8.as_ref()[..cut].to_vec();
            for broken in [
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(bytes.clone())),
                PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(bytes.clone())),
                PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(bytes.clone())),
            ] {
                assert_eq!(PrivateKey::from_der(&broken).map(drop), Err(Unsupported), "{cut}");
            }
        }
    }

    #[test]
    fn debug_shows_the_algorithm_and_nothing_else() {
        for kind in KeyKind::ALL {
            let key = PrivateKey::from_der(&der(&SigningKey::generate(kind, "a"))).unwrap();
            assert_eq!(format!("{key:?}"), format!("PrivateKey({:?})", key.algorithm()));
        }
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for der in [
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(bytes.clone())),
                PrivateKeyDer::Pkcs1(PrivatePkcs1KeyDer::from(bytes.clone())),
                PrivateKeyDer::Sec1(PrivateSec1KeyDer::from(bytes.clone())),
            ] {
                prop_assert_eq!(PrivateKey::from_der(&der).map(drop), Err(Unsupported));
            }
        }
    }
}
