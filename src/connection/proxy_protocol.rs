//! Reads the header with which a balancer that passes TLS through says whose connection it forwards.

use std::io;

use fapi::peer::proxy_protocol::{HeaderError, Progress, Source, parse};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Why the client of a connection is not known.
#[derive(Debug, thiserror::Error)]
pub enum ProxyProtocolError {
    /// The connection was closed or failed before its header was whole.
    #[error("cannot read the PROXY protocol header: {0}")]
    Io(#[from] io::Error),
    /// There is no header, or it is not a valid one.
    #[error(transparent)]
    Header(#[from] HeaderError),
}

/// Reads the header and nothing beyond it. Takes as long as the balancer does: the caller limits the time.
///
/// # Errors
/// [`ProxyProtocolError`].
pub async fn read_source<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Source, ProxyProtocolError> {
    let mut header = Vec::new();
    loop {
        match parse(&header)? {
            Progress::Whole(source) => return Ok(source),
            Progress::Needs(length) => {
                let have = header.len();
                header.resize(length, 0);
                stream.read_exact(header.get_mut(have..).unwrap_or_default()).await?;
            }
        }
    }
}
