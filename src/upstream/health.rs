//! Checks whether servers are healthy, so that no request has to find out.
//!
//! Pingora counts consecutive failures and logs the changes; this module performs a single check. It uses a connection
//! of its own, with the TLS settings of requests and without any data from a request.

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use http::{Uri, header};
use pingora::connectors::TransportConnector;
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::lb::Backend;
use pingora::lb::health_check;
use pingora::{Error, ErrorType, OrErr};

use super::{HealthCheck, Server, ServerAddress};

/// The health check of one upstream.
pub(super) struct Check {
    upstream: Arc<str>,
    settings: HealthCheck,
    servers: Arc<ArcSwap<Vec<Arc<Server>>>>,
    means: Means,
}

enum Means {
    Connect(TransportConnector),
    Get { path: Box<str>, connector: Box<Connector> },
}

impl Check {
    pub(super) fn new(upstream: Arc<str>, settings: HealthCheck, servers: Arc<ArcSwap<Vec<Arc<Server>>>>) -> Self {
        let means = match &settings.path {
            None => Means::Connect(TransportConnector::new(None)),
            Some(path) => Means::Get { path: path.clone(), connector: Box::new(Connector::new(None)) },
        };
        Self { upstream, settings, servers, means }
    }
}

#[async_trait]
impl health_check::HealthCheck for Check {
    async fn check(&self, target: &Backend) -> pingora::Result<()> {
        let servers = self.servers.load_full();
        // An address that has only just been resolved is checked next time.
        let Some(server) = servers.iter().find(|server| server.backend == *target) else { return Ok(()) };
        let asked = async {
            match &self.means {
                Means::Connect(connector) => connector.new_stream(&server.peer).await.map(drop),
                Means::Get { path, connector } => get(connector, server, path).await,
            }
        };
        let result = match tokio::time::timeout(self.settings.timeout, asked).await {
            Ok(result) => result,
            Err(_) => Error::e_explain(ErrorType::ReadTimedout, "the server did not respond in time"),
        };
        server.standing.checked(result.is_ok(), self.settings.healthy_after);
        result
    }

    async fn health_status_change(&self, target: &Backend, healthy: bool) {
        // Pingora knows nothing of the time before a reload: whether a server is healthy again, its standing tells.
        if let Some(server) = self.servers.load().iter().find(|server| !healthy && server.backend == *target) {
            server.standing.fell_ill();
        }
    }

    fn backend_summary(&self, target: &Backend) -> String {
        format!("upstream {}, server {}", self.upstream, target.addr)
    }

    fn health_threshold(&self, success: bool) -> usize {
        if success { self.settings.healthy_after } else { self.settings.unhealthy_after }
    }
}

/// Sends a GET request for a path; any 2xx status is a success (RFC 9110 §15.3).
async fn get(connector: &Connector, server: &Server, path: &str) -> pingora::Result<()> {
    let mut peer = server.peer.clone();
    // A connection that carries only one request is not shared, and so not kept for the next check.
    peer.options.max_h2_streams = 1;
    let (mut session, _) = connector.get_http_session(&peer).await?;
    let http2 = peer.options.alpn.get_min_http_version() == 2;
    if http2 && session.as_http2().is_none() {
        return Error::e_explain(ErrorType::H2Error, "the server did not negotiate HTTP/2");
    }
    let mut request = RequestHeader::build("GET", path.as_bytes(), None)?;
    let authority = authority(&server.configured);
    if http2 {
        // Some servers refuse a Host field next to `:authority`, which comes from the URI.
        let scheme = if server.configured.tls { "https" } else { "http" };
        let uri = Uri::builder().scheme(scheme).authority(authority).path_and_query(path).build();
        request.set_uri(uri.or_err(ErrorType::InternalError, "the URI of a health check")?);
    } else {
        request.insert_header(header::HOST, authority)?;
    }
    request.insert_header(header::USER_AGENT, "fapi-gateway")?;
    session.write_request_header(Box::new(request)).await?;
    session.finish_request_body().await?;
    session.read_response_header().await?;
    match session.response_header().map(|response| response.status) {
        Some(status) if status.is_success() => Ok(()),
        Some(status) => Error::e_explain(ErrorType::HTTPStatus(status.as_u16()), "the status is not 2xx"),
        None => Error::e_explain(ErrorType::ReadError, "no response"),
    }
}

/// Returns host and port as in a URI, without the default port (RFC 9110 §7.2).
fn authority(server: &ServerAddress) -> String {
    let host = if server.host.contains(':') { format!("[{}]", server.host) } else { server.host.to_string() };
    match (server.tls, server.port) {
        (true, 443) | (false, 80) => host,
        (_, port) => format!("{host}:{port}"),
    }
}
