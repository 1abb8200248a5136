//! JSON Object Signing and Encryption as FAPI profiles it: signed with one of three algorithms (FAPI 2.0 §5.4), and encrypted only
//! around what is signed.

pub mod claims;
pub mod json;
pub mod jwe;
pub mod jws;
pub mod keys;
pub mod public_key;
pub mod signing;
pub mod signing_keys;
pub mod statement;
pub mod thumbprint;
