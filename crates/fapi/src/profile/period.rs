//! The time during which a waiver counts.

use crate::UnixTime;

/// From a second on, and up to another that is no longer part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period {
    /// The first second.
    pub since: UnixTime,
    /// The first second after it.
    pub until: UnixTime,
}

impl Period {
    /// Whether a rule is suspended at `now` that is suspended during this time, if ever.
    pub(crate) fn suspends(waived: Option<Self>, now: UnixTime) -> bool {
        waived.is_some_and(|period| period.contains(now))
    }

    /// Whether `now` is within it.
    pub fn contains(self, now: UnixTime) -> bool {
        self.since <= now && now < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_begins_with_its_first_second_and_ends_before_its_last() {
        let period = Period { since: UnixTime(10), until: UnixTime(20) };
        assert_eq!([9, 10, 19, 20].map(|now| period.contains(UnixTime(now))), [false, true, true, false]);
    }
}
