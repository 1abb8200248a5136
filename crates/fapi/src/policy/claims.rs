//! Claims that a route requires, wherever in the token they are (RFC 6901).

use std::fmt;

use serde_json::Value;

use super::error::{InvalidPolicy, PolicyError};
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

/// A value that a claim is compared with; exactly, and only with one of its own type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scalar {
    /// A text.
    Text(Box<str>),
    /// A whole number. A claim such as `1.0` is another value.
    Number(i64),
    /// `true` or `false`.
    Bool(bool),
}

impl Scalar {
    fn is(&self, value: &Value) -> bool {
        match self {
            Self::Text(text) => value.as_str() == Some(text),
            Self::Number(number) => value.as_i64() == Some(*number),
            Self::Bool(bool) => value.as_bool() == Some(*bool),
        }
    }
}

/// As in JSON.
impl fmt::Display for Scalar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Number(number) => write!(f, "{number}"),
            Self::Bool(value) => write!(f, "{value}"),
        }
    }
}

fn list(values: &[Scalar]) -> String {
    values.iter().map(Scalar::to_string).collect::<Vec<_>>().join(", ")
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

    /// What it requires, for operators.
    pub(super) fn shown(&self) -> String {
        let claim = &self.pointer.text;
        match &self.needed {
            Needed::OneOf(values) if values.len() == 1 => format!("{claim} {}", list(values)),
            Needed::OneOf(values) => format!("{claim} one of [{}]", list(values)),
            Needed::Contains(value) => format!("{claim} with {value}"),
        }
    }

    /// What a token has in its place.
    pub(super) fn found(&self, claims: &Claims) -> String {
        format!("{} {}", self.pointer.text, shown_value(self.pointer.find(claims)))
    }

    pub(super) fn check(&self, claims: &Claims) -> Result<(), PolicyError> {
        let value = self.pointer.find(claims);
        let met = value.is_some_and(|value| match &self.needed {
            Needed::OneOf(values) => values.iter().any(|wanted| wanted.is(value)),
            Needed::Contains(wanted) => value.as_array().is_some_and(|values| values.iter().any(|one| wanted.is(one))),
        });
        if met {
            return Ok(());
        }
        Err(PolicyError::ClaimRefused { claim: self.pointer.text.clone(), found: shown_value(value) })
    }
}

/// A JSON pointer to a claim or into one (RFC 6901), never to all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pointer {
    text: Box<str>,
    /// The name of the claim.
    claim: Box<str>,
    /// The steps from there on.
    steps: Vec<Box<str>>,
}

impl Pointer {
    fn parse(text: &str) -> Option<Self> {
        let mut steps = text.strip_prefix('/')?.split('/').map(unescaped);
        let claim = steps.next()??;
        Some(Self { text: text.into(), claim, steps: steps.collect::<Option<_>>()? })
    }

    fn find<'c>(&self, claims: &'c Claims) -> Option<&'c Value> {
        self.steps.iter().try_fold(claims.get(&self.claim)?, |value, step| match value {
            Value::Object(members) => members.get(&**step),
            Value::Array(values) => values.get(index(step)?),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
        })
    }
}

/// RFC 6901 §4: `~1` is a slash, and then `~0` a tilde; other uses of the tilde are errors.
fn unescaped(step: &str) -> Option<Box<str>> {
    let whole = step.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
    whole.then(|| step.replace("~1", "/").replace("~0", "~").into())
}

/// RFC 6901 §4: digits without leading zeros.
fn index(step: &str) -> Option<usize> {
    let digits = step.bytes().all(|byte| byte.is_ascii_digit()) && (step == "0" || !step.starts_with('0'));
    if digits { step.parse().ok() } else { None }
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
