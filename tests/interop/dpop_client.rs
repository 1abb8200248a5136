//! DPoP with an independent client: a Node script based on oauth4webapi, with its own keys and proofs, over real TLS.
//!
//! Needs node and npm, and either the network or npm's cache for the one package; without them the test fails.

use std::path::Path;

use sandbox::tokens::KeyKind;
use serde_json::{Value, json};

use crate::support::node::{Script, installed};
use crate::support::{Folder, ORIGIN, World, client, free_port, remember};

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_another_maker_comes_through_with_every_algorithm() {
    let folder = installed(source(), &["dpop.mjs"]);
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
    // Past the first nonce window: a nonce of a window that began before the gateway started vouches for nothing.
    world.clock.advance(120);
    for algorithm in ["ES256", "PS256", "Ed25519"] {
        world.accounts.clear();
        let calls = play(&world, &folder, &origin, algorithm);
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
fn the_locks_name_one_version_and_nobodys_registry() {
    for folder in ["dpop_client", "authorization_server", "message_signatures", "probe"] {
        let read = |name: &str| {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(folder).join(name);
            json_of(&std::fs::read_to_string(path).unwrap())
        };
        let (package, lock) = (read("package.json"), read("package-lock.json"));
        for (name, version) in package["dependencies"].as_object().unwrap() {
            let plain = version.as_str().unwrap().bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
            assert!(plain, "{name} {version}");
            assert_eq!(&lock["packages"][format!("node_modules/{name}")]["version"], version, "{name}");
        }
        for (name, entry) in lock["packages"].as_object().unwrap() {
            assert!(
                name.is_empty() || entry["integrity"].as_str().is_some_and(|hash| hash.starts_with("sha512-")),
                "{name}"
            );
            assert_eq!(entry.get("resolved"), None, "{name}: see .npmrc");
        }
    }
}

/// Runs the script with a token that is bound to its key; returns the calls that it made.
fn play(world: &World, folder: &Folder, origin: &str, algorithm: &str) -> Vec<Value> {
    let ahead = world.clock.now().saturating_sub(client::now()).to_string();
    let authority = world.gateway.folder().path().join("ca.pem");
    let mut script = Script::start(folder, "dpop.mjs", &[origin, algorithm, &ahead], &authority);
    let jkt = script.hear().expect("the script reports its key")["jkt"].as_str().unwrap().to_owned();
    let token = world.issuer.token(world.clock.now()).scope("accounts payments").bound_to_key(jkt);
    script.tell(&remember(token.sign(world.issuer.key(KeyKind::Ps256))));
    script.end()
}

fn source() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/dpop_client"))
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}
