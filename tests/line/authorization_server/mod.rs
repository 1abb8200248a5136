//! The gateway in front of an authorization server: what it lets in, and what it lets out.

mod answers;
mod client_keys;
mod pages;
mod registration;
mod replicas;
mod requests;
mod scripted;
mod shadow;

use std::collections::BTreeSet;

use bytes::Bytes;
use fapi::code::Code;
use http::{Request, Response};
use sandbox::keys::{KeyKind, Proof, SigningKey};
use serde_json::{Value, json};

use self::scripted::{Answer, Scripted};
use crate::support::client::Client;
use crate::support::{ORIGIN, Scene, World, remember};

/// The codes that only a request to an authorization server, or its answer, is refused with.
pub fn codes() -> BTreeSet<Code> {
    Code::ALL.iter().copied().filter(|code| (Code::ParameterRepeated..=Code::MetadataMismatch).contains(code)).collect()
}

const CLIENT: &str = "client-1";
const CALLBACK: &str = "https://client.example/callback";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const REQUEST_URI: &str = "urn:ietf:params:oauth:request_uri:1";

/// A gateway in front of a scripted server, and a client that is registered at both.
struct Stage {
    world: World,
    server: Scripted,
    /// What the client authenticates with.
    key: SigningKey,
    /// What it makes proofs with.
    proof_key: SigningKey,
    /// What a directory of software signs its statements with, in `directory.json`.
    directory: SigningKey,
}

impl Stage {
    async fn set() -> Self {
        Self::with(|section| section).await
    }

    /// With other settings in the section of the server.
    async fn with(adjust: impl FnOnce(String) -> String) -> Self {
        Self::in_scene(adjust, |scene| scene).await
    }

    /// With other settings in the section of the server, and around it.
    async fn in_scene(adjust: impl FnOnce(String) -> String, around: impl FnOnce(Scene) -> Scene) -> Self {
        Self::before(Scripted::start().await, adjust, around).await
    }

    /// Around a server that speaks HTTP/2.
    async fn over_http2() -> Self {
        let protocol = |scene: Scene| scene.replace("  as: { servers", "  as: { protocol: http2, servers");
        Self::before(Scripted::over_http2().await, |section| section, protocol).await
    }

    async fn before(
        server: Scripted,
        adjust: impl FnOnce(String) -> String,
        around: impl FnOnce(Scene) -> Scene,
    ) -> Self {
        let [key, resource_key, directory] =
            ["client", "resource", "directory"].map(|kid| SigningKey::generate(KeyKind::Es256, kid));
        let registered = |id: &str, key: &SigningKey| {
            json!({
                "client_id": id, "token_endpoint_auth_method": "private_key_jwt", "jwks": { "keys": [key.jwk()] },
                "redirect_uris": [CALLBACK],
                "grant_types": ["authorization_code", "refresh_token", "client_credentials"],
            })
        };
        let by_certificate = json!({
            "client_id": "client-mtls", "token_endpoint_auth_method": "tls_client_auth",
            "tls_client_auth_subject_dn": "CN=client-1", "redirect_uris": [CALLBACK],
        });
        let mut by_both = by_certificate.clone();
        by_both["client_id"] = json!("client-mtls-dpop");
        by_both["dpop_bound_access_tokens"] = json!(true);
        let section = adjust(SECTION.to_owned());
        let address = server.address();
        let world = World::with(|scene: Scene| {
            let scene = scene
                .file("clients/client-1.json", &registered(CLIENT, &key).to_string())
                .file("clients/client-2.json", &registered("client-2", &key).to_string())
                .file("clients/client-mtls.json", &by_certificate.to_string())
                .file("clients/client-mtls-dpop.json", &by_both.to_string())
                .file("resource-servers/bank.json", &registered("bank-api", &resource_key).to_string())
                .file("directory.json", &json!({ "keys": [directory.jwk()] }).to_string())
                .replace("routes:\n", &format!("  as: {{ servers: [\"http://{address}\"] }}\n{section}routes:\n"));
            around(scene)
        })
        .await;
        server.answers("/par", Answer::json(201, &json!({ "request_uri": REQUEST_URI, "expires_in": 60 })));
        server.answers("/authorize", Answer::redirect(303, "/login/1"));
        server.answers(
            "/login/1",
            Answer { status: 200, fields: vec![("content-type", "text/html".into())], body: "<p>".into() },
        );
        Self { world, server, key, proof_key: SigningKey::generate(KeyKind::Es256, "proof"), directory }
    }

    /// With the keys of the server, which are those of the world's issuer.
    async fn signing(adjust: impl FnOnce(String) -> String) -> Self {
        Self::in_scene(adjust, |scene| {
            let entry = format!(
                "  - {{ name: as, issuer: {ORIGIN}, audiences: [none], jwks_uri: {}/jwks, trust_anchors: [ca.pem] }}\n",
                scene.issuer()
            );
            scene.replace("limits:\n  header_bytes", &format!("{entry}limits:\n  header_bytes"))
        })
        .await
    }

    /// An assertion of this client with a fresh `jti`, with claims of its own.
    fn assertion(&self, client: &str, claims: &Value) -> String {
        self.assertion_by(&self.key, client, claims)
    }

    /// The same, signed with this key.
    fn assertion_by(&self, key: &SigningKey, client: &str, claims: &Value) -> String {
        let now = self.world.clock.now();
        let jti = uuid::Uuid::new_v4().to_string();
        let mut all = json!({
            "iss": client, "sub": client, "aud": ORIGIN, "jti": jti, "iat": now, "exp": now + 60
        });
        for (name, value) in claims.as_object().expect("an object") {
            all[name] = value.clone();
        }
        let header = json!({ "alg": "ES256", "typ": "JWT", "kid": key.kid() });
        remember(key.sign(&header, &all))
    }

    /// The parameters that authenticate `client-1`.
    fn authenticated(&self) -> Vec<(String, String)> {
        self.authenticated_with(&self.assertion(CLIENT, &json!({})))
    }

    fn authenticated_with(&self, assertion: &str) -> Vec<(String, String)> {
        owned(&[("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion)])
    }

    /// The parameters of a good request at the PAR endpoint.
    fn pushed(&self) -> Vec<(String, String)> {
        let asked = [
            ("client_id", CLIENT),
            ("response_type", "code"),
            ("redirect_uri", CALLBACK),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
            ("scope", "openid accounts"),
        ];
        [owned(&asked), self.authenticated()].concat()
    }

    /// The same as a request object, with claims of its own.
    fn pushed_object(&self, more: &Value) -> Vec<(String, String)> {
        let now = self.world.clock.now();
        let mut claims = json!({
            "iss": CLIENT, "client_id": CLIENT, "aud": ORIGIN, "nbf": now, "exp": now + 60, "response_type": "code",
            "response_mode": "jwt", "redirect_uri": CALLBACK, "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        });
        for (name, value) in more.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        let typ = claims["typ"].as_str().unwrap_or("oauth-authz-req+jwt").to_owned();
        let header = json!({ "alg": "ES256", "typ": typ, "kid": "client" });
        [owned(&[("request", &self.key.sign(&header, &claims))]), self.authenticated()].concat()
    }

    /// Those of a good request at the token endpoint.
    fn exchanged(&self) -> Vec<(String, String)> {
        let asked = [("grant_type", "authorization_code"), ("code", "the-code"), ("code_verifier", VERIFIER)];
        [owned(&asked), self.authenticated()].concat()
    }

    /// A proof for `POST path`.
    fn proof(&self, path: &str) -> String {
        Proof::new("POST", &format!("{ORIGIN}{path}"), self.world.clock.now()).sign(&self.proof_key)
    }

    /// A token that is bound to the proof key, as the server would issue it.
    fn bound_token(&self) -> String {
        let token = self.world.issuer.token(self.world.clock.now()).bound_to_key(self.proof_key.thumbprint());
        self.world.sign(&token)
    }

    /// Has the server answer token requests with this.
    fn answers_token(&self, token: &str, token_type: &str) {
        let answer = json!({ "access_token": token, "token_type": token_type, "expires_in": 300 });
        self.server.answers("/token", Answer::json(200, &answer));
    }

    fn client(&self) -> Client {
        self.world.anonymous()
    }

    async fn send(&self, request: Request<Bytes>) -> Response<Bytes> {
        self.client().send(request).await.expect("the gateway answers")
    }

    /// Sends a form without a certificate.
    async fn post(&self, path: &str, parameters: &[(String, String)], fields: &[(&str, &str)]) -> Response<Bytes> {
        self.send(posted(path, parameters, fields)).await
    }

    /// The code in the record of a response.
    fn code(&self, response: &Response<Bytes>) -> String {
        self.world.gateway.record_of(response)["code"].as_str().expect("a code").to_owned()
    }
}

/// The section with the profile of message signing.
fn message_signing(section: String) -> String {
    section.replace("    upstream: as\n", "    upstream: as\n    profile: fapi2-message-signing\n")
}

fn owned(parameters: &[(&str, &str)]) -> Vec<(String, String)> {
    parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// The same parameters, with one of them replaced, or left out by an empty value.
fn changed(parameters: &[(String, String)], name: &str, value: &str) -> Vec<(String, String)> {
    let others = parameters.iter().filter(|(other, _)| other != name).cloned();
    others.chain((!value.is_empty()).then(|| (name.to_owned(), value.to_owned()))).collect()
}

fn form(parameters: &[(String, String)]) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(parameters);
    form.finish()
}

fn posted(path: &str, parameters: &[(String, String)], fields: &[(&str, &str)]) -> Request<Bytes> {
    let mut request = Request::post(format!("{ORIGIN}{path}"));
    if !fields.iter().any(|(name, _)| *name == "content-type") {
        request = request.header("content-type", "application/x-www-form-urlencoded");
    }
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(form(parameters).into()).expect("a request")
}

fn body(response: &Response<Bytes>) -> Value {
    serde_json::from_slice(response.body()).unwrap_or_else(|error| panic!("{error}: {:?}", response.body()))
}

const SECTION: &str = "authorization_servers:
  - name: as
    issuer: https://localhost
    upstream: as
    endpoints:
      pushed_authorization_request: /par
      authorization: /authorize
      token: /token
      introspection: /introspect
      revocation: /revoke
      jwks: /jwks
    browser_paths: [/login/*]
    clients: { directory: clients }
    resource_servers: { directory: resource-servers }
    grant_types: [authorization_code, refresh_token, client_credentials]
    answers: { access_token_lifetime: 10m }
";
