//! Access tokens that are JWTs: parsed strictly, verified with one key, unreadable before that (RFC 9068 §2, RFC 7515
//! §5.2).
//!
//! A key that the header supplies or refers to is never used (RFC 8725 §3.10).

use std::sync::Arc;

use base64::Engine;
use serde_json::{Map, Value};

use super::active::ActiveToken;
use super::claims::{Expected, check_audience, check_issuer, required_text};
use super::confirmation::Confirmation;
use super::error::{Named, RefusedToken, TokenError};
use super::form::Dispensable;
use super::hash::{LENIENT, TokenHash, TokenIds};
use super::kind::TokenType;
use crate::UnixTime;
use crate::credentials::PresentedToken;
use crate::jose::jws::{Jws, NotVerified};
use crate::jose::keys::{Algorithm, KeySet, RS256, VerifyingKey};
use crate::profile::Period;
use crate::text::{Names, printable, shown_value};

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

    /// Whether a token says that it is a JWS, although it may not be one that [`Self::parse`] can read: it has three
    /// parts, of which the first is the beginning of a JSON object in base64url that names an `alg` (RFC 7515 §3.1,
    /// §4.1.1).
    pub fn is_claimed_by(token: PresentedToken<'_>) -> bool {
        let mut parts = token.as_str().split('.');
        let (Some(header), Some(_), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
            return false;
        };
        let Ok(header) = LENIENT.decode(header) else { return false };
        let text = header.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&header).trim_ascii_start();
        text.starts_with(b"{") && text.windows(ALG.len()).any(|window| window == ALG)
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
        self.0.algorithm(allowed).ok_or_else(|| TokenError::AlgorithmRefused {
            found: shown_value(self.0.header().get("alg")),
            expected: Names::of(allowed.iter().map(|algorithm| algorithm.as_str())),
        })
    }

    /// The `kid`, for looking up a key and nothing else (RFC 8725 §3.10).
    pub fn key_id(&self) -> Option<&str> {
        self.0.header().get("kid").and_then(Value::as_str)
    }

    /// The unverified `iss`. Use it only to select the configured issuer whose keys verify the token.
    pub fn claimed_issuer(&self) -> Option<&str> {
        self.0.claimed("iss")
    }

    /// Whether it has an `iss` that is not `null`, of whatever type.
    pub fn has_issuer(&self) -> bool {
        self.0.states("iss")
    }

    /// Verifies the signature with one of `keys`; only then can the payload be read.
    ///
    /// # Errors
    /// Those of [`Self::check_header`]; [`TokenError::KeyUnknown`] without keys, [`TokenError::KeyWeak`] if the last key
    /// tried is too small, [`TokenError::SignatureInvalid`] if no key verifies the signature, or
    /// [`TokenError::KeySupplied`] if the header also names a key of its own.
    pub fn verify<'k>(self, keys: impl Iterator<Item = &'k VerifyingKey>) -> Result<VerifiedJws, TokenError> {
        self.verified(|jws| jws.verify_with_one_of(keys))
    }

    /// Until when a waiver allows RS256, if that is the algorithm and the waiver holds at `now`.
    ///
    /// # Errors
    /// [`TokenError::WaiverOver`] if it no longer does.
    fn waived(&self, rs256: Option<Period>, now: UnixTime) -> Result<Option<UnixTime>, TokenError> {
        match rs256.filter(|_| self.0.algorithm_name() == RS256) {
            Some(Period { until, .. }) if until <= now => Err(TokenError::WaiverOver { until, now }),
            Some(period) if period.contains(now) => Ok(Some(period.until)),
            Some(_) | None => Ok(None),
        }
    }

    fn verified(
        self,
        verify: impl FnOnce(Jws<'r>) -> Result<Map<String, Value>, NotVerified>,
    ) -> Result<VerifiedJws, TokenError> {
        self.check_header()?;
        let key_id = self.key_id().map(printable);
        // FAPI 2.0 §5.4.2: servers "should not use the JOSE headers x5u and jku"; RFC 8725 §3.10 explains why.
        let supplied = ["jwk", "jku", "x5u", "x5c"].into_iter().find(|name| self.0.header().contains_key(*name));
        match verify(self.0) {
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
    /// Verifies and judges a JWS (RFC 9068 §4): header, type, algorithm, key, signature, kind, issuer, audience, claims,
    /// times.
    ///
    /// A token with RS256 is accepted only while a waiver allows that, and is no longer active after it, cached or not.
    ///
    /// Where the form of the issuer's tokens differs from RFC 9068, the claims become those of RFC 9068: `client_id` is
    /// the client, and `scope` has the scopes.
    ///
    /// # Errors
    /// [`RefusedToken`], for the first check that fails, in this order; with whose token it is once the signature is
    /// verified.
    pub fn from_jws(
        jws: UnverifiedJws<'_>,
        hash: &TokenHash,
        expected: &Expected,
        keys: &KeySet,
        now: UnixTime,
    ) -> Result<Self, RefusedToken> {
        jws.check_header()?;
        // RFC 9068 §4: "The resource server MUST verify that the "typ" header value is "at+jwt" or
        // "application/at+jwt" and reject tokens carrying any other value." Issuers that write another have a form that
        // says so.
        let typ = expected.form.check_type(jws.0.header())?;
        let algorithm = jws.algorithm(&expected.algorithms);
        let key_id = jws.key_id().map(str::to_owned);
        let (signed, signature) = jws.0.parts();
        let (verified, waived_until) = match (algorithm, jws.waived(expected.rs256, now)?) {
            (Ok(algorithm), _) => (jws.verify(keys.candidates(key_id.as_deref(), algorithm))?, None),
            (Err(_), Some(until)) => {
                let candidates = keys.candidates_for_rs256(key_id.as_deref());
                (jws.verified(|jws| jws.verify_rs256_with_one_of(candidates))?, Some(until))
            }
            (Err(refused), None) => return Err(refused.into()),
        };
        let named = Named::of(&verified.payload, expected.form.client_claim(), &expected.name);
        Self::from_claims(verified, typ, TokenIds::of_jws(hash.id(), signed, signature), expected, now)
            .map(|token| token.waived_until(waived_until))
            .map_err(|error| RefusedToken { error, named: Some(Arc::new(named)) })
    }

    fn from_claims(
        verified: VerifiedJws,
        typ: TokenType,
        ids: TokenIds,
        expected: &Expected,
        now: UnixTime,
    ) -> Result<Self, TokenError> {
        let (mut members, form) = (verified.into_payload(), &expected.form);
        form.check_kind(typ, &members)?;
        check_issuer(&members, expected)?;
        check_audience(&members, expected, form.excluded_audience(typ, &members))?;
        // RFC 9068 §2.2: these claims are REQUIRED.
        for claim in ["exp", "iat"] {
            if !members.contains_key(claim) {
                return Err(TokenError::ClaimMissing { claim: claim.into() });
            }
        }
        if members.contains_key("sub") || !form.may_lack(Dispensable::Subject) {
            required_text(&members, "sub")?;
        }
        check_client(&members, form.client_claim())?;
        if members.contains_key("jti") || !form.may_lack(Dispensable::TokenId) {
            required_text(&members, "jti")?;
        }
        form.rename_client(&mut members)?;
        form.rename_scope(&mut members)?;
        let confirmation = Confirmation::from_claim(members.get("cnf"));
        Self::with_claims(members, confirmation, ids, expected, now)
    }
}

/// RFC 9068 §2.2: `client_id` is REQUIRED, or the claim that the issuer has in its place.
fn check_client(members: &Map<String, Value>, claim: &str) -> Result<(), TokenError> {
    match required_text(members, claim) {
        Err(TokenError::ClaimMissing { claim }) if &*claim != "client_id" => Err(TokenError::ClientMissing { claim }),
        read => read.map(drop),
    }
}

const ALG: &[u8] = br#""alg""#;

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::code::Code;
    use crate::testing::{SigningKey, jwks};
    use crate::token::{AccessTokenForm, Differences, ScopeForm, TokenType};

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
    /// the token, and the ids that it should have.
    fn judge(
        key: &SigningKey,
        header: Value,
        claims: Value,
        expected: &Expected,
    ) -> Result<(ActiveToken, TokenIds), TokenError> {
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
        let keys = KeySet::parse(jwks(&[key]).to_string().as_bytes()).unwrap();
        let presented = PresentedToken::unparsed(&text);
        let hash = TokenHash::of(presented);
        let token = ActiveToken::from_jws(UnverifiedJws::parse(presented)?, &hash, expected, &keys, NOW)?;
        Ok((token, TokenIds::of(presented)))
    }

    fn expected() -> Expected {
        let audiences = vec!["https://rs.example".into(), "gateway".into()];
        Expected { audiences, ..crate::testing::expected() }
    }

    #[test]
    fn atk_tk_16_a_verified_jwt_is_known_by_both_of_its_signatures() {
        let key = SigningKey::generate(Algorithm::Es256, "a");
        let (token, known) = judge(&key, json!({}), json!({}), &expected()).unwrap();
        assert_eq!((token.ids().all().count(), token.ids()), (2, known));
    }

    #[test]
    fn rs256_passes_while_it_is_waived_and_neither_before_nor_after() {
        let key = SigningKey::generate(Algorithm::Ps256, "a");
        let keys = KeySet::parse_with_rs256(jwks(&[&key]).to_string().as_bytes()).unwrap();
        let token = |alg: &str, aud: &str| {
            let claims = json!({
                "iss": "https://as.example", "aud": aud, "sub": "u", "client_id": "c", "jti": "j",
                "exp": NOW.0 + 300, "iat": NOW.0,
            });
            key.sign_rs256(&json!({ "typ": "at+jwt", "alg": alg, "kid": "a" }), &claims)
        };
        let judged = |text: &str, rs256: Option<Period>, now: UnixTime| -> Result<ActiveToken, TokenError> {
            let presented = PresentedToken::unparsed(text);
            let expected = Expected { rs256, ..expected() };
            let jws = UnverifiedJws::parse(presented)?;
            Ok(ActiveToken::from_jws(jws, &TokenHash::of(presented), &expected, &keys, now)?)
        };
        let code = |text: &str, rs256, now| judged(text, rs256, now).err().map(|error| error.code());
        let (good, until) = (token("RS256", "gateway"), NOW.plus(100));
        let waived = Some(Period { since: NOW, until });
        assert_eq!(code(&good, waived, NOW), None); // control
        assert_eq!(code(&good, waived, NOW.plus(99)), None);
        let over = || Err(TokenError::WaiverOver { until, now: until });
        assert_eq!(judged(&good, waived, until).map(drop), over());
        let later = Some(Period { since: NOW.plus(1), until });
        for rs256 in [None, later] {
            assert_eq!(code(&good, rs256, NOW), Some(Code::TokenAlgorithmRefused), "{rs256:?}");
        }
        // What was verified before the end, as by a cache, ends with the waiver, and before it expires.
        let cached = judged(&good, waived, NOW).unwrap();
        assert_eq!((cached.ends_at(), cached.expires_at()), (Some(until), Some(NOW.plus(300))));
        assert!(cached.claims_at(NOW.plus(99)).is_ok());
        assert_eq!(cached.claims_at(until).map(drop), over());
        // The waiver is about nothing else.
        assert_eq!(code(&token("RS256", "another"), waived, NOW), Some(Code::TokenAudienceMismatch));
        for alg in ["RS384", "RS512", "none", "HS256", "rs256"] {
            assert_eq!(code(&token(alg, "gateway"), waived, NOW), Some(Code::TokenAlgorithmRefused), "{alg}");
        }
        assert_eq!(code(&token("PS256", "gateway"), waived, NOW), Some(Code::TokenSignatureInvalid));
        let other = SigningKey::generate(Algorithm::Ps256, "a");
        let header = json!({ "typ": "at+jwt", "alg": "RS256", "kid": "a", "jwk": other.jwk() });
        let forged = other.sign_rs256(&header, &json!({ "iss": "https://as.example" }));
        assert_eq!(code(&forged, waived, NOW), Some(Code::TokenKeySupplied));
        // A token with another algorithm depends on no waiver.
        let usual = key.sign(
            &json!({ "typ": "at+jwt", "alg": "PS256", "kid": "a" }),
            &json!({
                "iss": "https://as.example", "aud": "gateway", "sub": "u", "client_id": "c", "jti": "j",
                "exp": NOW.0 + 300, "iat": NOW.0,
            }),
        );
        let usual = judged(&usual, waived, NOW).unwrap();
        assert_eq!(usual.ends_at(), Some(NOW.plus(300)));
        assert!(usual.claims_at(until).is_ok());
    }

    #[test]
    fn at_06_a_jwt_is_judged_by_its_type_algorithm_and_claims() {
        let key = SigningKey::generate(Algorithm::Es256, "a");
        let code = |header: Value, claims: Value, allowed: &[Algorithm]| {
            let expected = Expected { algorithms: allowed.to_vec(), ..expected() };
            judge(&key, header, claims, &expected).err().map(|error| error.code())
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

    /// The tokens of an issuer that writes `JWT` or nothing as `typ`, `use` as the kind, `azp` and a list in `scp`, and
    /// sometimes no `sub` and `jti`.
    fn differing() -> Expected {
        let form = AccessTokenForm::new(Differences {
            types: &[TokenType::AtJwt, TokenType::Jwt, TokenType::Absent],
            kind: Some(("use", &["access".to_owned(), "app".to_owned()])),
            client_claim: "azp",
            scope_claim: "scp",
            scope_form: ScopeForm::List,
            may_lack: &[Dispensable::Subject, Dispensable::TokenId],
        });
        Expected { form: form.unwrap(), ..expected() }
    }

    #[test]
    fn rfc8725_3_12_a_token_of_another_form_is_judged_by_rules_of_its_own() {
        let key = SigningKey::generate(Algorithm::Es256, "a");
        let own = json!({ "client_id": null, "azp": "c", "scp": ["accounts"], "use": "access" });
        let judged = |header: Value, changes: Value| {
            let mut claims = own.clone();
            claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            judge(&key, header, claims, &differing()).map(|(token, _)| token).map_err(|error| error.code())
        };
        let (at_jwt, jwt, absent) = (json!({}), json!({ "typ": "JWT" }), json!({ "typ": null }));
        for header in [&at_jwt, &jwt, &absent] {
            let token = judged(header.clone(), json!({})).unwrap(); // control
            let claims = token.claims_at(NOW).unwrap();
            let read = ["client_id", "azp", "scope"].map(|claim| claims.text(claim));
            assert_eq!(read, [Some("c"), Some("c"), Some("accounts")], "{header}");
            assert_eq!(claims.scopes().collect::<Vec<_>>(), ["accounts"]);
        }
        // (changes, what they lead to with at+jwt, and with JWT and no typ)
        let (kind, audience, malformed, missing) = (
            Some(Code::TokenTypeWrong),
            Some(Code::TokenAudienceMismatch),
            Some(Code::TokenClaimMalformed),
            Some(Code::TokenClaimMissing),
        );
        for (changes, typed, otherwise) in [
            // The kind, which at+jwt says itself.
            (json!({ "use": "app" }), None, None),
            (json!({ "use": "id" }), None, kind),
            (json!({ "use": null }), None, kind),
            (json!({ "use": ["access"] }), None, kind),
            // Claims of other kinds.
            (json!({ "nonce": "n" }), None, kind),
            (json!({ "at_hash": "" }), None, kind),
            (json!({ "c_hash": [] }), None, kind),
            (json!({ "s_hash": false }), None, kind),
            (json!({ "events": {} }), None, kind),
            (json!({ "token_introspection": {} }), None, kind),
            // The client as audience.
            (json!({ "azp": "gateway" }), None, None),
            (json!({ "azp": "gateway", "aud": "gateway" }), None, audience),
            (json!({ "azp": "gateway", "aud": ["gateway"] }), None, audience),
            (json!({ "azp": "gateway", "aud": ["gateway", "other"] }), None, audience),
            (json!({ "azp": "gateway", "aud": ["gateway", "https://rs.example"] }), None, None),
            (json!({ "aud": ["c", "gateway"] }), None, None),
            // The client.
            (json!({ "client_id": "c" }), None, None),
            (json!({ "client_id": "d" }), malformed, malformed),
            (json!({ "azp": null }), missing, missing),
            (json!({ "azp": null, "client_id": "c" }), missing, missing),
            (json!({ "azp": "" }), malformed, malformed),
            (json!({ "azp": ["c"] }), malformed, malformed),
            // The scopes.
            (json!({ "scp": [] }), None, None),
            (json!({ "scp": null }), None, None),
            (json!({ "scp": "accounts" }), malformed, malformed),
            (json!({ "scp": ["accounts payments"] }), malformed, malformed),
            (json!({ "scp": [""] }), malformed, malformed),
            (json!({ "scope": 7 }), None, None),
            // What may be missing may not be anything else.
            (json!({ "sub": null, "jti": null }), None, None),
            (json!({ "sub": "" }), malformed, malformed),
            (json!({ "jti": 7 }), malformed, malformed),
            // What may never be missing.
            (json!({ "exp": null }), missing, missing),
            (json!({ "iat": null }), missing, missing),
            (json!({ "aud": null }), missing, missing),
            (json!({ "iss": null }), missing, missing),
        ] {
            let code = |header: &Value| judged(header.clone(), changes.clone()).err();
            assert_eq!([&at_jwt, &jwt, &absent].map(code), [typed, otherwise, otherwise], "{changes}");
        }
        for typ in ["logout+jwt", "secevent+jwt", "token-introspection+jwt", "dpop+jwt", "rt+jwt", ""] {
            assert_eq!(judged(json!({ "typ": typ }), json!({})).err(), kind, "{typ}");
        }
        assert_eq!(judged(json!({ "typ": 0 }), json!({})).err(), kind);
    }

    #[test]
    fn what_is_not_named_is_that_of_rfc_9068() {
        let key = SigningKey::generate(Algorithm::Es256, "a");
        let kind = ["access".to_owned()];
        let code = |differences: Differences<'_>, header: Value, claims: Value| {
            let expected = Expected { form: AccessTokenForm::new(differences).unwrap(), ..expected() };
            judge(&key, header, claims, &expected).err().map(|error| error.code())
        };
        // Only at+jwt, and a kind that tells these apart.
        let narrowed = Differences { kind: Some(("use", &kind)), ..Differences::NONE };
        for types in [&[TokenType::AtJwt][..], &[TokenType::AtJwt, TokenType::AtJwt]] {
            let narrowed = Differences { types, ..narrowed };
            assert_eq!(code(narrowed, json!({}), json!({ "use": "access", "nonce": "n" })), None); // control
            assert_eq!(code(narrowed, json!({}), json!({ "use": "id" })), Some(Code::TokenTypeWrong));
            assert_eq!(code(narrowed, json!({}), json!({})), Some(Code::TokenTypeWrong));
        }
        // Only JWT: at+jwt is another type.
        let other = Differences { types: &[TokenType::Jwt], ..narrowed };
        assert_eq!(code(other, json!({ "typ": "JWT" }), json!({ "use": "access" })), None); // control
        assert_eq!(code(other, json!({}), json!({ "use": "access" })), Some(Code::TokenTypeWrong));
        assert_eq!(code(other, json!({ "typ": null }), json!({ "use": "access" })), Some(Code::TokenTypeWrong));
        // Only one of both claims may be missing.
        for (claim, may_lack) in [("sub", Dispensable::Subject), ("jti", Dispensable::TokenId)] {
            let may_lack = [may_lack];
            let lacking = Differences { may_lack: &may_lack, ..Differences::NONE };
            let missing = |lacked: &str| code(lacking, json!({}), json!({ lacked: null }));
            assert_eq!(missing(claim), None, "{claim}"); // control
            for other in ["sub", "jti", "client_id"].into_iter().filter(|other| *other != claim) {
                assert_eq!(missing(other), Some(Code::TokenClaimMissing), "{claim} {other}");
            }
        }
    }

    #[test]
    fn jwt_10_two_values_of_what_tells_tokens_apart_are_none() {
        let key = SigningKey::generate(Algorithm::Es256, "a");
        let judged = |header: &str, claims: &str| {
            let good = r#""iss":"https://as.example","aud":"gateway","azp":"c","exp":1800000300,"iat":1800000000"#;
            let signed =
                format!("{}.{}", b64(&format!(r#"{{{header},"alg":"ES256"}}"#)), b64(&format!("{{{good},{claims}}}")));
            let text = format!("{signed}.{}", key.signature(&signed));
            let token = PresentedToken::unparsed(&text);
            let keys = KeySet::parse(jwks(&[&key]).to_string().as_bytes()).unwrap();
            ActiveToken::from_jws(UnverifiedJws::parse(token)?, &TokenHash::of(token), &differing(), &keys, NOW)
                .map(drop)
                .map_err(TokenError::from)
        };
        assert_eq!(judged(r#""typ":"JWT""#, r#""use":"access""#), Ok(())); // control
        let malformed = |part| Err(TokenError::Malformed { part });
        assert_eq!(judged(r#""typ":"at+jwt","typ":"JWT""#, r#""use":"access""#), malformed("header"));
        assert_eq!(judged(r#""typ":"JWT""#, r#""use":"id","use":"access""#), malformed("payload"));
        assert_eq!(judged(r#""typ":"JWT""#, r#""use":"access","\u0075se":"access""#), malformed("payload"));
        assert_eq!(judged(r#""typ":"JWT""#, r#""use":"access","azp":"d""#), malformed("payload"));
    }

    #[test]
    fn a_refusal_says_what_was_found_and_what_would_be_accepted() {
        let key = SigningKey::generate(Algorithm::Es256, "a");
        let text = |expected: &Expected, header: Value, claims: Value| {
            judge(&key, header, claims, expected).err().map(|error| error.to_string()).unwrap_or_default()
        };
        let other = json!({ "use": "access", "azp": "c" });
        assert_eq!(text(&expected(), json!({}), json!({})), ""); // control
        assert_eq!(text(&differing(), json!({}), other.clone()), ""); // control
        let with = |changes: Value| {
            let mut claims = other.clone();
            claims.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            claims
        };
        for (expected, header, claims, wanted) in [
            (expected(), json!({ "typ": "JWT" }), json!({}), r#"typ is "JWT", expected "at+jwt""#),
            (expected(), json!({ "typ": null }), json!({}), r#"typ is missing, expected "at+jwt""#),
            (
                differing(),
                json!({ "typ": "logout+jwt" }),
                other.clone(),
                r#"typ is "logout+jwt", expected "at+jwt", "JWT" or none"#,
            ),
            (
                expected(),
                json!({ "alg": "RS256" }),
                json!({}),
                r#"alg is "RS256", expected one of ["PS256", "ES256", "EdDSA"]"#,
            ),
            (expected(), json!({ "alg": 7 }), json!({}), r#"alg is 7, expected one of ["PS256", "ES256", "EdDSA"]"#),
            (
                expected(),
                json!({}),
                json!({ "iss": "https://as.example/" }),
                r#"iss is "https://as.example/", expected one of ["https://as.example"]"#,
            ),
            (
                expected(),
                json!({}),
                json!({ "aud": ["a\n\"", "b"] }),
                r#"aud is ["a?\"", "b"], expected one of ["https://rs.example", "gateway"]"#,
            ),
            (
                differing(),
                json!({ "typ": "JWT" }),
                with(json!({ "use": "id" })),
                r#"claim "use", which says what kind of token it is, is "id", expected one of ["access", "app"]"#,
            ),
            (
                differing(),
                json!({ "typ": "JWT" }),
                with(json!({ "use": null })),
                r#"claim "use", which says what kind of token it is, is missing, expected one of ["access", "app"]"#,
            ),
            (
                differing(),
                json!({ "typ": "JWT" }),
                with(json!({ "nonce": "secret" })),
                r#"typ is not "at+jwt", and claim "nonce" is one of another kind of token"#,
            ),
            (
                differing(),
                json!({ "typ": "JWT" }),
                with(json!({ "aud": "gateway", "azp": "gateway" })),
                r#"aud is ["gateway"], in which "gateway" is the token's own client and not a resource, expected one of ["https://rs.example", "gateway"]"#,
            ),
            (
                differing(),
                json!({}),
                with(json!({ "client_id": "d" })),
                r#"client_id is "d", and "azp", which names the client, is "c""#,
            ),
            (
                differing(),
                json!({}),
                with(json!({ "azp": null })),
                r#"claim "azp", which the issuer's `access_token.client_id` names, is missing"#,
            ),
            (
                differing(),
                json!({}),
                with(json!({ "scp": "a" })),
                r#"claim "scp" is malformed, expected a list of scopes, each a string without spaces"#,
            ),
        ] {
            assert_eq!(text(&expected, header, claims), wanted);
        }
        assert!(text(&expected(), json!({}), json!({ "iss": "x".repeat(9000) })).len() < 250);
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
    fn a_token_says_that_it_is_a_jws_however_it_is_written() {
        let claimed = |token: &str| UnverifiedJws::is_claimed_by(PresentedToken::unparsed(token));
        let header = |text: &str| format!("{}.e30.c2ln", b64(text));
        let deep = format!(r#"{{"x":{}{},"alg":"ES256"}}"#, "[".repeat(40), "]".repeat(40));
        let twice = r#"{"alg":"ES256","alg":"ES256"}"#;
        for text in [r#"{"alg":"ES256"}"#, "\u{feff}{\"alg\":\"ES256\"}", " {\"alg\" : 1", twice, &deep] {
            assert!(claimed(&header(text)), "{text}");
        }
        assert!(claimed(&format!("{}==.e30.c2ln", b64(r#"{"alg":"ES256" }"#))), "padded");
        for text in [r#"{"user":"u"}"#, "[\"alg\"]", "alg", ""] {
            assert!(!claimed(&header(text)), "{text}");
        }
        let good = header(r#"{"alg":"ES256"}"#);
        for other in ["", "a.b", "v4.public.abc", &good[..good.len() - 5], &format!("{good}.a"), &format!("{good}.a.b")]
        {
            assert!(!claimed(other), "{other}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "[A-Za-z0-9_.=+-]{0,200}") {
            let _ = UnverifiedJws::is_claimed_by(PresentedToken::unparsed(&text));
            let _ = parse(&text);
        }
    }
}
