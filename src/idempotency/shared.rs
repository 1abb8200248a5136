//! Used keys in a store that all replicas share.
//!
//! The store has hashes alone. An entry is written once, and is the same until its time is over, so that two steps are as good as one:
//! whoever does not write it reads what the first one wrote.

use data_encoding::BASE64URL_NOPAD;
use fapi::idempotency::KeyUse;
use redis::{Value, cmd};

use crate::clock::millis;
use crate::store::{NoAnswer, Store};

/// What the store knew of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing; it is the first use.
    First,
    /// It was used for the same request.
    Same,
    /// It was used for another one.
    Other,
}

/// Notes the use of a key, unless it was used before; returns what was known of it.
///
/// # Errors
/// [`NoAnswer`], after which the use may be noted or not.
pub(super) async fn note(store: &Store, used: &KeyUse) -> Result<Known, NoAnswer> {
    // Once more if it is over in between.
    for _ in 0..2 {
        let mut question = cmd("SET");
        question.arg(key(store, used)).arg(request(used)).arg("NX").arg("PX").arg(millis(used.keep));
        let first = |answer: &Value| match (*answer == Value::Okay, *answer == Value::Nil) {
            (true, _) => Some(true),
            (_, true) => Some(false),
            (false, false) => None,
        };
        if store.write(&question, first, |first| *first).await? {
            return Ok(Known::First);
        }
        if let Some(known) = look(store, used).await? {
            return Ok(known);
        }
    }
    Err(NoAnswer::Nonsense)
}

/// What is known of the use of a key, without noting anything; `None` if that is nothing.
///
/// # Errors
/// [`NoAnswer`].
pub(super) async fn look(store: &Store, used: &KeyUse) -> Result<Option<Known>, NoAnswer> {
    let request = request(used);
    let mut question = cmd("GET");
    question.arg(key(store, used));
    let known = |answer: &Value| {
        if let Value::BulkString(known) = answer {
            return Some(Some(if *known == request.as_bytes() { Known::Same } else { Known::Other }));
        }
        (*answer == Value::Nil).then_some(None)
    };
    let longer = u64::try_from(request.len()).unwrap_or(u64::MAX);
    store.ask_for(longer, &question, known).await
}

fn key(store: &Store, used: &KeyUse) -> String {
    store.settings().key(&format!("i:{}", BASE64URL_NOPAD.encode(&used.id)))
}

fn request(used: &KeyUse) -> String {
    BASE64URL_NOPAD.encode(&used.request)
}
