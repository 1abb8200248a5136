//! `routes[].enforce`: from when on what a route requires is enforced.

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use fapi::UnixTime;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// From when on what a route requires of a token is enforced; until then it is judged and counted.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Enforce {
    /// The last day, in UTC, on which nobody is refused for `sender_constraint`, `scopes` and `require`. What would be refused is
    /// counted, and is in the audit.
    #[schemars(required)]
    pub(in crate::config) shadow: Option<Until>,
    /// For whom that is so, by `client_id`; others are refused. Default: for everybody.
    #[schemars(length(min = 1))]
    pub(in crate::config) clients: Option<Vec<String>>,
}

/// A day, with `until` before it.
#[derive(Clone, Debug)]
pub(in crate::config) struct Until {
    day: String,
    end: UnixTime,
}

impl Until {
    /// The first second after the day.
    pub(in crate::config) const fn end(&self) -> UnixTime {
        self.end
    }

    /// Reads a text such as `until 2027-01-31`.
    fn read(text: &str) -> Option<Self> {
        let day = text.strip_prefix("until ")?;
        // Of several spellings, such as that with one digit for a month, this is the only one.
        let begin = humantime::parse_rfc3339(&format!("{day}T00:00:00Z")).ok().filter(|_| day.len() == DAY.len())?;
        let begin = begin.duration_since(UNIX_EPOCH).ok()?.as_secs();
        Some(Self { day: day.to_owned(), end: UnixTime(begin).plus(SECONDS_OF_A_DAY) })
    }
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "until {}", self.day)
    }
}

impl<'de> Deserialize<'de> for Until {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Day;

        impl Visitor<'_> for Day {
            type Value = Until;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the word `until` and a day, such as `until 2027-01-31`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Until, E> {
                Until::read(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(Day)
    }
}

impl Serialize for Until {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Until {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Until".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "The word `until` and a day, such as `until 2027-01-31`: to the end of that day, in UTC.",
            "type": "string",
            "pattern": r"^until [0-9]{4}-[0-9]{2}-[0-9]{2}$|\$\{",
        })
    }
}

/// The day before a time, which is the first second of one, as [`Until`] writes it.
pub(in crate::config) fn day_before(end: UnixTime) -> String {
    let last = UNIX_EPOCH.checked_add(Duration::from_secs(end.0.saturating_sub(1)));
    let text = last.map(|last| humantime::format_rfc3339_seconds(last).to_string()).unwrap_or_default();
    text.get(..DAY.len()).unwrap_or_default().to_owned()
}

const DAY: &str = "2027-01-31";
const SECONDS_OF_A_DAY: u64 = 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_counts_to_its_end() {
        let until = Until::read("until 2027-01-31").unwrap();
        assert_eq!((until.end(), until.to_string()), (UnixTime(1_801_440_000), "until 2027-01-31".to_owned()));
        assert_eq!(day_before(until.end()), DAY);
        for text in
            ["2027-01-31", "until", "until 2027-02-30", "until 2027-1-31", "until 1969-12-31", "until tomorrow", ""]
        {
            assert!(Until::read(text).is_none(), "{text}");
        }
    }
}
