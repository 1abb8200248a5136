//! What FAPI 1.0 has beyond, or other than, FAPI 2.0.

use crate::call::{PlannedProof, SentProof};
use crate::expect::Refusal;
use crate::module::{Module, Plans};
use crate::report::Severity;
use crate::session::{Binding, Session, Stop, made_token, skip};

pub(super) const MODULES: &[Module] = &[
    Module {
        name: "fapi1-get",
        purpose: "GET succeeds with JSON in UTF-8",
        clause: "FAPI 1.0 Baseline §6.2.1 (1), (8) and (9)",
        suite: &["EnsureResourceResponseReturnedJsonContentType"],
        severity: Severity::Failure,
        plans: Plans::Fapi1,
        run: |session| {
            let good = session.good()?;
            let response = session.control(&good)?;
            let value = response.sole("content-type").unwrap_or_default().to_ascii_lowercase();
            let json = value.starts_with("application/json") || value.contains("+json");
            session.look("`Content-Type`", "application/json", format!("`{value}`"), json);
            let utf8 = std::str::from_utf8(&response.body).is_ok();
            session.look("the content", "UTF-8", if utf8 { "UTF-8" } else { "other bytes" }, utf8);
            Ok(())
        },
    },
    Module {
        name: "fapi1-certificates-alone",
        purpose: "A token that is bound to a DPoP key is refused: FAPI 1.0 knows certificates alone",
        clause: "FAPI 1.0 Advanced §5.2.2 (5), §6.2.1 (2)",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Fapi1,
        run: certificates_alone,
    },
    Module {
        name: "fapi1-auth-date",
        purpose: "`x-fapi-auth-date` and `x-fapi-customer-last-logged-time` disturb nothing",
        clause: "FAPI 1.0 Baseline §6.2.2 (3)",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Fapi1,
        run: |session| {
            let good = session.good()?;
            session.control(&good)?;
            let time = "Tue, 11 Sep 2012 19:43:31 GMT";
            let call = good.with_field("x-fapi-auth-date", time).with_field("x-fapi-customer-last-logged-time", time);
            session.accepted("a time of the past", &call).map(drop)
        },
    },
];

fn certificates_alone(session: &mut Session<'_>) -> Result<(), Stop> {
    let fapi2 = session.settings().claims.dpop;
    if fapi2 {
        return Err(skip("the target claims DPoP too, so it is not of FAPI 1.0 alone"));
    }
    let good = session.call_with_token(Binding::Certificate, |token| token)?;
    session.control(&good)?;
    let key = session.proof_key(0)?;
    let token = session.issued(0, Binding::Dpop)?.sign(&session.issuer()?.key);
    let call = session.call_with(0, Binding::Certificate, made_token(token))?;
    session.refused("a token bound to a key, as a bearer token", &call, &Refusal::TOKEN)?;
    let mut proven = call.scheme("DPoP");
    proven.proofs = vec![SentProof::Planned(PlannedProof::good(key))];
    session.refused("the same with its proof", &proven, &Refusal::NO_CREDENTIALS)
}
