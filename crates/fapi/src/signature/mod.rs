//! HTTP message signatures (RFC 9421) over requests and responses, and digests of their content (RFC 9530), as FAPI 2.0
//! HTTP Signatures profiles them.
//!
//! | step | module | gives | specification |
//! | --- | --- | --- | --- |
//! | what is signed | [`base`], [`component`], [`message`] | the signature base | RFC 9421 §2 |
//! | the digest is that of the content | [`digest`] | [`MatchedContent`](digest::MatchedContent) | RFC 9530 §2, §5 |
//!
//! The body is the caller's to read, up to a limit of its own, and to pass on only afterwards.

pub mod base;
pub mod component;
mod dictionary;
pub mod digest;
pub mod error;
pub mod message;
#[cfg(test)]
mod tests;
