//! A chain whose key stays in a token of PKCS#11: who signs it, what a reload may do, and what happens while the token is away or
//! hangs.

use std::fs;

use sandbox::tokens::{KeyKind, SigningKey};
use serde_json::Value;

use super::chain::{good, stop, until_lines};
use super::{Stage, ask};
use crate::support::Folder;
use crate::support::program::Program;
use crate::support::token::{MODULE, Token, in_token};

/// Starts a gateway whose chain has a checkpoint after so many lines, with a key that is nowhere but in the token; its public key is
/// `audit.pub`.
async fn start(kind: KeyKind, between: bool, records: usize) -> (Stage, Token) {
    let module = if between { "between.so" } else { MODULE };
    let chain = format!(
        "chain: {{ key: {}, checkpoint: {{ records: {records}, interval: 1h }} }}",
        in_token(module, "audit-key")
    );
    let mut token = None;
    let stage = Stage::start(&format!("destination: audit.jsonl, {chain}"), |folder| {
        let kept = token.insert(Token::new(folder));
        make_key(folder, kept, kind, "audit-key", "audit.pub");
        if between {
            kept.between();
        }
        Program::run_with_token(folder, kept)
    })
    .await;
    (stage, token.expect("it was made"))
}

/// Makes a key in the token, and writes its public key.
fn make_key(folder: &Folder, token: &Token, kind: KeyKind, label: &str, public: &str) {
    let key = SigningKey::generate(kind, label);
    token.import(&key.private_key_pem(), label, if public == "audit.pub" { "a1" } else { "a2" });
    folder.write(public, &key.public_key_pem());
}

/// How many of the lines are checkpoints.
fn checkpoints(text: &str) -> usize {
    let is_checkpoint = |line: &&str| serde_json::from_str::<Value>(line).unwrap()["event"] == "checkpoint";
    text.lines().filter(is_checkpoint).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_a_token_signs_is_as_good_as_any() {
    for kind in [KeyKind::Es256, KeyKind::EdDsa] {
        let (stage, _token) = start(kind, false, 2).await;
        let mut connection = stage.client.connect().await.unwrap();
        for _ in 0..5 {
            ask(&mut connection).await;
        }
        let folder = stop(stage).await;
        let said = good(folder.path(), &["audit.jsonl"]);
        assert!(said.contains("4 checkpoints; it is sealed"), "{kind:?}: {said}");
        // Control: the key of somebody else has signed nothing.
        folder.write("audit.pub", &SigningKey::generate(kind, "other").public_key_pem());
        let verified = std::panic::catch_unwind(|| good(folder.path(), &["audit.jsonl"]));
        assert!(verified.is_err(), "{kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reload_with_a_wrong_pin_keeps_the_key_and_tries_it_once() {
    let (mut stage, token) = start(KeyKind::EdDsa, true, 1).await;
    let mut connection = stage.client.connect().await.unwrap();
    ask(&mut connection).await;
    stage.program.signal("-HUP");
    stage.program.says("the configuration was reloaded");
    assert_eq!((token.logins(), token.refusals()), (1, 0), "control: who is logged in does not log in again");

    stage.folder.write("keys/pin", "271828\n");
    stage.program.signal("-HUP");
    let said = stage.program.says("the configuration was not reloaded");
    assert!(said.contains("audit.chain.key.pkcs11.pin_file: the token refused the PIN"), "{said}");
    assert!(!said.contains("271828"), "{said}");
    assert_eq!(token.refusals(), 1);
    for _ in 0..3 {
        stage.program.signal("-HUP");
        let said = stage.program.says("the configuration was not reloaded");
        assert!(said.contains("pin_file: the token has refused this PIN before"), "{said}");
        ask(&mut connection).await;
    }
    assert_eq!(token.refusals(), 1, "it is not tried again");
    // Once the file changes, whatever is in it is tried.
    stage.folder.write("keys/pin", "161803\n");
    stage.program.signal("-HUP");
    let said = stage.program.says("the configuration was not reloaded");
    assert!(said.contains("pin_file: the token refused the PIN"), "{said}");
    assert_eq!(token.refusals(), 2);
    // Not even once where that would lock the token.
    token.has_last_try(true);
    stage.folder.write("keys/pin", "141421\n");
    stage.program.signal("-HUP");
    let said = stage.program.says("the configuration was not reloaded");
    assert!(said.contains("pin_file: one more wrong PIN locks the token"), "{said}");
    assert_eq!(token.refusals(), 2);
    token.has_last_try(false);
    stage.folder.write("keys/pin", crate::support::token::PIN);
    stage.program.signal("-HUP");
    stage.program.says("the configuration was reloaded");
    ask(&mut connection).await;
    let folder = stop(stage).await;
    let text = fs::read_to_string(folder.path().join("audit.jsonl")).unwrap();
    // One at the beginning, one after each of five lines, one at the end.
    assert_eq!((text.lines().count(), checkpoints(&text)), (12, 7), "{text}");
    good(folder.path(), &["audit.jsonl"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_replaced_in_the_token_signs_from_the_reload_on() {
    let (mut stage, token) = start(KeyKind::EdDsa, false, 1).await;
    let mut connection = stage.client.connect().await.unwrap();
    ask(&mut connection).await;
    make_key(&stage.folder, &token, KeyKind::Es256, "next-key", "next.pub");
    edit(&stage, "audit-key", "next-key");
    stage.program.signal("-HUP");
    stage.program.says("the configuration was reloaded");
    ask(&mut connection).await;
    let folder = stop(stage).await;
    good(folder.path(), &["--key", "next.pub", "audit.jsonl"]);
}

/// Changes gateway.yaml.
fn edit(stage: &Stage, from: &str, to: &str) {
    let text = stage.file("gateway.yaml");
    assert!(text.contains(from), "{text}");
    stage.folder.write("gateway.yaml", &text.replace(from, to));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_comes_later_is_found_although_no_file_changes() {
    let (mut stage, token) = start(KeyKind::Es256, false, 1).await;
    let next = SigningKey::generate(KeyKind::EdDsa, "audit-key");
    stage.folder.write("next.pub", &next.public_key_pem());
    let [elsewhere, place] = token.add_elsewhere("later", &next.private_key_pem(), "audit-key");
    edit(&stage, "reload: { watch: 0s }", "reload: { watch: 100ms }");
    stage.program.signal("-HUP");
    stage.program.says("the configuration was reloaded");
    edit(&stage, "token: bank", "token: later");
    let said = stage.program.says("the configuration was not reloaded");
    assert!(said.contains("audit.chain.key.pkcs11.token: there is no token of that label; there is `bank`"), "{said}");
    let mut connection = stage.client.connect().await.unwrap();
    ask(&mut connection).await;
    until_lines(&stage, "audit.jsonl", 3).await;
    // The key that is in force signs, although its module has begun anew meanwhile.
    assert_eq!(checkpoints(&stage.file("audit.jsonl")), 2);
    fs::rename(elsewhere, place).unwrap();
    stage.program.says("the configuration was reloaded");
    ask(&mut connection).await;
    good(stop(stage).await.path(), &["--key", "next.pub", "audit.jsonl"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_goes_and_comes_back_leaves_lines_without_checkpoints() {
    let (mut stage, token) = start(KeyKind::Es256, true, 1).await;
    let mut connection = stage.client.connect().await.unwrap();
    ask(&mut connection).await;
    until_lines(&stage, "audit.jsonl", 3).await;
    token.is_gone(true);
    for _ in 0..3 {
        ask(&mut connection).await;
    }
    stage.program.says("a key in a token does not sign");
    until_lines(&stage, "audit.jsonl", 6).await;
    assert_eq!(checkpoints(&stage.file("audit.jsonl")), 2);
    // A reload needs the token, and is tried again by itself where files are watched.
    stage.program.signal("-HUP");
    let said = stage.program.says("the configuration was not reloaded");
    assert!(said.contains("audit.chain.key.pkcs11.token: the token failed (C_OpenSession: DeviceRemoved)"), "{said}");
    token.is_gone(false);
    let before = token.logins();
    while checkpoints(&stage.file("audit.jsonl")) == 2 {
        ask(&mut connection).await;
    }
    stage.program.says("a key in a token signs again");
    assert!(token.logins() <= before + 1, "one login is enough");
    good(stop(stage).await.path(), &["audit.jsonl"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_hangs_stops_neither_requests_nor_lines() {
    let (mut stage, token) = start(KeyKind::Es256, true, 1).await;
    let mut connection = stage.client.connect().await.unwrap();
    ask(&mut connection).await;
    until_lines(&stage, "audit.jsonl", 3).await;
    let hanging = token.hangs();
    for _ in 0..20 {
        ask(&mut connection).await;
    }
    stage.program.says("the module of a token does not answer");
    until_lines(&stage, "audit.jsonl", 23).await;
    assert_eq!(checkpoints(&stage.file("audit.jsonl")), 2);
    hanging.ends();
    while checkpoints(&stage.file("audit.jsonl")) == 2 {
        ask(&mut connection).await;
    }
    good(stop(stage).await.path(), &["audit.jsonl"]);
}
