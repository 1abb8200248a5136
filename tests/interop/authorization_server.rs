//! A certified FAPI 2.0 authorization server and a client, both independent implementations: PAR, PKCE,
//! `private_key_jwt`, both bindings, opaque tokens and JWTs, introspection plain, signed and by certificate,
//! revocation.
//!
//! Needs node and npm, and either the network or npm's cache for the packages; without them the test fails.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use fapi_gateway::config::Config;
use sandbox::accounts::AccountsApi;
use sandbox::pki::Authority;
use sandbox::tokens::{KeyKind, SigningKey};
use serde_json::json;

use crate::support::node::{Script, installed};
use crate::support::{Folder, ORIGIN, Running, Scene, TestClock, free_port};

const OPAQUE: &str = "https://api.bank.example";
const JWT: &str = "https://api.bank.example/jwt";
/// The maximum delay until a route that caches introspection sees a revocation.
const MAX_AGE: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn tokens_of_a_certified_server_come_through_until_they_are_revoked() {
    let mut stage = Stage::set().await;
    proposed(&stage.issuer, &stage.folder);
    let mut client = stage.client.take().expect("the client has not ended");
    let origin = &stage.origin;
    for (name, token_type) in [("dpop-client", "dpop"), ("mtls-client", "bearer")] {
        for grant in ["code", "client_credentials"] {
            for (resource, format) in [(OPAQUE, "opaque"), (JWT, "jwt")] {
                let what = format!("{name} {grant} {format}");
                let got = client.ask(&json!({
                    "do": grant, "client": name, "token": what, "resource": resource, "scope": "accounts"
                }));
                assert_eq!((&got["token_type"], &got["format"]), (&json!(token_type), &json!(format)), "{what}: {got}");
                let paths = if format == "jwt" { &["/health"][..] } else { &INTROSPECTED };
                for path in paths {
                    stage.clock.catch_up();
                    let call = json!({ "do": "call", "token": what, "url": format!("{origin}{path}") });
                    let answer = client.ask(&call);
                    assert_eq!(answer["status"], 200, "{what} {path}: {answer}");
                    let mut stolen = call.clone();
                    stolen["thief"] = json!(true);
                    let answer = client.ask(&stolen);
                    assert_eq!(answer["status"], 401, "{what} {path}, stolen: {answer}");
                }
                if format == "opaque" {
                    revoked(&mut client, &stage.clock, origin, &what);
                }
            }
        }
    }
    stage.refuses_what_comes_with_access_tokens(&mut client);
    // A token for the other resource has another audience, whichever issuer validates it.
    let ask = json!({ "do": "code", "client": "dpop-client", "token": "other", "resource": JWT, "scope": "accounts" });
    assert_eq!(client.ask(&ask)["format"], "jwt");
    let answer = client.ask(&json!({ "do": "call", "token": "other", "url": format!("{origin}/accounts") }));
    assert_eq!((&answer["status"], &answer["errors"]), (&json!(401), &json!(["invalid_token"])), "{answer}");
    // Without the required scope.
    let ask =
        json!({ "do": "code", "client": "dpop-client", "token": "less", "resource": OPAQUE, "scope": "payments" });
    assert_eq!(client.ask(&ask)["format"], "opaque");
    let answer = client.ask(&json!({ "do": "call", "token": "less", "url": format!("{origin}/accounts") }));
    assert_eq!((&answer["status"], &answer["errors"]), (&json!(403), &json!(["insufficient_scope"])), "{answer}");
    assert!(client.end().is_empty());
    assert!(stage.server.end().is_empty());
}

/// The paths of routes that introspect: plain, signed with no cache, and by certificate.
const INTROSPECTED: [&str; 3] = ["/accounts", "/accounts/1001", "/accounts/1002"];

/// FAPI2-RS-05, INT-08: after revocation the route without a cache refuses at once, the others within their bound.
fn revoked(client: &mut Script, clock: &TestClock, origin: &str, token: &str) {
    assert_eq!(client.ask(&json!({ "do": "revoke", "token": token })), json!({ "do": "revoke" }));
    #[expect(clippy::disallowed_methods, reason = "the bound is in real time")]
    let revoked_at = Instant::now();
    let mut call = |path: &str| {
        clock.catch_up();
        client.ask(&json!({ "do": "call", "token": token, "url": format!("{origin}{path}") }))
    };
    let answer = call("/accounts/1001");
    assert_eq!((&answer["status"], &answer["errors"]), (&json!(401), &json!(["invalid_token"])), "{token}: {answer}");
    for path in ["/accounts", "/accounts/1002"] {
        loop {
            let called = revoked_at.elapsed();
            if call(path)["status"] != 200 {
                break;
            }
            assert!(called < MAX_AGE, "{token} {path} passes {called:?} after it was revoked");
        }
        assert_eq!(call(path)["errors"], json!(["invalid_token"]), "{token} {path}");
    }
}

/// `init` reads what the server publishes, and proposes settings that load.
fn proposed(issuer: &str, folder: &Folder) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fapi-gateway"));
    command.args(["init", "proposed", "--issuer", issuer, "--trust-anchors", "ca.pem"]).current_dir(folder.path());
    let output = command.env_remove("RUST_LOG").output().expect("the program runs");
    let printed = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !printed.contains("note:"), "{printed}");
    let made = folder.path().join("proposed");
    let config = Config::load(&made.join("gateway.yaml")).unwrap_or_else(|errors| panic!("{errors}"));
    assert_eq!(config.warnings, Vec::<String>::new());
    let yaml = std::fs::read_to_string(made.join("gateway.yaml")).expect("a configuration");
    let algorithms = yaml.lines().find(|line| line.contains("algorithms: ")).expect("the algorithms");
    assert!(algorithms.contains("[PS256, ES256, EdDSA]") && algorithms.ends_with("what its keys are for"), "{yaml}");
    let readme = std::fs::read_to_string(made.join("README.md")).expect("a page");
    assert!(readme.contains("/token") && !readme.contains("YOUR-TOKEN-ENDPOINT"), "{readme}");
}

/// The two scripts, and a gateway between them.
struct Stage {
    server: Script,
    client: Option<Script>,
    origin: String,
    clock: TestClock,
    gateway: Running,
    issuer: String,
    _accounts: AccountsApi,
    folder: Folder,
}

impl Stage {
    async fn set() -> Self {
        let authority = Authority::new("Test CA");
        let source = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/authorization_server"));
        let folder = installed(source, &["server.mjs", "client.mjs"]);
        let write = |name: &str, text: &str| folder.write(name, text).to_str().expect("a plain path").to_owned();
        let ca = write("ca.pem", &authority.pem());
        let server = authority.server(&["localhost", "127.0.0.1"]);
        let application = authority.client("mtls-client");
        let application = [
            write("application.pem", &application.certificate_pem()),
            write("application-key.pem", &application.key_pem()),
        ];
        let gateway_key = SigningKey::generate(KeyKind::Ps256, "gateway");
        let gateway = Authority::new("the gateway's own").client("gateway");
        let (chain, chain_key) = (gateway.certificate_pem(), gateway.key_pem());
        let application: Vec<&str> = application.iter().map(String::as_str).collect();
        let mut client = Script::start(&folder, "client.mjs", &application, Path::new(&ca));
        let client_jwks = client.hear().expect("the client reports its keys")["jwks"].clone();
        let configuration = json!({
            "certificate": write("server.pem", &server.certificate_pem()),
            "private_key": write("server-key.pem", &server.key_pem()),
            "client_ca": ca,
            "resources": { OPAQUE: "opaque", JWT: "jwt" },
            "client_jwks": client_jwks,
            "gateway_jwks": { "keys": [gateway_key.jwk()] },
            "gateway_certificate": write("gateway.pem", &chain),
        });
        let mut server = Script::start(&folder, "server.mjs", &[&configuration.to_string()], Path::new(&ca));
        let ready = server.hear().expect("the authorization server starts");
        let issuer = ready["issuer"].as_str().expect("an issuer");
        let answer = client.ask(&json!({ "do": "discover", "issuer": issuer }));
        assert_eq!(answer, json!({ "do": "discover" }));

        let accounts = AccountsApi::start(None, None).expect("the accounts API starts");
        let port = free_port();
        let origin = format!("https://localhost:{port}");
        let scene = Scene::new(&authority, issuer, accounts.address())
            .file("signing-key.pem", &gateway_key.private_key_pem())
            .file("chain.pem", &chain)
            .file("chain-key.pem", &chain_key)
            .replace("address: 127.0.0.1:0\n    origins", &format!("address: 127.0.0.1:{port}\n    origins"))
            .replace(&format!("[\"{ORIGIN}\"]"), &format!("[\"{origin}\"]"))
            .replace("limits:\n", &format!("{}limits:\n", introspecting(issuer)))
            .replace(
                &format!("audiences: [\"{OPAQUE}\"]\n    tokens: jwt"),
                &format!("audiences: [\"{JWT}\"]\n    tokens: jwt"),
            )
            .replace(ROUTE, ROUTES)
            .replace("    scopes: { any: [payments, accounts] }\n", "    scopes: [payments]\n    issuers: [bank]\n")
            .replace("    public: true\n", "    scopes: [accounts]\n    issuers: [bank]\n");
        // A proof made before the gateway started would be answered with a request for a nonce.
        let clock = TestClock::new();
        clock.set_back(60);
        let gateway = Running::start(scene, &clock).await;
        gateway.ready().await;
        clock.catch_up();
        let issuer = issuer.to_owned();
        Self { server, client: Some(client), origin, clock, gateway, issuer, _accounts: accounts, folder }
    }

    /// RFC 8725 §3.12: the holder of an access token sends the ID token or the refresh token of the same login instead, with
    /// the certificate or a proof, to a gateway that verifies tokens and to one that asks about them.
    fn refuses_what_comes_with_access_tokens(&self, client: &mut Script) {
        for name in ["dpop-client", "mtls-client"] {
            for (resource, path, codes) in [
                (JWT, "/health", ["token_type_wrong", "token_malformed"]),
                (OPAQUE, "/accounts", ["token_inactive", "token_claim_missing"]),
                (OPAQUE, "/accounts/1001", ["token_inactive", "token_claim_missing"]),
            ] {
                let what = format!("{name} {path}");
                let got = client.ask(&json!({
                    "do": "code", "client": name, "token": what, "resource": resource, "scope": "openid accounts"
                }));
                assert!(got["error"].is_null(), "{what}: {got}");
                let mut call = |instead: Option<&str>| {
                    self.clock.catch_up();
                    let mut call = json!({ "do": "call", "token": what, "url": format!("{}{path}", self.origin) });
                    if let Some(instead) = instead {
                        call["instead"] = json!(instead);
                    }
                    let answer = client.ask(&call);
                    let interaction = answer["interaction"].as_str().unwrap_or_else(|| panic!("{what}: {answer}"));
                    self.gateway.record(interaction)["code"].as_str().expect("a code").to_owned()
                };
                assert_eq!(call(None), "ok", "control of {what}");
                for (instead, code) in ["id_token", "refresh_token"].into_iter().zip(codes) {
                    assert_eq!(call(Some(instead)), code, "{what} {instead}");
                }
            }
        }
    }
}

/// Three issuers, one for each way of asking the authorization server.
fn introspecting(issuer: &str) -> String {
    let seconds = MAX_AGE.as_secs();
    let ways = [
        ("plain", "gateway", "private_key_jwt, private_key: signing-key.pem", "json"),
        ("signed", "gateway-signed", "private_key_jwt, private_key: signing-key.pem", "jwt"),
        (
            "certificate",
            "gateway-mtls",
            "self_signed_tls_client_auth, certificate: chain.pem, private_key: chain-key.pem",
            "json",
        ),
    ];
    ways.map(|(name, client_id, method, response)| {
        format!(
            "  - name: {name}\n    issuer: {issuer}\n    audiences: [\"{OPAQUE}\"]\n    tokens: introspection\n    \
             trust_anchors: [ca.pem]\n    introspection: {{ client_id: {client_id}, response: {response}, \
             authentication: {{ method: {method} }}, cache: {{ max_age: {seconds}s }} }}\n"
        )
    })
    .concat()
}

/// The usual route for accounts, up to its scopes.
const ROUTE: &str = "  - name: accounts
    path: /accounts/**
    methods: [GET, HEAD, POST]
    scopes: [accounts]
    upstream: accounts
";

const ROUTES: &str = "  - { name: signed, path: /accounts/1001, methods: [GET], scopes: [accounts], issuers: [signed], introspection_max_age: 0s, upstream: accounts }
  - { name: certificate, path: /accounts/1002, methods: [GET], scopes: [accounts], issuers: [certificate], upstream: accounts }
  - name: accounts
    path: /accounts/**
    methods: [GET, HEAD, POST]
    scopes: [accounts]
    issuers: [plain]
    upstream: accounts
";
