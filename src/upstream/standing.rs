//! What requests and health checks have shown of one server: whether it gets requests, and how many after its return.
//!
//! Only atomics, since every request reads it. A race between two requests can at worst let one more of them try an
//! ejected server.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crate::clock::millis;

/// What is known of one server. Times are in milliseconds since 1970.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// How many requests in a row got no response.
    failures: AtomicU32,
    /// When one request may try it again; 0 while it is not ejected.
    ejected_until: AtomicU64,
    /// How many pauses there were since it last worked for long; decides how long the next one is.
    pauses: AtomicU32,
    /// Since when it gets requests again; 0 if that is long ago, [`NOW`] if the next request sets it.
    returned: AtomicU64,
    /// Whether it failed its health checks.
    unhealthy: AtomicBool,
    /// How many of them in a row it has passed since.
    passed: AtomicUsize,
    /// How many times its connections were retired.
    retired: AtomicU64,
}

impl Standing {
    /// Notes that it could not be connected to, and ejects it. Returns whether that is new.
    pub(super) fn unreachable(&self, now: Duration) -> bool {
        self.eject(now)
    }

    /// Notes that a request got no response, and ejects it after a few of them. Returns whether that is new.
    pub(super) fn unanswered(&self, now: Duration) -> bool {
        self.failures.fetch_add(1, Ordering::Relaxed).saturating_add(1) >= FAILURES && self.eject(now)
    }

    /// Notes that a request got a response. Returns whether that ends an ejection.
    pub(super) fn answered(&self, now: Duration) -> bool {
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
        if self.is_ejected() && self.ejected_until.swap(0, Ordering::Relaxed) != 0 {
            self.returned.store(millis(now), Ordering::Relaxed);
            return true;
        }
        let returned = self.returned.load(Ordering::Relaxed);
        if returned != 0 && returned != NOW && self.share(returned, now) == WHOLE {
            self.returned.store(0, Ordering::Relaxed);
            self.pauses.store(0, Ordering::Relaxed);
        }
        false
    }

    /// Notes that it failed enough health checks.
    pub(super) fn fell_ill(&self) {
        self.passed.store(0, Ordering::Relaxed);
        self.unhealthy.store(true, Ordering::Relaxed);
    }

    /// Notes whether it passed a health check. After `enough` in a row it is healthy again, which ends an ejection too.
    pub(super) fn checked(&self, passed: bool, enough: usize) {
        if !self.is_unhealthy() {
            return;
        }
        if !passed {
            self.passed.store(0, Ordering::Relaxed);
        } else if self.passed.fetch_add(1, Ordering::Relaxed).saturating_add(1) >= enough {
            self.recovered();
        }
    }

    pub(super) fn is_unhealthy(&self) -> bool {
        self.unhealthy.load(Ordering::Relaxed)
    }

    /// How many times its connections were retired.
    pub(super) fn retired(&self) -> u64 {
        self.retired.load(Ordering::Relaxed)
    }

    /// Retires the connections that were opened after `before` retirements.
    pub(super) fn retire(&self, before: u64) {
        // Of several requests on one connection, the first retires it.
        let _ = self.retired.compare_exchange(before, before.wrapping_add(1), Ordering::Relaxed, Ordering::Relaxed);
    }

    fn recovered(&self) {
        self.unhealthy.store(false, Ordering::Relaxed);
        self.failures.store(0, Ordering::Relaxed);
        self.returned.store(NOW, Ordering::Relaxed);
        self.ejected_until.store(0, Ordering::Relaxed);
    }

    pub(super) fn is_ejected(&self) -> bool {
        self.ejected_until.load(Ordering::Relaxed) != 0
    }

    /// Whether it is not ejected, or its pause is over and no other request is trying it now.
    pub(super) fn may_be_tried(&self, now: Duration) -> bool {
        let until = self.ejected_until.load(Ordering::Relaxed);
        if until == 0 {
            return true;
        }
        // Setting the clock back must not prolong the pause.
        let over = millis(now) >= until || until > millis(now.saturating_add(LONGEST_PAUSE));
        if !over {
            return false;
        }
        // Only one request tries it; the others use the same servers as before. If it fails, this is the next pause.
        let next = millis(now.saturating_add(self.next_pause()));
        let first = self.ejected_until.compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if first {
            self.pauses.fetch_add(1, Ordering::Relaxed);
        }
        first
    }

    /// Whether it takes its turn in this round: always, unless it has returned a short time ago.
    pub(super) fn takes_turn(&self, round: usize, now: Duration) -> bool {
        let mut returned = self.returned.load(Ordering::Relaxed);
        if returned == 0 {
            return true;
        }
        if returned == NOW {
            returned = millis(now);
            self.returned.store(returned, Ordering::Relaxed);
        }
        let place = u64::try_from(round).unwrap_or_default() % WHOLE;
        place < self.share(returned, now)
    }

    /// How many of [`WHOLE`] turns it takes.
    fn share(&self, returned: u64, now: Duration) -> u64 {
        // After the clock was set back it takes all of them.
        let Some(since) = millis(now).checked_sub(returned) else { return WHOLE };
        (since.saturating_mul(WHOLE) / millis(SLOW_START)).clamp(1, WHOLE)
    }

    /// Ejects it, unless it is already: what fails then was sent before, or when there was no other server.
    fn eject(&self, now: Duration) -> bool {
        let until = millis(now.saturating_add(self.next_pause()));
        let new = self.ejected_until.compare_exchange(0, until, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if new {
            self.pauses.fetch_add(1, Ordering::Relaxed);
            self.returned.store(0, Ordering::Relaxed);
        }
        new
    }

    fn next_pause(&self) -> Duration {
        let pauses = self.pauses.load(Ordering::Relaxed);
        FIRST_PAUSE.saturating_mul(2u32.saturating_pow(pauses)).min(LONGEST_PAUSE)
    }
}

/// How many requests in a row have to fail, besides those that cannot connect.
const FAILURES: u32 = 5;
/// How long a server is ejected; each pause that follows is twice as long.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(10);
/// The longest time that doubling leads to.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// How long after its return a server takes only a growing part of its turns.
pub(super) const SLOW_START: Duration = Duration::from_secs(30);
/// The parts that turns are divided in.
const WHOLE: u64 = 10;
/// A return whose time the next request sets, since health checks have no clock.
const NOW: u64 = u64::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    const START: Duration = Duration::from_secs(1_800_000_000);

    fn at(seconds: u64) -> Duration {
        START + Duration::from_secs(seconds)
    }

    fn turns(standing: &Standing, now: Duration) -> usize {
        (0..100).filter(|round| standing.takes_turn(*round, now)).count()
    }

    #[test]
    fn requests_without_a_response_eject_only_in_a_row() {
        let standing = Standing::default();
        for _ in 0..10 {
            for _ in 1..FAILURES {
                assert!(!standing.unanswered(at(0)));
            }
            standing.answered(at(0));
        }
        assert!(!standing.is_ejected());
        let ejected: Vec<bool> = (0..FAILURES).map(|_| standing.unanswered(at(0))).collect();
        assert_eq!(ejected, [false, false, false, false, true]);
        assert!(standing.is_ejected());
        assert!(Standing::default().unreachable(at(0)), "control: what cannot be connected to is ejected at once");
    }

    #[test]
    fn each_pause_is_longer_than_the_one_before_up_to_a_bound() {
        let standing = Standing::default();
        standing.unreachable(at(0));
        let mut began = 0;
        for pause in [10, 20, 40, 60, 60, 60] {
            assert!(!standing.may_be_tried(at(began + pause) - Duration::from_millis(1)), "{pause}");
            began += pause;
            assert!(standing.may_be_tried(at(began)), "{pause}");
            assert!(!standing.may_be_tried(at(began)), "{pause}: one request tries it for all");
        }
    }

    #[test]
    fn what_was_sent_before_the_ejection_does_not_prolong_it() {
        let standing = Standing::default();
        standing.unreachable(at(0));
        for _ in 0..100 {
            assert!(!standing.unanswered(at(9)) && !standing.unreachable(at(9)));
        }
        assert!(standing.may_be_tried(at(10)));
    }

    #[test]
    fn a_server_that_returns_gets_more_requests_from_one_moment_to_the_next() {
        let standing = Standing::default();
        assert_eq!(turns(&standing, at(0)), 100); // control
        standing.unreachable(at(0));
        assert!(standing.may_be_tried(at(10)) && standing.answered(at(10)));
        assert_eq!([10, 16, 25, 39, 40].map(|now| turns(&standing, at(now))), [10, 20, 50, 90, 100]);
        assert_eq!(turns(&standing, at(0)), 100, "a clock that is set back keeps no server out");
    }

    #[test]
    fn a_server_that_has_worked_for_long_starts_with_a_short_pause() {
        for (answered, pause) in [(39, 40), (40, 10)] {
            let standing = Standing::default();
            standing.unreachable(at(0));
            assert!(standing.may_be_tried(at(10)) && standing.answered(at(10)));
            assert!(!standing.answered(at(answered)), "it was not ejected");
            standing.unreachable(at(100));
            assert!(!standing.may_be_tried(at(99 + pause)), "{answered}");
            assert!(standing.may_be_tried(at(100 + pause)), "{answered}");
        }
    }

    #[test]
    fn a_health_check_ends_an_ejection_and_starts_slowly() {
        let standing = Standing::default();
        standing.unreachable(at(0));
        standing.fell_ill();
        for passed in [true, false, true] {
            standing.checked(passed, 2);
            assert!(standing.is_unhealthy(), "not two in a row yet");
        }
        standing.checked(true, 2);
        assert!(!standing.is_unhealthy());
        assert!(!standing.answered(at(0)), "a response to an earlier request, which changes nothing");
        assert!(!standing.is_ejected() && standing.may_be_tried(at(1)));
        assert_eq!([1, 16, 31].map(|now| turns(&standing, at(now))), [10, 50, 100]);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_prolong_a_pause() {
        let standing = Standing::default();
        standing.unreachable(at(0));
        assert!(standing.may_be_tried(START - Duration::from_secs(3600)));
    }
}
