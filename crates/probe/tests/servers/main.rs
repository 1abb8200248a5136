//! Modules against small servers that are right, wrong in one thing, and dead.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

mod ecosystems;
mod hostile;
mod signatures;
mod world;
