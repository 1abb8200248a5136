//! What stands around a gateway when nothing real may: an authorization server, certificate authorities, tokens good and
//! forged, an accounts API, and a server that misbehaves when told to.
//!
//! For the demo, the tests and the benchmarks. It forges whatever it is asked to, makes keys that nobody keeps, and panics on
//! what its callers, who are all in this repository, do not do; nothing here is fit to be relied on.

pub mod accounts;
pub mod authorization_server;
pub mod https;
pub mod keys;
pub mod pki;
pub mod tls;
pub mod tokens;

/// Seconds since 1970 on the wall clock, by which tokens and proofs are made.
#[expect(clippy::disallowed_methods, reason = "tokens and proofs are made for the wall clock")]
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs()
}
