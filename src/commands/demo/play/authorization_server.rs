//! In front of an authorization server that knows nothing of FAPI: what honest clients do, and attacks. Each attack differs in one thing
//! from what an honest client does, and is sent to the server alone too, which lets it pass.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use reqwest::RequestBuilder;
use sandbox::authorization_server::AuthorizationServer;
use sandbox::lenient_authorization_server::LenientAuthorizationServer;
use sandbox::now;
use sandbox::tokens::{KeyKind, Proof, SigningKey};
use serde_json::{Value, json};

use super::super::Stop;
use super::super::stage::{CERTIFICATE_CLIENT, CLIENT, REDIRECT_URI, Stage};
use super::exchange::{self, Answer};
use super::oauth_client::{Clients, Request, STATE};
use super::score::{Expected, Score};

/// The act.
struct Act<'s> {
    stage: &'s Stage,
    score: &'s mut Score,
    clients: Clients<'s>,
    /// Without a certificate.
    anonymous: reqwest::Client,
}

/// Makes every call; their order matters.
pub(super) async fn perform(stage: &Stage, score: &mut Score) -> Result<(), Stop> {
    let anonymous = exchange::client(stage, None)?;
    let mut act = Act { stage, score, clients: Clients::of(stage), anonymous };
    act.metadata().await?;
    let request_uri = act.push().await?;
    let code = act.authorize(&request_uri).await?;
    let token = act.exchange(&code).await?;
    act.use_token(&token).await?;
    act.introspect(&token).await?;
    act.with_a_certificate().await
}

impl Act<'_> {
    /// Clients are told what they can use here, and not what the server could do (RFC 8414).
    async fn metadata(&mut self) -> Result<(), Stop> {
        const METHODS: &str = "code_challenge_methods_supported";
        let what = "the metadata of the server";
        let path = AuthorizationServer::METADATA;
        let alone = self.anonymous.get(self.stage.servers.guarded.url(path)).send().await.map_err(failed(what))?;
        let alone: Value = serde_json::from_str(&alone.text().await.map_err(failed(what))?).unwrap_or_default();
        let answer = self.send(what, self.anonymous.get(format!("{}{path}", self.stage.origin))).await?;
        let (found, alone) = (&answer.body[METHODS], &alone[METHODS]);
        let is_narrowed = *found == json!(["S256"]) && *alone == json!(["plain", "S256"]);
        let reason = format!("{METHODS} is {found}; alone, the server says {alone}");
        self.score.enter(what, &permitted(200), &answer, &reason, is_narrowed)
    }

    /// Pushed authorization requests (RFC 9126); returns the `request_uri` of the honest one.
    async fn push(&mut self) -> Result<String, Stop> {
        let honest = self.clients.push();
        let says = "the client gets a request_uri";
        let pushed = self.permitted("a pushed authorization request", &honest, 201, says, request_uri).await?;
        let push = || self.clients.push();
        let audience = format!("{}{}", self.stage.origin, LenientAuthorizationServer::TOKEN);
        let attacks = [
            ("pushed with plain PKCE", push().with("code_challenge_method", "plain"), refused(400, "pkce_plain")),
            (
                "pushed with a redirect URI of somebody else",
                push().with("redirect_uri", "https://thief.example/callback"),
                refused(400, "redirect_uri_refused"),
            ),
            (
                "pushed without client authentication",
                push().without_authentication(),
                refused(401, "par_unauthenticated"),
            ),
            (
                "pushed with a client secret",
                push().without_authentication().with("client_secret", "anything"),
                refused(401, "client_authentication_refused"),
            ),
            (
                "pushed with an assertion used before",
                honest.with_proof(Some(self.clients.proof_of_push())),
                refused(401, "client_assertion_replayed"),
            ),
            (
                "pushed with an assertion for /token",
                push().with("client_assertion", self.clients.assertion_for(&audience)),
                refused(401, "client_assertion_audience"),
            ),
        ];
        for (what, request, expected) in &attacks {
            self.attack(what, request, expected).await?;
        }
        Ok(pushed)
    }

    /// Browsers at the authorization endpoint; returns the code of the honest one.
    async fn authorize(&mut self, request_uri: &str) -> Result<String, Stop> {
        let honest = self.clients.browser(CLIENT, request_uri);
        let code = self.redirected("a browser with that request_uri", &honest).await?;
        let of_another = self.clients.browser(CERTIFICATE_CLIENT, request_uri);
        self.attack("that request_uri, named by another client", &of_another, &refused(400, "request_uri_unknown"))
            .await?;
        let not_pushed = self.clients.browser_without_push();
        self.attack("a browser with a request that was not pushed", &not_pushed, &refused(400, "par_required")).await?;
        Ok(code)
    }

    /// The token endpoint; returns the token of the honest client.
    async fn exchange(&mut self, code: &str) -> Result<String, Stop> {
        let bound = json!({ "jkt": self.stage.dpop_key.thumbprint() });
        let honest = self.clients.exchange(code);
        let says = "the token is bound to the key of the proof";
        let token = self
            .permitted("a token request with the code and a proof", &honest, 200, says, |answer| token(answer, &bound))
            .await?;
        let without_proof = self.clients.exchange(code).with_proof(None);
        let missing = refused(400, "sender_constraint_missing");
        self.attack("a token request with nothing to bind to", &without_proof, &missing).await?;
        let again = self.clients.exchange(code);
        self.stage.servers.guarded.bind_tokens(false);
        let attacked = self.attack("a proof that the server ignores", &again, &refused(502, "answer_unbound")).await;
        self.stage.servers.guarded.bind_tokens(true);
        attacked.map(|()| token)
    }

    /// The accounts API, with a token that is bound to a key.
    async fn use_token(&mut self, token: &str) -> Result<(), Stop> {
        let thief = SigningKey::generate(KeyKind::Es256, "thief");
        let url = format!("{}/accounts", self.stage.origin);
        for (what, key, expected) in [
            ("that token at the accounts API", &self.stage.dpop_key, permitted(200)),
            ("that token, stolen, the thief's own key", &thief, refused(401, "dpop_key_mismatch")),
        ] {
            let proof = Proof::new("GET", &url, now()).for_token(token).sign(key);
            let call = self.anonymous.get(&url).header("authorization", format!("DPoP {token}")).header("dpop", proof);
            let answer = self.send(what, call).await?;
            self.score.enter(what, &expected, &answer, answer.reason(), true)?;
        }
        Ok(())
    }

    /// The introspection endpoint (RFC 7662).
    async fn introspect(&mut self, token: &str) -> Result<(), Stop> {
        let honest = self.clients.introspection(token);
        let is_active = |answer: &Answer| (answer.body["active"] == true).then_some(());
        self.permitted("a resource server asks about that token", &honest, 200, "it is active", is_active).await?;
        let by_client = self.clients.introspection_by_client(token);
        self.attack("a client asks about it", &by_client, &refused(401, "client_unknown")).await
    }

    /// The flow of a client that authenticates with a certificate, to which its token is bound (RFC 8705).
    async fn with_a_certificate(&mut self) -> Result<(), Stop> {
        let honest = self.clients.push_with_certificate();
        let says = "the client gets a request_uri";
        let pushed =
            self.permitted("another client pushes, with its certificate", &honest, 201, says, request_uri).await?;
        let honest = self.clients.browser(CERTIFICATE_CLIENT, &pushed);
        let code = self.redirected("a browser with its request_uri", &honest).await?;
        let bound = json!({ "x5t#S256": self.stage.client.x5t_s256() });
        let honest = self.clients.exchange_with_certificate(&code);
        let says = "the token is bound to the certificate";
        let token = self
            .permitted("a token request with the certificate", &honest, 200, says, |answer| token(answer, &bound))
            .await?;
        let url = format!("{}/accounts", self.stage.origin);
        for (what, certificate, expected) in [
            ("its token with the certificate", &self.stage.client, permitted(200)),
            ("its token with another certificate", &self.stage.thief, refused(401, "certificate_mismatch")),
        ] {
            let client = exchange::client(self.stage, Some(certificate))?;
            let call = client.get(&url).header("authorization", format!("Bearer {token}"));
            let answer = self.send(what, call).await?;
            self.score.enter(what, &expected, &answer, answer.reason(), true)?;
        }
        Ok(())
    }

    /// Makes a call of an honest client and returns what it needs of the answer, which has to be there.
    async fn permitted<T>(
        &mut self,
        what: &str,
        request: &Request,
        status: u16,
        says: &str,
        read: impl FnOnce(&Answer) -> Option<T>,
    ) -> Result<T, Stop> {
        let answer = self.send(what, self.to_gateway(request)?).await?;
        let found = read(&answer);
        let reason = if found.is_some() { says } else { answer.reason() };
        self.score.enter(what, &permitted(status), &answer, reason, found.is_some())?;
        found.ok_or_else(|| Stop::Failed(format!("{what}: the answer is not what the next calls need")))
    }

    /// Sends a browser that has to come back to the client, and returns the code.
    async fn redirected(&mut self, what: &str, request: &Request) -> Result<String, Stop> {
        let issuer = self.stage.origin.clone();
        let says = "the browser leads to the client, with code and iss";
        self.permitted(what, request, 303, says, |answer| code(answer, &issuer)).await
    }

    /// Sends an attack to the server alone, which lets it pass, and then through the gateway.
    async fn attack(&mut self, what: &str, request: &Request, expected: &Expected) -> Result<(), Stop> {
        let alone = request.to(&self.anonymous, &self.stage.servers.guarded.url(""));
        let alone = alone.send().await.map_err(failed(what))?.status();
        let answer = self.send(what, self.to_gateway(request)?).await?;
        let reason = format!("{}; alone, the server answers {}", answer.reason(), alone.as_u16());
        self.score.enter(what, expected, &answer, &reason, alone.is_success() || alone.is_redirection())
    }

    fn to_gateway(&self, request: &Request) -> Result<RequestBuilder, Stop> {
        Ok(match request.certificate() {
            None => request.to(&self.anonymous, &self.stage.origin),
            certificate @ Some(_) => request.to(&exchange::client(self.stage, certificate)?, &self.stage.origin),
        })
    }

    async fn send(&self, what: &str, request: RequestBuilder) -> Result<Answer, Stop> {
        exchange::through_the_gateway(self.stage, request)
            .await
            .map_err(|error| Stop::Failed(format!("{what}: {error}")))
    }
}

fn permitted(status: u16) -> Expected {
    Expected { status, code: "ok" }
}

fn refused(status: u16, code: &'static str) -> Expected {
    Expected { status, code }
}

fn failed(what: &str) -> impl Fn(reqwest::Error) -> Stop + '_ {
    move |error| Stop::Failed(format!("{what}, to the server alone: {error}"))
}

/// RFC 9126 §2.2.
fn request_uri(answer: &Answer) -> Option<String> {
    answer.body["request_uri"].as_str().map(str::to_owned)
}

/// The code of an authorization response at the client's redirect URI, with the client's `state` and the issuer (RFC 9207).
fn code(answer: &Answer, issuer: &str) -> Option<String> {
    let response = answer.header("location")?.strip_prefix(REDIRECT_URI)?.strip_prefix('?')?;
    let value = |wanted: &str| {
        let mut values = form_urlencoded::parse(response.as_bytes()).filter(|(name, _)| name == wanted);
        values.next().map(|(_, value)| value.into_owned())
    };
    let is_ours = value("iss")? == issuer && value("state")? == STATE;
    value("code").filter(|_| is_ours)
}

/// The token of an answer, if it is bound like this.
fn token(answer: &Answer, bound: &Value) -> Option<String> {
    let token = answer.body["access_token"].as_str()?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?).ok()?;
    (claims["cnf"] == *bound).then(|| token.to_owned())
}
