//! How clients reach the admin listener: without TLS, or over TLS with or without a certificate.
//!
//! Probes and Prometheus need no certificate. A request that changes something does, unless it can only come from this
//! machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use fapi::UnixTime;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream, ServerApp};
use pingora::listeners::TlsAccept;
use pingora::listeners::tls::Acceptor;
use pingora::protocols::Stream;
use pingora::protocols::http::ServerSession;
use pingora::protocols::l4::stream::Stream as TcpStream;
use pingora::protocols::tls::TlsRef;
use pingora::protocols::tls::server::handshake_with_callback;
use pingora::server::ShutdownWatch;
use rustls::pki_types::CertificateDer;

use super::Admin;
use super::places::{Admitted, Place, Places};
use crate::connection::tls::Admission;
use crate::generation::Generation;
use crate::telemetry::overload::Cap;

/// Who can reach the admin listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entrance {
    /// Anyone on this machine, without TLS.
    Loopback,
    /// Anyone who can reach the address, without TLS.
    Network,
    /// Anyone who can reach the address, over TLS.
    Tls,
}

/// Terminates TLS, if it is configured, and passes the connection to [`Admin`].
pub struct AdminListener {
    admin: Arc<Admin>,
    places: Arc<Places>,
}

impl AdminListener {
    /// Creates the listener in front of `admin`.
    pub fn new(admin: Admin) -> Self {
        Self { admin: Arc::new(admin), places: Arc::default() }
    }

    async fn open(&self, stream: Stream) -> Option<Stream> {
        let generation = self.admin.generation.load_full();
        let tls = generation.admin_tls.as_ref()?;
        let stream = *stream.into_any().downcast::<TcpStream>().ok()?;
        let acceptor = Acceptor::from_server_config(tls.config.clone());
        let handshake = handshake_with_callback(&acceptor, stream, &ChainOfHandshake);
        match tokio::time::timeout(generation.limits.handshake_timeout, handshake).await {
            Ok(Ok(stream)) => Some(Box::new(stream)),
            Ok(Err(error)) => {
                tracing::debug!(%error, "handshake with the admin listener failed");
                None
            }
            Err(_) => None,
        }
    }

    async fn serve(&self, stream: Stream, place: Place, shutdown: &ShutdownWatch) {
        let stream = match self.admin.entrance {
            Entrance::Loopback | Entrance::Network => Some(stream),
            Entrance::Tls => self.open(stream).await,
        };
        let Some(stream) = stream else { return };
        let connection = AdminConnection { admin: self.admin.clone(), place, used: AtomicBool::new(false) };
        Arc::new(connection).process_new(stream, shutdown).await;
    }
}

#[async_trait]
impl ServerApp for AdminListener {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let admitted = self.places.take();
        if admitted.as_ref().is_none_or(|admitted| admitted.displaced) {
            self.admin.metrics.overload.refused(Cap::AdminConnections, None);
        }
        let Admitted { place, closed, .. } = admitted?;
        tokio::select! {
            // Completes with an error when the place is given back, which is when `serve` ends.
            Ok(()) = closed => {}
            () = self.serve(stream, place, shutdown) => {}
        }
        None
    }
}

/// One connection of a client to [`Admin`].
struct AdminConnection {
    admin: Arc<Admin>,
    place: Place,
    /// Whether it has had a request.
    used: AtomicBool,
}

#[async_trait]
impl HttpServerApp for AdminConnection {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let patience = if self.used.swap(true, Ordering::Relaxed) { NEXT_REQUEST } else { FIRST_REQUEST };
        if !self.place.waits(true) {
            return None;
        }
        match tokio::time::timeout(patience, session.read_request()).await {
            Ok(Ok(true)) if self.place.waits(false) => {}
            Ok(Ok(_) | Err(_)) | Err(_) => return None,
        }
        session.set_keepalive((!*shutdown.borrow()).then_some(NEXT_REQUEST.as_secs()));
        let answered = tokio::time::timeout(ANSWER, async {
            let (parts, body) = self.admin.answer(&mut session, &self.place).await.into_parts();
            session.write_response_header(Box::new(parts.into())).await?;
            if !body.is_empty() {
                session.write_response_body(body.into(), true).await?;
            }
            let settings = HttpPersistentSettings::for_session(&session);
            Ok::<_, Box<pingora::Error>>((session.finish().await?, settings))
        });
        let (stream, settings) = answered.await.ok()?.ok()?;
        stream.map(|stream| ReusedHttpStream::from_reusable_stream(stream, settings))
    }
}

impl Entrance {
    /// Whether a request on this connection may change something, or read what names customers.
    ///
    /// A connection may outlive what its handshake relied on, so its certificate is verified again under the current
    /// configuration.
    pub(super) fn admits(self, session: &ServerSession, generation: &Generation, now: UnixTime) -> bool {
        match self {
            Self::Loopback => true,
            Self::Network => false,
            Self::Tls => {
                let digest = session.digest().and_then(|digest| digest.ssl_digest.as_ref());
                let shown = digest.and_then(|digest| digest.extension.get::<Shown>());
                shown
                    .zip(generation.admin_tls.as_ref())
                    .is_some_and(|(Shown(chain), tls)| matches!(tls.admits(chain, now), Admission::Trusted { .. }))
            }
        }
    }
}

/// The certificates that a client presented, leaf first.
struct Shown(Vec<CertificateDer<'static>>);

struct ChainOfHandshake;

#[async_trait]
impl TlsAccept for ChainOfHandshake {
    async fn handshake_complete_callback(&self, tls: &TlsRef) -> Option<Arc<dyn std::any::Any + Send + Sync>> {
        Some(Arc::new(Shown(tls.peer_cert_chain_der().unwrap_or_default().to_vec())))
    }
}

/// How long a client may take for its first request, from the end of the handshake to the end of the header section.
const FIRST_REQUEST: Duration = Duration::from_secs(5);
/// How long it may take for the next one.
const NEXT_REQUEST: Duration = Duration::from_secs(60);
/// How long an answer may take, with the body of the request.
const ANSWER: Duration = Duration::from_secs(30);
