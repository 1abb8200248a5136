//! An access token, from the text of a JWT or the answer of its issuer to an [`ActiveToken`].

mod active;
mod claims;
mod confirmation;
mod error;
mod hash;
pub mod introspection;
mod jwt;

pub use active::{ActiveToken, ClearedUpTo};
pub use claims::{Claims, Expected};
pub use confirmation::{Confirmation, ConfirmationError, thumbprint};
pub use error::{MAX_TOKEN_BYTES, TokenError};
pub use hash::{OtherSpellings, TokenHash, TokenId};
pub use introspection::MissingAudience;
pub use jwt::{UnverifiedJws, VerifiedJws};
