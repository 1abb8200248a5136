//! Why a token may not do something, and why a policy is none.

use crate::code::Code;

/// A policy that would let through what nobody asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EmptyPolicy {
    /// No scope at all.
    #[error("no scope is named; name at least one, or write `public: true`")]
    Scopes,
    /// No issuer at all.
    #[error("no issuer is named; name at least one")]
    Issuers,
    /// No way to prove who sends the token.
    #[error("no sender constraint is named; name certificate, dpop or both")]
    SenderConstraints,
    /// A scope that RFC 6749 §3.3 cannot spell.
    #[error("a scope is empty or has characters that RFC 6749 section 3.3 does not allow")]
    ScopeSyntax,
}

/// Why a bound token may not do this.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// Its scope does not cover the route.
    #[error("scope is {found:?}, the route needs {needed:?}")]
    ScopeInsufficient {
        /// The token's scopes, cut and made printable.
        found: Vec<Box<str>>,
        /// The route's.
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
