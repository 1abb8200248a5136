//! The rules of the profile that are suspended for a while.

use std::fmt;

use fapi::UnixTime;
use fapi::profile::{Period, Rule, Waivable};

use super::date::{DAY, Date};
use super::error::ConfigError;
use super::{Config, ConfigErrors};

/// A rule of the profile that is suspended for one issuer, route or authorization server.
#[derive(Clone, Debug)]
pub struct Waiver {
    /// The rule, which can be waived for [`Self::of`].
    pub rule: &'static Rule,
    /// What it is suspended for.
    pub of: Waivable,
    /// The name of that.
    pub name: String,
    /// Why.
    pub reason: String,
    /// When it counts.
    pub period: Period,
    pub(super) since: Option<Date>,
    pub(super) until: Date,
    /// The key `until`, for a problem that depends on the time.
    pub(super) place: ConfigError,
}

/// Whether a waiver counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its first day has not come.
    Pending,
    /// It does.
    Active,
    /// Its last day is over.
    Over,
}

impl Standing {
    /// Its name in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Active => "active",
            Self::Over => "over",
        }
    }
}

impl Waiver {
    /// Whether it counts at this time.
    pub fn standing(&self, now: UnixTime) -> Standing {
        match self.period {
            period if period.contains(now) => Standing::Active,
            Period { until, .. } if until <= now => Standing::Over,
            Period { .. } => Standing::Pending,
        }
    }

    /// Its first day, as written, if it is.
    pub fn since(&self) -> Option<String> {
        self.since.map(|day| day.to_string())
    }

    /// Its last day, as written.
    pub fn until(&self) -> String {
        self.until.to_string()
    }

    /// The labels of its metric: the rule, and the issuer and the route that it is for, one of which is empty. An authorization
    /// server is an issuer.
    pub fn labels(&self) -> [&str; 3] {
        match self.of {
            Waivable::Issuer | Waivable::AuthorizationServer => [self.rule.id, &self.name, ""],
            Waivable::Route => [self.rule.id, "", &self.name],
        }
    }

    /// Whether both suspend the same rule for the same, until the same day.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.rule.id, self.of, &self.name, self.until) == (other.rule.id, other.of, &other.name, other.until)
    }

    /// What is wrong with its last day at this time.
    fn problem(&self, now: UnixTime) -> Option<ConfigError> {
        let rule = self.rule.id;
        let problem = if self.standing(now) == Standing::Over {
            format!(
                "the waiver of `{rule}` ended with `{}`, and the rule holds again; remove the waiver, or write a later day if there still is a reason",
                self.until
            )
        } else if self.period.until > now.plus(LONGEST) {
            format!("`{}` is more than a year ahead; write an earlier day, and another when that comes", self.until)
        } else {
            return None;
        };
        Some(ConfigError { problem, ..self.place.clone() })
    }
}

/// One line, for people.
impl fmt::Display for Waiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, of, name, reason, until, .. } = self;
        write!(f, "waiver {}: {} {name}", rule.id, of.as_words())?;
        if let Some(since) = self.since {
            write!(f, "; since {since}")?;
        }
        write!(f, "; until {until}; {reason}")
    }
}

/// How far ahead the end may be: a year and the rest of the last day.
pub(super) const LONGEST: u64 = 367 * DAY;

impl Config {
    /// Judges the waivers at this time, but for those that are `known`, since they are in force already: one that ended while
    /// the gateway ran suspends nothing, and must not keep new certificates from coming into force.
    ///
    /// # Errors
    /// [`ConfigErrors`] with those that are over, or end more than a year from now.
    pub fn judge_waivers(&self, now: UnixTime, known: &[Waiver]) -> Result<(), ConfigErrors> {
        let problems = self.problems_of_waivers(now, known);
        match problems.is_empty() {
            true => Ok(()),
            false => Err(ConfigErrors::new(self.file.clone(), problems, self.files.clone())),
        }
    }

    pub(super) fn problems_of_waivers(&self, now: UnixTime, known: &[Waiver]) -> Vec<ConfigError> {
        let is_known = |waiver: &&Waiver| known.iter().any(|other| waiver.is_same(other));
        self.waivers.iter().filter(|waiver| !is_known(waiver)).filter_map(|waiver| waiver.problem(now)).collect()
    }
}
