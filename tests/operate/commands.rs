//! The small commands: `thumbprint`, `completions`, `man` and `version`, and a configuration on standard input.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use sandbox::pki::Authority;
use sandbox::tokens::{KeyKind, SigningKey, jwks};

use crate::support::{Folder, Scene};

#[path = "../../build.rs"]
#[expect(dead_code, reason = "its main is the build script")]
mod build_script;

fn program(arguments: &[&str], folder: &Path, input: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"));
    let command = command.args(arguments).current_dir(folder).env_remove("RUST_LOG");
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program runs");
    // A program that reads nothing may have ended by now.
    let _ = child.stdin.take().expect("it is piped").write_all(input.as_bytes());
    child.wait_with_output().expect("the program ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn thumbprints_are_those_that_tokens_are_bound_to() {
    let folder = Folder::new();
    let authority = Authority::new("Test CA");
    let (one, other) = (authority.client("one"), authority.client("other"));
    let keys = KeyKind::ALL.map(|kind| SigningKey::generate(kind, "kid-1"));
    let values = |input: &str| -> Vec<String> {
        let output = program(&["thumbprint", "-"], folder.path(), input);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(!text(&output.stdout).contains("PRIVATE"));
        let words = |line: &str| line.split(' ').take(2).collect::<Vec<_>>().join(" ");
        text(&output.stdout).lines().map(words).collect()
    };
    let x5t = |certificate: &sandbox::pki::Credential| format!("x5t#S256 {}", certificate.x5t_s256());
    assert_eq!(values(&one.certificate_pem()), [x5t(&one)]);
    assert_eq!(values(&(one.certificate_pem() + &other.certificate_pem())), [x5t(&one), x5t(&other)]);
    for key in &keys {
        let jkt = [format!("jkt {}", key.thumbprint())];
        assert_eq!(values(&key.private_key_pem()), jkt, "{key:?}");
        assert_eq!(values(&key.public_key_pem()), jkt, "{key:?}");
        assert_eq!(values(&key.jwk().to_string()), jkt, "{key:?}");
    }
    let all: Vec<String> = keys.iter().map(|key| format!("jkt {}", key.thumbprint())).collect();
    assert_eq!(values(&jwks(&keys.each_ref()).to_string()), all);
    // A certificate in DER.
    std::fs::write(folder.path().join("one.der"), &one.chain_der[0]).unwrap();
    let der = program(&["thumbprint", "one.der"], folder.path(), "");
    assert!(text(&der.stdout).starts_with(&x5t(&one)), "{}", text(&der.stderr));
    for (input, exit) in
        [("", 1), ("nothing", 1), ("{}", 1), ("{\"keys\":[]}", 1), ("{\"kty\":\"oct\",\"k\":\"c2VjcmV0\"}", 1)]
    {
        let output = program(&["thumbprint", "-"], folder.path(), input);
        assert_eq!(output.status.code(), Some(exit), "{input:?}: {}", text(&output.stdout));
        assert!(!text(&output.stderr).contains("c2VjcmV0"));
    }
    assert_eq!(program(&["thumbprint", "nowhere.pem"], folder.path(), "").status.code(), Some(74));
}

#[test]
fn a_public_key_is_printed_as_it_is_registered_and_never_the_private_one() {
    let folder = Folder::new();
    let printed = |input: &str| {
        let output = program(&["thumbprint", "--jwk", "-"], folder.path(), input);
        (output.status.code(), text(&output.stdout))
    };
    let certificate = Authority::new("Test CA").client("one").certificate_pem();
    for kind in KeyKind::ALL {
        let key = SigningKey::generate(kind, "kid-1");
        let members = |text: &str, with_kid: bool| {
            let jwk: serde_json::Value = serde_json::from_str(text).expect("one JWK on one line");
            let mut wanted = key.jwk();
            let names = if with_kid { &["use", "key_ops"][..] } else { &["use", "key_ops", "kid", "alg"] };
            wanted.as_object_mut().unwrap().retain(|name, _| !names.contains(&name.as_str()));
            assert_eq!(jwk, wanted, "{kind:?}");
        };
        for pem in [key.private_key_pem(), key.public_key_pem(), certificate.clone() + &key.private_key_pem()] {
            let (exit, text) = printed(&pem);
            assert_eq!(exit, Some(0), "{kind:?}");
            members(&text, false);
        }
        let mut secret = key.jwk();
        secret["d"] = "c2VjcmV0".into();
        let (exit, text) = printed(&secret.to_string());
        assert_eq!(exit, Some(0), "{kind:?}");
        members(&text, true);
    }
    assert_eq!(printed(&certificate), (Some(1), String::new()));
    // control
    assert_eq!(program(&["thumbprint", "-"], folder.path(), &certificate).status.code(), Some(0));
}

#[test]
fn completions_and_pages_of_the_manual_know_every_command() {
    let folder = Folder::new();
    let run = |arguments: &[&str]| {
        let output = program(arguments, folder.path(), "");
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout)
    };
    let help = run(&["--help"]);
    let (_, list) = help.split_once("Commands:\n").expect("there are commands");
    let names: Vec<&str> =
        list.lines().take_while(|line| !line.is_empty()).filter_map(|line| line.split_whitespace().next()).collect();
    assert!(names.len() > 10, "{names:?}");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = run(&["completions", shell]);
        let missing: Vec<_> = names.iter().filter(|name| !script.contains(**name)).collect();
        assert!(missing.is_empty(), "{shell} lacks {missing:?}");
    }
    let page = run(&["man"]);
    assert!(page.contains(".TH fapi-gateway") && page.contains("RUST_LOG"), "{page}");
    for name in names.iter().filter(|name| **name != "help") {
        assert!(page.contains(name), "{name}");
        assert!(run(&["man", name]).contains(&format!(".TH fapi-gateway-{name}")), "{name}");
    }
    assert_eq!(program(&["man", "nothing"], folder.path(), "").status.code(), Some(2));
    assert_eq!(program(&["completions", "nothing"], folder.path(), "").status.code(), Some(2));
}

#[test]
fn version_says_what_the_program_was_built_from() {
    let output = program(&["version"], Folder::new().path(), "");
    let lines: Vec<String> = text(&output.stdout).lines().map(str::to_owned).collect();
    let commit = fapi_gateway::commands::version::COMMIT;
    assert!(
        commit == "unknown" || commit.len() >= 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{commit}"
    );
    let version = format!("fapi-gateway {}", env!("CARGO_PKG_VERSION"));
    let features = if cfg!(feature = "mimalloc") { "features: demo, mimalloc" } else { "features: demo" };
    assert_eq!(lines, [version, format!("commit: {commit}"), features.to_owned()]);
}

#[test]
fn the_commit_is_that_of_head_however_git_keeps_it() {
    let commit = "0123456789abcdef0123456789abcdef01234567";
    let head = |files: &[(&str, &str)]| {
        let folder = Folder::new();
        for (name, content) in files {
            folder.write(name, content);
        }
        build_script::head(folder.path())
    };
    let branch = ("HEAD", "ref: refs/heads/main\n");
    let packed = format!("# pack-refs with: peeled\nfedcba98 refs/heads/other\n{commit} refs/heads/main\n");
    assert_eq!(head(&[branch, ("refs/heads/main", &format!("{commit}\n"))]).as_deref(), Some(commit));
    assert_eq!(head(&[branch, ("packed-refs", &packed)]).as_deref(), Some(commit));
    assert_eq!(head(&[("HEAD", &format!("{commit}\n"))]).as_deref(), Some(commit));
    assert_eq!(head(&[branch]), None);
    assert_eq!(head(&[]), None);
}

#[test]
fn a_result_that_cannot_be_written_is_no_success() {
    let folder = Folder::new();
    let path = folder.path().join("new");
    assert_eq!(program(&["init", "new"], folder.path(), "").status.code(), Some(0));
    let token = program(&["token", "--certificate", "tls/client.pem"], &path, "");
    folder.write("new/token", &text(&token.stdout));
    let explain = ["explain", "--token", "token", "--certificate", "tls/client.pem", "--jwks", "sandbox/jwks.json"];
    let proof = ["proof", "--key", "keys/dpop.pem", "--method", "GET", "--url", "https://localhost:8443/"];
    for arguments in [
        &["check"][..],
        &["check", "--print-effective"],
        &["check", "--without-files"],
        &["schema"],
        &["completions", "bash"],
        &["man"],
        &["version"],
        &["thumbprint", "tls/client.pem"],
        &["token", "--certificate", "tls/client.pem"],
        &explain,
        &proof,
    ] {
        let exit = |out: &str| {
            let out = std::fs::File::options().write(true).open(out).expect("the device is there");
            let mut command = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"));
            let command = command.args(arguments).current_dir(&path).env_remove("RUST_LOG").stdout(out);
            command.output().expect("the program runs").status.code()
        };
        assert_eq!(exit("/dev/null"), Some(0), "control: {arguments:?}");
        assert_eq!(exit("/dev/full"), Some(74), "{arguments:?}");
    }
}

#[test]
fn only_one_argument_has_standard_input() {
    let folder = Folder::new();
    let path = folder.path().join("new");
    assert_eq!(program(&["init", "new"], folder.path(), "").status.code(), Some(0));
    let read = |file: &str| std::fs::read_to_string(path.join(file)).expect("init made it");
    let (yaml, key) = (read("gateway.yaml"), read("keys/dpop.pem"));
    let token = text(&program(&["token", "--key", "keys/dpop.pem"], &path, "").stdout);
    folder.write("new/token", &token);
    let bound = text(&program(&["token", "--certificate", "tls/client.pem"], &path, "").stdout);
    let certificate = read("tls/client.pem");
    let (both, reversed) = (format!("{}{certificate}", bound.trim_end()), format!("{certificate}{bound}"));
    // Bound to a key, so the certificate beside it is not the sender's.
    let other = format!("{token}{certificate}");
    let proof = ["proof", "--method", "GET", "--url", "https://localhost:8443/", "--key"];
    for (arguments, input, exit) in [
        (&["token", "--certificate", "tls/client.pem", "-c", "-"][..], &yaml, 0),
        (&["token", "--certificate", "-", "-c", "-"], &yaml, 2),
        (&["token", "--key", "-"], &key, 0),
        (&["token", "--key", "-", "--signing-key", "-"], &key, 2),
        (&[&proof[..], &["-", "--token", "@token"]].concat(), &key, 0),
        (&[&proof[..], &["keys/dpop.pem", "--token", "-"]].concat(), &token, 0),
        (&[&proof[..], &["-", "--token", "-"]].concat(), &key, 2),
        (&[&proof[..], &["-", "--token", "@-"]].concat(), &key, 2),
        (&["explain", "--jwks", "sandbox/jwks.json", "--token", "token", "-c", "-"], &yaml, 1),
        (&["explain", "--jwks", "sandbox/jwks.json", "--token", "-"], &token, 1),
        (&["explain", "--jwks", "sandbox/jwks.json", "--token", "-", "-c", "-"], &yaml, 2),
        (&["explain", "--jwks", "sandbox/jwks.json", "--token", "-", "--proof", "-"], &token, 2),
        (&["explain", "--jwks", "sandbox/jwks.json", "--token", "-", "--certificate", "tls/client.pem"], &bound, 0),
        (&["explain", "--jwks", "sandbox/jwks.json", "--token", "-", "--certificate", "-"], &both, 0),
        (&["explain", "--jwks", "sandbox/jwks.json", "--token", "-", "--certificate", "-"], &reversed, 0),
        (&["explain", "--jwks", "sandbox/jwks.json", "--token", "-", "--certificate", "-"], &other, 1),
    ] {
        let output = program(arguments, &path, input);
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}: {}", text(&output.stderr));
        assert_eq!(text(&output.stderr).contains("standard input"), exit == 2, "{arguments:?}");
    }
}

#[test]
fn a_key_in_place_of_its_path_is_not_printed() {
    let folder = Folder::new();
    let path = folder.path().join("new");
    assert_eq!(program(&["init", "new"], folder.path(), "").status.code(), Some(0));
    let pem = std::fs::read_to_string(path.join("keys/dpop.pem")).expect("init made it");
    let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let secret = &base64[20..40];
    let proof = ["proof", "--method", "GET", "--url", "https://localhost:8443/", "--key"];
    for arguments in [
        &proof[..],
        &["thumbprint"],
        &["token", "--key"],
        &["token", "--certificate", "tls/client.pem", "--signing-key"],
        &["explain", "--token"],
    ] {
        let with = |file: &str| {
            let output = program(&[arguments, &[file]].concat(), &path, "");
            (output.status.code(), text(&output.stderr))
        };
        let (exit, said) = with("nowhere.pem");
        assert_eq!((exit, said.contains("nowhere.pem: ")), (Some(74), true), "control: {arguments:?}: {said}");
        for key in [&pem, &base64] {
            let (exit, said) = with(key);
            assert_eq!((exit, said.contains(secret)), (Some(2), false), "{arguments:?}: {said}");
            assert!(said.contains("this is the content of a file, not its path"), "{said}");
        }
    }
}

#[test]
fn a_folder_without_a_sandbox_says_where_its_key_would_come_from() {
    let folder = Folder::new();
    let path = folder.path().join("new");
    assert_eq!(program(&["init", "new"], folder.path(), "").status.code(), Some(0));
    let token = ["token", "--certificate", "tls/client.pem"];
    assert_eq!(program(&token, &path, "").status.code(), Some(0), "control");
    std::fs::rename(path.join("sandbox/issuer-key.pem"), path.join("moved.pem")).expect("init made it");
    for arguments in [&token[..], &["sandbox"]] {
        let output = program(arguments, &path, "");
        assert_eq!(output.status.code(), Some(74));
        assert!(text(&output.stderr).contains("--signing-key"), "{}", text(&output.stderr));
    }
    let named = [&token[..], &["--signing-key", "moved.pem"]].concat();
    assert_eq!(program(&named, &path, "").status.code(), Some(0));
}

#[test]
fn a_configuration_can_come_from_standard_input() {
    let authority = Authority::new("Test CA");
    let folder = Scene::new(&authority, "https://localhost:9", "127.0.0.1:9".parse().unwrap()).into_folder();
    let yaml = std::fs::read_to_string(folder.path().join("gateway.yaml")).unwrap();
    let from_file = program(&["check"], folder.path(), "");
    assert_eq!(from_file.status.code(), Some(0), "{}", text(&from_file.stderr)); // control
    for arguments in [&["check", "-c", "-"], &["check", "--config", "-"]] {
        let piped = program(arguments, folder.path(), &yaml);
        assert_eq!((piped.status.code(), piped.stdout), (Some(0), from_file.stdout.clone()));
    }
    let broken = program(&["check", "-c", "-"], folder.path(), &yaml.replace("scopes:", "scopez:"));
    assert_eq!(broken.status.code(), Some(64));
    assert!(text(&broken.stderr).contains("-:"), "{}", text(&broken.stderr));
}
