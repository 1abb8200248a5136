//! Signed bodies: each test starts from a good one, and changes one thing.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;
use crate::code::Code;
use crate::jose::signing::PrivateKey;
use crate::signed_body::testing::lost_key;
use crate::testing::{SigningKey, jwks, with_members};

const NOW: UnixTime = UnixTime(1_800_000_000);

const BODY: &str = r#"{"Data": {"Amount": "1.00"}}"#;

const ISSUER: &str = "0015800001041REAAY/ZT5WvF3wcPu";

static KEYS: LazyLock<[SigningKey; 3]> = LazyLock::new(|| {
    [Algorithm::Ps256, Algorithm::Es256, Algorithm::EdDsa].map(|algorithm| SigningKey::generate(algorithm, "k"))
});

fn header() -> Value {
    json!({
        "alg": "PS256", "kid": "k", "typ": "JOSE", "cty": "application/json", "crit": [IAT, ISS, TAN],
        IAT: NOW.0 - 5, ISS: ISSUER, TAN: "openbanking.org.uk",
    })
}

/// The header of versions before 3.1.4.
fn old_header() -> Value {
    with_members(header(), &json!({ "b64": false, "crit": ["b64", IAT, ISS, TAN] }))
}

/// The value of the field for this header and this body.
fn signed_by(key: &SigningKey, header: &Value, body: &str, form: Form) -> String {
    let protected = URL_SAFE_NO_PAD.encode(header.to_string());
    let input = String::from_utf8(signing_input(&protected, body.as_bytes(), form)).unwrap();
    format!("{protected}..{}", key.signature(&input))
}

fn signed(header: &Value) -> String {
    signed_by(&KEYS[0], header, BODY, Form::Encoded)
}

fn fields(values: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(X_JWS_SIGNATURE, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

fn clients(key: &SigningKey) -> KeySet {
    KeySet::parse(jwks(&[key]).to_string().as_bytes()).unwrap()
}

fn anchors() -> Vec<Box<str>> {
    vec!["other.example".into(), "openbanking.org.uk".into()]
}

fn judge_with(rules: &Rules<'_>, value: &str, body: &str) -> Result<VerifiedDetachedSignature, SignedBodyError> {
    verify(&fields(&[value]), body.as_bytes(), rules, &clients(&KEYS[0]), NOW)
}

fn judge(value: &str, body: &str) -> Result<VerifiedDetachedSignature, SignedBodyError> {
    let anchors = anchors();
    judge_with(&Rules::new(ExpectedIssuer::Exact(ISSUER), &anchors), value, body)
}

/// Why the good header with these members replaced, or removed by `null`, is refused.
fn refusal(members: &Value) -> Option<SignedBodyError> {
    judge(&signed(&with_members(header(), members)), BODY).err()
}

fn code(members: &Value) -> Option<Code> {
    refusal(members).map(|error| error.code())
}

#[test]
fn uk_07_a_detached_signature_over_the_body_holds() {
    let value = signed(&header());
    let verified = judge(&value, BODY).unwrap();
    assert_eq!((verified.key_id(), verified.issuer()), ("k", ISSUER));
    assert_eq!((verified.trust_anchor(), verified.issued_at()), ("openbanking.org.uk", UnixTime(NOW.0 - 5)));
    assert_eq!(verified.value(), value);
    let shown = format!("{verified:?}");
    assert!(!shown.contains(&value[value.len() - 20..]), "{shown}");
}

#[test]
fn uk_07_the_header_has_the_listed_members_and_no_others() {
    for members in [
        json!({}), // control
        json!({ "typ": null }),
        json!({ "cty": null }),
        json!({ "cty": "json" }),
    ] {
        assert_eq!(refusal(&members), None, "control: {members}");
    }
    for name in ["x5c", "x5u", "jku", "jwk", "x5t", "b64", "exp", "iat", "http://openbanking.org.uk/IAT", ""] {
        let expected = SignedBodyError::MemberNotAllowed { member: name.into() };
        assert_eq!(refusal(&json!({ name: true })), Some(expected), "{name}");
    }
    for (name, value) in [
        ("typ", json!("JWT")),
        ("typ", json!(1)),
        ("typ", json!("")),
        ("cty", json!("application/xml")),
        ("cty", json!("text/json")),
        ("cty", json!([])),
        ("kid", json!("")),
        ("kid", json!(1)),
        ("alg", json!(1)),
    ] {
        let refused = refusal(&json!({ name: value }));
        let of_it = matches!(refused, Some(SignedBodyError::MemberRefused { member, .. }) if member == name);
        assert!(of_it, "{name}: {refused:?}");
        assert_eq!(code(&json!({ name: value })), Some(Code::SignatureClaimRefused));
    }
    for member in ["alg", "kid", "crit"] {
        assert_eq!(refusal(&json!({ member: null })), Some(SignedBodyError::MemberMissing { member }));
    }
}

#[test]
fn uk_07_the_body_is_what_cty_says() {
    let xml = "<Document/>";
    let judge_xml = |members: &Value| {
        let value = signed_by(&KEYS[0], &with_members(header(), members), xml, Form::Encoded);
        judge(&value, xml).err()
    };
    assert_eq!(judge_xml(&json!({ "cty": null })), None, "control");
    let expected = SignedBodyError::MemberRefused { member: "cty", expected: "the type of the body" };
    assert_eq!(judge_xml(&json!({})), Some(expected));
}

#[test]
fn uk_07_only_accepted_algorithms_count() {
    assert_eq!(code(&json!({})), None, "control");
    for name in ["ES256", "EdDSA", "RS256", "PS512", "HS256", "none", "ps256"] {
        assert_eq!(code(&json!({ "alg": name })), Some(Code::SignatureAlgorithmRefused), "{name}");
    }
    let anchors = anchors();
    let usual = Rules::new(ExpectedIssuer::Exact(ISSUER), &anchors);
    for key in &*KEYS {
        let value = signed_by(key, &with_members(header(), &json!({ "alg": key.algorithm() })), BODY, Form::Encoded);
        let judge =
            |rules: &Rules<'_>| verify(&fields(&[&value]), BODY.as_bytes(), rules, &clients(key), NOW).map(drop);
        assert_eq!(judge(&Rules { algorithms: Algorithm::ALL, ..usual }), Ok(()), "{}", key.algorithm());
        assert_eq!(judge(&usual).is_ok(), key.algorithm() == "PS256");
    }
    // The key decides, not the header.
    let es256 = signed_by(&KEYS[1], &with_members(header(), &json!({ "alg": "ES256" })), BODY, Form::Encoded);
    let refused = judge_with(&Rules { algorithms: Algorithm::ALL, ..usual }, &es256, BODY);
    assert_eq!(refused.err(), Some(SignedBodyError::KeyUnknown { key_id: "k".into() }));
}

#[test]
fn uk_08_crit_is_exactly_the_claims() {
    let in_another_order = json!({ "crit": [TAN, IAT, ISS] });
    assert_eq!(refusal(&in_another_order), None, "control");
    for value in [
        json!([]),
        json!([IAT, ISS]),
        json!([IAT, ISS, ISS]),
        json!([IAT, ISS, TAN, TAN]),
        json!([IAT, ISS, TAN, "b64"]),
        json!([IAT, ISS, TAN, "exp"]),
        json!([IAT, ISS, "http://openbanking.org.uk/TAN"]),
        json!([IAT, ISS, TAN, 1]),
        json!(IAT),
        json!({ IAT: ISS }),
    ] {
        let refused = refusal(&json!({ "crit": value }));
        let of_crit = matches!(refused, Some(SignedBodyError::MemberRefused { member: "crit", .. }));
        assert!(of_crit, "{value}: {refused:?}");
    }
}

#[test]
fn uk_08_iat_is_in_its_window() {
    for at in [NOW.0 - 60, NOW.0, NOW.0 + 10] {
        assert_eq!(refusal(&json!({ IAT: at })), None, "control: {at}");
    }
    for at in [0, NOW.0 - 61, NOW.0 + 11] {
        let expected = SignedBodyError::Stale { at: UnixTime(at), now: NOW };
        assert_eq!(refusal(&json!({ IAT: at })), Some(expected), "{at}");
        assert_eq!(code(&json!({ IAT: at })), Some(Code::SignatureStale));
    }
    for value in [json!("1800000000"), json!(true), json!(-1), json!([NOW.0])] {
        let refused = refusal(&json!({ IAT: value }));
        assert!(matches!(refused, Some(SignedBodyError::ClaimMalformed { claim: IAT, .. })), "{value}: {refused:?}");
    }
    assert_eq!(refusal(&json!({ IAT: null })), Some(SignedBodyError::ClaimMissing { claim: IAT }));
}

#[test]
fn uk_08_iss_is_the_sender() {
    assert_eq!(refusal(&json!({})), None, "control");
    for other in ["", "0015800001041REAAY", "0015800001041REAAY/zt5wvf3wcpu", "other/ZT5WvF3wcPu"] {
        let expected = SignedBodyError::IssuerMismatch { found: other.into(), expected: ISSUER.into() };
        assert_eq!(refusal(&json!({ ISS: other })), Some(expected), "{other}");
    }
    let malformed = SignedBodyError::ClaimMalformed { claim: ISS, expected: "a text" };
    assert_eq!(refusal(&json!({ ISS: [ISSUER] })), Some(malformed));
    assert_eq!(refusal(&json!({ ISS: null })), Some(SignedBodyError::ClaimMissing { claim: ISS }));
    assert_eq!(code(&json!({ ISS: "other" })), Some(Code::SignatureClaimRefused));
}

#[test]
fn uk_08_iss_can_be_the_subject_of_the_certificate_however_it_is_written() {
    let subject = Name::from_text("CN=client,2.5.4.97=PSDGB-FCA-1,O=Bank\\, N.V.,C=GB").unwrap();
    let anchors = anchors();
    let rules = Rules::new(ExpectedIssuer::Subject(&subject), &anchors);
    let judge =
        |issuer: &str| judge_with(&rules, &signed(&with_members(header(), &json!({ ISS: issuer }))), BODY).err();
    for same in [
        "CN=client,2.5.4.97=PSDGB-FCA-1,O=Bank\\, N.V.,C=GB",
        "cn=Client, organizationIdentifier=psdgb-fca-1, O=Bank\\2C  N.V., C=GB",
    ] {
        assert_eq!(judge(same), None, "control: {same}");
    }
    for other in [
        "CN=client,2.5.4.97=PSDGB-FCA-2,O=Bank\\, N.V.,C=GB",
        "CN=client,O=Bank\\, N.V.,C=GB",
        "C=GB,O=Bank\\, N.V.,2.5.4.97=PSDGB-FCA-1,CN=client",
        "client",
        "",
        ISSUER,
    ] {
        assert_eq!(judge(other).map(|error| error.code()), Some(Code::SignatureClaimRefused), "{other}");
    }
}

#[test]
fn uk_08_tan_is_a_trusted_anchor() {
    for same in ["openbanking.org.uk", "OpenBanking.org.uk", "other.example"] {
        assert_eq!(refusal(&json!({ TAN: same })), None, "control: {same}");
    }
    for other in ["", "openbanking.org.uk.evil.example", "www.openbanking.org.uk", "openbanking.org"] {
        let refused = refusal(&json!({ TAN: other }));
        assert!(matches!(refused, Some(SignedBodyError::TrustAnchorUnknown { .. })), "{other}: {refused:?}");
    }
    assert_eq!(refusal(&json!({ TAN: null })), Some(SignedBodyError::ClaimMissing { claim: TAN }));
    assert_eq!(code(&json!({ TAN: "evil.example" })), Some(Code::SignatureClaimRefused));
}

#[test]
fn uk_08_b64_belongs_to_the_old_form_alone() {
    let anchors = anchors();
    let new = Rules::new(ExpectedIssuer::Exact(ISSUER), &anchors);
    let old = Rules { form: Form::Unencoded, ..new };
    let by = |rules: &Rules<'_>, header: &Value, form| {
        judge_with(rules, &signed_by(&KEYS[0], header, BODY, form), BODY).err().map(|error| error.code())
    };
    assert_eq!(by(&old, &old_header(), Form::Unencoded), None, "control");
    assert_eq!(by(&new, &header(), Form::Encoded), None, "control");
    // What is signed is not what the form says.
    assert_eq!(by(&old, &old_header(), Form::Encoded), Some(Code::SignatureInvalid));
    assert_eq!(by(&new, &header(), Form::Unencoded), Some(Code::SignatureInvalid));
    // The header is of the other form.
    let refused = Some(Code::SignatureClaimRefused);
    assert_eq!(by(&new, &old_header(), Form::Unencoded), refused);
    assert_eq!(by(&old, &header(), Form::Encoded), refused);
    let with = |value: &Value| by(&old, &with_members(old_header(), &json!({ "b64": value })), Form::Unencoded);
    for value in [json!(true), json!("false"), json!(0)] {
        assert_eq!(with(&value), refused, "{value}");
    }
    assert_eq!(with(&Value::Null), Some(Code::SignatureClaimMissing));
    // RFC 7797 §6: b64 without crit is not understood by all.
    assert_eq!(by(&old, &with_members(old_header(), &json!({ "crit": [IAT, ISS, TAN] })), Form::Unencoded), refused);
}

#[test]
fn uk_09_a_field_that_is_missing_or_has_no_one_reading_is_refused() {
    let value = signed(&header());
    let anchors = anchors();
    let judge_all = |values: &[&str]| {
        let rules = Rules::new(ExpectedIssuer::Exact(ISSUER), &anchors);
        let judged = verify(&fields(values), BODY.as_bytes(), &rules, &clients(&KEYS[0]), NOW);
        judged.err().map(|error| error.code())
    };
    assert_eq!(judge_all(&[&value]), None, "control");
    assert_eq!(judge_all(&[]), Some(Code::SignatureMissing));
    let (protected, signature) = value.split_once("..").unwrap();
    let twice = format!("{{\"alg\":\"PS256\",{}", &header().to_string()[1..]);
    let malformed = [
        String::new(),
        "..".into(),
        "é..é".into(),
        format!("{protected}.{signature}"),
        format!("{protected}...{signature}"),
        format!("{protected}.{}.{signature}", URL_SAFE_NO_PAD.encode(BODY)),
        format!("{protected}..{signature}."),
        format!("{protected}=..{signature}"),
        format!("{}..{signature}", URL_SAFE_NO_PAD.encode("[]")),
        format!("{}..{signature}", URL_SAFE_NO_PAD.encode(twice)),
    ];
    for value in &malformed {
        assert_eq!(judge_all(&[value]), Some(Code::SignatureMalformed), "{value}");
    }
    assert_eq!(judge_all(&[&value, &value]), Some(Code::SignatureMalformed));
    let long = |length: usize| format!("{value}{}", "A".repeat(length - value.len()));
    assert_eq!(judge_all(&[&long(MAX_FIELD_BYTES)]), Some(Code::SignatureInvalid), "control");
    assert_eq!(judge_all(&[&long(MAX_FIELD_BYTES + 1)]), Some(Code::SignatureMalformed));
}

#[test]
fn uk_09_a_key_that_is_not_the_clients_verifies_nothing() {
    let stranger = SigningKey::generate(Algorithm::Ps256, "k");
    let forged = signed_by(&stranger, &header(), BODY, Form::Encoded);
    assert_eq!(judge(&signed(&header()), BODY).err(), None, "control");
    assert_eq!(judge(&forged, BODY).err(), Some(SignedBodyError::SignatureInvalid));
    assert_eq!(code(&json!({ "kid": "other" })), Some(Code::SignatureKeyUnknown));
    assert!(refusal(&json!({ "kid": "other" })).unwrap().depends_on_keys());
    // A key without a name has none to be found by.
    let mut nameless = KEYS[0].jwk();
    nameless.as_object_mut().unwrap().remove("kid");
    let keys = KeySet::parse(json!({ "keys": [nameless] }).to_string().as_bytes()).unwrap();
    let anchors = anchors();
    let rules = Rules::new(ExpectedIssuer::Exact(ISSUER), &anchors);
    let judged = verify(&fields(&[&signed(&header())]), BODY.as_bytes(), &rules, &keys, NOW);
    assert_eq!(judged.err().map(|error| error.code()), Some(Code::SignatureKeyUnknown));
    let n = URL_SAFE_NO_PAD.encode([0xff_u8; 128]);
    let weak = json!({ "keys": [{ "kty": "RSA", "kid": "k", "n": n, "e": "AQAB" }] });
    let weak = KeySet::parse(weak.to_string().as_bytes()).unwrap();
    let judged = verify(&fields(&[&signed(&header())]), BODY.as_bytes(), &rules, &weak, NOW);
    assert_eq!(judged.err(), Some(SignedBodyError::KeyWeak));
}

#[test]
fn uk_09_a_signature_with_one_bit_changed_is_invalid() {
    let value = signed(&header());
    assert_eq!(judge(&value, BODY).err(), None, "control");
    let (start, signature) = value.split_at(value.find("..").unwrap() + 2);
    let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
    bytes[7] ^= 1;
    let flipped = format!("{start}{}", URL_SAFE_NO_PAD.encode(&bytes));
    assert_eq!(judge(&flipped, BODY).err(), Some(SignedBodyError::SignatureInvalid));
    assert_eq!(judge(start, BODY).err(), Some(SignedBodyError::SignatureInvalid));
}

#[test]
fn uk_10_the_signature_is_over_the_bytes_of_the_body() {
    let value = signed(&header());
    assert_eq!(judge(&value, BODY).err(), None, "control");
    for other in
        [r#"{"Data":{"Amount":"1.00"}}"#, r#"{"Data": {"Amount": "1.00"}} "#, r#"{"Data": {"Amount": "9.00"}}"#]
    {
        assert_eq!(judge(&value, other).err(), Some(SignedBodyError::SignatureInvalid), "{other}");
    }
}

#[test]
fn uk_10_a_body_has_a_limit() {
    let judge = |length: usize| {
        let anchors = anchors();
        let rules = Rules::new(ExpectedIssuer::Exact(ISSUER), &anchors);
        verify(&fields(&["x"]), &vec![b' '; length], &rules, &clients(&KEYS[0]), NOW).err()
    };
    let large = SignedBodyError::TooLarge { what: "the body", limit: MAX_BODY_BYTES };
    assert_ne!(judge(MAX_BODY_BYTES), Some(large.clone()), "control");
    assert_eq!(judge(MAX_BODY_BYTES + 1), Some(large));
}

#[test]
fn uk_11_what_is_signed_here_is_verified_in_both_forms() {
    let private = PrivateKey::generate(Algorithm::Ps256).unwrap();
    let jwk = with_members(Value::Object(private.public_jwk().unwrap()), &json!({ "kid": "bank" }));
    let keys = KeySet::parse(json!({ "keys": [jwk] }).to_string().as_bytes()).unwrap();
    let key = NamedKey::new(private, Some("bank")).unwrap();
    let claims = Claims { issuer: "001", trust_anchor: "openbanking.org.uk", issued_at: NOW };
    let anchors = anchors();
    let rules = Rules::new(ExpectedIssuer::Exact("001"), &anchors);
    for form in [Form::Encoded, Form::Unencoded] {
        let (value, evidence) = sign_with_evidence(BODY.as_bytes(), &claims, form, &key).unwrap();
        let judge = |body: &str| {
            let rules = Rules { form, ..rules };
            verify(&fields(&[value.to_str().unwrap()]), body.as_bytes(), &rules, &keys, NOW)
        };
        assert_eq!(judge(BODY).map(drop), Ok(()), "control: {form:?}");
        assert_eq!(judge("{}").map(drop), Err(SignedBodyError::SignatureInvalid));
        let shows = |evidence: Option<&Evidence>| evidence.map(Evidence::verify);
        let expected = (form == Form::Encoded).then_some(Ok(()));
        assert_eq!([shows(evidence.as_ref()), shows(judge(BODY).unwrap().evidence())], [expected.clone(), expected]);
    }
    let lost = sign(BODY.as_bytes(), &claims, Form::Encoded, &lost_key());
    assert_eq!(lost.map_err(|error| error.code()), Err(Code::ResponseNotSigned));
    let error_body = "not found, in words";
    let value = sign(error_body.as_bytes(), &claims, Form::Encoded, &key).unwrap();
    let judged = verify(&fields(&[value.to_str().unwrap()]), error_body.as_bytes(), &rules, &keys, NOW);
    assert!(judged.is_ok(), "also of a body that is no JSON");
}

#[test]
fn errors_show_nothing_of_signature_and_body() {
    let value = signed(&header());
    let (start, signature) = value.split_once("..").unwrap();
    let stage = [
        judge(&value, "{\"secret\": 1}").err(),
        judge(&format!("{start}..secret"), BODY).err(),
        judge(&format!("secret..{signature}"), BODY).err(),
        refusal(&json!({ "typ": "secret" })),
        refusal(&json!({ "cty": "secret" })),
        refusal(&json!({ IAT: "secret" })),
        refusal(&json!({ "crit": ["secret"] })),
    ];
    for error in stage.map(Option::unwrap) {
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("secret") && !shown.contains(&signature[..20]), "{shown}");
    }
}

proptest! {
    #[test]
    fn never_panics(
        value in "[ -~]{0,80}",
        header in "\\{\"[ -~]{0,60}\\}",
        body in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let anchors = anchors();
        let rules = Rules::new(ExpectedIssuer::Exact(ISSUER), &anchors);
        for value in [value.clone(), format!("{}..{value}", URL_SAFE_NO_PAD.encode(header))] {
            let judged = verify(&fields(&[&value]), &body, &rules, &KeySet::default(), NOW);
            prop_assert!(judged.is_err());
        }
    }

    #[test]
    fn a_member_that_is_not_listed_is_never_accepted(name in "[a-z0-9]{1,5}", text in "[ -~]{0,12}") {
        prop_assume!(!["alg", "kid", "typ", "cty", "crit"].contains(&name.as_str()));
        let changed = with_members(header(), &json!({ name: text }));
        let header = decoded_header(&URL_SAFE_NO_PAD.encode(changed.to_string())).unwrap();
        prop_assert!(check_names(&header, Form::Encoded).is_err());
    }
}
