//! Edits to a header section.

use http::{HeaderName, HeaderValue};

/// Edits to a header section: first all removals, then all new values, each of which replaces the field.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// Fields to remove, with all their lines.
    pub remove: Vec<HeaderName>,
    /// Fields to set to a single value.
    pub set: Vec<(HeaderName, HeaderValue)>,
}
