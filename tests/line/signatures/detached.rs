//! `x-jws-signature` (UK-07 to UK-11).

use bytes::Bytes;
use fapi::UnixTime;
use fapi::code::Code;
use fapi::jose::signing_keys::NamedKey;
use fapi::signed_body::detached::{Claims, ExpectedIssuer, Form, Rules, X_JWS_SIGNATURE, sign, verify};
use http::{HeaderValue, Method, Request};
use serde_json::json;

use super::ecosystem::{BANK, Ecosystem, ORGANIZATION, SOFTWARE, rsa_key};

const REQUIRED: &str = "{ request: required, keys: tpps, profile: uk_obie }";
const PAYMENT: &str = "{ \"amount\": \"10.00\",\n  \"to\": \"DE02\" }";
const TRUST_ANCHOR: &str = "openbanking.org.uk";

async fn start(signature: &str) -> Ecosystem {
    Ecosystem::with(signature, json!({ "org_id": ORGANIZATION, "software_id": SOFTWARE }), |scene| scene).await
}

fn issuer() -> String {
    format!("{ORGANIZATION}/{SOFTWARE}")
}

/// The request with a signature of this key by this issuer.
fn signed_by(mut request: Request<Bytes>, key: &NamedKey, issuer: &str, tan: &str, at: u64) -> Request<Bytes> {
    let claims = Claims { issuer, trust_anchor: tan, issued_at: UnixTime(at) };
    let value = sign(request.body(), &claims, Form::Encoded, key).unwrap();
    request.headers_mut().insert(X_JWS_SIGNATURE, value);
    request
}

fn signed(ecosystem: &Ecosystem, body: impl Into<Bytes>) -> Request<Bytes> {
    signed_by(ecosystem.payment(body), &ecosystem.key, &issuer(), TRUST_ANCHOR, ecosystem.now())
}

#[tokio::test(flavor = "multi_thread")]
async fn uk_08_the_signature_is_by_the_client_under_a_trust_anchor_and_of_now() {
    let uk = start(REQUIRED).await;
    assert_eq!(uk.accepted(signed(&uk, PAYMENT), "control").await, PAYMENT);
    let with = |key: &NamedKey, issuer: &str, tan: &str, at: u64| signed_by(uk.payment(PAYMENT), key, issuer, tan, at);
    let (now, own) = (uk.now(), issuer());
    for (request, code, what) in [
        (uk.payment(PAYMENT), Code::SignatureMissing, "none"),
        (with(&uk.key, SOFTWARE, TRUST_ANCHOR, now), Code::SignatureClaimRefused, "another issuer"),
        (with(&uk.key, &own, "bank.example", now), Code::SignatureClaimRefused, "another trust anchor"),
        (with(&uk.key, &own, TRUST_ANCHOR, now - 61), Code::SignatureStale, "old"),
        (with(&uk.key, &own, TRUST_ANCHOR, now + 15), Code::SignatureStale, "of the future"),
        (with(&rsa_key("tpp-1").0, &own, TRUST_ANCHOR, now), Code::SignatureInvalid, "another key"),
        (with(&rsa_key("other").0, &own, TRUST_ANCHOR, now), Code::SignatureKeyUnknown, "a key nobody knows"),
    ] {
        uk.refused(request, 400, code, what).await;
    }
    let mut malformed = signed(&uk, PAYMENT);
    malformed.headers_mut().insert(X_JWS_SIGNATURE, HeaderValue::from_static("a.b.c"));
    uk.refused(malformed, 400, Code::SignatureMalformed, "a payload of its own").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uk_08_outside_the_directory_the_subject_of_the_certificate_signs() {
    let uk = Ecosystem::with(REQUIRED, json!({ "org_id": ORGANIZATION }), |scene| scene).await;
    let by = |issuer: &str| signed_by(uk.payment(PAYMENT), &uk.key, issuer, TRUST_ANCHOR, uk.now());
    uk.accepted(by("CN=client-1"), "control").await;
    uk.refused(by("CN=client-2"), 400, Code::SignatureClaimRefused, "another subject").await;
    uk.refused(by(&issuer()), 400, Code::SignatureClaimRefused, "what no directory says").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uk_10_the_signature_is_over_the_bytes_that_came() {
    let uk = start(REQUIRED).await;
    let mut request = signed(&uk, PAYMENT);
    *request.body_mut() = PAYMENT.replace('\n', " ").into();
    uk.refused(request, 400, Code::SignatureInvalid, "other white space").await;
    for client in [uk.world.client().h1(), uk.world.client().h2()] {
        for size in [64 * 1024, 64 * 1024 + 1, 300_000] {
            let body = Bytes::from(format!("\"{}\"", "x".repeat(size - 2)));
            let response = client.send(signed(&uk, body.clone())).await.unwrap();
            assert_eq!(response.status(), 201, "{size}");
            assert!(uk.world.accounts.requests().pop().unwrap().body == body, "{size}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_detached_signature_counts_once_and_a_request_without_content_needs_none() {
    let uk = start(REQUIRED).await;
    let request = signed(&uk, PAYMENT);
    uk.accepted(request.clone(), "control").await;
    uk.refused(request, 400, Code::SignatureReplayed, "again").await;
    let read = uk.request(Method::GET, "/accounts/1001", "application/json", "");
    assert_eq!(uk.send(read).await.status(), 200);
    let optional = start(&REQUIRED.replace("required", "when_present")).await;
    optional.accepted(optional.payment(PAYMENT), "none").await;
    let mut changed = signed(&optional, PAYMENT);
    *changed.body_mut() = "{}".into();
    optional.refused(changed, 400, Code::SignatureInvalid, "one that does not hold").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uk_11_responses_and_refusals_are_signed() {
    let uk = start("{ request: required, response: sign, keys: tpps, profile: uk_obie }").await;
    let anchors = [TRUST_ANCHOR.into()];
    let rules = Rules::new(ExpectedIssuer::Exact(BANK), &anchors);
    let holds = |response: &http::Response<Bytes>, body: &[u8]| {
        verify(response.headers(), body, &rules, &uk.keys, UnixTime(uk.now())).is_ok()
    };
    for (request, status) in [
        (signed(&uk, PAYMENT), 201),
        (uk.request(Method::GET, "/accounts/1001", "application/json", ""), 200),
        (uk.payment(PAYMENT), 400),
    ] {
        let response = uk.send(request).await;
        assert_eq!(response.status(), status);
        assert!(holds(&response, response.body()) && !holds(&response, b"{}"), "{status}");
    }
    let mut stranger = uk.payment(PAYMENT);
    stranger.headers_mut().remove("authorization");
    let response = uk.send(stranger).await;
    assert_eq!((response.status().as_u16(), response.headers().get(X_JWS_SIGNATURE)), (401, None));
}
