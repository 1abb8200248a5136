//! Runs plans, module by module, and makes the report.

use std::io::Write;

use crate::clock::timestamp;
use crate::module::Module;
use crate::modules;
use crate::plan::Plan;
use crate::report::{FORMAT, Module as ModuleReport, Report, Role, Step, Verdict};
use crate::session::{Session, Stop};
use crate::settings::Settings;
use crate::transcript::Transcript;
use crate::wire::Wire;

/// The modules of some plans, in order, each once.
pub fn modules_of(plans: &[Plan]) -> Vec<Module> {
    let all = modules::all();
    all.into_iter().filter(|module| plans.iter().any(|plan| module.plans.contain(*plan))).collect()
}

/// What is told of a run while it goes on.
pub trait Watch {
    /// A module begins, the `number`th of `of`.
    fn begins(&mut self, number: usize, of: usize, module: &Module);
    /// It ended.
    fn ended(&mut self, number: usize, of: usize, module: &ModuleReport);
}

/// Runs the plans of the settings, or only some modules of them, and reports.
///
/// `configuration_sha256` is the hash of the file that the settings were read from, for the report.
pub fn run<'s>(
    settings: &'s Settings,
    only: &[String],
    configuration_sha256: &str,
    transcript: Option<&'s mut dyn Write>,
    watch: &mut dyn Watch,
) -> Report {
    let started = timestamp();
    let mut modules = modules_of(&settings.plans);
    let modules_of_plans = modules.len();
    if !only.is_empty() {
        modules.retain(|module| only.iter().any(|name| name == module.name));
    }
    let mut session = Session::new(Wire::new(settings, Transcript::new(transcript)), &settings.plans);
    let mut reports = Vec::new();
    // Whoever is not there would be called for every module.
    let mut ended = session.wire().reach().err();
    for (number, module) in (1..).zip(&modules) {
        watch.begins(number, modules.len(), module);
        let report = match &ended {
            None => one(&mut session, module, &settings.plans, &mut ended),
            Some(why) => report_of(module, &settings.plans, Verdict::Inconclusive, Some(why.clone()), Vec::new()),
        };
        watch.ended(number, modules.len(), &report);
        reports.push(report);
    }
    let transcript = session.wire().transcript();
    Report {
        format: FORMAT.to_owned(),
        program: format!("fapi-gateway {}", env!("CARGO_PKG_VERSION")),
        target: format!("{}{}", settings.target.origin(), settings.target.path_and_query()),
        plans: settings.plans.iter().map(ToString::to_string).collect(),
        started,
        finished: timestamp(),
        configuration_sha256: configuration_sha256.to_owned(),
        transcript_sha256: transcript.sha256(),
        requests: transcript.lines(),
        dry_run: settings.dry,
        writes: settings.writes,
        claims: settings.claims.told(),
        modules_of_plans,
        modules: reports,
    }
}

fn one(session: &mut Session<'_>, module: &Module, plans: &[Plan], ended: &mut Option<String>) -> ModuleReport {
    session.begin(module.name, module.severity);
    let stopped = (module.run)(session);
    let steps = session.take_steps();
    let checks = steps.iter().filter(|step| step.role == Role::Check).map(|step| step.verdict).max();
    let (verdict, reason) = match stopped {
        // What was found before stands.
        Err(Stop::Skip(reason) | Stop::Inconclusive(reason))
            if checks.is_some_and(|worst| worst >= Verdict::Warning) =>
        {
            (checks.unwrap_or(Verdict::Inconclusive), Some(reason))
        }
        Err(Stop::Skip(reason)) => (Verdict::Skipped, Some(reason)),
        Err(Stop::Inconclusive(reason)) => (Verdict::Inconclusive, Some(reason)),
        Err(Stop::Ended(why)) => {
            let why = why.to_string();
            *ended = Some(why.clone());
            (Verdict::Inconclusive, Some(why))
        }
        // A module that looked at nothing found nothing.
        Ok(()) => match checks {
            None => (Verdict::Inconclusive, Some("it made no check".to_owned())),
            Some(Verdict::Inconclusive) => (Verdict::Inconclusive, told(&steps, Verdict::Inconclusive)),
            Some(verdict) => (verdict, None),
        },
    };
    let reason = reason.map(|reason| session.wire().hide(&reason));
    if session.settings().dry {
        let reason = reason.filter(|_| verdict == Verdict::Skipped).or_else(|| Some("nothing was sent".to_owned()));
        return report_of(module, plans, Verdict::Skipped, reason, steps);
    }
    report_of(module, plans, verdict, reason, steps)
}

/// What the first step with this verdict says.
fn told(steps: &[Step], verdict: Verdict) -> Option<String> {
    let step = steps.iter().find(|step| step.verdict == verdict)?;
    Some(format!("{}: {}", step.title, step.observed))
}

fn report_of(
    module: &Module,
    plans: &[Plan],
    verdict: Verdict,
    reason: Option<String>,
    steps: Vec<Step>,
) -> ModuleReport {
    ModuleReport {
        name: module.name.to_owned(),
        purpose: module.purpose.to_owned(),
        clause: module.clause.to_owned(),
        suite: module.suite.iter().map(ToString::to_string).collect(),
        plans: plans.iter().filter(|plan| module.plans.contain(**plan)).map(ToString::to_string).collect(),
        severity: module.severity,
        verdict,
        reason,
        steps,
    }
}
