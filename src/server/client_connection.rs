//! One connection of a client, from its handshake to its end: how many requests it carries, and when it is retired.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::{HttpPersistentSettings, HttpServerApp, HttpServerOptions, ReusedHttpStream};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::{H2Options, default_h2_options};
use pingora::protocols::l4::stream::Stream as TcpStream;
use pingora::protocols::tls::TlsStream;
use pingora::proxy::HttpProxy;
use pingora::server::ShutdownWatch;
use tokio::sync::watch;

use crate::connection::http2_stream;
use crate::connection::limits::Limits;
use crate::connection::stream::ClientStream;
use crate::proxy::Proxy;

/// A client's connection above TLS.
pub(super) type Client = ClientStream<TlsStream<TcpStream>>;

/// One connection to the proxy, with the limits at the time it was accepted; Pingora's own limits are those at startup.
pub(super) struct ClientConnection {
    http: Arc<HttpProxy<Proxy>>,
    options: HttpServerOptions,
    h2: H2Options,
    /// How many more requests it may carry.
    requests_left: AtomicU32,
    /// How long the body of a request may go on after its response.
    unread_body_timeout: Duration,
    /// Tells Pingora to ask the client for another connection: with GOAWAY, or with `Connection: close` in the next
    /// response.
    retire: watch::Sender<bool>,
}

impl ClientConnection {
    pub(super) fn new(http: Arc<HttpProxy<Proxy>>, limits: &Limits, retire: watch::Sender<bool>) -> Self {
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
        h2.max_concurrent_streams(limits.streams);
        let requests = spread(Duration::from_secs(limits.connection_max_requests.into())).as_secs();
        let requests_left = AtomicU32::new(u32::try_from(requests).unwrap_or(u32::MAX).max(1));
        Self { http, options, h2, requests_left, unread_body_timeout: limits.unread_body_timeout, retire }
    }

    /// Serves one request after the other. What Pingora needs for a request takes 16 KiB, and exists only from its first byte
    /// to its end.
    pub(super) async fn serve_http1(
        self: &Arc<Self>,
        mut stream: Box<Client>,
        retired: &ShutdownWatch,
        mut end: watch::Receiver<bool>,
    ) {
        let mut settings: Option<HttpPersistentSettings> = None;
        loop {
            let arrived = tokio::select! {
                biased;
                arrived = stream.next_request() => arrived,
                _ = end.wait_for(|ends| *ends) => false,
            };
            if !arrived {
                return;
            }
            let mut session = ServerSession::new_http1(stream);
            match settings {
                Some(settings) => settings.apply_to_session(&mut session),
                // The proxy sets how long the connection is kept when it knows the limits of the request.
                None => session.set_keepalive((!*retired.borrow()).then_some(KEPT_BY_DEFAULT)),
            }
            let Some(reused) = self.process_new_http(session, retired).await else { return };
            let (next, kept) = reused.consume();
            let Ok(next) = next.into_any().downcast() else { return };
            (stream, settings) = (next, kept);
        }
    }

    /// Retires the connection when it is too old, or when the gateway shuts down; never returns.
    pub(super) async fn retire_in_time(&self, age: Duration, shutdown: &ShutdownWatch) {
        let mut shutdown = shutdown.clone();
        // An error means that the gateway is gone, and so will be the connection.
        let _ = tokio::time::timeout(age, shutdown.wait_for(|shutting_down| *shutting_down)).await;
        self.retire.send_replace(true);
        std::future::pending().await
    }
}

#[async_trait]
impl HttpServerApp for ClientConnection {
    async fn process_new_http(
        self: &Arc<Self>,
        session: ServerSession,
        shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        let left = self.requests_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if matches!(left, Ok(1)) {
            self.retire.send_replace(true);
        }
        if !session.is_http2() {
            return self.http.process_new_http(session, shutdown).await;
        }
        let served = http2_stream::serve(self.http.process_new_http(session, shutdown), self.unread_body_timeout);
        served.await.flatten()
    }

    fn h2_options(&self) -> Option<H2Options> {
        Some(self.h2.clone())
    }

    fn server_options(&self) -> Option<&HttpServerOptions> {
        Some(&self.options)
    }
}

/// Up to a tenth more or less, so that the clients of a pod that was there first do not all come back at once.
pub(super) fn spread(time: Duration) -> Duration {
    let mut random = [0; 4];
    // Without random bytes, times are merely not spread.
    let _ = aws_lc_rs::rand::fill(&mut random);
    let part = f64::from(u32::from_ne_bytes(random)) / f64::from(u32::MAX);
    time.mul_f64(0.9 + 0.2 * part)
}

/// Sixteen times the window of a stream.
const H2_CONNECTION_WINDOW: u32 = 1024 * 1024;
const H2_SEND_BUFFER: usize = 64 * 1024;
const H2_ERRORS: usize = 100;
/// For how many seconds Pingora keeps a connection that it was told nothing of.
const KEPT_BY_DEFAULT: u64 = 60;
