//! Claims that are times, which every kind of JWT may have (RFC 7519 §2, §4.1).

use serde_json::{Map, Value};

use crate::UnixTime;

/// FAPI 2.0 §5.3.2.1 (13): times up to 10 seconds ahead "shall" be accepted, and those more than 60 seconds ahead
/// refused. Times in between are refused too.
pub(crate) const CLOCK_SKEW: u64 = 10;

/// A claim that should be a time but is not a NumericDate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotNumericDate;

/// Reads a NumericDate (RFC 7519 §2): a number of seconds, possibly with a fraction, which `round` rounds to the
/// stricter side.
///
/// A value of the wrong type is an error and never treated as absent.
pub(crate) fn numeric_date(
    members: &Map<String, Value>,
    claim: &str,
    round: fn(f64) -> f64,
) -> Result<Option<UnixTime>, NotNumericDate> {
    const LARGEST: u64 = 1 << 53;
    let Some(value) = members.get(claim) else { return Ok(None) };
    let whole = value.as_u64().or_else(|| {
        let seconds = round(value.as_f64()?);
        // u64 and f64 represent every value within both bounds exactly, so the conversion is lossless.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded on the same line")]
        (0.0..=LARGEST as f64).contains(&seconds).then_some(seconds as u64)
    });
    match whole {
        Some(seconds) if seconds <= LARGEST => Ok(Some(UnixTime(seconds))),
        Some(_) | None => Err(NotNumericDate),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn at_07_a_time_is_a_number_of_seconds_from_0_to_2_to_the_53() {
        let read = |value: Value, round: fn(f64) -> f64| {
            let members = Map::from_iter([("exp".to_owned(), value)]);
            numeric_date(&members, "exp", round).map(|date| date.map(|UnixTime(seconds)| seconds))
        };
        const LARGEST: u64 = 9_007_199_254_740_992;
        for (value, floor, ceil) in [
            (json!(0), 0, 0),
            (json!(0.0), 0, 0),
            (json!(1.5), 1, 2),
            (json!(1e9), 1_000_000_000, 1_000_000_000),
            (json!(LARGEST), LARGEST, LARGEST),
            (json!(LARGEST as f64), LARGEST, LARGEST),
        ] {
            assert_eq!(read(value.clone(), f64::floor), Ok(Some(floor)), "{value}"); // control
            assert_eq!(read(value.clone(), f64::ceil), Ok(Some(ceil)), "{value}"); // control
        }
        for value in [
            json!(LARGEST + 1),
            json!(LARGEST as f64 + 2.0),
            json!(u64::MAX),
            json!(1e300),
            json!(-1),
            json!(-1.5),
            json!("1"),
            json!(true),
            json!([1]),
            json!(null),
        ] {
            assert_eq!(read(value.clone(), f64::floor), Err(NotNumericDate), "{value}");
            assert_eq!(read(value.clone(), f64::ceil), Err(NotNumericDate), "{value}");
        }
        assert_eq!(numeric_date(&Map::new(), "exp", f64::floor), Ok(None));
    }
}
