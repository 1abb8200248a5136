#![no_main]

use std::sync::LazyLock;

use fapi::jose::json::parse_object;
use fapi::jose::jwe::{DecryptionKey, DecryptionKeys, EncryptionKey, decrypt, encrypt};

// The private key of RFC 7517 appendix A.2, as PKCS#8.
static KEYS: LazyLock<DecryptionKeys> =
    LazyLock::new(|| DecryptionKeys::new(vec![DecryptionKey::from_pem(PEM, Some("1")).expect("a key")]));
static PUBLIC: LazyLock<EncryptionKey> = LazyLock::new(|| {
    let key = DecryptionKey::from_pem(PEM, Some("1")).expect("a key");
    EncryptionKey::from_jwk(&key.public_jwk()).expect("its public key")
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Ok(text) = std::str::from_utf8(input) {
        let _ = decrypt(text, &KEYS, 16 * 1024).map(|decrypted| decrypted.into_nested_jws());
    }
    if let Ok(jwk) = parse_object(input) {
        let _ = EncryptionKey::from_jwk(&jwk);
    }
    let text = encrypt(input, &PUBLIC, Some("JWT")).expect("there is randomness");
    let decrypted = decrypt(&text, &KEYS, text.len()).expect("it is for this key");
    assert_eq!(decrypted.plaintext(), input, "what is encrypted is decrypted");
});

const PEM: &[u8] = b"-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAGhRANCAAQwoEJM0hwpRIOKLXXJKzfnbqINnwCJOjtO7oo8Cq/sPuBLZekkVtmIi1Kzeb371R7oae8fD8ZbZllpW2zOCBcj\n-----END PRIVATE KEY-----\n";
