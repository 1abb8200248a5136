//! What a bound token may do on a route, and the permit that names the upstream (RFC 6750 §3.1).
//!
//! The last types of the line: a [`Guard`] stands before a protected route and turns a [`BoundToken`] into
//! [`Authorized`]; redeeming that gives a [`Permit`], the only thing from which an upstream can be learnt. No code outside
//! this room can make one:
//!
//! ```compile_fail
//! use fapi::{policy::Permit, route::Route};
//! fn forge(route: std::sync::Arc<Route>) -> Permit {
//!     Permit { route, token: None } // the fields are private
//! }
//! ```
//!
//! ```compile_fail
//! use fapi::{policy::Permit, route::Route};
//! fn forge(route: std::sync::Arc<Route>) -> Permit {
//!     Permit::public(route) // and so is the constructor
//! }
//! ```

use std::sync::Arc;
use std::time::Duration;

use super::code::Code;
use super::credentials::Scheme;
use super::dpop::{DpopError, FirstUse, NonceMode, VerifiedProof};
use super::route::{Route, UpstreamRef};
use super::sender::BoundToken;

/// Which scopes a route wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScopeRule {
    /// Every one of these.
    All(Vec<Box<str>>),
    /// At least one of these.
    Any(Vec<Box<str>>),
}

/// The place of an issuer among those configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IssuerIndex(pub usize);

/// What a protected route asks of a token.
#[derive(Clone, Debug)]
pub struct Policy {
    scopes: ScopeRule,
    scope_text: Box<str>,
    issuers: Vec<IssuerIndex>,
    schemes: Vec<Scheme>,
    nonce: NonceMode,
    introspection_max_age: Option<Duration>,
}

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

impl Policy {
    /// A policy that names at least one scope and one issuer.
    ///
    /// # Errors
    /// [`EmptyPolicy`]: absence never permits.
    pub fn new(
        scopes: ScopeRule,
        issuers: Vec<IssuerIndex>,
        mut schemes: Vec<Scheme>,
        nonce: NonceMode,
    ) -> Result<Self, EmptyPolicy> {
        let names = match &scopes {
            ScopeRule::All(names) | ScopeRule::Any(names) => names,
        };
        if names.is_empty() {
            return Err(EmptyPolicy::Scopes);
        }
        // scope-token = 1*( %x21 / %x23-5B / %x5D-7E )
        let spelled =
            |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
        if !names.iter().all(|name| spelled(name)) {
            return Err(EmptyPolicy::ScopeSyntax);
        }
        if issuers.is_empty() {
            return Err(EmptyPolicy::Issuers);
        }
        if schemes.is_empty() {
            return Err(EmptyPolicy::SenderConstraints);
        }
        // BEAR-13: challenges come in the order DPoP, Bearer.
        schemes.sort_unstable_by_key(|scheme| *scheme == Scheme::Bearer);
        schemes.dedup();
        let scope_text = names.join(" ").into();
        Ok(Self { scopes, scope_text, issuers, schemes, nonce, introspection_max_age: None })
    }

    /// The issuers whose tokens count here.
    pub fn issuers(&self) -> &[IssuerIndex] {
        &self.issuers
    }

    /// The authentication schemes that it accepts, in the order of their challenges.
    pub fn schemes(&self) -> &[Scheme] {
        &self.schemes
    }

    /// When it asks for a nonce.
    pub const fn nonce(&self) -> NonceMode {
        self.nonce
    }

    /// The same, for which what an issuer said of a token counts for `max_age` at most; zero asks it every time.
    #[must_use]
    pub fn with_introspection_max_age(self, max_age: Duration) -> Self {
        Self { introspection_max_age: Some(max_age), ..self }
    }

    /// How long what an issuer said of a token counts at most, if the issuer's own limit is too long.
    pub const fn introspection_max_age(&self) -> Option<Duration> {
        self.introspection_max_age
    }

    /// The scopes as one value of the challenge's `scope` (RFC 6750 §3).
    pub fn scope_text(&self) -> &str {
        &self.scope_text
    }

    fn check_scopes(&self, token: &BoundToken) -> Result<(), PolicyError> {
        let granted = |wanted: &str| token.claims().scopes().any(|scope| scope == wanted);
        let covered = match &self.scopes {
            ScopeRule::All(names) => names.iter().all(|name| granted(name)),
            ScopeRule::Any(names) => names.iter().any(|name| granted(name)),
        };
        if covered {
            return Ok(());
        }
        Err(PolicyError::ScopeInsufficient {
            found: token.claims().scopes().take(32).map(super::text::printable).collect(),
            needed: self.scope_text.clone(),
        })
    }
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

/// Stands before a protected route.
#[derive(Clone, Debug)]
pub struct Guard {
    route: Arc<Route>,
}

impl Guard {
    pub(crate) const fn new(route: Arc<Route>) -> Self {
        Self { route }
    }

    /// What it stands for; none on a route that is not protected, which has no guard.
    pub fn policy(&self) -> Option<&Policy> {
        self.route.policy()
    }

    /// Judges what the token may do on this route.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn authorize(self, token: BoundToken) -> Result<Authorized, PolicyError> {
        if let Some(policy) = self.policy() {
            policy.check_scopes(&token)?;
        }
        Ok(Authorized { route: self.route, token })
    }
}

/// A request that passed every check that changes nothing.
#[must_use]
#[derive(Debug)]
pub struct Authorized {
    route: Arc<Route>,
    token: BoundToken,
}

impl Authorized {
    /// The proof that has to be used up before a permit can be had.
    pub const fn proof(&self) -> Option<&VerifiedProof> {
        self.token.proof()
    }

    /// Gives the permit. What changes state comes last of these checks, so that nobody can use up a proof that is not good; a
    /// certificate uses up nothing.
    ///
    /// # Errors
    /// [`DpopError::Replayed`] if there is a proof and `first_use` does not speak of it.
    pub fn redeem(self, first_use: Option<FirstUse>) -> Result<Permit, DpopError> {
        match (self.token.proof(), first_use) {
            (None, _) => {}
            (Some(proof), Some(first_use)) if first_use.is_of(proof.id()) => {}
            (Some(_), _) => return Err(DpopError::Replayed),
        }
        Ok(Permit { route: self.route, token: Some(self.token) })
    }
}

/// The right to forward one request; the only thing that can name an upstream.
#[must_use]
#[derive(Clone, Debug)]
pub struct Permit {
    route: Arc<Route>,
    token: Option<BoundToken>,
}

impl Permit {
    pub(crate) const fn public(route: Arc<Route>) -> Self {
        Self { route, token: None }
    }

    /// Where the request may go.
    pub fn upstream(&self) -> &UpstreamRef {
        &self.route.upstream
    }

    /// The route it was given for.
    pub const fn route(&self) -> &Arc<Route> {
        &self.route
    }

    /// The token, unless the route is public.
    pub const fn token(&self) -> Option<&BoundToken> {
        self.token.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_without_scopes_or_issuers_does_not_exist() {
        let names = |names: &[&str]| names.iter().map(|name| Box::from(*name)).collect::<Vec<Box<str>>>();
        assert!(
            Policy::new(
                ScopeRule::All(names(&["accounts"])),
                vec![IssuerIndex(0)],
                vec![Scheme::Bearer],
                NonceMode::Never
            )
            .is_ok()
        ); // control
        assert_eq!(
            Policy::new(ScopeRule::All(vec![]), vec![IssuerIndex(0)], vec![Scheme::Bearer], NonceMode::Never)
                .unwrap_err(),
            EmptyPolicy::Scopes
        );
        assert_eq!(
            Policy::new(ScopeRule::Any(vec![]), vec![IssuerIndex(0)], vec![Scheme::Bearer], NonceMode::Never)
                .unwrap_err(),
            EmptyPolicy::Scopes
        );
        assert_eq!(
            Policy::new(ScopeRule::All(names(&["accounts"])), vec![], vec![Scheme::Bearer], NonceMode::Never)
                .unwrap_err(),
            EmptyPolicy::Issuers
        );
        for scope in ["", "a b", "a\"", "a\\", "é"] {
            let policy = Policy::new(
                ScopeRule::All(names(&[scope])),
                vec![IssuerIndex(0)],
                vec![Scheme::Bearer],
                NonceMode::Never,
            );
            assert_eq!(policy.unwrap_err(), EmptyPolicy::ScopeSyntax, "{scope:?}");
        }
    }
}
