//! The program as an operator uses it: commands, exit codes, reload, and errors at startup.

use std::fs::Permissions;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, StatusCode};
use sandbox::authorization_server::AuthorizationServer;
use sandbox::https::Answer;
use sandbox::pki::Authority;
use sandbox::tokens::{KeyKind, SigningKey, ath};
use serde_json::{Value, json};

use crate::support::program::Program;
use crate::support::{DEADLINE, Folder, ORIGIN, Scene, World, http_client, request};

fn program(arguments: &[&str], folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"));
    command.args(arguments).current_dir(folder).env_remove("RUST_LOG").output().expect("the program runs")
}

/// A folder with a gateway.yaml that is valid except for what `adjust` changes.
fn scene(adjust: impl FnOnce(Scene) -> Scene) -> Folder {
    let authority = Authority::new("Test CA");
    let scene = adjust(Scene::new(&authority, "https://localhost:9", "127.0.0.1:9".parse().unwrap()));
    scene.into_folder()
}

#[test]
fn ops_01_a_broken_file_ends_with_64_and_every_problem() {
    let good = scene(|scene| scene);
    let output = program(&["check"], good.path());
    assert_eq!(output.status.code(), Some(0), "control: {}", String::from_utf8_lossy(&output.stderr));
    let broken = scene(|scene| {
        scene
            .replace("private_key: server-key.pem", "private_key: nowhere.pem")
            .replace("scopes: [accounts]", "scopez: [accounts]")
    });
    for command in ["check", "run"] {
        let output = program(&[command], broken.path());
        assert_eq!(output.status.code(), Some(64), "{command}");
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        for part in ["nowhere.pem", "scopez", "gateway.yaml:", "listeners[0].tls.private_key", "routes[0]"] {
            assert!(text.contains(part), "{command}: no {part:?} in\n{text}");
        }
    }
}

#[test]
fn an_audit_file_that_cannot_be_written_is_found_by_check_and_not_created() {
    let folder = scene(|scene| scene.append("audit: { destination: logs/audit.jsonl }\n"));
    std::fs::create_dir(folder.path().join("logs")).unwrap();
    std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    // Whoever runs the tests may be allowed everything, so the program runs as somebody else, and the folder is not theirs.
    let check = |mode| {
        std::fs::set_permissions(folder.path().join("logs"), Permissions::from_mode(mode)).unwrap();
        for file in
            std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_file())
        {
            std::fs::set_permissions(file, Permissions::from_mode(0o644)).unwrap();
        }
        let mut command = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"));
        if rustix::process::geteuid().is_root() {
            command.uid(65534).gid(65534);
        }
        let output = command.arg("check").current_dir(folder.path()).env_remove("RUST_LOG").output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, text) = check(0o777);
    assert_eq!(code, Some(0), "control: {text}");
    let (code, text) = check(0o555);
    assert_eq!(code, Some(64), "{text}");
    let line = text.lines().find(|line| line.contains("audit.destination: ")).unwrap_or_else(|| panic!("{text}"));
    assert!(line.contains("its directory may not be written by the user of this process; "), "{line}");
    assert!(!folder.path().join("logs/audit.jsonl").exists(), "a check leaves no trace");
}

#[test]
fn a_file_that_may_not_be_read_is_said_in_its_own_words() {
    let folder = scene(|scene| scene);
    let key = folder.path().join("server-key.pem");
    let check = |mode| {
        std::fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"));
        if rustix::process::geteuid().is_root() {
            command.uid(65534).gid(65534);
        }
        let output = command.arg("check").current_dir(folder.path()).env_remove("RUST_LOG").output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, text) = check(0o644);
    assert_eq!(code, Some(0), "control: {text}");
    let (code, text) = check(0o000);
    assert_eq!(code, Some(64), "{text}");
    assert!(
        text.contains("the user of this process may not read it") && text.ends_with("1 problem in gateway.yaml\n"),
        "{text}"
    );
}

#[test]
fn an_address_that_the_machine_does_not_have_is_one_clear_line() {
    // TEST-NET-1 (RFC 5737) is nobody's.
    let folder = scene(|scene| scene.replace("address: 127.0.0.1:0", "address: 192.0.2.1:8443"));
    let output = program(&["run"], folder.path());
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(
        text.contains("cannot listen on 192.0.2.1:8443") && text.contains("this machine has no such address"),
        "{text}"
    );
}

#[test]
fn a_port_in_use_is_one_clear_line_and_a_failure() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let folder = scene(|scene| scene.replace("address: 127.0.0.1:0", &format!("address: {address}")));
    let output = program(&["run"], folder.path());
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    let line = text.lines().find(|line| line.contains("cannot listen on")).unwrap_or_else(|| panic!("{text}"));
    assert!(line.contains(&address) && line.contains("free the port or change the address"), "{line}");
}

#[test]
fn a_missing_file_is_named() {
    let empty = Folder::new();
    let output = program(&["run"], empty.path());
    assert_eq!(output.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&output.stderr).contains("gateway.yaml"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_a_path_of_the_admin_listener_does_not_have_is_told_those_it_has() {
    let world = World::start().await;
    let client = http_client();
    let post = async |path: &str| {
        let answer = client.post(format!("http://{}{path}", world.gateway.admin_address())).send().await.unwrap();
        let allow = answer.headers().get("allow").map(|value| value.to_str().unwrap().to_owned());
        (answer.status().as_u16(), allow.unwrap_or_default())
    };
    // RFC 9110 §15.5.6.
    for path in ["/livez", "/readyz", "/status", "/metrics"] {
        assert_eq!(post(path).await, (405, "GET, HEAD".to_owned()), "{path}");
        assert_eq!(
            client.get(format!("http://{}{path}", world.gateway.admin_address())).send().await.unwrap().status(),
            200
        );
    }
    assert_eq!(post("/nowhere").await, (404, String::new())); // control
}

#[tokio::test(flavor = "multi_thread")]
async fn run_serves_until_sigterm_and_reloads_on_sighup() {
    let authority = Authority::new("Test CA");
    let issuer = AuthorizationServer::start(&authority).unwrap();
    // With nonces required everywhere, readiness does not wait for the age of the replay log.
    let keys = "audit: { destination: audit.jsonl }\ndpop: { nonce: always }\n";
    let folder = Scene::new(&authority, issuer.issuer(), "127.0.0.1:9".parse().unwrap()).append(keys).into_folder();
    let mut program = Program::run(&folder);
    let admin = program.says("admin listening");
    let admin = admin.rsplit_once("address=").unwrap().1.trim().to_owned();
    let client = http_client();
    let ready = async {
        while !client.get(format!("http://{admin}/readyz")).send().await.is_ok_and(|answer| answer.status() == 200) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, ready).await.expect("the gateway becomes ready");
    let text = std::fs::read_to_string(folder.path().join("gateway.yaml")).unwrap();
    folder.write("gateway.yaml", "not: a gateway\n");
    program.signal("-HUP");
    program.says("the old one remains in force");
    let answer = client.get(format!("http://{admin}/metrics")).send().await.unwrap().text().await.unwrap();
    assert!(answer.contains("fapi_gateway_config_reloads_total{outcome=\"failure\"} 1"), "{answer}");
    assert!(answer.contains("fapi_gateway_config_last_reload_success 0"));
    folder.write("gateway.yaml", &text);
    program.signal("-HUP");
    program.says("the configuration was reloaded");
    program.signal("-TERM");
    assert_eq!(program.ends().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_ends_the_drain() {
    let folder = scene(|scene| scene.replace("delay: 0s", "delay: 5m"));
    let mut program = Program::run(&folder);
    program.says("admin listening");
    program.signal("-TERM");
    program.says("draining");
    program.signal("-INT");
    program.says("told to stop again");
    let code = tokio::time::timeout(DEADLINE, program.ends()).await.expect("the program exits");
    assert_eq!(code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn net_22_a_reload_takes_the_whole_new_file_or_nothing_of_it() {
    let world = World::start().await;
    let folder = world.gateway.folder();
    let text = std::fs::read_to_string(folder.path().join("gateway.yaml")).unwrap();
    let health = || Request::get(format!("{ORIGIN}/health")).body(Bytes::new()).unwrap();
    let reload = async |count: usize| {
        world.attempt_reload(count).await;
    };
    assert_eq!(world.judge(health()).await.0, 200);

    // A file with one valid change and one fault: none of it may take effect.
    let narrower =
        text.replace("path: /health", "path: /healthy").replace("scopes: [accounts]", "scopes: [accounts, more]");
    folder.write("gateway.yaml", &narrower.replace("private_key: server-key.pem", "private_key: gone.pem"));
    reload(1).await;
    assert_eq!(world.judge(health()).await.0, 200);
    assert_eq!(world.judge(world.request()).await, (200, "ok".into()));

    folder.write("gateway.yaml", &narrower);
    reload(2).await;
    assert_eq!(world.judge(health()).await, (404, "route_not_found".into()));
    assert_eq!(world.judge(world.request()).await, (403, "scope_insufficient".into()));

    // A new authority for clients and a new server certificate apply from the next handshake on.
    let other = Authority::new("Other CA");
    folder.write("other.pem", &other.pem());
    folder.write(
        "gateway.yaml",
        &text
            .replace("trust_anchors: [ca.pem] } }", "trust_anchors: [other.pem] } }")
            .replace("trust_anchors: [ca.pem] }\nadmin", "trust_anchors: [other.pem] }\nadmin"),
    );
    let mut open = world.client().h2().connect().await.unwrap();
    let both = world.sign(&world.token().scope("accounts more"));
    assert_eq!(open.send(request("/accounts", &both)).await.unwrap().status(), 200, "control");
    reload(3).await;
    let late = open.send(world.request()).await.unwrap();
    let record = world.gateway.record_of(&late);
    assert_eq!(record["code"], "certificate_missing", "an open connection does not outlive its authority: {record}");
    assert!(world.client().handshake().await.is_err(), "the former authority's certificates are now refused");
    let newcomer = other.client("client-1");
    let token = world.sign(&world.issuer.token(world.clock.now()).bound_to_certificate(&newcomer));
    let client = world.anonymous().certificate(&newcomer);
    assert_eq!(world.judge_from(&client, request("/accounts", &token)).await, (200, "ok".into()));

    // A reload does not need an issuer that is down, as long as the issuer is named as before.
    world.issuer.script("/jwks", Answer::status(StatusCode::INTERNAL_SERVER_ERROR));
    reload(4).await;
    assert_eq!(world.judge_from(&client, request("/accounts", &token)).await, (200, "ok".into()));

    // An address cannot change while the process is running.
    folder.write("gateway.yaml", &text.replace("address: 127.0.0.1:0\n", "address: 127.0.0.2:0\n"));
    reload(5).await;
    assert_eq!(world.judge_from(&client, request("/accounts", &token)).await, (200, "ok".into()));
    let metrics = world.gateway.admin("/metrics").await.1;
    assert!(metrics.contains("fapi_gateway_config_reloads_total{outcome=\"success\"} 3"), "{metrics}");
    assert!(metrics.contains("fapi_gateway_config_reloads_total{outcome=\"failure\"} 2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn atk_cf_09_no_request_is_judged_half_by_the_old_and_half_by_the_new_file() {
    let world = World::start().await;
    let folder = world.gateway.folder();
    let text = std::fs::read_to_string(folder.path().join("gateway.yaml")).unwrap();
    // One file gives access to `accounts`, the other to `payments`; a mixture would allow both or neither.
    let other = text.replace("scopes: [accounts]\n", "scopes: [payments]\n");
    let both = [world.sign(&world.token()), world.sign(&world.token().scope("payments"))];
    let mut connection = world.client().h2().connect().await.unwrap();
    for round in 1..=6 {
        folder.write("gateway.yaml", if round % 2 == 1 { &other } else { &text });
        world.gateway.control().reload();
        let mut done = Box::pin(world.gateway.control().reloads(round));
        loop {
            for token in &both {
                let status = connection.send(request("/accounts", token)).await.unwrap().status();
                assert!([200, 403].contains(&status.as_u16()), "{status}");
            }
            if tokio::time::timeout(Duration::from_millis(1), &mut done).await.is_ok() {
                break;
            }
        }
        let expected = if round % 2 == 1 { [403, 200] } else { [200, 403] };
        for (token, status) in both.iter().zip(expected) {
            assert_eq!(connection.send(request("/accounts", token)).await.unwrap().status(), status, "round {round}");
        }
    }
}

/// The two parts of a proof that are JSON.
fn read_proof(proof: &str) -> [Value; 2] {
    let mut parts = proof.split('.');
    [(); 2].map(|()| {
        let part = URL_SAFE_NO_PAD.decode(parts.next().expect("a part")).expect("base64url");
        serde_json::from_slice(&part).expect("JSON")
    })
}

#[test]
fn proof_prints_one_dpop_proof_and_nothing_of_the_key() {
    let folder = Folder::new();
    for kind in KeyKind::ALL {
        let key = SigningKey::generate(kind, "a");
        folder.write("key.pem", &key.private_key_pem());
        folder.write("token", "the.access-token\n");
        let arguments = "proof --key key.pem --method GET --url https://api.bank.example/accounts?page=2";
        let with = |more: &str| {
            let words: Vec<&str> = arguments.split(' ').chain(more.split_terminator(' ')).collect();
            let output = program(&words, folder.path());
            assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()), "{more}");
            String::from_utf8(output.stdout).unwrap()
        };
        let printed = with("--token @token --nonce -n --iat 1795264536");
        assert_eq!((printed.matches('\n').count(), printed.matches('.').count()), (1, 2), "{printed}");
        let [header, mut claims] = read_proof(&printed);
        assert_eq!(
            header,
            json!({ "typ": "dpop+jwt", "alg": kind.algorithm(), "jwk": key.bare_jwk() }),
            "the public key alone"
        );
        let jti = claims.as_object_mut().unwrap().remove("jti").unwrap();
        let expected = json!({
            "htm": "GET", "htu": "https://api.bank.example/accounts", "iat": 1_795_264_536,
            "ath": ath("the.access-token"), "nonce": "-n",
        });
        assert_eq!(claims, expected);
        assert_eq!(read_proof(&with("--token the.access-token"))[1]["ath"], expected["ath"]);
        let [_, plain] = read_proof(&with(""));
        assert_eq!((&plain["ath"], &plain["nonce"]), (&Value::Null, &Value::Null));
        assert!(plain["iat"].as_u64().unwrap() > 1_795_000_000);
        assert_ne!(plain["jti"], jti, "random");
    }
}

#[test]
fn proof_reads_the_token_from_standard_input() {
    let folder = Folder::new();
    folder.write("key.pem", &SigningKey::generate(KeyKind::Es256, "a").private_key_pem());
    let mut child = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"))
        .args(["proof", "--key", "key.pem", "--method", "GET", "--url", "https://api.bank.example/", "--token", "-"])
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program runs");
    child.stdin.take().unwrap().write_all(b"the.access-token\n").unwrap();
    let output = child.wait_with_output().unwrap();
    let [_, claims] = read_proof(&String::from_utf8(output.stdout).unwrap());
    assert_eq!(claims["ath"], ath("the.access-token"));
}

#[test]
fn proof_says_in_one_line_what_is_wrong() {
    let folder = Folder::new();
    let key = SigningKey::generate(KeyKind::Es256, "a");
    folder.write("key.pem", &key.private_key_pem());
    folder.write("public.pem", &key.public_key_pem());
    folder.write("empty", "\n");
    let good = ["proof", "--key", "key.pem", "--method", "GET", "--url", "https://api.bank.example/", "--token", "t"];
    assert_eq!(program(&good, folder.path()).status.code(), Some(0)); // control
    for (from, to, exit, part) in [
        ("key.pem", "nowhere.pem", 74, "nowhere.pem: No such file"),
        ("key.pem", "public.pem", 74, "public.pem: there is no private key"),
        ("https://api.bank.example/", "/accounts", 2, "\"/accounts\" is not a URL"),
        ("GET", "G T", 2, "\"G T\" is not an HTTP method"),
        ("t", "", 2, "the access token is empty"),
        ("t", "@empty", 74, "empty: the access token is empty"),
        ("t", "@nowhere", 74, "nowhere: No such file"),
        ("t", "one two", 2, "the access token has spaces"),
    ] {
        let output = program(&good.map(|word| if word == from { to } else { word }), folder.path());
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout, text.lines().count()), (Some(exit), Vec::new(), 1), "{text}");
        assert!(text.starts_with("fapi-gateway proof: ") && text.contains(part), "{text}");
    }
}

#[test]
fn proof_notes_that_a_token_has_the_name_of_a_file() {
    let folder = Folder::new();
    folder.write("key.pem", &SigningKey::generate(KeyKind::Es256, "a").private_key_pem());
    folder.write("token", "the.access-token");
    let note = |token: &str| {
        let good =
            ["proof", "--key", "key.pem", "--method", "GET", "--url", "https://api.bank.example/", "--token", token];
        let output = program(&good, folder.path());
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!((note("@token"), note("the.access-token")), (String::new(), String::new())); // control
    assert!(note("token").starts_with("note: "));
}

#[test]
fn proof_repeats_no_secret_that_was_given_in_the_wrong_place() {
    let key = SigningKey::generate(KeyKind::Es256, "k").private_key_pem();
    let folder = Folder::new();
    folder.write("key.pem", &key);
    let good = ["proof", "--key", "key.pem", "--method", "GET", "--url", "https://api.example/a"];
    assert_eq!(program(&good, folder.path()).status.code(), Some(0), "control");
    for (index, secret) in [(2, key.as_str()), (6, "https://user:hunter2@api.example/a")] {
        let mut arguments = good;
        arguments[index] = secret;
        let output = program(&arguments, folder.path());
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(!text.contains("hunter2") && !text.contains("PRIVATE"), "{text}");
    }
}
