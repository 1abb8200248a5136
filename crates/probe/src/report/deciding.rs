//! Which steps of a module made its verdict.

use super::{Module, Step, Verdict};

/// The steps that have the verdict of the module, which neither passed nor was skipped; if there are none, as where a failed check
/// is only a warning, those that did not pass.
pub(super) fn deciding_steps(module: &Module) -> Vec<&Step> {
    if matches!(module.verdict, Verdict::Pass | Verdict::Skipped) {
        return Vec::new();
    }
    let same: Vec<&Step> = module.steps.iter().filter(|step| step.verdict == module.verdict).collect();
    if !same.is_empty() {
        return same;
    }
    module.steps.iter().filter(|step| !matches!(step.verdict, Verdict::Pass | Verdict::Skipped)).collect()
}

/// What decided, in one sentence for each: the reason, and what was expected and came in the steps that decided.
pub(super) fn sentences(module: &Module) -> Vec<String> {
    let of_step = |step: &Step| format!("{}: expected {}; observed {}", step.title, step.expected, step.observed);
    module.reason.iter().cloned().chain(deciding_steps(module).into_iter().map(of_step)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{module, step};

    fn titles(verdict: Verdict, steps: &[(&str, Verdict)]) -> Vec<String> {
        let mut module = module("dpop-htm-other", verdict);
        module.steps = steps.iter().map(|(title, verdict)| step(title, *verdict)).collect();
        deciding_steps(&module).into_iter().map(|step| step.title.clone()).collect()
    }

    #[test]
    fn the_steps_of_the_same_verdict_decided() {
        let steps = [("a", Verdict::Pass), ("b", Verdict::Inconclusive), ("c", Verdict::Fail), ("d", Verdict::Fail)];
        assert_eq!(titles(Verdict::Fail, &steps), ["c", "d"]);
        assert_eq!(titles(Verdict::Inconclusive, &steps), ["b"]);
        assert_eq!(titles(Verdict::Warning, &steps), ["b", "c", "d"], "none has it");
    }

    #[test]
    fn where_nothing_is_wrong_no_step_is_named() {
        let steps = [("a", Verdict::Pass), ("b", Verdict::Fail)];
        assert_eq!(titles(Verdict::Fail, &steps), ["b"]); // control
        assert!(titles(Verdict::Pass, &steps).is_empty());
        assert!(titles(Verdict::Skipped, &steps).is_empty());
    }

    #[test]
    fn the_reason_comes_before_the_steps() {
        let mut module = module("dpop-htm-other", Verdict::Fail);
        module.steps = vec![step("a proof for PUT", Verdict::Fail)];
        assert_eq!(sentences(&module), ["a proof for PUT: expected 401; observed 200"]); // control
        module.reason = Some("it was let through".into());
        assert_eq!(sentences(&module), ["it was let through", "a proof for PUT: expected 401; observed 200"]);
    }
}
