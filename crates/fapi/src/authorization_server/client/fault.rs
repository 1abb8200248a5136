//! What may be wrong with the metadata of a client, and the way out.

use std::fmt;

use super::super::certificate::{CertificateSubjectError, SelfSignedError};
use super::super::redirect_uri::RedirectUriError;
use crate::jose::keys::KeySetError;
use crate::text::Names;

/// Everything that is wrong with a document, in the order in which it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientErrors(pub(super) Vec<ClientError>);

impl ClientErrors {
    /// The problems; there is at least one.
    pub fn errors(&self) -> &[ClientError] {
        &self.0
    }
}

/// One line for each.
impl fmt::Display for ClientErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = self.0.iter();
        if let Some(first) = lines.next() {
            first.fmt(f)?;
        }
        lines.try_for_each(|line| write!(f, "\n{line}"))
    }
}

impl std::error::Error for ClientErrors {}

/// One problem of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientError {
    /// The member that it is with; none if it is with the document.
    pub member: Option<&'static str>,
    /// What is wrong, and the way out.
    pub fault: ClientFault,
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.member {
            Some(member) => write!(f, "{member}: {}", self.fault),
            None => self.fault.fmt(f),
        }
    }
}

impl std::error::Error for ClientError {}

/// What is wrong with the metadata of a client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClientFault {
    /// The document is longer than [`MAX_BYTES`](super::MAX_BYTES).
    #[error(
        "the document is larger than 256 KiB; keep one client in a document, and leave large key sets at a jwks_uri"
    )]
    TooLarge,
    /// It is not JSON with one reading.
    #[error(
        "the document is not a JSON object in which each member appears once; write the metadata of one client as one \
         object"
    )]
    Ambiguous,
    /// Some servers would read another member as this one.
    #[error("{found} is another spelling of it; leave that out")]
    Disguised {
        /// The other, as it may be logged.
        found: Box<str>,
    },
    /// A member is missing, or has a value of another kind or size.
    #[error("it is {found}; write {expected}")]
    Kind {
        /// What it is, as it may be logged.
        found: Box<str>,
        /// What it has to be.
        expected: &'static str,
    },
    /// FAPI 2.0 §5.3.2.1 (3), (6): the client authenticates otherwise, or not at all.
    #[error(
        "it is {found}, which FAPI does not allow; write private_key_jwt, tls_client_auth or \
         self_signed_tls_client_auth"
    )]
    MethodRefused {
        /// What it is, as it may be logged.
        found: Box<str>,
    },
    /// RFC 8705 §2.1.2: "A client using the tls_client_auth authentication method MUST use exactly one of the below metadata
    /// parameters to indicate the certificate subject value".
    #[error(
        "it is tls_client_auth, and of the members that have the subject of the certificate there are {count}; write \
         exactly one of tls_client_auth_subject_dn, tls_client_auth_san_dns, tls_client_auth_san_uri, \
         tls_client_auth_san_ip and tls_client_auth_san_email"
    )]
    SubjectCount {
        /// How many there are.
        count: usize,
    },
    /// No certificate has this subject.
    #[error(transparent)]
    Subject(#[from] CertificateSubjectError),
    /// A client may not register this redirect URI.
    #[error(transparent)]
    RedirectUri(#[from] RedirectUriError),
    /// RFC 7591 §2: "clients using flows with redirection MUST register their redirection URI values."
    #[error(
        "it is missing or empty, and the client has the grant type authorization_code; write where it has users \
         sent back to"
    )]
    RedirectUrisMissing,
    /// FAPI 2.0 §5.3.2.1 (2), §5.3.2.2: the grant type is not allowed.
    #[error("{found} is a grant type that FAPI does not allow; remove it, and use authorization_code")]
    GrantRefused {
        /// The grant type.
        found: &'static str,
    },
    /// A client that registers itself asks for a grant type that its server does not have here.
    #[error("{found} is a grant type that this server does not have; it has {expected}")]
    GrantElsewhere {
        /// What it is, as it may be logged.
        found: Box<str>,
        /// Those of the server.
        expected: Names,
    },
    /// FAPI 2.0 §5.3.2.2, FAPI 1.0 Advanced §5.2.2 (2): the response type is not one of the profile.
    #[error("{found} is a response type that the profile does not have; it has {expected}")]
    ResponseTypeRefused {
        /// What it is, as it may be logged.
        found: Box<str>,
        /// Those of the profile.
        expected: Names,
    },
    /// FAPI 2.0 §5.3.2.1 (4): access tokens are bound to their client.
    #[error(
        "neither it nor dpop_bound_access_tokens is true, so that access tokens could be bound to nothing; set one"
    )]
    Unbound,
    /// FAPI 2.0 Message Signing §5.3.1: authorization requests are signed.
    #[error("it is not true, and the profile has signed authorization requests alone; set it")]
    UnsignedRequests,
    /// FAPI 1.0 Advanced §8.6.1: "shall not use algorithm with the RSA1_5 algorithm".
    #[error("it is RSA1_5, which FAPI does not allow; write RSA-OAEP-256 or ECDH-ES, or leave it out")]
    EncryptionRefused,
    /// RFC 7591 §3.2.1: the server gives it to the client.
    #[error("it is for the server to give; leave it out")]
    Assigned,
    /// FAPI 2.0 §5.4.1: the algorithm is not allowed.
    #[error("it is {found}, which FAPI does not allow; write PS256, ES256 or EdDSA, and for any of them leave it out")]
    AlgorithmRefused {
        /// What it is, as it may be logged.
        found: Box<str>,
    },
    /// RFC 7591 §2: "The jwks_uri and jwks parameters MUST NOT both be present in the same request or response."
    #[error("it is there beside jwks_uri; remove one of them")]
    KeysTwice,
    /// The client has to prove something with keys, and has none.
    #[error("it is missing, and so is jwks_uri, and the client needs keys for {needed_for}; write one of them")]
    KeysMissing {
        /// What it needs them for.
        needed_for: &'static str,
    },
    /// The keys are not at an https URL.
    #[error(
        "it is {found}, which is not an https URL; write where the client publishes its keys, without user name and \
         fragment"
    )]
    KeysElsewhere {
        /// What it is, as it may be logged.
        found: Box<str>,
    },
    /// RFC 7591 §2: the key set "contains the client's public keys".
    #[error(
        "the key set has {count} keys with private or symmetric members; replace them, since others have seen them, \
         and write public keys only"
    )]
    KeysPrivate {
        /// How many.
        count: usize,
    },
    /// The key set gives no keys.
    #[error("{0}; write a JWK Set with the public keys of the client")]
    KeySet(KeySetError),
    /// The key set gives no certificates.
    #[error("{0}; write a JWK Set whose keys have the certificates of the client")]
    Certificates(SelfSignedError),
    /// RFC 7517 §4.7.
    #[error(
        "the key set has {count} keys with an x5c that cannot be read; write each certificate in base64 of its DER"
    )]
    CertificatesUnreadable {
        /// How many.
        count: usize,
    },
}
