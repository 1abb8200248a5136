//! What is accepted and what is refused, step by step.

mod accepts;
mod access_tokens;
mod allocations;
mod authorization_details;
mod compared_bodies;
mod cors;
mod dpop;
mod errors;
mod introspection;
mod keys;
mod metadata;
mod rejects;
mod revocations;
mod vectors;
