//! Whose keys count: those of the token's client, from where the configuration says.

use bytes::Bytes;
use fapi::code::Code;
use fapi::jose::keys::Algorithm;
use http::{Request, header};
use sandbox::https::{Answer, HttpServer};
use serde_json::json;

use super::{PAYMENT, REQUIRED, Signed};
use crate::support::ORIGIN;
use crate::support::signature::MessageKey;

/// A payment with a token of this client.
fn payment_of(signed: &Signed, client: &str) -> Request<Bytes> {
    let token = signed.world.sign(&signed.world.token().claim("client_id", client));
    Request::post(format!("{ORIGIN}/payments"))
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(PAYMENT.into())
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn hsig_08_keys_are_those_of_the_client_of_the_token() {
    let other = MessageKey::new(Algorithm::Es256, "tpp-2");
    let same_name = MessageKey::new(Algorithm::Es256, "tpp-1");
    let signed = Signed::with(REQUIRED, |scene| scene).await;
    let now = signed.now();
    let document = json!({ "client-1": signed.key.jwks(), "client-2": other.jwks() }).to_string();
    signed.world.gateway.folder().write("tpps.json", &document);
    signed.world.reload(1, |yaml| yaml).await;
    assert_eq!(signed.judge(other.sign(payment_of(&signed, "client-2"), now)).await.0, 201, "control");
    let crossed = other.sign(payment_of(&signed, "client-1"), now);
    signed.refused(crossed, Code::SignatureKeyUnknown, "the key of another client").await;
    let stranger = other.sign(payment_of(&signed, "client-3"), now);
    signed.refused(stranger, Code::SignatureKeyUnknown, "a client whose keys nobody knows").await;
    let forged = same_name.sign(payment_of(&signed, "client-1"), now);
    signed.refused(forged, Code::SignatureInvalid, "another key of that name").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hsig_09_every_kind_of_key_signs() {
    let keys = [
        (MessageKey::new(Algorithm::Ps256, "rsa"), None),
        (MessageKey::new(Algorithm::Ps256, "rsa512"), Some("rsa-pss-sha512")),
        (MessageKey::new(Algorithm::EdDsa, "ed"), None),
        (MessageKey::new(Algorithm::Es256, "ec"), Some("ecdsa-p256-sha256")),
    ];
    let mut jwks: Vec<_> = keys.iter().map(|(key, _)| key.jwk()).collect();
    jwks[1]["alg"] = "PS512".into();
    let set = json!({ "client-1": { "keys": jwks } }).to_string();
    let signed = Signed::with(REQUIRED, |scene| scene.file("tpps.json", &set)).await;
    for (key, algorithm) in &keys {
        let request = key.sign_with(signed.payment(PAYMENT), signed.now(), |wanted| {
            wanted.parameters.algorithm = algorithm.map(Into::into);
        });
        assert_eq!(signed.judge(request).await.0, 201, "{}", key.key_id);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_in_documents_of_client_metadata_or_where_these_say() {
    let (given, published) = (MessageKey::new(Algorithm::Es256, "a"), MessageKey::new(Algorithm::EdDsa, "b"));
    let next = MessageKey::new(Algorithm::EdDsa, "c");
    let authority = sandbox::pki::Authority::new("Keys CA");
    let credential = authority.server(&["localhost", "127.0.0.1"]);
    let served = std::sync::Arc::new(std::sync::Mutex::new(published.jwks()));
    let answers = served.clone();
    let host = HttpServer::start(
        None,
        Some(sandbox::tls::tls_config(&credential, None)),
        std::sync::Arc::new(move |_| Answer::json(http::StatusCode::OK, answers.lock().unwrap().clone())),
    )
    .unwrap();
    let uri = format!("https://localhost:{}/keys", host.address().port());
    let signed = Signed::with(REQUIRED, |scene| {
        scene
            .file("keys-ca.pem", &authority.pem())
            .folder(|folder| std::fs::create_dir(folder.join("tpps")).unwrap())
            .file("tpps/1.json", &json!({ "client_id": "client-1", "jwks": given.jwks() }).to_string())
            .file("tpps/2.json", &json!({ "client_id": "client-2", "jwks_uri": uri }).to_string())
            .replace("tpps: { file: tpps.json }", "tpps: { directory: tpps, trust_anchors: [keys-ca.pem] }")
    })
    .await;
    let now = || signed.now();
    assert_eq!(signed.judge(given.sign(payment_of(&signed, "client-1"), now())).await.0, 201);
    assert_eq!(signed.judge(published.sign(payment_of(&signed, "client-2"), now())).await.0, 201);
    signed.refused(given.sign(payment_of(&signed, "client-2"), now()), Code::SignatureKeyUnknown, "of another").await;
    // A key that is new is read at once, but not at every call in its name.
    *served.lock().unwrap() = json!({ "keys": [published.jwk(), next.jwk()] });
    signed.world.clock.advance(31);
    assert_eq!(signed.judge(next.sign(payment_of(&signed, "client-2"), now())).await.0, 201);
    drop(host);
    signed.world.clock.advance(31);
    let unknown = MessageKey::new(Algorithm::EdDsa, "d").sign(payment_of(&signed, "client-2"), now());
    let response = signed.send(unknown).await;
    assert_eq!(signed.world.gateway.record_of(&response)["code"], Code::KeysUnavailable.as_str());
    assert_eq!(response.status(), 503, "it may be the client's new key");
    assert_eq!(signed.judge(next.sign(payment_of(&signed, "client-2"), now())).await.0, 201, "control");
}
