//! A day of the calendar, in UTC.

use std::fmt;

use fapi::UnixTime;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A day, such as `2027-03-31`, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Date(time::Date);

impl Date {
    /// Its first second; that of 1970-01-01 for an earlier day.
    pub(super) fn begin(self) -> UnixTime {
        UnixTime(u64::try_from(self.0.midnight().assume_utc().unix_timestamp()).unwrap_or(0))
    }

    /// The first second of the next day.
    pub(super) fn end(self) -> UnixTime {
        self.begin().plus(DAY)
    }

    /// The day that ends at this time, if that is a first second of one, or else the day that has it.
    pub(super) fn ending_at(end: UnixTime) -> Option<Self> {
        let last = i64::try_from(end.0.saturating_sub(1)).ok()?;
        time::OffsetDateTime::from_unix_timestamp(last).ok().map(|last| Self(last.date()))
    }

    /// Whether it is before 1970-01-01, and so has no seconds.
    pub(super) fn is_too_early(self) -> bool {
        self.0.year() < 1970
    }

    /// Reads a text such as `2027-03-31`.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let mut number = |digits: usize| {
            parts.next().filter(|part| part.len() == digits && part.bytes().all(|byte| byte.is_ascii_digit()))
        };
        let (year, month, day) = (number(4)?, number(2)?, number(2)?);
        if parts.next().is_some() {
            return None;
        }
        let month = time::Month::try_from(month.parse::<u8>().ok()?).ok()?;
        time::Date::from_calendar_date(year.parse().ok()?, month, day.parse().ok()?).ok().map(Self)
    }
}

/// The seconds of a day.
pub(super) const DAY: u64 = 24 * 60 * 60;

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Day;

        impl Visitor<'_> for Day {
            type Value = Date;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a day, such as `2027-03-31`")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Date, E> {
                Date::read(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }

        deserializer.deserialize_any(Day)
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.0.to_calendar_date();
        write!(f, "{year:04}-{:02}-{day:02}", u8::from(month))
    }
}

impl Serialize for Date {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Date {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Date".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A day in UTC, such as `2027-03-31`.",
            "type": "string",
            "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$|\$\{",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_lasts_from_its_first_second_to_that_of_the_next() {
        let day = Date::read("2027-01-15").unwrap();
        // 2027-01-15T08:00:00Z is 1800000000.
        assert_eq!((day.begin(), day.end()), (UnixTime(1_799_971_200), UnixTime(1_800_057_600)));
        assert_eq!(day.to_string(), "2027-01-15");
        assert_eq!(Date::ending_at(day.end()), Some(day));
        assert_eq!(Date::read("1969-12-31").unwrap().begin(), UnixTime(0));
        assert!(day < Date::read("2027-02-01").unwrap());
    }

    #[test]
    fn only_days_of_the_calendar_are_read() {
        assert!(Date::read("2028-02-29").is_some()); // control
        for text in
            ["2027-02-29", "2027-13-01", "2027-00-01", "2027-1-15", "27-01-15", "2027-01-15T00:00:00Z", "", "tomorrow"]
        {
            assert_eq!(Date::read(text), None, "{text:?}");
        }
    }
}
