//! Claims that a route requires, wherever in the token they are (RFC 6901).

use super::claim_place::ClaimPlace;
use super::comparison::Comparison;
use super::error::{InvalidPolicy, PolicyError};
use super::request::{Part, RequestValues};
use crate::text::shown_value;
use crate::token::Claims;

/// A claim, and what it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRule {
    place: ClaimPlace,
    needed: Comparison,
}

impl ClaimRule {
    /// A rule for the claim that a JSON pointer names, such as `/consent/status`.
    ///
    /// # Errors
    /// [`InvalidPolicy::Pointer`], [`InvalidPolicy::ClaimValues`], [`InvalidPolicy::ClaimBody`].
    pub fn new(pointer: &str, needed: Comparison) -> Result<Self, InvalidPolicy> {
        let place = ClaimPlace::new(pointer)?;
        let needed = needed.checked()?;
        if needed.compares_body() { Err(InvalidPolicy::ClaimBody) } else { Ok(Self { place, needed }) }
    }

    /// What it requires, for operators.
    pub(super) fn shown(&self) -> String {
        self.needed.shown(self.place.as_str())
    }

    /// What a token has in its place.
    pub(super) fn found(&self, claims: &Claims) -> String {
        self.place.found(claims)
    }

    pub(super) fn check(&self, claims: &Claims, request: &dyn RequestValues) -> Result<(), PolicyError> {
        let (value, claim) = (self.place.find(claims), self.place.as_str());
        match value.map(|value| self.needed.is_met_by(value, Part::Head(request))) {
            Some(Some(true)) => Ok(()),
            Some(Some(false)) | None => {
                Err(PolicyError::ClaimRefused { claim: claim.into(), found: shown_value(value) })
            }
            Some(None) => {
                let lack = self.needed.lack_of_request().into();
                Err(PolicyError::ClaimIncomparable { claim: claim.into(), lack })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use serde_json::json;

    use super::super::{BodyMember, Operand, Scalar};
    use super::*;
    use crate::UnixTime;
    use crate::testing::introspected;

    /// `GET /accounts/1001?level=2`, with a second segment that has more than one reading if there is no text for it.
    struct Sent(Option<&'static str>);

    impl RequestValues for Sent {
        fn method(&self) -> &str {
            "GET"
        }

        fn segment(&self, index: usize) -> Option<Cow<'_, str>> {
            [Some("accounts"), self.0].get(index).copied().flatten().map(Cow::from)
        }

        fn query(&self) -> Option<&str> {
            Some("level=2")
        }
    }

    fn judge(pointer: &str, needed: Comparison) -> Result<(), PolicyError> {
        judge_for(Sent(Some("1001")), pointer, needed)
    }

    fn judge_for(request: Sent, pointer: &str, needed: Comparison) -> Result<(), PolicyError> {
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
            "account_ids": ["1000", "1001"],
            "numbers": [1001],
            "account_id": "1001",
            "operation": "GET",
        });
        let token = introspected(&answer, UnixTime(0));
        ClaimRule::new(pointer, needed).unwrap().check(token.claims_for_audit(), &request)
    }

    fn path() -> Operand {
        Operand::Path { name: "account_id".into(), segment: 1 }
    }

    fn text(text: &str) -> Scalar {
        Scalar::Text(text.into())
    }

    #[test]
    fn a_claim_is_found_by_its_pointer_and_compared_exactly() {
        let is = |pointer: &str, value: Scalar| judge(pointer, Comparison::OneOf(vec![text("other"), value])).is_ok();
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
        let contains =
            |pointer: &str, value: Scalar| judge(pointer, Comparison::Contains(Operand::Value(value))).is_ok();
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
            let refused = judge(pointer, Comparison::OneOf(vec![text("x")])).unwrap_err();
            assert_eq!(refused, PolicyError::ClaimRefused { claim: pointer.into(), found: found.into() });
        }
    }

    #[test]
    fn a_pointer_that_is_none_or_names_all_claims_and_a_rule_without_values_do_not_exist() {
        let contains = || Comparison::Contains(Operand::Value(text("a")));
        let new = |pointer: &str| ClaimRule::new(pointer, contains()).map(drop);
        for pointer in ["/a", "/", "/a~0", "/a/~01"] {
            assert_eq!(new(pointer), Ok(()), "{pointer:?}"); // control
        }
        for pointer in ["", "a", "a/b", "/a~", "/a~2", "/~x", "#/a"] {
            assert_eq!(new(pointer), Err(InvalidPolicy::Pointer), "{pointer:?}");
        }
        assert_eq!(ClaimRule::new("/a", Comparison::OneOf(Vec::new())), Err(InvalidPolicy::ClaimValues));
    }

    #[test]
    fn a_claim_is_compared_with_the_path_the_query_and_the_method() {
        let query = || Operand::Query("level".into());
        for (pointer, needed) in [
            ("/account_ids", Comparison::Contains(path())),
            ("/account_id", Comparison::Equals(path())),
            ("/said", Comparison::Equals(query())),
            ("/operation", Comparison::Equals(Operand::Method)),
        ] {
            assert_eq!(judge(pointer, needed), Ok(()), "{pointer}"); // control
        }
        for (pointer, needed) in [
            ("/account_ids", Comparison::Equals(path())),
            ("/account_ids/0", Comparison::Equals(path())),
            ("/account_id", Comparison::Contains(path())),
            ("/numbers", Comparison::Contains(path())), // text is not equal to a number
            ("/level", Comparison::Equals(query())),
            ("/missing", Comparison::Equals(path())),
            ("/said", Comparison::Equals(Operand::Method)),
        ] {
            assert!(matches!(judge(pointer, needed), Err(PolicyError::ClaimRefused { .. })), "{pointer}");
        }
        let other = judge_for(Sent(Some("1002")), "/account_ids", Comparison::Contains(path()));
        assert_eq!(other, Err(PolicyError::ClaimRefused { claim: "/account_ids".into(), found: "a list".into() }));
    }

    #[test]
    fn a_claim_is_compared_with_nothing_that_has_more_than_one_reading() {
        let refused = judge_for(Sent(None), "/account_ids", Comparison::Contains(path())).unwrap_err();
        assert_eq!(refused.code(), crate::code::Code::ClaimRefused);
        assert_eq!(
            refused.to_string(),
            "{account_id} of the path is missing or has more than one reading, so the claim /account_ids cannot be compared with it"
        );
        let missing = judge("/said", Comparison::Equals(Operand::Query("other".into()))).unwrap_err();
        assert!(matches!(missing, PolicyError::ClaimIncomparable { .. }), "{missing}");
    }

    #[test]
    fn a_rule_that_would_need_the_body_does_not_exist() {
        let body = || BodyMember::new("/account_id").unwrap();
        assert!(ClaimRule::new("/account_id", Comparison::Equals(path())).is_ok()); // control
        for needed in [
            Comparison::Equals(Operand::Body(body())),
            Comparison::Contains(Operand::Body(body())),
            Comparison::Covers(body()),
        ] {
            assert_eq!(ClaimRule::new("/account_id", needed), Err(InvalidPolicy::ClaimBody));
        }
    }
}
