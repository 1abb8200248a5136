//! The Consumer Data Right of Australia (Consumer Data Standards).

use fapi::ecosystem::Ecosystem::Cdr;
use fapi::ecosystem::{Form, HeaderRule, Needed};

use super::{fields_malformed, fitting, good, has_texts, refused_as, told};
use crate::call::Call;
use crate::expect::Refusal;
use crate::module::{Module, Plans};
use crate::report::Severity;
use crate::session::{Session, Stop, skip};

const HEADERS: &str = "Consumer Data Standards § HTTP Headers";

pub(super) const MODULES: &[Module] = &[
    Module {
        name: "cdr-fields-missing",
        purpose: "A call without a field that the standards need is refused",
        clause: HEADERS,
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[Cdr]),
        run: missing,
    },
    Module {
        name: "cdr-fields-malformed",
        purpose: "A call with a field of the wrong form, or a version that is no positive number, is refused",
        clause: HEADERS,
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[Cdr]),
        run: |session| {
            let good = good(session)?;
            session.control(&good)?;
            fields_malformed(session, &good, Cdr, |rule: &HeaderRule| {
                Some((CODE, if rule.form == Form::Version { INVALID_VERSION } else { INVALID }))
            })
        },
    },
    Module {
        name: "cdr-version-unsupported",
        purpose: "A call that understands no version which there is is refused",
        clause: HEADERS,
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[Cdr]),
        run: |session| {
            let good = good(session)?;
            session.control(&good)?;
            let newer = good.clone().with_field("x-v", NEVER).without_field("x-min-v");
            refused_as(session, "`x-v` alone, too new", &newer, &Refusal::ACCEPT, CODE, &[UNSUPPORTED])?;
            let range = good.with_field("x-v", NEVER).with_field("x-min-v", ALSO_NEVER);
            refused_as(session, "`x-min-v` and `x-v`, both too new", &range, &Refusal::ACCEPT, CODE, &[UNSUPPORTED])
        },
    },
    Module {
        name: "cdr-version-range",
        purpose: "A call is answered in a version between `x-min-v` and `x-v`, and `x-min-v` does not count unless it is less",
        clause: HEADERS,
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[Cdr]),
        run: |session| {
            let good = good(session)?;
            session.control(&good)?;
            let own = version_of(&good)?.to_string();
            let range = good.clone().with_field("x-v", NEVER).with_field("x-min-v", own.as_str());
            session.accepted("`x-v` that is too new, and `x-min-v` that is not", &range)?;
            session.accepted("`x-min-v` that is `x-v`", &good.clone().with_field("x-min-v", own))?;
            session.accepted("`x-min-v` beyond `x-v`", &good.with_field("x-min-v", NEVER)).map(drop)
        },
    },
    Module {
        name: "cdr-version-told",
        purpose: "The answer says which version it has",
        clause: HEADERS,
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[Cdr]),
        run: |session| {
            let good = good(session)?;
            let response = session.control(&good)?;
            let own = version_of(&good)?;
            let found: Vec<&str> = response.all("x-v").collect();
            let version = response.sole("x-v").and_then(|version| version.parse::<u32>().ok());
            let kept = version.is_some_and(|version| (1..=own).contains(&version));
            session.look("`x-v` of the answer", &format!("1 to {own}"), format!("{found:?}"), kept);
            Ok(())
        },
    },
    Module {
        name: "cdr-error-body",
        purpose: "Refusals have errors, each with a code of the standards, a title and a detail",
        clause: "Consumer Data Standards § Error Codes",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[Cdr]),
        run: |session| {
            let good = good(session)?;
            session.control(&good)?;
            let call = good.without_field("x-v");
            told(session, "no `x-v`", &call, 400, "errors with code, title and detail", |response| {
                has_texts(response, &[CODE, "/errors/0/title", "/errors/0/detail"])
            })
        },
    },
];

/// Where a body has the code.
const CODE: &str = "/errors/0/code";
const MISSING: &str = "urn:au-cds:error:cds-all:Header/Missing";
const INVALID: &str = "urn:au-cds:error:cds-all:Header/Invalid";
const INVALID_VERSION: &str = "urn:au-cds:error:cds-all:Header/InvalidVersion";
const UNSUPPORTED: &str = "urn:au-cds:error:cds-all:Header/UnsupportedVersion";
/// Versions that no resource will ever have.
const NEVER: &str = "99999";
const ALSO_NEVER: &str = "99998";

fn version_of(call: &Call) -> Result<u32, Stop> {
    let field = call.fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("x-v"));
    let version = field.and_then(|(_, value)| value.parse().ok());
    version.ok_or_else(|| skip("`resource.headers` has no `x-v`"))
}

fn missing(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = good(session)?;
    session.control(&good)?;
    let rules = Cdr.headers();
    for rule in rules {
        let (title, call) = match rule.needed {
            Needed::No => continue,
            Needed::Always => (format!("no `{}`", rule.name), good.clone()),
            Needed::Beside(other) => {
                let form = rules.iter().find(|rule| rule.name == other).map_or(rule.form, |rule| rule.form);
                let title = format!("`{other}` without `{}`", rule.name);
                (title, good.clone().with_field(other, fitting(form)))
            }
        };
        let call = call.without_field(rule.name);
        refused_as(session, &title, &call, &Refusal::FIELD, CODE, &[MISSING])?;
    }
    Ok(())
}
