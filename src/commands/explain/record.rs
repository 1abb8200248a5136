//! The decision on a call as the audit would have it.

use fapi::rejection::Seen;
use http::StatusCode;

use super::{Call, Ended};
use crate::clock::rfc3339;
use crate::gateway::{Exchange, Outcome};
use crate::generation::Generation;
use crate::proxy::fresh_exchange;
use crate::telemetry::audit::{self, Asked, CertificateSource, Ending};

/// The line of a call that was decided. What is undecided has none, nor has a handshake that fails.
pub(super) fn line(
    ended: Ended,
    call: &Call,
    generation: &Generation,
    listener: Option<usize>,
    listener_address: &str,
) -> String {
    let (outcome, seen, status) = match ended {
        Ended::Permitted(permit, seen) => {
            let would_deny = permit.would_deny().map(|would_deny| would_deny.clone().into());
            (Outcome::Permit(*permit), Seen { would_deny, ..*seen }, None)
        }
        Ended::Described(document) => (Outcome::Metadata(document), Seen::default(), Some(StatusCode::OK)),
        Ended::Refused(rejection) => {
            let (seen, status) = (rejection.seen().clone(), rejection.status());
            (Outcome::Reject(*rejection), seen, Some(status))
        }
        Ended::NoBody(_) | Ended::NoSignature(_) | Ended::Handshake(..) => return String::new(),
    };
    let exchange = Exchange { outcome, seen, ..fresh_exchange() };
    let host = generation.listeners.get(listener.unwrap_or(0)).and_then(|hosts| hosts.find(call.server_name()));
    let request = host.map(|host| Asked::kept_of(&call.parts(&host.origins)));
    let source = match host.and_then(|host| host.trusted_proxy.as_ref()) {
        Some(_) => CertificateSource::Forwarded,
        None => CertificateSource::Handshake,
    };
    let certificate = call.certificate.as_deref();
    let ending = Ending {
        time: rfc3339(std::time::Duration::from_secs(call.now.0)),
        listener: listener_address,
        pseudonyms: generation.pseudonyms.as_deref(),
        certificate_subject: certificate.map(|certificate| certificate.subject()),
        certificate_source: certificate.map(|_| source),
        request: request.as_ref().map(Asked::of),
        status: status.map(|status| status.as_u16()),
        upstream: exchange.permit().map(|permit| &*permit.upstream().name),
        ..Ending::default()
    };
    let decided = audit::decision(&exchange.outcome, &ending);
    String::from_utf8_lossy(&audit::line(&exchange, &ending, decided)).into_owned()
}
