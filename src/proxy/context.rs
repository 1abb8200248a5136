//! What one request takes with it through the phases.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fapi::headers::{InteractionId, TraceContext};
use fapi::peer::{ClientCertificate, NoCertificate, Peer};
use http::HeaderValue;
use pingora::proxy::Session;

use crate::clock::Moment;
use crate::connection::ConnectionFacts;
use crate::gateway::Exchange;
use crate::generation::Generation;
use crate::telemetry::audit::CertificateSource;
use crate::upstream::{Server, Upstream};

/// One request on its way through the phases.
pub struct Context {
    pub(super) exchange: Exchange,
    pub(super) peer: Peer,
    pub(super) verified_chain: bool,
    /// The value of `Client-Cert-Chain`, if the route hands it on.
    pub(super) chain: Option<HeaderValue>,
    pub(super) generation: Arc<Generation>,
    pub(super) began: Moment,
    pub(super) began_at: Duration,
    pub(super) decision: Duration,
    pub(super) body_bytes: u64,
    /// When its first byte came.
    pub(super) body_began: Option<Moment>,
    pub(super) body_done: bool,
    /// Whether the body was read before the decision, and the client told to send it.
    pub(super) form_was_read: bool,
    pub(super) upstream: Option<Arc<str>>,
    pub(super) upstream_status: Option<u16>,
    /// How many times a server was chosen, and the one that was chosen last.
    pub(super) attempts: usize,
    pub(super) server: Option<Arc<Server>>,
    /// Those that could not be connected to.
    pub(super) tried: Vec<SocketAddr>,
}

impl Context {
    /// Where the permit leads.
    pub(super) fn upstream(&self) -> Option<&Arc<Upstream>> {
        self.generation.upstreams.get(self.exchange.permit()?.upstream().index)
    }

    /// The certificate to record: what the client had, also where it counted no more, and never that of a proxy.
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

/// An exchange with ids of its own, all from one draw of random bytes.
pub(super) fn fresh_exchange() -> Exchange {
    let mut random = [0; 40];
    // Ids need no secrecy; a generator that fails gives an id that is not unique, which is no reason to refuse anybody.
    let _ = aws_lc_rs::rand::fill(&mut random);
    let (interaction, trace) = random.split_at(16);
    let uuid = |bytes: &[u8]| uuid::Builder::from_random_bytes(bytes.try_into().unwrap_or_default()).into_uuid();
    Exchange::new(InteractionId::from_uuid(uuid(interaction)), TraceContext::start(trace.try_into().unwrap_or([1; 24])))
}

/// What is known of the connection that a request came on.
pub(super) fn connection(session: &Session) -> Option<&ConnectionFacts> {
    session.digest()?.ssl_digest.as_ref()?.extension.get::<ConnectionFacts>()
}
