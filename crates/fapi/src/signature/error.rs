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
    /// A component that no signature may cover here.
    #[error("component {component} is refused: {why}")]
    ComponentRefused {
        /// Its identifier, truncated and made printable.
        component: Box<str>,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A component that is covered twice.
    #[error("component {component} is covered twice")]
    ComponentRepeated {
        /// Its identifier, truncated and made printable.
        component: Box<str>,
    },
    /// A component that the message does not have.
    #[error("component {component} is covered and not in the message")]
    ComponentAbsent {
        /// Its identifier, truncated and made printable.
        component: Box<str>,
    },
    /// A component whose value cannot be signed.
    #[error("component {component} has no value that can be signed: {why}")]
    ComponentMalformed {
        /// Its identifier, truncated and made printable.
        component: Box<str>,
        /// What is wrong with it.
        why: &'static str,
    },
    /// What is covered is larger than anything that would be hashed.
    #[error("the signature base has more than {limit} bytes")]
    BaseTooLarge {
        /// The most that is hashed.
        limit: usize,
    },
}
