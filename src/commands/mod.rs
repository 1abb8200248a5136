//! The commands of the program; each is one file whose `run` returns an exit code.

pub mod check;
#[cfg(feature = "demo")]
pub mod demo;
pub mod proof;
pub mod run;
pub mod schema;

/// The exit code for a configuration that cannot be used (`EX_USAGE` of sysexits.h).
pub const BAD_CONFIGURATION: u8 = 64;
