//! What clients send to the authorization server behind the gateway.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fapi::sha256;
use form_urlencoded::Serializer;
use reqwest::RequestBuilder;
use sandbox::lenient_authorization_server::LenientAuthorizationServer as Server;
use sandbox::now;
use sandbox::pki::Credential;
use sandbox::tokens::{Proof, SigningKey};
use serde_json::json;
use uuid::Uuid;

use super::super::stage::{CERTIFICATE_CLIENT, CLIENT, REDIRECT_URI, RESOURCE_SERVER, Stage};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// The `state` of every authorization request.
pub(super) const STATE: &str = "a-state-of-the-client";
/// What a client authenticates with that signs assertions.
const AUTHENTICATION: [&str; 2] = ["client_assertion_type", "client_assertion"];

/// A request to the server, which the gateway and the server alone can be sent.
#[derive(Clone)]
pub(super) struct Request {
    path: &'static str,
    /// In the query of a browser, and otherwise in a form.
    parameters: Vec<(&'static str, String)>,
    by_browser: bool,
    proof: Option<String>,
    certificate: Option<Credential>,
}

impl Request {
    /// The same with another value of a parameter.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.parameters.retain(|(other, _)| *other != name);
        self.parameters.push((name, value.into()));
        self
    }

    /// The same without what authenticates the client.
    pub(super) fn without_authentication(mut self) -> Self {
        self.parameters.retain(|(name, _)| !AUTHENTICATION.contains(name));
        self
    }

    /// The same with this proof, or with none.
    pub(super) fn with_proof(mut self, proof: Option<String>) -> Self {
        self.proof = proof;
        self
    }

    /// The certificate of its connection.
    pub(super) fn certificate(&self) -> Option<&Credential> {
        self.certificate.as_ref()
    }

    /// To be sent by this client, to the server at this origin.
    pub(super) fn to(&self, client: &reqwest::Client, origin: &str) -> RequestBuilder {
        let url = format!("{origin}{}", self.path);
        let parameters = Serializer::new(String::new()).extend_pairs(&self.parameters).finish();
        if self.by_browser {
            return client.get(format!("{url}?{parameters}"));
        }
        let form = client.post(url).header("content-type", "application/x-www-form-urlencoded").body(parameters);
        match &self.proof {
            Some(proof) => form.header("dpop", proof),
            None => form,
        }
    }
}

/// The honest clients, and a resource server.
pub(super) struct Clients<'s> {
    stage: &'s Stage,
    /// RFC 7636 §4.1.
    verifier: String,
}

impl<'s> Clients<'s> {
    pub(super) fn of(stage: &'s Stage) -> Self {
        Self { stage, verifier: [Uuid::new_v4(), Uuid::new_v4()].map(|uuid| uuid.simple().to_string()).concat() }
    }

    /// A pushed authorization request, with an assertion and a proof.
    pub(super) fn push(&self) -> Request {
        self.signed(CLIENT, Server::PUSHED_AUTHORIZATION_REQUEST, self.authorization(CLIENT))
    }

    /// The same of the client with a certificate.
    pub(super) fn push_with_certificate(&self) -> Request {
        self.certified(Server::PUSHED_AUTHORIZATION_REQUEST, self.authorization(CERTIFICATE_CLIENT))
    }

    /// A browser that brings what was pushed.
    pub(super) fn browser(&self, client: &str, request_uri: &str) -> Request {
        browser(vec![("client_id", client.to_owned()), ("request_uri", request_uri.to_owned())])
    }

    /// A browser that brings a request which was not pushed.
    pub(super) fn browser_without_push(&self) -> Request {
        browser(self.authorization(CLIENT))
    }

    /// A token request, with an assertion and a proof.
    pub(super) fn exchange(&self, code: &str) -> Request {
        self.signed(CLIENT, Server::TOKEN, self.grant(CLIENT, code))
    }

    /// The same of the client with a certificate.
    pub(super) fn exchange_with_certificate(&self, code: &str) -> Request {
        self.certified(Server::TOKEN, self.grant(CERTIFICATE_CLIENT, code))
    }

    /// A question about a token, by the resource server.
    pub(super) fn introspection(&self, token: &str) -> Request {
        self.question(RESOURCE_SERVER, token)
    }

    /// The same by a client.
    pub(super) fn introspection_by_client(&self, token: &str) -> Request {
        self.question(CLIENT, token)
    }

    /// An assertion of the client for another audience than the server's issuer (RFC 7523 §3).
    pub(super) fn assertion_for(&self, audience: &str) -> String {
        assertion(CLIENT, &self.stage.registered.client, audience)
    }

    /// A new proof of the client's key for a pushed request.
    pub(super) fn proof_of_push(&self) -> String {
        self.proof(Server::PUSHED_AUTHORIZATION_REQUEST)
    }

    fn question(&self, who: &'static str, token: &str) -> Request {
        let asked = vec![("client_id", who.to_owned()), ("token", token.to_owned())];
        self.signed(who, Server::INTROSPECTION, asked).with_proof(None)
    }

    fn authorization(&self, client: &str) -> Vec<(&'static str, String)> {
        let challenge = URL_SAFE_NO_PAD.encode(sha256(self.verifier.as_bytes()));
        vec![
            ("client_id", client.to_owned()),
            ("response_type", "code".to_owned()),
            ("redirect_uri", REDIRECT_URI.to_owned()),
            ("scope", "accounts".to_owned()),
            ("state", STATE.to_owned()),
            ("code_challenge", challenge),
            ("code_challenge_method", "S256".to_owned()),
        ]
    }

    fn grant(&self, client: &str, code: &str) -> Vec<(&'static str, String)> {
        vec![
            ("client_id", client.to_owned()),
            ("grant_type", "authorization_code".to_owned()),
            ("code", code.to_owned()),
            ("redirect_uri", REDIRECT_URI.to_owned()),
            ("code_verifier", self.verifier.clone()),
        ]
    }

    fn signed(&self, who: &str, path: &'static str, parameters: Vec<(&'static str, String)>) -> Request {
        let registered = &self.stage.registered;
        let key = if who == RESOURCE_SERVER { &registered.resource_server } else { &registered.client };
        let values = [ASSERTION_TYPE.to_owned(), assertion(who, key, &self.stage.origin)];
        let parameters = parameters.into_iter().chain(AUTHENTICATION.into_iter().zip(values)).collect();
        Request { path, parameters, by_browser: false, proof: Some(self.proof(path)), certificate: None }
    }

    fn certified(&self, path: &'static str, parameters: Vec<(&'static str, String)>) -> Request {
        let certificate = Some(self.stage.client.clone());
        Request { path, parameters, by_browser: false, proof: None, certificate }
    }

    fn proof(&self, path: &str) -> String {
        Proof::new("POST", &format!("{}{path}", self.stage.origin), now()).sign(&self.stage.dpop_key)
    }
}

fn browser(parameters: Vec<(&'static str, String)>) -> Request {
    Request { path: Server::AUTHORIZATION, parameters, by_browser: true, proof: None, certificate: None }
}

/// A client assertion (RFC 7523 §3), to be used once.
fn assertion(who: &str, key: &SigningKey, audience: &str) -> String {
    let (now, jti) = (now(), Uuid::new_v4().to_string());
    let header = json!({ "alg": key.kind().algorithm(), "typ": "JWT", "kid": key.kid() });
    let claims = json!({ "iss": who, "sub": who, "aud": audience, "jti": jti, "iat": now, "exp": now + 60 });
    key.sign(&header, &claims)
}
