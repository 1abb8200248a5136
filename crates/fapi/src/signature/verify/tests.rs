//! Signed requests: each test starts from a good one, and changes one thing.

use std::sync::LazyLock;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::jose::signing::PrivateKey;
use crate::signature::create::sign;
use crate::signature::digest::DigestAlgorithm::{Sha256, Sha512};
use crate::signature::digest::{ClaimedDigest, content_digest};
use crate::signature::input::{SIGNATURE, SIGNATURE_INPUT};
use crate::signature::message::{ExternalUri, RequestView, ResponseView};
use crate::signature::profile::{Content, Dpop};

const NOW: UnixTime = UnixTime(1_800_000_000);

const BODY: &[u8] = b"{\"amount\": 1}";

const COVERED: &str = r#"("@method" "@target-uri" "authorization" "dpop" "content-digest")"#;

const PARAMETERS: &str = r#";created=1800000000;keyid="k";tag="fapi-2-request""#;

static KEYS: LazyLock<[PrivateKey; 3]> = LazyLock::new(|| {
    [Algorithm::Es256, Algorithm::Ps256, Algorithm::EdDsa].map(|algorithm| PrivateKey::generate(algorithm).unwrap())
});

/// A key of its own for Ed25519, which is the quickest.
fn ed() -> &'static PrivateKey {
    &KEYS[2]
}

fn key_set(keys: &[(Option<&str>, &PrivateKey)]) -> KeySet {
    let jwk = |(name, key): &(Option<&str>, &PrivateKey)| {
        let mut jwk = key.public_jwk().unwrap();
        jwk.extend(name.map(|name| ("kid".to_owned(), json!(name))));
        Value::Object(jwk)
    };
    KeySet::parse(json!({ "keys": keys.iter().map(jwk).collect::<Vec<_>>() }).to_string().as_bytes()).unwrap()
}

fn clients(key: &PrivateKey) -> KeySet {
    key_set(&[(Some("k"), key)])
}

/// A request on its way.
#[derive(Clone)]
struct Sent {
    method: Method,
    scheme: &'static str,
    authority: String,
    path: String,
    query: Option<String>,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Sent {
    fn new() -> Self {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_static("DPoP sEcReT"));
        headers.insert("dpop", HeaderValue::from_static("aaa.bbb.ccc"));
        headers.insert(CONTENT_DIGEST, content_digest(Sha256, BODY).parse().unwrap());
        Self {
            method: Method::POST,
            scheme: "https",
            authority: "api.example".into(),
            path: "/payments".into(),
            query: Some("a=1&b=2".into()),
            headers,
            body: BODY.to_vec(),
        }
    }

    /// With one good signature.
    fn signed() -> Self {
        Self::new().with("sig", &format!("{COVERED}{PARAMETERS}"))
    }

    fn view(&self) -> RequestView<'_> {
        let Self { scheme, authority, path, query, .. } = self;
        let uri = ExternalUri { scheme, authority, path, query: query.as_deref() };
        RequestView { method: &self.method, uri, target: path, headers: &self.headers }
    }

    /// Adds a signature over what a text covers, whatever that is.
    fn with(self, label: &str, covered: &str) -> Self {
        self.with_signer(label, covered, |base| ed().sign_http_message(base, false).unwrap())
    }

    fn with_signer(self, label: &str, covered: &str, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> Self {
        let signature = sign(self.base(covered).as_bytes());
        self.with_fields(&format!("{label}={covered}"), &format!("{label}=:{}:", STANDARD.encode(signature)))
    }

    /// The base of what a text covers; anything where there is none, as nothing verifies then.
    fn base(&self, covered: &str) -> String {
        let mut one = HeaderMap::new();
        one.insert(SIGNATURE_INPUT, format!("x={covered}").parse().unwrap());
        one.insert(SIGNATURE, HeaderValue::from_static("x=:AA==:"));
        let input = SignatureInput::read(&one).unwrap().remove(0);
        let base = input.components().and_then(|components| {
            signature_base(&Message::Request(self.view()), &components, &input.serialized().unwrap())
        });
        base.unwrap_or_default()
    }

    fn with_fields(mut self, input: &str, signature: &str) -> Self {
        self.headers.append(SIGNATURE_INPUT, input.parse().unwrap());
        self.headers.append(SIGNATURE, signature.parse().unwrap());
        self
    }

    fn verify(&self, profile: &Profile, keys: &KeySet, now: UnixTime) -> Result<SignedFields, SignatureError> {
        verify(&Message::Request(self.view()), profile, keys, now)
    }

    /// Verifies it with its content, at `now`.
    fn judge_at(&self, keys: &KeySet, now: UnixTime) -> Result<VerifiedSignature, SignatureError> {
        let signed = self.verify(&Profile::fapi2_request(Dpop::Present, Content::Present), keys, now)?;
        signed.with_content(&self.content()?)
    }

    fn judge(&self) -> Result<VerifiedSignature, SignatureError> {
        self.judge_at(&clients(ed()), NOW)
    }

    fn error(&self) -> Option<SignatureError> {
        self.judge().err()
    }

    fn content(&self) -> Result<MatchedContent, SignatureError> {
        let mut hasher = ClaimedDigest::read(&self.headers)?.hasher();
        hasher.update(&self.body);
        Ok(hasher.finish()?)
    }
}

fn without(name: &str) -> String {
    let shorter = COVERED.replace(&format!("\"{name}\""), "");
    assert_ne!(shorter, COVERED);
    shorter
}

#[test]
fn hsig_01_a_request_without_a_signature_is_refused() {
    let good = Sent::signed().judge().unwrap();
    assert_eq!((good.label(), good.key_id(), good.created(), good.nonce()), ("sig", "k", NOW, None)); // control
    let covered: Vec<String> = good.components().iter().map(Component::to_string).collect();
    assert_eq!(format!("({})", covered.join(" ")), COVERED);
    assert_eq!(Sent::new().error(), Some(SignatureError::FieldMissing { field: SIGNATURE_INPUT }));
}

#[test]
fn hsig_02_only_the_tag_of_the_profile_counts() {
    assert_eq!(Sent::signed().error(), None); // control
    for parameters in [
        PARAMETERS.replace("fapi-2-request", "fapi-2-response"),
        PARAMETERS.replace("fapi-2-request", "FAPI-2-request"),
        PARAMETERS.replace(";tag=\"fapi-2-request\"", ""),
        PARAMETERS.replace("\"fapi-2-request\"", "fapi-2-request"),
    ] {
        let error = Sent::new().with("sig", &format!("{COVERED}{parameters}")).error();
        assert_eq!(error, Some(SignatureError::TagMissing { expected: "fapi-2-request".into() }), "{parameters}");
    }
    let label = Sent::new().with("fapi-2-request", &format!("{COVERED};created=1800000000;keyid=\"k\""));
    assert_eq!(label.error(), Some(SignatureError::TagMissing { expected: "fapi-2-request".into() }));
}

#[test]
fn hsig_03_what_the_profile_requires_is_covered() {
    assert_eq!(Sent::signed().error(), None); // control
    for name in ["@method", "@target-uri", "authorization", "dpop", "content-digest"] {
        let missing = Some(SignatureError::ComponentNotCovered { component: format!("\"{name}\"").into() });
        assert_eq!(Sent::new().with("sig", &format!("{}{PARAMETERS}", without(name))).error(), missing);
    }
    for other in ["\"authorization\";bs", "\"@authority\" \"@path\""] {
        let covered = COVERED.replace("\"authorization\"", other);
        let error = Sent::new().with("sig", &format!("{covered}{PARAMETERS}")).error();
        assert_eq!(error, Some(SignatureError::ComponentNotCovered { component: "\"authorization\"".into() }));
    }
}

#[test]
fn hsig_03_what_a_request_does_not_have_is_not_required() {
    let mut sent = Sent::new();
    for name in ["dpop", CONTENT_DIGEST] {
        sent.headers.remove(name);
    }
    let sent = sent.with("sig", &format!("(\"@method\" \"@target-uri\" \"authorization\"){PARAMETERS}"));
    let judge = |dpop, content| {
        sent.verify(&Profile::fapi2_request(dpop, content), &clients(ed()), NOW).map(|signed| signed.without_content())
    };
    assert!(matches!(judge(Dpop::Absent, Content::Absent), Ok(Ok(_))));
    assert!(judge(Dpop::Present, Content::Absent).is_err());
    assert!(judge(Dpop::Absent, Content::Present).is_err());
}

#[test]
fn hsig_04_created_is_recent_and_there() {
    let keys = clients(ed());
    let sent = Sent::signed();
    let at = |now: u64| sent.judge_at(&keys, UnixTime(now)).err();
    for now in [NOW.0 - 10, NOW.0, NOW.0 + 60] {
        assert_eq!(at(now), None, "control: {now}");
    }
    for now in [0, NOW.0 - 61, NOW.0 - 11, NOW.0 + 61, u64::MAX] {
        assert_eq!(at(now), Some(SignatureError::Stale { at: NOW, now: UnixTime(now) }));
    }
    let with = |created: &str| {
        Sent::new().with("sig", &format!("{COVERED}{}", PARAMETERS.replace(";created=1800000000", created))).error()
    };
    assert_eq!(with(";created=1800000000"), None); // control
    assert_eq!(with(""), Some(SignatureError::ParameterMissing { name: "created" }));
    for created in [";created=-1", ";created=1800000000.0", ";created=\"1800000000\""] {
        assert!(matches!(with(created), Some(SignatureError::ParameterMalformed { name: "created", .. })));
    }
}

#[test]
fn hsig_04_expires_is_honoured() {
    let with = |expires: u64| Sent::new().with("sig", &format!("{COVERED}{PARAMETERS};expires={expires}")).error();
    assert_eq!(with(NOW.0 + 1), None); // control
    for at in [NOW.0, NOW.0 - 1, 0] {
        assert_eq!(with(at), Some(SignatureError::Expired { at: UnixTime(at), now: NOW }));
    }
}

#[test]
fn hsig_05_a_signature_over_the_digest_of_another_body_is_no_proof() {
    let mut sent = Sent::signed();
    assert_eq!(sent.error(), None); // control
    sent.body.push(b' ');
    assert_eq!(sent.error(), Some(SignatureError::DigestMismatch { algorithm: "sha-256" }));
    let keys = clients(ed());
    let profile = Profile::fapi2_request(Dpop::Present, Content::Present);
    let signed = || sent.verify(&profile, &keys, NOW).unwrap();
    assert_eq!(signed().without_content().err(), Some(SignatureError::ContentUnchecked));
    // The digest of the other body, as a field that nobody signed.
    let mut other = sent.clone();
    other.headers.insert(CONTENT_DIGEST, content_digest(Sha256, &sent.body).parse().unwrap());
    let matched = other.content().unwrap();
    assert_eq!(signed().with_content(&matched).err(), Some(SignatureError::ContentNotSigned));
    assert_eq!(other.error(), Some(SignatureError::SignatureInvalid));
}

#[test]
fn hsig_05_a_digest_that_is_not_signed_is_no_proof() {
    let covered = without("content-digest");
    let sent = Sent::new().with("sig", &format!("{covered}{PARAMETERS}"));
    let profile = Profile::fapi2_request(Dpop::Present, Content::Absent);
    let signed = || sent.verify(&profile, &clients(ed()), NOW).unwrap();
    assert_eq!(signed().with_content(&sent.content().unwrap()).err(), Some(SignatureError::ContentNotSigned));
    assert!(signed().without_content().is_ok(), "control: of a message without content");
}

#[test]
fn hsig_06_all_signed_digests_that_count_match() {
    let with = |value: &str| {
        let mut sent = Sent::new();
        sent.headers.insert(CONTENT_DIGEST, value.parse().unwrap());
        sent.with("sig", &format!("{COVERED}{PARAMETERS}")).error()
    };
    let good = content_digest(Sha256, BODY);
    assert_eq!(with(&format!("{good}, {}", content_digest(Sha512, BODY))), None); // control
    let mismatch = Some(SignatureError::DigestMismatch { algorithm: "sha-512" });
    assert_eq!(with(&format!("{good}, {}", content_digest(Sha512, b"x"))), mismatch);
    assert_eq!(with("md5=:AAAA:"), Some(SignatureError::DigestUnsupported));
}

#[test]
fn hsig_08_the_key_is_one_of_the_client_by_its_name() {
    let other = PrivateKey::generate(Algorithm::EdDsa).unwrap();
    let sent = Sent::signed();
    let judge = |keys: &[(Option<&str>, &PrivateKey)]| sent.judge_at(&key_set(keys), NOW).err();
    assert_eq!(judge(&[(Some("k"), ed())]), None); // control
    assert_eq!(
        judge(&[(Some("a"), &other), (Some("k"), &other), (Some("k"), ed())]),
        None,
        "a name may be there twice"
    );
    let unknown = Some(SignatureError::KeyUnknown { key_id: "k".into() });
    assert_eq!(judge(&[(Some("b"), ed())]), unknown, "of another client, or of another name");
    assert_eq!(judge(&[(None, ed())]), unknown, "a key without a name");
    assert_eq!(judge(&[(Some("k"), &other)]), Some(SignatureError::SignatureInvalid));
    let others = |count: usize| {
        let mut keys = vec![(Some("k"), &other); count];
        keys.push((Some("k"), ed()));
        judge(&keys)
    };
    assert_eq!(others(MAX_TRIED - 1), None, "control");
    assert_eq!(others(MAX_TRIED), Some(SignatureError::SignatureInvalid), "as many as are tried");
    let nameless = Sent::new().with("sig", &format!("{COVERED}{}", PARAMETERS.replace(";keyid=\"k\"", "")));
    assert_eq!(nameless.error(), Some(SignatureError::ParameterMissing { name: "keyid" }));
}

#[test]
fn hsig_09_the_algorithm_is_that_of_the_key() {
    for key in KEYS.iter() {
        let own = registered_name(key.algorithm());
        for name in [
            "ed25519",
            "ecdsa-p256-sha256",
            "rsa-pss-sha512",
            "rsa-v1_5-sha256",
            "hmac-sha256",
            "ecdsa-p384-sha384",
            "EdDSA",
            "none",
            "",
        ] {
            let covered = format!("{COVERED}{PARAMETERS};alg=\"{name}\"");
            let sent = Sent::new().with_signer("sig", &covered, |base| key.sign_http_message(base, true).unwrap());
            let mismatch = SignatureError::AlgorithmMismatch { found: name.into(), expected: own };
            let expected = if name == own { None } else { Some(mismatch) };
            assert_eq!(sent.judge_at(&clients(key), NOW).err(), expected);
        }
    }
}

#[test]
fn hsig_09_other_signatures_of_an_rsa_key_do_not_count() {
    let key = &KEYS[1];
    let PrivateKey::Rsa(pair) = key else { panic!("not an RSA key") };
    let covered = format!("{COVERED}{PARAMETERS}");
    let judge_with = |covered: &str, sign: &dyn Fn(&[u8]) -> Vec<u8>| {
        Sent::new().with_signer("sig", covered, sign).judge_at(&clients(key), NOW).err()
    };
    let judge = |sign: &dyn Fn(&[u8]) -> Vec<u8>| judge_with(&covered, sign);
    let invalid = Some(SignatureError::SignatureInvalid);
    assert_eq!(judge(&|base| key.sign(base).unwrap()), None, "PSS with SHA-256, as in JWTs (RFC 9421 §3.3.7)");
    assert_eq!(judge(&|base| key.sign_http_message(base, true).unwrap()), None, "PSS with SHA-512 (§3.3.1)");
    let named = format!("{covered};alg=\"rsa-pss-sha512\"");
    assert_eq!(judge_with(&named, &|base| key.sign_http_message(base, true).unwrap()), None); // control
    assert_eq!(judge_with(&named, &|base| key.sign(base).unwrap()), invalid, "not with the algorithm that is named");
    let pkcs1 = |base: &[u8]| {
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), base, &mut signature).unwrap();
        signature
    };
    assert_eq!(judge(&pkcs1), invalid);
    let modulus = key.public_jwk().unwrap()["n"].as_str().unwrap().to_owned();
    let secret = hmac::Key::new(hmac::HMAC_SHA256, modulus.as_bytes());
    assert_eq!(judge(&|base| hmac::sign(&secret, base).as_ref().to_vec()), invalid, "a public key is no secret");
}

#[test]
fn hsig_09_a_key_for_ps512_signs_messages_alone() {
    let key = &KEYS[1];
    let jwk = |algorithm: &str| {
        let mut jwk = key.public_jwk().unwrap();
        jwk.extend([("kid".into(), "k".into()), ("alg".into(), algorithm.into())]);
        json!({ "keys": [jwk] }).to_string()
    };
    let covered = format!("{COVERED}{PARAMETERS}");
    let judge = |keys: &KeySet| {
        let sign = |base: &[u8]| key.sign_http_message(base, true).unwrap();
        Sent::new().with_signer("sig", &covered, sign).judge_at(keys, NOW).err()
    };
    let keys = KeySet::parse_with_ps512(jwk("PS512").as_bytes()).unwrap();
    assert_eq!(judge(&keys), None);
    assert_eq!(keys.candidates(None, Algorithm::Ps256).count(), 0, "no token");
    let keys = KeySet::parse_with_ps512(jwk("PS256").as_bytes()).unwrap();
    assert_eq!((judge(&keys), keys.candidates(None, Algorithm::Ps256).count()), (None, 1), "control");
    assert!(KeySet::parse(jwk("PS512").as_bytes()).is_err(), "an issuer signs no messages");
    assert!(KeySet::parse_with_ps512(jwk("RS512").as_bytes()).is_err());
}

#[test]
fn hsig_09_an_rsa_key_has_2048_bits() {
    let weak = json!({"kty": "RSA", "kid": "k", "e": "AQAB", "n": URL_SAFE_NO_PAD.encode([0xff; 128])});
    let keys = KeySet::parse(json!({ "keys": [weak] }).to_string().as_bytes()).unwrap();
    assert_eq!(Sent::signed().judge_at(&keys, NOW).err(), Some(SignatureError::KeyWeak));
    let strong = json!({"kty": "RSA", "kid": "k", "e": "AQAB", "n": URL_SAFE_NO_PAD.encode([0xff; 256])});
    let keys = KeySet::parse(json!({ "keys": [strong] }).to_string().as_bytes()).unwrap();
    assert_eq!(Sent::signed().judge_at(&keys, NOW).err(), Some(SignatureError::SignatureInvalid), "control");
}

#[test]
fn hsig_10_components_are_known_there_and_covered_once() {
    let with = |more: &str| {
        let covered = COVERED.replace(')', &format!(" {more})"));
        Sent::new().with("sig", &format!("{covered}{PARAMETERS}")).error()
    };
    assert_eq!(with("\"@authority\" \"@query-param\";name=\"a\""), None); // control
    assert_eq!(with("\"x-nope\""), Some(SignatureError::ComponentAbsent { component: "\"x-nope\"".into() }));
    assert_eq!(with("\"@method\""), Some(SignatureError::ComponentRepeated { component: "\"@method\"".into() }));
    for unknown in ["\"@nope\"", "\"authorization\";nope", "\"@status\"", "\"@method\";req", "authorization", "1"] {
        assert!(matches!(with(unknown), Some(SignatureError::ComponentRefused { .. })), "{unknown}");
    }
}

#[test]
fn hsig_11_a_signature_is_chosen_by_its_tag_and_one_that_holds_is_enough() {
    let good = format!("{COVERED}{PARAMETERS}");
    let label = |sent: &Sent| sent.judge().map(|signature| signature.label().to_owned());
    // A foreign one may be of any kind, as long as both fields have one reading.
    for foreign in ["();tag=\"x\"", "()", "(\"x\";tr 1 a);created=\"x\";tag=\"x\"", "();tag=1"] {
        let first = Sent::new().with("a", foreign).with("b", &good);
        assert_eq!(label(&first).as_deref(), Ok("b"), "{foreign}");
        let last = Sent::new().with("b", &good).with("a", foreign);
        assert_eq!(label(&last).as_deref(), Ok("b"), "{foreign}");
    }
    let broken = |sent: Sent, name: &str| sent.with_signer(name, &good, |_| vec![0; 64]);
    assert_eq!(label(&broken(Sent::new(), "a").with("b", &good)).as_deref(), Ok("b"));
    assert_eq!(label(&Sent::new().with("b", &good).with("a", "();tag=\"fapi-2-request\"")).as_deref(), Ok("b"));
    let both = broken(broken(Sent::new(), "a"), "b");
    assert_eq!(label(&both), Err(SignatureError::SignatureInvalid));
    assert_eq!(label(&Sent::new().with("anything", &good)).as_deref(), Ok("anything"));
}

#[test]
fn hsig_11_both_fields_are_read_strictly() {
    let malformed = |sent: Sent| matches!(sent.error(), Some(SignatureError::FieldMalformed { .. }));
    assert_eq!(Sent::signed().error(), None); // control
    let only = |name: &'static str, value: &str| {
        let mut sent = Sent::signed();
        sent.headers.append(name, value.parse().unwrap());
        sent
    };
    assert!(malformed(only(SIGNATURE_INPUT, "b=()")));
    assert!(malformed(only(SIGNATURE, "b=:AA==:")));
    assert!(malformed(only(SIGNATURE, "sig=:AA==:")), "the same label twice");
    assert!(malformed(only(SIGNATURE, "(")));
    let mut sent = Sent::signed();
    sent.headers.remove(SIGNATURE);
    assert_eq!(sent.error(), Some(SignatureError::FieldMissing { field: SIGNATURE }));
}

#[test]
fn hsig_12_the_target_uri_is_the_one_that_the_client_used() {
    let change = |change: fn(&mut Sent)| {
        let mut sent = Sent::signed();
        change(&mut sent);
        sent.error()
    };
    assert_eq!(change(|_| {}), None); // control
    assert_eq!(change(|sent| sent.authority = "API.example:443".into()), None, "control: another writing of it");
    let invalid = Some(SignatureError::SignatureInvalid);
    assert_eq!(change(|sent| sent.authority = "10.0.0.1:8080".into()), invalid);
    assert_eq!(change(|sent| sent.authority = "api.example:444".into()), invalid);
    assert_eq!(change(|sent| sent.scheme = "http"), invalid);
    assert_eq!(change(|sent| sent.path = "/Payments".into()), invalid);
    assert_eq!(change(|sent| sent.query = Some("a=1&b=3".into())), invalid, "the query counts here");
    assert_eq!(change(|sent| sent.query = Some("b=2&a=1".into())), invalid);
    assert_eq!(change(|sent| sent.query = None), invalid);
    assert_eq!(change(|sent| sent.method = Method::PUT), invalid);
}

#[test]
fn hsig_13_two_lines_of_a_covered_field_are_one() {
    let covered = format!("{}{PARAMETERS}", COVERED.replace(')', " \"x\")"));
    let mut sent = Sent::new();
    sent.headers.append("x", HeaderValue::from_static("a, b"));
    let mut sent = sent.with("sig", &covered);
    assert_eq!(sent.error(), None); // control
    sent.headers.remove("x");
    for line in ["a ", " b"] {
        sent.headers.append("x", HeaderValue::from_static(line));
    }
    assert_eq!(sent.error(), None);
    sent.headers.append("x", HeaderValue::from_static("c"));
    assert_eq!(sent.error(), Some(SignatureError::SignatureInvalid));
}

#[test]
fn hsig_14_a_replay_is_known_by_either_signature_of_ecdsa() {
    let key = &KEYS[0];
    let covered = format!("{COVERED}{PARAMETERS};nonce=\"n\"");
    let signature = key.sign_http_message(Sent::new().base(&covered).as_bytes(), false).unwrap();
    let hash = |signature: Vec<u8>| {
        let sent = Sent::new().with_signer("sig", &covered, |_| signature);
        sent.judge_at(&clients(key), NOW)
            .map(|signature| (*signature.signature_hash(), signature.nonce().map(str::to_owned)))
    };
    let s: [u8; 32] = signature[32..].try_into().unwrap();
    let other = [&signature[..32], &negated_s(&s).unwrap()].concat();
    assert_ne!(signature, other);
    let (own, nonce) = hash(signature.clone()).unwrap();
    assert_eq!(nonce.as_deref(), Some("n"));
    assert_eq!(hash(other).unwrap().0, own);
    let again = key.sign_http_message(Sent::new().base(&covered).as_bytes(), false).unwrap();
    assert_ne!(hash(again).unwrap().0, own, "control: another signature");
}

#[test]
fn hsig_21_a_field_of_a_trailer_is_not_covered() {
    let covered = |more: &str| format!("{}{PARAMETERS}", COVERED.replace(')', &format!(" \"dpop\";{more})")));
    assert_eq!(Sent::new().with("sig", &covered("bs")).error(), None); // control
    let error = Sent::new().with("sig", &covered("tr")).error();
    assert!(matches!(error, Some(SignatureError::ComponentRefused { .. })), "{error:?}");
}

#[test]
fn hsig_22_what_an_operator_reads_has_no_values() {
    let mut sent = Sent::signed();
    sent.headers.insert("authorization", HeaderValue::from_static("DPoP oThEr"));
    let text = sent.error().unwrap().to_string();
    assert_eq!(text, "the signature is invalid");
    let odd = format!("(\"@{}\u{7e}\"){PARAMETERS}", "x".repeat(200));
    let text = Sent::new().with_fields(&format!("a={odd}"), "a=:AA==:").error().unwrap().to_string();
    assert!(text.len() < 200 && text.is_ascii(), "{text}");
    let shown = format!("{:?}", Sent::signed().judge().unwrap());
    assert!(!shown.contains("sEcReT") && !shown.contains("aaa.bbb.ccc"), "{shown}");
}

#[test]
fn hsig_16_a_response_is_signed_with_parts_of_its_request() {
    let sent = Sent::signed();
    let status = StatusCode::OK;
    let mut unsigned = HeaderMap::new();
    unsigned.insert(CONTENT_DIGEST, content_digest(Sha256, b"{}").parse().unwrap());
    let mut headers = unsigned.clone();
    let components = ["\"@status\"", "\"content-digest\"", "\"@method\";req", "\"signature\";req"];
    let components = components.map(|name| name.parse().unwrap());
    let parameters = SignatureParameters {
        created: Some(NOW),
        key_id: Some("k".into()),
        tag: Some("fapi-2-response".into()),
        ..SignatureParameters::default()
    };
    let view = |status, headers, request| Message::Response(ResponseView { status, headers, request });
    let fields = sign(&view(status, &unsigned, sent.view()), "sig", &components, &parameters, ed()).unwrap();
    headers.insert(SIGNATURE_INPUT, fields.signature_input.parse().unwrap());
    headers.insert(SIGNATURE, fields.signature.parse().unwrap());
    let profile =
        Profile { tag: Some("fapi-2-response".into()), required: components.to_vec(), max_age: 60, clock_skew: 10 };
    let judge = |status, request| verify(&view(status, &headers, request), &profile, &clients(ed()), NOW).err();
    assert_eq!(judge(status, sent.view()), None); // control
    assert_eq!(judge(StatusCode::CREATED, sent.view()), Some(SignatureError::SignatureInvalid));
    let other = Sent::new().with("sig", &format!("{COVERED}{PARAMETERS};nonce=\"n\""));
    assert_eq!(judge(status, other.view()), Some(SignatureError::SignatureInvalid), "the answer to another request");
}

#[test]
fn what_cannot_be_written_is_not_signed() {
    let sent = Sent::new();
    let method = [Component::derived(crate::signature::component::Derived::Method)];
    let make = |label: &str, components: &[Component], parameters: &SignatureParameters| {
        sign(&Message::Request(sent.view()), label, components, parameters, ed()).err()
    };
    let none = SignatureParameters::default();
    assert_eq!(make("a-1", &method, &none), None); // control
    for label in ["", "A", "1", "a b", "a=", "\u{e9}"] {
        assert_eq!(make(label, &method, &none), Some(SignatureError::NotWritable { what: "the label" }), "{label}");
    }
    let nonce = SignatureParameters { nonce: Some("\n".into()), ..none.clone() };
    assert_eq!(make("a", &method, &nonce), Some(SignatureError::NotWritable { what: "nonce" }));
    let expires = SignatureParameters { expires: Some(UnixTime(u64::MAX)), ..none.clone() };
    assert_eq!(make("a", &method, &expires), Some(SignatureError::NotWritable { what: "expires" }));
    let algorithm = SignatureParameters { algorithm: Some("hmac-sha256".into()), ..none.clone() };
    assert!(matches!(make("a", &method, &algorithm), Some(SignatureError::AlgorithmMismatch { .. })));
    let absent = ["\"x-nope\"".parse().unwrap()];
    assert!(matches!(make("a", &absent, &none), Some(SignatureError::ComponentAbsent { .. })));
    let many = vec![method[0].clone(); 33];
    assert_eq!(make("a", &many, &none), Some(SignatureError::TooManyComponents { limit: 32 }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_made_verifies(
        which in 0_usize..3,
        nonce in "[ -~]{0,20}",
        path in "/[!-~&&[^?#]]{0,20}",
        value in "[!-~]([ -~]{0,20}[!-~])?",
        names_algorithm in any::<bool>(),
    ) {
        let key = &KEYS[which];
        let mut sent = Sent { path, ..Sent::new() };
        sent.headers.append("x", value.parse().unwrap());
        let names = ["@method", "@target-uri", "authorization", "dpop", "content-digest", "x"];
        let components = names.map(|name| format!("\"{name}\"").parse().unwrap());
        let parameters = SignatureParameters {
            created: Some(NOW),
            expires: Some(NOW.plus(1)),
            nonce: Some(nonce.as_str().into()),
            algorithm: names_algorithm.then(|| registered_name(key.algorithm()).into()),
            key_id: Some("k".into()),
            tag: Some("fapi-2-request".into()),
        };
        let fields = sign(&Message::Request(sent.view()), "sig", &components, &parameters, key).unwrap();
        let sent = sent.with_fields(&fields.signature_input, &fields.signature);
        let verified = sent.judge_at(&clients(key), NOW).unwrap();
        prop_assert_eq!(verified.nonce(), Some(nonce.as_str()));
        prop_assert_eq!(verified.components(), &components);
    }

    #[test]
    fn a_changed_byte_of_what_is_covered_is_refused(
        place in prop::sample::select(vec!["authorization", "dpop", "content-digest", "signature-input", "path", "query"]),
        index in 0_usize..1000,
        byte in b'!'..=b'~',
    ) {
        let good = Sent::signed();
        prop_assert!(good.judge().is_ok()); // control
        let mut sent = good.clone();
        let changed = |text: &str| {
            let mut bytes = text.as_bytes().to_vec();
            let index = index % bytes.len();
            bytes[index] = byte;
            String::from_utf8(bytes).unwrap()
        };
        let before;
        let after;
        match place {
            "path" => {
                before = sent.path.clone();
                after = changed(&before);
                sent.path.clone_from(&after);
            }
            "query" => {
                before = sent.query.clone().unwrap();
                after = changed(&before);
                sent.query = Some(after.clone());
            }
            name => {
                before = sent.headers[name].to_str().unwrap().to_owned();
                after = changed(&before);
                sent.headers.insert(name, after.parse().unwrap());
            }
        }
        prop_assert!(before == after || sent.judge().is_err(), "{} {}", place, after);
    }

    #[test]
    fn a_changed_byte_of_a_signature_is_refused(which in 0_usize..3, index in 0_usize..1000, bits in 1_u8..=255) {
        let key = &KEYS[which];
        let covered = format!("{COVERED}{PARAMETERS}");
        let sent = Sent::new().with_signer("sig", &covered, |base| {
            let mut signature = key.sign_http_message(base, false).unwrap();
            let index = index % signature.len();
            signature[index] ^= bits;
            signature
        });
        prop_assert_eq!(sent.judge_at(&clients(key), NOW).err(), Some(SignatureError::SignatureInvalid));
    }

    #[test]
    fn never_panics(input in "\\PC{0,100}", signature in "\\PC{0,100}", digest in "\\PC{0,100}", covered in "[ -~]{0,60}") {
        let mut sent = Sent::new();
        for (name, value) in [(SIGNATURE_INPUT, &input), (SIGNATURE, &signature), (CONTENT_DIGEST, &digest)] {
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                sent.headers.insert(name, value);
            }
        }
        prop_assert!(sent.judge().is_err());
        let sent = Sent::new().with_fields(&format!("a=(\"@method\"{covered}){PARAMETERS}"), "a=:AA==:");
        prop_assert!(sent.judge().is_err());
    }
}
