//! Tests against an authorization server over real TLS that can be made to misbehave.

use std::mem::discriminant;
use std::sync::{Mutex, MutexGuard, PoisonError};

use ::http::{HeaderValue, Request, StatusCode, header};
use fapi::code::Code;
use fapi::credentials::{Credentials, Scheme};
use fapi::dpop::{Freshness, NoProofKeys, Nonces, ProofContext};
use fapi::jose::keys::{Algorithm, KeySetError};
use fapi::peer::{NoCertificate, Peer};
use fapi::policy::{NonceMode, ScopeRule};
use fapi::rejection::Cause;
use fapi::route::{Origin, Target};
use fapi::token::{AccessTokenForm, Expected};
use reqwest::Url;
use rustls::pki_types::CertificateDer;
use sandbox::authorization_server::AuthorizationServer;
use sandbox::https::{Answer, HttpServer};
use sandbox::pki::{self, Authority};
use sandbox::tls::tls_config;
use sandbox::tokens::{KeyKind, SigningKey, jwks};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::http::{Client, ClientError, FetchError, MAX_BODY_BYTES};
use super::jwks::RefreshError;
use super::metadata::{MetadataError, NotDiscoverable};
use super::*;
use crate::telemetry::testing::Log;
use crate::tls_client::{TlsClientError, TrustAnchors};

const NOW: UnixTime = UnixTime(1_800_000_000);
const DEADLINE: Duration = Duration::from_secs(10);
const A: IssuerIndex = IssuerIndex(0);
const B: IssuerIndex = IssuerIndex(1);

/// Authorization servers with certificates of one authority, and the issuers that trust it.
struct World {
    authority: Authority,
    servers: Vec<AuthorizationServer>,
    issuers: Arc<Issuers>,
    seen: Arc<Seen>,
}

impl World {
    /// With the keys of `count` servers read once, and nothing observed yet.
    async fn new(count: usize) -> Self {
        Self::with(count, Timing::default(), CACHE).await
    }

    async fn with(count: usize, timing: Timing, cache: CacheSettings) -> Self {
        Self::unread(count, timing, cache).read().await
    }

    /// With one server, whose keys were read once and are cached with these settings.
    async fn keeping(jwks: JwksSettings, timing: Timing) -> Self {
        Self::unread_keeping(jwks, 1, timing, CACHE).read().await
    }

    async fn read(self) -> Self {
        for (index, server) in self.servers.iter().enumerate() {
            self.refresh(index).await.unwrap();
            server.clear();
        }
        self.seen.lock().clear();
        self
    }

    fn unread(count: usize, timing: Timing, cache: CacheSettings) -> Self {
        Self::unread_keeping(JwksSettings::default(), count, timing, cache)
    }

    fn unread_keeping(jwks: JwksSettings, count: usize, timing: Timing, cache: CacheSettings) -> Self {
        let authority = Authority::new("issuers");
        let servers: Vec<_> = (0..count).map(|_| AuthorizationServer::start(&authority).unwrap()).collect();
        let settings = |(server, name)| Settings { jwks, ..settings(server, name, &authority) };
        let settings = servers.iter().zip(["a", "b"]).map(settings).collect();
        let seen = Arc::new(Seen::default());
        let issuers = Issuers::with_timing(settings, cache, timing, seen.clone()).unwrap();
        Self { authority, servers, issuers: Arc::new(issuers), seen }
    }

    /// Keeps the keys fresh until the handle is aborted.
    fn keep_fresh(&self) -> tokio::task::JoinHandle<()> {
        let issuers = Arc::clone(&self.issuers);
        tokio::spawn(async move { issuers.keep_fresh().await })
    }

    fn age_by(&self, index: usize, time: Duration) {
        self.keys(index).age_by(time);
    }

    fn keys(&self, index: usize) -> &Arc<KeySource> {
        self.issuers.entries[index].keys.as_ref().expect("its tokens are verified")
    }

    async fn refresh(&self, index: usize) -> Result<(), RefreshError> {
        self.keys(index).refresh().await
    }

    fn generation(&self, index: usize) -> Option<u64> {
        self.keys(index).current().map(|keys| keys.generation)
    }

    fn token(&self, index: usize) -> String {
        let server = &self.servers[index];
        server.token(NOW.0).sign(server.key(KeyKind::Es256))
    }

    async fn validate(&self, token: &str, accepted: &[IssuerIndex]) -> Result<Arc<ActiveToken>, Code> {
        validate(&self.issuers, token, accepted).await
    }
}

async fn validate(issuers: &Issuers, token: &str, accepted: &[IssuerIndex]) -> Result<Arc<ActiveToken>, Code> {
    validate_at(issuers, token, accepted, NOW).await
}

async fn validate_at(
    issuers: &Issuers,
    token: &str,
    accepted: &[IssuerIndex],
    now: UnixTime,
) -> Result<Arc<ActiveToken>, Code> {
    let (mut request, ()) = Request::get("/").body(()).unwrap().into_parts();
    request.headers.insert(header::AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
    let origin = Arc::new(Origin::parse("https://api.example").unwrap());
    let schemes = [Scheme::Dpop, Scheme::Bearer];
    let credentials = Credentials::from_request(&request.headers, None, &schemes).unwrap();
    let context = ProofContext {
        target: &Target::parse(&request, &origin).unwrap(),
        nonce: NonceMode::Never,
        freshness: &Freshness { max_age: 60, clock_skew: 10, nonces: Nonces::new(&[[1; 32]], 60).unwrap() },
        keys: &NoProofKeys,
        replay_log_began: &|| NOW,
        now,
    };
    let peer = Peer::Anonymous(NoCertificate::NotPresented);
    let evidence = SenderEvidence::collect(credentials, &peer, context, &schemes).unwrap();
    let scopes = ScopeRule::All(vec!["accounts".into()]);
    let policy = Policy::new(scopes, accepted.to_vec(), schemes.to_vec(), NonceMode::Never).unwrap();
    let hash = TokenHash::of(evidence.token());
    let outcome = issuers.validate(&evidence, &hash, Asker::Unknown, &policy, now).await;
    outcome.map_err(|error| Cause::from(error).code())
}

fn settings(server: &AuthorizationServer, name: &str, authority: &Authority) -> Settings {
    let expected = Expected {
        name: name.into(),
        issuer: server.issuer().into(),
        audiences: vec![AuthorizationServer::AUDIENCE.into()],
        algorithms: Algorithm::ALL.to_vec(),
        rs256: None,
        form: AccessTokenForm::default(),
    };
    Settings {
        expected,
        jwks_uri: None,
        jwks: JwksSettings::default(),
        trust_anchors: TrustAnchors::Given(vec![authority.der().clone()]),
        introspection: None,
        sharing: None,
        required: true,
        security_events: false,
    }
}

const CACHE: CacheSettings =
    CacheSettings { max_entries: 100, max_bytes: 1024 * 1024, max_age: Duration::from_secs(300) };

/// Records what was observed, in order.
#[derive(Default)]
struct Seen {
    events: Mutex<Vec<Event>>,
    count: watch::Sender<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Cache(String, CacheOutcome),
    Refresh(String, RefreshOutcome),
    Introspection(String, IntrospectionOutcome),
}

impl Seen {
    fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, event: Event) {
        self.lock().push(event);
        self.count.send_modify(|count| *count += 1);
    }

    async fn wait_until(&self, enough: impl Fn(&[Event]) -> bool) {
        let mut changes = self.count.subscribe();
        let reached = changes.wait_for(|_| enough(&self.lock()));
        assert!(tokio::time::timeout(DEADLINE, reached).await.is_ok(), "{:?}", self.lock());
    }
}

impl Observer for Seen {
    fn token_cache(&self, issuer: &str, outcome: CacheOutcome) {
        self.push(Event::Cache(issuer.to_owned(), outcome));
    }

    fn jwks_refresh(&self, issuer: &str, outcome: RefreshOutcome) {
        self.push(Event::Refresh(issuer.to_owned(), outcome));
    }

    fn introspection(&self, issuer: &str, outcome: IntrospectionOutcome, _: Duration) {
        self.push(Event::Introspection(issuer.to_owned(), outcome));
    }
}

fn success() -> Event {
    Event::Refresh("a".to_owned(), RefreshOutcome::Success)
}

fn failure() -> Event {
    Event::Refresh("a".to_owned(), RefreshOutcome::Failure)
}

fn paths(server: &AuthorizationServer) -> Vec<String> {
    let paths = server.requests().iter().map(|request| request.path().to_owned()).collect();
    server.clear();
    paths
}

const METADATA: &str = AuthorizationServer::METADATA;
const OPENID: &str = AuthorizationServer::OPENID_CONFIGURATION;
const JWKS: &str = AuthorizationServer::JWKS;

fn ok(document: Value) -> Answer {
    Answer::json(StatusCode::OK, document)
}

// http.rs

fn client(authority: &Authority) -> Client {
    Client::new(&TrustAnchors::Given(vec![authority.der().clone()]), DEADLINE, DEADLINE).unwrap()
}

/// Fetches from a TLS server that answers every request with `answer`.
async fn fetch(answer: Answer) -> Result<usize, FetchError> {
    let authority = Authority::new("ours");
    let tls = tls_config(&authority.server(&["localhost"]), None);
    let server = HttpServer::start(None, Some(tls), Arc::new(move |_| answer.clone())).unwrap();
    let url = Url::parse(&server.url("/jwks")).unwrap();
    client(&authority).get_json_bytes(&url).await.map(|body| body.len())
}

/// Fetches from a server that writes `bytes`, then `again` until the client stops reading, and never closes.
async fn fetch_raw(bytes: &'static [u8], again: &'static [u8], timeout: Duration) -> Result<usize, FetchError> {
    let authority = Authority::new("ours");
    let acceptor = TlsAcceptor::from(tls_config(&authority.server(&["localhost"]), None));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    let server = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = acceptor.accept(stream).await.unwrap();
        stream.read_buf(&mut Vec::with_capacity(4096)).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        stream.flush().await.unwrap();
        while !again.is_empty() && stream.write_all(again).await.is_ok() {}
        std::future::pending::<()>().await;
    });
    let anchors = TrustAnchors::Given(vec![authority.der().clone()]);
    let client = Client::new(&anchors, DEADLINE, timeout).unwrap();
    let outcome = client.get_json_bytes(&Url::parse(&url).unwrap()).await;
    server.abort();
    outcome.map(|body| body.len())
}

#[tokio::test]
async fn net_17_believes_only_a_valid_certificate_for_the_name_that_was_asked() {
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    for (case, credential, believed) in [
        ("control", ours.server(&["localhost"]), true),
        ("another authority", other.server(&["localhost"]), false),
        ("another name", ours.server(&["other.example"]), false),
        ("name only in the subject", ours.server_with(&["localhost"], |p| p.subject_alt_names.clear()), false),
        ("expired", ours.server_with(&["localhost"], pki::expired), false),
        ("not yet valid", ours.server_with(&["localhost"], pki::not_yet_valid), false),
        ("a client's", ours.client("localhost"), false),
    ] {
        let handler = Arc::new(|_| Answer::status(StatusCode::OK));
        let server = HttpServer::start(None, Some(tls_config(&credential, None)), handler).unwrap();
        let outcome = client(&ours).get_json_bytes(&Url::parse(&server.url("/")).unwrap()).await;
        match outcome {
            Ok(_) => assert!(believed, "{case}"),
            Err(error) => assert!(!believed && matches!(error, FetchError::Unreachable { .. }), "{case}: {error}"),
        }
        assert_eq!(server.requests().len(), usize::from(believed), "{case}");
    }
}

#[tokio::test]
async fn fapi2_rs_13_asks_nobody_without_tls() {
    let server = HttpServer::start(None, None, Arc::new(|_| Answer::status(StatusCode::OK))).unwrap();
    let url = Url::parse(&server.url("/jwks")).unwrap();
    let outcome = client(&Authority::new("ours")).get_json_bytes(&url).await;
    assert_eq!(outcome, Err(FetchError::NotHttps { host: server.address().to_string().into() }));
    assert_eq!(server.heads(), 0);
}

#[tokio::test]
async fn fapi2_cr_10_takes_only_200() {
    assert_eq!(fetch(Answer::text(StatusCode::OK, "{}")).await, Ok(2)); // control
    for status in [201, 204, 304, 404, 500] {
        let status = StatusCode::from_u16(status).unwrap();
        let outcome = fetch(Answer::status(status)).await;
        assert!(matches!(&outcome, Err(FetchError::Status { status: found, .. }) if *found == status), "{outcome:?}");
    }
    assert!(matches!(fetch(Answer::resetting()).await, Err(FetchError::BrokenOff { .. })));
}

#[tokio::test]
async fn rfc9110_12_5_3_an_answer_with_a_content_coding_names_it() {
    let coded = |coding: &'static str| {
        Answer::text(StatusCode::OK, "{}").header(header::CONTENT_ENCODING, HeaderValue::from_static(coding))
    };
    for same in ["identity", "Identity", "", "identity, identity"] {
        assert_eq!(fetch(coded(same)).await, Ok(2), "{same}"); // control
    }
    for coding in ["gzip", "br", "identity, gzip", "x-secret"] {
        let error = fetch(coded(coding)).await.unwrap_err();
        assert!(matches!(&error, FetchError::Encoded { coding: found, .. } if **found == *coding), "{error:?}");
        assert!(error.to_string().contains(&format!("Content-Encoding {coding:?}")), "{error}");
    }
    // The status says more than the coding of an error page.
    let page = Answer::status(StatusCode::BAD_GATEWAY).header(header::CONTENT_ENCODING, HeaderValue::from_static("br"));
    assert!(matches!(fetch(page).await, Err(FetchError::Status { .. })));
}

#[tokio::test]
async fn fapi2_cr_10_does_not_follow_redirects() {
    let world = World::unread(1, Timing::default(), CACHE);
    let server = &world.servers[0];
    server.script("/elsewhere", ok(server.jwks()));
    for target in ["/elsewhere".to_owned(), server.url("/elsewhere")] {
        let location = HeaderValue::try_from(target).unwrap();
        server.script(JWKS, Answer::status(StatusCode::FOUND).header(header::LOCATION, location));
        let outcome = world.refresh(0).await;
        assert!(
            matches!(&outcome, Err(RefreshError::Fetch(FetchError::Status { status: StatusCode::FOUND, .. }))),
            "{outcome:?}"
        );
    }
    assert_eq!(server.requests_to("/elsewhere"), 0);
    assert_eq!(server.requests_to(JWKS), 2);
}

#[tokio::test]
async fn fapi2_cr_10_reads_at_most_1_mib() {
    let body = |length: usize| Answer::status(StatusCode::OK).body(vec![b' '; length]);
    assert_eq!(fetch(body(MAX_BODY_BYTES)).await, Ok(MAX_BODY_BYTES)); // control
    assert!(matches!(fetch(body(MAX_BODY_BYTES + 1)).await, Err(FetchError::TooLarge { .. })));
    let endless = fetch_raw(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"10\r\n                \r\n10\r\n                \r\n10\r\n                \r\n10\r\n                \r\n",
        DEADLINE,
    );
    assert!(matches!(endless.await, Err(FetchError::TooLarge { .. })));
    let announced = fetch_raw(b"HTTP/1.1 200 OK\r\nContent-Length: 104857600\r\n\r\n", b"", DEADLINE);
    assert!(matches!(announced.await, Err(FetchError::TooLarge { .. })));
}

#[tokio::test]
async fn fapi2_cr_10_gives_up_on_slow_answers() {
    let quickly = Duration::from_millis(100);
    let slow_body = fetch_raw(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", b"", quickly).await;
    assert!(matches!(slow_body, Err(FetchError::TimedOut { .. })), "{slow_body:?}");
    let slow_head = fetch_raw(b"HTTP/1.1 200 OK\r\nContent", b"", quickly).await;
    assert!(matches!(slow_head, Err(FetchError::TimedOut { .. })), "{slow_head:?}");
}

#[tokio::test]
async fn says_what_it_wants_and_who_it_is() {
    let world = World::unread(1, Timing::default(), CACHE);
    world.refresh(0).await.unwrap();
    for request in world.servers[0].requests() {
        assert_eq!(request.header("accept"), Some("application/json"));
        assert_eq!(request.header("accept-encoding"), Some("identity"));
        assert_eq!(request.header("user-agent"), Some(concat!("fapi-gateway/", env!("CARGO_PKG_VERSION"))));
        assert_eq!(request.header("authorization"), None);
    }
}

// metadata.rs

#[tokio::test]
async fn fapi2_as_01_asks_rfc_8414_first_and_openid_only_without_an_answer() {
    let world = World::unread(1, Timing::default(), CACHE);
    let server = &world.servers[0];
    world.refresh(0).await.unwrap();
    assert_eq!(paths(server), [METADATA, JWKS]);
    let without = |name: &str| {
        let mut metadata = server.metadata();
        metadata.as_object_mut().unwrap().remove(name);
        ok(metadata)
    };
    for unusable in [
        Answer::status(StatusCode::NOT_FOUND),
        Answer::status(StatusCode::INTERNAL_SERVER_ERROR),
        Answer::text(StatusCode::OK, "<html>"),
        without("issuer"),
        without("jwks_uri"),
    ] {
        server.script(METADATA, unusable);
        world.refresh(0).await.unwrap();
        assert_eq!(paths(server), [METADATA, OPENID, JWKS]);
    }
}

#[tokio::test]
async fn fapi2_as_01_refuses_metadata_of_another_issuer() {
    let world = World::unread(1, Timing::default(), CACHE);
    let server = &world.servers[0];
    for other in [format!("{}/", server.issuer()), server.issuer().to_uppercase(), "https://other.example".to_owned()] {
        let mut metadata = server.metadata();
        metadata["issuer"] = json!(other);
        let mismatch = RefreshError::Metadata(MetadataError::IssuerMismatch {
            found: other.into(),
            expected: server.issuer().into(),
        });
        server.script(METADATA, ok(metadata.clone()));
        server.unscript(OPENID);
        assert_eq!(world.refresh(0).await, Err(mismatch.clone()));
        assert_eq!(paths(server), [METADATA]);

        server.script(METADATA, Answer::status(StatusCode::NOT_FOUND));
        server.script(OPENID, ok(metadata));
        assert_eq!(world.refresh(0).await, Err(mismatch));
        assert_eq!(paths(server), [METADATA, OPENID]);
    }
    assert!(!world.issuers.ready());
}

#[tokio::test]
async fn fapi2_rs_13_refuses_a_discovered_jwks_uri_without_tls() {
    let world = World::unread(1, Timing::default(), CACHE);
    let server = &world.servers[0];
    for uri in ["http://localhost/jwks", "file:///jwks", "/jwks", ""] {
        let mut metadata = server.metadata();
        metadata["jwks_uri"] = json!(uri);
        server.script(METADATA, ok(metadata.clone()));
        server.script(OPENID, ok(metadata));
        let error = Box::new(MetadataError::NotHttps { member: "jwks_uri", found: uri.into() });
        let urls = [METADATA, OPENID].map(|path| server.url(path).parse().unwrap());
        let urls = Box::new(urls.into());
        let neither = MetadataError::Neither { urls, authorization_server: error.clone(), openid: error };
        // RFC 8414 §3.1 puts the well-known part before the path of the issuer, so an operator may look elsewhere.
        assert!(neither.to_string().contains(&server.url(METADATA)), "{neither}");
        assert_eq!(world.refresh(0).await, Err(neither.into()), "{uri}");
    }
    assert_eq!(server.requests_to(JWKS), 0);
}

#[tokio::test]
async fn follows_a_jwks_uri_that_moves_and_keeps_it_while_there_is_no_metadata() {
    let world = World::new(1).await;
    let server = &world.servers[0];
    let mut metadata = server.metadata();
    metadata["jwks_uri"] = json!(server.url("/keys"));
    server.script("/keys", ok(server.jwks()));
    server.script(METADATA, ok(metadata));
    world.refresh(0).await.unwrap();
    assert_eq!(paths(server), [METADATA, "/keys"]);
    server.script(METADATA, Answer::status(StatusCode::NOT_FOUND));
    server.script(OPENID, Answer::status(StatusCode::NOT_FOUND));
    world.refresh(0).await.unwrap();
    assert_eq!(paths(server), [METADATA, OPENID, "/keys"]);
}

#[tokio::test]
async fn a_configured_jwks_uri_needs_no_metadata() {
    let authority = Authority::new("ours");
    let server = AuthorizationServer::start(&authority).unwrap();
    let settings = |jwks_uri: &str, issuer: &str, trust_anchors| {
        let mut settings = settings(&server, "a", &authority);
        settings.expected.issuer = issuer.into();
        settings.jwks_uri = (!jwks_uri.is_empty()).then(|| Url::parse(jwks_uri).unwrap());
        settings.trust_anchors = trust_anchors;
        Issuers::new(vec![settings], CACHE, Arc::new(()))
    };
    let given = || TrustAnchors::Given(vec![authority.der().clone()]);
    let issuers = settings(&server.url("/jwks"), server.issuer(), given()).unwrap(); // control
    issuers.entries[0].keys.as_ref().unwrap().refresh().await.unwrap();
    assert_eq!(paths(&server), [JWKS]);

    let issuer = || Arc::<str>::from("a");
    assert_eq!(
        settings("http://localhost/jwks", server.issuer(), given()).err(),
        Some(IssuerError::JwksUriNotHttps { issuer: issuer() })
    );
    assert_eq!(
        settings("", "http://localhost", given()).err(),
        Some(IssuerError::NotDiscoverable { issuer: issuer(), error: NotDiscoverable })
    );
    assert_eq!(
        settings("", server.issuer(), TrustAnchors::Given(vec![])).err(),
        Some(IssuerError::Client { issuer: issuer(), error: ClientError::Tls(TlsClientError::NoAnchors) })
    );
    let broken = TrustAnchors::Given(vec![CertificateDer::from(vec![0x30, 0x00])]);
    let broken = settings("", server.issuer(), broken).err();
    assert!(
        matches!(broken, Some(IssuerError::Client { error: ClientError::Tls(TlsClientError::Anchor(_)), .. })),
        "{broken:?}"
    );
}

// jwks.rs

#[tokio::test]
async fn ops_10_waits_for_an_issuer_that_is_down_at_start_and_stays_ready_when_it_is_down_later() {
    let timing = Timing { retry_first: Duration::from_millis(5), ..Timing::default() };
    let mut world = World::unread(1, timing, CACHE);
    world.servers[0].stop().await.unwrap();
    let token = world.token(0);
    let background = world.keep_fresh();
    world.seen.wait_until(|events| events.len() >= 2).await;
    assert!(world.seen.lock().iter().all(|event| *event == failure()));
    assert!(!world.issuers.ready());
    assert_eq!(world.issuers.key_ages(), [("a".into(), None)]);
    assert_eq!(world.validate(&token, &[A]).await.unwrap_err(), Code::KeysUnavailable);

    world.servers[0].restart().await.unwrap();
    world.seen.wait_until(|events| events.contains(&success())).await;
    assert!(world.issuers.ready());
    assert!(matches!(&world.issuers.key_ages()[..], [(_, Some(age))] if *age < DEADLINE.as_secs_f64()));
    assert!(world.validate(&token, &[A]).await.is_ok());
    background.abort();

    world.servers[0].stop().await.unwrap();
    assert!(world.refresh(0).await.is_err());
    assert!(world.issuers.ready());
    assert!(world.validate(&world.token(0), &[A]).await.is_ok());
}

#[tokio::test]
async fn keeps_reading_in_the_background_until_dropped() {
    let jwks = JwksSettings { refresh_interval: Duration::from_millis(1), ..JwksSettings::default() };
    let world = World::unread_keeping(jwks, 2, Timing::default(), CACHE).read().await;
    let background = world.keep_fresh();
    let b = Event::Refresh("b".to_owned(), RefreshOutcome::Success);
    let times = |events: &[Event], wanted: &Event| events.iter().filter(|event| *event == wanted).count();
    world.seen.wait_until(|events| times(events, &success()) > 2 && times(events, &b) > 2).await;
    assert_eq!((world.generation(0), world.generation(1)), (Some(1), Some(1)));
    let keys = Arc::downgrade(world.keys(0));
    background.abort();
    let _ = background.await;
    drop(world);
    let gone = async {
        while keys.strong_count() > 0 {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, gone).await.is_ok());
}

#[tokio::test]
async fn fapi2_cr_08_old_keys_stay_until_the_new_set_is_good() {
    let timing = Timing { timeout: Duration::from_secs(1), ..Timing::default() };
    let mut world = World::with(1, timing, CACHE).await;
    let remembered = world.token(0);
    assert!(world.validate(&remembered, &[A]).await.is_ok());
    let elsewhere = HeaderValue::try_from(world.servers[0].url("/elsewhere")).unwrap();
    world.servers[0].script("/elsewhere", ok(world.servers[0].jwks()));
    let (html, page) = (HeaderValue::from_static("text/html"), "<!doctype html><title>Maintenance</title>");
    let off_the_curve = json!({"kty": "EC", "crv": "P-256", "x": "A".repeat(43), "y": "A".repeat(43)});
    let too_many = vec![json!({"kty": "oct"}); 101];
    for (answer, expected) in [
        (ok(json!({})), Some(KeySetError::Malformed)),
        (ok(json!([])), Some(KeySetError::Malformed)),
        (ok(json!({"keys": {}})), Some(KeySetError::Malformed)),
        (ok(json!({"keys": []})), Some(KeySetError::NoUsableKey { skipped: Vec::new() })),
        (ok(json!({"keys": [{"kty": "XYZ"}]})), Some(KeySetError::NoUsableKey { skipped: Vec::new() })),
        (ok(json!({"keys": [off_the_curve]})), Some(KeySetError::NoUsableKey { skipped: Vec::new() })),
        (ok(json!({"keys": too_many})), Some(KeySetError::TooMany)),
        (Answer::text(StatusCode::OK, ""), Some(KeySetError::Malformed)),
        (Answer::text(StatusCode::OK, r#"{"keys":["#), Some(KeySetError::Malformed)),
        (Answer::status(StatusCode::OK).header(header::CONTENT_TYPE, html).body(page), Some(KeySetError::Malformed)),
        (Answer::status(StatusCode::INTERNAL_SERVER_ERROR), None),
        (Answer::status(StatusCode::NOT_MODIFIED), None),
        (Answer::status(StatusCode::FOUND).header(header::LOCATION, elsewhere), None),
        (Answer::status(StatusCode::OK).body(vec![b' '; MAX_BODY_BYTES + 1]), None),
        (Answer::hanging(), None),
        (Answer::resetting(), None),
    ] {
        let case = format!("{answer:?}").chars().take(200).collect::<String>();
        world.servers[0].script(JWKS, answer);
        match (world.refresh(0).await, expected) {
            (Err(RefreshError::KeySet(error)), Some(expected)) => {
                assert_eq!(discriminant(&error), discriminant(&expected), "{case}")
            }
            (Err(RefreshError::Fetch(_)), None) => {}
            (outcome, _) => panic!("{outcome:?}: {case}"),
        }
        assert_eq!(world.seen.lock().pop(), Some(failure()), "{case}");
        assert!(world.validate(&world.token(0), &[A]).await.is_ok(), "{case}");
        assert!(world.validate(&remembered, &[A]).await.is_ok(), "{case}");
        assert_eq!(world.generation(0), Some(1), "{case}");
    }
    world.servers[0].stop().await.unwrap();
    assert!(world.refresh(0).await.is_err());
    assert!(world.validate(&world.token(0), &[A]).await.is_ok());
    world.servers[0].restart().await.unwrap();
    world.servers[0].rotate(KeyKind::Es256);
    world.servers[0].unscript(JWKS);
    assert_eq!((world.refresh(0).await, world.generation(0)), (Ok(()), Some(2))); // control
}

#[tokio::test]
async fn fapi2_cr_07_a_skipped_key_is_logged_once_with_its_kid_and_the_reason() {
    let (log, _guards) = Log::of_this_thread();
    let world = World::new(1).await;
    let good = world.servers[0].key(KeyKind::Es256).jwk().to_string();
    let publish = |keys: &[&str]| {
        let document = format!("{{\"keys\":[{}]}}", keys.join(","));
        world.servers[0].script(JWKS, Answer::text(StatusCode::OK, document));
    };
    let twice = r#"{"kty":"EC","kid":"odd-1","kid":"odd-1"}"#;
    let encrypts = r#"{"kty":"RSA","kid":"odd-2","use":"enc","n":"AQ","e":"AQAB"}"#;
    let short = r#"{"kty":"EC","kid":"odd-3","crv":"P-256","x":"AQ","y":"AQ"}"#;
    assert_eq!(log.lines("not used"), Vec::<String>::new()); // control

    publish(&[twice, encrypts, short, &good]);
    for _ in 0..3 {
        assert_eq!(world.refresh(0).await, Ok(()));
    }
    assert!(world.validate(&world.token(0), &[A]).await.is_ok());
    let lines = log.lines("key of the set is not used");
    assert_eq!(lines.len(), 3, "{lines:?}");
    for (line, parts) in lines.iter().zip([
        ["WARN", "odd-1", "each member appears once"],
        ["INFO", "odd-2", "its use is \"enc\", which is for another purpose"],
        ["WARN", "odd-3", "its x is missing or malformed"],
    ]) {
        assert!(parts.iter().all(|part| line.contains(part)) && line.contains("issuer=a"), "{line}");
    }
    assert_eq!(log.lines("keys=1 skipped=3").len(), 1);

    // A set that is refused is read again and again; its keys are logged once too.
    publish(&[short]);
    for _ in 0..3 {
        assert!(world.refresh(0).await.is_err());
    }
    assert_eq!(log.lines("key of the set is not used").len(), 4);
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn ops_10_keys_past_their_maximum_age_are_not_used_nor_what_was_verified_with_them() {
    let world = World::new(2).await;
    let remembered = world.token(0);
    assert!(world.validate(&remembered, &[A]).await.is_ok());
    world.servers[0].script(JWKS, Answer::status(StatusCode::INTERNAL_SERVER_ERROR));
    assert!(world.refresh(0).await.is_err());
    world.servers[0].clear();
    world.age_by(0, DAY - MINUTE);
    assert!(world.validate(&remembered, &[A]).await.is_ok()); // control
    assert!(world.validate(&world.token(0), &[A]).await.is_ok()); // control
    assert_eq!(world.seen.lock().iter().filter(|event| matches!(event, Event::Cache(_, CacheOutcome::Hit))).count(), 1);

    world.age_by(0, MINUTE);
    for token in [&remembered, &world.token(0), &strange_token(&world.servers[0], 0)] {
        assert_eq!(world.validate(token, &[A]).await.unwrap_err(), Code::KeysUnavailable);
        assert_eq!(world.validate(token, &[A, B]).await.unwrap_err(), Code::KeysUnavailable);
    }
    assert!(world.servers[0].requests().is_empty(), "no client can cause more calls");
    assert!(world.validate(&world.token(1), &[A, B]).await.is_ok(), "the other issuer's keys are unchanged");
    assert!(world.issuers.ready(), "readiness does not flap");
    assert!(matches!(&world.issuers.key_ages()[0], (_, Some(age)) if *age > DAY.as_secs_f64()));

    world.servers[0].unscript(JWKS);
    world.refresh(0).await.unwrap();
    assert!(world.validate(&remembered, &[A]).await.is_ok());
    assert!(world.validate(&world.token(0), &[A]).await.is_ok());
    assert_eq!(world.generation(0), Some(1));
}

#[tokio::test]
async fn ops_10_the_end_of_the_keys_is_one_line_and_heals_by_itself() {
    let (log, _guards) = Log::of_this_thread();
    let timing =
        Timing { retry_first: Duration::from_millis(5), retry_longest: Duration::from_millis(5), ..Timing::default() };
    let world = World::keeping(JwksSettings::default(), timing).await;
    world.servers[0].script(JWKS, Answer::status(StatusCode::SERVICE_UNAVAILABLE));
    let failures =
        |wanted: usize| move |events: &[Event]| events.iter().filter(|event| **event == failure()).count() >= wanted;
    let background = world.keep_fresh();
    world.seen.wait_until(failures(3)).await;
    assert_eq!(log.lines("ERROR"), Vec::<String>::new()); // control
    assert!(world.validate(&world.token(0), &[A]).await.is_ok()); // control

    world.age_by(0, DAY);
    world.seen.lock().clear();
    world.seen.wait_until(failures(5)).await;
    assert_eq!(world.validate(&world.token(0), &[A]).await.unwrap_err(), Code::KeysUnavailable);
    let lines = log.lines("ERROR");
    assert_eq!(lines.len(), 1, "{lines:?}");
    for part in ["no longer used", "issuer=a", "host=localhost:", "age_seconds=8640", "max_age_seconds=86400"] {
        assert!(lines[0].contains(part), "{lines:?}");
    }
    assert_eq!(log.lines("used again"), Vec::<String>::new());

    world.servers[0].unscript(JWKS);
    world.seen.wait_until(|events| events.contains(&success())).await;
    assert!(world.validate(&world.token(0), &[A]).await.is_ok());
    let said = async {
        while log.lines("used again").is_empty() {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, said).await.is_ok());
    assert_eq!((log.lines("ERROR").len(), log.lines("used again").len()), (1, 1));
    background.abort();
}

#[tokio::test]
async fn a_reload_keeps_the_keys_and_judges_their_age_anew() {
    let mut world = World::new(1).await;
    world.age_by(0, 2 * MINUTE);
    world.servers[0].stop().await.unwrap();
    let token = world.token(0);
    let succeeding = |jwks| {
        let settings = Settings { jwks, ..settings(&world.servers[0], "a", &world.authority) };
        world.issuers.succeeding(vec![settings], CACHE, Arc::new(())).unwrap()
    };
    let usual = succeeding(JwksSettings::default());
    assert!(usual.ready() && validate(&usual, &token, &[A]).await.is_ok()); // control
    let strict = succeeding(JwksSettings { max_age: MINUTE, ..JwksSettings::default() });
    assert!(strict.ready(), "an issuer that is down is no reason to refuse the reload");
    assert_eq!(validate(&strict, &token, &[A]).await.unwrap_err(), Code::KeysUnavailable);
    assert!(world.validate(&token, &[A]).await.is_ok(), "the previous state keeps its own settings");
    world.servers[0].restart().await.unwrap();
    strict.entries[0].keys.as_ref().unwrap().refresh().await.unwrap();
    assert!(validate(&strict, &token, &[A]).await.is_ok());
    assert!(world.issuers.key_ages()[0].1.unwrap() < 60.0, "both share the keys that were read");
}

#[tokio::test]
async fn a_reload_reads_the_keys_of_an_issuer_only_if_they_are_due_or_it_is_asked_in_another_way() {
    let world = World::new(2).await;
    for server in &world.servers {
        server.clear();
    }
    let settings = |(server, name)| settings(server, name, &world.authority);
    let mut settings: Vec<Settings> = world.servers.iter().zip(["a", "b"]).map(settings).collect();
    settings[1].jwks_uri = Some(world.servers[1].url(JWKS).parse().unwrap());
    let again = Arc::new(world.issuers.succeeding(settings, CACHE, world.seen.clone()).unwrap());
    let kept = Arc::clone(&again);
    let background = tokio::spawn(async move { kept.keep_fresh().await });
    let (same, changed) = (&world.servers[0], &world.servers[1]);
    changed.wait_for(JWKS, 1, DEADLINE).await.unwrap(); // control
    assert_eq!(same.requests_to(JWKS), 0);
    background.abort();
    world.age_by(0, 5 * MINUTE);
    let background = tokio::spawn(async move { again.keep_fresh().await });
    same.wait_for(JWKS, 1, DEADLINE).await.unwrap();
    background.abort();
}

#[tokio::test]
async fn fapi2_cr_09_a_removed_key_stops_with_the_next_scheduled_reading_remembered_or_not() {
    let jwks = JwksSettings { refresh_interval: Duration::from_millis(20), ..JwksSettings::default() };
    let mut world = World::keeping(jwks, Timing::default()).await;
    let old = world.token(0);
    assert!(world.validate(&old, &[A]).await.is_ok());
    let background = world.keep_fresh();
    let read = |events: &[Event]| events.iter().filter(|event| **event == success()).count() >= 2;
    world.seen.wait_until(read).await;
    assert!(world.validate(&old, &[A]).await.is_ok()); // control
    world.servers[0].rotate(KeyKind::Es256);
    world.seen.lock().clear();
    world.seen.wait_until(read).await;
    assert_eq!(world.generation(0), Some(2));
    background.abort();
    assert_eq!(world.validate(&old, &[A]).await.unwrap_err(), Code::TokenKeyUnknown);
    assert!(world.validate(&world.token(0), &[A]).await.is_ok());
}

#[tokio::test]
async fn an_issuer_may_ask_to_be_read_sooner() {
    let timing = Timing { refresh_floor: Duration::from_millis(1), ..Timing::default() };
    let world = World::keeping(JwksSettings::default(), timing).await;
    let server = &world.servers[0];
    let saying = |value| ok(server.jwks()).header(header::CACHE_CONTROL, HeaderValue::from_static(value));
    server.script(JWKS, [saying("no-store"), saying("max-age=0"), saying("public, max-age=86400"), Answer::hanging()]);
    let background = world.keep_fresh();
    let read = |wanted| move |events: &[Event]| events.iter().filter(|event| **event == success()).count() >= wanted;
    world.seen.wait_until(read(3)).await;
    // The third response is fresh for 300 seconds, so the next request is made by this test.
    server.unscript(JWKS);
    world.refresh(0).await.unwrap();
    assert_eq!(server.requests_to(JWKS), 4);
    background.abort();
}

#[tokio::test]
async fn all_who_want_the_keys_at_once_share_one_flight() {
    let world = World::new(1).await;
    let (one, two, three) = tokio::join!(world.refresh(0), world.refresh(0), world.refresh(0));
    assert_eq!((one, two, three), (Ok(()), Ok(()), Ok(())));
    assert_eq!(world.servers[0].requests_to(JWKS), 1);
    world.refresh(0).await.unwrap();
    assert_eq!(world.servers[0].requests_to(JWKS), 2);
}

/// A token that is good except for its key, which the issuer does not have.
fn strange_token(server: &AuthorizationServer, number: usize) -> String {
    let key = server.key(KeyKind::Es256).with_kid(&format!("unknown-{number}"));
    server.token(NOW.0).sign(&key)
}

fn strange_tokens(server: &AuthorizationServer, numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| strange_token(server, number)).collect()
}

/// The codes of these tokens, which are all presented at once.
async fn storm(issuers: Arc<Issuers>, tokens: Vec<String>) -> Vec<Code> {
    let mut tasks = JoinSet::new();
    for token in tokens {
        let issuers = Arc::clone(&issuers);
        tasks.spawn(async move { validate(&issuers, &token, &[A]).await.unwrap_err() });
    }
    tasks.join_all().await
}

async fn flood(world: &World, numbers: std::ops::Range<usize>, expected: Code) {
    let storm = storm(Arc::clone(&world.issuers), strange_tokens(&world.servers[0], numbers));
    let codes = tokio::time::timeout(DEADLINE, storm).await.unwrap();
    assert!(codes.iter().all(|code| *code == expected), "{codes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn atk_sz_05_ten_thousand_unknown_kids_cost_one_fetch_and_valid_tokens_do_not_wait_for_it() {
    const STORM: usize = 10_000;
    let mut world = World::with(1, Timing { timeout: MINUTE, retry_first: MINUTE, ..Timing::default() }, CACHE).await;
    let server = &world.servers[0];
    let remembered = world.token(0);
    assert!(world.validate(&remembered, &[A]).await.is_ok());
    world.seen.lock().clear();

    // The issuer does not respond while the first half arrives, and no valid token waits for it.
    server.script(JWKS, Answer::hanging());
    let arrived = |half: usize| {
        move |events: &[Event]| events.iter().filter(|event| matches!(event, Event::Cache(..))).count() >= half
    };
    let storm = tokio::spawn(storm(Arc::clone(&world.issuers), strange_tokens(server, 0..STORM / 2)));
    server.wait_for(JWKS, 1, DEADLINE).await.unwrap();
    world.seen.wait_until(arrived(STORM / 2)).await;
    let valid = async {
        for _ in 0..100 {
            assert!(world.validate(&world.token(0), &[A]).await.is_ok());
            assert!(world.validate(&remembered, &[A]).await.is_ok());
        }
    };
    tokio::time::timeout(DEADLINE, valid).await.unwrap();
    let read = |events: &[Event]| events.iter().any(|event| matches!(event, Event::Refresh(..)));
    assert!(!read(&world.seen.lock()), "the slow read ended before the valid tokens were validated");
    assert!(!storm.is_finished());

    // The read fails. The second half arrives in the pause after it, and no request waits.
    world.servers[0].stop().await.unwrap();
    let codes = storm.await.unwrap();
    assert!(codes.len() == STORM / 2 && codes.iter().all(|code| *code == Code::KeysUnavailable));
    world.servers[0].restart().await.unwrap();
    assert_eq!(paths(&world.servers[0]), [JWKS]);
    flood(&world, STORM / 2..STORM, Code::KeysUnavailable).await;
    assert!(paths(&world.servers[0]).is_empty());
    assert!(world.validate(&world.token(0), &[A]).await.is_ok());
    assert_eq!(world.generation(0), Some(1));
}

#[tokio::test]
async fn atk_sz_05_a_failed_fetch_is_followed_by_a_pause() {
    let world = World::with(1, Timing { retry_first: MINUTE, ..Timing::default() }, CACHE).await;
    let server = &world.servers[0];
    server.script(JWKS, Answer::status(StatusCode::SERVICE_UNAVAILABLE));
    flood(&world, 0..100, Code::KeysUnavailable).await;
    flood(&world, 100..200, Code::KeysUnavailable).await;
    assert_eq!(paths(server), [JWKS]);
    assert!(world.seen.lock().contains(&failure()));
}

#[tokio::test]
async fn a_new_key_works_after_more_failed_fetches_than_the_allowance_has() {
    let timing = Timing { retry_first: Duration::ZERO, token_burst: 2, token_refill: DAY, ..Timing::default() };
    let mut world = World::with(1, timing, CACHE).await;
    world.servers[0].rotate(KeyKind::Es256);
    world.servers[0].script(JWKS, Answer::status(StatusCode::SERVICE_UNAVAILABLE));
    for _ in 0..5 {
        assert_eq!(world.validate(&world.token(0), &[A]).await.unwrap_err(), Code::KeysUnavailable);
    }
    world.servers[0].unscript(JWKS);
    assert!(world.validate(&world.token(0), &[A]).await.is_ok());
    assert_eq!(paths(&world.servers[0]), [JWKS; 6]);
}

#[tokio::test]
async fn one_made_up_token_does_not_delay_a_new_key_and_a_flood_makes_it_unavailable_not_invalid() {
    let timing = Timing { token_burst: 2, token_refill: DAY, ..Timing::default() };
    let mut world = World::with(1, timing, CACHE).await;
    flood(&world, 0..1, Code::TokenKeyUnknown).await;
    world.servers[0].rotate(KeyKind::Es256);
    assert!(world.validate(&world.token(0), &[A]).await.is_ok());
    assert_eq!(paths(&world.servers[0]), [JWKS; 2]);
    // Now the allowance is used up.
    let forged = SigningKey::generate(KeyKind::Es256, world.servers[0].key(KeyKind::Es256).kid());
    let forged = world.servers[0].token(NOW.0).sign(&forged);
    world.servers[0].rotate(KeyKind::Ps256);
    let new = world.servers[0].token(NOW.0).sign(world.servers[0].key(KeyKind::Ps256));
    assert_eq!(world.validate(&new, &[A]).await.unwrap_err(), Code::KeysUnavailable);
    assert_eq!(world.validate(&forged, &[A]).await.unwrap_err(), Code::TokenSignatureInvalid);
    assert!(paths(&world.servers[0]).is_empty());
    world.refresh(0).await.unwrap();
    assert!(world.validate(&new, &[A]).await.is_ok());
}

#[tokio::test]
async fn atk_sz_05_behind_a_slow_scheduled_reading_nobody_waits_longer_than_for_one_call() {
    // Neither the two metadata URLs nor the key set respond.
    let timing = Timing { timeout: Duration::from_secs(1), ..Timing::default() };
    let world = World::with(1, timing, CACHE).await;
    let server = &world.servers[0];
    for path in [METADATA, OPENID, JWKS] {
        server.script(path, Answer::hanging());
    }
    let scheduled = tokio::spawn({
        let keys = Arc::clone(world.keys(0));
        async move { keys.refresh().await }
    });
    server.wait_for(METADATA, 1, DEADLINE).await.unwrap();
    flood(&world, 0..100, Code::KeysUnavailable).await;
    assert!(!scheduled.is_finished());
    assert!(scheduled.await.unwrap().is_err()); // control
    assert_eq!(paths(server), [METADATA, OPENID, JWKS]);
}

#[tokio::test]
async fn with_allowance_an_unknown_kid_is_asked_for_again() {
    let world =
        World::with(1, Timing { token_burst: 1, token_refill: Duration::ZERO, ..Timing::default() }, CACHE).await;
    flood(&world, 0..1, Code::TokenKeyUnknown).await;
    flood(&world, 1..2, Code::TokenKeyUnknown).await;
    assert_eq!(paths(&world.servers[0]), [JWKS, JWKS]);
}

#[tokio::test]
async fn only_a_token_that_no_key_verifies_is_worth_a_fetch() {
    let world = World::new(1).await;
    let server = &world.servers[0];
    let key = server.key(KeyKind::Es256);
    let unknown = key.with_kid("unknown");
    for (token, code) in [
        (server.token(NOW.0).header("typ", "JWT").sign(&unknown), Code::TokenTypeWrong),
        (server.token(NOW.0).header("alg", "RS256").sign(&unknown), Code::TokenAlgorithmRefused),
        (server.token(NOW.0).claim("iss", "https://other.example").sign(&unknown), Code::TokenIssuerUnknown),
        (server.token(NOW.0).audience("https://other.example").sign(key), Code::TokenAudienceMismatch),
        (server.token(NOW.0).expires_at(NOW.0).sign(key), Code::TokenExpired),
    ] {
        assert_eq!(world.validate(&token, &[A]).await.unwrap_err(), code);
    }
    assert!(server.requests().is_empty());
    let token = server.token(NOW.0).sign(&unknown);
    assert_eq!(world.validate(&token, &[A]).await.unwrap_err(), Code::TokenKeyUnknown); // control
    assert_eq!(paths(server), [JWKS]);
}

#[tokio::test]
async fn fapi2_cr_09_a_key_that_is_replaced_under_its_kid_works_on_its_first_use() {
    for (case, kid) in [("with kid", true), ("without kid", false)] {
        let world = World::with(1, Timing { token_burst: 1, ..Timing::default() }, CACHE).await;
        let server = &world.servers[0];
        let former = server.key(KeyKind::Es256);
        let sign = |key: &SigningKey| {
            let token = server.token(NOW.0);
            if kid { token } else { token.without_header("kid") }.sign(key)
        };
        let old = sign(former);
        assert!(world.validate(&old, &[A]).await.is_ok(), "{case}"); // control, and remembered
        let replacement = SigningKey::generate(KeyKind::Es256, former.kid());
        server.script(JWKS, ok(jwks(&[&replacement])));
        assert!(world.validate(&sign(&replacement), &[A]).await.is_ok(), "{case}");
        assert_eq!(paths(server), [JWKS], "{case}");
        assert_eq!(world.validate(&old, &[A]).await.unwrap_err(), Code::TokenSignatureInvalid, "{case}");
        assert!(paths(server).is_empty(), "{case}: the allowance is used up");
    }
}

#[tokio::test]
async fn fapi2_cr_09_a_first_key_of_its_algorithm_works_on_its_first_use_without_a_kid() {
    let world = World::new(1).await;
    let server = &world.servers[0];
    server.script(JWKS, ok(jwks(&[server.key(KeyKind::Es256)])));
    world.refresh(0).await.unwrap();
    server.unscript(JWKS);
    server.clear();
    let token = server.token(NOW.0).without_header("kid").sign(server.key(KeyKind::Ps256));
    assert!(world.validate(&token, &[A]).await.is_ok());
    assert_eq!(paths(server), [JWKS]);
}

#[tokio::test]
async fn atk_sz_05_bad_signatures_and_unknown_kids_share_one_allowance() {
    let world = World::with(1, Timing { token_burst: 1, ..Timing::default() }, CACHE).await;
    let server = &world.servers[0];
    let stranger = SigningKey::generate(KeyKind::Es256, server.key(KeyKind::Es256).kid());
    let forged = || server.token(NOW.0).sign(&stranger);
    assert_eq!(world.validate(&forged(), &[A]).await.unwrap_err(), Code::TokenSignatureInvalid);
    assert_eq!(paths(server), [JWKS]);
    server.script(JWKS, Answer::hanging());
    for _ in 0..10 {
        assert_eq!(world.validate(&forged(), &[A]).await.unwrap_err(), Code::TokenSignatureInvalid);
    }
    flood(&world, 0..10, Code::KeysUnavailable).await;
    assert!(paths(server).is_empty());
    assert!(world.validate(&world.token(0), &[A]).await.is_ok());
}

#[tokio::test]
async fn a_client_that_hangs_up_neither_ends_the_flight_nor_escapes_the_allowance() {
    let mut world = World::with(1, Timing { token_burst: 1, ..Timing::default() }, CACHE).await;
    world.servers[0].rotate(KeyKind::Es256);
    let server = &world.servers[0];
    server.script(JWKS, ok(server.jwks()).delayed(Duration::from_millis(50)));
    let token = strange_token(server, 0);
    let issuers = Arc::clone(&world.issuers);
    let impatient = tokio::spawn(async move { validate(&issuers, &token, &[A]).await });
    server.wait_for(JWKS, 1, DEADLINE).await.unwrap();
    impatient.abort();
    assert!(impatient.await.unwrap_err().is_cancelled());
    assert!(world.validate(&world.token(0), &[A]).await.is_ok()); // the rotated key, which that read returned
    flood(&world, 1..3, Code::KeysUnavailable).await;
    assert_eq!(server.requests_to(JWKS), 1);
}

// mod.rs

#[tokio::test]
async fn fapi2_cr_09_a_new_key_works_on_its_first_use_and_a_removed_one_no_more() {
    let mut world = World::new(1).await;
    let old = world.token(0);
    assert!(world.validate(&old, &[A]).await.is_ok()); // control, and remembered
    let former = world.servers[0].rotate(KeyKind::Es256);
    assert!(world.validate(&old, &[A]).await.is_ok()); // the keys were not read again yet
    let new = world.token(0);
    assert!(world.validate(&new, &[A]).await.is_ok());
    assert!(world.validate(&new, &[A]).await.is_ok());
    assert_eq!(world.seen.lock().pop(), Some(Event::Cache("a".to_owned(), CacheOutcome::Hit)));
    assert_eq!(paths(&world.servers[0]), [JWKS]);
    assert_eq!(world.generation(0), Some(2));
    assert_eq!(world.validate(&old, &[A]).await.unwrap_err(), Code::TokenKeyUnknown);

    world.servers[0].script(JWKS, ok(jwks(&[&former])));
    world.refresh(0).await.unwrap();
    assert_eq!(world.generation(0), Some(3)); // not 1 again
    assert!(world.validate(&old, &[A]).await.is_ok());
}

#[tokio::test]
async fn fapi2_rs_11_keys_are_found_by_type_among_those_of_one_kid_or_of_none() {
    let world = World::new(1).await;
    let server = &world.servers[0];
    let named = |kid: &str| KeyKind::ALL.map(|kind| SigningKey::generate(kind, kid));
    let (same, others, strangers) = (named("same"), named("other"), named("same"));
    let mut set = jwks(&same.iter().chain(&others).collect::<Vec<_>>());
    for key in set["keys"].as_array_mut().unwrap() {
        key.as_object_mut().unwrap().remove("alg");
    }
    server.script(JWKS, ok(set));
    world.refresh(0).await.unwrap();
    for key in same.iter().chain(&others) {
        let token = || server.token(NOW.0);
        assert!(world.validate(&token().sign(key), &[A]).await.is_ok(), "{key:?}");
        assert!(world.validate(&token().without_header("kid").sign(key), &[A]).await.is_ok(), "{key:?}");
    }
    for key in &strangers {
        let token = || server.token(NOW.0);
        assert_eq!(world.validate(&token().sign(key), &[A]).await.unwrap_err(), Code::TokenSignatureInvalid);
        let nameless = token().without_header("kid").sign(key);
        assert_eq!(world.validate(&nameless, &[A]).await.unwrap_err(), Code::TokenSignatureInvalid);
    }
    let swapped = server.token(NOW.0).sign(&others[0].with_kid("same"));
    assert_eq!(world.validate(&swapped, &[A]).await.unwrap_err(), Code::TokenSignatureInvalid);
}

#[tokio::test]
async fn jwt_03_a_key_of_one_issuer_signs_nothing_for_another() {
    let world = World::new(2).await;
    let [a, b] = &world.servers[..] else { panic!("two servers") };
    let (key_a, key_b) = (a.key(KeyKind::Es256), b.key(KeyKind::Es256));
    assert_eq!(key_a.kid(), key_b.kid());
    let issuer = |token: Arc<ActiveToken>| token.issuer().to_string();
    assert_eq!(world.validate(&a.token(NOW.0).sign(key_a), &[A, B]).await.map(issuer), Ok("a".to_owned())); // control
    assert_eq!(world.validate(&b.token(NOW.0).sign(key_b), &[A, B]).await.map(issuer), Ok("b".to_owned())); // control
    assert_eq!(world.validate(&a.token(NOW.0).sign(key_b), &[A, B]).await.unwrap_err(), Code::TokenSignatureInvalid);
    assert_eq!(world.validate(&b.token(NOW.0).sign(key_a), &[B, A]).await.unwrap_err(), Code::TokenSignatureInvalid);
}

#[tokio::test]
async fn att_a1a_a_token_counts_only_where_its_issuer_is_accepted_remembered_or_not() {
    let world = World::new(2).await;
    let token = world.token(1);
    assert_eq!(world.validate(&token, &[A]).await.unwrap_err(), Code::TokenIssuerUnknown);
    assert!(world.validate(&token, &[A, B]).await.is_ok()); // control, and remembered
    assert!(world.validate(&token, &[B]).await.is_ok());
    assert_eq!(world.validate(&token, &[A]).await.unwrap_err(), Code::TokenIssuerUnknown);
    assert_eq!(world.validate(&token, &[IssuerIndex(2)]).await.unwrap_err(), Code::TokenIssuerUnknown);
}

#[tokio::test]
async fn atk_ca_08_a_remembered_token_is_found_whole_and_not_verified_again() {
    let world = World::new(1).await;
    let token = world.token(0);
    let first = world.validate(&token, &[A]).await.unwrap();
    let second = world.validate(&token, &[A]).await.unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(world.issuers.cache_entries(), 1);
    let (head, tail) = token.split_at(token.rfind('.').unwrap() + 1);
    let forged = format!("{head}{}{}", if tail.starts_with('A') { 'B' } else { 'A' }, &tail[1..]);
    assert_eq!(world.validate(&forged, &[A]).await.unwrap_err(), Code::TokenSignatureInvalid);
    assert_eq!(world.validate(&forged, &[A]).await.unwrap_err(), Code::TokenSignatureInvalid);
    let cache = |outcome| Event::Cache("a".to_owned(), outcome);
    let looked_up: Vec<_> =
        world.seen.lock().iter().filter(|event| matches!(event, Event::Cache(..))).cloned().collect();
    assert_eq!(looked_up, [CacheOutcome::Miss, CacheOutcome::Hit, CacheOutcome::Miss, CacheOutcome::Miss].map(cache));
    assert_eq!(world.issuers.cache_entries(), 1);
}

#[tokio::test]
async fn atk_ca_04_a_remembered_token_has_no_claims_after_exp() {
    let world = World::new(1).await;
    let token = world.token(0);
    assert!(world.validate(&token, &[A]).await.is_ok());
    let later = NOW.plus(300);
    let found = validate_at(&world.issuers, &token, &[A], later).await.unwrap();
    assert!(found.claims_at(NOW).is_ok()); // control
    assert_eq!(found.claims_at(later).err(), Some(TokenError::Expired { at: later, now: later }));
}

#[tokio::test]
async fn atk_ca_04_is_remembered_until_exp_or_the_maximum_age() {
    let world = World::new(1).await;
    let server = &world.servers[0];
    for (lives, remembered) in [(10, 10), (300, 300), (301, 300), (86400, 300)] {
        let token = server.token(NOW.0).expires_at(NOW.0 + lives).sign(server.key(KeyKind::Es256));
        world.validate(&token, &[A]).await.unwrap();
        let hash = TokenHash::of(PresentedToken::parse(&token).unwrap());
        assert_eq!(world.issuers.tokens.get(&hash).map(|found| found.lifetime.as_secs()), Some(remembered));
    }
    let cache = CacheSettings { max_age: Duration::ZERO, ..CACHE };
    let world = World::with(1, Timing::default(), cache).await;
    let token = world.token(0);
    world.validate(&token, &[A]).await.unwrap();
    assert_eq!(world.issuers.cache_entries(), 0);
}

/// What one entry verified is no fact for another: neither for another issuer, nor for the same issuer as another entry
/// has it.
#[tokio::test]
async fn atk_ca_01_a_verified_token_is_found_for_its_own_issuer_alone() {
    let world = World::new(2).await;
    let text = world.token(0);
    let hash = TokenHash::of(PresentedToken::parse(&text).unwrap());
    world.validate(&text, &[A, B]).await.unwrap();
    let found = |accepted: &[IssuerIndex]| {
        let found = world.issuers.verified(world.issuers.accepted(accepted), &hash);
        found.map(|(entry, _)| entry.expected.name.to_string())
    };
    for accepted in [&[A][..], &[A, B], &[B, A]] {
        assert_eq!(found(accepted).as_deref(), Some("a"), "control");
    }
    assert_eq!((found(&[B]), found(&[])), (None, None));
    assert_eq!(world.validate(&text, &[B]).await.unwrap_err(), Code::TokenIssuerUnknown);
    assert_eq!(found(&[A]).as_deref(), Some("a"), "a refusal takes nothing away");
}

#[tokio::test]
async fn atk_ca_09_what_has_ended_is_gone_and_what_takes_its_place_stays() {
    let world = World::new(1).await;
    let text = world.token(0);
    let token = world.validate(&text, &[A]).await.unwrap();
    let key = TokenHash::of(PresentedToken::parse(&text).unwrap());
    let tokens = &world.issuers.tokens;
    let basis = VerifiedBy { issuer: world.issuers.entries[0].id, generation: 1 };
    let insert = |lifetime| tokens.insert(key, Remembered { token: token.clone(), basis, lifetime });
    insert(Duration::from_millis(1));
    let gone = async {
        while tokens.get(&key).is_some() {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, gone).await.is_ok());
    insert(DEADLINE);
    assert!(tokens.get(&key).is_some());
}

#[tokio::test]
async fn atk_ca_06_tokens_do_not_cross_over() {
    let world = World::new(2).await;
    let mut tasks = JoinSet::new();
    let tokens: Vec<Arc<str>> = (0..2)
        .map(|index| {
            let server = &world.servers[index];
            let token = server.token(NOW.0).claim("client_id", format!("client-{index}"));
            token.sign(server.key(KeyKind::Es256)).into()
        })
        .collect();
    for number in 0..400 {
        let (issuers, token) = (Arc::clone(&world.issuers), Arc::clone(&tokens[number % 2]));
        tasks.spawn(async move {
            let found = validate(&issuers, &token, &[A, B]).await.unwrap();
            let client_id = found.claims_at(NOW).unwrap().text("client_id").map(str::to_owned);
            assert_eq!(client_id, Some(format!("client-{}", number % 2)));
        });
    }
    assert_eq!(tokio::time::timeout(DEADLINE, tasks.join_all()).await.unwrap().len(), 400);
}

#[tokio::test]
async fn each_error_names_its_issuer_and_its_host_and_quotes_nothing_secret() {
    let mut world = World::new(1).await;
    let host = world.servers[0].url("").replace("https://", "");
    world.servers[0].script(JWKS, Answer::text(StatusCode::BAD_GATEWAY, "do not repeat me"));
    assert_eq!(
        world.refresh(0).await.unwrap_err().to_string(),
        format!("{host} answered with status 502, expected 200")
    );
    world.servers[0].stop().await.unwrap();
    let error = world.refresh(0).await.unwrap_err().to_string();
    assert!(error.starts_with(&format!("{host} cannot be reached: ")) && error.contains("refused"), "{error}");
}
