//! What `init` makes: a folder in which the commands of its README end in a 200, and which nothing is lost for.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fapi_gateway::config::Config;
use sandbox::authorization_server::AuthorizationServer;
use sandbox::pki::Authority;
use serde_yaml::Value;

use crate::support::tools::tool;
use crate::support::{Folder, free_ports};

#[test]
fn the_five_commands_of_the_readme_end_in_a_200() {
    let folder = Folder::new();
    let options = ["--port", "--admin-port", "--issuer-port", "--api-port"];
    let free: Vec<String> = free_ports(options.len()).iter().map(u16::to_string).collect();
    let ports: Vec<&str> = options.into_iter().zip(&free).flat_map(|(option, port)| [option, port]).collect();
    let made = init(&folder, &ports);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made));
    let readme = std::fs::read_to_string(folder.path().join("dir/README.md")).unwrap();
    let mut blocks = readme.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    let (commands, explain) = (blocks.next().expect("the commands"), blocks.next().expect("the explanation"));
    assert_eq!(commands.lines().count(), 5, "{commands}");
    let program = Path::new(env!("CARGO_BIN_EXE_fapi-gateway")).parent().unwrap();
    let script = format!(
        "set -eo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null; wait' EXIT\nexport PATH=\"{}:$PATH\"\n{commands}\necho\n{explain}",
        program.display()
    );
    for program in ["curl", "bash"] {
        tool(program);
    }
    let mut command = tool("timeout");
    command.args(["--kill-after=5", "120", "bash", "-c", &script]).current_dir(folder.path().join("dir"));
    let output = command.env_remove("RUST_LOG").output().expect("timeout runs");
    let printed = text(&output);
    assert_eq!(output.status.code(), Some(0), "{printed}");
    for line in ["HTTP/2 200", "ok: forwarded to upstream api"] {
        assert!(printed.lines().any(|printed| printed.trim() == line), "no {line:?} in {printed}");
    }
    assert!(printed.contains("\"x-token-client-id\":\"client\""), "{printed}");
}

#[test]
fn nothing_is_overwritten_and_nothing_is_written_beside_what_is_there() {
    let folder = Folder::new();
    assert_eq!(init(&folder, &[]).status.code(), Some(0), "control");
    let names: Vec<String> = files(&folder.path().join("dir")).into_keys().collect();
    assert_eq!(names.len(), 18, "{names:?}");
    for name in &names {
        let folder = Folder::new();
        folder.write(&format!("dir/{name}"), "mine");
        let refused = init(&folder, &[]);
        assert_eq!(refused.status.code(), Some(1), "{name}");
        assert!(text(&refused).contains(name.as_str()), "{}", text(&refused));
        let left = files(&folder.path().join("dir"));
        assert_eq!(left, BTreeMap::from([(name.clone(), "mine".to_owned())]), "{name}");
    }
    // A link that leads nowhere is a file, too.
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("dir")).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path().join("dir/gateway.yaml")).unwrap();
    assert_eq!(init(&folder, &[]).status.code(), Some(1));
    assert!(!folder.path().join("dir/nowhere").exists());
}

#[test]
fn private_keys_are_for_their_owner_alone_and_every_file_is_made_anew() {
    let (one, other) = (Folder::new(), Folder::new());
    for folder in [&one, &other] {
        assert_eq!(init(folder, &[]).status.code(), Some(0));
    }
    let (one_files, other_files) = (files(&one.path().join("dir")), files(&other.path().join("dir")));
    let mut secret = 0;
    for (name, content) in &one_files {
        let mode = one.path().join("dir").join(name).metadata().unwrap().permissions().mode() & 0o777;
        let is_secret = content.contains("PRIVATE KEY") || name.ends_with(".key");
        assert_eq!(mode & 0o077 == 0, is_secret, "{name} has mode {mode:o}");
        if is_secret {
            secret += 1;
            assert_eq!(mode, 0o600, "{name}");
            assert_ne!(Some(content), other_files.get(name), "{name}");
        }
    }
    assert_eq!(secret, 8);
}

#[test]
fn the_configuration_has_no_problem_and_at_most_40_lines() {
    fapi_gateway::connection::tls::install_provider().expect("ours is the first provider in the process");
    for arguments in [&[][..], &["--upstream", "http://127.0.0.1:3000"]] {
        let folder = Folder::new();
        assert_eq!(init(&folder, arguments).status.code(), Some(0));
        let yaml = std::fs::read_to_string(folder.path().join("dir/gateway.yaml")).unwrap();
        assert!(yaml.lines().count() <= 40 && yaml.matches(" # ").count() > 10, "{yaml}");
        let config = Config::load(&folder.path().join("dir/gateway.yaml")).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(config.warnings, Vec::<String>::new());
        let mut check = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"));
        let check = check.args(["check", "--tests", "gateway.tests.yaml"]).current_dir(folder.path().join("dir"));
        let checked = check.env_remove("RUST_LOG").output().expect("the program runs");
        assert!(text(&checked).starts_with("4 of 4 policy tests hold\n"), "{}", text(&checked));
        let own = arguments.get(1).unwrap_or(&"http://127.0.0.1:8080");
        assert!(yaml.contains(own), "{yaml}");
        let readme = std::fs::read_to_string(folder.path().join("dir/README.md")).unwrap();
        assert_eq!(readme.contains("--api 127.0.0.1:8080"), arguments.is_empty(), "{readme}");
        // No path but those of the sandbox's API is known.
        let (path, says) = if arguments.is_empty() { ("/accounts", false) } else { ("/", true) };
        assert!(readme.contains(&format!("https://localhost:8443{path}\n")), "{readme}");
        assert_eq!(readme.contains("Write a path of your API"), says, "{readme}");
    }
}

#[test]
fn the_compose_file_mounts_the_folder_where_the_image_reads_it() {
    let folder = Folder::new();
    assert_eq!(init(&folder, &[]).status.code(), Some(0));
    let compose: Value = serde_yaml::from_str(&files(&folder.path().join("dir"))["compose.yaml"]).unwrap();
    let gateway = &compose["services"]["gateway"];
    assert_eq!(gateway["volumes"][0].as_str(), Some(".:/etc/fapi-gateway:ro"));
    assert_eq!(gateway["network_mode"].as_str(), Some("host"));
    let dockerfile = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Dockerfile")).unwrap();
    assert!(dockerfile.contains("CMD [\"run\", \"--config\", \"/etc/fapi-gateway/gateway.yaml\"]"), "{dockerfile}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_can_be_reached_proposes_its_settings() {
    let authority = Authority::new("Issuer CA");
    let server = AuthorizationServer::start(&authority).unwrap();
    let mut metadata = server.metadata();
    metadata["scopes_supported"] = serde_json::json!(["openid", "profile", "balances"]);
    metadata["tls_client_certificate_bound_access_tokens"] = serde_json::json!(true);
    let answer = |value| sandbox::https::Answer::json(http::StatusCode::OK, value);
    server.script(AuthorizationServer::METADATA, answer(metadata));
    let only = server.key(sandbox::tokens::KeyKind::Es256);
    server.script(AuthorizationServer::JWKS, answer(sandbox::tokens::jwks(&[only])));
    let folder = Folder::new();
    let anchors = folder.write("issuer-ca.pem", &authority.pem()).display().to_string();
    let made = init(&folder, &["--issuer", server.issuer(), "--trust-anchors", &anchors]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made));
    assert!(!text(&made).contains("note:"), "{}", text(&made));
    let files = files(&folder.path().join("dir"));
    let (yaml, readme) = (&files["gateway.yaml"], &files["README.md"]);
    for part in
        ["algorithms: [ES256] ", "scopes: [balances] ", "trust_anchors: [tls/issuer-ca.pem]", &server.url("/jwks")]
    {
        assert!(yaml.contains(part), "no {part:?} in {yaml}");
    }
    assert!(yaml.lines().count() <= 40, "{yaml}");
    assert!(readme.contains(&server.url("/token")) && !readme.contains("fapi-gateway token"), "{readme}");
    for part in ["register `tls/client.pem` there", "its authority into `client_certificates.trust_anchors`"] {
        assert!(readme.contains(part), "no {part:?} in {readme}");
    }
    assert!(!files.keys().any(|name| name.starts_with("sandbox/")), "{:?}", files.keys());
    assert_eq!(files["tls/issuer-ca.pem"], authority.pem());
    let file = folder.path().join("dir/gateway.yaml");
    Config::load(&file).unwrap_or_else(|errors| panic!("{errors}"));
    // What stands in comments can be taken as it is.
    for key in ["access_token:", "jwks_uri:"] {
        assert_eq!(yaml.matches(&format!("    # {key}")).count(), 1, "{yaml}");
        std::fs::write(&file, yaml.replace(&format!("# {key}"), key)).unwrap();
        Config::load(&file).unwrap_or_else(|errors| panic!("{key} {errors}"));
    }
}

/// The commands of the README are pasted into a shell, and the metadata chooses a part of one.
#[tokio::test(flavor = "multi_thread")]
async fn the_metadata_of_an_issuer_adds_no_command_and_no_option_to_the_readme() {
    let authority = Authority::new("Issuer CA");
    let server = AuthorizationServer::start(&authority).unwrap();
    let usual = server.url("/token");
    for (endpoint, word) in [
        (usual.clone(), usual.clone()), // control
        (format!("{usual};{{touch,made}};x"), format!("{usual};{{touch,made}};x")),
        (format!("{usual}|sh<x>y&"), format!("{usual}|sh<x>y&")),
        (format!("{usual}'x"), "https://YOUR-TOKEN-ENDPOINT".to_owned()),
        (format!("{usual}$(x)"), "https://YOUR-TOKEN-ENDPOINT".to_owned()),
        ("--config=x".to_owned(), "https://YOUR-TOKEN-ENDPOINT".to_owned()),
        ("file:///etc/hostname".to_owned(), "https://YOUR-TOKEN-ENDPOINT".to_owned()),
    ] {
        let mut metadata = server.metadata();
        metadata["token_endpoint"] = serde_json::json!(endpoint);
        metadata["mtls_endpoint_aliases"] = serde_json::json!({});
        let answer = sandbox::https::Answer::json(http::StatusCode::OK, metadata);
        server.script(AuthorizationServer::METADATA, answer);
        let folder = Folder::new();
        let anchors = folder.write("issuer-ca.pem", &authority.pem()).display().to_string();
        let made = init(&folder, &["--issuer", server.issuer(), "--trust-anchors", &anchors]);
        assert_eq!(made.status.code(), Some(0), "{}", text(&made));
        let readme = &files(&folder.path().join("dir"))["README.md"];
        let start = readme.find("curl --silent --show-error --fail --cacert").expect("the fourth command");
        let command = readme[start..].split(" |\n").next().unwrap();
        let script = format!("curl() {{ printf '%s\\n' \"$@\"; }}; {command}");
        let output = tool("bash").args(["-c", &script]).current_dir(folder.path()).output().unwrap();
        let words = String::from_utf8(output.stdout).unwrap();
        assert_eq!(words.lines().filter(|found| *found == word).count(), 1, "{endpoint}: {words}");
        assert_eq!(words.lines().last(), Some("resource=https://localhost:8443"), "{endpoint}: {words}");
        assert!(!folder.path().join("made").exists(), "{endpoint}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_cannot_be_used_is_said_and_gets_defaults() {
    let authority = Authority::new("Issuer CA");
    let server = AuthorizationServer::start(&authority).unwrap();
    let only_rs256 = |folder: &Folder| {
        let mut key = server.key(sandbox::tokens::KeyKind::Ps256).jwk();
        key["alg"] = serde_json::json!("RS256");
        let set = serde_json::json!({ "keys": [key] });
        server.script(AuthorizationServer::JWKS, sandbox::https::Answer::json(http::StatusCode::OK, set));
        folder.write("issuer-ca.pem", &authority.pem()).display().to_string()
    };
    for (issuer, note) in [
        ("https://localhost:9".to_owned(), "could not be read, so the settings are defaults"),
        (server.issuer().to_owned(), "the issuer has no key for PS256, ES256 or EdDSA"),
    ] {
        let folder = Folder::new();
        let anchors = only_rs256(&folder);
        let made = init(&folder, &["--issuer", &issuer, "--trust-anchors", &anchors]);
        assert_eq!(made.status.code(), Some(0), "{}", text(&made));
        assert!(text(&made).contains(note), "no {note:?} in {}", text(&made));
        let yaml = &files(&folder.path().join("dir"))["gateway.yaml"];
        assert!(yaml.contains("algorithms: [PS256, ES256, EdDSA] "), "{yaml}");
        Config::load(&folder.path().join("dir/gateway.yaml")).unwrap_or_else(|errors| panic!("{errors}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_of_the_readme_says_why_it_got_no_token() {
    let authority = Authority::new("Issuer CA");
    let server = AuthorizationServer::start(&authority).unwrap();
    let folder = Folder::new();
    let anchors = folder.write("issuer-ca.pem", &authority.pem()).display().to_string();
    let made = init(&folder, &["--issuer", server.issuer(), "--trust-anchors", &anchors]);
    assert_eq!(made.status.code(), Some(0), "{}", text(&made));
    let path = folder.path().join("dir");
    let readme = std::fs::read_to_string(path.join("README.md")).unwrap();
    let begin = readme.find("curl --silent --show-error").expect("the command that gets a token");
    let end = begin + readme[begin..].find("> token").expect("the file that it writes") + "> token".len();
    let get = |status, answer| {
        server.script("/token", sandbox::https::Answer::json(status, answer));
        let mut command = tool("timeout");
        command.args(["--kill-after=5", "60", "bash", "-c", &readme[begin..end]]).current_dir(&path);
        let said = text(&command.output().expect("timeout runs"));
        (said, std::fs::read_to_string(path.join("token")).expect("it is written"))
    };
    let good = get(http::StatusCode::OK, serde_json::json!({ "access_token": "abc" }));
    assert_eq!(good, (String::new(), "abc".to_owned())); // control
    let (said, token) = get(http::StatusCode::UNAUTHORIZED, serde_json::json!({ "error": "invalid_client" }));
    assert!(said.starts_with("curl: (22)") && said.contains("401") && token.is_empty(), "{said}{token}");
}

#[test]
fn urls_that_the_configuration_would_refuse_are_refused_before_anything_is_written() {
    for arguments in [["--issuer", "http://as.bank.example"], ["--upstream", "127.0.0.1:8080"]] {
        let folder = Folder::new();
        assert_eq!(init(&folder, &arguments).status.code(), Some(2), "{arguments:?}");
        assert!(!folder.path().join("dir").exists(), "{arguments:?}");
    }
}

#[test]
fn a_second_gateway_on_the_same_machine_has_ports_of_its_own() {
    let folder = Folder::new();
    let ports = ["--port", "18443", "--admin-port", "19464", "--issuer-port", "19443", "--api-port", "18080"];
    assert_eq!(init(&folder, &ports).status.code(), Some(0));
    for (name, content) in &files(&folder.path().join("dir")) {
        let usual = [":8443", ":9464", ":9443", ":8080"].iter().find(|port| content.contains(**port));
        assert_eq!(usual, None, "{name} has it: {content}");
    }
    for (arguments, says) in [
        (&["--port", "9464"][..], "--port and --admin-port are both 9464"),
        (&["--issuer-port", "8443"], "--port and --issuer-port are both 8443"),
        (&["--api-port", "9443"], "--issuer-port and --api-port are both 9443"),
        (&["--port", "0"], "'0' for '--port <PORT>'"),
        (&["--port", "65536"], "'65536' for '--port <PORT>'"),
        (&["--issuer-port", "1", "--issuer", "https://as.bank.example"], "cannot be used with"),
        (&["--api-port", "1", "--upstream", "http://127.0.0.1:3000"], "cannot be used with"),
    ] {
        let folder = Folder::new();
        let refused = init(&folder, arguments);
        assert_eq!(refused.status.code(), Some(2), "{arguments:?}: {}", text(&refused));
        assert!(text(&refused).contains(says), "no {says:?} in {}", text(&refused));
        assert!(!folder.path().join("dir").exists(), "{arguments:?}");
    }
    // What does not listen takes no port.
    assert_eq!(init(&Folder::new(), &["--port", "8080", "--upstream", "http://10.0.0.7:8080"]).status.code(), Some(0));
}

fn init(folder: &Folder, more: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"));
    command.args(["init", "dir"]).args(more).current_dir(folder.path()).env_remove("RUST_LOG");
    command.output().expect("the program runs")
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Every file below a folder, by its name there.
fn files(folder: &Path) -> BTreeMap<String, String> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { walk(&path, found) } else { found.push(path) }
        }
    }
    let mut found = Vec::new();
    walk(folder, &mut found);
    let name = |path: &PathBuf| path.strip_prefix(folder).expect("below it").display().to_string();
    found.iter().map(|path| (name(path), std::fs::read_to_string(path).expect("text"))).collect()
}
