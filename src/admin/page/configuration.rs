//! What is configured, in the words of `fapi-gateway check`, with how it does: listeners and certificates, routes, issuers,
//! upstreams and stores, waivers and shadows.

use std::time::Duration;

use fapi::UnixTime;
use fapi::policy::Policy;
use maud::{Markup, html};

use super::asked::{Asked, ROUTES};
use super::{Cut, badge, section, table};
use crate::admin::Admin;
use crate::admin::status::state;
use crate::certificate::{Holder, NAMES, Severity};
use crate::clock::rfc3339_second;
use crate::config::{CertificateFile, Overview};
use crate::generation::Generation;
use crate::resource::{Id, Kind, Report};

impl Admin {
    /// Every part of the page that is about the configuration.
    pub(super) fn configuration_sections(
        &self,
        generation: &Generation,
        resources: &[(Id, Report)],
        asked: &Asked<'_>,
    ) -> Markup {
        html! {
            (section("listeners", &self.listeners(generation)))
            (section("routes", &routes(generation, asked)))
            (section("issuers", &issuers(generation, resources)))
            (section("upstreams", &upstreams(generation, resources)))
            (section("waivers", &self.waivers(generation)))
        }
    }

    fn listeners(&self, generation: &Generation) -> Markup {
        let overview = &generation.overview;
        let now = self.clock.unix_time();
        let listeners = Cut::of(lines(overview, "listener"));
        let certificates = Cut::of(&overview.certificate_files).map(|file| certificate_row(file, now));
        let lists = Cut::of(&overview.revocation_lists).map(|(file, next_update)| {
            vec![html! { (file) }, html! { (shown(*next_update)) @if *next_update <= now { " " (badge("expired")) } }]
        });
        html! {
            (table("Addresses and what they serve", &["Address", "Settings"], &listeners.map(line_row)))
            (table("Certificates", &["File", "Used as", "Subject, names, end", "State"], &certificates))
            (table("Revocation lists", &["File", "Next update"], &lists))
        }
    }

    fn waivers(&self, generation: &Generation) -> Markup {
        let now = self.clock.unix_time();
        let waivers = Cut::of(&generation.overview.waivers).map(|waiver| {
            vec![
                html! { code { (waiver.rule.id) } },
                html! { (waiver.of.as_str()) " " (waiver.name) },
                html! { (badge(waiver.standing(now).as_str())) " until the end of " (waiver.until()) },
                html! { (waiver.reason) },
            ]
        });
        let in_shadow = generation.gateway.routes.iter();
        let in_shadow = in_shadow.filter_map(|route| Some((&route.name, route.policy().and_then(Policy::shadow)?)));
        let shadows = Cut::of(in_shadow).map(|(name, shadow)| {
            let standing = if now < shadow.end() { "shadow" } else { "over" };
            let clients = shadow.clients();
            vec![
                html! { (name) },
                html! { (badge(standing)) " until " (shown(shadow.end())) },
                html! { @if clients.is_empty() { "every client" } @else { (clients.join(", ")) } },
            ]
        });
        html! {
            (table("Waivers", &["Rule", "For", "Ends", "Reason"], &waivers))
            (table("Routes in shadow, which let pass what they would refuse", &["Route", "Ends", "For"], &shadows))
        }
    }
}

fn certificate_row(file: &CertificateFile, now: UnixTime) -> Vec<Markup> {
    let problems = file.problems(now);
    let holders = Cut::to(HOLDERS, file.holders());
    vec![
        html! { (file.name) },
        html! { code { (file.key()) } },
        html! {
            ul { @for holder in &holders.shown { li { (certificate(holder)) } } }
            (holders.note())
        },
        html! {
            @if problems.is_empty() { (badge("good")) }
            ul {
                @for problem in &problems {
                    li { (badge(if problem.severity == Severity::Error { "error" } else { "warning" })) " " (problem.text) }
                }
            }
        },
    ]
}

fn certificate(holder: &Holder) -> Markup {
    let Holder { subject, names, not_after } = holder;
    html! {
        (subject)
        @if !names.is_empty() { "; for " (names.join(", ")) }
        @if names.len() == NAMES { " …" }
        "; until " (shown(*not_after))
    }
}

/// The routes that have a text in their name or requirements.
fn routes(generation: &Generation, asked: &Asked<'_>) -> Markup {
    let routes = lines(&generation.overview, "route");
    let wanted = routes.filter(|(name, says)| name.contains(&*asked.routes) || says.contains(&*asked.routes));
    html! {
        form method="get" action="/#routes" role="search" {
            label { "Name, path, scope, issuer … " input name=(ROUTES) value=(asked.routes) autocomplete="off" spellcheck="false"; }
            button { "Filter" }
            " " a href="/#routes" { "Show all" }
        }
        (table("Routes and what they require", &["Route", "Requests and requirements"], &Cut::of(wanted).map(line_row)))
        p.note { "All of it: " code { "fapi-gateway check" } ". What it means: " code { "docs/reference/gateway-yaml.md" } }
    }
}

fn issuers(generation: &Generation, resources: &[(Id, Report)]) -> Markup {
    let ages = generation.gateway.issuers.key_ages();
    let age = |name: &str| {
        let found = ages.iter().find(|(issuer, _)| **issuer == *name)?;
        Some(match found.1 {
            Some(seconds) => ago(Duration::from_secs_f64(seconds.max(0.0))),
            None => html! { "never read" },
        })
    };
    let kinds = [Kind::Keys, Kind::IntrospectionEndpoint, Kind::Introspection];
    let rows = Cut::of(lines(&generation.overview, "issuer")).map(|(name, says)| {
        let reads = html! { @for kind in kinds { (reading(resources, kind, name)) } };
        vec![html! { (name) }, html! { @if let Some(age) = age(name) { (age) } }, reads, parts(says)]
    });
    html! {
        (table("Keys, reads and settings of each issuer", &["Issuer", "Keys were read", "Reads", "Settings"], &rows))
        p { (generation.gateway.issuers.cache_entries()) " tokens are remembered." }
        (directories(generation, resources))
    }
}

/// The directories of participants, if there are any.
fn directories(generation: &Generation, resources: &[(Id, Report)]) -> Markup {
    let ages: Vec<_> = generation.directories.ages().collect();
    if ages.is_empty() {
        return Markup::default();
    }
    let rows = Cut::of(lines(&generation.overview, "directory")).map(|(name, says)| {
        let age = ages.iter().find(|(known, _)| ***known == *name).and_then(|(_, age)| *age);
        let age = age.map_or_else(|| html! { "never read" }, ago);
        vec![html! { (name) }, age, reading(resources, Kind::Directory, name), parts(says)]
    });
    table("Directories of participants", &["Directory", "Was read", "Reads", "Settings"], &rows)
}

fn upstreams(generation: &Generation, resources: &[(Id, Report)]) -> Markup {
    let upstreams = Cut::of(&generation.upstreams).map(|upstream| {
        let servers = Cut::to(SERVERS, upstream.servers());
        let servers = html! {
            ul { @for (address, state) in &servers.shown { li { (address.to_string()) " " (badge(state.as_str())) } } }
            (servers.note())
        };
        vec![html! { (upstream.name()) }, servers, reading(resources, Kind::Upstream, upstream.name())]
    });
    let stores = Cut::of(&generation.stores).map(|store| {
        let name = &store.settings().name;
        let says = lines(&generation.overview, "store").find(|(known, _)| **known == **name);
        let connected = badge(if store.is_connected() { "connected" } else { "not connected" });
        let reads = html! { @for kind in [Kind::Store, Kind::Revocations] { (reading(resources, kind, name)) } };
        vec![html! { (name) }, connected, reads, html! { @if let Some((_, says)) = says { (parts(says)) } }]
    });
    html! {
        (table("Upstreams", &["Upstream", "Servers", "Names"], &upstreams))
        (table("Stores", &["Store", "Connection", "Reads", "Holds"], &stores))
    }
}

/// How the last attempt to read a resource went, and why it failed; nothing if there is no such resource.
fn reading(resources: &[(Id, Report)], kind: Kind, name: &str) -> Markup {
    let found = resources.iter().find(|((known, of), _)| *known == kind && **of == *name);
    html! {
        @if let Some((_, report)) = found {
            div {
                (kind.as_str()) " " (badge(state(report)))
                @if let Some(failure) = report.last_error.as_ref().filter(|_| report.succeeded == Some(false)) {
                    " " (failure.why)
                }
            }
        }
    }
}

/// The lines of the summary that are about this kind of thing: the name of each, and what is said of it.
fn lines<'o>(overview: &'o Overview, kind: &'static str) -> impl Iterator<Item = (&'o str, &'o str)> {
    let of_kind = move |line: &'o String| line.strip_prefix(kind)?.strip_prefix(' ')?.split_once(": ");
    overview.summary.iter().filter_map(of_kind)
}

fn line_row((name, says): (&str, &str)) -> Vec<Markup> {
    vec![html! { (name) }, parts(says)]
}

/// What is said of something, a line for each part.
fn parts(says: &str) -> Markup {
    html! { ul { @for part in says.split("; ") { li { (part) } } } }
}

fn ago(age: Duration) -> Markup {
    html! { (humantime::format_duration(Duration::from_secs(age.as_secs()))) " ago" }
}

/// A time to the second.
fn shown(time: UnixTime) -> Markup {
    let time = rfc3339_second(time);
    html! { time datetime=(time) { (time) } }
}

/// How many certificates of a file are shown.
const HOLDERS: usize = 10;

/// How many servers of an upstream are shown.
const SERVERS: usize = 50;
