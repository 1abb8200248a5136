//! The claims of every kind of JWT that have a syntax of their own: times and audiences (RFC 7519 §2, §4.1).

use serde_json::{Map, Value};

use crate::UnixTime;

/// FAPI 2.0 §5.3.2.1 (13): times up to 10 seconds ahead "shall" be accepted, and those more than 60 seconds ahead
/// refused. Times in between are refused too.
pub(crate) const CLOCK_SKEW: u64 = 10;

/// The claims that are about the JWT that has them (RFC 7519 §4.1).
pub(crate) const REGISTERED: [&str; 7] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"];

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

/// An `aud` that is neither a string nor an array of strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotAudiences;

/// Reads `aud`, an array of strings or a single string (RFC 7519 §4.1.3); `None` if there is none.
///
/// A value of the wrong type is an error, also within the array, and never treated as absent.
pub(crate) fn audiences(members: &Map<String, Value>) -> Result<Option<Vec<&str>>, NotAudiences> {
    match members.get("aud") {
        None => Ok(None),
        Some(Value::String(audience)) => Ok(Some(vec![audience])),
        Some(Value::Array(audiences)) => {
            audiences.iter().map(|audience| audience.as_str().ok_or(NotAudiences)).collect::<Result<_, _>>().map(Some)
        }
        Some(_) => Err(NotAudiences),
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

    #[test]
    fn rfc7519_4_1_3_an_audience_is_a_string_or_an_array_of_strings() {
        let read = |value: Value| {
            let members = Map::from_iter([("aud".to_owned(), value)]);
            audiences(&members).map(|audiences| audiences.map(|audiences| audiences.join(" ")))
        };
        for (value, expected) in [(json!("a"), "a"), (json!(["a", "b"]), "a b"), (json!([]), ""), (json!(""), "")] {
            assert_eq!(read(value.clone()), Ok(Some(expected.to_owned())), "{value}"); // control
        }
        for value in [json!(null), json!(1), json!({ "a": "b" }), json!(["a", 1]), json!([["a"]]), json!([null])] {
            assert_eq!(read(value.clone()), Err(NotAudiences), "{value}");
        }
        assert_eq!(audiences(&Map::new()), Ok(None));
    }
}
