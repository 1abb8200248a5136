//! Whether a token has to stand for somebody, rather than for the client itself.

use super::error::PolicyError;
use crate::text::shown_value;
use crate::token::Claims;

/// What is required, for operators.
pub(super) const SHOWN: &str = "a sub that is not the client's";

/// What a token has in its place.
pub(super) fn found(claims: &Claims) -> String {
    format!("sub {}", shown_value(claims.get("sub")))
}

/// A client that acts for itself obtains a token whose `sub` is the client (RFC 9068 §2.2). RFC 9700 §4.15: resource servers
/// have to tell such a token from that of a resource owner.
pub(super) fn check(claims: &Claims) -> Result<(), PolicyError> {
    if claims.text("sub").is_some_and(|subject| claims.text("client_id") != Some(subject)) {
        return Ok(());
    }
    Err(PolicyError::SubjectMissing { found: shown_value(claims.get("sub")) })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::UnixTime;
    use crate::testing::introspected;

    #[test]
    fn at_11_bcp_08_a_client_is_no_subject() {
        let judge = |members: Value| {
            let mut answer = json!({ "active": true });
            answer.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
            check(introspected(&answer, UnixTime(0)).claims_for_audit())
        };
        assert_eq!(judge(json!({ "sub": "user", "client_id": "tpp" })), Ok(())); // control
        assert_eq!(judge(json!({ "sub": "user" })), Ok(())); // control
        for (members, found) in
            [(json!({ "sub": "tpp", "client_id": "tpp" }), "\"tpp\""), (json!({ "client_id": "tpp" }), "missing")]
        {
            assert_eq!(judge(members), Err(PolicyError::SubjectMissing { found: found.into() }));
        }
    }
}
