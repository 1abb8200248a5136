//! The scopes that a route requires (RFC 6749 §3.3, RFC 6750 §3.1).

use super::error::{EmptyPolicy, PolicyError};
use crate::text::printable;
use crate::token::Claims;

/// Which scopes a route requires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScopeRule {
    /// Every one of these.
    All(Vec<Box<str>>),
    /// At least one of these.
    Any(Vec<Box<str>>),
}

/// A rule with at least one scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Scopes {
    rule: ScopeRule,
    text: Box<str>,
}

impl Scopes {
    /// Checks that there are scopes, and their syntax.
    ///
    /// # Errors
    /// [`EmptyPolicy::Scopes`], [`EmptyPolicy::ScopeSyntax`].
    pub(super) fn new(rule: ScopeRule) -> Result<Self, EmptyPolicy> {
        let names = match &rule {
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
        let text = names.join(" ").into();
        Ok(Self { rule, text })
    }

    /// The scopes as one value of the challenge's `scope` (RFC 6750 §3).
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    pub(super) fn check(&self, claims: &Claims) -> Result<(), PolicyError> {
        let granted = |wanted: &str| claims.scopes().any(|scope| scope == wanted);
        let covered = match &self.rule {
            ScopeRule::All(names) => names.iter().all(|name| granted(name)),
            ScopeRule::Any(names) => names.iter().any(|name| granted(name)),
        };
        if covered {
            return Ok(());
        }
        Err(PolicyError::ScopeInsufficient {
            found: claims.scopes().take(32).map(printable).collect(),
            needed: self.text.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::UnixTime;
    use crate::testing::introspected;
    use crate::token::ActiveToken;

    /// A token with this scope.
    fn token(scope: &str) -> ActiveToken {
        introspected(&json!({ "active": true, "scope": scope }), UnixTime(0))
    }

    #[test]
    fn at_08_whole_scopes_count_and_all_or_one_of_them_are_needed() {
        let names = || vec!["accounts".into(), "payments".into()];
        let (all, any) = (Scopes::new(ScopeRule::All(names())).unwrap(), Scopes::new(ScopeRule::Any(names())).unwrap());
        for (scope, has_all, has_any) in [
            ("accounts payments", true, true), // control
            ("payments openid accounts", true, true),
            ("accounts", false, true),
            ("payments", false, true),
            ("openid", false, false),
            ("", false, false),
            ("accounts,payments", false, false),
            ("Accounts accountsx account", false, false),
        ] {
            let token = token(scope);
            let claims = token.claims_for_audit();
            assert_eq!((all.check(claims).is_ok(), any.check(claims).is_ok()), (has_all, has_any), "{scope:?}");
        }
    }
}
