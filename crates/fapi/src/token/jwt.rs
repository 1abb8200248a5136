//! Access tokens that are JWTs: parsed strictly, verified with one key, unreadable before that (RFC 9068 §2, RFC 7515
//! §5.2).
//!
//! A key that the header supplies or refers to is never used (RFC 8725 §3.10).

use serde_json::{Map, Value};

use super::active::ActiveToken;
use super::claims::{Expected, check_audience, check_issuer, required_text};
use super::confirmation::Confirmation;
use super::error::TokenError;
use super::hash::{OtherSpellings, TokenHash};
use crate::UnixTime;
use crate::credentials::PresentedToken;
use crate::jose::jws::{Jws, NotVerified};
use crate::jose::keys::{Algorithm, KeySet, VerifyingKey};
use crate::text::printable;

/// A token with the syntax of a JWS; nothing it says is verified.
pub struct UnverifiedJws<'r>(Jws<'r>);

impl<'r> UnverifiedJws<'r> {
    /// Parses a compact JWS of any size ([`check_size`](super::check_size)).
    ///
    /// Does not judge the header, which matters only where the gateway verifies the token ([`Self::check_header`]).
    ///
    /// # Errors
    /// [`TokenError`] for the number of parts, base64url that is padded or not canonical, and ambiguous JSON.
    pub fn parse(token: PresentedToken<'r>) -> Result<Self, TokenError> {
        Ok(Self(Jws::split(token.as_str())?))
    }

    /// Refuses critical extensions, and a `kid` that is not text. [`Self::verify`] begins with this.
    ///
    /// # Errors
    /// [`TokenError::CriticalHeader`], [`TokenError::Malformed`].
    pub fn check_header(&self) -> Result<(), TokenError> {
        self.0.check_header()?;
        self.0.key_id()?;
        Ok(())
    }

    /// The algorithm, if it is one of `allowed`.
    ///
    /// # Errors
    /// [`TokenError::AlgorithmRefused`] for every other name, `none` included.
    pub fn algorithm(&self, allowed: &[Algorithm]) -> Result<Algorithm, TokenError> {
        let name = self.0.algorithm_name();
        Algorithm::from_name(name)
            .filter(|algorithm| allowed.contains(algorithm))
            .ok_or_else(|| TokenError::AlgorithmRefused { algorithm: printable(name) })
    }

    /// The `kid`, for looking up a key and nothing else (RFC 8725 §3.10).
    pub fn key_id(&self) -> Option<&str> {
        self.0.header().get("kid").and_then(Value::as_str)
    }

    /// The unverified `iss`. Use it only to select the configured issuer whose keys verify the token.
    pub fn claimed_issuer(&self) -> Option<&str> {
        self.0.claimed("iss")
    }

    /// Checks that `typ` is `kind` (RFC 8725 §3.11).
    ///
    /// # Errors
    /// [`TokenError::TypeWrong`].
    pub fn expect_type(&self, kind: &str) -> Result<(), TokenError> {
        if self.0.is_of_type(kind) {
            Ok(())
        } else {
            Err(TokenError::TypeWrong { found: printable(self.0.type_name()) })
        }
    }

    /// Verifies the signature with one of `keys`; only then can the payload be read.
    ///
    /// # Errors
    /// Those of [`Self::check_header`]; [`TokenError::KeyUnknown`] without keys, [`TokenError::KeyWeak`] if the last key
    /// tried is too small, [`TokenError::SignatureInvalid`] if no key verifies the signature, or
    /// [`TokenError::KeySupplied`] if the header also names a key of its own.
    pub fn verify<'k>(self, keys: impl Iterator<Item = &'k VerifyingKey>) -> Result<VerifiedJws, TokenError> {
        self.check_header()?;
        let key_id = self.key_id().map(printable);
        // FAPI 2.0 §5.4.2: servers "should not use the JOSE headers x5u and jku"; RFC 8725 §3.10 explains why.
        let supplied = ["jwk", "jku", "x5u", "x5c"].into_iter().find(|name| self.0.header().contains_key(*name));
        match self.0.verify_with_one_of(keys) {
            Ok(payload) => Ok(VerifiedJws { payload }),
            Err(NotVerified::NoKey) => Err(TokenError::KeyUnknown { key_id }),
            Err(NotVerified::WeakKey) => Err(TokenError::KeyWeak),
            Err(NotVerified::Signature) => match supplied {
                Some(member) => Err(TokenError::KeySupplied { member }),
                None => Err(TokenError::SignatureInvalid),
            },
        }
    }
}

/// A JWS whose signature is verified.
pub struct VerifiedJws {
    payload: Map<String, Value>,
}

impl VerifiedJws {
    /// The claims, as signed.
    pub fn into_payload(self) -> Map<String, Value> {
        self.payload
    }
}

impl ActiveToken {
    /// Verifies and judges a JWS (RFC 9068 §4): header, type, algorithm, key, signature, issuer, audience, claims, times.
    ///
    /// # Errors
    /// [`TokenError`], for the first check that fails, in this order.
    pub fn from_jws(
        jws: UnverifiedJws<'_>,
        hash: &TokenHash,
        expected: &Expected,
        keys: &KeySet,
        now: UnixTime,
    ) -> Result<Self, TokenError> {
        jws.check_header()?;
        // RFC 9068 §4: "The resource server MUST verify that the "typ" header value is "at+jwt" or
        // "application/at+jwt" and reject tokens carrying any other value."
        jws.expect_type("at+jwt")?;
        let algorithm = jws.algorithm(&expected.algorithms)?;
        let key_id = jws.key_id().map(str::to_owned);
        let (signed, signature) = jws.0.parts();
        let verified = jws.verify(keys.candidates(key_id.as_deref(), algorithm))?;
        Self::from_claims(verified, (hash, OtherSpellings::of_jws(signed, signature)), expected, now)
    }

    fn from_claims(
        verified: VerifiedJws,
        names: (&TokenHash, OtherSpellings),
        expected: &Expected,
        now: UnixTime,
    ) -> Result<Self, TokenError> {
        let members = verified.into_payload();
        check_issuer(&members, expected)?;
        check_audience(&members, expected)?;
        // RFC 9068 §2.2: these claims are REQUIRED.
        for claim in ["exp", "iat"] {
            if !members.contains_key(claim) {
                return Err(TokenError::ClaimMissing { claim });
            }
        }
        for claim in ["sub", "client_id", "jti"] {
            required_text(&members, claim)?;
        }
        let confirmation = Confirmation::from_claim(members.get("cnf"));
        Self::with_claims(members, confirmation, names, expected, now)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::code::Code;
    use crate::testing::{SigningKey, jwks};
    use crate::token::TokenId;

    fn b64(text: &str) -> String {
        URL_SAFE_NO_PAD.encode(text)
    }

    fn parse(text: &str) -> Result<(), TokenError> {
        UnverifiedJws::parse(PresentedToken::unparsed(text))?.check_header()
    }

    fn token(header: &str) -> String {
        format!("{}.{}.{}", b64(header), b64(r#"{"iss":"a"}"#), b64("signature"))
    }

    #[test]
    fn jwt_08_tells_jws_from_jwe_by_structure() {
        assert!(parse(&token(r#"{"alg":"ES256"}"#)).is_ok()); // control
        assert_eq!(parse("a.b.c.d.e"), Err(TokenError::Encrypted));
        assert_eq!(parse(&token(r#"{"alg":"ES256","enc":"A128GCM"}"#)), Err(TokenError::Encrypted));
        for text in ["", "a", "a.b", "a.b.c.d", "a.b.c.d.e.f", "...", r#"{"payload":"a","signatures":[]}"#] {
            assert!(matches!(parse(text), Err(TokenError::Malformed { .. })), "{text}");
        }
    }

    #[test]
    fn fapi2_cr_12_refuses_second_spellings_of_the_same_bytes() {
        let payload = b64(r#"{"iss":"a"}"#);
        assert!(parse(&format!("e30.{payload}.c2ln")).is_ok()); // control
        for header in ["e30=", "e31", "e3 0", "e3+0", "e30\n"] {
            assert_eq!(
                parse(&format!("{header}.{payload}.c2ln")),
                Err(TokenError::Malformed { part: "header" }),
                "{header}"
            );
        }
    }

    #[test]
    fn fapi2_cr_11_refuses_critical_headers() {
        assert!(parse(&token(r#"{"alg":"ES256","cty":"x"}"#)).is_ok()); // control
        for header in [r#"{"crit":["exp"]}"#, r#"{"crit":[]}"#, r#"{"crit":["b64"],"b64":false}"#, r#"{"b64":true}"#] {
            assert_eq!(parse(&token(header)), Err(TokenError::CriticalHeader), "{header}");
        }
    }

    #[test]
    fn atk_tk_02_a_key_in_the_header_is_never_used() {
        let algorithm = Algorithm::Es256;
        let [key, other] = [SigningKey::generate(algorithm, "a"), SigningKey::generate(algorithm, "a")];
        let set = |key: &SigningKey| KeySet::parse(jwks(&[key]).to_string().as_bytes()).unwrap();
        for member in ["jwk", "jku", "x5u", "x5c"] {
            let token = key.sign(&json!({ "alg": "ES256", member: other.jwk() }), &json!({ "iss": "a" }));
            let verify = |keys: &KeySet| {
                let jws = UnverifiedJws::parse(PresentedToken::unparsed(&token)).unwrap();
                jws.verify(keys.candidates(Some("a"), algorithm)).err()
            };
            assert_eq!(verify(&set(&key)), None, "{member} is no reason to refuse what a configured key verifies");
            assert_eq!(verify(&set(&other)), Some(TokenError::KeySupplied { member }), "not the key that was given");
        }
    }

    #[test]
    fn verification_begins_with_the_header() {
        let verify = |header: &str| {
            let token = token(header);
            let jws = UnverifiedJws::parse(PresentedToken::unparsed(&token)).unwrap();
            jws.verify(std::iter::empty()).err()
        };
        assert_eq!(verify("{}"), Some(TokenError::KeyUnknown { key_id: None })); // control
        assert_eq!(verify(r#"{"crit":["exp"]}"#), Some(TokenError::CriticalHeader));
        assert_eq!(verify(r#"{"kid":1}"#), Some(TokenError::Malformed { part: "header" }));
    }

    const NOW: UnixTime = UnixTime(1_800_000_000);

    /// Judges the good token with these members of header and claims instead of its own; `null` leaves one out. Returns
    /// the ids that it can be revoked by, and those that it should have.
    fn judge(
        key: &SigningKey,
        header: Value,
        claims: Value,
        allowed: &[Algorithm],
    ) -> Result<(Vec<TokenId>, Vec<TokenId>), TokenError> {
        let mut good = [
            json!({ "typ": "at+jwt", "alg": "ES256", "kid": "a" }),
            json!({
                "iss": "https://as.example", "aud": "https://rs.example", "sub": "u", "client_id": "c", "jti": "j",
                "exp": NOW.0 + 300, "iat": NOW.0,
            }),
        ];
        for (good, changes) in good.iter_mut().zip([header, claims]) {
            good.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            good.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        }
        let [header, claims] = good;
        let text = key.sign(&header, &claims);
        let expected = Expected {
            name: "bank".into(),
            issuer: "https://as.example".into(),
            audiences: vec!["https://rs.example".into(), "gateway".into()],
            algorithms: allowed.to_vec(),
        };
        let keys = KeySet::parse(jwks(&[key]).to_string().as_bytes()).unwrap();
        let presented = PresentedToken::unparsed(&text);
        let hash = TokenHash::of(presented);
        let token = ActiveToken::from_jws(UnverifiedJws::parse(presented)?, &hash, &expected, &keys, NOW)?;
        let known = [hash.id()].into_iter().chain(OtherSpellings::of(presented).ids()).collect();
        Ok((token.ids_for_revocation().collect(), known))
    }

    #[test]
    fn atk_tk_16_a_verified_jwt_is_known_by_both_of_its_signatures() {
        let key = SigningKey::generate(Algorithm::Es256, "a");
        let (ids, known) = judge(&key, json!({}), json!({}), Algorithm::ALL).unwrap();
        assert_eq!((ids.len(), ids), (2, known));
    }

    #[test]
    fn at_06_a_jwt_is_judged_by_its_type_algorithm_and_claims() {
        let key = SigningKey::generate(Algorithm::Es256, "a");
        let code = |header: Value, claims: Value, allowed: &[Algorithm]| {
            judge(&key, header, claims, allowed).err().map(|error| error.code())
        };
        assert_eq!(code(json!({}), json!({}), &[Algorithm::Es256]), None); // control
        assert_eq!(code(json!({}), json!({}), &[Algorithm::Ps256]), Some(Code::TokenAlgorithmRefused));
        for (header, expected) in [
            (json!({ "typ": "JWT" }), Code::TokenTypeWrong),
            (json!({ "typ": null }), Code::TokenTypeWrong),
            (json!({ "kid": "b" }), Code::TokenKeyUnknown),
            (json!({ "crit": ["exp"] }), Code::TokenCriticalHeader),
        ] {
            assert_eq!(code(header.clone(), json!({}), Algorithm::ALL), Some(expected), "{header}");
        }
        for (claims, expected) in [
            (json!({ "aud": ["https://other.example", "gateway"] }), None), // control
            (json!({ "exp": NOW.0 + 1 }), None),                            // control
            (json!({ "iss": "https://as.example/" }), Some(Code::TokenIssuerUnknown)),
            (json!({ "aud": "https://rs.example.evil" }), Some(Code::TokenAudienceMismatch)),
            (json!({ "aud": [] }), Some(Code::TokenAudienceMismatch)),
            (json!({ "aud": ["gateway", 1] }), Some(Code::TokenClaimMalformed)),
            (json!({ "exp": NOW.0 }), Some(Code::TokenExpired)),
        ] {
            assert_eq!(code(json!({}), claims.clone(), Algorithm::ALL), expected, "{claims}");
        }
        for claim in ["iss", "aud", "exp", "iat", "sub", "client_id", "jti"] {
            let missing = code(json!({}), json!({ claim: null }), Algorithm::ALL);
            assert_eq!(missing, Some(Code::TokenClaimMissing), "{claim}");
        }
        for claim in ["iss", "sub", "client_id", "jti"] {
            let empty = code(json!({}), json!({ claim: "" }), Algorithm::ALL);
            assert_eq!(empty, Some(Code::TokenClaimMalformed), "{claim}");
        }
    }

    #[test]
    fn jwt_03_the_issuer_that_a_token_names_selects_the_keys() {
        let claimed = |payload: &str| {
            let token = format!("{}.{}.c2ln", b64("{}"), b64(payload));
            let jws = UnverifiedJws::parse(PresentedToken::unparsed(&token)).unwrap();
            jws.claimed_issuer().map(str::to_owned)
        };
        assert_eq!(claimed(r#"{"iss":"https://as.example"}"#).as_deref(), Some("https://as.example"));
        for payload in ["{}", r#"{"iss":1}"#, r#"{"iss":["https://as.example"]}"#] {
            assert_eq!(claimed(payload), None, "{payload}");
        }
    }

    #[test]
    fn at_01_typ_compares_as_a_media_type() {
        let kind = |typ: &str| {
            let token = token(&format!("{{\"typ\":{typ}}}"));
            UnverifiedJws::parse(PresentedToken::unparsed(&token)).unwrap().expect_type("at+jwt").is_ok()
        };
        assert!(
            kind("\"at+jwt\"")
                && kind("\"AT+JWT\"")
                && kind("\"application/at+jwt\"")
                && kind("\"Application/AT+jwt\"")
        );
        for typ in [
            "\"JWT\"",
            "\"\"",
            "null",
            "[\"at+jwt\"]",
            "\"dpop+jwt\"",
            "\"text/at+jwt\"",
            "\"at+jwt;a=b\"",
            "\"application/\"",
        ] {
            assert!(!kind(typ), "{typ}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[A-Za-z0-9_.=+-]{0,200}") {
            let _ = parse(&text);
        }
    }
}
