//! Bodies that are signed by themselves, as ecosystems had it before RFC 9421: by a JWS, or by the header signature of the
//! Berlin Group.
//!
//! | form | module | gives | specification |
//! | --- | --- | --- | --- |
//! | `x-jws-signature` over the body | [`detached`] | [`VerifiedDetachedSignature`](detached::VerifiedDetachedSignature) | UK Open Banking Read/Write API profile, message signing; RFC 7515 appendix F |
//! | the body is a signed JWT | [`jwt_body`] | [`VerifiedBody`](jwt_body::VerifiedBody) | Open Finance Brazil, UAE and KSA: message signing |
//! | `Digest`, `Signature`, `TPP-Signature-Certificate` | [`digest_header`], [`berlin_group`] | [`VerifiedSeal`](berlin_group::VerifiedSeal) | Berlin Group NextGenPSD2 §12; draft-cavage-http-signatures-12, RFC 3230 |
//!
//! The keys of a JWS are those of the client that the request has to come from, which the caller knows from its token: nothing in
//! a message names another set. The certificate of a seal comes with the request, and counts if it is of the same organisation as
//! the one of the connection. Replay is for the caller to remember. The body is the caller's to read, up to a limit of its own,
//! and to pass on only afterwards.

pub mod berlin_group;
pub(crate) mod cavage;
pub mod detached;
pub mod digest_header;
pub mod directory;
pub mod error;
pub mod jwt_body;
pub(crate) mod seal_certificate;
#[cfg(test)]
mod testing;
