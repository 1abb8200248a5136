//! When an issuer's keys, or a directory, are read next: as configured, sooner if the response says so, and not by all replicas at once.

use std::time::Duration;

use ::http::{HeaderMap, header};
use tokio::time::Instant;

use super::Timing;

impl Timing {
    /// How long to wait after a successful read: `refresh_interval`, or what the server `said` if that is shorter, but
    /// not less than the floor.
    pub(crate) fn after_success(&self, refresh_interval: Duration, said: Option<Duration>, random: u32) -> Duration {
        let floor = self.refresh_floor.min(refresh_interval);
        spread(said.unwrap_or(refresh_interval).clamp(floor, refresh_interval), random)
    }

    /// How long to wait after a failure that follows `failures` others in a row.
    pub(crate) fn after_failure(&self, failures: u32, random: u32) -> Duration {
        let wait = 2_u32
            .checked_pow(failures)
            .map_or(self.retry_longest, |factor| self.retry_first.saturating_mul(factor).min(self.retry_longest));
        spread(wait, random)
    }
}

/// The reads that tokens may cause: a bucket of [`Timing::token_burst`] that gains one after each
/// [`Timing::token_refill`], so that one made-up token does not use up what the next new key needs.
///
/// A failed read takes nothing from the bucket; the next is made [`Timing::retry_first`] later.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    /// When the bucket is full again.
    full_at: Option<Instant>,
    /// The end of the pause after a failed read.
    paused_until: Option<Instant>,
}

impl Allowance {
    /// Whether a read may be made.
    pub(super) fn permits(&self, timing: &Timing, now: Instant) -> bool {
        let spare = timing.token_refill.saturating_mul(timing.token_burst.saturating_sub(1));
        let missing = self.full_at.map_or(Duration::ZERO, |at| at.saturating_duration_since(now));
        missing <= spare && self.paused_until.is_none_or(|until| until <= now)
    }

    /// Records a read that succeeded.
    pub(super) fn succeeded(&mut self, timing: &Timing, now: Instant) {
        self.full_at = Some(self.full_at.map_or(now, |at| at.max(now)) + timing.token_refill);
        self.paused_until = None;
    }

    /// Records a read that failed.
    pub(super) fn failed(&mut self, timing: &Timing, now: Instant) {
        self.paused_until = Some(now + timing.retry_first);
    }
}

/// How long the issuer says that its response may be cached: the shortest `max-age` of `Cache-Control`, or zero with
/// `no-store` or `no-cache` (RFC 9111 §5.2.2). `None` if it does not say.
///
/// A `max-age` that cannot be read counts as zero (RFC 9111 §4.2.1). `Expires`, `Age` and `s-maxage` are ignored:
/// between the floor and the refresh interval they would change little.
pub(crate) fn fresh_for(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    // A comma within quotes splits a directive in two, which can only lead to an earlier read.
    lines.flat_map(|line| line.split(',')).filter_map(directive).min()
}

fn directive(text: &str) -> Option<Duration> {
    let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
    match name.trim().to_ascii_lowercase().as_str() {
        "no-store" | "no-cache" => Some(Duration::ZERO),
        "max-age" => Some(value.and_then(delta_seconds).unwrap_or_default()),
        _ => None,
    }
}

/// Reads a number of seconds (RFC 9111 §1.2.2), also as a quoted string (§5.2). A number that is too large is the
/// maximum.
fn delta_seconds(text: &str) -> Option<Duration> {
    let digits = text.trim().trim_matches('"');
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| Duration::from_secs(digits.parse().unwrap_or(u64::MAX)))
}

/// Shortens an interval by up to a tenth; it never gets longer, so a removed key works no longer than documented.
fn spread(interval: Duration, random: u32) -> Duration {
    let most = interval / 10;
    interval.saturating_sub(most.mul_f64(f64::from(random) / f64::from(u32::MAX)))
}

/// A random number; zero if the system gives no random bytes, which only means that intervals are not spread.
pub(crate) fn random() -> u32 {
    let mut bytes = [0; 4];
    match aws_lc_rs::rand::fill(&mut bytes) {
        Ok(()) => u32::from_ne_bytes(bytes),
        Err(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use ::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    const INTERVAL: Duration = Duration::from_secs(300);

    fn said(lines: &[&str]) -> Option<u64> {
        let value = |line: &&str| (header::CACHE_CONTROL, HeaderValue::from_str(line).unwrap());
        let headers: HeaderMap = lines.iter().map(value).collect();
        fresh_for(&headers).map(|time| time.as_secs())
    }

    #[test]
    fn reads_cache_control() {
        for (lines, expected) in [
            (&[][..], None),
            (&["public, must-revalidate"], None),
            (&["max-age=120"], Some(120)),
            (&["public, Max-Age=120 , immutable"], Some(120)),
            (&["max-age=\"120\""], Some(120)),
            (&["max-age=0"], Some(0)),
            (&["max-age=120, max-age=60"], Some(60)),
            (&["max-age=60", "max-age=120"], Some(60)),
            (&["no-store"], Some(0)),
            (&["No-Cache, max-age=120"], Some(0)),
            (&["max-age=120", "no-store"], Some(0)),
            (&["s-maxage=5"], None),
            (&["max-age=99999999999999999999999"], Some(u64::MAX)),
            // A value that cannot be read means not fresh.
            (&["max-age"], Some(0)),
            (&["max-age="], Some(0)),
            (&["max-age=-1"], Some(0)),
            (&["max-age=1.5"], Some(0)),
            (&["max-age=soon"], Some(0)),
        ] {
            assert_eq!(said(lines), expected, "{lines:?}");
        }
    }

    #[test]
    fn reads_every_300_seconds_or_sooner_if_the_issuer_says_so_but_not_below_60() {
        let timing = Timing::default();
        let after = |said: Option<u64>| timing.after_success(INTERVAL, said.map(Duration::from_secs), 0).as_secs();
        assert_eq!([None, Some(300), Some(301), Some(u64::MAX)].map(after), [300; 4]);
        assert_eq!([Some(299), Some(61), Some(60), Some(59), Some(0)].map(after), [299, 61, 60, 60, 60]);
        let short = Duration::from_secs(1);
        assert_eq!(timing.after_success(short, Some(Duration::ZERO), 0), short, "the interval is the most");
    }

    #[test]
    fn retries_after_1_2_4_up_to_30_seconds() {
        let timing = Timing::default();
        let seconds: Vec<_> = (0..7).map(|failures| timing.after_failure(failures, 0).as_secs()).collect();
        assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(timing.after_failure(u32::MAX, 0).as_secs(), 30);
    }

    #[test]
    fn tokens_may_cause_four_reads_and_one_more_every_ten_seconds() {
        let (timing, start) = (Timing::default(), crate::clock::instant());
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        let mut allowance = Allowance::default();
        for _ in 0..4 {
            assert!(allowance.permits(&timing, start));
            allowance.succeeded(&timing, start);
        }
        assert!(!allowance.permits(&timing, start) && !allowance.permits(&timing, after(9)));
        assert!(allowance.permits(&timing, after(10)));
        allowance.succeeded(&timing, after(10));
        assert!(!allowance.permits(&timing, after(19)) && allowance.permits(&timing, after(20)));
        // What is not used is kept up to the size of the bucket.
        for _ in 0..4 {
            assert!(allowance.permits(&timing, after(1000)));
            allowance.succeeded(&timing, after(1000));
        }
        assert!(!allowance.permits(&timing, after(1000)));
    }

    #[test]
    fn a_failed_read_is_followed_by_a_second_of_rest_and_takes_nothing() {
        let (timing, start) = (Timing::default(), crate::clock::instant());
        let after = |seconds: u64| start + Duration::from_secs(seconds);
        let mut allowance = Allowance::default();
        for second in 0..20 {
            assert!(allowance.permits(&timing, after(second)), "{second}");
            allowance.failed(&timing, after(second));
            assert!(!allowance.permits(&timing, after(second)), "{second}");
        }
        for _ in 0..4 {
            assert!(allowance.permits(&timing, after(20)));
            allowance.succeeded(&timing, after(20));
        }
        assert!(!allowance.permits(&timing, after(20)));
    }

    #[test]
    fn replicas_are_spread_over_the_last_tenth() {
        let timing = Timing::default();
        let after = |random| timing.after_success(INTERVAL, None, random);
        assert_eq!((after(0), after(u32::MAX)), (INTERVAL, Duration::from_secs(270)));
        assert_eq!(after(u32::MAX / 2).as_secs(), 285);
        assert_eq!(timing.after_failure(9, u32::MAX), Duration::from_secs(27));
        let drawn: std::collections::HashSet<u32> = (0..16).map(|_| random()).collect();
        assert!(drawn.len() > 1, "{drawn:?}");
    }

    proptest! {
        #[test]
        fn no_answer_and_no_chance_leads_beyond_the_interval(line in "[ -~]{0,60}", random: u32, seconds in 1_u64..100_000) {
            let headers = HeaderMap::from_iter([(header::CACHE_CONTROL, HeaderValue::from_str(&line).unwrap())]);
            let interval = Duration::from_secs(seconds);
            let wait = Timing::default().after_success(interval, fresh_for(&headers), random);
            prop_assert!(wait <= interval && wait >= interval.min(Duration::from_secs(60)) / 10 * 9);
        }
    }
}
