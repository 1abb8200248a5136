//! What replicas share of introspection answers in a store that they do not trust: facts, never decisions.
//!
//! A [`Fact`] is what an issuer said of an active token, and when it was asked. It is written under a [`Place`] that is a hash
//! of the token and of everything that the answer depends on, and sealed for that place with [`SealKeys`]. Whoever can read the
//! store learns how many tokens are in use, and of no token whose it is or what it may do; whoever can write to it can remove
//! facts, and put back older ones, whose own time bounds how long they count.

mod fact;
mod place;
mod seal;

pub use fact::{Fact, MAX_FACT_BYTES, kept_for};
pub use place::{Basis, Place};
pub use seal::{MAX_SEALED_BYTES, NoKey, NotSealed, SealKeys};
