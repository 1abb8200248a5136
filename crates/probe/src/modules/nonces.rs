//! Nonces in proofs (RFC 9449 §8 and §9), where the target asks for them.

use std::time::Duration;

use super::answer_of;
use crate::call::Call;
use crate::expect::Refusal;
use crate::module::{Module, Plans};
use crate::report::{Role, Severity, Verdict};
use crate::session::{Binding, Session, Stop, observed, skip};
use crate::settings::Nonce;

pub(super) const MODULES: &[Module] = &[
    Module {
        name: "dpop-nonce-demanded",
        purpose: "A proof without a nonce is answered with a nonce, and never accepted",
        clause: "RFC 9449 §9, §11.3",
        suite: &["fapi2-security-profile-final-dpop-negative-tests"],
        severity: Severity::Failure,
        plans: Plans::Dpop,
        run: demanded,
    },
    Module {
        name: "dpop-nonce-answered",
        purpose: "The proof that has the nonce of the challenge is accepted",
        clause: "RFC 9449 §8, §9",
        suite: &["fapi2-security-profile-final-dpop-negative-tests"],
        severity: Severity::Failure,
        plans: Plans::Dpop,
        run: answered,
    },
    Module {
        name: "dpop-nonce-other",
        purpose: "A nonce that the target did not make is refused",
        clause: "RFC 9449 §4.3 (10)",
        suite: &["fapi2-security-profile-final-dpop-negative-tests"],
        severity: Severity::Failure,
        plans: Plans::Dpop,
        run: other,
    },
    Module {
        name: "dpop-nonce-form",
        purpose: "A nonce is one field of allowed characters, long enough not to be guessed, and not kept by caches",
        clause: "RFC 9449 §8.1, §8.2, §8",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Dpop,
        run: form,
    },
    Module {
        name: "dpop-nonce-ends",
        purpose: "A nonce is not good for longer than the target claims, and the next one is another",
        clause: "RFC 9449 §8, §11.1",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Dpop,
        run: ends,
    },
    Module {
        name: "dpop-nonce-elsewhere",
        purpose: "The nonce of one replica is good at the others",
        clause: "RFC 9449 §9",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Dpop,
        run: elsewhere,
    },
];

/// A call without a nonce, of a target that always asks for one.
fn bare(session: &mut Session<'_>) -> Result<Call, Stop> {
    let always = session.settings().claims.nonce == Nonce::Always;
    session.needs(always, "to ask for a nonce in every proof")?;
    Ok(session.good_with(Binding::Dpop)?.without_nonce())
}

const DEMAND: Refusal = Refusal { statuses: &[401], errors: &["use_dpop_nonce"], closing: false };

fn demanded(session: &mut Session<'_>) -> Result<(), Stop> {
    let call = bare(session)?;
    let good = session.good_with(Binding::Dpop)?;
    session.control(&good)?;
    for title in ["no nonce", "no nonce, a second time", "no nonce, a third time"] {
        session.refused(title, &call, &DEMAND)?;
    }
    Ok(())
}

fn answered(session: &mut Session<'_>) -> Result<(), Stop> {
    let call = bare(session)?;
    session.wire().forget_nonce();
    let first = session.answered(&call)?;
    let told = observed(&first.answer);
    let nonce = first.answer.as_ref().ok().and_then(|response| response.sole("dpop-nonce")).is_some();
    let verdict = match (nonce, &first.answer) {
        (true, _) => Verdict::Pass,
        (false, Ok(response)) if !response.says_nothing() => Verdict::Fail,
        (false, _) => Verdict::Inconclusive,
    };
    session.note("no nonce", Role::Check, "401 with one DPoP-Nonce", told, verdict, &call, &first);
    let good = session.good_with(Binding::Dpop)?;
    session.accepted("the nonce that came", &good).map(drop)
}

fn other(session: &mut Session<'_>) -> Result<(), Stop> {
    let call = bare(session)?;
    let good = session.good_with(Binding::Dpop)?;
    session.control(&good)?;
    let nonce = session.wire().nonce().map(str::to_owned).ok_or_else(|| skip("no nonce came"))?;
    let mut letters: Vec<char> = nonce.chars().collect();
    let middle = letters.len() / 2;
    if let Some(letter) = letters.get_mut(middle) {
        *letter = if *letter == 'A' { 'B' } else { 'A' };
    }
    let changed: String = letters.into_iter().collect();
    let refusal = Refusal { errors: &["use_dpop_nonce", "invalid_dpop_proof"], ..Refusal::PROOF };
    for (title, nonce) in [
        ("a made-up nonce", "probe".to_owned()),
        ("a nonce with another letter", changed),
        ("an empty nonce", String::new()),
    ] {
        let call = call.clone().spoiled(move |proof, key| proof.claim("nonce", nonce.as_str()).sign(key));
        session.refused(title, &call, &refusal)?;
    }
    Ok(())
}

fn form(session: &mut Session<'_>) -> Result<(), Stop> {
    let call = bare(session)?;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let response = answer_of(session, &call)?;
        let nonces: Vec<String> = response.all("dpop-nonce").map(str::to_owned).collect();
        let allowed = |nonce: &String| {
            !nonce.is_empty() && nonce.bytes().all(|byte| matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
        };
        let kept = nonces.len() == 1 && nonces.iter().all(allowed);
        let told =
            format!("{} fields of {:?} characters", nonces.len(), nonces.iter().map(String::len).collect::<Vec<_>>());
        session.look("`DPoP-Nonce` of the challenge", "one field of characters that are allowed", told, kept);
        let stored = response.all("cache-control").any(|value| value.contains("no-store"));
        session.look(
            "`Cache-Control` of the challenge",
            "no-store",
            format!("{:?}", response.sole("cache-control")),
            stored,
        );
        seen.extend(nonces);
    }
    let long = seen.iter().all(|nonce| nonce.len() >= MIN_LENGTH);
    let lengths: Vec<usize> = seen.iter().map(String::len).collect();
    session.look("length of the nonces", "22 characters or more, which 128 bits need", format!("{lengths:?}"), long);
    Ok(())
}

/// 128 bits in base64url (FAPI 2.0 §5.4.1).
const MIN_LENGTH: usize = 22;

fn ends(session: &mut Session<'_>) -> Result<(), Stop> {
    bare(session)?;
    let lifetime = session.settings().claims.nonce_lifetime;
    let lifetime = lifetime.ok_or_else(|| skip("`claims.nonce_lifetime` is not known"))?;
    let good = session.good_with(Binding::Dpop)?;
    session.control(&good)?;
    let old = session.wire().nonce().map(str::to_owned).ok_or_else(|| skip("no nonce came"))?;
    session.wait(lifetime.saturating_add(Duration::from_secs(1)));
    let nonce = old.clone();
    let call = good.without_nonce().spoiled(move |proof, key| proof.claim("nonce", nonce.as_str()).sign(key));
    session.refused("the nonce after its end", &call, &DEMAND)?;
    let fresh = session.wire().nonce().is_some_and(|nonce| nonce != old);
    session.look("the nonce of that answer", "another one", if fresh { "another one" } else { "the same" }, fresh);
    Ok(())
}

fn elsewhere(session: &mut Session<'_>) -> Result<(), Stop> {
    bare(session)?;
    let replicas = session.settings().target.addresses.len();
    if replicas < 2 {
        return Err(skip("`replicas` names fewer than two addresses"));
    }
    for replica in 1..replicas {
        let good = session.good_with(Binding::Dpop)?;
        session.control(&good)?;
        let call = good.replica(replica);
        // Without the second try of a client that is challenged: the nonce of the other replica must do.
        let exchange = session.wire().send(&call)?;
        let accepted = matches!(&exchange.answer, Ok(response) if response.is_success());
        let verdict = if accepted { Verdict::Pass } else { Verdict::Fail };
        let title = format!("the nonce of {} at {}", session.wire().address(0), session.wire().address(replica));
        session.note(&title, Role::Check, "2xx", observed(&exchange.answer), verdict, &call, &exchange);
    }
    Ok(())
}
