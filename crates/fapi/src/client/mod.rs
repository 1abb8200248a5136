//! What a client proves itself with: DPoP proofs to resource servers, assertions to authorization servers.
//!
//! Time, identifiers and keys are arguments, so that tests are repeatable. Nothing here opens a connection.

pub mod assertion;
pub mod proof;
