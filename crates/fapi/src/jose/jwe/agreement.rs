//! ECDH-ES on P-256, whose agreed key is the content encryption key itself (RFC 7518 §4.6).

use aws_lc_rs::agreement::{ECDH_P256, ParsedPublicKey, PrivateKey, UnparsedPublicKey, agree};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::super::keys::VerifyingKey;
use super::content::{A256GCM, ContentKey, KEY_BITS};
use crate::sha256;

/// A point of P-256 that is not the point at infinity.
#[derive(Clone)]
pub(super) struct Point(ParsedPublicKey);

impl Point {
    /// Reads the members of a JWK that make the key (RFC 7518 §6.2.1); the others may say anything.
    pub(super) fn from_jwk(jwk: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        if (text("kty"), text("crv")) != (Some("EC"), Some("P-256")) || VerifyingKey::has_private_members(jwk) {
            return None;
        }
        // RFC 7518 §6.2.1.2: the octet string "MUST be the full size of a coordinate for the curve".
        let coordinate =
            |name| text(name).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).filter(|bytes| bytes.len() == 32);
        let (x, y) = (coordinate("x")?, coordinate("y")?);
        // SEC 1 §2.3.3: 04, then X and Y. That it is on the curve is checked here, so that no secret multiplies another
        // point.
        let point = [&[4][..], &x, &y].concat();
        UnparsedPublicKey::new(&ECDH_P256, point).try_into().ok().map(Self)
    }
}

/// What both sides of an agreement know besides the secret.
pub(super) struct Agreement {
    /// The public key of the sender, which is for this JWE alone.
    pub(super) ephemeral: Point,
    /// `apu` and `apv`, decoded; empty if they are absent.
    pub(super) parties: [Vec<u8>; 2],
}

impl Agreement {
    /// The agreed key of the recipient; `None` if the library fails.
    pub(super) fn received(&self, key: &PrivateKey) -> Option<ContentKey> {
        agreed(key, &self.ephemeral, &self.parties)
    }
}

/// The agreed key of the sender, and its `epk`.
pub(super) fn sent(recipient: &Point) -> Option<(ContentKey, Value)> {
    let key = PrivateKey::generate(&ECDH_P256).ok()?;
    let public = key.compute_public_key().ok()?;
    let (x, y) = public.as_ref().strip_prefix(&[4])?.split_at_checked(32)?;
    let epk = json!({
        "kty": "EC", "crv": "P-256", "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y),
    });
    Some((agreed(&key, recipient, &[Vec::new(), Vec::new()])?, epk))
}

fn agreed(own: &PrivateKey, other: &Point, parties: &[Vec<u8>; 2]) -> Option<ContentKey> {
    // RFC 7518 §4.6.2: in Direct Key Agreement mode, AlgorithmID is that of "enc".
    let derive = |secret: &[u8]| Ok(ContentKey(concat_kdf(secret, A256GCM, parties, KEY_BITS)));
    agree(own, other.0.clone(), (), derive).ok()
}

/// The Concat KDF with SHA-256 (RFC 7518 §4.6.2). The key is the first `bits` of the result, at most all 256 of them.
fn concat_kdf(secret: &[u8], algorithm: &str, [apu, apv]: &[Vec<u8>; 2], bits: u32) -> [u8; 32] {
    // SP 800-56A §5.8.1: one round is enough for as many bits as the hash has, and its counter is 1.
    let mut input = 1_u32.to_be_bytes().to_vec();
    input.extend_from_slice(secret);
    for data in [algorithm.as_bytes(), apu, apv] {
        // The parser bounds `apu` and `apv`.
        input.extend_from_slice(&u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes());
        input.extend_from_slice(data);
    }
    // SuppPubInfo is "the keydatalen represented as a 32-bit big-endian integer", and SuppPrivInfo is empty.
    input.extend_from_slice(&bits.to_be_bytes());
    sha256(&input)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7518 appendix C.
    #[test]
    fn rfc_7518_c_the_example_of_a_derived_key() {
        let alice = json!({
            "kty": "EC", "crv": "P-256",
            "x": "gI0GAILBdu7T53akrFmMyGcsF3n5dO7MmwNBHKW5SV0", "y": "SLW_xSffzlPWrHEVI30DHM_4egVwt3NQqeUD7nMFpps",
        });
        let bob = URL_SAFE_NO_PAD.decode("VEmDZpDXXK8p8N0Cndsxs924q6nS1RXFASRl6BfUqdw").unwrap();
        let alice = Point::from_jwk(alice.as_object().unwrap()).unwrap();
        let bob = PrivateKey::from_private_key(&ECDH_P256, &bob).unwrap();
        let parties = [b"Alice".to_vec(), b"Bob".to_vec()];
        let derive = |secret: &[u8]| Ok::<_, ()>(concat_kdf(secret, "A128GCM", &parties, 128));
        let derived = agree(&bob, alice.0.clone(), (), derive).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.encode(&derived[..16]), "VqqN6vgjbSBcIijNcacQGg");
    }

    #[test]
    fn a_key_depends_on_everything_that_both_sides_know() {
        let parties = |apu: &str, apv: &str| [apu.into(), apv.into()];
        let key = concat_kdf(&[7; 32], "A256GCM", &parties("ab", "c"), 256);
        assert_eq!(concat_kdf(&[7; 32], "A256GCM", &parties("ab", "c"), 256), key); // control
        for other in [
            concat_kdf(&[8; 32], "A256GCM", &parties("ab", "c"), 256),
            concat_kdf(&[7; 32], "A128GCM", &parties("ab", "c"), 256),
            concat_kdf(&[7; 32], "A256GCM", &parties("a", "bc"), 256),
            concat_kdf(&[7; 32], "A256GCM", &parties("c", "ab"), 256),
            concat_kdf(&[7; 32], "A256GCM", &parties("ab", "c"), 128),
        ] {
            assert_ne!(other, key);
        }
    }
}
