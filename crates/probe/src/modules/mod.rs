//! All modules, by what they look at.

mod binding;
mod credentials;
mod ecosystems;
mod fapi1;
mod fetched;
mod http2;
mod lifetimes;
mod nonces;
mod proofs;
mod published;
mod replay;
mod requests;
mod responses;
mod resumption;
mod signatures;
mod tls;
mod tokens;
mod weak;

use crate::call::Call;
use crate::exchange::{NoAnswer, Response};
use crate::expect::Refusal;
use crate::module::Module;
use crate::plan::Plan;
use crate::session::{Binding, Session, Stop, observed};

/// Every module, in the order in which they run.
pub fn all() -> Vec<Module> {
    let general = [
        credentials::MODULES,
        binding::MODULES,
        tokens::MODULES,
        lifetimes::MODULES,
        proofs::MODULES,
        replay::MODULES,
        nonces::MODULES,
        responses::MODULES,
        requests::MODULES,
        http2::MODULES,
        published::MODULES,
        fapi1::MODULES,
        tls::MODULES,
        resumption::MODULES,
        signatures::MODULES,
    ];
    [general.as_slice(), ecosystems::MODULES].concat().concat()
}

// What modules have in common.

/// The answer to a call that a module looks at. Whoever does not answer, or has no time for it, says nothing about a rule.
fn answer_of(session: &mut Session<'_>, call: &Call) -> Result<Response, Stop> {
    let answer = session.answered(call)?.answer;
    match answer {
        Ok(response) if !response.says_nothing() => Ok(response),
        answer => Err(Stop::Inconclusive(observed(&answer))),
    }
}

/// Whether nothing can be said of what an answer does not have: there is none, or it is one of a target in trouble.
fn is_trouble(answer: &Result<Response, NoAnswer>) -> bool {
    answer.as_ref().map_or(true, |response| response.says_nothing() || response.status.is_server_error())
}

/// Whether the other side refused the protocols that a hello offers (RFC 7301 §3.2). rustls names the alert in this way.
fn refuses_protocols(error: &NoAnswer) -> bool {
    matches!(error, NoAnswer::Tls(text) if text.contains("NoApplicationProtocol"))
}

/// Sends a call that must be refused, if only by an end of the connection, and then a good one: a target that is down ends
/// connections too.
fn refused_alive(
    session: &mut Session<'_>,
    good: &Call,
    title: &str,
    call: &Call,
    refusal: &Refusal,
) -> Result<(), Stop> {
    session.refused(title, call, refusal)?;
    session.control(good).map(drop)
}

/// The bindings of the tokens that a rule is looked at with: those that are claimed, and that a plan of the run is about.
fn bindings(session: &Session<'_>) -> Vec<Binding> {
    let (claims, plans) = (&session.settings().claims, session.plans());
    let certificate = claims.certificate && plans.iter().any(|plan| *plan != Plan::Fapi2Dpop);
    let dpop = claims.dpop && plans.iter().any(|plan| matches!(plan, Plan::Fapi2Security | Plan::Fapi2Dpop));
    let covered = [(certificate, Binding::Certificate), (dpop, Binding::Dpop)];
    let covered: Vec<Binding> =
        covered.into_iter().filter_map(|(covered, binding)| covered.then_some(binding)).collect();
    if covered.is_empty() { vec![session.binding()] } else { covered }
}

/// Looks at a rule with each of the bindings. What stops one stops no other, and a rule that was not looked at with each is not kept.
fn with_each_binding<'s>(
    session: &mut Session<'s>,
    mut look: impl FnMut(&mut Session<'s>, Binding) -> Result<(), Stop>,
) -> Result<(), Stop> {
    let mut result = Ok(());
    for binding in bindings(session) {
        match look(session, binding) {
            Ok(()) => {}
            Err(Stop::Ended(why)) => return Err(Stop::Ended(why)),
            Err(stop) if !matches!(result, Err(Stop::Inconclusive(_))) => result = Err(stop),
            Err(_) => {}
        }
    }
    result
}

/// The title of a step, with the binding where several are looked at.
fn titled(session: &Session<'_>, title: &str, binding: Binding) -> String {
    match (bindings(session).len() > 1, binding) {
        (false, _) => title.to_owned(),
        (true, Binding::Certificate) => format!("{title}, bound to a certificate"),
        (true, Binding::Dpop) => format!("{title}, bound to a key"),
    }
}

/// How a token is refused. Where it is bound to a key, what is wrong with it can show in the proof for it.
fn refusal_of_token(binding: Binding) -> Refusal {
    match binding {
        Binding::Certificate => Refusal::TOKEN,
        Binding::Dpop => Refusal { errors: &["invalid_token", "invalid_dpop_proof"], ..Refusal::TOKEN },
    }
}
