//! Why a text is not decrypted, and why a key is not one to decrypt or encrypt with.

use super::super::signing::KeyFileError;
use crate::text::with_kid;

/// Why a text is not decrypted. Nothing of the plaintext or of a key is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JweError {
    /// Over the size limit.
    #[error("it has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A text of three parts, as a JWS has (RFC 7516 §9).
    #[error("it is not encrypted")]
    NotEncrypted,
    /// Parts, base64url, JSON, or the length of a part.
    #[error("its {part} is malformed")]
    Malformed {
        /// Which part.
        part: &'static str,
    },
    /// `crit`.
    #[error("its header has a critical extension, which is not supported")]
    CriticalHeader,
    /// `zip`: a short text may be a long plaintext.
    #[error("its plaintext is compressed, which is not supported")]
    Compressed,
    /// An algorithm that is not allowed.
    #[error("its alg is {found:?}, expected \"RSA-OAEP-256\" or \"ECDH-ES\"")]
    AlgorithmRefused {
        /// The name found, truncated and made printable.
        found: Box<str>,
    },
    /// A content encryption that is not allowed.
    #[error("its enc is {found:?}, expected \"A256GCM\"")]
    EncryptionRefused {
        /// The name found, truncated and made printable.
        found: Box<str>,
    },
    /// `epk` is not a public key that is a point of P-256.
    #[error("its epk is not a public key of P-256")]
    EphemeralKey,
    /// No key of the recipient has this name and is for this algorithm.
    #[error("there is no key{} for {algorithm}", with_kid(.key_id.as_deref()))]
    KeyUnknown {
        /// The `kid`, truncated and made printable.
        key_id: Option<Box<str>>,
        /// The algorithm.
        algorithm: &'static str,
    },
    /// It is for another key, or was changed. RFC 7516 §11.5: which of the two, and where, is not told apart.
    #[error("it cannot be decrypted with the recipient's keys")]
    NotDecrypted,
    /// `cty` says that the plaintext is something else than a JWT.
    #[error("its cty is {found:?}, expected \"JWT\"")]
    ContentTypeWrong {
        /// The type found, truncated and made printable.
        found: Box<str>,
    },
    /// The plaintext is no JWS, but perhaps another JWE.
    #[error("what it contains is not a signed JWT")]
    NotSigned,
}

/// A private key of an unsupported type or size, or a malformed one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the private key cannot be used to decrypt, expected EC P-256, or RSA from 2048 to 4096 bits")]
pub struct Unsupported;

/// Why no private key can be read from a PEM text; does not show the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecryptionKeyError {
    /// The text has none that can be read.
    #[error(transparent)]
    File(#[from] KeyFileError),
    /// Nothing is decrypted with it.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
}

/// Why nothing is encrypted for a public key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncryptionKeyError {
    /// Not a public key in PEM.
    #[error("there is no public key in PEM; expected BEGIN PUBLIC KEY")]
    Missing,
    /// It contains the private key.
    #[error("it is a private key")]
    Private,
    /// A member says that it is for something else.
    #[error("its {member} is {found}, which is not encryption with RSA-OAEP-256 or ECDH-ES")]
    OtherPurpose {
        /// The member.
        member: &'static str,
        /// Its value, truncated and made printable.
        found: Box<str>,
    },
    /// A member is missing or malformed.
    #[error("its {member} is malformed")]
    Malformed {
        /// The member.
        member: &'static str,
    },
    /// Neither RSA nor P-256, too small or too large, or no point of the curve.
    #[error("the public key is not EC P-256, or RSA from 2048 to 4096 bits")]
    Unsupported,
}

/// The cryptographic library could not encrypt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the public key did not encrypt")]
pub struct NotEncrypted;
