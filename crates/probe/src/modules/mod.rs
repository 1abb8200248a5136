//! All modules, by what they look at.

mod binding;
mod credentials;
mod ecosystems;
mod fapi1;
mod fetched;
mod http2;
mod lifetimes;
mod nonces;
mod proofs;
mod published;
mod replay;
mod requests;
mod responses;
mod resumption;
mod signatures;
mod tls;
mod tokens;
mod weak;

use crate::module::Module;

/// Every module, in the order in which they run.
pub fn all() -> Vec<Module> {
    let general = [
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
        resumption::MODULES,
        signatures::MODULES,
    ];
    [general.as_slice(), ecosystems::MODULES].concat().concat()
}
