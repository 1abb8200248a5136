//! The other side of the checks: proofs and assertions as a client makes them.
//!
//! Time, identifiers and keys are arguments, so that a test can repeat what it made. Nothing here opens a connection.

pub mod assertion;
pub mod proof;
