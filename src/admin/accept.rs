//! How clients reach the admin listener: without TLS, or over TLS with or without a certificate.
//!
//! Probes and Prometheus need no certificate. A request that changes something does, unless it can only come from this
//! machine.

use std::sync::Arc;

use async_trait::async_trait;
use fapi::UnixTime;
use pingora::apps::ServerApp;
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
use crate::connection::tls::Admission;
use crate::generation::Generation;

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
pub struct AdminListener(Arc<Admin>);

impl AdminListener {
    /// Creates the listener in front of `admin`.
    pub fn new(admin: Admin) -> Self {
        Self(Arc::new(admin))
    }

    async fn open(&self, stream: Stream) -> Option<Stream> {
        let generation = self.0.generation.load_full();
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
}

#[async_trait]
impl ServerApp for AdminListener {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let stream = match self.0.entrance {
            Entrance::Loopback | Entrance::Network => stream,
            Entrance::Tls => self.open(stream).await?,
        };
        self.0.process_new(stream, shutdown).await
    }
}

impl Entrance {
    /// Whether a request on this connection may change something.
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
