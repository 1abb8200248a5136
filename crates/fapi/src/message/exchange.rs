//! What goes wrong after the head: with the body, with the answer, or with the client itself.

use crate::code::Code;

/// Why an exchange is cut short that was well-formed until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// The body has more bytes than are allowed.
    #[error("the body is larger than {limit} bytes")]
    BodyTooLarge {
        /// What is allowed.
        limit: u64,
    },
    /// The body arrives too slowly.
    #[error("the body did not arrive in time")]
    BodyTimeout,
    /// The body breaks its framing.
    #[error("the body ended before its framing did, or broke it")]
    BodyMalformed,
    /// The client reads its answer too slowly.
    #[error("the client did not take its answer in time")]
    ClientStalled,
    /// The client closed the connection.
    #[error("the client left before it had its answer")]
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
