//! Why a token does not satisfy a policy, and why a policy is refused.

use crate::code::Code;
use crate::text::Names;

/// Why a policy is refused; an incomplete one would permit too much.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmptyPolicy {
    /// No scope.
    #[error("no scope is named; name at least one, or write `public: true`")]
    Scopes,
    /// No issuer.
    #[error("no issuer is named; name at least one")]
    Issuers,
    /// No sender constraint.
    #[error("no sender constraint is named; name certificate, dpop or both")]
    SenderConstraints,
    /// A scope that does not follow the syntax of RFC 6749 §3.3.
    #[error("a scope is empty or has characters that RFC 6749 section 3.3 does not allow")]
    ScopeSyntax,
}

/// Why a token does not satisfy a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Its scopes do not cover the route.
    #[error("scope is {found}, the route needs {needed}")]
    ScopeInsufficient {
        /// The token's scopes.
        found: Names,
        /// The route's scopes, as shown: one in quotes, or `all of` or `one of` a list.
        needed: Box<str>,
    },
}

impl PolicyError {
    /// The stable code.
    pub const fn code(&self) -> Code {
        match self {
            Self::ScopeInsufficient { .. } => Code::ScopeInsufficient,
        }
    }
}
