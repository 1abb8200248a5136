//! The scopes that a route requires (RFC 6749 §3.3, RFC 6750 §3.1).

use super::error::{InvalidPolicy, PolicyError};
use crate::text::{Names, is_scope_token, printable};
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
    /// [`InvalidPolicy::Scopes`], [`InvalidPolicy::ScopeSyntax`].
    pub(super) fn new(rule: ScopeRule) -> Result<Self, InvalidPolicy> {
        let names = match &rule {
            ScopeRule::All(names) | ScopeRule::Any(names) => names,
        };
        if names.is_empty() {
            return Err(InvalidPolicy::Scopes);
        }
        if let Some(scope) = names.iter().find(|name| !is_scope_token(name)) {
            return Err(InvalidPolicy::ScopeSyntax { scope: printable(scope) });
        }
        let text = names.join(" ").into();
        Ok(Self { rule, text })
    }

    /// The scopes as one value of the challenge's `scope` (RFC 6750 §3).
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// The scopes that the rule names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let (ScopeRule::All(names) | ScopeRule::Any(names)) = &self.rule;
        names.iter().map(|name| &**name)
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
        Err(PolicyError::ScopeInsufficient { found: Names::of(claims.scopes()), needed: self.needed() })
    }
}

impl Scopes {
    /// What the rule wants, for operators.
    pub(super) fn needed(&self) -> Box<str> {
        match &self.rule {
            ScopeRule::All(names) | ScopeRule::Any(names) if names.len() == 1 => format!("{:?}", self.text).into(),
            ScopeRule::All(names) => format!("all of {}", Names::of(names)).into(),
            ScopeRule::Any(names) => format!("one of {}", Names::of(names)).into(),
        }
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
    fn a_refusal_says_which_scopes_the_token_has_and_which_the_route_needs() {
        let text = |rule, scope: &str| {
            Scopes::new(rule).unwrap().check(token(scope).claims_for_audit()).map_err(|error| error.to_string())
        };
        let names = |names: &[&str]| names.iter().map(|name| Box::from(*name)).collect::<Vec<Box<str>>>();
        let two = names(&["accounts", "payments"]);
        assert_eq!(text(ScopeRule::All(two.clone()), "payments accounts"), Ok(())); // control
        for (rule, scope, expected) in [
            (ScopeRule::All(names(&["accounts"])), "openid", r#"scope is ["openid"], the route needs "accounts""#),
            (ScopeRule::Any(names(&["accounts"])), "", r#"scope is [], the route needs "accounts""#),
            (
                ScopeRule::All(two.clone()),
                "accounts",
                r#"scope is ["accounts"], the route needs all of ["accounts", "payments"]"#,
            ),
            (ScopeRule::Any(two), "a b\"", r#"scope is ["a", "b\""], the route needs one of ["accounts", "payments"]"#),
        ] {
            assert_eq!(text(rule, scope), Err(expected.to_owned()));
        }
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
