//! Why a request message is refused.

use crate::code::Code;

/// Why a request message is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// The end of the body can be found in more than one way.
    #[error("the length of the body has more than one reading: {why}")]
    FramingAmbiguous {
        /// What the other reading comes from.
        why: &'static str,
    },
    /// A head that parsers may read differently.
    #[error("the header section is malformed: {why}")]
    HeaderMalformed {
        /// What is wrong.
        why: &'static str,
    },
    /// Too many fields.
    #[error("the header section has {fields} fields, the limit is {limit}")]
    TooManyFields {
        /// The number of fields, or of those received so far.
        fields: usize,
        /// The limit.
        limit: usize,
    },
    /// The header section is too large.
    #[error("the header section has {bytes} bytes, the limit is {limit}")]
    HeaderTooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The target is too long.
    #[error("the request target has {bytes} bytes, the limit is {limit}")]
    TargetTooLong {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The declared length of the body is too large.
    #[error("the body is larger than {limit} bytes")]
    BodyTooLarge {
        /// The limit.
        limit: u64,
    },
    /// The header section arrives too slowly.
    #[error("the header section did not arrive in time")]
    HeaderTimeout,
    /// No host, or more than one.
    #[error("the request does not name one host: {why}")]
    HostMissing {
        /// What is wrong.
        why: &'static str,
    },
    /// Not a host name, or two that differ.
    #[error("the host is malformed: {why}")]
    HostMalformed {
        /// What is wrong.
        why: &'static str,
    },
    /// A host that is not an origin of the listener, or not the server name of the TLS connection.
    #[error("host \"{host}\" is not an origin of this listener, or not the server name of the TLS connection")]
    HostUnknown {
        /// The host as sent, truncated.
        host: Box<str>,
    },
    /// A connection that a handshake would refuse now.
    #[error(
        "a handshake would refuse this connection now: its server name is not served, or it has no trusted client certificate"
    )]
    ConnectionOutdated,
    /// A method that is never forwarded.
    #[error("the method is CONNECT or TRACE, or is not in upper case")]
    MethodRefused,
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
        }
    }
}
