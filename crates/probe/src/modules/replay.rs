//! Whether a proof is accepted once (RFC 9449 §11.1).

use uuid::Uuid;

use super::proofs::changed_signature;
use crate::call::{Call, SentProof};
use crate::expect::Refusal;
use crate::module::{Module, Plans};
use crate::report::{Role, Severity, Verdict};
use crate::session::{Binding, Session, Stop, observed, skip};

pub(super) const MODULES: &[Module] = &[
    Module {
        name: "dpop-replay",
        purpose: "A proof that was used is refused",
        clause: "RFC 9449 §4.3, §11.1",
        suite: &["fapi2-security-profile-final-dpop-negative-tests"],
        severity: Severity::Warning,
        plans: Plans::Dpop,
        run: replay,
    },
    Module {
        name: "dpop-replay-at-once",
        purpose: "Of requests with the same proof at the same moment, one is accepted",
        clause: "RFC 9449 §11.1",
        suite: &[],
        severity: Severity::Warning,
        plans: Plans::Dpop,
        run: at_once,
    },
    Module {
        name: "dpop-replay-elsewhere",
        purpose: "A proof that one replica accepted is refused by the others",
        clause: "RFC 9449 §11.1",
        suite: &[],
        severity: Severity::Warning,
        plans: Plans::Dpop,
        run: elsewhere,
    },
    Module {
        name: "dpop-jti-not-burned",
        purpose: "A proof that is refused does not use up the `jti` of a good one",
        clause: "RFC 9449 §11.1",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Dpop,
        run: not_burned,
    },
    Module {
        name: "dpop-jti-of-two-keys",
        purpose: "The same `jti` of two clients is two proofs",
        clause: "RFC 9449 §11.1",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Dpop,
        run: of_two_keys,
    },
];

/// The call with a proof that is made now; the good call before it fetches a nonce where one is needed.
fn made(session: &mut Session<'_>) -> Result<Call, Stop> {
    let good = session.good_with(Binding::Dpop)?;
    session.control(&good)?;
    let sent = session.wire().prepare(&good);
    let proof = sent.fields.into_iter().find(|(name, _)| *name == good.proof_field).map(|(_, proof)| proof);
    let proof = proof.ok_or_else(|| skip("the call has no proof"))?;
    Ok(Call { proofs: vec![SentProof::Made(proof)], ..good })
}

fn replay(session: &mut Session<'_>) -> Result<(), Stop> {
    let call = made(session)?;
    session.control(&call)?;
    session.refused("the same proof again", &call, &Refusal::PROOF)
}

/// A replica that has just started may not know the nonce of the others, and asks for another.
const REFUSED: Refusal =
    Refusal { errors: &["invalid_dpop_proof", "invalid_token", "invalid_request", "use_dpop_nonce"], ..Refusal::PROOF };

fn at_once(session: &mut Session<'_>) -> Result<(), Stop> {
    // A replica that has just started hands out a nonce of its own first, which is good at all of them.
    for replica in 0..session.settings().target.addresses.len() {
        let good = session.good_with(Binding::Dpop)?.replica(replica);
        session.control(&good)?;
    }
    let call = made(session)?;
    let replicas = session.settings().target.addresses.len();
    let calls: Vec<_> = (0..AT_ONCE.max(replicas))
        .map(|number| {
            let call = call.clone().replica(number.checked_rem(replicas).unwrap_or_default());
            let sent = session.wire().prepare(&call);
            (call, sent)
        })
        .collect();
    let exchanges = session.wire().send_at_once(calls)?;
    let accepted = exchanges.iter().filter(|one| matches!(&one.answer, Ok(response) if response.is_success())).count();
    let told: Vec<String> = exchanges.iter().map(|one| observed(&one.answer)).collect();
    // What is not accepted must be refused for its proof: whoever answers no more, or is busy, has refused nothing.
    let refused = exchanges.iter().filter(|one| !matches!(&one.answer, Ok(response) if response.is_success()));
    let worst = refused.map(|one| REFUSED.judge(&one.answer)).max();
    let verdict = match accepted {
        0 => Verdict::Inconclusive,
        1 => worst.unwrap_or(Verdict::Inconclusive),
        _ => Verdict::Fail,
    };
    let title = format!("{} requests with one proof at once", exchanges.len());
    let lines = exchanges.iter().map(|one| one.line).collect();
    session.step(
        &title,
        Role::Check,
        None,
        &format!("one 2xx, and {} for the others", REFUSED),
        told.join(", "),
        verdict,
        lines,
    );
    Ok(())
}

fn elsewhere(session: &mut Session<'_>) -> Result<(), Stop> {
    let replicas = session.settings().target.addresses.len();
    if replicas < 2 {
        return Err(skip("`addresses` names fewer than two"));
    }
    let call = made(session)?;
    session.control(&call)?;
    for replica in 1..replicas {
        // It must be alive to say no.
        let good = session.good_with(Binding::Dpop)?.replica(replica);
        session.control(&good)?;
        let title = format!("the same proof at {}", session.wire().address(replica));
        session.refused(&title, &call.clone().replica(replica), &Refusal::PROOF)?;
    }
    Ok(())
}

fn not_burned(session: &mut Session<'_>) -> Result<(), Stop> {
    let call = made(session)?;
    let spoiled = call.proofs.iter().filter_map(|proof| match proof {
        SentProof::Made(text) => Some(SentProof::Made(changed_signature(text))),
        SentProof::Planned(_) => None,
    });
    let spoiled = Call { proofs: spoiled.collect(), ..call.clone() };
    session.refused("a proof with a broken signature", &spoiled, &Refusal::PROOF)?;
    session.accepted("the same with its signature whole", &call).map(drop)
}

fn of_two_keys(session: &mut Session<'_>) -> Result<(), Stop> {
    let first = session.good_with(Binding::Dpop)?;
    let second = session.good_of(1, Binding::Dpop)?;
    session.control(&first)?;
    let jti = Uuid::new_v4().to_string();
    for (call, whose) in [(first, "the first client"), (second, "the second client")] {
        let jti = jti.clone();
        let call = call.spoiled(move |proof, key| proof.claim("jti", jti.as_str()).sign(key));
        session.accepted(&format!("a proof of {whose}"), &call)?;
    }
    Ok(())
}

/// How many requests are sent at once.
const AT_ONCE: usize = 5;
