//! What the calls should have come to, and whether they did.

use std::fmt;

use super::super::Stop;
use super::super::table::{row, say};
use super::exchange::Answer;

/// What a call should come to.
pub(super) struct Expected {
    pub(super) status: u16,
    pub(super) code: &'static str,
}

/// How the calls went so far.
#[derive(Default)]
pub(super) struct Score {
    calls: usize,
    wrong: usize,
}

impl Score {
    /// Prints the row of a call, which is right if it came to what it should and `also` holds.
    pub(super) fn enter(
        &mut self,
        what: &str,
        expected: &Expected,
        answer: &Answer,
        reason: &str,
        also: bool,
    ) -> Result<(), Stop> {
        let right = answer.status == expected.status && answer.code() == expected.code && also;
        self.calls += 1;
        let mark = if right { "" } else { "   <-- WRONG" };
        say(&row(what, &answer.status.to_string(), answer.code(), &format!("{reason}{mark}")))?;
        if !right {
            self.wrong += 1;
            say(&row("", &expected.status.to_string(), expected.code, "was expected"))?;
        }
        Ok(())
    }

    /// Whether every call was right.
    pub(super) fn is_all_right(&self) -> bool {
        self.wrong == 0
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} calls, {}",
            self.calls,
            if self.is_all_right() { "all as expected" } else { "NOT all as expected" }
        )
    }
}
