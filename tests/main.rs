//! The integration tests: one binary, one file for each question.

#[path = "support/mod.rs"]
mod support;

mod deploy;
mod rejects;
