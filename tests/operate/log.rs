//! The log: what it has, how it is written, and what happens if nobody reads it.

use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;

use bytes::Bytes;
use fapi_gateway::clock::Moment;
use http::{Method, Request, StatusCode};
use sandbox::authorization_server::AuthorizationServer;
use sandbox::https::Answer;
use sandbox::pki::Authority;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::edge::hostile::wire::{Fate, Frames};
use crate::support::client::Client;
use crate::support::program::Program;
use crate::support::redis::Redis;
use crate::support::tools::tool;
use crate::support::{DEADLINE, Folder, ORIGIN, Scene, http_client};

/// The program, and its log, which is read only where a test does.
struct Unread {
    child: Child,
    log: BufReader<ChildStderr>,
    address: SocketAddr,
    admin: SocketAddr,
}

impl Unread {
    fn run(folder: &Folder) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"))
            .arg("run")
            .current_dir(folder.path())
            .env("RUST_LOG", "info")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut address = |text: &str| loop {
            let mut line = String::new();
            assert!(log.read_line(&mut line).expect("text") > 0, "nothing says {text:?}");
            if line.contains(text) {
                return line.rsplit_once("address=").expect("an address").1.trim().parse().expect("an address");
            }
        };
        let (data, admin) = (address(" listening"), address("admin listening"));
        Self { child, log, address: data, admin }
    }

    fn signal(&self, name: &str) {
        assert!(tool("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    async fn metric(&self, name: &str) -> f64 {
        let client = http_client();
        let text = client.get(format!("http://{}/metrics", self.admin)).send().await.unwrap().text().await.unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map_or(0.0, |value| value.trim().parse().expect("a number"))
    }

    /// Reloads a file that is refused with a long line, until lines are lost; returns how many.
    async fn fill(&self, began: f64) -> f64 {
        let failures = "fapi_gateway_config_reloads_total{outcome=\"failure\"}";
        for _ in 0..200 {
            let before = self.metric(failures).await;
            self.signal("-HUP");
            let answered = async {
                while self.metric(failures).await == before {
                    tokio::task::yield_now().await;
                }
            };
            tokio::time::timeout(DEADLINE, answered).await.expect("a reload waits for nobody who reads the log");
            let lost = self.metric("fapi_gateway_log_lines_lost_total").await;
            if lost > began + 3.0 {
                return lost;
            }
        }
        panic!("no line is ever lost");
    }
}

impl Drop for Unread {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_stderr_that_stalls_stops_no_request_no_reload_and_no_sigterm() {
    fapi_gateway::connection::tls::install_provider().expect("ours is the first provider in the process");
    let authority = Authority::new("Test CA");
    let issuer = AuthorizationServer::start(&authority).unwrap();
    let folder = Scene::new(&authority, issuer.issuer(), "127.0.0.1:9".parse().unwrap()).into_folder();
    let mut program = Unread::run(&folder);
    let client = Client::new(program.address, &authority).origin(ORIGIN);
    let ask = async || {
        let request = Request::get(format!("{ORIGIN}/nowhere")).body(Bytes::new()).unwrap();
        let answer = tokio::time::timeout(DEADLINE, client.send(request)).await.expect("an answer").unwrap();
        assert_eq!(answer.status(), 404);
    };
    ask().await; // control
    let mut broken = std::fs::read_to_string(folder.path().join("gateway.yaml")).unwrap();
    for number in 0..500 {
        let _ = writeln!(broken, "unknown_key_{number}: 1");
    }
    folder.write("gateway.yaml", &broken);
    let lost = program.fill(0.0).await;
    ask().await;

    // The reader moves again, and is told how many lines it has missed.
    let mut said = String::new();
    let mut complete = 0;
    while !said.contains("lines of the log were lost") {
        said.clear();
        assert!(program.log.read_line(&mut said).expect("text") > 0, "the log goes on");
        complete += usize::from(said.contains("the old one remains in force") && said.ends_with('\n'));
    }
    assert!(complete > 10, "{complete}");
    assert!(said.contains(" WARN ") && said.trim_end().ends_with(&format!("lost={lost}")), "{said} {lost}");

    // It stalls again, until the program has ended.
    program.fill(lost).await;
    ask().await;
    program.signal("-TERM");
    let began = Moment::now();
    let code = loop {
        if let Some(status) = program.child.try_wait().unwrap() {
            break status.code();
        }
        assert!(began.elapsed() < DEADLINE, "it ends although nobody reads its log");
        tokio::task::yield_now().await;
    };
    assert_eq!(code, Some(0));
}

/// A folder with a gateway.yaml that has `more`, and what it needs around it.
fn scene(more: &str) -> (Authority, AuthorizationServer, Folder) {
    fapi_gateway::connection::tls::install_provider().expect("ours is the first provider in the process");
    let authority = Authority::new("Test CA");
    let issuer = AuthorizationServer::start(&authority).unwrap();
    let scene = Scene::new(&authority, issuer.issuer(), "127.0.0.1:9".parse().unwrap());
    let folder = scene.append(more).into_folder();
    (authority, issuer, folder)
}

async fn log_of(admin: SocketAddr, method: Method, body: &'static str) -> (u16, String) {
    let client = http_client();
    let answer = client.request(method, format!("http://{admin}/log")).body(body).send().await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_line_says_that_it_is_ready_and_what_is_in_force() {
    let (_authority, issuer, folder) = scene("\nlog: { format: json }\ndpop: { nonce: always }\n");
    let mut program = Program::run_logging(&folder, None);
    let (data, _) = {
        let mut address = |text: &str| {
            let line: Value = serde_json::from_str(&program.says(text)).expect("each line is a JSON object");
            line["address"].as_str().unwrap().parse::<SocketAddr>().unwrap()
        };
        (address("\"listening\""), address("admin listening"))
    };
    let line: Value = serde_json::from_str(&program.says("\"ready\"")).expect("each line is a JSON object");
    assert_eq!((&line["level"], &line["target"]), (&json!("INFO"), &json!("fapi_gateway::server::announce")));
    assert_eq!((&line["message"], &line["version"]), (&json!("ready"), &json!(env!("CARGO_PKG_VERSION"))));
    assert_eq!((&line["configuration"], &line["issuers"]), (&json!("gateway.yaml"), &json!("bank")));
    assert_eq!(line["listeners"], json!(format!("[{data}]")));
    assert_eq!((&line["nonce"], &line["audit"]), (&json!("always"), &json!("stdout, lines may be lost")));
    assert!(line["replay"].as_str().unwrap().ends_with("proofs in the memory of this process"), "{line}");
    assert!(issuer.requests_to(AuthorizationServer::JWKS) > 0, "only then");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_is_complained_of_only_if_it_cannot_be_used() {
    let redis = Redis::start(&[]);
    let stores = |port: u16| {
        format!(
            "\nstores: {{ shared: {{ servers: [\"redis://127.0.0.1:{port}\"] }} }}\nrevocations: {{ store: shared }}\ndpop: {{ nonce: always }}\n"
        )
    };
    let warnings = |lines: Vec<String>| -> Vec<String> {
        lines.into_iter().filter(|line| line.contains(" WARN ") && line.contains("store=")).collect()
    };
    let (_authority, _issuer, folder) = scene(&stores(redis.port()));
    let said = Program::run(&folder).until("announce: ready");
    assert_eq!(warnings(said), Vec::<String>::new());

    let yaml = std::fs::read_to_string(folder.path().join("gateway.yaml")).unwrap();
    folder.write("gateway.yaml", &yaml.replace(&stores(redis.port()), &stores(9))); // control
    let said = warnings(Program::run(&folder).until("not up to date"));
    assert!(said.iter().any(|line| line.contains("the store cannot be used")), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_drains_before_it_is_ready_never_says_that_it_is() {
    let (_authority, issuer, folder) = scene("\ndpop: { nonce: always }\n");
    let yaml = std::fs::read_to_string(folder.path().join("gateway.yaml")).unwrap();
    folder.write("gateway.yaml", &yaml.replace("delay: 0s", "delay: 4s"));
    for drains in [false, true] {
        issuer.script(AuthorizationServer::JWKS, Answer::status(StatusCode::SERVICE_UNAVAILABLE));
        let mut program = Program::run_logging(&folder, None);
        program.says("key set could not be read");
        if drains {
            program.signal("-TERM");
            program.says("draining");
        }
        issuer.unscript(AuthorizationServer::JWKS);
        program.says("key set read");
        if drains {
            let said = program.until_end();
            assert!(!said.iter().any(|line| line.contains("announce: ready")), "{said:?}");
        } else {
            program.says("announce: ready"); // control
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn its_level_is_that_of_the_file_and_can_be_changed_while_it_runs() {
    let (_authority, _issuer, folder) = scene("\nlog: { level: \"info,fapi_gateway::issuer=error\" }\n");
    let mut program = Program::run_logging(&folder, None);
    let (data, admin) = program.addresses();
    assert_eq!(log_of(admin, Method::GET, "").await, (200, "info,fapi_gateway::issuer=error\n".into()));
    let knock = || drop(std::net::TcpStream::connect(data).unwrap());
    assert_eq!(log_of(admin, Method::PUT, "fapi_gateway=debug\n").await, (204, String::new()));
    program.says("the log has other lines from now on");
    assert_eq!(log_of(admin, Method::GET, "").await, (200, "fapi_gateway=debug\n".into()));
    knock();
    program.says("DEBUG");

    // The part of the program that the documentation names has something to say.
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operate/configuration.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, named) = page.split_once("`info,fapi_gateway::").expect("an example");
    let example = format!("info,fapi_gateway::{}", named.split('`').next().unwrap());
    let example: &'static str = Box::leak(example.into_boxed_str());
    assert_eq!(log_of(admin, Method::PUT, example).await, (204, String::new()));
    program.says("the log has other lines from now on");
    knock();
    program.says("DEBUG");

    // A name that nothing has is taken, and said.
    let (status, note) = log_of(admin, Method::PUT, "info,fapi_gatway=debug").await;
    assert!(status == 200 && note.contains("`fapi_gatway`"), "{status} {note}");
    assert_eq!(log_of(admin, Method::PUT, "fapi_gateway=debug").await, (204, String::new()));

    // What a reload changes is in force too; what it does not change stays as it was chosen.
    let yaml = std::fs::read_to_string(folder.path().join("gateway.yaml")).unwrap();
    program.signal("-HUP");
    program.says("the configuration was reloaded");
    assert_eq!(log_of(admin, Method::GET, "").await.1, "fapi_gateway=debug\n");
    folder.write("gateway.yaml", &yaml.replace("info,fapi_gateway::issuer=error", "info,rustls=warn"));
    program.signal("-HUP");
    program.says("the configuration was reloaded");
    assert_eq!(log_of(admin, Method::GET, "").await.1, "info,rustls=warn\n");

    for (method, body, status, said) in [
        (Method::PUT, "verbose", 400, "`verbose` is neither a level nor TARGET=LEVEL"),
        (Method::PUT, "", 400, "`` is neither"),
        (Method::POST, "debug", 405, "are GET and PUT"),
        (Method::DELETE, "", 405, "are GET and PUT"),
    ] {
        let (found, text) = log_of(admin, method.clone(), body).await;
        assert!(found == status && text.contains(said), "{method} {body}: {found} {text}");
    }
    let client = http_client();
    let put = || client.put(format!("http://{admin}/log"));
    assert_eq!(put().body("debug").header("origin", "https://a.example").send().await.unwrap().status(), 403);
    assert_eq!(put().body("debug").header("sec-fetch-site", "cross-site").send().await.unwrap().status(), 403);
    assert_eq!(put().body("x".repeat(2000)).send().await.unwrap().status(), 400);
    assert_eq!(log_of(admin, Method::GET, "").await.1, "info,rustls=warn\n", "nothing else changed it");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_turns_it_off_or_on_is_in_it() {
    let (_authority, _issuer, folder) = scene("");
    let mut program = Program::run_logging(&folder, None);
    let (_, admin) = program.addresses();
    for (filter, said) in [
        ("warn", "filter=warn before=info"), // control
        ("off", "filter=off before=warn"),
        ("info", "filter=info before=off"),
        ("fapi_gateway::admin=off", "filter=fapi_gateway::admin=off before=info"),
    ] {
        assert_eq!(log_of(admin, Method::PUT, filter).await, (204, String::new()), "{filter}");
        let line = program.says("the log has other lines from now on");
        assert!(line.contains(said) && line.contains("peer=\"127.0.0.1:"), "{line}");
    }
    // A line after which nothing can follow is the end of the wait, and each change is in it once.
    assert_eq!(log_of(admin, Method::PUT, "info").await.0, 204);
    let rest = program.rest();
    assert_eq!(rest.iter().filter(|line| line.contains("before=info")).count(), 0, "{rest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_environment_that_names_a_filter_decides_over_the_file() {
    let (_authority, _issuer, folder) = scene("\nlog: { level: error }\n");
    let mut program = Program::run_logging(&folder, Some("warn,fapi_gateway=info"));
    let (_, admin) = program.addresses();
    assert_eq!(log_of(admin, Method::GET, "").await.1, "warn,fapi_gateway=info\n");
    let yaml = std::fs::read_to_string(folder.path().join("gateway.yaml")).unwrap();
    folder.write("gateway.yaml", &yaml.replace("level: error", "level: debug"));
    program.signal("-HUP");
    program.says("the configuration was reloaded");
    assert_eq!(log_of(admin, Method::GET, "").await.1, "warn,fapi_gateway=info\n");
    drop(program);
    for nonsense in ["verbose", "fapi_gateway", "info,,", "fapi_gateway=loud"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"));
        let output = command.arg("check").current_dir(folder.path()).env("RUST_LOG", nonsense).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{nonsense}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("fapi-gateway: RUST_LOG: `") && said.contains("off, error, warn"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_can_reach_it_over_a_network_without_tls_cannot_change_it() {
    let (_authority, _issuer, folder) = scene("");
    let yaml = std::fs::read_to_string(folder.path().join("gateway.yaml")).unwrap();
    folder.write(
        "gateway.yaml",
        &yaml.replace("admin: { address: \"127.0.0.1:0\" }", "admin: { address: \"0.0.0.0:0\" }"),
    );
    let mut program = Program::run_logging(&folder, None);
    let (_, admin) = program.addresses();
    let admin = SocketAddr::from(([127, 0, 0, 1], admin.port()));
    assert_eq!(log_of(admin, Method::PUT, "debug").await.0, 404);
    assert_eq!(log_of(admin, Method::GET, "").await.0, 404);
}

/// A ClientHello with this name, as long as `localhost`.
fn hello(name: &str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth();
    let mut client = rustls::ClientConnection::new(config.into(), "localhost".try_into().unwrap()).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    let place = hello.windows(9).position(|bytes| bytes == b"localhost").expect("the name is in the clear");
    hello[place..place + 9].copy_from_slice(name.as_bytes());
    hello
}

/// Names that are none, addresses as names, and answers that nobody asked for: libraries have a line for each.
#[tokio::test(flavor = "multi_thread")]
async fn no_stranger_can_make_libraries_write_lines() {
    let (authority, _issuer, folder) = scene("");
    let mut program = Program::run_logging(&folder, Some("info,fapi_gateway=debug"));
    let (data, _) = program.addresses();
    for name in ["local/ost", "127.0.0.1"] {
        let mut stream = tokio::net::TcpStream::connect(data).await.unwrap();
        stream.write_all(&hello(name)).await.unwrap();
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(DEADLINE, stream.read_buf(&mut answer)).await.expect("an answer, or the end");
    }
    let mut frames = Frames::with(&Client::new(data, &authority).origin(ORIGIN)).await;
    for number in 0..3 {
        frames.frame(6, 1, 0, &[number; 8]).await;
    }
    frames
        .headers(1, &[(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/no")], true)
        .await;
    assert_eq!(frames.fate(1).await, Fate::Answered(404), "control: they are read, and the connection goes on");
    program.signal("-TERM");
    let said = program.until_end();
    assert!(said.iter().any(|line| line.contains(" fapi_gateway")), "control: {said:?}");
    assert!(said.iter().all(|line| line.contains(" fapi_gateway")), "{said:?}");
}

/// Pingora writes of its own start at `info`, and of each connection at `debug` and `trace`.
#[tokio::test(flavor = "multi_thread")]
async fn no_filter_shows_lines_that_an_operator_cannot_act_on() {
    let (authority, _issuer, folder) = scene("");
    let mut program = Program::run_logging(&folder, Some("trace"));
    let (data, _) = program.addresses();
    let client = Client::new(data, &authority).origin(ORIGIN);
    let request = Request::get(format!("{ORIGIN}/health")).body(Bytes::new()).unwrap();
    assert_eq!(client.send(request).await.unwrap().status(), 502, "nothing is at port 9");
    // A connection without a handshake, which is the end of the wait and the control.
    drop(std::net::TcpStream::connect(data).unwrap());
    let mut said = program.rest();
    said.push(program.says("DEBUG fapi_gateway"));
    program.signal("-TERM");
    said.extend(program.until_end());
    let others = said
        .iter()
        .filter(|line| line.contains(" pingora") || line.contains(" TRACE ") && !line.contains("fapi_gateway"));
    assert_eq!(others.collect::<Vec<_>>(), Vec::<&String>::new());
}
