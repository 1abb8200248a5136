//! Bodies that are signed JWTs: each test starts from a good one, and changes one thing.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::code::Code;
use crate::jose::jwe::{DecryptionKey, EncryptionKey};
use crate::jose::signing::PrivateKey;
use crate::signed_body::testing::lost_key;
use crate::testing::{SigningKey, hs256, jwks, unsigned, with_members};

const NOW: UnixTime = UnixTime(1_800_000_000);

const ORGANISATION: &str = "7a4b0c1e-organisation";

const ENDPOINT: &str = "https://api.bank.example/open-banking/payments/v4/pix/payments";

const JTI: &str = "4f1e1f5c-8b3d-4c57-9f0a-3a2b1c0d9e8f";

static KEYS: LazyLock<[SigningKey; 3]> = LazyLock::new(|| {
    [Algorithm::Ps256, Algorithm::Es256, Algorithm::EdDsa].map(|algorithm| SigningKey::generate(algorithm, "k"))
});

fn header() -> Value {
    json!({ "alg": "PS256", "kid": "k", "typ": "JWT" })
}

fn claims() -> Value {
    json!({
        "aud": ENDPOINT, "iss": ORGANISATION, "jti": JTI, "iat": NOW.0 - 5, "data": { "amount": "1.00" },
    })
}

fn gulf_claims() -> Value {
    json!({
        "aud": [ENDPOINT], "iss": ORGANISATION, "jti": "any", "iat": NOW.0, "nbf": NOW.0, "exp": NOW.0 + 60,
        "message": { "Data": {} },
    })
}

fn endpoints() -> Vec<Box<str>> {
    vec!["https://other.example/".into(), ENDPOINT.into()]
}

fn clients(key: &SigningKey) -> KeySet {
    KeySet::parse(jwks(&[key]).to_string().as_bytes()).unwrap()
}

fn judge(body: &str) -> Result<VerifiedBody, SignedBodyError> {
    let endpoints = endpoints();
    verify(body.as_bytes(), &Rules::brazil(ORGANISATION, &endpoints), &clients(&KEYS[0]), NOW)
}

fn payload_of(verified: &VerifiedBody) -> Value {
    serde_json::from_str(verified.payload()).unwrap()
}

/// Why a good body with these members of its header replaced, or removed by `null`, is refused.
fn header_refusal(members: &Value) -> Option<SignedBodyError> {
    judge(&KEYS[0].sign(&with_members(header(), members), &claims())).err()
}

/// The same for claims.
fn refusal(members: &Value) -> Option<SignedBodyError> {
    judge(&KEYS[0].sign(&header(), &with_members(claims(), members))).err()
}

/// The same for claims by the rules of the Gulf.
fn gulf_refusal(members: &Value) -> Option<SignedBodyError> {
    let endpoints = endpoints();
    let body = KEYS[0].sign(&header(), &with_members(gulf_claims(), members));
    verify(body.as_bytes(), &Rules::gulf(ORGANISATION, &endpoints), &clients(&KEYS[0]), NOW).err()
}

fn code(refused: Option<SignedBodyError>) -> Option<Code> {
    refused.map(|error| error.code())
}

#[test]
fn ms_int_12_a_body_is_decrypted_if_a_signed_jwt_is_in_it_and_nothing_else() {
    let key = DecryptionKey::generate(None).unwrap();
    let public = EncryptionKey::from_jwk(&key.public_jwk()).unwrap();
    let keys = DecryptionKeys::new(vec![key]);
    let within = |text: &str| jwe::encrypt(text.as_bytes(), &public, Some("JWT")).unwrap();
    let jwt = KEYS[0].sign(&header(), &claims());
    let nested = within(&jwt);
    let decrypted = decrypt(nested.as_bytes(), &keys);
    assert_eq!(decrypted.as_deref(), Ok(&*jwt), "control");
    assert!(judge(&decrypted.unwrap()).is_ok());
    for (body, expected) in [
        (jwt.clone(), JweError::NotEncrypted),
        (within(&nested), JweError::NotSigned),
        (within(&claims().to_string()), JweError::NotSigned),
        (format!("{nested}\n"), JweError::Malformed { part: "authentication tag" }),
    ] {
        let refused = decrypt(body.as_bytes(), &keys).unwrap_err();
        assert_eq!((refused.code(), &refused), (Code::ContentNotDecrypted, &SignedBodyError::NotDecrypted(expected)));
    }
    assert_eq!(decrypt(b"\xff", &keys).unwrap_err().code(), Code::ContentNotDecrypted);
    assert_eq!(code(decrypt(b"", &keys).err()), Some(Code::SignatureMissing));
}

#[test]
fn br_11_a_body_that_the_client_signed_for_this_endpoint_holds() {
    let body = KEYS[0].sign(&header(), &claims());
    let verified = judge(&body).unwrap();
    assert_eq!((verified.issuer(), verified.jti(), verified.key_id()), (ORGANISATION, JTI, "k"));
    assert_eq!(verified.issued_at(), UnixTime(NOW.0 - 5));
    assert_eq!(payload_of(&verified), json!({ "amount": "1.00" }));
    assert_eq!(*verified.hash(), sha256(body.as_bytes()));
    assert_eq!(KEYS[0].jwk()["kty"], "RSA");
    let shown = format!("{verified:?}");
    assert!(!shown.contains("1.00") && !shown.contains(body.rsplit('.').next().unwrap()), "{shown}");
}

#[test]
fn br_11_the_payload_is_given_as_the_signer_wrote_it() {
    let text = r#"{ "amount" : 1.10, "note":"\u0061", "list":[ ] }"#;
    let written = format!(
        r#"{{"aud":"{ENDPOINT}", "iss":"{ORGANISATION}","jti":"{JTI}","iat":{}, "d\u0061ta" : {text} }}"#,
        NOW.0
    );
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header().to_string()), URL_SAFE_NO_PAD.encode(&written));
    let body = format!("{input}.{}", KEYS[0].signature(&input));
    let verified = judge(&body).unwrap();
    assert_eq!(verified.payload(), text);
    assert_eq!(payload_of(&verified), json!({ "amount": 1.1, "note": "a", "list": [] }));
    let endpoints = endpoints();
    let rules = Rules { payload: Payload::Claims, ..Rules::brazil(ORGANISATION, &endpoints) };
    let verified = verify(body.as_bytes(), &rules, &clients(&KEYS[0]), NOW).unwrap();
    assert_eq!(verified.payload(), written);
    assert_eq!(payload_of(&verified)["jti"], JTI);
}

#[test]
fn br_11_the_header_has_type_algorithm_and_key() {
    for members in [json!({}), json!({ "typ": "application/jwt" }), json!({ "other": 1 })] {
        assert_eq!(header_refusal(&members), None, "control: {members}");
    }
    let typ = SignedBodyError::MemberRefused { member: "typ", expected: "JWT" };
    for other in [json!("JOSE"), json!("at+jwt"), json!(""), json!(1)] {
        assert_eq!(header_refusal(&json!({ "typ": other })), Some(typ.clone()), "{other}");
    }
    let kid = SignedBodyError::MemberRefused { member: "kid", expected: "a text" };
    for other in [json!(""), json!(1), json!(["k"])] {
        assert_eq!(header_refusal(&json!({ "kid": other })), Some(kid.clone()), "{other}");
    }
    for member in ["typ", "kid"] {
        assert_eq!(header_refusal(&json!({ member: null })), Some(SignedBodyError::MemberMissing { member }));
    }
    for algorithm in ["ES256", "EdDSA", "RS256", "PS384", "HS256", "none", "", "ps256"] {
        let refused = code(header_refusal(&json!({ "alg": algorithm })));
        assert_eq!(refused, Some(Code::SignatureAlgorithmRefused), "{algorithm}");
    }
    assert_eq!(code(header_refusal(&json!({ "alg": null }))), Some(Code::SignatureAlgorithmRefused));
}

#[test]
fn br_11_other_algorithms_count_by_setting_alone() {
    let endpoints = endpoints();
    let usual = Rules::brazil(ORGANISATION, &endpoints);
    for key in &*KEYS {
        let body = key.sign(&with_members(header(), &json!({ "alg": key.algorithm() })), &claims());
        let judge = |rules: &Rules<'_>| verify(body.as_bytes(), rules, &clients(key), NOW).is_ok();
        assert!(judge(&Rules { algorithms: Algorithm::ALL, ..usual }), "control: {}", key.algorithm());
        assert_eq!(judge(&usual), key.algorithm() == "PS256");
    }
    // The key decides, not the header.
    let es256 = KEYS[1].sign(&with_members(header(), &json!({ "alg": "ES256" })), &claims());
    let judged = verify(es256.as_bytes(), &Rules { algorithms: Algorithm::ALL, ..usual }, &clients(&KEYS[0]), NOW);
    assert_eq!(judged.err(), Some(SignedBodyError::KeyUnknown { key_id: "k".into() }));
}

#[test]
fn br_11_no_extension_is_understood() {
    for members in [json!({ "crit": ["exp"], "exp": 1 }), json!({ "b64": false }), json!({ "b64": true })] {
        let refused = header_refusal(&members);
        assert_eq!(refused, Some(SignedBodyError::NotSignedJwt(JwsError::CriticalHeader)), "{members}");
    }
}

#[test]
fn br_11_aud_is_the_endpoint() {
    for same in [json!(ENDPOINT), json!([ENDPOINT]), json!(["https://x.example", ENDPOINT])] {
        assert_eq!(refusal(&json!({ "aud": same })), None, "control: {same}");
    }
    for other in [json!(""), json!([]), json!(format!("{ENDPOINT}/")), json!([ENDPOINT.to_uppercase()])] {
        let refused = refusal(&json!({ "aud": other }));
        assert!(matches!(refused, Some(SignedBodyError::AudienceMismatch { .. })), "{other}: {refused:?}");
        assert_eq!(code(refused), Some(Code::SignatureClaimRefused));
    }
    for malformed in [json!(1), json!([ENDPOINT, 1]), json!({ "a": ENDPOINT })] {
        let refused = refusal(&json!({ "aud": malformed }));
        assert!(matches!(refused, Some(SignedBodyError::ClaimMalformed { claim: "aud", .. })), "{malformed}");
    }
    assert_eq!(refusal(&json!({ "aud": null })), Some(SignedBodyError::ClaimMissing { claim: "aud" }));
}

#[test]
fn br_11_iss_is_the_organisation_of_the_client() {
    assert_eq!(refusal(&json!({})), None, "control");
    for other in ["", "other", "7A4B0C1E-ORGANISATION", " 7a4b0c1e-organisation"] {
        let expected = SignedBodyError::IssuerMismatch { found: other.into(), expected: ORGANISATION.into() };
        assert_eq!(refusal(&json!({ "iss": other })), Some(expected));
        assert_eq!(code(refusal(&json!({ "iss": other }))), Some(Code::SignatureClaimRefused));
    }
    assert_eq!(refusal(&json!({ "iss": null })), Some(SignedBodyError::ClaimMissing { claim: "iss" }));
    let malformed = SignedBodyError::ClaimMalformed { claim: "iss", expected: "a text" };
    assert_eq!(refusal(&json!({ "iss": [ORGANISATION] })), Some(malformed));
}

#[test]
fn br_11_jti_is_a_uuid_of_version_4() {
    for good in [JTI, &JTI.to_uppercase()] {
        assert_eq!(refusal(&json!({ "jti": good })), None, "control: {good}");
    }
    for bad in [
        "any",
        "",
        "4f1e1f5c-8b3d-1c57-9f0a-3a2b1c0d9e8f",
        "4f1e1f5c-8b3d-7c57-9f0a-3a2b1c0d9e8f",
        "4f1e1f5c-8b3d-4c57-0f0a-3a2b1c0d9e8f",
        "4f1e1f5c8b3d4c579f0a3a2b1c0d9e8f",
        "{4f1e1f5c-8b3d-4c57-9f0a-3a2b1c0d9e8f}",
        "urn:uuid:4f1e1f5c-8b3d-4c57-9f0a-3a2b1c0d9e8f",
    ] {
        let refused = refusal(&json!({ "jti": bad }));
        assert!(matches!(refused, Some(SignedBodyError::ClaimMalformed { claim: "jti", .. })), "{bad}: {refused:?}");
        assert_eq!(code(refused), Some(Code::SignatureClaimRefused));
    }
    assert_eq!(refusal(&json!({ "jti": null })), Some(SignedBodyError::ClaimMissing { claim: "jti" }));
    assert_eq!(gulf_refusal(&json!({ "jti": "x".repeat(256) })), None, "control");
    for bad in [json!("x".repeat(257)), json!(""), json!(1)] {
        let refused = gulf_refusal(&json!({ "jti": bad }));
        assert!(matches!(refused, Some(SignedBodyError::ClaimMalformed { claim: "jti", .. })), "{refused:?}");
    }
}

#[test]
fn br_11_iat_is_at_most_a_minute_away() {
    for at in [NOW.0 - 60, NOW.0, NOW.0 + 60] {
        assert_eq!(refusal(&json!({ "iat": at })), None, "control: {at}");
    }
    for at in [0, NOW.0 - 61, NOW.0 + 61] {
        let expected = SignedBodyError::Stale { at: UnixTime(at), now: NOW };
        assert_eq!(refusal(&json!({ "iat": at })), Some(expected));
        assert_eq!(code(refusal(&json!({ "iat": at }))), Some(Code::SignatureStale));
    }
    for bad in [json!("1800000000"), json!(-1), json!(true)] {
        let refused = refusal(&json!({ "iat": bad }));
        assert!(matches!(refused, Some(SignedBodyError::ClaimMalformed { claim: "iat", .. })), "{bad}: {refused:?}");
    }
    assert_eq!(refusal(&json!({ "iat": null })), Some(SignedBodyError::ClaimMissing { claim: "iat" }));
}

#[test]
fn a_claim_that_others_could_take_for_another_is_refused() {
    let with = |name: &str| code(refusal(&json!({ name: { "amount": "2.00" } })));
    for name in ["other", "d\u{e4}ta", "data2"] {
        assert_eq!(with(name), None, "control: {name:?}");
    }
    for name in ["Data", "DATA", "data\0", "ISS", "Aud", "jt\u{130}"] {
        assert_eq!(with(name), Some(Code::SignatureMalformed), "{name:?}");
    }
}

#[test]
fn br_11_the_payload_is_in_data() {
    assert_eq!(refusal(&json!({ "data": [] })), None, "control");
    assert_eq!(refusal(&json!({ "data": null })), Some(SignedBodyError::ClaimMissing { claim: "data" }));
    assert_eq!(gulf_refusal(&json!({ "message": {} })), None, "control");
    let missing = Some(SignedBodyError::ClaimMissing { claim: "message" });
    assert_eq!(gulf_refusal(&json!({ "message": null, "data": {} })), missing);
}

#[test]
fn br_13_keys_come_from_the_directory_alone() {
    assert_eq!(header_refusal(&json!({ "x5t": "abc" })), None, "control");
    for member in ["x5c", "x5u", "jku", "jwk"] {
        let expected = SignedBodyError::MemberNotAllowed { member: member.into() };
        assert_eq!(header_refusal(&json!({ member: [] })), Some(expected.clone()));
        assert_eq!(expected.code(), Code::SignatureClaimRefused);
    }
    let unknown = SignedBodyError::KeyUnknown { key_id: "other".into() };
    assert_eq!(header_refusal(&json!({ "kid": "other" })), Some(unknown.clone()));
    assert_eq!(unknown.code(), Code::SignatureKeyUnknown);
    let mut nameless = KEYS[0].jwk();
    nameless.as_object_mut().unwrap().remove("kid");
    let keys = KeySet::parse(json!({ "keys": [nameless] }).to_string().as_bytes()).unwrap();
    let endpoints = endpoints();
    let body = KEYS[0].sign(&header(), &claims());
    let judged = verify(body.as_bytes(), &Rules::brazil(ORGANISATION, &endpoints), &keys, NOW);
    assert_eq!(code(judged.err()), Some(Code::SignatureKeyUnknown));
    let n = URL_SAFE_NO_PAD.encode([0xff_u8; 128]);
    let weak = json!({ "keys": [{ "kty": "RSA", "kid": "k", "n": n, "e": "AQAB" }] });
    let weak = KeySet::parse(weak.to_string().as_bytes()).unwrap();
    let judged = verify(body.as_bytes(), &Rules::brazil(ORGANISATION, &endpoints), &weak, NOW);
    assert_eq!(judged.err(), Some(SignedBodyError::KeyWeak));
}

#[test]
fn br_14_a_signature_with_one_bit_changed_is_invalid() {
    let body = KEYS[0].sign(&header(), &claims());
    assert_eq!(judge(&body).err(), None, "control");
    let (signed, signature) = body.rsplit_once('.').unwrap();
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    bytes[0] ^= 0x40;
    let invalid = Some(SignedBodyError::SignatureInvalid);
    assert_eq!(judge(&format!("{signed}.{}", URL_SAFE_NO_PAD.encode(bytes))).err(), invalid);
    assert_eq!(judge(&format!("{signed}.")).err(), invalid);
    let stranger = SigningKey::generate(Algorithm::Ps256, "k");
    assert_eq!(judge(&stranger.sign(&header(), &claims())).err(), invalid);
    let other = unsigned(&header(), &with_members(claims(), &json!({ "data": { "amount": "9.00" } })));
    assert_eq!(judge(&format!("{other}{signature}")).err(), invalid);
    assert_eq!(SignedBodyError::SignatureInvalid.code(), Code::SignatureInvalid);
}

#[test]
fn uae_03_exp_and_nbf_count() {
    for members in [
        json!({}),
        json!({ "nbf": NOW.0 + 10 }),
        json!({ "nbf": 0 }),
        json!({ "exp": NOW.0 - 9 }),
        json!({ "exp": NOW.0 + 1_000_000 }),
    ] {
        assert_eq!(gulf_refusal(&members), None, "control: {members}");
    }
    let early = SignedBodyError::NotValidYet { at: UnixTime(NOW.0 + 11), now: NOW };
    assert_eq!(gulf_refusal(&json!({ "nbf": NOW.0 + 11 })), Some(early.clone()));
    let late = SignedBodyError::Expired { at: UnixTime(NOW.0 - 10), now: NOW };
    assert_eq!(gulf_refusal(&json!({ "exp": NOW.0 - 10 })), Some(late.clone()));
    assert_eq!((early.code(), late.code()), (Code::SignatureStale, Code::SignatureStale));
    for claim in ["exp", "nbf"] {
        assert_eq!(gulf_refusal(&json!({ claim: null })), Some(SignedBodyError::ClaimMissing { claim }));
        let malformed = SignedBodyError::ClaimMalformed { claim, expected: "a number of seconds" };
        assert_eq!(gulf_refusal(&json!({ claim: "1" })), Some(malformed.clone()));
        // What need not be there counts where it is.
        assert_eq!(refusal(&json!({ claim: "1" })), Some(malformed));
    }
    assert_eq!(refusal(&json!({ "exp": NOW.0 - 10 })), Some(late));
    assert_eq!(refusal(&json!({ "nbf": NOW.0 + 11 })), Some(early));
}

#[test]
fn uae_04_a_body_that_is_no_signed_jwt_is_refused() {
    let body = KEYS[0].sign(&header(), &claims());
    assert_eq!(judge(&body).err(), None, "control");
    let twice = format!("{{\"jti\":\"{JTI}\",{}", &claims().to_string()[1..]);
    let input = format!("{}.{}", URL_SAFE_NO_PAD.encode(header().to_string()), URL_SAFE_NO_PAD.encode(twice));
    let duplicate = format!("{input}.{}", KEYS[0].signature(&input));
    for other in [
        claims().to_string(),
        format!("{body}\n"),
        format!(" {body}"),
        format!("\"{body}\""),
        format!("{body}.{body}"),
        format!("{body}=="),
        "a.b.c.d.e".to_owned(),
        duplicate,
    ] {
        let refused = judge(&other).err();
        let malformed = [Some(Code::SignatureMalformed), Some(Code::SignatureInvalid)];
        assert!(malformed.contains(&code(refused.clone())), "{other}: {refused:?}");
    }
    assert_eq!(code(judge("").err()), Some(Code::SignatureMissing));
    let endpoints = endpoints();
    let bytes = verify(b"\xff", &Rules::brazil(ORGANISATION, &endpoints), &clients(&KEYS[0]), NOW);
    assert_eq!(code(bytes.err()), Some(Code::SignatureMalformed));
    let none = unsigned(&with_members(header(), &json!({ "alg": "none" })), &claims());
    assert_eq!(code(judge(&none).err()), Some(Code::SignatureAlgorithmRefused));
    let symmetric = hs256(b"secret", &with_members(header(), &json!({ "alg": "HS256" })), &claims());
    assert_eq!(code(judge(&symmetric).err()), Some(Code::SignatureAlgorithmRefused));
    let large = SignedBodyError::NotSignedJwt(JwsError::TooLarge { bytes: MAX_BYTES + 1, limit: MAX_BYTES });
    assert_eq!(judge(&"a".repeat(MAX_BYTES + 1)).err(), Some(large.clone()));
    assert_ne!(judge(&"a".repeat(MAX_BYTES)).err(), Some(large), "control");
}

#[test]
fn br_15_what_is_signed_here_is_verified() {
    let private = PrivateKey::generate(Algorithm::Ps256).unwrap();
    let jwk = with_members(Value::Object(private.public_jwk().unwrap()), &json!({ "kid": "bank" }));
    let keys = KeySet::parse(json!({ "keys": [jwk] }).to_string().as_bytes()).unwrap();
    let key = NamedKey::new(private, Some("bank")).unwrap();
    let made = Claims { issuer: "bank", audience: ORGANISATION, jti: JTI, issued_at: NOW, valid: None };
    let content = |value: Value| value.as_object().unwrap().clone();
    let audiences = vec![ORGANISATION.into()];
    let body = sign(&made, content(json!({ "data": { "a": 1 }, "meta": {} })), &key).unwrap();
    let verified = verify(body.as_bytes(), &Rules::brazil("bank", &audiences), &keys, NOW).unwrap();
    assert_eq!((payload_of(&verified), verified.key_id()), (json!({ "a": 1 }), "bank"));
    let valid = Some(ValidBetween { not_before: NOW, expires: NOW.plus(60) });
    let body = sign(&Claims { valid, ..made }, content(json!({ "message": {} })), &key).unwrap();
    assert!(verify(body.as_bytes(), &Rules::gulf("bank", &audiences), &keys, NOW).is_ok());
    assert!(verify(body.as_bytes(), &Rules::gulf("bank", &audiences), &keys, NOW.plus(61)).is_err());
    let lost = sign(&made, content(json!({ "data": {} })), &lost_key());
    assert_eq!(lost.map_err(|error| error.code()), Err(Code::ResponseNotSigned));
    for name in ["iss", "aud", "jti", "iat", "exp", "nbf", "sub"] {
        let refused = sign(&made, content(json!({ name: "x", "data": {} })), &key);
        assert_eq!(refused, Err(SignedBodyError::NotWritable { what: name }));
    }
}

#[test]
fn errors_show_nothing_of_signature_and_payload() {
    let body = KEYS[0].sign(&header(), &claims());
    let signature = body.rsplit_once('.').unwrap().1;
    let errors = [
        judge(&format!("{body}x")).err(),
        judge(&format!("secret{body}")).err(),
        refusal(&json!({ "data": null, "secret": "secret" })),
        refusal(&json!({ "jti": "secret" })),
        refusal(&json!({ "iat": "secret" })),
        refusal(&json!({ "aud": ["x"], "data": "secret" })),
        header_refusal(&json!({ "typ": "secret" })),
    ];
    for error in errors.map(Option::unwrap) {
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("secret") && !shown.contains(&signature[..20]), "{shown}");
    }
}

proptest! {
    #[test]
    fn never_panics(
        text in "[ -~]{0,80}",
        header in "\\{\"[ -~]{0,40}\\}",
        claims in "\\{\"[ -~]{0,40}\\}",
        bytes in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let endpoints = endpoints();
        let rules = Rules::brazil(ORGANISATION, &endpoints);
        let jwt = format!("{}.{}.{text}", encode(&header), encode(&claims));
        for body in [text.into_bytes(), jwt.into_bytes(), bytes] {
            prop_assert!(verify(&body, &rules, &KeySet::default(), NOW).is_err());
        }
    }

    #[test]
    fn the_text_of_the_payload_reads_as_the_payload(data in "[ -~]{0,30}", number in any::<f64>()) {
        let data = json!({ "text": data, "number": number });
        let text = json!({ "iss": "x", "data": data }).to_string();
        let jwt = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(&text));
        let Value::Object(claims) = serde_json::from_str(&text).unwrap() else { panic!("an object") };
        let text = payload(&claims, &jwt, Payload::Claim("data")).unwrap();
        prop_assert_eq!(&serde_json::from_str::<Value>(&text).unwrap(), &claims["data"]);
    }
}

#[test]
fn br_15_uae_03_a_response_is_signed_with_its_numbers_and_white_space() {
    let key = NamedKey::new(PrivateKey::generate(Algorithm::Ps256).unwrap(), Some("own")).unwrap();
    let valid = Some(ValidBetween { not_before: UnixTime(1), expires: UnixTime(2) });
    let claims = Claims { issuer: "bank", audience: "tpp", jti: "1", issued_at: UnixTime(1), valid };
    let signed = |content: Result<Content<'_>, SignedBodyError>| {
        let jwt = sign_content(&claims, content.unwrap(), &key).unwrap();
        let part = jwt.split('.').nth(1).unwrap().to_owned();
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
        let parsed: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&parsed["iss"], &parsed["exp"]), (&json!("bank"), &json!(2)), "{text}");
        text
    };
    let body = b" { \"data\" : {\"amount\": 10.00}, \"links\":{} }\n";
    assert!(signed(Content::brazil(body)).ends_with(", \"data\" : {\"amount\": 10.00}, \"links\":{} }"));
    assert!(signed(Content::gulf(body)).ends_with(",\"message\":{ \"data\" : {\"amount\": 10.00}, \"links\":{} }}"));
    for other in ["[1.0]", "\"text\"", "{\"iss\":\"other\"}", "{\"a\":1,\"a\":2}"] {
        assert!(signed(Content::brazil(other.as_bytes())).ends_with(&format!(",\"data\":{other}}}")), "{other}");
    }
    for empty in ["{}", "{ }"] {
        let text = signed(Content::brazil(empty.as_bytes()));
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap().as_object().unwrap().len(), 6, "{text}");
    }
    for bad in [&b""[..], b"{", b"{} {}", b"\xff"] {
        let refused = Some(SignedBodyError::NotWritable { what: "a body that is not JSON" });
        assert_eq!((Content::brazil(bad).err(), Content::gulf(bad).err()), (refused.clone(), refused));
    }
}
