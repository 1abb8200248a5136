//! Connections to the target: who presents which certificate.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use super::NoAnswer;
use crate::settings::Certificate;
use crate::socket::Socket;

/// A TLS connection that blocks.
pub type Stream = StreamOwned<ClientConnection, Socket>;

/// What became of a request that was sent before the handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Early {
    /// The session does not allow it, so nothing was sent.
    NotAllowed,
    /// The server did not take it.
    NotTaken,
    /// The server took it.
    Taken,
}

/// How a connection is opened.
#[derive(Clone)]
pub struct Door {
    /// Where to.
    pub address: SocketAddr,
    /// The name in the handshake.
    pub name: String,
    /// The certificate that is presented if one is asked for.
    pub certificate: Option<Certificate>,
    /// The protocols that are offered (ALPN).
    pub protocols: &'static [&'static [u8]],
    /// The authorities that the server's certificate may be of.
    pub roots: Arc<RootCertStore>,
    /// How long the handshake may take, and then the answer.
    pub timeout: Duration,
}

impl Door {
    /// Opens a connection. Nothing is resumed: the certificate is presented each time.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub fn open(&self) -> Result<Stream, NoAnswer> {
        self.open_as(&Arc::new(self.config()?))
    }

    /// Opens a connection that may resume an earlier one of the same configuration.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub fn open_as(&self, config: &Arc<ClientConfig>) -> Result<Stream, NoAnswer> {
        let mut stream = self.begin(config)?;
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).map_err(NoAnswer::of)?;
        }
        // The answer has its own time.
        stream.sock.extend(self.timeout);
        Ok(stream)
    }

    /// Opens a connection that sends a request before the handshake has ended (RFC 8446 §2.3), if the session that it resumes allows
    /// that. Says whether it was allowed, and then whether the server took it.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub fn open_early(&self, config: &Arc<ClientConfig>, request: &[u8]) -> Result<(Stream, Early), NoAnswer> {
        let mut stream = self.begin(config)?;
        let sent = match stream.conn.early_data() {
            None => false,
            Some(mut early) => early.write_all(request).is_ok(),
        };
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).map_err(NoAnswer::of)?;
        }
        stream.sock.extend(self.timeout);
        let early = match (sent, stream.conn.is_early_data_accepted()) {
            (false, _) => Early::NotAllowed,
            (true, false) => Early::NotTaken,
            (true, true) => Early::Taken,
        };
        Ok((stream, early))
    }

    /// A configuration whose connections resume each other.
    ///
    /// # Errors
    /// [`NoAnswer`].
    pub fn resuming(&self) -> Result<Arc<ClientConfig>, NoAnswer> {
        let mut config = self.config()?;
        config.resumption = Resumption::in_memory_sessions(4);
        config.enable_early_data = true;
        Ok(Arc::new(config))
    }

    fn begin(&self, config: &Arc<ClientConfig>) -> Result<Stream, NoAnswer> {
        let name = self.server_name()?;
        let socket = Socket::connect(self.address, self.timeout).map_err(NoAnswer::Connect)?;
        let connection =
            ClientConnection::new(Arc::clone(config), name).map_err(|error| NoAnswer::Tls(error.to_string()))?;
        Ok(StreamOwned::new(connection, socket))
    }

    /// The name in the handshake as rustls takes it.
    pub(crate) fn server_name(&self) -> Result<ServerName<'static>, NoAnswer> {
        let host = self.name.trim_matches(['[', ']']).to_owned();
        ServerName::try_from(host).map_err(|error| NoAnswer::Tls(error.to_string()))
    }

    /// The configuration of the handshake.
    pub(crate) fn config(&self) -> Result<ClientConfig, NoAnswer> {
        let refused = |error: rustls::Error| NoAnswer::Tls(error.to_string());
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(refused)?
            .with_root_certificates(Arc::clone(&self.roots));
        let mut config = match &self.certificate {
            Some(Certificate { chain, key }) => {
                builder.with_client_auth_cert(chain.clone(), key.clone_key()).map_err(refused)?
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = self.protocols.iter().map(|protocol| protocol.to_vec()).collect();
        config.resumption = Resumption::disabled();
        Ok(config)
    }
}
