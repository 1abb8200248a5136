//! Why a token was not validated.

use std::sync::Arc;

use fapi::code::Code;
use fapi::rejection::{Cause, ShareExceeded, Unavailable};
use fapi::token::{ActiveToken, Named, RefusedToken, TokenError};

/// Why a token was not validated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValidateError {
    /// The token is at fault.
    #[error(transparent)]
    Token(#[from] RefusedToken),
    /// Too many requests of the client are waiting already.
    #[error(transparent)]
    Share(#[from] ShareExceeded),
    /// The gateway or the issuer is at fault.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl ValidateError {
    /// A token that was revoked.
    pub(super) fn revoked(token: &ActiveToken) -> Self {
        Self::Token(RefusedToken { error: TokenError::Revoked, named: Some(Arc::new(token.named())) })
    }

    /// Its code.
    pub const fn code(&self) -> Code {
        match self {
            Self::Token(refused) => refused.error.code(),
            Self::Share(error) => error.code(),
            Self::Unavailable(error) => error.code(),
        }
    }

    /// Whose token it is, as far as that was verified.
    pub fn named(&self) -> Option<&Arc<Named>> {
        match self {
            Self::Token(refused) => refused.named.as_ref(),
            Self::Share(_) | Self::Unavailable(_) => None,
        }
    }
}

impl From<TokenError> for ValidateError {
    fn from(error: TokenError) -> Self {
        Self::Token(error.into())
    }
}

impl From<ValidateError> for Cause {
    fn from(error: ValidateError) -> Self {
        match error {
            ValidateError::Token(refused) => refused.error.into(),
            ValidateError::Share(error) => error.into(),
            ValidateError::Unavailable(error) => error.into(),
        }
    }
}
