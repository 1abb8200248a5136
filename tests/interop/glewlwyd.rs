//! Glewlwyd, an independent authorization server in C, configured over its own administration API: PAR, PKCE,
//! `private_key_jwt` and mutual TLS, certificate-bound and DPoP-bound tokens.
//!
//! Needs glewlwyd, sqlite3 and node; without them the test fails. Of what docs/authorization-servers.md says about
//! Glewlwyd, this is where it was seen.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;

use http::Request;
use sandbox::accounts::AccountsApi;
use sandbox::pki::{Authority, Credential};
use sandbox::tokens::{KeyKind, Proof, SigningKey};
use serde_json::{Value, json};

use crate::support::client::{self, Client};
use crate::support::node::Script;
use crate::support::tools::tool;
use crate::support::{
    DEADLINE, Folder, ORIGIN, Running, Scene, TestClock, dpop_request, free_ports, remember, request,
};

const API: &str = "https://api.bank.example";
/// What Debian's package fills a new database with, the administrator included.
const DATABASE: &str = "/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3";
const PASSWORD: &str = "password";

#[tokio::test(flavor = "multi_thread")]
async fn access_tokens_of_glewlwyd_come_through_and_nothing_else_that_it_issues() {
    for kind in [KeyKind::Ps256, KeyKind::Es256] {
        let mut stage = Stage::set(kind).await;
        for name in ["dpop-client", "mtls-client"] {
            for grant in ["code", "client_credentials"] {
                stage.tokens_of(name, grant).await;
            }
        }
        assert!(stage.script.end().is_empty());
    }
}

/// Glewlwyd, a client of it, and a gateway that knows it by its issuer identifier alone.
struct Stage {
    script: Script,
    issuer: String,
    authority: Authority,
    certificate: Credential,
    holder: SigningKey,
    accounts: AccountsApi,
    gateway: Running,
    clock: TestClock,
    _server: Server,
    _folder: Folder,
}

impl Stage {
    async fn set(kind: KeyKind) -> Self {
        let (authority, folder) = (Authority::new("Test CA"), Folder::new());
        let write = |name: &str, text: &str| folder.write(name, text).to_str().expect("a plain path").to_owned();
        let ca = write("ca.pem", &authority.pem());
        let server = authority.server(&["localhost", "127.0.0.1"]);
        let (chain, key) = (write("server.pem", &server.certificate_pem()), write("key.pem", &server.key_pem()));
        let port = free_ports(1)[0];
        let configuration = format!(
            r#"port={port}
bind_address="127.0.0.1"
external_url="https://localhost:{port}"
api_prefix="api"
log_mode="console"
log_level="INFO"
cookie_secure=1
admin_scope="g_admin"
profile_scope="g_profile"
user_module_path="/usr/lib/glewlwyd/user"
client_module_path="/usr/lib/glewlwyd/client"
user_auth_scheme_module_path="/usr/lib/glewlwyd/scheme"
plugin_module_path="/usr/lib/glewlwyd/plugin"
use_secure_connection=true
secure_connection_key_file="{key}"
secure_connection_pem_file="{chain}"
secure_connection_ca_file="{ca}"
hash_algorithm="SHA512"
database={{ type="sqlite3"; path="{database}"; }};
"#,
            database = folder.path().join("glewlwyd.db").display()
        );
        let server = Server::start(&folder, &configuration);
        let certificate = authority.client("client-1");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/glewlwyd/client.mjs");
        std::fs::copy(source, folder.path().join("client.mjs")).expect("the script");
        let configuration = json!({
            "origin": format!("https://localhost:{port}"),
            "password": PASSWORD,
            "certificate": write("client.pem", &certificate.certificate_pem()),
            "private_key": write("client-key.pem", &certificate.key_pem()),
            "key": SigningKey::generate(kind, "one").private_key_pem(),
            "algorithm": kind.algorithm(),
            "resource": API,
        });
        let mut script = Script::start(&folder, "client.mjs", &[&configuration.to_string()], Path::new(&ca));
        let configured = script.ask(&json!({ "do": "configure" }));
        let issuer = configured["issuer"].as_str().unwrap_or_else(|| panic!("{configured}")).to_owned();

        let accounts = AccountsApi::start(None, None).expect("the accounts API starts");
        let scene = Scene::new(&authority, &issuer, accounts.address());
        // A proof made before the gateway started would be answered with a request for a nonce.
        let clock = TestClock::new();
        clock.set_back(60);
        let gateway = Running::start(scene, &clock).await;
        gateway.ready().await;
        clock.catch_up();
        let holder = SigningKey::generate(KeyKind::Es256, "proof");
        Self {
            script,
            issuer,
            authority,
            certificate,
            holder,
            accounts,
            gateway,
            clock,
            _server: server,
            _folder: folder,
        }
    }

    async fn tokens_of(&mut self, name: &str, grant: &str) {
        let what = format!("{name} {grant}");
        let openid = if grant == "code" { "openid " } else { "" };
        let granted = self.ask(name, grant, Some(API), &format!("{openid}accounts"));
        let token = text(&granted, "access_token");
        assert_eq!(self.call(name, &token, true).await, "ok", "{what}");
        let seen = self.accounts.requests().pop().expect("it was forwarded");
        assert_eq!(seen.header("x-token-client-id"), Some(name), "{what}");
        assert_eq!(seen.header("x-token-scope"), Some(&*format!("{openid}accounts")), "{what}");
        let stolen = if name == "dpop-client" { "dpop_key_mismatch" } else { "certificate_missing" };
        assert_eq!(self.call(name, &token, false).await, stolen, "{what}, stolen");

        if grant == "code" {
            for (other, code) in [("id_token", "token_type_wrong"), ("refresh_token", "token_malformed")] {
                assert_eq!(self.call(name, &text(&granted, other), true).await, code, "{what} {other}");
            }
        }
        // Without `resource`, `aud` is the list of scopes.
        let other = text(&self.ask(name, grant, None, &format!("{openid}accounts")), "access_token");
        assert_eq!(self.call(name, &other, true).await, "token_audience_mismatch", "{what} without a resource");
        let less = text(&self.ask(name, grant, Some(API), &format!("{openid}payments")), "access_token");
        assert_eq!(self.call(name, &less, true).await, "scope_insufficient", "{what} without the scope");

        // Why it cannot be asked about its tokens: it answers only the client that a token was issued to, and takes no
        // assertion whose audience is the issuer.
        let mut ask = |client: &str, audience: Option<&str>| {
            let mut command = json!({ "do": "introspect", "client": client, "token": token });
            if let Some(audience) = audience {
                command["audience"] = json!(audience);
            }
            self.script.ask(&command)
        };
        let own = ask(name, None);
        assert_eq!((&own["status"], &own["answer"]["active"]), (&json!(200), &json!(true)), "{what}: {own}");
        assert_eq!(ask("gateway", None)["answer"], json!({ "active": false }), "{what}");
        if name == "dpop-client" {
            assert_eq!(ask(name, Some(&self.issuer))["status"], 401, "{what}");
        }
    }

    /// What the token endpoint answers.
    fn ask(&mut self, name: &str, grant: &str, resource: Option<&str>, scope: &str) -> Value {
        let mut command = json!({ "do": grant, "client": name, "scope": scope });
        if let Some(resource) = resource {
            command["resource"] = json!(resource);
        }
        if name == "dpop-client" {
            let proof =
                |path: &str| Proof::new("POST", &format!("{}{path}", self.issuer), client::now()).sign(&self.holder);
            command["proofs"] = json!({ "/par": proof("/par"), "/token": proof("/token") });
        }
        let answer = self.script.ask(&command);
        let expected = if name == "dpop-client" { "DPoP" } else { "bearer" };
        assert_eq!(answer["token_type"], expected, "{name} {grant}: {}", answer["error"]);
        answer
    }

    /// The code for a token, from its holder or from a thief; nothing that is refused reaches the upstream.
    async fn call(&self, name: &str, token: &str, holds: bool) -> String {
        self.clock.catch_up();
        let anonymous = Client::new(self.gateway.address(), &self.authority).origin(ORIGIN);
        let (client, call): (Client, Request<_>) = match (name, holds) {
            ("mtls-client", true) => (anonymous.certificate(&self.certificate), request("/accounts", token)),
            ("mtls-client", false) => (anonymous, request("/accounts", token)),
            (_, holds) => {
                let thief = SigningKey::generate(KeyKind::Es256, "thief");
                let proof = Proof::new("GET", &format!("{ORIGIN}/accounts"), self.clock.now()).for_token(token);
                let proof = proof.sign(if holds { &self.holder } else { &thief });
                (anonymous, dpop_request("/accounts", token, &proof))
            }
        };
        let before = self.accounts.server().heads();
        let response = client.send(call).await.expect("the gateway answers");
        let record = self.gateway.record_of(&response);
        let code = record["code"].as_str().expect("a code").to_owned();
        assert_eq!(self.accounts.server().heads() - before, usize::from(code == "ok"), "{record}");
        code
    }
}

/// Glewlwyd itself. It is stopped when the value is dropped, whatever the test did.
struct Server(Child);

impl Server {
    /// Returns once it listens.
    fn start(folder: &Folder, configuration: &str) -> Self {
        let tables = std::fs::File::open(DATABASE).unwrap_or_else(|error| panic!("{DATABASE}: {error}"));
        let filled = tool("sqlite3").arg(folder.path().join("glewlwyd.db")).stdin(tables).status();
        assert!(filled.expect("sqlite3 runs").success());
        let path = folder.write("glewlwyd.conf", configuration);
        let mut glewlwyd = tool("glewlwyd");
        glewlwyd.arg(format!("--config-file={}", path.display())).stdin(Stdio::null());
        let mut child = glewlwyd.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("glewlwyd runs");
        let log = BufReader::new(child.stdout.take().expect("piped"));
        let (started, listens) = mpsc::channel();
        // Reads the log to its end, so that the server never waits for a reader.
        std::thread::spawn(move || {
            for line in log.lines().map_while(Result::ok) {
                if line.contains("Glewlwyd started on port") {
                    let _ = started.send(());
                }
            }
        });
        let server = Self(child);
        listens.recv_timeout(DEADLINE).expect("glewlwyd listens");
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn text(answer: &Value, member: &str) -> String {
    remember(answer[member].as_str().unwrap_or_else(|| panic!("no {member}")).to_owned())
}
