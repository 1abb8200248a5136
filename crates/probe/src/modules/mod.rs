//! All modules, by what they look at.

mod binding;
mod credentials;
mod proofs;
mod replay;
mod tokens;

use crate::module::Module;

/// Every module, in the order in which they run.
pub fn all() -> Vec<Module> {
    [credentials::MODULES, binding::MODULES, tokens::MODULES, proofs::MODULES, replay::MODULES].concat()
}
