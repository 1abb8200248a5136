//! Introspection: a revocation while an issuer is asked, one call for one token, and the places of those that wait.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use fapi::UnixTime;
use fapi::credentials::PresentedToken;
use fapi::revocation::{Revocation, Subject};
use fapi::token::{AccessTokenForm, ActiveToken, Expected, MissingAudience, TokenHash};
use http::{Response, header};
use reqwest::Url;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use shuttle::future::{block_on, yield_now};
use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use super::http::{Issuer, is_played_by};
use super::introspection::{self, Asker, Authentication, Introspector, Room};
use super::revocations::Revocations;
use super::{JwksSettings, Shared, Timing, ValidateError};
use crate::tls_client::TrustAnchors;

/// Whoever presents a token after it was revoked is refused, although others asked about it before and meanwhile, and
/// the issuer's response from before the revocation arrives after it.
pub fn a_revoked_token_is_not_accepted_afterwards() {
    let scene = Scene::new(Room { total: 10, per_client: 10 });
    let before = [(); 2].map(|()| scene.present("token", 1, None));
    // Anywhere in the course of their call.
    for _ in 0..thread_rng().gen_range(0..24) {
        thread::yield_now();
    }
    scene.issuer.revoked.store(true, Ordering::Relaxed);
    revoke(&scene.revocations, "token");
    assert!(scene.present("token", 1, None).join().unwrap().is_err());
    for presented in before {
        let _either = presented.join().unwrap();
    }
    assert!(scene.present("token", 1, None).join().unwrap().is_err());
}

/// However many present a token at the same time, the issuer is asked once.
pub fn one_call_serves_all() {
    let scene = Scene::new(Room { total: 1, per_client: 1 });
    let presented = [1, 2, 3].map(|client| scene.present("token", client, None));
    for presented in presented {
        assert!(presented.join().unwrap().is_ok());
    }
    assert_eq!(scene.issuer.asked.load(Ordering::Relaxed), 1);
}

/// No more calls are made than there are places, and a client whose call has returned has its place back.
pub fn places_are_bounded_and_given_back() {
    let scene = Scene::new(Room { total: 1, per_client: 1 });
    let presented = [1_u8, 2].map(|client| scene.present(&format!("token-{client}"), client, Some(Duration::ZERO)));
    let served = presented.map(|presented| presented.join().unwrap().is_ok());
    assert!(served.contains(&true));
    assert_eq!(scene.issuer.most.load(Ordering::Relaxed), 1, "one place, one call");
    for client in [1, 2] {
        let after = scene.present(&format!("token-{client}-later"), client, None);
        assert!(after.join().unwrap().is_ok(), "the place is free");
    }
}

struct Scene {
    issuer: Arc<Bank>,
    introspector: Arc<Introspector>,
    revocations: Arc<Revocations>,
}

/// An issuer whose responses take a while.
#[derive(Default)]
struct Bank {
    revoked: AtomicBool,
    asked: AtomicUsize,
    /// How many calls are in progress, and how many were at most.
    calls: AtomicUsize,
    most: AtomicUsize,
}

impl Scene {
    fn new(max_waiting: Room) -> Self {
        let issuer = Arc::new(Bank::default());
        is_played_by(Arc::new(Played(issuer.clone())));
        let revocations = Arc::new(Revocations::default());
        let long = Duration::from_secs(3600);
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(Vec::new()));
        let settings = introspection::Settings {
            endpoint: Some(Url::parse("https://bank.example/introspect").unwrap()),
            client_id: "gateway".into(),
            authentication: Authentication::Certificate(Vec::new(), key),
            response: introspection::Response::Json,
            missing_audience: MissingAudience::Refuse,
            timeout: long,
            max_calls: 10,
            max_waiting,
            cache: introspection::CacheSettings {
                max_entries: 100,
                max_bytes: 1 << 20,
                max_age: long,
                inactive_max_age: long,
            },
        };
        let shared =
            Shared { timing: Timing::default(), observer: Arc::new(()), revocations: revocations.clone() };
        let anchors = TrustAnchors::System;
        let introspector =
            Introspector::new(expected(), settings, &anchors, None, JwksSettings::default(), shared).unwrap();
        Self { issuer, introspector: Arc::new(introspector), revocations }
    }

    /// Does what a request with a token does, in a thread of its own; with a `max_age` of zero, it makes its own call.
    fn present(
        &self,
        token: &str,
        client: u8,
        max_age: Option<Duration>,
    ) -> thread::JoinHandle<Result<Arc<ActiveToken>, ValidateError>> {
        let (introspector, token) = (self.introspector.clone(), token.to_owned());
        thread::spawn(move || {
            let token = PresentedToken::parse(&token).unwrap();
            let hash = TokenHash::of(token);
            if let Some(found) = introspector.remembered(&hash, max_age) {
                return Ok(found);
            }
            block_on(introspector.introspect((token, &hash), Asker::Key([client; 32]), max_age, NOW))
        })
    }
}

struct Played(Arc<Bank>);

impl Issuer for Played {
    fn answer(&self, form: String) -> Pin<Box<dyn Future<Output = Response<Bytes>> + Send>> {
        let bank = self.0.clone();
        Box::pin(async move {
            bank.asked.fetch_add(1, Ordering::Relaxed);
            let calls = bank.calls.fetch_add(1, Ordering::Relaxed) + 1;
            bank.most.fetch_max(calls, Ordering::Relaxed);
            yield_now().await;
            let revoked = bank.revoked.load(Ordering::Relaxed);
            yield_now().await;
            bank.calls.fetch_sub(1, Ordering::Relaxed);
            let token = form.split('&').find_map(|pair| pair.strip_prefix("token=")).unwrap();
            let body = if revoked { json!({ "active": false }).to_string() } else { claims(token) };
            Response::builder().header(header::CONTENT_TYPE, "application/json").body(body.into()).unwrap()
        })
    }
}

/// The response for a token whose `jti` is the token itself.
fn claims(token: &str) -> String {
    json!({ "active": true, "aud": "https://api.example", "jti": token }).to_string()
}

fn expected() -> Expected {
    Expected {
        name: "bank".into(),
        issuer: "https://bank.example".into(),
        audiences: vec!["https://api.example".into()],
        algorithms: Vec::new(),
        rs256: None,
        form: AccessTokenForm::default(),
    }
}

fn revoke(table: &Revocations, jti: &str) {
    let subject = Subject::Jti(jti.into());
    let revocation = Revocation { issuer: None, subject, issued_until: NOW, expires_at: None };
    table.record(&[revocation], Duration::from_secs(3600), 100, NOW).unwrap();
}

const NOW: UnixTime = UnixTime(1_800_000_000);
