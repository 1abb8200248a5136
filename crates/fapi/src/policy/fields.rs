//! What a route says of header fields of its requests, beside its ecosystem.

use crate::ecosystem::{MediaTypes, Versions};
use crate::idempotency;

/// What a route says of header fields of its requests; by default, nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldRules {
    /// The versions of the resource, in an ecosystem whose requests name some.
    pub versions: Option<Versions>,
    /// What it takes and answers with: those of its ecosystem, unless the route has others.
    pub media_types: Option<MediaTypes>,
    /// Whether a request that changes something has a key.
    pub idempotency_key: Option<idempotency::Rule>,
}
