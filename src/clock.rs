//! The one clock: the time of day for decisions and records, and the monotonic time for durations.
//!
//! The lint `disallowed_methods` forbids reading a clock anywhere else; an exception states its reason. Code that
//! judges by the time receives it as an argument, so that every judgement can be reproduced.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use fapi::UnixTime;
use rustls::time_provider::TimeProvider;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// A source of the time: the system or, in tests, functions.
#[derive(Clone)]
pub struct Clock {
    time: Arc<dyn Fn() -> Duration + Send + Sync>,
    monotonic: Arc<dyn Fn() -> Duration + Send + Sync>,
}

impl Clock {
    /// The system's clock.
    #[expect(clippy::disallowed_methods, reason = "this is the one clock")]
    pub fn system() -> Self {
        let start = Moment::now();
        Self::from_fn(|| SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
            .with_monotonic(move || start.elapsed())
    }

    /// A clock that shows what `time` returns, and is never set.
    pub fn from_fn(time: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        let time = Arc::new(time);
        Self { time: time.clone(), monotonic: time }
    }

    /// The same clock, with another measure of the time that has passed.
    #[must_use]
    pub fn with_monotonic(self, monotonic: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self { monotonic: Arc::new(monotonic), ..self }
    }

    /// The time since 1970.
    pub fn now(&self) -> Duration {
        (self.time)()
    }

    /// The time that has passed since some moment before the first call; setting the clock does not affect it.
    pub fn monotonic(&self) -> Duration {
        (self.monotonic)()
    }

    /// The current time in whole seconds.
    pub fn unix_time(&self) -> UnixTime {
        UnixTime(self.now().as_secs())
    }
}

/// A point in time from which durations are measured; setting the system's clock does not affect it.
#[derive(Clone, Copy, Debug)]
pub struct Moment(Instant);

impl Moment {
    /// The current moment.
    #[expect(clippy::disallowed_methods, reason = "durations are measured here and nowhere else")]
    pub fn now() -> Self {
        Self(Instant::now())
    }

    /// The time that has passed since this moment.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// The current moment by the runtime's clock: for ages and pauses, which a test can pass over; no token is checked against it.
#[expect(clippy::disallowed_methods, reason = "how long ago something was cannot be told by the time of a request")]
pub fn instant() -> tokio::time::Instant {
    tokio::time::Instant::now()
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// Handshakes are judged by the same time as requests.
impl TimeProvider for Clock {
    fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
        Some(rustls::pki_types::UnixTime::since_unix_epoch(Duration::from_secs(self.unix_time().0)))
    }
}

/// A duration in whole milliseconds; the largest number if there are more.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Formats a time since 1970 as RFC 3339, in UTC with milliseconds; empty if the time cannot be represented.
///
/// The width is fixed, so that lines sort as text.
pub fn rfc3339(time: Duration) -> String {
    thread_local! {
        /// The last second that was formatted: requests share it.
        static LAST: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    LAST.with_borrow_mut(|(last, text)| {
        let second = time.as_secs();
        if *last != second || text.is_empty() {
            let formatted = i64::try_from(second)
                .ok()
                .and_then(|second| OffsetDateTime::from_unix_timestamp(second).ok()?.format(TO_THE_SECOND).ok());
            (*last, *text) = (second, formatted.unwrap_or_default());
        }
        if text.is_empty() {
            return String::new();
        }
        format!("{text}.{:03}Z", time.subsec_millis())
    })
}

/// The same for a whole second, without a fraction.
pub fn rfc3339_second(time: UnixTime) -> String {
    rfc3339(Duration::from_secs(time.0)).replace(".000Z", "Z")
}

/// Between half of a pause and all of it, so that replicas that lost something together do not come back to it together.
pub(crate) fn jittered(pause: Duration) -> Duration {
    let mut random = [0; 2];
    // Without randomness they come back together, which a server survives.
    let _ = aws_lc_rs::rand::fill(&mut random);
    let half = pause / 2;
    half.saturating_add(half.mul_f64(f64::from(u16::from_be_bytes(random)) / f64::from(u16::MAX)))
}

const TO_THE_SECOND: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");

/// Formats a time since 1970 for the `Date` field (RFC 9110 §5.6.7).
pub fn http_date(time: Duration) -> String {
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_with_milliseconds_whichever_was_written_before() {
        let times = [
            (0, "1970-01-01T00:00:00.000Z"),
            (1_700_000_000_999, "2023-11-14T22:13:20.999Z"),
            (1_700_000_000_007, "2023-11-14T22:13:20.007Z"),
            (1_700_000_001_000, "2023-11-14T22:13:21.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
            (253_402_300_800_000, ""),
            (1_700_000_000_050, "2023-11-14T22:13:20.050Z"),
        ];
        for (millis, text) in times {
            assert_eq!(rfc3339(Duration::from_millis(millis)), text);
        }
        assert_eq!(rfc3339(Duration::MAX), "");
    }
}
