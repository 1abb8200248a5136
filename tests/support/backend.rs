//! An upstream that tells which connection a request came on.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Call {
    /// Counts connections, from 0.
    pub connection: usize,
    pub headers: HeaderMap,
}

/// An upstream that answers everything with 200.
pub struct Backend {
    address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Backend {
    /// HTTP/1.1 on plain TCP.
    pub async fn http1() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let calls = Arc::new(Mutex::new(Vec::new()));
        let kept = calls.clone();
        tokio::spawn(async move {
            let next = AtomicUsize::new(0);
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, next.fetch_add(1, Ordering::Relaxed), kept.clone()));
            }
        });
        Self { address, calls }
    }

    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything that came, in order.
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().expect("no panic").clone()
    }

    /// What came since the last time this was asked.
    pub fn take(&self) -> Vec<Call> {
        std::mem::take(&mut self.calls.lock().expect("no panic"))
    }
}

async fn serve(stream: TcpStream, connection: usize, calls: Arc<Mutex<Vec<Call>>>) {
    let service = service_fn(move |request: Request<Incoming>| {
        let calls = calls.clone();
        async move {
            let (head, body) = request.into_parts();
            let _ = body.collect().await;
            calls.lock().expect("no panic").push(Call { connection, headers: head.headers });
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(b"ok"))))
        }
    });
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
