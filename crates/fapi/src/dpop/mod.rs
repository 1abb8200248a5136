//! Demonstrating Proof of Possession (RFC 9449): how a client proves that it has the key its token is bound to.

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
