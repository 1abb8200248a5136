//! An authorization server that knows OAuth 2.0 and nothing of FAPI, to stand behind a gateway: over TLS on loopback, with pushed
//! authorization requests, codes, tokens and introspection.
//!
//! It authenticates nobody and asks nobody to log in: a client is whoever it says it is, gets its code at whatever redirect URI it
//! names, with a request that was pushed or not, and may use the code again. Its tokens are bound to what comes with the request for
//! them, and to nothing if nothing does.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use fapi::jose::thumbprint::{CertificateThumbprint, KeyThumbprint};
use fapi::sha256;
use form_urlencoded::Serializer;
use http::header::{HeaderValue, LOCATION};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::authorization_server::AuthorizationServer;
use crate::https::{Answer, HttpServer, Recorded};
use crate::keys::{KeyKind, SigningKey};
use crate::now;
use crate::pki::Authority;
use crate::tls::tls_config;
use crate::tokens::{AccessToken, jwks};

/// The server. Dropping it stops it.
#[derive(Debug)]
pub struct LenientAuthorizationServer {
    server: HttpServer,
    state: Arc<Mutex<State>>,
}

impl LenientAuthorizationServer {
    /// The path of `pushed_authorization_request_endpoint` (RFC 9126).
    pub const PUSHED_AUTHORIZATION_REQUEST: &str = "/par";
    /// The path of `authorization_endpoint`.
    pub const AUTHORIZATION: &str = "/authorize";
    /// The path of `token_endpoint`.
    pub const TOKEN: &str = "/token";
    /// The path of `introspection_endpoint` (RFC 7662).
    pub const INTROSPECTION: &str = "/introspect";
    /// The path of `jwks_uri`.
    pub const JWKS: &str = "/jwks";

    /// A server on a free port of 127.0.0.1, with a certificate from `authority` and a new key. Its issuer identifier is the
    /// origin that a request names. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// No port can be bound.
    pub fn start(authority: &Authority) -> io::Result<Self> {
        let state = Arc::new(Mutex::new(State::new()));
        let kept = Arc::clone(&state);
        let tls = tls_config(&authority.server(&["localhost", "127.0.0.1"]), None);
        let server = HttpServer::start(None, Some(tls), Arc::new(move |request| lock(&kept).answer(&request)))?;
        Ok(Self { server, state })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// `https://localhost:PORT`, followed by `path`.
    pub fn url(&self, path: &str) -> String {
        self.server.url(path)
    }

    /// Whether it binds its tokens from now on; at first it does.
    pub fn bind_tokens(&self, bind: bool) {
        lock(&self.state).binds_tokens = bind;
    }
}

/// The parameters of a request; of those that occur twice, the last.
type Parameters = HashMap<String, String>;

#[derive(Debug)]
struct State {
    key: SigningKey,
    binds_tokens: bool,
    /// What was pushed, by its `request_uri`.
    pushed: HashMap<String, Parameters>,
    /// The authorization request of each code.
    codes: HashMap<String, Parameters>,
    /// The claims of each token.
    tokens: HashMap<String, Value>,
}

impl State {
    fn new() -> Self {
        let key = SigningKey::generate(KeyKind::Es256, "lenient");
        Self { key, binds_tokens: true, pushed: HashMap::new(), codes: HashMap::new(), tokens: HashMap::new() }
    }

    fn answer(&mut self, request: &Recorded) -> Answer {
        let form = || parameters(&request.body);
        match (&request.method, request.path()) {
            (&Method::POST, LenientAuthorizationServer::PUSHED_AUTHORIZATION_REQUEST) => self.push(form()),
            (&Method::GET, LenientAuthorizationServer::AUTHORIZATION) => self.authorize(request),
            (&Method::POST, LenientAuthorizationServer::TOKEN) => self.issue(request, &form()),
            (&Method::POST, LenientAuthorizationServer::INTROSPECTION) => self.introspect(&form()),
            (&Method::GET, LenientAuthorizationServer::JWKS) => Answer::json(StatusCode::OK, jwks(&[&self.key])),
            (&Method::GET, AuthorizationServer::METADATA | AuthorizationServer::OPENID_CONFIGURATION) => {
                Answer::json(StatusCode::OK, metadata(&issuer(request)))
            }
            _ => Answer::status(StatusCode::NOT_FOUND),
        }
    }

    fn push(&mut self, form: Parameters) -> Answer {
        let request_uri = format!("urn:ietf:params:oauth:request_uri:{}", Uuid::new_v4().simple());
        self.pushed.insert(request_uri.clone(), form);
        Answer::json(StatusCode::CREATED, json!({ "request_uri": request_uri, "expires_in": 60 }))
    }

    fn authorize(&mut self, request: &Recorded) -> Answer {
        let query = request.uri.split_once('?').map(|(_, query)| query).unwrap_or_default();
        let query = parameters(query.as_bytes());
        let asked = match query.get("request_uri") {
            Some(request_uri) => self.pushed.get(request_uri).cloned(),
            None => Some(query),
        };
        let Some((asked, redirect_uri)) =
            asked.and_then(|asked| Some((asked.clone(), asked.get("redirect_uri")?.clone())))
        else {
            return refused("invalid_request");
        };
        let code = Uuid::new_v4().simple().to_string();
        let mut response = Serializer::new(String::new());
        response.append_pair("code", &code).append_pair("iss", &issuer(request));
        response.extend_pairs(asked.get("state").map(|state| ("state", state)));
        let Ok(location) = HeaderValue::try_from(format!("{redirect_uri}?{}", response.finish())) else {
            return refused("invalid_request");
        };
        self.codes.insert(code, asked);
        Answer::status(StatusCode::SEE_OTHER).header(LOCATION, location)
    }

    fn issue(&mut self, request: &Recorded, form: &Parameters) -> Answer {
        let asked = form.get("code").and_then(|code| self.codes.get(code));
        let Some(asked) = asked.filter(|asked| is_proven(asked, form.get("code_verifier"))) else {
            return refused("invalid_grant");
        };
        let mut token = AccessToken::new(issuer(request), AuthorizationServer::AUDIENCE, now());
        for name in ["client_id", "scope"] {
            if let Some(value) = asked.get(name) {
                token = token.claim(name, value.as_str());
            }
        }
        let mut token_type = "Bearer";
        if self.binds_tokens {
            if let Some(certificate) = certificate(request) {
                token = token.bound_to_thumbprint(&certificate.to_string());
            }
            if let Some(key) = proof_key(request) {
                (token, token_type) = (token.bound_to_key(key.to_string()), "DPoP");
            }
        }
        let signed = token.sign(&self.key);
        self.tokens.insert(signed.clone(), token.claims());
        let answer = json!({ "access_token": signed, "token_type": token_type, "expires_in": 300 });
        Answer::json(StatusCode::OK, answer)
    }

    fn introspect(&self, form: &Parameters) -> Answer {
        let known = form.get("token").and_then(|token| self.tokens.get(token));
        let mut answer = known.cloned().unwrap_or_else(|| json!({}));
        answer["active"] = json!(known.is_some());
        Answer::json(StatusCode::OK, answer)
    }
}

/// RFC 7636 §4.6; who sent no challenge needs no verifier.
fn is_proven(asked: &Parameters, verifier: Option<&String>) -> bool {
    let Some(challenge) = asked.get("code_challenge") else { return true };
    let method = asked.get("code_challenge_method").map(String::as_str);
    verifier.is_some_and(|verifier| match method {
        Some("S256") => URL_SAFE_NO_PAD.encode(sha256(verifier.as_bytes())) == *challenge,
        _ => verifier == challenge,
    })
}

/// The key of the DPoP proof, which is not verified.
fn proof_key(request: &Recorded) -> Option<KeyThumbprint> {
    let header = URL_SAFE_NO_PAD.decode(request.header("dpop")?.split('.').next()?).ok()?;
    let header: Value = serde_json::from_slice(&header).ok()?;
    KeyThumbprint::of_jwk(header.get("jwk")?.as_object()?)
}

/// The client's certificate, of which whoever is in front tells (RFC 9440).
fn certificate(request: &Recorded) -> Option<CertificateThumbprint> {
    let field = request.header("client-cert")?.strip_prefix(':')?.strip_suffix(':')?;
    Some(CertificateThumbprint::of_der(&STANDARD.decode(field).ok()?))
}

fn issuer(request: &Recorded) -> String {
    format!("https://{}", request.authority.as_deref().unwrap_or("localhost"))
}

fn parameters(form: &[u8]) -> Parameters {
    form_urlencoded::parse(form).into_owned().collect()
}

fn refused(error: &str) -> Answer {
    Answer::json(StatusCode::BAD_REQUEST, json!({ "error": error }))
}

/// All that OAuth 2.0 has, and no word of what FAPI leaves of it.
fn metadata(issuer: &str) -> Value {
    let url = |path: &str| format!("{issuer}{path}");
    let methods = json!(["client_secret_basic", "client_secret_post", "private_key_jwt", "tls_client_auth"]);
    json!({
        "issuer": issuer,
        "pushed_authorization_request_endpoint": url(LenientAuthorizationServer::PUSHED_AUTHORIZATION_REQUEST),
        "authorization_endpoint": url(LenientAuthorizationServer::AUTHORIZATION),
        "token_endpoint": url(LenientAuthorizationServer::TOKEN),
        "introspection_endpoint": url(LenientAuthorizationServer::INTROSPECTION),
        "jwks_uri": url(LenientAuthorizationServer::JWKS),
        "response_types_supported": ["code"],
        "grant_types_supported": ["authorization_code"],
        "code_challenge_methods_supported": ["plain", "S256"],
        "token_endpoint_auth_methods_supported": methods,
        "introspection_endpoint_auth_methods_supported": methods,
        "dpop_signing_alg_values_supported": ["ES256", "PS256", "EdDSA"],
        "tls_client_certificate_bound_access_tokens": true,
    })
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderName, Version};

    use super::*;
    use crate::keys::Proof;

    const CALLBACK: &str = "https://anywhere.example/callback";

    fn request(method: Method, uri: &str, form: &[(&str, &str)]) -> Recorded {
        let mut body = Serializer::new(String::new());
        body.extend_pairs(form);
        Recorded {
            method,
            uri: uri.to_owned(),
            authority: Some("as.example".to_owned()),
            headers: HeaderMap::new(),
            body: Bytes::from(body.finish()),
            version: Version::HTTP_11,
            client_certificate: None,
        }
    }

    fn body(answer: &Answer) -> Value {
        serde_json::from_slice(&answer.body).unwrap()
    }

    /// The code that a browser is sent away with.
    fn code(answer: &Answer) -> String {
        assert_eq!(answer.status, StatusCode::SEE_OTHER);
        let location = answer.headers[0].1.to_str().unwrap().strip_prefix(&format!("{CALLBACK}?")).unwrap().to_owned();
        let response = parameters(location.as_bytes());
        assert_eq!((&*response["iss"], &*response["state"]), ("https://as.example", "s"));
        response["code"].clone()
    }

    fn asked(method: &str) -> [(&'static str, String); 6] {
        let challenge = if method == "S256" { URL_SAFE_NO_PAD.encode(sha256(b"verifier")) } else { "verifier".into() };
        [
            ("client_id", "anybody".into()),
            ("redirect_uri", CALLBACK.into()),
            ("scope", "accounts".into()),
            ("state", "s".into()),
            ("code_challenge", challenge),
            ("code_challenge_method", method.into()),
        ]
    }

    fn pushed(state: &mut State, method: &str) -> String {
        let asked = asked(method);
        let form: Vec<_> = asked.iter().map(|(name, value)| (*name, &**value)).collect();
        let answer = state.answer(&request(Method::POST, "/par", &form));
        let uri = body(&answer)["request_uri"].as_str().unwrap().to_owned();
        code(&state.answer(&request(Method::GET, &format!("/authorize?request_uri={uri}"), &[])))
    }

    fn exchange(code: &str, verifier: &str) -> Recorded {
        request(Method::POST, "/token", &[("code", code), ("code_verifier", verifier)])
    }

    #[test]
    fn anybody_gets_a_token_pushed_or_not_with_any_pkce() {
        let mut state = State::new();
        let mut query = Serializer::new(String::new());
        query.extend_pairs(asked("plain"));
        let uri = format!("/authorize?{}", query.finish());
        let not_pushed = code(&state.answer(&request(Method::GET, &uri, &[])));
        for code in [pushed(&mut state, "S256"), pushed(&mut state, "plain"), not_pushed] {
            let wrong = state.answer(&exchange(&code, "another"));
            assert_eq!((wrong.status, &body(&wrong)["error"]), (StatusCode::BAD_REQUEST, &json!("invalid_grant")));
            let answer = body(&state.answer(&exchange(&code, "verifier")));
            assert_eq!(answer["token_type"], "Bearer");
            let asks = request(Method::POST, "/introspect", &[("token", answer["access_token"].as_str().unwrap())]);
            let claims = body(&state.answer(&asks));
            assert_eq!((&claims["active"], &claims["client_id"]), (&json!(true), &json!("anybody")));
            assert_eq!((&claims["iss"], &claims["cnf"]), (&json!("https://as.example"), &Value::Null));
        }
        let asks = request(Method::POST, "/introspect", &[("token", "invented")]);
        assert_eq!(body(&state.answer(&asks)), json!({ "active": false }));
        assert_eq!(state.answer(&request(Method::GET, "/authorize", &[])).status, StatusCode::BAD_REQUEST);
    }

    #[test]
    fn a_token_is_bound_to_what_comes_with_the_request_unless_it_forgets_to() {
        let mut state = State::new();
        let (key, certificate) = (SigningKey::generate(KeyKind::Es256, "a"), Authority::new("ours").client("client"));
        let code = pushed(&mut state, "S256");
        let proof = Proof::new("POST", "https://as.example/token", now()).sign(&key);
        let field = format!(":{}:", STANDARD.encode(&certificate.chain_der[0]));
        for (name, value, binds, token_type, cnf) in [
            ("dpop", &proof, true, "DPoP", json!({ "jkt": key.thumbprint() })),
            ("client-cert", &field, true, "Bearer", json!({ "x5t#S256": certificate.x5t_s256() })),
            ("dpop", &proof, false, "Bearer", Value::Null),
        ] {
            state.binds_tokens = binds;
            let mut asks = exchange(&code, "verifier");
            asks.headers.insert(HeaderName::from_static(name), value.parse().unwrap());
            let answer = body(&state.answer(&asks));
            assert_eq!(answer["token_type"], token_type, "{name} {binds}");
            assert_eq!(state.tokens[answer["access_token"].as_str().unwrap()]["cnf"], cnf, "{name} {binds}");
        }
    }
}
