//! Reports for the tests of what shows them.

use super::{FORMAT, Module, Report, Role, Severity, Step, Verdict};

/// Text that ends whatever it is put into, if it is not escaped.
pub(super) const HOSTILE: &str = "<script>alert('1')</script> \"quoted\" & ]]> <!-- \u{1b}[2J\u{0}\u{fffe} -->";

/// A step that expects 401 and gets 200.
pub(super) fn step(title: &str, verdict: Verdict) -> Step {
    Step {
        title: title.into(),
        role: Role::Check,
        curl: Some("curl -i -H \"DPoP: $PROOF\" https://bank.example/accounts".into()),
        expected: "401".into(),
        observed: "200".into(),
        verdict,
        exchanges: vec![2],
    }
}

/// A module of RFC 9449 §4.3 (8) without steps.
pub(super) fn module(name: &str, verdict: Verdict) -> Module {
    Module {
        name: name.into(),
        purpose: "a proof for another method is refused".into(),
        clause: "RFC 9449 §4.3 (8)".into(),
        suite: vec!["fapi2-security-profile-final".into()],
        plans: vec!["fapi2-rs-dpop".into()],
        severity: Severity::Failure,
        verdict,
        reason: None,
        steps: Vec::new(),
    }
}

/// A report of a run that took a minute and a half.
pub(super) fn report(modules: Vec<Module>) -> Report {
    Report {
        format: FORMAT.into(),
        program: "fapi-gateway 0.1.0".into(),
        target: "https://bank.example/accounts".into(),
        plans: vec!["fapi2-rs-dpop".into()],
        started: "2026-03-01T12:00:00Z".into(),
        finished: "2026-03-01T12:01:30Z".into(),
        configuration_sha256: "11".repeat(32),
        transcript_sha256: "22".repeat(32),
        requests: 12,
        dry_run: false,
        writes: false,
        claims: vec!["dpop".to_owned()],
        modules_of_plans: modules.len(),
        modules,
    }
}

/// A report with a module of every verdict, each with a step; those that did not pass have a reason.
pub(super) fn one_of_each() -> Report {
    let modules = Verdict::ALL.map(|verdict| {
        let mut module = module(&format!("dpop-{verdict}"), verdict);
        module.steps.push(step("a proof for PUT", verdict));
        module.reason = (verdict != Verdict::Pass).then(|| format!("the reason for {verdict}"));
        module
    });
    report(modules.into())
}

/// A report with a module of every verdict, in which every text that comes from elsewhere is hostile.
pub(super) fn hostile() -> Report {
    let mut report = one_of_each();
    report.target = format!("https://bank.example/{HOSTILE}");
    report.program = HOSTILE.into();
    report.plans = vec![HOSTILE.into()];
    for module in &mut report.modules {
        module.name = format!("{}{HOSTILE}", module.verdict);
        module.purpose = HOSTILE.into();
        module.clause = HOSTILE.into();
        module.suite = vec![HOSTILE.into()];
        module.plans = vec![HOSTILE.into()];
        module.reason = module.reason.take().map(|_| HOSTILE.into());
        for step in &mut module.steps {
            step.title = HOSTILE.into();
            step.curl = Some(HOSTILE.into());
            step.expected = HOSTILE.into();
            step.observed = HOSTILE.into();
        }
    }
    report
}
