//! The Financial Data Exchange of North America (FDX API).

use fapi::ecosystem::Ecosystem::Fdx;

use super::{good, has_texts, told, unfitting, without_good_token};
use crate::exchange::Response;
use crate::expect::Refusal;
use crate::module::{Module, Plans};
use crate::report::Severity;
use crate::session::{Session, Stop};

pub(super) const MODULES: &[Module] = &[
    Module {
        name: "fdx-actor",
        purpose: "A call for a user who is present, or for one who is not, is answered",
        clause: "FDX API § Headers",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[Fdx]),
        run: |session| actors(session, true),
    },
    Module {
        name: "fdx-actor-other",
        purpose: "A call for another kind of actor is refused",
        clause: "FDX API § Headers",
        suite: &[],
        severity: Severity::Warning,
        plans: Plans::Ecosystems(&[Fdx]),
        run: |session| actors(session, false),
    },
    Module {
        name: "fdx-error-body",
        purpose: "Refusals have a code and a message",
        clause: "FDX API § Errors",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[Fdx]),
        run: |session| {
            let good = good(session)?;
            session.control(&good)?;
            told(session, "a token that nobody issued", &without_good_token(&good), 401, "code and message", error)
        },
    },
];

fn actors(session: &mut Session<'_>, known: bool) -> Result<(), Stop> {
    let good = good(session)?;
    session.control(&good)?;
    for rule in Fdx.headers() {
        let values = match rule.form.values().filter(|_| known) {
            Some(values) => values.iter().map(|value| (*value).to_owned()).collect(),
            None => unfitting(rule.form),
        };
        for value in values {
            let (title, call) = (format!("`{}: {value}`", rule.name), good.clone().with_field(rule.name, value));
            if known {
                session.accepted(&title, &call)?;
            } else {
                session.refused(&title, &call, &Refusal::FIELD)?;
            }
        }
    }
    Ok(())
}

/// The code is a text, and a number at some banks.
fn error(response: &Response) -> Result<(), String> {
    has_texts(response, &["/message"])?;
    let code = response.json().and_then(|body| body.get("code").cloned());
    match code {
        Some(code) if code.is_u64() || code.as_str().is_some_and(|code| !code.is_empty()) => Ok(()),
        _ => Err("the body has no code".to_owned()),
    }
}
