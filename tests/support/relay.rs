//! A relay between a gateway and a server, which a test can cut.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Relays connections to a port of this machine, unless it is cut.
pub struct Relay {
    port: u16,
    open: watch::Sender<bool>,
}

impl Relay {
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let from = listener.local_addr().expect("an address").port();
        let (open, mut state) = watch::channel(true);
        tokio::spawn(async move {
            let mut relayed = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let Ok((stream, _)) = accepted else { return };
                        if *state.borrow() {
                            relayed.spawn(relay(stream, (Ipv4Addr::LOCALHOST, port).into()));
                        }
                    }
                    changed = state.changed() => {
                        if changed.is_err() {
                            return;
                        }
                        relayed = JoinSet::new();
                    }
                }
            }
        });
        Self { port: from, open }
    }

    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Breaks what is connected, and closes each connection that comes.
    pub fn cut(&self) {
        self.open.send_replace(false);
    }

    pub fn mend(&self) {
        self.open.send_replace(true);
    }
}

async fn relay(mut client: TcpStream, server: SocketAddr) {
    if let Ok(mut server) = TcpStream::connect(server).await {
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}
