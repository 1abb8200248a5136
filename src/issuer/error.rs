//! Why a token was not validated.

use fapi::rejection::{Cause, ShareExceeded, Unavailable};
use fapi::token::TokenError;

/// Why a token was not validated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValidateError {
    /// The token is at fault.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Too many requests of the client are waiting already.
    #[error(transparent)]
    Share(#[from] ShareExceeded),
    /// The gateway or the issuer is at fault.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<ValidateError> for Cause {
    fn from(error: ValidateError) -> Self {
        match error {
            ValidateError::Token(error) => error.into(),
            ValidateError::Share(error) => error.into(),
            ValidateError::Unavailable(error) => error.into(),
        }
    }
}
