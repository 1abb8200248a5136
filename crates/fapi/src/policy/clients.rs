//! The clients that a route is for.

use super::error::{InvalidPolicy, PolicyError};
use crate::text::{Names, shown_value};
use crate::token::Claims;

/// Which clients a route is for: those that are allowed, or all; without those that are denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clients {
    allow: Option<Vec<Box<str>>>,
    deny: Vec<Box<str>>,
}

impl Clients {
    /// Names clients by `client_id`, compared exactly.
    ///
    /// # Errors
    /// [`InvalidPolicy::Clients`] if nothing is named, or `allow` is there and empty; [`InvalidPolicy::ClientTwice`] if
    /// one is in both.
    pub fn new(allow: Option<Vec<Box<str>>>, deny: Vec<Box<str>>) -> Result<Self, InvalidPolicy> {
        let names_nothing = allow.as_ref().map_or(deny.is_empty(), Vec::is_empty);
        if names_nothing || allow.iter().flatten().chain(&deny).any(|client| client.is_empty()) {
            return Err(InvalidPolicy::Clients);
        }
        match allow.iter().flatten().find(|client| deny.contains(client)) {
            Some(client) => Err(InvalidPolicy::ClientTwice { client: client.clone() }),
            None => Ok(Self { allow, deny }),
        }
    }

    /// What it requires, for operators.
    pub(super) fn shown(&self) -> String {
        let shown = |what: &str, names: &[Box<str>]| format!("client_id {what} {}", Names::of(names));
        let allow = self.allow.as_deref().map(|names| shown("one of", names));
        let deny = Some(&*self.deny).filter(|names| !names.is_empty()).map(|names| shown("none of", names));
        allow.into_iter().chain(deny).collect::<Vec<_>>().join(" and ")
    }

    /// What a token has in its place.
    pub(super) fn found(claims: &Claims) -> String {
        format!("client_id {}", shown_value(claims.get("client_id")))
    }

    /// A token that names no client is refused, since it may be one of those that are denied.
    pub(super) fn check(&self, claims: &Claims) -> Result<(), PolicyError> {
        let is_named = |names: &[Box<str>], client: &str| names.iter().any(|name| **name == *client);
        let allowed = claims.text("client_id").is_some_and(|client| {
            self.allow.as_ref().is_none_or(|names| is_named(names, client)) && !is_named(&self.deny, client)
        });
        if allowed { Ok(()) } else { Err(PolicyError::ClientRefused { found: shown_value(claims.get("client_id")) }) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::UnixTime;
    use crate::testing::introspected;

    fn names(names: &[&str]) -> Vec<Box<str>> {
        names.iter().map(|name| Box::from(*name)).collect()
    }

    #[test]
    fn a_client_is_allowed_by_its_exact_name_and_denied_by_it() {
        let only = Clients::new(Some(names(&["tpp-1", "tpp-2"])), Vec::new()).unwrap();
        let but = Clients::new(None, names(&["tpp-1"])).unwrap();
        let judge = |clients: &Clients, client: &str| {
            let token = introspected(&json!({ "active": true, "client_id": client }), UnixTime(0));
            clients.check(token.claims_for_audit()).is_ok()
        };
        for (client, allowed, not_denied) in [
            ("tpp-1", true, false), // control
            ("tpp-2", true, true),  // control
            ("tpp-3", false, true),
            ("TPP-1", false, true),
            ("tpp-1 ", false, true),
        ] {
            assert_eq!((judge(&only, client), judge(&but, client)), (allowed, not_denied), "{client}");
        }
        let without = introspected(&json!({ "active": true }), UnixTime(0));
        for clients in [only, but] {
            let refused = clients.check(without.claims_for_audit());
            assert_eq!(refused, Err(PolicyError::ClientRefused { found: "missing".into() }));
        }
    }

    #[test]
    fn a_rule_that_names_nobody_or_one_in_both_lists_does_not_exist() {
        assert!(Clients::new(Some(names(&["a"])), names(&["b"])).is_ok()); // control
        for (allow, deny) in [(Some(&[][..]), &["a"][..]), (None, &[]), (Some(&["a", ""]), &[]), (None, &[""])] {
            assert_eq!(Clients::new(allow.map(names), names(deny)), Err(InvalidPolicy::Clients), "{allow:?} {deny:?}");
        }
        let twice = Clients::new(Some(names(&["a", "b"])), names(&["b"]));
        assert_eq!(twice, Err(InvalidPolicy::ClientTwice { client: "b".into() }));
    }
}
