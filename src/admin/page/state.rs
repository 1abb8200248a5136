//! Whether the gateway is ready, how far its guarantees reach, and what of the files and names it reads could not be read.

use std::time::Duration;

use maud::{Markup, html};

use super::{Cut, badge, section, table};
use crate::admin::Admin;
use crate::admin::status::state;
use crate::clock::rfc3339;
use crate::generation::Generation;
use crate::resource::{Id, Report};

impl Admin {
    /// The state of the whole, in which what fails comes first.
    pub(super) fn state_section(&self, generation: &Generation, resources: &mut [(Id, Report)]) -> Markup {
        let reasons = self.reasons();
        resources.sort_by_key(|(_, report)| report.succeeded == Some(true));
        let failing = resources.iter().filter(|(_, report)| report.succeeded != Some(true)).count();
        let lasts = Duration::from_secs(self.metrics.history.lasts().as_secs());
        let stuck = self.heartbeats.stuck();
        let content = html! {
            p {
                (badge(if reasons.is_empty() { "ready" } else { "not ready" }))
                " Running for " (humantime::format_duration(lasts)) ". "
                @if let Some(stuck) = &stuck { strong { (stuck) } }
            }
            @if !reasons.is_empty() { ul { @for reason in &reasons { li { (reason.to_string()) } } } }
            (self.guarantees(generation))
            @if self.audit.lost() > 0 { p { strong { (self.audit.lost()) " lines of the audit were lost." } } }
            details open[failing > 0] {
                summary { (resources.len()) " files, issuers, names and stores are read; " (failing) " of them could not be, or not yet" }
                (table(
                    "What is read again and again",
                    &["Name", "Kind", "State", "Last read", "Last failure"],
                    &Cut::of(&*resources).map(resource_row),
                ))
            }
        };
        section("state", &content)
    }

    fn guarantees(&self, generation: &Generation) -> Markup {
        let says = |name: &str| {
            let beginning = format!("guarantee {name}: ");
            generation.overview.summary.iter().find_map(|line| line.strip_prefix(&beginning)).unwrap_or_default()
        };
        let guarantees = generation.guarantees(self.clock.unix_time());
        let rows = Cut::of(&guarantees).map(|guarantee| {
            let level = guarantee.level.as_str();
            vec![html! { (guarantee.name) }, badge(level), html! { (says(guarantee.name)) }]
        });
        table("Guarantees: how far what is remembered reaches", &["Guarantee", "Level", "As configured"], &rows)
    }
}

fn resource_row(((kind, name), report): &(Id, Report)) -> Vec<Markup> {
    vec![
        html! { (name) },
        html! { (kind.as_str()) },
        badge(state(report)),
        html! { (report.last_success.map(rfc3339).unwrap_or_default()) },
        html! { @if let Some(failure) = &report.last_error { (rfc3339(failure.at)) " " (failure.why) } },
    ]
}
