//! A page with everything that a report says, for people: to read, to print, and to hand on.
//!
//! The page needs nothing but itself: no script, and no style, font or image of elsewhere. maud escapes every value, since the
//! target sent many of them.

use maud::{DOCTYPE, Markup, PreEscaped, html as markup};

use super::visible::visible;
use super::{Module, Report, Role, Severity, Step, Verdict};

/// The report as one self-contained HTML page.
pub fn html(report: &Report) -> String {
    let page = markup! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                title { "Conformance of " (visible(&report.target)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#summary" { "Skip to the summary" }
                header { (heading(report)) }
                main {
                    (section("summary", "Summary", &summary(report)))
                    (section("clauses", "By clause", &clauses(report)))
                    (section("modules", "Modules", &markup! { @for module in &report.modules { (module_details(module)) } }))
                }
                footer { p { "Requests have the names of variables where a token, a proof, an assertion or a key belongs." } }
            }
        }
    };
    page.into_string()
}

const STYLE: &str = include_str!("html.css");

fn section(id: &str, title: &str, content: &Markup) -> Markup {
    markup! {
        section aria-labelledby=(id) {
            h2 id=(id) { (title) }
            (content)
        }
    }
}

fn heading(report: &Report) -> Markup {
    markup! {
        h1 { "Conformance of " (visible(&report.target)) }
        dl {
            dt { "Target" } dd { code { (visible(&report.target)) } }
            dt { "Plans" } dd { (visible(&report.plans.join(", "))) }
            dt { "Began" } dd { (time(&report.started)) }
            dt { "Ended" } dd { (time(&report.finished)) }
            dt { "Program" } dd { (visible(&report.program)) }
            dt { "Requests" } dd { (report.requests) }
            @if let Some(caveat) = report.caveat() {
                dt { "Extent" } dd { (caveat) }
            }
            dt { "Claims" } dd { (report.claims.join(", ")) }
            dt { "Methods that change something" } dd { @if report.writes { "used" } @else { "not used" } }
            dt { "SHA-256 of the configuration" } dd { code { (visible(&report.configuration_sha256)) } }
            dt { "SHA-256 of the transcript" } dd { code { (visible(&report.transcript_sha256)) } }
        }
    }
}

fn time(text: &str) -> Markup {
    markup! { time datetime=(visible(text)) { (visible(text)) } }
}

fn summary(report: &Report) -> Markup {
    markup! {
        table {
            caption { (report.modules.len()) " modules by verdict" }
            thead { tr { th scope="col" { "Verdict" } th scope="col" { "Meaning" } th.count scope="col" { "Modules" } } }
            tbody {
                @for verdict in Verdict::ALL {
                    tr {
                        th scope="row" { (badge(verdict)) }
                        td { (meaning(verdict)) }
                        td.count { (report.count(verdict)) }
                    }
                }
            }
        }
    }
}

const fn meaning(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "The rule is kept.",
        Verdict::Skipped => "It was not looked at.",
        Verdict::Inconclusive => "Nothing can be said: the control did not succeed, or no answer came.",
        Verdict::Warning => "A recommendation is not followed.",
        Verdict::Fail => "The rule is not kept.",
    }
}

/// A table with a row for each clause, in the order in which the plan comes to them, and the worst verdict of its modules.
fn clauses(report: &Report) -> Markup {
    let mut clauses: Vec<(&str, Vec<&Module>)> = Vec::new();
    for module in &report.modules {
        match clauses.iter_mut().find(|(clause, _)| *clause == module.clause) {
            Some((_, modules)) => modules.push(module),
            None => clauses.push((&module.clause, vec![module])),
        }
    }
    markup! {
        table {
            caption { (clauses.len()) " clauses, each with its modules and the worst of their verdicts" }
            thead { tr { th scope="col" { "Clause" } th scope="col" { "Verdict" } th scope="col" { "Modules" } } }
            tbody {
                @for (clause, modules) in &clauses {
                    tr {
                        th scope="row" { (visible(clause)) }
                        td { @if let Some(worst) = modules.iter().map(|module| module.verdict).max() { (badge(worst)) } }
                        td { ul { @for module in modules { li { (link(module)) } } } }
                    }
                }
            }
        }
    }
}

fn link(module: &Module) -> Markup {
    markup! { a href={ "#" (id(module)) } { code { (visible(&module.name)) } } ": " (module.verdict) }
}

/// The ID of the part of the page that has the module.
fn id(module: &Module) -> String {
    format!("module-{}", visible(&module.name))
}

/// What there is to say of a module, open if there is something to do.
fn module_details(module: &Module) -> Markup {
    let open = matches!(module.verdict, Verdict::Fail | Verdict::Warning | Verdict::Inconclusive);
    markup! {
        details id=(id(module)) open[open] {
            summary { (badge(module.verdict)) " " h3 { (visible(&module.name)) } " " (visible(&module.purpose)) }
            dl {
                dt { "Clause" } dd { (visible(&module.clause)) }
                @if !module.suite.is_empty() {
                    dt { "Modules of the OpenID conformance suite" } dd { (visible(&module.suite.join(", "))) }
                }
                dt { "Plans" } dd { (visible(&module.plans.join(", "))) }
                dt { "If it is not kept" } dd { (consequence(module.severity)) }
                @if let Some(reason) = &module.reason { dt { "Reason" } dd { (visible(reason)) } }
            }
            @if !module.steps.is_empty() { ol.steps { @for step in &module.steps { li { (step_content(step)) } } } }
        }
    }
}

const fn consequence(severity: Severity) -> &'static str {
    match severity {
        Severity::Failure => "the target does not conform",
        Severity::Warning => "a recommendation, or a rule that the standards leave to the resource server",
    }
}

fn step_content(step: &Step) -> Markup {
    let role = match step.role {
        Role::Control => "control",
        Role::Check => "check",
    };
    let exchanges: Vec<String> = step.exchanges.iter().map(u64::to_string).collect();
    markup! {
        (badge(step.verdict)) " " (visible(&step.title)) " (" (role) ")"
        dl {
            dt { "Expected" } dd { (visible(&step.expected)) }
            dt { "Observed" } dd { (visible(&step.observed)) }
            @if !exchanges.is_empty() { dt { "Lines of the transcript" } dd { (exchanges.join(", ")) } }
        }
        @if let Some(curl) = &step.curl { pre { code { (visible(curl)) } } }
    }
}

/// A verdict: in colour, and never by colour alone.
fn badge(verdict: Verdict) -> Markup {
    markup! { span class={ "verdict " (verdict) } { (verdict) } }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::testing::{hostile, module, one_of_each, report};

    #[test]
    fn the_page_has_all_that_the_report_says() {
        let report = one_of_each();
        let page = html(&report);
        for text in [
            "<h1>Conformance of https://bank.example/accounts</h1>",
            "<time datetime=\"2026-03-01T12:01:30Z\">",
            &report.configuration_sha256,
            &report.transcript_sha256,
            "fapi-gateway 0.1.0",
            "RFC 9449 §4.3 (8)",
            "fapi2-security-profile-final",
            "a proof for PUT",
            "<dd>401</dd>",
            "<dd>200</dd>",
            "<pre><code>curl -i -H &quot;DPoP: $PROOF&quot; https://bank.example/accounts</code></pre>",
            "the reason for skipped",
        ] {
            assert!(page.contains(text), "{text}");
        }
        assert!(!page.contains("the reason for pass"), "control");
    }

    #[test]
    fn every_verdict_is_a_word_and_only_those_with_something_to_do_are_open() {
        let page = html(&one_of_each());
        for verdict in Verdict::ALL {
            assert!(page.contains(&format!("<span class=\"verdict {verdict}\">{verdict}</span>")), "{verdict}");
            let open = page.contains(&format!("<details id=\"module-dpop-{verdict}\" open>"));
            assert_eq!(open, !matches!(verdict, Verdict::Pass | Verdict::Skipped), "{verdict}");
            assert!(page.contains(&format!("<a href=\"#module-dpop-{verdict}\">")), "{verdict}");
        }
    }

    #[test]
    fn a_clause_has_the_worst_verdict_of_its_modules() {
        let mut modules = vec![module("a", Verdict::Pass), module("b", Verdict::Fail), module("c", Verdict::Pass)];
        modules[2].clause = "RFC 6750 §3.1".into();
        let table = clauses(&report(modules)).into_string();
        let rows: Vec<&str> = table.split("<tr>").skip(2).collect();
        assert_eq!(rows.len(), 2, "{table}");
        assert!(
            rows[0].starts_with("<th scope=\"row\">RFC 9449 §4.3 (8)</th><td><span class=\"verdict fail\">"),
            "{table}"
        );
        let control = "<th scope=\"row\">RFC 6750 §3.1</th><td><span class=\"verdict pass\">";
        assert!(rows[1].starts_with(control), "control: {table}");
    }

    #[test]
    fn nothing_runs_and_nothing_is_loaded() {
        let page = html(&one_of_each());
        let policy =
            r#"<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">"#;
        assert!(page.contains(policy), "{page}");
        assert!(page.find(policy) < page.find("<style>"), "it counts only for what comes after it");
        for loads in ["<script", "<link", "<img", "src=", "url(", "@import", "style=", " on"] {
            let in_tag = page.split('<').filter_map(|rest| rest.split('>').next());
            let count = in_tag.filter(|tag| format!("<{tag}").contains(loads)).count();
            assert_eq!(count, 0, "{loads}");
        }
        assert!(!STYLE.contains("</") && !STYLE.contains("url(") && !STYLE.contains("@import"));
    }

    #[test]
    fn hostile_text_adds_no_tag_and_nothing_that_cannot_be_seen() {
        let (plain, hostile) = (html(&one_of_each()), html(&hostile()));
        assert_eq!(hostile.matches('>').count(), plain.matches('>').count());
        assert!(hostile.contains("&lt;script&gt;alert('1')&lt;/script&gt; &quot;quoted&quot; &amp; ]]&gt;"), "control");
        assert!(!hostile.contains("<script") && !hostile.contains("<!--"));
        assert!(!hostile.contains(|character: char| character.is_control() && character != '\n'));
        assert!(hostile.contains(r"\u{1b}[2J\u{0}\u{fffe}"), "control");
    }
}
