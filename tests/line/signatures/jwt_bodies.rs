//! Bodies that are signed JWTs (BR-11 to BR-15, UAE-03, UAE-04).

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use fapi::UnixTime;
use fapi::code::Code;
use fapi::jose::jwe::{EncryptionKey, encrypt};
use fapi::jose::signing_keys::NamedKey;
use fapi::signed_body::jwt_body::{Claims, Content, Rules, ValidBetween, sign_content, verify};
use http::{HeaderValue, Method, Request, header};
use sandbox::https::{Answer, HttpServer};
use sandbox::tokens::{KeyKind, SigningKey};
use serde_json::{Value, json};
use uuid::Uuid;

use super::ecosystem::{BANK, Ecosystem, ORGANIZATION, PAYMENTS, rsa_key};
use crate::edge::hostile::wire::Talk;
use crate::support::Scene;

const BRAZIL: &str = "{ request: required, keys: tpps, profile: brazil }";
const GULF: &str = "{ request: required, keys: tpps, profile: gulf }";
/// What the upstream gets of it has these very bytes.
const PAYMENT: &str = "{ \"amount\" : 10.00,\t\"to\":\"DE02\" }";

async fn brazil(signature: &str) -> Ecosystem {
    Ecosystem::with(signature, json!({ "org_id": ORGANIZATION }), |scene| scene).await
}

async fn gulf(signature: &str) -> Ecosystem {
    Ecosystem::with(signature, json!({}), |scene| scene).await
}

/// What a JWT says of itself.
#[derive(Clone)]
pub(super) struct Wanted {
    claim: &'static str,
    issuer: String,
    audience: String,
    jti: String,
    at: u64,
    valid: Option<(u64, u64)>,
}

impl Wanted {
    pub(super) fn brazil(world: &Ecosystem) -> Self {
        Self {
            claim: "data",
            issuer: ORGANIZATION.into(),
            audience: PAYMENTS.into(),
            jti: Uuid::new_v4().to_string(),
            at: world.now(),
            valid: None,
        }
    }

    fn gulf(world: &Ecosystem) -> Self {
        let valid = Some((world.now(), world.now() + 60));
        Self { claim: "message", issuer: "client-1".into(), valid, ..Self::brazil(world) }
    }

    pub(super) fn jwt(&self, payload: &str, key: &NamedKey) -> String {
        let valid = self.valid.map(|(from, to)| ValidBetween { not_before: UnixTime(from), expires: UnixTime(to) });
        let Self { issuer, audience, jti, at, .. } = self;
        let claims = Claims { issuer, audience, jti, issued_at: UnixTime(*at), valid };
        sign_content(&claims, Content::Claim(self.claim, payload), key).unwrap()
    }
}

pub(super) fn payment(world: &Ecosystem, jwt: impl Into<Bytes>) -> Request<Bytes> {
    world.request(Method::POST, "/payments", "application/jwt", jwt)
}

#[tokio::test(flavor = "multi_thread")]
async fn br_11_the_jwt_is_by_the_organisation_for_the_endpoint_and_of_now() {
    let world = brazil(BRAZIL).await;
    let good = Wanted::brazil(&world);
    let jwt = good.jwt(PAYMENT, &world.key);
    assert_eq!(world.accepted(payment(&world, jwt.clone()), "control").await, jwt);
    assert_eq!(world.world.accounts.requests().pop().unwrap().headers[header::CONTENT_TYPE], "application/jwt");
    let with = |adjust: fn(&mut Wanted)| {
        let mut wanted = Wanted::brazil(&world);
        adjust(&mut wanted);
        payment(&world, wanted.jwt(PAYMENT, &world.key))
    };
    let query =
        world.request(Method::POST, "/payments?a=b", "application/jwt", Wanted::brazil(&world).jwt("1", &world.key));
    world.accepted(query, "control: the query is no part of aud").await;
    let mut coded = with(|_| {});
    coded.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    for (request, code, what) in [
        (with(|wanted| wanted.issuer = "client-1".into()), Code::SignatureClaimRefused, "iss"),
        (with(|wanted| wanted.audience = "https://localhost".into()), Code::SignatureClaimRefused, "aud"),
        (with(|wanted| wanted.jti = "1".into()), Code::SignatureClaimRefused, "jti"),
        (with(|wanted| wanted.claim = "message"), Code::SignatureClaimMissing, "data"),
        (with(|wanted| wanted.at -= 61), Code::SignatureStale, "old"),
        (with(|wanted| wanted.at += 61), Code::SignatureStale, "of the future"),
        (payment(&world, "{}"), Code::SignatureMalformed, "no JWT"),
        (coded, Code::SignatureMalformed, "with a coding"),
        (world.payment(PAYMENT), Code::SignatureMissing, "unsigned JSON"),
    ] {
        world.refused(request, 400, code, what).await;
    }
    let read = world.request(Method::GET, "/accounts/1001", "application/json", "");
    assert_eq!(world.send(read).await.status(), 200, "without content, nothing is signed");
}

#[tokio::test(flavor = "multi_thread")]
async fn br_13_br_14_the_key_is_one_of_the_client_and_the_signature_holds() {
    let world = brazil(BRAZIL).await;
    let jwt = |key: &NamedKey| Wanted::brazil(&world).jwt(PAYMENT, key);
    world.accepted(payment(&world, jwt(&world.key)), "control").await;
    world.refused(payment(&world, jwt(&rsa_key("tpp-1").0)), 400, Code::SignatureInvalid, "another key").await;
    world.refused(payment(&world, jwt(&rsa_key("x").0)), 400, Code::SignatureKeyUnknown, "an unknown key").await;
    let mut flipped = jwt(&world.key).into_bytes();
    let place = flipped.len() - 20;
    flipped[place] = if flipped[place] == b'A' { b'B' } else { b'A' };
    world.refused(payment(&world, flipped), 400, Code::SignatureInvalid, "one letter of the signature").await;
    let nameless = Ecosystem::with(BRAZIL, json!({}), |scene| scene).await;
    let jwt = Wanted::brazil(&nameless).jwt(PAYMENT, &nameless.key);
    nameless.refused(payment(&nameless, jwt), 400, Code::SignatureClaimRefused, "no organisation is known").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn br_19_who_signs_the_same_payment_again_repeats_it() {
    for is_brazil in [true, false] {
        let keyed = |scene: Scene| {
            let scopes = "    scopes: { any: [payments, accounts] }\n";
            scene.replace(scopes, &format!("{scopes}    idempotency_key: required\n"))
        };
        let world = match is_brazil {
            true => Ecosystem::with(BRAZIL, json!({ "org_id": ORGANIZATION }), keyed).await,
            false => Ecosystem::with(GULF, json!({}), keyed).await,
        };
        let sent = |payload: &str| {
            let wanted = if is_brazil { Wanted::brazil(&world) } else { Wanted::gulf(&world) };
            let mut request = payment(&world, wanted.jwt(payload, &world.key));
            request.headers_mut().insert("x-idempotency-key", HeaderValue::from_static("key"));
            request
        };
        world.accepted(sent(PAYMENT), "control").await;
        world.world.clock.advance(5);
        world.accepted(sent(PAYMENT), "with another jti and iat").await;
        let changed = PAYMENT.replace("10.00", "11.00");
        world.refused(sent(&changed), 422, Code::IdempotencyKeyReused, "another amount").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn br_12_a_jti_counts_once_in_a_day() {
    let world = brazil(BRAZIL).await;
    let first = Wanted::brazil(&world);
    let jwt = first.jwt(PAYMENT, &world.key);
    world.accepted(payment(&world, jwt.clone()), "control").await;
    world.refused(payment(&world, jwt), 403, Code::SignatureReplayed, "the same").await;
    let again = |world: &Ecosystem| Wanted { at: world.now(), ..first.clone() }.jwt("{}", &world.key);
    world.refused(payment(&world, again(&world)), 403, Code::SignatureReplayed, "another with its jti").await;
    world.world.clock.advance(23 * 3600);
    world.refused(payment(&world, again(&world)), 403, Code::SignatureReplayed, "within a day").await;
    world.world.clock.advance(2 * 3600);
    world.accepted(payment(&world, again(&world)), "after a day").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn uae_04_writes_are_signed_by_the_client() {
    let world = gulf(GULF).await;
    let with = |adjust: fn(&mut Wanted)| {
        let mut wanted = Wanted::gulf(&world);
        adjust(&mut wanted);
        payment(&world, wanted.jwt(PAYMENT, &world.key))
    };
    world.accepted(with(|_| {}), "control").await;
    world.accepted(with(|wanted| wanted.audience = "https://localhost".into()), "control: the host").await;
    for (request, code, what) in [
        (with(|wanted| wanted.issuer = ORGANIZATION.into()), Code::SignatureClaimRefused, "iss"),
        (with(|wanted| wanted.audience = "https://localhost/other".into()), Code::SignatureClaimRefused, "aud"),
        (with(|wanted| wanted.valid = None), Code::SignatureClaimMissing, "exp"),
        (with(|wanted| wanted.valid = Some((wanted.at, wanted.at - 11))), Code::SignatureStale, "expired"),
        (world.payment(PAYMENT), Code::SignatureMissing, "unsigned JSON"),
    ] {
        world.refused(request, 400, code, what).await;
    }
    let again = with(|_| {});
    world.accepted(again.clone(), "control").await;
    world.refused(again, 400, Code::SignatureReplayed, "again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_upstream_gets_the_payload_as_its_signer_wrote_it_where_the_route_says_so() {
    let world = brazil(&BRAZIL.replace("required", "required, forward: payload")).await;
    for client in [world.world.client().h1(), world.world.client().h2()] {
        let large = format!("{{\"text\" : \"{}\"}}", "x".repeat(200_000));
        for body in [PAYMENT, "1.10", &large] {
            let mut request = payment(&world, Wanted::brazil(&world).jwt(body, &world.key));
            request.headers_mut().insert("content-digest", HeaderValue::from_static("sha-256=:AAAA:"));
            let response = client.send(request).await.unwrap();
            assert_eq!(response.status(), 201, "{}", world.world.gateway.record_of(&response));
            let seen = world.world.accounts.requests().pop().unwrap();
            assert!(seen.body == body, "{} bytes", body.len());
            assert_eq!(seen.headers[header::CONTENT_TYPE], "application/json");
            assert_eq!(seen.headers[header::CONTENT_LENGTH], body.len().to_string().as_str());
            assert!(seen.headers.get("content-digest").is_none(), "that of the JWT");
        }
    }
    let as_it_is = brazil(BRAZIL).await;
    let jwt = Wanted::brazil(&as_it_is).jwt(&format!("\"{}\"", "x".repeat(200_000)), &as_it_is.key);
    assert!(as_it_is.accepted(payment(&as_it_is, jwt.clone()), "large").await == jwt);
}

#[tokio::test(flavor = "multi_thread")]
async fn ms_int_12_a_body_is_encrypted_where_the_route_says_so_and_signed_within() {
    let keys = [KeyKind::Es256, KeyKind::Ps256].map(|kind| SigningKey::generate(kind, "encryption"));
    let public = |key: &SigningKey, name: &str| {
        EncryptionKey::from_spki_pem(key.public_key_pem().as_bytes(), Some(name)).unwrap()
    };
    let stranger = SigningKey::generate(KeyKind::Es256, "encryption");
    let sealed = |forward: &str| {
        let rule = format!(
            "required, forward: {forward}, decryption_keys: [{{ private_key: ec.pem, key_id: ec }}, {{ private_key: rsa.pem, key_id: rsa }}]"
        );
        let [ec, rsa] = &keys;
        let files = |scene: Scene| scene.file("ec.pem", &ec.private_key_pem()).file("rsa.pem", &rsa.private_key_pem());
        let signature = BRAZIL.replace("required", &rule);
        async move { Ecosystem::with(&signature, json!({ "org_id": ORGANIZATION }), files).await }
    };
    let (whole, payload) = (sealed("as_is").await, sealed("payload").await);
    let signed = |world: &Ecosystem| Wanted::brazil(world).jwt(PAYMENT, &world.key);
    let named =
        |jwt: &str, key: &SigningKey, name: &str| encrypt(jwt.as_bytes(), &public(key, name), Some("JWT")).unwrap();
    let within = |jwt: &str, key: &SigningKey| {
        let is_rsa = std::ptr::eq(key, &keys[1]);
        named(jwt, key, if is_rsa { "rsa" } else { "ec" })
    };
    for key in &keys {
        let body = within(&signed(&whole), key);
        assert_eq!(whole.accepted(payment(&whole, body.clone()), "control").await, body, "still encrypted");
        assert_eq!(payload.accepted(payment(&payload, within(&signed(&payload), key)), "control").await, PAYMENT);
    }
    let own = &keys[0];
    let nested = within(&signed(&whole), own);
    let mut flipped = nested.clone().into_bytes();
    let place = flipped.len() - 40;
    flipped[place] = if flipped[place] == b'A' { b'B' } else { b'A' };
    for (body, code, what) in [
        (signed(&whole), Code::ContentNotDecrypted, "signed alone"),
        (within(&nested, own), Code::ContentNotDecrypted, "encrypted twice"),
        (within(PAYMENT, own), Code::ContentNotDecrypted, "not signed"),
        (named(&signed(&whole), own, "other"), Code::ContentNotDecrypted, "a name that no key has"),
        (within(&signed(&whole), &stranger), Code::ContentNotDecrypted, "for another key"),
        (String::from_utf8(flipped).unwrap(), Code::ContentNotDecrypted, "one letter"),
        (
            within(&Wanted::brazil(&whole).jwt(PAYMENT, &rsa_key("tpp-1").0), own),
            Code::SignatureInvalid,
            "another signer",
        ),
    ] {
        whole.refused(payment(&whole, body), 400, code, what).await;
    }
    // What is inside counts once, however it is encrypted.
    let jwt = signed(&whole);
    whole.accepted(payment(&whole, within(&jwt, own)), "control").await;
    whole.refused(payment(&whole, within(&jwt, &keys[1])), 403, Code::SignatureReplayed, "encrypted anew").await;
    let plain = brazil(BRAZIL).await;
    plain
        .refused(payment(&plain, within(&signed(&plain), own)), 400, Code::SignatureMalformed, "nobody has keys")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_compared_with_what_is_signed() {
    let usual = "    scopes: { any: [payments, accounts] }\n";
    let require = "    require: { authorization_details: [{ type: payment, match: [{ detail: /to, equals: { body: /to } }] }] }\n";
    let adjust = |scene: Scene| scene.replace(usual, &format!("{usual}{require}"));
    let world = Ecosystem::with(BRAZIL, json!({ "org_id": ORGANIZATION }), adjust).await;
    let token = world.world.token().claim("authorization_details", json!([{ "type": "payment", "to": "DE02" }]));
    let token = world.world.sign(&token);
    let sent = |payload: &str, key: &NamedKey| {
        let jwt = Wanted::brazil(&world).jwt(payload, key);
        world.request_with(&token, Method::POST, "/payments", "application/jwt", jwt)
    };
    world.accepted(sent(PAYMENT, &world.key), "control").await;
    let large = format!("{{\"text\":\"{}\",\"to\":\"DE02\"}}", "x".repeat(100_000));
    world.accepted(sent(&large, &world.key), "more than what is read for a comparison alone").await;
    let other = PAYMENT.replace("DE02", "DE03");
    let before = world.world.accounts.server().heads();
    let judged = world.world.judge(sent(&other, &world.key)).await;
    assert_eq!(judged, (403, "authorization_details_insufficient".to_owned()));
    assert_eq!(world.world.accounts.server().heads(), before, "another account");
    world.refused(sent(&other, &rsa_key("tpp-1").0), 400, Code::SignatureInvalid, "the signature comes first").await;
    world.refused(sent("1", &world.key), 400, Code::BodyUnreadable, "no object").await;
    // What a reader that ignores case would take in place of the payload that was compared.
    let both = |payload: &str, other: &str| {
        let wanted = Wanted::brazil(&world);
        let claims = Claims {
            issuer: &wanted.issuer,
            audience: &wanted.audience,
            jti: &wanted.jti,
            issued_at: UnixTime(wanted.at),
            valid: None,
        };
        let members = format!("{{\"data\":{payload},\"{other}\":{payload}}}");
        sign_content(&claims, Content::Members(&members), &world.key).unwrap()
    };
    let sent_as = |jwt: String| world.request_with(&token, Method::POST, "/payments", "application/jwt", jwt);
    world.accepted(sent_as(both(PAYMENT, "more")), "control").await;
    world.refused(sent_as(both(PAYMENT, "Data")), 400, Code::SignatureMalformed, "Data beside data").await;
    let mut coded = sent(PAYMENT, &world.key);
    coded.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("br"));
    world.refused(coded, 415, Code::BodyTypeUnsupported, "a coding").await;
    let unsigned = world.request_with(&token, Method::POST, "/payments", "text/plain", PAYMENT);
    world.refused(unsigned, 415, Code::BodyTypeUnsupported, "neither").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn br_15_uae_03_responses_and_refusals_become_signed_jwts() {
    let (to_client, to_organization) = (["client-1".into()], [ORGANIZATION.into()]);
    for (world, rules, message) in [
        (
            brazil(&BRAZIL.replace("required", "required, response: sign")).await,
            Rules::brazil(BANK, &to_organization),
            None,
        ),
        (
            gulf(&GULF.replace("required", "required, response: sign")).await,
            Rules::gulf(BANK, &to_client),
            Some("message"),
        ),
    ] {
        let wanted = if message.is_some() { Wanted::gulf(&world) } else { Wanted::brazil(&world) };
        for (request, status, member) in [
            (payment(&world, wanted.jwt(PAYMENT, &world.key)), 201, "payment"),
            (world.request(Method::GET, "/accounts/1001", "application/json", ""), 200, "account"),
            (world.payment(PAYMENT), 400, "error"),
        ] {
            let response = world.send(request).await;
            assert_eq!(response.status(), status);
            assert_eq!(response.headers()[header::CONTENT_TYPE], "application/jwt");
            assert_eq!(response.headers()[header::CONTENT_LENGTH], response.body().len().to_string().as_str());
            let rules = Rules { payload: fapi::signed_body::jwt_body::Payload::Claims, ..rules };
            let verified = verify(response.body(), &rules, &world.keys, UnixTime(world.now())).unwrap();
            let payload: Value = serde_json::from_str(verified.payload()).unwrap();
            let content = message.map_or(Some(&payload), |claim| payload.get(claim));
            assert!(content.unwrap().get(member).is_some(), "{status}: {payload}");
        }
        let mut stranger = world.payment(PAYMENT);
        stranger.headers_mut().remove("authorization");
        let response = world.send(stranger).await;
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json", "anybody could ask for it");
        assert!(serde_json::from_slice::<Value>(response.body()).is_ok());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_asked_for_of_a_body_that_does_not_say_it_is_signed() {
    let world = brazil(BRAZIL).await;
    let token = world.world.sign(&world.world.token());
    let head = |content_type: &str, length: usize| {
        format!(
            "POST /payments HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nContent-Type: {content_type}\r\nContent-Length: {length}\r\nExpect: 100-continue\r\n\r\n"
        )
    };
    for (head, status) in [
        (head("application/jwt", 9), "HTTP/1.1 100 "), // control
        (head("application/json", 9), "HTTP/1.1 400 "),
        (head("application/jwt", 100_000_000), "HTTP/1.1 413 "),
    ] {
        let mut talk = Talk::with(&world.world.client()).await;
        talk.say(head).await.unwrap();
        talk.until(status).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_new_is_read_before_a_body_is_refused() {
    let (next, jwk) = rsa_key("next");
    let authority = sandbox::pki::Authority::new("Keys CA");
    let credential = authority.server(&["localhost", "127.0.0.1"]);
    let served = Arc::new(Mutex::new(json!({ "keys": [rsa_key("first").1] })));
    let answers = served.clone();
    let tls = sandbox::tls::tls_config(&credential, None);
    let answer = move |_| Answer::json(http::StatusCode::OK, answers.lock().unwrap().clone());
    let host = HttpServer::start(None, Some(tls), Arc::new(answer)).unwrap();
    let uri = format!("https://localhost:{}/keys", host.address().port());
    let client = json!({ "client_id": "client-1", "jwks_uri": uri, "org_id": ORGANIZATION });
    let world = Ecosystem::with(BRAZIL, json!({}), |scene| {
        scene
            .file("keys-ca.pem", &authority.pem())
            .folder(|folder| std::fs::create_dir(folder.join("tpps")).unwrap())
            .file("tpps/1.json", &client.to_string())
            .replace("tpps: { file: tpps.json }", "tpps: { directory: tpps, trust_anchors: [keys-ca.pem] }")
    })
    .await;
    let signed = || payment(&world, Wanted::brazil(&world).jwt(PAYMENT, &next));
    world.refused(signed(), 400, Code::SignatureKeyUnknown, "not published yet").await;
    *served.lock().unwrap() = json!({ "keys": [jwk] });
    world.world.clock.advance(31);
    world.accepted(signed(), "published since").await;
}
