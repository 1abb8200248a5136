//! Files that the modelled ones use, as they are.

#[path = "../../src/connection/addresses.rs"]
pub mod addresses;
#[path = "../../src/connection/limits.rs"]
pub mod limits;
#[path = "../../src/connection/shares.rs"]
pub mod shares;
