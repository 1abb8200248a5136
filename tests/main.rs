//! The integration tests: one binary, one file for each question.

#![allow(
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "one binary whose helpers are its own; a panic is a failed test"
)]

#[path = "support/mod.rs"]
mod support;

mod accepts;
mod attacks;
mod authorization_server;
mod configs;
mod deploy;
mod docs;
mod dpop;
mod dpop_client;
mod endings;
mod fences;
mod hop;
mod hostile;
mod hygiene;
mod introspection;
mod keys;
mod nginx;
mod observed;
mod operation;
mod rejects;
mod reload;
mod revocations;
mod soak;
mod upstreams;
mod vectors;
