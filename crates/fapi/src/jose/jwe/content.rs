//! The content encryption A256GCM (RFC 7518 §5.3).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, RandomizedNonceKey, UnboundKey};
use aws_lc_rs::rand;

/// The name of the content encryption.
pub(super) const A256GCM: &str = "A256GCM";
/// The length of its key in bits.
pub(super) const KEY_BITS: u32 = 256;
/// RFC 7518 §5.3: "Use of an IV of size 96 bits is REQUIRED with this algorithm."
pub(super) const IV_BYTES: usize = 12;
/// RFC 7518 §5.3: "The requested size of the Authentication Tag output MUST be 128 bits".
pub(super) const TAG_BYTES: usize = 16;

/// A content encryption key; it has no `Debug`.
#[derive(Clone, Copy)]
pub(super) struct ContentKey(pub(super) [u8; 32]);

/// What A256GCM makes of a plaintext.
pub(super) struct Sealed {
    pub(super) iv: [u8; IV_BYTES],
    pub(super) ciphertext: Vec<u8>,
    pub(super) tag: [u8; TAG_BYTES],
}

impl ContentKey {
    /// A new random key; `None` if the system provides no randomness.
    pub(super) fn random() -> Option<Self> {
        let mut key = [0; 32];
        rand::fill(&mut key).ok()?;
        Some(Self(key))
    }

    /// The plaintext, if the tag fits it and the header, as it is encoded.
    pub(super) fn open(self, sealed: &Sealed, header: &str) -> Option<Vec<u8>> {
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &self.0).ok()?);
        let nonce = Nonce::assume_unique_for_key(sealed.iv);
        let mut plaintext = vec![0; sealed.ciphertext.len()];
        // RFC 7516 §5.2 (15): the associated data are the header as it is encoded.
        let associated = Aad::from(header);
        key.open_separate_gather(nonce, associated, &sealed.ciphertext, &sealed.tag, &mut plaintext).ok()?;
        Some(plaintext)
    }

    /// Encrypts with a new random initialization vector.
    pub(super) fn seal(self, plaintext: &[u8], header: &str) -> Option<Sealed> {
        let key = RandomizedNonceKey::new(&AES_256_GCM, &self.0).ok()?;
        let mut ciphertext = plaintext.to_vec();
        let (nonce, tag) = key.seal_in_place_separate_tag(Aad::from(header), &mut ciphertext).ok()?;
        Some(Sealed { iv: *nonce.as_ref(), ciphertext, tag: tag.as_ref().try_into().ok()? })
    }
}
