//! An axum service that protects its own handlers with the crate `fapi`.
//!
//! The TLS acceptor, which is not shown, adds the client as a [`Peer`] to the extensions of each request.

mod api;

use std::error::Error;
use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Router};
use fapi::UnixTime;
use fapi::credentials::Scheme;
use fapi::dpop::{Freshness, Nonces};
use fapi::error_format::ErrorFormat;
use fapi::headers::InteractionId;
use fapi::jose::keys::{Algorithm, KeySet};
use fapi::message::ExchangeError;
use fapi::peer::{NoCertificate, Peer};
use fapi::permit::{Judged, Permit};
use fapi::policy::{IssuerIndex, NonceMode, Policy, ScopeRule};
use fapi::rejection::{Cause, Rejection, Seen};
use fapi::route::{
    Forward, Limits, OnExpiry, Origin, PathCharacters, Pattern, Requirement, Route, Routes, UpstreamRef,
};
use fapi::token::{AccessTokenForm, Expected};
use http::Method;

use api::Api;

/// Passes a request on with its [`Permit`], or answers it with the status, the challenge and a small JSON body.
async fn protect(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    let (mut parts, mut body) = request.into_parts();
    let peer = parts.extensions.get().cloned().unwrap_or(Peer::Anonymous(NoCertificate::NotPresented));
    let mut seen = Seen::default();
    let authorized = match api.judge(&parts, &peer, now(), &mut seen) {
        Ok(Judged::Authorized(authorized)) => Ok(authorized),
        // RFC 6750 §2: a client must not send a second token, and a form is where it could. Other bodies are compared with
        // the token where the policy says so.
        Ok(waiting) => match to_bytes(body, BODY_LIMIT).await {
            Ok(bytes) => {
                body = Body::from(bytes.clone());
                match waiting {
                    Judged::Authorized(authorized) => Ok(authorized),
                    Judged::AwaitsForm(waiting) => waiting.judge(&bytes).map_err(Cause::from),
                    Judged::AwaitsBody(waiting) => waiting.judge(&bytes).map_err(Cause::from),
                    Judged::AwaitsSignature(_) => unreachable!("the policy says nothing of signatures"),
                    Judged::AwaitsConsent(_) => unreachable!("the policy says nothing of consents"),
                    Judged::AwaitsParameters(_) => unreachable!("there is no authorization server here"),
                }
            }
            Err(_) => {
                body = Body::empty();
                Err(ExchangeError::BodyTooLarge { limit: BODY_LIMIT as u64 }.into())
            }
        },
        Err(cause) => Err(cause),
    };
    match authorized.and_then(|authorized| api.redeem(authorized, now())) {
        Ok(permit) => {
            parts.extensions.insert(permit);
            next.run(Request::from_parts(parts, body)).await
        }
        Err(cause) => {
            let interaction = InteractionId::from_request(&parts.headers);
            let interaction = interaction.unwrap_or_else(|| InteractionId::from_uuid(uuid::Uuid::new_v4()));
            Rejection::new(cause, seen).response(&interaction).map(Body::from)
        }
    }
}

const BODY_LIMIT: usize = 64 * 1024;

/// A handler that cannot be reached without a permit.
async fn accounts(Extension(permit): Extension<Permit>) -> String {
    let subject = permit.token().and_then(|token| token.claims().text("sub"));
    format!("the accounts of {}\n", subject.unwrap_or("nobody"))
}

fn service(api: Api) -> Router {
    Router::new().route("/accounts", get(accounts)).layer(middleware::from_fn_with_state(Arc::new(api), protect))
}

/// `GET /accounts` at `https://api.example`, for tokens of `https://as.example` with the scope `accounts`.
fn api(jwks: &[u8], nonce_key: [u8; 32], now: UnixTime) -> Result<Api, Box<dyn Error>> {
    let scopes = ScopeRule::All(vec!["accounts".into()]);
    let policy = Policy::new(scopes, vec![IssuerIndex(0)], vec![Scheme::Bearer, Scheme::Dpop], NonceMode::WhenStale)?;
    let accounts = Route {
        name: "accounts".into(),
        pattern: Pattern::parse("/accounts")?,
        path_characters: PathCharacters::Strict,
        hosts: vec![],
        methods: vec![Method::GET],
        requirement: Requirement::Protected(policy.into()),
        upstream: UpstreamRef { name: "this service".into(), index: 0 },
        forward: Forward::default(),
        limits: Limits::default(),
        on_expiry: OnExpiry::default(),
        errors: ErrorFormat::default(),
        cors: None,
    };
    Ok(Api {
        origin: Arc::new(Origin::parse("https://api.example")?),
        routes: Routes::new(vec![accounts])?,
        issuer: Expected {
            name: "bank".into(),
            issuer: "https://as.example".into(),
            audiences: vec!["https://api.example".into()],
            algorithms: vec![Algorithm::Ps256, Algorithm::Es256],
            rs256: None,
            form: AccessTokenForm::default(),
        },
        keys: KeySet::parse(jwks)?,
        freshness: Freshness { max_age: 60, clock_skew: 10, nonces: Nonces::new(&[nonce_key], 300)? },
        used_proofs: Mutex::default(),
        started_at: now,
    })
}

#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "a service has a clock; the crate has none")]
fn now() -> UnixTime {
    use std::time::SystemTime;
    UnixTime(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()))
}

#[expect(clippy::disallowed_methods, reason = "a service reads its key set; the crate is given it")]
fn main() -> Result<(), Box<dyn Error>> {
    let jwks = std::fs::read(std::env::args().nth(1).ok_or("usage: axum JWKS_FILE")?)?;
    let mut nonce_key = [0; 32];
    aws_lc_rs::rand::fill(&mut nonce_key)?;
    // Serve it behind a TLS acceptor that asks clients for certificates.
    let _service = service(api(&jwks, nonce_key, now())?);
    Ok(())
}

#[cfg(test)]
mod tests;
