//! What the tests of several forms need.

use serde_json::{Map, Value};

use crate::jose::keys::Algorithm;
use crate::jose::signing::{KeptKey, NotSigned, PrivateKey};
use crate::jose::signing_keys::NamedKey;

/// A key whose token is gone.
struct Lost(Map<String, Value>);

impl KeptKey for Lost {
    fn algorithm(&self) -> Algorithm {
        Algorithm::Ps256
    }

    fn public_jwk(&self) -> Map<String, Value> {
        self.0.clone()
    }

    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, NotSigned> {
        Err(NotSigned)
    }
}

/// A key that signs nothing.
pub(super) fn lost_key() -> NamedKey {
    let public = PrivateKey::generate(Algorithm::Ps256).unwrap().public_jwk().unwrap();
    NamedKey::new(PrivateKey::Kept(Box::new(Lost(public))), Some("lost")).unwrap()
}
