//! Failures after the head: of the body, of the response, or of the client.

use crate::code::Code;

/// Why an exchange with a well-formed head fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// The body is too large.
    #[error("the body is larger than {limit} bytes")]
    BodyTooLarge {
        /// The limit.
        limit: u64,
    },
    /// The body arrives too slowly.
    #[error("the body did not arrive in time")]
    BodyTimeout,
    /// The body breaks its framing.
    #[error("the body is incomplete, or its framing is malformed")]
    BodyMalformed,
    /// The client reads the response too slowly.
    #[error("the client did not read the response in time")]
    ClientStalled,
    /// The client closed the connection.
    #[error("the client closed the connection before it had the response")]
    ClientGone,
    /// The exchange takes too long as a whole.
    #[error("the exchange did not end in time")]
    ExchangeTimeout,
}

impl ExchangeError {
    /// The stable code.
    pub const fn code(self) -> Code {
        match self {
            Self::BodyTooLarge { .. } => Code::BodyTooLarge,
            Self::BodyTimeout => Code::BodyTimeout,
            Self::BodyMalformed => Code::BodyMalformed,
            Self::ClientStalled => Code::ClientStalled,
            Self::ClientGone => Code::ClientGone,
            Self::ExchangeTimeout => Code::ExchangeTimeout,
        }
    }
}
