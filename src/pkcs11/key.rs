//! A key in a token, for whoever needs a signature, and the threads that have the modules.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fapi::jose::keys::Algorithm;
use fapi::jose::signing::{KeptKey, NotSigned, PrivateKey};
use fapi::sha256;
use serde_json::{Map, Value};

use super::worker::{Answer, Found, Job, Question, Worker};
use super::{Location, Opened, Pin, Problem};
use crate::clock::Moment;

/// The modules of this process, by their paths; none is ever unloaded.
static MODULES: Mutex<BTreeMap<PathBuf, Module>> = Mutex::new(BTreeMap::new());

/// The thread of a module.
#[derive(Clone)]
struct Module {
    jobs: SyncSender<Job>,
    /// Since when it has been busy with one job.
    busy: Busy,
}

/// Since when a thread has been busy with one job.
pub(super) type Busy = Arc<Mutex<Option<Moment>>>;

/// A key that signs in its token.
struct TokenKey {
    module: Module,
    found: Found,
    location: Location,
    said: Mutex<Said>,
}

/// What the log knows of the answers of a module to one key.
#[derive(Default)]
struct Said {
    /// Why there is none; `None` if there is one.
    problem: Option<Problem>,
    /// When it was told last.
    at: Option<Moment>,
}

impl Said {
    /// Whether the log is to be told: of what has changed, and not more often than this.
    fn is_to_say(&mut self, problem: Option<&Problem>, pause: Duration) -> bool {
        if self.problem.as_ref() == problem || self.at.is_some_and(|at| at.elapsed() < pause) {
            return false;
        }
        *self = Self { problem: problem.cloned(), at: Some(Moment::now()) };
        true
    }
}

pub(super) fn open(location: &Location, pin: Pin) -> Result<Opened, Problem> {
    let module = Module::of(location)?;
    let question = Question::Open { location: location.clone(), pin: Arc::new(pin) };
    let found = module.ask(OPENS_WITHIN, question)?.found()?;
    let jwk = Value::Object(found.jwk.clone()).to_string();
    let parts = [location.module.to_string_lossy().as_bytes(), location.uri().as_bytes(), jwk.as_bytes()].map(sha256);
    let key = TokenKey { module, found, location: location.clone(), said: Mutex::default() };
    Ok(Opened { key: PrivateKey::Kept(Box::new(key)), identity: sha256(&parts.concat()) })
}

impl Module {
    /// The thread of this module, which is started if there is none.
    fn of(location: &Location) -> Result<Self, Problem> {
        let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = modules.get(&location.module) {
            return Ok(module.clone());
        }
        if modules.len() >= MOST_MODULES {
            return Err(Problem::TooManyModules);
        }
        let (jobs, queue) = sync_channel(QUEUE);
        let busy = Busy::default();
        let worker = Worker::new(location.module.clone(), busy.clone());
        let thread = std::thread::Builder::new().name("pkcs11".to_owned());
        thread.spawn(move || worker.work(&queue)).map_err(|error| Problem::NotLoaded(error.to_string()))?;
        let module = Self { jobs, busy };
        modules.insert(location.module.clone(), module.clone());
        Ok(module)
    }

    /// Waits for an answer, at most this long, and not at all while the thread has been busy with one job for longer.
    fn ask(&self, within: Duration, question: Question) -> Result<Answer, Problem> {
        if self.is_busy_for(within) {
            return Err(Problem::NoAnswer);
        }
        let (answer, answered) = sync_channel(1);
        let job = Job { asked: Moment::now(), within, question, answer };
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => Problem::Crowded,
            TrySendError::Disconnected(_) => Problem::NoAnswer,
        })?;
        answered.recv_timeout(within).map_err(|error| match error {
            // Most of the time went to other jobs, unless it went to one.
            RecvTimeoutError::Timeout if !self.is_busy_for(within / 2) => Problem::Crowded,
            RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected => Problem::NoAnswer,
        })
    }

    /// Whether the thread has been busy with one job for longer than this.
    fn is_busy_for(&self, time: Duration) -> bool {
        let busy = *self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.is_some_and(|since| since.elapsed() > time)
    }
}

impl KeptKey for TokenKey {
    fn algorithm(&self) -> Algorithm {
        self.found.algorithm
    }

    fn public_jwk(&self) -> Map<String, Value> {
        self.found.jwk.clone()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, NotSigned> {
        let question = Question::Sign { key: self.found.number, message: message.to_vec() };
        let answer = self.module.ask(SIGNS_WITHIN, question);
        let problem = answer.as_ref().err();
        if self.said.lock().unwrap_or_else(PoisonError::into_inner).is_to_say(problem, SAYS_AFTER) {
            let key = self.location.uri();
            match problem {
                None => tracing::info!(key, "the module of a token answers in time again"),
                Some(Problem::Crowded) => {
                    tracing::error!(
                        key,
                        "more is asked of the module of a token than it does in time, so signatures fail"
                    );
                }
                Some(_) => tracing::error!(key, "the module of a token does not answer, so its keys do not sign"),
            }
        }
        // What is wrong with the key is said by the thread that has it.
        answer.and_then(Answer::signature).map_err(|_| NotSigned)
    }
}

/// How long a signature may take. It is shorter than an issuer is waited for by default, so that whoever waits learns whose
/// fault it is.
const SIGNS_WITHIN: Duration = Duration::from_secs(1);
/// How long the log is not told of the same key's answers again.
const SAYS_AFTER: Duration = Duration::from_secs(1);
/// How long it may take to load a module, log in and find a key.
const OPENS_WITHIN: Duration = Duration::from_secs(10);
/// How many jobs wait for a module at most; more than that fail at once.
const QUEUE: usize = 256;
/// How many modules a process may have loaded.
const MOST_MODULES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_or_slow_queue_is_another_fault_than_a_module_that_hangs() {
        let (jobs, queue) = sync_channel(1);
        let module = Module { jobs, busy: Busy::default() };
        let ask = |within| module.ask(within, Question::Sign { key: 0, message: Vec::new() }).err();
        let soon = Duration::from_millis(1);
        // The thread comes to the first too late, and there is no place for the second.
        for _ in 0..2 {
            assert_eq!(ask(soon), Some(Problem::Crowded));
        }
        let since = Moment::now();
        *module.busy.lock().unwrap() = Some(since);
        assert_eq!(ask(Duration::from_secs(3600)), Some(Problem::Crowded), "control");
        while since.elapsed() <= soon {}
        assert_eq!(ask(soon), Some(Problem::NoAnswer));
        drop(queue);
        assert_eq!(ask(Duration::from_secs(3600)), Some(Problem::NoAnswer));
    }

    #[test]
    fn the_log_is_told_of_changes_and_not_too_often() {
        let (never, always) = (Duration::from_secs(3600), Duration::ZERO);
        let mut said = Said::default();
        assert!(!said.is_to_say(None, always), "all is well");
        assert!(said.is_to_say(Some(&Problem::NoAnswer), never));
        for problem in [None, Some(&Problem::Crowded), Some(&Problem::NoAnswer)] {
            assert!(!said.is_to_say(problem, never), "{problem:?}");
        }
        assert!(!said.is_to_say(Some(&Problem::NoAnswer), always), "it is known");
        // What was left out is said later, if it is still so.
        assert!(said.is_to_say(Some(&Problem::Crowded), always));
        assert!(said.is_to_say(None, always));
        assert!(!said.is_to_say(None, always), "it is known");
    }
}
