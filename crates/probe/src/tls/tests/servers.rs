//! Servers of rustls, and servers that speak no TLS at all.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use http::StatusCode;
use rustls::ServerConfig;
use sandbox::https::{Answer, HttpServer};
use tokio::runtime::Runtime;

/// An HTTPS server and the threads that it runs on.
pub(super) struct Rustls {
    server: HttpServer,
    _runtime: Runtime,
}

impl Rustls {
    pub(super) fn start(config: Arc<ServerConfig>) -> Self {
        let runtime = Runtime::new().unwrap();
        let entered = runtime.enter();
        let server = HttpServer::start(None, Some(config), Arc::new(|_| Answer::status(StatusCode::OK))).unwrap();
        drop(entered);
        Self { server, _runtime: runtime }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.server.address()
    }
}

/// A server that does `conduct` with its one connection.
pub(super) fn one(conduct: impl FnOnce(TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || conduct(listener.accept().unwrap().0));
    address
}

/// Reads one record and nothing after it.
pub(super) fn read_record(stream: &mut TcpStream) -> Vec<u8> {
    let mut header = [0; 5];
    stream.read_exact(&mut header).unwrap();
    let mut body = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
    stream.read_exact(&mut body).unwrap();
    [&header[..], &body].concat()
}
