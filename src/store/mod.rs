//! A Redis or Valkey server that all replicas share.
//!
//! It is one, the primary that sentinels name, or the one that has our keys in a cluster: one server decides at a time.
//! One connection carries the questions of all threads. It is made, judged and kept by [`Store::keep`]; while there is none, every
//! question fails at once, and while the server is silent, each fails after a short time of its own. After several failures in a
//! row the connection is given up, and only one that answers is taken into use again.

mod acknowledging;
mod bounded;
mod cluster;
mod connection;
pub mod guarantee;
mod link;
mod refusals;
mod rights;
mod sentinel;
pub mod settings;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use redis::{Cmd, Value, cmd};
use tokio::sync::{Mutex, Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use self::acknowledging::Acknowledging;
use self::connection::{Asking, ConnectError, Connection, Doubted, connect};
use self::link::Answer;
use self::refusals::Refusals;
use self::settings::{Servers, Settings};
use crate::clock::{Clock, Moment, jittered, millis};
use crate::resource::Resource;

pub(crate) use self::connection::BEGAN;

/// A server that all replicas share.
pub struct Store {
    settings: Arc<Settings>,
    clock: Clock,
    standing: ArcSwap<Standing>,
    in_flight: Semaphore,
    /// Those in flight that can do without an answer: they leave room for the others.
    aside: Semaphore,
    /// Held by whoever keeps the connection; a reload has another do so.
    kept: Mutex<Kept>,
    observer: Arc<dyn Observer>,
    resource: Arc<Resource>,
    /// Whether it is the store of the generation in force: what becomes of another one says nothing of that.
    in_force: AtomicBool,
}

/// What is known of the connection only by whoever keeps it.
#[derive(Default)]
struct Kept {
    /// The task that carries the questions, while there is a connection.
    driver: JoinSet<()>,
    /// What is not believed of the entry that says since when entries are kept.
    doubted: Option<Doubted>,
}

/// Counts what a store is asked, for the metrics.
pub trait Observer: Send + Sync {
    /// Called with the outcome of each question, and how long it took.
    fn asked(&self, outcome: Outcome, took: Duration);
}

/// Counts nothing.
impl Observer for () {
    fn asked(&self, _: Outcome, _: Duration) {}
}

/// How a question went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered.
    Answered,
    /// It was not answered in time.
    Timeout,
    /// Too many others wait for their answers.
    Busy,
    /// There is no connection, or it broke.
    Unreachable,
    /// The server refused it, or its answer cannot be used.
    Refused,
    /// Too few replicas of the server have what was written.
    Unacknowledged,
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// None came in time.
    Timeout,
    /// Too many others wait for theirs.
    Busy,
    /// There is no connection; why, for operators.
    Unreachable(Arc<str>),
    /// The connection broke.
    Broken,
    /// The server refused the question, with this code.
    Refused(Box<str>),
    /// The server said something else.
    Nonsense,
    /// It was written, and only so many replicas of the server have it.
    Unacknowledged {
        /// So many have it.
        replicas: u64,
        /// So many have to.
        least: u32,
    },
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("it did not answer in time"),
            Self::Busy => f.write_str("too many questions wait for its answers"),
            Self::Unreachable(why) => f.write_str(why),
            Self::Broken => f.write_str("the connection to it broke"),
            Self::Refused(code) if &**code == "OOM" => f.write_str("it is full (OOM)"),
            Self::Refused(code) if &**code == "NOPERM" => write!(f, "it refuses with NOPERM; {}", rights::WAY_OUT),
            Self::Refused(code) => write!(f, "it refuses with {code}"),
            Self::Nonsense => f.write_str("its answer cannot be used"),
            Self::Unacknowledged { replicas, least } => {
                write!(f, "{replicas} of its replicas have it, and `min_replicas` is {least}")
            }
        }
    }
}

enum Standing {
    Down(Arc<str>),
    Up(Up),
}

/// A connection that is in use.
#[derive(Clone)]
struct Up {
    asking: Asking,
    trust: Arc<Trust>,
    since: Since,
    began: String,
    /// The commands that its user may not run, of those that what is kept there needs.
    missing: Vec<&'static str>,
    /// What it refuses.
    refusal: Option<Arc<str>>,
}

/// Whether a connection is still trusted. What is asked on one says nothing of the next.
#[derive(Default)]
struct Trust {
    /// How many milliseconds questions in a row have waited without an answer.
    silent_for: AtomicU64,
    given_up: Notify,
    /// A question was refused with what a missing right may be the cause of.
    refused: AtomicBool,
    refusals: Refusals,
}

impl Trust {
    fn note_refusal(&self, code: &str) {
        // Of a script, some servers say no more than the latter.
        if matches!(code, "NOPERM" | "ERR") {
            self.refused.store(true, Ordering::Relaxed);
        }
    }
}

/// Since when a server has kept every entry.
#[derive(Clone, Copy)]
struct Since {
    /// On the monotonic clock.
    noted: Duration,
    /// Until then.
    kept_for: Duration,
}

impl Store {
    /// A store that is not connected to yet.
    pub fn new(settings: Settings, clock: Clock, observer: Arc<dyn Observer>, resource: Arc<Resource>) -> Self {
        let (in_flight, aside) = (Semaphore::new(settings.in_flight), Semaphore::new(settings.aside()));
        Self {
            settings: Arc::new(settings),
            clock,
            standing: ArcSwap::from_pointee(Standing::Down("it has not been connected to yet".into())),
            in_flight,
            aside,
            kept: Mutex::default(),
            observer,
            resource,
            in_force: AtomicBool::new(true),
        }
    }

    /// The same for a reload that may still fail: it says nothing of itself in the log and in its resource until
    /// [`Self::enter_into_force`].
    #[must_use]
    pub fn on_trial(mut self) -> Self {
        self.in_force = AtomicBool::new(false);
        self
    }

    /// Takes the place of a store before, and says from now on how it stands.
    pub fn enter_into_force(&self) {
        if !self.in_force.swap(true, Ordering::SeqCst) {
            self.report();
        }
    }

    /// Why it cannot be used, or not for everything, for operators; `None` if it can.
    pub fn fault(&self) -> Option<Arc<str>> {
        self.lack().or_else(|| match &**self.standing.load() {
            Standing::Up(Up { refusal, .. }) => refusal.clone(),
            Standing::Down(_) => None,
        })
    }

    /// The same, but for what it refuses at the moment.
    pub fn lack(&self) -> Option<Arc<str>> {
        match &**self.standing.load() {
            Standing::Up(Up { missing, .. }) if missing.is_empty() => None,
            Standing::Up(Up { missing, .. }) => Some(rights::described(missing).into()),
            Standing::Down(why) => Some(why.clone()),
        }
    }

    /// The settings it was made with.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether it is connected to and can be asked.
    pub fn is_connected(&self) -> bool {
        matches!(&**self.standing.load(), Standing::Up(_))
    }

    /// How long the server has kept every entry; `None` while it cannot be asked.
    pub fn kept_for(&self) -> Option<Duration> {
        match &**self.standing.load() {
            Standing::Up(Up { since, .. }) => {
                let since_then = self.clock.monotonic().saturating_sub(since.noted);
                Some(since.kept_for.saturating_add(since_then))
            }
            Standing::Down(_) => None,
        }
    }

    /// Asks a question, waits a short time for the answer, and reads it; an answer that `read` cannot read ends the connection.
    ///
    /// # Errors
    /// [`NoAnswer`]. The server may have done what it was asked all the same, unless it said that it did not.
    pub async fn ask<T>(&self, question: &Cmd, read: impl FnOnce(&Value) -> Option<T>) -> Result<T, NoAnswer> {
        self.asked((0, self.settings.timeout), question, read, |_| false).await
    }

    /// The same for an answer that may be longer than its question, by this many bytes at most.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn ask_for<T>(
        &self,
        longer: u64,
        question: &Cmd,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<T, NoAnswer> {
        self.asked((longer, self.settings.timeout), question, read, |_| false).await
    }

    /// The same for what can do without an answer: half of the questions in flight at most are such, and one waits no longer than
    /// `within`, for its turn and for the answer.
    ///
    /// # Errors
    /// As [`Self::ask`].
    pub async fn ask_aside<T>(
        &self,
        (longer, within): (u64, Duration),
        question: &Cmd,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<T, NoAnswer> {
        let (began, within) = (Moment::now(), within.min(self.settings.timeout));
        match timeout(within, self.aside.acquire()).await {
            Ok(Ok(_turn)) => {
                let within = within.saturating_sub(began.elapsed());
                self.asked((longer, within), question, read, |_| false).await
            }
            Ok(Err(_)) | Err(_) => {
                self.observer.asked(Outcome::Busy, began.elapsed());
                Err(NoAnswer::Busy)
            }
        }
    }

    /// Asks a question with which something may be written. If `written` says that it was, as many replicas of the server have it
    /// as the settings say.
    ///
    /// # Errors
    /// [`NoAnswer`]. The server may have written it all the same, unless it said that it did not.
    pub async fn write<T>(
        &self,
        question: &Cmd,
        read: impl FnOnce(&Value) -> Option<T>,
        written: impl FnOnce(&T) -> bool,
    ) -> Result<T, NoAnswer> {
        self.asked((0, self.settings.timeout), question, read, written).await
    }

    async fn asked<T>(
        &self,
        (longer, within): (u64, Duration),
        question: &Cmd,
        read: impl FnOnce(&Value) -> Option<T>,
        written: impl FnOnce(&T) -> bool,
    ) -> Result<T, NoAnswer> {
        let began = Moment::now();
        let answer = self.answer((longer, within), question, read, written).await;
        let outcome = match &answer {
            Ok(_) => Outcome::Answered,
            Err(NoAnswer::Timeout) => Outcome::Timeout,
            Err(NoAnswer::Busy) => Outcome::Busy,
            Err(NoAnswer::Unreachable(_) | NoAnswer::Broken) => Outcome::Unreachable,
            Err(NoAnswer::Refused(_) | NoAnswer::Nonsense) => Outcome::Refused,
            Err(NoAnswer::Unacknowledged { .. }) => Outcome::Unacknowledged,
        };
        self.observer.asked(outcome, began.elapsed());
        answer
    }

    async fn answer<T>(
        &self,
        (longer, within): (u64, Duration),
        question: &Cmd,
        read: impl FnOnce(&Value) -> Option<T>,
        written: impl FnOnce(&T) -> bool,
    ) -> Result<T, NoAnswer> {
        let standing = self.standing.load_full();
        let (mut asking, trust) = match &*standing {
            Standing::Up(Up { asking, trust, .. }) => (asking.clone(), trust),
            Standing::Down(why) => return Err(NoAnswer::Unreachable(why.clone())),
        };
        let Ok(_place) = self.in_flight.try_acquire() else { return Err(NoAnswer::Busy) };
        let answer = match timeout(within, asking.ask(longer, question)).await {
            Ok(Ok(Answer { value, acknowledging })) => {
                trust.silent_for.store(0, Ordering::Relaxed);
                match (read(&value), acknowledging) {
                    (Some(answer), Some(acknowledging)) if written(&answer) => {
                        self.acknowledged(&acknowledging).await.map(|()| answer)
                    }
                    (Some(answer), _) => Ok(answer),
                    (None, _) => {
                        trust.given_up.notify_one();
                        Err(NoAnswer::Nonsense)
                    }
                }
            }
            Ok(Err(error)) => match error.code().inspect(|code| trust.note_refusal(code)) {
                // Asked again, it would say the same, and so would another connection; unless another has been made the primary.
                Some(code @ "NOREPLICAS") if !matches!(self.settings.servers, Servers::Sentinel(_)) => {
                    Err(NoAnswer::Refused(code.into()))
                }
                Some(code @ ("OOM" | "NOPERM" | "MISCONF" | "NOSCRIPT" | "WRONGTYPE")) => {
                    Err(NoAnswer::Refused(code.into()))
                }
                // Some keys of the question have moved to another server, and some have not.
                Some(code @ "TRYAGAIN") => Err(NoAnswer::Refused(code.into())),
                // Before Redis 7, a script has this one for whatever stopped it.
                Some(code @ "ERR") if !error.detail().is_some_and(|detail| detail.contains("READONLY")) => {
                    Err(NoAnswer::Refused(code.into()))
                }
                // Another server may have taken over, or this one may be on its way.
                Some(code) => {
                    trust.given_up.notify_one();
                    Err(NoAnswer::Refused(shown(code)))
                }
                None => {
                    trust.given_up.notify_one();
                    Err(NoAnswer::Broken)
                }
            },
            Err(_) => {
                let waited = millis(within);
                let silent_for = trust.silent_for.fetch_add(waited, Ordering::Relaxed).saturating_add(waited);
                if silent_for >= millis(self.settings.timeout).saturating_mul(PATIENCE) {
                    trust.given_up.notify_one();
                }
                Err(NoAnswer::Timeout)
            }
        };
        trust.refusals.note(question, &answer);
        answer
    }

    /// Waits until enough replicas of the server have what was just written.
    async fn acknowledged(&self, acknowledging: &Acknowledging) -> Result<(), NoAnswer> {
        let least = self.settings.min_replicas;
        match timeout(self.settings.timeout, acknowledging.replicas()).await {
            Ok(replicas) if replicas >= least.into() => Ok(()),
            Ok(replicas) => Err(NoAnswer::Unacknowledged { replicas, least }),
            Err(_) => Err(NoAnswer::Timeout),
        }
    }

    /// Waits until there is a connection.
    pub async fn connected(&self) {
        while !self.is_connected() {
            tokio::time::sleep(FIRST_PAUSE).await;
        }
    }

    /// Keeps a connection, for as long as this is polled. One that is in use when this is dropped stays so.
    pub async fn keep(&self) {
        let mut kept = self.kept.lock().await;
        let mut pause = FIRST_PAUSE;
        let mut came_up = Moment::now();
        loop {
            if !kept.driver.is_empty() {
                let Kept { driver, .. } = &mut *kept;
                tokio::select! {
                    _ = driver.join_next() => {}
                    () = self.given_up() => {}
                }
                *driver = JoinSet::new();
                kept.doubted = self.doubted();
                self.stands_down("the connection to it broke, or was given up");
                // One that comes up and goes at once is as good as none.
                pause = match came_up.elapsed() < LONGEST_PAUSE {
                    true => pause.saturating_mul(2).min(LONGEST_PAUSE),
                    false => FIRST_PAUSE,
                };
                tokio::time::sleep(jittered(pause)).await;
            }
            let connecting = connect(&self.settings, kept.doubted.as_ref());
            match timeout(CONNECT, connecting).await.unwrap_or(Err(ConnectError::Silent)) {
                Ok(connection) => {
                    came_up = Moment::now();
                    *kept = Kept { driver: self.stands_up(connection), doubted: None };
                }
                Err(error) => {
                    if error.is_of_the_entry() {
                        kept.doubted = Some(Doubted::Any);
                    }
                    self.stands_down(&error.to_string());
                    tokio::time::sleep(jittered(pause)).await;
                    pause = pause.saturating_mul(2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    /// Waits until the connection is not to be used any more.
    async fn given_up(&self) {
        let standing = self.standing.load_full();
        if let Standing::Up(Up { asking, trust, began, .. }) = &*standing {
            let target_lost = async {
                match &asking.moves {
                    Some(moves) => moves.lost.notified().await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = trust.given_up.notified() => {}
                () = target_lost => {}
                () = self.forgets(asking.clone(), began) => {}
            }
        }
    }

    /// The entry that says since when entries are kept, if some may have been written to another server since: one that the keys
    /// were moving to, and that may have lost them.
    fn doubted(&self) -> Option<Doubted> {
        match &**self.standing.load() {
            Standing::Up(Up { asking, began, .. }) if asking.moves.as_ref().is_some_and(|moves| moves.began()) => {
                Some(Doubted::Entry(began.clone()))
            }
            Standing::Up(_) | Standing::Down(_) => None,
        }
    }

    /// Waits until the server no longer says that it keeps entries since `began`, and so may have lost some: a connection outlives
    /// that, as when everything is deleted, or comes from another server.
    async fn forgets(&self, mut asking: Asking, began: &str) {
        let mut question = cmd("GET");
        question.arg(self.settings.key(BEGAN));
        loop {
            tokio::time::sleep(LOOKED_AFTER).await;
            let known = async {
                // With a short prefix, it is longer than the question, and that every second.
                let said = asking.ask(began.len() as u64, &question).await;
                let same = |Answer { value, .. }| value == Value::BulkString(began.as_bytes().to_vec());
                said.is_ok_and(same) && !asking.has_taken_back(&self.settings).await
            };
            // Silence ends the connection where it is asked for more.
            if let Ok(false) = timeout(self.settings.timeout, known).await {
                return;
            }
            self.look_for_rights(&mut asking).await;
            self.look_for_refusals();
        }
    }

    /// Looks whether the user may run by now what it might not before, or not any more what it might.
    async fn look_for_rights(&self, asking: &mut Asking) {
        let standing = self.standing.load_full();
        let Standing::Up(up) = &*standing else { return };
        if !up.trust.refused.swap(false, Ordering::Relaxed) && up.missing.is_empty() {
            return;
        }
        if let Ok(Ok(missing)) = timeout(self.settings.timeout, asking.missing(&self.settings)).await
            && missing != up.missing
        {
            self.standing.store(Arc::new(Standing::Up(Up { missing, ..up.clone() })));
            self.report_in_force();
        }
    }

    /// Looks whether what the server refuses is something else than before.
    fn look_for_refusals(&self) {
        let standing = self.standing.load_full();
        let Standing::Up(up) = &*standing else { return };
        let refusal = up.trust.refusals.first();
        if refusal.is_none() && !up.trust.refusals.are_over() {
            return;
        }
        if refusal != up.refusal {
            self.standing.store(Arc::new(Standing::Up(Up { refusal, ..up.clone() })));
            self.report_in_force();
        }
    }

    fn stands_up(&self, connection: Connection) -> JoinSet<()> {
        let Connection { asking, driver, kept_for, began, missing } = connection;
        let (trust, since) = (Arc::default(), Since { noted: self.clock.monotonic(), kept_for });
        self.standing.store(Arc::new(Standing::Up(Up { asking, trust, since, began, missing, refusal: None })));
        self.report_in_force();
        driver
    }

    fn stands_down(&self, why: &str) {
        let known = matches!(&**self.standing.load(), Standing::Down(before) if **before == *why);
        if !known {
            self.standing.store(Arc::new(Standing::Down(why.into())));
            self.report_in_force();
        } else if self.in_force.load(Ordering::SeqCst) {
            // It is in the log.
            self.resource.failed(&why);
        }
    }

    fn report_in_force(&self) {
        if self.in_force.load(Ordering::SeqCst) {
            self.report();
        }
    }

    /// Says how it stands, in the log and in its resource.
    fn report(&self) {
        let store = &*self.settings.name;
        match (self.is_connected(), self.fault()) {
            (_, None) => {
                self.resource.succeeded();
                tracing::info!(store, "the store is in use");
            }
            (true, Some(why)) => {
                self.resource.failed(&why);
                tracing::error!(store, why = &*why, "the store is in use, and cannot be used for everything");
            }
            (false, Some(why)) => {
                self.resource.failed(&why);
                tracing::warn!(store, why = &*why, "the store cannot be used");
            }
        }
    }
}

/// A word of the server, as far as it can be shown.
fn shown(word: &str) -> Box<str> {
    word.chars().filter(char::is_ascii_graphic).take(40).collect()
}

/// How long connecting may take, until the server is known.
const CONNECT: Duration = Duration::from_secs(2);

/// After how many questions in a row without an answer the connection is given up; of those that wait less than others, more.
const PATIENCE: u64 = 8;

/// How often it is asked whether it still knows since when it keeps entries.
const LOOKED_AFTER: Duration = Duration::from_secs(1);

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
