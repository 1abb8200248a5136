//! Where a fact is kept: under a hash of the token, and of everything that the answer depends on besides it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::super::hash::TokenHash;
use crate::sha256_of_parts;

/// A hash of what the answers of an issuer depend on besides the token, such as who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Basis([u8; 32]);

impl Basis {
    /// The hash of these parts, in this order.
    pub fn of(parts: &[&[u8]]) -> Self {
        Self(sha256_of_parts(parts))
    }

    /// Its bytes, as a part of another one.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The key of a fact in the store; nobody who does not have the token can calculate it.
#[derive(Clone, PartialEq, Eq)]
pub struct Place(String);

impl Place {
    /// The place of what the issuer says at `endpoint` about a token; `key` makes the key of a name in the store.
    pub fn new(key: impl FnOnce(&str) -> String, basis: &Basis, endpoint: &str, token: &TokenHash) -> Self {
        let Basis(hash) = Basis::of(&[basis.as_bytes(), endpoint.as_bytes(), token.as_bytes()]);
        Self(key(&format!("i:{}", URL_SAFE_NO_PAD.encode(hash))))
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn int_10_atk_ca_02_each_part_leads_to_another_place() {
        const AT: &str = "https://as.example/introspect";
        let key = |name: &str| format!("fapi:{name}");
        let [one, other] = ["token", "another token"].map(TokenHash::of_text);
        let basis = Basis::of(&[b"https://as.example", b"gateway"]);
        let place = Place::new(key, &basis, AT, &one);
        assert_eq!(place.as_str().len(), "fapi:i:".len() + 43);
        assert!(place == Place::new(key, &basis, AT, &one)); // control
        for another in [
            Place::new(key, &basis, AT, &other),
            Place::new(key, &basis, "https://as.example/other", &one),
            Place::new(|name| format!("other:{name}"), &basis, AT, &one),
        ] {
            assert!(place != another, "{}", another.as_str());
        }
        for another in [
            Basis::of(&[b"gateway", b"https://as.example"]),
            Basis::of(&[b"https://as.example"]),
            Basis::of(&[b"https://as.exampleg", b"ateway"]),
            Basis::of(&[b"https://as.examplegateway"]),
            Basis::of(&[b"https://as.example", b"gateway", b""]),
        ] {
            assert!(place != Place::new(key, &another, AT, &one), "{another:?}");
        }
        assert!(!place.as_str().contains("token") && !place.as_str().contains(&one.id().to_string()));
    }
}
