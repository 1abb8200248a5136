//! A directory that is scripted, read on a clock that a test moves.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use fapi::directory::Format;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use reqwest::Url;
use serde_json::json;

use super::source::{Reader, Source};
use super::*;
use crate::issuer::http::{Document, FetchError};
use crate::tls_client::TrustAnchors;

/// Sends what a test has it send, and counts.
#[derive(Default)]
struct Script {
    answer: Mutex<Option<(String, HeaderMap)>>,
    reads: AtomicUsize,
    unchanged: AtomicUsize,
}

#[async_trait]
impl Reader for Script {
    async fn document(
        &self,
        _: &Url,
        _: &HeaderMap,
        entity_tag: Option<&HeaderValue>,
    ) -> Result<Option<Document>, FetchError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        let answer = self.answer.lock().unwrap().clone();
        let (body, headers) = answer.ok_or_else(|| FetchError::Status {
            host: "directory.example".into(),
            status: StatusCode::SERVICE_UNAVAILABLE,
        })?;
        if entity_tag.is_some() && entity_tag == headers.get(header::ETAG) {
            self.unchanged.fetch_add(1, Ordering::SeqCst);
            return Ok(None);
        }
        Ok(Some(Document { headers, body: Bytes::from(body) }))
    }
}

/// One directory, and the time since the start.
struct Stage {
    script: Arc<Script>,
    seen: Arc<Seen>,
    seconds: Arc<AtomicU64>,
    directories: Directories,
}

/// How reads went.
#[derive(Default)]
struct Seen(Mutex<Vec<Result<(), String>>>);

impl Observer for Seen {
    fn read(&self, directory: &str, outcome: Result<(), &dyn Display>) {
        assert_eq!(directory, "participants");
        self.0.lock().unwrap().push(outcome.map_err(|error| error.to_string()));
    }
}

fn settings() -> Settings {
    Settings {
        name: "participants".into(),
        format: Format::Brazil,
        url: "https://directory.example/participants".parse().unwrap(),
        headers: HeaderMap::new(),
        trust_anchors: TrustAnchors::System,
        refresh: Duration::from_secs(300),
        keep: Duration::from_secs(3600),
        timeout: Duration::from_secs(30),
        required: true,
    }
}

impl Stage {
    fn new() -> Self {
        let (script, seen, seconds): (Arc<Script>, Arc<Seen>, Arc<AtomicU64>) = Default::default();
        let source = source(settings(), &script, &seconds, &seen);
        Self { script, seen, seconds, directories: Directories { sources: vec![Arc::new(source)] } }
    }

    /// The directory after a reload with these settings.
    fn reloaded(&self, settings: Settings) -> Directories {
        let known = &self.directories.sources[0];
        let same = known.reads_as(&settings);
        let source = source(settings, &self.script, &self.seconds, &self.seen);
        let source = if same { source.succeeding(known) } else { source };
        Directories { sources: vec![Arc::new(source)] }
    }

    /// Has the directory call its one organisation this, and its content that.
    fn publish(&self, status: &str, tag: Option<&'static str>) {
        let document = json!([{ "OrganisationId": "a", "Status": status }]).to_string();
        let tag = tag.map(|tag| (header::ETAG, HeaderValue::from_static(tag)));
        *self.script.answer.lock().unwrap() = Some((document, tag.into_iter().collect()));
    }

    fn send(&self, document: &str) {
        *self.script.answer.lock().unwrap() = Some((document.to_owned(), HeaderMap::new()));
    }

    fn break_down(&self) {
        *self.script.answer.lock().unwrap() = None;
    }

    /// Lets this time pass on both clocks: that of the runtime, by which reads are due, and the gateway's, by which what was read
    /// gets old.
    async fn pass(&self, seconds: u64) {
        for _ in 0..seconds {
            self.seconds.fetch_add(1, Ordering::SeqCst);
            tokio::time::advance(Duration::from_secs(1)).await;
            settle().await;
        }
    }

    fn reads(&self) -> usize {
        self.script.reads.load(Ordering::SeqCst)
    }

    fn outcomes(&self) -> Vec<Result<(), String>> {
        std::mem::take(&mut self.seen.0.lock().unwrap())
    }
}

fn source(settings: Settings, script: &Arc<Script>, seconds: &Arc<AtomicU64>, seen: &Arc<Seen>) -> Source {
    let seconds = seconds.clone();
    let clock = Clock::from_fn(move || Duration::from_secs(seconds.load(Ordering::SeqCst)));
    Source::new(settings, script.clone(), Timing::default(), clock, seen.clone())
}

/// Lets tasks go on that need no time to pass, among them one that another thread works for.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn said(directories: &Directories) -> Result<(), ParticipantError> {
    let participant = Participant { organisation: Some("a"), software: None };
    directories.check(DirectoryIndex(0), &participant, &[])
}

fn inactive() -> Result<(), ParticipantError> {
    let what = fapi::directory::Kind::Organisation;
    Err(ParticipantError::Inactive { what, id: "\"a\"".into(), standing: "Withdrawn".into() })
}

/// Runs the loop of the directories beside a test.
async fn beside<T>(directories: &Directories, test: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        ended = test => ended,
        () = directories.keep_fresh() => panic!("the loop ended"),
    }
}

/// Waits until the directory was read this often, without any time passing.
async fn until_read(stage: &Stage, times: usize) {
    while stage.seen.0.lock().unwrap().len() < times {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn au_13_a_change_of_status_counts_within_the_refresh() {
    let stage = Stage::new();
    stage.publish("Active", None);
    assert_eq!(said(&stage.directories), Err(ParticipantError::NeverRead));
    assert_eq!(stage.directories.unread().count(), 1);
    beside(&stage.directories, async {
        until_read(&stage, 1).await;
        assert_eq!((said(&stage.directories), stage.reads()), (Ok(()), 1));
        assert!(stage.directories.have_settled() && stage.directories.unread().count() == 0);
        stage.publish("Withdrawn", None);
        stage.pass(200).await;
        assert_eq!((said(&stage.directories), stage.reads()), (Ok(()), 1), "control: it is not due");
        stage.pass(100).await;
        until_read(&stage, 2).await;
        assert_eq!(said(&stage.directories), inactive(), "it is, after 300 seconds at most");
        stage.publish("Active", None);
        stage.pass(300).await;
        until_read(&stage, 3).await;
        assert_eq!(said(&stage.directories), Ok(()), "and the same the other way");
    })
    .await;
    assert!(stage.outcomes().iter().all(Result::is_ok));
}

#[tokio::test(start_paused = true)]
async fn the_last_good_reading_is_used_until_it_is_too_old_and_never_longer() {
    let stage = Stage::new();
    stage.publish("Active", None);
    beside(&stage.directories, async {
        until_read(&stage, 1).await;
        stage.break_down();
        stage.pass(3600).await;
        assert_eq!(said(&stage.directories), Ok(()));
        assert!(stage.reads() > 100, "it is tried again and again: {}", stage.reads());
        stage.pass(1).await;
        assert_eq!(said(&stage.directories), Err(ParticipantError::TooOld { age: 3601, keep: 3600 }));
        stage.pass(7_200).await;
        assert!(matches!(said(&stage.directories), Err(ParticipantError::TooOld { .. })));
        stage.publish("Active", None);
        let so_far = stage.seen.0.lock().unwrap().len();
        stage.pass(30).await;
        until_read(&stage, so_far + 1).await;
        assert_eq!(said(&stage.directories), Ok(()), "read again, it is used again");
    })
    .await;
    let outcomes = stage.outcomes();
    let why = "directory.example answered with status 503, expected 200";
    assert_eq!(outcomes[1], Err(why.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_broken_document_leaves_the_last_good_one_in_force() {
    let stage = Stage::new();
    stage.publish("Active", None);
    stage.directories.read_once().await;
    assert_eq!(stage.outcomes(), [Ok(())], "control");
    for broken in
        ["", "<html>", "{}", "[]", "[{\"OrganisationId\":\"a\",\"Status\":\"Withdrawn\"}", "[{\"Status\":\"Active\"}]"]
    {
        stage.send(broken);
        stage.directories.read_once().await;
        assert!(stage.outcomes()[0].is_err(), "{broken}");
        assert_eq!(said(&stage.directories), Ok(()), "{broken}");
    }
    stage.publish("Withdrawn", None);
    stage.directories.read_once().await;
    assert_eq!(said(&stage.directories), inactive());
}

#[tokio::test(start_paused = true)]
async fn what_has_not_changed_is_not_sent_again_and_is_as_good_as_new() {
    let stage = Stage::new();
    stage.publish("Active", Some("\"1\""));
    stage.directories.read_once().await;
    stage.pass(3000).await;
    stage.directories.read_once().await;
    assert_eq!(stage.script.unchanged.load(Ordering::SeqCst), 1);
    let age = || stage.directories.ages().next().unwrap().1.unwrap().as_secs();
    assert_eq!((age(), said(&stage.directories)), (0, Ok(())));
    stage.publish("Withdrawn", Some("\"2\""));
    stage.pass(60).await;
    assert_eq!(age(), 60);
    stage.directories.read_once().await;
    assert_eq!((stage.script.unchanged.load(Ordering::SeqCst), said(&stage.directories)), (1, inactive()));
}

#[tokio::test(start_paused = true)]
async fn a_server_may_have_it_read_sooner_and_never_later() {
    for (said, seconds) in [("max-age=120", 120), ("max-age=5", 60), ("max-age=900", 300), ("no-store", 60)] {
        let stage = Stage::new();
        stage.publish("Active", None);
        let cached = (header::CACHE_CONTROL, HeaderValue::from_static(said));
        stage
            .script
            .answer
            .lock()
            .unwrap()
            .as_mut()
            .unwrap()
            .1
            .extend([cached].map(|(name, value)| (Some(name), value)));
        beside(&stage.directories, async {
            until_read(&stage, 1).await;
            stage.pass(seconds * 9 / 10 - 1).await;
            assert_eq!(stage.reads(), 1, "{said}");
            stage.pass(seconds / 10 + 1).await;
            assert_eq!(stage.reads(), 2, "{said}");
        })
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_reload_keeps_what_was_read_of_the_same_document_and_reads_it_at_once() {
    let stage = Stage::new();
    stage.publish("Active", None);
    stage.directories.read_once().await;
    stage.break_down();
    stage.pass(100).await;
    let reloaded = stage.reloaded(Settings { refresh: Duration::from_secs(60), ..settings() });
    assert!(!reloaded.have_settled());
    assert_eq!(said(&reloaded), Ok(()), "a directory that is down loses nothing by a reload");
    assert_eq!(reloaded.ages().next().unwrap().1, Some(Duration::from_secs(100)), "nor gets any younger");
    stage.outcomes();
    beside(&reloaded, async {
        until_read(&stage, 1).await;
        assert!(reloaded.have_settled() && said(&reloaded).is_ok());
    })
    .await;
    let shorter = stage.reloaded(Settings { keep: Duration::from_secs(99), ..settings() });
    assert_eq!(said(&shorter), Err(ParticipantError::TooOld { age: 100, keep: 99 }));
    let elsewhere = Settings { url: "https://directory.example/other".parse().unwrap(), ..settings() };
    assert_eq!(
        said(&stage.reloaded(elsewhere)),
        Err(ParticipantError::NeverRead),
        "another document is another directory"
    );
    let another_kind = Settings { format: Format::Cdr, ..settings() };
    assert_eq!(said(&stage.reloaded(another_kind)), Err(ParticipantError::NeverRead));
}

#[tokio::test(start_paused = true)]
async fn what_was_read_of_a_server_that_other_authorities_vouched_for_is_not_kept() {
    let stage = Stage::new();
    stage.publish("Active", None);
    stage.directories.read_once().await;
    assert_eq!(said(&stage.reloaded(settings())), Ok(())); // control
    let other_authorities = Settings { trust_anchors: TrustAnchors::Given(vec![vec![1].into()]), ..settings() };
    assert_eq!(said(&stage.reloaded(other_authorities)), Err(ParticipantError::NeverRead));
}

#[tokio::test(start_paused = true)]
async fn with_other_header_fields_a_directory_is_not_asked_whether_it_has_changed() {
    let stage = Stage::new();
    stage.publish("Active", Some("\"1\""));
    stage.directories.read_once().await;
    stage.seconds.store(100, Ordering::SeqCst);
    let unchanged = || stage.script.unchanged.load(Ordering::SeqCst);
    let as_before = stage.reloaded(settings());
    as_before.read_once().await;
    assert_eq!((said(&as_before), unchanged()), (Ok(()), 1)); // control
    for (name, value) in [(header::AUTHORIZATION, "Bearer another"), (HeaderName::from_static("x-v"), "3")] {
        let headers = HeaderMap::from_iter([(name, HeaderValue::from_static(value))]);
        let reloaded = stage.reloaded(Settings { headers, ..settings() });
        let age = reloaded.ages().next().unwrap().1;
        assert_eq!((said(&reloaded), age), (Ok(()), Some(Duration::from_secs(100))), "what was read stays");
        reloaded.read_once().await;
        assert_eq!((said(&reloaded), unchanged()), (Ok(()), 1), "the whole document came");
        reloaded.read_once().await;
        assert_eq!((said(&reloaded), unchanged()), (Ok(()), 2), "which has a tag again");
        stage.script.unchanged.store(1, Ordering::SeqCst);
    }
}

#[test]
fn a_directory_that_is_not_there_has_nobody() {
    assert_eq!(said(&Directories::default()), Err(ParticipantError::NeverRead));
    let anchors = TrustAnchors::Given(Vec::new());
    let clock = Clock::from_fn(Duration::default);
    let observer: Arc<dyn Observer> = Arc::new(());
    let unusable = Directories::new(vec![Settings { trust_anchors: anchors, ..settings() }], &clock, &observer, None);
    assert!(unusable.is_err_and(|error| error.to_string().starts_with("directory \"participants\": ")));
}
