//! HTTP/2 over one connection, for what can only be wrong there.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::door::Door;
use super::{Field, NoAnswer, Response};

/// The most bytes of content that are read.
const MAX_BODY: usize = 1024 * 1024;

/// Sends one request on a new connection. `door` offers `h2` alone.
///
/// # Errors
/// [`NoAnswer`], also if the server does not speak HTTP/2.
pub fn exchange(door: &Door, method: &Method, uri: &Uri, fields: &[Field], body: &[u8]) -> Result<Response, NoAnswer> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(NoAnswer::Connect)?;
    let exchange = async {
        tokio::time::timeout(door.timeout.saturating_mul(2), send(door, method, uri, fields, body))
            .await
            .unwrap_or(Err(NoAnswer::TimedOut))
    };
    runtime.block_on(exchange)
}

async fn send(door: &Door, method: &Method, uri: &Uri, fields: &[Field], body: &[u8]) -> Result<Response, NoAnswer> {
    let malformed = |error: &dyn std::fmt::Display| NoAnswer::Malformed(error.to_string());
    let mut request = Request::new(Full::new(Bytes::copy_from_slice(body)));
    *request.method_mut() = method.clone();
    *request.uri_mut() = uri.clone();
    for (name, value) in fields {
        let name = HeaderName::from_bytes(name.to_ascii_lowercase().as_bytes()).map_err(|error| malformed(&error))?;
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|error| malformed(&error))?;
        request.headers_mut().append(name, value);
    }
    let socket = TcpStream::connect(door.address).await.map_err(NoAnswer::Connect)?;
    let connector = TlsConnector::from(Arc::new(door.config()?));
    let tls = connector.connect(door.server_name()?, socket).await.map_err(NoAnswer::of)?;
    if tls.get_ref().1.alpn_protocol() != Some(b"h2") {
        return Err(NoAnswer::Tls("the server does not offer HTTP/2".to_owned()));
    }
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(tls))
        .await
        .map_err(|_| NoAnswer::Closed)?;
    let running = tokio::spawn(connection);
    let answered = sender.send_request(request).await;
    let answered = answered.map_err(|_| NoAnswer::Closed)?;
    let (parts, body) = answered.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await.map_err(|error| malformed(&error))?;
    running.abort();
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let fields = parts.headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    Ok(Response { status: parts.status, fields, body: body.to_bytes().to_vec() })
}
