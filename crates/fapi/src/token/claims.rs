//! The claims of a token, and the checks that do not depend on how they were read (RFC 9068 §2.2, §4).

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::error::TokenError;
use super::form::AccessTokenForm;
use crate::UnixTime;
use crate::jose::claims::{CLOCK_SKEW, NotAudiences, audiences, numeric_date};
use crate::jose::keys::Algorithm;
use crate::profile::Period;
use crate::text::{Names, printable};

/// The claims of an authentic token.
pub struct Claims {
    /// `exp`, rounded down; this and the next two to the side on which the token is refused.
    expires_at: Option<UnixTime>,
    /// `iat`, rounded up; [`Self::issued_at`] rounds it down.
    issued_at: Option<UnixTime>,
    /// `nbf`, rounded up.
    not_before: Option<UnixTime>,
    scope: Box<str>,
    members: Map<String, Value>,
}

impl Claims {
    /// Reads the claims that have a syntax of their own: times and scopes.
    ///
    /// # Errors
    /// [`TokenError::ClaimMalformed`].
    pub(super) fn read(members: Map<String, Value>) -> Result<Self, TokenError> {
        let expires_at = time(&members, "exp", f64::floor)?;
        let issued_at = time(&members, "iat", f64::ceil)?;
        let not_before = time(&members, "nbf", f64::ceil)?;
        let scope = match members.get("scope") {
            None => Box::default(),
            Some(Value::String(scope)) => scope.as_str().into(),
            Some(_) => return Err(TokenError::ClaimMalformed { claim: "scope".into(), expected: "a string" }),
        };
        Ok(Self { expires_at, issued_at, not_before, scope, members })
    }

    pub(super) fn check_times(&self, now: UnixTime) -> Result<(), TokenError> {
        // RFC 9068 §4: "The current time MUST be before the time represented by the "exp" claim." No leeway.
        if let Some(at) = self.expires_at.filter(|at| now >= *at) {
            return Err(TokenError::Expired { at, now });
        }
        let latest = now.plus(CLOCK_SKEW);
        if let Some(at) = self.not_before.filter(|at| *at > latest) {
            return Err(TokenError::NotYetValid { at, now });
        }
        if let Some(at) = self.issued_at.filter(|at| *at > latest) {
            return Err(TokenError::IssuedInFuture { at, now });
        }
        Ok(())
    }

    /// The scopes, which are case-sensitive (RFC 6749 §3.3).
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scope.split(' ').filter(|scope| !scope.is_empty())
    }

    pub(super) const fn expires_at(&self) -> Option<UnixTime> {
        self.expires_at
    }

    /// `iat` rounded down: a revocation in the same second may have been later than the token.
    pub(super) fn issued_at(&self) -> Option<UnixTime> {
        numeric_date(&self.members, "iat", f64::floor).ok().flatten()
    }

    /// The seconds from `iat` to `exp`, of which a part counts as a whole one; `None` if one of them is missing.
    pub(crate) fn lifetime(&self) -> Option<u64> {
        let expires_at = numeric_date(&self.members, "exp", f64::ceil).ok().flatten()?;
        Some(expires_at.0.saturating_sub(self.issued_at()?.0))
    }

    /// `auth_time`, when its user was authenticated, rounded down; `None` if it is missing or not a time.
    pub(crate) fn authenticated_at(&self) -> Option<UnixTime> {
        numeric_date(&self.members, "auth_time", f64::floor).ok().flatten()
    }

    /// The approximate size of its text in memory in bytes.
    pub(super) fn size(&self) -> usize {
        self.scope.len().saturating_add(size_of_members(&self.members))
    }

    /// The claim with this name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.members.get(name)
    }

    /// The claim with this name, if it is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.members.get(name).and_then(Value::as_str)
    }
}

/// RFC 9068 §4: "The issuer identifier for the authorization server … MUST exactly match the value of the "iss"
/// claim."
pub(super) fn check_issuer(members: &Map<String, Value>, expected: &Expected) -> Result<(), TokenError> {
    let issuer = required_text(members, "iss")?;
    if issuer != &*expected.issuer {
        return Err(TokenError::issuer_unknown(Some(issuer), [&*expected.issuer]));
    }
    Ok(())
}

/// RFC 9068 §4: "The resource server MUST validate that the "aud" claim contains a resource indicator value
/// corresponding to an identifier the resource server expects for itself."
///
/// `excluded` does not count as one of these identifiers, if there is such a value.
pub(super) fn check_audience(
    members: &Map<String, Value>,
    expected: &Expected,
    excluded: Option<&str>,
) -> Result<(), TokenError> {
    let audiences = match audiences(members) {
        Ok(Some(audiences)) => audiences,
        Ok(None) => return Err(TokenError::ClaimMissing { claim: "aud".into() }),
        Err(NotAudiences) => {
            let expected = "a string or an array of strings";
            return Err(TokenError::ClaimMalformed { claim: "aud".into(), expected });
        }
    };
    let ours = |audience: &&str| expected.audiences.iter().any(|own| **own == **audience);
    if audiences.iter().any(|audience| ours(audience) && Some(*audience) != excluded) {
        return Ok(());
    }
    let (found, expected) = (Names::of(&audiences), Names::of(&expected.audiences));
    Err(match excluded.filter(|excluded| audiences.contains(excluded) && ours(excluded)) {
        Some(client) => TokenError::AudienceIsClient { found, client: printable(client), expected },
        None => TokenError::AudienceMismatch { found, expected },
    })
}

/// Shows no claim, since claims are personal data.
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Claims(..)")
    }
}

/// What is expected of an issuer's tokens for this resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The issuer's configured name, for routes, metrics and audit.
    pub name: Arc<str>,
    /// The exact value of `iss`.
    pub issuer: Box<str>,
    /// The values of which `aud` must contain at least one.
    pub audiences: Vec<Box<str>>,
    /// The algorithms the issuer may sign with.
    pub algorithms: Vec<Algorithm>,
    /// When a waiver allows RS256 beside them, for JWT access tokens alone.
    pub rs256: Option<Period>,
    /// How its access tokens differ from RFC 9068.
    pub form: AccessTokenForm,
}

pub(super) fn required_text<'m>(members: &'m Map<String, Value>, claim: &str) -> Result<&'m str, TokenError> {
    match members.get(claim) {
        None => Err(TokenError::ClaimMissing { claim: claim.into() }),
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        Some(_) => Err(TokenError::ClaimMalformed { claim: claim.into(), expected: "a non-empty string" }),
    }
}

fn time(
    members: &Map<String, Value>,
    claim: &'static str,
    round: fn(f64) -> f64,
) -> Result<Option<UnixTime>, TokenError> {
    numeric_date(members, claim, round)
        .map_err(|_| TokenError::ClaimMalformed { claim: claim.into(), expected: "a number of seconds" })
}

/// The approximate size of a value on the heap, including the overhead of its entry in a map or list.
fn size_of_value(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => ENTRY,
        Value::String(text) => text.len().saturating_add(ENTRY),
        Value::Array(values) => values.iter().map(size_of_value).fold(ENTRY, usize::saturating_add),
        Value::Object(members) => size_of_members(members).saturating_add(ENTRY),
    }
}

fn size_of_members(members: &Map<String, Value>) -> usize {
    members.iter().fold(0, |sum, (name, value)| sum.saturating_add(name.len()).saturating_add(size_of_value(value)))
}

/// The overhead of an entry in a map or list in bytes: its two headers, its share of a node that is half full, and what
/// the allocator adds to its texts.
const ENTRY: usize = 128;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::code::Code;

    fn claims(members: Value) -> Claims {
        let Value::Object(members) = members else { panic!("an object") };
        Claims::read(members).unwrap()
    }

    #[test]
    fn jwt_times_hold_to_the_second() {
        let now = UnixTime(1_000_000);
        let code = |members| claims(members).check_times(now).err().map(|error| error.code());
        for (members, expected) in [
            (json!({ "exp": 1_000_001 }), None),
            (json!({ "exp": 1_000_000 }), Some(Code::TokenExpired)),
            (json!({ "exp": 999_999 }), Some(Code::TokenExpired)),
            (json!({ "nbf": 1_000_000 + CLOCK_SKEW }), None),
            (json!({ "nbf": 1_000_001 + CLOCK_SKEW }), Some(Code::TokenNotYetValid)),
            (json!({ "nbf": 999_000 }), None),
            (json!({ "iat": 1_000_000 + CLOCK_SKEW }), None),
            (json!({ "iat": 1_000_001 + CLOCK_SKEW }), Some(Code::TokenIssuedInFuture)),
            (json!({}), None),
        ] {
            assert_eq!(code(members.clone()), expected, "{members}");
        }
    }

    #[test]
    fn claims_are_found_by_name_and_have_a_size() {
        let found = claims(json!({ "exp": 7, "sub": "somebody", "scope": "accounts" }));
        assert_eq!((found.expires_at(), found.get("sub")), (Some(UnixTime(7)), Some(&json!("somebody"))));
        assert_eq!((claims(json!({})).expires_at(), found.get("other")), (None, None));
        assert!(found.size() > "exp7subsomebodyscopeaccounts".len());
        assert!(claims(json!({ "sub": "x".repeat(1000) })).size() > 1000);
    }

    #[test]
    fn debug_of_claims_hides_them() {
        let Value::Object(members) = json!({ "sub": "somebody", "scope": "accounts" }) else { panic!("an object") };
        let claims = Claims::read(members).unwrap();
        assert_eq!(claims.text("sub"), Some("somebody")); // control
        assert_eq!(format!("{claims:?}"), "Claims(..)");
    }
}
