//! The body of a request that changes something, and who sent it.

use std::time::Duration;

use pingora::protocols::http::ServerSession;

use super::places::Place;

/// Why a body was not read.
#[derive(Debug)]
pub(super) enum Unread {
    /// It is larger than what is taken.
    TooLarge,
    /// It could not be read.
    Broken,
    /// It did not arrive in time.
    Late,
}

/// Reads a body of at most `most` bytes. It is to be read whatever the request is answered: a client that is still sending when
/// the connection is closed may not see the response.
///
/// Until it is whole, the connection makes room for others: anyone can send half of one.
pub(super) async fn body_of(session: &mut ServerSession, place: &Place, most: usize) -> Result<Vec<u8>, Unread> {
    place.waits(true);
    let body = tokio::time::timeout(TIMEOUT, read(session, most)).await.unwrap_or(Err(Unread::Late));
    place.waits(false);
    body
}

async fn read(session: &mut ServerSession, most: usize) -> Result<Vec<u8>, Unread> {
    let mut body = Vec::new();
    while let Some(part) = session.read_request_body().await.map_err(|_| Unread::Broken)? {
        body.extend_from_slice(&part);
        if body.len() > most {
            return Err(Unread::TooLarge);
        }
    }
    Ok(body)
}

/// The address that a request came from, for the log.
pub(super) fn peer(session: &ServerSession) -> String {
    session.client_addr().map(ToString::to_string).unwrap_or_default()
}

const TIMEOUT: Duration = Duration::from_secs(10);
