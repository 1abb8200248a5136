//! The demo: the lines that it prints work, every call that comes has a row, and it leaves nothing behind however it
//! ends.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use crate::support::tools::tool;
use crate::support::{DEADLINE, Folder};

/// A demo whose temporary files are in a folder of the test.
struct Demo {
    child: Child,
    temporary: Folder,
}

impl Demo {
    fn start(arguments: &[&str]) -> Self {
        let temporary = Folder::new();
        let mut command = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"));
        command.arg("demo").args(arguments).current_dir(temporary.path()).env("TMPDIR", temporary.path());
        let command = command.env_remove("RUST_LOG").stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { child: command.spawn().expect("the program runs"), temporary }
    }

    /// The lines that it prints, for as long as they are asked for.
    fn lines(&mut self) -> Receiver<String> {
        let lines = BufReader::new(self.child.stdout.take().expect("it is piped")).lines();
        let (sender, receiver) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        receiver
    }

    fn signal(&self, name: &str) {
        assert!(tool("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Waits for its end: the exit code, what it said on standard error, and the folders that it left.
    fn end(self) -> (Option<i32>, String, Vec<String>) {
        let output = self.child.wait_with_output().expect("it ends");
        let left = std::fs::read_dir(self.temporary.path()).unwrap();
        let left = left.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned(), left)
    }
}

/// The lines up to one that begins with `text`, which comes before [`DEADLINE`] passes without a line.
fn until(lines: &Receiver<String>, text: &str) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        let line = lines.recv_timeout(DEADLINE).unwrap_or_else(|error| panic!("no {text:?} in {seen:?}: {error}"));
        let found = line.starts_with(text);
        seen.push(line);
        if found {
            return seen;
        }
    }
}

#[test]
fn curl_lines_work_as_they_stand_and_every_call_has_a_row() {
    let mut demo = Demo::start(&[]);
    let lines = demo.lines();
    let printed = until(&lines, "Ctrl-C");
    assert!(printed.iter().all(|line| !line.contains("WRONG")), "{printed:?}");
    let folder = printed.iter().find_map(|line| line.strip_prefix("cd ")).expect("a folder").to_owned();
    let mut statuses = Vec::new();
    for line in printed.iter().filter(|line| line.starts_with("curl ")) {
        // The shell would say it in the place of an answer.
        tool("curl");
        let output = tool("sh").args(["-c", line]).current_dir(&folder).output().expect("sh runs");
        let answer = String::from_utf8(output.stdout).expect("text");
        let status = answer.lines().next().unwrap_or_default().split(' ').nth(1).unwrap_or_default().to_owned();
        assert!(!status.is_empty(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        statuses.push(status);
    }
    // The last is the admin listener's.
    let expected = [
        "200", "401", "401", "200", "200", "401", "401", "200", "200", "200", "401", "200", "400", "201", "303", "200",
    ];
    assert_eq!(statuses, expected);
    let mut rows = Vec::new();
    while rows.len() < 14 {
        let row = lines.recv_timeout(DEADLINE).unwrap_or_else(|error| panic!("no other row after {rows:?}: {error}"));
        let words: Vec<&str> = row.split_whitespace().take(4).collect();
        if let ["GET" | "POST", rest @ ..] = &words[..] {
            rows.push(rest.join(" "));
        }
    }
    let expected = [
        "/accounts 200 ok",
        "/accounts 401 certificate_missing",
        "/accounts 401 credentials_missing",
        "/health 200 ok",
        "/accounts 200 ok",
        "/accounts 401 dpop_missing",
        "/accounts/1002 401 dpop_nonce_required",
        "/accounts/1002 200 ok",
        "/accounts/1001 200 ok",
        "/accounts/1001 401 token_inactive",
        "/.well-known/oauth-authorization-server 200 ok",
        "/par 400 pkce_plain",
        "/par 201 ok",
        "/authorize 303 ok",
    ];
    assert_eq!(rows, expected);
    demo.signal("-INT");
    assert_eq!(demo.end(), (Some(0), String::new(), Vec::new()));
    assert!(!Path::new(&folder).exists());
}

#[test]
fn it_plays_what_an_authorization_server_alone_lets_pass() {
    let mut demo = Demo::start(&["--once"]);
    let lines = demo.lines();
    until(&lines, "In front of an authorization server");
    let printed: Vec<String> = lines.iter().collect();
    let act = printed.join("\n");
    for (what, status, code, says) in [
        // FAPI2-AS-45
        ("the metadata of the server", 200, "ok", "alone, the server says [\"plain\",\"S256\"]"),
        ("a pushed authorization request", 201, "ok", "request_uri"),
        // FAPI2-AS-18, FAPI2-AS-19
        ("pushed with plain PKCE", 400, "pkce_plain", "alone, the server answers 201"),
        ("pushed with a redirect URI of somebody else", 400, "redirect_uri_refused", "alone, the server answers 201"),
        // FAPI2-AS-17
        ("pushed without client authentication", 401, "par_unauthenticated", "alone, the server answers 201"),
        // FAPI2-AS-05
        ("pushed with a client secret", 401, "client_authentication_refused", "alone, the server answers 201"),
        // FAPI2-AS-38
        ("pushed with an assertion used before", 401, "client_assertion_replayed", "alone, the server answers 201"),
        // FAPI2-AS-07
        ("pushed with an assertion for /token", 401, "client_assertion_audience", "alone, the server answers 201"),
        // FAPI2-AS-20
        ("a browser with that request_uri", 303, "ok", "code and iss"),
        // FAPI2-AS-16, FAPI2-AS-29
        ("that request_uri, named by another client", 400, "request_uri_unknown", "alone, the server answers 303"),
        ("a browser with a request that was not pushed", 400, "par_required", "alone, the server answers 303"),
        // FAPI2-AS-04
        ("a token request with the code and a proof", 200, "ok", "bound to the key"),
        ("a token request with nothing to bind to", 400, "sender_constraint_missing", "alone, the server answers 200"),
        ("a proof that the server ignores", 502, "answer_unbound", "alone, the server answers 200"),
        ("that token at the accounts API", 200, "ok", "permitted"),
        ("that token, stolen, the thief's own key", 401, "dpop_key_mismatch", "token is bound to key"),
        // FAPI2-AS-42
        ("a resource server asks about that token", 200, "ok", "active"),
        ("a client asks about it", 401, "client_unknown", "alone, the server answers 200"),
        ("another client pushes, with its certificate", 201, "ok", "request_uri"),
        ("a browser with its request_uri", 303, "ok", "code and iss"),
        ("a token request with the certificate", 200, "ok", "bound to the certificate"),
        ("its token with the certificate", 200, "ok", "permitted"),
        ("its token with another certificate", 401, "certificate_mismatch", "token is bound to certificate"),
    ] {
        let row = printed.iter().find(|row| row.starts_with(&format!("{what:<44} {status:>6}  {code} ")));
        assert!(row.is_some_and(|row| row.contains(says) && !row.contains("WRONG")), "{what}: {act}");
    }
    assert_eq!(demo.end(), (Some(0), String::new(), Vec::new()));
}

#[test]
fn every_signal_ends_it_at_any_time_and_nothing_is_left() {
    // While its calls are made, it may have made the last of them when the signal comes.
    for (beginning, signal, exits) in [
        ("right certificate", "-INT", [0, 1]),
        ("right certificate", "-TERM", [0, 1]),
        ("Ctrl-C", "-TERM", [0, 0]),
        ("Ctrl-C", "-HUP", [0, 0]),
    ] {
        let mut demo = Demo::start(&[]);
        let lines = demo.lines();
        until(&lines, beginning);
        demo.signal(signal);
        let (exit, said, left) = demo.end();
        assert!(exit.is_some_and(|exit| exits.contains(&exit)), "{beginning} {signal}: {exit:?}");
        assert_eq!((said, left), (String::new(), Vec::new()), "{beginning} {signal}");
    }
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly_and_nothing_is_left() {
    for (beginning, exits) in [("CALL", [0, 1]), ("Ctrl-C", [0, 0])] {
        let mut demo = Demo::start(&[]);
        let mut lines = BufReader::new(demo.child.stdout.take().expect("it is piped")).lines();
        assert!(lines.by_ref().map_while(Result::ok).any(|line| line.starts_with(beginning)), "{beginning}");
        drop(lines);
        let (exit, said, left) = demo.end();
        assert!(exit.is_some_and(|exit| exits.contains(&exit)), "{beginning}: {exit:?}");
        assert_eq!((said, left), (String::new(), Vec::new()), "{beginning}");
    }
}

#[test]
fn files_are_kept_only_where_they_are_asked_for() {
    let mut demo = Demo::start(&["--keep", "kept"]);
    let lines = demo.lines();
    until(&lines, "Ctrl-C");
    demo.signal("-INT");
    let kept = demo.temporary.path().join("kept");
    let status = demo.child.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    for name in ["gateway.yaml", "client.pem", "token", "clients/tpp-1.json"] {
        assert!(kept.join(name).is_file(), "{name}");
    }
    // A folder that is there is nobody's to write into, and what is in it stays.
    let again = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"))
        .args(["demo", "--once", "--keep", "kept"])
        .current_dir(demo.temporary.path())
        .output()
        .expect("the program runs");
    assert_eq!(again.status.code(), Some(1));
    let text = String::from_utf8_lossy(&again.stderr).into_owned();
    assert_eq!(text, "fapi-gateway demo: kept is there already; name another folder\n");
    assert!(kept.join("token").is_file());
}
