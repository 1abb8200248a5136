//! An authorization server over TLS: metadata (RFC 8414 and OpenID Connect Discovery), a key set, and introspection
//! (RFC 7662) that knows no token. It has no endpoint that issues: [`AuthorizationServer::token`] does.
//!
//! Its answers can be replaced path by path, to be an issuer that errs.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::https::{Answer, HttpServer, Recorded, danger_tls_config_with_any_client};
use super::pki::Authority;
use super::tokens::{AccessToken, KeyKind, SigningKey};

/// The server, its signing keys and its scripts. Dropping it stops it.
#[derive(Debug)]
pub struct AuthorizationServer {
    server: HttpServer,
    issuer: String,
    keys: HashMap<KeyKind, SigningKey>,
    rotations: usize,
    answers: Arc<Mutex<Answers>>,
}

impl AuthorizationServer {
    /// The audience of its tokens until they are given another.
    pub const AUDIENCE: &str = "https://api.bank.example";
    /// RFC 8414 §3.1, for an issuer without a path.
    pub const METADATA: &str = "/.well-known/oauth-authorization-server";
    /// OpenID Connect Discovery 1.0 §4.
    pub const OPENID_CONFIGURATION: &str = "/.well-known/openid-configuration";
    /// The path of `jwks_uri`.
    pub const JWKS: &str = "/jwks";
    /// The path of `introspection_endpoint`.
    pub const INTROSPECTION: &str = "/introspect";

    /// A server for `localhost` on a free port, with a certificate from `authority` and one key of each kind.
    ///
    /// It asks for a client certificate, takes any or none, and records it. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// No port can be bound.
    pub fn start(authority: &Authority) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let issuer = format!("https://localhost:{}", listener.local_addr()?.port());
        let keys = KeyKind::ALL.map(|kind| (kind, SigningKey::generate(kind, &kid(kind, 0))));
        let keys = HashMap::from(keys);
        let answers = Arc::new(Mutex::new(Answers {
            metadata: metadata(&issuer),
            jwks: key_set(&keys),
            scripts: HashMap::new(),
        }));
        let handler = {
            let answers = Arc::clone(&answers);
            Arc::new(move |request: Recorded| answer(&answers, &request))
        };
        let tls = danger_tls_config_with_any_client(&authority.server(&["localhost"]));
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

    /// The current key of that kind; it is in the key set.
    pub fn key(&self, kind: KeyKind) -> &SigningKey {
        self.keys.get(&kind).expect("the server is made with a key of each kind")
    }

    /// Replaces the key of that kind, in the key set too, by one with another `kid`, and gives the former key.
    pub fn rotate(&mut self, kind: KeyKind) -> SigningKey {
        self.rotations += 1;
        let key = SigningKey::generate(kind, &kid(kind, self.rotations));
        let former = self.keys.insert(kind, key).expect("the server is made with a key of each kind");
        lock(&self.answers).jwks = key_set(&self.keys);
        former
    }

    /// A good access token of this issuer for [`Self::AUDIENCE`], to be bound and signed.
    pub fn token(&self, now: u64) -> AccessToken {
        AccessToken::new(&self.issuer, Self::AUDIENCE, now)
    }

    /// The metadata as served without a script, to be changed for one.
    pub fn metadata(&self) -> Value {
        metadata(&self.issuer)
    }

    /// The key set as served without a script.
    pub fn jwks(&self) -> Value {
        lock(&self.answers).jwks.clone()
    }

    /// Replaces the answers for a path: by one [`Answer`], by a sequence of which the last one stays, or by a
    /// [`Script::Function`].
    pub fn script(&self, path: &str, script: impl Into<Script>) {
        lock(&self.answers).scripts.insert(path.to_owned(), script.into());
    }

    /// The path answers as at the start again.
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
    /// They do not arrive within `deadline`; those that did are in the error.
    pub async fn wait_for(&self, path: &str, requests: usize, deadline: Duration) -> Result<(), Vec<Recorded>> {
        self.server.wait_until(deadline, |recorded| count(recorded, path) >= requests).await
    }

    /// Forgets the requests.
    pub fn clear(&self) {
        self.server.clear();
    }

    /// Goes down: connections are closed and new ones refused; the port stays ours.
    ///
    /// # Errors
    /// As [`HttpServer::stop`].
    pub async fn stop(&mut self) -> io::Result<()> {
        self.server.stop().await
    }

    /// Comes up again with the same issuer, keys and scripts.
    ///
    /// # Errors
    /// As [`HttpServer::restart`].
    pub async fn restart(&mut self) -> io::Result<()> {
        self.server.restart().await
    }
}

/// What a path answers in place of the usual.
pub enum Script {
    /// One after another; the last one stays. Empty: 404.
    Sequence(VecDeque<Answer>),
    /// Made from the request. It must not call the server's own methods: they wait for it.
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
    scripts: HashMap<String, Script>,
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
        // RFC 7662 §2.2: for a token that it does not know, the server answers "active": false and nothing else.
        (&Method::POST, AuthorizationServer::INTROSPECTION) => Answer::json(StatusCode::OK, json!({ "active": false })),
        _ => Answer::status(StatusCode::NOT_FOUND),
    }
}

fn metadata(issuer: &str) -> Value {
    json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}{}", AuthorizationServer::JWKS),
        "introspection_endpoint": format!("{issuer}{}", AuthorizationServer::INTROSPECTION),
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
