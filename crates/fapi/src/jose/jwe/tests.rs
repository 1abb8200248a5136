//! What is decrypted, and for whom it is encrypted. Each refusal starts from a good JWE and changes one thing.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeySize, OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PrivateDecryptingKey};
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs1KeyDer, PrivatePkcs8KeyDer, PrivateSec1KeyDer};
use serde_json::json;

use super::super::signing::KeyFileError;
use super::*;
use crate::testing::with_members;

const LIMIT: usize = 64 * 1024;

/// The two types of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rsa,
    Ec,
}

const KINDS: [Kind; 2] = [Kind::Rsa, Kind::Ec];

fn pkcs8(kind: Kind) -> Vec<u8> {
    match kind {
        Kind::Rsa => {
            let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
            AsDer::<Pkcs8V1Der<'_>>::as_der(&key).unwrap().as_ref().to_vec()
        }
        Kind::Ec => rcgen::KeyPair::generate().unwrap().serialize_der(),
    }
}

fn private(kind: Kind, key_id: Option<&str>) -> DecryptionKey {
    DecryptionKey::from_der(&PrivatePkcs8KeyDer::from(pkcs8(kind)).into(), key_id).unwrap()
}

fn public(key: &DecryptionKey) -> EncryptionKey {
    EncryptionKey::from_jwk(&key.public_jwk()).unwrap()
}

/// A good JWE, the public key it is for, and the keys that decrypt it.
fn good(kind: Kind) -> (String, EncryptionKey, DecryptionKeys) {
    let key = private(kind, Some("a"));
    let public = public(&key);
    (encrypt(b"plaintext", &public, None).unwrap(), public, DecryptionKeys::new(vec![key]))
}

fn opened(text: &str, keys: &DecryptionKeys) -> Result<Vec<u8>, JweError> {
    decrypt(text, keys, LIMIT).map(|decrypted| decrypted.plaintext)
}

fn ok() -> Result<Vec<u8>, JweError> {
    Ok(b"plaintext".to_vec())
}

/// The JWE with another part in the place of one.
fn with_part(text: &str, index: usize, part: &str) -> String {
    let mut parts: Vec<&str> = text.split('.').collect();
    parts[index] = part;
    parts.join(".")
}

fn header_of(text: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text.split('.').next().unwrap()).unwrap()).unwrap()
}

/// What an issuer with this public key would make, with a header and a content encryption key of its own choice.
fn forged(public: &OaepPublicEncryptingKey, header: &Value, content_key: &[u8], plaintext: &[u8]) -> String {
    let header = URL_SAFE_NO_PAD.encode(header.to_string());
    let mut encrypted_key = vec![0; public.ciphertext_size()];
    public.encrypt(&OAEP_SHA256_MGF1SHA256, content_key, &mut encrypted_key, None).unwrap();
    let mut padded = [0; 32];
    padded[..content_key.len().min(32)].copy_from_slice(&content_key[..content_key.len().min(32)]);
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &padded).unwrap());
    let mut sealed = plaintext.to_vec();
    let nonce = Nonce::assume_unique_for_key([7; 12]);
    key.seal_in_place_append_tag(nonce, Aad::from(&header), &mut sealed).unwrap();
    let (ciphertext, tag) = sealed.split_at(plaintext.len());
    let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    format!("{header}.{}.{}.{}.{}", part(&encrypted_key), part(&[7; 12]), part(ciphertext), part(tag))
}

#[test]
fn ms_int_09_what_is_encrypted_for_a_key_is_decrypted_with_it_and_no_other() {
    for kind in KINDS {
        let (text, _, keys) = good(kind);
        let header = header_of(&text);
        let algorithm = if kind == Kind::Rsa { "RSA-OAEP-256" } else { "ECDH-ES" };
        assert_eq!((&header["alg"], &header["enc"]), (&json!(algorithm), &json!("A256GCM")));
        let decrypted = decrypt(&text, &keys, LIMIT).unwrap();
        assert_eq!((decrypted.plaintext(), decrypted.key_id()), (&b"plaintext"[..], Some("a")));
        let other = |kind, key_id| DecryptionKeys::new(vec![private(kind, key_id)]);
        assert_eq!(opened(&text, &other(kind, Some("a"))), Err(JweError::NotDecrypted), "{kind:?}: a namesake");
        let unknown = Err(JweError::KeyUnknown { key_id: Some("a".into()), algorithm });
        assert_eq!(opened(&text, &other(kind, Some("b"))), unknown, "{kind:?}: another name");
        let another = if kind == Kind::Rsa { Kind::Ec } else { Kind::Rsa };
        assert_eq!(opened(&text, &other(another, Some("a"))), unknown, "{kind:?}: another type");
        assert_eq!(opened(&text, &DecryptionKeys::new(vec![])), unknown, "{kind:?}: none");
    }
}

#[test]
fn while_keys_change_the_old_and_the_new_one_decrypt_with_and_without_a_name() {
    for kind in KINDS {
        let (old, new) = (private(kind, Some("old")), private(kind, Some("new")));
        let nameless = |key: &DecryptionKey| {
            let mut jwk = key.public_jwk();
            jwk.remove("kid");
            EncryptionKey::from_jwk(&jwk).unwrap()
        };
        let made = |key: &EncryptionKey| encrypt(b"plaintext", key, None).unwrap();
        let texts = [&old, &new].map(|key| (made(&public(key)), made(&nameless(key)), made(&renamed(key, "x"))));
        let both = DecryptionKeys::new(vec![new, old]);
        for (named, nameless, renamed) in &texts {
            assert_eq!((opened(named, &both), opened(nameless, &both)), (ok(), ok()), "{kind:?}");
            assert!(matches!(opened(renamed, &both), Err(JweError::KeyUnknown { .. })), "{kind:?}");
        }
        // A key without a name of its own is tried under every name, after those that have it.
        let der = PrivatePkcs8KeyDer::from(pkcs8(kind));
        let unnamed = DecryptionKey::from_der(&der.into(), None).unwrap();
        let text = made(&renamed(&unnamed, "x"));
        assert_eq!(opened(&text, &DecryptionKeys::new(vec![private(kind, Some("x")), unnamed])), ok(), "{kind:?}");
    }
}

fn renamed(key: &DecryptionKey, name: &str) -> EncryptionKey {
    let mut jwk = key.public_jwk();
    jwk.insert("kid".to_owned(), json!(name));
    EncryptionKey::from_jwk(&jwk).unwrap()
}

#[test]
fn jwt_09_other_algorithms_compression_and_extensions_are_refused() {
    for kind in KINDS {
        let (text, _, keys) = good(kind);
        let header = header_of(&text);
        let judged = |changes: Value| {
            let changed = with_members(header.clone(), &changes);
            opened(&with_part(&text, 0, &URL_SAFE_NO_PAD.encode(changed.to_string())), &keys)
        };
        assert_eq!(opened(&text, &keys), ok(), "control");
        assert_eq!(judged(json!({ "x": 1 })), Err(JweError::NotDecrypted), "control: the header is authenticated");
        for alg in [
            "RSA1_5",
            "RSA-OAEP",
            "RSA-OAEP-384",
            "RSA-OAEP-512",
            "dir",
            "A256KW",
            "A256GCMKW",
            "ECDH-ES+A256KW",
            "PBES2-HS256+A128KW",
            "none",
            "rsa-oaep-256",
            "PS256",
            "",
        ] {
            let refused = Err(JweError::AlgorithmRefused { found: alg.into() });
            assert_eq!(judged(json!({ "alg": alg })), refused, "{kind:?}");
            assert_eq!(judged(json!({ "alg": alg, "p2c": 2_147_483_647, "p2s": "AAAA" })), refused, "{kind:?}");
        }
        for enc in ["A128GCM", "A192GCM", "A128CBC-HS256", "A256CBC-HS512", "none", "a256gcm", ""] {
            let refused = Err(JweError::EncryptionRefused { found: enc.into() });
            assert_eq!(judged(json!({ "enc": enc })), refused, "{kind:?}");
        }
        for absent in [json!(null), json!(1), json!(["A256GCM"])] {
            let changed = judged(json!({ "enc": absent }));
            assert_eq!(changed, Err(JweError::EncryptionRefused { found: "".into() }), "{kind:?}");
            let changed = judged(json!({ "alg": absent }));
            assert_eq!(changed, Err(JweError::AlgorithmRefused { found: "".into() }), "{kind:?}");
        }
        for zip in [json!("DEF"), json!("none"), json!("")] {
            assert_eq!(judged(json!({ "zip": zip })), Err(JweError::Compressed), "{kind:?}");
        }
        for crit in [json!([]), json!(["exp"]), json!("x")] {
            assert_eq!(judged(json!({ "crit": crit })), Err(JweError::CriticalHeader), "{kind:?}");
        }
        for (name, value) in [("kid", json!(1)), ("kid", json!(["a"])), ("cty", json!(1))] {
            assert_eq!(judged(json!({ name: value })), Err(JweError::Malformed { part: "header" }), "{kind:?}");
        }
    }
}

#[test]
fn jwt_08_five_parts_in_base64url_and_no_other_form() {
    for kind in KINDS {
        let (text, _, keys) = good(kind);
        let parts: Vec<&str> = text.split('.').collect();
        assert_eq!(opened(&parts.join("."), &keys), ok(), "control");
        let malformed = |part| Err(JweError::Malformed { part });
        assert_eq!(opened(&parts[..3].join("."), &keys), Err(JweError::NotEncrypted));
        for odd in [
            String::new(),
            ".".to_owned(),
            parts[..2].join("."),
            parts[..4].join("."),
            format!("{text}."),
            format!("{text}.{}", parts[4]),
            json!({ "protected": parts[0], "ciphertext": parts[3] }).to_string(),
        ] {
            assert_eq!(opened(&odd, &keys), malformed("serialization"), "{odd}");
        }
        let names = ["header", "encrypted key", "initialization vector", "ciphertext", "authentication tag"];
        for (index, name) in names.into_iter().enumerate() {
            for odd in [format!("{}=", parts[index]), format!("{} ", parts[index]), "+/+/".to_owned(), "A".to_owned()] {
                assert_eq!(opened(&with_part(&text, index, &odd), &keys), malformed(name), "{kind:?}: {name}: {odd}");
            }
        }
        for (index, name, lengths) in
            [(2, "initialization vector", [0, 11, 13, 16]), (4, "authentication tag", [0, 12, 15, 17])]
        {
            for length in lengths {
                let part = URL_SAFE_NO_PAD.encode(vec![0; length]);
                assert_eq!(opened(&with_part(&text, index, &part), &keys), malformed(name), "{kind:?}: {length}");
            }
        }
        for header in ["", "1", "[]", "{", r#"{"alg":"ECDH-ES","alg":"ECDH-ES"}"#, "{} {}", "\u{feff}{}"] {
            let changed = with_part(&text, 0, &URL_SAFE_NO_PAD.encode(header));
            assert_eq!(opened(&changed, &keys), malformed("header"), "{kind:?}: {header}");
        }
        let at = |limit| decrypt(&text, &keys, limit).map(|decrypted| decrypted.plaintext);
        assert_eq!(at(text.len()), ok(), "control");
        let limit = text.len() - 1;
        assert_eq!(at(limit), Err(JweError::TooLarge { bytes: text.len(), limit }));
    }
}

#[test]
fn rfc_7516_11_5_a_bad_key_and_a_bad_text_are_one_fault() {
    let key = PrivateDecryptingKey::generate(KeySize::Rsa2048).unwrap();
    let public = OaepPublicEncryptingKey::new(key.public_key()).unwrap();
    let der: Pkcs8V1Der<'_> = key.as_der().unwrap();
    let der = PrivatePkcs8KeyDer::from(der.as_ref().to_vec());
    let keys = DecryptionKeys::new(vec![DecryptionKey::from_der(&der.into(), None).unwrap()]);
    let header = json!({ "alg": "RSA-OAEP-256", "enc": "A256GCM" });
    let text = forged(&public, &header, &[1; 32], b"plaintext");
    assert_eq!(opened(&text, &keys), ok(), "control");
    for length in [0, 16, 31, 33, 64] {
        let other = forged(&public, &header, &vec![1; length], b"plaintext");
        assert_eq!(opened(&other, &keys), Err(JweError::NotDecrypted), "a key of {length} bytes");
    }
    for encrypted_key in [vec![], vec![1; 16], vec![0; 256], vec![1; 256], vec![255; 256], vec![1; 257], vec![1; 512]] {
        let changed = with_part(&text, 1, &URL_SAFE_NO_PAD.encode(encrypted_key));
        assert_eq!(opened(&changed, &keys), Err(JweError::NotDecrypted));
    }
    for index in [2, 3, 4] {
        let mut bytes = URL_SAFE_NO_PAD.decode(text.split('.').nth(index).unwrap()).unwrap();
        bytes[0] ^= 1;
        let changed = with_part(&text, index, &URL_SAFE_NO_PAD.encode(bytes));
        assert_eq!(opened(&changed, &keys), Err(JweError::NotDecrypted), "part {index}");
    }
}

#[test]
fn an_ephemeral_key_is_a_public_one_on_the_curve() {
    let (text, _, keys) = good(Kind::Ec);
    let header = header_of(&text);
    let judged = |epk: Value| {
        let changed = with_members(header.clone(), &json!({ "epk": epk }));
        opened(&with_part(&text, 0, &URL_SAFE_NO_PAD.encode(changed.to_string())), &keys)
    };
    let epk = |changes: Value| with_members(header["epk"].clone(), &changes);
    // One that is a point is accepted, and the agreed key is that of the header as it was.
    assert_eq!(judged(epk(json!({ "use": "enc" }))), Err(JweError::NotDecrypted), "control");
    let y = URL_SAFE_NO_PAD.decode(header["epk"]["y"].as_str().unwrap()).unwrap();
    let off = URL_SAFE_NO_PAD.encode([&y[..31], &[y[31] ^ 1]].concat());
    let short = URL_SAFE_NO_PAD.encode(&y[..31]);
    let long = URL_SAFE_NO_PAD.encode([&[0][..], &y].concat());
    for bad in [
        json!(null),
        json!("x"),
        json!([header["epk"]]),
        epk(json!({ "y": off })),
        epk(json!({ "y": short })),
        epk(json!({ "y": long })),
        epk(json!({ "y": format!("{}=", header["epk"]["y"].as_str().unwrap()) })),
        epk(json!({ "y": null })),
        epk(json!({ "x": URL_SAFE_NO_PAD.encode([0; 32]), "y": URL_SAFE_NO_PAD.encode([0; 32]) })),
        epk(json!({ "x": URL_SAFE_NO_PAD.encode([255; 32]) })),
        epk(json!({ "crv": "P-384" })),
        epk(json!({ "crv": "X25519" })),
        epk(json!({ "kty": "OKP" })),
        epk(json!({ "d": URL_SAFE_NO_PAD.encode([1; 32]) })),
    ] {
        assert_eq!(judged(bad.clone()), Err(JweError::EphemeralKey), "{bad}");
    }
    for name in ["apu", "apv"] {
        let party = |value: Value| {
            let changed = with_members(header.clone(), &json!({ name: value }));
            opened(&with_part(&text, 0, &URL_SAFE_NO_PAD.encode(changed.to_string())), &keys)
        };
        assert_eq!(party(json!("QWxpY2U")), Err(JweError::NotDecrypted), "control");
        for bad in [json!(1), json!("QWxpY2U="), json!("A".repeat(1025))] {
            assert_eq!(party(bad.clone()), Err(JweError::Malformed { part: "header" }), "{name}: {bad}");
        }
    }
    // RFC 7516 §5.2 (10).
    assert_eq!(opened(&with_part(&text, 1, "AA"), &keys), Err(JweError::Malformed { part: "encrypted key" }));
}

#[test]
fn ms_int_12_a_signed_jwt_is_inside_and_nothing_else() {
    let key = private(Kind::Ec, None);
    let public = public(&key);
    let keys = DecryptionKeys::new(vec![key]);
    let nested = |plaintext: &[u8], content_type: Option<&str>| {
        let text = encrypt(plaintext, &public, content_type).unwrap();
        decrypt(&text, &keys, LIMIT).and_then(Decrypted::into_nested_jws)
    };
    for content_type in [None, Some("JWT"), Some("jwt"), Some("application/jwt")] {
        assert_eq!(nested(b"a.b.c", content_type), Ok("a.b.c".to_owned()), "{content_type:?}"); // control
    }
    for content_type in ["", "json", "JWE", "application/json", "text/jwt", "at+jwt"] {
        let wrong = Err(JweError::ContentTypeWrong { found: content_type.into() });
        assert_eq!(nested(b"a.b.c", Some(content_type)), wrong);
    }
    let again = encrypt(b"a.b.c", &public, Some("JWT")).unwrap();
    for other in [&again[..], "{\"active\":true}", "", "a.b", "a.b.c.d"] {
        assert_eq!(nested(other.as_bytes(), Some("JWT")), Err(JweError::NotSigned), "{other}");
    }
    assert_eq!(nested(b"\xff.b.c", Some("JWT")), Err(JweError::NotSigned));
}

#[test]
fn private_keys_are_rsa_from_2048_to_4096_bits_or_p256() {
    let from_der = |der: Vec<u8>| DecryptionKey::from_der(&PrivatePkcs8KeyDer::from(der).into(), None).map(drop);
    for kind in KINDS {
        let der = pkcs8(kind);
        assert_eq!(from_der(der.clone()), Ok(()), "control: {kind:?}");
        assert_eq!(from_der(der[..der.len() - 1].to_vec()), Err(Unsupported));
        let pem = |label: &str| {
            let text = format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(&der));
            DecryptionKey::from_pem(text.as_bytes(), Some("a")).map(|key| key.key_id().map(str::to_owned))
        };
        assert_eq!(pem("PRIVATE KEY"), Ok(Some("a".to_owned())));
        assert_eq!(pem("PUBLIC KEY"), Err(DecryptionKeyError::File(KeyFileError::Missing)));
        assert_eq!(pem("ENCRYPTED PRIVATE KEY"), Err(DecryptionKeyError::File(KeyFileError::Encrypted)));
    }
    let large = PrivateDecryptingKey::generate(KeySize::Rsa3072).unwrap();
    assert_eq!(from_der(AsDer::<Pkcs8V1Der<'_>>::as_der(&large).unwrap().as_ref().to_vec()), Ok(())); // control
    for algorithm in [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        let other = rcgen::KeyPair::generate_for(algorithm).unwrap();
        assert_eq!(from_der(other.serialize_der()), Err(Unsupported), "{algorithm:?}");
    }
}

#[test]
fn of_several_keys_for_anybody_the_named_one_alone_is_tried() {
    let named = |name: &str| DecryptionKey::generate(Some(name)).unwrap();
    let (first, second) = (named("a"), named("b"));
    let mut without = second.public_jwk();
    without.remove("kid");
    let nameless = encrypt(b"plaintext", &EncryptionKey::from_jwk(&without).unwrap(), None).unwrap();
    let by_name = encrypt(b"plaintext", &public(&second), None).unwrap();
    let keys = DecryptionKeys::by_name(vec![first, second]);
    assert_eq!(opened(&by_name, &keys), ok(), "control");
    assert_eq!(opened(&nameless, &keys), Err(JweError::KeyUnknown { key_id: None, algorithm: "ECDH-ES" }));
    let alone = DecryptionKey::generate(None).unwrap();
    let text = encrypt(b"plaintext", &public(&alone), None).unwrap();
    assert_eq!(opened(&text, &DecryptionKeys::by_name(vec![alone])), ok(), "one needs no name");
}

#[test]
fn a_key_that_is_made_decrypts_what_is_encrypted_for_its_public_part() {
    let key = DecryptionKey::generate(Some("new")).unwrap();
    let text = encrypt(b"plaintext", &public(&key), None).unwrap();
    let (own, other) = (DecryptionKeys::new(vec![key]), DecryptionKey::generate(Some("new")).unwrap());
    assert_eq!(opened(&text, &own), ok());
    assert_eq!(own.first().and_then(DecryptionKey::key_id), Some("new"));
    assert_eq!(opened(&text, &DecryptionKeys::new(vec![other])), Err(JweError::NotDecrypted));
}

#[test]
fn a_private_key_in_another_wrapping_is_the_same_key() {
    // What a PKCS#8 of such a key has before the key itself (RFC 5208 §5).
    let (rsa, ec) = (pkcs8(Kind::Rsa), pkcs8(Kind::Ec));
    let (pkcs1, sec1) = (rsa[26..].to_vec(), ec[29..].to_vec());
    let thumbprint = |der: &PrivateKeyDer<'_>| DecryptionKey::from_der(der, None).map(|key| *key.thumbprint());
    let whole = |der: &[u8]| thumbprint(&PrivatePkcs8KeyDer::from(der).into()).unwrap();
    assert_eq!(thumbprint(&PrivatePkcs1KeyDer::from(pkcs1.clone()).into()), Ok(whole(&rsa)));
    assert_eq!(thumbprint(&PrivateSec1KeyDer::from(sec1.clone()).into()), Ok(whole(&ec)));
    assert_eq!(thumbprint(&PrivatePkcs1KeyDer::from(sec1).into()), Err(Unsupported));
    assert_eq!(thumbprint(&PrivateSec1KeyDer::from(pkcs1).into()), Err(Unsupported));
}

#[test]
fn public_keys_are_for_encryption_or_do_not_say_what_they_are_for() {
    for kind in KINDS {
        let key = private(kind, Some("a"));
        let jwk = Value::Object(key.public_jwk());
        let judged = |changes: Value| {
            let jwk = with_members(jwk.clone(), &changes);
            EncryptionKey::from_jwk(jwk.as_object().unwrap()).map(drop)
        };
        let operation = if kind == Kind::Rsa { "wrapKey" } else { "deriveBits" };
        for good in [
            json!({}),
            json!({ "use": null }),
            json!({ "alg": null, "kid": null }),
            json!({ "key_ops": [operation] }),
            json!({ "x5c": [], "unknown": 1 }),
        ] {
            assert_eq!(judged(good.clone()), Ok(()), "control: {kind:?} {good}");
        }
        for (member, value) in [
            ("use", json!("sig")),
            ("use", json!("ENC")),
            ("alg", json!("RSA-OAEP")),
            ("alg", json!("PS256")),
            ("key_ops", json!(["verify"])),
            ("key_ops", json!("encrypt")),
        ] {
            let refused = judged(json!({ member: value }));
            assert!(
                matches!(&refused, Err(EncryptionKeyError::OtherPurpose { member: found, .. }) if *found == member),
                "{kind:?} {member}: {refused:?}"
            );
        }
        assert_eq!(judged(json!({ "d": "AA" })), Err(EncryptionKeyError::Private));
        assert_eq!(judged(json!({ "kty": "oct" })), Err(EncryptionKeyError::Unsupported));
        assert_eq!(judged(json!({ "kid": 1 })), Err(EncryptionKeyError::Malformed { member: "kid" }));
        let broken = match kind {
            Kind::Rsa => (json!({ "n": "AQAB" }), EncryptionKeyError::Unsupported),
            Kind::Ec => (json!({ "x": URL_SAFE_NO_PAD.encode([0; 32]) }), EncryptionKeyError::Unsupported),
        };
        assert_eq!(judged(broken.0), Err(broken.1));
    }
    let of_modulus = |modulus: Value| {
        let jwk = json!({ "kty": "RSA", "n": modulus, "e": "AQAB" });
        EncryptionKey::from_jwk(jwk.as_object().unwrap()).map(drop)
    };
    let of_bytes = |bytes: usize| of_modulus(json!(URL_SAFE_NO_PAD.encode(vec![255; bytes])));
    assert_eq!([of_bytes(256), of_bytes(512)], [Ok(()), Ok(())]); // control
    assert_eq!(
        [of_bytes(255), of_bytes(513)],
        [Err(EncryptionKeyError::Unsupported), Err(EncryptionKeyError::Unsupported)]
    );
    for malformed in [json!(null), json!(1), json!("AQAB=")] {
        assert_eq!(of_modulus(malformed), Err(EncryptionKeyError::Malformed { member: "n" }));
    }
}

#[test]
fn a_public_key_in_pem_is_the_same_key() {
    let pair = rcgen::KeyPair::generate().unwrap();
    let key = DecryptionKey::from_pem(pair.serialize_pem().as_bytes(), Some("a")).unwrap();
    let public = EncryptionKey::from_spki_pem(pair.public_key_pem().as_bytes(), Some("a")).unwrap();
    let text = encrypt(b"plaintext", &public, None).unwrap();
    assert_eq!(opened(&text, &DecryptionKeys::new(vec![key])), ok());
    assert_eq!(header_of(&text)["kid"], json!("a"));
    let error = |text: &str| EncryptionKey::from_spki_pem(text.as_bytes(), None).map(drop).unwrap_err();
    assert_eq!(error(""), EncryptionKeyError::Missing);
    assert_eq!(error(&pair.serialize_pem()), EncryptionKeyError::Missing);
    let ed25519 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    assert_eq!(error(&ed25519.public_key_pem()), EncryptionKeyError::Unsupported);
}

#[test]
fn two_sets_with_the_same_keys_under_the_same_names_are_equal() {
    let der = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(pkcs8(Kind::Ec)));
    let keys = |name| DecryptionKeys::new(vec![DecryptionKey::from_der(&der, name).unwrap()]);
    assert_eq!(keys(Some("a")), keys(Some("a"))); // control
    assert_ne!(keys(Some("a")), keys(Some("b")));
    assert_ne!(keys(Some("a")), DecryptionKeys::new(vec![private(Kind::Ec, Some("a"))]));
    assert_ne!(keys(Some("a")), DecryptionKeys::new(vec![]));
}

#[test]
fn debug_shows_neither_a_key_nor_a_plaintext() {
    let (text, public, keys) = good(Kind::Rsa);
    assert_eq!(format!("{keys:?}"), r#"[DecryptionKey { key_id: Some("a"), .. }]"#);
    assert_eq!(format!("{public:?}"), r#"EncryptionKey { public: Rsa(..), key_id: Some("a") }"#);
    let decrypted = decrypt(&text, &keys, LIMIT).unwrap();
    assert_eq!(format!("{decrypted:?}"), r#"Decrypted { key_id: Some("a"), content_type: None, .. }"#);
}

proptest! {
    #[test]
    fn what_is_encrypted_is_decrypted_and_a_changed_character_never_is(
        plaintext in proptest::collection::vec(any::<u8>(), 0..200), place in 0_usize..2000, byte in "[A-Za-z0-9_.-]",
    ) {
        let (_, public, keys) = good(Kind::Ec);
        let text = encrypt(&plaintext, &public, Some("JWT")).unwrap();
        prop_assert_eq!(opened(&text, &keys), Ok(plaintext));
        let place = place % text.len();
        let changed = format!("{}{byte}{}", &text[..place], &text[place + 1..]);
        prop_assert_eq!(opened(&changed, &keys).is_ok(), changed == text);
    }

    #[test]
    fn never_panics(text in "[ -~]{0,200}", parts in proptest::collection::vec("[A-Za-z0-9_-]{0,24}", 3..7)) {
        let keys = DecryptionKeys::new(vec![private(Kind::Ec, None)]);
        prop_assert!(opened(&text, &keys).is_err());
        prop_assert!(opened(&parts.join("."), &keys).is_err());
    }
}
