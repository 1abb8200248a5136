//! A time on the command line.

use fapi::UnixTime;

use super::{BAD_USAGE, Failure};
use crate::clock::Clock;

/// The time that an option says, or now.
pub(super) fn time_or_now(option: &str, text: Option<&str>) -> Result<UnixTime, Failure> {
    let Some(text) = text.filter(|text| *text != "now") else { return Ok(Clock::system().unix_time()) };
    time(text).ok_or_else(|| {
        let expected = "expected seconds since 1970 or a time such as 2027-01-31T12:00:00Z";
        Failure::new(BAD_USAGE, format!("{option} is {text:?}, {expected}"))
    })
}

/// A time in seconds since 1970, or as RFC 3339 writes it.
fn time(text: &str) -> Option<UnixTime> {
    if let Ok(seconds) = text.parse() {
        return Some(UnixTime(seconds));
    }
    let time = humantime::parse_rfc3339_weak(text).ok()?;
    Some(UnixTime(time.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_seconds_or_a_date() {
        assert_eq!(time("1798761600"), Some(UnixTime(1_798_761_600)));
        assert_eq!(time("2027-01-01T00:00:00Z"), Some(UnixTime(1_798_761_600)));
        assert_eq!(time("yesterday"), None);
    }

    #[test]
    fn without_a_time_it_is_now() {
        let given = |text| time_or_now("--at", text).map(|time| time.0).map_err(|failure| failure.exit);
        assert_eq!(given(Some("7")), Ok(7)); // control
        assert!(given(None).is_ok_and(|now| now > 7) && given(Some("now")).is_ok_and(|now| now > 7));
        assert_eq!(given(Some("tomorrow")), Err(BAD_USAGE));
    }
}
