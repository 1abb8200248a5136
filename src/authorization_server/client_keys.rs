//! The keys that clients publish at their `jwks_uri` (RFC 7591 §2): read when a client first needs them, and kept.
//!
//! Unlike an issuer's keys ([`crate::issuer::jwks`]), nothing is read that nobody asked for: there may be thousands of clients, of
//! which few come. What is read of one client is its own: its requests share a read and wait for it, and those of others do
//! not. Anyone can send a request in the name of a client, so that no client's host is called more than twice a minute.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use fapi::authorization_server::certificate::SelfSigned;
use fapi::authorization_server::client::{ClientKeys, RegisteredClient};
use fapi::authorization_server::clients::Clients;
use fapi::jose::keys::{KeySet, KeySetError};
use fapi::rejection::Unavailable;
use fapi::sha256;
use reqwest::Url;
use tokio::sync::{Semaphore, watch};
use tracing::{info, warn};

use crate::clock::Clock;
use crate::issuer::fresh_for;
use crate::issuer::http::{Client, ClientError, Document, FetchError, host};
use crate::tls_client::TrustAnchors;

/// What is at the `jwks_uri` of a client.
#[derive(Debug)]
pub(crate) struct PublishedKeys {
    /// Its keys. There may be none beside certificates, which may be of keys that verify nothing here.
    pub(super) keys: KeySet,
    /// The certificates that it made itself, if there are any (RFC 8705 §2.2).
    pub(super) self_signed: Option<SelfSigned>,
    digest: [u8; 32],
}

/// The keys of all clients of a registry that publish them.
pub(crate) struct ClientKeySources {
    /// The configured name of the server whose clients they are.
    server: Arc<str>,
    trust_anchors: TrustAnchors,
    reader: Option<Arc<dyn Reader>>,
    clock: Clock,
    /// By the client's id. There is one for each client that has come, and so for none that is not registered.
    sources: Mutex<HashMap<Box<str>, Arc<Source>>>,
}

/// What came of reading keys again that do not verify what a client has signed.
#[derive(Debug)]
pub(super) enum ReadAgain {
    /// Others.
    Newer(Arc<PublishedKeys>),
    /// The same, or the last read is so short ago that they count as the same.
    Same,
    /// They cannot be read.
    NotRead(Unavailable),
}

/// Clients publish their keys, and nothing is there to read them with.
#[derive(Debug, thiserror::Error)]
#[error("authorization server {server:?}: the keys at its clients' jwks_uri cannot be read: {error}")]
pub struct ClientKeysError {
    /// The configured name of the server.
    pub server: Arc<str>,
    /// Why not.
    pub error: ClientError,
}

impl ClientKeySources {
    /// Nothing is read yet. What was read `before` of a client whose `jwks_uri` is the same stays in use.
    ///
    /// # Errors
    /// [`ClientKeysError`], if there are clients with a `jwks_uri`.
    pub(crate) fn new(
        server: &Arc<str>,
        clients: &Clients,
        trust_anchors: &TrustAnchors,
        clock: &Clock,
        before: Option<&Self>,
    ) -> Result<Self, ClientKeysError> {
        let reader = match clients.iter().any(|client| matches!(client.keys(), ClientKeys::At(_))) {
            true => {
                let client = Client::new(trust_anchors, LONGEST_READ, LONGEST_READ);
                let client = client.map_err(|error| ClientKeysError { server: server.clone(), error })?;
                Some(Arc::new(client) as Arc<dyn Reader>)
            }
            false => None,
        };
        Ok(Self::reading_with(reader, server, clients, trust_anchors, clock, before))
    }

    fn reading_with(
        reader: Option<Arc<dyn Reader>>,
        server: &Arc<str>,
        clients: &Clients,
        trust_anchors: &TrustAnchors,
        clock: &Clock,
        before: Option<&Self>,
    ) -> Self {
        let mut sources = HashMap::new();
        for source in before.iter().flat_map(|before| before.sources().values().cloned().collect::<Vec<_>>()) {
            let same = clients.get(&source.client).is_some_and(|client| uri_of(client) == Some(&source.uri));
            if same {
                // Whoever corrects the trust anchors does not wait for the end of the pause after a failure.
                let trusted = before.is_some_and(|before| before.trust_anchors == *trust_anchors);
                let source = if trusted { source } else { Arc::new(source.without_failure()) };
                sources.insert(source.client.clone(), source);
            }
        }
        let (server, trust_anchors, clock) = (server.clone(), trust_anchors.clone(), clock.clone());
        Self { server, trust_anchors, reader, clock, sources: Mutex::new(sources) }
    }

    /// The keys of this client; `None` if it publishes none.
    ///
    /// Waits only if there are none yet that may be used, and for one read at most. While some may be used that are due, they
    /// are read behind the request's back.
    ///
    /// # Errors
    /// [`Unavailable::ClientKeys`], if they cannot be read.
    pub(super) async fn of(&self, client: &RegisteredClient) -> Result<Option<Arc<PublishedKeys>>, Unavailable> {
        let Some(uri) = uri_of(client) else { return Ok(None) };
        let source = self.source(client.id(), uri);
        let now = self.clock.monotonic();
        let reading = {
            let mut state = source.state();
            if let Some(held) = state.usable(now) {
                let (keys, is_due) = (held.keys.clone(), now >= held.due_at());
                if is_due {
                    let _ = self.join_or_begin(&source, &mut state, now);
                }
                return Ok(Some(keys));
            }
            let reading = self.join_or_begin(&source, &mut state, now);
            reading.ok_or_else(|| source.unavailable(&state))?
        };
        source.wait(reading).await?;
        let state = source.state();
        match state.usable(self.clock.monotonic()) {
            Some(held) => Ok(Some(held.keys.clone())),
            None => Err(source.unavailable(&state)),
        }
    }

    /// Reads the keys of this client again, since those that were `seen` do not verify what it has signed: its key may be new.
    ///
    /// Anyone can make up such a thing. So requests share a read, and there is none within [`BETWEEN_READS`] of the last.
    pub(super) async fn again(&self, client: &RegisteredClient, seen: &Arc<PublishedKeys>) -> ReadAgain {
        let Some(uri) = uri_of(client) else { return ReadAgain::Same };
        let source = self.source(client.id(), uri);
        let now = self.clock.monotonic();
        let reading = {
            let mut state = source.state();
            if let Some(newer) = state.newer_than(seen, now) {
                return ReadAgain::Newer(newer);
            }
            match self.join_or_begin(&source, &mut state, now) {
                Some(reading) => reading,
                None if state.failure.is_some() => return ReadAgain::NotRead(source.unavailable(&state)),
                None => return ReadAgain::Same,
            }
        };
        if let Err(unavailable) = source.wait(reading).await {
            return ReadAgain::NotRead(unavailable);
        }
        let state = source.state();
        match state.newer_than(seen, self.clock.monotonic()) {
            Some(newer) => ReadAgain::Newer(newer),
            None if state.failure.is_some() => ReadAgain::NotRead(source.unavailable(&state)),
            None => ReadAgain::Same,
        }
    }

    /// What is known of a client; nothing, if its keys are elsewhere from now on.
    fn source(&self, client: &str, uri: &str) -> Arc<Source> {
        let mut sources = self.sources();
        match sources.get(client) {
            Some(source) if *source.uri == *uri => source.clone(),
            Some(_) | None => {
                let source = Arc::new(Source::new(client, uri));
                sources.insert(client.into(), source.clone());
                source
            }
        }
    }

    fn sources(&self) -> MutexGuard<'_, HashMap<Box<str>, Arc<Source>>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The read that is under way, or one that begins now; `None` if none may begin yet.
    fn join_or_begin(&self, source: &Arc<Source>, state: &mut State, now: Duration) -> Option<watch::Receiver<()>> {
        if let Some(reading) = state.reading.as_ref().filter(|reading| reading.has_changed().is_ok()) {
            return Some(reading.clone());
        }
        if !state.may_begin(now) {
            return None;
        }
        state.began = Some(now);
        // Closed with the end of the task, however it ends.
        let (under_way, reading) = watch::channel(());
        state.reading = Some(reading.clone());
        let (source, reader, clock, server) =
            (source.clone(), self.reader.clone(), self.clock.clone(), self.server.clone());
        // In a separate task: a client that closes its connection does not cancel the read that others wait for.
        drop(tokio::spawn(async move {
            let outcome = read(reader.as_deref(), &source.uri).await;
            source.end(outcome, clock.monotonic(), &server);
            drop(under_way);
        }));
        Some(reading)
    }
}

/// Where a client publishes its keys.
fn uri_of(client: &RegisteredClient) -> Option<&str> {
    match client.keys() {
        ClientKeys::At(uri) => Some(uri),
        ClientKeys::Given(_) | ClientKeys::None => None,
    }
}

/// What is known of one client.
struct Source {
    client: Box<str>,
    uri: Box<str>,
    state: Mutex<State>,
    waiting: Semaphore,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    /// What came of the last read, if it has failed.
    failure: Option<Failure>,
    /// When the last read began.
    began: Option<Duration>,
    /// Open as long as a read is under way.
    reading: Option<watch::Receiver<()>>,
}

/// The keys as they were last read.
#[derive(Clone)]
struct Held {
    keys: Arc<PublishedKeys>,
    read_at: Duration,
    fresh_for: Duration,
}

struct Failure {
    /// How many there have been in a row.
    count: u32,
    /// When the next read may begin.
    until: Duration,
    detail: String,
}

impl Source {
    fn new(client: &str, uri: &str) -> Self {
        let (client, uri) = (client.into(), uri.into());
        Self { client, uri, state: Mutex::default(), waiting: Semaphore::new(MOST_WAITING) }
    }

    /// The same keys, which may be read again at once.
    fn without_failure(&self) -> Self {
        let held = self.state().held.clone();
        Self { state: Mutex::new(State { held, ..State::default() }), ..Self::new(&self.client, &self.uri) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the end of a read, unless too many do already: a host that does not answer does not collect requests.
    async fn wait(&self, mut reading: watch::Receiver<()>) -> Result<(), Unavailable> {
        let Ok(_place) = self.waiting.try_acquire() else {
            return Err(self.unavailable_for(format!("{MOST_WAITING} requests wait for them already")));
        };
        // It is closed, and never changes.
        let _ = reading.changed().await;
        Ok(())
    }

    /// Keeps what was read; what was there before, if nothing was.
    fn end(&self, outcome: Result<Read, ReadError>, now: Duration, server: &str) {
        let (client, host) = (&*self.client, self.host());
        let mut state = self.state();
        match outcome {
            Ok(Read { keys, fresh_for }) => {
                let before = state.held.take().map(|held| held.keys);
                let keys = match before.filter(|before| before.digest == keys.digest) {
                    Some(before) => before,
                    None => {
                        let (usable, skipped) = (keys.keys.len(), keys.keys.skipped().len());
                        info!(server, client, %host, keys = usable, skipped, "keys of a client read");
                        Arc::new(keys)
                    }
                };
                state.held = Some(Held { keys, read_at: now, fresh_for });
                state.failure = None;
            }
            Err(error) => {
                let count = state.failure.as_ref().map_or(0, |failure| failure.count);
                let pause = FIRST_PAUSE.saturating_mul(2_u32.saturating_pow(count)).min(LONGEST_PAUSE);
                // No flood: there is a pause after each.
                warn!(server, client, %host, %error, retry_seconds = pause.as_secs(), "keys of a client could not be read");
                let (count, until) = (count.saturating_add(1), now.saturating_add(pause));
                state.failure = Some(Failure { count, until, detail: error.to_string() });
            }
        }
    }

    /// Host, and port if it is not 443.
    fn host(&self) -> Box<str> {
        Url::parse(&self.uri).map_or_else(|_| "no host".into(), |url| host(&url))
    }

    fn unavailable(&self, state: &State) -> Unavailable {
        let detail = state.failure.as_ref().map(|failure| failure.detail.clone());
        self.unavailable_for(detail.unwrap_or_else(|| "the last read was cut off".to_owned()))
    }

    fn unavailable_for(&self, detail: String) -> Unavailable {
        Unavailable::ClientKeys { client: self.client.clone(), detail }
    }
}

impl State {
    /// The keys, if they are not too old.
    fn usable(&self, now: Duration) -> Option<&Held> {
        self.held.as_ref().filter(|held| now.saturating_sub(held.read_at) < MAX_AGE)
    }

    fn newer_than(&self, seen: &Arc<PublishedKeys>, now: Duration) -> Option<Arc<PublishedKeys>> {
        self.usable(now).map(|held| held.keys.clone()).filter(|keys| !Arc::ptr_eq(keys, seen))
    }

    fn may_begin(&self, now: Duration) -> bool {
        let is_over = |until: Duration| until <= now;
        self.began.map(|began| began.saturating_add(BETWEEN_READS)).is_none_or(is_over)
            && self.failure.as_ref().map(|failure| failure.until).is_none_or(is_over)
    }
}

impl Held {
    fn due_at(&self) -> Duration {
        self.read_at.saturating_add(self.fresh_for)
    }
}

/// Reads documents from the hosts of clients.
#[async_trait]
trait Reader: Send + Sync {
    async fn get(&self, url: &Url) -> Result<Document, FetchError>;
}

#[async_trait]
impl Reader for Client {
    async fn get(&self, url: &Url) -> Result<Document, FetchError> {
        Self::get(self, url).await
    }
}

/// What came of a read.
struct Read {
    keys: PublishedKeys,
    fresh_for: Duration,
}

/// Why a read gave no keys.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    /// The configuration had no client with a `jwks_uri` when it was read.
    #[error("there is nothing to read them with")]
    NoReader,
    /// Where they are is no URL.
    #[error("its jwks_uri is not a URL")]
    NotAUrl,
    /// The document could not be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The document has neither a usable key nor a certificate.
    #[error(transparent)]
    KeySet(#[from] KeySetError),
}

async fn read(reader: Option<&dyn Reader>, uri: &str) -> Result<Read, ReadError> {
    let reader = reader.ok_or(ReadError::NoReader)?;
    let url = Url::parse(uri).map_err(|_| ReadError::NotAUrl)?;
    let Document { headers, body } = reader.get(&url).await?;
    let fresh_for = fresh_for(&headers).map_or(LONGEST_FRESH, |said| said.clamp(SHORTEST_FRESH, LONGEST_FRESH));
    Ok(Read { keys: PublishedKeys::parse(&body)?, fresh_for })
}

impl PublishedKeys {
    fn parse(document: &[u8]) -> Result<Self, KeySetError> {
        let self_signed = SelfSigned::parse(document).ok();
        let keys = match KeySet::parse_with_ps512(document) {
            Err(KeySetError::NoUsableKey { .. }) if self_signed.is_some() => KeySet::default(),
            keys => keys?,
        };
        Ok(Self { keys, self_signed, digest: sha256(document) })
    }
}

/// How long a read may take.
const LONGEST_READ: Duration = Duration::from_secs(5);
/// For how long keys are not read again, if the host does not say less.
const LONGEST_FRESH: Duration = Duration::from_secs(10 * 60);
/// The same, however little it says.
const SHORTEST_FRESH: Duration = Duration::from_secs(60);
/// How old keys may be that are in use, while they cannot be read.
const MAX_AGE: Duration = Duration::from_secs(24 * 60 * 60);
/// The shortest time from the beginning of a read to that of the next.
const BETWEEN_READS: Duration = Duration::from_secs(30);
/// The pause after a failed read; doubled with each failure.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
/// The longest pause that doubling leads to.
const LONGEST_PAUSE: Duration = Duration::from_secs(5 * 60);
/// How many requests of one client may wait for its keys.
const MOST_WAITING: usize = 64;

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

    use http::{HeaderMap, HeaderValue, StatusCode, header};
    use sandbox::pki;
    use sandbox::tokens::{KeyKind, SigningKey, jwks};
    use serde_json::json;

    use super::*;
    use crate::telemetry::testing::Log;

    /// The hosts of all clients: what each answers, and whether it does.
    struct Hosts {
        /// By path. A host without an answer is down.
        answers: Mutex<HashMap<&'static str, Document>>,
        reads: AtomicUsize,
        /// By path: those that do not answer before they are told to.
        held: Mutex<HashMap<&'static str, Arc<Semaphore>>>,
    }

    #[async_trait]
    impl Reader for Hosts {
        async fn get(&self, url: &Url) -> Result<Document, FetchError> {
            self.reads.fetch_add(1, Ordering::SeqCst);
            let held = self.held.lock().unwrap().get(url.path()).cloned();
            if let Some(held) = held {
                held.acquire().await.unwrap().forget();
            }
            let down = FetchError::Status { host: host(url), status: StatusCode::SERVICE_UNAVAILABLE };
            self.answers.lock().unwrap().get(url.path()).cloned().ok_or(down)
        }
    }

    struct Stage {
        hosts: Arc<Hosts>,
        seconds: Arc<AtomicU64>,
        sources: Arc<ClientKeySources>,
        clients: Clients,
    }

    /// A client with its keys at this path.
    fn client(id: &str, path: &str) -> RegisteredClient {
        let document = json!({
            "client_id": id, "token_endpoint_auth_method": "private_key_jwt", "grant_types": ["client_credentials"],
            "jwks_uri": format!("https://client.example{path}"),
        });
        RegisteredClient::parse(document.to_string().as_bytes()).unwrap()
    }

    fn key(kid: &str) -> serde_json::Value {
        jwks(&[&SigningKey::generate(KeyKind::Es256, kid)])
    }

    impl Stage {
        /// With the clients `a` and `b`, whose hosts answer.
        fn new() -> Self {
            let (answers, held) = (Mutex::default(), Mutex::default());
            let hosts = Arc::new(Hosts { answers, reads: AtomicUsize::new(0), held });
            let seconds = Arc::new(AtomicU64::new(1000));
            let clients = Clients::new(vec![client("a", "/a"), client("b", "/b")]).unwrap();
            let stage = Self::built(hosts, seconds, clients, &TrustAnchors::System, None);
            stage.publish("/a", &key("a1"));
            stage.publish("/b", &key("b1"));
            stage
        }

        fn built(
            hosts: Arc<Hosts>,
            seconds: Arc<AtomicU64>,
            clients: Clients,
            trust_anchors: &TrustAnchors,
            before: Option<&ClientKeySources>,
        ) -> Self {
            let now = seconds.clone();
            let clock = Clock::from_fn(move || Duration::from_secs(now.load(Ordering::SeqCst)));
            let (reader, server) = (Some(hosts.clone() as Arc<dyn Reader>), Arc::from("as"));
            let sources =
                ClientKeySources::reading_with(reader, &server, &clients, trust_anchors, &clock, before).into();
            Self { hosts, seconds, sources, clients }
        }

        /// After a reload.
        fn reloaded(&self, clients: Vec<RegisteredClient>, trust_anchors: &TrustAnchors) -> Self {
            let (hosts, seconds) = (self.hosts.clone(), self.seconds.clone());
            Self::built(hosts, seconds, Clients::new(clients).unwrap(), trust_anchors, Some(&self.sources))
        }

        fn publish(&self, path: &'static str, keys: &serde_json::Value) {
            self.publish_for(path, keys, None);
        }

        fn publish_for(&self, path: &'static str, keys: &serde_json::Value, cache_control: Option<&'static str>) {
            let fields = cache_control.map(|value| (header::CACHE_CONTROL, HeaderValue::from_static(value)));
            let document = Document { headers: HeaderMap::from_iter(fields), body: keys.to_string().into() };
            self.hosts.answers.lock().unwrap().insert(path, document);
        }

        fn break_down(&self, path: &str) {
            self.hosts.answers.lock().unwrap().remove(path).unwrap();
        }

        /// Has a host answer only as often as the semaphore says.
        fn hold(&self, path: &'static str) -> Arc<Semaphore> {
            let held = Arc::new(Semaphore::new(0));
            self.hosts.held.lock().unwrap().insert(path, held.clone());
            held
        }

        fn advance(&self, seconds: u64) {
            self.seconds.fetch_add(seconds, Ordering::SeqCst);
        }

        fn reads(&self) -> usize {
            self.hosts.reads.load(Ordering::SeqCst)
        }

        async fn of(&self, id: &str) -> Result<Arc<PublishedKeys>, Unavailable> {
            Ok(self.sources.of(self.clients.get(id).unwrap()).await?.unwrap())
        }

        async fn again(&self, id: &str, seen: &Arc<PublishedKeys>) -> ReadAgain {
            self.sources.again(self.clients.get(id).unwrap(), seen).await
        }

        /// Waits for the end of what is read.
        async fn settled(&self) {
            let sources: Vec<_> = self.sources.sources().values().cloned().collect();
            for source in sources {
                let reading = source.state().reading.clone();
                if let Some(mut reading) = reading {
                    let _ = reading.changed().await;
                }
            }
        }
    }

    fn detail(outcome: Result<Arc<PublishedKeys>, Unavailable>) -> String {
        match outcome {
            Err(Unavailable::ClientKeys { client, detail }) => format!("{client}: {detail}"),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn keys_are_read_when_they_are_first_needed_and_again_after_ten_minutes() {
        let stage = Stage::new();
        assert_eq!(stage.reads(), 0, "nobody has asked yet");
        let first = stage.of("a").await.unwrap();
        stage.publish("/a", &key("a2"));
        for seconds in [0, 1, 598] {
            stage.advance(seconds);
            assert!(Arc::ptr_eq(&stage.of("a").await.unwrap(), &first), "control");
        }
        stage.settled().await;
        assert_eq!(stage.reads(), 1, "control");
        stage.advance(1);
        assert!(Arc::ptr_eq(&stage.of("a").await.unwrap(), &first), "nobody waits while there are some");
        stage.settled().await;
        assert_eq!(stage.reads(), 2);
        assert!(!Arc::ptr_eq(&stage.of("a").await.unwrap(), &first));
        assert_eq!(stage.reads(), 2);
    }

    #[tokio::test]
    async fn a_host_may_say_that_its_keys_are_read_sooner_but_not_each_time() {
        for (said, due) in [("max-age=120", 120), ("max-age=0", 60), ("no-store", 60), ("max-age=86400", 600)] {
            let stage = Stage::new();
            stage.publish_for("/a", &key("a1"), Some(said));
            let _ = stage.of("a").await.unwrap();
            for (seconds, reads) in [(due - 1, 1), (1, 2)] {
                stage.advance(seconds);
                let _ = stage.of("a").await.unwrap();
                stage.settled().await;
                assert_eq!(stage.reads(), reads, "{said}");
            }
        }
    }

    #[tokio::test]
    async fn requests_of_a_client_share_a_read_and_those_of_another_do_not_wait_for_it() {
        let stage = Stage::new();
        let held = stage.hold("/a");
        let waiting: Vec<_> = (0..MOST_WAITING)
            .map(|_| {
                let (sources, client) = (stage.sources.clone(), stage.clients.get("a").unwrap().clone());
                tokio::spawn(async move { sources.of(&client).await.map(Option::unwrap) })
            })
            .collect();
        let source = || stage.sources.sources().get("a").cloned();
        while source().is_none_or(|source| source.waiting.available_permits() > 0) {
            tokio::task::yield_now().await;
        }
        assert!(stage.of("b").await.is_ok(), "another client");
        assert_eq!(stage.reads(), 2);
        assert!(detail(stage.of("a").await).starts_with("a: 64 requests wait"), "one more does not wait");
        held.add_permits(1);
        for waiting in waiting {
            assert!(waiting.await.unwrap().is_ok());
        }
        assert!(stage.of("a").await.is_ok());
        assert_eq!(stage.reads(), 2);
    }

    #[tokio::test]
    async fn a_request_that_is_given_up_does_not_end_the_read_that_others_wait_for() {
        let stage = Stage::new();
        let held = stage.hold("/a");
        {
            let asked = std::pin::pin!(stage.of("a"));
            tokio::select! {
                biased;
                _ = asked => panic!("the host does not answer"),
                () = tokio::task::yield_now() => {}
            }
        }
        held.add_permits(1);
        assert!(stage.of("a").await.is_ok());
        assert_eq!(stage.reads(), 1);
    }

    #[tokio::test]
    async fn after_a_failure_there_is_a_pause_that_grows_and_one_line_in_the_log() {
        let stage = Stage::new();
        stage.break_down("/a");
        let (log, _guards) = Log::of_this_thread();
        let said = "a: client.example answered with status 503, expected 200";
        for (read, pause) in [(1, 30), (2, 60), (3, 120), (4, 240), (5, 300), (6, 300)] {
            assert_eq!(detail(stage.of("a").await), said);
            assert_eq!(stage.reads(), read);
            stage.advance(pause - 1);
            assert_eq!(detail(stage.of("a").await), said);
            assert_eq!(stage.reads(), read, "within the pause of {pause} seconds");
            let lines = log.lines("keys of a client could not be read");
            assert_eq!(lines.len(), read, "{lines:?}");
            assert!(lines.iter().all(|line| line.contains("client=\"a\"") && line.contains("client.example")));
            stage.advance(1);
        }
        stage.publish("/a", &key("a1"));
        assert!(stage.of("a").await.is_ok(), "control: the host is up again");
        stage.break_down("/a");
        stage.advance(600);
        assert!(stage.of("a").await.is_ok(), "control: there are keys");
        stage.settled().await;
        stage.advance(30);
        let _ = stage.of("a").await;
        stage.settled().await;
        assert_eq!(stage.reads(), 9, "the pauses begin anew");
    }

    #[tokio::test]
    async fn keys_that_cannot_be_read_again_are_used_for_a_day() {
        let stage = Stage::new();
        let first = stage.of("a").await.unwrap();
        stage.break_down("/a");
        for hours in 1..24 {
            stage.advance(3600);
            assert!(Arc::ptr_eq(&stage.of("a").await.unwrap(), &first), "{hours}");
            stage.settled().await;
            assert_eq!(stage.reads(), 1 + hours, "control: they are due");
        }
        stage.advance(3599);
        assert!(stage.of("a").await.is_ok(), "control");
        stage.settled().await;
        stage.advance(1);
        assert!(detail(stage.of("a").await).contains("503"));
        // A set that says less than it has to is no set.
        for broken in [json!({ "keys": [] }), json!({ "keys": vec![key("a")["keys"][0].clone(); 101] }), json!([])] {
            stage.publish("/a", &broken);
            stage.advance(300);
            assert!(detail(stage.of("a").await).contains("JWK Set"), "{broken}");
        }
        stage.publish("/a", &key("a2"));
        stage.advance(300);
        assert!(stage.of("a").await.is_ok(), "control");
    }

    #[tokio::test]
    async fn keys_are_read_again_for_one_that_is_new() {
        let stage = Stage::new();
        let first = stage.of("a").await.unwrap();
        stage.publish("/a", &key("a2"));
        stage.advance(29);
        assert!(matches!(stage.again("a", &first).await, ReadAgain::Same), "too soon");
        assert_eq!(stage.reads(), 1);
        stage.advance(1);
        let ReadAgain::Newer(newer) = stage.again("a", &first).await else { panic!("the key is there") };
        assert!(matches!(stage.again("a", &first).await, ReadAgain::Newer(_)), "without a read");
        assert!(matches!(stage.again("a", &newer).await, ReadAgain::Same), "too soon");
        assert_eq!(stage.reads(), 2);
        stage.advance(30);
        assert!(matches!(stage.again("a", &newer).await, ReadAgain::Same), "nothing is new");
        assert_eq!(stage.reads(), 3);
        stage.break_down("/a");
        stage.advance(30);
        assert!(matches!(stage.again("a", &newer).await, ReadAgain::NotRead(_)));
        assert!(matches!(stage.again("a", &newer).await, ReadAgain::NotRead(_)), "within the pause");
        assert_eq!(stage.reads(), 4);
        assert!(Arc::ptr_eq(&stage.of("a").await.unwrap(), &newer), "those that are known stay in use");
    }

    #[tokio::test]
    async fn a_flood_of_forged_assertions_costs_two_reads_a_minute() {
        let stage = Stage::new();
        let seen = stage.of("a").await.unwrap();
        for second in 0..600 {
            for _ in 0..20 {
                assert!(matches!(stage.again("a", &seen).await, ReadAgain::Same), "{second}");
            }
            let _ = stage.of("a").await.unwrap();
            stage.advance(1);
        }
        stage.settled().await;
        assert_eq!(stage.reads(), 20);
    }

    #[tokio::test]
    async fn a_reload_keeps_what_was_read_of_a_client_at_the_same_place() {
        let stage = Stage::new();
        let (first, _) = (stage.of("a").await.unwrap(), stage.of("b").await.unwrap());
        let both = || vec![client("a", "/a"), client("b", "/b")];
        let same = stage.reloaded(both(), &TrustAnchors::System);
        assert!(Arc::ptr_eq(&same.of("a").await.unwrap(), &first));
        assert_eq!(stage.reads(), 2);
        let moved = stage.reloaded(vec![client("a", "/b")], &TrustAnchors::System);
        assert!(!Arc::ptr_eq(&moved.of("a").await.unwrap(), &first));
        assert_eq!(stage.reads(), 3);
        assert_eq!(moved.sources.sources().len(), 1, "a client that is gone is forgotten");
        stage.break_down("/a");
        stage.advance(600);
        let _ = stage.of("a").await.unwrap();
        stage.settled().await;
        assert_eq!(stage.reads(), 4);
        let same = stage.reloaded(both(), &TrustAnchors::System);
        assert!(Arc::ptr_eq(&same.of("a").await.unwrap(), &first));
        same.settled().await;
        assert_eq!(stage.reads(), 4, "control: the pause goes on");
        let other_anchors = stage.reloaded(both(), &TrustAnchors::Given(Vec::new()));
        assert!(Arc::ptr_eq(&other_anchors.of("a").await.unwrap(), &first));
        other_anchors.settled().await;
        assert_eq!(stage.reads(), 5, "whoever corrects them does not wait");
    }

    #[tokio::test]
    async fn certificates_of_any_key_are_certificates() {
        let own = pki::self_signed("client");
        let x5c = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &own.chain_der[0]);
        let stage = Stage::new();
        stage.publish("/a", &json!({ "keys": [{ "kty": "EC", "crv": "P-521", "x5c": [x5c] }] }));
        let read = stage.of("a").await.unwrap();
        assert_eq!((read.keys.len(), read.self_signed.as_ref().map(|all| all.certificates().len())), (0, Some(1)));
        let with_keys = stage.of("b").await.unwrap();
        assert_eq!((with_keys.keys.len(), with_keys.self_signed.is_none()), (1, true), "control");
    }

    #[test]
    fn nothing_is_trusted_for_clients_that_publish_nothing() {
        let none = ClientKeySources::new(
            &Arc::from("as"),
            &Clients::default(),
            &TrustAnchors::Given(Vec::new()),
            &Clock::from_fn(Duration::default),
            None,
        );
        assert!(none.is_ok_and(|sources| sources.reader.is_none()));
        let publishing = Clients::new(vec![client("a", "/a")]).unwrap();
        let clock = Clock::from_fn(Duration::default);
        let anchors = TrustAnchors::Given(Vec::new());
        assert!(ClientKeySources::new(&Arc::from("as"), &publishing, &anchors, &clock, None).is_err());
    }
}
