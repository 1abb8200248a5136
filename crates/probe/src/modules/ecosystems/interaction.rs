//! The id of an exchange, by which both sides find it again (FAPI 1.0 Baseline §6.2.1 (11)).

use fapi::ecosystem::Ecosystem::{Brazil, Cdr, ConnectId, Fdx, Ksa, Uae, UkObie31, UkObie40};
use fapi::ecosystem::Form;
use uuid::Uuid;

use super::{INTERACTION_ID, good, unfitting, without_good_token};
use crate::call::Call;
use crate::exchange::Response;
use crate::expect::Refusal;
use crate::module::{Module, Plans};
use crate::report::{Role, Severity, Verdict};
use crate::session::{Session, Stop, observed, skip};

pub(super) const MODULES: &[Module] = &[
    Module {
        name: "ecosystem-interaction-id-echoed",
        purpose: "The answer to a good call has its `x-fapi-interaction-id`",
        clause: "FAPI 1.0 Baseline §6.2.1 (11)",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[UkObie31, UkObie40, Brazil, Cdr, Uae, Ksa, Fdx, ConnectId]),
        run: |session| {
            let good = good(session)?;
            session.control(&good)?;
            echoed(session, "a good call", &good, true)
        },
    },
    Module {
        name: "ecosystem-interaction-id-in-errors",
        purpose: "The refusal of a call has its `x-fapi-interaction-id`",
        clause: "Consumer Data Standards § HTTP Headers; Read/Write API profile § Headers; UAE API specifications 2.1 § Errors",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[UkObie31, UkObie40, Brazil, Cdr, Uae, Ksa, Fdx]),
        run: |session| {
            let good = good(session)?;
            session.control(&good)?;
            echoed(session, "a token that nobody issued", &without_good_token(&good), false)?;
            echoed(session, "no credentials", &good.without_credentials(), false)
        },
    },
    Module {
        name: "ecosystem-interaction-id-made",
        purpose: "The answer to a call without `x-fapi-interaction-id` has one of its own",
        clause: "FAPI 1.0 Baseline §6.2.1 (11)",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[UkObie31, UkObie40, Cdr, Ksa, Fdx]),
        run: made,
    },
    Module {
        name: "ecosystem-interaction-id-missing",
        purpose: "A call without `x-fapi-interaction-id` is refused",
        clause: "FAPI-BR security profile § Resource server; ConnectID technical specification § Headers",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[Brazil, ConnectId]),
        run: missing,
    },
    Module {
        name: "ecosystem-interaction-id-malformed",
        purpose: "A call whose `x-fapi-interaction-id` is no UUID is refused",
        clause: "FAPI-BR security profile § Resource server; Consumer Data Standards § HTTP Headers; ConnectID technical specification § Headers",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[Brazil, Cdr, ConnectId]),
        run: |session| {
            let good = good(session)?;
            session.control(&good)?;
            for value in unfitting(Form::Uuid) {
                let call = good.clone().with_field(INTERACTION_ID, value.as_str());
                session.refused(&format!("`{INTERACTION_ID}: {value}`"), &call, &Refusal::FIELD)?;
            }
            Ok(())
        },
    },
];

/// Sends a call with an id, and looks whether the answer, which is a success or not, has the same.
fn echoed(session: &mut Session<'_>, title: &str, call: &Call, success: bool) -> Result<(), Stop> {
    let id = Uuid::new_v4().to_string();
    let call = call.clone().with_field(INTERACTION_ID, id.as_str());
    let exchange = session.answered(&call)?;
    let told = observed(&exchange.answer);
    let (verdict, told) = match &exchange.answer {
        Ok(response) if response.is_success() == success => {
            let found = response.sole(INTERACTION_ID);
            // RFC 9562 §4: hexadecimal digits of either case are the same.
            let same = found.is_some_and(|found| found.eq_ignore_ascii_case(&id));
            (if same { Verdict::Pass } else { Verdict::Fail }, format!("{told}, {}", shown(response)))
        }
        Ok(_) | Err(_) => (Verdict::Inconclusive, told),
    };
    session.note(title, Role::Check, &format!("`{INTERACTION_ID}: {id}`"), told, verdict, &call, &exchange);
    Ok(())
}

fn shown(response: &Response) -> String {
    let found: Vec<_> = response.all(INTERACTION_ID).map(|id| format!("`{INTERACTION_ID}: {id}`")).collect();
    if found.is_empty() { format!("no `{INTERACTION_ID}`") } else { found.join(", ") }
}

fn id_of(response: &Response) -> Option<Uuid> {
    Uuid::try_parse(response.sole(INTERACTION_ID)?).ok()
}

fn made(session: &mut Session<'_>) -> Result<(), Stop> {
    if session.ecosystems().any(|ecosystem| matches!(ecosystem, Brazil | ConnectId)) {
        return Err(skip("another of the plans refuses such a call"));
    }
    let good = good(session)?.without_field(INTERACTION_ID);
    let (first, second) = (session.control(&good)?, session.control(&good)?);
    session.look("the first answer", "a UUID", shown(&first), id_of(&first).is_some());
    let new = id_of(&second).is_some() && id_of(&first) != id_of(&second);
    session.look("the second answer", "another UUID", shown(&second), new);
    Ok(())
}

fn missing(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = good(session)?;
    session.control(&good)?;
    let call = good.without_field(INTERACTION_ID);
    let exchange = session.answered(&call)?;
    let verdict = Refusal::FIELD.judge(&exchange.answer);
    let title = format!("no `{INTERACTION_ID}`");
    let (expected, told) = (Refusal::FIELD.to_string(), observed(&exchange.answer));
    session.note(&title, Role::Check, &expected, told, verdict, &call, &exchange);
    if let Ok(response) = exchange.answer
        && session.ecosystems().any(|ecosystem| ecosystem == Brazil)
    {
        session.look("the answer to it", "a UUID that is new", shown(&response), id_of(&response).is_some());
    }
    Ok(())
}
