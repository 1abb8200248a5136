//! DPoP with a client that is not ours: a Node script on oauth4webapi, its own keys and proofs, over real TLS.
//!
//! Needs node and npm, and the network or npm's cache for the one package; without them the test fails.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use fapi_gateway::commands::demo::tokens::KeyKind;
use serde_json::{Value, json};

use crate::support::{Folder, ORIGIN, World, client, remember};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_another_maker_comes_through_with_every_algorithm() {
    let folder = installed();
    let port = free_port();
    let origin = format!("https://localhost:{port}");
    let world = World::with(|scene| {
        scene
            .replace("address: 127.0.0.1:0\n    origins", &format!("address: 127.0.0.1:{port}\n    origins"))
            .replace(&format!("[\"{ORIGIN}\"]"), &format!("[\"{origin}\"]"))
            .append(
                "  - name: savings\n    path: /accounts/1002\n    methods: [GET]\n    scopes: [accounts]\n    \
                 dpop: { nonce: always }\n    upstream: accounts\n",
            )
    })
    .await;
    // Past the first window of nonces: one that began before the gateway did vouches for nothing.
    world.clock.advance(120);
    for algorithm in ["ES256", "PS256", "Ed25519"] {
        world.accounts.clear();
        let calls = play(&world, folder.path(), &origin, algorithm);
        let expected = [
            ("first", json!([200]), json!([])),
            ("another", json!([200]), json!([])),
            ("escaped", json!([404]), json!([])),
            ("written", json!([201]), json!([])),
            ("nonce", json!([401, 200]), json!([])),
            ("nonce again", json!([200]), json!([])),
            ("bearer", json!([401]), json!(["invalid_token"])),
            ("thief", json!([401]), json!(["invalid_token"])),
            ("late", json!([401]), json!(["invalid_dpop_proof"])),
            ("late, nonce", json!([401, 200]), json!([])),
        ];
        let outcomes: Vec<_> = calls
            .iter()
            .map(|call| (call["name"].as_str().unwrap(), call["statuses"].clone(), call["errors"].clone()))
            .collect();
        assert_eq!(outcomes, expected, "{algorithm}");
        assert_eq!(calls[0]["body"]["seen"]["x-token-client-id"], "client-1", "{algorithm}");
        let reached: Vec<String> = world.accounts.requests().into_iter().map(|request| request.uri).collect();
        assert_eq!(
            reached,
            [
                "/accounts",
                "/accounts?page=2",
                "/accounts/a%20b",
                "/payments",
                "/accounts/1002",
                "/accounts/1002",
                "/accounts/1002"
            ],
            "{algorithm}"
        );
    }
}

#[test]
fn the_lock_names_one_version_and_nobodys_registry() {
    let read = |name: &str| std::fs::read_to_string(source().join(name)).unwrap();
    let (package, lock) = (json_of(&read("package.json")), json_of(&read("package-lock.json")));
    let version = &package["dependencies"]["oauth4webapi"];
    assert!(version.as_str().unwrap().bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'), "{version}");
    assert_eq!(&lock["packages"]["node_modules/oauth4webapi"]["version"], version);
    for (name, entry) in lock["packages"].as_object().unwrap() {
        assert!(
            name.is_empty() || entry["integrity"].as_str().is_some_and(|hash| hash.starts_with("sha512-")),
            "{name}"
        );
        assert_eq!(entry.get("resolved"), None, "{name}: see .npmrc");
    }
}

/// The script's calls, with a token of ours that is bound to the script's key.
fn play(world: &World, folder: &Path, origin: &str, algorithm: &str) -> Vec<Value> {
    let mut command = Command::new("node");
    let ahead = world.clock.now().saturating_sub(client::now()).to_string();
    command.arg("dpop.mjs").args([origin, algorithm, &ahead]).current_dir(folder);
    command.env("NODE_EXTRA_CA_CERTS", world.gateway.folder().path().join("ca.pem"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut node = Node(command.spawn().expect("node runs; this test needs Node 20 or later with npm"));
    let mut lines = BufReader::new(node.0.stdout.take().unwrap()).lines().map(|line| json_of(&line.expect("text")));
    let jkt = lines.next().expect("the script says which key it has")["jkt"].as_str().unwrap().to_owned();
    let token = world.issuer.token(world.clock.now()).scope("accounts payments").bound_to_key(jkt);
    let token = remember(token.sign(world.issuer.key(KeyKind::Ps256)));
    writeln!(node.0.stdin.take().unwrap(), "{token}").expect("the script reads the token");
    let calls = lines.collect();
    assert!(node.0.wait().expect("the script ends").success());
    calls
}

/// Ends with its value, whatever the test did.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A copy of tests/client with the packages of its lock.
fn installed() -> Folder {
    let folder = Folder::new();
    for name in ["package.json", "package-lock.json", ".npmrc", "dpop.mjs"] {
        std::fs::copy(source().join(name), folder.path().join(name)).unwrap();
    }
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--fetch-retries=2", "--fetch-timeout=30000"]).current_dir(folder.path());
    let Output { status, stdout, stderr } =
        npm.stdin(Stdio::null()).output().expect("npm runs; this test needs Node 20 or later with npm");
    assert!(status.success(), "{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    folder
}

fn source() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/client"))
}

/// One below those that the system gives out, so that no other test is given it meanwhile.
fn free_port() -> u16 {
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    (first..32_000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a free port")
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
