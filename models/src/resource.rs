//! What `src/resource.rs` names.

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Introspection,
    IntrospectionEndpoint,
}
