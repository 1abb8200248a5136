//! A conformance plan for resource servers that enforce FAPI, and reports of what it found.
//!
//! OpenID certifies authorization servers and clients; what a resource server lets through is tested by nobody. A [`plan`] is a list of
//! [`modules`], each a rule of a standard with calls that show whether it is kept, and a [`report`] says it, with the clause that
//! each comes from. Every call that must be refused comes after one that differs in one thing and must succeed, so that a server
//! that refuses everything, or answers nothing, never passes.
//!
//! Everything blocks, on purpose: calls are made one after the other, at the pace that [`settings`] allow.

pub mod authorization;
pub mod call;
pub mod clock;
pub mod exchange;
pub mod expect;
pub mod module;
pub mod modules;
pub mod plan;
pub mod report;
pub mod revoke;
pub mod run;
pub mod secrets;
pub mod sent;
pub mod session;
pub mod settings;
pub mod signature;
pub mod socket;
pub mod tls;
pub mod transcript;
pub mod wire;
