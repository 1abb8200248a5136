//! What a client makes for these checks to verify: proofs and assertions.
//!
//! Time, identifiers and keys are arguments, so that tests are repeatable. Nothing here opens a connection.

pub mod assertion;
pub mod proof;
