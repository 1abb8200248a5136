//! An access token, from the text of a JWT or the introspection response of its issuer to an [`ActiveToken`].

mod active;
mod claims;
mod confirmation;
mod error;
mod form;
mod hash;
pub mod introspection;
mod jwt;
mod kind;
pub mod shared;

pub use active::{ActiveToken, ClearedUpTo};
pub use claims::{Claims, Expected};
pub use confirmation::{Confirmation, ConfirmationError, read_thumbprint};
pub use error::{Named, RefusedToken, TokenError};
pub use form::{AccessTokenForm, Differences, Dispensable, FormError, ScopeForm};
pub(crate) use hash::negated_s;
pub use hash::{TokenHash, TokenId, TokenIds};
pub use introspection::MissingAudience;
pub use jwt::{UnverifiedJws, VerifiedJws};
pub use kind::TokenType;

use crate::credentials::PresentedToken;

/// Checks that a token of any kind has at most `limit` bytes, before it is hashed or parsed.
///
/// # Errors
/// [`TokenError::TooLarge`].
pub const fn check_size(token: PresentedToken<'_>, limit: usize) -> Result<(), TokenError> {
    let bytes = token.as_str().len();
    if bytes > limit { Err(TokenError::TooLarge { bytes, limit }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn atk_sz_a_token_has_as_many_bytes_as_it_may() {
        let token = PresentedToken::parse("abcdefgh").unwrap();
        let fits = |limit| check_size(token, limit).is_ok();
        assert_eq!([7, 8, 9].map(fits), [false, true, true]);
    }
}
