//! An audit that cannot be written: a reader that stalls, a disk that is full, and what requests then get.

mod chain;
mod otlp;
mod pseudonyms;
mod schema;
mod syslog;
mod token;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use fapi_gateway::clock::Moment;
use http::Request;
use sandbox::authorization_server::AuthorizationServer;
use sandbox::pki::Authority;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::backend::Backend;
use crate::support::client::{Client, Connection};
use crate::support::program::Program;
use crate::support::tools::tool;
use crate::support::{DEADLINE, Folder, ORIGIN, Scene, World, http_client, request};

/// A running program, and what is needed to call it.
struct Stage {
    program: Program,
    folder: Folder,
    backend: Backend,
    admin: SocketAddr,
    client: Client,
    _issuer: AuthorizationServer,
}

impl Stage {
    async fn start(audit: &str, run: impl FnOnce(&Folder) -> Program) -> Self {
        fapi_gateway::connection::tls::install_provider().expect("ours is the first provider in the process");
        let authority = Authority::new("Test CA");
        let issuer = AuthorizationServer::start(&authority).unwrap();
        let backend = Backend::http1().await;
        let keys = format!("audit: {{ {audit} }}\ndpop: {{ nonce: always }}\n");
        let folder = Scene::new(&authority, issuer.issuer(), backend.address()).append(&keys).into_folder();
        let mut program = run(&folder);
        let (address, admin) = program.addresses();
        let client = Client::new(address, &authority).origin(ORIGIN).h2();
        let stage = Self { program, folder, backend, admin, client, _issuer: issuer };
        stage.until_ready("200").await;
        stage
    }

    async fn admin(&self, path: &str) -> (String, String) {
        let client = http_client();
        let response = client.get(format!("http://{}{path}", self.admin)).send().await.expect("an answer");
        (response.status().as_str().to_owned(), response.text().await.expect("text"))
    }

    /// Waits until `/readyz` has this status; returns what it says.
    async fn until_ready(&self, status: &str) -> String {
        let ready = async {
            loop {
                let (found, text) = self.admin("/readyz").await;
                if found == status {
                    return text;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(DEADLINE, ready).await.unwrap_or_else(|_| panic!("/readyz never says {status}"))
    }

    /// The value of a metric, 0 if it is not there.
    async fn metric(&self, name: &str) -> f64 {
        let metrics = self.admin("/metrics").await.1;
        let line = metrics.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0.0, |value| value.trim().parse().expect("a number"))
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.folder.path().join(name)).expect("an audit file")
    }
}

/// A permitted request; returns its interaction id.
async fn ask(connection: &mut Connection) -> String {
    let response = connection.send(health()).await.expect("an answer");
    assert_eq!(response.status(), 200);
    response.headers()["x-fapi-interaction-id"].to_str().unwrap().to_owned()
}

fn health() -> Request<Bytes> {
    Request::get(format!("{ORIGIN}/health")).body(Bytes::new()).unwrap()
}

/// The interaction ids of lines, each of which is whole.
fn ids(text: &str) -> Vec<String> {
    assert!(text.is_empty() || text.ends_with('\n'), "the last line has its end: {text:?}");
    let id = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("a torn line: {error}: {line}"));
        line["interaction_id"].as_str().expect("an interaction id").to_owned()
    };
    text.lines().map(id).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_token_names_whose_it_is_once_its_signature_is_verified() {
    let world = World::with(|scene| scene).await;
    let good = world.token();
    let now = world.clock.now();
    for (token, code) in [
        (good.clone().expires_at(now), "token_expired"),
        (good.clone().claim("iat", now + 60), "token_issued_in_future"),
        (good.clone().audience("https://other.example"), "token_audience_mismatch"),
        (good.clone().without("jti"), "token_claim_missing"),
    ] {
        let signed = world.sign(&token);
        let (content, _) = signed.rsplit_once('.').unwrap();
        let other = world.sign(&good);
        let forged = format!("{content}.{}", other.rsplit_once('.').unwrap().1);
        for (text, code, names) in [(signed.clone(), code, true), (forged, "token_signature_invalid", false)] {
            let response = world.client().send(request("/accounts", &text)).await.unwrap();
            let record = world.gateway.record_of(&response);
            assert_eq!(record["code"], code);
            let seen = [&record["issuer"], &record["client_id"], &record["subject"]];
            let claims = token.claims();
            let expected = [&json!("bank"), &claims["client_id"], &claims["sub"]];
            assert_eq!(seen, if names { expected } else { [&Value::Null; 3] }, "{record}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_the_audit_that_stalls_costs_no_place_no_memory_and_no_reload() {
    let mut stage = Stage::start("destination: stdout", Program::run_unread).await;
    let mut connection = stage.client.connect().await.unwrap();
    // A refused request with the longest path that is recorded makes a line of almost 3 KB; 16 MiB of them may wait.
    let long = Request::get(format!("{ORIGIN}/{}", "x".repeat(2047))).body(Bytes::new()).unwrap();
    connection.send(long.clone()).await.unwrap();
    let before = stage.program.memory();
    let mut sent = 1;
    while sent < 20_000 && stage.metric("fapi_gateway_audit_lines_lost_total").await == 0.0 {
        let mut streams = JoinSet::new();
        for _ in 0..8 {
            let (mut stream, long) = (connection.another().expect("HTTP/2"), long.clone());
            streams.spawn(async move {
                for _ in 0..100 {
                    let response = timeout(DEADLINE, stream.send(long.clone())).await.expect("no exchange waits");
                    assert_eq!(response.unwrap().status(), 404);
                }
            });
        }
        streams.join_all().await;
        sent += 800;
    }
    let lost = stage.metric("fapi_gateway_audit_lines_lost_total").await;
    assert!(lost > 0.0 && sent > 5000, "{lost} of {sent}");
    assert_eq!(stage.until_ready("503").await, "the audit cannot be written\n");
    let grown = stage.program.memory().saturating_sub(before);
    assert!(grown < 80 * 1024, "{grown} KiB more for {sent} requests");
    stage.program.says("audit lines are not read fast enough; some were lost");
    assert_eq!(stage.metric("fapi_gateway_connections{listener=\"127.0.0.1:0\"}").await, 1.0, "the one of this test");
    ask(&mut connection).await;
    stage.program.signal("-HUP");
    stage.program.says("the configuration was reloaded");

    // The reader moves again.
    let mut lines = BufReader::new(stage.program.stdout()).lines();
    let reader = std::thread::spawn(move || {
        let mut count = 0;
        let last = lines.by_ref().map(|line| line.expect("text")).inspect(|_| count += 1).find(|line| {
            let line: Value = serde_json::from_str(line).expect("a whole line");
            line["route"] == "payments"
        });
        (count, last.is_some(), lines)
    });
    stage.until_ready("200").await;
    let last = Request::post(format!("{ORIGIN}/payments")).body(Bytes::new()).unwrap();
    assert_eq!(connection.send(last).await.unwrap().status(), 401);
    let (count, found, _lines) = reader.join().unwrap();
    assert!(found && f64::from(count) + lost <= f64::from(sent + 2), "{count} and {lost} of {sent}");
    stage.program.signal("-TERM");
    let code = timeout(DEADLINE, stage.program.ends()).await.expect("it ends");
    assert_eq!(code, Some(1), "lines were lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_refuses_for_want_of_room_in_the_audit_is_not_ready() {
    for (on_overflow, refuses) in [("refuse", true), ("drop", false)] {
        let audit = format!("destination: stdout, on_overflow: {on_overflow}");
        let stage = Stage::start(&audit, Program::run_unread).await;
        let connection = stage.client.connect().await.unwrap();
        let long = Request::get(format!("{ORIGIN}/{}", "x".repeat(2047))).body(Bytes::new()).unwrap();
        let mut streams = JoinSet::new();
        for _ in 0..8 {
            let (mut stream, long) = (connection.another().expect("HTTP/2"), long.clone());
            streams.spawn(async move {
                let mut sent = 0;
                while sent < 500 && stream.send(long.clone()).await.unwrap().status() == 404 {
                    sent += 1;
                }
                sent
            });
        }
        let sent: usize = streams.join_all().await.into_iter().sum();
        assert_eq!(sent < 4000, refuses, "{on_overflow}: {sent} of 3 KB each, 16 MiB hold them all");
        if refuses {
            assert_eq!(stage.admin("/readyz").await.0, "503", "before a line is lost");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stalls_does_not_keep_the_audit_from_another_file() {
    let mut stage = Stage::start("destination: stdout", Program::run_unread).await;
    let mut connection = stage.client.connect().await.unwrap();
    let mut sent = BTreeSet::new();
    // More than the 64 KiB of a pipe.
    for _ in 0..200 {
        sent.insert(ask(&mut connection).await);
    }
    let text = stage.file("gateway.yaml").replace("destination: stdout", "destination: audit.jsonl");
    stage.folder.write("gateway.yaml", &text);
    stage.program.signal("-HUP");
    stage.program.says("the configuration was reloaded");
    let id = ask(&mut connection).await;
    let there = async {
        while !stage.file("audit.jsonl").contains(&id) {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, there).await.expect("the new file has the line");
    let mut found: BTreeSet<String> = ids(&stage.file("audit.jsonl")).into_iter().collect();
    assert!(found.len() < 201, "control: some are in the pipe");
    let mut pipe = String::new();
    let mut stdout = stage.program.stdout();
    stage.program.signal("-TERM");
    assert_eq!(timeout(DEADLINE, stage.program.ends()).await.expect("it ends"), Some(0));
    std::io::Read::read_to_string(&mut stdout, &mut pipe).unwrap();
    found.extend(ids(&pipe));
    sent.insert(id);
    assert_eq!(found, sent, "no line is lost");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_tears_no_line_and_loses_none_that_finds_space_later() {
    let stage = Stage::start("destination: audit.jsonl", |folder| Program::run_with_disk(folder, 8)).await;
    let mut connection = stage.client.connect().await.unwrap();
    let mut sent = Vec::new();
    for _ in 0..40 {
        sent.push(ask(&mut connection).await);
    }
    assert_eq!(stage.until_ready("503").await, "the audit cannot be written\n");
    let first = ids(&stage.file("audit.jsonl"));
    assert!(!first.is_empty() && first.len() < 40, "{}", first.len());
    // As a rotation does it that copies and truncates.
    let file = std::fs::OpenOptions::new().write(true).open(stage.folder.path().join("audit.jsonl")).unwrap();
    file.set_len(0).unwrap();
    // Another 8 KiB, and again.
    let mut found = first;
    while found.len() < 40 {
        stage_written(&stage, 1).await;
        timeout(DEADLINE, async {
            while stage.admin("/readyz").await.0 != "200" && stage.file("audit.jsonl").len() < 7000 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("the lines are written, or fill the disk again");
        let text = stage.file("audit.jsonl");
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        found.extend(ids(&text[..whole]));
        file.set_len(0).unwrap();
        assert!(found.len() <= 40, "no line comes twice");
    }
    assert_eq!(found, sent);
    assert_eq!(stage.metric("fapi_gateway_audit_lines_lost_total").await, 0.0);
    stage.program.signal("-TERM");
    assert_eq!(timeout(DEADLINE, stage.program.ends()).await.expect("it ends"), Some(0));
}

async fn stage_written(stage: &Stage, bytes: usize) {
    let written = async {
        while stage.file("audit.jsonl").len() < bytes {
            tokio::task::yield_now().await;
        }
    };
    timeout(DEADLINE, written).await.expect("lines are written again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_one_line_of_the_log_a_second_and_on_overflow_says_what_requests_get() {
    for (on_overflow, served) in [("drop", true), ("refuse", false), ("block", false)] {
        // A device without space.
        let audit = format!("destination: /dev/full, on_overflow: {on_overflow}");
        let mut stage = Stage::start(&audit, Program::run).await;
        let mut connection = stage.client.connect().await.unwrap();
        ask(&mut connection).await; // control
        stage.until_ready("503").await;
        let asked = stage.backend.calls().len();
        let began = Moment::now();
        for _ in 0..if on_overflow == "block" { 1 } else { 200 } {
            let response = timeout(DEADLINE, connection.send(health())).await.expect("an answer").unwrap();
            assert_eq!(response.status(), if served { 200 } else { 503 }, "{on_overflow}");
            assert_eq!(response.headers().contains_key("retry-after"), !served);
        }
        let took = began.elapsed();
        if on_overflow == "block" {
            assert!(took >= Duration::from_secs(2), "{took:?}");
        }
        let name = "fapi_gateway_requests_total{code=\"audit_unavailable\",decision=\"error\",route=\"\"}";
        assert_eq!(stage.metric(name).await > 0.0, !served, "{on_overflow}");
        assert_eq!(stage.backend.calls().len() > asked, served, "{on_overflow}: the upstream is not asked");
        stage.program.signal("-TERM");
        stage.program.says("draining");
        let said = stage.program.rest().iter().filter(|line| line.contains("audit lines cannot be written")).count();
        assert!(said as u64 <= took.as_secs() + 3, "{said} lines in {took:?}");
        assert_eq!(timeout(DEADLINE, stage.program.ends()).await.expect("it ends"), Some(1), "lines were lost");
    }
    // control: the same with space
    let stage = Stage::start("destination: audit.jsonl, on_overflow: refuse", Program::run).await;
    let id = ask(&mut stage.client.connect().await.unwrap()).await;
    stage.program.signal("-TERM");
    let folder = stage.folder;
    assert_eq!(timeout(DEADLINE, stage.program.ends()).await.expect("it ends"), Some(0));
    assert_eq!(ids(&std::fs::read_to_string(folder.path().join("audit.jsonl")).unwrap()), [id]);
}

/// Nor is standard output, which the configuration says already.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_file_is_not_rotated_and_a_reload_says_so() {
    let mut stage = Stage::start("destination: audit.jsonl, rotate: { every: 24h }", Program::run).await;
    let file = stage.folder.path().join("audit.jsonl");
    std::fs::rename(&file, stage.folder.path().join("moved")).unwrap();
    assert!(tool("mkfifo").arg(&file).status().unwrap().success());
    let _reader = std::fs::OpenOptions::new().read(true).write(true).open(&file).unwrap();
    stage.program.signal("-HUP");
    stage.program.says("it is not a file that could be rotated");
    // Control: a file.
    std::fs::remove_file(&file).unwrap();
    stage.program.signal("-HUP");
    stage.program.says("the configuration was reloaded");
}

/// Opening a named pipe waits for its reader, unless told not to.
#[tokio::test(flavor = "multi_thread")]
async fn a_named_pipe_that_nobody_reads_stops_neither_a_reload_nor_the_start() {
    let mut stage = Stage::start("destination: audit.jsonl", Program::run).await;
    let (file, moved) = (stage.folder.path().join("audit.jsonl"), stage.folder.path().join("moved"));
    let make_pipe = || {
        std::fs::rename(&file, &moved).unwrap();
        assert!(tool("mkfifo").arg(&file).status().unwrap().success());
    };
    make_pipe();
    stage.program.signal("-HUP");
    stage.program.says("it is a named pipe, and nobody reads it");
    // Control: one that is read.
    let reader = std::fs::OpenOptions::new().read(true).write(true).open(&file).unwrap();
    stage.program.signal("-HUP");
    stage.program.says("the configuration was reloaded");
    let mut lines = BufReader::new(reader).lines();
    let mut connection = stage.client.connect().await.expect("a connection");
    let id = ask(&mut connection).await;
    let line =
        tokio::task::spawn_blocking(move || lines.find(|line| line.as_ref().is_ok_and(|line| line.contains(&id))));
    timeout(DEADLINE, line).await.expect("in time").unwrap().expect("the line").unwrap();
    // The start says so, too.
    let Stage { program, folder, .. } = stage;
    drop(program);
    let mut again = Program::run(&folder);
    again.says("it is a named pipe, and nobody reads it");
    assert_eq!(timeout(DEADLINE, again.ends()).await.expect("it ends"), Some(1));
}
