//! SMART on FHIR (SMART App Launch).

use fapi::ecosystem::Ecosystem::Smart;

use super::{complete, good, has_texts, told, without_good_token};
use crate::call::{Call, Presents};
use crate::expect::Refusal;
use crate::module::{Module, Plans};
use crate::report::{Role, Severity, Verdict};
use crate::session::{Session, Stop, observed};

pub(super) const MODULES: &[Module] = &[
    Module {
        name: "smart-audience",
        purpose: "A token for another FHIR server is refused",
        clause: "SMART App Launch 2.2 § Obtain authorization code",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[Smart]),
        run: |session| {
            let binding = session.binding();
            let good = session.call_with_token(binding, |token| token)?;
            let good = complete(session, good);
            session.control(&good)?;
            let other = session.call_with_token(binding, |token| token.audience("https://fhir.probe.invalid/r4"))?;
            session.refused("`aud` of another server", &other, &Refusal::TOKEN)
        },
    },
    Module {
        name: "smart-configuration",
        purpose: "The configuration of the FHIR server can be read without credentials",
        clause: "SMART App Launch 2.2 § Conformance",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[Smart]),
        run: configuration,
    },
    Module {
        name: "smart-error-body",
        purpose: "Refusals are an OperationOutcome, and have a challenge",
        clause: "FHIR R4 §3.1.0.1.5",
        suite: &[],
        severity: Severity::Warning,
        plans: Plans::Ecosystems(&[Smart]),
        run: |session| {
            let good = good(session)?;
            session.control(&good)?;
            let bad = without_good_token(&good);
            let expected = "an OperationOutcome and a challenge";
            told(session, "a token that nobody issued", &bad, 401, expected, |response| {
                has_texts(response, &["/resourceType", "/issue/0/severity", "/issue/0/code"])?;
                let kind = super::text_at(response, "/resourceType").unwrap_or_default();
                match (kind.as_str(), response.challenges().first()) {
                    ("OperationOutcome", Some(_)) => Ok(()),
                    ("OperationOutcome", None) => Err("it has no challenge".to_owned()),
                    _ => Err(format!("it is a {kind}")),
                }
            })
        },
    },
];

/// The base URL of the server is the resource's up to one of its segments: whichever has a configuration, the longest first.
fn configuration(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = good(session)?;
    session.control(&good)?;
    let path = session.settings().target.url.path().trim_end_matches('/').to_owned();
    let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
    let mut bases: Vec<&str> = ends.filter_map(|end| path.get(..end)).collect();
    bases.sort_by_key(|base| std::cmp::Reverse(base.len()));
    bases.dedup();
    // Whoever reads it has no credentials, and a certificate only where there is no connection without one.
    let presents = match session.settings().claims.certificate_required {
        true => good.presents.clone(),
        false => Presents::Nothing,
    };
    let last = bases.len().saturating_sub(1);
    for (number, base) in bases.iter().enumerate() {
        let target = format!("{base}/.well-known/smart-configuration");
        let call = Call { target, presents: presents.clone(), ..good.clone().without_credentials().method("GET") };
        let exchange = session.answered(&call)?;
        let told = observed(&exchange.answer);
        let verdict = match &exchange.answer {
            Ok(response) if response.is_success() && has_capabilities(response) => Verdict::Pass,
            Ok(response) if !response.says_nothing() => Verdict::Fail,
            Ok(_) | Err(_) => Verdict::Inconclusive,
        };
        // It is at one of these places.
        if verdict != Verdict::Fail || number == last {
            let title = format!("`{}` without credentials", call.target);
            session.note(&title, Role::Check, "2xx with capabilities", told, verdict, &call, &exchange);
            return Ok(());
        }
    }
    Ok(())
}

fn has_capabilities(response: &crate::exchange::Response) -> bool {
    response.json().is_some_and(|body| body.get("capabilities").is_some_and(serde_json::Value::is_array))
}
