//! One data listener: terminates TLS and passes the connection to the proxy.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use fapi::UnixTime;
use fapi::peer::proxy_protocol::{HeaderError, Source};
use pingora::apps::{HttpServerOptions, ServerApp};
use pingora::protocols::l4::stream::Stream as TcpStream;
use pingora::protocols::tls::TlsStream;
use pingora::protocols::{ALPN, GetSocketDigest, Ssl, Stream};
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use tokio::sync::watch;

use super::client_connection::{Client, ClientConnection, spread};
use crate::clock::rfc3339;
use crate::connection::addresses::{AddressShare, AddressShares, ClientNetwork, ShareExceeded};
use crate::connection::handshake::{HandshakeError, handshake};
use crate::connection::limits::{Limits, PerAddress};
use crate::connection::lingering::LingeringLimits;
use crate::connection::proxy_protocol::{ProxyProtocolError, read_source};
use crate::connection::slots::{Slot, Slots};
use crate::connection::stream::{ClientStream, HeaderLimits};
use crate::connection::tls::{Attempt, Reason};
use crate::connection::{ConnectionFacts, VirtualHosts};
use crate::generation::Generation;
use crate::proxy::Proxy;
use crate::telemetry::arrivals::{Handshake, ProxyHeader};
use crate::telemetry::audit::{FailedHandshake, HandshakeAllowance, handshake_line};
use crate::telemetry::overload::{Cap, Sparse};

/// Accepts the connections of one address, for one proxy.
pub(super) struct Listener {
    http: Arc<HttpProxy<Proxy>>,
    proxy: Proxy,
    /// Its connections.
    pub(super) slots: Slots,
    handshakes: Slots,
    shares: AddressShares,
    /// The connections without a header of the PROXY protocol that the log does not mention yet.
    headerless: Sparse,
    /// Shared by all listeners.
    handshake_lines: Arc<HandshakeAllowance>,
    /// Tells HTTP/1 connections that wait for a request that none will be served.
    idle_ends: watch::Sender<bool>,
}

impl Listener {
    /// Creates the listener of `proxy`, with metrics that begin at 0.
    pub(super) fn new(configuration: &Arc<ServerConf>, proxy: Proxy, handshake_lines: Arc<HandshakeAllowance>) -> Self {
        let mut http = http_proxy(configuration, proxy.clone());
        let mut options = HttpServerOptions::default();
        // The line refuses CONNECT itself, so that this refusal also has an interaction ID and an audit record.
        options.allow_connect_method_proxying = true;
        http.server_options = Some(options);
        let (metrics, name) = (&proxy.metrics, &*proxy.listener);
        metrics.arrivals.begin(name, Reason::ALL.iter().map(|reason| reason.as_str()));
        Self {
            slots: Slots::new(metrics.connections(name)),
            handshakes: Slots::new(metrics.arrivals.handshaking(name)),
            shares: AddressShares::default(),
            headerless: Sparse::default(),
            handshake_lines,
            idle_ends: watch::Sender::new(false),
            http: Arc::new(http),
            proxy,
        }
    }

    /// Performs the handshake, whose slot is given back when it is over. The share of the client's address belongs to the
    /// connection.
    async fn open(
        &self,
        stream: TcpStream,
        generation: &Generation,
        handshake_slot: Slot,
    ) -> Option<(Box<Client>, Option<AddressShare>)> {
        // A socket for both families sees IPv4 clients as IPv4-mapped addresses; they are written as IPv4 everywhere.
        let other_end = stream.get_socket_digest()?.peer_addr()?.as_inet()?.ip().to_canonical();
        let (limits, hosts) = (&generation.limits, generation.listeners.get(self.proxy.index)?);
        let began = self.proxy.clock.unix_time();
        let (attempt, client) = (Arc::new(Attempt::default()), OnceLock::new());
        let opening = self.handshake(stream, other_end, hosts, limits.per_address, began, (&attempt, &client));
        let opened = tokio::time::timeout(limits.handshake_timeout, opening).await;
        drop(handshake_slot);
        let client_address = client.get().copied().unwrap_or(other_end);
        let (tls, share) = match opened {
            Ok(Ok(opened)) => {
                self.count(Handshake::Success, NO_REASON);
                opened
            }
            Ok(Err(OpenError::Share(exceeded))) => {
                self.refused(exceeded.into(), Some(client_address));
                return None;
            }
            Ok(Err(OpenError::ProxyProtocol(error))) => {
                self.no_header(&error, other_end);
                self.count(Handshake::Failure, Reason::NotTls.as_str());
                return None;
            }
            Ok(Err(OpenError::Handshake(error))) => {
                tracing::debug!(client = %client_address, %error, "TLS handshake failed");
                let (reason, detail) = error.explain(&attempt);
                self.count(Handshake::Failure, reason.as_str());
                if !error.is_silence() {
                    self.record(client_address, generation, &attempt, reason, detail);
                }
                return None;
            }
            Err(_) => {
                let (reason, limit) = (Reason::Timeout, limits.handshake_timeout);
                self.count(Handshake::Timeout, reason.as_str());
                let detail = format!("the handshake took longer than {limit:?}");
                self.record(client_address, generation, &attempt, reason, detail);
                return None;
            }
        };
        self.established(tls, share, hosts, limits, began)
    }

    /// Wraps a connection whose handshake is complete, with its share.
    fn established(
        &self,
        tls: TlsStream<TcpStream>,
        share: Option<AddressShare>,
        hosts: &VirtualHosts,
        limits: &Limits,
        began: UnixTime,
    ) -> Option<(Box<Client>, Option<AddressShare>)> {
        let digest = tls.get_ssl_digest()?;
        let facts = digest.extension.get::<ConnectionFacts>()?;
        let client_address = facts.client_address;
        let share = match share {
            _ if facts.is_of_proxy(hosts, began) => None,
            Some(share) => Some(share.established()),
            None if !hosts.expects_proxy_at(client_address) => None,
            // A client at an address where a proxy was expected.
            None => {
                let per_address = PerAddress { handshakes: usize::MAX, ..limits.per_address };
                match self.shares.take(ClientNetwork::of(client_address), per_address) {
                    Ok(share) => Some(share.established()),
                    Err(exceeded) => {
                        self.proxy.metrics.overload.refused(exceeded.into(), Some(client_address));
                        return None;
                    }
                }
            }
        };
        let phase = facts.phase.clone();
        let lingering = LingeringLimits { bytes: limits.unread_body_bytes, time: limits.unread_body_timeout };
        let header = HeaderLimits {
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
        Some((Box::new(ClientStream::new(tls, phase, header, lingering, refuse)), share))
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
        (attempt, client): (&Arc<Attempt>, &OnceLock<IpAddr>),
    ) -> Result<(TlsStream<TcpStream>, Option<AddressShare>), OpenError> {
        let named = match hosts.expects_header_from(other_end) {
            false => Some(other_end),
            true => match read_source(&mut stream).await.map_err(OpenError::ProxyProtocol)? {
                Source::Client(client) => {
                    self.proxy.metrics.arrivals.proxy_header(&self.proxy.listener, ProxyHeader::Client);
                    Some(client.to_canonical())
                }
                Source::Unspecified => {
                    self.proxy.metrics.arrivals.proxy_header(&self.proxy.listener, ProxyHeader::Own);
                    None
                }
            },
        };
        let client_address = *client.get_or_init(|| named.unwrap_or(other_end));
        let share = match named.filter(|client| !hosts.expects_proxy_at(*client)) {
            Some(client) => {
                let share = self.shares.take(ClientNetwork::of(client), limits);
                Some(share.map_err(OpenError::Share)?)
            }
            None => None,
        };
        let tls = handshake(stream, client_address, hosts, began, attempt).await;
        Ok((tls.map_err(OpenError::Handshake)?, share))
    }

    /// Counts and logs a connection of a balancer without a valid header.
    fn no_header(&self, error: &ProxyProtocolError, balancer: IpAddr) {
        let outcome = match error {
            // Balancers check whether a port is open by connecting.
            ProxyProtocolError::Io(_) => ProxyHeader::Closed,
            ProxyProtocolError::Header(HeaderError::Missing) => ProxyHeader::Missing,
            ProxyProtocolError::Header(_) => ProxyHeader::Malformed,
        };
        self.proxy.metrics.arrivals.proxy_header(&self.proxy.listener, outcome);
        match error {
            ProxyProtocolError::Io(_) => tracing::debug!(%balancer, %error, "a balancer closed its connection"),
            ProxyProtocolError::Header(_) => {
                if let Some(connections) = self.headerless.add() {
                    tracing::warn!(%balancer, connections, %error, "connections of a balancer are closed");
                }
            }
        }
    }

    /// Records a failed handshake in the audit, unless too many fail.
    fn record(
        &self,
        client_address: IpAddr,
        generation: &Generation,
        attempt: &Attempt,
        reason: Reason,
        detail: String,
    ) {
        let Some(omitted) = self.handshake_lines.take() else { return };
        let failed = FailedHandshake {
            time: rfc3339(self.proxy.clock.now()),
            listener: &self.proxy.listener,
            client_address,
            pseudonyms: generation.pseudonyms.as_deref(),
            server_name: attempt.server_name(),
            reason: reason.as_str(),
            detail,
            certificate: attempt.certificate(),
        };
        self.proxy.audit.send(&handshake_line(&failed, omitted));
    }

    fn count(&self, outcome: Handshake, reason: &'static str) {
        self.proxy.metrics.arrivals.handshake(&self.proxy.listener, outcome, reason);
    }

    /// Counts a connection that is closed before its handshake.
    fn refused(&self, cap: Cap, client: Option<IpAddr>) {
        self.count(Handshake::Refused, NO_REASON);
        self.proxy.metrics.overload.refused(cap, client);
    }
}

/// Why a connection was not opened.
enum OpenError {
    ProxyProtocol(ProxyProtocolError),
    Share(ShareExceeded),
    Handshake(HandshakeError),
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
        let generation = self.proxy.generation.load_full();
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
        let (retire, retired) = watch::channel(*shutdown.borrow());
        let limits = &generation.limits;
        let connection = Arc::new(ClientConnection::new(self.http.clone(), limits, retire));
        let serving = async {
            match stream.selected_alpn_proto() {
                Some(ALPN::H2) => drop(connection.process_new(stream, &retired).await),
                _ => connection.serve_http1(stream, &retired, self.idle_ends.subscribe()).await,
            }
        };
        tokio::select! {
            biased;
            () = serving => {}
            () = connection.retire_in_time(spread(limits.connection_max_age), shutdown) => {}
        }
        None
    }

    /// Called when no more connections are accepted; closes those that wait for a request.
    async fn cleanup(&self) {
        // A client that has not noticed yet may be in its handshake, or may have sent a request.
        tokio::time::sleep(LAST_REQUESTS).await;
        self.idle_ends.send_replace(true);
        ServerApp::cleanup(&*self.http).await;
    }
}

/// How long connections may still send a request after the last one was accepted.
const LAST_REQUESTS: Duration = Duration::from_secs(1);
/// The label of handshakes that did not fail.
const NO_REASON: &str = "none";
