//! `enforce`: from when on what a route requires is enforced, and what the profile says of an authorization server.

use std::fmt;

use fapi::UnixTime;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::super::date::Date;

/// From when on what is required is enforced; until then it is judged and counted.
#[derive(Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::config) struct Enforce {
    /// The last day, in UTC, on which nobody is refused: on a route, for `sender_constraint`, `scopes` and `require`; at an
    /// authorization server, for what its profile says. What would be refused is counted, and is in the audit.
    #[schemars(required)]
    pub(in crate::config) shadow: Option<Until>,
    /// For whom that is so, by `client_id`; others are refused. Default: for everybody.
    #[schemars(length(min = 1))]
    pub(in crate::config) clients: Option<Vec<String>>,
}

/// A day, with `until` before it.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Until(Date);

impl Until {
    /// The first second after the day.
    pub(in crate::config) fn end(self) -> UnixTime {
        self.0.end()
    }

    /// Reads a text such as `until 2027-01-31`.
    fn read(text: &str) -> Option<Self> {
        Date::read(text.strip_prefix("until ")?).filter(|day| !day.is_too_early()).map(Self)
    }
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "until {}", self.0)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_counts_to_its_end() {
        let until = Until::read("until 2027-01-31").unwrap();
        assert_eq!((until.end(), until.to_string()), (UnixTime(1_801_440_000), "until 2027-01-31".to_owned()));
        assert_eq!(Date::ending_at(until.end()), Some(until.0));
        for text in
            ["2027-01-31", "until", "until 2027-02-30", "until 2027-1-31", "until 1969-12-31", "until tomorrow", ""]
        {
            assert!(Until::read(text).is_none(), "{text}");
        }
    }
}
