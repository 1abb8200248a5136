//! What was pushed, in a store that replicas share: a browser need not come back to the replica that a client pushed to.
//!
//! The store has hashes of names and the ids of clients. Whoever can write there can make a name that was never given one that was:
//! the server behind still knows better.

use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use fapi::UnixTime;
use fapi::authorization_server::front_channel::Pushed;
use fapi::rejection::Unavailable;
use fapi::sha256;
use redis::{Value, cmd};

use crate::store::Store;

/// The requests that were pushed to one server, at any replica.
pub(super) struct SharedPushed {
    store: Arc<Store>,
    /// The issuer, as a part of its keys.
    issuer: Box<str>,
}

impl SharedPushed {
    pub(super) fn new(store: Arc<Store>, issuer: &str) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = sha256(issuer.as_bytes());
        Self { store, issuer: BASE64URL_NOPAD.encode(&[a, b, c, d, e, f, g, h]).into() }
    }

    fn key(&self, name: &[u8; 32]) -> String {
        self.store.settings().key(&format!("u:{}:{}", self.issuer, BASE64URL_NOPAD.encode(name)))
    }

    /// Tells the other replicas of a request, until its name expires.
    pub(super) async fn tell(&self, name: &[u8; 32], pushed: &Pushed, now: UnixTime) {
        let milliseconds = pushed.until.since(now).saturating_add(CLOCKS).saturating_mul(1000);
        let mut question = cmd("SET");
        // A replica that knows no mark reads no time, and so nothing.
        let mark = if pushed.is_noted { NOTED } else { "" };
        let value = format!("{}{mark} {}", pushed.until.0, pushed.client_id);
        question.arg(self.key(name)).arg(value).arg("PX").arg(milliseconds);
        let told = self.store.write(&question, |answer| (*answer == Value::Okay).then_some(()), |()| true).await;
        if let Err(error) = told {
            tracing::debug!(%error, "the other replicas were not told of a pushed request");
        }
    }

    /// The request with this name, if any replica was pushed it.
    ///
    /// # Errors
    /// [`Unavailable::PushedRequests`].
    pub(super) async fn ask(&self, name: &[u8; 32]) -> Result<Option<Pushed>, Unavailable> {
        let mut question = cmd("GET");
        question.arg(self.key(name));
        let read = |answer: &Value| {
            if let Value::BulkString(bytes) = answer {
                return Some(read(bytes));
            }
            (*answer == Value::Nil).then_some(None)
        };
        self.store.ask_for(LONGEST, &question, read).await.map_err(|why| {
            let detail = format!("the store `{}`: {why}", self.store.settings().name);
            Unavailable::PushedRequests { detail }
        })
    }
}

/// Reads an entry; `None` for what no replica wrote.
fn read(bytes: &[u8]) -> Option<Pushed> {
    let (until, client_id) = std::str::from_utf8(bytes).ok()?.split_once(' ')?;
    let unmarked = until.strip_suffix(NOTED);
    let until = UnixTime(unmarked.unwrap_or(until).parse().ok()?);
    Some(Pushed { client_id: client_id.into(), until, is_noted: unmarked.is_some() })
}

/// What is behind the time of a request that broke a rule.
const NOTED: &str = "!";

/// By how many seconds the clocks of two replicas may differ.
const CLOCKS: u64 = 60;
/// The longest entry, in bytes: a time, and the id of a client.
const LONGEST: u64 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_replica_wrote_is_read() {
        let pushed = Pushed { client_id: "a b".into(), until: UnixTime(7), is_noted: false };
        assert_eq!(read(b"7 a b"), Some(pushed.clone()), "control");
        assert_eq!(read(b"7! a b"), Some(Pushed { is_noted: true, ..pushed }));
        for bytes in [&b""[..], b"7", b"x a", b" a", b"-1 a", b"7 \xff", b"! a", b"7!! a", b"!7 a"] {
            assert_eq!(read(bytes), None, "{bytes:?}");
        }
    }
}
