//! Why a signature or a digest proves nothing, or cannot be made (RFC 9421 §3, RFC 9530 §2).

/// Why a signature or a digest is refused; each variant is one check.
///
/// `Display` is for operators, and shows neither signatures nor values of fields. Does not say what a client may learn:
/// one general text, whichever variant it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A field that is needed is absent.
    #[error("the message has no field {field}")]
    FieldMissing {
        /// Its name, in lower case.
        field: &'static str,
    },
    /// A field is larger than anything that would be read.
    #[error("{field} has more than {limit} bytes")]
    FieldTooLarge {
        /// Its name, in lower case.
        field: &'static str,
        /// The most that is read.
        limit: usize,
    },
    /// Not a structured field with one reading.
    #[error("{field} is malformed: {why}")]
    FieldMalformed {
        /// Its name, in lower case.
        field: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// No digest with an algorithm that counts.
    #[error("content-digest has neither sha-256 nor sha-512")]
    DigestUnsupported,
    /// The content is not the one that was hashed.
    #[error("the {algorithm} digest in content-digest is not that of the content")]
    DigestMismatch {
        /// The algorithm's registered name.
        algorithm: &'static str,
    },
}
