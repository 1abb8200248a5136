//! Tokens of an authorization server: client credentials, or a code that a person fetches (RFC 6749 §4.1, §4.4, RFC 9126).

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, OnceLock};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fapi::UnixTime;
use fapi::client::assertion::assertion;
use http::Uri;
use rustls::RootCertStore;
use sandbox::keys::SigningKey;
use serde_json::Value;
use uuid::Uuid;

use crate::call::{Call, PlannedProof, SentProof};
use crate::clock::now;
use crate::exchange::Response;
use crate::exchange::door::Door;
use crate::sent::Sent;
use crate::session::{Binding, Stop, observed};
use crate::settings::Target;
use crate::wire::Wire;

/// Shows a person a URL to visit and gives the URL that the browser ended on; the error says why not.
pub type Visit = Box<dyn Fn(&str) -> Result<String, String> + Send + Sync>;

/// An authorization server.
pub struct Server {
    /// The issuer identifier.
    pub issuer: String,
    /// The token endpoint; the metadata of the issuer has it otherwise (RFC 8414).
    pub token_endpoint: Option<Uri>,
    /// The pushed authorization request endpoint, for codes.
    pub par_endpoint: Option<Uri>,
    /// The authorization endpoint, for codes.
    pub authorization_endpoint: Option<Uri>,
    /// The revocation endpoint (RFC 7009).
    pub revocation_endpoint: Option<Uri>,
    /// How clients authenticate.
    pub authentication: Authentication,
    /// How they ask for a token.
    pub grant: Grant,
    /// `resource` of the requests (RFC 8707).
    pub resource: Option<String>,
    /// The authorities that the certificate of the server may be of.
    pub roots: Arc<RootCertStore>,
    /// Its metadata, once they were read.
    pub metadata: OnceLock<Value>,
}

/// How clients authenticate (FAPI 2.0 §5.3.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authentication {
    /// With a signed assertion (RFC 7523).
    PrivateKeyJwt,
    /// With their certificate (RFC 8705 §2).
    TlsClientAuth,
}

/// How clients ask for a token.
pub enum Grant {
    /// For themselves.
    ClientCredentials,
    /// For a person, who logs in.
    Code {
        /// Where the browser ends.
        redirect_uri: String,
        /// Asks the person.
        visit: Visit,
    },
}

impl Server {
    /// Whether somebody has to log in for a token.
    pub(crate) fn needs_a_person(&self) -> bool {
        matches!(self.grant, Grant::Code { .. })
    }

    /// Asks for a token, and gives it with the time at which it ends.
    pub(crate) fn token(&self, wire: &mut Wire<'_>, client: usize, binding: Binding) -> Result<(String, u64), Stop> {
        let scope = wire.settings().resource.scope.clone();
        let endpoint = self.endpoint(wire, self.token_endpoint.as_ref(), "token_endpoint", binding)?;
        let mut form = match &self.grant {
            Grant::ClientCredentials => vec![("grant_type", "client_credentials".to_owned())],
            Grant::Code { redirect_uri, visit } => {
                let (code, verifier) = self.code(wire, client, binding, redirect_uri, visit, scope.as_deref())?;
                vec![
                    ("grant_type", "authorization_code".to_owned()),
                    ("code", code),
                    ("code_verifier", verifier),
                    ("redirect_uri", redirect_uri.clone()),
                ]
            }
        };
        if matches!(self.grant, Grant::ClientCredentials) {
            form.extend(scope.map(|scope| ("scope", scope)));
            form.extend(self.resource.clone().map(|resource| ("resource", resource)));
        }
        let response = self.post(wire, client, binding, &endpoint, form)?;
        let answer = response.json().unwrap_or_default();
        let token = answer.get("access_token").and_then(Value::as_str).filter(|token| !token.is_empty());
        let told = response.summary();
        let token = token.ok_or_else(|| failed(format!("the authorization server answered {told} without a token")))?;
        let lifetime = answer.get("expires_in").and_then(Value::as_u64).unwrap_or(UNSAID);
        Ok((token.to_owned(), now().saturating_add(lifetime)))
    }

    /// Revokes a token (RFC 7009 §2.1).
    pub(crate) fn revoke(&self, wire: &mut Wire<'_>, client: usize, token: &str) -> Result<(), Stop> {
        let endpoint = self.endpoint(wire, self.revocation_endpoint.as_ref(), "revocation_endpoint", Binding::Dpop)?;
        let form = vec![("token", token.to_owned()), ("token_type_hint", "access_token".to_owned())];
        // No proof is needed there, and no certificate but to authenticate.
        let response = self.post_once(wire, client, Binding::Dpop, &endpoint, &form, None)?;
        match response.is_success() {
            true => Ok(()),
            false => Err(failed(format!("the revocation was answered {}", response.summary()))),
        }
    }

    /// A code, and the verifier of its challenge (RFC 7636).
    fn code(
        &self,
        wire: &mut Wire<'_>,
        client: usize,
        binding: Binding,
        redirect_uri: &str,
        visit: &Visit,
        scope: Option<&str>,
    ) -> Result<(String, String), Stop> {
        let verifier = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
        let challenge = URL_SAFE_NO_PAD.encode(fapi::sha256(verifier.as_bytes()));
        let state = Uuid::new_v4().to_string();
        let client_id = client_of(wire, client)?.client_id.clone();
        let mut form = vec![
            ("response_type", "code".to_owned()),
            ("client_id", client_id.clone()),
            ("redirect_uri", redirect_uri.to_owned()),
            ("state", state.clone()),
            ("code_challenge", challenge),
            ("code_challenge_method", "S256".to_owned()),
        ];
        form.extend(scope.map(|scope| ("scope", scope.to_owned())));
        form.extend(self.resource.clone().map(|resource| ("resource", resource)));
        let par = self.endpoint(wire, self.par_endpoint.as_ref(), "pushed_authorization_request_endpoint", binding)?;
        let pushed = self.post(wire, client, binding, &par, form)?;
        let answer = pushed.json().unwrap_or_default();
        let request_uri = answer.get("request_uri").and_then(Value::as_str);
        let told = pushed.summary();
        let request_uri = request_uri.ok_or_else(|| failed(format!("the pushed request was answered {told}")))?;
        let authorization =
            self.endpoint(wire, self.authorization_endpoint.as_ref(), "authorization_endpoint", Binding::Dpop)?;
        let query = encoded(&[("client_id", client_id), ("request_uri", request_uri.to_owned())]);
        let separator = if authorization.query().is_some() { '&' } else { '?' };
        let ended = visit(&format!("{authorization}{separator}{query}")).map_err(failed)?;
        let query = ended.split_once('?').map(|(_, query)| query).unwrap_or_default();
        let query = query.split('#').next().unwrap_or_default();
        let parameter = |name: &str| {
            let mut pairs = form_urlencoded::parse(query.as_bytes());
            pairs.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
        };
        if let Some(error) = parameter("error") {
            return Err(failed(format!("the authorization server refused the login: {error}")));
        }
        // RFC 9207 §2.4.
        if parameter("iss").is_some_and(|iss| iss != self.issuer) {
            return Err(failed("the URL that the browser ended on is of another issuer".to_owned()));
        }
        if parameter("state").as_deref() != Some(state.as_str()) {
            return Err(failed("the URL that the browser ended on has another `state`".to_owned()));
        }
        let code =
            parameter("code").ok_or_else(|| failed("the URL that the browser ended on has no `code`".to_owned()))?;
        Ok((code, verifier))
    }

    /// An endpoint as it is configured, or as the metadata has it: the one for clients with certificates where they are used, also to
    /// have a token bound (RFC 8705 §5).
    fn endpoint(
        &self,
        wire: &mut Wire<'_>,
        configured: Option<&Uri>,
        name: &str,
        binding: Binding,
    ) -> Result<Uri, Stop> {
        if let Some(configured) = configured {
            return Ok(configured.clone());
        }
        let metadata = self.metadata(wire)?;
        let alias = metadata.get("mtls_endpoint_aliases").and_then(|aliases| aliases.get(name));
        let alias = alias.filter(|_| self.presents_certificate(binding));
        let endpoint = alias.or(metadata.get(name)).and_then(Value::as_str);
        let endpoint = endpoint.ok_or_else(|| {
            failed(format!("the metadata of the issuer has no `{name}`; write it in the configuration"))
        })?;
        endpoint.parse().map_err(|_| failed(format!("`{name}` of the metadata is not a URL")))
    }

    /// Whether a client shows its certificate to the server.
    fn presents_certificate(&self, binding: Binding) -> bool {
        self.authentication == Authentication::TlsClientAuth || binding == Binding::Certificate
    }

    /// The metadata, read once.
    fn metadata(&self, wire: &mut Wire<'_>) -> Result<&Value, Stop> {
        if let Some(metadata) = self.metadata.get() {
            return Ok(metadata);
        }
        let issuer = self.issuer.trim_end_matches('/');
        let (origin, path) = split(issuer)?;
        // RFC 8414 §3.1 puts the well-known part before the path, OpenID Connect Discovery §4 behind it.
        let places = [
            format!("{origin}/.well-known/oauth-authorization-server{path}"),
            format!("{issuer}/.well-known/openid-configuration"),
        ];
        for place in places {
            let place = place.parse::<Uri>().map_err(|error| failed(error.to_string()))?;
            let response = self.send(wire, None, &place, "GET", None, None)?;
            let metadata = response.json().filter(|_| response.is_success()).unwrap_or_default();
            if metadata.get("issuer").and_then(Value::as_str) == Some(self.issuer.as_str()) {
                return Ok(self.metadata.get_or_init(|| metadata));
            }
        }
        Err(failed("the metadata of the issuer cannot be read; write its endpoints in the configuration".to_owned()))
    }

    /// Sends a form with the authentication of a client, and once more with the nonce that the server asks for (RFC 9449 §8).
    fn post(
        &self,
        wire: &mut Wire<'_>,
        client: usize,
        binding: Binding,
        endpoint: &Uri,
        form: Vec<(&str, String)>,
    ) -> Result<Response, Stop> {
        let key = match binding {
            Binding::Dpop => client_of(wire, client)?.proof_key.clone(),
            Binding::Certificate => None,
        };
        let mut response = self.post_once(wire, client, binding, endpoint, &form, key.as_ref())?;
        let error = response.json().and_then(|answer| answer.get("error").and_then(Value::as_str).map(str::to_owned));
        if key.is_some() && error.as_deref() == Some("use_dpop_nonce") {
            response = self.post_once(wire, client, binding, endpoint, &form, key.as_ref())?;
        }
        Ok(response)
    }

    fn post_once(
        &self,
        wire: &mut Wire<'_>,
        client: usize,
        binding: Binding,
        endpoint: &Uri,
        form: &[(&str, String)],
        proof_key: Option<&SigningKey>,
    ) -> Result<Response, Stop> {
        let of = client_of(wire, client)?;
        let mut form = form.to_vec();
        if !form.iter().any(|(name, _)| *name == "client_id") {
            form.push(("client_id", of.client_id.clone()));
        }
        if self.authentication == Authentication::PrivateKeyJwt {
            let key = of.signing_key.as_ref().ok_or_else(|| failed("the client has no `signing_key`".to_owned()))?;
            form.push(("client_assertion_type", ASSERTION_TYPE.to_owned()));
            let (jti, time) = (Uuid::new_v4().to_string(), UnixTime(now()));
            let (id, key_id) = (&of.client_id, Some(key.kid()));
            let signed = assertion(key.private_key(), key_id, id, &self.issuer, &jti, time);
            form.push(("client_assertion", signed.map_err(|error| failed(error.to_string()))?));
        }
        for (name, value) in &form {
            if ["client_assertion", "code", "code_verifier", "token"].contains(name) {
                wire.learn(value, &name.to_ascii_uppercase());
            }
        }
        let presented = Some(client).filter(|_| self.presents_certificate(binding));
        self.send(wire, presented, endpoint, "POST", Some(encoded(&form)), proof_key)
    }

    fn send(
        &self,
        wire: &mut Wire<'_>,
        client: Option<usize>,
        url: &Uri,
        method: &str,
        form: Option<String>,
        proof_key: Option<&SigningKey>,
    ) -> Result<Response, Stop> {
        let address = resolve(url)?;
        let target = Target { url: url.clone(), addresses: vec![address], roots: Arc::clone(&self.roots) };
        let proofs = proof_key.map(|key| SentProof::Planned(PlannedProof::good(key)));
        let content =
            form.as_ref().map(|_| ("Content-Type".to_owned(), "application/x-www-form-urlencoded".to_owned()));
        let accept = ("Accept".to_owned(), "application/json".to_owned());
        let call = Call {
            proofs: proofs.into_iter().collect(),
            fields: std::iter::once(accept).chain(content).collect(),
            body: form,
            ..Call::bare(method, &target)
        };
        let origin = target.origin();
        let nonce = wire.nonce_of(&origin).map(str::to_owned);
        let mut sent = Sent::of(&call, &target, wire.agent(), now(), nonce.as_deref());
        // It has assertions, codes and tokens.
        sent.shown.body = call.body.as_ref().map(|_| "$FORM".to_owned());
        let timeout = wire.settings().limits.timeout;
        let certificate = match client {
            Some(client) => client_of(wire, client)?.certificate.clone(),
            None => None,
        };
        let door = Door {
            address,
            name: target.host().to_owned(),
            certificate,
            protocols: &[b"http/1.1"],
            roots: Arc::clone(&self.roots),
            timeout,
        };
        let exchange = wire.send_elsewhere(&door, &origin, sent)?;
        let told = observed(&exchange.answer);
        exchange.answer.map_err(|_| failed(format!("the authorization server at {origin} cannot be asked: {told}")))
    }
}

/// For how long a token is taken to live whose lifetime nobody says, in seconds.
const UNSAID: u64 = 300;

/// The one value of `client_assertion_type` (RFC 7523 §2.2).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

fn client_of<'s>(wire: &Wire<'s>, client: usize) -> Result<&'s crate::settings::Client, Stop> {
    wire.settings().clients.get(client).ok_or_else(|| failed("there is no such client".to_owned()))
}

fn failed(why: String) -> Stop {
    Stop::Inconclusive(why)
}

fn encoded(form: &[(&str, String)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish()
}

/// An issuer's origin and path.
fn split(issuer: &str) -> Result<(String, String), Stop> {
    let url = issuer.parse::<Uri>().map_err(|error| failed(format!("the issuer is not a URL: {error}")))?;
    let authority = url.authority().map(ToString::to_string).unwrap_or_default();
    Ok((format!("https://{authority}"), url.path().trim_end_matches('/').to_owned()))
}

/// The first address of a host.
pub(crate) fn resolve(url: &Uri) -> Result<SocketAddr, Stop> {
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_u16().unwrap_or(443);
    let addresses =
        (host, port).to_socket_addrs().map_err(|error| failed(format!("{host} has no address: {error}")))?;
    // A name of this machine has both kinds, and servers listen mostly on the older.
    let mut addresses: Vec<SocketAddr> = addresses.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses.first().copied().ok_or_else(|| failed(format!("{host} has no address")))
}
