//! A log that nobody reads.

use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, ChildStderr, Command, Stdio};

use bytes::Bytes;
use fapi_gateway::clock::Moment;
use http::Request;
use sandbox::authorization_server::AuthorizationServer;
use sandbox::pki::Authority;

use crate::support::client::Client;
use crate::support::tools::tool;
use crate::support::{DEADLINE, Folder, ORIGIN, Scene};

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
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
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
