//! What a server accepts in the handshake of TLS, beyond what a TLS library can offer it.
//!
//! Libraries have neither TLS 1.1 nor suites without forward secrecy any more, so that with them a server that accepts both cannot be
//! told from one that refuses both. Here a [`hello`] is written by hand, the [`scan`] sends it, and the [`flight`] that answers is
//! read as long as it is in plaintext, which is enough to know what the server chose. Nothing is verified, and no secret is sent.
//!
//! A [`renegotiation`] stands behind a whole handshake, which a library makes, and then goes on by hand.

mod alert;
pub mod flight;
pub mod hello;
mod protection;
mod record;
pub mod renegotiation;
pub mod scan;
pub mod suites;
mod wire;

pub use alert::Alert;

#[cfg(test)]
mod tests;
