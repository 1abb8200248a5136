//! The table of docs/probe.md with every module.

use probe::modules::all;
use probe::plan::Plan;
use probe::report::Severity;

use super::table::{MODULES, Rows, rows, write, writes};

#[test]
fn the_page_has_every_module() {
    let row = |module: &probe::module::Module| {
        let plans = Plan::all().filter(|plan| module.plans.contain(*plan)).map(|plan| plan.name().to_owned());
        let severity = if module.severity == Severity::Warning { "; a recommendation" } else { "" };
        (module.name.to_owned(), (format!("{} ({}{severity})", module.purpose, module.clause), plans.collect()))
    };
    let modules = all();
    let made: Rows = modules.iter().map(row).collect();
    assert_eq!(made.len(), modules.len(), "two modules have one name");
    if writes() {
        write(MODULES, &made);
    }
    assert_eq!(rows(MODULES), made);
}
