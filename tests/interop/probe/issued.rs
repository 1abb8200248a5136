//! Tokens of a certified authorization server: the probe asks for them as a client does, and has one revoked.

use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::OnceLock;
use std::time::Duration;

use probe::authorization::{Authentication, Grant, Server, Source};
use probe::plan::Plan;
use probe::report::Verdict;
use probe::settings::{Nonce, Revoke, Settings};
use sandbox::accounts::AccountsApi;
use sandbox::tokens::{KeyKind, SigningKey, jwks};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::world::{World, found, probed};
use crate::support::node::{Script, installed};
use crate::support::program::Program;
use crate::support::tools::tool;
use crate::support::{Folder, free_ports};

const RESOURCE: &str = "https://api.bank.example";
const CALLBACK: &str = "https://client.example/callback";

/// The authorization server, and a gateway that asks it about each token.
struct Stage {
    world: World,
    port: u16,
    issuer: String,
    _server: Script,
    _gateway: Program,
    _accounts: AccountsApi,
    _folder: Folder,
    _runtime: Runtime,
}

impl Stage {
    fn start() -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let entered = runtime.enter();
        let accounts = AccountsApi::start(None, None).expect("it starts");
        drop(entered);
        let mut world = World::new();
        world.clients = ["mtls-client", "mtls-client-2"].map(|name| world.authority.client(name));
        let source = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/authorization_server"));
        let folder = installed(source, &["server.mjs"]);
        let gateway_key = SigningKey::generate(KeyKind::Ps256, "gateway");
        world.file("gateway-key.pem", &gateway_key.private_key_pem());
        let configuration = json!({
            "certificate": world.path("server.pem"),
            "private_key": world.path("server-key.pem"),
            "client_ca": world.path("ca.pem"),
            "resources": { RESOURCE: "opaque" },
            "client_jwks": jwks(&[&world.proof_keys[0], &world.proof_keys[1]]),
            "gateway_jwks": jwks(&[&gateway_key]),
            "gateway_certificate": world.path("server.pem"),
        });
        let mut server = Script::start(&folder, "server.mjs", &[&configuration.to_string()], &world.path("ca.pem"));
        let ready: Value = server.hear().expect("the authorization server starts");
        let issuer = ready["issuer"].as_str().expect("an issuer").to_owned();
        let [port, admin] = free_ports(2)[..] else { unreachable!("two ports were asked for") };
        world.file(
            "gateway.yaml",
            &format!(
                "profile: fapi2-security\n\
                 listeners:\n  \
                   - address: 127.0.0.1:{port}\n    \
                     origins: [\"https://localhost:{port}\"]\n    \
                     tls:\n      \
                       certificate: server.pem\n      \
                       private_key: server-key.pem\n      \
                       client_certificates: {{ mode: optional, trust_anchors: [ca.pem] }}\n\
                 admin: {{ address: \"127.0.0.1:{admin}\" }}\n\
                 issuers:\n  \
                   - name: bank\n    \
                     issuer: \"{issuer}\"\n    \
                     audiences: [\"{RESOURCE}\"]\n    \
                     tokens: introspection\n    \
                     trust_anchors: [ca.pem]\n    \
                     introspection:\n      \
                       client_id: gateway\n      \
                       authentication: {{ method: private_key_jwt, private_key: gateway-key.pem }}\n      \
                       cache: {{ max_age: 1s }}\n\
                 upstreams: {{ api: {{ servers: [\"http://{}\"] }} }}\n\
                 routes:\n  \
                   - {{ name: api, path: /**, methods: [GET, HEAD], scopes: [accounts], upstream: api }}\n",
                accounts.address()
            ),
        );
        let mut gateway = Program::run(&world.folder);
        gateway.ready();
        Self {
            world,
            port,
            issuer,
            _server: server,
            _gateway: gateway,
            _accounts: accounts,
            _folder: folder,
            _runtime: runtime,
        }
    }

    fn settings(&self, plan: Plan, clients: &str, authentication: Authentication, grant: Grant) -> Settings {
        let mut settings = self.world.settings(self.port);
        settings.plans = vec![plan];
        for (client, suffix) in settings.clients.iter_mut().zip(["", "-2"]) {
            client.client_id = format!("{clients}{suffix}");
        }
        settings.claims.certificate = plan == Plan::Fapi2Mtls;
        settings.claims.dpop = plan == Plan::Fapi2Dpop;
        settings.claims.metadata = false;
        settings.claims.nonce = Nonce::Sometimes;
        settings.claims.revocation = Some(Duration::from_secs(3));
        settings.issuer = None;
        settings.revoke = Some(Revoke::Endpoint);
        settings.source = Source::Server(Box::new(Server {
            issuer: self.issuer.clone(),
            token_endpoint: None,
            par_endpoint: None,
            authorization_endpoint: None,
            revocation_endpoint: None,
            authentication,
            grant,
            resource: Some(RESOURCE.to_owned()),
            roots: settings.target.roots.clone(),
            metadata: OnceLock::new(),
        }));
        settings
    }
}

/// Nothing is found, and what needs a token of its own had one.
fn passes(settings: &Settings) {
    let report = probed(settings, &[]);
    assert_eq!(found(&report), Vec::new());
    let passed = |name: &str| report.modules.iter().any(|one| one.name == name && one.verdict == Verdict::Pass);
    assert!(passed("token-revoked") && passed("token-new"), "{:#?}", report.modules);
    assert!(report.count(Verdict::Pass) > 40, "{}", report.count(Verdict::Pass));
}

#[test]
fn clients_with_certificates_get_tokens_for_themselves() {
    let stage = Stage::start();
    passes(&stage.settings(Plan::Fapi2Mtls, "mtls-client", Authentication::TlsClientAuth, Grant::ClientCredentials));
}

#[test]
fn clients_with_keys_get_tokens_for_a_person_who_logs_in() {
    let stage = Stage::start();
    let (jar, ca) = (stage.world.path("cookies"), stage.world.path("ca.pem"));
    let grant = Grant::Code { redirect_uri: CALLBACK.to_owned(), visit: Box::new(move |url| browsed(url, &jar, &ca)) };
    passes(&stage.settings(Plan::Fapi2Dpop, "dpop-client", Authentication::PrivateKeyJwt, grant));
}

/// Follows redirections with cookies, as the browser of the one user does, who is logged in and consents to everything.
fn browsed(url: &str, jar: &PathBuf, ca: &PathBuf) -> Result<String, String> {
    let mut url = url.to_owned();
    for _ in 0..10 {
        if url.starts_with(CALLBACK) {
            return Ok(url);
        }
        let mut curl = tool("curl");
        curl.args(["--silent", "--output", "/dev/null", "--write-out", "%{redirect_url}", "--cookie-jar"]).arg(jar);
        let Output { stdout, .. } =
            curl.arg("--cookie").arg(jar).arg("--cacert").arg(ca).arg(&url).output().expect("curl");
        url = String::from_utf8_lossy(&stdout).into_owned();
    }
    Err(format!("the browser ended on {url}"))
}
