//! Claims that a route requires, wherever in the token they are (RFC 6901).

use serde_json::Value;

use super::error::{InvalidPolicy, PolicyError};
use super::value::{Pointer, Scalar, list};
use crate::text::shown_value;
use crate::token::Claims;

/// A claim, and what it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRule {
    pointer: Pointer,
    needed: Needed,
}

/// What a claim has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Needed {
    /// One of these values, of which there is at least one.
    OneOf(Vec<Scalar>),
    /// A list that contains this value.
    Contains(Scalar),
}

impl ClaimRule {
    /// A rule for the claim that a JSON pointer names, such as `/consent/status`.
    ///
    /// # Errors
    /// [`InvalidPolicy::Pointer`], [`InvalidPolicy::ClaimValues`].
    pub fn new(pointer: &str, needed: Needed) -> Result<Self, InvalidPolicy> {
        let pointer = Pointer::parse(pointer).ok_or(InvalidPolicy::Pointer)?;
        match &needed {
            Needed::OneOf(values) if values.is_empty() => Err(InvalidPolicy::ClaimValues),
            Needed::OneOf(_) | Needed::Contains(_) => Ok(Self { pointer, needed }),
        }
    }

    fn find<'c>(&self, claims: &'c Claims) -> Option<&'c Value> {
        self.pointer.find(claims.get(self.pointer.first()))
    }

    /// What it requires, for operators.
    pub(super) fn shown(&self) -> String {
        let claim = self.pointer.as_str();
        match &self.needed {
            Needed::OneOf(values) if values.len() == 1 => format!("{claim} {}", list(values)),
            Needed::OneOf(values) => format!("{claim} one of [{}]", list(values)),
            Needed::Contains(value) => format!("{claim} with {value}"),
        }
    }

    /// What a token has in its place.
    pub(super) fn found(&self, claims: &Claims) -> String {
        format!("{} {}", self.pointer.as_str(), shown_value(self.find(claims)))
    }

    pub(super) fn check(&self, claims: &Claims) -> Result<(), PolicyError> {
        let value = self.find(claims);
        let met = value.is_some_and(|value| match &self.needed {
            Needed::OneOf(values) => values.iter().any(|wanted| wanted.is(value)),
            Needed::Contains(wanted) => value.as_array().is_some_and(|values| values.iter().any(|one| wanted.is(one))),
        });
        if met {
            return Ok(());
        }
        Err(PolicyError::ClaimRefused { claim: self.pointer.as_str().into(), found: shown_value(value) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::UnixTime;
    use crate::testing::introspected;

    fn judge(pointer: &str, needed: Needed) -> Result<(), PolicyError> {
        let answer = json!({
            "active": true,
            "consent": { "status": "authorised", "a/b": 1, "m~n": true, "": "nothing" },
            "roles": ["PISP", "AISP", 7],
            "act": { "sub": "agent", "act": { "sub": "another" } },
            "level": 2,
            "part": 2.0,
            "large": u64::MAX,
            "said": "2",
            "nested": [{ "deep": [[true]] }],
            "null": null,
        });
        let token = introspected(&answer, UnixTime(0));
        ClaimRule::new(pointer, needed).unwrap().check(token.claims_for_audit())
    }

    fn text(text: &str) -> Scalar {
        Scalar::Text(text.into())
    }

    #[test]
    fn a_claim_is_found_by_its_pointer_and_compared_exactly() {
        let is = |pointer: &str, value: Scalar| judge(pointer, Needed::OneOf(vec![text("other"), value])).is_ok();
        for (pointer, value) in [
            ("/consent/status", text("authorised")),
            ("/consent/a~1b", Scalar::Number(1)),
            ("/consent/m~0n", Scalar::Bool(true)),
            ("/consent/", text("nothing")),
            ("/act/act/sub", text("another")),
            ("/roles/0", text("PISP")),
            ("/nested/0/deep/0/0", Scalar::Bool(true)),
            ("/level", Scalar::Number(2)),
        ] {
            assert!(is(pointer, value), "{pointer}"); // control
        }
        for (pointer, value) in [
            ("/consent/status", text("Authorised")),
            ("/consent/status", text("author")),
            ("/consent", text("authorised")),
            ("/consent/status/0", text("authorised")),
            ("/Consent/status", text("authorised")),
            ("/level", text("2")),
            ("/said", Scalar::Number(2)),
            ("/part", Scalar::Number(2)),
            ("/large", Scalar::Number(-1)),
            ("/level", Scalar::Bool(true)),
            ("/null", text("null")),
            ("/missing", text("")),
            ("/roles/00", text("PISP")),
            ("/roles/+0", text("PISP")),
            ("/roles/-", text("AISP")),
            ("/roles/3", text("PISP")),
            ("/roles/99999999999999999999", text("PISP")),
            ("/roles", text("PISP")),
        ] {
            assert!(!is(pointer, value), "{pointer}");
        }
    }

    #[test]
    fn a_list_contains_a_value_and_a_text_contains_nothing() {
        let contains = |pointer: &str, value: Scalar| judge(pointer, Needed::Contains(value)).is_ok();
        assert!(contains("/roles", text("AISP")) && contains("/roles", Scalar::Number(7))); // control
        for (pointer, value) in [
            ("/roles", text("aisp")),
            ("/roles", text("7")),
            ("/roles", text("AIS")),
            ("/consent/status", text("authorised")),
            ("/consent", text("status")),
            ("/missing", text("AISP")),
        ] {
            assert!(!contains(pointer, value), "{pointer}");
        }
    }

    #[test]
    fn a_refusal_says_which_claim_and_what_it_is() {
        for (pointer, found) in
            [("/consent/status", "\"authorised\""), ("/roles", "a list"), ("/missing", "missing"), ("/level", "2")]
        {
            let refused = judge(pointer, Needed::OneOf(vec![text("x")])).unwrap_err();
            assert_eq!(refused, PolicyError::ClaimRefused { claim: pointer.into(), found: found.into() });
        }
    }

    #[test]
    fn a_pointer_that_is_none_or_names_all_claims_and_a_rule_without_values_do_not_exist() {
        let new = |pointer: &str| ClaimRule::new(pointer, Needed::Contains(text("a"))).map(drop);
        for pointer in ["/a", "/", "/a~0", "/a/~01"] {
            assert_eq!(new(pointer), Ok(()), "{pointer:?}"); // control
        }
        for pointer in ["", "a", "a/b", "/a~", "/a~2", "/~x", "#/a"] {
            assert_eq!(new(pointer), Err(InvalidPolicy::Pointer), "{pointer:?}");
        }
        assert_eq!(ClaimRule::new("/a", Needed::OneOf(Vec::new())), Err(InvalidPolicy::ClaimValues));
    }
}
