//! Introspection responses: plain (RFC 7662 §2.2), signed, or signed and encrypted (RFC 9701 §5).
//!
//! Only the JSON value `true` means active. A response that is not clear is an [`AnswerError`], which is the issuer's
//! fault and never the client's. [`ActiveToken::from_introspection`] judges whether an active token is for this
//! resource.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::active::ActiveToken;
use super::claims::{Expected, check_audience, check_issuer, required_text};
use super::confirmation::Confirmation;
use super::error::{Named, RefusedToken, TokenError};
use super::hash::TokenIds;
use crate::UnixTime;
use crate::jose::claims::{CLOCK_SKEW, NotNumericDate, numeric_date};
use crate::jose::json::parse_object;
use crate::jose::jwe::{self, Decrypted, DecryptionKeys, JweError};
use crate::jose::keys::KeySet;
use crate::jose::statement::{Signer, Statement, StatementError, StatementKind};
use crate::text::printable;

/// The media type of a plain response.
pub const JSON: &str = "application/json";
/// The media type of a signed response, encrypted or not (RFC 9701 §5).
pub const JWT: &str = "application/token-introspection+jwt";
/// The size in bytes above which a response is not parsed.
pub const MAX_ANSWER_BYTES: usize = 256 * 1024;

const SIGNED: StatementKind = StatementKind { typ: "token-introspection+jwt", max_bytes: MAX_ANSWER_BYTES };

/// The maximum age of a signed response in seconds. It is issued for the request, so an older one is a replay, perhaps
/// of a token that has been revoked since.
const MAX_AGE: u64 = 60;

/// What an introspection response says about a token.
#[derive(Debug)]
pub enum Answer {
    /// The token is active and has these claims.
    Active(ActiveAnswer),
    /// The token is not active; the response says nothing else (RFC 7662 §2.2).
    Inactive,
}

/// The claims of an active token.
#[derive(Debug)]
pub struct ActiveAnswer(Map<String, Value>);

impl ActiveAnswer {
    /// What the issuer says, as it says it: nothing is judged but that the token is active.
    pub const fn claims(&self) -> &Map<String, Value> {
        &self.0
    }

    /// Its text, which [`Answer::from_json`] reads as the same answer.
    pub(super) fn to_json(&self) -> Vec<u8> {
        // An object of JSON values has no key that could not be written.
        serde_json::to_vec(&self.0).unwrap_or_default()
    }
}

/// Why a response cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Not a JSON object with one reading, or beyond the limits of [`parse_object`].
    #[error(
        "the response is not a JSON object with one reading that is nested at most 16 deep and has at most 4096 members"
    )]
    Malformed,
    /// No `active`, or one that is neither `true` nor `false`.
    #[error("active in the response is neither true nor false")]
    ActiveMissing,
    /// A signed response that is not from the issuer, or not for this resource server.
    #[error("the signed response is refused: {0}")]
    Statement(#[source] StatementError),
    /// An encrypted response, where none is expected.
    #[error(
        "the response is encrypted, and nothing says with which key; name it in introspection.decryption_keys, or register the response at the issuer as signed only"
    )]
    Encrypted,
    /// A response that is signed only, where an encrypted one is expected.
    #[error(
        "the response is signed only, and introspection.decryption_keys expects an encrypted one; register introspection_encrypted_response_alg and _enc at the issuer, or remove the keys"
    )]
    NotEncrypted,
    /// A response that cannot be decrypted, or that contains something else than a signed one.
    #[error("the encrypted response is refused: {0}")]
    Decryption(#[source] JweError),
    /// A signed response that was issued long before the request.
    #[error("the signed response was issued at {at}, it is {now}")]
    Stale {
        /// `iat`.
        at: UnixTime,
        /// The time of the judgement.
        now: UnixTime,
    },
    /// A signed response that is no longer valid by its own `exp`.
    #[error("the signed response was valid until {at}, it is {now}")]
    Expired {
        /// `exp`.
        at: UnixTime,
        /// The time of the judgement.
        now: UnixTime,
    },
    /// A signed response that is not valid yet by its own `nbf`.
    #[error("the signed response is valid from {at}, it is {now}")]
    NotYetValid {
        /// `nbf`.
        at: UnixTime,
        /// The time of the judgement.
        now: UnixTime,
    },
    /// A signed response whose `exp` or `nbf` is not a time.
    #[error("{claim} of the signed response is not a number of seconds")]
    TimeMalformed {
        /// Which claim.
        claim: &'static str,
    },
    /// A signed response without `token_introspection`.
    #[error("the signed response has no object token_introspection")]
    TokenIntrospectionMissing,
}

impl Answer {
    /// Reads a plain response.
    ///
    /// # Errors
    /// [`AnswerError::Malformed`], [`AnswerError::ActiveMissing`].
    pub fn from_json(body: &[u8]) -> Result<Self, AnswerError> {
        Self::from_members(parse_object(body).map_err(|_| AnswerError::Malformed)?)
    }

    /// Verifies and reads a signed response, which [`decrypted`] gives where it is encrypted; uses only the content of `token_introspection` (RFC 9701 §5). `signer` is
    /// the issuer that was asked.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn from_jwt(body: &[u8], signer: &Signer<'_>, keys: &KeySet, now: UnixTime) -> Result<Self, AnswerError> {
        let text = std::str::from_utf8(body).map_err(|_| AnswerError::Malformed)?;
        let Statement { mut members, issued_at: at } = Statement::verify(text, SIGNED, signer, keys, now)?;
        if now.since(at) > MAX_AGE {
            return Err(AnswerError::Stale { at, now });
        }
        // RFC 9701 §5 requires neither; where they are present, RFC 7519 §4.1.4 and §4.1.5 apply: the response "MUST NOT
        // be accepted for processing" from `exp` on, and before `nbf`.
        let time = |claim, round| {
            numeric_date(&members, claim, round).map_err(|NotNumericDate| AnswerError::TimeMalformed { claim })
        };
        if let Some(at) = time("exp", f64::floor)?.filter(|at| now >= *at) {
            return Err(AnswerError::Expired { at, now });
        }
        if let Some(at) = time("nbf", f64::ceil)?.filter(|at| *at > now.plus(CLOCK_SKEW)) {
            return Err(AnswerError::NotYetValid { at, now });
        }
        match members.remove("token_introspection") {
            Some(Value::Object(members)) => Self::from_members(members),
            Some(_) | None => Err(AnswerError::TokenIntrospectionMissing),
        }
    }

    fn from_members(members: Map<String, Value>) -> Result<Self, AnswerError> {
        match members.get("active") {
            Some(Value::Bool(true)) => Ok(Self::Active(ActiveAnswer(members))),
            Some(Value::Bool(false)) => Ok(Self::Inactive),
            Some(_) | None => Err(AnswerError::ActiveMissing),
        }
    }
}

impl From<StatementError> for AnswerError {
    fn from(error: StatementError) -> Self {
        if error == StatementError::Encrypted { Self::Encrypted } else { Self::Statement(error) }
    }
}

/// The signed response that an encrypted one contains, for [`Answer::from_jwt`].
///
/// RFC 9701 §5: "If the JWT is signed and encrypted, it MUST be a Nested JWT, as defined in JWT". A response that is signed
/// only is refused: whoever can take the encryption away must not thereby go unnoticed.
///
/// Does not check anything of what is signed. Anybody can encrypt for the resource server, so that is what counts.
///
/// # Errors
/// [`AnswerError::Malformed`], [`AnswerError::NotEncrypted`], [`AnswerError::Decryption`].
pub fn decrypted(body: &[u8], keys: &DecryptionKeys) -> Result<String, AnswerError> {
    let text = std::str::from_utf8(body).map_err(|_| AnswerError::Malformed)?;
    let nested = jwe::decrypt(text, keys, MAX_ANSWER_BYTES).and_then(Decrypted::into_nested_jws);
    nested.map_err(|error| match error {
        JweError::NotEncrypted => AnswerError::NotEncrypted,
        JweError::TooLarge { .. }
        | JweError::Malformed { .. }
        | JweError::CriticalHeader
        | JweError::Compressed
        | JweError::AlgorithmRefused { .. }
        | JweError::EncryptionRefused { .. }
        | JweError::EphemeralKey
        | JweError::KeyUnknown { .. }
        | JweError::NotDecrypted
        | JweError::ContentTypeWrong { .. }
        | JweError::NotSigned => AnswerError::Decryption(error),
    })
}

/// How an introspection response without `aud` is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingAudience {
    /// Refused: the token may be for another resource of the issuer.
    Refuse,
    /// Accepted: the issuer reports as active only tokens that are for the resource server that asks.
    Accept,
}

impl ActiveToken {
    /// Judges the claims of an active token (RFC 7662 §2.2, §4), as far as they are present, like those of a JWT.
    ///
    /// `ids` must be those of the token that the issuer was asked about. The response must come from the endpoint of
    /// `expected.issuer`: without `iss` it is taken to be from that issuer, and with another `iss` it is refused. `exp`,
    /// `nbf` and `iat` may be missing. A response without `aud` is accepted only with [`MissingAudience::Accept`], and
    /// then has to name the `token_type`. A member that is `null` or an empty list counts as missing, also in `cnf`. Of
    /// the form of the issuer's tokens, only that of the scopes is about responses.
    ///
    /// # Errors
    /// [`RefusedToken`], for the first check that fails: issuer, audience, claims, `token_type`, times; with whose token it is by
    /// the response.
    pub fn from_introspection(
        answer: ActiveAnswer,
        ids: TokenIds,
        expected: &Expected,
        missing_audience: MissingAudience,
        now: UnixTime,
    ) -> Result<Self, RefusedToken> {
        let named = Named::of(&answer.0, "client_id", &expected.name);
        Self::from_answer(answer, ids, expected, missing_audience, now)
            .map_err(|error| RefusedToken { error, named: Some(Arc::new(named)) })
    }

    fn from_answer(
        ActiveAnswer(mut members): ActiveAnswer,
        ids: TokenIds,
        expected: &Expected,
        missing_audience: MissingAudience,
        now: UnixTime,
    ) -> Result<Self, TokenError> {
        // RFC 7662 §2.2 makes every member but `active` optional, and issuers write "not there" in three ways.
        let is_there = |value: &Value| !value.is_null() && value.as_array().is_none_or(|list| !list.is_empty());
        members.retain(|_, value| is_there(value));
        // A server that knows both bindings writes both, and one of them without a value.
        if let Some(Value::Object(methods)) = members.get_mut("cnf") {
            methods.retain(|_, value| is_there(value));
        }
        if members.contains_key("iss") {
            check_issuer(&members, expected)?;
        } else {
            members.insert("iss".to_owned(), Value::from(&*expected.issuer));
        }
        if members.contains_key("aud") {
            check_audience(&members, expected, None)?;
        } else if missing_audience == MissingAudience::Refuse {
            return Err(TokenError::AudienceMissing);
        }
        for claim in ["sub", "client_id", "jti"] {
            if members.contains_key(claim) {
                required_text(&members, claim)?;
            }
        }
        let confirmation = Confirmation::from_claim(members.get("cnf"));
        // RFC 7662 §2.2: "Type of the token as defined in Section 5.1 of OAuth 2.0"; a resource does not accept others,
        // such as refresh tokens. RFC 9449 §6.2: "If the token_type member is included in the introspection response, it
        // MUST contain the value DPoP", if the token is bound to a key.
        let has_key = confirmation.as_ref().is_ok_and(|cnf| cnf.key().is_some());
        let token_type = if has_key { "DPoP" } else { "Bearer" };
        match members.get("token_type") {
            // RFC 8705 §4 and RFC 9449 §5 bind refresh tokens too; if neither the type nor the resource says what the
            // token is, it may be one.
            None if !members.contains_key("aud") => {
                return Err(TokenError::ClaimMissing { claim: "token_type".into() });
            }
            None => {}
            Some(Value::String(found)) if found.eq_ignore_ascii_case(token_type) => {}
            Some(Value::String(found)) => return Err(TokenError::TokenTypeWrong { found: printable(found) }),
            Some(_) => return Err(TokenError::ClaimMalformed { claim: "token_type".into(), expected: "a string" }),
        }
        expected.form.rename_scope(&mut members)?;
        Self::with_claims(members, confirmation, ids, expected, now)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::credentials::PresentedToken;
    use crate::jose::jwe::{DecryptionKey, EncryptionKey};
    use crate::jose::jws::JwsError;
    use crate::jose::keys::Algorithm;
    use crate::testing::{SigningKey, expected, jwks};
    use crate::token::confirmation::ConfirmationError;
    use crate::token::form::{AccessTokenForm, Differences, ScopeForm};

    const ISSUER: &str = "https://as.example";
    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn read(text: &str) -> Result<bool, AnswerError> {
        Answer::from_json(text.as_bytes()).map(|answer| matches!(answer, Answer::Active(_)))
    }

    fn read_signed(key: &SigningKey, claims: &Value, now: UnixTime) -> Result<bool, AnswerError> {
        let header = json!({ "typ": "token-introspection+jwt", "alg": key.algorithm(), "kid": key.kid() });
        let keys = KeySet::parse(jwks(&[key]).to_string().as_bytes()).unwrap();
        let audiences = [Box::from("gateway")];
        let signer = Signer { issuer: ISSUER, audiences: &audiences, algorithms: Algorithm::ALL };
        let answer = Answer::from_jwt(key.sign(&header, claims).as_bytes(), &signer, &keys, now)?;
        Ok(matches!(answer, Answer::Active(_)))
    }

    fn claims(inner: Value) -> Value {
        json!({ "iss": ISSUER, "aud": "gateway", "iat": NOW.0, "token_introspection": inner })
    }

    #[test]
    fn int_02_active_is_a_boolean_or_there_is_no_answer() {
        assert_eq!((read(r#"{"active":true}"#), read(r#"{"active":false,"sub":"x"}"#)), (Ok(true), Ok(false)));
        for text in ["{}", r#"{"active":"true"}"#, r#"{"active":1}"#, r#"{"active":null}"#, r#"{"Active":true}"#] {
            assert_eq!(read(text), Err(AnswerError::ActiveMissing), "{text}");
        }
        for text in ["", "true", "[]", r#"{"active":true"#, r#"{"active":true,"active":true}"#, r#"{"active":true}}"#] {
            assert_eq!(read(text), Err(AnswerError::Malformed), "{text}");
        }
    }

    #[test]
    fn an_answer_that_is_nested_too_deep_says_so() {
        let nested =
            |levels: usize| read(&format!(r#"{{"active":true,"x":{}{}}}"#, "[".repeat(levels), "]".repeat(levels)));
        assert_eq!(nested(15), Ok(true)); // control
        assert_eq!(nested(16), Err(AnswerError::Malformed));
        assert!(AnswerError::Malformed.to_string().contains("at most 16 deep"));
    }

    #[test]
    fn ms_int_04_only_the_inner_object_is_the_answer() {
        let key = SigningKey::generate(Algorithm::Es256, "a");
        let judged = |inner: Value| read_signed(&key, &claims(inner), NOW);
        assert_eq!((judged(json!({ "active": true })), judged(json!({ "active": false }))), (Ok(true), Ok(false)));
        assert_eq!(judged(json!({})), Err(AnswerError::ActiveMissing));
        for inner in [json!(true), json!("{\"active\":true}"), json!([{ "active": true }]), Value::Null] {
            assert_eq!(judged(inner.clone()), Err(AnswerError::TokenIntrospectionMissing), "{inner}");
        }
        let mut outer = claims(json!({ "active": false }));
        outer["active"] = json!(true);
        assert_eq!(read_signed(&key, &outer, NOW), Ok(false));
    }

    #[test]
    fn ms_int_08_an_answer_is_good_for_sixty_seconds() {
        let key = SigningKey::generate(Algorithm::Es256, "a");
        let judged = |now| read_signed(&key, &claims(json!({ "active": true })), now);
        for now in [UnixTime(NOW.0 - 10), NOW, NOW.plus(60)] {
            assert_eq!(judged(now), Ok(true), "{now}");
        }
        assert_eq!(judged(NOW.plus(61)), Err(AnswerError::Stale { at: NOW, now: NOW.plus(61) }));
        let early = UnixTime(NOW.0 - 11);
        let future = StatementError::IssuedInFuture { at: NOW, now: early };
        assert_eq!(judged(early), Err(AnswerError::Statement(future)));
    }

    #[test]
    fn ms_int_08_a_signed_answer_is_not_used_outside_its_own_validity() {
        let key = SigningKey::generate(Algorithm::Es256, "a");
        let judged = |claim: &str, value: Value| {
            let mut claims = claims(json!({ "active": true }));
            claims[claim] = value;
            read_signed(&key, &claims, NOW)
        };
        for (claim, good, bad, error) in [
            ("exp", NOW.0 + 1, NOW.0, AnswerError::Expired { at: NOW, now: NOW }),
            ("nbf", NOW.0 + 10, NOW.0 + 11, AnswerError::NotYetValid { at: NOW.plus(11), now: NOW }),
        ] {
            assert_eq!(judged(claim, json!(good)), Ok(true), "{claim}"); // control
            assert_eq!(judged(claim, json!(bad)), Err(error), "{claim}");
            for malformed in [json!("x"), json!(good.to_string()), json!(-1), json!([good]), Value::Null] {
                assert_eq!(
                    judged(claim, malformed.clone()),
                    Err(AnswerError::TimeMalformed { claim: if claim == "exp" { "exp" } else { "nbf" } }),
                    "{claim}: {malformed}"
                );
            }
        }
    }

    #[test]
    fn ms_int_02_what_is_not_text_is_not_a_signed_answer() {
        let keys = KeySet::parse(jwks(&[&SigningKey::generate(Algorithm::Es256, "a")]).to_string().as_bytes()).unwrap();
        let signer = Signer { issuer: ISSUER, audiences: &[], algorithms: Algorithm::ALL };
        let judged = |body: &[u8]| Answer::from_jwt(body, &signer, &keys, NOW).map(drop);
        assert_eq!(judged(b"\xff.\xff.\xff"), Err(AnswerError::Malformed));
        assert_eq!(judged(b"a.b.c.d.e"), Err(AnswerError::Encrypted));
        let malformed = |error| Err(AnswerError::Statement(StatementError::Malformed(error)));
        assert_eq!(judged(&[b'a'; 262_144]), malformed(JwsError::Malformed { part: "serialization" })); // control
        let (bytes, limit) = (262_145, 262_144);
        assert_eq!(judged(&[b'a'; 262_145]), malformed(JwsError::TooLarge { bytes, limit }));
    }

    #[test]
    fn ms_int_09_ms_int_12_an_encrypted_answer_is_a_signed_one_for_one_of_the_keys() {
        let pair = rcgen::KeyPair::generate().unwrap();
        let key = |key_id| DecryptionKey::from_pem(pair.serialize_pem().as_bytes(), key_id).unwrap();
        let keys = DecryptionKeys::new(vec![key(Some("a"))]);
        let public = EncryptionKey::from_jwk(&key(Some("a")).public_jwk()).unwrap();
        let encrypted = |text: &str, cty| jwe::encrypt(text.as_bytes(), &public, cty).unwrap();
        let judged = |text: &str| decrypted(text.as_bytes(), &keys);
        let signed = "a.b.c";
        assert_eq!(judged(&encrypted(signed, Some("JWT"))), Ok(signed.to_owned())); // control
        assert_eq!(judged(&encrypted(signed, None)), Ok(signed.to_owned())); // control
        assert_eq!(judged(signed), Err(AnswerError::NotEncrypted));
        let twice = encrypted(&encrypted(signed, Some("JWT")), Some("JWT"));
        assert_eq!(judged(&twice), Err(AnswerError::Decryption(JweError::NotSigned)));
        let plain = encrypted(r#"{"active":true}"#, None);
        assert_eq!(judged(&plain), Err(AnswerError::Decryption(JweError::NotSigned)));
        let wrong = AnswerError::Decryption(JweError::ContentTypeWrong { found: "json".into() });
        assert_eq!(judged(&encrypted(signed, Some("json"))), Err(wrong));
        let others = DecryptionKeys::new(vec![
            DecryptionKey::from_pem(rcgen::KeyPair::generate().unwrap().serialize_pem().as_bytes(), None).unwrap(),
        ]);
        let not_ours = decrypted(encrypted(signed, Some("JWT")).as_bytes(), &others);
        assert_eq!(not_ours, Err(AnswerError::Decryption(JweError::NotDecrypted)));
        assert_eq!(decrypted(b"\xff.a.a.a.a", &keys), Err(AnswerError::Malformed));
        let large = "a".repeat(MAX_ANSWER_BYTES + 1);
        assert!(matches!(judged(&large), Err(AnswerError::Decryption(JweError::TooLarge { .. }))));
    }

    /// The judgement of an active answer with these members.
    fn judged(members: Value, missing_audience: MissingAudience) -> Result<(), TokenError> {
        token_of(members, missing_audience, &expected()).map(drop)
    }

    fn token_of(
        members: Value,
        missing_audience: MissingAudience,
        expected: &Expected,
    ) -> Result<ActiveToken, TokenError> {
        let mut answer = json!({ "active": true, "cnf": { "x5t#S256": THUMBPRINT } });
        answer.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        let Answer::Active(answer) = Answer::from_json(answer.to_string().as_bytes()).unwrap() else {
            panic!("the answer is active")
        };
        let ids = TokenIds::of(PresentedToken::unparsed("token"));
        ActiveToken::from_introspection(answer, ids, expected, missing_audience, NOW).map_err(TokenError::from)
    }

    #[test]
    fn a_refused_token_is_whose_the_answer_says() {
        let answer = json!({ "active": true, "aud": "https://other.example", "client_id": "client-1", "sub": 7 });
        let Ok(Answer::Active(answer)) = Answer::from_json(answer.to_string().as_bytes()) else { panic!("active") };
        let (ids, expected) = (TokenIds::of(PresentedToken::unparsed("token")), expected());
        let refused =
            ActiveToken::from_introspection(answer, ids, &expected, MissingAudience::Refuse, NOW).unwrap_err();
        assert!(matches!(refused.error, TokenError::AudienceMismatch { .. }), "{refused}");
        let named = Named { issuer: expected.name.clone(), client_id: Some("client-1".into()), subject: None };
        assert_eq!(refused.named.as_deref(), Some(&named));
    }

    #[test]
    fn rfc7662_2_2_missing_null_and_an_empty_list_are_one_thing() {
        let aud = json!("https://rs.example");
        assert_eq!(judged(json!({ "aud": aud }), MissingAudience::Refuse), Ok(())); // control
        for nothing in [Value::Null, json!([])] {
            for member in ["iss", "sub", "client_id", "jti", "scope", "exp", "nbf", "iat", "token_type", "x"] {
                let members = json!({ "aud": aud, member: nothing });
                assert_eq!(judged(members, MissingAudience::Refuse), Ok(()), "{member}: {nothing}");
            }
            let missing = judged(json!({ "aud": nothing }), MissingAudience::Refuse).unwrap_err();
            assert_eq!(missing, TokenError::AudienceMissing, "{nothing}");
            assert!(missing.to_string().contains("missing_audience"), "it names the way out: {missing}");
            let typed = json!({ "aud": nothing, "token_type": "Bearer" });
            assert_eq!(judged(typed, MissingAudience::Accept), Ok(()), "{nothing}");
        }
        // What is there is judged, however empty.
        for aud in [json!(""), json!([""]), json!(["https://other.example"]), json!({}), json!([null])] {
            assert!(judged(json!({ "aud": aud }), MissingAudience::Accept).is_err(), "{aud}");
        }
        for (member, value) in [("sub", json!("")), ("iss", json!("")), ("exp", json!({})), ("scope", json!([""]))] {
            assert!(judged(json!({ "aud": aud, member: value }), MissingAudience::Refuse).is_err(), "{member}");
        }
    }

    #[test]
    fn rfc7662_2_2_what_is_null_in_cnf_is_missing_too() {
        let cnf = |cnf: Value| -> Result<_, TokenError> {
            let members = json!({ "aud": "https://rs.example", "cnf": cnf });
            let token = token_of(members, MissingAudience::Refuse, &expected())?;
            Ok(token.confirmation().map(drop))
        };
        for nothing in [Value::Null, json!([])] {
            for (name, other) in [("jkt", "x5t#S256"), ("x5t#S256", "jkt")] {
                assert_eq!(cnf(json!({ name: THUMBPRINT })), Ok(Ok(()))); // control
                assert_eq!(cnf(json!({ name: THUMBPRINT, other: nothing })), Ok(Ok(())), "{other}: {nothing}");
            }
            assert_eq!(cnf(json!({ "jkt": nothing })), Ok(Err(ConfirmationError::Empty)), "{nothing}");
        }
    }

    #[test]
    fn rfc9449_6_2_a_token_that_is_bound_to_a_key_is_a_dpop_token() {
        let (aud, key) = (json!("https://rs.example"), json!({ "jkt": THUMBPRINT }));
        let both = json!({ "jkt": THUMBPRINT, "x5t#S256": THUMBPRINT });
        let certificate = json!({ "x5t#S256": THUMBPRINT });
        let wrong = |found: &str| Err(TokenError::TokenTypeWrong { found: found.into() });
        for (cnf, kind, expected) in [
            (&key, "DPoP", Ok(())),
            (&key, "dpop", Ok(())),
            (&both, "DPoP", Ok(())),
            (&certificate, "Bearer", Ok(())),
            (&certificate, "bearer", Ok(())),
            (&key, "Bearer", wrong("Bearer")),
            (&both, "Bearer", wrong("Bearer")),
            (&certificate, "DPoP", wrong("DPoP")),
            (&key, "refresh_token", wrong("refresh_token")),
            (&certificate, "N_A", wrong("N_A")),
        ] {
            let members = json!({ "aud": aud, "cnf": cnf, "token_type": kind });
            assert_eq!(judged(members, MissingAudience::Refuse), expected, "{cnf} {kind}");
        }
    }

    #[test]
    fn rfc9449_5_an_answer_without_audience_has_to_say_that_it_is_not_about_a_refresh_token() {
        let judged = |members: Value| judged(members, MissingAudience::Accept);
        let (aud, key) = (json!("https://rs.example"), json!({ "jkt": THUMBPRINT }));
        assert_eq!(judged(json!({ "cnf": key, "token_type": "DPoP" })), Ok(())); // control
        assert_eq!(judged(json!({ "cnf": key, "aud": aud })), Ok(())); // control
        let missing = Err(TokenError::ClaimMissing { claim: "token_type".into() });
        assert_eq!(judged(json!({ "cnf": key })), missing);
        assert_eq!(judged(json!({ "cnf": key, "aud": [], "token_type": null })), missing);
        // A token that is bound to a certificate.
        assert_eq!(judged(json!({ "token_type": "Bearer" })), Ok(())); // control
        assert_eq!(judged(json!({ "aud": aud })), Ok(())); // control
        assert_eq!(judged(json!({})), missing);
        assert_eq!(
            judged(json!({ "token_type": "Refresh" })),
            Err(TokenError::TokenTypeWrong { found: "Refresh".into() })
        );
    }

    #[test]
    fn rfc7662_2_2_scopes_have_the_form_of_the_issuer() {
        let differences = Differences { scope_form: ScopeForm::List, ..Differences::NONE };
        let form = AccessTokenForm::new(differences).unwrap();
        let judged = |form: &AccessTokenForm, scope: Value| {
            let expected = Expected { form: form.clone(), ..expected() };
            let members = json!({ "aud": "https://rs.example", "scope": scope });
            token_of(members, MissingAudience::Refuse, &expected)
                .map(|token| token.claims_for_audit().scopes().map(str::to_owned).collect::<Vec<_>>())
        };
        let (list, string) = (json!(["a", "b"]), json!("a b"));
        let both = || Ok(vec!["a".to_owned(), "b".to_owned()]);
        assert_eq!(judged(&form, list.clone()), both()); // control
        assert_eq!(judged(&AccessTokenForm::default(), string.clone()), both()); // control
        assert!(matches!(judged(&form, string), Err(TokenError::ClaimMalformed { .. })));
        assert!(matches!(judged(&AccessTokenForm::default(), list), Err(TokenError::ClaimMalformed { .. })));
        assert!(matches!(judged(&form, json!(["a b"])), Err(TokenError::ClaimMalformed { .. })));
        for nothing in [json!([]), json!(null)] {
            assert_eq!(judged(&form, nothing.clone()), Ok(vec![]), "{nothing}");
        }
    }

    /// The thumbprint of RFC 7638 §3.1.
    const THUMBPRINT: &str = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";

    proptest! {
        #[test]
        fn int_02_one_member_decides_and_only_once(
            members in proptest::collection::vec(
                (
                    proptest::sample::select(vec!["active", "Active", "sub", "x"]),
                    proptest::sample::select(vec!["true", "false", "null", "1", "\"true\"", "[true]", "{\"active\":true}"]),
                ),
                0..4,
            ),
        ) {
            let text: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            let names: std::collections::HashSet<_> = members.iter().map(|(name, _)| name).collect();
            let active = members.iter().find(|(name, _)| *name == "active").map(|(_, value)| *value);
            let expected = match active {
                _ if names.len() < members.len() => Err(AnswerError::Malformed),
                Some("true") => Ok(true),
                Some("false") => Ok(false),
                Some(_) | None => Err(AnswerError::ActiveMissing),
            };
            prop_assert_eq!(read(&format!("{{{}}}", text.join(","))), expected);
        }

        #[test]
        fn never_panics(body in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Answer::from_json(&body);
            let signer = Signer { issuer: ISSUER, audiences: &[], algorithms: Algorithm::ALL };
            let keys = KeySet::parse(KEY.as_bytes()).unwrap();
            prop_assert!(Answer::from_jwt(&body, &signer, &keys, NOW).is_err());
        }
    }

    /// RFC 7517 appendix A.1.
    const KEY: &str = r#"{"keys":[{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}]}"#;
}
