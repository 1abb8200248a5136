//! Sealed requests: each test starts from a good one, and changes one thing.

use std::sync::LazyLock;
use std::time::{Duration, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512,
    RSA_PSS_SHA256, RsaSignatureEncoding, UnparsedPublicKey,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderName, HeaderValue, Method};
use httpdate::fmt_http_date;
use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, DnValue, ExtendedKeyUsagePurpose,
    IsCa, Issuer as Signer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256,
    PublicKeyData, SerialNumber, SignatureAlgorithm, date_time_ymd,
};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::x509::SubjectPublicKeyInfo;

use super::*;
use crate::code::Code;
use crate::path_validation::{Fault, Issued, Signed};
use crate::sha256;
use crate::signature::message::ExternalUri;
use crate::signed_body::digest_header;

const NOW: UnixTime = UnixTime(1_800_000_000);

const BODY: &[u8] = b"{\"instructedAmount\": 1}";

const ORGANIZATION: &str = "PSDDE-BAFIN-123456";

const COVERED: &str = "digest x-request-id date psu-id tpp-redirect-uri";

const KEY_ID: &str = "SN=9FA1,CA=CN=Seal CA 1,O=Trust GmbH,C=DE";

/// 1.3.6.1.5.5.7.1.3
const QC_STATEMENTS: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 1, 3];

const COMPLIANCE: &[u8] = &[0x30, 8, 6, 6, 4, 0, 0x8e, 0x46, 1, 1];

/// The statement with these types of 0.4.0.1862.1.6.
fn types(numbers: &[u8]) -> Vec<u8> {
    let types: Vec<Vec<u8>> = numbers.iter().map(|number| vec![6, 7, 4, 0, 0x8e, 0x46, 1, 6, *number]).collect();
    let types = tlv(0x30, &types.concat());
    tlv(0x30, &[&[6, 6, 4, 0, 0x8e, 0x46, 1, 6][..], &types].concat())
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    [&[tag, u8::try_from(content.len()).unwrap()], content].concat()
}

fn statements(all: &[&[u8]]) -> Vec<u8> {
    tlv(0x30, &all.concat())
}

static AUTHORITY: LazyLock<Authority> = LazyLock::new(Authority::new);
static RSA: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap());
static EC: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap());

fn name(parts: &[(DnType, &str)]) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    for (kind, value) in parts {
        name.push(kind.clone(), DnValue::Utf8String((*value).to_owned()));
    }
    name
}

fn params(parts: &[(DnType, &str)]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name(parts);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2040, 1, 1);
    params
}

fn organization_identifier() -> DnType {
    DnType::CustomDnType(vec![2, 5, 4, 97])
}

/// A root, and an authority below it that issues certificates for seals.
struct Authority {
    issuer: Signer<'static, KeyPair>,
    certificate: Vec<u8>,
    anchor: Anchor,
}

impl Authority {
    fn new() -> Self {
        let ca = |parts: &[(DnType, &str)]| {
            let mut ca = params(parts);
            ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            ca
        };
        let (root_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let root = ca(&[(DnType::CommonName, "Root")]);
        let root_der = root.self_signed(&root_key).unwrap().der().to_vec();
        let (_, parsed) = X509Certificate::from_der(&root_der).unwrap();
        let anchor = Anchor::new(parsed.subject().as_raw(), parsed.public_key().raw, None).unwrap();
        let between = ca(&[
            (DnType::CountryName, "DE"),
            (DnType::OrganizationName, "Trust GmbH"),
            (DnType::CommonName, "Seal CA 1"),
        ]);
        let certificate = between.signed_by(&key, &Signer::new(root, root_key)).unwrap().der().to_vec();
        Self { issuer: Signer::new(between, key), certificate, anchor }
    }
}

/// What a certificate for seals is made of.
struct Seal {
    params: CertificateParams,
    statements: Vec<u8>,
}

impl Seal {
    fn new() -> Self {
        let mut params = params(&[(organization_identifier(), ORGANIZATION), (DnType::CommonName, "seal")]);
        params.serial_number = Some(SerialNumber::from_slice(&[0x9f, 0xa1]));
        params.key_usages = vec![KeyUsagePurpose::ContentCommitment];
        Self { params, statements: statements(&[COMPLIANCE, &types(&[2])]) }
    }

    fn issue(mut self, key: &impl PublicKeyData) -> Vec<u8> {
        if !self.statements.is_empty() {
            self.params.custom_extensions.push(CustomExtension::from_oid_content(&QC_STATEMENTS, self.statements));
        }
        self.params.signed_by(key, &AUTHORITY.issuer).unwrap().der().to_vec()
    }
}

/// A public key of RSA with so many bytes, to which there need not be a private one.
struct RsaKey(Vec<u8>);

impl RsaKey {
    fn of(bytes: u16) -> Self {
        let [high, low] = (bytes + 1).to_be_bytes();
        let modulus = [&[2, 0x82, high, low, 0][..], &vec![0xff; bytes.into()]].concat();
        let content = [&modulus[..], &[2, 3, 1, 0, 1]].concat();
        let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
        Self([&[0x30, 0x82, high, low][..], &content].concat())
    }
}

impl PublicKeyData for RsaKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_RSA_SHA256
    }
}

/// The certificate with which a client of this organisation connects.
fn client(parts: &[(DnType, &str)]) -> ClientCertificate {
    let der = params(parts).self_signed(&*EC).unwrap().der().to_vec();
    ClientCertificate::from_der(&der).unwrap()
}

fn usual_client() -> ClientCertificate {
    client(&[(organization_identifier(), ORGANIZATION), (DnType::CommonName, "tls")])
}

/// The content of the AlgorithmIdentifier of 1.2.840.10045.4.3.2.
const ECDSA_WITH_SHA256: &[u8] = &[6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];

/// Verifies the signatures of the authorities, which are of P-256.
struct Judge {
    status: Result<(), Fault>,
}

impl Verification for Judge {
    fn is_signed_by(&self, key: &[u8], signed: &Signed<'_>) -> bool {
        let (_, key) = SubjectPublicKeyInfo::from_der(key).unwrap();
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, key.subject_public_key.data);
        // The algorithm beside the signature is not signed itself: only one spelling of it may pass.
        signed.algorithm == ECDSA_WITH_SHA256 && key.verify(signed.message, signed.signature).is_ok()
    }

    fn check_status(&self, _: &Issued<'_>, _: UnixTime) -> Result<(), Fault> {
        self.status
    }
}

/// A request on its way.
struct Sent {
    headers: HeaderMap,
    covered: String,
    key_id: String,
    algorithm: String,
    certificate: Vec<u8>,
    sign: fn(&[u8]) -> Vec<u8>,
}

fn rsa_signature(encoding: &'static RsaSignatureEncoding, message: &[u8]) -> Vec<u8> {
    let key = rsa::KeyPair::from_pkcs8(RSA.serialized_der()).unwrap();
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(encoding, &SystemRandom::new(), message, &mut signature).unwrap();
    signature
}

fn ec_signature(message: &[u8]) -> Vec<u8> {
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, EC.serialized_der()).unwrap();
    key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
}

fn date(at: u64) -> String {
    fmt_http_date(UNIX_EPOCH + Duration::from_secs(at))
}

impl Sent {
    /// A good one, by a key of P-256, which is the quickest.
    fn new() -> Self {
        Self {
            algorithm: "ecdsa-sha256".into(),
            certificate: Seal::new().issue(&*EC),
            sign: ec_signature,
            ..Self::by_rsa()
        }
    }

    fn by_rsa() -> Self {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("digest", format!("SHA-256={}", STANDARD.encode(sha256(BODY)))),
            ("x-request-id", "99391c7e-ad88-49ec-a2ad-99ddcb1f7721".into()),
            ("date", date(NOW.0 - 5)),
            ("psu-id", "PSU-1234".into()),
            ("tpp-redirect-uri", "https://tpp.example/".into()),
        ] {
            headers.insert(HeaderName::from_static(name), value.parse().unwrap());
        }
        Self {
            headers,
            covered: COVERED.into(),
            key_id: KEY_ID.into(),
            algorithm: "rsa-sha256".into(),
            certificate: Seal::new().issue(&*RSA),
            sign: |message| rsa_signature(&RSA_PKCS1_SHA256, message),
        }
    }

    fn with(mut self, name: &'static str, value: Option<&str>) -> Self {
        self.headers.remove(name);
        self.headers.extend(value.map(|value| (HeaderName::from_static(name), value.parse().unwrap())));
        self
    }

    fn certified(self, certificate: Vec<u8>) -> Self {
        Self { certificate, ..self }
    }

    fn covering(self, covered: &str) -> Self {
        Self { covered: covered.into(), ..self }
    }

    fn named(self, key_id: &str) -> Self {
        Self { key_id: key_id.into(), ..self }
    }

    fn view<'m>(headers: &'m HeaderMap, method: &'m Method) -> RequestView<'m> {
        let uri =
            ExternalUri { scheme: "https", authority: "bank.example", path: "/v1/payments/sepa", query: Some("a=b") };
        RequestView { method, uri, target: "/v1/payments/sepa?a=b", headers }
    }

    /// The fields with a signature over those that are covered and there.
    fn signed(&self) -> HeaderMap {
        let mut lines = Vec::new();
        for name in self.covered.split(' ').map(str::to_ascii_lowercase) {
            if name == "(request-target)" {
                lines.push("(request-target): post /v1/payments/sepa?a=b".to_owned());
            } else if let Some(value) = self.headers.get(&name) {
                lines.push(format!("{name}: {}", value.to_str().unwrap()));
            }
        }
        let signature = STANDARD.encode((self.sign)(lines.join("\n").as_bytes()));
        let Self { key_id, algorithm, covered, .. } = self;
        let signature =
            format!(r#"keyId="{key_id}",algorithm="{algorithm}", headers="{covered}", signature="{signature}""#);
        let mut headers = self.headers.clone();
        headers.insert("signature", signature.parse().unwrap());
        headers.insert("tpp-signature-certificate", STANDARD.encode(&self.certificate).parse().unwrap());
        headers
    }

    fn judge(&self) -> Result<VerifiedSeal, SignedBodyError> {
        judge(&self.signed(), &usual_client(), NOW)
    }

    fn code(&self) -> Option<Code> {
        self.judge().err().map(|error| error.code())
    }
}

fn judge(headers: &HeaderMap, client: &ClientCertificate, now: UnixTime) -> Result<VerifiedSeal, SignedBodyError> {
    judge_with(headers, client, now, |rules| rules, Ok(()))
}

fn judge_with(
    headers: &HeaderMap,
    client: &ClientCertificate,
    now: UnixTime,
    changed: fn(Rules<'_>) -> Rules<'_>,
    status: Result<(), Fault>,
) -> Result<VerifiedSeal, SignedBodyError> {
    let (intermediates, judge) = ([&AUTHORITY.certificate[..]], Judge { status });
    let rules = changed(Rules::new(std::slice::from_ref(&AUTHORITY.anchor), &intermediates, &judge));
    let sealed = verify(&Sent::view(headers, &Method::POST), client, &rules, now)?;
    let mut hasher = digest_header::read(headers)?.hasher();
    hasher.update(BODY);
    sealed.with_body(&hasher.finish()?)
}

fn not_for_seals(seal: Seal) -> Option<&'static str> {
    match Sent::new().certified(seal.issue(&*EC)).judge() {
        Ok(_) => None,
        Err(SignedBodyError::CertificateNotForSeals { why }) => Some(why),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn bg_10_a_sealed_request_holds() {
    let sent = Sent::by_rsa();
    let verified = sent.judge().unwrap();
    assert_eq!((verified.key_id(), verified.organization_identifier()), (KEY_ID, ORGANIZATION));
    assert_eq!(verified.covered().join(" "), COVERED);
    assert_eq!(*verified.thumbprint(), CertificateThumbprint::of_der(&sent.certificate));
    let long = Sent {
        algorithm: "rsa-sha512".into(),
        sign: |message| rsa_signature(&RSA_PKCS1_SHA512, message),
        ..Sent::by_rsa()
    };
    assert_eq!(long.code(), None);
    assert_eq!(Sent::new().code(), None);
    // As in the guidelines' own example.
    assert_eq!(Sent::new().covering("Digest X-Request-ID PSU-ID TPP-Redirect-URI Date").code(), None);
}

#[test]
fn bg_10_what_is_in_the_request_and_says_whose_it_is_has_to_be_covered() {
    for name in ["digest", "x-request-id", "date", "psu-id", "tpp-redirect-uri"] {
        let others: Vec<&str> = COVERED.split(' ').filter(|other| *other != name).collect();
        let refused = Sent::new().covering(&others.join(" ")).judge().err();
        assert_eq!(refused.as_ref().map(SignedBodyError::code), Some(Code::SignatureComponentMissing));
        assert_eq!(refused, Some(SignedBodyError::NotCovered { name }));
    }
    for name in ["psu-id", "tpp-redirect-uri"] {
        let others: Vec<&str> = COVERED.split(' ').filter(|other| *other != name).collect();
        assert_eq!(Sent::new().with(name, None).covering(&others.join(" ")).code(), None, "control: {name}");
    }
    let corporate = Sent::new().with("psu-corporate-id", Some("C1"));
    assert_eq!(corporate.judge().err(), Some(SignedBodyError::NotCovered { name: "psu-corporate-id" }));
    assert_eq!(corporate.covering(&format!("{COVERED} psu-corporate-id")).code(), None, "control");
    assert_eq!(Sent::new().covering(&format!("(request-target) {COVERED}")).code(), None, "control");
}

#[test]
fn bg_10_what_is_covered_has_to_be_in_the_request() {
    assert_eq!(Sent::new().code(), None, "control");
    for name in ["x-request-id", "date", "psu-id", "tpp-redirect-uri"] {
        let expected = SignedBodyError::CoveredAbsent { name: name.into() };
        assert_eq!(Sent::new().with(name, None).judge().err(), Some(expected.clone()));
        assert_eq!(expected.code(), Code::SignatureComponentMissing);
    }
    assert_eq!(Sent::new().covering(&format!("{COVERED} x-other")).code(), Some(Code::SignatureComponentMissing));
}

#[test]
fn bg_10_a_changed_request_has_another_signature() {
    let headers = Sent::new().covering(&format!("(request-target) {COVERED}")).signed();
    assert!(judge(&headers, &usual_client(), NOW).is_ok(), "control");
    let other_digest = format!("SHA-512={}", STANDARD.encode([0; 64]));
    for (name, value) in [
        ("digest", other_digest.as_str()),
        ("x-request-id", "99391c7e-ad88-49ec-a2ad-99ddcb1f7722"),
        ("date", &date(NOW.0 - 6)),
        ("psu-id", "PSU-1235"),
        ("tpp-redirect-uri", "https://evil.example/"),
    ] {
        let mut changed = headers.clone();
        changed.insert(name, value.parse().unwrap());
        let refused = judge(&changed, &usual_client(), NOW);
        assert_eq!(refused.err(), Some(SignedBodyError::SignatureInvalid), "{name}");
        let mut added = headers.clone();
        added.append(name, value.parse().unwrap());
        assert!(judge(&added, &usual_client(), NOW).is_err(), "{name}");
    }
    let (intermediates, judge) = ([&AUTHORITY.certificate[..]], Judge { status: Ok(()) });
    let rules = Rules::new(std::slice::from_ref(&AUTHORITY.anchor), &intermediates, &judge);
    for (method, holds) in [(Method::POST, true), (Method::PUT, false)] {
        assert_eq!(verify(&Sent::view(&headers, &method), &usual_client(), &rules, NOW).is_ok(), holds, "{method}");
    }
}

#[test]
fn bg_10_a_missing_field_is_told_from_a_wrong_one() {
    let good = Sent::new().signed();
    let code = |headers: &HeaderMap| judge(headers, &usual_client(), NOW).err().map(|error| error.code());
    assert_eq!(code(&good), None, "control");
    for (name, expected) in
        [("signature", Code::SignatureMissing), ("tpp-signature-certificate", Code::SignatureMissing)]
    {
        let mut without = good.clone();
        without.remove(name);
        assert_eq!(code(&without), Some(expected), "{name}");
        let mut twice = good.clone();
        twice.append(name, good[name].clone());
        assert_eq!(code(&twice), Some(Code::SignatureMalformed), "{name}");
    }
    assert_eq!(digest_header::read(&HeaderMap::new()).err().map(|error| error.code()), Some(Code::DigestMissing));
}

#[test]
fn bg_10_the_digest_that_is_compared_is_the_one_that_is_signed() {
    let headers = Sent::new().signed();
    let (intermediates, judge) = ([&AUTHORITY.certificate[..]], Judge { status: Ok(()) });
    let rules = Rules::new(std::slice::from_ref(&AUTHORITY.anchor), &intermediates, &judge);
    let sealed = || verify(&Sent::view(&headers, &Method::POST), &usual_client(), &rules, NOW).unwrap();
    let matched = |headers: &HeaderMap, body: &[u8]| {
        let mut hasher = digest_header::read(headers).unwrap().hasher();
        hasher.update(body);
        hasher.finish().map_err(SignedBodyError::from)
    };
    assert!(sealed().with_body(&matched(&headers, BODY).unwrap()).is_ok(), "control");
    let other = format!("SHA-256={}", STANDARD.encode(sha256(b"other")));
    let other = HeaderMap::from_iter([(HeaderName::from_static("digest"), other.parse().unwrap())]);
    let refused = sealed().with_body(&matched(&other, b"other").unwrap()).err();
    assert_eq!(refused, Some(SignedBodyError::BodyNotSigned));
    assert_eq!(SignedBodyError::BodyNotSigned.code(), Code::SignatureComponentMissing);
    let mismatch = matched(&headers, b"other").err();
    assert_eq!(mismatch.map(|error| error.code()), Some(Code::DigestMismatch));
}

#[test]
fn bg_10_the_date_is_of_now() {
    for at in [NOW.0 - 60, NOW.0, NOW.0 + 10] {
        assert_eq!(Sent::new().with("date", Some(&date(at))).code(), None, "control: {at}");
    }
    for at in [0, NOW.0 - 61, NOW.0 + 11] {
        let refused = Sent::new().with("date", Some(&date(at))).judge().err();
        assert_eq!(refused, Some(SignedBodyError::Stale { at: UnixTime(at), now: NOW }));
    }
    for text in ["", "now", "1800000000", "2027-01-15T08:00:00Z"] {
        assert_eq!(Sent::new().with("date", Some(text)).code(), Some(Code::SignatureMalformed), "{text}");
    }
    let without = Sent::new().with("date", None).covering("digest x-request-id psu-id tpp-redirect-uri").signed();
    let optional: fn(Rules<'_>) -> Rules<'_> = |rules| Rules { date: DateRule::WhenPresent, ..rules };
    assert!(judge_with(&without, &usual_client(), NOW, optional, Ok(())).is_ok(), "control");
    assert_eq!(judge(&without, &usual_client(), NOW).err(), Some(SignedBodyError::NotCovered { name: "date" }));
    let uncovered = Sent::new().covering("digest x-request-id psu-id tpp-redirect-uri").signed();
    let refused = judge_with(&uncovered, &usual_client(), NOW, optional, Ok(()));
    assert_eq!(refused.err(), Some(SignedBodyError::NotCovered { name: "date" }));
}

#[test]
fn bg_10_key_id_names_the_certificate() {
    for good in [
        KEY_ID,
        "SN=9fa1,CA=CN=Seal CA 1,O=Trust GmbH,C=DE",
        "SN=009FA1,CA=CN=Seal CA 1, O=Trust GmbH, C=DE",
        "SN=9FA1,CA=CN=Seal%20CA%201,O=Trust%20GmbH,C=DE",
        r"SN=9FA1,CA=CN=Seal\ CA 1,O=Trust GmbH,C=DE",
        r"SN=9FA1,CA=CN=Seal CA\\201,O=Trust GmbH,C=DE",
    ] {
        assert_eq!(Sent::new().named(good).code(), None, "control: {good}");
    }
    for bad in [
        "",
        "SN=9FA1",
        "SN=9FA1,CA=",
        "SN=,CA=CN=Seal CA 1,O=Trust GmbH,C=DE",
        "SN=0,CA=CN=Seal CA 1,O=Trust GmbH,C=DE",
        "SN=9FA2,CA=CN=Seal CA 1,O=Trust GmbH,C=DE",
        "SN=40865,CA=CN=Seal CA 1,O=Trust GmbH,C=DE",
        "SN=0x9FA1,CA=CN=Seal CA 1,O=Trust GmbH,C=DE",
        "SN=9F:A1,CA=CN=Seal CA 1,O=Trust GmbH,C=DE",
        "SN=9FA1,CA=CN=Seal CA 2,O=Trust GmbH,C=DE",
        "SN=9FA1,CA=CN=Seal CA 1,O=Trust GmbH",
        "SN=9FA1,CA=CN=Root",
        "SN=9FA1,CA=CN=Seal%2520CA%201,O=Trust%20GmbH,C=DE",
        "CA=CN=Seal CA 1,O=Trust GmbH,C=DE,SN=9FA1",
        "sn=9FA1,ca=CN=Seal CA 1,O=Trust GmbH,C=DE",
    ] {
        assert_eq!(Sent::new().named(bad).code(), Some(Code::SignatureKeyUnknown), "{bad}");
    }
}

#[test]
fn bg_10_the_algorithm_is_one_of_the_certificates_key() {
    let refused = Some(Code::SignatureAlgorithmRefused);
    assert_eq!(Sent::new().code(), None, "control");
    for algorithm in ["rsa-sha256", "rsa-sha512", "hs2019"] {
        assert_eq!(Sent { algorithm: algorithm.into(), ..Sent::new() }.code(), refused, "{algorithm}");
    }
    assert_eq!(Sent::by_rsa().code(), None, "control");
    assert_eq!(Sent { algorithm: "ecdsa-sha256".into(), ..Sent::by_rsa() }.code(), refused);
    let p384 = KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap();
    assert_eq!(Sent::new().certified(Seal::new().issue(&p384)).code(), refused);
    let invalid = Some(Code::SignatureInvalid);
    assert_eq!(Sent { algorithm: "rsa-sha512".into(), ..Sent::by_rsa() }.code(), invalid);
    let pss = Sent { sign: |message| rsa_signature(&RSA_PSS_SHA256, message), ..Sent::by_rsa() };
    assert_eq!(pss.code(), invalid);
    let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    assert_eq!(Sent::new().certified(Seal::new().issue(&other)).code(), invalid);
    let flipped = Sent {
        sign: |message| {
            let mut signature = rsa_signature(&RSA_PKCS1_SHA256, message);
            signature[9] ^= 1;
            signature
        },
        ..Sent::by_rsa()
    };
    assert_eq!(flipped.code(), invalid);
}

#[test]
fn bg_10_a_key_below_2048_bits_seals_nothing() {
    let refused = |bytes| Sent::by_rsa().certified(Seal::new().issue(&RsaKey::of(bytes))).judge().err();
    assert_eq!(refused(256), Some(SignedBodyError::SignatureInvalid), "control: of another key");
    assert_eq!(refused(255), Some(SignedBodyError::KeyWeak));
    assert_eq!(refused(255).map(|error| error.code()), Some(Code::SignatureAlgorithmRefused));
}

#[test]
fn bg_10_a_certificate_that_is_not_one_in_base64_is_refused() {
    let sent = Sent::new();
    let code = |value: &[u8]| {
        let mut headers = sent.signed();
        headers.insert("tpp-signature-certificate", HeaderValue::from_bytes(value).unwrap());
        judge(&headers, &usual_client(), NOW).err().map(|error| error.code())
    };
    let good = STANDARD.encode(&sent.certificate);
    assert_eq!(code(good.as_bytes()), None, "control");
    let trailing = STANDARD.encode([&sent.certificate[..], &[0]].concat());
    for bad in [
        "",
        "AAAA",
        &good[..good.len() - 4],
        &format!("{good}="),
        &format!("-----BEGIN CERTIFICATE-----{good}-----END CERTIFICATE-----"),
        &good.replace(['+', '/'], "-"),
        &format!(":{good}:"),
        &trailing,
        &"A".repeat(seal_certificate::MAX_FIELD_BYTES + 4),
    ] {
        assert_eq!(code(bad.as_bytes()), Some(Code::SignatureMalformed), "{bad}");
    }
    assert_eq!(code(b"\xff"), Some(Code::SignatureMalformed));
}

#[test]
fn bg_05_the_certificate_is_a_qualified_one_for_seals() {
    let with = |statements: Vec<u8>| Seal { statements, ..Seal::new() };
    assert_eq!(not_for_seals(Seal::new()), None, "control");
    let roles: &[u8] = &[0x30, 7, 6, 5, 4, 0, 0x81, 0x98, 0x27];
    assert_eq!(not_for_seals(with(statements(&[roles, &types(&[2]), COMPLIANCE]))), None, "control");
    // The statement of a provider with an unknown role, and one that is none: the role of a seal is not asked for.
    let psd2 = |info: &[u8]| tlv(0x30, &[&[6, 6, 4, 0, 0x81, 0x98, 0x27, 2], info].concat());
    let role = tlv(0x30, &[&[6, 7, 4, 0, 0x81, 0x98, 0x27, 1, 9][..], &tlv(12, b"PSP_XX")].concat());
    let provider = [tlv(0x30, &role), tlv(12, b"BaFin"), tlv(12, b"DE-BAFIN")].concat();
    for psd2 in [psd2(&tlv(0x30, &provider)), psd2(&[5, 0])] {
        assert_eq!(not_for_seals(with(statements(&[COMPLIANCE, &types(&[2]), &psd2]))), None);
        let twice = statements(&[COMPLIANCE, &types(&[2]), &psd2, &psd2]);
        assert_eq!(not_for_seals(with(twice)), Some("its QCStatements cannot be read"));
    }
    let unreadable = Some("its QCStatements cannot be read");
    for (statements, expected) in [
        (vec![], Some("it has no QCStatements")),
        (statements(&[]), Some("it has no QcCompliance")),
        (statements(&[&types(&[2])]), Some("it has no QcCompliance")),
        (statements(&[COMPLIANCE]), Some("it has no QcType")),
        (statements(&[COMPLIANCE, &types(&[])]), Some("its QcType is not the one for electronic seals")),
        (statements(&[COMPLIANCE, &types(&[1])]), Some("its QcType is not the one for electronic seals")),
        (statements(&[COMPLIANCE, &types(&[3])]), Some("its QcType is one for web sites")),
        (statements(&[COMPLIANCE, &types(&[2, 3])]), Some("its QcType is one for web sites")),
        (statements(&[COMPLIANCE, &types(&[2]), &types(&[2])]), unreadable),
        (statements(&[COMPLIANCE, &types(&[2]), &[5, 0]]), unreadable),
        (statements(&[COMPLIANCE, &types(&[2]), &[0x30, 0]]), unreadable),
        ([statements(&[COMPLIANCE, &types(&[2])]), vec![5, 0]].concat(), unreadable),
        (vec![0x30, 5], unreadable),
        (statements(&[COMPLIANCE, &tlv(0x30, &[&[6, 6, 4, 0, 0x8e, 0x46, 1, 6][..], &[5, 0]].concat())]), unreadable),
    ] {
        let shown = format!("{statements:02x?}");
        assert_eq!(not_for_seals(with(statements)), expected, "{shown}");
    }
    let mut twice = Seal::new();
    twice.params.custom_extensions =
        vec![CustomExtension::from_oid_content(&QC_STATEMENTS, statements(&[COMPLIANCE, &types(&[2])]))];
    assert_eq!(not_for_seals(twice), Some("it has QCStatements twice"));
    let used = |usages: &[KeyUsagePurpose]| {
        let mut seal = Seal::new();
        seal.params.key_usages = usages.to_vec();
        not_for_seals(seal)
    };
    for usages in [&[][..], &[KeyUsagePurpose::DigitalSignature]] {
        assert_eq!(used(usages), None, "control: {usages:?}");
    }
    let expected = Some("its keyUsage has neither digitalSignature nor nonRepudiation");
    assert_eq!(used(&[KeyUsagePurpose::KeyEncipherment]), expected);
    let web = Sent::new().certified(with(statements(&[COMPLIANCE, &types(&[3])])).issue(&*EC));
    assert_eq!(web.code(), Some(Code::SignatureCertificateRefused));
}

#[test]
fn bg_11_the_certificate_leads_to_an_anchor_now() {
    let headers = Sent::new().signed();
    let untrusted = |result: Result<VerifiedSeal, SignedBodyError>| match result {
        Err(error @ SignedBodyError::CertificateUntrusted(fault)) => {
            assert_eq!(error.code(), Code::SignatureCertificateRefused);
            Some(fault)
        }
        Ok(_) => None,
        Err(other) => panic!("{other:?}"),
    };
    let client = usual_client();
    assert_eq!(untrusted(judge(&headers, &client, NOW)), None, "control");
    let alone = judge_with(&headers, &client, NOW, |rules| Rules { intermediates: &[], ..rules }, Ok(()));
    assert_eq!(untrusted(alone), Some(Fault::NoPath));
    let nowhere = judge_with(&headers, &client, NOW, |rules| Rules { anchors: &[], ..rules }, Ok(()));
    assert_eq!(untrusted(nowhere), Some(Fault::NoPath));
    let revoked = judge_with(&headers, &client, NOW, |rules| rules, Err(Fault::Revoked));
    assert_eq!(untrusted(revoked), Some(Fault::Revoked));
    let valid = |from: i32, to: i32| {
        let mut seal = Seal::new();
        (seal.params.not_before, seal.params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
        untrusted(Sent::new().certified(seal.issue(&*EC)).judge())
    };
    assert_eq!(valid(2021, 2039), None, "control");
    assert_eq!(valid(2021, 2022), Some(Fault::Expired));
    assert_eq!(valid(2035, 2039), Some(Fault::NotValidYet));
    let mut other_purpose = Seal::new();
    other_purpose.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::EmailProtection];
    assert_eq!(Sent::new().certified(other_purpose.issue(&*EC)).code(), None, "seals need no purpose of TLS");
    let mut forged = Sent::new();
    let last = forged.certificate.len() - 1;
    forged.certificate[last] ^= 1;
    assert_eq!(untrusted(forged.judge()), Some(Fault::BadSignature));
}

#[test]
fn bg_11_a_certificate_that_differs_in_one_bit_is_refused() {
    let (sent, client) = (Sent::new(), usual_client());
    let mut headers = sent.signed();
    assert!(judge(&headers, &client, NOW).is_ok(), "control");
    for place in 0..sent.certificate.len() {
        for bit in 0..8 {
            let mut changed = sent.certificate.clone();
            changed[place] ^= 1 << bit;
            headers.insert("tpp-signature-certificate", STANDARD.encode(changed).parse().unwrap());
            assert!(judge(&headers, &client, NOW).is_err(), "bit {bit} at {place}");
        }
    }
}

#[test]
fn bg_11_the_certificate_is_of_the_organisation_that_connects() {
    let headers = Sent::new().signed();
    let code = |parts: &[(DnType, &str)]| judge(&headers, &client(parts), NOW).err().map(|error| error.code());
    let refused = Some(Code::SignatureCertificateRefused);
    assert_eq!(code(&[(organization_identifier(), ORGANIZATION)]), None, "control");
    assert_eq!(code(&[(organization_identifier(), "PSDDE-BAFIN-123457")]), refused);
    assert_eq!(code(&[(organization_identifier(), "psdde-bafin-123456")]), refused);
    assert_eq!(code(&[(DnType::CommonName, ORGANIZATION)]), refused);
    let mut nameless = Seal::new();
    nameless.params.distinguished_name = name(&[(DnType::CommonName, "seal")]);
    let sent = Sent::new().certified(nameless.issue(&*EC));
    assert_eq!(sent.code(), refused);
    // Two that are both without one have nothing in common.
    let both = judge(&sent.signed(), &client(&[(DnType::CommonName, "tls")]), NOW).err();
    let missing: Box<str> = "missing".into();
    assert_eq!(both, Some(SignedBodyError::OrganizationMismatch { found: missing.clone(), expected: missing }));
}

#[test]
fn errors_show_no_signature_and_no_values() {
    let headers = Sent::new().signed();
    let signature = headers["signature"].to_str().unwrap().rsplit_once("signature=").unwrap().1.to_owned();
    let errors = [
        Sent::new().with("date", Some("secret")).judge().err(),
        Sent::new().with("psu-corporate-id", Some("secret")).judge().err(),
        Sent::new().with("psu-id", Some("secret")).with("date", Some(&date(0))).judge().err(),
        Sent::new().named("secret").judge().err(),
        Sent { sign: |_| b"secret".to_vec(), ..Sent::new() }.judge().err(),
    ];
    for error in errors.map(Option::unwrap) {
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("secret") && !shown.contains(&signature), "{shown}");
    }
    let shown = format!("{:?}", Sent::new().judge().unwrap());
    assert!(!shown.contains("PSU-1234"), "{shown}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn never_panics(
        signature in "[ -~]{0,80}",
        key_id in "(SN=[0-9A-F]{0,6},CA=)?[ -!#-~]{0,40}",
        certificate in prop::collection::vec(any::<u8>(), 0..60),
        place in any::<prop::sample::Index>(),
        octet in any::<u8>(),
    ) {
        let client = usual_client();
        let mut sent = Sent::new();
        let good = sent.certificate.clone();
        for der in [certificate, good] {
            sent.certificate = der;
            if !sent.certificate.is_empty() {
                let place = place.index(sent.certificate.len());
                sent.certificate[place] = octet;
            }
            sent.key_id = key_id.clone();
            let mut headers = sent.signed();
            let _ = judge(&headers, &client, NOW).is_ok();
            headers.insert("signature", signature.parse().unwrap());
            prop_assert!(judge(&headers, &client, NOW).is_err());
        }
    }
}
