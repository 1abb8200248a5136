//! How strongly and how recently the user has to be authenticated (RFC 9470).

use std::time::Duration;

use super::error::{InvalidPolicy, PolicyError};
use crate::UnixTime;
use crate::jose::claims::CLOCK_SKEW;
use crate::text::{Names, shown_value};
use crate::token::Claims;

/// What a route requires of the authentication that a token is based on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    acr: Vec<Box<str>>,
    max_age: Option<u64>,
    challenge: Box<str>,
}

impl Authentication {
    /// One of these authentication context classes, in order of preference; and at most so long ago, in whole seconds.
    ///
    /// # Errors
    /// [`InvalidPolicy::Authentication`] if neither is required, [`InvalidPolicy::AcrSyntax`].
    pub fn new(acr: Vec<Box<str>>, max_age: Option<Duration>) -> Result<Self, InvalidPolicy> {
        if acr.is_empty() && max_age.is_none() {
            return Err(InvalidPolicy::Authentication);
        }
        // RFC 9470 §3: "a space-separated string"; in a quoted string that has to be readable in one way.
        let plain = |name: &str| name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\'));
        if !acr.iter().all(|name| !name.is_empty() && plain(name)) {
            return Err(InvalidPolicy::AcrSyntax);
        }
        let max_age = max_age.map(|max_age| max_age.as_secs());
        let mut challenge = String::new();
        if !acr.is_empty() {
            challenge.push_str(&format!(", acr_values=\"{}\"", acr.join(" ")));
        }
        if let Some(seconds) = max_age {
            challenge.push_str(&format!(", max_age=\"{seconds}\""));
        }
        Ok(Self { acr, max_age, challenge: challenge.into() })
    }

    /// The parameters of the challenge, each after a comma: `acr_values` and `max_age` (RFC 9470 §3).
    pub(super) fn challenge(&self) -> &str {
        &self.challenge
    }

    /// What it requires, for operators.
    pub(super) fn shown(&self) -> String {
        let acr = Some(&*self.acr).filter(|acr| !acr.is_empty());
        let acr = acr.map(|acr| format!("acr one of {}", Names::of(acr)));
        let age = self.max_age.map(|seconds| format!("auth_time at most {seconds} seconds ago"));
        acr.into_iter().chain(age).collect::<Vec<_>>().join(" and ")
    }

    /// What a token has in its place.
    pub(super) fn found(claims: &Claims) -> String {
        format!("acr {} and auth_time {}", shown_value(claims.get("acr")), shown_value(claims.get("auth_time")))
    }

    /// RFC 9470 §6: the values of the token decide; without them, the requirement is not met.
    pub(super) fn check(&self, claims: &Claims, now: UnixTime) -> Result<(), PolicyError> {
        let acr = claims.text("acr");
        if !self.acr.is_empty() && !acr.is_some_and(|acr| self.acr.iter().any(|wanted| **wanted == *acr)) {
            let needed = Names::of(&*self.acr);
            return Err(PolicyError::AcrInsufficient { found: shown_value(claims.get("acr")), needed });
        }
        let Some(max_age) = self.max_age else { return Ok(()) };
        let at = claims.authenticated_at();
        // Clocks may differ by so much, in either direction.
        let recent = |at: UnixTime| at <= now.plus(CLOCK_SKEW) && now <= at.plus(max_age).plus(CLOCK_SKEW);
        if at.is_some_and(recent) {
            return Ok(());
        }
        Err(PolicyError::AuthenticationTooOld { found: shown_value(claims.get("auth_time")), now, max_age })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::code::Code;
    use crate::testing::introspected;

    const NOW: UnixTime = UnixTime(1_000_000);

    fn names(names: &[&str]) -> Vec<Box<str>> {
        names.iter().map(|name| Box::from(*name)).collect()
    }

    fn judge(rule: &Authentication, acr: Value, auth_time: Value) -> Option<Code> {
        let mut answer = json!({ "active": true, "acr": acr, "auth_time": auth_time });
        answer.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        rule.check(introspected(&answer, NOW).claims_for_audit(), NOW).err().map(|error| error.code())
    }

    #[test]
    fn step_01_step_05_step_07_the_class_is_one_that_is_listed() {
        let rule = Authentication::new(names(&["urn:bank:loa2", "urn:bank:loa3"]), None).unwrap();
        for acr in ["urn:bank:loa2", "urn:bank:loa3"] {
            assert_eq!(judge(&rule, json!(acr), Value::Null), None, "{acr}"); // control
        }
        for acr in [
            json!("urn:bank:loa4"),
            json!("urn:bank:loa1"),
            json!("URN:BANK:LOA2"),
            json!("urn:bank:loa2 urn:bank:loa3"),
            json!(["urn:bank:loa2"]),
            json!(2),
            Value::Null,
        ] {
            assert_eq!(judge(&rule, acr.clone(), json!(NOW.0)), Some(Code::AcrInsufficient), "{acr}");
        }
    }

    #[test]
    fn step_06_the_authentication_is_recent_by_a_clock_that_may_differ() {
        let rule = Authentication::new(Vec::new(), Some(Duration::from_secs(300))).unwrap();
        for seconds in [NOW.0, NOW.0 - 300, NOW.0 - 310, NOW.0 + 10] {
            assert_eq!(judge(&rule, Value::Null, json!(seconds)), None, "{seconds}"); // control
        }
        for auth_time in [
            json!(NOW.0 - 311),
            json!(NOW.0 + 11),
            json!(0),
            json!(-1),
            json!(NOW.0.to_string()),
            json!([NOW.0]),
            json!(1e300),
            json!(u64::MAX),
            Value::Null,
        ] {
            assert_eq!(judge(&rule, Value::Null, auth_time.clone()), Some(Code::AuthenticationTooOld), "{auth_time}");
        }
        let fresh = Authentication::new(Vec::new(), Some(Duration::ZERO)).unwrap();
        assert_eq!(judge(&fresh, Value::Null, json!(NOW.0 - 10)), None, "an age of zero is the clocks' difference");
        assert_eq!(judge(&fresh, Value::Null, json!(NOW.0 - 11)), Some(Code::AuthenticationTooOld));
    }

    #[test]
    fn step_02_the_challenge_has_the_values_of_the_rule() {
        let challenge = |acr: &[&str], max_age: Option<u64>| {
            Authentication::new(names(acr), max_age.map(Duration::from_secs)).unwrap().challenge().to_owned()
        };
        assert_eq!(challenge(&["b", "a"], Some(300)), ", acr_values=\"b a\", max_age=\"300\"");
        assert_eq!(challenge(&["a"], None), ", acr_values=\"a\"");
        assert_eq!(challenge(&[], Some(0)), ", max_age=\"0\"");
    }

    #[test]
    fn a_rule_without_a_requirement_or_with_a_class_that_cannot_be_quoted_does_not_exist() {
        assert_eq!(Authentication::new(Vec::new(), None), Err(InvalidPolicy::Authentication));
        for acr in ["", "a b", "a\"", "a\\", "é", "a\n"] {
            assert_eq!(Authentication::new(names(&["a", acr]), None), Err(InvalidPolicy::AcrSyntax), "{acr:?}");
        }
    }
}
