//! What tells an access token from the other JWTs that its issuer signs with the same keys (RFC 8725 §3.11, §3.12).

use serde_json::{Map, Value};

use super::error::TokenError;
use crate::jose::jws::is_media_type_name;
use crate::text::{Names, shown_value};

/// A `typ` that access tokens of an issuer have. No other exists: whatever is configured, a JWT that is typed as another
/// kind, such as `logout+jwt`, is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenType {
    /// `at+jwt` (RFC 9068 §2.1).
    AtJwt,
    /// `JWT`, which says nothing about the kind (RFC 7519 §5.1).
    Jwt,
    /// No `typ`.
    Absent,
}

impl TokenType {
    /// Whether this is the type. A member of another type than text is not the same as none.
    pub(super) fn is_of(self, typ: Option<&Value>) -> bool {
        match (self, typ) {
            (Self::AtJwt, Some(Value::String(name))) => is_media_type_name(name, "at+jwt"),
            (Self::Jwt, Some(Value::String(name))) => is_media_type_name(name, "jwt"),
            (Self::Absent, None) => true,
            (Self::AtJwt | Self::Jwt | Self::Absent, _) => false,
        }
    }

    /// These types, for operators: `"at+jwt"`, or `"at+jwt", "JWT" or none`.
    pub(super) fn list(types: &[Self]) -> String {
        let names: Vec<&str> = types.iter().map(|name| name.text()).collect();
        match names.split_last() {
            Some((last, others @ [_, ..])) => format!("{} or {last}", others.join(", ")),
            Some(_) | None => names.concat(),
        }
    }

    const fn text(self) -> &'static str {
        match self {
            Self::AtJwt => "\"at+jwt\"",
            Self::Jwt => "\"JWT\"",
            Self::Absent => "none",
        }
    }
}

/// A claim that names the kind of a token, and the values that only access tokens have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TokenKind {
    claim: Box<str>,
    values: Vec<Box<str>>,
}

impl TokenKind {
    pub(super) fn new(claim: &str, values: &[String]) -> Self {
        Self { claim: claim.into(), values: values.iter().map(|value| value.as_str().into()).collect() }
    }

    pub(super) fn claim(&self) -> &str {
        &self.claim
    }

    /// The claim, and the first of its values.
    pub(super) fn example(&self) -> Option<(&str, &str)> {
        Some((&self.claim, self.values.first()?))
    }

    /// Checks that the claim is one of the values, character by character.
    ///
    /// # Errors
    /// [`TokenError::KindWrong`].
    pub(super) fn check(&self, claims: &Map<String, Value>) -> Result<(), TokenError> {
        let found = claims.get(&*self.claim);
        let text = found.and_then(Value::as_str);
        if text.is_some_and(|text| self.values.iter().any(|value| **value == *text)) {
            return Ok(());
        }
        Err(TokenError::KindWrong {
            claim: self.claim.clone(),
            found: shown_value(found),
            expected: Names::of(&self.values),
        })
    }
}

/// Claims of other kinds of JWTs: ID tokens (OpenID Connect Core §2, §3.1.3.6 and §3.3.2.11; FAPI 1.0 Advanced §5.1.1
/// for `s_hash`), logout tokens and security events (RFC 8417 §2.2), signed introspection responses (RFC 9701 §5).
pub(super) const FOREIGN: [&str; 6] = ["nonce", "at_hash", "c_hash", "s_hash", "events", "token_introspection"];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn at_01_a_typ_compares_as_a_media_type_and_each_is_itself_alone() {
        use TokenType::{Absent, AtJwt, Jwt};
        let of = |typ: Option<Value>| [AtJwt, Jwt, Absent].map(|name| name.is_of(typ.as_ref()));
        for typ in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+jwt"] {
            assert_eq!(of(Some(json!(typ))), [true, false, false], "{typ}");
        }
        for typ in ["JWT", "jwt", "Jwt", "application/jwt"] {
            assert_eq!(of(Some(json!(typ))), [false, true, false], "{typ}");
        }
        assert_eq!(of(None), [false, false, true]);
        for typ in [
            json!(null),
            json!(""),
            json!(0),
            json!(true),
            json!(["JWT"]),
            json!({ "JWT": 1 }),
            json!("none"),
            json!("absent"),
            json!(" JWT"),
            json!("JWT "),
            json!("JWS"),
            json!("text/jwt"),
            json!("jwt;a=b"),
            json!("at+jwt,JWT"),
            json!("application/"),
            json!("application/application/jwt"),
            json!("logout+jwt"),
            json!("dpop+jwt"),
            json!("secevent+jwt"),
            json!("token-introspection+jwt"),
            json!("oauth-authz-req+jwt"),
            json!("vc+sd-jwt"),
            json!("rt+jwt"),
        ] {
            assert_eq!(of(Some(typ.clone())), [false; 3], "{typ}");
        }
    }

    #[test]
    fn a_kind_is_text_and_compared_exactly() {
        let kind = TokenKind::new("typ", &["Bearer".to_owned(), "DPoP".to_owned()]);
        let check = |claims: Value| {
            let Value::Object(claims) = claims else { panic!("an object") };
            kind.check(&claims)
        };
        for value in ["Bearer", "DPoP"] {
            assert_eq!(check(json!({ "typ": value })), Ok(())); // control
        }
        for value in [
            json!("bearer"),
            json!("BEARER"),
            json!("Bearer "),
            json!("ID"),
            json!(""),
            json!("Bearer DPoP"),
            json!(null),
            json!(1),
            json!(true),
            json!(["Bearer"]),
            json!(["Bearer", "DPoP"]),
            json!({ "Bearer": true }),
        ] {
            assert!(matches!(check(json!({ "typ": value })), Err(TokenError::KindWrong { .. })), "{value}");
        }
        for claims in [json!({}), json!({ "Typ": "Bearer" }), json!({ "a": { "typ": "Bearer" } })] {
            assert!(check(claims.clone()).is_err(), "{claims}");
        }
    }

    #[test]
    fn types_are_listed_as_a_sentence_has_them() {
        use TokenType::{Absent, AtJwt, Jwt};
        for (types, expected) in [
            (&[AtJwt][..], r#""at+jwt""#),
            (&[Absent], "none"),
            (&[AtJwt, Jwt], r#""at+jwt" or "JWT""#),
            (&[AtJwt, Jwt, Absent], r#""at+jwt", "JWT" or none"#),
        ] {
            assert_eq!(TokenType::list(types), expected);
        }
    }
}
