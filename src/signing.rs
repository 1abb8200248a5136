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
