//! The chain of the audit, as a running program writes it and `audit verify` reads it: over restarts, kills, rotations, reloads
//! and full disks.

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Stage, ask, health};
use crate::support::program::Program;
use crate::support::{DEADLINE, Folder};

const CHAINED: &str = "chain: { key: keys/audit.pem, checkpoint: { records: 5, interval: 1h } }";

/// Writes a key for a chain, and its public key.
pub(super) fn write_key(folder: &Folder, algorithm: &'static SignatureAlgorithm, public: &str) {
    let key = KeyPair::generate_for(algorithm).expect("a key");
    folder.write("keys/audit.pem", &key.serialize_pem());
    folder.write(public, &key.public_key_pem());
}

async fn start(audit: &str) -> Stage {
    Stage::start(&format!("{audit}, {CHAINED}"), |folder| {
        write_key(folder, &PKCS_ED25519, "audit.pub");
        Program::run(folder)
    })
    .await
}

/// What `audit verify` prints about files, and its exit code.
pub(super) fn verify(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"));
    let output = command.args(["audit", "verify"]).args(arguments).current_dir(folder).output().expect("it runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).expect("text"))
}

pub(super) fn good(folder: &Path, files: &[&str]) -> String {
    let (code, text) = verify(folder, &[&["--key", "audit.pub"], files].concat());
    assert_eq!(code, Some(0), "{text}");
    text
}

pub(super) async fn stop(stage: Stage) -> Folder {
    stage.program.signal("-TERM");
    let Stage { program, folder, .. } = stage;
    assert_eq!(timeout(DEADLINE, program.ends()).await.expect("it ends"), Some(0));
    folder
}

/// Waits until the file has this many lines.
pub(super) async fn until_lines(stage: &Stage, name: &str, count: usize) {
    let there = async {
        while stage.file(name).lines().count() < count {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, there).await.unwrap_or_else(|_| panic!("{name} never has {count} lines: {}", stage.file(name)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_is_sealed_at_the_end_and_whatever_is_done_to_it_is_found() {
    let stage = start("destination: audit.jsonl").await;
    let mut connection = stage.client.connect().await.unwrap();
    for _ in 0..7 {
        ask(&mut connection).await;
    }
    let folder = stop(stage).await;
    let text = fs::read_to_string(folder.path().join("audit.jsonl")).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let reasons: Vec<String> = lines
        .iter()
        .filter_map(|line| serde_json::from_str::<Value>(line).unwrap()["reason"].as_str().map(str::to_owned))
        .collect();
    assert_eq!((lines.len(), &reasons[..]), (10, &["begin", "records", "end"].map(str::to_owned)[..]));
    let said = good(folder.path(), &["audit.jsonl"]);
    assert!(said.contains("lines 0 to 9, from audit.jsonl:1 to audit.jsonl:10, 3 checkpoints; it is sealed"), "{said}");
    let removed = [&lines[..3], &lines[4..]].concat().concat();
    let changed = text.replacen("\"status\":200", "\"status\":403", 1);
    let cut = lines[..8].concat();
    for (name, text, wanted) in [
        ("removed", removed, "removed:4: line 3 of its chain is missing before this one, which is line 4"),
        ("changed", changed, "changed:2: line 1 of its chain was changed"),
        ("cut", cut, "has no end after line 7"),
        ("nothing", String::new(), "there is no line of a chain"),
        ("another", format!("{text}{{\"event\":\"handshake\"}}\n"), "another:11: the line is in no chain"),
    ] {
        folder.write(name, &text);
        let (code, said) = verify(folder.path(), &["--key", "audit.pub", name]);
        assert_eq!((code, said.contains(wanted)), (Some(1), true), "{name}: {said}");
    }
    // The key of somebody else has signed nothing.
    write_key(&folder, &PKCS_ECDSA_P256_SHA256, "other.pub");
    let (code, said) = verify(folder.path(), &["--key", "other.pub", "audit.jsonl"]);
    assert_eq!(
        (code, said.contains("audit.jsonl:1: the checkpoint is not signed with the key")),
        (Some(1), true),
        "{said}"
    );
    // What is not a public key, and what is no file.
    let (code, said) = verify(folder.path(), &["--key", "keys/audit.pem", "audit.jsonl"]);
    assert_eq!((code, said.contains("openssl pkey")), (Some(1), true), "{said}");
    assert_eq!(verify(folder.path(), &["--key", "audit.pub", "absent.jsonl"]).0, Some(74));
    assert_eq!(verify(folder.path(), &["audit.jsonl"]).0, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_process_goes_on_after_the_end_and_after_a_kill() {
    let stage = start("destination: audit.jsonl").await;
    ask(&mut stage.client.connect().await.unwrap()).await;
    until_lines(&stage, "audit.jsonl", 2).await;
    stage.program.signal("-KILL");
    let Stage { program, folder, .. } = stage;
    assert_eq!(program.ends().await, None);
    // What a kill leaves of a line.
    let mut file = fs::OpenOptions::new().append(true).open(folder.path().join("audit.jsonl")).unwrap();
    file.write_all(b"{\"time\":\"2026-11").unwrap();
    for _ in 0..2 {
        let mut program = Program::run(&folder);
        program.says("admin listening");
        program.signal("-TERM");
        assert_eq!(timeout(DEADLINE, program.ends()).await.expect("it ends"), Some(0));
    }
    let said = good(folder.path(), &["audit.jsonl"]);
    assert_eq!(said.matches("it is sealed").count(), 2, "{said}");
    assert!(said.contains("it was not sealed; the next chain covers its last line"), "{said}");
    // What the killed process wrote cannot be cut off any more, nor what it left of a line.
    let text = fs::read_to_string(folder.path().join("audit.jsonl")).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for removed in [1, 2, 3, 4] {
        let mut kept = lines.clone();
        kept.remove(removed);
        folder.write("cut", &kept.concat());
        assert_eq!(verify(folder.path(), &["--key", "audit.pub", "cut"]).0, Some(1), "without {:?}", lines[removed]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_several_processes_write_to_standard_output_may_be_mixed() {
    let mut texts = Vec::new();
    let mut folder = None;
    for _ in 0..2 {
        let mut stage = Stage::start(&format!("destination: stdout, {CHAINED}"), |new| {
            let kept: &Folder = folder.as_ref().unwrap_or(new);
            if kept.path().join("audit.pub").exists() {
                let read = |name: &str| fs::read_to_string(kept.path().join(name)).unwrap();
                new.write("keys/audit.pem", &read("keys/audit.pem"));
            } else {
                write_key(new, &PKCS_ECDSA_P256_SHA256, "audit.pub");
            }
            Program::run_unread(new)
        })
        .await;
        let mut connection = stage.client.connect().await.unwrap();
        for _ in 0..3 {
            ask(&mut connection).await;
        }
        let mut stdout = stage.program.stdout();
        let of_this = stop(stage).await;
        let mut text = String::new();
        stdout.read_to_string(&mut text).unwrap();
        texts.push(text);
        folder.get_or_insert(of_this);
    }
    let folder = folder.unwrap();
    let mixed: String = texts[0]
        .split_inclusive('\n')
        .zip(texts[1].split_inclusive('\n'))
        .flat_map(|(one, other)| [one, other])
        .collect();
    folder.write("mixed", &mixed);
    assert!(good(folder.path(), &["mixed"]).ends_with("10 lines of 2 chains are as they were written\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_reloads_and_ten_rotations_keep_one_chain() {
    let mut stage = start("destination: audit.jsonl").await;
    let mut connection = stage.client.connect().await.unwrap();
    let mut files = Vec::new();
    for round in 0..100 {
        ask(&mut connection).await;
        if round % 10 == 5 {
            let name = format!("audit-{round}.jsonl");
            fs::rename(stage.folder.path().join("audit.jsonl"), stage.folder.path().join(&name)).unwrap();
            files.push(name);
        }
        stage.program.signal("-HUP");
        stage.program.says("the configuration was reloaded");
    }
    let folder = stop(stage).await;
    files.push("audit.jsonl".to_owned());
    let named: Vec<&str> = files.iter().map(String::as_str).collect();
    let said = good(folder.path(), &named);
    assert!(said.ends_with("122 lines of 1 chains are as they were written\n"), "{said}");
    // A file that is missing is missed, and so is their order.
    for wrong in [[&named[..4], &named[5..]].concat(), named.iter().rev().copied().collect(), named[1..].to_vec()] {
        assert_eq!(verify(folder.path(), &[&["--key", "audit.pub"], &wrong[..]].concat()).0, Some(1), "{wrong:?}");
    }
    let (code, said) = verify(folder.path(), &[&["--partial", "--key", "audit.pub"], &named[1..3]].concat());
    assert_eq!((code, said.contains("no signature covers what comes after line")), (Some(0), true), "{said}");
}

/// No file is larger than it may be, no line is lost or torn, and the chain goes through all of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_has_its_size_is_followed_by_another() {
    let mut stage = start("destination: audit.jsonl, rotate: { size: 1MiB, every: 31d }").await;
    let mut connection = stage.client.connect().await.unwrap();
    let long = http::Request::get(format!("{}/{}", crate::support::ORIGIN, "x".repeat(2000)));
    let long = long.body(bytes::Bytes::new()).unwrap();
    for sent in 0..1600 {
        let response = timeout(DEADLINE, connection.send(long.clone())).await.expect("no request waits").unwrap();
        assert_eq!(response.status(), 404);
        if sent == 800 {
            stage.program.signal("-HUP");
            stage.program.says("the configuration was reloaded");
        }
    }
    let folder = stop(stage).await;
    let mut again = Program::run(&folder);
    again.says("admin listening");
    again.signal("-TERM");
    assert_eq!(timeout(DEADLINE, again.ends()).await.expect("it ends"), Some(0));
    let entries = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<String> = entries.filter(|name| name.starts_with("audit.jsonl")).collect();
    // By the time in their names; the last lines are in the file that has none.
    files.sort();
    files.rotate_left(1);
    let named: Vec<&str> = files.iter().map(String::as_str).collect();
    assert!(named.len() >= 4 && named.ends_with(&["audit.jsonl"]), "{named:?}");
    let texts: Vec<String> =
        named.iter().map(|name| fs::read_to_string(folder.path().join(name)).expect("an audit file")).collect();
    assert!(texts.iter().all(|text| text.len() <= 1 << 20));
    assert_eq!(texts.concat().lines().filter(|line| line.contains("xxxxxxxx")).count(), 1600);
    let said = good(folder.path(), &named);
    assert!(said.contains("of 2 chains are as they were written"), "{said}");
    // Control: a file that is missing is missed.
    assert_eq!(verify(folder.path(), &[&["--key", "audit.pub"], &named[1..]].concat()).0, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_replaced_signs_from_the_reload_on() {
    let mut stage = start("destination: audit.jsonl").await;
    ask(&mut stage.client.connect().await.unwrap()).await;
    write_key(&stage.folder, &PKCS_ECDSA_P256_SHA256, "next.pub");
    stage.program.signal("-HUP");
    stage.program.says("the configuration was reloaded");
    let folder = stop(stage).await;
    good(folder.path(), &["--key", "next.pub", "audit.jsonl"]);
    for (key, line) in [("audit.pub", "audit.jsonl:3"), ("next.pub", "audit.jsonl:1")] {
        let (code, said) = verify(folder.path(), &["--key", key, "audit.jsonl"]);
        assert_eq!((code, said.contains(&format!("{line}: the checkpoint is not signed"))), (Some(1), true), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_there_is_a_chain_changes_only_with_a_restart() {
    let mut stage = start("destination: audit.jsonl").await;
    let text = stage.file("gateway.yaml").replace(CHAINED, "on_overflow: drop");
    stage.folder.write("gateway.yaml", &text);
    stage.program.signal("-HUP");
    stage.program.says("whether audit.chain is set changes only with a restart");
    stage.program.says("the configuration was reloaded");
    ask(&mut stage.client.connect().await.unwrap()).await;
    let folder = stop(stage).await;
    assert!(good(folder.path(), &["audit.jsonl"]).contains("3 lines of 1 chains"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_seals_the_chain() {
    let stage = start("destination: audit.jsonl").await;
    let connection = stage.client.connect().await.unwrap();
    let mut streams = JoinSet::new();
    for _ in 0..8 {
        let mut stream = connection.another().expect("HTTP/2");
        streams.spawn(async move {
            let mut answered = 0;
            while stream.send(health()).await.is_ok_and(|response| response.status() == 200) {
                answered += 1;
            }
            answered
        });
    }
    until_lines(&stage, "audit.jsonl", 100).await;
    let folder = stop(stage).await;
    let answered: usize = streams.join_all().await.into_iter().sum();
    let text = fs::read_to_string(folder.path().join("audit.jsonl")).unwrap();
    let exchanges = text.lines().filter(|line| line.contains("\"interaction_id\"")).count();
    assert!(exchanges >= answered && answered > 50, "{exchanges} lines of {answered}");
    assert!(good(folder.path(), &["audit.jsonl"]).contains("it is sealed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_tears_no_chain_whatever_requests_get() {
    for (on_overflow, refuses) in [("drop", false), ("refuse", true)] {
        let audit = format!("destination: audit.jsonl, on_overflow: {on_overflow}, {CHAINED}");
        let stage = Stage::start(&audit, |folder| {
            write_key(folder, &PKCS_ED25519, "audit.pub");
            Program::run_with_disk(folder, 8)
        })
        .await;
        let mut connection = stage.client.connect().await.unwrap();
        let (mut served, mut refused) = (0, 0);
        while served < if refuses { 2000 } else { 20 } && refused == 0 {
            match connection.send(health()).await.expect("an answer").status().as_u16() {
                200 => served += 1,
                503 => refused += 1,
                other => panic!("{other}"),
            }
        }
        stage.until_ready("503").await;
        assert_eq!(refused > 0, refuses, "{on_overflow}: {served} were served");
        // As a rotation does it that copies and truncates, whenever the disk is full, until all that was served is written.
        let mut pieces: Vec<String> = Vec::new();
        let file = fs::OpenOptions::new().write(true).open(stage.folder.path().join("audit.jsonl")).unwrap();
        loop {
            let is_full = stage.admin("/readyz").await.0 != "200";
            let text = stage.file("audit.jsonl");
            let of = |text: &String| text.matches("\"interaction_id\"").count();
            let written = pieces.iter().map(of).sum::<usize>() + of(&text);
            if !is_full && written >= served {
                break;
            }
            // What came since it was read would be lost.
            if is_full && text.ends_with('\n') && file.metadata().unwrap().len() == text.len() as u64 {
                file.set_len(0).unwrap();
                pieces.push(text);
            }
            tokio::task::yield_now().await;
        }
        pieces.push(stage.file("audit.jsonl"));
        file.set_len(0).unwrap();
        let id = ask(&mut connection).await;
        let folder = stop(stage).await;
        pieces.push(fs::read_to_string(folder.path().join("audit.jsonl")).unwrap());
        folder.write("all", &pieces.concat());
        let said = good(folder.path(), &["all"]);
        assert!(said.contains("it is sealed") && pieces.concat().contains(&id), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exchange_is_shown_by_its_id() {
    let stage = start("destination: audit.jsonl").await;
    let mut connection = stage.client.connect().await.unwrap();
    let (id, other) = (ask(&mut connection).await, ask(&mut connection).await);
    let folder = stop(stage).await;
    let show = |id: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"));
        let output = command.args(["audit", "show", id, "audit.jsonl"]).current_dir(folder.path()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, shown) = show(&id);
    let shown: Value = serde_json::from_str(&shown).expect("one object");
    assert_eq!((code, &shown["interaction_id"], &shown["status"]), (Some(0), &id.into(), &200.into()));
    assert_ne!(shown["interaction_id"], other);
    assert_eq!(show("00000000-0000-0000-0000-000000000000"), (Some(1), String::new()));
}
