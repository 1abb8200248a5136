//! Accepts the connections of a socket that is already bound.
//!
//! Pingora's own loop sleeps for a second when the process has no descriptor left, and all the time clients wait that could be
//! refused, and probes that could be answered. This one keeps descriptors of its own: with one of them it refuses the
//! connection of a client, or serves that of an operator.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::protocols::l4::stream::Stream as TcpStream;
use pingora::protocols::{GetSocketDigest, SocketDigest};
use pingora::server::{ListenFds, ShutdownWatch};
use pingora::services::Service;
use rustix::io::Errno;
use tokio::net::TcpListener as Listener;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::admin::{Heartbeats, MAX_CONNECTIONS};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::overload::Cap;
use crate::workers::Workers;

/// A service on a socket that is already bound, with its own shutdown signal.
pub(super) struct Prebound<A> {
    name: String,
    socket: Option<TcpListener>,
    app: Arc<A>,
    shutdown: ShutdownWatch,
    side: Side,
}

/// Who connects to a socket.
pub(super) enum Side {
    /// Clients: refused if the process is short of descriptors.
    Clients {
        /// The descriptor from which on they are.
        ceiling: u64,
        /// Counts them.
        metrics: Arc<Metrics>,
        /// Watches the loop.
        heartbeats: Arc<Heartbeats>,
        /// Serve the connections.
        workers: Arc<Workers>,
    },
    /// Operators: served with the descriptors that are kept for them.
    Operators,
}

impl<A: ServerApp + Send + Sync + 'static> Prebound<A> {
    pub(super) fn new(name: String, socket: TcpListener, app: A, shutdown: ShutdownWatch, side: Side) -> Self {
        Self { name, socket: Some(socket), app: Arc::new(app), shutdown, side }
    }

    /// Accepts connections until the signal comes.
    async fn accept_all(&self, socket: TcpListener) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        let listener = Listener::from_std(socket)?;
        let pulse = match &self.side {
            Side::Clients { heartbeats, .. } => Some(heartbeats.watch(self.name.as_str().into())),
            Side::Operators => None,
        };
        let mut spares = Spares { kept: Vec::new(), wanted: self.side.spares() };
        let mut shutdown = self.shutdown.clone();
        let mut ticks = interval(BEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !*shutdown.borrow_and_update() {
            tokio::select! {
                accepted = listener.accept() => {
                    if let Some((stream, peer)) = self.admit(&listener, accepted, &mut spares).await {
                        self.spawn(stream, peer);
                        if matches!(self.side, Side::Operators) {
                            // So that they take their places in the order in which they came.
                            tokio::task::yield_now().await;
                        }
                    }
                }
                changed = shutdown.changed() => if changed.is_err() { break },
                _ = ticks.tick() => {
                    if let Some(pulse) = &pulse {
                        pulse.beat();
                    }
                    spares.refill(&listener);
                }
            }
        }
        if let Some(pulse) = pulse {
            pulse.end();
        }
        Ok(())
    }

    /// Decides whether a connection is served with the descriptors that there are.
    async fn admit(
        &self,
        listener: &Listener,
        accepted: io::Result<(tokio::net::TcpStream, SocketAddr)>,
        spares: &mut Spares,
    ) -> Option<(tokio::net::TcpStream, SocketAddr)> {
        let (accepted, is_last) = match accepted {
            Err(error) if is_exhaustion(&error) => {
                if !spares.give_up() {
                    // Nothing can be accepted, not even to be refused.
                    sleep(PAUSE).await;
                    spares.refill(listener);
                    return None;
                }
                let Ok(accepted) = timeout(PAUSE, listener.accept()).await else {
                    spares.refill(listener);
                    return None;
                };
                (accepted, true)
            }
            accepted => (accepted, false),
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::debug!(listener = self.name, %error, "a connection was not accepted");
                return None;
            }
        };
        if let Side::Clients { ceiling, metrics, .. } = &self.side {
            // The system gives out the lowest descriptor that is free, so all below this one are in use.
            if is_last || u64::try_from(stream.as_raw_fd()).is_ok_and(|descriptor| descriptor >= *ceiling) {
                drop(stream);
                spares.refill(listener);
                metrics.overload.refused(Cap::Descriptors, Some(peer.ip().to_canonical()));
                return None;
            }
        }
        Some((stream, peer))
    }

    fn spawn(&self, stream: tokio::net::TcpStream, peer: SocketAddr) {
        let (app, shutdown) = (self.app.clone(), self.shutdown.clone());
        match &self.side {
            Side::Clients { workers, .. } => {
                // Events of the socket are to reach the thread that serves it.
                let Ok(stream) = stream.into_std() else { return };
                workers.serve(async move {
                    match tokio::net::TcpStream::from_std(stream) {
                        Ok(stream) => drop(app.process_new(Box::new(connection(stream, peer)), &shutdown).await),
                        Err(error) => tracing::debug!(%error, "a connection cannot be served"),
                    }
                });
            }
            Side::Operators => {
                let stream = connection(stream, peer);
                tokio::spawn(async move { app.process_new(Box::new(stream), &shutdown).await });
            }
        }
    }
}

fn connection(stream: tokio::net::TcpStream, peer: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::from(stream);
    let digest = SocketDigest::from_raw_fd(stream.as_raw_fd());
    let _ = digest.peer_addr.set(Some(peer.into()));
    stream.set_socket_digest(digest);
    if let Err(error) = stream.set_nodelay() {
        tracing::debug!(%error, "TCP_NODELAY cannot be set");
    }
    stream
}

impl Side {
    const fn spares(&self) -> usize {
        match self {
            Self::Clients { .. } => 1,
            // One for each of their connections, and one for the next, which makes another give way.
            Self::Operators => MAX_CONNECTIONS + 1,
        }
    }
}

/// Descriptors that are kept for the time when there are no others.
struct Spares {
    kept: Vec<OwnedFd>,
    wanted: usize,
}

impl Spares {
    /// Frees one for whatever comes next; returns whether there was one.
    fn give_up(&mut self) -> bool {
        self.kept.pop().is_some()
    }

    fn refill(&mut self, listener: &Listener) {
        while self.kept.len() < self.wanted {
            let Ok(spare) = listener.as_fd().try_clone_to_owned() else { return };
            self.kept.push(spare);
        }
    }
}

/// Whether the process or the system has no descriptors left, or no memory for another.
fn is_exhaustion(error: &io::Error) -> bool {
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]
        .iter()
        .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> Service for Prebound<A> {
    async fn start_service(&mut self, _: Option<ListenFds>, _: ShutdownWatch, _: usize) {
        let Some(socket) = self.socket.take() else {
            tracing::error!(listener = self.name, "the listener has no socket");
            return;
        };
        if let Err(error) = self.accept_all(socket).await {
            tracing::error!(listener = self.name, %error, "the listener's socket cannot be used");
            return;
        }
        self.app.cleanup().await;
    }

    fn name(&self) -> &str {
        &self.name
    }

    /// One for the loop; operators have no others.
    fn threads(&self) -> Option<usize> {
        matches!(self.side, Side::Clients { .. }).then_some(1)
    }
}

/// The time between two beats of the loop.
const BEAT: Duration = Duration::from_secs(1);
/// How long the loop rests when it can neither accept nor refuse.
const PAUSE: Duration = Duration::from_millis(10);
