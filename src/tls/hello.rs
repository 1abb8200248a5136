//! The first words of a client, read before it is known who shall answer them.
//!
//! Certificate and client certificates depend on the name that a client asks for, and rustls takes both from one
//! configuration. So its own parser reads the ClientHello here, however it is cut into records and segments, and the bytes
//! go back for the handshake to read again.

use std::io;

use rustls::AlertDescription;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// What a client asks for, and all that was read of it.
#[derive(Debug)]
pub struct Hello {
    /// The name it asks TLS for; none for an IP address (RFC 6066 §3).
    pub server_name: Option<Box<str>>,
    /// The bytes that were read, and perhaps some after them.
    pub bytes: Vec<u8>,
}

/// Why there is no ClientHello.
#[derive(Debug, thiserror::Error)]
pub enum HelloError {
    /// The connection ended or broke.
    #[error("the connection ended before the ClientHello: {0}")]
    Io(#[from] io::Error),
    /// It is something else; the client has been told.
    #[error("no ClientHello: {0}")]
    Tls(rustls::Error),
    /// It goes on and on.
    #[error("the ClientHello is larger than {MAX_HELLO} bytes")]
    TooLarge,
}

/// Reads a ClientHello and nothing into it: whether it can be answered is the handshake's to say.
///
/// # Errors
/// [`HelloError`].
pub async fn read_hello<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S) -> Result<Hello, HelloError> {
    let mut acceptor = Acceptor::default();
    let mut bytes = Vec::with_capacity(2048);
    while bytes.len() < MAX_HELLO {
        let before = bytes.len();
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
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

/// Tells a client that the name it asks for is not served here, or that it has to ask for one.
pub async fn refuse_name<S: AsyncWrite + Unpin>(stream: &mut S, hello: &Hello) {
    let alert = match hello.server_name {
        // RFC 6066 §3: "abort the handshake by sending a fatal-level unrecognized_name(112) alert".
        Some(_) => AlertDescription::UnrecognisedName,
        // RFC 8446 §9.2: "Servers requiring this extension SHOULD respond to a ClientHello lacking a \"server_name\"
        // extension by terminating the connection with a \"missing_extension\" alert."
        None => AlertDescription::MissingExtension,
    };
    // RFC 8446 §5.1, §6: a record of type alert and of the version that every client reads, and in it a fatal alert.
    tell(stream, &[21, 3, 3, 0, 2, 2, alert.into()]).await;
}

/// The last words of a connection; who does not listen misses them.
async fn tell<S: AsyncWrite + Unpin>(stream: &mut S, alert: &[u8]) {
    if stream.write_all(alert).await.is_ok() && stream.flush().await.is_ok() {
        let _ = stream.shutdown().await;
    }
}

/// More than any client has to say, in bytes; cut into the smallest records it takes six times its size.
const MAX_HELLO: usize = 64 * 1024;
