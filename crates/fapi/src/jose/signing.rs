//! Private keys that sign JWTs with an algorithm that FAPI allows (FAPI 2.0 §5.4.1).
//!
//! Signs headers and claims as given; does not check that they make sense.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PSS_SHA256, RSA_PSS_SHA512,
    RsaSignatureEncoding,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::{self, PemObject};
use serde_json::{Map, Value};

use super::keys::Algorithm;
use super::public_key::jwk_of_spki;

/// A private key, whose type determines the algorithm. `Debug` does not show it.
pub enum PrivateKey {
    /// P-256.
    Ec(EcdsaKeyPair),
    /// RSA, from 2048 to 8192 bits.
    Rsa(rsa::KeyPair),
    /// Ed25519.
    Ed(Ed25519KeyPair),
    /// One that signs where it is kept.
    Kept(Box<dyn KeptKey>),
}

/// A private key that never comes here, such as one in a token of PKCS#11, and signs where it is kept.
pub trait KeptKey: Send + Sync {
    /// The algorithm it signs with.
    fn algorithm(&self) -> Algorithm;

    /// The public key as a JWK with only the members that RFC 7638 §3.2 requires.
    fn public_jwk(&self) -> Map<String, Value>;

    /// Signs a message as [`PrivateKey::sign`] does. May block, for a time that is bounded.
    ///
    /// # Errors
    /// [`NotSigned`].
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, NotSigned>;
}

/// A key of an unsupported type, an RSA key below 2048 bits, or a malformed key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the private key cannot be used, expected EC P-256, Ed25519, or RSA of 2048 bits or more")]
pub struct Unsupported;

/// Why no signing key can be read from a PEM text; does not show the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyFileError {
    /// It contains no private key.
    #[error(
        "there is no private key in PEM; expected BEGIN PRIVATE KEY, BEGIN EC PRIVATE KEY or BEGIN RSA PRIVATE KEY"
    )]
    Missing,
    /// The PEM is truncated or is not base64.
    #[error("the PEM text is malformed")]
    Malformed,
    /// The key is encrypted.
    #[error("the private key is encrypted; decrypt it first, for example with `openssl pkey`")]
    Encrypted,
    /// The key is of an unsupported type, too small or malformed.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
}

/// The cryptographic library, or where the key is kept, could not sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the private key did not sign")]
pub struct NotSigned;

impl PrivateKey {
    /// Generates a key for this algorithm; RSA keys have 2048 bits.
    ///
    /// # Errors
    /// [`Unsupported`] if the system provides no randomness.
    pub fn generate(algorithm: Algorithm) -> Result<Self, Unsupported> {
        match algorithm {
            Algorithm::Es256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map(Self::Ec),
            Algorithm::Ps256 => rsa::KeyPair::generate(KeySize::Rsa2048).map(Self::Rsa),
            Algorithm::EdDsa => Ed25519KeyPair::generate().map(Self::Ed),
        }
        .map_err(|_| Unsupported)
    }

    /// Reads the first private key of a PEM text: PKCS#8, SEC1 of P-256, or PKCS#1.
    ///
    /// # Errors
    /// [`KeyFileError`].
    pub fn from_pem(text: &[u8]) -> Result<Self, KeyFileError> {
        Ok(Self::from_der(&private_key_of_pem(text)?)?)
    }

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

    /// The algorithm it signs with.
    pub fn algorithm(&self) -> Algorithm {
        match self {
            Self::Ec(_) => Algorithm::Es256,
            Self::Rsa(_) => Algorithm::Ps256,
            Self::Ed(_) => Algorithm::EdDsa,
            Self::Kept(key) => key.algorithm(),
        }
    }

    /// Whether signing may block, since the key is kept elsewhere.
    pub const fn may_block(&self) -> bool {
        matches!(self, Self::Kept(_))
    }

    /// Signs a message; the signature has the form of RFC 7518 §3.4 and §3.5 and RFC 8037 §3.1. May block where
    /// [`PrivateKey::may_block`] says so.
    ///
    /// # Errors
    /// [`NotSigned`].
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, NotSigned> {
        match self {
            Self::Ec(key) => {
                let signature = key.sign(&SystemRandom::new(), message).map_err(|_| NotSigned)?;
                Ok(signature.as_ref().to_vec())
            }
            Self::Rsa(key) => sign_pss(key, &RSA_PSS_SHA256, message),
            Self::Ed(key) => Ok(key.sign(message).as_ref().to_vec()),
            Self::Kept(key) => key.sign(message),
        }
    }

    /// Signs the base of an HTTP message with the algorithm of [`Self::sign`], which verifiers learn from the key (RFC 9421
    /// §3.3.7). If the message `names` its algorithm, an RSA key signs with the only one that has a name there: RSASSA-PSS with
    /// SHA-512 (§3.3.1). May block where [`PrivateKey::may_block`] says so.
    ///
    /// # Errors
    /// [`NotSigned`], always for an RSA key that is kept elsewhere where the message names its algorithm: it signs with SHA-256
    /// alone.
    pub fn sign_http_message(&self, base: &[u8], names: bool) -> Result<Vec<u8>, NotSigned> {
        match self {
            Self::Rsa(key) if names => sign_pss(key, &RSA_PSS_SHA512, base),
            Self::Kept(key) if names && key.algorithm() == Algorithm::Ps256 => Err(NotSigned),
            Self::Rsa(_) | Self::Ec(_) | Self::Ed(_) | Self::Kept(_) => self.sign(base),
        }
    }

    /// Signs exactly this header and these claims as a compact JWS (RFC 7515 §7.1).
    ///
    /// # Errors
    /// [`NotSigned`].
    pub fn sign_jws(&self, header: &Value, claims: &Value) -> Result<String, NotSigned> {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let input = format!("{}.{}", part(header), part(claims));
        let signature = self.sign(input.as_bytes())?;
        Ok(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// The public key as a JWK with only the members that RFC 7638 §3.2 requires.
    ///
    /// # Errors
    /// [`Unsupported`] if the public key cannot be encoded.
    pub fn public_jwk(&self) -> Result<Map<String, Value>, Unsupported> {
        let der: Result<PublicKeyX509Der<'_>, _> = match self {
            Self::Ec(key) => key.public_key().as_der(),
            Self::Rsa(key) => key.public_key().as_der(),
            Self::Ed(key) => key.public_key().as_der(),
            Self::Kept(key) => return Ok(key.public_jwk()),
        };
        jwk_of_spki(der.map_err(|_| Unsupported)?.as_ref()).map_err(|_| Unsupported)
    }
}

/// The first private key of a PEM text, whatever it is for.
///
/// # Errors
/// [`KeyFileError`], but not [`KeyFileError::Unsupported`].
pub(crate) fn private_key_of_pem(text: &[u8]) -> Result<PrivateKeyDer<'static>, KeyFileError> {
    if String::from_utf8_lossy(text).contains("ENCRYPTED") {
        return Err(KeyFileError::Encrypted);
    }
    PrivateKeyDer::from_pem_slice(text).map_err(|error| {
        if matches!(error, pem::Error::NoItemsFound) { KeyFileError::Missing } else { KeyFileError::Malformed }
    })
}

/// Signs with RSASSA-PSS, and a salt as long as the hash.
fn sign_pss(key: &rsa::KeyPair, encoding: &'static RsaSignatureEncoding, message: &[u8]) -> Result<Vec<u8>, NotSigned> {
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(encoding, &SystemRandom::new(), message, &mut signature).map_err(|_| NotSigned)?;
    Ok(signature)
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PrivateKey").field(&self.algorithm()).finish()
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::Pkcs8V1Der;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED_SIGNING, ED25519, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey,
    };
    use proptest::prelude::*;
    use rustls_pki_types::{PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};

    use super::*;
    use crate::jose::keys::VerifyingKey;

    fn pkcs8(key: &PrivateKey) -> PrivateKeyDer<'static> {
        let der = match key {
            PrivateKey::Ec(key) => key.to_pkcs8v1().unwrap().as_ref().to_vec(),
            PrivateKey::Rsa(key) => AsDer::<Pkcs8V1Der<'_>>::as_der(key).unwrap().as_ref().to_vec(),
            PrivateKey::Ed(key) => key.to_pkcs8v1().unwrap().as_ref().to_vec(),
            PrivateKey::Kept(_) => panic!("it is elsewhere"),
        };
        PrivatePkcs8KeyDer::from(der).into()
    }

    fn pem(label: &str, der: &[u8]) -> String {
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    }

    #[test]
    fn keys_of_every_kind_read_back_from_pem() {
        for algorithm in Algorithm::ALL {
            let key = PrivateKey::generate(*algorithm).unwrap();
            let read = PrivateKey::from_pem(pem("PRIVATE KEY", pkcs8(&key).secret_der()).as_bytes()).unwrap();
            assert_eq!((read.algorithm(), read.public_jwk()), (*algorithm, key.public_jwk()));
        }
    }

    /// A key that another process holds, and signs with as JWTs need it.
    struct Elsewhere(PrivateKey);

    impl KeptKey for Elsewhere {
        fn algorithm(&self) -> Algorithm {
            self.0.algorithm()
        }

        fn public_jwk(&self) -> Map<String, Value> {
            self.0.public_jwk().unwrap()
        }

        fn sign(&self, message: &[u8]) -> Result<Vec<u8>, NotSigned> {
            self.0.sign(message)
        }
    }

    #[test]
    fn hsig_09_a_kept_key_signs_messages_unless_it_would_do_so_with_another_algorithm() {
        for (algorithm, signs) in [(Algorithm::Es256, true), (Algorithm::EdDsa, true), (Algorithm::Ps256, false)] {
            let key = PrivateKey::Kept(Box::new(Elsewhere(PrivateKey::generate(algorithm).unwrap())));
            let verifying = VerifyingKey::from_jwk(&key.public_jwk().unwrap()).unwrap();
            assert!(key.sign(b"x").is_ok(), "control");
            let signature = key.sign_http_message(b"x", true);
            assert_eq!(signature.is_ok(), signs, "{algorithm:?}");
            assert!(signature.is_ok_and(|signature| verifying.verifies_http_message(b"x", &signature, true)) == signs);
            let unnamed = key.sign_http_message(b"x", false).unwrap();
            assert!(verifying.verifies_http_message(b"x", &unnamed, false));
            assert_eq!(verifying.verifies_http_message(b"x", &unnamed, true), signs);
        }
    }

    #[test]
    fn a_text_that_has_no_key_to_sign_with_says_why() {
        let error = |text: &str| PrivateKey::from_pem(text.as_bytes()).err();
        let good = pem("PRIVATE KEY", pkcs8(&PrivateKey::generate(Algorithm::Es256).unwrap()).secret_der());
        assert_eq!(error(&good), None); // control
        assert_eq!(error(&format!("{}{good}", pem("EC PARAMETERS", b"x"))), None, "as openssl writes it");
        assert_eq!(error(""), Some(KeyFileError::Missing));
        assert_eq!(error(&good.replace("PRIVATE", "PUBLIC")), Some(KeyFileError::Missing));
        assert_eq!(error(&good.replace("PRIVATE", "ENCRYPTED PRIVATE")), Some(KeyFileError::Encrypted));
        assert_eq!(error(&good.replace("-----END", "----END")), Some(KeyFileError::Malformed));
        assert_eq!(error(&pem("PRIVATE KEY", b"x")), Some(KeyFileError::Unsupported(Unsupported)));
        let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap().to_pkcs8v1().unwrap();
        assert_eq!(error(&pem("PRIVATE KEY", p384.as_ref())), Some(KeyFileError::Unsupported(Unsupported)));
    }

    #[test]
    fn fapi2_cr_01_signs_with_the_algorithm_of_its_type() {
        for algorithm in Algorithm::ALL {
            let key = PrivateKey::from_der(&pkcs8(&PrivateKey::generate(*algorithm).unwrap())).unwrap();
            assert_eq!(key.algorithm(), *algorithm);
            let signature = key.sign(b"message").unwrap();
            assert_eq!(signature.len(), if *algorithm == Algorithm::Ps256 { 256 } else { 64 }, "{algorithm:?}");
            let verifies = |message: &[u8]| match &key {
                PrivateKey::Ec(key) => {
                    UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.public_key()).verify(message, &signature)
                }
                PrivateKey::Rsa(key) => {
                    UnparsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, key.public_key()).verify(message, &signature)
                }
                PrivateKey::Ed(key) => UnparsedPublicKey::new(&ED25519, key.public_key()).verify(message, &signature),
                PrivateKey::Kept(_) => panic!("it is elsewhere"),
            };
            assert!(verifies(b"message").is_ok(), "{algorithm:?}"); // control
            assert!(verifies(b"massage").is_err(), "{algorithm:?}");
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
        let pkcs8: Pkcs8V1Der<'_> = rsa.as_der().unwrap();
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
    fn a_key_that_is_kept_elsewhere_signs_there() {
        struct Elsewhere(PrivateKey);

        impl KeptKey for Elsewhere {
            fn algorithm(&self) -> Algorithm {
                self.0.algorithm()
            }

            fn public_jwk(&self) -> Map<String, Value> {
                self.0.public_jwk().unwrap()
            }

            fn sign(&self, message: &[u8]) -> Result<Vec<u8>, NotSigned> {
                if message.is_empty() { Err(NotSigned) } else { self.0.sign(message) }
            }
        }

        let here = PrivateKey::generate(Algorithm::EdDsa).unwrap();
        let (jwk, signature) = (here.public_jwk(), here.sign(b"message").unwrap());
        assert!(!here.may_block(), "control");
        let kept = PrivateKey::Kept(Box::new(Elsewhere(here)));
        assert_eq!((kept.algorithm(), kept.may_block(), kept.public_jwk()), (Algorithm::EdDsa, true, jwk));
        assert_eq!((kept.sign(b"message"), kept.sign(b"")), (Ok(signature), Err(NotSigned)));
        assert_eq!(format!("{kept:?}"), "PrivateKey(EdDsa)");
    }

    #[test]
    fn debug_shows_the_algorithm_and_nothing_else() {
        for algorithm in Algorithm::ALL {
            let key = PrivateKey::generate(*algorithm).unwrap();
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
