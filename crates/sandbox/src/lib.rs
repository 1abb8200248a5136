//! Simulated surroundings of a gateway: an authorization server, another that knows nothing of FAPI, certificate authorities, good and
//! forged tokens, an accounts API, and a server that misbehaves on request.
//!
//! For the demo, the tests and the benchmarks only. It forges whatever it is asked to, makes keys that are thrown away,
//! and panics on misuse, since all its callers are in this repository. Nothing here is fit for production.

pub mod accounts;
pub mod authorization_server;
pub mod der;
pub mod https;
pub mod keys;
pub mod lenient_authorization_server;
pub mod pki;
pub mod tls;
pub mod tokens;

/// Seconds since 1970 on the wall clock, for the times in tokens and proofs.
#[expect(clippy::disallowed_methods, reason = "tokens and proofs are made for the wall clock")]
pub fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs()
}
