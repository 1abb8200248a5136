//! The integration tests: a single binary, with one file for each question.

#![allow(
    unreachable_pub,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "the helpers are private to this binary; a panic is a failed test"
)]

#[path = "support/mod.rs"]
mod support;

#[path = "../benches/stage/mod.rs"]
mod stage;

mod attacks;
mod edge;
mod fences;
mod hygiene;
mod interop;
mod line;
mod operate;
