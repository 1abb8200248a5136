//! What each ecosystem adds at a resource server.

use crate::module::Module;

/// The modules, by what they look at.
pub(super) const MODULES: &[&[Module]] = &[];
