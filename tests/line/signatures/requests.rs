//! What the signature of a request has to be.

use bytes::Bytes;
use fapi::UnixTime;
use fapi::code::Code;
use fapi::jose::keys::Algorithm;
use fapi::signature::input::SIGNATURE_INPUT;
use fapi_gateway::clock::Clock;
use http::{HeaderValue, Method, Request};
use serde_json::Value;

use super::{PAYMENT, Signed};
use crate::support::signature::{MessageKey, Wanted, components};
use crate::support::{ORIGIN, Running, Scene};

const TARGET: [&str; 4] = ["\"@method\"", "\"@target-uri\"", "\"authorization\"", "\"content-digest\""];

#[tokio::test(flavor = "multi_thread")]
async fn hsig_01_a_request_is_signed_by_the_client_of_its_token() {
    let signed = Signed::start().await;
    let response = signed.send(signed.signed_payment()).await;
    assert_eq!(response.status(), 201, "control");
    let seen = signed.world.accounts.requests().pop().unwrap();
    assert_eq!(seen.body, PAYMENT);
    assert!(seen.header("signature").is_some() && seen.header("content-digest").is_some(), "HSIG-15: they go on");
    let refusal = signed.refused(signed.payment(PAYMENT), Code::SignatureMissing, "no signature").await;
    assert_eq!(
        refusal.headers()["accept-signature"],
        r#"sig=("@method" "@target-uri" "authorization" "content-digest");created;tag="fapi-2-request""#
    );
    let body: Value = serde_json::from_slice(refusal.body()).unwrap();
    assert_eq!(body["error"], "invalid_signature");
    assert!(refusal.headers()["www-authenticate"].to_str().unwrap().starts_with("DPoP realm"));
    let refused =
        signed.refused(signed.request(Method::GET, "/accounts/1001", ""), Code::SignatureMissing, "GET").await;
    assert_eq!(
        refused.headers()["accept-signature"],
        r#"sig=("@method" "@target-uri" "authorization");created;tag="fapi-2-request""#
    );
    let get = signed.key.sign(signed.request(Method::GET, "/accounts/1001?x=1&x=2", ""), signed.now());
    assert_eq!(signed.judge(get).await.0, 200);
    let text = signed.world.gateway.admin("/metrics").await.1;
    assert!(text.contains("fapi_gateway_signatures_total{outcome=\"verified\",route=\"payments\"} 1\n"), "{text}");
    assert!(text.contains("fapi_gateway_signatures_total{outcome=\"refused\",route=\"payments\"} 1\n"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn hsig_02_hsig_03_the_tag_and_each_component_count() {
    let signed = Signed::start().await;
    let with = |adjust: &dyn Fn(&mut Wanted)| {
        signed.key.sign_with(signed.payment(PAYMENT), signed.now(), |wanted| adjust(wanted))
    };
    assert_eq!(signed.judge(with(&|wanted| wanted.label = "x")).await.0, 201, "control");
    for tag in [None, Some("fapi-2-response".into())] {
        let request = with(&|wanted| wanted.parameters.tag.clone_from(&tag));
        signed.refused(request, Code::SignatureMissing, "another tag").await;
    }
    let mut bodies = Vec::new();
    for missing in TARGET {
        let kept: Vec<&str> = TARGET.into_iter().filter(|kept| *kept != missing).collect();
        let request = with(&|wanted| wanted.components = Some(components(&kept)));
        bodies.push(signed.refused(request, Code::SignatureComponentMissing, missing).await.into_body());
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "HSIG-22: which one it is, nobody is told");
    for parameter in ["created", "keyid"] {
        let request = with(&|wanted| match parameter {
            "created" => wanted.parameters.created = None,
            _ => wanted.parameters.key_id = None,
        });
        signed.refused(request, Code::SignatureComponentMissing, parameter).await;
    }
    let mut other = signed.payment(PAYMENT);
    other.headers_mut().insert("x-nope", HeaderValue::from_static("1"));
    let covered = components(&[TARGET.as_slice(), &["\"x-nope\""]].concat());
    let mut other = signed.key.sign_with(other, signed.now(), |wanted| wanted.components = Some(covered));
    other.headers_mut().remove("x-nope");
    signed.refused(other, Code::SignatureComponentMissing, "HSIG-10: a field that is not there").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hsig_04_a_signature_is_of_now() {
    let signed = Signed::start().await;
    let at = |created: u64| signed.key.sign(signed.payment(PAYMENT), created);
    let now = signed.now();
    assert_eq!(signed.judge(at(now - 60)).await.0, 201, "control");
    assert_eq!(signed.judge(at(now + 10)).await.0, 201, "control");
    signed.refused(at(now - 61), Code::SignatureStale, "61 seconds ago").await;
    signed.refused(at(now + 11), Code::SignatureStale, "11 seconds ahead").await;
    let expired = signed.key.sign_with(signed.payment(PAYMENT), now, |wanted| {
        wanted.parameters.expires = Some(UnixTime(now));
    });
    signed.refused(expired, Code::SignatureStale, "expired").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hsig_05_hsig_09_each_part_that_is_covered_is_what_was_signed() {
    let signed = Signed::start().await;
    let changed = |change: &dyn Fn(&mut Request<Bytes>)| {
        let mut request = signed.signed_payment();
        change(&mut request);
        request
    };
    assert_eq!(signed.judge(changed(&|_| {})).await.0, 201, "control");
    let query = changed(&|request| *request.uri_mut() = format!("{ORIGIN}/payments?x=1").parse().unwrap());
    signed.refused(query, Code::SignatureInvalid, "HSIG-12: a query that was not signed").await;
    let other_token = signed.world.sign(&signed.world.token().claim("jti", "other"));
    let token = changed(&|request| {
        let value = HeaderValue::try_from(format!("Bearer {other_token}")).unwrap();
        request.headers_mut().insert("authorization", value);
    });
    signed.refused(token, Code::SignatureInvalid, "another token").await;
    let body = changed(&|request| *request.body_mut() = PAYMENT.replace("10.00", "99.00").into());
    signed.refused(body, Code::DigestMismatch, "another body").await;
    let both = changed(&|request| {
        let other = PAYMENT.replace("10.00", "99.00");
        let digest =
            fapi::signature::digest::content_digest(fapi::signature::digest::DigestAlgorithm::Sha256, other.as_bytes());
        request.headers_mut().insert("content-digest", digest.try_into().unwrap());
        *request.body_mut() = other.into();
    });
    signed.refused(both, Code::SignatureInvalid, "another body with its digest").await;
    let named = signed.key.sign_with(signed.payment(PAYMENT), signed.now(), |wanted| {
        wanted.parameters.algorithm = Some("ecdsa-p256-sha256".into());
    });
    let input = named.headers()[SIGNATURE_INPUT].to_str().unwrap().replace("ecdsa-p256-sha256", "hmac-sha256");
    assert_eq!(signed.judge(named).await.0, 201, "control");
    let hmac = changed(&|request| {
        request.headers_mut().insert(SIGNATURE_INPUT, HeaderValue::try_from(&input).unwrap());
    });
    signed.refused(hmac, Code::SignatureAlgorithmRefused, "alg of another kind of key").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hsig_11_both_fields_are_structured_and_have_one_reading() {
    let signed = Signed::start().await;
    let with_input = |input: &str| {
        let mut request = signed.signed_payment();
        request.headers_mut().insert(SIGNATURE_INPUT, HeaderValue::try_from(input).unwrap());
        request
    };
    let good = signed.signed_payment().headers()[SIGNATURE_INPUT].to_str().unwrap().to_owned();
    assert_eq!(signed.judge(signed.signed_payment()).await.0, 201, "control");
    for (input, what) in [
        (format!("{good}, {good}"), "a label twice"),
        (good.replace("sig=", "other="), "another label"),
        (good.replace("sig=(", "sig="), "no list"),
        (good.replace("(\"@method\"", "(\"x\";tr \"@method\""), "HSIG-21: of a trailer"),
        (good.replace("(\"@method\"", "(\"@method\" \"@method\""), "a component twice"),
    ] {
        signed.refused(with_input(&input), Code::SignatureMalformed, what).await;
    }
    let mut half = signed.signed_payment();
    half.headers_mut().remove("signature");
    signed.refused(half, Code::SignatureMissing, "half of it").await;
    // A signature of somebody else comes first.
    let stranger = MessageKey::new(Algorithm::EdDsa, "edge");
    let of_both = signed.key.sign(
        stranger.sign_with(signed.payment(PAYMENT), signed.now(), |wanted| {
            (wanted.label, wanted.parameters.tag) = ("edge", Some("cdn".into()));
        }),
        signed.now(),
    );
    assert_eq!(signed.judge(of_both).await.0, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn hsig_14_a_signature_over_a_method_that_is_not_safe_counts_once() {
    let signed = Signed::start().await;
    let copy = |request: &Request<Bytes>| {
        let mut copied = Request::new(request.body().clone());
        (*copied.method_mut(), *copied.uri_mut()) = (request.method().clone(), request.uri().clone());
        *copied.headers_mut() = request.headers().clone();
        copied
    };
    let payment = signed.signed_payment();
    assert_eq!(signed.judge(copy(&payment)).await.0, 201);
    signed.refused(copy(&payment), Code::SignatureReplayed, "the same again").await;
    assert_eq!(signed.judge(signed.signed_payment()).await.0, 201, "control: another signature over the same request");
    let get = signed.key.sign(signed.request(Method::GET, "/accounts/1001", ""), signed.now());
    assert_eq!([signed.judge(copy(&get)).await.0, signed.judge(copy(&get)).await.0], [200, 200]);

    let signed = Signed::with("{ request: required, keys: tpps, replay: remember_all }", |scene| scene).await;
    let get = signed.key.sign(signed.request(Method::GET, "/accounts/1001", ""), signed.now());
    assert_eq!(signed.judge(copy(&get)).await.0, 200);
    signed.refused(copy(&get), Code::SignatureReplayed, "a safe method").await;

    let signed = Signed::with("{ request: required, keys: tpps, replay: ignore }", |scene| scene).await;
    let payment = signed.signed_payment();
    assert_eq!([signed.judge(copy(&payment)).await.0, signed.judge(copy(&payment)).await.0], [201, 201]);
}

#[tokio::test(flavor = "multi_thread")]
async fn hsig_14_what_was_signed_before_the_log_began_may_have_been_used() {
    let signed = Signed::start().await;
    let time = signed.world.clock.clone();
    // Another replica that starts now, and has forgotten what was used.
    let scene = Scene::new(&signed.world.authority, signed.world.issuer.issuer(), signed.world.accounts.address())
        .file("tpps.json", &serde_json::json!({ "client-1": signed.key.jwks() }).to_string())
        .replace(
            "    scopes: { any: [payments, accounts] }\n",
            "    signature: { request: required, keys: tpps }\n    scopes: { any: [payments, accounts] }\n",
        )
        .replace("upstreams:\n", "client_keys: { tpps: { file: tpps.json } }\nupstreams:\n");
    let other = Running::start_by(scene, Clock::from_fn(move || std::time::Duration::from_secs(time.now())));
    other.ready().await;
    let client = crate::support::client::Client::new(other.address(), &signed.world.authority)
        .origin(ORIGIN)
        .certificate(&signed.world.c1);
    let early = client.send(signed.signed_payment()).await.unwrap();
    assert_eq!((early.status().as_u16(), &early.headers()["retry-after"]), (503, &HeaderValue::from_static("5")));
    assert_eq!(other.record_of(&early)["code"], Code::ReplayLogUnavailable.as_str());
    signed.world.clock.advance(11);
    assert_eq!(client.send(signed.signed_payment()).await.unwrap().status(), 201, "control");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_that_need_not_be_there_has_to_hold_if_it_is() {
    let signed = Signed::with("{ request: when_present, keys: tpps }", |scene| scene).await;
    assert_eq!(signed.judge(signed.payment(PAYMENT)).await.0, 201, "none");
    assert_eq!(signed.judge(signed.signed_payment()).await.0, 201, "a good one");
    let elsewhere = signed.key.sign_with(signed.payment(PAYMENT), signed.now(), |wanted| {
        wanted.parameters.tag = Some("cdn".into());
    });
    assert_eq!(signed.judge(elsewhere).await.0, 201, "one for somebody else");
    let mut body = signed.signed_payment();
    *body.body_mut() = "{}".into();
    signed.refused(body, Code::DigestMismatch, "another body").await;
    let mut half = signed.signed_payment();
    half.headers_mut().remove("signature");
    signed.refused(half, Code::SignatureMissing, "half of it").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_says_itself_what_is_covered() {
    let signed = Signed::with(
        "{ request: required, keys: tpps, profile: custom, tag: bank, components: [\"@method\", x-idempotency-key] }",
        |scene| scene,
    )
    .await;
    let payment = |key: Option<&'static str>, names: &'static [&'static str]| {
        let mut request = signed.payment(PAYMENT);
        if let Some(key) = key {
            request.headers_mut().insert("x-idempotency-key", HeaderValue::from_static(key));
        }
        signed.key.sign_with(request, signed.now(), |wanted| {
            wanted.parameters.tag = Some("bank".into());
            wanted.components = Some(components(names));
        })
    };
    let all: &[&str] = &["\"@method\"", "\"x-idempotency-key\"", "\"content-digest\""];
    assert_eq!(signed.judge(payment(Some("1"), all)).await.0, 201, "control");
    signed.refused(payment(Some("1"), &all[..2]), Code::SignatureComponentMissing, "the content always counts").await;
    signed
        .refused(payment(Some("1"), &["\"@method\"", "\"content-digest\""]), Code::SignatureComponentMissing, "x")
        .await;
    let refused = signed.refused(signed.signed_payment(), Code::SignatureMissing, "the tag of FAPI").await;
    assert_eq!(
        refused.headers()["accept-signature"],
        r#"sig=("content-digest" "@method" "x-idempotency-key");created;tag="bank""#
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn in_shadow_what_would_be_refused_is_noted_and_passes() {
    let day = crate::support::day(crate::support::client::now() + 30 * 86_400);
    let enforce = format!("    enforce: {{ shadow: until {day} }}\n    upstream: accounts\n    forward:");
    let signed =
        Signed::with(super::REQUIRED, |scene| scene.replace("    upstream: accounts\n    forward:", &enforce)).await;
    let noted = async |request: Request<Bytes>| {
        let response = signed.send(request).await;
        assert_eq!(response.status(), 200);
        signed.world.gateway.record_of(&response)["would_deny"].clone()
    };
    let account = || signed.request(Method::GET, "/accounts/1001", "");
    assert_eq!(noted(signed.key.sign(account(), signed.now())).await, Value::Null, "control");
    assert_eq!(noted(account()).await, "signature_missing");
    assert_eq!(noted(signed.key.sign(account(), signed.now() - 61)).await, "signature_stale");
    signed.refused(signed.payment(PAYMENT), Code::SignatureMissing, "control: a route that is enforced").await;
}
