//! Ids of proofs, and the assertion of a replay log that a proof is used for the first time (RFC 9449 §11.1).
//!
//! The log itself belongs to the caller, since it has state.

use super::htu;
use crate::jose::thumbprint::KeyThumbprint;
use crate::route::Target;
use crate::sha256;

/// The id of a proof: a hash over its key, the request's `htu` and its `jti` (RFC 9449 §11.1). No client can use up the
/// proof of another, and the length of `jti` does not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProofId([u8; 16]);

impl ProofId {
    pub(super) fn new(key: &KeyThumbprint, target: &Target<'_>, jti: &str) -> Self {
        let htu = htu::of_target(target);
        // A key has 32 bytes, and `htu` its length before it, so that the parts cannot run into each other.
        let length = u64::try_from(htu.len()).unwrap_or(u64::MAX).to_be_bytes();
        let bytes = [key.as_bytes().as_slice(), &length, htu.as_bytes(), jti.as_bytes()].concat();
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = sha256(&bytes);
        Self([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }

    /// The id of a client assertion: a hash over its issuer, its client and its `jti` (RFC 7523 §3 (7)), which is that of no proof.
    pub(crate) fn of_assertion(issuer: &str, client: &str, jti: &str) -> Self {
        let mut text = b"client assertion".to_vec();
        for part in [issuer, client, jti] {
            text.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            text.extend_from_slice(part.as_bytes());
        }
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = sha256(&text);
        Self([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }

    /// The id of the signature of a message with this hash (RFC 9421 §7.2.2), which is that of no proof and no assertion.
    pub(crate) fn of_signature(hash: &[u8; 32]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] =
            sha256(&[b"http signature", hash.as_slice()].concat());
        Self([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }

    /// The id of what a client uses once to sign with, in a `form` other than that of RFC 9421, which is that of nothing else.
    pub(crate) fn of_signed_body(form: &str, client: &str, once: impl AsRef<[u8]>) -> Self {
        let mut text = b"signed body".to_vec();
        for part in [form.as_bytes(), client.as_bytes(), once.as_ref()] {
            text.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            text.extend_from_slice(part);
        }
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = sha256(&text);
        Self([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }

    /// An id with these bytes, for tests of replay logs.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// The assertion of a replay log that a proof has not been used before, and is recorded as used.
#[must_use]
#[derive(Debug)]
pub struct FirstUse(ProofId);

impl FirstUse {
    /// Makes the assertion. Only for replay logs, after one atomic step that found the proof unused and recorded it.
    pub const fn assertion(proof: ProofId) -> Self {
        Self(proof)
    }

    /// Whether it is about this proof.
    pub(crate) fn is_of(&self, proof: ProofId) -> bool {
        self.0 == proof
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::route::Origin;

    #[test]
    fn dpop_40_every_version_has_the_same_id_for_the_same_proof() {
        let (request, ()) = http::Request::get("/accounts/1").body(()).unwrap().into_parts();
        let origin = Arc::new(Origin::parse("https://api.bank.example").unwrap());
        let id = |key: u8, jti: &str| {
            ProofId::new(&KeyThumbprint::from_bytes([key; 32]), &Target::parse(&request, &origin).unwrap(), jti)
        };
        // Replicas of two versions of the gateway share used proofs while one follows the other.
        let shared = 0xac84_5bea_9303_aaa4_9401_292f_2837_5445_u128;
        assert_eq!(id(7, "jti-1").as_bytes(), &shared.to_be_bytes());
        assert_ne!(id(7, "jti-2").as_bytes(), &shared.to_be_bytes()); // control
    }

    #[test]
    fn dpop_39_the_first_use_of_one_proof_is_not_that_of_another() {
        let [one, other] = [ProofId::from_bytes([1; 16]), ProofId::from_bytes([2; 16])];
        let first_use = FirstUse::assertion(one);
        assert!(first_use.is_of(one)); // control
        assert!(!first_use.is_of(other));
    }
}
