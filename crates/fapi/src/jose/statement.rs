//! A JWT that an issuer signs for the resource server itself: a signed introspection response (RFC 9701 §5) or a
//! security event token (RFC 8417 §2).
//!
//! `typ` distinguishes the kinds (RFC 8725 §3.11), so that neither is accepted as the other or as an access token. The
//! caller judges the age of a statement and its content.

use serde_json::{Map, Value};

use super::claims::{CLOCK_SKEW, audiences, numeric_date};
use super::jws::{Jws, JwsError, NotVerified};
use super::keys::{Algorithm, KeySet};
use crate::UnixTime;
use crate::text::{Names, printable, shown_value, with_kid};

/// The issuer that may sign a statement, and for whom.
#[derive(Clone, Copy, Debug)]
pub struct Signer<'e> {
    /// The exact value of `iss`.
    pub issuer: &'e str,
    /// The values of which `aud` must contain at least one: the resource server's identifiers at the issuer.
    pub audiences: &'e [Box<str>],
    /// The algorithms the issuer may sign with.
    pub algorithms: &'e [Algorithm],
}

/// A kind of statement.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StatementKind {
    /// Its `typ`, without `application/`.
    pub(crate) typ: &'static str,
    /// The maximum size in bytes.
    pub(crate) max_bytes: usize,
}

/// Why a statement is not from the issuer, or not for this resource server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// A JWE.
    #[error("it is encrypted, which is not supported; register it at the issuer as signed only")]
    Encrypted,
    /// Not a compact JWS with one reading, or over the limit.
    #[error("it is not a signed JWT: {0}")]
    Malformed(JwsError),
    /// Another kind of JWT.
    #[error("its typ is {found:?}, expected {expected:?}")]
    TypeWrong {
        /// The type found, truncated and made printable.
        found: Box<str>,
        /// The type expected.
        expected: &'static str,
    },
    /// An algorithm that is not allowed.
    #[error("its alg is {algorithm:?}, expected one of {expected}; register PS256, ES256 or EdDSA at the issuer")]
    AlgorithmRefused {
        /// The name found, truncated and made printable.
        algorithm: Box<str>,
        /// The issuer's algorithms.
        expected: Names,
    },
    /// The key set has no key for it.
    #[error("the issuer has no key{} for its algorithm", with_kid(.key_id.as_deref()))]
    KeyUnknown {
        /// The `kid`, truncated and made printable.
        key_id: Option<Box<str>>,
    },
    /// The key is too small.
    #[error("the issuer's key is below 2048 bits")]
    KeyWeak,
    /// The signature does not verify.
    #[error("its signature is invalid")]
    SignatureInvalid,
    /// Issued by another issuer.
    #[error("its iss is {found:?}, expected {expected:?}")]
    IssuerMismatch {
        /// The issuer found, truncated and made printable.
        found: Box<str>,
        /// The issuer that was asked.
        expected: Box<str>,
    },
    /// Meant for another audience.
    #[error("its aud is {found}, expected one of {expected}")]
    AudienceMismatch {
        /// The audiences found, or what stands in their place, made printable.
        found: Box<str>,
        /// The audiences configured.
        expected: Names,
    },
    /// No usable `iat`.
    #[error("its iat is missing or not a number of seconds")]
    IssuedAtMissing,
    /// Issued in the future.
    #[error("it was issued at {at}, it is {now}")]
    IssuedInFuture {
        /// `iat`.
        at: UnixTime,
        /// The time of the judgement.
        now: UnixTime,
    },
}

impl StatementError {
    /// Whether another version of the issuer's key set could change the outcome.
    pub const fn depends_on_keys(&self) -> bool {
        matches!(self, Self::KeyUnknown { .. } | Self::KeyWeak | Self::SignatureInvalid)
    }
}

impl From<JwsError> for StatementError {
    fn from(error: JwsError) -> Self {
        match error {
            JwsError::Encrypted => Self::Encrypted,
            JwsError::TooLarge { .. } | JwsError::Malformed { .. } | JwsError::CriticalHeader => Self::Malformed(error),
        }
    }
}

/// A statement with a valid signature, from the expected issuer, for the expected audience.
#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) members: Map<String, Value>,
    pub(crate) issued_at: UnixTime,
}

impl Statement {
    /// Verifies a JWT: type, algorithm, key, signature, `iss`, `aud`, and an `iat` at most 10 seconds ahead.
    ///
    /// # Errors
    /// [`StatementError`], for the first check that fails, in this order.
    pub(crate) fn verify(
        text: &str,
        kind: StatementKind,
        signer: &Signer<'_>,
        keys: &KeySet,
        now: UnixTime,
    ) -> Result<Self, StatementError> {
        let jws = Jws::parse(text, kind.max_bytes)?;
        if !jws.is_of_type(kind.typ) {
            return Err(StatementError::TypeWrong { found: printable(jws.type_name()), expected: kind.typ });
        }
        let members = verified_claims(jws, signer.algorithms, keys)?;
        let issuer = members.get("iss").and_then(Value::as_str).unwrap_or_default();
        if issuer != signer.issuer {
            return Err(StatementError::IssuerMismatch { found: printable(issuer), expected: signer.issuer.into() });
        }
        let audiences = audiences(&members);
        let ours = |audience: &&str| signer.audiences.iter().any(|own| **own == **audience);
        if !matches!(&audiences, Ok(Some(audiences)) if audiences.iter().any(ours)) {
            let found = match (members.get("aud"), audiences) {
                (Some(Value::Array(_)), Ok(Some(audiences))) => Names::of(audiences).to_string().into(),
                (other, _) => shown_value(other),
            };
            return Err(StatementError::AudienceMismatch { found, expected: Names::of(signer.audiences) });
        }
        let issued_at = match numeric_date(&members, "iat", f64::floor) {
            Ok(Some(at)) => at,
            Ok(None) | Err(_) => return Err(StatementError::IssuedAtMissing),
        };
        if issued_at > now.plus(CLOCK_SKEW) {
            return Err(StatementError::IssuedInFuture { at: issued_at, now });
        }
        Ok(Self { members, issued_at })
    }
}

/// The claims of a JWT that an issuer has signed with one of these algorithms, and with a key of its set.
///
/// Does not check what the claims say.
///
/// # Errors
/// [`StatementError`], for algorithm, key or signature.
pub(crate) fn verified_claims(
    jws: Jws<'_>,
    algorithms: &[Algorithm],
    keys: &KeySet,
) -> Result<Map<String, Value>, StatementError> {
    let algorithm = jws.algorithm(algorithms).ok_or_else(|| StatementError::AlgorithmRefused {
        algorithm: printable(jws.algorithm_name()),
        expected: Names::of(algorithms.iter().map(|algorithm| algorithm.as_str())),
    })?;
    let key_id = jws.key_id()?.map(str::to_owned);
    jws.verify_with_one_of(keys.candidates(key_id.as_deref(), algorithm)).map_err(|error| match error {
        NotVerified::NoKey => StatementError::KeyUnknown { key_id: key_id.as_deref().map(printable) },
        NotVerified::WeakKey => StatementError::KeyWeak,
        NotVerified::Signature => StatementError::SignatureInvalid,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::testing::{SigningKey, hs256, jwks, unsigned};

    const NOW: UnixTime = UnixTime(1_800_000_000);

    struct Stage {
        key: SigningKey,
        keys: KeySet,
        audiences: Vec<Box<str>>,
    }

    impl Stage {
        fn new(kind: Algorithm) -> Self {
            let key = SigningKey::generate(kind, "a");
            let keys = KeySet::parse(jwks(&[&key]).to_string().as_bytes()).unwrap();
            Self { key, keys, audiences: vec!["gateway".into(), "https://api.example".into()] }
        }

        fn header(&self) -> Value {
            json!({ "typ": "secevent+jwt", "alg": self.key.algorithm(), "kid": "a" })
        }

        /// Judges the good statement with one member of the header or of the claims replaced.
        fn with(&self, header: (&str, Value), claim: (&str, Value)) -> Result<(), StatementError> {
            let (mut head, mut claims) = (self.header(), good());
            for (object, (name, value)) in [(&mut head, header), (&mut claims, claim)] {
                match value {
                    Value::Null => drop(object.as_object_mut().unwrap().remove(name)),
                    Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) | Value::Object(_) => {
                        object[name] = value;
                    }
                }
            }
            self.judge(&self.key.sign(&head, &claims))
        }

        fn judge(&self, text: &str) -> Result<(), StatementError> {
            let kind = StatementKind { typ: "secevent+jwt", max_bytes: 4096 };
            let issuer = "https://as.example";
            let signer = Signer { issuer, audiences: &self.audiences, algorithms: Algorithm::ALL };
            Statement::verify(text, kind, &signer, &self.keys, NOW).map(drop)
        }
    }

    fn good() -> Value {
        json!({ "iss": "https://as.example", "aud": "gateway", "iat": NOW.0 })
    }

    const AS_IT_IS: (&str, Value) = ("unused", Value::Null);

    #[test]
    fn ms_int_05_statements_of_every_algorithm_hold_and_no_forgery_does() {
        for kind in Algorithm::ALL.iter().copied() {
            let stage = Stage::new(kind);
            let header = stage.header();
            let text = stage.key.sign(&header, &good());
            assert_eq!(stage.judge(&text), Ok(()), "{kind:?}"); // control
            let other = SigningKey::generate(kind, "a");
            assert_eq!(stage.judge(&other.sign(&header, &good())), Err(StatementError::SignatureInvalid));
            let (signed, _) = text.rsplit_once('.').unwrap();
            assert_eq!(stage.judge(&format!("{signed}.")), Err(StatementError::SignatureInvalid));
            let unknown = stage.with(("kid", json!("b")), AS_IT_IS);
            assert_eq!(unknown, Err(StatementError::KeyUnknown { key_id: Some("b".into()) }));
            assert_eq!(unknown.unwrap_err().to_string(), r#"the issuer has no key with kid "b" for its algorithm"#);
            assert_eq!(stage.with(("kid", Value::Null), AS_IT_IS), Ok(()), "control: one key needs no name");
        }
        let stage = Stage::new(Algorithm::Ps256);
        for algorithm in ["RS256", "none", "HS256", "PS512", "ps256", ""] {
            let mut header = stage.header();
            header["alg"] = json!(algorithm);
            let expected = Names::of(Algorithm::ALL.iter().map(|algorithm| algorithm.as_str()));
            let refused = Err(StatementError::AlgorithmRefused { algorithm: algorithm.into(), expected });
            assert_eq!(stage.judge(&stage.key.sign(&header, &good())), refused);
            assert_eq!(stage.judge(&unsigned(&header, &good())), refused);
            let secret = stage.key.jwk().to_string();
            assert_eq!(stage.judge(&hs256(secret.as_bytes(), &header, &good())), refused);
        }
    }

    #[test]
    fn a_refusal_says_what_was_found_and_what_would_be_accepted() {
        let stage = Stage::new(Algorithm::Es256);
        let text = |judged: Result<(), StatementError>| judged.map_err(|error| error.to_string());
        assert_eq!(text(stage.with(AS_IT_IS, AS_IT_IS)), Ok(())); // control
        for (header, claim, expected) in [
            (("typ", json!("JWT")), AS_IT_IS, r#"its typ is "JWT", expected "secevent+jwt""#),
            (
                AS_IT_IS,
                ("aud", json!(["x", "y\n"])),
                r#"its aud is ["x", "y?"], expected one of ["gateway", "https://api.example"]"#,
            ),
            (
                AS_IT_IS,
                ("aud", json!(null)),
                r#"its aud is missing, expected one of ["gateway", "https://api.example"]"#,
            ),
            (
                AS_IT_IS,
                ("aud", json!(["gateway", 1])),
                r#"its aud is a list, expected one of ["gateway", "https://api.example"]"#,
            ),
            (
                ("alg", json!("RS256")),
                AS_IT_IS,
                r#"its alg is "RS256", expected one of ["PS256", "ES256", "EdDSA"]; register PS256, ES256 or EdDSA at the issuer"#,
            ),
            (
                AS_IT_IS,
                ("iss", json!("https://x.example")),
                r#"its iss is "https://x.example", expected "https://as.example""#,
            ),
        ] {
            assert_eq!(text(stage.with(header, claim)), Err(expected.to_owned()));
        }
    }

    #[test]
    fn what_another_version_of_the_keys_could_change_is_told_apart() {
        for error in
            [StatementError::KeyUnknown { key_id: None }, StatementError::KeyWeak, StatementError::SignatureInvalid]
        {
            assert!(error.depends_on_keys(), "{error}");
        }
        let audience = StatementError::AudienceMismatch { found: "missing".into(), expected: Names::default() };
        for error in [StatementError::Encrypted, StatementError::IssuedAtMissing, audience] {
            assert!(!error.depends_on_keys(), "{error}"); // control
        }
    }

    #[test]
    fn rfc_8725_3_11_kinds_are_told_apart_by_typ() {
        let stage = Stage::new(Algorithm::Es256);
        for typ in ["secevent+jwt", "application/secevent+jwt", "SecEvent+JWT"] {
            assert_eq!(stage.with(("typ", json!(typ)), AS_IT_IS), Ok(()), "{typ}"); // control
        }
        for typ in [
            json!("at+jwt"),
            json!("JWT"),
            json!("token-introspection+jwt"),
            json!("text/secevent+jwt"),
            json!(1),
            Value::Null,
        ] {
            let judged = stage.with(("typ", typ.clone()), AS_IT_IS);
            assert!(matches!(judged, Err(StatementError::TypeWrong { .. })), "{typ}: {judged:?}");
        }
    }

    #[test]
    fn ms_int_03_is_of_this_issuer_for_this_gateway_and_of_no_future() {
        let stage = Stage::new(Algorithm::Es256);
        let claim = |name: &'static str, value: Value| stage.with(AS_IT_IS, (name, value));
        for audience in [json!("https://api.example"), json!(["x", "gateway"])] {
            assert_eq!(claim("aud", audience), Ok(())); // control
        }
        for audience in [json!("x"), json!(["x"]), json!([]), json!(["gateway", 1]), json!(1), json!({}), Value::Null] {
            let judged = claim("aud", audience.clone());
            assert!(matches!(judged, Err(StatementError::AudienceMismatch { .. })), "{audience}");
        }
        for issuer in [
            json!("https://as.example/"),
            json!("HTTPS://as.example"),
            json!(["https://as.example"]),
            json!(""),
            Value::Null,
        ] {
            let judged = claim("iss", issuer.clone());
            assert!(matches!(judged, Err(StatementError::IssuerMismatch { .. })), "{issuer}");
        }
        for at in [json!(NOW.0 + 10), json!(0), json!(1.5)] {
            assert_eq!(claim("iat", at), Ok(())); // control: the caller judges the age
        }
        for at in [json!("1"), json!(-1), json!(true), json!(1e300), Value::Null] {
            assert_eq!(claim("iat", at.clone()), Err(StatementError::IssuedAtMissing), "{at}");
        }
        let at = UnixTime(NOW.0 + 11);
        assert_eq!(claim("iat", json!(at.0)), Err(StatementError::IssuedInFuture { at, now: NOW }));
    }

    #[test]
    fn ms_int_09_tells_the_encrypted_from_the_broken() {
        let stage = Stage::new(Algorithm::Es256);
        let text = stage.key.sign(&stage.header(), &good());
        assert_eq!(stage.judge(&text), Ok(())); // control
        assert_eq!(stage.judge("a.b.c.d.e"), Err(StatementError::Encrypted));
        assert_eq!(stage.with(("enc", json!("A256GCM")), AS_IT_IS), Err(StatementError::Encrypted));
        for odd in [format!("{text}\n"), format!("{text}=")] {
            assert_eq!(stage.judge(&odd), Err(StatementError::SignatureInvalid), "{odd:?}");
        }
        for odd in [format!(" {text}"), "x".repeat(4097), String::new()] {
            assert!(matches!(stage.judge(&odd), Err(StatementError::Malformed(_))), "{odd:?}");
        }
        let critical = stage.with(("crit", json!(["x"])), AS_IT_IS);
        assert_eq!(critical, Err(StatementError::Malformed(JwsError::CriticalHeader)));
    }

    proptest! {
        #[test]
        fn a_changed_byte_never_holds(place in 0_usize..200, byte in "[A-Za-z0-9_.-]") {
            let stage = Stage::new(Algorithm::EdDsa);
            let text = stage.key.sign(&stage.header(), &good());
            let place = place % text.len();
            let changed = format!("{}{byte}{}", &text[..place], &text[place + 1..]);
            prop_assert_eq!(stage.judge(&changed).is_ok(), changed == text);
        }
    }
}
