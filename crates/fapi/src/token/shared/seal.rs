//! The seal of a fact: AES-256-GCM, with its place as associated data.
//!
//! Every place has a key of its own, made from a common one, so that the random nonces of one key are as few as the facts of
//! one token (SP 800-38D §8.3 allows 2^32 with the same key).

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;

use super::fact::MAX_FACT_BYTES;
use super::place::Place;

/// The keys that all replicas have: the first seals, and each of them opens.
#[derive(Clone)]
pub struct SealKeys(Vec<hmac::Key>);

/// There is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("facts are sealed with at least one key")]
pub struct NoKey;

/// There was no randomness to seal with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gave no random bytes")]
pub struct NotSealed;

impl SealKeys {
    /// Keys of 32 random bytes each.
    ///
    /// # Errors
    /// [`NoKey`].
    pub fn new(keys: &[[u8; 32]]) -> Result<Self, NoKey> {
        if keys.is_empty() {
            return Err(NoKey);
        }
        Ok(Self(keys.iter().map(|key| hmac::Key::new(hmac::HMAC_SHA256, key)).collect()))
    }

    /// Seals a fact for this place.
    ///
    /// # Errors
    /// [`NotSealed`].
    pub fn seal(&self, place: &Place, mut fact: Vec<u8>) -> Result<Vec<u8>, NotSealed> {
        let key = self.0.first().and_then(|key| key_of(key, place)).ok_or(NotSealed)?;
        let associated = Aad::from(place.as_str().as_bytes());
        let nonce = key.seal_in_place_append_tag(associated, &mut fact).map_err(|_| NotSealed)?;
        Ok([&[VERSION], &nonce.as_ref()[..], &fact].concat())
    }

    /// Opens what was sealed for this place with one of the keys; `None` for anything else.
    pub fn open(&self, place: &Place, sealed: &[u8]) -> Option<Vec<u8>> {
        if sealed.len() > MAX_SEALED_BYTES {
            return None;
        }
        let (&[VERSION], rest) = sealed.split_first_chunk()? else { return None };
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>()?;
        self.0.iter().find_map(|key| {
            let mut text = text.to_vec();
            let associated = Aad::from(place.as_str().as_bytes());
            let nonce = Nonce::assume_unique_for_key(*nonce);
            let opened = key_of(key, place)?.open_in_place(nonce, associated, &mut text).ok()?.len();
            text.truncate(opened);
            Some(text)
        })
    }
}

impl fmt::Debug for SealKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SealKeys").field(&self.0.len()).finish()
    }
}

/// The key of a place.
fn key_of(key: &hmac::Key, place: &Place) -> Option<RandomizedNonceKey> {
    let own = hmac::sign(key, [PURPOSE, place.as_str().as_bytes()].concat().as_slice());
    RandomizedNonceKey::new(&AES_256_GCM, own.as_ref()).ok()
}

/// The size above which nothing is opened: a fact, the version, the nonce and the tag.
pub const MAX_SEALED_BYTES: usize = MAX_FACT_BYTES + 1 + NONCE_LEN + 16;

const PURPOSE: &[u8] = b"fapi-gateway introspection answer\0";
const VERSION: u8 = 1;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::place::Basis;
    use super::*;
    use crate::token::TokenHash;

    const OLD: [u8; 32] = [1; 32];
    const NEW: [u8; 32] = [2; 32];

    fn keys(keys: &[[u8; 32]]) -> SealKeys {
        SealKeys::new(keys).unwrap()
    }

    fn place(token: &str) -> Place {
        place_below("fapi:", token)
    }

    fn place_below(prefix: &str, token: &str) -> Place {
        let basis = Basis::of(&[b"https://as.example"]);
        Place::new(
            |name| format!("{prefix}{name}"),
            &basis,
            "https://as.example/introspect",
            &TokenHash::of_text(token),
        )
    }

    #[test]
    fn what_is_sealed_is_opened_at_its_place_and_nowhere_else() {
        let (keys, place) = (keys(&[OLD]), place("token"));
        let sealed = keys.seal(&place, b"fact".to_vec()).unwrap();
        assert_eq!(keys.open(&place, &sealed).as_deref(), Some(&b"fact"[..])); // control
        for elsewhere in [self::place("another"), place_below("other:", "token")] {
            assert_eq!(keys.open(&elsewhere, &sealed), None, "{}", elsewhere.as_str());
        }
        assert!(!sealed.windows(4).any(|window| window == b"fact"));
        assert_ne!(keys.seal(&place, b"fact".to_vec()).unwrap(), sealed, "the nonce is another each time");
    }

    #[test]
    fn keys_change_without_a_gap_and_a_key_that_is_gone_opens_nothing() {
        let place = place("token");
        let opens = |by: &[[u8; 32]], with: &[[u8; 32]]| {
            keys(with).open(&place, &keys(by).seal(&place, b"fact".to_vec()).unwrap()).is_some()
        };
        // Each step at one replica before the others: the new key behind, then first, then alone.
        for (by, with) in [
            (&[OLD][..], &[OLD, NEW][..]),
            (&[OLD, NEW], &[OLD]),
            (&[OLD, NEW], &[NEW, OLD]),
            (&[NEW, OLD], &[OLD, NEW]),
        ] {
            assert!(opens(by, with));
        }
        assert!(opens(&[NEW, OLD], &[NEW]) && opens(&[NEW], &[NEW, OLD]));
        assert!(!opens(&[OLD], &[NEW]) && !opens(&[OLD, NEW], &[NEW]) && !opens(&[NEW, OLD], &[OLD]));
        assert_eq!(SealKeys::new(&[]).err(), Some(NoKey));
    }

    #[test]
    fn att_a5_debug_of_keys_is_their_number() {
        assert_eq!(format!("{:?}", keys(&[OLD, NEW])), "SealKeys(2)");
    }

    proptest! {
        #[test]
        fn nothing_opens_that_differs_in_a_bit(fact in proptest::collection::vec(any::<u8>(), 0..300), at: prop::sample::Index, bit in 0..8u8) {
            let (keys, place) = (keys(&[OLD, NEW]), place("token"));
            let sealed = keys.seal(&place, fact.clone()).unwrap();
            prop_assert_eq!(keys.open(&place, &sealed), Some(fact));
            let mut changed = sealed.clone();
            let at = at.index(changed.len());
            changed[at] ^= 1 << bit;
            prop_assert_eq!(keys.open(&place, &changed), None);
            prop_assert_eq!(keys.open(&place, &sealed[..at]), None);
            prop_assert_eq!(keys.open(&place, &[&sealed[..], &[0]].concat()), None);
        }

        #[test]
        fn never_panics(sealed in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(keys(&[OLD]).open(&place("token"), &sealed), None);
        }
    }
}
