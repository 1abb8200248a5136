//! Claims that every kind of JWT may have: times (RFC 7519 §2, §4.1).

use serde_json::{Map, Value};

use crate::UnixTime;

/// FAPI 2.0 §5.3.2.1 (13): times up to 10 seconds ahead "shall" be accepted, more than 60 refused; in between we refuse.
pub(crate) const CLOCK_SKEW: u64 = 10;

/// A claim that is a time by its name and not by its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotNumericDate;

/// RFC 7519 §2: a number of seconds, perhaps with a fraction, which `round` takes to the stricter side. A wrong type is
/// an error and never the same as absence.
pub(crate) fn numeric_date(
    members: &Map<String, Value>,
    claim: &str,
    round: fn(f64) -> f64,
) -> Result<Option<UnixTime>, NotNumericDate> {
    const LARGEST: u64 = 1 << 53;
    let Some(value) = members.get(claim) else { return Ok(None) };
    let whole = value.as_u64().or_else(|| {
        let seconds = round(value.as_f64()?);
        // Both bounds lie within what u64 and f64 hold exactly, so the conversion loses nothing.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded on the same line")]
        (0.0..=LARGEST as f64).contains(&seconds).then_some(seconds as u64)
    });
    match whole {
        Some(seconds) if seconds <= LARGEST => Ok(Some(UnixTime(seconds))),
        Some(_) | None => Err(NotNumericDate),
    }
}
