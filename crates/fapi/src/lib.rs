//! What is right: the checks of FAPI on one request, as functions of their arguments.
//!
//! Nothing in this room waits, reads a clock, opens a file or writes a log; what a step needs, it is given. Each file is
//! one step of the line that a gateway draws, in this order:
//!
//! | step | file | specification |
//! | --- | --- | --- |
//! | framing, sizes, host | [`message`] | RFC 9112 §6, RFC 9110 §7.2, RFC 6585 §5 |
//! | who is there | [`peer`] | RFC 8705 §3, RFC 9440 |
//! | target and route | [`route`] | RFC 3986 §6, RFC 9449 §4.3 (`htu`) |
//! | credentials | [`credentials`] | RFC 6750 §2, RFC 9449 §7.1 |
//! | signature | [`jws`], [`json`], [`keys`] | RFC 7515, RFC 7518, RFC 8725 |
//! | token | [`token`] | RFC 9068 §4, FAPI 2.0 §5.3.4 |
//! | revocation | [`revocation`], [`security_event`] | FAPI 2.0 §5.3.4 (3), RFC 8417, RFC 9493 |
//! | proof | [`dpop`], [`htu`], [`nonce`] | RFC 9449 §4.3, §8, §9, §11.1 |
//! | sender | [`sender`] | RFC 8705 §3, RFC 7800 §3.1 |
//! | policy | [`policy`] | RFC 6750 §3.1 |
//! | what leaves | [`headers`], [`rejection`] | RFC 9440, RFC 6750 §3, RFC 9110 §7.6 |
//!
//! What several of them read in the same way is in [`text`].

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod client;
pub mod code;
pub mod credentials;
pub mod dpop;
pub mod headers;
pub mod jose;
pub mod message;
pub mod peer;
pub mod permit;
pub mod policy;
pub mod rejection;
pub mod revocation;
pub mod route;
pub mod sender;
#[cfg(test)]
mod testing;
pub mod text;
pub mod token;

/// Whole seconds since 1970-01-01T00:00:00Z, as a JWT NumericDate (RFC 7519 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// This time and `seconds` more, or the end of time.
    pub const fn plus(self, seconds: u64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// The seconds from `earlier` until this time; zero when it is not later.
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl std::fmt::Display for UnixTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// SHA-256 of `bytes` (FIPS 180-4).
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    out
}
