//! The TLS handshake with a client: the requested name chooses the virtual host, whose rules apply to the handshake.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use fapi::UnixTime;
use pingora::listeners::TlsAccept;
use pingora::listeners::tls::Acceptor;
use pingora::protocols::Ssl;
use pingora::protocols::l4::stream::Stream as TcpStream;
use pingora::protocols::tls::server::handshake_with_callback;
use pingora::protocols::tls::{TlsRef, TlsStream};

use super::tls::{self, Attempt, Hello, HelloError, Reason};
use super::{ConnectionFacts, VirtualHosts};

/// Creates the facts of a connection, once.
struct FactsOfHandshake<'h> {
    client_address: IpAddr,
    hosts: &'h VirtualHosts,
    hello: &'h Hello,
    began: UnixTime,
}

#[async_trait]
impl TlsAccept for FactsOfHandshake<'_> {
    async fn handshake_complete_callback(&self, tls: &TlsRef) -> Option<Arc<dyn std::any::Any + Send + Sync>> {
        let chain = tls.peer_cert_chain_der().unwrap_or_default().to_vec();
        // The connection keeps the name that chose the rules; a second ClientHello must not have another one.
        if tls.server_name() != self.hello.server_name.as_deref() {
            return None;
        }
        let name = self.hello.server_name.clone();
        let version = if tls.version() == Some("TLSv1_3") { "TLSv1.3" } else { "TLSv1.2" };
        let facts = ConnectionFacts::new(chain, name, self.client_address, version, self.hosts, self.began)?;
        Some(Arc::new(facts))
    }
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// The client did not send a valid ClientHello.
    #[error(transparent)]
    Hello(#[from] HelloError),
    /// The client requested a name that has no virtual host, or no name where one is required.
    #[error("{}", unserved(.0.as_deref()))]
    ServerName(Option<Box<str>>),
    /// The handshake succeeded, but nothing can be said about the client: its second ClientHello requests another name, or
    /// its certificate cannot be parsed.
    #[error("the client requests two names, or its certificate cannot be parsed")]
    Ambiguous,
    /// rustls refused it.
    #[error(transparent)]
    Tls(#[from] Box<pingora::Error>),
}

impl HandshakeError {
    /// Returns the reason, and what there is to say about it.
    pub fn explain(&self, attempt: &Attempt) -> (Reason, String) {
        match (self, attempt.refusal.get()) {
            (Self::ServerName(_), _) => (Reason::NameUnknown, self.to_string()),
            (Self::Hello(HelloError::Tls(error)), _) => (Reason::of(error), self.to_string()),
            (Self::Ambiguous | Self::Hello(HelloError::Silent | HelloError::Io(_) | HelloError::TooLarge), _) => {
                (Reason::Other, self.to_string())
            }
            (Self::Tls(_), Some(refusal)) => (Reason::of(refusal), refusal.to_string()),
            (Self::Tls(error), None) => {
                let text = error.context.as_ref().map_or_else(|| error.to_string(), |text| text.as_str().to_owned());
                // Pingora says this of both directions.
                (Reason::of_text(&text), text.trim_start_matches("tls connect error: ").to_owned())
            }
        }
    }

    /// Whether the client did not even begin.
    pub const fn is_silence(&self) -> bool {
        matches!(self, Self::Hello(HelloError::Silent))
    }
}

fn unserved(server_name: Option<&str>) -> String {
    match server_name {
        Some(name) => format!("no virtual host serves the requested name {name:?}"),
        None => "the client requested no name, and no virtual host serves clients without one".to_owned(),
    }
}

/// Performs the handshake, which began at `began`. The facts of the connection are in its TLS digest; what the client
/// shows is noted in `attempt`, whatever becomes of the handshake.
///
/// # Errors
/// [`HandshakeError`].
pub async fn handshake(
    mut stream: TcpStream,
    client_address: IpAddr,
    hosts: &VirtualHosts,
    began: UnixTime,
    attempt: &Arc<Attempt>,
) -> Result<TlsStream<TcpStream>, HandshakeError> {
    let hello = tls::read_hello(&mut stream).await?;
    if let Some(name) = &hello.server_name {
        let _ = attempt.server_name.set(name.clone());
    }
    let Some(host) = hosts.find(hello.server_name.as_deref()) else {
        tls::refuse_name(&mut stream, &hello).await;
        return Err(HandshakeError::ServerName(hello.server_name));
    };
    stream.rewind(&hello.bytes);
    let facts = FactsOfHandshake { client_address, hosts, hello: &hello, began };
    let acceptor = Acceptor::from_server_config(host.tls.config.clone());
    let tls = tls::noting(attempt.clone(), handshake_with_callback(&acceptor, stream, &facts)).await?;
    let has_facts = tls.get_ssl_digest().is_some_and(|digest| digest.extension.get::<ConnectionFacts>().is_some());
    if has_facts { Ok(tls) } else { Err(HandshakeError::Ambiguous) }
}
