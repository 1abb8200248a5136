//! The same checks over HTTP/2, where a library in between may join or lose what HTTP/1.1 keeps apart.

use super::{refused_alive, refuses_protocols, with_each_binding};
use crate::call::Call;
use crate::exchange::NoAnswer;
use crate::expect::Refusal;
use crate::module::{Module, Plans};
use crate::report::{Role, Severity, Verdict};
use crate::session::{Binding, Session, Stop, observed, skip};

pub(super) const MODULES: &[Module] = &[
    Module {
        name: "http2-call",
        purpose: "A good call over HTTP/2 succeeds, and one without credentials is refused",
        clause: "RFC 9113 §8",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: |session| {
            let good = good(session, None)?;
            session.refused("no credentials", &good.without_credentials(), &Refusal::NO_CREDENTIALS)
        },
    },
    Module {
        name: "http2-two-proofs",
        purpose: "Two proofs over HTTP/2 are refused",
        clause: "RFC 9449 §4.3 (1), RFC 9113 §8.2",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Dpop,
        run: |session| {
            let good = good(session, Some(Binding::Dpop))?;
            let twice = good.proofs.iter().flat_map(|proof| [proof.clone(), proof.clone()]).collect();
            session.refused("two fields", &Call { proofs: twice, ..good }, &Refusal::PROOF)
        },
    },
    Module {
        name: "http2-authority",
        purpose: "A request for a host that is not the target's is not answered as if it were",
        clause: "RFC 9113 §8.3.1, RFC 9110 §7.4",
        suite: &[],
        severity: Severity::Warning,
        plans: Plans::All,
        run: |session| {
            let good = good(session, None)?;
            let other = Call { host: "probe.invalid".to_owned(), ..good.clone() };
            let refusal = Refusal { statuses: &[400, 401, 403, 404, 421], errors: &[], closing: true };
            refused_alive(session, &good, "another `:authority`", &other, &refusal)
        },
    },
    Module {
        name: "http2-binding",
        purpose: "A stolen token is refused over HTTP/2 too",
        clause: "RFC 8705 §3, RFC 9449 §4.3 (12)",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: |session| {
            with_each_binding(session, |session, binding| {
                let good = good(session, Some(binding))?;
                match binding {
                    Binding::Certificate => {
                        session.certificate(1)?;
                        let stolen = good.presenting(crate::call::Presents::Client(1));
                        session.refused("the certificate of the second client", &stolen, &Refusal::TOKEN)
                    }
                    Binding::Dpop => {
                        let stolen = good.signed_by(session.proof_key(1)?);
                        session.refused("a proof of the second client", &stolen, &Refusal::PROOF)
                    }
                }
            })
        },
    },
];

/// A good call over HTTP/2, after it succeeded.
fn good(session: &mut Session<'_>, binding: Option<Binding>) -> Result<Call, Stop> {
    let binding = binding.unwrap_or(session.binding());
    let over_http1 = session.good_with(binding)?;
    session.control(&over_http1)?;
    let call = over_http1.over_http2();
    let exchange = session.answered(&call)?;
    match &exchange.answer {
        Ok(response) if response.is_success() => {
            session.note(
                "a good call over HTTP/2",
                Role::Check,
                "2xx",
                observed(&exchange.answer),
                Verdict::Pass,
                &call,
                &exchange,
            );
            Ok(call)
        }
        Err(error) if refuses_protocols(error) || is_without_http2(error) => {
            Err(skip("the target does not speak HTTP/2"))
        }
        answer => {
            let told = observed(answer);
            let answered = answer.as_ref().is_ok_and(|response| !response.says_nothing());
            let verdict = if answered { Verdict::Fail } else { Verdict::Inconclusive };
            session.note("a good call over HTTP/2", Role::Check, "2xx", told.clone(), verdict, &call, &exchange);
            Err(Stop::Inconclusive(format!("a good call over HTTP/2 was answered: {told}")))
        }
    }
}

/// Whether the handshake succeeded, and without a protocol.
fn is_without_http2(error: &NoAnswer) -> bool {
    matches!(error, NoAnswer::Tls(text) if text == "the server does not offer HTTP/2")
}
