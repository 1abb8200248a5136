//! Glewlwyd, an independent authorization server in C, configured over its own administration API: PAR, PKCE,
//! `private_key_jwt` and mutual TLS, certificate-bound and DPoP-bound tokens.
//!
//! Needs glewlwyd, sqlite3 and node; without them the test fails. Of what docs/authorization-servers.md says about
//! Glewlwyd, this is where it was seen.

mod guarded;
mod server;

use http::Request;
use sandbox::accounts::AccountsApi;
use sandbox::pki::{Authority, Credential};
use sandbox::tokens::{KeyKind, Proof, SigningKey};
use serde_json::{Value, json};

use self::server::Server;
use crate::support::client::{self, Client};
use crate::support::node::Script;
use crate::support::{ORIGIN, Running, Scene, TestClock, dpop_request, free_ports, remember, request};

const API: &str = "https://api.bank.example";

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
}

impl Stage {
    async fn set(kind: KeyKind) -> Self {
        let authority = Authority::new("Test CA");
        let port = free_ports(1)[0];
        let server = Server::start(&authority, port, &format!("https://localhost:{port}"));
        let certificate = authority.client("client-1");
        let mut script = server.script(json!({
            "certificate": certificate.certificate_pem(),
            "private_key": certificate.key_pem(),
            "key": SigningKey::generate(kind, "one").private_key_pem(),
            "algorithm": kind.algorithm(),
            "resource": API,
        }));
        let configured = script.ask(&json!({ "do": "configure", "plugin": { "client-cert-source": "TLS" } }));
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
        Self { script, issuer, authority, certificate, holder, accounts, gateway, clock, _server: server }
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

fn text(answer: &Value, member: &str) -> String {
    remember(answer[member].as_str().unwrap_or_else(|| panic!("no {member}")).to_owned())
}
