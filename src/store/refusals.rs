//! What a server that is in use refuses.
//!
//! It is full, or its user has lost a right: whoever asks is told, and an operator learns it from here, whatever else the server
//! still answers.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{Arg, Cmd};

use super::NoAnswer;
use crate::clock::Moment;

/// The kinds of questions that were refused when they were last asked, each with the reason.
#[derive(Default)]
pub(super) struct Refusals {
    /// Whether there are any: an answer is noted only then.
    any: AtomicBool,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// Each with the moment in which it was given.
    reasons: BTreeMap<Kind, (Arc<str>, Moment)>,
    /// When there was one last.
    last: Option<Moment>,
}

/// A command, and its script if it runs one.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Kind(Box<str>, Option<[u8; 32]>);

impl Kind {
    fn of(question: &Cmd) -> Self {
        let mut words = question.args_iter().map(|word| if let Arg::Simple(word) = word { word } else { b"" });
        let command = String::from_utf8_lossy(words.next().unwrap_or_default()).to_ascii_lowercase();
        let script = words.next().filter(|_| command.starts_with("eval")).map(fapi::sha256);
        Self(command.into(), script)
    }
}

impl Refusals {
    /// Notes how a question was answered. One that got no answer says nothing.
    pub(super) fn note<T>(&self, question: &Cmd, answer: &Result<T, NoAnswer>) {
        match answer {
            Ok(_) if self.any.load(Ordering::Relaxed) => {
                let mut known = self.lock();
                known.reasons.remove(&Kind::of(question));
                self.any.store(!known.reasons.is_empty(), Ordering::Relaxed);
            }
            // It has not seen the script yet, which is asked for as a whole next.
            Err(NoAnswer::Refused(code)) if &**code == "NOSCRIPT" => {}
            Err(why @ (NoAnswer::Refused(_) | NoAnswer::Unacknowledged { .. })) => {
                let (kind, now) = (Kind::of(question), Moment::now());
                let reason = format!("`{}`: {why}", kind.0).into();
                let mut known = self.lock();
                known.reasons.insert(kind, (reason, now));
                known.last = Some(now);
                self.any.store(true, Ordering::Relaxed);
            }
            Ok(_) | Err(_) => {}
        }
    }

    /// One of them, for operators. What was not asked for a while may be answered by now.
    pub(super) fn first(&self) -> Option<Arc<str>> {
        if !self.any.load(Ordering::Relaxed) {
            return None;
        }
        let mut known = self.lock();
        known.reasons.retain(|_, (_, given)| given.elapsed() < REMEMBERED);
        self.any.store(!known.reasons.is_empty(), Ordering::Relaxed);
        known.reasons.values().next().map(|(reason, _)| reason.clone())
    }

    /// Whether there was none for some seconds: what is refused now and then is not over between two times.
    pub(super) fn are_over(&self) -> bool {
        self.first().is_none() && self.lock().last.is_none_or(|last| last.elapsed() >= OVER)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long a refusal counts that nobody provokes again.
const REMEMBERED: Duration = Duration::from_secs(60);
/// How long there is none before that is said.
const OVER: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests {
    use redis::cmd;

    use super::*;

    fn refused<T>(code: &str) -> Result<T, NoAnswer> {
        Err(NoAnswer::Refused(code.into()))
    }

    #[test]
    fn a_refusal_lasts_until_the_same_is_answered() {
        let refusals = Refusals::default();
        let (set, get) = (cmd("SET").arg("a").clone(), cmd("GET").arg("a").clone());
        let script = |text: &str| cmd("EVAL").arg(text).arg(0).clone();
        refusals.note(&set, &Ok(()));
        assert_eq!((refusals.first(), refusals.are_over()), (None, true), "control");
        refusals.note(&script("return 1"), &refused::<()>("NOSCRIPT"));
        assert_eq!((refusals.first(), refusals.are_over()), (None, true), "it is asked for as a whole next");
        refusals.note(&set, &refused::<()>("OOM"));
        for other in [&get, &script("return 1")] {
            refusals.note(other, &Ok(()));
            assert_eq!(refusals.first().as_deref(), Some("`set`: it is full (OOM)"));
        }
        // No answer is none.
        refusals.note::<()>(&set, &Err(NoAnswer::Timeout));
        assert!(refusals.first().is_some());
        refusals.note(cmd("SET").arg("another key"), &Ok(()));
        assert_eq!((refusals.first(), refusals.are_over()), (None, false), "it was refused just now");
        refusals.note(&script("return 1"), &refused::<()>("WRONGTYPE"));
        refusals.note(&script("return 2"), &Ok(()));
        assert_eq!(refusals.first().as_deref(), Some("`eval`: it refuses with WRONGTYPE"));
        refusals.note(&script("return 1"), &Ok(()));
        assert_eq!(refusals.first(), None);
    }
}
