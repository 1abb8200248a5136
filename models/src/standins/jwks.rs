//! In place of the keys of issuers: there are none, since the responses of a scene are not signed.

use std::sync::Arc;

use fapi::jose::keys::KeySet;
use fapi::rejection::Unavailable;

pub struct KeySetSnapshot {
    pub keys: Arc<KeySet>,
    pub generation: u64,
}

pub struct KeySource;

pub enum Reread {
    Newer(Arc<KeySetSnapshot>),
}

impl KeySource {
    pub fn in_force(&self) -> Result<Arc<KeySetSnapshot>, Unavailable> {
        unreachable!("no response is signed")
    }

    pub async fn refresh_for_token(&self, _: u64) -> Reread {
        unreachable!("no response is signed")
    }
}
