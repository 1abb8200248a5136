//! A chain whose key stays in a token of PKCS#11: who signs it, what a reload may do, and what happens while the token is away or
//! hangs.

use std::fs;

use sandbox::tokens::{KeyKind, SigningKey};
use serde_json::Value;
use tokio::time::timeout;

use super::chain::{good, stop, until_lines, verify};
use super::{Stage, ask};
use crate::support::client::Connection;
use crate::support::program::Program;
use crate::support::token::{MODULE, Token, in_token};
use crate::support::{DEADLINE, Folder};

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
    // The last line may not be written whole yet.
    let is_checkpoint =
        |line: &&str| serde_json::from_str::<Value>(line).is_ok_and(|line| line["event"] == "checkpoint");
    text.lines().filter(is_checkpoint).count()
}

/// Asks until there is a third checkpoint.
async fn until_checkpoint(stage: &Stage, connection: &mut Connection) {
    let there = async {
        while checkpoints(&stage.file("audit.jsonl")) == 2 {
            ask(connection).await;
        }
    };
    timeout(DEADLINE, there).await.expect("the key signs again");
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
        let (code, said) = verify(folder.path(), &["--key", "audit.pub", "audit.jsonl"]);
        assert!(code == Some(1) && said.contains("the checkpoint is not signed with the key"), "{kind:?}: {said}");
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
    // Nobody has logged in with another PIN than the one in force, and it signed to the end.
    let said = good(folder.path(), &["audit.jsonl"]);
    assert!(said.contains("it is sealed"), "{said}");
    let text = fs::read_to_string(folder.path().join("audit.jsonl")).unwrap();
    let (first, last) = (text.lines().next().unwrap_or_default(), text.lines().last().unwrap_or_default());
    assert_eq!((checkpoints(first), checkpoints(last)), (1, 1), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_is_not_tried_again_after_a_login_that_ended_in_no_known_way() {
    let (mut stage, token) = start(KeyKind::EdDsa, true, 1).await;
    let mut connection = stage.client.connect().await.unwrap();
    ask(&mut connection).await;
    until_lines(&stage, "audit.jsonl", 3).await;
    token.is_unclear(true);
    stage.folder.write("keys/pin", "271828\n");
    stage.program.signal("-HUP");
    let said = stage.program.says("the configuration was not reloaded");
    assert!(said.contains("audit.chain.key.pkcs11.pin_file: the login failed (C_Login: FunctionFailed)"), "{said}");
    // That PIN once, and then the one that was in force.
    assert_eq!((token.logins(), token.unclear_logins()), (1, 2));
    for lines in 4..7 {
        stage.program.signal("-HUP");
        let said = stage.program.says("the configuration was not reloaded");
        assert!(said.contains("pin_file: the token has refused this PIN before, or a login with it failed"), "{said}");
        ask(&mut connection).await;
        until_lines(&stage, "audit.jsonl", lines).await;
    }
    assert_eq!((token.logins(), token.unclear_logins()), (1, 2), "neither is tried again");
    assert_eq!(checkpoints(&stage.file("audit.jsonl")), 2);
    token.is_unclear(false);
    stage.folder.write("keys/pin", crate::support::token::PIN);
    stage.program.signal("-HUP");
    stage.program.says("the configuration was reloaded");
    until_checkpoint(&stage, &mut connection).await;
    assert_eq!((token.logins(), token.refusals(), token.unclear_logins()), (2, 0, 2));
    good(stop(stage).await.path(), &["audit.jsonl"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn reloads_that_name_an_absent_token_end_the_sessions_of_those_in_force_once() {
    let (mut stage, token) = start(KeyKind::Es256, true, 1).await;
    let mut connection = stage.client.connect().await.unwrap();
    ask(&mut connection).await;
    until_lines(&stage, "audit.jsonl", 3).await;
    edit(&stage, "token: bank", "token: absent");
    for lines in [5, 7, 9, 11] {
        stage.program.signal("-HUP");
        let said = stage.program.says("the configuration was not reloaded");
        assert!(said.contains("there is no token of that label"), "{said}");
        ask(&mut connection).await;
        until_lines(&stage, "audit.jsonl", lines).await;
    }
    assert_eq!((token.ends(), token.logins()), (1, 2));
    good(stop(stage).await.path(), &["audit.jsonl"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_module_that_does_not_begin_is_begun_again_although_no_file_changes() {
    let (mut stage, token) = start(KeyKind::Es256, true, 1).await;
    edit(&stage, "reload: { watch: 0s }", "reload: { watch: 100ms }");
    stage.program.signal("-HUP");
    stage.program.says("the configuration was reloaded");
    token.is_away(true);
    token.is_gone(true);
    edit(&stage, "records: 1", "records: 2");
    let said = stage.program.says("the configuration was not reloaded");
    let wanted = "audit.chain.key.pkcs11.module: the module did not begin (C_Initialize: DeviceError)";
    assert!(said.contains(wanted), "{said}");
    token.is_gone(false);
    token.is_away(false);
    stage.program.says("the configuration was reloaded");
    good(stop(stage).await.path(), &["audit.jsonl"]);
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
    // The key that is in force has had no session since, so the module may begin anew each time.
    fs::rename(elsewhere, place).unwrap();
    stage.program.says("the configuration was reloaded");
    let mut connection = stage.client.connect().await.unwrap();
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
    until_checkpoint(&stage, &mut connection).await;
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
    until_checkpoint(&stage, &mut connection).await;
    good(stop(stage).await.path(), &["audit.jsonl"]);
}
