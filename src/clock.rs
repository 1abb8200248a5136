//! The one clock: the time of day for decisions and records, and the monotonic time for durations.
//!
//! Nothing else in the program reads a clock; the lint `disallowed_methods` says so. Whoever judges by the time is handed it,
//! so that every judgement can be repeated.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use fapi::UnixTime;
use rustls::time_provider::TimeProvider;
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

/// The time since 1970, from the system or, in tests, from a fixed point.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Clock {
    /// The system's clock.
    #[expect(clippy::disallowed_methods, reason = "this is the one clock")]
    pub fn system() -> Self {
        Self(Arc::new(|| SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()))
    }

    /// A clock that shows what `time` says.
    pub fn from_fn(time: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(time))
    }

    /// The time since 1970.
    pub fn now(&self) -> Duration {
        (self.0)()
    }

    /// The present second.
    pub fn unix_time(&self) -> UnixTime {
        UnixTime(self.now().as_secs())
    }
}

/// A point in time from which durations are measured; not affected by the system's clock being set.
#[derive(Clone, Copy, Debug)]
pub struct Moment(Instant);

impl Moment {
    /// This moment.
    #[expect(clippy::disallowed_methods, reason = "durations are measured here and nowhere else")]
    pub fn now() -> Self {
        Self(Instant::now())
    }

    /// What has passed since.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
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

/// A time since 1970 in RFC 3339, in UTC.
pub fn rfc3339(time: Duration) -> String {
    i128::try_from(time.as_millis())
        .ok()
        .and_then(|millis| OffsetDateTime::from_unix_timestamp_nanos(millis.saturating_mul(1_000_000)).ok())
        .and_then(|time| time.format(FIXED_WIDTH).ok())
        .unwrap_or_default()
}

/// RFC 3339 in UTC with milliseconds: lines sort as text.
const FIXED_WIDTH: &[BorrowedFormatItem<'_>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// A time since 1970 as RFC 9110 §5.6.7 has it in `Date`.
pub fn http_date(time: Duration) -> String {
    httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + time)
}
