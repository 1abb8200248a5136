//! An authorization server over TLS: metadata (RFC 8414 and OpenID Connect Discovery), a key set, introspection (RFC
//! 7662), plain, signed, or signed and encrypted (RFC 9701), and revocation (RFC 7009). It has no token endpoint;
//! [`AuthorizationServer::token`] and [`AuthorizationServer::issue`] make tokens.
//!
//! The response of each path can be replaced, to simulate an issuer that misbehaves.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fapi::jose::jwe::{EncryptionKey, encrypt};
use http::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode};
use jsonwebtoken::{DecodingKey, Validation};
use rustls::ServerConfig;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::https::{Answer, HttpServer, Recorded};
use crate::keys::{KeyKind, SigningKey};
use crate::now;
use crate::pki::{Authority, Credential};
use crate::tls::danger_tls_config_with_any_client;
use crate::tokens::AccessToken;

/// The server, its signing keys and its scripts. Dropping it stops it.
#[derive(Debug)]
pub struct AuthorizationServer {
    server: HttpServer,
    issuer: String,
    keys: HashMap<KeyKind, SigningKey>,
    rotations: usize,
    answers: Arc<Mutex<Answers>>,
}

/// How a resource server authenticates at the introspection endpoint.
#[derive(Debug)]
pub enum ResourceServer {
    /// With assertions signed by this key (RFC 7523).
    Key(SigningKey),
    /// With this certificate (RFC 8705 §2.2).
    Certificate(Credential),
}

impl AuthorizationServer {
    /// The default audience of its tokens.
    pub const AUDIENCE: &str = "https://api.bank.example";
    /// RFC 8414 §3.1, for an issuer without a path.
    pub const METADATA: &str = "/.well-known/oauth-authorization-server";
    /// OpenID Connect Discovery 1.0 §4.
    pub const OPENID_CONFIGURATION: &str = "/.well-known/openid-configuration";
    /// The path of `jwks_uri`.
    pub const JWKS: &str = "/jwks";
    /// The path of `introspection_endpoint`.
    pub const INTROSPECTION: &str = "/introspect";
    /// Its alias in `mtls_endpoint_aliases` (RFC 8705 §5).
    pub const INTROSPECTION_BY_CERTIFICATE: &str = "/mtls/introspect";
    /// The path of `revocation_endpoint`; any client with a certificate may revoke.
    pub const REVOCATION: &str = "/revoke";

    /// A server for `localhost` on a free port, with a certificate from `authority` and one key of each kind.
    ///
    /// It requests a client certificate, accepts any or none, and records it. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// No port can be bound.
    pub fn start(authority: &Authority) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let issuer = format!("https://localhost:{}", listener.local_addr()?.port());
        let keys = KeyKind::ALL.map(|kind| SigningKey::generate(kind, &kid(kind, 0)));
        let tls = danger_tls_config_with_any_client(&authority.server(&["localhost"]));
        Self::serve(listener, tls, issuer, keys)
    }

    /// A server for this issuer on this listener, which is reached under its name, with this key and, of the other kinds,
    /// new ones. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The listener cannot be used.
    pub fn start_with(
        listener: TcpListener,
        tls: Arc<ServerConfig>,
        issuer: &str,
        key: SigningKey,
    ) -> io::Result<Self> {
        let others = KeyKind::ALL.into_iter().filter(|kind| *kind != key.kind());
        let keys: Vec<_> = others.map(|kind| SigningKey::generate(kind, &kid(kind, 0))).chain([key.clone()]).collect();
        Self::serve(listener, tls, issuer.to_owned(), keys)
    }

    fn serve(
        listener: TcpListener,
        tls: Arc<ServerConfig>,
        issuer: String,
        keys: impl IntoIterator<Item = SigningKey>,
    ) -> io::Result<Self> {
        let keys: HashMap<_, _> = keys.into_iter().map(|key| (key.kind(), key)).collect();
        let answers = Arc::new(Mutex::new(Answers {
            metadata: metadata(&issuer),
            jwks: key_set(&keys),
            keys: keys.clone(),
            issuer: issuer.clone(),
            tokens: HashMap::new(),
            resource_servers: HashMap::new(),
            assertions: HashSet::new(),
            encryption_key: None,
            clock: Clock(Box::new(now)),
            scripts: HashMap::new(),
        }));
        let handler = {
            let answers = Arc::clone(&answers);
            Arc::new(move |request: Recorded| answer(&answers, &request))
        };
        let server = HttpServer::start(Some(listener), Some(tls), handler)?;
        Ok(Self { server, issuer, keys, rotations: 0, answers })
    }

    /// The issuer identifier: `https://localhost:PORT`.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The issuer, followed by `path`.
    pub fn url(&self, path: &str) -> String {
        self.server.url(path)
    }

    /// The current key of that kind, which is in the key set.
    pub fn key(&self, kind: KeyKind) -> &SigningKey {
        self.keys.get(&kind).expect("the server is made with a key of each kind")
    }

    /// Replaces the key of that kind, also in the key set, with one that has another `kid`; returns the former key.
    pub fn rotate(&mut self, kind: KeyKind) -> SigningKey {
        self.rotations += 1;
        let key = SigningKey::generate(kind, &kid(kind, self.rotations));
        let former = self.keys.insert(kind, key).expect("the server is made with a key of each kind");
        let mut answers = lock(&self.answers);
        answers.jwks = key_set(&self.keys);
        answers.keys = self.keys.clone();
        former
    }

    /// A good access token of this issuer for [`Self::AUDIENCE`], to be bound and signed.
    pub fn token(&self, now: u64) -> AccessToken {
        AccessToken::new(&self.issuer, Self::AUDIENCE, now)
    }

    /// Uses this clock instead of the wall clock.
    pub fn keep_time(&self, clock: impl Fn() -> u64 + Send + Sync + 'static) {
        lock(&self.answers).clock = Clock(Box::new(clock));
    }

    /// An opaque token with the same claims; introspection reports it as active until it is revoked.
    pub fn issue(&self, token: &AccessToken) -> String {
        let opaque = format!("opaque-{}", Uuid::new_v4().simple());
        self.know(&opaque, token);
        opaque
    }

    /// Makes introspection respond to `presented` with the claims of `token`.
    pub fn know(&self, presented: &str, token: &AccessToken) {
        lock(&self.answers).tokens.insert(presented.to_owned(), token.claims());
    }

    /// Makes introspection respond that the token is not active from now on.
    pub fn revoke(&self, presented: &str) {
        lock(&self.answers).tokens.remove(presented);
    }

    /// Allows a resource server to introspect tokens.
    pub fn register(&self, client_id: &str, resource_server: ResourceServer) {
        lock(&self.answers).resource_servers.insert(client_id.to_owned(), resource_server);
    }

    /// Encrypts signed responses for this key from now on, or no longer.
    pub fn encrypt_for(&self, key: Option<EncryptionKey>) {
        lock(&self.answers).encryption_key = key;
    }

    /// The metadata as served without a script, as a base for one.
    pub fn metadata(&self) -> Value {
        metadata(&self.issuer)
    }

    /// The key set as served without a script.
    pub fn jwks(&self) -> Value {
        lock(&self.answers).jwks.clone()
    }

    /// Replaces the responses of a path: with one [`Answer`], with a sequence whose last one is repeated, or with a
    /// [`Script::Function`].
    pub fn script(&self, path: &str, script: impl Into<Script>) {
        lock(&self.answers).scripts.insert(path.to_owned(), script.into());
    }

    /// Restores the default responses of a path.
    pub fn unscript(&self, path: &str) {
        lock(&self.answers).scripts.remove(path);
    }

    /// Every request so far, in order.
    pub fn requests(&self) -> Vec<Recorded> {
        self.server.requests()
    }

    /// How many requests for that path, whatever the query, arrived so far.
    pub fn requests_to(&self, path: &str) -> usize {
        count(&self.server.requests(), path)
    }

    /// Waits for that many requests for a path, counted from the start or the last [`AuthorizationServer::clear`].
    ///
    /// # Errors
    /// The requests that did arrive, if there are fewer within `deadline`.
    pub async fn wait_for(&self, path: &str, requests: usize, deadline: Duration) -> Result<(), Vec<Recorded>> {
        self.server.wait_until(deadline, |recorded| count(recorded, path) >= requests).await
    }

    /// Forgets the requests.
    pub fn clear(&self) {
        self.server.clear();
    }

    /// Stops the server: connections are closed and new ones refused; the port stays reserved.
    ///
    /// # Errors
    /// Like [`HttpServer::stop`].
    pub async fn stop(&mut self) -> io::Result<()> {
        self.server.stop().await
    }

    /// Serves again with the same issuer, keys and scripts.
    ///
    /// # Errors
    /// Like [`HttpServer::restart`].
    pub async fn restart(&mut self) -> io::Result<()> {
        self.server.restart().await
    }
}

/// The responses of a path instead of the default ones.
pub enum Script {
    /// One after another; the last one is repeated. If empty, 404.
    Sequence(VecDeque<Answer>),
    /// Made from the request. It must not call the server's own methods, which would deadlock.
    Function(Box<dyn Fn(&Recorded) -> Answer + Send + Sync>),
}

impl From<Answer> for Script {
    fn from(answer: Answer) -> Self {
        Self::Sequence([answer].into())
    }
}

impl From<Vec<Answer>> for Script {
    fn from(answers: Vec<Answer>) -> Self {
        Self::Sequence(answers.into())
    }
}

impl<const N: usize> From<[Answer; N]> for Script {
    fn from(answers: [Answer; N]) -> Self {
        Self::Sequence(answers.into())
    }
}

impl std::fmt::Debug for Script {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sequence(answers) => formatter.debug_tuple("Sequence").field(answers).finish(),
            Self::Function(_) => formatter.debug_tuple("Function").finish_non_exhaustive(),
        }
    }
}

#[derive(Debug)]
struct Answers {
    metadata: Value,
    jwks: Value,
    keys: HashMap<KeyKind, SigningKey>,
    issuer: String,
    /// The claims of the tokens that were issued and not revoked.
    tokens: HashMap<String, Value>,
    resource_servers: HashMap<String, ResourceServer>,
    /// The `jti` of every assertion received so far.
    assertions: HashSet<String>,
    /// What signed responses are encrypted for.
    encryption_key: Option<EncryptionKey>,
    clock: Clock,
    scripts: HashMap<String, Script>,
}

/// The clock for the times in signed responses.
struct Clock(Box<dyn Fn() -> u64 + Send + Sync>);

impl std::fmt::Debug for Clock {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Clock").field(&(self.0)()).finish()
    }
}

fn answer(answers: &Mutex<Answers>, request: &Recorded) -> Answer {
    let mut answers = lock(answers);
    match answers.scripts.get_mut(request.path()) {
        Some(Script::Function(function)) => return function(request),
        Some(Script::Sequence(sequence)) => {
            let next = if sequence.len() > 1 { sequence.pop_front() } else { sequence.front().cloned() };
            return next.unwrap_or_else(|| Answer::status(StatusCode::NOT_FOUND));
        }
        None => {}
    }
    match (&request.method, request.path()) {
        (&Method::GET, AuthorizationServer::METADATA | AuthorizationServer::OPENID_CONFIGURATION) => {
            Answer::json(StatusCode::OK, answers.metadata.clone())
        }
        (&Method::GET, AuthorizationServer::JWKS) => Answer::json(StatusCode::OK, answers.jwks.clone()),
        (&Method::POST, AuthorizationServer::INTROSPECTION | AuthorizationServer::INTROSPECTION_BY_CERTIFICATE) => {
            answers.introspect(request)
        }
        (&Method::POST, AuthorizationServer::REVOCATION) => answers.revoke(request),
        _ => Answer::status(StatusCode::NOT_FOUND),
    }
}

impl Answers {
    fn revoke(&mut self, request: &Recorded) -> Answer {
        if request.client_certificate.is_none() {
            return Answer::json(StatusCode::UNAUTHORIZED, json!({ "error": "invalid_client" }));
        }
        for (_, token) in form_urlencoded::parse(&request.body).filter(|(name, _)| name == "token") {
            self.tokens.remove(&*token);
        }
        // RFC 7009 §2.2: 200 "if the token has been revoked successfully or if the client submitted an invalid token".
        Answer::status(StatusCode::OK)
    }

    fn introspect(&mut self, request: &Recorded) -> Answer {
        let form: HashMap<_, _> = form_urlencoded::parse(&request.body).into_owned().collect();
        let Some(client_id) = self.authenticate(request, &form) else {
            return Answer::json(StatusCode::UNAUTHORIZED, json!({ "error": "invalid_client" }));
        };
        // RFC 7662 §2.2: for a token that it does not know, the server answers "active": false and nothing else.
        let known = form.get("token").and_then(|token| self.tokens.get(token));
        let mut answer = known.cloned().unwrap_or_else(|| json!({}));
        answer["active"] = json!(known.is_some());
        let accept = request.headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
        if accept == Some("application/token-introspection+jwt") {
            return self.signed(&client_id, &answer);
        }
        Answer::json(StatusCode::OK, answer)
    }

    /// A signed response (RFC 9701 §5), with PS256; within an encrypted one, if there is a key for it.
    fn signed(&self, client_id: &str, answer: &Value) -> Answer {
        let Some(key) = self.keys.get(&KeyKind::Ps256) else { return Answer::status(StatusCode::NOT_FOUND) };
        let header = json!({ "typ": "token-introspection+jwt", "alg": "PS256", "kid": key.kid() });
        let claims =
            json!({ "iss": self.issuer, "aud": client_id, "iat": (self.clock.0)(), "token_introspection": answer });
        let kind = HeaderValue::from_static("application/token-introspection+jwt");
        let signed = key.sign(&header, &claims);
        let body = match &self.encryption_key {
            None => signed,
            Some(key) => match encrypt(signed.as_bytes(), key, Some("JWT")) {
                Ok(encrypted) => encrypted,
                Err(_) => return Answer::status(StatusCode::INTERNAL_SERVER_ERROR),
            },
        };
        Answer::status(StatusCode::OK).header(CONTENT_TYPE, kind).body(body)
    }

    /// The resource server that sent the request, if it is authenticated.
    fn authenticate(&mut self, request: &Recorded, form: &HashMap<String, String>) -> Option<String> {
        let Some(assertion) = form.get("client_assertion") else {
            let client_id = form.get("client_id")?;
            let ResourceServer::Certificate(credential) = self.resource_servers.get(client_id)? else { return None };
            return (request.client_certificate.as_ref() == credential.chain_der.first()).then(|| client_id.clone());
        };
        let claims: Value = decode_payload(assertion)?;
        let client_id = claims["sub"].as_str()?.to_owned();
        let ResourceServer::Key(key) = self.resource_servers.get(&client_id)? else { return None };
        let mut validation = Validation::new(key.kind().algorithm().parse().ok()?);
        // FAPI 2.0 §5.3.2.1: the audience is the issuer, as one string.
        validation.set_audience(&[&self.issuer]);
        validation.set_issuer(&[&client_id]);
        let verifier = DecodingKey::from_jwk(&serde_json::from_value(key.jwk()).ok()?).ok()?;
        jsonwebtoken::decode::<Value>(assertion, &verifier, &validation).ok()?;
        let fresh = self.assertions.insert(claims["jti"].as_str()?.to_owned());
        (fresh && claims["aud"].is_string()).then_some(client_id)
    }
}

/// The client that an assertion claims to be from, before it is verified.
fn decode_payload(assertion: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(assertion.split('.').nth(1)?).ok()?).ok()
}

fn metadata(issuer: &str) -> Value {
    json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}{}", AuthorizationServer::JWKS),
        "introspection_endpoint": format!("{issuer}{}", AuthorizationServer::INTROSPECTION),
        "mtls_endpoint_aliases": {
            "introspection_endpoint": format!("{issuer}{}", AuthorizationServer::INTROSPECTION_BY_CERTIFICATE),
        },
        "revocation_endpoint": format!("{issuer}{}", AuthorizationServer::REVOCATION),
        "token_endpoint": format!("{issuer}/token"),
        "response_types_supported": ["code"],
    })
}

fn key_set(keys: &HashMap<KeyKind, SigningKey>) -> Value {
    let keys = KeyKind::ALL.iter().filter_map(|kind| keys.get(kind)).map(SigningKey::jwk);
    json!({ "keys": keys.collect::<Vec<_>>() })
}

fn kid(kind: KeyKind, rotation: usize) -> String {
    format!("{}-{rotation}", kind.algorithm())
}

fn count(requests: &[Recorded], path: &str) -> usize {
    requests.iter().filter(|request| request.path() == path).count()
}

fn lock(answers: &Mutex<Answers>) -> MutexGuard<'_, Answers> {
    answers.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use rustls::crypto::aws_lc_rs::default_provider;
    use rustls::{ClientConfig, RootCertStore};

    use super::*;

    fn client(authority: &Authority) -> reqwest::Client {
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let config = ClientConfig::builder_with_provider(default_provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        reqwest::Client::builder().tls_backend_preconfigured(config).no_proxy().build().unwrap()
    }

    async fn get(client: &reqwest::Client, url: String) -> (u16, Value) {
        let response = client.get(url).send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or_default())
    }

    #[tokio::test]
    async fn metadata_leads_to_the_key_set_that_verifies_its_tokens() {
        let authority = Authority::new("ours");
        let server = AuthorizationServer::start(&authority).unwrap();
        let client = client(&authority);
        for path in [AuthorizationServer::METADATA, AuthorizationServer::OPENID_CONFIGURATION] {
            let (status, metadata) = get(&client, server.url(path)).await;
            assert_eq!((status, metadata["issuer"].as_str()), (200, Some(server.issuer())));
            let (_, jwks) = get(&client, metadata["jwks_uri"].as_str().unwrap().to_owned()).await;
            for kind in KeyKind::ALL {
                assert!(jwks["keys"].as_array().unwrap().contains(&server.key(kind).jwk()));
            }
        }
        assert_eq!(server.token(1).claims()["iss"], server.issuer());
        assert_eq!((server.requests_to("/jwks"), server.requests().len()), (2, 4));
        assert_eq!(get(&client, server.url("/elsewhere")).await.0, 404);
    }

    #[tokio::test]
    async fn scripts_replace_the_answers_and_the_last_one_stays() {
        let authority = Authority::new("ours");
        let server = AuthorizationServer::start(&authority).unwrap();
        let client = client(&authority);
        let status = |status| Answer::status(StatusCode::from_u16(status).unwrap());
        server.script("/jwks", [status(500), status(503)]);
        let mut seen = Vec::new();
        for _ in 0..3 {
            seen.push(get(&client, server.url("/jwks")).await.0);
        }
        assert_eq!(seen, [500, 503, 503]);
        server.script("/jwks", Script::Function(Box::new(|request| Answer::json(StatusCode::OK, json!(request.uri)))));
        assert_eq!(get(&client, server.url("/jwks?a")).await, (200, json!("/jwks?a")));
        server.unscript("/jwks");
        assert_eq!(get(&client, server.url("/jwks")).await, (200, server.jwks()));
        server.wait_for("/jwks", 5, Duration::from_secs(5)).await.unwrap();
    }

    #[tokio::test]
    async fn rotation_replaces_the_key_and_its_kid_at_once() {
        let authority = Authority::new("ours");
        let mut server = AuthorizationServer::start(&authority).unwrap();
        let client = client(&authority);
        let former = server.rotate(KeyKind::Es256);
        assert_ne!(former.kid(), server.key(KeyKind::Es256).kid());
        let (_, jwks) = get(&client, server.url("/jwks")).await;
        let keys = jwks["keys"].as_array().unwrap();
        assert!(keys.contains(&server.key(KeyKind::Es256).jwk()) && keys.contains(&server.key(KeyKind::Ps256).jwk()));
        assert!(!keys.contains(&former.jwk()));
    }

    #[tokio::test]
    async fn comes_back_as_the_same_issuer() {
        let authority = Authority::new("ours");
        let mut server = AuthorizationServer::start(&authority).unwrap();
        let client = client(&authority);
        let before = get(&client, server.url("/jwks")).await;
        server.stop().await.unwrap();
        assert!(client.get(server.url("/jwks")).send().await.is_err());
        server.restart().await.unwrap();
        assert_eq!(get(&client, server.url("/jwks")).await, before);
    }
}
