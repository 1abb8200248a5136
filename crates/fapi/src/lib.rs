//! The checks of FAPI 2.0 on one request, as functions of their arguments.
//!
//! For resource servers that protect their own handlers, and for proxies that protect those of others. A protected
//! route is reached only with a sender-constrained access token: bound to the client's certificate (RFC 8705), to a
//! DPoP key (RFC 9449), or to both.
//!
//! # The steps
//!
//! Each step returns a type that the next step needs, so that leaving one out does not compile. In this order:
//!
//! | step | module | gives | specification |
//! | --- | --- | --- | --- |
//! | framing, sizes, host | [`message`] | [`Origin`](route::Origin) | RFC 9112 §6, RFC 9110 §7.2, RFC 6585 §5 |
//! | who the client is | [`peer`] | [`Peer`](peer::Peer) | RFC 8705 §3, RFC 9440 |
//! | target and route | [`route`] | [`Matched`](route::Matched) | RFC 3986 §6, RFC 9449 §4.3 (`htu`) |
//! | credentials | [`credentials`] | [`PresentedToken`](credentials::PresentedToken) | RFC 6750 §2, RFC 9449 §7.1 |
//! | what the request shows of its sender | [`sender`], [`dpop`] | [`SenderEvidence`](sender::SenderEvidence) | RFC 9449 §4.3 |
//! | token | [`token`], [`jose`] | [`ActiveToken`](token::ActiveToken) | RFC 9068 §4, RFC 7662, RFC 8725 |
//! | revocation | [`revocation`] | | FAPI 2.0 §5.3.4 (3), RFC 8417, RFC 9493 |
//! | the sender is the token's client | [`sender`], [`dpop`] | [`BoundToken`](sender::BoundToken) | RFC 9449 §7.1, §8, §9, RFC 8705 §3 |
//! | policy | [`policy`] | [`Authorized`](permit::Authorized) | RFC 6750 §3.1 |
//! | first use of the proof | [`permit`] | [`Permit`](permit::Permit) | RFC 9449 §11.1 |
//! | an authorization server's endpoint, instead of the five before | [`authorization_server`] | [`JudgedRequest`](authorization_server::JudgedRequest) | FAPI 2.0 §5.3.2 |
//! | what is forwarded | [`headers`], [`identity_jwt`] | [`HeaderEdits`](headers::HeaderEdits) | RFC 9440, RFC 9110 §7.6 |
//!
//! A route can leave what it requires of a token to [`shadow`] for a while: what it would refuse is noted in the permit.
//!
//! A step that refuses returns its own error, which [`rejection`] turns into the response, with the challenge of RFC
//! 6750 §3. Every reason to refuse has one stable [`Code`](code::Code), and [`step`] says which step it is of. [`cors`] has what scripts of other origins may
//! learn, which has no part in the decision, and [`metadata`] what every client may know of it in advance (RFC 9728).
//! [`rate_limit`] has what a client learns of the rates at which it may send requests, and [`profile`] the rules that these
//! steps enforce as data. [`client`] makes what a client proves itself with: DPoP proofs, which these steps check, and assertions, which
//! authorization servers do. [`signature`] verifies and makes signatures over whole messages (RFC 9421), beside these steps, and
//! [`signed_body`] those over bodies that ecosystems use instead. [`participant`] reads what certificates say of those who take part in
//! one, and [`ecosystem`] has what each of them asks for.
//!
//! # What it does not do
//!
//! - It does not fetch anything. Key sets and introspection responses are arguments; caching and refreshing them is up
//!   to the caller.
//! - It does not read a clock. The time is an argument, and the claims of a token are read for a given time
//!   ([`ActiveToken::claims_at`](token::ActiveToken::claims_at)), so that a cached token expires too.
//! - It does not terminate TLS. Whether the chain of a client certificate leads to a trust anchor is for the TLS
//!   library to verify; a [`Peer`](peer::Peer) records the result. [`path_validation`] is for chains that such a library
//!   does not support.
//! - It does not remember used proofs. The caller keeps the replay log and asserts a [`FirstUse`](dpop::FirstUse).
//! - It does not read bodies. A form may contain a second token, and a route may compare a token with the body: the caller
//!   reads it where a step returns [`AwaitsForm`](permit::AwaitsForm) or [`AwaitsBody`](permit::AwaitsBody).
//! - It does not log. Errors are written for the operator's log and contain neither tokens nor proofs.
//!
//! [`message`] is for proxies: it checks the bytes of an HTTP/1 head, which a service behind an HTTP library does not
//! have. Such a service relies on the framing of its library.
//!
//! # Example
//!
//! The checks of a service with one origin and one issuer. `examples/axum` in this crate has the rest: the axum
//! middleware that calls them and turns a [`Cause`](rejection::Cause) into a [`Rejection`](rejection::Rejection), and
//! the tests.
//!
//! ```
#![cfg_attr(any(doc, doctest), doc = include_str!("../examples/axum/api.rs"))]
//! ```

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

pub mod authorization_server;
pub mod client;
pub mod code;
pub mod cors;
pub mod credentials;
pub mod directory;
pub mod dpop;
pub mod ecosystem;
pub mod error_format;
pub mod field_names;
pub mod headers;
pub mod idempotency;
pub mod identity_jwt;
pub mod jose;
pub mod message;
pub mod metadata;
pub mod participant;
pub mod path_validation;
pub mod peer;
pub mod permit;
pub mod policy;
pub mod profile;
pub mod rate_limit;
pub mod rejection;
pub mod revocation;
pub mod route;
pub mod sender;
pub mod shadow;
pub mod signature;
pub mod signed_body;
pub mod step;
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

/// A time before 1970 becomes the beginning of 1970.
impl From<x509_parser::time::ASN1Time> for UnixTime {
    fn from(time: x509_parser::time::ASN1Time) -> Self {
        Self(u64::try_from(time.timestamp()).unwrap_or(0))
    }
}

impl std::fmt::Display for UnixTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// SHA-256 of these parts, in this order, each with its length, so that the end of one is not the beginning of the next.
pub(crate) fn sha256_of_parts(parts: &[&[u8]]) -> [u8; 32] {
    let mut text = Vec::new();
    for part in parts {
        text.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        text.extend_from_slice(part);
    }
    sha256(&text)
}

/// SHA-256 of `bytes` (FIPS 180-4).
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    out
}
