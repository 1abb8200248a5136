//! Requests with the seal of the Berlin Group (BG-10, BG-11).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fapi::code::Code;
use fapi::sha256;
use fapi_gateway::clock::http_date;
use http::{HeaderName, HeaderValue, Method, Request, Response, header};
use rcgen::{CertificateParams, CustomExtension, DnType, DnValue, KeyUsagePurpose, SerialNumber};
use sandbox::pki::{Authority, Credential};
use serde_json::Value;
use time::OffsetDateTime;

use crate::support::{ORIGIN, Scene, World};

const PAYMENT: &str = r#"{"instructedAmount":{"amount":"10.00"}}"#;
const ORGANIZATION: &str = "PSDDE-BAFIN-123456";

/// A world whose requests are sealed, and a client with a certificate for TLS and one for seals.
pub(super) struct Sealed {
    world: World,
    /// Who issues those for seals.
    seals: Authority,
    tls: Credential,
    seal: Credential,
}

/// Makes a certificate one of this organisation.
fn of(organization: &str) -> impl FnOnce(&mut CertificateParams) {
    let value = DnValue::Utf8String(organization.to_owned());
    move |params| params.distinguished_name.push(DnType::CustomDnType(vec![2, 5, 4, 97]), value)
}

/// A qualified certificate for seals (ETSI EN 319 412-5), or with type 3 for web sites.
fn seal_of(authority: &Authority, organization: &str, kind: u8) -> Credential {
    authority.client_with("seal", |params| {
        of(organization)(params);
        params.serial_number = Some(SerialNumber::from_slice(&[0x5f, 0xa1]));
        params.key_usages = vec![KeyUsagePurpose::ContentCommitment];
        let compliance: &[u8] = &[0x30, 8, 6, 6, 4, 0, 0x8e, 0x46, 1, 1];
        let types =
            [&[0x30, 19, 6, 6, 4, 0, 0x8e, 0x46, 1, 6, 0x30, 9, 6, 7, 4, 0, 0x8e, 0x46, 1, 6], &[kind][..]].concat();
        let statements = [&[0x30, 31][..], compliance, &types].concat();
        params.custom_extensions.push(CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 3], statements));
    })
}

impl Sealed {
    async fn start() -> Self {
        Self::with("", "", |scene| scene).await
    }

    /// The same where the routes, and what they say of signatures, say this too.
    pub(super) async fn with(of_route: &str, of_signature: &str, adjust: impl FnOnce(Scene) -> Scene) -> Self {
        let seals = Authority::new("Seal CA");
        let seal = seal_of(&seals, ORGANIZATION, 2);
        let signature = format!(
            "    signature: {{ request: required, profile: berlin_group, seal_trust_anchors: [seal-ca.pem]{of_signature} }}\n{of_route}"
        );
        let world = World::with(|scene| {
            let scene = scene
                .file("seal-ca.pem", &seals.pem())
                .replace("    scopes: [accounts]\n", &format!("{signature}    scopes: [accounts]\n"))
                .replace("    scopes: { any", &format!("{signature}    scopes: {{ any"));
            adjust(scene)
        })
        .await;
        let tls = world.authority.client_with("tpp", of(ORGANIZATION));
        Self { world, seals, tls, seal }
    }

    fn request(&self, method: Method, path: &str, body: impl Into<Bytes>) -> Request<Bytes> {
        let token = self.world.issuer.token(self.world.clock.now()).bound_to_certificate(&self.tls);
        Request::builder()
            .method(method)
            .uri(format!("{ORIGIN}{path}"))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.world.sign(&token)))
            .header(header::CONTENT_TYPE, "application/json")
            .body(body.into())
            .unwrap()
    }

    pub(super) fn payment(&self) -> Request<Bytes> {
        self.request(Method::POST, "/payments", PAYMENT)
    }

    /// The request with a seal.
    pub(super) fn sealed(&self, request: Request<Bytes>) -> Request<Bytes> {
        self.sealed_by(request, &self.seal, "digest x-request-id date", 0)
    }

    fn sealed_by(&self, mut request: Request<Bytes>, seal: &Credential, covered: &str, age: u64) -> Request<Bytes> {
        let at = std::time::Duration::from_secs(self.world.clock.now() - age);
        let digest = format!("SHA-256={}", STANDARD.encode(sha256(request.body())));
        let headers = request.headers_mut();
        headers.insert("digest", HeaderValue::try_from(digest).unwrap());
        headers.insert("x-request-id", HeaderValue::try_from(uuid::Uuid::new_v4().to_string()).unwrap());
        headers.insert(header::DATE, HeaderValue::try_from(http_date(at)).unwrap());
        let lines: Vec<String> =
            covered.split(' ').map(|name| format!("{name}: {}", headers[name].to_str().unwrap())).collect();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &seal.key_pkcs8_der).unwrap();
        let signature = key.sign(&SystemRandom::new(), lines.join("\n").as_bytes()).unwrap();
        let value = format!(
            r#"keyId="SN=5FA1,CA=CN=Seal CA",algorithm="ecdsa-sha256", headers="{covered}", signature="{}""#,
            STANDARD.encode(signature)
        );
        headers.insert("signature", HeaderValue::try_from(value).unwrap());
        let certificate = STANDARD.encode(&seal.chain_der[0]);
        headers.insert("tpp-signature-certificate", HeaderValue::try_from(certificate).unwrap());
        request
    }

    pub(super) async fn send(&self, request: Request<Bytes>) -> Response<Bytes> {
        self.world.anonymous().certificate(&self.tls).send(request).await.unwrap()
    }

    /// The record of its request.
    pub(super) fn record_of(&self, response: &Response<Bytes>) -> Value {
        self.world.gateway.record_of(response)
    }

    async fn accepted(&self, request: Request<Bytes>, what: &str) {
        let body = request.body().clone();
        let response = self.send(request).await;
        assert!(response.status().is_success(), "{what}: {}", self.world.gateway.record_of(&response));
        assert!(self.world.accounts.requests().pop().unwrap().body == body, "{what}");
    }

    /// Expects that nobody knows whether the certificate of this request is revoked.
    async fn unknown(&self, request: Request<Bytes>) {
        let response = self.send(request).await;
        let record = self.world.gateway.record_of(&response);
        assert_eq!(
            (&record["code"], response.status().as_u16()),
            (&"revocation_status_unknown".into(), 503),
            "{record}"
        );
        let headers = response.headers();
        assert!(
            headers.get(header::WWW_AUTHENTICATE).is_none() && headers[header::RETRY_AFTER] == "5",
            "no fault of the client"
        );
    }

    async fn refused(&self, request: Request<Bytes>, code: Code, what: &str) {
        let before = self.world.accounts.server().heads();
        let response = self.send(request).await;
        let record = self.world.gateway.record_of(&response);
        assert_eq!(
            (record["code"].as_str(), response.status().as_u16()),
            (Some(code.as_str()), 401),
            "{what}: {record}"
        );
        assert_eq!(self.world.accounts.server().heads(), before, "{what}: nothing may reach the upstream");
        assert!(response.headers().contains_key(header::WWW_AUTHENTICATE), "{what}");
        assert!(!response.headers().contains_key("accept-signature"), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn bg_10_a_request_is_sealed_with_its_digest_its_id_and_its_date() {
    let sealed = Sealed::start().await;
    sealed.accepted(sealed.sealed(sealed.payment()), "control").await;
    sealed.refused(sealed.payment(), Code::SignatureMissing, "none").await;
    let covering = |covered: &str| sealed.sealed_by(sealed.payment(), &sealed.seal, covered, 0);
    sealed.refused(covering("digest date"), Code::SignatureComponentMissing, "x-request-id").await;
    sealed.refused(covering("x-request-id date"), Code::SignatureComponentMissing, "digest").await;
    sealed.refused(covering("digest x-request-id"), Code::SignatureComponentMissing, "date").await;
    let old = sealed.sealed_by(sealed.payment(), &sealed.seal, "digest x-request-id date", 61);
    sealed.refused(old, Code::SignatureStale, "old").await;
    let mut other = sealed.sealed(sealed.payment());
    *other.body_mut() = "{}".into();
    sealed.refused(other, Code::DigestMismatch, "another body").await;
    for (name, code) in [
        ("digest", Code::SignatureComponentMissing),
        ("signature", Code::SignatureMissing),
        ("tpp-signature-certificate", Code::SignatureMissing),
    ] {
        let mut lacking = sealed.sealed(sealed.payment());
        lacking.headers_mut().remove(name);
        sealed.refused(lacking, code, name).await;
    }
    let mut changed = sealed.sealed(sealed.payment());
    changed.headers_mut().insert(HeaderName::from_static("x-request-id"), HeaderValue::from_static("1"));
    sealed.refused(changed, Code::SignatureInvalid, "another id").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bg_10_a_request_without_a_body_is_sealed_too_and_a_large_one_as_a_whole() {
    let sealed = Sealed::start().await;
    let read = || sealed.request(Method::GET, "/accounts/1001", "");
    sealed.accepted(sealed.sealed(read()), "control").await;
    sealed.refused(read(), Code::SignatureMissing, "none").await;
    let large = vec![b'x'; 300_000];
    sealed.accepted(sealed.sealed(sealed.request(Method::POST, "/payments", large.clone())), "large").await;
    let mut changed = sealed.sealed(sealed.request(Method::POST, "/payments", large.clone()));
    *changed.body_mut() = [&large[..299_999], b"y"].concat().into();
    sealed.refused(changed, Code::DigestMismatch, "its last byte").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bg_11_the_certificate_is_trusted_qualified_and_of_the_organisation_that_connects() {
    let sealed = Sealed::start().await;
    sealed.accepted(sealed.sealed(sealed.payment()), "control").await;
    let by = |seal: &Credential| sealed.sealed_by(sealed.payment(), seal, "digest x-request-id date", 0);
    let unknown = seal_of(&Authority::new("Seal CA"), ORGANIZATION, 2);
    sealed.refused(by(&unknown), Code::SignatureCertificateRefused, "another authority of that name").await;
    let own = &sealed.world.authority;
    let mut tls = by(&sealed.tls);
    sealed.refused(tls.clone(), Code::SignatureKeyUnknown, "the certificate of TLS").await;
    let certificate = STANDARD.encode(&seal_of(own, ORGANIZATION, 2).chain_der[0]);
    tls.headers_mut().insert("tpp-signature-certificate", HeaderValue::try_from(certificate).unwrap());
    sealed.refused(tls, Code::SignatureKeyUnknown, "one that keyId does not name").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bg_11_a_seal_of_another_organisation_or_for_web_sites_is_refused() {
    let sealed = Sealed::start().await;
    let seals = Authority::new("Seal CA");
    sealed.world.gateway.folder().write("seal-ca.pem", &seals.pem());
    sealed.world.reload(1, |yaml| yaml).await;
    let by = |seal: &Credential| sealed.sealed_by(sealed.payment(), seal, "digest x-request-id date", 0);
    sealed.accepted(by(&seal_of(&seals, ORGANIZATION, 2)), "control: of the authority that is new").await;
    sealed.refused(by(&sealed.seal), Code::SignatureCertificateRefused, "of the one before").await;
    let refused = Code::SignatureCertificateRefused;
    sealed.refused(by(&seal_of(&seals, "PSDDE-BAFIN-999999", 2)), refused, "another organisation").await;
    sealed.refused(by(&seal_of(&seals, ORGANIZATION, 3)), refused, "for web sites").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bg_11_a_certificate_that_its_authority_has_revoked_seals_nothing() {
    let sealed = Sealed::start().await;
    let expires = OffsetDateTime::from_unix_timestamp(i64::try_from(sealed.world.clock.now()).unwrap() + 1000).unwrap();
    let publish = |revoked: &[&Credential]| {
        let list = sealed.seals.revocation_list_with(revoked, |list| {
            list.this_update = expires - time::Duration::days(1);
            list.next_update = expires;
        });
        std::fs::write(sealed.world.gateway.folder().path().join("seal.crl"), &list).unwrap();
    };
    let another = sealed.seals.client("another");
    publish(&[&another]);
    let with_list = "seal_trust_anchors: [seal-ca.pem], seal_revocation_lists: [seal.crl]";
    sealed.world.reload(1, |yaml| yaml.replace("seal_trust_anchors: [seal-ca.pem]", with_list)).await;
    sealed.accepted(sealed.sealed(sealed.payment()), "control: another is on the list").await;
    sealed.world.clock.advance(1001);
    sealed.unknown(sealed.sealed(sealed.payment())).await;
    let mut forged = sealed.sealed(sealed.payment());
    forged.headers_mut().insert("x-request-id", HeaderValue::from_static("c5fa1f2a-0000-4000-8000-000000000000"));
    sealed.refused(forged, Code::SignatureInvalid, "that comes first").await;
    publish(&[&another, &sealed.seal]);
    sealed.world.reload(2, |yaml| yaml).await;
    sealed.refused(sealed.sealed(sealed.payment()), Code::SignatureCertificateRefused, "on a list that is over").await;
    // One of another authority, which says nothing of this certificate.
    let list = sealed.world.authority.revocation_list_pem(&[]);
    sealed.world.gateway.folder().write("seal.crl", &list);
    sealed.world.reload(3, |yaml| yaml).await;
    sealed.unknown(sealed.sealed(sealed.payment())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seal_counts_once_unless_the_method_is_safe() {
    let sealed = Sealed::start().await;
    let request = sealed.sealed(sealed.payment());
    sealed.accepted(request.clone(), "control").await;
    sealed.refused(request, Code::SignatureReplayed, "again").await;
    let read = sealed.sealed(sealed.request(Method::GET, "/accounts/1001", ""));
    sealed.accepted(read.clone(), "control").await;
    sealed.accepted(read, "a safe method").await;
}
