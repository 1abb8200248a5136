//! One way of asking, from within: what its memory holds, and what is left when someone goes away.

use std::sync::mpsc;

use rustls::pki_types::pem::PemObject;
use serde_json::json;

use super::super::jwks::Location;
use super::*;
use crate::commands::demo::authorization_server::{AuthorizationServer, ResourceServer};
use crate::commands::demo::https::Answer as Reply;
use crate::commands::demo::pki::Authority;
use crate::commands::demo::tokens::{KeyKind, SigningKey};
use crate::fapi::keys::Algorithm;
use crate::fapi::rejection::{Cause, Code};

const NOW: UnixTime = UnixTime(1_800_000_000);
const DEADLINE: Duration = Duration::from_secs(10);
const PATH: &str = AuthorizationServer::INTROSPECTION;

/// Asks `issuer` at its usual path, with `settings` as `adjust` leaves them.
fn introspector(
    issuer: &str,
    authority: &Authority,
    key: &SigningKey,
    adjust: impl FnOnce(&mut Settings),
) -> Arc<Introspector> {
    let key = PrivateKeyDer::from_pem_slice(key.private_key_pem().as_bytes()).unwrap();
    let mut settings = Settings {
        endpoint: Some(Url::parse(&format!("{issuer}{PATH}")).unwrap()),
        client_id: "gateway".into(),
        authentication: Authentication::PrivateKeyJwt(ClientKey::new(&key, None).unwrap()),
        response: Response::Json,
        missing_audience: MissingAudience::Refuse,
        timeout: DEADLINE,
        max_calls: 64,
        max_waiting: 1024,
        cache: CACHE,
    };
    adjust(&mut settings);
    let expected = Expected {
        name: "bank".into(),
        issuer: issuer.into(),
        audiences: vec![AuthorizationServer::AUDIENCE.into()],
        algorithms: Algorithm::ALL.to_vec(),
    };
    let anchors = TrustAnchors::Given(vec![authority.der().clone()]);
    let (jwks, timing) = (JwksSettings::default(), Timing::default());
    let keys = match settings.response {
        Response::Json => None,
        Response::Jwt { .. } => {
            let location = Location::Discovered(Discovery::new(issuer).unwrap());
            let client = Client::new(&anchors, DEADLINE, DEADLINE).unwrap();
            Some(Arc::new(KeySource::new("bank".into(), location, client, jwks, timing, Arc::new(()))))
        }
    };
    Arc::new(Introspector::new(expected, settings, &anchors, keys, jwks, timing, Arc::new(())).unwrap())
}

/// The same, of an issuer that is there and knows the gateway's key; its clock stands still.
fn served(adjust: impl FnOnce(&mut Settings)) -> (AuthorizationServer, Arc<Introspector>) {
    let authority = Authority::new("issuer");
    let server = AuthorizationServer::start(&authority).unwrap();
    server.keep_time(|| NOW.0);
    let key = SigningKey::generate(KeyKind::Es256, "gateway");
    let introspector = introspector(server.issuer(), &authority, &key, adjust);
    server.register("gateway", ResourceServer::Key(key));
    (server, introspector)
}

/// The same, of an issuer that nobody is going to ask.
fn alone(adjust: impl FnOnce(&mut Settings)) -> Arc<Introspector> {
    let key = SigningKey::generate(KeyKind::Es256, "gateway");
    introspector("https://as.example", &Authority::new("issuer"), &key, adjust)
}

const CACHE: CacheSettings = CacheSettings {
    max_entries: 1000,
    max_bytes: 1024 * 1024,
    max_age: Duration::from_secs(30),
    inactive_max_age: Duration::from_secs(5),
};

async fn ask(introspector: &Arc<Introspector>, token: &str, max_age: Option<Duration>) -> Result<(), Code> {
    let token = PresentedToken::for_test(token);
    let outcome = introspector.introspect(token, &TokenHash::of(token), max_age, NOW).await;
    outcome.map(|_| ()).map_err(|error| Cause::from(error).code())
}

fn hash(token: &str) -> TokenHash {
    TokenHash::of(PresentedToken::for_test(token))
}

fn active(introspector: &Introspector, token: &str, size: usize) -> Arc<ActiveToken> {
    let answer = json!({ "active": true, "aud": AuthorizationServer::AUDIENCE, "more": "x".repeat(size) });
    let Answer::Active(answer) = Answer::from_json(answer.to_string().as_bytes()).unwrap() else { panic!("inactive") };
    let judged =
        ActiveToken::from_introspection(answer, &hash(token), &introspector.expected, MissingAudience::Refuse, NOW);
    Arc::new(judged.unwrap())
}

fn remember(introspector: &Introspector, token: &str, size: usize) {
    introspector.remember(&hash(token), &active(introspector, token, size), instant(), NOW);
}

fn nothing_is_left(introspector: &Introspector) -> bool {
    introspector.waiting.load(Ordering::Acquire) == 0
        && lock(&introspector.flights).is_empty()
        && introspector.calls.available_permits() == introspector.settings.max_calls
}

async fn until_nothing_is_left(introspector: &Introspector) {
    let gone = async {
        while !nothing_is_left(introspector) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, gone).await.expect("places, flights and turns are given back");
}

/// Asks when it is dropped, as a request does that is polled once more while its runtime shuts down.
struct LastWords(Arc<Introspector>);

impl Drop for LastWords {
    fn drop(&mut self) {
        let token = PresentedToken::for_test("opaque");
        let place = self.0.wait_in_line().unwrap();
        drop(self.0.join(token, &hash("opaque"), DEADLINE, NOW, place));
    }
}

#[test]
fn a_runtime_that_shuts_down_does_not_wait_for_a_question_that_cannot_be_asked_any_more() {
    let (ended, end) = mpsc::channel();
    let introspector = alone(|_| {});
    let asked = introspector.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let words = LastWords(asked);
        runtime.spawn(async move {
            let _words = words;
            std::future::pending::<()>().await;
        });
        runtime.block_on(tokio::task::yield_now());
        drop(runtime);
        ended.send(()).unwrap();
    });
    end.recv_timeout(DEADLINE).expect("the runtime ends");
    assert!(nothing_is_left(&introspector));
}

#[tokio::test]
async fn what_is_asked_and_answered_late_is_judged_by_the_time_it_is_then() {
    let (server, introspector) =
        served(|settings| settings.response = Response::Jwt { audiences: vec!["gateway".into()] });
    introspector.keys.as_ref().unwrap().refresh().await.unwrap();
    let token = server.issue(&server.token(NOW.0));
    let ago =
        |seconds| instant().checked_sub(Duration::from_secs(seconds)).expect("a time since the machine was started");
    for waited in [0, 10, 11, 29] {
        // The issuer's clock went on while the request waited for its turn.
        server.keep_time(move || NOW.0 + waited);
        let answer = introspector.call(&token, NOW, ago(waited)).await;
        assert!(matches!(answer, Ok((Answer::Active(_), _))), "{waited}: {answer:?}");
        let form = server.requests().pop().unwrap().body;
        let assertion = form_urlencoded::parse(&form).find(|(name, _)| name == "client_assertion").unwrap().1;
        assert_eq!(claims(&assertion)["iat"], NOW.0 + waited);
    }
    // Control: an issuer whose clock is that much ahead.
    let answer = introspector.call(&token, NOW, instant()).await;
    assert!(matches!(answer, Err(Fault::Answer(AnswerError::Statement(StatementError::IssuedInFuture { .. })))));
}

fn claims(jws: &str) -> Value {
    use base64::Engine;
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(jws.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

#[test]
fn atk_sz_06_a_full_memory_takes_a_token_on_its_first_use_however_large() {
    let introspector = alone(|settings| settings.cache.max_entries = 100);
    for _ in 0..20 {
        for number in 0..100 {
            let token = format!("token-{number}");
            if introspector.remembered(&hash(&token), None).is_none() {
                remember(&introspector, &token, 0);
            }
        }
        introspector.active.run_pending_tasks();
    }
    assert!(introspector.entries() >= 50, "control: it is full of tokens that are used");
    for (token, size) in [("small", 0), ("large", 200 * 1024)] {
        remember(&introspector, token, size);
        introspector.active.run_pending_tasks();
        assert!(introspector.remembered(&hash(token), None).is_some(), "{token}");
    }
    assert!(introspector.active.weighted_size() <= CACHE.max_bytes);
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn lines(&self, part: &str) -> Vec<String> {
        let text = String::from_utf8(lock(&self.0).clone()).unwrap();
        text.lines().filter(|line| line.contains(part)).map(str::to_owned).collect()
    }
}

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        lock(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl tracing_subscriber::fmt::MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
