//! One question to a server: what it answers to a ClientHello.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::time::Duration;

use super::flight::{self, Answer};
use super::hello::Hello;
use crate::socket::Socket;

/// Connects to `address`, sends `hello`, reads the plaintext that answers it, and closes the connection.
///
/// Returns at the latest after `timeout`, of which the time to connect is a part.
pub fn ask(address: SocketAddr, hello: &Hello, timeout: Duration) -> Answer {
    let bytes = match hello.encode() {
        Ok(bytes) => bytes,
        Err(error) => return Answer::NotAsked(error.to_string()),
    };
    let mut stream = match Socket::connect(address, timeout) {
        Ok(stream) => stream,
        Err(error) => return Answer::NotAsked(format!("no connection: {error}")),
    };
    // A server that leaves in the middle of a hello may have said why: what it sent is there to be read.
    let sent = send(&mut stream, &bytes, hello.split);
    match (flight::read(&mut stream), sent) {
        (Answer::Closed, Err(_)) => Answer::Reset,
        (answer, _) => answer,
    }
}

fn send(stream: &mut Socket, bytes: &[u8], split: Option<usize>) -> io::Result<()> {
    bytes.chunks(split.unwrap_or(bytes.len()).max(1)).try_for_each(|part| stream.write_all(part))
}
