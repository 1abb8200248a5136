//! What changed between two runs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Serialize;

use super::visible::visible_line;
use super::{Module, Report, Verdict};

/// What changed from one report to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// The targets, if they are not the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets: Option<Differing<String>>,
    /// The plans, if they are not the same in any order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plans: Option<Differing<Vec<String>>>,
    /// The modules that fail or warn and did not, or not as much, and those of which nothing can be said any more.
    pub worse: Vec<Change>,
    /// The modules that pass and did not, and those that failed and only warn.
    pub better: Vec<Change>,
    /// The modules whose verdict is another one, of which neither can be said: those that are skipped now, for example.
    pub changed: Vec<Change>,
    /// The modules that only the later report has.
    pub new: Vec<Found>,
    /// The modules that only the earlier report has.
    pub gone: Vec<Found>,
    /// How many modules have the verdict that they had.
    pub unchanged: usize,
}

/// Something that is not the same in both reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Differing<T> {
    /// As the earlier report has it.
    pub before: T,
    /// As the later one has it.
    pub after: T,
}

/// A module with another verdict than before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Its name.
    pub name: String,
    /// What it shows.
    pub purpose: String,
    /// What was found before.
    pub before: Verdict,
    /// What was found after.
    pub after: Verdict,
    /// What the later report says about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A module that only one report has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Its name.
    pub name: String,
    /// What it shows.
    pub purpose: String,
    /// What was found.
    pub verdict: Verdict,
}

/// Compares two reports, module by module of the same name.
pub fn compare(before: &Report, after: &Report) -> Comparison {
    let old: BTreeMap<&str, &Module> = before.modules.iter().map(|module| (&*module.name, module)).collect();
    let names: BTreeSet<&str> = after.modules.iter().map(|module| &*module.name).collect();
    let gone = before.modules.iter().filter(|module| !names.contains(&*module.name));
    let mut comparison = Comparison {
        targets: differing(&before.target, &after.target),
        plans: differing(&before.plans, &after.plans).filter(|plans| sorted(&plans.before) != sorted(&plans.after)),
        worse: Vec::new(),
        better: Vec::new(),
        changed: Vec::new(),
        new: Vec::new(),
        gone: gone.map(found).collect(),
        unchanged: 0,
    };
    for module in &after.modules {
        let Some(known) = old.get(&*module.name) else {
            comparison.new.push(found(module));
            continue;
        };
        let list = match direction(known.verdict, module.verdict) {
            Direction::Same => {
                comparison.unchanged = comparison.unchanged.saturating_add(1);
                continue;
            }
            Direction::Worse => &mut comparison.worse,
            Direction::Better => &mut comparison.better,
            Direction::Other => &mut comparison.changed,
        };
        list.push(Change {
            name: module.name.clone(),
            purpose: module.purpose.clone(),
            before: known.verdict,
            after: module.verdict,
            reason: module.reason.clone(),
        });
    }
    comparison
}

impl Comparison {
    /// Whether the verdict of a module got worse, or one that passed is gone. A module that is new does not count, since nothing says how
    /// it was before.
    pub fn is_worse(&self) -> bool {
        !self.worse.is_empty() || self.gone.iter().any(|module| module.verdict == Verdict::Pass)
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Differing { before, after }) = &self.targets {
            writeln!(f, "the targets differ: {} before, {} after", visible_line(before), visible_line(after))?;
        }
        if let Some(Differing { before, after }) = &self.plans {
            let (before, after) = (before.join(", "), after.join(", "));
            writeln!(f, "the plans differ: {} before, {} after", visible_line(&before), visible_line(&after))?;
        }
        for (heading, changes) in [("worse", &self.worse), ("better", &self.better), ("changed", &self.changed)] {
            if !changes.is_empty() {
                writeln!(f, "{heading}:")?;
            }
            for Change { name, purpose, before, after, reason } in changes {
                writeln!(f, "  {before} -> {after}  {}  {}", visible_line(name), visible_line(purpose))?;
                if let Some(reason) = reason {
                    writeln!(f, "    {}", visible_line(reason))?;
                }
            }
        }
        for (heading, modules) in [("new", &self.new), ("gone", &self.gone)] {
            if !modules.is_empty() {
                writeln!(f, "{heading}:")?;
            }
            for Found { name, purpose, verdict } in modules {
                writeln!(f, "  {verdict}  {}  {}", visible_line(name), visible_line(purpose))?;
            }
        }
        writeln!(f, "{} unchanged", self.unchanged)
    }
}

/// What another verdict means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Same,
    Worse,
    Better,
    Other,
}

/// Which way a verdict went.
///
/// That a module fails or warns is worse, unless it did before. That nothing can be said of a rule that was kept is worse too: a
/// target that answers nothing would be as good as before otherwise. A module that is skipped says nothing about the target.
const fn direction(before: Verdict, after: Verdict) -> Direction {
    use Verdict::{Fail, Inconclusive, Pass, Skipped, Warning};
    match (before, after) {
        (Pass, Pass) | (Skipped, Skipped) | (Inconclusive, Inconclusive) | (Warning, Warning) | (Fail, Fail) => {
            Direction::Same
        }
        (Pass | Skipped | Inconclusive | Warning, Fail)
        | (Pass | Skipped | Inconclusive, Warning)
        | (Pass, Skipped | Inconclusive) => Direction::Worse,
        (Skipped | Inconclusive | Warning | Fail, Pass) | (Fail, Warning) => Direction::Better,
        (Inconclusive | Warning | Fail, Skipped) | (Skipped | Warning | Fail, Inconclusive) => Direction::Other,
    }
}

fn found(module: &Module) -> Found {
    Found { name: module.name.clone(), purpose: module.purpose.clone(), verdict: module.verdict }
}

fn differing<T: Clone + PartialEq>(before: &T, after: &T) -> Option<Differing<T>> {
    (before != after).then(|| Differing { before: before.clone(), after: after.clone() })
}

fn sorted(plans: &[String]) -> BTreeSet<&str> {
    plans.iter().map(String::as_str).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::testing::{hostile, module, one_of_each, report};

    fn from_to(before: Verdict, after: Verdict) -> Comparison {
        let of = |verdict| report(vec![module("dpop-htm-other", verdict)]);
        compare(&of(before), &of(after))
    }

    #[test]
    fn a_report_is_as_it_was() {
        let comparison = compare(&one_of_each(), &one_of_each());
        assert!(!comparison.is_worse());
        assert_eq!((comparison.unchanged, comparison.to_string().as_str()), (5, "5 unchanged\n"));
    }

    #[test]
    fn every_pair_of_verdicts_has_a_direction() {
        use Direction::{Better, Other, Same, Worse};
        let expected = [
            // to pass, skipped, inconclusive, warning, fail
            (Verdict::Pass, [Same, Worse, Worse, Worse, Worse]),
            (Verdict::Skipped, [Better, Same, Other, Worse, Worse]),
            (Verdict::Inconclusive, [Better, Other, Same, Worse, Worse]),
            (Verdict::Warning, [Better, Other, Other, Same, Worse]),
            (Verdict::Fail, [Better, Other, Other, Better, Same]),
        ];
        for (before, directions) in expected {
            for (after, expected) in Verdict::ALL.into_iter().zip(directions) {
                assert_eq!(direction(before, after), expected, "{before} -> {after}");
                let comparison = from_to(before, after);
                let counts = [comparison.unchanged, comparison.worse.len(), comparison.better.len()];
                let counts = [&counts[..], &[comparison.changed.len()]].concat();
                assert_eq!(
                    counts,
                    [Same, Worse, Better, Other].map(|one| usize::from(one == expected)),
                    "{before} -> {after}"
                );
                assert_eq!(comparison.is_worse(), expected == Worse, "{before} -> {after}");
            }
        }
    }

    #[test]
    fn modules_that_one_report_has_are_new_or_gone() {
        let both = || module("both", Verdict::Pass);
        let (before, after) = (report(vec![both()]), report(vec![both(), module("only", Verdict::Fail)]));
        let comparison = compare(&before, &before);
        assert!(comparison.new.is_empty() && comparison.gone.is_empty(), "control");
        let comparison = compare(&before, &after);
        assert_eq!((comparison.new.len(), comparison.gone.len(), comparison.unchanged), (1, 0, 1));
        assert!(!comparison.is_worse(), "nothing says how it was before");
        let comparison = compare(&after, &before);
        assert_eq!((comparison.new.len(), comparison.gone.len(), comparison.unchanged), (0, 1, 1));
        assert_eq!(comparison.to_string(), "gone:\n  fail  only  a proof for another method is refused\n1 unchanged\n");
    }

    #[test]
    fn other_targets_and_plans_are_said() {
        let before = one_of_each();
        let mut after = before.clone();
        after.plans.push("fapi2-rs-mtls".into());
        let mut in_other_order = after.clone();
        in_other_order.plans.reverse();
        assert_eq!(compare(&after, &in_other_order).plans, None, "control");
        after.target = "https://other.example/accounts".into();
        let text = compare(&before, &after).to_string();
        let expected = "the targets differ: https://bank.example/accounts before, https://other.example/accounts after
the plans differ: fapi2-rs-dpop before, fapi2-rs-dpop, fapi2-rs-mtls after
5 unchanged
";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_changed_is_written_with_its_reason() {
        let before = report(vec![module("dpop-htm-other", Verdict::Pass)]);
        let mut after = report(vec![module("dpop-htm-other", Verdict::Fail)]);
        after.modules[0].reason = Some("it answers 200".into());
        let comparison = compare(&before, &after);
        let line = "  pass -> fail  dpop-htm-other  a proof for another method is refused";
        assert_eq!(comparison.to_string(), format!("worse:\n{line}\n    it answers 200\n0 unchanged\n"));
        let expected = json!({
            "worse": [{
                "name": "dpop-htm-other",
                "purpose": "a proof for another method is refused",
                "before": "pass",
                "after": "fail",
                "reason": "it answers 200",
            }],
            "better": [],
            "changed": [],
            "new": [],
            "gone": [],
            "unchanged": 0,
        });
        assert_eq!(serde_json::to_value(&comparison).unwrap(), expected);
    }

    #[test]
    fn hostile_text_does_not_steer_the_terminal() {
        let text = compare(&one_of_each(), &hostile()).to_string();
        assert!(text.contains(r"\u{1b}[2J"), "control");
        assert!(!text.contains(|character: char| character.is_control() && character != '\n'), "{text:?}");
    }
}
