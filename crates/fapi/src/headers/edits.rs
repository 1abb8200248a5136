//! What is changed of a header section.

use http::{HeaderName, HeaderValue};

/// Changes to a header section: first everything in `remove`, then everything in `set`, each replacing its name.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// Names to remove, all their lines.
    pub remove: Vec<HeaderName>,
    /// Names to set to one value.
    pub set: Vec<(HeaderName, HeaderValue)>,
}
