//! What clients of an ecosystem are told of signatures that do not hold, by the templates of the documentation.

use bytes::Bytes;
use fapi::UnixTime;
use fapi::signed_body::detached::{Claims, Form, X_JWS_SIGNATURE, sign};
use http::{HeaderName, HeaderValue, Response, header};
use serde_json::{Value, json};

use super::ecosystem::{Ecosystem, ORGANIZATION, SOFTWARE};
use super::jwt_bodies::{Wanted, payment};
use super::seals::Sealed;
use crate::support::Scene;

/// Puts the templates of the documentation into a configuration.
fn with_templates(scene: Scene) -> Scene {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/concepts/signatures.md")).unwrap();
    let blocks = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let templates = blocks
        .into_iter()
        .find(|block: &&str| block.starts_with("error_templates:\n"))
        .expect("the page has templates");
    scene.replace("upstreams:\n", &format!("{templates}upstreams:\n"))
}

/// A world where the routes have signatures of an ecosystem, and this form of errors.
async fn world(profile: &str, errors: &str) -> Ecosystem {
    let signature = format!("{{ request: required, keys: tpps, profile: {profile} }}\n    errors: {errors}");
    let names = json!({ "org_id": ORGANIZATION, "software_id": SOFTWARE });
    Ecosystem::with(&signature, names, with_templates).await
}

/// The status and the body.
fn told(response: &Response<Bytes>) -> (u16, Value) {
    let media_type = response.headers()[header::CONTENT_TYPE].to_str().unwrap();
    assert!(media_type.starts_with("application/json"), "{media_type}");
    (response.status().as_u16(), serde_json::from_slice(response.body()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn uk_09_each_kind_of_fault_has_its_code() {
    for errors in ["uk_obie", "uk-obie-3.1"] {
        faults_of_the_uk(errors).await;
    }
}

async fn faults_of_the_uk(errors: &str) {
    let uk = world("uk_obie", errors).await;
    let issuer = format!("{ORGANIZATION}/{SOFTWARE}");
    let signed = |trust_anchor: &str, age: u64, over: &[u8]| {
        let claims = Claims { issuer: &issuer, trust_anchor, issued_at: UnixTime(uk.now() - age) };
        sign(over, &claims, Form::Encoded, &uk.key).unwrap()
    };
    let with = |value: HeaderValue| {
        let mut request = uk.payment("{}");
        request.headers_mut().insert(X_JWS_SIGNATURE, value);
        request
    };
    let anchor = "openbanking.org.uk";
    assert_eq!(uk.send(with(signed(anchor, 0, b"{}"))).await.status(), 201, "control");
    // Of the same key, without the member `kid`, which is read before anything is verified.
    let unnamed = HeaderValue::from_static("eyJhbGciOiJQUzI1NiJ9..AAAA");
    for (request, name) in [
        (uk.payment("{}"), "Missing"),
        (with(HeaderValue::from_static("a.b.c")), "Malformed"),
        (with(unnamed), "MissingClaim"),
        (with(signed("bank.example", 0, b"{}")), "InvalidClaim"),
        (with(signed(anchor, 61, b"{}")), "InvalidClaim"),
        (with(signed(anchor, 0, b"[]")), "Invalid"),
    ] {
        let (status, body) = told(&uk.send(request).await);
        assert_eq!((status, &body["Code"]), (400, &json!("400 Bad Request")), "{body}");
        assert_eq!(body["Errors"][0]["ErrorCode"], format!("UK.OBIE.Signature.{name}"), "{body}");
        assert!(body["Id"].as_str().is_some_and(|id| id.len() == 36), "{body}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn br_14_whatever_is_wrong_with_a_payment_is_called_a_bad_signature() {
    for errors in ["brazil_payments", "brazil"] {
        bad_signatures_of_brazil(errors).await;
    }
}

async fn bad_signatures_of_brazil(errors: &str) {
    let brazil = world("brazil", errors).await;
    let good = Wanted::brazil(&brazil).jwt("{}", &brazil.key);
    let mut flipped = good.clone().into_bytes();
    let place = flipped.len() - 20;
    flipped[place] = if flipped[place] == b'A' { b'B' } else { b'A' };
    for (request, status) in [(payment(&brazil, flipped), 400), (brazil.payment("{}"), 400)] {
        let (found, body) = told(&brazil.send(request).await);
        assert_eq!((found, &body["errors"][0]["code"]), (status, &json!("BAD_SIGNATURE")), "{body}");
    }
    assert_eq!(brazil.send(payment(&brazil, good.clone())).await.status(), 201, "control");
    let (status, body) = told(&brazil.send(payment(&brazil, good)).await);
    assert_eq!((status, &body["errors"][0]["title"]), (403, &json!("Forbidden")), "the same jti: {body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn bg_10_a_seal_that_is_missing_is_told_from_one_that_does_not_hold() {
    let sealed = Sealed::with("    errors: berlin_group\n", "", with_templates).await;
    let good = || sealed.sealed(sealed.payment());
    assert_eq!(sealed.send(good()).await.status(), 201, "control");
    let with = |name: &'static str, value: &'static str| {
        let mut request = good();
        request.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        request
    };
    for (request, name) in [
        (sealed.payment(), "SIGNATURE_MISSING"),
        (with("x-request-id", "c5fa1f2a-0000-4000-8000-000000000000"), "SIGNATURE_INVALID"),
    ] {
        let (status, body) = told(&sealed.send(request).await);
        assert_eq!(status, 401, "{body}");
        assert_eq!(body["tppMessages"][0]["code"], name, "{body}");
    }
}
