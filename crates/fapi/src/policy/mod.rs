//! What a protected route requires of a token, with a file for each kind of rule.

mod error;
mod scopes;

use std::time::Duration;

pub use error::{EmptyPolicy, PolicyError};
pub use scopes::ScopeRule;
use scopes::Scopes;

use crate::credentials::Scheme;
use crate::token::Claims;

/// When a route requires a nonce (RFC 9449 §9).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NonceMode {
    /// Never: `iat` determines the age of a proof.
    #[default]
    Never,
    /// When `iat` is outside its window, so that a client with a wrong clock can continue.
    WhenStale,
    /// For every proof.
    Always,
}

/// The index of an issuer in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IssuerIndex(pub usize);

/// What a protected route requires of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    scopes: Scopes,
    issuers: Vec<IssuerIndex>,
    schemes: Vec<Scheme>,
    nonce: NonceMode,
    introspection_max_age: Option<Duration>,
}

impl Policy {
    /// A policy with at least one scope, one issuer and one scheme.
    ///
    /// # Errors
    /// [`EmptyPolicy`] if one of them is missing: an omission never permits.
    pub fn new(
        scopes: ScopeRule,
        issuers: Vec<IssuerIndex>,
        mut schemes: Vec<Scheme>,
        nonce: NonceMode,
    ) -> Result<Self, EmptyPolicy> {
        let scopes = Scopes::new(scopes)?;
        if issuers.is_empty() {
            return Err(EmptyPolicy::Issuers);
        }
        if schemes.is_empty() {
            return Err(EmptyPolicy::SenderConstraints);
        }
        // BEAR-13: challenges come in the order DPoP, Bearer.
        schemes.sort_unstable_by_key(|scheme| *scheme == Scheme::Bearer);
        schemes.dedup();
        Ok(Self { scopes, issuers, schemes, nonce, introspection_max_age: None })
    }

    /// The issuers whose tokens it accepts.
    pub fn issuers(&self) -> &[IssuerIndex] {
        &self.issuers
    }

    /// The authentication schemes that it accepts, in the order of their challenges.
    pub fn schemes(&self) -> &[Scheme] {
        &self.schemes
    }

    /// When it requires a nonce.
    pub const fn nonce(&self) -> NonceMode {
        self.nonce
    }

    /// The policy with a maximum age of introspection responses; zero means that the issuer is asked every time.
    #[must_use]
    pub fn with_introspection_max_age(self, max_age: Duration) -> Self {
        Self { introspection_max_age: Some(max_age), ..self }
    }

    /// The maximum age of introspection responses, if it is shorter than that of the issuer.
    pub const fn introspection_max_age(&self) -> Option<Duration> {
        self.introspection_max_age
    }

    /// The scopes as one value of the challenge's `scope` (RFC 6750 §3).
    pub fn scope_text(&self) -> &str {
        self.scopes.text()
    }

    /// Checks whether a token with these claims satisfies the policy.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub(crate) fn check(&self, claims: &Claims) -> Result<(), PolicyError> {
        self.scopes.check(claims)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_what_it_was_made_of() {
        let scopes = ScopeRule::All(vec!["accounts".into()]);
        let (issuers, schemes) =
            (vec![IssuerIndex(3), IssuerIndex(1)], vec![Scheme::Bearer, Scheme::Dpop, Scheme::Bearer]);
        let policy = Policy::new(scopes, issuers.clone(), schemes, NonceMode::Always).unwrap();
        assert_eq!((policy.issuers(), policy.nonce()), (&*issuers, NonceMode::Always));
        assert_eq!(policy.schemes(), [Scheme::Dpop, Scheme::Bearer]);
        assert_eq!((policy.scope_text(), policy.introspection_max_age()), ("accounts", None));
        let max_age = Duration::from_secs(5);
        assert_eq!(policy.with_introspection_max_age(max_age).introspection_max_age(), Some(max_age));
    }

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
