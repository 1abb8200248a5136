//! What a run says on a terminal: a line for each module as it ends, and a summary at the end.

use std::fmt::Write;

use super::deciding::deciding_steps;
use super::visible::{visible, visible_line};
use super::{Module, Report, Step, Verdict};

/// The line for a module that has ended, the `number`th of `total`, with a line break at its end.
///
/// Where it failed, warns or is inconclusive, lines follow with the reason and with the steps that decided. `colour` is whether the
/// terminal shows colours.
pub fn module_lines(number: usize, total: usize, module: &Module, colour: bool) -> String {
    let width = total.to_string().len();
    let verdict = painted(&format!("{:<WIDEST$}", module.verdict), module.verdict, colour);
    let (name, purpose) = (visible_line(&module.name), visible_line(&module.purpose));
    let mut lines = format!("[{number:>width$}/{total}] {verdict}  {name}  {purpose}\n");
    if !speaks_for_itself(module.verdict) {
        lines.push_str(&indented(4, "", &module.clause));
        if let Some(reason) = &module.reason {
            lines.push_str(&indented(4, "", reason));
        }
        for step in deciding_steps(module) {
            lines.push_str(&step_lines(step));
        }
    }
    lines
}

/// The summary of a run: how many modules ended with each verdict, then which of them failed, warn and are inconclusive, and why
/// others were skipped.
pub fn summary(report: &Report, colour: bool) -> String {
    let mut text = String::new();
    let plans = visible_line(&report.plans.join(", ")).into_owned();
    let (target, requests) = (visible_line(&report.target), report.requests);
    // Writing to a string does not fail.
    let _ = writeln!(text, "{target}: {} modules of {plans}, {requests} requests", report.modules.len());
    if let Some(caveat) = report.caveat() {
        let _ = writeln!(text, "  {}", painted(&caveat, Verdict::Warning, colour));
    }
    for verdict in Verdict::ALL {
        let count = report.count(verdict);
        let line = format!("{verdict:<WIDEST$} {count:>5}");
        let line = if count == 0 { line } else { painted(&line, verdict, colour) };
        let _ = writeln!(text, "  {line}");
    }
    for (heading, verdict) in
        [("failed", Verdict::Fail), ("warnings", Verdict::Warning), ("inconclusive", Verdict::Inconclusive)]
    {
        let modules = report.modules.iter().filter(|module| module.verdict == verdict);
        let lines: String = modules.map(summary_line).collect();
        if !lines.is_empty() {
            let _ = write!(text, "\n{}\n{lines}", painted(&format!("{heading}:"), verdict, colour));
        }
    }
    let reasons = skipped_by_reason(report);
    if !reasons.is_empty() {
        let _ = writeln!(text, "\n{}", painted("skipped:", Verdict::Skipped, colour));
    }
    for (reason, count) in reasons {
        let _ = writeln!(text, "  {count:>5}  {}", visible_line(reason));
    }
    text
}

/// The width of the longest verdict.
const WIDEST: usize = "inconclusive".len();

/// Whether a verdict needs no more than the line of its module.
const fn speaks_for_itself(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Pass | Verdict::Skipped)
}

fn summary_line(module: &Module) -> String {
    let (name, purpose, clause) =
        (visible_line(&module.name), visible_line(&module.purpose), visible_line(&module.clause));
    let line = format!("  {name}  {purpose} ({clause})\n");
    match &module.reason {
        Some(reason) => line + &indented(4, "", reason),
        None => line,
    }
}

/// Why modules were skipped, and how many for each reason, the most frequent first.
fn skipped_by_reason(report: &Report) -> Vec<(&str, usize)> {
    let mut reasons: Vec<(&str, usize)> = Vec::new();
    for module in report.modules.iter().filter(|module| module.verdict == Verdict::Skipped) {
        let reason = module.reason.as_deref().unwrap_or("no reason is given");
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => reasons.push((reason, 1)),
        }
    }
    // The sort is stable, so that reasons of equal counts stay in the order of the plan.
    reasons.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    reasons
}

fn step_lines(step: &Step) -> String {
    let mut lines = indented(4, "- ", &step.title);
    lines.push_str(&indented(6, "expected  ", &step.expected));
    lines.push_str(&indented(6, "observed  ", &step.observed));
    if let Some(curl) = &step.curl {
        lines.push_str(&indented(6, "curl      ", curl));
    }
    lines
}

/// The lines of a text, so far from the left; those after the first stand below what follows the label.
fn indented(indent: usize, label: &str, text: &str) -> String {
    let mut lines = String::new();
    let below = indent.saturating_add(label.len());
    for (place, line) in visible(text).lines().enumerate() {
        let _ = match place {
            0 => writeln!(lines, "{:indent$}{label}{line}", ""),
            _ => writeln!(lines, "{:below$}{line}", ""),
        };
    }
    lines
}

/// The text in the colour of a verdict, if there are colours.
fn painted(text: &str, verdict: Verdict, colour: bool) -> String {
    // ECMA-48 §8.3.117 (SGR), of which every terminal with colours has these.
    let code = match verdict {
        Verdict::Pass => "32",
        Verdict::Skipped => "2",
        Verdict::Inconclusive => "35",
        Verdict::Warning => "33",
        Verdict::Fail => "1;31",
    };
    if colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{hostile, module, one_of_each, report, step};

    #[test]
    fn a_module_that_passes_has_one_line_and_one_that_fails_says_why() {
        let mut module = module("dpop-htm-other", Verdict::Pass);
        module.steps = vec![step("the good call", Verdict::Pass), step("a proof for PUT", Verdict::Pass)];
        let line = "[ 12/140] pass          dpop-htm-other  a proof for another method is refused\n";
        assert_eq!(module_lines(12, 140, &module, false), line); // control
        module.verdict = Verdict::Fail;
        module.reason = Some("two lines\nof a reason".into());
        module.steps[1].verdict = Verdict::Fail;
        module.steps[1].curl = Some("curl -i \\\n  https://bank.example/accounts".into());
        let expected = "[ 12/140] fail          dpop-htm-other  a proof for another method is refused
    RFC 9449 §4.3 (8)
    two lines
    of a reason
    - a proof for PUT
      expected  401
      observed  200
      curl      curl -i \\
                  https://bank.example/accounts
";
        assert_eq!(module_lines(12, 140, &module, false), expected);
    }

    #[test]
    fn every_verdict_that_needs_a_reason_has_it_below_its_line() {
        for (module, lines) in one_of_each().modules.iter().zip([1, 1, 7, 7, 7]) {
            let text = module_lines(1, 5, module, false);
            assert_eq!(text.lines().count(), lines, "{text}");
            assert_eq!(text.contains("the reason for"), lines > 1, "{text}");
        }
    }

    #[test]
    fn colours_are_shown_only_if_asked_for() {
        let report = one_of_each();
        for module in &report.modules {
            let (plain, coloured) = (module_lines(1, 5, module, false), module_lines(1, 5, module, true));
            assert!(!plain.contains('\x1b') && coloured.contains('\x1b'), "{plain} {coloured}");
        }
        assert!(summary(&report, true).contains("\x1b[1;31mfail"));
        assert!(!summary(&report, false).contains('\x1b'));
    }

    #[test]
    fn the_summary_counts_and_lists_what_did_not_pass() {
        let mut all = one_of_each();
        for (name, reason) in [("a", "no second client"), ("b", "no second client"), ("c", "no certificate")] {
            let mut skipped = module(name, Verdict::Skipped);
            skipped.reason = Some(reason.into());
            all.modules.push(skipped);
        }
        let expected = "https://bank.example/accounts: 8 modules of fapi2-rs-dpop, 12 requests
  pass             1
  skipped          4
  inconclusive     1
  warning          1
  fail             1

failed:
  dpop-fail  a proof for another method is refused (RFC 9449 §4.3 (8))
    the reason for fail

warnings:
  dpop-warning  a proof for another method is refused (RFC 9449 §4.3 (8))
    the reason for warning

inconclusive:
  dpop-inconclusive  a proof for another method is refused (RFC 9449 §4.3 (8))
    the reason for inconclusive

skipped:
      2  no second client
      1  the reason for skipped
      1  no certificate
";
        assert_eq!(summary(&all, false), expected);
        let good = summary(&report(vec![module("dpop-htm-other", Verdict::Pass)]), false);
        assert!(good.ends_with("  fail             0\n"), "control: {good}");
    }

    #[test]
    fn what_the_target_sent_does_not_steer_the_terminal() {
        let report = hostile();
        let mut texts: Vec<String> = report.modules.iter().map(|module| module_lines(1, 5, module, false)).collect();
        texts.push(summary(&report, false));
        for text in texts {
            assert!(text.contains(r"\u{1b}[2J\u{0}\u{fffe}"), "control: {text}");
            assert!(!text.contains(|character: char| character.is_control() && character != '\n'), "{text:?}");
        }
    }
}
