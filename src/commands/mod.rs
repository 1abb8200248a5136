//! What the program does besides serving: each command is one file that ends in an exit code.

pub mod check;
pub mod demo;
pub mod jose;
pub mod proof;
pub mod run;
pub mod schema;

/// The exit code for a configuration that cannot be used (`EX_USAGE` of sysexits.h).
pub const BAD_CONFIGURATION: u8 = 64;

/// Seconds since 1970 on the wall clock, for what a command signs.
#[expect(clippy::disallowed_methods, reason = "tokens and proofs are made for the wall clock")]
fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs()
}
