//! One data listener: terminates TLS and passes the connection to the proxy.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use fapi::UnixTime;
use fapi::peer::proxy_protocol::{HeaderError, Source};
use pingora::apps::{HttpServerApp, HttpServerOptions, ReusedHttpStream, ServerApp};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::protocols::l4::stream::Stream as TcpStream;
use pingora::protocols::tls::TlsStream;
use pingora::protocols::{GetSocketDigest, Ssl, Stream};
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;

use crate::connection::addresses::{AddressShare, AddressShares, ClientNetwork, ShareExceeded};
use crate::connection::handshake::{HandshakeError, handshake};
use crate::connection::limits::{Limits, PerAddress};
use crate::connection::lingering::LingeringLimits;
use crate::connection::proxy_protocol::{ProxyProtocolError, read_source};
use crate::connection::slots::{Slot, Slots};
use crate::connection::stream::{ClientStream, HeaderLimits};
use crate::connection::{ConnectionFacts, VirtualHosts};
use crate::generation::Generation;
use crate::proxy::Proxy;
use crate::telemetry::metrics::{Handshake, Metrics};
use crate::telemetry::overload::{Cap, Sparse};

/// Accepts the connections of one address.
pub(super) struct Listener {
    pub(super) index: usize,
    pub(super) http: Arc<HttpProxy<Proxy>>,
    pub(super) proxy: Proxy,
    pub(super) slots: Slots,
    pub(super) handshakes: Slots,
    pub(super) shares: AddressShares,
    /// The connections without a header of the PROXY protocol that the log does not mention yet.
    pub(super) headerless: Sparse,
    pub(super) generation: Arc<ArcSwap<Generation>>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) listener: Arc<str>,
}

impl Listener {
    /// Performs the handshake, whose slot is given back when it is over. The share of the client's address belongs to the
    /// connection.
    async fn open(
        &self,
        stream: TcpStream,
        generation: &Generation,
        handshake_slot: Slot,
    ) -> Option<(Stream, Option<AddressShare>)> {
        // A socket for both families sees IPv4 clients as IPv4-mapped addresses; they are written as IPv4 everywhere.
        let other_end = stream.get_socket_digest()?.peer_addr()?.as_inet()?.ip().to_canonical();
        let (limits, hosts) = (&generation.limits, generation.listeners.get(self.index)?);
        let began = self.proxy.clock.unix_time();
        let opening = self.handshake(stream, other_end, hosts, limits.per_address, began);
        let (opened, outcome) = match tokio::time::timeout(limits.handshake_timeout, opening).await {
            Ok(Ok(opened)) => (Some(opened), Handshake::Success),
            Ok(Err(OpenError::Share(exceeded, client_address))) => {
                self.refused(exceeded.into(), Some(client_address));
                return None;
            }
            Ok(Err(OpenError::ProxyProtocol(error))) => {
                self.no_header(&error, other_end);
                (None, Handshake::Failure)
            }
            Ok(Err(OpenError::Handshake(error, client_address))) => {
                tracing::debug!(client = %client_address, %error, "TLS handshake failed");
                (None, Handshake::Failure)
            }
            Err(_) => (None, Handshake::Timeout),
        };
        drop(handshake_slot);
        self.metrics.handshake(&self.listener, outcome);
        let (tls, share) = opened?;
        let digest = tls.get_ssl_digest()?;
        let facts = digest.extension.get::<ConnectionFacts>()?;
        let client_address = facts.client_address;
        let share = match share {
            _ if facts.is_of_proxy(hosts, began) => None,
            Some(share) => Some(share.established()),
            None if !hosts.expects_proxy_at(client_address) => None,
            // A client at an address where a proxy was expected.
            None => {
                let limits = PerAddress { handshakes: usize::MAX, ..limits.per_address };
                match self.shares.take(ClientNetwork::of(client_address), limits) {
                    Ok(share) => Some(share.established()),
                    Err(exceeded) => {
                        self.metrics.overload.refused(exceeded.into(), Some(client_address));
                        return None;
                    }
                }
            }
        };
        let phase = facts.phase.clone();
        let lingering = LingeringLimits { bytes: limits.unread_body_bytes, time: limits.unread_body_timeout };
        let limits = HeaderLimits {
            timeout: limits.header_timeout,
            // A part of the body may arrive in the same read as the end of the header.
            bytes: limits.header_bytes.saturating_add(64 * 1024),
            fields: limits.header_count,
            idle: limits.idle_timeout,
        };
        let proxy = self.proxy.clone();
        let refuse = Arc::new(move |fault| match digest.extension.get::<ConnectionFacts>() {
            Some(facts) => proxy.refuse_early(fault, facts),
            None => bytes::Bytes::new(),
        });
        Some((Box::new(ClientStream::new(tls, phase, limits, lingering, refuse)), share))
    }

    /// Learns whose connection it is, takes the share of its address, and performs the handshake. There is no share for
    /// an address that may be a proxy's, and none for a balancer that does not name its client.
    async fn handshake(
        &self,
        mut stream: TcpStream,
        other_end: IpAddr,
        hosts: &VirtualHosts,
        limits: PerAddress,
        began: UnixTime,
    ) -> Result<(TlsStream<TcpStream>, Option<AddressShare>), OpenError> {
        let named = match hosts.expects_header_from(other_end) {
            false => Some(other_end),
            true => match read_source(&mut stream).await.map_err(OpenError::ProxyProtocol)? {
                Source::Client(client) => {
                    self.metrics.proxy_protocol(&self.listener, "client");
                    Some(client.to_canonical())
                }
                Source::Unsaid => {
                    self.metrics.proxy_protocol(&self.listener, "own");
                    None
                }
            },
        };
        let client_address = named.unwrap_or(other_end);
        let share = match named.filter(|client| !hosts.expects_proxy_at(*client)) {
            Some(client) => {
                let share = self.shares.take(ClientNetwork::of(client), limits);
                Some(share.map_err(|exceeded| OpenError::Share(exceeded, client))?)
            }
            None => None,
        };
        let tls = handshake(stream, client_address, hosts, began).await;
        Ok((tls.map_err(|error| OpenError::Handshake(error, client_address))?, share))
    }

    /// Counts and logs a connection of a balancer without a valid header.
    fn no_header(&self, error: &ProxyProtocolError, balancer: IpAddr) {
        let outcome = match error {
            // Balancers check whether a port is open by connecting.
            ProxyProtocolError::Io(_) => "closed",
            ProxyProtocolError::Header(HeaderError::Missing) => "missing",
            ProxyProtocolError::Header(_) => "malformed",
        };
        self.metrics.proxy_protocol(&self.listener, outcome);
        match error {
            ProxyProtocolError::Io(_) => tracing::debug!(%balancer, %error, "a balancer closed its connection"),
            ProxyProtocolError::Header(_) => {
                if let Some(connections) = self.headerless.add() {
                    tracing::warn!(%balancer, connections, %error, "connections of a balancer are closed");
                }
            }
        }
    }

    /// Counts a connection that is closed before its handshake.
    fn refused(&self, cap: Cap, client: Option<IpAddr>) {
        self.metrics.handshake(&self.listener, Handshake::Refused);
        self.metrics.overload.refused(cap, client);
    }
}

/// Why a connection was not opened; with the client's address, where it is known.
enum OpenError {
    ProxyProtocol(ProxyProtocolError),
    Share(ShareExceeded, IpAddr),
    Handshake(HandshakeError, IpAddr),
}

impl From<ShareExceeded> for Cap {
    fn from(exceeded: ShareExceeded) -> Self {
        match exceeded {
            ShareExceeded::Connections => Self::AddressConnections,
            ShareExceeded::Handshakes => Self::AddressHandshakes,
        }
    }
}

#[async_trait]
impl ServerApp for Listener {
    async fn process_new(self: &Arc<Self>, stream: Stream, shutdown: &ShutdownWatch) -> Option<Stream> {
        let generation = self.generation.load_full();
        let Some(_slot) = self.slots.take(generation.limits.connections) else {
            self.refused(Cap::Connections, None);
            return None;
        };
        let Some(handshake_slot) = self.handshakes.take(generation.limits.handshakes) else {
            self.refused(Cap::Handshakes, None);
            return None;
        };
        let stream = *stream.into_any().downcast::<TcpStream>().ok()?;
        let (stream, _share) = self.open(stream, &generation, handshake_slot).await?;
        Arc::new(ClientConnection::new(self.http.clone(), &generation.limits)).process_new(stream, shutdown).await
    }

    /// Called when no more connections are accepted; closes those that wait for a request.
    async fn cleanup(&self) {
        // A client that has not noticed yet may be in its handshake, or may have sent a request.
        tokio::time::sleep(LAST_REQUESTS).await;
        ServerApp::cleanup(&*self.http).await;
    }
}

/// One connection to the proxy, with the limits at the time it was accepted; Pingora's own limits are those at startup.
struct ClientConnection {
    http: Arc<HttpProxy<Proxy>>,
    options: HttpServerOptions,
    h2: H2Options,
}

impl ClientConnection {
    fn new(http: Arc<HttpProxy<Proxy>>, limits: &Limits) -> Self {
        let mut options = http.server_options.clone().unwrap_or_default();
        options.h2_idle_timeout = Some(limits.idle_timeout);
        let mut h2 = default_h2_options();
        let list = limits.header_bytes.saturating_mul(2).max(64 * 1024);
        h2.max_header_list_size(u32::try_from(list).unwrap_or(u32::MAX));
        // What a stream's window admits is buffered until its upstream reads it. A body that is not read must not block
        // the other streams of its connection, whose window would have the same size by default.
        h2.initial_connection_window_size(H2_CONNECTION_WINDOW);
        // What is buffered for a client that does not read; by default 400 KiB for each stream.
        h2.max_send_buffer_size(H2_SEND_BUFFER);
        // CVE-2025-8671: a client can also have its streams reset by violating the protocol.
        h2.max_local_error_reset_streams(Some(H2_ERRORS));
        Self { http, options, h2 }
    }
}

#[async_trait]
impl HttpServerApp for ClientConnection {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        self.http.process_new_http(session, shutdown).await
    }

    fn h2_options(&self) -> Option<H2Options> {
        Some(self.h2.clone())
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}

/// Sixteen times the window of a stream.
const H2_CONNECTION_WINDOW: u32 = 1024 * 1024;
const H2_SEND_BUFFER: usize = 64 * 1024;
const H2_ERRORS: usize = 100;
/// How long connections may still send a request after the last one was accepted.
const LAST_REQUESTS: Duration = Duration::from_secs(1);
