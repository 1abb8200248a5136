//! Keys in a token of PKCS#11: what `check` says of those that cannot be used, and a gateway that introduces itself to an issuer with
//! one.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use http::Request;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384};
use sandbox::authorization_server::{AuthorizationServer, ResourceServer};
use sandbox::pki::Authority;
use sandbox::tokens::{KeyKind, SigningKey};
use tokio::time::timeout;

use crate::support::backend::Backend;
use crate::support::client::Client;
use crate::support::program::Program;
use crate::support::signature::verified;
use crate::support::token::{MODULE, Token, in_token};
use crate::support::tools::tool;
use crate::support::{DEADLINE, Folder, ORIGIN, Scene, TestClock, remember, request};

/// The exit code of `check`, and what it says.
fn check(folder: &Path, token: &Token, options: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"));
    let command = command.arg("check").args(options).current_dir(folder).env_remove("RUST_LOG");
    let output = command.envs(token.variables()).output().expect("it runs");
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).expect("text"))
}

fn ec() -> String {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem()
}

fn rsa(bits: &str) -> String {
    let bits = format!("rsa_keygen_bits:{bits}");
    let output = tool("openssl").args(["genpkey", "-algorithm", "RSA", "-pkeyopt", &bits]).output().expect("it runs");
    assert!(output.status.success());
    String::from_utf8(output.stdout).expect("PEM is text")
}

#[test]
fn check_says_what_is_wrong_with_a_key_in_a_token() {
    let authority = Authority::new("Test CA");
    let scene = Scene::new(&authority, "https://localhost:9", "127.0.0.1:9".parse().unwrap());
    let good = in_token(MODULE, "audit-key");
    let folder = scene.introspected("").append(&format!("audit: {{ chain: {{ key: {good} }} }}\n")).into_folder();
    let token = Token::new(&folder);
    token.import(&ec(), "audit-key", "01");
    for id in ["02", "03"] {
        token.import(&ec(), "twins", id);
    }
    token.import(&KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap().serialize_pem(), "p384", "04");
    token.import(&rsa("2048"), "rsa", "05");
    token.import(&rsa("1024"), "small", "06");
    token.add("same");
    token.add("same");
    folder.write("keys/wrong", "271828\n");
    folder.write("keys/two-lines", "31\n41\n");
    folder.write("keys/open", "314159\n");
    folder.write("text.so", "no library");
    folder.write("open/module.so", "in an open folder");
    std::fs::copy(MODULE, folder.path().join("open.so")).unwrap();
    for (file, mode) in [("keys/open", 0o666), ("open.so", 0o777), ("open", 0o777)] {
        let path = folder.path().join(file);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let yaml = std::fs::read_to_string(folder.path().join("gateway.yaml")).unwrap();
    let said = |key: &str| {
        folder.write("gateway.yaml", &yaml.replace(&good, key));
        check(folder.path(), &token, &[])
    };
    let (code, text) = said(&good);
    assert_eq!(code, Some(0), "control: {text}");
    // The PIN is in no line, nor is anything of the key.
    assert!(!text.contains("314159") && !text.contains("ERROR"), "{text}");
    for (from, to, wanted) in [
        (MODULE, "/usr/lib/absent.so", "module: `/usr/lib/absent.so` cannot be read: there is no such file"),
        (MODULE, "text.so", "module: it cannot be loaded as a module of PKCS#11"),
        (MODULE, "open.so", "/open.so` can be written by every user; take that away (`chmod o-w`)"),
        (MODULE, "open/module.so", "/open` can be written by every user; take that away (`chmod o-w`)"),
        ("token: bank", "token: bakn", "token: there is no token of that label; there are `bank`, `same`"),
        ("token: bank", "token: same", "token: 2 tokens have that label"),
        (
            "object: audit-key",
            "object: aduit-key",
            "object: the token has no private key of that label; there are `audit-key`, `p384`",
        ),
        ("object: audit-key", "object: twins", "object: 2 private keys have that label"),
        ("object: audit-key", "object: p384", "object: the key cannot be used: it is on another curve than P-256"),
        ("object: audit-key", "object: small", "object: the key cannot be used: it is an RSA key below 2048 bits"),
        ("object: audit-key", "object: rsa", "audit.chain.key: the key is neither EC P-256 nor Ed25519"),
        ("object: audit-key", "object: \"\"", "object: the value is empty"),
        ("keys/pin", "keys/wrong", "pin_file: the token refused the PIN"),
        ("keys/pin", "keys/absent", "pin_file: `keys/absent` cannot be read"),
        ("keys/pin", "keys/open", "pin_file: `keys/open` is a key that every user of this machine can replace"),
        ("keys/pin", "keys/two-lines", "pin_file: `keys/two-lines` is not one line"),
        (", object: audit-key", "", "object: the key is missing"),
        ("pin_file", "pin_fil", "pin_fil: unknown key `pin_fil`; did you mean `pin_file`?"),
        ("pkcs11", "pkcs12", "unknown key `pkcs12`; did you mean `pkcs11`?"),
        (&good, "{}", "audit.chain.key.pkcs11: the key is missing"),
        (&good, "5", "audit.chain.key: expected the path of a file, or { pkcs11: {...} }, found the number `5`"),
    ] {
        let (code, text) = said(&good.replace(from, to));
        assert_eq!(
            (code, text.contains(wanted), text.contains("1 problem in")),
            (Some(64), true, true),
            "{to}: {text}"
        );
        assert!(!text.contains("271828"), "{text}");
    }
    // The library is a module, and whatever it needs is away.
    token.between();
    token.is_away(true);
    let (code, text) = said(&good.replace(MODULE, "between.so"));
    let wanted = "module: the module did not begin (C_Initialize: DeviceError)";
    assert!(code == Some(64) && text.contains(wanted), "{text}");
    token.is_away(false);
    let (code, text) = said(&good.replace(MODULE, "between.so"));
    assert_eq!(code, Some(0), "control: {text}");
    // A handshake is signed with a key in a file.
    folder.write(
        "gateway.yaml",
        &yaml.replace(
            "private_key_jwt, private_key: gateway.pem",
            &format!("tls_client_auth, certificate: server.pem, private_key: {good}"),
        ),
    );
    let (code, text) = check(folder.path(), &token, &[]);
    assert!(code == Some(64) && text.contains("a key in a token signs assertions, not handshakes"), "{text}");
    // Nobody logs in where files are not read.
    folder.write("gateway.yaml", &yaml.replace(&good, &in_token("/absent.so", "absent")));
    let (code, text) = check(folder.path(), &token, &["--without-files"]);
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = check(folder.path(), &token, &["--without-files", "--print-effective"]);
    assert!(code == Some(0) && text.contains("module: /absent.so") && text.contains("pin_file: keys/pin"), "{text}");
}

/// A gateway that introspects with the key `gateway-key` of a token.
struct Stage {
    program: Program,
    folder: Folder,
    token: Token,
    client: Client,
    issuer: AuthorizationServer,
    authority: Authority,
    _backend: Backend,
}

impl Stage {
    async fn start(key: &SigningKey) -> Self {
        fapi_gateway::connection::tls::install_provider().expect("ours is the first provider in the process");
        let authority = Authority::new("Test CA");
        let issuer = AuthorizationServer::start(&authority).unwrap();
        let backend = Backend::http1().await;
        let folder = Scene::new(&authority, issuer.issuer(), backend.address())
            .introspected("")
            .replace("private_key: gateway.pem", &format!("private_key: {}", in_token("between.so", "gateway-key")))
            .append("audit: { destination: audit.jsonl }\ndpop: { nonce: always }\n")
            .into_folder();
        let token = Token::new(&folder);
        token.import(&key.private_key_pem(), "gateway-key", "01");
        token.between();
        let mut program = Program::run_with_token(&folder, &token);
        let (address, _) = program.addresses();
        program.says(" ready version");
        let client = Client::new(address, &authority).origin(ORIGIN).h2();
        Self { program, folder, token, client, issuer, authority, _backend: backend }
    }

    /// The status for a token that only the issuer knows.
    async fn judge(&self) -> u16 {
        let credential = self.authority.client("client-1");
        let token = self.issuer.token(TestClock::new().now()).bound_to_certificate(&credential);
        let token = remember(self.issuer.issue(&token));
        let client = self.client.clone().certificate(&credential);
        client.send(request("/accounts", &token)).await.expect("an answer").status().as_u16()
    }

    /// Asks until the issuer is asked again.
    async fn until_judged(&self) {
        let judged = async { while self.judge().await == 503 {} };
        timeout(DEADLINE, judged).await.expect("the key signs again");
    }

    /// The status of a route that needs no token.
    async fn health(&self) -> u16 {
        let request = Request::get(format!("{ORIGIN}/health")).body(Bytes::new()).unwrap();
        self.client.send(request).await.expect("an answer").status().as_u16()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fapi2_cl_02_an_issuer_accepts_what_a_token_signed() {
    for kind in KeyKind::ALL {
        let key = SigningKey::generate(kind, "gateway");
        let stage = Stage::start(&key).await;
        // Control: another key is registered with the issuer.
        assert_eq!(stage.judge().await, 503, "{kind:?}");
        stage.issuer.register("gateway", ResourceServer::Key(key));
        for _ in 0..3 {
            assert_eq!(stage.judge().await, 200, "{kind:?}");
        }
        assert_eq!(stage.token.logins(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_token_is_gone_or_hangs_the_issuer_is_not_asked_and_others_are_served() {
    let key = SigningKey::generate(KeyKind::Es256, "gateway");
    let mut stage = Stage::start(&key).await;
    stage.issuer.register("gateway", ResourceServer::Key(key));
    assert_eq!(stage.judge().await, 200, "control");
    let asked = |stage: &Stage| stage.issuer.requests_to(AuthorizationServer::INTROSPECTION);
    let before = asked(&stage);

    stage.token.is_gone(true);
    for _ in 0..3 {
        assert_eq!((stage.judge().await, stage.health().await), (503, 200));
    }
    stage.program.says("a key in a token does not sign");
    stage.token.is_gone(false);
    stage.until_judged().await;
    stage.program.says("a key in a token signs again");
    assert_eq!(asked(&stage), before + 1);

    let hanging = stage.token.hangs();
    // The first waits for it, and the others do not.
    let all = async { tokio::join!(stage.judge(), stage.health(), stage.health()) };
    assert_eq!(all.await, (503, 200, 200));
    for _ in 0..50 {
        assert_eq!(stage.judge().await, 503);
    }
    hanging.ends();
    stage.until_judged().await;
    assert_eq!(asked(&stage), before + 2);
    stage.program.signal("-TERM");
    let Stage { program, folder, .. } = stage;
    assert_eq!(program.ends().await, Some(0));
    let text = std::fs::read_to_string(folder.path().join("audit.jsonl")).unwrap();
    assert!(text.matches("\"code\":\"introspection_unavailable\"").count() >= 54, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_are_signed_where_the_key_is_and_withheld_while_it_is_gone() {
    fapi_gateway::connection::tls::install_provider().expect("ours is the first provider in the process");
    for kind in KeyKind::ALL {
        let key = SigningKey::generate(kind, "own");
        let authority = Authority::new("Test CA");
        let issuer = AuthorizationServer::start(&authority).unwrap();
        let backend = Backend::http1().await;
        let folder = Scene::new(&authority, issuer.issuer(), backend.address())
            .replace("    scopes: [accounts]\n", "    scopes: [accounts]\n    signature: { response: sign }\n")
            .append(&format!(
                "signing: {{ keys: [{{ private_key: {}, key_id: own }}] }}\naudit: {{ destination: audit.jsonl }}\ndpop: {{ nonce: always }}\n",
                in_token("between.so", "own")
            ))
            .into_folder();
        let token = Token::new(&folder);
        token.import(&key.private_key_pem(), "own", "01");
        token.between();
        let mut program = Program::run_with_token(&folder, &token);
        let (address, _) = program.addresses();
        program.says(" ready version");
        let credential = authority.client("client-1");
        let client = Client::new(address, &authority).origin(ORIGIN).certificate(&credential);
        let now = || TestClock::new().now();
        let ask = || {
            let token = issuer.token(now()).bound_to_certificate(&credential);
            request("/accounts", &remember(token.sign(issuer.key(KeyKind::Ps256))))
        };
        let asked = ask();
        let response = client.send(asked.clone()).await.expect("an answer");
        assert_eq!(response.status(), 200, "{kind:?}");
        let keys = serde_json::json!({ "keys": [key.jwk()] });
        assert_eq!(verified(&response, &asked, &keys, now()).key_id(), "own", "{kind:?}");
        token.is_gone(true);
        let response = client.send(ask()).await.expect("an answer");
        assert_eq!(response.status(), 500, "{kind:?}: nothing is sent as if it were signed");
        assert!(response.headers().get("signature").is_none());
        program.signal("-TERM");
        assert_eq!(program.ends().await, Some(0));
        let text = std::fs::read_to_string(folder.path().join("audit.jsonl")).unwrap();
        assert!(text.contains("\"code\":\"response_not_signed\""), "{text}");
    }
}
