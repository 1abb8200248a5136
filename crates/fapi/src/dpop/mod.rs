//! Demonstrating Proof of Possession (RFC 9449): what a client shows that has the key which its token is bound to.

mod error;
mod htu;
mod key;
mod nonce;
mod proof;
mod replay;

pub use error::DpopError;
pub use htu::HtuMismatch;
pub use key::{NoProofKeys, ProofKeys};
pub use nonce::{NoNonces, Nonce, Nonces};
pub use proof::{Freshness, ProofContext, SignedProof, VerifiedProof};
pub use replay::{FirstUse, ProofId};
