//! Pingora's listening service on a socket that is already bound.

use std::net::TcpListener;
use std::os::fd::IntoRawFd;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::{Service, listening};

/// Pingora's listening service on a socket that is already bound, with its own shutdown signal.
pub(super) struct Prebound<A> {
    inner: listening::Service<A>,
    address: String,
    socket: Option<TcpListener>,
    shutdown: ShutdownWatch,
}

impl<A: ServerApp + Send + Sync + 'static> Prebound<A> {
    pub(super) fn new(name: String, socket: TcpListener, app: A, shutdown: ShutdownWatch) -> Self {
        let address = socket.local_addr().map_or_else(|_| name.clone(), |address| address.to_string());
        let mut inner = listening::Service::new(name, app);
        inner.add_tcp(&address);
        Self { inner, address, socket: Some(socket), shutdown }
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> Service for Prebound<A> {
    async fn start_service(&mut self, fds: Option<ListenFds>, _: ShutdownWatch, listeners: usize) {
        let (Some(socket), Some(table)) = (self.socket.take(), fds.as_ref()) else {
            tracing::error!(address = %self.address, "the listener has no socket");
            return;
        };
        if let Err(error) = socket.set_nonblocking(true) {
            tracing::error!(address = %self.address, %error, "the listener's socket cannot be used");
            return;
        }
        table.lock().add(self.address.clone(), socket.into_raw_fd());
        Service::start_service(&mut self.inner, fds, self.shutdown.clone(), listeners).await;
    }

    fn name(&self) -> &str {
        Service::name(&self.inner)
    }

    fn listen_addresses(&self) -> Option<Vec<String>> {
        Service::listen_addresses(&self.inner)
    }
}
