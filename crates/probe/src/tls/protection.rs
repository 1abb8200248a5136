//! Encrypted records of TLS 1.2, for a connection that a library began and does not go on with.

use aws_lc_rs::aead::{AES_128_GCM, AES_256_GCM, Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rustls::ConnectionTrafficSecrets;

use super::hello::TLS12;

/// How many bytes of the nonce are in the record, before the ciphertext (RFC 5288 §3).
const EXPLICIT: usize = 8;

/// What protects the records of one direction.
pub(super) struct Protection {
    key: LessSafeKey,
    iv: [u8; NONCE_LEN],
    /// Whether a part of the nonce is in the record, as with AES-GCM.
    explicit: bool,
    /// The number of the next record.
    pub(super) sequence: u64,
}

impl Protection {
    /// The protection by `secrets` of the record with the number `sequence` and those after it; `None` if the cipher is not known.
    pub(super) fn new(sequence: u64, secrets: &ConnectionTrafficSecrets) -> Option<Self> {
        // The type may have more ciphers in later versions of the library.
        #[allow(clippy::wildcard_enum_match_arm, reason = "a cipher that is added is one that is not known")]
        let (algorithm, key, iv, explicit) = match secrets {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (&AES_128_GCM, key, iv, true),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (&AES_256_GCM, key, iv, true),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (&CHACHA20_POLY1305, key, iv, false),
            _ => return None,
        };
        let key = LessSafeKey::new(UnboundKey::new(algorithm, key.as_ref()).ok()?);
        Some(Self { key, iv: iv.as_ref().try_into().ok()?, explicit, sequence })
    }

    /// The body of the next record.
    pub(super) fn seal(&mut self, kind: u8, plaintext: &[u8]) -> Option<Vec<u8>> {
        let nonce = self.nonce();
        let mut body = plaintext.to_vec();
        let data = self.additional_data(kind, plaintext.len())?;
        self.key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), data, &mut body).ok()?;
        self.sequence = self.sequence.checked_add(1)?;
        let explicit = if self.explicit { nonce.get(NONCE_LEN - EXPLICIT..)? } else { &[] };
        Some([explicit, &body].concat())
    }

    /// The plaintext of the next record; `None` if its protection is not right.
    pub(super) fn open(&mut self, kind: u8, body: &[u8]) -> Option<Vec<u8>> {
        let (explicit, ciphertext) = body.split_at_checked(if self.explicit { EXPLICIT } else { 0 })?;
        let mut nonce = self.nonce();
        if self.explicit {
            nonce.get_mut(NONCE_LEN - EXPLICIT..)?.copy_from_slice(explicit);
        }
        let length = ciphertext.len().checked_sub(self.key.algorithm().tag_len())?;
        let data = self.additional_data(kind, length)?;
        let mut plaintext = ciphertext.to_vec();
        self.key.open_in_place(Nonce::assume_unique_for_key(nonce), data, &mut plaintext).ok()?;
        plaintext.truncate(length);
        self.sequence = self.sequence.checked_add(1)?;
        Some(plaintext)
    }

    /// The nonce of the next record. RFC 7905 §2 makes it so; for AES-GCM any will do that has not been used, and the library, which
    /// used some, makes them in the same way.
    fn nonce(&self) -> [u8; NONCE_LEN] {
        let mut nonce = self.iv;
        for (byte, number) in nonce.iter_mut().skip(NONCE_LEN - 8).zip(self.sequence.to_be_bytes()) {
            *byte ^= number;
        }
        nonce
    }

    /// What is authenticated besides the plaintext (RFC 5246 §6.2.3.3).
    fn additional_data(&self, kind: u8, length: usize) -> Option<Aad<Vec<u8>>> {
        let length = u16::try_from(length).ok()?.to_be_bytes();
        Some(Aad::from([&self.sequence.to_be_bytes()[..], &[kind], &TLS12.to_be_bytes(), &length].concat()))
    }
}

#[cfg(test)]
mod tests {
    use rustls::crypto::cipher::{AeadKey, Iv};

    use super::super::record::{ALERT, HANDSHAKE};
    use super::*;

    fn ciphers() -> [ConnectionTrafficSecrets; 2] {
        let (key, iv) = (|| AeadKey::from([7; 32]), || Iv::new([9; NONCE_LEN]));
        [
            ConnectionTrafficSecrets::Aes256Gcm { key: key(), iv: iv() },
            ConnectionTrafficSecrets::Chacha20Poly1305 { key: key(), iv: iv() },
        ]
    }

    #[test]
    fn records_open_in_their_order_and_as_what_they_are() {
        for secrets in ciphers() {
            let [mut writer, mut reader] = [1, 1].map(|sequence| Protection::new(sequence, &secrets).unwrap());
            let first = writer.seal(HANDSHAKE, b"first").unwrap();
            let second = writer.seal(ALERT, b"second").unwrap();
            assert_eq!(reader.open(HANDSHAKE, &second), None);
            assert_eq!(reader.open(ALERT, &first), None);
            assert_eq!(reader.open(HANDSHAKE, &first).unwrap(), b"first");
            assert_eq!(reader.open(ALERT, &second).unwrap(), b"second");
            assert_eq!(reader.open(ALERT, &second), None, "each number is used once");
            let third = writer.seal(ALERT, b"third").unwrap();
            assert!((0..third.len()).all(|length| reader.open(ALERT, &third[..length]).is_none()));
            assert_eq!(reader.open(ALERT, &third).unwrap(), b"third", "control");
        }
    }
}
