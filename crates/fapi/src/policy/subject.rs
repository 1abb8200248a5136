//! Whether a token has to stand for somebody, or for the client itself.

use super::error::PolicyError;
use crate::text::shown_value;
use crate::token::Claims;

/// For whom a token has to stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectRule {
    /// For somebody other than the client, such as its user.
    Other,
    /// For the client itself: nobody has given it the right to act in their name.
    Client,
}

impl SubjectRule {
    /// What is required, for operators.
    pub(super) const fn shown(self) -> &'static str {
        match self {
            Self::Other => "a sub that is not the client's",
            Self::Client => "no sub but the client's",
        }
    }

    /// What a token has in its place.
    pub(super) fn found(claims: &Claims) -> String {
        format!("sub {}", shown_value(claims.get("sub")))
    }

    /// A client that acts for itself obtains a token whose `sub` is the client (RFC 9068 §2.2). RFC 9700 §4.15: resource servers
    /// have to tell such a token from that of a resource owner. Introspection may leave out a `sub` that there is not.
    pub(super) fn check(self, claims: &Claims) -> Result<(), PolicyError> {
        let (subject, client) = (claims.get("sub"), claims.text("client_id"));
        let found = || shown_value(subject);
        match (self, subject, subject.and_then(|subject| subject.as_str())) {
            (Self::Other, _, Some(subject)) if client != Some(subject) => Ok(()),
            (Self::Other, _, _) => Err(PolicyError::SubjectMissing { found: found() }),
            (Self::Client, None, _) => Ok(()),
            (Self::Client, _, Some(subject)) if client == Some(subject) => Ok(()),
            (Self::Client, _, _) => Err(PolicyError::SubjectRefused { found: found() }),
        }
    }
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
            SubjectRule::Other.check(introspected(&answer, UnixTime(0)).claims_for_audit())
        };
        assert_eq!(judge(json!({ "sub": "user", "client_id": "tpp" })), Ok(())); // control
        assert_eq!(judge(json!({ "sub": "user" })), Ok(())); // control
        for (members, found) in
            [(json!({ "sub": "tpp", "client_id": "tpp" }), "\"tpp\""), (json!({ "client_id": "tpp" }), "missing")]
        {
            assert_eq!(judge(members), Err(PolicyError::SubjectMissing { found: found.into() }));
        }
    }

    #[test]
    fn uk_16_a_user_is_no_client() {
        let judge = |members: Value| {
            let mut answer = json!({ "active": true });
            answer.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
            SubjectRule::Client.check(introspected(&answer, UnixTime(0)).claims_for_audit())
        };
        assert_eq!(judge(json!({ "sub": "tpp", "client_id": "tpp" })), Ok(())); // control
        assert_eq!(judge(json!({ "client_id": "tpp" })), Ok(())); // control
        for (members, found) in [
            (json!({ "sub": "user", "client_id": "tpp" }), "\"user\""),
            (json!({ "sub": "user" }), "\"user\""),
            (json!({ "sub": "TPP", "client_id": "tpp" }), "\"TPP\""),
        ] {
            assert_eq!(judge(members), Err(PolicyError::SubjectRefused { found: found.into() }));
        }
    }
}
