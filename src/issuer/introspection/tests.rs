//! Tests of one introspector: what its caches hold, and that nothing is left behind when a client or the runtime goes
//! away.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use fapi::code::Code;
use fapi::jose::jwe::{DecryptionKey, DecryptionKeys};
use fapi::jose::keys::Algorithm;
use fapi::jose::statement::StatementError;
use fapi::rejection::Cause;
use fapi::token::shared::SealKeys;
use fapi::token::{AccessTokenForm, MissingAudience};
use reqwest::Url;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use sandbox::authorization_server::{AuthorizationServer, ResourceServer, Script};
use sandbox::https::{Answer as Reply, Recorded};
use sandbox::pki::Authority;
use sandbox::tokens::{KeyKind, SigningKey};
use serde_json::{Value, json};

use super::super::assertion::ClientKey;
use super::super::jwks::Location;
use super::super::metadata::Discovery;
use super::*;
use crate::telemetry::testing::Log;

const NOW: UnixTime = UnixTime(1_800_000_000);
const DEADLINE: Duration = Duration::from_secs(10);
const PATH: &str = AuthorizationServer::INTROSPECTION;

/// Asks `issuer` at its usual path, with settings changed by `adjust`.
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
        authentication: Authentication::PrivateKeyJwt(ClientKey::from_der(&key, None).unwrap()),
        response: Response::Json,
        missing_audience: MissingAudience::Refuse,
        timeout: DEADLINE,
        max_calls: 64,
        max_waiting: Room { total: 1024, per_client: 1024 },
        cache: CACHE,
    };
    adjust(&mut settings);
    let expected = Expected {
        name: "bank".into(),
        issuer: issuer.into(),
        audiences: vec![AuthorizationServer::AUDIENCE.into()],
        algorithms: Algorithm::ALL.to_vec(),
        rs256: None,
        form: AccessTokenForm::default(),
    };
    let anchors = TrustAnchors::Given(vec![authority.der().clone()]);
    let (jwks, timing) = (JwksSettings::default(), TIMING);
    let keys = match settings.response {
        Response::Json => None,
        Response::Jwt { .. } => {
            let location = Location::Discovered(Discovery::new(issuer).unwrap());
            let client = Client::new(&anchors, DEADLINE, DEADLINE).unwrap();
            Some(Arc::new(KeySource::new("bank".into(), location, client, jwks, timing, Arc::new(()))))
        }
    };
    let shared = Shared { timing, observer: Arc::new(()), revocations: Arc::default() };
    Arc::new(Introspector::new(expected, settings, &anchors, keys, jwks, shared).unwrap())
}

/// Signed responses for these audiences, encrypted for these keys.
fn signed(audiences: &[&str], decryption_keys: Option<DecryptionKeys>) -> Response {
    Response::Jwt { audiences: audiences.iter().map(|name| (*name).into()).collect(), decryption_keys }
}

/// The same, with a running issuer that knows the gateway's key and whose clock stands still.
fn served(adjust: impl FnOnce(&mut Settings)) -> (AuthorizationServer, Arc<Introspector>) {
    let authority = Authority::new("issuer");
    let server = AuthorizationServer::start(&authority).unwrap();
    server.keep_time(|| NOW.0);
    let key = SigningKey::generate(KeyKind::Es256, "gateway");
    let introspector = introspector(server.issuer(), &authority, &key, adjust);
    server.register("gateway", ResourceServer::Key(key));
    (server, introspector)
}

/// The same, with an issuer that is never called.
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

const TIMING: Timing = Timing {
    refresh_floor: Duration::from_secs(60),
    retry_first: Duration::from_millis(5),
    retry_longest: Duration::from_millis(5),
    token_burst: 1,
    token_refill: Duration::from_secs(30),
    connect_timeout: DEADLINE,
    timeout: DEADLINE,
};

async fn ask(introspector: &Arc<Introspector>, token: &str, max_age: Option<Duration>) -> Result<(), Code> {
    let token = PresentedToken::parse(token).unwrap();
    let outcome = introspector.introspect((token, &TokenHash::of(token)), Asker::Unknown, max_age, NOW).await;
    outcome.map(|_| ()).map_err(|error| Cause::from(error).code())
}

fn hash(token: &str) -> TokenHash {
    TokenHash::of(PresentedToken::parse(token).unwrap())
}

fn active(introspector: &Introspector, token: &str, size: usize) -> Arc<ActiveToken> {
    let answer = json!({ "active": true, "aud": AuthorizationServer::AUDIENCE, "more": "x".repeat(size) });
    let Answer::Active(answer) = Answer::from_json(answer.to_string().as_bytes()).unwrap() else { panic!("inactive") };
    let ids = TokenIds::of(PresentedToken::parse(token).unwrap());
    let judged = ActiveToken::from_introspection(answer, ids, &introspector.expected, MissingAudience::Refuse, NOW);
    Arc::new(judged.unwrap())
}

fn remember(introspector: &Introspector, token: &str, size: usize) {
    introspector.remember(&hash(token), &active(introspector, token, size), instant(), NOW);
}

fn nothing_is_left(introspector: &Introspector) -> bool {
    introspector.places.are_free() && lock(&introspector.flights).is_empty()
}

async fn until_nothing_is_left(introspector: &Introspector) {
    let gone = async {
        while !nothing_is_left(introspector) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, gone).await.expect("places, flights and turns are released");
}

/// Asks when it is dropped, like a request that is polled once more while its runtime is shutting down.
struct LastWords(Arc<Introspector>);

impl Drop for LastWords {
    fn drop(&mut self) {
        let (token, hash) = (PresentedToken::parse("opaque").unwrap(), hash("opaque"));
        drop(self.0.join((token, &hash), Asker::Unknown, DEADLINE, NOW));
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
async fn int_13_who_hangs_up_leaves_neither_place_nor_flight_nor_turn() {
    for max_age in [None, Some(Duration::ZERO)] {
        let (server, introspector) = served(|settings| {
            settings.max_calls = 4;
            settings.timeout = Duration::from_secs(1);
        });
        server.script(PATH, Reply::hanging());
        let mut clients = tokio::task::JoinSet::new();
        for number in 0..20 {
            let introspector = introspector.clone();
            // Each token is presented twice.
            clients.spawn(async move { ask(&introspector, &format!("token-{}", number / 2), max_age).await });
        }
        server.wait_for(PATH, 2, DEADLINE).await.unwrap();
        assert!(!nothing_is_left(&introspector), "control");
        clients.shutdown().await;
        until_nothing_is_left(&introspector).await;
        server.unscript(PATH);
        assert_eq!(ask(&introspector, "another", max_age).await, Err(Code::TokenInactive));
    }
}

#[tokio::test]
async fn what_is_asked_and_answered_late_is_judged_by_the_time_it_is_then() {
    let (server, introspector) = served(|settings| settings.response = signed(&["gateway"], None));
    introspector.keys.as_ref().unwrap().refresh().await.unwrap();
    let token = server.issue(&server.token(NOW.0));
    let place = introspector.take_place(Asker::Unknown).unwrap_or_else(|_| panic!("free"));
    let ago =
        |seconds| instant().checked_sub(Duration::from_secs(seconds)).expect("a time since the machine was started");
    for waited in [0, 10, 11, 29] {
        // The issuer's clock advanced while the request waited for its turn.
        server.keep_time(move || NOW.0 + waited);
        let answer = introspector.call(&token, &place, NOW, ago(waited)).await;
        assert!(matches!(answer, Ok((Answer::Active(_), _))), "{waited}: {answer:?}");
        let form = server.requests().pop().unwrap().body;
        let assertion = form_urlencoded::parse(&form).find(|(name, _)| name == "client_assertion").unwrap().1;
        assert_eq!(claims(&assertion)["iat"], NOW.0 + waited);
    }
    // Control: an issuer whose clock is that much ahead.
    let answer = introspector.call(&token, &place, NOW, instant()).await;
    assert!(matches!(answer, Err(Fault::Answer(AnswerError::Statement(StatementError::IssuedInFuture { .. })))));
}

fn claims(jws: &str) -> Value {
    use base64::Engine;
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(jws.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice(&payload).unwrap()
}

#[tokio::test]
async fn int_06_a_storm_of_faults_is_one_line_that_counts_the_others() {
    let (log, _guards) = Log::of_this_thread();
    let (server, introspector) = served(|_| {});
    server.script(PATH, Reply::status(StatusCode::INTERNAL_SERVER_ERROR));
    for number in 0..20 {
        assert_eq!(ask(&introspector, &format!("token-{number}"), None).await, Err(Code::IntrospectionUnavailable));
    }
    let lines = log.lines("introspection failed");
    // A second may have passed on a slow machine.
    assert!((1..=3).contains(&lines.len()), "{lines:?}");
    for part in ["WARN", "issuer=bank", "status 500", "unsaid=0"] {
        assert!(lines[0].contains(part), "{lines:?}");
    }
    lock(&introspector.complaint).last = None;
    assert_eq!(ask(&introspector, "one-more", None).await, Err(Code::IntrospectionUnavailable));
    if let [_, second] = &log.lines("introspection failed")[..] {
        assert!(second.contains("unsaid=19"), "{second}");
    }
    assert!(log.lines("token-").is_empty() && log.lines("one-more").is_empty());
}

#[test]
fn int_08_with_no_age_at_all_nothing_is_remembered_however_fresh() {
    let introspector = alone(|_| {});
    remember(&introspector, "token", 0);
    assert!(introspector.remembered(&hash("token"), None).is_some(), "control");
    assert!(introspector.remembered(&hash("token"), Some(Duration::from_secs(30))).is_some(), "control");
    assert!(introspector.remembered(&hash("token"), Some(Duration::ZERO)).is_none());
    let lasting = alone(|settings| settings.cache.max_age = Duration::ZERO);
    remember(&lasting, "token", 0);
    assert!(lasting.remembered(&hash("token"), None).is_none());
}

#[test]
fn int_08_age_counts_from_the_question_and_not_from_the_answer() {
    let introspector = alone(|settings| settings.cache.max_age = Duration::from_secs(10));
    for (asked, expected) in [(0, true), (5, true), (10, false), (11, false)] {
        let asked_at = instant().checked_sub(Duration::from_secs(asked)).expect("a time since the machine was started");
        let token = format!("token-{asked}");
        introspector.remember(&hash(&token), &active(&introspector, &token, 0), asked_at, NOW);
        assert_eq!(introspector.remembered(&hash(&token), None).is_some(), expected, "{asked}");
    }
    assert!(introspector.remembered(&hash("token-5"), Some(Duration::from_secs(6))).is_some(), "control");
    assert!(introspector.remembered(&hash("token-5"), Some(Duration::from_secs(5))).is_none());
}

#[test]
fn atk_ca_09_what_was_learnt_later_is_not_undone_by_an_earlier_question() {
    let introspector = alone(|_| {});
    remember(&introspector, "other", 0);
    let asked_at = instant();
    introspector.refused.insert(hash("token"), (TokenError::Inactive.into(), asked_at));
    let remember_from = |asked_at| {
        introspector.remember(&hash("token"), &active(&introspector, "token", 0), asked_at, NOW);
        (introspector.remembered(&hash("token"), None).is_some(), introspector.refused(&hash("token"), None).is_some())
    };
    assert_eq!(remember_from(asked_at), (false, true));
    assert!(introspector.remembered(&hash("other"), None).is_some(), "control");
    let later = asked_at + Duration::from_nanos(1);
    assert_eq!(remember_from(later), (true, false), "what was refused before can be good again");
}

#[test]
fn int_15_a_refusal_is_as_old_as_its_question_and_counts_for_as_long_as_an_answer_may() {
    let introspector = alone(|_| {});
    let asked_at = instant().checked_sub(Duration::from_secs(2)).expect("a time since the machine was started");
    introspector.refused.insert(hash("token"), (TokenError::Inactive.into(), asked_at));
    for (max_age, expected) in [(None, true), (Some(30), true), (Some(3), true), (Some(2), false), (Some(0), false)] {
        let found = introspector.refused(&hash("token"), max_age.map(Duration::from_secs));
        assert_eq!(found.is_some(), expected, "{max_age:?}");
    }
}

#[test]
fn int_14_neither_bound_of_the_memory_is_passed() {
    const ENTRIES: u64 = 500;
    for (size, fits) in [(0, ENTRIES), (8 * 1024, 120)] {
        let introspector = alone(|settings| settings.cache.max_entries = ENTRIES);
        for number in 0..2000 {
            remember(&introspector, &format!("token-{number}"), size);
            if number % 500 == 0 {
                introspector.active.run_pending_tasks();
                assert!(introspector.active.weighted_size() <= CACHE.max_bytes);
            }
        }
        let entries = introspector.entries();
        assert!((fits / 2..=fits).contains(&entries), "{entries} of {size} bytes");
        assert!(introspector.active.weighted_size() <= CACHE.max_bytes);
        let right = (0..2000).filter_map(|number| {
            let token = hash(&format!("token-{number}"));
            introspector.remembered(&token, None).map(|found| found.id() == token.id())
        });
        assert!(right.into_iter().all(|right| right), "an entry is its own token's");
    }
    let introspector = alone(|_| {});
    for number in 0..20_000 {
        introspector.refused.insert(hash(&format!("token-{number}")), (TokenError::Inactive.into(), instant()));
    }
    introspector.refused.run_pending_tasks();
    assert!(introspector.refused.entry_count() <= introspector.settings.cache.max_entries);
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

#[tokio::test(flavor = "multi_thread")]
async fn int_20_thousands_of_new_tokens_are_asked_about_once_each_by_no_more_than_max_calls() {
    const TOKENS: usize = 2000;
    const CALLS: usize = 16;
    const DELAY: Duration = Duration::from_millis(2);
    let (server, introspector) = served(|settings| {
        settings.timeout = Duration::from_secs(60);
        settings.max_calls = CALLS;
        settings.max_waiting = Room { total: TOKENS, per_client: TOKENS };
        settings.cache.max_entries = TOKENS as u64 * 2;
        settings.cache.max_bytes = 64 * 1024 * 1024;
    });
    let most = Arc::new(AtomicUsize::new(0));
    let (seen, recent) = (most.clone(), Mutex::new(std::collections::VecDeque::new()));
    let answer = json!({ "active": true, "aud": AuthorizationServer::AUDIENCE });
    let answered = move |_: &Recorded| {
        // A request that arrived less than the delay ago has no response yet.
        let (mut recent, now) = (lock(&recent), instant());
        while recent.front().is_some_and(|at: &Instant| now - *at >= DELAY) {
            recent.pop_front();
        }
        recent.push_back(now);
        seen.fetch_max(recent.len(), Ordering::Relaxed);
        Reply::json(StatusCode::OK, answer.clone()).delayed(DELAY)
    };
    server.script(PATH, Script::Function(Box::new(answered)));
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..TOKENS {
        let introspector = introspector.clone();
        clients.spawn(async move { ask(&introspector, &format!("token-{number}"), None).await });
    }
    assert!(clients.join_all().await.iter().all(Result::is_ok));
    let asked: std::collections::HashSet<_> = server
        .requests()
        .iter()
        .map(|question| form_urlencoded::parse(&question.body).next().unwrap().1.into_owned())
        .collect();
    assert_eq!((server.requests_to(PATH), asked.len(), introspector.entries()), (TOKENS, TOKENS, TOKENS as u64));
    let most = most.load(Ordering::Relaxed);
    assert!((2..=CALLS).contains(&most), "{most}");
    assert!(nothing_is_left(&introspector));
}

#[tokio::test]
async fn ms_int_10_an_endpoint_without_tls_or_none_is_waited_for_and_not_asked() {
    for endpoint in [None, Some("http://localhost/introspect"), Some("introspect"), Some("")] {
        let (server, introspector) = served(|settings| settings.endpoint = None);
        let mut metadata = server.metadata();
        metadata["introspection_endpoint"] = json!(endpoint);
        for path in [AuthorizationServer::METADATA, AuthorizationServer::OPENID_CONFIGURATION] {
            server.script(path, Reply::json(StatusCode::OK, metadata.clone()));
        }
        let background = {
            let introspector = introspector.clone();
            tokio::spawn(async move { introspector.keep_fresh().await })
        };
        server.wait_for(AuthorizationServer::METADATA, 2, DEADLINE).await.unwrap();
        assert!(!introspector.ready(), "{endpoint:?}");
        assert_eq!(ask(&introspector, "token", None).await, Err(Code::IntrospectionUnavailable), "{endpoint:?}");
        server.unscript(AuthorizationServer::METADATA);
        let found = async {
            while !introspector.ready() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, found).await.expect("it is looked for again");
        assert_eq!(ask(&introspector, "token", None).await, Err(Code::TokenInactive), "control");
        background.abort();
    }
}

/// A store in memory, which does something before it says what it has, and never finishes a write if it is told so.
struct Shelf {
    entries: Mutex<HashMap<String, Vec<u8>>>,
    before: Box<dyn Fn() + Send + Sync>,
    hangs: bool,
    writes: AtomicUsize,
}

#[async_trait::async_trait]
impl AnswerStore for Shelf {
    fn name(&self) -> &str {
        "shelf"
    }

    fn key(&self, name: &str) -> String {
        format!("test:{name}")
    }

    async fn get(&self, key: &str, _: usize, _: Duration) -> Result<Vec<u8>, NotShared> {
        (self.before)();
        Ok(lock(&self.entries).get(key).cloned().unwrap_or_default())
    }

    async fn set(&self, key: &str, value: &[u8], _: Duration) -> Result<(), NotShared> {
        self.writes.fetch_add(1, Ordering::Relaxed);
        if self.hangs {
            std::future::pending::<()>().await;
        }
        lock(&self.entries).insert(key.to_owned(), value.to_vec());
        Ok(())
    }
}

/// Has these share answers on a new shelf.
fn shelf(introspectors: &[&Introspector], hangs: bool, before: impl Fn() + Send + Sync + 'static) -> Arc<Shelf> {
    let (entries, writes) = (Mutex::default(), AtomicUsize::new(0));
    let shelf = Arc::new(Shelf { entries, before: Box::new(before), hangs, writes });
    for introspector in introspectors {
        let basis = introspector.basis(None, &TrustAnchors::System);
        let keys = SealKeys::new(&[[7; 32]]).unwrap();
        introspector.share(Some(SharedAnswers::new(shelf.clone(), keys, basis)));
    }
    shelf
}

/// Two introspectors that ask the same issuer in the same way.
fn pair() -> (AuthorizationServer, [Arc<Introspector>; 2]) {
    let authority = Authority::new("issuer");
    let server = AuthorizationServer::start(&authority).unwrap();
    server.keep_time(|| NOW.0);
    let key = SigningKey::generate(KeyKind::Es256, "gateway");
    let pair = [(); 2].map(|()| introspector(server.issuer(), &authority, &key, |_| {}));
    server.register("gateway", ResourceServer::Key(key));
    (server, pair)
}

async fn until(reached: impl Fn() -> bool) {
    let waiting = async {
        while !reached() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, waiting).await.expect("it is reached");
}

#[tokio::test]
async fn answers_that_a_store_does_not_take_are_bounded_and_nobody_waits_for_them() {
    let (server, [introspector, _]) = pair();
    let shelf = shelf(&[&introspector], true, || {});
    const TOKENS: usize = 300;
    for number in 0..TOKENS {
        let token = server.issue(&server.token(NOW.0).claim("jti", number.to_string()));
        assert_eq!(ask(&introspector, &token, None).await, Ok(()));
    }
    until(|| shelf.writes.load(Ordering::Relaxed) == 256).await;
    assert_eq!((server.requests_to(PATH), introspector.entries()), (TOKENS, TOKENS as u64), "control");
    assert!(nothing_is_left(&introspector));
}

#[tokio::test]
async fn int_16_a_token_that_is_revoked_while_the_store_is_asked_is_not_taken_from_it() {
    for revoked in [false, true] {
        let (server, [one, other]) = pair();
        let claims = server.token(NOW.0).claim("jti", "a");
        let token = server.issue(&claims);
        let revocations = other.revocations.clone();
        let first = std::sync::atomic::AtomicBool::new(revoked);
        let shelf = shelf(&[&one], false, || {});
        assert_eq!(ask(&one, &token, None).await, Ok(()));
        until(|| lock(&shelf.entries).len() == 1).await;
        let shelf_of_other = self::shelf(&[&other], false, move || {
            if first.swap(false, Ordering::Relaxed) {
                let subject = fapi::revocation::Subject::Jti("a".into());
                let (issued_until, expires_at) = (NOW, Some(NOW.plus(600)));
                let revocation = fapi::revocation::Revocation { issuer: None, subject, issued_until, expires_at };
                revocations.record(&[revocation], Duration::from_secs(60), 10, NOW).unwrap();
            }
        });
        lock(&shelf_of_other.entries).clone_from(&lock(&shelf.entries));
        assert_eq!(ask(&other, &token, None).await, Ok(()));
        assert_eq!(server.requests_to(PATH), 1 + usize::from(revoked), "{revoked}");
    }
}

#[test]
fn int_10_int_17_everything_that_an_answer_depends_on_leads_to_another_place() {
    let authority = Authority::new("issuer");
    let key = SigningKey::generate(KeyKind::Es256, "gateway");
    let usual = |adjust: fn(&mut Settings)| introspector("https://as.example", &authority, &key, adjust);
    let given = TrustAnchors::Given(vec![authority.der().clone()]);
    let basis = |introspector: &Introspector| introspector.basis(None, &given);
    let same = basis(&usual(|_| {}));
    // What changes neither the answer nor how it is read.
    for adjust in [
        |settings: &mut Settings| settings.cache.max_age = Duration::from_secs(60),
        |settings: &mut Settings| settings.timeout = Duration::from_secs(1),
        |settings: &mut Settings| settings.max_calls = 1,
    ] {
        assert_eq!(basis(&usual(adjust)), same);
    }
    let jwks_uri = Url::parse("https://as.example/jwks").unwrap();
    let mut others = vec![
        basis(&usual(|settings| settings.client_id = "other".into())),
        basis(&usual(|settings| settings.missing_audience = MissingAudience::Accept)),
        basis(&introspector("https://other.example", &authority, &key, |_| {})),
        usual(|_| {}).basis(Some(&jwks_uri), &given),
        usual(|_| {}).basis(None, &TrustAnchors::System),
        usual(|_| {}).basis(None, &TrustAnchors::Given(vec![Authority::new("issuer").der().clone()])),
    ];
    let keys = || {
        let key = SigningKey::generate(KeyKind::Es256, "encryption").private_key_pem();
        DecryptionKeys::new(vec![DecryptionKey::from_pem(key.as_bytes(), None).unwrap()])
    };
    let encrypted = |keys| {
        let response = signed(&["gateway"], Some(keys));
        basis(&introspector("https://as.example", &authority, &key, |settings| settings.response = response))
    };
    others.push(encrypted(keys()));
    assert_eq!(encrypted(keys()), encrypted(keys()), "another key reads the same");
    for response in [signed(&["gateway"], None), signed(&["gateway", "other"], None)] {
        let introspector =
            introspector("https://as.example", &authority, &key, |settings| settings.response = response);
        others.push(basis(&introspector));
    }
    let expected = usual(|_| {}).expected.clone();
    let listed =
        fapi::token::Differences { scope_form: fapi::token::ScopeForm::List, ..fapi::token::Differences::NONE };
    for expected in [
        Expected { audiences: vec!["https://other.example".into()], ..expected.clone() },
        Expected { algorithms: vec![Algorithm::Es256], ..expected.clone() },
        Expected { form: AccessTokenForm::new(listed).unwrap(), ..expected },
    ] {
        let mut introspector = Arc::into_inner(usual(|_| {})).unwrap();
        introspector.expected = expected;
        others.push(basis(&introspector));
    }
    let mut introspector = Arc::into_inner(usual(|_| {})).unwrap();
    let credential = authority.client("gateway");
    introspector.settings.authentication =
        Authentication::Certificate(credential.chain_der.clone(), credential.private_key());
    others.extend([basis(&introspector), same]);
    for (index, one) in others.iter().enumerate() {
        assert!(!others[index + 1..].contains(one), "{index}");
    }
}

#[tokio::test]
async fn int_08_who_may_use_only_newer_answers_does_not_share_a_look_up_that_may_find_older_ones() {
    for shares in [false, true] {
        let (_server, [introspector, _]) = pair();
        if shares {
            shelf(&[&introspector], false, || {});
        }
        let (token, hash) = (PresentedToken::parse("opaque").unwrap(), hash("opaque"));
        let joined =
            |seconds| match introspector.join((token, &hash), Asker::Unknown, Duration::from_secs(seconds), NOW) {
                Ok(Joined::Flight(flight)) => flight,
                Ok(Joined::Known(_)) | Err(_) => panic!("nothing is known"),
            };
        let (one, strict, another) = (joined(30), joined(15), joined(30));
        assert_eq!(!one.same_channel(&strict), shares);
        assert!(strict.same_channel(&another), "control: the other way round it is shared");
        until_nothing_is_left(&introspector).await;
    }
}
