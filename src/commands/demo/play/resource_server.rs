//! In front of a resource server: the calls, each with its expected result and over its own TLS connection.

use sandbox::now;
use sandbox::pki::Credential;
use sandbox::tokens::{self, AccessToken, KeyKind, Proof, SigningKey};
use serde_json::json;

use super::super::Stop;
use super::super::stage::Stage;
use super::exchange::{self, Answer};
use super::score::{Expected, Score};

/// One call of the demo.
struct Call {
    what: &'static str,
    certificate: Option<Credential>,
    token: Option<String>,
    /// Whether the token is revoked at its issuer before the call.
    revoked: bool,
    proof: Option<DpopProof>,
    target: String,
    headers: Vec<(&'static str, &'static str)>,
    status: u16,
    code: &'static str,
    /// A header field and the value that the accounts API must have received in it, for calls that reach it.
    seen: Option<(&'static str, &'static str)>,
}

/// The `DPoP` field of a call; with any of these, the token is sent with the scheme DPoP.
enum DpopProof {
    /// Made before the calls.
    Made(String),
    /// Made for the call, with the nonce of the previous response.
    WithNonce(Proof),
    /// No field at all.
    Missing,
}

impl Call {
    /// The honest call; every other call differs from it in what its name says.
    fn honest(stage: &Stage, what: &'static str) -> Self {
        Self {
            what,
            certificate: Some(stage.client.clone()),
            token: Some(sign(stage, honest_token(stage))),
            revoked: false,
            proof: None,
            target: "/accounts".into(),
            headers: Vec::new(),
            status: 200,
            code: "ok",
            seen: None,
        }
    }

    fn refused(mut self, status: u16, code: &'static str) -> Self {
        (self.status, self.code) = (status, code);
        self
    }

    fn with_token(mut self, token: impl Into<Option<String>>) -> Self {
        self.token = token.into();
        self
    }

    fn with_proof(mut self, proof: &Proof, key: &SigningKey) -> Self {
        self.proof = Some(DpopProof::Made(proof.sign(key)));
        self
    }

    fn with_certificate(mut self, certificate: impl Into<Option<Credential>>) -> Self {
        self.certificate = certificate.into();
        self
    }
}

fn honest_token(stage: &Stage) -> AccessToken {
    stage.servers.issuer.token(now()).bound_to_certificate(&stage.client)
}

fn sign(stage: &Stage, token: AccessToken) -> String {
    token.sign(stage.servers.issuer.key(KeyKind::Ps256))
}

fn calls(stage: &Stage) -> Vec<Call> {
    let honest = |what| Call::honest(stage, what);
    let token = || honest_token(stage);
    let claims = token().claims();
    let key = stage.servers.issuer.key(KeyKind::Ps256);
    let header = |algorithm: &str| json!({"typ": "at+jwt", "alg": algorithm, "kid": key.kid()});
    let mut query = honest("the token in the query").refused(401, "credentials_in_query");
    query.target = format!("/accounts?access_token={}", query.token.take().unwrap_or_default());
    let mut spoofed = honest("right certificate, spoofed identity header");
    spoofed.headers = vec![("x-token-client-id", "the-bank-itself"), ("x_token_client_id", "the-bank-itself")];
    spoofed.seen = Some(("x-token-client-id", "client-1"));
    let mut path = honest("an ambiguous path").refused(400, "path_ambiguous");
    path.target = "/health/..%2faccounts".into();
    let mut public = honest("a public route, without anything").with_token(None).with_certificate(None);
    public.target = "/health".into();
    let mut unknown = honest("a path that no route names").refused(404, "route_not_found");
    unknown.target = "/admin".into();
    vec![
        honest("right certificate"),
        honest("no certificate").with_certificate(None).refused(401, "certificate_missing"),
        honest("another certificate, stolen token")
            .with_certificate(stage.thief.clone())
            .refused(401, "certificate_mismatch"),
        honest("no token").with_token(None).refused(401, "credentials_missing"),
        honest("expired").with_token(sign(stage, token().expires_at(now() - 1))).refused(401, "token_expired"),
        honest("wrong audience")
            .with_token(sign(stage, token().audience("https://api.other.example")))
            .refused(401, "token_audience_mismatch"),
        honest("missing scope").with_token(sign(stage, token().scope("payments"))).refused(403, "scope_insufficient"),
        honest("a token that is bound to nothing")
            .with_token(sign(stage, token().without("cnf")))
            .refused(401, "token_unbound"),
        honest("alg: none")
            .with_token(tokens::unsigned(&header("none"), &claims))
            .refused(401, "token_algorithm_refused"),
        honest("HS256 with the public key as secret")
            .with_token(tokens::hs256(key.public_key_pem().as_bytes(), &header("HS256"), &claims))
            .refused(401, "token_algorithm_refused"),
        honest("signed by somebody else")
            .with_token(token().sign(&SigningKey::generate(KeyKind::Ps256, key.kid())))
            .refused(401, "token_signature_invalid"),
        query,
        spoofed,
        path,
        unknown,
        public,
    ]
}

/// Calls with tokens that are bound to a key (RFC 9449), over connections without a certificate; their order matters.
fn dpop_calls(stage: &Stage) -> Vec<Call> {
    let key = &stage.dpop_key;
    let thief = SigningKey::generate(KeyKind::Es256, "thief");
    let bound = || stage.servers.issuer.token(now()).bound_to_key(key.thumbprint());
    let token = sign(stage, bound());
    let call = |what| Call::honest(stage, what).with_certificate(None).with_token(token.clone());
    let proof = |method: &str, path: &str, token: &str| {
        Proof::new(method, &format!("{}{path}", stage.origin), now()).for_token(token)
    };
    let good = || proof("GET", "/accounts", &token);
    let first = call("right proof of the key").with_proof(&good(), key);
    let mut again = call("the same proof again").refused(401, "dpop_replayed");
    if let Some(DpopProof::Made(proof)) = &first.proof {
        again.proof = Some(DpopProof::Made(proof.clone()));
    }
    let mut missing = call("no proof").refused(401, "dpop_missing");
    missing.proof = Some(DpopProof::Missing);
    let mut without_nonce = call("no nonce where the route requires one")
        .with_proof(&proof("GET", "/accounts/1002", &token), key)
        .refused(401, "dpop_nonce_required");
    without_nonce.target = "/accounts/1002".into();
    let mut with_nonce = call("with the nonce of that response");
    with_nonce.target = "/accounts/1002".into();
    with_nonce.proof = Some(DpopProof::WithNonce(proof("GET", "/accounts/1002", &token)));
    let both = sign(stage, bound().bound_to_certificate(&stage.client));
    vec![
        first,
        again,
        call("a proof for another path")
            .with_proof(&proof("GET", "/accounts/1001", &token), key)
            .refused(401, "dpop_uri_mismatch"),
        call("a proof for another method")
            .with_proof(&proof("POST", "/accounts", &token), key)
            .refused(401, "dpop_method_mismatch"),
        call("a proof for another token")
            .with_proof(&proof("GET", "/accounts", &both), key)
            .refused(401, "dpop_ath_mismatch"),
        call("stolen token, the thief's own key").with_proof(&good(), &thief).refused(401, "dpop_key_mismatch"),
        missing,
        call("the token as Bearer").refused(401, "dpop_token_as_bearer"),
        call("a proof of two minutes ago")
            .with_proof(&good().claim("iat", now() - 120), key)
            .refused(401, "dpop_stale"),
        without_nonce,
        with_nonce,
        call("bound to certificate and key, no certificate")
            .with_token(both.clone())
            .with_proof(&proof("GET", "/accounts", &both), key)
            .refused(401, "certificate_missing"),
    ]
}

/// Calls with opaque tokens, which are introspected (RFC 7662); their order matters.
fn introspected_calls(stage: &Stage) -> Vec<Call> {
    let token = stage.servers.issuer.issue(&honest_token(stage));
    let call = |what| {
        let mut call = Call::honest(stage, what).with_token(token.clone());
        call.target = "/accounts/1001".into();
        call
    };
    let mut elsewhere = call("an opaque token where only JWTs are accepted").refused(401, "token_malformed");
    elsewhere.target = "/accounts".into();
    let mut revoked = call("the same token, revoked at its issuer").refused(401, "token_inactive");
    revoked.revoked = true;
    vec![
        call("an opaque token, introspected"),
        call("the same token, another certificate")
            .with_certificate(stage.thief.clone())
            .refused(401, "certificate_mismatch"),
        elsewhere,
        call("an invented token").with_token("invented".to_owned()).refused(401, "token_inactive"),
        revoked,
    ]
}

/// Makes every call.
pub(super) async fn perform(stage: &Stage, score: &mut Score) -> Result<(), Stop> {
    let mut calls = calls(stage);
    calls.extend(dpop_calls(stage));
    calls.extend(introspected_calls(stage));
    let mut nonce = None;
    for call in &calls {
        let answer = place(stage, call, nonce).await.map_err(|error| format!("{}: {error}", call.what))?;
        nonce = answer.header("dpop-nonce").map(str::to_owned);
        let seen = call.seen.map(|(field, value)| (field, value, answer.body["seen"][field].as_str()));
        let reason = match seen {
            Some((field, value, seen)) => format!("the resource server saw {field}: {}", seen.unwrap_or(value)),
            None => answer.reason().to_owned(),
        };
        let was_seen = seen.is_none_or(|(_, value, seen)| seen == Some(value));
        let expected = Expected { status: call.status, code: call.code };
        score.enter(call.what, &expected, &answer, &reason, was_seen)?;
    }
    Ok(())
}

/// Makes one call. `nonce` is that of the previous response.
async fn place(stage: &Stage, call: &Call, nonce: Option<String>) -> Result<Answer, String> {
    let client = exchange::client(stage, call.certificate.as_ref())?;
    let mut request = client.get(format!("{}{}", stage.origin, call.target));
    if let Some(token) = &call.token {
        if call.revoked {
            stage.servers.issuer.revoke(token);
        }
        let scheme = if call.proof.is_some() { "DPoP" } else { "Bearer" };
        request = request.header("authorization", format!("{scheme} {token}"));
    }
    request = match &call.proof {
        None | Some(DpopProof::Missing) => request,
        Some(DpopProof::Made(proof)) => request.header("dpop", proof),
        Some(DpopProof::WithNonce(proof)) => {
            let nonce = nonce.ok_or("the previous response had no DPoP-Nonce")?;
            request.header("dpop", proof.clone().claim("nonce", nonce).sign(&stage.dpop_key))
        }
    };
    for (name, value) in &call.headers {
        request = request.header(*name, *value);
    }
    exchange::through_the_gateway(stage, request).await
}
