//! Reads a ClientHello before it is known which virtual host answers it.
//!
//! The server's certificate and the rules for client certificates depend on the name that a client requests, and rustls
//! takes both from one configuration. So rustls's own parser reads the ClientHello here first, however it is split into
//! records and segments, and the bytes are put back for the handshake to read again.

use std::io;

use rustls::AlertDescription;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What a client requests, and everything that was read.
#[derive(Debug)]
pub struct Hello {
    /// The server name that it requests; `None` for an IP address (RFC 6066 §3).
    pub server_name: Option<Box<str>>,
    /// The bytes of the ClientHello, and possibly some after it.
    pub bytes: Vec<u8>,
}

/// Why there is no ClientHello.
#[derive(Debug, thiserror::Error)]
pub enum HelloError {
    /// The client closed the connection without a word, as probes do.
    #[error("the client sent nothing")]
    Silent,
    /// The connection was closed or failed, or the client sent more than the parser can hold.
    #[error("cannot read the ClientHello: {0}")]
    Io(#[from] io::Error),
    /// What the client sent is not a valid ClientHello; an alert was sent.
    #[error("the ClientHello is invalid: {0}")]
    Tls(rustls::Error),
    /// The ClientHello is too large.
    #[error("the ClientHello is larger than {MAX_HELLO} bytes")]
    TooLarge,
}

/// Reads a ClientHello. Does not judge it: the handshake decides whether it can be answered.
///
/// # Errors
/// [`HelloError`].
pub async fn read_hello<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> Result<Hello, HelloError> {
    let mut acceptor = Acceptor::default();
    let mut bytes = Vec::with_capacity(2048);
    while bytes.len() < MAX_HELLO {
        let before = bytes.len();
        match stream.read_buf(&mut bytes).await {
            Ok(0) | Err(_) if bytes.is_empty() => return Err(HelloError::Silent),
            Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut fresh = bytes.get(before..).unwrap_or_default();
        while !fresh.is_empty() {
            acceptor.read_tls(&mut fresh)?;
            match acceptor.accept() {
                Ok(Some(accepted)) => {
                    let server_name = accepted.client_hello().server_name().map(Box::from);
                    return Ok(Hello { server_name, bytes });
                }
                Ok(None) => {}
                Err((error, mut alert)) => {
                    let mut text = Vec::new();
                    alert.write_all(&mut text)?;
                    tell(stream, &text).await;
                    return Err(HelloError::Tls(error));
                }
            }
        }
    }
    Err(HelloError::TooLarge)
}

/// Sends the alert for a name that is not served here, or for a missing name.
pub async fn refuse_name<S: AsyncWrite + Unpin>(stream: &mut S, hello: &Hello) {
    let alert = match hello.server_name {
        // RFC 6066 §3: "abort the handshake by sending a fatal-level unrecognized_name(112) alert".
        Some(_) => AlertDescription::UnrecognisedName,
        // RFC 8446 §9.2: "Servers requiring this extension SHOULD respond to a ClientHello lacking a \"server_name\"
        // extension by terminating the connection with a \"missing_extension\" alert."
        None => AlertDescription::MissingExtension,
    };
    // RFC 8446 §5.1, §6: an alert record, with the version that every client accepts, that contains a fatal alert.
    tell(stream, &[21, 3, 3, 0, 2, 2, alert.into()]).await;
}

/// Sends an alert and closes the connection; a client that does not read it misses it.
async fn tell<S: AsyncWrite + Unpin>(stream: &mut S, alert: &[u8]) {
    if stream.write_all(alert).await.is_ok() && stream.flush().await.is_ok() {
        let _ = stream.shutdown().await;
    }
}

/// The largest ClientHello, in bytes as received: more than any client needs. Split into the smallest records, a
/// ClientHello takes six times its size.
const MAX_HELLO: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{ClientConfig, ClientConnection, RootCertStore};

    use super::*;
    use crate::connection::tls::provider;

    /// Returns the result of reading these bytes, and what the client receives.
    async fn read(words: &[u8]) -> (Result<Hello, HelloError>, Vec<u8>) {
        let (mut client, mut server) = tokio::io::duplex(1024 * 1024);
        client.write_all(words).await.unwrap();
        client.shutdown().await.unwrap();
        let hello = read_hello(&mut server).await;
        if let Ok(hello) = &hello {
            refuse_name(&mut server, hello).await;
        }
        drop(server);
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        (hello, heard)
    }

    fn hello(name: &'static str) -> Vec<u8> {
        let config = ClientConfig::builder_with_provider(provider().into())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let mut connection = ClientConnection::new(Arc::new(config), name.try_into().unwrap()).unwrap();
        let mut words = Vec::new();
        connection.write_tls(&mut words).unwrap();
        words
    }

    #[tokio::test]
    async fn reads_the_name_and_gives_every_byte_back() {
        for (name, expected, alert) in [("api.example", Some("api.example"), 112), ("192.0.2.1", None, 109)] {
            let words = hello(name);
            let (hello, heard) = read(&words).await;
            let hello = hello.unwrap();
            assert_eq!((hello.server_name.as_deref(), hello.bytes), (expected, words));
            assert_eq!(heard, [21, 3, 3, 0, 2, 2, alert]);
        }
    }

    #[tokio::test]
    async fn what_is_no_hello_is_an_error_and_where_it_is_wrong_an_alert() {
        let words = hello("api.example");
        assert!(matches!(read(&[]).await, (Err(HelloError::Silent), heard) if heard.is_empty()));
        for cut in [1, 5, 6, words.len() / 2, words.len() - 1] {
            let (hello, heard) = read(&words[..cut]).await;
            assert!(matches!(hello, Err(HelloError::Io(_))) && heard.is_empty(), "{cut}: {hello:?}");
        }
        for other in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[22, 3, 1, 0, 4, 2, 0, 0, 0]] {
            let (hello, heard) = read(other).await;
            assert!(matches!(hello, Err(HelloError::Tls(_))), "{hello:?}");
            assert_eq!(heard.first(), Some(&21), "{heard:?}");
        }
        // RFC 8446 §5.1 allows records of one byte; this message claims 65,000 bytes.
        let endless = [[22, 3, 1, 0, 4, 1, 0, 0xfd, 0xe8].to_vec(), [22, 3, 1, 0, 1, 0].repeat(20_000)].concat();
        let (hello, _) = read(&endless).await;
        assert!(matches!(hello, Err(HelloError::TooLarge | HelloError::Io(_))), "{hello:?}");
    }
}
