//! What signatures of messages need beside [`fapi::signature`], which judges: the keys of clients, and the use of a signature, which
//! is recorded like that of a proof.

mod keys;
mod used;

pub use self::keys::{ClientKeySets, KnownSet, Listed, NoKeys, Settings, Source};
pub use self::used::UsedSignature;
