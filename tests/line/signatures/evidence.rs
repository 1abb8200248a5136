//! What was signed is kept in the audit, and verified again by whoever has the private key: without the gateway and the issuer.

use std::process::Command;

use bytes::Bytes;
use fapi::UnixTime;
use fapi::signed_body::detached::{Claims, Form, X_JWS_SIGNATURE, sign};
use http::Request;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};

use super::ecosystem::{Ecosystem, ORGANIZATION, SOFTWARE};
use super::jwt_bodies::{self, Wanted};
use super::seals::Sealed;
use super::{PAYMENT, Signed};
use crate::support::{Folder, Scene};

const BOTH: &str = "{ request: required, response: sign, keys: tpps }";

/// What `audit show` prints, and its exit code.
fn show(folder: &Folder, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"));
    let output = command.args(["audit", "show"]).args(arguments).current_dir(folder.path()).output().expect("it runs");
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).expect("text"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_signed_is_verified_again_years_later() {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let signed = Signed::with(BOTH, |scene| kept(scene, &key)).await;
    let request = signed.signed_payment();
    let token = request.headers()["authorization"].to_str().unwrap().to_owned();
    let response = signed.send(request).await;
    let record = signed.world.gateway.record_of(&response);
    assert_eq!(record["request_signature"]["key_id"], "tpp-1", "{record}");
    let covered = record["request_signature"]["components"].as_str().unwrap();
    assert!(covered.contains("\"@method\"") && covered.contains("\"content-digest\""), "{covered}");
    let refused = signed.send(signed.payment(PAYMENT)).await;
    let refusal = signed.world.gateway.record_of(&refused);
    assert_eq!(refusal["request_signature"], Value::Null);

    let (folder, id) = (Folder::new(), record["interaction_id"].as_str().unwrap());
    let other = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    folder.write("evidence.pem", &key.serialize_pem());
    folder.write("other.pem", &other.serialize_pem());
    folder.write("audit.jsonl", &format!("{record}\n{refusal}\n"));
    let (code, plain) = show(&folder, &[id, "audit.jsonl"]);
    assert_eq!(code, Some(0), "{plain}");
    assert!(!plain.contains("the signature holds"), "nobody opens it without the key");
    let (code, text) = show(&folder, &["--evidence-key", "evidence.pem", id, "audit.jsonl"]);
    assert_eq!(code, Some(0), "{text}");
    for expected in [
        "evidence, request: the signature holds; the key has the thumbprint ",
        "evidence, response: the signature holds; the key has the thumbprint ",
        "  \"@method\": POST\n",
        "  \"@target-uri\": https://localhost/payments\n",
        "  \"@status\": 201\n",
        "\"content-digest\": sha-256=:",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let secret = token.strip_prefix("Bearer ").unwrap();
    assert!(!text.contains(secret) && text.contains("\"authorization\": ("), "{text}");
    assert!(!signed.world.gateway.audit_text().contains(secret));
    let (code, text) = show(&folder, &["--evidence-key", "other.pem", id, "audit.jsonl"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("it cannot be opened"), "{text}");
    // What the gateway has signed of a refusal is evidence too.
    let id = refusal["interaction_id"].as_str().unwrap();
    let (code, text) = show(&folder, &["--evidence-key", "evidence.pem", id, "audit.jsonl"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("evidence, response: the signature holds") && !text.contains("evidence, request"), "{text}");
    folder.write("none.jsonl", &format!("{{\"interaction_id\":\"{id}\",\"evidence\":null}}\n"));
    let (code, text) = show(&folder, &["--evidence-key", "evidence.pem", id, "none.jsonl"]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("there is no evidence"), "{text}");
}

/// A configuration in which evidence is encrypted to this key.
fn kept(scene: Scene, key: &KeyPair) -> Scene {
    scene
        .file("evidence.pub.pem", &key.public_key_pem())
        .append("audit: { evidence: { encrypt_to: evidence.pub.pem } }\n")
}

/// What `audit show` prints of a record with the private key, and whether all that is kept holds.
fn opened(record: &Value, key: &KeyPair) -> (bool, String) {
    let folder = Folder::new();
    folder.write("evidence.pem", &key.serialize_pem());
    folder.write("audit.jsonl", &format!("{record}\n"));
    let id = record["interaction_id"].as_str().unwrap();
    let (code, text) = show(&folder, &["--evidence-key", "evidence.pem", id, "audit.jsonl"]);
    (code == Some(0), text)
}

fn has_all(text: &str, expected: &[&str]) {
    for expected in expected {
        assert!(text.contains(expected), "{expected}: {text}");
    }
}

/// A payment with a detached signature.
fn detached(uk: &Ecosystem, body: &str) -> Request<Bytes> {
    let issuer = format!("{ORGANIZATION}/{SOFTWARE}");
    let claims = Claims { issuer: &issuer, trust_anchor: "openbanking.org.uk", issued_at: UnixTime(uk.now()) };
    let mut request = uk.payment(body.to_owned());
    let value = sign(request.body(), &claims, Form::Encoded, &uk.key).unwrap();
    request.headers_mut().insert(X_JWS_SIGNATURE, value);
    request
}

const REQUEST_HOLDS: &str = "evidence, request: the signature holds; the key has the thumbprint ";
const RESPONSE_HOLDS: &str = "evidence, response: the signature holds; the key has the thumbprint ";

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_signed_by_itself_is_kept_with_its_signature() {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let world = async |profile: &str| {
        let signature = format!("{{ request: required, response: sign, keys: tpps, profile: {profile} }}");
        let names = json!({ "org_id": ORGANIZATION, "software_id": SOFTWARE });
        Ecosystem::with(&signature, names, |scene| kept(scene, &key)).await
    };
    let uk = world("uk_obie").await;
    let response = uk.send(detached(&uk, PAYMENT)).await;
    let (holds, text) = opened(&uk.world.gateway.record_of(&response), &key);
    assert!(holds, "{text}");
    let shown = format!("  content: {PAYMENT}\n");
    has_all(&text, &[REQUEST_HOLDS, RESPONSE_HOLDS, "  header: {", "http://openbanking.org.uk/iss", &shown]);
    // Of large content it is the hash.
    let large = format!("\"{}\"", "x".repeat(9_000));
    let response = uk.send(detached(&uk, &large)).await;
    assert_eq!(response.status(), 201);
    let record = uk.world.gateway.record_of(&response);
    let (holds, text) = opened(&record, &key);
    assert!(holds && !text.contains("xxxx"), "{text}");
    has_all(&text, &[REQUEST_HOLDS, RESPONSE_HOLDS, "  content: not kept; the SHA-256 of the signing input is "]);

    let brazil = world("brazil").await;
    let jwt = Wanted::brazil(&brazil).jwt(PAYMENT, &brazil.key);
    let response = brazil.send(jwt_bodies::payment(&brazil, jwt)).await;
    let (holds, text) = opened(&brazil.world.gateway.record_of(&response), &key);
    assert!(holds, "{text}");
    has_all(&text, &[REQUEST_HOLDS, RESPONSE_HOLDS, ORGANIZATION, "\"jti\":\"", PAYMENT]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seal_is_kept_with_its_certificate() {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let sealed = Sealed::with("", "", |scene| kept(scene, &key)).await;
    let response = sealed.send(sealed.sealed(sealed.payment())).await;
    assert_eq!(response.status(), 201);
    let (holds, text) = opened(&sealed.record_of(&response), &key);
    assert!(holds, "{text}");
    has_all(&text, &[REQUEST_HOLDS, "  digest: SHA-256=", "  x-request-id: ", "  date: "]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_section_nothing_is_kept() {
    let signed = Signed::with(BOTH, |scene| scene).await;
    let response = signed.send(signed.signed_payment()).await;
    let record = signed.world.gateway.record_of(&response);
    assert_eq!((&record["evidence"], &record["request_signature"]["key_id"]), (&Value::Null, &"tpp-1".into()));
}
