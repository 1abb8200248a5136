//! What becomes of a token that was good (FAPI 2.0 §5.3.4 (3)): a cache must not keep it alive.

use std::time::Duration;

use crate::clock::{instant, now};
use crate::expect::Refusal;
use crate::module::{Module, Plans};
use crate::report::{Role, Severity, Verdict};
use crate::revoke::revoke;
use crate::session::{Session, Stop, observed, skip};

pub(super) const MODULES: &[Module] = &[
    Module {
        name: "token-end",
        purpose: "A token that was accepted is refused once it has ended",
        clause: "FAPI 2.0 §5.3.4 (3)",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: end,
    },
    Module {
        name: "token-revoked",
        purpose: "A token that was revoked is refused within the time that the target claims",
        clause: "FAPI 2.0 §5.3.4 (3)",
        suite: &["fapi2-security-profile-final-attempt-reuse-authorization-code-after-one-second"],
        severity: Severity::Failure,
        plans: Plans::All,
        run: revoked,
    },
    Module {
        name: "token-new",
        purpose: "A token is accepted as soon as it was issued",
        clause: "FAPI 2.0 §5.3.4",
        suite: &["fapi2-security-profile-final-refresh-token"],
        severity: Severity::Failure,
        plans: Plans::All,
        run: |session| {
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
const SHORT: u64 = 4;

fn end(session: &mut Session<'_>) -> Result<(), Stop> {
    let binding = session.binding();
    let until = now().saturating_add(SHORT);
    let call = session.call_with_token(binding, |token| token.expires_at(until))?;
    session.control(&call)?;
    session.control(&call)?;
    let left = until.saturating_add(1).saturating_sub(now());
    session.wait(Duration::from_secs(left));
    let refusal = Refusal::TOKEN;
    let exchange = session.answered(&call)?;
    let mut verdict = refusal.judge(&exchange.answer);
    let mut told = observed(&exchange.answer);
    let mut last = exchange;
    if verdict == Verdict::Fail {
        // A leeway is allowed where it is small (RFC 9068 §4, RFC 7519 §4.1.4).
        session.wait(Duration::from_secs(LEEWAY));
        last = session.answered(&call)?;
        if refusal.judge(&last.answer) == Verdict::Pass {
            verdict = Verdict::Warning;
            told = format!("{told} a second after its end, {} {LEEWAY} seconds later", observed(&last.answer));
        }
    }
    session.note("the same token after its end", Role::Check, &refusal.to_string(), told, verdict, &call, &last);
    Ok(())
}

/// The leeway that is a warning, in seconds; more is a failure.
const LEEWAY: u64 = 10;

fn revoked(session: &mut Session<'_>) -> Result<(), Stop> {
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
