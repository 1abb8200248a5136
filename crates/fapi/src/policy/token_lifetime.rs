//! How long the tokens of a route may live.

use std::time::Duration;

use super::error::{InvalidPolicy, PolicyError};
use crate::token::Claims;

/// The longest time from `iat` to `exp`. FAPI 2.0 §6.1 recommends short-lived access tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenLifetime(u64);

impl TokenLifetime {
    /// Counts whole seconds; a part of one is ignored.
    ///
    /// # Errors
    /// [`InvalidPolicy::TokenLifetime`] if that is less than one.
    pub const fn new(longest: Duration) -> Result<Self, InvalidPolicy> {
        match longest.as_secs() {
            0 => Err(InvalidPolicy::TokenLifetime),
            seconds => Ok(Self(seconds)),
        }
    }

    /// What it requires, for operators.
    pub(super) fn shown(self) -> String {
        format!("a lifetime of at most {} seconds", self.0)
    }

    /// What a token has in its place.
    pub(super) fn found(claims: &Claims) -> String {
        claims
            .lifetime()
            .map_or_else(|| "no iat or exp".to_owned(), |seconds| format!("a lifetime of {seconds} seconds"))
    }

    /// A token that does not say when it was issued and when it expires is refused: it may live for ever.
    pub(super) fn check(self, claims: &Claims) -> Result<(), PolicyError> {
        let lifetime = claims.lifetime();
        if lifetime.is_some_and(|lifetime| lifetime <= self.0) {
            return Ok(());
        }
        Err(PolicyError::TokenLifetimeExceeded { found: lifetime, longest: self.0 })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::UnixTime;
    use crate::testing::introspected;

    const NOW: UnixTime = UnixTime(1_000_000);

    #[test]
    fn fapi2_rs_15_a_token_may_not_live_longer_than_the_route_says() {
        let rule = TokenLifetime::new(Duration::from_millis(3_600_900)).unwrap();
        let judge = |iat: Value, exp: Value| {
            let mut answer = json!({ "active": true, "iat": iat, "exp": exp });
            answer.as_object_mut().unwrap().retain(|_, value| !value.is_null());
            rule.check(introspected(&answer, NOW).claims_for_audit())
        };
        let refused = |found| Err(PolicyError::TokenLifetimeExceeded { found, longest: 3600 });
        let null = Value::Null;
        for (iat, exp, verdict) in [
            (json!(999_000), json!(1_002_600), Ok(())), // control
            (json!(999_000), json!(1_002_601), refused(Some(3601))),
            (json!(999_000), json!(1_085_400), refused(Some(86400))),
            // A fraction counts as the longer time.
            (json!(999_000.5), json!(1_002_600), Ok(())),
            (json!(999_000.5), json!(1_002_600.6), refused(Some(3601))),
            (null.clone(), json!(1_002_600), refused(None)),
            (json!(999_000), null.clone(), refused(None)),
            (null.clone(), null, refused(None)),
        ] {
            assert_eq!(judge(iat.clone(), exp.clone()), verdict, "{iat} {exp}");
        }
    }

    #[test]
    fn a_lifetime_of_less_than_a_second_does_not_exist() {
        assert!(TokenLifetime::new(Duration::from_secs(1)).is_ok()); // control
        assert_eq!(TokenLifetime::new(Duration::from_millis(999)), Err(InvalidPolicy::TokenLifetime));
    }
}
