//! The checks of RFC 9449 §4.3 on one DPoP proof for one request and one token.
//!
//! Each has its number there, and comes when what it needs is known: the key before the signature, the claims after it.
//! Does not compare the key with that of the token ([`BoundToken::prove`](crate::sender::BoundToken::prove), the second
//! half of check 12), and does not detect replay ([`Authorized::redeem`](crate::permit::Authorized::redeem)).

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderValue;
use serde_json::{Map, Value};

use super::error::DpopError;
use super::htu;
use super::key::{HeaderKey, ProofKeys, proof_key};
use super::nonce::{Nonce, Nonces};
use super::replay::ProofId;
use crate::credentials::{PresentedToken, Proofs};
use crate::jose::claims::{NotNumericDate, numeric_date};
use crate::jose::jws::Jws;
use crate::jose::keys::{Algorithm, VerifyingKey};
use crate::jose::thumbprint::KeyThumbprint;
use crate::policy::NonceMode;
use crate::route::Target;
use crate::text::printable;
use crate::{UnixTime, sha256};

/// How old a proof may be, and which nonces are accepted.
#[derive(Clone, Debug)]
pub struct Freshness {
    /// Seconds from `iat` for which a proof is accepted.
    pub max_age: u64,
    /// Seconds that `iat` may be ahead.
    pub clock_skew: u64,
    /// The nonces.
    pub nonces: Nonces,
}

impl Freshness {
    /// Until when a proof may have been made that was used before a log of uses began: it may be used before its `iat`, by the
    /// clock skew.
    const fn unknown_until(&self, began: UnixTime) -> UnixTime {
        began.plus(self.clock_skew)
    }

    /// The next nonce, which is for a second after that, even while it is still to come.
    fn nonce_after(&self, unknown_until: UnixTime, now: UnixTime) -> Option<HeaderValue> {
        self.nonces.issue(now.max(unknown_until.plus(1)))
    }
}

/// Everything that a proof is checked against.
#[derive(Clone, Copy)]
pub struct ProofContext<'a> {
    /// The request.
    pub target: &'a Target<'a>,
    /// When the route requires a nonce.
    pub nonce: NonceMode,
    /// The accepted age and nonces.
    pub freshness: &'a Freshness,
    /// The cache of parsed keys.
    pub keys: &'a dyn ProofKeys,
    /// Returns when the replay log was started; called only for a proof whose signature is valid. A proof that may have
    /// been used before needs a nonce from after this time.
    pub replay_log_began: &'a (dyn Fn() -> UnixTime + Sync),
    /// The time of the request.
    pub now: UnixTime,
}

/// A DPoP proof with a valid signature for this request and this token. Whose key made it, and when, is not judged yet.
pub struct SignedProof {
    key: KeyThumbprint,
    /// The parsed key, unless the cache has it.
    uncached: Option<Arc<VerifyingKey>>,
    id: ProofId,
    issued_at: UnixTime,
    claims: Map<String, Value>,
}

impl SignedProof {
    /// Runs the checks of RFC 9449 §4.3 that depend only on the request and the token: 1 to 9, and `ath` of 12. The
    /// token is hashed as received, before any decoding.
    ///
    /// Does not check: the key against `cnf` ([`BoundToken::prove`](crate::sender::BoundToken::prove)), the age
    /// ([`SignedProof::check_freshness`]), and replay ([`FirstUse`](super::replay::FirstUse)).
    ///
    /// # Errors
    /// [`DpopError`], one variant for each check.
    pub fn verify(
        proofs: Proofs<'_>,
        token: PresentedToken<'_>,
        context: &ProofContext<'_>,
    ) -> Result<Self, DpopError> {
        Self::verify_with(proofs, Some(token), context)
    }

    /// The same at an authorization server, where there is no token yet, and so no `ath` (RFC 9449 §5, §10).
    ///
    /// # Errors
    /// [`DpopError`].
    pub fn verify_without_token(proofs: Proofs<'_>, context: &ProofContext<'_>) -> Result<Self, DpopError> {
        Self::verify_with(proofs, None, context)
    }

    fn verify_with(
        proofs: Proofs<'_>,
        token: Option<PresentedToken<'_>>,
        context: &ProofContext<'_>,
    ) -> Result<Self, DpopError> {
        let ProofContext { target, keys, .. } = *context;
        // (1) "There is not more than one DPoP HTTP request header field."
        let proof = match proofs {
            Proofs::None => return Err(DpopError::Missing),
            Proofs::Several => return Err(DpopError::Repeated),
            Proofs::One(proof) => proof,
        };
        // (2) "The DPoP HTTP request header field value is a single and well-formed JWT."
        let jws = Jws::parse(proof, MAX_PROOF_BYTES).map_err(DpopError::Malformed)?;
        // (4) "The typ JOSE Header Parameter has the value dpop+jwt."
        if !jws.is_of_type("dpop+jwt") {
            return Err(DpopError::TypeWrong { found: printable(jws.type_name()) });
        }
        // (5) "The alg JOSE Header Parameter indicates a registered asymmetric digital signature algorithm …, is not
        // none, is supported by the application, and is acceptable per local policy."
        let refused = || DpopError::AlgorithmRefused { algorithm: printable(jws.algorithm_name()) };
        let algorithm = jws.algorithm(Algorithm::ALL).ok_or_else(refused)?;
        // (7) "The jwk JOSE Header Parameter does not contain a private key."
        let HeaderKey { thumbprint, key, is_cached } = proof_key(jws.header(), keys)?;
        if key.algorithm() != algorithm {
            return Err(refused());
        }
        // (6) "The JWT signature verifies with the public key contained in the jwk JOSE Header Parameter."
        let claims = jws.verify(&key).ok_or(DpopError::SignatureInvalid)?;
        // (3) "All required claims per Section 4.2 are contained in the JWT."
        let jti = required(&claims, "jti")?;
        let (htm, htu) = (required(&claims, "htm")?, required(&claims, "htu")?);
        let issued_at = time(&claims, "iat", f64::floor)?.ok_or(DpopError::ClaimMissing { member: "iat" })?;
        // (8) "The htm claim matches the HTTP method of the current request."
        if htm != target.method().as_str() {
            return Err(DpopError::MethodMismatch { found: printable(htm), expected: target.method().as_str().into() });
        }
        // (9) "The htu claim matches the HTTP URI value for the HTTP request …, ignoring any query and fragment parts."
        htu::check(htu, target)?;
        // (12) "… the value of the ath claim equals the hash of that access token." Before the nonce, so that a client
        // learns what is wrong with its proof before it makes another.
        if let Some(token) = token {
            let (ath, expected) =
                (required(&claims, "ath")?, URL_SAFE_NO_PAD.encode(sha256(token.as_str().as_bytes())));
            if aws_lc_rs::constant_time::verify_slices_are_equal(ath.as_bytes(), expected.as_bytes()).is_err() {
                return Err(DpopError::AthMismatch { found: printable(ath), expected: expected.into() });
            }
        }
        let uncached = (!is_cached).then_some(key);
        Ok(Self { key: thumbprint, uncached, id: ProofId::new(&thumbprint, target, jti), issued_at, claims })
    }

    /// The thumbprint of the key that signed it.
    pub const fn key(&self) -> &KeyThumbprint {
        &self.key
    }

    /// Adds the key to the cache. For a key that a token is bound to: others are free to make, and would evict it.
    pub(crate) fn remember_key(&self, keys: &dyn ProofKeys) {
        if let Some(key) = &self.uncached {
            keys.insert(self.key, key.clone());
        }
    }

    /// Checks the age of the proof: checks 10 and 11 of RFC 9449 §4.3.
    ///
    /// # Errors
    /// [`DpopError::Stale`], [`DpopError::NonceRequired`], [`DpopError::ClaimMalformed`].
    pub fn check_freshness(self, context: &ProofContext<'_>) -> Result<VerifiedProof, DpopError> {
        let ProofContext { nonce: mode, freshness, replay_log_began, now, .. } = *context;
        let Freshness { max_age, clock_skew, ref nonces } = *freshness;
        let Self { key, id, issued_at, claims, .. } = self;
        // (11) "The creation time of the JWT, as determined by either the iat claim or a server managed timestamp via
        // the nonce claim, is within an acceptable window."
        let in_window_until = issued_at.plus(max_age);
        let in_window = now <= in_window_until && issued_at <= now.plus(clock_skew);
        if !in_window && mode == NonceMode::Never {
            return Err(DpopError::Stale { at: issued_at, now });
        }
        // (10) "If the server provided a nonce value to the client, the nonce claim matches the server-provided nonce
        // value." Checked before `iat` where a nonce can replace it, so that a client with a wrong clock can continue.
        // A nonce that is not needed need not be one of ours: RFC 9449 §8.2 has a client send the last one that it got
        // from the origin, which may be that of another replica.
        let given = GivenNonce::read(&claims, nonces)?;
        let unknown_until = freshness.unknown_until(replay_log_began());
        let next_nonce = || freshness.nonce_after(unknown_until, now);
        let ahead = clock_skew.saturating_add(1);
        let vouched =
            given.ours().filter(|nonce| nonce.is_accepted_at(now, ahead) && nonce.issued_at() > unknown_until);
        // With a nonce from before the log started, it may have been used even earlier: then, too, a nonce could replace
        // `iat`.
        let from_before = match given {
            GivenNonce::Ours(nonce) => nonce.issued_at() <= unknown_until,
            GivenNonce::NotRecognised => nonces.may_have_been_ours(),
            GivenNonce::Absent => false,
        };
        let used_ahead = from_before && issued_at <= unknown_until.plus(FAR_OFF);
        let required = match mode {
            NonceMode::Always => Some("the route requires one"),
            NonceMode::WhenStale if !in_window => Some("iat is outside its window"),
            NonceMode::WhenStale if used_ahead => Some(BEFORE_THE_LOG),
            NonceMode::Never | NonceMode::WhenStale if issued_at <= unknown_until => Some(BEFORE_THE_LOG),
            NonceMode::Never | NonceMode::WhenStale => None,
        };
        if let Some(why) = required.filter(|_| vouched.is_none()) {
            let why = match given {
                GivenNonce::Absent => why,
                GivenNonce::Ours(_) | GivenNonce::NotRecognised => "the proof's nonce is invalid or has expired",
            };
            return Err(DpopError::NonceRequired { why, fresh: next_nonce() });
        }
        // The nonce determines the age, but an `iat` that is hours off is not just a wrong clock.
        if now.since(issued_at) > FAR_OFF || issued_at.since(now) > FAR_OFF {
            return Err(DpopError::Stale { at: issued_at, now });
        }
        // The proof's own times follow the client's clock, which `iat` shows when a nonce determines the age.
        check_own_times(&claims, if vouched.is_some() { issued_at } else { now }, clock_skew)?;
        // With this nonce the proof can pass where one is needed, even if it is not needed here. A nonce of a key that
        // this process does not have may become valid when a reload adds the key.
        let valid_until = match given {
            GivenNonce::Absent => in_window_until,
            GivenNonce::Ours(nonce) => in_window_until.max(nonce.expires_at()),
            GivenNonce::NotRecognised => in_window_until.max(nonces.expiry_of(now.plus(ahead))),
        };
        Ok(VerifiedProof {
            key,
            id,
            issued_at,
            made_after: vouched.map_or(issued_at, |nonce| nonce.issued_at().max(issued_at)),
            fresh_until: if vouched.is_some() { valid_until } else { in_window_until },
            forget_after: valid_until.min(issued_at.plus(FAR_OFF)),
            next_nonce: vouched.filter(|nonce| nonce.is_due_for_renewal_at(now)).and_then(|_| next_nonce()),
        })
    }
}

/// The claim `nonce` of a proof.
#[derive(Clone, Copy)]
enum GivenNonce {
    Absent,
    /// Issued with one of the keys, at whatever time.
    Ours(Nonce),
    /// Issued with none of the keys that this process has.
    NotRecognised,
}

impl GivenNonce {
    fn read(claims: &Map<String, Value>, nonces: &Nonces) -> Result<Self, DpopError> {
        match claims.get("nonce") {
            None => Ok(Self::Absent),
            Some(Value::String(text)) => Ok(nonces.read(text).map_or(Self::NotRecognised, Self::Ours)),
            Some(_) => Err(DpopError::ClaimMalformed { member: "nonce", expected: "a string" }),
        }
    }

    const fn ours(self) -> Option<Nonce> {
        match self {
            Self::Ours(nonce) => Some(nonce),
            Self::Absent | Self::NotRecognised => None,
        }
    }
}

/// A fresh DPoP proof for this request and this token; not yet checked for replay.
#[derive(Clone, Debug)]
pub struct VerifiedProof {
    key: KeyThumbprint,
    id: ProofId,
    issued_at: UnixTime,
    /// It was not used before this, but for the clock skew.
    made_after: UnixTime,
    fresh_until: UnixTime,
    forget_after: UnixTime,
    next_nonce: Option<HeaderValue>,
}

impl VerifiedProof {
    /// The thumbprint of the key that signed it.
    pub const fn key(&self) -> &KeyThumbprint {
        &self.key
    }

    /// Its id in the replay log.
    pub const fn id(&self) -> ProofId {
        self.id
    }

    /// The last second at which any request could be accepted with it.
    pub const fn forget_after(&self) -> UnixTime {
        self.forget_after
    }

    /// Checks the age again, after a delay such as that of reading a body.
    ///
    /// # Errors
    /// [`DpopError::Stale`].
    pub fn check_still_fresh(&self, now: UnixTime) -> Result<(), DpopError> {
        if now > self.fresh_until { Err(DpopError::Stale { at: self.issued_at, now }) } else { Ok(()) }
    }

    /// Checks that it cannot have been used before the log that knows of its first use `began`, which may have lost what it knew
    /// when the proof was judged.
    ///
    /// # Errors
    /// [`DpopError::NonceRequired`].
    pub fn check_still_known(&self, began: UnixTime, freshness: &Freshness, now: UnixTime) -> Result<(), DpopError> {
        let unknown_until = freshness.unknown_until(began);
        if self.made_after > unknown_until {
            return Ok(());
        }
        Err(DpopError::NonceRequired { why: BEFORE_THE_LOG, fresh: freshness.nonce_after(unknown_until, now) })
    }

    /// The nonce to send with the response, because the proof's own is due for renewal.
    pub const fn next_nonce(&self) -> Option<&HeaderValue> {
        self.next_nonce.as_ref()
    }
}

/// Checks `exp` and `nbf`, which a proof need not have (DPOP-45).
fn check_own_times(claims: &Map<String, Value>, now: UnixTime, skew: u64) -> Result<(), DpopError> {
    if let Some(at) = time(claims, "exp", f64::floor)?.filter(|at| *at <= now) {
        return Err(DpopError::Stale { at, now });
    }
    match time(claims, "nbf", f64::ceil)?.filter(|at| *at > now.plus(skew)) {
        Some(at) => Err(DpopError::Stale { at, now }),
        None => Ok(()),
    }
}

fn time(
    claims: &Map<String, Value>,
    member: &'static str,
    round: fn(f64) -> f64,
) -> Result<Option<UnixTime>, DpopError> {
    numeric_date(claims, member, round)
        .map_err(|NotNumericDate| DpopError::ClaimMalformed { member, expected: "a number of seconds" })
}

fn required<'c>(claims: &'c Map<String, Value>, member: &'static str) -> Result<&'c str, DpopError> {
    match claims.get(member) {
        None => Err(DpopError::ClaimMissing { member }),
        Some(Value::String(text)) if !text.is_empty() => Ok(text),
        Some(_) => Err(DpopError::ClaimMalformed { member, expected: "a non-empty string" }),
    }
}

const MAX_PROOF_BYTES: usize = 8 * 1024;
const BEFORE_THE_LOG: &str = "the proof may have been used before the replay log was started";
/// How far `iat` may be off when a nonce determines the age, in seconds.
const FAR_OFF: u64 = 2 * 3600;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::sync::Mutex;

    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
    use http::Request;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::code::Code;
    use crate::route::Origin;
    use crate::testing::freshness;

    const NOW: u64 = 1_700_000_010;
    const TOKEN: &str = "token";
    const MODES: [NonceMode; 3] = [NonceMode::Never, NonceMode::WhenStale, NonceMode::Always];

    #[derive(Default)]
    struct Remembered(Mutex<HashMap<[u8; 32], Arc<VerifyingKey>>>);

    impl ProofKeys for Remembered {
        fn get(&self, thumbprint: &KeyThumbprint) -> Option<Arc<VerifyingKey>> {
            self.0.lock().unwrap().get(thumbprint.as_bytes()).cloned()
        }

        fn insert(&self, thumbprint: KeyThumbprint, key: Arc<VerifyingKey>) {
            self.0.lock().unwrap().insert(*thumbprint.as_bytes(), key);
        }
    }

    struct Client {
        key: EcdsaKeyPair,
        keys: Remembered,
        freshness: Freshness,
    }

    impl Client {
        fn new() -> Self {
            let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
            Self { key, keys: Remembered::default(), freshness: freshness() }
        }

        fn jwk(&self) -> Value {
            let (x, y) = self.key.public_key().as_ref()[1..].split_at(32);
            json!({"kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y)})
        }

        fn nonce(&self, now: u64) -> String {
            self.freshness.nonces.issue(UnixTime(now)).unwrap().to_str().unwrap().to_owned()
        }

        /// The good proof with these members of header and claims replaced.
        fn proof(&self, header: Value, claims: Value) -> String {
            let ath = URL_SAFE_NO_PAD.encode(sha256(TOKEN.as_bytes()));
            let mut good = [
                json!({"typ": "dpop+jwt", "alg": "ES256", "jwk": self.jwk()}),
                json!({"jti": "a", "htm": "GET", "htu": "https://api.example/a", "iat": NOW, "ath": ath}),
            ];
            for (good, changes) in good.iter_mut().zip([header, claims]) {
                good.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            }
            let signed = good.map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
            let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
        }

        fn judge_at(&self, proof: &str, path: &str, nonce: NonceMode, now: u64) -> Result<VerifiedProof, DpopError> {
            self.judge_since(0, proof, path, nonce, now)
        }

        fn judge_since(
            &self,
            began: u64,
            proof: &str,
            path: &str,
            nonce: NonceMode,
            now: u64,
        ) -> Result<VerifiedProof, DpopError> {
            let (request, ()) = Request::get(path).body(()).unwrap().into_parts();
            let origin = Arc::new(Origin::parse("https://api.example").unwrap());
            let (target, began) = (Target::parse(&request, &origin).unwrap(), || UnixTime(began));
            let now = UnixTime(now);
            let context = ProofContext { nonce, replay_log_began: &began, now, ..self.context(&target) };
            let token = PresentedToken::parse(TOKEN).unwrap();
            let proof = SignedProof::verify(Proofs::One(proof), token, &context)?;
            proof.remember_key(context.keys);
            proof.check_freshness(&context)
        }

        fn context<'c>(&'c self, target: &'c Target<'c>) -> ProofContext<'c> {
            let (freshness, keys, now) = (&self.freshness, &self.keys, UnixTime(NOW));
            ProofContext { target, nonce: NonceMode::Never, freshness, keys, replay_log_began: &|| UnixTime(0), now }
        }

        fn judge(&self, proof: &str) -> Result<VerifiedProof, DpopError> {
            self.judge_at(proof, "/a", NonceMode::Never, NOW)
        }

        fn code(&self, header: Value, claims: Value) -> Option<Code> {
            self.judge(&self.proof(header, claims)).err().map(|error| error.code())
        }
    }

    #[test]
    fn dpop_22_members_beside_the_key_do_not_matter_but_private_ones_are_refused_cached_or_not() {
        let client = Client::new();
        let with = |member: &str, value: Value| {
            let mut jwk = client.jwk();
            jwk[member] = value;
            client.code(json!({"jwk": jwk}), json!({}))
        };
        for _ in 0..2 {
            for (member, value) in [
                ("use", json!("sig")),
                ("use", json!("enc")),
                ("use", json!(1)),
                ("alg", json!("RS256")),
                ("alg", json!(null)),
                ("key_ops", json!([])),
                ("key_ops", json!(["sign"])),
                ("key_ops", json!("verify")),
                ("ext", json!(true)),
                ("n", json!("AQ")),
                ("kid", json!({})),
            ] {
                assert_eq!(with(member, value.clone()), None, "{member}: {value}");
            }
            for member in ["d", "k", "priv"] {
                assert_eq!(with(member, json!("AA")), Some(Code::DpopKeyPrivate), "{member}");
            }
            for curve in ["P-384", "Ed25519", ""] {
                assert_eq!(with("crv", json!(curve)), Some(Code::DpopKeyRefused), "{curve}");
            }
            // After this the key is cached.
            assert_eq!(client.code(json!({}), json!({})), None); // control
        }
    }

    #[test]
    fn int_20_a_proof_alone_does_not_put_its_key_into_the_cache() {
        let client = Client::new();
        let proof = client.proof(json!({}), json!({}));
        let (request, ()) = Request::get("/a").body(()).unwrap().into_parts();
        let origin = Arc::new(Origin::parse("https://api.example").unwrap());
        let target = Target::parse(&request, &origin).unwrap();
        let context = client.context(&target);
        let token = PresentedToken::parse(TOKEN).unwrap();
        let signed = SignedProof::verify(Proofs::One(&proof), token, &context).unwrap();
        assert!(client.keys.get(signed.key()).is_none());
        signed.remember_key(&client.keys);
        assert!(client.keys.get(signed.key()).is_some(), "control");
    }

    #[test]
    fn fapi2_as_39_without_a_token_every_check_but_that_of_ath_is_the_same() {
        let client = Client::new();
        let (request, ()) = Request::get("/a").body(()).unwrap().into_parts();
        let origin = Arc::new(Origin::parse("https://api.example").unwrap());
        let target = Target::parse(&request, &origin).unwrap();
        let context = client.context(&target);
        let code = |claims: Value| {
            let proof = client.proof(json!({}), claims);
            SignedProof::verify_without_token(Proofs::One(&proof), &context)
                .and_then(|proof| proof.check_freshness(&context))
                .err()
                .map(|error| error.code())
        };
        assert_eq!((code(json!({})), code(json!({ "ath": null }))), (None, None));
        assert_eq!(code(json!({ "ath": null, "htm": "POST" })), Some(Code::DpopMethodMismatch));
        assert_eq!(code(json!({ "ath": null, "htu": "https://api.example/b" })), Some(Code::DpopUriMismatch));
        assert_eq!(code(json!({ "ath": null, "iat": NOW - 3600 })), Some(Code::DpopStale));
        let token = PresentedToken::parse(TOKEN).unwrap();
        let proof = client.proof(json!({}), json!({ "ath": null }));
        let with_token = SignedProof::verify(Proofs::One(&proof), token, &context).err();
        assert_eq!(with_token.map(|error| error.code()), Some(Code::DpopClaimMalformed), "control");
    }

    #[test]
    fn dpop_39_the_id_is_of_key_target_and_jti_whatever_the_spelling() {
        let (client, other) = (Client::new(), Client::new());
        let id = |client: &Client, path: &str, jti: &str| {
            let proof = client.proof(json!({}), json!({"htu": format!("https://api.example{path}"), "jti": jti}));
            client.judge_at(&proof, path, NonceMode::Never, NOW).unwrap().id()
        };
        let one = id(&client, "/%C3%A9", "a");
        assert_eq!(id(&client, "/%c3%a9", "a"), one);
        assert_eq!(id(&client, "/%C3%A9?x", "a"), one);
        assert_ne!(id(&client, "/%C3%A9", "b"), one);
        assert_ne!(id(&client, "/%C3%AA", "a"), one);
        assert_ne!(id(&other, "/%C3%A9", "a"), one);
        assert_ne!(id(&client, "/ab", "c"), id(&client, "/a", "bc"), "the parts do not run into each other");
    }

    #[test]
    fn dpop_40_a_proof_is_remembered_for_as_long_as_any_mode_could_let_it_pass() {
        let client = Client::new();
        let nonces = [NOW - 3600, NOW - 120, NOW - 119, NOW - 60, NOW, NOW + 11, NOW + 12, NOW + 600];
        for iat in [NOW - 3600, NOW - 60, NOW, NOW + 10, NOW + 3600] {
            let nonces = nonces.map(|at| Some(client.nonce(at)));
            for nonce in nonces.into_iter().chain([None, Some("unknown".to_owned())]) {
                let claims = match &nonce {
                    Some(nonce) => json!({"iat": iat, "nonce": nonce}),
                    None => json!({"iat": iat}),
                };
                let proof = client.proof(json!({}), claims);
                for mode in MODES {
                    let Ok(first) = client.judge_at(&proof, "/a", mode, NOW) else { continue };
                    let end = first.forget_after().0;
                    for after in [1, 2, 16, 59, 60, 119, 120, 599, 3600] {
                        let passes = MODES.iter().any(|mode| client.judge_at(&proof, "/a", *mode, end + after).is_ok());
                        assert!(!passes, "iat {iat}, {nonce:?}, {mode:?}, {after} seconds after");
                    }
                }
            }
        }
    }

    #[test]
    fn dpop_18_a_nonce_that_is_not_asked_for_need_not_be_ours() {
        let client = Client::new();
        let foreign = Nonces::new(&[[2; 32]], 60).unwrap().issue(UnixTime(NOW)).unwrap();
        let foreign = foreign.to_str().unwrap();
        let required = Some(Code::DpopNonceRequired);
        for nonce in ["", "unknown", foreign, &client.nonce(NOW - 120), &client.nonce(NOW + 12)] {
            let judge = |began: u64, mode: NonceMode, iat: u64| {
                let proof = client.proof(json!({}), json!({"iat": iat, "nonce": nonce}));
                client.judge_since(began, &proof, "/a", mode, NOW).err().map(|error| error.code())
            };
            for mode in [NonceMode::Never, NonceMode::WhenStale] {
                assert_eq!(judge(0, mode, NOW), None, "{mode:?} {nonce}");
                assert_eq!(judge(NOW - 10, mode, NOW), required, "{mode:?} {nonce}: the log is too young");
            }
            assert_eq!(judge(0, NonceMode::WhenStale, NOW - 61), required, "{nonce}");
            assert_eq!(judge(0, NonceMode::Never, NOW - 61), Some(Code::DpopStale), "{nonce}");
            assert_eq!(judge(0, NonceMode::Always, NOW), required, "{nonce}");
        }
        let number = client.code(json!({}), json!({"nonce": 5}));
        assert_eq!(number, Some(Code::DpopClaimMalformed));
    }

    #[test]
    fn dpop_40_a_nonce_whose_key_comes_with_a_reload_brings_no_used_proof_back() {
        let (mut client, iat) = (Client::new(), NOW - 30);
        for issued in [NOW - 60, NOW, NOW + 11] {
            let theirs = Nonces::new(&[[2; 32]], 60).unwrap().issue(UnixTime(issued)).unwrap();
            let proof = client.proof(json!({}), json!({"iat": iat, "nonce": theirs.to_str().unwrap()}));
            client.freshness.nonces = Nonces::new(&[[1; 32]], 60).unwrap();
            let end = client.judge_at(&proof, "/a", NonceMode::WhenStale, NOW).unwrap().forget_after().0;
            client.freshness.nonces = Nonces::new(&[[1; 32], [2; 32]], 60).unwrap();
            let passes = |now| MODES.iter().any(|mode| client.judge_at(&proof, "/a", *mode, now).is_ok());
            assert!(passes(issued + 119), "control: {issued}");
            assert!((end + 1..end + 600).all(|now| !passes(now)), "{issued}");
        }
    }

    #[test]
    fn a_nonce_that_is_not_ours_does_not_lengthen_the_reading_of_a_body() {
        let client = Client::new();
        for (nonce, until) in [("unknown".to_owned(), NOW + 60), (client.nonce(NOW), NOW + 120)] {
            let proof = client.proof(json!({}), json!({"nonce": nonce}));
            let verified = client.judge_at(&proof, "/a", NonceMode::WhenStale, NOW).unwrap();
            assert!(verified.check_still_fresh(UnixTime(until)).is_ok(), "{nonce}");
            assert!(verified.check_still_fresh(UnixTime(until + 1)).is_err(), "{nonce}");
        }
    }

    #[test]
    fn atk_tk_12_what_may_have_been_used_before_the_log_began_needs_a_nonce_from_after_it() {
        let client = Client::new();
        let began = NOW - 5;
        for mode in MODES {
            // A proof may be used as early as the skew before its `iat`.
            for iat in [NOW - 60, began, NOW, began + 10] {
                let proof = client.proof(json!({}), json!({"iat": iat}));
                let error = client.judge_since(began, &proof, "/a", mode, NOW).unwrap_err();
                let DpopError::NonceRequired { fresh: Some(nonce), .. } = error else { panic!("{iat}: {error}") };
                let claims = json!({"iat": iat, "nonce": nonce.to_str().unwrap()});
                let again = client.proof(json!({}), claims);
                assert!(
                    client.judge_since(began, &again, "/a", mode, NOW).is_ok(),
                    "{mode:?} {iat}: one more try is enough"
                );
            }
            let old = client.proof(json!({}), json!({"iat": NOW, "nonce": client.nonce(began + 10)}));
            assert!(client.judge_since(began, &old, "/a", mode, NOW).is_err(), "a nonce from before tells nothing");
        }
        let later = client.proof(json!({}), json!({"iat": began + 11}));
        assert!(client.judge_since(began, &later, "/a", NonceMode::Never, NOW + 1).is_ok(), "control");
    }

    #[test]
    fn atk_tk_12_a_proof_that_was_used_ahead_of_its_time_does_not_pass_again_after_a_restart() {
        let client = Client::new();
        let used = NOW - 30;
        // Made by a clock that is ahead, it was used with a nonce from before the restart.
        let ahead = client.proof(json!({}), json!({"iat": NOW, "nonce": client.nonce(used)}));
        let judge =
            |began: u64, proof: &str, now: u64| client.judge_since(began, proof, "/a", NonceMode::WhenStale, now);
        assert!(judge(0, &ahead, used).is_ok(), "control: it is good once");
        let began = used + 10;
        for now in [began, began + 11, NOW, NOW + 60] {
            let error = judge(began, &ahead, now).unwrap_err();
            assert_eq!(error.code(), Code::DpopNonceRequired, "{now}");
        }
        let unreadable = client.proof(json!({}), json!({"iat": NOW, "nonce": "of another process"}));
        assert!(
            judge(began, &unreadable, NOW).is_ok(),
            "control: with this key the process before would have made others"
        );
        for (nonce, what) in
            [(None, "without a nonce it cannot have been used"), (Some(client.nonce(NOW - 1)), "after it")]
        {
            let claims = nonce.map_or(json!({"iat": NOW}), |nonce| json!({"iat": NOW, "nonce": nonce}));
            assert!(judge(began, &client.proof(json!({}), claims), NOW).is_ok(), "control: {what}");
        }
        let mut client = client;
        client.freshness.nonces = client.freshness.nonces.of_this_process();
        let judge = |began: u64| client.judge_since(began, &unreadable, "/a", NonceMode::WhenStale, NOW);
        assert!(judge(began).is_err());
        let old = NOW - 2 * 3600 - 11;
        assert!(judge(old).is_ok(), "control: no proof can have been used so far ahead");
        assert!(judge(old + 1).is_err());
    }

    #[test]
    fn dpop_45_its_own_times_are_by_the_clients_clock() {
        let client = Client::new();
        for hours in [-3600_i64, 0, 3600] {
            let iat = NOW.checked_add_signed(hours).unwrap();
            let with = |exp: u64, nbf: u64| {
                let claims = json!({"iat": iat, "exp": exp, "nbf": nbf, "nonce": client.nonce(NOW)});
                client.judge_at(&client.proof(json!({}), claims), "/a", NonceMode::Always, NOW).is_ok()
            };
            assert!(with(iat + 300, iat) && with(iat + 1, iat + 10), "{hours}");
            assert!(!with(iat, iat) && !with(iat + 300, iat + 11), "{hours}");
        }
    }

    #[test]
    fn dpop_03_a_proof_has_8192_bytes_at_most() {
        let client = Client::new();
        let proof = client.proof(json!({}), json!({}));
        // The signature is no longer valid, which is noticed only where the size is not.
        let code = |bytes: usize| {
            let longer = format!("{proof}{}", "A".repeat(bytes - proof.len()));
            client.judge(&longer).err().map(|error| error.code())
        };
        assert_eq!(code(proof.len()), None); // control
        assert_eq!([8191, 8192].map(code), [Some(Code::DpopSignatureInvalid); 2]);
        assert_eq!([8193, 9000].map(code), [Some(Code::DpopMalformed); 2]);
    }

    #[test]
    fn dpop_05_a_required_claim_is_text_and_not_empty() {
        let client = Client::new();
        assert_eq!(client.code(json!({}), json!({})), None); // control
        for member in ["jti", "htm", "htu", "ath"] {
            for value in [json!(""), json!(1), json!(null), json!(["a"])] {
                let code = client.code(json!({}), json!({ member: value }));
                assert_eq!(code, Some(Code::DpopClaimMalformed), "{member}: {value}");
            }
        }
    }

    #[test]
    fn dpop_19_beside_a_nonce_iat_is_off_by_two_hours_at_most() {
        let client = Client::new();
        let code = |iat: u64| {
            let proof = client.proof(json!({}), json!({"iat": iat, "nonce": client.nonce(NOW)}));
            client.judge_at(&proof, "/a", NonceMode::Always, NOW).err().map(|error| error.code())
        };
        for iat in [NOW - 7200, NOW, NOW + 7200] {
            assert_eq!(code(iat), None, "{iat}"); // control
        }
        for iat in [NOW - 8000, NOW - 7201, NOW + 7201, NOW + 8000] {
            assert_eq!(code(iat), Some(Code::DpopStale), "{iat}");
        }
    }

    #[test]
    fn dpop_35_a_nonce_is_replaced_after_one_lifetime() {
        let client = Client::new();
        let next = |issued: u64| {
            let proof = client.proof(json!({}), json!({"nonce": client.nonce(issued)}));
            let verified = client.judge_at(&proof, "/a", NonceMode::Always, NOW).unwrap();
            verified.next_nonce().map(|nonce| nonce.to_str().unwrap().to_owned())
        };
        assert_eq!(next(NOW - 59), None);
        assert_eq!(next(NOW - 60), Some(client.nonce(NOW)));
    }

    #[test]
    fn dpop_20_ath_is_of_the_text_as_received() {
        let client = Client::new();
        assert_eq!(client.code(json!({}), json!({})), None); // control
        for ath in [URL_SAFE_NO_PAD.encode(sha256(b"token=")), URL_SAFE_NO_PAD.encode(sha256(b"Token")), "x".into()] {
            assert_eq!(client.code(json!({}), json!({"ath": ath})), Some(Code::DpopAthMismatch), "{ath}");
        }
    }

    #[test]
    fn what_an_operator_reads_has_neither_proof_nor_key() {
        let client = Client::new();
        let proof = client.proof(json!({}), json!({"htm": "x\u{1b}[31m".repeat(100)}));
        let text = client.judge(&proof).unwrap_err().to_string();
        assert!(text.len() < 200 && text.is_ascii() && !text.contains('\u{1b}'), "{text}");
        assert!(proof.split('.').all(|part| !text.contains(part)));
    }

    proptest! {
        #[test]
        fn never_panics(proof in "[A-Za-z0-9_.=-]{0,200}", header in "\\PC{0,60}", payload in "\\PC{0,60}") {
            let client = Client::new();
            prop_assert!(client.judge(&proof).is_err());
            let [header, payload] = [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part));
            let proof = format!("{header}.{payload}.AA");
            prop_assert!(client.judge(&proof).is_err());
        }

        #[test]
        fn one_changed_byte_is_another_proof(place in 0_usize..1000, byte in 0_usize..64) {
            const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let client = Client::new();
            let good = client.proof(json!({}), json!({}));
            prop_assert!(client.judge(&good).is_ok()); // control
            let mut bytes = good.clone().into_bytes();
            let place = place % bytes.len();
            bytes[place] = ALPHABET[byte];
            let changed = String::from_utf8(bytes).unwrap();
            prop_assert!(changed == good || client.judge(&changed).is_err());
        }
    }
}
