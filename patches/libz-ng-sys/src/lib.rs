//! The interface of `libz-ng-sys`, served by `libz-sys`.
//!
//! Pingora asks flate2 for its zlib-ng backend, whose crate cannot be built without cmake. The gateway never compresses,
//! so nothing is lost by the plain backend, and building needs no more than cargo and a C compiler. It can go when
//! Pingora lets the backend be chosen.

#![no_std]

pub use libz_sys::*;
