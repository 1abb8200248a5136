//! Why a signature or a digest proves nothing, or cannot be made (RFC 9421 §3, RFC 9530 §2).

use crate::UnixTime;
use crate::code::Code;
use crate::signed_body::error::SignedBodyError;

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
    /// There is content, and no digest of it.
    #[error("the message has content and no field content-digest")]
    DigestMissing,
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
    /// More signatures than are looked at.
    #[error("the message has more than {limit} signatures")]
    TooManySignatures {
        /// The most that are read.
        limit: usize,
    },
    /// More components than are looked at.
    #[error("a signature covers more than {limit} components")]
    TooManyComponents {
        /// The most that are read.
        limit: usize,
    },
    /// No signature is for this.
    #[error("no signature has the tag {expected:?}")]
    TagMissing {
        /// The tag of the profile.
        expected: Box<str>,
    },
    /// A component that has to be covered is not.
    #[error("component {component} has to be covered")]
    ComponentNotCovered {
        /// Its identifier.
        component: Box<str>,
    },
    /// A parameter that a signature needs is absent.
    #[error("the signature has no parameter {name}")]
    ParameterMissing {
        /// Its name.
        name: &'static str,
    },
    /// A parameter of the wrong type or range.
    #[error("the signature's parameter {name} is malformed, expected {expected}")]
    ParameterMalformed {
        /// Its name.
        name: &'static str,
        /// What it should be.
        expected: &'static str,
    },
    /// Too old, or made in the future.
    #[error("the signature is not fresh: it was created at {at}, it is {now}")]
    Stale {
        /// `created`.
        at: UnixTime,
        /// The time of the request.
        now: UnixTime,
    },
    /// Past the end that its maker gave it.
    #[error("the signature expired at {at}, it is {now}")]
    Expired {
        /// `expires`.
        at: UnixTime,
        /// The time of the request.
        now: UnixTime,
    },
    /// No key has this name.
    #[error("no key of the client has the keyid {key_id:?}")]
    KeyUnknown {
        /// The name, truncated and made printable.
        key_id: Box<str>,
    },
    /// The token says of no client whose keys are known that it is its own.
    #[error("no keys are known of {client}, the client of the token")]
    ClientUnknown {
        /// Its id, truncated and made printable, in quotes; that there is none otherwise.
        client: Box<str>,
    },
    /// The key is too small.
    #[error("the client's key is below 2048 bits")]
    KeyWeak,
    /// An algorithm that is not the one of the key.
    #[error("alg is {found:?}, the algorithm of the key is {expected:?}")]
    AlgorithmMismatch {
        /// The parameter, truncated and made printable.
        found: Box<str>,
        /// The one of the key.
        expected: &'static str,
    },
    /// The signature does not verify.
    #[error("the signature is invalid")]
    SignatureInvalid,
    /// The content was compared with a digest that is not signed.
    #[error("the signature does not cover the content-digest that the content was compared with")]
    ContentNotSigned,
    /// A digest is signed that was not compared with the content.
    #[error("the signature covers a content-digest that was not compared with the content")]
    ContentUnchecked,
    /// More than one signature with the tag, where each counts once.
    #[error("more than one signature of the message has the tag, and one alone counts once")]
    SeveralSignatures,
    /// A field that is covered does not go up.
    #[error("component {component} is covered, and Connection names it, so that it would not be forwarded")]
    ComponentNotForwarded {
        /// Its identifier.
        component: Box<str>,
    },
    /// The signature was accepted before.
    #[error("the signature was used before")]
    Replayed,
    /// The log does not know whether a signature that is so old was used before.
    #[error("the signature is of {at}, and the replay log knows every use since {since} alone")]
    BeforeLog {
        /// `created`.
        at: UnixTime,
        /// When the log began.
        since: UnixTime,
    },
    /// A signature cannot be written with this value.
    #[error("{what} cannot be written in a structured field")]
    NotWritable {
        /// What is wrong.
        what: &'static str,
    },
    /// What is signed, in another form than that of RFC 9421.
    #[error(transparent)]
    Body(#[from] SignedBodyError),
    /// A response is larger than what is kept until it is signed.
    #[error("the response has more than {limit} bytes, which are as many as are kept until they are signed")]
    ResponseTooLarge {
        /// The most that is kept.
        limit: usize,
    },
    /// The key does not sign.
    #[error("the private key did not sign")]
    NotSigned,
}

impl SignatureError {
    /// Whether other keys of the client could make the signature hold.
    pub const fn depends_on_keys(&self) -> bool {
        matches!(
            self,
            Self::KeyUnknown { .. } | Self::KeyWeak | Self::AlgorithmMismatch { .. } | Self::SignatureInvalid
        ) || matches!(self, Self::Body(error) if error.depends_on_keys())
    }

    /// Whether the client has no key of the name that the signature says.
    pub const fn is_of_an_unknown_key(&self) -> bool {
        matches!(self, Self::KeyUnknown { .. } | Self::Body(SignedBodyError::KeyUnknown { .. }))
    }

    /// The stable code of a request that is refused for this.
    pub const fn code(&self) -> Code {
        match self {
            Self::FieldMissing { .. } | Self::TagMissing { .. } => Code::SignatureMissing,
            Self::DigestMissing | Self::DigestUnsupported => Code::DigestMissing,
            Self::DigestMismatch { .. } => Code::DigestMismatch,
            Self::FieldTooLarge { .. }
            | Self::FieldMalformed { .. }
            | Self::ComponentRefused { .. }
            | Self::ComponentRepeated { .. }
            | Self::ComponentMalformed { .. }
            | Self::ComponentNotForwarded { .. }
            | Self::SeveralSignatures
            | Self::BaseTooLarge { .. }
            | Self::TooManySignatures { .. }
            | Self::TooManyComponents { .. }
            | Self::ParameterMalformed { .. }
            | Self::NotWritable { .. } => Code::SignatureMalformed,
            Self::ComponentAbsent { .. }
            | Self::ComponentNotCovered { .. }
            | Self::ParameterMissing { .. }
            | Self::ContentNotSigned
            | Self::ContentUnchecked => Code::SignatureComponentMissing,
            Self::Stale { .. } | Self::Expired { .. } => Code::SignatureStale,
            Self::KeyUnknown { .. } | Self::ClientUnknown { .. } => Code::SignatureKeyUnknown,
            Self::KeyWeak | Self::AlgorithmMismatch { .. } => Code::SignatureAlgorithmRefused,
            Self::SignatureInvalid => Code::SignatureInvalid,
            Self::Replayed => Code::SignatureReplayed,
            Self::BeforeLog { .. } => Code::ReplayLogUnavailable,
            Self::Body(error) => error.code(),
            Self::ResponseTooLarge { .. } | Self::NotSigned => Code::ResponseNotSigned,
        }
    }
}
