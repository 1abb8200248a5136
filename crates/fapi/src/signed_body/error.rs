//! Why the signature of a body proves nothing, or cannot be made.

use crate::UnixTime;
use crate::code::Code;
use crate::jose::jwe::JweError;
use crate::jose::jws::{JwsError, NotVerified};
use crate::path_validation::Fault;
use crate::text::{Names, printable};

/// Why a signed body is refused; each variant is one check.
///
/// `Display` is for operators, and shows no signature, no token, and nothing of a body but the claims that say by whom and
/// for whom it is. Does not say what a client may learn.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignedBodyError {
    /// What is signed, or what it is signed with, is absent.
    #[error("the message has no {what}")]
    Missing {
        /// The field, or the body.
        what: &'static str,
    },
    /// Larger than anything that would be read.
    #[error("{what} has more than {limit} bytes")]
    TooLarge {
        /// Which part of the message.
        what: &'static str,
        /// The most that is read.
        limit: usize,
    },
    /// Cannot be read, or could be read in two ways.
    #[error("{what} is malformed: {why}")]
    Malformed {
        /// Which part of the message.
        what: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The body is not a compact JWS with one reading.
    #[error("the body is not a signed JWT: {0}")]
    NotSignedJwt(JwsError),
    /// The body is not encrypted as it has to be.
    #[error("the body is not a signed JWT that is encrypted for this resource: {0}")]
    NotDecrypted(JweError),
    /// A member of the JOSE header that is needed is absent.
    #[error("the JOSE header has no {member}")]
    MemberMissing {
        /// Its name.
        member: &'static str,
    },
    /// A member of the JOSE header that may not be there.
    #[error("the JOSE header has the member {member:?}, which is not allowed")]
    MemberNotAllowed {
        /// Its name, truncated and made printable.
        member: Box<str>,
    },
    /// A member of the JOSE header with another value than it has to have.
    #[error("{member} in the JOSE header is not {expected}")]
    MemberRefused {
        /// Its name.
        member: &'static str,
        /// What it has to be.
        expected: &'static str,
    },
    /// An algorithm that is not accepted.
    #[error("the algorithm is {found:?}, expected one of {expected}")]
    AlgorithmRefused {
        /// Its name, truncated and made printable.
        found: Box<str>,
        /// Those that are accepted.
        expected: Names,
    },
    /// No key of the client has this name.
    #[error("the client has no key with kid {key_id:?} for this algorithm")]
    KeyUnknown {
        /// The `kid`, truncated and made printable.
        key_id: Box<str>,
    },
    /// The key is too small.
    #[error("the client's key is below 2048 bits")]
    KeyWeak,
    /// The signature does not verify.
    #[error("the signature is invalid")]
    SignatureInvalid,
    /// A claim that is needed is absent.
    #[error("the claim {claim} is missing")]
    ClaimMissing {
        /// Its name.
        claim: &'static str,
    },
    /// A claim with a value of the wrong form.
    #[error("the claim {claim} is not {expected}")]
    ClaimMalformed {
        /// Its name.
        claim: &'static str,
        /// What it has to be.
        expected: &'static str,
    },
    /// Signed by somebody else than the client.
    #[error("the issuer is {found:?}, expected {expected:?}")]
    IssuerMismatch {
        /// What is claimed, truncated and made printable.
        found: Box<str>,
        /// The client's own.
        expected: Box<str>,
    },
    /// Nobody knows by which name the client signs.
    #[error("the client lacks {lacks}, so that nobody knows who has to have signed")]
    SenderUnknown {
        /// What is not known of it.
        lacks: &'static str,
    },
    /// Meant for another endpoint.
    #[error("aud is {found}, expected one of {expected}")]
    AudienceMismatch {
        /// What is claimed, made printable.
        found: Box<str>,
        /// Those that are accepted.
        expected: Names,
    },
    /// Signed under an authority that is not trusted here.
    #[error("the trust anchor is {found:?}, expected one of {expected}")]
    TrustAnchorUnknown {
        /// What is claimed, truncated and made printable.
        found: Box<str>,
        /// Those that are trusted.
        expected: Names,
    },
    /// Signed too long ago, or in the future.
    #[error("the signature is not fresh: it was made at {at}, it is {now}")]
    Stale {
        /// When it was made.
        at: UnixTime,
        /// The time of the request.
        now: UnixTime,
    },
    /// Not valid yet.
    #[error("the body is not valid before {at}, it is {now}")]
    NotValidYet {
        /// `nbf`.
        at: UnixTime,
        /// The time of the request.
        now: UnixTime,
    },
    /// Past the end that its maker gave it.
    #[error("the body expired at {at}, it is {now}")]
    Expired {
        /// `exp`.
        at: UnixTime,
        /// The time of the request.
        now: UnixTime,
    },
    /// A field that has to be covered is not.
    #[error("the signature does not cover {name}, which it has to")]
    NotCovered {
        /// Its name, in lower case.
        name: &'static str,
    },
    /// A field that the message does not have.
    #[error("the message has no field {name:?}, which the signature has to cover or does")]
    CoveredAbsent {
        /// Its name, truncated and made printable.
        name: Box<str>,
    },
    /// The body was compared with a digest that is not signed.
    #[error("the signature does not cover the digest that the body was compared with")]
    BodyNotSigned,
    /// There is no digest of the body.
    #[error("the message has no field digest")]
    DigestMissing,
    /// No digest with an algorithm that counts.
    #[error("digest has neither SHA-256 nor SHA-512")]
    DigestUnsupported,
    /// The body is not the one that was hashed.
    #[error("the {algorithm} digest is not that of the body")]
    DigestMismatch {
        /// The algorithm's registered name.
        algorithm: &'static str,
    },
    /// The certificate is not the one that the signature names.
    #[error("keyId does not name the certificate: {why}")]
    CertificateNotNamed {
        /// Which of both differs.
        why: &'static str,
    },
    /// The certificate does not lead to a trust anchor, or not now.
    #[error("the certificate of the signature is not trusted: {0}")]
    CertificateUntrusted(Fault),
    /// The certificate is not one for electronic seals.
    #[error("the certificate of the signature is not a qualified certificate for electronic seals: {why}")]
    CertificateNotForSeals {
        /// What it lacks.
        why: &'static str,
    },
    /// The certificate is that of another organisation than the one of the connection.
    #[error("the organizationIdentifier of the signature's certificate is {found}, that of the client's is {expected}")]
    OrganizationMismatch {
        /// That of the certificate of the signature, made printable.
        found: Box<str>,
        /// That of the certificate of the connection, made printable.
        expected: Box<str>,
    },
    /// A claim that a signature is to make cannot be written.
    #[error("{what} cannot be signed")]
    NotWritable {
        /// Which of them.
        what: &'static str,
    },
    /// The key does not sign.
    #[error("the private key did not sign")]
    NotSigned,
}

impl SignedBodyError {
    /// Why no key verifies a JWS that names the key `key_id`.
    pub(super) fn of_key(failure: NotVerified, key_id: &str) -> Self {
        match failure {
            NotVerified::NoKey => Self::KeyUnknown { key_id: printable(key_id) },
            NotVerified::WeakKey => Self::KeyWeak,
            NotVerified::Signature => Self::SignatureInvalid,
        }
    }

    /// Whether another version of the client's key set could change the outcome.
    pub const fn depends_on_keys(&self) -> bool {
        matches!(self, Self::KeyUnknown { .. } | Self::KeyWeak | Self::SignatureInvalid)
    }

    /// The stable code of a message that is refused for this.
    pub const fn code(&self) -> Code {
        match self {
            Self::Missing { .. } => Code::SignatureMissing,
            Self::TooLarge { .. } | Self::Malformed { .. } | Self::NotSignedJwt(_) => Code::SignatureMalformed,
            Self::NotDecrypted(_) => Code::ContentNotDecrypted,
            Self::MemberMissing { .. } | Self::ClaimMissing { .. } => Code::SignatureClaimMissing,
            Self::MemberNotAllowed { .. }
            | Self::MemberRefused { .. }
            | Self::ClaimMalformed { .. }
            | Self::IssuerMismatch { .. }
            | Self::SenderUnknown { .. }
            | Self::AudienceMismatch { .. }
            | Self::TrustAnchorUnknown { .. } => Code::SignatureClaimRefused,
            Self::AlgorithmRefused { .. } | Self::KeyWeak => Code::SignatureAlgorithmRefused,
            Self::KeyUnknown { .. } | Self::CertificateNotNamed { .. } => Code::SignatureKeyUnknown,
            Self::SignatureInvalid => Code::SignatureInvalid,
            Self::Stale { .. } | Self::NotValidYet { .. } | Self::Expired { .. } => Code::SignatureStale,
            Self::NotCovered { .. } | Self::CoveredAbsent { .. } | Self::BodyNotSigned => {
                Code::SignatureComponentMissing
            }
            Self::DigestMissing | Self::DigestUnsupported => Code::DigestMissing,
            Self::DigestMismatch { .. } => Code::DigestMismatch,
            // No fault of the client.
            Self::CertificateUntrusted(Fault::ExpiredList | Fault::UnknownStatus) => Code::RevocationStatusUnknown,
            Self::CertificateUntrusted(_) | Self::CertificateNotForSeals { .. } | Self::OrganizationMismatch { .. } => {
                Code::SignatureCertificateRefused
            }
            Self::NotWritable { .. } | Self::NotSigned => Code::ResponseNotSigned,
        }
    }
}
