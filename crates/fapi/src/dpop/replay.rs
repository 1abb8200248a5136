//! What a replay log knows of proofs: their ids, and that one is used for the first time (RFC 9449 §11.1).
//!
//! The log itself is outside: it has a memory and a lock.

use super::htu;
use crate::jose::thumbprint::KeyThumbprint;
use crate::route::Target;
use crate::sha256;

/// What a proof is known by: a hash over key, `htu` of the request and `jti` (RFC 9449 §11.1), so that no client can use up
/// another's and no `jti` is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProofId([u8; 16]);

impl ProofId {
    pub(super) fn new(key: &KeyThumbprint, target: &Target<'_>, jti: &str) -> Self {
        let htu = htu::of_target(target);
        let mut bytes = Vec::with_capacity(40_usize.saturating_add(htu.len()).saturating_add(jti.len()));
        bytes.extend_from_slice(key.as_bytes());
        bytes.extend_from_slice(&u64::try_from(htu.len()).unwrap_or(u64::MAX).to_be_bytes());
        bytes.extend_from_slice(htu.as_bytes());
        bytes.extend_from_slice(jti.as_bytes());
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = sha256(&bytes);
        Self([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
    }

    /// An id of given bytes, for the tests of replay logs.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

/// The statement of a replay log that this proof had not been used before, and now is.
#[must_use]
#[derive(Debug)]
pub struct FirstUse(ProofId);

impl FirstUse {
    /// For replay logs alone, after one atomic step that found the proof unused and noted it.
    pub const fn assertion(proof: ProofId) -> Self {
        Self(proof)
    }

    /// Whether it speaks of this proof.
    pub(crate) fn is_of(&self, proof: ProofId) -> bool {
        self.0 == proof
    }
}
