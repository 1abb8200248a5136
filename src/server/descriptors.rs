//! How many files and sockets the process may open, and whether the configuration fits.

use std::fs::File;
use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;
use crate::workers;

/// Raises the limit on open files as far as the process may, and returns it; `None` if there is none.
pub(super) fn raise() -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current == maximum {
        return current;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(?current, ?maximum, %error, "the limit on open files cannot be raised");
            current
        }
    }
}

/// Opens as many files as a start needs, and closes them again: much of it is done where a failure ends the process without
/// a word.
///
/// # Errors
/// What the system says, with how many there were.
pub(super) fn probe(threads: usize) -> io::Result<()> {
    let needed = AT_START.saturating_add(threads.saturating_mul(OF_A_THREAD));
    let mut open = Vec::with_capacity(needed);
    while open.len() < needed {
        let file = File::open("/dev/null")
            .map_err(|error| io::Error::new(error.kind(), format!("{error}, after {} of {needed}", open.len())))?;
        open.push(file);
    }
    Ok(())
}

/// Returns a warning if the hard limit, which a start raises the soft one to, is too low for the connections that the
/// configuration allows.
pub fn shortage(config: &Config) -> Option<String> {
    let (listeners, limits) = (config.listeners.len(), &config.limits);
    let of_all = |each: usize| listeners.saturating_mul(each);
    let (clients, kept) = (of_all(limits.connections), of_all(limits.idle_upstream_connections));
    shortage_of(clients, kept, workers::processors(), getrlimit(Resource::Nofile).maximum?)
}

fn shortage_of(clients: usize, kept: usize, threads: usize, limit: u64) -> Option<String> {
    // Over HTTP/1.1 each exchange has a connection to its upstream, which is kept afterwards if there is room.
    let own = OWN.saturating_add(threads.saturating_mul(OF_A_THREAD));
    let needed = clients.saturating_add(clients.max(kept)).saturating_add(own);
    let needed = u64::try_from(needed).unwrap_or(u64::MAX);
    (needed > limit).then(|| {
        format!(
            "limits.connections: {clients} client connections with an exchange each may need {needed} descriptors, and the process may have {limit}; raise its limit on open files (`ulimit -Hn`, `LimitNOFILE=`), or lower `limits.connections`. Connections that do not fit are refused"
        )
    })
}

/// The descriptor from which on a client's connection is refused: the rest is for upstreams, issuers, files and the admin
/// listener.
pub(super) fn ceiling(limit: Option<u64>) -> u64 {
    limit.map_or(u64::MAX, |limit| limit.saturating_sub((limit / 4).clamp(LEAST_RESERVE, MOST_RESERVE)))
}

/// What a start needs: its listeners, files, and the loops that wait for events.
const AT_START: usize = 24;
/// What the process needs for itself: its files, issuers and the admin listener.
const OWN: usize = 256;
/// What each thread that serves connections needs for itself.
const OF_A_THREAD: usize = 4;
const LEAST_RESERVE: u64 = 64;
const MOST_RESERVE: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_said_with_both_numbers() {
        assert_eq!(shortage_of(10_000, 128, 2, 20_264), None);
        let warning = shortage_of(10_000, 128, 2, 20_263).expect("one too few");
        assert!(warning.contains("10000 client connections") && warning.contains("20264 descriptors"), "{warning}");
        assert!(warning.contains("20263"), "{warning}");
        assert!(shortage_of(10_000, 10_001, 2, 20_264).is_some(), "more are kept than can be in use");
        assert!(shortage_of(10_000, 128, 3, 20_264).is_some(), "each thread has some");
        assert!(shortage_of(usize::MAX, usize::MAX, usize::MAX, 1 << 40).is_some());
    }

    #[test]
    fn clients_leave_descriptors_to_the_rest() {
        assert_eq!([100, 1024, 1 << 20].map(|limit| ceiling(Some(limit))), [36, 768, (1 << 20) - 4096]);
        assert_eq!((ceiling(Some(10)), ceiling(None)), (0, u64::MAX));
    }
}
