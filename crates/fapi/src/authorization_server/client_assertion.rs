//! `private_key_jwt`: a client that authenticates with a JWT of its own (RFC 7523 §3, FAPI 2.0 §5.3.2.1).
//!
//! The same rules as for a client that the gateway plays itself ([`crate::client::assertion`]), from the other side. A verified
//! assertion still has to be used for the first time: the caller asks the replay log with [`VerifiedAssertion::id`].

use serde_json::{Map, Value};

use super::parameters::Parameters;
use super::rules::{Rules, ServerProfile};
use crate::UnixTime;
use crate::dpop::ProofId;
use crate::jose::claims::{CLOCK_SKEW, numeric_date};
use crate::jose::jws::{Jws, JwsError, NotVerified};
use crate::jose::keys::{Algorithm, KeySet};
use crate::profile::Period;
use crate::text::{Names, printable, shown_value, with_kid};

/// RFC 7523 §2.2: what `client_assertion_type` says.
pub const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// The longest assertion that is read, in bytes.
pub const MAX_BYTES: usize = 16 * 1024;
/// How far ahead an assertion may expire, in seconds, by the clock of the client: until then its use is remembered.
pub const MAX_LIFETIME: u64 = 60 * 60;

/// Why a client is not authenticated by its assertion.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssertionError {
    /// One of the two parameters is missing, or `client_assertion_type` is another.
    #[error("client_assertion and client_assertion_type do not belong together: {why}")]
    Incomplete {
        /// What is wrong.
        why: &'static str,
    },
    /// It is no JWS with one reading.
    #[error("the client assertion is not a signed JWT: {0}")]
    Malformed(#[from] JwsError),
    /// It is another kind of JWT (RFC 8725 §3.11).
    #[error("the typ of the client assertion is {found:?}, expected none, \"JWT\" or \"client-authentication+jwt\"")]
    TypeWrong {
        /// The type, truncated and made printable.
        found: Box<str>,
    },
    /// It is signed with an algorithm that the client may not use (FAPI 2.0 §5.4.1).
    #[error("the alg of the client assertion is {found:?}, expected one of {expected}")]
    AlgorithmRefused {
        /// The name, truncated and made printable.
        found: Box<str>,
        /// The algorithms of the client.
        expected: Names,
    },
    /// The client has registered no such key.
    #[error("the client has no key{} for the algorithm of its assertion", with_kid(.key_id.as_deref()))]
    KeyUnknown {
        /// The `kid`, truncated and made printable.
        key_id: Option<Box<str>>,
    },
    /// The key is below 2048 bits.
    #[error("the key of the client assertion is below 2048 bits")]
    KeyWeak,
    /// The signature does not verify.
    #[error("the signature of the client assertion is invalid")]
    SignatureInvalid,
    /// `iss`, `sub` or `client_id` is another client.
    #[error("{what} of the client assertion is {found}, expected the client's id, {expected:?}")]
    ClientMismatch {
        /// Which of them.
        what: &'static str,
        /// What it is, made printable.
        found: Box<str>,
        /// The client's id.
        expected: Box<str>,
    },
    /// FAPI 2.0 §5.3.2.1 (8): it is meant for somebody else, or for several.
    #[error("the aud of the client assertion is {found}, expected the issuer as a string, {expected:?}")]
    AudienceMismatch {
        /// What it is, made printable.
        found: Box<str>,
        /// The issuer.
        expected: Box<str>,
    },
    /// A time is missing or none.
    #[error("{claim} of the client assertion is missing or not a number of seconds")]
    TimeMalformed {
        /// Which of them.
        claim: &'static str,
    },
    /// It has expired.
    #[error("the client assertion expired at {at}, it is {now}")]
    Expired {
        /// `exp`.
        at: UnixTime,
        /// The time of the judgement.
        now: UnixTime,
    },
    /// It expires later than its use is remembered.
    #[error("the client assertion expires at {at}, more than an hour from now, {now}")]
    TooLong {
        /// `exp`.
        at: UnixTime,
        /// The time of the judgement.
        now: UnixTime,
    },
    /// `iat` or `nbf` is in the future.
    #[error("{claim} of the client assertion is {at}, it is {now}")]
    NotYet {
        /// Which of them.
        claim: &'static str,
        /// The time it has.
        at: UnixTime,
        /// The time of the judgement.
        now: UnixTime,
    },
    /// `jti` is missing, empty or not text.
    #[error("jti of the client assertion is missing, empty or not text")]
    IdMalformed,
}

impl AssertionError {
    /// Whether another version of the client's key set could change the outcome.
    pub const fn depends_on_keys(&self) -> bool {
        matches!(self, Self::KeyUnknown { .. } | Self::KeyWeak | Self::SignatureInvalid)
    }
}

/// The client that is registered by this id, as far as assertions go.
#[derive(Clone, Copy, Debug)]
pub struct AssertingClient<'c> {
    /// Its id.
    pub id: &'c str,
    /// Its keys.
    pub keys: &'c KeySet,
    /// The algorithms that it may sign with.
    pub algorithms: &'c [Algorithm],
}

/// Which audiences a client assertion may have.
#[derive(Clone, Copy, Debug)]
pub struct Audiences<'r> {
    /// The issuer, which FAPI 2.0 has as the only one, and as a string.
    pub issuer: &'r str,
    /// The endpoints, under FAPI 1.0 and while the rule is waived, when `aud` may be an array as well (RFC 7523 §3 (3)).
    pub endpoints: Option<&'r [Box<str>]>,
}

impl<'r> Audiences<'r> {
    /// Those of a server with these rules at this time.
    pub(super) fn of(rules: &'r Rules, now: UnixTime) -> Self {
        let has_others = Period::suspends(rules.audience_waived, now) || rules.profile == ServerProfile::Fapi1Advanced;
        let endpoints = has_others.then_some(&*rules.endpoint_audiences);
        Self { issuer: &rules.issuer, endpoints }
    }

    /// Whether it is the issuer or one of its endpoints.
    fn has(&self, audience: &str, endpoints: &[Box<str>]) -> bool {
        audience == self.issuer || endpoints.iter().any(|endpoint| **endpoint == *audience)
    }
}

/// An assertion that a client has signed for this issuer, and that is valid now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedAssertion {
    id: ProofId,
    made_at: UnixTime,
    forget_after: UnixTime,
}

impl VerifiedAssertion {
    /// What the replay log knows it by.
    pub const fn id(&self) -> ProofId {
        self.id
    }

    /// When it was made, or the earliest time at which it can have been made: it was not used before.
    pub const fn made_at(&self) -> UnixTime {
        self.made_at
    }

    /// Checks again that it is valid, after a delay such as that of reading keys.
    ///
    /// # Errors
    /// [`AssertionError::Expired`].
    pub fn check_still_valid(&self, now: UnixTime) -> Result<(), AssertionError> {
        if now < self.forget_after {
            return Ok(());
        }
        Err(AssertionError::Expired { at: UnixTime(self.forget_after.0.saturating_sub(CLOCK_SKEW)), now })
    }

    /// From when on no request passes with it.
    pub const fn forget_after(&self) -> UnixTime {
        self.forget_after
    }
}

/// The assertion among the parameters, if there is one.
///
/// # Errors
/// [`AssertionError::Incomplete`].
pub fn presented<'p>(parameters: &'p Parameters<'_>) -> Result<Option<&'p str>, AssertionError> {
    match (parameters.get("client_assertion"), parameters.get("client_assertion_type")) {
        (None, None) => Ok(None),
        (Some(assertion), Some(TYPE)) => Ok(Some(assertion)),
        (Some(_), Some(_)) => Err(AssertionError::Incomplete { why: "the type is another than that of a JWT" }),
        (Some(_), None) => Err(AssertionError::Incomplete { why: "the type is missing" }),
        (None, Some(_)) => Err(AssertionError::Incomplete { why: "there is a type and no assertion" }),
    }
}

/// The client that an assertion claims to be of. Use it only to find the keys that verify it.
///
/// # Errors
/// [`AssertionError::Malformed`].
pub fn claimed_client(assertion: &str) -> Result<Option<Box<str>>, AssertionError> {
    Ok(Jws::parse(assertion, MAX_BYTES)?.claimed("sub").map(Into::into))
}

/// Verifies an assertion: type, algorithm, key, signature, `iss`, `sub`, `aud`, times and `jti`.
///
/// `client_id` is the parameter of that name, which a client may leave out (RFC 7521 §4.2).
///
/// # Errors
/// [`AssertionError`], for the first check that fails, in this order.
pub fn verify(
    assertion: &str,
    client: &AssertingClient<'_>,
    client_id: Option<&str>,
    audiences: &Audiences<'_>,
    now: UnixTime,
) -> Result<VerifiedAssertion, AssertionError> {
    let jws = Jws::parse(assertion, MAX_BYTES)?;
    check_type(&jws)?;
    let algorithm = algorithm(&jws, client.algorithms)?;
    let key_id = jws.key_id()?.map(str::to_owned);
    let keys = client.keys.candidates(key_id.as_deref(), algorithm);
    let claims = jws.verify_with_one_of(keys).map_err(|error| match error {
        NotVerified::NoKey => AssertionError::KeyUnknown { key_id: key_id.as_deref().map(printable) },
        NotVerified::WeakKey => AssertionError::KeyWeak,
        NotVerified::Signature => AssertionError::SignatureInvalid,
    })?;
    let times = check_claims(&claims, client.id, client_id, audiences, now)?;
    let id = claims.get("jti").and_then(Value::as_str).filter(|id| !id.is_empty());
    let id = ProofId::of_assertion(audiences.issuer, client.id, id.ok_or(AssertionError::IdMalformed)?);
    Ok(VerifiedAssertion { id, made_at: times.made_at, forget_after: times.expires.plus(CLOCK_SKEW) })
}

/// Checks what an assertion says, without its signature: whose keys verify it is not known.
///
/// # Errors
/// [`AssertionError`], as [`verify`] does but for algorithms other than those of FAPI, keys and signature.
pub fn check_unverified(
    assertion: &str,
    client: &str,
    client_id: Option<&str>,
    audiences: &Audiences<'_>,
    now: UnixTime,
) -> Result<(), AssertionError> {
    let jws = Jws::parse(assertion, MAX_BYTES)?;
    check_type(&jws)?;
    algorithm(&jws, Algorithm::ALL)?;
    let claims = jws.into_unverified_payload();
    check_claims(&claims, client, client_id, audiences, now)?;
    let has_id = claims.get("jti").and_then(Value::as_str).is_some_and(|id| !id.is_empty());
    if has_id { Ok(()) } else { Err(AssertionError::IdMalformed) }
}

fn check_type(jws: &Jws<'_>) -> Result<(), AssertionError> {
    if jws.may_be_of_type(&["JWT", "client-authentication+jwt"]) {
        return Ok(());
    }
    Err(AssertionError::TypeWrong { found: printable(jws.type_name()) })
}

fn algorithm(jws: &Jws<'_>, allowed: &[Algorithm]) -> Result<Algorithm, AssertionError> {
    jws.algorithm(allowed).ok_or_else(|| AssertionError::AlgorithmRefused {
        found: printable(jws.algorithm_name()),
        expected: Names::of(allowed.iter().map(|algorithm| algorithm.as_str())),
    })
}

/// Checks `iss`, `sub`, `client_id`, `aud` and the times.
fn check_claims(
    claims: &Map<String, Value>,
    client: &str,
    client_id: Option<&str>,
    audiences: &Audiences<'_>,
    now: UnixTime,
) -> Result<Times, AssertionError> {
    let mismatch = |what, found| Err(AssertionError::ClientMismatch { what, found, expected: client.into() });
    for what in ["iss", "sub"] {
        if claims.get(what).and_then(Value::as_str) != Some(client) {
            return mismatch(what, shown_value(claims.get(what)));
        }
    }
    if let Some(other) = client_id.filter(|id| *id != client) {
        return mismatch("the parameter client_id beside the sub", format!("{:?}", printable(other)).into());
    }
    let named = match (claims.get("aud"), audiences.endpoints) {
        // Several audiences would let each of them use it at the others.
        (Some(Value::String(audience)), None) => audience == audiences.issuer,
        (Some(Value::String(audience)), Some(endpoints)) => audiences.has(audience, endpoints),
        (Some(Value::Array(several)), Some(endpoints)) => {
            several.iter().filter_map(Value::as_str).any(|audience| audiences.has(audience, endpoints))
        }
        (_, _) => false,
    };
    if !named {
        let found = match claims.get("aud") {
            Some(Value::Array(_)) => "an array".into(),
            other => shown_value(other),
        };
        return Err(AssertionError::AudienceMismatch { found, expected: audiences.issuer.into() });
    }
    check_times(claims, now)
}

/// When an assertion was made, and until when it is valid.
struct Times {
    made_at: UnixTime,
    expires: UnixTime,
}

/// Checks `exp`, `iat` and `nbf`.
fn check_times(claims: &Map<String, Value>, now: UnixTime) -> Result<Times, AssertionError> {
    let time = |claim, round| numeric_date(claims, claim, round).map_err(|_| AssertionError::TimeMalformed { claim });
    let at = time("exp", f64::floor)?.ok_or(AssertionError::TimeMalformed { claim: "exp" })?;
    if at.plus(CLOCK_SKEW) <= now {
        return Err(AssertionError::Expired { at, now });
    }
    // Authlib's are valid for an hour unless it is told otherwise, by a clock that may be ahead.
    if at > now.plus(MAX_LIFETIME).plus(CLOCK_SKEW) {
        return Err(AssertionError::TooLong { at, now });
    }
    for claim in ["iat", "nbf"] {
        if let Some(at) = time(claim, f64::ceil)?.filter(|at| *at > now.plus(CLOCK_SKEW)) {
            return Err(AssertionError::NotYet { claim, at, now });
        }
    }
    // Without `iat`, it was not used before its `nbf`, or made no earlier than its longest lifetime allows.
    let earliest = UnixTime(at.0.saturating_sub(MAX_LIFETIME).saturating_sub(CLOCK_SKEW));
    let not_before = time("nbf", f64::floor)?;
    let made_at = time("iat", f64::floor)?.or(not_before).unwrap_or(earliest);
    Ok(Times { made_at, expires: at })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::{SigningKey, hs256, jwks, unsigned, with_members};

    const NOW: UnixTime = UnixTime(1_800_000_000);
    const ISSUER: &str = "https://as.example";
    const CLIENT: &str = "client-1";

    struct Stage {
        key: SigningKey,
        keys: KeySet,
    }

    impl Stage {
        fn new(kind: Algorithm) -> Self {
            let key = SigningKey::generate(kind, "a");
            let keys = KeySet::parse(jwks(&[&key]).to_string().as_bytes()).unwrap();
            Self { key, keys }
        }

        fn header(&self) -> Value {
            json!({ "typ": "JWT", "alg": self.key.algorithm(), "kid": "a" })
        }

        fn judge(&self, assertion: &str, client_id: Option<&str>) -> Result<VerifiedAssertion, AssertionError> {
            let client = AssertingClient { id: CLIENT, keys: &self.keys, algorithms: Algorithm::ALL };
            verify(assertion, &client, client_id, &Audiences { issuer: ISSUER, endpoints: None }, NOW)
        }

        /// Judges the good assertion with one claim replaced, or removed by `null`.
        fn with(&self, claim: &str, value: Value) -> Result<VerifiedAssertion, AssertionError> {
            self.judge(&self.key.sign(&self.header(), &with_members(good(), &json!({ claim: value }))), None)
        }

        /// The same with one member of the header.
        fn with_header(&self, member: &str, value: Value) -> Result<VerifiedAssertion, AssertionError> {
            self.judge(&self.key.sign(&with_members(self.header(), &json!({ member: value })), &good()), None)
        }
    }

    fn good() -> Value {
        json!({ "iss": CLIENT, "sub": CLIENT, "aud": ISSUER, "jti": "1", "iat": NOW.0, "exp": NOW.0 + 60 })
    }

    #[test]
    fn fapi2_as_38_a_client_is_known_by_what_it_has_signed() {
        for kind in [Algorithm::Es256, Algorithm::Ps256, Algorithm::EdDsa] {
            let stage = Stage::new(kind);
            let assertion = stage.key.sign(&stage.header(), &good());
            for client_id in [None, Some(CLIENT)] {
                let verified = stage.judge(&assertion, client_id).unwrap();
                assert_eq!(verified.forget_after(), NOW.plus(70));
                assert_eq!(verified.id(), ProofId::of_assertion(ISSUER, CLIENT, "1"));
            }
            let other = stage.judge(&assertion, Some("client-2")).unwrap_err();
            assert!(matches!(other, AssertionError::ClientMismatch { .. }), "{other}");
        }
    }

    #[test]
    fn fapi2_as_07_the_audience_is_the_issuer_as_a_string() {
        let stage = Stage::new(Algorithm::Es256);
        assert!(stage.with("aud", json!(ISSUER)).is_ok(), "control");
        for aud in [
            json!([ISSUER]),
            json!([ISSUER, "https://other.example"]),
            json!("https://as.example/"),
            json!("https://as.example/token"),
            json!("HTTPS://as.example"),
            json!(""),
            json!(1),
            Value::Null,
        ] {
            let error = stage.with("aud", aud.clone()).unwrap_err();
            assert!(matches!(error, AssertionError::AudienceMismatch { .. }), "{aud}: {error}");
        }
    }

    #[test]
    fn fapi2_as_38_iss_and_sub_are_the_client() {
        let stage = Stage::new(Algorithm::Es256);
        for claim in ["iss", "sub"] {
            for value in [json!("client-2"), json!(["client-1"]), json!(""), json!(7), Value::Null] {
                let error = stage.with(claim, value.clone()).unwrap_err();
                assert!(
                    matches!(error, AssertionError::ClientMismatch { what, .. } if what == claim),
                    "{claim} {value}: {error}"
                );
            }
        }
    }

    #[test]
    fn fapi2_as_12_times_may_be_ten_seconds_ahead_and_no_more() {
        let stage = Stage::new(Algorithm::Es256);
        for claim in ["iat", "nbf"] {
            assert!(stage.with(claim, json!(NOW.0 + 10)).is_ok(), "control: {claim}");
            assert!(stage.with(claim, Value::Null).is_ok(), "{claim} is optional");
            for ahead in [11, 60, 65] {
                let error = stage.with(claim, json!(NOW.0 + ahead)).unwrap_err();
                assert!(matches!(error, AssertionError::NotYet { .. }), "{claim} {ahead}: {error}");
            }
        }
        assert!(matches!(stage.with("iat", json!(NOW.0 as f64 + 10.5)), Err(AssertionError::NotYet { .. })));
        for (exp, good) in [(NOW.0 - 9, true), (NOW.0 - 10, false), (NOW.0 + 3610, true), (NOW.0 + 3611, false)] {
            assert_eq!(stage.with("exp", json!(exp)).is_ok(), good, "{exp}");
        }
        assert_eq!(stage.with("iat", json!(NOW.0 - 5)).unwrap().made_at(), UnixTime(NOW.0 - 5));
        let without = with_members(good(), &json!({ "exp": NOW.0 + 3610, "iat": null }));
        let verified = stage.judge(&stage.key.sign(&stage.header(), &without), None).unwrap();
        assert_eq!(verified.made_at(), NOW, "no assertion that passed earlier has this expiry");
        for claim in ["exp", "iat", "nbf"] {
            for value in [json!("1800000060"), json!(-1), json!([]), json!(1e300)] {
                let error = stage.with(claim, value.clone()).unwrap_err();
                assert_eq!(error, AssertionError::TimeMalformed { claim }, "{value}");
            }
        }
        assert_eq!(stage.with("exp", Value::Null), Err(AssertionError::TimeMalformed { claim: "exp" }));
    }

    #[test]
    fn fapi2_as_38_an_assertion_has_an_id_that_is_the_clients_own() {
        let stage = Stage::new(Algorithm::Es256);
        for jti in [json!(""), json!(1), json!(["1"]), Value::Null] {
            assert_eq!(stage.with("jti", jti.clone()), Err(AssertionError::IdMalformed), "{jti}");
        }
        let of = ProofId::of_assertion;
        let first = of(ISSUER, CLIENT, "1");
        assert_eq!(first, of(ISSUER, CLIENT, "1"));
        for other in [of(ISSUER, CLIENT, "2"), of(ISSUER, "client-", "11"), of("https://as.exampl", "eclient-1", "1")] {
            assert_ne!(first, other);
        }
    }

    #[test]
    fn fapi2_as_05_fapi2_rs_09_no_other_kind_of_signature_counts() {
        let stage = Stage::new(Algorithm::Es256);
        let refused = |error: AssertionError| {
            assert!(matches!(error, AssertionError::AlgorithmRefused { .. }), "{error}");
        };
        let header = |alg: &str| json!({ "typ": "JWT", "alg": alg, "kid": "a" });
        refused(stage.judge(&hs256(b"secret", &header("HS256"), &good()), None).unwrap_err());
        refused(stage.judge(&unsigned(&header("none"), &good()), None).unwrap_err());
        refused(stage.with_header("alg", json!("RS256")).unwrap_err());
        let another = SigningKey::generate(Algorithm::Es256, "a");
        let forged = another.sign(&stage.header(), &good());
        assert_eq!(stage.judge(&forged, None), Err(AssertionError::SignatureInvalid));
        assert!(matches!(stage.with_header("kid", json!("b")), Err(AssertionError::KeyUnknown { .. })));
        let only = AssertingClient { id: CLIENT, keys: &stage.keys, algorithms: &[Algorithm::Ps256] };
        refused(
            verify(
                &stage.key.sign(&stage.header(), &good()),
                &only,
                None,
                &Audiences { issuer: ISSUER, endpoints: None },
                NOW,
            )
            .unwrap_err(),
        );
    }

    #[test]
    fn rfc8725_3_11_no_other_kind_of_jwt_counts() {
        let stage = Stage::new(Algorithm::Es256);
        for good in
            [json!("JWT"), json!("jwt"), json!("application/jwt"), json!("client-authentication+jwt"), Value::Null]
        {
            assert!(stage.with_header("typ", good.clone()).is_ok(), "control: {good}");
        }
        for typ in ["at+jwt", "dpop+jwt", "oauth-authz-req+jwt", "secevent+jwt", "JOSE"] {
            let error = stage.with_header("typ", json!(typ)).unwrap_err();
            assert_eq!(error, AssertionError::TypeWrong { found: typ.into() });
        }
        assert!(matches!(stage.with_header("typ", json!(1)), Err(AssertionError::TypeWrong { .. })));
        for (member, value) in [("crit", json!(["exp"])), ("b64", json!(false))] {
            assert_eq!(stage.with_header(member, value), Err(AssertionError::Malformed(JwsError::CriticalHeader)));
        }
    }

    #[test]
    fn an_assertion_comes_with_its_type() {
        let read =
            |text: &str| presented(&Parameters::parse(text.as_bytes()).unwrap()).map(|found| found.map(str::to_owned));
        let both = format!("client_assertion=a.b.c&client_assertion_type={TYPE}");
        assert_eq!(read(&both), Ok(Some("a.b.c".to_owned())));
        assert_eq!(read("grant_type=authorization_code"), Ok(None));
        for bad in [
            "client_assertion=a.b.c",
            "client_assertion=a.b.c&client_assertion_type=",
            "client_assertion=a.b.c&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:saml2-bearer",
            &format!("client_assertion_type={TYPE}"),
        ] {
            assert!(matches!(read(bad), Err(AssertionError::Incomplete { .. })), "{bad}");
        }
        let stage = Stage::new(Algorithm::Es256);
        let assertion = stage.key.sign(&stage.header(), &good());
        assert_eq!(claimed_client(&assertion), Ok(Some(CLIENT.into())));
        for bad in ["", "a.b", "a.b.c", &"x".repeat(MAX_BYTES + 1)] {
            assert!(matches!(claimed_client(bad), Err(AssertionError::Malformed(_))));
        }
    }
}
