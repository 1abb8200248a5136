//! All modules, by what they look at.

mod binding;
mod credentials;
mod fapi1;
mod http2;
mod lifetimes;
mod nonces;
mod proofs;
mod published;
mod replay;
mod requests;
mod responses;
mod tls;
mod tokens;

use crate::module::Module;

/// Every module, in the order in which they run.
pub fn all() -> Vec<Module> {
    [
        credentials::MODULES,
        binding::MODULES,
        tokens::MODULES,
        lifetimes::MODULES,
        proofs::MODULES,
        replay::MODULES,
        nonces::MODULES,
        responses::MODULES,
        requests::MODULES,
        http2::MODULES,
        published::MODULES,
        fapi1::MODULES,
        tls::MODULES,
    ]
    .concat()
}
