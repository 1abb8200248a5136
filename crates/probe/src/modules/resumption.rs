//! Sessions of TLS that are resumed: what they carry over, and what may be sent before they stand (RFC 8446 §2.2, §2.3).

use std::sync::Arc;

use fapi::ecosystem::Ecosystem;
use rustls::{ClientConfig, HandshakeKind};

use crate::call::{Call, Presents};
use crate::exchange::NoAnswer;
use crate::exchange::door::Early;
use crate::exchange::http1::Connection;
use crate::expect::Refusal;
use crate::module::{Module, Plans};
use crate::report::{Role, Severity, Verdict};
use crate::session::{Binding, Session, Stop, observed, skip};
use crate::wire::Exchange;

pub(super) const MODULES: &[Module] = &[
    Module {
        name: "tls-resumption",
        purpose: "On a session that is resumed, tokens are compared with the certificate of its first handshake",
        clause: "RFC 8705 §3, RFC 8446 §4.6.1",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Certificate,
        run: resumption,
    },
    Module {
        name: "brazil-tls-resumption",
        purpose: "Sessions of TLS are not resumed",
        clause: "FAPI-BR security profile § Transport security",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::Ecosystems(&[Ecosystem::Brazil]),
        run: |session| {
            let good = super::ecosystems::good(session)?;
            let config = opened(session, &good)?;
            let next = super::ecosystems::good(session)?;
            let (resumed, exchange) = again(session, &next, &config)?;
            let told = if resumed { "it is resumed" } else { "it is a new one" };
            let verdict = match (&exchange.answer, resumed) {
                (Err(_), _) => Verdict::Inconclusive,
                (Ok(_), true) => Verdict::Fail,
                (Ok(_), false) => Verdict::Pass,
            };
            let title = "a second connection with the session of the first";
            session.note(title, Role::Check, "a new session", told.to_owned(), verdict, &next, &exchange);
            Ok(())
        },
    },
    Module {
        name: "tls-early-data",
        purpose: "A request before the end of the handshake, which can be replayed, is not answered",
        clause: "RFC 9325 §3.10, RFC 8470 §3",
        suite: &[],
        severity: Severity::Failure,
        plans: Plans::All,
        run: early_data,
    },
];

/// Opens a session with a good call, so that a later connection can resume it.
fn opened(session: &mut Session<'_>, good: &Call) -> Result<Arc<ClientConfig>, Stop> {
    let config = session.wire().door(good).resuming().map_err(|error| skip(error.to_string()))?;
    let exchange = session.wire().send_by(good, |door, sent| {
        Connection::new(door.open_as(&config)?).exchange(&sent.http1(), good.method == "HEAD")
    })?;
    let came = matches!(&exchange.answer, Ok(response) if response.is_success());
    let verdict = if came { Verdict::Pass } else { Verdict::Inconclusive };
    let told = observed(&exchange.answer);
    session.note("a good call", Role::Control, "2xx", told.clone(), verdict, good, &exchange);
    if came {
        Ok(config)
    } else {
        Err(Stop::Inconclusive(format!("the control was not answered with success: {told}")))
    }
}

/// Sends a call on a connection that may resume the session, and says whether it did.
fn again(session: &mut Session<'_>, call: &Call, config: &Arc<ClientConfig>) -> Result<(bool, Exchange), Stop> {
    let mut resumed = false;
    let exchange = session.wire().send_by(call, |door, sent| {
        let stream = door.open_as(config)?;
        resumed = stream.conn.handshake_kind() == Some(HandshakeKind::Resumed);
        Connection::new(stream).exchange(&sent.http1(), call.method == "HEAD")
    })?;
    Ok((resumed, exchange))
}

fn resumption(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = session.good_with(Binding::Certificate)?;
    let others = session.good_of(1, Binding::Certificate)?;
    session.control(&others)?;
    let config = opened(session, &good)?;
    let stolen = Call { presents: Presents::Client(0), ..others };
    let (resumed, exchange) = again(session, &stolen, &config)?;
    if !resumed {
        return Err(skip("the target resumes no sessions"));
    }
    let verdict = Refusal::TOKEN.judge(&exchange.answer);
    let told = observed(&exchange.answer);
    let title = "the token of another client on the resumed session";
    session.note(title, Role::Check, &Refusal::TOKEN.to_string(), told, verdict, &stolen, &exchange);
    Ok(())
}

fn early_data(session: &mut Session<'_>) -> Result<(), Stop> {
    let good = session.good()?;
    let config = opened(session, &good)?;
    let mut early = None;
    let exchange = session.wire().send_by(&good, |door, sent| {
        let request = sent.http1();
        let (stream, found) = door.open_early(&config, &request)?;
        early = Some(found);
        let mut connection = Connection::new(stream);
        match found {
            Early::Taken => connection.read(false),
            // It is not sent a second time: what was to be seen was seen.
            Early::NotAllowed | Early::NotTaken => Err(NoAnswer::Closed),
        }
    })?;
    // RFC 8470 §5.2: 425 tells the client to wait for the handshake.
    let (told, verdict) = match (early, &exchange.answer) {
        (None, answer) => (format!("no second connection: {}", observed(answer)), Verdict::Inconclusive),
        (Some(Early::NotAllowed), _) => ("sessions do not allow it".to_owned(), Verdict::Pass),
        (Some(Early::NotTaken), _) => ("it was not taken".to_owned(), Verdict::Pass),
        (Some(Early::Taken), Ok(response)) if response.status.as_u16() == 425 => ("425".to_owned(), Verdict::Pass),
        (Some(Early::Taken), Ok(response)) => (format!("it was answered: {}", response.summary()), Verdict::Fail),
        (Some(Early::Taken), Err(error)) => (format!("it was taken: {error}"), Verdict::Inconclusive),
    };
    let expected = "not taken, or 425";
    session.note("a good call before the end of the handshake", Role::Check, expected, told, verdict, &good, &exchange);
    Ok(())
}
