//! What becomes of a token that was good (FAPI 2.0 §5.3.4 (3)): a cache must not keep it alive.

use std::time::Duration;

use super::{refusal_of_token, titled, with_each_binding};
use crate::authorization::Source;
use crate::call::Call;
use crate::clock::{instant, now};
use crate::expect::Refusal;
use crate::module::{Module, Plans};
use crate::report::{Role, Severity, Verdict};
use crate::revoke::revoke;
use crate::session::{Binding, Session, Stop, observed, skip};

pub(super) const MODULES: &[Module] = &[
    Module {
        name: "token-end",
        purpose: "A token that was accepted is refused once it has ended",
        clause: "FAPI 2.0 §5.3.4 (3), FAPI 1.0 Baseline §6.2.1 (4), RFC 7519 §4.1.4",
        suite: &[],
        // A leeway of a few minutes is allowed (RFC 7519 §4.1.4, RFC 9068 §4), and nobody waits for those.
        severity: Severity::Warning,
        plans: Plans::All,
        run: end,
    },
    Module {
        name: "token-revoked",
        purpose: "A token that was revoked is refused within the time that the target claims",
        clause: "FAPI 2.0 §5.3.4 (3), FAPI 1.0 Baseline §6.2.1 (4)",
        suite: &["fapi2-security-profile-final-attempt-reuse-authorization-code-after-one-second"],
        severity: Severity::Failure,
        plans: Plans::All,
        run: revoked,
    },
    Module {
        name: "token-new",
        purpose: "A token is accepted as soon as it was issued",
        clause: "FAPI 2.0 §5.3.4, FAPI 1.0 Baseline §6.2.1 (2)",
        suite: &["fapi2-security-profile-final-refresh-token"],
        severity: Severity::Failure,
        plans: Plans::All,
        run: |session| {
            needs_tokens(session)?;
            let binding = session.binding();
            let good = session.good()?;
            session.control(&good)?;
            let token = session.token_of_its_own(0, binding)?;
            let call = session.call_with(0, binding, token)?;
            session.accepted("a token that is new", &call).map(drop)
        },
    },
];

/// How long the token of [`end`] lives, in seconds.
const SHORT: u64 = 8;

fn end(session: &mut Session<'_>) -> Result<(), Stop> {
    session.issuer()?;
    let until = now().saturating_add(SHORT);
    // All end at the same time, so that it is waited for once.
    let mut calls: Vec<(Binding, Call)> = Vec::new();
    let made = with_each_binding(session, |session, binding| {
        let call = session.call_with_token(binding, |token| token.expires_at(until))?;
        // The second could be answered out of a cache.
        session.control(&call)?;
        session.control(&call)?;
        calls.push((binding, call));
        Ok(())
    });
    if calls.is_empty() {
        return made;
    }
    let left = until.saturating_add(1).saturating_sub(now());
    session.wait(Duration::from_secs(left));
    for (binding, call) in calls {
        let title = titled(session, "the same token after its end", binding);
        session.refused(&title, &call, &refusal_of_token(binding))?;
    }
    made
}

/// Ends the module where every token is given: there is one of each kind, which is neither new nor to be lost.
fn needs_tokens(session: &Session<'_>) -> Result<(), Stop> {
    match session.settings().source {
        Source::Given(_) => Err(skip("it needs a token of its own, and tokens are given, one for everything")),
        Source::Issuer | Source::Server(_) => Ok(()),
    }
}

fn revoked(session: &mut Session<'_>) -> Result<(), Stop> {
    needs_tokens(session)?;
    let claimed = session.settings().claims.revocation;
    let bound =
        claimed.ok_or_else(|| skip("`claims.revocation` names no time within which a revoked token is refused"))?;
    let binding = session.binding();
    let token = session.token_of_its_own(0, binding)?;
    let call = session.call_with(0, binding, token.clone())?;
    session.control(&call)?;
    revoke(session.wire(), 0, &token)?;
    let began = instant();
    let pause = bound.checked_div(POLLS).unwrap_or_default().max(Duration::from_millis(50));
    let refusal = Refusal::TOKEN;
    loop {
        let exchange = session.answered(&call)?;
        let took = began.elapsed();
        let verdict = refusal.judge(&exchange.answer);
        if verdict != Verdict::Fail || took > bound || session.settings().dry {
            let told = format!("{} after {:.1} s", observed(&exchange.answer), took.as_secs_f64());
            let expected = format!("{refusal} within {:.1} s", bound.as_secs_f64());
            session.note("the token after its revocation", Role::Check, &expected, told, verdict, &call, &exchange);
            // What refuses it must not refuse what the client gets next. An authorization server may revoke all that a login led to
            // (RFC 7009 §2.1), so the token of the other modules may have gone with it.
            session.renew(0, binding)?;
            let good = session.good()?;
            return session.accepted("another token of the same client", &good).map(drop);
        }
        session.wait(pause);
    }
}

/// How often it is asked within the bound.
const POLLS: u32 = 20;
