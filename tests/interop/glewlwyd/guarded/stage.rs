//! A glewlwyd that is asked for nothing that FAPI asks for, and the gateway in front of it.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::{Request, Response};
use sandbox::pki::{Authority, Credential};
use sandbox::tokens::{KeyKind, Proof, SigningKey};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::server::Server;
use crate::interop::form::{Form, get, text};
use crate::support::client::{self, Client};
use crate::support::node::Script;
use crate::support::source::read;
use crate::support::{DEADLINE, Running, Scene, TestClock, day, free_ports, remember};

/// The resource for which the tokens are.
pub const RESOURCE: &str = "https://api.bank.example";
pub const CALLBACK: &str = "https://client.example/callback";
/// RFC 7636 appendix B.
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
/// Of the clients that have one, which glewlwyd accepts from `client` too.
pub const SECRET: &str = "a-secret-of-a-client-that-has-none-here";
/// The clients that sign assertions, which both know; the user has consented to all but the last.
const SIGNERS: [&str; 3] = ["client", "other-client", "new-client"];

/// Without it, no client of glewlwyd has an assertion that both take.
pub const AUDIENCE: &str = "client.assertion_audience";
pub const ISSUER: &str = "response.issuer";

pub struct Stage {
    pub origin: String,
    pub issuer: String,
    pub authority: Authority,
    pub certificate: Credential,
    /// What the tokens are bound to.
    pub holder: SigningKey,
    pub gateway: Running,
    /// Name and password of the user, as glewlwyd's own page sends them.
    pub user: Value,
    pub server: Server,
    port: u16,
    keys: BTreeMap<&'static str, SigningKey>,
    alone: Client,
    clock: TestClock,
    _script: Script,
}

impl Stage {
    /// With other parameters of glewlwyd's OIDC plugin than those that allow most.
    pub async fn set(plugin: Value) -> Self {
        let authority = Authority::new("Test CA");
        let ports = free_ports(2);
        let origin = format!("https://localhost:{}", ports[0]);
        let server = Server::start(&authority, ports[1], &origin);
        let keys: BTreeMap<_, _> = SIGNERS.map(|name| (name, SigningKey::generate(KeyKind::Es256, name))).into();
        let mut script = server.script(json!({
            "key": SigningKey::generate(KeyKind::Es256, "one").private_key_pem(),
            "algorithm": KeyKind::Es256.algorithm(),
            "resource": RESOURCE,
        }));
        let mut allowed = all_allowed();
        extend(&mut allowed, plugin);
        let configured = script.ask(&json!({
            "do": "configure",
            "clients": clients_of_glewlwyd(&keys),
            "consents": ["client", "other-client", "secret-client", "public-client"],
            "plugin": allowed,
        }));
        let issuer = configured["issuer"].as_str().unwrap_or_else(|| panic!("{configured}")).to_owned();

        let yaml = guard(ports[0], ports[1], &[AUDIENCE], "{}");
        let anywhere = ([127, 0, 0, 1], 0).into();
        let mut scene = Scene::new(&authority, &issuer, anywhere).rewrite(&yaml);
        for (name, key) in &keys {
            let document = json!({
                "client_id": name,
                "token_endpoint_auth_method": "private_key_jwt",
                "jwks": { "keys": [key.jwk()] },
                "redirect_uris": [CALLBACK],
                "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
            });
            scene = scene.file(&format!("clients/{name}.json"), &document.to_string());
        }
        let by_certificate = json!({
            "client_id": "mtls-client",
            "token_endpoint_auth_method": "tls_client_auth",
            "tls_client_auth_subject_dn": "CN=mtls-client",
            "redirect_uris": [CALLBACK],
            "grant_types": ["client_credentials"],
        });
        scene = scene.file("clients/mtls-client.json", &by_certificate.to_string());
        // What was signed before the gateway started is refused, so that it starts a minute ago.
        let clock = TestClock::new();
        clock.set_back(60);
        let gateway = Running::start(scene, &clock).await;
        gateway.ready().await;
        let alone = Client::new(([127, 0, 0, 1], ports[1]).into(), &authority).origin(&server.own_origin);
        Self {
            origin,
            issuer,
            certificate: authority.client("mtls-client"),
            authority,
            holder: SigningKey::generate(KeyKind::Es256, "proof"),
            gateway,
            user: configured["user"].clone(),
            server,
            port: ports[0],
            keys,
            alone,
            clock,
            _script: script,
        }
    }

    /// Reloads with these waivers and rules for answers; it is the reload with this number.
    pub async fn reload(&self, number: usize, waivers: &[&str], answers: &str) {
        let own_port = self.server.own_origin.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
        self.reload_as(number, &guard(self.port, own_port, waivers, answers)).await;
    }

    /// Reloads with another gateway.yaml.
    pub async fn reload_as(&self, number: usize, yaml: &str) {
        self.gateway.folder().write("gateway.yaml", yaml);
        let control = self.gateway.control();
        control.reload();
        tokio::time::timeout(DEADLINE, control.reloads(number)).await.expect("the reload ends");
        let metrics = self.gateway.admin("/metrics").await.1;
        assert!(metrics.contains("\nfapi_gateway_config_last_reload_success 1\n"), "{metrics}");
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    /// An endpoint of the OIDC plugin, where clients know it.
    pub fn endpoint(&self, path: &str) -> String {
        format!("{}{path}", self.issuer)
    }

    /// Whoever connects to the gateway without a certificate.
    pub fn anybody(&self) -> Client {
        Client::new(self.gateway.address(), &self.authority).origin(&self.origin)
    }

    /// What the gateway makes of a request: status, code, and the response.
    pub async fn judge(&self, request: Request<Bytes>) -> (u16, String, Response<Bytes>) {
        self.judge_from(&self.anybody(), request).await
    }

    pub async fn judge_from(&self, client: &Client, request: Request<Bytes>) -> (u16, String, Response<Bytes>) {
        self.clock.catch_up();
        let response = client.send(request).await.expect("the gateway answers");
        let record = self.gateway.record_of(&response);
        (response.status().as_u16(), record["code"].as_str().expect("a code").to_owned(), response)
    }

    /// What glewlwyd itself makes of a request to the gateway.
    pub async fn alone(&self, mut request: Request<Bytes>) -> Response<Bytes> {
        let path = request.uri().path_and_query().expect("a path").as_str().to_owned();
        *request.uri_mut() = self.alone.url(&path).parse().expect("a URL");
        self.alone.send(request).await.expect("glewlwyd answers")
    }

    /// A good authorization request of a client, without what authenticates it.
    pub fn request_of(&self, client: &str) -> Form {
        Form::default()
            .with("client_id", client)
            .with("response_type", "code")
            .with("redirect_uri", CALLBACK)
            .with("scope", "openid accounts")
            .with("resource", RESOURCE)
            .with("state", "a-state")
            .with("nonce", "a-nonce-of-an-application")
            .with("code_challenge", CHALLENGE)
            .with("code_challenge_method", "S256")
    }

    /// With an assertion of the client for this endpoint, which is what glewlwyd wants as its audience.
    pub fn authenticated(&self, client: &str, path: &str, form: Form) -> Form {
        self.signed(client, form, json!(self.endpoint(path)))
    }

    /// With an assertion of the client for this audience.
    pub fn signed(&self, client: &str, form: Form, audience: Value) -> Form {
        let now = client::now();
        let claims = json!({
            "iss": client, "sub": client, "aud": audience, "jti": Uuid::new_v4().to_string(), "iat": now, "exp": now + 60,
        });
        let key = &self.keys[client];
        let assertion = key.sign(&json!({ "alg": key.kind().algorithm(), "kid": key.kid() }), &claims);
        form.with("client_id", client)
            .with("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
            .with("client_assertion", &remember(assertion))
    }

    /// A proof of the holder for this endpoint.
    pub fn proof(&self, path: &str) -> String {
        Proof::new("POST", &self.endpoint(path), client::now()).sign(&self.holder)
    }

    pub fn token_request(&self, form: &Form, proof: Option<&str>) -> Request<Bytes> {
        let mut request = form.post(&self.endpoint("/token"));
        if let Some(proof) = proof {
            request.headers_mut().insert("dpop", proof.parse().expect("a field"));
        }
        request
    }

    /// Pushes a good request of a client, and returns its name.
    pub async fn pushed(&self, client: &str) -> String {
        let form = self.authenticated(client, "/par", self.request_of(client));
        let (status, code, response) = self.judge(form.post(&self.endpoint("/par"))).await;
        assert_eq!((status, &*code), (201, "ok"), "{}", text(&response));
        member(&response, "request_uri")
    }

    /// Logs the user in through the gateway, and returns the cookie of their session.
    pub async fn log_in(&self) -> String {
        let login = Request::post(self.url("/api/auth/")).header("content-type", "application/json");
        let login = login.body(self.user.to_string().into()).expect("a request");
        let (status, code, response) = self.judge(login).await;
        assert_eq!((status, &*code), (200, "ok"), "{}", text(&response));
        let cookie = response.headers()["set-cookie"].to_str().expect("text");
        cookie.split(';').next().expect("a cookie").to_owned()
    }

    /// What a browser brings to the authorization endpoint once its user has gone through the pages; `g_continue`, by which
    /// glewlwyd knows that, has no value.
    pub fn visit(&self, query: &Form, session: &str) -> Request<Bytes> {
        let mut request = get(&format!("{}?{}&g_continue", self.endpoint("/auth"), query.encoded()));
        request.headers_mut().insert("cookie", session.parse().expect("a field"));
        request
    }

    /// What a client gives the browser for a pushed request.
    pub fn reference(&self, client: &str, request_uri: &str) -> Form {
        Form::default().with("client_id", client).with("request_uri", request_uri)
    }

    /// A code for a client, which its user has allowed through the gateway.
    pub async fn code(&self, client: &str, session: &str) -> String {
        let reference = self.reference(client, &self.pushed(client).await);
        let (status, code, response) = self.judge(self.visit(&reference, session)).await;
        assert_eq!((status, &*code), (302, "ok"), "{}", text(&response));
        parameter(&location(&response), "code").expect("a code")
    }

    /// A good token request of a client with such a code.
    pub fn exchange(&self, client: &str, code: &str) -> Form {
        let form = Form::default()
            .with("grant_type", "authorization_code")
            .with("code", code)
            .with("redirect_uri", CALLBACK)
            .with("code_verifier", VERIFIER)
            .with("resource", RESOURCE);
        self.authenticated(client, "/token", form)
    }
}

/// All that FAPI forbids and glewlwyd has.
fn all_allowed() -> Value {
    json!({
        "auth-type-token-enabled": true,
        "auth-type-implicit-enabled": true,
        "auth-type-none-enabled": true,
        "auth-type-password-enabled": true,
        "auth-type-device-enabled": true,
        "pkce-required": false,
        "pkce-method-plain-allowed": true,
        "oauth-par-required": false,
        "access-token-duration": 7200,
        "code-duration": 600,
        // With it, an assertion has to have a claim that no standard asks for.
        "oauth-fapi-verify-nbf": false,
    })
}

/// Its clients: those that both know, and those that FAPI has none like.
fn clients_of_glewlwyd(keys: &BTreeMap<&'static str, SigningKey>) -> Vec<Value> {
    let types = ["code", "token", "id_token", "password", "client_credentials", "refresh_token"];
    let mut clients: Vec<Value> = keys
        .iter()
        .map(|(name, key)| {
            json!({
                "client_id": name,
                "token_endpoint_auth_method": ["private_key_jwt", "client_secret_post", "client_secret_basic"],
                "client_secret": SECRET,
                "jwks": { "keys": [key.jwk()] },
                "authorization_type": types,
            })
        })
        .collect();
    clients.extend([
        json!({
            "client_id": "secret-client",
            "token_endpoint_auth_method": ["client_secret_post", "client_secret_basic"],
            "client_secret": SECRET,
            "authorization_type": types,
        }),
        json!({
            "client_id": "public-client",
            "token_endpoint_auth_method": ["none"],
            "confidential": false,
            "authorization_type": types,
        }),
        json!({
            "client_id": "mtls-client",
            "token_endpoint_auth_method": ["tls_client_auth"],
            "tls_client_auth_subject_dn": "CN=mtls-client",
        }),
    ]);
    clients
}

fn guard(port: u16, own_port: u16, waivers: &[&str], answers: &str) -> String {
    let until = day(client::now() + 24 * 60 * 60);
    let reason = "glewlwyd takes no assertion whose audience is the issuer, and can leave out iss";
    let waived = waivers.iter().map(|rule| {
        format!("  - {{ rule: {rule}, authorization_server: glewlwyd, reason: \"{reason}\", until: {until} }}\n")
    });
    let waived: String = waived.collect();
    let waivers = if waived.is_empty() { String::new() } else { format!("waivers:\n{waived}") };
    let section = on_the_page().replace("https://as.bank.example", &format!("https://localhost:{port}"));
    format!(
        r#"profile: fapi2-security
listeners:
  - address: 127.0.0.1:{port}
    origins: ["https://localhost:{port}"]
    tls:
      certificate: server.pem
      private_key: server-key.pem
      client_certificates: {{ mode: optional, trust: chain, trust_anchors: [ca.pem] }}
admin: {{ address: "127.0.0.1:0" }}
reload: {{ watch: 0s }}
drain: {{ delay: 0s, timeout: 2s }}
upstreams:
  glewlwyd: {{ servers: ["https://127.0.0.1:{own_port}"], tls: {{ trust_anchors: [ca.pem] }}, response_timeout: 5s }}
{waivers}authorization_servers:
{section}    grant_types: [authorization_code, refresh_token, client_credentials]
    answers: {answers}
"#
    )
}

/// The settings that docs/authorization-servers.md has.
fn on_the_page() -> String {
    let page = read("docs/authorization-servers.md");
    let (_, rest) = page.split_once("```yaml\nauthorization_servers:\n").expect("settings");
    let (section, waivers) = rest.split_once("waivers:\n").expect("a waiver");
    assert!(waivers.contains(AUDIENCE), "the page has the waiver that is needed");
    section.to_owned()
}

fn extend(document: &mut Value, members: Value) {
    let (Value::Object(document), Value::Object(members)) = (document, members) else { panic!("two objects") };
    document.extend(members);
}

/// A text of an answer in JSON.
pub fn member(response: &Response<Bytes>, name: &str) -> String {
    let body = json_of(response);
    remember(body[name].as_str().unwrap_or_else(|| panic!("no {name}: {body}")).to_owned())
}

pub fn json_of(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap_or_else(|error| panic!("{error}: {}", text(response)))
}

pub fn location(response: &Response<Bytes>) -> String {
    response.headers()["location"].to_str().expect("text").to_owned()
}

/// A parameter in the query of a URL.
pub fn parameter(url: &str, name: &str) -> Option<String> {
    let (_, query) = url.split_once('?')?;
    let mut all = form_urlencoded::parse(query.as_bytes());
    all.find_map(|(known, value)| (known == name).then(|| value.into_owned()))
}

/// What a JWT says, whoever signed it.
pub fn claims_of(token: &str) -> Value {
    let payload = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    serde_json::from_slice(&payload.expect("a JWT")).expect("JSON")
}

/// RFC 7617 §2.
pub fn basic_field(client: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{client}:{SECRET}")))
}
