//! Which client pushed a request, by the name that the server gave it (RFC 9126 §2.2). Bounded: whoever pushes most forgets first.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fapi::UnixTime;
use fapi::authorization_server::front_channel::Pushed;

/// The SHA-256 of a `request_uri`.
type Name = [u8; 32];

/// The requests that were pushed and have not expired.
#[derive(Default)]
pub(super) struct PushedRequests(Mutex<Table>);

#[derive(Default)]
struct Table {
    by_name: HashMap<Name, Pushed>,
    /// The names of each client, the oldest first.
    by_client: HashMap<Box<str>, VecDeque<Name>>,
    /// When all that has expired was last removed.
    swept: u64,
}

impl PushedRequests {
    /// Remembers a request; where there is no room, the oldest of the client that has most is forgotten.
    pub(super) fn insert(&self, name: Name, pushed: Pushed, now: UnixTime) {
        let mut table = self.table();
        table.sweep(now);
        if table.by_name.len() >= MOST {
            let most = table.by_client.iter().max_by_key(|(_, names)| names.len()).map(|(id, _)| id.clone());
            if let Some(most) = most {
                table.forget_oldest(&most);
            }
        }
        table.by_client.entry(pushed.client_id.clone()).or_default().push_back(name);
        let before = table.by_name.insert(name, pushed);
        if let Some(before) = before
            && let Some(names) = table.by_client.get_mut(&before.client_id)
            && let Some(at) = names.iter().position(|known| *known == name)
        {
            let _ = names.remove(at);
        }
    }

    /// The request with this name, whether it has expired or not.
    pub(super) fn get(&self, name: &Name) -> Option<Pushed> {
        self.table().by_name.get(name).cloned()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Removes what has expired, once in a while.
    fn sweep(&mut self, now: UnixTime) {
        if now.0.abs_diff(self.swept) < SWEEP_EVERY {
            return;
        }
        self.swept = now.0;
        let by_name = &mut self.by_name;
        by_name.retain(|_, pushed| pushed.until > now);
        self.by_client.retain(|_, names| {
            names.retain(|name| by_name.contains_key(name));
            !names.is_empty()
        });
    }

    fn forget_oldest(&mut self, client: &str) {
        let Some(names) = self.by_client.get_mut(client) else { return };
        if let Some(oldest) = names.pop_front() {
            let _ = self.by_name.remove(&oldest);
        }
        if names.is_empty() {
            let _ = self.by_client.remove(client);
        }
    }
}

/// How many requests are remembered.
const MOST: usize = 100_000;
/// How often what has expired is removed, in seconds.
const SWEEP_EVERY: u64 = 60;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_800_000_000);

    fn name(number: u32) -> Name {
        let mut name = [0; 32];
        name[..4].copy_from_slice(&number.to_be_bytes());
        name
    }

    fn pushed(client: &str) -> Pushed {
        Pushed { client_id: client.into(), until: NOW.plus(60), is_noted: false }
    }

    #[test]
    fn whoever_pushes_most_forgets_first() {
        let requests = PushedRequests::default();
        requests.insert(name(0), pushed("quiet"), NOW);
        for number in 1..=u32::try_from(MOST).unwrap() {
            requests.insert(name(number), pushed("loud"), NOW);
        }
        assert_eq!(requests.get(&name(0)), Some(pushed("quiet")));
        assert_eq!(requests.get(&name(1)), None);
        assert_eq!(requests.get(&name(2)), Some(pushed("loud")), "control");
        assert_eq!(requests.table().by_name.len(), MOST);
    }

    #[test]
    fn what_has_expired_takes_no_room() {
        let requests = PushedRequests::default();
        requests.insert(name(0), pushed("a"), NOW);
        requests.insert(name(1), pushed("b"), NOW.plus(30));
        assert_eq!(requests.table().by_name.len(), 2, "control");
        requests.insert(name(2), Pushed { until: NOW.plus(300), ..pushed("b") }, NOW.plus(100));
        let table = requests.table();
        assert_eq!((table.by_name.len(), table.by_client.len()), (1, 1));
    }

    #[test]
    fn a_name_that_is_given_again_is_of_the_last_client() {
        let requests = PushedRequests::default();
        requests.insert(name(0), pushed("a"), NOW);
        requests.insert(name(0), pushed("b"), NOW);
        assert_eq!(requests.get(&name(0)), Some(pushed("b")));
        let table = requests.table();
        assert!(table.by_client["a"].is_empty() && table.by_client["b"].len() == 1);
    }
}
