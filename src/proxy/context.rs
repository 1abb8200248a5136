//! The state of one request across Pingora's phases.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fapi::cors::Cors;
use fapi::error_format::ErrorFormat;
use fapi::headers::{InteractionId, TraceContext};
use fapi::peer::{ClientCertificate, NoCertificate, Peer};
use fapi::permit::Permit;
use fapi::rejection::Cause;
use fapi::signature::evidence::Evidence;
use fapi::signature::signed_request::SignedRequest;
use http::HeaderValue;
use pingora::proxy::Session;

use super::held::Held;
use super::record::Unrecorded;
use super::signed::response_rules;
use super::unread::Rest;
use crate::clock::Moment;
use crate::connection::ConnectionFacts;
use crate::connection::exchanges::{Answering, Place};
use crate::connection::limits::ExchangeLimits;
use crate::connection::shares::Holder;
use crate::gateway::Exchange;
use crate::generation::Generation;
use crate::telemetry::audit::CertificateSource;
use crate::trace::{Child, Recorder};
use crate::upstream::{Server, Turn, Upstream};

/// The state of one request.
pub struct Context {
    pub(super) exchange: Exchange,
    /// What is recorded of it, if anything.
    pub(super) recorder: Option<Arc<Recorder>>,
    /// The attempt to send it that is in progress, if that is recorded.
    pub(super) attempt: Child,
    pub(super) peer: Peer,
    pub(super) verified_chain: bool,
    /// The CORS rule of the listener.
    pub(super) listener_cors: Option<Arc<Cors>>,
    /// The form of errors of the listener.
    pub(super) listener_errors: Option<Arc<ErrorFormat>>,
    /// The value of `Client-Cert-Chain`, if the route forwards it.
    pub(super) chain: Option<HeaderValue>,
    pub(super) generation: Arc<Generation>,
    /// The place of the exchange among all, and among those of its client, unless there was none.
    pub(super) place: Option<Place>,
    /// The place of the response, if it is the gateway's own.
    pub(super) answering: Option<Answering>,
    /// Whose exchange it is, once that is known.
    pub(super) holder: Option<Holder>,
    /// Its place among those of the upstream.
    pub(super) turn: Option<Turn>,
    pub(super) limits: ExchangeLimits,
    /// Whether the token expires before the exchange must have ended, where that ends it.
    pub(super) expires_first: bool,
    pub(super) began: Moment,
    pub(super) began_at: Duration,
    pub(super) decision: Duration,
    /// How much of the time until the decision the client took to send the body that it depends on.
    pub(super) body_wait: Duration,
    pub(super) body_bytes: u64,
    /// When the first byte of the body arrived.
    pub(super) body_began: Option<Moment>,
    pub(super) body_done: bool,
    /// What becomes of the part of the body that was not read.
    pub(super) rest: Rest,
    /// The signature of the request.
    pub(super) signed: Option<Arc<SignedRequest>>,
    /// What was signed of the response.
    pub(super) signed_response: Option<Evidence>,
    /// Whether the body was read before the decision, and the client told to send it.
    pub(super) body_was_read: bool,
    /// The body of a request, if Pingora does not keep it.
    pub(super) body: Bytes,
    pub(super) upstream: Option<Arc<str>>,
    pub(super) upstream_status: Option<u16>,
    /// The status of a response of the gateway's own.
    pub(super) own_status: Option<u16>,
    /// Whether the upstream's response is complete.
    pub(super) response_done: bool,
    /// From the decision to the header section of the upstream's response.
    pub(super) upstream_duration: Option<Duration>,
    /// How many bytes of the body of the response were passed to the client's connection.
    pub(super) response_bytes: u64,
    /// How many times a server was chosen.
    pub(super) attempts: usize,
    /// The server that was chosen last.
    pub(super) server: Option<Arc<Server>>,
    /// The servers that could not be connected to.
    pub(super) tried: Vec<SocketAddr>,
    /// What the record of the exchange needs if it is dropped before its end; `None` before its beginning and after its end.
    pub(super) unrecorded: Option<Box<Unrecorded>>,
}

impl Context {
    /// Begins an exchange at `began`, when the clock showed `began_at`.
    pub(super) fn new(generation: Arc<Generation>, place: Option<Place>, began: Moment, began_at: Duration) -> Self {
        Self {
            exchange: fresh_exchange(),
            recorder: None,
            attempt: Child::default(),
            peer: Peer::Anonymous(NoCertificate::NotPresented),
            verified_chain: false,
            listener_cors: None,
            listener_errors: None,
            chain: None,
            place,
            answering: None,
            holder: None,
            turn: None,
            limits: generation.limits.exchange(),
            generation,
            began,
            began_at,
            decision: Duration::ZERO,
            body_wait: Duration::ZERO,
            body_bytes: 0,
            body_began: None,
            body_done: false,
            rest: Rest::None,
            body_was_read: false,
            signed: None,
            signed_response: None,
            body: Bytes::new(),
            expires_first: false,
            upstream: None,
            upstream_status: None,
            upstream_duration: None,
            own_status: None,
            response_done: false,
            response_bytes: 0,
            attempts: 0,
            server: None,
            tried: Vec::new(),
            unrecorded: None,
        }
    }

    /// Returns the upstream that the permit names.
    pub(super) fn upstream(&self) -> Option<&Arc<Upstream>> {
        self.generation.upstreams.get(self.exchange.permit()?.upstream().index)
    }

    /// Whether the route of the permit is in shadow.
    pub(super) fn is_in_shadow(&self) -> bool {
        self.exchange.permit().is_some_and(Permit::is_in_shadow)
    }

    /// Whether its authorization server is in shadow whoever asks.
    pub(super) fn is_in_shadow_for_all(&self) -> bool {
        let permit = self.exchange.permit().filter(|permit| permit.is_in_shadow());
        let rules = permit.and_then(|permit| permit.route().endpoint()).map(|(rules, _)| rules);
        rules.and_then(|rules| rules.shadow.as_ref()).is_some_and(|shadow| shadow.clients().is_empty())
    }

    /// Notes why an answer would be withheld, and lets it pass, if its authorization server is in shadow.
    pub(super) fn pass_answer<T>(&mut self, cause: Cause, answer: T) -> Result<T, Cause> {
        let noted = self.exchange.permit().and_then(|permit| permit.noted(cause.code(), &cause));
        let Some(noted) = noted else { return Err(cause) };
        // The first reason counts.
        let _ = self.exchange.seen.would_deny.get_or_insert_with(|| noted.into());
        Ok(answer)
    }

    /// Whether the answer is for a browser that an authorization server shows pages to.
    pub(super) fn is_for_browsers(&self) -> bool {
        self.exchange.seen.route.as_ref().is_some_and(|route| route.is_for_browsers())
    }

    /// Why the exchange cannot be Pingora's, if so.
    pub(super) fn held(&self) -> Option<Held> {
        let route = self.exchange.permit()?.route();
        if let Some((_, endpoint)) = route.endpoint() {
            return endpoint.holds_answers().then_some(Held::Endpoint(endpoint));
        }
        let signed = response_rules(route).map(|rules| Held::Signed(rules.content_bytes));
        signed.or_else(|| (!self.body.is_empty()).then_some(Held::Upload))
    }

    /// Returns the CORS rule for the answer: the route's, or else the listener's.
    pub(super) fn cors(&self) -> Option<&Cors> {
        match &self.exchange.seen.route {
            Some(route) => route.cors_or(self.listener_cors.as_deref()),
            None => self.listener_cors.as_deref(),
        }
    }

    /// Returns the certificate to record: the client's, even if it was no longer trusted, and never a proxy's.
    pub(super) fn certificate<'c>(
        &'c self,
        facts: &'c ConnectionFacts,
    ) -> Option<(&'c ClientCertificate, CertificateSource)> {
        use NoCertificate::{ForwardedUntrusted, NoLongerTrusted, NotForwarded, NotPresented, NotRequested};
        match &self.peer {
            Peer::Forwarded(certificate) => Some((certificate, CertificateSource::Forwarded)),
            Peer::Anonymous(NotForwarded | ForwardedUntrusted { .. }) => None,
            Peer::Certificate(_) | Peer::Anonymous(NoLongerTrusted | NotPresented | NotRequested) => {
                Some((facts.peer.certificate()?, CertificateSource::Handshake))
            }
        }
    }
}

/// Creates an exchange with new IDs.
pub(crate) fn fresh_exchange() -> Exchange {
    let random = draw();
    let (interaction, trace) = random.split_at(16);
    let uuid = |bytes: &[u8]| uuid::Builder::from_random_bytes(bytes.try_into().unwrap_or_default()).into_uuid();
    Exchange::new(InteractionId::from_uuid(uuid(interaction)), TraceContext::start(trace.try_into().unwrap_or([1; 24])))
}

/// Returns random bytes for the IDs of one exchange. A draw for each would cost more than all else that an ID takes.
fn draw() -> [u8; IDS] {
    const AT_ONCE: usize = 64;
    thread_local! {
        static DRAWN: RefCell<([[u8; IDS]; AT_ONCE], usize)> = const { RefCell::new(([[0; IDS]; AT_ONCE], AT_ONCE)) };
    }
    DRAWN.with_borrow_mut(|(drawn, used)| {
        if *used >= AT_ONCE {
            // IDs are not secret. If the generator fails, they are not unique either, which is no reason to refuse a request.
            let _ = aws_lc_rs::rand::fill(drawn.as_flattened_mut());
            *used = 0;
        }
        let next = drawn.get(*used).copied().unwrap_or([0; IDS]);
        *used = used.saturating_add(1);
        next
    })
}

/// How many random bytes the IDs of an exchange take.
const IDS: usize = 40;

/// Returns the facts of the connection on which a request arrived.
pub(super) fn connection(session: &Session) -> Option<&ConnectionFacts> {
    session.digest()?.ssl_digest.as_ref()?.extension.get::<ConnectionFacts>()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_exchanges_have_an_id_in_common() {
        let ids = || {
            let drawn = (0..200).map(|_| fresh_exchange());
            drawn.flat_map(|one| [one.interaction.to_string(), one.trace.trace_id().to_owned()]).collect::<Vec<_>>()
        };
        let of_two_threads = [ids(), std::thread::spawn(ids).join().unwrap()].concat();
        assert_eq!(of_two_threads.iter().collect::<HashSet<_>>().len(), of_two_threads.len());
    }
}
