//! HTTP message signatures (RFC 9421) over requests and responses, and digests of their content (RFC 9530), as FAPI 2.0
//! HTTP Signatures profiles them.
//!
//! | step | module | gives | specification |
//! | --- | --- | --- | --- |
//! | what is signed | [`base`], [`component`], [`message`] | the signature base | RFC 9421 §2 |
//! | the digest is that of the content | [`digest`] | [`MatchedContent`](digest::MatchedContent) | RFC 9530 §2, §5 |
//! | a known key signed it | [`input`], [`profile`], [`verify`](mod@verify) | [`SignedFields`](verify::SignedFields) | RFC 9421 §3.2 |
//! | and its content | [`verify`](mod@verify) | [`VerifiedSignature`](verify::VerifiedSignature) | RFC 9530 §6.3 |
//! | the other side | [`create`] | [`SignatureFields`](create::SignatureFields) | RFC 9421 §3.1 |
//!
//! What a route says of all this is in [`rules`], in which [`form`] in one of them, how content is verified that is signed by
//! itself in [`signed_content`], and what comes of a request that holds in [`signed_request`].
//!
//! Keys are those of the client that the request has to come from, which the caller knows from its token (HSIG-08). Replay is
//! for the caller to remember. The body is the caller's to read, up to a limit of its own, and to pass on only afterwards.

pub mod algorithm;
pub mod base;
pub mod component;
pub mod create;
mod dictionary;
pub mod digest;
pub mod error;
pub mod evidence;
pub mod form;
pub mod input;
pub mod message;
pub mod profile;
pub mod rules;
pub mod signed_content;
pub mod signed_request;
#[cfg(test)]
mod tests;
pub mod verify;
