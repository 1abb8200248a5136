//! One JWS in compact serialization: parsed strictly, verified with one key, unreadable before that (RFC 7515 §5.2).
//!
//! RFC 8725 §3 in types: the algorithm comes from the allow-list and the key, never from the header alone; a header that
//! brings its own key, or extensions that must be understood, ends the matter; duplicate members and second spellings of
//! the same bytes do not parse.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::credentials::PresentedToken;
use super::json::parse_object;
use super::keys::{Algorithm, VerifyingKey};
use super::text::printable;
use super::token::TokenError;

/// A compact JWS, taken apart; nothing it says is known to be true.
pub(crate) struct Jws<'r> {
    signed: &'r str,
    signature: &'r str,
    header: Map<String, Value>,
    payload: Map<String, Value>,
}

/// Why a text is no compact JWS with one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// Over the size limit.
    #[error("it has {bytes} bytes, at most {limit} are looked at")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// Parts, base64url or JSON.
    #[error("its {part} is malformed")]
    Malformed {
        /// Which part.
        part: &'static str,
    },
    /// A JWE.
    #[error("it is encrypted")]
    Encrypted,
    /// `crit` or `b64`.
    #[error("its header has an extension that must be understood")]
    CriticalHeader,
}

impl<'r> Jws<'r> {
    /// Takes a compact JWS apart.
    pub(crate) fn parse(text: &'r str, limit: usize) -> Result<Self, JwsError> {
        if text.len() > limit {
            return Err(JwsError::TooLarge { bytes: text.len(), limit });
        }
        let mut parts = text.split('.');
        let (Some(header), Some(payload), Some(signature)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(JwsError::Malformed { part: "serialization" });
        };
        match parts.count() {
            0 => {}
            // RFC 7516 §3.1: a compact JWE has five parts.
            2 => return Err(JwsError::Encrypted),
            _ => return Err(JwsError::Malformed { part: "serialization" }),
        }
        let header = part(header, "header")?;
        // RFC 7515 §4.1.11: "If any of the listed extension Header Parameters are not understood and supported by the
        // recipient, then the JWS is invalid." None is; `b64` without `crit` would change what was signed (RFC 7797 §6).
        if header.contains_key("crit") || header.contains_key("b64") {
            return Err(JwsError::CriticalHeader);
        }
        if header.contains_key("enc") {
            return Err(JwsError::Encrypted);
        }
        let payload = part(payload, "payload")?;
        let signed = text.len().saturating_sub(signature.len()).saturating_sub(1);
        let signed = text.get(..signed).ok_or(JwsError::Malformed { part: "serialization" })?;
        Ok(Self { signed, signature, header, payload })
    }

    pub(crate) const fn header(&self) -> &Map<String, Value> {
        &self.header
    }

    /// The name of the algorithm; empty when there is none, which no allow-list has.
    pub(crate) fn algorithm_name(&self) -> &str {
        self.header.get("alg").and_then(Value::as_str).unwrap_or_default()
    }

    /// The `typ`, or nothing.
    pub(crate) fn type_name(&self) -> &str {
        self.header.get("typ").and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether it is of `kind`, compared as a media type: without case, with or without `application/` (RFC 7515 §4.1.9).
    pub(crate) fn is_of_type(&self, kind: &str) -> bool {
        let found = self.type_name();
        let short = match found.split_at_checked("application/".len()) {
            Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
            Some(_) | None => found,
        };
        short.eq_ignore_ascii_case(kind)
    }

    /// What it says of itself under this name, if that is text. A claim, not a fact: use it to find the one to ask.
    pub(crate) fn claimed(&self, name: &str) -> Option<&str> {
        self.payload.get(name).and_then(Value::as_str)
    }

    /// The payload, if `key` signed it.
    pub(crate) fn verify(self, key: &VerifyingKey) -> Option<Map<String, Value>> {
        key.verifies(self.signed.as_bytes(), self.signature).then_some(self.payload)
    }

    /// The payload, if one of the first of `keys` signed it.
    pub(crate) fn verify_with_one_of<'k>(
        self,
        keys: impl Iterator<Item = &'k VerifyingKey>,
    ) -> Result<Map<String, Value>, NotVerified> {
        let mut failure = NotVerified::NoKey;
        // RFC 7515 allows a set to hold many keys without `kid`; a stranger does not get to choose how many we try.
        for key in keys.take(4) {
            if key.is_weak() {
                failure = NotVerified::WeakKey;
            } else if key.verifies(self.signed.as_bytes(), self.signature) {
                return Ok(self.payload);
            } else {
                failure = NotVerified::Signature;
            }
        }
        Err(failure)
    }

    /// The `kid`: a name to look a key up with, nothing else (RFC 8725 §3.10). A wrong type is never the same as absence.
    pub(crate) fn key_id(&self) -> Result<Option<&str>, JwsError> {
        match self.header.get("kid") {
            None => Ok(None),
            Some(Value::String(kid)) => Ok(Some(kid)),
            Some(_) => Err(JwsError::Malformed { part: "header" }),
        }
    }
}

/// Why no key verified a JWS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotVerified {
    /// There was none to try.
    NoKey,
    /// The only ones are below 2048 bits.
    WeakKey,
    /// None of them signed it.
    Signature,
}

/// A token that has the form of a JWS; nothing it says is known to be true.
pub struct UnverifiedJws<'r>(Jws<'r>);

/// The largest token that is looked at.
pub const MAX_TOKEN_BYTES: usize = 16 * 1024;

impl<'r> UnverifiedJws<'r> {
    /// Takes a compact JWS apart.
    ///
    /// # Errors
    /// [`TokenError`] for size, number of parts, base64url that is padded or not canonical, JSON that is ambiguous, and
    /// headers that bring keys or critical extensions.
    pub fn parse(token: PresentedToken<'r>) -> Result<Self, TokenError> {
        let jws = Jws::parse(token.as_str(), MAX_TOKEN_BYTES)?;
        // FAPI 2.0 §5.4.2: servers "should not use the JOSE headers x5u and jku"; RFC 8725 §3.10 says why.
        if let Some(member) = ["jwk", "jku", "x5u", "x5c"].into_iter().find(|name| jws.header.contains_key(*name)) {
            return Err(TokenError::KeySupplied { member });
        }
        jws.key_id()?;
        Ok(Self(jws))
    }

    /// The algorithm, if it is one of FAPI's and of `allowed`.
    ///
    /// # Errors
    /// [`TokenError::AlgorithmRefused`] for every other name, `none` included.
    pub fn algorithm(&self, allowed: &[Algorithm]) -> Result<Algorithm, TokenError> {
        let name = self.0.algorithm_name();
        Algorithm::from_name(name)
            .filter(|algorithm| allowed.contains(algorithm))
            .ok_or_else(|| TokenError::AlgorithmRefused { algorithm: printable(name) })
    }

    /// The `kid`: a name to look a key up with, nothing else (RFC 8725 §3.10).
    pub fn key_id(&self) -> Option<&str> {
        self.0.header.get("kid").and_then(Value::as_str)
    }

    /// Says which configured issuer to ask. A claim, not a fact: use it for nothing else.
    pub fn claimed_issuer(&self) -> Option<&str> {
        self.0.claimed("iss")
    }

    /// Refuses any JWT that is not of `kind` (RFC 8725 §3.11).
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

    /// Verifies with the first of `keys` that fits; then, and only then, the payload can be read.
    ///
    /// # Errors
    /// [`TokenError::KeyUnknown`] without candidates, [`TokenError::KeyWeak`] if the only ones are too small,
    /// [`TokenError::SignatureInvalid`] if none verifies.
    pub fn verify<'k>(self, keys: impl Iterator<Item = &'k VerifyingKey>) -> Result<VerifiedJws, TokenError> {
        let key_id = self.key_id().map(printable);
        match self.0.verify_with_one_of(keys) {
            Ok(payload) => Ok(VerifiedJws { payload }),
            Err(NotVerified::NoKey) => Err(TokenError::KeyUnknown { key_id }),
            Err(NotVerified::WeakKey) => Err(TokenError::KeyWeak),
            Err(NotVerified::Signature) => Err(TokenError::SignatureInvalid),
        }
    }
}

/// A JWS whose signature holds under a key that was given.
pub struct VerifiedJws {
    payload: Map<String, Value>,
}

impl VerifiedJws {
    /// The claims, as signed.
    pub fn into_payload(self) -> Map<String, Value> {
        self.payload
    }
}

/// One part: canonical base64url without padding, then JSON (RFC 7515 §2; RFC 4648 §3.5 for the last bits).
fn part(text: &str, name: &'static str) -> Result<Map<String, Value>, JwsError> {
    let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| JwsError::Malformed { part: name })?;
    parse_object(&bytes).map_err(|_| JwsError::Malformed { part: name })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn b64(text: &str) -> String {
        URL_SAFE_NO_PAD.encode(text)
    }

    fn parse(text: &str) -> Result<(), TokenError> {
        UnverifiedJws::parse(PresentedToken::unparsed(text)).map(drop)
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
    fn atk_tk_02_refuses_headers_that_bring_a_key() {
        assert!(parse(&token(r#"{"kid":"a","x5t":"b"}"#)).is_ok()); // control
        for member in ["jwk", "jku", "x5u", "x5c"] {
            assert_eq!(parse(&token(&format!("{{\"{member}\":\"x\"}}"))), Err(TokenError::KeySupplied { member }));
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

    #[test]
    fn refuses_tokens_over_the_size_limit() {
        let fill = |bytes: usize| {
            let token = token(r#"{"alg":"ES256"}"#);
            format!("{token}{}", "A".repeat(bytes - token.len()))
        };
        assert!(parse(&fill(MAX_TOKEN_BYTES)).is_ok()); // control
        assert_eq!(parse(&fill(MAX_TOKEN_BYTES + 1)), Err(TokenError::TooLarge { bytes: MAX_TOKEN_BYTES + 1 }));
    }

    proptest! {
        #[test]
        fn never_panics(text in "[A-Za-z0-9_.=+-]{0,200}") {
            let _ = parse(&text);
        }

        #[test]
        fn what_parses_is_its_own_only_spelling(header in "\\{\"a\":\"[a-z]{0,9}\"\\}", payload in "\\{\"iss\":\"[a-z]{0,9}\"\\}") {
            let text = format!("{}.{}.c2ln", b64(&header), b64(&payload));
            let token = PresentedToken::unparsed(&text);
            let jws = UnverifiedJws::parse(token).unwrap();
            prop_assert_eq!(format!("{}.{}", jws.0.signed, jws.0.signature), text.clone());
            prop_assert_eq!(b64(&serde_json::to_string(&jws.0.payload).unwrap()), b64(&payload));
        }
    }
}
