//! How much was refused in the last hour, minute by minute: for people who have no Prometheus at hand.
//!
//! The counts are those of the metrics, so that no request pays for them twice.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Moment;

/// How much was refused since the start, by the reasons of the metrics; what never was is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// Requests, by code.
    pub requests: BTreeMap<String, u64>,
    /// Handshakes that failed, by reason.
    pub handshakes: BTreeMap<String, u64>,
    /// Connections, by the limit that refused them.
    pub connections: BTreeMap<String, u64>,
}

/// What had been refused by the end of each of the last [`MINUTES`]. Codes, reasons and limits are closed sets, and so its
/// size is bounded.
pub struct History {
    began: Moment,
    minutes: Mutex<VecDeque<Refused>>,
}

impl Default for History {
    fn default() -> Self {
        Self { began: Moment::now(), minutes: Mutex::default() }
    }
}

impl History {
    /// Notes what has been refused until now; to be called once a minute, from the start on.
    pub fn note(&self, refused: Refused) {
        let mut minutes = self.lock();
        if minutes.len() > MINUTES {
            minutes.pop_front();
        }
        minutes.push_back(refused);
    }

    /// What had been refused by the end of each of the last minutes, the oldest first. The one before the first is the
    /// beginning of it, so that there are at most [`MINUTES`] and one.
    pub fn minutes(&self) -> Vec<Refused> {
        self.lock().iter().cloned().collect()
    }

    /// How long the gateway has been running.
    pub fn lasts(&self) -> Duration {
        self.began.elapsed()
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Refused>> {
        self.minutes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How many minutes are remembered.
pub const MINUTES: usize = 60;

/// How long one of them is.
pub const MINUTE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_remembered_and_no_more() {
        let history = History::default();
        let refused = |count| Refused { requests: [("token_expired".to_owned(), count)].into(), ..Refused::default() };
        let first = |history: &History| history.minutes().first().cloned();
        assert_eq!(first(&history), None);
        for count in 0..=60 {
            history.note(refused(count));
        }
        assert_eq!((history.minutes().len(), first(&history)), (MINUTES + 1, Some(refused(0))));
        history.note(refused(61));
        assert_eq!((history.minutes().len(), first(&history)), (MINUTES + 1, Some(refused(1))));
    }
}
