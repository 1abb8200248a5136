//! The integration tests: a single binary, with one file for each question.

#![allow(
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "one binary whose helpers are its own; a panic is a failed test"
)]

#[path = "support/mod.rs"]
mod support;

mod attacks;
mod edge;
mod fences;
mod hygiene;
mod interop;
mod line;
mod operate;
