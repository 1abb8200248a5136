//! What a run found: a list of modules, each with the calls it made, what was expected and what came.
//!
//! A report holds no token, proof, key or assertion: requests stand in it with the names of variables in their place.

pub mod compare;
mod deciding;
pub mod html;
pub mod junit;
pub mod read;
pub mod sarif;
pub mod signed;
pub mod terminal;
#[cfg(test)]
mod testing;
mod visible;

use std::fmt;

use serde::{Deserialize, Serialize};

/// The value of [`Report::format`] that this program writes and reads.
pub const FORMAT: &str = "fapi-gateway-probe/1";

/// Everything that one run found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: String,
    /// The name and version of the program that made it.
    pub program: String,
    /// The URL of the resource that was called.
    pub target: String,
    /// The plans that were run, such as `fapi2-rs-dpop`.
    pub plans: Vec<String>,
    /// When the run began, RFC 3339 in UTC.
    pub started: String,
    /// When it ended.
    pub finished: String,
    /// The SHA-256 hash of the configuration file, in lower-case hexadecimal.
    pub configuration_sha256: String,
    /// The SHA-256 hash of the transcript, which has a line for every exchange, in lower-case hexadecimal.
    pub transcript_sha256: String,
    /// How many requests were sent, or would have been.
    pub requests: u64,
    /// Whether nothing was sent.
    pub dry_run: bool,
    /// Whether methods could be used that change something.
    pub writes: bool,
    /// What the target was said to do.
    pub claims: Vec<String>,
    /// How many modules the plans have; more than those of the report if only some were run.
    pub modules_of_plans: usize,
    /// The modules, in the order of the plan.
    pub modules: Vec<Module>,
}

/// What one module found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Module {
    /// Its name, which never changes: `dpop-htm-other`.
    pub name: String,
    /// What it shows, in one sentence.
    pub purpose: String,
    /// Where the rule stands: `RFC 9449 §4.3 (8)`.
    pub clause: String,
    /// The modules of the OpenID conformance suite that look at the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub suite: Vec<String>,
    /// The plans that it belongs to, of those that were run.
    pub plans: Vec<String>,
    /// What it means if the rule is not kept.
    pub severity: Severity,
    /// What was found.
    pub verdict: Verdict,
    /// Why it was skipped, or why nothing can be said; for other verdicts what decided, if one sentence can say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What was done, in order.
    pub steps: Vec<Step>,
}

/// One call, or one look at what was received before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What is sent: `a proof for PUT`.
    pub title: String,
    /// Whether it shows that the target answers a good call, or what the module is about.
    pub role: Role,
    /// The request as a command line for curl, with names of variables instead of secrets; `None` where curl cannot send it, or nothing
    /// is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curl: Option<String>,
    /// What was expected.
    pub expected: String,
    /// What came.
    pub observed: String,
    /// Whether that is as expected.
    pub verdict: Verdict,
    /// The lines of the transcript that have the exchanges, counted from 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exchanges: Vec<u64>,
}

/// Why a step is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It shows that the target answers a good call that differs in one thing.
    Control,
    /// It is what the module is about.
    Check,
}

/// What it means if a rule is not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The target does not conform.
    Failure,
    /// A recommendation, or a rule that the standards leave to the resource server.
    Warning,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The rule is kept.
    Pass,
    /// It was not looked at; the reason says why.
    Skipped,
    /// Nothing can be said: the control did not succeed, or no answer came.
    Inconclusive,
    /// A recommendation is not followed.
    Warning,
    /// The rule is not kept.
    Fail,
}

impl Verdict {
    /// Every verdict, the best first.
    pub const ALL: [Self; 5] = [Self::Pass, Self::Skipped, Self::Inconclusive, Self::Warning, Self::Fail];

    /// As it stands in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Skipped => "skipped",
            Self::Inconclusive => "inconclusive",
            Self::Warning => "warning",
            Self::Fail => "fail",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl Report {
    /// What a reader has to know before anything else: that nothing was sent, or that modules were left out.
    pub fn caveat(&self) -> Option<String> {
        let (run, all) = (self.modules.len(), self.modules_of_plans);
        match (self.dry_run, run < all) {
            (true, _) => Some("a dry run: nothing was sent".to_owned()),
            (false, true) => Some(format!("partial: {run} of the {all} modules of the plans")),
            (false, false) => None,
        }
    }

    /// How many modules ended with this verdict.
    pub fn count(&self, verdict: Verdict) -> usize {
        self.modules.iter().filter(|module| module.verdict == verdict).count()
    }
}
