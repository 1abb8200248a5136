//! An RSA key of 1024 bits, which no library makes or signs with any more. It protects nothing: everyone can read it here.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use num_bigint::BigUint;
use serde_json::{Value, json};

const MODULUS: &str = "aa23e91a71f84b67cd2e2d03a60bb268757119eed9abe9a61534d63983005225beabf4aec014065f8ea76241505b84001a63741fe6593271bfd65a3fe4551624\
                       89f9cd11fab1db4ce68827417b4b3166b8d16cdfb59dc238408743aaae224525942a26e574b574e70f633dadb13ae9155936fcb03af83861ba7cf141323e872d";
const EXPONENT: &str = "a32822bed07259e565f695063db253d9265e5a8f194069a4720ba42facb79f0f4124e754b92fbad8e21513fd2c5146694ee4f6942cb276d46c31e38407b3acb1\
                        b6d7a76be550c85f651b7340254fcc9cfb9c9b6faecdd937dfeb135fff3be497eb12eb251d97a8ae39c8f36177526dd23c1252d86c37e5057614d543540c3545";
/// Its length in bytes.
const LENGTH: usize = 128;
/// The length of a hash, and of the salt (RFC 7518 §3.5).
const HASH: usize = 32;

/// Its public key.
pub(super) fn jwk() -> Value {
    json!({ "kty": "RSA", "e": "AQAB", "n": modulus_encoded() })
}

/// Its thumbprint (RFC 7638 §3.1).
pub(super) fn thumbprint() -> String {
    let text = format!("{{\"e\":\"AQAB\",\"kty\":\"RSA\",\"n\":\"{}\"}}", modulus_encoded());
    URL_SAFE_NO_PAD.encode(digest(&SHA256, text.as_bytes()))
}

/// A compact JWS with PS256 (RFC 7518 §3.5).
pub(super) fn sign(header: &Value, claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let input = format!("{}.{}", encode(header), encode(claims));
    let message = BigUint::from_bytes_be(&padded(input.as_bytes()));
    let signature = message.modpow(&number(EXPONENT), &number(MODULUS)).to_bytes_be();
    let mut whole = vec![0; LENGTH.saturating_sub(signature.len())];
    whole.extend(signature);
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(whole))
}

/// EMSA-PSS with SHA-256 and a salt of zeros, which a key without a secret does not need (RFC 8017 §9.1.1).
fn padded(message: &[u8]) -> Vec<u8> {
    let salt = [0; HASH];
    let hash = digest(&SHA256, &[&[0; 8], digest(&SHA256, message).as_ref(), &salt].concat());
    let mut block = vec![0; LENGTH.saturating_sub(HASH).saturating_sub(HASH).saturating_sub(2)];
    block.push(1);
    block.extend(salt);
    let mask = (0_u32..).flat_map(|counter| {
        let part = digest(&SHA256, &[hash.as_ref(), &counter.to_be_bytes()].concat());
        part.as_ref().to_vec()
    });
    let mut encoded: Vec<u8> = block.iter().zip(mask).map(|(byte, mask)| byte ^ mask).collect();
    // The number must be less than the modulus.
    if let Some(first) = encoded.first_mut() {
        *first &= 0x7f;
    }
    encoded.extend(hash.as_ref());
    encoded.push(0xbc);
    encoded
}

fn modulus_encoded() -> String {
    URL_SAFE_NO_PAD.encode(number(MODULUS).to_bytes_be())
}

fn number(hexadecimal: &str) -> BigUint {
    BigUint::parse_bytes(hexadecimal.as_bytes(), 16).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rsa::PublicKeyComponents;
    use aws_lc_rs::signature::RSA_PSS_2048_8192_SHA256;

    use super::*;

    /// The signature is right: with the exponent of everyone it gives what was padded, and libraries refuse the key for its length.
    #[test]
    fn the_signature_is_good_and_the_key_is_not() {
        let token = sign(&json!({ "alg": "PS256" }), &json!({}));
        let (input, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let opened = BigUint::from_bytes_be(&signature).modpow(&BigUint::from(65_537_u32), &number(MODULUS));
        assert_eq!(opened.to_bytes_be(), BigUint::from_bytes_be(&padded(input.as_bytes())).to_bytes_be());
        let key = PublicKeyComponents { n: number(MODULUS).to_bytes_be(), e: vec![1, 0, 1] };
        assert!(key.verify(&RSA_PSS_2048_8192_SHA256, input.as_bytes(), &signature).is_err());
    }
}
