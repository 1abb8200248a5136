//! The key in the header of a proof: checks 6 and 7 of RFC 9449 §4.3, as far as they concern the key.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::error::DpopError;
use crate::jose::keys::{Algorithm, KeyError, VerifyingKey};
use crate::jose::thumbprint::KeyThumbprint;

/// A cache of parsed proof keys by thumbprint.
pub trait ProofKeys: Send + Sync {
    /// The key with this thumbprint, if it is cached.
    fn get(&self, thumbprint: &KeyThumbprint) -> Option<Arc<VerifyingKey>>;
    /// Adds a key.
    fn insert(&self, thumbprint: KeyThumbprint, key: Arc<VerifyingKey>);
}

/// A cache that stores nothing, so that the key of each proof is parsed again.
#[derive(Clone, Copy, Debug)]
pub struct NoProofKeys;

impl ProofKeys for NoProofKeys {
    fn get(&self, _: &KeyThumbprint) -> Option<Arc<VerifyingKey>> {
        None
    }

    fn insert(&self, _: KeyThumbprint, _: Arc<VerifyingKey>) {}
}

/// The key in the header of a proof.
pub(super) struct HeaderKey {
    pub(super) thumbprint: KeyThumbprint,
    pub(super) key: Arc<VerifyingKey>,
    pub(super) is_cached: bool,
}

/// Returns the key in the header, from the cache if possible.
pub(super) fn proof_key(header: &Map<String, Value>, keys: &dyn ProofKeys) -> Result<HeaderKey, DpopError> {
    let jwk = match header.get("jwk") {
        None => return Err(DpopError::ClaimMissing { member: "jwk" }),
        Some(Value::Object(jwk)) => jwk,
        Some(_) => return Err(DpopError::ClaimMalformed { member: "jwk", expected: "an object" }),
    };
    if VerifyingKey::has_private_members(jwk) {
        return Err(DpopError::KeyPrivate);
    }
    let refused = |why| DpopError::KeyRefused { why };
    let thumbprint = KeyThumbprint::of_jwk(jwk).ok_or_else(|| refused("it is not for PS256, ES256 or EdDSA"))?;
    // RFC 9449 §4.2 asks only for a public key, and check 6 that the signature verifies with it. Other members, such as
    // the `key_ops` and `ext` that browsers export, do not matter.
    if let Some(key) = keys.get(&thumbprint) {
        return Ok(HeaderKey { thumbprint, key, is_cached: true });
    }
    let key = VerifyingKey::from_key_members(jwk).map_err(|error| match error {
        KeyError::Private { .. } => DpopError::KeyPrivate,
        KeyError::NotForVerifying | KeyError::OtherPurpose { .. } => refused("it is not for PS256, ES256 or EdDSA"),
        KeyError::Malformed { .. } | KeyError::OffCurve | KeyError::Ambiguous => {
            refused("its parameters are malformed")
        }
        KeyError::SmallOrder => refused("its x is a point of small order"),
        KeyError::Weak => refused("its modulus is below 2048 bits"),
    })?;
    check_size(jwk, &key).map_err(refused)?;
    Ok(HeaderKey { thumbprint, key: Arc::new(key), is_cached: false })
}

/// RFC 7518 §6.3.1.1: "without leading zero octets", so that one key has one thumbprint. Also limits the
/// cost of a verification with a key that the client chose.
fn check_size(jwk: &Map<String, Value>, key: &VerifyingKey) -> Result<(), &'static str> {
    if key.algorithm() != Algorithm::Ps256 {
        return Ok(());
    }
    if key.is_weak() {
        return Err("its modulus is below 2048 bits");
    }
    let bytes = |name: &str| {
        jwk.get(name).and_then(Value::as_str).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).unwrap_or_default()
    };
    let (modulus, exponent) = (bytes("n"), bytes("e"));
    if modulus.first().is_none_or(|byte| *byte == 0) || exponent.first().is_none_or(|byte| *byte == 0) {
        return Err("a parameter has leading zeros");
    }
    if modulus.len() > 512 {
        return Err("its modulus is above 4096 bits");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::SigningKey;

    #[test]
    fn members_that_mean_nothing_for_the_type_do_not_change_the_key() {
        let jwk = SigningKey::generate(Algorithm::Ps256, "a").jwk();
        let judged = |member: &str, value: Value| {
            let mut jwk = jwk.clone();
            jwk[member] = value;
            let header = json!({ "jwk": jwk });
            proof_key(header.as_object().unwrap(), &NoProofKeys).map(|found| found.thumbprint)
        };
        let thumbprint = KeyThumbprint::of_jwk(jwk.as_object().unwrap());
        assert_eq!(judged("kid", json!("a")).ok(), thumbprint); // control
        for (member, value) in [("crv", json!("")), ("crv", Value::Null), ("x", json!(1)), ("d", Value::Null)] {
            assert_eq!(judged(member, value).ok(), thumbprint, "{member}");
        }
        assert_eq!(judged("d", json!("AQ")).unwrap_err(), DpopError::KeyPrivate);
        // One key has one thumbprint, so a proof's key is not normalised.
        let modulus = URL_SAFE_NO_PAD.decode(jwk["n"].as_str().unwrap()).unwrap();
        let padded = URL_SAFE_NO_PAD.encode([&[0], &modulus[..]].concat());
        assert_eq!(
            judged("n", json!(padded)).unwrap_err(),
            DpopError::KeyRefused { why: "a parameter has leading zeros" }
        );
    }

    #[test]
    fn dpop_51_a_key_for_which_anybody_can_sign_is_refused() {
        let judged = |point: [u8; 32]| {
            let header = json!({ "jwk": { "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(point) } });
            proof_key(header.as_object().unwrap(), &NoProofKeys).map(drop)
        };
        let (mut identity, mut beside) = ([0; 32], [0; 32]);
        (identity[0], beside[0]) = (1, 2);
        assert_eq!(judged(beside), Ok(())); // control
        assert_eq!(judged(identity), Err(DpopError::KeyRefused { why: "its x is a point of small order" }));
    }

    #[test]
    fn dpop_51_an_rsa_key_has_2048_to_4096_bits_and_a_small_odd_exponent() {
        let judged = |modulus: &[u8], exponent: &[u8]| {
            let [n, e] = [modulus, exponent].map(|number| URL_SAFE_NO_PAD.encode(number));
            let header = json!({ "jwk": { "kty": "RSA", "n": n, "e": e } });
            proof_key(header.as_object().unwrap(), &NoProofKeys).map(drop)
        };
        let refused = |why| Err(DpopError::KeyRefused { why });
        let ones = [0xff; 514];
        for (bytes, expected) in [
            (255, refused("its modulus is below 2048 bits")),
            (256, Ok(())), // control
            (512, Ok(())), // control
            (513, refused("its modulus is above 4096 bits")),
            (514, refused("its modulus is above 4096 bits")),
        ] {
            assert_eq!(judged(&ones[..bytes], &[1, 0, 1]), expected, "{bytes}");
        }
        assert_eq!(judged(&ones[..256], &[3]), Ok(())); // control
        for exponent in [&[][..], &[1], &[2], &[1, 0, 0], &[1, 0, 0, 0, 1]] {
            assert_eq!(judged(&ones[..256], exponent), refused("its parameters are malformed"), "{exponent:?}");
        }
        assert_eq!(judged(&ones[..256], &[0, 3]), refused("a parameter has leading zeros"));
    }
}
