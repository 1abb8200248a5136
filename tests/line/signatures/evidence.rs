//! What was signed is kept in the audit, and verified again by whoever has the private key: without the gateway and the issuer.

use std::process::Command;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::Value;

use super::{PAYMENT, Signed};
use crate::support::Folder;

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
    let signed = Signed::with(BOTH, |scene| {
        scene
            .file("evidence.pub.pem", &key.public_key_pem())
            .append("audit: { evidence: { encrypt_to: evidence.pub.pem } }\n")
    })
    .await;
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

#[tokio::test(flavor = "multi_thread")]
async fn without_the_section_nothing_is_kept() {
    let signed = Signed::with(BOTH, |scene| scene).await;
    let response = signed.send(signed.signed_payment()).await;
    let record = signed.world.gateway.record_of(&response);
    assert_eq!((&record["evidence"], &record["request_signature"]["key_id"]), (&Value::Null, &"tpp-1".into()));
}
