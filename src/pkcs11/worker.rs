//! The thread of a module: does one job after another, and keeps sessions between them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender};
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use fapi::jose::keys::Algorithm;
use serde_json::{Map, Value};

use super::key::Busy;
use super::objects::{self, Key};
use super::session::{Pins, Session, session};
use super::{Location, Pin, Problem};
use crate::clock::Moment;

/// One thing to do, and for how long somebody waits for it.
pub(super) struct Job {
    pub(super) asked: Moment,
    pub(super) within: Duration,
    pub(super) question: Question,
    pub(super) answer: SyncSender<Answer>,
}

/// What is asked of a module.
pub(super) enum Question {
    /// To find a key and have it sign once.
    Open {
        /// Where it is.
        location: Location,
        /// The PIN of the token.
        pin: Arc<Pin>,
    },
    /// To sign a message with a key that was found.
    Sign {
        /// The number of the key.
        key: u64,
        /// The message.
        message: Vec<u8>,
    },
}

/// What comes of a job.
pub(super) enum Answer {
    Found(Found),
    Signature(Vec<u8>),
    Problem(Problem),
}

impl Answer {
    pub(super) fn found(self) -> Result<Found, Problem> {
        match self {
            Self::Found(found) => Ok(found),
            Self::Signature(_) => Err(Problem::NoAnswer),
            Self::Problem(problem) => Err(problem),
        }
    }

    pub(super) fn signature(self) -> Result<Vec<u8>, Problem> {
        match self {
            Self::Signature(signature) => Ok(signature),
            Self::Found(_) => Err(Problem::NoAnswer),
            Self::Problem(problem) => Err(problem),
        }
    }
}

/// A key that was found. Its session is closed some time after this is dropped.
pub(super) struct Found {
    pub(super) number: u64,
    pub(super) algorithm: Algorithm,
    pub(super) jwk: Map<String, Value>,
    /// Kept for the thread to see whether anybody still has the key.
    _used: Arc<()>,
}

/// What a thread has.
pub(super) struct Worker {
    path: PathBuf,
    busy: Busy,
    /// The library, once it is loaded.
    library: Option<Pkcs11>,
    initialized: bool,
    keys: BTreeMap<u64, Entry>,
    next: u64,
    pins: Pins,
    /// When it began anew last.
    restarted: Option<Moment>,
}

/// A key that somebody has.
struct Entry {
    location: Location,
    jwk: Map<String, Value>,
    used: Weak<()>,
    /// The session, and what signs in it; `None` once that has failed.
    open: Option<(Session, Key)>,
    /// Since when it does not sign, and how long it is not tried again.
    rest: Option<(Moment, Duration)>,
    /// Whether the log knows that it does not sign.
    failing: bool,
}

impl Worker {
    pub(super) fn new(path: PathBuf, busy: Busy) -> Self {
        let (keys, pins) = (BTreeMap::new(), Pins::default());
        Self { path, busy, library: None, initialized: false, keys, next: 0, pins, restarted: None }
    }

    /// Does jobs until nobody can ask any more.
    pub(super) fn work(mut self, jobs: &Receiver<Job>) {
        for Job { asked, within, question, answer } in jobs {
            // Nobody waits for it any more.
            if asked.elapsed() > within {
                continue;
            }
            *self.busy.lock().unwrap_or_else(PoisonError::into_inner) = Some(Moment::now());
            let done = match question {
                Question::Open { location, pin } => self.open(location, &pin).map(Answer::Found),
                Question::Sign { key, message } => self.sign(key, &message).map(Answer::Signature),
            };
            *self.busy.lock().unwrap_or_else(PoisonError::into_inner) = None;
            // Whoever asked may have given up.
            let _ = answer.try_send(done.unwrap_or_else(Answer::Problem));
        }
    }

    /// Finds a key and has it sign.
    fn open(&mut self, location: Location, pin: &Arc<Pin>) -> Result<Found, Problem> {
        for (_, entry) in self.keys.extract_if(.., |_, entry| entry.used.strong_count() == 0) {
            entry.close();
        }
        // Those in force have done nothing wrong.
        let (session, key) = self.find_or_restart(&location, pin, |_| true)?;
        let (used, number) = (Arc::new(()), self.next);
        let (algorithm, jwk) = (key.algorithm(), key.jwk().clone());
        let entry = Entry {
            location,
            jwk: jwk.clone(),
            used: Arc::downgrade(&used),
            open: Some((session, key)),
            rest: None,
            failing: false,
        };
        self.keys.insert(number, entry);
        self.next = self.next.wrapping_add(1);
        Ok(Found { number, algorithm, jwk, _used: used })
    }

    /// Signs, with another session if the one that there is fails.
    fn sign(&mut self, number: u64, message: &[u8]) -> Result<Vec<u8>, Problem> {
        let Some(entry) = self.keys.get_mut(&number) else { return Err(Problem::NoAnswer) };
        if entry.rest.is_some_and(|(since, pause)| since.elapsed() < pause) {
            return Err(Problem::NoAnswer);
        }
        let began = Moment::now();
        if let Some((session, key)) = &entry.open
            && let Ok(signature) = key.sign(session, message)
        {
            return Ok(signature);
        }
        let outcome = self.sign_anew(number, message);
        if let Some(entry) = self.keys.get_mut(&number) {
            entry.note(outcome.as_ref().err(), began.elapsed());
        }
        outcome
    }

    /// Logs in again, finds the key again and signs.
    fn sign_anew(&mut self, number: u64, message: &[u8]) -> Result<Vec<u8>, Problem> {
        let Some(entry) = self.keys.get_mut(&number) else { return Err(Problem::NoAnswer) };
        entry.close_session();
        let (location, jwk) = (entry.location.clone(), entry.jwk.clone());
        let pin = self.pins.of(&location.token).ok_or(Problem::RefusedPin)?;
        // What others have in the same token is as good as what failed here.
        let (session, key) = self.find_or_restart(&location, &pin, |entry| entry.location.token != location.token)?;
        if *key.jwk() != jwk {
            session.close();
            return Err(Problem::Replaced);
        }
        let signature = key.sign(&session, message).map_err(failed);
        if let Some(entry) = self.keys.get_mut(&number) {
            entry.open = Some((session, key));
        }
        signature
    }

    /// Finds a key; if its token is not there or fails, once more after the module has begun anew: many see only then what has
    /// changed since they were loaded. That ends the sessions of all keys, so it is rare while one that counts has a session.
    fn find_or_restart(
        &mut self,
        location: &Location,
        pin: &Arc<Pin>,
        counts: impl Fn(&Entry) -> bool,
    ) -> Result<(Session, Key), Problem> {
        let is_fresh = !self.initialized;
        match self.find(location, pin) {
            Err(problem) if problem.may_pass() && !is_fresh && self.initialized && self.may_restart(counts) => {
                self.end();
                self.find(location, pin)
            }
            outcome => outcome,
        }
    }

    fn may_restart(&self, counts: impl Fn(&Entry) -> bool) -> bool {
        let is_used = |entry: &Entry| entry.open.is_some() && entry.used.strong_count() > 0 && counts(entry);
        let is_long_ago = self.restarted.is_none_or(|at| at.elapsed() >= RESTART_PAUSE);
        is_long_ago || !self.keys.values().any(is_used)
    }

    fn find(&mut self, location: &Location, pin: &Arc<Pin>) -> Result<(Session, Key), Problem> {
        let library = self.library()?;
        let keys = &mut self.keys;
        // Whoever logs out makes what others have found void.
        let close_others = |token: &str| {
            keys.values_mut().filter(|entry| entry.location.token == token).for_each(Entry::close_session);
        };
        let session = session(&library, &location.token, pin, &mut self.pins, close_others)?;
        match objects::find(&session, &library, &location.object) {
            Ok(key) => Ok((session, key)),
            Err(problem) => {
                session.close();
                Err(problem)
            }
        }
    }

    /// The library, which is loaded and has begun.
    fn library(&mut self) -> Result<Pkcs11, Problem> {
        let library = match &self.library {
            Some(library) => library.clone(),
            None => {
                let library = Pkcs11::new(&self.path).map_err(not_loaded)?;
                self.library.insert(library).clone()
            }
        };
        if !self.initialized {
            match library.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
                Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => self.initialized = true,
                Err(error @ Error::Pkcs11(..)) => return Err(Problem::NotBegun(in_words(&error))),
                Err(error) => return Err(not_loaded(error)),
            }
        }
        Ok(library)
    }

    /// Closes everything; the library stays in memory.
    fn end(&mut self) {
        self.keys.values_mut().for_each(Entry::close_session);
        if let Some(library) = self.library.clone() {
            // It begins anew whatever it says.
            let _ = library.finalize();
        }
        self.initialized = false;
        self.restarted = Some(Moment::now());
    }
}

impl Entry {
    fn close(mut self) {
        self.close_session();
    }

    fn close_session(&mut self) {
        if let Some((session, _)) = self.open.take() {
            session.close();
        }
    }

    /// Remembers how an attempt with a new session went, and tells the log of changes. After a failure nothing is tried for a
    /// second, and for four times as long as it took, so that whoever waits has four fifths of its time for other things.
    fn note(&mut self, problem: Option<&Problem>, took: Duration) {
        let was_failing = std::mem::replace(&mut self.failing, problem.is_some());
        self.rest = problem.map(|_| (Moment::now(), PAUSE.saturating_add(took.saturating_mul(4))));
        let key = self.location.uri();
        match problem {
            Some(problem) if !was_failing => tracing::error!(key, %problem, "a key in a token does not sign"),
            None if was_failing => tracing::info!(key, "a key in a token signs again"),
            Some(_) | None => {}
        }
    }
}

/// Any fault of a module, in a few words.
pub(super) fn failed(error: Error) -> Problem {
    Problem::Failed(in_words(&error))
}

fn not_loaded(error: Error) -> Problem {
    Problem::NotLoaded(in_words(&error))
}

pub(super) fn in_words(error: &Error) -> String {
    let text = match error {
        // The long explanations are those of the specification.
        Error::Pkcs11(value, function) => format!("C_{function:?}: {value:?}"),
        Error::LibraryLoading(error) => error.to_string(),
        Error::NotSupported
        | Error::TryFromInt(_)
        | Error::TryFromSlice(_)
        | Error::ParseInt(_)
        | Error::Utf8(_)
        | Error::NulError(_)
        | Error::NullFunctionPointer
        | Error::MissingSymbol(_)
        | Error::InvalidValue
        | Error::PinNotSet => error.to_string(),
    };
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).take(200).collect()
}

/// How long a key is not tried again at least.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a module does not begin anew where that would take sessions from keys that have nothing to do with the fault.
const RESTART_PAUSE: Duration = Duration::from_secs(60);
