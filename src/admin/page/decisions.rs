//! The last decisions, with a form that searches them and the meaning of each code.

use fapi::code::Code;
use maud::{Markup, html};
use serde_json::Value;

use super::asked::Asked;
use super::refusals::meaning;
use super::{Cut, badge, section};
use crate::generation::Generation;

/// The last decisions that are asked for.
pub(super) fn decision_section(generation: &Generation, lines: &[Value], asked: &Asked<'_>) -> Markup {
    let content = if generation.decisions == 0 {
        html! { p { "None is kept: " code { "admin.decisions" } " is 0." } }
    } else {
        let decisions = lines.iter().filter(|line| line.get("decision").is_some());
        let found = Cut::to(SHOWN, decisions.filter(|decision| asked.decisions.wants(decision)));
        // Whoever asks for one wants to read it.
        let open = !asked.member("interaction_id").is_empty();
        html! {
            (form(asked))
            @if found.all == 0 { p role="status" { "None of the decisions that are kept is like that; the audit may have it." } }
            ol.lines { @for decision in &found.shown { li { (entry(decision, open)) } } }
            (found.note())
            p.note {
                "The last " (generation.decisions) " are kept. What each member means: " code { "docs/reference/audit.md" }
            }
        }
    };
    section("decisions", &content)
}

fn form(asked: &Asked<'_>) -> Markup {
    html! {
        form method="get" action="/#decisions" role="search" {
            @for (name, label) in FIELDS {
                label {
                    (label) " "
                    input name=(name) value=(asked.member(name)) autocomplete="off" spellcheck="false" list=[(name == "code").then_some("codes")];
                }
            }
            label {
                "Decision "
                select name="decision" {
                    option value="" { "any" }
                    @for decision in DECISIONS {
                        option value=(decision) selected[asked.member("decision") == decision] { (decision) }
                    }
                }
            }
            datalist id="codes" { @for code in Code::ALL { option value=(code.as_str()) {} } }
            button { "Search" }
            " " a href="/#decisions" { "Show all" }
        }
    }
}

fn entry(decision: &Value, open: bool) -> Markup {
    let text = |member: &str| decision[member].as_str().unwrap_or_default();
    let (code, would_deny) = (text("code"), text("would_deny"));
    html! {
        details open[open] {
            summary {
                span.when { (text("time")) } " " (badge(text("decision"))) " "
                code { (code) } " "
                @if !would_deny.is_empty() { "(would be " code { (would_deny) } ") " }
                span { (text("method")) " " (text("path")) } " "
                span { (text("client_id")) }
            }
            p { (meaning(if would_deny.is_empty() { code } else { would_deny })) }
            (members(decision))
        }
    }
}

/// The members of a line that are not null, in their order.
pub(super) fn members(line: &Value) -> Markup {
    html! {
        dl {
            @for (name, value) in line.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
                div {
                    dt { (name) }
                    dd {
                        @match value {
                            Value::String(text) => (text),
                            Value::Object(_) => (members(value)),
                            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => (value.to_string()),
                        }
                    }
                }
            }
        }
    }
}

/// The fields of the form with their labels; a decision is chosen from a list beside them.
const FIELDS: [(&str, &str); 4] =
    [("interaction_id", "x-fapi-interaction-id"), ("code", "Code"), ("client_id", "Client"), ("route", "Route")];

/// The decisions that a line may have.
const DECISIONS: [&str; 5] = ["permit", "reject", "error", "preflight", "metadata"];

/// How many decisions are shown.
const SHOWN: usize = 25;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_clients_write_is_never_markup() {
        let hostile = "\"'><script>alert(1)</script>&lt;";
        let line = json!({ "decision": "reject", "code": "token_expired", "path": hostile, "client_id": hostile, "subject": hostile,
            "confirmation": { "method": hostile }, hostile: 1 });
        let shown = entry(&line, true).into_string();
        assert!(shown.contains("&lt;script&gt;") && shown.contains("&amp;lt;"), "{shown}");
        assert!(!shown.contains("<script"), "{shown}");
        let asked = Asked::of("client_id=%22%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E").unwrap();
        let shown = form(&asked).into_string();
        assert!(shown.contains("value=\"&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;\""), "{shown}");
        let asked = Asked::of("client_id=tpp-1").unwrap(); // control
        assert!(form(&asked).into_string().contains("value=\"tpp-1\""));
    }

    #[test]
    fn every_field_of_the_form_can_be_asked_for() {
        use super::super::asked::SEARCHED;
        let fields: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).chain(["decision"]).collect();
        assert_eq!(fields, SEARCHED);
    }
}
