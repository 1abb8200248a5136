//! A conformance plan for resource servers that enforce FAPI, and reports of what it found.
//!
//! OpenID certifies authorization servers and clients; what a resource server lets through is tested by nobody. A [`report`] says it,
//! module by module, with the clause that each comes from.

pub mod report;
pub mod tls;
