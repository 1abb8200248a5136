//! A key in a token, for whoever needs a signature, and the threads that have the modules.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
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
    /// Whether the log knows that there is no answer.
    silent: AtomicBool,
}

pub(super) fn open(location: &Location, pin: Pin) -> Result<Opened, Problem> {
    let module = Module::of(location)?;
    let question = Question::Open { location: location.clone(), pin: Arc::new(pin) };
    let found = module.ask(OPENS_WITHIN, question)?.found()?;
    let jwk = Value::Object(found.jwk.clone()).to_string();
    let parts = [location.module.to_string_lossy().as_bytes(), location.uri().as_bytes(), jwk.as_bytes()].map(sha256);
    let key = TokenKey { module, found, location: location.clone(), silent: AtomicBool::new(false) };
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
        let busy = *self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if busy.is_some_and(|since| since.elapsed() > within) {
            return Err(Problem::NoAnswer);
        }
        let (answer, answered) = sync_channel(1);
        let job = Job { asked: Moment::now(), within, question, answer };
        self.jobs.try_send(job).map_err(|_| Problem::NoAnswer)?;
        answered.recv_timeout(within).map_err(|_| Problem::NoAnswer)
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
        let silent = answer.is_err();
        if self.silent.swap(silent, Ordering::Relaxed) != silent && silent {
            let key = self.location.uri();
            tracing::error!(key, "the module of a token does not answer, so its keys do not sign");
        }
        // What is wrong with the key is said by the thread that has it.
        answer.and_then(Answer::signature).map_err(|_| NotSigned)
    }
}

/// How long a signature may take. It is shorter than an issuer is waited for by default, so that whoever waits learns whose
/// fault it is.
const SIGNS_WITHIN: Duration = Duration::from_secs(1);
/// How long it may take to load a module, log in and find a key.
const OPENS_WITHIN: Duration = Duration::from_secs(10);
/// How many jobs wait for a module at most; more than that fail at once.
const QUEUE: usize = 256;
/// How many modules a process may have loaded.
const MOST_MODULES: usize = 16;
