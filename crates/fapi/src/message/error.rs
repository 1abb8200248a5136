//! Why a message is refused.

use crate::code::Code;

/// Why a message is refused for its form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// Two readings of where the body ends.
    #[error("the length of the body has more than one reading: {why}")]
    FramingAmbiguous {
        /// What the other reading comes from.
        why: &'static str,
    },
    /// A head that parsers read differently.
    #[error("the header section is malformed: {why}")]
    HeaderMalformed {
        /// What is wrong.
        why: &'static str,
    },
    /// Too many fields.
    #[error("the header section has {fields} fields, the limit is {limit}")]
    TooManyFields {
        /// What was sent, or had arrived by then.
        fields: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Too long a header section.
    #[error("the header section has {bytes} bytes, the limit is {limit}")]
    HeaderTooLarge {
        /// What was sent.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Too long a target.
    #[error("the request target has {bytes} bytes, the limit is {limit}")]
    TargetTooLong {
        /// What was sent.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Too large a body, by its declared length.
    #[error("the body is larger than {limit} bytes")]
    BodyTooLarge {
        /// What is allowed.
        limit: u64,
    },
    /// Too slow a header section.
    #[error("the header section did not arrive in time")]
    HeaderTimeout,
    /// No host, or more than one.
    #[error("the request does not name one host: {why}")]
    HostMissing {
        /// What is wrong.
        why: &'static str,
    },
    /// No host name, or two that differ.
    #[error("the host is malformed: {why}")]
    HostMalformed {
        /// What is wrong.
        why: &'static str,
    },
    /// Another host than ours, or than the one that TLS was opened for.
    #[error("host \"{host}\" is no origin of this listener, or not the server name of the TLS connection")]
    HostUnknown {
        /// The host as sent, cut and made printable.
        host: Box<str>,
    },
    /// A connection that no handshake would let in any more.
    #[error(
        "no handshake would let the connection in now: its server name is not served, or it lacks a client certificate that counts"
    )]
    ConnectionOutdated,
    /// A method that is never forwarded.
    #[error("the method is CONNECT, TRACE, or not of upper-case letters")]
    MethodRefused,
    /// A change of protocol.
    #[error("the request asks for another protocol")]
    UpgradeRefused,
}

impl MessageError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::FramingAmbiguous { .. } => Code::FramingAmbiguous,
            Self::HeaderMalformed { .. } => Code::HeaderMalformed,
            Self::TooManyFields { .. } | Self::HeaderTooLarge { .. } => Code::HeaderTooLarge,
            Self::TargetTooLong { .. } => Code::TargetTooLong,
            Self::BodyTooLarge { .. } => Code::BodyTooLarge,
            Self::HeaderTimeout => Code::HeaderTimeout,
            Self::HostMissing { .. } => Code::HostMissing,
            Self::HostMalformed { .. } => Code::HostMalformed,
            Self::HostUnknown { .. } => Code::HostUnknown,
            Self::ConnectionOutdated => Code::ConnectionOutdated,
            Self::MethodRefused => Code::MethodRefused,
            Self::UpgradeRefused => Code::UpgradeRefused,
        }
    }
}
